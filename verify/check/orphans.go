package check

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"
)

// Orphan is a resource that no stack has: an interrupted deployment had it made, and
// its stack never heard of it.
type Orphan struct {
	// Key is a key's ARN; Bucket, Trail, Workgroup and Database are names. One of them
	// is set.
	Key, Bucket, Trail, Workgroup, Database string
	// Made is when AWS made it; zero where AWS does not say.
	Made time.Time
	// By is the ARN of the principal that created the key; empty where the event history does
	// not say (yet).
	By string
	// Doubt is why it may be in use; empty where nothing speaks for
	// that.
	Doubt string
}

// Likeness is what the keys and buckets of a stack look like. What is empty is
// not looked for.
type Likeness struct {
	// Description is the description of the stack's key.
	Description string
	// Tags are the tags of the stack's key; nil where they are not known.
	Tags map[string]string
	// BucketPrefix is what the names of its buckets begin with, before the 26
	// characters that the provider makes up.
	BucketPrefix string
}

// CallError is a call to AWS that failed.
type CallError struct {
	// Action is the call as IAM names it: "kms:ListKeys".
	Action string
	// Err is what AWS answered.
	Err error
}

// Error names the call and what AWS answered, in one line.
func (e *CallError) Error() string { return e.Action + ": " + Reason(e.Err) }

// Unwrap is what AWS answered.
func (e *CallError) Unwrap() error { return e.Err }

func called(action string, err error) error { return &CallError{action, err} }

// madeUp is the end of a bucket's name that the provider made up after a
// prefix: the time, and a counter.
// Source: https://pkg.go.dev/github.com/hashicorp/terraform-plugin-sdk/v2/helper/id#PrefixedUniqueId
var madeUp = regexp.MustCompile(`\d{18}[0-9a-f]{8}$`)

// LikenessOf asks AWS what the first of cfg.Keys and cfg.Bucket look like, as
// far as they are named. A bucket whose name the provider did not make up has no
// orphans: a second one of that name cannot be made.
func LikenessOf(ctx context.Context, cfg Config) (Likeness, error) {
	var like Likeness
	if cfg.Bucket != "" && madeUp.MatchString(cfg.Bucket) {
		like.BucketPrefix = madeUp.ReplaceAllString(cfg.Bucket, "")
	}
	if len(cfg.Keys) == 0 {
		return like, nil
	}
	client := kms.NewFromConfig(cfg.AWS)
	out, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &cfg.Keys[0]})
	if err != nil {
		return like, called("kms:DescribeKey", err)
	}
	if like.Description = aws.ToString(out.KeyMetadata.Description); like.Description == "" {
		return like, &InputError{fmt.Sprintf("the key %s has no description to know its like by", cfg.Keys[0])}
	}
	like.Tags, err = tagsOf(ctx, client, aws.ToString(out.KeyMetadata.Arn))
	return like, err
}

