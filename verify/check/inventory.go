package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/securethecloud/kms-baseline/verify/report"
)

const (
	// sampleSize is how many of the listed objects are asked for one by one. If none
	// of them differs, with 95 % confidence fewer than 1 in 1,000 of all do.
	sampleSize = 3000
	// maxLookup bounds the text of the names in one query. Athena takes queries of
	// 262,144 bytes.
	// Source: https://docs.aws.amazon.com/athena/latest/APIReference/API_StartQueryExecution.html
	maxLookup = 200_000
	// maxGroups bounds the combinations of encryption, key and Bucket Key.
	maxGroups = 1000
)

// inventory is the table of a bucket's objects that [Config.Inventory] names.
type inventory struct {
	*sqlSource
	r      *run
	live   bool // S3 Metadata's live inventory table; else a table of S3 Inventory
	has    map[string]bool
	report string // the newest report of S3 Inventory, as its partition is named
	csv    bool   // the report is in CSV files
}

// inventoryDelays are how long a change may take to be in an inventory, and how old
// the newest may be: a live inventory has a change within an hour, and S3 Inventory
// reports once a week at least.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/metadata-tables-inventory-schema.html
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html
func (v *inventory) delays() (change, age time.Duration) {
	if v.live {
		return time.Hour, 3 * time.Hour
	}
	return 48 * time.Hour, 9 * 24 * time.Hour // S3 Inventory is eventually consistent
}

// inventoryRow is what an inventory has of a version.
type inventoryRow struct{ key, version, status, kms string }

func (w inventoryRow) String() string {
	text := cmp.Or(w.status, "no encryption status")
	if w.kms != "" {
		text += " under " + w.kms
	}
	return text
}

// inventoryGroup is how many objects, or versions, are encrypted alike.
type inventoryGroup struct {
	inventoryRow
	bucketKey string // true, false, or empty where the inventory does not say
	current   bool
	rows      int
}

// inventoryFindings is what an inventory and S3 said.
type inventoryFindings struct {
	at        time.Time // of the inventory
	groups    []inventoryGroup
	offenders []inventoryRow // the first by name
	problems  []string       // why the inventory is no evidence
	evidence  []report.Evidence
}

// checkInventory checks the form of [Config.Inventory].
func checkInventory(value string) error {
	if value == "" {
		return nil
	}
	if !readsSQL(value) {
		return &InputError{fmt.Sprintf("--objects %s is not an inventory: use athena:WORKGROUP/CATALOG.DATABASE.TABLE or trino:https://HOST/CATALOG.SCHEMA.TABLE", quote(value))}
	}
	_, err := newSQLSource(aws.Config{}, "--objects", value)
	return err
}

// describe looks at the table's columns, and finds out which inventory it is.
func (v *inventory) describe(ctx context.Context) error {
	v.has = map[string]bool{}
	// A table's name is in lower case there.
	_, err := v.query(ctx, "SELECT column_name FROM "+identifiers([]string{v.table[0], "information_schema", "columns"})+
		" WHERE table_schema = "+sqlText(strings.ToLower(v.table[1]))+" AND table_name = "+sqlText(strings.ToLower(v.table[2])), func(row []string) { v.has[row[0]] = true })
	if err != nil {
		return err
	}
	needs := []string{"bucket", "key", "encryption_status"}
	v.live = !v.has["dt"]
	switch {
	case len(v.has) == 0:
		return &sqlError{fmt.Sprintf("there is no table %s, or the caller may not see it", v.table)}
	case v.has["record_type"]:
		return &sqlError{fmt.Sprintf("%s is a journal table: name the live inventory table", v.table)}
	case v.live:
		needs = append(needs, "sequence_number", "version_id", "is_delete_marker", "is_bucket_key_enabled", "kms_key_arn")
	case v.r.cfg.Versions:
		needs = append(needs, "version_id", "is_latest", "is_delete_marker")
	}
	for _, c := range needs {
		if !v.has[c] {
			return &sqlError{fmt.Sprintf("%s has no column %s: docs/scale.md has the columns that verify needs", v.table, c)}
		}
	}
	return nil
}

