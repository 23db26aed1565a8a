package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
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
	for _, command := range []string{"install", "exec", "start", "status", "stop", "reset", "serve", "env", "up", "preview", "destroy", "recover", "demo", "course"} {
		require.Contains(t, stdout, "\n  "+command)
	}
}

func TestRun_UnknownFlag(t *testing.T) {
	t.Parallel()
	code, _, stderr := sandbox(t, "up", "--nope")
	require.Equal(t, 1, code)
	require.Equal(t, "sandbox: error: unknown flag: --nope\n", stderr)
}

func TestRun_OutsideTheProject_StackCommandsSayWhere(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, command := range []string{"install", "up", "preview", "destroy", "recover", "demo", "course"} {
		code, _, stderr := sandbox(t, command)
		require.Equal(t, 1, code, command)
		require.Contains(t, stderr, "is not inside the kms-baseline project: change to a folder of it", command)
	}
}

func TestRun_RefusesTheServerOfAnotherSandbox(t *testing.T) {
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
	if aws, err := exec.LookPath("aws"); err == nil {
		// No resolver knows the host names that the SDKs make for S3 Control.
		out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", exports+aws+" s3control get-public-access-block --account-id 123456789012").CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), "(NoSuchPublicAccessBlockConfiguration)")
	}
}

// A shell that goes on after env has failed cannot reach the account of the
// caller's credentials: here a server that stands for it.
func TestRun_EnvFailsClosed(t *testing.T) {
	t.Parallel()
	program := build(t)
	reached := make(chan string, 10)
	account := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached <- r.URL.Path }))
	t.Cleanup(account.Close)
	for name, args := range map[string]string{
		"nothing serves":     "env --dir " + t.TempDir(),
		"unknown flag":       "env --nope",
		"a folder is a file": "env --dir /dev/null/x",
		"an argument":        "env here",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `eval "$(`+program+" "+args+`)"; echo "eval: $?"; env`)
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+account.URL, "AWS_PROFILE=production", "AWS_ACCESS_KEY_ID=AKIAREAL", "AWS_SECRET_ACCESS_KEY=x", "AWS_SESSION_TOKEN=t")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			require.Contains(t, string(out), "eval: 1\n")
			require.Contains(t, string(out), "sandbox: error: ")
			require.Contains(t, string(out), "\nAWS_ENDPOINT_URL=https://127.0.0.1:1\n")
			for _, leak := range []string{"AKIAREAL", "production", "AWS_SESSION_TOKEN", account.URL} {
				require.NotContains(t, string(out), leak)
			}
			if aws, err := exec.LookPath("aws"); err == nil {
				cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `eval "$(`+program+" "+args+`)"; `+aws+" s3 ls --cli-connect-timeout 2")
				cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "AWS_ENDPOINT_URL="+account.URL, "AWS_ACCESS_KEY_ID=AKIAREAL", "AWS_SECRET_ACCESS_KEY=x", "AWS_MAX_ATTEMPTS=1")
				require.Error(t, cmd.Run())
			}
			require.Empty(t, reached)
		})
	}
}

// evaluated is a documented command line that sets the sandbox's environment for
// a shell.
var evaluated = regexp.MustCompile(`eval "\$\([^)"\n]*\)"`)

// The shell cannot reach the account of its own credentials if the documented
// command line finds no sandbox command, or one that fails without any output, as
// go run does for a program that cannot be built.
func TestEnv_DocumentedCommandLineEndsTheShellOnFailure(t *testing.T) {
	t.Parallel()
	_, help, _ := sandbox(t, "env", "--help")
	documented := map[string]string{"sandbox env --help": help}
	for _, page := range []string{"../README.md", "../docs/faq.md"} {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		documented[page] = string(text)
	}
	absent, broken := t.TempDir(), t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(broken, "bin"), 0o700))
	for _, name := range []string{"sandbox", "bin/sandbox"} {
		require.NoError(t, os.WriteFile(filepath.Join(broken, name), []byte("#!/bin/sh\nexit 1\n"), 0o700))
	}
	for page, text := range documented {
		lines := evaluated.FindAllString(text, -1)
		require.NotEmpty(t, lines, page)
		for _, line := range lines {
			for _, dir := range []string{absent, broken} {
				cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", line+"\necho later commands run")
				cmd.Dir = dir
				cmd.Env = []string{"PATH=" + dir}
				out, err := cmd.CombinedOutput()
				require.Error(t, err, "%s: %s", page, line)
				require.Equal(t, 1, cmd.ProcessState.ExitCode(), "%s: %s", page, line)
				require.NotContains(t, string(out), "later commands run", "%s: %s", page, line)
			}
		}
	}
}

