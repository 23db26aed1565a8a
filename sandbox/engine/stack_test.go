package engine

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/stretchr/testify/require"
)

func TestStackOptions_Settings(t *testing.T) {
	t.Parallel()
	write := func(t *testing.T, name, content string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(file, []byte(content), 0o444))
		return file
	}
	o := StackOptions{
		ProjectFile: write(t, "Pulumi.yaml", "name: kms-baseline\nruntime: go\n"),
		Stack:       "sandbox",
		ConfigFile:  write(t, "Pulumi.sandbox.yaml", "config:\n  aws:region: us-east-1\n  kms-baseline:days: 30\n"),
		Config:      map[string]string{"days": "7", "aws:skipRegionValidation": "true", "tags": `{"a":"b"}`},
	}
	project, err := o.project()
	require.NoError(t, err)
	require.Equal(t, "kms-baseline", project.Name.String())
	last := write(t, "Pulumi.sandbox.yaml", "encryptionsalt: v1:kept\nconfig:\n  kms-baseline:stale: 1\n")

	settings, err := o.settings(project, last)
	require.NoError(t, err)
	require.Equal(t, "v1:kept", settings.EncryptionSalt)
	values, err := settings.Config.Decrypt(config.NopDecrypter)
	require.NoError(t, err)
	got := map[string]string{}
	for key, value := range values {
		got[key.String()] = value
	}
	require.Equal(t, map[string]string{
		"aws:region":               "us-east-1",
		"aws:skipRegionValidation": "true",
		"kms-baseline:days":        "7",
		"kms-baseline:tags":        `{"a":"b"}`,
	}, got)

	o.Config = map[string]string{"a:b:c:d": "x"}
	_, err = o.settings(project, last)
	require.ErrorContains(t, err, `configuration key "a:b:c:d"`)

	o.ConfigFile = filepath.Join(t.TempDir(), "missing.yaml")
	_, err = o.settings(project, last)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestCommand_Recoverable: while the state is older than the beginning of a fast destroy,
// what reads the state refreshes it.
func TestCommand_Recoverable(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name    string
		state   time.Time // zero: there is none
		destroy bool      // began
		args    []string
		want    []string
	}{
		{"never", began, false, []string{"up"}, []string{"up"}},
		{"ended", began.Add(time.Second), true, []string{"up"}, []string{"up"}},
		{"removed", time.Time{}, true, []string{"up"}, []string{"up"}},
		{"killed, up", began.Add(-time.Second), true, []string{"up", "--yes"}, []string{"up", "--yes", "--refresh"}},
		{"killed at once", began, true, []string{"up"}, []string{"up", "--refresh"}},
		{"killed, up with a refresh", began.Add(-time.Second), true, []string{"up", "--refresh"}, []string{"up", "--refresh"}},
		{"killed, preview", began.Add(-time.Second), true, []string{"preview"}, []string{"preview", "--refresh"}},
		{"killed, destroy", began.Add(-time.Second), true, []string{"destroy"}, []string{"destroy", "--refresh"}},
		{"killed, cancel", began.Add(-time.Second), true, []string{"cancel"}, []string{"cancel"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			k := command{file: filepath.Join(dir, "state"), destroying: filepath.Join(dir, "destroying")}
			if !c.state.IsZero() {
				require.NoError(t, os.WriteFile(k.file, nil, 0o600))
				require.NoError(t, os.Chtimes(k.file, c.state, c.state))
			}
			if c.destroy {
				require.NoError(t, os.WriteFile(k.destroying, nil, 0o600))
				require.NoError(t, os.Chtimes(k.destroying, began, began))
			}
			args, variables, err := k.recoverable(c.args)
			require.NoError(t, err)
			require.Equal(t, c.want, args)
			require.Empty(t, variables, "the state is written at each step")
		})
	}
}

func TestCommand_FastDestroy(t *testing.T) {
	t.Parallel()
	k := command{fastDestroy: true, destroying: filepath.Join(t.TempDir(), "destroying")}
	for _, args := range [][]string{{"up"}, {"preview"}, {"destroy", "--preview-only"}} {
		_, variables, err := k.recoverable(args)
		require.NoError(t, err)
		require.Empty(t, variables, args)
		require.NoFileExists(t, k.destroying, args)
	}
	_, variables, err := k.recoverable([]string{"destroy"})
	require.NoError(t, err)
	require.Equal(t, []string{"PULUMI_SKIP_CHECKPOINTS=true"}, variables)
	require.FileExists(t, k.destroying)
}

func TestFindRoot(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "go.mod"), []byte("module github.com/securethecloud/kms-baseline\n\ngo 1.25.11\n"), 0o644))
	nested := filepath.Join(root, "sandbox", "provider")
	require.NoError(t, os.MkdirAll(nested, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(nested, "go.mod"), []byte("module github.com/securethecloud/kms-baseline/sandbox/provider\n"), 0o644))

	for _, dir := range []string{root, filepath.Dir(nested), nested} {
		got, err := FindRoot(dir)
		require.NoError(t, err)
		require.Equal(t, root, got)
	}
	_, err := FindRoot(t.TempDir())
	require.ErrorContains(t, err, "is not inside the kms-baseline project: change to a folder of it")
}
