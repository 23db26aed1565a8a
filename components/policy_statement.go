package components

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// PolicyStatement is one more statement of a key policy or a bucket policy. It
// applies to that key, or to that bucket and its objects. There is no
// NotPrincipal, which names everyone but a few.
type PolicyStatement struct {
	// Sid names the statement: letters and digits. Required, and unlike any other
	// in the policy.
	Sid string `pulumi:"sid"`
	// Effect is "Allow" or "Deny". The default is "Allow".
	Effect string `pulumi:"effect,optional"`
	// Principals are ARNs of IAM roles, users or account roots, or AWS account
	// IDs; or, alone in a statement, the ID of an organization ("o-..."), which
	// stands for all principals of its accounts: everyone, if StringEquals of
	// aws:PrincipalOrgID holds, which Conditions may not have then.
	Principals pulumi.StringArrayInput `pulumi:"principals,optional"`
	// Services are service principals: "cloudtrail.amazonaws.com".
	Services pulumi.StringArrayInput `pulumi:"services,optional"`
	// Actions are actions of the policy's service: "kms:Decrypt", "s3:GetObject*".
	// Required.
	Actions pulumi.StringArrayInput `pulumi:"actions"`
	// Objects limits a statement of a bucket policy to the objects with these keys,
	// "*" for any characters: "AWSLogs/111122223333/*". The default is the bucket
	// and all its objects. Not allowed in a key policy.
	Objects pulumi.StringArrayInput `pulumi:"objects,optional"`
	// Conditions narrow it: operator -> condition key -> values, as in
	// {"StringEquals": {"aws:SourceAccount": ["111122223333"]}}.
	Conditions map[string]map[string]pulumi.StringArrayInput `pulumi:"conditions,optional"`
}

// policyStatement is a PolicyStatement whose values are known.
type policyStatement struct {
	sid, effect                            string
	principals, services, actions, objects []string
	conditions                             conditions
}

// plainStatements are the statements as far as they are known before anything
// runs. What is not known yet is left out, and named in unknown.
func plainStatements(in []PolicyStatement) []policyStatement {
	out := make([]policyStatement, len(in))
	for i, s := range in {
		out[i] = policyStatement{
			sid: s.Sid, effect: s.Effect, conditions: conditions{},
			principals: plainStrings(s.Principals), services: plainStrings(s.Services), actions: plainStrings(s.Actions), objects: plainStrings(s.Objects),
		}
		for op, keys := range s.Conditions {
			out[i].conditions[op] = map[string][]string{}
			for key, values := range keys {
				out[i].conditions[op][key] = plainStrings(values)
			}
		}
	}
	return out
}

// statementValues resolves to the statements as []policyStatement.
func statementValues(in []PolicyStatement) pulumi.Output {
	inputs := []any{}
	for _, s := range in {
		inputs = append(inputs, orEmpty(s.Principals), orEmpty(s.Services), orEmpty(s.Actions), orEmpty(s.Objects))
		for _, op := range slices.Sorted(maps.Keys(s.Conditions)) {
			for _, key := range slices.Sorted(maps.Keys(s.Conditions[op])) {
				inputs = append(inputs, orEmpty(s.Conditions[op][key]))
			}
		}
	}
	return pulumi.All(inputs...).ApplyT(func(values []any) []policyStatement {
		next := func() []string {
			v := values[0].([]string)
			values = values[1:]
			return v
		}
		out := make([]policyStatement, len(in))
		for i, s := range in {
			out[i] = policyStatement{sid: s.Sid, effect: s.Effect, principals: next(), services: next(), actions: next(), objects: next(), conditions: conditions{}}
			for _, op := range slices.Sorted(maps.Keys(s.Conditions)) {
				out[i].conditions[op] = map[string][]string{}
				for _, key := range slices.Sorted(maps.Keys(s.Conditions[op])) {
					out[i].conditions[op][key] = next()
				}
			}
		}
		return out
	})
}

var (
	sidPattern          = regexp.MustCompile(`^[0-9A-Za-z]+$`)
	actionPattern       = regexp.MustCompile(`^(kms|s3):[A-Za-z*?]+$`)
	organizationPattern = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)
)

// validateStatements holds statements to what the policy of service, "kms" or
// "s3", takes. in are the arguments themselves: a list that is given and not
// known yet is not empty.
func validateStatements(service string, in []PolicyStatement) error {
	var errs []error
	for i, s := range plainStatements(in) {
		const field = "Statements"
		if in[i].Principals == nil && in[i].Services == nil {
			errs = append(errs, wrong(field, "statement %q names no principal: give Principals or Services", s.sid))
		}
		if list, ok := in[i].Actions.(pulumi.StringArray); in[i].Actions == nil || ok && len(list) == 0 {
			errs = append(errs, wrong(field, "statement %q has no Actions", s.sid))
		}
		for _, op := range slices.Sorted(maps.Keys(in[i].Conditions)) {
			if len(in[i].Conditions[op]) == 0 {
				errs = append(errs, wrong(field, "statement %q has a condition %q without a condition key", s.sid, op))
			}
			for key, values := range in[i].Conditions[op] {
				if list, ok := values.(pulumi.StringArray); values == nil || ok && len(list) == 0 {
					errs = append(errs, wrong(field, "statement %q has a condition %q on %q without a value", s.sid, op, key))
				}
			}
		}
		if service == "kms" && in[i].Objects != nil {
			errs = append(errs, wrong(field, "statement %q has Objects, which only a bucket's statement can have", s.sid))
		}
		errs = append(errs, s.validate(field, service))
	}
	return errors.Join(errs...)
}

