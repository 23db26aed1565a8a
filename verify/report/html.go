package report

import (
	_ "embed"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"
)

//go:embed report.html.tmpl
var page string

// shownOnPage is how many failures of a check the page names.
const shownOnPage = 20

// shownEvents is how many events the page lists; the JSON has them all.
const shownEvents = 200

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"sign":      Status.sign,
	"meaning":   Status.meaning,
	"utc":       utc,
	"iso":       func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"day":       func(t time.Time) string { return t.UTC().Format("2006-01-02") },
	"clock":     func(t time.Time) string { return t.UTC().Format("15:04") },
	"upper":     func(s Status) string { return strings.ToUpper(string(s)[:1]) + string(s)[1:] },
	"plural":    plural,
	"sub":       func(a, b int) int { return a - b },
	"half":      func(a, b int) int { return (a + b) / 2 },
	"add":       func(a, b float64) float64 { return a + b },
	"addi":      func(a, b int) int { return a + b },
	"first":     func(list []string) []string { return list[:min(len(list), shownOnPage)] },
	"more":      func(x Result) int { return max(x.FailureCount, len(x.Failures)) - min(len(x.Failures), shownOnPage) },
	"moreWhere": func(list []string) int { return max(0, len(list)-shownOnPage) },
	"command":   IsCommand,
	"controls":  controlLine,
}).Parse(page))

// WriteHTML writes r as one page that needs nothing but itself: no script, no
// font, no picture from elsewhere, which its content security policy enforces.
// It adapts to light and dark, to a telephone's width and to paper.
func WriteHTML(w io.Writer, r *Report) error {
	r = shown(r)
	c := chainOf(r)
	data := struct {
		*Report
		Headline                              string
		Problems                              []Result
		Endpoint, Flags, LeftOut, ObjectScope string
		AccessByResource                      [][]Access
		Duration                              time.Duration
		Statuses                              []statusCount
		Chain                                 chain
		ChainSVGs                             []chainSVG
		Groups                                []group
		Usage                                 usage
		PlotSVGs                              []plotSVG
		Listed                                []KeyUse // the events shown, the newest first
		Controls                              []framework
	}{
		Report:   r,
		Headline: r.headline(),
		Problems: r.problems(),
		Endpoint: r.Scope.endpoints(), Flags: r.Scope.flags(), LeftOut: r.Scope.leftOut(), ObjectScope: r.objects(),
		Duration:  r.FinishedAt.Sub(r.StartedAt).Round(100 * time.Millisecond),
		Chain:     c,
		ChainSVGs: []chainSVG{c.across(), c.down()},
		Groups:    r.groups(),
		Usage:     usageOf(r.Events, 32),
		Controls:  frameworks(r.Results),
	}
	for i, a := range r.Access {
		if i == 0 || a.Resource != r.Access[i-1].Resource {
			data.AccessByResource = append(data.AccessByResource, nil)
		}
		last := &data.AccessByResource[len(data.AccessByResource)-1]
		*last = append(*last, a)
	}
	for _, s := range statuses {
		data.Statuses = append(data.Statuses, statusCount{s, r.Summary.of(s)})
	}
	if len(r.Events) > 0 {
		data.PlotSVGs = []plotSVG{
			data.Usage.plot("plot-wide", 1058, 270, r.proofOfWrite()),
			usageOf(r.Events, 14).plot("plot-narrow", 328, 240, r.proofOfWrite()),
		}
		data.Listed = slices.Clone(r.Events)
		slices.Reverse(data.Listed)
		data.Listed = data.Listed[:min(len(data.Listed), shownEvents)]
	}
	return pageTemplate.Execute(w, data)
}

type statusCount struct {
	Status Status
	Count  int
}

// framework is a framework's requirements, in a row of the page.
type framework struct {
	Framework string
	Rows      []controlRow
}

func frameworks(results []Result) []framework {
	var list []framework
	for _, row := range controlRows(results) {
		if len(list) == 0 || list[len(list)-1].Framework != row.Framework {
			list = append(list, framework{Framework: row.Framework})
		}
		last := &list[len(list)-1]
		last.Rows = append(last.Rows, row)
	}
	return list
}

// controlLine is the controls of a check in one line: each framework once, the
// editions of the CIS benchmark that agree together.
func controlLine(controls []Control) string {
	const cis = "CIS AWS Foundations "
	var parts, editions []string // parts by framework; editions of the last one
	last, id := "", ""
	for _, c := range controls {
		text := c.ID
		if c.Partial {
			text += " (in part)"
		}
		edition, isCIS := strings.CutPrefix(c.Framework, cis)
		switch {
		case isCIS && last == cis && text == id:
			editions = append(editions, edition)
			parts[len(parts)-1] = strings.Join(editions, ", ") + ": " + id
			continue
		case isCIS:
			editions, id = []string{edition}, text
			text = edition + ": " + text
			if last != cis {
				text = cis + text
				editions[0] = cis + edition
			}
			last = cis
			parts = append(parts, text)
		case last == c.Framework:
			parts[len(parts)-1] += ", " + text
		default:
			last = c.Framework
			parts = append(parts, c.Framework+" "+text)
		}
	}
	return strings.Join(parts, "; ")
}

// controlRow is one requirement with the checks that are evidence for it.
type controlRow struct {
	Control
	Status Status // the worst of the checks
	Checks []Result
}

// controlRows turns the checks' controls around, sorted by framework and then
// in the order of the checks.
func controlRows(results []Result) []controlRow {
	var rows []controlRow
	for _, x := range results {
		for _, c := range x.Controls {
			i := slices.IndexFunc(rows, func(r controlRow) bool {
				return r.Framework == c.Framework && r.ID == c.ID
			})
			if i < 0 {
				i, rows = len(rows), append(rows, controlRow{Control: c})
			}
			rows[i].Partial = rows[i].Partial && c.Partial
			rows[i].Checks = append(rows[i].Checks, x)
		}
	}
	for i := range rows {
		rows[i].Status = worst(rows[i].Checks)
	}
	slices.SortStableFunc(rows, func(a, b controlRow) int { return strings.Compare(a.Framework, b.Framework) })
	return rows
}
