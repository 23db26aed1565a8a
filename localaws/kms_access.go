package localaws

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
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
func (c *kmsCall) access(k kmsKey, operation string) access {
	keys := maps.Clone(c.keys)
	maps.Copy(keys, map[string]string{
		"aws:resourceaccount": k.Account,
		"kms:calleraccount":   c.r.who.Account,
		"kms:keyorigin":       "AWS_KMS",
		"kms:keyspec":         symmetricDefault,
		"kms:keyusage":        encryptDecrypt,
		"kms:multiregion":     strconv.FormatBool(k.multiRegion()),
	})
	if k.multiRegion() {
		keys["kms:multiregionkeytype"] = k.multiRegionType()
	}
	for _, t := range k.Tags {
		keys["aws:resourcetag/"+strings.ToLower(t.TagKey)] = t.TagValue
	}
	return access{who: c.r.who, action: "kms:" + operation, resource: k.arn(), context: keys, lists: c.lists}
}

// withContext lets the policies see the encryption context.
func (c *kmsCall) withContext(context map[string]string) {
	for k, v := range context {
		c.keys["kms:encryptioncontext:"+strings.ToLower(k)] = v
	}
	c.lists["kms:encryptioncontextkeys"] = slices.Sorted(maps.Keys(context))
}

// authorize refuses an operation on k that the caller may not do.
func (c *kmsCall) authorize(k kmsKey, operation string, context map[string]string) error {
	if !c.r.signed {
		return errf(http.StatusForbidden, "AccessDeniedException", "anonymous callers cannot use KMS keys")
	}
	p, err := parsePolicy(k.Policy)
	if err != nil {
		return fmt.Errorf("localaws: the stored policy of %s: %w", k.arn(), err)
	}
	a := c.access(k, operation)
	byKey, byIdentity := p.decide(a), c.s.identityDecision(a)
	sameAccount := c.r.who.Account == k.Account
	if !sameAccount && !acrossAccounts[operation] && byKey != denied {
		byKey = noMatch
	}
	switch {
	case byIdentity == denied:
		return c.denied(operation, k.arn(), "with an explicit deny in an identity-based policy")
	case byKey == denied:
		return c.denied(operation, k.arn(), "with an explicit deny in a resource-based policy")
	case byKey == allowed && sameAccount,
		byKey != noMatch && byIdentity == allowed,
		k.granted(c.r.who, operation, context):
		return nil
	case byKey == noMatch:
		return c.denied(operation, k.arn(), "because no resource-based policy allows the "+a.action+" action")
	}
	return c.denied(operation, k.arn(), "because no identity-based policy allows the "+a.action+" action")
}

// authorizeOn refuses an operation on something that has no policy of its own:
// an alias, or "*" for none at all.
func (c *kmsCall) authorizeOn(resource, operation string) error {
	a := access{who: c.r.who, action: "kms:" + operation, resource: resource, context: c.keys, lists: c.lists}
	if reason, ok := c.s.authorize(a, nil, c.r.who.Account); !ok {
		return c.denied(operation, resource, reason)
	}
	return nil
}

func (c *kmsCall) denied(operation, resource, reason string) error {
	on := ""
	if resource != "*" {
		on = " on resource: " + resource
	}
	return kmsError("AccessDeniedException", "User: %s is not authorized to perform: kms:%s%s %s", c.r.who.ARN, operation, on, reason)
}

// usable refuses a key that is not in the state for its use, or for a change
// that only an enabled key allows.
func usable(k kmsKey) error {
	switch k.State {
	case keyEnabled:
		return nil
	case keyDisabled:
		return kmsError("DisabledException", "%s is disabled.", k.arn())
	}
	return notDying(k)
}

// notDying refuses a key whose deletion is pending.
func notDying(k kmsKey) error {
	switch k.State {
	case keyPendingDeletion:
		return kmsError("KMSInvalidStateException", "%s is pending deletion.", k.arn())
	case keyPendingReplicaDeletion:
		return kmsError("KMSInvalidStateException", "%s is pending replica deletion.", k.arn())
	}
	return nil
}
