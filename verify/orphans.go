package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"github.com/securethecloud/kms-baseline/verify/check"
)

var (
	// errOrphans is that verify orphans has found some.
	errOrphans = errors.New("there are orphans")
	// errDoubt is that it has found none for certain, and some perhaps.
	errDoubt = errors.New("what looks like an orphan may be somebody's")
)

func newOrphans(o *options) *cobra.Command {
	var flags check.Likeness
	c := &cobra.Command{
		Use:   "orphans",
		Short: "Find keys and buckets that a deployment which was cut off has left",
		Long: `orphans looks for keys and buckets that pulumi up had AWS make and never got to
write down: it was killed, or AWS's answer was lost. The next up makes others, and
nobody uses these.

A key is one if it has the description and the tags of the stack's key, no alias,
and no use in the event history since it was made; a bucket, if its name was made
up like that of the stack's bucket, and it is empty and has no policy. Where the
stack is gone, --description and --bucket-prefix say what it was like.

It changes nothing. It prints the commands that remove what it found, and the
rest as comments: read them, then run them with | sh. What may be somebody's after
all is among the comments.`,
		Example: "  verify orphans --stack dev\n  verify orphans --description 'Masterclass Day1 CMK' --bucket-prefix ckms-111122223333-",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.orphans(c, flags) },
	}
	o.addTargetFlags(c)
	c.Flags().StringVar(&flags.Description, "description", "", "description of the keys to look for (default: that of the first key)")
	c.Flags().StringVar(&flags.BucketPrefix, "bucket-prefix", "", "what the names of the buckets to look for begin with (default: as the bucket's)")
	return c
}

func (o *options) orphans(c *cobra.Command, flags check.Likeness) error {
	ctx := c.Context()
	cfg, err := o.config(ctx, c)
	if err != nil {
		return err
	}
	if cfg.AWS, err = o.readyAWS(ctx, cfg.AWS.Region); err != nil {
		return err
	}
	if err := ownAccount(ctx, cfg); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	like, found, err := findOrphans(ctx, cfg, flags, o.stack == "" && o.outputs == "" || cfg.Alias != "")
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return orphansError(err)
	}
	p := &picture{w: o.stdout}
	if like.Description == "" {
		p.line("# No key was looked for: none was named, or the stack has one that was there before it.")
	}
	if like.BucketPrefix == "" {
		p.line("# No bucket was looked for: none was named, or its name was not made up.")
	}
	if len(found) == 0 {
		p.line("# No orphan was found in %s.", cfg.AWS.Region)
	}
	certain := 0
	for _, x := range found {
		p.line("# %s", oneComment(x))
		if x.Doubt == "" {
			certain++
			p.line("%s", x.Remove(cfg.AWS.Region))
		}
	}
	switch {
	case p.err != nil:
		return fmt.Errorf("writing what was found: %w", p.err)
	case certain > 0:
		return hinted{errOrphans, "read the comments, and run the commands: verify orphans ... | sh"}
	case len(found) > 0:
		return hinted{errDoubt, "only somebody who knows what they are for can tell: see the comments"}
	}
	return nil
}

// ownAccount fails where the credentials are not of the account that is meant:
// what looks like an orphan in another is none of this stack's.
func ownAccount(ctx context.Context, cfg check.Config) error {
	if cfg.Account == "" {
		return nil
	}
	who, err := sts.NewFromConfig(cfg.AWS).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return orphansError(&check.CallError{Action: "sts:GetCallerIdentity", Err: err})
	}
	if got := aws.ToString(who.Account); got != cfg.Account {
		return hinted{fmt.Errorf("the credentials are of account %s, not of %s", got, cfg.Account), "--profile chooses others; aws sts get-caller-identity shows whom AWS takes you for"}
	}
	return nil
}

// findOrphans looks for what is like the stack's own, or like the flags say.
// ownKey is whether the key is one that the stack has made.
func findOrphans(ctx context.Context, cfg check.Config, flags check.Likeness, ownKey bool) (check.Likeness, []check.Orphan, error) {
	own := cfg
	if !ownKey || flags.Description != "" {
		own.Keys = nil
	}
	like, err := check.LikenessOf(ctx, own)
	if err != nil {
		return like, nil, err
	}
	if flags.Description != "" {
		like.Description = flags.Description
	}
	if flags.BucketPrefix != "" {
		like.BucketPrefix = flags.BucketPrefix
	}
	found, err := check.Orphans(ctx, cfg, like)
	return like, found, err
}

func orphansError(err error) error {
	switch {
	case check.IsCredentials(err):
		return &check.CredentialsError{Err: err}
	case errors.As(err, new(*check.InputError)):
		return hinted{err, "name the stack, a key and a bucket, or --description and --bucket-prefix"}
	}
	return hinted{fmt.Errorf("%w: %w", errAWS, err), "docs/iam/orphans.json is the IAM policy that it needs"}
}

// oneComment says what an orphan is, in one line: what others chose for a name
// or a tag must not become a command.
func oneComment(o check.Orphan) string {
	text := "the bucket " + o.Bucket
	if o.Key != "" {
		text = "the key " + o.Key
	}
	text += ", made " + o.Made.Format(time.RFC3339)
	if o.By != "" {
		text += " by " + o.By
	}
	switch {
	case o.Doubt != "":
		text += ": left alone, for " + o.Doubt
	case o.Key != "":
		text += ", has no alias and no use in the event history"
	default:
		text += ", is empty and was never set up"
	}
	return strings.Join(strings.Fields(text), " ")
}
