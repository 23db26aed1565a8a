package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/securethecloud/kms-baseline/verify/report"
)

var trailLoggingChecks = []Check{
	{
		ID: "trail.logging", Title: "a trail keeps the use of keys in all Regions, validated and encrypted", Severity: "high", AccountWide: true,
		Why:       "the event history ends after 90 days; what a trail does not deliver by then is lost",
		Expected:  "a multi-Region trail that is logging all management events, KMS's included, with log file validation and a customer managed key",
		Proves:    "one trail covers all Regions, is logging, had no error in its latest delivery, records the read and write management events of all services, KMS included, validates its log files, and encrypts them under a customer managed key; the result states whether it records the S3 data events of the bucket",
		NotProven: "that the log files are still in their bucket and unchanged (`aws cloudtrail validate-logs`); who can delete them",
		Remedy:    "aws cloudtrail create-trail with --is-multi-region-trail, --enable-log-file-validation and --kms-key-id, then aws cloudtrail start-logging",
		Needs: []Permission{
			{"cloudtrail:DescribeTrails", onAnything}, {"cloudtrail:GetTrailStatus", onAnything}, {"cloudtrail:GetEventSelectors", onAnything},
			{"kms:DescribeKey", onAnyKey},
		},
		run: trailLogging,
	},
}

// trailVerdict is what stands against one trail.
type trailVerdict struct {
	name     string
	owner    string   // account of an organization's trail, where it is another one
	lacks    []string // what it is shown not to have
	unclear  []string // what cannot be told
	err      error    // of a call about it
	source   string   // of err
	dataNote string
	evidence report.Evidence
}

func trailLogging(ctx context.Context, r *run) report.Result {
	client := cloudtrail.NewFromConfig(r.cfg.AWS) // r.trail keeps under the rate of LookupEvents
	out, err := client.DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{})
	if err != nil {
		return r.failure("cloudtrail:DescribeTrails", err)
	}
	a := answered(r, "cloudtrail:DescribeTrails", out, nil, func() middleware.Metadata { return out.ResultMetadata })
	if len(out.TrailList) == 0 {
		return fail("no trail covers the Region", "aws cloudtrail create-trail --help", a.saw("no trail"))
	}
	var trails []trailVerdict
	for _, t := range out.TrailList {
		v := r.judgeTrail(ctx, client, t)
		v.evidence = a.saw("%s", v.name)
		trails = append(trails, v)
	}
	for _, t := range trails {
		if len(t.lacks) == 0 && len(t.unclear) == 0 && t.err == nil {
			return pass("the trail "+t.name+t.whose()+" does; "+t.dataNote, t.evidence)
		}
	}
	for _, t := range trails {
		if len(t.lacks) == 0 && t.err != nil { // it may be the one
			x := r.failure(t.source, t.err)
			x.Actual = "the trail " + t.name + ": " + x.Actual
			return x
		}
	}
	best := slices.MinFunc(trails, func(a, b trailVerdict) int {
		return cmp.Or(cmp.Compare(len(a.lacks), len(b.lacks)), cmp.Compare(len(a.unclear), len(b.unclear)))
	})
	what := fmt.Sprintf("none of %s: %s ", count(len(trails), "trail"), best.name)
	if len(best.lacks) == 0 {
		remedy := "aws cloudtrail get-event-selectors --trail-name " + quote(best.name)
		if best.owner != "" {
			remedy = "run verify --account-wide --only trail.logging in the account " + best.owner + ", whose trail it is, or let this account describe the trail's key"
		}
		return inconclusive(what+strings.Join(best.unclear, ", "), remedy, best.evidence)
	}
	return fail(what+strings.Join(best.lacks, ", "), "aws cloudtrail describe-trails", best.evidence)
}

// whose tells an organization's trail from one of the examined account.
func (v trailVerdict) whose() string {
	if v.owner == "" {
		return ""
	}
	return ", which the account " + v.owner + " has for the organization,"
}

// refuses notes the error of a call about the trail. AWS does not document that a member
// of an organization gets every answer about its trail: that CloudTrail does not know the
// trail there is no error of this run.
func (v *trailVerdict) refuses(source string, err error) {
	if v.owner != "" && hasCode(err, "TrailNotFoundException", "CloudTrailARNInvalidException") {
		v.unclear = append(v.unclear, "is not shown to this member of the organization: "+source+" answered "+Reason(err))
		return
	}
	v.err, v.source = err, source
}

