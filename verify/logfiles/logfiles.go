// Package logfiles reads the log files that CloudTrail delivers to S3. It first
// validates them, as `aws cloudtrail validate-logs` does, and beyond it: it also
// finds a log file that no digest file lists, a removed newest digest file, and a
// trail without any. It reads files of any size in bounded memory. It does not
// know what the events are for.
//
// Source of the formats:
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
package logfiles

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// S3 is what a [Reader] calls of the bucket.
type S3 interface {
	s3.ListObjectsV2APIClient
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
}

// PublicKeys lists the keys that sign digest files. It must be a client of the
// trail's home Region.
type PublicKeys interface {
	ListPublicKeys(context.Context, *cloudtrail.ListPublicKeysInput, ...func(*cloudtrail.Options)) (*cloudtrail.ListPublicKeysOutput, error)
}

// Location is where a trail delivers its files.
type Location struct {
	Bucket string
	// Prefix is the trail's S3KeyPrefix: the part of the keys before AWSLogs/,
	// without a slash at its end. Empty for a trail without a prefix.
	Prefix string
}

var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$`)

// ParseLocation parses s3://BUCKET or s3://BUCKET/PREFIX.
func ParseLocation(uri string) (Location, error) {
	rest, ok := strings.CutPrefix(uri, "s3://")
	bucket, prefix, _ := strings.Cut(rest, "/")
	if !ok || !bucketName.MatchString(bucket) {
		return Location{}, fmt.Errorf("%q is not the location of a trail: use s3://BUCKET or s3://BUCKET/PREFIX", uri)
	}
	prefix = strings.Trim(prefix, "/")
	if before, _, inside := strings.Cut("/"+prefix+"/", "/AWSLogs/"); inside {
		return Location{}, fmt.Errorf("%q is below AWSLogs: use the location of the whole trail, %s", uri, Location{bucket, strings.Trim(before, "/")})
	}
	return Location{Bucket: bucket, Prefix: prefix}, nil
}

func (l Location) String() string { return "s3://" + path.Join(l.Bucket, l.Prefix) }

// Reader reads the files of one account and Region of a trail.
type Reader struct {
	S3         S3
	PublicKeys PublicKeys
	Location   Location
	// Trail is the trail's name, and HomeRegion its home Region. Digest files of
	// other trails are a [Problem].
	Trail, HomeRegion string
	Account           string // of the events: 12 digits
	Region            string // of the events
	// Organization is the ID of the organization (o-...) whose trail this is. The
	// default is a trail of one account.
	Organization string
	// LoggingSince is when the trail last began to log, and LastDigest when it last
	// delivered a digest file for the Region: both as GetTrailStatus returns them.
	// The zero time means unknown.
	LoggingSince, LastDigest time.Time
	// StoppedAt is when the trail stopped to log. The zero time means that it is
	// logging.
	StoppedAt time.Time
	// Only reports whether to read a log file that has events from oldest to newest;
	// both are zero for a file that no digest file lists. The hash of a file that is
	// not read is not compared. The default is to read all log files.
	Only func(key string, oldest, newest time.Time) bool
	// Concurrency is the number of files that are read at a time. The default is 16.
	Concurrency int
	// Now is the clock. The default is time.Now.
	Now func() time.Time
}

// File is a log file that records were read from.
type File struct {
	Key string
	// Unproven is why no digest file vouches for the log file. Empty means that one
	// does.
	Unproven string
}

// Problem is why files cannot be trusted, or not for all of the time.
type Problem struct {
	Kind   ProblemKind
	Key    string // of the file concerned, or of its folder
	Detail string
}

// ProblemKind is the kind of a [Problem].
type ProblemKind string

// The kinds of problems. After the first two nothing has been altered, as far as
// the files show, but a part of the time is not covered.
const (
	ChainStart     ProblemKind = "the chain of digest files begins later"
	OtherTrail     ProblemKind = "digest files of another trail"
	DigestInvalid  ProblemKind = "digest file invalid"
	DigestMissing  ProblemKind = "digest file missing"
	DigestGap      ProblemKind = "gap in the chain of digest files"
	LogModified    ProblemKind = "log file modified"
	LogMissing     ProblemKind = "log file missing"
	LogUnlisted    ProblemKind = "log file in no digest file"
	LogUnreadable  ProblemKind = "log file not readable"
	maxProblems                = 1000 // kept in a summary
	maxFiles                   = 500_000
	maxDigestSize              = 64 << 20
	maxLogFileSize             = 1 << 30
	maxHeld                    = 128 << 20 // of matching records in files that are not validated yet
)

// Tampering reports whether files were altered, removed or added, or whether the
// trail was interrupted.
func (k ProblemKind) Tampering() bool { return k != ChainStart && k != OtherTrail }

// Span is a time, and why the records of it may be incomplete.
type Span struct {
	From, To time.Time
	Why      string
}

// Summary is what one [Read] found.
type Summary struct {
	Digests    int   // validated digest files
	Files      int   // log files that were read
	Undigested int   // of them, those that no digest file vouches for
	Records    int   // in the log files
	Bytes      int64 // of the log files, uncompressed
	// From and To is the time that the first and the last valid digest cover. Both
	// are zero if there is none.
	From, To time.Time
	// Holes are the times that no unbroken chain of valid digests covers, and those
	// of log files that are missing or altered.
	Holes []Span
	// Problems are the findings, at most 1,000; ProblemCount is their number.
	Problems     []Problem
	ProblemCount int
}

// Uncovered is why the records of a time may be incomplete. Empty means that
// digest files vouch for all of it.
func (s *Summary) Uncovered(from, to time.Time) string {
	for _, h := range s.Holes {
		if h.From.Before(to) && from.Before(h.To) {
			return h.Why
		}
	}
	return ""
}

// Folders of a trail's bucket.
const (
	logFolder    = "CloudTrail"
	digestFolder = "CloudTrail-Digest"
)

// folder is where the Region's files are, with a slash at its end.
func (r *Reader) folder(kind string) string {
	return path.Join(r.Location.Prefix, "AWSLogs", r.Organization, r.Account, kind, r.Region) + "/"
}

// ACCOUNT_CloudTrail-Digest_REGION_TRAIL_HOMEREGION_END[_backfill].json.gz; of
// these only the trail's name can contain an underscore.
var digestName = regexp.MustCompile(`^(\d{12})_CloudTrail-Digest_([a-z0-9-]+)_(.+)_([a-z0-9-]+)_(\d{8}T\d{6}Z)(_backfill)?\.json\.gz$`)

// ACCOUNT_CloudTrail_REGION_TIME_UNIQUE.json.gz
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
var logName = regexp.MustCompile(`^(\d{12})_CloudTrail_([a-z0-9-]+)_(\d{8}T\d{4}Z)_\w+\.json\.gz$`)

// days are the folders of the days from from to to, both included.
func days(from, to time.Time) []string {
	var all []string
	for day := from.UTC().Truncate(24 * time.Hour); !day.After(to.UTC()); day = day.AddDate(0, 0, 1) {
		all = append(all, day.Format("2006/01/02/"))
	}
	return all
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
