package localaws

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/stretchr/testify/require"
)

// versioned makes a bucket with versioning on.
func versioned(t testing.TB, c *s3.Client, bucket string) {
	t.Helper()
	makeBucket(t, c, bucket)
	setVersioning(t, c, bucket, "Enabled")
}

func setVersioning(t testing.TB, c *s3.Client, bucket string, status types.BucketVersioningStatus) {
	t.Helper()
	_, err := c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: status}})
	require.NoError(t, err)
}

func TestGetObject_Ranges(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "ranges")
	body := make([]byte, 3*sealChunk+100)
	_, _ = rand.Read(body)
	put(t, c, "ranges", "k", string(body))
	put(t, c, "ranges", "empty", "")
	n := len(body)
	for _, row := range []struct {
		header   string
		from, to int // of the body; to < 0 is refused
	}{
		{"bytes=0-0", 0, 1}, {"bytes=5-9", 5, 10}, {"bytes=-7", n - 7, n}, {fmt.Sprintf("bytes=%d-", n-1), n - 1, n},
		{fmt.Sprintf("bytes=%d-%d", sealChunk-1, sealChunk), sealChunk - 1, sealChunk + 1},
		{fmt.Sprintf("bytes=%d-%d", sealChunk, 2*sealChunk-1), sealChunk, 2 * sealChunk},
		{fmt.Sprintf("bytes=100-%d", n+1000), 100, n}, {fmt.Sprintf("bytes=-%d", n+1000), 0, n},
		{"bytes=9-5", 0, n}, {"bytes=a-b", 0, n}, {"lines=1-2", 0, n}, {"bytes=1-2,4-5", 0, n},
		{fmt.Sprintf("bytes=%d-", n), 0, -1}, {"bytes=-0", 0, -1},
	} {
		t.Run(row.header, func(t *testing.T) {
			t.Parallel()
			out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("ranges"), Key: aws.String("k"), Range: &row.header})
			if row.to < 0 {
				requireCode(t, err, "InvalidRange")
				return
			}
			require.NoError(t, err)
			got, err := io.ReadAll(out.Body)
			require.NoError(t, err)
			require.True(t, bytes.Equal(body[row.from:row.to], got))
			if row.to-row.from < n {
				require.Equal(t, fmt.Sprintf("bytes %d-%d/%d", row.from, row.to-1, n), *out.ContentRange)
			}
		})
	}
	_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("ranges"), Key: aws.String("empty"), Range: aws.String("bytes=0-0")})
	requireCode(t, err, "InvalidRange")
}

func TestGetObject_Conditions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "conditions")
	etag := put(t, c, "conditions", "k", "x").ETag
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("conditions"), Key: aws.String("k")})
	require.NoError(t, err)
	for _, row := range []struct {
		name   string
		in     s3.GetObjectInput
		status int
	}{
		{"match", s3.GetObjectInput{IfMatch: etag}, 200},
		{"no match", s3.GetObjectInput{IfMatch: aws.String(`"x"`)}, 412},
		{"none match", s3.GetObjectInput{IfNoneMatch: aws.String(`"x"`)}, 200},
		{"not changed", s3.GetObjectInput{IfNoneMatch: etag}, 304},
		{"modified since", s3.GetObjectInput{IfModifiedSince: &past}, 200},
		{"not modified since", s3.GetObjectInput{IfModifiedSince: head.LastModified}, 304},
		{"since a date in the future", s3.GetObjectInput{IfModifiedSince: &future}, 200},
		{"unmodified since", s3.GetObjectInput{IfUnmodifiedSince: &future}, 200},
		{"not unmodified since", s3.GetObjectInput{IfUnmodifiedSince: &past}, 412},
		{"the ETag goes first", s3.GetObjectInput{IfMatch: etag, IfUnmodifiedSince: &past}, 200},
		{"and so it does here", s3.GetObjectInput{IfNoneMatch: etag, IfModifiedSince: &past}, 304},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.in.Bucket, row.in.Key = aws.String("conditions"), aws.String("k")
			_, err := c.GetObject(t.Context(), &row.in)
			if row.status == 200 {
				require.NoError(t, err)
				return
			}
			var e *awshttp.ResponseError
			require.ErrorAs(t, err, &e)
			require.Equal(t, row.status, e.HTTPStatusCode())
		})
	}
}

