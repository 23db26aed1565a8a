// Command verify proves from a live AWS account that its data is encrypted
// under the key it should be: it asks AWS itself, and says what it saw. It
// changes nothing there, except for what --canary uploads and removes again.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/securethecloud/kms-baseline/verify/check"
)

// errCancelled is why a run ended that a signal ended.
var errCancelled = errors.New("cancelled")

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main, with what it takes from the process.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals) // the next one ends the process at once
		cancel(errCancelled)
	}()

	o := &options{stdin: stdin, stdout: stdout, stderr: stderr}
	root := newRoot(o)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "verify: error: %v\n", err)
		if h := hint(err); h != "" && !o.quiet {
			fmt.Fprintf(stderr, "verify: hint: %s\n", h)
		}
	}
	return exitCode(o.report, err, o.allowInconclusive)
}

// hinted is an error with the next thing to do.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

func hint(err error) string {
	if h, ok := errors.AsType[hinted](err); ok {
		return h.hint
	}
	if _, ok := errors.AsType[*check.CredentialsError](err); ok {
		return "aws sts get-caller-identity shows whom AWS takes you for; aws sso login, or --profile, may help"
	}
	switch {
	case errors.Is(err, errTimedOut):
		return "the checks that were not finished are in the report as errors; a longer --timeout lets them finish"
	case errors.Is(err, errCancelled):
		return ""
	}
	return "verify --help"
}
