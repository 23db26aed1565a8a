// Command verify proves from a live AWS account that its data is encrypted
// under the expected key. It calls AWS and reports the responses. It changes
// nothing there, except for what --canary uploads and removes again.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/securethecloud/kms-baseline/verify/check"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// errCancelled is the cause of a run that a signal ended.
var errCancelled = errors.New("cancelled")

func main() {
	if os.Getenv("GOGC") == "" {
		// The heap is a few megabytes, whatever a run examines, but HeadObject of many
		// objects allocates fast: collected at the default's pace, much of the
		// processor's time would go into that.
		debug.SetGCPercent(400)
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main, with what it takes from the process.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	defer watchSignals(func() { cancel(errCancelled) })()

	o := &options{stdin: stdin, stdout: stdout, stderr: stderr}
	root := newRoot(o)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(stderr, "verify: error: %s\n", report.Line(strings.TrimSpace(line)))
		}
		if h := hint(err); h != "" && !o.quiet {
			fmt.Fprintf(stderr, "verify: hint: %s\n", report.Line(h))
		}
	}
	return exitCode(o.verdict, err, o.allowInconclusive)
}

// watchSignals calls stop at the first signal that ends a program: what was
// uploaded is removed, and what was found is reported. The next one ends the
// process at once. A broken pipe does not end it: the write returns the error.
// The function that it returns restores the defaults.
func watchSignals(stop func()) func() {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup does
		ends = append(ends, syscall.SIGHUP)
	}
	signals, pipe := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(signals, ends...)
	signal.Notify(pipe, syscall.SIGPIPE)
	go func() {
		if _, ok := <-signals; ok {
			signal.Stop(signals)
			stop()
		}
	}()
	return func() {
		signal.Stop(signals)
		signal.Stop(pipe)
		close(signals)
	}
}

// hinted is an error with the next step: a command that can be run as it
// stands, or a sentence.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

func hint(err error) string {
	var h hinted
	if errors.As(err, &h) {
		return h.hint
	}
	if errors.As(err, new(*check.CredentialsError)) {
		return "aws sts get-caller-identity"
	}
	switch {
	case errors.Is(err, errTimedOut):
		return "the checks that were not finished are in the report as errors; a longer --timeout lets them finish"
	case errors.Is(err, errCancelled):
		return ""
	case errors.Is(err, errReport):
		return "check the file's directory, the free space, and what reads stdout"
	}
	return "verify --help"
}
