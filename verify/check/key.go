package check

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	analyzer "github.com/aws/aws-sdk-go-v2/service/accessanalyzer/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go/middleware"
	"golang.org/x/sync/errgroup"

	"github.com/securethecloud/kms-baseline/verify/report"
)

var keyChecks = []Check{
	{
		ID: "key.enabled", Title: "the key is enabled", Severity: "critical",
		Why:       "with a disabled key nothing that it encrypts can be read or written",
		Expected:  "key state Enabled",
		Proves:    "KMS returns the key state `Enabled`",
		NotProven: "that disabling the key takes effect at once: S3 and EC2 keep data keys that they already have until they next need KMS",
		Remedy:    "aws kms enable-key --key-id KEY",
		Needs:     []Permission{{"kms:DescribeKey", onKey}},
		run:       eachKey(keyEnabled),
	}, {
		ID: "key.customer", Title: "the key is customer managed", Severity: "high",
		Why:       "the account can neither change the policy of an AWS managed key nor disable it",
		Expected:  "key manager CUSTOMER, in the account that was named",
		Proves:    "the key is customer managed, not a key of an AWS service; with `--account`, it belongs to that account",
		NotProven: "who may administer the key",
		Remedy:    "aws kms create-key, and use that key",
		Needs:     []Permission{{"kms:DescribeKey", onKey}},
		run:       eachKey(keyCustomer),
	}, {
		ID: "key.spec", Title: "the key is a symmetric encryption key made by KMS", Severity: "high",
		Why:      "S3 and EBS take no other kind, and KMS rotates no other kind by itself",
		Expected: "SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT, origin AWS_KMS",
		Proves:   "the key is symmetric, for encryption and decryption, and KMS created its key material",
		Remedy:   "create a symmetric encryption key with key material from KMS: an existing key cannot be changed",
		Needs:    []Permission{{"kms:DescribeKey", onKey}},
		run:      eachKey(keySpec),
	}, {
		ID: "key.alias", Title: "the alias resolves to the key", Severity: "high",
		Why:       "a program that names the alias encrypts under the key that it points to",
		Expected:  "the alias points to the key that was named",
		Proves:    "the alias points to the named key; not evaluated if the key itself was named by an alias",
		NotProven: "that the alias stays: the bucket must name the key's ARN",
		Remedy:    "aws kms update-alias --alias-name ALIAS --target-key-id KEY",
		Needs:     []Permission{{"kms:DescribeKey", onAnyKey}},
		run:       keyAlias,
	}, {
		ID: "key.rotation", Title: "the key rotates", Severity: "medium",
		Why:       "without rotation all data of all years rests on the same key material",
		Expected:  "automatic rotation on, at least once a year",
		Proves:    "automatic rotation is on, with a period of 365 days at most",
		NotProven: "that data from before a rotation was encrypted again: it never is",
		Remedy:    "aws kms enable-key-rotation --key-id KEY",
		Needs:     []Permission{{"kms:GetKeyRotationStatus", onKey}, {"kms:DescribeKey", onKey}},
		run:       eachKey(keyRotation),
	}, {
		ID: "key.deletion", Title: "the key is not about to be deleted", Severity: "critical",
		Why:      "when a key is gone, everything that it encrypts is lost for good",
		Expected: "no deletion date",
		Proves:   "no deletion is scheduled",
		Remedy:   "aws kms cancel-key-deletion --key-id KEY, then aws kms enable-key --key-id KEY",
		Needs:    []Permission{{"kms:DescribeKey", onKey}},
		run:      eachKey(keyDeletion),
	}, {
		ID: "key.policy", Title: "the key policy is not open to the world", Severity: "critical",
		Why:       "a key that every caller may use protects nothing",
		Expected:  "no statement lets in accounts that it does not name",
		Proves:    "no statement admits an outsider; see below",
		NotProven: "that the accounts, roles and services that the policy names should have access; that no grant gives more: `key.grants`",
		Remedy:    "name the principals that need the key in the key policy: aws kms put-key-policy",
		Needs:     []Permission{{"kms:GetKeyPolicy", onKey}, {"kms:DescribeKey", onKey}},
		run:       eachKey(keyPolicy),
	}, {
		ID: "key.grants", Title: "no grant gives another account more than the key policy does", Severity: "high",
		Why:       "a grant lets its grantee use the key whatever the key policy says, and no policy shows it",
		Expected:  "every grantee is of the key's account or an AWS service, or the key policy itself allows it or its account the same operations",
		Proves:    "no grant gives a principal of another account an operation that the key policy does not allow that principal or its whole account without a condition; grants to AWS services are accepted",
		NotProven: "that the grants to the key's own account, to accounts that the policy names and to services are needed (`aws kms list-grants`)",
		Remedy:    "aws kms list-grants --key-id KEY, then aws kms revoke-grant for grants that are not needed",
		Needs:     []Permission{{"kms:ListGrants", onKey}, {"kms:GetKeyPolicy", onKey}, {"kms:DescribeKey", onKey}},
		run:       eachKey(keyGrants),
	}, {
		ID: "key.multi-region", Title: "every replica of the key is as protected as the key", Severity: "high",
		Why:       "a replica decrypts what the key encrypted, under a key policy of its own in another Region",
		Expected:  "the key is a single-Region key, or every key of its set is enabled, with a policy that is not open to the world",
		Proves:    "the key is a single-Region key; or the primary and every replica are enabled, and the key policy of each admits no outsider",
		NotProven: "the grants of the other Regions' keys; for a multi-Region key the caller needs `kms:DescribeKey` and `kms:GetKeyPolicy` on the ARN of every replica",
		Remedy:    "give the replica the policy of the primary: aws kms put-key-policy --region REGION",
		Needs:     []Permission{{"kms:DescribeKey", onKey}, {"kms:GetKeyPolicy", onKey}},
		run:       eachKey(keyMultiRegion),
	},
}

