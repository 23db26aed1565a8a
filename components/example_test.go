package components_test

import (
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/iam"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/securethecloud/kms-baseline/components"
)

// The whole baseline: a key with an alias, a bucket that encrypts with it, and
// EBS encryption by default under it.
func ExampleNewEncryptionBaseline() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		baseline, err := components.NewEncryptionBaseline(ctx, "main", nil)
		if err != nil {
			return err
		}
		ctx.Export("bucketName", baseline.BucketName)
		return nil
	})
}

// A key for a role of the same program, and the policy that allows the role to
// decrypt with it.
func ExampleNewCustomerKey() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		role, err := iam.NewRole(ctx, "reader", &iam.RoleArgs{
			AssumeRolePolicy: pulumi.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}`),
		})
		if err != nil {
			return err
		}
		key, err := components.NewCustomerKey(ctx, "orders", &components.CustomerKeyArgs{
			RotationPeriodInDays: pulumi.IntRef(180),
		})
		if err != nil {
			return err
		}
		_, err = iam.NewRolePolicy(ctx, "reader-decrypts", &iam.RolePolicyArgs{Role: role.Name, Policy: key.DecryptPolicy})
		return err
	})
}

// A bucket under an existing key.
func ExampleNewEncryptedBucket() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		bucket, err := components.NewEncryptedBucket(ctx, "orders", &components.EncryptedBucketArgs{
			KmsKeyArn: pulumi.String("arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"),
		})
		if err != nil {
			return err
		}
		ctx.Export("bucketName", bucket.BucketName)
		return nil
	})
}

// EBS encryption by default under a key. After destroy it is still on, under the
// AWS managed key.
func ExampleNewEBSDefaultEncryption() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		key, err := components.NewCustomerKey(ctx, "volumes", nil)
		if err != nil {
			return err
		}
		_, err = components.NewEBSDefaultEncryption(ctx, "us-east-1", &components.EBSDefaultEncryptionArgs{
			KmsKeyArn: key.KeyArn,
		})
		return err
	})
}
