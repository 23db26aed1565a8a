package main

import (
	"context"
	"crypto/md5" //nolint:gosec // SSE-C's digest of a key
	"encoding/base64"
	"io"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func buckets(r *runner) {
	name := r.o.prefix + "-" + r.account
	b := &name
	head := func(bucket string) func(context.Context) (string, error) {
		return answer(r.s3.HeadBucket, &s3.HeadBucketInput{Bucket: &bucket}, func(out *s3.HeadBucketOutput) string { return fields("Region", out.BucketRegion) })
	}
	r.step("HeadBucket of a bucket that does not exist", head(r.o.prefix+"-none"))
	r.step("CreateBucket in us-east-1 with a constraint", answered(r.s3.CreateBucket, &s3.CreateBucketInput{Bucket: b,
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: region}}))
	r.step("CreateBucket with an invalid name", answered(r.s3.CreateBucket, &s3.CreateBucketInput{Bucket: aws.String(r.o.prefix + "..x")}))
	r.bucket = name // before the call: its answer may be lost
	r.must("CreateBucket", answered(r.s3.CreateBucket, &s3.CreateBucketInput{Bucket: b}))
	r.until("HeadBucket", "Region=", head(name))
	r.step("CreateBucket again", answered(r.s3.CreateBucket, &s3.CreateBucketInput{Bucket: b}))
	r.step("HeadBucket with another owner", answered(r.s3.HeadBucket, &s3.HeadBucketInput{Bucket: b, ExpectedBucketOwner: aws.String("000000000000")}))
	r.step("GetBucketLocation", answer(r.s3.GetBucketLocation, &s3.GetBucketLocationInput{Bucket: b}, func(out *s3.GetBucketLocationOutput) string { return fields("Location", out.LocationConstraint) }))
	r.step("GetBucketVersioning", answer(r.s3.GetBucketVersioning, &s3.GetBucketVersioningInput{Bucket: b}, func(out *s3.GetBucketVersioningOutput) string { return fields("Status", out.Status) }))
	r.step("GetBucketPolicy without a policy", answered(r.s3.GetBucketPolicy, &s3.GetBucketPolicyInput{Bucket: b}))
	r.step("GetBucketTagging without tags", answered(r.s3.GetBucketTagging, &s3.GetBucketTaggingInput{Bucket: b}))
	r.step("GetBucketCors without rules", answered(r.s3.GetBucketCors, &s3.GetBucketCorsInput{Bucket: b}))
	r.step("GetBucketLifecycleConfiguration without rules", answered(r.s3.GetBucketLifecycleConfiguration, &s3.GetBucketLifecycleConfigurationInput{Bucket: b}))
	r.step("GetObjectLockConfiguration without Object Lock", answered(r.s3.GetObjectLockConfiguration, &s3.GetObjectLockConfigurationInput{Bucket: b}))
	r.step("GetBucketReplication without a configuration", answered(r.s3.GetBucketReplication, &s3.GetBucketReplicationInput{Bucket: b}))
	replicate := func(role string) func(context.Context) (string, error) {
		return answered(r.s3.PutBucketReplication, &s3.PutBucketReplicationInput{Bucket: b, ReplicationConfiguration: &types.ReplicationConfiguration{Role: &role, Rules: []types.ReplicationRule{{
			Status: types.ReplicationRuleStatusEnabled, Priority: aws.Int32(1), Filter: &types.ReplicationRuleFilter{},
			DeleteMarkerReplication: &types.DeleteMarkerReplication{Status: types.DeleteMarkerReplicationStatusDisabled},
			Destination:             &types.Destination{Bucket: aws.String("arn:aws:s3:::" + r.o.prefix + "-none")},
		}}}})
	}
	r.step("PutBucketReplication with an invalid role", replicate("role"))
	r.step("PutBucketReplication without versioning", replicate("arn:aws:iam::"+r.account+":role/"+r.o.prefix))
	r.step("DeleteBucketReplication without a configuration", answered(r.s3.DeleteBucketReplication, &s3.DeleteBucketReplicationInput{Bucket: b}))
	r.step("GetPublicAccessBlock", answer(r.s3.GetPublicAccessBlock, &s3.GetPublicAccessBlockInput{Bucket: b}, func(out *s3.GetPublicAccessBlockOutput) string {
		c := out.PublicAccessBlockConfiguration
		return fields("BlockPublicAcls", c.BlockPublicAcls, "IgnorePublicAcls", c.IgnorePublicAcls, "BlockPublicPolicy", c.BlockPublicPolicy, "RestrictPublicBuckets", c.RestrictPublicBuckets)
	}))
	r.step("GetBucketOwnershipControls", answer(r.s3.GetBucketOwnershipControls, &s3.GetBucketOwnershipControlsInput{Bucket: b}, func(out *s3.GetBucketOwnershipControlsOutput) string {
		return fields("Ownership", out.OwnershipControls.Rules[0].ObjectOwnership)
	}))
	tag := func(keys ...string) func(context.Context) (string, error) {
		tags := []types.Tag{}
		for i := range keys {
			tags = append(tags, types.Tag{Key: &keys[i], Value: aws.String("x")})
		}
		return answered(r.s3.PutBucketTagging, &s3.PutBucketTaggingInput{Bucket: b, Tagging: &types.Tagging{TagSet: tags}})
	}
	r.step("PutBucketTagging", tag("team"))
	r.step("PutBucketTagging with a key twice", tag("team", "team"))
	r.step("PutBucketTagging with an aws: key", tag("aws:team"))
	r.until("GetBucketTagging", "Tags=1", answer(r.s3.GetBucketTagging, &s3.GetBucketTaggingInput{Bucket: b}, func(out *s3.GetBucketTaggingOutput) string { return fields("Tags", len(out.TagSet)) }))
}

