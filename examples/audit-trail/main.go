// A trail of CloudTrail with a key, a bucket and a table of its own, which also
// logs who reads and writes the objects of one bucket.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/components/audittrail"
)

func main() { pulumi.Run(program) }

func program(ctx *pulumi.Context) error {
	key, err := components.NewCustomerKey(ctx, "records", nil)
	if err != nil {
		return err
	}
	records, err := components.NewEncryptedBucket(ctx, "records", &components.EncryptedBucketArgs{KmsKeyArn: key.KeyArn})
	if err != nil {
		return err
	}
	trail, err := audittrail.NewAuditTrail(ctx, "account-trail", &audittrail.AuditTrailArgs{
		DataEventBuckets: pulumi.StringArray{records.BucketName},
		Regions:          []string{"us-east-1", "us-west-2"},
		Since:            "2026-01-01",
	})
	if err != nil {
		return err
	}
	ctx.Export("keyArn", key.KeyArn)
	ctx.Export("bucketName", records.BucketName)
	ctx.Export("trailArn", trail.TrailArn)
	ctx.Export("trailKeyArn", trail.KmsKeyArn)
	ctx.Export("trailBucketName", trail.BucketName)
	ctx.Export("filesSource", trail.FilesSource)
	ctx.Export("athenaSource", trail.AthenaSource)
	return nil
}
