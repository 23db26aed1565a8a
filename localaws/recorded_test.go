package localaws

import (
	"encoding/xml"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

// The expectations of this file are answers that AWS gave to others, named at each: tests/aws/services
// of LocalStack with the recordings next to them (*.snapshot.json), and moto's tests with the mark
// aws_verified. docs/conformance.md has the counts, and how to run all of them.

// s3Error is the error that S3 answers to a request, its elements separated; empty for a success.
func s3Error(t *testing.T, s *Server, method, path, body string, headers map[string]string) map[string]string {
	t.Helper()
	all := map[string]string{"Authorization": signature("alice", "us-east-1", "s3"), "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}
	for k, v := range headers {
		all[k] = v
	}
	status, answer := send(t, s, method, path, body, all)
	out := map[string]string{}
	if status < 300 {
		return out
	}
	var e struct {
		Elements []struct {
			XMLName xml.Name
			Text    string `xml:",chardata"`
		} `xml:",any"`
	}
	require.NoError(t, xml.Unmarshal([]byte(answer), &e), answer)
	for _, e := range e.Elements {
		if name := e.XMLName.Local; name != "RequestId" && name != "HostId" {
			out[name] = e.Text
		}
	}
	return out
}

func TestRecorded_S3ErrorsHaveEveryElement(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "plain")
	put(t, c, "plain", "k", "0123456789")
	versioned(t, c, "versions")
	kept := *put(t, c, "versions", "k", "x").VersionId
	marker, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("versions"), Key: aws.String("k")})
	require.NoError(t, err)
	gone := *put(t, c, "versions", "gone", "x").VersionId
	_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("versions"), Key: aws.String("gone"), VersionId: &gone})
	require.NoError(t, err)
	_, err = c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("locked"), ObjectLockEnabledForBucket: aws.Bool(true)})
	require.NoError(t, err)
	upload, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("plain"), Key: aws.String("parts")})
	require.NoError(t, err)

	type elements = map[string]string
	malformed := elements{"Code": "MalformedXML", "Message": "The XML you provided was not well-formed or did not validate against our published schema"}
	invalidVersion := func(id string) elements {
		return elements{"Code": "InvalidArgument", "Message": "Invalid version id specified", "ArgumentName": "versionId", "ArgumentValue": id}
	}
	onMarker := func(method string) elements {
		return elements{"Code": "MethodNotAllowed", "Message": "The specified method is not allowed against this resource.", "Method": method, "ResourceType": "DeleteMarker"}
	}
	invalidTag := func(message, key string) elements {
		return elements{"Code": "InvalidTag", "Message": message, "TagKey": key}
	}
	tagging := func(pairs ...string) string {
		var b strings.Builder
		for i := 0; i < len(pairs); i += 2 {
			b.WriteString("<Tag><Key>" + pairs[i] + "</Key><Value>" + pairs[i+1] + "</Value></Tag>")
		}
		return "<Tagging><TagSet>" + b.String() + "</TagSet></Tagging>"
	}
	taggingHeader := func(v string) elements {
		return elements{"Code": "InvalidArgument", "ArgumentName": "x-amz-tagging", "ArgumentValue": v,
			"Message": "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."}
	}
	bypass := elements{"Code": "InvalidArgument", "ArgumentName": "x-amz-bypass-governance-retention", "Message": "x-amz-bypass-governance-retention is only applicable to Object Lock enabled buckets."}
	part := "/plain/parts?partNumber=1&uploadId=" + *upload.UploadId
	copied := func(v string) elements { return elements{"X-Amz-Copy-Source": "plain/k", "X-Amz-Copy-Source-Range": v} }
	wrongRange := func(v string) elements {
		return elements{"Code": "InvalidArgument", "ArgumentName": "x-amz-copy-source-range", "ArgumentValue": v,
			"Message": "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy"}
	}
	lock := func(rule string) string {
		return "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>" + rule + "</ObjectLockConfiguration>"
	}
	const never = "HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD"
	for _, row := range []struct {
		name, method, path, body string
		headers, want            elements
	}{
		// test_s3_api.py of LocalStack: test_delete_object, test_get_object_with_version_unversioned_bucket,
		// test_delete_object_versioned
		{"deletion of a version that never was", "DELETE", "/plain/k?versionId=" + never, "", nil, invalidVersion(never)},
		{"reading a version that never was", "GET", "/plain/k?versionId=" + never, "", nil, invalidVersion(never)},
		{"a version's ID that was changed", "DELETE", "/versions/k?versionId=" + kept[:28] + "ABCD", "", nil, invalidVersion(kept[:28] + "ABCD")},
		{"reading a version that is no more", "GET", "/versions/gone?versionId=" + gone, "", nil, elements{"Code": "NoSuchVersion", "Message": "The specified version does not exist.", "Key": "gone", "VersionId": gone}},
		{"reading a delete marker", "GET", "/versions/k?versionId=" + *marker.VersionId, "", nil, onMarker("GET")},
		{"reading behind a delete marker", "GET", "/versions/k", "", nil, elements{"Code": "NoSuchKey", "Message": "The specified key does not exist.", "Key": "k"}},
		// test_object_tagging_versioned, test_object_tagging_exc
		{"tags of the latest version, a delete marker", "GET", "/versions/k?tagging", "", nil, onMarker("GET")},
		{"tagging the latest version, a delete marker", "PUT", "/versions/k?tagging", tagging(), nil, onMarker("PUT")},
		{"removing tags of the latest version, a delete marker", "DELETE", "/versions/k?tagging", "", nil, onMarker("DELETE")},
		{"tags of no object", "GET", "/plain/none?tagging", "", nil, elements{"Code": "NoSuchKey", "Message": "The specified key does not exist.", "Key": "plain/none"}},
		{"tagging no object", "PUT", "/plain/none?tagging", tagging(), nil, elements{"Code": "NoSuchKey", "Message": "The specified key does not exist.", "Key": "none"}},
		{"two tags of one key in the header", "PUT", "/plain/t", "", elements{"X-Amz-Tagging": "key1=val1&key1=val2"}, taggingHeader("key1=val1&key1=val2")},
		{"tags separated by a comma", "PUT", "/plain/t", "", elements{"X-Amz-Tagging": "key1=val1,key2=val2"}, taggingHeader("key1=val1,key2=val2")},
		// test_tagging_validation; moto's test_put_object_with_tagging, test_put_object_tagging_too_many_tags
		{"two tags of one key", "PUT", "/plain?tagging", tagging("Key1", "1", "Key1", "2"), nil, invalidTag("Cannot provide multiple Tags with the same key", "Key1")},
		{"comma in a key", "PUT", "/plain?tagging", tagging("Key1,Key2", "1"), nil, invalidTag("The TagKey you have provided is invalid", "Key1,Key2")},
		{"comma in a value", "PUT", "/plain?tagging", tagging("Key1", "Val1,Val2"), nil, elements{"Code": "InvalidTag", "Message": "The TagValue you have provided is invalid", "TagKey": "Key1", "TagValue": "Val1,Val2"}},
		{"a bucket's tag of AWS", "PUT", "/plain?tagging", tagging("aws:prefixed", "1"), nil, invalidTag("System tags cannot be added/updated by requester", "aws:prefixed")},
		{"an object's tag of AWS", "PUT", "/plain/k?tagging", tagging("aws:prefixed", "1"), nil, invalidTag("Your TagKey cannot be prefixed with aws:", "aws:prefixed")},
		{"11 tags", "PUT", "/plain/k?tagging", tagging(strings.Split("a,1,b,1,c,1,d,1,e,1,f,1,g,1,h,1,i,1,j,1,k,1", ",")...), nil, elements{"Code": "BadRequest", "Message": "Object tags cannot be greater than 10"}},
		// test_delete_object_with_no_locking
		{"bypass without Object Lock", "DELETE", "/plain/k", "", elements{"X-Amz-Bypass-Governance-Retention": "true"}, bypass},
		{"no bypass without Object Lock", "DELETE", "/plain/k", "", elements{"X-Amz-Bypass-Governance-Retention": "false"}, bypass},
		{"bypass of many without Object Lock", "POST", "/plain?delete", "<Delete><Object><Key>k</Key></Object></Delete>", elements{"X-Amz-Bypass-Governance-Retention": "true"}, bypass},
		// test_put_object_lock_configuration_exc; moto's test_put_object_lock_misconfiguration
		{"lock with an empty rule", "PUT", "/locked?object-lock", lock("<Rule/>"), nil, malformed},
		{"lock with an empty retention", "PUT", "/locked?object-lock", lock("<Rule><DefaultRetention/></Rule>"), nil, malformed},
		{"lock for days and years", "PUT", "/locked?object-lock", lock("<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years></DefaultRetention></Rule>"), nil, malformed},
		{"lock without a body", "PUT", "/locked?object-lock", "", nil, elements{"Code": "MissingRequestBodyError", "Message": "Request Body is empty"}},
		// test_upload_part_copy_range
		{"range without a unit", "PUT", part, "", copied("0-8"), wrongRange("0-8")},
		{"range backwards", "PUT", part, "", copied("bytes=1-0"), wrongRange("bytes=1-0")},
		{"ranges", "PUT", part, "", copied("bytes=0-1,3-4"), wrongRange("bytes=0-1,3-4")},
		{"range without an end", "PUT", part, "", copied("bytes=1-"), wrongRange("bytes=1-")},
		{"range of the last bytes", "PUT", part, "", copied("bytes=-2"), wrongRange("bytes=-2")},
		{"range that goes too far", "PUT", part, "", copied("bytes=0-100"), elements{"Code": "InvalidArgument", "ArgumentName": "x-amz-copy-source-range", "ArgumentValue": "bytes=0-100", "Message": "Range specified is not valid for source object of size: 10"}},
		{"range behind the end", "PUT", part, "", copied("bytes=100-200"), elements{"Code": "InvalidRequest", "Message": "The specified copy range is invalid for the source object size"}},
		// test_bucket_versioning_crud, test_s3_default_bucket_encryption_exc, test_bucket_ownership_controls_exc,
		// test_bucket_acceleration_configuration_exc, test_put_object_if_none_match_validation,
		// test_list_objects_v2_continuation_start_after
		{"versioning with another status", "PUT", "/plain?versioning", "<VersioningConfiguration><Status>enabled</Status></VersioningConfiguration>", nil, malformed},
		{"key for AES256", "PUT", "/plain?encryption", "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm><KMSMasterKeyID>k</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>", nil, elements{
			"Code": "InvalidArgument", "ArgumentName": "ApplyServerSideEncryptionByDefault", "Message": "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms"}},
		{"another ownership", "PUT", "/new", "", elements{"X-Amz-Object-Ownership": "RandomValue"}, elements{"Code": "InvalidArgument", "ArgumentName": "x-amz-object-ownership", "Message": "Invalid x-amz-object-ownership header: RandomValue"}},
		{"an empty ownership", "PUT", "/new", "", elements{"X-Amz-Object-Ownership": ""}, elements{"Code": "InvalidArgument", "ArgumentName": "x-amz-object-ownership", "Message": "Invalid x-amz-object-ownership header: "}},
		{"If-None-Match with an ETag", "PUT", "/plain/k", "", elements{"If-None-Match": "x"}, elements{"Code": "NotImplemented", "Message": "A header you provided implies functionality that is not implemented", "Header": "If-None-Match", "additionalMessage": "We don't accept the provided value of If-None-Match header for this API"}},
		{"empty continuation token", "GET", "/plain?list-type=2&continuation-token=", "", nil, elements{"Code": "InvalidArgument", "ArgumentName": "continuation-token", "Message": "The continuation token provided is incorrect"}},
	} {
		t.Run(row.name, func(t *testing.T) { // one bucket, one write at a time
			require.Equal(t, row.want, s3Error(t, s, row.method, row.path, row.body, row.headers))
		})
	}
}

