package keyguard

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/components/internal/testaccount"
	"github.com/securethecloud/kms-baseline/localaws"
)

// account is an account on localaws with a key that nothing uses yet.
type account struct {
	server *localaws.Server
	ec2    *ec2.Client
	kms    *kms.Client
	s3     *s3.Client
	key    string
}

// newAccount also sets the environment that Check reads.
func newAccount(t *testing.T) *account {
	t.Helper()
	s, cfg := testaccount.New(t)
	a := &account{server: s, ec2: ec2.NewFromConfig(cfg), kms: kms.NewFromConfig(cfg), s3: s3.NewFromConfig(cfg)}
	a.key = testaccount.NewKey(t, a.kms)
	return a
}

func (a *account) newVolume(t *testing.T, key string) string {
	t.Helper()
	v, err := a.ec2.CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String("us-east-1a"), Size: aws.Int32(1), Encrypted: aws.Bool(true), KmsKeyId: &key})
	require.NoError(t, err)
	return *v.VolumeId
}

func (a *account) newBucket(t *testing.T, name, key string) {
	t.Helper()
	_, err := a.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
	require.NoError(t, err)
	_, err = a.s3.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{Bucket: &name, ServerSideEncryptionConfiguration: &s3types.ServerSideEncryptionConfiguration{
		Rules: []s3types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &s3types.ServerSideEncryptionByDefault{SSEAlgorithm: s3types.ServerSideEncryptionAwsKms, KMSMasterKeyID: &key}}},
	}})
	require.NoError(t, err)
}

// TestCheck_NothingUsesIt: what other keys encrypt, and what nothing does, is
// no reason to keep this one.
func TestCheck_NothingUsesIt(t *testing.T) { //nolint:paralleltest // Check reads the environment
	a := newAccount(t)
	other := testaccount.NewKey(t, a.kms)
	a.newVolume(t, other)
	a.newBucket(t, "others", other)
	_, err := a.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("plain")})
	require.NoError(t, err)
	require.NoError(t, Check(t.Context(), a.key, components.OwnUses{}))
}

func TestCheck_NamesEachUse(t *testing.T) { //nolint:paralleltest // Check reads the environment
	for name, use := range map[string]func(t *testing.T, a *account) string{
		"volume": func(t *testing.T, a *account) string {
			t.Helper()
			return "volume " + a.newVolume(t, a.key)
		},
		"snapshot": func(t *testing.T, a *account) string {
			t.Helper()
			v := a.newVolume(t, a.key)
			s, err := a.ec2.CreateSnapshot(t.Context(), &ec2.CreateSnapshotInput{VolumeId: &v})
			require.NoError(t, err)
			_, err = a.ec2.DeleteVolume(t.Context(), &ec2.DeleteVolumeInput{VolumeId: &v})
			require.NoError(t, err)
			return "snapshot " + *s.SnapshotId
		},
		"EBS default": func(t *testing.T, a *account) string {
			t.Helper()
			_, err := a.ec2.ModifyEbsDefaultKmsKeyId(t.Context(), &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &a.key})
			require.NoError(t, err)
			return "the EBS default key of us-east-1"
		},
		"bucket": func(t *testing.T, a *account) string {
			t.Helper()
			a.newBucket(t, "theirs", a.key)
			return "bucket theirs"
		},
		"bucket by alias": func(t *testing.T, a *account) string {
			t.Helper()
			_, err := a.kms.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/theirs"), TargetKeyId: &a.key})
			require.NoError(t, err)
			a.newBucket(t, "theirs", "alias/theirs")
			return "bucket theirs"
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			want := use(t, a)
			err := Check(t.Context(), a.key, components.OwnUses{})
			if own, ok := map[string]components.OwnUses{"EBS default": {EBSDefault: true}, "bucket": {Buckets: []string{"theirs"}}}[name]; ok {
				require.NoError(t, Check(t.Context(), a.key, own), "what ends with the stack does not count")
			}
			require.ErrorContains(t, err, a.key+" still encrypts 1 resource that this stack does not delete: "+want+": the key was not scheduled for deletion")
		})
	}
}

