package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
)

// The sandbox's own commands restore what they found, in the sandbox: the delete
// hook runs in their process, whatever account the caller's environment means.
func TestSandbox_DestroyRestores(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	c := look(t, l)
	theirs := c.begin(t, false, true)
	project := t.TempDir()
	entries, err := os.ReadDir(l.Root)
	require.NoError(t, err)
	for _, e := range entries {
		require.NoError(t, os.Symlink(filepath.Join(l.Root, e.Name()), filepath.Join(project, e.Name())))
	}
	settings, err := os.ReadFile(filepath.Join(l.Root, "Pulumi.sandbox.yaml"))
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(project, "Pulumi.sandbox.yaml")))
	require.NoError(t, os.WriteFile(filepath.Join(project, "Pulumi.sandbox.yaml"),
		append(settings, "  kms-baseline:ebsOnDestroy: restore\n  kms-baseline:ebsTakeOver: \"true\"\n"...), 0o600))

	program := command(t, "sandbox")
	sandbox := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, append(args, "--dir", l.Paths.Dir, "--addr", strings.TrimPrefix(l.AWS.URL(), "https://"))...)
		cmd.Dir = project
		cmd.Env = append(os.Environ(), "AWS_PROFILE=production", "AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_ACCESS_KEY_ID=999999999999", "AWS_SECRET_ACCESS_KEY=x")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}

	said, err := sandbox("up")
	require.NoError(t, err, said)
	on, key := c.ebs(t)
	require.True(t, on)
	require.NotEqual(t, theirs, key)

	said, err = sandbox("destroy")
	require.Error(t, err)
	require.Contains(t, said, "--run-program")
	on, _ = c.ebs(t)
	require.True(t, on, "nothing has been deleted")

	said, err = sandbox("destroy", "--run-program")
	require.NoError(t, err, said)
	on, key = c.ebs(t)
	require.False(t, on)
	require.Equal(t, theirs, key)
}
