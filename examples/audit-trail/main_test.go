package main

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/e2e/lab/verified"
	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
	"github.com/securethecloud/kms-baseline/verify/check"
	"github.com/securethecloud/kms-baseline/verify/report"
)

func TestAuditTrail(t *testing.T) {
	t.Parallel()
	var passed atomic.Int64 // time that has not been waited for
	now := func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	l := lab.New(t, func(o *localaws.Options) { o.Now, o.TrailDelivery = now, -1 })
	s := l.Stack(t, "dev", program, nil)
	outputs := s.Up(t)
	text := func(name string) string { return outputs[name].(string) }
	verified.Require(t, l, text("keyArn"), text("bucketName"))
	verified.Require(t, l, text("trailKeyArn"), text("trailBucketName"))
	require.Equal(t, "athena:account-trail/account_trail.cloudtrail", text("athenaSource"))

	found, err := check.Run(t.Context(), check.Config{
		AWS: l.Config(t, engine.AccountID), Keys: []string{text("keyArn")}, Bucket: text("bucketName"), AccountWide: true, Only: []string{"trail.logging"},
	})
	require.NoError(t, err)
	require.Len(t, found.Results, 1)
	require.Equal(t, report.Pass, found.Results[0].Status, found.Results[0].Actual)
	require.NotContains(t, found.Results[0].Actual, "records no S3 data events")
	require.True(t, s.Preview(t).Clean())

	// The trail's files prove who wrote and read an object.
	passed.Add(int64(70 * time.Minute)) // verify searches an hour before the write, too
	object := "1.txt"
	config := l.Config(t, engine.AccountID)
	client := s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true })
	_, err = client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(text("bucketName")), Key: &object, Body: strings.NewReader("a record")})
	require.NoError(t, err)
	read, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(text("bucketName")), Key: &object})
	require.NoError(t, err)
	require.NoError(t, read.Body.Close())
	for range 2 { // an hour is what a digest file covers
		require.NoError(t, l.AWS.DeliverTrails())
		passed.Add(int64(time.Hour + time.Minute))
	}
	require.NoError(t, l.AWS.DeliverTrails())
	found, err = check.Run(t.Context(), check.Config{
		AWS: config, Keys: []string{text("keyArn")}, Bucket: text("bucketName"), Objects: []string{object}, Now: now, Since: 2*time.Hour + 7*time.Minute,
		Events: text("filesSource"), Only: []string{"trail.integrity", "trail.write", "trail.read"},
	})
	require.NoError(t, err)
	require.Len(t, found.Results, 3)
	for _, r := range found.Results {
		require.Equal(t, report.Pass, r.Status, "%s: %s", r.ID, r.Actual)
	}
	_, err = s.TryDestroy(t.Context())
	require.ErrorContains(t, err, "failed", "an account keeps its trail until AllowDestroy is set")
}
