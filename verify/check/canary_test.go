package check

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/verify/report"
)

func TestCanary_Bad(t *testing.T) {
	t.Parallel()
	const f, i, e, s = report.Fail, report.Inconclusive, report.Error, report.Skipped
	tests := []struct {
		name    string
		spoil   func(*testing.T, *stack)
		want    map[string]report.Status // of what does not pass
		because map[string]string
	}{
		{"default SSE-S3", func(t *testing.T, s *stack) {
			s.setDefault(t, s3types.ServerSideEncryptionAes256, "", false)
		}, map[string]report.Status{"canary.default": f}, map[string]string{"canary.default": "it got something else: SSE-S3"}},
		{"default another key", func(t *testing.T, s *stack) {
			s.setDefault(t, s3types.ServerSideEncryptionAwsKms, s.newKey(t), true)
		}, map[string]report.Status{"canary.default": f}, map[string]string{"canary.default": "under another key"}},
		{"nothing refused", func(t *testing.T, s *stack) {
			_, err := s3.NewFromConfig(s.cfg).DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: aws.String(bucket)})
			require.NoError(t, err)
		}, map[string]report.Status{"canary.refused": f}, map[string]string{"canary.refused": "an upload that names SSE-S3 (AES256) was accepted"}},
		{"another key accepted", func(t *testing.T, s *stack) {
			s.setBucketPolicy(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::`+bucket+`/*","Condition":{"Null":{"s3:x-amz-server-side-encryption":"false"},"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}}]}`)
		}, map[string]report.Status{"canary.refused": f}, map[string]string{"canary.refused": "not as expected for 2 of 3 uploads"}},
		{"every upload refused", func(t *testing.T, s *stack) {
			s.setBucketPolicy(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::`+bucket+`/*"}]}`)
		}, map[string]report.Status{"canary.default": e, "canary.write": e, "canary.read": e, "canary.refused": i}, map[string]string{"canary.refused": "so was every other upload"}},
		{"another account", func(_ *testing.T, s *stack) {
			s.config.Account = "111122223333"
		}, map[string]report.Status{"canary.default": s, "canary.write": s, "canary.read": s, "canary.refused": s, "canary.removed": s}, map[string]string{"canary.default": "nothing was uploaded"}},
		{"not to be removed", func(_ *testing.T, s *stack) {
			s.aws.Inject(localaws.Fault{Service: "s3", Operation: "DeleteObject", Status: 403, Code: "AccessDenied"})
		}, map[string]report.Status{"canary.removed": e}, map[string]string{"canary.removed": "there may be more below s3://" + bucket + "/kms-baseline-canary/"}},
		{"not to be listed", func(_ *testing.T, s *stack) {
			s.aws.Inject(localaws.Fault{Service: "s3", Operation: "ListObjectVersions", Status: 403, Code: "AccessDenied"})
		}, map[string]report.Status{"canary.removed": e}, map[string]string{"canary.removed": "2 versions removed, but there may be more"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := goodStack(t)
			tt.spoil(t, s)
			s.config.Canary, s.config.Only = true, []string{"canary"}
			rep := s.run(t)
			got := map[string]report.Status{}
			for _, x := range rep.Results {
				if x.Group == "canary" && x.Status != report.Pass {
					got[x.ID] = x.Status
				}
			}
			require.Equal(t, tt.want, got, show(rep))
			for id, part := range tt.because {
				require.Contains(t, result(t, rep, id).Actual, part)
			}
			s.aws.ClearFaults()
			if x := result(t, rep, "canary.removed"); len(x.Failures) > 0 {
				require.Contains(t, x.Remedy, "aws s3api delete-object --bucket "+bucket+" --key kms-baseline-canary/")
				s.empty(t)
			}
			require.Zero(t, s.versions(t, CanaryPrefix))
		})
	}
}

func TestCanary_ObjectLock(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	const locked = "ckms-locked"
	c := s3.NewFromConfig(s.cfg)
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(locked), ObjectLockEnabledForBucket: aws.Bool(true)})
	require.NoError(t, err)
	_, err = c.PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{Bucket: aws.String(locked), ObjectLockConfiguration: &s3types.ObjectLockConfiguration{
		ObjectLockEnabled: s3types.ObjectLockEnabledEnabled,
		Rule:              &s3types.ObjectLockRule{DefaultRetention: &s3types.DefaultRetention{Mode: s3types.ObjectLockRetentionModeCompliance, Days: aws.Int32(1)}},
	}})
	require.NoError(t, err)
	s.config.Bucket, s.config.Canary, s.config.Only = locked, true, []string{"canary.default"}
	s.aws.ResetCalls()
	x := result(t, s.run(t), "canary.default")
	require.Equal(t, report.Error, x.Status)
	require.Contains(t, x.Actual, "Object Lock retains every new object")
	for _, call := range s.aws.Calls() {
		require.NotEqual(t, "PutObject", call.Operation)
	}
}

func TestCanary_BucketWithoutVersions(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	const plain = "ckms-plain"
	c := s3.NewFromConfig(s.cfg)
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(plain)})
	require.NoError(t, err)
	s.config.Bucket, s.config.Canary, s.config.Only = plain, true, []string{"canary.removed"}
	require.Equal(t, report.Pass, result(t, s.run(t), "canary.removed").Status)
	out, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(plain)})
	require.NoError(t, err)
	require.Empty(t, out.Versions)
	require.Empty(t, out.DeleteMarkers)
}

// Without --canary nothing is written.
func TestRun_WritesNothing(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.config.Prefix = aws.String("")
	s.config.AllRegions = true
	s.aws.ResetCalls()
	s.run(t)
	for _, call := range s.aws.Calls() {
		read := slices.ContainsFunc([]string{"Get", "Head", "List", "Describe", "Lookup"}, func(p string) bool { return strings.HasPrefix(call.Operation, p) })
		require.True(t, read, "%s:%s is no read", call.Service, call.Operation)
	}
}

// The policy that Policy prints is enough, and no action of it is too much.
func TestPolicy_IsExact(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	auditor := configFor(t, s.aws, owner)
	principal := "arn:aws:iam::" + owner + ":user/localaws"
	s.config.AWS, s.config.Canary, s.config.Prefix, s.config.AllRegions = auditor, true, aws.String("test/"), true
	s.config.AWS.RetryMaxAttempts = 1
	before := s.run(t)
	b, err := Policy(s.config)
	require.NoError(t, err)
	require.NoError(t, s.aws.SetIdentityPolicy(principal, string(b)))
	rep := s.run(t)
	require.Equal(t, status(before), status(rep), "%s\n%s", b, show(rep))

	var p iamPolicy
	require.NoError(t, json.Unmarshal(b, &p))
	for i, st := range p.Statement {
		for j, action := range st.Action {
			less := p
			less.Statement = slices.Clone(p.Statement)
			less.Statement[i].Action = slices.Delete(slices.Clone(st.Action), j, j+1)
			if len(st.Action) == 1 {
				less.Statement = slices.Delete(less.Statement, i, i+1)
			}
			require.NoError(t, s.aws.SetIdentityPolicy(principal, toJSON(t, less)))
			rep := s.run(t)
			if st.Sid == "VerifyAnyKey" && action == "kms:DescribeKey" || st.Sid == "VerifyKey" && action == "kms:DescribeKey" {
				continue // the two overlap where all answers are the key that was named
			}
			require.NotEqual(t, status(before), status(rep), "%s is not needed in %s\n%s", action, st.Sid, show(rep))
			require.NoError(t, s.aws.SetIdentityPolicy(principal, ""))
			s.empty(t)
		}
	}
}

func TestPolicy_Scope(t *testing.T) {
	t.Parallel()
	resources := func(c Config, sid string) []string {
		b, err := Policy(c)
		require.NoError(t, err)
		var p iamPolicy
		require.NoError(t, json.Unmarshal(b, &p))
		for _, s := range p.Statement {
			if s.Sid == sid {
				return s.Resource
			}
		}
		return nil
	}
	require.Equal(t, []string{"arn:aws:kms:*:*:key/*"}, resources(Config{}, "VerifyKey"))
	require.Equal(t, []string{"arn:aws:s3:::*"}, resources(Config{}, "VerifyBucket"))
	require.Equal(t, []string{testKey}, resources(Config{Keys: []string{testKey}}, "VerifyKey"))
	c := Config{Keys: []string{alias}, Account: owner}
	c.AWS.Region = region
	require.Equal(t, []string{"arn:aws:kms:us-east-1:" + owner + ":key/*"}, resources(c, "VerifyKey"))
	c.AWS.Region = "cn-north-1"
	require.Equal(t, []string{"arn:aws-cn:s3:::*"}, resources(c, "VerifyBucket"))
	policy, err := Policy(c)
	require.NoError(t, err)
	require.Contains(t, string(policy), `"kms:ViaService": "s3.cn-north-1.amazonaws.com"`, "in China too")
	require.Equal(t, []string{"arn:aws:s3:::b/what${?}.txt", "arn:aws:s3:::b/p*"}, resources(Config{Bucket: "b", Objects: []string{"what?.txt"}, Prefix: aws.String("p")}, "VerifyObjects"))
	require.Nil(t, resources(Config{}, "VerifyCanary"))
	require.Nil(t, resources(Config{Canary: true, Skip: []string{"canary"}}, "VerifyCanary"))
	require.Equal(t, []string{"arn:aws:s3:::b/kms-baseline-canary/*"}, resources(Config{Canary: true, Bucket: "b"}, "VerifyCanary"))
	_, err = Policy(Config{Only: []string{"nothing"}})
	require.ErrorAs(t, err, new(*InputError))
}
