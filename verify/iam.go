package main

import (
	"github.com/spf13/cobra"

	"github.com/securethecloud/kms-baseline/verify/check"
)

func newIAM(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "iam",
		Short: "Print the IAM policy that verify needs",
		Long: `iam prints the IAM policy that the checks need, and no more: for the key and
the bucket that are named, else for all of them. It is read-only; --canary adds
what the canary writes. It asks nothing of AWS.`,
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
			return err
		},
	}
	o.addTargetFlags(c)
	o.addCheckFlags(c)
	c.Flags().StringArrayVar(&o.objects, "object", nil, "key of an object that is looked at; may be repeated")
	return c
}
