package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/e2e/lab/verified"
)

func TestLogBucket(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "dev", program, nil)
	outputs := s.Up(t)
	verified.Require(t, l, outputs["keyArn"].(string), outputs["bucketName"].(string))
	require.True(t, s.Preview(t).Clean())
	s.Destroy(t)
}
