package check

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// Each test is a report that once passed and was not true.

// one runs a single check.
func (s *stack) one(t *testing.T, id string) report.Result {
	t.Helper()
	s.config.Only = []string{id}
	rep, err := Run(t.Context(), s.config)
	require.NoError(t, err)
	return rep.Results[0]
}

func TestBucketAccount_FailsForABucketOfAnotherAccount(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	other := s3.NewFromConfig(configFor(t, s.aws, "111122223333"))
	const theirs = "their-bucket"
	_, err := other.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(theirs)})
	require.NoError(t, err)
	_, err = other.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: aws.String(theirs)})
	require.NoError(t, err)
	policy := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + owner + `"},"Action":"s3:*","Resource":["arn:aws:s3:::` + theirs + `","arn:aws:s3:::` + theirs + `/*"]}}`
	_, err = other.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(theirs), Policy: &policy})
	require.NoError(t, err)
	s.config.Bucket = theirs
	x := s.one(t, "bucket.account")
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Contains(t, x.Actual, "another account owns it")

	s.config.Canary = true
	x = s.one(t, "canary.default")
	require.Equal(t, report.Error, x.Status, x.Actual)
	require.Contains(t, x.Actual, "nothing was uploaded")
	list, err := other.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(theirs)})
	require.NoError(t, err)
	require.Empty(t, list.Versions)
}

func TestKeyCustomer_FailsForAKeyOfAnotherAccount(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.config.Account = "111122223333"
	x := s.one(t, "key.customer")
	require.Equal(t, report.Fail, x.Status)
	require.Contains(t, x.Actual, "belongs to account "+owner)
}

func TestKeyMultiRegion_ExaminesEveryReplica(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	k := kms.NewFromConfig(s.cfg)
	out, err := k.CreateKey(t.Context(), &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})
	require.NoError(t, err)
	arn := out.KeyMetadata.Arn
	open := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + owner + `:root"},"Action":"kms:*","Resource":"*"},{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"}]}`
	_, err = k.ReplicateKey(t.Context(), &kms.ReplicateKeyInput{KeyId: arn, ReplicaRegion: aws.String("eu-west-1"), Policy: &open})
	require.NoError(t, err)
	s.config.Keys, s.config.Alias = []string{*arn}, ""
	x := s.one(t, "key.multi-region")
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Contains(t, x.Actual, "eu-west-1")
	require.Equal(t, report.Pass, s.one(t, "key.policy").Status, "the primary's own policy is not open")

	west := kms.NewFromConfig(s.cfg, func(o *kms.Options) { o.Region = "eu-west-1" })
	closed := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + owner + `:root"},"Action":"kms:*","Resource":"*"}}`
	_, err = west.PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: out.KeyMetadata.KeyId, Policy: &closed})
	require.NoError(t, err)
	require.Equal(t, report.Pass, s.one(t, "key.multi-region").Status)
	_, err = west.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: out.KeyMetadata.KeyId})
	require.NoError(t, err)
	require.Equal(t, report.Fail, s.one(t, "key.multi-region").Status)
}

func TestKeyRotation_FailsAboveAYear(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	_, err := kms.NewFromConfig(s.cfg).EnableKeyRotation(t.Context(), &kms.EnableKeyRotationInput{KeyId: &s.keyARN, RotationPeriodInDays: aws.Int32(366)})
	require.NoError(t, err)
	require.Equal(t, report.Fail, s.one(t, "key.rotation").Status)
}

func TestObjects_ControlCharactersAreNotLost(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.setBucketPolicy(t, `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::`+bucket+`","arn:aws:s3:::`+bucket+`/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}}`)
	for _, key := range []string{"a\x01b", "line\nbreak", "tab\t", "plus+ space %41", "\x1b[31m"} {
		s.put(t, s.cfg, key, func(in *s3.PutObjectInput) { in.ServerSideEncryption = s3types.ServerSideEncryptionAes256 })
	}
	s.config.Prefix = aws.String("")
	x := s.one(t, "object.encryption")
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Equal(t, 5, x.FailureCount, x.Failures)
	require.NotContains(t, x.Actual, "deleted meanwhile")
}

