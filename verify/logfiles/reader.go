package logfiles

import (
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"
)

const (
	// digestPeriod is the time that a digest covers.
	// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-intro.html
	digestPeriod = time.Hour
	// deliverySlack is how late a log file or a digest may be. AWS gives no
	// limit; log files take about five minutes on average.
	deliverySlack = time.Hour
	// keySlack is how far outside the time of interest public keys are fetched:
	// a digest is signed after the hour that it covers.
	keySlack = 48 * time.Hour
)

// Read validates the files for the time from from to to, and calls f with each
// event in the log files that keep accepts: it is called with the raw record,
// from several goroutines, and has to be fast. f is called by one goroutine at a
// time, in no particular order, and only for files that are not changed.
//
// An error means that the files could not be examined; what is wrong with the
// files themselves is in the summary's Problems.
func (r *Reader) Read(ctx context.Context, from, to time.Time, keep func(record []byte) bool, f func(Event) error) (Summary, error) {
	now := time.Now
	if r.Now != nil {
		now = r.Now
	}
	to = earlier(to, now())
	if !from.Before(to) {
		return Summary{}, fmt.Errorf("the time from %s to %s is empty", from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	x := &reading{Reader: r, ctx: ctx, from: from, to: to, now: now(), keep: keep, emit: f}
	chain, err := x.digests()
	if err != nil {
		return x.Summary, err
	}
	err = x.logs(chain)
	slices.SortFunc(x.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key))
	})
	return x.Summary, err
}

// reading is one call of Read.
type reading struct {
	*Reader
	ctx      context.Context
	from, to time.Time
	now      time.Time
	keep     func([]byte) bool

	mu   sync.Mutex // of what follows
	emit func(Event) error
	Summary
}

func (x *reading) problem(kind ProblemKind, bucket, key, format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.Problems = append(x.Problems, Problem{kind, bucket, key, fmt.Sprintf(format, args...)})
}

func (x *reading) group() (*errgroup.Group, context.Context) {
	g, ctx := errgroup.WithContext(x.ctx)
	g.SetLimit(cmp.Or(x.Concurrency, 16))
	return g, ctx
}

// list returns the keys of some days' folders, in order.
func (x *reading) list(kind string, from, to time.Time) ([]string, error) {
	folders := days(from, to)
	keys := make([][]string, len(folders))
	g, ctx := x.group()
	for i, day := range folders {
		g.Go(func() error {
			prefix := x.folder(kind, day)
			pages := s3.NewListObjectsV2Paginator(x.S3, &s3.ListObjectsV2Input{Bucket: &x.Location.Bucket, Prefix: &prefix})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return fmt.Errorf("listing s3://%s/%s: %w", x.Location.Bucket, prefix, err)
				}
				for _, o := range page.Contents {
					keys[i] = append(keys[i], *o.Key)
				}
			}
			return nil
		})
	}
	err := g.Wait()
	return slices.Concat(keys...), err
}

