package localaws

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"
)

func userARN(name string) *string { return aws.String("arn:aws:iam::123456789012:user/" + name) }

func contextEquals(pairs map[string]string) *types.GrantConstraints {
	return &types.GrantConstraints{EncryptionContextEquals: pairs}
}

func contextSubset(pairs map[string]string) *types.GrantConstraints {
	return &types.GrantConstraints{EncryptionContextSubset: pairs}
}

// A grantee who may create grants passes on no more than the parent grant allows.
func TestCreateGrant_OfAGranteeIsNoWiderThanItsParent(t *testing.T) {
	t.Parallel()
	type operations = []types.GrantOperation
	dept, more := map[string]string{"dept": "it"}, map[string]string{"dept": "it", "x": "y"}
	for name, tc := range map[string]struct {
		parent, child           operations
		constraint, constrained *types.GrantConstraints
		refused                 bool
	}{
		"fewer operations":                   {operations{"CreateGrant", "Encrypt"}, operations{"Encrypt"}, nil, nil, false},
		"the same operations":                {operations{"CreateGrant", "Encrypt"}, operations{"CreateGrant", "Encrypt"}, nil, nil, false},
		"another operation":                  {operations{"CreateGrant", "Encrypt"}, operations{"Decrypt"}, nil, nil, true},
		"one operation more":                 {operations{"CreateGrant", "Encrypt"}, operations{"Encrypt", "Decrypt"}, nil, nil, true},
		"no CreateGrant":                     {operations{"Encrypt"}, operations{"Encrypt"}, nil, nil, true},
		"an unconstrained parent":            {operations{"CreateGrant", "Encrypt"}, operations{"Encrypt"}, nil, contextEquals(dept), false},
		"constraint dropped":                 {operations{"CreateGrant", "Encrypt"}, operations{"Encrypt"}, contextSubset(dept), nil, true},
		"subset kept":                        {operations{"CreateGrant", "Encrypt"}, operations{"Encrypt"}, contextSubset(dept), contextSubset(dept), false},
		"subset narrowed":                    {operations{"CreateGrant", "Encrypt"}, operations{"Encrypt"}, contextSubset(dept), contextSubset(more), false},
		"subset widened":                     {operations{"CreateGrant", "Encrypt"}, operations{"Encrypt"}, contextSubset(more), contextSubset(dept), true},
		"subset made equals":                 {operations{"CreateGrant", "Encrypt"}, operations{"Encrypt"}, contextSubset(dept), contextEquals(dept), false},
		"another value":                      {operations{"CreateGrant", "Encrypt"}, operations{"Encrypt"}, contextSubset(dept), contextSubset(map[string]string{"dept": "hr"}), true},
		"equals made subset":                 {operations{"CreateGrant", "Encrypt"}, operations{"Encrypt"}, contextEquals(dept), contextSubset(dept), true},
		"equals extended":                    {operations{"CreateGrant", "Encrypt"}, operations{"Encrypt"}, contextEquals(dept), contextEquals(more), true},
		"equals kept, in another case":       {operations{"CreateGrant", "Encrypt"}, operations{"Encrypt"}, contextEquals(dept), contextEquals(map[string]string{"Dept": "it"}), false},
		"equals of a value in another case":  {operations{"CreateGrant", "Encrypt"}, operations{"Encrypt"}, contextEquals(dept), contextEquals(map[string]string{"dept": "IT"}), true},
		"subset with another pair than that": {operations{"CreateGrant", "Encrypt"}, operations{"Encrypt"}, contextSubset(dept), contextSubset(map[string]string{"x": "y"}), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			require.NoError(t, s.SetIdentityPolicy(*userARN("bob"), `{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`))
			k := made(t, kmsClient(t, s, "alice"))
			_, err := kmsClient(t, s, "alice").CreateGrant(t.Context(), &kms.CreateGrantInput{KeyId: k.KeyId, GranteePrincipal: userARN("bob"),
				Operations: tc.parent, Constraints: tc.constraint})
			require.NoError(t, err)
			_, err = kmsClient(t, s, "bob").CreateGrant(t.Context(), &kms.CreateGrantInput{KeyId: k.Arn, GranteePrincipal: userARN("carol"),
				Operations: tc.child, Constraints: tc.constrained})
			if tc.refused {
				requireCode(t, err, "AccessDeniedException")
				return
			}
			require.NoError(t, err)
		})
	}
}

