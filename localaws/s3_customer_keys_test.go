package localaws

import (
	"bytes"
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
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
	put(t, c, "customers", "plain", "x")
	const callerARN = "arn:aws:iam::" + DefaultAccount + ":user/alice"
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("customers"), Key: aws.String("k"), Body: strings.NewReader("x"),
		SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(customerKey), SSECustomerKeyMD5: digest(customerKey)})
	requireCode(t, err, "AccessDenied")
	require.ErrorContains(t, err, `User: `+callerARN+` is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::customers/k" because this bucket has blocked upload requests that specify Server Side Encryption with Customer provided keys (SSE-C).`)
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("customers"), Key: aws.String("k"), CopySource: aws.String("customers/plain"),
		SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(customerKey), SSECustomerKeyMD5: digest(customerKey)})
	require.ErrorContains(t, err, "s3:CopyObject on resource")

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

func uploadWithCustomerKey(in *s3.CreateMultipartUploadInput) {
	in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = aws.String("AES256"), encoded(customerKey), digest(customerKey)
}

func completeWithCustomerKey(in *s3.CompleteMultipartUploadInput) {
	in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = aws.String("AES256"), encoded(customerKey), digest(customerKey)
}

// getCustomers reads an object, or a part of it, with a customer's key.
func getCustomers(t *testing.T, c *s3.Client, bucket, key, customerKey string, f func(*s3.GetObjectInput)) ([]byte, error) {
	t.Helper()
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &key, SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(customerKey), SSECustomerKeyMD5: digest(customerKey)}
	f(in)
	out, err := c.GetObject(t.Context(), in)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(out.Body)
}

