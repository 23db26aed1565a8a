package check

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"

	"github.com/securethecloud/kms-baseline/verify/internal/times"
	"github.com/securethecloud/kms-baseline/verify/logfiles"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// sqlEvents is the [eventSource] that a table over a trail's log files is. SQL finds
// events, and proves none: a caller that can write to the bucket can forge a log file,
// and one that can change the table can show any row. So a row only names the log file
// that must have its event. That file is read and validated as [logFiles] does, and the
// record in it is the evidence.
type sqlEvents struct {
	*sqlSource
	r     *run
	shape *sqlShape // nil until the engine was asked
	files *logFiles // of the trail that the table is about; nil until it is known

	// Of the last find.
	err   error
	calls string // where err is not the engine's: the operation
}

const (
	// maxSQLRows bounds the rows of one query: more events under the wanted keys are
	// not examined, and the run reports it.
	maxSQLRows = 100_000
	// deliveryDelay is how long an event may take to be in a log file. The usual time
	// is five minutes, without a guarantee.
	deliveryDelay = time.Hour
	// digestedAfter is the age after which a digest file usually vouches for an event.
	digestedAfter = 2 * time.Hour
)

// newSQLEvents makes the source that a value of [Config.Events] names. Its error is
// an [InputError].
func newSQLEvents(r *run, value string) (*sqlEvents, error) {
	source, err := newSQLSource(r.cfg.AWS, "--events", value)
	if err != nil {
		return nil, err
	}
	return &sqlEvents{sqlSource: source, r: r}, nil
}

func (s *sqlEvents) name() string { return cmp.Or(s.calls, s.engine.call()) }
func (s *sqlEvents) noun() string { return "trail" }

func (s *sqlEvents) oldest() (time.Time, string) { return time.Time{}, "" }

func (s *sqlEvents) effort() string {
	parts := []string{s.sqlSource.effort()}
	if s.files != nil {
		parts = append(parts, s.files.effort())
	}
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), "; ")
}

// integrity implements [validator].
func (s *sqlEvents) integrity() report.Result {
	switch {
	case s.files == nil && s.err != nil:
		return s.r.failure(s.name(), s.err)
	case s.files == nil:
		return inconclusive(unknownTrail, "run the check with --events s3://BUCKET/PREFIX")
	}
	return s.files.integrity()
}

const unknownTrail = "the table shows no event that names a log file, so that it is not known which trail it is about"

// sqlRow is a row that SQL found, and the log file that it names.
type sqlRow struct {
	trailRecord
	path string // s3://BUCKET/KEY, if the engine and the table are right
}

// claim is a want with the rows that settle it once a validated log file has them. That
// of the search's placements has a want without an event: all its rows count.
type claim struct {
	*want
	placements *placements // nil for another claim
	rows       []sqlRow
	near       map[string]int // why the other rows are not it
}

// find implements [eventSource]: one query for all wants, and then the log files that
// it named. A log file that the engine cannot read fails the query; what the log files
// prove without it counts nevertheless.
func (s *sqlEvents) find(ctx context.Context, search *search) error {
	s.calls = ""
	s.err = s.prove(ctx, search)
	return s.err
}

func (s *sqlEvents) prove(ctx context.Context, search *search) error {
	claims, failed := s.claims(ctx, search.pending(), search.placements)
	if failed != nil && !errors.As(failed, new(*sqlError)) || len(claims) == 0 && !s.r.selected["trail.integrity"] {
		return failed
	}
	if err := s.locate(ctx, claims); err != nil || s.files == nil {
		return cmp.Or(failed, err)
	}
	if search.placements != nil {
		search.placements.newest = map[version]sighting{}
	}
	p := &proof{files: s.files, known: map[[2]string]proven{}, read: map[string]bool{}}
	if s.files.err = p.of(ctx, search, claims); s.files.err != nil {
		s.calls = s.files.source
		return s.files.err
	}
	p.explain(claims)
	for _, c := range claims {
		c.gone = failed == nil || c.gone
	}
	return failed
}

