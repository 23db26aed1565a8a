package check

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/verify/report"
)

var (
	liveColumns   = []string{"bucket", "key", "sequence_number", "version_id", "is_delete_marker", "size", "last_modified_date", "e_tag", "storage_class", "is_multipart", "encryption_status", "is_bucket_key_enabled", "kms_key_arn", "checksum_algorithm", "object_tags", "user_metadata"}
	reportColumns = []string{"bucket", "key", "version_id", "is_latest", "is_delete_marker", "encryption_status", "bucket_key_status", "dt"}
)

// fakeInventory is a Trino with rows of an inventory.
type fakeInventory struct {
	columns []string
	age     time.Duration
	rows    []inventoryRow
	key     string // of the rows that are no offenders
	asked   []string
}

func (f *fakeInventory) start(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a test's own request
		sql := string(body)
		f.asked = append(f.asked, sql)
		data := [][]any{}
		switch {
		case strings.Contains(sql, "information_schema"):
			for _, c := range f.columns {
				data = append(data, []any{c})
			}
		case strings.Contains(sql, "$snapshots"):
			data = append(data, []any{fmt.Sprint(time.Now().Add(-f.age).Unix())})
		case strings.HasPrefix(sql, "SELECT CAST(max("):
			data = append(data, []any{time.Now().Add(-f.age).UTC().Format("2006-01-02-15-04")})
		case strings.Contains(sql, "GROUP BY"):
			for _, x := range f.rows {
				data = append(data, []any{x.status, x.kms, "true", "true", "1"})
			}
		case strings.Contains(sql, "ORDER BY key"):
			for _, x := range f.rows {
				if x.status == "SSE-S3" || x.kms != f.key {
					data = append(data, []any{x.key, x.version, x.status, x.kms})
				}
			}
		default:
			for _, x := range f.rows {
				data = append(data, []any{x.key, x.version, x.status, x.kms})
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"id": "q1", "data": data, "stats": map[string]any{"physicalInputBytes": 7}})
	}))
	t.Cleanup(server.Close)
	return "trino:" + server.URL + "/c.d.t"
}

// inventoried is a stack with three objects, and the inventory that is right for it.
func inventoried(t *testing.T) (*stack, *fakeInventory) {
	t.Helper()
	s := goodStack(t)
	// The inventory is of 90 minutes after the writes: it must have them.
	f := &fakeInventory{columns: liveColumns, age: -90 * time.Minute, key: s.keyARN}
	s.config.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	for _, name := range []string{object, "a'--", "b"} {
		s.put(t, s.cfg, name, nil)
		f.rows = append(f.rows, inventoryRow{name, "v", "SSE-KMS", s.keyARN})
	}
	s.config.Only, s.config.Objects = []string{"object"}, nil
	return s, f
}

func (s *stack) inventory(t *testing.T, f *fakeInventory) report.Result {
	t.Helper()
	s.config.Inventory = f.start(t)
	return result(t, s.run(t), "object.encryption")
}

func TestInventory_PassesWhenTheSampleIsEveryObject(t *testing.T) {
	t.Parallel()
	s, f := inventoried(t)
	x := s.inventory(t, f)
	require.Equal(t, report.Pass, x.Status, x.Actual)
	require.Contains(t, x.Actual, "has 3 objects, 0 not under the key; S3 lists 3; HeadObject of 3 drawn at random from S3's list, which are all")
	require.Contains(t, x.Actual, "queries of c.d.t")
}

func TestInventory_IsNoEvidenceWhereItIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(f *fakeInventory)
		status report.Status
		names  string
	}{
		"stale":               {func(f *fakeInventory) { f.age = 30 * time.Hour }, report.Inconclusive, "32h0m0s old"},
		"of the future":       {func(f *fakeInventory) { f.age = -30 * time.Hour }, report.Inconclusive, "time to come"},
		"differs":             {func(f *fakeInventory) { f.rows[2].kms = testKey }, report.Inconclusive, "HeadObject reports it under the key"},
		"differs in the rest": {func(f *fakeInventory) { f.rows[2].status = "DSSE-KMS" }, report.Inconclusive, "differs from HeadObject for 1 of 3"},
		"lists a gone object": {func(f *fakeInventory) { f.rows = append(f.rows, inventoryRow{"gone", "v", "SSE-S3", ""}) }, report.Inconclusive, "lists gone, and HeadObject does not find it"},
		"without a column": {func(f *fakeInventory) {
			f.columns = slices.DeleteFunc(slices.Clone(f.columns), func(c string) bool { return c == "kms_key_arn" })
		}, report.Error, "no column kms_key_arn"},
		"journal":               {func(f *fakeInventory) { f.columns = append(slices.Clone(f.columns), "record_type") }, report.Error, "journal table"},
		"no table":              {func(f *fakeInventory) { f.columns = nil }, report.Error, "there is no table c.d.t"},
		"S3 Inventory has none": {func(f *fakeInventory) { f.columns = reportColumns }, report.Inconclusive, "does not name the keys of objects"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, f := inventoried(t)
			c.change(f)
			x := s.inventory(t, f)
			require.Equal(t, c.status, x.Status, x.Actual)
			require.Contains(t, x.Actual, c.names)
		})
	}
}

