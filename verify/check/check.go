// Package check proves from a live AWS account that its data is encrypted under
// the key it should be: it asks KMS, S3, EC2 and CloudTrail and reports what they
// answered. It writes nothing to the account unless [Config.Canary] asks for
// it. It formats nothing: package report writes what this package finds.
package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// Config states what to examine and how. AWS and one of Keys and Bucket are
// required.
type Config struct {
	// AWS has the credentials and the Region that the key is in.
	AWS aws.Config
	// Keys are key ARNs, key ids, alias names or alias ARNs. The first is the
	// key that bucket, objects and EBS are held to; the key checks and the
	// search of the event history cover the others as well. Empty skips every
	// check that needs a key.
	Keys []string
	// Alias is the alias that must resolve to the first key: its name
	// ("alias/masterclass-cmk") or its ARN. Empty skips that check.
	Alias string
	// EBSKey is the ARN of the key that must be the Region's default for EBS.
	// The default is the first of Keys.
	EBSKey string
	// SkipEBS skips the EBS checks: the account's defaults are none of the
	// stack's business. The default is to check them.
	SkipEBS bool
	// Bucket is the bucket's name. Empty skips every check that needs one.
	Bucket string
	// Objects are the keys of the objects that are looked at one by one, in S3
	// and in the event history.
	Objects []string
	// Prefix, where set, adds every object below it; empty means the whole
	// bucket. The default, nil, adds none.
	Prefix *string
	// Versions checks every version of the objects below Prefix, also those behind
	// a delete marker. The default is the current versions. It requires Prefix.
	Versions bool
	// Account is the account that the credentials must be of: 12 digits. Empty
	// skips that check.
	Account string
	// Caller is the ARN of the user or role that wrote and read the objects.
	// The default is the caller of this run.
	Caller string
	// Events is the source of CloudTrail's records for the trail.* and canary.*
	// checks: "lookup" is the event history (LookupEvents); "s3://BUCKET/PREFIX" the
	// log files that a trail delivers there, which are validated first;
	// "athena:WORKGROUP/DATABASE.TABLE" and "trino:https://..." a table over log files,
	// which finds the log files to validate. The default is "lookup".
	Events string
	// Inventory is the table of the bucket's objects for object.encryption, as S3
	// Metadata or S3 Inventory writes it: "athena:WORKGROUP/CATALOG.DATABASE.TABLE" or
	// "trino:https://...". What it lists as not under the key is confirmed, and a random
	// sample of what S3 lists is checked, one by one. It needs a bucket and a key, and
	// covers Prefix, by default the whole bucket. Empty asks S3 for every object below
	// Prefix.
	Inventory string
	// Since is how far back reads are looked for in the event history. The
	// default is 24 hours; the event history holds 90 days. Writes are looked
	// for around the time S3 gives for the object.
	Since time.Duration
	// Wait is how long to look again for events that are not there yet. The
	// default, 0, looks once.
	Wait time.Duration
	// Poll is the pause between two looks. The default is 10 seconds, and a minute
	// for log files.
	Poll time.Duration
	// Canary uploads objects of its own, reads them back and removes them. The
	// default is not to write.
	Canary bool
	// AllRegions looks at the EBS defaults of every enabled Region. The default
	// is the Region of AWS alone.
	AllRegions bool
	// AccountWide adds the checks of what the account has besides the stack: its
	// own settings, and its volumes, snapshots and trails. The default is to leave
	// them out, unless Only has their id.
	AccountWide bool
	// AccessAnalyzer asks IAM Access Analyzer for a second opinion on the policies
	// of the key and the bucket, which AWS charges for. The default is not to ask.
	AccessAnalyzer bool
	// Only and Skip choose the checks, by id or group, with the wildcards of
	// [path.Match]. The default is all.
	Only, Skip []string
	// Concurrency is how many HeadObject calls, Regions or keys are under way
	// at once. The default is 32.
	Concurrency int
	// Version is the version of the program, for the report.
	Version string
	// Flags are the flags of the program, one an item, for the report.
	Flags []string
	// CABundle is the setting that replaces the system's certificate
	// authorities, for the report. The default is none.
	CABundle string
	// Progress receives a line about what takes time. The default is silence.
	Progress io.Writer
	// ProgressEvery is the shortest time between two lines about a wait or a
	// count that goes on. The default is to write all of them.
	ProgressEvery time.Duration
	// Now is the clock. The default is time.Now.
	Now func() time.Time

	start          time.Time  // of the run, by the clock Now
	lookupRate     rate.Limit // of LookupEvents; only tests have another than AWS
	lookupAttempts int        // of one LookupEvents; only tests have fewer
}

// InputError is a Config that cannot be run: nothing was asked of AWS.
type InputError struct{ Reason string }