// digests validates the digests that cover the time of interest and returns
// them, oldest first.
func (x *reading) digests() ([]*digest, error) {
	// The digest of an hour is delivered after it, so that the one that covers
	// the end may be in the next day's folder.
	listed, err := x.list(digestFolder, x.from.Add(-digestPeriod), earlier(x.to.Add(digestPeriod+deliverySlack), x.now))
	if err != nil {
		return nil, err
	}
	names, err := x.ofTrail(listed)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	keys, err := loadKeys(x.ctx, x.PublicKeys, x.from.Add(-keySlack), earlier(x.to.Add(keySlack), x.now))
	if err != nil {
		return nil, err
	}
	var chain, late []*digest
	var mu sync.Mutex
	g, ctx := x.group()
	for _, name := range names {
		g.Go(func() error {
			d, err := x.loadDigest(ctx, keys, x.Location.Bucket, name)
			if err != nil {
				return x.note(DigestInvalid, name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if strings.HasSuffix(name, "_backfill.json.gz") {
				late = append(late, d)
			} else {
				chain = append(chain, d)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(chain, func(a, b *digest) int { return a.DigestEndTime.Compare(b.DigestEndTime) })
	x.Digests = len(chain) + len(late)
	x.checkChain(chain, names)
	return append(chain, late...), nil
}

// note records what is wrong with a file; it returns err itself where the
// file could not be examined.
func (x *reading) note(kind ProblemKind, key string, err error) error {
	var wrong invalidError
	switch {
	case errors.Is(err, errMissing):
		x.problem(map[bool]ProblemKind{true: DigestMissing, false: LogMissing}[kind == DigestInvalid], x.Location.Bucket, key, "%v", err)
	case errors.As(err, &wrong):
		x.problem(kind, x.Location.Bucket, key, "%v", err)
	default:
		return fmt.Errorf("reading s3://%s/%s: %w", x.Location.Bucket, key, err)
	}
	return nil
}

// ofTrail chooses the digests of the trail.
func (x *reading) ofTrail(listed []string) ([]string, error) {
	var names, trails []string
	for _, key := range listed {
		m := digestName.FindStringSubmatch(path.Base(key))
		if m == nil || m[1] != x.Account || m[2] != x.Region {
			continue
		}
		if x.Reader.Trail != "" && m[3] != x.Reader.Trail {
			continue
		}
		if !slices.Contains(trails, m[3]+" of "+m[4]) {
			trails = append(trails, m[3]+" of "+m[4])
		}
		x.Summary.Trail, x.HomeRegion = m[3], m[4]
		names = append(names, key)
	}
	if len(trails) > 1 {
		return nil, fmt.Errorf("s3://%s has digests of several trails (%s): name one", path.Join(x.Location.Bucket, x.Location.Prefix), strings.Join(trails, ", "))
	}
	return names, nil
}

// checkChain checks that each digest names the one before it, and sets what the
// chain covers. The newest part that is unbroken counts.
func (x *reading) checkChain(chain []*digest, names []string) {
	if len(chain) == 0 {
		return
	}
	start := 0
	for i, d := range chain {
		if i == 0 {
			x.checkFirst(d, names)
			continue
		}
		before := chain[i-1]
		switch {
		case d.PreviousDigestS3Object == nil:
			x.problem(DigestGap, x.Location.Bucket, d.key, "it begins a new chain: logging or log file validation was off from %s to %s", before.endTime, d.DigestStartTime.Format(time.RFC3339))
		case *d.PreviousDigestS3Object != before.key:
			kind, text := DigestMissing, "the digest after it names it as the one before"
			if slices.Contains(names, *d.PreviousDigestS3Object) {
				kind, text = DigestInvalid, "it is not the digest that was delivered"
			}
			if kind == DigestMissing {
				x.problem(kind, x.Location.Bucket, *d.PreviousDigestS3Object, "%s (%s)", text, d.key)
			}
		case deref(d.PreviousDigestHashValue) != before.hash || deref(d.PreviousDigestSignature) != before.signature:
			x.problem(DigestInvalid, x.Location.Bucket, before.key, "its hash or signature is not the one in the digest after it (%s)", d.key)
		case !d.DigestStartTime.Equal(before.DigestEndTime):
			x.problem(DigestGap, x.Location.Bucket, d.key, "no digest covers the time from %s to %s", before.endTime, d.DigestStartTime.Format(time.RFC3339))
		default:
			continue
		}
		start = i
	}
	last := chain[len(chain)-1]
	x.CoveredFrom, x.CoveredTo = chain[start].DigestStartTime, last.DigestEndTime
	if due := earlier(x.to, x.now.Add(-digestPeriod-deliverySlack)); last.DigestEndTime.Before(due) {
		x.problem(DigestsPending, x.Location.Bucket, last.key, "it is the newest digest and covers the time until %s; digests until %s must exist", last.endTime, due.UTC().Format(time.RFC3339))
	}
}

// checkFirst checks the oldest digest that was read: what is before it matters
// if the time of interest begins earlier.
func (x *reading) checkFirst(d *digest, names []string) {
	if !d.DigestStartTime.After(x.from) {
		return
	}
	if d.PreviousDigestS3Object == nil {
		x.problem(DigestGap, x.Location.Bucket, d.key, "it is the first of its chain: no digest covers the time from %s to %s", x.from.UTC().Format(time.RFC3339), d.DigestStartTime.Format(time.RFC3339))
	} else if !slices.Contains(names, *d.PreviousDigestS3Object) {
		x.problem(DigestMissing, x.Location.Bucket, *d.PreviousDigestS3Object, "the digest after it names it as the one before (%s)", d.key)
	}
}

// logs reads the log files of the time of interest.
func (x *reading) logs(chain []*digest) error {
	listed := map[string]bool{}
	var read []logFile
	for _, d := range chain {
		for _, l := range d.LogFiles {
			listed[l.S3Object] = true
			switch {
			case l.S3Bucket != x.Location.Bucket || l.HashAlgorithm != "SHA-256":
				x.problem(LogUnreadable, l.S3Bucket, l.S3Object, "the digest %s lists it in another bucket or with another hash algorithm (%s)", d.key, l.HashAlgorithm)
			case !l.NewestEventTime.Before(x.from) && !l.OldestEventTime.After(x.to):
				read = append(read, l)
			}
		}
	}
	keys, err := x.list(logFolder, x.from, earlier(x.to.Add(deliverySlack), x.now))
	if err != nil {
		return err
	}
	for _, key := range keys {
		if listed[key] {
			continue
		}
		m := logName.FindStringSubmatch(path.Base(key))
		if m == nil || m[1] != x.Account || m[2] != x.Region {
			x.problem(LogUnlisted, x.Location.Bucket, key, "no digest lists it, and its name is not a log file's")
			continue
		}
		at, err := time.Parse("20060102T1504Z", m[3])
		if err != nil || !x.CoveredTo.IsZero() && !at.Before(x.CoveredFrom) && at.Before(x.CoveredTo.Add(-deliverySlack)) {
			x.problem(LogUnlisted, x.Location.Bucket, key, "the digests cover its time and none lists it: CloudTrail did not deliver it")
			continue
		}
		read = append(read, logFile{S3Bucket: x.Location.Bucket, S3Object: key})
		x.Unvalidated++
	}
	g, ctx := x.group()
	for _, l := range read {
		g.Go(func() error {
			if err := x.log(ctx, l); err != nil {
				return x.note(LogModified, l.S3Object, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// log reads a log file; its events count once its hash is known to be right.
func (x *reading) log(ctx context.Context, l logFile) error {
	out, err := x.open(ctx, l.S3Bucket, l.S3Object)
	if err != nil {
		return err
	}
	defer func() { _ = out.Body.Close() }() // read only
	counted := &countedReader{sum: sha256.New()}
	counted.in, err = gzip.NewReader(out.Body)
	if err != nil {
		return invalid("it is not a gzip file: %v", err)
	}
	var kept [][]byte
	n := 0
	err = splitRecords(counted, func(record []byte) error {
		n++
		if x.keep(record) {
			kept = append(kept, slices.Clone(record))
		}
		return nil
	})
	if err != nil {
		return invalid("it is not a log file: %v", err)
	}
	validated := l.HashValue != ""
	if validated && hex.EncodeToString(counted.sum.Sum(nil)) != l.HashValue {
		return invalid("its content is not what CloudTrail delivered: the hash differs from the digest's")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.Files++
	x.Events += n
	x.Bytes += counted.n
	for _, record := range kept {
		if err := x.emit(Event{Raw: record, File: l.S3Object, Validated: validated}); err != nil {
			return err
		}
	}
	return nil
}

// countedReader hashes and counts what is read.
type countedReader struct {
	in  io.Reader
	sum hash.Hash
	n   int64
}

func (c *countedReader) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.n += int64(n)
	_, _ = c.sum.Write(b[:n]) // a hash never fails
	return n, err
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