func TestCustomerKey_Multipart(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "parts")
	allowSSEC(t, c, "parts")
	body := make([]byte, 2*minPart+1000)
	_, _ = rand.Read(body)
	for _, row := range []struct {
		name     string
		f        func(*s3.CreateMultipartUploadInput)
		hasKey   bool // the request that completes the upload
		checksum func(*s3.HeadObjectOutput) *string
		suffix   string
	}{
		{name: "completed without the key", f: func(*s3.CreateMultipartUploadInput) {}},
		{"completed with the key", func(*s3.CreateMultipartUploadInput) {}, true, func(h *s3.HeadObjectOutput) *string { return h.ChecksumCRC64NVME }, "="},
		{"crc32 of the whole", func(in *s3.CreateMultipartUploadInput) {
			in.ChecksumAlgorithm, in.ChecksumType = "CRC32", "FULL_OBJECT"
		}, true, func(h *s3.HeadObjectOutput) *string { return h.ChecksumCRC32 }, "="},
		{"sha256 of the parts", func(in *s3.CreateMultipartUploadInput) { in.ChecksumAlgorithm = "SHA256" }, true,
			func(h *s3.HeadObjectOutput) *string { return h.ChecksumSHA256 }, "=-3"},
	} {
		done := uploadParts(t, c, "parts", row.name, body, func(in *s3.CreateMultipartUploadInput) {
			uploadWithCustomerKey(in)
			row.f(in)
		})
		list := &s3.ListPartsInput{Bucket: done.Bucket, Key: done.Key, UploadId: done.UploadId}
		if done.MultipartUpload.Parts[0].ChecksumSHA256 != nil { // with an algorithm both need the key
			_, err := c.ListParts(t.Context(), list)
			require.ErrorContains(t, err, "must include the appropriate encryption parameters")
			_, err = c.CompleteMultipartUpload(t.Context(), done)
			require.ErrorContains(t, err, "must include the appropriate encryption parameters")
		}
		wanting := *done
		wanting.ChecksumCRC64NVME = aws.String("AAAAAAAAAAA=")
		_, err := c.CompleteMultipartUpload(t.Context(), &wanting)
		require.ErrorContains(t, err, "must include the appropriate encryption parameters", "a checksum to compare, and no key")
		if row.hasKey {
			completeWithCustomerKey(done)
			list.SSECustomerAlgorithm, list.SSECustomerKey, list.SSECustomerKeyMD5 = done.SSECustomerAlgorithm, done.SSECustomerKey, done.SSECustomerKeyMD5
		}
		listed, err := c.ListParts(t.Context(), list)
		require.NoError(t, err)
		require.Len(t, listed.Parts, 3)
		out, err := c.CompleteMultipartUpload(t.Context(), done)
		require.NoError(t, err, row.name)
		require.Empty(t, out.ServerSideEncryption)
		raw, ok := awsmiddleware.GetRawResponse(out.ResultMetadata).(*smithyhttp.Response)
		require.True(t, ok)
		require.Empty(t, raw.Header.Values("X-Amz-Server-Side-Encryption-Customer-Algorithm"), "this response has no header of a customer's key")
		again, err := c.CompleteMultipartUpload(t.Context(), done)
		require.NoError(t, err, "the answer was lost")
		require.Equal(t, out.ETag, again.ETag)
		var sums []byte
		for i := 0; i < len(body); i += minPart {
			sum := md5.Sum(body[i:min(i+minPart, len(body))])
			sums = append(sums, sum[:]...)
		}
		require.Contains(t, *out.ETag, "-3")
		sum := md5.Sum(sums)
		require.NotContains(t, *out.ETag, hex.EncodeToString(sum[:]), "an ETag that tells the content")

		headed, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: done.Bucket, Key: done.Key, ChecksumMode: "ENABLED",
			SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(customerKey), SSECustomerKeyMD5: digest(customerKey)})
		require.NoError(t, err)
		require.Equal(t, *digest(customerKey), *headed.SSECustomerKeyMD5)
		if row.checksum == nil {
			require.Empty(t, headed.ChecksumType)
		} else {
			require.Regexp(t, row.suffix+"$", *row.checksum(headed))
		}
		_, err = c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: done.Bucket, Key: done.Key})
		require.ErrorContains(t, err, "400")
		_, err = getCustomers(t, c, "parts", row.name, anotherKey, func(*s3.GetObjectInput) {})
		requireCode(t, err, "AccessDenied")
		for _, r := range []struct {
			spec     string
			from, to int
		}{
			{"", 0, len(body)}, {"bytes=0-0", 0, 1}, {fmt.Sprintf("bytes=%d-%d", minPart-1, minPart), minPart - 1, minPart + 1},
			{fmt.Sprintf("bytes=%d-%d", minPart, minPart), minPart, minPart + 1}, {fmt.Sprintf("bytes=%d-%d", minPart-1, minPart-1), minPart - 1, minPart},
			{fmt.Sprintf("bytes=%d-%d", 100, 2*minPart+99), 100, 2*minPart + 100}, {fmt.Sprintf("bytes=%d-", minPart+sealChunk+1), minPart + sealChunk + 1, len(body)}, {"bytes=-1", len(body) - 1, len(body)},
		} {
			got, err := getCustomers(t, c, "parts", row.name, customerKey, func(in *s3.GetObjectInput) {
				if r.spec != "" {
					in.Range = &r.spec
				}
			})
			require.NoError(t, err)
			require.True(t, bytes.Equal(body[r.from:r.to], got), "%s of %s", r.spec, row.name)
		}
		part, err := getCustomers(t, c, "parts", row.name, customerKey, func(in *s3.GetObjectInput) { in.PartNumber = aws.Int32(2) })
		require.NoError(t, err)
		require.True(t, bytes.Equal(body[minPart:2*minPart], part))
	}
	e, err := s.Envelope("parts", "completed without the key")
	require.NoError(t, err)
	require.Equal(t, 1, e.Header.Part)
	require.Empty(t, e.Header.WrappedKey)
	files, err := os.ReadDir(s.objects())
	require.NoError(t, err)
	require.Len(t, files, 4, "the files of the parts stay")

	empty := uploadParts(t, c, "parts", "empty", nil, uploadWithCustomerKey)
	p, err := c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: empty.Bucket, Key: empty.Key, UploadId: empty.UploadId, PartNumber: aws.Int32(7),
		SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(customerKey), SSECustomerKeyMD5: digest(customerKey)})
	require.NoError(t, err)
	empty.MultipartUpload.Parts = []types.CompletedPart{{PartNumber: aws.Int32(7), ETag: p.ETag}}
	_, err = c.CompleteMultipartUpload(t.Context(), empty)
	require.NoError(t, err)
	got, err := getCustomers(t, c, "parts", "empty", customerKey, func(*s3.GetObjectInput) {})
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestCustomerKey_MultipartCopies(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "copies")
	allowSSEC(t, c, "copies")
	body := make([]byte, minPart+10)
	_, _ = rand.Read(body)
	_, err := c.CompleteMultipartUpload(t.Context(), uploadParts(t, c, "copies", "from", body, uploadWithCustomerKey))
	require.NoError(t, err)
	up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("copies"), Key: aws.String("to"),
		SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(anotherKey), SSECustomerKeyMD5: digest(anotherKey)})
	require.NoError(t, err)
	require.Equal(t, "AES256", *up.SSECustomerAlgorithm)
	require.Equal(t, *digest(anotherKey), *up.SSECustomerKeyMD5)
	in := &s3.UploadPartCopyInput{Bucket: aws.String("copies"), Key: aws.String("to"), UploadId: up.UploadId, PartNumber: aws.Int32(1), CopySource: aws.String("copies/from"),
		CopySourceSSECustomerAlgorithm: aws.String("AES256"), CopySourceSSECustomerKey: encoded(customerKey), CopySourceSSECustomerKeyMD5: digest(customerKey)}
	_, err = c.UploadPartCopy(t.Context(), in)
	require.ErrorContains(t, err, "must include the appropriate encryption parameters")
	in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = aws.String("AES256"), encoded(anotherKey), digest(anotherKey)
	in.CopySourceSSECustomerKey, in.CopySourceSSECustomerKeyMD5 = encoded(anotherKey), digest(anotherKey)
	_, err = c.UploadPartCopy(t.Context(), in)
	requireCode(t, err, "AccessDenied")
	in.CopySourceSSECustomerKey, in.CopySourceSSECustomerKeyMD5 = encoded(customerKey), digest(customerKey)
	part, err := c.UploadPartCopy(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, *digest(anotherKey), *part.SSECustomerKeyMD5)
	_, err = c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: in.Bucket, Key: in.Key, UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.CopyPartResult.ETag}}}})
	require.NoError(t, err)
	got, err := getCustomers(t, c, "copies", "to", anotherKey, func(*s3.GetObjectInput) {})
	require.NoError(t, err)
	require.True(t, bytes.Equal(body, got))
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("copies"), Key: aws.String("plain"), CopySource: aws.String("copies/from"),
		CopySourceSSECustomerAlgorithm: aws.String("AES256"), CopySourceSSECustomerKey: encoded(customerKey), CopySourceSSECustomerKeyMD5: digest(customerKey)})
	require.NoError(t, err)
	require.True(t, string(body) == get(t, c, "copies", "plain"))
}

