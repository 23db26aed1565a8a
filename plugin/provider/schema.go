package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"
)

// GenerateSchema makes the package's schema: the shapes from the Go types of
// package components, the descriptions and what may be an output from its
// source, which is in the folder dir.
func GenerateSchema(ctx context.Context, dir string) ([]byte, error) {
	bare, err := inferred()
	if err != nil {
		return nil, err
	}
	spec, err := p.GetSchema(ctx, Name, Version(), bare)
	if err != nil {
		return nil, fmt.Errorf("inferring the schema: %w", err)
	}
	src, err := readSource(dir)
	if err != nil {
		return nil, err
	}
	for token, r := range spec.Resources {
		name := lastPart(token)
		r.Description = src.describe(name)
		if err := src.complete(name, r.Properties, false); err != nil {
			return nil, err
		}
		if err := src.complete(name+"Args", r.InputProperties, true); err != nil {
			return nil, err
		}
		if slices.Contains(needKey, name) {
			r.RequiredInputs = append(r.RequiredInputs, "kmsKeyArn")
			slices.Sort(r.RequiredInputs)
		}
		spec.Resources[token] = r
	}
	for token, t := range spec.Types {
		name := lastPart(token)
		t.Description = src.describe(name)
		if err := src.complete(name, t.Properties, true); err != nil {
			return nil, err
		}
		spec.Types[token] = t
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(spec); err != nil {
		return nil, err
	}
	// The arguments of a component within another component's are a type of their own in
	// the schema. Its name may not be that of the component's own arguments, which
	// every language makes of the component's name.
	return argsType.ReplaceAll(out.Bytes(), []byte(`$1:index:${2}Settings"`)), nil
}

// needKey are the components whose kmsKeyArn is required. Go's type cannot say so:
// within a baseline it has a default.
var needKey = []string{"EBSDefaultEncryption", "EncryptedBucket"}

var argsType = regexp.MustCompile(`(` + Name + `):index:(\w+)Args"`)

func lastPart(token string) string { return token[strings.LastIndex(token, ":")+1:] }

// source is the documented types of package components.
type source struct {
	pkg    *doc.Package
	fields map[string]map[string]field // type -> property -> field
	names  map[string]string           // field -> property
}

type field struct {
	name  string
	doc   string
	input bool // it, or what its maps hold, may be an output of another resource
	maps  int  // so many maps of maps hold the input
}

func readSource(dir string) (*source, error) {
	fset := token.NewFileSet()
	var files []*ast.File
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the components' source: %w", err)
	}
	for _, e := range entries {
		if goSource(e) {
			f, err := parser.ParseFile(fset, dir+"/"+e.Name(), nil, parser.ParseComments)
			if err != nil {
				return nil, fmt.Errorf("reading the components' source: %w", err)
			}
			files = append(files, f)
		}
	}
	pkg, err := doc.NewFromFiles(fset, files, "github.com/securethecloud/kms-baseline/components")
	if err != nil {
		return nil, fmt.Errorf("reading the components' comments: %w", err)
	}
	s := &source{pkg: pkg, fields: map[string]map[string]field{}, names: map[string]string{}}
	for _, t := range pkg.Types {
		for _, spec := range t.Decl.Specs {
			if st, ok := spec.(*ast.TypeSpec).Type.(*ast.StructType); ok {
				s.addFields(t.Name, st)
			}
		}
	}
	return s, nil
}

func goSource(e fs.DirEntry) bool {
	return strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go")
}

// addFields reads a struct's fields. A comment above several fields is about
// all of them.
func (s *source) addFields(typeName string, st *ast.StructType) {
	s.fields[typeName] = map[string]field{}
	above := ""
	for _, f := range st.Fields.List {
		if f.Doc != nil {
			above = f.Doc.Text()
		}
		if f.Tag == nil || len(f.Names) == 0 {
			continue
		}
		tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("pulumi")
		property, _, _ := strings.Cut(tag, ",")
		if property == "" {
			continue
		}
		maps, typ := 0, f.Type
		for m, ok := typ.(*ast.MapType); ok; m, ok = typ.(*ast.MapType) {
			maps, typ = maps+1, m.Value
		}
		selector, ok := typ.(*ast.SelectorExpr)
		name := f.Names[0].Name
		s.fields[typeName][property] = field{name: name, doc: above, input: ok && strings.HasSuffix(selector.Sel.Name, "Input"), maps: maps}
		s.names[name] = property
	}
}

// describe is a type's comment.
func (s *source) describe(typeName string) string {
	for _, t := range s.pkg.Types {
		if t.Name == typeName {
			return s.prose(typeName, "", t.Doc)
		}
	}
	return ""
}

// complete adds to a type's properties what cannot be seen in Go's types at run
// time.
func (s *source) complete(typeName string, properties map[string]schema.PropertySpec, inputs bool) error {
	for name, property := range properties {
		f, ok := s.fields[typeName][name]
		if !ok {
			return fmt.Errorf("property %s of the schema is no field of %s", name, typeName)
		}
		property.Description = s.prose(typeName, f.name, f.doc)
		setPlain(&property.TypeSpec, inputs && (!f.input || f.maps > 0))
		if element := &property.TypeSpec; inputs && f.input && f.maps > 0 {
			for range f.maps {
				element = element.AdditionalProperties
			}
			setPlain(element, false)
		}
		properties[name] = property
	}
	return nil
}

// setPlain says of a type and of what it holds whether it has to be known
// before anything is made.
func setPlain(t *schema.TypeSpec, plain bool) {
	t.Plain = plain
	for _, element := range []*schema.TypeSpec{t.Items, t.AdditionalProperties} {
		if element != nil {
			setPlain(element, plain)
		}
	}
}

// prose is a comment about a type, or about one of its fields, as other
// languages show it: with the properties' names in place of the fields'.
func (s *source) prose(typeName, fieldName, text string) string {
	printer := s.pkg.Printer()
	printer.TextWidth = -1
	out := string(printer.Text(s.pkg.Parser().Parse(text)))
	out = constructor.ReplaceAllString(out, "$1")
	start := ""
	if rest, ok := strings.CutPrefix(out, fieldName+" "); ok && fieldName != "" {
		start, out = "`"+s.names[fieldName]+"` ", rest
	}
	return start + strings.TrimSpace(name.ReplaceAllStringFunc(out, func(match string) string {
		word := name.FindStringSubmatch(match)
		owner, field := word[1], word[2]
		property, known := s.names[field]
		_, own := s.fields[typeName][property]
		switch {
		case !known || field == typeName || acronym.MatchString(field):
			return match
		case owner != "":
			return owner + "'s `" + property + "`"
		case own || camelCase.MatchString(field):
			return "`" + property + "`"
		}
		return match // an English word at the beginning of a sentence
	}))
}

var (
	constructor = regexp.MustCompile(`\bNew([A-Z]\w*)`)
	name        = regexp.MustCompile(`\b(?:(\w+)Args\.)?([A-Z]\w*)`)
	acronym     = regexp.MustCompile(`^[A-Z]+$`)
	camelCase   = regexp.MustCompile(`[a-z][A-Z]`)
)
