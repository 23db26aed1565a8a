package localaws

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/sandbox/trino"
	"github.com/securethecloud/kms-baseline/sandbox/trino/trinotest"
)

// withTrino is a server whose queries a real Trino executes.
func withTrino(t *testing.T) *Server {
	t.Helper()
	addr, err := trino.FreeAddr(t.Context())
	require.NoError(t, err)
	s := newServer(t, unthrottled, func(o *Options) { o.Trino, o.TrailDelivery = "http://"+addr, -1 })
	trinotest.Start(t, trino.Options{URL: s.URL(), CAFile: s.CAFile(), Region: "us-east-1", AccessKey: trailAccount, Addr: addr})
	return s
}

// trailTable is a table over a trail's log files with partition projection.
const trailTable = `{"Name":"CloudTrail","TableType":"EXTERNAL_TABLE",
	"Parameters":{"EXTERNAL":"TRUE","projection.enabled":"true",
		"projection.region.type":"enum","projection.region.values":"us-east-1,eu-west-1",
		"projection.day.type":"date","projection.day.format":"yyyy/MM/dd","projection.day.range":"2026/01/01,NOW","projection.day.interval":"1","projection.day.interval.unit":"DAYS",
		"storage.location.template":"s3://` + logBucket + `/AWSLogs/` + trailAccount + `/CloudTrail/${region}/${day}"},
	"PartitionKeys":[{"Name":"region","Type":"string"},{"Name":"day","Type":"string"}],
	"StorageDescriptor":{"Location":"s3://` + logBucket + `/AWSLogs/` + trailAccount + `/CloudTrail/",
		"InputFormat":"org.apache.hadoop.mapred.TextInputFormat","OutputFormat":"org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
		"SerdeInfo":{"SerializationLibrary":"org.openx.data.jsonserde.JsonSerDe"},
		"Columns":[{"Name":"records","Type":"array<struct<eventid:string,eventname:string,eventtime:string,requestparameters:string,resources:array<struct<arn:string>>>>"}]}}`

func putLog(t *testing.T, c *s3.Client, key string, records ...string) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(`{"Records":[` + strings.Join(records, ",") + `]}`))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(logBucket), Key: &key, Body: bytes.NewReader(b.Bytes())})
	require.NoError(t, err)
}

// ask runs a query to its end.
func ask(t *testing.T, c *athena.Client, in *athena.StartQueryExecutionInput) *types.QueryExecution {
	t.Helper()
	started, err := c.StartQueryExecution(t.Context(), in)
	require.NoError(t, err)
	return ended(t, c, started.QueryExecutionId)
}

func ended(t *testing.T, c *athena.Client, id *string) *types.QueryExecution {
	t.Helper()
	for {
		out, err := c.GetQueryExecution(t.Context(), &athena.GetQueryExecutionInput{QueryExecutionId: id})
		require.NoError(t, err)
		switch s := out.QueryExecution.Status.State; s {
		case types.QueryExecutionStateQueued, types.QueryExecutionStateRunning:
			time.Sleep(50 * time.Millisecond)
		default:
			return out.QueryExecution
		}
	}
}

