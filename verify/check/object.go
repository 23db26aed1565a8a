package check

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	"golang.org/x/sync/errgroup"

	"github.com/securethecloud/kms-baseline/verify/report"
)

var objectChecks = []Check{
	{
		ID: "object.encryption", Title: "the current version of every selected object is encrypted under the key", Severity: "critical",
		Why:       "the default of a bucket does not apply to objects from before it, or to uploads that name other encryption",
		Expected:  "HeadObject returns aws:kms and the key",
		Proves:    "S3 reports that the current version of each selected object is encrypted under the key; see below, also for `--objects`",
		NotProven: "older versions, unless `--versions` selects them; objects that were not selected",
		Remedy:    "copy the object over itself: aws s3 cp s3://BUCKET/OBJECT s3://BUCKET/OBJECT --sse aws:kms --sse-kms-key-id KEY",
		Needs:     []Permission{{"s3:GetObject", onObjects}, {"s3:ListBucket", onBucket}, {"kms:DescribeKey", onKey}},
		run:       withBucket(objectEncryption),
	},
}

const noSuchObject = "there is no such object"

// maxUnseen is how many objects may fail to answer before the rest is not
// asked any more.
const maxUnseen = 100

// listPage is how many names S3 lists at a time, at most.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
const listPage = 1000

// objectFindings is what HeadObject said of all objects. Its size does not
// grow with their number.
type objectFindings struct {
	checked int      // answered
	gone    int      // listed, and deleted since
	wrong   []string // the first by name, with the reason
	wrongs  int
	// firstWrong is the first object by name that another copy would put right.
	firstWrong string
	unseen     int // could not be looked at
	firstErr   error
	// firstUnseen is the object of firstErr, empty for a list.
	firstUnseen string
	source      string // of firstErr
	evidence    []report.Evidence
}

func objectEncryption(ctx context.Context, r *run) report.Result {
	if len(r.cfg.Objects) == 0 && r.cfg.Prefix == nil {
		return skipped("no object and no prefix was named")
	}
	if x, ok := r.noKeyARN(); !ok {
		return x
	}
	if r.cfg.Inventory != "" {
		return r.inventoryResult(ctx)
	}
	f := r.checkObjects(ctx, nil)
	x := report.Result{Evidence: f.evidence, Failures: f.wrong, FailureCount: f.wrongs, Expected: "aws:kms under " + r.keyARN()}
	remedy := "copy each object over itself with aws s3 cp --sse aws:kms --sse-kms-key-id " + r.keyARN()
	if f.firstWrong != "" {
		name := quote("s3://" + r.cfg.Bucket + "/" + f.firstWrong)
		remedy = fmt.Sprintf("aws s3 cp %s %s --sse aws:kms --sse-kms-key-id %s", name, name, r.keyARN())
	}
	switch {
	case f.wrongs > 0:
		x.Status, x.Remedy = report.Fail, remedy
		x.Actual = f.wrong[0]
		if f.checked > 1 {
			x.Actual = fmt.Sprintf("%d of %d checked objects are not: %s", f.wrongs, f.checked, f.wrong[0])
		}
		if f.firstErr != nil {
			x.Actual += fmt.Sprintf("; not all could be looked at: %s", Reason(f.firstErr))
		}
	case f.firstErr != nil:
		e := r.objectFailure(f.firstUnseen, f.source, f.firstErr)
		x.Status, x.Remedy, x.Actual = e.Status, e.Remedy, e.Actual
		x.Evidence = append(x.Evidence, e.Evidence...)
		if f.checked > 0 {
			x.Actual = fmt.Sprintf("%d objects are, but not all could be looked at: %s", f.checked, e.Actual)
		}
	case f.checked == 0:
		x.Status = report.Inconclusive
		x.Actual = fmt.Sprintf("there is no object below s3://%s/%s", r.cfg.Bucket, aws.ToString(r.cfg.Prefix))
		x.Remedy = "name another prefix, or --canary uploads objects of its own"
	default:
		x.Status = report.Pass
		noun, what := "object", "the current version of each is under the key"
		if r.cfg.Versions {
			noun, what = "version", "each is under the key"
		}
		x.Actual = fmt.Sprintf("%s checked (%s): %s", count(f.checked, noun), r.cfg.selection(r.selected), what)
		if f.gone > 0 {
			x.Actual += fmt.Sprintf("; %d more were deleted meanwhile", f.gone)
		}
	}
	return x
}