// LocalStack's test_s3_api.py: test_delete_objects, test_put_object_on_suspended_bucket.
func TestRecorded_S3Versions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	versioned(t, c, "versions")
	bucket := aws.String("versions")
	never := aws.String("HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD")
	out, err := c.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("k"), VersionId: never}}}})
	require.NoError(t, err)
	require.Empty(t, out.Deleted)
	require.Equal(t, []types.Error{{Code: aws.String("NoSuchVersion"), Key: aws.String("k"), Message: aws.String("The specified version does not exist."), VersionId: never}}, out.Errors)

	setVersioning(t, c, "versions", "Suspended")
	require.Nil(t, put(t, c, "versions", "k", "x").VersionId)
	read, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: aws.String("k")})
	require.NoError(t, err)
	require.Equal(t, "null", *read.VersionId)
}

// LocalStack's test_s3_list_operations.py: test_list_objects_marker_common_prefixes,
// test_list_object_versions_pagination_common_prefixes, test_list_multipart_uploads_marker_common_prefixes,
// test_list_multiparts_next_marker, test_list_objects_v2_continuation_start_after,
// test_s3_list_objects_timestamp_precision.
func TestRecorded_S3Listings(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "listed")
	bucket, one, slash, folder, below := aws.String("listed"), aws.Int32(1), aws.String("/"), aws.String("folder/"), aws.String("folder/aSubfolder/subFile1")
	for _, k := range []string{"folder/aSubfolder/subFile1", "folder/aSubfolder/subFile2", "folder/file1", "folder/file2"} {
		put(t, c, "listed", k, "x")
		_, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucket, Key: &k})
		require.NoError(t, err)
	}
	objects, err := c.ListObjects(t.Context(), &s3.ListObjectsInput{Bucket: bucket, Prefix: folder, Delimiter: slash, MaxKeys: one, Marker: below})
	require.NoError(t, err)
	require.Empty(t, objects.CommonPrefixes)
	require.Equal(t, "folder/file1", *objects.Contents[0].Key)
	require.Equal(t, "folder/file1", *objects.NextMarker)
	require.Zero(t, objects.Contents[0].LastModified.Nanosecond())
	versions, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: bucket, Prefix: folder, Delimiter: slash, MaxKeys: one, KeyMarker: below})
	require.NoError(t, err)
	require.Empty(t, versions.CommonPrefixes)
	require.Equal(t, "folder/file1", *versions.Versions[0].Key)
	uploads := func(limit *int32, marker *string) *s3.ListMultipartUploadsOutput {
		out, err := c.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: bucket, Prefix: folder, Delimiter: slash, MaxUploads: limit, KeyMarker: marker})
		require.NoError(t, err)
		return out
	}
	start := uploads(one, nil)
	require.True(t, *start.IsTruncated)
	require.Equal(t, "folder/aSubfolder/", *start.CommonPrefixes[0].Prefix)
	require.Empty(t, *start.NextKeyMarker, "a common prefix is no marker")
	next := uploads(one, below)
	require.Empty(t, next.CommonPrefixes)
	require.Equal(t, "folder/file1", *next.Uploads[0].Key)
	all := uploads(nil, nil)
	require.False(t, *all.IsTruncated)
	require.Equal(t, "folder/file2", *all.NextKeyMarker, "also on the last page")
	require.NotEmpty(t, *all.NextUploadIdMarker)

	page, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: bucket, MaxKeys: one})
	require.NoError(t, err)
	page, err = c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: bucket, ContinuationToken: page.NextContinuationToken, StartAfter: aws.String("x")})
	require.NoError(t, err)
	require.Nil(t, page.StartAfter, "the token decides")
	require.Len(t, page.Contents, 3)
}

