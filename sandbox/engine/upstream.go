package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Of these modules the provider is built from cut copies, in .sandbox/upstream, with
// which sandbox/provider/go.mod replaces them. A replaced module has no sum in go.sum.
var (
	// The fork of the Terraform AWS provider that is published for import.
	upstreamFork = pinnedModule{"github.com/upbound/terraform-provider-aws@v0.0.0-20250210124112-ca3a4c5ba291", "h1:Q8atmog81+eoPwwU+0ZI6MDaXDuBpWS+wvXvUtNdthA="}
	bridge       = pinnedModule{"github.com/pulumi/pulumi-terraform-bridge/v3@v3.100.0", "h1:L03nXHLprXuF0wIihoKFIjpE8oSPomiMayrRVDv1VgY="}
	// The AWS SDK's largest clients: uncut, EC2's takes longer to compile than any other package.
	ec2Client  = pinnedModule{"github.com/aws/aws-sdk-go-v2/service/ec2@v1.198.0", "h1:ivPJXmGlzAjgy0jLO9naExUWE8IM8lLRcRKLPBEx6Q0="}
	glueClient = pinnedModule{"github.com/aws/aws-sdk-go-v2/service/glue@v1.104.0", "h1:H6ZuOpWZpXqLieLZ2shNSJI+deobB1+FKL6plTOaqUo="}
)

// pinnedModule is a version of a module, and its checksum.
type pinnedModule struct{ version, sum string }

// path is the module's path.
func (m pinnedModule) path() string {
	path, _, _ := strings.Cut(m.version, "@")
	return path
}

const upstreamRelease = "5.82" // the release that upstreamFork precedes, from its CHANGELOG.md

// fetchUpstream puts the cut copies of the provider's modules in .sandbox/upstream.
func fetchUpstream(ctx context.Context, root, tmp string) error {
	types, err := providerTypes(root)
	if err != nil {
		return err
	}
	cut := filepath.Join(tmp, "upstream")
	terraform := filepath.Join(cut, "terraform") // first: what it mentions is left of the clients
	for _, c := range []struct {
		module pinnedModule
		cut    func(src string) error
	}{
		{upstreamFork, func(src string) error {
			return Cut{Services: keptServices, Clients: keptServices, Types: types}.Trim(src, terraform)
		}},
		{bridge, func(src string) error { return cutBridge(src, filepath.Join(cut, "bridge")) }},
		{ec2Client, func(src string) error { return cutClient(src, filepath.Join(cut, "ec2"), ec2Client.path(), terraform) }},
		{glueClient, func(src string) error {
			return cutClient(src, filepath.Join(cut, "glue"), glueClient.path(), terraform)
		}},
	} {
		source, err := downloadModule(ctx, tmp, c.module)
		if err != nil {
			return err
		}
		if err := c.cut(source); err != nil {
			return fmt.Errorf("cutting a copy of %s: %w", c.module.version, err)
		}
	}
	dst := filepath.Join(Dir(root), "upstream")
	if err := os.RemoveAll(dst); err != nil {
		return err
	}
	return os.Rename(cut, dst)
}

var terraformType = regexp.MustCompile(`"(aws_[a-z0-9_]+)"`)

// providerTypes are the resources and data sources of the sandbox's provider, as
// Terraform names them.
func providerTypes(root string) ([]string, error) {
	table, err := os.ReadFile(filepath.Join(root, "sandbox", "provider", "resources.go"))
	if err != nil {
		return nil, err
	}
	var types []string
	for _, m := range terraformType.FindAllSubmatch(table, -1) {
		types = append(types, string(m[1]))
	}
	return types, nil
}

// downloadModule returns the folder of a module in the module cache. tmp is a folder
// outside any module, so that no go.mod or go.sum is changed.
func downloadModule(ctx context.Context, tmp string, m pinnedModule) (string, error) {
	// The fork is not in the checksum database.
	out, err := runGo(ctx, tmp, []string{"GONOSUMDB=" + m.path()}, nil, "mod", "download", "-json", m.version)
	if err != nil {
		return "", err
	}
	var module struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &module); err != nil {
		return "", fmt.Errorf("reading what go mod download said: %w", err)
	}
	if module.Sum != m.sum {
		return "", fmt.Errorf("%s has the checksum %s, not %s: the module proxy served something else", m.version, module.Sum, m.sum)
	}
	return module.Dir, nil
}

// cutClient copies an AWS SDK client's module without the operations that the code in
// users does not mention.
func cutClient(src, dst, pkg, users string) error {
	if err := copyModule(src, dst, ".", isBuilt); err != nil {
		return err
	}
	used, err := mentionedBy(users, pkg)
	if err != nil {
		return err
	}
	if err := cutUnused(dst, used); err != nil {
		return err
	}
	for _, dir := range []string{users, dst} {
		names, err := mentionedBy(dir, pkg+"/types")
		if err != nil {
			return err
		}
		maps.Copy(used, names)
	}
	return cutUnused(filepath.Join(dst, "types"), used)
}

// cutBridge copies the Pulumi bridge's module without a function that the provider does
// not call: it imports the generators of Pulumi's SDKs.
func cutBridge(src, dst string) error {
	if err := copyModule(src, dst, ".", isBuilt); err != nil {
		return err
	}
	return os.Remove(filepath.Join(dst, "pkg", "pf", "tfbridge", "provider_mux.go"))
}

// isBuilt reports whether a file or folder of a module is needed to build it.
func isBuilt(rel string, isDir bool) bool {
	name := path.Base(rel)
	switch {
	case isDir:
		return name != "tests" && name != "testdata"
	case rel == "go.mod" || rel == "LICENSE" || rel == "LICENSE.txt":
		return true
	}
	return path.Ext(name) == ".go" && !strings.HasSuffix(name, "_test.go")
}
