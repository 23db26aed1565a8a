package version

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Test binaries have no VCS information.
func TestText_IsNeverEmpty(t *testing.T) {
	t.Parallel()
	require.Equal(t, "devel", Text())
}
