package localaws

import (
	"bytes"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

func setLifecycle(t testing.TB, c *s3.Client, bucket string, rules ...types.LifecycleRule) {
	t.Helper()
	_, err := c.PutBucketLifecycleConfiguration(t.Context(), &s3.PutBucketLifecycleConfigurationInput{Bucket: &bucket,
		LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: rules}})
	require.NoError(t, err)
}

func TestExpiration_OfEveryAnswerAboutAnObject(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	versioned(t, c, "expiring")
	setLifecycle(t, c, "expiring", types.LifecycleRule{ID: aws.String("after a week/1"), Status: "Enabled",
		Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")}, Expiration: &types.LifecycleExpiration{Days: aws.Int32(7)}})
	bucket := aws.String("expiring")
	first := put(t, c, "expiring", "k", "body")
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("k")})
	require.NoError(t, err)
	midnight := head.LastModified.UTC().Truncate(24 * time.Hour)
	want := `expiry-date="` + midnight.AddDate(0, 0, 8).Format("Mon, 02 Jan 2006 15:04:05 GMT") + `", rule-id="after+a+week/1"`
	require.Equal(t, want, *head.Expiration)
	require.Equal(t, want, *first.Expiration)

	read, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: aws.String("k")})
	require.NoError(t, err)
	require.NoError(t, read.Body.Close())
	require.Equal(t, want, *read.Expiration)
	named, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("k"), VersionId: first.VersionId})
	require.NoError(t, err)
	require.Nil(t, named.Expiration, "a read that names the version")

	copied, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("expiring/k")})
	require.NoError(t, err)
	require.Contains(t, aws.ToString(copied.Expiration), `rule-id="after+a+week/1"`)
	up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("parts")})
	require.NoError(t, err)
	part, err := c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: bucket, Key: aws.String("parts"), UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader([]byte("x"))})
	require.NoError(t, err)
	done, err := c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: aws.String("parts"), UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag}}}})
	require.NoError(t, err)
	require.Contains(t, aws.ToString(done.Expiration), `rule-id="after+a+week/1"`)

	_, err = c.DeleteBucketLifecycle(t.Context(), &s3.DeleteBucketLifecycleInput{Bucket: bucket})
	require.NoError(t, err)
	require.Nil(t, put(t, c, "expiring", "k", "body").Expiration)
}

func TestExpiration_IsOfTheFirstRuleThatCoversTheObject(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "rules")
	rule := func(id string, days int32, f *types.LifecycleRuleFilter) types.LifecycleRule {
		return types.LifecycleRule{ID: &id, Status: "Enabled", Filter: f, Expiration: &types.LifecycleExpiration{Days: &days}}
	}
	tag := types.Tag{Key: aws.String("class"), Value: aws.String("short")}
	disabled := rule("disabled", 1, &types.LifecycleRuleFilter{Prefix: aws.String("")})
	disabled.Status = "Disabled"
	date := rule("date", 0, &types.LifecycleRuleFilter{Prefix: aws.String("date/")})
	date.Expiration = &types.LifecycleExpiration{Date: aws.Time(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))}
	marker := rule("marker", 0, &types.LifecycleRuleFilter{Prefix: aws.String("marker/")})
	marker.Expiration = &types.LifecycleExpiration{ExpiredObjectDeleteMarker: aws.Bool(true)}
	noncurrent := types.LifecycleRule{ID: aws.String("noncurrent"), Status: "Enabled", Filter: &types.LifecycleRuleFilter{Prefix: aws.String("noncurrent/")},
		NoncurrentVersionExpiration: &types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(1)}}
	setLifecycle(t, c, "rules",
		rule("long", 30, &types.LifecycleRuleFilter{Prefix: aws.String("logs/")}),
		rule("short", 10, &types.LifecycleRuleFilter{Prefix: aws.String("logs/a/")}),
		rule("tagged", 5, &types.LifecycleRuleFilter{Tag: &tag}),
		rule("both", 3, &types.LifecycleRuleFilter{And: &types.LifecycleRuleAndOperator{Prefix: aws.String("logs/"), Tags: []types.Tag{tag}}}),
		rule("large", 2, &types.LifecycleRuleFilter{ObjectSizeGreaterThan: aws.Int64(10)}),
		rule("small", 4, &types.LifecycleRuleFilter{And: &types.LifecycleRuleAndOperator{Prefix: aws.String("small/"), ObjectSizeLessThan: aws.Int64(2)}}),
		disabled, date, marker, noncurrent)
	for _, row := range []struct{ key, body, tags, rule string }{
		{"logs/x", "ab", "", `rule-id="long"`},
		{"logs/a/x", "ab", "", `rule-id="short"`},
		{"x", "ab", "class=short", `rule-id="tagged"`},
		{"logs/x", "ab", "class=short", `rule-id="both"`},
		{"logs/a/x", "12345678901", "class=short", `rule-id="large"`},
		{"x", "1234567890", "", ""},
		{"small/x", "a", "", `rule-id="small"`},
		{"small/x", "ab", "", ""},
		{"date/x", "ab", "", `expiry-date="Wed, 01 Jan 2020 00:00:00 GMT", rule-id="date"`},
		{"marker/x", "ab", "", ""},
		{"noncurrent/x", "ab", "", ""},
	} {
		out := put(t, c, "rules", row.key, row.body, func(in *s3.PutObjectInput) {
			if row.tags != "" {
				in.Tagging = &row.tags
			}
		})
		if row.rule == "" {
			require.Nil(t, out.Expiration, row.key)
			continue
		}
		require.Contains(t, aws.ToString(out.Expiration), row.rule, row.key)
	}
}
