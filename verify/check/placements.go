package check

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/sync/errgroup"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// maxPlacements is how many versions of objects a run looks at because a data event
// says that they were placed under another key.
const maxPlacements = 1000

// placementNeeds are the permissions to look at these versions.
var placementNeeds = []Permission{{"s3:GetObject", onEveryObject}, {"s3:GetObjectVersion", onEveryObject}, {"s3:ListBucketVersions", onBucket}}

// placements are the data events of S3 that may have placed objects of a bucket
// under another key than the run's.
//
// No documentation shows the record of a change of encryption in place, so every
// such event counts, whatever key it names. Replication writes as its role does, by
// an event that is not documented either: any write counts whose response names
// another KMS key. HeadObject then shows the key that the version is under.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html
type placements struct {
	bucket, key string               // their ARNs
	newest      map[version]sighting // at most maxPlacements
	more        int                  // versions, or events of them, that newest has no room for
	unread      int                  // events that could not be decoded
	uncovered   string               // why events may be missing; empty if none can be
}

// rekeyings are the events that choose a key by themselves, and writes those
// whose response names the key.
var (
	rekeyings = []string{"UpdateObjectEncryption", "ReplicateObject"}
	writes    = []string{"PutObject", "CopyObject", "CompleteMultipartUpload"}
)

// reset forgets what an earlier search saw.
func (p *placements) reset() {
	p.newest, p.more, p.unread, p.uncovered = map[version]sighting{}, 0, 0, ""
}

// mayMatch reports whether a record may be of a placement, without decoding it.
func (p *placements) mayMatch(record []byte) bool {
	named := func(name string) bool { return bytes.Contains(record, []byte(`"`+name+`"`)) }
	return p != nil && bytes.Contains(record, []byte(p.bucket)) && (slices.ContainsFunc(rekeyings, named) || slices.ContainsFunc(writes, named))
}

// matches reports whether the record is of a placement.
func (p *placements) matches(rec trailRecord) bool {
	if p == nil || rec.EventSource != s3Events || rec.ErrorCode != "" || !strings.HasPrefix(rec.objectARN(), p.bucket+"/") {
		return false
	}
	key := string(rec.ResponseElements.KeyARN)
	return slices.Contains(rekeyings, rec.EventName) || slices.Contains(writes, rec.EventName) && key != "" && key != p.key
}

// see keeps the newest placement of each version.
func (p *placements) see(rec sighting) {
	v := version{strings.TrimPrefix(rec.objectARN(), p.bucket+"/"), string(cmp.Or(rec.ResponseElements.VersionID, rec.RequestParameters.VersionID))}
	old, known := p.newest[v]
	switch {
	case !known && len(p.newest) >= maxPlacements:
		p.more++
	case !known || old.EventTime.Before(rec.EventTime):
		p.newest[v] = rec
	}
}

// withPlacements completes the result of a bucket policy that keeps other keys out
// with what the trail's data events show: a version that was placed under another
// key, and is under it still, fails the check.
func (r *run) withPlacements(ctx context.Context, x report.Result) report.Result {
	if r.cfg.Events == lookup {
		return x
	}
	f := r.events()
	p := f.placements
	if p == nil || p.newest == nil {
		why := Reason(f.err)
		if f.err == nil {
			why = p.uncovered
		}
		x.Actual += "; the trail's data events were not examined: " + why
		return x
	}
	versions := make([]version, 0, len(p.newest))
	for v := range p.newest {
		versions = append(versions, v)
	}
	slices.SortFunc(versions, func(a, b version) int {
		return cmp.Or(p.newest[b].EventTime.Compare(p.newest[a].EventTime), strings.Compare(a.key, b.key), strings.Compare(a.id, b.id))
	})
	reasons, errs := make([]string, len(versions)), make([]error, len(versions))
	var g errgroup.Group
	g.SetLimit(r.cfg.Concurrency)
	for i, v := range versions {
		g.Go(func() error {
			reasons[i], errs[i] = r.placedUnder(ctx, v, p.newest[v].EventTime)
			return nil
		})
	}
	_ = g.Wait() // errors are in errs
	const remedy = "find out who placed it there, and encrypt it under the key again: object.encryption names the command"
	var foreign []string
	var unseen string
	for i, v := range versions {
		event := p.newest[v]
		what := fmt.Sprintf("%s of %s by %s at %s", event.EventName, v, event.caller(), event.EventTime.UTC().Format("2006-01-02T15:04:05Z"))
		switch {
		case reasons[i] != "":
			foreign = append(foreign, what+": "+reasons[i])
			if len(x.Evidence) < maxEvidence {
				x.Evidence = append(x.Evidence, event.saw())
			}
		case errs[i] != nil && unseen == "":
			unseen = what + ": the object could not be looked at: " + Reason(errs[i])
		}
	}
	switch {
	case len(foreign) > 0:
		x.Status, x.Remedy, x.Failures, x.FailureCount = report.Fail, remedy, foreign, len(foreign)
		x.Actual = fmt.Sprintf("the policy denies it now, but the trail's data events and HeadObject show %s under another key: %s", count(len(foreign), "version"), foreign[0])
	case unseen != "":
		x.Status, x.Remedy, x.Actual = report.Inconclusive, "let verify call s3:GetObject, s3:GetObjectVersion and s3:ListBucketVersions", unseen
	case p.more > 0:
		x.Status, x.Remedy = report.Inconclusive, r.again("--prefix=")
		x.Actual = fmt.Sprintf("more than %d versions were re-encrypted or written under another key; those that were looked at are under the key, %s remain", maxPlacements, count(p.more, "event"))
	case p.unread > 0:
		x.Status, x.Remedy = report.Inconclusive, "look at these events by hand"
		x.Actual = count(p.unread, "data event") + " that may be of a change of key could not be read"
	case len(versions) > 0:
		x.Actual += fmt.Sprintf("; %s that data events show placed anew: under the key, or deleted since", count(len(versions), "version"))
	default:
		x.Actual += "; the trail's data events show no object placed under another key"
	}
	if f.err != nil {
		p.uncovered = cmp.Or(p.uncovered, Reason(f.err))
	}
	if p.uncovered != "" {
		x.Actual += " (not all of the trail's events were read: " + p.uncovered + ")"
	}
	return x
}

// placedUnder is why the version that an event of a time placed is not under the
// key; empty if it is, or was deleted since. An event that names no version is of the
// one that was current then: with the clocks' difference, one of several.
func (r *run) placedUnder(ctx context.Context, v version, at time.Time) (string, error) {
	if v.id != "" {
		return r.notUnderKeyOf(ctx, v)
	}
	all, err := r.versionsOf(ctx, v.key)
	if err != nil {
		return "", err
	}
	for _, x := range all {
		written := aws.ToTime(x.LastModified)
		if written.After(at.Add(nearWrite)) {
			continue
		}
		if why, err := r.notUnderKeyOf(ctx, version{v.key, aws.ToString(x.VersionId)}); why != "" || err != nil {
			return why, err
		}
		if written.Before(at.Add(-nearWrite)) {
			break
		}
	}
	return "", nil
}

// notUnderKeyOf is [run.notUnderKey] for a version; empty also if there is none.
func (r *run) notUnderKeyOf(ctx context.Context, v version) (string, error) {
	head := r.headVersion(ctx, v)
	switch {
	case isNotFound(head.err):
		return "", nil
	case head.err != nil:
		return "", head.err
	}
	return r.notUnderKey(ctx, head.out), nil
}
