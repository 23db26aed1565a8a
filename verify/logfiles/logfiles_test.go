package logfiles_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/verify/logfiles"
	"github.com/securethecloud/kms-baseline/verify/logfiles/logfilestest"
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// newTrail is a trail of some hours, each with a log file of one record.
func newTrail(hours int) *logfilestest.Trail {
	t := logfilestest.New("logs", "111122223333", "us-east-1", "audit", start)
	for h := range hours {
		at := start.Add(time.Duration(h) * time.Hour)
		t.AddLog(at.Add(30*time.Minute), logfilestest.Content(fmt.Appendf(nil, `{"hour":%d}`, h)))
		t.AddDigest(at.Add(time.Hour))
	}
	return t
}

func readerOf(t *logfilestest.Trail, now time.Time) *logfiles.Reader {
	return &logfiles.Reader{S3: t, PublicKeys: t, Location: logfiles.Location{Bucket: t.Bucket}, Trail: t.Name, HomeRegion: t.Region,
		Account: t.Account, Region: t.Region, Now: func() time.Time { return now }}
}

// read reads all records of a time.
func read(t *testing.T, r *logfiles.Reader, from, to time.Time) (*logfiles.Summary, []string) {
	t.Helper()
	var records []string
	s, err := logfiles.Read(t.Context(), r, from, to, func(b []byte) (string, bool) { return string(b), true }, func(rec string, f logfiles.File) {
		if f.Unproven != "" {
			rec += " " + f.Unproven
		}
		records = append(records, rec)
	})
	require.NoError(t, err)
	return s, records
}

func kinds(s *logfiles.Summary) []logfiles.ProblemKind {
	var all []logfiles.ProblemKind
	for _, p := range s.Problems {
		all = append(all, p.Kind)
	}
	return all
}

func TestRead_OnlyTheTimeAsked(t *testing.T) {
	t.Parallel()
	trail := newTrail(48)
	s, records := read(t, readerOf(trail, start.Add(49*time.Hour)), start.Add(10*time.Hour), start.Add(12*time.Hour))
	require.ElementsMatch(t, []string{`{"hour":10}`, `{"hour":11}`}, records)
	require.Empty(t, s.Problems)
	require.Empty(t, s.Uncovered(start.Add(10*time.Hour), start.Add(12*time.Hour)))
	require.Zero(t, s.Undigested)
}

func TestRead_NewestHourIsUnproven(t *testing.T) {
	t.Parallel()
	trail := newTrail(3)
	trail.AddLog(start.Add(3*time.Hour+20*time.Minute), logfilestest.Content([]byte(`{"hour":3}`)))
	now := start.Add(3*time.Hour + 40*time.Minute)
	s, records := read(t, readerOf(trail, now), start.Add(time.Hour), now)
	require.Empty(t, s.Problems)
	require.Equal(t, 1, s.Undigested)
	require.Contains(t, records, `{"hour":3} in a log file that no digest file lists yet`)
	require.Empty(t, s.Uncovered(start.Add(time.Hour), start.Add(2*time.Hour)))
	require.Contains(t, s.Uncovered(start.Add(3*time.Hour), now), "no digest file covers the time after 2026-03-01T03:00:00Z yet")
}

func TestRead_ChainBeginsLater(t *testing.T) {
	t.Parallel()
	now := start.Add(6 * time.Hour)
	s, records := read(t, readerOf(newTrail(6), now), start.Add(-24*time.Hour), now)
	require.Len(t, records, 6)
	require.Equal(t, []logfiles.ProblemKind{logfiles.ChainStart}, kinds(s))
	require.False(t, logfiles.ChainStart.Tampering())
	require.NotEmpty(t, s.Uncovered(start.Add(-time.Hour), start.Add(-time.Minute)))
	require.Empty(t, s.Uncovered(start.Add(time.Hour), start.Add(2*time.Hour)))
}

func TestRead_NoDigestIsDueYet(t *testing.T) {
	t.Parallel()
	trail := newTrail(0)
	trail.AddLog(start.Add(10*time.Minute), logfilestest.Content([]byte(`{}`)))
	now := start.Add(20 * time.Minute)
	r := readerOf(trail, now)
	s, _ := read(t, r, start.Add(-time.Hour), now)
	require.Equal(t, []logfiles.ProblemKind{logfiles.DigestMissing}, kinds(s), "nothing says that the trail is new")
	r.LoggingSince = start
	s, records := read(t, r, start.Add(-time.Hour), now)
	require.Equal(t, []logfiles.ProblemKind{logfiles.ChainStart}, kinds(s))
	require.Equal(t, []string{"{} in a log file that no digest file lists yet"}, records)
}

