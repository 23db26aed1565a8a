package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/securethecloud/kms-baseline/verify/logfiles"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// eventSource is where the trail.* and canary.* checks find CloudTrail's records:
// the event history, or another record of the same events. What a record proves is
// decided in one place, [want.meet], whatever its source.
type eventSource interface {
	// name is what the source is in evidence, such as "cloudtrail:LookupEvents".
	name() string
	// noun is what results call it, such as "event history".
	noun() string
	// effort is how much was searched until now, such as "3 lookups of the event
	// history". Empty means nothing.
	effort() string
	// oldest is the time before which the source has no records, and the reason
	// ("the event history goes back 90 days only"). The zero time is no limit.
	oldest() (time.Time, string)
	// find shows s, by [search.show], the records of KMS and S3 in the time of the
	// pending wants that name their key or their object. It may show other records
	// too. It ends once none is pending, or all records are shown; then it sets
	// want.gone, and want.uncovered where records of the want's time may be missing.
	// After an error the time counts as not searched, but what was found is kept.
	// A run that waits for events calls it again.
	find(ctx context.Context, s *search) error
}

// validator is an [eventSource] of files that reports whether they are intact.
type validator interface{ integrity() report.Result }

// lookup is the value of [Config.Events] for the event history.
const lookup = "lookup"

// eventsOf makes the source that [Config.Events] names.
func eventsOf(r *run) (eventSource, error) {
	if r.cfg.Events == lookup {
		return &history{client: r.trail, now: r.now}, nil
	}
	if readsSQL(r.cfg.Events) {
		return newSQLEvents(r, r.cfg.Events)
	}
	return newLogFiles(r, r.cfg.Events)
}

// readsFiles reports whether a value of [Config.Events] names a trail's log files.
func readsFiles(value string) bool { return strings.HasPrefix(value, "s3://") }

// logBucket is the bucket of the log files that a value of [Config.Events] names.
func logBucket(value string) string {
	if !readsFiles(value) {
		return ""
	}
	location, _ := logfiles.ParseLocation(value) // checked by checkEvents
	return location.Bucket
}

// checkEvents checks the form of [Config.Events].
func checkEvents(value string) error {
	switch {
	case value == lookup:
		return nil
	case readsSQL(value):
		_, err := newSQLEvents(&run{}, value)
		return err
	case readsFiles(value):
		if _, err := logfiles.ParseLocation(value); err != nil {
			return &InputError{"--events " + err.Error()}
		}
		return nil
	}
	return &InputError{fmt.Sprintf("--events %s is not a source of events: use %s, s3://BUCKET/PREFIX, athena:WORKGROUP/DATABASE.TABLE or trino:https://HOST/CATALOG.SCHEMA.TABLE", quote(value), lookup)}
}

// search is what a run looks for in CloudTrail's records, and what it saw there.
type search struct {
	wants []*want
	uses  map[string]report.KeyUse // of the wants' keys, by event ID
	// placements are looked for by the sources of log files only, with a table or
	// without; nil where bucket.foreign-keys does not need them.
	placements *placements
}

// pending are the wants that still need records.
func (s *search) pending() []*want { return pending(s.wants) }

// sighting is a record, and where it was found.
type sighting struct {
	trailRecord
	evidence report.Evidence // the source and what identifies the place in it
	// wrong is why the record cannot be believed, and unproven why it is no
	// evidence though nothing is wrong with it. Either completes "1 event ...".
	wrong, unproven string
}

// show compares a record with the wants that are pending among some, and keeps a
// use of a wanted key for the report's plot.
func (s *search) show(among []*want, rec sighting) {
	for _, w := range among {
		if w.pending() {
			w.meet(rec)
		}
	}
	if rec.wrong != "" || rec.unproven != "" || rec.ErrorCode != "" || len(s.uses) >= maxUses {
		return
	}
	switch rec.EventName {
	case "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "Encrypt", "Decrypt", "ReEncrypt":
		if slices.ContainsFunc(s.wants, func(w *want) bool { return rec.uses(w.key) }) {
			s.uses[rec.EventID] = rec.use()
		}
	}
}

// saw is the evidence that the record is.
func (s sighting) saw() report.Evidence {
	e := s.evidence
	e.EventID, e.Time = s.EventID, s.EventTime.UTC()
	parts := []string{s.EventName, "by", s.caller()}
	if c := cmp.Or(s.s3ARN(), s.objectARN()); c != "" {
		parts = append(parts, "for", c)
	}
	if e.Detail != "" {
		parts = append(parts, e.Detail)
	}
	e.Detail = strings.Join(parts, " ")
	return e
}
