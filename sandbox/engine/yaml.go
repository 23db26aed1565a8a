package engine

import (
	"context"
	"io"
	"path/filepath"
)

const yamlHostFolder = "yaml"

// InstallYAMLHost builds Pulumi's host for YAML programs and returns the folder it
// is in. The official CLI brings it along. It is safe to call as
// Install is, and as fast the second time.
func InstallYAMLHost(ctx context.Context, root string, progress io.Writer) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "sandbox", "yaml")
	key, err := hashModule(module, "")
	if err != nil {
		return "", err
	}
	in := newInstaller(root, progress)
	var count buildCount
	a := artifact{
		built:   &count,
		name:    "yaml host",
		path:    yamlHostFolder,
		program: "pulumi-language-yaml",
		key:     key,
		sources: []source{{name: "modules", verb: "building it from Go modules", get: func(ctx context.Context, dst string) error {
			return goBuild(ctx, &count, module, filepath.Join(dst, "pulumi-language-yaml"), "", "github.com/pulumi/pulumi-yaml/cmd/pulumi-language-yaml")
		}}},
	}
	if _, err := in.ensure(ctx, a); err != nil {
		return "", err
	}
	return filepath.Join(in.dir, a.path), nil
}
