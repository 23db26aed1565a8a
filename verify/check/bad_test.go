package check

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/verify/report"
)

type statuses map[string]report.Status

// badStack is what is bad in a stack.
type badStack struct {
	name    string
	spoil   func(*testing.T, *stack)
	want    statuses          // of what does not pass
	because map[string]string // part of Actual
}

func badStacks() []badStack {
	const (
		f = report.Fail
		i = report.Inconclusive
		e = report.Error
		s = report.Skipped
	)
	type wants = statuses
	return []badStack{
		{"key disabled", func(t *testing.T, s *stack) {
			_, err := kms.NewFromConfig(s.cfg).DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &s.keyARN})
			require.NoError(t, err)
		}, wants{"key.enabled": f, "trail.read": i}, map[string]string{"key.enabled": "key state Disabled", "trail.read": "reading it just now failed: KMS.DisabledException"}},
		{"key pending deletion", func(t *testing.T, s *stack) {
			_, err := kms.NewFromConfig(s.cfg).ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &s.keyARN})
			require.NoError(t, err)
		}, wants{"key.enabled": f, "key.deletion": f, "key.rotation": f, "trail.read": i}, map[string]string{"key.deletion": "will be deleted on "}},
		{"rotation off", func(t *testing.T, s *stack) {
			_, err := kms.NewFromConfig(s.cfg).DisableKeyRotation(t.Context(), &kms.DisableKeyRotationInput{KeyId: &s.keyARN})
			require.NoError(t, err)
		}, wants{"key.rotation": f}, map[string]string{"key.rotation": "rotation off"}},
		{"alias moved", func(t *testing.T, s *stack) {
			other := s.newKey(t)
			_, err := kms.NewFromConfig(s.cfg).UpdateAlias(t.Context(), &kms.UpdateAliasInput{AliasName: aws.String(alias), TargetKeyId: &other})
			require.NoError(t, err)
		}, wants{"key.alias": f}, map[string]string{"key.alias": "points to another key"}},
		{"alias gone", func(t *testing.T, s *stack) {
			_, err := kms.NewFromConfig(s.cfg).DeleteAlias(t.Context(), &kms.DeleteAliasInput{AliasName: aws.String(alias)})
			require.NoError(t, err)
		}, wants{"key.alias": f}, map[string]string{"key.alias": "there is no alias/masterclass-cmk"}},
		{"key policy opened", func(t *testing.T, s *stack) {
			policy := `{"Version":"2012-10-17","Statement":[{"Sid":"Root","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + owner + `:root"},"Action":"kms:*","Resource":"*"},{"Sid":"Oops","Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}}}]}`
			_, err := kms.NewFromConfig(s.cfg).PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: &s.keyARN, PolicyName: aws.String("default"), Policy: &policy})
			require.NoError(t, err)
		}, wants{"key.policy": f}, map[string]string{"key.policy": `statement "Oops" allows the principal AWS "*", and no condition keeps other accounts out`}},
		{"no such key", func(_ *testing.T, s *stack) {
			s.config.Keys = []string{s.keyARN[:len(s.keyARN)-4] + "0000"}
		}, wants{
			"key.enabled": f, "key.customer": e, "key.spec": e, "key.alias": f, "key.rotation": e, "key.deletion": e, "key.policy": e, "key.grants": e, "key.multi-region": e,
			"bucket.encryption": f, "bucket.foreign-keys": f, "object.encryption": f, "ebs.key": f, "trail.write": f, "trail.read": f,
		}, map[string]string{"key.enabled": "no such key", "key.rotation": "NotFoundException"}},
		{"an AWS managed key", func(t *testing.T, s *stack) {
			s.put(t, s.cfg, "x", nil)
			s.config.Keys, s.config.Alias = []string{"alias/aws/s3"}, ""
		}, wants{
			"key.customer": f, "key.alias": s,
			"bucket.encryption": f, "bucket.foreign-keys": f, "object.encryption": f, "ebs.key": f, "trail.write": f, "trail.read": f,
		}, map[string]string{"key.customer": "key manager AWS"}},
		{"a key for signatures", func(t *testing.T, s *stack) {
			out, err := kms.NewFromConfig(s.cfg).CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: kmstypes.KeySpecHmac256, KeyUsage: kmstypes.KeyUsageTypeGenerateVerifyMac})
			if err != nil {
				t.Skipf("localaws makes no such key: %v", err)
			}
			s.config.Keys, s.config.Only = []string{*out.KeyMetadata.Arn}, []string{"key.spec", "key.rotation"}
		}, wants{"key.spec": f, "key.rotation": f}, nil},

		{"bucket default SSE-S3", func(t *testing.T, s *stack) {
			s.setDefault(t, s3types.ServerSideEncryptionAes256, "", false)
		}, wants{"bucket.encryption": f, "bucket.bucket-key": f}, map[string]string{"bucket.encryption": "the default is SSE-S3 (AES256): no KMS key is used"}},
		{"bucket default the AWS managed key", func(t *testing.T, s *stack) {
			s.setDefault(t, s3types.ServerSideEncryptionAwsKms, "", true)
		}, wants{"bucket.encryption": f}, map[string]string{"bucket.encryption": "AWS managed key (aws/s3)"}},
		{"bucket default an alias", func(t *testing.T, s *stack) {
			s.setDefault(t, s3types.ServerSideEncryptionAwsKms, alias, true)
		}, wants{"bucket.encryption": f}, map[string]string{"bucket.encryption": "S3 looks an alias up in the account of the writer"}},
		{"bucket default a key id", func(t *testing.T, s *stack) {
			s.setDefault(t, s3types.ServerSideEncryptionAwsKms, s.keyARN[len(s.keyARN)-36:], true)
		}, wants{"bucket.encryption": f}, map[string]string{"bucket.encryption": "from this account it is the right key"}},
		{"bucket default another key", func(t *testing.T, s *stack) {
			s.setDefault(t, s3types.ServerSideEncryptionAwsKms, s.newKey(t), true)
		}, wants{"bucket.encryption": f}, map[string]string{"bucket.encryption": "with another key: arn:"}},
		{"bucket default another account's key", func(t *testing.T, s *stack) {
			s.setDefault(t, s3types.ServerSideEncryptionAwsKms, "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000", true)
		}, wants{"bucket.encryption": f}, map[string]string{"bucket.encryption": "with a key of another account (111122223333)"}},
		{"no Bucket Key", func(t *testing.T, s *stack) {
			s.setDefault(t, s3types.ServerSideEncryptionAwsKms, s.keyARN, false)
		}, wants{"bucket.bucket-key": f}, nil},
		{"public access half blocked", func(t *testing.T, s *stack) {
			_, err := s3.NewFromConfig(s.cfg).PutPublicAccessBlock(t.Context(), &s3.PutPublicAccessBlockInput{Bucket: aws.String(bucket), PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{
				BlockPublicAcls: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true),
			}})
			require.NoError(t, err)
		}, wants{"bucket.public-access": f}, map[string]string{"bucket.public-access": "off: RestrictPublicBuckets"}},
		{"public access not blocked, policy public", func(t *testing.T, s *stack) {
			c := s3.NewFromConfig(s.cfg)
			_, err := c.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: aws.String(bucket)})
			require.NoError(t, err)
			s.setBucketPolicy(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::`+bucket+`/*"}]}`)
		}, wants{"bucket.public-access": f, "bucket.policy": f, "bucket.tls": f, "bucket.foreign-keys": f}, map[string]string{"bucket.public-access": "no public-access block", "bucket.policy": "public"}},
		{"no bucket policy", func(t *testing.T, s *stack) {
			_, err := s3.NewFromConfig(s.cfg).DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: aws.String(bucket)})
			require.NoError(t, err)
		}, wants{"bucket.tls": f, "bucket.foreign-keys": f}, map[string]string{"bucket.tls": "there is no bucket policy"}},
		{"TLS for objects alone", func(t *testing.T, s *stack) {
			s.setBucketPolicy(t, `{"Version":"2012-10-17","Statement":[{"Sid":"TLS","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::`+bucket+`/*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`)
		}, wants{"bucket.tls": f, "bucket.foreign-keys": f}, map[string]string{"bucket.tls": "for the bucket itself: statement \"TLS\""}},
		{"no such bucket", func(_ *testing.T, s *stack) {
			s.config.Bucket = "ckms-missing-bucket"
		}, wants{
			"bucket.region": f, "bucket.account": e, "bucket.versioning": e, "bucket.ownership": e, "bucket.encryption": e, "bucket.bucket-key": e, "bucket.public-access": e, "bucket.policy": e, "bucket.tls": e, "bucket.foreign-keys": e,
			"object.encryption": f, "trail.write": f, "trail.read": f,
		}, map[string]string{"bucket.region": "there is no bucket", "bucket.tls": "NoSuchBucket"}},

		{"object from before the default", func(t *testing.T, s *stack) {
			s.setDefault(t, s3types.ServerSideEncryptionAes256, "", false)
			s.put(t, s.cfg, "old.txt", nil)
			s.setDefault(t, s3types.ServerSideEncryptionAwsKms, s.keyARN, true)
			s.config.Objects = []string{"old.txt"}
		}, wants{"object.encryption": f, "trail.write": f, "trail.read": f}, map[string]string{"object.encryption": "old.txt: SSE-S3 (AES256)", "trail.write": "HeadObject shows that the key was not used"}},
		{"object under another key", func(t *testing.T, s *stack) {
			other := s.newKey(t)
			_, err := s3.NewFromConfig(s.cfg).DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: aws.String(bucket)})
			require.NoError(t, err)
			s.put(t, s.cfg, object, withoutBucketKey(other))
			s.setBucketPolicy(t, goodBucketPolicy(s.keyARN))
		}, wants{"object.encryption": f, "trail.write": f, "trail.read": f}, map[string]string{"object.encryption": "under another key: arn:"}},
		{"no such object", func(_ *testing.T, s *stack) {
			s.config.Objects = []string{"nothing.txt"}
		}, wants{"object.encryption": f, "trail.write": f, "trail.read": f}, map[string]string{"object.encryption": "nothing.txt: there is no such object"}},
		{"nothing below the prefix", func(_ *testing.T, s *stack) {
			s.config.Objects, s.config.Prefix = nil, aws.String("nothing/")
		}, wants{"object.encryption": i, "trail.write": report.Skipped, "trail.read": report.Skipped}, nil},

		{"EBS off", func(t *testing.T, s *stack) {
			_, err := ec2.NewFromConfig(s.cfg).DisableEbsEncryptionByDefault(t.Context(), &ec2.DisableEbsEncryptionByDefaultInput{})
			require.NoError(t, err)
		}, wants{"ebs.encryption": f}, map[string]string{"ebs.encryption": "off in us-east-1"}},
		{"EBS key moved", func(t *testing.T, s *stack) {
			other := s.newKey(t)
			_, err := ec2.NewFromConfig(s.cfg).ModifyEbsDefaultKmsKeyId(t.Context(), &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &other})
			require.NoError(t, err)
		}, wants{"ebs.key": f}, map[string]string{"ebs.key": "the default key is another one: arn:"}},
		{"EBS key reset", func(t *testing.T, s *stack) {
			_, err := ec2.NewFromConfig(s.cfg).ResetEbsDefaultKmsKeyId(t.Context(), &ec2.ResetEbsDefaultKmsKeyIdInput{})
			require.NoError(t, err)
		}, wants{"ebs.key": f}, map[string]string{"ebs.key": "AWS managed"}},
		{"EBS on in one Region of many", func(_ *testing.T, s *stack) {
			s.config.AllRegions = true
		}, wants{"ebs.encryption": f}, map[string]string{"ebs.encryption": "not as expected for "}},

		{"credentials of another account", func(_ *testing.T, s *stack) {
			s.config.Account = "111122223333"
		}, wants{"account.expected": f, "key.customer": f}, map[string]string{"account.expected": "account " + owner}},
		{"events of another caller", func(_ *testing.T, s *stack) {
			s.config.Caller = "arn:aws:iam::" + owner + ":role/deployer"
		}, wants{"trail.write": i, "trail.read": i}, map[string]string{"trail.write": "1 of another caller (arn:aws:iam::" + owner + ":user/localaws)"}},
	}
}

