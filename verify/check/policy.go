package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// This file asks policy documents two questions: may anybody outside the
// accounts that a key policy names use the key (openToStrangers), and does a bucket
// policy refuse every request that is not encrypted in transit (deniesPlain).
// Both reason about whom a statement's principals and conditions let through,
// not about its text. A construct that this file does not know gives unknown,
// which callers must not report as a pass.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html

// truth has three values, in this order so that and and or are min and max.
type truth int

const (
	no truth = iota
	unknown
	yes
)

func (t truth) not() truth        { return yes - t }
func (t truth) and(u truth) truth { return min(t, u) }
func (t truth) or(u truth) truth  { return max(t, u) }

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// policyDocument is a resource policy.
type policyDocument struct {
	Statement statements
}

// statements is one statement or a list of them: JSON policies have both.
type statements []statement

func (s *statements) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		*s = make(statements, 1)
		return json.Unmarshal(b, &(*s)[0])
	}
	return json.Unmarshal(b, (*[]statement)(s))
}

type statement struct {
	Sid          string
	Effect       string
	Principal    *principals
	NotPrincipal *principals
	Action       texts
	NotAction    texts
	Resource     texts
	NotResource  texts
	Condition    map[string]map[string]texts // operator, key, values
}

// principals is who a statement is about, by kind: "AWS", "Service". The
// string "*" is everybody and means the same as {"AWS": "*"}.
type principals map[string]texts

func (p *principals) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte(`"`)) {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*p = principals{"AWS": {s}}
		return nil
	}
	return json.Unmarshal(b, (*map[string]texts)(p))
}

// texts is one value or a list of them. Conditions hold booleans and numbers
// as well; they are compared as text.
type texts []string

func (t *texts) UnmarshalJSON(b []byte) error {
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	*t = texts{}
	for _, x := range list {
		switch x := x.(type) {
		case string:
			*t = append(*t, x)
		case bool:
			*t = append(*t, strconv.FormatBool(x))
		case json.Number:
			*t = append(*t, x.String())
		default:
			return fmt.Errorf("a policy value is %T, not text", x)
		}
	}
	return nil
}

func parsePolicy(document string) (policyDocument, error) {
	var p policyDocument
	if err := json.Unmarshal([]byte(document), &p); err != nil {
		return p, fmt.Errorf("the policy is not a policy document: %w", err)
	}
	return p, nil
}

// name tells a reader which statement is meant.
func (s statement) name(i int) string {
	if s.Sid != "" {
		return strconv.Quote(s.Sid)
	}
	return "number " + strconv.Itoa(i+1)
}

// accounts are the accounts that a statement allows something, by the ARNs of
// their principals or by their numbers.
func (p policyDocument) accounts() (numbers []string) {
	for _, s := range p.Statement {
		if s.Effect != "Allow" || s.Principal == nil {
			continue
		}
		for _, name := range (*s.Principal)["AWS"] {
			if account.MatchString(name) {
				numbers = append(numbers, name)
			} else if number := accountOf(name); account.MatchString(number) {
				numbers = append(numbers, number)
			}
		}
	}
	return numbers
}

// openToStrangers says whether somebody of whom the policy's accounts know
// nothing, in an account of their own, may use the key, and which statement
// says so. Statements that name an account, a role or a service let in whom
// they name: that is sharing, not opening to the world.
func (p policyDocument) openToStrangers(resource string) (truth, string) {
	open, why := no, ""
	for i, s := range p.Statement {
		if s.Effect != "Allow" || !s.touches(resource) || !s.concerns("kms") {
			continue
		}
		lets, reason := s.letsStranger()
		if lets == no {
			continue
		}
		lets = lets.and(p.deniedToStrangers(s, resource).not())
		if lets > open {
			open, why = lets, fmt.Sprintf("statement %s %s", s.name(i), reason)
		}
	}
	return open, why
}

