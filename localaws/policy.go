package localaws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The policy engine. A service asks one question:
//
//	reason, ok := s.authorize(access, resourcePolicy, resourceAccount)
//
// where resourcePolicy may be nil and reason is the end of AWS's message. KMS
// asks differently, since a key has no access that its policy does not give:
// see kms_access.go. Condition operators are in policy_conditions.go.

// decision is what a policy says of a request.
type decision int

const (
	noMatch   decision = iota // no statement applies
	allowed                   // to the caller, by name or as anybody
	delegated                 // to the caller's account, which has yet to allow its user
	denied                    // explicitly: wins over everything
)

// access is what policies are asked about.
type access struct {
	who      identity // zero for anonymous
	action   string   // "s3:PutObject"
	resource string   // ARN
	// context has the condition keys, in lower case, that the request carries:
	// "aws:securetransport": "true". A key that is absent is absent for Null.
	// The keys that follow from who are known without it.
	context map[string]string
	// lists has the condition keys with any number of values: "aws:tagkeys".
	lists map[string][]string
}

// authorize says whether the caller may do what a asks to a resource that
// belongs to account and has the policy p (nil: none). Within one account the
// identity policy or the resource policy has to allow it; across accounts both
// have to; a deny in either wins. reason completes "User: ... is not authorized
// to perform: ... on resource: ..." as AWS does.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
func (s *Server) authorize(a access, p *policy, account string) (reason string, ok bool) {
	byResource, byIdentity := noMatch, noMatch
	if p != nil {
		byResource = p.decide(a)
	}
	if a.who.ARN != "" {
		byIdentity = s.identityDecision(a)
	}
	switch sameAccount := a.who.Account == account; {
	case byIdentity == denied:
		return "with an explicit deny in an identity-based policy", false
	case byResource == denied:
		return "with an explicit deny in a resource-based policy", false
	case sameAccount && (byIdentity == allowed || byResource == allowed):
		return "", true
	case !sameAccount && byIdentity == allowed && (byResource == allowed || byResource == delegated):
		return "", true
	case a.who.ARN == "" && byResource == allowed:
		return "", true
	case sameAccount || byResource == allowed || byResource == delegated:
		return "because no identity-based policy allows the " + a.action + " action", false
	}
	return "because no resource-based policy allows the " + a.action + " action", false
}

// conditionKeys are the global condition keys that follow from the request
// itself. The caller may add to the map.
func (r *request) conditionKeys() map[string]string {
	return map[string]string{
		"aws:currenttime":     r.now.UTC().Format(time.RFC3339),
		"aws:epochtime":       strconv.FormatInt(r.now.Unix(), 10),
		"aws:requestedregion": r.region,
		"aws:securetransport": strconv.FormatBool(r.secure),
		"aws:sourceip":        r.sourceIP(),
		"aws:useragent":       r.http.UserAgent(),
		"aws:viaawsservice":   "false",
	}
}

// value answers with the values of a condition key, in lower case.
func (a access) value(key string) ([]string, bool) {
	if v, ok := a.context[key]; ok {
		return []string{v}, true
	}
	if v, ok := a.lists[key]; ok {
		return v, len(v) > 0
	}
	var v string
	switch key {
	case "aws:principalarn":
		v = a.who.ARN
	case "aws:principalaccount":
		v = a.who.Account
	case "aws:username":
		v = a.who.Name
	case "aws:userid":
		v = a.who.UserID
	case "aws:principaltype":
		if v = "User"; a.who.ARN == "" {
			return []string{"Anonymous"}, true
		}
	}
	return []string{v}, v != ""
}

// policy is a parsed policy document. It is never changed once parsed.
type policy struct {
	statements []statement
}

// statement is one statement of a policy.
type statement struct {
	deny         bool
	principals   []principal // nil in an identity policy
	notPrincipal bool
	actions      []string
	notAction    bool
	resources    []string
	notResource  bool
	conditions   []condition
	variables    bool // ${aws:username} means something: version 2012-10-17
}

type principal struct {
	kind string // "AWS", "Service", "Federated", "CanonicalUser"
	name string
}

// parsePolicy reads a resource policy, and refuses a document that AWS would
// refuse as malformed.
func parsePolicy(document string) (*policy, error) { return parseDocument(document, true) }

// parseIdentityPolicy reads a policy that is attached to a principal and
// therefore names none.
func parseIdentityPolicy(document string) (*policy, error) { return parseDocument(document, false) }

// parsed remembers the policies of late, since the same few are asked about
// for every object of a bucket.
var parsed = struct {
	sync.RWMutex
	m map[string]*policy
}{m: map[string]*policy{}}

