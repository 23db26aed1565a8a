package engine

import (
	"context"
	"io"
	"os"
	"path/filepath"
)

const goHostFolder = "langhost"

// InstallGoHost builds sandbox/langhost, the project's host for Go programs, and
// returns its folder. The official CLI includes Pulumi's own host, so this one is
// for an engine built from modules. Like Install, it may run in several processes
// at once.
func InstallGoHost(ctx context.Context, root string, progress io.Writer) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		return "", err
	}
	key, err := hashModule(filepath.Join(root, "sandbox", "langhost"), string(sums))
	if err != nil {
		return "", err
	}
	in := newInstaller(root, progress)
	var count buildCount
	a := artifact{
		built:   &count,
		name:    "go host",
		path:    goHostFolder,
		program: "pulumi-language-go",
		key:     key,
		sources: []source{{name: "modules", verb: "building it from this project", get: func(ctx context.Context, dst string) error {
			return goBuild(ctx, &count, root, filepath.Join(dst, "pulumi-language-go"), "", "./sandbox/langhost")
		}}},
	}
	if _, err := in.ensure(ctx, a); err != nil {
		return "", err
	}
	return filepath.Join(in.dir, a.path), nil
}
