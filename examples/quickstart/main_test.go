package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
)

func TestQuickstart(t *testing.T) {
	t.Parallel()
	s := lab.New(t).Stack(t, "dev", program, nil)
	outputs := s.Up(t)
	require.Contains(t, outputs["keyArn"], "arn:aws:kms:us-east-1:")
	require.Equal(t, true, outputs["ebsEncryptionByDefault"])
	require.True(t, s.Preview(t).Clean())
	s.Destroy(t)
}
