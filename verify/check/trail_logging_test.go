package check

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// trails answers CloudTrail's reads of trails. An operation whose answer is empty
// is refused.
type trails struct {
	next    aws.HTTPClient
	answers map[string]string // by the operation
}

func (x trails) Do(h *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(h.Header.Get("X-Amz-Target"), "CloudTrail_20131101.")
	body, ok := x.answers[operation]
	if !ok {
		return x.next.Do(h)
	}
	status := http.StatusOK
	if body == "" {
		status, body = http.StatusBadRequest, `{"__type":"AccessDeniedException","message":"no"}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Body: io.NopCloser(strings.NewReader(body)), Request: h}, nil
}

func TestTrailLogging(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:cloudtrail:us-east-1:" + owner + ":trail/audit"
	const basic = `{"EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":true,"DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3"]}]}]}`
	advanced := func(fields string) string { return `{"AdvancedEventSelectors":[{"FieldSelectors":[` + fields + `]}]}` }
	for name, c := range map[string]struct {
		change    map[string]any // of the trail
		status    string
		selectors string
		want      report.Status
		because   string
	}{
		"good":                       {want: report.Pass, because: "it records the S3 data events of the bucket"},
		"one Region":                 {change: map[string]any{"IsMultiRegionTrail": false}, want: report.Fail, because: "covers one Region only"},
		"no validation":              {change: map[string]any{"LogFileValidationEnabled": false}, want: report.Fail, because: "does not validate"},
		"no key":                     {change: map[string]any{"KmsKeyId": nil}, want: report.Fail, because: "without a KMS key"},
		"an AWS-managed key":         {change: map[string]any{"KmsKeyId": "alias/aws/s3"}, want: report.Fail, because: "AWS-managed"},
		"a key of another account":   {change: map[string]any{"KmsKeyId": "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000"}, want: report.Inconclusive, because: "could not be described"},
		"stopped":                    {status: `{"IsLogging":false}`, want: report.Fail, because: "is not logging"},
		"no status":                  {status: `{}`, want: report.Fail, because: "is not logging"},
		"an error in the delivery":   {status: `{"IsLogging":true,"LatestDeliveryError":"AccessDenied"}`, want: report.Fail, because: "cannot deliver its log files: AccessDenied"},
		"an error in the digests":    {status: `{"IsLogging":true,"LatestDigestDeliveryError":"NoSuchBucket"}`, want: report.Fail, because: "digest files"},
		"a status that is refused":   {status: "-", want: report.Error, because: "GetTrailStatus answered AccessDeniedException"},
		"selectors that are refused": {selectors: "-", want: report.Error, because: "GetEventSelectors answered AccessDeniedException"},
		"writes only":                {selectors: `{"EventSelectors":[{"ReadWriteType":"WriteOnly","IncludeManagementEvents":true}]}`, want: report.Fail, because: "all management events of KMS"},
		"without KMS":                {selectors: `{"EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":true,"ExcludeManagementEventSources":["kms.amazonaws.com"]}]}`, want: report.Fail, because: "all management events of KMS"},
		"without management":         {selectors: `{"EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":false}]}`, want: report.Fail},
		"no selectors":               {selectors: `{}`, want: report.Fail},
		"another bucket's data":      {selectors: `{"EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":true,"DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3:::other/"]}]}]}`, want: report.Pass, because: "no S3 data events"},
		"advanced":                   {selectors: advanced(`{"Field":"eventCategory","Equals":["Management"]}`), want: report.Pass, because: "no S3 data events"},
		"advanced, without KMS":      {selectors: advanced(`{"Field":"eventCategory","Equals":["Management"]},{"Field":"eventSource","NotEquals":["kms.amazonaws.com"]}`), want: report.Fail},
		"advanced, reads only":       {selectors: advanced(`{"Field":"eventCategory","Equals":["Management"]},{"Field":"readOnly","Equals":["true"]}`), want: report.Inconclusive, because: "cannot evaluate"},
		"advanced, some names":       {selectors: advanced(`{"Field":"eventCategory","Equals":["Management"]},{"Field":"eventName","StartsWith":["Get"]}`), want: report.Inconclusive},
		"advanced, data alone":       {selectors: advanced(`{"Field":"eventCategory","Equals":["Data"]},{"Field":"resources.type","Equals":["AWS::S3::Object"]}`), want: report.Fail},
		"advanced, no category":      {selectors: advanced(`{"Field":"readOnly","Equals":["true"]}`), want: report.Inconclusive},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := goodStack(t)
			trail := map[string]any{"Name": "audit", "TrailARN": arn, "IsMultiRegionTrail": true, "LogFileValidationEnabled": true, "KmsKeyId": s.keyARN}
			for k, v := range c.change {
				trail[k] = v
			}
			answers := map[string]string{
				"DescribeTrails": toJSON(t, map[string]any{"trailList": []any{trail}}),
				"GetTrailStatus": `{"IsLogging":true}`, "GetEventSelectors": basic,
			}
			for operation, answer := range map[string]string{"GetTrailStatus": c.status, "GetEventSelectors": c.selectors} {
				if answer != "" {
					answers[operation] = strings.TrimPrefix(answer, "-")
				}
			}
			s.put(t, s.cfg, "x", nil)
			s.config.AWS.HTTPClient = trails{s.cfg.HTTPClient, answers}
			x := s.one(t, "trail.logging")
			require.Equal(t, c.want, x.Status, x.Actual)
			require.Contains(t, x.Actual, c.because)
		})
	}
}

func TestTrailLogging_OneGoodTrailIsEnough(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	good := map[string]any{"TrailARN": "good", "IsMultiRegionTrail": true, "LogFileValidationEnabled": true, "KmsKeyId": s.keyARN}
	s.config.AWS.HTTPClient = trails{s.cfg.HTTPClient, map[string]string{
		"DescribeTrails":    toJSON(t, map[string]any{"trailList": []any{map[string]any{"TrailARN": "bad"}, good}}),
		"GetTrailStatus":    `{"IsLogging":true}`,
		"GetEventSelectors": `{"EventSelectors":[{"ReadWriteType":"All"}]}`,
	}}
	x := s.one(t, "trail.logging")
	require.Equal(t, report.Pass, x.Status, x.Actual)
	require.Contains(t, x.Actual, "the trail good does")
}

func TestTrailLogging_FailsWithoutATrail(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	x := s.one(t, "trail.logging")
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Contains(t, x.Actual, "no trail covers the Region")
	s.aws.Inject(localaws.Fault{Service: "cloudtrail", Operation: "DescribeTrails", Status: 400, Code: "AccessDeniedException"})
	require.Equal(t, report.Error, s.one(t, "trail.logging").Status)
}

func TestAdvancedRecords_ObjectsOfTheBucket(t *testing.T) {
	t.Parallel()
	const object = "arn:aws:s3:::b/"
	for arnField, want := range map[string]truth{
		"": yes,
		`,{"Field":"resources.ARN","StartsWith":["arn:aws:s3:::b/"]}`:        yes,
		`,{"Field":"resources.ARN","StartsWith":["arn:aws:s3:::b/private"]}`: no,
		`,{"Field":"resources.ARN","NotStartsWith":["arn:aws:s3:::b/"]}`:     unknown,
		`,{"Field":"readOnly","Equals":["false"]}`:                           unknown,
	} {
		var s types.AdvancedEventSelector
		require.NoError(t, json.Unmarshal([]byte(`{"FieldSelectors":[{"Field":"eventCategory","Equals":["Data"]},{"Field":"resources.type","Equals":["AWS::S3::Object"]}`+arnField+`]}`), &s))
		management, data := advancedRecords(s, object)
		require.Equal(t, no, management)
		require.Equal(t, want, data, arnField)
	}
}
