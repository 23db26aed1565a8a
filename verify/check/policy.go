package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// This file evaluates policy documents: whether a principal outside the accounts
// that a policy names may use the resource (openToOutsiders), whether a bucket
// policy refuses every request without TLS (deniesPlain), and whether it refuses
// uploads under another key (deniesOtherKeys). It evaluates which requests a
// statement's principals and conditions admit, not its text. Every result has
// three values: what this file does not model is unknown, and never a pass.
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
	Version   string
	Id        string
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

// UnmarshalJSON refuses an element that is unknown or occurs twice: its meaning
// for the statement would be a guess.
func (s *statement) UnmarshalJSON(b []byte) error {
	if err := onlyElements(b, "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"); err != nil {
		return err
	}
	type plain statement
	if err := json.Unmarshal(b, (*plain)(s)); err != nil {
		return err
	}
	switch {
	case s.Effect != "Allow" && s.Effect != "Deny":
		return fmt.Errorf("a statement has the Effect %q", s.Effect)
	case (len(s.Action) > 0) == (len(s.NotAction) > 0):
		return errors.New("a statement has not exactly one of Action and NotAction")
	case len(s.Resource) > 0 && len(s.NotResource) > 0:
		return errors.New("a statement has both Resource and NotResource")
	case (s.Principal != nil) == (s.NotPrincipal != nil):
		return errors.New("a statement has not exactly one of Principal and NotPrincipal")
	}
	return nil
}

