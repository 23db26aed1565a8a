package audittrail

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
)

// mock answers for the engine, and records what is registered. What the resources
// do is tested end to end.
type mock struct {
	mu        sync.Mutex
	resources map[string]pulumi.MockResourceArgs // by type and name
}

func (m *mock) NewResource(a pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	out := a.Inputs.Copy()
	switch a.TypeToken {
	case "aws:kms/key:Key":
		out["arn"] = resource.NewProperty("arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
		out["keyId"] = resource.NewProperty("1234abcd-12ab-34cd-56ef-1234567890ab")
	case "aws:s3/bucketV2:BucketV2":
		out["bucket"] = resource.NewProperty(a.Name)
		out["arn"] = resource.NewProperty("arn:aws:s3:::" + a.Name)
		out["region"] = resource.NewProperty("us-east-1")
	case "aws:cloudtrail/trail:Trail":
		out["arn"] = resource.NewProperty("arn:aws:cloudtrail:us-east-1:111122223333:trail/" + out["name"].StringValue())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resources[a.TypeToken+" "+a.Name] = a
	return a.Name + "-id", out, nil
}

func (m *mock) Call(a pulumi.MockCallArgs) (resource.PropertyMap, error) {
	if a.Token == "aws:kms/getAlias:getAlias" || a.Token == "aws:kms/getKey:getKey" {
		return nil, os.ErrNotExist
	}
	return resource.PropertyMap{}, nil
}

// run makes a trail called audit, and returns what was registered.
func run(t *testing.T, args *AuditTrailArgs) (map[string]pulumi.MockResourceArgs, error) {
	t.Helper()
	m := &mock{resources: map[string]pulumi.MockResourceArgs{}}
	err := pulumi.RunErr(func(ctx *pulumi.Context) error {
		_, err := NewAuditTrail(ctx, "audit", args)
		return err
	}, pulumi.WithMocks("kms-baseline", "test", m))
	return m.resources, err
}

func least() *AuditTrailArgs {
	return &AuditTrailArgs{Regions: []string{"us-east-1", "eu-west-1"}, Since: "2026-01-01"}
}

// The tables are those that `verify athena ddl` prints. verify does not import the
// components, nor they verify; docs/scale.md has verify's DDL, and a test of verify
// sees to that.
func TestTable_IsTheOneOfVerifyAthenaDDL(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/scale.md")
	require.NoError(t, err)
	tables := strings.Split(string(page), "```sql\nCREATE EXTERNAL TABLE ")[1:]
	require.Len(t, tables, 2)
	organization := least()
	organization.OrganizationID = pulumi.String("o-a1b2c3d4e5")
	for i, args := range []*AuditTrailArgs{least(), organization} {
		ddl, _, ok := strings.Cut(tables[i], "```")
		require.True(t, ok)
		find := func(pattern string) string {
			found := regexp.MustCompile(`(?s)` + pattern).FindStringSubmatch(ddl)
			require.Len(t, found, 2, pattern)
			return found[1]
		}
		withoutSpace := func(s string) string { return strings.Join(strings.Fields(s), "") }
		require.Equal(t, tableName, find(`^(\w+) \(`))
		require.Equal(t, recordsType, withoutSpace(find(`records (array<.*>)\)\s+PARTITIONED`)))
		var keys []string
		for _, k := range args.partitionKeys() {
			keys = append(keys, k+" string")
		}
		require.Equal(t, strings.Join(keys, ", "), find(`PARTITIONED BY \(([^)]*)\)`))
		require.Equal(t, serDe, find(`SERDE '([^']*)'`))
		location := find(`LOCATION '([^']*)'`)
		want := map[string]string{"EXTERNAL": "TRUE"} // what EXTERNAL in the DDL means
		for _, p := range regexp.MustCompile(`'([^']*)'='([^']*)'`).FindAllStringSubmatch(ddl, -1) {
			want[p[1]] = p[2]
		}
		require.Equal(t, want, args.tableParameters(location))
	}
}

func TestAuditTrail_IsSecureByDefault(t *testing.T) {
	t.Parallel()
	resources, err := run(t, least())
	require.NoError(t, err)
	trail := resources["aws:cloudtrail/trail:Trail audit-trail"].Inputs.Mappable()
	for name, want := range map[string]any{
		"enableLogging": true, "enableLogFileValidation": true, "isMultiRegionTrail": true, "includeGlobalServiceEvents": true, "isOrganizationTrail": false,
		"kmsKeyId": "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "s3BucketName": "audit-bucket", "name": "audit",
	} {
		require.Equal(t, want, trail[name], name)
	}
	require.NotContains(t, trail, "eventSelectors")
	workgroup := resources["aws:athena/workgroup:Workgroup audit-workgroup"].Inputs.Mappable()["configuration"].(map[string]any)
	require.Equal(t, true, workgroup["enforceWorkgroupConfiguration"])
	require.EqualValues(t, defaultCutoff, workgroup["bytesScannedCutoffPerQuery"])
	require.Equal(t, map[string]any{
		"outputLocation":          "s3://audit-results-bucket/",
		"encryptionConfiguration": map[string]any{"encryptionOption": "SSE_KMS", "kmsKeyArn": trail["kmsKeyId"]},
	}, workgroup["resultConfiguration"])
	policy := resources["aws:kms/keyPolicy:KeyPolicy audit-key-policy"].Inputs.Mappable()["policy"].(string)
	require.Contains(t, policy, `"Sid":"CloudTrail"`)
	for name, r := range resources {
		if strings.HasPrefix(name, "aws:") {
			require.True(t, r.RegisterRPC.GetProtect(), "%s is not protected", name)
		}
	}
	args := least()
	args.AllowDestroy = true
	resources, err = run(t, args)
	require.NoError(t, err)
	for name, r := range resources {
		require.False(t, r.RegisterRPC.GetProtect(), "%s is protected", name)
	}
}

// The names and types of the resources are part of their URNs: another one deletes the
// resource in a user's stack.
func TestAuditTrail_KeepsItsURNs(t *testing.T) {
	t.Parallel()
	resources, err := run(t, least())
	require.NoError(t, err)
	require.Equal(t, []string{
		"aws:athena/workgroup:Workgroup audit-workgroup",
		"aws:cloudtrail/trail:Trail audit-trail",
		"aws:glue/catalogDatabase:CatalogDatabase audit-database",
		"aws:glue/catalogTable:CatalogTable audit-table",
		"kms-baseline:index:AuditTrail audit",
		"kms-baseline:index:CustomerKey audit",
		"kms-baseline:index:EncryptedBucket audit",
		"kms-baseline:index:EncryptedBucket audit-results",
	}, slices.DeleteFunc(slices.Sorted(maps.Keys(resources)), func(name string) bool {
		return strings.HasPrefix(name, "aws:kms/") || strings.HasPrefix(name, "aws:s3/") || strings.HasPrefix(name, "pulumi:") // pinned in package components
	}))
}

func TestAuditTrail_LogsDataEventsOfTheBuckets(t *testing.T) {
	t.Parallel()
	args := least()
	args.DataEventBuckets = pulumi.ToStringArray([]string{"records", "more-records"})
	resources, err := run(t, args)
	require.NoError(t, err)
	selectors := resources["aws:cloudtrail/trail:Trail audit-trail"].Inputs.Mappable()["eventSelectors"].([]any)
	require.Equal(t, []any{map[string]any{"readWriteType": "All", "includeManagementEvents": true, "dataResources": []any{
		map[string]any{"type": "AWS::S3::Object", "values": []any{"arn:aws:s3:::records/", "arn:aws:s3:::more-records/"}},
	}}}, selectors)

	args.DataEventBuckets = pulumi.ToStringArray([]string{"audit-bucket"})
	_, err = run(t, args)
	require.ErrorContains(t, err, "the trail's own bucket")
}

// An organization's trail differs by the trail's flag, one statement of the bucket policy
// and the table's partition key; the ID may be known only once something else is made.
func TestAuditTrail_OfAnOrganization(t *testing.T) {
	t.Parallel()
	statements := func(resources map[string]pulumi.MockResourceArgs) (byID map[string]any) {
		var policy struct{ Statement []map[string]any }
		require.NoError(t, json.Unmarshal([]byte(resources["aws:s3/bucketPolicy:BucketPolicy audit-policy"].Inputs.Mappable()["policy"].(string)), &policy))
		byID = map[string]any{}
		for _, s := range policy.Statement {
			byID[s["Sid"].(string)] = s
		}
		return byID
	}
	one, err := run(t, least())
	require.NoError(t, err)
	for _, id := range []pulumi.StringInput{pulumi.String("o-a1b2c3d4e5"), pulumi.String("o-a1b2c3d4e5").ToStringOutput()} {
		args := least()
		args.OrganizationID = id
		resources, err := run(t, args)
		require.NoError(t, err)
		trail := resources["aws:cloudtrail/trail:Trail audit-trail"].Inputs.Mappable()
		require.Equal(t, true, trail["isOrganizationTrail"])
		require.Equal(t, true, trail["isMultiRegionTrail"])

		got, want := statements(resources), statements(one)
		added := got["AWSCloudTrailOrganizationWrite"]
		delete(got, "AWSCloudTrailOrganizationWrite")
		require.Equal(t, want, got)
		written := maps.Clone(want["AWSCloudTrailWrite"].(map[string]any))
		require.Equal(t, "arn:aws:s3:::audit-bucket/AWSLogs/111122223333/*", written["Resource"])
		written["Sid"], written["Resource"] = "AWSCloudTrailOrganizationWrite", "arn:aws:s3:::audit-bucket/AWSLogs/o-a1b2c3d4e5/*"
		require.Equal(t, written, added)
		const keyPolicy = "aws:kms/keyPolicy:KeyPolicy audit-key-policy"
		require.Equal(t, one[keyPolicy].Inputs["policy"], resources[keyPolicy].Inputs["policy"], "the trail is the management account's")

		table := resources["aws:glue/catalogTable:CatalogTable audit-table"].Inputs.Mappable()
		require.Equal(t, "s3://audit-bucket/AWSLogs/o-a1b2c3d4e5/", table["storageDescriptor"].(map[string]any)["location"])
		parameters := table["parameters"].(map[string]any)
		require.Equal(t, "injected", parameters["projection.account.type"])
		require.Equal(t, "s3://audit-bucket/AWSLogs/o-a1b2c3d4e5/${account}/CloudTrail/${region}/${day}", parameters["storage.location.template"])
	}
	args := least()
	args.OrganizationID = pulumi.String("r-1").ToStringOutput()
	_, err = run(t, args)
	require.ErrorContains(t, err, "the ID of an organization")
}

func TestAuditTrail_TakesAnExistingKey(t *testing.T) {
	t.Parallel()
	const key = "arn:aws:kms:us-east-1:111122223333:key/ffffffff-12ab-34cd-56ef-1234567890ab"
	args := least()
	args.KmsKeyArn = pulumi.String(key)
	resources, err := run(t, args)
	require.NoError(t, err)
	require.NotContains(t, resources, "aws:kms/key:Key audit-key")
	require.Equal(t, key, resources["aws:cloudtrail/trail:Trail audit-trail"].Inputs.Mappable()["kmsKeyId"])
}

func TestAuditTrail_RefusesArguments(t *testing.T) {
	t.Parallel()
	for argument, change := range map[string]func(*AuditTrailArgs){
		"TrailName":              func(a *AuditTrailArgs) { a.TrailName = "a..b" },
		"OrganizationID":         func(a *AuditTrailArgs) { a.OrganizationID = pulumi.String("111122223333") },
		"Key":                    func(a *AuditTrailArgs) { a.Key, a.KmsKeyArn = &components.CustomerKeyArgs{}, pulumi.String("x") },
		"Bucket.KmsKeyArn":       func(a *AuditTrailArgs) { a.Bucket = &components.EncryptedBucketArgs{KmsKeyArn: pulumi.String("x")} },
		"Bucket.DenyForeignKeys": func(a *AuditTrailArgs) { a.Bucket = &components.EncryptedBucketArgs{DenyForeignKeys: new(bool)} },
		"DataEventBuckets":       func(a *AuditTrailArgs) { a.DataEventBuckets = pulumi.ToStringArray([]string{"arn:aws:s3:::b"}) },
		"Regions":                func(a *AuditTrailArgs) { a.Regions = nil },
		"Since":                  func(a *AuditTrailArgs) { a.Since = "2026-13-01" },
		"BytesScannedCutoff":     func(a *AuditTrailArgs) { a.BytesScannedCutoff = new(int) },
		"ResultsExpirationDays":  func(a *AuditTrailArgs) { a.ResultsExpirationDays = new(int) },
	} {
		t.Run(argument, func(t *testing.T) {
			t.Parallel()
			args := least()
			change(args)
			resources, err := run(t, args)
			var wrong *components.ArgumentError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, argument, wrong.Argument)
			require.Empty(t, resources, "registered before the refusal")
		})
	}
}
