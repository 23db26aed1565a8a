package localaws

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

// keyUse is one event of KMS, as far as these tests care.
type keyUse struct {
	Name      string
	User      string
	InvokedBy string
	Context   string // aws:s3:arn of the encryption context
	Error     string
}

// keyUses are the events of KMS's data key operations, oldest first.
func keyUses(t *testing.T, s *Server) (uses []keyUse) {
	t.Helper()
	pages := cloudtrail.NewLookupEventsPaginator(cloudtrail.NewFromConfig(awsConfig(t, s, "auditor")), &cloudtrail.LookupEventsInput{})
	for pages.HasMorePages() {
		p, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		for _, e := range p.Events {
			var record struct {
				EventName    string
				ErrorCode    string
				UserIdentity struct {
					UserName  string
					InvokedBy string
				}
				RequestParameters struct {
					EncryptionContext, DestinationEncryptionContext map[string]string
				}
			}
			require.NoError(t, json.Unmarshal([]byte(*e.CloudTrailEvent), &record))
			if n := record.EventName; slices.Contains([]string{"GenerateDataKey", "Decrypt", "Encrypt", "ReEncrypt"}, n) {
				context := record.RequestParameters.EncryptionContext
				if n == "ReEncrypt" {
					context = record.RequestParameters.DestinationEncryptionContext
				}
				uses = append([]keyUse{{n, record.UserIdentity.UserName, record.UserIdentity.InvokedBy, context["aws:s3:arn"], record.ErrorCode}}, uses...)
			}
		}
	}
	return uses
}

func TestS3_ObjectUnderKMS(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	c := s3Client(t, s, "alice")
	k, arn := makeKey(t, s)
	_, err := k.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/course"), TargetKeyId: &arn})
	require.NoError(t, err)
	makeBucket(t, c, "secrets")
	id := arn[len(arn)-36:]
	for _, typed := range []string{arn, id, "alias/course", arn[:len(arn)-40] + "alias/course"} {
		t.Run("by default "+typed, func(t *testing.T) { // one bucket
			encryptWith(t, c, "secrets", typed, false)
			out := put(t, c, "secrets", "hello", "hello kms day1")
			require.Equal(t, arn, *out.SSEKMSKeyId)
			require.Equal(t, types.ServerSideEncryptionAwsKms, out.ServerSideEncryption)
			require.Nil(t, out.BucketKeyEnabled)
		})
		t.Run("by header "+typed, func(t *testing.T) { // one bucket
			out := put(t, c, "secrets", "hello", "hello kms day1", func(in *s3.PutObjectInput) {
				in.ServerSideEncryption, in.SSEKMSKeyId = "aws:kms", &typed
			})
			require.Equal(t, arn, *out.SSEKMSKeyId)
		})
	}
	before := len(keyUses(t, s))
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("secrets"), Key: aws.String("hello")})
	require.NoError(t, err)
	require.Equal(t, arn, *head.SSEKMSKeyId)
	require.Len(t, keyUses(t, s), before, "HeadObject asks no key")
	require.Equal(t, "hello kms day1", get(t, c, "secrets", "hello"))
	uses := keyUses(t, s)
	require.Equal(t, []keyUse{
		{"GenerateDataKey", "alice", "fas.s3.amazonaws.com", "arn:aws:s3:::secrets/hello", ""},
		{"Decrypt", "alice", "fas.s3.amazonaws.com", "arn:aws:s3:::secrets/hello", ""},
	}, uses[len(uses)-2:])
}