// maxRotation is the longest rotation period in days that yearly rotation
// allows (CIS AWS Foundations 3.6: rotation is enabled; NIST SP 800-57: cryptoperiods).
const maxRotation = 365

// keyMultiRegion examines the other keys of a multi-Region key's set, each in its
// Region.
func keyMultiRegion(ctx context.Context, r *run, k *keyFacts) report.Result {
	a := k.describe()
	if a.err != nil {
		return r.failure("kms:DescribeKey", a.err)
	}
	m := a.out.KeyMetadata
	set := m.MultiRegionConfiguration
	if !aws.ToBool(m.MultiRegion) || set == nil {
		return pass("a single-Region key", a.saw("MultiRegion false"))
	}
	var members []string
	if set.PrimaryKey != nil {
		members = append(members, aws.ToString(set.PrimaryKey.Arn))
	}
	for _, x := range set.ReplicaKeys {
		members = append(members, aws.ToString(x.Arn))
	}
	results := make([]report.Result, len(members))
	var g errgroup.Group
	g.SetLimit(r.cfg.Concurrency)
	for i, arn := range members {
		g.Go(func() error {
			results[i] = r.memberKey(ctx, arn)
			return nil
		})
	}
	_ = g.Wait() // errors are results
	if len(members) == 0 {
		return inconclusive("KMS lists no key of the multi-Region set", "aws kms describe-key --key-id "+aws.ToString(m.Arn), a.evidence)
	}
	return merge("key of the set", members, results)
}

func (r *run) memberKey(ctx context.Context, arn string) report.Result {
	client := kms.NewFromConfig(r.cfg.AWS, func(o *kms.Options) { o.Region = regionOf(arn) })
	out, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &arn})
	a := answered(r, "kms:DescribeKey", out, err, func() middleware.Metadata { return out.ResultMetadata })
	if err != nil {
		return r.failure("kms:DescribeKey", err)
	}
	if state := out.KeyMetadata.KeyState; state != types.KeyStateEnabled {
		return fail(fmt.Sprintf("key state %s", state), enableKey(arn), a.saw("%s is %s", arn, state))
	}
	policy, err := client.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &arn, PolicyName: aws.String("default")})
	b := answered(r, "kms:GetKeyPolicy", policy, err, func() middleware.Metadata { return policy.ResultMetadata })
	if err != nil {
		return r.failure("kms:GetKeyPolicy", err)
	}
	remedy := "aws kms put-key-policy --key-id " + arn + " --region " + regionOf(arn) + " with a policy that names the principals that need the key"
	p, err := parsePolicy(aws.ToString(policy.Policy))
	if err != nil {
		return inconclusive(err.Error(), remedy, b.evidence)
	}
	list, notes := p.access(arn, accountOf(arn), "key policy")
	r.addAccess(list, notes...)
	switch open, why := p.openToOutsiders("kms", arn); open {
	case yes:
		return fail(why, remedy, b.evidence)
	case unknown:
		return inconclusive(why, remedy, b.evidence)
	}
	return pass("enabled, and its policy admits no outsider", a.evidence, b.evidence)
}

