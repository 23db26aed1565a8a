package check

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/securethecloud/kms-baseline/verify/internal/times"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// sqlEvents is the [eventSource] that a table over a trail's log files is.
type sqlEvents struct {
	*sqlSource
	r     *run
	shape *sqlShape // nil until the engine was asked
}

const (
	// maxSQLRows bounds the rows of one query: more events under the wanted keys are
	// not examined, and the run says so.
	maxSQLRows = 100_000
	// deliveryDelay is how long an event may take to be in a log file. The usual time
	// is five minutes, without a guarantee.
	deliveryDelay = time.Hour
)

// sqlLimits is what no SQL source proves, whatever it finds.
const sqlLimits = "SQL validates no digest file: it does not show that the log files are unaltered, or that none is missing"

// newSQLEvents makes the source that a value of [Config.Events] names. Its error is
// an [InputError].
func newSQLEvents(r *run, value string) (*sqlEvents, error) {
	source, err := newSQLSource(r.cfg.AWS, "--events", value)
	if err != nil {
		return nil, err
	}
	return &sqlEvents{sqlSource: source, r: r}, nil
}

func (s *sqlEvents) name() string { return s.engine.call() }
func (s *sqlEvents) noun() string { return "trail" }

func (s *sqlEvents) oldest() (time.Time, string) { return time.Time{}, "" }

// find implements [eventSource]: one query for all wants.
func (s *sqlEvents) find(ctx context.Context, search *search) error {
	wants := search.pending()
	if len(wants) == 0 {
		return nil
	}
	if s.shape == nil {
		shape, err := s.describe(ctx)
		if err != nil {
			return err
		}
		s.shape = shape
	}
	for _, w := range wants {
		w.near, w.others = nil, nil // all is asked again
	}
	rows := 0
	evidence := report.Evidence{Source: s.name(), Detail: s.table.String()}
	var unread int
	var found []sighting
	id, err := s.query(ctx, s.shape.query(s.table, wants), func(row []string) {
		rows++
		rec, ok := readSQLRow(row)
		if !ok {
			unread++
			return
		}
		found = append(found, sighting{trailRecord: rec, evidence: evidence})
	})
	for _, rec := range found {
		rec.evidence.RequestID = id
		search.show(wants, rec)
	}
	if err != nil {
		return err
	}
	now := s.r.now()
	for _, w := range wants {
		w.gone, w.uncovered = true, "SQL does not show that no log file is missing"
		switch {
		case rows >= maxSQLRows:
			w.uncovered = fmt.Sprintf("the query has more than %d rows, and the others were not examined", maxSQLRows)
		case unread > 0:
			w.uncovered = count(unread, "event") + " that may concern it could not be read"
		case w.to.After(now.Add(-deliveryDelay)):
			w.uncovered = "CloudTrail may not have delivered the events of the last hour yet"
		}
	}
	return nil
}

// sqlShape is how a table's records are reached.
type sqlShape struct {
	nested    bool   // one column, records, has a log file's array
	region    string // partition keys; empty for none
	day       string
	dayLayout string
}

// dayLayouts are the formats of a day that a partition key may have, by Athena's
// name.
var dayLayouts = map[string]string{"yyyy/MM/dd": "2006/01/02", "yyyy-MM-dd": time.DateOnly}

// sqlColumns are the columns of a record that verify reads.
var sqlColumns = []string{"eventid", "eventname", "eventsource", "eventtime", "awsregion", "errorcode", "useridentity", "requestparameters", "responseelements", "resources"}

