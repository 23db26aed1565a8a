package report

import (
	_ "embed"
	"html/template"
	"io"
	"time"
)

//go:embed organization.html.tmpl
var organizationPage string

// organizationTemplate shares the style and the functions of a report's page.
var organizationTemplate = template.Must(template.Must(pageTemplate.Clone()).New("organization").Parse(organizationPage))

// matrixCell is the status of a check in an account.
type matrixCell struct {
	column
	Status     Status
	First, Bad bool // of its group; has findings
}

// accountRow is an account in the heat map, and its findings.
type accountRow struct {
	Account
	Cells    []matrixCell
	Findings []regionFindings
}

// regionFindings is what did not pass in a Region.
type regionFindings struct {
	Region   string
	Counts   string
	Problems []Result
}

// writeOrganizationHTML writes o as one page that needs nothing but itself: a heat
// map of accounts and checks that links to the findings of each account.
func writeOrganizationHTML(w io.Writer, o *Organization) error {
	columns := o.columns()
	var rows []accountRow
	for _, a := range o.urgent() {
		row := accountRow{Account: a}
		for i, c := range columns {
			s := a.cell(c.ID, len(o.Regions))
			row.Cells = append(row.Cells, matrixCell{c, s, i == 0 || c.Group != columns[i-1].Group, s != Pass && s != Skipped})
		}
		for _, r := range a.Reports {
			if problems := r.problems(); len(problems) > 0 {
				row.Findings = append(row.Findings, regionFindings{r.Subject.Region, r.Summary.counts(), problems})
			}
		}
		rows = append(rows, row)
	}
	var counts []statusCount
	for _, s := range statuses {
		counts = append(counts, statusCount{s, o.Summary.of(s)})
	}
	return organizationTemplate.Execute(w, struct {
		*Organization
		Headline, FlagText string
		Duration           time.Duration
		Statuses           []statusCount
		Groups             []matrixGroup
		Rows               []accountRow
		ByCheck            []checkProblem
	}{o, o.headline(), ShellFlags(o.Flags), o.FinishedAt.Sub(o.StartedAt).Round(100 * time.Millisecond), counts, matrixGroups(columns), rows, o.problemsByCheck()})
}