func TestGrantConstraints_ApplyToCryptographicOperationsOnly(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	require.NoError(t, s.SetIdentityPolicy(*userARN("bob"), `{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`))
	alice, bob := kmsClient(t, s, "alice"), kmsClient(t, s, "bob")
	k := made(t, alice)
	g, err := alice.CreateGrant(t.Context(), &kms.CreateGrantInput{KeyId: k.KeyId, GranteePrincipal: userARN("bob"),
		Operations: []types.GrantOperation{"Encrypt", "DescribeKey", "RetireGrant"}, Constraints: contextEquals(map[string]string{"Dept": "it"})})
	require.NoError(t, err)
	other, err := alice.CreateGrant(t.Context(), &kms.CreateGrantInput{KeyId: k.KeyId, GranteePrincipal: userARN("carol"), Operations: []types.GrantOperation{"Encrypt"}})
	require.NoError(t, err)

	for context, allowed := range map[string]bool{"it": true, "IT": false, "": false} {
		in := &kms.EncryptInput{KeyId: k.Arn, Plaintext: []byte("x")}
		if context != "" {
			in.EncryptionContext = map[string]string{"dept": context} // names differ in case only
		}
		if _, err := bob.Encrypt(t.Context(), in); allowed {
			require.NoError(t, err)
		} else {
			requireCode(t, err, "AccessDeniedException")
		}
	}
	require.Equal(t, *k.Arn, *described(t, bob, *k.Arn).Arn)
	_, err = bob.RetireGrant(t.Context(), &kms.RetireGrantInput{KeyId: k.Arn, GrantId: other.GrantId})
	requireCode(t, err, "AccessDeniedException")
	_, err = bob.RetireGrant(t.Context(), &kms.RetireGrantInput{KeyId: k.Arn, GrantId: g.GrantId})
	require.NoError(t, err)

	for _, in := range []kms.CreateGrantInput{
		{Operations: []types.GrantOperation{"Sign"}},
		{Operations: []types.GrantOperation{"Encrypt"}, Constraints: contextSubset(map[string]string{"1": "", "2": "", "3": "", "4": "", "5": "", "6": "", "7": "", "8": "", "9": ""})},
	} {
		in.KeyId, in.GranteePrincipal = k.KeyId, userARN("bob")
		_, err = alice.CreateGrant(t.Context(), &in)
		requireCode(t, err, "ValidationException")
	}
	_, err = alice.CreateGrant(t.Context(), &kms.CreateGrantInput{KeyId: k.KeyId, GranteePrincipal: userARN("bob"), Operations: []types.GrantOperation{"Encrypt"},
		Constraints: &types.GrantConstraints{EncryptionContextSubset: map[string]string{"a": "b"}, EncryptionContextEquals: map[string]string{"a": "b"}}})
	requireCode(t, err, "NotImplemented")
}

