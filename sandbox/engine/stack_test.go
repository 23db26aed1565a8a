package engine

import (
	"os"
	"path/filepath"
	"testing"

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

// TestCommand_Recoverable: after a fast destroy that did not succeed, what reads the
// state refreshes it, until one of these operations succeeds.
func TestCommand_Recoverable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		destroying bool
		args, want []string
		recovered  bool
	}{
		{"never", false, []string{"up"}, []string{"up"}, true},
		{"up", true, []string{"up", "--yes"}, []string{"up", "--yes", "--refresh"}, true},
		{"up with a refresh", true, []string{"up", "--refresh"}, []string{"up", "--refresh"}, true},
		{"a part of up", true, []string{"up", "--target", "urn"}, []string{"up", "--target", "urn", "--refresh"}, false},
		{"preview", true, []string{"preview"}, []string{"preview", "--refresh"}, false},
		{"destroy", true, []string{"destroy"}, []string{"destroy", "--refresh"}, true},
		{"preview of destroy", true, []string{"destroy", "--preview-only"}, []string{"destroy", "--preview-only", "--refresh"}, false},
		{"a part of destroy", true, []string{"destroy", "--exclude-protected"}, []string{"destroy", "--exclude-protected", "--refresh"}, false},
		{"refresh", true, []string{"refresh"}, []string{"refresh"}, true},
		{"cancel", true, []string{"cancel"}, []string{"cancel"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := command{destroying: filepath.Join(t.TempDir(), "destroying")}
			if c.destroying {
				require.NoError(t, os.WriteFile(k.destroying, nil, 0o600))
			}
			args, variables, err := k.recoverable(c.args)
			require.NoError(t, err)
			require.Equal(t, c.want, args)
			require.Empty(t, variables, "the state is written at each step")
			require.NoError(t, k.recovered(args))
			if c.recovered {
				require.NoFileExists(t, k.destroying)
			} else {
				require.FileExists(t, k.destroying)
			}
		})
	}
}

func TestCreateWhole_ReplacesNothing(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "state")
	for _, text := range []string{"first", "second"} {
		require.NoError(t, createWhole(name, text))
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, "first", string(got))
	}
	left, err := os.ReadDir(filepath.Dir(name))
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file is left")
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
