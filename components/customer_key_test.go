package components

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

func TestCustomerKey_Defaults(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		c, err := NewCustomerKey(ctx, "app", nil)
		require.NoError(t, err)
		require.Equal(t, ownKey, resolved(t, ctx, c.KeyArn))
		require.Equal(t, "1234abcd-12ab-34cd-56ef-1234567890ab", resolved(t, ctx, c.KeyId))
		require.Equal(t, "alias/app", resolved(t, ctx, c.AliasName))
		require.Equal(t, "arn:aws:kms:us-east-1:111122223333:alias/app", resolved(t, ctx, c.AliasArn))
		return nil
	}))
	key := m.get(t, "aws:kms/key:Key", "app-key")
	require.Equal(t, map[string]any{
		"description": "customer managed key of app", "keyUsage": "ENCRYPT_DECRYPT", "customerMasterKeySpec": "SYMMETRIC_DEFAULT",
		"isEnabled": true, "enableKeyRotation": true, "rotationPeriodInDays": 365.0, "deletionWindowInDays": 30.0, "multiRegion": false,
	}, key.Inputs.Mappable())

	policy := m.get(t, "aws:kms/keyPolicy:KeyPolicy", "app-key-policy")
	require.Equal(t, "1234abcd-12ab-34cd-56ef-1234567890ab", policy.input("keyId"))
	require.Equal(t, key.urn, policy.rpc.GetDeletedWith(), "a key that is deleted needs no call that deletes its policy")
	require.Equal(t, []string{"AccountRoot"}, sids(t, policy.input("policy").(string)))

	alias := m.get(t, "aws:kms/alias:Alias", "app-alias")
	require.Equal(t, map[string]any{"name": "alias/app", "targetKeyId": "1234abcd-12ab-34cd-56ef-1234567890ab"}, alias.Inputs.Mappable())
	require.Contains(t, alias.rpc.GetDependencies(), policy.urn, "a caller that finds the key by its alias finds it ready")
}

func TestCustomerKey_EveryArgument(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		_, err := NewCustomerKey(ctx, "app", &CustomerKeyArgs{
			AliasName: "alias/team/app", Description: "d", RotationPeriodInDays: ptr(90), DeletionWindowInDays: ptr(7), MultiRegion: true,
			Administrators:   pulumi.ToStringArray([]string{adminRole}),
			ServiceUsers:     pulumi.StringArray{pulumi.String(userRole).ToStringOutput()},
			Accounts:         texts("444455556666"),
			Services:         texts("cloudtrail.amazonaws.com"),
			AllowAutoScaling: true,
			Statements:       []PolicyStatement{{Sid: "More", Principals: pulumi.ToStringArray([]string{adminRole}), Actions: texts("kms:Sign")}},
			Tags:             pulumi.StringMap{"project": pulumi.String("p")},
		}, pulumi.Protect(true))
		return err
	}))
	key := m.get(t, "aws:kms/key:Key", "app-key")
	require.Equal(t, map[string]any{
		"description": "d", "keyUsage": "ENCRYPT_DECRYPT", "customerMasterKeySpec": "SYMMETRIC_DEFAULT", "isEnabled": true,
		"enableKeyRotation": true, "rotationPeriodInDays": 90.0, "deletionWindowInDays": 7.0, "multiRegion": true, "tags": map[string]any{"project": "p"},
	}, key.Inputs.Mappable())
	require.True(t, key.rpc.GetProtect(), "Protect of the component is its children's too")
	require.Equal(t, "alias/team/app", m.get(t, "aws:kms/alias:Alias", "app-alias").input("name"))
	require.Equal(t,
		[]string{"AccountRoot", "Administrators", "ServiceUsers", "ServiceUsersGrants", "Accounts", "AccountsGrants", "CloudTrail", "CloudTrailOther", "AutoScaling", "AutoScalingGrants", "More"},
		sids(t, m.get(t, "aws:kms/keyPolicy:KeyPolicy", "app-key-policy").input("policy").(string)))
}

