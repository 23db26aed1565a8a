package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/securethecloud/kms-baseline/verify/internal/times"
	"github.com/securethecloud/kms-baseline/verify/report"
)

var trailIntegrityChecks = []Check{
	{
		ID: "trail.integrity", Title: "the trail's log files are as CloudTrail delivered them, and complete", Severity: "high", FilesOnly: true,
		Why:       "who can change or remove the log files can hide the use of a key",
		Expected:  "an unbroken chain of signed digest files since --since, and each log file with the hash that they state",
		Proves:    "since `--since`, and at the time of each object's write: an unbroken chain of digest files that CloudTrail has signed for this trail; every log file that they list exists and has the listed hash; no other file is among them. The result states the time until which digest files vouch, and how many newer log files have none yet",
		NotProven: "the time after the newest digest file (CloudTrail delivers one every hour); that the trail recorded all events (`trail.logging`); other Regions, and other accounts of an organization; whether CloudTrail delivered an event more than 24 hours late",
		Remedy:    "aws cloudtrail validate-logs --trail-arn ARN --start-time TIME, and restore the files from a copy that Object Lock protects",
		Needs:     []Permission{{"cloudtrail:DescribeTrails", onAnything}, {"cloudtrail:GetTrailStatus", onAnything}, {"cloudtrail:ListPublicKeys", onAnything}},
		run:       trailIntegrity,
	},
}

func trailIntegrity(_ context.Context, r *run) report.Result {
	if r.cfg.Events == lookup {
		return skipped("only log files can be validated: name the trail's with --events s3://BUCKET/PREFIX, or a table of them")
	}
	f := r.events()
	if f.integrity == nil {
		return r.failure(f.source, f.err)
	}
	return *f.integrity
}

// integrity is the result about the files that the last find read.
func (l *logFiles) integrity() report.Result {
	if l.err != nil {
		return l.r.failure(l.source, l.err)
	}
	evidence := report.Evidence{Source: "s3:GetObject", Time: l.r.now(), Detail: l.effort()}
	tampered, total, undigested := len(l.lies), len(l.lies), 0
	var covered []string
	texts := slices.Clone(l.lies[:min(len(l.lies), maxFailures)])
	first := strings.Join(texts[:min(len(texts), 1)], "") // that is not only a limit of what is covered
	for i, s := range l.summaries {
		total += s.ProblemCount
		undigested += s.Undigested
		for _, p := range s.Problems {
			text := fmt.Sprintf("%s: s3://%s/%s: %s", p.Kind, l.location.Bucket, p.Key, p.Detail)
			if p.Kind.Tampering() {
				tampered++
				first = cmp.Or(first, text)
			}
			if len(texts) < maxFailures {
				texts = append(texts, text)
			}
		}
		if s.From.IsZero() {
			continue
		}
		covered = append(covered, times.Later(s.From, l.spans[i].From).UTC().Format(time.RFC3339)+" to "+times.Earlier(s.To, l.spans[i].To).UTC().Format(time.RFC3339))
	}
	if len(l.summaries) == 0 {
		return inconclusive("no file was read", l.r.again(), evidence)
	}
	arn := *l.trail.TrailARN
	remedy := fmt.Sprintf("aws cloudtrail validate-logs --trail-arn %s --start-time %s --region %s", quote(arn), l.spans[0].From.UTC().Format(time.RFC3339), l.r.cfg.AWS.Region)
	var x report.Result
	switch {
	case tampered > 0:
		x = fail(fmt.Sprintf("%s of the trail %s: %s", count(total, "finding"), arn, first), remedy, evidence)
	case total > 0:
		x = inconclusive(fmt.Sprintf("nothing was altered, but not all of the time is covered: %s", texts[0]), remedy, evidence)
	default:
		x = pass(fmt.Sprintf("the digest files of %s vouch for %s", arn, strings.Join(covered, ", ")), evidence)
	}
	if undigested > 0 {
		x.Actual += fmt.Sprintf("; %s no digest file vouches for yet", count(undigested, "newer log file"))
	}
	x.Actual += " (" + l.effort() + ")"
	if total > 0 {
		x.Failures, x.FailureCount = texts, total
	}
	return x
}