// Each bad stack fails exactly the checks that are about what is bad in it, for
// that reason.
func TestRun_BadStack(t *testing.T) {
	t.Parallel()
	for _, tt := range badStacks() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			st := goodStack(t)
			tt.spoil(t, st)
			rep := st.run(t)
			got := statuses{}
			for _, x := range rep.Results {
				if x.Status != report.Pass && x.ID != "trail.keys" && x.Group != "canary" {
					got[x.ID] = x.Status
					require.NotEmpty(t, x.Actual, x.ID)
					if x.Status != report.Skipped {
						require.NotEmpty(t, x.Remedy, x.ID)
					}
				}
			}
			require.Equal(t, tt.want, got, "%s", show(rep))
			for _, x := range rep.Results {
				requireRemedy(t, x)
			}
			for id, part := range tt.because {
				require.Contains(t, result(t, rep, id).Actual, part, id)
			}
		})
	}
}

// Each bad stack that concerns a check of events gets the same verdicts from each source
// of events.
func TestEvents_BadStacksGetTheSameVerdictsFromEachSource(t *testing.T) {
	t.Parallel()
	for _, tt := range badStacks() {
		if tt.want["trail.write"] == "" && tt.want["trail.read"] == "" {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newLoggedStack(t)
			tt.spoil(t, s.stack)
			if tt.name == "object under another key" {
				s.config.Objects = []string{object}
			}
			s.config.Only = []string{"trail"}
			for range 3 { // so that digest files vouch for all of it
				s.pass(t, time.Hour)
				s.config.Since += time.Hour
			}
			verdicts := func(events string) statuses {
				s.config.Events = events
				rep := s.run(t)
				return statuses{"trail.write": result(t, rep, "trail.write").Status, "trail.read": result(t, rep, "trail.read").Status}
			}
			files := verdicts("s3://" + logsBucket)
			require.Equal(t, files, verdicts(tableOf(t, s, nil)))
			require.Equal(t, files, verdicts(lookup))
			if tt.want["trail.write"] != "" {
				require.NotEqual(t, report.Pass, files["trail.write"])
			}
		})
	}
}

