// Command pulumi-resource-aws is the AWS provider plugin that the sandbox uses
// where the official one cannot be downloaded. It puts the Pulumi bridge over
// the Terraform AWS provider, whose code calls AWS, and offers the resources
// and functions in resources.go under the names that the pulumi-aws v6 SDK asks
// for. It is not a general AWS provider: whatever is not in the table is unknown
// to it.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"

	pfbridge "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
)

// schema is the package schema that the plugin returns, made from the
// resource table by `go test -run TestSchema -update`.
//
//go:embed schema.json
var schema []byte

func main() {
	ctx := context.Background()
	info, err := providerInfo(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "pulumi-resource-aws: %v\n", err)
		os.Exit(1)
	}
	pfbridge.MainWithMuxer(ctx, info.Name, info, schema)
}