// put makes a call that stores an object.
func (r *runner) put(key, body string, change func(*s3.PutObjectInput)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		in := &s3.PutObjectInput{Bucket: &r.bucket, Key: &key, Body: strings.NewReader(body)}
		if change != nil {
			change(in)
		}
		out, err := r.s3.PutObject(ctx, in)
		if err != nil {
			return "", err
		}
		return fields("SSE", out.ServerSideEncryption, "Key", out.SSEKMSKeyId, "BucketKey", out.BucketKeyEnabled, "ETag", len(aws.ToString(out.ETag)), "Version", out.VersionId != nil, "Checksum", out.ChecksumType), nil
	}
}

func (r *runner) get(key string, change func(*s3.GetObjectInput)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		in := &s3.GetObjectInput{Bucket: &r.bucket, Key: &key}
		if change != nil {
			change(in)
		}
		out, err := r.s3.GetObject(ctx, in)
		if err != nil {
			return "", err
		}
		defer func() { _ = out.Body.Close() }() // read to its end
		body, err := io.ReadAll(io.LimitReader(out.Body, 1<<20))
		return fields("Body", string(body), "SSE", out.ServerSideEncryption, "Key", out.SSEKMSKeyId, "Type", out.ContentType, "Range", out.ContentRange, "AcceptRanges", out.AcceptRanges, "Tags", out.TagCount), err
	}
}