func TestCustomerKey_PolicyIsTakenAsItIs(t *testing.T) {
	t.Parallel()
	const document = `{ "Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "kms:*", "Resource": "*"} }`
	m := newMock()
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		_, err := NewCustomerKey(ctx, "app", &CustomerKeyArgs{Policy: pulumi.String(document)})
		return err
	}))
	require.Equal(t, document, m.get(t, "aws:kms/keyPolicy:KeyPolicy", "app-key-policy").input("policy"))
}

// TestCustomerKey_PolicyOfAnotherAccount: the account is known once the key is.
func TestCustomerKey_PolicyOfAnotherAccount(t *testing.T) {
	t.Parallel()
	m := newMock()
	err := m.run(func(ctx *pulumi.Context) error {
		_, err := NewCustomerKey(ctx, "app", &CustomerKeyArgs{Policy: pulumi.String(
			`{"Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999999999999:root"}, "Action": "kms:*"}]}`)})
		return err
	})
	require.ErrorContains(t, err, "Policy: the policy would lock the account out of its key")
	require.False(t, m.has("aws:kms/keyPolicy:KeyPolicy"))
}

func TestCustomerKey_PreviewBeforeTheKeyExists(t *testing.T) {
	t.Parallel()
	m := newMock()
	m.preview = true
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		_, err := NewCustomerKey(ctx, "app", &CustomerKeyArgs{ServiceUsers: pulumi.StringArray{pulumi.String(userRole)}})
		return err
	}))
	require.NotContains(t, m.get(t, "aws:kms/keyPolicy:KeyPolicy", "app-key-policy").Inputs, "policy", "the mock leaves out what is not known")
}

