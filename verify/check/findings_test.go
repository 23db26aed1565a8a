package check

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	controltypes "github.com/aws/aws-sdk-go-v2/service/s3control/types"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/securethecloud/kms-baseline/localaws"
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

// theirBucket makes a bucket of another account whose policy admits the caller,
// and points the run at it.
func (s *stack) theirBucket(t *testing.T) (owner *s3.Client, name string) {
	t.Helper()
	other := s3.NewFromConfig(configFor(t, s.aws, "111122223333"))
	const theirs = "their-bucket"
	_, err := other.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(theirs)})
	require.NoError(t, err)
	_, err = other.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: aws.String(theirs)})
	require.NoError(t, err)
	s.openTheirBucket(t, other, "s3:*")
	_, err = other.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String(theirs), VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled}})
	require.NoError(t, err)
	_, err = other.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(theirs), Key: aws.String(object), Body: strings.NewReader("theirs")})
	require.NoError(t, err)
	s.config.Bucket = theirs
	return other, theirs
}

func (s *stack) openTheirBucket(t *testing.T, other *s3.Client, action string) {
	t.Helper()
	policy := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + owner + `"},"Action":"` + action + `","Resource":["arn:aws:s3:::their-bucket","arn:aws:s3:::their-bucket/*"]}}`
	_, err := other.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("their-bucket"), Policy: &policy})
	require.NoError(t, err)
}

func TestBucketAccount_FailsForABucketOfAnotherAccount(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.theirBucket(t)
	x := s.one(t, "bucket.account")
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Contains(t, x.Actual, "another account owns it")
}

// S3 refuses another owner and a missing permission with the same status.
func TestBucketAccount_IsNotJudgedWithoutPermission(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	require.NoError(t, s.aws.SetIdentityPolicy("arn:aws:iam::"+owner+":user/localaws", `{"Statement":{"Effect":"Allow","Action":["kms:*","sts:*"],"Resource":"*"}}`))
	x := s.one(t, "bucket.account")
	require.Equal(t, report.Error, x.Status, x.Actual)
	require.Contains(t, x.Actual, "the owner is not known")
}

// The owner is unknown where STS does not name the caller's account. Nothing about
// the bucket passes then.
func TestRun_NothingAboutTheBucketPassesWithoutItsOwner(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	_, theirs := s.theirBucket(t)
	s.config.Canary, s.config.Prefix = true, aws.String("")
	s.aws.Inject(localaws.Fault{Service: "sts", Operation: "GetCallerIdentity", Status: 403, Code: "AccessDenied"})
	rep := s.run(t)
	for _, x := range rep.Results {
		switch x.Group {
		case "bucket", "object", "trail", "canary":
			require.NotEqual(t, report.Pass, x.Status, "%s: %s", x.ID, x.Actual)
		}
	}
	require.Equal(t, report.Error, result(t, rep, "bucket.versioning").Status)
	require.Contains(t, result(t, rep, "bucket.versioning").Actual, "the expected owner of the bucket is not known: sts:GetCallerIdentity")
	for _, c := range s.aws.Calls() {
		require.False(t, c.Service == "s3" && strings.HasPrefix(c.Operation, "GetBucket"), "%s was sent without the expected owner of %s", c.Operation, theirs)
	}
}

func TestCanary_WritesNothingToTheBucketOfAnotherAccount(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	other, theirs := s.theirBucket(t)
	s.config.Canary = true
	s.aws.ResetCalls()
	x := s.one(t, "canary.default")
	require.Equal(t, report.Error, x.Status, x.Actual)
	require.Contains(t, x.Actual, "nothing was uploaded: S3 accepts the call, but not if "+owner+" has to own the bucket")
	for _, c := range s.aws.Calls() {
		require.NotEqual(t, "PutObject", c.Operation, "it was sent, and only the expected owner kept it out")
	}
	list, err := other.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(theirs)})
	require.NoError(t, err)
	require.Len(t, list.Versions, 1, "the owner's own object")
}

