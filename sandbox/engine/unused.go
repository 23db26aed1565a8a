package engine

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// cutUnused deletes declarations from the package in dir. It keeps those in used, the names
// that the package's users mention, and what these declarations mention in turn. It compares
// names without regard to scope or type: it may keep a declaration that is not needed, and
// deletes none that is. An API operation, which is a method of Client, stays if its name is
// mentioned; other methods stay with their type.
func cutUnused(dir string, used map[string]bool) error {
	files := map[string]*ast.File{}
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	declared := map[string][]ast.Node{}
	for _, name := range names {
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("reading a package to cut: %w", err)
		}
		files[name] = f
		for _, d := range f.Decls {
			declare(declared, d)
		}
	}
	kept := map[ast.Node]bool{}
	for next := append(slices.Collect(maps.Keys(used)), "init"); len(next) > 0; {
		name := next[len(next)-1]
		next = next[:len(next)-1]
		for _, n := range declared[name] {
			kept[n] = true
			next = slices.AppendSeq(next, maps.Keys(mentioned(n)))
		}
		delete(declared, name)
	}
	for name, f := range files {
		keepOnly(f, kept)
		cutUnusedImports(f)
		if len(f.Decls) == 0 {
			if err := os.Remove(name); err != nil {
				return err
			}
			continue
		}
		if err := printFile(name, fset, f); err != nil {
			return err
		}
	}
	return nil
}

// declare adds d, or its parts where one can stay without the others, to the nodes of
// each name that it declares. Assertions, the variables named _, have none.
func declare(declared map[string][]ast.Node, d ast.Decl) {
	add := func(n ast.Node, ids ...*ast.Ident) {
		for _, id := range ids {
			if id.Name != "_" {
				declared[id.Name] = append(declared[id.Name], n)
			}
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		name := d.Name
		if receiver := receiverType(d); receiver != nil && receiver.Name != "Client" {
			name = receiver
		}
		add(d, name)
	case *ast.GenDecl:
		for _, s := range d.Specs {
			var n ast.Node = s
			if d.Tok == token.CONST { // iota counts all of them
				n = d
			}
			switch s := s.(type) {
			case *ast.TypeSpec:
				add(n, s.Name)
			case *ast.ValueSpec:
				add(n, s.Names...)
			}
		}
	}
}

// receiverType is the name of a method's receiver type, nil for a function.
func receiverType(d *ast.FuncDecl) *ast.Ident {
	if d.Recv == nil {
		return nil
	}
	var receiver *ast.Ident
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && receiver == nil {
			receiver = id
		}
		return receiver == nil
	})
	return receiver
}

// mentioned are the identifiers below n.
func mentioned(n ast.Node) map[string]bool {
	names := map[string]bool{}
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			names[id.Name] = true
		}
		return true
	})
	return names
}

// keepOnly deletes the declarations of f, except imports, that are not kept.
func keepOnly(f *ast.File, kept map[ast.Node]bool) {
	f.Decls = slices.DeleteFunc(f.Decls, func(d ast.Decl) bool {
		g, ok := d.(*ast.GenDecl)
		switch {
		case !ok || g.Tok == token.CONST:
			return !kept[d]
		case g.Tok == token.IMPORT:
			return false
		}
		g.Specs = slices.DeleteFunc(g.Specs, func(s ast.Spec) bool { return !kept[s] })
		return len(g.Specs) == 0
	})
}

// cutUnusedImports deletes the imports that nothing in f refers to.
func cutUnusedImports(f *ast.File) {
	packages := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok {
				packages[id.Name] = true
			}
		}
		return true
	})
	f.Decls = slices.DeleteFunc(f.Decls, func(d ast.Decl) bool {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.IMPORT {
			return false
		}
		g.Specs = slices.DeleteFunc(g.Specs, func(s ast.Spec) bool {
			return !slices.ContainsFunc(importNames(s.(*ast.ImportSpec)), func(name string) bool { return name == "_" || packages[name] })
		})
		return len(g.Specs) == 0
	})
}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// importNames are the names that a file may call an imported package by. A last part
// such as v4 may be the package's name or its module's version.
func importNames(spec *ast.ImportSpec) []string {
	if spec.Name != nil {
		return []string{spec.Name.Name}
	}
	p := importPath(spec)
	names := []string{strings.TrimPrefix(path.Base(p), "go-")}
	if majorVersion.MatchString(names[0]) {
		names = append(names, strings.TrimPrefix(path.Base(path.Dir(p)), "go-"))
	}
	return names
}

func importPath(spec *ast.ImportSpec) string { return strings.Trim(spec.Path.Value, `"`) }

// mentionedBy are the identifiers in the Go files below dir that import a package.
func mentionedBy(dir, pkg string) (map[string]bool, error) {
	names := map[string]bool{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".go" {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(f.Imports, func(s *ast.ImportSpec) bool { return importPath(s) == pkg }) {
			maps.Copy(names, mentioned(f))
		}
		return nil
	})
	return names, err
}