func (e *InputError) Error() string { return e.Reason }

// CredentialsError says that AWS accepted no credentials: none were found, or
// they have expired or are not valid.
type CredentialsError struct{ Err error }

func (e *CredentialsError) Error() string {
	return "no usable AWS credentials: " + Reason(e.Err)
}

func (e *CredentialsError) Unwrap() error { return e.Err }

// Run runs the checks that cfg asks for and reports what they found. The
// results stand in the catalogue's order: all checks, or those that Only names;
// what Skip leaves out of them is there as skipped.
//
// The error is an [*InputError], with no report; a [*CredentialsError]; or the
// cause for which ctx was done. With the latter two the report has what was
// found until then, and the rest as errors.
func Run(ctx context.Context, cfg Config) (*report.Report, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	selected, err := cfg.choose()
	if err != nil {
		return nil, err
	}
	seen := RecordEndpoints(cfg.AWS.HTTPClient)
	cfg.AWS.HTTPClient = seen
	r := newRun(ctx, cfg, selected)
	rep := &report.Report{Schema: report.Schema, Version: cfg.Version, StartedAt: r.now()}
	var credentials error
	if cfg.AWS.Credentials == nil {
		credentials = &CredentialsError{errors.New("none were found")}
	} else if _, err := cfg.AWS.Credentials.Retrieve(ctx); err != nil && ctx.Err() == nil {
		credentials = &CredentialsError{err}
	} else if id := r.identity(); isExpired(id.err) || isInvalid(id.err) && !r.regionIsOff() {
		credentials = &CredentialsError{id.err}
	}

	results := make([]report.Result, len(Catalogue))
	var g errgroup.Group
	for i, c := range Catalogue {
		switch {
		case !selected[c.ID]:
			results[i] = skipped("left out by --skip")
		case credentials != nil:
			results[i] = report.Result{Status: report.Error, Actual: credentials.Error(), Remedy: "aws sts get-caller-identity"}
		default:
			g.Go(func() error {
				results[i] = c.run(ctx, r)
				return nil
			})
		}
	}
	_ = g.Wait() // the checks report their errors as results

	for i, c := range Catalogue {
		if _, asked := selected[c.ID]; asked {
			rep.Results = append(rep.Results, c.result(results[i], cfg))
		}
	}
	if credentials == nil {
		r.describe(rep)
	}
	rep.Scope = report.Scope{
		Endpoints: seen.list(cfg.Bucket, logBucket(cfg.Events)), CABundle: cfg.CABundle, Flags: append([]string{}, cfg.Flags...),
		Objects: cfg.selection(selected), Events: cfg.Events, Checks: len(Catalogue),
	}
	for _, c := range Catalogue {
		if _, asked := selected[c.ID]; !asked {
			rep.Scope.LeftOut = append(rep.Scope.LeftOut, c.ID)
		}
	}
	rep.FinishedAt = r.now()
	rep.Judge()
	if ctx.Err() != nil {
		return rep, context.Cause(ctx)
	}
	if err := r.refused.Load(); credentials == nil && err != nil {
		credentials = &CredentialsError{*err}
	}
	return rep, credentials
}

// result puts the catalogue's part and the controls to what a check found.
func (c Check) result(x report.Result, cfg Config) report.Result {
	x.ID, x.Group, x.Title, x.Severity, x.Why, x.NotProven = c.ID, c.Group, c.Title, c.Severity, c.Why, strings.ReplaceAll(c.NotProven, "`", "")
	if cfg.Events != lookup {
		x.Title = strings.ReplaceAll(x.Title, "the event history", "the trail")
	}
	x.Expected = cmp.Or(x.Expected, c.Expected)
	x.Controls = Controls(c.ID, cfg.AllRegions)
	switch x.Status {
	case report.Pass:
		x.Remedy = ""
	case report.Fail:
		x.Remedy = cmp.Or(x.Remedy, c.Remedy)
	}
	return x
}

// selection is which objects are checked, in words. Empty means that no bucket
// was named.
func (c Config) selection(selected map[string]bool) string {
	looks := false
	for id, on := range selected {
		looks = looks || on && (strings.HasPrefix(id, "object.") || strings.HasPrefix(id, "trail."))
	}
	var parts []string
	if len(c.Objects) > 0 {
		parts = append(parts, count(len(c.Objects), "named object"))
	}
	every := "every object"
	if c.Versions {
		every = "every version of every object"
	}
	if c.Prefix != nil && *c.Prefix == "" {
		parts = append(parts, every+" of the bucket")
	} else if c.Prefix != nil {
		parts = append(parts, fmt.Sprintf("%s with the prefix %q", every, *c.Prefix))
	}
	if c.Inventory != "" && len(parts) > 0 {
		parts[len(parts)-1] += ", by the inventory " + c.Inventory + " and a random sample"
	}
	switch {
	case c.Bucket == "":
		return ""
	case !looks:
		return "none: no check of objects was selected"
	case len(parts) == 0:
		return "none was named"
	}
	return strings.Join(parts, ", and ")
}