func objectEncryption(r *runner) {
	b := &r.bucket
	get := answer(r.s3.GetBucketEncryption, &s3.GetBucketEncryptionInput{Bucket: b}, func(out *s3.GetBucketEncryptionOutput) string {
		rule := out.ServerSideEncryptionConfiguration.Rules[0]
		blocked := []types.EncryptionType(nil)
		if rule.BlockedEncryptionTypes != nil {
			blocked = rule.BlockedEncryptionTypes.EncryptionType
		}
		return fields("Algorithm", rule.ApplyServerSideEncryptionByDefault.SSEAlgorithm, "Key", rule.ApplyServerSideEncryptionByDefault.KMSMasterKeyID, "BucketKey", rule.BucketKeyEnabled, "Blocked", blocked)
	})
	put := func(algorithm types.ServerSideEncryption, key *string) func(context.Context) (string, error) {
		return answered(r.s3.PutBucketEncryption, &s3.PutBucketEncryptionInput{Bucket: b, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
			Rules: []types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: algorithm, KMSMasterKeyID: key}, BucketKeyEnabled: aws.Bool(true)}}}})
	}
	arn := "arn:aws:kms:" + region + ":" + r.account + ":key/" + r.keys[0]
	r.step("GetBucketEncryption", get)
	r.step("PutObject without a configuration", r.put("plain", "hello", nil))
	r.step("PutBucketEncryption with an unknown algorithm", put("unknown", nil))
	r.step("PutBucketEncryption of AES256 with a key", put(types.ServerSideEncryptionAes256, &arn))
	r.step("PutBucketEncryption", put(types.ServerSideEncryptionAwsKms, &arn))
	r.until("GetBucketEncryption after a change", "Algorithm=aws:kms", get)
	r.until("PutObject by the bucket's default", "SSE=aws:kms", r.put("default", "hello", nil))
	r.step("GetObject by the bucket's default", r.get("default", nil))
	r.step("HeadObject", answer(r.s3.HeadObject, &s3.HeadObjectInput{Bucket: b, Key: aws.String("default")}, func(out *s3.HeadObjectOutput) string {
		return fields("SSE", out.ServerSideEncryption, "Key", out.SSEKMSKeyId, "BucketKey", out.BucketKeyEnabled, "Length", out.ContentLength, "Type", out.ContentType)
	}))
	r.step("PutObject with SSE-S3", r.put("s3", "hello", func(in *s3.PutObjectInput) { in.ServerSideEncryption = types.ServerSideEncryptionAes256 }))
	r.step("PutObject with SSE-KMS and no key", r.put("kms", "hello", func(in *s3.PutObjectInput) { in.ServerSideEncryption = types.ServerSideEncryptionAwsKms }))
	r.step("PutObject with a key and no Bucket Key", r.put("kms", "hello", func(in *s3.PutObjectInput) {
		in.ServerSideEncryption, in.SSEKMSKeyId, in.BucketKeyEnabled = types.ServerSideEncryptionAwsKms, &r.keys[0], aws.Bool(false)
	}))
	r.step("PutObject with an unknown key", r.put("x", "hello", func(in *s3.PutObjectInput) {
		in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, aws.String(unknownKey)
	}))
	r.step("PutObject with an unknown algorithm", r.put("x", "hello", func(in *s3.PutObjectInput) { in.ServerSideEncryption = "unknown" }))
	r.step("PutObject with the ACL private, where there are no ACLs", r.put("acl", "hello", func(in *s3.PutObjectInput) { in.ACL = types.ObjectCannedACLPrivate }))
	r.step("PutObject with SSE-C, which new buckets block", r.put("x", "hello", func(in *s3.PutObjectInput) {
		key := []byte("01234567890123456789012345678901")
		sum := md5.Sum(key) //nolint:gosec // SSE-C's digest of a key
		in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = aws.String("AES256"), aws.String(base64.StdEncoding.EncodeToString(key)), aws.String(base64.StdEncoding.EncodeToString(sum[:]))
	}))
	replace := func(key string, change func(*s3.CopyObjectInput)) func(context.Context) (string, error) {
		in := &s3.CopyObjectInput{Bucket: b, Key: &key, CopySource: aws.String(r.bucket + "/" + key)}
		if change != nil {
			change(in)
		}
		return answer(r.s3.CopyObject, in, func(out *s3.CopyObjectOutput) string {
			return fields("SSE", out.ServerSideEncryption, "Key", out.SSEKMSKeyId, "BucketKey", out.BucketKeyEnabled)
		})
	}
	r.step("CopyObject of a KMS-encrypted object onto itself", replace("default", nil))
	r.step("CopyObject onto itself with SSE-S3", replace("default", func(in *s3.CopyObjectInput) { in.ServerSideEncryption = types.ServerSideEncryptionAes256 }))
}

