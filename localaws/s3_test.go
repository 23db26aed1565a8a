package localaws

import (
	"bytes"
	"crypto/rand"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

// s3Client is the user of accessKey in us-east-1.
func s3Client(t testing.TB, s *Server, accessKey string, opts ...func(*config.LoadOptions) error) *s3.Client {
	t.Helper()
	return s3.NewFromConfig(awsConfig(t, s, accessKey, opts...))
}

func makeBucket(t testing.TB, c *s3.Client, name string) {
	t.Helper()
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
	require.NoError(t, err)
}

func put(t testing.TB, c *s3.Client, bucket, key, body string, opts ...func(*s3.PutObjectInput)) *s3.PutObjectOutput {
	t.Helper()
	in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)}
	for _, f := range opts {
		f(in)
	}
	out, err := c.PutObject(t.Context(), in)
	require.NoError(t, err)
	return out
}

func get(t testing.TB, c *s3.Client, bucket, key string) string {
	t.Helper()
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	require.NoError(t, err)
	b, err := io.ReadAll(out.Body)
	require.NoError(t, err)
	return string(b)
}

func makeKey(t testing.TB, s *Server) (k *kms.Client, arn string) {
	t.Helper()
	k = kms.NewFromConfig(awsConfig(t, s, "alice"))
	out, err := k.CreateKey(t.Context(), &kms.CreateKeyInput{})
	require.NoError(t, err)
	return k, *out.KeyMetadata.Arn
}

func encryptWith(t testing.TB, c *s3.Client, bucket, keyID string, bucketKey bool) {
	t.Helper()
	_, err := c.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{Bucket: &bucket,
		ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
			ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: &keyID},
			BucketKeyEnabled:                   &bucketKey,
		}}}})
	require.NoError(t, err)
}

func TestS3_ObjectsComeBackAsTheyWereStored(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "sizes")
	for _, size := range []int{0, 1, sealChunk - 1, sealChunk, sealChunk + 1, 3*sealChunk + 17} {
		body := make([]byte, size)
		_, _ = rand.Read(body)
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("sizes"), Key: aws.String("k"), Body: bytes.NewReader(body), Metadata: map[string]string{"Colour": "blue"}})
		require.NoError(t, err)
		out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("sizes"), Key: aws.String("k")})
		require.NoError(t, err)
		got, err := io.ReadAll(out.Body)
		require.NoError(t, err)
		require.True(t, bytes.Equal(body, got), "size %d", size)
		require.Equal(t, map[string]string{"colour": "blue"}, out.Metadata)
		require.Equal(t, types.ServerSideEncryptionAes256, out.ServerSideEncryption)
		onDisk, err := os.ReadDir(s.objects())
		require.NoError(t, err)
		require.Len(t, onDisk, 1, "the replaced object's file is still there")
	}
}
