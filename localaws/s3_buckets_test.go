package localaws

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

func TestCreateBucket_Location(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, row := range []struct{ name, region, constraint, code string }{
		{"us-east-1 wants none", "us-east-1", "", ""},
		{"us-east-1 refuses its own name", "us-east-1", "us-east-1", "InvalidLocationConstraint"},
		{"elsewhere wants its own name", "eu-west-1", "eu-west-1", ""},
		{"elsewhere refuses none", "eu-west-1", "", "IllegalLocationConstraintException"},
		{"another Region's endpoint refuses a foreign LocationConstraint", "eu-west-1", "us-west-2", "IllegalLocationConstraintException"},
		{"no such Region", "eu-west-1", "mars-north-1", "IllegalLocationConstraintException"},
		{"us-east-1 knows all Regions", "us-east-1", "mars-north-1", "InvalidLocationConstraint"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := s3Client(t, s, "alice", inRegion(row.region))
			in := &s3.CreateBucketInput{Bucket: aws.String("b" + bucketFor(row.name))}
			if row.constraint != "" {
				in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(row.constraint)}
			}
			_, err := c.CreateBucket(t.Context(), in)
			if row.code != "" {
				requireCode(t, err, row.code)
				_, err = c.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: in.Bucket})
				requireCode(t, err, "NotFound")
				return
			}
			require.NoError(t, err)
			out, err := c.GetBucketLocation(t.Context(), &s3.GetBucketLocationInput{Bucket: in.Bucket})
			require.NoError(t, err)
			require.Equal(t, row.constraint, string(out.LocationConstraint))
		})
	}
}

// bucketFor makes a bucket name of a row's name.
func bucketFor(name string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(name)))[:20]
}

func TestCreateBucket_Again(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	alice, other := s3Client(t, s, "alice"), s3Client(t, s, "210987654321")
	in := &s3.CreateBucketInput{Bucket: aws.String("taken")}
	makeBucket(t, alice, "taken")
	_, err := alice.CreateBucket(t.Context(), in)
	require.NoError(t, err, "us-east-1 says yes again to the owner")
	_, err = other.CreateBucket(t.Context(), in)
	requireCode(t, err, "BucketAlreadyExists")

	in = &s3.CreateBucketInput{Bucket: aws.String("taken-west"), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "us-west-2"}}
	west := s3Client(t, s, "alice", inRegion("us-west-2"))
	_, err = west.CreateBucket(t.Context(), in)
	require.NoError(t, err)
	_, err = west.CreateBucket(t.Context(), in)
	requireCode(t, err, "BucketAlreadyOwnedByYou")
}

func TestCreateBucket_RefusesAnInvalidName(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	status, err := sendSigned(plainClient(t, s), http.MethodPut, s.URL()+"/No_Such_Name", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, status)
}

func TestHeadBucket(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	alice := s3Client(t, s, "alice")
	makeBucket(t, alice, "here")
	out, err := alice.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("here")})
	require.NoError(t, err)
	require.Equal(t, "us-east-1", *out.BucketRegion)

	var e *awshttp.ResponseError
	_, err = s3Client(t, s, "alice", inRegion("eu-west-1")).HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("here")})
	require.ErrorAs(t, err, &e)
	require.Equal(t, http.StatusMovedPermanently, e.HTTPStatusCode())
	require.Equal(t, "us-east-1", e.Response.Header.Get("X-Amz-Bucket-Region"))
	_, err = s3Client(t, s, "210987654321").HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("here")})
	require.ErrorAs(t, err, &e)
	require.Equal(t, http.StatusForbidden, e.HTTPStatusCode())
	_, err = alice.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("nowhere")})
	requireCode(t, err, "NotFound")
	_, err = alice.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("here"), ExpectedBucketOwner: aws.String("210987654321")})
	require.ErrorAs(t, err, &e)
	require.Equal(t, http.StatusForbidden, e.HTTPStatusCode())
}

func TestListBuckets(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	alice := s3Client(t, s, "alice")
	for _, b := range []string{"b-two", "b-one", "b-three"} {
		makeBucket(t, alice, b)
	}
	makeBucket(t, s3Client(t, s, "210987654321"), "not-mine")
	var names []string
	pages := s3.NewListBucketsPaginator(alice, &s3.ListBucketsInput{MaxBuckets: aws.Int32(2)})
	for pages.HasMorePages() {
		p, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		for _, b := range p.Buckets {
			names = append(names, *b.Name)
		}
	}
	require.Equal(t, []string{"b-one", "b-three", "b-two"}, names)
}