func (s policyStatement) validate(field, service string) error {
	switch {
	case !sidPattern.MatchString(s.sid):
		return invalid(field+".Sid", s.sid, "it must be letters and digits, and not empty")
	case s.effect != "" && s.effect != "Allow" && s.effect != "Deny":
		return invalid(field+".Effect", s.effect, "it must be Allow or Deny")
	}
	for _, p := range s.principals {
		switch {
		case organizationPattern.MatchString(p) && len(s.principals)+len(s.services) > 1:
			return invalid(field+".Principals", p, "an organization must be the only principal of its statement")
		case organizationPattern.MatchString(p) && s.hasCondition("StringEquals", "aws:PrincipalOrgID"):
			return invalid(field+".Principals", p, fmt.Sprintf("an organization stands for StringEquals of aws:PrincipalOrgID, which statement %q has among its Conditions too: give one of the two", s.sid))
		case organizationPattern.MatchString(p) || accountPattern.MatchString(p):
		default:
			if err := validatePrincipal(field+".Principals", p); err != nil {
				return err
			}
		}
	}
	for _, p := range s.services {
		if err := validateService(field+".Services", p); err != nil {
			return err
		}
	}
	for _, a := range s.actions {
		if !actionPattern.MatchString(a) || !strings.HasPrefix(a, service+":") {
			example := map[string]string{"kms": `a KMS action, as in "kms:Decrypt" or "kms:GenerateDataKey*"`, "s3": `an S3 action, as in "s3:GetObject" or "s3:List*"`}[service]
			return invalid(field+".Actions", a, "it must be "+example)
		}
	}
	for _, o := range s.objects {
		if o == "" || strings.HasPrefix(o, "/") || strings.HasPrefix(o, "arn:") {
			return invalid(field+".Objects", o, `it must be an object's key, as in "logs/*"`)
		}
	}
	everyone := func(p string) bool { return strings.HasSuffix(p, ":root") || accountPattern.MatchString(p) }
	if s.effect == "Deny" && len(s.conditions) == 0 && slices.ContainsFunc(s.principals, everyone) {
		thing := map[string]string{"kms": "key", "s3": "bucket"}[service]
		return wrong(field, "statement %q would deny the account root without a condition, and so lock the account out of its %s", s.sid, thing)
	}
	return nil
}

// hasCondition reports whether s has a condition of this operator on this key.
// AWS does not distinguish upper and lower case in the names of keys.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
func (s policyStatement) hasCondition(operator, key string) bool {
	for op, keys := range s.conditions {
		for k := range keys {
			if strings.EqualFold(op, operator) && strings.EqualFold(k, key) {
				return true
			}
		}
	}
	return false
}

// statement is s in a policy of this partition, for these resources.
func (s policyStatement) statement(partition string, resources []string) statement {
	who, when := principals{}, conditions{}
	for op, keys := range s.conditions {
		when[op] = maps.Clone(keys)
	}
	for _, p := range s.principals {
		switch {
		case organizationPattern.MatchString(p):
			who["AWS"] = []string{"*"}
			if when["StringEquals"] == nil {
				when["StringEquals"] = map[string][]string{}
			}
			when["StringEquals"]["aws:PrincipalOrgID"] = []string{p}
		case accountPattern.MatchString(p):
			who["AWS"] = append(who["AWS"], rootARN(partition, p))
		default:
			who["AWS"] = append(who["AWS"], p)
		}
	}
	if len(s.services) > 0 {
		who["Service"] = s.services
	}
	effect := s.effect
	if effect == "" {
		effect = "Allow"
	}
	return statement{Sid: s.sid, Effect: effect, Principal: who.json(), Action: s.actions, Resource: resources, Condition: when}
}

// checkStatements holds statements that are known by now to the same rules, and
// their principals to the partition of key.
func checkStatements(service string, statements []policyStatement, key keyARN) error {
	var errs []error
	for _, s := range statements {
		err := s.validate("Statements", service)
		if err == nil && len(s.principals)+len(s.services) == 0 {
			err = wrong("Statements", "statement %q names no principal: give Principals or Services", s.sid)
		}
		if err == nil && len(s.actions) == 0 {
			err = wrong("Statements", "statement %q has no Actions", s.sid)
		}
		for _, p := range s.principals {
			if err == nil && strings.HasPrefix(p, "arn:") {
				err = samePartition("Statements.Principals", p, key)
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// uniqueSids returns an error if two statements have one name.
func uniqueSids(statements []statement) error {
	seen := map[string]bool{}
	for _, s := range statements {
		if seen[s.Sid] {
			return wrong("Statements", "two statements of the policy are named %q", s.Sid)
		}
		seen[s.Sid] = true
	}
	return nil
}
