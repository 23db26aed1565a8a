package localaws

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
)

const (
	trailAccount = "764265373335"
	logBucket    = "audit-logs-764265373335"
	auditTrail   = "arn:aws:cloudtrail:us-east-1:764265373335:trail/audit"
)

// trailPolicy is the bucket policy that CloudTrail's documentation prescribes.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-s3-bucket-policy-for-cloudtrail.html
const trailPolicy = `{"Version":"2012-10-17","Statement":[
	{"Sid":"AWSCloudTrailAclCheck20150319","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:GetBucketAcl","Resource":"arn:aws:s3:::` + logBucket + `",
	 "Condition":{"StringEquals":{"aws:SourceArn":"` + auditTrail + `"}}},
	{"Sid":"AWSCloudTrailWrite20150319","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::` + logBucket + `/AWSLogs/` + trailAccount + `/*",
	 "Condition":{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control","aws:SourceArn":"` + auditTrail + `"}}}]}`

// trailKeyPolicy is the key policy for logs under a customer managed key.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-kms-key-policy-for-cloudtrail.html
const trailKeyPolicy = `{"Version":"2012-10-17","Statement":[
	{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + trailAccount + `:root"},"Action":"kms:*","Resource":"*"},
	{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"kms:GenerateDataKey*","Resource":"*",
	 "Condition":{"StringEquals":{"aws:SourceArn":"` + auditTrail + `"},"StringLike":{"kms:EncryptionContext:aws:cloudtrail:arn":"arn:aws:cloudtrail:*:` + trailAccount + `:trail/*"}}}]}`

// withTrail is a server on which nothing is delivered but on demand.
func withTrail(t *testing.T, now func() time.Time) *Server {
	t.Helper()
	return newServer(t, unthrottled, func(o *Options) { o.Now, o.TrailDelivery = now, -1 })
}

func makeLogBucket(t *testing.T, s *Server, policy string) *s3.Client {
	t.Helper()
	c := s3.NewFromConfig(awsConfig(t, s, trailAccount), func(o *s3.Options) { o.UsePathStyle = true })
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(logBucket)})
	require.NoError(t, err)
	if policy != "" {
		_, err = c.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(logBucket), Policy: &policy})
		require.NoError(t, err)
	}
	return c
}

func trailFiles(t *testing.T, c *s3.Client, folder string) []string {
	t.Helper()
	var keys []string
	pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: aws.String(logBucket), Prefix: aws.String("AWSLogs/" + trailAccount + "/" + folder)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys
}

// logRecords are the records of a log file.
func logRecords(t *testing.T, file io.Reader) []trailEntry {
	t.Helper()
	unpacked, err := gzip.NewReader(file)
	require.NoError(t, err)
	var content struct{ Records []trailEntry }
	require.NoError(t, json.NewDecoder(unpacked).Decode(&content))
	return content.Records
}

func TestTrail_LogsUnderTheKey(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := withTrail(t, clock.now)
	bucket := makeLogBucket(t, s, trailPolicy)
	cfg := awsConfig(t, s, trailAccount, noRetries)
	c, keys := cloudtrail.NewFromConfig(cfg), kms.NewFromConfig(cfg)
	plain, err := keys.CreateKey(t.Context(), nil)
	require.NoError(t, err)
	_, err = c.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: aws.String("audit"), S3BucketName: aws.String(logBucket), KmsKeyId: plain.KeyMetadata.KeyId})
	requireCode(t, err, "InsufficientEncryptionPolicyException")
	key, err := keys.CreateKey(t.Context(), &kms.CreateKeyInput{Policy: aws.String(trailKeyPolicy)})
	require.NoError(t, err)
	created, err := c.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{
		Name: aws.String("audit"), S3BucketName: aws.String(logBucket), KmsKeyId: key.KeyMetadata.KeyId, EnableLogFileValidation: aws.Bool(true),
		IsMultiRegionTrail: aws.Bool(true), TagsList: []types.Tag{{Key: aws.String("team"), Value: aws.String("audit")}},
	})
	require.NoError(t, err)
	require.Equal(t, auditTrail, *created.TrailARN)
	require.Equal(t, *key.KeyMetadata.Arn, *created.KmsKeyId)
	require.True(t, *created.IncludeGlobalServiceEvents)
	_, err = c.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: aws.String("audit"), S3BucketName: aws.String(logBucket)})
	requireCode(t, err, "TrailAlreadyExistsException")

	// Not logging yet.
	require.NoError(t, s.DeliverTrails())
	require.Empty(t, trailFiles(t, bucket, "CloudTrail/"))
	_, err = c.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String("audit")})
	require.NoError(t, err)
	elsewhere := kms.NewFromConfig(awsConfig(t, s, trailAccount), func(o *kms.Options) { o.Region = "eu-west-1" })
	_, err = elsewhere.CreateKey(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, s.DeliverTrails())

	logs := trailFiles(t, bucket, "CloudTrail/")
	require.Len(t, logs, 2)
	require.Regexp(t, `^AWSLogs/764265373335/CloudTrail/eu-west-1/2026/03/01/764265373335_CloudTrail_eu-west-1_20260301T1200Z_[A-Z2-7]{16}\.json\.gz$`, logs[0])
	file, err := bucket.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(logBucket), Key: &logs[1]})
	require.NoError(t, err)
	require.Equal(t, *key.KeyMetadata.Arn, *file.SSEKMSKeyId)
	require.Equal(t, "StartLogging", logRecords(t, file.Body)[0].EventName)

	status, err := c.GetTrailStatus(t.Context(), &cloudtrail.GetTrailStatusInput{Name: aws.String(auditTrail)})
	require.NoError(t, err)
	require.True(t, *status.IsLogging)
	require.Equal(t, clock.now().UTC(), *status.LatestDeliveryTime)
	tags, err := c.ListTags(t.Context(), &cloudtrail.ListTagsInput{ResourceIdList: []string{auditTrail}})
	require.NoError(t, err)
	require.Equal(t, "audit", *tags.ResourceTagList[0].TagsList[0].Value)

	// A Region where the trail is a shadow.
	shadow := cloudtrail.NewFromConfig(awsConfig(t, s, trailAccount, noRetries), func(o *cloudtrail.Options) { o.Region = "eu-west-1" })
	described, err := shadow.DescribeTrails(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, "us-east-1", *described.TrailList[0].HomeRegion)
	described, err = shadow.DescribeTrails(t.Context(), &cloudtrail.DescribeTrailsInput{IncludeShadowTrails: aws.Bool(false)})
	require.NoError(t, err)
	require.Empty(t, described.TrailList)
	_, err = shadow.StopLogging(t.Context(), &cloudtrail.StopLoggingInput{Name: aws.String(auditTrail)})
	requireCode(t, err, "InvalidHomeRegionException")

	// A key that refuses CloudTrail stops the deliveries; nothing is lost.
	_, err = keys.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: key.KeyMetadata.KeyId})
	require.NoError(t, err)
	require.NoError(t, s.DeliverTrails())
	require.Len(t, trailFiles(t, bucket, "CloudTrail/"), 2)
	status, err = c.GetTrailStatus(t.Context(), &cloudtrail.GetTrailStatusInput{Name: aws.String("audit")})
	require.NoError(t, err)
	require.Equal(t, "KMS.DisabledException", *status.LatestDeliveryError)
	_, err = keys.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: key.KeyMetadata.KeyId})
	require.NoError(t, err)
	require.NoError(t, s.DeliverTrails())
	require.Len(t, trailFiles(t, bucket, "CloudTrail/us-east-1"), 2)

	_, err = c.DeleteTrail(t.Context(), &cloudtrail.DeleteTrailInput{Name: aws.String("audit")})
	require.NoError(t, err)
	listed, err := c.ListTrails(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, listed.Trails)
}

func TestTrail_Refusals(t *testing.T) {
	t.Parallel()
	s := withTrail(t, time.Now)
	makeLogBucket(t, s, "")
	c := cloudtrail.NewFromConfig(awsConfig(t, s, trailAccount, noRetries))
	in := func(change func(*cloudtrail.CreateTrailInput)) *cloudtrail.CreateTrailInput {
		in := &cloudtrail.CreateTrailInput{Name: aws.String("audit"), S3BucketName: aws.String(logBucket)}
		change(in)
		return in
	}
	for name, tc := range map[string]struct {
		code   string
		change func(*cloudtrail.CreateTrailInput)
	}{
		"no policy":  {"InsufficientS3BucketPolicyException", func(*cloudtrail.CreateTrailInput) {}},
		"no bucket":  {"S3BucketDoesNotExistException", func(in *cloudtrail.CreateTrailInput) { in.S3BucketName = aws.String("no-such-bucket") }},
		"no key":     {"KmsKeyNotFoundException", func(in *cloudtrail.CreateTrailInput) { in.KmsKeyId = aws.String("alias/none") }},
		"short name": {"InvalidTrailNameException", func(in *cloudtrail.CreateTrailInput) { in.Name = aws.String("ab") }},
		"no global": {"InvalidParameterCombinationException", func(in *cloudtrail.CreateTrailInput) {
			in.IsMultiRegionTrail, in.IncludeGlobalServiceEvents = aws.Bool(true), aws.Bool(false)
		}},
		"topic": {"NotImplemented", func(in *cloudtrail.CreateTrailInput) { in.SnsTopicName = aws.String("topic") }},
		"log group": {"NotImplemented", func(in *cloudtrail.CreateTrailInput) {
			in.CloudWatchLogsLogGroupArn = aws.String("arn:aws:logs:us-east-1:1:log-group:a:*")
		}},
	} {
		_, err := c.CreateTrail(t.Context(), in(tc.change))
		require.Equal(t, tc.code, apiCode(err), "%s: %v", name, err)
	}
	// A policy for another trail's ARN, and one for another prefix.
	for _, policy := range []string{strings.ReplaceAll(trailPolicy, "trail/audit", "trail/other"), strings.Replace(trailPolicy, "AWSLogs/", "elsewhere/", 1)} {
		b := s3.NewFromConfig(awsConfig(t, s, trailAccount), func(o *s3.Options) { o.UsePathStyle = true })
		_, err := b.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(logBucket), Policy: &policy})
		require.NoError(t, err)
		_, err = c.CreateTrail(t.Context(), in(func(*cloudtrail.CreateTrailInput) {}))
		requireCode(t, err, "InsufficientS3BucketPolicyException")
	}
	// An identity policy for one trail.
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::"+trailAccount+":user/localaws", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"cloudtrail:*","Resource":"`+auditTrail+`"}}`))
	_, err := c.GetTrailStatus(t.Context(), &cloudtrail.GetTrailStatusInput{Name: aws.String("audit")})
	requireCode(t, err, "TrailNotFoundException")
	_, err = c.GetTrailStatus(t.Context(), &cloudtrail.GetTrailStatusInput{Name: aws.String("other")})
	requireCode(t, err, "AccessDeniedException")
	require.ErrorContains(t, err, "on resource: arn:aws:cloudtrail:us-east-1:764265373335:trail/other")
}

