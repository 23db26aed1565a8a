package check

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/sandbox/trino"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// TestSQL_OverARealEngine has all that needs a Trino: it takes half a minute to start.
func TestSQL_OverARealEngine(t *testing.T) {
	t.Parallel()
	s := newSQLStack(t)
	t.Run("FindsTheEventsThatTheFilesProve", s.findsEvents)
	t.Run("TamperedFilesGiveTheVerdictsOfFiles", s.findsTampering)
	t.Run("FindsThePlacementsThatTheFilesProve", s.findsPlacements)
	t.Run("JudgesALiveInventory", s.judgesLive)
	t.Run("JudgesAReportOfS3Inventory", s.judgesReport)
	t.Run("DecodesNamesInCSVReports", s.decodesNames)
	t.Run("NeedsThePermissionsThatIAMPrints", s.permissions)
	t.Run("CancelledRunStopsAthenasQuery", s.stopsQuery)
}

func (s *sqlStack) findsEvents(t *testing.T) {
	files := s.run(t)
	for _, events := range []string{
		"athena:" + workgroup + "/audit.cloudtrail", "trino:" + s.trino.URL + "/awsdatacatalog.audit.cloudtrail",
		"athena:" + workgroup + "/audit.organization", "trino:" + s.trino.URL + "/awsdatacatalog.audit.organization",
	} {
		c := s.config
		c.Events = events
		rep, err := Run(t.Context(), c)
		require.NoError(t, err)
		for _, id := range []string{"trail.write", "trail.read"} {
			proven, found := result(t, files, id), result(t, rep, id)
			require.Equal(t, report.Pass, proven.Status, show(files))
			require.Equal(t, report.Pass, found.Status, show(rep))
			require.Equal(t, proven.Evidence[0], found.Evidence[0], "%s: %s", events, id)
		}
	}
}

// All files of one stack are tampered with in turn, and restored: an engine reads those
// of one stack only.
func (s *sqlStack) findsTampering(t *testing.T) {
	_, err := s.files.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String(logsBucket), VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled}})
	require.NoError(t, err)
	config := s.config
	defer func() { s.config = config }()
	for _, tt := range tamperings() {
		t.Run(tt.name, func(t *testing.T) {
			defer s.restore(t)
			s.config = config
			tt.tamper(t, s.loggedStack)
			files := s.run(t)
			require.Equal(t, tt.write, result(t, files, "trail.write").Status, show(files))
			s.config.Events = "trino:" + s.trino.URL + "/awsdatacatalog.audit.cloudtrail"
			s.requireAsFiles(t, files, tt)
		})
	}
}

// restore removes the versions and delete markers since the bucket has versioning: what
// remains has the time at which CloudTrail wrote it.
func (s *sqlStack) restore(t *testing.T) {
	t.Helper()
	pages := s3.NewListObjectVersionsPaginator(s.files, &s3.ListObjectVersionsInput{Bucket: aws.String(logsBucket), Prefix: aws.String("AWSLogs/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		remove := func(key, version *string) {
			if *version != "null" {
				_, err := s.files.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(logsBucket), Key: key, VersionId: version})
				require.NoError(t, err)
			}
		}
		for _, v := range page.Versions {
			remove(v.Key, v.VersionId)
		}
		for _, m := range page.DeleteMarkers {
			remove(m.Key, m.VersionId)
		}
	}
}

func eventIDs(x report.Result) []string {
	var ids []string
	for _, e := range x.Evidence {
		if e.EventID != "" {
			ids = append(ids, e.EventID)
		}
	}
	return ids
}

