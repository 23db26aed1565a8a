// Package components gives an AWS account encryption under its own key, as
// Pulumi components: a customer managed KMS key, a bucket that encrypts with
// it by default, EBS encryption by default under it, and the three together.
//
// It imports the Pulumi SDK and pulumi-aws's kms, s3 and ebs packages alone,
// so that a program that imports it pays for nothing else. It proves nothing: that is
// the verify command's work, from the live account.
package components

//go:generate go run ./internal/gendocs

import "github.com/pulumi/pulumi/sdk/v3/go/pulumi"

// child is the options of a component's child: below its parent, and what else
// is given.
func child(parent pulumi.Resource, opts ...pulumi.ResourceOption) []pulumi.ResourceOption {
	return append([]pulumi.ResourceOption{pulumi.Parent(parent)}, opts...)
}
