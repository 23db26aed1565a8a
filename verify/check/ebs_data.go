package check

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go/middleware"

	"github.com/securethecloud/kms-baseline/verify/report"
)

var ebsDataChecks = []Check{
	{
		ID: "ebs.volumes", Title: "every EBS volume of the Region is encrypted under the key", Severity: "high", AccountWide: true,
		Why:       "encryption by default has no effect on volumes that exist already, or that name another key",
		Expected:  "every volume is encrypted, under the key",
		Proves:    "EC2 reports every volume that the account has in the Region, and each as encrypted under the Region's default key for EBS",
		NotProven: "other Regions; volumes that the caller's IAM policies hide",
		Remedy:    "copy the volume's snapshot with --encrypted and --kms-key-id, and create the volume again from the copy",
		Needs:     []Permission{{"ec2:DescribeVolumes", onAnything}, {"kms:DescribeKey", onKey}},
		run:       withEBS(ebsVolumes),
	}, {
		ID: "ebs.snapshots", Title: "every EBS snapshot of the Region is encrypted under the key", Severity: "high", AccountWide: true,
		Why:       "a snapshot has the data of its volume, and keeps the volume's encryption",
		Expected:  "every snapshot is encrypted, under the key",
		Proves:    "EC2 reports every snapshot that the account owns in the Region, and each as encrypted under the Region's default key for EBS",
		NotProven: "other Regions; snapshots that other accounts share with this one; snapshots in the Recycle Bin",
		Remedy:    "aws ec2 copy-snapshot with --encrypted and --kms-key-id, and delete the original",
		Needs:     []Permission{{"ec2:DescribeSnapshots", onAnything}, {"kms:DescribeKey", onKey}},
		run:       withEBS(ebsSnapshots),
	},
}

// ebsTally counts volumes or snapshots by how they are encrypted. Its size does
// not grow with their number.
type ebsTally struct {
	noun, want   string
	total, plain int
	other        map[string]int // by the ARN of the other key
	failures     []string
	evidence     report.Evidence
	remedy       string // the command that lists the failures
}

func (t *ebsTally) add(id string, encrypted *bool, key string) {
	t.total++
	why := ""
	switch {
	case !aws.ToBool(encrypted):
		t.plain++
		why = "not encrypted"
	case key != t.want:
		t.other[key]++
		why = "under another key: " + key
	default:
		return
	}
	if len(t.failures) < maxFailures {
		t.failures = append(t.failures, id+": "+why)
	}
}

func (t *ebsTally) result() report.Result {
	others := 0
	for _, n := range t.other {
		others += n
	}
	if t.total == 0 {
		return pass("there is no "+t.noun+" in the Region", t.evidence)
	}
	t.evidence.Detail = fmt.Sprintf("%s: %d not encrypted, %d under another key", count(t.total, t.noun), t.plain, others)
	if t.plain+others == 0 {
		return pass(fmt.Sprintf("%s, encrypted under %s", count(t.total, t.noun), t.want), t.evidence)
	}
	text := fmt.Sprintf("%d of %s: %d not encrypted, %d under another key", t.plain+others, count(t.total, t.noun), t.plain, others)
	if others > 0 {
		text += " (" + strings.Join(slices.Sorted(maps.Keys(t.other))[:min(len(t.other), 3)], ", ") + ")"
	}
	x := fail(text, t.remedy, t.evidence)
	x.Failures, x.FailureCount = t.failures, t.plain+others
	return x
}

func ebsVolumes(ctx context.Context, r *run) report.Result {
	want, x, ok := r.wantedEBSKey()
	if !ok {
		return x
	}
	t := ebsTally{noun: "volume", want: want, other: map[string]int{}}
	t.remedy = "aws ec2 describe-volumes --region " + r.cfg.AWS.Region + " --query " + quote("Volumes[?KmsKeyId!='"+t.want+"'].[VolumeId,Encrypted,KmsKeyId]") + " --output table"
	pages := ec2.NewDescribeVolumesPaginator(r.ec2(r.cfg.AWS.Region), &ec2.DescribeVolumesInput{MaxResults: aws.Int32(500)})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return r.failure("ec2:DescribeVolumes", err)
		}
		t.evidence = answered(r, "ec2:DescribeVolumes", out, nil, func() middleware.Metadata { return out.ResultMetadata }).evidence
		for _, v := range out.Volumes {
			t.add(aws.ToString(v.VolumeId), v.Encrypted, aws.ToString(v.KmsKeyId))
		}
	}
	return t.result()
}

func ebsSnapshots(ctx context.Context, r *run) report.Result {
	want, x, ok := r.wantedEBSKey()
	if !ok {
		return x
	}
	t := ebsTally{noun: "snapshot", want: want, other: map[string]int{}}
	t.remedy = "aws ec2 describe-snapshots --owner-ids self --region " + r.cfg.AWS.Region + " --query " + quote("Snapshots[?KmsKeyId!='"+t.want+"'].[SnapshotId,Encrypted,KmsKeyId]") + " --output table"
	pages := ec2.NewDescribeSnapshotsPaginator(r.ec2(r.cfg.AWS.Region), &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, MaxResults: aws.Int32(500)})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return r.failure("ec2:DescribeSnapshots", err)
		}
		t.evidence = answered(r, "ec2:DescribeSnapshots", out, nil, func() middleware.Metadata { return out.ResultMetadata }).evidence
		for _, v := range out.Snapshots {
			t.add(aws.ToString(v.SnapshotId), v.Encrypted, aws.ToString(v.KmsKeyId))
		}
	}
	return t.result()
}