// The block refuses what brings a key, also of an upload that began before it.
func TestCustomerKey_MultipartIsBlocked(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "blocked")
	create := &s3.CreateMultipartUploadInput{Bucket: aws.String("blocked"), Key: aws.String("k")}
	uploadWithCustomerKey(create)
	_, err := c.CreateMultipartUpload(t.Context(), create)
	requireCode(t, err, "AccessDenied")
	require.ErrorContains(t, err, "blocked upload requests that specify Server Side Encryption with Customer provided keys")
	allowSSEC(t, c, "blocked")
	done := uploadParts(t, c, "blocked", "k", []byte("x"), uploadWithCustomerKey)
	_, err = c.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{Bucket: aws.String("blocked"),
		ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
			BlockedEncryptionTypes: &types.BlockedEncryptionTypes{EncryptionType: []types.EncryptionType{"SSE-C"}}}}}})
	require.NoError(t, err)
	_, err = c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: done.Bucket, Key: done.Key, UploadId: done.UploadId, PartNumber: aws.Int32(2), Body: strings.NewReader("y"),
		SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(customerKey), SSECustomerKeyMD5: digest(customerKey)})
	requireCode(t, err, "AccessDenied")
	_, err = c.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{Bucket: done.Bucket, Key: done.Key, UploadId: done.UploadId, PartNumber: aws.Int32(2), CopySource: aws.String("blocked/none"),
		SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(customerKey), SSECustomerKeyMD5: digest(customerKey)})
	require.ErrorContains(t, err, "blocked upload requests")
	completeWithCustomerKey(done)
	_, err = c.CompleteMultipartUpload(t.Context(), done)
	requireCode(t, err, "AccessDenied")
	_, err = c.ListParts(t.Context(), &s3.ListPartsInput{Bucket: done.Bucket, Key: done.Key, UploadId: done.UploadId,
		SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(customerKey), SSECustomerKeyMD5: digest(customerKey)})
	require.NoError(t, err, "writes nothing")
	done.SSECustomerAlgorithm, done.SSECustomerKey, done.SSECustomerKeyMD5 = nil, nil, nil
	_, err = c.CompleteMultipartUpload(t.Context(), done)
	require.NoError(t, err, "names no encryption")
}

// Every change of the file is found: each part has its number and the salt of its upload.
func TestCustomerKey_MultipartFindsMovedParts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "moved")
	allowSSEC(t, c, "moved")
	for _, name := range []string{"a", "b"} {
		_, err := c.CompleteMultipartUpload(t.Context(), uploadParts(t, c, "moved", name, bytes.Repeat([]byte(name), 2*minPart), uploadWithCustomerKey))
		require.NoError(t, err)
	}
	parts := func(name string) (path string, first, second []byte) {
		e, err := s.Envelope("moved", name)
		require.NoError(t, err)
		file, err := os.ReadFile(e.Path)
		require.NoError(t, err)
		at := 1 + bytes.Index(file[1:], []byte(`{"format":`))
		return e.Path, file[:at], file[at:]
	}
	path, first, second := parts("a")
	_, otherFirst, otherSecond := parts("b")
	require.Equal(t, len(first), len(second))
	for name, file := range map[string][]byte{
		"exchanged":                 slices.Concat(second, first),
		"twice":                     slices.Concat(first, first),
		"missing":                   first,
		"one too many":              slices.Concat(first, second, second),
		"truncated":                 slices.Concat(first, second[:len(second)-1]),
		"the first of another file": slices.Concat(otherFirst, second),
		"the last of another file":  slices.Concat(first, otherSecond),
	} {
		require.NoError(t, os.WriteFile(path, file, 0o600))
		_, err := getCustomers(t, c, "moved", "a", customerKey, func(*s3.GetObjectInput) {})
		requireCode(t, err, "InternalError")
		require.Error(t, err, name)
	}
	require.NoError(t, os.WriteFile(path, slices.Concat(first, second), 0o600))
	_, err := getCustomers(t, c, "moved", "a", customerKey, func(*s3.GetObjectInput) {})
	require.NoError(t, err)
}