// onlyElements refuses an object with an element of another name, also in other
// spelling, or with one that occurs twice.
func onlyElements(b []byte, names ...string) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("an object was expected")
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		if seen[name] {
			return fmt.Errorf("the element %s occurs twice", name)
		}
		if !slices.Contains(names, name) {
			return fmt.Errorf("the element %s is unknown", name)
		}
		seen[name] = true
		if err := d.Decode(new(json.RawMessage)); err != nil {
			return err
		}
	}
	return nil
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
// string "*" is everyone and means the same as {"AWS": "*"}.
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
	err := onlyElements([]byte(document), "Version", "Id", "Statement")
	if err == nil {
		err = duplicateName(json.NewDecoder(strings.NewReader(document)))
	}
	if err == nil {
		err = json.Unmarshal([]byte(document), &p)
	}
	if err == nil && p.Version != "" && p.Version != "2012-10-17" && p.Version != "2008-10-17" {
		err = fmt.Errorf("its version is %q", p.Version)
	}
	if err == nil && len(p.Statement) == 0 {
		err = errors.New("it has no statement")
	}
	if err != nil {
		return p, fmt.Errorf("the policy is not a policy document that verify understands: %w", err)
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

// allowsPrincipal reports whether the policy allows a principal, by name or as one
// of the account with this number, an action on the resource without any condition.
func (p policyDocument) allowsPrincipal(arn, number, action, resource string) bool {
	return slices.ContainsFunc(p.Statement, func(s statement) bool {
		if s.Effect != "Allow" || s.Principal == nil || len(s.Condition) > 0 || s.touches(resource) != yes || !s.coversAction(action) {
			return false
		}
		return slices.ContainsFunc((*s.Principal)["AWS"], func(name string) bool {
			return name == arn || name == number || accountOf(name) == number && strings.HasSuffix(name, ":root")
		})
	})
}

// openToOutsiders reports whether a principal in an account that the policy does
// not name, or an AWS service on behalf of one, may do anything of the service
// (kms or s3) to one of the resources, and which statement admits it. Statements
// that name an account, a role or a service admit whom they name: that is sharing.
func (p policyDocument) openToOutsiders(service string, resources ...string) (truth, string) {
	open, why := no, ""
	networks := p.outsidersNetworks()
	for i, s := range p.Statement {
		concerns := s.concerns(service)
		if s.Effect != "Allow" || concerns == no {
			continue
		}
		for _, resource := range resources {
			lets, reason := s.admitsOutsider(networks)
			if concerns == unknown {
				reason += " an action that verify cannot evaluate (a policy variable)"
			}
			touches := s.touches(resource)
			if touches == unknown {
				reason += " on a resource that verify cannot evaluate (a policy variable)"
			}
			lets = lets.and(concerns).and(touches).and(p.deniedToOutsiders(s, resource).not())
			if lets > open {
				open, why = lets, fmt.Sprintf("statement %s %s", s.name(i), reason)
			}
		}
	}
	return open, why
}

// outsidersNetworks is the networks of all statements that admit principals which
// the policy does not name. They are judged together: many small networks are as
// open as a large one.
func (p policyDocument) outsidersNetworks() texts {
	var all texts
	for _, s := range p.Statement {
		if admits, _ := s.namesOutsider(); s.Effect != "Allow" || admits == no {
			continue
		}
		for op, keys := range s.Condition {
			for key, networks := range keys {
				if isNetworkCondition(op, key) {
					all = append(all, networks...)
				}
			}
		}
	}
	return all
}

// isNetworkCondition reports whether a condition admits the networks that it names.
func isNetworkCondition(operator, key string) bool {
	return strings.EqualFold(key, "aws:SourceIp") && readOperator(operator).name == "ipaddress"
}

// namesOutsider reports whether some outside principal is one of the statement's
// principals.
func (s statement) namesOutsider() (truth, string) {
	if s.NotPrincipal != nil {
		return yes, "allows everyone except some (NotPrincipal)"
	}
	names, reason := no, ""
	for _, kind := range slices.Sorted(maps.Keys(*s.Principal)) {
		for _, n := range (*s.Principal)[kind] {
			if t := outsiderIs(kind, n); t > names {
				names, reason = t, fmt.Sprintf("allows the principal %s %q", kind, n)
			}
		}
	}
	return names, reason
}

// admitsOutsider reports whether some outside principal meets the statement's
// principals and conditions. networks are those of all such statements.
func (s statement) admitsOutsider(networks texts) (truth, string) {
	lets, reason := s.namesOutsider()
	if lets == no {
		return no, ""
	}
	can, why := s.outsiderMeetsConditions(networks)
	lets, reason = lets.and(can), reason+why
	if lets == yes {
		reason += ", and no condition keeps other accounts out"
	}
	return lets, reason
}

// outsiderMeetsConditions reports whether a request for another account can meet
// every condition, and which of them cannot be evaluated.
func (s statement) outsiderMeetsConditions(networks texts) (meets truth, why string) {
	meets = yes
	for _, op := range slices.Sorted(maps.Keys(s.Condition)) {
		for _, key := range slices.Sorted(maps.Keys(s.Condition[op])) {
			values := s.Condition[op][key]
			if isNetworkCondition(op, key) {
				values = networks
			}
			can, _ := evaluate(op, values, outsider(key))
			if can == unknown {
				why += fmt.Sprintf(" under a condition that verify cannot evaluate (%s %s)", op, key)
			}
			meets = meets.and(can)
		}
	}
	return meets, why
}

// servicesForAnyAccount is the AWS services that the policy admits by name without
// a condition that ties their requests to an account, an organization or a resource.
// They may use the resource for anyone: the confused deputy problem.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
func (p policyDocument) servicesForAnyAccount() []string {
	var names []string
	networks := p.outsidersNetworks()
	for _, s := range p.Statement {
		if s.Effect != "Allow" || s.Principal == nil {
			continue
		}
		if meets, _ := s.outsiderMeetsConditions(networks); meets != no {
			names = append(names, (*s.Principal)["Service"]...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// deniedToOutsiders reports whether Deny statements take back, from every
// outsider, all that allow gives.
func (p policyDocument) deniedToOutsiders(allow statement, resource string) truth {
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
			covered = covered.or(s.appliesTo(outsider, everyOutsider))
		}
		all = all.and(covered)
	}
	return all
}

// everyOutsider reports whether a Deny's principals include all outsiders.
func everyOutsider(s statement) truth {
	if s.NotPrincipal != nil {
		t := yes
		for kind, names := range *s.NotPrincipal {
			for _, n := range names {
				t = t.and(outsiderIs(kind, n).not())
			}
		}
		return t
	}
	return s.namesEveryone()
}

// namesEveryone reports whether the statement names everyone, anonymous included.
func (s statement) namesEveryone() truth {
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

// appliesTo reports whether a statement applies to every request of the kind that
// seen describes: no requester can choose values that make a condition false.
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

// outsiderIs reports whether a named principal may be an outsider.
func outsiderIs(kind, name string) truth {
	switch kind {
	case "AWS":
		if name == "*" {
			return yes
		}
		if strings.ContainsAny(name, "*?") {
			return unknown // AWS refuses these; if one is here, it means something new
		}
		return no // an account, role or user that the policy names
	case "Service":
		return truthOf(strings.ContainsAny(name, "*?"))
	case "CanonicalUser":
		return no
	}
	// Federated: a web identity provider may admit any person.
	if kind == "Federated" && strings.HasPrefix(name, "arn:") {
		return no
	}
	return unknown
}

// touches reports whether the statement is about something that the pattern
// resource names. A policy variable may become anything.
func (s statement) touches(resource string) truth {
	if len(s.NotResource) > 0 {
		t := yes
		for _, r := range s.NotResource {
			switch {
			case strings.Contains(r, "${"):
				t = t.and(unknown)
			case covers(r, resource):
				t = no
			}
		}
		return t
	}
	t := no
	for _, r := range s.Resource {
		switch {
		case strings.Contains(r, "${"):
			t = t.or(unknown)
		case overlaps(r, resource):
			t = yes
		}
	}
	if len(s.Resource) == 0 {
		return yes
	}
	return t
}

// overlaps reports whether some text matches both patterns, which may have the
// wildcards * and ?.
func overlaps(a, b string) bool {
	type at struct{ i, j int }
	seen := map[at]bool{}
	var meet func(i, j int) bool
	meet = func(i, j int) bool {
		if seen[at{i, j}] {
			return false
		}
		seen[at{i, j}] = true
		switch {
		case i == len(a) && j == len(b):
			return true
		case i < len(a) && a[i] == '*':
			return meet(i+1, j) || j < len(b) && meet(i, j+1)
		case j < len(b) && b[j] == '*':
			return meet(i, j+1) || i < len(a) && meet(i+1, j)
		case i == len(a) || j == len(b):
			return false
		case a[i] == b[j] || a[i] == '?' || b[j] == '?':
			return meet(i+1, j+1)
		}
		return false
	}
	return meet(0, 0)
}

// concerns reports whether the statement has actions of the service.
func (s statement) concerns(service string) truth {
	if len(s.NotAction) > 0 {
		return yes
	}
	t := no
	for _, a := range s.Action {
		of, _, _ := strings.Cut(strings.ToLower(a), ":")
		switch {
		case strings.Contains(a, "${"):
			t = t.or(unknown)
		case covers(of, service):
			t = yes
		}
	}
	return t
}

// coversAction reports whether a statement is about every action that the pattern
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

// coversResource reports whether a statement is about everything that the pattern
// resource names. NotResource is taken not to cover.
func (s statement) coversResource(resource string) bool {
	for _, r := range s.Resource {
		if covers(r, resource) {
			return true
		}
	}
	return false
}

// covers reports whether pattern matches everything that specific matches; both
// may have the wildcards * and ?. It may miss a cover, and never invents one.
func covers(pattern, specific string) bool {
	if strings.Contains(pattern, "${") {
		return false // a policy variable, which may become anything
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

// deniesPlain reports whether a bucket policy denies every request that does not
// come over TLS: every action of S3, on the bucket and on every object, for
// everyone. Where not, it returns what is left open.
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
	case s.namesEveryone() == no:
		return no, "does not deny everyone (Principal \"*\")"
	}
	t := s.appliesTo(plainRequest, statement.namesEveryone)
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

// wild reports whether the pattern has wildcards that count.
func (c comparison) wild(pattern string) bool {
	return (c == like || c == likeARN) && strings.ContainsAny(pattern, "*?")
}

// values is what a condition key may hold in the requests that are reasoned
// about.
type values struct {
	absent, present bool // may be missing; may be there
	// match reports whether a value can, and whether it can fail to, match a
	// pattern.
	match func(pattern string, how comparison) (can, cannot truth)
	// networks reports whether match does not judge networks, which IpAddress
	// compares: see publicNetworks.
	networks bool
}

// chosen is a key whose value the requester chooses.
func chosen(string, comparison) (can, cannot truth) { return yes, yes }

// notModelled is a key that this file does not model.
func notModelled(string, comparison) (can, cannot truth) { return unknown, unknown }

// alwaysFalse is a key that holds "false" in all these requests.
func alwaysFalse(pattern string, how comparison) (can, cannot truth) {
	return fixed("false", pattern, how)
}

// notTheirs is a key that says who the requester is by a text that outsiders
// cannot choose: their account ID, their organization's ID.
func notTheirs(pattern string, how comparison) (can, cannot truth) {
	id, _, _ := strings.Cut(pattern, "/") // an organization's path begins with its id
	switch {
	case how == likeARN: // an ARN operator on what is no ARN
		return unknown, unknown
	case !how.wild(pattern):
		return no, yes
	case strings.Trim(pattern, "*") == "":
		return yes, no
	case strings.HasPrefix(id, "o-") && !how.wild(id):
		return no, yes
	}
	return yes, yes // some outsider's number has these digits
}

// notTheirARN is a key that holds the requester's ARN. A pattern keeps outsiders
// out if it spells out an account before its first wildcard: the account of an
// ARN is its fifth part and has 12 digits.
func notTheirARN(pattern string, how comparison) (can, cannot truth) {
	if !how.wild(pattern) {
		return no, yes
	}
	if strings.Trim(pattern, "*") == "" {
		return yes, no
	}
	literal := strings.SplitN(pattern[:strings.IndexAny(pattern, "*?")], ":", 6)
	if len(literal) >= 5 && len(literal[4]) >= 12 {
		return no, yes
	}
	part := strings.SplitN(pattern, ":", 6)
	if len(part) < 6 || part[4] == "" || how.wild(part[4]) {
		return yes, yes
	}
	if how == like { // a wildcard before the account spans colons
		return unknown, yes
	}
	return no, yes
}

// notTheirSourceARN is a key that holds the ARN of what a service acts for. An
// ARN without an account, a bucket's, may be a pattern of an outsider's too.
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

// notTheirNetwork is the address that a request comes from. Addresses that are
// compared as text, and not by IpAddress, are understood without wildcards only;
// ranges are judged together, by publicNetworks.
func notTheirNetwork(pattern string, how comparison) (can, cannot truth) {
	if _, err := netip.ParseAddr(pattern); err == nil && !how.wild(pattern) {
		return no, yes
	}
	return unknown, unknown
}

// publicNetworks reports whether an outsider can send a request from one of the
// networks, which is likelier the larger they are together: no up to a /16 of IPv4
// or a /32 of IPv6, yes from a /8 or a /16 on, unknown in between. An IPv4 network
// that is written as IPv6 counts as IPv4.
// S3 counts one range as public from /8 and /32 on:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
func publicNetworks(patterns texts) truth {
	var v4, v6 float64 // addresses
	for _, p := range patterns {
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			addr, err := netip.ParseAddr(p)
			if err != nil {
				return unknown
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		mapped := netip.MustParsePrefix("::ffff:0:0/96")
		switch addr := prefix.Addr(); {
		case addr.Is4():
			v4 += math.Exp2(float64(32 - prefix.Bits()))
		case prefix.Bits() >= 96 && mapped.Contains(addr):
			v4 += math.Exp2(float64(128 - prefix.Bits()))
		case prefix.Contains(mapped.Addr()):
			v4 = math.Exp2(32)
		default:
			v6 += math.Exp2(float64(128 - prefix.Bits()))
		}
	}
	switch {
	case v4 >= math.Exp2(24) || v6 >= math.Exp2(112):
		return yes
	case v4 > math.Exp2(16) || v6 > math.Exp2(96):
		return unknown
	}
	return no
}

// outsiderKeys has the condition keys whose values an outsider cannot choose.
var outsiderKeys = map[string]values{
	"kms:calleraccount":        {present: true, match: notTheirs},
	"aws:principalaccount":     {absent: true, present: true, match: notTheirs},
	"aws:principalarn":         {absent: true, present: true, match: notTheirARN},
	"aws:userid":               {absent: true, present: true, match: notTheirUserID},
	"aws:principalorgid":       {absent: true, present: true, match: notTheirs},
	"aws:principalorgpaths":    {absent: true, present: true, match: notTheirs},
	"aws:principalservicename": {absent: true, present: true, match: notModelled},
	"aws:sourceaccount":        {absent: true, present: true, match: notTheirs},
	"aws:sourceorgid":          {absent: true, present: true, match: notTheirs},
	"aws:sourceorgpaths":       {absent: true, present: true, match: notTheirs},
	"aws:sourcearn":            {absent: true, present: true, match: notTheirSourceARN},
	"aws:sourcevpc":            {absent: true, present: true, match: notTheirs},
	"aws:sourcevpce":           {absent: true, present: true, match: notTheirs},
	"aws:vpceaccount":          {absent: true, present: true, match: notTheirs},
	"aws:vpceorgid":            {absent: true, present: true, match: notTheirs},
	"aws:sourceip":             {absent: true, present: true, match: notTheirNetwork, networks: true},
}

// freeKeys has the condition keys whose values an outsider chooses. A private
// address (aws:VpcSourceIp) is one: every VPC may use 10.0.0.0/8. An AWS service
// that acts for an outsider is a service (aws:PrincipalIsAWSService); those that
// end with a slash or a colon are the beginnings of such keys.
var freeKeys = []string{
	"aws:calledvia", "aws:calledviafirst", "aws:calledvialast", "aws:multifactorauthpresent", "aws:principaltag/",
	"aws:principalisawsservice", "aws:principaltype", "aws:referer", "aws:requestedregion", "aws:requesttag/", "aws:securetransport",
	"aws:sourceidentity", "aws:tagkeys", "aws:useragent", "aws:username", "aws:viaawsservice", "aws:vpcsourceip",
	"kms:encryptionalgorithm", "kms:encryptioncontext:", "kms:encryptioncontextkeys", "kms:grantconstrainttype",
	"kms:granteeprincipal", "kms:grantisforawsresource", "kms:grantoperations", "kms:reencryptonsamekey",
	"kms:requestalias", "kms:retiringprincipal", "kms:viaservice",
}

// outsider is what a condition key may hold in a request of an outsider: an identity
// of their own, in an account of their own, in an organization of their own or
// in none. kms:ViaService is theirs to choose: they may come through the same
// service, for their own account.
func outsider(key string) values {
	key = strings.ToLower(key)
	if v, ok := outsiderKeys[key]; ok {
		return v
	}
	for _, free := range freeKeys {
		if key == free || strings.ContainsAny(free[len(free)-1:], "/:") && strings.HasPrefix(key, free) {
			return values{absent: true, present: true, match: chosen}
		}
	}
	return values{absent: true, present: true, match: notModelled}
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
	network bool // values are networks
}{
	"stringequals":              {how: exactly},
	"stringequalsignorecase":    {how: folding},
	"stringlike":                {how: like},
	"arnequals":                 {how: likeARN}, // the same as ArnLike
	"arnlike":                   {how: likeARN},
	"bool":                      {how: folding},
	"ipaddress":                 {network: true},
	"stringnotequals":           {how: exactly, negated: true},
	"stringnotequalsignorecase": {how: folding, negated: true},
	"stringnotlike":             {how: like, negated: true},
	"arnnotequals":              {how: likeARN, negated: true},
	"arnnotlike":                {how: likeARN, negated: true},
	"notipaddress":              {network: true, negated: true},
}

// conditionOperator is an operator, taken apart.
type conditionOperator struct {
	name                     string // in lower case, without the rest
	forAll, forAny, ifExists bool
}

// readOperator takes an operator apart: "ForAnyValue:StringLikeIfExists".
func readOperator(operator string) (o conditionOperator) {
	o.name = strings.ToLower(operator)
	o.name, o.forAll = strings.CutPrefix(o.name, "forallvalues:")
	if !o.forAll {
		o.name, o.forAny = strings.CutPrefix(o.name, "foranyvalue:")
	}
	o.name, o.ifExists = strings.CutSuffix(o.name, "ifexists")
	return o
}

// evaluate reports whether a condition can be true, and whether it can be false,
// for the values that its key may hold.
func evaluate(operator string, patterns texts, v values) (can, cannot truth) {
	op := readOperator(operator)
	if op.name == "null" && (op.ifExists || op.forAll || op.forAny) {
		return unknown, unknown
	}
	if op.name == "null" {
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

	o, known := operators[op.name]
	if !known {
		return unknown, unknown
	}

	// Whether a value that is there can match one of the patterns, and whether
	// it can match none.
	matches, misses := no, yes
	if v.networks && o.network {
		matches = publicNetworks(patterns)
		patterns = nil
	}
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
		if op.ifExists || op.forAll || o.negated && !op.forAny {
			can = yes
		} else {
			cannot = yes
		}
	}
	return can, cannot
}

const (
	otherKeyUpload = "an upload that names another KMS key"
	sseS3Upload    = "an upload that names SSE-S3"
)

// otherEncryption are the uploads that the bucket must refuse, by what a condition
// key may hold in them: another key, SSE-S3, and a key that the client provides.
func otherEncryption(key string) map[string]func(string) values {
	const (
		algorithm = "s3:x-amz-server-side-encryption"
		keyID     = "s3:x-amz-server-side-encryption-aws-kms-key-id"
		customer  = "s3:x-amz-server-side-encryption-customer-algorithm"
	)
	is := func(value string) values {
		return values{present: true, match: func(pattern string, how comparison) (truth, truth) { return fixed(value, pattern, how) }}
	}
	missing := values{absent: true, match: chosen}
	anotherKey := values{present: true, match: func(pattern string, how comparison) (truth, truth) {
		if !how.wild(pattern) && pattern == key {
			return no, yes
		}
		if how == like && strings.Trim(pattern, "*") == "" {
			return yes, no
		}
		return yes, yes // an alias is another key too, and no ARN operator matches it
	}}
	requests := map[string]map[string]values{
		otherKeyUpload: {algorithm: is("aws:kms"), keyID: anotherKey, customer: missing},
		"an upload that names another KMS key for two layers": {algorithm: is("aws:kms:dsse"), keyID: anotherKey, customer: missing},
		sseS3Upload: {algorithm: is("AES256"), keyID: missing, customer: missing},
		"an upload with a key that the client provides": {algorithm: missing, keyID: missing, customer: is("AES256")},
	}
	out := map[string]func(string) values{}
	for name, request := range requests {
		out[name] = func(key string) values {
			if v, ok := request[strings.ToLower(key)]; ok {
				return v
			}
			if name == sseS3Upload {
				return unnamed(serviceName)(key)
			}
			return values{absent: true, present: true, match: chosen}
		}
	}
	return out
}

// fixed is a key that holds one value.
func fixed(value, pattern string, how comparison) (can, cannot truth) {
	m := pattern == value
	if how == likeARN && !strings.HasPrefix(value, "arn:") {
		return unknown, unknown // an ARN operator on what is no ARN
	}
	switch how {
	case folding:
		m = strings.EqualFold(pattern, value)
	case like, likeARN:
		m = covers(pattern, value)
	}
	return truthOf(m), truthOf(!m)
}

// The condition keys of the principal, and of the AWS service, that sends a request.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
const (
	principalARN = "aws:PrincipalArn"
	serviceName  = "aws:PrincipalServiceName"
)

// unnamed describes requests in which the policy names no value of this condition
// key exactly: exact names of it are exceptions that the report lists. Any other
// key has what the caller chooses.
func unnamed(exempt string) func(key string) values {
	return func(key string) values {
		if strings.EqualFold(key, exempt) {
			return values{absent: true, present: true, match: func(pattern string, how comparison) (truth, truth) {
				if how.wild(pattern) {
					return unknown, unknown
				}
				return no, yes
			}}
		}
		return values{absent: true, present: true, match: chosen}
	}
}

// denies reports whether the policy denies everyone an action on everything that
// the pattern resource names, in the requests that seen describes.
func (p policyDocument) denies(action, resource string, seen func(string) values) truth {
	covered := no
	for _, s := range p.Statement {
		if s.Effect == "Deny" && s.coversAction(action) && s.coversResource(resource) {
			covered = covered.or(s.appliesTo(seen, statement.namesEveryone))
		}
	}
	return covered
}

func (p policyDocument) deniesUploads(objects string, seen func(string) values) truth {
	return p.denies("s3:PutObject", objects, seen)
}

// exceptions are the principals that deniesOtherKeys leaves out, because the policy
// names them.
type exceptions struct {
	reencrypt []string // by ARN, for replication and a change of keys in place
	sseS3     []string // services, for uploads that name SSE-S3
}

func (e exceptions) String() string {
	text := ""
	if len(e.reencrypt) > 0 {
		text += "; replication or a change of keys is open to " + strings.Join(e.reencrypt, ", ")
	}
	if len(e.sseS3) > 0 {
		text += "; uploads under SSE-S3 are open to the service " + strings.Join(e.sseS3, ", ")
	}
	return text
}

// deniesOtherKeys reports whether a bucket policy keeps every object under key:
// it denies everyone each upload that names other encryption, except SSE-S3 for
// services that it names; and replication into the bucket and a change of
// encryption in place (both choose a key that no condition of the policy can see),
// except for principals that it names by ARN. It returns what is left open, and
// the exceptions.
func (p policyDocument) deniesOtherKeys(bucketARN, key string) (denied truth, why string, except exceptions) {
	objects := bucketARN + "/*"
	denied = yes
	judge := func(what string, t truth) {
		if t < denied {
			denied, why = t, what
		}
	}
	requests := otherEncryption(key)
	for _, what := range slices.Sorted(maps.Keys(requests)) {
		judge(what, p.deniesUploads(objects, requests[what]))
	}
	judge("replication into the bucket (s3:ReplicateObject)", p.denies("s3:ReplicateObject", objects, unnamed(principalARN)))
	judge("a change of an object's key in place (s3:UpdateObjectEncryption)", p.denies("s3:UpdateObjectEncryption", objects, unnamed(principalARN)))
	except = exceptions{
		reencrypt: p.namesInDenials(principalARN, "s3:ReplicateObject", "s3:UpdateObjectEncryption"),
		sseS3:     p.namesInDenials(serviceName, "s3:PutObject"),
	}
	return denied, why, except
}

// namesInDenials is what the denials of any of the actions compare a condition key
// with.
func (p policyDocument) namesInDenials(key string, actions ...string) []string {
	var names []string
	for _, s := range p.Statement {
		if s.Effect != "Deny" || !slices.ContainsFunc(actions, s.coversAction) {
			continue
		}
		for _, keys := range s.Condition {
			for k, values := range keys {
				if strings.EqualFold(k, key) {
					names = append(names, values...)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
