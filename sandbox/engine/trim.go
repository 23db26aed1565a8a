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

// keptServices are the services of the resources and data sources in
// sandbox/provider/resources.go. All of the Terraform AWS provider's some 240 services take over
// 25 minutes to compile on two cores. Kept code asks the connection (internal/conns) for no
// other clients than those of these services.
var keptServices = []string{"athena", "cloudtrail", "ec2", "glue", "iam", "kms", "meta", "s3", "sts"}

const (
	upstreamModule  = "github.com/hashicorp/terraform-provider-aws"
	servicesDir     = "internal/service"
	servicesGenFile = "internal/provider/service_packages_gen.go"
	serviceGenFile  = "service_package_gen.go" // in the folder of each service
	clientsGenFile  = "internal/conns/awsclient_gen.go"
)

// trimmedRoots are the top-level parts of the provider's module that are
// copied at all; the rest is documentation, examples and its main program.
var trimmedRoots = []string{"go.mod", "LICENSE", "internal", "names", "version", "xpprovider"}

// A Cut lists what is left of the provider: services that are registered with it,
// libraries that these import, and AWS SDK packages that kept code asks the connection for.
type Cut struct {
	Services, Libraries, Clients []string

	// Types are the resources and data sources that stay of a service that has one
	// of them. Of the other services, and if Types is empty, all stay.
	Types []string

	// Test reports whether a test file stays, by its path in the module. With it, so do
	// the acceptance tests' helpers and data. Without, no test stays.
	Test func(rel string) bool
}

// Trim copies the Terraform AWS provider's module from src to dst, which must
// not exist, and cuts the copy down. The source is not changed. It fails where the
// module is not laid out as expected, so that another version of the provider is
// noticed and not half cut.
func (c Cut) Trim(src, dst string) error {
	for _, root := range trimmedRoots {
		if err := copyModule(src, dst, root, c.keeps); err != nil {
			return fmt.Errorf("copying the provider's module from %s: %w", src, err)
		}
	}
	for _, service := range slices.Concat(c.Services, c.Libraries) {
		if _, err := os.Stat(filepath.Join(dst, servicesDir, service)); err != nil {
			return fmt.Errorf("the provider's module in %s has no service %q: %w", src, service, err)
		}
	}
	if err := rewrite(filepath.Join(dst, servicesGenFile), c.cutServices); err != nil {
		return err
	}
	if err := rewrite(filepath.Join(dst, clientsGenFile), c.cutClients); err != nil {
		return err
	}
	if len(c.Types) == 0 {
		return nil
	}
	for _, service := range c.Services {
		dir := filepath.Join(dst, servicesDir, service)
		if err := rewrite(filepath.Join(dir, serviceGenFile), c.cutTypes); err != nil {
			return err
		}
		used, err := mentionedBy(dst, upstreamModule+"/"+servicesDir+"/"+service)
		if err != nil {
			return err
		}
		if err := cutUnused(dir, used); err != nil {
			return err
		}
	}
	return nil
}

// keeps reports whether a file or folder of the module is copied.
func (c Cut) keeps(rel string, isDir bool) bool {
	switch {
	case isDir:
		return !c.dropDir(rel)
	case strings.HasSuffix(rel, "_test.go"):
		return c.Test != nil && c.Test(rel)
	}
	return path.Base(rel) != "sweep.go" || c.Test != nil // cleans up after acceptance tests
}

// copyModule copies the file or folder root of a module, as far as keep says; it asks for
// paths in the module.
func copyModule(src, dst, root string, keep func(rel string, isDir bool) bool) error {
	return filepath.WalkDir(filepath.Join(src, root), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, name)
		if err != nil {
			return err
		}
		switch kept := keep(filepath.ToSlash(rel), d.IsDir()); {
		case !kept && d.IsDir():
			return fs.SkipDir
		case !kept:
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(dst, rel), 0o755)
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

func (c Cut) dropDir(rel string) bool {
	switch {
	case rel == "internal/generate":
		return true
	case rel == "internal/acctest" || path.Base(rel) == "testdata" || path.Base(rel) == "test-fixtures":
		return c.Test == nil
	}
	return path.Dir(rel) == servicesDir &&
		!slices.Contains(c.Services, path.Base(rel)) && !slices.Contains(c.Libraries, path.Base(rel))
}

// rewrite parses a Go file, lets cut change it and writes it back.
func rewrite(file string, cut func(*ast.File) error) error {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("reading the provider's generated code: %w", err)
	}
	if err := cut(f); err != nil {
		return fmt.Errorf("cutting %s: %w", file, err)
	}
	return printFile(file, fset, f)
}

func printFile(file string, fset *token.FileSet, f *ast.File) error {
	var buf bytes.Buffer
	if err := format.Node(&buf, fset, f); err != nil {
		return fmt.Errorf("printing %s: %w", file, err)
	}
	return os.WriteFile(file, buf.Bytes(), 0o644)
}

// cutServices keeps, in the list of service packages, the registered ones.
func (c Cut) cutServices(f *ast.File) error {
	dropped := cutImports(f, upstreamModule+"/"+servicesDir+"/", c.Services)
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
func (c Cut) cutClients(f *ast.File) error {
	dropped := cutImports(f, "github.com/aws/aws-sdk-go-v2/service/", c.Clients)
	if len(dropped) == 0 {
		return errors.New("no client import found")
	}
	f.Decls = slices.DeleteFunc(f.Decls, func(d ast.Decl) bool {
		fn, ok := d.(*ast.FuncDecl)
		return ok && uses(fn, dropped)
	})
	return nil
}

// cutTypes keeps, in a service's lists of resources and data sources, those in c.Types.
func (c Cut) cutTypes(f *ast.File) error {
	isKept := func(entry ast.Expr) bool {
		found := false
		ast.Inspect(entry, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			found = found || ok && slices.Contains(c.Types, strings.Trim(literal.Value, `"`))
			return !found
		})
		return found
	}
	var lists []*ast.CompositeLit
	ast.Inspect(f, func(n ast.Node) bool {
		if list, ok := n.(*ast.CompositeLit); ok {
			if _, ok := list.Type.(*ast.ArrayType); ok {
				lists = append(lists, list)
			}
		}
		return true
	})
	// A service of the plugin framework alone does not name its types here.
	if !slices.ContainsFunc(lists, func(l *ast.CompositeLit) bool { return slices.ContainsFunc(l.Elts, isKept) }) {
		return nil
	}
	for _, l := range lists {
		l.Elts = slices.DeleteFunc(l.Elts, func(e ast.Expr) bool { return !isKept(e) })
	}
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
			pkg, ok := strings.CutPrefix(importPath(spec), prefix)
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