// Several objects and keys: the report names those that are not as they should
// be, and a prefix finds what was not named.
func TestRun_ManyObjects(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.setDefault(t, s3types.ServerSideEncryptionAes256, "", false)
	for i := range 3 {
		s.put(t, s.cfg, fmt.Sprintf("old/%d", i), nil)
	}
	s.setDefault(t, s3types.ServerSideEncryptionAwsKms, s.keyARN, true)
	for i := range 20 {
		s.put(t, s.cfg, fmt.Sprintf("new/%d", i), nil)
	}
	s.config.Only, s.config.Prefix = []string{"object"}, aws.String("")
	rep := s.run(t)
	x := result(t, rep, "object.encryption")
	require.Equal(t, report.Fail, x.Status)
	require.Equal(t, 3, x.FailureCount)
	require.Len(t, x.Failures, 3)
	require.Contains(t, x.Failures[0], "old/0: SSE-S3")
	require.Equal(t, 24, rep.Subject.ObjectCount)

	s.config.Prefix = aws.String("new/")
	require.Equal(t, `21 objects checked (1 named object, and every object with the prefix "new/"): the current version of each is under the key`, result(t, s.run(t), "object.encryption").Actual)
}

func TestRun_ManyKeys(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	good, bad := s.newKey(t), s.newKey(t)
	_, err := kms.NewFromConfig(s.cfg).DisableKeyRotation(t.Context(), &kms.DisableKeyRotationInput{KeyId: &bad})
	require.NoError(t, err)
	s.config.Keys = append(s.config.Keys, good, bad)
	x := result(t, s.run(t), "key.rotation")
	require.Equal(t, report.Fail, x.Status)
	require.Equal(t, []string{bad + ": automatic rotation off"}, x.Failures)
	require.Contains(t, x.Actual, "not as expected for 1 of 3 keys")
}

func TestRun_AllRegions(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	regions, err := ec2.NewFromConfig(s.cfg).DescribeRegions(t.Context(), &ec2.DescribeRegionsInput{})
	require.NoError(t, err)
	require.Greater(t, len(regions.Regions), 5)
	for _, r := range regions.Regions {
		c := ec2.NewFromConfig(s.cfg, func(o *ec2.Options) { o.Region = *r.RegionName })
		_, err := c.EnableEbsEncryptionByDefault(t.Context(), &ec2.EnableEbsEncryptionByDefaultInput{})
		require.NoError(t, err)
	}
	s.config.AllRegions, s.config.Only = true, []string{"ebs"}
	x := result(t, s.run(t), "ebs.encryption")
	require.Equal(t, report.Pass, x.Status, x.Actual)
	for _, c := range x.Controls {
		require.False(t, c.Partial, c)
	}
}