func TestDeleteBucket_NotEmpty(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	bucket := aws.String("full")
	makeBucket(t, c, "full")
	_, err := c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: "Enabled"}})
	require.NoError(t, err)
	v := put(t, c, "full", "k", "x").VersionId
	marker, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("k")})
	require.NoError(t, err)
	refused := func() {
		_, err := c.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: bucket})
		requireCode(t, err, "BucketNotEmpty")
	}
	refused()
	_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("k"), VersionId: v})
	require.NoError(t, err)
	refused() // a delete marker is left
	_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("k"), VersionId: marker.VersionId})
	require.NoError(t, err)
	_, err = c.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: bucket})
	require.NoError(t, err)
	_, err = c.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: bucket})
	requireCode(t, err, "NoSuchBucket")
}

func TestBucket_Defaults(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	b := aws.String("fresh")
	makeBucket(t, c, "fresh")

	enc, err := c.GetBucketEncryption(t.Context(), &s3.GetBucketEncryptionInput{Bucket: b})
	require.NoError(t, err)
	require.Equal(t, []types.ServerSideEncryptionRule{{
		ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256},
		BucketKeyEnabled:                   aws.Bool(false),
		BlockedEncryptionTypes:             &types.BlockedEncryptionTypes{EncryptionType: []types.EncryptionType{"SSE-C"}},
	}}, enc.ServerSideEncryptionConfiguration.Rules)
	pab, err := c.GetPublicAccessBlock(t.Context(), &s3.GetPublicAccessBlockInput{Bucket: b})
	require.NoError(t, err)
	require.Equal(t, &types.PublicAccessBlockConfiguration{BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true),
		IgnorePublicAcls: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true)}, pab.PublicAccessBlockConfiguration)
	own, err := c.GetBucketOwnershipControls(t.Context(), &s3.GetBucketOwnershipControlsInput{Bucket: b})
	require.NoError(t, err)
	require.Equal(t, []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced}}, own.OwnershipControls.Rules)
	acl, err := c.GetBucketAcl(t.Context(), &s3.GetBucketAclInput{Bucket: b})
	require.NoError(t, err)
	require.Equal(t, []types.Grant{{Grantee: &types.Grantee{Type: types.TypeCanonicalUser, ID: acl.Owner.ID}, Permission: types.PermissionFullControl}}, acl.Grants)
	ver, err := c.GetBucketVersioning(t.Context(), &s3.GetBucketVersioningInput{Bucket: b})
	require.NoError(t, err)
	require.Empty(t, ver.Status)
	log, err := c.GetBucketLogging(t.Context(), &s3.GetBucketLoggingInput{Bucket: b})
	require.NoError(t, err)
	require.Nil(t, log.LoggingEnabled)
	pay, err := c.GetBucketRequestPayment(t.Context(), &s3.GetBucketRequestPaymentInput{Bucket: b})
	require.NoError(t, err)
	require.Equal(t, types.PayerBucketOwner, pay.Payer)
	acc, err := c.GetBucketAccelerateConfiguration(t.Context(), &s3.GetBucketAccelerateConfigurationInput{Bucket: b})
	require.NoError(t, err)
	require.Empty(t, acc.Status)
	_, err = c.GetBucketNotificationConfiguration(t.Context(), &s3.GetBucketNotificationConfigurationInput{Bucket: b})
	require.NoError(t, err)

	for code, call := range map[string]func() error{
		"NoSuchBucketPolicy": func() error {
			_, err := c.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: b})
			return err
		},
		"NoSuchLifecycleConfiguration": func() error {
			_, err := c.GetBucketLifecycleConfiguration(t.Context(), &s3.GetBucketLifecycleConfigurationInput{Bucket: b})
			return err
		},
		"NoSuchCORSConfiguration": func() error {
			_, err := c.GetBucketCors(t.Context(), &s3.GetBucketCorsInput{Bucket: b})
			return err
		},
		"NoSuchWebsiteConfiguration": func() error {
			_, err := c.GetBucketWebsite(t.Context(), &s3.GetBucketWebsiteInput{Bucket: b})
			return err
		},
		"ReplicationConfigurationNotFoundError": func() error {
			_, err := c.GetBucketReplication(t.Context(), &s3.GetBucketReplicationInput{Bucket: b})
			return err
		},
		"ObjectLockConfigurationNotFoundError": func() error {
			_, err := c.GetObjectLockConfiguration(t.Context(), &s3.GetObjectLockConfigurationInput{Bucket: b})
			return err
		},
		"NoSuchTagSet": func() error {
			_, err := c.GetBucketTagging(t.Context(), &s3.GetBucketTaggingInput{Bucket: b})
			return err
		},
		"NotImplemented": func() error {
			_, err := c.PutBucketRequestPayment(t.Context(), &s3.PutBucketRequestPaymentInput{Bucket: b, RequestPaymentConfiguration: &types.RequestPaymentConfiguration{Payer: types.PayerRequester}})
			return err
		},
	} {
		requireCode(t, call(), code)
	}
}