// judgeTrail compares one trail with what is expected. It asks by the trail's ARN,
// without which CloudTrail does not find a trail of another Region, or of the
// organization.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_GetTrailStatus.html
func (r *run) judgeTrail(ctx context.Context, client *cloudtrail.Client, t types.Trail) trailVerdict {
	arn := aws.ToString(t.TrailARN)
	v := trailVerdict{name: arn}
	if aws.ToBool(t.IsOrganizationTrail) {
		if own, err := r.owner(); err != nil || own != accountOf(arn) {
			v.owner = accountOf(arn)
		}
	}
	if !aws.ToBool(t.IsMultiRegionTrail) {
		v.lacks = append(v.lacks, "covers one Region only")
	}
	if !aws.ToBool(t.LogFileValidationEnabled) {
		v.lacks = append(v.lacks, "does not validate its log files")
	}
	if key := aws.ToString(t.KmsKeyId); key == "" {
		v.lacks = append(v.lacks, "encrypts its log files without a KMS key of the account")
	} else if out, err := r.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key}, inKeyRegion(key)); err != nil {
		v.unclear = append(v.unclear, "encrypts its log files under "+key+", which could not be described: "+Reason(err))
	} else if out.KeyMetadata.KeyManager == kmstypes.KeyManagerTypeAws {
		v.lacks = append(v.lacks, "encrypts its log files under an AWS managed key")
	}
	status, err := client.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: &arn})
	if err != nil {
		v.refuses("cloudtrail:GetTrailStatus", err)
		return v
	}
	switch {
	case !aws.ToBool(status.IsLogging):
		v.lacks = append(v.lacks, "is not logging")
	case aws.ToString(status.LatestDeliveryError) != "":
		v.lacks = append(v.lacks, "cannot deliver its log files: "+*status.LatestDeliveryError)
	case aws.ToString(status.LatestDigestDeliveryError) != "":
		v.lacks = append(v.lacks, "cannot deliver its digest files: "+*status.LatestDigestDeliveryError)
	}
	selectors, err := client.GetEventSelectors(ctx, &cloudtrail.GetEventSelectorsInput{TrailName: &arn})
	if err != nil {
		v.refuses("cloudtrail:GetEventSelectors", err)
		return v
	}
	management, data := no, no
	object := bucketARN(r.cfg) + "/"
	for _, s := range selectors.EventSelectors {
		management, data = management.or(recordsKeyUse(s)), data.or(recordsObjects(s, object))
	}
	for _, s := range selectors.AdvancedEventSelectors {
		m, d := advancedRecords(s, object)
		management, data = management.or(m), data.or(d)
	}
	switch management {
	case no:
		v.lacks = append(v.lacks, "does not record all management events of KMS")
	case unknown:
		v.unclear = append(v.unclear, "has event selectors that verify cannot evaluate")
	}
	v.dataNote = map[truth]string{yes: "it records the S3 data events of the bucket", no: "it records no S3 data events of the bucket", unknown: "whether it records the S3 data events of the bucket cannot be told"}[data]
	if r.cfg.Bucket == "" {
		v.dataNote = "no bucket was named, so its S3 data events were not looked for"
	}
	return v
}

// inKeyRegion sends a call to the Region of the key: a trail of another Region has
// its key there.
func inKeyRegion(key string) func(*kms.Options) {
	return func(o *kms.Options) { o.Region = cmp.Or(regionOf(key), o.Region) }
}

// Names of event sources.
const (
	kmsEvents = "kms.amazonaws.com"
	s3Events  = "s3.amazonaws.com"
)

// recordsKeyUse reports whether a basic event selector records all management
// events of KMS. Most uses of a key count as reads.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_EventSelector.html
func recordsKeyUse(s types.EventSelector) truth {
	included := s.IncludeManagementEvents == nil || *s.IncludeManagementEvents // the default is true
	all := s.ReadWriteType == "" || s.ReadWriteType == types.ReadWriteTypeAll
	return truthOf(included && all && !slices.Contains(s.ExcludeManagementEventSources, kmsEvents))
}

// recordsObjects reports whether a basic event selector records reads and writes of
// all objects below the ARN object.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_DataResource.html
func recordsObjects(s types.EventSelector, object string) truth {
	if s.ReadWriteType != "" && s.ReadWriteType != types.ReadWriteTypeAll {
		return no
	}
	for _, d := range s.DataResources {
		if aws.ToString(d.Type) != "AWS::S3::Object" {
			continue
		}
		for _, value := range d.Values {
			if strings.HasPrefix(object, value) { // "arn:aws:s3" is every bucket
				return yes
			}
		}
	}
	return no
}

// advancedRecords is recordsKeyUse and recordsObjects for an advanced event
// selector. A field or an operator that it does not model is unknown.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedFieldSelector.html
func advancedRecords(s types.AdvancedEventSelector, object string) (management, data truth) {
	category, objects, narrowed := "", false, no
	for _, f := range s.FieldSelectors {
		onlyEquals := len(f.StartsWith)+len(f.EndsWith)+len(f.NotEquals)+len(f.NotStartsWith)+len(f.NotEndsWith) == 0
		onlyStarts := len(f.Equals)+len(f.EndsWith)+len(f.NotEquals)+len(f.NotStartsWith)+len(f.NotEndsWith) == 0
		switch name := aws.ToString(f.Field); {
		case name == "eventCategory" && onlyEquals && len(f.Equals) == 1:
			category = f.Equals[0]
		case name == "resources.type" && onlyEquals && len(f.Equals) == 1:
			objects = f.Equals[0] == "AWS::S3::Object"
		case name == "resources.ARN" && onlyStarts:
			if !slices.ContainsFunc(f.StartsWith, func(prefix string) bool { return strings.HasPrefix(object, prefix) }) {
				narrowed = narrowed.or(yes)
			}
		case name == "readOnly":
			narrowed = narrowed.or(unknown) // another selector may have the other half
		case name == "eventSource" && len(f.NotEquals) > 0 && len(f.Equals)+len(f.StartsWith)+len(f.EndsWith)+len(f.NotStartsWith)+len(f.NotEndsWith) == 0:
			if slices.Contains(f.NotEquals, kmsEvents) {
				narrowed = narrowed.or(yes)
			}
		default:
			narrowed = narrowed.or(unknown)
		}
	}
	switch {
	case category == "Management":
		return narrowed.not(), no
	case category == "Data" && objects:
		return no, narrowed.not()
	case category == "":
		return unknown, unknown
	}
	return no, no
}