func parseDocument(document string, ofResource bool) (*policy, error) {
	key := strconv.FormatBool(ofResource) + document
	parsed.RLock()
	p := parsed.m[key]
	parsed.RUnlock()
	if p != nil {
		return p, nil
	}
	p, err := readDocument(document, ofResource)
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

func readDocument(document string, ofResource bool) (*policy, error) {
	if !strings.HasPrefix(strings.TrimLeft(document, " \t\r\n"), "{") {
		return nil, errors.New("Policies must be valid JSON and the first byte must be '{'") //nolint:staticcheck // AWS's words
	}
	top, err := readObject([]byte(document), "Version", "Id", "Statement")
	if err != nil {
		return nil, fmt.Errorf("This policy contains invalid Json: %w", err) //nolint:staticcheck // AWS's words
	}
	version := "2008-10-17"
	if raw, ok := top["Version"]; ok {
		if json.Unmarshal(raw, &version) != nil || version != "2012-10-17" && version != "2008-10-17" {
			return nil, errors.New("The policy must contain a valid version string") //nolint:staticcheck // AWS's words
		}
	}
	if raw, ok := top["Id"]; ok && json.Unmarshal(raw, new(string)) != nil {
		return nil, errors.New("Id must be a string") //nolint:staticcheck // AWS's words
	}
	var list []json.RawMessage
	switch raw := bytes.TrimSpace(top["Statement"]); {
	case len(raw) > 0 && raw[0] == '{':
		list = []json.RawMessage{raw}
	case len(raw) == 0 || json.Unmarshal(raw, &list) != nil || len(list) == 0:
		return nil, errors.New("Missing required field Statement") //nolint:staticcheck // AWS's words
	}
	p := &policy{}
	for _, raw := range list {
		st, err := readStatement(raw, ofResource)
		if err != nil {
			return nil, err
		}
		st.variables = version == "2012-10-17"
		p.statements = append(p.statements, st)
	}
	return p, nil
}

func readStatement(raw json.RawMessage, ofResource bool) (st statement, err error) {
	f, err := readObject(raw, "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
	if err != nil {
		return st, fmt.Errorf("a statement is malformed: %w", err)
	}
	if raw, ok := f["Sid"]; ok && json.Unmarshal(raw, new(string)) != nil {
		return st, errors.New("Sid must be a string") //nolint:staticcheck // AWS's words
	}
	var effect string
	if json.Unmarshal(f["Effect"], &effect) != nil || effect != "Allow" && effect != "Deny" {
		return st, errors.New("Effect must be Allow or Deny") //nolint:staticcheck // AWS's words
	}
	st.deny = effect == "Deny"

	principals, notPrincipal, err := eitherOf(f, "Principal")
	switch {
	case err != nil:
		return st, err
	case principals == nil && ofResource:
		return st, errors.New("Policy contains a statement with no principal") //nolint:staticcheck // AWS's words
	case principals != nil && !ofResource:
		return st, errors.New("Policy document should not specify a principal") //nolint:staticcheck // AWS's words
	case principals != nil:
		if st.principals, err = readPrincipals(principals); err != nil {
			return st, err
		}
		st.notPrincipal = notPrincipal
	}

	actions, notAction, err := eitherOf(f, "Action")
	if err != nil {
		return st, err
	}
	if st.actions, err = readStrings(actions); err != nil {
		return st, fmt.Errorf("Action: %w", err) //nolint:staticcheck // an element's name
	}
	for _, a := range st.actions {
		if !actionPattern.MatchString(a) {
			return st, fmt.Errorf("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc: %q", a) //nolint:staticcheck // AWS's words
		}
	}
	st.notAction = notAction

	resources, notResource, err := eitherOf(f, "Resource")
	if err != nil {
		return st, err
	}
	if st.resources, err = readStrings(resources); err != nil {
		return st, fmt.Errorf("Resource: %w", err) //nolint:staticcheck // an element's name
	}
	for _, r := range st.resources {
		if r != "*" && !strings.HasPrefix(r, "arn:") && !strings.HasPrefix(r, "${") {
			return st, fmt.Errorf(`Resource %s must be in ARN format or "*"`, r) //nolint:staticcheck // AWS's words
		}
	}
	st.notResource = notResource

	if raw, ok := f["Condition"]; ok {
		st.conditions, err = readConditions(raw)
	}
	return st, err
}

var actionPattern = regexp.MustCompile(`^(\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+)$`)

// eitherOf answers with the element name or its opposite Not-name; nil where
// neither is there.
func eitherOf(f map[string]json.RawMessage, name string) (raw json.RawMessage, not bool, err error) {
	yes, isYes := f[name]
	no, isNot := f["Not"+name]
	switch {
	case isYes && isNot:
		return nil, false, fmt.Errorf("a statement has both %s and Not%s", name, name)
	case isNot:
		return no, true, nil
	case !isYes && name != "Principal":
		return nil, false, fmt.Errorf("Missing required field %s", name) //nolint:staticcheck // AWS's words
	}
	return yes, false, nil
}

// readPrincipals reads "*", {"AWS": ...}, {"Service": ...} and the like.
func readPrincipals(raw json.RawMessage) ([]principal, error) {
	var all string
	if json.Unmarshal(raw, &all) == nil {
		if all != "*" {
			return nil, errors.New("Invalid principal in policy") //nolint:staticcheck // AWS's words
		}
		return []principal{{"AWS", "*"}}, nil
	}
	f, err := readObject(raw, "AWS", "Service", "Federated", "CanonicalUser")
	if err != nil || len(f) == 0 {
		return nil, errors.New("Invalid principal in policy") //nolint:staticcheck // AWS's words
	}
	var out []principal
	for _, kind := range slices.Sorted(maps.Keys(f)) {
		names, err := readStrings(f[kind])
		if err != nil {
			return nil, errors.New("Invalid principal in policy") //nolint:staticcheck // AWS's words
		}
		for _, n := range names {
			out = append(out, principal{kind, n})
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
		return nil, errors.New("an object was expected")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		if len(names) > 0 && !slices.Contains(names, name) {
			return nil, fmt.Errorf("unknown field %s", name)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("duplicate field %s", name)
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
		return nil, errors.New("there is more after the object's end")
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
		return nil, errors.New("the list is empty")
	}
	out := make([]string, len(list))
	for i, raw := range list {
		switch b := bytes.TrimSpace(raw); {
		case json.Unmarshal(b, &out[i]) == nil && b[0] == '"':
		case string(b) == "true", string(b) == "false", json.Unmarshal(b, new(float64)) == nil && string(b) != "null":
			out[i] = string(b)
		default:
			return nil, errors.New("a string, or a list of strings, was expected")
		}
	}
	return out, nil
}

// decide says what a resource policy says: principals are matched.
func (p *policy) decide(a access) decision {
	out := noMatch
	for _, st := range p.statements {
		match := st.matchPrincipal(a.who)
		if match == noMatch || !st.applies(a) {
			continue
		}
		switch {
		case st.deny:
			return denied
		case out != allowed:
			out = match
		}
	}
	return out
}

// decideIdentity says what an identity policy says.
func (p *policy) decideIdentity(a access) decision {
	out := noMatch
	for _, st := range p.statements {
		if !st.applies(a) {
			continue
		}
		if st.deny {
			return denied
		}
		out = allowed
	}
	return out
}

// matchPrincipal says whether the statement is about who: as allowed, or as
// delegated where it names who's account only.
func (st statement) matchPrincipal(who identity) decision {
	match := noMatch
	for _, p := range st.principals {
		switch {
		case p.kind == "AWS" && (p.name == "*" || who.ARN != "" && p.name == who.ARN):
			match = allowed
		case p.kind == "AWS" && match == noMatch && who.Account != "" && p.isAccount(who.Account):
			match = delegated
		}
	}
	switch {
	case !st.notPrincipal:
		return match
	case match == noMatch:
		return allowed
	}
	return noMatch
}

// isAccount says whether the principal is the account as a whole: its number
// or its root.
func (p principal) isAccount(account string) bool {
	return p.name == account || p.name == "arn:aws:iam::"+account+":root"
}

// applies says whether action, resource and conditions of the statement fit.
func (st statement) applies(a access) bool {
	action := strings.ToLower(a.action)
	fits := slices.ContainsFunc(st.actions, func(pattern string) bool {
		return match(literalOrWild(strings.ToLower(pattern)), action)
	})
	if fits == st.notAction {
		return false
	}
	fits = slices.ContainsFunc(st.resources, func(text string) bool {
		pattern, ok := st.expand(text, a, true)
		return ok && match(pattern, a.resource)
	})
	if fits == st.notResource {
		return false
	}
	for _, c := range st.conditions {
		if !c.holds(st, a) {
			return false
		}
	}
	return true
}

// A pattern is a string's runes, in which these two stand for * and ?. What
// replaces a policy variable never has them: it is taken literally.
const (
	anyRun  rune = -1
	anyRune rune = -2
)

func literalOrWild(s string) []rune {
	out := []rune(s)
	for i, c := range out {
		switch c {
		case '*':
			out[i] = anyRun
		case '?':
			out[i] = anyRune
		}
	}
	return out
}

// expand replaces the policy variables in text. It answers false where a
// variable without a default has no value: nothing matches then.
func (st statement) expand(text string, a access, wild bool) ([]rune, bool) {
	read := func(s string) []rune { return []rune(s) }
	if wild {
		read = literalOrWild
	}
	if !st.variables {
		return read(text), true
	}
	var out []rune
	for {
		before, rest, found := strings.Cut(text, "${")
		name, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			return append(out, read(text)...), true
		}
		out = append(out, read(before)...)
		text = after
		if name == "*" || name == "?" || name == "$" {
			out = append(out, []rune(name)...)
			continue
		}
		key, def, hasDefault := strings.Cut(name, ",")
		values, ok := a.value(strings.ToLower(strings.TrimSpace(key)))
		switch {
		case ok && len(values) == 1:
			out = append(out, []rune(values[0])...)
		case hasDefault:
			out = append(out, []rune(strings.Trim(strings.TrimSpace(def), "'"))...)
		default:
			return nil, false
		}
	}
}

// match says whether s fits the pattern, in time that grows with the product
// of their lengths at worst.
func match(pattern []rune, s string) bool {
	text := []rune(s)
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == anyRun:
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == anyRune || pattern[p] == text[t]):
			p++
			t++
		case star >= 0: // the last * takes one rune more
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == anyRun {
		p++
	}
	return p == len(pattern)
}

// What a principal may look like in a policy that is stored.
var (
	accountPrincipal = regexp.MustCompile(`^\d{12}$|^arn:aws[a-z-]*:iam::\d{12}:root$`)
	namedPrincipal   = regexp.MustCompile(`^arn:aws[a-z-]*:(iam::\d{12}:(user|role)/|sts::\d{12}:(assumed-role/[\w+=,.@-]+/|federated-user/))([\w+=,.@-]+/)*[\w+=,.@-]+$`)
	servicePrincipal = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*\.amazonaws\.com(\.cn)?$`)
	canonicalUser    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	linkedRole       = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/aws-service-role/`)
)

// unknownPrincipal answers with the first principal of the policy that does
// not exist, or "". AWS refuses a policy that names one. Here every account
// exists, and every user and role, except service-linked roles: AWS makes
// those when the service is first used, so a fresh account has none. One
// exists here once it was given an identity policy: see
// [Server.SetIdentityPolicy].
func (s *Server) unknownPrincipal(p *policy) string {
	for _, st := range p.statements {
		for _, pr := range st.principals {
			known := false
			switch pr.kind {
			case "AWS":
				known = pr.name == "*" || accountPrincipal.MatchString(pr.name) || namedPrincipal.MatchString(pr.name)
				if linkedRole.MatchString(pr.name) {
					known = known && s.policies.of(pr.name) != nil
				}
			case "Service":
				known = servicePrincipal.MatchString(pr.name)
			case "CanonicalUser":
				known = canonicalUser.MatchString(pr.name)
			case "Federated":
				known = pr.name != "" && pr.name != "*"
			}
			if !known {
				return pr.name
			}
		}
	}
	return ""
}

// identityPolicies holds the policies that principals were given, by ARN.
type identityPolicies struct {
	mu sync.RWMutex
	m  map[string]*policy
}

func (i *identityPolicies) of(arn string) *policy {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.m[arn]
}

func (s *Server) openPolicies() error {
	s.policies.m = map[string]*policy{}
	return s.db.View(func(tx *bolt.Tx) error {
		return each(tx, boltPolicies, "", func(arn string, document string) error {
			p, err := parseIdentityPolicy(document)
			if err != nil {
				return fmt.Errorf("localaws: the identity policy of %s: %w", arn, err)
			}
			s.policies.m[arn] = p
			return nil
		})
	})
}

// SetIdentityPolicy gives a principal (the ARN of an IAM user or role) an
// identity policy. Without one a principal may do everything in its own
// account; with one, only what the policy allows. An empty document takes it
// away. A service-linked role exists for as long as it has a policy: where it
// has none, AWS's answer to a policy that names it is that there is no such
// principal.
func (s *Server) SetIdentityPolicy(principalARN, document string) error {
	if !namedPrincipal.MatchString(principalARN) {
		return fmt.Errorf("localaws: %q is not the ARN of a user or role (arn:aws:iam::123456789012:user/NAME)", principalARN)
	}
	var p *policy
	if document != "" {
		var err error
		if p, err = parseIdentityPolicy(document); err != nil {
			return fmt.Errorf("localaws: the identity policy of %s: %w", principalARN, err)
		}
	}
	s.policies.mu.Lock()
	defer s.policies.mu.Unlock()
	err := s.db.Update(func(tx *bolt.Tx) error {
		if p == nil {
			return remove(tx, boltPolicies, principalARN)
		}
		return save(tx, boltPolicies, principalARN, document)
	})
	if err != nil {
		return err
	}
	if p == nil {
		delete(s.policies.m, principalARN)
	} else {
		s.policies.m[principalARN] = p
	}
	return nil
}

// identityDecision says what the caller's own identity policy says; allowed
// where none was set.
func (s *Server) identityDecision(a access) decision {
	p := s.policies.of(a.who.ARN)
	if p == nil {
		return allowed
	}
	return p.decideIdentity(a)
}
