package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// validPrefix makes every name with a suffix a valid bucket name. What has the
// prefix is deleted: it must not be possible to name what others have.
var validPrefix = regexp.MustCompile(`^conformance-[a-z0-9-]{0,27}[a-z0-9]$`)

// owns reports whether a name is one of this run's.
func (o options) owns(name string) bool {
	return name == o.prefix || strings.HasPrefix(name, o.prefix+"-")
}

// runner runs the behaviors on one endpoint, records what it answers, and removes
// what was made.
type runner struct {
	o               options
	account, caller string

	kms    *kms.Client
	s3     *s3.Client
	ec2    *ec2.Client
	sts    *sts.Client
	trail  *cloudtrail.Client
	ctx    context.Context // of the run; calls have one of their own
	keys   []string        // IDs of those made
	bucket string          // made, or tried
	calls  int

	names    []string // values and their placeholders, in pairs
	behavior string
	observed []observation
	restore  func(context.Context) error // puts the account's settings back
}

// newRunner asks who calls; it makes nothing.
func newRunner(ctx context.Context, cfg aws.Config, o options) (*runner, error) {
	r := &runner{
		o: o, ctx: ctx,
		kms: kms.NewFromConfig(cfg), ec2: ec2.NewFromConfig(cfg), sts: sts.NewFromConfig(cfg), trail: cloudtrail.NewFromConfig(cfg),
		s3: s3.NewFromConfig(cfg, func(s *s3.Options) {
			s.UsePathStyle, s.DisableLogOutputChecksumValidationSkipped = cfg.BaseEndpoint != nil, true
		}),
	}
	who, err := r.sts.GetCallerIdentity(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("asking STS for the caller: %w", err)
	}
	r.account, r.caller = aws.ToString(who.Account), aws.ToString(who.Arn)
	r.name(r.caller, "{caller}")
	r.name(aws.ToString(who.UserId), "{user}")
	r.name(r.account, "{account}")
	r.name(o.prefix, "{prefix}")
	return r, nil
}

// errStopped ends a behavior whose run was interrupted.
var errStopped = errors.New("interrupted")

// runAll runs every behavior. Whatever happens, what was made is removed.
func (r *runner) runAll(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, maxHours*time.Hour)
	defer cancel()
	r.ctx = ctx
	defer func() {
		if p := recover(); p != nil {
			if stop, ok := p.(stopped); ok {
				err = stop.error
			} else {
				err = fmt.Errorf("panic: %v", p)
			}
		}
		if cleanErr := r.cleanUp(ctx); cleanErr != nil {
			err = errors.Join(err, cleanErr)
		}
	}()
	for _, b := range behaviors {
		r.behavior = b.name
		b.run(r)
	}
	return nil
}

// stopped is the panic that ends a run: steps need not check each call.
type stopped struct{ error }

// name replaces a value in all later answers.
func (r *runner) name(value, placeholder string) {
	if value != "" {
		r.names = append(r.names, value, placeholder)
	}
}

// normal replaces names and what no two runs share.
func (r *runner) normal(text string) string {
	pairs := slices.Clone(r.names)
	// The longest first: an ARN contains an account ID.
	for i := 0; i < len(pairs); i += 2 {
		for j := i + 2; j < len(pairs); j += 2 {
			if len(pairs[j]) > len(pairs[i]) {
				pairs[i], pairs[i+1], pairs[j], pairs[j+1] = pairs[j], pairs[j+1], pairs[i], pairs[i+1]
			}
		}
	}
	return requestID.ReplaceAllString(strings.NewReplacer(pairs...).Replace(text), "{uuid}")
}

var requestID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// step makes one call and records its answer.
func (r *runner) step(name string, call func(context.Context) (string, error)) bool {
	return r.until(name, "", call)
}

