package check

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// canaryNeeds are the permissions that a canary takes, for each of its checks.
var canaryNeeds = []Permission{
	{"s3:PutObject", onCanary}, {"s3:GetObject", onCanary}, {"s3:DeleteObjectVersion", onCanary},
	{"s3:ListBucket", onBucket}, {"s3:ListBucketVersions", onBucket}, {"s3:GetBucketObjectLockConfiguration", onBucket},
	{"kms:DescribeKey", onKey}, {"kms:GenerateDataKey", onKeyThroughS3}, {"kms:Decrypt", onKeyThroughS3},
	{"cloudtrail:LookupEvents", onAnything},
}

var canaryChecks = []Check{
	{
		ID: "canary.default", Title: "an upload that names no encryption gets the key", Severity: "critical",
		Why:      "most programs name no encryption, so the bucket's default decides how their objects are encrypted",
		Expected: "aws:kms under the key",
		Proves:   "an upload that names no encryption is encrypted under the key",
		Remedy:   "aws s3api put-bucket-encryption with SSEAlgorithm aws:kms and the key's ARN",
		Needs:    canaryNeeds,
		run:      withCanary(func(r *run) report.Result { return r.canary().byDefault }),
	}, {
		ID: "canary.write", Title: "the event history shows the key used for the canary's write", Severity: "high",
		Why:       "written without a Bucket Key, so that KMS is asked and has to record it",
		Expected:  "GenerateDataKey under the key, by S3 for the caller, for the very object",
		Proves:    "an upload under the key without a Bucket Key left a `GenerateDataKey` event for exactly this object",
		NotProven: "anything about the bucket's default: the upload names the key",
		Remedy:    "wait for the event with --wait 20m",
		Needs:     canaryNeeds,
		run:       withCanary(canaryWrite),
	}, {
		ID: "canary.read", Title: "the event history shows the key used for the canary's read", Severity: "high",
		Why:       "read without a Bucket Key, so that KMS is asked and has to record it",
		Expected:  "Decrypt under the key, by S3 for the caller, for the very object",
		Proves:    "the download of that object left a `Decrypt` event for exactly this object",
		NotProven: "anything about the bucket's default: the upload names the key",
		Remedy:    "wait for the event with --wait 20m",
		Needs:     canaryNeeds,
		run:       withCanary(canaryRead),
	}, {
		ID: "canary.refused", Title: "an upload that names another algorithm or key is refused", Severity: "high",
		Why:       "the bucket's default has no effect on an upload that names other encryption",
		Expected:  "AccessDenied for SSE-S3, and for the AWS managed key",
		Proves:    "the bucket refuses an upload that names SSE-S3, and one that names the AWS managed key",
		NotProven: "that it refuses every other key, and SSE-C",
		Remedy:    "deny s3:PutObject with another algorithm or key: aws s3api put-bucket-policy",
		Needs:     canaryNeeds,
		run:       withCanary(func(r *run) report.Result { return r.canary().refused }),
	}, {
		ID: "canary.removed", Title: "the canary is removed", Severity: "medium",
		Why:       "an object that a test leaves in the bucket costs money and is mistaken for data",
		Expected:  "no version and no delete marker of the canary's objects",
		Proves:    "S3 lists no version and no delete marker under the canary's prefix",
		NotProven: "that no replica is left in another bucket, if the bucket replicates",
		Remedy:    "aws s3api delete-object for each version that is left",
		Needs:     canaryNeeds,
		run:       withCanary(func(r *run) report.Result { return r.canary().removed }),
	},
}

// CanaryPrefix is where canaries are uploaded, each below a random name.
const CanaryPrefix = "kms-baseline-canary/"

// canaryCall is how long one of the canary's uploads, and then their removal,
// may take. Neither is cut short by a Ctrl-C: an upload that is cancelled may
// arrive after all, past the removal.
const canaryCall = 30 * time.Second

// canaryFindings is what became of the canary's uploads. Without an upload all
// results are the same.
type canaryFindings struct {
	byDefault, refused, removed report.Result
	write, read                 *want
}

func withCanary(check func(*run) report.Result) func(context.Context, *run) report.Result {
	return func(_ context.Context, r *run) report.Result {
		if !r.cfg.Canary {
			return skipped("it writes to the bucket, so it has to be asked for: --canary")
		}
		return check(r)
	}
}

func canaryWrite(r *run) report.Result {
	f := r.events()
	return f.judge(r, "object", f.canaryWrite)
}