// LocalStack's test_kms.py: test_generate_random_invalid_number_of_bytes, test_plaintext_size_for_encrypt,
// test_encrypt_decrypt_encryption_context; moto's test_encrypt_key_with_empty_content.
func TestRecorded_KMSErrors(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	key := made(t, c)
	for name, row := range map[string]struct{ operation, body, message string }{
		"no number":       {"GenerateRandom", `{}`, "NumberOfBytes is required."},
		"too few":         {"GenerateRandom", `{"NumberOfBytes":0}`, "1 validation error detected: Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		"too many":        {"GenerateRandom", `{"NumberOfBytes":1025}`, "1 validation error detected: Value '1025' at 'numberOfBytes' failed to satisfy constraint: Member must have value less than or equal to 1024"},
		"empty plaintext": {"Encrypt", `{"KeyId":"` + *key.KeyId + `","Plaintext":""}`, "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		"long plaintext":  {"Encrypt", `{"KeyId":"` + *key.KeyId + `","Plaintext":"` + strings.Repeat("AAAA", 1366) + `"}`, "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096"},
	} {
		_, code, message := raw(s, "alice", row.operation, row.body)
		require.Equal(t, "ValidationException", code, name)
		require.Equal(t, row.message, message, name)
	}
	status, body := send(t, s, "POST", "/", `{"CiphertextBlob":"AAAA"}`, map[string]string{"X-Amz-Target": "TrentService.Decrypt", "Authorization": signature("alice", "us-east-1", "kms")})
	require.Equal(t, 400, status)
	require.JSONEq(t, `{"__type":"InvalidCiphertextException"}`, body, "no message is no element")

	primary := made(t, c, func(in *kms.CreateKeyInput) { in.MultiRegion = aws.Bool(true) })
	_, answer := send(t, s, "POST", "/", `{"KeyId":"`+*primary.KeyId+`","ReplicaRegion":"eu-west-1"}`, map[string]string{"X-Amz-Target": "TrentService.ReplicateKey", "Authorization": signature("alice", "us-east-1", "kms")})
	require.NotContains(t, answer, "ReplicaTags", "test_replicate_key: a replica without tags shows none")
}

// LocalStack's test_s3.py, at each row its test.
func TestRecorded_S3MultipartErrors(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "parts")
	begin := func(algorithm types.ChecksumAlgorithm) (path, id string) {
		out, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("parts"), Key: aws.String("k"), ChecksumAlgorithm: algorithm})
		require.NoError(t, err)
		_, err = c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: aws.String("parts"), Key: aws.String("k"), UploadId: out.UploadId, PartNumber: aws.Int32(1),
			Body: strings.NewReader("data"), ChecksumAlgorithm: algorithm})
		require.NoError(t, err)
		return "/parts/k?uploadId=" + *out.UploadId, *out.UploadId
	}
	plain, plainID := begin("")
	digests, digestsID := begin(types.ChecksumAlgorithmSha256)
	const etag, otherETag = "8d777f385d3dfec8815d20f7496026dc", "d41d8cd98f00b204e9800998ecf8427e"
	document := func(parts ...string) string {
		return "<CompleteMultipartUpload>" + strings.Join(parts, "") + "</CompleteMultipartUpload>"
	}
	part := func(number, etag, more string) string {
		return "<Part><PartNumber>" + number + "</PartNumber><ETag>\"" + etag + "\"</ETag>" + more + "</Part>"
	}
	type elements = map[string]string
	invalidPart := func(upload, number, etag string) elements {
		return elements{"Code": "InvalidPart", "UploadId": upload, "PartNumber": number, "ETag": etag,
			"Message": "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."}
	}
	for _, row := range []struct {
		name, path, body string
		want             elements
	}{
		{"test_multipart_complete_multipart_too_small: no document", plain, "", elements{"Code": "InvalidRequest", "Message": "You must specify at least one part"}},
		{"test_multipart_complete_multipart_wrong_part: number", plain, document(part("2", etag, "")), invalidPart(plainID, "2", etag)},
		{"test_multipart_complete_multipart_wrong_part: ETag", plain, document(part("1", otherETag, "")), invalidPart(plainID, "1", otherETag)},
		{"test_multipart_parts_checksum_exceptions", plain, document(part("1", etag, "<ChecksumSHA256>Om7weQ85riezG3pUsT5uZEU0MyMpUsjRpIRFbDt2AQE=</ChecksumSHA256>")), invalidPart(plainID, "1", etag)},
		{"test_complete_multipart_parts_order", plain, document(part("1", etag, ""), part("1", etag, "")), elements{"Code": "InvalidPartOrder", "UploadId": plainID,
			"Message": "The list of parts was not in ascending order. Parts must be ordered by part number."}},
		{"test_complete_multipart_parts_checksum: another", digests, document(part("1", etag, "<ChecksumSHA256>mDSHbc+wXLFnpcJJU+uljErImxrfV/KPL50JrxB+6PA=</ChecksumSHA256>")), invalidPart(digestsID, "1", etag)},
		{"test_complete_multipart_parts_checksum: none", digests, document(part("1", etag, "")), elements{"Code": "InvalidRequest",
			"Message": "The upload was created using a sha256 checksum. The complete request must include the checksum for each part. It was missing for part 1 in the request."}},
	} {
		require.Equal(t, row.want, s3Error(t, s, "POST", row.path, row.body, nil), row.name)
	}
}

// LocalStack's test_s3.py: test_get_object_attributes, test_get_object_part,
// test_complete_multipart_parts_checksum.
func TestRecorded_S3Parts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "parts")
	in := &s3.CreateMultipartUploadInput{Bucket: aws.String("parts"), Key: aws.String("k")}
	upload, err := c.CreateMultipartUpload(t.Context(), in)
	require.NoError(t, err)
	part, err := c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: in.Bucket, Key: in.Key, UploadId: upload.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x")})
	require.NoError(t, err)
	_, err = c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: in.Bucket, Key: in.Key, UploadId: upload.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag}}}})
	require.NoError(t, err)
	read, err := c.GetObjectAttributes(t.Context(), &s3.GetObjectAttributesInput{Bucket: in.Bucket, Key: in.Key, ObjectAttributes: []types.ObjectAttributes{"ObjectParts"}})
	require.NoError(t, err)
	require.Equal(t, &types.GetObjectAttributesParts{TotalPartsCount: aws.Int32(1)}, read.ObjectParts, "parts without checksums are not listed")
	require.Equal(t, map[string]string{"Code": "InvalidPartNumber", "Message": "The requested partnumber is not satisfiable", "ActualPartCount": "1", "PartNumberRequested": "2"},
		s3Error(t, s, "GET", "/parts/k?partNumber=2", "", nil))

	in.Key, in.ChecksumAlgorithm = aws.String("digests"), types.ChecksumAlgorithmSha256
	upload, err = c.CreateMultipartUpload(t.Context(), in)
	require.NoError(t, err)
	part, err = c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: in.Bucket, Key: in.Key, UploadId: upload.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x"), ChecksumAlgorithm: in.ChecksumAlgorithm})
	require.NoError(t, err)
	whole, err := c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: in.Bucket, Key: in.Key, UploadId: upload.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag, ChecksumSHA256: part.ChecksumSHA256}}}})
	require.NoError(t, err)
	read, err = c.GetObjectAttributes(t.Context(), &s3.GetObjectAttributesInput{Bucket: in.Bucket, Key: in.Key, ObjectAttributes: []types.ObjectAttributes{"Checksum", "ObjectParts"}})
	require.NoError(t, err)
	require.Equal(t, *whole.ChecksumSHA256, *read.Checksum.ChecksumSHA256+"-1", "without the number of parts")
	require.Len(t, read.ObjectParts.Parts, 1)
}