// Orphans looks in cfg's Region for what a deployment that was cut off has left.
// A key is one if it has the likeness's description, no alias, and is neither
// disabled nor to be deleted; a bucket if its name is made like the stack's and it
// has no policy. cfg.Keys and cfg.Bucket are the stack's own. The event history
// must not know of any use of the key: as it goes back 90 days, a key that is
// older is in doubt, as are a key with other tags and a bucket that is not empty.
func Orphans(ctx context.Context, cfg Config, like Likeness) ([]Orphan, error) {
	if cfg.AWS.Region == "" {
		return nil, &InputError{"no Region: name it, or set AWS_REGION"}
	}
	if like.Description == "" && like.BucketPrefix == "" {
		return nil, &InputError{"nothing to look for: neither a key's description nor how a bucket's name begins"}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	var keys, buckets []Orphan
	g, ctx := errgroup.WithContext(ctx)
	if like.Description != "" {
		g.Go(func() (err error) { keys, err = orphanKeys(ctx, cfg, like); return err })
	}
	if like.BucketPrefix != "" {
		g.Go(func() (err error) { buckets, err = orphanBuckets(ctx, cfg, like.BucketPrefix); return err })
	}
	err := g.Wait()
	found := append(keys, buckets...)
	slices.SortFunc(found, func(a, b Orphan) int { return a.Made.Compare(b.Made) })
	return found, err
}

func orphanKeys(ctx context.Context, cfg Config, like Likeness) ([]Orphan, error) {
	client := kms.NewFromConfig(cfg.AWS)
	named := map[string]bool{} // ids of keys that have an alias
	aliases := kms.NewListAliasesPaginator(client, &kms.ListAliasesInput{})
	for aliases.HasMorePages() {
		page, err := aliases.NextPage(ctx)
		if err != nil {
			return nil, called("kms:ListAliases", err)
		}
		for _, a := range page.Aliases {
			named[aws.ToString(a.TargetKeyId)] = true
		}
	}
	var ids []string
	keys := kms.NewListKeysPaginator(client, &kms.ListKeysInput{})
	for keys.HasMorePages() {
		page, err := keys.NextPage(ctx)
		if err != nil {
			return nil, called("kms:ListKeys", err)
		}
		for _, k := range page.Keys {
			if !named[aws.ToString(k.KeyId)] && !slices.ContainsFunc(cfg.Keys, func(own string) bool { return strings.HasSuffix(own, *k.KeyId) }) {
				ids = append(ids, *k.KeyId)
			}
		}
	}
	ebs, err := ec2.NewFromConfig(cfg.AWS).GetEbsDefaultKmsKeyId(ctx, &ec2.GetEbsDefaultKmsKeyIdInput{})
	if err != nil {
		return nil, called("ec2:GetEbsDefaultKmsKeyId", err)
	}
	trail := newTrailClient(cfg.AWS, cmp.Or(cfg.lookupRate, lookupRate), cmp.Or(cfg.lookupAttempts, lookupAttempts))
	found := make([]Orphan, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, id := range ids {
		g.Go(func() (err error) { found[i], err = orphanKey(ctx, client, trail, cfg.Now(), id, like); return err })
	}
	err = g.Wait()
	for i := range found {
		if found[i].Key != "" && found[i].Key == aws.ToString(ebs.KmsKeyId) {
			found[i].Doubt = "it is the Region's default key for EBS"
		}
	}
	return slices.DeleteFunc(found, func(o Orphan) bool { return o.Key == "" }), err
}

// orphanKey looks at one key without an alias. The zero Orphan says that it is
// none.
func orphanKey(ctx context.Context, client *kms.Client, trail *cloudtrail.Client, now time.Time, id string, like Likeness) (Orphan, error) {
	out, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	if err != nil {
		return Orphan{}, called("kms:DescribeKey", err)
	}
	k := out.KeyMetadata
	if k.KeyManager != types.KeyManagerTypeCustomer || k.KeyState != types.KeyStateEnabled || aws.ToString(k.Description) != like.Description {
		return Orphan{}, nil
	}
	o := Orphan{Key: aws.ToString(k.Arn), Made: aws.ToTime(k.CreationDate).UTC()}
	use, by, err := life(ctx, trail, o.Key, now)
	if err != nil {
		return Orphan{}, err
	}
	o.By = by
	tags := like.Tags
	if tags != nil {
		if tags, err = tagsOf(ctx, client, o.Key); err != nil {
			return Orphan{}, err
		}
	}
	switch {
	case use != "":
		o.Doubt = "it is in use: " + use
	case now.Sub(o.Made) > eventHistory:
		o.Doubt = "it is older than the event history, which cannot show that it was never used"
	case !maps.Equal(tags, like.Tags):
		o.Doubt = "its tags are not those of the stack's key"
	}
	return o, nil
}

// making are the calls with which a deployment makes a key and looks at it. Any
// other is taken for a use.
var making = []string{
	"CreateKey", "DescribeKey", "EnableKeyRotation", "GetKeyPolicy", "GetKeyRotationStatus", "ListKeyRotations", "ListResourceTags",
	"PutKeyPolicy", "TagResource", "UntagResource", "UpdateKeyDescription",
}

// life goes through the event history of a key, and says who had it made and
// which use was made of it last, if any.
func life(ctx context.Context, trail *cloudtrail.Client, key string, now time.Time) (use, by string, err error) {
	pages := cloudtrail.NewLookupEventsPaginator(trail, &cloudtrail.LookupEventsInput{
		LookupAttributes: []trailtypes.LookupAttribute{{AttributeKey: trailtypes.LookupAttributeKeyResourceName, AttributeValue: &key}},
		StartTime:        aws.Time(now.Add(-eventHistory)),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", "", called("cloudtrail:LookupEvents", err)
		}
		for _, e := range page.Events {
			rec, wrong := readEvent(e)
			switch {
			case wrong != "":
				return "an event " + wrong, by, nil
			case rec.EventName == "CreateKey":
				by = rec.caller()
			case !slices.Contains(making, rec.EventName) && rec.ErrorCode == "":
				return fmt.Sprintf("%s by %s on %s", rec.EventName, rec.caller(), rec.EventTime.UTC().Format(time.RFC3339)), by, nil
			}
		}
	}
	return "", by, nil
}

func tagsOf(ctx context.Context, client *kms.Client, key string) (map[string]string, error) {
	tags := map[string]string{}
	pages := kms.NewListResourceTagsPaginator(client, &kms.ListResourceTagsInput{KeyId: &key})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, called("kms:ListResourceTags", err)
		}
		for _, t := range page.Tags {
			tags[aws.ToString(t.TagKey)] = aws.ToString(t.TagValue)
		}
	}
	return tags, nil
}

