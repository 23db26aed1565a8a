package check

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/sync/errgroup"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// AccountName is an account to examine.
type AccountName struct {
	ID   string // AWS account ID
	Name string // for the report; may be empty
	// NotExamined is why the account cannot be examined, known beforehand: it is
	// suspended. Empty means that it can.
	NotExamined string
}

// Organization states which accounts and Regions to examine, and how. Accounts,
// Regions and Role are required.
type Organization struct {
	// Each is what is checked in every account and Region. Its AWS has the
	// credentials that assume the roles, and the Region of STS. In its Bucket,
	// {account} and {region} stand for the account's ID and the Region's name.
	Each Config
	// Accounts are the accounts, each once.
	Accounts []AccountName
	// Asked are the endpoints that Accounts came from, for the report.
	Asked []report.Endpoint
	// Exclude are the IDs of accounts that are not examined on purpose. They are
	// in the report as skipped.
	Exclude []string
	// Regions are the Regions, all of one partition, each once.
	Regions []string
	// Role is the name of the role to assume in every account, with its path:
	// "audit/verify".
	Role string
	// ExternalID is for roles whose trust policy requires one. The default is
	// none.
	ExternalID string
	// SessionName is the name of the sessions of the role.
	SessionName string
	// Parallel is how many accounts are examined at a time. All Regions of an
	// account are examined at once.
	Parallel int
	// Timeout is the longest time for one account.
	Timeout time.Duration
	// Started and Finished, where set, are told when an account is begun and
	// done, from several goroutines.
	Started  func(id string)
	Finished func(report.Account)
}

var (
	// rolePath is the name of a role with its path, of 64 and 512 characters.
	// Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html
	rolePath = regexp.MustCompile(`^([\w+=,.@-]+/)*[\w+=,.@-]{1,64}$`)
	// Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
	sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	externalID  = regexp.MustCompile(`^[\w+=,.@:/-]+$`)
)

// Check checks o before AWS is called. The error is an [*InputError].
func (o Organization) Check() error {
	switch {
	case o.Role == "":
		return &InputError{"no role: name the role to assume in each account with --role"}
	case !rolePath.MatchString(o.Role) || len(o.Role) > 512:
		return &InputError{fmt.Sprintf("--role %q is not the name of a role, with its path (audit/verify), and without arn:", o.Role)}
	case !sessionName.MatchString(o.SessionName):
		return &InputError{fmt.Sprintf("--session-name %q is not a session's name: 2 to 64 letters, digits or characters of =,.@_+-", o.SessionName)}
	case o.ExternalID != "" && (!externalID.MatchString(o.ExternalID) || len(o.ExternalID) < 2 || len(o.ExternalID) > 1224):
		return &InputError{"--external-id is not an external ID: 2 to 1224 letters, digits or characters of =,.@:/_+-"}
	case len(o.Regions) == 0:
		return &InputError{"no Region: name it with --regions, or set AWS_REGION"}
	}
	for i, r := range o.Regions {
		switch {
		case !regionName.MatchString(r):
			return &InputError{fmt.Sprintf("--regions: %q is not a Region name, such as us-east-1", r)}
		case slices.Contains(o.Regions[:i], r):
			return &InputError{fmt.Sprintf("--regions names %s twice", r)}
		case partition(r) != partition(o.Regions[0]):
			return &InputError{fmt.Sprintf("--regions: %s and %s are not in the same partition of AWS", o.Regions[0], r)}
		}
	}
	if b := o.Each.Bucket; b != "" {
		// A bucket's name belongs to one account, and the bucket is in one Region.
		if len(o.Accounts) != 1 && !strings.Contains(b, "{account}") {
			return &InputError{fmt.Sprintf("--bucket %q is the same bucket for all accounts: put {account} into the name", b)}
		}
		if len(o.Regions) > 1 && !strings.Contains(b, "{region}") {
			return &InputError{fmt.Sprintf("--bucket %q is the same bucket for all Regions: put {region} into the name", b)}
		}
	}
	for _, id := range o.Exclude {
		if !account.MatchString(id) {
			return &InputError{fmt.Sprintf("--exclude-account %q is not an account: it has 12 digits", id)}
		}
	}
	for _, r := range o.Regions {
		// An ID stands for all: they have the same length.
		cfg := o.of("123456789012", r)
		if err := cfg.complete(); err != nil {
			return err
		}
		if _, err := cfg.choose(); err != nil {
			return err
		}
	}
	return nil
}

// checkAccounts checks what a list of accounts can have wrong.
func (o Organization) checkAccounts() error {
	if len(o.Accounts) == 0 {
		return &InputError{"there is no account to examine"}
	}
	seen := map[string]bool{}
	for _, a := range o.Accounts {
		switch {
		case !account.MatchString(a.ID):
			return &InputError{fmt.Sprintf("%q is not an account: it has 12 digits", a.ID)}
		case seen[a.ID]:
			return &InputError{fmt.Sprintf("the account %s is there twice", a.ID)}
		}
		seen[a.ID] = true
	}
	for _, id := range o.Exclude {
		if !seen[id] {
			return &InputError{fmt.Sprintf("--exclude-account %s is none of the accounts", id)}
		}
	}
	return nil
}