func TestAthena_QueriesLogFilesWithARealEngine(t *testing.T) {
	t.Parallel()
	s := withTrino(t)
	bucket := makeLogBucket(t, s, "")
	cli := newAWSCLI(t, s)
	cli.run("glue", "create-database", "--database-input", `{"Name":"Audit"}`)
	database := "arn:aws:glue:us-east-1:" + trailAccount + ":database/audit"
	cli.run("glue", "tag-resource", "--resource-arn", database, "--tags-to-add", "env=dev")
	cli.run("glue", "untag-resource", "--resource-arn", database, "--tags-to-remove", "team")
	tags := cli.run("glue", "get-tags", "--resource-arn", database)
	require.Contains(t, tags, "env")
	require.NotContains(t, tags, "team")
	table := filepath.Join(t.TempDir(), "table.json")
	require.NoError(t, os.WriteFile(table, []byte(trailTable), 0o600))
	cli.run("glue", "create-table", "--database-name", "audit", "--table-input", "file://"+table)

	const hostile = `it''s "quoted", café; DROP`
	putLog(t, bucket, "AWSLogs/"+trailAccount+"/CloudTrail/us-east-1/2026/11/23/a.json.gz",
		`{"eventID":"e1","eventName":"GenerateDataKey","eventTime":"2026-11-23T10:00:00Z","requestParameters":{"key":`+string(must(json.Marshal(hostile)))+`},"resources":[{"ARN":"arn:k1"},{"ARN":"arn:k2"}]}`,
		`{"eventID":"e2","eventName":"Decrypt","eventTime":"2026-11-23T10:00:01Z","requestParameters":null}`)
	putLog(t, bucket, "AWSLogs/"+trailAccount+"/CloudTrail/eu-west-1/2026/11/24/b.json.gz", `{"eventID":"e3","eventName":"Decrypt","eventTime":"2026-11-24T10:00:00Z","errorCode":"AccessDenied"}`)

	c := athena.NewFromConfig(awsConfig(t, s, trailAccount, noRetries))
	_, err := c.CreateWorkGroup(t.Context(), &athena.CreateWorkGroupInput{Name: aws.String("audit"), Configuration: &types.WorkGroupConfiguration{
		ResultConfiguration:        &types.ResultConfiguration{OutputLocation: aws.String("s3://" + logBucket + "/results/"), EncryptionConfiguration: &types.EncryptionConfiguration{EncryptionOption: types.EncryptionOptionSseS3}},
		BytesScannedCutoffPerQuery: aws.Int64(10_000_000),
	}})
	require.NoError(t, err)
	query := func(sql string) *athena.StartQueryExecutionInput {
		return &athena.StartQueryExecutionInput{QueryString: &sql, WorkGroup: aws.String("audit"), QueryExecutionContext: &types.QueryExecutionContext{Database: aws.String("audit")}}
	}
	const from = ` FROM "AwsDataCatalog"."audit"."cloudtrail" CROSS JOIN UNNEST(records) AS r(eventid, eventname, eventtime, requestparameters, resources) `

	done := ask(t, c, query(`SELECT eventid, requestparameters, resources[1].arn AS first, region FROM "audit"."cloudtrail" CROSS JOIN UNNEST(records) AS r(eventid, eventname, eventtime, requestparameters, resources) WHERE region = 'us-east-1' AND day = '2026/11/23' AND eventname = 'GenerateDataKey';`))
	require.Equal(t, types.QueryExecutionStateSucceeded, done.Status.State, aws.ToString(done.Status.StateChangeReason))
	require.Positive(t, *done.Statistics.DataScannedInBytes)
	results, err := c.GetQueryResults(t.Context(), &athena.GetQueryResultsInput{QueryExecutionId: done.QueryExecutionId})
	require.NoError(t, err)
	require.Len(t, results.ResultSet.Rows, 2)
	require.Equal(t, "eventid", *results.ResultSet.Rows[0].Data[0].VarCharValue)
	row := results.ResultSet.Rows[1].Data
	require.Equal(t, "e1", *row[0].VarCharValue)
	require.JSONEq(t, `{"key":`+string(must(json.Marshal(hostile)))+`}`, *row[1].VarCharValue)
	require.Equal(t, "arn:k1", *row[2].VarCharValue)
	object, err := bucket.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(logBucket), Key: aws.String("results/" + *done.QueryExecutionId + ".csv")})
	require.NoError(t, err)
	require.EqualValues(t, "AES256", object.ServerSideEncryption)

	// Nulls, pages, and another partition's bytes are not read.
	done = ask(t, c, query(`SELECT eventid, requestparameters`+from+`ORDER BY 1`))
	require.Equal(t, types.QueryExecutionStateSucceeded, done.Status.State, aws.ToString(done.Status.StateChangeReason))
	all := *done.Statistics.DataScannedInBytes
	var ids []string
	pages := athena.NewGetQueryResultsPaginator(c, &athena.GetQueryResultsInput{QueryExecutionId: done.QueryExecutionId, MaxResults: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		for _, r := range page.ResultSet.Rows {
			ids = append(ids, *r.Data[0].VarCharValue)
			if *r.Data[0].VarCharValue == "e2" {
				require.Nil(t, r.Data[1].VarCharValue)
			}
		}
	}
	require.Equal(t, []string{"eventid", "e1", "e2", "e3"}, ids)
	done = ask(t, c, query(`SELECT eventid`+from+`WHERE region = 'eu-west-1' AND day >= '2026/11/24'`))
	require.Less(t, *done.Statistics.DataScannedInBytes, all)

	// What fails in the engine, and what is not served.
	done = ask(t, c, query("SELECT nothing"+from))
	require.Equal(t, types.QueryExecutionStateFailed, done.Status.State)
	require.Contains(t, *done.Status.StateChangeReason, "COLUMN_NOT_FOUND")
	done = ask(t, c, query("SELECT resources"+from))
	require.Contains(t, *done.Status.StateChangeReason, "NOT_SUPPORTED")
	_, err = c.StartQueryExecution(t.Context(), query("DROP TABLE audit.cloudtrail"))
	requireCode(t, err, "NotImplemented")

	// Stopped while it runs.
	started, err := c.StartQueryExecution(t.Context(), query("SELECT count(*) FROM UNNEST(sequence(1,10000)) a(a) CROSS JOIN UNNEST(sequence(1,10000)) b(b) CROSS JOIN UNNEST(sequence(1,10000)) c(c) WHERE a*b*c = 7"))
	require.NoError(t, err)
	_, err = c.StopQueryExecution(t.Context(), &athena.StopQueryExecutionInput{QueryExecutionId: started.QueryExecutionId})
	require.NoError(t, err)
	require.Equal(t, types.QueryExecutionStateCancelled, ended(t, c, started.QueryExecutionId).Status.State)

	// A caller that may not query.
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::123456789012:user/eve", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"athena:GetWorkGroup","Resource":"*"}]}`))
	_, err = athena.NewFromConfig(awsConfig(t, s, "eve", noRetries)).StartQueryExecution(t.Context(), query("SELECT 1"))
	requireCode(t, err, "AccessDeniedException")

	metadata, err := c.GetTableMetadata(t.Context(), &athena.GetTableMetadataInput{CatalogName: aws.String("AwsDataCatalog"), DatabaseName: aws.String("audit"), TableName: aws.String("cloudtrail")})
	require.NoError(t, err)
	require.Equal(t, "day", *metadata.TableMetadata.PartitionKeys[1].Name)
	require.Equal(t, "yyyy/MM/dd", metadata.TableMetadata.Parameters["projection.day.format"])
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAthena_WithoutAnEngineRefusesQueries(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := athena.NewFromConfig(awsConfig(t, s, trailAccount, noRetries))
	_, err := c.StartQueryExecution(t.Context(), &athena.StartQueryExecutionInput{QueryString: aws.String("SELECT 1")})
	requireCode(t, err, "NotImplemented")
	require.ErrorContains(t, err, "Trino")
}

func TestAthena_WorkGroups(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	c := athena.NewFromConfig(awsConfig(t, s, trailAccount, noRetries))
	name := aws.String("audit")
	_, err := c.CreateWorkGroup(t.Context(), &athena.CreateWorkGroupInput{Name: name, Configuration: &types.WorkGroupConfiguration{BytesScannedCutoffPerQuery: aws.Int64(1)}})
	requireCode(t, err, "InvalidRequestException")
	_, err = c.CreateWorkGroup(t.Context(), &athena.CreateWorkGroupInput{Name: name, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("audit")}}})
	require.NoError(t, err)
	_, err = c.CreateWorkGroup(t.Context(), &athena.CreateWorkGroupInput{Name: name})
	requireCode(t, err, "InvalidRequestException")
	_, err = c.UpdateWorkGroup(t.Context(), &athena.UpdateWorkGroupInput{WorkGroup: name, State: types.WorkGroupStateDisabled, ConfigurationUpdates: &types.WorkGroupConfigurationUpdates{
		BytesScannedCutoffPerQuery: aws.Int64(20_000_000),
		ResultConfigurationUpdates: &types.ResultConfigurationUpdates{OutputLocation: aws.String("s3://some-bucket/r/")},
	}})
	require.NoError(t, err)
	got, err := c.GetWorkGroup(t.Context(), &athena.GetWorkGroupInput{WorkGroup: name})
	require.NoError(t, err)
	require.Equal(t, types.WorkGroupStateDisabled, got.WorkGroup.State)
	require.EqualValues(t, 20_000_000, *got.WorkGroup.Configuration.BytesScannedCutoffPerQuery)
	require.True(t, *got.WorkGroup.Configuration.EnforceWorkGroupConfiguration)
	require.Equal(t, "s3://some-bucket/r/", *got.WorkGroup.Configuration.ResultConfiguration.OutputLocation)
	arn := aws.String("arn:aws:athena:us-east-1:" + trailAccount + ":workgroup/audit")
	tags, err := c.ListTagsForResource(t.Context(), &athena.ListTagsForResourceInput{ResourceARN: arn})
	require.NoError(t, err)
	require.Equal(t, "audit", *tags.Tags[0].Value)
	_, err = c.TagResource(t.Context(), &athena.TagResourceInput{ResourceARN: arn, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("security")}, {Key: aws.String("env"), Value: aws.String("dev")}}})
	require.NoError(t, err)
	_, err = c.UntagResource(t.Context(), &athena.UntagResourceInput{ResourceARN: arn, TagKeys: []string{"env", "no such key"}})
	require.NoError(t, err)
	tags, err = c.ListTagsForResource(t.Context(), &athena.ListTagsForResourceInput{ResourceARN: arn})
	require.NoError(t, err)
	require.Equal(t, []types.Tag{{Key: aws.String("team"), Value: aws.String("security")}}, tags.Tags)
	_, err = c.TagResource(t.Context(), &athena.TagResourceInput{ResourceARN: aws.String(*arn + "-2"), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	requireCode(t, err, "ResourceNotFoundException")
	list, err := c.ListWorkGroups(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, list.WorkGroups, 2)
	_, err = c.DeleteWorkGroup(t.Context(), &athena.DeleteWorkGroupInput{WorkGroup: name})
	require.NoError(t, err)
	_, err = c.GetWorkGroup(t.Context(), &athena.GetWorkGroupInput{WorkGroup: name})
	requireCode(t, err, "InvalidRequestException")
	_, err = c.CreateWorkGroup(t.Context(), &athena.CreateWorkGroupInput{Name: name, Configuration: &types.WorkGroupConfiguration{ExecutionRole: aws.String("arn:aws:iam::123456789012:role/r")}})
	requireCode(t, err, "NotImplemented")
	require.Contains(t, lookedUp(t, s, "CreateWorkGroup"), "athena.amazonaws.com")
}

// lookedUp is the sources of an account's events of a name.
func lookedUp(t *testing.T, s *Server, name string) string {
	t.Helper()
	return newAWSCLI(t, s).run("cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey=EventName,AttributeValue="+name)
}

func TestGlue_DatabasesAndTables(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	cli := newAWSCLI(t, s)
	require.Contains(t, cli.fails("glue", "get-database", "--name", "audit"), "EntityNotFoundException")
	cli.run("glue", "create-database", "--database-input", `{"Name":"Audit","Description":"logs"}`, "--tags", "team=audit")
	require.Contains(t, cli.fails("glue", "create-database", "--database-input", `{"Name":"audit"}`), "AlreadyExistsException")
	require.Contains(t, cli.run("glue", "get-database", "--name", "audit"), "IAM_ALLOWED_PRINCIPALS")
	require.Contains(t, cli.run("glue", "get-tags", "--resource-arn", "arn:aws:glue:us-east-1:"+trailAccount+":database/audit"), "team")
	table := filepath.Join(t.TempDir(), "table.json")
	require.NoError(t, os.WriteFile(table, []byte(trailTable), 0o600))
	require.Contains(t, cli.fails("glue", "create-table", "--database-name", "audit", "--table-input", "file://"+table, "--partition-indexes", "Keys=day,IndexName=i"), "NotImplemented")
	cli.run("glue", "create-table", "--database-name", "audit", "--table-input", "file://"+table, "--partition-indexes", "[]")
	require.Contains(t, cli.fails("glue", "create-table", "--database-name", "audit", "--table-input", "file://"+table), "AlreadyExistsException")
	cli.run("glue", "update-table", "--database-name", "audit", "--table-input", "file://"+table)
	var got struct {
		Table struct{ Name, VersionID string }
	}
	cli.json(&got, "glue", "get-table", "--database-name", "audit", "--name", "CLOUDTRAIL")
	require.Equal(t, "cloudtrail", got.Table.Name)
	require.Equal(t, "1", got.Table.VersionID)
	require.Contains(t, cli.fails("glue", "create-table", "--database-name", "audit", "--table-input", `{"Name":"v","ViewOriginalText":"x","StorageDescriptor":{}}`), "NotImplemented")
	require.Contains(t, cli.fails("glue", "create-table", "--database-name", "audit", "--table-input", `{"Name":"v","StorageDescriptor":{"BucketColumns":["day"]}}`), "NotImplemented")
	cli.run("glue", "create-table", "--database-name", "audit", "--table-input", `{"Name":"v","StorageDescriptor":{"AdditionalLocations":[],"BucketColumns":[],"SortColumns":[]}}`)
	require.Contains(t, cli.run("athena", "list-databases", "--catalog-name", "AwsDataCatalog", "--query", "DatabaseList[0].[Name,Description]", "--output", "text"), "audit\tlogs")
	listed := cli.run("athena", "list-table-metadata", "--catalog-name", "AwsDataCatalog", "--database-name", "audit", "--query", "TableMetadataList[].[Name,PartitionKeys[1].Name]", "--output", "text")
	require.Equal(t, "cloudtrail\tday\nv\tNone", listed)
	require.Contains(t, cli.fails("athena", "list-table-metadata", "--catalog-name", "AwsDataCatalog", "--database-name", "none"), "MetadataException")
	require.Contains(t, cli.fails("athena", "list-table-metadata", "--catalog-name", "AwsDataCatalog", "--database-name", "audit", "--expression", "v"), "NotImplemented")
	require.Contains(t, cli.fails("athena", "list-databases", "--catalog-name", "other"), "NotImplemented")
	cli.run("glue", "delete-database", "--name", "audit")
	require.Contains(t, cli.fails("glue", "get-table", "--database-name", "audit", "--name", "cloudtrail"), "EntityNotFoundException")
}