func TestPutObject_Conditions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	versioned(t, c, "writes")
	try := func(f func(in *s3.PutObjectInput)) error {
		in := &s3.PutObjectInput{Bucket: aws.String("writes"), Key: aws.String("k"), Body: strings.NewReader("x")}
		f(in)
		_, err := c.PutObject(t.Context(), in)
		return err
	}
	absent := func(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") }
	requireCode(t, try(func(in *s3.PutObjectInput) { in.IfMatch = aws.String(`"x"`) }), "NoSuchKey")
	require.NoError(t, try(absent))
	requireCode(t, try(absent), "PreconditionFailed")
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("writes"), Key: aws.String("k")})
	require.NoError(t, err)
	requireCode(t, try(func(in *s3.PutObjectInput) { in.IfMatch = aws.String(`"x"`) }), "PreconditionFailed")
	require.NoError(t, try(func(in *s3.PutObjectInput) { in.IfMatch = head.ETag }))
	_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("writes"), Key: aws.String("k")})
	require.NoError(t, err)
	require.NoError(t, try(absent), "a delete marker is no object")
}

// A conditional deletion compares the current version's ETag.
func TestDeleteObject_Conditions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "plain")
	versioned(t, c, "versions")
	for _, bucket := range []string{"plain", "versions"} {
		del := func(match string) error {
			_, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: aws.String("k"), IfMatch: &match})
			return err
		}
		requireCode(t, del(`"x"`), "NoSuchKey")
		old := *put(t, c, bucket, "k", "old").ETag
		etag := *put(t, c, bucket, "k", "new").ETag
		requireCode(t, del(old), "PreconditionFailed")
		require.Equal(t, "new", get(t, c, bucket, "k"))
		require.NoError(t, del(etag))
		requireCode(t, del("*"), "NoSuchKey")
		put(t, c, bucket, "k", "again")
		require.NoError(t, del("*"))

		one, two := *put(t, c, bucket, "1", "1").ETag, *put(t, c, bucket, "2", "2").ETag
		out, err := c.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: &bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{
			{Key: aws.String("1"), ETag: &two}, {Key: aws.String("2"), ETag: &two}, {Key: aws.String("3"), ETag: &one},
		}}})
		require.NoError(t, err)
		require.Len(t, out.Deleted, 1)
		require.Equal(t, "2", *out.Deleted[0].Key)
		require.Equal(t, []string{"PreconditionFailed", "NoSuchKey"}, []string{*out.Errors[0].Code, *out.Errors[1].Code})
		require.Equal(t, "1", get(t, c, bucket, "1"))
	}

	// To compare an ETag is to read it.
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::123456789012:user/bob", `{"Statement":{"Effect":"Allow","Action":"s3:DeleteObject","Resource":"*"}}`))
	etag := put(t, c, "plain", "k", "secret").ETag
	_, err := s3Client(t, s, "bob").DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("plain"), Key: aws.String("k"), IfMatch: etag})
	requireCode(t, err, "AccessDenied")
	_, err = s3Client(t, s, "bob").DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("plain"), Key: aws.String("k"), IfMatch: aws.String("*")})
	require.NoError(t, err)
}

