// Package report has the model of verify's findings, and one file for each
// format that they are written in. It makes no calls; package check fills the
// model.
package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Schema names the version of the JSON that a [Report] is written as. It
// changes when a field is renamed, removed or given another meaning; new
// fields do not change it. docs/verify.schema.json describes it.
const Schema = "kms-baseline/verify/v1"

// Status is the outcome of one check.
type Status string

const (
	// Pass means that AWS's responses show what was expected.
	Pass Status = "pass"
	// Fail means that AWS's responses show something else.
	Fail Status = "fail"
	// Inconclusive means that the evidence is missing or incomplete: neither
	// pass nor fail.
	Inconclusive Status = "inconclusive"
	// Error means that the check could not be evaluated: access denied,
	// throttled, unreachable.
	Error Status = "error"
	// Skipped means that the check was not selected or does not apply; Actual
	// states why.
	Skipped Status = "skipped"
)

// Report is one run of verify.
type Report struct {
	Schema string `json:"schema"`
	// Notice is what a reader must know before anything else: that the results
	// are not AWS's own. [Report.Judge] fills it.
	Notice     string    `json:"notice,omitempty"`
	Version    string    `json:"version"` // of the verify binary
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt"`
	Verdict    Status    `json:"verdict"` // the worst that counts: see Report.Judge
	Summary    Summary   `json:"summary"`
	Subject    Subject   `json:"subject"`
	Scope      Scope     `json:"scope"`
	Results    []Result  `json:"results"` // in the order of the catalogue
	// Access lists who may use the key and the bucket, as their policies and
	// grants state it.
	Access []Access `json:"access,omitempty"`
	// AccessNotes are what Access does not cover, and why.
	AccessNotes []string `json:"accessNotes,omitempty"`
	// Events are the uses of the key that CloudTrail's event history showed in
	// the window that was searched, oldest first.
	Events []KeyUse `json:"events,omitempty"`
}

// Summary counts the results by status.
type Summary struct {
	Pass         int `json:"pass"`
	Fail         int `json:"fail"`
	Inconclusive int `json:"inconclusive"`
	Error        int `json:"error"`
	Skipped      int `json:"skipped"`
}

// Scope is how the run was made: where it called, with which flags, and what it
// selected and left out.
type Scope struct {
	// Endpoints are the endpoints that were called, by service.
	Endpoints []Endpoint `json:"endpoints"`
	// CABundle is the setting that replaces the system's certificate
	// authorities ("AWS_CA_BUNDLE=/etc/proxy.pem"). Empty means that they were
	// used.
	CABundle string `json:"caBundle,omitempty"`
	// Flags are the flags of the run, one an item: "--only=account".
	Flags []string `json:"flags"`
	// Objects is which objects were selected, in words.
	Objects string `json:"objects,omitempty"`
	// Events is the source of CloudTrail's records, as --events names it: "lookup"
	// is the event history.
	Events string `json:"events,omitempty"`
	// Checks is how many checks the catalogue has.
	Checks int `json:"checks"`
	// LeftOut are the ids of the checks that --only left out. They have no
	// result.
	LeftOut []string `json:"leftOut,omitempty"`
}

// Endpoint is where the calls to one service went.
type Endpoint struct {
	Service string `json:"service"` // as requests to it are signed: "kms"
	URL     string `json:"url"`     // "https://kms.us-east-1.amazonaws.com"
	AWS     bool   `json:"aws"`     // whether it is AWS's own endpoint of this service, over TLS
}

// Access is a statement of a policy, or a grant, that gives a principal
// permissions on the key or the bucket.
type Access struct {
	Resource string `json:"resource"` // ARN of the key or the bucket
	// Account is the principal's AWS account ID, "*" for every account, empty
	// for an AWS service.
	Account     string   `json:"account,omitempty"`
	Principal   string   `json:"principal"`   // as the policy or grant names it
	Permissions []string `json:"permissions"` // actions, as the policy names them, or a grant's operations
	Conditions  string   `json:"conditions,omitempty"`
	Source      string   `json:"source"` // `key policy, statement "Admins"`, "grant 0c23..."
	// External reports that the principal is not of the account that owns the
	// resource.
	External bool `json:"external,omitempty"`
}

// Subject is what was checked, and as which caller. Empty means unknown.
type Subject struct {
	Account     string   `json:"account,omitempty"`
	Region      string   `json:"region,omitempty"`
	Caller      string   `json:"caller,omitempty"` // ARN
	KeyARN      string   `json:"keyArn,omitempty"`
	Alias       string   `json:"alias,omitempty"`
	Bucket      string   `json:"bucket,omitempty"`
	Objects     []string `json:"objects,omitempty"`     // the keys that were named, at most 20
	ObjectCount int      `json:"objectCount,omitempty"` // how many were checked
	EBSKeyARN   string   `json:"ebsKeyArn,omitempty"`
}

