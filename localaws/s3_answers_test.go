package localaws

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

// Answers that differ where an emulator guesses.

// A client that deletes each page of a listing empties the bucket.
func TestListObjectVersions_PageAndDelete(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "pages")
	put(t, c, "pages", "a", "before versioning")
	setVersioning(t, c, "pages", types.BucketVersioningStatusEnabled)
	for range 3 {
		put(t, c, "pages", "a", "a")
		put(t, c, "pages", "b", "b")
	}
	_, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("pages"), Key: aws.String("a")})
	require.NoError(t, err)

	in := &s3.ListObjectVersionsInput{Bucket: aws.String("pages"), MaxKeys: aws.Int32(1)}
	for range 20 {
		out, err := c.ListObjectVersions(t.Context(), in)
		require.NoError(t, err)
		var ids []types.ObjectIdentifier
		for _, v := range out.Versions {
			ids = append(ids, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, m := range out.DeleteMarkers {
			ids = append(ids, types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
		require.Len(t, ids, 1)
		_, err = c.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: aws.String("pages"), Delete: &types.Delete{Objects: ids}})
		require.NoError(t, err)
		if !*out.IsTruncated {
			break
		}
		in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
	}
	_, err = c.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: aws.String("pages")})
	require.NoError(t, err)
}

// Without deletions every version is listed once, and one of each key is the latest.
func TestListObjectVersions_Pages(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "pages")
	put(t, c, "pages", "a", "before versioning")
	setVersioning(t, c, "pages", types.BucketVersioningStatusEnabled)
	for range 3 {
		put(t, c, "pages", "a", "a")
		put(t, c, "pages", "b", "b")
	}
	seen, latest := map[string]bool{}, map[string]int{}
	p := s3.NewListObjectVersionsPaginator(c, &s3.ListObjectVersionsInput{Bucket: aws.String("pages"), MaxKeys: aws.Int32(1)})
	for p.HasMorePages() {
		out, err := p.NextPage(t.Context())
		require.NoError(t, err)
		for _, v := range out.Versions {
			require.False(t, seen[*v.Key+*v.VersionId])
			seen[*v.Key+*v.VersionId] = true
			if *v.IsLatest {
				latest[*v.Key]++
			}
		}
	}
	require.Len(t, seen, 7)
	require.Equal(t, map[string]int{"a": 1, "b": 1}, latest)
	_, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("pages"), KeyMarker: aws.String("a"), VersionIdMarker: aws.String("x")})
	requireCode(t, err, "InvalidArgument")
}

// A client that lost the answer to CompleteMultipartUpload gets it again.
func TestCompleteMultipartUpload_Again(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "again")
	done := uploadParts(t, c, "again", "k", []byte("content"), func(*s3.CreateMultipartUploadInput) {})
	first, err := c.CompleteMultipartUpload(t.Context(), done)
	require.NoError(t, err)
	second, err := c.CompleteMultipartUpload(t.Context(), done)
	require.NoError(t, err)
	require.Equal(t, *first.ETag, *second.ETag)
	require.Equal(t, *first.ChecksumCRC64NVME, *second.ChecksumCRC64NVME)
	require.Equal(t, "content", get(t, c, "again", "k"))

	_, err = c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: aws.String("again"), Key: aws.String("k"), UploadId: done.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x")})
	requireCode(t, err, "NoSuchUpload")
	_, err = c.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: aws.String("again"), Key: aws.String("k"), UploadId: done.UploadId})
	requireCode(t, err, "NoSuchUpload")
	list, err := c.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("again")})
	require.NoError(t, err)
	require.Empty(t, list.Uploads)
	done.MultipartUpload.Parts[0].ETag = aws.String(`"x"`)
	_, err = c.CompleteMultipartUpload(t.Context(), done)
	requireCode(t, err, "NoSuchUpload")
	require.NoError(t, s.Close())
}

func TestCreateBucket_InAnotherRegionThroughUSEast1(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	create := func(c *s3.Client, name, region string) error {
		_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name,
			CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(region)}})
		return err
	}
	require.NoError(t, create(s3Client(t, s, "alice"), "abroad", "eu-central-1"))
	c := s3Client(t, s, "alice", inRegion("eu-central-1"))
	put(t, c, "abroad", "k", "x")
	where, err := c.GetBucketLocation(t.Context(), &s3.GetBucketLocationInput{Bucket: aws.String("abroad")})
	require.NoError(t, err)
	require.Equal(t, "eu-central-1", string(where.LocationConstraint))
	requireCode(t, create(c, "elsewhere", "us-west-2"), "IllegalLocationConstraintException")
	requireCode(t, create(s3Client(t, s, "alice"), "abroad", "eu-central-1"), "BucketAlreadyOwnedByYou")
}

