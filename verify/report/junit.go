package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteJUnit writes r as the JUnit XML that CI systems read: a test suite per
// group, a test case per check.
//
// An inconclusive check becomes an error of type "inconclusive". JUnit knows
// pass, skipped, failure and error; CI systems show a skipped test as green or
// gray and let the build go on, and a check without its evidence must not be
// taken for one that passed. It is not a failure either: nothing wrong was
// seen.
func WriteJUnit(w io.Writer, r *Report) error {
	r = shown(r)
	name := "kms-baseline verify"
	if r.Notice != "" {
		name = r.Notice + " " + name
	}
	doc := junitSuites{
		Name:     name,
		Tests:    len(r.Results),
		Failures: r.Summary.Fail,
		Errors:   r.Summary.Error + r.Summary.Inconclusive,
		Skipped:  r.Summary.Skipped,
		Time:     fmt.Sprintf("%.3f", r.FinishedAt.Sub(r.StartedAt).Seconds()),
	}
	for _, g := range r.groups() {
		s := junitSuite{
			Name:       g.Name,
			Tests:      len(g.Results),
			Timestamp:  r.StartedAt.UTC().Format(time.RFC3339),
			Properties: junitProperties(r),
		}
		for _, x := range g.Results {
			c := junitCase{Class: "verify." + g.Name, Name: x.ID + ": " + x.Title}
			problem := &junitProblem{Message: x.Actual, Type: string(x.Status), Text: junitText(r, x)}
			switch x.Status {
			case Pass:
			case Fail:
				s.Failures++
				c.Failure = problem
			case Skipped:
				s.Skipped++
				c.Skipped = &junitSkipped{Message: x.Actual}
			default:
				s.Errors++
				c.Error = problem
			}
			if len(x.Evidence) > 0 {
				c.Output = &junitOutput{}
				for _, e := range x.Evidence {
					c.Output.Text += e.String() + "\n"
				}
			}
			s.Cases = append(s.Cases, c)
		}
		doc.Suites = append(doc.Suites, s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(doc); err != nil {
		return fmt.Errorf("encoding the report: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"` // seconds
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Skipped *junitSkipped `xml:"skipped"`
	Error   *junitProblem `xml:"error"`
	Failure *junitProblem `xml:"failure"`
	Output  *junitOutput  `xml:"system-out"`
}

type junitSkipped struct {
	Message string `xml:"message,attr"`
}

type junitProblem struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",cdata"` // as cdata its lines stay lines in the file
}

type junitOutput struct {
	Text string `xml:",cdata"`
}

func junitProperties(r *Report) []junitProperty {
	var ps []junitProperty
	for _, p := range []junitProperty{
		{"notice", r.Notice},
		{"verdict", string(r.Verdict)},
		{"version", r.Version},
		{"account", r.Subject.Account},
		{"region", r.Subject.Region},
		{"caller", r.Subject.Caller},
		{"key", r.Subject.KeyARN},
		{"bucket", r.Subject.Bucket},
		{"objects", r.objects()},
		{"endpoint", r.Scope.endpoints()},
		{"caBundle", r.Scope.CABundle},
		{"flags", r.Scope.flags()},
		{"leftOut", r.Scope.leftOut()},
	} {
		if p.Value != "" {
			ps = append(ps, p)
		}
	}
	for _, a := range r.Access {
		ps = append(ps, junitProperty{"access", a.Resource + ": " + a.words()})
	}
	for _, n := range r.AccessNotes {
		ps = append(ps, junitProperty{"accessNote", n})
	}
	return ps
}

// junitText is the body of a failure or an error, which CI systems show as it
// is.
func junitText(r *Report, x Result) string {
	var b strings.Builder
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-9s %s\n", label, text)
		}
	}
	line("notice", r.Notice)
	line("expected", x.Expected)
	line("actual", x.Actual)
	line("why", x.Why)
	for _, f := range x.Failures {
		line("failed", f)
	}
	if more := x.FailureCount - len(x.Failures); more > 0 {
		line("", fmt.Sprintf("and %d more", more))
	}
	for _, c := range x.Controls {
		line("control", c.String())
	}
	if IsCommand(x.Remedy) {
		line("run:", x.Remedy)
	} else {
		line("hint:", x.Remedy)
	}
	return b.String()
}
