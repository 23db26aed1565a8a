package components

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/kms"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// CustomerKeyType is the type token of [CustomerKey].
const CustomerKeyType = "kms-baseline:index:CustomerKey"

// CustomerKey is a symmetric customer managed KMS key (usage ENCRYPT_DECRYPT,
// origin AWS_KMS) that rotates, with its alias and its policy; or an existing
// key, which is read and not changed.
type CustomerKey struct {
	pulumi.ResourceState

	// KeyArn is the key's ARN.
	KeyArn pulumi.StringOutput `pulumi:"keyArn"`
	// KeyId is the key's id, the last part of its ARN.
	KeyId pulumi.StringOutput `pulumi:"keyId"`
	// AliasName is the alias, "alias/..."; empty for an existing key.
	AliasName pulumi.StringOutput `pulumi:"aliasName"`
	// AliasArn is the alias's ARN; empty for an existing key.
	AliasArn pulumi.StringOutput `pulumi:"aliasArn"`
	// EncryptPolicy, DecryptPolicy and EncryptDecryptPolicy are IAM policy
	// documents, as JSON. They allow a role or user of the key's account to encrypt
	// with the key, to decrypt, or both.
	EncryptPolicy        pulumi.StringOutput `pulumi:"encryptPolicy"`
	DecryptPolicy        pulumi.StringOutput `pulumi:"decryptPolicy"`
	EncryptDecryptPolicy pulumi.StringOutput `pulumi:"encryptDecryptPolicy"`

	// Key and Alias are the resources themselves; nil for an existing key.
	Key   *kms.Key
	Alias *kms.Alias
	// AdditionalAliases are the resources of the arguments of this name, in their
	// order.
	AdditionalAliases []*kms.Alias
}

