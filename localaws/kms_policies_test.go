package localaws

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

const (
	toRoot   = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}`
	toBob    = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/bob"},"Action":["kms:Decrypt","kms:DescribeKey"],"Resource":"*"}`
	toLinked = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"},"Action":"kms:*","Resource":"*"}`
)

func keyPolicy(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func TestKMS_KeyPolicy(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	k := made(t, c)
	get := func() string {
		out, err := c.GetKeyPolicy(t.Context(), &kms.GetKeyPolicyInput{KeyId: k.KeyId})
		require.NoError(t, err)
		require.Equal(t, "default", *out.PolicyName)
		return *out.Policy
	}
	require.JSONEq(t, `{"Version":"2012-10-17","Id":"key-default-1","Statement":[{"Sid":"Enable IAM User Permissions","Effect":"Allow",
		"Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}]}`, get())

	mine := keyPolicy(toRoot, toBob)
	_, err := c.PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: k.KeyId, PolicyName: aws.String("default"), Policy: &mine})
	require.NoError(t, err)
	require.Equal(t, mine, get(), "as it was typed")

	for name, tc := range map[string]struct{ policy, says string }{
		"not JSON":             {"allow", "must be valid JSON"},
		"no principal":         {`{"Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`, "no principal"},
		"unknown operator":     {keyPolicy(strings.Replace(toRoot, `"Resource"`, `"Condition":{"Is":{"a:b":"c"}},"Resource"`, 1)), "Invalid Condition type"},
		"principal is unknown": {keyPolicy(toRoot, toLinked), "Policy contains a statement with one or more invalid principals."},
		"locks the caller out": {keyPolicy(toBob), "The new key policy will not allow you to update the key policy in the future."},
		"denies the caller":    {keyPolicy(toRoot, `{"Effect":"Deny","Principal":"*","Action":"kms:PutKeyPolicy","Resource":"*"}`), "will not allow you"},
	} {
		_, err := c.PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: k.KeyId, Policy: &tc.policy})
		requireCode(t, err, "MalformedPolicyDocumentException")
		require.ErrorContains(t, err, tc.says, name)
		_, err = c.CreateKey(t.Context(), &kms.CreateKeyInput{Policy: &tc.policy})
		requireCode(t, err, "MalformedPolicyDocumentException")
		require.Equal(t, mine, get())
	}
	long := keyPolicy(toRoot) + strings.Repeat(" ", (32<<10))
	_, err = c.PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: k.KeyId, Policy: &long})
	requireCode(t, err, "LimitExceededException")

	// The service-linked role exists once the account has it.
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
		`{"Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}`))
	_, err = c.CreateKey(t.Context(), &kms.CreateKeyInput{Policy: aws.String(keyPolicy(toRoot, toLinked))})
	require.NoError(t, err)

	// With the safety check bypassed, a policy can deny every principal.
	_, err = c.PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: k.KeyId, Policy: aws.String(keyPolicy(toBob)), BypassPolicyLockoutSafetyCheck: true})
	require.NoError(t, err)
	_, err = c.PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: k.KeyId, Policy: &mine})
	requireCode(t, err, "AccessDeniedException")
}