func TestObjects_VersionsAndWhatIsBehindADeleteMarker(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.setBucketPolicy(t, `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::`+bucket+`","arn:aws:s3:::`+bucket+`/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}}`)
	sse := func(in *s3.PutObjectInput) { in.ServerSideEncryption = s3types.ServerSideEncryptionAes256 }
	s.put(t, s.cfg, "old", sse)
	s.put(t, s.cfg, "old", nil)
	s.put(t, s.cfg, "deleted", sse)
	_, err := s3.NewFromConfig(s.cfg).DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String("deleted")})
	require.NoError(t, err)
	s.config.Prefix = aws.String("")
	x := s.one(t, "object.encryption")
	require.Equal(t, report.Pass, x.Status, x.Actual)
	require.Contains(t, x.Actual, "the current version of each")
	s.config.Versions = true
	x = s.one(t, "object.encryption")
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Equal(t, 2, x.FailureCount, x.Failures)
}

// With a Bucket Key the event names the bucket only.
func TestTrailWrite_UseByAnotherCallerInTheBucketIsInconclusive(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const role = "arn:aws:iam::" + owner + ":role/"
	event := func(caller string, when time.Time, context string) (rec trailRecord) {
		rec.EventName, rec.EventSource, rec.EventTime, rec.Region = "GenerateDataKey", "kms.amazonaws.com", when, region
		rec.UserIdentity.ARN, rec.UserIdentity.InvokedBy = caller, "fas.s3.amazonaws.com"
		rec.RequestParameters.EncryptionContext = map[string]string{"aws:s3:arn": context}
		rec.Resources = append(rec.Resources, struct {
			ARN string `json:"ARN"`
		}{testKey})
		return rec
	}
	const bucketContext, objectContext = "arn:aws:s3:::" + bucket, "arn:aws:s3:::" + bucket + "/" + object
	for name, tt := range map[string]struct {
		context string
		callers []string // newest first
		want    report.Status
	}{
		"the caller alone":                     {bucketContext, []string{"a"}, report.Pass},
		"another caller in the bucket":         {bucketContext, []string{"a", "b"}, report.Inconclusive},
		"another caller later in the bucket":   {bucketContext, []string{"b", "a"}, report.Inconclusive},
		"another caller alone":                 {bucketContext, []string{"b"}, report.Inconclusive},
		"the object by the caller":             {objectContext, []string{"a"}, report.Pass},
		"the object overwritten by another":    {objectContext, []string{"b", "a"}, report.Inconclusive},
		"the object written by another caller": {objectContext, []string{"b"}, report.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &want{name: object, event: "GenerateDataKey", key: testKey, caller: principalOf(role + "a"), object: objectContext, context: tt.context,
				whole: true, from: at.Add(-time.Hour), to: at}
			for i, c := range tt.callers {
				if w.pending() {
					w.meet(event(role+c, at.Add(-time.Duration(i)*time.Minute), tt.context), "", "")
				}
			}
			w.gone = true
			x := trailFindings{}.result(&run{}, w)
			require.Equal(t, tt.want, x.Status, x.Actual)
		})
	}
}

func TestBucketSettings_FailWhenRemoved(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	b := s3.NewFromConfig(s.cfg)
	_, err := b.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String(bucket), VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusSuspended}})
	require.NoError(t, err)
	_, err = b.PutBucketOwnershipControls(t.Context(), &s3.PutBucketOwnershipControlsInput{Bucket: aws.String(bucket), OwnershipControls: &s3types.OwnershipControls{
		Rules: []s3types.OwnershipControlsRule{{ObjectOwnership: s3types.ObjectOwnershipObjectWriter}},
	}})
	require.NoError(t, err)
	require.Equal(t, report.Fail, s.one(t, "bucket.versioning").Status)
	require.Equal(t, report.Fail, s.one(t, "bucket.ownership").Status)
}
