package components

import (
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

func TestIAMPolicies_AreTheGoldenFiles(t *testing.T) {
	t.Parallel()
	require.NoError(t, newMock().run(func(ctx *pulumi.Context) error {
		key, err := NewCustomerKey(ctx, "app", nil)
		require.NoError(t, err)
		require.NotNil(t, key.Key)
		require.NotNil(t, key.Alias)
		bucket, err := NewEncryptedBucket(ctx, "app", &EncryptedBucketArgs{KmsKeyArn: key.KeyArn})
		require.NoError(t, err)
		require.NotNil(t, bucket.Bucket)
		for name, policy := range map[string]pulumi.StringOutput{
			"key-encrypt": key.EncryptPolicy, "key-decrypt": key.DecryptPolicy, "key-encrypt-decrypt": key.EncryptDecryptPolicy,
			"bucket-read": bucket.ReadPolicy, "bucket-write": bucket.WritePolicy, "bucket-read-write": bucket.ReadWritePolicy,
		} {
			requireGolden(t, "iam-"+name+".golden.json", indented(t, resolved(t, ctx, policy).(string)))
		}
		return nil
	}))
}

func TestEncryptionBaseline_MergesTags(t *testing.T) {
	t.Parallel()
	for _, own := range []pulumi.StringMapInput{
		pulumi.StringMap{"team": pulumi.String("b"), "tier": pulumi.String("gold")},
		pulumi.StringMap{"team": pulumi.String("b"), "tier": pulumi.String("gold")}.ToStringMapOutput(),
	} {
		m := newMock()
		require.NoError(t, m.run(func(ctx *pulumi.Context) error {
			_, err := NewEncryptionBaseline(ctx, "app", &EncryptionBaselineArgs{
				Tags: pulumi.StringMap{"team": pulumi.String("a"), "project": pulumi.String("p")},
				Key:  &BaselineKey{Args: &CustomerKeyArgs{Tags: own}},
			})
			return err
		}))
		require.Equal(t, map[string]any{"team": "b", "tier": "gold", "project": "p"}, m.get(t, "aws:kms/key:Key", "app-key").input("tags"))
		require.Equal(t, map[string]any{"team": "a", "project": "p"}, m.get(t, "aws:s3/bucketV2:BucketV2", "app-bucket").input("tags"))
	}
}
