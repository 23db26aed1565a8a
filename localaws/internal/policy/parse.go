package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Reading policy documents. What AWS would refuse is refused, and what is not
// understood too: to pass over an element would be to allow what it forbids.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html

// MalformedError is what is wrong with a policy document, in AWS's words
// where it has any. Each service puts its own error code before it.
type MalformedError string

func (m MalformedError) Error() string { return string(m) }

func malformed(format string, args ...any) error {
	return MalformedError(fmt.Sprintf(format, args...))
}

// Parse reads a resource policy, and refuses a document that AWS would
// refuse as malformed.
func Parse(document string) (*Policy, error) { return parseDocument(document, ofResource) }

// ParseIdentity reads a policy that is attached to a principal and
// therefore names none.
func ParseIdentity(document string) (*Policy, error) { return parseDocument(document, ofIdentity) }

// ParseTrust reads the trust policy of a role. It names no resource: that is the
// role.
func ParseTrust(document string) (*Policy, error) { return parseDocument(document, ofRole) }

// kind is what a policy is attached to.
type kind int

const (
	ofResource kind = iota
	ofIdentity
	ofRole
)

// parsed caches recently parsed policies: the same few are evaluated for every
// object of a bucket.
var parsed = struct {
	sync.RWMutex
	m map[string]*Policy
}{m: map[string]*Policy{}}

func parseDocument(document string, k kind) (*Policy, error) {
	key := strconv.Itoa(int(k)) + document
	parsed.RLock()
	p := parsed.m[key]
	parsed.RUnlock()
	if p != nil {
		return p, nil
	}
	p, err := readDocument(document, k)
	if err != nil {
		return nil, err
	}
	parsed.Lock()
	defer parsed.Unlock()
	if len(parsed.m) >= 1000 {
		clear(parsed.m)
	}
	parsed.m[key] = p
	return p, nil
}

func readDocument(document string, k kind) (*Policy, error) {
	if !strings.HasPrefix(strings.TrimLeft(document, " \t\r\n"), "{") {
		return nil, malformed("Policies must be valid JSON and the first byte must be '{'")
	}
	top, err := readObject([]byte(document), "Version", "Id", "Statement")
	if err != nil {
		return nil, malformed("This policy contains invalid Json: %v", err)
	}
	version := "2008-10-17"
	if raw, ok := top["Version"]; ok {
		if json.Unmarshal(raw, &version) != nil || version != "2012-10-17" && version != "2008-10-17" {
			return nil, malformed("The policy must contain a valid version string")
		}
	}
	if raw, ok := top["Id"]; ok && json.Unmarshal(raw, new(string)) != nil {
		return nil, malformed("Id must be a string")
	}
	var list []json.RawMessage
	switch raw := bytes.TrimSpace(top["Statement"]); {
	case len(raw) > 0 && raw[0] == '{':
		list = []json.RawMessage{raw}
	case len(raw) == 0 || json.Unmarshal(raw, &list) != nil || len(list) == 0:
		return nil, malformed("Missing required field Statement")
	}
	p := &Policy{}
	for _, raw := range list {
		st, err := readStatement(raw, k)
		if err != nil {
			return nil, err
		}
		st.variables = version == "2012-10-17"
		p.Statements = append(p.Statements, st)
	}
	return p, nil
}

