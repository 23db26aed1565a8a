package components

import (
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

var (
	noKey    = &BaselineKey{Skip: true}
	noBucket = &BaselineBucket{Skip: true}
	noEBS    = &BaselineEBS{Skip: true}
)

func newBaseline(args *EncryptionBaselineArgs) func(ctx *pulumi.Context) error {
	return func(ctx *pulumi.Context) error {
		_, err := NewEncryptionBaseline(ctx, "app", args)
		return err
	}
}

func TestEncryptionBaseline_NilArgs(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		b, err := NewEncryptionBaseline(ctx, "app", nil)
		require.NoError(t, err)
		for out, want := range map[pulumi.Output]any{
			b.KeyArn: ownKey, b.KeyId: "1234abcd-12ab-34cd-56ef-1234567890ab", b.AliasName: "alias/app", b.AliasArn: "arn:aws:kms:us-east-1:111122223333:alias/app",
			b.BucketName: "app-111122223333-made-up", b.BucketArn: "arn:aws:s3:::app-111122223333-made-up",
			b.EBSDefaultKeyArn: ownKey, b.EBSEncryptionByDefault: true,
		} {
			require.Equal(t, want, resolved(t, ctx, out))
		}
		return nil
	}))
	require.Equal(t, ownKey, m.get(t, defaultKeyType, "app-ebs-default-key").input("keyArn"))
}

// TestEncryptionBaseline_Order: nothing of bucket and EBS is made before the
// key, and the key goes after them.
func TestEncryptionBaseline_Order(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(newBaseline(nil)))
	key := m.get(t, "aws:kms/key:Key", "app-key").urn
	require.Contains(t, m.get(t, encryptionType, "app-encryption").rpc.GetDependencies(), key)
	require.Contains(t, m.get(t, defaultKeyType, "app-ebs-default-key").rpc.GetDependencies(), key)
}

func TestEncryptionBaseline_Parts(t *testing.T) {
	t.Parallel()
	const keyType = "aws:kms/key:Key"
	key := pulumi.String(foreignKey)
	for _, c := range []struct {
		name        string
		args        EncryptionBaselineArgs
		makes       []string
		makesNot    []string
		keyInBucket string
		keyInEBS    string
	}{
		{"the key alone", EncryptionBaselineArgs{Bucket: noBucket, EBS: noEBS}, []string{keyType}, []string{bucketType, defaultKeyType}, "", ""},
		{"the bucket alone", EncryptionBaselineArgs{Key: noKey, EBS: noEBS, Bucket: &BaselineBucket{Args: &EncryptedBucketArgs{KmsKeyArn: key}}}, []string{bucketType}, []string{keyType, defaultKeyType}, foreignKey, ""},
		{"EBS alone", EncryptionBaselineArgs{Key: noKey, Bucket: noBucket, EBS: &BaselineEBS{Args: &EBSDefaultEncryptionArgs{KmsKeyArn: key}}}, []string{defaultKeyType}, []string{keyType, bucketType}, "", foreignKey},
		{"no EBS", EncryptionBaselineArgs{EBS: noEBS}, []string{keyType, bucketType}, []string{defaultKeyType, switchType}, ownKey, ""},
		{"an existing key", EncryptionBaselineArgs{Key: &BaselineKey{Existing: &ExistingKey{KeyArn: key}}}, []string{bucketType, defaultKeyType}, []string{keyType}, foreignKey, foreignKey},
		{"an existing bucket", EncryptionBaselineArgs{Bucket: &BaselineBucket{Existing: &ExistingBucket{BucketName: pulumi.String("theirs")}}}, []string{keyType, defaultKeyType}, []string{bucketType, policyType}, "", ownKey},
		{"existing EBS defaults", EncryptionBaselineArgs{EBS: &BaselineEBS{Existing: &ExistingEBSDefaults{}}}, []string{keyType, bucketType}, []string{defaultKeyType, stashType}, ownKey, ""},
		{"keys of their own", EncryptionBaselineArgs{Bucket: &BaselineBucket{Args: &EncryptedBucketArgs{KmsKeyArn: key}}, EBS: &BaselineEBS{Args: &EBSDefaultEncryptionArgs{KmsKeyArn: key}}}, []string{keyType, bucketType, defaultKeyType}, nil, foreignKey, foreignKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMock()
			m.buckets, m.ebs.Enabled = []string{"theirs"}, true
			m.addKey(foreignKey, nil)
			require.NoError(t, m.run(newBaseline(&c.args)))
			for _, token := range c.makes {
				require.True(t, m.has(token), token)
			}
			for _, token := range c.makesNot {
				require.False(t, m.has(token), token)
			}
			if c.keyInBucket != "" {
				rule := m.get(t, encryptionType, "app-encryption").input("rules").([]any)[0].(map[string]any)
				require.Equal(t, c.keyInBucket, rule["applyServerSideEncryptionByDefault"].(map[string]any)["kmsMasterKeyId"])
			}
			if c.keyInEBS != "" {
				require.Equal(t, c.keyInEBS, m.get(t, defaultKeyType, "app-ebs-default-key").input("keyArn"))
			}
		})
	}
}

