// The baseline under a key that exists already, in an account whose EBS
// defaults have another owner: neither is changed.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"

	"github.com/securethecloud/kms-baseline/components"
)

func main() { pulumi.Run(program) }

func program(ctx *pulumi.Context) error {
	baseline, err := components.NewEncryptionBaseline(ctx, "byok", &components.EncryptionBaselineArgs{
		// pulumi config set keyArn arn:aws:kms:us-east-1:111122223333:key/...
		Key: &components.BaselineKey{Existing: &components.ExistingKey{KeyArn: pulumi.String(config.Require(ctx, "keyArn"))}},
		EBS: &components.BaselineEBS{Existing: &components.ExistingEBSDefaults{}},
	})
	if err != nil {
		return err
	}
	ctx.Export("bucketName", baseline.BucketName)
	ctx.Export("ebsDefaultKeyArn", baseline.EBSDefaultKeyArn)
	return nil
}
