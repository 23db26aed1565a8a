package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"

	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// cut is what the tests' packages and their helpers import.
var cut = engine.Cut{
	Services:  []string{"cloudtrail", "ec2", "iam", "kms", "meta", "organizations", "s3", "sts"},
	Libraries: []string{"account", "acmpca", "cloudformation"},
	Clients: []string{
		"account", "acmpca", "athena", "cloudformation", "cloudtrail", "cognitoidentityprovider", "directoryservice", "ec2",
		"elasticloadbalancingv2", "glue", "iam", "inspector2", "kms", "organizations", "outposts", "pinpoint", "s3", "ssm", "ssoadmin", "sts", "wafv2",
	},
	// Of EC2's tests, those of EBS: the others test what localaws does not have.
	Test: regexp.MustCompile(`^internal/(acctest/exports|service/(kms|s3|cloudtrail)/[^/]+|service/ec2/(ebs(_[^/]+)?|exports))_test\.go$`).MatchString,
}

// prepare copies the module, and makes the copy one that can be built by itself.
func prepare(module, upstream string) error {
	if err := cut.Trim(module, upstream); err != nil {
		return err
	}
	if err := narrow(upstream); err != nil {
		return err
	}
	sums, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(upstream, "go.sum"), sums, 0o644); err != nil {
		return err
	}
	mod := filepath.Join(upstream, "go.mod")
	text, err := os.ReadFile(mod)
	if err != nil {
		return err
	}
	// Newer versions of Go do not know the setting any more.
	text = regexp.MustCompile(`(?m)^godebug .*\n`).ReplaceAll(text, nil)
	return os.WriteFile(mod, text, 0o644)
}

// narrow makes the copy's provider register only the resources and data sources in
// $ACCEPTANCE_TYPES. Terraform asks for the schemas of all of them in every command, some
// fifteen for each step of a test.
func narrow(upstream string) error {
	const registered = `package conns

import (
	"os"
	"slices"
	"strings"
)

var acceptanceTypes = strings.Fields(os.Getenv("ACCEPTANCE_TYPES"))

func Registered(typeName string) bool { return slices.Contains(acceptanceTypes, typeName) }
`
	if err := os.WriteFile(filepath.Join(upstream, "internal", "conns", "acceptance.go"), []byte(registered), 0o644); err != nil {
		return err
	}
	loop := regexp.MustCompile(`(?m)^\t+typeName := \w+\.TypeName$`)
	for _, name := range []string{"provider.go", "fwprovider/provider.go"} {
		file := filepath.Join(upstream, "internal", "provider", name)
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if n := len(loop.FindAll(text, -1)); n != 2 {
			return fmt.Errorf("%s registers types in %d places, not in 2", name, n)
		}
		text = loop.ReplaceAll(text, []byte("$0\nif !conns.Registered(typeName) {\ncontinue\n}"))
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// nullProvider is what the tests need of another provider, hashicorp/null.
const nullProvider = `package main

import (
	"context"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/id"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hashicorp/terraform-plugin-sdk/v2/plugin"
)

func main() {
	nothing := func(context.Context, *schema.ResourceData, any) diag.Diagnostics { return nil }
	create := func(_ context.Context, d *schema.ResourceData, _ any) diag.Diagnostics {
		d.SetId(id.UniqueId())
		return nil
	}
	null := &schema.Resource{
		CreateContext: create, ReadContext: nothing, DeleteContext: nothing,
		Schema: map[string]*schema.Schema{"triggers": {Type: schema.TypeMap, Optional: true, ForceNew: true}},
	}
	provider := &schema.Provider{ResourcesMap: map[string]*schema.Resource{"null_resource": null}}
	plugin.Serve(&plugin.ServeOpts{ProviderFunc: func() *schema.Provider { return provider }})
}
`

// buildNull builds the provider hashicorp/null where terraform finds it without asking a registry,
// if $XDG_DATA_HOME is the folder data in dir.
func buildNull(ctx context.Context, dir, upstream string) error {
	source := filepath.Join(upstream, "internal", "null")
	if err := os.MkdirAll(source, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(source, "main.go"), []byte(nullProvider), 0o644); err != nil {
		return err
	}
	program := filepath.Join(dir, "data", "terraform", "plugins", "registry.terraform.io", "hashicorp", "null", "3.2.4",
		runtime.GOOS+"_"+runtime.GOARCH, "terraform-provider-null")
	build := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-o", program, ".")
	build.Dir, build.Stderr = source, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the provider null: %w", err)
	}
	return nil
}
