// A bucket, and a replica of it in another Region: each has a key of its own, and
// S3 encrypts the replicas under the key of their Region. README.md shows how to make the
// role that S3 replicates with.
package main

import (
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"

	"github.com/securethecloud/kms-baseline/components"
)

func main() { pulumi.Run(program) }

func program(ctx *pulumi.Context) error {
	cfg := config.New(ctx, "")
	role := pulumi.String(cfg.Require("roleArn"))
	region := cfg.Get("replicaRegion")
	if region == "" {
		region = "us-west-2"
	}
	// What destroy needs where there are still objects. It takes effect with an up.
	force := cfg.GetBool("forceDestroy")
	other, err := aws.NewProvider(ctx, region, &aws.ProviderArgs{Region: pulumi.String(region)})
	if err != nil {
		return err
	}
	replicaKey, err := components.NewCustomerKey(ctx, "replica", nil, pulumi.Provider(other))
	if err != nil {
		return err
	}
	replica, err := components.NewEncryptedBucket(ctx, "replica", &components.EncryptedBucketArgs{
		KmsKeyArn: replicaKey.KeyArn, ForceDestroy: force,
		// The bucket's policy denies replication to every other principal.
		ReencryptionPrincipals: pulumi.StringArray{role},
	}, pulumi.Provider(other))
	if err != nil {
		return err
	}
	key, err := components.NewCustomerKey(ctx, "source", nil)
	if err != nil {
		return err
	}
	source, err := components.NewEncryptedBucket(ctx, "source", &components.EncryptedBucketArgs{
		KmsKeyArn: key.KeyArn, ForceDestroy: force,
		Replication: &components.Replication{
			RoleArn: role, DestinationBucketArn: replica.BucketArn, ReplicaKmsKeyArn: replica.KmsKeyArn,
		},
	})
	if err != nil {
		return err
	}
	ctx.Export("bucketName", source.BucketName)
	ctx.Export("keyArn", key.KeyArn)
	ctx.Export("replicaBucketName", replica.BucketName)
	ctx.Export("replicaKeyArn", replica.KmsKeyArn)
	ctx.Export("replicaRegion", pulumi.String(region))
	ctx.Export("replicationPolicy", source.ReplicationPolicy)
	return nil
}