// The unmodified AWS CLI validates what a trail delivers, and finds what was
// changed.
func TestAWSCLI_ValidatesLogs(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64 // the CLI asks for the time until now
	offset.Store(int64(-5 * time.Hour))
	now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	s := withTrail(t, now)
	c := newAWSCLI(t, s)
	bucket := makeLogBucket(t, s, trailPolicy)
	start := now().UTC().Format(time.RFC3339)
	c.run("cloudtrail", "create-trail", "--name", "audit", "--s3-bucket-name", logBucket, "--enable-log-file-validation")
	c.run("cloudtrail", "start-logging", "--name", "audit")
	for range 4 {
		c.run("kms", "create-key")
		require.NoError(t, s.DeliverTrails())
		offset.Add(int64(time.Hour + time.Minute))
		require.NoError(t, s.DeliverTrails())
	}
	validate := func() string {
		return c.run("cloudtrail", "validate-logs", "--trail-arn", auditTrail, "--start-time", start, "--verbose")
	}
	logs, digests := trailFiles(t, bucket, "CloudTrail/"), trailFiles(t, bucket, "CloudTrail-Digest/")
	require.GreaterOrEqual(t, len(logs), 4)
	require.Len(t, digests, 4)
	good := validate()
	require.Contains(t, good, "4/4 digest files valid")
	require.NotContains(t, good, "INVALID")
	require.Regexp(t, `(\d+)/(\d+) log files valid`, good)

	change := func(key string, f func([]byte) []byte) (restore func()) {
		out, err := bucket.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(logBucket), Key: &key})
		require.NoError(t, err)
		zipped, err := io.ReadAll(out.Body)
		require.NoError(t, err)
		put := func(body []byte) {
			_, err := bucket.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(logBucket), Key: &key, Body: bytes.NewReader(body), Metadata: out.Metadata, ContentEncoding: aws.String("gzip")})
			require.NoError(t, err)
		}
		if f == nil {
			_, err = bucket.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(logBucket), Key: &key})
			require.NoError(t, err)
		} else {
			r, err := gzip.NewReader(bytes.NewReader(zipped))
			require.NoError(t, err)
			body, err := io.ReadAll(r)
			require.NoError(t, err)
			var changed bytes.Buffer
			w := gzip.NewWriter(&changed)
			_, _ = w.Write(f(body))
			require.NoError(t, w.Close())
			put(changed.Bytes())
		}
		return func() { put(zipped) }
	}
	oneByte := func(b []byte) []byte { return bytes.Replace(b, []byte(`eventID":"`), []byte(`eventID":" `), 1) }
	inDigest := func(b []byte) []byte { return bytes.Replace(b, []byte(`logFiles":[`), []byte(`logFiles":[ `), 1) }
	for name, tc := range map[string]struct {
		key    string
		change func([]byte) []byte
		want   string
	}{
		"changed log":    {logs[1], oneByte, "INVALID: hash value doesn't match"},
		"removed log":    {logs[1], nil, "INVALID: not found"},
		"changed digest": {digests[1], inDigest, "INVALID"},
		"removed digest": {digests[1], nil, "INVALID: not found"},
	} {
		restore := change(tc.key, tc.change)
		out, errs, _ := c.try("cloudtrail", "validate-logs", "--trail-arn", auditTrail, "--start-time", start, "--verbose")
		require.Contains(t, out+errs, tc.want, name)
		restore()
	}
	require.NotContains(t, validate(), "INVALID")
}

