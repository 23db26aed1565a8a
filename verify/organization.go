package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/securethecloud/kms-baseline/internal/version"
	"github.com/securethecloud/kms-baseline/verify/check"
	"github.com/securethecloud/kms-baseline/verify/report"
)

func newOrganization(o *options) *cobra.Command {
	x := &organization{options: o}
	c := &cobra.Command{
		Use:   "org",
		Short: "Run the checks in many accounts and Regions",
		Long: `org assumes a role in each account, runs the checks of verify in each Region, and
writes one report: a matrix of accounts and checks, and with -o json the full result
of each account.

The accounts are in a file, one a line: the AWS account ID, and after a space an
optional name. Empty lines and lines that begin with # are ignored. With
--organization they are those of the caller's organization, which the management
account and delegated administrators may list.

An account that could not be examined (the role was refused, the account took too
long) is never shown as passed: its verdict is error, and the exit code 4 or, if a
check failed, 1. --exclude-account leaves out an account on purpose.

The exit codes are those of verify.`,
		Example: `  verify org --accounts accounts.txt --role verify-reader --regions us-east-1,eu-west-1 \
    --alias alias/masterclass-cmk --bucket 'ckms-{account}-{region}' --report org.html --report org.json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return x.run(c) },
	}
	o.addSelectionFlags(c)
	o.addReportFlags(c, report.OrganizationFormats)
	f := c.Flags()
	f.StringVar(&x.accounts, "accounts", "", "file with the accounts, one a line: AWS account ID and optional name; - is stdin")
	f.BoolVar(&x.all, "organization", false, "all accounts of the caller's organization, from AWS Organizations, instead of --accounts")
	f.StringSliceVar(&x.exclude, "exclude-account", nil, "AWS account ID that is not examined on purpose; may be repeated")
	f.StringVar(&x.role, "role", "", "name of the role to assume in each account, with its path: verify-reader, audit/verify-reader")
	f.StringVar(&x.externalID, "external-id", "", "external ID that the trust policy of the role requires (default: none)")
	f.StringVar(&x.sessionName, "session-name", "kms-baseline-verify", "name of the sessions of the role, as CloudTrail shows it")
	f.StringSliceVar(&x.regions, "regions", nil, "Regions to examine in each account (default: that of the AWS configuration)")
	f.StringVar(&o.alias, "alias", "", "alias of the key that must be used in each account and Region: alias/NAME")
	f.StringVar(&o.bucket, "bucket", "", "bucket to check in each account and Region: a name with {account} and {region}")
	f.StringVar(&o.profile, "profile", "", "profile of the AWS configuration")
	f.IntVar(&x.parallel, "parallel", 16, "number of accounts that are examined at a time, 1 to 256")
	f.DurationVar(&x.accountTimeout, "account-timeout", 5*time.Minute, "longest time for one account, 1s to 1h")
	return c
}

// organization has the flags of verify org.
type organization struct {
	*options

	accounts                      string
	all                           bool
	exclude, regions              []string
	role, externalID, sessionName string
	parallel                      int
	accountTimeout                time.Duration
}

func (x *organization) run(c *cobra.Command) error {
	if err := x.validate(report.OrganizationFormats); err != nil {
		return err
	}
	switch {
	case x.accounts == "" && !x.all:
		return errors.New("no accounts: name the file with --accounts, or take those of the organization with --organization")
	case x.accounts != "" && x.all:
		return errors.New("--accounts and --organization exclude each other")
	case x.parallel < 1 || x.parallel > 256:
		return fmt.Errorf("--parallel %d is not from 1 to 256", x.parallel)
	case x.accountTimeout < time.Second || x.accountTimeout > time.Hour:
		return fmt.Errorf("--account-timeout %s is not from 1s to 1h", x.accountTimeout)
	}
	files, err := checkReports(x.reports, report.OrganizationFormats)
	if err != nil {
		return err
	}
	var accounts []check.AccountName
	if !x.all {
		if accounts, err = x.readAccounts(); err != nil {
			return err
		}
	}
	ctx, cancel := x.limited(c.Context())
	defer cancel()
	org := check.Organization{
		Each: check.Config{
			Alias: x.alias, Bucket: x.bucket, Only: x.only, Skip: x.skip, AccountWide: x.accountWide,
			Version: version.Text(), Flags: setFlags(c.Flags()),
		},
		Accounts: accounts, Exclude: x.exclude, Regions: x.regions, Role: x.role, ExternalID: x.externalID, SessionName: x.sessionName,
		Parallel: x.parallel, Timeout: x.accountTimeout,
	}
	if x.alias != "" {
		org.Each.Keys = []string{x.alias}
	}
	if err := x.aws(ctx, &org); err != nil {
		return err
	}
	if x.all {
		if org.Accounts, org.Asked, err = check.ListAccounts(ctx, org.Each.AWS); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return hinted{
				fmt.Errorf("%w: organizations:ListAccounts: %s", errAWS, check.Reason(err)),
				"list the accounts as the management account or a delegated administrator, or name a file with --accounts",
			}
		}
	}
	examined := slices.DeleteFunc(slices.Clone(org.Accounts), func(a check.AccountName) bool {
		return a.NotExamined != "" || slices.Contains(x.exclude, a.ID)
	})
	p := newProgress(x.options, len(examined))
	org.Started, org.Finished = p.started, p.finished
	stop := p.show()
	rep, err := check.RunOrganization(ctx, org)
	stop()
	if rep == nil {
		return err
	}
	x.verdict = rep.Verdict
	shown := rep
	if x.redact {
		shown = report.RedactOrganization(rep)
	}
	return errors.Join(err, x.write(files, func(w io.Writer, format string, style report.Options) error {
		return report.WriteOrganization(w, format, shown, style)
	}))
}

// aws loads the AWS configuration. Roles are assumed in its Region, or in the
// first of --regions if it has none.
func (x *organization) aws(ctx context.Context, org *check.Organization) error {
	x.concurrency = min(256, x.parallel*max(1, len(x.regions))) // idle connections to keep
	cfg, err := x.loadAWS(ctx, "")
	if err != nil {
		return err
	}
	if len(org.Regions) == 0 && cfg.Region != "" {
		org.Regions = []string{cfg.Region}
	}
	if cfg.Region == "" && len(org.Regions) > 0 {
		cfg.Region = org.Regions[0]
	}
	org.Each.AWS, org.Each.CABundle = cfg, caBundle(cfg)
	if err := org.Check(); err != nil { // before credentials are looked for
		return err
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &check.CredentialsError{Err: err}
	}
	return nil
}

// Limits of a file of accounts. An organization has at most 10,000 accounts, and an
// account's name at most 50 characters.
const (
	maxAccounts = 100_000
	maxName     = 128
)

var accountID = regexp.MustCompile(`^\d{12}$`)

// readAccounts reads the file that --accounts names.
func (x *organization) readAccounts() ([]check.AccountName, error) {
	in := x.stdin
	if x.accounts != "-" {
		f, err := os.Open(x.accounts)
		if err != nil {
			return nil, fmt.Errorf("--accounts: %w", err)
		}
		defer func() { _ = f.Close() }() // read only
		in = f
	}
	list, err := parseAccounts(in)
	if err != nil {
		return nil, fmt.Errorf("--accounts %s: %w", x.accounts, err)
	}
	return list, nil
}

// parseAccounts reads accounts, one a line: the ID, and an optional name.
func parseAccounts(r io.Reader) ([]check.AccountName, error) {
	var list []check.AccountName
	lines := map[string]int{}
	scan := bufio.NewScanner(r)
	n := 0
	for scan.Scan() {
		n++
		line := strings.TrimSpace(strings.TrimPrefix(scan.Text(), "\ufeff"))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, name := line, ""
		if i := strings.IndexFunc(line, unicode.IsSpace); i >= 0 {
			id, name = line[:i], strings.TrimSpace(line[i:])
		}
		switch {
		case !accountID.MatchString(id):
			return nil, fmt.Errorf("line %d: %q is not an AWS account ID of 12 digits (a line is the ID, a space and an optional name)", n, id)
		case lines[id] > 0:
			return nil, fmt.Errorf("line %d: the account %s is already in line %d", n, id, lines[id])
		case !utf8.ValidString(name) || strings.IndexFunc(name, unicode.IsControl) >= 0 || utf8.RuneCountInString(name) > maxName:
			return nil, fmt.Errorf("line %d: the name of the account %s is not text of at most %d characters", n, id, maxName)
		case len(list) == maxAccounts:
			return nil, fmt.Errorf("line %d: there are more than %d accounts", n, maxAccounts)
		}
		lines[id] = n
		list = append(list, check.AccountName{ID: id, Name: name})
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n+1, err)
	}
	if len(list) == 0 {
		return nil, errors.New("there is no account in it")
	}
	return list, nil
}
