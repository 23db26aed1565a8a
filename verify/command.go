package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/securethecloud/kms-baseline/internal/version"
	"github.com/securethecloud/kms-baseline/verify/check"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// options are the flags and the streams of the process.
type options struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	stack, outputs                     string
	keys                               []string
	alias, bucket                      string
	objects                            []string
	inventory                          string
	prefix, region, account, profile   string
	versions                           bool
	caller                             string
	format, events                     string
	reports                            []string
	wait, since, timeout               time.Duration
	only, skip                         []string
	canary, allRegions, accountWide    bool
	accessAnalyzer                     bool
	allowInconclusive, redact, verbose bool
	color                              string
	quiet                              bool
	concurrency                        int

	verdict report.Status // of the run; empty before it
}

const longHelp = `verify calls AWS and reports whether data is encrypted under the expected key: the
key and its policy, the bucket and its defaults, objects, the EBS defaults, and
KMS's own record that the key was used for this object and this caller. It changes
nothing, unless --canary tells it to upload objects, which it removes again.

The report goes to stdout, everything else to stderr.

Exit codes:
  0  every check that ran passed
  1  a check failed
  2  wrong flags or input: AWS was not called
  3  no credentials, or AWS refused them
  4  a check could not be evaluated, or is inconclusive (--allow-inconclusive)
  5  a report could not be written; the checks ran
  8  cancelled by Ctrl-C, SIGTERM or SIGHUP
  9  timed out`

const examples = `  # the resources of a Pulumi stack
  verify --stack dev
  pulumi stack output --json | verify --outputs -

  # by name
  verify --key alias/masterclass-cmk --bucket my-bucket --object test/hello.txt --region us-east-1

  # a proof for the auditor: upload, read, and wait for KMS's record of it
  verify --stack dev --canary --wait 20m --report evidence.html --report evidence.json

  # every object of a bucket, or the EBS switch of every Region
  verify --stack dev --prefix '' --only object
  verify --stack dev --all-regions --only ebs`

func newRoot(o *options) *cobra.Command {
	root := &cobra.Command{
		Use:           "verify",
		Short:         "Prove from the live AWS account that data is encrypted under the expected key",
		Long:          longHelp,
		Example:       examples,
		Version:       version.Text(),
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(c *cobra.Command, _ []string) error { return o.verify(c) },
	}
	root.SetVersionTemplate("verify {{.Version}}\n")
	o.addTargetFlags(root)
	o.addCheckFlags(root)
	o.addReportFlags(root, report.Formats)
	f := root.Flags()
	f.StringArrayVar(&o.objects, "object", nil, "key of an object to check, also in the event history; may be repeated")
	f.DurationVar(&o.wait, "wait", 0, "how long to wait for events that are not in the event history yet, such as 20m (default: no wait)")
	f.DurationVar(&o.since, "since", 24*time.Hour, "how far back to search for reads, and to validate log files; at most 2160h (90 days) with --events lookup")
	f.StringVar(&o.caller, "caller", "", "ARN of the user or role that wrote and read the objects (default: the caller of this run)")
	f.BoolVar(&o.allRegions, "all-regions", false, "check EBS encryption by default, and snapshot sharing, in every enabled Region")
	f.IntVar(&o.concurrency, "concurrency", 32, "number of concurrent calls, 1 to 256")
	root.PersistentFlags().BoolVarP(&o.quiet, "quiet", "q", false, "no progress and no hints on stderr")
	root.AddCommand(newList(o), newIAM(o), newEnvelope(o), newOrphans(o), newOrganization(o), newAthena(o))
	return root
}

// noArgs refuses arguments, and names the first: the usual mistake is a flag
// without dashes.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

// addTargetFlags adds the flags that name the key, the bucket and the account.
func (o *options) addTargetFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.stack, "stack", "", "Pulumi stack whose outputs name the key, the bucket and the rest")
	f.StringVar(&o.outputs, "outputs", "", "file with the stack's outputs, as pulumi stack output --json writes them; - is stdin")
	f.StringArrayVar(&o.keys, "key", nil, "key ARN, key id or alias; may be repeated: bucket, objects and EBS must use the first")
	f.StringVar(&o.alias, "alias", "", "alias that must resolve to the key: alias/NAME")
	f.StringVar(&o.bucket, "bucket", "", "bucket to check")
	f.StringVar(&o.prefix, "prefix", "", "check every object with this prefix; '' is the whole bucket")
	f.BoolVar(&o.versions, "versions", false, "with --prefix, check every version of the objects, also those behind a delete marker")
	f.StringVar(&o.region, "region", "", "Region of the key (default: the stack's, the key ARN's, or that of the AWS configuration)")
	f.StringVar(&o.account, "account", "", "AWS account ID that the credentials must belong to")
	f.StringVar(&o.profile, "profile", "", "profile of the AWS configuration")
	c.MarkFlagsMutuallyExclusive("stack", "outputs")
}

