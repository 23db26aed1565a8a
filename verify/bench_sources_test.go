package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/trino"
	"github.com/securethecloud/kms-baseline/sandbox/trino/trinotest"
	"github.com/securethecloud/kms-baseline/verify/logfiles/logfilestest"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// startTrino starts a Trino over the benchmark's localaws.
func (x *benched) startTrino(b *testing.B) *trino.Server {
	b.Helper()
	return trinotest.Start(b, trino.Options{URL: x.server.URL(), CAFile: x.server.CAFile(), Region: "us-east-1", AccessKey: testAccount})
}

// judge is run for checks that do not pass: it returns the one result, and how long
// it took.
func (x *benched) judge(b *testing.B, args ...string) (result report.Result, took time.Duration, megabytes float64) {
	b.Helper()
	start := time.Now()
	out, megabytes, err := x.output(b, args...)
	took = time.Since(start)
	var exit *exec.ExitError
	require.True(b, err == nil || errors.As(err, &exit) && slices.Contains([]int{exitFail, exitUnknown}, exit.ExitCode()), "%v: %s", err, out)
	var rep report.Report
	require.NoError(b, json.Unmarshal(out, &rep))
	require.Len(b, rep.Results, 1)
	return rep.Results[0], took, megabytes
}

// logged is a million events in the log files of a trail.
type logged struct {
	trail  *logfilestest.Trail
	used   []string         // keys; one event in a hundred is about one of them
	events map[int][]byte   // by number, the oldest is 0
	byKey  map[string][]int // numbers, the newest last
	at     func(int) time.Time
}

const logFiles, eventsEach = 200, 5000

func newLogged(used []string) *logged {
	now := time.Now().UTC().Truncate(time.Second)
	l := &logged{trail: logfilestest.New("bench-logs", testAccount, "us-east-1", "audit", now.Add(-4*time.Hour)), used: used, events: map[int][]byte{}, byKey: map[string][]int{}}
	l.at = func(n int) time.Time { return now.Add(-150*time.Minute + time.Duration(n/eventsEach+1)*time.Minute/2) }
	for f := range logFiles {
		records := make([][]byte, eventsEach)
		for i := range records {
			records[i] = l.record(f*eventsEach + i)
		}
		at := l.at(f * eventsEach)
		l.trail.AddLog(at, logfilestest.Content(records...))
		if f%50 == 49 {
			l.trail.AddDigest(at.Add(time.Second))
		}
	}
	l.trail.AddDigest(now)
	return l
}

// record makes an event. One of a used key is kept; another is made again.
func (l *logged) record(n int) []byte {
	if r, ok := l.events[n]; ok {
		return r
	}
	key := "arn:aws:kms:us-east-1:" + testAccount + ":key/11111111-0000-4000-8000-000000000000"
	if n%100 == 0 {
		key = l.used[n/100%len(l.used)]
	}
	r := logfilestest.Record(l.at(n), testAccount, "us-east-1", key, fmt.Sprintf("arn:aws:s3:::data/%d", n), "app")
	if n%100 == 0 {
		l.events[n] = r
		l.byKey[key] = append(l.byKey[key], n)
	}
	return r
}

// lookUp answers LookupEvents.
func (l *logged) lookUp(w http.ResponseWriter, r *http.Request) {
	var in struct {
		LookupAttributes []struct{ AttributeKey, AttributeValue string }
		NextToken        string
	}
	_ = json.NewDecoder(r.Body).Decode(&in) // verify's own request
	total, number := logFiles*eventsEach, func(i int) int { return logFiles*eventsEach - 1 - i }
	if a := in.LookupAttributes[0]; a.AttributeKey == "ResourceName" {
		list := l.byKey[a.AttributeValue]
		total, number = len(list), func(i int) int { return list[len(list)-1-i] }
	}
	first, _ := strconv.Atoi(in.NextToken) // empty is 0
	events := []any{}
	for i := first; i < min(first+50, total); i++ {
		n := number(i)
		record := l.record(n)
		var fields struct{ EventID string }
		_ = json.Unmarshal(record, &fields) // made by record
		events = append(events, map[string]any{"EventId": fields.EventID, "EventName": "GenerateDataKey", "EventSource": "kms.amazonaws.com", "EventTime": l.at(n).Unix(), "CloudTrailEvent": string(record)})
	}
	out := map[string]any{"Events": events}
	if first+50 < total {
		out["NextToken"] = strconv.Itoa(first + 50)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(out)
}

// BenchmarkSources asks a million events about 500 keys, three of which have no
// event: the log files, SQL, and the event history (for 20 keys, at two lookups a
// second) must name the same three.
func BenchmarkSources(b *testing.B) {
	const keys, lookedUp = 500, 20
	x := newBenched(b, localaws.Options{})
	server := x.startTrino(b)
	client := kms.NewFromConfig(x.cfg)
	var all []string
	for range keys {
		key, err := client.CreateKey(b.Context(), &kms.CreateKeyInput{})
		require.NoError(b, err)
		all = append(all, *key.KeyMetadata.Arn)
	}
	used, unused := all[3:], all[:3]
	l := newLogged(used)
	x.uploadLogs(b, l.trail)
	rest := inFront(b, x, l.trail)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".LookupEvents") {
			l.lookUp(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	}))
	b.Cleanup(front.Close)
	x.endpoint = front.URL
	args := func(keys []string, events string) []string {
		list := []string{"--only", "trail.keys", "--events", events, "--since", "3h", "--caller", "arn:aws:iam::" + testAccount + ":role/app"}
		for _, k := range keys {
			list = append(list, "--key", k)
		}
		return list
	}
	for b.Loop() {
		for _, source := range []struct {
			name, events string
			keys         []string
		}{
			{"files", "s3://bench-logs", all},
			{"sql", "trino:" + server.URL + "/awsdatacatalog.bench.cloudtrail", all},
			{"lookup", "lookup", all[:3+lookedUp]},
		} {
			result, took, mb := x.judge(b, args(source.keys, source.events)...)
			require.Equal(b, unused, named(result.Failures, unused), "%s: %s", source.name, result.Actual)
			require.Len(b, result.Failures, len(unused), "%s: %s", source.name, result.Actual)
			if source.name == "sql" {
				require.Contains(b, result.Actual, "1 query of")
			}
			b.Logf("%s: %s, %.0f MB: %s", source.name, took.Round(time.Millisecond), mb, result.Actual)
			b.ReportMetric(took.Seconds(), source.name+"-s")
			b.ReportMetric(mb, source.name+"-MB")
		}
	}
}

