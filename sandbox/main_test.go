package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sandbox runs a command line to its end.
func sandbox(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = run(t.Context(), args, &out, &errOut)
	return code, out.String(), errOut.String()
}

// serve runs localaws in dir on a port of its own until the test ends, and
// returns its HOST:PORT.
func serve(t *testing.T, dir string) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		done <- run(ctx, []string{"serve", "--addr", "127.0.0.1:0", "--dir", dir}, w, &stderr)
		w.Close()
	}()
	t.Cleanup(func() {
		stop()
		require.Zero(t, <-done, stderr.String())
	})
	line := make([]byte, 256)
	n, err := r.Read(line)
	require.NoError(t, err)
	addr, ok := strings.CutPrefix(strings.TrimSpace(string(line[:n])), "https://")
	require.True(t, ok, "serve printed %q", line[:n])
	return addr
}

func TestRun_Help(t *testing.T) {
	t.Parallel()
	code, stdout, _ := sandbox(t, "--help")
	require.Zero(t, code)
	for _, command := range []string{"install", "serve", "env", "up", "preview", "destroy"} {
		require.Contains(t, stdout, "\n  "+command+" ")
	}
}

func TestRun_UnknownFlag(t *testing.T) {
	t.Parallel()
	code, _, stderr := sandbox(t, "up", "--nope")
	require.Equal(t, 1, code)
	require.Equal(t, "sandbox: error: unknown flag: --nope\n", stderr)
}

func TestRun_OutsideTheProject(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, command := range []string{"install", "serve", "env", "up", "preview", "destroy"} {
		code, _, stderr := sandbox(t, command)
		require.Equal(t, 1, code, command)
		require.Contains(t, stderr, "is not inside the kms-baseline project: change to a folder of it", command)
	}
}

func TestRun_StackCommandsNeedServe(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"up", "preview", "destroy"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			code, _, stderr := sandbox(t, command, "--dir", dir)
			require.Equal(t, 1, code)
			require.Contains(t, stderr, "sandbox: error: localaws has never run in "+dir)
			require.Contains(t, stderr, "sandbox: hint: start it in another terminal: go run ./sandbox serve --dir "+dir)
		})
	}
}

func TestRun_NothingServesThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serve(t, dir) // so that there are certificates
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := free.Addr().String()
	require.NoError(t, free.Close())
	code, _, stderr := sandbox(t, "up", "--dir", dir, "--addr", addr)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "no localaws answers on https://"+addr)
	require.Contains(t, stderr, "go run ./sandbox serve --addr "+addr+" --dir "+dir)
}

func TestRun_AnothersCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serve(t, dir)
	code, _, stderr := sandbox(t, "preview", "--dir", dir, "--addr", serve(t, t.TempDir()))
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "has another certificate authority than "+filepath.Join(dir, "certs"))
	require.Contains(t, stderr, "hint: give the --dir of the localaws that serves there")
}

func TestRun_ServeRefusesOtherHosts(t *testing.T) {
	t.Parallel()
	code, _, stderr := sandbox(t, "serve", "--dir", t.TempDir(), "--addr", "0.0.0.0:0")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "loopback")
}

// TestRun_Env lets a real shell evaluate what env prints.
func TestRun_Env(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "it's here")
	addr := serve(t, dir)
	code, exports, stderr := sandbox(t, "env", "--dir", dir, "--addr", addr)
	require.Zero(t, code)
	require.Empty(t, stderr)
	require.DirExists(t, filepath.Join(dir, "backend"))
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", exports+`
test -f "$AWS_CA_BUNDLE" && printf '%s %s %s' "$AWS_ENDPOINT_URL" "$AWS_ACCESS_KEY_ID" "$PULUMI_BACKEND_URL"`)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "https://"+addr+" 123456789012 file://"+dir+"/backend?metadata=skip", string(out))
}

func TestRun_EnvSaysWhenNothingServes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, exports, stderr := sandbox(t, "env", "--dir", dir)
	require.Zero(t, code)
	require.Contains(t, exports, "export AWS_ENDPOINT_URL='https://127.0.0.1:4566'\n")
	require.Equal(t, "sandbox: note: localaws has never run in "+dir+"\n", stderr)
}
