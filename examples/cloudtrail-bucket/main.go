// A bucket and a key for a trail of CloudTrail. Give the outputs to the trail:
// aws.cloudtrail.Trail's s3BucketName and kmsKeyId.
package main

import (
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/securethecloud/kms-baseline/components"
)

const trail = "account-trail"

func main() { pulumi.Run(program) }

func program(ctx *pulumi.Context) error {
	key, err := components.NewCustomerKey(ctx, "trail", &components.CustomerKeyArgs{
		Services: pulumi.ToStringArray([]string{"cloudtrail.amazonaws.com"}),
	})
	if err != nil {
		return err
	}
	// The statements that AWS documents for a trail's bucket.
	// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-s3-bucket-policy-for-cloudtrail.html
	own := pulumi.StringArray{key.KeyArn.ApplyT(func(arn string) string {
		p := strings.Split(arn, ":")
		return "arn:" + p[1] + ":cloudtrail:" + p[3] + ":" + p[4] + ":trail/" + trail
	}).(pulumi.StringOutput)}
	logs := pulumi.StringArray{key.KeyArn.ApplyT(func(arn string) string {
		return "AWSLogs/" + strings.Split(arn, ":")[4] + "/*"
	}).(pulumi.StringOutput)}
	service := pulumi.StringArray{pulumi.String("cloudtrail.amazonaws.com")}
	bucket, err := components.NewEncryptedBucket(ctx, "trail", &components.EncryptedBucketArgs{
		KmsKeyArn: key.KeyArn,
		// CloudTrail names SSE-S3 when it writes digest files.
		SSES3Services: []string{"cloudtrail.amazonaws.com"},
		Statements: []components.PolicyStatement{
			{
				Sid: "AWSCloudTrailAclCheck", Services: service, Actions: pulumi.ToStringArray([]string{"s3:GetBucketAcl"}),
				Conditions: map[string]map[string]pulumi.StringArrayInput{"StringEquals": {"aws:SourceArn": own}},
			},
			{
				Sid: "AWSCloudTrailWrite", Services: service, Actions: pulumi.ToStringArray([]string{"s3:PutObject"}), Objects: logs,
				Conditions: map[string]map[string]pulumi.StringArrayInput{"StringEquals": {
					"aws:SourceArn": own, "s3:x-amz-acl": pulumi.StringArray{pulumi.String("bucket-owner-full-control")},
				}},
			},
		},
	})
	if err != nil {
		return err
	}
	ctx.Export("s3BucketName", bucket.BucketName)
	ctx.Export("kmsKeyId", key.KeyArn)
	return nil
}
