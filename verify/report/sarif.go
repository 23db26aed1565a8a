package report

import (
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteSARIF writes r as SARIF 2.1.0, one rule per check.
//
// Results are the checks that failed (kind fail, level by severity) and the
// ones that are undecided: inconclusive, or not evaluated (kind open, for which
// section 3.27.10 allows the level none only). What could not be evaluated is
// besides a notification of level error, and the invocation unsuccessful.
// Passed checks are rules without a result, and skipped checks notifications:
// GitHub code scanning takes no notice of kind and would raise an alert for
// each of them.
func WriteSARIF(w io.Writer, r *Report) error {
	r = shown(r)
	run := sarifRun{
		Tool: sarifTool{Driver: sarifDriver{
			Name:            "kms-baseline verify",
			FullName:        strings.TrimSpace(r.Notice + " kms-baseline verify " + r.Version),
			SemanticVersion: r.Version,
			InformationURI:  "https://github.com/securethecloud/kms-baseline",
			Rules:           []sarifRule{},
		}},
		Invocations: []sarifInvocation{{
			ExecutionSuccessful: r.Summary.Error == 0 && len(r.Results) > 0,
			StartTimeUTC:        r.StartedAt.UTC().Format(time.RFC3339Nano),
			EndTimeUTC:          r.FinishedAt.UTC().Format(time.RFC3339Nano),
		}},
		Results:    []sarifResult{},
		Properties: sarifProperties{r.Notice, r.Subject, r.Scope, r.Access, r.AccessNotes},
	}
	if r.Notice != "" {
		in := &run.Invocations[0]
		in.Notifications = append(in.Notifications, sarifNotification{Level: "warning", Message: sarifText{sarifEscape(r.Notice)}})
	}
	if r.Subject.Account != "" && r.Subject.Region != "" {
		// Uploads of two accounts or Regions stay apart instead of replacing
		// one another.
		run.Automation = &sarifAutomation{ID: "kms-baseline-verify/" + r.Subject.Account + "/" + r.Subject.Region + "/"}
	}
	rules := map[string]int{}
	for _, x := range r.Results {
		i, known := rules[x.ID]
		if !known {
			i = len(rules)
			rules[x.ID] = i
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, ruleOf(x))
		}
		switch x.Status {
		case Pass:
			continue
		case Skipped:
			run.notify(x, i, "note")
			continue
		case Fail:
			run.Results = append(run.Results, r.sarifResult(x, i, "fail", levelOf(x.Severity)))
		case Inconclusive:
			run.Results = append(run.Results, r.sarifResult(x, i, "open", "none"))
		default:
			run.notify(x, i, "error")
			run.Results = append(run.Results, r.sarifResult(x, i, "open", "none"))
		}
	}
	return encodeJSON(w, sarifLog{
		Schema:  "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		Version: "2.1.0",
		Runs:    []sarifRun{run},
	})
}

type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool        sarifTool         `json:"tool"`
	Automation  *sarifAutomation  `json:"automationDetails,omitempty"`
	Invocations []sarifInvocation `json:"invocations"`
	Results     []sarifResult     `json:"results"`
	Properties  sarifProperties   `json:"properties"`
}

