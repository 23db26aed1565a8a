// Package stack is this repository's own stack: configuration in, one
// [components.EncryptionBaseline] and the course's proof object, outputs out.
// To have the baseline in another stack, import package
// components instead.
package stack

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/s3"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/components/ebsrestore"
	"github.com/securethecloud/kms-baseline/components/keyguard"
)

// The course's proof object.
const (
	proofKey     = "test/hello.txt"
	proofContent = "hello kms day1\n"
)

// Deploy makes the stack. Every setting is in docs/configuration.md.
func Deploy(ctx *pulumi.Context) error {
	c, err := readSettings(ctx)
	tags := pulumi.ToStringMap(c.tags)
	args := &components.EncryptionBaselineArgs{
		Key: c.key(), Bucket: c.bucket(), EBS: c.ebs(), Tags: tags,
	}
	if err := errors.Join(err, withSettings(args.Validate("ckms"))); err != nil {
		return err
	}
	// Whatever the settings are: an earlier up may have had others, and what it has
	// made may be removed by this one.
	if err := errors.Join(keyguard.Register(ctx), ebsrestore.Register(ctx)); err != nil {
		return err
	}
	baseline, err := components.NewEncryptionBaseline(ctx, "ckms", args, c.options()...)
	if err != nil {
		return err
	}
	// An existing bucket is not managed by this stack: nothing is written there.
	objectKey := pulumi.String("").ToStringOutput()
	if c.existingBucketName == "" {
		proof, err := s3.NewBucketObjectv2(ctx, "proof", &s3.BucketObjectv2Args{
			// The name resolves once the bucket encrypts by default; the object names
			// no encryption of its own, because that is what it is to prove.
			Bucket:      baseline.BucketName,
			Key:         pulumi.String(proofKey),
			Content:     pulumi.String(proofContent),
			ContentType: pulumi.String("text/plain"),
			// Without any, the provider reads back an empty map where it wrote none, and
			// a refresh shows that as a change.
			Metadata: pulumi.StringMap{"purpose": pulumi.String("proof")},
			Tags:     tags,
		}, c.options()...)
		if err != nil {
			return fmt.Errorf("writing the proof object: %w", err)
		}
		objectKey = proof.Key
	}
	arnPart := func(i int) pulumi.StringOutput {
		return baseline.KeyArn.ApplyT(func(arn string) string { return strings.Split(arn, ":")[i] }).(pulumi.StringOutput)
	}
	ctx.Export("keyArn", baseline.KeyArn)
	ctx.Export("keyId", baseline.KeyId)
	ctx.Export("aliasName", baseline.AliasName)
	ctx.Export("aliasArn", baseline.AliasArn)
	ctx.Export("bucketName", baseline.BucketName)
	ctx.Export("objectKey", objectKey)
	ctx.Export("region", arnPart(3))
	ctx.Export("accountId", arnPart(4))
	ctx.Export("ebsEncryptionByDefault", baseline.EBSEncryptionByDefault)
	ctx.Export("ebsDefaultKeyArn", baseline.EBSDefaultKeyArn)
	return nil
}
