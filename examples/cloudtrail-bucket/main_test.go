package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/e2e/lab/verified"
)

func TestCloudTrailBucket(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "dev", program, nil)
	outputs := s.Up(t)
	verified.Require(t, l, outputs["kmsKeyId"].(string), outputs["s3BucketName"].(string))
	require.True(t, s.Preview(t).Clean())
	s.Destroy(t)
}
