package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// What a run may create and cost. The runner refuses to go beyond it.
const (
	maxKeys    = 2
	maxBuckets = 1
	maxCalls   = 2000 // attempts
	maxHours   = 1
)

// costLimit is what a run that creates all this costs at most, in USD: keys are
// charged by the hour until they are scheduled for deletion, and no request is
// dearer than S3's PUT (0.005 for 1,000).
// Source: https://aws.amazon.com/kms/pricing/, https://aws.amazon.com/s3/pricing/
const costLimit = maxKeys*1.0/730*(maxHours+1) + maxCalls*0.005/1000

// plan prints what the run will do, before it does anything.
func plan(o options, target aws.Config) string {
	where := "AWS, with the profile " + o.profile
	if target.BaseEndpoint != nil {
		where = *target.BaseEndpoint
	}
	if o.clean != "" {
		return fmt.Sprintf("target:      %s, Region %s\nremoves:     keys, aliases and buckets that an earlier run with the prefix %s has left\n", where, region, o.clean)
	}
	wide := "not changed (see -account-wide)"
	if o.accountWide {
		wide = "EBS encryption by default and its key are changed, and put back: volumes that others create meanwhile are concerned"
	}
	return fmt.Sprintf(`target:      %s, Region %s
creates:     %d KMS keys, %d bucket and its objects, aliases and grants; all names begin with %s
cost limit:  %.2f USD (at most %d calls in %d hour; a key costs 1 USD a month until it is scheduled for deletion)
removes:     everything at the end, also after a failure and an interrupt; keys are deleted by KMS 7 days later
account:     %s
`, where, region, maxKeys, maxBuckets, o.prefix, costLimit, maxCalls, maxHours, wide)
}

// observation is one answer, with placeholders for what differs between accounts.
type observation struct {
	Behavior, Step string
	Answer         string // fields, or status and error code
	Message        string // of the error
}

func (o observation) text(messages bool) string {
	if messages && o.Message != "" {
		return o.Answer + ": " + o.Message
	}
	return o.Answer
}

// difference is a step with different answers; empty means that the side has none.
type difference struct{ behavior, step, localaws, target string }

// differences compares step by step. The order is that of localaws, and steps that
// only the target has come last.
func differences(reference, target []observation, messages bool) (found []difference) {
	type step struct{ behavior, step string }
	answers := map[step]string{}
	for _, o := range target {
		answers[step{o.Behavior, o.Step}] = o.text(messages)
	}
	for _, o := range reference {
		at := step{o.Behavior, o.Step}
		if want, have := o.text(messages), answers[at]; have != want {
			found = append(found, difference{o.Behavior, o.Step, want, have})
		}
		delete(answers, at)
	}
	for _, o := range target {
		if have, ok := answers[step{o.Behavior, o.Step}]; ok {
			found = append(found, difference{o.Behavior, o.Step, "", have})
		}
	}
	return found
}

func printDifferences(w io.Writer, found []difference, steps int) {
	if len(found) > 0 {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "\nBEHAVIOR\tSTEP\tLOCALAWS\tTARGET")
		for _, d := range found {
			a, b := unlike(orNone(d.localaws), orNone(d.target))
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", d.behavior, d.step, a, b)
		}
		_ = t.Flush() // stdout
	}
	fmt.Fprintf(w, "\n%d of %d answers differ\n", len(found), steps)
}

func orNone(s string) string {
	if s == "" {
		return "(not reached)"
	}
	return strings.ReplaceAll(s, "\n", " ")
}

// unlike shortens two long answers to the words in which they differ.
func unlike(a, b string) (string, string) {
	if len(a) < 60 && len(b) < 60 {
		return a, b
	}
	x, y := strings.Fields(a), strings.Fields(b)
	from, to := 0, 0
	for from < min(len(x), len(y)) && x[from] == y[from] {
		from++
	}
	for to < min(len(x), len(y))-from && x[len(x)-1-to] == y[len(y)-1-to] {
		to++
	}
	cut := func(words []string) string {
		s := strings.Join(words[from:len(words)-to], " ")
		if from > 0 {
			s = "... " + s
		}
		if to > 0 {
			s += " ..."
		}
		return s
	}
	return cut(x), cut(y)
}
