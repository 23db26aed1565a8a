package check

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// With a Bucket Key KMS's event names the bucket only; the data events of S3 name
// the object and its version.
func TestFiles_DataEventsProveTheObject(t *testing.T) {
	t.Parallel()
	s := newTrailStack(t)
	_, err := cloudtrail.NewFromConfig(s.cfg).PutEventSelectors(t.Context(), &cloudtrail.PutEventSelectorsInput{TrailName: aws.String(trailName), EventSelectors: []types.EventSelector{{
		ReadWriteType: types.ReadWriteTypeAll, IncludeManagementEvents: aws.Bool(true),
		DataResources: []types.DataResource{{Type: aws.String("AWS::S3::Object"), Values: []string{"arn:aws:s3:::" + bucket + "/"}}},
	}}})
	require.NoError(t, err)
	s.put(t, s.cfg, exact, nil)
	s.get(t, s.cfg, exact)
	for range hours {
		s.pass(t, time.Hour)
	}
	rep := s.run(t)
	for id, event := range map[string]string{"trail.write": "PutObject at ", "trail.read": "GetObject at "} {
		x := result(t, rep, id)
		require.Equal(t, report.Pass, x.Status, show(rep))
		require.Contains(t, x.Actual, event)
		require.Contains(t, x.Actual, "the object's own data event")
	}
}

func TestDataEvents(t *testing.T) {
	t.Parallel()
	const i, f, p = report.Inconclusive, report.Fail, report.Pass
	const other = "arn:aws:iam::" + owner + ":role/other"
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	name := "arn:aws:s3:::" + bucket + "/" + object
	tests := []struct {
		name    string
		event   string // of the want
		change  func(*sighting)
		want    report.Status
		because string
	}{
		{"the write", "GenerateDataKey", func(*sighting) {}, p, "S3 encrypted the object under the key"},
		{"the read", "Decrypt", func(*sighting) {}, p, "HeadObject shows the object under the key"},
		{"a write without a version", "GenerateDataKey", func(x *sighting) { x.ResponseElements.VersionID = "" }, p, ""},
		{"a write of another version", "GenerateDataKey", func(x *sighting) { x.ResponseElements.VersionID = "2" }, i, "of another version"},
		{"a write without a version, at another time", "GenerateDataKey", func(x *sighting) {
			x.ResponseElements.VersionID, x.EventTime = "", at.Add(-time.Hour)
		}, i, "from another time"},
		{"a write without a key", "GenerateDataKey", func(x *sighting) { x.ResponseElements.KeyARN = "" }, i, "without a key in S3's response"},
		{"a write under another key", "GenerateDataKey", func(x *sighting) { x.ResponseElements.KeyARN = "arn:aws:kms:us-east-1:111122223333:key/1" }, f, "another key"},
		{"a write by another caller", "GenerateDataKey", func(x *sighting) { x.UserIdentity.ARN = other }, f, "another caller"},
		{"a refused write", "GenerateDataKey", func(x *sighting) { x.ErrorCode = "AccessDenied" }, i, "that S3 refused (AccessDenied)"},
		{"a write of another object", "GenerateDataKey", func(x *sighting) { x.Resources[0].ARN = name + "2" }, i, "no such"},
		{"the deletion", "GenerateDataKey", func(x *sighting) { x.EventName = "DeleteObject" }, i, "no such"},
		{"a write that no digest file vouches for", "GenerateDataKey", func(x *sighting) { x.unproven = "in a new file" }, i, "in a new file"},
		{"another key, which no digest file vouches for", "GenerateDataKey", func(x *sighting) {
			x.ResponseElements.KeyARN, x.unproven = "arn:aws:kms:us-east-1:111122223333:key/1", "in a new file"
		}, i, "under another key"},
		{"a read by another caller", "Decrypt", func(x *sighting) { x.UserIdentity.ARN = other }, i, "of another caller"},
		{"a read before the write", "Decrypt", func(x *sighting) { x.EventTime = at.Add(-time.Minute) }, i, "of an earlier version"},
		{"a read of another version", "Decrypt", func(x *sighting) { x.RequestParameters.VersionID = "2" }, i, "of another version"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := sighting{trailRecord: trailRecord{EventSource: s3Events, EventName: "PutObject", EventTime: at, Region: region}}
			x.UserIdentity.ARN = "arn:aws:iam::" + owner + ":role/a"
			x.Resources = []trailResource{{ARN: name, Type: "AWS::S3::Object"}, {ARN: "arn:aws:s3:::" + bucket, Type: "AWS::S3::Bucket"}}
			w := &want{name: object, event: tt.event, key: testKey, caller: principalOf(x.UserIdentity.ARN), context: "arn:aws:s3:::" + bucket, object: name,
				from: at.Add(-time.Hour), to: at.Add(2 * time.Minute), written: at, version: "1"}
			if w.whole = tt.event == "GenerateDataKey"; w.whole {
				x.ResponseElements.KeyARN, x.ResponseElements.VersionID = testKey, "1"
			} else {
				x.EventName = "GetObject"
			}
			tt.change(&x)
			w.meet(x)
			w.gone = true
			got := trailFindings{noun: "trail"}.result(&run{}, w)
			require.Equal(t, tt.want, got.Status, got.Actual)
			require.Contains(t, got.Actual, tt.because)
		})
	}
}