// Two callers that each delete what they have read never delete what another
// has written in between: the condition and the deletion are one transaction.
func TestDeleteObject_ConditionAndDeletionAreOneTransaction(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "race")
	for range 30 {
		etag := put(t, c, "race", "k", "old").ETag
		var wrote, deleted error
		var wg sync.WaitGroup
		wg.Go(func() {
			_, wrote = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("race"), Key: aws.String("k"), Body: strings.NewReader("new")})
		})
		wg.Go(func() {
			_, deleted = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("race"), Key: aws.String("k"), IfMatch: etag})
		})
		wg.Wait()
		require.NoError(t, wrote)
		if deleted != nil {
			requireCode(t, deleted, "PreconditionFailed")
		}
		require.Equal(t, "new", get(t, c, "race", "k"), "whichever came first")
	}
}

func TestPutObject_WhatIsSaidOfIt(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "said")
	b, k := aws.String("said"), aws.String("a/b c+d%é")
	expires := "Wed, 21 Oct 2037 07:28:00 GMT"
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: b, Key: k, Body: strings.NewReader("body"), ContentType: aws.String("text/plain"), CacheControl: aws.String("no-store"),
		ContentDisposition: aws.String("attachment"), ContentEncoding: aws.String("identity"), ContentLanguage: aws.String("de"),
		Metadata: map[string]string{"one": "1", "two": ""}, Tagging: aws.String("project=kms&empty="), StorageClass: "STANDARD_IA",
	}, s3.WithAPIOptions(smithyhttp.AddHeaderValue("Expires", expires)))
	require.NoError(t, err)
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: k})
	require.NoError(t, err)
	require.Equal(t, "text/plain", *out.ContentType)
	require.Equal(t, "no-store", *out.CacheControl)
	require.Equal(t, "attachment", *out.ContentDisposition)
	require.Equal(t, "identity", *out.ContentEncoding)
	require.Equal(t, "de", *out.ContentLanguage)
	require.Equal(t, expires, *out.ExpiresString)
	require.Equal(t, map[string]string{"one": "1", "two": ""}, out.Metadata)
	require.EqualValues(t, 2, *out.TagCount)
	require.Equal(t, types.StorageClassStandardIa, out.StorageClass)
	require.Nil(t, out.VersionId, "the bucket has no versions")
	require.Equal(t, `"841a2d689ad86bd1611447453c22c6fc"`, *out.ETag, "the MD5 of what SSE-S3 encrypts")
	tags, err := c.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: b, Key: k})
	require.NoError(t, err)
	require.Equal(t, []types.Tag{{Key: aws.String("empty"), Value: aws.String("")}, {Key: aws.String("project"), Value: aws.String("kms")}}, tags.TagSet)
	_, err = c.PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{Bucket: b, Key: k, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("x"), Value: aws.String("y")}}}})
	require.NoError(t, err)
	_, err = c.DeleteObjectTagging(t.Context(), &s3.DeleteObjectTaggingInput{Bucket: b, Key: k})
	require.NoError(t, err)
	tags, err = c.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: b, Key: k})
	require.NoError(t, err)
	require.Empty(t, tags.TagSet)
	_, err = c.GetObjectAcl(t.Context(), &s3.GetObjectAclInput{Bucket: b, Key: k})
	require.NoError(t, err)
	attr, err := c.GetObjectAttributes(t.Context(), &s3.GetObjectAttributesInput{Bucket: b, Key: k, ObjectAttributes: []types.ObjectAttributes{"ETag", "ObjectSize", "Checksum", "StorageClass"}})
	require.NoError(t, err)
	require.EqualValues(t, 4, *attr.ObjectSize)
	require.NotNil(t, attr.Checksum.ChecksumCRC32)

	url, err := s3.NewPresignClient(c).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: k, ResponseContentType: aws.String("image/png")})
	require.NoError(t, err)
	a, err := httpClient(t, s).Get(url.URL)
	require.NoError(t, err)
	body, err := io.ReadAll(a.Body)
	require.NoError(t, err)
	require.NoError(t, a.Body.Close())
	require.Equal(t, "body", string(body))
	require.Equal(t, "image/png", a.Header.Get("Content-Type"))
}