// describe looks at the table's columns. Partition keys that it does not understand
// are an error: a wrong filter would hide events.
func (s *sqlEvents) describe(ctx context.Context) (*sqlShape, error) {
	columns, partitions, _, err := s.engine.describe(ctx, s.table, "")
	if err != nil {
		return nil, err
	}
	shape := &sqlShape{}
	for _, p := range partitions {
		switch p {
		case "region":
			shape.region = p
		case "day", "date", "timestamp":
			_, _, format, err := s.engine.describe(ctx, s.table, p)
			if err != nil {
				return nil, err
			}
			if shape.dayLayout = dayLayouts[format]; shape.dayLayout == "" {
				return nil, &sqlError{fmt.Sprintf("the partition key %s of %s has the format %q, and verify understands yyyy/MM/dd and yyyy-MM-dd: docs/scale.md has a table that it understands", p, s.table, format)}
			}
			shape.day = p
		default:
			return nil, &sqlError{fmt.Sprintf("verify does not understand the partition key %s of %s: docs/scale.md has a table that it understands", p, s.table)}
		}
	}
	switch {
	case slices.Equal(columns, []string{"records"}):
		shape.nested = true
	default:
		for _, c := range sqlColumns {
			if !slices.Contains(columns, c) {
				return nil, &sqlError{fmt.Sprintf("%s has no column %s: docs/scale.md has a table that it understands", s.table, c)}
			}
		}
	}
	return shape, nil
}

// query is one scan for all wants.
func (sh *sqlShape) query(t sqlTable, wants []*want) string {
	var names, resources, regions []string
	add := func(list *[]string, v string) {
		if v != "" && !slices.Contains(*list, v) {
			*list = append(*list, v)
		}
	}
	from, to := wants[0].from, wants[0].to
	seen := map[string]bool{}
	for _, w := range wants {
		from, to = times.Earlier(from, w.from), times.Later(to, w.to)
		add(&names, w.event)
		for _, e := range dataEvents[w.event] {
			add(&names, e)
		}
		add(&regions, regionOf(w.key))
		for _, arn := range []string{w.key, w.object} {
			if arn != "" && !seen[arn] {
				seen[arn] = true
				resources = append(resources, arn)
			}
		}
	}
	r, source := "", identifiers(t[:])
	if sh.nested {
		// A row in a row, so that the record is one column, whatever its fields.
		r, source = "r.", source+" CROSS JOIN UNNEST(transform(records, x -> ROW(x))) AS t(r)"
	}
	where := []string{
		r + "eventsource IN ('kms.amazonaws.com', 's3.amazonaws.com')",
		r + "eventname IN (" + sqlTexts(names) + ")",
		// Whole seconds: text of one length compares as time does.
		r + "eventtime BETWEEN " + sqlText(from.UTC().Format(time.RFC3339)) + " AND " + sqlText(to.UTC().Add(time.Second).Format(time.RFC3339)),
		"any_match(" + r + "resources, x -> x.arn IN (" + sqlTexts(resources) + "))",
	}
	if sh.region != "" && len(regions) > 0 {
		where = append(where, identifier(sh.region)+" IN ("+sqlTexts(regions)+")")
	}
	if sh.day != "" { // of the delivery, which is not before the event
		where = append(where, identifier(sh.day)+" BETWEEN "+sqlText(from.UTC().Format(sh.dayLayout))+" AND "+sqlText(to.UTC().Add(24*time.Hour).Format(sh.dayLayout)))
	}
	var columns []string
	for _, c := range sqlColumns {
		if c == "useridentity" || c == "resources" {
			columns = append(columns, "json_format(CAST("+r+c+" AS JSON))")
		} else {
			columns = append(columns, r+c)
		}
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + source + " WHERE " + strings.Join(where, " AND ") + fmt.Sprintf(" LIMIT %d", maxSQLRows)
}

// readSQLRow reads a row of sqlColumns. Names of fields are in lower case there.
func readSQLRow(row []string) (rec trailRecord, ok bool) {
	if len(row) != len(sqlColumns) {
		return rec, false
	}
	record := map[string]any{}
	for i, name := range sqlColumns {
		switch {
		case row[i] == "":
		case i >= slices.Index(sqlColumns, "useridentity"):
			if !json.Valid([]byte(row[i])) {
				return rec, false
			}
			record[name] = json.RawMessage(row[i])
		default:
			record[name] = row[i]
		}
	}
	b, err := json.Marshal(record)
	if err != nil || json.Unmarshal(b, &rec) != nil {
		return rec, false
	}
	return rec, rec.EventID != "" && !rec.EventTime.IsZero()
}
