package components

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/kms"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// ReplicaKeyType is the type token of [ReplicaKey].
const ReplicaKeyType = "kms-baseline:index:ReplicaKey"

// ReplicaKey is a replica of a multi-Region key in another Region: the same key
// material under an ARN of its own, with its own alias and policy. KMS rotates
// it with its primary.
type ReplicaKey struct {
	pulumi.ResourceState

	// KeyArn is the replica's ARN.
	KeyArn pulumi.StringOutput `pulumi:"keyArn"`
	// KeyId is the key's id, which is the primary's too.
	KeyId pulumi.StringOutput `pulumi:"keyId"`
	// AliasName is the alias in the replica's Region.
	AliasName pulumi.StringOutput `pulumi:"aliasName"`
	// AliasArn is the alias's ARN.
	AliasArn pulumi.StringOutput `pulumi:"aliasArn"`
}

// ReplicaKeyArgs are the arguments of [NewReplicaKey].
type ReplicaKeyArgs struct {
	// PrimaryKeyArn is the ARN of a multi-Region key in another Region, made
	// with CustomerKeyArgs.MultiRegion. Required.
	// Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ReplicateKey.html
	PrimaryKeyArn pulumi.StringInput `pulumi:"primaryKeyArn"`
	// AliasName is the replica's alias, with the rules and the default of
	// CustomerKeyArgs.AliasName.
	AliasName string `pulumi:"aliasName,optional"`
	// Description is what the key is for, at most 8192 characters. The default
	// names the component.
	Description string `pulumi:"description,optional"`
	// DeletionWindowInDays is how long a deleted replica can still be rescued: 7
	// to 30 days. The default is 30.
	DeletionWindowInDays *int `pulumi:"deletionWindowInDays,optional"`
	// Administrators manage the replica: see CustomerKeyArgs.Administrators.
	Administrators pulumi.StringArrayInput `pulumi:"administrators,optional"`
	// Users use the replica through S3 and EC2: see CustomerKeyArgs.Users.
	Users pulumi.StringArrayInput `pulumi:"users,optional"`
	// AllowAutoScaling lets the Auto Scaling service-linked role use the
	// replica. The default is false.
	AllowAutoScaling bool `pulumi:"allowAutoScaling,optional"`
	// Tags are the replica's tags; it does not inherit the primary's.
	Tags pulumi.StringMapInput `pulumi:"tags,optional"`
}

// NewReplicaKey makes a replica in the Region of the provider that is given in
// opts.
func NewReplicaKey(ctx *pulumi.Context, name string, args *ReplicaKeyArgs, opts ...pulumi.ResourceOption) (*ReplicaKey, error) {
	if args == nil {
		args = &ReplicaKeyArgs{}
	}
	// A replica is governed as any other key is.
	key := &CustomerKeyArgs{
		AliasName: args.AliasName, Description: args.Description, DeletionWindowInDays: args.DeletionWindowInDays,
		Administrators: args.Administrators, Users: args.Users, AllowAutoScaling: args.AllowAutoScaling, Tags: args.Tags,
	}
	var missing error
	if args.PrimaryKeyArn == nil {
		missing = errors.New("PrimaryKeyArn: it is required: the KeyArn of a CustomerKey with MultiRegion")
	}
	if err := validateAll("ReplicaKey", name, missing, checkPlain(args.PrimaryKeyArn, validatePrimary), key.check(name), begin(ctx)); err != nil {
		return nil, err
	}
	window, err := days("DeletionWindowInDays", args.DeletionWindowInDays, 7, 30, 30)
	if err != nil {
		return nil, err
	}
	c := &ReplicaKey{}
	if err := ctx.RegisterComponentResource(ReplicaKeyType, name, c, opts...); err != nil {
		return nil, err
	}
	description := args.Description
	if description == "" {
		description = "replica key of " + name
	}
	free, err := aliasIsFree(ctx, c, name, key.alias(name), func(kms.LookupKeyResult) bool {
		return false // where it is another replica's, it may be ours that is being replaced
	})
	if err != nil {
		return nil, err
	}
	replica, err := kms.NewReplicaKey(ctx, name+"-key", &kms.ReplicaKeyArgs{
		PrimaryKeyArn:        checked(args.PrimaryKeyArn, validatePrimary),
		Description:          pulumi.String(description),
		DeletionWindowInDays: pulumi.Int(window),
		Enabled:              pulumi.Bool(true),
		Tags:                 args.Tags,
	}, child(c, free, pulumi.HideDiffs([]string{"policy"}))...) // shown by the resource that sets it
	if err != nil {
		return nil, fmt.Errorf("creating the replica key of %s: %w", name, err)
	}
	policy, err := newKeyPolicy(ctx, name, c, replica, replica.Arn, replica.KeyId, key)
	if err != nil {
		return nil, err
	}
	alias, err := kms.NewAlias(ctx, name+"-alias", &kms.AliasArgs{
		Name:        pulumi.String(key.alias(name)),
		TargetKeyId: replica.KeyId,
	}, child(c, pulumi.DependsOn([]pulumi.Resource{policy}))...)
	if err != nil {
		return nil, fmt.Errorf("creating the alias of %s: %w", name, err)
	}
	c.KeyArn, c.KeyId, c.AliasName, c.AliasArn = replica.Arn, replica.KeyId, alias.Name, alias.Arn
	return c, ctx.RegisterResourceOutputs(c, pulumi.Map{
		"keyArn": c.KeyArn, "keyId": c.KeyId, "aliasName": c.AliasName, "aliasArn": c.AliasArn,
	})
}

func validatePrimary(arn string) error {
	k, err := parseKeyARN("PrimaryKeyArn", arn)
	if err == nil && !strings.Contains(k.arn, ":key/mrk-") {
		return invalid("PrimaryKeyArn", arn, `it is not a multi-Region key (their ids begin with "mrk-"); make the primary with MultiRegion`)
	}
	return err
}
