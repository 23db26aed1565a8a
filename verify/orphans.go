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
	"github.com/securethecloud/kms-baseline/verify/report"
)

var (
	// errOrphans reports that verify orphans found orphans.
	errOrphans = errors.New("there are orphans")
	// errDoubt reports that it found only resources that may be in use.
	errDoubt = errors.New("what looks like an orphan may be in use")
)

func newOrphans(o *options) *cobra.Command {
	var flags orphanFlags
	c := &cobra.Command{
		Use:   "orphans",
		Short: "Find what a deployment that was cut off has left",
		Long: `orphans looks for resources that pulumi up created and could not record in its
state: the process was killed, or the response of AWS was lost. The next up
creates other keys and buckets, and these stay unused.

A key is an orphan if it has the description and the tags of the stack's key, no
alias, and no use in the event history since it was created; a bucket, if its name
was generated like that of the stack's bucket, and it is empty and has no policy.
If the stack is gone, --description and --bucket-prefix describe its resources.

--trail looks for the resources of an AuditTrail. A trail, a workgroup and a
database that exist stop the next up: they are orphans as long as the trail has never
logged. Once it has, keys and buckets like its own are looked for.

orphans changes nothing. It prints the commands that remove the orphans, and
everything else as comments: read them, then run them with | sh. A resource that may
be in use is only in the comments.`,
		Example: "  verify orphans --stack dev\n  verify orphans --description 'Masterclass Day1 CMK' --bucket-prefix ckms-111122223333-\n  verify orphans --trail account-trail --region us-east-1",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.orphans(c, flags) },
	}
	o.addTargetFlags(c)
	c.Flags().StringVar(&flags.trail, "trail", "", "name of the trail of an AuditTrail to look for")
	c.Flags().StringVar(&flags.Description, "description", "", "description of the keys to look for (default: that of the first key)")
	c.Flags().StringVar(&flags.BucketPrefix, "bucket-prefix", "", "prefix of the names of the buckets to look for (default: that of the bucket)")
	return c
}

// orphanFlags are the flags that state what is looked for.
type orphanFlags struct {
	check.Likeness
	trail string
}

func (o *options) orphans(c *cobra.Command, flags orphanFlags) error {
	ctx := c.Context()
	cfg, err := o.config(ctx, c)
	if err != nil {
		return err
	}
	if cfg.AWS, err = o.readyAWS(ctx, cfg.AWS.Region); err != nil {
		return err
	}
	seen := check.RecordEndpoints(cfg.AWS.HTTPClient)
	cfg.AWS.HTTPClient = seen
	if err := ownAccount(ctx, cfg); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	var found []check.Orphan
	var notes []string
	if len(cfg.Keys) > 0 || cfg.Bucket != "" || flags.Description != "" || flags.BucketPrefix != "" || flags.trail == "" {
		var like check.Likeness
		like, found, err = findOrphans(ctx, cfg, flags.Likeness, o.stack == "" && o.outputs == "" || cfg.Alias != "")
		if like.Description == "" {
			notes = append(notes, "No key was looked for: none was named, or the stack uses an existing key.")
		}
		if like.BucketPrefix == "" {
			notes = append(notes, "No bucket was looked for: none was named, or its name was not generated.")
		}
	}
	if flags.trail != "" && err == nil {
		var logging time.Time
		var more []check.Orphan
		logging, more, err = check.TrailOrphans(ctx, cfg, flags.trail)
		found = append(found, more...)
		note := fmt.Sprintf("No key and no bucket of the trail %s was looked for: the trail has never logged, or there is none. Look again once pulumi up is done.", flags.trail)
		if !logging.IsZero() {
			note = fmt.Sprintf("The trail %s began to log at %s: it is in use, and so are its workgroup and its database.", flags.trail, logging.Format(time.RFC3339))
		}
		notes = append(notes, note)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return orphansError(err)
	}
	p := &picture{w: o.stdout}
	if notice := seen.Notice(caBundle(cfg.AWS)); notice != "" {
		notes = append([]string{notice}, notes...)
	}
	for _, n := range notes {
		p.line("# %s", report.Line(n))
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
		return hinted{errOrphans, "read the comments, then run the commands that are printed"}
	case len(found) > 0:
		return hinted{errDoubt, "the comments state why each may be in use"}
	}
	return nil
}

// ownAccount fails if the credentials are not of the expected account: another
// account has no orphans of this stack.
func ownAccount(ctx context.Context, cfg check.Config) error {
	if cfg.Account == "" {
		return nil
	}
	who, err := sts.NewFromConfig(cfg.AWS).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return orphansError(&check.CallError{Action: "sts:GetCallerIdentity", Err: err})
	}
	if got := aws.ToString(who.Account); got != cfg.Account {
		return hinted{fmt.Errorf("the credentials are of account %s, not of %s", got, cfg.Account), "use credentials of that account: --profile selects them"}
	}
	return nil
}

// findOrphans looks for keys and buckets that resemble those of the stack or of
// the flags. ownKey reports whether the stack created the key.
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
		return hinted{err, "name the stack, a key and a bucket, --description and --bucket-prefix, or --trail"}
	}
	return hinted{fmt.Errorf("%w: %w", errAWS, err), "docs/iam/orphans.json is the IAM policy that orphans needs, and for --trail orphans-trail.json besides"}
}

// oneComment describes an orphan in one line: a name or a tag must not become a
// command.
func oneComment(o check.Orphan) string {
	var text, why string
	switch {
	case o.Key != "":
		text, why = "the key "+o.Key, "has no alias and no use in the event history"
	case o.Bucket != "":
		text, why = "the bucket "+o.Bucket, "is empty and was never configured"
	case o.Trail != "":
		text, why = "the trail "+o.Trail, "has never logged"
	case o.Workgroup != "":
		text, why = "the workgroup "+o.Workgroup, "is of a trail that has never logged"
	case o.Database != "":
		text, why = "the database "+o.Database, "is of a trail that has never logged"
	}
	if !o.Made.IsZero() {
		text += ", created " + o.Made.Format(time.RFC3339)
	}
	if o.By != "" {
		text += " by " + o.By
	}
	if o.Doubt != "" {
		text += ": left alone, for " + o.Doubt
	} else {
		text += ", " + why
	}
	return report.Line(strings.Join(strings.Fields(text), " "))
}
