// EBS encryption by default in every Region that is enabled (CIS AWS 5.1.1 asks
// for all), each under a replica of one multi-Region key.
package main

import (
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"

	"github.com/securethecloud/kms-baseline/components"
)

func main() { pulumi.Run(program) }

func program(ctx *pulumi.Context) error {
	home := config.Require(ctx, "aws:region")
	key, err := components.NewCustomerKey(ctx, "everywhere", &components.CustomerKeyArgs{MultiRegion: true})
	if err != nil {
		return err
	}
	if _, err := components.NewEBSDefaultEncryption(ctx, home, &components.EBSDefaultEncryptionArgs{KmsKeyArn: key.KeyArn}); err != nil {
		return err
	}
	// A list of your own, or all: pulumi config set --path 'regions[0]' eu-west-1
	var regions []string
	if err := config.TryObject(ctx, "regions", &regions); err != nil {
		enabled, err := aws.GetRegions(ctx, nil)
		if err != nil {
			return err
		}
		regions = enabled.Names
	}
	done := pulumi.StringArray{pulumi.String(home)}
	for _, region := range regions {
		if region == home {
			continue
		}
		provider, err := aws.NewProvider(ctx, region, &aws.ProviderArgs{Region: pulumi.String(region)})
		if err != nil {
			return err
		}
		replica, err := components.NewReplicaKey(ctx, "everywhere-"+region, &components.ReplicaKeyArgs{
			PrimaryKeyArn: key.KeyArn, AliasName: "alias/everywhere",
		}, pulumi.Provider(provider))
		if err != nil {
			return err
		}
		ebs, err := components.NewEBSDefaultEncryption(ctx, region, &components.EBSDefaultEncryptionArgs{KmsKeyArn: replica.KeyArn}, pulumi.Provider(provider))
		if err != nil {
			return err
		}
		done = append(done, ebs.Enabled.ApplyT(func(bool) string { return region }).(pulumi.StringOutput))
	}
	ctx.Export("keyArn", key.KeyArn)
	ctx.Export("regions", done)
	return nil
}
