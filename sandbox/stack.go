package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/securethecloud/kms-baseline/sandbox/engine"
	"github.com/securethecloud/kms-baseline/stack"
)

// stackName is the stack that the sandbox runs, and the name of its
// configuration file: Pulumi.sandbox.yaml.
const stackName = "sandbox"

func newUp(at *place) *cobra.Command {
	var refresh bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Make or repair the stack",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := at.openStack(cmd)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			opts := []optup.Option{optup.ProgressStreams(out), optup.ErrorProgressStreams(cmd.ErrOrStderr()), optup.Color(color(out))}
			if refresh {
				opts = append(opts, optup.Refresh())
			}
			_, err = s.Up(cmd.Context(), opts...)
			return brief(err)
		},
	}
	cmd.Flags().BoolVar(&refresh, "refresh", false, "ask localaws first what is really there")
	return cmd
}

func newPreview(at *place) *cobra.Command {
	var refresh, diff, expectNoChanges bool
	cmd := &cobra.Command{
		Use:   "preview",
		Short: "Show what up would change",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := at.openStack(cmd)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			opts := []optpreview.Option{optpreview.ProgressStreams(out), optpreview.ErrorProgressStreams(cmd.ErrOrStderr()), optpreview.Color(color(out))}
			if refresh {
				opts = append(opts, optpreview.Refresh())
			}
			if diff {
				opts = append(opts, optpreview.Diff())
			}
			if expectNoChanges {
				opts = append(opts, optpreview.ExpectNoChanges())
			}
			_, err = s.Preview(cmd.Context(), opts...)
			return brief(err)
		},
	}
	cmd.Flags().BoolVar(&refresh, "refresh", false, "ask localaws first what is really there, so that drift shows")
	cmd.Flags().BoolVar(&diff, "diff", false, "show each change in full")
	cmd.Flags().BoolVar(&expectNoChanges, "expect-no-changes", false, "fail if there is anything to change")
	return cmd
}

func newDestroy(at *place) *cobra.Command {
	var runProgram bool
	cmd := &cobra.Command{
		Use:   "destroy",
		Short: "Delete the stack's resources",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := at.openStack(cmd)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			_, err = s.Destroy(cmd.Context(), optdestroy.ProgressStreams(out), optdestroy.ErrorProgressStreams(cmd.ErrOrStderr()),
				optdestroy.Color(color(out)), optdestroy.RunProgram(runProgram))
			return brief(err)
		},
	}
	cmd.Flags().BoolVar(&runProgram, "run-program", false, "run the program first, which delete hooks and changed settings need")
	return cmd
}

// newRecover clears what a killed command has left.
func newRecover(at *place) *cobra.Command {
	return &cobra.Command{
		Use:   "recover",
		Short: "Clear the lock and the pending operations that a killed command left",
		Long: `Releases the stack's lock and clears the operations that are still recorded as
pending because a command was killed. Then it refreshes the state. Run it only
if no other command is using the stack. docs/interruptions.md explains what can
be left over in AWS.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := at.openStack(cmd)
			if err != nil {
				return err
			}
			if err := s.Cancel(cmd.Context()); err != nil {
				return brief(err)
			}
			out := cmd.OutOrStdout()
			_, err = s.Refresh(cmd.Context(), optrefresh.ClearPendingCreates(), optrefresh.ProgressStreams(out),
				optrefresh.ErrorProgressStreams(cmd.ErrOrStderr()), optrefresh.Color(color(out)))
			return brief(err)
		},
	}
}

// openStack opens the sandbox's stack, and starts localaws if it is not running.
func (p *place) openStack(cmd *cobra.Command) (auto.Stack, error) {
	root, paths, err := p.project()
	if err != nil {
		return auto.Stack{}, err
	}
	if err := p.ensureRunning(cmd, paths); err != nil {
		return auto.Stack{}, err
	}
	tools, err := engine.Install(cmd.Context(), root, cmd.ErrOrStderr())
	if err != nil {
		return auto.Stack{}, err
	}
	env := engine.Env(tools, paths, p.url(), paths.CAFile())
	if err := env.Apply(); err != nil {
		return auto.Stack{}, err
	}
	return engine.OpenStack(cmd.Context(), engine.StackOptions{
		Tools:       tools,
		Env:         env,
		Paths:       paths,
		ProjectFile: filepath.Join(root, "Pulumi.yaml"),
		Stack:       stackName,
		ConfigFile:  filepath.Join(root, "Pulumi."+stackName+".yaml"),
		Program:     stack.Deploy,
		// The engine prints them.
		WithoutResults: true,
		FastDestroy:    true,
	})
}

// brief leaves of an engine's error what its streamed output has not said.
func brief(err error) error {
	if err == nil {
		return nil
	}
	if auto.IsConcurrentUpdateError(err) {
		return hinted{errors.New("the stack is locked by another command"), "wait for it; if it was killed: sandbox recover"}
	}
	// A full disk leaves an empty file beside the lock, which the engine takes for a lock.
	if strings.Contains(err.Error(), "unexpected end of JSON input") {
		return hinted{errors.New("the engine cannot read one of its files: the lock may be damaged, as by a full disk"), "make space, and if no other command is using the stack: sandbox recover"}
	}
	what, _, _ := strings.Cut(err.Error(), "\ncode: ")
	return fmt.Errorf("%s: see the engine's output above", what)
}

// color is the engine's --color for an output.
func color(out io.Writer) string {
	f, ok := out.(*os.File)
	if ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" {
		return "always"
	}
	return "never"
}