func TestS3_EncryptionByHeader(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	_, arn := makeKey(t, s)
	makeBucket(t, c, "headers")
	encryptWith(t, c, "headers", arn, true)

	out := put(t, c, "headers", "k", "x", func(in *s3.PutObjectInput) { in.ServerSideEncryption = "AES256" })
	require.Equal(t, types.ServerSideEncryptionAes256, out.ServerSideEncryption)
	require.Nil(t, out.SSEKMSKeyId)
	out = put(t, c, "headers", "k", "x", func(in *s3.PutObjectInput) { in.BucketKeyEnabled = aws.Bool(false) })
	require.Equal(t, arn, *out.SSEKMSKeyId)
	require.Nil(t, out.BucketKeyEnabled)
	managed := put(t, c, "headers", "k", "x", func(in *s3.PutObjectInput) { in.ServerSideEncryption = "aws:kms" })
	require.NotEqual(t, arn, *managed.SSEKMSKeyId, "without a key id it is the AWS managed key")
	described, err := kms.NewFromConfig(awsConfig(t, s, "alice")).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: aws.String("alias/aws/s3")})
	require.NoError(t, err)
	require.Equal(t, *described.KeyMetadata.Arn, *managed.SSEKMSKeyId)
	require.Equal(t, "x", get(t, c, "headers", "k"))

	context := base64.StdEncoding.EncodeToString([]byte(`{"department":"finance"}`))
	put(t, c, "headers", "context", "x", func(in *s3.PutObjectInput) {
		in.ServerSideEncryption, in.SSEKMSKeyId, in.SSEKMSEncryptionContext, in.BucketKeyEnabled = "aws:kms", &arn, &context, aws.Bool(false)
	})
	require.Equal(t, "x", get(t, c, "headers", "context"))
	env, err := s.Envelope("headers", "context")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"aws:s3:arn": "arn:aws:s3:::headers/context", "department": "finance"}, env.Header.EncryptionContext)

	for _, row := range []struct {
		name, code string
		f          func(in *s3.PutObjectInput)
	}{
		{"unknown algorithm", "InvalidEncryptionAlgorithmError", func(in *s3.PutObjectInput) { in.ServerSideEncryption = "ROT13" }},
		{"two layers", "NotImplemented", func(in *s3.PutObjectInput) { in.ServerSideEncryption = "aws:kms:dsse" }},
		{"key id with AES256", "InvalidArgument", func(in *s3.PutObjectInput) { in.ServerSideEncryption, in.SSEKMSKeyId = "AES256", &arn }},
		{"key id alone", "InvalidArgument", func(in *s3.PutObjectInput) { in.SSEKMSKeyId = &arn }},
		{"context that is none", "InvalidArgument", func(in *s3.PutObjectInput) {
			in.ServerSideEncryption, in.SSEKMSEncryptionContext = "aws:kms", aws.String("bm9uZQ==")
		}},
		{"unknown key", "KMS.NotFoundException", func(in *s3.PutObjectInput) {
			in.ServerSideEncryption, in.SSEKMSKeyId = "aws:kms", aws.String("alias/nothing")
		}},
		{"a customer's own key", "AccessDenied", func(in *s3.PutObjectInput) {
			in.SSECustomerAlgorithm, in.SSECustomerKey = aws.String("AES256"), aws.String("01234567890123456789012345678901")
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			in := &s3.PutObjectInput{Bucket: aws.String("headers"), Key: aws.String("refused"), Body: bytes.NewReader([]byte("x"))}
			row.f(in)
			_, err := c.PutObject(t.Context(), in)
			requireCode(t, err, row.code)
			_, err = c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: in.Bucket, Key: in.Key})
			requireCode(t, err, "NotFound")
		})
	}
}

func TestS3_KeyThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	k, arn := makeKey(t, s)
	makeBucket(t, c, "states")
	encryptWith(t, c, "states", arn, false)
	put(t, c, "states", "k", "x")
	refused := func(code string) {
		t.Helper()
		_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("states"), Key: aws.String("k")})
		requireCode(t, err, code)
		_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("states"), Key: aws.String("k"), Body: bytes.NewReader([]byte("y"))})
		requireCode(t, err, code)
		_, err = c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("states"), Key: aws.String("k")})
		requireCode(t, err, code)
		_, err = c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("states"), Key: aws.String("k")})
		require.NoError(t, err)
	}
	_, err := k.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &arn})
	require.NoError(t, err)
	refused("KMS.DisabledException")
	_, err = k.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: &arn})
	require.NoError(t, err)
	require.Equal(t, "x", get(t, c, "states", "k"))
	_, err = k.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &arn})
	require.NoError(t, err)
	refused("KMS.KMSInvalidStateException")

	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("states"), Key: aws.String("k"), Body: bytes.NewReader(nil), ServerSideEncryption: "AES256"})
	require.NoError(t, err, "an object under another key does not care")
	encryptWith(t, c, "states", "alias/never-made", true)
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("states"), Key: aws.String("k"), Body: bytes.NewReader(nil)})
	requireCode(t, err, "KMS.NotFoundException")
}

