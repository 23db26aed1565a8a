package check

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/verify/report"
)

func sqlWant(key, object string) *want {
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	return &want{event: "GenerateDataKey", key: key, object: object, context: object, from: at, to: at.Add(time.Hour)}
}

func TestSQL_NoObjectKeyLeavesItsQuotation(t *testing.T) {
	t.Parallel()
	const evil = `arn:aws:s3:::b/x') OR 1=1 --\'" ; DROP TABLE t`
	sh := &sqlShape{nested: true, region: "region", day: "day", dayLayout: "2006/01/02"}
	q := sh.query(sqlTable{"c", `d"; DROP`, "t"}, []*want{sqlWant("arn:aws:kms:us-east-1:1:key/k", evil)})
	require.Contains(t, q, `'arn:aws:s3:::b/x'') OR 1=1 --\''" ; DROP TABLE t'`)
	require.Contains(t, q, `"c"."d""; DROP"."t"`)
	requireEvilQuoted(t, q)
}

// requireEvilQuoted requires that outside of quotations nothing is left of names with
// "OR 1=1" and "DROP" in them.
func requireEvilQuoted(t *testing.T, q string) {
	t.Helper()
	outside, quote := "", rune(0)
	for _, r := range q {
		switch {
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		case quote == 0:
			outside += string(r)
		case r == quote:
			quote = 0
		}
	}
	require.Zero(t, quote)
	require.NotContains(t, outside, "DROP")
	require.NotContains(t, outside, "OR 1=1")
}

func TestSQL_OneScanOfTheDaysAndRegionsOfAllKeys(t *testing.T) {
	t.Parallel()
	wants := []*want{sqlWant("arn:aws:kms:us-east-1:1:key/a", ""), sqlWant("arn:aws:kms:eu-west-1:1:key/b", "")}
	q := (&sqlShape{nested: true, region: "region", day: "day", dayLayout: "2006/01/02"}).query(sqlTable{"c", "d", "t"}, wants)
	require.Contains(t, q, `"region" IN ('us-east-1', 'eu-west-1')`)
	require.Contains(t, q, `"day" BETWEEN '2026/11/23' AND '2026/11/24'`)
	require.Equal(t, 1, strings.Count(q, "FROM"))
}

// fakeTrino answers each statement by what it begins with.
func fakeTrino(t *testing.T, answers map[string]string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a test's own request
		for prefix, data := range answers {
			if strings.HasPrefix(string(body), prefix) {
				_, _ = w.Write([]byte(`{"id":"q1","data":` + data + `,"stats":{"physicalInputBytes":7}}`))
				return
			}
		}
		_, _ = w.Write([]byte(`{"id":"q1","error":{"message":"unexpected: ` + strings.ReplaceAll(string(body), `"`, "") + `","errorName":"TEST"}}`))
	}))
	t.Cleanup(server.Close)
	return "trino:" + server.URL + "/c.d.t"
}

func TestSQL_UnknownPartitionKeysAreRefused(t *testing.T) {
	t.Parallel()
	source, err := newSQLEvents(&run{now: time.Now}, fakeTrino(t, map[string]string{"DESCRIBE": `[["records","array","",""],["team","varchar","partition key",""]]`}))
	require.NoError(t, err)
	err = source.find(t.Context(), &search{wants: []*want{sqlWant("arn:aws:kms:us-east-1:1:key/a", "")}})
	require.ErrorContains(t, err, "partition key team")
}

func TestSQL_RecordsOfATableAreComparedAsAnyOther(t *testing.T) {
	t.Parallel()
	const key, object = "arn:aws:kms:us-east-1:1:key/a", "arn:aws:s3:::b/o"
	row := []any{"e1", "GenerateDataKey", "kms.amazonaws.com", "2026-11-23T10:10:00Z", "us-east-1", nil,
		`{"arn":"arn:aws:iam::1:user/u","invokedby":"fas.s3.amazonaws.com","sessioncontext":null}`, `{"encryptionContext":{"aws:s3:arn":"arn:aws:s3:::b/o"}}`, nil, `[{"arn":"` + key + `","type":"AWS::KMS::Key"}]`}
	damaged := append([]any{"e2"}, row[1:]...)
	damaged[6] = `{"arn":`
	data, err := json.Marshal([][]any{row, damaged})
	require.NoError(t, err)
	source, err := newSQLEvents(&run{now: time.Now}, fakeTrino(t, map[string]string{
		"DESCRIBE":                       `[["records","array","",""],["region","varchar","partition key",""],["day","varchar","partition key",""]]`,
		`SELECT "projection.day.format"`: `[["yyyy/MM/dd"]]`, "SELECT r.": string(data),
	}))
	require.NoError(t, err)
	w := sqlWant(key, object)
	w.caller = "1:user/u"
	s := &search{wants: []*want{w}, uses: map[string]report.KeyUse{}}
	require.NoError(t, source.find(t.Context(), s))
	require.NotNil(t, w.found)
	require.Equal(t, "e1", w.found.evidence.EventID)
	require.Equal(t, "q1", w.found.evidence.RequestID)
	require.Contains(t, w.uncovered, "could not be read") // the damaged one
	require.Contains(t, source.effort(), "1 query of c.d.t, 7 bytes scanned")
}

// A caller that can write to the bucket can forge a log file.
func TestSQL_NoCheckPassesOnItAlone(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]report.Status{"trail.write": report.Inconclusive, "trail.read": report.Inconclusive, "key.enabled": report.Pass} {
		at := slices.IndexFunc(Catalogue, func(c Check) bool { return c.ID == id })
		require.GreaterOrEqual(t, at, 0, id)
		result := func(events string, status report.Status) report.Status {
			return Catalogue[at].result(report.Result{Status: status}, Config{Events: events}).Status
		}
		require.Equal(t, want, result("athena:primary/audit.cloudtrail", report.Pass), id)
		require.Equal(t, report.Fail, result("athena:primary/audit.cloudtrail", report.Fail), id)
		require.Equal(t, report.Pass, result("s3://logs", report.Pass), id)
	}
}

func TestSQL_ValidatesNoLogFiles(t *testing.T) {
	t.Parallel()
	require.Equal(t, report.Skipped, trailIntegrity(t.Context(), &run{cfg: Config{Events: "athena:primary/audit.cloudtrail"}}).Status)
}
