package localaws

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

// uploadParts uploads body in parts of the smallest size, and returns
// what completes it.
func uploadParts(t *testing.T, c *s3.Client, bucket, key string, body []byte, f func(*s3.CreateMultipartUploadInput)) *s3.CompleteMultipartUploadInput {
	t.Helper()
	in := &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key}
	f(in)
	up, err := c.CreateMultipartUpload(t.Context(), in)
	require.NoError(t, err)
	done := &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{}}
	for n := int32(1); len(body) > 0; n++ {
		size := min(minPart, len(body))
		p, err := c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, PartNumber: &n,
			Body: bytes.NewReader(body[:size]), ChecksumAlgorithm: in.ChecksumAlgorithm,
			SSECustomerAlgorithm: in.SSECustomerAlgorithm, SSECustomerKey: in.SSECustomerKey, SSECustomerKeyMD5: in.SSECustomerKeyMD5})
		require.NoError(t, err)
		done.MultipartUpload.Parts = append(done.MultipartUpload.Parts, types.CompletedPart{PartNumber: &n, ETag: p.ETag,
			ChecksumCRC32: p.ChecksumCRC32, ChecksumCRC32C: p.ChecksumCRC32C, ChecksumCRC64NVME: p.ChecksumCRC64NVME, ChecksumSHA1: p.ChecksumSHA1, ChecksumSHA256: p.ChecksumSHA256})
		body = body[size:]
	}
	return done
}

func TestMultipart(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	c := s3Client(t, s, "alice")
	_, arn := makeKey(t, s)
	versioned(t, c, "parts")
	encryptWith(t, c, "parts", arn, false)
	body := make([]byte, 2*minPart+1000)
	_, _ = rand.Read(body)
	for _, row := range []struct {
		name      string
		f         func(*s3.CreateMultipartUploadInput)
		composite bool
	}{
		{"as the SDK has it", func(*s3.CreateMultipartUploadInput) {}, false},
		{"crc64 of the whole", func(in *s3.CreateMultipartUploadInput) { in.ChecksumAlgorithm = "CRC64NVME" }, false},
		{"crc32 of the whole", func(in *s3.CreateMultipartUploadInput) {
			in.ChecksumAlgorithm, in.ChecksumType = "CRC32", "FULL_OBJECT"
		}, false},
		{"crc32c of the parts", func(in *s3.CreateMultipartUploadInput) { in.ChecksumAlgorithm = "CRC32C" }, true},
		{"sha256 of the parts", func(in *s3.CreateMultipartUploadInput) { in.ChecksumAlgorithm = "SHA256" }, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			done := uploadParts(t, c, "parts", row.name, body, func(in *s3.CreateMultipartUploadInput) {
				in.Metadata = map[string]string{"m": "1"}
				row.f(in)
			})
			listed, err := c.ListParts(t.Context(), &s3.ListPartsInput{Bucket: done.Bucket, Key: done.Key, UploadId: done.UploadId, MaxParts: aws.Int32(2)})
			require.NoError(t, err)
			require.Len(t, listed.Parts, 2)
			require.True(t, *listed.IsTruncated)
			require.Equal(t, "2", *listed.NextPartNumberMarker)
			out, err := c.CompleteMultipartUpload(t.Context(), done)
			require.NoError(t, err)
			require.Equal(t, arn, *out.SSEKMSKeyId)
			require.NotNil(t, out.VersionId)
			require.Equal(t, row.composite, out.ChecksumType == types.ChecksumTypeComposite, out.ChecksumType)
			got := get(t, c, "parts", row.name)
			require.True(t, string(body) == got)
			part, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: done.Bucket, Key: done.Key, PartNumber: aws.Int32(2)})
			require.NoError(t, err)
			got2, err := io.ReadAll(part.Body)
			require.NoError(t, err)
			require.True(t, bytes.Equal(body[minPart:2*minPart], got2))
			require.EqualValues(t, 3, *part.PartsCount)
			require.Equal(t, map[string]string{"m": "1"}, part.Metadata)
			_, err = c.ListParts(t.Context(), &s3.ListPartsInput{Bucket: done.Bucket, Key: done.Key, UploadId: done.UploadId})
			requireCode(t, err, "NoSuchUpload")
		})
	}
}

func TestMultipart_KMSIsAskedAsInAWS(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	c := s3Client(t, s, "alice")
	_, arn := makeKey(t, s)
	makeBucket(t, c, "asked")
	encryptWith(t, c, "asked", arn, false)
	done := uploadParts(t, c, "asked", "k", make([]byte, minPart+1), func(*s3.CreateMultipartUploadInput) {})
	_, err := c.CompleteMultipartUpload(t.Context(), done)
	require.NoError(t, err)
	const object, by = "arn:aws:s3:::asked/k", "fas.s3.amazonaws.com"
	decrypt := keyUse{"Decrypt", "alice", by, object, ""}
	require.Equal(t, []keyUse{{"GenerateDataKey", "alice", by, object, ""}, decrypt, decrypt, decrypt}, keyUses(t, s), "one data key, unwrapped for each part and for the whole")
}

