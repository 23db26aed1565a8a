package engine

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const servicesGen = `package provider

import (
	"context"

	"github.com/hashicorp/terraform-provider-aws/internal/conns"
	"github.com/hashicorp/terraform-provider-aws/internal/service/account"
	"github.com/hashicorp/terraform-provider-aws/internal/service/kms"
	"github.com/hashicorp/terraform-provider-aws/internal/service/s3"
)

func servicePackages(ctx context.Context) []conns.ServicePackage {
	return []conns.ServicePackage{
		account.ServicePackage(ctx),
		kms.ServicePackage(ctx),
		s3.ServicePackage(ctx),
	}
}
`

const clientsGen = `package conns

import (
	"context"

	account_sdkv2 "github.com/aws/aws-sdk-go-v2/service/account"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	kms_sdkv2 "github.com/aws/aws-sdk-go-v2/service/kms"
)

func (c *AWSClient) ACMClient(ctx context.Context) *acm.Client { return nil }

func (c *AWSClient) AccountClient(ctx context.Context) *account_sdkv2.Client { return nil }

func (c *AWSClient) KMSClient(ctx context.Context) *kms_sdkv2.Client { return nil }
`

const kmsGen = `package kms

import (
	"context"

	"github.com/hashicorp/terraform-provider-aws/internal/conns"
	"github.com/hashicorp/terraform-provider-aws/internal/types"
	"github.com/hashicorp/terraform-provider-aws/names"
)

type servicePackage struct{}

func (p *servicePackage) FrameworkResources(ctx context.Context) []*types.ServicePackageFrameworkResource {
	return []*types.ServicePackageFrameworkResource{{Factory: newAliasResource, Name: "Alias"}}
}

func (p *servicePackage) SDKResources(ctx context.Context) []*types.ServicePackageSDKResource {
	return []*types.ServicePackageSDKResource{
		{
			Factory:  resourceGrant,
			TypeName: "aws_kms_grant",
		},
		{
			Factory:  resourceKey,
			TypeName: "aws_kms_key",
			Tags: &types.ServicePackageResourceTags{
				IdentifierAttribute: names.AttrID,
			},
		},
	}
}

func ServicePackage(ctx context.Context) conns.ServicePackage { return &servicePackage{} }
`

// upstreamModuleFiles is a module laid out as the provider's is, in small.
func upstreamModuleFiles() map[string]string {
	files := map[string]string{
		"go.mod":                               "module " + upstreamModule,
		"LICENSE":                              "MPL",
		"main.go":                              "package main",
		"website/docs/x.md":                    "docs",
		"names/data/names_data.hcl":            "embedded",
		"version/VERSION":                      "1",
		"xpprovider/xpprovider.go":             "package xpprovider",
		"internal/acctest/acctest.go":          "package acctest",
		"internal/conns/conns.go":              "package conns",
		"internal/conns/conns_test.go":         "package conns",
		"internal/service/account/account.go":  "package account",
		"internal/service/kms/testdata/key.tf": "tf",
		servicesGenFile:                        servicesGen,
		clientsGenFile:                         clientsGen,
	}
	for _, service := range keptServices {
		files["internal/service/"+service+"/x.go"] = "package " + service
		files["internal/service/"+service+"/"+serviceGenFile] = "package " + service
	}
	maps.Copy(files, map[string]string{
		"internal/service/kms/" + serviceGenFile: kmsGen,
		"internal/service/kms/key.go":            "package kms\n\nfunc resourceKey() { helpKey() }",
		"internal/service/kms/help.go":           "package kms\n\nfunc helpKey() {}\n\nfunc helpGrant() {}",
		"internal/service/kms/grant.go":          "package kms\n\nfunc resourceGrant() { helpGrant() }",
		"internal/service/kms/sweep.go":          "package kms\n\nfunc RegisterSweepers() {}",
	})
	return files
}

// sandboxCut is the sandbox's cut, with one resource.
var sandboxCut = Cut{Services: keptServices, Clients: keptServices, Types: []string{"aws_kms_key"}}

func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o444))
	}
	return dir
}