func TestVersions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	b, k := aws.String("versions"), aws.String("k")
	makeBucket(t, c, "versions")
	require.Nil(t, put(t, c, "versions", "k", "null").VersionId)
	setVersioning(t, c, "versions", "Enabled")
	v1 := put(t, c, "versions", "k", "one").VersionId
	v2 := put(t, c, "versions", "k", "two").VersionId
	require.NotEqual(t, *v1, *v2)
	version := func(id string) string {
		t.Helper()
		out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: k, VersionId: &id})
		require.NoError(t, err)
		body, err := io.ReadAll(out.Body)
		require.NoError(t, err)
		return string(body)
	}
	require.Equal(t, "null", version("null"))
	require.Equal(t, "one", version(*v1))
	require.Equal(t, "two", get(t, c, "versions", "k"))

	del, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: b, Key: k})
	require.NoError(t, err)
	require.True(t, *del.DeleteMarker)
	_, err = c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: k})
	requireCode(t, err, "NoSuchKey")
	_, err = c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: k, VersionId: del.VersionId})
	requireCode(t, err, "MethodNotAllowed")
	_, err = c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: k, VersionId: aws.String("3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrH")})
	requireCode(t, err, "InvalidArgument") // no version ever had this ID
	require.Equal(t, "two", version(*v2))

	// Suspended: the null version is replaced, the others stay.
	setVersioning(t, c, "versions", "Suspended")
	require.Nil(t, put(t, c, "versions", "k", "new null").VersionId)
	require.Equal(t, "new null", version("null"))
	require.Equal(t, "one", version(*v1))
	del2, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: b, Key: k})
	require.NoError(t, err)
	require.Equal(t, "null", *del2.VersionId)

	list, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: b})
	require.NoError(t, err)
	require.Len(t, list.Versions, 2)
	require.Equal(t, []string{*v2, *v1}, []string{*list.Versions[0].VersionId, *list.Versions[1].VersionId}, "the newest first")
	require.Len(t, list.DeleteMarkers, 2)
	require.True(t, *list.DeleteMarkers[0].IsLatest)
	objects, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: b})
	require.NoError(t, err)
	require.Empty(t, objects.Contents)

	// Removing the markers brings the object back.
	out, err := c.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: b, Delete: &types.Delete{Objects: []types.ObjectIdentifier{
		{Key: k, VersionId: aws.String("null")}, {Key: k, VersionId: del.VersionId}, {Key: aws.String("never there"), VersionId: aws.String("null")}}}})
	require.NoError(t, err)
	require.Empty(t, out.Errors)
	require.Len(t, out.Deleted, 3)
	require.True(t, *out.Deleted[0].DeleteMarker)
	require.Equal(t, "two", get(t, c, "versions", "k"))
}

