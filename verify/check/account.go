package check

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	"github.com/aws/smithy-go/middleware"

	"github.com/securethecloud/kms-baseline/verify/report"
)

var accountChecks = []Check{
	{
		ID: "account.expected", Title: "the credentials are of the expected account", Severity: "critical",
		Why:       "a proof from another account proves nothing of this one",
		Expected:  "the account that was named",
		Proves:    "the credentials belong to the account that `--account` or the stack's outputs name",
		NotProven: "that the key or the bucket belongs to that account: see their ARNs",
		Remedy:    "use credentials of the expected account: --profile or AWS_PROFILE",
		run:       accountExpected,
	}, {
		ID: "account.public-access", Title: "the account blocks public access to its buckets", Severity: "high", AccountWide: true,
		Why:       "the block of one bucket says nothing of the other buckets, and of those that are made later",
		Expected:  "all four settings of the account's public access block on",
		Proves:    "all four settings of S3's public access block are on for the caller's account",
		NotProven: "other accounts of the organization",
		Remedy:    "aws s3control put-public-access-block --account-id ACCOUNT --public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true",
		Needs:     []Permission{{"s3:GetAccountPublicAccessBlock", onAnything}},
		run:       accountPublicAccess,
	},
}

func accountExpected(_ context.Context, r *run) report.Result {
	if r.cfg.Account == "" {
		return skipped("no account was named")
	}
	id := r.identity()
	if id.err != nil {
		return r.failure("sts:GetCallerIdentity", id.err)
	}
	got, who := aws.ToString(id.out.Account), aws.ToString(id.out.Arn)
	x := pass("account "+got, id.saw("%s", who))
	if got != r.cfg.Account {
		x = fail(fmt.Sprintf("account %s, as %s", got, who), "choose the right --profile, or set AWS_PROFILE", id.saw("%s", who))
	}
	x.Expected = "account " + r.cfg.Account
	return x
}

func accountPublicAccess(ctx context.Context, r *run) report.Result {
	owner, err := r.owner()
	if err != nil {
		return r.failure("sts:GetCallerIdentity", err)
	}
	out, err := s3control.NewFromConfig(r.cfg.AWS, withoutAccountInHost).GetPublicAccessBlock(ctx, &s3control.GetPublicAccessBlockInput{AccountId: &owner})
	remedy := "aws s3control put-public-access-block --account-id " + owner + " --public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
	if hasCode(err, "NoSuchPublicAccessBlockConfiguration") {
		return fail("the account has no public access block", remedy, r.refusal("s3:GetAccountPublicAccessBlock", err))
	}
	if err != nil {
		return r.failure("s3:GetAccountPublicAccessBlock", err)
	}
	a := answered(r, "s3:GetAccountPublicAccessBlock", out, nil, func() middleware.Metadata { return out.ResultMetadata })
	c := out.PublicAccessBlockConfiguration
	if c == nil {
		c = &types.PublicAccessBlockConfiguration{}
	}
	return blockResult(a.evidence, remedy, c.BlockPublicAcls, c.IgnorePublicAcls, c.BlockPublicPolicy, c.RestrictPublicBuckets)
}

// withoutAccountInHost sends requests to a configured endpoint itself. The SDK
// puts the account in front of its host name, which another server than AWS may
// not be reachable by; the request names the account in a header as well.
func withoutAccountInHost(o *s3control.Options) {
	if o.BaseEndpoint == nil {
		return
	}
	base, err := url.Parse(*o.BaseEndpoint)
	if err != nil {
		return // the SDK reports it
	}
	base.User = nil // it is for botocore: see controlURL in sandbox/engine/env.go
	o.EndpointResolverV2 = oneEndpoint{*base}
}

type oneEndpoint struct{ url url.URL }

// ResolveEndpoint implements [s3control.EndpointResolverV2].
func (e oneEndpoint) ResolveEndpoint(context.Context, s3control.EndpointParameters) (smithyendpoints.Endpoint, error) {
	return smithyendpoints.Endpoint{URI: e.url}, nil
}

// blockResult is the result for the four settings of a public access block.
func blockResult(evidence report.Evidence, remedy string, blockACLs, ignoreACLs, blockPolicy, restrict *bool) report.Result {
	var off []string
	for _, s := range []struct {
		name string
		on   *bool
	}{
		{"BlockPublicAcls", blockACLs}, {"IgnorePublicAcls", ignoreACLs}, {"BlockPublicPolicy", blockPolicy}, {"RestrictPublicBuckets", restrict},
	} {
		if !aws.ToBool(s.on) {
			off = append(off, s.name)
		}
	}
	if len(off) > 0 {
		evidence.Detail = "off: " + strings.Join(off, ", ")
		return fail(evidence.Detail, remedy, evidence)
	}
	evidence.Detail = "all four settings on"
	return pass(evidence.Detail, evidence)
}