func objects(r *runner) {
	b := &r.bucket
	ifNone := func(v string) func(*s3.PutObjectInput) { return func(in *s3.PutObjectInput) { in.IfNoneMatch = &v } }
	ifMatch := func(v string) func(*s3.PutObjectInput) { return func(in *s3.PutObjectInput) { in.IfMatch = &v } }
	wrong := `"00000000000000000000000000000000"`
	r.step("PutObject", r.put("a", "0123456789", nil))
	r.step("PutObject if there is none, on an object", r.put("a", "x", ifNone("*")))
	r.step("PutObject if there is none", r.put("b", "x", ifNone("*")))
	r.step("PutObject if the ETag matches, and it does not", r.put("a", "x", ifMatch(wrong)))
	r.step("PutObject if the ETag matches, on no object", r.put("none", "x", ifMatch(wrong)))
	r.step("PutObject if none matches an ETag", r.put("a", "x", ifNone(wrong)))
	r.step("PutObject with a wrong digest", r.put("x", "x", func(in *s3.PutObjectInput) { in.ContentMD5 = aws.String("AAAAAAAAAAAAAAAAAAAAAA==") }))
	r.step("PutObject with too long a key", r.put(strings.Repeat("k", 1025), "x", nil))
	r.step("PutObject with an unknown storage class", r.put("x", "x", func(in *s3.PutObjectInput) { in.StorageClass = "UNKNOWN" }))
	r.step("GetObject", r.get("a", nil))
	r.step("GetObject of a key that does not exist", r.get("none", nil))
	r.step("GetObject of a range", r.get("a", func(in *s3.GetObjectInput) { in.Range = aws.String("bytes=2-4") }))
	r.step("GetObject of the last bytes", r.get("a", func(in *s3.GetObjectInput) { in.Range = aws.String("bytes=-3") }))
	r.step("GetObject of a range past the end", r.get("a", func(in *s3.GetObjectInput) { in.Range = aws.String("bytes=10-") }))
	r.step("GetObject if the ETag matches, and it does not", r.get("a", func(in *s3.GetObjectInput) { in.IfMatch = &wrong }))
	r.step("GetObject if none matches *", r.get("a", func(in *s3.GetObjectInput) { in.IfNoneMatch = aws.String("*") }))
	r.step("GetObject with an unknown version", r.get("a", func(in *s3.GetObjectInput) { in.VersionId = aws.String("unknown") }))
	r.step("GetObject with another owner", r.get("a", func(in *s3.GetObjectInput) { in.ExpectedBucketOwner = aws.String("000000000000") }))
	r.step("HeadObject of a key that does not exist", answered(r.s3.HeadObject, &s3.HeadObjectInput{Bucket: b, Key: aws.String("none")}))
	r.step("GetObject from a bucket that does not exist", answered(r.s3.GetObject, &s3.GetObjectInput{Bucket: aws.String(r.o.prefix + "-none"), Key: aws.String("a")}))
	r.step("DeleteObject if the ETag matches, and it does not", answered(r.s3.DeleteObject, &s3.DeleteObjectInput{Bucket: b, Key: aws.String("a"), IfMatch: &wrong}))
	r.step("DeleteObject of a key that does not exist", answered(r.s3.DeleteObject, &s3.DeleteObjectInput{Bucket: b, Key: aws.String("none")}))
	tag := func(keys ...string) func(context.Context) (string, error) {
		tags := []types.Tag{}
		for i := range keys {
			tags = append(tags, types.Tag{Key: &keys[i], Value: aws.String("x")})
		}
		return answered(r.s3.PutObjectTagging, &s3.PutObjectTaggingInput{Bucket: b, Key: aws.String("a"), Tagging: &types.Tagging{TagSet: tags}})
	}
	r.step("PutObjectTagging", tag("one", "two"))
	r.step("PutObjectTagging with a key twice", tag("one", "one"))
	r.step("PutObjectTagging of 11 tags", tag("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"))
	r.step("PutObjectTagging with too long a key", tag(strings.Repeat("k", 129)))
	r.step("GetObjectTagging", answer(r.s3.GetObjectTagging, &s3.GetObjectTaggingInput{Bucket: b, Key: aws.String("a")}, func(out *s3.GetObjectTaggingOutput) string {
		var keys []string
		for _, t := range out.TagSet {
			keys = append(keys, *t.Key)
		}
		slices.Sort(keys)
		return fields("Tags", keys)
	}))
	r.step("GetObject with tags", r.get("a", nil))
	r.step("DeleteObject", answered(r.s3.DeleteObject, &s3.DeleteObjectInput{Bucket: b, Key: aws.String("a")}))
	r.step("DeleteBucket of a bucket with objects", answered(r.s3.DeleteBucket, &s3.DeleteBucketInput{Bucket: b}))
}