func enableKey(arn string) string {
	return "aws kms enable-key --key-id " + arn + " --region " + regionOf(arn)
}

// keepKey is the command for a key that is pending deletion.
func keepKey(arn string) string {
	return "aws kms cancel-key-deletion --key-id " + arn + " --region " + regionOf(arn) + " && " + enableKey(arn)
}

// eachKey runs a check for every key and puts the results together.
func eachKey(check func(context.Context, *run, *keyFacts) report.Result) func(context.Context, *run) report.Result {
	return func(ctx context.Context, r *run) report.Result {
		if len(r.keys) == 0 {
			return skipped("no key was named")
		}
		names, results := make([]string, len(r.keys)), make([]report.Result, len(r.keys))
		var g errgroup.Group
		g.SetLimit(r.cfg.Concurrency)
		for i, k := range r.keys {
			g.Go(func() error {
				names[i], results[i] = k.name, check(ctx, r, k)
				return nil
			})
		}
		_ = g.Wait() // errors are results
		return merge("key", names, results)
	}
}

func keyEnabled(_ context.Context, r *run, k *keyFacts) report.Result {
	a := k.describe()
	if hasCode(a.err, "NotFoundException") {
		return fail(fmt.Sprintf("no such key in %s: %s", r.cfg.AWS.Region, Reason(a.err)),
			"aws kms list-aliases --region "+r.cfg.AWS.Region, a.evidence)
	}
	if a.err != nil {
		return r.failure("kms:DescribeKey", a.err)
	}
	m := a.out.KeyMetadata
	if m.KeyState != types.KeyStateEnabled {
		remedy := enableKey(aws.ToString(m.Arn))
		if m.KeyState == types.KeyStatePendingDeletion {
			remedy = keepKey(aws.ToString(m.Arn))
		}
		return fail(fmt.Sprintf("key state %s", m.KeyState), remedy, a.saw("%s is %s", aws.ToString(m.Arn), m.KeyState))
	}
	return pass("key state Enabled", a.saw("%s is Enabled", aws.ToString(m.Arn)))
}

func keyCustomer(_ context.Context, r *run, k *keyFacts) report.Result {
	a := k.describe()
	if a.err != nil {
		return r.failure("kms:DescribeKey", a.err)
	}
	m := a.out.KeyMetadata
	if m.KeyManager != types.KeyManagerTypeCustomer {
		return fail(fmt.Sprintf("key manager %s: this is a key of the service's, not of the account's", m.KeyManager),
			"name a customer managed key, or create one with aws kms create-key", a.saw("key manager %s", m.KeyManager))
	}
	if got := aws.ToString(m.AWSAccountId); r.cfg.Account != "" && got != r.cfg.Account {
		return fail(fmt.Sprintf("the key belongs to account %s, not %s", got, r.cfg.Account), "name a key of the account, or create one with aws kms create-key", a.saw("account %s", got))
	}
	return pass("key manager CUSTOMER", a.saw("key manager CUSTOMER, account %s", aws.ToString(m.AWSAccountId)))
}

func keySpec(_ context.Context, r *run, k *keyFacts) report.Result {
	a := k.describe()
	if a.err != nil {
		return r.failure("kms:DescribeKey", a.err)
	}
	m := a.out.KeyMetadata
	got := fmt.Sprintf("%s, %s, origin %s", m.KeySpec, m.KeyUsage, m.Origin)
	if m.KeySpec != types.KeySpecSymmetricDefault || m.KeyUsage != types.KeyUsageTypeEncryptDecrypt || m.Origin != types.OriginTypeAwsKms {
		return fail(got, "make another key: neither can be changed in an existing one", a.saw("%s", got))
	}
	return pass(got, a.saw("%s", got))
}

