// Package policy is IAM's evaluation of policies, as far as localaws needs it: it
// reads documents (parse.go), compares condition keys (conditions.go), knows
// which principals exist and their identity policies (identities.go), and
// decides. It shares no code with verify: each checks the other.
package policy

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Decision is what a policy says of a request.
type Decision int

// The decisions.
const (
	NoMatch   Decision = iota // no statement applies
	Allowed                   // to the caller, by name or as anyone
	Delegated                 // to the caller's account, which has yet to allow its principal
	Denied                    // explicitly: wins over everything
)

// Access is what policies are asked about.
type Access struct {
	Who      wire.Identity // zero for anonymous
	Action   string        // "s3:PutObject"
	Resource string        // ARN
	// Context has the condition keys, in lower case, that the request carries:
	// "aws:securetransport": "true". A key that is absent is absent for Null.
	// The keys that follow from Who are known without it.
	Context map[string]string
	// Lists has the condition keys with any number of values: "aws:tagkeys".
	Lists map[string][]string
}

// ConditionKeys are the global condition keys that follow from the request
// itself. The caller may add to the map.
func ConditionKeys(r *wire.Request) map[string]string {
	return map[string]string{
		"aws:currenttime":     r.Now.UTC().Format(time.RFC3339),
		"aws:epochtime":       strconv.FormatInt(r.Now.Unix(), 10),
		"aws:requestedregion": r.Region,
		"aws:securetransport": strconv.FormatBool(r.Secure),
		"aws:sourceip":        r.SourceIP(),
		"aws:useragent":       r.HTTP.UserAgent(),
		"aws:viaawsservice":   "false",
	}
}

// value returns the values of a condition key, in lower case.
func (a Access) value(key string) ([]string, bool) {
	if v, ok := a.Context[key]; ok {
		return []string{v}, true
	}
	if v, ok := a.Lists[key]; ok {
		return v, len(v) > 0
	}
	v := principalKey(a.Who, key)
	return []string{v}, v != ""
}

// principalKey is the value of a condition key that follows from the caller;
// empty if the key is absent.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
func principalKey(who wire.Identity, key string) string {
	if service := who.Service; service != nil {
		switch key {
		case "aws:principalisawsservice":
			return "true"
		case "aws:principalservicename":
			return service.Name
		case "aws:sourcearn":
			return service.SourceARN
		case "aws:sourceaccount":
			return service.SourceAccount
		}
		return ""
	}
	if who.ARN == "" {
		if key == "aws:principaltype" {
			return "Anonymous"
		}
		return ""
	}
	role := who.Session != nil && who.Session.RoleARN != ""
	switch key {
	case "aws:principalarn":
		return who.PolicyARN()
	case "aws:principalaccount":
		return who.Account
	case "aws:username":
		if role || who.IsRoot() {
			return ""
		}
		return who.Name
	case "aws:userid":
		return who.UserID
	case "aws:principaltype":
		switch {
		case role:
			return "AssumedRole"
		case who.IsRoot():
			return "Account"
		}
		return "User"
	case "aws:principalisawsservice":
		return "false"
	case "aws:multifactorauthpresent":
		if who.Session != nil {
			return "false" // localaws has no MFA devices
		}
	case "aws:tokenissuetime":
		if who.Session != nil {
			return who.Session.Started.UTC().Format(time.RFC3339)
		}
	}
	return ""
}

// Policy is a parsed policy document. It is never changed once parsed.
type Policy struct {
	Statements []Statement
}

// Statement is one statement of a policy.
type Statement struct {
	Deny         bool
	Principals   []Principal // nil in an identity policy
	NotPrincipal bool
	Actions      []string
	NotAction    bool
	Resources    []string
	NotResource  bool
	Conditions   []Condition
	variables    bool // ${aws:username} means something: version 2012-10-17
}

// Principal is one principal that a statement names.
type Principal struct {
	Kind string // "AWS", "Service", "Federated", "CanonicalUser"
	Name string
}

