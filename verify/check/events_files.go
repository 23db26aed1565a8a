package check

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/securethecloud/kms-baseline/verify/internal/times"
	"github.com/securethecloud/kms-baseline/verify/logfiles"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// logFiles is the [eventSource] that a trail's log files in S3 are. It reads the
// log files of the caller's account and of the run's Region.
type logFiles struct {
	r        *run
	location logfiles.Location

	reader *logfiles.Reader // nil until the trail is known
	trail  types.Trail
	source string // of the last error: "s3:GetObject"

	// What the last find read.
	spans     []logfiles.Span // the times that were read
	summaries []*logfiles.Summary
	err       error
	// lies are what another source shows that these files contradict.
	lies []string
}

// bySpan is how far apart two times may be that are read together.
const bySpan = 48 * time.Hour

func newLogFiles(r *run, uri string) (*logFiles, error) {
	location, err := logfiles.ParseLocation(uri)
	if err != nil {
		return nil, err
	}
	return &logFiles{r: r, location: location, source: "s3:GetObject"}, nil
}

func (l *logFiles) name() string { return l.source }
func (l *logFiles) noun() string { return "trail" }

func (l *logFiles) oldest() (time.Time, string) { return time.Time{}, "" }

func (l *logFiles) effort() string {
	var total logfiles.Summary
	for _, s := range l.summaries {
		total.Digests += s.Digests
		total.Files += s.Files
		total.Records += s.Records
	}
	if len(l.summaries) == 0 {
		return ""
	}
	return fmt.Sprintf("%s in %s and %s of %s", count(total.Records, "event"), count(total.Files, "log file"), count(total.Digests, "digest file"), l.location)
}

// find implements [eventSource]. It reads all log files that have events of the
// wants' times, and with the checks trail.integrity and bucket.foreign-keys those
// since [Config.Since].
func (l *logFiles) find(ctx context.Context, s *search) error {
	if l.err = l.begin(ctx); l.err == nil {
		l.err = l.readAll(ctx, s, choice{})
	}
	return l.err
}

// begin begins to find.
func (l *logFiles) begin(ctx context.Context) error {
	l.spans, l.summaries, l.lies = nil, nil, nil
	return l.prepare(ctx)
}

// readAll reads what find promises.
func (l *logFiles) readAll(ctx context.Context, s *search, c choice) error {
	wants := s.pending()
	now := l.r.now()
	var spans []logfiles.Span
	for _, w := range wants {
		w.near, w.others = nil, nil // all is read again
		spans = append(spans, logfiles.Span{From: w.from, To: w.to})
	}
	if s.placements != nil {
		s.placements.reset()
	}
	if l.r.selected["trail.integrity"] || s.placements != nil {
		spans = append(spans, logfiles.Span{From: now.Add(-l.r.cfg.Since), To: now})
	}
	return l.read(ctx, s, wants, spans, c)
}

// choice is which log files are read, and who sees their records.
type choice struct {
	// some is whether log files are left out that may have records of a want without
	// [want.whole]. For a want with it none may be left out.
	some bool
	only func(key string, oldest, newest time.Time) bool // as in [logfiles.Reader]
	seen func(rec trailRecord, f logfiles.File)          // optional
}

// read validates the files of some spans, and shows some wants the records in the log
// files that are chosen.
func (l *logFiles) read(ctx context.Context, s *search, wants []*want, spans []logfiles.Span, c choice) error {
	now := l.r.now()
	reader := *l.reader
	reader.Only = c.only
	q := newRecordQuery(s.wants)
	q.placements = s.placements
	for _, span := range mergeSpans(spans) {
		unread := 0
		summary, err := logfiles.Read(ctx, &reader, span.From, span.To, q.decode, func(rec decoded, f logfiles.File) {
			if rec.err != nil {
				unread++
				return
			}
			if c.seen != nil {
				c.seen(rec.trailRecord, f)
			}
			seen := sighting{trailRecord: rec.trailRecord, unproven: f.Unproven,
				evidence: report.Evidence{Source: "s3:GetObject", Detail: "in s3://" + l.location.Bucket + "/" + f.Key}}
			s.show(wants, seen)
			if s.placements.matches(rec.trailRecord) {
				s.placements.see(seen)
			}
		})
		if summary != nil {
			l.spans, l.summaries = append(l.spans, span), append(l.summaries, summary)
		}
		if err != nil {
			l.source = cmp.Or(callOf(err), "s3:GetObject")
			return err
		}
		if p := s.placements; p != nil {
			p.unread += unread
			p.uncovered = cmp.Or(p.uncovered, summary.Uncovered(span.From, times.Earlier(span.To, now)))
		}
		for _, w := range wants {
			// Its time was read with another span, or not all of the log files were.
			if w.from.Before(span.From) || w.to.After(span.To) || c.some && !w.whole {
				continue
			}
			w.gone, w.uncovered = true, summary.Uncovered(w.from, times.Earlier(w.to, now))
			if unread > 0 {
				w.uncovered = cmp.Or(w.uncovered, count(unread, "event")+" that may concern it could not be read")
			}
		}
	}
	return nil
}

