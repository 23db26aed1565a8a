// A platform team's stack: the key that applications encrypt with, and the
// Region's EBS defaults. The application's stack reads keyArn.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/securethecloud/kms-baseline/components"
)

func main() { pulumi.Run(program) }

func program(ctx *pulumi.Context) error {
	baseline, err := components.NewEncryptionBaseline(ctx, "platform", &components.EncryptionBaselineArgs{
		Bucket: &components.BaselineBucket{Skip: true},
		EBS:    &components.BaselineEBS{Args: &components.EBSDefaultEncryptionArgs{OnDestroy: components.EBSKeepOn}},
	}, pulumi.Protect(ctx.Stack() == "prod")) // pulumi refuses to delete what is protected
	if err != nil {
		return err
	}
	ctx.Export("keyArn", baseline.KeyArn)
	return nil
}
