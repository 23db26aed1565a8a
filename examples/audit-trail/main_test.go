package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/e2e/lab/verified"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
	"github.com/securethecloud/kms-baseline/verify/check"
	"github.com/securethecloud/kms-baseline/verify/report"
)

func TestAuditTrail(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
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

	// verify reads the trail's files.
	require.NoError(t, l.AWS.DeliverTrails())
	require.NotEmpty(t, l.CLI(t, "s3api", "list-objects-v2", "--bucket", text("trailBucketName"), "--query", "Contents[?contains(Key, '/CloudTrail/us-east-1/')].Key"))
	_, err = s.TryDestroy(t.Context())
	require.ErrorContains(t, err, "failed", "an account keeps its trail until AllowDestroy is set")
}
