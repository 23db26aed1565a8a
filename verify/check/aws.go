package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// answer is what one call to AWS came to.
type answer[T any] struct {
	out      T
	err      error
	evidence report.Evidence
}

// run is one run of the checks: the clients, and the answers that more than one
// check looks at, each asked for once.
type run struct {
	cfg Config
	now func() time.Time

	kms   *kms.Client
	trail *cloudtrail.Client

	selected map[string]bool // by the ids of the checks

	identity       func() answer[*sts.GetCallerIdentityOutput]
	identityAtHome func() answer[*sts.GetCallerIdentityOutput] // also where the Region is off
	keys           []*keyFacts                                 // in the order of Config.Keys
	alias          func() answer[*kms.DescribeKeyOutput]
	head           func() answer[*s3.HeadBucketOutput] // with the bucket's Region
	bucket         func() *s3.Client                   // for the bucket's Region
	encryption     func() answer[*s3.GetBucketEncryptionOutput]
	policyOfBucket func() answer[*s3.GetBucketPolicyOutput]
	named          func() []answer[*s3.HeadObjectOutput] // of Config.Objects
	ebsDefault     func() answer[string]                 // the Region's default key, as EC2 gives it
	canary         func() canaryFindings
	events         func() trailFindings

	started func() time.Time // by AWS's clock, in whole seconds

	refused atomic.Pointer[error] // AWS's last word on the credentials, if it refused them

	mu       sync.Mutex
	resolved map[string]resolvedKey // by the name that was resolved
	// What the checks saw that belongs in the report's heading.
	objectCount int
	ebsKeyARN   string
	uses        []report.KeyUse
	access      []report.Access
	accessNotes []string
}

// addAccess puts who may use the key or the bucket into the report. A note
// states what the list does not cover.
func (r *run) addAccess(list []report.Access, notes ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.access, r.accessNotes = append(r.access, list...), append(r.accessNotes, notes...)
}

// regionIsOff reports whether the Region is not enabled in the account.
func (r *run) regionIsOff() bool { return isInvalid(r.identity().err) && r.identityAtHome().err == nil }

// resolvedKey is what DescribeKey says of a key that is not one of Config.Keys.
type resolvedKey struct {
	arn          string
	managedByAWS bool
	err          error
}

// keyFacts are the answers about one key.
type keyFacts struct {
	name     string // as it was given
	describe func() answer[*kms.DescribeKeyOutput]
	policy   func() answer[*kms.GetKeyPolicyOutput] // where its ARN is known
}

func newRun(ctx context.Context, cfg Config, selected map[string]bool) *run {
	r := &run{cfg: cfg, now: func() time.Time { return cfg.Now().UTC() }, selected: selected}
	r.kms = kms.NewFromConfig(cfg.AWS)
	r.trail = newTrailClient(cfg.AWS, cfg.lookupRate, cfg.lookupAttempts)
	caller := func(region string) (*sts.GetCallerIdentityOutput, error) {
		return sts.NewFromConfig(cfg.AWS, func(o *sts.Options) { o.Region = region }).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	}
	r.identity = sync.OnceValue(func() answer[*sts.GetCallerIdentityOutput] {
		out, err := caller(cfg.AWS.Region)
		return answered(r, "sts:GetCallerIdentity", out, err, func() middleware.Metadata { return out.ResultMetadata })
	})
	r.started = sync.OnceValue(func() time.Time {
		if id := r.identity(); id.err == nil {
			if t, ok := awsmiddleware.GetServerTime(id.out.ResultMetadata); ok {
				return t
			}
		}
		return cfg.start
	})
	r.identityAtHome = sync.OnceValue(func() answer[*sts.GetCallerIdentityOutput] {
		// A Region that is not enabled refuses good credentials as invalid:
		// another Region that is always on tells the two apart.
		home := homeRegion(cfg.AWS.Region)
		if !isInvalid(r.identity().err) || home == cfg.AWS.Region {
			return r.identity()
		}
		out, err := caller(home)
		return answered(r, "sts:GetCallerIdentity", out, err, func() middleware.Metadata { return out.ResultMetadata })
	})
	for _, name := range cfg.Keys {
		k := &keyFacts{name: name, describe: r.describeKey(ctx, name)}
		k.policy = sync.OnceValue(func() answer[*kms.GetKeyPolicyOutput] { return r.getKeyPolicy(ctx, k) })
		r.keys = append(r.keys, k)
	}
	r.alias = r.describeKey(ctx, cfg.Alias)
	r.head = sync.OnceValue(func() answer[*s3.HeadBucketOutput] { return r.headBucket(ctx) })
	r.bucket = sync.OnceValue(func() *s3.Client { return r.bucketClient() })
	r.policyOfBucket = sync.OnceValue(func() answer[*s3.GetBucketPolicyOutput] {
		out, err := r.bucket().GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &r.cfg.Bucket})
		return answered(r, "s3:GetBucketPolicy", out, err, func() middleware.Metadata { return out.ResultMetadata })
	})
	r.encryption = sync.OnceValue(func() answer[*s3.GetBucketEncryptionOutput] { return r.getBucketEncryption(ctx) })
	r.named = sync.OnceValue(func() []answer[*s3.HeadObjectOutput] { return r.headNamed(ctx) })
	r.ebsDefault = sync.OnceValue(func() answer[string] { return r.getEBSKey(ctx) })
	r.canary = sync.OnceValue(func() canaryFindings { return r.runCanary(ctx) })
	r.events = sync.OnceValue(func() trailFindings { return r.followTrail(ctx) })
	return r
}

