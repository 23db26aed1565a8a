// A bucket and a key for the logs that AWS services deliver to S3, as VPC flow
// logs: give the bucket's ARN to the flow log. (S3's own access logs go to
// buckets that encrypt with SSE-S3 only, and so not to this one.)
package main

import (
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/securethecloud/kms-baseline/components"
)

func main() { pulumi.Run(program) }

func program(ctx *pulumi.Context) error {
	key, err := components.NewCustomerKey(ctx, "logs", &components.CustomerKeyArgs{
		Services: pulumi.ToStringArray([]string{"delivery.logs.amazonaws.com"}),
	})
	if err != nil {
		return err
	}
	// of is a text with the partition, the Region and the account of the key.
	of := func(text string) pulumi.StringArray {
		return pulumi.StringArray{key.KeyArn.ApplyT(func(arn string) string {
			p := strings.Split(arn, ":")
			return strings.NewReplacer("PARTITION", p[1], "REGION", p[3], "ACCOUNT", p[4]).Replace(text)
		}).(pulumi.StringOutput)}
	}
	// The statements that AWS documents for log delivery.
	// Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-infrastructure-V2-S3.html
	delivery := pulumi.StringArray{pulumi.String("delivery.logs.amazonaws.com")}
	account, source := of("ACCOUNT"), of("arn:PARTITION:logs:REGION:ACCOUNT:*")
	days := 365
	bucket, err := components.NewEncryptedBucket(ctx, "logs", &components.EncryptedBucketArgs{
		KmsKeyArn:      key.KeyArn,
		LifecycleRules: []components.LifecycleRule{{ID: "expire", ExpirationDays: &days, NoncurrentExpirationDays: &days}},
		Statements: []components.PolicyStatement{
			{
				Sid: "AWSLogDeliveryAclCheck", Services: delivery, Actions: pulumi.ToStringArray([]string{"s3:GetBucketAcl"}),
				Conditions: map[string]map[string]pulumi.StringArrayInput{"StringEquals": {"aws:SourceAccount": account}, "ArnLike": {"aws:SourceArn": source}},
			},
			{
				Sid: "AWSLogDeliveryWrite", Services: delivery, Actions: pulumi.ToStringArray([]string{"s3:PutObject"}), Objects: of("AWSLogs/ACCOUNT/*"),
				Conditions: map[string]map[string]pulumi.StringArrayInput{
					"StringEquals": {"aws:SourceAccount": account, "s3:x-amz-acl": pulumi.StringArray{pulumi.String("bucket-owner-full-control")}},
					"ArnLike":      {"aws:SourceArn": source},
				},
			},
		},
	})
	if err != nil {
		return err
	}
	ctx.Export("bucketArn", bucket.BucketArn)
	ctx.Export("bucketName", bucket.BucketName)
	ctx.Export("keyArn", key.KeyArn)
	return nil
}