func TestListObjects(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	versioned(t, c, "lists")
	for _, k := range []string{"a", "a!", "b/1", "b/2", "b/c/3", "b!", "c/gone", "d/é", "z"} {
		put(t, c, "lists", k, "x")
		put(t, c, "lists", k, "xy")
	}
	_, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("lists"), Key: aws.String("c/gone")})
	require.NoError(t, err)
	for _, row := range []struct {
		name                     string
		prefix, delimiter, after string
		want                     string // keys, and common prefixes in brackets
	}{
		{"all", "", "", "", "a a! b! b/1 b/2 b/c/3 d/é z"},
		{"rolled up", "", "/", "", "a a! b! z [b/ d/]"},
		{"below", "b/", "/", "", "b/1 b/2 [b/c/]"},
		{"prefix", "b", "", "", "b! b/1 b/2 b/c/3"},
		{"another delimiter", "", "!", "", "b/1 b/2 b/c/3 a d/é z [a! b!]"},
		{"after", "", "", "b/1", "b/2 b/c/3 d/é z"},
		{"after a common prefix", "", "/", "b/", "z [d/]"},
		{"after what is not there", "b/", "", "b/1a", "b/2 b/c/3"},
		{"after everything", "", "", "zz", ""},
		{"nothing", "no", "", "", ""},
	} {
		for _, limit := range []int32{1, 2, 1000} {
			t.Run(fmt.Sprintf("%s by %d", row.name, limit), func(t *testing.T) {
				t.Parallel()
				in := &s3.ListObjectsV2Input{Bucket: aws.String("lists"), Prefix: &row.prefix, MaxKeys: &limit, FetchOwner: aws.Bool(true)}
				old := &s3.ListObjectsInput{Bucket: in.Bucket, Prefix: &row.prefix, MaxKeys: &limit}
				if row.delimiter != "" {
					in.Delimiter, old.Delimiter = &row.delimiter, &row.delimiter
				}
				if row.after != "" {
					in.StartAfter, old.Marker = &row.after, &row.after
				}
				var keys, prefixes []string
				pages := s3.NewListObjectsV2Paginator(c, in)
				for pages.HasMorePages() {
					p, err := pages.NextPage(t.Context())
					require.NoError(t, err)
					require.LessOrEqual(t, *p.KeyCount, limit)
					for _, o := range p.Contents {
						keys = append(keys, *o.Key)
						require.EqualValues(t, 2, *o.Size)
					}
					for _, o := range p.CommonPrefixes {
						prefixes = append(prefixes, *o.Prefix)
					}
				}
				requireList(t, row.want, keys, prefixes)
				keys, prefixes = nil, nil
				for {
					p, err := c.ListObjects(t.Context(), old)
					require.NoError(t, err)
					for _, o := range p.Contents {
						keys = append(keys, *o.Key)
						old.Marker = o.Key
					}
					for _, o := range p.CommonPrefixes {
						prefixes = append(prefixes, *o.Prefix)
					}
					if p.NextMarker != nil {
						old.Marker = p.NextMarker
					}
					if !*p.IsTruncated {
						break
					}
				}
				requireList(t, row.want, keys, prefixes)
			})
		}
	}
	t.Run("versions, a few at a time", func(t *testing.T) {
		t.Parallel()
		n, markers := 0, 0
		pages := s3.NewListObjectVersionsPaginator(c, &s3.ListObjectVersionsInput{Bucket: aws.String("lists"), MaxKeys: aws.Int32(3)})
		for pages.HasMorePages() {
			p, err := pages.NextPage(t.Context())
			require.NoError(t, err)
			for i, v := range p.Versions {
				n++
				require.True(t, i == 0 || *v.IsLatest != *p.Versions[i-1].IsLatest || *v.Key == "c/gone", "every key has one current version")
			}
			markers += len(p.DeleteMarkers)
		}
		require.Equal(t, 18, n)
		require.Equal(t, 1, markers)
	})
}

func requireList(t *testing.T, want string, keys, prefixes []string) {
	t.Helper()
	wantKeys, wantPrefixes, _ := strings.Cut(want, "[")
	require.ElementsMatch(t, strings.Fields(wantKeys), keys)
	require.ElementsMatch(t, strings.Fields(strings.TrimSuffix(wantPrefixes, "]")), prefixes)
}