func keyAlias(_ context.Context, r *run) report.Result {
	if r.cfg.Alias == "" {
		return skipped("no alias was named")
	}
	if len(r.keys) == 0 {
		return skipped("no key was named to compare with")
	}
	if strings.Contains(r.keys[0].name, "alias/") {
		return skipped("the key was named by an alias, so there is nothing to hold the alias to: name the key by its ARN")
	}
	a := r.alias()
	if hasCode(a.err, "NotFoundException") {
		return fail(fmt.Sprintf("there is no %s in %s", r.cfg.Alias, r.cfg.AWS.Region),
			fmt.Sprintf("aws kms create-alias --alias-name %s --target-key-id %s --region %s", r.cfg.Alias[strings.Index(r.cfg.Alias, "alias/"):], r.keys[0].name, r.cfg.AWS.Region), a.evidence)
	}
	if a.err != nil {
		return r.failure("kms:DescribeKey", a.err)
	}
	if x, ok := r.noKeyARN(); !ok {
		return x
	}
	got, want := aws.ToString(a.out.KeyMetadata.Arn), r.keyARN()
	seen := a.saw("%s is %s", r.cfg.Alias, got)
	if got != want {
		x := fail(fmt.Sprintf("%s points to another key: %s", r.cfg.Alias, got),
			fmt.Sprintf("aws kms update-alias --alias-name %s --target-key-id %s --region %s", r.cfg.Alias[strings.Index(r.cfg.Alias, "alias/"):], want, r.cfg.AWS.Region), seen)
		x.Expected = fmt.Sprintf("%s points to %s", r.cfg.Alias, want)
		return x
	}
	return pass(fmt.Sprintf("%s points to %s", r.cfg.Alias, got), seen)
}

func keyRotation(ctx context.Context, r *run, k *keyFacts) report.Result {
	arn, x, ok := r.keyARNOf(k)
	if !ok {
		return x
	}
	out, err := r.kms.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: &arn})
	a := answered(r, "kms:GetKeyRotationStatus", out, err, func() middleware.Metadata { return out.ResultMetadata })
	if hasCode(err, "UnsupportedOperationException") {
		return fail("KMS does not rotate keys of this kind", "make a symmetric key of origin AWS_KMS", a.evidence)
	}
	if err != nil {
		return r.failure("kms:GetKeyRotationStatus", err)
	}
	if !out.KeyRotationEnabled {
		return fail("automatic rotation off", "aws kms enable-key-rotation --key-id "+arn+" --region "+regionOf(arn), a.saw("rotation off"))
	}
	got := "automatic rotation on"
	if days := aws.ToInt32(out.RotationPeriodInDays); days > 0 {
		got += fmt.Sprintf(", every %d days", days)
	}
	if days := aws.ToInt32(out.RotationPeriodInDays); days > maxRotation {
		return fail(got+": controls ask for a rotation once a year", fmt.Sprintf("aws kms enable-key-rotation --key-id %s --rotation-period-in-days %d --region %s", arn, maxRotation, regionOf(arn)), a.saw("%s", got))
	}
	if out.NextRotationDate != nil {
		got += ", next on " + out.NextRotationDate.UTC().Format(time.DateOnly)
	}
	return pass(got, a.saw("%s", got))
}

// keyARNOf is the ARN of a key however it was named: GetKeyPolicy and
// GetKeyRotationStatus take no alias.
func (r *run) keyARNOf(k *keyFacts) (string, report.Result, bool) {
	if strings.Contains(k.name, ":key/") {
		return k.name, report.Result{}, true
	}
	a := k.describe()
	if a.err != nil {
		return "", r.failure("kms:DescribeKey", a.err), false
	}
	return aws.ToString(a.out.KeyMetadata.Arn), report.Result{}, true
}

func keyDeletion(_ context.Context, r *run, k *keyFacts) report.Result {
	a := k.describe()
	if a.err != nil {
		return r.failure("kms:DescribeKey", a.err)
	}
	m := a.out.KeyMetadata
	switch m.KeyState {
	case types.KeyStatePendingDeletion, types.KeyStatePendingReplicaDeletion:
		when := "once its replicas are gone"
		if m.DeletionDate != nil {
			when = "on " + m.DeletionDate.UTC().Format(time.DateOnly)
		}
		return fail(fmt.Sprintf("the key will be deleted %s (%s)", when, m.KeyState),
			keepKey(aws.ToString(m.Arn)), a.saw("%s %s", m.KeyState, when))
	}
	return pass("no deletion date", a.saw("key state %s, no deletion date", m.KeyState))
}

