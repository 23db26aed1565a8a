package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	analyzer "github.com/aws/aws-sdk-go-v2/service/accessanalyzer/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/securethecloud/kms-baseline/verify/report"
)

var bucketChecks = []Check{
	{
		ID: "bucket.region", Title: "the bucket is in the key's Region", Severity: "high",
		Why:      "S3 encrypts only under keys of the bucket's own Region",
		Expected: "the bucket exists, in the Region of the key",
		Proves:   "the bucket exists, in the key's Region",
		Remedy:   "use a bucket in the key's Region",
		Needs:    []Permission{{"s3:ListBucket", onBucket}},
		run:      withBucket(bucketRegion),
	}, {
		ID: "bucket.account", Title: "the bucket is owned by the caller's account", Severity: "critical",
		Why:       "bucket names are global: a bucket of another account may have the expected name, and receive the data",
		Expected:  "S3 accepts the caller's account as the expected owner",
		Proves:    "S3 accepts a call with the caller's account as expected bucket owner. verify sends it with every call to the bucket, except the one that tells another owner from a missing permission",
		NotProven: "that the caller's account is the right one: `account.expected`",
		Remedy:    "use a bucket of the caller's account",
		Needs:     []Permission{{"s3:ListBucket", onBucket}},
		run:       withBucket(bucketAccount),
	}, {
		ID: "bucket.versioning", Title: "the bucket keeps the versions of its objects", Severity: "medium",
		Why:       "an overwritten or deleted object is lost without versioning",
		Expected:  "versioning Enabled",
		Proves:    "versioning is enabled now",
		NotProven: "that objects from before it was enabled have versions; MFA delete",
		Remedy:    "aws s3api put-bucket-versioning with Status=Enabled",
		Needs:     []Permission{{"s3:GetBucketVersioning", onBucket}, {"s3:ListBucket", onBucket}},
		run:       withBucket(bucketVersioning),
	}, {
		ID: "bucket.ownership", Title: "the bucket's owner owns every object", Severity: "medium",
		Why:      "with ACLs a writer of another account keeps control of its objects, past the bucket policy",
		Expected: "object ownership BucketOwnerEnforced",
		Proves:   "object ownership is BucketOwnerEnforced: ACLs have no effect",
		Remedy:   "aws s3api put-bucket-ownership-controls with ObjectOwnership=BucketOwnerEnforced",
		Needs:    []Permission{{"s3:GetBucketOwnershipControls", onBucket}, {"s3:ListBucket", onBucket}},
		run:      withBucket(bucketOwnership),
	}, {
		ID: "bucket.encryption", Title: "the bucket encrypts with the key by default", Severity: "critical",
		Why:       "an upload that names no encryption gets the bucket's default, for ever",
		Expected:  "aws:kms with the key's ARN",
		Proves:    "the default is `aws:kms` (or `aws:kms:dsse`) with exactly the key's ARN",
		NotProven: "how existing objects are encrypted, or objects whose upload names other encryption",
		Remedy:    "aws s3api put-bucket-encryption with SSEAlgorithm aws:kms and the key's ARN",
		Needs:     []Permission{{"s3:GetEncryptionConfiguration", onBucket}, {"s3:ListBucket", onBucket}, {"kms:DescribeKey", onKey}},
		run:       withBucket(bucketEncryption),
	}, {
		ID: "bucket.bucket-key", Title: "the bucket uses an S3 Bucket Key", Severity: "low",
		Why:       "without it every read and write is a call to KMS, which costs and can be throttled",
		Expected:  "Bucket Key enabled",
		Proves:    "S3 Bucket Keys are on",
		NotProven: "anything about security: the setting concerns cost and throttling",
		Remedy:    "aws s3api put-bucket-encryption with BucketKeyEnabled true",
		Needs:     []Permission{{"s3:GetEncryptionConfiguration", onBucket}, {"s3:ListBucket", onBucket}},
		run:       withBucket(bucketKey),
	}, {
		ID: "bucket.public-access", Title: "the bucket blocks public access", Severity: "critical",
		Why:       "one wrong policy or ACL makes the data public",
		Expected:  "all four settings of the public-access block on",
		Proves:    "all four settings of the bucket's public access block are on",
		NotProven: "the account's own public access block: `account.public-access`",
		Remedy:    "aws s3api put-public-access-block --bucket BUCKET --public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true",
		Needs:     []Permission{{"s3:GetBucketPublicAccessBlock", onBucket}, {"s3:ListBucket", onBucket}},
		run:       withBucket(bucketPublicAccess),
	}, {
		ID: "bucket.policy", Title: "the bucket policy is not public", Severity: "critical",
		Why:       "a public policy gives the data to every caller that may use the key",
		Expected:  "S3 calls the policy not public",
		Proves:    "S3 itself classifies the policy as not public, and verify's own analysis finds no statement that admits an outsider; if the two differ, the result is inconclusive",
		NotProven: "that the principals that the policy names should have access",
		Remedy:    "name the principals that need the bucket in the bucket policy: aws s3api put-bucket-policy",
		Needs:     []Permission{{"s3:GetBucketPolicyStatus", onBucket}, {"s3:GetBucketPolicy", onBucket}, {"s3:ListBucket", onBucket}},
		run:       withBucket(bucketPolicyStatus),
	}, {
		ID: "bucket.tls", Title: "the bucket refuses requests without TLS", Severity: "high",
		Why:       "S3 decrypts before it answers: without TLS the plaintext crosses the network",
		Expected:  "the policy denies every action to every principal, on the bucket and every object, where aws:SecureTransport is false",
		Proves:    "one or more `Deny` statements refuse every action, for every principal, on the bucket and on every object, where `aws:SecureTransport` is false",
		NotProven: "which version of TLS a client uses",
		Remedy:    "deny s3:* for every principal where aws:SecureTransport is false: aws s3api put-bucket-policy",
		Needs:     []Permission{{"s3:GetBucketPolicy", onBucket}, {"s3:ListBucket", onBucket}},
		run:       withBucket(bucketTLS),
	}, {
		ID: "bucket.foreign-keys", Title: "the bucket policy keeps other keys out", Severity: "high",
		Why:       "an object under another key is not under this key's policy, and is lost with the other key",
		Expected:  "the policy denies everyone uploads that name other encryption, s3:ReplicateObject and s3:UpdateObjectEncryption",
		Proves:    "`Deny` statements refuse, for every principal and every object: an upload that names another KMS key, SSE-S3 (except for AWS services named in the policy) or a customer-provided key; and, except for principals named by ARN, `s3:ReplicateObject` and `s3:UpdateObjectEncryption`, which choose a key that no condition key is documented to hold. With `--events s3://` or a table, also: of the versions that the trail's data events show re-encrypted in place, or written under another KMS key, within `--since`, none is under another key now",
		NotProven: "uploads with `aws:kms` and no key ID, for which S3 documents the AWS managed key; what existing objects are encrypted under: `object.encryption`; what named exceptions do",
		Remedy:    "deny these requests in the bucket policy: aws s3api put-bucket-policy",
		Needs:     []Permission{{"s3:GetBucketPolicy", onBucket}, {"s3:ListBucket", onBucket}, {"kms:DescribeKey", onKey}},
		run:       withBucket(bucketForeignKeys),
	},
}