// headNamed asks for the objects that were named, in their order.
func (r *run) headNamed(ctx context.Context) []answer[*s3.HeadObjectOutput] {
	heads := make([]answer[*s3.HeadObjectOutput], len(r.cfg.Objects))
	var g errgroup.Group
	g.SetLimit(r.cfg.Concurrency)
	for i, key := range r.cfg.Objects {
		g.Go(func() error {
			heads[i] = r.headObject(ctx, key)
			return nil
		})
	}
	_ = g.Wait() // errors are in the answers
	return heads
}

// version is an object, or one version of it.
type version struct {
	key string
	id  string // empty for the current version
}

func (v version) String() string {
	if v.id == "" {
		return v.key
	}
	return v.key + " (version " + v.id + ")"
}

func (r *run) headObject(ctx context.Context, key string) answer[*s3.HeadObjectOutput] {
	return r.headVersion(ctx, version{key: key})
}

func (r *run) headVersion(ctx context.Context, v version) answer[*s3.HeadObjectOutput] {
	in := &s3.HeadObjectInput{Bucket: &r.cfg.Bucket, Key: &v.key}
	if v.id != "" {
		in.VersionId = &v.id
	}
	out, err := r.bucket().HeadObject(ctx, in)
	return answered(r, "s3:HeadObject", out, err, func() middleware.Metadata { return out.ResultMetadata })
}

// isCustomerKeyNeeded reports whether S3 refused a HEAD as it does for an object
// under SSE-C: without the customer's key the answer is 400 and has no body.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
func isCustomerKeyNeeded(err error) bool {
	return hasStatus(err, http.StatusBadRequest) && !IsCredentials(err)
}

// objectFailure is the result for an object that HeadObject did not describe.
func (r *run) objectFailure(key, source string, err error) report.Result {
	if source == "s3:HeadObject" && isCustomerKeyNeeded(err) {
		return inconclusive(fmt.Sprintf("S3 refuses HeadObject of %s with status 400, as it does for an object under SSE-C, whose key the writer holds", key),
			"ask the writer of the object how it is encrypted", r.refusal(source, err))
	}
	return r.failure(source, err)
}

func isNotFound(err error) bool { return hasStatus(err, http.StatusNotFound) }

// checkObjects looks at the objects that were named and at those below the
// prefix, as they are listed; with a census, at a sample of the latter.
func (r *run) checkObjects(ctx context.Context, c *census) objectFindings {
	t := tally{r: r, ctx: ctx, census: c}
	for i, a := range r.named() {
		key := r.cfg.Objects[i]
		if isNotFound(a.err) {
			t.add(key, noSuchObject)
		} else {
			t.answer(key, a)
		}
		if a.err == nil && len(t.f.evidence) < maxEvidence {
			t.f.evidence = append(t.f.evidence, a.saw("%s: %s %s", key, a.out.ServerSideEncryption, aws.ToString(a.out.SSEKMSKeyId)))
		}
	}
	if r.cfg.Prefix == nil {
		return t.findings()
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys := make(chan version, 2*listPage) // HeadObject goes on while the next page is listed
	lean := r.newHeads(ctx)
	var g errgroup.Group
	g.Go(func() error {
		defer close(keys)
		t.list(ctx, keys)
		if c != nil {
			for _, v := range c.sample {
				if !deliver(ctx, keys, v) {
					break
				}
			}
		}
		return nil
	})
	for range r.cfg.Concurrency {
		g.Go(func() error {
			for v := range keys {
				if ctx.Err() != nil {
					continue // drain
				}
				if lean != nil {
					if out, ok := lean.head(ctx, v); ok {
						t.sampled(v, out)
						t.answer(v.String(), answer[*s3.HeadObjectOutput]{out: out})
						continue
					}
				}
				a := r.headVersion(ctx, v)
				if isNotFound(a.err) {
					listed, err := r.isListed(ctx, v)
					if err == nil && !listed {
						t.wasGone()
						continue
					}
					if err == nil {
						err = fmt.Errorf("S3 lists %s, and HeadObject does not find it: a name that cannot be requested", v)
					}
					a.err = err
				}
				if a.err == nil {
					t.sampled(v, a.out)
				}
				if t.answer(v.String(), a) >= maxUnseen {
					cancel()
				}
			}
			return nil
		})
	}
	_ = g.Wait() // errors are counted
	return t.findings()
}

// tally counts what HeadObject said.
type tally struct {
	r    *run
	ctx  context.Context
	mu   sync.Mutex
	f    objectFindings
	told time.Time // of the last line of progress

	census *census // nil if every listed object is checked
}

// sampled keeps the answer for an object of the census.
func (t *tally) sampled(v version, out *s3.HeadObjectOutput) {
	if t.census != nil {
		t.mu.Lock()
		t.census.heads[v] = out
		t.mu.Unlock()
	}
}

// isListed asks again for an object that HeadObject did not find: it may have been
// deleted since it was listed, or its name cannot be requested.
func (r *run) isListed(ctx context.Context, v version) (bool, error) {
	if v.id != "" {
		versions, err := r.versionsOf(ctx, v.key)
		return slices.ContainsFunc(versions, func(x types.ObjectVersion) bool { return aws.ToString(x.VersionId) == v.id }), err
	}
	out, err := r.bucket().ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &r.cfg.Bucket, Prefix: &v.key, MaxKeys: aws.Int32(1), EncodingType: types.EncodingTypeUrl})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(out.Contents, func(x types.Object) bool {
		key, err := url.QueryUnescape(aws.ToString(x.Key))
		return err == nil && key == v.key
	}), nil
}