// claims asks for the rows that concern some wants, and placements unless they are nil,
// and sorts them. They are there beside the error of a query too.
func (s *sqlEvents) claims(ctx context.Context, wants []*want, placed *placements) (claims []*claim, err error) {
	if len(wants) == 0 && placed == nil {
		return nil, nil
	}
	if s.shape == nil {
		if s.shape, err = s.describe(ctx); err != nil {
			return nil, err
		}
	}
	probes := make([]want, len(wants))
	for i, w := range wants {
		w.near, w.others = nil, nil // all is asked again
		probes[i] = *w
		probes[i].found = nil
		claims = append(claims, &claim{want: w})
	}
	now := s.r.now()
	placing := &claim{want: &want{from: now.Add(-s.r.cfg.Since), to: now}, placements: placed}
	rows, unread := 0, 0
	_, err = s.query(ctx, s.shape.query(s.table, wants, placing), func(values []string) {
		rows++
		row, ok := readSQLRow(values)
		if !ok {
			unread++
			return
		}
		for i := range probes {
			if probes[i].settledBy(row.trailRecord) {
				claims[i].rows = append(claims[i].rows, row)
			}
		}
		if placed.matches(row.trailRecord) {
			placing.rows = append(placing.rows, row)
		}
	})
	limits := ""
	switch {
	case err != nil:
		limits = "the query failed"
	case rows >= maxSQLRows:
		limits = fmt.Sprintf("the query has more than %d rows, and the others were not examined", maxSQLRows)
	case unread > 0:
		limits = count(unread, "event") + " that may concern it could not be read"
	}
	const unknown = "SQL does not show that no log file is missing"
	digested := now.Add(-digestedAfter)
	for i, c := range claims {
		// Newest first, after those that a digest file vouches for already.
		slices.SortStableFunc(c.rows, func(a, b sqlRow) int {
			if a.EventTime.After(digested) != b.EventTime.After(digested) {
				return a.EventTime.Compare(b.EventTime)
			}
			return b.EventTime.Compare(a.EventTime)
		})
		c.near = probes[i].near
		c.uncovered = cmp.Or(limits, unknown)
		if limits == "" && c.to.After(now.Add(-deliveryDelay)) {
			c.uncovered = "CloudTrail may not have delivered the events of the last hour yet"
		}
	}
	if placed != nil {
		placed.reset()
		placed.newest = nil // until the trail is known
		placed.unread, placed.uncovered = unread, cmp.Or(limits, unknown)
		if rows >= maxSQLRows {
			placed.more++ // at least
		}
		claims = append(claims, placing)
	}
	return claims, err
}

// settledBy reports whether a record settles the want, for or against it. If not, it is
// counted as a near miss.
func (w *want) settledBy(rec trailRecord) bool {
	w.meet(sighting{trailRecord: rec})
	settled := w.found != nil || w.contradicted != "" || len(w.others) > 0
	w.found, w.contradicted, w.others = nil, "", nil
	return settled
}

// locate finds the trail that the table is about: the one that, by DescribeTrails,
// delivers the log files that the rows name. The table is not asked for its location:
// a caller that can change the table can change that. Without rows it is the Region's
// only trail.
func (s *sqlEvents) locate(ctx context.Context, claims []*claim) error {
	if s.files != nil {
		return nil
	}
	out, err := cloudtrail.NewFromConfig(s.r.cfg.AWS).DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{})
	if err != nil {
		s.calls = "cloudtrail:DescribeTrails"
		return err
	}
	paths := map[string]bool{}
	for _, c := range claims {
		for _, row := range c.rows {
			paths[row.path] = true
		}
	}
	here := map[logfiles.Location]bool{}
	for _, t := range out.TrailList {
		at := locationOf(t)
		if len(paths) == 0 && len(out.TrailList) == 1 {
			here[at] = true
		}
		for path := range paths {
			if strings.HasPrefix(path, at.String()+"/AWSLogs/") {
				here[at] = true
			}
		}
	}
	switch {
	case len(here) > 1:
		return &noTrailError{fmt.Sprintf("%s shows log files of %d trails: use a table of one trail, or --events s3://BUCKET/PREFIX", s.table, len(here))}
	case len(here) == 0 && len(paths) > 0:
		return &noTrailError{fmt.Sprintf("%s shows events in %s, where no trail of the Region delivers", s.table, slices.Min(slices.Collect(maps.Keys(paths))))}
	case len(here) == 0:
		for _, c := range claims {
			c.gone, c.uncovered = true, unknownTrail
			if c.placements != nil {
				c.placements.uncovered = unknownTrail
			}
		}
		return nil
	}
	for at := range here {
		s.files = &logFiles{r: s.r, location: at}
	}
	return nil
}

// proof is what validated log files show of the rows that SQL found.
type proof struct {
	files *logFiles
	known map[[2]string]proven // records by key of the file, and event ID
	read  map[string]bool      // keys of the log files that were read, or could not be
}

// proven is a record in a log file.
type proven struct {
	trailRecord
	unproven string // as in [logfiles.File]
}