func TestReplicateKey_IsCreating(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	k := made(t, c, func(in *kms.CreateKeyInput) { in.MultiRegion = aws.Bool(true) })
	out, err := c.ReplicateKey(t.Context(), &kms.ReplicateKeyInput{KeyId: k.KeyId, ReplicaRegion: aws.String("eu-west-1")})
	require.NoError(t, err)
	require.Equal(t, "Creating", string(out.ReplicaKeyMetadata.KeyState))
	require.Equal(t, "Enabled", string(described(t, kmsClient(t, s, "alice", inRegion("eu-west-1")), *k.KeyId).KeyState))
}

func TestDecrypt_InAnotherRegion(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	blob := encrypted(t, c, *made(t, c).KeyId, "secret", nil)
	_, err := kmsClient(t, s, "alice", inRegion("eu-west-1")).Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob})
	requireCode(t, err, "AccessDeniedException")
	require.ErrorContains(t, err, "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.")
}

func TestPresigned_Expires(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64 // the SDK signs with the time of this machine
	s := newServer(t, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) } })
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "signed")
	put(t, c, "signed", "k", "x")
	presigned, err := s3.NewPresignClient(c).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("signed"), Key: aws.String("k")}, s3.WithPresignExpires(time.Hour))
	require.NoError(t, err)
	get := func() (int, string) { return send(t, s, "GET", strings.TrimPrefix(presigned.URL, s.URL()), "", nil) }
	status, body := get()
	require.Equal(t, http.StatusOK, status, body)
	offset.Store(int64(2 * time.Hour))
	status, body = get()
	require.Equal(t, http.StatusForbidden, status)
	require.Equal(t, "AccessDenied", errorCode(t, body))
	require.Contains(t, body, "Request has expired")
	require.Contains(t, body, "<X-Amz-Expires>3600</X-Amz-Expires>") // recorded: localstack test_s3.py, test_s3_presigned_url_expired
	require.Regexp(t, `<Expires>[^<]+Z</Expires><ServerTime>[^<]+Z</ServerTime>`, body)
}

func TestPresigned_HeadersAreTheSignedOnes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "signed")
	presigned, err := s3.NewPresignClient(c).PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("signed"), Key: aws.String("k"),
		ServerSideEncryption: types.ServerSideEncryptionAes256, Metadata: map[string]string{"a": "b"}})
	require.NoError(t, err)
	try := func(change func(http.Header)) (int, string) {
		headers := map[string]string{}
		h := presigned.SignedHeader.Clone()
		h.Del("Host")
		change(h)
		for k := range h {
			headers[k] = h.Get(k)
		}
		return send(t, s, presigned.Method, strings.TrimPrefix(presigned.URL, s.URL()), "", headers)
	}
	status, body := try(func(http.Header) {})
	require.Equal(t, http.StatusOK, status, body)
	status, body = try(func(h http.Header) { h.Set("X-Amz-Acl", "bucket-owner-full-control") })
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, body, "<HeadersNotSigned>x-amz-acl</HeadersNotSigned>")
	status, body = try(func(h http.Header) { h.Del("X-Amz-Meta-A") })
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, body, "<Code>SignatureDoesNotMatch</Code>")
}

