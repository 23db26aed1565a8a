package localaws

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

// updateTo asks for another encryption of the object k.
func updateTo(bucket, arn string, bucketKey bool) *s3.UpdateObjectEncryptionInput {
	return &s3.UpdateObjectEncryptionInput{Bucket: &bucket, Key: aws.String("k"),
		ObjectEncryption: &types.ObjectEncryptionMemberSSEKMS{Value: types.SSEKMSEncryption{KMSKeyArn: &arn, BucketKeyEnabled: &bucketKey}}}
}

// What the object is stays; how it is encrypted changes, on disk too.
func TestUpdateObjectEncryption_KeepsTheObject(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newServer(t, unthrottled, func(o *Options) { o.Now = clock.now })
	c := s3Client(t, s, "alice", noRetries)
	_, first := makeKey(t, s)
	k, second := makeKey(t, s)
	makeBucket(t, c, "rotate")
	body := string(make([]byte, 3*sealChunk+1))
	put(t, c, "rotate", "k", body, func(in *s3.PutObjectInput) {
		in.Metadata, in.Tagging, in.StorageClass = map[string]string{"a": "b"}, aws.String("t=1"), types.StorageClassStandardIa
	})
	head := func() *s3.HeadObjectOutput {
		out, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("rotate"), Key: aws.String("k"), ChecksumMode: types.ChecksumModeEnabled})
		require.NoError(t, err)
		return out
	}
	before := head()
	const object, bucket, by = "arn:aws:s3:::rotate/k", "arn:aws:s3:::rotate", "fas.s3.amazonaws.com"
	for _, step := range []struct {
		name      string
		arn       string
		bucketKey bool
		uses      []keyUse
	}{
		{"SSE-S3 to SSE-KMS", first, false, []keyUse{{"Encrypt", "alice", by, object, ""}}},
		{"to another key", second, false, []keyUse{{"ReEncrypt", "alice", by, object, ""}}},
		{"to a bucket key", second, true, []keyUse{{"Decrypt", "alice", by, object, ""}, {"GenerateDataKey", "alice", by, bucket, ""}}},
		{"to a bucket key of another key", first, true, []keyUse{{"Decrypt", "alice", by, bucket, ""}, {"GenerateDataKey", "alice", by, bucket, ""}}},
		{"to no bucket key", second, false, []keyUse{{"Decrypt", "alice", by, bucket, ""}, {"Encrypt", "alice", by, object, ""}}},
	} {
		clock.advance(time.Hour) // also past the life of a bucket-level key
		seen := len(keyUses(t, s))
		_, err := c.UpdateObjectEncryption(t.Context(), updateTo("rotate", step.arn, step.bucketKey))
		require.NoError(t, err, step.name)
		require.ElementsMatch(t, step.uses, keyUses(t, s)[seen:], step.name) // of the same second
		after := head()
		require.Equal(t, types.ServerSideEncryptionAwsKms, after.ServerSideEncryption, step.name)
		require.Equal(t, step.arn, *after.SSEKMSKeyId, step.name)
		require.Equal(t, step.bucketKey, aws.ToBool(after.BucketKeyEnabled), step.name)
		require.Equal(t, before.ETag, after.ETag, step.name)
		require.Equal(t, before.LastModified, after.LastModified, step.name)
		require.Equal(t, before.ChecksumCRC32, after.ChecksumCRC32, step.name)
		require.Equal(t, before.Metadata, after.Metadata, step.name)
		require.Equal(t, before.StorageClass, after.StorageClass, step.name)
		require.Equal(t, body, get(t, c, "rotate", "k"), step.name)
		e, err := s.Envelope("rotate", "k")
		require.NoError(t, err)
		require.Equal(t, step.arn, e.Header.KMSKeyARN, step.name)
		files, err := os.ReadDir(s.objects())
		require.NoError(t, err)
		require.Len(t, files, 1, step.name)
	}
	_, err := k.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &first})
	require.NoError(t, err)
	require.Equal(t, body, get(t, c, "rotate", "k"), "the earlier key is needed no more")
}