func orphanBuckets(ctx context.Context, cfg Config, prefix string) ([]Orphan, error) {
	client := s3.NewFromConfig(cfg.AWS)
	var found []Orphan
	pages := s3.NewListBucketsPaginator(client, &s3.ListBucketsInput{Prefix: &prefix, BucketRegion: &cfg.AWS.Region, MaxBuckets: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, called("s3:ListAllMyBuckets", err)
		}
		for _, b := range page.Buckets {
			name := aws.ToString(b.Name)
			end, ok := strings.CutPrefix(name, prefix)
			if !ok || madeUp.ReplaceAllString(end, "") != "" || name == cfg.Bucket {
				continue
			}
			_, err := client.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &name})
			if err == nil || hasCode(err, "NoSuchBucket") {
				continue // set up, or gone meanwhile
			}
			if !hasCode(err, "NoSuchBucketPolicy") {
				return nil, called("s3:GetBucketPolicy", err)
			}
			out, err := client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &name, MaxKeys: aws.Int32(1)})
			if err != nil {
				return nil, called("s3:ListBucketVersions", err)
			}
			o := Orphan{Bucket: name, Made: aws.ToTime(b.CreationDate).UTC()}
			if len(out.Versions)+len(out.DeleteMarkers) > 0 {
				o.Doubt = "it is not empty"
			}
			found = append(found, o)
		}
	}
	return found, nil
}

// Remove is the AWS CLI's command that removes an orphan. The deletion of a key can
// be canceled for 30 days, S3 refuses to delete a bucket with objects, and Athena
// a workgroup with queries.
func (o Orphan) Remove(region string) string {
	switch {
	case o.Key != "":
		return fmt.Sprintf("aws kms schedule-key-deletion --region %s --key-id %s --pending-window-in-days 30", region, o.Key)
	case o.Trail != "":
		return fmt.Sprintf("aws cloudtrail delete-trail --region %s --name %s", region, o.Trail)
	case o.Workgroup != "":
		return fmt.Sprintf("aws athena delete-work-group --region %s --work-group %s", region, o.Workgroup)
	case o.Database != "":
		return fmt.Sprintf("aws glue delete-database --region %s --name %s", region, quote(o.Database))
	}
	return fmt.Sprintf("aws s3api delete-bucket --region %s --bucket %s", region, o.Bucket)
}