func listings(r *runner) {
	for _, key := range []string{"list/a", "list/b/1", "list/b/2", "list/c d"} {
		r.step("PutObject "+key, r.put(key, "x", nil))
	}
	list := func(change func(*s3.ListObjectsV2Input)) func(context.Context) (string, error) {
		in := &s3.ListObjectsV2Input{Bucket: &r.bucket, Prefix: aws.String("list/")}
		change(in)
		return answer(r.s3.ListObjectsV2, in, func(out *s3.ListObjectsV2Output) string {
			var keys, prefixes []string
			for _, o := range out.Contents {
				keys = append(keys, *o.Key+":"+string(o.StorageClass))
			}
			for _, p := range out.CommonPrefixes {
				prefixes = append(prefixes, *p.Prefix)
			}
			return fields("Keys", keys, "Prefixes", prefixes, "Count", out.KeyCount, "Max", out.MaxKeys, "Truncated", out.IsTruncated, "Next", out.NextContinuationToken != nil, "Delimiter", out.Delimiter, "StartAfter", out.StartAfter)
		})
	}
	r.step("ListObjectsV2", list(func(*s3.ListObjectsV2Input) {}))
	r.step("ListObjectsV2 with a delimiter", list(func(in *s3.ListObjectsV2Input) { in.Delimiter = aws.String("/") }))
	r.step("ListObjectsV2 of two keys with a delimiter", list(func(in *s3.ListObjectsV2Input) { in.Delimiter, in.MaxKeys = aws.String("/"), aws.Int32(2) }))
	r.step("ListObjectsV2 of no keys", list(func(in *s3.ListObjectsV2Input) { in.MaxKeys = aws.Int32(0) }))
	r.step("ListObjectsV2 of a negative number", list(func(in *s3.ListObjectsV2Input) { in.MaxKeys = aws.Int32(-1) }))
	r.step("ListObjectsV2 after a key", list(func(in *s3.ListObjectsV2Input) { in.StartAfter = aws.String("list/b/1") }))
	r.step("ListObjectsV2 encoded as URLs", list(func(in *s3.ListObjectsV2Input) { in.EncodingType = types.EncodingTypeUrl }))
	r.step("ListObjectsV2 with an invalid token", list(func(in *s3.ListObjectsV2Input) { in.ContinuationToken = aws.String("invalid") }))
	r.step("ListObjects after a prefix", answer(r.s3.ListObjects, &s3.ListObjectsInput{Bucket: &r.bucket, Prefix: aws.String("list/"), Delimiter: aws.String("/"), Marker: aws.String("list/b/")}, func(out *s3.ListObjectsOutput) string {
		return fields("Keys", len(out.Contents), "Prefixes", len(out.CommonPrefixes), "Marker", out.Marker, "Truncated", out.IsTruncated, "Next", out.NextMarker)
	}))
}

