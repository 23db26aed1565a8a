package check

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/securethecloud/kms-baseline/verify/internal/times"
	"github.com/securethecloud/kms-baseline/verify/report"
)

var trailChecks = []Check{
	{
		ID: "trail.write", Title: "the event history shows the key used for the write", Severity: "high",
		Why:       "what S3 says of an object is a label; the event is KMS's own record that this key was used for it, for this caller",
		Expected:  "GenerateDataKey under the key, by S3 for the caller, for the object or its bucket, at the time of the write",
		Proves:    "KMS generated a data key under this key (`GenerateDataKey`), called by S3, for this caller, for this object or its bucket, at the time of its write",
		NotProven: "with a Bucket Key: that the event was for this object and not for another write by the same caller in the hour before (the report states which of the two); which version was written",
		Remedy:    "wait for the event with --wait 20m, or prove the use with --canary",
		Needs:     []Permission{{"cloudtrail:LookupEvents", onAnything}, {"s3:GetObject", onObjects}, {"kms:DescribeKey", onKey}},
		run:       trailWrite,
	}, {
		ID: "trail.read", Title: "the event history shows the key used for a read", Severity: "medium",
		Why:       "without a Decrypt under the key a read would not have gone through KMS, where it can be refused and is logged",
		Expected:  "Decrypt under the key, by S3 for the caller, for the object or its bucket",
		Proves:    "KMS decrypted a data key under this key (`Decrypt`), called by S3, for this caller, for this object or its bucket, within `--since`",
		NotProven: "the same as for `trail.write`",
		Remedy:    "wait for the event with --wait 20m, or prove the use with --canary",
		Needs:     []Permission{{"cloudtrail:LookupEvents", onAnything}, {"s3:GetObject", onObjects}, {"kms:Decrypt", onKeyThroughS3}, {"kms:DescribeKey", onKey}},
		run:       trailRead,
	}, {
		ID: "trail.keys", Title: "the event history shows every key used", Severity: "medium",
		Why:       "a key that is not used encrypts nothing, whatever is configured",
		Expected:  "GenerateDataKey under each key, by or for the caller",
		Proves:    "with several `--key`: this caller requested a data key under each key within `--since`",
		NotProven: "the purpose of the request",
		Remedy:    "use each key, then run verify with --wait 20m",
		Needs:     []Permission{{"cloudtrail:LookupEvents", onAnything}, {"kms:DescribeKey", onKey}},
		run:       trailKeys,
	},
}

const (
	// maxSince is how far back log files are searched at most.
	maxSince = 20 * 365 * 24 * time.Hour
	// eventHistory is how far back LookupEvents goes.
	// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html
	eventHistory = 90 * 24 * time.Hour
	// nearWrite is how far the GenerateDataKey of a write may be from the time
	// that S3 gives for the object: both are AWS's clocks, and S3 asks KMS
	// during the upload. For a multipart upload S3 gives the time it began.
	nearWrite = 2 * time.Minute
	// bucketKeyAge is how old a bucket-level key may be that S3 uses for a
	// write. AWS calls it time-limited and names no time.
	bucketKeyAge = time.Hour
	// clockSkew is how far this machine's clock may be from AWS's: about as far
	// as AWS accepts in a signature.
	clockSkew = 15 * time.Minute
	// maxUses is how many events a report keeps for its plot.
	maxUses = 5000
)

// want is an event that is looked for.
type want struct {
	name    string // of the object or the key, for the reader
	event   string // "GenerateDataKey"
	key     string // its ARN
	caller  string // as principalOf gives it
	context string // the ARN in aws:s3:arn; empty: any, and S3 need not be the one who called
	object  string // the object's ARN, which context may be
	from    time.Time
	to      time.Time
	note    string // what a reader must know of it besides
	// written and version are the time and the version of the object, as HeadObject
	// returns them: a data event of S3 is compared with them. The zero time is that
	// of a want without one.
	written time.Time
	version string
	read    report.Evidence

	// whole asks for all of the time to be gone through, also once an event is
	// found: another event may show that it belongs to another write.
	whole bool
	gone  bool // all of the time has been gone through
	// uncovered is why the source's records may not be complete for the time.
	// Empty means that they are.
	uncovered string
	// others are other callers that used the key for the bucket in that time.
	others []string

	settled *report.Result // needs no event any more: what stands already
	found   *found
	near    map[string]int // why events that came near were not it
	// contradicted is what an event says that is of this very write and shows
	// another caller or another key.
	contradicted string
	contradicts  report.Evidence
}