// of reads the log files that the rows name. For a want with [want.whole] it reads all
// log files of the want's time: another event there may contradict what was found. For
// placements it reads those of all rows. For the other claims it reads the file of the
// first row, and those of the other rows if that one proves nothing. With the check
// trail.integrity it reads all log files.
func (p *proof) of(ctx context.Context, s *search, claims []*claim) error {
	if err := p.files.begin(ctx); err != nil {
		return err
	}
	if p.files.r.selected["trail.integrity"] {
		return p.files.readAll(ctx, s, p.choice(claims, false))
	}
	part := func(from, to int) (part []*claim) {
		for _, c := range claims {
			if !c.whole && c.placements == nil && c.pending() && from < len(c.rows) {
				part = append(part, &claim{want: c.want, rows: c.rows[from:min(to, len(c.rows))]})
			}
		}
		return part
	}
	first := part(0, 1)
	for _, c := range claims {
		if c.whole || c.placements != nil {
			first = append(first, c)
		}
	}
	if err := p.look(ctx, s, first); err != nil {
		return err
	}
	return p.look(ctx, s, part(1, maxSQLRows))
}

// look reads the log files of the claims' rows, and all of the time of a claim with
// [want.whole].
func (p *proof) look(ctx context.Context, s *search, claims []*claim) error {
	latest := p.files.r.now().Add(-time.Second) // no log file has later events
	var wants []*want
	var spans []logfiles.Span
	for _, c := range claims {
		if c.placements == nil {
			wants = append(wants, c.want)
		}
		if c.whole {
			spans = append(spans, logfiles.Span{From: c.from, To: c.to})
		}
		for _, row := range c.rows {
			if p.keyOf(row) != "" && row.EventTime.Before(latest) {
				spans = append(spans, logfiles.Span{From: row.EventTime, To: row.EventTime.Add(time.Second)})
			}
		}
	}
	return p.files.read(ctx, s, wants, spans, p.choice(claims, true))
}

// choice chooses the log files for some claims, and notes what is in them.
func (p *proof) choice(claims []*claim, some bool) choice {
	named, ids := map[string]bool{}, map[string]bool{}
	for _, c := range claims {
		for _, row := range c.rows {
			named[p.keyOf(row)], ids[row.EventID] = true, true
		}
	}
	return choice{
		some: some,
		only: func(key string, oldest, newest time.Time) bool {
			chosen := !some || named[key] || slices.ContainsFunc(claims, func(c *claim) bool {
				return c.whole && !newest.Before(c.from) && !oldest.After(c.to)
			})
			p.read[key] = p.read[key] || chosen
			return chosen
		},
		seen: func(rec trailRecord, f logfiles.File) {
			if named[f.Key] && ids[rec.EventID] {
				p.known[[2]string{f.Key, rec.EventID}] = proven{rec, f.Unproven}
			}
		},
	}
}

// keyOf is the key of the log file that a row names. It is empty for one that is not in
// the trail's bucket.
func (p *proof) keyOf(row sqlRow) string {
	key, _ := strings.CutPrefix(row.path, "s3://"+p.files.location.Bucket+"/")
	if key == row.path {
		return ""
	}
	return key
}

// explain counts the rows that no log file proves, and keeps for trail.integrity those
// that a valid log file contradicts.
func (p *proof) explain(claims []*claim) {
	wrong := map[string]string{} // by key
	for _, s := range p.files.summaries {
		for _, x := range s.Problems {
			wrong[x.Key] = string(x.Kind)
		}
	}
	lies := map[string]bool{}
	for _, c := range claims {
		near := c.near
		if c.whole {
			near = c.want.near // the files show them all
		}
		for _, row := range c.rows {
			key := p.keyOf(row)
			rec, ok := p.known[[2]string{key, row.EventID}]
			why := ""
			switch {
			case key == "":
				why = "that SQL finds in " + row.path + ", which is not in the trail's bucket"
			case wrong[key] != "":
				why = "that SQL finds in " + row.path + ": " + wrong[key]
			case !p.read[key]:
				why = "that SQL finds in " + row.path + ", which no valid digest file lists"
			case !ok || !reflect.DeepEqual(rec.trailRecord, row.trailRecord):
				why = "that SQL finds in " + row.path + ", which does not have it so"
				lies[fmt.Sprintf("SQL shows another event than the log file: %s: the event %s", row.path, row.EventID)] = true
			case rec.unproven != "" && !c.whole && c.placements == nil:
				why = rec.unproven
			}
			if why == "" {
				continue
			}
			if near == nil {
				near = map[string]int{}
			}
			near[why]++
		}
		c.want.near = near
		if c.placements != nil && len(near) > 0 {
			c.placements.uncovered = "without proof: " + nearest(near)
		}
	}
	p.files.lies = slices.Sorted(maps.Keys(lies))
}

// sqlShape is how a table's records are reached.
type sqlShape struct {
	nested    bool   // one column, records, has a log file's array
	account   string // of the events, where the table has the partition key account
	region    string // partition keys; empty for none
	day       string
	dayLayout string
}

// dayLayouts are the formats of a day that a partition key may have, by Athena's
// name.
var dayLayouts = map[string]string{"yyyy/MM/dd": "2006/01/02", "yyyy-MM-dd": time.DateOnly}

