package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/stack"
)

// make drift runs with the real verify and the real engine's answers. Only the
// preview is made through the Automation API first and then replayed, since a
// plain pulumi preview of a Go program needs the official CLI's language host.
func TestDriftScript(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	d := drifting{lab: l, clients: look(t, l), stack: l.Stack(t, "sandbox", stack.Deploy, nil)}
	d.up(t)

	for _, c := range []struct {
		name, change, undo string
		code               int
		says               []string
	}{
		{name: "nothing", code: 0, says: []string{"no drift", "passed"}},
		{name: "what both see", change: `aws kms disable-key-rotation --key-id $KEY`, code: 1,
			says: []string{"~ enableKeyRotation", "key.rotation", "DRIFT: pulumi up --refresh --stack sandbox", "FAILED"},
			undo: `aws kms enable-key-rotation --key-id $KEY --rotation-period-in-days 365`},
		{name: "what verify sees alone", change: sseS3 + `; echo secret | aws s3 cp - s3://$BUCKET/another; ` + ourEncryption, code: 1,
			says: []string{"no drift", "another", "FAILED"}},
	} {
		if c.change != "" {
			d.change(t, c.change)
		}
		out, code := d.script(t)
		require.Equal(t, c.code, code, "%s:\n%s", c.name, out)
		for _, s := range c.says {
			require.Contains(t, out, s, c.name)
		}
		if c.undo != "" {
			d.change(t, c.undo)
		}
	}
}

// script runs scripts/drift.sh and returns what it printed and its exit code.
func (d *drifting) script(t *testing.T) (string, int) {
	t.Helper()
	var said bytes.Buffer
	code := "0"
	_, err := d.stack.Stack.Preview(t.Context(), optpreview.Refresh(), optpreview.ExpectNoChanges(), optpreview.Diff(),
		optpreview.ProgressStreams(&said), optpreview.ErrorProgressStreams(&said))
	if err != nil {
		code = "1"
	}
	dir := t.TempDir()
	replay := filepath.Join(dir, "said")
	require.NoError(t, os.WriteFile(replay, said.Bytes(), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pulumi"), []byte("#!/bin/sh\ncase $1 in\npreview) cat '"+replay+"'; exit "+code+" ;;\n*) exec '"+d.lab.Tools.Pulumi+"' \"$@\" ;;\nesac\n"), 0o755))

	cmd := exec.CommandContext(t.Context(), filepath.Join(d.lab.Root, "scripts", "drift.sh"), "sandbox")
	cmd.Env = append(d.lab.Env.With("PATH", dir+string(os.PathListSeparator)+d.lab.Env.Get("PATH")).Environ(os.Environ()), "DRIFT_DIR="+filepath.Join(dir, "report"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		require.IsType(t, &exec.ExitError{}, err)
	}
	require.FileExists(t, filepath.Join(dir, "report", "verify.html"), string(out))
	require.FileExists(t, filepath.Join(dir, "report", "verify.json"), string(out))
	return string(out), cmd.ProcessState.ExitCode()
}
