package e2e

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/components/audittrail"
	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
	"github.com/securethecloud/kms-baseline/verify/check"
	"github.com/securethecloud/kms-baseline/verify/report"
)

const (
	organizationID = "o-a1b2c3d4e5"
	memberAccount  = "111122223333"
)

// organizationTrail is a program that makes the trail of an organization, and lets one
// member read its own log files.
func organizationTrail(allowDestroy bool) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		const folder = "AWSLogs/" + organizationID + "/" + memberAccount + "/*"
		member := pulumi.ToStringArray([]string{memberAccount})
		trail, err := audittrail.NewAuditTrail(ctx, "audit", &audittrail.AuditTrailArgs{
			OrganizationID: pulumi.String(organizationID),
			Regions:        []string{"us-east-1", "eu-west-1"}, Since: "2026-01-01", AllowDestroy: allowDestroy,
			Key: &components.CustomerKeyArgs{Accounts: member, Statements: []components.PolicyStatement{
				{Sid: "MemberDescribes", Principals: member, Actions: pulumi.ToStringArray([]string{"kms:DescribeKey"})},
			}},
			Bucket: &components.EncryptedBucketArgs{ForceDestroy: allowDestroy, Statements: []components.PolicyStatement{
				{Sid: "MemberReads", Principals: member, Actions: pulumi.ToStringArray([]string{"s3:GetObject"}), Objects: pulumi.ToStringArray([]string{folder})},
				{Sid: "MemberLists", Principals: member, Actions: pulumi.ToStringArray([]string{"s3:ListBucket"}),
					Conditions: map[string]map[string]pulumi.StringArrayInput{"StringLike": {"s3:prefix": pulumi.ToStringArray([]string{folder})}}},
			}},
		})
		if err != nil {
			return err
		}
		ctx.Export("bucketName", trail.BucketName)
		ctx.Export("filesSource", trail.FilesSource)
		return nil
	}
}

// The trail logs the members of the organization, each in its own folder, where a member
// finds and validates its own events.
func TestAuditTrail_OfAnOrganization(t *testing.T) {
	t.Parallel()
	var passed atomic.Int64 // time that has not been waited for
	now := func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	l := lab.New(t, func(o *localaws.Options) { o.Now, o.TrailDelivery = now, -1 })
	require.NoError(t, l.AWS.SetOrganization(localaws.Organization{ID: organizationID, Management: engine.AccountID, Accounts: []localaws.OrganizationAccount{{ID: engine.AccountID}, {ID: memberAccount}}}))
	s := l.Stack(t, "sandbox", organizationTrail(false), nil)
	out, err := s.TryUp(t.Context())
	require.Error(t, err)
	require.Contains(t, out, "CloudTrailAccessNotEnabledException")
	l.CLI(t, "organizations", "enable-aws-service-access", "--service-principal", "cloudtrail.amazonaws.com")
	outputs := s.Up(t)
	preview := s.Preview(t)
	require.True(t, preview.Clean(), preview.Output)
	require.Equal(t, true, l.CLI(t, "cloudtrail", "get-trail", "--name", "audit", "--query", "Trail.IsOrganizationTrail"))

	member := l.Config(t, memberAccount)
	keys := kms.NewFromConfig(member)
	passed.Add(int64(time.Minute))
	key, err := keys.CreateKey(t.Context(), nil)
	require.NoError(t, err)
	for range 3 { // an hour is what a digest file covers
		require.NoError(t, l.AWS.DeliverTrails())
		passed.Add(int64(time.Hour + time.Minute))
	}
	require.NoError(t, l.AWS.DeliverTrails())
	bucket := outputs["bucketName"].(string)
	files := func(account, folder string) []any {
		list := l.CLI(t, "s3api", "list-objects-v2", "--bucket", bucket, "--prefix", "AWSLogs/"+organizationID+"/"+account+"/"+folder, "--query", "Contents[].Key || `[]`")
		return list.([]any)
	}
	require.Len(t, files(memberAccount, "CloudTrail/us-east-1/"), 1)
	require.NotEmpty(t, files(engine.AccountID, "CloudTrail/us-east-1/"))
	require.Len(t, files(memberAccount, "CloudTrail-Digest/us-east-1/"), 3)

	found, err := check.Run(t.Context(), check.Config{
		AWS: member, Keys: []string{*key.KeyMetadata.Arn}, AccountWide: true, Now: now, Since: 2 * time.Hour,
		Events: outputs["filesSource"].(string), Only: []string{"trail.integrity", "trail.logging"},
	})
	require.NoError(t, err)
	require.Len(t, found.Results, 2)
	for _, r := range found.Results {
		require.Equal(t, report.Pass, r.Status, "%s: %s", r.ID, r.Actual)
	}

	out, err = s.TryDestroy(t.Context())
	require.Error(t, err)
	require.Contains(t, out, "protected")
	s = l.Stack(t, "sandbox", organizationTrail(true), nil)
	s.Up(t)
	s.Destroy(t)
	require.Empty(t, l.CLI(t, "cloudtrail", "describe-trails", "--query", "trailList"))
	require.Empty(t, l.CLI(t, "s3api", "list-buckets", "--query", "Buckets"))
}

// A trail of one account becomes the organization's without a replacement, which the
// protection of its resources would refuse.
func TestAuditTrail_BecomesTheOrganizations(t *testing.T) {
	t.Parallel()
	l := lab.New(t, func(o *localaws.Options) { o.TrailDelivery = -1 })
	l.Stack(t, "sandbox", auditTrail("audit", false), nil).Up(t)
	s := l.Stack(t, "sandbox", func(ctx *pulumi.Context) error {
		trail, err := audittrail.NewAuditTrail(ctx, "audit", &audittrail.AuditTrailArgs{
			OrganizationID: pulumi.String(organizationID), Regions: []string{"us-east-1", "us-west-2"}, Since: "2026-01-01",
			Tags: pulumi.StringMap{"project": pulumi.String("audit")},
		})
		if err != nil {
			return err
		}
		ctx.Export("bucketName", trail.BucketName)
		return nil
	}, nil)
	found, preview := steps(t, s)
	var shown []string
	for _, step := range found {
		shown = append(shown, step.String())
	}
	require.ElementsMatch(t, []string{
		"update cloudtrail.Trail: isOrganizationTrail", "update glue.CatalogTable: parameters, partitionKeys, storageDescriptor", "update s3.BucketPolicy: policy",
	}, shown, preview.Output)
}
