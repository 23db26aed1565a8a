package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// behaviors are run in this order, on one account: later ones use the key and the
// bucket of earlier ones.
var behaviors = []struct {
	name string
	run  func(*runner)
}{
	{"sts", callers},
	{"kms names", keyNames},
	{"kms cryptography", cryptography},
	{"kms policies", keyPolicies},
	{"kms grants", grants},
	{"kms rotation", rotation},
	{"kms tags", keyTags},
	{"s3 buckets", buckets},
	{"s3 encryption", objectEncryption},
	{"s3 objects", objects},
	{"s3 listings", listings},
	{"s3 multipart uploads", multipart},
	{"s3 policies", bucketPolicies},
	{"s3 versions", versions},
	{"ebs defaults", ebsDefaults},
	{"kms key states", keyStates},
	{"event history", eventHistory},
}

// answered makes a step of a call of which only success or failure is compared.
func answered[In, Out, Opt any](call func(context.Context, *In, ...Opt) (*Out, error), in *In) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		_, err := call(ctx, in)
		return "ok", err
	}
}

// answer makes a step of a call whose output is compared by what show returns.
func answer[In, Out, Opt any](call func(context.Context, *In, ...Opt) (*Out, error), in *In, show func(*Out) string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		out, err := call(ctx, in)
		if err != nil {
			return "", err
		}
		return show(out), nil
	}
}

func callers(r *runner) {
	r.step("GetCallerIdentity", answer(r.sts.GetCallerIdentity, &sts.GetCallerIdentityInput{}, func(out *sts.GetCallerIdentityOutput) string {
		return fields("Account", out.Account, "Arn", out.Arn, "UserId", out.UserId)
	}))
}

// ebsDefaults changes the account's settings only with -account-wide, and puts
// them back.
func ebsDefaults(r *runner) {
	r.step("DescribeVolumes of an unknown volume", answered(r.ec2.DescribeVolumes, &ec2.DescribeVolumesInput{VolumeIds: []string{"vol-0123456789abcdef0"}}))
	var before *ec2.GetEbsEncryptionByDefaultOutput
	r.step("GetEbsEncryptionByDefault", answer(r.ec2.GetEbsEncryptionByDefault, &ec2.GetEbsEncryptionByDefaultInput{}, func(out *ec2.GetEbsEncryptionByDefaultOutput) string {
		before = out
		return "ok" // the value is the account's
	}))
	var key string
	r.step("GetEbsDefaultKmsKeyId", answer(r.ec2.GetEbsDefaultKmsKeyId, &ec2.GetEbsDefaultKmsKeyIdInput{}, func(out *ec2.GetEbsDefaultKmsKeyIdOutput) string {
		key = aws.ToString(out.KmsKeyId)
		return "ok"
	}))
	if !r.o.accountWide || before == nil || key == "" {
		return
	}
	r.restore = func(ctx context.Context) error {
		return r.restoreEBS(ctx, aws.ToBool(before.EbsEncryptionByDefault), key)
	}

	get := func() (string, func(context.Context) (string, error)) {
		return "GetEbsDefaultKmsKeyId after a change", answer(r.ec2.GetEbsDefaultKmsKeyId, &ec2.GetEbsDefaultKmsKeyIdInput{}, func(out *ec2.GetEbsDefaultKmsKeyIdOutput) string {
			return fields("KmsKeyId", out.KmsKeyId)
		})
	}
	r.step("EnableEbsEncryptionByDefault", answer(r.ec2.EnableEbsEncryptionByDefault, &ec2.EnableEbsEncryptionByDefaultInput{}, func(out *ec2.EnableEbsEncryptionByDefaultOutput) string {
		return fields("EbsEncryptionByDefault", out.EbsEncryptionByDefault)
	}))
	r.until("GetEbsEncryptionByDefault after a change", "EbsEncryptionByDefault=true", answer(r.ec2.GetEbsEncryptionByDefault, &ec2.GetEbsEncryptionByDefaultInput{}, func(out *ec2.GetEbsEncryptionByDefaultOutput) string {
		return fields("EbsEncryptionByDefault", out.EbsEncryptionByDefault, "SseType", out.SseType)
	}))
	r.step("ModifyEbsDefaultKmsKeyId to an unknown key", answered(r.ec2.ModifyEbsDefaultKmsKeyId, &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: aws.String("alias/" + r.o.prefix + "-none")}))
	r.step("ModifyEbsDefaultKmsKeyId", answer(r.ec2.ModifyEbsDefaultKmsKeyId, &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &r.keys[0]}, func(out *ec2.ModifyEbsDefaultKmsKeyIdOutput) string {
		return fields("KmsKeyId", out.KmsKeyId)
	}))
	name, call := get()
	r.until(name, fields("KmsKeyId", "arn:aws:kms:"+region+":"+r.account+":key/"+r.keys[0]), call)
	r.step("ResetEbsDefaultKmsKeyId", answer(r.ec2.ResetEbsDefaultKmsKeyId, &ec2.ResetEbsDefaultKmsKeyIdInput{}, func(out *ec2.ResetEbsDefaultKmsKeyIdOutput) string {
		managed, _, _ := strings.Cut(aws.ToString(out.KmsKeyId), "/")
		return fields("KmsKeyId", managed) // the key is the account's
	}))
}