// LocalStack's test_s3.py: test_s3_copy_object_preconditions, test_s3_copy_object_src_not_exists,
// test_s3_copy_object_in_place_suspended_only, test_copy_in_place_with_bucket_encryption, test_response_structure.
func TestRecorded_S3Copies(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	versioned(t, c, "copies")
	written := put(t, c, "copies", "k", "data")
	marker, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("copies"), Key: aws.String("gone")})
	require.NoError(t, err)
	const past, now = "Mon, 01 Jan 2024 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
	for condition, value := range map[string]string{"If-Match": "etag123", "If-Unmodified-Since": past, "If-None-Match": *written.ETag} {
		require.Equal(t, map[string]string{"Code": "PreconditionFailed", "Message": "At least one of the pre-conditions you specified did not hold", "Condition": "x-amz-copy-source-" + condition},
			s3Error(t, s, "PUT", "/copies/to", "", map[string]string{"X-Amz-Copy-Source": "copies/k", "X-Amz-Copy-Source-" + condition: value}))
	}
	require.Empty(t, s3Error(t, s, "PUT", "/copies/to", "", map[string]string{"X-Amz-Copy-Source": "copies/k", "X-Amz-Copy-Source-If-Modified-Since": now}), "a date in the future is none")
	require.Equal(t, map[string]string{"Code": "InvalidRequest", "Message": "The source of a copy request may not specifically refer to a delete marker by version id."},
		s3Error(t, s, "PUT", "/copies/to", "", map[string]string{"X-Amz-Copy-Source": "copies/gone?versionId=" + *marker.VersionId}))

	setVersioning(t, c, "copies", "Suspended")
	in := &s3.CopyObjectInput{Bucket: aws.String("copies"), Key: aws.String("to"), CopySource: aws.String("copies/k")}
	copied, err := c.CopyObject(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, *written.VersionId, *copied.CopySourceVersionId)
	require.Equal(t, "null", *copied.VersionId)
	in.CopySource, in.Key = aws.String("copies/to"), aws.String("again")
	copied, err = c.CopyObject(t.Context(), in)
	require.NoError(t, err)
	require.Nil(t, copied.CopySourceVersionId, "a source that is no version has no ID")

	makeBucket(t, c, "encrypted")
	put(t, c, "encrypted", "k", "data")
	itself := map[string]string{"X-Amz-Copy-Source": "encrypted/k"}
	require.Equal(t, "InvalidRequest", s3Error(t, s, "PUT", "/encrypted/k", "", itself)["Code"])
	require.Empty(t, s3Error(t, s, "PUT", "/encrypted?encryption", "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>", nil))
	require.Empty(t, s3Error(t, s, "PUT", "/encrypted/k", "", itself), "the bucket's encryption was configured")
	itself["X-Amz-Copy-Source"] = s.URL() + "/encrypted/k"
	require.Empty(t, s3Error(t, s, "PUT", "/encrypted/url", "", itself), "the source is named by its URL")
	require.Equal(t, "data", get(t, c, "encrypted", "url"))
}

// LocalStack's test_s3.py: test_put_bucket_lifecycle_conf_exc.
func TestRecorded_S3LifecycleErrors(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	makeBucket(t, s3Client(t, s, "alice"), "rules")
	malformed := map[string]string{"Code": "MalformedXML", "Message": "The XML you provided was not well-formed or did not validate against our published schema"}
	const days = "<Expiration><Days>7</Days></Expiration>"
	for name, row := range map[string]struct {
		filter, action string
		want           map[string]string
	}{
		"And beside Prefix":  {"<And><Prefix>test</Prefix></And><Prefix></Prefix>", days, malformed},
		"size beside Prefix": {"<ObjectSizeGreaterThan>500</ObjectSizeGreaterThan><Prefix></Prefix>", days, malformed},
		"two tags of a key": {"<And><Tag><Key>k</Key><Value>a</Value></Tag><Tag><Key>k</Key><Value>b</Value></Tag></And>", days,
			map[string]string{"Code": "InvalidRequest", "Message": "Duplicate Tag Keys are not allowed."}},
		"not at midnight": {"", "<Expiration><Date>2023-01-01T02:02:00Z</Date></Expiration>",
			map[string]string{"Code": "InvalidArgument", "ArgumentName": "Date", "ArgumentValue": "2023-01-01T02:02:00Z", "Message": "'Date' must be at midnight GMT"}},
		"days and delete marker":  {"", "<Expiration><Days>1</Days><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>", malformed},
		"two conditions in And":   {"<And><Prefix>test</Prefix><Tag><Key>k</Key><Value>a</Value></Tag></And>", days, map[string]string{}},
		"at midnight, from there": {"", "<Expiration><Date>2023-01-01T00:00:00Z</Date></Expiration>", map[string]string{}},
	} {
		require.Equal(t, row.want, s3Error(t, s, "PUT", "/rules?lifecycle", "<LifecycleConfiguration><Rule><ID>r</ID><Filter>"+row.filter+"</Filter><Status>Enabled</Status>"+row.action+"</Rule></LifecycleConfiguration>", nil), name)
	}
}

// LocalStack's test_s3.py: test_put_object_validation_sse_c, test_object_retrieval_sse_c,
// test_multipart_upload_sse_c_validation.
func TestRecorded_S3CustomerKeyErrors(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "customers")
	allowSSEC(t, c, "customers")
	put(t, c, "customers", "k", "x", withCustomerKey)
	const prefix = "X-Amz-Server-Side-Encryption-Customer-"
	short := map[string]string{prefix + "Algorithm": "AES256", prefix + "Key": *encoded("short"), prefix + "Key-Md5": *digest("short")}
	require.Equal(t, map[string]string{"Code": "InvalidArgument", "ArgumentName": "x-amz-server-side-encryption", "ArgumentValue": "null", "Message": "The secret key was invalid for the specified algorithm."},
		s3Error(t, s, "PUT", "/customers/k", "x", short))
	require.Equal(t, "AccessDenied", s3Error(t, s, "GET", "/customers/k", "", short)["Code"], "not the object's key")
	begin := func(f func(*s3.CreateMultipartUploadInput)) string {
		in := &s3.CreateMultipartUploadInput{Bucket: aws.String("customers"), Key: aws.String("m")}
		f(in)
		out, err := c.CreateMultipartUpload(t.Context(), in)
		require.NoError(t, err)
		return "/customers/m?partNumber=1&uploadId=" + *out.UploadId
	}
	const missing = "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters."
	key := map[string]string{prefix + "Algorithm": "AES256", prefix + "Key": *encoded(customerKey), prefix + "Key-Md5": *digest(customerKey)}
	another := map[string]string{prefix + "Algorithm": "AES256", prefix + "Key": *encoded(anotherKey), prefix + "Key-Md5": *digest(anotherKey)}
	plain, encrypted := begin(func(*s3.CreateMultipartUploadInput) {}), begin(uploadWithCustomerKey)
	require.Equal(t, map[string]string{"Code": "InvalidRequest", "Message": missing}, s3Error(t, s, "PUT", plain, "x", key), "test_multipart_upload_sse_c_validation")
	require.Equal(t, map[string]string{"Code": "InvalidRequest", "Message": missing}, s3Error(t, s, "PUT", encrypted, "x", nil))
	require.Equal(t, map[string]string{"Code": "InvalidRequest", "Message": "The provided encryption parameters did not match the ones used originally."},
		s3Error(t, s, "PUT", encrypted, "x", another))
	short[prefix+"Algorithm"] = "KMS"
	require.Equal(t, map[string]string{"Code": "InvalidEncryptionAlgorithmError", "ArgumentName": "x-amz-server-side-encryption", "ArgumentValue": "KMS", "Message": "The Encryption request you specified is not valid. Supported value: AES256."},
		s3Error(t, s, "PUT", "/customers/k", "x", short))
}

