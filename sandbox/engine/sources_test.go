package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pulumiSaying makes a program that prints a version.
func pulumiSaying(t *testing.T, dir, version string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	script := fmt.Sprintf("#!/bin/sh\necho %s\n", version)
	if version == "" {
		script = "#!/bin/sh\nexit 1\n"
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pulumi"), []byte(script), 0o755))
	return dir
}

func TestLinkOfficialCLI(t *testing.T) {
	for name, c := range map[string]struct {
		versions []string // one folder of PATH each
		want     int      // the folder that is linked to; -1 for none
		refused  string
	}{
		"the SDK's version":        {[]string{engineVersion}, 0, ""},
		"without a v":              {[]string{strings.TrimPrefix(engineVersion, "v")}, 0, ""},
		"newer":                    {[]string{"v3.300.1"}, 0, ""},
		"older":                    {[]string{"v3.258.9"}, -1, "is v3.258.9, not " + engineVersion + " or newer"},
		"next major":               {[]string{"v4.0.0"}, -1, "is v4.0.0"},
		"a pre-release of it":      {[]string{engineVersion + "-alpha.1"}, -1, "or newer"},
		"not a version":            {[]string{"hello"}, -1, "is not a version"},
		"one that fails":           {[]string{""}, -1, "exit status 1"},
		"old first, then good":     {[]string{"v3.1.0", engineVersion}, 1, ""},
		"none":                     {nil, -1, "no official pulumi on PATH"},
		"a sandbox's own is first": {[]string{"sandbox", engineVersion}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var dirs []string
			for i, version := range c.versions {
				dir := filepath.Join(t.TempDir(), fmt.Sprint(i))
				if version == "sandbox" {
					dir, version = filepath.Join(Dir(t.TempDir()), "bin"), engineVersion
				}
				dirs = append(dirs, pulumiSaying(t, dir, version))
			}
			t.Setenv("PATH", strings.Join(append(dirs, "/bin"), string(os.PathListSeparator)))
			dst := filepath.Join(t.TempDir(), "bin")
			err := linkOfficialCLI(t.Context(), dst)
			if c.want < 0 {
				require.ErrorIs(t, err, errUnavailable)
				require.ErrorContains(t, err, c.refused)
				return
			}
			require.NoError(t, err)
			target, err := os.Readlink(filepath.Join(dst, "pulumi"))
			require.NoError(t, err)
			require.Equal(t, filepath.Join(dirs[c.want], "pulumi"), target)
		})
	}
}

func TestRunGo_WithoutGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := runGo(t.Context(), t.TempDir(), nil, nil, "version")
	require.ErrorContains(t, err, "there is no go command on PATH: install Go")
}
