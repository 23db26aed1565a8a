package localaws

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

func setPolicy(t testing.TB, c *s3.Client, bucket, policy string) {
	t.Helper()
	policy = strings.ReplaceAll(policy, "BUCKET", "arn:aws:s3:::"+bucket)
	_, err := c.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: &policy})
	require.NoError(t, err)
}

// What this project's own bucket policy says: TLS only, and only an explicit
// wrong key or algorithm is refused.
const baselinePolicy = `{"Version":"2012-10-17","Statement":[
	{"Sid":"tls","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["BUCKET","BUCKET/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}},
	{"Sid":"algorithm","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"BUCKET/*","Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"},"Null":{"s3:x-amz-server-side-encryption":"false"}}},
	{"Sid":"key","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"BUCKET/*","Condition":{"ArnNotEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"KEY"},"Null":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"false"}}},
	{"Sid":"customer","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"BUCKET/*","Condition":{"Null":{"s3:x-amz-server-side-encryption-customer-algorithm":"false"}}}]}`

func TestS3_BaselinePolicy(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	require.NoError(t, s.StartPlain("127.0.0.1:0"))
	c := s3Client(t, s, "alice", noRetries)
	plain := s3.New(c.Options(), func(o *s3.Options) { o.BaseEndpoint = aws.String(s.PlainURL()) })
	_, arn := makeKey(t, s)
	_, other := makeKey(t, s)
	makeBucket(t, c, "guarded")
	encryptWith(t, c, "guarded", arn, false)
	setPolicy(t, c, "guarded", strings.ReplaceAll(baselinePolicy, "KEY", arn))
	for _, row := range []struct {
		name   string
		client *s3.Client
		f      func(in *s3.PutObjectInput)
		denied bool
	}{
		{"no header", c, func(*s3.PutObjectInput) {}, false},
		{"the right key", c, func(in *s3.PutObjectInput) { in.ServerSideEncryption, in.SSEKMSKeyId = "aws:kms", &arn }, false},
		{"another key", c, func(in *s3.PutObjectInput) { in.ServerSideEncryption, in.SSEKMSKeyId = "aws:kms", &other }, true},
		{"another algorithm", c, func(in *s3.PutObjectInput) { in.ServerSideEncryption = "AES256" }, true},
		{"a customer's own key", c, func(in *s3.PutObjectInput) {
			in.SSECustomerAlgorithm, in.SSECustomerKey = aws.String("AES256"), aws.String("01234567890123456789012345678901")
		}, true},
		{"plain HTTP", plain, func(*s3.PutObjectInput) {}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			in := &s3.PutObjectInput{Bucket: aws.String("guarded"), Key: &row.name, Body: bytes.NewReader([]byte("x"))}
			row.f(in)
			_, err := row.client.PutObject(t.Context(), in)
			if !row.denied {
				require.NoError(t, err)
				return
			}
			requireCode(t, err, "AccessDenied")
			if in.SSECustomerAlgorithm == nil || row.client == plain {
				require.ErrorContains(t, err, "with an explicit deny in a resource-based policy")
			}
		})
	}
	_, err := plain.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("guarded")})
	requireCode(t, err, "AccessDenied")
}

func TestS3_Actions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	b := aws.String("actions")
	makeBucket(t, c, "actions")
	_, err := c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: b, VersioningConfiguration: &types.VersioningConfiguration{Status: "Enabled"}})
	require.NoError(t, err)
	v := put(t, c, "actions", "k", "x").VersionId
	k := aws.String("k")
	for _, row := range []struct {
		action string
		call   func(c *s3.Client) error
	}{
		{"s3:GetObject", func(c *s3.Client) error {
			_, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: b, Key: k})
			return err
		}},
		{"s3:GetObject", func(c *s3.Client) error {
			_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: k})
			return err
		}},
		{"s3:GetObjectVersion", func(c *s3.Client) error {
			_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: k, VersionId: v})
			return err
		}},
		{"s3:PutObject", func(c *s3.Client) error {
			_, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: b, Key: k})
			return err
		}},
		{"s3:ListBucket", func(c *s3.Client) error {
			_, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: b})
			return err
		}},
		{"s3:ListBucket", func(c *s3.Client) error {
			_, err := c.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: b})
			return err
		}},
		{"s3:ListBucketVersions", func(c *s3.Client) error {
			_, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: b})
			return err
		}},
		{"s3:GetEncryptionConfiguration", func(c *s3.Client) error {
			_, err := c.GetBucketEncryption(t.Context(), &s3.GetBucketEncryptionInput{Bucket: b})
			return err
		}},
		{"s3:PutEncryptionConfiguration", func(c *s3.Client) error {
			_, err := c.DeleteBucketEncryption(t.Context(), &s3.DeleteBucketEncryptionInput{Bucket: b})
			return err
		}},
		{"s3:GetBucketPublicAccessBlock", func(c *s3.Client) error {
			_, err := c.GetPublicAccessBlock(t.Context(), &s3.GetPublicAccessBlockInput{Bucket: b})
			return err
		}},
		{"s3:PutLifecycleConfiguration", func(c *s3.Client) error {
			_, err := c.DeleteBucketLifecycle(t.Context(), &s3.DeleteBucketLifecycleInput{Bucket: b})
			return err
		}},
		{"s3:DeleteObject", func(c *s3.Client) error {
			_, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: b, Key: aws.String("other")})
			return err
		}},
		{"s3:DeleteObjectVersion", func(c *s3.Client) error {
			_, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: b, Key: aws.String("other"), VersionId: aws.String("null")})
			return err
		}},
		{"s3:CreateBucket", func(c *s3.Client) error {
			_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("actions-two")})
			return err
		}},
	} {
		t.Run(row.action, func(t *testing.T) { // one user, one policy at a time
			user := s3Client(t, s, "narrow", noRetries)
			const arn = "arn:aws:iam::123456789012:user/narrow"
			require.NoError(t, s.SetIdentityPolicy(arn, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"`+row.action+`","Resource":"*"}]}`))
			require.Error(t, row.call(user), "allowed without %s", row.action)
			require.NoError(t, s.SetIdentityPolicy(arn, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"`+row.action+`","Resource":"*"}]}`))
			require.NoError(t, row.call(user), "%s is not enough", row.action)
		})
	}
}