func TestEncryptionBaseline_SkippedPartsHaveEmptyOutputs(t *testing.T) {
	t.Parallel()
	require.NoError(t, newMock().run(func(ctx *pulumi.Context) error {
		b, err := NewEncryptionBaseline(ctx, "app", &EncryptionBaselineArgs{Bucket: noBucket, EBS: noEBS})
		require.NoError(t, err)
		require.Empty(t, resolved(t, ctx, b.BucketName))
		require.Empty(t, resolved(t, ctx, b.BucketArn))
		require.Empty(t, resolved(t, ctx, b.EBSDefaultKeyArn))
		require.Equal(t, false, resolved(t, ctx, b.EBSEncryptionByDefault))
		c, err := NewEncryptionBaseline(ctx, "other", &EncryptionBaselineArgs{Key: noKey, EBS: noEBS, Bucket: &BaselineBucket{Args: &EncryptedBucketArgs{KmsKeyArn: pulumi.String(ownKey)}}})
		require.NoError(t, err)
		for _, out := range []pulumi.StringOutput{c.KeyArn, c.KeyId, c.AliasName, c.AliasArn} {
			require.Empty(t, resolved(t, ctx, out))
		}
		return nil
	}))
}

func TestEncryptionBaseline_Tags(t *testing.T) {
	t.Parallel()
	tags := func(v string) pulumi.StringMap { return pulumi.StringMap{"project": pulumi.String(v)} }
	m := newMock()
	args := &EncryptionBaselineArgs{Tags: tags("all"), Key: &BaselineKey{Args: &CustomerKeyArgs{}}, Bucket: &BaselineBucket{Args: &EncryptedBucketArgs{Tags: tags("bucket")}}}
	require.NoError(t, m.run(newBaseline(args)))
	require.Equal(t, map[string]any{"project": "all"}, m.get(t, "aws:kms/key:Key", "app-key").input("tags"))
	require.Equal(t, map[string]any{"project": "bucket"}, m.get(t, bucketType, "app-bucket").input("tags"), "a part's own tags win")
	require.Nil(t, args.Key.Args.Tags, "the caller's arguments are the caller's")
	require.Nil(t, args.Bucket.Args.KmsKeyArn)

	m = newMock()
	m.addKey(ownKey, nil)
	m.buckets = []string{"theirs"}
	require.NoError(t, m.run(newBaseline(&EncryptionBaselineArgs{
		Tags: tags("all"), Key: &BaselineKey{Existing: &ExistingKey{KeyArn: pulumi.String(ownKey)}}, Bucket: &BaselineBucket{Existing: &ExistingBucket{BucketName: pulumi.String("theirs")}},
	})), "tags are for what is new")
}

func TestEncryptionBaseline_Refuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args EncryptionBaselineArgs
		want []string
	}{
		"key and none":         {EncryptionBaselineArgs{Key: &BaselineKey{Args: &CustomerKeyArgs{}, Skip: true}}, []string{"Key: give one of Args, Existing and Skip"}},
		"bucket and none":      {EncryptionBaselineArgs{Bucket: &BaselineBucket{Existing: &ExistingBucket{BucketName: pulumi.String("theirs")}, Skip: true}}, []string{"Bucket: give one of Args, Existing and Skip"}},
		"EBS and none":         {EncryptionBaselineArgs{EBS: &BaselineEBS{Args: &EBSDefaultEncryptionArgs{}, Existing: &ExistingEBSDefaults{}}}, []string{"EBS: give one of Args, Existing and Skip"}},
		"nothing at all":       {EncryptionBaselineArgs{Key: noKey, Bucket: noBucket, EBS: noEBS}, []string{"leave nothing"}},
		"no key for the rest":  {EncryptionBaselineArgs{Key: noKey}, []string{`EncryptedBucket "app": KmsKeyArn: it is required`, `EBSDefaultEncryption "app": KmsKeyArn: it is required`}},
		"each part's mistakes": {EncryptionBaselineArgs{Key: &BaselineKey{Args: &CustomerKeyArgs{RotationPeriodInDays: ptr(1)}}, Bucket: &BaselineBucket{Args: &EncryptedBucketArgs{BucketName: pulumi.String("A")}}, EBS: &BaselineEBS{Args: &EBSDefaultEncryptionArgs{OnDestroy: "x"}}}, []string{`EncryptionBaseline "app"`, "RotationPeriodInDays: 1", `BucketName: "A"`, `OnDestroy: "x"`}},
		"an existing key":      {EncryptionBaselineArgs{Key: &BaselineKey{Existing: &ExistingKey{KeyArn: pulumi.String("x")}}}, []string{`ExistingKey.KeyArn: "x"`}},
		"tags":                 {EncryptionBaselineArgs{Tags: pulumi.StringMap{"aws:x": pulumi.String("x")}}, []string{`Tags: "aws:x"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireRefused(t, newBaseline(&c.args), c.want...)
			require.ErrorContains(t, c.args.Validate("app"), c.want[0])
		})
	}
}
