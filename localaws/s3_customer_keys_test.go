package localaws

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

const (
	customerKey = "01234567890123456789012345678901"
	anotherKey  = "98765432109876543210987654321098"
)

// allowSSEC lifts the block that every new bucket has.
func allowSSEC(t *testing.T, c *s3.Client, bucket string) {
	t.Helper()
	_, err := c.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{Bucket: &bucket,
		ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
			ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256},
			BlockedEncryptionTypes:             &types.BlockedEncryptionTypes{EncryptionType: []types.EncryptionType{"NONE"}},
		}}}})
	require.NoError(t, err)
}

// encoded is a key as the SDK wants it.
func encoded(key string) *string { return aws.String(base64.StdEncoding.EncodeToString([]byte(key))) }

// digest is that of a key, which the SDK for Go does not compute.
func digest(key string) *string {
	sum := md5.Sum([]byte(key))
	return aws.String(base64.StdEncoding.EncodeToString(sum[:]))
}

func withCustomerKey(in *s3.PutObjectInput) {
	in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = aws.String("AES256"), encoded(customerKey), digest(customerKey)
}

func TestCustomerKey_ReadsAndWrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newServer(t, func(o *Options) { o.Dir = dir })
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "customers")
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("customers"), Key: aws.String("k"), Body: strings.NewReader("x"),
		SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(customerKey), SSECustomerKeyMD5: digest(customerKey)})
	requireCode(t, err, "AccessDenied")
	require.ErrorContains(t, err, "blocks server-side encryption with customer-provided keys")

	allowSSEC(t, c, "customers")
	body := strings.Repeat("hello customer ", sealChunk/10)
	out := put(t, c, "customers", "k", body, withCustomerKey)
	require.Equal(t, "AES256", *out.SSECustomerAlgorithm)
	require.Equal(t, *digest(customerKey), *out.SSECustomerKeyMD5)
	require.Empty(t, out.ServerSideEncryption)
	plain := md5.Sum([]byte(body))
	require.NotContains(t, *out.ETag, hex.EncodeToString(plain[:]), "an ETag that tells the content")

	get := func(key string) (*s3.GetObjectOutput, error) {
		in := &s3.GetObjectInput{Bucket: aws.String("customers"), Key: aws.String("k")}
		if key != "" {
			in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = aws.String("AES256"), encoded(key), digest(key)
		}
		return c.GetObject(t.Context(), in)
	}
	read := func() {
		got, err := get(customerKey)
		require.NoError(t, err)
		content, err := io.ReadAll(got.Body)
		require.NoError(t, err)
		require.Equal(t, body, string(content))
		require.Equal(t, *digest(customerKey), *got.SSECustomerKeyMD5)
		require.Empty(t, got.ServerSideEncryption)
	}
	read()
	_, err = get("")
	requireCode(t, err, "InvalidRequest")
	require.ErrorContains(t, err, "The object was stored using a form of Server Side Encryption.")
	_, err = get(anotherKey)
	requireCode(t, err, "AccessDenied")
	require.ErrorContains(t, err, "must provide the correct secret key")
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("customers"), Key: aws.String("k"),
		SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(customerKey), SSECustomerKeyMD5: digest(customerKey)})
	require.NoError(t, err)
	require.EqualValues(t, len(body), *head.ContentLength)
	require.Equal(t, *digest(customerKey), *head.SSECustomerKeyMD5)
	_, err = c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("customers"), Key: aws.String("k")})
	require.ErrorContains(t, err, "400")
	_, err = c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("customers"), Key: aws.String("k"),
		SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(anotherKey), SSECustomerKeyMD5: digest(anotherKey)})
	require.ErrorContains(t, err, "403")
	_, arn := makeKey(t, s)
	_, err = c.UpdateObjectEncryption(t.Context(), updateTo("customers", arn, false))
	require.ErrorContains(t, err, "DSSE-KMS or SSE-C. Only source objects")
	_, err = c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("customers"), Key: aws.String("m"),
		SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(customerKey), SSECustomerKeyMD5: digest(customerKey)})
	requireCode(t, err, "NotImplemented")

	// The block concerns writes alone.
	_, err = c.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{Bucket: aws.String("customers"),
		ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
			BlockedEncryptionTypes: &types.BlockedEncryptionTypes{EncryptionType: []types.EncryptionType{"SSE-C"}}}}}})
	require.NoError(t, err)
	read()

	e, err := s.Envelope("customers", "k")
	require.NoError(t, err)
	require.Equal(t, "SSE-C", e.Header.Algorithm)
	require.Empty(t, e.Header.WrappedKey)
	require.NoError(t, s.Close())
	files := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files++
		for _, secret := range []string{customerKey, *encoded(customerKey), *digest(customerKey), "hello customer"} {
			require.False(t, bytes.Contains(b, []byte(secret)), "%s has %q", path, secret)
		}
		return err
	}))
	require.Greater(t, files, 2)
	s = newServer(t, func(o *Options) { o.Dir = dir })
	c = s3Client(t, s, "alice", noRetries)
	read()
}