func canaryRead(r *run) report.Result {
	f := r.events()
	return f.judge(r, "object", f.canaryRead)
}

// notUploaded returns x as every result of a canary.
func notUploaded(x report.Result) canaryFindings {
	w := &want{settled: &x}
	return canaryFindings{byDefault: x, refused: x, removed: x, write: w, read: w}
}

// runCanary uploads the canary's objects, reads them back and removes them.
func (r *run) runCanary(ctx context.Context) (c canaryFindings) {
	if x, ok := r.mayUpload(ctx); !ok {
		return notUploaded(x)
	}
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails: see crypto/rand.Read
	f := canary{r: r, prefix: CanaryPrefix + hex.EncodeToString(b) + "/"}
	defer func() { c.removed = f.remove(ctx) }()

	caller := principalOf(aws.ToString(r.identity().out.Arn))
	c.byDefault = f.byDefault(ctx)
	c.write, c.read = f.explicit(ctx, r.keyARN(), caller)
	c.refused = f.foreign(ctx)
	return c
}

// mayUpload reports whether a canary may be uploaded: not to the bucket of another
// account, and not where it could not be removed. The result is the reason.
func (r *run) mayUpload(ctx context.Context) (report.Result, bool) {
	id := r.identity()
	if id.err != nil {
		return r.failure("sts:GetCallerIdentity", id.err), false
	}
	if got := aws.ToString(id.out.Account); r.cfg.Account != "" && got != r.cfg.Account {
		return skipped(fmt.Sprintf("the credentials are of account %s, not %s: nothing was uploaded", got, r.cfg.Account)), false
	}
	if x, ok := r.noKeyARN(); !ok {
		return x, false
	}
	if x := bucketAccount(ctx, r); x.Status != report.Pass {
		x.Status, x.Actual = report.Error, "nothing was uploaded: "+x.Actual
		return x, false
	}
	out, err := r.bucket().GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &r.cfg.Bucket})
	switch {
	case hasCode(err, "ObjectLockConfigurationNotFoundError"):
		return report.Result{}, true
	case err != nil:
		x := r.failure("s3:GetObjectLockConfiguration", err)
		x.Actual = "nothing was uploaded, since it may be that nothing could be removed: " + x.Actual
		return x, false
	}
	if l := out.ObjectLockConfiguration; l != nil && l.Rule != nil && l.Rule.DefaultRetention != nil {
		a := answered(r, "s3:GetObjectLockConfiguration", out, nil, func() middleware.Metadata { return out.ResultMetadata })
		return report.Result{Status: report.Error, Evidence: []report.Evidence{a.evidence},
			Actual: "nothing was uploaded: Object Lock retains every new object of this bucket, so a canary could not be removed",
			Remedy: "leave out --canary; trail.write and trail.read look at the objects that are there"}, false
	}
	return report.Result{}, true
}

// canary is the upload of one run.
type canary struct {
	r        *run
	prefix   string
	known    []types.ObjectVersion // uploaded, as far as S3 answered
	accepted bool                  // an upload that should be let through was
}

// put uploads one object. It is not cancelled with ctx: see canaryCall.
func (f *canary) put(ctx context.Context, name string, how func(*s3.PutObjectInput)) (answer[*s3.PutObjectOutput], string) {
	key := f.prefix + name
	if err := ctx.Err(); err != nil {
		return answer[*s3.PutObjectOutput]{err: err, evidence: f.r.refusal("s3:PutObject", err)}, key
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), canaryCall)
	defer cancel()
	in := &s3.PutObjectInput{Bucket: &f.r.cfg.Bucket, Key: &key, Body: strings.NewReader(content(key)), ContentType: aws.String("text/plain")}
	how(in)
	out, err := f.r.bucket().PutObject(ctx, in)
	a := answered(f.r, "s3:PutObject", out, err, func() middleware.Metadata { return out.ResultMetadata })
	if err == nil {
		version := cmp.Or(aws.ToString(out.VersionId), "null") // what S3 calls the one of a bucket without versions
		f.known = append(f.known, types.ObjectVersion{Key: &key, VersionId: &version})
	}
	return a, key
}

// content is the data of the canary's objects. It explains an object that is left.
func content(key string) string {
	return "uploaded by kms-baseline verify --canary as " + key + ", and to be removed by it\n"
}

