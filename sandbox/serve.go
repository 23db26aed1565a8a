package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

func newServe(at *place) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Serve localaws until interrupted",
		Long: `Serves localaws, this project's own small AWS, over HTTPS until it is
interrupted. It prints its address once it answers. What it holds is kept in
--dir and is there again the next time.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, paths, err := at.paths()
			if err != nil {
				return err
			}
			server, err := localaws.Open(localaws.Options{Dir: paths.State(), CertDir: paths.Certs()})
			if err != nil {
				return err
			}
			if err := server.Start(at.addr); err != nil {
				return errors.Join(err, server.Close())
			}
			fmt.Fprintln(cmd.OutOrStdout(), server.URL())
			<-cmd.Context().Done()
			return server.Close()
		},
	}
}

func newEnv(at *place) *cobra.Command {
	return &cobra.Command{
		Use:   "env",
		Short: "Print what a client of the sandbox needs in its environment",
		Long: `Prints commands for a POSIX shell that put any AWS client, and Pulumi, on the
sandbox:

  eval "$(go run ./sandbox env)"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			root, paths, err := at.paths()
			if err != nil {
				return err
			}
			// The engine wants its backend's folder to be there.
			if err := os.MkdirAll(paths.Backend(), 0o700); err != nil {
				return fmt.Errorf("making the Pulumi backend's folder: %w", err)
			}
			env := engine.Env(engine.ToolsIn(root), paths, at.url(), paths.CAFile())
			fmt.Fprint(cmd.OutOrStdout(), env.Exports(os.Environ()))
			if err := at.answers(cmd, paths); err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "sandbox: note: %v\n", err)
			}
			return nil
		},
	}
}

// answers returns an error for people unless this place's localaws is serving.
func (p *place) answers(cmd *cobra.Command, paths engine.Paths) error {
	start := "start it in another terminal: go run ./sandbox serve" + p.flags(cmd)
	pem, err := os.ReadFile(paths.CAFile())
	if errors.Is(err, os.ErrNotExist) {
		return hinted{fmt.Errorf("localaws has never run in %s", paths.Dir), start}
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
	case err == nil: // refused or not: it speaks with our certificate
		return resp.Body.Close()
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &unknown):
		return hinted{
			fmt.Errorf("what answers on %s has another certificate authority than %s", p.url(), paths.CAFile()),
			"give the --dir of the localaws that serves there, or another --addr",
		}
	}
	return hinted{fmt.Errorf("no localaws answers on %s: %w", p.url(), err), start}
}