// addReportFlags adds the flags about the report and about the end of a run.
func (o *options) addReportFlags(c *cobra.Command, formats []string) {
	f := c.Flags()
	f.StringVarP(&o.format, "output", "o", "table", "format of the report on stdout: "+strings.Join(formats, ", "))
	endings := ".txt, .json, .xml (JUnit), .sarif, .ocsf.json, .html"
	if len(formats) < len(report.Formats) {
		endings = ".txt, .json, .html"
	}
	f.StringArrayVar(&o.reports, "report", nil, "also write the report to this file, in the format of its ending: "+endings+"; may be repeated")
	f.DurationVar(&o.timeout, "timeout", 0, "stop after this time, and report what was found until then (default: no limit)")
	f.BoolVar(&o.allowInconclusive, "allow-inconclusive", false, "exit with 0 if every check that did not pass is inconclusive")
	f.BoolVar(&o.redact, "redact", false, "mask account IDs in the report")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show the evidence for passed checks in the table, too")
	f.StringVar(&o.color, "color", "auto", "color in the table: auto (a terminal, unless NO_COLOR is set or TERM is dumb), always, never; always and never override NO_COLOR")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(slices.Clone(formats), cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	_ = c.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
}

// addSelectionFlags adds the flags that select checks.
func (o *options) addSelectionFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringSliceVar(&o.only, "only", nil, "run only these checks: ids or groups, with wildcards (key.*, bucket)")
	f.StringSliceVar(&o.skip, "skip", nil, "leave out these checks: ids or groups, with wildcards")
	f.BoolVar(&o.accountWide, "account-wide", false, "also check what the account has besides the stack: its public access block, volumes, snapshots and trails")
	_ = c.RegisterFlagCompletionFunc("only", completeChecks) // the flag is there
	_ = c.RegisterFlagCompletionFunc("skip", completeChecks)
}

// addCheckFlags adds the flags that select checks, and what they look at.
func (o *options) addCheckFlags(c *cobra.Command) {
	o.addSelectionFlags(c)
	f := c.Flags()
	f.StringVar(&o.events, "events", "lookup", "source of CloudTrail's events: lookup (the event history of the last 90 days), s3://BUCKET/PREFIX (a trail's log files, validated first), athena:WORKGROUP/DATABASE.TABLE or trino:https://USER@HOST/CATALOG.SCHEMA.TABLE (a table over the log files, which finds those to validate)")
	f.StringVar(&o.inventory, "objects", "", "inventory of the bucket's objects, in place of HeadObject for every object: athena:WORKGROUP/CATALOG.DATABASE.TABLE or trino:https://USER@HOST/CATALOG.SCHEMA.TABLE (S3 Metadata's live inventory table, or one over S3 Inventory); checked with a random sample")
	f.BoolVar(&o.canary, "canary", false, "upload objects, read them, find their events, and remove them: this writes to the bucket")
	f.BoolVar(&o.accessAnalyzer, "access-analyzer", false, "ask IAM Access Analyzer for a second opinion on the policies of the key and the bucket (AWS charges for each)")
}

func completeChecks(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, c := range check.Catalogue {
		if !slices.Contains(names, c.Group) {
			names = append(names, c.Group)
		}
		names = append(names, c.ID)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// verify runs the checks and writes the reports.
func (o *options) verify(c *cobra.Command) error {
	if err := o.validate(report.Formats); err != nil {
		return err
	}
	files, err := checkReports(o.reports, report.Formats)
	if err != nil {
		return err
	}
	ctx, cancel := o.limited(c.Context())
	defer cancel()
	cfg, err := o.config(ctx, c)
	if err != nil {
		return err
	}
	if cfg.AWS, err = o.loadAWS(ctx, cfg.AWS.Region); err != nil {
		return err
	}
	cfg.Flags, cfg.CABundle = setFlags(c.Flags()), caBundle(cfg.AWS)
	rep, err := check.Run(ctx, cfg)
	if rep == nil {
		return err
	}
	o.verdict = rep.Verdict
	shown := rep
	if o.redact {
		shown = report.Redact(rep)
	}
	return errors.Join(err, o.write(files, func(w io.Writer, format string, style report.Options) error {
		return report.Write(w, format, shown, style)
	}))
}

// limited is ctx with the limit of --timeout.
func (o *options) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, o.timeout, errTimedOut)
}