// named are those of the names that begin one of the failures, in order.
func named(failures, names []string) []string {
	var list []string
	for _, n := range names {
		if slices.ContainsFunc(failures, func(f string) bool { return strings.HasPrefix(f, n) }) {
			list = append(list, n)
		}
	}
	return list
}

// uploadLogs puts the log files into localaws, with a table over them.
func (x *benched) uploadLogs(b *testing.B, trail *logfilestest.Trail) {
	b.Helper()
	client := s3.NewFromConfig(x.cfg)
	_, err := client.CreateBucket(b.Context(), &s3.CreateBucketInput{Bucket: &trail.Bucket})
	require.NoError(b, err)
	prefix := "AWSLogs/" + testAccount + "/CloudTrail/"
	for _, key := range trail.List(prefix) {
		_, err := client.PutObject(b.Context(), &s3.PutObjectInput{Bucket: &trail.Bucket, Key: &key, Body: bytes.NewReader(trail.Objects[key].Body)})
		require.NoError(b, err)
	}
	d := &tableDDL{table: "cloudtrail", events: "s3://" + trail.Bucket, account: testAccount, regions: []string{"us-east-1"}, since: "2026-01-01"}
	statement, err := d.text()
	require.NoError(b, err)
	_, columns, _ := strings.Cut(statement, "records ")
	columns, _, _ = strings.Cut(columns, ")\nPARTITIONED")
	x.glue(b, "CreateDatabase", map[string]any{"DatabaseInput": map[string]any{"Name": "bench"}})
	location := "s3://" + trail.Bucket + "/" + prefix
	x.glue(b, "CreateTable", map[string]any{"DatabaseName": "bench", "TableInput": map[string]any{
		"Name": "cloudtrail", "TableType": "EXTERNAL_TABLE",
		"Parameters": map[string]any{"EXTERNAL": "TRUE", "projection.enabled": "true", "projection.region.type": "enum", "projection.region.values": "us-east-1",
			"projection.day.type": "date", "projection.day.format": "yyyy/MM/dd", "projection.day.range": "2026/01/01,NOW+1DAYS", "projection.day.interval": "1", "projection.day.interval.unit": "DAYS",
			"storage.location.template": location + "${region}/${day}"},
		"PartitionKeys": []any{map[string]any{"Name": "region", "Type": "string"}, map[string]any{"Name": "day", "Type": "string"}},
		"StorageDescriptor": map[string]any{"Location": location, "InputFormat": "org.apache.hadoop.mapred.TextInputFormat", "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
			"SerdeInfo": map[string]any{"SerializationLibrary": "org.openx.data.jsonserde.JsonSerDe"},
			"Columns":   []any{map[string]any{"Name": "records", "Type": strings.Join(strings.Fields(columns), "")}}},
	}})
}

// glue sends one request to Glue.
func (x *benched) glue(b *testing.B, operation string, in any) {
	b.Helper()
	body, err := json.Marshal(in)
	require.NoError(b, err)
	h, err := http.NewRequestWithContext(b.Context(), http.MethodPost, x.server.URL(), bytes.NewReader(body))
	require.NoError(b, err)
	h.Header.Set("Content-Type", "application/x-amz-json-1.1")
	h.Header.Set("X-Amz-Target", "AWSGlue."+operation)
	h.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+testAccount+"/20260101/us-east-1/glue/aws4_request, SignedHeaders=host, Signature=0")
	resp, err := x.cfg.HTTPClient.Do(h)
	require.NoError(b, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(b, err)
	require.Equal(b, http.StatusOK, resp.StatusCode, "%s", answer)
}