// Trino reads the tables as the same user, as Athena does.
func (s *sqlStack) permissions(t *testing.T) {
	principal := "arn:aws:iam::" + owner + ":user/localaws"
	t.Cleanup(func() { require.NoError(t, s.aws.SetIdentityPolicy(principal, "")) })
	c := s.config
	c.Only, c.Prefix = []string{"trail.read", "object"}, aws.String(object)
	c.Since = 24 * time.Hour // the other cases share this stack, and let time pass
	c.Events, c.Inventory = "athena:"+workgroup+"/audit.cloudtrail", "athena:"+workgroup+"/audit.s3inventory"
	b, err := Policy(c)
	require.NoError(t, err)
	policy := strings.NewReplacer(TableBucket, logsBucket, ResultsBucket, logsBucket).Replace(string(b))
	for _, action := range []string{"", "athena:StartQueryExecution", "athena:GetQueryExecution", "athena:GetQueryResults", "s3:PutObject", "cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus", "cloudtrail:ListPublicKeys"} {
		require.NoError(t, s.aws.SetIdentityPolicy(principal, strings.ReplaceAll(policy, `"`+action+`"`, `"s3:GetBucketTagging"`)))
		rep, err := Run(t.Context(), c)
		require.NoError(t, err)
		want := map[string]report.Status{"trail.read": report.Pass, "object.encryption": report.Inconclusive}
		switch {
		case strings.HasPrefix(action, "cloudtrail:"):
			want["trail.read"] = report.Error
		case action != "":
			want = map[string]report.Status{"trail.read": report.Error, "object.encryption": report.Error}
		}
		for id, status := range want {
			require.Equal(t, status, result(t, rep, id).Status, "without %s: %s\n%s", action, show(rep), policy)
		}
	}
}

func (s *sqlStack) stopsQuery(t *testing.T) {
	e := &athenaEngine{workgroup: workgroup}
	ctx, cancel := context.WithCancel(t.Context())
	running := stopAt{s.cfg.HTTPClient, "GetQueryExecution", cancel}
	e.client = athena.NewFromConfig(s.cfg, func(o *athena.Options) { o.HTTPClient = running })
	_, id, err := e.query(ctx, endless, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Eventually(t, func() bool {
		out, err := s.athena().GetQueryExecution(t.Context(), &athena.GetQueryExecutionInput{QueryExecutionId: &id})
		return err == nil && out.QueryExecution.Status.State == types.QueryExecutionStateCancelled
	}, time.Minute, 50*time.Millisecond)
}

// A table as S3 Metadata has it: Iceberg, in the catalog of S3 Tables.
func (s *sqlStack) judgesLive(t *testing.T) {
	const schema = `"` + trino.TablesCatalog + `"."b_data"`
	const table = schema + `."inventory"`
	execute := func(statement string) {
		t.Helper()
		require.NoError(t, s.trino.Execute(t.Context(), statement))
	}
	execute("CREATE SCHEMA " + schema + " WITH (location = 's3://" + logsBucket + "/tables')")
	execute("CREATE TABLE " + table + ` (bucket varchar, key varchar, sequence_number varchar, version_id varchar, is_delete_marker boolean, size bigint, last_modified_date timestamp(6), e_tag varchar,
		storage_class varchar, is_multipart boolean, encryption_status varchar, is_bucket_key_enabled boolean, kms_key_arn varchar, checksum_algorithm varchar, object_tags map(varchar, varchar), user_metadata map(varchar, varchar))`)
	_, err := s.files.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: aws.String(bucket)})
	require.NoError(t, err)
	const hostile = `it's; DROP "x" 'é.txt`
	s.put(t, s.cfg, hostile, nil)
	_, err = s.files.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("old.txt"), ServerSideEncryption: s3types.ServerSideEncryptionAes256})
	require.NoError(t, err)
	s.put(t, s.cfg, "old.txt", nil) // the older version is not under the key
	s.clock.add(2 * time.Hour)

	var rows []string
	pages := s3.NewListObjectVersionsPaginator(s.files, &s3.ListObjectVersionsInput{Bucket: aws.String(bucket)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		for i, v := range page.Versions {
			head, err := s.files.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: v.Key, VersionId: v.VersionId})
			require.NoError(t, err)
			key := "NULL"
			if head.SSEKMSKeyId != nil {
				key = sqlText(*head.SSEKMSKeyId)
			}
			rows = append(rows, fmt.Sprintf("(%s, %s, '%04d', %s, false, %s, %v, %s)", sqlText(bucket), sqlText(*v.Key), 1000-i, sqlText(*v.VersionId),
				sqlText(inventoryStatus[string(head.ServerSideEncryption)]), aws.ToBool(head.BucketKeyEnabled), key))
		}
	}
	rows = append(rows, "('another-bucket', 'x', '1', 'v', false, 'SSE-S3', false, NULL)")
	execute("INSERT INTO " + table + " (bucket, key, sequence_number, version_id, is_delete_marker, encryption_status, is_bucket_key_enabled, kms_key_arn) VALUES " + strings.Join(rows, ", "))

	for _, inventory := range []string{"athena:" + workgroup + "/" + trino.TablesCatalog + ".b_data.inventory", "trino:" + s.trino.URL + "/s3tablescatalog%2Faws-s3.b_data.inventory"} {
		c := s.config
		c.Only, c.Objects, c.Inventory = []string{"object"}, nil, inventory
		c.Now = func() time.Time { return time.Now().Add(time.Minute) } // by Trino's clock
		judged := func() report.Result {
			rep, err := Run(t.Context(), c)
			require.NoError(t, err)
			return result(t, rep, "object.encryption")
		}
		x := judged()
		require.Equal(t, report.Pass, x.Status, "%s: %s", inventory, x.Actual)
		require.Contains(t, x.Actual, "which are all")
		c.Prefix, c.Versions = aws.String("old"), true
		x = judged()
		require.Equal(t, report.Fail, x.Status, x.Actual)
		require.Contains(t, x.Actual, "has 2 versions, 1 not under the key; S3 lists 2")
		require.Contains(t, x.Remedy, `"MatchAnyPrefix":["old"]`)
	}
}

