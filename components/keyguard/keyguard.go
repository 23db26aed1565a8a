// Package keyguard finds what a KMS key still encrypts, before the key is
// deleted and all of that lost with it. It serves components.CustomerKeyArgs'
// GuardDeletion. It is not part of package components because it needs the AWS
// SDK, which only programs that opt in should link.
//
// It finds what AWS can be asked for at little cost. It does not look at
// objects, nor at services other than EC2 and S3, nor at other Regions and
// accounts.
//
// It follows EC2's pages by hand. The SDK's paginators hold the client as an
// interface, for which the linker keeps all of EC2's operations: 40 MB in every
// program that links this package, and time in each of its builds.
package keyguard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"golang.org/x/sync/errgroup"

	"github.com/securethecloud/kms-baseline/components"
)

var _ components.KeyGuard = Check

// At most so many resources are named, and so many buckets asked at a time.
const (
	named    = 10
	together = 8
)

// Register makes [Check] the program's guard of keys with GuardDeletion. Call it
// at the beginning of the program, and keep the call until an up has removed the
// last guarded key.
func Register(ctx *pulumi.Context) error { return components.UseKeyGuard(ctx, Check) }

// Check fails where EBS volumes or snapshots, the Region's EBS default or a
// bucket's default encryption uses the key with this ARN, and names the first
// ten; those in own do not count. It also fails where it could not look, since what was not seen may be
// there. It uses the credentials of the environment, which have to be of the
// key's account.
func Check(ctx context.Context, keyArn string, own components.OwnUses) error {
	const kept = "the key was not scheduled for deletion"
	found, err := uses(ctx, keyArn, own)
	if err != nil {
		return fmt.Errorf("looking for what %s still encrypts: %w: %s", keyArn, err, kept)
	}
	if len(found) == 0 {
		return nil
	}
	count, list := fmt.Sprintf("%d resources", len(found)), strings.Join(found[:min(named, len(found))], ", ")
	if len(found) == 1 {
		count = "1 resource"
	}
	if len(found) > named {
		list += ", ..."
	}
	return fmt.Errorf("%s still encrypts %s that this stack does not delete: %s: %s; delete them or encrypt them with another key, and destroy again", keyArn, count, list, kept)
}

// key is the key and what else may stand for it.
type key struct {
	arn     string
	names   []string
	region  string
	account string
	own     components.OwnUses
}