// build builds the command, for what a test of this process cannot show.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "sandbox")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

// freeAddr is an address that nothing listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	return addr
}

// A day with a sandbox: start, use, stop, start again with the same account,
// reset. It works in any folder.
func TestSandbox_StartStatusExecStopReset(t *testing.T) {
	t.Parallel()
	program, dir, addr, elsewhere := build(t), t.TempDir(), freeAddr(t), t.TempDir()
	ctx := context.WithoutCancel(t.Context()) // the clean-up still has to stop the server
	do := func(args ...string) (string, int) {
		cmd := exec.CommandContext(ctx, program, append([]string{"--dir", dir, "--addr", addr}, args...)...)
		cmd.Dir = elsewhere
		cmd.Env = append(os.Environ(), "AWS_PROFILE=production", "AWS_ENDPOINT_URL=http://127.0.0.1:1")
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	t.Cleanup(func() {
		out, code := do("stop")
		require.Zero(t, code, out)
	})

	out, code := do("status")
	require.Equal(t, 1, code)
	require.Contains(t, out, "localaws is not running")
	out, code = do("start")
	require.Zero(t, code, out)
	out, code = do("start")
	require.Zero(t, code, out)
	require.Contains(t, out, "already running at https://"+addr)
	out, code = do("status")
	require.Zero(t, code, out)
	require.Contains(t, out, "running at https://"+addr)

	out, code = do("exec", "--", "/bin/sh", "-c", `echo "$AWS_ENDPOINT_URL $AWS_ACCESS_KEY_ID ${AWS_PROFILE-none}"; exit 7`)
	require.Equal(t, 7, code, out)
	require.Equal(t, "https://"+addr+" 123456789012 none\n", out)
	if _, err := exec.LookPath("aws"); err == nil {
		out, code = do("exec", "--", "aws", "s3", "mb", "s3://kept")
		require.Zero(t, code, out)
	}

	out, code = do("stop")
	require.Zero(t, code, out)
	out, code = do("stop")
	require.Zero(t, code, out)
	require.Contains(t, out, "localaws is not running")
	out, code = do("exec", "--", "/bin/sh", "-c", "exit 0")
	require.Zero(t, code, out)
	require.Contains(t, out, "started localaws at https://"+addr)
	if _, err := exec.LookPath("aws"); err == nil {
		out, _ = do("exec", "--", "aws", "s3", "ls")
		require.Contains(t, out, "kept")
		out, code = do("reset")
		require.Zero(t, code, out)
		out, _ = do("exec", "--", "aws", "s3", "ls")
		require.NotContains(t, out, "kept")
	}
}

func TestSandbox_NamesTheProcessThatHoldsThePort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	program := build(t)
	for _, command := range []string{"serve", "start"} {
		out, err := exec.CommandContext(t.Context(), program, command, "--dir", t.TempDir(), "--addr", l.Addr().String()).CombinedOutput()
		stderr := string(out)
		require.Error(t, err)
		require.Contains(t, stderr, l.Addr().String()+" is in use by sandbox.test (process "+strconv.Itoa(os.Getpid())+")", command)
		require.Contains(t, stderr, "--addr 127.0.0.1:4567", command)
	}
}

func TestSandbox_Version(t *testing.T) {
	t.Parallel()
	code, stdout, _ := sandbox(t, "--version")
	require.Zero(t, code)
	require.Equal(t, "sandbox version devel\n", stdout)
}