// StopLogging and StartLogging leave two chains.
func TestRead_GapInTheChain(t *testing.T) {
	t.Parallel()
	trail := newTrail(3)
	trail.Restart(start.Add(5 * time.Hour))
	for h := 6; h <= 8; h++ {
		trail.AddDigest(start.Add(time.Duration(h) * time.Hour))
	}
	now := start.Add(8 * time.Hour)
	s, _ := read(t, readerOf(trail, now), start.Add(time.Hour), now)
	require.Equal(t, []logfiles.ProblemKind{logfiles.DigestGap}, kinds(s))
	require.Contains(t, s.Problems[0].Detail, "was off between 2026-03-01T03:00:00Z and 2026-03-01T05:00:00Z")
	require.NotEmpty(t, s.Uncovered(start.Add(4*time.Hour), start.Add(4*time.Hour+time.Minute)))
	require.Empty(t, s.Uncovered(start.Add(6*time.Hour), start.Add(7*time.Hour)))
}

// UpdateTrail changes where the trail delivers: the file before is not missing, and nothing
// of the time before is in the folder that is read.
func TestRead_TheChainBeginsInAnotherFolder(t *testing.T) {
	t.Parallel()
	trail := newTrail(3)
	trail.Prefix = "moved"
	for h := 4; h <= 6; h++ {
		trail.AddDigest(start.Add(time.Duration(h) * time.Hour))
	}
	now := start.Add(6 * time.Hour)
	r := readerOf(trail, now)
	r.Location.Prefix = "moved"
	s, _ := read(t, r, start.Add(time.Hour), now)
	require.Equal(t, []logfiles.ProblemKind{logfiles.DigestGap}, kinds(s))
	require.Contains(t, s.Problems[0].Detail, "is in another folder: AWSLogs/111122223333/CloudTrail-Digest/us-east-1/")
	require.NotEmpty(t, s.Uncovered(start.Add(2*time.Hour), start.Add(2*time.Hour+time.Minute)))
	require.Empty(t, s.Uncovered(start.Add(4*time.Hour), start.Add(5*time.Hour)))

	// And back.
	trail.Prefix = ""
	trail.AddDigest(start.Add(7 * time.Hour))
	r = readerOf(trail, start.Add(7*time.Hour))
	s, _ = read(t, r, start.Add(time.Hour), start.Add(7*time.Hour))
	require.Equal(t, []logfiles.ProblemKind{logfiles.DigestGap}, kinds(s))
	require.Contains(t, s.Problems[0].Detail, "is in another folder: moved/AWSLogs/")
	require.NotEmpty(t, s.Uncovered(start.Add(4*time.Hour), start.Add(5*time.Hour)))
}

func TestRead_StoppedTrail(t *testing.T) {
	t.Parallel()
	now := start.Add(9 * time.Hour)
	r := readerOf(newTrail(3), now)
	s, _ := read(t, r, start, now)
	require.Equal(t, []logfiles.ProblemKind{logfiles.DigestMissing}, kinds(s))
	require.Contains(t, s.Problems[0].Detail, "there must be one until 2026-03-01T07:00:00Z")
	r.StoppedAt = start.Add(3 * time.Hour)
	s, _ = read(t, r, start, now)
	require.Equal(t, []logfiles.ProblemKind{logfiles.DigestGap}, kinds(s))
	require.Contains(t, s.Problems[0].Detail, "has not logged since 2026-03-01T03:00:00Z")
	require.True(t, s.Problems[0].Kind.Tampering())
}

// Hostile files end in an error that names the limit, in little memory.
func TestRead_Limits(t *testing.T) {
	t.Parallel()
	bomb := func(prefix string, n int) []byte {
		var b bytes.Buffer
		zip, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		require.NoError(t, err)
		_, err = io.WriteString(zip, prefix)
		require.NoError(t, err)
		block := bytes.Repeat([]byte("["), 1<<20)
		for range n {
			_, err = zip.Write(block)
			require.NoError(t, err)
		}
		require.NoError(t, zip.Close())
		return b.Bytes()
	}
	for name, tt := range map[string]struct {
		file    string // which: of "CloudTrail/" or "CloudTrail-Digest/"
		body    []byte
		because string
	}{
		"a record that is too large": {"CloudTrail/", bomb(`{"Records":[{"a":`, 6), "its hash is not the one"},
		"a bomb among the log files": {"CloudTrail/", bomb(`{"Records":[{"a":`, 1100), "it has more than 1024 MB"},
		"a bomb as a digest file":    {"CloudTrail-Digest/", bomb(`{"a":`, 70), "it has more than 64 MB"},
		"deep nesting in a digest":   {"CloudTrail-Digest/", bomb(`{"a":`, 1), "it is not a digest file"},
		"an empty file":              {"CloudTrail/", nil, "it is not a complete gzip file"},
		"a file that is cut off":     {"CloudTrail/", logfilestest.Compress(bytes.Repeat([]byte("x"), 5000))[:30], "it is not a complete gzip file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trail := newTrail(4)
			key := trail.List("AWSLogs/111122223333/" + tt.file)[1]
			o := trail.Objects[key]
			o.Body = tt.body
			trail.Objects[key] = o
			now := start.Add(4 * time.Hour)
			s, _ := read(t, readerOf(trail, now), start.Add(time.Minute), now)
			require.NotEmpty(t, s.Problems)
			require.Equal(t, key, s.Problems[0].Key)
			require.Contains(t, s.Problems[0].Detail, tt.because)
			require.True(t, s.Problems[0].Kind.Tampering())
		})
	}
}