// versionsOf lists the versions of one key, the newest first.
func (r *run) versionsOf(ctx context.Context, key string) ([]types.ObjectVersion, error) {
	var versions []types.ObjectVersion
	// The versions of this key come first: every other key below the prefix is longer.
	pages := s3.NewListObjectVersionsPaginator(r.bucket(), &s3.ListObjectVersionsInput{Bucket: &r.cfg.Bucket, Prefix: &key, EncodingType: types.EncodingTypeUrl})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return versions, err
		}
		for _, x := range out.Versions {
			name, err := url.QueryUnescape(aws.ToString(x.Key))
			if err != nil || name != key {
				return versions, err
			}
			versions = append(versions, x)
		}
	}
	return versions, nil
}

// send passes a listed name on, decoded: with EncodingType=url a name with control
// characters survives the XML of the response. It returns false once ctx is done.
func (t *tally) send(ctx context.Context, keys chan<- version, encoded, id string, modified *time.Time) bool {
	key, err := url.QueryUnescape(encoded)
	if err != nil {
		t.failed(encoded, "s3:ListObjectsV2", fmt.Errorf("a name in the list cannot be decoded: %w", err))
		return true
	}
	if t.census != nil {
		t.census.add(version{key, id}, aws.ToTime(modified))
		if t.census.listed%100_000 == 0 {
			t.r.progress("%d objects listed", t.census.listed)
		}
		return ctx.Err() == nil
	}
	if id == "" && slices.Contains(t.r.cfg.Objects, key) {
		return true
	}
	return deliver(ctx, keys, version{key, id})
}

// deliver sends a version. It returns false once ctx is done.
func deliver(ctx context.Context, keys chan<- version, v version) bool {
	select {
	case keys <- v:
		return true
	case <-ctx.Done():
		return false
	}
}

// listVersions sends every version below the prefix; delete markers have no data.
func (t *tally) listVersions(ctx context.Context, keys chan<- version) {
	r := t.r
	pages := s3.NewListObjectVersionsPaginator(r.bucket(), &s3.ListObjectVersionsInput{Bucket: &r.cfg.Bucket, Prefix: r.cfg.Prefix, EncodingType: types.EncodingTypeUrl})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			if ctx.Err() == nil || t.ctx.Err() != nil {
				t.failed("", "s3:ListObjectVersions", err)
			}
			return
		}
		for _, v := range out.Versions {
			if !t.send(ctx, keys, aws.ToString(v.Key), aws.ToString(v.VersionId), v.LastModified) {
				return
			}
		}
	}
}