// rows is a query of the bucket's rows below the prefix, with the columns key,
// version, status, kms, bucket_key, marker and latest. Values are text, since tables of
// CSV files have no other. where further narrows them by key.
func (v *inventory) rows(where string) string {
	column := func(name, otherwise string) string {
		if !v.has[name] {
			return sqlText(otherwise)
		}
		return "coalesce(CAST(" + identifier(name) + " AS varchar), " + sqlText(otherwise) + ")"
	}
	bucketKey, latest := column("is_bucket_key_enabled", ""), column("is_latest", "true")+" = 'true'"
	if v.live {
		// Of the rows of a key, the one with the largest sequence number is the newest.
		latest = "row_number() OVER (PARTITION BY " + identifier("key") + " ORDER BY " + identifier("sequence_number") + " DESC) = 1"
	} else if v.has["bucket_key_status"] {
		bucketKey = "CASE " + identifier("bucket_key_status") + " WHEN 'ENABLED' THEN 'true' WHEN 'DISABLED' THEN 'false' ELSE '' END"
	}
	q := "SELECT " + v.name() + " AS key, " + column("version_id", "null") + " AS version, " + column("encryption_status", "") + " AS status, " +
		column("kms_key_arn", "") + " AS kms, " + bucketKey + " AS bucket_key, " + column("is_delete_marker", "false") + " = 'true' AS marker, " + latest + " AS latest" +
		" FROM " + identifiers(v.table[:]) + " WHERE " + identifier("bucket") + " = " + sqlText(v.r.cfg.Bucket)
	if p := aws.ToString(v.r.cfg.Prefix); p != "" {
		q += " AND starts_with(" + v.name() + ", " + sqlText(p) + ")"
	}
	if !v.live {
		q += " AND " + identifier("dt") + " = " + sqlText(v.report)
	}
	return "(" + q + where + ")"
}

// selected is a condition for the rows that the run checks.
func (v *inventory) selected() string {
	if v.r.cfg.Versions {
		return " WHERE NOT marker"
	}
	return " WHERE NOT marker AND latest"
}

// name is the SQL of an object's name.
func (v *inventory) name() string {
	if v.csv {
		return "url_decode(" + identifier("key") + ")"
	}
	return identifier("key")
}

// isUnderKey reports whether an inventory has a row as under the key; what the
// inventory does not say counts as under it.
func (v *inventory) isUnderKey(w inventoryRow) bool {
	return (w.status == "SSE-KMS" || w.status == "DSSE-KMS") && (w.kms == v.r.keyARN() || !v.live && w.kms == "")
}

// time finds out when the inventory was made.
func (v *inventory) time(ctx context.Context) (at time.Time, err error) {
	var text string
	row := func(row []string) { text = row[0] }
	if v.live {
		snapshots := v.table
		snapshots[2] += "$snapshots"
		if _, err = v.query(ctx, "SELECT CAST(CAST(to_unixtime(max(committed_at)) AS bigint) AS varchar) FROM "+identifiers(snapshots[:]), row); err != nil || text == "" {
			return at, err
		}
		seconds, err := strconv.ParseInt(text, 10, 64)
		return time.Unix(seconds, 0).UTC(), err
	}
	if _, err = v.query(ctx, "SELECT CAST(max("+identifier("dt")+") AS varchar) FROM "+identifiers(v.table[:]), row); err != nil || text == "" {
		return at, err
	}
	v.report = text
	if at, err = time.Parse("2006-01-02-15-04", text); err != nil {
		err = &sqlError{fmt.Sprintf("the newest dt of %s is %q, and a report of S3 Inventory has one such as 2026-01-31-01-00", v.table, text)}
	}
	return at, err
}

// isCSV reports whether the newest report is in CSV files as S3 Inventory names them.
// These have the names of objects in URL encoding, with + for a space, and files of its
// other formats do not. For a row of unknown origin, as that of a view, it reports false.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
func (v *inventory) isCSV(ctx context.Context) (bool, error) {
	path := ""
	_, err := v.query(ctx, "SELECT "+sqlPath+" FROM "+identifiers(v.table[:])+" WHERE "+identifier("dt")+" = "+sqlText(v.report)+" LIMIT 1", func(row []string) { path = row[0] })
	if errors.As(err, new(*sqlError)) {
		return false, nil // another query shows what else may be wrong with the table
	}
	return strings.HasSuffix(path, ".csv.gz"), err
}

