package components

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Actions as the AWS console's default key policy groups them.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
var (
	adminActions = []string{
		"kms:CancelKeyDeletion", "kms:Create*", "kms:Delete*", "kms:Describe*", "kms:Disable*",
		"kms:Enable*", "kms:Get*", "kms:List*", "kms:Put*", "kms:ReplicateKey", "kms:Revoke*",
		"kms:RotateKeyOnDemand", "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource", "kms:Update*",
	}
	useActions   = []string{"kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"}
	grantActions = []string{"kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"}
)

// via is the value of kms:ViaService for a service. The names end in amazonaws.com
// in every partition, China included, unlike the services' endpoints.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
func via(service, region string) string { return service + "." + region + ".amazonaws.com" }

// keyPolicy is who may do what with a key.
type keyPolicy struct {
	administrators   []string
	serviceUsers     []string
	directUsers      []string
	accounts         []string
	services         []string
	allowAutoScaling bool
	statements       []policyStatement
}

// document writes the policy of key. The same policy gives the same bytes:
// principals are sorted and named once, and a single one is a scalar, which is
// how KMS itself answers. The first statement keeps the account in control of
// its key whatever else is said.
func (p keyPolicy) document(key keyARN) (string, error) {
	viaS3, viaEC2 := via("s3", key.region), via("ec2", key.region)
	d := policyDocument{Version: "2012-10-17", ID: "kms-baseline"}
	d.allow("AccountRoot", aws(key.root()), []string{"kms:*"}, nil)
	if len(p.administrators) > 0 {
		d.allow("Administrators", aws(p.administrators...), adminActions, nil)
	}
	use := func(sid string, principals []string) {
		d.allow(sid, aws(principals...), useActions, conditions{"StringEquals": {"kms:ViaService": {viaEC2, viaS3}}})
		d.allow(sid+"Grants", aws(principals...), grantActions, conditions{
			"Bool":         {"kms:GrantIsForAWSResource": {"true"}},
			"StringEquals": {"kms:ViaService": {viaEC2}},
		})
	}
	if len(p.serviceUsers) > 0 {
		use("ServiceUsers", p.serviceUsers)
	}
	if len(p.directUsers) > 0 {
		d.allow("DirectUsers", aws(p.directUsers...), useActions, nil)
	}
	if len(p.accounts) > 0 {
		roots := make([]string, len(p.accounts))
		for i, a := range p.accounts {
			roots[i] = rootARN(key.partition, a)
		}
		use("Accounts", roots)
	}
	var others []string
	presets, services := map[string]servicePreset{}, map[string][]string{}
	for _, service := range p.services {
		if preset, ok := presetOf(service); ok {
			presets[preset.sid], services[preset.sid] = preset, append(services[preset.sid], service)
		} else {
			others = append(others, service)
		}
	}
	for _, sid := range slices.Sorted(maps.Keys(presets)) {
		preset, who := presets[sid], principals{"Service": services[sid]}
		var when conditions
		if preset.conditions != nil {
			when = preset.conditions(key)
		}
		d.allow(sid, who, preset.actions, when)
		if len(preset.otherActions) > 0 {
			d.allow(sid+"Other", who, preset.otherActions, preset.otherConditions(key))
		}
	}
	if len(others) > 0 {
		// Without the source account, a service could be made to use the key on
		// behalf of a stranger: the confused deputy.
		d.allow("Services", principals{"Service": others}, useActions, sourceAccount(key))
	}
	if p.allowAutoScaling {
		// Source: https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
		role := aws("arn:" + key.partition + ":iam::" + key.account + ":role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling")
		d.allow("AutoScaling", role, useActions, nil)
		d.allow("AutoScalingGrants", role, []string{"kms:CreateGrant"}, conditions{"Bool": {"kms:GrantIsForAWSResource": {"true"}}})
	}
	for _, s := range p.statements {
		d.add(s.statement(key.partition, []string{"*"}))
	}
	return d.finish("key", "KMS", maxKeyPolicy, "name fewer principals, or give roles permission through IAM policies, which the key policy's first statement lets them have")
}

// maxKeyPolicy is the largest key policy that KMS takes, in bytes.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
const maxKeyPolicy = 32 * 1024

