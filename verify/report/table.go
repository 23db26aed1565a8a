package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// shownFailures is how many failures the table names; the other formats name
// all that the report carries.
const shownFailures = 10

// WriteTable writes r for a person at a terminal: the checks by group, what to
// do about the ones that did not pass, and the verdict last, where the eye is
// when the command ends.
func WriteTable(w io.Writer, r *Report, o Options) error {
	if o.Width < 40 {
		o.Width = 80
	}
	r = shown(r)
	t := table{Writer: bufio.NewWriter(w), Options: o}
	t.head(r)
	idWidth := 0
	for _, x := range r.Results {
		idWidth = max(idWidth, columns(x.ID))
	}
	for _, g := range r.groups() {
		fmt.Fprintf(t, "\n%s\n", t.paint(bold, g.Title))
		for _, x := range g.Results {
			t.result(x, idWidth)
		}
	}
	fmt.Fprintln(t)
	verdict := fmt.Sprintf("%s %s", r.Verdict.sign(), r.Verdict)
	rest := ": " + r.headline()
	if c := r.Summary.counts(); c != "" {
		rest += " (" + c + ")"
	}
	for i, line := range wrap(verdict+rest, o.Width) {
		if i == 0 {
			line = t.paint(colorOf(r.Verdict), verdict) + strings.TrimPrefix(line, verdict)
		}
		fmt.Fprintln(t, line)
	}
	return t.Flush()
}

type table struct {
	*bufio.Writer
	Options
}

func (t table) head(r *Report) {
	for _, line := range wrap(fmt.Sprintf("kms-baseline verify %s, %s", r.Version, utc(r.StartedAt)), t.Width) {
		fmt.Fprintln(t, line)
	}
	s := r.Subject
	objects := ""
	if s.ObjectCount > 0 || len(s.Objects) > 0 {
		objects = fmt.Sprintf("%d checked", s.ObjectCount)
		const named = 3 // of up to 20
		if len(s.Objects) > 0 {
			objects += ": " + strings.Join(s.Objects[:min(len(s.Objects), named)], ", ")
		}
		if len(s.Objects) > named || s.ObjectCount > len(s.Objects) {
			objects += ", ..."
		}
	}
	for _, row := range [][2]string{
		{"account", s.Account},
		{"region", s.Region},
		{"caller", s.Caller},
		{"key", s.KeyARN},
		{"alias", s.Alias},
		{"bucket", s.Bucket},
		{"objects", objects},
		{"ebs key", s.EBSKeyARN},
	} {
		if row[1] != "" {
			t.labeled("  ", row[0], 9, wrap(row[1], t.Width-11))
		}
	}
}

func (t table) result(x Result, idWidth int) {
	const statusWidth = 14 // "✗ inconclusive"
	status := fmt.Sprintf("%s %-*s", x.Status.sign(), statusWidth-2, x.Status)
	indent := 2 + statusWidth + 2 + idWidth + 2
	first := fmt.Sprintf("  %s  %s", t.paint(colorOf(x.Status), status), x.ID)
	if t.Width-indent < 20 { // no room beside the id
		fmt.Fprintln(t, first)
		t.labeled("      ", "", 0, wrap(x.Title, t.Width-6))
	} else {
		titles := wrap(x.Title, t.Width-indent)
		fmt.Fprintf(t, "%s%*s%s\n", first, idWidth-columns(x.ID)+2, "", titles[0])
		t.labeled("", "", indent, titles[1:])
	}

	detail := func(label, text string) {
		if text != "" {
			t.labeled("      ", label, 10, wrap(text, t.Width-16))
		}
	}
	switch {
	case x.Status == Skipped:
		detail("reason", x.Actual)
	case x.Status != Pass || t.Verbose:
		detail("expected", x.Expected)
		detail("actual", x.Actual)
	}
	if t.Verbose {
		detail("why", x.Why)
	}
	for i, f := range x.Failures[:min(len(x.Failures), shownFailures)] {
		label := ""
		if i == 0 {
			label = "failed"
		}
		detail(label, f)
	}
	if more := max(x.FailureCount, len(x.Failures)) - shownFailures; more > 0 {
		detail("", fmt.Sprintf("and %d more", more))
	}
	if t.Verbose {
		for _, e := range x.Evidence {
			detail("evidence", e.String())
		}
		for _, c := range x.Controls {
			detail("control", c.String())
		}
	}
	if x.Status != Pass && x.Remedy != "" {
		lines := wrap(x.Remedy, t.Width-16)
		if isCommand(x.Remedy) {
			lines = wrapCommand(x.Remedy, t.Width-16)
		}
		t.labeled("      ", "hint:", 10, lines)
	}
}

// labeled writes a label and the lines of its text in a column beside it.
func (t table) labeled(indent, label string, width int, lines []string) {
	for i, line := range lines {
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(t, "%s%s%s\n", indent, t.paint(dim, fmt.Sprintf("%-*s", width, label)), line)
	}
}

// isCommand tells a remedy that is a command with flags from one that is prose,
// though it may start with a program's name.
func isCommand(remedy string) bool {
	program, rest, _ := strings.Cut(remedy, " ")
	switch program {
	case "aws", "pulumi", "verify":
		return strings.Contains(" "+rest, " --")
	}
	return false
}

// The SGR parameters of the colors: those of the terminal's own palette that
// stay legible on dark and on light.
const (
	bold = "1"
	dim  = "2"
)

func colorOf(s Status) string {
	switch s {
	case Pass:
		return "32"
	case Fail:
		return "1;31"
	case Inconclusive:
		return "33"
	case Skipped:
		return dim
	default:
		return "35"
	}
}

func (t table) paint(sgr, s string) string {
	if !t.Color || strings.TrimSpace(s) == "" {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}
