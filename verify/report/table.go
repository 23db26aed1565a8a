package report

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// shownFailures is how many failures the table names; the other formats name
// all that the report carries.
const shownFailures = 10

// WriteTable writes r for a person at a terminal: the checks by group (with
// [Options.Verbose] all of them, else those that did not pass, and the names of the
// others), then those that did not pass once more, the most severe first, and the verdict
// last, where the eye is when the command ends.
func WriteTable(w io.Writer, r *Report, o Options) error {
	if o.Width < 40 {
		o.Width = 80
	}
	r = shown(r)
	t := table{Writer: bufio.NewWriter(&lineGuard{w: w}), Options: o}
	t.head(r)
	idWidth := 0
	for _, x := range r.Results {
		idWidth = max(idWidth, columns(x.ID))
	}
	for _, g := range r.groups() {
		results := slices.DeleteFunc(slices.Clone(g.Results), t.onlyNamed)
		if len(results) == 0 {
			continue
		}
		fmt.Fprintf(t, "\n%s\n", t.paint(bold, g.Title))
		for _, x := range results {
			t.result(x, idWidth)
		}
	}
	t.names(r)
	t.access(r)
	t.problems(r)
	fmt.Fprintln(t)
	t.verdict(r.Verdict, r.headline(), r.Summary.counts())
	return t.Flush()
}

// verdict writes the last lines of a report.
func (t table) verdict(s Status, headline, counts string) {
	verdict := fmt.Sprintf("%s %s", s.sign(), s)
	rest := ": " + headline
	if counts != "" {
		rest += " (" + counts + ")"
	}
	for i, line := range wrap(verdict+rest, t.Width) {
		if i == 0 {
			line = t.paint(colorOf(s), verdict) + strings.TrimPrefix(line, verdict)
		}
		fmt.Fprintln(t, line)
	}
}

type table struct {
	*bufio.Writer
	Options
}

func (t table) head(r *Report) {
	t.notice(r.Notice)
	for _, line := range wrap(fmt.Sprintf("kms-baseline verify %s, %s", r.Version, utc(r.StartedAt)), t.Width) {
		fmt.Fprintln(t, line)
	}
	s := r.Subject
	named := ""
	const most = 3 // of up to 20
	if len(s.Objects) > 0 {
		named = strings.Join(s.Objects[:min(len(s.Objects), most)], ", ")
		if len(s.Objects) > most {
			named += ", ..."
		}
	}
	for _, row := range append([][2]string{
		{"account", s.Account},
		{"region", s.Region},
		{"caller", s.Caller},
		{"key", s.KeyARN},
		{"alias", s.Alias},
		{"bucket", s.Bucket},
		{"objects", r.objects()},
		{"named", named},
		{"ebs key", s.EBSKeyARN},
	}, r.scopeRows()...) {
		if row[1] != "" {
			t.labeled("  ", row[0], 11, wrap(row[1], t.Width-13))
		}
	}
}

// notice writes what a reader must know first, if anything.
func (t table) notice(text string) {
	if text != "" {
		for _, line := range wrap("! "+text, t.Width) {
			fmt.Fprintln(t, t.paint(colorOf(Fail), line))
		}
		fmt.Fprintln(t)
	}
}

// access lists who may use the key and the bucket.
func (t table) access(r *Report) {
	if len(r.Access) == 0 && len(r.AccessNotes) == 0 {
		return
	}
	fmt.Fprintf(t, "\n%s\n", t.paint(bold, "Who has access"))
	resource := ""
	for _, a := range r.Access {
		if a.Resource != resource {
			resource = a.Resource
			t.labeled("  ", "", 0, wrap(resource, t.Width-2))
		}
		t.labeled("    ", "", 0, wrap(a.words(), t.Width-4))
	}
	for _, n := range r.AccessNotes {
		t.labeled("  ", "not covered: ", 0, wrap(n, t.Width-15))
	}
}

// problems repeats what did not pass, in the order of urgency.
func (t table) problems(r *Report) {
	list := r.problems()
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(t, "\n%s\n", t.paint(bold, "What did not pass"))
	for _, x := range list {
		t.problem(x.Status, x.ID, x.Severity, x.Actual)
	}
}

