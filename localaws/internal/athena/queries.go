package athena

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// The states of a query.
const (
	queued    = "QUEUED"
	running   = "RUNNING"
	succeeded = "SUCCEEDED"
	failed    = "FAILED"
	cancelled = "CANCELLED"
)

// maxResults is the most rows of a page, the header's included.
const maxResults = 1000

type queryContext struct {
	Database string `json:",omitempty"`
	Catalog  string `json:",omitempty"`
}

type startQueryInput struct {
	QueryString           string
	ClientRequestToken    string               `json:",omitempty"`
	QueryExecutionContext *queryContext        `json:",omitempty"`
	ResultConfiguration   *resultConfiguration `json:",omitempty"`
	WorkGroup             string               `json:",omitempty"`
}

// query is a query and what came of it.
type query struct {
	ID, Account, Region string
	Token               string
	Input               startQueryInput
	WorkGroup           string
	Result              resultConfiguration // OutputLocation is the object
	Who                 wire.Identity
	Cutoff              int64 // 0 is none
	State, Reason       string
	Submitted           time.Time
	Completed           time.Time
	Scanned             int64
	Engine              time.Duration
	Columns             []engineColumn // types as Athena names them
}

func (q query) key() string { return store.Key(q.Account, q.Region, q.ID) }
func (q query) ended() bool { return q.State == succeeded || q.State == failed || q.State == cancelled }

func (q *query) end(state, reason string, at time.Time) {
	q.State, q.Reason, q.Completed = state, reason, at.UTC()
}

// isQuery matches the statements that are served: those that only read.
var isQuery = regexp.MustCompile(`(?is)^\s*\(*\s*(select|with|values)\b`)

// startQueryExecution records the query and returns; the engine runs it beside.
func (s *Service) startQueryExecution(r *wire.Request, body []byte) (any, error) {
	in, err := wire.Decode[startQueryInput](r.Service, r.Operation, body)
	if err != nil {
		return nil, err
	}
	in.WorkGroup = cmp.Or(in.WorkGroup, primary)
	e := trail.Event{Request: r, Source: "athena.amazonaws.com", Name: r.Operation, Parameters: trail.Parameters(in)}
	q, known, err := s.admit(r, in)
	if err == nil && !known {
		e.Response = map[string]any{"queryExecutionId": q.ID}
		err = s.DB.Update(func(tx *bolt.Tx) error {
			if err := store.Save(tx, QueryBucket, q.key(), q); err != nil {
				return err
			}
			return s.Trail.RecordIn(tx, e)
		})
		if err == nil {
			s.begin(q)
			return map[string]any{"QueryExecutionId": q.ID}, nil
		}
	}
	return map[string]any{"QueryExecutionId": q.ID}, s.Trail.RecordResult(e, err)
}

