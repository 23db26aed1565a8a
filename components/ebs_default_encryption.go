package components

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/ebs"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/kms"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"
)

// EBSDefaultEncryptionType is the type token of [EBSDefaultEncryption].
const EBSDefaultEncryptionType = "kms-baseline:index:EBSDefaultEncryption"

// EBSDefaultEncryption is a Region's switch for EBS encryption by default and
// its default key. AWS has one of each per account and Region, so at most one
// component may set them, and the others read them. Volumes that
// exist already are untouched.
// Source: https://docs.aws.amazon.com/ebs/latest/userguide/encryption-by-default.html
type EBSDefaultEncryption struct {
	pulumi.ResourceState

	// KmsKeyArn is the ARN of the default key.
	KmsKeyArn pulumi.StringOutput `pulumi:"kmsKeyArn"`
	// Enabled reports whether new volumes are encrypted by default.
	Enabled pulumi.BoolOutput `pulumi:"enabled"`
}

// What OnDestroy may be.
const (
	// EBSKeepOn leaves encryption by default on, under the AWS managed key.
	EBSKeepOn = "keepOn"
	// EBSSwitchOff switches it off, and resets the key to the AWS managed one.
	EBSSwitchOff = "switchOff"
	// EBSRestore puts the switch and the key back to what they were before the
	// first up.
	EBSRestore = "restore"
)

// EBSSettings are an account's EBS defaults in a Region.
type EBSSettings struct {
	// Account is the AWS account ID.
	Account string
	// Enabled reports whether new volumes are encrypted by default.
	Enabled bool
	// KmsKeyArn is the default key's ARN, or "alias/aws/ebs".
	KmsKeyArn string
}

// EBSDefaultEncryptionArgs are the arguments of [NewEBSDefaultEncryption].
type EBSDefaultEncryptionArgs struct {
	// KmsKeyArn is the ARN of the key that becomes the Region's default.
	// Required, except within a baseline, whose key is the default there.
	KmsKeyArn pulumi.StringInput `pulumi:"kmsKeyArn,optional"`
	// TakeOver allows the default key to be taken from another customer managed
	// key that was the default before the first up. Without it preview names
	// that key and stops. The default is false.
	TakeOver bool `pulumi:"takeOver,optional"`
	// OnDestroy is what destroy leaves: "keepOn" (encryption on, under the
	// AWS managed key), "switchOff", or "restore" (the settings before the first
	// up; the AWS managed key if the default was a key of this stack, which destroy
	// deletes). For "restore" a Go program must call ebsrestore.Register first, and
	// destroy needs --run-program; without it, destroy stops before it has deleted
	// anything. The default is "keepOn".
	OnDestroy string `pulumi:"onDestroy,optional"`
	// BlockSnapshotSharing blocks all public sharing of the account's EBS snapshots
	// in the Region, of those that are shared already too (block-all-sharing). The
	// block stays in place on destroy, whatever OnDestroy is, and if this becomes
	// false: what was set before is not recorded, and unblocking could make snapshots
	// public. `aws ec2 disable-snapshot-block-public-access` removes it. The default is
	// false: the setting is left alone.
	// Source: https://docs.aws.amazon.com/ebs/latest/userguide/block-public-access-snapshots.html
	BlockSnapshotSharing bool `pulumi:"blockSnapshotSharing,optional"`
}

// NewEBSDefaultEncryption sets a Region's EBS defaults. [LookupEBSDefaultEncryption]
// reads them.
func NewEBSDefaultEncryption(ctx *pulumi.Context, name string, args *EBSDefaultEncryptionArgs, opts ...pulumi.ResourceOption) (*EBSDefaultEncryption, error) {
	if args == nil {
		args = &EBSDefaultEncryptionArgs{}
	}
	if err := errors.Join(args.validate(name), begin(ctx), args.needsRestorer(ctx, name)); err != nil {
		return nil, err
	}
	c := &EBSDefaultEncryption{}
	if err := ctx.RegisterComponentResource(EBSDefaultEncryptionType, name, c, opts...); err != nil {
		return nil, err
	}
	if err := apart(func() error { return c.set(ctx, name, args, c.lookUp(ctx)) }); err != nil {
		return nil, err
	}
	return c, c.complete(ctx)
}

