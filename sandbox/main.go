// Command sandbox runs this project on one machine, without an AWS account: it
// installs the Pulumi engine and the AWS provider, serves localaws, and runs the
// stack against it. It is for learning, tests and demonstrations, not for real
// accounts: plain pulumi and Pulumi.dev.yaml are.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/securethecloud/kms-baseline/internal/version"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr)) //nolint:gocritic // stop has nothing left to do
}

// interrupted is the exit code after Ctrl-C, as shells have it.
const interrupted = 130

// run runs the command line and returns the exit code. It ends early, and
// cleanly, once ctx is done.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	ran, err := cmd.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var exit exitError
	if errors.As(err, &exit) {
		return int(exit)
	}
	if ran.Name() == "env" {
		printClosed(stdout, err)
	}
	if ctx.Err() != nil {
		fmt.Fprintln(stderr, "sandbox: interrupted")
		return interrupted
	}
	fmt.Fprintf(stderr, "sandbox: error: %v\n", err)
	var h hinted
	if errors.As(err, &h) {
		fmt.Fprintf(stderr, "sandbox: hint: %s\n", h.hint)
	}
	return 1
}

// hinted is an error with the command that helps.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// exitError is the exit code of a command that exec ran, which has said why.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// place is where a command works: the flags that all of them have.
type place struct {
	addr string
	dir  string
}

func newCommand() *cobra.Command {
	var at place
	cmd := &cobra.Command{
		Use:           "sandbox",
		Short:         "Run the stack on this machine, without an AWS account",
		Version:       version.Text(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.PersistentFlags().StringVar(&at.addr, "addr", "127.0.0.1:4566", "`HOST:PORT` of localaws; loopback only")
	cmd.PersistentFlags().StringVar(&at.dir, "dir", "", "`folder` of state, certificates and the Pulumi backend (default .sandbox in the project, and outside of it kms-baseline in the user's cache folder)")
	cmd.AddCommand(
		newInstall(),
		newExec(&at),
		newStart(&at),
		newStatus(&at),
		newStop(&at),
		newReset(&at),
		newServe(&at),
		newEnv(&at),
		newUp(&at),
		newPreview(&at),
		newDestroy(&at),
		newRecover(&at),
		newDemo(&at),
		newCourse(&at),
	)
	return cmd
}

// url is localaws's address for clients.
func (p *place) url() string { return "https://" + p.addr }

// flags are those that lead another command to the same place.
func (p *place) flags(cmd *cobra.Command) string {
	var flags string
	for _, name := range []string{"addr", "dir"} {
		if f := cmd.Flag(name); f.Changed {
			flags += " --" + name + " " + f.Value.String()
		}
	}
	return flags
}

// paths are the sandbox's places. A sandbox that is not the project's own has
// them anywhere.
func (p *place) paths() (engine.Paths, error) {
	if p.dir != "" {
		dir, err := filepath.Abs(p.dir)
		return engine.Paths{Dir: dir}, err
	}
	root, err := engine.FindRoot(".")
	if err == nil {
		return engine.Paths{Dir: engine.Dir(root)}, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return engine.Paths{}, fmt.Errorf("finding a place for the sandbox: %w: name one with --dir", err)
	}
	return engine.Paths{Dir: filepath.Join(cache, "kms-baseline")}, nil
}

// project finds the project, for the commands that run its stack.
func (p *place) project() (root string, paths engine.Paths, err error) {
	if root, err = engine.FindRoot("."); err != nil {
		return "", engine.Paths{}, err
	}
	paths, err = p.paths()
	return root, paths, err
}

// tools are the programs of the project that the current folder is in; nil
// outside of it.
func tools() *engine.Tools {
	root, err := engine.FindRoot(".")
	if err != nil {
		return nil
	}
	return engine.ToolsIn(root)
}
