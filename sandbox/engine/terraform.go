package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// BuildTerraformProvider builds the Terraform AWS provider at dst, from the same
// module and with the same dependencies as the sandbox's Pulumi provider. It needs
// what [Install] makes where the Pulumi provider cannot be downloaded.
func BuildTerraformProvider(ctx context.Context, root, dst string) error {
	upstream := filepath.Join(Dir(root), "upstream", "terraform")
	if _, err := os.Stat(upstream); err != nil {
		return errors.New("the provider's source is not here, because the Pulumi provider was downloaded and not built")
	}
	module, err := downloadModule(ctx, filepath.Dir(dst), upstreamFork)
	if err != nil {
		return err
	}
	// The copy has no main program. The overlay adds the original one, so that the
	// copy stays as the Pulumi provider needs it.
	overlay := map[string]string{filepath.Join(upstream, "main.go"): filepath.Join(module, "main.go")}
	// Go finds the copy through sandbox/provider/go.mod; where .sandbox is a link,
	// the overlay's names go through it, too.
	if linked, err := filepath.EvalSymlinks(upstream); err == nil {
		overlay[filepath.Join(linked, "main.go")] = filepath.Join(module, "main.go")
	}
	data, err := json.Marshal(map[string]map[string]string{"Replace": overlay})
	if err != nil {
		return err
	}
	file := dst + ".overlay.json"
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	if err := compile(ctx, nil, filepath.Join(root, "sandbox", "provider"), dst, "", upstreamModule, "-overlay", file); err != nil {
		return fmt.Errorf("building the Terraform provider: %w", err)
	}
	return nil
}