// CustomerKeyArgs are the arguments of [NewCustomerKey]. All are optional.
type CustomerKeyArgs struct {
	// AliasName is the key's first alias: "alias/" and 1 to 250 letters, digits, "/",
	// "_" and "-", not beginning with "alias/aws/". The default is "alias/" and
	// the component's name. Preview and up fail, and make no key, if the alias
	// names another key already, or one that is pending deletion.
	// Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html
	AliasName string `pulumi:"aliasName,optional"`
	// AdditionalAliases are further names of the key, with the rules of AliasName. The
	// default is none.
	AdditionalAliases []string `pulumi:"additionalAliases,optional"`
	// Description is what the key is for, at most 8192 characters. The default
	// names the component.
	Description string `pulumi:"description,optional"`
	// RotationPeriodInDays is how often KMS makes new key material: 90 to 2560
	// days. The default is 365. Rotation is always on (CIS AWS 3.6).
	// Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html
	RotationPeriodInDays *int `pulumi:"rotationPeriodInDays,optional"`
	// DeletionWindowInDays is how long the deletion of a key can be canceled: 7
	// to 30 days. The default is 30. What the key has encrypted is lost after that.
	// Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html
	DeletionWindowInDays *int `pulumi:"deletionWindowInDays,optional"`
	// MultiRegion makes a multi-Region primary key, of which [NewReplicaKey]
	// makes replicas. The default is false. KMS cannot convert a key: changing
	// it later makes a new key, which preview shows as a replacement, and what
	// the old key encrypted still needs the old key.
	MultiRegion bool `pulumi:"multiRegion,optional"`
	// Administrators are the ARNs of IAM roles and users who manage the key but
	// do not use it. They must exist, or KMS refuses the policy.
	Administrators pulumi.StringArrayInput `pulumi:"administrators,optional"`
	// ServiceUsers are the ARNs of IAM roles and users who use the key, through S3 and
	// EC2 only. They must exist, or KMS refuses the policy. Principals whose IAM
	// policies allow the key's use need not be named here.
	ServiceUsers pulumi.StringArrayInput `pulumi:"serviceUsers,optional"`
	// DirectUsers are the ARNs of IAM roles and users who use the key in calls of
	// their own (Encrypt, Decrypt, GenerateDataKey, ReEncrypt) as well as through
	// any service. They must exist, or KMS refuses the policy.
	DirectUsers pulumi.StringArrayInput `pulumi:"directUsers,optional"`
	// Accounts are AWS account IDs. Principals of these accounts may use the key
	// through S3 and EC2, as far as their own IAM policies allow it.
	Accounts pulumi.StringArrayInput `pulumi:"accounts,optional"`
	// Services are service principals that may use the key on this account's
	// behalf, as in "cloudtrail.amazonaws.com". CloudTrail, CloudWatch Logs
	// ("logs.REGION.amazonaws.com"), log delivery ("delivery.logs.amazonaws.com"),
	// Config, SNS, SQS, EventBridge ("events.amazonaws.com") and S3's event
	// notifications get the actions and conditions that AWS documents for them,
	// which for EventBridge are no conditions; any other service may use the key for
	// resources of this account (aws:SourceAccount), and up says that it has no
	// statement of its own. AWS Backup uses roles: name those among ServiceUsers. So
	// does S3 replication, whose role needs no more than EncryptedBucket's
	// ReplicationPolicy.
	Services pulumi.StringArrayInput `pulumi:"services,optional"`
	// AllowAutoScaling lets the Auto Scaling service-linked role use the key,
	// which Auto Scaling groups need to launch instances with encrypted volumes.
	// The default is false: in an account where that role does not exist yet,
	// KMS refuses a policy that names it.
	AllowAutoScaling bool `pulumi:"allowAutoScaling,optional"`
	// Statements are further statements of the key policy.
	Statements []PolicyStatement `pulumi:"statements,optional"`
	// Policy is the whole key policy, as a JSON document. It is mutually exclusive
	// with the arguments that make a policy (Administrators to Statements). It must
	// have a statement that allows kms:* to the account root, so that the account
	// can always manage the key.
	Policy pulumi.StringInput `pulumi:"policy,optional"`
	// GuardDeletion refuses to delete the key while EBS volumes, snapshots, the
	// Region's EBS default or a bucket's default encryption outside the stack use
	// it; the error names them. The preview of an up or a destroy checks this, so
	// that nothing is deleted, and the deletion of the key checks it again. Without a
	// preview (--skip-preview, the Automation API) the second check comes after the
	// aliases, the bucket and other dependents of the key are deleted, and only the
	// key is kept. Objects are not examined: a bucket that has encrypted with the key
	// and no longer does is not found. A Go program must call keyguard.Register
	// first. destroy then needs --run-program, and without it stops before it
	// deletes anything. The default is false.
	GuardDeletion bool `pulumi:"guardDeletion,optional"`
	// Tags are the key's tags.
	Tags pulumi.StringMapInput `pulumi:"tags,optional"`
}

// NewCustomerKey makes a customer managed key. [LookupCustomerKey] reads an
// existing one.
func NewCustomerKey(ctx *pulumi.Context, name string, args *CustomerKeyArgs, opts ...pulumi.ResourceOption) (*CustomerKey, error) {
	if args == nil {
		args = &CustomerKeyArgs{}
	}
	if err := errors.Join(args.validate(name), begin(ctx), args.needsGuard(ctx, "CustomerKey", name)); err != nil {
		return nil, err
	}
	c := &CustomerKey{}
	if err := ctx.RegisterComponentResource(CustomerKeyType, name, c, opts...); err != nil {
		return nil, err
	}
	if err := apart(func() error { return c.create(ctx, name, args) }); err != nil {
		return nil, err
	}
	return c, c.complete(ctx)
}

// complete makes the outputs that a new and an existing key share.
func (c *CustomerKey) complete(ctx *pulumi.Context) error {
	c.EncryptPolicy, c.DecryptPolicy = keyAccess(c.KeyArn, accessWrite), keyAccess(c.KeyArn, accessRead)
	c.EncryptDecryptPolicy = keyAccess(c.KeyArn, accessRead|accessWrite)
	return ctx.RegisterResourceOutputs(c, pulumi.Map{
		"keyArn": c.KeyArn, "keyId": c.KeyId, "aliasName": c.AliasName, "aliasArn": c.AliasArn,
		"encryptPolicy": c.EncryptPolicy, "decryptPolicy": c.DecryptPolicy, "encryptDecryptPolicy": c.EncryptDecryptPolicy,
	})
}

