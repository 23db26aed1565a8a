// An application's stack: a bucket of its own under the platform team's key,
// which it finds through a StackReference.
package main

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"

	"github.com/securethecloud/kms-baseline/components"
)

func main() { pulumi.Run(program) }

func program(ctx *pulumi.Context) error {
	// pulumi config set platformStack ORGANIZATION/kms-baseline-platform/prod
	platform, err := pulumi.NewStackReference(ctx, config.Require(ctx, "platformStack"), nil)
	if err != nil {
		return err
	}
	keyArn := platform.GetOutput(pulumi.String("keyArn")).ApplyT(func(v any) (string, error) {
		arn, ok := v.(string)
		if !ok {
			return "", fmt.Errorf("the platform's stack has no output keyArn: deploy it first")
		}
		return arn, nil
	}).(pulumi.StringOutput)
	bucket, err := components.NewEncryptedBucket(ctx, "application", &components.EncryptedBucketArgs{
		KmsKeyArn: keyArn,
		LifecycleRules: []components.LifecycleRule{{
			ID: "old-versions", NoncurrentExpirationDays: pulumi.IntRef(90), AbortIncompleteMultipartDays: pulumi.IntRef(7),
		}},
	})
	if err != nil {
		return err
	}
	ctx.Export("bucketName", bucket.BucketName)
	return nil
}