// callOf is the AWS operation that an error is of.
func callOf(err error) string {
	var op interface {
		Service() string
		Operation() string
	}
	if errors.As(err, &op) {
		return strings.ToLower(op.Service()) + ":" + op.Operation()
	}
	return ""
}

// mergeSpans puts together spans that overlap or are close.
func mergeSpans(spans []logfiles.Span) []logfiles.Span {
	slices.SortFunc(spans, func(a, b logfiles.Span) int { return a.From.Compare(b.From) })
	var merged []logfiles.Span
	for _, t := range spans {
		if n := len(merged); n > 0 && !t.From.After(merged[n-1].To.Add(bySpan)) {
			merged[n-1].To = times.Later(merged[n-1].To, t.To)
		} else {
			merged = append(merged, t)
		}
	}
	return merged
}

// noTrailError says that no trail, or more than one, delivers to the location.
type noTrailError struct{ reason string }

func (e *noTrailError) Error() string { return e.reason }

// prepare finds out which trail delivers to the location, and its state. The state
// is asked again at every call: GetTrailStatus tells when the newest digest file
// was delivered.
func (l *logFiles) prepare(ctx context.Context) error {
	client := cloudtrail.NewFromConfig(l.r.cfg.AWS) // r.trail keeps under the rate of LookupEvents
	if l.reader == nil {
		l.source = "cloudtrail:DescribeTrails"
		out, err := client.DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{})
		if err != nil {
			return err
		}
		if l.trail, err = trailAt(out.TrailList, l.location); err != nil {
			return err
		}
		l.source = "sts:GetCallerIdentity"
		account, err := l.r.owner()
		if err != nil {
			return err
		}
		home := aws.ToString(l.trail.HomeRegion)
		reader := &logfiles.Reader{
			S3: l.bucketClient(ctx), Location: l.location, Trail: aws.ToString(l.trail.Name), HomeRegion: home,
			PublicKeys: cloudtrail.NewFromConfig(l.r.cfg.AWS, func(o *cloudtrail.Options) { o.Region = home }),
			Account:    account, Region: l.r.cfg.AWS.Region, Concurrency: min(l.r.cfg.Concurrency, 64), Now: l.r.now,
		}
		if aws.ToBool(l.trail.IsOrganizationTrail) { // of the caller's organization, or it would not be described
			l.source = "organizations:DescribeOrganization"
			out, err := organizations.NewFromConfig(l.r.cfg.AWS).DescribeOrganization(ctx, &organizations.DescribeOrganizationInput{})
			if err != nil {
				return err
			}
			if out.Organization == nil || !strings.HasPrefix(aws.ToString(out.Organization.Id), "o-") {
				return &noTrailError{"DescribeOrganization returned no organization, although the trail is one of an organization"}
			}
			reader.Organization = *out.Organization.Id
		}
		l.reader = reader
	}
	l.source = "cloudtrail:GetTrailStatus"
	status, err := client.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: l.trail.TrailARN})
	if err != nil {
		return err
	}
	l.reader.LoggingSince, l.reader.LastDigest = aws.ToTime(status.StartLoggingTime), aws.ToTime(status.LatestDigestDeliveryTime)
	l.reader.StoppedAt = time.Time{}
	if !aws.ToBool(status.IsLogging) {
		l.reader.StoppedAt = aws.ToTime(status.StopLoggingTime)
	}
	l.source = "s3:GetObject"
	return nil
}

// locationOf is where a trail delivers.
func locationOf(t types.Trail) logfiles.Location {
	return logfiles.Location{Bucket: aws.ToString(t.S3BucketName), Prefix: strings.Trim(aws.ToString(t.S3KeyPrefix), "/")}
}