func TestBucketPolicy_ConditionKeysOfTagsAndSignatures(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	const bucket = "tagged"
	makeBucket(t, c, bucket)
	write := func(key, tags string) error {
		in := &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader("x")}
		if tags != "" {
			in.Tagging = &tags
		}
		_, err := c.PutObject(t.Context(), in)
		return err
	}
	read := func(key string) error {
		_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
		return err
	}
	tag := func(key, value string) error {
		_, err := c.PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{Bucket: aws.String(bucket), Key: aws.String("plain"),
			Tagging: &types.Tagging{TagSet: []types.Tag{{Key: &key, Value: &value}}}})
		return err
	}
	require.NoError(t, write("plain", ""))
	require.NoError(t, write("secret", "class=secret"))
	deny := func(action, condition string) {
		setPolicy(t, c, bucket, `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"`+action+`","Resource":"arn:aws:s3:::tagged/*","Condition":`+condition+`}]}`)
	}
	deny("s3:GetObject", `{"StringEquals":{"s3:ExistingObjectTag/class":"secret"}}`)
	require.NoError(t, read("plain"))
	requireCode(t, read("secret"), "AccessDenied")

	deny("s3:PutObject", `{"StringNotEquals":{"s3:RequestObjectTag/class":"open"}}`)
	require.NoError(t, write("k", "class=open"))
	requireCode(t, write("k", "class=secret"), "AccessDenied")
	requireCode(t, write("k", ""), "AccessDenied")

	deny("s3:PutObjectTagging", `{"ForAnyValue:StringEquals":{"s3:RequestObjectTagKeys":["owner"]}}`)
	require.NoError(t, tag("class", "open"))
	requireCode(t, tag("owner", "me"), "AccessDenied")
	requireCode(t, write("k", "owner=me"), "AccessDenied")

	deny("s3:PutObject", `{"Bool":{"s3:ObjectCreationOperation":"false"}}`)
	require.NoError(t, write("k", ""))
	_, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: aws.String("k")})
	requireCode(t, err, "AccessDenied")

	presigned, err := s3.NewPresignClient(c).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("plain")})
	require.NoError(t, err)
	get := func() int {
		status, _ := send(t, s, "GET", strings.TrimPrefix(presigned.URL, s.URL()), "", nil)
		return status
	}
	deny("s3:GetObject", `{"NumericGreaterThan":{"s3:signatureAge":"600000"}}`)
	require.Equal(t, http.StatusOK, get())
	deny("s3:GetObject", `{"NumericGreaterThan":{"s3:signatureAge":"-1"}}`)
	require.Equal(t, http.StatusForbidden, get())

	for condition, code := range map[string]string{
		`{"StringEquals":{"s3:AccessPointNetworkOrigin":"VPC"}}`:               "",
		`{"NumericLessThan":{"s3:object-lock-remaining-retention-days":"10"}}`: "NotImplemented",
		`{"StringEquals":{"s3:Unheard":"x"}}`:                                  "MalformedPolicy",
	} {
		doc := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::tagged/*","Condition":` + condition + `}]}`
		_, err := c.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(bucket), Policy: &doc})
		if code == "" {
			require.NoError(t, err)
			continue
		}
		requireCode(t, err, code)
	}
	for _, principal := range []string{`{"AWS":"bob"}`, `{"AWS":"arn:aws:iam::123:user/bob"}`, `{"AWS":"arn:aws:iam::123456789012:group/all"}`, `{"Service":"unknown"}`, `"bob"`, `{}`} {
		doc := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":"s3:GetObject","Resource":"arn:aws:s3:::tagged/*"}]}`
		_, err := c.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(bucket), Policy: &doc})
		requireCode(t, err, "MalformedPolicy")
		require.ErrorContains(t, err, "Invalid principal in policy", principal)
	}
}

func TestS3_AnswersOfHeaders(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("headers"), ObjectLockEnabledForBucket: aws.Bool(true)})
	require.NoError(t, err)
	etag := *put(t, c, "headers", "k", "x").ETag
	signed := func(more map[string]string) map[string]string {
		h := map[string]string{"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD", "Authorization": signature("alice", "us-east-1", "s3")}
		for k, v := range more {
			h[k] = v
		}
		return h
	}
	answer := func(method, path string, headers map[string]string) *http.Response {
		h, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, nil)
		require.NoError(t, err)
		for k, v := range headers {
			h.Header.Set(k, v)
		}
		out, err := httpClient(t, s).Do(h)
		require.NoError(t, err)
		require.NoError(t, out.Body.Close())
		return out
	}
	out := answer("GET", "/headers/k", signed(map[string]string{"If-None-Match": etag}))
	require.Equal(t, http.StatusNotModified, out.StatusCode)
	require.Equal(t, etag, out.Header.Get("Etag"))
	for owner, want := range map[string]int{"123456789012": 200, "999999999999": 403, "alice": 400, "": 400} {
		require.Equal(t, want, answer("GET", "/headers/k", signed(map[string]string{"X-Amz-Expected-Bucket-Owner": owner})).StatusCode, owner)
	}
	out = answer("HEAD", "/headers", map[string]string{"Authorization": signature("999999999999", "us-east-1", "s3"), "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"})
	require.Equal(t, http.StatusForbidden, out.StatusCode)
	require.Equal(t, "us-east-1", out.Header.Get("X-Amz-Bucket-Region"))

	_, err = c.GetObjectLegalHold(t.Context(), &s3.GetObjectLegalHoldInput{Bucket: aws.String("headers"), Key: aws.String("k")})
	requireCode(t, err, "NoSuchObjectLockConfiguration")
	put(t, c, "headers", "off", "x", func(in *s3.PutObjectInput) { in.ObjectLockLegalHoldStatus = types.ObjectLockLegalHoldStatusOff })
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("headers"), Key: aws.String("off")})
	require.NoError(t, err)
	require.Equal(t, types.ObjectLockLegalHoldStatusOff, head.ObjectLockLegalHoldStatus)
	hold, err := c.GetObjectLegalHold(t.Context(), &s3.GetObjectLegalHoldInput{Bucket: aws.String("headers"), Key: aws.String("off")})
	require.NoError(t, err)
	require.Equal(t, types.ObjectLockLegalHoldStatusOff, hold.LegalHold.Status)
}

// An archived object has no content before it was restored, which localaws does
// not do; the rest of it can be read, changed and deleted.
func TestS3_ArchivedObjects(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	_, arn := makeKey(t, s)
	makeBucket(t, c, "archive")
	for _, class := range []types.StorageClass{types.StorageClassGlacier, types.StorageClassDeepArchive, types.StorageClassGlacierIr} {
		put(t, c, "archive", "k", "x", func(in *s3.PutObjectInput) { in.StorageClass = class })
		head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("archive"), Key: aws.String("k")})
		require.NoError(t, err)
		require.Equal(t, class, head.StorageClass)
		if class == types.StorageClassGlacierIr {
			require.Equal(t, "x", get(t, c, "archive", "k"))
			continue
		}
		_, err = c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("archive"), Key: aws.String("k")})
		var archived *types.InvalidObjectState
		require.ErrorAs(t, err, &archived)
		require.Equal(t, class, archived.StorageClass)
		_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("archive"), Key: aws.String("copy"), CopySource: aws.String("archive/k")})
		requireCode(t, err, "InvalidObjectState")
		_, err = c.UpdateObjectEncryption(t.Context(), updateTo("archive", arn, true))
		require.NoError(t, err, "encryption is changed without a restore")
		_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("archive"), Key: aws.String("k")})
		require.NoError(t, err)
	}
}

func TestCompleteMultipartUpload_IfMatchAfterAnotherWrite(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newServer(t, func(o *Options) { o.Now = clock.now })
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "conditions")
	complete := func(between func()) error {
		etag := put(t, c, "conditions", "k", "x").ETag
		clock.advance(time.Second)
		up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("conditions"), Key: aws.String("k")})
		require.NoError(t, err)
		part, err := c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: aws.String("conditions"), Key: aws.String("k"), UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("y")})
		require.NoError(t, err)
		clock.advance(time.Second)
		between()
		_, err = c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: aws.String("conditions"), Key: aws.String("k"), UploadId: up.UploadId, IfMatch: etag,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag}}}})
		return err
	}
	require.NoError(t, complete(func() {}))
	requireCode(t, complete(func() { put(t, c, "conditions", "k", "x") }), "ConditionalRequestConflict") // of the same ETag
	requireCode(t, complete(func() { put(t, c, "conditions", "k", "z") }), "PreconditionFailed")
}

// A copy has the redirect of its own request, and never that of its source.
func TestCopyObject_WebsiteRedirect(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "site")
	put(t, c, "site", "k", "x", func(in *s3.PutObjectInput) {
		in.WebsiteRedirectLocation, in.CacheControl = aws.String("/elsewhere"), aws.String("no-cache")
	})
	for redirect, want := range map[string]*string{"": nil, "/new": aws.String("/new")} {
		in := &s3.CopyObjectInput{Bucket: aws.String("site"), Key: aws.String("copy"), CopySource: aws.String("site/k")}
		if redirect != "" {
			in.WebsiteRedirectLocation = &redirect
		}
		_, err := c.CopyObject(t.Context(), in)
		require.NoError(t, err)
		head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("site"), Key: aws.String("copy")})
		require.NoError(t, err)
		require.Equal(t, want, head.WebsiteRedirectLocation)
		require.Equal(t, "no-cache", *head.CacheControl)
	}
}

func TestS3_SettingsKeepWhatWasSaid(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "said")
	versioning := func(mfa types.MFADelete) *s3.GetBucketVersioningOutput {
		_, err := c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String("said"), VersioningConfiguration: &types.VersioningConfiguration{Status: "Enabled", MFADelete: mfa}})
		require.NoError(t, err)
		out, err := c.GetBucketVersioning(t.Context(), &s3.GetBucketVersioningInput{Bucket: aws.String("said")})
		require.NoError(t, err)
		return out
	}
	require.Empty(t, versioning("").MFADelete)
	require.Equal(t, types.MFADeleteStatusDisabled, versioning("Disabled").MFADelete)
	require.Equal(t, types.MFADeleteStatusDisabled, versioning("").MFADelete)

	grants := []types.TargetGrant{{Permission: types.BucketLogsPermissionRead, Grantee: &types.Grantee{Type: types.TypeGroup, URI: aws.String("http://acs.amazonaws.com/groups/global/AuthenticatedUsers")}}}
	_, err := c.PutBucketLogging(t.Context(), &s3.PutBucketLoggingInput{Bucket: aws.String("said"), BucketLoggingStatus: &types.BucketLoggingStatus{
		LoggingEnabled: &types.LoggingEnabled{TargetBucket: aws.String("said"), TargetPrefix: aws.String("log/"), TargetGrants: grants}}})
	require.NoError(t, err)
	out, err := c.GetBucketLogging(t.Context(), &s3.GetBucketLoggingInput{Bucket: aws.String("said")})
	require.NoError(t, err)
	require.Equal(t, grants, out.LoggingEnabled.TargetGrants)
}