// letsStranger says whether some stranger meets the statement's principals and
// conditions.
func (s statement) letsStranger() (truth, string) {
	lets, reason := no, ""
	if s.NotPrincipal != nil {
		lets, reason = yes, "allows everybody except some (NotPrincipal)"
	}
	if s.Principal != nil {
		for _, kind := range slices.Sorted(maps.Keys(*s.Principal)) {
			for _, n := range (*s.Principal)[kind] {
				t := strangerIs(kind, n)
				if t > lets {
					lets, reason = t, fmt.Sprintf("allows the principal %s %q", kind, n)
				}
			}
		}
	}
	if lets == no {
		return no, ""
	}
	for _, op := range slices.Sorted(maps.Keys(s.Condition)) {
		for _, key := range slices.Sorted(maps.Keys(s.Condition[op])) {
			can, _ := evaluate(op, s.Condition[op][key], stranger(key))
			if can == unknown {
				reason += fmt.Sprintf(" under a condition that verify cannot evaluate (%s %s)", op, key)
			}
			lets = lets.and(can)
		}
	}
	if lets == yes {
		reason += ", and no condition keeps other accounts out"
	}
	return lets, reason
}

// deniedToStrangers says whether Deny statements take back, from every
// stranger, all that allow gives.
func (p policyDocument) deniedToStrangers(allow statement, resource string) truth {
	given := allow.Action
	if len(allow.NotAction) > 0 {
		given = texts{"*"}
	}
	all := yes
	for _, action := range given {
		covered := no
		for _, s := range p.Statement {
			if s.Effect != "Deny" || !s.coversAction(action) || !s.coversResource(resource) {
				continue
			}
			covered = covered.or(s.appliesTo(stranger, everyStranger))
		}
		all = all.and(covered)
	}
	return all
}

// everyStranger says whether a Deny's principals include all strangers.
func everyStranger(s statement) truth {
	if s.NotPrincipal != nil {
		t := yes
		for kind, names := range *s.NotPrincipal {
			for _, n := range names {
				t = t.and(strangerIs(kind, n).not())
			}
		}
		return t
	}
	return s.everybody()
}

// everybody says whether the statement names everybody, anonymous included.
func (s statement) everybody() truth {
	if s.Principal == nil {
		return no
	}
	for _, n := range (*s.Principal)["AWS"] {
		if n == "*" {
			return yes
		}
	}
	return no
}

// appliesTo says whether a statement applies to every request of the kind that
// seen describes: nobody can choose values that make a condition false.
func (s statement) appliesTo(seen func(key string) values, who func(statement) truth) truth {
	t := who(s)
	for op, keys := range s.Condition {
		for key, vs := range keys {
			_, cannot := evaluate(op, vs, seen(key))
			t = t.and(cannot.not())
		}
	}
	return t
}

// strangerIs says whether a named principal may be a stranger.
func strangerIs(kind, name string) truth {
	switch kind {
	case "AWS":
		if name == "*" {
			return yes
		}
		if strings.ContainsAny(name, "*?") {
			return unknown // AWS refuses these; if one is here, it means something new
		}
		return no // an account, role or user that somebody chose to name
	case "Service":
		return truthOf(strings.ContainsAny(name, "*?"))
	case "CanonicalUser":
		return no
	}
	// Federated: whom a web identity provider knows may be anybody.
	if kind == "Federated" && strings.HasPrefix(name, "arn:") {
		return no
	}
	return unknown
}

// touches says whether the statement can be about the resource.
func (s statement) touches(resource string) bool {
	if len(s.NotResource) > 0 {
		for _, r := range s.NotResource {
			if covers(r, resource) {
				return false
			}
		}
		return true
	}
	for _, r := range s.Resource {
		if covers(r, resource) {
			return true
		}
	}
	return len(s.Resource) == 0
}

// concerns says whether the statement has actions of the service.
func (s statement) concerns(service string) bool {
	for _, a := range s.Action {
		of, _, _ := strings.Cut(strings.ToLower(a), ":")
		if covers(of, service) {
			return true
		}
	}
	return len(s.NotAction) > 0
}

// coversAction says whether a statement is about every action that the pattern
// action names.
func (s statement) coversAction(action string) bool {
	action = strings.ToLower(action)
	if len(s.NotAction) > 0 {
		service, _, _ := strings.Cut(action, ":")
		for _, n := range s.NotAction {
			n = strings.ToLower(n)
			of, _, found := strings.Cut(n, ":")
			if found && !strings.ContainsAny(of, "*?") && !strings.ContainsAny(service, "*?") && of != service {
				continue // another service's action
			}
			if strings.ContainsAny(action, "*?") || covers(n, action) {
				return false
			}
		}
		return true
	}
	for _, a := range s.Action {
		if covers(strings.ToLower(a), action) {
			return true
		}
	}
	return false
}

