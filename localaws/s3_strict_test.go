package localaws

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

// No input is ignored: an operation serves it, or refuses the request.

const presigned = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=alice%2F20260301%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260301T000000Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host&X-Amz-Signature=00"

func TestS3_RefusesWhatAnOperationDoesNotModel(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "strict")
	put(t, c, "strict", "k", "kept")
	upload, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("strict"), Key: aws.String("parts")})
	require.NoError(t, err)
	part := "/strict/parts?partNumber=1&uploadId=" + *upload.UploadId
	type h = map[string]string
	crc32 := h{"X-Amz-Checksum-Crc32": sum64("crc32", "")}
	with := func(a h, name, value string) h {
		out := h{name: value}
		for k, v := range a {
			out[k] = v
		}
		return out
	}
	source := h{"X-Amz-Copy-Source": "strict/k"}
	customer := h{"X-Amz-Server-Side-Encryption-Customer-Algorithm": "AES256"}
	const lifecycle, logging = "/strict?lifecycle", "/strict?logging"
	rule := func(inside string) string {
		return "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/>" + inside + "</Rule></LifecycleConfiguration>"
	}
	for _, row := range []struct {
		name, method, path, body string
		headers                  h
		code, what               string // error code, and what its message or an element of it says
	}{
		{"header as a query parameter without a presigned URL", "PUT", "/strict/k?x-amz-server-side-encryption=AES256", "x", nil, "NotImplemented", "x-amz-server-side-encryption"},
		{"anonymous header as a query parameter", "PUT", "/strict/k?x-amz-acl=private", "x", h{"Authorization": ""}, "NotImplemented", "x-amz-acl"},
		{"parameter of a presigned URL in another spelling", "PUT", "/strict/k?X-AMZ-ACL=private&" + presigned, "x", h{"Authorization": ""}, "NotImplemented", "X-AMZ-ACL"},
		{"date in another spelling", "PUT", "/strict/k?x-amz-date=20260301T000000Z&" + presigned, "x", h{"Authorization": ""}, "NotImplemented", "x-amz-date"},
		{"header and another parameter of its name", "PUT", "/strict/k?x-amz-storage-class=GLACIER&" + strings.Replace(presigned, "=host", "=host%3Bx-amz-storage-class", 1), "x", h{"Authorization": "", "X-Amz-Storage-Class": "STANDARD"}, "NotImplemented", "x-amz-storage-class"},
		{"two signatures", "GET", "/strict/k?" + presigned, "", nil, "InvalidArgument", "Only one auth mechanism allowed"},
		{"half a signature", "GET", "/strict/k?X-Amz-Algorithm=AWS4-HMAC-SHA256", "", h{"Authorization": ""}, "AuthorizationQueryParametersError", "requires the X-Amz-Algorithm"},
		{"If-None-Match of a beginning upload", "POST", "/strict/new?uploads", "", h{"If-None-Match": "*"}, "NotImplemented", "if-none-match"},
		{"If-Match of a part", "PUT", part, "x", h{"If-Match": "x"}, "NotImplemented", "if-match"},
		{"If-None-Match of a deletion", "DELETE", "/strict/k", "", h{"If-None-Match": "*"}, "NotImplemented", "if-none-match"},
		{"If-Unmodified-Since of a write", "PUT", "/strict/k", "x", h{"If-Unmodified-Since": "Sun, 01 Mar 2020 00:00:00 GMT"}, "NotImplemented", "if-unmodified-since"},
		{"If-Modified-Since of a write", "PUT", "/strict/k", "x", h{"If-Modified-Since": "Sun, 01 Mar 2020 00:00:00 GMT"}, "NotImplemented", "if-modified-since"},
		{"part of an object", "PUT", "/strict/k", "x", h{"Content-Range": "bytes 1-1/4"}, "NotImplemented", "content-range"},
		{"range of a listing", "GET", "/strict", "", h{"Range": "bytes=0-1"}, "NotImplemented", "range"},
		{"body of a deletion", "DELETE", "/strict/k", "x", nil, "NotImplemented", "a body"},
		{"body of a copy", "PUT", "/strict/new", "x", source, "NotImplemented", "a body"},
		{"body of a copied part", "PUT", part, "x", source, "NotImplemented", "a body"},
		{"body of a beginning upload", "POST", "/strict/new?uploads", "x", nil, "NotImplemented", "a body"},
		{"checksum of a read", "GET", "/strict/k", "", crc32, "NotImplemented", "x-amz-checksum-crc32"},
		{"checksum of a copy", "PUT", "/strict/new", "", with(source, "X-Amz-Checksum-Crc32", sum64("crc32", "kept")), "NotImplemented", "x-amz-checksum-crc32"},
		{"owner of a bucket that is to be made", "PUT", "/strict-new", "", h{"X-Amz-Expected-Bucket-Owner": "123456789012"}, "NotImplemented", "x-amz-expected-bucket-owner"},
		{"neither with nor without Object Lock", "PUT", "/strict-new", "", h{"X-Amz-Bucket-Object-Lock-Enabled": "yes"}, "InvalidArgument", "true or false"},
		{"Bucket Key without KMS", "PUT", "/strict/k", "x", h{"X-Amz-Server-Side-Encryption-Bucket-Key-Enabled": "true"}, "NotImplemented", "Bucket Key"},
		{"unknown checksum mode", "GET", "/strict/k", "", h{"X-Amz-Checksum-Mode": "on"}, "InvalidRequest", "x-amz-checksum-mode"},
		{"version without an ID", "DELETE", "/strict/k?versionId=", "", nil, "InvalidArgument", "empty string"},
		{"version of a part", "PUT", part + "&versionId=null", "x", nil, "InvalidArgument", "does not accept a version-id"},
		{"source without an ID", "PUT", "/strict/new", "", h{"X-Amz-Copy-Source": "strict/k?versionId="}, "InvalidArgument", "empty string"},
		{"source that is no version", "PUT", "/strict/new", "", h{"X-Amz-Copy-Source": "strict/k?versionId=abc"}, "InvalidRequest", "Invalid Request"},
		{"source of a part that is no version", "PUT", part, "", h{"X-Amz-Copy-Source": "strict/k?versionId=abc"}, "InvalidArgument", "Invalid version id specified"},
		{"two documents", "PUT", "/strict?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration><VersioningConfiguration/>", nil, "MalformedXML", ""},
		{"two values", "PUT", "/strict?versioning", "<VersioningConfiguration><Status>Suspended</Status><Status>Enabled</Status></VersioningConfiguration>", nil, "MalformedXML", ""},
		{"two lists", "PUT", "/strict?tagging", "<Tagging><TagSet><Tag><Key>a</Key><Value/></Tag></TagSet><TagSet><Tag><Key>b</Key><Value/></Tag></TagSet></Tagging>", nil, "MalformedXML", ""},
		{"unknown action of a lifecycle rule", "PUT", lifecycle, rule("<Expiration><Days>1</Days><Hours>1</Hours></Expiration>"), nil, "NotImplemented", "Hours"},
		{"days that are no number", "PUT", lifecycle, rule("<Expiration><Days>one</Days></Expiration>"), nil, "MalformedXML", ""},
		{"expiration before the object", "PUT", lifecycle, rule("<Expiration><Days>0</Days></Expiration>"), nil, "InvalidArgument", "positive integer"},
		{"unknown element of logging", "PUT", logging, "<BucketLoggingStatus><LoggingEnabled><TargetBucket>strict</TargetBucket><TargetPrefix/><Format/></LoggingEnabled></BucketLoggingStatus>", nil, "NotImplemented", "Format"},
		{"SSE-C with a KMS key", "PUT", "/strict/k", "x", with(customer, "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "alias/a"), "AccessDenied", "SSE-C"},
	} {
		t.Run(row.name, func(t *testing.T) { // one bucket, one write at a time
			headers := h{}
			for k, v := range row.headers {
				headers[k] = v
			}
			got := s3Error(t, s, row.method, row.path, row.body, headers)
			require.Equal(t, row.code, got["Code"], got)
			require.Contains(t, got["Message"], row.what)
			require.Equal(t, "kept", get(t, c, "strict", "k"))
		})
	}
	listed, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("strict")})
	require.NoError(t, err)
	require.Len(t, listed.Contents, 1)
	bare, err := c.ListParts(t.Context(), &s3.ListPartsInput{Bucket: aws.String("strict"), Key: aws.String("parts"), UploadId: upload.UploadId})
	require.NoError(t, err)
	require.Empty(t, bare.Parts)
}

