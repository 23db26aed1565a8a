package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/middleware"
	"golang.org/x/sync/errgroup"

	"github.com/securethecloud/kms-baseline/verify/report"
)

var ebsChecks = []Check{
	{
		ID: "ebs.encryption", Title: "new EBS volumes are encrypted by default", Severity: "high",
		Why:       "without it, a volume is encrypted only if the request that creates it asks for encryption",
		Expected:  "encryption by default on",
		Proves:    "encryption by default is on in the Region; with `--all-regions`, in every enabled Region",
		NotProven: "that existing volumes and snapshots are encrypted",
		Remedy:    "aws ec2 enable-ebs-encryption-by-default --region REGION",
		Needs:     []Permission{{"ec2:GetEbsEncryptionByDefault", onAnything}, {"ec2:DescribeRegions", onAnything}},
		run:       withEBS(ebsEncryption),
	}, {
		ID: "ebs.key", Title: "the default key for EBS is the key", Severity: "high",
		Why:       "without a default key EBS uses the AWS managed key, whose policy the account cannot change",
		Expected:  "the Region's default key for EBS is the key",
		Proves:    "the Region's default key for EBS is the key, named by ARN, id or alias",
		NotProven: "other Regions: a key belongs to one Region",
		Remedy:    "aws ec2 modify-ebs-default-kms-key-id --kms-key-id KEY --region REGION",
		Needs:     []Permission{{"ec2:GetEbsDefaultKmsKeyId", onAnything}, {"kms:DescribeKey", onAnyKey}},
		run:       withEBS(ebsKey),
	}, {
		ID: "ebs.snapshot-sharing", Title: "EBS snapshots cannot be shared with everyone", Severity: "high", AccountWide: true,
		Why:       "a public snapshot gives every AWS account a copy of the volume's data",
		Expected:  "block public access for snapshots: block-all-sharing",
		Proves:    "block public access for snapshots is `block-all-sharing` in the Region; with `--all-regions`, in every enabled Region",
		NotProven: "which accounts a snapshot is shared with by name",
		Remedy:    "aws ec2 enable-snapshot-block-public-access --state block-all-sharing --region REGION",
		Needs:     []Permission{{"ec2:GetSnapshotBlockPublicAccessState", onAnything}, {"ec2:DescribeRegions", onAnything}},
		run:       withEBS(ebsSnapshotSharing),
	},
}

func withEBS(check func(context.Context, *run) report.Result) func(context.Context, *run) report.Result {
	return func(ctx context.Context, r *run) report.Result {
		if r.cfg.SkipEBS {
			return skipped("the stack leaves the EBS defaults alone")
		}
		return check(ctx, r)
	}
}

func ebsEncryption(ctx context.Context, r *run) report.Result {
	return r.inRegions(ctx, r.ebsEncryptionIn)
}

func ebsSnapshotSharing(ctx context.Context, r *run) report.Result {
	return r.inRegions(ctx, r.snapshotSharingIn)
}

// inRegions runs a check in the Region of the run; with --all-regions, in every
// enabled Region.
func (r *run) inRegions(ctx context.Context, check func(ctx context.Context, region string) report.Result) report.Result {
	regions := []string{r.cfg.AWS.Region}
	if r.cfg.AllRegions {
		out, err := r.ec2(r.cfg.AWS.Region).DescribeRegions(ctx, &ec2.DescribeRegionsInput{})
		if err != nil {
			return r.failure("ec2:DescribeRegions", err)
		}
		regions = regions[:0]
		for _, x := range out.Regions {
			regions = append(regions, aws.ToString(x.RegionName))
		}
		slices.Sort(regions)
		if len(regions) == 0 {
			return inconclusive("EC2 named no enabled Region", "aws ec2 describe-regions")
		}
	}
	results := make([]report.Result, len(regions))
	var g errgroup.Group
	g.SetLimit(r.cfg.Concurrency)
	for i, region := range regions {
		g.Go(func() error {
			results[i] = check(ctx, region)
			return nil
		})
	}
	_ = g.Wait() // errors are results
	return merge("Region", regions, results)
}

