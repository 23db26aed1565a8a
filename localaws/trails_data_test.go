package localaws

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

// deliveredRecords delivers, and reads the records of all log files.
func deliveredRecords(t *testing.T, s *Server, c *s3.Client) []trailEntry {
	t.Helper()
	require.NoError(t, s.DeliverTrails())
	var all []trailEntry
	for _, key := range trailFiles(t, c, "CloudTrail/") {
		file, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(logBucket), Key: &key})
		require.NoError(t, err)
		all = append(all, logRecords(t, file.Body)...)
	}
	return all
}

// field is a field of an object in a record; nil if there is none.
func field(object any, name string) any {
	fields, _ := object.(map[string]any)
	return fields[name]
}

func dataEvents(records []trailEntry) []trailEntry {
	var data []trailEntry
	for _, r := range records {
		if !r.ManagementEvent {
			data = append(data, r)
		}
	}
	return data
}

func TestTrail_DataEventsOfObjects(t *testing.T) {
	t.Parallel()
	s := withTrail(t, time.Now)
	bucket := makeLogBucket(t, s, trailPolicy)
	cfg := awsConfig(t, s, trailAccount, noRetries)
	c := cloudtrail.NewFromConfig(cfg)
	key, err := kms.NewFromConfig(cfg).CreateKey(t.Context(), nil)
	require.NoError(t, err)
	for _, name := range []string{"orders-764265373335", "other-764265373335"} {
		_, err := bucket.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
		require.NoError(t, err)
	}
	orders := aws.String("orders-764265373335")
	_, err = bucket.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: orders, VersioningConfiguration: &s3types.VersioningConfiguration{Status: "Enabled"}})
	require.NoError(t, err)
	_, err = bucket.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{Bucket: orders, ServerSideEncryptionConfiguration: &s3types.ServerSideEncryptionConfiguration{
		Rules: []s3types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &s3types.ServerSideEncryptionByDefault{SSEAlgorithm: "aws:kms", KMSMasterKeyID: key.KeyMetadata.Arn}}},
	}})
	require.NoError(t, err)
	_, err = c.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: aws.String("audit"), S3BucketName: aws.String(logBucket)})
	require.NoError(t, err)
	_, err = c.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String("audit")})
	require.NoError(t, err)
	put := func(b *string, name string) *s3.PutObjectOutput {
		t.Helper()
		out, err := bucket.PutObject(t.Context(), &s3.PutObjectInput{Bucket: b, Key: &name, Body: strings.NewReader("data")})
		require.NoError(t, err)
		return out
	}
	put(orders, "before") // no selector yet
	selectors := []types.EventSelector{{DataResources: []types.DataResource{{Type: aws.String("AWS::S3::Object"), Values: []string{"arn:aws:s3:::orders-764265373335/paid/"}}}}}
	selected, err := c.PutEventSelectors(t.Context(), &cloudtrail.PutEventSelectorsInput{TrailName: aws.String("audit"), EventSelectors: selectors})
	require.NoError(t, err)
	require.Equal(t, selectors[0].DataResources, selected.EventSelectors[0].DataResources)
	require.True(t, *selected.EventSelectors[0].IncludeManagementEvents)

	written := put(orders, "paid/1")
	put(orders, "open/1")                           // another prefix
	put(aws.String("other-764265373335"), "paid/1") // another bucket
	_, err = bucket.GetObject(t.Context(), &s3.GetObjectInput{Bucket: orders, Key: aws.String("paid/1")})
	require.NoError(t, err)
	_, err = bucket.GetObject(t.Context(), &s3.GetObjectInput{Bucket: orders, Key: aws.String("paid/none")})
	requireCode(t, err, "NoSuchKey")
	_, err = bucket.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: orders, Key: aws.String("paid/1")})
	require.NoError(t, err)

	data := dataEvents(deliveredRecords(t, s, bucket))
	require.Len(t, data, 4)
	record := data[0]
	require.Equal(t, "PutObject", record.EventName)
	require.Equal(t, "Data", record.EventCategory)
	require.Equal(t, "paid/1", field(record.RequestParameters, "key"))
	require.Equal(t, *orders, field(record.RequestParameters, "bucketName"))
	require.Equal(t, "Default_SSE_KMS", field(record.AdditionalEventData, "SSEApplied"))
	require.Equal(t, *key.KeyMetadata.Arn, field(record.ResponseElements, "x-amz-server-side-encryption-aws-kms-key-id"))
	require.Equal(t, *written.VersionId, field(record.ResponseElements, "x-amz-version-id"))
	require.Equal(t, []trailResource{
		{Type: "AWS::S3::Object", ARN: "arn:aws:s3:::orders-764265373335/paid/1"},
		{Type: "AWS::S3::Bucket", ARN: "arn:aws:s3:::orders-764265373335", AccountID: trailAccount},
	}, record.Resources)
	require.Equal(t, []string{"GetObject", "GetObject", "DeleteObject"}, []string{data[1].EventName, data[2].EventName, data[3].EventName})
	require.True(t, data[1].ReadOnly)
	require.Nil(t, data[1].ResponseElements)
	require.Equal(t, "NoSuchKey", data[2].ErrorCode)
	require.Equal(t, "true", field(data[3].ResponseElements, "x-amz-delete-marker"))
	// They are not in the event history.
	history, err := c.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{LookupAttributes: []types.LookupAttribute{{AttributeKey: "EventName", AttributeValue: aws.String("PutObject")}}})
	require.NoError(t, err)
	require.Empty(t, history.Events)
}

