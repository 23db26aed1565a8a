package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// statuses is the order in which they are counted and explained.
var statuses = []Status{Pass, Fail, Inconclusive, Error, Skipped}

// sign is the status as one character, so that it never rests on color alone.
func (s Status) sign() string {
	switch s {
	case Pass:
		return "✓"
	case Fail:
		return "✗"
	case Inconclusive:
		return "?"
	case Skipped:
		return "–"
	default:
		return "!"
	}
}

// meaning explains the status to a reader of the report.
func (s Status) meaning() string {
	switch s {
	case Pass:
		return "AWS's responses show what was expected."
	case Fail:
		return "AWS's responses show something else."
	case Inconclusive:
		return "the evidence is missing or incomplete, neither pass nor fail."
	case Skipped:
		return "not selected, or does not apply."
	default:
		return "not evaluated: access denied, throttled or unreachable."
	}
}

func (s Summary) of(status Status) int {
	switch status {
	case Pass:
		return s.Pass
	case Fail:
		return s.Fail
	case Inconclusive:
		return s.Inconclusive
	case Skipped:
		return s.Skipped
	default:
		return s.Error
	}
}

// headline is the verdict as a sentence, with what --only left out of it.
func (r *Report) headline() string {
	if n := len(r.Scope.LeftOut); n > 0 {
		return fmt.Sprintf("%s; %d of %s left out", r.verdict(), n, plural(r.Scope.Checks, "check"))
	}
	return r.verdict()
}

func (r *Report) verdict() string {
	s := r.Summary
	ran := s.Pass + s.Fail + s.Inconclusive + s.Error
	switch {
	case ran == 0 && s.Skipped == 0:
		return "no check was run"
	case ran == 0:
		return fmt.Sprintf("no check was evaluated, %d skipped", s.Skipped)
	case r.Verdict == Fail:
		return fmt.Sprintf("%d of %s failed", s.Fail, plural(ran, "check"))
	case r.Verdict == Error:
		return fmt.Sprintf("%d of %s could not be evaluated", s.Error, plural(ran, "check"))
	case r.Verdict == Inconclusive:
		return fmt.Sprintf("%d of %s inconclusive", s.Inconclusive, plural(ran, "check"))
	case ran == 1:
		return "the check passed"
	default:
		return fmt.Sprintf("all %d checks passed", ran)
	}
}

// problems are the results that are neither passed nor skipped: failures first,
// then what could not be evaluated, then what is inconclusive; the most severe
// first in each.
func (r *Report) problems() []Result {
	list := slices.DeleteFunc(slices.Clone(r.Results), func(x Result) bool { return x.Status == Pass || x.Status == Skipped })
	order := func(x Result) (int, int) {
		return slices.Index([]Status{Fail, Error, Inconclusive}, x.Status), slices.Index([]string{"critical", "high", "medium", "low"}, x.Severity)
	}
	slices.SortStableFunc(list, func(a, b Result) int {
		as, av := order(a)
		bs, bv := order(b)
		return cmp.Or(cmp.Compare(as, bs), cmp.Compare(av, bv))
	})
	return list
}

// counts lists the statuses that occur: "12 pass, 1 fail".
func (s Summary) counts() string {
	var parts []string
	for _, st := range statuses {
		if n := s.of(st); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, st))
		}
	}
	return strings.Join(parts, ", ")
}

// worst is the status that the verdict over these results would be, or
// Skipped where there is none that counts.
func worst(results []Result) Status {
	r := Report{Results: results}
	r.Judge()
	if r.Summary.Skipped == len(results) {
		return Skipped
	}
	return r.Verdict
}

// group is the results of one part of the account.
type group struct {
	Name, Title string
	Results     []Result
}

var groupTitles = []struct{ name, title string }{
	{"account", "Account"},
	{"key", "Key"},
	{"bucket", "Bucket"},
	{"object", "Objects"},
	{"ebs", "EBS volumes"},
	{"trail", "Audit trail"},
	{"canary", "Canary"},
}

// groups are the results by group, in the order of the chain of proof; groups
// without results are left out, groups that are new to this package come last.
func (r *Report) groups() []group {
	var gs []group
	for _, t := range groupTitles {
		gs = append(gs, group{Name: t.name, Title: t.title})
	}
	for _, x := range r.Results {
		i := slices.IndexFunc(gs, func(g group) bool { return g.Name == x.Group })
		if i < 0 {
			i, gs = len(gs), append(gs, group{Name: x.Group, Title: x.Group})
		}
		gs[i].Results = append(gs[i].Results, x)
	}
	return slices.DeleteFunc(gs, func(g group) bool { return len(g.Results) == 0 })
}

// String is the control in a line: "CIS AWS Foundations 3.0 3.6 (in part)".
func (c Control) String() string {
	s := c.Framework + " " + c.ID
	if c.Partial {
		s += " (in part)"
	}
	return s
}

// words is the access in a line.
func (a Access) words() string {
	who := a.Principal
	switch {
	case a.Account == "*":
		who += " (EVERY ACCOUNT)"
	case a.External:
		who += " (external account " + a.Account + ")"
	}
	s := fmt.Sprintf("%s: %s", who, strings.Join(a.Permissions, ", "))
	if a.Conditions != "" {
		s += ", if " + a.Conditions
	}
	return s + " (" + a.Source + ")"
}

// String is the evidence in a line, the time in UTC.
func (e Evidence) String() string {
	s := e.Source
	if !e.Time.IsZero() {
		s += ", " + utc(e.Time)
	}
	if e.RequestID != "" {
		s += ", request " + e.RequestID
	}
	if e.EventID != "" {
		s += ", event " + e.EventID
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
