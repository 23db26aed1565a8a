package check

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
)

// sqlSource is a table that SQL reads, and what reading it took until now.
type sqlSource struct {
	table   sqlTable
	engine  sqlEngine
	queries int
	scanned int64
}

// sqlTable is a table's name: catalog, database, table.
type sqlTable [3]string

func (t sqlTable) String() string { return strings.Join(t[:], ".") }

// sqlEngine executes queries that only read.
type sqlEngine interface {
	// call is what it calls, for evidence.
	call() string
	// describe returns the table's columns and partition keys, and the format of the
	// partition key that has the day.
	describe(ctx context.Context, t sqlTable, day string) (columns, partitions []string, format string, err error)
	// query shows all rows of a query, and returns the bytes that it scanned and the
	// query's ID. It cancels the query if ctx ends.
	query(ctx context.Context, sql string, row func([]string)) (scanned int64, id string, err error)
}

// pricePerTB is what Athena charges in most Regions, in USD.
// Source: https://aws.amazon.com/athena/pricing/
const pricePerTB = 5.0

// readsSQL reports whether a value of [Config.Events] or [Config.Inventory] names a
// table.
func readsSQL(value string) bool {
	return strings.HasPrefix(value, "athena:") || strings.HasPrefix(value, "trino:")
}

// glueCatalog is the catalog of an Athena table that is named without one.
const glueCatalog = "AwsDataCatalog"

// newSQLSource makes the source that the value of a flag names. Its error is an
// [InputError].
func newSQLSource(cfg aws.Config, flag, value string) (*sqlSource, error) {
	if strings.HasPrefix(value, "athena:") {
		workgroup, table, ok := athenaName(value)
		if !ok {
			return nil, &InputError{fmt.Sprintf("%s %s is not athena:WORKGROUP/DATABASE.TABLE or athena:WORKGROUP/CATALOG.DATABASE.TABLE", flag, quote(value))}
		}
		return &sqlSource{table: table, engine: &athenaEngine{workgroup: workgroup, client: athena.NewFromConfig(cfg)}}, nil
	}
	engine, table, err := newTrinoEngine(strings.TrimPrefix(value, "trino:"))
	if err != nil {
		// Without the value: it may have a password.
		return nil, &InputError{fmt.Sprintf("%s trino: %s: use trino:https://USER@HOST:PORT/CATALOG.SCHEMA.TABLE", flag, err)}
	}
	return &sqlSource{table: table, engine: engine}, nil
}

// athenaName reads athena:WORKGROUP/DATABASE.TABLE, with a catalog before the
// database or without. A catalog's name may have a slash.
func athenaName(value string) (workgroup string, t sqlTable, ok bool) {
	rest, ok := strings.CutPrefix(value, "athena:")
	workgroup, name, cut := strings.Cut(rest, "/")
	part := strings.Split(name, ".")
	if len(part) == 2 {
		part = append([]string{glueCatalog}, part...)
	}
	if !ok || !cut || workgroup == "" || len(part) != len(t) || part[0] == "" || part[1] == "" || part[2] == "" {
		return "", t, false
	}
	return workgroup, sqlTable(part), true
}

func (s *sqlSource) effort() string {
	if s.queries == 0 {
		return ""
	}
	text := fmt.Sprintf("1 query of %s, %d bytes scanned", s.table, s.scanned)
	if s.queries > 1 {
		text = fmt.Sprintf("%d queries of %s, %d bytes scanned", s.queries, s.table, s.scanned)
	}
	if _, ok := s.engine.(*athenaEngine); ok {
		charged := max(s.scanned, int64(s.queries)*10_000_000) // 10 MB a query at least
		text += fmt.Sprintf(" (about %.4f USD where a TB costs %.0f USD)", float64(charged)/1e12*pricePerTB, pricePerTB)
	}
	return text
}

// query counts what a query took.
func (s *sqlSource) query(ctx context.Context, sql string, row func([]string)) (id string, err error) {
	scanned, id, err := s.engine.query(ctx, sql, row)
	s.queries++
	s.scanned += scanned
	return id, err
}

// sqlError is why a table or a query cannot be used.
type sqlError struct{ reason string }

func (e *sqlError) Error() string { return e.reason }

// identifier quotes a name. No name can end the quotation.
func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func identifiers(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = identifier(n)
	}
	return strings.Join(quoted, ".")
}

// sqlText quotes a text. No text, such as an object's key, can end the quotation:
// Trino's literals know no other escape than the doubled quotation mark.
func sqlText(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func sqlTexts(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = sqlText(t)
	}
	return strings.Join(quoted, ", ")
}
