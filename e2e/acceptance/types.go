package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// typesOf returns a function that lists the resources and data sources that a test of the
// package pkg names: in its own text, in what that refers to in pkg and in helpers, or in testdata.
func typesOf(pkg, helpers string) (func(test string) []string, error) {
	tests, err := filepath.Glob(filepath.Join(pkg, "*_test.go"))
	if err != nil {
		return nil, err
	}
	shared, err := filepath.Glob(filepath.Join(helpers, "*.go"))
	if err != nil {
		return nil, err
	}
	declared := map[string]ast.Node{}
	for _, file := range slices.Concat(shared, tests) {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				declared[d.Name.Name] = d
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if values, ok := spec.(*ast.ValueSpec); ok {
						for _, name := range values.Names {
							declared[name.Name] = values
						}
					}
				}
			}
		}
	}
	typeName := regexp.MustCompile(`\baws_[a-z0-9_]+`)
	return func(test string) []string {
		seen, types := map[string]bool{}, map[string]bool{}
		var visit func(name string)
		visit = func(name string) {
			if declared[name] == nil || seen[name] {
				return
			}
			seen[name] = true
			ast.Inspect(declared[name], func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.Ident:
					visit(n.Name)
				case *ast.BasicLit:
					text := n.Value
					if folder := strings.Trim(text, "`\""); strings.HasPrefix(folder, "testdata/") {
						files, _ := filepath.Glob(filepath.Join(pkg, folder, "*.tf")) // the pattern is well formed
						for _, file := range files {
							data, _ := os.ReadFile(file) // without it, terraform names the missing type
							text += string(data)
						}
					}
					for _, found := range typeName.FindAllString(text, -1) {
						types[found] = true
					}
				}
				return true
			})
		}
		visit(test)
		return slices.Sorted(maps.Keys(types))
	}, nil
}