// trailAt is the one trail that delivers to a location.
func trailAt(trails []types.Trail, at logfiles.Location) (types.Trail, error) {
	var here []types.Trail
	var all []string
	for _, t := range trails {
		to := locationOf(t)
		all = append(all, fmt.Sprintf("%s delivers to %s", aws.ToString(t.Name), to))
		if to == at {
			here = append(here, t)
		}
	}
	switch {
	case len(here) == 1:
		return here[0], nil
	case len(here) > 1:
		return types.Trail{}, &noTrailError{fmt.Sprintf("%d trails deliver to %s, and their log files cannot be told apart: give each trail a prefix of its own", len(here), at)}
	case len(all) == 0:
		return types.Trail{}, &noTrailError{fmt.Sprintf("no trail delivers to %s: the Region has no trail", at)}
	}
	return types.Trail{}, &noTrailError{fmt.Sprintf("no trail delivers to %s: %s", at, strings.Join(all, ", "))}
}

// bucketClient is a client for the Region of the trail's bucket.
func (l *logFiles) bucketClient(ctx context.Context) *s3.Client {
	region := ""
	out, err := s3.NewFromConfig(l.r.cfg.AWS).HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &l.location.Bucket})
	var h *awshttp.ResponseError
	switch {
	case err == nil:
		region = aws.ToString(out.BucketRegion)
	case errors.As(err, &h) && h.Response != nil && h.HTTPStatusCode() != http.StatusNotFound:
		region = h.Response.Header.Get("X-Amz-Bucket-Region")
	} // another error comes back from the first real call
	return s3.NewFromConfig(l.r.cfg.AWS, func(o *s3.Options) {
		o.Region = cmp.Or(region, o.Region)
		o.DisableLogOutputChecksumValidationSkipped = true
	})
}

// recordQuery selects the records that may concern some wants or placements. It looks for bytes
// before it decodes: most records of a trail concern nothing here.
type recordQuery struct {
	keys    map[string]bool // IDs of the keys
	objects [][]byte        // what a record of a wanted object contains
	arns    map[string]bool // of the objects

	placements *placements // nil where the run does not look for them
}

// keyIDLength is the length of a key's ID, which is a UUID, or mrk- and 32 digits.
const keyIDLength = 36

// maxObjectPatterns is for how many objects each record is searched one by one.
const maxObjectPatterns = 8

func newRecordQuery(wants []*want) *recordQuery {
	q := &recordQuery{keys: map[string]bool{}, arns: map[string]bool{}}
	patterns := map[string]bool{}
	for _, w := range wants {
		if _, id, ok := strings.Cut(w.key, ":key/"); ok {
			q.keys[id] = true
		}
		if w.object == "" {
			continue
		}
		q.arns[w.object] = true
		plain := w.object // until the first character that JSON may escape
		if i := strings.IndexFunc(plain, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`"\/<>&'`, c) && c != '/' }); i >= 0 {
			plain = plain[:i]
		}
		patterns[plain] = true
	}
	if len(patterns) > maxObjectPatterns {
		byBucket := map[string]bool{}
		for p := range patterns {
			bucket, _, _ := strings.Cut(p, "/")
			byBucket[bucket+"/"] = true
		}
		patterns = byBucket
	}
	for p := range patterns {
		q.objects = append(q.objects, []byte(p))
	}
	return q
}

// decoded is a record that may concern a want; err is why it could not be decoded.
type decoded struct {
	trailRecord
	err error
}

var keySlash = []byte(":key/")

// mayMatch reports whether a record has the ID of a key or the name of an object.
func (q *recordQuery) mayMatch(record []byte) bool {
	for rest := record; ; {
		i := bytes.Index(rest, keySlash)
		if i < 0 {
			break
		}
		rest = rest[i+len(keySlash):]
		if len(rest) >= keyIDLength && q.keys[string(rest[:keyIDLength])] {
			return true
		}
	}
	for _, o := range q.objects {
		if bytes.Contains(record, o) {
			return true
		}
	}
	return q.placements.mayMatch(record)
}

// decode decodes a record that may concern a want or a placement.
func (q *recordQuery) decode(record []byte) (decoded, bool) {
	if !q.mayMatch(record) {
		return decoded{}, false
	}
	var rec decoded
	if rec.err = json.Unmarshal(record, &rec.trailRecord); rec.err != nil {
		return rec, true
	}
	switch rec.EventSource {
	case kmsEvents:
		return rec, q.arns[rec.s3ARN()] || slices.ContainsFunc(rec.Resources, func(x trailResource) bool {
			_, id, _ := strings.Cut(x.ARN, ":key/")
			return q.keys[id]
		})
	case s3Events:
		return rec, q.arns[rec.objectARN()] || q.placements.matches(rec.trailRecord)
	}
	return rec, false
}