func multipart(r *runner) {
	b, key := &r.bucket, aws.String("parts")
	var id *string
	tags := map[int32]*string{}
	begin := answer(r.s3.CreateMultipartUpload, &s3.CreateMultipartUploadInput{Bucket: b, Key: key}, func(out *s3.CreateMultipartUploadOutput) string {
		id = out.UploadId
		r.name(*id, "{upload}")
		return fields("Bucket", out.Bucket, "Key", out.Key, "SSE", out.ServerSideEncryption, "KMS", out.SSEKMSKeyId, "Checksum", out.ChecksumAlgorithm, "Type", out.ChecksumType)
	})
	upload := func(number int32) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			out, err := r.s3.UploadPart(ctx, &s3.UploadPartInput{Bucket: b, Key: key, UploadId: id, PartNumber: &number, Body: strings.NewReader("part")})
			if err != nil {
				return "", err
			}
			tags[number] = out.ETag
			return fields("SSE", out.ServerSideEncryption, "ETag", len(aws.ToString(out.ETag))), nil
		}
	}
	complete := func(change func(*s3.CompleteMultipartUploadInput), numbers ...int32) func(context.Context) (string, error) {
		in := &s3.CompleteMultipartUploadInput{Bucket: b, Key: key, UploadId: id, MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{}}}
		for i := range numbers {
			in.MultipartUpload.Parts = append(in.MultipartUpload.Parts, types.CompletedPart{PartNumber: &numbers[i], ETag: tags[numbers[i]]})
		}
		if change != nil {
			change(in)
		}
		return answer(r.s3.CompleteMultipartUpload, in, func(out *s3.CompleteMultipartUploadOutput) string {
			_, parts, _ := strings.Cut(strings.Trim(aws.ToString(out.ETag), `"`), "-")
			return fields("Bucket", out.Bucket, "Key", out.Key, "Parts", parts, "SSE", out.ServerSideEncryption, "KMS", out.SSEKMSKeyId, "Type", out.ChecksumType)
		})
	}
	r.must("CreateMultipartUpload", begin)
	r.step("UploadPart 0", upload(0))
	r.step("UploadPart 10001", upload(10001))
	r.step("UploadPart 1", upload(1))
	r.step("UploadPart 2", upload(2))
	r.step("ListParts", answer(r.s3.ListParts, &s3.ListPartsInput{Bucket: b, Key: key, UploadId: id}, func(out *s3.ListPartsOutput) string {
		return fields("Parts", len(out.Parts), "Max", out.MaxParts, "Truncated", out.IsTruncated, "Class", out.StorageClass, "Next", out.NextPartNumberMarker)
	}))
	r.step("CompleteMultipartUpload without parts", complete(nil))
	r.step("CompleteMultipartUpload with a part that was not uploaded", complete(func(in *s3.CompleteMultipartUploadInput) { in.MultipartUpload.Parts[1].PartNumber = aws.Int32(3) }, 1, 2))
	r.step("CompleteMultipartUpload with a wrong ETag", complete(func(in *s3.CompleteMultipartUploadInput) {
		in.MultipartUpload.Parts[0].ETag = aws.String(`"00000000000000000000000000000000"`)
	}, 1))
	r.step("CompleteMultipartUpload out of order", complete(nil, 2, 1))
	r.step("CompleteMultipartUpload with a small first part", complete(nil, 1, 2))
	r.step("CompleteMultipartUpload of another size", complete(func(in *s3.CompleteMultipartUploadInput) { in.MpuObjectSize = aws.Int64(5) }, 1))
	r.step("CompleteMultipartUpload", complete(nil, 1))
	r.step("CompleteMultipartUpload again", complete(nil, 1))
	r.step("CompleteMultipartUpload again with other parts", complete(nil, 2))
	r.step("GetObject of one part", r.get("parts", func(in *s3.GetObjectInput) { in.PartNumber = aws.Int32(1) }))
	r.step("UploadPart after the completion", upload(1))
	r.step("AbortMultipartUpload of an unknown upload", answered(r.s3.AbortMultipartUpload, &s3.AbortMultipartUploadInput{Bucket: b, Key: key, UploadId: aws.String("unknown")}))
	r.must("CreateMultipartUpload on an object", begin)
	r.step("UploadPart 1 of the second upload", upload(1))
	r.step("CompleteMultipartUpload if there is none, on an object", complete(func(in *s3.CompleteMultipartUploadInput) { in.IfNoneMatch = aws.String("*") }, 1))
	r.step("ListMultipartUploads", answer(r.s3.ListMultipartUploads, &s3.ListMultipartUploadsInput{Bucket: b}, func(out *s3.ListMultipartUploadsOutput) string {
		return fields("Uploads", len(out.Uploads), "Max", out.MaxUploads, "Truncated", out.IsTruncated)
	}))
	r.step("AbortMultipartUpload", answered(r.s3.AbortMultipartUpload, &s3.AbortMultipartUploadInput{Bucket: b, Key: key, UploadId: id}))
}

