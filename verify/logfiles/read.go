package logfiles

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/securethecloud/kms-baseline/verify/internal/times"
)

// Read validates the files for a time, and reads the log files that have events of
// it. decode is called with each record, by several goroutines: it decides fast
// whether the record matters, and must not keep it. emit is called with what decode
// accepted, by one goroutine at a time, in no particular order, and never for a
// file that was altered.
//
// An error means that the files could not be examined. What is wrong with the files
// themselves is in the summary.
func Read[T any](ctx context.Context, r *Reader, from, to time.Time, decode func(record []byte) (T, bool), emit func(T, File)) (*Summary, error) {
	now := time.Now
	if r.Now != nil {
		now = r.Now
	}
	x := &reading{Reader: r, from: from.UTC(), now: now().UTC()}
	x.to = times.Earlier(to.UTC(), x.now)
	x.until = times.Earlier(x.to.Add(lateEvents), x.now)
	if !x.from.Before(x.to) {
		return nil, fmt.Errorf("the time from %s to %s is empty or has not come yet", stamp(from), stamp(to))
	}
	digests, err := x.digests(ctx)
	if err != nil {
		return nil, err
	}
	files, err := x.choose(ctx, digests)
	if err != nil {
		return nil, err
	}
	var held atomic.Int64
	g, gctx := x.group(ctx)
	for _, f := range files {
		g.Go(func() error { return readFile(gctx, x, f, &held, decode, emit) })
	}
	err = g.Wait()
	slices.SortFunc(x.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key))
	})
	return &x.Summary, err
}

// selected is a log file to read.
type selected struct {
	logFile
	unproven string
}

// choose returns the log files to read: those that digest files list, and those
// that none lists yet, unless [Reader.Only] leaves them out.
func (x *reading) choose(ctx context.Context, digests []*digest) ([]selected, error) {
	listed := map[string]bool{}
	var files []selected
	add := func(f selected) {
		if x.Only == nil || x.Only(f.S3Object, f.OldestEventTime, f.NewestEventTime) {
			files = append(files, f)
		}
	}
	for _, d := range digests {
		for _, l := range d.LogFiles {
			if listed[l.S3Object] {
				continue
			}
			listed[l.S3Object] = true
			switch {
			case l.S3Bucket != x.Location.Bucket || l.HashAlgorithm != "SHA-256":
				x.problem(LogUnreadable, l.S3Object, "%s lists it in the bucket %s with the hash algorithm %s", d.key, l.S3Bucket, l.HashAlgorithm)
				x.hole(l.OldestEventTime, l.NewestEventTime.Add(time.Second), "the log file %s could not be validated", l.S3Object)
			case !l.NewestEventTime.Before(x.from) && !l.OldestEventTime.After(x.to):
				add(selected{logFile: l})
			}
		}
	}
	found, err := x.list(ctx, logFolder, x.from, times.Earlier(x.until.Add(nameSlack), x.now))
	if err != nil {
		return nil, err
	}
	for _, o := range found {
		if listed[o.key] {
			continue
		}
		at, ok := x.isLogOf(o.key)
		switch {
		case !ok:
			x.problem(LogUnlisted, o.key, "its name and folder are not those of a log file")
		case x.covered(at.Add(-nameSlack), at.Add(nameSlack)):
			x.problem(LogUnlisted, o.key, "digest files cover its time, and none lists it: CloudTrail did not deliver it")
		case at.Before(x.from.Add(-time.Minute)), at.After(x.until.Add(nameSlack)): // of the same days, and of another time
		case x.To.IsZero() || at.After(x.To.Add(-nameSlack)):
			add(selected{logFile{S3Object: o.key}, "in a log file that no digest file lists yet"})
		default:
			add(selected{logFile{S3Object: o.key}, "in a log file of a time that no digest file covers"})
		}
	}
	return files, nil
}

// readFile reads a log file. Its records count once its hash is known to be right.
func readFile[T any](ctx context.Context, x *reading, f selected, held *atomic.Int64, decode func([]byte) (T, bool), emit func(T, File)) error {
	var kept []T
	var mine int64
	defer func() { held.Add(-mine) }()
	records := 0
	size, err := x.scan(ctx, f.logFile, func() {
		held.Add(-mine)
		mine, kept, records = 0, nil, 0
	}, func(record []byte) error {
		records++
		v, ok := decode(record)
		if !ok {
			return nil
		}
		mine += int64(len(record))
		if held.Add(int64(len(record))) > maxHeld {
			return fmt.Errorf("the log files that are read at a time have more than %d MB of matching records: use a lower --concurrency", maxHeld>>20)
		}
		kept = append(kept, v)
		return nil
	})
	var wrong invalidError
	switch {
	case errors.Is(err, errMissing):
		x.problem(LogMissing, f.S3Object, "a digest file lists it, and it does not exist")
	case errors.As(err, &wrong) && f.unproven != "":
		x.problem(LogUnreadable, f.S3Object, "%v", err)
	case errors.As(err, &wrong):
		x.problem(LogModified, f.S3Object, "%v", err)
	case err != nil:
		return fmt.Errorf("reading s3://%s/%s: %w", x.Location.Bucket, f.S3Object, err)
	}
	if err != nil {
		x.hole(f.OldestEventTime, f.NewestEventTime.Add(time.Second), "the log file %s is missing or altered", f.S3Object)
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.Files++
	x.Records += records
	x.Bytes += size
	if f.unproven != "" {
		x.Undigested++
	}
	for _, v := range kept {
		emit(v, File{f.S3Object, f.unproven})
	}
	return nil
}

// scan calls use with each record of a log file, and checks the file's hash where
// it is known. It calls begin before, and again if the transfer broke off.
func (x *reading) scan(ctx context.Context, f logFile, begin func(), use func(record []byte) error) (size int64, err error) {
	err = x.withObject(ctx, f.S3Object, func(o *object) error {
		begin()
		content := &hashedReader{in: o, sum: sha256.New()}
		err := splitRecords(content, use)
		var format formatError
		if errors.As(err, &format) { // the hash says more about it than its format
			_, err = io.Copy(io.Discard, content)
		}
		size = content.n
		switch {
		case err != nil:
			return err
		case f.HashValue != "" && hex.EncodeToString(content.sum.Sum(nil)) != f.HashValue:
			return invalid("its content is not what CloudTrail delivered: its hash is not the one in the digest file")
		case format.reason != "":
			return invalid("it is not a log file: %s", format.reason)
		}
		return nil
	})
	return size, err
}

// hashedReader hashes and counts what is read.
type hashedReader struct {
	in  io.Reader
	sum hash.Hash
	n   int64
}

func (h *hashedReader) Read(b []byte) (int, error) {
	n, err := h.in.Read(b)
	_, _ = h.sum.Write(b[:n]) // a hash never fails
	if h.n += int64(n); h.n > maxLogFileSize {
		return n, invalid("it has more than %d MB", maxLogFileSize>>20)
	}
	return n, err
}