// sqlColumns are the columns of a record that verify reads.
var sqlColumns = []string{"eventid", "eventname", "eventsource", "eventtime", "awsregion", "errorcode", "useridentity", "requestparameters", "responseelements", "resources"}

// sqlPath is the hidden column that has the URL of a row's file, in Athena and in
// Trino's Hive connector.
// Source: https://docs.aws.amazon.com/athena/latest/ug/select.html
// Source: https://trino.io/docs/current/connector/hive.html#metadata-columns
const sqlPath = `"$path"`

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
		case "account":
			if shape.account, err = s.r.owner(); err != nil {
				return nil, err
			}
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

// keyInResponse is where S3's response to a write names the key.
const keyInResponse = `$["x-amz-server-side-encryption-aws-kms-key-id"]`

// query is one scan for all wants, and for the placements of a claim that has them.
func (sh *sqlShape) query(t sqlTable, wants []*want, placing *claim) string {
	var names, resources, regions []string
	add := func(list *[]string, v string) {
		if v != "" && !slices.Contains(*list, v) {
			*list = append(*list, v)
		}
	}
	var from, to time.Time // of all that is asked
	if len(wants) > 0 {
		from, to = wants[0].from, wants[0].to
	}
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
	// Whole seconds: text of one length compares as time does.
	between := func(from, to time.Time) string {
		return r + "eventtime BETWEEN " + sqlText(from.UTC().Format(time.RFC3339)) + " AND " + sqlText(to.UTC().Add(time.Second).Format(time.RFC3339))
	}
	var either []string
	if len(wants) > 0 {
		either = append(either, r+"eventname IN ("+sqlTexts(names)+") AND "+between(from, to)+" AND any_match("+r+"resources, x -> x.arn IN ("+sqlTexts(resources)+"))")
	}
	if p := placing.placements; p != nil {
		// A response that is no object is shown too, so that it counts as unread.
		response := r + "responseelements"
		other := "(json_extract_scalar(" + response + ", " + sqlText(keyInResponse) + ") <> " + sqlText(p.key) + " OR NOT starts_with(" + response + ", '{'))"
		either = append(either, between(placing.from, placing.to)+" AND coalesce("+r+"errorcode, '') = '' AND any_match("+r+"resources, x -> starts_with(x.arn, "+sqlText(p.bucket+"/")+"))"+
			" AND ("+r+"eventname IN ("+sqlTexts(rekeyings)+") OR "+r+"eventname IN ("+sqlTexts(writes)+") AND "+other+")")
		add(&regions, regionOf(p.key))
		if len(wants) == 0 {
			from, to = placing.from, placing.to
		}
		from, to = times.Earlier(from, placing.from), times.Later(to, placing.to)
	}
	where := []string{r + "eventsource IN ('kms.amazonaws.com', 's3.amazonaws.com')", "((" + strings.Join(either, ") OR (") + "))"}
	if sh.account != "" {
		where = append(where, identifier("account")+" = "+sqlText(sh.account))
	}
	if sh.region != "" && len(regions) > 0 {
		where = append(where, identifier(sh.region)+" IN ("+sqlTexts(regions)+")")
	}
	if sh.day != "" { // of the delivery, which is not before the event
		where = append(where, identifier(sh.day)+" BETWEEN "+sqlText(from.UTC().Format(sh.dayLayout))+" AND "+sqlText(to.UTC().Add(24*time.Hour).Format(sh.dayLayout)))
	}
	columns := []string{sqlPath}
	for _, c := range sqlColumns {
		if c == "useridentity" || c == "resources" {
			columns = append(columns, "json_format(CAST("+r+c+" AS JSON))")
		} else {
			columns = append(columns, r+c)
		}
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + source + " WHERE " + strings.Join(where, " AND ") + fmt.Sprintf(" LIMIT %d", maxSQLRows)
}

// readSQLRow reads a row of sqlPath and sqlColumns. Names of fields are in lower case
// there.
func readSQLRow(values []string) (row sqlRow, ok bool) {
	if len(values) != 1+len(sqlColumns) {
		return row, false
	}
	row.path = values[0]
	record := map[string]any{}
	for i, name := range sqlColumns {
		v := values[1+i]
		switch {
		case v == "":
		case i >= slices.Index(sqlColumns, "useridentity"):
			if !json.Valid([]byte(v)) {
				return row, false
			}
			record[name] = json.RawMessage(v)
		default:
			record[name] = v
		}
	}
	b, err := json.Marshal(record)
	if err != nil || json.Unmarshal(b, &row.trailRecord) != nil {
		return row, false
	}
	return row, row.EventID != "" && !row.EventTime.IsZero()
}
