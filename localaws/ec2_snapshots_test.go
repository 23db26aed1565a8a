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

func TestSnapshots_TagsAndFilters(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := ec2.NewFromConfig(awsConfig(t, s, "alice", noRetries))
	v, err := c.CreateVolume(t.Context(), gp3("us-east-1a"))
	require.NoError(t, err)
	snap, err := c.CreateSnapshot(t.Context(), &ec2.CreateSnapshotInput{VolumeId: v.VolumeId, Description: aws.String("nightly")})
	require.NoError(t, err)
	ids := []string{*snap.SnapshotId, *v.VolumeId}
	_, err = c.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: ids, Tags: []types.Tag{
		{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("2")}}})
	require.NoError(t, err)
	_, err = c.DeleteTags(t.Context(), &ec2.DeleteTagsInput{Resources: ids[:1], Tags: []types.Tag{{Key: aws.String("a")}, {Key: aws.String("b"), Value: aws.String("other")}}})
	require.NoError(t, err)
	tags, err := c.DescribeTags(t.Context(), &ec2.DescribeTagsInput{Filters: []types.Filter{{Name: aws.String("resource-type"), Values: []string{"snapshot"}}}})
	require.NoError(t, err)
	require.Len(t, tags.Tags, 1)
	require.Equal(t, []string{ids[0], "b", "2"}, []string{*tags.Tags[0].ResourceId, *tags.Tags[0].Key, *tags.Tags[0].Value})
	tags, err = c.DescribeTags(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, tags.Tags, 3)
	_, err = c.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{*v.VolumeId, "snap-00000000000000000"}, Tags: []types.Tag{{Key: aws.String("c"), Value: aws.String("3")}}})
	requireCode(t, err, "InvalidSnapshot.NotFound")
	tags, err = c.DescribeTags(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, tags.Tags, 3, "all resources are tagged, or none")

	for filter, want := range map[[2]string]int{
		{"description", "nightly"}: 1, {"description", "weekly"}: 0, {"volume-size", "8"}: 1, {"volume-size", "9"}: 0, {"storage-tier", "standard"}: 1,
		{"storage-tier", "archive"}: 0, {"owner-alias", "amazon"}: 0, {"progress", "100%"}: 1, {"transfer-type", "time-based"}: 0, {"start-time", "20*"}: 1,
	} {
		out, err := c.DescribeSnapshots(t.Context(), &ec2.DescribeSnapshotsInput{Filters: []types.Filter{{Name: &filter[0], Values: []string{filter[1]}}}})
		require.NoError(t, err, filter)
		require.Len(t, out.Snapshots, want, filter)
	}
	for filter, want := range map[[2]string]int{
		{"multi-attach-enabled", "false"}: 1, {"multi-attach-enabled", "true"}: 0, {"attachment.instance-id", "i-*"}: 0, {"create-time", "20*"}: 1,
		{"fast-restored", "true"}: 0, {"snapshot-id", "*"}: 0, {"operator.managed", "true"}: 0, {"operator.principal", "*"}: 0,
	} {
		out, err := c.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{Filters: []types.Filter{{Name: &filter[0], Values: []string{filter[1]}}}})
		require.NoError(t, err, filter)
		require.Len(t, out.Volumes, want, filter)
	}
}
