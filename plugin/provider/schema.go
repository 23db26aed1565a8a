package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"

	"github.com/securethecloud/kms-baseline/internal/componentsource"
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
	pkg    *componentsource.Package
	fields map[string]map[string]field // type -> property -> field
	names  map[string]string           // field -> property
}

type field struct {
	componentsource.Field
	input bool // it, or what its maps hold, may be an output of another resource
	maps  int  // so many maps of maps hold the input
}

func readSource(dir string) (*source, error) {
	pkg, err := componentsource.Read(dir, "github.com/securethecloud/kms-baseline/components")
	if err != nil {
		return nil, err
	}
	s := &source{pkg: pkg, fields: map[string]map[string]field{}, names: map[string]string{}}
	for _, t := range pkg.Types {
		s.fields[t.Name] = map[string]field{}
		for _, f := range t.Fields {
			if f.Property == "" {
				continue
			}
			maps, typ := 0, f.Type
			for m, ok := typ.(*ast.MapType); ok; m, ok = typ.(*ast.MapType) {
				maps, typ = maps+1, m.Value
			}
			selector, ok := typ.(*ast.SelectorExpr)
			s.fields[t.Name][f.Property] = field{Field: f, input: ok && strings.HasSuffix(selector.Sel.Name, "Input"), maps: maps}
			s.names[f.Name] = f.Property
		}
	}
	return s, nil
}

// describe is a type's comment.
func (s *source) describe(typeName string) string {
	t := s.pkg.Type(typeName)
	if t == nil {
		return ""
	}
	return s.prose(typeName, "", t.Doc)
}

// complete adds to a type's properties what cannot be seen in Go's types at run
// time.
func (s *source) complete(typeName string, properties map[string]schema.PropertySpec, inputs bool) error {
	for name, property := range properties {
		f, ok := s.fields[typeName][name]
		if !ok {
			return fmt.Errorf("property %s of the schema is no field of %s", name, typeName)
		}
		property.Description = s.prose(typeName, f.Name, f.Doc)
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