// until repeats a call until its answer begins with want, since AWS's changes take
// time to arrive, and records the last answer. It reports whether the call
// succeeded.
func (r *runner) until(name, want string, call func(context.Context) (string, error)) bool {
	deadline := time.Now().Add(r.o.settle)
	for {
		if err := r.ctx.Err(); err != nil {
			panic(stopped{fmt.Errorf("%w before %s, %s", errStopped, r.behavior, name)})
		}
		if r.calls++; r.calls > maxCalls {
			panic(stopped{fmt.Errorf("stopped before %s, %s: the limit of %d calls is reached", r.behavior, name, maxCalls)})
		}
		// Never interrupted: the outcome of a call that was interrupted is unknown.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), time.Minute)
		text, err := call(ctx)
		cancel()
		message := ""
		if err != nil {
			text, message = describe(err)
		}
		if strings.HasPrefix(text, want) || time.Now().After(deadline) {
			r.observed = append(r.observed, observation{r.behavior, name, r.normal(text), r.normal(message)})
			return err == nil
		}
		select {
		case <-r.ctx.Done():
		case <-time.After(min(max(2*time.Second, r.o.settle/30), r.o.settle)): // LookupEvents serves two calls a second to all of the account
		}
	}
}

// must is step for what later steps need.
func (r *runner) must(name string, call func(context.Context) (string, error)) {
	if !r.step(name, call) {
		last := r.observed[len(r.observed)-1]
		panic(stopped{fmt.Errorf("%s, %s: %s: %s", last.Behavior, last.Step, last.Answer, last.Message)})
	}
}

// describe returns status and code of an error, and its message.
func describe(err error) (text, message string) {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return "no answer", err.Error()
	}
	status := 0
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	return fmt.Sprintf("%s (%d)", api.ErrorCode(), status), api.ErrorMessage()
}

// fields writes names and values; nil is written as a dash.
func fields(pairs ...any) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, " %v=%s", pairs[i], value(pairs[i+1]))
	}
	return strings.TrimSpace(cmp.Or(b.String(), " ok"))
}

func value(v any) string {
	x := reflect.ValueOf(v)
	for x.Kind() == reflect.Pointer || x.Kind() == reflect.Interface {
		if x.IsNil() {
			return "-"
		}
		x = x.Elem()
	}
	if !x.IsValid() {
		return "-"
	}
	return fmt.Sprintf("%v", x.Interface())
}

// makeKey creates a key: once, since a retry would make another.
func (r *runner) makeKey() *kmstypes.KeyMetadata {
	if len(r.keys) >= maxKeys {
		panic(stopped{fmt.Errorf("%s: the limit of %d keys is reached", r.behavior, maxKeys)})
	}
	var m *kmstypes.KeyMetadata
	n := len(r.keys) + 1
	r.must(fmt.Sprintf("CreateKey %d", n), func(ctx context.Context) (string, error) {
		out, err := r.kms.CreateKey(ctx, &kms.CreateKeyInput{Description: aws.String(r.o.prefix)}, func(o *kms.Options) { o.Retryer = aws.NopRetryer{} })
		if err != nil {
			return "", err
		}
		m = out.KeyMetadata
		r.keys = append(r.keys, *m.KeyId)
		r.name(*m.KeyId, fmt.Sprintf("{key %d}", n))
		return fields("Arn", m.Arn, "State", m.KeyState, "Usage", m.KeyUsage, "Spec", m.KeySpec, "Origin", m.Origin, "Manager", m.KeyManager,
			"Enabled", m.Enabled, "MultiRegion", m.MultiRegion, "Algorithms", m.EncryptionAlgorithms, "Description", m.Description,
			"DeletionDate", m.DeletionDate, "CurrentKeyMaterialId", m.CurrentKeyMaterialId != nil), nil
	})
	return m
}

