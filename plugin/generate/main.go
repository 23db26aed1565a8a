// Command generate writes what is made from the components: the schema, and
// from the schema an SDK for another language: go, nodejs or python.
//
//	generate schema FILE
//	generate LANGUAGE DIR
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	gogen "github.com/pulumi/pulumi/pkg/v3/codegen/go"
	"github.com/pulumi/pulumi/pkg/v3/codegen/nodejs"
	"github.com/pulumi/pulumi/pkg/v3/codegen/python"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"

	"github.com/securethecloud/kms-baseline/plugin/provider"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "generate: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: generate schema FILE, or generate LANGUAGE DIR")
	}
	if args[0] == "schema" {
		return writeSchema(args[1])
	}
	return writeSDK(args[0], args[1])
}

// writeSchema is run by go generate in the folder of package provider.
func writeSchema(file string) error {
	text, err := provider.GenerateSchema(context.Background(), filepath.Join("..", "..", "components"))
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

func writeSDK(language, dir string) error {
	var spec schema.PackageSpec
	if err := json.Unmarshal(provider.Schema(), &spec); err != nil {
		return fmt.Errorf("reading the schema: %w", err)
	}
	pkg, diagnostics, err := schema.BindSpec(spec, schema.NewNullLoader(), schema.ValidationOptions{})
	if err != nil {
		return err
	}
	if len(diagnostics) > 0 {
		return fmt.Errorf("the schema is not valid: %w", diagnostics)
	}
	// No loader: the schema refers to no other package.
	var files map[string][]byte
	switch language {
	case "go":
		files, err = gogen.GeneratePackage("kms-baseline", pkg, nil)
	case "nodejs":
		files, err = nodejs.GeneratePackage("kms-baseline", pkg, nil, nil, true, nil)
	case "python":
		files, err = python.GeneratePackage("kms-baseline", pkg, nil, nil)
	default:
		err = fmt.Errorf("%q is not a language that there is an SDK for: give go, nodejs or python", language)
	}
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