func TestCopyObject(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	_, arn := makeKey(t, s)
	makeBucket(t, c, "from")
	makeBucket(t, c, "into")
	encryptWith(t, c, "into", arn, false)
	body := strings.Repeat("x", sealChunk+5)
	put(t, c, "from", "a b/é", body, func(in *s3.PutObjectInput) {
		in.Metadata, in.Tagging, in.ContentType = map[string]string{"m": "1"}, aws.String("t=1"), aws.String("text/plain")
	})
	out, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("into"), Key: aws.String("k"), CopySource: aws.String("from/a%20b/%C3%A9")})
	require.NoError(t, err)
	require.Equal(t, arn, *out.SSEKMSKeyId, "the target's default, not the source's")
	require.Equal(t, body, get(t, c, "into", "k"))
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("into"), Key: aws.String("k")})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"m": "1"}, head.Metadata)
	require.Equal(t, "text/plain", *head.ContentType)
	require.EqualValues(t, 1, *head.TagCount)

	again := &s3.CopyObjectInput{Bucket: aws.String("into"), Key: aws.String("k"), CopySource: aws.String("into/k")}
	out, err = c.CopyObject(t.Context(), again)
	require.NoError(t, err, "an unchanged copy re-encrypts an object under KMS")
	require.Equal(t, arn, *out.SSEKMSKeyId)
	require.Equal(t, body, get(t, c, "into", "k"))
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("from"), Key: aws.String("a b/é"), CopySource: aws.String("from/a%20b/%C3%A9")})
	requireCode(t, err, "InvalidRequest")
	again.MetadataDirective, again.Metadata = "REPLACE", map[string]string{"m": "2"}
	_, err = c.CopyObject(t.Context(), again)
	require.NoError(t, err)
	require.Equal(t, body, get(t, c, "into", "k"))
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("into"), Key: aws.String("k"), CopySource: aws.String("from/nothing")})
	requireCode(t, err, "NoSuchKey")
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("into"), Key: aws.String("k"), CopySource: aws.String("from/a%20b/%C3%A9"), CopySourceIfMatch: aws.String(`"x"`)})
	requireCode(t, err, "PreconditionFailed")
}

func TestObjectLock(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newServer(t, func(o *Options) { o.Now = clock.now })
	c := s3Client(t, s, "alice", noRetries)
	b, k := aws.String("locked"), aws.String("k")
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: b, ObjectLockEnabledForBucket: aws.Bool(true)})
	require.NoError(t, err)
	_, err = c.PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{Bucket: b, ObjectLockConfiguration: &types.ObjectLockConfiguration{
		ObjectLockEnabled: "Enabled", Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: "GOVERNANCE", Days: aws.Int32(5)}}}})
	require.NoError(t, err)
	v := put(t, c, "locked", "k", "x").VersionId
	remove := &s3.DeleteObjectInput{Bucket: b, Key: k, VersionId: v}
	_, err = c.DeleteObject(t.Context(), remove)
	requireCode(t, err, "AccessDenied")
	_, err = c.PutObjectLegalHold(t.Context(), &s3.PutObjectLegalHoldInput{Bucket: b, Key: k, VersionId: v, LegalHold: &types.ObjectLockLegalHold{Status: "ON"}})
	require.NoError(t, err)
	remove.BypassGovernanceRetention = aws.Bool(true)
	_, err = c.DeleteObject(t.Context(), remove)
	requireCode(t, err, "AccessDenied")
	_, err = c.PutObjectLegalHold(t.Context(), &s3.PutObjectLegalHoldInput{Bucket: b, Key: k, VersionId: v, LegalHold: &types.ObjectLockLegalHold{Status: "OFF"}})
	require.NoError(t, err)
	until := clock.now().Add(10 * 24 * time.Hour)
	_, err = c.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{Bucket: b, Key: k, VersionId: v, Retention: &types.ObjectLockRetention{Mode: "COMPLIANCE", RetainUntilDate: &until}})
	require.NoError(t, err)
	got, err := c.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: b, Key: k, VersionId: v})
	require.NoError(t, err)
	require.EqualValues(t, "COMPLIANCE", got.Retention.Mode)
	_, err = c.DeleteObject(t.Context(), remove)
	requireCode(t, err, "AccessDenied")
	earlier := until.Add(-24 * time.Hour)
	for _, weaker := range []types.ObjectLockRetention{{Mode: "COMPLIANCE", RetainUntilDate: &earlier}, {Mode: "GOVERNANCE", RetainUntilDate: &until}, {}} {
		_, err = c.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{Bucket: b, Key: k, VersionId: v, Retention: &weaker, BypassGovernanceRetention: aws.Bool(true)})
		requireCode(t, err, "AccessDenied")
	}
	clock.advance(11 * 24 * time.Hour)
	_, err = c.DeleteObject(t.Context(), remove)
	require.NoError(t, err)
	_, err = c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: b, VersioningConfiguration: &types.VersioningConfiguration{Status: "Suspended"}})
	requireCode(t, err, "InvalidBucketState")
}

