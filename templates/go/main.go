// An AWS account's encryption under its own key.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/securethecloud/kms-baseline/components"
)

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		baseline, err := components.NewEncryptionBaseline(ctx, "main", nil)
		if err != nil {
			return err
		}
		ctx.Export("keyArn", baseline.KeyArn)
		ctx.Export("bucketName", baseline.BucketName)
		ctx.Export("ebsEncryptionByDefault", baseline.EBSEncryptionByDefault)
		return nil
	})
}