func withBucket(check func(context.Context, *run) report.Result) func(context.Context, *run) report.Result {
	return func(ctx context.Context, r *run) report.Result {
		if r.cfg.Bucket == "" {
			return skipped("no bucket was named")
		}
		return check(ctx, r)
	}
}

// headBucket finds the bucket's Region: S3 names it also where it refuses the
// call.
func (r *run) headBucket(ctx context.Context) answer[*s3.HeadBucketOutput] {
	client := s3.NewFromConfig(r.cfg.AWS, func(o *s3.Options) { o.APIOptions = append(o.APIOptions, r.withExpectedOwner) })
	out, err := client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &r.cfg.Bucket})
	var h *awshttp.ResponseError
	if errors.As(err, &h) && h.Response != nil && h.HTTPStatusCode() != http.StatusNotFound {
		region := h.Response.Header.Get("X-Amz-Bucket-Region")
		if region != "" && region != r.cfg.AWS.Region {
			out = &s3.HeadBucketOutput{BucketRegion: &region}
			a := answer[*s3.HeadBucketOutput]{out: out, evidence: r.refusal("s3:HeadBucket", err)}
			return a
		}
	}
	return answered(r, "s3:HeadBucket", out, err, func() middleware.Metadata { return out.ResultMetadata })
}

// inBucketRegion makes a client send its calls to the Region that the bucket is in.
func (r *run) inBucketRegion(o *s3.Options) {
	if a := r.head(); a.err == nil && aws.ToString(a.out.BucketRegion) != "" {
		o.Region = *a.out.BucketRegion
	}
}