// The caller's own policy denies the upload. The bucket's policy might not.
func TestCanaryRefused_IsInconclusiveIfTheIdentityPolicyRefuses(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	require.NoError(t, s.aws.SetIdentityPolicy("arn:aws:iam::"+owner+":user/localaws", `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
{"Effect":"Deny","Action":"s3:PutObject","Resource":"*","Condition":{"StringEquals":{"s3:x-amz-server-side-encryption":"AES256"}}},
{"Effect":"Deny","Action":"s3:PutObject","Resource":"*","Condition":{"StringEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"alias/aws/s3"}}}]}`))
	s.config.Canary = true
	x := s.one(t, "canary.refused")
	require.Equal(t, report.Inconclusive, x.Status, x.Actual)
	require.Contains(t, x.Actual, "S3 does not say that the bucket policy refused it")
}

// notFound answers HeadObject of one name, or of one version of it, with 404, as S3
// does for a name that a client cannot express in a request.
type notFound struct {
	next         aws.HTTPClient
	key, version string
}

func (x notFound) Do(h *http.Request) (*http.Response, error) {
	if h.Method == http.MethodHead && strings.HasSuffix(h.URL.Path, "/"+x.key) && (x.version == "" || h.URL.Query().Get("versionId") == x.version) {
		return &http.Response{StatusCode: 404, Status: "404 Not Found", Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: h}, nil
	}
	return x.next.Do(h)
}

func TestObjects_AListedNameThatIsNotFoundIsNotDeleted(t *testing.T) {
	t.Parallel()
	for _, versions := range []bool{false, true} {
		t.Run(fmt.Sprintf("versions=%t", versions), func(t *testing.T) {
			t.Parallel()
			s := goodStack(t)
			s.put(t, s.cfg, "odd", nil)
			s.config.Prefix, s.config.Versions = aws.String(""), versions
			s.config.AWS.HTTPClient = notFound{next: s.cfg.HTTPClient, key: "odd"}
			x := s.one(t, "object.encryption")
			require.Equal(t, report.Error, x.Status, x.Actual)
			require.Contains(t, x.Actual, "HeadObject does not find it")
		})
	}
}

// The list has two pages, and the version that HeadObject does not find is on the
// second.
func TestObjects_AVersionOnTheSecondPageIsNotDeleted(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	out, err := s3.NewFromConfig(s.cfg).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("many"), Body: strings.NewReader("first")})
	require.NoError(t, err)
	var g errgroup.Group // one after the other they take twenty seconds
	g.SetLimit(32)
	for range 1000 {
		g.Go(func() error {
			_, err := s3.NewFromConfig(s.cfg).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("many"), Body: strings.NewReader("later")})
			return err
		})
	}
	require.NoError(t, g.Wait())
	s.config.Prefix, s.config.Versions, s.config.Objects = aws.String("many"), true, nil
	s.config.AWS.HTTPClient = notFound{s.cfg.HTTPClient, "many", *out.VersionId}
	x := s.one(t, "object.encryption")
	require.Equal(t, report.Error, x.Status, x.Actual)
	require.Contains(t, x.Actual, "1000 objects are, but not all could be looked at")
}

// The canary of this run writes with the same caller, key and bucket as the
// object. Its events are no evidence of the object's write.
func TestTrailWrite_IsNotProvenByThisRunsCanary(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	// The event of the object's own write is hidden: what is left is the canary's.
	events, err := cloudtrail.NewFromConfig(s.cfg).LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{LookupAttributes: []trailtypes.LookupAttribute{{
		AttributeKey: trailtypes.LookupAttributeKeyEventName, AttributeValue: aws.String("GenerateDataKey"),
	}}})
	require.NoError(t, err)
	require.NotEmpty(t, events.Events)
	hidden := map[string]bool{}
	for _, e := range events.Events {
		hidden[*e.EventId] = true
	}
	s.config.Canary = true
	s.config.Only = []string{"trail.write", "canary"}
	// S3 may ask KMS for a new Bucket Key during the run; localaws keeps the old one.
	asked := 0
	s.config.AWS.HTTPClient = forger{s.cfg.HTTPClient, func(summary, record map[string]any) bool {
		if hidden[summary["EventId"].(string)] {
			return false
		}
		if record["eventName"] == "GenerateDataKey" {
			asked++
			record["requestParameters"].(map[string]any)["encryptionContext"].(map[string]any)["aws:s3:arn"] = "arn:aws:s3:::" + bucket
		}
		return true
	}}
	x := result(t, s.run(t), "trail.write")
	require.Positive(t, asked)
	require.Equal(t, report.Inconclusive, x.Status, x.Actual)
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
		rec.Resources = append(rec.Resources, trailResource{ARN: testKey})
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
					w.meet(sighting{trailRecord: event(role+c, at.Add(-time.Duration(i)*time.Minute), tt.context)})
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