// validate checks the flags that cobra cannot.
func (o *options) validate(formats []string) error {
	if !slices.Contains(formats, o.format) {
		return fmt.Errorf("--output %s is not a format: use one of %s", o.format, strings.Join(formats, ", "))
	}
	if !slices.Contains([]string{"auto", "always", "never"}, o.color) {
		return fmt.Errorf("--color %s is not one of auto, always, never", o.color)
	}
	for _, d := range []struct {
		flag string
		d    time.Duration
	}{{"wait", o.wait}, {"since", o.since}, {"timeout", o.timeout}} {
		if d.d < 0 {
			return fmt.Errorf("--%s %s is negative", d.flag, d.d)
		}
	}
	if o.concurrency < 1 || o.concurrency > 256 {
		return fmt.Errorf("--concurrency %d is not from 1 to 256", o.concurrency)
	}
	return nil
}

var regionName = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d+$`)

// config combines flags and outputs: flags come first. Its AWS configuration has
// only the Region, if flags or outputs name one.
func (o *options) config(ctx context.Context, c *cobra.Command) (check.Config, error) {
	cfg := check.Config{
		Keys: o.keys, Alias: o.alias, Bucket: o.bucket, Objects: o.objects, Account: o.account, Caller: o.caller, Events: o.events, Inventory: o.inventory,
		Since: o.since, Wait: o.wait, Canary: o.canary, AllRegions: o.allRegions, AccountWide: o.accountWide, AccessAnalyzer: o.accessAnalyzer, Only: o.only, Skip: o.skip,
		Concurrency: o.concurrency, Version: version.Text(),
	}
	cfg.Versions = o.versions
	if c.Flags().Changed("prefix") {
		cfg.Prefix = &o.prefix
	}
	if o.region != "" && !regionName.MatchString(o.region) {
		return cfg, fmt.Errorf("--region %s is not a Region's name, as us-east-1 is", o.region)
	}
	if !o.quiet {
		cfg.Progress = o.stderr
		if f, ok := o.stderr.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
			cfg.ProgressEvery = 30 * time.Second // a log keeps every line
		}
	}
	cfg.AWS.Region = o.region
	if o.stack != "" || o.outputs != "" {
		out, err := readOutputs(ctx, o.stack, o.outputs, o.stdin)
		if err != nil {
			return cfg, err
		}
		if len(cfg.Keys) == 0 && out.keyARN != "" {
			cfg.Keys = []string{out.keyARN}
			cfg.EBSKey = out.ebsKeyARN
			cfg.Alias = cmp.Or(cfg.Alias, out.aliasName)
		}
		if cfg.Bucket == "" && out.bucket != "" {
			cfg.Bucket = out.bucket
			if len(cfg.Objects) == 0 && out.object != "" {
				cfg.Objects = []string{out.object}
			}
		}
		cfg.SkipEBS = out.ebsSkipped && !o.allRegions
		cfg.Account = cmp.Or(cfg.Account, out.account)
		cfg.AWS.Region = cmp.Or(cfg.AWS.Region, out.region)
	}
	if cfg.AWS.Region == "" && len(cfg.Keys) > 0 {
		if part := strings.Split(cfg.Keys[0], ":"); len(part) > 3 {
			cfg.AWS.Region = part[3]
		}
	}
	return cfg, cfg.CheckNames()
}

// loadAWS loads the standard AWS configuration: environment, files, SSO, roles.
func (o *options) loadAWS(ctx context.Context, region string) (aws.Config, error) {
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = o.concurrency
		t.ResponseHeaderTimeout = 30 * time.Second // a call without a response fails and is retried
	})
	role := &roleClient{}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(client), config.WithAppID("kms-baseline-verify"),
		config.WithAssumeRoleCredentialOptions(func(o *stscreds.AssumeRoleOptions) { role.next, o.Client = o.Client, role }),
		config.WithLogger(logging.Nop{}), // the SDK's errors have the same information
		config.WithRegion(region), config.WithSharedConfigProfile(o.profile))
	if err != nil {
		if ctx.Err() != nil {
			return cfg, context.Cause(ctx)
		}
		return cfg, hinted{fmt.Errorf("the AWS configuration: %w", err), "aws configure list"}
	}
	role.endpoint = sts.NewFromConfig(cfg).Options().BaseEndpoint
	return cfg, nil
}

// roleClient assumes the role of a profile at the configured endpoint. The SDK
// makes its client for that before it reads AWS_ENDPOINT_URL: a run against
// another endpoint would send the role's request to AWS.
type roleClient struct {
	next     stscreds.AssumeRoleAPIClient
	endpoint *string
}

func (c *roleClient) AssumeRole(ctx context.Context, in *sts.AssumeRoleInput, opts ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	return c.next.AssumeRole(ctx, in, append(opts, func(o *sts.Options) {
		if c.endpoint != nil {
			o.BaseEndpoint = c.endpoint
		}
	})...)
}

// readyAWS is loadAWS for a command that runs no checks: it requires a Region and
// credentials, which checks require themselves.
func (o *options) readyAWS(ctx context.Context, region string) (aws.Config, error) {
	cfg, err := o.loadAWS(ctx, region)
	if err != nil {
		return cfg, err
	}
	if cfg.Region == "" {
		return cfg, errors.New("no Region: name it with --region, or set AWS_REGION")
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil && ctx.Err() == nil {
		return cfg, &check.CredentialsError{Err: err}
	}
	return cfg, nil
}

// setFlags are the flags that were set, one an item.
func setFlags(flags *pflag.FlagSet) []string {
	var list []string
	flags.Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if many, ok := f.Value.(pflag.SliceValue); ok {
			values = many.GetSlice()
		}
		for _, v := range values {
			list = append(list, "--"+f.Name+"="+v)
		}
	})
	return list
}

// caBundle is the setting that replaces the system's certificate authorities.
func caBundle(cfg aws.Config) string {
	for _, source := range cfg.ConfigSources {
		switch x := source.(type) {
		case config.EnvConfig:
			if x.CustomCABundle != "" {
				return "AWS_CA_BUNDLE=" + x.CustomCABundle
			}
		case config.SharedConfig:
			if len(x.CustomCABundle) > 0 {
				return "ca_bundle of the profile " + x.Profile
			}
		}
	}
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} { // which crypto/x509 reads
		if v := os.Getenv(name); v != "" {
			return name + "=" + v
		}
	}
	return ""
}

// writeReport writes a report in a format.
type writeReport func(w io.Writer, format string, style report.Options) error

// write writes the report to the files and to stdout. The files come first: stdout
// may be a pipe that has no reader any more.
func (o *options) write(files reportFiles, rep writeReport) error {
	err := files.write(rep)
	style := report.Options{Color: o.color == "always", Verbose: o.verbose}
	if f, ok := o.stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		style.Width, _, _ = term.GetSize(int(f.Fd())) // 0 is the default
		style.Color = style.Color || o.color == "auto" && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	if e := rep(o.stdout, o.format, style); e != nil {
		err = errors.Join(err, fmt.Errorf("%w to stdout: %w", errReport, e))
	}
	return err
}

// reportFile is a file that a report is written to. Only its owner can read it:
// it names accounts, keys and callers.
type reportFile struct{ name, format string }

type reportFiles []reportFile

// checkReports checks that every report can be written, before AWS is called.
// It leaves nothing behind: a run that is killed has no temporary file.
func checkReports(names, formats []string) (reportFiles, error) {
	var files reportFiles
	for _, name := range names {
		format, err := report.FormatForFile(name)
		if err == nil && !slices.Contains(formats, format) {
			err = fmt.Errorf("%s is not a format of this report: use one of %s", format, strings.Join(formats, ", "))
		}
		if err == nil {
			if info, statErr := os.Stat(name); statErr == nil && info.IsDir() {
				err = fmt.Errorf("%s is a directory", name)
			}
		}
		if err == nil {
			var temp *os.File
			if temp, err = os.CreateTemp(filepath.Dir(name), ".verify-*"); err == nil {
				err = errors.Join(temp.Close(), os.Remove(temp.Name()))
			}
		}
		if err != nil {
			return nil, fmt.Errorf("--report %s: %w", name, err)
		}
		files = append(files, reportFile{name, format})
	}
	return files, nil
}

// write writes every report that can be written.
func (fs reportFiles) write(rep writeReport) error {
	var errs []error
	for _, f := range fs {
		if err := f.write(rep); err != nil {
			errs = append(errs, fmt.Errorf("%w %s: %w", errReport, f.name, err))
		}
	}
	return errors.Join(errs...)
}

// write puts the report in its place when it is complete.
func (f reportFile) write(rep writeReport) error {
	temp, err := os.CreateTemp(filepath.Dir(f.name), ".verify-*")
	if err != nil {
		return err
	}
	err = rep(temp, f.format, report.Options{Verbose: true})
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), f.name)
	}
	if err != nil {
		_ = os.Remove(temp.Name()) // the error above is what matters
	}
	return err
}