func TestTrail_TagsAndSelectorsSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newServer(t, unthrottled, func(o *Options) { o.Dir, o.TrailDelivery = dir, -1 })
	makeLogBucket(t, s, trailPolicy)
	c := cloudtrail.NewFromConfig(awsConfig(t, s, trailAccount, noRetries))
	_, err := c.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: aws.String("audit"), S3BucketName: aws.String(logBucket),
		TagsList: []types.Tag{{Key: aws.String("team"), Value: aws.String("audit")}, {Key: aws.String("old"), Value: aws.String("1")}}})
	require.NoError(t, err)
	_, err = c.AddTags(t.Context(), &cloudtrail.AddTagsInput{ResourceId: aws.String(auditTrail),
		TagsList: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}, {Key: aws.String("empty")}}})
	require.NoError(t, err)
	_, err = c.RemoveTags(t.Context(), &cloudtrail.RemoveTagsInput{ResourceId: aws.String(auditTrail), TagsList: []types.Tag{{Key: aws.String("old")}, {Key: aws.String("none")}}})
	require.NoError(t, err)
	var many []types.Tag
	for i := range 50 {
		many = append(many, types.Tag{Key: aws.String("k" + strings.Repeat("x", i))})
	}
	_, err = c.AddTags(t.Context(), &cloudtrail.AddTagsInput{ResourceId: aws.String(auditTrail), TagsList: many})
	requireCode(t, err, "TagsLimitExceededException")
	_, err = c.AddTags(t.Context(), &cloudtrail.AddTagsInput{ResourceId: aws.String("audit"), TagsList: many[:1]})
	requireCode(t, err, "CloudTrailARNInvalidException")

	// Only what changes is logged from now on.
	_, err = c.PutEventSelectors(t.Context(), &cloudtrail.PutEventSelectorsInput{TrailName: aws.String("audit"),
		EventSelectors: []types.EventSelector{{ReadWriteType: types.ReadWriteTypeWriteOnly, IncludeManagementEvents: aws.Bool(true)}}})
	require.NoError(t, err)
	_, err = c.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String("audit")})
	require.NoError(t, err)
	require.NoError(t, s.Close())

	s = newServer(t, unthrottled, func(o *Options) { o.Dir, o.TrailDelivery = dir, -1 })
	cfg := awsConfig(t, s, trailAccount, noRetries)
	c = cloudtrail.NewFromConfig(cfg)
	keys := kms.NewFromConfig(cfg)
	_, err = keys.ListKeys(t.Context(), nil)
	require.NoError(t, err)
	_, err = keys.CreateKey(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, s.DeliverTrails())
	bucket := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	names := map[string]bool{}
	for _, key := range trailFiles(t, bucket, "CloudTrail/") {
		out, err := bucket.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(logBucket), Key: &key})
		require.NoError(t, err)
		unpacked, err := gzip.NewReader(out.Body)
		require.NoError(t, err)
		var content struct{ Records []trailEntry }
		require.NoError(t, json.NewDecoder(unpacked).Decode(&content))
		for _, e := range content.Records {
			names[e.EventName] = true
		}
	}
	require.True(t, names["StartLogging"] && names["CreateKey"], "%v", names)
	require.False(t, names["ListKeys"], "a selector for writes logs no reads")
	tags, err := c.ListTags(t.Context(), &cloudtrail.ListTagsInput{ResourceIdList: []string{auditTrail}})
	require.NoError(t, err)
	got := map[string]string{}
	for _, tag := range tags.ResourceTagList[0].TagsList {
		got[*tag.Key] = aws.ToString(tag.Value)
	}
	require.Equal(t, map[string]string{"team": "blue", "empty": ""}, got)
}

