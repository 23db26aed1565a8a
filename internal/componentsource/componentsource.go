// Package componentsource reads the source of a package of components: its types,
// their fields, the properties that other languages know the fields by, and the doc
// comments. docs/components.md and the plugin's schema are both made from it.
package componentsource

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// Package is a documented package of components.
type Package struct {
	*doc.Package
	// Types are the exported types in the order of their names.
	Types []*Type
}

// Type is an exported type. Fields is empty for a type that is no struct.
type Type struct {
	*doc.Type
	Fields []Field
}

// Field is an exported field of a struct.
type Field struct {
	Name string
	// Property is the name in YAML, TypeScript and Python programs. It is empty for a
	// field that exists in Go only.
	Property string
	// Doc is the field's comment. A field without one shares the comment of the field
	// before it.
	Doc  string
	Type ast.Expr
}

// Read reads the package in the folder dir, without its tests.
func Read(dir, importPath string) (*Package, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("reading the components' source: %w", err)
		}
		files = append(files, f)
	}
	pkg, err := doc.NewFromFiles(fset, files, importPath)
	if err != nil {
		return nil, fmt.Errorf("reading the components' comments: %w", err)
	}
	p := &Package{Package: pkg}
	for _, t := range pkg.Types {
		fields, err := fieldsOf(t)
		if err != nil {
			return nil, err
		}
		p.Types = append(p.Types, &Type{Type: t, Fields: fields})
	}
	return p, nil
}

// Type returns the type with this name, or nil.
func (p *Package) Type(name string) *Type {
	for _, t := range p.Types {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// Func returns the function with this name that returns a t, or nil.
func (t *Type) Func(name string) *doc.Func {
	for _, f := range t.Funcs {
		if f.Name == name {
			return f
		}
	}
	return nil
}

func fieldsOf(t *doc.Type) ([]Field, error) {
	var fields []Field
	for _, spec := range t.Decl.Specs {
		s, ok := spec.(*ast.TypeSpec).Type.(*ast.StructType)
		if !ok {
			continue
		}
		text := ""
		for _, f := range s.Fields.List {
			if d := f.Doc.Text() + f.Comment.Text(); d != "" {
				text = d
			}
			property, err := propertyOf(f)
			if err != nil {
				return nil, fmt.Errorf("the tag of a field of %s: %w", t.Name, err)
			}
			for _, name := range f.Names {
				if name.IsExported() {
					fields = append(fields, Field{Name: name.Name, Property: property, Doc: text, Type: f.Type})
				}
			}
		}
	}
	return fields, nil
}

func propertyOf(f *ast.Field) (string, error) {
	if f.Tag == nil {
		return "", nil
	}
	tag, err := strconv.Unquote(f.Tag.Value)
	if err != nil {
		return "", err
	}
	property, _, _ := strings.Cut(reflect.StructTag(tag).Get("pulumi"), ",")
	return property, nil
}
