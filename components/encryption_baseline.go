package components

import (
	"errors"
	"maps"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// EncryptionBaselineType is the type token of [EncryptionBaseline].
const EncryptionBaselineType = "kms-baseline:index:EncryptionBaseline"

// EncryptionBaseline is a customer managed key, a bucket that encrypts with it
// and EBS encryption by default under it: the three components together, each
// of them new, existing or left out.
type EncryptionBaseline struct {
	pulumi.ResourceState

	// KeyArn, KeyId, AliasName and AliasArn are the outputs of [CustomerKey];
	// empty with Key.Skip.
	KeyArn    pulumi.StringOutput `pulumi:"keyArn"`
	KeyId     pulumi.StringOutput `pulumi:"keyId"`
	AliasName pulumi.StringOutput `pulumi:"aliasName"`
	AliasArn  pulumi.StringOutput `pulumi:"aliasArn"`
	// BucketName and BucketArn are the outputs of [EncryptedBucket]; empty with
	// Bucket.Skip.
	BucketName pulumi.StringOutput `pulumi:"bucketName"`
	BucketArn  pulumi.StringOutput `pulumi:"bucketArn"`
	// EBSDefaultKeyArn and EBSEncryptionByDefault are the outputs of
	// [EBSDefaultEncryption]; empty and false with EBS.Skip.
	EBSDefaultKeyArn       pulumi.StringOutput `pulumi:"ebsDefaultKeyArn"`
	EBSEncryptionByDefault pulumi.BoolOutput   `pulumi:"ebsEncryptionByDefault"`
}

// EncryptionBaselineArgs are the arguments of [NewEncryptionBaseline]. All are
// optional: without any, all three parts are new.
type EncryptionBaselineArgs struct {
	// Key is the key: new, existing or left out.
	Key *BaselineKey `pulumi:"key,optional"`
	// Bucket is the bucket: new, existing or left out.
	Bucket *BaselineBucket `pulumi:"bucket,optional"`
	// EBS are the Region's EBS defaults: set, existing or left alone.
	EBS *BaselineEBS `pulumi:"ebs,optional"`
	// Tags are put on a new key and a new bucket, beside the tags that each has of
	// its own; for the same tag, its own value counts.
	Tags pulumi.StringMapInput `pulumi:"tags,optional"`
}

// BaselineKey is the key of a baseline: one of its fields. The default is a new
// key without arguments.
type BaselineKey struct {
	// Args are the arguments of a new key.
	Args *CustomerKeyArgs `pulumi:"args,optional"`
	// Existing is an existing key, which is read and never changed.
	Existing *ExistingKey `pulumi:"existing,optional"`
	// Skip leaves the key out: a new bucket and the EBS defaults then need a
	// KmsKeyArn of their own. The default is false.
	Skip bool `pulumi:"skip,optional"`
}

// BaselineBucket is the bucket of a baseline: one of its fields. The default is a
// new bucket without arguments.
type BaselineBucket struct {
	// Args are the arguments of a new bucket.
	Args *EncryptedBucketArgs `pulumi:"args,optional"`
	// Existing is an existing bucket, which is read and never changed.
	Existing *ExistingBucket `pulumi:"existing,optional"`
	// Skip leaves the bucket out. The default is false.
	Skip bool `pulumi:"skip,optional"`
}

// BaselineEBS are the EBS defaults of a baseline: one of its fields. The default
// is to set them, without arguments.
type BaselineEBS struct {
	// Args are the arguments with which they are set.
	Args *EBSDefaultEncryptionArgs `pulumi:"args,optional"`
	// Existing are defaults that another stack sets, which are read and never
	// changed.
	Existing *ExistingEBSDefaults `pulumi:"existing,optional"`
	// Skip leaves the EBS defaults alone, and does not read them either. The
	// default is false.
	Skip bool `pulumi:"skip,optional"`
}

// NewEncryptionBaseline makes the baseline.
func NewEncryptionBaseline(ctx *pulumi.Context, name string, args *EncryptionBaselineArgs, opts ...pulumi.ResourceOption) (*EncryptionBaseline, error) {
	if args == nil {
		args = &EncryptionBaselineArgs{}
	}
	if err := errors.Join(args.Validate(name), begin(ctx)); err != nil {
		return nil, err
	}
	b := &EncryptionBaseline{}
	if err := ctx.RegisterComponentResource(EncryptionBaselineType, name, b, opts...); err != nil {
		return nil, err
	}
	if err := apart(func() error { return b.create(ctx, name, args) }); err != nil {
		return nil, err
	}
	return b, ctx.RegisterResourceOutputs(b, pulumi.Map{
		"keyArn": b.KeyArn, "keyId": b.KeyId, "aliasName": b.AliasName, "aliasArn": b.AliasArn,
		"bucketName": b.BucketName, "bucketArn": b.BucketArn,
		"ebsDefaultKeyArn": b.EBSDefaultKeyArn, "ebsEncryptionByDefault": b.EBSEncryptionByDefault,
	})
}

func (b *EncryptionBaseline) create(ctx *pulumi.Context, name string, args *EncryptionBaselineArgs) error {
	none := pulumi.String("").ToStringOutput()
	b.KeyArn, b.KeyId, b.AliasName, b.AliasArn = none, none, none, none
	b.BucketName, b.BucketArn, b.EBSDefaultKeyArn, b.EBSEncryptionByDefault = none, none, none, pulumi.Bool(false).ToBoolOutput()

	key, bucket, ebs := args.parts()
	if !key.Skip {
		k, err := newOrExisting(ctx, name, key.Existing, args.key(), LookupCustomerKey, NewCustomerKey, child(b))
		if err != nil {
			return err
		}
		b.KeyArn, b.KeyId, b.AliasName, b.AliasArn = k.KeyArn, k.KeyId, k.AliasName, k.AliasArn
	}
	if !bucket.Skip {
		c, err := newOrExisting(ctx, name, args.existingBucket(b.KeyArn), args.bucket(b.KeyArn), LookupEncryptedBucket, NewEncryptedBucket, child(b))
		if err != nil {
			return err
		}
		b.BucketName, b.BucketArn = c.BucketName, c.BucketArn
	}
	if !ebs.Skip {
		e, err := newOrExisting(ctx, name+"-ebs", ebs.Existing, args.ebs(b.KeyArn), LookupEBSDefaultEncryption, NewEBSDefaultEncryption, child(b))
		if err != nil {
			return err
		}
		b.EBSDefaultKeyArn, b.EBSEncryptionByDefault = e.KmsKeyArn, e.Enabled
	}
	return nil
}

// newOrExisting is the part of a baseline: existing, or made with args.
func newOrExisting[Existing, Args, Part any](ctx *pulumi.Context, name string, existing *Existing, args *Args,
	lookUp func(*pulumi.Context, string, *Existing, ...pulumi.ResourceOption) (*Part, error),
	create func(*pulumi.Context, string, *Args, ...pulumi.ResourceOption) (*Part, error),
	opts []pulumi.ResourceOption,
) (*Part, error) {
	if existing != nil {
		return lookUp(ctx, name, existing, opts...)
	}
	return create(ctx, name, args, opts...)
}

// Validate says everything that is wrong with the arguments, as far as it is
// known before anything runs; [NewEncryptionBaseline] asks it before it
// registers the first resource. name is the component's.
func (a *EncryptionBaselineArgs) Validate(name string) error {
	var errs []error
	key, bucket, ebs := a.parts()
	one := func(part string, given ...bool) {
		n := 0
		for _, g := range given {
			if g {
				n++
			}
		}
		if n > 1 {
			errs = append(errs, wrong(part, "give one of Args, Existing and Skip"))
		}
	}
	one("Key", key.Args != nil, key.Existing != nil, key.Skip)
	one("Bucket", bucket.Args != nil, bucket.Existing != nil, bucket.Skip)
	one("EBS", ebs.Args != nil, ebs.Existing != nil, ebs.Skip)
	if key.Skip && bucket.Skip && ebs.Skip {
		errs = append(errs, errors.New("Key.Skip, Bucket.Skip and EBS.Skip together leave nothing"))
	}
	var keyArn pulumi.StringInput
	if !key.Skip {
		keyArn = pulumi.String("").ToStringOutput() // stands for the one to come
	}
	switch {
	case key.Skip:
	case key.Existing != nil:
		errs = append(errs, key.Existing.validate(name))
	default:
		errs = append(errs, a.key().validate(name))
	}
	switch {
	case bucket.Skip:
	case bucket.Existing != nil:
		errs = append(errs, bucket.Existing.validate(name))
	default:
		errs = append(errs, a.bucket(keyArn).validate(name))
	}
	switch {
	case ebs.Skip:
	case ebs.Existing != nil:
		errs = append(errs, ebs.Existing.validate(name))
	default:
		errs = append(errs, a.ebs(keyArn).validate(name))
	}
	return validateAll("EncryptionBaseline", name, errs...)
}

// parts are the parts, empty where none is given.
func (a *EncryptionBaselineArgs) parts() (key BaselineKey, bucket BaselineBucket, ebs BaselineEBS) {
	if a.Key != nil {
		key = *a.Key
	}
	if a.Bucket != nil {
		bucket = *a.Bucket
	}
	if a.EBS != nil {
		ebs = *a.EBS
	}
	return key, bucket, ebs
}

// key, bucket and ebs are the arguments of the new parts: copies, since the
// caller's arguments are the caller's.

func (a *EncryptionBaselineArgs) key() *CustomerKeyArgs {
	k := CustomerKeyArgs{}
	if a.Key != nil && a.Key.Args != nil {
		k = *a.Key.Args
	}
	k.Tags = mergedTags(a.Tags, k.Tags)
	return &k
}

func (a *EncryptionBaselineArgs) bucket(keyArn pulumi.StringInput) *EncryptedBucketArgs {
	k := EncryptedBucketArgs{}
	if a.Bucket != nil && a.Bucket.Args != nil {
		k = *a.Bucket.Args
	}
	k.Tags = mergedTags(a.Tags, k.Tags)
	k.KmsKeyArn = a.orOwn(k.KmsKeyArn, keyArn)
	return &k
}

func (a *EncryptionBaselineArgs) existingBucket(keyArn pulumi.StringInput) *ExistingBucket {
	if a.Bucket == nil || a.Bucket.Existing == nil {
		return nil
	}
	b := *a.Bucket.Existing
	b.KmsKeyArn = a.orOwn(b.KmsKeyArn, keyArn)
	return &b
}

func (a *EncryptionBaselineArgs) ebs(keyArn pulumi.StringInput) *EBSDefaultEncryptionArgs {
	k := EBSDefaultEncryptionArgs{}
	if a.EBS != nil && a.EBS.Args != nil {
		k = *a.EBS.Args
	}
	k.KmsKeyArn = a.orOwn(k.KmsKeyArn, keyArn)
	return &k
}

// orOwn is given, or else the baseline's key if it has one.
func (a *EncryptionBaselineArgs) orOwn(given, keyArn pulumi.StringInput) pulumi.StringInput {
	if given == nil && (a.Key == nil || !a.Key.Skip) {
		return keyArn
	}
	return given
}

// mergedTags are common and own; for the same tag, own counts.
func mergedTags(common, own pulumi.StringMapInput) pulumi.StringMapInput {
	switch {
	case common == nil:
		return own
	case own == nil:
		return common
	}
	a, aOK := common.(pulumi.StringMap)
	b, bOK := own.(pulumi.StringMap)
	if aOK && bOK {
		merged := pulumi.StringMap{}
		maps.Copy(merged, a)
		maps.Copy(merged, b)
		return merged
	}
	return pulumi.All(common, own).ApplyT(func(v []any) map[string]string {
		merged := map[string]string{}
		maps.Copy(merged, v[0].(map[string]string))
		maps.Copy(merged, v[1].(map[string]string))
		return merged
	}).(pulumi.StringMapOutput)
}