// choose returns which checks are selected: those that Only or AccountWide leave
// out are not in the map, those that Skip leaves out are false. A pattern that
// selects nothing is an error.
func (c Config) choose() (map[string]bool, error) {
	selected := map[string]bool{}
	matches := func(pattern string) ([]Check, error) {
		var checks []Check
		for _, x := range Catalogue {
			for _, name := range []string{x.ID, x.Group} {
				ok, err := path.Match(pattern, name)
				if err != nil {
					return nil, &InputError{fmt.Sprintf("%q is not a pattern: %v", pattern, err)}
				}
				if ok {
					checks = append(checks, x)
					break
				}
			}
		}
		if len(checks) == 0 {
			return nil, &InputError{fmt.Sprintf("no check is called %q: `verify list` names them all", pattern)}
		}
		return checks, nil
	}
	only := c.Only
	if len(only) == 0 {
		only = []string{"*"}
	}
	for _, p := range only {
		checks, err := matches(p)
		if err != nil {
			return nil, err
		}
		for _, x := range checks {
			if p == x.ID || (c.AccountWide || !x.AccountWide) && (readsFiles(c.Events) || !x.FilesOnly) {
				selected[x.ID] = true
			}
		}
	}
	for _, p := range c.Skip {
		checks, err := matches(p)
		if err != nil {
			return nil, err
		}
		for _, x := range checks {
			if selected[x.ID] {
				selected[x.ID] = false
			}
		}
	}
	for _, on := range selected {
		if on {
			return selected, nil
		}
	}
	return nil, &InputError{"--only and --skip leave no check to run; the checks of the account need --account-wide or their whole id"}
}