// Decide is what a resource policy says: principals are matched.
func (p *Policy) Decide(a Access) Decision {
	out := NoMatch
	for _, st := range p.Statements {
		match := st.matchPrincipal(a.Who)
		if match == NoMatch || !st.applies(a) {
			continue
		}
		switch {
		case st.Deny:
			return Denied
		case out != Allowed:
			out = match
		}
	}
	return out
}

// DecideIdentity is what an identity policy says.
func (p *Policy) DecideIdentity(a Access) Decision {
	out := NoMatch
	for _, st := range p.Statements {
		if !st.applies(a) {
			continue
		}
		if st.Deny {
			return Denied
		}
		out = Allowed
	}
	return out
}

// matchPrincipal reports whether the statement is about who: as Allowed, or as
// Delegated if it names who's account only. A role stands for its sessions.
func (st Statement) matchPrincipal(who wire.Identity) Decision {
	match := NoMatch
	for _, p := range st.Principals {
		switch {
		case p.Kind == "AWS" && (p.Name == "*" || who.ARN != "" && (p.Name == who.ARN || p.Name == who.PolicyARN())):
			match = Allowed
		case p.Kind == "Service" && who.Service != nil && p.Name == who.Service.Name:
			match = Allowed
		case p.Kind == "AWS" && match == NoMatch && who.Account != "" && p.isAccount(who.Account):
			match = Delegated
		}
	}
	switch {
	case !st.NotPrincipal:
		return match
	case match == NoMatch:
		return Allowed
	}
	return NoMatch
}

// isAccount reports whether the principal is the account as a whole: its ID or
// its root.
func (p Principal) isAccount(account string) bool {
	return p.Name == account || p.Name == wire.RootARN(account)
}

