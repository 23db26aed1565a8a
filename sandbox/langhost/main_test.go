package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/structpb"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

// request is for a program that consists of body.
func request(t *testing.T, body string, options map[string]any) *pulumirpc.RunRequest {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module program\n\ngo 1.25\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nimport \"os\"\n\nfunc main() {"+body+"}\n"), 0o600))
	opts, err := structpb.NewStruct(options)
	require.NoError(t, err)
	return &pulumirpc.RunRequest{Pwd: dir, Project: "p", Stack: "s", Info: &pulumirpc.ProgramInfo{
		RootDirectory: dir, ProgramDirectory: dir, EntryPoint: ".", Options: opts,
	}}
}

func TestRun_ReportsHowTheProgramEnded(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		body, err string
		bail      bool
	}{
		"success":             {body: `if os.Getenv("PULUMI_STACK") != "s" { os.Exit(1) }`},
		"error":               {body: `os.Exit(3)`, err: "exit status 3"},
		"error already shown": {body: `os.Exit(32)`, bail: true},
		"signal":              {body: `p, _ := os.FindProcess(os.Getpid()); p.Kill(); select {}`, err: "killed"},
		"does not build":      {body: `os.Nothing()`, err: "does not build"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := newHost("").Run(t.Context(), request(t, row.body, nil))
			require.NoError(t, err)
			require.Equal(t, row.bail, r.Bail)
			if row.err == "" {
				require.Empty(t, r.Error)
			} else {
				require.Contains(t, r.Error, row.err)
			}
		})
	}
}

func TestRun_BuildTargetKeepsAProgramThatBinaryRuns(t *testing.T) {
	t.Parallel()
	r := request(t, `os.Exit(32)`, map[string]any{"buildTarget": "kept"})
	got, err := newHost("").Run(t.Context(), r)
	require.NoError(t, err)
	require.True(t, got.Bail)
	require.NoError(t, os.Remove(filepath.Join(r.Pwd, "main.go")))
	r.Info.Options, err = structpb.NewStruct(map[string]any{"binary": "kept"})
	require.NoError(t, err)
	got, err = newHost("").Run(t.Context(), r)
	require.NoError(t, err)
	require.True(t, got.Bail)
}

func TestRun_NamesAMissingBinary(t *testing.T) {
	t.Parallel()
	got, err := newHost("").Run(t.Context(), request(t, "", map[string]any{"binary": "absent"}))
	require.NoError(t, err)
	require.Contains(t, got.Error, "the project's option binary")
}

func TestAbout_ReturnsTheGoVersion(t *testing.T) {
	t.Parallel()
	got, err := newHost("").About(t.Context(), nil)
	require.NoError(t, err)
	require.Contains(t, got.Version, "go version go")
}