// LocalStack's test_s3.py: test_s3_bucket_acl_exceptions, test_s3_object_acl_exceptions. The
// buckets of the recordings enforce their owner's ownership.
func TestRecorded_S3ACLErrors(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "plain")
	put(t, c, "plain", "k", "x")
	type elements = map[string]string
	invalid := func(name, value, message string) elements {
		return elements{"Code": "InvalidArgument", "ArgumentName": name, "ArgumentValue": value, "Message": message}
	}
	const group, malformed = "http://acs.amazonaws.com/groups/s3/FakeGroup", "The XML you provided was not well-formed or did not validate against our published schema"
	owner := bucketOwner(t, c, "plain")
	document := func(owner, kind, grantee, permission string) string {
		return `<AccessControlPolicy>` + owner + `<AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="` + kind + `">` + grantee + `</Grantee><Permission>` + permission + `</Permission></Grant></AccessControlList></AccessControlPolicy>`
	}
	ownedBy := func(id string) string { return "<Owner><ID>" + id + "</ID></Owner>" }
	const logs = "<URI>http://acs.amazonaws.com/groups/s3/LogDelivery</URI>"
	for name, row := range map[string]struct {
		body    string
		headers map[string]string
		want    elements
	}{
		"canned-acl":         {"", elements{"X-Amz-Acl": "fake-acl"}, invalid("x-amz-acl", "fake-acl", "")},
		"grant-acl-fake-uri": {"", elements{"X-Amz-Grant-Write": `uri="` + group + `"`}, invalid("uri", group, "Invalid group uri")},
		"grant-acl-fake-key": {"", elements{"X-Amz-Grant-Write": `fakekey="1234"`}, invalid("x-amz-grant-write", `fakekey="1234"`, "Argument format not recognized")},
		"grant-acl-wrong-id": {"", elements{"X-Amz-Grant-Write": `id="wrong-id"`}, invalid("id", "wrong-id", "Invalid id")},
		"acp-acl-1":          {document("", "Group", logs, "WRITE"), nil, elements{"Code": "MalformedACLError", "Message": malformed}},
		"acp-acl-2":          {document(ownedBy(owner), "Group", logs, "WRONG-PERMISSION"), nil, elements{"Code": "MalformedACLError", "Message": malformed}},
		"acp-acl-3":          {document(ownedBy("wrong-id"), "Group", logs, "FULL_CONTROL"), nil, invalid("CanonicalUser/ID", "wrong-id", "Invalid id")},
		"acp-acl-4":          {document(ownedBy(owner), "Group", "<URI>"+group+"</URI>", "FULL_CONTROL"), nil, invalid("Group/URI", group, "Invalid group uri")},
		"acp-acl-5":          {document(ownedBy(owner), "CanonicalUser", "<ID>wrong-id</ID>", "FULL_CONTROL"), nil, invalid("CanonicalUser/ID", "wrong-id", "Invalid id")},
		"acp-acl-6":          {document(ownedBy(owner), "BadType", "<ID>"+owner+"</ID>", "FULL_CONTROL"), nil, elements{"Code": "MalformedACLError", "Message": malformed}},
		"empty-acp":          {"<AccessControlPolicy/>", nil, elements{"Code": "MalformedACLError", "Message": malformed}},
		"empty":              {"", nil, elements{"Code": "MissingSecurityHeader", "Message": "Your request was missing a required header", "MissingHeaderName": "x-amz-acl"}},
		"two-type-acl": {"", elements{"X-Amz-Acl": "private", "X-Amz-Grant-Read": `uri="http://acs.amazonaws.com/groups/s3/LogDelivery"`},
			elements{"Code": "InvalidRequest", "Message": "Specifying both Canned ACLs and Header Grants is not allowed"}},
		"two-type-acl-acp": {document(ownedBy(owner), "CanonicalUser", "<ID>"+owner+"</ID>", "FULL_CONTROL"), elements{"X-Amz-Acl": "private"},
			elements{"Code": "UnexpectedContent", "Message": "This request does not support content"}},
	} {
		require.Equal(t, row.want, s3Error(t, s, "PUT", "/plain?acl", row.body, row.headers), "put-bucket-"+name)
		require.Equal(t, row.want, s3Error(t, s, "PUT", "/plain/k?acl", row.body, row.headers), "put-object-"+name)
	}
	require.Equal(t, invalid("x-amz-acl", "fake-acl", ""), s3Error(t, s, "PUT", "/plain/k", "x", elements{"X-Amz-Acl": "fake-acl"}), "put-object-canned-acl")
}

// LocalStack's test_s3.py, at each row its test.
func TestRecorded_S3MoreErrors(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "plain")
	upload, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("plain"), Key: aws.String("k")})
	require.NoError(t, err)
	versioned(t, c, "versions")
	_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("versions"), Key: aws.String("k")})
	require.NoError(t, err)
	west := s3Client(t, s, "alice", config.WithRegion("us-west-2"))
	_, err = west.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("west"), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "us-west-2"}})
	require.NoError(t, err)
	_, err = c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("locked"), ObjectLockEnabledForBucket: aws.Bool(true)})
	require.NoError(t, err)
	put(t, c, "locked", "k", "x", func(in *s3.PutObjectInput) {
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = types.ObjectLockModeGovernance, aws.Time(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
	})
	log := func(target string) string {
		return "<BucketLoggingStatus><LoggingEnabled><TargetBucket>" + target + "</TargetBucket><TargetPrefix>log</TargetPrefix></LoggingEnabled></BucketLoggingStatus>"
	}
	type elements = map[string]string
	malformed := elements{"Code": "MalformedXML", "Message": "The XML you provided was not well-formed or did not validate against our published schema"}
	badDigest := func(expected string) elements {
		return elements{"Code": "BadDigest", "Message": "The Content-MD5 you specified did not match what we received.", "ExpectedDigest": expected, "CalculatedDigest": "Q3uTDbhLgHnC3YBKcZNrXw=="}
	}
	const otherMD5 = "CYketZBSTjX8czcs3cXVlg=="
	for _, row := range []struct {
		name, method, path, body string
		headers, want            elements
	}{
		{"test_multipart_no_such_upload", "POST", "/plain/k?uploadId=fakeid", "", nil, elements{"Code": "NoSuchUpload", "UploadId": "fakeid",
			"Message": "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."}},
		{"test_s3_copy_object_wrong_format", "PUT", "/plain/k", "", elements{"X-Amz-Copy-Source": "wrongformat"}, elements{"Code": "InvalidArgument", "Message": "Invalid copy source object key",
			"ArgumentName": "x-amz-copy-source", "ArgumentValue": "x-amz-copy-source"}},
		{"test_s3_checksum_no_algorithm", "PUT", "/plain/k", "x", elements{"X-Amz-Checksum-Crc32": "x", "X-Amz-Checksum-Sha256": "x"}, elements{"Code": "InvalidRequest",
			"Message": "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."}},
		{"test_s3_invalid_content_md5: none", "PUT", "/plain/k", "something", elements{"Content-Md5": "000"}, elements{"Code": "InvalidDigest", "Message": "The Content-MD5 you specified was invalid.", "Content-MD5": "000"}},
		{"test_s3_invalid_content_md5: object", "PUT", "/plain/k", "something", elements{"Content-Md5": otherMD5}, badDigest("09891eb590524e35fc73372cddc5d596")},
		{"test_s3_invalid_content_md5: part", "PUT", "/plain/k?partNumber=1&uploadId=" + *upload.UploadId, "something", elements{"Content-Md5": otherMD5}, badDigest(otherMD5)},
		{"test_post_object_with_storage_class", "PUT", "/plain/k", "", elements{"X-Amz-Storage-Class": "FakeClass"}, elements{"Code": "InvalidStorageClass", "Message": "The storage class you specified is not valid", "StorageClassRequested": "FakeClass"}},
		{"test_put_object_acl_on_delete_marker: put", "PUT", "/versions/k?acl", "", elements{"X-Amz-Acl": "private"}, elements{"Code": "MethodNotAllowed", "Message": "The specified method is not allowed against this resource.", "Method": "PUT", "ResourceType": "DeleteMarker"}},
		{"test_put_object_acl_on_delete_marker: get", "GET", "/versions/k?acl", "", nil, elements{"Code": "NoSuchKey", "Message": "The specified key does not exist.", "Key": "k"}},
		{"test_put_object_legal_hold_exc", "PUT", "/plain/k?legal-hold", "<LegalHold/>", nil, malformed},
		{"test_s3_object_retention_exc: no date", "PUT", "/locked/k?retention", "<Retention><Mode>GOVERNANCE</Mode></Retention>", nil, malformed},
		{"test_s3_object_retention_exc: no bypass", "PUT", "/locked/k?retention", "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2024-01-01T00:00:00Z</RetainUntilDate></Retention>", nil, elements{"Code": "AccessDenied",
			"Message": "Access Denied because object protected by object lock."}},
		{"test_put_bucket_logging_wrong_target", "PUT", "/plain?logging", log("none"), nil, elements{"Code": "InvalidTargetBucketForLogging", "Message": "The target bucket for logging does not exist", "TargetBucket": "none"}},
		{"test_put_bucket_logging_cross_locations", "PUT", "/plain?logging", log("west"), nil, elements{"Code": "CrossLocationLoggingProhibitted", "Message": "Cross S3 location logging not allowed. ", "TargetBucketLocation": "us-west-2"}},
	} {
		require.Equal(t, row.want, s3Error(t, s, row.method, row.path, row.body, row.headers), row.name)
	}

	put(t, c, "plain", "k", "test-checksum", func(in *s3.PutObjectInput) { in.ChecksumAlgorithm = types.ChecksumAlgorithmSha1 })
	list, err := http.NewRequestWithContext(t.Context(), "GET", s.URL()+"/plain?list-type=2", nil)
	require.NoError(t, err)
	list.Header.Set("Authorization", signature("alice", "us-east-1", "s3"))
	listed, err := httpClient(t, s).Do(list)
	require.NoError(t, err)
	require.NoError(t, listed.Body.Close())
	require.Equal(t, "us-east-1", listed.Header.Get("X-Amz-Bucket-Region"), "test_region_header_exists_outside_us_east_1")
	read, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("plain"), Key: aws.String("k"), ChecksumMode: "enabled"})
	require.NoError(t, err)
	require.Equal(t, "jbXkHAsXUrubtL3dqDQ4w+7WXc0=", *read.ChecksumSHA1, "test_s3_get_object_checksum: the case does not matter")
}

