package check

import (
	"bytes"
	"strings"
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

// logData lets the trail record the data events of the bucket.
func (s *loggedStack) logData(t *testing.T) {
	t.Helper()
	_, err := cloudtrail.NewFromConfig(s.cfg).PutEventSelectors(t.Context(), &cloudtrail.PutEventSelectorsInput{TrailName: aws.String(trailName), EventSelectors: []cloudtrailtypes.EventSelector{{
		ReadWriteType: cloudtrailtypes.ReadWriteTypeAll, IncludeManagementEvents: aws.Bool(true),
		DataResources: []cloudtrailtypes.DataResource{{Type: aws.String("AWS::S3::Object"), Values: []string{"arn:aws:s3:::" + bucket + "/"}}},
	}}})
	require.NoError(t, err)
}

// withoutPolicy does f while the bucket has no policy.
func (s *loggedStack) withoutPolicy(t *testing.T, f func()) {
	t.Helper()
	policy, err := s.files.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: aws.String(bucket)})
	require.NoError(t, err)
	_, err = s.files.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: aws.String(bucket)})
	require.NoError(t, err)
	f()
	_, err = s.files.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(bucket), Policy: policy.Policy})
	require.NoError(t, err)
}

// move changes the key of an object in place.
func (s *loggedStack) move(t *testing.T, name, key string) {
	t.Helper()
	_, err := s.files.UpdateObjectEncryption(t.Context(), &s3.UpdateObjectEncryptionInput{Bucket: aws.String(bucket), Key: &name,
		ObjectEncryption: &types.ObjectEncryptionMemberSSEKMS{Value: types.SSEKMSEncryption{KMSKeyArn: &key}}})
	require.NoError(t, err)
}

// The bucket policy denies a change of keys in place, but did not when an object was
// moved to another key: the data event and HeadObject show it. It makes no difference
// whether a table finds the log files with the events, or all are read.
func TestPlacements(t *testing.T) {
	t.Parallel()
	type steps struct {
		*loggedStack
		t     *testing.T
		other string // a key
	}
	move := func(x steps, key string) { x.move(x.t, exact, key) }
	for name, c := range map[string]struct {
		do      func(steps)
		tamper  func(steps) // with the log files; nil for nothing
		want    report.Status
		because string
	}{
		"no such event":        {do: func(steps) {}, want: report.Pass, because: "the trail's data events show no object placed under another key"},
		"moved to another key": {do: func(x steps) { move(x, x.other) }, want: report.Fail, because: "UpdateObjectEncryption of " + exact},
		"moved there and back": {do: func(x steps) { move(x, x.other); move(x, x.keyARN) }, want: report.Pass, because: "1 version that data events show placed anew: under the key"},
		"moved, in a log file that was altered": {do: func(x steps) { move(x, x.other) }, tamper: func(x steps) {
			for _, key := range x.list(x.t, "CloudTrail") {
				if f := x.read(x.t, key); bytes.Contains(f.content, []byte("UpdateObjectEncryption")) {
					f.content = append(f.content, '\n')
					x.write(x.t, f)
				}
			}
		}, want: report.Pass, because: "(not all of the trail's events were read: "},
		"moved and deleted": {do: func(x steps) {
			move(x, x.other)
			all, err := x.newTestRun(x.t).versionsOf(x.t.Context(), exact)
			require.NoError(x.t, err)
			for _, v := range all {
				_, err := x.files.DeleteObject(x.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: v.Key, VersionId: v.VersionId})
				require.NoError(x.t, err)
			}
		}, want: report.Pass, because: "or deleted since"},
		"moved, then hidden by a newer version": {do: func(x steps) {
			move(x, x.other)
			x.clock.add(10 * time.Minute)
			x.put(x.t, x.cfg, exact, withoutBucketKey(x.keyARN))
		}, want: report.Fail, because: "under another key"},
		"moved, then hidden by a delete marker": {do: func(x steps) {
			move(x, x.other)
			_, err := x.files.DeleteObject(x.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String(exact)})
			require.NoError(x.t, err)
		}, want: report.Fail, because: "under another key"},
		"written under another key": {do: func(x steps) { x.put(x.t, x.cfg, "written", withoutBucketKey(x.other)) }, want: report.Fail, because: "PutObject of written"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTrailStack(t)
			s.logData(t)
			s.put(t, s.cfg, exact, nil)
			s.clock.add(10 * time.Minute)
			x := steps{s, t, s.newKey(t)}
			s.withoutPolicy(t, func() { c.do(x) })
			for range hours {
				s.pass(t, time.Hour)
			}
			if c.tamper != nil {
				c.tamper(x)
			}
			s.config.Only = []string{"bucket.foreign-keys"}
			files := result(t, s.run(t), "bucket.foreign-keys")
			s.config.Events = tableOf(t, s, nil)
			for _, x := range []report.Result{files, result(t, s.run(t), "bucket.foreign-keys")} {
				require.Equal(t, c.want, x.Status, x.Actual)
				require.Contains(t, x.Actual, c.because)
				require.Contains(t, x.Actual, "the policy denies")
				require.Equal(t, files.Failures, x.Failures)
				require.Equal(t, eventIDs(files), eventIDs(x))
			}
		})
	}
}