// A caller of another account: the owner of the bucket gets the record too, and the
// encryption key of the customer is in neither.
func TestTrail_DataEventsOfAnotherAccount(t *testing.T) {
	t.Parallel()
	s := withTrail(t, time.Now)
	bucket := makeLogBucket(t, s, trailPolicy)
	name := aws.String("shared-764265373335")
	_, err := bucket.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: name})
	require.NoError(t, err)
	_, err = bucket.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: name, Policy: aws.String(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":["s3:PutObject","s3:ListBucket"],"Resource":["arn:aws:s3:::shared-764265373335","arn:aws:s3:::shared-764265373335/*"]}}`)})
	require.NoError(t, err)
	c := cloudtrail.NewFromConfig(awsConfig(t, s, trailAccount, noRetries))
	_, err = c.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: aws.String("audit"), S3BucketName: aws.String(logBucket)})
	require.NoError(t, err)
	_, err = c.PutEventSelectors(t.Context(), &cloudtrail.PutEventSelectorsInput{TrailName: aws.String("audit"), EventSelectors: []types.EventSelector{{
		IncludeManagementEvents: aws.Bool(false), DataResources: []types.DataResource{{Type: aws.String("AWS::S3::Object"), Values: []string{"arn:aws:s3:::shared-764265373335/"}}},
	}}})
	require.NoError(t, err)
	_, err = c.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String("audit")})
	require.NoError(t, err)
	guest := s3.NewFromConfig(awsConfig(t, s, "444455556666", noRetries), func(o *s3.Options) { o.UsePathStyle = true })
	_, err = guest.PutObject(t.Context(), &s3.PutObjectInput{Bucket: name, Key: aws.String("gift"), Body: strings.NewReader("data"), ServerSideEncryption: "AES256"})
	require.NoError(t, err)
	_, err = guest.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: name})
	require.NoError(t, err)
	_, err = guest.GetObject(t.Context(), &s3.GetObjectInput{Bucket: name, Key: aws.String("gift")})
	requireCode(t, err, "AccessDenied") // the owner does not see what was refused to another account

	records := deliveredRecords(t, s, bucket)
	require.Len(t, records, 2)
	require.Equal(t, "PutObject", records[0].EventName)
	require.Equal(t, "SSE_S3", field(records[0].AdditionalEventData, "SSEApplied"))
	require.Equal(t, trailAccount, records[0].RecipientAccountID)
	require.Equal(t, "444455556666", records[0].UserIdentity.AccountID)
	require.Equal(t, "ListObjects", records[1].EventName)
	require.Contains(t, records[1].Resources, trailResource{Type: "AWS::S3::Object", ARNPrefix: "arn:aws:s3:::shared-764265373335/"})
}

func TestTrail_DataResourcesThatAreRefused(t *testing.T) {
	t.Parallel()
	s := withTrail(t, time.Now)
	makeLogBucket(t, s, trailPolicy)
	c := cloudtrail.NewFromConfig(awsConfig(t, s, trailAccount, noRetries))
	_, err := c.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: aws.String("audit"), S3BucketName: aws.String(logBucket)})
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		code     string
		selector types.EventSelector
	}{
		"functions":            {"NotImplemented", types.EventSelector{DataResources: []types.DataResource{{Type: aws.String("AWS::Lambda::Function"), Values: []string{"arn:aws:lambda"}}}}},
		"no slash":             {"InvalidEventSelectorsException", types.EventSelector{DataResources: []types.DataResource{{Type: aws.String("AWS::S3::Object"), Values: []string{"arn:aws:s3:::orders"}}}}},
		"not an ARN":           {"InvalidEventSelectorsException", types.EventSelector{DataResources: []types.DataResource{{Type: aws.String("AWS::S3::Object"), Values: []string{"orders/"}}}}},
		"no values":            {"InvalidEventSelectorsException", types.EventSelector{DataResources: []types.DataResource{{Type: aws.String("AWS::S3::Object")}}}},
		"nothing to be logged": {"InvalidEventSelectorsException", types.EventSelector{IncludeManagementEvents: aws.Bool(false)}},
	} {
		_, err := c.PutEventSelectors(t.Context(), &cloudtrail.PutEventSelectorsInput{TrailName: aws.String("audit"), EventSelectors: []types.EventSelector{tc.selector}})
		require.Equal(t, tc.code, apiCode(err), "%s: %v", name, err)
	}
	now, err := c.GetEventSelectors(t.Context(), &cloudtrail.GetEventSelectorsInput{TrailName: aws.String("audit")})
	require.NoError(t, err)
	require.Empty(t, now.EventSelectors[0].DataResources)
}

// Forms and customers' keys leave data events too, without anything of the key.
func TestTrail_DataEventsOfFormsAndCustomerKeys(t *testing.T) {
	t.Parallel()
	s := withTrail(t, time.Now)
	c := makeLogBucket(t, s, trailPolicy)
	trails := cloudtrail.NewFromConfig(awsConfig(t, s, trailAccount, noRetries))
	makeBucket(t, c, "forms")
	allowSSEC(t, c, "forms")
	_, err := trails.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: aws.String("audit"), S3BucketName: aws.String(logBucket)})
	require.NoError(t, err)
	_, err = trails.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String("audit")})
	require.NoError(t, err)
	_, err = trails.PutEventSelectors(t.Context(), &cloudtrail.PutEventSelectorsInput{TrailName: aws.String("audit"), EventSelectors: []types.EventSelector{
		{DataResources: []types.DataResource{{Type: aws.String("AWS::S3::Object"), Values: []string{"arn:aws:s3:::forms/"}}}}}})
	require.NoError(t, err)

	target, fields := signedForm(t, s, trailAccount, "k")
	out, body := postFile(t, s, target, fields, "x")
	require.Equal(t, 204, out.StatusCode, body)
	setPolicy(t, c, "forms", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"BUCKET/*","Condition":{"StringEquals":{"s3:authType":"POST"}}}}`)
	out, body = postFile(t, s, target, fields, "x")
	require.Equal(t, 403, out.StatusCode, body)
	put(t, c, "forms", "secret", "x", withCustomerKey)
	_, arn := makeKey(t, s)
	_, err = c.UpdateObjectEncryption(t.Context(), updateTo("forms", strings.Replace(arn, DefaultAccount, trailAccount, 1), false))
	requireCode(t, err, "KMS.NotFoundException")

	data := dataEvents(deliveredRecords(t, s, c))
	require.Len(t, data, 4)
	for i, want := range []struct{ name, failure, applied string }{
		{"PostObject", "", "Default_SSE_S3"}, {"PostObject", "AccessDenied", ""}, {"PutObject", "", "SSE_C"}, {"UpdateObjectEncryption", "KMS.NotFoundException", ""},
	} {
		require.Equal(t, want.name, data[i].EventName)
		require.Equal(t, want.failure, data[i].ErrorCode)
		applied, _ := field(data[i].AdditionalEventData, "SSEApplied").(string)
		require.Equal(t, want.applied, applied)
		record, err := json.Marshal(data[i])
		require.NoError(t, err)
		for _, secret := range []string{*encoded(customerKey), *digest(customerKey), fields["X-Amz-Signature"], fields["policy"]} {
			require.NotContains(t, string(record), secret)
		}
	}
}