// bucketClient is the client for every call that a check rests on: in the
// bucket's Region, with the expected owner.
func (r *run) bucketClient() *s3.Client {
	return s3.NewFromConfig(r.cfg.AWS, r.inBucketRegion, func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, r.withExpectedOwner)
		// A part of an object has no checksum to check; a line in the log for each
		// is no news to the reader.
		o.DisableLogOutputChecksumValidationSkipped = true
	})
}

// owner is the account that has to own the bucket: the caller's.
func (r *run) owner() (string, error) {
	id := r.identityAtHome()
	if id.err != nil {
		return "", id.err
	}
	account := aws.ToString(id.out.Account)
	if account == "" {
		return "", errors.New("STS returned no account")
	}
	return account, nil
}

// unknownOwnerError is the error of a call that was not sent because the account
// to expect as the bucket's owner is not known.
type unknownOwnerError struct{ cause error }

func (e *unknownOwnerError) Error() string {
	return "the expected owner of the bucket is not known: sts:GetCallerIdentity: " + Reason(e.cause)
}

// withExpectedOwner sends the expected owner with every call: S3 refuses the call
// if another account owns the bucket, also if it was created meanwhile. Where the
// owner is not known, no call is sent: its answer could be about the bucket of
// another account.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
func (r *run) withExpectedOwner(s *middleware.Stack) error {
	return s.Build.Add(middleware.BuildMiddlewareFunc("ExpectedBucketOwner", func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
		account, err := r.owner()
		if ctx.Err() != nil {
			return middleware.BuildOutput{}, middleware.Metadata{}, ctx.Err()
		}
		if err != nil {
			return middleware.BuildOutput{}, middleware.Metadata{}, &unknownOwnerError{err}
		}
		h, ok := in.Request.(*smithyhttp.Request)
		if !ok {
			return middleware.BuildOutput{}, middleware.Metadata{}, fmt.Errorf("the request is a %T and cannot carry the expected owner", in.Request)
		}
		h.Header.Set("X-Amz-Expected-Bucket-Owner", account)
		return next.HandleBuild(ctx, in)
	}), middleware.After)
}

// bucketAccount makes a call with the expected owner. S3 refuses it in the same
// way for another owner and for a missing permission: a second call, without the
// expected owner, tells them apart.
func bucketAccount(ctx context.Context, r *run) report.Result {
	want, err := r.owner()
	if err != nil {
		return r.failure("sts:GetCallerIdentity", err)
	}
	out, err := r.bucket().HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &r.cfg.Bucket})
	a := answered(r, "s3:HeadBucket", out, err, func() middleware.Metadata { return out.ResultMetadata })
	if err == nil {
		return pass("the bucket is owned by "+want, a.saw("accepted with the expected owner %s", want))
	}
	x := r.failure("s3:HeadBucket", err)
	if hasStatus(err, http.StatusForbidden) {
		_, anyOwner := s3.NewFromConfig(r.cfg.AWS, r.inBucketRegion).HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &r.cfg.Bucket})
		if anyOwner == nil {
			return fail("S3 accepts the call, but not if "+want+" has to own the bucket: another account owns it", "use a bucket of the caller's account: aws s3api list-buckets --query 'Buckets[].Name'", a.evidence)
		}
		x.Actual += ", also without an expected owner, so the owner is not known"
		x.Remedy = "allow s3:ListBucket on the bucket, or use a bucket of the caller's account: aws s3api list-buckets --query 'Buckets[].Name'"
	}
	return x
}

func bucketVersioning(ctx context.Context, r *run) report.Result {
	out, err := r.bucket().GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &r.cfg.Bucket})
	a := answered(r, "s3:GetBucketVersioning", out, err, func() middleware.Metadata { return out.ResultMetadata })
	if err != nil {
		return r.failure("s3:GetBucketVersioning", err)
	}
	if out.Status != types.BucketVersioningStatusEnabled {
		status := cmp.Or(string(out.Status), "never enabled")
		return fail("versioning is "+status, "aws s3api put-bucket-versioning --bucket "+quote(r.cfg.Bucket)+" --versioning-configuration Status=Enabled", a.saw("%s", status))
	}
	return pass("versioning is Enabled", a.saw("Enabled"))
}