func (c *EBSDefaultEncryption) complete(ctx *pulumi.Context) error {
	return ctx.RegisterResourceOutputs(c, pulumi.Map{"kmsKeyArn": c.KmsKeyArn, "enabled": c.Enabled})
}

func (a *EBSDefaultEncryptionArgs) validate(name string) error {
	var errs []error
	if a.KmsKeyArn != nil {
		errs = append(errs, checkPlain(a.KmsKeyArn, validateKeyArn))
	}
	if a.KmsKeyArn == nil {
		errs = append(errs, wrong("KmsKeyArn", "it is required: the ARN of the key to encrypt with"))
	}
	switch a.OnDestroy {
	case "", EBSKeepOn, EBSSwitchOff, EBSRestore:
	default:
		errs = append(errs, invalid("OnDestroy", a.OnDestroy, `it must be "keepOn", "switchOff" or "restore"`))
	}
	return validateAll("EBSDefaultEncryption", name, errs...)
}

// needsRestorer returns an error if the settings are to be restored and the
// program cannot.
func (a *EBSDefaultEncryptionArgs) needsRestorer(ctx *pulumi.Context, name string) error {
	missing := false
	ofProgram(ctx, func(p *program) { missing = a.OnDestroy == EBSRestore && p.restorer == nil })
	if missing {
		return fmt.Errorf(`EBSDefaultEncryption %q: OnDestroy: "restore" needs ebsrestore.Register(ctx) of this module before the component is made`, name)
	}
	return nil
}

// ebsNow is what AWS says of the Region at this moment.
type ebsNow struct {
	region string
	EBSSettings
}

// lookUp asks AWS for the Region's settings as they are, at preview too.
func (c *EBSDefaultEncryption) lookUp(ctx *pulumi.Context) pulumi.Output {
	key := ebs.LookupDefaultKmsKeyOutput(ctx, pulumi.Parent(c))
	enabled := ebs.LookupEncryptionByDefaultOutput(ctx, pulumi.Parent(c)).Enabled()
	return pulumi.All(key.Id(), key.KeyArn(), enabled).ApplyT(func(v []any) ebsNow {
		return ebsNow{region: v[0].(string), EBSSettings: EBSSettings{KmsKeyArn: v[1].(string), Enabled: v[2].(bool)}}
	})
}

