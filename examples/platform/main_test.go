package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
)

func TestPlatform(t *testing.T) {
	t.Parallel()
	s := lab.New(t).Stack(t, "prod", program, nil)
	require.Contains(t, s.Up(t)["keyArn"], "arn:aws:kms:")
	require.True(t, s.Preview(t).Clean())
	out, err := s.TryDestroy(t.Context())
	require.Error(t, err)
	require.Contains(t, out, "protect", "the production stack's key is protected")
}