func TestS3_CallerWithoutTheKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	alice, mallory := s3Client(t, s, "alice"), s3Client(t, s, "mallory")
	_, arn := makeKey(t, s)
	makeBucket(t, alice, "mine")
	encryptWith(t, alice, "mine", arn, true)
	put(t, alice, "mine", "k", "x")
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::123456789012:user/mallory", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`))
	_, err := mallory.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("mine"), Key: aws.String("k")})
	requireCode(t, err, "AccessDenied")
	require.ErrorContains(t, err, "kms:Decrypt")
	_, err = mallory.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("mine"), Key: aws.String("k")})
	require.NoError(t, err)
}

func TestS3_BucketKey(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newServer(t, unthrottled, func(o *Options) { o.Now = clock.now })
	alice, bob := s3Client(t, s, "alice"), s3Client(t, s, "bob")
	k, arn := makeKey(t, s)
	makeBucket(t, alice, "busy")
	encryptWith(t, alice, "busy", arn, true)

	var wg sync.WaitGroup
	for i := range 20 { // at the same moment: KMS is asked once all the same
		wg.Go(func() {
			_, err := alice.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("busy"), Key: aws.String(fmt.Sprint(i)), Body: bytes.NewReader([]byte("x"))})
			if err != nil {
				t.Errorf("put: %v", err)
			}
		})
	}
	wg.Wait()
	for i := range 5 {
		require.Equal(t, "x", get(t, alice, "busy", fmt.Sprint(i)))
	}
	out := put(t, bob, "busy", "bob", "y")
	require.True(t, *out.BucketKeyEnabled)
	require.Equal(t, arn, *out.SSEKMSKeyId)
	const bucket, by = "arn:aws:s3:::busy", "fas.s3.amazonaws.com"
	require.Equal(t, []keyUse{
		{"GenerateDataKey", "alice", by, bucket, ""},
		{"Decrypt", "alice", by, bucket, ""},
		{"GenerateDataKey", "bob", by, bucket, ""},
	}, keyUses(t, s))

	// A disabled key is felt once the bucket-level key has run out.
	_, err := k.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &arn})
	require.NoError(t, err)
	put(t, alice, "busy", "0", "z")
	clock.advance(5*time.Minute + time.Second)
	_, err = s3Client(t, s, "alice", noRetries).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("busy"), Key: aws.String("0"), Body: bytes.NewReader(nil)})
	requireCode(t, err, "KMS.DisabledException")
	_, err = k.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: &arn})
	require.NoError(t, err)
	require.Equal(t, "z", get(t, bob, "busy", "0"))
}

func TestS3_CiphertextIsAllThatLiesOnDisk(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	_, arn := makeKey(t, s)
	makeBucket(t, c, "disk")
	encryptWith(t, c, "disk", arn, false)
	put(t, c, "disk", "../../test/hello.txt", "hello kms day1")
	e, err := s.Envelope("disk", "../../test/hello.txt")
	require.NoError(t, err)
	require.Equal(t, arn, e.Header.KMSKeyARN)
	require.Equal(t, "aws:kms", e.Header.Algorithm)
	require.Len(t, e.Ciphertext, len("hello kms day1")+sealTag)
	file, err := os.ReadFile(e.Path)
	require.NoError(t, err)
	require.NotContains(t, string(file), "hello kms")
	line, rest, _ := bytes.Cut(file, []byte("\n"))
	require.Equal(t, e.Ciphertext, rest)
	var header map[string]any
	require.NoError(t, json.Unmarshal(line, &header))
	require.Equal(t, arn, header["kmsKeyArn"])
	wrapped, err := base64.StdEncoding.DecodeString(header["wrappedDataKey"].(string)) //nolint:forcetypeassert // a test
	require.NoError(t, err)
	require.Equal(t, e.Header.WrappedKey, wrapped)

	_, err = s.Envelope("disk", "nothing")
	require.ErrorContains(t, err, "NoSuchKey")
}