// An object that the inventory lacks is found by listing only. It is excused where
// it is newer than the inventory.
func TestInventory_ObjectsThatItLacksAreFoundByListing(t *testing.T) {
	t.Parallel()
	s, f := inventoried(t)
	f.rows = f.rows[:2]
	f.age = -50 * time.Minute // a change may take an hour to be in it
	newer := s.inventory(t, f)
	require.Equal(t, report.Pass, newer.Status)
	require.Contains(t, newer.Actual, "3 are newer than the inventory")
	f.age = -90 * time.Minute
	x := s.inventory(t, f)
	require.Equal(t, report.Inconclusive, x.Status, x.Actual)
	require.Contains(t, x.Actual, "the inventory lacks 1 of 3 sampled objects: b")
	require.Contains(t, x.Actual, "has 2 of the 3 objects that S3 lists")
}

func TestInventory_OffendersFailByHeadObject(t *testing.T) {
	t.Parallel()
	s, f := inventoried(t)
	_, err := s3.NewFromConfig(s.cfg).DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: aws.String(bucket)})
	require.NoError(t, err)
	_, err = s3.NewFromConfig(s.cfg).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("plain"), ServerSideEncryption: s3types.ServerSideEncryptionAes256})
	require.NoError(t, err)
	other := s.newKey(t)
	_, err = s3.NewFromConfig(s.cfg).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("other"), ServerSideEncryption: s3types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &other})
	require.NoError(t, err)
	f.rows = append(f.rows, inventoryRow{"plain", "v", "SSE-S3", ""}, inventoryRow{"other", "v", "SSE-KMS", other})
	x := s.inventory(t, f)
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Contains(t, x.Actual, "has 5 objects, 2 not under the key")
	require.Equal(t, 2, x.FailureCount)
	require.True(t, strings.HasPrefix(x.Failures[0], "other: under another key") && strings.HasPrefix(x.Failures[1], "plain: SSE-S3"), x.Failures)
	require.Contains(t, x.Remedy, `{"SSES3":{}}`)
	require.Contains(t, x.Remedy, `{"SSEKMS":{"KmsKeyArn":"`+other+`"}}`)
	require.Contains(t, x.Remedy, `"KMSKeyArn":"`+s.keyARN+`","BucketKeyEnabled":true`)
	require.False(t, report.IsCommand(x.Remedy), "a role has to be chosen first")
	for _, call := range s.aws.Calls() {
		require.NotEqual(t, "CreateJob", call.Operation)
	}
	s.acceptedByCLI(t, x.Remedy)

	// The sample finds what the inventory does not, also for the remedy.
	f.rows = f.rows[:3]
	x = s.inventory(t, f)
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Equal(t, 2, x.FailureCount)
	require.Contains(t, x.Actual, "the inventory lacks 2 of 5 sampled objects: other, plain")
	s.acceptedByCLI(t, x.Remedy)
}

// acceptedByCLI has the unmodified CLI check the parameters of each job against AWS's
// model; the job itself is refused, since localaws has no CreateJob.
func (s *stack) acceptedByCLI(t *testing.T, remedy string) {
	t.Helper()
	if _, err := exec.LookPath("aws"); err != nil {
		t.Logf("the jobs' parameters were not checked: %v", err)
		return
	}
	jobs := strings.Split(remedy, "aws s3control create-job")[1:]
	require.Len(t, jobs, 2)
	for _, job := range jobs {
		command := "aws s3control create-job" + strings.TrimSuffix(strings.TrimSpace(job), ";") + " --no-verify-ssl --endpoint-url " + s.aws.URL()
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", command)
		cmd.Env = append(cmd.Environ(), "AWS_ACCESS_KEY_ID="+owner, "AWS_SECRET_ACCESS_KEY=secret", "AWS_MAX_ATTEMPTS=1", "AWS_CONFIG_FILE=/dev/null")
		out, err := cmd.CombinedOutput()
		require.Error(t, err)
		require.NotContains(t, string(out), "Parameter validation failed", "%s", command)
		require.NotContains(t, string(out), "Unknown options", "%s", command)
	}
}

func TestInventory_NoNameLeavesItsQuotation(t *testing.T) {
	t.Parallel()
	const evil = `x') OR 1=1 --\'" ; DROP TABLE t`
	r := &run{cfg: Config{Bucket: evil, Prefix: aws.String(evil), Keys: []string{testKey}}}
	v := &inventory{sqlSource: &sqlSource{table: sqlTable{evil, evil, evil}}, r: r, report: evil, has: map[string]bool{"dt": true}}
	q := v.rows(" AND key IN (" + sqlTexts([]string{evil}) + ")")
	requireEvilQuoted(t, q)
}