// set makes the key the default first and then turns the switch, so that no
// volume is encrypted under the AWS managed key in between; destroy goes the
// other way.
func (c *EBSDefaultEncryption) set(ctx *pulumi.Context, name string, args *EBSDefaultEncryptionArgs, current pulumi.Output) error {
	before, err := c.remember(ctx, name, current)
	if err != nil {
		return err
	}
	keyArn := pulumi.All(
		checked(args.KmsKeyArn, validateKeyArn),
		pulumi.All(current, before.Output).ApplyT(func(v []any) (string, error) {
			now := v[0].(ebsNow)
			if err := c.claim(ctx, now.region, name, args.KmsKeyArn.ToStringOutput()); err != nil {
				return "", err
			}
			before, err := recorded(v[1])
			if err != nil {
				return "", err
			}
			return now.region, c.mayTake(ctx, args, now, before)
		}),
	).ApplyT(func(v []any) (string, error) {
		arn, region := v[0].(string), v[1].(string)
		key, err := parseKeyARN("KmsKeyArn", arn)
		if err == nil && key.region != region {
			err = invalid("KmsKeyArn", arn, fmt.Sprintf("the key is in %s and these are the EBS defaults of %s: give a key of that Region, or a replica", key.region, region))
		}
		return arn, err
	}).(pulumi.StringOutput)

	keyOpts := child(c,
		pulumi.DependsOn([]pulumi.Resource{before}),
		// Deleting this resource resets the default key. Pulumi would create the
		// replacement first and then delete the original, and so undo at once what
		// it has just set.
		pulumi.DeleteBeforeReplace(true),
		// The provider cannot update it, which is how the engine goes on with what
		// an interrupted run has half made: "doesn't support update", for ever.
		pulumi.ReplaceOnChanges([]string{"#initerror"}),
	)
	if args.OnDestroy == EBSRestore {
		keyOpts = append(keyOpts, pulumi.RetainOnDelete(true))
	}
	key, err := ebs.NewDefaultKmsKey(ctx, name+"-default-key", &ebs.DefaultKmsKeyArgs{KeyArn: keyArn}, keyOpts...)
	if err != nil {
		return fmt.Errorf("setting the default EBS key of %s: %w", name, err)
	}
	switchOpts := child(c, pulumi.DependsOn([]pulumi.Resource{key}))
	if args.OnDestroy != EBSSwitchOff {
		// Deleting this resource switches encryption off, even where it was on
		// before us.
		switchOpts = append(switchOpts, pulumi.RetainOnDelete(true))
	}
	enabled, err := ebs.NewEncryptionByDefault(ctx, name+"-switch", &ebs.EncryptionByDefaultArgs{Enabled: pulumi.Bool(true)}, switchOpts...)
	if err != nil {
		return fmt.Errorf("turning on EBS encryption by default for %s: %w", name, err)
	}
	if args.BlockSnapshotSharing {
		if err := c.blockSnapshotSharing(ctx, name, enabled); err != nil {
			return err
		}
	}
	if err := c.newRestorePoint(ctx, name, args, current, before, keyArn, enabled); err != nil {
		return err
	}
	c.KmsKeyArn = key.KeyArn
	c.Enabled = enabled.Enabled.ApplyT(func(b *bool) bool { return b == nil || *b }).(pulumi.BoolOutput)
	return nil
}

// blockSnapshotSharing sets the block after last, so that an up that may not set
// the EBS defaults does not set it either. Deleting the resource would unblock.
func (c *EBSDefaultEncryption) blockSnapshotSharing(ctx *pulumi.Context, name string, last pulumi.Resource) error {
	_, err := ebs.NewSnapshotBlockPublicAccess(ctx, name+"-snapshot-sharing", &ebs.SnapshotBlockPublicAccessArgs{
		State: pulumi.String("block-all-sharing"),
	}, child(c, pulumi.DependsOn([]pulumi.Resource{last}), pulumi.RetainOnDelete(true))...)
	if err != nil {
		return fmt.Errorf("blocking the public sharing of snapshots for %s: %w", name, err)
	}
	return nil
}

// remember keeps in the stack's state what AWS had before the first up. The
// input is ignored from then on: it shows what AWS has now, and every preview
// would find it changed.
func (c *EBSDefaultEncryption) remember(ctx *pulumi.Context, name string, current pulumi.Output) (*pulumi.Stash, error) {
	before, err := pulumi.NewStash(ctx, name+"-before", &pulumi.StashArgs{
		Input: current.ApplyT(func(v any) map[string]any {
			now := v.(ebsNow)
			return map[string]any{"enabled": now.Enabled, "kmsKeyArn": now.KmsKeyArn}
		}),
	}, child(c, pulumi.IgnoreChanges([]string{"input"}))...)
	if err != nil {
		return nil, fmt.Errorf("remembering the EBS defaults before %s: %w", name, err)
	}
	return before, nil
}

const restorePointSuffix = "-restore-point"

// restorePoint is what the hook that restores the EBS defaults has to know.
type restorePoint struct {
	region, keyArn string
	before         EBSSettings
}