// of is what is checked in one account and Region.
func (o Organization) of(id, region string) Config {
	cfg := o.Each
	cfg.AWS = o.Each.AWS.Copy()
	cfg.AWS.Region, cfg.Account = region, id
	cfg.Bucket = strings.NewReplacer("{account}", id, "{region}", region).Replace(cfg.Bucket)
	return cfg
}

// RunOrganization runs the checks in every account and Region.
//
// The error is an [*InputError], with no report; a [*CredentialsError] if AWS
// does not accept the caller's own credentials, with no report; or the cause for
// which ctx was done, with what was found until then. Accounts that could not
// be examined are in the report, and are no error here.
func RunOrganization(ctx context.Context, o Organization) (*report.Organization, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if err := o.checkAccounts(); err != nil {
		return nil, err
	}
	now := time.Now
	if o.Each.Now != nil {
		now = o.Each.Now
	}
	rep := &report.Organization{
		Schema: report.OrganizationSchema, Version: o.Each.Version, StartedAt: now().UTC(), Role: o.Role, Regions: o.Regions,
		Flags: append([]string{}, o.Each.Flags...), CABundle: o.Each.CABundle, Accounts: make([]report.Account, len(o.Accounts)),
	}
	base := o.Each.AWS.Copy()
	seen := RecordEndpoints(base.HTTPClient)
	base.HTTPClient = seen
	client := sts.NewFromConfig(base)
	who, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		// Every caller may ask: nothing else than the credentials or the network
		// is wrong, and no role can be assumed.
		return nil, &CredentialsError{err}
	}
	rep.Caller = aws.ToString(who.Arn)

	var g errgroup.Group
	g.SetLimit(o.Parallel)
	for i, a := range o.Accounts {
		rep.Accounts[i] = report.Account{ID: a.ID, Name: a.Name, Reports: []report.Report{}, NotExamined: a.NotExamined}
		out := &rep.Accounts[i]
		switch {
		case slices.Contains(o.Exclude, a.ID):
			out.Verdict, out.NotExamined = report.Skipped, "excluded by --exclude-account"
		case a.NotExamined == "":
			g.Go(func() error {
				if o.Started != nil {
					o.Started(a.ID)
				}
				o.examine(ctx, client, out)
				out.Judge()
				if o.Finished != nil {
					o.Finished(*out)
				}
				return nil
			})
		}
	}
	_ = g.Wait() // errors are in the accounts
	rep.Endpoints = append(slices.Clone(o.Asked), seen.list("")...)
	rep.FinishedAt = now().UTC()
	rep.Judge()
	if ctx.Err() != nil {
		return rep, context.Cause(ctx)
	}
	return rep, nil
}

// examine assumes the role in an account, and runs the checks in its Regions.
func (o Organization) examine(ctx context.Context, client stscreds.AssumeRoleAPIClient, out *report.Account) {
	late := fmt.Errorf("it took longer than %s (--account-timeout)", o.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, late)
	defer cancel()
	arn := fmt.Sprintf("arn:%s:iam::%s:role/%s", partition(o.Regions[0]), out.ID, o.Role)
	session := aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(client, arn, func(p *stscreds.AssumeRoleOptions) {
		p.RoleSessionName = o.SessionName
		if o.ExternalID != "" {
			p.ExternalID = &o.ExternalID
		}
	}))
	if ctx.Err() == nil {
		if _, err := session.Retrieve(ctx); err != nil && ctx.Err() == nil {
			out.NotExamined = fmt.Sprintf("the role %s was not assumed: %s", arn, Reason(err))
			return
		}
	}
	if ctx.Err() != nil {
		out.NotExamined = context.Cause(ctx).Error()
		return
	}
	reports, errs := make([]*report.Report, len(o.Regions)), make([]error, len(o.Regions))
	var g errgroup.Group
	for i, region := range o.Regions {
		g.Go(func() error {
			cfg := o.of(out.ID, region)
			cfg.AWS.Credentials = session
			reports[i], errs[i] = Run(ctx, cfg)
			return nil
		})
	}
	_ = g.Wait() // errs has the errors
	var reasons []string
	for i, err := range errs {
		if reports[i] != nil {
			out.Reports = append(out.Reports, *reports[i])
		}
		if err == nil {
			continue
		}
		reason := o.Regions[i] + ": " + Reason(err)
		if errors.Is(err, context.Cause(ctx)) {
			reason = context.Cause(ctx).Error()
		}
		if !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	out.NotExamined = strings.Join(reasons, "; ")
}