// OpenStack Swift runs its test/s3api against AWS, too: test_object_checksums.py, test_input_errors.py.
func TestRecorded_S3Checksums(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "sums")
	const body, crc32, crc32c, sha256, composite = "123456789", "y/Q5Jg==", "4waSgw==", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=", "7kxlUA=="
	const emptySHA = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	type h = map[string]string
	invalid := func(message string) h { return h{"Code": "InvalidRequest", "Message": message} }
	single := invalid("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
	trailer := h{"Code": "MalformedTrailerError", "Message": "The request contained trailing data that was not well-formed or did not conform to our published schema."}
	chunks := func(trailers ...string) string {
		return "9\r\n" + body + "\r\n0\r\n" + strings.Join(trailers, "") + "\r\n"
	}
	streaming := func(more ...string) h {
		out := h{"X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length": "9"}
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	for _, row := range []struct {
		name, body string
		headers    h
		want       h // nil: it is stored
	}{
		{"test_good_checksum", body, h{"X-Amz-Checksum-Crc32": crc32, "X-Amz-Sdk-Checksum-Algorithm": "CRC32"}, nil},
		{"test_good_md5_good_sha_no_crc_but_declared", body, h{"X-Amz-Sdk-Checksum-Algorithm": "CRC32"},
			invalid("x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")},
		{"test_good_checksum_different_algorithm_header", body, h{"X-Amz-Checksum-Crc32": crc32, "X-Amz-Sdk-Checksum-Algorithm": "CRC32C"}, invalid("Value for x-amz-sdk-checksum-algorithm header is invalid.")},
		{"test_good_checksum_invalid_algorithm_header", body, h{"X-Amz-Checksum-Crc32": crc32, "X-Amz-Sdk-Checksum-Algorithm": "INVALIDALGO"}, invalid("Value for x-amz-sdk-checksum-algorithm header is invalid.")},
		{"test_invalid_checksum: bits that mean nothing", body, h{"X-Amz-Checksum-Crc32": "y/Q5Jh=="}, invalid("Value for x-amz-checksum-crc32 header is invalid.")},
		{"test_no_md5_good_sha_multiple_crc_in_trailer_algo_mismatch", body, h{"X-Amz-Checksum-Crc32": crc32, "X-Amz-Trailer": "x-amz-checksum-crc32, x-amz-checksum-crc32c"}, single},
		{"test_no_md5_good_sha_duplicated_crc_in_trailer_algo_mismatch", body, h{"X-Amz-Trailer": "x-amz-checksum-crc32, x-amz-checksum-crc32"}, single},
		{"test_no_md5_good_sha_same_crc_in_trailer_and_header", body, h{"X-Amz-Checksum-Crc32": crc32, "X-Amz-Trailer": "x-amz-checksum-crc32"}, invalid("Expecting a single x-amz-checksum- header")},
		{"test_no_md5_good_sha_crc_in_trailer_but_not_streaming", body, h{"X-Amz-Trailer": "x-amz-checksum-crc32"}, trailer},
		{"a trailer that is not announced", chunks("x-amz-checksum-crc32:" + crc32 + "\r\n"), streaming(), trailer},
		{"another trailer than was announced", chunks("x-amz-checksum-crc32:" + crc32 + "\r\n"), streaming("X-Amz-Trailer", "x-amz-checksum-crc32c"), trailer},
		{"test_strm_unsgnd_pyld_trl_bad_then_good_trailer_ok", chunks("x-amz-checksum-crc32:AAAAAA==\r\n", "x-amz-checksum-crc32:"+crc32+"\r\n"), streaming("X-Amz-Trailer", "x-amz-checksum-crc32, "), nil},
		{"test_strm_unsgnd_pyld_trl_with_commas_in_trailer_4", chunks("x-amz-checksum-crc32:" + crc32 + "\r\n"), streaming("X-Amz-Trailer", "x-amz-checksum-crc32,,"), nil},
		{"test_strm_unsgnd_pyld_trl_with_commas_in_trailer_5", chunks("x-amz-checksum-crc32:" + crc32 + "\r\n"), streaming("X-Amz-Trailer", "x-amz-checksum-crc32, ,"), invalid("The value specified in the x-amz-trailer header is not supported")},
		{"test_strm_unsgnd_pyld_trl_with_trailer_checksum_invalid", chunks("x-amz-checksum-crc32:not-base-64\r\n"), streaming("X-Amz-Trailer", "x-amz-checksum-crc32"), invalid("Value for x-amz-checksum-crc32 trailing header is invalid.")},
		{"test_strm_unsgnd_pyld_trl_with_trailer_extra_line_junk_ok", chunks("x-amz-checksum-crc32:"+crc32+"\r\n") + "junk", streaming("X-Amz-Trailer", "x-amz-checksum-crc32"), nil},
		{"test_strm_unsgnd_pyld_trl_with_trailer_extra_line_before", chunks("\r\nx-amz-checksum-crc32:" + crc32 + "\r\n"), streaming("X-Amz-Trailer", "x-amz-checksum-crc32"), trailer},
		{"test_strm_unsgnd_pyld_trl_crc_header_x_amz_checksum_type_ok", chunks(), streaming("X-Amz-Checksum-Crc32", crc32, "X-Amz-Checksum-Type", "COMPOSITE"), nil},
		{"test_strm_unsgnd_pyld_trl_good_then_bad_trailer", chunks("x-amz-checksum-crc32:"+crc32+"\r\n", "x-amz-checksum-crc32:AAAAAA==\r\n"), streaming("X-Amz-Trailer", "x-amz-checksum-crc32"),
			h{"Code": "BadDigest", "Message": "The CRC32 you specified did not match the calculated checksum."}},
		{"test_strm_unsgnd_pyld_trl_too_many_bytes", "12\r\n" + body + body + "\r\n0\r\n\r\n", streaming(),
			h{"Code": "IncompleteBody", "Message": "You did not provide the number of bytes specified by the Content-Length HTTP header", "NumberBytesExpected": "9", "NumberBytesProvided": "18"}},
		{"test_strm_unsgnd_pyld_trl_zero_chunk_mid_stream", "4\r\n1234\r\n0\r\n\r\n5\r\n56789\r\n0\r\n\r\n", streaming(),
			h{"Code": "IncompleteBody", "Message": "You did not provide the number of bytes specified by the Content-Length HTTP header", "NumberBytesExpected": "9", "NumberBytesProvided": "4"}},
		{"test_strm_unsgnd_pyld_trl_no_zero_chunk", "9\r\n" + body + "\r\n", streaming(), h{"Code": "IncompleteBody", "Message": "The request body terminated unexpectedly"}},
		{"test_no_md5_bad_sha", body, h{"X-Amz-Content-Sha256": emptySHA}, h{"Code": "XAmzContentSHA256Mismatch", "Message": "The provided 'x-amz-content-sha256' header does not match what was computed.",
			"ClientComputedContentSHA256": emptySHA, "S3ComputedContentSHA256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"}},
		{"another header behind the body", chunks("x-amz-checksum-crc32:"+crc32+"\r\n", "x-amz-meta-a:b\r\n"), streaming("X-Amz-Trailer", "x-amz-checksum-crc32"), trailer},
		{"test_no_md5_good_sha_chunk_encoding_declared_ok", body, h{"Content-Encoding": "aws-chunked"}, nil},
	} {
		got := s3Error(t, s, "PUT", "/sums/k", row.body, row.headers)
		if row.want == nil {
			require.Empty(t, got, row.name)
			continue
		}
		require.Equal(t, row.want, got, row.name)
	}
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("sums"), Key: aws.String("k")})
	require.NoError(t, err)
	require.Equal(t, "aws-chunked", *head.ContentEncoding, "of a body that is not")

	// An upload with one part; its parts and its completion have other checksums.
	begin := func(key string, headers h) string {
		all := h{"Authorization": signature("alice", "us-east-1", "s3"), "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}
		for k, v := range headers {
			all[k] = v
		}
		_, answer := send(t, s, "POST", "/sums/"+key+"?uploads", "", all)
		var out struct{ UploadId string }
		require.NoError(t, xml.Unmarshal([]byte(answer), &out), answer)
		return "/sums/" + key + "?uploadId=" + out.UploadId
	}
	document := func(checksums string) string {
		return `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"25f9e794323b453885f5181f1b624d0b"</ETag>` + checksums + "</Part></CompleteMultipartUpload>"
	}
	partSum := document("<ChecksumCRC32>" + crc32 + "</ChecksumCRC32>")
	digest := h{"Code": "BadDigest", "Message": "The crc32 you specified did not match the calculated checksum."}
	mismatch := func(expected, actual string) h {
		return invalid("Checksum Type mismatch occurred, expected checksum Type: " + expected + ", actual checksum Type: " + actual)
	}
	require.Equal(t, invalid("Value for x-amz-checksum-type header is invalid."), s3Error(t, s, "POST", "/sums/k?uploads", "", h{"X-Amz-Checksum-Algorithm": "CRC32", "X-Amz-Checksum-Type": "BADCHECKSUM"}))
	whole := begin("whole", h{"X-Amz-Checksum-Algorithm": "CRC32", "X-Amz-Checksum-Type": "FULL_OBJECT"})
	require.Empty(t, s3Error(t, s, "PUT", whole+"&partNumber=1", body, nil), "the upload's algorithm")
	upload := begin("parts", h{"X-Amz-Checksum-Algorithm": "CRC32"})
	require.Equal(t, mismatch("crc32", "null"), s3Error(t, s, "PUT", upload+"&partNumber=1", body, nil), "test_mpu_upload_part_requires_checksum")
	require.Equal(t, mismatch("crc32", "crc32c"), s3Error(t, s, "PUT", upload+"&partNumber=1", body, h{"X-Amz-Checksum-Crc32c": crc32c}), "test_mpu_upload_part_diff_good_checksum_and_no_algo_specified")
	require.Empty(t, s3Error(t, s, "PUT", upload+"&partNumber=1", body, h{"X-Amz-Checksum-Crc32": crc32}))
	for _, row := range []struct {
		name, path, body string
		headers, want    h
	}{
		{"test_mpu_complete_invalid_checksum", upload, partSum, h{"X-Amz-Checksum-Crc32": "y/Q5Jh=="}, invalid("Value for x-amz-checksum-crc32 header is invalid.")},
		{"test_mpu_complete_good_checksum_with_invalid_part_number", upload, partSum, h{"X-Amz-Checksum-Crc32": composite + "-a"}, invalid("Value for x-amz-checksum-crc32 header is invalid.")},
		{"test_mpu_complete_good_checksum_with_bad_part_number", upload, partSum, h{"X-Amz-Checksum-Crc32": composite + "-2"}, digest},
		{"test_mpu_complete_bad_checksum", upload, partSum, h{"X-Amz-Checksum-Crc32": "z/Q5Jg=="}, digest},
		{"test_mpu_complete_bad_part_checksum_good_global_checksum", upload, document("<ChecksumCRC32>z/Q5Jg==</ChecksumCRC32>"), h{"X-Amz-Checksum-Crc32": composite}, digest},
		{"test_mpu_complete_invalid_part_checksum", upload, document("<ChecksumCRC32>y/Q5Jh==</ChecksumCRC32>"), nil,
			h{"Code": "InvalidArgument", "Message": "Invalid Base64 or multiple checksums present in request", "ArgumentName": "Checksum", "ArgumentValue": "CRC32:y/Q5Jh==;"}},
		{"two checksums of a part", upload, document("<ChecksumCRC32>" + crc32 + "</ChecksumCRC32><ChecksumCRC32C>" + crc32c + "</ChecksumCRC32C>"), nil,
			h{"Code": "InvalidArgument", "Message": "Invalid Base64 or multiple checksums present in request", "ArgumentName": "Checksum", "ArgumentValue": "CRC32:y/Q5Jg==;CRC32C:4waSgw==;"}},
		{"test_multipart_mpu_no_etags", upload, strings.Replace(partSum, `<ETag>"25f9e794323b453885f5181f1b624d0b"</ETag>`, "", 1), nil,
			h{"Code": "MalformedXML", "Message": "The XML you provided was not well-formed or did not validate against our published schema"}},
		{"test_complete_multipart_upload_malformed_request", upload, strings.Replace(partSum, `"25f9e794323b453885f5181f1b624d0b"`, "", 1), nil,
			h{"Code": "InvalidPart", "ETag": "", "PartNumber": "1", "UploadId": strings.TrimPrefix(upload, "/sums/parts?uploadId="),
				"Message": "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."}},
		{"a checksum of the object, and none of its part", upload, document(""), h{"X-Amz-Checksum-Crc32": composite},
			invalid("The upload was created using a crc32 checksum. The complete request must include the checksum for each part. It was missing for part 1 in the request.")},
		{"two checksums of the object", upload, partSum, h{"X-Amz-Checksum-Crc32": composite, "X-Amz-Checksum-Crc32c": crc32c}, single},
		{"another algorithm than the upload's", upload, partSum, h{"X-Amz-Checksum-Crc32c": crc32c}, mismatch("crc32", "crc32c")},
		{"another checksum of the whole", whole, document(""), h{"X-Amz-Checksum-Crc32": composite}, digest},
		{"another size", upload, partSum, h{"X-Amz-Mp-Object-Size": "8"}, invalid("The provided 'x-amz-mp-object-size' header value does not match what was computed.")},
		{"another type", upload, partSum, h{"X-Amz-Checksum-Type": "FULL_OBJECT"}, invalid("The upload was created using the COMPOSITE checksum mode. The complete request must use the same checksum mode.")},
		{"test_mpu_complete_good_checksum_with_good_part_number", upload, partSum, h{"X-Amz-Checksum-Crc32": composite + "-1"}, h{}},
		{"the same again", upload, partSum, h{"X-Amz-Checksum-Crc32": composite, "X-Amz-Mp-Object-Size": "9"}, h{}},
		{"again, with another checksum", upload, partSum, h{"X-Amz-Checksum-Crc32": "z/Q5Jg=="}, digest},
		{"again, with another size", upload, partSum, h{"X-Amz-Mp-Object-Size": "8"}, invalid("The provided 'x-amz-mp-object-size' header value does not match what was computed.")},
	} {
		require.Equal(t, row.want, s3Error(t, s, "POST", row.path, row.body, row.headers), row.name)
	}
	// test_get_part
	read, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("sums"), Key: aws.String("parts"), PartNumber: aws.Int32(1), ChecksumMode: types.ChecksumModeEnabled})
	require.NoError(t, err)
	require.Equal(t, crc32, *read.ChecksumCRC32)
	require.NoError(t, read.Body.Close())

	// test_mpu.py: test_create_upload_complete_delete_complete, test_get_object_partNumber_and_range, test_get_object_partNumber_errors
	require.Equal(t, invalid("Cannot specify both Range header and partNumber query parameter"), s3Error(t, s, "GET", "/sums/parts?partNumber=0", "", h{"Range": "bytes=1-2"}))
	require.Equal(t, "Part number must be an integer between 1 and 10000, inclusive", s3Error(t, s, "GET", "/sums/parts?partNumber=0", "", nil)["Message"])
	require.Empty(t, s3Error(t, s, "POST", upload, partSum, nil))
	_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("sums"), Key: aws.String("parts")})
	require.NoError(t, err)
	require.Equal(t, "NoSuchUpload", s3Error(t, s, "POST", upload, partSum, nil)["Code"])
	put(t, c, "sums", "parts", "another")
	require.Equal(t, "NoSuchUpload", s3Error(t, s, "POST", upload, partSum, nil)["Code"])

	versioned(t, c, "sums-versions")
	begun, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("sums-versions"), Key: aws.String("k")})
	require.NoError(t, err)
	marked := "/sums-versions/k?uploadId=" + *begun.UploadId
	require.Empty(t, s3Error(t, s, "PUT", marked+"&partNumber=1", body, nil))
	require.Empty(t, s3Error(t, s, "POST", marked, document(""), nil))
	require.Empty(t, s3Error(t, s, "POST", marked, document(""), nil), "again")
	_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("sums-versions"), Key: aws.String("k")})
	require.NoError(t, err)
	require.Empty(t, s3Error(t, s, "POST", marked, document(""), nil), "the version is there")

	// test_mpu_no_checksum_part_good_global_checksum: S3 ignores a checksum of the whole where the upload has no algorithm.
	plain := begin("plain", nil)
	require.Empty(t, s3Error(t, s, "PUT", plain+"&partNumber=1", body, h{"X-Amz-Checksum-Sha256": sha256}))
	require.Empty(t, s3Error(t, s, "POST", plain, document(""), h{"X-Amz-Checksum-Sha256": "KSsNAHVmgy25S/rmic1w0at3KBH9RLn0nYVQ7p6mpJQ="}))
	stored, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("sums"), Key: aws.String("plain"), ChecksumMode: types.ChecksumModeEnabled})
	require.NoError(t, err)
	require.Equal(t, "rosUhgp5mIg=", *stored.ChecksumCRC64NVME)
	require.Nil(t, stored.ChecksumSHA256)
}

