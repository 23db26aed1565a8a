package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVerifyPage_HasTheCatalogueOfToday(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../../docs/verify.md")
	require.NoError(t, err)
	want, err := generate(string(page))
	require.NoError(t, err)
	require.Equal(t, want, string(page), "run `go generate ./verify/check`")
}

func TestGenerate_NeedsATableForEveryGroup(t *testing.T) {
	t.Parallel()
	_, err := generate("no table")
	require.ErrorContains(t, err, "there is no table")
}
