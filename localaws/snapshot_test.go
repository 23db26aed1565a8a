package localaws

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

func TestSnapshot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newServer(t, func(o *Options) { o.Dir = dir })
	cfg := awsConfig(t, s, "alice")
	e, k, b := ec2.NewFromConfig(cfg), kms.NewFromConfig(cfg), s3.NewFromConfig(cfg)
	take := func() string {
		t.Helper()
		got, err := s.Snapshot()
		require.NoError(t, err)
		return string(got)
	}
	before := take()
	// changes runs f, which must show in the snapshot.
	changes := func(what string, f func() error) {
		t.Helper()
		require.NoError(t, f(), what)
		after := take()
		require.NotEqual(t, before, after, what)
		before = after
	}
	var key string
	changes("a key and its alias", func() error { key = newKey(t, cfg, "alias/mine"); return nil })
	changes("a key's rotation", func() error {
		_, err := k.EnableKeyRotation(t.Context(), &kms.EnableKeyRotationInput{KeyId: &key})
		return err
	})
	changes("a key's state", func() error {
		_, err := k.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &key})
		return err
	})
	changes("a key's state again", func() error {
		_, err := k.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: &key})
		return err
	})
	changes("the EBS switch", func() error { _, err := e.EnableEbsEncryptionByDefault(t.Context(), nil); return err })
	changes("the EBS key", func() error {
		_, err := e.ModifyEbsDefaultKmsKeyId(t.Context(), &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &key})
		return err
	})
	changes("a volume", func() error { _, err := e.CreateVolume(t.Context(), gp3("us-east-1a")); return err })
	changes("a bucket", func() error {
		_, err := b.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("snapshots")})
		return err
	})
	changes("a bucket's versioning", func() error {
		_, err := b.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String("snapshots"),
			VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled}})
		return err
	})
	changes("an object", func() error {
		_, err := b.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("snapshots"), Key: aws.String("k"), Body: strings.NewReader("v")})
		return err
	})

	_, err := k.ListKeys(t.Context(), nil)
	require.NoError(t, err)
	_, err = b.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("snapshots"), Key: aws.String("k")})
	require.NoError(t, err)
	require.Equal(t, before, take(), "reading changes nothing")
	require.NotContains(t, before, "Wrapped")
	require.NotContains(t, before, "dataKey")

	require.NoError(t, s.Close())
	s = newServer(t, func(o *Options) { o.Dir = dir })
	require.Equal(t, before, take(), "nor does a restart")
}