func TestCustomerKey_Refuses(t *testing.T) {
	t.Parallel()
	many := make([]string, 700)
	for i := range many {
		many[i] = "arn:aws:iam::111122223333:role/" + strings.Repeat("r", i+1)
	}
	statement := func(change func(*PolicyStatement)) *CustomerKeyArgs {
		s := PolicyStatement{Sid: "More", Principals: pulumi.ToStringArray([]string{adminRole}), Actions: texts("kms:Sign")}
		change(&s)
		return &CustomerKeyArgs{Statements: []PolicyStatement{s}}
	}
	for name, c := range map[string]struct {
		args *CustomerKeyArgs
		want []string
	}{
		"alias without prefix":          {&CustomerKeyArgs{AliasName: "mine"}, []string{`CustomerKey "app": AliasName: "mine"`, `begin with "alias/"`}},
		"alias of AWS":                  {&CustomerKeyArgs{AliasName: "alias/aws/ebs"}, []string{"AliasName", `"alias/aws/ebs"`, "reserved"}},
		"another alias":                 {&CustomerKeyArgs{AdditionalAliases: []string{"mine"}}, []string{`AdditionalAliases: "mine"`}},
		"an alias twice":                {&CustomerKeyArgs{AdditionalAliases: []string{"alias/x", "alias/x"}}, []string{`AdditionalAliases: "alias/x" is not valid: the key has this name already`}},
		"the first alias twice":         {&CustomerKeyArgs{AdditionalAliases: []string{"alias/app"}}, []string{`AdditionalAliases: "alias/app"`}},
		"rotation too often":            {&CustomerKeyArgs{RotationPeriodInDays: ptr(89)}, []string{"RotationPeriodInDays: 89", "90 to 2560"}},
		"rotation too seldom":           {&CustomerKeyArgs{RotationPeriodInDays: ptr(2561)}, []string{"RotationPeriodInDays: 2561", "90 to 2560"}},
		"window too short":              {&CustomerKeyArgs{DeletionWindowInDays: ptr(6)}, []string{"DeletionWindowInDays: 6", "7 to 30"}},
		"window too long":               {&CustomerKeyArgs{DeletionWindowInDays: ptr(31)}, []string{"DeletionWindowInDays: 31", "7 to 30"}},
		"description":                   {&CustomerKeyArgs{Description: strings.Repeat("d", 8193)}, []string{"Description", "8193", "8192"}},
		"administrator":                 {&CustomerKeyArgs{Administrators: pulumi.StringArray{pulumi.String("*")}}, []string{`Administrators: "*"`, "IAM role"}},
		"user":                          {&CustomerKeyArgs{ServiceUsers: pulumi.StringArray{pulumi.String(userRole), pulumi.String("app")}}, []string{`ServiceUsers: "app"`, "IAM role"}},
		"account":                       {&CustomerKeyArgs{Accounts: texts("123")}, []string{`Accounts: "123"`, "12 digits"}},
		"service":                       {&CustomerKeyArgs{Services: texts("s3")}, []string{`Services: "s3"`, "service principal"}},
		"tag":                           {&CustomerKeyArgs{Tags: pulumi.StringMap{"aws:x": pulumi.String("")}}, []string{`Tags: "aws:x"`, "reserved"}},
		"policy too large":              {&CustomerKeyArgs{ServiceUsers: pulumi.ToStringArray(many)}, []string{"the key policy has", "KMS takes 32768"}},
		"statement without Sid":         {statement(func(s *PolicyStatement) { s.Sid = "" }), []string{"Statements.Sid", "not empty"}},
		"statement with odd Sid":        {statement(func(s *PolicyStatement) { s.Sid = "a b" }), []string{`Statements.Sid: "a b"`, "letters and digits"}},
		"statement's Sid is taken":      {statement(func(s *PolicyStatement) { s.Sid = "AccountRoot" }), []string{"Statements", `named "AccountRoot"`}},
		"statement's effect":            {statement(func(s *PolicyStatement) { s.Effect = "allow" }), []string{`Statements.Effect: "allow"`, "Allow or Deny"}},
		"statement without a principal": {statement(func(s *PolicyStatement) { s.Principals = nil }), []string{`"More" names no principal`}},
		"statement for everyone":        {statement(func(s *PolicyStatement) { s.Principals = pulumi.ToStringArray([]string{"*"}) }), []string{`Statements.Principals: "*"`}},
		"statement's service":           {statement(func(s *PolicyStatement) { s.Services = pulumi.ToStringArray([]string{"x"}) }), []string{`Statements.Services: "x"`}},
		"statement without actions":     {statement(func(s *PolicyStatement) { s.Actions = nil }), []string{`"More" has no Actions`}},
		"statement's action":            {statement(func(s *PolicyStatement) { s.Actions = texts("s3:GetObject") }), []string{`Statements.Actions: "s3:GetObject"`}},
		"statement's empty action":      {statement(func(s *PolicyStatement) { s.Actions = texts("kms:") }), []string{`Statements.Actions: "kms:"`}},
		"condition without key":         {statement(func(s *PolicyStatement) { s.Conditions = map[string]map[string]pulumi.StringArrayInput{"Bool": {}} }), []string{`condition "Bool" without a condition key`}},
		"condition without value": {statement(func(s *PolicyStatement) {
			s.Conditions = map[string]map[string]pulumi.StringArrayInput{"Bool": {"aws:x": nil}}
		}), []string{`"aws:x" without a value`}},
		"statement locks out": {statement(func(s *PolicyStatement) {
			s.Effect, s.Principals = "Deny", pulumi.ToStringArray([]string{"arn:aws:iam::111122223333:root"})
		}), []string{"lock the account out"}},
		"policy is not JSON":      {&CustomerKeyArgs{Policy: pulumi.String("{")}, []string{"Policy: not a JSON policy document"}},
		"policy locks out":        {&CustomerKeyArgs{Policy: pulumi.String(`{"Statement": []}`)}, []string{"Policy: the policy would lock the account out"}},
		"policy and users":        {&CustomerKeyArgs{Policy: pulumi.String(`{"Statement": []}`), ServiceUsers: pulumi.StringArray{}}, []string{"Policy and Administrators, ServiceUsers, DirectUsers", "exclude each other"}},
		"policy and Auto Scaling": {&CustomerKeyArgs{Policy: pulumi.String(`{"Statement": []}`), AllowAutoScaling: true}, []string{"exclude each other"}},
		"all at once":             {&CustomerKeyArgs{AliasName: "x", RotationPeriodInDays: ptr(1), DeletionWindowInDays: ptr(1)}, []string{"AliasName", "RotationPeriodInDays", "DeletionWindowInDays"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireRefused(t, func(ctx *pulumi.Context) error {
				_, err := NewCustomerKey(ctx, "app", c.args)
				return err
			}, c.want...)
		})
	}
}