func (a *CustomerKeyArgs) alias(name string) string {
	if a.AliasName != "" {
		return a.AliasName
	}
	return "alias/" + name
}

// aliases are all aliases, the first one first.
func (a *CustomerKeyArgs) aliases(name string) []string {
	return append([]string{a.alias(name)}, a.AdditionalAliases...)
}

func (a *CustomerKeyArgs) validate(name string) error {
	return validateAll("CustomerKey", name, a.check(name))
}

func (a *CustomerKeyArgs) check(name string) error {
	var errs []error
	errs = append(errs, validateAliasName("AliasName", a.alias(name)))
	for i, alias := range a.AdditionalAliases {
		errs = append(errs, validateAliasName("AdditionalAliases", alias))
		if alias == a.alias(name) || slices.Contains(a.AdditionalAliases[:i], alias) {
			errs = append(errs, invalid("AdditionalAliases", alias, "the key has this name already"))
		}
	}
	_, err := days("RotationPeriodInDays", a.RotationPeriodInDays, 90, 2560, 365)
	errs = append(errs, err)
	_, err = days("DeletionWindowInDays", a.DeletionWindowInDays, 7, 30, 30)
	errs = append(errs, err)
	if len(a.Description) > 8192 {
		errs = append(errs, wrong("Description", "it has %d characters; 8192 are allowed", len(a.Description)))
	}
	var known [][]string
	for _, list := range a.policyLists() {
		known = append(known, plainStrings(list.in))
		for _, value := range known[len(known)-1] {
			errs = append(errs, list.check(list.argument, value))
		}
	}
	errs = append(errs, validateStatements("kms", a.Statements))
	errs = append(errs, validateTags("Tags", a.Tags))
	if a.Policy != nil {
		if a.hasPolicyArgs() {
			errs = append(errs, wrong("Policy", "and Administrators, ServiceUsers, DirectUsers, Accounts, Services, AllowAutoScaling or Statements exclude each other: Policy is the whole policy"))
		}
		errs = append(errs, checkPlain(a.Policy, func(s string) error { return validateKeyPolicy("Policy", s, "") }))
	} else {
		// Names used twice and a policy too large show with any key's ARN.
		_, err := a.keyPolicy(known, plainStatements(a.Statements)).document(keyARN{partition: "aws", region: "us-east-1", account: "111122223333"})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// policyList is an argument that the key policy is made of.
type policyList struct {
	argument string
	in       pulumi.StringArrayInput
	check    func(argument, value string) error
}

func (a *CustomerKeyArgs) policyLists() []policyList {
	return []policyList{
		{"Administrators", a.Administrators, validatePrincipal},
		{"ServiceUsers", a.ServiceUsers, validatePrincipal},
		{"DirectUsers", a.DirectUsers, validatePrincipal},
		{"Accounts", a.Accounts, validateAccount},
		{"Services", a.Services, validateService},
	}
}

// keyPolicy is the key policy with what policyLists hold, in their order.
func (a *CustomerKeyArgs) keyPolicy(lists [][]string, statements []policyStatement) keyPolicy {
	return keyPolicy{
		administrators: lists[0], serviceUsers: lists[1], directUsers: lists[2], accounts: lists[3], services: lists[4],
		allowAutoScaling: a.AllowAutoScaling, statements: statements,
	}
}

func (a *CustomerKeyArgs) hasPolicyArgs() bool {
	given := func(list policyList) bool { return list.in != nil }
	return slices.ContainsFunc(a.policyLists(), given) || len(a.Statements) > 0 || a.AllowAutoScaling
}

func (c *CustomerKey) create(ctx *pulumi.Context, name string, args *CustomerKeyArgs) error {
	rotation, err := days("RotationPeriodInDays", args.RotationPeriodInDays, 90, 2560, 365)
	if err != nil {
		return err
	}
	window, err := days("DeletionWindowInDays", args.DeletionWindowInDays, 7, 30, 30)
	if err != nil {
		return err
	}
	description := args.Description
	if description == "" {
		description = "customer managed key of " + name
	}
	free, err := aliasIsFree(ctx, c, name, args.aliases(name), func(key kms.LookupKeyResult) bool {
		return key.MultiRegion == args.MultiRegion // where not, it is ours and is being replaced
	})
	if err != nil {
		return err
	}
	rotates, err := rotatesAfterUpdate(ctx, name)
	if err != nil {
		return err
	}
	opts := child(c, free, rotates, pulumi.HideDiffs([]string{"policy"})) // shown by the resource that sets it
	if args.GuardDeletion {
		opts = append(opts, beforeDelete(ctx, guardHook))
	}
	key, err := kms.NewKey(ctx, name+"-key", &kms.KeyArgs{
		Description:           pulumi.String(description),
		KeyUsage:              pulumi.String("ENCRYPT_DECRYPT"),
		CustomerMasterKeySpec: pulumi.String("SYMMETRIC_DEFAULT"),
		IsEnabled:             pulumi.Bool(true),
		EnableKeyRotation:     pulumi.Bool(true),
		RotationPeriodInDays:  pulumi.Int(rotation),
		DeletionWindowInDays:  pulumi.Int(window),
		MultiRegion:           pulumi.Bool(args.MultiRegion),
		Tags:                  args.Tags,
	}, opts...)
	if err != nil {
		return fmt.Errorf("creating the key of %s: %w", name, err)
	}
	policy, err := newKeyPolicy(ctx, name, c, key, key.Arn, key.KeyId, args)
	if err != nil {
		return err
	}
	aliases, err := newAliases(ctx, name, c, key.KeyId, policy, args.aliases(name))
	if err != nil {
		return err
	}
	c.Key, c.Alias, c.AdditionalAliases = key, aliases[0], aliases[1:]
	c.KeyArn, c.KeyId, c.AliasName, c.AliasArn = key.Arn, key.KeyId, c.Alias.Name, c.Alias.Arn
	return nil
}

// newAliases names the key. The first alias has the name of the resource that it
// has always had, and each other one a name of its own, so that changes of the
// list replace no alias. They come after the policy: a caller that finds the key by
// an alias finds it ready.
func newAliases(ctx *pulumi.Context, name string, parent pulumi.Resource, keyID pulumi.StringOutput, policy pulumi.Resource, aliases []string) ([]*kms.Alias, error) {
	var made []*kms.Alias
	for i, alias := range aliases {
		resource := name + "-alias"
		if i > 0 {
			resource += "-" + strings.TrimPrefix(alias, "alias/")
		}
		a, err := kms.NewAlias(ctx, resource, &kms.AliasArgs{
			Name:        pulumi.String(alias),
			TargetKeyId: keyID,
		}, child(parent, pulumi.DependsOn([]pulumi.Resource{policy}))...)
		if err != nil {
			return nil, fmt.Errorf("creating the alias %s of %s: %w", alias, name, err)
		}
		made = append(made, a)
	}
	return made, nil
}

// rotatesAfterUpdate is the option that fails an up that leaves the key without
// rotation. Where AWS made the key and then refused to rotate it, the engine goes
// on with an update in which the provider finds nothing to change, and only
// afterwards sees the current state.
func rotatesAfterUpdate(ctx *pulumi.Context, name string) (pulumi.ResourceOption, error) {
	hook, err := ctx.RegisterResourceHook(hookName(ctx, "rotation of the key of "+name), func(h *pulumi.ResourceHookArgs) error {
		if on := h.NewOutputs["enableKeyRotation"]; on.IsBool() && !on.BoolValue() {
			return fmt.Errorf("the key of %s was half made by an up that failed, and does not rotate yet: run pulumi up again", name)
		}
		return nil
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("preparing to look at the rotation of the key of %s: %w", name, err)
	}
	return pulumi.ResourceHooks(&pulumi.ResourceHookBinding{AfterUpdate: []*pulumi.ResourceHook{hook}}), nil
}

// needsGuard returns an error if the key is guarded and the program has no guard.
func (a *CustomerKeyArgs) needsGuard(ctx *pulumi.Context, component, name string) error {
	missing := false
	ofProgram(ctx, func(p *program) { missing = a.GuardDeletion && p.guard == nil })
	if missing {
		return fmt.Errorf("%s %q: GuardDeletion: call keyguard.Register(ctx) of this module before the key is made", component, name)
	}
	return nil
}

// newKeyPolicy sets the policy after the key is made, because the policy needs the
// account ID, which the key's ARN contains: no further call is needed. Until then
// the key has AWS's default policy, which allows its use to the account alone.
func newKeyPolicy(ctx *pulumi.Context, name string, parent, key pulumi.Resource, keyArn, keyID pulumi.StringOutput, args *CustomerKeyArgs) (*kms.KeyPolicy, error) {
	var policy pulumi.StringOutput
	if args.Policy != nil {
		policy = pulumi.All(keyArn, args.Policy).ApplyT(func(v []any) (string, error) {
			arn, err := parseKeyARN("KeyArn", v[0].(string))
			if err != nil {
				return "", err
			}
			document := v[1].(string)
			return document, validateKeyPolicy("Policy", document, arn.account)
		}).(pulumi.StringOutput)
	} else {
		inputs := []any{keyArn, statementValues(args.Statements)}
		for _, list := range args.policyLists() {
			inputs = append(inputs, orEmpty(list.in))
		}
		policy = pulumi.All(inputs...).ApplyT(func(v []any) (string, error) {
			arn, err := parseKeyARN("KeyArn", v[0].(string))
			if err != nil {
				return "", err
			}
			statements := v[1].([]policyStatement)
			errs := []error{checkStatements("kms", statements, arn)}
			var values [][]string
			for i, list := range args.policyLists() {
				values = append(values, v[2+i].([]string))
				for _, value := range values[i] {
					err := list.check(list.argument, value)
					if err == nil && strings.HasPrefix(value, "arn:") {
						err = samePartition(list.argument, value, arn)
					}
					errs = append(errs, err)
				}
			}
			p := args.keyPolicy(values, statements)
			if err := errors.Join(append(errs, hintServices(ctx, parent, p.services))...); err != nil {
				return "", err
			}
			return p.document(arn)
		}).(pulumi.StringOutput)
	}
	// Deleted with the key: setting the default policy on a key that is about to
	// be deleted would be a call for nothing.
	kp, err := kms.NewKeyPolicy(ctx, name+"-key-policy", &kms.KeyPolicyArgs{
		KeyId:  keyID,
		Policy: policy,
	}, child(parent, pulumi.DeletedWith(key))...)
	if err != nil {
		return nil, fmt.Errorf("setting the key policy of %s: %w", name, err)
	}
	return kp, nil
}

// hintServices logs which services have no statement of their own.
func hintServices(ctx *pulumi.Context, parent pulumi.Resource, services []string) error {
	for _, service := range services {
		if _, ok := presetOf(service); !ok {
			hint := fmt.Sprintf("Services: AWS's documentation may ask for other actions or conditions for %s than the general ones (the use of the key with aws:SourceAccount): compare, and give Statements instead where they differ", service)
			if err := ctx.Log.Info(hint, &pulumi.LogArgs{Resource: parent}); err != nil {
				return err
			}
		}
	}
	return nil
}

func orEmpty(in pulumi.StringArrayInput) pulumi.StringArrayOutput {
	if in == nil {
		return pulumi.StringArray{}.ToStringArrayOutput()
	}
	return in.ToStringArrayOutput()
}

// pendingDeletion reports whether a key is pending deletion.
func pendingDeletion(k kms.LookupKeyResult) bool {
	return k.KeyState == "PendingDeletion" || k.KeyState == "PendingReplicaDeletion"
}

// deletion is the state of such a key. A primary key that waits for the deletion of its
// replicas has no date yet.
func deletion(k kms.LookupKeyResult) string {
	if k.DeletionDate == "" {
		return "pending deletion"
	}
	return "pending deletion until " + k.DeletionDate
}

// cancelDeletion is the commands that make such a key usable again.
func cancelDeletion(k kms.LookupKeyResult) string {
	return fmt.Sprintf("`aws kms cancel-key-deletion --key-id %s` and `aws kms enable-key --key-id %s`", k.Arn, k.Arn)
}