func TestCheck_NamesTenAndCountsAll(t *testing.T) { //nolint:paralleltest // Check reads the environment
	a := newAccount(t)
	for i := range 12 {
		a.newBucket(t, fmt.Sprintf("theirs-%02d", i), a.key)
	}
	err := Check(t.Context(), a.key, components.OwnUses{})
	require.ErrorContains(t, err, "still encrypts 12 resources that this stack does not delete: bucket theirs-00, ")
	require.ErrorContains(t, err, "bucket theirs-09, ...")
	require.NotContains(t, err.Error(), "theirs-10")
}

// TestCheck_RefusesWhereItCannotLook: what was not seen may be there.
func TestCheck_RefusesWhereItCannotLook(t *testing.T) { //nolint:paralleltest // Check reads the environment
	for _, c := range []struct {
		fault localaws.Fault
		want  string
	}{
		{localaws.Fault{Service: "sts", Operation: "GetCallerIdentity", Status: 403, Code: "AccessDenied"}, "may not call sts:GetCallerIdentity"},
		{localaws.Fault{Service: "kms", Operation: "ListAliases", Status: 400, Code: "AccessDeniedException"}, "may not call kms:ListAliases"},
		{localaws.Fault{Service: "ec2", Operation: "GetEbsDefaultKmsKeyId", Status: 403, Code: "UnauthorizedOperation"}, "may not call ec2:GetEbsDefaultKmsKeyId"},
		{localaws.Fault{Service: "ec2", Operation: "DescribeVolumes", Status: 403, Code: "UnauthorizedOperation"}, "may not call ec2:DescribeVolumes"},
		{localaws.Fault{Service: "ec2", Operation: "DescribeSnapshots", Status: 501, Code: "NotImplemented"}, "this AWS endpoint has no ec2:DescribeSnapshots"},
		{localaws.Fault{Service: "s3", Operation: "ListBuckets", Status: 403, Code: "AccessDenied"}, "may not call s3:ListAllMyBuckets"},
		{localaws.Fault{Service: "s3", Operation: "GetBucketEncryption", Status: 403, Code: "AccessDenied"}, "bucket theirs: the environment's credentials may not call s3:GetEncryptionConfiguration"},
		{localaws.Fault{Service: "ec2", Operation: "DescribeVolumes", Status: 500, Code: "InternalError"}, "ec2:DescribeVolumes"},
	} {
		t.Run(c.fault.Operation+" "+c.fault.Code, func(t *testing.T) {
			a := newAccount(t)
			a.newBucket(t, "theirs", testaccount.NewKey(t, a.kms))
			c.fault.Count = 1
			a.server.Inject(c.fault)
			err := Check(t.Context(), a.key, components.OwnUses{})
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "the key was not scheduled for deletion")
			require.NoError(t, Check(t.Context(), a.key, components.OwnUses{}), "the second time it could look")
		})
	}
}

func TestCheck_RefusesAnotherAccountsCredentials(t *testing.T) { // Check reads the environment
	a := newAccount(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "444455556666")
	require.ErrorContains(t, Check(t.Context(), a.key, components.OwnUses{}), "credentials are of account 444455556666 and the key is in 123456789012: set AWS_PROFILE")
}

func TestCheck_RefusesWhatIsNoKey(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, Check(t.Context(), "alias/mine", components.OwnUses{}), `"alias/mine" is not a key's ARN`)
}

// TestCheck_ReadsEveryPage: EC2 lists 500 at a time, and no more has been seen
// until all pages have.
func TestCheck_ReadsEveryPage(t *testing.T) { //nolint:paralleltest // Check reads the environment
	a := newAccount(t)
	const several = 501
	last := ""
	for range several {
		last = a.newVolume(t, a.key)
	}
	for range several {
		_, err := a.ec2.CreateSnapshot(t.Context(), &ec2.CreateSnapshotInput{VolumeId: &last})
		require.NoError(t, err)
	}
	require.ErrorContains(t, Check(t.Context(), a.key, components.OwnUses{}), fmt.Sprintf("still encrypts %d resources", 2*several))
}
