package components

import (
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

func texts(list ...string) pulumi.StringArray { return pulumi.ToStringArray(list) }

// late is a list that is known only when the program runs.
func late(list ...string) pulumi.StringArrayOutput { return texts(list...).ToStringArrayOutput() }

func TestEncryptedBucket_Statements(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		_, err := NewEncryptedBucket(ctx, "app", &EncryptedBucketArgs{KmsKeyArn: pulumi.String(ownKey), Statements: []PolicyStatement{
			{
				Sid: "TrailWrites", Services: texts("cloudtrail.amazonaws.com"), Actions: texts("s3:PutObject"), Objects: late("AWSLogs/111122223333/*"),
				Conditions: map[string]map[string]pulumi.StringArrayInput{"StringEquals": {"aws:SourceArn": late("arn:aws:cloudtrail:us-east-1:111122223333:trail/t")}},
			},
			{Sid: "Partner", Principals: late(userRole, "444455556666"), Actions: texts("s3:GetObject", "s3:ListBucket")},
			{Sid: "Organization", Principals: texts("o-a1b2c3d4e5"), Actions: texts("s3:GetObject")},
			{Sid: "NoDeletes", Effect: "Deny", Principals: texts(userRole), Actions: texts("s3:DeleteObject*")},
		}})
		return err
	}))
	requireGolden(t, "bucket-policy-statements.golden.json", indented(t, m.get(t, "aws:s3/bucketPolicy:BucketPolicy", "app-policy").input("policy").(string)))
}

func TestPolicyStatement_Refuses(t *testing.T) {
	t.Parallel()
	statement := func(change func(*PolicyStatement)) PolicyStatement {
		s := PolicyStatement{Sid: "More", Principals: texts(userRole), Actions: texts("s3:GetObject")}
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		statement PolicyStatement
		want      string
	}{
		"a KMS action":             {statement(func(s *PolicyStatement) { s.Actions = texts("kms:Decrypt") }), `Statements.Actions: "kms:Decrypt" is not valid: it must be an S3 action`},
		"everyone":                 {statement(func(s *PolicyStatement) { s.Principals = texts("*") }), `Statements.Principals: "*"`},
		"an organization and more": {statement(func(s *PolicyStatement) { s.Principals = texts("o-a1b2c3d4e5", userRole) }), "only principal of its statement"},
		"an organization and its condition": {statement(func(s *PolicyStatement) {
			s.Principals = texts("o-a1b2c3d4e5")
			s.Conditions = map[string]map[string]pulumi.StringArrayInput{"StringEquals": {"AWS:PrincipalOrgId": texts("o-f6g7h8i9j0")}}
		}), `Statements.Principals: "o-a1b2c3d4e5" is not valid: an organization stands for StringEquals of aws:PrincipalOrgID`},
		"an organization and its condition, known late": {statement(func(s *PolicyStatement) {
			s.Principals = texts("o-a1b2c3d4e5")
			s.Conditions = map[string]map[string]pulumi.StringArrayInput{"StringEquals": {"aws:PrincipalOrgID": late("o-f6g7h8i9j0")}}
		}), "give one of the two"},
		"a denial's Sid":       {statement(func(s *PolicyStatement) { s.Sid = "DenyOtherKey" }), `two statements of the policy are named "DenyOtherKey"`},
		"an ARN for an object": {statement(func(s *PolicyStatement) { s.Objects = texts("arn:aws:s3:::b/x") }), "it must be an object's key"},
		"the account denied":   {statement(func(s *PolicyStatement) { s.Effect, s.Principals = "Deny", texts("111122223333") }), "lock the account out of its bucket"},
		"too large":            {statement(func(s *PolicyStatement) { s.Objects = texts(strings.Repeat("x", maxBucketPolicy)) }), "and S3 takes 20480"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireRefused(t, func(ctx *pulumi.Context) error {
				_, err := NewEncryptedBucket(ctx, "app", &EncryptedBucketArgs{KmsKeyArn: pulumi.String(ownKey), Statements: []PolicyStatement{c.statement}})
				return err
			}, c.want)
		})
	}
	requireRefused(t, func(ctx *pulumi.Context) error {
		_, err := NewCustomerKey(ctx, "app", &CustomerKeyArgs{Statements: []PolicyStatement{{Sid: "More", Principals: texts(userRole), Actions: texts("kms:Decrypt"), Objects: texts("x")}}})
		return err
	}, "which only a bucket's statement can have")

	m := newMock()
	require.ErrorContains(t, m.run(func(ctx *pulumi.Context) error {
		_, err := NewEncryptedBucket(ctx, "app", &EncryptedBucketArgs{KmsKeyArn: pulumi.String(ownKey), Statements: []PolicyStatement{{
			Sid: "More", Principals: late("o-a1b2c3d4e5"), Actions: texts("s3:GetObject"),
			Conditions: map[string]map[string]pulumi.StringArrayInput{"StringEquals": {"aws:PrincipalOrgID": texts("o-f6g7h8i9j0")}},
		}}})
		return err
	}), "give one of the two", "an organization that is known late")
	require.False(t, m.has("aws:s3/bucketPolicy:BucketPolicy"))

	for value, want := range map[string]string{"*": `Statements.Principals: "*"`, "arn:aws-cn:iam::111122223333:role/x": "partition aws-cn"} {
		m := newMock()
		require.ErrorContains(t, m.run(func(ctx *pulumi.Context) error {
			_, err := NewEncryptedBucket(ctx, "app", &EncryptedBucketArgs{KmsKeyArn: pulumi.String(ownKey), Statements: []PolicyStatement{
				{Sid: "More", Principals: late(value), Actions: texts("s3:GetObject")},
			}})
			return err
		}), want, "a value that is known late")
		require.False(t, m.has("aws:s3/bucketPolicy:BucketPolicy"))
	}
}