// read asks the inventory for everything but the sample.
func (v *inventory) read(ctx context.Context) (f inventoryFindings, err error) {
	if err = v.describe(ctx); err != nil {
		return f, err
	}
	if f.at, err = v.time(ctx); err != nil {
		return f, err
	}
	if f.at.IsZero() {
		f.problems = append(f.problems, "the inventory is empty")
		return f, nil
	}
	if !v.live {
		if v.csv, err = v.isCSV(ctx); err != nil {
			return f, err
		}
	}
	id, err := v.query(ctx, "SELECT status, kms, bucket_key, CAST(latest AS varchar), CAST(count(*) AS varchar) FROM "+v.rows("")+" WHERE NOT marker GROUP BY 1, 2, 3, 4 ORDER BY count(*) DESC, 1, 2, 3, 4"+fmt.Sprintf(" LIMIT %d", maxGroups), func(row []string) {
		n, _ := strconv.Atoi(row[4]) // count(*) is a number
		f.groups = append(f.groups, inventoryGroup{inventoryRow: inventoryRow{status: row[0], kms: row[1]}, bucketKey: row[2], current: row[3] == "true", rows: n})
	})
	if err != nil {
		return f, err
	}
	f.evidence = append(f.evidence, report.Evidence{Source: v.engine.call(), Time: f.at, RequestID: id, Detail: v.table.String() + ", inventory of " + f.at.Format(time.DateTime)})
	offends := "status NOT IN ('SSE-KMS', 'DSSE-KMS')"
	if v.live {
		offends = "(" + offends + " OR kms <> " + sqlText(v.r.keyARN()) + ")"
	}
	_, err = v.query(ctx, "SELECT key, version, status, kms FROM "+v.rows("")+v.selected()+" AND "+offends+fmt.Sprintf(" ORDER BY key, version LIMIT %d", maxFailures),
		func(row []string) { f.offenders = append(f.offenders, inventoryRow{row[0], row[1], row[2], row[3]}) })

	_, old := v.delays()
	switch age := v.r.now().Sub(f.at); {
	case age > old:
		f.problems = append(f.problems, fmt.Sprintf("the inventory is %s old, and a new one is due after %s", age.Round(time.Minute), old))
	case age < -time.Hour:
		f.problems = append(f.problems, "the inventory is of a time to come")
	}
	if len(f.groups) == maxGroups {
		f.problems = append(f.problems, fmt.Sprintf("the objects have more than %d combinations of encryption, key and Bucket Key, and the others are not counted", maxGroups))
	}
	if !v.live {
		f.problems = append(f.problems, "S3 Inventory does not name the keys of objects")
	}
	return f, err
}

// total counts the rows of the groups that the run checks, and the offenders.
func (v *inventory) total(groups []inventoryGroup) (rows, offenders int) {
	for _, g := range groups {
		if g.current || v.r.cfg.Versions {
			rows += g.rows
			if !v.isUnderKey(g.inventoryRow) {
				offenders += g.rows
			}
		}
	}
	return rows, offenders
}

// text is the group as evidence.
func (g inventoryGroup) text() string {
	noun := "older version"
	if g.current {
		noun = "object"
	}
	key := map[string]string{"true": ", with an S3 Bucket Key", "false": ", without an S3 Bucket Key"}[g.bucketKey]
	return count(g.rows, noun) + ": " + g.String() + key
}