// withValidatedTrail is a server with a trail that validates its log files and does
// not log yet.
func withValidatedTrail(t *testing.T, c *clock) (*Server, aws.Config, *s3.Client) {
	t.Helper()
	s := withTrail(t, c.now)
	bucket := makeLogBucket(t, s, trailPolicy)
	cfg := awsConfig(t, s, trailAccount, noRetries)
	_, err := cloudtrail.NewFromConfig(cfg).CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: aws.String("audit"), S3BucketName: aws.String(logBucket), EnableLogFileValidation: aws.Bool(true)})
	require.NoError(t, err)
	return s, cfg, bucket
}

func TestUpdateTrail_ChangesWhatItNames(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s, cfg, bucket := withValidatedTrail(t, clock)
	c, keys := cloudtrail.NewFromConfig(cfg), kms.NewFromConfig(cfg)
	_, err := c.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String("audit")})
	require.NoError(t, err)
	update := func(change func(*cloudtrail.UpdateTrailInput)) (*cloudtrail.UpdateTrailOutput, error) {
		in := &cloudtrail.UpdateTrailInput{Name: aws.String("audit")}
		change(in)
		return c.UpdateTrail(t.Context(), in)
	}

	// A refused change leaves the trail as it is.
	plain, err := keys.CreateKey(t.Context(), nil)
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		code   string
		change func(*cloudtrail.UpdateTrailInput)
	}{
		"another trail":      {"TrailNotFoundException", func(in *cloudtrail.UpdateTrailInput) { in.Name = aws.String("other") }},
		"no bucket":          {"S3BucketDoesNotExistException", func(in *cloudtrail.UpdateTrailInput) { in.S3BucketName = aws.String("no-such-bucket") }},
		"prefix not allowed": {"InsufficientS3BucketPolicyException", func(in *cloudtrail.UpdateTrailInput) { in.S3KeyPrefix = aws.String("logs") }},
		"key not allowed":    {"InsufficientEncryptionPolicyException", func(in *cloudtrail.UpdateTrailInput) { in.KmsKeyId = plain.KeyMetadata.KeyId }},
		"no global": {"InvalidParameterCombinationException", func(in *cloudtrail.UpdateTrailInput) {
			in.IsMultiRegionTrail, in.IncludeGlobalServiceEvents = aws.Bool(true), aws.Bool(false)
		}},
		"topic": {"NotImplemented", func(in *cloudtrail.UpdateTrailInput) { in.SnsTopicName = aws.String("topic") }},
	} {
		_, err := update(tc.change)
		require.Equal(t, tc.code, apiCode(err), "%s: %v", name, err)
	}
	trail := func() types.Trail {
		got, err := c.GetTrail(t.Context(), &cloudtrail.GetTrailInput{Name: aws.String("audit")})
		require.NoError(t, err)
		return *got.Trail
	}
	before := trail()
	require.Nil(t, before.S3KeyPrefix)
	require.Nil(t, before.KmsKeyId)
	require.False(t, *before.IsMultiRegionTrail)

	// A key: later log files are under it, and what the call does not name stays.
	key, err := keys.CreateKey(t.Context(), &kms.CreateKeyInput{Policy: aws.String(trailKeyPolicy)})
	require.NoError(t, err)
	updated, err := update(func(in *cloudtrail.UpdateTrailInput) { in.KmsKeyId = key.KeyMetadata.KeyId })
	require.NoError(t, err)
	require.Equal(t, *key.KeyMetadata.Arn, *updated.KmsKeyId)
	require.Equal(t, auditTrail, *updated.TrailARN)
	after := trail()
	require.Equal(t, *key.KeyMetadata.Arn, *after.KmsKeyId)
	after.KmsKeyId = nil
	require.Equal(t, before, after)
	require.NoError(t, s.DeliverTrails())
	logs := trailFiles(t, bucket, "CloudTrail/")
	require.Len(t, logs, 1)
	file, err := bucket.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(logBucket), Key: &logs[0]})
	require.NoError(t, err)
	require.Equal(t, *key.KeyMetadata.Arn, *file.SSEKMSKeyId)
	logged := map[string]bool{}
	for _, record := range logRecords(t, file.Body) {
		logged[record.EventName+record.ErrorCode] = true
	}
	require.True(t, logged["UpdateTrail"] && logged["UpdateTrailTrailNotFoundException"], "%v", logged)
	_, err = update(func(in *cloudtrail.UpdateTrailInput) { in.KmsKeyId = aws.String("") })
	require.NoError(t, err)
	require.Nil(t, trail().KmsKeyId)

	// Without validation no digest is due; with it a chain begins in every Region.
	digests := func() []string { return trailFiles(t, bucket, "CloudTrail-Digest/") }
	_, err = update(func(in *cloudtrail.UpdateTrailInput) { in.EnableLogFileValidation = aws.Bool(false) })
	require.NoError(t, err)
	clock.advance(time.Hour)
	require.NoError(t, s.DeliverTrails())
	require.Empty(t, digests())
	_, err = update(func(in *cloudtrail.UpdateTrailInput) {
		in.EnableLogFileValidation, in.IsMultiRegionTrail = aws.Bool(true), aws.Bool(true)
	})
	require.NoError(t, err)
	clock.advance(time.Hour)
	require.NoError(t, s.DeliverTrails())
	require.Len(t, digests(), 17, "one for each Region")
	shadow := cloudtrail.NewFromConfig(cfg, func(o *cloudtrail.Options) { o.Region = "eu-west-1" })
	_, err = shadow.UpdateTrail(t.Context(), &cloudtrail.UpdateTrailInput{Name: aws.String(auditTrail), EnableLogFileValidation: aws.Bool(false)})
	requireCode(t, err, "InvalidHomeRegionException")
	_, err = update(func(in *cloudtrail.UpdateTrailInput) { in.IsMultiRegionTrail = aws.Bool(false) })
	requireCode(t, err, "NotImplemented")
}