// coversResource says whether a statement is about everything that the pattern
// resource names. NotResource is taken not to cover.
func (s statement) coversResource(resource string) bool {
	for _, r := range s.Resource {
		if covers(r, resource) {
			return true
		}
	}
	return false
}

// covers says whether pattern matches everything that specific matches; both
// may have the wildcards * and ?. It may miss a cover, and never invents one.
func covers(pattern, specific string) bool {
	if strings.Contains(pattern, "${") {
		return false // a policy variable: nobody knows what it will be
	}
	p, s, star, from := 0, 0, -1, 0
	for s < len(specific) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, s
			p++
		case p < len(pattern) && specific[s] != '*' && (pattern[p] == '?' || pattern[p] == specific[s] && specific[s] != '?'):
			p++
			s++
		case star >= 0:
			from++
			p, s = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// deniesPlain says whether a bucket policy denies every request that does not
// come over TLS: every action of S3, on the bucket and on every object, for
// everybody. Where not, it says what is left open.
func (p policyDocument) deniesPlain(bucketARN string) (truth, string) {
	result, why := yes, ""
	for _, part := range []struct{ resource, name string }{{bucketARN, "the bucket itself"}, {bucketARN + "/*", "its objects"}} {
		covered, near := no, "no statement denies requests without TLS"
		for i, s := range p.Statement {
			if s.Effect != "Deny" || !s.mentions("aws:SecureTransport") {
				continue
			}
			t, reason := s.deniesPlainTo(part.resource)
			if t > covered || covered == no && reason != "" {
				covered, near = max(t, covered), fmt.Sprintf("statement %s %s", s.name(i), reason)
			}
		}
		if covered < result {
			result, why = covered, fmt.Sprintf("for %s: %s", part.name, near)
		}
	}
	return result, why
}

func (s statement) deniesPlainTo(resource string) (truth, string) {
	switch {
	case len(s.NotResource) > 0:
		return unknown, "names what it is not about (NotResource), which verify cannot evaluate"
	case !s.coversResource(resource):
		return no, fmt.Sprintf("is not about %s", resource)
	case !s.coversAction("s3:*"):
		return no, "does not deny every action (s3:*)"
	case s.everybody() == no:
		return no, "does not deny everybody (Principal \"*\")"
	}
	t := s.appliesTo(plainRequest, statement.everybody)
	switch t {
	case no:
		return no, "has a condition that lets some requests without TLS through"
	case unknown:
		return unknown, "has a condition that verify cannot evaluate"
	}
	return yes, ""
}

func (s statement) mentions(key string) bool {
	for _, keys := range s.Condition {
		for k := range keys {
			if strings.EqualFold(k, key) {
				return true
			}
		}
	}
	return false
}

// comparison is how an operator compares a value with a pattern.
type comparison int

const (
	exactly comparison = iota // StringEquals
	folding                   // StringEqualsIgnoreCase, Bool: case does not count
	like                      // StringLike: wildcards span everything
	likeARN                   // ArnLike: wildcards stay between two colons
)

// wild says whether the pattern has wildcards that count.
func (c comparison) wild(pattern string) bool {
	return (c == like || c == likeARN) && strings.ContainsAny(pattern, "*?")
}

// values is what a condition key may hold in the requests that are reasoned
// about.
type values struct {
	absent, present bool // may be missing; may be there
	// match says whether a value can, and whether it can fail to, match a
	// pattern.
	match func(pattern string, how comparison) (can, cannot truth)
}

// chosen is a key whose value the requester chooses.
func chosen(string, comparison) (can, cannot truth) { return yes, yes }

// mystery is a key that this file does not know.
func mystery(string, comparison) (can, cannot truth) { return unknown, unknown }

// alwaysFalse is a key that holds "false" in all these requests.
func alwaysFalse(pattern string, how comparison) (can, cannot truth) {
	m := pattern == "false"
	switch how {
	case folding:
		m = strings.EqualFold(pattern, "false")
	case like, likeARN:
		m = covers(pattern, "false")
	}
	return truthOf(m), truthOf(!m)
}

// notTheirs is a key that says who the requester is by a text that strangers
// cannot choose: their account's number, their organization's id.
func notTheirs(pattern string, how comparison) (can, cannot truth) {
	id, _, _ := strings.Cut(pattern, "/") // an organization's path begins with its id
	switch {
	case !how.wild(pattern):
		return no, yes
	case strings.Trim(pattern, "*") == "":
		return yes, no
	case strings.HasPrefix(id, "o-") && !how.wild(id):
		return no, yes
	}
	return yes, yes // some stranger's number has these digits
}

// notTheirARN is a key that holds the requester's ARN. A pattern keeps
// strangers out where its account is spelled out. In StringLike no wildcard may
// come before it: it spans colons, and a path in a stranger's ARN may hold those.
func notTheirARN(pattern string, how comparison) (can, cannot truth) {
	if !how.wild(pattern) {
		return no, yes
	}
	if strings.Trim(pattern, "*") == "" {
		return yes, no
	}
	part := strings.SplitN(pattern, ":", 6)
	if len(part) < 6 || part[4] == "" || how.wild(part[4]) {
		return yes, yes
	}
	if how == like && how.wild(strings.Join(part[:4], ":")) {
		return unknown, yes
	}
	return no, yes
}

// notTheirSourceARN is a key that holds the ARN of what a service acts for. An
// ARN without an account, a bucket's, may be a pattern of a stranger's too.
func notTheirSourceARN(pattern string, how comparison) (can, cannot truth) {
	if part := strings.SplitN(pattern, ":", 6); len(part) == 6 && part[4] == "" && how.wild(part[5]) {
		return unknown, yes
	}
	return notTheirARN(pattern, how)
}

// notTheirUserID is a key that holds IAM's unique id of the requester and, for
// a role, the session's name, which its owner chooses.
func notTheirUserID(pattern string, how comparison) (can, cannot truth) {
	id, _, _ := strings.Cut(pattern, ":")
	if strings.Trim(pattern, "*") == "" {
		return notTheirs(pattern, how)
	}
	return truthOf(how.wild(id)), yes
}

// notTheirNetwork is a key that holds a network address.
func notTheirNetwork(pattern string, _ comparison) (can, cannot truth) {
	prefix, err := netip.ParsePrefix(pattern)
	if err != nil {
		if _, err := netip.ParseAddr(pattern); err != nil {
			return unknown, unknown
		}
		return no, yes
	}
	// S3 counts a range as public from the same sizes on.
	// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
	if prefix.Addr().Is4() && prefix.Bits() < 8 || !prefix.Addr().Is4() && prefix.Bits() < 32 {
		return yes, truthOf(prefix.Bits() > 0)
	}
	return no, yes
}

// strangerKeys has the condition keys whose values a stranger cannot choose.
var strangerKeys = map[string]values{
	"kms:calleraccount":         {present: true, match: notTheirs},
	"aws:principalaccount":      {present: true, match: notTheirs},
	"aws:principalarn":          {present: true, match: notTheirARN},
	"aws:principalisawsservice": {present: true, match: alwaysFalse},
	"aws:userid":                {present: true, match: notTheirUserID},
	"aws:principalorgid":        {absent: true, present: true, match: notTheirs},
	"aws:principalorgpaths":     {absent: true, present: true, match: notTheirs},
	"aws:principalservicename":  {absent: true, match: mystery},
	"aws:sourceaccount":         {absent: true, present: true, match: notTheirs},
	"aws:sourceorgid":           {absent: true, present: true, match: notTheirs},
	"aws:sourceorgpaths":        {absent: true, present: true, match: notTheirs},
	"aws:sourcearn":             {absent: true, present: true, match: notTheirSourceARN},
	"aws:sourcevpc":             {absent: true, present: true, match: notTheirs},
	"aws:sourcevpce":            {absent: true, present: true, match: notTheirs},
	"aws:vpceaccount":           {absent: true, present: true, match: notTheirs},
	"aws:vpceorgid":             {absent: true, present: true, match: notTheirs},
	"aws:sourceip":              {absent: true, present: true, match: notTheirNetwork},
	"aws:vpcsourceip":           {absent: true, present: true, match: notTheirNetwork},
}

// freeKeys has the condition keys whose values a stranger chooses; those that
// end with a slash or a colon are the beginnings of such keys.
var freeKeys = []string{
	"aws:calledvia", "aws:calledviafirst", "aws:calledvialast", "aws:multifactorauthpresent", "aws:principaltag/",
	"aws:principaltype", "aws:referer", "aws:requestedregion", "aws:requesttag/", "aws:securetransport",
	"aws:sourceidentity", "aws:tagkeys", "aws:useragent", "aws:username", "aws:viaawsservice",
	"kms:encryptionalgorithm", "kms:encryptioncontext:", "kms:encryptioncontextkeys", "kms:grantconstrainttype",
	"kms:granteeprincipal", "kms:grantisforawsresource", "kms:grantoperations", "kms:reencryptonsamekey",
	"kms:requestalias", "kms:retiringprincipal", "kms:viaservice",
}

// stranger is what a condition key may hold for somebody outside: an identity
// of their own, in an account of their own, in an organization of their own or
// in none. kms:ViaService is theirs to choose: they may come through the same
// service, for their own account.
func stranger(key string) values {
	key = strings.ToLower(key)
	if v, ok := strangerKeys[key]; ok {
		return v
	}
	for _, free := range freeKeys {
		if key == free || strings.ContainsAny(free[len(free)-1:], "/:") && strings.HasPrefix(key, free) {
			return values{absent: true, present: true, match: chosen}
		}
	}
	return values{absent: true, present: true, match: mystery}
}

// plainRequest is what a condition key may hold in a request over plain HTTP:
// nothing is known of it but the transport.
func plainRequest(key string) values {
	if strings.EqualFold(key, "aws:SecureTransport") {
		return values{present: true, match: alwaysFalse}
	}
	return values{absent: true, present: true, match: chosen}
}

// operators has the condition operators that evaluate knows, besides Null.
var operators = map[string]struct {
	how     comparison
	negated bool
}{
	"stringequals":              {how: exactly},
	"stringequalsignorecase":    {how: folding},
	"stringlike":                {how: like},
	"arnequals":                 {how: likeARN}, // the same as ArnLike
	"arnlike":                   {how: likeARN},
	"bool":                      {how: folding},
	"ipaddress":                 {how: exactly},
	"stringnotequals":           {how: exactly, negated: true},
	"stringnotequalsignorecase": {how: folding, negated: true},
	"stringnotlike":             {how: like, negated: true},
	"arnnotequals":              {how: likeARN, negated: true},
	"arnnotlike":                {how: likeARN, negated: true},
	"notipaddress":              {how: exactly, negated: true},
}

// evaluate says whether a condition can be true, and whether it can be false,
// for the values that its key may hold.
func evaluate(operator string, patterns texts, v values) (can, cannot truth) {
	op := strings.ToLower(operator)
	var forAll, forAny bool
	if rest, ok := strings.CutPrefix(op, "forallvalues:"); ok {
		op, forAll = rest, true
	} else if rest, ok := strings.CutPrefix(op, "foranyvalue:"); ok {
		op, forAny = rest, true
	}
	op, ifExists := strings.CutSuffix(op, "ifexists")

	if op == "null" {
		for _, p := range patterns {
			switch strings.ToLower(p) {
			case "true":
				can, cannot = can.or(truthOf(v.absent)), cannot.or(truthOf(v.present))
			case "false":
				can, cannot = can.or(truthOf(v.present)), cannot.or(truthOf(v.absent))
			default:
				return unknown, unknown
			}
		}
		return can, cannot
	}

	o, known := operators[op]
	if !known {
		return unknown, unknown
	}

	// Whether a value that is there can match one of the patterns, and whether
	// it can match none.
	matches, misses := no, yes
	for _, p := range patterns {
		if strings.Contains(p, "${") {
			matches, misses = matches.or(unknown), misses.and(unknown)
			continue
		}
		c, n := v.match(p, o.how)
		matches, misses = matches.or(c), misses.and(n)
	}
	if o.negated {
		matches, misses = misses, matches
	}
	if v.present {
		can, cannot = matches, misses
	}
	if v.absent {
		// A key that is not there makes a positive operator false and a negated
		// one true; IfExists and ForAllValues make it true, ForAnyValue false.
		if ifExists || forAll || o.negated && !forAny {
			can = yes
		} else {
			cannot = yes
		}
	}
	return can, cannot
}
