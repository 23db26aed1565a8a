package components

import (
	"cmp"
	"context"
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
// component may set them (Existing reads them for the others). Volumes that
// exist already are untouched.
// Source: https://docs.aws.amazon.com/ebs/latest/userguide/encryption-by-default.html
type EBSDefaultEncryption struct {
	pulumi.ResourceState

	// KmsKeyArn is the ARN of the default key.
	KmsKeyArn pulumi.StringOutput `pulumi:"kmsKeyArn"`
	// Enabled says whether new volumes are encrypted by default.
	Enabled pulumi.BoolOutput `pulumi:"enabled"`
}

// What OnDestroy may be.
const (
	// EBSKeepOn leaves encryption by default on, under the AWS-managed key.
	EBSKeepOn = "keepOn"
	// EBSSwitchOff switches it off, and resets the key to the AWS-managed one.
	EBSSwitchOff = "switchOff"
	// EBSRestore puts the switch and the key back to what they were before the
	// first up.
	EBSRestore = "restore"
)

// EBSSettings are an account's EBS defaults in a Region.
type EBSSettings struct {
	// Account is the account's number. It is known where OnDestroy is "restore"
	// and empty otherwise.
	Account string
	// Enabled says whether new volumes are encrypted by default.
	Enabled bool
	// KmsKeyArn is the default key's ARN, or "alias/aws/ebs".
	KmsKeyArn string
}

// EBSRestorer sets the EBS defaults of before's account in region to before,
// provided that the default key still is ours, the ARN of the key that this
// stack had set; where it is another's by now, it leaves everything as it is.
// Package ebsrestore has one, apart from this package for the AWS SDK it needs.
type EBSRestorer func(ctx context.Context, region, ours string, before EBSSettings) error

// EBSDefaultEncryptionArgs are the arguments of [NewEBSDefaultEncryption].
type EBSDefaultEncryptionArgs struct {
	// KmsKeyArn is the ARN of the key that becomes the Region's default.
	// Required, but for Existing.
	KmsKeyArn pulumi.StringInput `pulumi:"kmsKeyArn,optional"`
	// Existing reads the Region's settings and sets nothing: they belong to
	// another component or stack. It fails at preview where encryption by
	// default is off. KmsKeyArn, where given, must be the default key then. The
	// default is false.
	Existing bool `pulumi:"existing,optional"`
	// TakeOver allows the default key to be taken from another customer managed
	// key that was the default before the first up. Without it preview names
	// that key and stops. The default is false.
	TakeOver bool `pulumi:"takeOver,optional"`
	// OnDestroy says what destroy leaves: "keepOn" (encryption on, under the
	// AWS-managed key), "switchOff", or "restore" (what was there before the
	// first up; destroy then needs --run-program, and stops before it has
	// deleted anything without it). The default is "keepOn".
	OnDestroy string `pulumi:"onDestroy,optional"`
	// Restorer puts the settings back; required with OnDestroy "restore":
	// ebsrestore.Restore.
	Restorer EBSRestorer
}

// NewEBSDefaultEncryption sets a Region's EBS defaults, or reads them.
func NewEBSDefaultEncryption(ctx *pulumi.Context, name string, args *EBSDefaultEncryptionArgs, opts ...pulumi.ResourceOption) (*EBSDefaultEncryption, error) {
	if args == nil {
		args = &EBSDefaultEncryptionArgs{}
	}
	if err := args.validate(name); err != nil {
		return nil, err
	}
	c := &EBSDefaultEncryption{}
	if err := ctx.RegisterComponentResource(EBSDefaultEncryptionType, name, c, opts...); err != nil {
		return nil, err
	}
	current := c.lookUp(ctx)
	if args.Existing {
		c.useExisting(current, args)
	} else if err := c.set(ctx, name, args, current); err != nil {
		return nil, err
	}
	return c, ctx.RegisterResourceOutputs(c, pulumi.Map{"kmsKeyArn": c.KmsKeyArn, "enabled": c.Enabled})
}

func (a *EBSDefaultEncryptionArgs) validate(name string) error {
	var errs []error
	if a.KmsKeyArn != nil {
		errs = append(errs, checkPlain(a.KmsKeyArn, validateKeyArn))
	}
	if a.Existing {
		if a.TakeOver || a.OnDestroy != "" {
			errs = append(errs, errors.New("Existing and TakeOver or OnDestroy exclude each other: with Existing nothing is set"))
		}
		return validateAll("EBSDefaultEncryption", name, errs...)
	}
	if a.KmsKeyArn == nil {
		errs = append(errs, errors.New("KmsKeyArn: it is required: the ARN of the key to encrypt with"))
	}
	switch a.OnDestroy {
	case "", EBSKeepOn, EBSSwitchOff:
	case EBSRestore:
		if a.Restorer == nil {
			errs = append(errs, errors.New(`OnDestroy: "restore" needs Restorer: give ebsrestore.Restore of this module`))
		}
	default:
		errs = append(errs, invalid("OnDestroy", a.OnDestroy, `it must be "keepOn", "switchOff" or "restore"`))
	}
	return validateAll("EBSDefaultEncryption", name, errs...)
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

func (c *EBSDefaultEncryption) useExisting(current pulumi.Output, args *EBSDefaultEncryptionArgs) {
	var want pulumi.StringInput = pulumi.String("")
	if args.KmsKeyArn != nil {
		want = args.KmsKeyArn
	}
	settings := pulumi.All(current, want).ApplyT(func(v []any) (EBSSettings, error) {
		now, want := v[0].(ebsNow), v[1].(string)
		if !now.Enabled {
			return EBSSettings{}, fmt.Errorf("Existing: EBS encryption by default is off in %s: whoever owns the setting has to turn it on (aws ec2 enable-ebs-encryption-by-default --region %s), or drop Existing to have it set here", now.region, now.region)
		}
		if want != "" && now.KmsKeyArn != want {
			return EBSSettings{}, fmt.Errorf("Existing: the default EBS key in %s is %s, not %s", now.region, now.KmsKeyArn, want)
		}
		return now.EBSSettings, nil
	})
	c.KmsKeyArn = settings.ApplyT(func(s any) string { return s.(EBSSettings).KmsKeyArn }).(pulumi.StringOutput)
	c.Enabled = settings.ApplyT(func(s any) bool { return s.(EBSSettings).Enabled }).(pulumi.BoolOutput)
}

// set makes the key the default first and then turns the switch, so that no
// volume is encrypted under the AWS-managed key in between; destroy goes the
// other way.
func (c *EBSDefaultEncryption) set(ctx *pulumi.Context, name string, args *EBSDefaultEncryptionArgs, current pulumi.Output) error {
	before, err := c.remember(ctx, name, args, current)
	if err != nil {
		return err
	}
	keyArn := pulumi.All(
		checked(args.KmsKeyArn, validateKeyArn),
		pulumi.All(current, before.Output).ApplyT(func(v []any) (string, error) {
			now := v[0].(ebsNow)
			if err := c.claim(ctx, now.region, name); err != nil {
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
	c.KmsKeyArn = key.KeyArn
	c.Enabled = enabled.Enabled.ApplyT(func(b *bool) bool { return b == nil || *b }).(pulumi.BoolOutput)
	return nil
}

// remember keeps in the stack's state what AWS had before the first up. The
// input is ignored from then on: it shows what AWS has now, and every preview
// would find it changed.
func (c *EBSDefaultEncryption) remember(ctx *pulumi.Context, name string, args *EBSDefaultEncryptionArgs, current pulumi.Output) (*pulumi.Stash, error) {
	opts := child(c,
		pulumi.IgnoreChanges([]string{"input"}),
		// Only for the order: on destroy, the settings are put back before the key
		// goes. Its value must not become part of the record, which preview has to
		// know before there is a key.
		pulumi.DependsOnInputs(args.KmsKeyArn.ToStringOutput().ApplyT(func(string) []pulumi.Resource { return nil }).(pulumi.ResourceArrayOutput)),
	)
	account := pulumi.String("").ToStringOutput()
	if args.OnDestroy == EBSRestore {
		account = current.ApplyT(func(any) (string, error) { return c.account(ctx) }).(pulumi.StringOutput)
		hook, err := ctx.RegisterResourceHook("restore EBS defaults of "+name, func(h *pulumi.ResourceHookArgs) error {
			// The program has ended by the time resources are deleted, and its
			// context with it.
			return args.restore(context.WithoutCancel(ctx.Context()), name, account, h)
		}, nil)
		if err != nil {
			return nil, fmt.Errorf("preparing to restore the EBS defaults of %s: %w", name, err)
		}
		opts = append(opts, pulumi.ResourceHooks(&pulumi.ResourceHookBinding{BeforeDelete: []*pulumi.ResourceHook{hook}}))
	}
	before, err := pulumi.NewStash(ctx, name+"-before", &pulumi.StashArgs{
		Input: pulumi.All(current, account).ApplyT(func(v []any) map[string]any {
			now := v[0].(ebsNow)
			record := map[string]any{"enabled": now.Enabled, "kmsKeyArn": now.KmsKeyArn}
			if account := v[1].(string); account != "" {
				record["account"] = account
			}
			return record
		}),
	}, opts...)
	if err != nil {
		return nil, fmt.Errorf("remembering the EBS defaults before %s: %w", name, err)
	}
	return before, nil
}

// restore is the delete hook of what remember made. Whatever it cannot read,
// it changes nothing.
//
// The account is the recorded one. It is not read off the key's ARN: a key may
// be shared by another account. A record from before OnDestroy became "restore"
// has none; then it is account, the one that this run of the program is in.
func (a *EBSDefaultEncryptionArgs) restore(ctx context.Context, name string, account pulumi.StringOutput, h *pulumi.ResourceHookArgs) error {
	before, err := recorded(h.OldOutputs["output"].Mappable())
	if err != nil {
		return fmt.Errorf("restoring the EBS defaults of %s: %w; nothing was changed", name, err)
	}
	key, err := internals.UnsafeAwaitOutput(ctx, a.KmsKeyArn.ToStringOutput())
	if err != nil {
		return err
	}
	ours, ok := key.Value.(string)
	if !ok {
		return fmt.Errorf("restoring the EBS defaults of %s: the key's ARN is not known; nothing was changed", name)
	}
	k, err := parseKeyARN("KmsKeyArn", ours)
	if err != nil {
		return err
	}
	now, err := internals.UnsafeAwaitOutput(ctx, account)
	if err != nil {
		return err
	}
	number, _ := now.Value.(string)
	before.Account = cmp.Or(before.Account, number)
	return a.Restorer(ctx, k.region, ours, before)
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
	account, _ := m["account"].(string)
	return EBSSettings{Account: account, Enabled: enabled, KmsKeyArn: key}, nil
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
	return fmt.Errorf("TakeOver: the default EBS key in %s is %s, which is not this stack's: set TakeOver (in the stack: pulumi config set ebsTakeOver true) to replace it, or Existing to leave it, and ask whoever set it", now.region, now.KmsKeyArn)
}

// account asks AWS for the number of the account that the component is in. It
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
}

// claim refuses a second component that would set the same account's defaults
// in the same Region: the two would undo each other at every up.
func (c *EBSDefaultEncryption) claim(ctx *pulumi.Context, region, name string) error {
	var others []claimant
	ofProgram(ctx, func(p *program) {
		others = p.claims[region]
		if p.inPlugin { // which may be asked for the same component again
			others = slices.DeleteFunc(others, func(other claimant) bool { return other.name == name })
		}
		p.claims[region] = append(slices.Clone(others), claimant{name, c})
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
			return fmt.Errorf("EBSDefaultEncryption %q: %q sets the EBS defaults of %s in account %s already, and there is one set per account and Region: give one of them Existing (in an EncryptionBaseline: SkipEBS)", name, other.name, region, ours)
		}
	}
	return nil
}
