package check

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/accessanalyzer"
	"github.com/aws/aws-sdk-go-v2/service/accessanalyzer/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// analyzerNeeds is what [Config.AccessAnalyzer] takes.
var analyzerNeeds = Permission{"access-analyzer:CheckNoPublicAccess", onAnything}

// secondOpinion asks IAM Access Analyzer about a policy that verify's own analysis
// passes. If the two differ, the result is inconclusive. Where Access Analyzer
// cannot be asked, the own analysis stands, and the result states it.
// Source: https://docs.aws.amazon.com/access-analyzer/latest/APIReference/API_CheckNoPublicAccess.html
func (r *run) secondOpinion(ctx context.Context, x report.Result, resource types.AccessCheckResourceType, document string) report.Result {
	const call = "access-analyzer:CheckNoPublicAccess"
	if !r.cfg.AccessAnalyzer || x.Status != report.Pass {
		return x
	}
	out, err := accessanalyzer.NewFromConfig(r.cfg.AWS).CheckNoPublicAccess(ctx, &accessanalyzer.CheckNoPublicAccessInput{PolicyDocument: &document, ResourceType: resource})
	if err != nil {
		x.Actual += "; IAM Access Analyzer gave no second opinion: " + Reason(err)
		x.Evidence = append(x.Evidence, r.refusal(call, err))
		return x
	}
	a := answered(r, call, out, nil, func() middleware.Metadata { return out.ResultMetadata })
	switch out.Result {
	case types.CheckNoPublicAccessResultPass:
		x.Actual += "; IAM Access Analyzer agrees"
		x.Evidence = append(x.Evidence, a.saw("%s: no public access", resource))
		return x
	case types.CheckNoPublicAccessResultFail:
		reasons := []string{aws.ToString(out.Message)}
		for _, reason := range out.Reasons {
			reasons = append(reasons, aws.ToString(reason.Description))
		}
		why := strings.Join(reasons, "; ")
		return inconclusive("verify's own analysis passes, but IAM Access Analyzer finds public access: "+why,
			"read the policy; the two analyses differ, and one of them is wrong", append(x.Evidence, a.saw("%s", why))...)
	}
	return inconclusive(fmt.Sprintf("IAM Access Analyzer returned the unknown result %q", out.Result), "read the policy", append(x.Evidence, a.evidence)...)
}
