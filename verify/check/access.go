package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// access lists whom the policy's Allow statements name, with what, for the
// reader who has to decide whether they should have it. source names the policy.
func (p policyDocument) access(resource, owner, source string) (list []report.Access, notes []string) {
	for i, s := range p.Statement {
		if s.Effect != "Allow" {
			notes = append(notes, fmt.Sprintf("%s: Deny statements may take access away again", source))
			continue
		}
		permissions := slices.Clone(s.Action)
		for _, a := range s.NotAction {
			permissions = append(permissions, "everything but "+a)
		}
		entry := report.Access{Resource: resource, Permissions: permissions, Conditions: s.conditions(), Source: fmt.Sprintf("%s, statement %s", source, s.name(i))}
		if s.NotPrincipal != nil {
			entry.Account, entry.Principal, entry.External = "*", "everyone except the principals of NotPrincipal", true
			list = append(list, entry)
			continue
		}
		for _, kind := range slices.Sorted(maps.Keys(*s.Principal)) {
			for _, name := range (*s.Principal)[kind] {
				e := entry
				e.Principal = name
				switch {
				case kind == "AWS" && name == "*":
					e.Account, e.External = "*", true
				case kind == "AWS" && account.MatchString(name):
					e.Account, e.External = name, name != owner
				case kind == "AWS":
					e.Account = accountOf(name)
					e.External = e.Account != owner
				default:
					e.Principal, e.External = kind+" "+name, true
				}
				list = append(list, e)
			}
		}
	}
	return list, notes
}

// conditions is the statement's Condition in one line.
func (s statement) conditions() string {
	var parts []string
	for _, op := range slices.Sorted(maps.Keys(s.Condition)) {
		for _, key := range slices.Sorted(maps.Keys(s.Condition[op])) {
			parts = append(parts, fmt.Sprintf("%s %s %s", key, op, strings.Join(s.Condition[op][key], " or ")))
		}
	}
	return strings.Join(parts, "; ")
}