func readStatement(raw json.RawMessage, k kind) (st Statement, err error) {
	f, err := readObject(raw, "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
	if err != nil {
		return st, malformed("a statement is malformed: %v", err)
	}
	if raw, ok := f["Sid"]; ok && json.Unmarshal(raw, new(string)) != nil {
		return st, malformed("Sid must be a string")
	}
	var effect string
	if json.Unmarshal(f["Effect"], &effect) != nil || effect != "Allow" && effect != "Deny" {
		return st, malformed("Effect must be Allow or Deny")
	}
	st.Deny = effect == "Deny"

	principals, notPrincipal, err := eitherOf(f, "Principal")
	switch {
	case err != nil:
		return st, err
	case principals == nil && k != ofIdentity:
		return st, malformed("Policy contains a statement with no principal")
	case principals != nil && k == ofIdentity:
		return st, malformed("Policy document should not specify a principal")
	case principals != nil:
		if st.Principals, err = readPrincipals(principals); err != nil {
			return st, err
		}
		st.NotPrincipal = notPrincipal
	}

	actions, notAction, err := eitherOf(f, "Action")
	if err != nil {
		return st, err
	}
	if st.Actions, err = readStrings(actions); err != nil {
		return st, malformed("Action: %v", err)
	}
	for _, a := range st.Actions {
		if !actionPattern.MatchString(a) {
			return st, malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc: %q", a)
		}
	}
	st.NotAction = notAction

	if err := st.readResources(f, k); err != nil {
		return st, err
	}

	if raw, ok := f["Condition"]; ok {
		st.Conditions, err = readConditions(raw)
	}
	return st, err
}

func (st *Statement) readResources(f map[string]json.RawMessage, k kind) error {
	if k == ofRole {
		if f["Resource"] != nil || f["NotResource"] != nil {
			return malformed("Has prohibited field Resource")
		}
		st.Resources = []string{"*"}
		return nil
	}
	resources, notResource, err := eitherOf(f, "Resource")
	if err != nil {
		return err
	}
	if st.Resources, err = readStrings(resources); err != nil {
		return malformed("Resource: %v", err)
	}
	for _, r := range st.Resources {
		if r != "*" && !strings.HasPrefix(r, "arn:") && !strings.HasPrefix(r, "${") {
			return malformed(`Resource %s must be in ARN format or "*"`, r)
		}
	}
	st.NotResource = notResource
	return nil
}

var actionPattern = regexp.MustCompile(`^(\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+)$`)

// eitherOf returns the element name or its opposite Not-name; nil if neither
// exists.
func eitherOf(f map[string]json.RawMessage, name string) (raw json.RawMessage, not bool, err error) {
	yes, isYes := f[name]
	no, isNot := f["Not"+name]
	switch {
	case isYes && isNot:
		return nil, false, malformed("a statement has both %s and Not%s", name, name)
	case isNot:
		return no, true, nil
	case !isYes && name != "Principal":
		return nil, false, malformed("Missing required field %s", name)
	}
	return yes, false, nil
}

// readPrincipals reads "*", {"AWS": ...}, {"Service": ...} and the like.
func readPrincipals(raw json.RawMessage) ([]Principal, error) {
	var all string
	if json.Unmarshal(raw, &all) == nil {
		if all != "*" {
			return nil, malformed("Invalid principal in policy")
		}
		return []Principal{{"AWS", "*"}}, nil
	}
	f, err := readObject(raw, "AWS", "Service", "Federated", "CanonicalUser")
	if err != nil || len(f) == 0 {
		return nil, malformed("Invalid principal in policy")
	}
	var out []Principal
	for _, kind := range slices.Sorted(maps.Keys(f)) {
		names, err := readStrings(f[kind])
		if err != nil {
			return nil, malformed("Invalid principal in policy")
		}
		for _, n := range names {
			out = append(out, Principal{kind, n})
		}
	}
	return out, nil
}

// readObject reads a JSON object of which only the given elements are known;
// without names, any are. An element that is there twice is refused, since a
// reader could not tell which of the two is meant.
func readObject(raw []byte, names ...string) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil {
		return nil, err
	} else if t != json.Delim('{') {
		return nil, malformed("an object was expected")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		if len(names) > 0 && !slices.Contains(names, name) {
			return nil, malformed("unknown field %s", name)
		}
		if _, twice := out[name]; twice {
			return nil, malformed("duplicate field %s", name)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		out[name] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, malformed("there is more after the object's end")
	}
	return out, nil
}

// readStrings reads one scalar or a list of them: numbers and booleans stand
// for the strings they are written as.
func readStrings(raw json.RawMessage) ([]string, error) {
	list := []json.RawMessage{raw}
	if b := bytes.TrimSpace(raw); len(b) > 0 && b[0] == '[' {
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
	}
	if len(list) == 0 {
		return nil, malformed("the list is empty")
	}
	out := make([]string, len(list))
	for i, raw := range list {
		switch b := bytes.TrimSpace(raw); {
		case json.Unmarshal(b, &out[i]) == nil && b[0] == '"':
		case string(b) == "true", string(b) == "false", json.Unmarshal(b, new(float64)) == nil && string(b) != "null":
			out[i] = string(b)
		default:
			return nil, malformed("a string, or a list of strings, was expected")
		}
	}
	return out, nil
}