// Content that CloudTrail signed and that is no log file is not evidence either.
func TestRead_SignedGarbage(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"no object":             `[]`,
		"another field":         `{"Other":[]}`,
		"a record that is text": `{"Records":["x"]}`,
		"two records, no comma": `{"Records":[{}{}]}`,
		"no end":                `{"Records":[{}`,
		"an open string":        `{"Records":[{"a":"`,
		"more after the end":    `{"Records":[]} x`,
		"nothing":               ``,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trail := newTrail(1)
			key := trail.AddLog(start.Add(90*time.Minute), []byte(content))
			trail.AddDigest(start.Add(2 * time.Hour))
			now := start.Add(2 * time.Hour)
			s, _ := read(t, readerOf(trail, now), start, now)
			require.Len(t, s.Problems, 1)
			require.Equal(t, key, s.Problems[0].Key)
			require.NotEmpty(t, s.Uncovered(start.Add(89*time.Minute), start.Add(90*time.Minute)))
		})
	}
}

func TestRead_SplitsRecords(t *testing.T) {
	t.Parallel()
	trail := newTrail(0)
	want := []string{`{}`, `{"a":"}\"]\\"}`, `{"b":[{"c":{}},"\\\""]}`, `{"long":"` + strings.Repeat("x", 700_000) + `"}`}
	trail.AddLog(start.Add(30*time.Minute), []byte(" { \"Records\" :\n[ "+strings.Join(want, " ,\t")+" ] } \n"))
	trail.AddLog(start.Add(31*time.Minute), []byte(`{"Records":[]}`))
	trail.AddDigest(start.Add(time.Hour))
	s, records := read(t, readerOf(trail, start.Add(time.Hour)), start, start.Add(time.Hour))
	require.Empty(t, s.Problems)
	require.Equal(t, want, records)
}

// flaky breaks off the first transfers of each file.
type flaky struct {
	*logfilestest.Trail
	breaks int
	seen   map[string]int
}

type broken struct{ io.Reader }

var errReset = errors.New("connection reset by peer")

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = errReset
	}
	return n, err
}

func (f *flaky) GetObject(ctx context.Context, in *s3.GetObjectInput, o ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	out, err := f.Trail.GetObject(ctx, in, o...)
	if f.seen[*in.Key]++; err == nil && f.seen[*in.Key] <= f.breaks {
		out.Body = io.NopCloser(broken{io.LimitReader(out.Body, 20)})
	}
	return out, err
}

// A connection that breaks off is tried again, and is no finding about the file.
func TestRead_BrokenTransfers(t *testing.T) {
	t.Parallel()
	now := start.Add(2 * time.Hour)
	trail := newTrail(2)
	r := readerOf(trail, now)
	r.Concurrency = 1
	r.S3 = &flaky{trail, 2, map[string]int{}}
	s, records := read(t, r, start, now)
	require.Empty(t, s.Problems)
	require.Len(t, records, 2)

	r.S3 = &flaky{trail, 3, map[string]int{}}
	_, err := logfiles.Read(t.Context(), r, start, now, func([]byte) (int, bool) { return 0, false }, func(int, logfiles.File) {})
	require.ErrorIs(t, err, errReset)
}

func TestParseLocation(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]logfiles.Location{
		"s3://logs":           {Bucket: "logs"},
		"s3://logs/":          {Bucket: "logs"},
		"s3://logs/a/b/":      {Bucket: "logs", Prefix: "a/b"},
		"s3://logs/myAWSLogs": {Bucket: "logs", Prefix: "myAWSLogs"},
	} {
		got, err := logfiles.ParseLocation(uri)
		require.NoError(t, err, uri)
		require.Equal(t, want, got)
	}
	for _, uri := range []string{"", "logs", "s3://", "s3:///x", "s3://b/AWSLogs", "s3://b/p/AWSLogs/1/", "https://b/x", "s3://-b", "s3://a b"} {
		_, err := logfiles.ParseLocation(uri)
		require.Error(t, err, uri)
	}
}

// BenchmarkRead is 100,000 records without one that matters.
func BenchmarkRead(b *testing.B) {
	const files, each = 20, 5000
	trail := logfilestest.New("logs", "111122223333", "us-east-1", "audit", start)
	for f := range files {
		var records [][]byte
		for range each {
			records = append(records, logfilestest.Record(start, trail.Account, trail.Region, "arn:aws:kms:us-east-1:111122223333:key/0", "arn:aws:s3:::b/o", "R"))
		}
		trail.AddLog(start.Add(time.Duration(f)*time.Minute), logfilestest.Content(records...))
	}
	trail.AddDigest(start.Add(time.Hour))
	r := readerOf(trail, start.Add(time.Hour))
	needle := []byte(":key/1")
	for b.Loop() {
		s, err := logfiles.Read(b.Context(), r, start, start.Add(time.Hour), func(rec []byte) (int, bool) { return 0, bytes.Contains(rec, needle) }, func(int, logfiles.File) {})
		if err != nil || s.Records != files*each || len(s.Problems) > 0 {
			b.Fatal(err, s)
		}
	}
	b.ReportMetric(files*each*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