func bucketOwnership(ctx context.Context, r *run) report.Result {
	out, err := r.bucket().GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: &r.cfg.Bucket})
	a := answered(r, "s3:GetBucketOwnershipControls", out, err, func() middleware.Metadata { return out.ResultMetadata })
	remedy := "aws s3api put-bucket-ownership-controls --bucket " + quote(r.cfg.Bucket) + " --ownership-controls 'Rules=[{ObjectOwnership=BucketOwnerEnforced}]'"
	if hasCode(err, "OwnershipControlsNotFoundError") {
		return fail("the bucket has no ownership controls, so that ACLs are in effect", remedy, a.evidence)
	}
	if err != nil {
		return r.failure("s3:GetBucketOwnershipControls", err)
	}
	if out.OwnershipControls == nil || len(out.OwnershipControls.Rules) != 1 {
		return inconclusive("S3 did not return exactly one ownership rule", remedy, a.evidence)
	}
	if got := out.OwnershipControls.Rules[0].ObjectOwnership; got != types.ObjectOwnershipBucketOwnerEnforced {
		return fail("object ownership is "+string(got), remedy, a.saw("%s", got))
	}
	return pass("object ownership is BucketOwnerEnforced", a.saw("BucketOwnerEnforced"))
}

func bucketRegion(_ context.Context, r *run) report.Result {
	a := r.head()
	if isNotFound(a.err) {
		return fail(fmt.Sprintf("there is no bucket %s", r.cfg.Bucket), "aws s3api list-buckets --query 'Buckets[].Name'", a.evidence)
	}
	if a.err != nil {
		return r.failure("s3:HeadBucket", a.err)
	}
	got := aws.ToString(a.out.BucketRegion)
	want := r.cfg.AWS.Region
	switch got {
	case "":
		return inconclusive("S3 did not say which Region the bucket is in", "aws s3api get-bucket-location --bucket "+quote(r.cfg.Bucket), a.evidence)
	case want:
		return pass("the bucket is in "+got, a.saw("in %s", got))
	}
	return fail(fmt.Sprintf("the bucket is in %s, the key in %s", got, want),
		fmt.Sprintf("use a key in %s, or a bucket in %s", got, want), a.saw("in %s", got))
}

// defaultEncryption is the bucket's rule, asked for once.
func (r *run) getBucketEncryption(ctx context.Context) answer[*s3.GetBucketEncryptionOutput] {
	out, err := r.bucket().GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &r.cfg.Bucket})
	return answered(r, "s3:GetBucketEncryption", out, err, func() middleware.Metadata { return out.ResultMetadata })
}

// rule is the first rule of the configuration: S3 allows no second.
func rule(out *s3.GetBucketEncryptionOutput) (types.ServerSideEncryptionRule, types.ServerSideEncryptionByDefault) {
	if out.ServerSideEncryptionConfiguration == nil || len(out.ServerSideEncryptionConfiguration.Rules) == 0 {
		return types.ServerSideEncryptionRule{}, types.ServerSideEncryptionByDefault{}
	}
	first := out.ServerSideEncryptionConfiguration.Rules[0]
	if first.ApplyServerSideEncryptionByDefault == nil {
		return first, types.ServerSideEncryptionByDefault{}
	}
	return first, *first.ApplyServerSideEncryptionByDefault
}

func bucketEncryption(ctx context.Context, r *run) report.Result {
	if x, ok := r.noKeyARN(); !ok {
		return x
	}
	want := r.keyARN()
	remedy := fmt.Sprintf(`aws s3api put-bucket-encryption --bucket %s --server-side-encryption-configuration '{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms","KMSMasterKeyID":"%s"},"BucketKeyEnabled":true}]}'`, r.cfg.Bucket, want)
	a := r.encryption()
	x := func() report.Result {
		if hasCode(a.err, "ServerSideEncryptionConfigurationNotFoundError") {
			return fail("the bucket has no default encryption", remedy, a.evidence)
		}
		if a.err != nil {
			return r.failure("s3:GetBucketEncryption", a.err)
		}
		_, d := rule(a.out)
		key := aws.ToString(d.KMSMasterKeyID)
		seen := a.saw("%s %s", d.SSEAlgorithm, key)
		if d.SSEAlgorithm != types.ServerSideEncryptionAwsKms && d.SSEAlgorithm != types.ServerSideEncryptionAwsKmsDsse {
			return fail(fmt.Sprintf("the default is SSE-S3 (%s): no KMS key is used", d.SSEAlgorithm), remedy, seen)
		}
		if why := r.notByARN(ctx, key, want); why != "" {
			return fail(fmt.Sprintf("the default is %s %s", d.SSEAlgorithm, why), remedy, seen)
		}
		if d.SSEAlgorithm == types.ServerSideEncryptionAwsKmsDsse {
			return pass("the default is aws:kms:dsse, which encrypts twice, with the key "+key, seen)
		}
		return pass("the default is aws:kms with the key "+key, seen)
	}()
	x.Expected = "aws:kms with " + want
	return x
}

