package components

import (
	"errors"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/kms"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/s3"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// ExistingKey names a key that is not managed by this stack.
type ExistingKey struct {
	// KeyArn is the key's ARN. Required. The key must be in the provider's Region
	// and in its account or shared with it, symmetric, for ENCRYPT_DECRYPT, and
	// enabled.
	KeyArn pulumi.StringInput `pulumi:"keyArn"`
}

// ExistingBucket names a bucket that is not managed by this stack.
type ExistingBucket struct {
	// BucketName is the bucket's name. Required.
	BucketName pulumi.StringInput `pulumi:"bucketName"`
	// KmsKeyArn is the ARN of the key that the bucket encrypts with, for the IAM
	// policies among the outputs. The default is none; within a baseline, its key.
	KmsKeyArn pulumi.StringInput `pulumi:"kmsKeyArn,optional"`
}

// ExistingEBSDefaults are a Region's EBS defaults that are not managed by this
// stack.
type ExistingEBSDefaults struct {
	// KmsKeyArn is the ARN that the default key must have. The default is any.
	KmsKeyArn pulumi.StringInput `pulumi:"kmsKeyArn,optional"`
}

// LookupCustomerKey is an existing key. It is read at preview, so that what could
// only fail after minutes of retries fails before anything is made, and never
// changed.
func LookupCustomerKey(ctx *pulumi.Context, name string, existing *ExistingKey, opts ...pulumi.ResourceOption) (*CustomerKey, error) {
	if existing == nil {
		existing = &ExistingKey{}
	}
	if err := errors.Join(existing.validate(name), begin(ctx)); err != nil {
		return nil, err
	}
	c := &CustomerKey{}
	if err := ctx.RegisterComponentResource(CustomerKeyType, name, c, opts...); err != nil {
		return nil, err
	}
	key := existing.KeyArn.ToStringOutput().ApplyT(func(s string) (kms.LookupKeyResult, error) {
		want, err := parseKeyARN(existingKeyArn, s)
		if err != nil {
			return kms.LookupKeyResult{}, err
		}
		key, err := kms.LookupKey(ctx, &kms.LookupKeyArgs{KeyId: s}, pulumi.Parent(c))
		if err != nil {
			return kms.LookupKeyResult{}, wrong(existingKeyArn, "%s cannot be used: KMS does not show it in the provider's Region (is the key in %s, and may you call kms:DescribeKey on it?): %w", s, want.region, err)
		}
		return *key, checkExistingKey(*key)
	}).(kms.LookupKeyResultOutput)
	c.KeyArn, c.KeyId = key.Arn(), key.Id()
	c.AliasName, c.AliasArn = pulumi.String("").ToStringOutput(), pulumi.String("").ToStringOutput()
	return c, c.complete(ctx)
}

const existingKeyArn = "ExistingKey.KeyArn"

func (e *ExistingKey) validate(name string) error {
	if e.KeyArn == nil {
		return validateAll("CustomerKey", name, wrong(existingKeyArn, "it is required"))
	}
	return validateAll("CustomerKey", name, checkPlain(e.KeyArn, func(s string) error {
		_, err := parseKeyARN(existingKeyArn, s)
		return err
	}))
}

// checkExistingKey returns why a key cannot serve S3 and EBS.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
func checkExistingKey(k kms.LookupKeyResult) error {
	switch {
	case k.KeySpec != "" && k.KeySpec != "SYMMETRIC_DEFAULT":
		return wrong(existingKeyArn, "%s is a key of spec %s; S3 and EBS encrypt with symmetric keys (SYMMETRIC_DEFAULT) only", k.Arn, k.KeySpec)
	case k.KeyUsage != "ENCRYPT_DECRYPT":
		return wrong(existingKeyArn, "%s is for %s; S3 and EBS need a key for ENCRYPT_DECRYPT", k.Arn, k.KeyUsage)
	case pendingDeletion(k):
		return wrong(existingKeyArn, "%s is %s: choose another, or cancel the deletion with %s", k.Arn, deletion(k), cancelDeletion(k))
	case k.KeyManager != "CUSTOMER":
		return wrong(existingKeyArn, "%s is managed by AWS; this baseline is for a key of your own", k.Arn)
	case k.KeyState == "Disabled":
		return wrong(existingKeyArn, "%s is disabled; enable it with `aws kms enable-key --key-id %s`", k.Arn, k.Arn)
	case k.KeyState != "Enabled":
		return wrong(existingKeyArn, "%s is in state %s and cannot encrypt; only a key in state Enabled can", k.Arn, k.KeyState)
	}
	return nil
}

// LookupEncryptedBucket is an existing bucket. It is read at preview and never
// changed: its settings and its data are not managed by this stack.
func LookupEncryptedBucket(ctx *pulumi.Context, name string, existing *ExistingBucket, opts ...pulumi.ResourceOption) (*EncryptedBucket, error) {
	if existing == nil {
		existing = &ExistingBucket{}
	}
	if err := errors.Join(existing.validate(name), begin(ctx)); err != nil {
		return nil, err
	}
	c := &EncryptedBucket{}
	if err := ctx.RegisterComponentResource(EncryptedBucketType, name, c, opts...); err != nil {
		return nil, err
	}
	bucket := existing.BucketName.ToStringOutput().ApplyT(func(name string) (s3.LookupBucketResult, error) {
		if err := validateBucketName(existingBucketName, name); err != nil {
			return s3.LookupBucketResult{}, err
		}
		b, err := s3.LookupBucket(ctx, &s3.LookupBucketArgs{Bucket: name}, pulumi.Parent(c))
		if err != nil {
			return s3.LookupBucketResult{}, wrong(existingBucketName, "bucket %s cannot be used (does it exist, and may you call s3:ListBucket on it?): %w", name, err)
		}
		return *b, nil
	}).(s3.LookupBucketResultOutput)
	c.BucketName, c.BucketArn = bucket.Bucket(), bucket.Arn()
	c.DomainName, c.RegionalDomainName = bucket.BucketDomainName(), bucket.BucketRegionalDomainName()
	c.KmsKeyArn, c.ReplicationPolicy = pulumi.String("").ToStringOutput(), pulumi.String("").ToStringOutput()
	if existing.KmsKeyArn != nil {
		c.KmsKeyArn = checked(existing.KmsKeyArn, validateKeyArn)
	}
	return c, c.complete(ctx)
}

const existingBucketName = "ExistingBucket.BucketName"

func (e *ExistingBucket) validate(name string) error {
	if e.BucketName == nil {
		return validateAll("EncryptedBucket", name, wrong(existingBucketName, "it is required"))
	}
	return validateAll("EncryptedBucket", name,
		checkPlain(e.BucketName, func(s string) error { return validateBucketName(existingBucketName, s) }),
		checkPlain(e.KmsKeyArn, validateKeyArn))
}

// LookupEBSDefaultEncryption reads a Region's EBS defaults and sets nothing: they
// belong to another component or stack. It fails at preview where encryption by
// default is off.
func LookupEBSDefaultEncryption(ctx *pulumi.Context, name string, existing *ExistingEBSDefaults, opts ...pulumi.ResourceOption) (*EBSDefaultEncryption, error) {
	if existing == nil {
		existing = &ExistingEBSDefaults{}
	}
	if err := errors.Join(existing.validate(name), begin(ctx)); err != nil {
		return nil, err
	}
	c := &EBSDefaultEncryption{}
	if err := ctx.RegisterComponentResource(EBSDefaultEncryptionType, name, c, opts...); err != nil {
		return nil, err
	}
	var want pulumi.StringInput = pulumi.String("")
	if existing.KmsKeyArn != nil {
		want = existing.KmsKeyArn
	}
	settings := pulumi.All(c.lookUp(ctx), want).ApplyT(func(v []any) (EBSSettings, error) {
		now, want := v[0].(ebsNow), v[1].(string)
		if !now.Enabled {
			return EBSSettings{}, wrong("ExistingEBSDefaults", "EBS encryption by default is off in %s: the owner of the setting has to turn it on (aws ec2 enable-ebs-encryption-by-default --region %s), or set it here with NewEBSDefaultEncryption (in a baseline: EBS.Args)", now.region, now.region)
		}
		if want != "" && now.KmsKeyArn != want {
			return EBSSettings{}, wrong("ExistingEBSDefaults.KmsKeyArn", "the default EBS key in %s is %s, not %s", now.region, now.KmsKeyArn, want)
		}
		return now.EBSSettings, nil
	})
	c.KmsKeyArn = settings.ApplyT(func(s any) string { return s.(EBSSettings).KmsKeyArn }).(pulumi.StringOutput)
	c.Enabled = settings.ApplyT(func(s any) bool { return s.(EBSSettings).Enabled }).(pulumi.BoolOutput)
	return c, c.complete(ctx)
}

func (e *ExistingEBSDefaults) validate(name string) error {
	return validateAll("EBSDefaultEncryption", name, checkPlain(e.KmsKeyArn, validateKeyArn))
}