func TestKMS_Access(t *testing.T) {
	t.Parallel()
	const (
		mayDecrypt = `{"Statement":{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"}}`
		mayS3      = `{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
		denyKMS    = `{"Statement":{"Effect":"Deny","Action":"kms:*","Resource":"*"}}`
		toStranger = `{"Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"kms:*","Resource":"*"}`
		toAlice    = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/alice"},"Action":"kms:*","Resource":"*"}`
		byIdentity = "because no identity-based policy allows the kms:Decrypt action"
		byResource = "because no resource-based policy allows the kms:Decrypt action"
	)
	condition := func(c string) string {
		return strings.Replace(toRoot, `"Resource"`, `"Condition":`+c+`,"Resource"`, 1)
	}
	for name, tc := range map[string]struct {
		keyPolicy, user, identity, via string
		reason                         string // empty: allowed
	}{
		"delegated, no identity policy":         {toRoot, "bob", "", "", ""},
		"delegated, identity allows":            {toRoot, "bob", mayDecrypt, "", ""},
		"delegated, identity is silent":         {toRoot, "bob", mayS3, "", byIdentity},
		"delegated, identity denies":            {toRoot, "bob", denyKMS, "", "with an explicit deny in an identity-based policy"},
		"by name, identity is silent":           {toBob, "bob", mayS3, "", ""},
		"by name, identity denies":              {toBob, "bob", denyKMS, "", "with an explicit deny in an identity-based policy"},
		"neither named nor delegated":           {toBob, "carol", mayDecrypt, "", byResource},
		"key denies":                            {toRoot + `,{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*"}`, "bob", mayDecrypt, "", "with an explicit deny in a resource-based policy"},
		"other account, not named":              {toRoot, "999999999999", "", "", byResource},
		"other account, named":                  {toRoot + "," + toStranger, "999999999999", "", "", ""},
		"other account, named, identity silent": {toRoot + "," + toStranger, "999999999999", mayS3, "", byIdentity},
		"via S3 only, via S3":                   {condition(`{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}}`), "bob", "", "s3", ""},
		"via S3 only, direct":                   {condition(`{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}}`), "bob", "", "", byResource},
		"via S3 only, via EC2":                  {condition(`{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}}`), "bob", "", "ec2", byResource},
		"caller's account":                      {condition(`{"StringEquals":{"kms:CallerAccount":"123456789012"}}`), "bob", "", "", ""},
		"encryption context fits":               {condition(`{"StringEquals":{"kms:EncryptionContext:Dept":"it"}}`), "bob", "", "", ""},
		"encryption context does not fit":       {condition(`{"StringEquals":{"kms:EncryptionContext:Dept":"hr"}}`), "bob", "", "", byResource},
		"encryption context keys":               {condition(`{"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["Dept"]}}`), "bob", "", "", ""},
		"origin and spec":                       {condition(`{"StringEquals":{"kms:KeyOrigin":"AWS_KMS","kms:KeySpec":"SYMMETRIC_DEFAULT"}}`), "bob", "", "", ""},
		"tag of the key":                        {condition(`{"StringEquals":{"aws:ResourceTag/team":"blue"}}`), "bob", "", "", ""},
		"principal's ARN":                       {condition(`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/b*"}}`), "bob", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			alice := kmsClient(t, s, "alice")
			context := map[string]string{"Dept": "it"}
			k := made(t, alice, func(in *kms.CreateKeyInput) {
				in.Policy = aws.String(keyPolicy(toAlice, tc.keyPolicy))
				in.Tags = []types.Tag{{TagKey: aws.String("team"), TagValue: aws.String("blue")}}
			})
			blob := encrypted(t, alice, *k.KeyId, "secret", context)
			who := wire.IdentityOf(tc.user)
			require.NoError(t, s.SetIdentityPolicy(who.ARN, tc.identity))

			use := useBy(s, tc.user, tc.via, context)
			plain, e := s.kms.DecryptDataKey(use, blob)
			if tc.reason == "" {
				require.Nil(t, e)
				require.Equal(t, "secret", string(plain))
				return
			}
			require.NotNil(t, e)
			require.Nil(t, plain)
			require.Equal(t, "AccessDeniedException", e.Code)
			require.Equal(t, "User: "+who.ARN+" is not authorized to perform: kms:Decrypt on resource: "+*k.Arn+" "+tc.reason, e.Message)
		})
	}
}

func TestKMS_AccessWithoutAKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "bob")
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::123456789012:user/bob", `{"Statement":[
		{"Effect":"Allow","Action":["kms:CreateKey"],"Resource":"*"},
		{"Effect":"Allow","Action":["kms:CreateAlias"],"Resource":["arn:aws:kms:*:*:alias/bob-*","arn:aws:kms:*:*:key/*"]}]}`))
	k := made(t, c)
	_, err := c.CreateKey(t.Context(), &kms.CreateKeyInput{Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}})
	requireCode(t, err, "AccessDeniedException")
	require.ErrorContains(t, err, "is not authorized to perform: kms:TagResource because no identity-based policy allows the kms:TagResource action")
	_, err = c.ListKeys(t.Context(), &kms.ListKeysInput{})
	requireCode(t, err, "AccessDeniedException")
	_, err = c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/bob-1"), TargetKeyId: k.KeyId})
	require.NoError(t, err)
	_, err = c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/1"), TargetKeyId: k.KeyId})
	requireCode(t, err, "AccessDeniedException")
	require.ErrorContains(t, err, "on resource: arn:aws:kms:us-east-1:123456789012:alias/1 because")

	// Another account's key can be used if its policy allows it, but not managed.
	stranger := kmsClient(t, s, "999999999999")
	open := made(t, kmsClient(t, s, "alice"), func(in *kms.CreateKeyInput) {
		in.Policy = aws.String(keyPolicy(`{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}`))
	})
	encrypted(t, stranger, *open.Arn, "x", nil)
	_, err = stranger.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: open.Arn})
	requireCode(t, err, "AccessDeniedException")
}