func bucketPolicies(r *runner) {
	put := func(statement string) func(context.Context) (string, error) {
		document := `{"Version":"2012-10-17","Statement":[` + statement + `]}`
		return answered(r.s3.PutBucketPolicy, &s3.PutBucketPolicyInput{Bucket: &r.bucket, Policy: &document})
	}
	deny := func(resource, condition string) string {
		return `{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"` + resource + `","Condition":` + condition + `}`
	}
	all := "arn:aws:s3:::" + r.bucket + "/*"
	r.step("PutBucketPolicy of no JSON", answered(r.s3.PutBucketPolicy, &s3.PutBucketPolicyInput{Bucket: &r.bucket, Policy: aws.String("{")}))
	r.step("PutBucketPolicy for another bucket", put(deny("arn:aws:s3:::"+r.bucket+"-other/*", `{"Bool":{"aws:SecureTransport":"false"}}`)))
	r.step("PutBucketPolicy with an unknown action", put(`{"Effect":"Deny","Principal":"*","Action":"s3:Unknown","Resource":"`+all+`"}`))
	r.step("PutBucketPolicy with an unknown condition key", put(deny(all, `{"StringEquals":{"s3:unknown":"x"}}`)))
	r.step("PutBucketPolicy with an unknown principal", put(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+r.account+`:role/`+r.o.prefix+`-none"},"Action":"s3:GetObject","Resource":"`+all+`"}`))
	r.step("PutBucketPolicy that is public", put(`{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"`+all+`"}`))
	r.step("PutBucketPolicy that denies other algorithms", put(deny(all, `{"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"},"Null":{"s3:x-amz-server-side-encryption":"false"}}`)))
	r.until("PutObject that the policy denies", "AccessDenied", r.put("denied", "x", func(in *s3.PutObjectInput) { in.ServerSideEncryption = types.ServerSideEncryptionAes256 }))
	r.step("PutObject without a header, which the policy allows", r.put("allowed", "x", nil))
	r.step("GetBucketPolicyStatus", answer(r.s3.GetBucketPolicyStatus, &s3.GetBucketPolicyStatusInput{Bucket: &r.bucket}, func(out *s3.GetBucketPolicyStatusOutput) string {
		return fields("IsPublic", out.PolicyStatus.IsPublic)
	}))
	r.step("DeleteBucketPolicy", answered(r.s3.DeleteBucketPolicy, &s3.DeleteBucketPolicyInput{Bucket: &r.bucket}))
	r.until("PutObject after the policy is gone", "SSE=AES256", r.put("denied", "x", func(in *s3.PutObjectInput) { in.ServerSideEncryption = types.ServerSideEncryptionAes256 }))
}

func versions(r *runner) {
	b, key := &r.bucket, aws.String("versions")
	set := func(status types.BucketVersioningStatus) func(context.Context) (string, error) {
		return answered(r.s3.PutBucketVersioning, &s3.PutBucketVersioningInput{Bucket: b, VersioningConfiguration: &types.VersioningConfiguration{Status: status}})
	}
	var marker *string
	remove := func(version *string) func(context.Context) (string, error) {
		return answer(r.s3.DeleteObject, &s3.DeleteObjectInput{Bucket: b, Key: key, VersionId: version}, func(out *s3.DeleteObjectOutput) string {
			marker = out.VersionId
			return fields("Marker", out.DeleteMarker, "Version", out.VersionId != nil)
		})
	}
	list := answer(r.s3.ListObjectVersions, &s3.ListObjectVersionsInput{Bucket: b, Prefix: key}, func(out *s3.ListObjectVersionsOutput) string {
		var latest []bool
		for _, v := range out.Versions {
			latest = append(latest, aws.ToBool(v.IsLatest))
		}
		return fields("Versions", len(out.Versions), "Latest", latest, "Markers", len(out.DeleteMarkers))
	})
	r.step("PutBucketVersioning with an unknown status", set("Unknown"))
	r.step("PutObject before versioning", r.put(*key, "0", nil))
	r.step("PutBucketVersioning", set(types.BucketVersioningStatusEnabled))
	r.until("GetBucketVersioning after a change", "Status=Enabled", answer(r.s3.GetBucketVersioning, &s3.GetBucketVersioningInput{Bucket: b}, func(out *s3.GetBucketVersioningOutput) string {
		return fields("Status", out.Status, "MFADelete", out.MFADelete)
	}))
	r.step("PutObject of a version", r.put(*key, "1", nil))
	r.step("ListObjectVersions", list)
	r.step("GetObject of the version null", r.get(*key, func(in *s3.GetObjectInput) { in.VersionId = aws.String("null") }))
	r.step("DeleteObject", remove(nil))
	deleted := marker
	r.step("GetObject after DeleteObject", r.get(*key, nil))
	r.step("GetObject of the delete marker", r.get(*key, func(in *s3.GetObjectInput) { in.VersionId = deleted }))
	r.step("ListObjectVersions with a delete marker", list)
	r.step("GetObject with a malformed version ID", r.get(*key, func(in *s3.GetObjectInput) { in.VersionId = aws.String("malformed") }))
	r.step("DeleteObject of the delete marker", remove(deleted))
	r.step("GetObject after the marker is gone", r.get(*key, nil))
	r.step("PutBucketVersioning to Suspended", set(types.BucketVersioningStatusSuspended))
	r.step("DeleteObject of the version null", remove(aws.String("null")))
	r.step("ListObjectVersions in the end", list)
}