type found struct {
	use      report.KeyUse
	evidence report.Evidence
	own      bool // a data event of S3, of the object itself
	exact    bool // which states the object's version
}

func (w *want) pending() bool { return w.settled == nil && (w.found == nil || w.whole && !w.gone) }

// trailFindings is what the source of events showed.
type trailFindings struct {
	writes, reads, keys     []*want
	canaryWrite, canaryRead []*want // one each
	effort                  string  // of the search; empty where there was none
	noun                    string  // of the source
	waited                  time.Duration
	err                     error // of the last look
	source                  string
	integrity               *report.Result // of the source's files; nil where it has none
	placements              *placements    // see search
}

func trailWrite(_ context.Context, r *run) report.Result {
	if x, ok := r.noObject(); !ok {
		return x
	}
	f := r.events()
	return f.judge(r, "object", f.writes)
}

func trailRead(_ context.Context, r *run) report.Result {
	if x, ok := r.noObject(); !ok {
		return x
	}
	f := r.events()
	return f.judge(r, "object", f.reads)
}

func trailKeys(_ context.Context, r *run) report.Result {
	if len(r.keys) < 2 {
		return skipped("only one key was named: trail.write is about that one")
	}
	f := r.events()
	return f.judge(r, "key", f.keys)
}

func (r *run) noObject() (report.Result, bool) {
	if r.cfg.Bucket == "" || len(r.cfg.Objects) == 0 {
		return skipped("no object was named"), false
	}
	return r.noKeyARN()
}

// judge puts the results of several wants together.
func (f trailFindings) judge(r *run, noun string, wants []*want) report.Result {
	if len(wants) == 0 {
		return r.failure(f.source, f.err)
	}
	var names []string
	var results []report.Result
	for _, w := range wants {
		names, results = append(names, w.name), append(results, f.result(r, w))
	}
	x := merge(noun, names, results)
	if f.effort != "" {
		x.Actual += " (" + f.effort + ")"
	}
	return x
}

func (f trailFindings) result(r *run, w *want) report.Result {
	switch {
	case w.settled != nil:
		return *w.settled
	case w.found != nil && w.found.own && w.found.exact:
		return w.provenByData()
	case w.found != nil && w.contradicted != "":
		return inconclusive("the "+f.noun+" has events of several writes of this object around that time: "+w.contradicted+", beside one of "+w.caller,
			r.again("--canary=true", "--wait=20m"), w.contradicts, w.found.evidence)
	case w.found != nil && !w.found.own && len(w.others) > 0:
		slices.Sort(w.others)
		return inconclusive("the event names the bucket (S3 Bucket Key), and "+slices.Compact(w.others)[0]+" used the key for the bucket in that time too: whose event belongs to this write cannot be told",
			r.again("--canary=true", "--wait=20m"), w.found.evidence)
	case w.found != nil && w.whole && w.uncovered != "":
		return inconclusive("the event was found, but another one may belong to the write: "+w.uncovered, r.again(), w.found.evidence)
	case w.found != nil && w.found.own:
		return w.provenByData()
	case w.found != nil:
		tie := "tied to the key alone"
		switch {
		case w.context == "":
		case w.found.use.Context == w.object:
			tie = "tied to the object by its ARN"
		default:
			tie = "tied to the bucket by its ARN: with a Bucket Key KMS is not told of the object"
		}
		return w.proven(tie)
	case w.contradicted != "":
		return fail(w.contradicted, "find out who wrote the object, and write it again as it should be", w.contradicts)
	case f.err != nil:
		return r.failure(f.source, f.err)
	}
	text := fmt.Sprintf("no such %s event from %s to %s", w.event, w.from.Format(time.RFC3339), w.to.Format(time.RFC3339))
	if near := nearest(w.near); near != "" {
		text += "; near misses: " + near
	}
	if w.uncovered != "" {
		text += "; " + w.uncovered
	}
	if w.note != "" {
		text += "; " + w.note
	}
	remedy := r.again("--wait=20m")
	if f.waited > 0 {
		text += fmt.Sprintf("; looked for %s", f.waited.Round(time.Second))
	}
	if w.object != "" && w.context != w.object {
		text += "; with a Bucket Key S3 asks KMS once for a caller and then goes on with that answer for a while, so there may never be one"
		remedy = r.again("--canary=true", "--wait=20m")
	}
	return w.withRead(inconclusive(text, remedy))
}

