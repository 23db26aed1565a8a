package kms

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Who may do what to a key. Unlike other resources, a key gives no access that
// its policy does not give: the policy allows a caller by name, or it leaves
// the decision to the identity policies of an account by naming the account's
// root. A grant allows what it lists.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/control-access.html

// acrossAccounts has the operations that can be done to another account's key.
var acrossAccounts = map[string]bool{
	"DescribeKey": true, "GetKeyRotationStatus": true,
	"Encrypt": true, "Decrypt": true, "ReEncryptFrom": true, "ReEncryptTo": true,
	"GenerateDataKey": true, "GenerateDataKeyWithoutPlaintext": true,
	"CreateGrant": true, "ListGrants": true, "RevokeGrant": true, "RetireGrant": true,
}

// access is what the policies are asked about one operation on k.
func (c *call) access(k keyRecord, operation string) policy.Access {
	keys := maps.Clone(c.keys)
	maps.Copy(keys, keyAttributes("AWS_KMS", symmetricDefault, encryptDecrypt, k.multiRegion()))
	keys["aws:resourceaccount"], keys["kms:calleraccount"] = k.Account, c.r.Who.Account
	if k.multiRegion() {
		keys["kms:multiregionkeytype"] = k.multiRegionType()
	}
	for _, t := range k.Tags {
		keys["aws:resourcetag/"+strings.ToLower(t.TagKey)] = t.TagValue
	}
	return policy.Access{Who: c.r.Who, Action: "kms:" + operation, Resource: k.arn(), Context: keys, Lists: c.lists}
}

// keyAttributes are the condition keys of a key, or of one that is to be made.
func keyAttributes(origin, spec, usage string, multiRegion bool) map[string]string {
	return map[string]string{
		"kms:keyorigin": origin, "kms:keyspec": spec, "kms:customermasterkeyspec": spec,
		"kms:keyusage": usage, "kms:customermasterkeyusage": usage, "kms:multiregion": strconv.FormatBool(multiRegion),
	}
}

// KnownKey reports whether a condition key, in lower case, is one of KMS that is
// evaluated. Those of operations and parameters that localaws does not have are
// absent from every request.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
func KnownKey(key string) bool {
	return slices.Contains(conditionKeys, key) || strings.HasPrefix(key, contextKey) && len(key) > len(contextKey) ||
		strings.HasPrefix(key, "kms:recipientattestation:")
}

// contextKey begins the condition keys of the encryption context.
const contextKey = "kms:encryptioncontext:"

var conditionKeys = []string{
	"kms:bypasspolicylockoutsafetycheck", "kms:calleraccount", "kms:customermasterkeyspec", "kms:customermasterkeyusage",
	"kms:encryptionalgorithm", "kms:encryptioncontextkeys", "kms:grantconstrainttype", "kms:grantisforawsresource",
	"kms:grantoperations", "kms:granteeprincipal", "kms:keyorigin", "kms:keyspec", "kms:keyusage", "kms:multiregion",
	"kms:multiregionkeytype", "kms:primaryregion", "kms:reencryptonsamekey", "kms:replicaregion", "kms:requestalias",
	"kms:resourcealiases", "kms:retiringprincipal", "kms:rotationperiodindays", "kms:schedulekeydeletionpendingwindowindays",
	"kms:viaservice",
	// Of operations that localaws does not have.
	"kms:datakeypairspec", "kms:expirationmodel", "kms:keyagreementalgorithm", "kms:macalgorithm", "kms:messagetype",
	"kms:signingalgorithm", "kms:validto", "kms:wrappingalgorithm", "kms:wrappingkeyspec",
}

// withContext lets the policies see the encryption context of one use of a key.
func (c *call) withContext(context map[string]string) {
	maps.DeleteFunc(c.keys, func(k, _ string) bool { return strings.HasPrefix(k, contextKey) })
	for k, v := range context {
		c.keys[contextKey+strings.ToLower(k)] = v
	}
	c.lists["kms:encryptioncontextkeys"] = slices.Sorted(maps.Keys(context))
}

// authorize refuses an operation on k that the caller may not do.
func (c *call) authorize(k keyRecord, operation string, context map[string]string) error {
	if !c.r.Signed {
		return wire.Errf(http.StatusForbidden, "AccessDeniedException", "anonymous callers cannot use KMS keys")
	}
	p, err := k.parsedPolicy()
	if err != nil {
		return err
	}
	a := c.access(k, operation)
	byKey, byIdentity := p.Decide(a), c.s.identities.Decide(a)
	sameAccount := c.r.Who.Account == k.Account
	if !sameAccount && !acrossAccounts[operation] && byKey != policy.Denied {
		byKey = policy.NoMatch
	}
	switch {
	case byIdentity == policy.Denied:
		return c.denied(operation, k.arn(), "with an explicit deny in an identity-based policy")
	case byKey == policy.Denied:
		return c.denied(operation, k.arn(), "with an explicit deny in a resource-based policy")
	case byKey == policy.Allowed && sameAccount,
		byKey != policy.NoMatch && byIdentity == policy.Allowed,
		c.granted(k, operation, context):
		return nil
	case byKey == policy.NoMatch:
		return c.denied(operation, k.arn(), "because no resource-based policy allows the "+a.Action+" action")
	}
	return c.denied(operation, k.arn(), "because no identity-based policy allows the "+a.Action+" action")
}

func (k keyRecord) parsedPolicy() (*policy.Policy, error) {
	p, err := policy.Parse(k.Policy)
	if err != nil {
		return nil, fmt.Errorf("localaws: the stored policy of %s: %w", k.arn(), err)
	}
	return p, nil
}

// authorizeOn refuses an operation on something that has no policy of its own:
// an alias, or "*" for none at all.
func (c *call) authorizeOn(resource, operation string) error {
	a := policy.Access{Who: c.r.Who, Action: "kms:" + operation, Resource: resource, Context: c.keys, Lists: c.lists}
	if reason, ok := c.s.identities.Authorize(a, nil, c.r.Who.Account); !ok {
		return c.denied(operation, resource, reason)
	}
	return nil
}

func (c *call) denied(operation, resource, reason string) error {
	on := ""
	if resource != "*" {
		on = " on resource: " + resource
	}
	return kmsError("AccessDeniedException", "User: %s is not authorized to perform: kms:%s%s %s", c.r.Who.ARN, operation, on, reason)
}

// usable refuses a key that is not in the state for its use, or for a change
// that only an enabled key allows.
func usable(k keyRecord) error {
	switch k.State {
	case keyEnabled:
		return nil
	case keyDisabled:
		return kmsError("DisabledException", "%s is disabled.", k.arn())
	}
	return notPendingDeletion(k)
}

// notPendingDeletion refuses a key whose deletion is pending.
func notPendingDeletion(k keyRecord) error {
	switch k.State {
	case keyPendingDeletion:
		return kmsError("KMSInvalidStateException", "%s is pending deletion.", k.arn())
	case keyPendingReplicaDeletion:
		return kmsError("KMSInvalidStateException", "%s is pending replica deletion.", k.arn())
	}
	return nil
}
