package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// localaws in the background, and commands that use it.

func newStart(at *place) *cobra.Command {
	return &cobra.Command{
		Use:   "start",
		Short: "Start localaws in the background",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			paths, err := at.paths()
			if err != nil {
				return err
			}
			if at.answers(cmd, paths) == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "localaws is already running at %s\n", at.url())
				return nil
			}
			return at.start(cmd, paths)
		},
	}
}

func newStatus(at *place) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Report whether localaws is running (exit code 0) or not (1)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			paths, err := at.paths()
			if err != nil {
				return err
			}
			if err := at.answers(cmd, paths); err != nil {
				return err
			}
			s, _ := running(paths)
			fmt.Fprintf(cmd.OutOrStdout(), "localaws is running at %s (process %d), with its state in %s\n", s.URL, s.PID, paths.Dir)
			return nil
		},
	}
}

func newStop(at *place) *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop localaws; its state is kept",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			paths, err := at.paths()
			if err != nil {
				return err
			}
			stopped, err := at.stop(cmd, paths)
			if err == nil && stopped {
				fmt.Fprintln(cmd.OutOrStdout(), "localaws is stopped")
			} else if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), "localaws is not running")
			}
			return err
		},
	}
}

func newReset(at *place) *cobra.Command {
	return &cobra.Command{
		Use:   "reset",
		Short: "Stop localaws and delete the sandbox's account and stacks",
		Long: `Stops localaws and deletes everything in its account, and the Pulumi state of
the sandbox's stacks. The engine, the provider and the certificate authority
are kept.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			paths, err := at.paths()
			if err != nil {
				return err
			}
			if _, err := at.stop(cmd, paths); err != nil {
				return err
			}
			for _, dir := range []string{paths.State(), paths.Backend(), filepath.Join(paths.Dir, "work")} {
				if err := os.RemoveAll(dir); err != nil {
					return err
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "the sandbox in %s is empty\n", paths.Dir)
			return nil
		},
	}
}

func newExec(at *place) *cobra.Command {
	return &cobra.Command{
		Use:   "exec -- COMMAND [ARGUMENT ...]",
		Short: "Run one command against the sandbox",
		Long: `Runs one command with an environment in which every AWS client, and Pulumi, talk
to the sandbox only: the caller's AWS and Pulumi settings are removed. It starts
localaws if it is not running, and exits with the command's exit code.

  sandbox exec -- aws s3 ls
  sandbox exec -- pulumi up --stack sandbox`,
		Args:                  cobra.MinimumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			paths, err := at.paths()
			if err != nil {
				return err
			}
			if err := at.ensureRunning(cmd, paths); err != nil {
				return err
			}
			if root, err := engine.FindRoot("."); err == nil && filepath.Base(args[0]) == "pulumi" {
				if err := installFor(cmd, root); err != nil {
					return err
				}
			}
			env, err := at.environment(paths)
			if err != nil {
				return err
			}
			return runIn(cmd, env, args)
		},
	}
}

// installFor installs what pulumi needs for the program in the working directory.
func installFor(cmd *cobra.Command, root string) error {
	tools, err := engine.Install(cmd.Context(), root, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	project, err := os.ReadFile("Pulumi.yaml")
	if err != nil || tools.PulumiSource != "modules" || !yamlRuntime.Match(project) {
		return nil //nolint:nilerr // pulumi reports a missing project itself
	}
	_, err = engine.InstallYAMLHost(cmd.Context(), root, cmd.ErrOrStderr())
	return err
}

var yamlRuntime = regexp.MustCompile(`(?m)^runtime:\s*yaml\s*$`)

// runIn runs a command as a shell would, in the environment env.
func runIn(cmd *cobra.Command, env engine.Environment, args []string) error {
	program, err := env.LookPath(args[0])
	if err != nil {
		return err
	}
	// The terminal interrupts the child itself; a signal to this process alone is
	// passed on. Either way the child decides when to end.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	child := exec.Command(program, args[1:]...) //nolint:noctx // it ends by its own decision
	child.Env = env.Environ(os.Environ())
	child.Stdin, child.Stdout, child.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	if err := child.Start(); err != nil {
		return fmt.Errorf("running %s: %w", args[0], err)
	}
	done := make(chan struct{})
	go func() {
		select {
		case s := <-signals:
			if s != os.Interrupt {
				_ = child.Process.Signal(s) // it may have ended
			}
		case <-done:
		}
	}()
	err = child.Wait()
	close(done)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if code := exit.ExitCode(); code > 0 {
			return exitError(code)
		}
		return exitError(interrupted) // ended by a signal
	}
	return err
}

// ensureRunning starts localaws unless it is running.
func (p *place) ensureRunning(cmd *cobra.Command, paths engine.Paths) error {
	err := p.answers(cmd, paths)
	var foreign foreignError
	if err == nil || errors.As(err, &foreign) {
		return err
	}
	return p.start(cmd, paths)
}

// start starts localaws in the background and waits until it answers.
func (p *place) start(cmd *cobra.Command, paths engine.Paths) error {
	if s, ok := running(paths); ok && s.URL != p.url() {
		return hinted{fmt.Errorf("the localaws of %s is running at %s, not at %s", paths.Dir, s.URL, p.url()), "give its address with --addr, or stop it: sandbox stop"}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if strings.HasSuffix(self, ".test") {
		return errors.New("a test binary cannot serve: use the built command")
	}
	if err := os.MkdirAll(paths.Dir, 0o700); err != nil {
		return err
	}
	logFile := filepath.Join(paths.Dir, "localaws.log")
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("making the log of localaws: %w", err)
	}
	defer func() { _ = log.Close() }()                                         // the child has its own
	child := exec.Command(self, "serve", "--addr", p.addr, "--dir", paths.Dir) //nolint:noctx // it outlives this process
	child.Stdout, child.Stderr = log, log
	engine.Detach(child)
	if err := child.Start(); err != nil {
		return fmt.Errorf("starting localaws: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = child.Wait() // why it ended is in its log
		close(ended)
	}()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		select {
		case <-ended:
			if p.answers(cmd, paths) == nil { // another command started it at the same time
				return nil
			}
			said, _ := os.ReadFile(logFile)
			return fmt.Errorf("localaws did not start: %s", strings.TrimSpace(strings.ReplaceAll(string(said), "sandbox: ", "")))
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		case <-tick.C:
			if s, ok := running(paths); ok && s.PID == child.Process.Pid && p.answers(cmd, paths) == nil {
				tick.Stop()
				fmt.Fprintf(cmd.ErrOrStderr(), "sandbox: started localaws at %s; stop it with: sandbox stop%s\n", p.url(), p.flags(cmd))
				return nil
			}
		}
	}
}

// stop stops the localaws of paths; it reports whether one was running. The
// recorded process is only stopped if this place's localaws answers there: after
// a crash another process may have its ID.
func (p *place) stop(cmd *cobra.Command, paths engine.Paths) (bool, error) {
	s, ok := running(paths)
	if !ok {
		return false, nil
	}
	there := place{addr: strings.TrimPrefix(s.URL, "https://"), dir: p.dir}
	if err := there.answers(cmd, paths); err != nil {
		return false, hinted{fmt.Errorf("%s names process %d, which does not answer as localaws at %s", servingFile(paths), s.PID, s.URL), "if localaws was killed, remove that file"}
	}
	if err := engine.Terminate(s.PID); err != nil {
		return false, fmt.Errorf("stopping localaws (process %d): %w", s.PID, err)
	}
	for engine.Alive(s.PID) {
		select {
		case <-cmd.Context().Done():
			return false, cmd.Context().Err()
		case <-time.After(20 * time.Millisecond):
		}
		if _, ok := running(paths); !ok {
			return true, nil // it has removed its record, and only its parent still has to notice
		}
	}
	return true, nil
}

// foreignError is returned if a server answers that is not this place's localaws.
type foreignError struct{ error }

func (f foreignError) Unwrap() error { return f.error }

// answers returns an error for people unless this place's localaws is serving.
func (p *place) answers(cmd *cobra.Command, paths engine.Paths) error {
	start := "start it: sandbox start" + p.flags(cmd)
	pem, err := os.ReadFile(paths.CAFile())
	if errors.Is(err, os.ErrNotExist) {
		return hinted{fmt.Errorf("localaws is not running: it has never run in %s", paths.Dir), start}
	}
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
	}
	req, err := http.NewRequestWithContext(cmd.Context(), http.MethodHead, p.url(), nil)
	if err != nil {
		return fmt.Errorf("--addr %s: %w", p.addr, err)
	}
	resp, err := client.Do(req)
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil: // refused or not: it has our certificate
		return resp.Body.Close()
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &unknown):
		return foreignError{hinted{
			fmt.Errorf("the server at %s has another certificate authority than %s", p.url(), paths.CAFile()),
			"give the --dir of the localaws that serves there, or another --addr",
		}}
	}
	if engine.PortHolder(p.addr) != "" {
		return foreignError{hinted{fmt.Errorf("the server at %s is not localaws: %s", p.url(), engine.PortHolder(p.addr)), "stop it, or choose another --addr"}}
	}
	return hinted{fmt.Errorf("localaws is not running at %s: %w", p.url(), err), start}
}