func TestS3_DamageIsFound(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "damage")
	body := bytes.Repeat([]byte("0123456789abcdef"), 3*sealChunk/16)
	const sealed = sealChunk + sealTag
	for _, row := range []struct {
		name  string
		spoil func(head, rest []byte) []byte
	}{
		{"a bit of the first chunk", func(h, r []byte) []byte { r[3] ^= 1; return append(h, r...) }},
		{"a bit of the last chunk", func(h, r []byte) []byte { r[len(r)-3] ^= 1; return append(h, r...) }},
		{"the last chunk is missing", func(h, r []byte) []byte { return append(h, r[:2*sealed]...) }},
		{"the end is missing", func(h, r []byte) []byte { return append(h, r[:len(r)-5]...) }},
		{"two chunks in each other's place", func(h, r []byte) []byte {
			return append(h, append(append(bytes.Clone(r[sealed:2*sealed]), r[:sealed]...), r[2*sealed:]...)...)
		}},
		{"a chunk twice", func(h, r []byte) []byte { return append(h, append(bytes.Clone(r), r[2*sealed:]...)...) }},
		{"the header", func(h, r []byte) []byte {
			return append(bytes.Replace(h, []byte(`"arn:aws:s3:::damage/`), []byte(`"arn:aws:s3:::damagf/`), 1), r...)
		}},
		{"the header is not one", func(_, r []byte) []byte { return append([]byte("{}\n"), r...) }},
		{"everything", func([]byte, []byte) []byte { return nil }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			key := row.name
			_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("damage"), Key: &key, Body: bytes.NewReader(body)})
			require.NoError(t, err)
			e, err := s.Envelope("damage", key)
			require.NoError(t, err)
			file, err := os.ReadFile(e.Path)
			require.NoError(t, err)
			i := bytes.IndexByte(file, '\n') + 1
			require.NoError(t, os.WriteFile(e.Path, row.spoil(bytes.Clone(file[:i]), bytes.Clone(file[i:])), 0o600))
			out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("damage"), Key: &key})
			if err == nil {
				_, err = io.ReadAll(out.Body)
			}
			require.Error(t, err, "the damage went unseen")
		})
	}
}

func TestS3_KMSWantsTLS(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	require.NoError(t, s.StartPlain("127.0.0.1:0"))
	c := s3Client(t, s, "alice")
	plain := s3.New(c.Options(), func(o *s3.Options) { o.BaseEndpoint = aws.String(s.PlainURL()) })
	_, arn := makeKey(t, s)
	makeBucket(t, c, "tls")
	put(t, plain, "tls", "sse-s3", "x")
	encryptWith(t, c, "tls", arn, false)
	put(t, c, "tls", "sse-kms", "x")
	_, err := plain.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("tls"), Key: aws.String("sse-kms")})
	requireCode(t, err, "InvalidArgument")
	_, err = plain.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("tls"), Key: aws.String("sse-kms"), Body: bytes.NewReader(nil)})
	requireCode(t, err, "InvalidArgument")
	require.Equal(t, "x", get(t, plain, "tls", "sse-s3"))
}

// A bucket-level key that one caller had decrypted, or made, serves no other.
func TestBucketKey_ServesItsCallerOnly(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, arn := makeKey(t, s)
	alice, bob := s3Client(t, s, "alice", noRetries), s3Client(t, s, "bob", noRetries)
	makeBucket(t, alice, "warm")
	encryptWith(t, alice, "warm", arn, true)
	put(t, alice, "warm", "k", "secret")
	require.Equal(t, "secret", get(t, alice, "warm", "k"))
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::123456789012:user/bob", `{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`))
	_, err := bob.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("warm"), Key: aws.String("k")})
	requireCode(t, err, "AccessDenied")
	_, err = bob.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("warm"), Key: aws.String("k2")})
	requireCode(t, err, "AccessDenied")
	require.Equal(t, "secret", get(t, alice, "warm", "k"))
}