// admit makes the query of a request, or finds the one that an earlier request
// with the same token started.
func (s *Service) admit(r *wire.Request, in startQueryInput) (q query, known bool, err error) {
	if err := s.Allowed(r, r.Operation, s.workGroup(r, in.WorkGroup)...); err != nil {
		return q, false, err
	}
	if in.ResultConfiguration != nil {
		if err := in.ResultConfiguration.check(r); err != nil {
			return q, false, err
		}
	}
	if c := in.QueryExecutionContext; c != nil && c.Catalog == "" {
		c.Catalog = glueCatalog
	}
	switch {
	case s.engine.url == "":
		return q, false, wire.Errf(http.StatusNotImplemented, "NotImplemented", "localaws has no SQL engine of its own: give it the URL of a Trino (Options.Trino, or sandbox serve --trino URL)")
	case in.QueryString == "" || len(in.QueryString) > 262144:
		return q, false, invalid("QueryString must have 1 to 262144 characters.")
	case in.ClientRequestToken != "" && (len(in.ClientRequestToken) < 32 || len(in.ClientRequestToken) > 128):
		return q, false, invalid("ClientRequestToken must have 32 to 128 characters.")
	case !isQuery.MatchString(in.QueryString):
		return q, false, wire.NotImplemented(r.Service, "statements other than SELECT, WITH and VALUES (create tables with Glue's CreateTable)")
	}
	err = s.DB.View(func(tx *bolt.Tx) error {
		w, err := findWorkGroup(tx, r, in.WorkGroup)
		if err != nil {
			return err
		}
		if w.State != "ENABLED" {
			return invalid("WorkGroup %s is disabled.", w.Name)
		}
		if in.ClientRequestToken != "" {
			err := store.Each(tx, QueryBucket, key(r, ""), func(_ string, other query) error {
				if other.Token == in.ClientRequestToken {
					q, known = other, true
				}
				return nil
			})
			if err != nil || known {
				if known && !reflect.DeepEqual(q.Input, in) {
					return invalid("Idempotent parameters do not match")
				}
				return err
			}
		}
		q = query{
			ID: wire.NewUUID(), Account: r.Who.Account, Region: r.Region, Token: in.ClientRequestToken, Input: in, WorkGroup: w.Name,
			Who: r.Who, State: queued, Submitted: r.Now.UTC(), Result: *w.Configuration.ResultConfiguration,
		}
		if c := w.Configuration.BytesScannedCutoffPerQuery; c != nil {
			q.Cutoff = *c
		}
		if own := in.ResultConfiguration; own != nil && !*w.Configuration.EnforceWorkGroupConfiguration {
			q.Result.OutputLocation = cmp.Or(own.OutputLocation, q.Result.OutputLocation)
			q.Result.EncryptionConfiguration = cmp.Or(own.EncryptionConfiguration, q.Result.EncryptionConfiguration)
			q.Result.ExpectedBucketOwner = cmp.Or(own.ExpectedBucketOwner, q.Result.ExpectedBucketOwner)
		}
		if q.Result.OutputLocation == "" {
			return invalid("No output location provided. An output location is required either through the Workgroup result configuration setting or as an API input.")
		}
		q.Result.OutputLocation = strings.TrimSuffix(q.Result.OutputLocation, "/") + "/" + q.ID + ".csv"
		return nil
	})
	return q, known, err
}

// begin runs a query beside everything else.
func (s *Service) begin(q query) {
	ctx, cancel := context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		cancel()
		return // Open fails it
	}
	s.running[q.ID] = cancel
	s.queries.Go(func() {
		defer cancel()
		err := s.execute(ctx, &q)
		s.mu.Lock()
		delete(s.running, q.ID)
		s.mu.Unlock()
		switch {
		case err == nil:
			q.end(succeeded, "", s.now())
		case errors.Is(err, errCutoff):
			q.end(cancelled, errCutoff.Error(), s.now())
		case ctx.Err() != nil:
			q.end(cancelled, "Query cancelled by user", s.now())
		default:
			q.end(failed, err.Error(), s.now())
		}
		s.save(q)
	})
}

// save keeps a query's state. A query that is gone, with its workgroup, stays gone.
func (s *Service) save(q query) {
	err := s.DB.Update(func(tx *bolt.Tx) error {
		if tx.Bucket(QueryBucket).Get([]byte(q.key())) == nil {
			return nil
		}
		return store.Save(tx, QueryBucket, q.key(), q)
	})
	if err != nil {
		_ = wire.AsError(fmt.Errorf("keeping the state of query %s: %w", q.ID, err)) // logs it
	}
}

// execute runs a query in the engine and writes the result to S3.
func (s *Service) execute(ctx context.Context, q *query) error {
	q.State = running
	s.save(*q)
	var csv bytes.Buffer
	var c queryContext
	if q.Input.QueryExecutionContext != nil {
		c = *q.Input.QueryExecutionContext
	}
	statement := strings.TrimSuffix(strings.TrimSpace(q.Input.QueryString), ";")
	err := s.engine.run(ctx, statement, cmp.Or(c.Catalog, glueCatalog), c.Database, func(p enginePage) error {
		q.Scanned, q.Engine = p.Stats.PhysicalInputBytes, time.Duration(p.Stats.ElapsedTimeMillis)*time.Millisecond
		if q.Cutoff > 0 && q.Scanned > q.Cutoff {
			return errCutoff
		}
		if q.Columns == nil && p.Columns != nil {
			var header []*string
			for _, column := range p.Columns {
				kind, err := athenaType(column)
				if err != nil {
					return err
				}
				q.Columns = append(q.Columns, engineColumn{column.Name, kind})
				header = append(header, &column.Name)
			}
			writeRow(&csv, header)
		}
		for _, row := range p.Data {
			values := make([]*string, len(row))
			for i, v := range row {
				values[i] = text(v)
			}
			writeRow(&csv, values)
		}
		return nil
	})
	if err != nil {
		return err
	}
	bucket, object := q.object()
	h := http.Header{"Content-Type": {"application/octet-stream"}, "User-Agent": {"athena.amazonaws.com"}}
	if o := q.Result.ExpectedBucketOwner; o != "" {
		h.Set("X-Amz-Expected-Bucket-Owner", o)
	}
	if e := q.Result.EncryptionConfiguration; e != nil {
		h.Set("X-Amz-Server-Side-Encryption", map[string]string{"SSE_S3": "AES256", "SSE_KMS": "aws:kms"}[e.EncryptionOption])
		if e.KmsKey != "" {
			h.Set("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", e.KmsKey)
		}
	}
	if err := s.objects.Put(q.Who, s.now(), bucket, object, h, csv.Bytes()); err != nil {
		return fmt.Errorf("Access denied when writing output to url: %s: %w", q.Result.OutputLocation, err)
	}
	return nil
}

