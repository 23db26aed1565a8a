// Package logfiles reads the log files that CloudTrail delivers to S3, and
// validates them as `aws cloudtrail validate-logs` does, and beyond it: a log
// file that no digest lists is found too. It knows nothing of checks.
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

// S3 is what a [Reader] asks of the bucket.
type S3 interface {
	s3.ListObjectsV2APIClient
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
}

// PublicKeys lists the keys that sign digests. It has to be a client of the
// trail's home Region.
type PublicKeys interface {
	ListPublicKeys(context.Context, *cloudtrail.ListPublicKeysInput, ...func(*cloudtrail.Options)) (*cloudtrail.ListPublicKeysOutput, error)
}

// Location is where a trail delivers its files.
type Location struct {
	Bucket string
	// Prefix is the trail's S3KeyPrefix: what stands before AWSLogs/, without
	// the slash at its end. Empty for a trail without a prefix.
	Prefix string
}

// ParseLocation reads s3://BUCKET or s3://BUCKET/PREFIX.
func ParseLocation(uri string) (Location, error) {
	rest, ok := strings.CutPrefix(uri, "s3://")
	bucket, prefix, _ := strings.Cut(rest, "/")
	if !ok || bucket == "" {
		return Location{}, fmt.Errorf("%q is not the location of a trail: use s3://BUCKET or s3://BUCKET/PREFIX", uri)
	}
	prefix = strings.Trim(prefix, "/")
	if prefix == "AWSLogs" || strings.Contains("/"+prefix+"/", "/AWSLogs/") {
		return Location{}, fmt.Errorf("%q names a folder inside AWSLogs: use what stands before AWSLogs, s3://%s", uri, strings.TrimSuffix(path.Join(bucket, strings.Split("/"+prefix, "/AWSLogs")[0]), "/"))
	}
	return Location{Bucket: bucket, Prefix: prefix}, nil
}

// Reader reads the files of one account and Region of a trail.
type Reader struct {
	S3         S3
	PublicKeys PublicKeys
	Location   Location
	Account    string // 12 digits
	Region     string // of the events
	// Organization is the ID of the organization (o-...) whose trail this is;
	// empty for a trail of one account.
	Organization string
	// Trail is the trail's name. Empty: the only one that has digests there; it
	// is an error where there are several.
	Trail string
	// Concurrency is how many files are read at a time. The default is 16.
	Concurrency int
	// Now is the clock. The default is time.Now.
	Now func() time.Time
}

// Event is one record of a log file.
type Event struct {
	Raw  []byte // the record, JSON
	File string // key of the log file
	// Validated reports whether a signed digest vouches for the file. The files
	// of the last hour or two have no digest yet.
	Validated bool
}

// Problem is why the files cannot be trusted, or not for all of the time.
type Problem struct {
	Kind   ProblemKind
	Bucket string
	Key    string // of the file concerned
	Detail string
}

// ProblemKind is the kind of a [Problem].
type ProblemKind string

// The kinds of problems.
const (
	DigestInvalid  ProblemKind = "digest invalid"  // signature, location, format or link of the chain
	DigestMissing  ProblemKind = "digest missing"  // a digest that must exist does not
	DigestGap      ProblemKind = "digest gap"      // no digest covers some of the time
	LogModified    ProblemKind = "log modified"    // the hash differs from the digest's
	LogMissing     ProblemKind = "log missing"     // a digest lists a file that does not exist
	LogUnlisted    ProblemKind = "log not listed"  // no digest lists the file, though one covers its time
	LogUnreadable  ProblemKind = "log unreadable"  // not a log file
	DigestsPending ProblemKind = "digests pending" // the newest digest is older than it should be
)

func (p Problem) String() string {
	return fmt.Sprintf("%s: s3://%s/%s: %s", p.Kind, p.Bucket, p.Key, p.Detail)
}

// Summary is what a run read.
type Summary struct {
	Trail       string
	HomeRegion  string // of the trail
	Digests     int    // validated
	Files       int    // log files read
	Unvalidated int    // of them, those that no digest lists yet
	Events      int    // records in the log files
	Bytes       int64  // uncompressed
	// CoveredFrom and CoveredTo is the time for which an unbroken chain of valid
	// digests vouches. Both are zero where none does.
	CoveredFrom, CoveredTo time.Time
	// Problems has every finding; empty where the files are as CloudTrail
	// delivered them.
	Problems []Problem
}

// Folders of a trail's bucket.
const (
	logFolder    = "CloudTrail"
	digestFolder = "CloudTrail-Digest"
)

// folder is where files of a day are, with a slash at its end.
func (r *Reader) folder(kind string, day time.Time) string {
	return r.regionFolder(kind) + day.Format("2006/01/02/")
}

func (r *Reader) regionFolder(kind string) string {
	return path.Join(r.Location.Prefix, "AWSLogs", r.Organization, r.Account, kind, r.Region) + "/"
}

// ACCOUNT_CloudTrail-Digest_REGION_TRAIL_HOMEREGION_END[_backfill].json.gz; no
// part but the trail's name has an underscore in it.
var digestName = regexp.MustCompile(`^(\d{12})_CloudTrail-Digest_([a-z0-9-]+)_(.+)_([a-z0-9-]+)_(\d{8}T\d{6}Z)(_backfill)?\.json\.gz$`)

// ACCOUNT_CloudTrail_REGION_TIME_UNIQUE.json.gz
var logName = regexp.MustCompile(`^(\d{12})_CloudTrail_([a-z0-9-]+)_(\d{8}T\d{4}Z)_\w+\.json\.gz$`)

// days are the days from from to to, both included.
func days(from, to time.Time) []time.Time {
	var all []time.Time
	for day := from.UTC().Truncate(24 * time.Hour); !day.After(to.UTC()); day = day.AddDate(0, 0, 1) {
		all = append(all, day)
	}
	return all
}