// A table over files of S3 Inventory, with projected partitions as AWS documents it.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-athena-query.html
func (s *sqlStack) judgesReport(t *testing.T) {
	newest := time.Now().UTC().Format("2006-01-02-15-04")
	s.glue(t, "CreateTable", `{"DatabaseName":"audit","TableInput":{"Name":"s3inventory","TableType":"EXTERNAL_TABLE",
"Parameters":{"EXTERNAL":"TRUE","projection.enabled":"true","projection.dt.type":"enum","projection.dt.values":"2026-01-31-01-00,`+newest+`","storage.location.template":"s3://`+logsBucket+`/inventory/dt=${dt}"},
"PartitionKeys":[{"Name":"dt","Type":"string"}],
"StorageDescriptor":{"Location":"s3://`+logsBucket+`/inventory/","InputFormat":"org.apache.hadoop.mapred.TextInputFormat","OutputFormat":"org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
	"SerdeInfo":{"SerializationLibrary":"org.apache.hadoop.hive.serde2.OpenCSVSerde"},
	"Columns":[{"Name":"bucket","Type":"string"},{"Name":"key","Type":"string"},{"Name":"version_id","Type":"string"},{"Name":"is_latest","Type":"string"},{"Name":"is_delete_marker","Type":"string"},{"Name":"encryption_status","Type":"string"},{"Name":"bucket_key_status","Type":"string"}]}}}`)
	for dt, status := range map[string]string{"2026-01-31-01-00": "SSE-S3", newest: "SSE-KMS"} { // an older report is not asked
		csv := `"` + bucket + `","` + object + `","v2","true","false","` + status + `","ENABLED"` + "\n" + `"` + bucket + `","` + object + `","v1","false","false","SSE-S3","DISABLED"` + "\n"
		_, err := s.files.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(logsBucket), Key: aws.String("inventory/dt=" + dt + "/data.csv"), Body: strings.NewReader(csv)})
		require.NoError(t, err)
	}
	c := s.config
	c.Only, c.Objects, c.Prefix = []string{"object"}, nil, aws.String(object)
	c.Now = time.Now
	for _, inventory := range []string{"athena:" + workgroup + "/audit.s3inventory", "trino:" + s.trino.URL + "/awsdatacatalog.audit.s3inventory"} {
		c.Inventory = inventory
		rep, err := Run(t.Context(), c)
		require.NoError(t, err)
		x := result(t, rep, "object.encryption")
		require.Equal(t, report.Inconclusive, x.Status, x.Actual)
		require.Contains(t, x.Actual, "has 1 object, 0 not under the key; S3 lists 1")
		require.Contains(t, x.Actual, "S3 Inventory does not name the keys")
		require.Equal(t, "1 object: SSE-KMS, with an S3 Bucket Key", x.Evidence[1].Detail)
		require.Equal(t, "1 older version: SSE-S3, without an S3 Bucket Key", x.Evidence[2].Detail)
	}
}

