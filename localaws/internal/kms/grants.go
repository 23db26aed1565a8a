package kms

import (
	"encoding/base64"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Grants: a principal may do the listed operations to a key until the grant is
// revoked or retired.

// grant is a grant, as it is stored and as ListGrants answers it.
type grant struct {
	GrantId           string
	Name              string `json:",omitempty"`
	GranteePrincipal  string
	RetiringPrincipal string `json:",omitempty"`
	IssuingAccount    string
	Operations        []string
	Constraints       *grantConstraints `json:",omitempty"`
	Created           time.Time
}

type grantConstraints struct {
	EncryptionContextSubset map[string]string `json:",omitempty"`
	EncryptionContextEquals map[string]string `json:",omitempty"`
}

var grantOperations = []string{
	"Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo", "Sign", "Verify",
	"GetPublicKey", "CreateGrant", "RetireGrant", "DescribeKey", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext",
	"GenerateMac", "VerifyMac", "DeriveSharedSecret",
}

// unsuitable are the grant operations that a symmetric encryption key does not
// support.
var unsuitable = []string{"Sign", "Verify", "GetPublicKey", "GenerateMac", "VerifyMac", "DeriveSharedSecret"}

// granted reports whether one of the key's grants lets the caller do operation.
// A grant's constraints apply to cryptographic operations only. The grantee may
// retire this grant, not others, and may issue grants that allow no more than
// this one and are constrained at least as strictly.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/create-grant-overview.html
func (c *call) granted(k keyRecord, operation string, context map[string]string) bool {
	return slices.ContainsFunc(k.Grants, func(g grant) bool {
		if g.GranteePrincipal != c.r.Who.ARN && g.GranteePrincipal != c.r.Who.PolicyARN() || !slices.Contains(g.Operations, operation) {
			return false
		}
		switch operation {
		case "DescribeKey":
			return true
		case "RetireGrant":
			return g.GrantId == c.retires
		case "CreateGrant":
			more := func(o string) bool { return !slices.Contains(g.Operations, o) }
			return !slices.ContainsFunc(c.issues.Operations, more) && g.Constraints.cover(c.issues.Constraints)
		}
		return g.Constraints.allow(context)
	})
}

// allow reports whether a use of the key in this encryption context satisfies
// the constraints: the names in the context are compared without regard to case,
// the values with.
// Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GrantConstraints.html
func (g *grantConstraints) allow(context map[string]string) bool {
	return g == nil || includes(context, g.pairs()) && (len(g.EncryptionContextEquals) == 0 || len(context) == len(g.EncryptionContextEquals))
}

// pairs are the pairs that an encryption context must have.
func (g *grantConstraints) pairs() map[string]string {
	switch {
	case g == nil:
		return nil
	case len(g.EncryptionContextEquals) > 0:
		return g.EncryptionContextEquals
	}
	return g.EncryptionContextSubset
}

// kind is the name of the constraint; empty for none.
func (g *grantConstraints) kind() string {
	switch {
	case len(g.pairs()) == 0:
		return ""
	case len(g.EncryptionContextEquals) > 0:
		return "EncryptionContextEquals"
	}
	return "EncryptionContextSubset"
}

// cover reports whether all that satisfies child satisfies g.
func (g *grantConstraints) cover(child *grantConstraints) bool {
	switch {
	case g.kind() == "":
		return true
	case g.kind() == "EncryptionContextEquals":
		return child.kind() == g.kind() && g.allow(child.pairs())
	}
	return includes(child.pairs(), g.pairs())
}

// includes reports whether a context has all the pairs.
func includes(context, pairs map[string]string) bool {
	for name, value := range pairs {
		found := false
		for k, v := range context {
			found = found || strings.EqualFold(k, name) && v == value
		}
		if !found {
			return false
		}
	}
	return true
}

type createGrantInput struct {
	KeyId             string
	GranteePrincipal  string
	RetiringPrincipal string
	Operations        []string
	Constraints       *grantConstraints
	GrantTokens       []string
	Name              string
}

type createGrantOutput struct {
	GrantToken string
	GrantId    string
}

func createGrant(c *call, in createGrantInput) (any, error) {
	if err := c.checkGrant(in); err != nil {
		return nil, err
	}
	c.issues = in
	c.forAWSResource()
	c.keys["kms:granteeprincipal"] = in.GranteePrincipal
	c.lists["kms:grantoperations"] = in.Operations
	if kind := in.Constraints.kind(); kind != "" {
		c.keys["kms:grantconstrainttype"] = kind
		c.withContext(in.Constraints.pairs())
	}
	if in.RetiringPrincipal != "" {
		c.keys["kms:retiringprincipal"] = in.RetiringPrincipal
	}
	var out createGrantOutput
	err := c.change(in.KeyId, idOrARN, usable, func(_ *bolt.Tx, k *keyRecord) error {
		g := grant{
			GrantId: newMaterialID(), Name: in.Name, GranteePrincipal: in.GranteePrincipal, RetiringPrincipal: in.RetiringPrincipal,
			IssuingAccount: "arn:aws:iam::" + c.r.Who.Account + ":root", Operations: in.Operations, Constraints: in.Constraints, Created: c.r.Now,
		}
		// A name makes the call repeatable: the same grant is made once.
		at := slices.IndexFunc(k.Grants, func(old grant) bool {
			old.GrantId, old.Created = g.GrantId, g.Created
			return g.Name != "" && reflect.DeepEqual(old, g)
		})
		if at < 0 {
			k.Grants, at = append(k.Grants, g), len(k.Grants)
		}
		out = createGrantOutput{grantToken(*k, k.Grants[at].GrantId), k.Grants[at].GrantId}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// forAWSResource lets the policies see whether a service manages the grant.
func (c *call) forAWSResource() {
	c.keys["kms:grantisforawsresource"] = strconv.FormatBool(c.via != "")
}

// Limits of a constraint: pairs, and characters of all their values.
const (
	maxConstraintPairs = 8
	maxConstraintValue = 384
)

func (g *grantConstraints) check() error {
	if g == nil {
		return nil
	}
	if len(g.EncryptionContextEquals) > 0 && len(g.EncryptionContextSubset) > 0 {
		return wire.NotImplemented("kms", "a grant with both EncryptionContextEquals and EncryptionContextSubset")
	}
	if len(g.pairs()) > maxConstraintPairs {
		return kmsError("ValidationException", "A grant constraint can have %d encryption context pairs, not %d.", maxConstraintPairs, len(g.pairs()))
	}
	for name, value := range g.pairs() {
		if len([]rune(value)) > maxConstraintValue {
			return kmsError("ValidationException", "The value of %s in the grant constraint has more than %d characters.", name, maxConstraintValue)
		}
	}
	return nil
}

func (c *call) checkGrant(in createGrantInput) error {
	if err := required("granteePrincipal", in.GranteePrincipal); err != nil {
		return err
	}
	if err := checkGrantTokens(in.GrantTokens); err != nil {
		return err
	}
	if len(in.Operations) == 0 {
		return required("operations", "")
	}
	for _, o := range in.Operations {
		if !slices.Contains(grantOperations, o) {
			return invalid("operations", o, "satisfy enum value set: ["+strings.Join(grantOperations, ", ")+"]")
		}
		if slices.Contains(unsuitable, o) {
			return kmsError("ValidationException", "The operation %s cannot be granted: a key with the key usage %s does not support it.", o, encryptDecrypt)
		}
	}
	if err := in.Constraints.check(); err != nil {
		return err
	}
	for _, p := range []string{in.GranteePrincipal, in.RetiringPrincipal} {
		service := policy.ServicePrincipal.MatchString(p)
		if p != "" && !service && !policy.AccountPrincipal.MatchString(p) && !policy.NamedPrincipal.MatchString(p) {
			return kmsError("InvalidArnException", "Invalid principal: %s", p)
		}
	}
	return nil
}

// grantToken names a grant to RetireGrant. It is no secret: who may retire a
// grant is checked all the same.
func grantToken(k keyRecord, grantID string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(k.arn() + " " + grantID))
}

func readGrantToken(token string) (arn, grantID string, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	arn, grantID, ok = strings.Cut(string(b), " ")
	return arn, grantID, err == nil && ok && strings.HasPrefix(arn, "arn:aws:kms:") && grantIDPattern.MatchString(grantID)
}

var grantIDPattern = regexp.MustCompile("^[0-9a-f]{64}$")

func errGrantToken() *wire.Error {
	return kmsError("InvalidGrantTokenException", "Invalid grant token")
}

// maxGrantTokens is how many tokens a request may have.
const maxGrantTokens = 10

// checkGrantTokens refuses what is no token. A token that is one adds nothing: here every
// grant is in effect at once.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/grants.html#grant_token
func checkGrantTokens(tokens []string) error {
	if len(tokens) > maxGrantTokens {
		return kmsError("ValidationException", "1 validation error detected: Value at 'grantTokens' failed to satisfy constraint: Member must have length less than or equal to %d", maxGrantTokens)
	}
	for _, token := range tokens {
		if _, _, ok := readGrantToken(token); !ok {
			return errGrantToken()
		}
	}
	return nil
}

type listGrantsInput struct {
	KeyId            string
	GrantId          string
	GranteePrincipal string
	paging
}

type grantEntry struct {
	grant
	KeyId        string
	CreationDate epoch
	Created      *epoch `json:",omitempty"` // hides the stored field
}

func listGrants(c *call, in listGrantsInput) (any, error) {
	c.forAWSResource()
	var all []grantEntry
	err := c.view(func(tx *bolt.Tx) error {
		k, err := c.allowed(tx, in.KeyId, idOrARN, nil)
		if err != nil {
			return err
		}
		for _, g := range k.Grants {
			if (in.GrantId == "" || g.GrantId == in.GrantId) && (in.GranteePrincipal == "" || g.GranteePrincipal == in.GranteePrincipal) {
				all = append(all, grantEntry{grant: g, KeyId: k.arn(), CreationDate: epoch(g.Created)})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b grantEntry) int { return strings.Compare(a.GrantId, b.GrantId) })
	grants, p, err := cut(in.paging, 100, 50, all, func(g grantEntry) string { return g.GrantId })
	return struct {
		Grants []grantEntry
		page
	}{grants, p}, err
}

type grantInput struct {
	KeyId   string
	GrantId string
}

// dropGrant takes a grant off k.
func dropGrant(k *keyRecord, grantID string) error {
	at := slices.IndexFunc(k.Grants, func(g grant) bool { return g.GrantId == grantID })
	if at < 0 {
		return kmsError("NotFoundException", "Grant ID %s not found", grantID)
	}
	k.Grants = slices.Delete(k.Grants, at, at+1)
	return nil
}

func revokeGrant(c *call, in grantInput) (any, error) {
	if err := required("grantId", in.GrantId); err != nil {
		return nil, err
	}
	c.forAWSResource()
	return nil, c.change(in.KeyId, idOrARN, nil, func(_ *bolt.Tx, k *keyRecord) error { return dropGrant(k, in.GrantId) })
}

type retireGrantInput struct {
	GrantToken string
	KeyId      string
	GrantId    string
}

// retireGrant is for the grant's retiring principal, and for a principal that may do it
// by policy or by a grant.
func retireGrant(c *call, in retireGrantInput) (any, error) {
	if in.GrantToken != "" {
		arn, id, ok := readGrantToken(in.GrantToken)
		if !ok || in.KeyId != "" || in.GrantId != "" {
			return nil, errGrantToken()
		}
		in.KeyId, in.GrantId = arn, id
	}
	if in.KeyId == "" || in.GrantId == "" {
		return nil, kmsError("ValidationException", "RetireGrant needs a grant token, or the key ARN and the grant ID.")
	}
	c.retires = in.GrantId
	return nil, c.update(func(tx *bolt.Tx) error {
		k, err := c.find(tx, in.KeyId, idOrARN)
		if err != nil {
			return err
		}
		retires := func(g grant) bool { return g.GrantId == in.GrantId && g.RetiringPrincipal == c.r.Who.ARN }
		if !slices.ContainsFunc(k.Grants, retires) {
			if err := c.authorize(k, c.operation, nil); err != nil {
				return err
			}
		}
		if err := dropGrant(&k, in.GrantId); err != nil {
			return err
		}
		return saveKey(tx, k)
	})
}