func TestS3_VirtualHostStyle(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.URL(), "https://"))
	require.NoError(t, err)
	for _, host := range []string{"localhost", "s3.localhost", "s3.us-east-1.localhost"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			cfg := awsConfig(t, s, "alice", config.WithBaseEndpoint("https://"+host+":"+port))
			cfg.HTTPClient = httpClient(t, s) // finds names below localhost without asking DNS
			c := s3.NewFromConfig(cfg)
			bucket := "style-" + bucketFor(host)
			makeBucket(t, c, bucket)
			put(t, c, bucket, "k/1", "x")
			require.Equal(t, "x", get(t, c, bucket, "k/1"))
			list, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
			require.NoError(t, err)
			require.Len(t, list.Contents, 1)
			require.Equal(t, "x", get(t, s3Client(t, s, "alice"), bucket, "k/1"), "path style finds the same")
			buckets, err := c.ListBuckets(t.Context(), nil)
			require.NoError(t, err)
			require.NotEmpty(t, buckets.Buckets)
		})
	}
}

func TestS3_Restart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newServer(t, func(o *Options) { o.Dir = dir })
	c := s3Client(t, s, "alice")
	_, arn := makeKey(t, s)
	versioned(t, c, "kept")
	encryptWith(t, c, "kept", arn, true)
	put(t, c, "kept", "k", "x")
	upload, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("kept"), Key: aws.String("big")})
	require.NoError(t, err)
	part, err := c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: aws.String("kept"), Key: aws.String("big"), UploadId: upload.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("part")})
	require.NoError(t, err)
	orphan := filepath.Join(dir, "objects", "0123456789abcdef0123456789abcdef")
	require.NoError(t, os.WriteFile(orphan, []byte("left by a kill"), 0o600))
	require.NoError(t, s.Close())

	s = newServer(t, func(o *Options) { o.Dir = dir })
	c = s3Client(t, s, "alice")
	require.NoFileExists(t, orphan)
	require.Equal(t, "x", get(t, c, "kept", "k"))
	_, err = c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: aws.String("kept"), Key: aws.String("big"), UploadId: upload.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32}}}})
	require.NoError(t, err)
	require.Equal(t, "part", get(t, c, "kept", "big"))
}

// S3 decodes values of an object's metadata that are not plain ASCII as RFC 2047
// says, and encodes them again before it returns them. Until localaws does so too, it
// must not return other bytes than S3.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
func TestPutObject_MetadataThatS3WouldEncode(t *testing.T) {
	t.Parallel()
	c := s3Client(t, newServer(t), "alice")
	makeBucket(t, c, "encoded")
	put := func(value string) error {
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("encoded"), Key: aws.String("k"), Metadata: map[string]string{"m": value}})
		return err
	}
	for _, value := range []string{"é", "日本", "=?UTF-8?B?w6k=?="} {
		requireCode(t, put(value), "NotImplemented")
	}
	require.NoError(t, put("a = b? ~ c"))
	_, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("encoded"), Key: aws.String("k"), Metadata: map[string]string{"m": "é"}})
	requireCode(t, err, "NotImplemented")
}

// An operation that localaws does not have is not called by the name of another one.
func TestRenameObject_IsRefusedByItsOwnParameter(t *testing.T) {
	t.Parallel()
	c := s3Client(t, newServer(t), "alice")
	makeBucket(t, c, "renames")
	_, err := c.RenameObject(t.Context(), &s3.RenameObjectInput{Bucket: aws.String("renames"), Key: aws.String("new"), RenameSource: aws.String("old")})
	requireCode(t, err, "NotImplemented")
	require.ErrorContains(t, err, "the query parameter renameObject")
}
