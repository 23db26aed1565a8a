package s3

import (
	"cmp"
	"encoding/xml"
	"reflect"
	"slices"
	"strings"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// checkElements refuses a document with an element that t, the type of its root, does not
// have, or has only once: encoding/xml ignores them.
func checkElements(body []byte, t reflect.Type) error {
	var root xmlNode
	if err := xml.Unmarshal(body, &root); err != nil {
		return errMalformedXML()
	}
	switch unknown := root.unknownTo(t); {
	case unknown != "":
		return wire.NotImplemented("s3", "the element "+unknown+" of "+root.XMLName.Local)
	case root.repeats(listElements(t)):
		return errMalformedXML()
	}
	return nil
}

// repeats reports whether an element occurs twice in its parent, where it is not
// one of lists; nil is a document that may have any.
func (n xmlNode) repeats(lists []string) bool {
	seen := map[string]bool{}
	for _, child := range n.Children {
		name := child.XMLName.Local
		if lists != nil && seen[name] && !slices.Contains(lists, name) || child.repeats(lists) {
			return true
		}
		seen[name] = true
	}
	return false
}

// listElements are the names of the elements of t, and of all below it, that may be
// repeated; nil for a document that is kept as it came.
func listElements(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	names := []string{}
	switch {
	case t == reflect.TypeFor[xmlNode]():
		return nil
	case t.Kind() != reflect.Struct || t == reflect.TypeFor[s3Time]():
		return names
	}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("xml"), ",")
		if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() != reflect.Uint8 {
			path := strings.Split(cmp.Or(name, f.Name), ">")
			names = append(names, path[len(path)-1])
		}
		if !f.Anonymous {
			names = append(names, listElements(f.Type)...)
		}
	}
	return names
}

func (n xmlNode) unknownTo(t reflect.Type) string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8 {
		t = t.Elem()
	}
	if t == reflect.TypeFor[xmlNode]() {
		return ""
	}
	var fields []xmlField
	if t.Kind() == reflect.Struct && t != reflect.TypeFor[s3Time]() {
		for _, f := range reflect.VisibleFields(t) {
			name, options, _ := strings.Cut(f.Tag.Get("xml"), ",")
			if f.Anonymous || strings.Contains(options, "attr") || strings.Contains(options, "chardata") {
				continue
			}
			if name == "" {
				name = f.Name
			}
			fields = append(fields, xmlField{strings.Split(name, ">"), f.Type})
		}
	}
	return n.unknownBelow(fields)
}

// xmlField is a field of a structure: the path to its element, and its type.
type xmlField struct {
	path []string
	of   reflect.Type
}

func (n xmlNode) unknownBelow(fields []xmlField) string {
	for _, child := range n.Children {
		name := child.XMLName.Local
		var below []xmlField
		i := slices.IndexFunc(fields, func(f xmlField) bool { return len(f.path) == 1 && f.path[0] == name })
		unknown := name
		if i >= 0 {
			unknown = child.unknownTo(fields[i].of)
		} else {
			for _, f := range fields {
				if len(f.path) > 1 && f.path[0] == name {
					below = append(below, xmlField{f.path[1:], f.of})
				}
			}
			if len(below) > 0 {
				unknown = child.unknownBelow(below)
			}
		}
		switch {
		case unknown == "":
		case unknown == name && i < 0 && len(below) == 0:
			return name
		default:
			return name + "." + unknown
		}
	}
	return ""
}
