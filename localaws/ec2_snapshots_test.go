package localaws

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/stretchr/testify/require"
)

// TestSnapshots: a snapshot is encrypted as its volume is, outlives it, and is
// its owner's alone.
func TestSnapshots(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := awsConfig(t, s, "alice", noRetries)
	c, other := ec2.NewFromConfig(cfg), ec2.NewFromConfig(awsConfig(t, s, "444455556666"))
	key := newKey(t, cfg, "alias/volumes")
	plain, err := c.CreateVolume(t.Context(), gp3("us-east-1a"))
	require.NoError(t, err)
	in := gp3("us-east-1a")
	in.Encrypted, in.KmsKeyId = aws.Bool(true), &key
	encrypted, err := c.CreateVolume(t.Context(), in)
	require.NoError(t, err)

	var ids []string
	for i := range 7 {
		volume, first := plain.VolumeId, "no"
		if i == 0 {
			volume, first = encrypted.VolumeId, "yes"
		}
		out, err := c.CreateSnapshot(t.Context(), &ec2.CreateSnapshotInput{
			VolumeId: volume, Description: aws.String("nightly"),
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSnapshot, Tags: []types.Tag{{Key: aws.String("first"), Value: aws.String(first)}}}},
		})
		require.NoError(t, err)
		require.Equal(t, types.SnapshotStatePending, out.State)
		ids = append(ids, *out.SnapshotId)
	}
	_, err = c.DeleteVolume(t.Context(), &ec2.DeleteVolumeInput{VolumeId: encrypted.VolumeId})
	require.NoError(t, err)

	describe := func(c *ec2.Client, in ec2.DescribeSnapshotsInput) []string {
		t.Helper()
		got := []string{}
		pages := ec2.NewDescribeSnapshotsPaginator(c, &in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			require.NoError(t, err)
			for _, s := range page.Snapshots {
				got = append(got, *s.SnapshotId)
			}
		}
		return got
	}
	filter := func(name string, values ...string) ec2.DescribeSnapshotsInput {
		return ec2.DescribeSnapshotsInput{Filters: []types.Filter{{Name: &name, Values: values}}}
	}
	require.ElementsMatch(t, ids, describe(c, ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, MaxResults: aws.Int32(5)}))
	require.ElementsMatch(t, ids[:1], describe(c, filter("encrypted", "true")))
	require.ElementsMatch(t, ids[:1], describe(c, filter("tag:first", "yes")))
	require.ElementsMatch(t, ids[1:], describe(c, filter("volume-id", *plain.VolumeId)))
	require.Empty(t, describe(c, ec2.DescribeSnapshotsInput{OwnerIds: []string{"amazon"}}))
	require.Empty(t, describe(other, ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}}))

	one, err := c.DescribeSnapshots(t.Context(), &ec2.DescribeSnapshotsInput{SnapshotIds: ids[:1]})
	require.NoError(t, err)
	require.Equal(t, key, *one.Snapshots[0].KmsKeyId)
	require.True(t, *one.Snapshots[0].Encrypted)
	require.Equal(t, types.SnapshotStateCompleted, one.Snapshots[0].State)
	require.Equal(t, *encrypted.VolumeId, *one.Snapshots[0].VolumeId)
	require.Equal(t, "123456789012", *one.Snapshots[0].OwnerId)
	require.Equal(t, "nightly", *one.Snapshots[0].Description)

	_, err = c.DeleteSnapshot(t.Context(), &ec2.DeleteSnapshotInput{SnapshotId: &ids[0]})
	require.NoError(t, err)
	_, err = c.DeleteSnapshot(t.Context(), &ec2.DeleteSnapshotInput{SnapshotId: &ids[0]})
	requireCode(t, err, "InvalidSnapshot.NotFound")
	_, err = c.DescribeSnapshots(t.Context(), &ec2.DescribeSnapshotsInput{SnapshotIds: []string{"snap-x"}})
	requireCode(t, err, "InvalidParameterValue")
	_, err = c.CreateSnapshot(t.Context(), &ec2.CreateSnapshotInput{VolumeId: encrypted.VolumeId})
	requireCode(t, err, "InvalidVolume.NotFound")
	in2 := filter("color", "red")
	_, err = c.DescribeSnapshots(t.Context(), &in2)
	requireCode(t, err, "InvalidParameterValue")
}