// newRestorePoint records it in the stack's state, where the hook finds it even
// if the component is no longer in the program. The record is there whatever
// OnDestroy is: if it came and went with "restore", turning that off would delete
// the record, and so run the hook.
//
// It is the first to be deleted: while the defaults are not restored, neither
// they nor the key that they need are removed.
func (c *EBSDefaultEncryption) newRestorePoint(ctx *pulumi.Context, name string, args *EBSDefaultEncryptionArgs, current pulumi.Output, before *pulumi.Stash, keyArn pulumi.StringOutput, last pulumi.Resource) error {
	opts := child(c, pulumi.DependsOn([]pulumi.Resource{last}))
	account := pulumi.String("").ToStringOutput()
	if args.OnDestroy == EBSRestore {
		account = current.ApplyT(func(any) (string, error) { return c.account(ctx) }).(pulumi.StringOutput)
		opts = append(opts, beforeDelete(ctx, restoreHook))
	}
	_, err := pulumi.NewStash(ctx, name+restorePointSuffix, &pulumi.StashArgs{
		Input: pulumi.All(current, before.Output, keyArn, account).ApplyT(func(v []any) (map[string]any, error) {
			before, err := recorded(v[1])
			// As where the key was imported, or the component was renamed. A key that
			// destroy deletes must not stay the default: no volume could be created.
			if err == nil && before.KmsKeyArn == v[2] {
				var ours bool
				if ours, err = madeByStack(ctx, args.KmsKeyArn); ours {
					before.KmsKeyArn = "alias/aws/ebs"
				}
			}
			return map[string]any{"region": v[0].(ebsNow).region, "enabled": before.Enabled, "kmsKeyArn": before.KmsKeyArn, "ownKmsKeyArn": v[2], "account": v[3]}, err
		}),
	}, opts...)
	if err != nil {
		return fmt.Errorf("recording how to restore the EBS defaults of %s: %w", name, err)
	}
	return nil
}

// madeByStack reports whether the key with this ARN is a resource of the stack. In
// a plugin the ARN may depend on the component instead.
func madeByStack(ctx *pulumi.Context, keyArn pulumi.StringInput) (bool, error) {
	arn, err := internals.UnsafeAwaitOutput(ctx.Context(), keyArn.ToStringOutput())
	if err != nil {
		return false, err
	}
	for _, r := range arn.Dependencies {
		urn, err := internals.UnsafeAwaitOutput(ctx.Context(), r.URN())
		if err != nil {
			return false, err
		}
		for _, kind := range []string{"aws:kms/key:Key", "aws:kms/replicaKey:ReplicaKey", CustomerKeyType, ReplicaKeyType} {
			if u, _ := urn.Value.(pulumi.URN); strings.Contains(string(u), kind+"::") {
				return true, nil
			}
		}
	}
	return false, nil
}

func readRestorePoint(v any) (restorePoint, error) {
	before, err := recorded(v)
	if err != nil {
		return restorePoint{}, err
	}
	m, _ := v.(map[string]any)
	region, _ := m["region"].(string)
	key, _ := m["ownKmsKeyArn"].(string)
	before.Account, _ = m["account"].(string)
	if region == "" || key == "" || before.Account == "" {
		return restorePoint{}, errors.New("the restore point in the stack's state has no Region, key or account")
	}
	return restorePoint{region: region, keyArn: key, before: before}, nil
}

// recorded reads what remember wrote. What it cannot read is an error, not
// "off": restoring that would switch encryption off.
func recorded(v any) (EBSSettings, error) {
	m, _ := v.(map[string]any)
	enabled, okEnabled := m["enabled"].(bool)
	key, okKey := m["kmsKeyArn"].(string)
	if !okEnabled || !okKey {
		return EBSSettings{}, errors.New("the stack's record of the EBS defaults before the first up cannot be read")
	}
	return EBSSettings{Enabled: enabled, KmsKeyArn: key}, nil
}

