package wire

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Strict decoding. An operation declares what it models: the fields of its
// input type (JSON), or a list of parameters (form). Everything else in a
// request is refused with NotImplemented. To ignore it would be to pretend.

// Decode reads a JSON request into T.
func Decode[T any](service, operation string, body []byte) (T, error) {
	var in T
	if len(bytes.TrimSpace(body)) == 0 {
		return in, nil
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return in, Errf(http.StatusBadRequest, "SerializationException", "the request could not be understood: %v", err)
	}
	if field := unknownField(body, reflect.TypeFor[T]()); field != "" {
		return in, NotImplemented(service, "the parameter "+field+" of "+operation)
	}
	return in, nil
}

// unknownField is the path of the first field in raw that t does not have, in
// exactly this spelling; empty if t has all.
func unknownField(raw []byte, t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Slice:
		var list []json.RawMessage
		if t.Elem().Kind() == reflect.Uint8 || json.Unmarshal(raw, &list) != nil {
			return ""
		}
		for _, e := range list {
			if isNull(e) { // which encoding/json makes a zero value of
				return "null"
			}
			if f := unknownField(e, t.Elem()); f != "" {
				return f
			}
		}
	case reflect.Map:
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil {
			return ""
		}
		for name, value := range object {
			if isNull(value) {
				return name + ".null"
			}
		}
	case reflect.Struct:
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil {
			return ""
		}
		for name, value := range object {
			field, ok := fieldNamed(t, name)
			if !ok {
				return name
			}
			if f := unknownField(value, field); f != "" {
				return name + "." + f
			}
		}
	}
	return ""
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

// fieldNamed finds the type of the field that JSON calls name.
func fieldNamed(t reflect.Type, name string) (reflect.Type, bool) {
	for f := range fields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == "" {
			tag = f.Name
		}
		if tag == name {
			return f.Type, true
		}
	}
	return nil, false
}

// fields are the fields of a struct and of those that it embeds.
func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for _, f := range reflect.VisibleFields(t) {
			if !f.Anonymous && !yield(f) {
				return
			}
		}
	}
}

var formNumber = regexp.MustCompile(`\.[0-9]{1,4}(\.|$)`)

// UnknownParameter is the first parameter of a form that is not in known, where
// # stands for the number of a list's member (Filter.#.Value.#); empty if all
// are. A parameter that occurs twice is unknown too: a reader could not tell
// which is meant.
func UnknownParameter(form url.Values, known ...string) string {
	for _, name := range slices.Sorted(keysOf(form)) {
		pattern := formNumber.ReplaceAllString(formNumber.ReplaceAllString(name, ".#$1"), ".#$1")
		if len(form[name]) > 1 || !slices.Contains(known, pattern) {
			return name
		}
	}
	return ""
}

func keysOf(form url.Values) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range form {
			if !yield(k) {
				return
			}
		}
	}
}
