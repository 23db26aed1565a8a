package report

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// writeOrganizationTable writes o for a person at a terminal: a matrix of accounts and
// checks (without [Options.Verbose] only the accounts that did not pass), then
// the problems by check, then the accounts that were not examined, and the
// verdict last.
func writeOrganizationTable(w io.Writer, o *Organization, style Options) error {
	if style.Width < 40 {
		style.Width = 80
	}
	t := table{Writer: bufio.NewWriter(&lineGuard{w: w}), Options: style}
	t.notice(o.Notice)
	for _, line := range wrap(fmt.Sprintf("kms-baseline verify org %s, %s", o.Version, utc(o.StartedAt)), t.Width) {
		fmt.Fprintln(t, line)
	}
	for _, row := range [][2]string{
		{"caller", o.Caller},
		{"role", o.Role},
		{"regions", strings.Join(o.Regions, ", ")},
		{"accounts", fmt.Sprint(len(o.Accounts))},
		{"CA bundle", o.CABundle},
		{"flags", ShellFlags(o.Flags)},
	} {
		if row[1] != "" {
			t.labeled("  ", row[0], 11, wrap(row[1], t.Width-13))
		}
	}
	t.matrix(o)
	t.problemsByCheck(o)
	t.unexamined(o)
	fmt.Fprintln(t)
	t.verdict(o.Verdict, o.headline(), o.Summary.counts())
	return t.Flush()
}

// matrixGroup is the checks of one group, side by side in the matrix.
type matrixGroup struct {
	Name    string
	Columns []column
}

func matrixGroups(columns []column) []matrixGroup {
	var groups []matrixGroup
	for _, c := range columns {
		if len(groups) == 0 || groups[len(groups)-1].Name != c.Group {
			groups = append(groups, matrixGroup{Name: c.Group})
		}
		g := &groups[len(groups)-1]
		g.Columns = append(g.Columns, c)
	}
	return groups
}

// matrix has a line for each account, and in it a sign for each check. Groups
// that do not fit beside each other continue in lines below.
func (t table) matrix(o *Organization) {
	groups := matrixGroups(o.columns())
	if len(groups) == 0 {
		return
	}
	const id = 12
	name := 0
	var accounts []Account
	passed := 0
	for _, a := range o.urgent() {
		if !t.Verbose && (a.Verdict == Pass || a.Verdict == Skipped) {
			passed++
			continue
		}
		accounts = append(accounts, a)
		name = max(name, columns(a.Name))
	}
	name = min(name, 24)
	left := 2 + 2 + id + 2 + name
	var lines [][]matrixGroup
	used := t.Width
	for _, g := range groups {
		width := 2 + max(columns(g.Name), len(g.Columns))
		if used+width > t.Width {
			lines, used = append(lines, nil), left
		}
		lines[len(lines)-1] = append(lines[len(lines)-1], g)
		used += width
	}
	if len(accounts) > 0 {
		fmt.Fprintln(t)
		for _, line := range lines {
			head := strings.Repeat(" ", left)
			for _, g := range line {
				head += "  " + padded(g.Name, max(columns(g.Name), len(g.Columns)))
			}
			fmt.Fprintln(t, t.paint(bold, head))
		}
	}
	for _, a := range accounts {
		for i, line := range lines {
			if i == 0 {
				fmt.Fprintf(t, "  %s %-*s  %s", t.paint(colorOf(a.Verdict), a.Verdict.sign()), id, a.ID, padded(a.Name, name))
			} else {
				fmt.Fprintf(t, "%*s", left, "")
			}
			for _, g := range line {
				fmt.Fprint(t, "  ")
				for _, c := range g.Columns {
					s := a.cell(c.ID, len(o.Regions))
					fmt.Fprint(t, t.paint(colorOf(s), s.sign()))
				}
				fmt.Fprintf(t, "%*s", max(0, columns(g.Name)-len(g.Columns)), "")
			}
			fmt.Fprintln(t)
		}
	}
	if passed > 0 {
		fmt.Fprintf(t, "\n  %s not shown, passed or excluded (-v shows all)\n", plural(passed, "account"))
	}
	if len(accounts) > 0 {
		var legend []string
		for _, s := range statuses {
			legend = append(legend, s.sign()+" "+string(s))
		}
		fmt.Fprintf(t, "\n  %s\n", t.paint(dim, strings.Join(legend, "  ")))
	}
}

// padded is s in a column of the width, cut where it is longer.
func padded(s string, width int) string {
	if columns(s) > width {
		r := []rune(s)
		for columns(string(r)) > width-1 {
			r = r[:len(r)-1]
		}
		s = string(r) + "…"
	}
	return s + strings.Repeat(" ", max(0, width-columns(s)))
}

// checkProblem is a check that did not pass somewhere, and where.
type checkProblem struct {
	column
	Status Status
	Where  []string // account, Region and reason
}

// problemsByCheck are the checks that did not pass in some account, in the
// report's order of urgency. Accounts without any report are not in it.
func (o *Organization) problemsByCheck() []checkProblem {
	index := map[string]int{}
	var list []checkProblem
	for _, status := range []Status{Fail, Error, Inconclusive} {
		for _, c := range o.columns() {
			for _, a := range o.Accounts {
				for _, r := range a.Reports {
					for _, x := range r.Results {
						if x.ID != c.ID || x.Status != status {
							continue
						}
						key := string(status) + c.ID
						if _, ok := index[key]; !ok {
							index[key] = len(list)
							list = append(list, checkProblem{column: c, Status: status})
						}
						p := &list[index[key]]
						p.Where = append(p.Where, fmt.Sprintf("%s, %s: %s", a.label(), r.Subject.Region, x.Actual))
					}
				}
			}
		}
	}
	return list
}

func (t table) problemsByCheck(o *Organization) {
	list := o.problemsByCheck()
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(t, "\n%s\n", t.paint(bold, "What did not pass"))
	for _, p := range list {
		t.problem(p.Status, p.ID, p.Severity, p.Title)
		for _, where := range p.Where[:min(len(p.Where), shownFailures)] {
			t.labeled("      ", "", 0, wrap(where, t.Width-6))
		}
		if more := len(p.Where) - shownFailures; more > 0 {
			t.labeled("      ", "", 0, []string{fmt.Sprintf("and %d more", more)})
		}
	}
}

func (t table) unexamined(o *Organization) {
	accounts := slices.DeleteFunc(slices.Clone(o.Accounts), func(a Account) bool { return a.NotExamined == "" || a.Verdict == Skipped })
	if len(accounts) == 0 {
		return
	}
	fmt.Fprintf(t, "\n%s\n", t.paint(bold, "Not examined, or not completely"))
	for _, a := range accounts {
		lines := wrap(fmt.Sprintf("! %s: %s", a.label(), a.NotExamined), t.Width-4)
		t.labeled("  ", "", 0, lines[:1])
		t.labeled("    ", "", 0, lines[1:])
	}
}