func TestS3_PrefixCondition(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, bob := s3Client(t, s, "alice"), s3Client(t, s, "bob")
	makeBucket(t, c, "homes")
	setPolicy(t, c, "homes", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::123456789012:user/bob"},"Action":"s3:ListBucket","Resource":"BUCKET","Condition":{"StringNotLike":{"s3:prefix":"home/${aws:username}/*"}}}}`)
	_, err := bob.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("homes"), Prefix: aws.String("home/bob/x")})
	require.NoError(t, err)
	_, err = bob.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("homes"), Prefix: aws.String("home/alice/x")})
	requireCode(t, err, "AccessDenied")
	_, err = bob.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("homes")})
	requireCode(t, err, "AccessDenied")

	// Who may not list is not told what is missing.
	_, err = bob.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("homes"), Key: aws.String("nothing")})
	requireCode(t, err, "Forbidden")
	_, err = c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("homes"), Key: aws.String("nothing")})
	requireCode(t, err, "NotFound")
}

func TestS3_Anonymous(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "open")
	put(t, c, "open", "public/k", "x")
	put(t, c, "open", "private/k", "x")
	h := httpClient(t, s)
	fetch := func(key string) int {
		t.Helper()
		a, err := h.Get(s.URL() + "/open/" + key)
		require.NoError(t, err)
		require.NoError(t, a.Body.Close())
		return a.StatusCode
	}
	require.Equal(t, http.StatusForbidden, fetch("public/k"))
	_, err := c.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: aws.String("open")})
	require.NoError(t, err)
	setPolicy(t, c, "open", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"BUCKET/public/*"}}`)
	require.Equal(t, http.StatusOK, fetch("public/k"))
	require.Equal(t, http.StatusForbidden, fetch("private/k"))
	status, err := c.GetBucketPolicyStatus(t.Context(), &s3.GetBucketPolicyStatusInput{Bucket: aws.String("open")})
	require.NoError(t, err)
	require.True(t, *status.PolicyStatus.IsPublic)

	// RestrictPublicBuckets takes back what the policy gives to strangers.
	_, err = c.PutPublicAccessBlock(t.Context(), &s3.PutPublicAccessBlockInput{Bucket: aws.String("open"), PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{RestrictPublicBuckets: aws.Bool(true)}})
	require.NoError(t, err)
	require.Equal(t, http.StatusForbidden, fetch("public/k"))
	require.Equal(t, "x", get(t, c, "open", "public/k"))
}

func TestS3_AcrossAccounts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	owner, guest := s3Client(t, s, "alice"), s3Client(t, s, "210987654321")
	makeBucket(t, owner, "shared")
	put(t, owner, "shared", "k", "x")
	in := &s3.GetObjectInput{Bucket: aws.String("shared"), Key: aws.String("k")}
	_, err := guest.GetObject(t.Context(), in)
	requireCode(t, err, "AccessDenied")
	setPolicy(t, owner, "shared", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::210987654321:root"},"Action":"s3:GetObject","Resource":"BUCKET/*"}}`)
	require.Equal(t, "x", get(t, guest, "shared", "k"))
	_, err = guest.PutObject(t.Context(), &s3.PutObjectInput{Bucket: in.Bucket, Key: in.Key, Body: bytes.NewReader(nil)})
	requireCode(t, err, "AccessDenied")
}

// The one way out of a policy that denies every principal.
func TestS3_RootRepairsADenyAllPolicy(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	alice, root := s3Client(t, s, "alice", noRetries), s3Client(t, s, "root", noRetries)
	makeBucket(t, alice, "locked")
	setPolicy(t, alice, "locked", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["BUCKET","BUCKET/*"]}]}`)
	_, err := alice.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: aws.String("locked")})
	require.ErrorContains(t, err, "AccessDenied")
	_, err = root.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("locked")})
	require.ErrorContains(t, err, "AccessDenied", "to everything else the deny applies to root as well")
	_, err = root.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: aws.String("locked")})
	require.NoError(t, err)
	_, err = alice.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("locked")})
	require.NoError(t, err)
}