// problem writes one check that did not pass.
func (t table) problem(status Status, id, severity, text string) {
	head := fmt.Sprintf("%s %s", status.sign(), id)
	lines := wrap(fmt.Sprintf("%s (%s): %s", head, severity, text), t.Width-4)
	lines[0] = t.paint(colorOf(status), head) + strings.TrimPrefix(lines[0], head)
	fmt.Fprintf(t, "  %s\n", lines[0])
	t.labeled("    ", "", 0, lines[1:])
}

const statusWidth = 14 // "? inconclusive"

// onlyNamed reports whether a check is only named: without -v those that passed
// and those that were skipped are, so that what did not pass stands out.
func (t table) onlyNamed(x Result) bool {
	return !t.Verbose && (x.Status == Pass || x.Status == Skipped)
}

// names names the checks that passed, and those that were skipped by the reason.
func (t table) names(r *Report) {
	var passed, reasons []string
	skipped := map[string][]string{}
	for _, x := range r.Results {
		switch {
		case !t.onlyNamed(x):
		case x.Status == Pass:
			passed = append(passed, x.ID)
		default:
			if skipped[x.Actual] == nil {
				reasons = append(reasons, x.Actual)
			}
			skipped[x.Actual] = append(skipped[x.Actual], x.ID)
		}
	}
	if len(passed)+len(reasons) > 0 {
		fmt.Fprintln(t)
	}
	t.named(Pass, passed, "")
	for _, why := range reasons {
		t.named(Skipped, skipped[why], ": "+why)
	}
}

// named writes the ids of checks with one status in a line or a few.
func (t table) named(s Status, ids []string, rest string) {
	if len(ids) == 0 {
		return
	}
	status := fmt.Sprintf("%s %-*s", s.sign(), statusWidth-2, s)
	for i, line := range wrap(strings.Join(ids, ", ")+rest, t.Width-statusWidth-4) {
		if i > 0 {
			status = strings.Repeat(" ", statusWidth)
		}
		fmt.Fprintf(t, "  %s  %s\n", t.paint(colorOf(s), status), line)
	}
}

func (t table) result(x Result, idWidth int) {
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
		label, lines := "hint:", wrap(x.Remedy, t.Width-16)
		if IsCommand(x.Remedy) {
			label, lines = "run:", wrapCommand(x.Remedy, t.Width-16)
		}
		t.labeled("      ", label, 10, lines)
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

// IsCommand reports whether a remedy is a command that can be run as it stands,
// not a sentence: it starts with a program's name, and what follows is
// subcommands and flags.
func IsCommand(remedy string) bool {
	first, _, _ := strings.Cut(remedy, " && ")
	words := strings.Fields(first)
	if len(words) < 2 || !slices.Contains([]string{"aws", "pulumi", "verify"}, words[0]) {
		return false
	}
	for i, w := range words[1:] {
		switch {
		case strings.HasPrefix(w, "-"):
			return true
		case strings.Trim(w, "abcdefghijklmnopqrstuvwxyz0123456789-") != "", i >= 2: // "aws s3 ls s3://bucket"
			return strings.Contains(w, "s3://")
		}
	}
	return words[0] == "aws" && len(words) == 3 || words[0] != "aws" && len(words) == 2
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

// lineGuard keeps lines from being commands to a CI system, which reads them
// from the log: GitHub takes a line that starts with "::" for one.
type lineGuard struct {
	w    io.Writer
	line []byte // an incomplete one
}

func (g *lineGuard) Write(b []byte) (int, error) {
	for _, line := range bytes.SplitAfter(b, []byte("\n")) {
		g.line = append(g.line, line...)
		if !bytes.HasSuffix(g.line, []byte("\n")) {
			continue
		}
		out := g.line
		if text := bytes.TrimLeft(out, " \t"); bytes.HasPrefix(text, []byte("::")) {
			out = slices.Concat(out[:len(out)-len(text)], []byte(escape(':')), text[1:])
		}
		if _, err := g.w.Write(out); err != nil {
			return 0, err
		}
		g.line = g.line[:0]
	}
	return len(b), nil
}
