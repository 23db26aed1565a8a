// Package report is what verify says: the model of its findings, and one file
// per format that they are written in. It knows nothing of AWS and makes no
// calls; package check fills the model.
package report

import "time"

// Schema names the version of the JSON that a [Report] is written as. It
// changes when a field is renamed, removed or given another meaning; new
// fields do not change it. docs/verify.schema.json describes it.
const Schema = "kms-baseline/verify/v1"

// Status is the outcome of one check.
type Status string

const (
	// Pass means that AWS's own answers show what was expected.
	Pass Status = "pass"
	// Fail means that AWS's own answers show something else.
	Fail Status = "fail"
	// Inconclusive means that the evidence is not there yet, or may never be:
	// neither pass nor fail.
	Inconclusive Status = "inconclusive"
	// Error means that the check could not be evaluated: denied, throttled out,
	// unreachable.
	Error Status = "error"
	// Skipped means that the check was not asked for or does not apply; Actual
	// says why.
	Skipped Status = "skipped"
)

// Report is one run of verify.
type Report struct {
	Schema     string    `json:"schema"`
	Version    string    `json:"version"` // of the verify binary
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt"`
	Verdict    Status    `json:"verdict"` // the worst that counts: see Report.Judge
	Summary    Summary   `json:"summary"`
	Subject    Subject   `json:"subject"`
	Results    []Result  `json:"results"` // in the order of the catalogue
	// Events are the uses of the key that CloudTrail's event history showed in
	// the window looked at, oldest first.
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

// Subject is what was looked at, and as whom. Empty means unknown.
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
	ID       string     `json:"id"`       // "key.rotation"
	Group    string     `json:"group"`    // "account", "key", "bucket", "object", "ebs", "trail", "canary"
	Title    string     `json:"title"`    // "the key rotates"
	Severity string     `json:"severity"` // "critical", "high", "medium", "low"
	Why      string     `json:"why"`      // what goes wrong without it
	Status   Status     `json:"status"`
	Expected string     `json:"expected"`
	Actual   string     `json:"actual"`           // with the reason, for anything but a pass
	Remedy   string     `json:"remedy,omitempty"` // the next command to run; empty for a pass
	Evidence []Evidence `json:"evidence,omitempty"`
	Controls []Control  `json:"controls,omitempty"`
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

// Judge fills Summary and Verdict from Results. The verdict is the worst of
// them: error before fail is wrong for a reader who asks "is it broken?", so
// the order is fail, error, inconclusive, pass; skipped does not count, and no
// result at all is an error.
func (r *Report) Judge() {
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
