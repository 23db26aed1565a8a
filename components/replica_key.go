package components

import (
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

	// Key and Alias are the resources themselves.
	Key   *kms.ReplicaKey
	Alias *kms.Alias
	// AdditionalAliases are the resources of the arguments of this name, in their
	// order.
	AdditionalAliases []*kms.Alias
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
	// AdditionalAliases are further names of the replica: see
	// CustomerKeyArgs.AdditionalAliases.
	AdditionalAliases []string `pulumi:"additionalAliases,optional"`
	// Description is what the key is for, at most 8192 characters. The default
	// names the component.
	Description string `pulumi:"description,optional"`
	// DeletionWindowInDays is how long the deletion of a replica can be canceled:
	// 7 to 30 days. The default is 30.
	DeletionWindowInDays *int `pulumi:"deletionWindowInDays,optional"`
	// Administrators manage the replica: see CustomerKeyArgs.Administrators.
	Administrators pulumi.StringArrayInput `pulumi:"administrators,optional"`
	// ServiceUsers use the replica through S3 and EC2: see
	// CustomerKeyArgs.ServiceUsers.
	ServiceUsers pulumi.StringArrayInput `pulumi:"serviceUsers,optional"`
	// DirectUsers use the replica: see CustomerKeyArgs.DirectUsers.
	DirectUsers pulumi.StringArrayInput `pulumi:"directUsers,optional"`
	// Accounts use the replica through S3 and EC2: see CustomerKeyArgs.Accounts.
	Accounts pulumi.StringArrayInput `pulumi:"accounts,optional"`
	// Services use the replica: see CustomerKeyArgs.Services.
	Services pulumi.StringArrayInput `pulumi:"services,optional"`
	// AllowAutoScaling lets the Auto Scaling service-linked role use the
	// replica. The default is false.
	AllowAutoScaling bool `pulumi:"allowAutoScaling,optional"`
	// Statements are further statements of the replica's policy.
	Statements []PolicyStatement `pulumi:"statements,optional"`
	// Policy is the replica's policy, whole: see CustomerKeyArgs.Policy.
	Policy pulumi.StringInput `pulumi:"policy,optional"`
	// GuardDeletion refuses to delete the replica while something in its Region
	// uses it: see CustomerKeyArgs.GuardDeletion. The default is false.
	GuardDeletion bool `pulumi:"guardDeletion,optional"`
	// Tags are the replica's tags; it does not inherit the primary's.
	Tags pulumi.StringMapInput `pulumi:"tags,optional"`
}

// NewReplicaKey makes a replica in the Region of the provider that is given in
// opts.
func NewReplicaKey(ctx *pulumi.Context, name string, args *ReplicaKeyArgs, opts ...pulumi.ResourceOption) (*ReplicaKey, error) {
	if args == nil {
		args = &ReplicaKeyArgs{}
	}
	// A replica has the same checks, policy and aliases as any other key.
	key := &CustomerKeyArgs{
		AliasName: args.AliasName, AdditionalAliases: args.AdditionalAliases, Description: args.Description, DeletionWindowInDays: args.DeletionWindowInDays,
		Administrators: args.Administrators, ServiceUsers: args.ServiceUsers, DirectUsers: args.DirectUsers, Accounts: args.Accounts, Services: args.Services,
		AllowAutoScaling: args.AllowAutoScaling, Statements: args.Statements, Policy: args.Policy, GuardDeletion: args.GuardDeletion, Tags: args.Tags,
	}
	var missing error
	if args.PrimaryKeyArn == nil {
		missing = wrong("PrimaryKeyArn", "it is required: the KeyArn of a CustomerKey with MultiRegion")
	}
	if err := validateAll("ReplicaKey", name, missing, checkPlain(args.PrimaryKeyArn, validatePrimary), key.check(name), begin(ctx), key.needsGuard(ctx, "ReplicaKey", name)); err != nil {
		return nil, err
	}
	c := &ReplicaKey{}
	if err := ctx.RegisterComponentResource(ReplicaKeyType, name, c, opts...); err != nil {
		return nil, err
	}
	if err := apart(func() error { return c.create(ctx, name, args, key) }); err != nil {
		return nil, err
	}
	return c, ctx.RegisterResourceOutputs(c, pulumi.Map{
		"keyArn": c.KeyArn, "keyId": c.KeyId, "aliasName": c.AliasName, "aliasArn": c.AliasArn,
	})
}

// create makes the replica and its policy and aliases, those of key.
func (c *ReplicaKey) create(ctx *pulumi.Context, name string, args *ReplicaKeyArgs, key *CustomerKeyArgs) error {
	window, err := days("DeletionWindowInDays", args.DeletionWindowInDays, 7, 30, 30)
	if err != nil {
		return err
	}
	description := args.Description
	if description == "" {
		description = "replica key of " + name
	}
	free, err := aliasIsFree(ctx, c, name, key.aliases(name), func(kms.LookupKeyResult) bool {
		return false // a replica that has the alias may be this one, which is being replaced
	})
	if err != nil {
		return err
	}
	// The policy is shown by the resource that sets it.
	opts := child(c, free, pulumi.HideDiffs([]string{"policy"}))
	if args.GuardDeletion {
		opts = append(opts, beforeDelete(ctx, guardHook))
	}
	replica, err := kms.NewReplicaKey(ctx, name+"-key", &kms.ReplicaKeyArgs{
		PrimaryKeyArn:        checked(args.PrimaryKeyArn, validatePrimary),
		Description:          pulumi.String(description),
		DeletionWindowInDays: pulumi.Int(window),
		Enabled:              pulumi.Bool(true),
		Tags:                 args.Tags,
	}, opts...)
	if err != nil {
		return fmt.Errorf("creating the replica key of %s: %w", name, err)
	}
	policy, err := newKeyPolicy(ctx, name, c, replica, replica.Arn, replica.KeyId, key)
	if err != nil {
		return err
	}
	aliases, err := newAliases(ctx, name, c, replica.KeyId, policy, key.aliases(name))
	if err != nil {
		return err
	}
	c.Key, c.Alias, c.AdditionalAliases = replica, aliases[0], aliases[1:]
	c.KeyArn, c.KeyId, c.AliasName, c.AliasArn = replica.Arn, replica.KeyId, c.Alias.Name, c.Alias.Arn
	return nil
}

func validatePrimary(arn string) error {
	k, err := parseKeyARN("PrimaryKeyArn", arn)
	if err == nil && !strings.Contains(k.arn, ":key/mrk-") {
		return invalid("PrimaryKeyArn", arn, `it is not a multi-Region key (their ids begin with "mrk-"); make the primary with MultiRegion`)
	}
	return err
}