// applies reports whether action, resource and conditions of the statement fit.
func (st Statement) applies(a Access) bool {
	action := strings.ToLower(a.Action)
	fits := slices.ContainsFunc(st.Actions, func(pattern string) bool {
		return Match(Pattern(strings.ToLower(pattern)), action)
	})
	if fits == st.NotAction {
		return false
	}
	fits = slices.ContainsFunc(st.Resources, func(text string) bool {
		pattern, ok := st.expand(text, a, true)
		return ok && Match(pattern, a.Resource)
	})
	if fits == st.NotResource {
		return false
	}
	for _, c := range st.Conditions {
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

// Pattern reads a text in which * and ? are wildcards, for [Match].
func Pattern(s string) []rune {
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

// expand replaces the policy variables in text. It returns false if a
// variable without a default has no value: then nothing matches.
func (st Statement) expand(text string, a Access, wild bool) ([]rune, bool) {
	read := func(s string) []rune { return []rune(s) }
	if wild {
		read = Pattern
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

// Match reports whether s fits the pattern, in time that grows with the product
// of their lengths at worst.
func Match(pattern []rune, s string) bool {
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

// publicKeys are the condition keys that make a statement for everyone a
// statement for a known group, if they have a fixed value.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
var publicKeys = []string{
	"aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceaccount",
	"aws:sourcearn", "aws:sourceip", "aws:sourceowner", "aws:sourcevpc", "aws:sourcevpce", "aws:userid",
	"s3:dataaccesspointaccount", "s3:dataaccesspointarn", "s3:x-amz-server-side-encryption-aws-kms-key-id",
}

// IsPublic reports whether the policy allows anything to everyone, as S3's block
// public access means it.
func (p *Policy) IsPublic() bool {
	return slices.ContainsFunc(p.Statements, func(st Statement) bool {
		everyone := st.NotPrincipal || slices.ContainsFunc(st.Principals, func(p Principal) bool { return p.Kind == "AWS" && p.Name == "*" })
		return !st.Deny && everyone && !slices.ContainsFunc(st.Conditions, Condition.narrows)
	})
}

// mentions reports whether a condition, or a policy variable, has a key that
// begins with prefix, in lower case. No policy has none.
func (p *Policy) mentions(prefix string) bool {
	if p == nil {
		return false
	}
	variable := func(text string) bool { return strings.Contains(strings.ToLower(text), "${"+prefix) }
	return slices.ContainsFunc(p.Statements, func(st Statement) bool {
		return slices.ContainsFunc(st.Resources, variable) || slices.ContainsFunc(st.Conditions, func(c Condition) bool {
			return strings.HasPrefix(c.Key, prefix) || slices.ContainsFunc(c.Values, variable)
		})
	})
}

// MatchesAbsent reports whether the policy compares, with ForAllValues, a key
// that begins with one of prefixes and has one value at most: a request without
// the key matches, which is hardly ever meant. KMS refuses such a policy.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
func (p *Policy) MatchesAbsent(prefixes ...string) bool {
	for _, st := range p.Statements {
		for _, c := range st.Conditions {
			if c.Set == "ForAllValues" && slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(c.Key, prefix) }) {
				return true
			}
		}
	}
	return false
}

// narrows reports whether the condition names who or where from, without a
// wildcard.
func (c Condition) narrows() bool {
	if !slices.Contains(publicKeys, c.Key) || c.Operator.Negate || c.Operator.Null || c.IfExists || c.Set == "ForAllValues" {
		return false
	}
	return !slices.ContainsFunc(c.Values, func(v string) bool {
		if c.Key == "aws:sourceip" {
			p, err := netip.ParsePrefix(v)
			return err == nil && (p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 32)
		}
		return strings.ContainsAny(v, "*?") || strings.Contains(v, "${")
	})
}

// globalKeys are AWS's global condition keys, in lower case. Those that follow
// from the request or the caller are evaluated; the others are absent from every
// request here, as they are from a request to AWS that involves no organization,
// VPC endpoint, federation or other service.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
var globalKeys = []string{
	"aws:assumedroot", "aws:calledvia", "aws:calledviafirst", "aws:calledvialast", "aws:chatbotsourcearn", "aws:currenttime",
	"aws:ec2instancesourceprivateipv4", "aws:ec2instancesourcevpc", "aws:epochtime", "aws:federatedprovider",
	"aws:multifactorauthage", "aws:multifactorauthpresent", "aws:principalaccount", "aws:principalarn",
	"aws:principalisawsservice", "aws:principalorgid", "aws:principalorgpaths", "aws:principalservicename",
	"aws:principalservicenameslist", "aws:principaltype", "aws:referer", "aws:requestedregion", "aws:resourceaccount",
	"aws:resourceorgid", "aws:resourceorgpaths", "aws:securetransport", "aws:sourceaccount", "aws:sourcearn",
	"aws:sourceidentity", "aws:sourceip", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourceowner", "aws:sourcevpc",
	"aws:sourcevpcarn", "aws:sourcevpce", "aws:tagkeys", "aws:tokenissuetime", "aws:useragent", "aws:userid", "aws:username",
	"aws:viaawsservice", "aws:vpceaccount", "aws:vpceorgid", "aws:vpceorgpaths", "aws:vpcsourceip",
}

// globalTags are the global condition keys that end with the name of a tag.
var globalTags = []string{"aws:principaltag/", "aws:requesttag/", "aws:resourcetag/"}

// UnknownKey is the first condition key of the policy that is neither global nor
// evaluated by a service, which known reports of a key in lower case; empty if
// there is none.
func (p *Policy) UnknownKey(known func(key string) bool) string {
	for _, st := range p.Statements {
		for _, c := range st.Conditions {
			global := slices.Contains(globalKeys, c.Key) || slices.ContainsFunc(globalTags, func(tag string) bool {
				return strings.HasPrefix(c.Key, tag) && len(c.Key) > len(tag)
			})
			if !global && !known(c.Key) {
				return c.Key
			}
		}
	}
	return ""
}
