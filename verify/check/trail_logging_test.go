package check

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// trails answers CloudTrail's reads of trails. An operation whose answer is empty, or
// the code of an error after "!", is refused.
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
	if code, refused := strings.CutPrefix(body, "!"); refused || body == "" {
		status, body = http.StatusBadRequest, `{"__type":"`+cmp.Or(code, "AccessDeniedException")+`","message":"no"}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Body: io.NopCloser(strings.NewReader(body)), Request: h}, nil
}

func TestTrailLogging(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:cloudtrail:us-east-1:" + owner + ":trail/audit"
	const basic = `{"EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":true,"DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3"]}]}]}`
	organization := map[string]any{"IsOrganizationTrail": true, "TrailARN": "arn:aws:cloudtrail:us-east-1:444455556666:trail/audit"}
	advanced := func(fields string) string { return `{"AdvancedEventSelectors":[{"FieldSelectors":[` + fields + `]}]}` }
	for name, c := range map[string]struct {
		change    map[string]any // of the trail
		status    string
		selectors string
		want      report.Status
		because   string
	}{
		"good":                                    {want: report.Pass, because: "it records the S3 data events of the bucket"},
		"one Region":                              {change: map[string]any{"IsMultiRegionTrail": false}, want: report.Fail, because: "covers one Region only"},
		"no validation":                           {change: map[string]any{"LogFileValidationEnabled": false}, want: report.Fail, because: "does not validate"},
		"no key":                                  {change: map[string]any{"KmsKeyId": nil}, want: report.Fail, because: "without a KMS key"},
		"an AWS managed key":                      {change: map[string]any{"KmsKeyId": "alias/aws/s3"}, want: report.Fail, because: "AWS managed"},
		"a key of another account":                {change: map[string]any{"KmsKeyId": "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000"}, want: report.Inconclusive, because: "could not be described"},
		"stopped":                                 {status: `{"IsLogging":false}`, want: report.Fail, because: "is not logging"},
		"no status":                               {status: `{}`, want: report.Fail, because: "is not logging"},
		"an error in the delivery":                {status: `{"IsLogging":true,"LatestDeliveryError":"AccessDenied"}`, want: report.Fail, because: "cannot deliver its log files: AccessDenied"},
		"an error in the digests":                 {status: `{"IsLogging":true,"LatestDigestDeliveryError":"NoSuchBucket"}`, want: report.Fail, because: "digest files"},
		"a status that is refused":                {status: "-", want: report.Error, because: "GetTrailStatus answered AccessDeniedException"},
		"selectors that are refused":              {selectors: "-", want: report.Error, because: "GetEventSelectors answered AccessDeniedException"},
		"a status that a member does not get":     {change: organization, status: "!TrailNotFoundException", want: report.Inconclusive, because: "is not shown to this member of the organization: cloudtrail:GetTrailStatus answered TrailNotFoundException"},
		"selectors that a member does not get":    {change: organization, selectors: "!CloudTrailARNInvalidException", want: report.Inconclusive, because: "cloudtrail:GetEventSelectors answered CloudTrailARNInvalidException"},
		"selectors that a member may not ask for": {change: organization, selectors: "-", want: report.Error, because: "GetEventSelectors answered AccessDeniedException"},
		"a trail that is not found":               {status: "!TrailNotFoundException", want: report.Error, because: "answered TrailNotFoundException"},
		"writes only":                             {selectors: `{"EventSelectors":[{"ReadWriteType":"WriteOnly","IncludeManagementEvents":true}]}`, want: report.Fail, because: "all management events of KMS"},
		"without KMS":                             {selectors: `{"EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":true,"ExcludeManagementEventSources":["kms.amazonaws.com"]}]}`, want: report.Fail, because: "all management events of KMS"},
		"without management":                      {selectors: `{"EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":false}]}`, want: report.Fail},
		"no selectors":                            {selectors: `{}`, want: report.Fail},
		"another bucket's data":                   {selectors: `{"EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":true,"DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3:::other/"]}]}]}`, want: report.Pass, because: "no S3 data events"},
		"advanced":                                {selectors: advanced(`{"Field":"eventCategory","Equals":["Management"]}`), want: report.Pass, because: "no S3 data events"},
		"advanced, without KMS":                   {selectors: advanced(`{"Field":"eventCategory","Equals":["Management"]},{"Field":"eventSource","NotEquals":["kms.amazonaws.com"]}`), want: report.Fail},
		"advanced, reads only":                    {selectors: advanced(`{"Field":"eventCategory","Equals":["Management"]},{"Field":"readOnly","Equals":["true"]}`), want: report.Inconclusive, because: "cannot evaluate"},
		"advanced, some names":                    {selectors: advanced(`{"Field":"eventCategory","Equals":["Management"]},{"Field":"eventName","StartsWith":["Get"]}`), want: report.Inconclusive},
		"advanced, data alone":                    {selectors: advanced(`{"Field":"eventCategory","Equals":["Data"]},{"Field":"resources.type","Equals":["AWS::S3::Object"]}`), want: report.Fail},
		"advanced, no category":                   {selectors: advanced(`{"Field":"readOnly","Equals":["true"]}`), want: report.Inconclusive},
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

// A trail as CloudTrail's documentation sets it up, through the unmodified SDK.
func TestTrailLogging_OfALiveTrail(t *testing.T) {
	t.Parallel()
	s := goodStackIn(t, localaws.Options{TrailDelivery: -1}) // nothing is delivered by itself
	const name, logs, arn = "audit", "audit-logs", "arn:aws:cloudtrail:us-east-1:" + owner + ":trail/audit"
	ctx, b := t.Context(), s3.NewFromConfig(s.cfg)
	_, err := b.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(logs)})
	require.NoError(t, err)
	policy := `{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:GetBucketAcl","Resource":"arn:aws:s3:::` + logs + `","Condition":{"StringEquals":{"aws:SourceArn":"` + arn + `"}}},
{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::` + logs + `/AWSLogs/` + owner + `/*","Condition":{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control","aws:SourceArn":"` + arn + `"}}}]}`
	_, err = b.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String(logs), Policy: &policy})
	require.NoError(t, err)
	key, err := kms.NewFromConfig(s.cfg).CreateKey(ctx, &kms.CreateKeyInput{Policy: aws.String(`{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + owner + `:root"},"Action":"kms:*","Resource":"*"},
{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"kms:GenerateDataKey*","Resource":"*","Condition":{"StringEquals":{"aws:SourceArn":"` + arn + `"},"StringLike":{"kms:EncryptionContext:aws:cloudtrail:arn":"arn:aws:cloudtrail:*:` + owner + `:trail/*"}}}]}`)})
	require.NoError(t, err)

	trails := cloudtrail.NewFromConfig(s.cfg)
	_, err = trails.CreateTrail(ctx, &cloudtrail.CreateTrailInput{Name: aws.String(name), S3BucketName: aws.String(logs), KmsKeyId: key.KeyMetadata.Arn, IsMultiRegionTrail: aws.Bool(true), EnableLogFileValidation: aws.Bool(true)})
	require.NoError(t, err)
	x := s.one(t, "trail.logging")
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Contains(t, x.Actual, "is not logging")
	_, err = trails.StartLogging(ctx, &cloudtrail.StartLoggingInput{Name: aws.String(name)})
	require.NoError(t, err)
	x = s.one(t, "trail.logging")
	require.Equal(t, report.Pass, x.Status, x.Actual)
	require.Contains(t, x.Actual, "the trail "+arn+" does; it records no S3 data events of the bucket")

	// From another Region it is a shadow trail, and covers that one too.
	s.config.AWS.Region, s.config.Keys, s.config.Alias = "eu-west-1", nil, ""
	require.Equal(t, report.Pass, s.one(t, "trail.logging").Status)
	s.config.AWS.Region = region
	_, err = trails.PutEventSelectors(ctx, &cloudtrail.PutEventSelectorsInput{TrailName: aws.String(name), EventSelectors: []types.EventSelector{{ReadWriteType: types.ReadWriteTypeWriteOnly, IncludeManagementEvents: aws.Bool(true)}}})
	require.NoError(t, err)
	x = s.one(t, "trail.logging")
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Contains(t, x.Actual, "does not record all management events of KMS")
}