func keyPolicy(ctx context.Context, r *run, k *keyFacts) report.Result {
	arn, x, ok := r.keyARNOf(k)
	if !ok {
		return x
	}
	a := k.policy()
	if a.err != nil {
		return r.failure("kms:GetKeyPolicy", a.err)
	}
	remedy := "name the principals that need the key in the policy of " + arn + ", with aws kms put-key-policy"
	p, err := parsePolicy(aws.ToString(a.out.Policy))
	if err != nil {
		return inconclusive(err.Error(), remedy, a.evidence)
	}
	seen := a.saw("%d statements", len(p.Statement))
	list, notes := p.access(arn, accountOf(arn), "key policy")
	r.addAccess(list, append(notes, "identity policies of an account that a policy names decide which of its principals have access; verify does not read them")...)
	switch open, why := p.openToOutsiders("kms", arn); open {
	case yes:
		return fail(why, remedy, seen)
	case unknown:
		return inconclusive(why, remedy, seen)
	}
	text := fmt.Sprintf("none of %d statements lets in accounts that it does not name", len(p.Statement))
	if services := p.servicesForAnyAccount(); len(services) > 0 {
		text += "; it names " + strings.Join(services, ", ") + " without a condition on the account that the service acts for (aws:SourceAccount, aws:SourceArn)"
	}
	x = pass(text, seen)
	return r.secondOpinion(ctx, x, analyzer.AccessCheckResourceTypeKmsKey, aws.ToString(a.out.Policy))
}

// keyGrants compares grants to other accounts with what the key policy allows
// those accounts, operation by operation: a policy that shares a key is read, a
// grant is easily overlooked.
func keyGrants(ctx context.Context, r *run, k *keyFacts) report.Result {
	arn, x, ok := r.keyARNOf(k)
	if !ok {
		return x
	}
	var evidence report.Evidence
	var unknown []string
	var foreign []foreignGrant
	count := 0
	pages := kms.NewListGrantsPaginator(r.kms, &kms.ListGrantsInput{KeyId: &arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return r.failure("kms:ListGrants", err)
		}
		evidence = answered(r, "kms:ListGrants", page, nil, func() middleware.Metadata { return page.ResultMetadata }).evidence
		for _, g := range page.Grants {
			count++
			grantee := aws.ToString(g.GranteePrincipal)
			text := fmt.Sprintf("grant %s to %s (%s)", aws.ToString(g.GrantId), grantee, operations(g.Operations))
			r.addAccess([]report.Access{{Resource: arn, Account: accountOf(grantee), Principal: grantee, Permissions: strings.Split(operations(g.Operations), ", "),
				Source: "grant " + aws.ToString(g.GrantId), External: accountOf(grantee) != accountOf(arn)}})
			switch owner := accountOf(grantee); {
			case owner == accountOf(arn), owner == "" && (strings.HasSuffix(grantee, ".amazonaws.com") || strings.HasSuffix(grantee, ".amazonaws.com.cn")):
			case owner != "":
				foreign = append(foreign, foreignGrant{grantee, owner, g.Operations, text})
			default: // as the id that is left of a principal that was deleted
				unknown = append(unknown, text)
			}
		}
	}
	evidence.Detail = fmt.Sprintf("%d grants", count)
	remedy := "aws kms list-grants --key-id " + arn + " --region " + regionOf(arn)
	if len(foreign) > 0 {
		policy := k.policy()
		if policy.err != nil {
			return r.failure("kms:GetKeyPolicy", policy.err)
		}
		p, err := parsePolicy(aws.ToString(policy.out.Policy))
		if err != nil {
			return inconclusive("what the key policy allows other accounts cannot be told: "+err.Error(), "aws kms get-key-policy --key-id "+arn+" --output text --region "+regionOf(arn), policy.evidence)
		}
		foreign = slices.DeleteFunc(foreign, func(g foreignGrant) bool {
			return !slices.ContainsFunc(g.operations, func(o types.GrantOperation) bool {
				return !p.allowsPrincipal(g.grantee, g.account, "kms:"+string(o), arn)
			})
		})
	}
	if len(foreign) > 0 {
		var strange []string
		for _, g := range foreign {
			strange = append(strange, g.text)
		}
		slices.Sort(strange)
		x := fail(fmt.Sprintf("%d of %d grants give an account what the key policy does not allow it: %s", len(strange), count, strange[0]), remedy, evidence)
		x.FailureCount, x.Failures = len(strange), strange[:min(len(strange), maxFailures)]
		return x
	}
	if len(unknown) > 0 {
		return inconclusive(fmt.Sprintf("whose %d of %d grants are cannot be told: %s", len(unknown), count, unknown[0]), remedy, evidence)
	}
	return pass(fmt.Sprintf("none of %d grants is another account's", count), evidence)
}

// foreignGrant is a grant to another account.
type foreignGrant struct {
	grantee    string // ARN
	account    string
	operations []types.GrantOperation
	text       string
}

func operations(list []types.GrantOperation) string {
	var names []string
	for _, o := range list {
		names = append(names, string(o))
	}
	return strings.Join(names, ", ")
}