// The checks of the account run if they are asked for, and fail on what the stack
// does not cover.
func TestAccountWide(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	require.NotContains(t, status(s.run(t)), "ebs.volumes", "it was not asked for")
	s.config.Only = []string{"ebs"}
	require.NotContains(t, status(s.run(t)), "ebs.volumes", "a group is not its id")
	s.config.Only, s.config.AccountWide = nil, true
	got := status(s.run(t))
	want := map[string]report.Status{"account.public-access": report.Fail, "ebs.snapshot-sharing": report.Fail, "ebs.volumes": report.Pass, "ebs.snapshots": report.Pass}
	for id := range want {
		require.Equal(t, want[id], got[id], id)
	}
	s.config.AccountWide = false

	ctx, e := t.Context(), ec2.NewFromConfig(s.cfg)
	_, err := e.EnableSnapshotBlockPublicAccess(ctx, &ec2.EnableSnapshotBlockPublicAccessInput{State: ec2types.SnapshotBlockPublicAccessStateBlockNewSharing})
	require.NoError(t, err)
	x := s.one(t, "ebs.snapshot-sharing")
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Contains(t, x.Actual, "stays public")
	_, err = e.EnableSnapshotBlockPublicAccess(ctx, &ec2.EnableSnapshotBlockPublicAccessInput{State: ec2types.SnapshotBlockPublicAccessStateBlockAllSharing})
	require.NoError(t, err)
	require.Equal(t, report.Pass, s.one(t, "ebs.snapshot-sharing").Status)

	control := s3control.NewFromConfig(s.cfg, withoutAccountInHost)
	block := func(restrict bool) {
		_, err := control.PutPublicAccessBlock(ctx, &s3control.PutPublicAccessBlockInput{AccountId: aws.String(owner), PublicAccessBlockConfiguration: &controltypes.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true), RestrictPublicBuckets: &restrict,
		}})
		require.NoError(t, err)
	}
	block(false)
	x = s.one(t, "account.public-access")
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Equal(t, "off: RestrictPublicBuckets", x.Actual)
	block(true)
	require.Equal(t, report.Pass, s.one(t, "account.public-access").Status)
}

func TestEBSData_CountsWhatIsNotUnderTheKey(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	ctx, e := t.Context(), ec2.NewFromConfig(s.cfg)
	volume := func(key string, encrypted *bool) string {
		in := &ec2.CreateVolumeInput{AvailabilityZone: aws.String(region + "a"), Size: aws.Int32(1), Encrypted: encrypted}
		if key != "" {
			in.KmsKeyId = &key
		}
		out, err := e.CreateVolume(ctx, in)
		require.NoError(t, err)
		return *out.VolumeId
	}
	snapshot := func(volume string) {
		_, err := e.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: &volume})
		require.NoError(t, err)
	}
	good := volume("", nil)
	snapshot(good)
	require.Equal(t, report.Pass, s.one(t, "ebs.volumes").Status)
	require.Equal(t, report.Pass, s.one(t, "ebs.snapshots").Status)

	other := volume(s.newKey(t), aws.Bool(true))
	_, err := e.DisableEbsEncryptionByDefault(ctx, &ec2.DisableEbsEncryptionByDefaultInput{})
	require.NoError(t, err)
	plain := volume("", nil)
	snapshot(plain)
	x := s.one(t, "ebs.volumes")
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Contains(t, x.Actual, "2 of 3 volumes: 1 not encrypted, 1 under another key (arn:")
	require.Equal(t, 2, x.FailureCount)
	require.Contains(t, strings.Join(x.Failures, "\n"), plain+": not encrypted")
	require.Contains(t, strings.Join(x.Failures, "\n"), other+": under another key")
	x = s.one(t, "ebs.snapshots")
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Contains(t, x.Actual, "1 of 2 snapshots: 1 not encrypted, 0 under another key")

	s.aws.Inject(localaws.Fault{Service: "ec2", Operation: "DescribeVolumes", Status: 403, Code: "UnauthorizedOperation"})
	require.Equal(t, report.Error, s.one(t, "ebs.volumes").Status)
}