var (
	keyName = regexp.MustCompile(`^(arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key/[A-Za-z0-9-]+|alias/[\w/-]+)|alias/[\w/-]+|mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)
	account = regexp.MustCompile(`^\d{12}$`)
	// bucketName also takes the names of old buckets in us-east-1.
	bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{2,254}$`)
	regionName = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d+$`)
)

// CheckNames checks the form of the names in c: they become parts of requests,
// ARNs and commands. The error is an [*InputError].
func (c *Config) CheckNames() error {
	for _, k := range c.Keys {
		if !keyName.MatchString(k) {
			return &InputError{fmt.Sprintf("%q is not a key: use a key ARN, a key id, or an alias (alias/NAME)", k)}
		}
	}
	switch {
	case c.Alias != "" && (!keyName.MatchString(c.Alias) || !strings.Contains(c.Alias, "alias/")):
		return &InputError{fmt.Sprintf("%q is not an alias: use alias/NAME", c.Alias)}
	case c.EBSKey != "" && (!keyName.MatchString(c.EBSKey) || !strings.Contains(c.EBSKey, ":key/")):
		return &InputError{fmt.Sprintf("the default key for EBS %q is not a key ARN", c.EBSKey)}
	case c.Bucket != "" && !bucketName.MatchString(c.Bucket):
		return &InputError{fmt.Sprintf("%q is not a bucket name", c.Bucket)}
	case c.Account != "" && !account.MatchString(c.Account):
		return &InputError{fmt.Sprintf("%q is not an account: it has 12 digits", c.Account)}
	case c.Caller != "" && principalOf(c.Caller) == "":
		return &InputError{fmt.Sprintf("%q is not the ARN of a user or a role", c.Caller)}
	case c.AWS.Region != "" && !regionName.MatchString(c.AWS.Region):
		return &InputError{fmt.Sprintf("%q is not a Region name, such as us-east-1", c.AWS.Region)}
	}
	return nil
}

// complete checks c and fills in the defaults.
func (c *Config) complete() error {
	if len(c.Keys) == 0 && c.Bucket == "" {
		return &InputError{"nothing to verify: name a key, a bucket, or the stack that made them"}
	}
	if err := checkInventory(c.Inventory); err != nil {
		return err
	}
	if c.Inventory != "" {
		if c.Bucket == "" || len(c.Keys) == 0 {
			return &InputError{"--objects needs a bucket, and the key that its objects must be encrypted under"}
		}
		if c.Prefix == nil {
			c.Prefix = aws.String("")
		}
	}
	if c.Versions && c.Prefix == nil {
		return &InputError{"--versions needs --prefix: it selects every version below it"}
	}
	if c.AWS.Region == "" {
		return &InputError{"no Region: name it, or set AWS_REGION"}
	}
	if err := c.CheckNames(); err != nil {
		return err
	}
	for _, k := range c.Keys {
		if region := regionOf(k); region != "" && region != c.AWS.Region {
			return &InputError{fmt.Sprintf("the key %s is in Region %s, not in %s", k, region, c.AWS.Region)}
		}
	}
	if c.Bucket == "" && (len(c.Objects) > 0 || c.Prefix != nil || c.Canary) {
		return &InputError{"objects, a prefix or a canary need a bucket"}
	}
	if c.Canary && len(c.Keys) == 0 {
		return &InputError{"a canary needs the key it is to be encrypted under"}
	}
	c.Events = cmp.Or(c.Events, lookup)
	if err := checkEvents(c.Events); err != nil {
		return err
	}
	if c.Since < 0 || c.Since > eventHistory && c.Events == lookup {
		return &InputError{fmt.Sprintf("the event history goes back 90 days, not %s: a trail's log files go back further (--events s3://BUCKET/PREFIX)", c.Since)}
	}
	if c.Since > maxSince {
		return &InputError{fmt.Sprintf("--since %s is longer than CloudTrail exists", c.Since)}
	}
	if c.Wait < 0 {
		return &InputError{"the time to wait is negative"}
	}
	c.Since = cmp.Or(c.Since, 24*time.Hour)
	c.lookupAttempts = cmp.Or(c.lookupAttempts, lookupAttempts)
	c.lookupRate = cmp.Or(c.lookupRate, lookupRate)
	if c.Poll == 0 && (readsFiles(c.Events) || readsSQL(c.Events)) {
		c.Poll = time.Minute // every look reads the files, or scans the table, again
	}
	c.Poll = cmp.Or(c.Poll, 10*time.Second)
	c.Concurrency = cmp.Or(c.Concurrency, 32)
	if c.Progress == nil {
		c.Progress = io.Discard
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Progress = &lockedWriter{w: c.Progress, every: c.ProgressEvery, now: time.Now}
	return nil
}

// lockedWriter keeps lines from several goroutines apart.
type lockedWriter struct {
	mu    sync.Mutex
	w     io.Writer
	every time.Duration
	last  time.Time // of the last status
	now   func() time.Time
}

// status writes a line about what goes on, unless the last one was written a
// short time ago.
func (l *lockedWriter) status(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); l.last.IsZero() || now.Sub(l.last) >= l.every {
		l.last = now
		fmt.Fprintf(l.w, format+"\n", args...)
	}
}

// progress writes a line about what goes on, at most one in ProgressEvery.
func (r *run) progress(format string, args ...any) {
	r.cfg.Progress.(*lockedWriter).status(format, args...)
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func pass(actual string, evidence ...report.Evidence) report.Result {
	return report.Result{Status: report.Pass, Actual: actual, Evidence: evidence}
}

func fail(actual, remedy string, evidence ...report.Evidence) report.Result {
	return report.Result{Status: report.Fail, Actual: actual, Remedy: remedy, Evidence: evidence}
}

func inconclusive(actual, remedy string, evidence ...report.Evidence) report.Result {
	return report.Result{Status: report.Inconclusive, Actual: actual, Remedy: remedy, Evidence: evidence}
}

func skipped(actual string) report.Result {
	return report.Result{Status: report.Skipped, Actual: actual}
}

const (
	maxFailures = 100 // named in a result
	maxEvidence = 20  // kept in a result that is put together from many
)

// worse orders the statuses for results that are put together from many: what
// is broken comes before what could not be seen.
var worse = []report.Status{report.Skipped, report.Pass, report.Inconclusive, report.Error, report.Fail}

// merge puts the results of one check for several Regions or keys together.
// noun is what they are called: "Region".
func merge(noun string, names []string, results []report.Result) report.Result {
	if len(results) == 1 {
		return results[0]
	}
	out := report.Result{Status: report.Skipped}
	bad := 0
	for i, x := range results {
		if slices.Index(worse, x.Status) > slices.Index(worse, out.Status) {
			out.Status, out.Remedy = x.Status, x.Remedy
		}
		if x.Status != report.Pass {
			bad++
			if len(out.Failures) < maxFailures {
				out.Failures = append(out.Failures, names[i]+": "+x.Actual)
			}
		}
		out.Evidence = append(out.Evidence, x.Evidence...)
	}
	out.Evidence = out.Evidence[:min(len(out.Evidence), maxEvidence)]
	out.FailureCount = bad
	out.Actual = fmt.Sprintf("as expected for all %d %ss", len(results), noun)
	if bad > 0 {
		out.Actual = fmt.Sprintf("not as expected for %d of %d %ss: %s", bad, len(results), noun, out.Failures[0])
	}
	return out
}
