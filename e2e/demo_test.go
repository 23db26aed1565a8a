package e2e

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// demo prepares a run of the real command in a folder of its own.
func demo(t *testing.T, flags ...string) (cmd *exec.Cmd, dir string) {
	t.Helper()
	root, err := engine.FindRoot(".")
	require.NoError(t, err)
	dir = t.TempDir()
	cmd = exec.CommandContext(t.Context(), command(t, "sandbox"), append([]string{"demo", "--dir", dir}, flags...)...)
	cmd.Dir = root
	return cmd, dir
}

func requireNothingLeft(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries, "the demo cleans up after itself")
	processes, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, p := range processes {
		environ, err := os.ReadFile(p)
		if err == nil && bytes.Contains(environ, []byte(dir)) {
			t.Errorf("a process of the demo still runs: %s", filepath.Dir(p))
		}
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	cmd, dir := demo(t)
	var stderr strings.Builder
	cmd.Stderr = &stderr // progress too, which a slow machine has more of
	stdout, err := cmd.Output()
	out := string(stdout)
	require.NoError(t, err, out+stderr.String())
	_, summary, ok := strings.Cut(out, "== Summary")
	require.True(t, ok)
	require.Equal(t, 8, strings.Count(summary, "  ok    "), summary)
	require.Contains(t, out, "wrappedDataKey", "the learner sees the envelope on the disk")
	require.Less(t, strings.Count(out, "\n"), 150, "one screen for each step:\n%s", out)
	requireNothingLeft(t, dir)
}

// Ctrl-C in the middle of up leaves nothing running.
func TestDemo_Interrupted(t *testing.T) {
	t.Parallel()
	cmd, dir := demo(t, "--verbose")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "aws:kms:Key ckms-key creating") {
			require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
			break
		}
	}
	for lines.Scan() { // until the demo has ended
	}
	require.Error(t, cmd.Wait())
	require.Equal(t, 130, cmd.ProcessState.ExitCode())
	requireNothingLeft(t, dir)
}
