package main

import (
	"bytes"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/securethecloud/kms-baseline/verify/check"
)

func newIAM(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "iam",
		Short: "Print the IAM policy that verify needs",
		Long: `iam prints the least IAM policy that the checks need: for the named key and bucket,
or for all. It is read-only; --canary adds
what the canary writes. It does not call AWS.`,
		Example: "  verify iam\n  verify iam --stack dev --canary > policy.json\n  verify iam --only key,bucket --bucket my-bucket",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := o.config(c.Context(), c)
			if err != nil {
				return err
			}
			policy, err := check.Policy(cfg)
			if err != nil {
				return err
			}
			_, err = o.stdout.Write(policy)
			if (bytes.Contains(policy, []byte(check.ResultsBucket)) || bytes.Contains(policy, []byte(check.TableBucket))) && !o.quiet {
				fmt.Fprintf(o.stderr, "verify: hint: replace %s by the bucket of the workgroup's results, and %s by that of the table, if the policy has them\n", check.ResultsBucket, check.TableBucket)
			}
			return err
		},
	}
	o.addTargetFlags(c)
	o.addCheckFlags(c)
	c.Flags().StringArrayVar(&o.objects, "object", nil, "key of an object to check; may be repeated")
	return c
}