// BenchmarkInventory checks a million objects, ten of which are not under the key,
// by HeadObject of each, and by an inventory: both must name the same ten.
func BenchmarkInventory(b *testing.B) {
	const objects, name, wrongEach = 1_000_000, "bench-objects", 100_000
	x := newBenched(b, localaws.Options{})
	server := x.startTrino(b)
	_, err := s3.NewFromConfig(x.cfg).CreateBucket(b.Context(), &s3.CreateBucketInput{Bucket: aws.String("bench-tables")})
	require.NoError(b, err)
	const table = `"` + trino.TablesCatalog + `"."b_bench"."inventory"`
	for _, statement := range []string{
		`CREATE SCHEMA "` + trino.TablesCatalog + `"."b_bench" WITH (location = 's3://bench-tables/t')`,
		"CREATE TABLE " + table + " (bucket varchar, key varchar, sequence_number varchar, version_id varchar, is_delete_marker boolean, encryption_status varchar, is_bucket_key_enabled boolean, kms_key_arn varchar)",
		fmt.Sprintf(`INSERT INTO %s SELECT '%s', lpad(cast(n AS varchar), 7, '0'), '1', cast(NULL AS varchar), false, if(n %% %d = 7, 'SSE-S3', 'SSE-KMS'), n %% %d <> 7, if(n %% %d = 7, NULL, '%s')
			FROM (SELECT a * 1000 + b AS n FROM UNNEST(sequence(0, 999)) t(a) CROSS JOIN UNNEST(sequence(0, 999)) u(b))`, table, name, wrongEach, wrongEach, wrongEach, x.key),
	} {
		require.NoError(b, server.Execute(b.Context(), statement))
	}
	rest := inFront(b, x, logfilestest.New("none", testAccount, "us-east-1", "none", time.Now()))
	written := time.Now().Add(-3 * time.Hour).UTC()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, ok := strings.CutPrefix(r.URL.Path, "/"+name)
		key = strings.TrimPrefix(key, "/")
		switch {
		case !ok:
			rest.ServeHTTP(w, r)
		case r.URL.Query().Has("list-type"):
			first, _ := strconv.Atoi(r.URL.Query().Get("continuation-token")) // empty is 0
			_, _ = io.WriteString(w, xml.Header+"<ListBucketResult>")
			for n := first; n < first+1000; n++ {
				_, _ = fmt.Fprintf(w, "<Contents><Key>%07d</Key><LastModified>%s</LastModified></Contents>", n, written.Format(time.RFC3339))
			}
			_, _ = fmt.Fprintf(w, "<IsTruncated>%t</IsTruncated><NextContinuationToken>%d</NextContinuationToken></ListBucketResult>", first+1000 < objects, first+1000)
		case r.URL.Query().Has("encryption"):
			http.Error(w, "<Error><Code>AccessDenied</Code></Error>", http.StatusForbidden)
		case key == "":
			w.Header().Set("X-Amz-Bucket-Region", "us-east-1")
		default:
			w.Header().Set("Last-Modified", written.Format(http.TimeFormat))
			if n, _ := strconv.Atoi(key); n%wrongEach == 7 {
				w.Header().Set("X-Amz-Server-Side-Encryption", "AES256")
				return
			}
			w.Header().Set("X-Amz-Server-Side-Encryption", "aws:kms")
			w.Header().Set("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", x.key)
		}
	}))
	b.Cleanup(front.Close)
	x.endpoint = front.URL
	args := []string{"--key", x.key, "--bucket", name, "--only", "object.encryption"}
	for b.Loop() {
		bySQL, sqlTook, sqlMB := x.judge(b, append(args, "--objects", "trino:"+server.URL+"/s3tablescatalog%2Faws-s3.b_bench.inventory")...)
		byHead, headTook, headMB := x.judge(b, append(args, "--prefix", "")...)
		require.Equal(b, report.Fail, bySQL.Status, bySQL.Actual)
		require.Contains(b, bySQL.Actual, fmt.Sprintf("has %d objects, 10 not under the key; S3 lists %d; HeadObject of 3000", objects, objects))
		require.Equal(b, byHead.Failures, bySQL.Failures)
		require.Len(b, bySQL.Failures, 10)
		b.Logf("inventory: %s, %.0f MB: %s", sqlTook.Round(time.Millisecond), sqlMB, bySQL.Actual)
		b.Logf("HeadObject: %s, %.0f MB: %s", headTook.Round(time.Millisecond), headMB, byHead.Actual)
		b.ReportMetric(sqlTook.Seconds(), "inventory-s")
		b.ReportMetric(sqlMB, "inventory-MB")
		b.ReportMetric(headTook.Seconds(), "head-s")
		b.ReportMetric(headMB, "head-MB")
	}
}