// notByARN returns why a bucket's default key is not want, the ARN of the key;
// empty where it is.
func (r *run) notByARN(ctx context.Context, key, want string) string {
	switch {
	case key == want:
		return ""
	case key == "", strings.HasSuffix(key, "alias/aws/s3"):
		return "with the AWS managed key (aws/s3)"
	case strings.Contains(key, "alias/"):
		why := fmt.Sprintf("with the alias %s: S3 looks an alias up in the account of the writer, so a writer of another account encrypts under a key of its own", key)
		if arn, _, err := r.resolve(ctx, key); err == nil && arn != want {
			why += "; from this account it is another key: " + arn
		}
		return why
	case !strings.HasPrefix(key, "arn:"):
		why := fmt.Sprintf("with the key id %s: an id says nothing of the account, and S3 looks it up in that of the writer", key)
		if arn, _, err := r.resolve(ctx, key); err == nil && arn == want {
			why += "; from this account it is the right key"
		} else if err == nil {
			why += "; from this account it is another key: " + arn
		}
		return why
	case accountOf(key) != accountOf(want):
		return fmt.Sprintf("with a key of another account (%s): %s", accountOf(key), key)
	}
	if _, managedByAWS, err := r.resolve(ctx, key); err == nil && managedByAWS {
		return "with an AWS managed key: " + key
	}
	return "with another key: " + key
}

func bucketKey(_ context.Context, r *run) report.Result {
	a := r.encryption()
	if hasCode(a.err, "ServerSideEncryptionConfigurationNotFoundError") {
		return fail("the bucket has no default encryption", "set the default encryption that bucket.encryption names", a.evidence)
	}
	if a.err != nil {
		return r.failure("s3:GetBucketEncryption", a.err)
	}
	if first, _ := rule(a.out); !aws.ToBool(first.BucketKeyEnabled) {
		return fail("Bucket Key off", "set BucketKeyEnabled to true with aws s3api put-bucket-encryption", a.saw("Bucket Key off"))
	}
	return pass("Bucket Key on", a.saw("Bucket Key on"))
}

func bucketPublicAccess(ctx context.Context, r *run) report.Result {
	out, err := r.bucket().GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &r.cfg.Bucket})
	a := answered(r, "s3:GetPublicAccessBlock", out, err, func() middleware.Metadata { return out.ResultMetadata })
	remedy := fmt.Sprintf("aws s3api put-public-access-block --bucket %s --public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true", r.cfg.Bucket)
	if hasCode(err, "NoSuchPublicAccessBlockConfiguration") {
		return fail("the bucket has no public-access block", remedy, a.evidence)
	}
	if err != nil {
		return r.failure("s3:GetPublicAccessBlock", err)
	}
	c := out.PublicAccessBlockConfiguration
	if c == nil {
		c = &types.PublicAccessBlockConfiguration{}
	}
	return blockResult(a.evidence, remedy, c.BlockPublicAcls, c.IgnorePublicAcls, c.BlockPublicPolicy, c.RestrictPublicBuckets)
}

