package e2e

import (
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components/audittrail"
	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/localaws"
)

// auditTrail is a program that makes a trail, and exports what the tests change.
func auditTrail(tag string, allowDestroy bool, dataEventBuckets ...string) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		args := &audittrail.AuditTrailArgs{
			Regions: []string{"us-east-1", "us-west-2"}, Since: "2026-01-01", AllowDestroy: allowDestroy,
			Tags: pulumi.StringMap{"project": pulumi.String(tag)},
		}
		if len(dataEventBuckets) > 0 {
			args.DataEventBuckets = pulumi.ToStringArray(dataEventBuckets)
		}
		trail, err := audittrail.NewAuditTrail(ctx, "audit", args)
		if err != nil {
			return err
		}
		ctx.Export("keyId", trail.Key.KeyId)
		ctx.Export("bucketName", trail.BucketName)
		ctx.Export("resultsBucketName", trail.ResultsBucketName)
		return nil
	}
}

// Without AllowDestroy nothing is deleted. With it, a bucket that still has log files
// stays, with its protection and with the key that they need.
func TestAuditTrail_DestroyNeverStripsLogFilesOfTheirProtection(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", auditTrail("audit", false), nil)
	outputs := s.Up(t)
	bucket := outputs["bucketName"].(string)
	preview := s.Preview(t)
	require.True(t, preview.Clean(), preview.Output)

	before, err := l.AWS.Snapshot()
	require.NoError(t, err)
	out, err := s.TryDestroy(t.Context())
	require.Error(t, err)
	require.Contains(t, out, "protected")
	after, err := l.AWS.Snapshot()
	require.NoError(t, err)
	require.JSONEq(t, string(before), string(after))

	s = l.Stack(t, "sandbox", auditTrail("audit", true), nil)
	s.Up(t)
	require.NoError(t, l.AWS.DeliverTrails())
	out, err = s.TryDestroy(t.Context())
	require.Error(t, err)
	require.Contains(t, out, "BucketNotEmpty")
	l.CLI(t, "s3api", "get-bucket-policy", "--bucket", bucket)
	rules := l.CLI(t, "s3api", "get-bucket-encryption", "--bucket", bucket, "--query", "ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.KMSMasterKeyID")
	require.Equal(t, "Enabled", l.CLI(t, "kms", "describe-key", "--key-id", rules.(string), "--query", "KeyMetadata.KeyState"))
	require.Empty(t, l.CLI(t, "cloudtrail", "describe-trails", "--query", "trailList"))
	// One more up brings the trail back.
	s.Up(t)
	require.Equal(t, true, l.CLI(t, "cloudtrail", "get-trail-status", "--name", "audit", "--query", "IsLogging"))
}