// Result is what one check found.
type Result struct {
	ID       string `json:"id"`       // "key.rotation"
	Group    string `json:"group"`    // "account", "key", "bucket", "object", "ebs", "trail", "canary"
	Title    string `json:"title"`    // "the key rotates"
	Severity string `json:"severity"` // "critical", "high", "medium", "low"
	Why      string `json:"why"`      // what goes wrong without it
	// NotProven is what a pass does not prove. It may be empty.
	NotProven string     `json:"notProven,omitempty"`
	Status    Status     `json:"status"`
	Expected  string     `json:"expected"`
	Actual    string     `json:"actual"`           // with the reason, for anything but a pass
	Remedy    string     `json:"remedy,omitempty"` // the next command to run; empty for a pass
	Evidence  []Evidence `json:"evidence,omitempty"`
	Controls  []Control  `json:"controls,omitempty"`
	// Failures names the objects, Regions or keys that failed, at most 100;
	// FailureCount is how many there are.
	Failures     []string `json:"failures,omitempty"`
	FailureCount int      `json:"failureCount,omitempty"`
}

// Evidence is one thing AWS answered that the result rests on.
type Evidence struct {
	Source    string    `json:"source"`              // "kms:DescribeKey", "s3:HeadObject", "cloudtrail:LookupEvents"
	RequestID string    `json:"requestId,omitempty"` // of the call
	EventID   string    `json:"eventId,omitempty"`   // of a CloudTrail event
	Time      time.Time `json:"time,omitzero"`       // of the answer or the event
	Detail    string    `json:"detail,omitempty"`    // what was seen, in a line
}

// Control is a requirement of a framework that a check is evidence for.
type Control struct {
	Framework string `json:"framework"`         // "CIS AWS Foundations 3.0"
	ID        string `json:"id"`                // "3.6"
	Partial   bool   `json:"partial,omitempty"` // evidence for a part of it only
}

// KeyUse is one event of the key's use.
type KeyUse struct {
	EventID string    `json:"eventId"`
	Time    time.Time `json:"time"`
	Name    string    `json:"name"` // "GenerateDataKey"
	Caller  string    `json:"caller"`
	KeyARN  string    `json:"keyArn"`
	Context string    `json:"context,omitempty"` // the ARN in the encryption context's aws:s3:arn
	Service string    `json:"service,omitempty"` // who called for the caller: "fas.s3.amazonaws.com"
}

// Judge fills Summary and Verdict from Results, and Notice from Scope. The verdict is the worst of
// them: error before fail is wrong for a reader who asks "is it broken?", so
// the order is fail, error, inconclusive, pass; skipped does not count, and no
// result at all is an error.
func (r *Report) Judge() {
	r.Notice = r.Scope.notice()
	r.Summary = Summary{}
	for _, x := range r.Results {
		switch x.Status {
		case Pass:
			r.Summary.Pass++
		case Fail:
			r.Summary.Fail++
		case Inconclusive:
			r.Summary.Inconclusive++
		case Skipped:
			r.Summary.Skipped++
		default:
			r.Summary.Error++
		}
	}
	switch s := r.Summary; {
	case s.Fail > 0:
		r.Verdict = Fail
	case s.Error > 0 || s.Pass+s.Inconclusive == 0:
		r.Verdict = Error
	case s.Inconclusive > 0:
		r.Verdict = Inconclusive
	default:
		r.Verdict = Pass
	}
}

// notice is the warning for results that are not AWS's own, or that a holder of
// a private certificate authority could have changed.
func (s Scope) notice() string {
	var urls, services []string
	for _, e := range s.Endpoints {
		if !e.AWS {
			urls, services = append(urls, e.URL), append(services, e.Service)
		}
	}
	slices.Sort(urls)
	urls = slices.Compact(urls)
	switch {
	case len(urls) > 0:
		return fmt.Sprintf("NOT AWS: the responses of %s came from %s, not from an AWS endpoint. This report proves nothing about an AWS account.",
			strings.Join(slices.Compact(slices.Sorted(slices.Values(services))), ", "), strings.Join(urls, ", "))
	case s.CABundle != "":
		return "CUSTOM CERTIFICATE AUTHORITY: TLS connections were verified with " + s.CABundle + " instead of the system's certificate authorities. Its owner could have changed every response."
	}
	return ""
}