// Each condition key denies exactly the call that it describes.
func TestKeyPolicy_DenyByConditionKey(t *testing.T) {
	t.Parallel()
	encrypt := func(t *testing.T, c *kms.Client, id string) error {
		_, err := c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x"), EncryptionContext: map[string]string{"dept": "it"}})
		return err
	}
	grant := func(in kms.CreateGrantInput) func(*testing.T, *kms.Client, string) error {
		return func(t *testing.T, c *kms.Client, id string) error {
			in.KeyId, in.GranteePrincipal = &id, userARN("bob")
			if in.Operations == nil {
				in.Operations = []types.GrantOperation{"Encrypt"}
			}
			_, err := c.CreateGrant(t.Context(), &in)
			return err
		}
	}
	reEncrypt := func(onto func(id, other string) string) func(*testing.T, *kms.Client, string) error {
		return func(t *testing.T, c *kms.Client, id string) error {
			out, err := c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x"), EncryptionContext: map[string]string{"from": "1"}})
			require.NoError(t, err)
			other := *made(t, c).KeyId
			_, err = c.ReEncrypt(t.Context(), &kms.ReEncryptInput{CiphertextBlob: out.CiphertextBlob, SourceEncryptionContext: map[string]string{"from": "1"},
				DestinationKeyId: aws.String(onto(id, other)), DestinationEncryptionContext: map[string]string{"to": "2"}})
			return err
		}
	}
	onSame, onOther := reEncrypt(func(id, _ string) string { return id }), reEncrypt(func(_, other string) string { return other })
	rotation := func(days int32) func(*testing.T, *kms.Client, string) error {
		return func(t *testing.T, c *kms.Client, id string) error {
			_, err := c.EnableKeyRotation(t.Context(), &kms.EnableKeyRotationInput{KeyId: &id, RotationPeriodInDays: &days})
			return err
		}
	}
	deletion := func(days int32) func(*testing.T, *kms.Client, string) error {
		return func(t *testing.T, c *kms.Client, id string) error {
			_, err := c.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: &days})
			return err
		}
	}
	putPolicy := func(bypass bool) func(*testing.T, *kms.Client, string) error {
		return func(t *testing.T, c *kms.Client, id string) error {
			_, err := c.PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: &id, Policy: aws.String(keyPolicy(toRoot)), BypassPolicyLockoutSafetyCheck: bypass})
			return err
		}
	}
	byAlias := func(name string) func(*testing.T, *kms.Client, string) error {
		return func(t *testing.T, c *kms.Client, id string) error {
			_, err := c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &id})
			require.NoError(t, err)
			return encrypt(t, c, name)
		}
	}
	type try = func(*testing.T, *kms.Client, string) error
	for name, tc := range map[string]struct {
		action, condition string
		denied, allowed   try
	}{
		"BypassPolicyLockoutSafetyCheck": {"kms:PutKeyPolicy", `{"Bool":{"kms:BypassPolicyLockoutSafetyCheck":"true"}}`, putPolicy(true), putPolicy(false)},
		"CallerAccount":                  {"kms:Encrypt", `{"StringEquals":{"kms:CallerAccount":"123456789012"}}`, encrypt, nil},
		"CustomerMasterKeySpec":          {"kms:Encrypt", `{"StringEquals":{"kms:CustomerMasterKeySpec":"SYMMETRIC_DEFAULT"}}`, encrypt, nil},
		"CustomerMasterKeyUsage":         {"kms:Encrypt", `{"StringEquals":{"kms:CustomerMasterKeyUsage":"ENCRYPT_DECRYPT"}}`, encrypt, nil},
		"KeySpec":                        {"kms:Encrypt", `{"StringEquals":{"kms:KeySpec":"SYMMETRIC_DEFAULT"}}`, encrypt, nil},
		"KeyUsage":                       {"kms:Encrypt", `{"StringEquals":{"kms:KeyUsage":"ENCRYPT_DECRYPT"}}`, encrypt, nil},
		"KeyOrigin":                      {"kms:Encrypt", `{"StringEquals":{"kms:KeyOrigin":"AWS_KMS"}}`, encrypt, nil},
		"MultiRegion":                    {"kms:Encrypt", `{"Bool":{"kms:MultiRegion":"false"}}`, encrypt, nil},
		"MultiRegionKeyType":             {"kms:Encrypt", `{"StringEquals":{"kms:MultiRegionKeyType":"PRIMARY"}}`, nil, encrypt},
		"EncryptionAlgorithm":            {"kms:Encrypt", `{"StringEquals":{"kms:EncryptionAlgorithm":"SYMMETRIC_DEFAULT"}}`, encrypt, nil},
		"EncryptionContext":              {"kms:Encrypt", `{"StringEquals":{"kms:EncryptionContext:Dept":"it"}}`, encrypt, nil},
		"EncryptionContextKeys":          {"kms:Encrypt", `{"ForAnyValue:StringEquals":{"kms:EncryptionContextKeys":"dept"}}`, encrypt, nil},
		"GrantConstraintType": {"kms:CreateGrant", `{"StringNotEquals":{"kms:GrantConstraintType":"EncryptionContextEquals"}}`,
			grant(kms.CreateGrantInput{Constraints: contextSubset(map[string]string{"a": "b"})}), grant(kms.CreateGrantInput{Constraints: contextEquals(map[string]string{"a": "b"})})},
		"EncryptionContext of a grant": {"kms:CreateGrant", `{"StringNotEquals":{"kms:EncryptionContext:a":"b"}}`,
			grant(kms.CreateGrantInput{}), grant(kms.CreateGrantInput{Constraints: contextEquals(map[string]string{"a": "b"})})},
		"GrantIsForAWSResource": {"kms:CreateGrant", `{"Bool":{"kms:GrantIsForAWSResource":"false"}}`, grant(kms.CreateGrantInput{}), nil},
		"GrantIsForAWSResource of ListGrants": {"kms:ListGrants", `{"Bool":{"kms:GrantIsForAWSResource":"false"}}`, func(t *testing.T, c *kms.Client, id string) error {
			_, err := c.ListGrants(t.Context(), &kms.ListGrantsInput{KeyId: &id})
			return err
		}, nil},
		"GrantOperations": {"kms:CreateGrant", `{"ForAnyValue:StringEquals":{"kms:GrantOperations":"Decrypt"}}`,
			grant(kms.CreateGrantInput{Operations: []types.GrantOperation{"Encrypt", "Decrypt"}}), grant(kms.CreateGrantInput{})},
		"GranteePrincipal": {"kms:CreateGrant", `{"StringEquals":{"kms:GranteePrincipal":"arn:aws:iam::123456789012:user/bob"}}`, grant(kms.CreateGrantInput{}), nil},
		"RetiringPrincipal": {"kms:CreateGrant", `{"StringEquals":{"kms:RetiringPrincipal":"arn:aws:iam::123456789012:user/carol"}}`,
			grant(kms.CreateGrantInput{RetiringPrincipal: userARN("carol")}), grant(kms.CreateGrantInput{})},
		"ReEncryptOnSameKey":                     {"kms:ReEncrypt*", `{"Bool":{"kms:ReEncryptOnSameKey":"true"}}`, onSame, onOther},
		"ReEncryptOnSameKey is false":            {"kms:ReEncryptFrom", `{"Bool":{"kms:ReEncryptOnSameKey":"false"}}`, onOther, onSame},
		"the source's context at the source":     {"kms:ReEncryptFrom", `{"StringEquals":{"kms:EncryptionContext:from":"1"}}`, onSame, nil},
		"the source's context at destination":    {"kms:ReEncryptTo", `{"StringEquals":{"kms:EncryptionContext:from":"1"}}`, nil, onSame},
		"the destination's context there":        {"kms:ReEncryptTo", `{"StringEquals":{"kms:EncryptionContext:to":"2"}}`, onSame, nil},
		"the destination's context at source":    {"kms:ReEncryptFrom", `{"StringEquals":{"kms:EncryptionContext:to":"2"}}`, nil, onSame},
		"RequestAlias":                           {"kms:Encrypt", `{"StringEquals":{"kms:RequestAlias":"alias/a"}}`, byAlias("alias/a"), encrypt},
		"ResourceAliases":                        {"kms:Encrypt", `{"ForAnyValue:StringEquals":{"kms:ResourceAliases":"alias/a"}}`, byAlias("alias/a"), encrypt},
		"RotationPeriodInDays":                   {"kms:EnableKeyRotation", `{"NumericLessThan":{"kms:RotationPeriodInDays":"100"}}`, rotation(99), rotation(100)},
		"ScheduleKeyDeletionPendingWindowInDays": {"kms:ScheduleKeyDeletion", `{"NumericLessThan":{"kms:ScheduleKeyDeletionPendingWindowInDays":"30"}}`, deletion(7), deletion(30)},
		"ViaService":                             {"kms:Encrypt", `{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}}`, nil, encrypt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			c := kmsClient(t, s, "alice")
			deny := `{"Effect":"Deny","Principal":"*","Action":"` + tc.action + `","Resource":"*","Condition":` + tc.condition + `}`
			key := func() string {
				return *made(t, c, func(in *kms.CreateKeyInput) { in.Policy = aws.String(keyPolicy(toRoot, deny)) }).KeyId
			}
			if tc.denied != nil {
				requireCode(t, tc.denied(t, c, key()), "AccessDeniedException")
			}
			if tc.allowed != nil {
				require.NoError(t, tc.allowed(t, c, key()))
			}
		})
	}
}

