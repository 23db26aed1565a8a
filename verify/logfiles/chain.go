package logfiles

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/securethecloud/kms-baseline/verify/internal/times"
)

const (
	// digestPeriod is the time that a digest file covers, with and without events.
	// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
	digestPeriod = time.Hour
	// digestDelay is how long after its period a digest file may be delivered. AWS
	// states no limit.
	digestDelay = time.Hour
	// lateEvents is how long after an event log files are searched for it. AWS
	// delivers on average after about 5 minutes, and guarantees no time.
	// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
	lateEvents = 24 * time.Hour
	// usualDelivery is how long after an event digest files must go on for the
	// event's time to count as covered.
	usualDelivery = 15 * time.Minute
	// nameSlack is how far the time in a log file's name may be from the time at
	// which it was delivered.
	nameSlack = time.Hour
	// digestClock is how far GetTrailStatus's time of a digest file may be from the
	// time that S3 gives for the object.
	digestClock = 10 * time.Minute
)

// reading is one call of [Read].
type reading struct {
	*Reader
	from, to, now time.Time
	// until is how far files are listed: events may be delivered late.
	until time.Time

	mu sync.Mutex // guards Summary
	Summary
}

func (x *reading) problem(kind ProblemKind, key, format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ProblemCount++; len(x.Problems) < maxProblems {
		x.Problems = append(x.Problems, Problem{kind, key, fmt.Sprintf(format, args...)})
	}
}

func (x *reading) hole(from, to time.Time, format string, args ...any) {
	if from.Before(to) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.Holes = append(x.Holes, Span{from, to, fmt.Sprintf(format, args...)})
	}
}

func (x *reading) group(ctx context.Context) (*errgroup.Group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cmp.Or(x.Concurrency, 16))
	return g, ctx
}

// listing is a listed file.
type listing struct {
	key      string
	modified time.Time
}

// list lists the folders of some days, in order.
func (x *reading) list(ctx context.Context, kind string, from, to time.Time) ([]listing, error) {
	folders := days(from, to)
	found := make([][]listing, len(folders))
	total := 0
	g, ctx := x.group(ctx)
	for i, day := range folders {
		g.Go(func() error {
			prefix := x.folder(kind) + day
			pages := s3.NewListObjectsV2Paginator(x.S3, &s3.ListObjectsV2Input{Bucket: &x.Location.Bucket, Prefix: &prefix})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return fmt.Errorf("listing s3://%s/%s: %w", x.Location.Bucket, prefix, err)
				}
				for _, o := range page.Contents {
					found[i] = append(found[i], listing{aws.ToString(o.Key), aws.ToTime(o.LastModified)})
				}
				x.mu.Lock()
				total += len(page.Contents)
				n := total
				x.mu.Unlock()
				if n > maxFiles {
					return fmt.Errorf("s3://%s/%s and the days around it have more than %d files: search a shorter time", x.Location.Bucket, prefix, maxFiles)
				}
			}
			return nil
		})
	}
	err := g.Wait()
	return slices.Concat(found...), err
}

