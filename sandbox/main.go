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
	err := cmd.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
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
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.PersistentFlags().StringVar(&at.addr, "addr", "127.0.0.1:4566", "`HOST:PORT` of localaws; loopback only")
	cmd.PersistentFlags().StringVar(&at.dir, "dir", "", "`folder` of state, certificates and the Pulumi backend (default .sandbox in the project)")
	cmd.AddCommand(
		newInstall(),
		newServe(&at),
		newEnv(&at),
		newUp(&at),
		newPreview(&at),
		newDestroy(&at),
		newDemo(&at),
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

// paths finds the project and the sandbox's places.
func (p *place) paths() (root string, paths engine.Paths, err error) {
	root, err = engine.FindRoot(".")
	if err != nil {
		return "", engine.Paths{}, err
	}
	dir := engine.Dir(root)
	if p.dir != "" {
		if dir, err = filepath.Abs(p.dir); err != nil {
			return "", engine.Paths{}, err
		}
	}
	return root, engine.Paths{Dir: dir}, nil
}