func TestMultipart_Refuses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "refuses")
	body := make([]byte, minPart+1)
	for _, row := range []struct {
		name, code string
		f          func(in *s3.CompleteMultipartUploadInput)
	}{
		{"no parts", "MalformedXML", func(in *s3.CompleteMultipartUploadInput) { in.MultipartUpload.Parts = nil }},
		{"wrong order", "InvalidPartOrder", func(in *s3.CompleteMultipartUploadInput) {
			p := in.MultipartUpload.Parts
			p[0], p[1] = p[1], p[0]
		}},
		{"a part twice", "InvalidPartOrder", func(in *s3.CompleteMultipartUploadInput) {
			in.MultipartUpload.Parts[1] = in.MultipartUpload.Parts[0]
		}},
		{"wrong ETag", "InvalidPart", func(in *s3.CompleteMultipartUploadInput) { in.MultipartUpload.Parts[0].ETag = aws.String(`"x"`) }},
		{"wrong checksum", "InvalidPart", func(in *s3.CompleteMultipartUploadInput) {
			in.MultipartUpload.Parts[0].ChecksumCRC32 = aws.String("AAAAAA==")
		}},
		{"a part that is not there", "InvalidPart", func(in *s3.CompleteMultipartUploadInput) {
			in.MultipartUpload.Parts[1].PartNumber = aws.Int32(7)
		}},
		{"another key", "NoSuchUpload", func(in *s3.CompleteMultipartUploadInput) { in.Key = aws.String("another") }},
		{"no such upload", "NoSuchUpload", func(in *s3.CompleteMultipartUploadInput) { in.UploadId = aws.String("x/00001") }},
		{"another size", "InvalidRequest", func(in *s3.CompleteMultipartUploadInput) { in.MpuObjectSize = aws.Int64(3) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			done := uploadParts(t, c, "refuses", row.name, body, func(*s3.CreateMultipartUploadInput) {})
			row.f(done)
			_, err := c.CompleteMultipartUpload(t.Context(), done)
			requireCode(t, err, row.code)
			_, err = c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("refuses"), Key: &row.name})
			requireCode(t, err, "NotFound")
		})
	}
	t.Run("a small part that is not the last", func(t *testing.T) {
		t.Parallel()
		done := uploadParts(t, c, "refuses", "small", body, func(*s3.CreateMultipartUploadInput) {})
		p, err := c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: done.Bucket, Key: done.Key, UploadId: done.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("small")})
		require.NoError(t, err)
		done.MultipartUpload.Parts[0].ETag, done.MultipartUpload.Parts[0].ChecksumCRC32 = p.ETag, p.ChecksumCRC32
		_, err = c.CompleteMultipartUpload(t.Context(), done)
		requireCode(t, err, "EntityTooSmall")
	})
}

func TestMultipart_Abort(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "aborted")
	for _, key := range []string{"a/1", "a/2", "b"} {
		uploadParts(t, c, "aborted", key, []byte("x"), func(*s3.CreateMultipartUploadInput) {})
	}
	var keys []string
	pages := s3.NewListMultipartUploadsPaginator(c, &s3.ListMultipartUploadsInput{Bucket: aws.String("aborted"), MaxUploads: aws.Int32(1)})
	for pages.HasMorePages() {
		p, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		for _, u := range p.Uploads {
			keys = append(keys, *u.Key)
		}
	}
	require.Equal(t, []string{"a/1", "a/2", "b"}, keys)
	rolled, err := c.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("aborted"), Delimiter: aws.String("/")})
	require.NoError(t, err)
	require.Len(t, rolled.Uploads, 1)
	require.Len(t, rolled.CommonPrefixes, 1)
	_, err = c.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: aws.String("aborted"), Key: aws.String("b"), UploadId: rolled.Uploads[0].UploadId})
	require.NoError(t, err)
	_, err = c.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: aws.String("aborted"), Key: aws.String("b"), UploadId: rolled.Uploads[0].UploadId})
	requireCode(t, err, "NoSuchUpload")
	left, err := os.ReadDir(s.objects())
	require.NoError(t, err)
	require.Len(t, left, 2)
	_, err = c.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: aws.String("aborted")})
	require.NoError(t, err, "uploads that were never completed do not hold a bucket back")
	left, err = os.ReadDir(s.objects())
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestUploadPartCopy(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "copied")
	body := make([]byte, minPart+sealChunk)
	_, _ = rand.Read(body)
	put(t, c, "copied", "from", string(body))
	up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("copied"), Key: aws.String("into")})
	require.NoError(t, err)
	done := &s3.CompleteMultipartUploadInput{Bucket: aws.String("copied"), Key: aws.String("into"), UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{}}
	for i, r := range []string{fmt.Sprintf("bytes=0-%d", minPart-1), fmt.Sprintf("bytes=%d-%d", minPart, len(body)-1)} {
		n := int32(i + 1)
		p, err := c.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{Bucket: done.Bucket, Key: done.Key, UploadId: up.UploadId, PartNumber: &n, CopySource: aws.String("copied/from"), CopySourceRange: &r})
		require.NoError(t, err)
		done.MultipartUpload.Parts = append(done.MultipartUpload.Parts, types.CompletedPart{PartNumber: &n, ETag: p.CopyPartResult.ETag})
	}
	_, err = c.CompleteMultipartUpload(t.Context(), done)
	require.NoError(t, err)
	require.True(t, string(body) == get(t, c, "copied", "into"))
}
