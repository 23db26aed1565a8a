package components

import (
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

func TestLookupCustomerKey_CreatesNothing(t *testing.T) {
	t.Parallel()
	m := newMock()
	m.addKey(ownKey, nil)
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		c, err := LookupCustomerKey(ctx, "app", &ExistingKey{KeyArn: pulumi.String(ownKey)})
		require.NoError(t, err)
		require.Equal(t, ownKey, resolved(t, ctx, c.KeyArn))
		require.Equal(t, "1234abcd-12ab-34cd-56ef-1234567890ab", resolved(t, ctx, c.KeyId))
		require.Empty(t, resolved(t, ctx, c.AliasName))
		require.Empty(t, resolved(t, ctx, c.AliasArn))
		return nil
	}))
	require.Len(t, m.urns, 1, "nothing but the component: the key has another owner")
}

func TestLookupCustomerKey_RefusesUnusableKeys(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change map[string]any
		want   []string
	}{
		"disabled":                         {map[string]any{"keyState": "Disabled", "enabled": false}, []string{"is disabled", "aws kms enable-key --key-id " + ownKey}},
		"pending deletion":                 {map[string]any{"keyState": "PendingDeletion", "deletionDate": "2030-01-02T03:04:05Z"}, []string{"pending deletion until 2030-01-02T03:04:05Z", "cancel-key-deletion"}},
		"primary that is pending deletion": {map[string]any{"keyState": "PendingReplicaDeletion"}, []string{"pending deletion", "cancel-key-deletion"}},
		"without material":                 {map[string]any{"keyState": "PendingImport"}, []string{"in state PendingImport and cannot encrypt"}},
		"asymmetric":                       {map[string]any{"keySpec": "RSA_2048"}, []string{"of spec RSA_2048", "SYMMETRIC_DEFAULT"}},
		"other usage":                      {map[string]any{"keyUsage": "GENERATE_VERIFY_MAC"}, []string{"for GENERATE_VERIFY_MAC", "ENCRYPT_DECRYPT"}},
		"managed by AWS":                   {map[string]any{"keyManager": "AWS"}, []string{"managed by AWS", "key of your own"}},
	} {
		for _, preview := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				m := newMock()
				m.preview = preview
				m.addKey(ownKey, c.change)
				err := m.run(func(ctx *pulumi.Context) error {
					_, err := NewEncryptionBaseline(ctx, "app", &EncryptionBaselineArgs{Key: &BaselineKey{Existing: &ExistingKey{KeyArn: pulumi.String(ownKey)}}})
					return err
				})
				require.ErrorContains(t, err, "ExistingKey.KeyArn: "+ownKey)
				for _, w := range c.want {
					require.ErrorContains(t, err, w)
				}
				require.False(t, m.has("aws:s3/bucketServerSideEncryptionConfigurationV2:BucketServerSideEncryptionConfigurationV2"))
				require.False(t, m.has("aws:ebs/defaultKmsKey:DefaultKmsKey"))
			})
		}
	}
}

func TestLookupCustomerKey_RefusesMissingKey(t *testing.T) {
	t.Parallel()
	m := newMock()
	m.preview = true
	require.ErrorContains(t, m.run(func(ctx *pulumi.Context) error {
		_, err := LookupCustomerKey(ctx, "app", &ExistingKey{KeyArn: pulumi.String(ownKey)})
		return err
	}), "ExistingKey.KeyArn: "+ownKey+" cannot be used: KMS does not show it in the provider's Region (is the key in us-east-1")
}

func TestLookupEncryptedBucket_CreatesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ key, want string }{"without a key": {"", ""}, "with its key": {ownKey, ownKey}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMock()
			m.buckets = []string{"theirs"}
			args := &ExistingBucket{BucketName: pulumi.String("theirs")}
			if c.key != "" {
				args.KmsKeyArn = pulumi.String(c.key)
			}
			require.NoError(t, m.run(func(ctx *pulumi.Context) error {
				b, err := LookupEncryptedBucket(ctx, "app", args)
				require.NoError(t, err)
				require.Equal(t, "theirs", resolved(t, ctx, b.BucketName))
				require.Equal(t, "arn:aws:s3:::theirs", resolved(t, ctx, b.BucketArn))
				require.Equal(t, c.want, resolved(t, ctx, b.KmsKeyArn))
				return nil
			}))
			require.Len(t, m.urns, 1, "nothing but the component: the bucket has another owner")
		})
	}
}

