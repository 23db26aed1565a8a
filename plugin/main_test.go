package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/plugin/provider"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "plugin")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	out, err = exec.CommandContext(t.Context(), program, "--version").Output()
	require.NoError(t, err)
	require.Equal(t, "pulumi-resource-kms-baseline v"+provider.Version()+"\n", string(out))
}
