package s3

import (
	"encoding/xml"
	"reflect"
	"slices"
	"strings"
)

// unknownElement is the path of the first element of a document that t, the type
// of its root, does not have; empty if t has all. encoding/xml ignores them.
func unknownElement(body []byte, t reflect.Type) string {
	var root xmlNode
	if xml.Unmarshal(body, &root) != nil {
		return "" // the decoder of t has said what is wrong
	}
	return root.unknownTo(t)
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