// cleanUp removes everything of this prefix: what the run knows of, and what a
// listing finds, since the answer to a call may have been lost. It goes on after
// errors and names what is left.
func (r *runner) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Minute)
	defer cancel()
	var errs []error
	left := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("not removed: %s: %w (repeat with -clean %s)", what, err, r.o.prefix))
		}
	}
	if r.restore != nil {
		left("the account's EBS encryption defaults", r.restore(ctx))
	}
	left("aliases", r.removeAliases(ctx))
	left("keys", r.removeKeys(ctx))
	left("buckets", r.removeBuckets(ctx))
	return errors.Join(errs...)
}

func (r *runner) removeAliases(ctx context.Context) error {
	var errs []error
	for pages := kms.NewListAliasesPaginator(r.kms, nil); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, a := range page.Aliases {
			if r.o.owns(strings.TrimPrefix(*a.AliasName, "alias/")) {
				_, err := r.kms.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: a.AliasName})
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (r *runner) removeKeys(ctx context.Context) error {
	var errs []error
	remove := func(id string, mine bool) {
		got, err := r.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
		if err != nil {
			if mine { // a key of others need not be readable
				errs = append(errs, fmt.Errorf("key %s: %w", id, err))
			}
			return
		}
		m := got.KeyMetadata
		if aws.ToString(m.Description) != r.o.prefix || m.KeyState == kmstypes.KeyStatePendingDeletion {
			return
		}
		if _, err := r.kms.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: aws.Int32(7)}); err != nil {
			errs = append(errs, fmt.Errorf("key %s: %w", id, err))
		}
	}
	for _, id := range r.keys {
		remove(id, true)
	}
	for pages := kms.NewListKeysPaginator(r.kms, nil); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, k := range page.Keys {
			if !slices.Contains(r.keys, *k.KeyId) {
				remove(*k.KeyId, false)
			}
		}
	}
	return errors.Join(errs...)
}

func (r *runner) removeBuckets(ctx context.Context) error {
	var errs []error
	names := map[string]bool{}
	if r.bucket != "" {
		names[r.bucket] = true
	}
	for pages := s3.NewListBucketsPaginator(r.s3, &s3.ListBucketsInput{Prefix: &r.o.prefix}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			errs = append(errs, err)
			break
		}
		for _, b := range page.Buckets {
			if r.o.owns(*b.Name) { // an endpoint may ignore the parameter
				names[*b.Name] = true
			}
		}
	}
	for name := range names {
		err := r.emptyBucket(ctx, name)
		if err == nil {
			_, err = r.s3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name, ExpectedBucketOwner: &r.account})
		}
		var gone smithy.APIError
		if errors.As(err, &gone) && gone.ErrorCode() == "NoSuchBucket" || err == nil {
			continue
		}
		errs = append(errs, fmt.Errorf("bucket %s: %w", name, err))
	}
	return errors.Join(errs...)
}

// emptyBucket also removes the policy, which may deny the deletion.
func (r *runner) emptyBucket(ctx context.Context, bucket string) error {
	if _, err := r.s3.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: &bucket, ExpectedBucketOwner: &r.account}); err != nil {
		return err
	}
	for pages := s3.NewListMultipartUploadsPaginator(r.s3, &s3.ListMultipartUploadsInput{Bucket: &bucket}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, u := range page.Uploads {
			if _, err := r.s3.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: u.Key, UploadId: u.UploadId}); err != nil {
				return err
			}
		}
	}
	for pages := s3.NewListObjectVersionsPaginator(r.s3, &s3.ListObjectVersionsInput{Bucket: &bucket}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		var all []s3types.ObjectIdentifier
		for _, v := range page.Versions {
			all = append(all, s3types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, m := range page.DeleteMarkers {
			all = append(all, s3types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
		if len(all) == 0 {
			continue
		}
		out, err := r.s3.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &bucket, Delete: &s3types.Delete{Objects: all, Quiet: aws.Bool(true)}})
		if err != nil {
			return err
		}
		for _, e := range out.Errors {
			return fmt.Errorf("object %s: %s", aws.ToString(e.Key), aws.ToString(e.Code))
		}
	}
	return nil
}