func (r *run) snapshotSharingIn(ctx context.Context, region string) report.Result {
	out, err := r.ec2(region).GetSnapshotBlockPublicAccessState(ctx, &ec2.GetSnapshotBlockPublicAccessStateInput{})
	if err != nil {
		return r.failure("ec2:GetSnapshotBlockPublicAccessState", err)
	}
	a := answered(r, "ec2:GetSnapshotBlockPublicAccessState", out, nil, func() middleware.Metadata { return out.ResultMetadata })
	seen, remedy := a.saw("%s: %s", region, out.State), "aws ec2 enable-snapshot-block-public-access --state block-all-sharing --region "+region
	switch out.State {
	case types.SnapshotBlockPublicAccessStateBlockAllSharing:
		return pass("public sharing of snapshots is blocked in "+region, seen)
	case types.SnapshotBlockPublicAccessStateBlockNewSharing:
		return fail("only new public sharing is blocked in "+region+": a snapshot that was public before stays public", remedy, seen)
	case types.SnapshotBlockPublicAccessStateUnblocked:
		return fail("public sharing of snapshots is not blocked in "+region, remedy, seen)
	}
	return inconclusive(fmt.Sprintf("EC2 returned the unknown state %q in %s", out.State, region), remedy, seen)
}

func (r *run) ebsEncryptionIn(ctx context.Context, region string) report.Result {
	out, err := r.ec2(region).GetEbsEncryptionByDefault(ctx, &ec2.GetEbsEncryptionByDefaultInput{})
	a := answered(r, "ec2:GetEbsEncryptionByDefault", out, err, func() middleware.Metadata { return out.ResultMetadata })
	if err != nil {
		return r.failure("ec2:GetEbsEncryptionByDefault", err)
	}
	if !aws.ToBool(out.EbsEncryptionByDefault) {
		return fail("encryption by default off in "+region, "aws ec2 enable-ebs-encryption-by-default --region "+region, a.saw("%s: off", region))
	}
	return pass("encryption by default on in "+region, a.saw("%s: on", region))
}

// getEBSKey is the Region's default key for EBS.
func (r *run) getEBSKey(ctx context.Context) answer[string] {
	out, err := r.ec2(r.cfg.AWS.Region).GetEbsDefaultKmsKeyId(ctx, &ec2.GetEbsDefaultKmsKeyIdInput{})
	a := answered(r, "ec2:GetEbsDefaultKmsKeyId", out, err, func() middleware.Metadata { return out.ResultMetadata })
	x := answer[string]{err: a.err, evidence: a.evidence}
	if err == nil {
		x.out = aws.ToString(out.KmsKeyId)
	}
	return x
}

// wantedEBSKey is the ARN of the key that EBS must use. The result is what stands
// instead, where it is not known.
func (r *run) wantedEBSKey() (arn string, x report.Result, ok bool) {
	if r.cfg.EBSKey != "" {
		return r.cfg.EBSKey, report.Result{}, true
	}
	x, ok = r.noKeyARN()
	return r.keyARN(), x, ok
}

func ebsKey(ctx context.Context, r *run) report.Result {
	want, x, ok := r.wantedEBSKey()
	if !ok {
		return x
	}
	a := r.ebsDefault()
	if a.err != nil {
		return r.failure("ec2:GetEbsDefaultKmsKeyId", a.err)
	}
	remedy := fmt.Sprintf("aws ec2 modify-ebs-default-kms-key-id --kms-key-id %s --region %s", want, r.cfg.AWS.Region)
	seen := a.saw("%s: %s", r.cfg.AWS.Region, a.out)
	x = func() report.Result {
		switch {
		case a.out == want:
			r.sawEBSKey(a.out)
			return pass("the default key is "+a.out, seen)
		case strings.HasSuffix(a.out, "alias/aws/ebs"):
			return fail("the default key is the AWS managed one (aws/ebs)", remedy, seen)
		}
		arn, managedByAWS, err := r.resolve(ctx, a.out)
		r.sawEBSKey(cmp.Or(arn, a.out))
		switch {
		case err != nil && strings.Contains(a.out, ":key/"):
			return fail("the default key is another one: "+a.out, remedy, seen)
		case err != nil:
			return r.failure("kms:DescribeKey", err)
		case arn == want:
			return pass(fmt.Sprintf("the default key is %s (given as %s)", arn, a.out), seen)
		case managedByAWS:
			return fail("the default key is an AWS managed one: "+arn, remedy, seen)
		}
		return fail("the default key is another one: "+arn, remedy, seen)
	}()
	x.Expected = "the default key in " + r.cfg.AWS.Region + " is " + want
	return x
}

func (r *run) sawEBSKey(arn string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ebsKeyARN = arn
}