func bucketPolicyStatus(ctx context.Context, r *run) report.Result {
	out, err := r.bucket().GetBucketPolicyStatus(ctx, &s3.GetBucketPolicyStatusInput{Bucket: &r.cfg.Bucket})
	a := answered(r, "s3:GetBucketPolicyStatus", out, err, func() middleware.Metadata { return out.ResultMetadata })
	if hasCode(err, "NoSuchBucketPolicy") {
		return pass("there is no bucket policy", a.evidence)
	}
	if err != nil {
		return r.failure("s3:GetBucketPolicyStatus", err)
	}
	if out.PolicyStatus == nil || out.PolicyStatus.IsPublic == nil {
		return inconclusive("S3 did not report whether the policy is public", "aws s3api get-bucket-policy-status --bucket "+quote(r.cfg.Bucket), a.evidence)
	}
	if *out.PolicyStatus.IsPublic {
		return fail("S3 calls the policy public", "name the principals that need the bucket in its policy, with aws s3api put-bucket-policy", a.saw("public"))
	}
	policy := r.policyOfBucket()
	if policy.err != nil {
		return r.failure("s3:GetBucketPolicy", policy.err)
	}
	seen := a.saw("not public")
	remedy := "aws s3api get-bucket-policy --bucket " + quote(r.cfg.Bucket) + " --query Policy --output text"
	p, err := parsePolicy(aws.ToString(policy.out.Policy))
	if err != nil {
		return inconclusive("S3 calls the policy not public, but "+err.Error(), remedy, seen)
	}
	arn := bucketARN(r.cfg)
	owner, err := r.owner()
	if err != nil {
		return r.failure("sts:GetCallerIdentity", err)
	}
	list, notes := p.access(arn, owner, "bucket policy")
	r.addAccess(list, notes...)
	if open, why := p.openToOutsiders("s3", arn, arn+"/*"); open != no {
		return inconclusive("S3 calls the policy not public, but verify's own analysis finds that "+why, remedy, seen)
	}
	return r.secondOpinion(ctx, pass("S3 calls the policy not public, and verify's own analysis agrees", seen), analyzer.AccessCheckResourceTypeS3Bucket, aws.ToString(policy.out.Policy))
}

func bucketTLS(_ context.Context, r *run) report.Result {
	a := r.policyOfBucket()
	out, err := a.out, a.err
	arn := bucketARN(r.cfg)
	remedy := fmt.Sprintf(`add this statement to the policy of the bucket %s: {"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["%s","%s/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}`, r.cfg.Bucket, arn, arn)
	if hasCode(err, "NoSuchBucketPolicy") {
		return fail("there is no bucket policy, so nothing refuses requests without TLS", remedy, a.evidence)
	}
	if err != nil {
		return r.failure("s3:GetBucketPolicy", err)
	}
	p, err := parsePolicy(aws.ToString(out.Policy))
	if err != nil {
		return inconclusive(err.Error(), remedy, a.evidence)
	}
	seen := a.saw("%d statements", len(p.Statement))
	switch denied, why := p.deniesPlain(arn); denied {
	case no:
		return fail("requests without TLS are let through "+why, remedy, seen)
	case unknown:
		return inconclusive("requests without TLS may be let through "+why, remedy, seen)
	}
	return pass("every request without TLS is denied", seen)
}

func bucketForeignKeys(ctx context.Context, r *run) report.Result {
	if x, ok := r.noKeyARN(); !ok {
		return x
	}
	a, arn, key := r.policyOfBucket(), bucketARN(r.cfg), r.keyARN()
	remedy := "deny these requests in the bucket policy, as components.EncryptedBucket does; see docs/verify.md"
	if hasCode(a.err, "NoSuchBucketPolicy") {
		return fail("there is no bucket policy, so nothing keeps other keys out", remedy, a.evidence)
	}
	if a.err != nil {
		return r.failure("s3:GetBucketPolicy", a.err)
	}
	p, err := parsePolicy(aws.ToString(a.out.Policy))
	if err != nil {
		return inconclusive(err.Error(), remedy, a.evidence)
	}
	seen := a.saw("%d statements", len(p.Statement))
	denied, why, except := p.deniesOtherKeys(arn, key)
	switch denied {
	case no:
		return fail("the policy does not deny everyone "+why, remedy, seen)
	case unknown:
		return inconclusive("the policy may not deny everyone "+why, remedy, seen)
	}
	text := "the policy denies everyone other encryption, replication into the bucket and a change of keys in place"
	return r.withPlacements(ctx, pass(text+except.String(), seen))
}

// bucketARN is the bucket's ARN. Its partition is the Region's.
func bucketARN(c Config) string {
	return "arn:" + partition(c.AWS.Region) + ":s3:::" + c.Bucket
}

// partition is the partition that a Region is in.
// Source: https://docs.aws.amazon.com/general/latest/gr/rande.html
func partition(region string) string {
	for _, p := range []struct{ prefix, partition string }{
		{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"eusc-", "aws-eusc"},
		{"us-iso-", "aws-iso"}, {"us-isob-", "aws-iso-b"}, {"eu-isoe-", "aws-iso-e"}, {"us-isof-", "aws-iso-f"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p.partition
		}
	}
	return "aws"
}
