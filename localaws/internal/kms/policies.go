package kms

import (
	"encoding/json"
	"strconv"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Key policies. A key has exactly one, and its name is "default".

// maxKeyPolicy is in bytes.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
const maxKeyPolicy = 32 << 10

// defaultKeyPolicy is what a key made without a policy gets: the account's
// identity policies decide.
func defaultKeyPolicy(account string) string {
	return policyJSON("key-default-1", map[string]any{
		"Sid": "Enable IAM User Permissions", "Effect": "Allow",
		"Principal": map[string]any{"AWS": "arn:aws:iam::" + account + ":root"},
		"Action":    "kms:*", "Resource": "*",
	})
}

// managedKeyPolicy is the policy of an AWS managed key: every principal of the
// account uses it through its service, and may look at it.
func managedKeyPolicy(account, region, short, service string) string {
	return policyJSON("auto-"+short+"-1",
		map[string]any{
			"Sid": "Allow access through the service for all principals in the account that are authorized to use it", "Effect": "Allow",
			"Principal": map[string]any{"AWS": "*"},
			"Action":    []string{"kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey"},
			"Resource":  "*",
			"Condition": map[string]any{"StringEquals": map[string]string{
				"kms:ViaService":    service + "." + region + ".amazonaws.com",
				"kms:CallerAccount": account,
			}},
		},
		map[string]any{
			"Sid": "Allow direct access to key metadata to the account", "Effect": "Allow",
			"Principal": map[string]any{"AWS": "arn:aws:iam::" + account + ":root"},
			"Action":    []string{"kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant"},
			"Resource":  "*",
		})
}

func policyJSON(id string, statements ...map[string]any) string {
	b, err := json.MarshalIndent(map[string]any{"Version": "2012-10-17", "Id": id, "Statement": statements}, "", "  ")
	if err != nil {
		panic(err) // strings, lists and maps of them always encode
	}
	return string(b)
}

// checkPolicy refuses a policy that AWS would not attach to k: malformed,
// naming a principal that does not exist, or, unless that check is bypassed, one
// that would lock the caller out.
func (c *call) checkPolicy(k keyRecord, document string, bypassLockoutCheck bool) error {
	if len(document) > maxKeyPolicy {
		return kmsError("LimitExceededException", "The key policy has %d bytes; the limit is %d.", len(document), maxKeyPolicy)
	}
	p, err := policy.Parse(document)
	if err != nil {
		return kmsError("MalformedPolicyDocumentException", "%v", err)
	}
	if c.s.identities.Unknown(p) != "" {
		return kmsError("MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals.")
	}
	if p.MatchesAbsent(contextKey, "aws:requesttag/") {
		return kmsError("MalformedPolicyDocumentException", "OverlyPermissiveCondition: Using the ForAllValues set operator with a single-valued condition key matches requests without the specified encryption context or tag, or with an unspecified encryption context or tag. To fix, remove ForAllValues.")
	}
	if key := p.UnknownKey(KnownKey); key != "" {
		return wire.NotImplemented("kms", "the condition key "+key+" in a key policy")
	}
	if bypassLockoutCheck {
		return nil
	}
	if d := p.Decide(c.access(k, "PutKeyPolicy")); d != policy.Allowed && d != policy.Delegated {
		return kmsError("MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future.")
	}
	return nil
}

// bypassing reports whether the lockout check is bypassed, and lets the policies
// see what the caller said of it.
func (c *call) bypassing(v *bool) bool {
	if v == nil {
		return false
	}
	c.keys["kms:bypasspolicylockoutsafetycheck"] = strconv.FormatBool(*v)
	return *v
}

type getKeyPolicyInput struct {
	KeyId      string
	PolicyName string
}

func getKeyPolicy(c *call, in getKeyPolicyInput) (any, error) {
	if err := checkPolicyName(in.PolicyName); err != nil {
		return nil, err
	}
	var k keyRecord
	err := c.view(func(tx *bolt.Tx) (err error) {
		k, err = c.allowed(tx, in.KeyId, idOrARN, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	return struct{ Policy, PolicyName string }{k.Policy, "default"}, nil
}

func checkPolicyName(name string) error {
	if name != "" && name != "default" {
		return kmsError("NotFoundException", "No such policy exists")
	}
	return nil
}

type putKeyPolicyInput struct {
	KeyId                          string
	PolicyName                     string
	Policy                         string
	BypassPolicyLockoutSafetyCheck *bool
}

func putKeyPolicy(c *call, in putKeyPolicyInput) (any, error) {
	if err := checkPolicyName(in.PolicyName); err != nil {
		return nil, err
	}
	if err := required("policy", in.Policy); err != nil {
		return nil, err
	}
	bypass := c.bypassing(in.BypassPolicyLockoutSafetyCheck)
	in.BypassPolicyLockoutSafetyCheck = &bypass // the event shows the default
	c.request = trailParameters(in)
	return nil, c.change(in.KeyId, idOrARN, nil, func(_ *bolt.Tx, k *keyRecord) error {
		if err := c.checkPolicy(*k, in.Policy, bypass); err != nil {
			return err
		}
		k.Policy = in.Policy
		return nil
	})
}

type listKeyPoliciesInput struct {
	KeyId string
	paging
}

func listKeyPolicies(c *call, in listKeyPoliciesInput) (any, error) {
	err := c.view(func(tx *bolt.Tx) error {
		_, err := c.allowed(tx, in.KeyId, idOrARN, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	names, p, err := cut(in.paging, 1000, 100, []string{"default"}, func(n string) string { return n })
	return struct {
		PolicyNames []string
		page
	}{names, p}, err
}