func (r *run) describeKey(ctx context.Context, name string) func() answer[*kms.DescribeKeyOutput] {
	return sync.OnceValue(func() answer[*kms.DescribeKeyOutput] {
		out, err := r.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &name})
		return answered(r, "kms:DescribeKey", out, err, func() middleware.Metadata { return out.ResultMetadata })
	})
}

func (r *run) getKeyPolicy(ctx context.Context, k *keyFacts) answer[*kms.GetKeyPolicyOutput] {
	arn, _, _ := r.keyARNOf(k)
	out, err := r.kms.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &arn, PolicyName: aws.String("default")})
	return answered(r, "kms:GetKeyPolicy", out, err, func() middleware.Metadata { return out.ResultMetadata })
}

// resolve finds out which key a name stands for in this account.
func (r *run) resolve(ctx context.Context, name string) (arn string, managedByAWS bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.resolved[name]
	if !ok {
		out, err := r.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &name})
		if k.err = err; err == nil {
			k.arn, k.managedByAWS = aws.ToString(out.KeyMetadata.Arn), out.KeyMetadata.KeyManager == types.KeyManagerTypeAws
		}
		if r.resolved == nil {
			r.resolved = map[string]resolvedKey{}
		}
		r.resolved[name] = k
	}
	return k.arn, k.managedByAWS, k.err
}

// keyARN is the ARN of the first key; empty where it is not known.
func (r *run) keyARN() string {
	if len(r.keys) == 0 {
		return ""
	}
	if strings.Contains(r.keys[0].name, ":key/") {
		return r.keys[0].name
	}
	if a := r.keys[0].describe(); a.err == nil {
		return aws.ToString(a.out.KeyMetadata.Arn)
	}
	return ""
}

// noKeyARN is the result of a check that has to know the key's ARN, where that
// could not be found out; ok is whether it is known.
func (r *run) noKeyARN() (x report.Result, ok bool) {
	if len(r.keys) == 0 {
		return skipped("no key was named to compare with"), false
	}
	if r.keyARN() == "" {
		return r.failure("kms:DescribeKey", r.keys[0].describe().err), false
	}
	return report.Result{}, true
}

// describe writes down what was looked at.
func (r *run) describe(rep *report.Report) {
	s := &rep.Subject
	s.Region, s.Bucket, s.Alias = r.cfg.AWS.Region, r.cfg.Bucket, r.cfg.Alias
	s.Objects = r.cfg.Objects[:min(len(r.cfg.Objects), 20)]
	if id := r.identity(); id.err == nil {
		s.Account, s.Caller = aws.ToString(id.out.Account), aws.ToString(id.out.Arn)
	}
	s.KeyARN = r.keyARN()
	r.mu.Lock()
	defer r.mu.Unlock()
	s.ObjectCount, s.EBSKeyARN, rep.Events = r.objectCount, r.ebsKeyARN, r.uses
	rep.Access, rep.AccessNotes = r.access, slices.Compact(slices.Sorted(slices.Values(r.accessNotes)))
	slices.SortStableFunc(rep.Access, func(a, b report.Access) int {
		return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Principal, b.Principal))
	})
}

// answered pairs an answer with its evidence.
func answered[T any](r *run, source string, out T, err error, metadata func() middleware.Metadata) answer[T] {
	a := answer[T]{out: out, err: err, evidence: report.Evidence{Source: source, Time: r.now()}}
	if err != nil {
		a.evidence = r.refusal(source, err)
		return a
	}
	a.evidence.RequestID, _ = awsmiddleware.GetRequestIDMetadata(metadata())
	return a
}

// saw is the evidence with what was seen in it.
func (a answer[T]) saw(format string, args ...any) report.Evidence {
	e := a.evidence
	e.Detail = fmt.Sprintf(format, args...)
	return e
}

func (r *run) refusal(source string, err error) report.Evidence {
	e := report.Evidence{Source: source, Time: r.now(), Detail: Reason(err)}
	var h *awshttp.ResponseError
	if errors.As(err, &h) {
		e.RequestID = h.ServiceRequestID()
	}
	return e
}

