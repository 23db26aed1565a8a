package check

import (
	"bytes"
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
	q := sh.query(sqlTable{"c", `d"; DROP`, "t"}, []*want{sqlWant("arn:aws:kms:us-east-1:1:key/k", evil)}, &claim{want: &want{}, placements: &placements{bucket: evil, key: evil}})
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
	q := (&sqlShape{nested: true, region: "region", day: "day", dayLayout: "2006/01/02"}).query(sqlTable{"c", "d", "t"}, wants, &claim{})
	require.Contains(t, q, `"region" IN ('us-east-1', 'eu-west-1')`)
	require.Contains(t, q, `"day" BETWEEN '2026/11/23' AND '2026/11/24'`)
	require.Equal(t, 1, strings.Count(q, "FROM"))
	require.NotContains(t, q, `"account"`)
	q = (&sqlShape{nested: true, account: owner}).query(sqlTable{"c", "d", "t"}, wants, &claim{})
	require.Contains(t, q, `"account" = '`+owner+`'`)
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

// tableOf serves Trino's protocol over all records in a stack's log files, as the table
// shows them. As Trino does, it fails if a log file cannot be read. change may change the
// rows: the path of the log file, and the columns of the query.
func tableOf(t *testing.T, s *loggedStack, change func(rows [][]any) [][]any) string {
	t.Helper()
	answers := map[string]string{
		"DESCRIBE":                       `[["records","array","",""],["region","varchar","partition key",""],["day","varchar","partition key",""]]`,
		`SELECT "projection.day.format"`: `[["yyyy/MM/dd"]]`,
	}
	rows, err := s.rows(t)
	if err == nil {
		if change != nil {
			rows = change(rows)
		}
		data, err := json.Marshal(rows)
		require.NoError(t, err)
		answers[`SELECT "$path", r.`] = string(data)
	}
	return fakeTrino(t, answers)
}

// rows are the records of all log files.
func (s *loggedStack) rows(t *testing.T) ([][]any, error) {
	t.Helper()
	var rows [][]any
	for _, key := range s.list(t, "CloudTrail") {
		if !strings.HasSuffix(key, ".json.gz") { // Trino shows no record of it
			continue
		}
		f, err := s.tryRead(t, key)
		if err != nil {
			return nil, err
		}
		var content struct{ Records []map[string]any }
		if err := json.Unmarshal(f.content, &content); err != nil {
			return nil, err
		}
		for _, r := range content.Records {
			row := []any{"s3://" + logsBucket + "/" + key}
			lower := map[string]any{}
			for name, v := range r {
				lower[strings.ToLower(name)] = v
			}
			for _, c := range sqlColumns {
				v := lower[c]
				if _, isText := v.(string); !isText && v != nil {
					b, err := json.Marshal(v)
					require.NoError(t, err)
					v = string(b)
				}
				row = append(row, v)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// isRowOf reports whether a row is of an event of KMS for [exact].
func isRowOf(row []any, event string) bool {
	return row[2] == event && strings.Contains(row[8].(string), bucket+"/"+exact)
}

func TestSQL_FindsWhatLogFilesProve(t *testing.T) {
	t.Parallel()
	s := newLoggedStack(t)
	want := s.run(t)
	s.config.Events = tableOf(t, s, nil)
	rep := s.run(t)
	for _, id := range []string{"trail.write", "trail.read"} {
		x := result(t, rep, id)
		require.Equal(t, report.Pass, x.Status, show(rep))
		require.Equal(t, result(t, want, id).Evidence[0], x.Evidence[0])
		require.Contains(t, x.Actual, "1 query of c.d.t, 7 bytes scanned")
		require.Contains(t, x.Actual, "in 1 log file and ")
	}
	require.NotContains(t, show(rep), "trail.integrity") // it reads all log files, so that a run must ask for it
	s.config.Only = []string{"trail", "trail.integrity"}
	require.Equal(t, report.Pass, result(t, s.run(t), "trail.integrity").Status)
}

// What a table shows is no evidence: a caller may have changed the table.
func TestSQL_NothingPassesThatNoLogFileProves(t *testing.T) {
	t.Parallel()
	// read changes the rows of the read of exact.
	read := func(change func(row []any)) func([][]any) [][]any {
		return func(rows [][]any) [][]any {
			for _, row := range rows {
				if isRowOf(row, "Decrypt") {
					change(row)
				}
			}
			return rows
		}
	}
	path := func(old, replacement string) func([][]any) [][]any {
		return read(func(row []any) { row[0] = strings.Replace(row[0].(string), old, replacement, 1) })
	}
	tests := []struct {
		name    string
		rows    func(rows [][]any) [][]any
		want    report.Status
		because string
	}{
		{"another bucket", path(logsBucket, "another-bucket"), report.Error, "s3://another-bucket/AWSLogs/"},
		{"a bucket whose name begins so", path(logsBucket, logsBucket+"1"), report.Error, "where no trail of the Region delivers"},
		{"another prefix", path("/AWSLogs/", "/copy/AWSLogs/"), report.Error, "where no trail of the Region delivers"},
		{"no file", read(func(row []any) { row[0] = nil }), report.Error, "where no trail of the Region delivers"},
		{"another account's folder", path(owner, "111122223333"), report.Inconclusive, "which no valid digest file lists"},
		{"a digest file", path("/CloudTrail/", "/CloudTrail-Digest/"), report.Inconclusive, "which no valid digest file lists"},
		{"another log file", path("_CloudTrail_", "_CloudTrail_0"), report.Inconclusive, "which no valid digest file lists"},
		{"a time that has not come yet", read(func(row []any) { row[4] = "2099-01-01T00:00:00Z" }), report.Inconclusive, "from another time"},
		{"no rows", func([][]any) [][]any { return nil }, report.Inconclusive, "no such Decrypt event"},
		{"one row more, of another bucket", func(rows [][]any) [][]any {
			more := slices.Clone(rows[slices.IndexFunc(rows, func(row []any) bool { return isRowOf(row, "Decrypt") })])
			more[0] = "s3://another-bucket/x"
			return append(rows, more)
		}, report.Pass, "tied to the object"},
		// The log file has the event under its own ID, and that is the evidence.
		{"another event ID", read(func(row []any) { row[1] = "made-up" }), report.Pass, "tied to the object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newLoggedStack(t)
			s.config.Only = []string{"trail.read"}
			s.config.Events = tableOf(t, s, tt.rows)
			x := result(t, s.run(t), "trail.read")
			require.Equal(t, tt.want, x.Status, x.Actual)
			require.Contains(t, x.Actual, tt.because)
			for _, e := range x.Evidence {
				require.NotEqual(t, "made-up", e.EventID)
			}
		})
	}
}

// A row is evidence of nothing, even if it names a valid log file.
func TestSQL_TheRecordCountsAndNotTheRow(t *testing.T) {
	t.Parallel()
	s := newLoggedStack(t)
	s.forge(t, func(record []byte) []byte {
		return bytes.ReplaceAll(record, []byte(":user/localaws"), []byte(":user/mallory"))
	})
	s.config.Events = tableOf(t, s, func(rows [][]any) [][]any {
		for _, row := range rows {
			if isRowOf(row, "Decrypt") || isRowOf(row, "GenerateDataKey") {
				row[7] = strings.ReplaceAll(row[7].(string), ":user/mallory", ":user/localaws")
			}
		}
		return rows
	})
	rep := s.run(t)
	require.Equal(t, report.Fail, result(t, rep, "trail.write").Status, show(rep))
	x := result(t, rep, "trail.read")
	require.Equal(t, report.Inconclusive, x.Status, show(rep))
	require.Contains(t, x.Actual, "which does not have it so")
}

// A forged log file beside the real ones, with events that would pass.
func TestSQL_AForgedLogFileProvesNothing(t *testing.T) {
	t.Parallel()
	s := newLoggedStack(t)
	s.config.Caller = "arn:aws:iam::" + owner + ":user/deployer"
	for _, key := range s.list(t, "CloudTrail") {
		f := s.read(t, key)
		if !bytes.Contains(f.content, []byte(bucket+"/"+exact)) {
			continue
		}
		f.content = bytes.ReplaceAll(f.content, []byte(":user/localaws"), []byte(":user/deployer"))
		f.key = strings.Replace(f.key, ".json.gz", "0.json.gz", 1)
		s.write(t, f)
	}
	s.config.Only = []string{"trail", "trail.integrity"}
	s.config.Events = tableOf(t, s, nil)
	rep := s.run(t)
	require.Equal(t, report.Fail, result(t, rep, "trail.write").Status, show(rep)) // the real file has the real caller
	require.Equal(t, report.Inconclusive, result(t, rep, "trail.read").Status, show(rep))
	require.Contains(t, result(t, rep, "trail.read").Actual, "log file in no digest file")
	require.Equal(t, report.Fail, result(t, rep, "trail.integrity").Status, show(rep))
}

// A trail whose log files are validated, and a table that shows an event that they do
// not have.
func TestSQL_IntegrityNamesWhatTheTableMadeUp(t *testing.T) {
	t.Parallel()
	s := newLoggedStack(t)
	s.config.Only = []string{"trail", "trail.integrity"}
	s.config.Events = tableOf(t, s, func(rows [][]any) [][]any {
		for _, row := range rows {
			if isRowOf(row, "Decrypt") {
				row[1] = "made-up"
			}
		}
		return rows
	})
	x := result(t, s.run(t), "trail.integrity")
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Contains(t, x.Actual, "SQL shows another event than the log file: s3://"+logsBucket)
	require.Contains(t, x.Actual, "made-up")
}

func TestSQL_TheNextRowProvesTheReadIfTheFirstDoesNot(t *testing.T) {
	t.Parallel()
	s := newTrailStack(t)
	s.put(t, s.cfg, exact, withoutBucketKey(s.keyARN))
	for range hours { // a read in each hour
		s.get(t, s.cfg, exact)
		s.pass(t, time.Hour)
	}
	s.clock.add(time.Minute)
	var newest string // that a digest file lists
	for _, key := range s.list(t, "CloudTrail")[:hours-1] {
		if f := s.read(t, key); bytes.Contains(f.content, []byte(`"Decrypt"`)) {
			newest = key
		}
	}
	f := s.read(t, newest)
	f.content = append(f.content, '\n')
	s.write(t, f)
	s.config.Events = tableOf(t, s, nil)
	x := result(t, s.run(t), "trail.read")
	require.Equal(t, report.Pass, x.Status, x.Actual)
	require.NotContains(t, x.Evidence[0].Detail, newest)
}

// A query that fails shows nothing, and takes nothing from what log files prove.
func TestSQL_AFailedQueryIsNoEvidence(t *testing.T) {
	t.Parallel()
	s := newLoggedStack(t)
	s.config.Events = fakeTrino(t, map[string]string{
		"DESCRIBE": `[["records","array","",""]]`,
	})
	rep := s.run(t)
	require.Equal(t, report.Pass, result(t, rep, "trail.write").Status, show(rep))
	require.Equal(t, report.Error, result(t, rep, "trail.read").Status, show(rep))
}

func TestSQL_DamagedRowsLeaveTheTableIncomplete(t *testing.T) {
	t.Parallel()
	s := newLoggedStack(t)
	s.config.Events = tableOf(t, s, func(rows [][]any) [][]any {
		for _, row := range rows {
			if isRowOf(row, "Decrypt") {
				row[7] = `{"arn":`
			}
		}
		return rows
	})
	x := result(t, s.run(t), "trail.read")
	require.Equal(t, report.Inconclusive, x.Status)
	require.Contains(t, x.Actual, "could not be read")
}