// withRead adds the evidence of the run's own read to a result.
func (w *want) withRead(x report.Result) report.Result {
	if w.read.Source != "" {
		x.Evidence = append(x.Evidence, w.read)
	}
	return x
}

// proven is the result of a want that the found event proves; tie is what ties the
// event to it.
func (w *want) proven(tie string) report.Result {
	u := w.found.use
	return w.withRead(pass(fmt.Sprintf("%s at %s by %s, %s", u.Name, u.Time.Format(time.RFC3339), u.Caller, tie), w.found.evidence))
}

// provenByData is the result of a want that the object's own data event proves.
func (w *want) provenByData() report.Result {
	if w.event == "Decrypt" {
		return w.proven("the object's own data event: HeadObject shows the object under the key")
	}
	return w.proven("the object's own data event: S3 encrypted the object under the key")
}

// nearest names the most frequent reasons.
func nearest(near map[string]int) string {
	reasons := slices.SortedFunc(maps.Keys(near), func(a, b string) int {
		if near[a] != near[b] {
			return near[b] - near[a]
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, why := range reasons[:min(len(reasons), 3)] {
		parts = append(parts, fmt.Sprintf("%d %s", near[why], why))
	}
	return strings.Join(parts, ", ")
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// followTrail works out which events there must be, and looks for them until
// they are found or the time to wait is over.
func (r *run) followTrail(ctx context.Context) trailFindings {
	var f trailFindings
	caller := r.cfg.Caller
	if caller == "" {
		id := r.identity()
		if id.err != nil {
			f.err, f.source = id.err, "sts:GetCallerIdentity"
			return f
		}
		caller = aws.ToString(id.out.Arn)
	}
	caller = principalOf(caller)
	source, err := eventsOf(r)
	if err != nil {
		f.err, f.source = err, r.cfg.Events
		return f
	}
	key := r.keyARN()
	if key != "" { // else the checks have said so, and look at no event
		if r.selected["trail.write"] {
			f.writes = r.writesOf(ctx, source, key, caller)
		}
		if r.selected["trail.read"] {
			f.reads = r.readsOf(ctx, key, caller)
		}
	}
	if r.selected["trail.keys"] && len(r.keys) > 1 {
		f.keys = r.usesOf(caller)
	}
	if r.cfg.Canary && (r.selected["canary.write"] || r.selected["canary.read"]) {
		c := r.canary()
		f.canaryWrite, f.canaryRead = []*want{c.write}, []*want{c.read}
	}

	s := &search{wants: slices.Concat(f.writes, f.reads, f.canaryWrite, f.canaryRead, f.keys), uses: map[string]report.KeyUse{}}
	if r.selected["bucket.foreign-keys"] && r.cfg.Events != lookup && r.cfg.Bucket != "" && key != "" {
		s.placements = &placements{bucket: bucketARN(r.cfg), key: key}
		f.placements = s.placements
	}
	f.noun = source.noun()
	start := r.now()
	for {
		f.err = source.find(ctx, s)
		f.source = source.name()
		left := s.pending()
		f.waited = r.now().Sub(start)
		forGood := isDenied(f.err) || IsCredentials(f.err) || ctx.Err() != nil
		if len(left) == 0 || forGood || f.waited+r.cfg.Poll > r.cfg.Wait {
			break
		}
		r.progress("waiting for %s in the %s (%s of %s)", count(len(left), "event"), f.noun, f.waited.Round(time.Second), r.cfg.Wait)
		select {
		case <-ctx.Done():
		case <-time.After(r.cfg.Poll):
		}
	}
	if r.cfg.Wait == 0 {
		f.waited = 0
	}
	f.effort = source.effort()
	if v, ok := source.(validator); ok {
		x := v.integrity()
		f.integrity = &x
	}
	uses := slices.SortedFunc(maps.Values(s.uses), func(a, b report.KeyUse) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.EventID, b.EventID))
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uses = uses
	return f
}

func pending(wants []*want) []*want {
	var left []*want
	for _, w := range wants {
		if w.pending() {
			left = append(left, w)
		}
	}
	return left
}

// objectWant is the want for an event about a named object, or what stands
// already instead of it.
func (r *run) objectWant(ctx context.Context, i int, event, key, caller string) *want {
	name := r.cfg.Objects[i]
	bucket := bucketARN(r.cfg)
	w := &want{name: name, event: event, key: key, caller: caller, object: bucket + "/" + name}
	w.context = w.object
	head := r.named()[i]
	settle := func(x report.Result) *want {
		w.settled = &x
		return w
	}
	switch {
	case isNotFound(head.err):
		return settle(fail(fmt.Sprintf("there is no object %s in %s", name, r.cfg.Bucket), "aws s3 ls "+quote("s3://"+r.cfg.Bucket), head.evidence))
	case head.err != nil:
		return settle(r.objectFailure(name, "s3:HeadObject", head.err))
	}
	if why := r.notUnderKey(ctx, head.out); why != "" {
		return settle(fail("HeadObject shows that the key was not used: "+why, "encrypt the object under the key: object.encryption names the command", head.saw("%s %s", head.out.ServerSideEncryption, aws.ToString(head.out.SSEKMSKeyId))))
	}
	if aws.ToBool(head.out.BucketKeyEnabled) {
		w.context = bucket
	}
	w.written, w.version = aws.ToTime(head.out.LastModified).UTC(), aws.ToString(head.out.VersionId)
	return w
}

// writesOf is the wants for the writes of the named objects.
func (r *run) writesOf(ctx context.Context, source eventSource, key, caller string) []*want {
	var wants []*want
	for i := range r.cfg.Objects {
		w := r.objectWant(ctx, i, "GenerateDataKey", key, caller)
		// S3 writes replicas with the role of the replication, and with an Encrypt: the
		// caller's event would be of another write.
		// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html
		if head := r.named()[i]; w.pending() && head.out.ReplicationStatus == s3types.ReplicationStatusReplica {
			x := inconclusive(w.name+" is a replica: S3 wrote it, and no upload of the caller", "run verify over the bucket of the original, with its key", head.saw("ReplicationStatus %s", head.out.ReplicationStatus))
			w.settled = &x
		}
		if w.pending() {
			at := aws.ToTime(r.named()[i].out.LastModified).UTC()
			w.from, w.to = at.Add(-nearWrite), at.Add(nearWrite)
			w.whole = true
			if r.cfg.Canary { // what this run uploads proves nothing of an earlier write
				w.to = times.Earlier(w.to, r.started().Add(-time.Second))
			}
			if w.context != w.object {
				w.from = at.Add(-bucketKeyAge)
			}
			if oldest, why := source.oldest(); w.to.Before(oldest) {
				x := inconclusive("the object was written on "+at.Format(time.DateOnly)+", and "+why,
					r.again("--canary=true", "--wait=20m"))
				w.settled = &x
			}
		}
		wants = append(wants, w)
	}
	return wants
}

// readsOf is the wants for reads of the named objects. It reads the first byte
// of each, so that there is one to find.
func (r *run) readsOf(ctx context.Context, key, caller string) []*want {
	wants := make([]*want, len(r.cfg.Objects))
	var wg sync.WaitGroup
	slots := make(chan struct{}, r.cfg.Concurrency)
	for i := range r.cfg.Objects {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			w := r.objectWant(ctx, i, "Decrypt", key, caller)
			if w.pending() {
				now := r.now()
				w.from, w.to = now.Add(-r.cfg.Since), now.Add(r.cfg.Wait+clockSkew)
				if r.cfg.Caller == "" {
					w.read, w.note = r.readByte(ctx, w.name)
				}
			}
			wants[i] = w
		})
	}
	wg.Wait()
	return wants
}

// readByte reads an object's first byte, and returns the evidence, and in words what came
// of it.
func (r *run) readByte(ctx context.Context, key string) (report.Evidence, string) {
	in := &s3.GetObjectInput{Bucket: &r.cfg.Bucket, Key: &key, Range: aws.String("bytes=0-0")}
	out, err := r.bucket().GetObject(ctx, in)
	if hasCode(err, "InvalidRange") { // an empty object has no first byte
		in.Range = nil
		out, err = r.bucket().GetObject(ctx, in)
	}
	if err != nil {
		return r.refusal("s3:GetObject", err), "reading it just now failed: " + Reason(err)
	}
	_ = out.Body.Close() // what the byte is does not matter
	a := answered(r, "s3:GetObject", out, nil, func() middleware.Metadata { return out.ResultMetadata })
	return a.saw("read s3://%s/%s just now", r.cfg.Bucket, key), "it was read just now"
}

// usesOf is the wants for one use of each key.
func (r *run) usesOf(caller string) []*want {
	var wants []*want
	for _, k := range r.keys {
		w := &want{name: k.name, event: "GenerateDataKey", caller: caller, from: r.now().Add(-r.cfg.Since), to: r.now().Add(r.cfg.Wait + clockSkew)}
		arn, x, ok := r.keyARNOf(k)
		if w.key = arn; !ok {
			w.settled = &x
		}
		wants = append(wants, w)
	}
	return wants
}

// trailRecord is what verify reads of a CloudTrail record.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
type trailRecord struct {
	EventID      string    `json:"eventID"`
	EventName    string    `json:"eventName"`
	EventSource  string    `json:"eventSource"`
	EventTime    time.Time `json:"eventTime"`
	Region       string    `json:"awsRegion"`
	ErrorCode    string    `json:"errorCode"`
	UserIdentity struct {
		Type           string `json:"type"`
		ARN            string `json:"arn"`
		InvokedBy      string `json:"invokedBy"`
		SessionContext struct {
			SessionIssuer struct {
				ARN string `json:"arn"`
			} `json:"sessionIssuer"`
		} `json:"sessionContext"`
	} `json:"userIdentity"`
	RequestParameters struct {
		EncryptionContext map[string]string `json:"encryptionContext"`
		VersionID         text              `json:"versionId"` // of a data event of S3
	} `json:"requestParameters"`
	Resources []trailResource `json:"resources"`
	// ResponseElements are of a data event of S3.
	ResponseElements struct {
		KeyARN    text `json:"x-amz-server-side-encryption-aws-kms-key-id"`
		VersionID text `json:"x-amz-version-id"`
	} `json:"responseElements"`
}

type trailResource struct {
	ARN  string `json:"ARN"`
	Type string `json:"type"`
}

// text is a JSON string. Any other JSON value is empty: services use the same
// names for different things.
type text string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
	}
	return nil
}