func uses(ctx context.Context, keyArn string, own components.OwnUses) ([]string, error) {
	part := strings.Split(keyArn, ":")
	if len(part) != 6 || part[2] != "kms" {
		return nil, fmt.Errorf("%q is not a key's ARN", keyArn)
	}
	k := key{arn: keyArn, region: part[3], account: part[4], names: []string{keyArn, strings.TrimPrefix(part[5], "key/")}}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(k.region))
	if err != nil {
		return nil, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	if err != nil {
		return nil, readable("sts:GetCallerIdentity", err)
	}
	if *who.Account != k.account {
		return nil, fmt.Errorf("the environment's credentials are of account %s and the key is in %s: set AWS_PROFILE to credentials of %s and destroy again", *who.Account, k.account, k.account)
	}
	aliases := kms.NewListAliasesPaginator(kms.NewFromConfig(cfg), &kms.ListAliasesInput{KeyId: &keyArn})
	for aliases.HasMorePages() {
		page, err := aliases.NextPage(ctx)
		if err != nil {
			return nil, readable("kms:ListAliases", err)
		}
		for _, a := range page.Aliases {
			k.names = append(k.names, *a.AliasArn, *a.AliasName)
		}
	}
	k.own = own
	var found []string
	for _, look := range []func(context.Context, aws.Config, key) ([]string, error){ebsDefault, volumes, snapshots, buckets} {
		more, err := look(ctx, cfg, k)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// is reports whether id, as a service writes it, means the key.
func (k key) is(id *string) bool { return id != nil && slices.Contains(k.names, *id) }

func ebsDefault(ctx context.Context, cfg aws.Config, k key) ([]string, error) {
	out, err := ec2.NewFromConfig(cfg).GetEbsDefaultKmsKeyId(ctx, nil)
	if err != nil {
		return nil, readable("ec2:GetEbsDefaultKmsKeyId", err)
	}
	if k.is(out.KmsKeyId) && !k.own.EBSDefault {
		return []string{"the EBS default key of " + k.region}, nil
	}
	return nil, nil
}

var onlyEncrypted = []ec2types.Filter{{Name: aws.String("encrypted"), Values: []string{"true"}}}

func volumes(ctx context.Context, cfg aws.Config, k key) (found []string, err error) {
	client := ec2.NewFromConfig(cfg)
	in := &ec2.DescribeVolumesInput{Filters: onlyEncrypted, MaxResults: aws.Int32(500)}
	for more := true; more; more = aws.ToString(in.NextToken) != "" {
		page, err := client.DescribeVolumes(ctx, in)
		if err != nil {
			return nil, readable("ec2:DescribeVolumes", err)
		}
		for _, v := range page.Volumes {
			if k.is(v.KmsKeyId) {
				found = append(found, "volume "+*v.VolumeId)
			}
		}
		in.NextToken = page.NextToken
	}
	return found, nil
}

func snapshots(ctx context.Context, cfg aws.Config, k key) (found []string, err error) {
	client := ec2.NewFromConfig(cfg)
	in := &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: onlyEncrypted, MaxResults: aws.Int32(500)}
	for more := true; more; more = aws.ToString(in.NextToken) != "" {
		page, err := client.DescribeSnapshots(ctx, in)
		if err != nil {
			return nil, readable("ec2:DescribeSnapshots", err)
		}
		for _, s := range page.Snapshots {
			if k.is(s.KmsKeyId) {
				found = append(found, "snapshot "+*s.SnapshotId)
			}
		}
		in.NextToken = page.NextToken
	}
	return found, nil
}

// buckets finds those of the Region that encrypt with the key by default. S3
// has to be asked for each.
func buckets(ctx context.Context, cfg aws.Config, k key) ([]string, error) {
	client := s3.NewFromConfig(cfg)
	var names []string
	pages := s3.NewListBucketsPaginator(client, &s3.ListBucketsInput{BucketRegion: &k.region, MaxBuckets: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, readable("s3:ListAllMyBuckets", err)
		}
		for _, b := range page.Buckets {
			if !slices.Contains(k.own.Buckets, *b.Name) {
				names = append(names, *b.Name)
			}
		}
	}
	var (
		mu    sync.Mutex
		found []string
	)
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(together)
	for _, name := range names {
		asking.Go(func() error {
			used, err := bucketUses(ctx, client, name, k)
			if used {
				mu.Lock()
				defer mu.Unlock()
				found = append(found, "bucket "+name)
			}
			return err
		})
	}
	err := asking.Wait()
	slices.Sort(found)
	return found, err
}

func bucketUses(ctx context.Context, client *s3.Client, name string, k key) (bool, error) {
	out, err := client.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &name})
	var api smithy.APIError
	if errors.As(err, &api) && slices.Contains([]string{"NoSuchBucket", "ServerSideEncryptionConfigurationNotFoundError"}, api.ErrorCode()) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("bucket %s: %w", name, readable("s3:GetEncryptionConfiguration", err))
	}
	return slices.ContainsFunc(out.ServerSideEncryptionConfiguration.Rules, func(r s3types.ServerSideEncryptionRule) bool {
		d := r.ApplyServerSideEncryptionByDefault
		return d != nil && k.is(d.KMSMasterKeyID)
	}), nil
}

// readable adds to a refused call what to do about it.
func readable(action string, err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "UnauthorizedOperation", "AccessDenied", "AccessDeniedException":
			return fmt.Errorf("the environment's credentials may not call %s, which the guard needs: %w", action, err)
		case "NotImplemented":
			return fmt.Errorf("this AWS endpoint has no %s, which the guard needs: %w", action, err)
		}
	}
	return fmt.Errorf("%s: %w", action, err)
}