// validateKeyPolicy refuses a policy given whole that would lock the account
// out of the key: one that lets neither the account root nor another principal of
// the account change the policy again. account is empty where it is not known yet.
func validateKeyPolicy(field, document, account string) error {
	var d struct {
		Statement json.RawMessage
	}
	if err := json.Unmarshal([]byte(document), &d); err != nil {
		return wrong(field, "not a JSON policy document: %w", err)
	}
	type rawStatement struct {
		Effect    string
		Principal any
		Action    oneOrMany
		Condition map[string]any
	}
	var statements []rawStatement
	if err := json.Unmarshal(d.Statement, &statements); err != nil {
		var one rawStatement
		if err := json.Unmarshal(d.Statement, &one); err != nil {
			return wrong(field, "the policy document has no list of statements: %w", err)
		}
		statements = []rawStatement{one}
	}
	if len(document) > maxKeyPolicy {
		return wrong(field, "it has %d bytes, and KMS takes %d", len(document), maxKeyPolicy)
	}
	allowed := false
	for _, s := range statements {
		if len(s.Condition) > 0 || !slices.ContainsFunc(s.Action, func(a string) bool {
			return slices.Contains([]string{"*", "kms:*", "kms:put*", "kms:putkeypolicy"}, strings.ToLower(a))
		}) {
			continue
		}
		switch s.Effect {
		case "Allow":
			allowed = allowed || ownPrincipal(s.Principal, account)
		case "Deny":
			if namesAccount(s.Principal, account) {
				return wrong(field, "the policy would lock the account out of its key: a statement denies the whole account kms:PutKeyPolicy without a condition")
			}
		}
	}
	if allowed {
		return nil
	}
	return wrong(field, "the policy would lock the account out of its key: add a statement that allows kms:* to the account root without a condition, as AWS's default key policy does")
}

// ownPrincipal reports whether p names a principal in account.
func ownPrincipal(p any, account string) bool {
	return slices.ContainsFunc(awsPrincipals(p), func(s string) bool {
		if accountPattern.MatchString(s) {
			return account == "" || s == account
		}
		return strings.HasPrefix(s, "arn:") && (account == "" || strings.Contains(s, "::"+account+":"))
	})
}

// namesAccount reports whether p names all of account.
func namesAccount(p any, account string) bool {
	return p == "*" || slices.ContainsFunc(awsPrincipals(p), func(s string) bool {
		return s == "*" || ownPrincipal(p, account) && (accountPattern.MatchString(s) || strings.HasSuffix(s, ":root"))
	})
}

// awsPrincipals is what p has under "AWS".
func awsPrincipals(p any) []string {
	m, _ := p.(map[string]any)
	switch v := m["AWS"].(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, x := range v {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// The JSON of policies, key policies and bucket policies alike.

type policyDocument struct {
	Version   string
	ID        string `json:"Id,omitempty"`
	Statement []statement
}

// statement has its fields in the order in which AWS writes them.
type statement struct {
	Sid       string
	Effect    string
	Principal any
	Action    oneOrMany
	Resource  oneOrMany
	Condition conditions `json:",omitempty"`
}

type (
	// principals is kind -> names: {"AWS": [...], "Service": [...]}.
	principals map[string][]string
	// conditions is operator -> condition key -> values.
	conditions map[string]map[string][]string
	// oneOrMany is a scalar in JSON where it has one element.
	oneOrMany []string
)

func aws(arns ...string) principals { return principals{"AWS": arns} }

func (p principals) json() map[string]oneOrMany {
	out := map[string]oneOrMany{}
	for k, v := range p {
		out[k] = sorted(v)
	}
	return out
}

func (c conditions) MarshalJSON() ([]byte, error) {
	out := map[string]map[string]oneOrMany{}
	for op, keys := range c {
		out[op] = map[string]oneOrMany{}
		for k, v := range keys {
			out[op][k] = sorted(v)
		}
	}
	return json.Marshal(out)
}

func (o oneOrMany) MarshalJSON() ([]byte, error) {
	if len(o) == 1 {
		return json.Marshal(o[0])
	}
	return json.Marshal([]string(o))
}

func (o *oneOrMany) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*o = oneOrMany{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(o))
}

func (d *policyDocument) allow(sid string, p principals, actions []string, c conditions) {
	d.add(statement{Sid: sid, Effect: "Allow", Principal: p.json(), Action: actions, Resource: []string{"*"}, Condition: c})
}

func (d *policyDocument) add(s statement) {
	s.Action = sorted(s.Action)
	d.Statement = append(d.Statement, s)
}

// finish writes the policy of a key or a bucket: names occur once, and the service
// takes no more than limit bytes. hint is how to make it smaller.
func (d policyDocument) finish(of, service string, limit int, hint string) (string, error) {
	if err := uniqueSids(d.Statement); err != nil {
		return "", err
	}
	out, err := marshalPolicy(d)
	if err == nil && len(out) > limit {
		err = fmt.Errorf("the %s policy has %d bytes, and %s takes %d: %s", of, len(out), service, limit, hint)
	}
	return out, err
}

func marshalPolicy(document any) (string, error) {
	b, err := json.Marshal(document)
	return string(b), err
}

// sorted is list in order, each element once.
func sorted(list []string) oneOrMany {
	set := map[string]struct{}{}
	for _, s := range list {
		set[s] = struct{}{}
	}
	return slices.Sorted(maps.Keys(set))
}