// readEvent reads an event's record and says in what it contradicts the
// summary that LookupEvents gives beside it.
func readEvent(e types.Event) (rec trailRecord, wrong string) {
	if err := json.Unmarshal([]byte(aws.ToString(e.CloudTrailEvent)), &rec); err != nil {
		return rec, "with a record that cannot be read"
	}
	summaryKeys, named := 0, false
	for _, s := range e.Resources {
		if aws.ToString(s.ResourceType) == "AWS::KMS::Key" {
			summaryKeys++
			for _, x := range rec.Resources {
				name := aws.ToString(s.ResourceName)
				named = named || x.ARN == name || strings.HasSuffix(x.ARN, ":key/"+name)
			}
		}
	}
	if rec.EventID != aws.ToString(e.EventId) || rec.EventName != aws.ToString(e.EventName) ||
		rec.EventSource != aws.ToString(e.EventSource) || rec.EventTime.Unix() != aws.ToTime(e.EventTime).Unix() || summaryKeys > 0 && !named {
		return rec, "whose record contradicts its summary"
	}
	return rec, ""
}

func (rec trailRecord) caller() string {
	if rec.UserIdentity.SessionContext.SessionIssuer.ARN != "" {
		return rec.UserIdentity.SessionContext.SessionIssuer.ARN
	}
	return rec.UserIdentity.ARN
}

