package check

import (
	"context"
	"slices"
	"strings"

	"github.com/securethecloud/kms-baseline/verify/report"
)

//go:generate go run ./internal/gendocs ../../docs/verify.md

// Check declares one check: everything that the catalogue, the reports and
// docs/verify.md state about it. The declaration is in the file of its group;
// controls.json maps it to the requirements of frameworks.
type Check struct {
	ID       string // GROUP.NAME
	Group    string // the part of ID before the dot
	Title    string // what is true if the check passes
	Severity string // critical, high, medium, low
	Why      string // what goes wrong without it
	Expected string // what AWS must return
	// Proves and NotProven are what a pass proves and what it does not, in
	// Markdown. NotProven may be empty.
	Proves, NotProven string
	// Remedy is how a failure is fixed in general. A result names the command
	// for its own resources where it can.
	Remedy string
	// AccountWide marks a check of what an account has besides the stack: it runs
	// only with [Config.AccountWide], or if [Config.Only] has its id. The default
	// is a check that every run has.
	AccountWide bool
	// FilesOnly marks a check of all of a trail's log files: it runs only if
	// [Config.Events] names them, or if [Config.Only] has its id: a table of log files
	// is for those that are too many to read. The default is a check that runs
	// with every source of events.
	FilesOnly bool
	// Needs are the IAM permissions that the check takes; none for what every
	// caller may do.
	Needs []Permission

	run func(context.Context, *run) report.Result
}

// Catalogue has every check, in the order of the report.
var Catalogue = withGroups(slices.Concat(
	accountChecks, keyChecks, bucketChecks, objectChecks, ebsChecks, ebsDataChecks, trailChecks, trailIntegrityChecks, trailLoggingChecks, canaryChecks,
))

func withGroups(checks []Check) []Check {
	for i := range checks {
		checks[i].Group, _, _ = strings.Cut(checks[i].ID, ".")
	}
	return checks
}
