// Command pulumi-resource-kms-baseline is the Pulumi plugin that gives the
// components of this repository to programs in other languages: YAML,
// TypeScript, Python and the rest. Go programs need no plugin; they import
// package components.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/securethecloud/kms-baseline/plugin/provider"
)

func main() {
	if slices.Equal(os.Args[1:], []string{"--version"}) {
		fmt.Println("pulumi-resource-kms-baseline v" + provider.Version())
		return
	}
	if err := provider.Run(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "pulumi-resource-kms-baseline: %v\n", err)
		os.Exit(1)
	}
}
