package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

func newInstall() *cobra.Command {
	var awsCLI, trino bool
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Put the Pulumi engine and the AWS provider in .sandbox",
		Long: `Puts the Pulumi engine and the AWS provider in the project's .sandbox folder:
the official ones where they are on PATH or can be downloaded, else built from
Go modules, which takes a few minutes the first time.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			root, err := engine.FindRoot(".")
			if err != nil {
				return err
			}
			tools, err := engine.Install(cmd.Context(), root, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "engine:   %s (from %s)\n", tools.Pulumi, tools.PulumiSource)
			fmt.Fprintf(out, "provider: in %s (from %s)\n", filepath.Join(tools.PulumiHome, "plugins"), tools.ProviderSource)
			if awsCLI {
				program, err := engine.InstallAWSCLI(cmd.Context(), root, cmd.ErrOrStderr())
				if err != nil {
					return err
				}
				fmt.Fprintf(out, "aws cli:  %s\n", program)
				models, err := engine.InstallModels(cmd.Context(), root, cmd.ErrOrStderr())
				if err != nil {
					return err
				}
				fmt.Fprintf(out, "models:   in %s\n", models)
			}
			if trino {
				server, err := engine.InstallTrino(cmd.Context(), root, cmd.ErrOrStderr())
				if err != nil {
					return err
				}
				fmt.Fprintf(out, "trino:    %s (with %s)\n", server.Dir, server.Java)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&trino, "trino", false, "Trino as well, the SQL engine that answers for Athena in the tests: a download of 800 MB, and Java 24 or newer must be installed")
	cmd.Flags().BoolVar(&awsCLI, "aws-cli", false, "an AWS CLI and AWS's service models as well, for the tests that use them")
	return cmd
}
