package localaws

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// The policy engine. A service asks one question:
//
//	reason, ok := s.authorize(access, resourcePolicy, resourceAccount)
//
// where resourcePolicy may be nil and reason is the end of AWS's message. KMS
// asks differently, since a key has no access that its policy does not give:
// see kms_access.go. Documents are read in policy_parse.go, condition operators
// are in policy_conditions.go, and who exists is in policy_principals.go.

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