// s3ARN is the object or the bucket that S3 used the key for.
func (rec trailRecord) s3ARN() string { return rec.RequestParameters.EncryptionContext["aws:s3:arn"] }

// objectARN is the object of a data event of S3.
func (rec trailRecord) objectARN() string {
	for _, x := range rec.Resources {
		if x.Type == "AWS::S3::Object" {
			return x.ARN
		}
	}
	return ""
}

func (rec trailRecord) uses(key string) bool {
	for _, x := range rec.Resources {
		if x.ARN == key {
			return true
		}
	}
	return false
}

func (rec trailRecord) keyARN() string {
	for _, x := range rec.Resources {
		if strings.Contains(x.ARN, ":key/") {
			return x.ARN
		}
	}
	return ""
}

// byS3 reports whether S3 made the call. S3's name in records has changed over the
// years (s3.amazonaws.com, internal.amazonaws.com, fas.s3.amazonaws.com); a
// caller of KMS cannot set it at all, whatever encryption context it makes up.
func (rec trailRecord) byS3() bool {
	by := strings.ToLower(rec.UserIdentity.InvokedBy)
	return strings.HasSuffix(by, "s3.amazonaws.com") || by == "internal.amazonaws.com" || by == "aws internal"
}

// meet compares a record with the want. A near miss is counted with the reason.
func (w *want) meet(rec sighting) {
	if rec.EventSource == s3Events {
		w.meetData(rec)
		return
	}
	if rec.EventName != w.event || rec.EventSource != kmsEvents {
		return
	}
	s3ARN := rec.s3ARN()
	why := rec.wrong
	switch {
	case why != "":
	case rec.ErrorCode != "":
		why = "that KMS refused (" + rec.ErrorCode + ")"
	case w.context != "" && !rec.byS3():
		why = "from a direct call to KMS, not through S3"
		if by := rec.UserIdentity.InvokedBy; by != "" {
			why = "from a call of " + by + ", not of S3"
		}
		if s3ARN != "" {
			why += ": its encryption context names S3, and any caller can write that"
		}
	case w.context != "" && s3ARN != w.context:
		why = "of another object"
		if s3ARN == "" {
			why = "without an object in the encryption context"
		}
	case rec.EventTime.Before(w.from) || rec.EventTime.After(w.to):
		why = "from another time"
	case rec.Region != regionOf(w.key):
		why = "in another Region"
	case !rec.uses(w.key):
		why = "under another key"
		w.contradict(rec, fmt.Sprintf("the event of this write shows another key: %s", rec.keyARN()))
	case principalOf(rec.caller()) != w.caller:
		why = "of another caller (" + rec.caller() + ")"
		if w.whole && w.context != w.object {
			w.others = append(w.others, rec.caller())
		}
		w.contradict(rec, fmt.Sprintf("the event of this write shows another caller: %s", rec.caller()))
	}
	w.settle(rec, why, found{})
}