// lookup asks the inventory for the rows of versions.
func (v *inventory) lookup(ctx context.Context, sample []version) (map[version]inventoryRow, error) {
	rows := map[version]inventoryRow{}
	for len(sample) > 0 {
		var names []string
		size := 0
		for size < maxLookup && len(sample) > 0 {
			names = append(names, sample[0].key)
			size += len(sqlText(sample[0].key)) + 2
			sample = sample[1:]
		}
		_, err := v.query(ctx, "SELECT key, version, status, kms FROM "+v.rows(" AND "+v.name()+" IN ("+sqlTexts(names)+")")+v.selected(), func(row []string) {
			w := inventoryRow{row[0], row[1], row[2], row[3]}
			id := ""
			if v.r.cfg.Versions {
				id = w.version
			}
			rows[version{w.key, id}] = w
		})
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// census is what S3 lists: how many versions, how many of them the inventory should
// have, and a random sample of all.
type census struct {
	before time.Time // the inventory has what was written until then
	random *rand.Rand

	listed, due int
	sample      []version
	newer       map[version]bool // of the sample: written after before
	heads       map[version]*s3.HeadObjectOutput
	wrong       []inventoryGroup // how those of the sample that are not under the key are encrypted
}

// add counts a listed version. Every subset of sampleSize versions is equally likely
// to be the sample in the end.
func (c *census) add(v version, modified time.Time) {
	c.listed++
	newer := modified.After(c.before)
	if !newer {
		c.due++
	}
	i := len(c.sample)
	if i < sampleSize {
		c.sample = append(c.sample, v)
	} else {
		if i = c.random.IntN(c.listed); i >= sampleSize {
			return
		}
		delete(c.newer, c.sample[i])
		c.sample[i] = v
	}
	if newer {
		c.newer[v] = true
	}
}

// bound is the share of all of which, with 95 % confidence, fewer differ if none of
// a random sample of n does.
func bound(n int) float64 { return 1 - math.Pow(0.05, 1/float64(n)) }

// inventoryResult is the result of object.encryption with an inventory. SQL finds,
// and does not prove: an object fails the check by HeadObject, and a pass takes
// HeadObject of every object.
func (r *run) inventoryResult(ctx context.Context) report.Result {
	source, err := newSQLSource(r.cfg.AWS, "--objects", r.cfg.Inventory)
	if err != nil {
		return r.failure("--objects", err) // complete has checked it
	}
	v := &inventory{sqlSource: source, r: r}
	f, err := v.read(ctx)
	if err != nil {
		return r.failure(v.engine.call(), err)
	}
	change, _ := v.delays()
	c := &census{before: f.at.Add(-change), random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), newer: map[version]bool{}, heads: map[version]*s3.HeadObjectOutput{}} //nolint:gosec // a sample needs no secret
	wrong := v.confirm(ctx, &f)
	seen := r.checkObjects(ctx, c)
	if seen.firstErr == nil {
		if err := v.compare(ctx, &f, c); err != nil {
			return r.failure(v.engine.call(), err)
		}
	}
	return v.judge(f, c, seen, wrong)
}

// confirm asks S3 for the offenders, and returns those that are, with the reason.
func (v *inventory) confirm(ctx context.Context, f *inventoryFindings) []string {
	wrong := make([]string, len(f.offenders))
	problems := make([]string, len(f.offenders))
	var g errgroup.Group
	g.SetLimit(v.r.cfg.Concurrency)
	for i, w := range f.offenders {
		g.Go(func() error {
			at := version{key: w.key}
			if v.r.cfg.Versions {
				at.id = w.version
			}
			switch a := v.r.headVersion(ctx, at); {
			case isNotFound(a.err):
				problems[i] = fmt.Sprintf("the inventory lists %s, and HeadObject does not find it", at)
			case a.err != nil:
				problems[i] = fmt.Sprintf("the inventory lists %s: %s, and HeadObject could not confirm it: %s", at, w, Reason(a.err))
			default:
				if why := v.r.notUnderKey(ctx, a.out); why != "" {
					wrong[i] = at.String() + ": " + why
				} else {
					problems[i] = fmt.Sprintf("the inventory lists %s: %s, and HeadObject reports it under the key", at, w)
				}
			}
			return nil
		})
	}
	_ = g.Wait() // errors are problems
	isEmpty := func(s string) bool { return s == "" }
	f.problems = append(f.problems, slices.DeleteFunc(problems, isEmpty)...)
	return slices.DeleteFunc(wrong, isEmpty)
}

// inventoryStatus is HeadObject's encryption as inventories name it.
var inventoryStatus = map[string]string{"": "NOT-SSE", "AES256": "SSE-S3", "aws:kms": "SSE-KMS", "aws:kms:dsse": "DSSE-KMS"}

// compare looks the sample up in the inventory.
func (v *inventory) compare(ctx context.Context, f *inventoryFindings, c *census) error {
	rows, err := v.lookup(ctx, c.sample)
	if err != nil {
		return err
	}
	missing, differs := []string{}, []string{}
	for at, head := range c.heads {
		w, ok := rows[at]
		algorithm, key := string(head.ServerSideEncryption), aws.ToString(head.SSEKMSKeyId)
		if v.r.notUnderKey(ctx, head) != "" {
			c.wrong = append(c.wrong, inventoryGroup{inventoryRow: inventoryRow{status: inventoryStatus[algorithm], kms: key}, current: true})
		}
		switch {
		case ok && inventoryStatus[algorithm] == w.status && (!v.live || w.kms == key || key != "" && strings.HasSuffix(w.kms, ":key/"+key)), c.newer[at]:
		case ok:
			differs = append(differs, fmt.Sprintf("%s (inventory: %s; HeadObject: %s)", at, w, strings.TrimSpace(algorithm+" "+key)))
		default:
			missing = append(missing, at.String())
		}
	}
	for _, x := range []struct {
		names []string
		what  string
	}{{missing, "the inventory lacks"}, {differs, "the inventory differs from HeadObject for"}} {
		if len(x.names) > 0 {
			slices.Sort(x.names)
			f.problems = append(f.problems, fmt.Sprintf("%s %d of %d sampled objects: %s", x.what, len(x.names), len(c.heads), strings.Join(x.names[:min(len(x.names), 3)], ", ")))
		}
	}
	if rows, _ := v.total(f.groups); rows < c.due {
		f.problems = append(f.problems, fmt.Sprintf("the inventory does not cover the bucket: it has %d of the %d objects that S3 lists and that were written before it", rows, c.due))
	}
	return nil
}

// judge puts the findings together.
func (v *inventory) judge(f inventoryFindings, c *census, seen objectFindings, wrong []string) report.Result {
	r := v.r
	rows, offenders := v.total(f.groups)
	noun := "object"
	if r.cfg.Versions {
		noun = "version"
	}
	for _, w := range seen.wrong {
		if !slices.Contains(wrong, w) {
			wrong = append(wrong, w)
		}
	}
	slices.Sort(wrong)
	x := report.Result{Evidence: f.evidence, Failures: wrong[:min(len(wrong), maxFailures)], FailureCount: max(len(wrong), seen.wrongs), Expected: "aws:kms under " + r.keyARN()}
	for _, g := range f.groups[:min(len(f.groups), maxEvidence)] {
		x.Evidence = append(x.Evidence, report.Evidence{Source: v.engine.call(), Time: f.at, Detail: g.text()})
	}
	x.Evidence = append(x.Evidence, seen.evidence[:min(len(seen.evidence), maxEvidence)]...)
	summary := fmt.Sprintf("the inventory of %s (%s old) has %s, %d not under the key; S3 lists %d", f.at.Format(time.DateTime), r.now().Sub(f.at).Round(time.Minute), count(rows, noun), offenders, c.listed)
	summary += fmt.Sprintf("; HeadObject of %d drawn at random from S3's list", len(c.sample))
	if len(c.newer) > 0 {
		summary += fmt.Sprintf(" (%d are newer than the inventory, which need not have them)", len(c.newer))
	}
	cost := " (" + v.effort() + ")"
	trouble := strings.Join(f.problems[:min(len(f.problems), 5)], "; ")
	if more := len(f.problems) - 5; more > 0 {
		trouble += fmt.Sprintf("; and %d more", more)
	}
	switch {
	case len(wrong) > 0:
		x.Status, x.Actual, x.Remedy = report.Fail, summary+"; not under the key by HeadObject: "+wrong[0]+cost, v.remedy(slices.Concat(f.groups, c.wrong))
		if trouble != "" {
			x.Actual += "; " + trouble
		}
	case seen.firstErr != nil:
		e := r.objectFailure(seen.firstUnseen, seen.source, seen.firstErr)
		x.Status, x.Remedy, x.Actual = e.Status, e.Remedy, summary+cost+", but not all could be looked at: "+e.Actual
		x.Evidence = append(x.Evidence, e.Evidence...)
	case seen.checked == 0:
		x.Status, x.Actual = report.Inconclusive, fmt.Sprintf("there is no object below s3://%s/%s%s", r.cfg.Bucket, aws.ToString(r.cfg.Prefix), cost)
		x.Remedy = "name another prefix, or --canary uploads objects of its own"
	case trouble != "":
		x.Status, x.Actual = report.Inconclusive, summary+" found none that is not"+cost+", but "+trouble
		x.Remedy = "wait for a newer inventory, or run verify with --prefix and without --objects, which asks for every object"
	case len(c.sample) == c.listed:
		x.Status, x.Actual = report.Pass, summary+", which are all: each is under the key"+cost
	default:
		p := bound(len(c.sample) - seen.gone)
		x.Status = report.Inconclusive
		x.Actual = summary + fmt.Sprintf(" found none that is not, or that the inventory lacks: with 95%% confidence fewer than %.2g%% of them (%d) are not under the key%s; a sample does not prove the others", 100*p, int(math.Ceil(p*float64(c.listed))), cost)
		x.Remedy = "run verify with --prefix and without --objects, which asks for every object, or accept the bound with --allow-inconclusive"
	}
	if seen.gone > 0 {
		x.Actual += fmt.Sprintf("; %d were deleted meanwhile", seen.gone)
	}
	return x
}