func TestBucket_SettingsComeBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newServer(t, func(o *Options) { o.Dir = dir })
	c := s3Client(t, s, "alice")
	b := aws.String("settings")
	makeBucket(t, c, "settings")
	makeBucket(t, c, "settings-logs")

	rules := []types.LifecycleRule{
		{ID: aws.String("old"), Status: "Enabled", Filter: &types.LifecycleRuleFilter{And: &types.LifecycleRuleAndOperator{Prefix: aws.String("a/"), Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}}},
			Transitions:                 []types.Transition{{Days: aws.Int32(30), StorageClass: "STANDARD_IA"}, {Days: aws.Int32(90), StorageClass: "GLACIER"}},
			NoncurrentVersionExpiration: &types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(30), NewerNoncurrentVersions: aws.Int32(3)}},
		{ID: aws.String("abort"), Status: "Disabled", Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")},
			AbortIncompleteMultipartUpload: &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(7)}},
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Sid":"tls","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::settings","arn:aws:s3:::settings/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`
	tags := []types.Tag{{Key: aws.String("project"), Value: aws.String("cloud-kms-masterclass")}, {Key: aws.String("a+b"), Value: aws.String("@c=:é")}}
	for name, call := range map[string]func() error{
		"versioning": func() error {
			_, err := c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: b, VersioningConfiguration: &types.VersioningConfiguration{Status: "Enabled"}})
			return err
		},
		"lifecycle": func() error {
			_, err := c.PutBucketLifecycleConfiguration(t.Context(), &s3.PutBucketLifecycleConfigurationInput{Bucket: b, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: rules}})
			return err
		},
		"policy": func() error {
			_, err := c.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: b, Policy: &policy})
			return err
		},
		"tags": func() error {
			_, err := c.PutBucketTagging(t.Context(), &s3.PutBucketTaggingInput{Bucket: b, Tagging: &types.Tagging{TagSet: tags}})
			return err
		},
		"logging": func() error {
			_, err := c.PutBucketLogging(t.Context(), &s3.PutBucketLoggingInput{Bucket: b, BucketLoggingStatus: &types.BucketLoggingStatus{
				LoggingEnabled: &types.LoggingEnabled{TargetBucket: aws.String("settings-logs"), TargetPrefix: aws.String("log/")}}})
			return err
		},
		"public access": func() error {
			_, err := c.PutPublicAccessBlock(t.Context(), &s3.PutPublicAccessBlockInput{Bucket: b, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{BlockPublicAcls: aws.Bool(true)}})
			return err
		},
		"ownership": func() error {
			_, err := c.PutBucketOwnershipControls(t.Context(), &s3.PutBucketOwnershipControlsInput{Bucket: b, OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: "BucketOwnerPreferred"}}}})
			return err
		},
	} {
		require.NoError(t, call(), name)
	}
	encryptWith(t, c, "settings", "alias/not-yet-there", true)
	_, err := c.PutBucketAcl(t.Context(), &s3.PutBucketAclInput{Bucket: b, ACL: "log-delivery-write"})
	require.NoError(t, err)
	_, err = c.PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{Bucket: b, ObjectLockConfiguration: &types.ObjectLockConfiguration{
		ObjectLockEnabled: "Enabled", Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: "GOVERNANCE", Days: aws.Int32(5)}}}})
	require.NoError(t, err)

	// All of it survives a restart.
	require.NoError(t, s.Close())
	s = newServer(t, func(o *Options) { o.Dir = dir })
	c = s3Client(t, s, "alice")

	life, err := c.GetBucketLifecycleConfiguration(t.Context(), &s3.GetBucketLifecycleConfigurationInput{Bucket: b})
	require.NoError(t, err)
	require.Equal(t, rules, life.Rules)
	require.EqualValues(t, "all_storage_classes_128K", life.TransitionDefaultMinimumObjectSize)
	pol, err := c.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: b})
	require.NoError(t, err)
	require.Equal(t, policy, *pol.Policy)
	status, err := c.GetBucketPolicyStatus(t.Context(), &s3.GetBucketPolicyStatusInput{Bucket: b})
	require.NoError(t, err)
	require.False(t, *status.PolicyStatus.IsPublic)
	tg, err := c.GetBucketTagging(t.Context(), &s3.GetBucketTaggingInput{Bucket: b})
	require.NoError(t, err)
	require.Equal(t, tags, tg.TagSet)
	log, err := c.GetBucketLogging(t.Context(), &s3.GetBucketLoggingInput{Bucket: b})
	require.NoError(t, err)
	require.Equal(t, "settings-logs", *log.LoggingEnabled.TargetBucket)
	require.Equal(t, "log/", *log.LoggingEnabled.TargetPrefix)
	pab, err := c.GetPublicAccessBlock(t.Context(), &s3.GetPublicAccessBlockInput{Bucket: b})
	require.NoError(t, err)
	require.Equal(t, &types.PublicAccessBlockConfiguration{BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(false),
		IgnorePublicAcls: aws.Bool(false), RestrictPublicBuckets: aws.Bool(false)}, pab.PublicAccessBlockConfiguration)
	own, err := c.GetBucketOwnershipControls(t.Context(), &s3.GetBucketOwnershipControlsInput{Bucket: b})
	require.NoError(t, err)
	require.EqualValues(t, "BucketOwnerPreferred", own.OwnershipControls.Rules[0].ObjectOwnership)
	enc, err := c.GetBucketEncryption(t.Context(), &s3.GetBucketEncryptionInput{Bucket: b})
	require.NoError(t, err)
	require.Equal(t, "alias/not-yet-there", *enc.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.KMSMasterKeyID)
	require.True(t, *enc.ServerSideEncryptionConfiguration.Rules[0].BucketKeyEnabled)
	acl, err := c.GetBucketAcl(t.Context(), &s3.GetBucketAclInput{Bucket: b})
	require.NoError(t, err)
	require.Len(t, acl.Grants, 3)
	require.Equal(t, types.TypeGroup, acl.Grants[1].Grantee.Type)
	lock, err := c.GetObjectLockConfiguration(t.Context(), &s3.GetObjectLockConfigurationInput{Bucket: b})
	require.NoError(t, err)
	require.EqualValues(t, 5, *lock.ObjectLockConfiguration.Rule.DefaultRetention.Days)

	// The encryption's default was put back by a deletion, and the rest is gone.
	_, err = c.DeleteBucketEncryption(t.Context(), &s3.DeleteBucketEncryptionInput{Bucket: b})
	require.NoError(t, err)
	enc, err = c.GetBucketEncryption(t.Context(), &s3.GetBucketEncryptionInput{Bucket: b})
	require.NoError(t, err)
	require.Equal(t, types.ServerSideEncryptionAes256, enc.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm)
	_, err = c.DeleteBucketLifecycle(t.Context(), &s3.DeleteBucketLifecycleInput{Bucket: b})
	require.NoError(t, err)
	_, err = c.GetBucketLifecycleConfiguration(t.Context(), &s3.GetBucketLifecycleConfigurationInput{Bucket: b})
	requireCode(t, err, "NoSuchLifecycleConfiguration")
	_, err = c.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: b})
	require.NoError(t, err)
	_, err = c.GetPublicAccessBlock(t.Context(), &s3.GetPublicAccessBlockInput{Bucket: b})
	requireCode(t, err, "NoSuchPublicAccessBlockConfiguration")
	_, err = c.DeleteBucketOwnershipControls(t.Context(), &s3.DeleteBucketOwnershipControlsInput{Bucket: b})
	require.NoError(t, err)
	_, err = c.GetBucketOwnershipControls(t.Context(), &s3.GetBucketOwnershipControlsInput{Bucket: b})
	requireCode(t, err, "OwnershipControlsNotFoundError")
	_, err = c.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: b})
	require.NoError(t, err)
	_, err = c.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: b})
	requireCode(t, err, "NoSuchBucketPolicy")
	_, err = c.DeleteBucketTagging(t.Context(), &s3.DeleteBucketTaggingInput{Bucket: b})
	require.NoError(t, err)
	_, err = c.GetBucketTagging(t.Context(), &s3.GetBucketTaggingInput{Bucket: b})
	requireCode(t, err, "NoSuchTagSet")
}

func TestBucket_SettingsRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	b := aws.String("refused")
	makeBucket(t, c, "refused")
	policy := func(p string) func() error {
		return func() error {
			_, err := c.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: b, Policy: &p})
			return err
		}
	}
	for _, row := range []struct {
		name, code string
		call       func() error
	}{
		{"policy that is no JSON", "MalformedPolicy", policy(`nonsense`)},
		{"policy of another bucket", "MalformedPolicy", policy(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"s3:*","Resource":"arn:aws:s3:::other/*"}}`)},
		{"policy of another service", "MalformedPolicy", policy(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"kms:*","Resource":"arn:aws:s3:::refused/*"}}`)},
		{"policy with a condition key that S3 does not know", "MalformedPolicy", policy(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::refused/*","Condition":{"StringEquals":{"s3:x-amz-server-side-encription":"AES256"}}}}`)},
		{"public policy while blocked", "AccessDenied", policy(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::refused/*"}}`)},
		{"ACL while ownership is enforced", "AccessControlListNotSupported", func() error {
			_, err := c.PutBucketAcl(t.Context(), &s3.PutBucketAclInput{Bucket: b, ACL: "private"})
			return err
		}},
		{"key id for AES256", "InvalidArgument", func() error {
			_, err := c.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{Bucket: b, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
				ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: "AES256", KMSMasterKeyID: aws.String("x")}}}}})
			return err
		}},
		{"unknown algorithm", "MalformedXML", func() error {
			_, err := c.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{Bucket: b, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
				ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: "ROT13"}}}}})
			return err
		}},
		{"versioning without a status", "IllegalVersioningConfigurationException", func() error {
			_, err := c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: b, VersioningConfiguration: &types.VersioningConfiguration{}})
			return err
		}},
		{"object lock without versioning", "InvalidBucketState", func() error {
			_, err := c.PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{Bucket: b, ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: "Enabled"}})
			return err
		}},
		{"logging to nowhere", "InvalidTargetBucketForLogging", func() error {
			_, err := c.PutBucketLogging(t.Context(), &s3.PutBucketLoggingInput{Bucket: b, BucketLoggingStatus: &types.BucketLoggingStatus{LoggingEnabled: &types.LoggingEnabled{TargetBucket: aws.String("nowhere"), TargetPrefix: aws.String("")}}})
			return err
		}},
		{"two tags of one key", "InvalidTag", func() error {
			_, err := c.PutBucketTagging(t.Context(), &s3.PutBucketTaggingInput{Bucket: b, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("k"), Value: aws.String("1")}, {Key: aws.String("k"), Value: aws.String("2")}}}})
			return err
		}},
		{"lifecycle rule without an action", "InvalidRequest", func() error {
			_, err := c.PutBucketLifecycleConfiguration(t.Context(), &s3.PutBucketLifecycleConfigurationInput{Bucket: b, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{{Status: "Enabled", Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")}}}}})
			return err
		}},
	} {
		t.Run(row.name, func(t *testing.T) { // one bucket, one write at a time
			requireCode(t, row.call(), row.code)
		})
	}
	_, err := c.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: b})
	requireCode(t, err, "NoSuchBucketPolicy")
}

func TestBucket_OneWriteAtATime(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "busy")
	// A write whose body has not arrived yet is under way. The client sends the
	// body once the server reads it, which is after the write has begun.
	body, rest := io.Pipe()
	const document = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL()+"/busy?versioning", body)
	require.NoError(t, err)
	q.ContentLength = int64(len(document))
	q.Header.Set("Authorization", looksSigned)
	q.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	q.Header.Set("Expect", "100-continue")
	client := plainClient(t, s)
	transport, ok := client.Transport.(*http.Transport)
	require.True(t, ok)
	transport.ExpectContinueTimeout = time.Minute
	slow := make(chan int, 1)
	go func() {
		a, err := client.Do(q)
		if err != nil {
			t.Error(err)
			slow <- 0
			return
		}
		_ = a.Body.Close()
		slow <- a.StatusCode
	}()
	_, err = rest.Write([]byte(document[:1]))
	require.NoError(t, err)
	in := &s3.PutBucketVersioningInput{Bucket: aws.String("busy"), VersioningConfiguration: &types.VersioningConfiguration{Status: "Enabled"}}
	_, err = c.PutBucketVersioning(t.Context(), in)
	requireCode(t, err, "OperationAborted")
	_, err = c.GetBucketVersioning(t.Context(), &s3.GetBucketVersioningInput{Bucket: aws.String("busy")})
	require.NoError(t, err, "reading is not held up")
	_, err = rest.Write([]byte(document[1:]))
	require.NoError(t, err)
	require.NoError(t, rest.Close())
	require.Equal(t, http.StatusOK, <-slow)
	_, err = c.PutBucketVersioning(t.Context(), in)
	require.NoError(t, err)
}