// settle counts a near miss, or keeps what was found.
func (w *want) settle(rec sighting, why string, f found) {
	if why = cmp.Or(why, rec.unproven); why != "" {
		if w.near == nil {
			w.near = map[string]int{}
		}
		w.near[why]++
		return
	}
	if w.found == nil || f.exact || f.own && !w.found.own {
		f.use, f.evidence = rec.use(), rec.saw()
		w.found = &f
	}
}

// dataEvents are the data events of S3 that prove the write, or the read, of an
// object themselves.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html
var dataEvents = map[string][]string{
	"GenerateDataKey": {"PutObject", "CopyObject", "CompleteMultipartUpload"},
	"Decrypt":         {"GetObject"},
}

// meetData compares a data event of S3 with the want. One of a write must name the
// key in S3's response; one of a read must be of the version that HeadObject shows
// under the key.
func (w *want) meetData(rec sighting) {
	if w.written.IsZero() || rec.objectARN() != w.object || !slices.Contains(dataEvents[w.event], rec.EventName) {
		return
	}
	write := w.event == "GenerateDataKey"
	key, version := string(rec.ResponseElements.KeyARN), string(rec.ResponseElements.VersionID)
	if !write {
		version = string(rec.RequestParameters.VersionID)
	}
	exact := version != "" && version == w.version
	why := rec.wrong
	switch {
	case why != "":
	case rec.ErrorCode != "":
		why = "that S3 refused (" + rec.ErrorCode + ")"
	case version != "" && w.version != "" && !exact:
		why = "of another version"
	case write && !exact && (rec.EventTime.Before(w.written.Add(-nearWrite)) || rec.EventTime.After(w.written.Add(nearWrite))),
		!write && (rec.EventTime.Before(w.from) || rec.EventTime.After(w.to)):
		why = "from another time"
	case !write && !exact && rec.EventTime.Before(w.written):
		why = "of an earlier version"
	case write && key == "":
		why = "without a key in S3's response"
	case write && key != w.key:
		why = "under another key"
		w.contradict(rec, "the event of this write shows another key: "+key)
	case principalOf(rec.caller()) != w.caller:
		why = "of another caller (" + rec.caller() + ")"
		if write {
			w.contradict(rec, "the event of this write shows another caller: "+rec.caller())
		}
	}
	w.settle(rec, why, found{own: true, exact: exact})
}