// A version is under another key for a reason that no event tells. What a table shows of
// it is no evidence: no log file has that event.
func TestPlacements_ARowIsNoEvidence(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path    func(file string) string
		only    []string
		because string
	}{
		"of another log file":   {func(file string) string { return file }, nil, "1 that SQL finds in s3://" + logsBucket + "/AWSLogs/"},
		"of no log file":        {func(file string) string { return file + "0" }, nil, "which no valid digest file lists"},
		"of another bucket":     {func(string) string { return "s3://another-bucket/x" }, nil, "were not examined: c.d.t shows events in s3://another-bucket/x"},
		"in a run of all files": {func(file string) string { return file }, []string{"trail.integrity"}, "which does not have it so"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTrailStack(t)
			s.put(t, s.cfg, exact, nil)
			s.withoutPolicy(t, func() { s.move(t, exact, s.newKey(t)) }) // the trail records no data events
			for range hours {
				s.pass(t, time.Hour)
			}
			at := s.clock.now().Add(-3 * time.Hour).UTC().Format(time.RFC3339)
			s.config.Events = tableOf(t, s, func(rows [][]any) [][]any {
				return [][]any{{c.path(rows[0][0].(string)), "made-up", "UpdateObjectEncryption", "s3.amazonaws.com", at, region, nil,
					`{"arn":"arn:aws:iam::` + owner + `:user/localaws"}`, nil, nil, `[{"arn":"arn:aws:s3:::` + bucket + `/` + exact + `","type":"AWS::S3::Object"}]`}}
			})
			s.config.Only = append([]string{"bucket.foreign-keys"}, c.only...)
			rep := s.run(t)
			x := result(t, rep, "bucket.foreign-keys")
			require.Equal(t, report.Pass, x.Status, x.Actual)
			require.Contains(t, x.Actual, c.because)
			if c.only != nil {
				require.Equal(t, report.Fail, result(t, rep, "trail.integrity").Status, show(rep))
			}
		})
	}
}

func TestPlacements_RowsThatCannotBeReadLeaveIt(t *testing.T) {
	t.Parallel()
	s := newLoggedStack(t)
	s.config.Only = []string{"bucket.foreign-keys"}
	s.config.Events = tableOf(t, s, func(rows [][]any) [][]any { rows[0][7] = `{"arn":`; return rows })
	x := result(t, s.run(t), "bucket.foreign-keys")
	require.Equal(t, report.Inconclusive, x.Status, x.Actual)
	require.Contains(t, x.Actual, "1 data event that may be of a change of key could not be read")
}

// findsPlacements is TestPlacements over a real engine, with the permissions that verify
// iam prints.
func (s *sqlStack) findsPlacements(t *testing.T) {
	config := s.config
	defer func() { s.config = config }()
	s.logData(t)
	s.put(t, s.cfg, "moved", nil)
	s.withoutPolicy(t, func() {
		other := s.newKey(t)
		s.move(t, "moved", other)
		s.put(t, s.cfg, "written", withoutBucketKey(other))
		s.put(t, s.cfg, "as it should be", withoutBucketKey(s.keyARN))
	})
	defer func() { // the next checks are of a bucket without such objects
		for _, name := range []string{"moved", "written"} {
			versions, err := s.newTestRun(t).versionsOf(t.Context(), name)
			require.NoError(t, err)
			for _, v := range versions {
				_, err := s.files.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: &name, VersionId: v.VersionId})
				require.NoError(t, err)
			}
		}
	}()
	for range 3 {
		s.pass(t, time.Hour)
	}
	s.config.Only, s.config.Since = []string{"bucket.foreign-keys"}, 3*time.Hour+3*time.Minute
	files := result(t, s.run(t), "bucket.foreign-keys")
	require.Equal(t, report.Fail, files.Status, files.Actual)
	require.Len(t, files.Failures, 2)
	s.config.Events = "athena:" + workgroup + "/audit.cloudtrail"
	policy, err := Policy(s.config)
	require.NoError(t, err)
	principal := "arn:aws:iam::" + owner + ":user/localaws"
	defer func() { require.NoError(t, s.aws.SetIdentityPolicy(principal, "")) }()
	require.NoError(t, s.aws.SetIdentityPolicy(principal, strings.NewReplacer(TableBucket, logsBucket, ResultsBucket, logsBucket).Replace(string(policy))))
	for _, events := range []string{s.config.Events, "trino:" + s.trino.URL + "/awsdatacatalog.audit.cloudtrail"} {
		s.config.Events = events
		x := result(t, s.run(t), "bucket.foreign-keys")
		require.Equal(t, files.Failures, x.Failures, "%s: %s", events, x.Actual)
		require.Equal(t, eventIDs(files), eventIDs(x), events)
	}
}

func TestPolicy_AllowsToLookAtPlacements(t *testing.T) {
	t.Parallel()
	cfg := Config{Bucket: bucket, Objects: []string{"named"}, Only: []string{"bucket.foreign-keys"}}
	without, err := Policy(cfg)
	require.NoError(t, err)
	for events, queries := range map[string]bool{"s3://" + logsBucket: false, "athena:w/d.t": true} {
		cfg.Events = events
		with, err := Policy(cfg)
		require.NoError(t, err)
		for _, action := range []string{"s3:GetObjectVersion", "s3:ListBucketVersions", "cloudtrail:ListPublicKeys"} {
			require.NotContains(t, string(without), action)
			require.Contains(t, string(with), action)
		}
		require.Contains(t, string(with), `"arn:aws:s3:::`+bucket+`/*"`, "an event may be of any object")
		require.Equal(t, queries, strings.Contains(string(with), "athena:StartQueryExecution"), "%s", with)
	}
}