// A report in CSV has the names in URL encoding: an offender is found by its name, and
// fails the check. In files of other names nothing is decoded, and no name is found.
func (s *sqlStack) decodesNames(t *testing.T) {
	const name = "report/a b+c%20d, é.txt"
	_, err := s.files.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(name), ServerSideEncryption: s3types.ServerSideEncryptionAes256})
	require.NoError(t, err) // judgesLive has removed the bucket's policy
	// An object is to be in a report of two days later.
	at := s.clock.now().Add(49 * time.Hour)
	newest := at.UTC().Format("2006-01-02-15-04")
	for table, file := range map[string]string{"csv_report": "data.csv.gz", "copied_report": "data.gz"} {
		s.glue(t, "CreateTable", `{"DatabaseName":"audit","TableInput":{"Name":"`+table+`","TableType":"EXTERNAL_TABLE",
"Parameters":{"EXTERNAL":"TRUE","projection.enabled":"true","projection.dt.type":"enum","projection.dt.values":"`+newest+`","storage.location.template":"s3://`+logsBucket+`/`+table+`/dt=${dt}"},
"PartitionKeys":[{"Name":"dt","Type":"string"}],
"StorageDescriptor":{"Location":"s3://`+logsBucket+`/`+table+`/","InputFormat":"org.apache.hadoop.mapred.TextInputFormat","OutputFormat":"org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
	"SerdeInfo":{"SerializationLibrary":"org.apache.hadoop.hive.serde2.OpenCSVSerde"},
	"Columns":[{"Name":"bucket","Type":"string"},{"Name":"key","Type":"string"},{"Name":"encryption_status","Type":"string"}]}}}`)
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		_, err := fmt.Fprintf(zip, "%q,%q,%q\n", bucket, strings.ReplaceAll(url.QueryEscape(name), "%2F", "/"), "SSE-S3")
		require.NoError(t, err)
		require.NoError(t, zip.Close())
		_, err = s.files.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(logsBucket), Key: aws.String(table + "/dt=" + newest + "/" + file), Body: &b})
		require.NoError(t, err)
		c := s.config
		c.Only, c.Objects, c.Prefix = []string{"object"}, nil, aws.String("report/a b")
		c.Now = func() time.Time { return at.Add(time.Hour) }
		c.Inventory = "athena:" + workgroup + "/audit." + table
		rep, err := Run(t.Context(), c)
		require.NoError(t, err)
		x := result(t, rep, "object.encryption")
		require.Equal(t, report.Fail, x.Status, x.Actual) // HeadObject shows the sample, too
		has := map[string]string{"csv_report": "has 1 object, 1 not under the key; S3 lists 1", "copied_report": "has 0 objects, 0 not under the key; S3 lists 1"}[table]
		require.Contains(t, x.Actual, has)
		require.Equal(t, table == "copied_report", strings.Contains(x.Actual, "the inventory lacks 1 of 1 sampled objects"), x.Actual)
	}
}

// stopAt calls stop after the first response to an operation.
type stopAt struct {
	next      aws.HTTPClient
	operation string
	stop      func()
}

func (s stopAt) Do(h *http.Request) (*http.Response, error) {
	resp, err := s.next.Do(h)
	if strings.HasSuffix(h.Header.Get("X-Amz-Target"), s.operation) {
		s.stop()
	}
	return resp, err
}
