// Command java writes the SDK for Java from the plugin's schema.
//
//	go run . DIR
//
// It is a module of its own, because the generator needs an older
// github.com/pulumi/pulumi/pkg than the plugin does.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pulumi/pulumi-java/pkg/codegen/java"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run . DIR")
		os.Exit(2)
	}
	if err := run(filepath.Join("..", "provider", "schema.json"), os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "java: %v\n", err)
		os.Exit(1)
	}
}

// run writes the SDK of the schema in file into dir, in place of what dir contains.
func run(file, dir string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var spec schema.PackageSpec
	if err := json.Unmarshal(text, &spec); err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	pkg, diagnostics, err := schema.BindSpec(spec, nil, schema.ValidationOptions{})
	if err != nil {
		return err
	}
	if len(diagnostics) > 0 {
		return fmt.Errorf("%s is not valid: %w", file, diagnostics)
	}
	files, err := java.GeneratePackage("kms-baseline", pkg, nil, nil, true, false)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