func (q query) object() (bucket, key string) {
	bucket, key, _ = strings.Cut(strings.TrimPrefix(q.Result.OutputLocation, "s3://"), "/")
	return bucket, key
}

// writeRow writes a row as Athena does: every value in quotation marks, and
// nothing for null.
func writeRow(b *bytes.Buffer, values []*string) {
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		if v != nil {
			b.WriteString(`"` + strings.ReplaceAll(*v, `"`, `""`) + `"`)
		}
	}
	b.WriteByte('\n')
}

// readRows reads what writeRow wrote: the rows from first on, at most n of them,
// and whether there are more.
func readRows(b []byte, columns, first, n int) (rows [][]*string, more bool, err error) {
	for row := 0; len(b) > 0; row++ {
		if len(rows) == n {
			return rows, true, nil
		}
		values := make([]*string, columns)
		for i := range values {
			if len(b) > 0 && b[0] == '"' {
				var v strings.Builder
				for b = b[1:]; ; {
					end := bytes.IndexByte(b, '"')
					if end < 0 {
						return nil, false, errors.New("an unterminated value")
					}
					v.Write(b[:end])
					b = b[end+1:]
					if len(b) == 0 || b[0] != '"' {
						break
					}
					v.WriteByte('"')
					b = b[1:]
				}
				s := v.String()
				values[i] = &s
			}
			want := byte(',')
			if i == columns-1 {
				want = '\n'
			}
			if len(b) == 0 || b[0] != want {
				return nil, false, errors.New("a row of another length")
			}
			b = b[1:]
		}
		if row >= first {
			rows = append(rows, values)
		}
	}
	return rows, false, nil
}

type queryID struct {
	QueryExecutionID string `json:"QueryExecutionId"`
}

func findQuery(tx *bolt.Tx, r *wire.Request, id string) (query, error) {
	q, ok, err := store.Load[query](tx, QueryBucket, key(r, id))
	if err == nil && !ok {
		err = invalid("QueryExecution %s was not found", id)
	}
	return q, err
}