func TestInventory_TheSampleIsBoundedAndEven(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 0.000998, bound(sampleSize), 0.000001)
	require.InDelta(t, 0.95, bound(1), 1e-9)
	const listed, runs = 4 * sampleSize, 40
	quarter := [4]int{} // of the list that sampled objects are from
	for seed := range uint64(runs) {
		c := &census{random: rand.New(rand.NewPCG(seed, 1)), newer: map[version]bool{}}
		for i := range listed {
			c.add(version{key: fmt.Sprint(i)}, time.Unix(int64(i), 0))
		}
		require.Len(t, c.sample, sampleSize)
		require.Len(t, c.newer, sampleSize, "all are newer than the zero time")
		seen := map[version]bool{}
		for _, v := range c.sample {
			var i int
			_, err := fmt.Sscan(v.key, &i)
			require.NoError(t, err)
			quarter[i/sampleSize]++
			seen[v] = true
		}
		require.Len(t, seen, sampleSize)
	}
	for _, n := range quarter {
		require.InDelta(t, runs*sampleSize/4, n, 1000) // 6 standard deviations
	}
}

func TestInventory_ABoundIsNoPass(t *testing.T) {
	t.Parallel()
	s, _ := inventoried(t)
	s.config.Now = time.Now
	r := newRun(t.Context(), s.config, nil)
	v := &inventory{sqlSource: &sqlSource{table: sqlTable{"c", "d", "t"}, engine: &trinoEngine{}}, r: r, live: true}
	f := inventoryFindings{at: time.Now(), groups: []inventoryGroup{{inventoryRow: inventoryRow{status: "SSE-KMS", kms: s.keyARN}, current: true, rows: 10_000_000}}}
	c := &census{listed: 10_000_000, sample: make([]version, sampleSize)}
	x := v.judge(f, c, objectFindings{checked: sampleSize}, nil)
	require.Equal(t, report.Inconclusive, x.Status)
	require.Contains(t, x.Actual, "with 95% confidence fewer than 0.1% of them (9981) are not under the key")
	require.Contains(t, x.Evidence[0].Detail, "10000000 objects: SSE-KMS under "+s.keyARN)
}

func TestInventory_NeedsABucketAndAKey(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{
		{Inventory: "athena:w/d.t", Keys: []string{testKey}}, {Inventory: "athena:w/d.t", Bucket: bucket},
		{Inventory: "s3://b", Bucket: bucket, Keys: []string{testKey}}, {Inventory: "athena:w/a.b.c.d", Bucket: bucket, Keys: []string{testKey}},
	} {
		c.AWS.Region = region
		_, err := Run(t.Context(), c)
		require.ErrorAs(t, err, new(*InputError))
		require.ErrorContains(t, err, "--objects")
	}
}

func TestPolicy_OfTablesThatAthenaReads(t *testing.T) {
	t.Parallel()
	statements := func(c Config) map[string]iamStatement {
		c.Account, c.AWS.Region, c.Only = owner, region, []string{"object", "trail.write"}
		b, err := Policy(c)
		require.NoError(t, err)
		var p iamPolicy
		require.NoError(t, json.Unmarshal(b, &p))
		list := map[string]iamStatement{}
		for _, s := range p.Statement {
			list[s.Sid] = s
		}
		return list
	}
	p := statements(Config{Events: "athena:audit/audit.cloudtrail", Inventory: "athena:primary/s3tablescatalog/aws-s3.b_data.inventory"})
	require.Equal(t, []string{"arn:aws:athena:us-east-1:" + owner + ":workgroup/audit"}, p["VerifyEventsQueries"].Resource)
	require.Contains(t, p["VerifyEventsTable"].Resource, "arn:aws:glue:us-east-1:"+owner+":table/audit/cloudtrail")
	require.Equal(t, []string{"arn:aws:s3:::" + TableBucket, "arn:aws:s3:::" + TableBucket + "/*"}, p["VerifyEventsData"].Resource)
	require.Contains(t, p["VerifyEventsResults"].Action, "s3:PutObject")
	require.Equal(t, []string{"arn:aws:s3tables:us-east-1:" + owner + ":bucket/aws-s3", "arn:aws:s3tables:us-east-1:" + owner + ":bucket/aws-s3/table/*"}, p["VerifyInventoryData"].Resource)
	require.Contains(t, p["VerifyInventoryTable"].Resource, "arn:aws:glue:us-east-1:"+owner+":table/s3tablescatalog/aws-s3/b_data/inventory")
	require.NotContains(t, fmt.Sprint(p), "cloudtrail:LookupEvents")
	p = statements(Config{Events: "trino:https://trino.example.com/c.d.t"})
	require.NotContains(t, fmt.Sprint(p), "athena")
	require.Equal(t, []string{"arn:aws:s3:::" + TableBucket}, p["VerifyLogBucket"].Resource)
	require.Equal(t, []string{"arn:aws:s3:::" + TableBucket + "/*"}, p["VerifyLogFiles"].Resource)
	require.Contains(t, p["VerifyAccount"].Action, "cloudtrail:ListPublicKeys")
	require.NotContains(t, fmt.Sprint(p), "cloudtrail:LookupEvents")
}
