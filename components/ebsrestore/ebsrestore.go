// Package ebsrestore puts a Region's EBS defaults back to what they were before
// a stack set them. It serves components.EBSDefaultEncryptionArgs' OnDestroy
// "restore". It is not part of package components because it needs the AWS SDK,
// which only programs that opt in should link.
package ebsrestore

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/securethecloud/kms-baseline/components"
)

var _ components.EBSRestorer = Restore

// Register makes [Restore] the program's function that restores EBS defaults.
// Call it at the beginning of the program, and keep the call until an up has
// removed the last component with OnDestroy "restore".
func Register(ctx *pulumi.Context) error { return components.UseEBSRestorer(ctx, Restore) }

// Restore sets the EBS defaults of region to before, with the credentials of
// the environment (AWS_PROFILE, SSO, AWS_ENDPOINT_URL and so on; not those that
// a Pulumi provider is configured with). It changes nothing and fails where
// they are another account's than before's. It changes nothing where the
// default key is no longer ours, the ARN of the key that the stack had set:
// then another owner has set it since.
//
// Where the customer managed key of before cannot be used any more, it leaves
// the AWS managed key, since no volume could be created under the other.
func Restore(ctx context.Context, region, ours string, before components.EBSSettings) error {
	account := before.Account
	if account == "" {
		return fmt.Errorf("restoring the EBS defaults of %s: it is not known which account they are in: nothing was changed", region)
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(region))
	if err != nil {
		return fmt.Errorf("restoring the EBS defaults of %s: loading the AWS configuration: %w", region, err)
	}
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	if err != nil {
		return fmt.Errorf("restoring the EBS defaults of %s: %w", region, err)
	}
	if *who.Account != account {
		return fmt.Errorf("restoring the EBS defaults of %s: the environment's credentials are of account %s and the stack is in %s: nothing was changed; set AWS_PROFILE to credentials of %s and destroy again", region, *who.Account, account, account)
	}
	client := ec2.NewFromConfig(cfg)
	current, err := client.GetEbsDefaultKmsKeyId(ctx, nil)
	if err != nil {
		return fmt.Errorf("restoring the EBS defaults of %s: %w", region, err)
	}
	if *current.KmsKeyId != ours {
		return nil
	}
	// The key last: while it is ours, a run that was interrupted is resumed.
	if before.Enabled {
		_, err = client.EnableEbsEncryptionByDefault(ctx, nil)
	} else {
		_, err = client.DisableEbsEncryptionByDefault(ctx, nil)
	}
	if err != nil {
		return fmt.Errorf("restoring EBS encryption by default of %s to %t: %w", region, before.Enabled, err)
	}
	if usable(ctx, kms.NewFromConfig(cfg), before.KmsKeyArn) {
		_, err = client.ModifyEbsDefaultKmsKeyId(ctx, &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &before.KmsKeyArn})
	} else {
		_, err = client.ResetEbsDefaultKmsKeyId(ctx, nil)
	}
	if err != nil {
		return fmt.Errorf("restoring the default EBS key of %s to %s: %w", region, before.KmsKeyArn, err)
	}
	return nil
}

// usable reports whether arn is a customer managed key that can be a default. A
// key that we may not look at counts: EC2 itself has the last word.
func usable(ctx context.Context, client *kms.Client, arn string) bool {
	if !strings.HasPrefix(arn, "arn:") || strings.Contains(arn, ":alias/aws/") {
		return false
	}
	key, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &arn})
	if err != nil {
		return !strings.Contains(err.Error(), "NotFoundException")
	}
	return key.KeyMetadata.Enabled && key.KeyMetadata.KeyManager != "AWS"
}