// ofQuery is the workgroup of a query, which authorizes everything about it.
func (s *Service) ofQuery(r *wire.Request, in queryID) []string {
	w := "*"
	_ = s.DB.View(func(tx *bolt.Tx) error { // what is not found, the operation says
		if q, err := findQuery(tx, r, in.QueryExecutionID); err == nil {
			w = q.WorkGroup
		}
		return nil
	})
	return s.workGroup(r, w)
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func getQueryExecution(tx *bolt.Tx, r *wire.Request, in queryID) (any, error) {
	q, err := findQuery(tx, r, in.QueryExecutionID)
	if err != nil {
		return nil, err
	}
	status := map[string]any{"State": q.State, "SubmissionDateTime": seconds(q.Submitted)}
	statistics := map[string]any{"DataScannedInBytes": q.Scanned, "EngineExecutionTimeInMillis": q.Engine.Milliseconds()}
	if q.ended() {
		status["CompletionDateTime"] = seconds(q.Completed)
		statistics["TotalExecutionTimeInMillis"] = q.Completed.Sub(q.Submitted).Milliseconds()
	}
	if q.Reason != "" {
		status["StateChangeReason"] = q.Reason
	}
	out := map[string]any{
		"QueryExecutionId": q.ID, "Query": q.Input.QueryString, "StatementType": "DML", "SubstatementType": "SELECT",
		"ResultConfiguration": q.Result, "Status": status, "Statistics": statistics, "WorkGroup": q.WorkGroup,
		"EngineVersion": version{"AUTO", engineVersion},
	}
	if q.Input.QueryExecutionContext != nil {
		out["QueryExecutionContext"] = q.Input.QueryExecutionContext
	}
	return map[string]any{"QueryExecution": out}, nil
}

// stopQueryExecution cancels the query in the engine. One that has ended stays as
// it is.
func (s *Service) stopQueryExecution(tx *bolt.Tx, r *wire.Request, in queryID) (any, error) {
	q, err := findQuery(tx, r, in.QueryExecutionID)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.running[q.ID]; cancel != nil {
		cancel()
	}
	return struct{}{}, nil
}

type queryResultsInput struct {
	queryID
	NextToken  string `json:",omitempty"`
	MaxResults *int   `json:",omitempty"`
}

// getQueryResults reads the result from S3 with the caller's permissions.
func (s *Service) getQueryResults(r *wire.Request, body []byte) (any, error) {
	in, err := wire.Decode[queryResultsInput](r.Service, r.Operation, body)
	if err != nil {
		return nil, err
	}
	e := trail.Event{Request: r, Source: "athena.amazonaws.com", Name: r.Operation, ReadOnly: true, Parameters: trail.Parameters(in)}
	var out any
	if err = s.Allowed(r, r.Operation, s.ofQuery(r, in.queryID)...); err == nil {
		out, err = s.results(r, in)
	}
	return out, s.Trail.RecordResult(e, err)
}

func (s *Service) results(r *wire.Request, in queryResultsInput) (any, error) {
	var q query
	err := s.DB.View(func(tx *bolt.Tx) (err error) { q, err = findQuery(tx, r, in.QueryExecutionID); return err })
	if err != nil {
		return nil, err
	}
	n := maxResults
	if in.MaxResults != nil {
		n = *in.MaxResults
	}
	first := 0
	if in.NextToken != "" {
		row, own := strings.CutPrefix(in.NextToken, q.ID+"+")
		if first, err = strconv.Atoi(row); !own || err != nil || first < 0 || first > math.MaxInt32 {
			return nil, invalid("The token is not valid.")
		}
	}
	switch {
	case n < 1 || n > maxResults:
		return nil, invalid("MaxResults must be from 1 to %d: %d", maxResults, n)
	case q.State != succeeded && q.ended():
		return nil, invalid("Query did not finish successfully. Final query state: %s", q.State)
	case q.State != succeeded:
		return nil, invalid("Query has not yet finished. Current state: %s", q.State)
	}
	bucket, object := q.object()
	content, err := s.objects.Get(r.Who, r.Now, bucket, object)
	if err != nil {
		var refused *wire.Error
		if errors.As(err, &refused) {
			err = invalid("Could not read the results at %s: %s", q.Result.OutputLocation, refused.Code)
		}
		return nil, err
	}
	rows, more, err := readRows(content, len(q.Columns), first, n)
	if err != nil {
		return nil, invalid("The results at %s are damaged: %v", q.Result.OutputLocation, err)
	}
	list, columns := []any{}, []any{}
	for _, row := range rows {
		data := make([]map[string]string, len(row))
		for i, v := range row {
			data[i] = map[string]string{}
			if v != nil {
				data[i]["VarCharValue"] = *v
			}
		}
		list = append(list, map[string]any{"Data": data})
	}
	for _, c := range q.Columns {
		columns = append(columns, map[string]any{"CatalogName": "hive", "SchemaName": "", "TableName": "", "Name": c.Name, "Label": c.Name,
			"Type": c.Type, "Nullable": "UNKNOWN", "CaseSensitive": c.Type == "varchar"})
	}
	out := map[string]any{"UpdateCount": 0, "ResultSet": map[string]any{"Rows": list, "ResultSetMetadata": map[string]any{"ColumnInfo": columns}}}
	if more {
		out["NextToken"] = q.ID + "+" + strconv.Itoa(first+n)
	}
	return out, nil
}
