package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// OrganizationSchema names the version of the JSON that an [Organization] is
// written as: see [Schema].
const OrganizationSchema = "kms-baseline/verify-organization/v1"

// OrganizationFormats names the formats of an [Organization], the default one
// first.
var OrganizationFormats = []string{"table", "json", "html"}

// Organization is one run of verify org: the same checks in many accounts and
// Regions.
type Organization struct {
	Schema string `json:"schema"`
	// Notice is what a reader must know before anything else: see
	// [Report.Notice].
	Notice     string    `json:"notice,omitempty"`
	Version    string    `json:"version"` // of the verify binary
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt"`
	Verdict    Status    `json:"verdict"` // the worst of the accounts: see Organization.Judge
	// Summary counts the accounts by verdict.
	Summary Summary  `json:"summary"`
	Caller  string   `json:"caller,omitempty"` // ARN of the caller that assumed the roles
	Role    string   `json:"role"`             // name of the role that was assumed in each account
	Regions []string `json:"regions"`
	// Flags are the flags of the run, one an item.
	Flags []string `json:"flags"`
	// Endpoints are the endpoints of the calls that found the accounts and
	// assumed the roles; those of the checks are in the reports.
	Endpoints []Endpoint `json:"endpoints"`
	// CABundle is the setting that replaces the system's certificate authorities.
	CABundle string    `json:"caBundle,omitempty"`
	Accounts []Account `json:"accounts"` // in the order in which they were named
}

// Account is what was found in one account.
type Account struct {
	ID      string `json:"id"`             // AWS account ID
	Name    string `json:"name,omitempty"` // as the file or Organizations names it
	Verdict Status `json:"verdict"`        // the worst of the Regions; error if one could not be examined
	// NotExamined is why the account was not examined, or not completely. Empty
	// means that every check of every Region has a result.
	NotExamined string `json:"notExamined,omitempty"`
	// Reports are the results, one for each Region that was examined.
	Reports []Report `json:"reports"`
}

// Judge fills the verdicts, Summary and Notice. An account that was not examined
// completely has the verdict fail if a check failed, and error otherwise. An
// excluded account has the verdict skipped already, which does not count. No
// account at all is an error.
func (o *Organization) Judge() {
	o.Summary = Summary{}
	results := []Result{}
	scope := Scope{Endpoints: slices.Clone(o.Endpoints), CABundle: o.CABundle}
	for i := range o.Accounts {
		a := &o.Accounts[i]
		a.Judge()
		results = append(results, Result{Status: a.Verdict})
		for _, r := range a.Reports {
			scope.Endpoints = append(scope.Endpoints, r.Scope.Endpoints...)
		}
	}
	// The accounts' verdicts combine as those of checks do.
	r := Report{Results: results, Scope: scope}
	r.Judge()
	o.Verdict, o.Summary, o.Notice = r.Verdict, r.Summary, r.Notice
}

// Judge fills the verdict: see [Organization.Judge].
func (a *Account) Judge() {
	if a.Verdict == Skipped {
		return
	}
	var results []Result
	for _, r := range a.Reports {
		results = append(results, Result{Status: r.Verdict})
	}
	if a.NotExamined != "" {
		results = append(results, Result{Status: Error})
	}
	r := Report{Results: results}
	r.Judge()
	a.Verdict = r.Verdict
}

// WriteOrganization writes o in one of [OrganizationFormats]. Values that look
// like credentials are masked in all of them.
func WriteOrganization(w io.Writer, format string, o *Organization, style Options) error {
	switch format {
	case "table":
		return writeOrganizationTable(w, shown(o), style)
	case "json":
		return encodeJSON(w, mapStrings(o, maskSecrets))
	case "html":
		return writeOrganizationHTML(w, shown(o))
	}
	return fmt.Errorf("unknown format %q: use one of %s", format, strings.Join(OrganizationFormats, ", "))
}

// RedactOrganization returns a copy of o without AWS account IDs: see [Redact].
// The names of the accounts are masked, too.
func RedactOrganization(o *Organization) *Organization {
	m := masks{names: map[string]string{}}
	for _, a := range o.Accounts {
		m.account(a.ID)
	}
	out := redact(o, m)
	for i := range out.Accounts {
		out.Accounts[i].Name = ""
	}
	return out
}

// headline is the verdict in a sentence.
func (o *Organization) headline() string {
	s := o.Summary
	examined := s.Pass + s.Fail + s.Inconclusive + s.Error
	text := ""
	switch {
	case examined == 0:
		return "no account was examined"
	case o.Verdict == Pass && examined == 1:
		text = "the account passed"
	case o.Verdict == Pass:
		text = fmt.Sprintf("all %d accounts passed", examined)
	case o.Verdict == Fail:
		text = fmt.Sprintf("%d of %s failed", s.Fail, plural(examined, "account"))
	case o.Verdict == Error:
		text = fmt.Sprintf("%d of %s could not be evaluated completely", s.Error, plural(examined, "account"))
	default:
		text = fmt.Sprintf("%d of %s inconclusive", s.Inconclusive, plural(examined, "account"))
	}
	if n := o.notExamined(); n > 0 {
		text += fmt.Sprintf(", %d not examined", n)
	}
	return text
}

// notExamined is how many accounts were not examined, or not completely.
func (o *Organization) notExamined() int {
	n := 0
	for _, a := range o.Accounts {
		if a.NotExamined != "" && a.Verdict != Skipped {
			n++
		}
	}
	return n
}

// column is a check in the matrix of accounts and checks.
type column struct{ ID, Group, Title, Severity string }

// columns are the checks that an account has a result of, in the order of the
// catalogue.
func (o *Organization) columns() []column {
	var list []column
	for _, a := range o.Accounts {
		for _, r := range a.Reports {
			if len(r.Results) <= len(list) {
				continue // every run has the same checks
			}
			list = nil
			for _, x := range r.Results {
				list = append(list, column{x.ID, x.Group, x.Title, x.Severity})
			}
		}
	}
	return list
}

// cell is the worst status of a check in the account's Regions, of which there
// are n. A Region without a result is an error: it was not examined.
func (a Account) cell(id string, n int) Status {
	if a.Verdict == Skipped {
		return Skipped
	}
	var results []Result
	if len(a.Reports) < n {
		results = append(results, Result{Status: Error})
	}
	for _, r := range a.Reports {
		x := Result{Status: Error}
		if i := slices.IndexFunc(r.Results, func(x Result) bool { return x.ID == id }); i >= 0 {
			x = r.Results[i]
		}
		results = append(results, x)
	}
	return worst(results)
}

// urgent are the accounts, the most urgent first: failed, not evaluated,
// inconclusive, passed, excluded.
func (o *Organization) urgent() []Account {
	list := slices.Clone(o.Accounts)
	slices.SortStableFunc(list, func(a, b Account) int {
		order := []Status{Fail, Error, Inconclusive, Pass, Skipped}
		return cmp.Compare(slices.Index(order, a.Verdict), slices.Index(order, b.Verdict))
	})
	return list
}

// label is the account's ID and name.
func (a Account) label() string { return strings.TrimSpace(a.ID + " " + a.Name) }