func TestCustomerKey_Copies(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "copies")
	allowSSEC(t, c, "copies")
	put(t, c, "copies", "k", "hello", withCustomerKey)
	in := &s3.CopyObjectInput{Bucket: aws.String("copies"), Key: aws.String("plain"), CopySource: aws.String("copies/k")}
	_, err := c.CopyObject(t.Context(), in)
	requireCode(t, err, "InvalidRequest")
	in.CopySourceSSECustomerAlgorithm, in.CopySourceSSECustomerKey, in.CopySourceSSECustomerKeyMD5 = aws.String("AES256"), encoded(anotherKey), digest(anotherKey)
	_, err = c.CopyObject(t.Context(), in)
	requireCode(t, err, "AccessDenied")
	in.CopySourceSSECustomerKey, in.CopySourceSSECustomerKeyMD5 = encoded(customerKey), digest(customerKey)
	_, err = c.CopyObject(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, "hello", get(t, c, "copies", "plain"))
	in.Key, in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = aws.String("k"), aws.String("AES256"), encoded(anotherKey), digest(anotherKey)
	out, err := c.CopyObject(t.Context(), in) // onto itself: another key
	require.NoError(t, err)
	require.Equal(t, "AES256", *out.SSECustomerAlgorithm)
	got, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("copies"), Key: aws.String("k"), SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(anotherKey), SSECustomerKeyMD5: digest(anotherKey)})
	require.NoError(t, err)
	content, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	require.Equal(t, "hello", string(content))
	_, err = c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("copies"), Key: aws.String("plain"), SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(anotherKey), SSECustomerKeyMD5: digest(anotherKey)})
	require.ErrorContains(t, err, "The encryption parameters are not applicable to this object.")
}

func TestCustomerKey_Refuses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	require.NoError(t, s.StartPlain("127.0.0.1:0"))
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "wrong")
	allowSSEC(t, c, "wrong")
	key, shortDigest, digest := *encoded(customerKey), *digest("short"), *digest(customerKey)
	const algorithm, secret, hash, sse = "X-Amz-Server-Side-Encryption-Customer-Algorithm", "X-Amz-Server-Side-Encryption-Customer-Key", "X-Amz-Server-Side-Encryption-Customer-Key-Md5", "X-Amz-Server-Side-Encryption"
	for name, row := range map[string]struct {
		headers       map[string]string
		code, message string
	}{
		"no algorithm":      {map[string]string{secret: key, hash: digest}, "InvalidArgument", "must provide a valid encryption algorithm."},
		"another algorithm": {map[string]string{algorithm: "AES128", secret: key, hash: digest}, "InvalidEncryptionAlgorithmError", "Supported value: AES256."},
		"no key":            {map[string]string{algorithm: "AES256", hash: digest}, "InvalidArgument", "must provide an appropriate secret key."},
		"no digest":         {map[string]string{algorithm: "AES256", secret: key}, "InvalidArgument", "must provide the client calculated MD5 of the secret key."},
		"a short key":       {map[string]string{algorithm: "AES256", secret: *encoded("short"), hash: shortDigest}, "InvalidArgument", "The secret key was invalid for the specified algorithm."},
		"another digest":    {map[string]string{algorithm: "AES256", secret: *encoded(anotherKey), hash: digest}, "InvalidArgument", "The calculated MD5 hash of the key did not match the hash that was provided."},
		"SSE-KMS too":       {map[string]string{algorithm: "AES256", secret: key, hash: digest, sse: "aws:kms"}, "InvalidArgument", "is incompatible with the encryption method specified"},
	} {
		row.headers["Authorization"], row.headers["X-Amz-Content-Sha256"] = signature("alice", "us-east-1", "s3"), "UNSIGNED-PAYLOAD"
		_, body := send(t, s, "PUT", "/wrong/k", "x", row.headers)
		require.Equal(t, row.code, errorCode(t, body), name)
		require.Contains(t, body, row.message, name)
		require.NotContains(t, body, key, name)
	}
	plain := s3.New(c.Options(), func(o *s3.Options) { o.BaseEndpoint = aws.String(s.PlainURL()) })
	in := &s3.PutObjectInput{Bucket: aws.String("wrong"), Key: aws.String("k"), Body: strings.NewReader("x")}
	withCustomerKey(in)
	_, err := plain.PutObject(t.Context(), in)
	require.ErrorContains(t, err, "must be made over a secure connection.")
}