// TestCustomerKey_AdditionalAliases: the first alias keeps its URN, and each other
// one has a name that does not depend on its place in the list.
func TestCustomerKey_AdditionalAliases(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		key, err := NewCustomerKey(ctx, "app", &CustomerKeyArgs{AdditionalAliases: []string{"alias/second", "alias/team/third"}})
		require.NoError(t, err)
		require.Len(t, key.AdditionalAliases, 2)
		require.Equal(t, "alias/app", resolved(t, ctx, key.AliasName))
		_, err = NewReplicaKey(ctx, "copy", &ReplicaKeyArgs{PrimaryKeyArn: pulumi.String(primaryKey), AdditionalAliases: []string{"alias/second"}})
		return err
	}))
	for resource, name := range map[string]string{
		"app-alias": "alias/app", "app-alias-second": "alias/second", "app-alias-team/third": "alias/team/third", "copy-alias": "alias/copy", "copy-alias-second": "alias/second",
	} {
		alias := m.get(t, "aws:kms/alias:Alias", resource)
		require.Equal(t, name, alias.input("name"))
		require.Contains(t, alias.rpc.GetDependencies(), m.get(t, "aws:kms/keyPolicy:KeyPolicy", strings.Split(resource, "-")[0]+"-key-policy").urn)
	}
}

func TestCustomerKey_RefusesANameThatMakesNoAlias(t *testing.T) {
	t.Parallel()
	requireRefused(t, func(ctx *pulumi.Context) error {
		_, err := NewCustomerKey(ctx, "my.app", nil)
		return err
	}, `AliasName: "alias/my.app"`, "letters, digits")
}

// TestCustomerKey_ChecksLateValues: what is not known when the program runs is
// refused when it is, before anything is made of it.
func TestCustomerKey_ChecksLateValues(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args CustomerKeyArgs
		want string
	}{
		"administrator": {CustomerKeyArgs{Administrators: pulumi.StringArray{pulumi.String("*").ToStringOutput()}}, `Administrators: "*"`},
		"list of users": {CustomerKeyArgs{ServiceUsers: pulumi.ToStringArray([]string{"x"}).ToStringArrayOutput()}, `ServiceUsers: "x"`},
		"account":       {CustomerKeyArgs{Accounts: late("123")}, `Accounts: "123"`},
		"service":       {CustomerKeyArgs{Services: late("s3")}, `Services: "s3"`},
		"action":        {CustomerKeyArgs{Statements: []PolicyStatement{{Sid: "More", Principals: texts(userRole), Actions: late("s3:GetObject")}}}, `Statements.Actions: "s3:GetObject"`},
		"no action":     {CustomerKeyArgs{Statements: []PolicyStatement{{Sid: "More", Principals: texts(userRole), Actions: late()}}}, `statement "More" has no Actions`},
		"policy":        {CustomerKeyArgs{Policy: pulumi.String("x").ToStringOutput()}, "Policy: not a JSON policy document"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMock()
			require.ErrorContains(t, m.run(func(ctx *pulumi.Context) error {
				_, err := NewCustomerKey(ctx, "app", &c.args)
				return err
			}), c.want)
			require.False(t, m.has("aws:kms/keyPolicy:KeyPolicy"))
			require.False(t, m.has("aws:kms/alias:Alias"))
		})
	}
}

// sids are the names of a policy's statements, in order.
func sids(t *testing.T, document string) []string {
	t.Helper()
	var d struct{ Statement []struct{ Sid string } }
	require.NoError(t, json.Unmarshal([]byte(document), &d))
	var out []string
	for _, s := range d.Statement {
		out = append(out, s.Sid)
	}
	return out
}

// A key of any partition gets a policy of that partition, and a principal of
// another one is named before KMS refuses the whole policy.
func TestCustomerKey_Partition(t *testing.T) {
	t.Parallel()
	const european = "arn:aws-eusc:iam::111122223333:role/admin"
	for name, want := range map[string]string{adminRole: "", european: `Administrators: "` + european + `" is not valid: it is in the partition aws-eusc`} {
		m := newMock()
		err := m.run(func(ctx *pulumi.Context) error {
			_, err := NewCustomerKey(ctx, "app", &CustomerKeyArgs{Administrators: pulumi.StringArray{pulumi.String(name)}})
			return err
		})
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
}