// contradict remembers an event that leaves no room for the one wanted: it is
// about the very object, at the time of its write. With a Bucket Key, and for
// reads, there may be others beside it.
func (w *want) contradict(rec sighting, what string) {
	ofObject := rec.EventSource == s3Events || w.context != "" && w.context == w.object
	if rec.unproven == "" && w.event == "GenerateDataKey" && ofObject {
		w.contradicted, w.contradicts = what, rec.saw()
	}
}

func (rec trailRecord) use() report.KeyUse {
	return report.KeyUse{
		EventID: rec.EventID, Time: rec.EventTime.UTC(), Name: rec.EventName, Caller: rec.caller(), KeyARN: rec.keyARN(),
		Context: rec.s3ARN(), Service: rec.UserIdentity.InvokedBy,
	}
}

// principalOf is who an ARN stands for, in one form for a role and its
// sessions: "ACCOUNT:role/NAME". Role names are unique in an account whatever
// their path. Empty for anything that is not a principal's ARN.
func principalOf(arn string) string {
	part := strings.SplitN(arn, ":", 6)
	if len(part) != 6 || part[0] != "arn" || part[2] != "iam" && part[2] != "sts" {
		return ""
	}
	names := strings.Split(part[5], "/")
	switch {
	case part[2] == "sts" && names[0] == "assumed-role" && len(names) > 1:
		return part[4] + ":role/" + names[1]
	case names[0] == "role" && len(names) > 1:
		return part[4] + ":role/" + names[len(names)-1]
	case names[0] == "user" && len(names) > 1:
		return part[4] + ":user/" + names[len(names)-1]
	case part[5] == "root", names[0] == "federated-user":
		return part[4] + ":" + part[5]
	}
	return ""
}
