// The baseline with its defaults: a key with an alias, a bucket that encrypts
// with it, EBS encryption by default under it.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/securethecloud/kms-baseline/components"
)

func main() { pulumi.Run(program) }

func program(ctx *pulumi.Context) error {
	baseline, err := components.NewEncryptionBaseline(ctx, "quickstart", nil)
	if err != nil {
		return err
	}
	ctx.Export("keyArn", baseline.KeyArn)
	ctx.Export("bucketName", baseline.BucketName)
	ctx.Export("ebsEncryptionByDefault", baseline.EBSEncryptionByDefault)
	return nil
}