// The event that ends a trail is its last one, and its log file is in one last
// digest, which comes before the hour is over. Another start begins another chain.
func TestTrail_LastDigest(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"StopLogging", "DeleteTrail"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			clock := newClock()
			s, cfg, bucket := withValidatedTrail(t, clock)
			c, keys := cloudtrail.NewFromConfig(cfg), kms.NewFromConfig(cfg)
			start := func() {
				_, err := c.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String("audit")})
				require.NoError(t, err)
			}
			deliver := func(after time.Duration) {
				clock.advance(after)
				require.NoError(t, s.DeliverTrails())
			}
			type digestOf struct {
				DigestStartTime, DigestEndTime                  time.Time
				PreviousDigestS3Object, PreviousDigestSignature *string
				LogFiles                                        []struct{ S3Object string }
			}
			digests := func() (all []digestOf) {
				for _, key := range trailFiles(t, bucket, "CloudTrail-Digest/") {
					out, err := bucket.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(logBucket), Key: &key})
					require.NoError(t, err)
					unpacked, err := gzip.NewReader(out.Body)
					require.NoError(t, err)
					var d digestOf
					require.NoError(t, json.NewDecoder(unpacked).Decode(&d))
					all = append(all, d)
				}
				return all
			}
			start()
			deliver(time.Minute)
			deliver(time.Hour)
			require.Len(t, digests(), 1)
			before, err := c.DescribeTrails(t.Context(), nil)
			require.NoError(t, err)
			if end == "DeleteTrail" {
				_, err = c.DeleteTrail(t.Context(), &cloudtrail.DeleteTrailInput{Name: aws.String("audit")})
			} else {
				_, err = c.StopLogging(t.Context(), &cloudtrail.StopLoggingInput{Name: aws.String("audit")})
			}
			require.NoError(t, err)
			_, err = keys.CreateKey(t.Context(), nil)
			require.NoError(t, err)
			deliver(time.Minute) // the log file
			deliver(time.Minute) // and then the digest
			all := digests()
			require.Len(t, all, 2)
			last := all[1]
			require.Equal(t, all[0].DigestEndTime, last.DigestStartTime)
			require.Equal(t, clock.now().UTC(), last.DigestEndTime)
			require.NotNil(t, last.PreviousDigestSignature)
			logs := trailFiles(t, bucket, "CloudTrail/")
			require.Equal(t, logs[len(logs)-1], last.LogFiles[len(last.LogFiles)-1].S3Object)
			file, err := bucket.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(logBucket), Key: &logs[len(logs)-1]})
			require.NoError(t, err)
			records := logRecords(t, file.Body)
			require.Equal(t, end, records[len(records)-1].EventName)

			// Nothing more after that.
			deliver(3 * time.Hour)
			require.Len(t, digests(), 2)
			require.Equal(t, logs, trailFiles(t, bucket, "CloudTrail/"))
			if end == "DeleteTrail" { // another trail with the same name
				_, err := c.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: aws.String("audit"), S3BucketName: before.TrailList[0].S3BucketName, EnableLogFileValidation: aws.Bool(true)})
				require.NoError(t, err)
			}
			start()
			deliver(time.Hour)
			require.Len(t, digests(), 3)
			require.Nil(t, digests()[2].PreviousDigestS3Object)
		})
	}
}

// A bucket that refuses the last log file of a deleted trail gets it at no later time.
func TestTrail_DeletedAndRefused(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s, cfg, bucket := withValidatedTrail(t, clock)
	c := cloudtrail.NewFromConfig(cfg)
	_, err := c.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String("audit")})
	require.NoError(t, err)
	policy, err := bucket.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: aws.String(logBucket)})
	require.NoError(t, err)
	_, err = bucket.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: aws.String(logBucket)})
	require.NoError(t, err)
	_, err = c.DeleteTrail(t.Context(), &cloudtrail.DeleteTrailInput{Name: aws.String("audit")})
	require.NoError(t, err)
	clock.advance(time.Minute)
	require.NoError(t, s.DeliverTrails())
	_, err = bucket.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(logBucket), Policy: policy.Policy})
	require.NoError(t, err)
	clock.advance(time.Minute)
	require.NoError(t, s.DeliverTrails())
	require.Empty(t, trailFiles(t, bucket, "CloudTrail"))
}