// mayTake refuses to take the default from a customer managed key that was
// there before the first up and still is. One that came later is drift, which
// preview shows and up repairs.
func (c *EBSDefaultEncryption) mayTake(ctx *pulumi.Context, args *EBSDefaultEncryptionArgs, now ebsNow, before EBSSettings) error {
	if args.TakeOver || now.KmsKeyArn != before.KmsKeyArn || !strings.HasPrefix(now.KmsKeyArn, "arn:") || strings.Contains(now.KmsKeyArn, ":alias/aws/ebs") {
		return nil
	}
	// A key that does not exist yet is not the default; where ours is known, it
	// may be.
	ours, err := internals.UnsafeAwaitOutput(ctx.Context(), args.KmsKeyArn.ToStringOutput())
	if err != nil || ours.Known && ours.Value == now.KmsKeyArn {
		return err
	}
	key, err := kms.LookupKey(ctx, &kms.LookupKeyArgs{KeyId: now.KmsKeyArn}, pulumi.Parent(c))
	switch {
	case err == nil && key.KeyManager == "AWS":
		return nil
	case ctx.Context().Err() != nil: // the program is ending, for another reason
		return fmt.Errorf("asking whose the default EBS key in %s is: %w", now.region, err)
	}
	return wrong("TakeOver", "the default EBS key in %s is %s, which is not this stack's: set TakeOver (in the stack: pulumi config set ebsTakeOver true) to replace it, or only look the settings up (LookupEBSDefaultEncryption; in a baseline: EBS.Existing) to leave it, and ask its owner", now.region, now.KmsKeyArn)
}

// account asks AWS for the ID of the account that the component is in. It
// calls by name, because the package that has the function is the largest of
// pulumi-aws.
func (c *EBSDefaultEncryption) account(ctx *pulumi.Context) (string, error) {
	var who struct {
		AccountID string `pulumi:"accountId"`
	}
	var none struct{}
	if err := ctx.Invoke("aws:index/getCallerIdentity:getCallerIdentity", &none, &who, pulumi.Parent(c), pulumi.Version(awsVersion())); err != nil {
		return "", fmt.Errorf("asking which account the EBS defaults are in: %w", err)
	}
	return who.AccountID, nil
}

// awsVersion is the version of pulumi-aws in this program, or empty where the
// binary does not say, as those of go test do not. A call that names another
// version than the resources do, or none, starts a second provider.
var awsVersion = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/pulumi/pulumi-aws/sdk/v6" {
			return strings.TrimPrefix(d.Version, "v")
		}
	}
	return ""
})

type claimant struct {
	name      string
	component *EBSDefaultEncryption
	keyArn    pulumi.StringOutput
}

// claim refuses a second component that would set the same account's defaults
// in the same Region: the two would undo each other at every up.
func (c *EBSDefaultEncryption) claim(ctx *pulumi.Context, region, name string, keyArn pulumi.StringOutput) error {
	var others []claimant
	ofProgram(ctx, func(p *program) {
		others = p.claims[region]
		if p.inPlugin { // which may be asked for the same component again
			others = slices.DeleteFunc(others, func(other claimant) bool { return other.name == name })
		}
		p.claims[region] = append(slices.Clone(others), claimant{name, c, keyArn})
	})
	if len(others) == 0 {
		return nil
	}
	// Providers of two accounts may stand in one program. Asking costs a call, so
	// it is done only now.
	ours, err := c.account(ctx)
	if err != nil {
		return err
	}
	for _, other := range others {
		theirs, err := other.component.account(ctx)
		if err != nil {
			return err
		}
		if ours == theirs {
			return fmt.Errorf("EBSDefaultEncryption %q: %q sets the EBS defaults of %s in account %s already, and there is one set per account and Region: look them up for the other (LookupEBSDefaultEncryption; in a baseline: EBS.Existing), or leave them out (EBS.Skip)", name, other.name, region, ours)
		}
	}
	return nil
}
