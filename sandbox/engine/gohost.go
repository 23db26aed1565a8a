package engine

import (
	"context"
	"os"
	"path/filepath"
)

const goHostFolder = "langhost"

// goHostArtifact is sandbox/langhost, the project's host for Go programs. The
// official CLI includes Pulumi's own host, so this one is for an engine that is
// built from modules.
func goHostArtifact(root string) (artifact, error) {
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		return artifact{}, err
	}
	key, err := hashModule(filepath.Join(root, "sandbox", "langhost"), string(sums))
	var count buildCount
	return artifact{
		built:   &count,
		name:    "go host",
		path:    goHostFolder,
		program: "pulumi-language-go",
		key:     key,
		sources: []source{{name: "modules", verb: "building it from this project", get: func(ctx context.Context, dst string) error {
			return goBuild(ctx, &count, root, filepath.Join(dst, "pulumi-language-go"), "", "./sandbox/langhost")
		}}},
	}, err
}