// byDefault uploads without naming any encryption.
func (f *canary) byDefault(ctx context.Context) report.Result {
	put, key := f.put(ctx, "default.txt", func(*s3.PutObjectInput) {})
	if put.err != nil {
		return f.r.failure("s3:PutObject", put.err)
	}
	f.accepted = true
	head := f.r.headObject(ctx, key)
	if head.err != nil {
		return f.r.failure("s3:HeadObject", head.err)
	}
	seen := head.saw("%s: %s %s", key, head.out.ServerSideEncryption, aws.ToString(head.out.SSEKMSKeyId))
	if why := f.r.notUnderKey(ctx, head.out); why != "" {
		return fail("it got something else: "+why, "set the default encryption that bucket.encryption names", put.evidence, seen)
	}
	return pass(fmt.Sprintf("%s under %s", head.out.ServerSideEncryption, f.r.keyARN()), put.evidence, seen)
}

// explicit uploads under the key and without a Bucket Key, reads it back, and
// states which events that must leave.
func (f *canary) explicit(ctx context.Context, key, caller string) (write, read *want) {
	name := f.prefix + "explicit.txt"
	object := bucketARN(f.r.cfg) + "/" + name
	start := f.r.now()
	w := want{name: name, key: key, caller: caller, context: object, object: object,
		from: start.Add(-clockSkew), to: start.Add(f.r.cfg.Wait + clockSkew)}
	write, read = &want{}, &want{}
	*write, *read = w, w
	write.event, read.event = "GenerateDataKey", "Decrypt"

	put, _ := f.put(ctx, "explicit.txt", func(in *s3.PutObjectInput) {
		in.ServerSideEncryption, in.SSEKMSKeyId, in.BucketKeyEnabled = types.ServerSideEncryptionAwsKms, &key, aws.Bool(false)
	})
	if put.err != nil {
		x := f.r.failure("s3:PutObject", put.err)
		write.settled, read.settled = &x, &x
		return write, read
	}
	f.accepted = true
	write.read = put.saw("uploaded %s", name)
	out, err := f.r.bucket().GetObject(ctx, &s3.GetObjectInput{Bucket: &f.r.cfg.Bucket, Key: &name})
	var body []byte
	if err == nil {
		body, err = io.ReadAll(io.LimitReader(out.Body, 1<<10))
		err = errors.Join(err, out.Body.Close())
	}
	switch {
	case err != nil:
		x := f.r.failure("s3:GetObject", err)
		read.settled = &x
	case !bytes.Equal(body, []byte(content(name))):
		x := fail("what was read is not what was written", "aws s3 cp "+quote("s3://"+f.r.cfg.Bucket+"/"+name)+" -")
		read.settled = &x
	default:
		a := answered(f.r, "s3:GetObject", out, nil, func() middleware.Metadata { return out.ResultMetadata })
		read.read = a.saw("read %s", name)
	}
	return write, read
}

// foreign uploads what the bucket has to refuse.
func (f *canary) foreign(ctx context.Context) report.Result {
	tries := []struct {
		name, what string
		how        func(*s3.PutObjectInput)
	}{
		{"foreign-algorithm.txt", "SSE-S3 (AES256)", func(in *s3.PutObjectInput) {
			in.ServerSideEncryption = types.ServerSideEncryptionAes256
		}},
		{"foreign-key.txt", "the AWS managed key (aws/s3)", func(in *s3.PutObjectInput) {
			in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, aws.String("alias/aws/s3")
		}},
	}
	var names []string
	var results []report.Result
	for _, t := range tries {
		put, _ := f.put(ctx, t.name, t.how)
		names, results = append(names, t.what), append(results, f.refusal(t.what, put))
	}
	names, results = append(names, "the bucket policy"), append(results, f.policyRefuses())
	return merge("upload", names, results)
}

// policyRefuses reads the policy as well: it might deny the uploads only for the
// names that a canary has.
func (f *canary) policyRefuses() report.Result {
	a := f.r.policyOfBucket()
	if a.err != nil {
		return f.r.failure("s3:GetBucketPolicy", a.err)
	}
	p, err := parsePolicy(aws.ToString(a.out.Policy))
	if err != nil {
		return inconclusive(err.Error(), "aws s3api get-bucket-policy --bucket "+quote(f.r.cfg.Bucket), a.evidence)
	}
	requests := otherEncryption(f.r.keyARN())
	for _, what := range []string{sseS3Upload, otherKeyUpload} {
		if t := p.deniesUploads(bucketARN(f.r.cfg)+"/*", requests[what]); t != yes {
			return inconclusive("the uploads were refused, but the policy does not deny everyone, for every object, "+what, "see bucket.foreign-keys", a.evidence)
		}
	}
	return pass("it denies both for every object", a.evidence)
}

