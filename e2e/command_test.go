package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

var built sync.Map // func() (string, error), by the command's name

// command is a command of this repository, "sandbox" or "verify", built once for
// all tests.
func command(t *testing.T, name string) string {
	t.Helper()
	build, _ := built.LoadOrStore(name, sync.OnceValues(func() (string, error) {
		root, err := engine.FindRoot(".")
		if err != nil {
			return "", err
		}
		program := filepath.Join(engine.Dir(root), "e2e", name)
		cmd := exec.Command("go", "build", "-o", program, "./"+name)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
		return program, nil
	}))
	program, err := build.(func() (string, error))()
	require.NoError(t, err)
	return program
}
