package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// serving is the record of a running localaws, in its sandbox's folder.
type serving struct {
	PID int    `json:"pid"`
	URL string `json:"url"`
}

func servingFile(paths engine.Paths) string { return filepath.Join(paths.Dir, "serve.json") }

// running returns the record of the sandbox's localaws; ok reports whether its
// process exists.
func running(paths engine.Paths) (s serving, ok bool) {
	data, err := os.ReadFile(servingFile(paths))
	return s, err == nil && json.Unmarshal(data, &s) == nil && engine.Alive(s.PID)
}

func newServe(at *place) *cobra.Command {
	var trino string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve localaws in the foreground until interrupted",
		Long: `Serves localaws, this project's own small AWS, over HTTPS until it is
interrupted, or stopped by "sandbox stop". It prints its address once it
answers. Its state is kept in --dir. "sandbox start" does the same in the
background.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			paths, err := at.paths()
			if err != nil {
				return err
			}
			server, err := localaws.Open(localaws.Options{Dir: paths.State(), CertDir: paths.Certs(), Trino: trino})
			if err != nil {
				return err
			}
			if err := server.Start(at.addr); err != nil {
				return errors.Join(at.explainPort(err), server.Close())
			}
			record, err := json.Marshal(serving{os.Getpid(), server.URL()})
			if err == nil {
				err = os.WriteFile(servingFile(paths), record, 0o600)
			}
			if err != nil {
				return errors.Join(fmt.Errorf("recording the running server: %w", err), server.Close())
			}
			fmt.Fprintln(cmd.OutOrStdout(), server.URL())
			<-cmd.Context().Done()
			return errors.Join(os.Remove(servingFile(paths)), server.Close())
		},
	}
	cmd.Flags().StringVar(&trino, "trino", "", "`URL` of the Trino that answers for Athena, for example http://127.0.0.1:8080 (default none: queries are refused)")
	return cmd
}

// explainPort names the process that holds the port, if that is the problem.
func (p *place) explainPort(err error) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	holder := engine.PortHolder(p.addr)
	if holder == "" {
		holder = "another process"
	}
	return hinted{fmt.Errorf("the address %s is in use by %s", p.addr, holder), "stop that process, or choose another port for every command: --addr 127.0.0.1:4567"}
}

func newEnv(at *place) *cobra.Command {
	return &cobra.Command{
		Use:   "env",
		Short: "Print what a client of the sandbox needs in its environment",
		Long: `Prints commands for a POSIX shell that direct any AWS client, and Pulumi, to the
sandbox. If anything is wrong, it prints commands that make every AWS client
fail, so that none reaches the account of the shell's own credentials:

  eval "$(sandbox env || echo exit 1)"

"echo exit 1" ends the shell if env fails. It also does so if the sandbox command
is not found or cannot be built: it then prints nothing, and without "exit 1" the
shell would keep its own credentials. "sandbox exec" runs one command in the same
environment.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			paths, err := at.paths()
			if err != nil {
				return err
			}
			if err := at.answers(cmd, paths); err != nil {
				return err
			}
			env, err := at.environment(paths)
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.OutOrStdout(), env.Exports(os.Environ()))
			return nil
		},
	}
}

// printClosed prints, for a shell to evaluate, why env failed, and an environment
// with which every client fails. Its last command fails.
func printClosed(out interface{ Write([]byte) (int, error) }, err error) {
	fmt.Fprintf(out, "%s", engine.Closed().Exports(os.Environ()))
	fmt.Fprintf(out, "echo %s >&2\n(exit 1)\n", engine.ShellQuote("sandbox: error: "+err.Error()+"; AWS commands in this shell fail until you evaluate a working environment or start a new shell"))
}

// environment is that of a client of this place's localaws.
func (p *place) environment(paths engine.Paths) (engine.Environment, error) {
	// The engine expects its backend's folder to exist.
	if err := os.MkdirAll(paths.Backend(), 0o700); err != nil {
		return engine.Environment{}, fmt.Errorf("making the Pulumi backend's folder: %w", err)
	}
	return engine.Env(tools(), paths, p.url(), paths.CAFile()), nil
}
