package main

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/e2e/lab/verified"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

func TestCloudTrailBucket(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "dev", program, nil)
	outputs := s.Up(t)
	verified.Require(t, l, outputs["kmsKeyId"].(string), outputs["s3BucketName"].(string))
	require.True(t, s.Preview(t).Clean())

	// CloudTrail accepts the bucket and the key, for log files and for digest files.
	trails := cloudtrail.NewFromConfig(l.Config(t, engine.AccountID))
	bucket, key := outputs["s3BucketName"].(string), outputs["kmsKeyId"].(string)
	_, err := trails.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{
		Name: aws.String(trail), S3BucketName: &bucket, KmsKeyId: &key, EnableLogFileValidation: aws.Bool(true), IsMultiRegionTrail: aws.Bool(true),
	})
	require.NoError(t, err)
	_, err = trails.DeleteTrail(t.Context(), &cloudtrail.DeleteTrailInput{Name: aws.String(trail)})
	require.NoError(t, err)
	s.Destroy(t)
}
