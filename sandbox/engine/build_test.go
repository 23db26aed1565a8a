package engine

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBuildCount_StatesWhatIsLeft(t *testing.T) {
	t.Parallel()
	require.Empty(t, (*buildCount)(nil).String())
	c := &buildCount{}
	require.Empty(t, c.String(), "the number of packages is not known yet")
	require.Empty(t, c.bar())
	c.total = 4
	require.Equal(t, "0 of 4 packages compiled", c.text(time.Minute))
	_, err := c.Write([]byte("errors\ngo: downloading example.com/x v1.0.0\ninternal/abi\n"))
	require.NoError(t, err)
	require.Equal(t, "2 of 4 packages compiled, about 1m0s left", c.text(time.Minute))
	require.Equal(t, "2 of 4 packages compiled, about 10s left", c.text(time.Second), "rounded up: the last packages are the large ones")
	c.began = time.Now().Add(-9 * time.Second)
	require.Equal(t, "[#####.....] 10s", c.bar())
	_, _ = c.Write([]byte("a\nb\n"))
	require.Equal(t, "[##########]", c.bar())
	require.Equal(t, "all 4 packages compiled, linking", c.text(time.Minute))
}

func TestGoBuild_CountsItsPackages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.com/program\n\ngo 1.25\n", "main.go": "package main\n\nimport \"example.com/program/lib\"\n\nfunc main() { lib.F() }\n",
		"lib/lib.go": "package lib\n\nfunc F() {}\n",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	var c buildCount
	require.NoError(t, goBuild(t.Context(), &c, dir, filepath.Join(dir, "program"), "", "."))
	require.Equal(t, c.total, c.built)
	require.GreaterOrEqual(t, c.total, 2, "the program and its library")
	require.FileExists(t, filepath.Join(dir, "program"))
}
