package kms

import (
	"encoding/base64"
	"maps"
	"reflect"
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

// granted says whether one of the key's grants lets who do operation.
func (k keyRecord) granted(who wire.Identity, operation string, context map[string]string) bool {
	return slices.ContainsFunc(k.Grants, func(g grant) bool {
		return g.GranteePrincipal == who.ARN && slices.Contains(g.Operations, operation) && g.Constraints.allow(context)
	})
}

func (g *grantConstraints) allow(context map[string]string) bool {
	if g == nil {
		return true
	}
	if g.EncryptionContextEquals != nil {
		return maps.Equal(g.EncryptionContextEquals, context)
	}
	for k, v := range g.EncryptionContextSubset {
		if got, ok := context[k]; !ok || got != v {
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
	c.keys["kms:granteeprincipal"] = in.GranteePrincipal
	c.keys["kms:grantisforawsresource"] = strconv.FormatBool(c.via != "")
	c.lists["kms:grantoperations"] = in.Operations
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

func (c *call) checkGrant(in createGrantInput) error {
	if err := required("granteePrincipal", in.GranteePrincipal); err != nil {
		return err
	}
	if len(in.Operations) == 0 {
		return required("operations", "")
	}
	for _, o := range in.Operations {
		if !slices.Contains(grantOperations, o) {
			return invalid("operations", o, "satisfy enum value set: ["+strings.Join(grantOperations, ", ")+"]")
		}
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
	return nil, c.change(in.KeyId, idOrARN, nil, func(_ *bolt.Tx, k *keyRecord) error { return dropGrant(k, in.GrantId) })
}

type retireGrantInput struct {
	GrantToken string
	KeyId      string
	GrantId    string
}

// retireGrant is for the grant's retiring principal, and for whoever may do it
// by policy or by a grant.
func retireGrant(c *call, in retireGrantInput) (any, error) {
	if in.GrantToken != "" {
		token, err := base64.RawURLEncoding.DecodeString(in.GrantToken)
		arn, id, ok := strings.Cut(string(token), " ")
		if err != nil || !ok || in.KeyId != "" || in.GrantId != "" {
			return nil, kmsError("InvalidGrantTokenException", "Invalid grant token")
		}
		in.KeyId, in.GrantId = arn, id
	}
	if in.KeyId == "" || in.GrantId == "" {
		return nil, kmsError("ValidationException", "RetireGrant needs a grant token, or the key ARN and the grant ID.")
	}
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
