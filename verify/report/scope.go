package report

import (
	"cmp"
	"fmt"
	"strings"
)

// endpoints names the endpoints in a line: what is not AWS first, with the
// services; AWS's own by host.
func (s Scope) endpoints() string {
	var urls, hosts []string
	services := map[string][]string{}
	for _, e := range s.Endpoints {
		if e.AWS {
			hosts = append(hosts, strings.TrimPrefix(e.URL, "https://"))
			continue
		}
		if services[e.URL] == nil {
			urls = append(urls, e.URL)
		}
		services[e.URL] = append(services[e.URL], e.Service)
	}
	var parts []string
	for _, u := range urls {
		parts = append(parts, fmt.Sprintf("%s, not AWS (%s)", u, strings.Join(services[u], ", ")))
	}
	if len(hosts) > 0 {
		parts = append(parts, "AWS ("+strings.Join(hosts, ", ")+")")
	}
	if len(parts) == 0 {
		return "none was called"
	}
	return strings.Join(parts, "; ")
}

func (s Scope) flags() string { return ShellFlags(s.Flags) }

// ShellFlags writes flags ("--only=account", one an item) as a shell takes them.
func ShellFlags(flags []string) string {
	var parts []string
	for _, f := range flags {
		name, value, _ := strings.Cut(f, "=")
		if value == "true" {
			parts = append(parts, name)
			continue
		}
		parts = append(parts, name+" "+Quote(value))
	}
	return strings.Join(parts, " ")
}

// leftOut names the checks that have no result.
func (s Scope) leftOut() string {
	if len(s.LeftOut) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %s: %s", len(s.LeftOut), plural(s.Checks, "check"), strings.Join(s.LeftOut, ", "))
}

// objects states which objects were selected, and how many of them were
// checked.
func (r *Report) objects() string {
	if r.Scope.Objects == "" && r.Subject.ObjectCount == 0 {
		return ""
	}
	if strings.HasPrefix(r.Scope.Objects, "none") {
		return r.Scope.Objects
	}
	return fmt.Sprintf("%d checked; selected: %s", r.Subject.ObjectCount, cmp.Or(r.Scope.Objects, "unknown"))
}

// Quote quotes s for a POSIX shell where it needs that.
func Quote(s string) string {
	if s != "" && strings.IndexFunc(s, func(c rune) bool {
		return c > 0x7f || !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@%_+=:,./-", c)
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// scopeRows are the lines about the scope that every format for people shows.
func (r *Report) scopeRows() [][2]string {
	return [][2]string{
		{"endpoint", r.Scope.endpoints()},
		{"CA bundle", r.Scope.CABundle},
		{"flags", r.Scope.flags()},
		{"left out", r.Scope.leftOut()},
	}
}