// list sends the keys below the prefix, except those that were named.
func (t *tally) list(ctx context.Context, keys chan<- version) {
	r := t.r
	if r.cfg.Versions {
		t.listVersions(ctx, keys)
		return
	}
	pages := s3.NewListObjectsV2Paginator(r.bucket(), &s3.ListObjectsV2Input{Bucket: &r.cfg.Bucket, Prefix: r.cfg.Prefix, EncodingType: types.EncodingTypeUrl})
	for first := true; pages.HasMorePages(); first = false {
		out, err := pages.NextPage(ctx)
		if err != nil {
			if ctx.Err() == nil || t.ctx.Err() != nil {
				t.failed("", "s3:ListObjectsV2", err)
			}
			return
		}
		if first {
			a := answered(r, "s3:ListObjectsV2", out, err, func() middleware.Metadata { return out.ResultMetadata })
			t.mu.Lock()
			t.f.evidence = append(t.f.evidence, a.saw("the objects below %q, first page: %d", aws.ToString(r.cfg.Prefix), len(out.Contents)))
			t.mu.Unlock()
		}
		for _, o := range out.Contents {
			if !t.send(ctx, keys, aws.ToString(o.Key), "", o.LastModified) {
				return
			}
		}
	}
}

// answer counts one answer, and returns how many failed so far.
func (t *tally) answer(key string, a answer[*s3.HeadObjectOutput]) int {
	if a.err != nil {
		return t.failed(key, "s3:HeadObject", a.err)
	}
	why := t.r.notUnderKey(t.ctx, a.out)
	t.add(key, why)
	return 0
}

func (t *tally) failed(key, source string, err error) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.f.unseen++
	if t.f.firstErr == nil {
		t.f.firstErr, t.f.source, t.f.firstUnseen = err, source, key
	}
	return t.f.unseen
}

func (t *tally) wasGone() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.f.gone++
}

// add counts an object; why is empty for one that is as it should be.
func (t *tally) add(key, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.f.checked++
	if why != "" {
		t.f.wrongs++
		t.f.wrong = append(t.f.wrong, key+": "+why)
		if why != noSuchObject && (t.f.firstWrong == "" || key < t.f.firstWrong) {
			t.f.firstWrong = key
		}
		if len(t.f.wrong) == 2*maxFailures {
			t.trim()
		}
	}
	if now := time.Now(); t.told.IsZero() {
		t.told = now
	} else if now.Sub(t.told) > 2*time.Second {
		t.told = now
		t.r.progress("%d objects checked, %d not under the key", t.f.checked, t.f.wrongs)
	}
}

// trim keeps the failures that come first by name, so that what is named does
// not depend on which answer came first.
func (t *tally) trim() {
	slices.SortFunc(t.f.wrong, cmp.Compare[string])
	t.f.wrong = t.f.wrong[:min(len(t.f.wrong), maxFailures)]
}

func (t *tally) findings() objectFindings {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trim()
	if t.f.firstErr == nil {
		if err := t.ctx.Err(); err != nil {
			t.f.firstErr, t.f.source = err, "s3:HeadObject"
		}
	}
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.r.objectCount = t.f.checked
	return t.f
}

// notUnderKey returns why an object is not encrypted under the key; empty where it
// is.
func (r *run) notUnderKey(ctx context.Context, o *s3.HeadObjectOutput) string {
	want := r.keyARN()
	key := aws.ToString(o.SSEKMSKeyId)
	switch o.ServerSideEncryption {
	case types.ServerSideEncryptionAwsKms, types.ServerSideEncryptionAwsKmsDsse:
	case types.ServerSideEncryptionAes256:
		return "SSE-S3 (AES256), no KMS key: written " + written(o) + ", before the bucket's default or past it"
	case "":
		if aws.ToString(o.SSECustomerAlgorithm) != "" {
			return "SSE-C: under a key that the writer holds"
		}
		return "not encrypted by S3"
	default:
		return string(o.ServerSideEncryption) + ", not aws:kms"
	}
	if key == want {
		return ""
	}
	if !strings.Contains(key, ":key/") { // documented as an id, seen as an ARN
		arn, _, err := r.resolve(ctx, key)
		if err != nil {
			return fmt.Sprintf("under %q, which could not be resolved: %s", key, Reason(err))
		}
		if key = arn; key == want {
			return ""
		}
	}
	if accountOf(key) != accountOf(want) {
		return fmt.Sprintf("under a key of another account (%s): %s", accountOf(key), key)
	}
	return "under another key: " + key + ", written " + written(o)
}

func written(o *s3.HeadObjectOutput) string {
	if o.LastModified == nil {
		return "at an unknown time"
	}
	return o.LastModified.UTC().Format(time.DateTime)
}