func TestTrim_KeepsWhatTheSandboxUses(t *testing.T) {
	t.Parallel()
	dst := filepath.Join(t.TempDir(), "cut")
	require.NoError(t, sandboxCut.Trim(writeTree(t, upstreamModuleFiles()), dst))
	for name, kept := range map[string]bool{
		"go.mod":                        true,
		"LICENSE":                       true,
		"names/data/names_data.hcl":     true,
		"internal/conns/conns.go":       true,
		"internal/service/kms/key.go":   true,
		"internal/service/kms/help.go":  true,
		"internal/service/kms/grant.go": false,
		"internal/service/kms/sweep.go": false,
		"main.go":                       false,
		"website":                       false,
		"internal/acctest":              false,
		"internal/conns/conns_test.go":  false,
		"internal/service/account":      false,
		"internal/service/kms/testdata": false,
	} {
		_, err := os.Stat(filepath.Join(dst, filepath.FromSlash(name)))
		require.Equal(t, kept, err == nil, name)
	}
}

func TestCut_KeepsTheTestsThatItNames(t *testing.T) {
	t.Parallel()
	dst := filepath.Join(t.TempDir(), "cut")
	files := upstreamModuleFiles()
	files["internal/service/kms/key_test.go"] = "package kms_test"
	cut := Cut{Services: []string{"kms"}, Clients: []string{"kms"}, Test: func(rel string) bool { return rel == "internal/service/kms/key_test.go" }}
	require.NoError(t, cut.Trim(writeTree(t, files), dst))
	for name, kept := range map[string]bool{
		"internal/service/kms/key_test.go":     true,
		"internal/service/kms/testdata/key.tf": true,
		"internal/service/kms/grant.go":        true,
		"internal/service/kms/sweep.go":        true,
		"internal/acctest/acctest.go":          true,
		"internal/conns/conns_test.go":         false,
		"internal/service/s3":                  false,
	} {
		_, err := os.Stat(filepath.Join(dst, filepath.FromSlash(name)))
		require.Equal(t, kept, err == nil, name)
	}
}

func TestTrim_CutsTheGeneratedFiles(t *testing.T) {
	t.Parallel()
	dst := filepath.Join(t.TempDir(), "cut")
	require.NoError(t, sandboxCut.Trim(writeTree(t, upstreamModuleFiles()), dst))

	services, err := os.ReadFile(filepath.Join(dst, servicesGenFile))
	require.NoError(t, err)
	require.NotContains(t, string(services), "account")
	require.Contains(t, string(services), "kms.ServicePackage(ctx)")
	require.Contains(t, string(services), "s3.ServicePackage(ctx)")
	require.Contains(t, string(services), `internal/conns"`)

	clients, err := os.ReadFile(filepath.Join(dst, clientsGenFile))
	require.NoError(t, err)
	require.NotContains(t, string(clients), "account")
	require.NotContains(t, string(clients), "acm", "an import without a name of its own")
	require.Contains(t, string(clients), "KMSClient(ctx context.Context) *kms_sdkv2.Client")

	kms, err := os.ReadFile(filepath.Join(dst, "internal", "service", "kms", serviceGenFile))
	require.NoError(t, err)
	require.Contains(t, string(kms), "resourceKey")
	require.NotContains(t, string(kms), "resourceGrant")
	require.NotContains(t, string(kms), "newAliasResource", "its type is not one of those that stay")
	help, err := os.ReadFile(filepath.Join(dst, "internal", "service", "kms", "help.go"))
	require.NoError(t, err)
	require.Equal(t, "package kms\n\nfunc helpKey() {}\n", string(help))
}

func TestTrim_RefusesAnotherLayout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(files map[string]string)
		want   string
	}{
		"a service is gone": {
			func(files map[string]string) {
				maps.DeleteFunc(files, func(name, _ string) bool { return strings.HasPrefix(name, "internal/service/kms/") })
			},
			`has no service "kms"`,
		},
		"the list of services is gone": {
			func(files map[string]string) { delete(files, servicesGenFile) },
			"reading the provider's generated code",
		},
		"the list of services is something else": {
			func(files map[string]string) { files[servicesGenFile] = "package provider" },
			"no service import found",
		},
		"services are registered in another way": {
			func(files map[string]string) {
				files[servicesGenFile] = `package provider

import "github.com/hashicorp/terraform-provider-aws/internal/service/account"

func init() { register(account.ServicePackage) }
`
			},
			"1 service imports were dropped, but 0 list entries",
		},
		"the clients are something else": {
			func(files map[string]string) { files[clientsGenFile] = "package conns" },
			"no client import found",
		},
		"not Go": {
			func(files map[string]string) { files[clientsGenFile] = "{" },
			"reading the provider's generated code",
		},
		"no module at all": {
			func(files map[string]string) { clear(files) },
			"copying the provider's module",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := upstreamModuleFiles()
			c.change(files)
			err := sandboxCut.Trim(writeTree(t, files), filepath.Join(t.TempDir(), "cut"))
			require.ErrorContains(t, err, c.want)
		})
	}
}