// LocalStack's tests, at each step.
func TestRecorded_S3UploadsAndBuckets(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "begun")
	put(t, c, "begun", "test key.txt", "test-body")
	type h = map[string]string
	require.Empty(t, s3Error(t, s, "PUT", "/begun/dest-key", "", h{"X-Amz-Copy-Source": "begun%2Ftest+key.txt"}), "test_copy_object_special_character_plus_for_space")
	require.Equal(t, "test-body", get(t, c, "begun", "dest-key"))
	require.Empty(t, s3Error(t, s, "GET", "/begun/dest-key", "x", nil), "test_get_object_ignores_request_body")
	require.Empty(t, s3Error(t, s, "PUT", "/begun/algo-only-checksum", "x", h{"X-Amz-Checksum-Algorithm": "SHA256"}), "test_s3_checksum_no_automatic_sdk_calculation")
	require.Empty(t, s3Error(t, s, "PUT", "/begun-too", "<CreateBucketConfiguration/>", nil), "moto's test_bucket_create_empty_location_constraint_standard_region_should_pass")
	made, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("begun-west"), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "us-west-1"}})
	require.NoError(t, err)
	require.Equal(t, "http://begun-west.s3.amazonaws.com/", *made.Location, "test_create_bucket_head_bucket")

	begin := func(key string) string {
		out, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("begun"), Key: &key})
		require.NoError(t, err)
		_, err = c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: aws.String("begun"), Key: &key, UploadId: out.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("test")})
		require.NoError(t, err)
		return *out.UploadId
	}
	const document = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"098f6bcd4621d373cade4e832627b4f6"</ETag></Part></CompleteMultipartUpload>`
	none := h{"If-None-Match": "*"}
	id := begin("dest-key")
	require.Equal(t, "PreconditionFailed", s3Error(t, s, "POST", "/begun/dest-key?uploadId="+id, document, none)["Code"])
	_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("begun"), Key: aws.String("dest-key")})
	require.NoError(t, err)
	require.Equal(t, h{"Code": "ConditionalRequestConflict", "Condition": "If-None-Match", "Key": "dest-key", "Message": "The conditional request cannot succeed due to a conflicting operation against this resource."},
		s3Error(t, s, "POST", "/begun/dest-key?uploadId="+id, document, none), "test_multipart_if_none_match_with_delete")
	other := begin("dest-key")
	require.Equal(t, h{"Code": "InvalidArgument", "ArgumentName": "upload-id-marker", "ArgumentValue": other, "Message": "Invalid uploadId marker"},
		s3Error(t, s, "GET", "/begun?uploads&key-marker=a&upload-id-marker="+other, "", nil), "test_list_multiparts_next_marker")
	listed, err := c.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("begun"), UploadIdMarker: &other})
	require.NoError(t, err)
	require.Len(t, listed.Uploads, 2, "without a key-marker it is ignored")
	require.Empty(t, *listed.UploadIdMarker)
	require.Empty(t, s3Error(t, s, "POST", "/begun/dest-key?uploadId="+other, document, none), "an upload that began after the deletion")
}