// restoreEBS puts back the default key before the switch.
func (r *runner) restoreEBS(ctx context.Context, encrypt bool, key string) error {
	if key == "alias/aws/ebs" {
		// The answer after a reset is the managed key's ARN: the alias cannot be set.
		if _, err := r.ec2.ResetEbsDefaultKmsKeyId(ctx, &ec2.ResetEbsDefaultKmsKeyIdInput{}); err != nil {
			return fmt.Errorf("default key %s: %w", key, err)
		}
	} else if _, err := r.ec2.ModifyEbsDefaultKmsKeyId(ctx, &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &key}); err != nil {
		return fmt.Errorf("default key %s: %w", key, err)
	}
	var err error
	if encrypt {
		_, err = r.ec2.EnableEbsEncryptionByDefault(ctx, &ec2.EnableEbsEncryptionByDefaultInput{})
	} else {
		_, err = r.ec2.DisableEbsEncryptionByDefault(ctx, &ec2.DisableEbsEncryptionByDefaultInput{})
	}
	if err != nil {
		return fmt.Errorf("encryption by default (was %v): %w", encrypt, err)
	}
	return nil
}

// eventHistory compares the shape of a record: which fields it has, and the values
// that do not depend on the caller.
func eventHistory(r *runner) {
	lookup := func(in *cloudtrail.LookupEventsInput) func(context.Context) (string, error) {
		return answered(r.trail.LookupEvents, in)
	}
	r.step("LookupEvents with an attribute that does not exist", lookup(&cloudtrail.LookupEventsInput{LookupAttributes: []trailtypes.LookupAttribute{{AttributeKey: "Unknown", AttributeValue: aws.String("x")}}}))
	r.step("LookupEvents with two attributes", lookup(&cloudtrail.LookupEventsInput{LookupAttributes: []trailtypes.LookupAttribute{
		{AttributeKey: "EventName", AttributeValue: aws.String("x")}, {AttributeKey: "ReadOnly", AttributeValue: aws.String("true")}}}))
	r.step("LookupEvents of 51 events", lookup(&cloudtrail.LookupEventsInput{MaxResults: aws.Int32(51)}))
	r.step("LookupEvents with an invalid token", lookup(&cloudtrail.LookupEventsInput{NextToken: aws.String("x")}))
	r.step("LookupEvents with the end before the start", lookup(&cloudtrail.LookupEventsInput{StartTime: aws.Time(time.Now()), EndTime: aws.Time(time.Now().Add(-time.Hour))}))
	if r.o.eventsWait == 0 {
		return
	}
	settle := r.o.settle
	r.o.settle = r.o.eventsWait
	defer func() { r.o.settle = settle }()
	in := &cloudtrail.LookupEventsInput{LookupAttributes: []trailtypes.LookupAttribute{
		{AttributeKey: trailtypes.LookupAttributeKeyResourceName, AttributeValue: aws.String("arn:aws:kms:" + region + ":" + r.account + ":key/" + r.keys[0])}}}
	for _, name := range []string{"CreateKey", "Encrypt", "GenerateDataKey"} {
		r.until("the record of "+name, "EventName=", func(ctx context.Context) (string, error) {
			shown := "none"
			for pages := cloudtrail.NewLookupEventsPaginator(r.trail, in); pages.HasMorePages(); {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return "", err
				}
				for _, e := range page.Events {
					if aws.ToString(e.EventName) == name {
						shown = describeEvent(e) // the oldest: it is the same call on both sides
					}
				}
			}
			return shown, nil
		})
	}
}

func describeEvent(e trailtypes.Event) string {
	var record map[string]any
	if err := json.Unmarshal([]byte(aws.ToString(e.CloudTrailEvent)), &record); err != nil {
		return "not JSON"
	}
	parameters, _ := record["requestParameters"].(map[string]any)
	return fields("EventName", e.EventName, "EventSource", e.EventSource, "ReadOnly", e.ReadOnly, "Resources", len(e.Resources),
		"eventType", record["eventType"], "eventCategory", record["eventCategory"], "managementEvent", record["managementEvent"],
		"recipientAccountId", record["recipientAccountId"], "fields", slices.Sorted(maps.Keys(record)), "requestParameters", slices.Sorted(maps.Keys(parameters)))
}