// digests validates the digest files that cover the time, notes what they do not
// cover, and returns those that the log files can be compared with.
func (x *reading) digests(ctx context.Context) ([]*digest, error) {
	listed, err := x.list(ctx, digestFolder, x.from.Add(-digestPeriod-digestDelay), times.Earlier(x.until.Add(digestPeriod+digestDelay), x.now))
	if err != nil {
		return nil, err
	}
	names, newest := x.ofTrail(listed)
	if len(names) == 0 {
		x.noDigests()
		return nil, nil
	}
	keys, err := loadKeys(ctx, x.PublicKeys, x.from.Add(-2*lateEvents), x.now)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var chain, backfill []*digest
	bad := map[string]bool{}
	files := 0
	g, gctx := x.group(ctx)
	for _, name := range names {
		g.Go(func() error {
			d, err := x.loadDigest(gctx, keys, name)
			mu.Lock()
			defer mu.Unlock()
			var wrong invalidError
			switch {
			case errors.Is(err, errMissing), errors.As(err, &wrong):
				bad[name] = true
				x.problem(DigestInvalid, name, "%v", err)
				return nil
			case err != nil:
				return fmt.Errorf("reading s3://%s/%s: %w", x.Location.Bucket, name, err)
			}
			if files += len(d.LogFiles); files > maxFiles {
				return fmt.Errorf("the digest files list more than %d log files: search a shorter time", maxFiles)
			}
			if d.backfill {
				backfill = append(backfill, d)
			} else {
				chain = append(chain, d)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(chain, func(a, b *digest) int { return cmp.Or(a.end.Compare(b.end), cmp.Compare(a.key, b.key)) })
	x.checkChain(chain, names, bad)
	x.checkNewest(chain, newest)
	trusted := slices.DeleteFunc(chain, func(d *digest) bool { return d.disowned })
	x.Digests = len(trusted) + len(backfill)
	return append(trusted, backfill...), nil
}

// ofTrail returns the digest files of the trail, and when the newest of them was
// written.
func (x *reading) ofTrail(listed []listing) (names []string, newest time.Time) {
	others := map[string]int{}
	for _, o := range listed {
		m := digestName.FindStringSubmatch(path.Base(o.key))
		switch {
		case m == nil:
			x.problem(DigestInvalid, o.key, "its name is not that of a digest file")
		case m[1] != x.Account || m[2] != x.Region || m[3] != x.Trail || m[4] != x.HomeRegion:
			who := fmt.Sprintf("of the trail %s of %s, account %s", m[3], m[4], m[1])
			if others[who]++; others[who] == 1 {
				x.problem(OtherTrail, o.key, "it is %s: its log files cannot be told from those of %s", who, x.Trail)
			}
		default:
			names = append(names, o.key)
			newest = times.Later(newest, o.modified)
		}
	}
	return names, newest
}

// noDigests notes that there is no digest file at all.
func (x *reading) noDigests() {
	x.hole(x.from, x.until.Add(usualDelivery), "the trail has no digest file for the time")
	if began := x.LoggingSince; !began.IsZero() && began.After(x.now.Add(-digestPeriod-digestDelay)) {
		x.problem(ChainStart, x.folder(digestFolder), "the trail began to log at %s, and its first digest file is not due yet", stamp(began))
		return
	}
	x.problem(DigestMissing, x.folder(digestFolder), "no digest file of the trail %s for the time from %s to %s", x.Trail, stamp(x.from), stamp(x.to))
}

// checkChain checks that each digest file names the one before it, and notes the
// time that no unbroken chain covers.
func (x *reading) checkChain(chain []*digest, names []string, bad map[string]bool) {
	if len(chain) == 0 {
		x.hole(x.from, x.until.Add(usualDelivery), "the trail has no valid digest file for the time")
		return
	}
	for i, d := range chain {
		if i == 0 {
			x.checkFirst(d, bad)
			continue
		}
		before := chain[i-1]
		switch named := aws.ToString(d.PreviousDigestS3Object); {
		case d.PreviousDigestS3Object == nil:
			x.problem(DigestGap, d.key, "it begins a new chain: logging or log file validation was off between %s and %s", stamp(before.end), stamp(d.start))
		case aws.ToString(d.PreviousDigestS3Bucket) != x.Location.Bucket:
			x.problem(DigestGap, d.key, "the digest file before it is in another bucket: s3://%s/%s", aws.ToString(d.PreviousDigestS3Bucket), named)
		case !strings.HasPrefix(named, x.folder(digestFolder)):
			x.problem(DigestGap, d.key, "the digest file before it is in another folder: %s", named)
		case named == before.key && (aws.ToString(d.PreviousDigestHashValue) != before.hash || *d.PreviousDigestSignature != before.signature):
			x.problem(DigestInvalid, before.key, "it is not the file that the next digest file names: its hash or signature differs (%s)", d.key)
			before.disowned = true
		case named == before.key && !d.start.Equal(before.end):
			x.problem(DigestGap, d.key, "no digest file covers the time from %s to %s", stamp(before.end), stamp(d.start))
		case named == before.key:
			continue
		case bad[named]: // is reported already
		case slices.Contains(names, named):
			x.problem(DigestInvalid, before.key, "it is not part of the chain: %s names %s as the digest file before it", d.key, named)
			before.disowned = true
		default:
			x.problem(DigestMissing, named, "the next digest file names it (%s)", d.key)
		}
		from := before.end
		if before.disowned {
			from = before.start
		}
		x.hole(times.Earlier(from, d.start), times.Later(d.start, before.end), "no unbroken chain of digest files covers the time from %s to %s", stamp(from), stamp(d.start))
	}
	last := chain[len(chain)-1]
	x.From, x.To = chain[0].start, last.end
}

// checkFirst checks the oldest digest file. The time before it matters if it is
// searched.
func (x *reading) checkFirst(d *digest, bad map[string]bool) {
	if !d.start.After(x.from) {
		return
	}
	named := aws.ToString(d.PreviousDigestS3Object)
	switch {
	case d.PreviousDigestS3Object == nil:
		x.problem(ChainStart, d.key, "it is the first of its chain, and begins at %s: nothing vouches for the time from %s until then", stamp(d.start), stamp(x.from))
	case aws.ToString(d.PreviousDigestS3Bucket) != x.Location.Bucket:
		x.problem(DigestGap, d.key, "the digest file before it is in another bucket: s3://%s/%s", aws.ToString(d.PreviousDigestS3Bucket), named)
	case !strings.HasPrefix(named, x.folder(digestFolder)): // UpdateTrail has changed the prefix
		x.problem(DigestGap, d.key, "the digest file before it is in another folder: %s", named)
	case !bad[named]:
		x.problem(DigestMissing, named, "the next digest file names it (%s)", d.key)
	}
	x.hole(times.Earlier(x.from, d.start), d.start, "no digest file covers the time from %s to %s", stamp(x.from), stamp(d.start))
}

// checkNewest checks that the newest digest file is there: no other one names it.
func (x *reading) checkNewest(chain []*digest, newest time.Time) {
	due := times.Earlier(x.to, x.now.Add(-digestPeriod-digestDelay))
	if stopped := x.StoppedAt; !stopped.IsZero() && stopped.Before(x.to) {
		x.problem(DigestGap, x.folder(digestFolder), "the trail has not logged since %s, when it was stopped", stamp(stopped))
		due = times.Earlier(due, stopped)
	}
	if x.LastDigest.After(newest.Add(digestClock)) && !x.until.Before(x.LastDigest) {
		x.problem(DigestMissing, x.folder(digestFolder), "GetTrailStatus states that a digest file was delivered at %s, and the newest one is of %s", stamp(x.LastDigest), stamp(newest))
	} else if len(chain) > 0 && chain[len(chain)-1].end.Before(due) {
		x.problem(DigestMissing, x.folder(digestFolder), "the newest digest file (%s) covers the time until %s, and there must be one until %s", path.Base(chain[len(chain)-1].key), stamp(chain[len(chain)-1].end), stamp(due))
	}
	if len(chain) > 0 {
		end := chain[len(chain)-1].end
		x.hole(end.Add(-usualDelivery), times.Later(x.until, x.now), "no digest file covers the time after %s yet: CloudTrail delivers one every hour", stamp(end))
	}
}

// covered reports whether an unbroken chain of digest files covers all of a time
// at which files were delivered.
func (x *reading) covered(from, to time.Time) bool {
	if x.From.IsZero() || from.Before(x.From) || to.After(x.To) {
		return false
	}
	for _, h := range x.Holes {
		if h.From.Before(to) && from.Before(h.To) && !h.To.After(x.To) {
			return false
		}
	}
	return true
}

// isLogOf reports whether a name is that of a log file of the account and Region,
// and returns the time in it.
func (x *reading) isLogOf(key string) (time.Time, bool) {
	m := logName.FindStringSubmatch(path.Base(key))
	if m == nil || m[1] != x.Account || m[2] != x.Region {
		return time.Time{}, false
	}
	at, err := time.Parse("20060102T1504Z", m[3])
	return at, err == nil && strings.HasSuffix(path.Dir(key), at.Format("2006/01/02"))
}
