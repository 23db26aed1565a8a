package check

import (
	"slices"
	"strings"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// A remedy is either one command that can be run as it stands, with every name
// in it quoted for a shell, or a sentence. [report.IsCommand] tells them apart.

// quote quotes a name from the account for a shell.
func quote(name string) string { return report.Quote(name) }

// again is the command that repeats this run with other flags ("--wait=20m"),
// or a sentence where the run cannot be repeated.
func (r *run) again(flags ...string) string {
	name := func(flag string) string { n, _, _ := strings.Cut(flag, "="); return n }
	var all []string
	for _, f := range r.cfg.Flags {
		if f == "--outputs=-" { // stdin is used up
			all = nil
			break
		}
		if !slices.ContainsFunc(flags, func(x string) bool { return name(x) == name(f) }) {
			all = append(all, f)
		}
	}
	if len(all) == 0 {
		return "run verify again with " + report.ShellFlags(flags)
	}
	return "verify " + report.ShellFlags(append(all, flags...))
}
