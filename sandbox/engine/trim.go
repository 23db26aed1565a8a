package engine

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// The Terraform AWS provider compiles some 240 services, which takes over 25
// minutes on two cores. These lists say what Trim leaves of it.
var (
	// keptServices are registered with the provider: they hold the resources
	// and data sources in sandbox/provider/resources.go.
	keptServices = []string{"athena", "cloudtrail", "ec2", "glue", "iam", "kms", "meta", "s3", "sts"}

	// keptLibraries are imported by kept services and not registered.
	keptLibraries = []string{"organizations"}

	// keptClients are the AWS SDK packages that kept code asks the connection
	// (internal/conns) for.
	keptClients = []string{
		"athena", "cloudformation", "cloudtrail", "ec2", "elasticloadbalancingv2", "glue", "iam", "kms", "organizations", "s3", "sts",
	}
)

const (
	upstreamModule  = "github.com/hashicorp/terraform-provider-aws"
	servicesDir     = "internal/service"
	servicesGenFile = "internal/provider/service_packages_gen.go"
	clientsGenFile  = "internal/conns/awsclient_gen.go"
)

// trimmedRoots are the top-level parts of the provider's module that are
// copied at all; the rest is documentation, examples and its main program.
var trimmedRoots = []string{"go.mod", "LICENSE", "internal", "names", "version", "xpprovider"}

// Trim copies the Terraform AWS provider's module from src to dst, which must
// not exist, and cuts the copy down to the services that the sandbox uses. The
// source is not changed. It fails where the module is not laid out as expected,
// so that another version of the provider is noticed and not half cut.
func Trim(src, dst string) error {
	for _, root := range trimmedRoots {
		if err := copyKept(src, dst, root); err != nil {
			return fmt.Errorf("copying the provider's module from %s: %w", src, err)
		}
	}
	for _, service := range slices.Concat(keptServices, keptLibraries) {
		if _, err := os.Stat(filepath.Join(dst, servicesDir, service)); err != nil {
			return fmt.Errorf("the provider's module in %s has no service %q: %w", src, service, err)
		}
	}
	if err := rewrite(filepath.Join(dst, servicesGenFile), cutServices); err != nil {
		return err
	}
	return rewrite(filepath.Join(dst, clientsGenFile), cutClients)
}

// copyKept copies one file or folder, without tests and without the services
// that are not kept.
func copyKept(src, dst, root string) error {
	return filepath.WalkDir(filepath.Join(src, root), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if dropDir(filepath.ToSlash(rel)) {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(dst, rel), 0o755)
		}
		if strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		// The module cache is read-only; the copy is not.
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dst, rel)), 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dst, rel), data, 0o644)
	})
}

func dropDir(rel string) bool {
	switch path.Base(rel) {
	case "testdata", "test-fixtures":
		return true
	}
	if rel == "internal/acctest" || rel == "internal/generate" {
		return true
	}
	return path.Dir(rel) == servicesDir &&
		!slices.Contains(keptServices, path.Base(rel)) && !slices.Contains(keptLibraries, path.Base(rel))
}

// rewrite parses a Go file, lets cut change it and writes it back. A cut that
// leaves the file as it was is an error.
func rewrite(file string, cut func(*ast.File) error) error {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("reading the provider's generated code: %w", err)
	}
	if err := cut(f); err != nil {
		return fmt.Errorf("cutting %s: %w", file, err)
	}
	var buf bytes.Buffer
	if err := format.Node(&buf, fset, f); err != nil {
		return fmt.Errorf("printing %s: %w", file, err)
	}
	return os.WriteFile(file, buf.Bytes(), 0o644)
}

// cutServices keeps, in the list of service packages, the registered ones.
func cutServices(f *ast.File) error {
	dropped := cutImports(f, upstreamModule+"/"+servicesDir+"/", keptServices)
	if len(dropped) == 0 {
		return errors.New("no service import found")
	}
	cut := 0
	ast.Inspect(f, func(n ast.Node) bool {
		list, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		before := len(list.Elts)
		list.Elts = slices.DeleteFunc(list.Elts, func(e ast.Expr) bool { return uses(e, dropped) })
		cut += before - len(list.Elts)
		return true
	})
	if cut != len(dropped) {
		return fmt.Errorf("%d service imports were dropped, but %d list entries", len(dropped), cut)
	}
	return nil
}

// cutClients keeps, among the connection's accessors, those for kept clients.
func cutClients(f *ast.File) error {
	dropped := cutImports(f, "github.com/aws/aws-sdk-go-v2/service/", keptClients)
	if len(dropped) == 0 {
		return errors.New("no client import found")
	}
	f.Decls = slices.DeleteFunc(f.Decls, func(d ast.Decl) bool {
		fn, ok := d.(*ast.FuncDecl)
		return ok && uses(fn, dropped)
	})
	return nil
}

// cutImports drops the imports below prefix that are not kept, and returns the
// names by which the file calls them.
func cutImports(f *ast.File, prefix string, kept []string) map[string]bool {
	dropped := map[string]bool{}
	for _, decl := range f.Decls {
		imports, ok := decl.(*ast.GenDecl)
		if !ok || imports.Tok != token.IMPORT {
			continue
		}
		imports.Specs = slices.DeleteFunc(imports.Specs, func(s ast.Spec) bool {
			spec, ok := s.(*ast.ImportSpec)
			if !ok {
				return false
			}
			importPath := strings.Trim(spec.Path.Value, `"`)
			pkg, ok := strings.CutPrefix(importPath, prefix)
			if !ok || slices.Contains(kept, pkg) {
				return false
			}
			name := path.Base(pkg)
			if spec.Name != nil {
				name = spec.Name.Name
			}
			dropped[name] = true
			return true
		})
	}
	return dropped
}

// uses tells whether a package of the given names is referred to below n.
func uses(n ast.Node, packages map[string]bool) bool {
	found := false
	ast.Inspect(n, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && packages[id.Name] {
				found = true
			}
		}
		return !found
	})
	return found
}