func TestPolicies_RefuseConditionKeysThatAreNotEvaluated(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	deny := func(condition string) string {
		return `{"Effect":"Deny","Principal":"*","Action":"kms:Encrypt","Resource":"*","Condition":` + condition + `}`
	}
	for condition, code := range map[string]string{
		`{"StringEquals":{"kms:Unheard":"x"}}`:                                 "NotImplemented",
		`{"StringEquals":{"kms:EncryptionContext:":"x"}}`:                      "NotImplemented",
		`{"StringEquals":{"aws:Unheard":"x"}}`:                                 "NotImplemented",
		`{"ForAllValues:StringEquals":{"kms:EncryptionContext:a":"x"}}`:        "MalformedPolicyDocumentException",
		`{"ForAllValues:StringEquals":{"aws:RequestTag/a":"x"}}`:               "MalformedPolicyDocumentException",
		`{"StringEquals":{"kms:RecipientAttestation:ImageSha384":"x"}}`:        "",
		`{"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["dept"]}}`: "",
	} {
		_, err := c.CreateKey(t.Context(), &kms.CreateKeyInput{Policy: aws.String(keyPolicy(toRoot, deny(condition)))})
		if code == "" {
			require.NoError(t, err, condition)
			continue
		}
		requireCode(t, err, code)
	}
	require.ErrorContains(t, s.SetIdentityPolicy(*userARN("bob"), `{"Statement":{"Effect":"Deny","Action":"ec2:*","Resource":"*","Condition":{"Bool":{"ec2:Encrypted":"false"}}}}`),
		"the condition key ec2:encrypted, which localaws does not implement")
}