func TestLookupEncryptedBucket_RefusesMissingBucket(t *testing.T) {
	t.Parallel()
	m := newMock()
	m.preview = true
	require.ErrorContains(t, m.run(func(ctx *pulumi.Context) error {
		_, err := LookupEncryptedBucket(ctx, "app", &ExistingBucket{BucketName: pulumi.String("theirs")})
		return err
	}), "ExistingBucket.BucketName: bucket theirs cannot be used")
}

func TestLookupEBSDefaultEncryption_ChecksTheSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		now  EBSSettings
		key  string
		want string
	}{
		{"on", EBSSettings{Enabled: true, KmsKeyArn: foreignKey}, "", ""},
		{"on, with this key", EBSSettings{Enabled: true, KmsKeyArn: foreignKey}, foreignKey, ""},
		{"on, with another key", EBSSettings{Enabled: true, KmsKeyArn: foreignKey}, ownKey, "ExistingEBSDefaults.KmsKeyArn: the default EBS key in us-east-1 is " + foreignKey + ", not " + ownKey},
		{"off", EBSSettings{KmsKeyArn: foreignKey}, "", "aws ec2 enable-ebs-encryption-by-default --region us-east-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMock()
			m.preview, m.ebs = true, c.now
			args := &ExistingEBSDefaults{}
			if c.key != "" {
				args.KmsKeyArn = pulumi.String(c.key)
			}
			err := m.run(func(ctx *pulumi.Context) error {
				e, err := LookupEBSDefaultEncryption(ctx, "app", args)
				require.NoError(t, err)
				if c.want == "" {
					require.Equal(t, foreignKey, resolved(t, ctx, e.KmsKeyArn))
					require.Equal(t, true, resolved(t, ctx, e.Enabled))
				}
				return nil
			})
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.want)
			}
			require.Len(t, m.urns, 1, "nothing but the component: the settings have another owner")
		})
	}
}

func TestLookup_RefusesInvalidArguments(t *testing.T) {
	t.Parallel()
	key := func(in pulumi.StringInput) func(*pulumi.Context) error {
		return func(ctx *pulumi.Context) error {
			_, err := LookupCustomerKey(ctx, "app", &ExistingKey{KeyArn: in})
			return err
		}
	}
	bucket := func(existing *ExistingBucket) func(*pulumi.Context) error {
		return func(ctx *pulumi.Context) error {
			_, err := LookupEncryptedBucket(ctx, "app", existing)
			return err
		}
	}
	for name, c := range map[string]struct {
		program func(*pulumi.Context) error
		want    string
	}{
		"no key":         {key(nil), `CustomerKey "app": ExistingKey.KeyArn: it is required`},
		"an alias":       {key(pulumi.String("alias/mine")), `ExistingKey.KeyArn: "alias/mine" is not valid: it is an alias`},
		"no ARN":         {key(pulumi.String("")), "it must be a KMS key's ARN"},
		"no bucket":      {bucket(nil), `EncryptedBucket "app": ExistingBucket.BucketName: it is required`},
		"a bucket":       {bucket(&ExistingBucket{BucketName: pulumi.String("A")}), `ExistingBucket.BucketName: "A"`},
		"a bucket's key": {bucket(&ExistingBucket{BucketName: pulumi.String("theirs"), KmsKeyArn: pulumi.String("alias/x")}), `KmsKeyArn: "alias/x"`},
		"a default key": {func(ctx *pulumi.Context) error {
			_, err := LookupEBSDefaultEncryption(ctx, "app", &ExistingEBSDefaults{KmsKeyArn: pulumi.String("x")})
			return err
		}, `EBSDefaultEncryption "app": KmsKeyArn: "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireRefused(t, c.program, c.want)
		})
	}
	for name, c := range map[string]struct {
		program func(*pulumi.Context) error
		want    string
	}{
		"a key that is known late":    {key(pulumi.String("alias/x").ToStringOutput()), `ExistingKey.KeyArn: "alias/x"`},
		"a bucket that is known late": {bucket(&ExistingBucket{BucketName: pulumi.String("A").ToStringOutput()}), `ExistingBucket.BucketName: "A"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, newMock().run(c.program), c.want)
		})
	}
}
