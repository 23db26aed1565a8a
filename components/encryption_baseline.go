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
	// empty with SkipKey.
	KeyArn    pulumi.StringOutput `pulumi:"keyArn"`
	KeyId     pulumi.StringOutput `pulumi:"keyId"`
	AliasName pulumi.StringOutput `pulumi:"aliasName"`
	AliasArn  pulumi.StringOutput `pulumi:"aliasArn"`
	// BucketName and BucketArn are the outputs of [EncryptedBucket]; empty with
	// SkipBucket.
	BucketName pulumi.StringOutput `pulumi:"bucketName"`
	BucketArn  pulumi.StringOutput `pulumi:"bucketArn"`
	// EBSDefaultKeyArn and EBSEncryptionByDefault are the outputs of
	// [EBSDefaultEncryption]; empty and false with SkipEBS.
	EBSDefaultKeyArn       pulumi.StringOutput `pulumi:"ebsDefaultKeyArn"`
	EBSEncryptionByDefault pulumi.BoolOutput   `pulumi:"ebsEncryptionByDefault"`
}

// EncryptionBaselineArgs are the arguments of [NewEncryptionBaseline]. All are
// optional: without any, all three parts are new.
type EncryptionBaselineArgs struct {
	// Key is the arguments of a new key, or ExistingKeyArn.
	Key *CustomerKeyArgs `pulumi:"key,optional"`
	// Bucket is the arguments of a new bucket, or ExistingBucketName. Its
	// KmsKeyArn is the baseline's key unless it is given.
	Bucket *EncryptedBucketArgs `pulumi:"bucket,optional"`
	// EBS is the arguments of the Region's EBS defaults, or Existing. Its
	// KmsKeyArn is the baseline's key unless it is given or Existing is.
	EBS *EBSDefaultEncryptionArgs `pulumi:"ebs,optional"`
	// SkipKey leaves the key out; Bucket and EBS then need a KmsKeyArn of their
	// own, or are existing or left out. The default is false.
	SkipKey bool `pulumi:"skipKey,optional"`
	// SkipBucket leaves the bucket out. The default is false.
	SkipBucket bool `pulumi:"skipBucket,optional"`
	// SkipEBS leaves the EBS defaults alone. The default is false.
	SkipEBS bool `pulumi:"skipEbs,optional"`
	// Tags are put on the key and the bucket, beside the tags that each has of its
	// own; for the same tag, its own value counts.
	Tags pulumi.StringMapInput `pulumi:"tags,optional"`
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
	none := pulumi.String("").ToStringOutput()
	b.KeyArn, b.KeyId, b.AliasName, b.AliasArn = none, none, none, none
	b.BucketName, b.BucketArn, b.EBSDefaultKeyArn, b.EBSEncryptionByDefault = none, none, none, pulumi.Bool(false).ToBoolOutput()

	if !args.SkipKey {
		key, err := NewCustomerKey(ctx, name, args.key(), child(b)...)
		if err != nil {
			return nil, err
		}
		b.KeyArn, b.KeyId, b.AliasName, b.AliasArn = key.KeyArn, key.KeyId, key.AliasName, key.AliasArn
	}
	if !args.SkipBucket {
		bucket, err := NewEncryptedBucket(ctx, name, args.bucket(b.KeyArn), child(b)...)
		if err != nil {
			return nil, err
		}
		b.BucketName, b.BucketArn = bucket.BucketName, bucket.BucketArn
	}
	if !args.SkipEBS {
		ebs, err := NewEBSDefaultEncryption(ctx, name+"-ebs", args.ebs(b.KeyArn), child(b)...)
		if err != nil {
			return nil, err
		}
		b.EBSDefaultKeyArn, b.EBSEncryptionByDefault = ebs.KmsKeyArn, ebs.Enabled
	}
	return b, ctx.RegisterResourceOutputs(b, pulumi.Map{
		"keyArn": b.KeyArn, "keyId": b.KeyId, "aliasName": b.AliasName, "aliasArn": b.AliasArn,
		"bucketName": b.BucketName, "bucketArn": b.BucketArn,
		"ebsDefaultKeyArn": b.EBSDefaultKeyArn, "ebsEncryptionByDefault": b.EBSEncryptionByDefault,
	})
}

// Validate says everything that is wrong with the arguments, as far as it is
// known before anything runs; [NewEncryptionBaseline] asks it before it
// registers the first resource. name is the component's.
func (a *EncryptionBaselineArgs) Validate(name string) error {
	var errs []error
	for _, part := range []struct {
		name string
		both bool
	}{
		{"Key", a.SkipKey && a.Key != nil},
		{"Bucket", a.SkipBucket && a.Bucket != nil},
		{"EBS", a.SkipEBS && a.EBS != nil},
	} {
		if part.both {
			errs = append(errs, wrong(part.name, "and Skip%s exclude each other", part.name))
		}
	}
	if a.SkipKey && a.SkipBucket && a.SkipEBS {
		errs = append(errs, errors.New("SkipKey, SkipBucket and SkipEBS together leave nothing"))
	}
	var key pulumi.StringInput
	if !a.SkipKey {
		key = pulumi.String("").ToStringOutput() // stands for the one to come
		errs = append(errs, a.key().validate(name))
	}
	if !a.SkipBucket {
		errs = append(errs, a.bucket(key).validate(name))
	}
	if !a.SkipEBS {
		errs = append(errs, a.ebs(key).validate(name))
	}
	return validateAll("EncryptionBaseline", name, errs...)
}

func (a *EncryptionBaselineArgs) key() *CustomerKeyArgs {
	k := CustomerKeyArgs{}
	if a.Key != nil {
		k = *a.Key
	}
	if k.ExistingKeyArn == nil {
		k.Tags = mergedTags(a.Tags, k.Tags)
	}
	return &k
}

func (a *EncryptionBaselineArgs) bucket(keyArn pulumi.StringInput) *EncryptedBucketArgs {
	k := EncryptedBucketArgs{}
	if a.Bucket != nil {
		k = *a.Bucket
	}
	if k.ExistingBucketName == nil {
		k.Tags = mergedTags(a.Tags, k.Tags)
	}
	if k.KmsKeyArn == nil && !a.SkipKey {
		k.KmsKeyArn = keyArn
	}
	return &k
}

func (a *EncryptionBaselineArgs) ebs(keyArn pulumi.StringInput) *EBSDefaultEncryptionArgs {
	k := EBSDefaultEncryptionArgs{}
	if a.EBS != nil {
		k = *a.EBS
	}
	if k.KmsKeyArn == nil && !a.SkipKey && !k.Existing {
		k.KmsKeyArn = keyArn
	}
	return &k
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