func TestUpdateObjectEncryption_Refuses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	k, arn := makeKey(t, s)
	_, disabled := makeKey(t, s)
	_, err := k.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &disabled})
	require.NoError(t, err)
	_, err = c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("refused"), ObjectLockEnabledForBucket: aws.Bool(true)})
	require.NoError(t, err)
	put(t, c, "refused", "k", "x")
	for name, row := range map[string]struct{ body, code, message string }{
		"an alias":           {"<SSE-KMS><KMSKeyArn>arn:aws:kms:us-east-1:123456789012:alias/a</KMSKeyArn></SSE-KMS>", "InvalidRequest", "valid Amazon Web Services KMS key"},
		"no key":             {"<SSE-KMS/>", "InvalidRequest", "require an Amazon Web Services KMS key"},
		"another account":    {"<SSE-KMS><KMSKeyArn>arn:aws:kms:us-east-1:210987654321:key/1</KMSKeyArn></SSE-KMS>", "AccessDenied", "owned by the same account as the bucket"},
		"no such key":        {"<SSE-KMS><KMSKeyArn>arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000</KMSKeyArn></SSE-KMS>", "KMS.NotFoundException", ""},
		"a disabled key":     {"<SSE-KMS><KMSKeyArn>" + disabled + "</KMSKeyArn></SSE-KMS>", "KMS.DisabledException", ""},
		"SSE-S3":             {"<SSE-S3/>", "InvalidRequest", "require a valid new encryption type"},
		"two layers":         {"<DSSE-KMS/>", "InvalidRequest", "DSSE-KMS or SSE-C"},
		"nothing":            {"", "InvalidRequest", "require a valid new encryption type"},
		"a bucket key maybe": {"<SSE-KMS><KMSKeyArn>" + arn + "</KMSKeyArn><BucketKeyEnabled>maybe</BucketKeyEnabled></SSE-KMS>", "InvalidRequest", "BucketKeyEnabled"},
		"more than that":     {"<SSE-KMS><KMSKeyArn>" + arn + "</KMSKeyArn><EncryptionContext/></SSE-KMS>", "MalformedXML", ""},
	} {
		_, body := send(t, s, http.MethodPut, "/refused/k?encryption", "<ObjectEncryption>"+row.body+"</ObjectEncryption>",
			map[string]string{"Authorization": signature("alice", "us-east-1", "s3"), "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"})
		require.Equal(t, row.code, errorCode(t, body), name)
		require.Contains(t, body, row.message, name)
	}

	update := func() error {
		_, err := c.UpdateObjectEncryption(t.Context(), updateTo("refused", arn, false))
		return err
	}
	hold := func(status types.ObjectLockLegalHoldStatus) {
		_, err := c.PutObjectLegalHold(t.Context(), &s3.PutObjectLegalHoldInput{Bucket: aws.String("refused"), Key: aws.String("k"), LegalHold: &types.ObjectLockLegalHold{Status: status}})
		require.NoError(t, err)
	}
	hold(types.ObjectLockLegalHoldStatusOn)
	requireCode(t, update(), "AccessDenied")
	require.ErrorContains(t, update(), "protected by S3 Object Lock")
	hold(types.ObjectLockLegalHoldStatusOff)
	require.NoError(t, update())
	_, err = c.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{Bucket: aws.String("refused"), Key: aws.String("k"),
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: aws.Time(time.Now().Add(time.Hour))}})
	require.NoError(t, err)
	require.ErrorContains(t, update(), "protected by S3 Object Lock")

	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("refused"), Key: aws.String("k")})
	require.NoError(t, err)
	in := updateTo("refused", arn, true)
	in.VersionId = head.VersionId
	put(t, c, "refused", "k", "newer")
	_, err = c.UpdateObjectEncryption(t.Context(), in)
	require.ErrorContains(t, err, "protected by S3 Object Lock", "the version that is named counts")
	require.NoError(t, update())
	in.VersionId, in.Key = nil, aws.String("none")
	_, err = c.UpdateObjectEncryption(t.Context(), in)
	requireCode(t, err, "NoSuchKey")
}

// Permission to write objects is not permission to change their encryption, and
// the KMS key has to allow the caller too.
func TestUpdateObjectEncryption_Permissions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, bob := s3Client(t, s, "alice", noRetries), s3Client(t, s, "bob", noRetries)
	_, arn := makeKey(t, s)
	makeBucket(t, c, "permits")
	may := func(actions string) {
		require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::123456789012:user/bob", `{"Statement":{"Effect":"Allow","Action":[`+actions+`],"Resource":"*"}}`))
	}
	for _, row := range []struct {
		name, actions, denied string
		sse                   types.ServerSideEncryption
	}{
		{"s3:PutObject", `"s3:PutObject","kms:*"`, "s3:UpdateObjectEncryption", "AES256"},
		{"no KMS", `"s3:UpdateObjectEncryption"`, "kms:Encrypt", "AES256"},
		{"Encrypt", `"s3:UpdateObjectEncryption","kms:Encrypt"`, "", "AES256"},
		{"Encrypt for a re-encryption", `"s3:UpdateObjectEncryption","kms:Encrypt","kms:ReEncryptFrom"`, "kms:ReEncryptTo", "aws:kms"},
		{"ReEncrypt", `"s3:UpdateObjectEncryption","kms:ReEncrypt*"`, "", "aws:kms"},
	} {
		put(t, c, "permits", "k", "x", func(in *s3.PutObjectInput) {
			if in.ServerSideEncryption = row.sse; row.sse == "aws:kms" {
				in.SSEKMSKeyId = &arn
			}
		})
		may(row.actions)
		_, err := bob.UpdateObjectEncryption(t.Context(), updateTo("permits", arn, false))
		if row.denied == "" {
			require.NoError(t, err, row.name)
			continue
		}
		requireCode(t, err, "AccessDenied")
		require.ErrorContains(t, err, "not authorized to perform: "+row.denied, row.name)
	}
	setPolicy(t, c, "permits", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:UpdateObjectEncryption","Resource":"BUCKET/*"}}`)
	_, err := c.UpdateObjectEncryption(t.Context(), updateTo("permits", arn, false))
	require.ErrorContains(t, err, "explicit deny in a resource-based policy")
}

func TestAWSCLI_UpdateObjectEncryption(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := newAWSCLI(t, s)
	key := c.run("kms", "create-key", "--query", "KeyMetadata.Arn", "--output", "text")
	c.run("s3", "mb", "s3://cli-764265373335")
	c.run("s3api", "put-object", "--bucket", "cli-764265373335", "--key", "k")
	c.run("s3api", "update-object-encryption", "--bucket", "cli-764265373335", "--key", "k", "--object-encryption", `{"SSEKMS":{"KMSKeyArn":"`+key+`","BucketKeyEnabled":true}}`)
	require.JSONEq(t, `["aws:kms","`+key+`",true]`, c.run("s3api", "head-object", "--bucket", "cli-764265373335", "--key", "k", "--query", "[ServerSideEncryption,SSEKMSKeyId,BucketKeyEnabled]"))
}