// What changes behind Pulumi's back is shown, and repaired by the next up.
func TestAuditTrail_Drift(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", auditTrail("audit", false, "some-records"), nil)
	s.Up(t)
	for _, d := range []struct {
		name  string
		by    [][]string
		shows []string
	}{
		{"trail stopped", [][]string{{"cloudtrail", "stop-logging", "--name", "audit"}}, []string{"update cloudtrail.Trail: enableLogging"}},
		{"log file validation off, tag changed", [][]string{
			{"cloudtrail", "update-trail", "--name", "audit", "--no-enable-log-file-validation"},
			{"cloudtrail", "add-tags", "--resource-id", "arn:aws:cloudtrail:us-east-1:123456789012:trail/audit", "--tags-list", "Key=project,Value=other"},
		}, []string{"update cloudtrail.Trail: enableLogFileValidation, tags"}},
		{"data events off", [][]string{{"cloudtrail", "put-event-selectors", "--trail-name", "audit", "--event-selectors", `[{"ReadWriteType":"WriteOnly","IncludeManagementEvents":true}]`}}, []string{"update cloudtrail.Trail: eventSelectors"}},
		{"table and workgroup changed, database tagged", [][]string{
			{"glue", "update-table", "--database-name", "audit", "--table-input", `{"Name":"cloudtrail","StorageDescriptor":{"Location":"s3://other/"}}`},
			{"athena", "update-work-group", "--work-group", "audit", "--configuration-updates", "RemoveBytesScannedCutoffPerQuery=true,EnforceWorkGroupConfiguration=false"},
			{"glue", "tag-resource", "--resource-arn", "arn:aws:glue:us-east-1:123456789012:database/audit", "--tags-to-add", "project=other"},
		}, []string{"update athena.Workgroup: configuration", "update glue.CatalogDatabase: tags", "update glue.CatalogTable: parameters, partitionKeys, storageDescriptor, tableType"}},
		{"trail, workgroup and database deleted", [][]string{
			{"cloudtrail", "delete-trail", "--name", "audit"},
			{"athena", "delete-work-group", "--work-group", "audit", "--recursive-delete-option"},
			{"glue", "delete-database", "--name", "audit"},
		}, []string{"create athena.Workgroup", "create cloudtrail.Trail", "create glue.CatalogDatabase", "create glue.CatalogTable"}},
	} {
		for _, command := range d.by {
			l.CLI(t, command...)
		}
		found, preview := steps(t, s)
		var shown []string
		for _, step := range found {
			shown = append(shown, step.String())
		}
		require.ElementsMatch(t, d.shows, shown, "%s\n%s", d.name, preview.Output)
		out, err := s.TryUp(t.Context(), optup.Refresh())
		require.NoError(t, err, out)
		found, preview = steps(t, s)
		require.Empty(t, found, "%s\n%s", d.name, preview.Output)
	}
	s = l.Stack(t, "sandbox", auditTrail("security", false, "some-records"), nil)
	s.Up(t)
	preview := s.Preview(t)
	require.True(t, preview.Clean(), "tags can be changed\n%s", preview.Output)
}

// A call to AWS that fails leaves something half made. No up passes before all of it
// is made, except for the data events, for which docs/interruptions.md has a remedy. With
// AllowDestroy, a destroy then leaves nothing but the key, which waits to be deleted.
func TestAuditTrail_FinishesAfterInterruptedUps(t *testing.T) {
	t.Parallel()
	l := lab.New(t, func(o *localaws.Options) { o.TrailDelivery = -1 }) // its bucket stays empty
	operations := []string{"CreateDatabase", "CreateTrail", "StartLogging", "CreateTable", "CreateWorkGroup"}
	for _, operation := range operations {
		l.AWS.Inject(localaws.Fault{Operation: operation, Count: 1, Status: 403, Code: "AccessDeniedException"})
	}
	s := l.Stack(t, "sandbox", auditTrail("audit", false, "some-records"), nil)
	var failed []string
	for range 2 * len(operations) {
		out, err := s.TryUp(t.Context())
		if err == nil {
			break
		}
		failed = append(failed, out)
	}
	said := strings.Join(failed, "\n")
	for _, operation := range operations {
		require.Contains(t, said, operation)
	}
	require.Contains(t, said, "does not log yet")
	require.Equal(t, true, l.CLI(t, "cloudtrail", "get-trail-status", "--name", "audit", "--query", "IsLogging"))
	preview := s.Preview(t)
	require.True(t, preview.Clean(), preview.Output)

	selected := func() any {
		return l.CLI(t, "cloudtrail", "get-event-selectors", "--trail-name", "audit", "--query", "EventSelectors[0].DataResources[].Values[]")
	}
	require.Empty(t, selected(), "the provider sees by now that they are missing: the remedy is no longer needed")
	for _, buckets := range [][]string{nil, {"some-records"}} {
		l.Stack(t, "sandbox", auditTrail("audit", false, buckets...), nil).Up(t)
	}
	require.Equal(t, []any{"arn:aws:s3:::some-records/"}, selected())

	s = l.Stack(t, "sandbox", auditTrail("audit", true, "some-records"), nil)
	s.Up(t)
	s.Destroy(t)
	require.Empty(t, l.CLI(t, "cloudtrail", "describe-trails", "--query", "trailList"))
	require.Empty(t, l.CLI(t, "s3api", "list-buckets", "--query", "Buckets"))
	require.Empty(t, l.CLI(t, "glue", "get-databases", "--query", "DatabaseList"))
}
