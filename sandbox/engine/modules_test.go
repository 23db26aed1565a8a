package engine

import (
	"cmp"
	"encoding/json"
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// ofItsOwn are the modules whose version belongs to the program that is built: the
// Terraform provider is to call AWS with the AWS SDK of its release, and the bridge
// and the YAML host compile only with the Pulumi packages of theirs.
var ofItsOwn = regexp.MustCompile(`^github\.com/(aws/aws-sdk-go|aws/smithy-go|hashicorp/|pulumi/|zclconf/)|terraform`)

// TestModules_ShareVersions fails where two programs of the sandbox would compile
// one dependency in two versions, which a first build pays for.
func TestModules_ShareVersions(t *testing.T) {
	t.Parallel()
	type versions map[string]string // by module
	read := func(dir string) versions {
		cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
		cmd.Dir = dir
		out, err := cmd.Output()
		require.NoError(t, err)
		var file struct {
			Require []struct{ Path, Version string }
		}
		require.NoError(t, json.Unmarshal(out, &file))
		v := versions{}
		for _, m := range file.Require {
			v[m.Path] = m.Version
		}
		return v
	}
	root, engine, provider := read("../.."), read("../pulumi"), read("../provider")
	for _, m := range []pinnedModule{bridge, ec2Client, glueClient} {
		require.Equal(t, m.path()+"@"+provider[m.path()], m.version, "the cut copy is not of the version in sandbox/provider/go.mod")
	}
	for module, version := range root {
		require.Equal(t, version, cmp.Or(engine[module], version), "%s in go.mod and in sandbox/pulumi/go.mod", module)
	}
	for _, dir := range []string{"../provider", "../yaml"} {
		for module, version := range read(dir) {
			if ofItsOwn.MatchString(module) {
				continue
			}
			require.Equal(t, cmp.Or(engine[module], root[module], version), version, "%s in %s/go.mod and in the engine's or this project's", module, dir)
		}
	}
}