func TestPresignedURL_CarriesHeadersInItsQuery(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "hoisted")
	now := strings.Replace(presigned, "20260301T000000Z", time.Now().UTC().Format("20060102T150405Z"), 1)
	status, answer := send(t, s, "PUT", "/hoisted/k?x-amz-meta-color=blue&x-amz-storage-class=STANDARD_IA&"+now, "x", nil)
	require.Equal(t, http.StatusOK, status, answer)
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("hoisted"), Key: aws.String("k")})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"color": "blue"}, head.Metadata)
	require.Equal(t, types.StorageClassStandardIa, head.StorageClass)
}

func TestGetObject_IfRange(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "ranges")
	etag := *put(t, c, "ranges", "k", "0123456789").ETag
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("ranges"), Key: aws.String("k")})
	require.NoError(t, err)
	written := head.LastModified.UTC().Format(http.TimeFormat)
	for value, want := range map[string]int{etag: 206, written: 206, `"another"`: 200, "W/" + etag: 200, "Sun, 01 Mar 2020 00:00:00 GMT": 200} {
		status, _ := send(t, s, "GET", "/ranges/k", "", map[string]string{"Authorization": signature("alice", "us-east-1", "s3"), "Range": "bytes=1-2", "If-Range": value})
		require.Equal(t, want, status, value)
	}
}

// Seen on AWS by others: see docs/conformance.md.
func TestDeleteObjects_DeletesOnceWhatIsNamedTwice(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	versioned(t, c, "twice")
	put(t, c, "twice", "k", "x")
	key := types.ObjectIdentifier{Key: aws.String("k")}
	out, err := c.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: aws.String("twice"), Delete: &types.Delete{Objects: []types.ObjectIdentifier{key, key}}})
	require.NoError(t, err)
	require.Len(t, out.Deleted, 1)
	versions, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("twice")})
	require.NoError(t, err)
	require.Len(t, versions.DeleteMarkers, 1)
	version := types.ObjectIdentifier{Key: aws.String("k"), VersionId: versions.Versions[0].VersionId}
	out, err = c.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: aws.String("twice"), Delete: &types.Delete{Objects: []types.ObjectIdentifier{key, version}}})
	require.NoError(t, err)
	require.Len(t, out.Deleted, 2, "a version is something else than its key")
}