type sarifProperties struct {
	Notice string `json:"notice,omitempty"`
	Subject
	Scope       Scope    `json:"scope"`
	Access      []Access `json:"access,omitempty"`
	AccessNotes []string `json:"accessNotes,omitempty"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name            string      `json:"name"`
	FullName        string      `json:"fullName"`
	SemanticVersion string      `json:"semanticVersion,omitempty"`
	InformationURI  string      `json:"informationUri"`
	Rules           []sarifRule `json:"rules"`
}

type sarifAutomation struct {
	ID string `json:"id"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifRule struct {
	ID               string              `json:"id"`
	ShortDescription sarifText           `json:"shortDescription"`
	FullDescription  sarifText           `json:"fullDescription"`
	Help             sarifText           `json:"help"`
	Configuration    sarifConfiguration  `json:"defaultConfiguration"`
	Properties       sarifRuleProperties `json:"properties"`
}

type sarifConfiguration struct {
	Level string `json:"level"`
}

type sarifRuleProperties struct {
	// Tags holds "security", which GitHub asks for before it reads the
	// severity, and the controls.
	Tags             []string `json:"tags"`
	SecuritySeverity string   `json:"security-severity"`
}

type sarifInvocation struct {
	ExecutionSuccessful bool                `json:"executionSuccessful"`
	StartTimeUTC        string              `json:"startTimeUtc"`
	EndTimeUTC          string              `json:"endTimeUtc"`
	Notifications       []sarifNotification `json:"toolExecutionNotifications,omitempty"`
}

type sarifNotification struct {
	Level          string    `json:"level"`
	Message        sarifText `json:"message"`
	AssociatedRule *sarifRef `json:"associatedRule,omitempty"`
}

type sarifRef struct {
	ID    string `json:"id"`
	Index int    `json:"index"`
}

type sarifResult struct {
	RuleID       string            `json:"ruleId"`
	RuleIndex    int               `json:"ruleIndex"`
	Kind         string            `json:"kind"`
	Level        string            `json:"level"`
	Message      sarifText         `json:"message"`
	Locations    []sarifLocation   `json:"locations"`
	Fingerprints map[string]string `json:"partialFingerprints"`
	Properties   sarifEvidence     `json:"properties"`
}

type sarifEvidence struct {
	Status   Status     `json:"status"`
	Expected string     `json:"expected"`
	Evidence []Evidence `json:"evidence,omitempty"`
	// FailureCount is how many failed; at most 100 of them are locations.
	FailureCount int `json:"failureCount,omitempty"`
}

type sarifLocation struct {
	Physical sarifPhysical  `json:"physicalLocation"`
	Logical  []sarifLogical `json:"logicalLocations,omitempty"`
}

type sarifPhysical struct {
	Artifact sarifArtifact `json:"artifactLocation"`
	Region   sarifRegion   `json:"region"`
}

type sarifArtifact struct {
	URI string `json:"uri"`
}

type sarifRegion struct {
	StartLine int `json:"startLine"`
}

type sarifLogical struct {
	FullyQualifiedName string `json:"fullyQualifiedName"`
	Kind               string `json:"kind"`
}

func ruleOf(x Result) sarifRule {
	rule := sarifRule{
		ID:               x.ID,
		ShortDescription: sarifText{sarifEscape(x.Title)},
		FullDescription:  sarifText{sarifEscape(orElse(x.Why, x.Title))},
		Help:             sarifText{sarifEscape(orElse(x.Remedy, x.Why, x.Title))},
		Configuration:    sarifConfiguration{levelOf(x.Severity)},
		Properties: sarifRuleProperties{
			Tags:             []string{"security", "encryption"},
			SecuritySeverity: securitySeverity(x.Severity),
		},
	}
	for _, c := range x.Controls {
		rule.Properties.Tags = append(rule.Properties.Tags, c.String())
	}
	return rule
}

func (run *sarifRun) notify(x Result, rule int, level string) {
	in := &run.Invocations[0]
	in.Notifications = append(in.Notifications, sarifNotification{
		Level:          level,
		Message:        sarifText{sarifEscape(fmt.Sprintf("%s: %s: %s", x.ID, x.Status, x.Actual))},
		AssociatedRule: &sarifRef{x.ID, rule},
	})
}

func (r *Report) sarifResult(x Result, rule int, kind, level string) sarifResult {
	message := fmt.Sprintf("%s: %s\nexpected: %s\nactual: %s", x.Title, x.Status, x.Expected, x.Actual)
	if r.Notice != "" {
		message = r.Notice + "\n" + message
	}
	if x.Remedy != "" {
		message += "\nhint: " + x.Remedy
	}
	logical := r.logicalLocations(x)
	identity := x.ID
	if len(logical) > 0 {
		identity += "\n" + logical[0].FullyQualifiedName
	}
	hash := sha256.Sum256([]byte(identity))
	return sarifResult{
		RuleID:    x.ID,
		RuleIndex: rule,
		Kind:      kind,
		Level:     level,
		Message:   sarifText{sarifEscape(message)},
		Locations: []sarifLocation{{
			// GitHub code scanning refuses a file with a result that has no
			// physical location, or one whose URI has a scheme other than file,
			// so an ARN cannot stand here. What is wrong in the account is put
			// right in the program that declares it: its project file.
			Physical: sarifPhysical{sarifArtifact{"Pulumi.yaml"}, sarifRegion{1}},
			Logical:  logical,
		}},
		// All results share that location, so the hash by which GitHub follows
		// an alert from run to run is of the check and the resource instead.
		Fingerprints: map[string]string{
			"primaryLocationLineHash": fmt.Sprintf("%x:1", hash[:8]),
		},
		Properties: sarifEvidence{Status: x.Status, Expected: x.Expected, Evidence: x.Evidence, FailureCount: x.FailureCount},
	}
}

// logicalLocations are the resource that was checked and the ones that failed,
// by ARN where they have one.
func (r *Report) logicalLocations(x Result) []sarifLogical {
	bucket := r.bucketARN()
	uid, _ := r.resource(x)
	names := []string{uid}
	if x.Group == "ebs" && uid == "" {
		names[0] = r.Subject.Region
	}
	for _, f := range x.Failures {
		if x.Group == "object" && bucket != "" && !strings.HasPrefix(f, "arn:") {
			f = bucket + "/" + f
		}
		names = append(names, f)
	}
	var out []sarifLogical
	seen := map[string]bool{"": true}
	for _, n := range names {
		if !seen[n] {
			seen[n] = true
			out = append(out, sarifLogical{n, "resource"})
		}
	}
	return out
}

// partition is the AWS partition of the key.
func (r *Report) partition() string {
	if parts := strings.SplitN(r.Subject.KeyARN, ":", 3); len(parts) == 3 && parts[0] == "arn" {
		return parts[1]
	}
	return "aws"
}

func (r *Report) bucketARN() string {
	if r.Subject.Bucket == "" {
		return ""
	}
	return "arn:" + r.partition() + ":s3:::" + r.Subject.Bucket
}

// resource is the ARN of what a check is about, and its type as AWS Security
// Hub names it. Empty means unknown.
func (r *Report) resource(x Result) (arn, kind string) {
	switch x.Group {
	case "account":
		if r.Subject.Account == "" {
			return "", ""
		}
		return "arn:" + r.partition() + ":iam::" + r.Subject.Account + ":root", "AwsAccount"
	case "bucket", "object", "canary":
		return r.bucketARN(), "AwsS3Bucket"
	case "ebs":
		return r.Subject.EBSKeyARN, "AwsKmsKey"
	}
	return r.Subject.KeyARN, "AwsKmsKey"
}

func levelOf(severity string) string {
	switch severity {
	case "critical", "high":
		return "error"
	case "low":
		return "note"
	default:
		return "warning"
	}
}

// securitySeverity is GitHub's number: above 9.0 critical, from 7.0 high, from
// 4.0 medium, below low.
func securitySeverity(severity string) string {
	switch severity {
	case "critical":
		return "9.5"
	case "high":
		return "8.0"
	case "low":
		return "2.0"
	default:
		return "5.0"
	}
}

// sarifEscape keeps the brackets of a name from becoming a link (section
// 3.11.6).
func sarifEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`).Replace(s)
}

func orElse(first string, others ...string) string {
	for _, s := range others {
		if first == "" {
			first = s
		}
	}
	return first
}
