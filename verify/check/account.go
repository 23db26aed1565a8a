package check

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

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