// failure is the result of a check whose call failed: it could not be
// evaluated.
func (r *run) failure(source string, err error) report.Result {
	x := report.Result{Status: report.Error, Evidence: []report.Evidence{r.refusal(source, err)}}
	x.Actual = fmt.Sprintf("%s could not be asked: %s", source, Reason(err))
	if errors.As(err, new(smithy.APIError)) {
		x.Actual = fmt.Sprintf("%s answered %s", source, Reason(err))
	}
	code := errorCode(err)
	switch {
	case errors.As(err, new(*noTrailError)):
		x.Actual = Reason(err)
		x.Remedy = "aws cloudtrail describe-trails --region " + r.cfg.AWS.Region
	case isInvalid(err) && (r.identity().err == nil || r.regionIsOff()):
		x.Actual = fmt.Sprintf("%s refused credentials that are good elsewhere (%s): the Region is not enabled in this account", source, code)
		x.Remedy = "aws account list-regions --region-opt-status-contains ENABLED ENABLED_BY_DEFAULT"
	case IsCredentials(err):
		r.refused.Store(&err)
		x.Remedy = "aws sts get-caller-identity"
	case hasCode(err, "NoSuchBucket"):
		x.Remedy = "aws s3 ls"
	case hasCode(err, "NotFoundException"):
		x.Remedy = "aws kms list-aliases --region " + r.cfg.AWS.Region
	case isDenied(err):
		x.Remedy = "attach the IAM policy that verify iam prints to the caller"
	case errors.As(err, new(*unknownOwnerError)):
		x.Remedy = "aws sts get-caller-identity"
	case errors.Is(err, context.Canceled):
		x.Remedy = "run verify again without interrupting it"
	case errors.Is(err, context.DeadlineExceeded):
		x.Remedy = "run verify again with a longer --timeout"
	case isThrottled(err):
		x.Remedy = "run verify again when the account is less busy"
	case errors.As(err, new(net.Error)):
		x.Remedy = "check the network, AWS_ENDPOINT_URL and the Region's name, and run verify again"
	default:
		x.Remedy = "run verify again, and check https://health.aws.amazon.com"
	}
	return x
}

// errorCode is AWS's code of an error; for a response without one, as to a HEAD,
// the text of its HTTP status.
func errorCode(err error) string {
	var a smithy.APIError
	if errors.As(err, &a) {
		return a.ErrorCode()
	}
	var h *awshttp.ResponseError
	if errors.As(err, &h) {
		return http.StatusText(h.HTTPStatusCode())
	}
	return ""
}

// Reason is an error in one line, without the SDK's wrapping.
func Reason(err error) string {
	if err == nil {
		return ""
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	}
	var text string
	var a smithy.APIError
	if errors.As(err, &a) {
		text = a.ErrorCode()
		if m := a.ErrorMessage(); m != "" && m != text {
			text += ": " + m
		}
	} else {
		for e := err; e != nil; e = errors.Unwrap(e) {
			text = e.Error()
		}
	}
	var n *aws.RequestCanceledError
	if errors.As(err, &n) {
		text = n.Error()
	}
	text = strings.Join(strings.Fields(text), " ")
	return text
}

func hasCode(err error, codes ...string) bool {
	return err != nil && slices.Contains(codes, errorCode(err))
}

// hasStatus reports whether AWS answered with an HTTP status.
func hasStatus(err error, status int) bool {
	var h *awshttp.ResponseError
	return errors.As(err, &h) && h.HTTPStatusCode() == status
}

// IsDenied reports whether AWS refused a call for a missing permission.
func IsDenied(err error) bool { return isDenied(err) }

func isDenied(err error) bool {
	return hasCode(err, "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden", "KMS.AccessDeniedException")
}

func isThrottled(err error) bool {
	return hasCode(err, "ThrottlingException", "Throttling", "RequestLimitExceeded", "SlowDown", "TooManyRequestsException")
}

// IsCredentials reports whether AWS refused the credentials themselves.
func IsCredentials(err error) bool { return isExpired(err) || isInvalid(err) }

// isExpired reports whether AWS calls the credentials too old.
func isExpired(err error) bool {
	return hasCode(err, "ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
}

// isInvalid reports whether AWS does not know the credentials, which it also
// returns in a Region that is not enabled.
func isInvalid(err error) bool {
	return hasCode(err, "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "InvalidToken", "AuthFailure",
		"SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken",
		"MissingAuthenticationTokenException")
}

// homeRegion is a Region of the same partition that cannot be switched off.
func homeRegion(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "cn-north-1"
	case strings.HasPrefix(region, "us-gov-"):
		return "us-gov-west-1"
	}
	return "us-east-1"
}

// regionOf is the Region of an ARN; empty for any other text.
func regionOf(name string) string {
	if part := strings.SplitN(name, ":", 6); len(part) == 6 && part[0] == "arn" {
		return part[3]
	}
	return ""
}

// accountOf is the account of an ARN; empty for any other text.
func accountOf(name string) string {
	if part := strings.SplitN(name, ":", 6); len(part) == 6 && part[0] == "arn" {
		return part[4]
	}
	return ""
}

// ec2 is a client for one of several Regions.
func (r *run) ec2(region string) *ec2.Client {
	return ec2.NewFromConfig(r.cfg.AWS, func(o *ec2.Options) { o.Region = region })
}
