package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThePageIsFresh(t *testing.T) {
	t.Parallel()
	want, err := generate("../..")
	require.NoError(t, err)
	got, err := os.ReadFile("../../../docs/components.md")
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "docs/components.md is stale: go generate ./components")
}
