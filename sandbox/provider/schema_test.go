package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"testing"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfgen"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write schema.json anew from the resource table")

// TestSchema_IsMadeFromTheTable fails where resources.go has changed and
// schema.json has not. That the schema agrees with the SDK is tested beside the
// engine package, which needs no build of the provider.
//
//nolint:paralleltest // it sets the process's environment
func TestSchema_IsMadeFromTheTable(t *testing.T) {
	t.Setenv("PULUMI_SKIP_MISSING_MAPPING_ERROR", "true") // the table is a choice, not all of upstream
	info, err := providerInfo(t.Context())
	require.NoError(t, err)
	made, err := tfgen.GenerateSchemaWithOptions(tfgen.GenerateSchemaOptions{
		ProviderInfo:    info,
		DiagnosticsSink: diag.DefaultSink(io.Discard, io.Discard, diag.FormatOptions{Color: colors.Never}),
		XInMemoryDocs:   true,
	})
	require.NoError(t, err)
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetIndent("", "\t")
	enc.SetEscapeHTML(false)
	require.NoError(t, enc.Encode(made.PackageSpec))
	if *update {
		require.NoError(t, os.WriteFile("schema.json", want.Bytes(), 0o644))
		return
	}
	require.Equal(t, want.String(), string(schema), "run `go test -run TestSchema -update .` and build the plugin again")
}

// TestProviderInfo_IsValid runs the bridge's own checks, which fail on a field
// override that names no field.
func TestProviderInfo_IsValid(t *testing.T) {
	t.Parallel()
	info, err := providerInfo(t.Context())
	require.NoError(t, err)
	require.NoError(t, info.Validate(t.Context()))
	require.NoError(t, info.P.InternalValidate())
}

// TestFields_NameResourcesOfTheTable keeps overrides from outliving their resource.
func TestFields_NameResourcesOfTheTable(t *testing.T) {
	t.Parallel()
	for name := range fields {
		require.Contains(t, resources, name)
	}
	for name := range outputs {
		require.Contains(t, resources, name)
	}
}

func TestDropUnsetNumbers(t *testing.T) {
	t.Parallel()
	rule := func(expiration map[string]any) map[string]any {
		return map[string]any{"rules": []any{map[string]any{"id": "", "noncurrentVersionExpiration": expiration}}}
	}
	for name, c := range map[string]struct{ given, want map[string]any }{
		"unset":     {map[string]any{"noncurrentDays": 30, "newerNoncurrentVersions": ""}, map[string]any{"noncurrentDays": 30}},
		"set":       {map[string]any{"newerNoncurrentVersions": 3}, map[string]any{"newerNoncurrentVersions": 3}},
		"not there": {map[string]any{"noncurrentDays": 30}, map[string]any{"noncurrentDays": 30}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := dropUnsetNumbers(t.Context(), resource.NewPropertyMapFromMap(rule(c.given)))
			require.NoError(t, err)
			require.Equal(t, resource.NewPropertyMapFromMap(rule(c.want)), got, "other empty texts stay")
		})
	}
}