func (f *canary) refusal(what string, put answer[*s3.PutObjectOutput]) report.Result {
	switch {
	case put.err == nil:
		return fail("an upload that names "+what+" was accepted",
			"add a bucket policy that denies s3:PutObject where s3:x-amz-server-side-encryption or its key id is there and another", put.evidence)
	case !isDenied(put.err):
		return f.r.failure("s3:PutObject", put.err)
	case !f.accepted:
		return inconclusive("refused, but so was every other upload: "+Reason(put.err), "attach the IAM policy that verify iam --canary prints to the caller", put.evidence)
	case !strings.Contains(Reason(put.err), "resource-based policy"):
		return inconclusive("refused, but S3 does not say that the bucket policy refused it: another caller may be accepted: "+Reason(put.err),
			"run verify as a caller whose own policies allow the upload", put.evidence)
	case strings.Contains(Reason(put.err), " kms:"):
		return inconclusive("refused, but by KMS and not by the bucket: another caller may be let through: "+Reason(put.err),
			"run verify as a caller who may use the AWS managed key", put.evidence)
	}
	return pass("refused: "+Reason(put.err), put.evidence)
}

// remove removes every version and delete marker below the prefix, also when
// ctx is done.
func (f *canary) remove(ctx context.Context) report.Result {
	if ctx.Err() != nil {
		fmt.Fprintf(f.r.cfg.Progress, "removing the canary s3://%s/%s first; a second interrupt leaves it there\n", f.r.cfg.Bucket, f.prefix)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), canaryCall)
	defer cancel()
	removed := 0
	var left []types.ObjectVersion
	err := errors.New("there were new ones after each removal")
	// A second look sees what came in late, and that nothing is left.
	for range 3 {
		var listErr error
		if left, listErr = f.versions(ctx); listErr != nil {
			err = listErr
			break
		}
		if len(left) == 0 {
			return pass("nothing is left below "+f.prefix,
				report.Evidence{Source: "s3:ListObjectVersions", Time: f.r.now(), Detail: "nothing below " + f.prefix})
		}
		for _, v := range left {
			if e := f.delete(ctx, v); e != nil {
				err = e
			} else {
				removed++
			}
		}
	}
	if left == nil { // the list was refused: remove what is known to be there
		for _, v := range f.known {
			if e := f.delete(ctx, v); e != nil {
				left = append(left, v)
			} else {
				removed++
			}
		}
	}
	x := f.r.failure("s3:DeleteObject", err)
	x.Actual = fmt.Sprintf("%s removed, but there may be more below s3://%s/%s: %s", count(removed, "version"), f.r.cfg.Bucket, f.prefix, Reason(err))
	x.Remedy = fmt.Sprintf("aws s3api list-object-versions --bucket %s --prefix %s", quote(f.r.cfg.Bucket), quote(f.prefix))
	for i, v := range left {
		x.Failures = append(x.Failures, aws.ToString(v.Key)+" version "+aws.ToString(v.VersionId))
		command := fmt.Sprintf("aws s3api delete-object --bucket %s --key %s --version-id %s", quote(f.r.cfg.Bucket), quote(aws.ToString(v.Key)), quote(aws.ToString(v.VersionId)))
		if i == 0 {
			x.Remedy = command
		} else {
			x.Remedy += " && " + command
		}
	}
	x.FailureCount = len(left)
	return x
}

// versions lists what is below the prefix: not nil, where S3 answered.
func (f *canary) versions(ctx context.Context) ([]types.ObjectVersion, error) {
	all := []types.ObjectVersion{}
	// The names below the prefix are the canary's own: no name needs decoding.
	pages := s3.NewListObjectVersionsPaginator(f.r.bucket(), &s3.ListObjectVersionsInput{Bucket: &f.r.cfg.Bucket, Prefix: &f.prefix})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, out.Versions...)
		for _, m := range out.DeleteMarkers {
			all = append(all, types.ObjectVersion{Key: m.Key, VersionId: m.VersionId})
		}
	}
	return all, nil
}

func (f *canary) delete(ctx context.Context, v types.ObjectVersion) error {
	_, err := f.r.bucket().DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &f.r.cfg.Bucket, Key: v.Key, VersionId: v.VersionId})
	return err
}
