// Command conformance calls the operations that localaws serves on an AWS account
// (or any other endpoint) and on a localaws of its own, and prints the answers that
// differ. See docs/conformance.md.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/securethecloud/kms-baseline/localaws"
)

// Exit codes.
const (
	exitSame       = 0 // the endpoint answers as localaws does
	exitDifferent  = 1
	exitUsage      = 2 // wrong flags, or not confirmed: nothing was called
	exitIncomplete = 4 // interrupted, failed, or something could not be removed
)

// region is where everything runs: some of S3's answers are those of us-east-1.
const region = "us-east-1"

func main() {
	// A second signal does not end the clean-up.
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options is what the flags say.
type options struct {
	profile, endpoint, prefix, clean string
	accountWide, yes                 bool
	messages, verbose                bool
	eventsWait, settle               time.Duration
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	fs := flag.NewFlagSet("conformance", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.profile, "profile", "", "the AWS `profile` whose account is compared with localaws")
	fs.StringVar(&o.endpoint, "endpoint", "", "the `URL` of another endpoint; the credentials are those of the profile or the environment")
	fs.StringVar(&o.prefix, "prefix", "", "what every name begins with; it begins with conformance-. The default is conformance- and the time")
	fs.BoolVar(&o.accountWide, "account-wide", false, "also change the EBS encryption defaults of the account in "+region+", and put them back")
	fs.BoolVar(&o.yes, "yes", false, "confirm the costs and what is created")
	fs.BoolVar(&o.messages, "messages", false, "compare the messages of errors, too")
	fs.BoolVar(&o.verbose, "v", false, "print every answer, not only those that differ")
	fs.DurationVar(&o.eventsWait, "events-wait", 15*time.Minute, "how long to wait for an event in the event history; 0 leaves it out")
	fs.DurationVar(&o.settle, "settle", 30*time.Second, "how long to repeat a call until it has the answer that a change leads to")
	fs.StringVar(&o.clean, "clean", "", "run nothing: remove what an earlier run with this `prefix` has left")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitSame
		}
		return exitUsage
	}
	fail := func(code int, err error) int {
		fmt.Fprintf(stderr, "conformance: error: %v\n", err)
		return code
	}
	o.prefix = cmp.Or(o.clean, o.prefix, time.Now().UTC().Format("conformance-20060102-150405"))
	switch {
	case fs.NArg() > 0:
		return fail(exitUsage, fmt.Errorf("unexpected argument %q", fs.Arg(0)))
	case o.profile == "" && o.endpoint == "":
		return fail(exitUsage, errors.New("nothing to compare with: name an account with -profile, or an endpoint with -endpoint"))
	case !validPrefix.MatchString(o.prefix):
		return fail(exitUsage, fmt.Errorf("-prefix %q: it begins with conformance-, has at most 40 lower-case letters, digits and hyphens, and does not end with a hyphen", o.prefix))
	}
	target, err := targetConfig(ctx, o)
	if err != nil {
		return fail(exitUsage, err)
	}
	fmt.Fprint(stdout, plan(o, target))
	if !o.yes {
		return fail(exitUsage, errors.New("not confirmed, nothing was called: repeat the command with -yes"))
	}
	if o.clean != "" {
		r, err := newRunner(ctx, target, o)
		if err == nil {
			err = r.cleanUp(ctx)
		}
		if err != nil {
			return fail(exitIncomplete, err)
		}
		return exitSame
	}
	reference, closeReference, err := openReference(ctx)
	if err != nil {
		return fail(exitIncomplete, err)
	}
	defer closeReference()
	return compare(ctx, o, reference, target, stdout, stderr)
}

// compare runs the behaviors on both endpoints and prints what differs.
func compare(ctx context.Context, o options, reference, target aws.Config, stdout, stderr io.Writer) int {
	var all [2][]observation
	code := exitSame
	// localaws first: where its own run fails, nothing is created in the account.
	for i, side := range []struct {
		name string
		cfg  aws.Config
	}{{"localaws", reference}, {"target", target}} {
		r, err := newRunner(ctx, side.cfg, o)
		if err == nil {
			fmt.Fprintf(stdout, "%s: account %s as %s\n", side.name, r.account, r.caller)
			err = r.runAll(ctx)
			all[i] = r.observed
			if o.verbose {
				for _, seen := range r.observed {
					fmt.Fprintf(stdout, "%s: %s: %s: %s\n", side.name, seen.Behavior, seen.Step, seen.text(true))
				}
			}
		}
		if err != nil {
			fmt.Fprintf(stderr, "conformance: error: %s: %v\n", side.name, err)
			code = exitIncomplete
			if i == 0 {
				return code
			}
		}
	}
	found := differences(all[0], all[1], o.messages)
	printDifferences(stdout, found, len(all[0]))
	if code == exitSame && len(found) > 0 {
		code = exitDifferent
	}
	return code
}

// targetConfig finds credentials and endpoint. It calls nothing.
func targetConfig(ctx context.Context, o options) (aws.Config, error) {
	load := []func(*config.LoadOptions) error{config.WithRegion(region)}
	if o.profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.profile))
	}
	if o.endpoint != "" {
		load = append(load, config.WithBaseEndpoint(o.endpoint))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return cfg, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	elsewhere := cfg.BaseEndpoint != nil && o.endpoint == ""
	for _, variable := range os.Environ() { // AWS_ENDPOINT_URL_KMS takes precedence over all else
		elsewhere = elsewhere || strings.HasPrefix(variable, "AWS_ENDPOINT_URL_")
	}
	if elsewhere {
		return cfg, errors.New("the environment or the profile sends calls to an endpoint of its own: unset AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_*, and name an endpoint that is not AWS with -endpoint")
	}
	return cfg, nil
}

// openReference starts the localaws that the endpoint is compared with, in a
// folder that close removes.
func openReference(ctx context.Context) (cfg aws.Config, closeIt func(), err error) {
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return cfg, nil, err
	}
	s, err := localaws.Open(localaws.Options{Dir: dir, TrailRate: 1000})
	if err != nil {
		return cfg, nil, errors.Join(err, os.RemoveAll(dir))
	}
	closeIt = func() {
		_ = s.Close() // the folder goes with it
		_ = os.RemoveAll(dir)
	}
	if err = s.Start("127.0.0.1:0"); err == nil {
		cfg, err = localConfig(ctx, s.URL(), s.CAFile(), "111122223333")
	}
	if err != nil {
		closeIt()
	}
	return cfg, closeIt, err
}

// localConfig is a client's configuration for an endpoint of this machine, as the
// user of an account of localaws.
func localConfig(ctx context.Context, endpoint, caFile, account string) (aws.Config, error) {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return aws.Config{}, err
	}
	return config.LoadDefaultConfig(ctx, config.WithRegion(region), config.WithBaseEndpoint(endpoint), config.WithCustomCABundle(bytes.NewReader(ca)),
		config.WithSharedConfigFiles([]string{}), config.WithSharedCredentialsFiles([]string{}),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(account, "secret", "")))
}
