package components

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The projects and the plugin require the version that the components do. The
// YAML host takes Pulumi.yaml for its program and does not know the field.
func TestMinimumPulumiVersion_IsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../examples/*/Pulumi.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range append(files, "../Pulumi.yaml", "../plugin/PulumiPlugin.yaml") {
		if filepath.Base(filepath.Dir(file)) == "yaml" {
			continue
		}
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Contains(t, string(content), "\nrequiredPulumiVersion: \">="+MinimumPulumiVersion+"\"\n", file)
	}
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), "Pulumi CLI](https://www.pulumi.com/docs/install/) "+MinimumPulumiVersion+" or later")
}
