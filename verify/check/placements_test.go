package check

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cloudtrailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// The bucket policy denies a change of keys in place, but did not when an object was
// moved to another key: the data event and HeadObject show it.
func TestPlacements(t *testing.T) {
	t.Parallel()
	type steps struct {
		*loggedStack
		t     *testing.T
		other string // a key
	}
	move := func(x steps, key string) {
		_, err := s3.NewFromConfig(x.cfg).UpdateObjectEncryption(x.t.Context(), &s3.UpdateObjectEncryptionInput{Bucket: aws.String(bucket), Key: aws.String(exact),
			ObjectEncryption: &types.ObjectEncryptionMemberSSEKMS{Value: types.SSEKMSEncryption{KMSKeyArn: &key}}})
		require.NoError(x.t, err)
	}
	for name, c := range map[string]struct {
		do      func(steps)
		want    report.Status
		because string
	}{
		"no such event":        {func(steps) {}, report.Pass, "the trail's data events show no object placed under another key"},
		"moved to another key": {func(x steps) { move(x, x.other) }, report.Fail, "UpdateObjectEncryption of " + exact},
		"moved there and back": {func(x steps) { move(x, x.other); move(x, x.keyARN) }, report.Pass, "1 version that data events show placed anew: under the key"},
		"moved and deleted": {func(x steps) {
			move(x, x.other)
			all, err := x.newTestRun(x.t).versionsOf(x.t.Context(), exact)
			require.NoError(x.t, err)
			for _, v := range all {
				_, err := x.files.DeleteObject(x.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: v.Key, VersionId: v.VersionId})
				require.NoError(x.t, err)
			}
		}, report.Pass, "or deleted since"},
		"moved, then hidden by a newer version": {func(x steps) {
			move(x, x.other)
			x.clock.add(10 * time.Minute)
			x.put(x.t, x.cfg, exact, withoutBucketKey(x.keyARN))
		}, report.Fail, "under another key"},
		"moved, then hidden by a delete marker": {func(x steps) {
			move(x, x.other)
			_, err := x.files.DeleteObject(x.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String(exact)})
			require.NoError(x.t, err)
		}, report.Fail, "under another key"},
		"written under another key": {func(x steps) { x.put(x.t, x.cfg, "written", withoutBucketKey(x.other)) }, report.Fail, "PutObject of written"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTrailStack(t)
			_, err := cloudtrail.NewFromConfig(s.cfg).PutEventSelectors(t.Context(), &cloudtrail.PutEventSelectorsInput{TrailName: aws.String(trailName), EventSelectors: []cloudtrailtypes.EventSelector{{
				ReadWriteType: cloudtrailtypes.ReadWriteTypeAll, IncludeManagementEvents: aws.Bool(true),
				DataResources: []cloudtrailtypes.DataResource{{Type: aws.String("AWS::S3::Object"), Values: []string{"arn:aws:s3:::" + bucket + "/"}}},
			}}})
			require.NoError(t, err)
			s.put(t, s.cfg, exact, nil)
			s.clock.add(10 * time.Minute)
			policy, err := s.files.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: aws.String(bucket)})
			require.NoError(t, err)
			_, err = s.files.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: aws.String(bucket)})
			require.NoError(t, err)
			c.do(steps{s, t, s.newKey(t)})
			_, err = s.files.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(bucket), Policy: policy.Policy})
			require.NoError(t, err)
			for range hours {
				s.pass(t, time.Hour)
			}
			s.config.Only = []string{"bucket.foreign-keys"}
			x := result(t, s.run(t), "bucket.foreign-keys")
			require.Equal(t, c.want, x.Status, x.Actual)
			require.Contains(t, x.Actual, c.because)
			require.Contains(t, x.Actual, "the policy denies")
		})
	}
}

func TestPolicy_AllowsToLookAtPlacements(t *testing.T) {
	t.Parallel()
	cfg := Config{Bucket: bucket, Only: []string{"bucket.foreign-keys"}}
	without, err := Policy(cfg)
	require.NoError(t, err)
	cfg.Events = "s3://" + logsBucket
	with, err := Policy(cfg)
	require.NoError(t, err)
	for _, action := range []string{"s3:GetObjectVersion", "s3:ListBucketVersions", "cloudtrail:ListPublicKeys"} {
		require.NotContains(t, string(without), action)
		require.Contains(t, string(with), action)
	}
}
