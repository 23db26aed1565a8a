// Package trinotest gives a test or a benchmark a Trino of its own. Trino takes half a
// minute to start, so few tests should have one.
package trinotest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/sandbox/engine"
	"github.com/securethecloud/kms-baseline/sandbox/trino"
)

// Start starts a Trino that is stopped when the test ends, in a temporary folder
// unless o.Dir is set. It skips the test where Trino is not installed.
func Start(t testing.TB, o trino.Options) *trino.Server {
	t.Helper()
	root, err := engine.FindRoot(".")
	require.NoError(t, err)
	program, err := engine.FindTrino(t.Context(), root)
	if err != nil {
		t.Skipf("needs Trino: %v", err)
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	server, err := trino.Start(t.Context(), program, o)
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	return server
}
