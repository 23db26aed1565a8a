package e2e

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/stack"
)

// A key that still encrypts what is not the stack's is not deleted. (Not
// parallel: see asHook.)
func TestGuard_DestroyKeepsAKeyThatIsUsed(t *testing.T) {
	l := lab.New(t)
	asHook(t, l)
	c := look(t, l)
	s := l.Stack(t, "sandbox", stack.Deploy, map[string]string{"guardKeyDeletion": "true"})
	outputs := s.Up(t)
	key, bucket := outputs["keyArn"].(string), outputs["bucketName"].(string)
	require.True(t, s.Preview(t).Clean())
	state := func() kmstypes.KeyState {
		t.Helper()
		described, err := c.kms.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &key})
		require.NoError(t, err)
		return described.KeyMetadata.KeyState
	}
	volume, err := c.ec2.CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String("us-east-1a"), Size: aws.Int32(1)})
	require.NoError(t, err)
	require.Equal(t, key, *volume.KmsKeyId, "the Region's default key")

	out, err := s.TryDestroy(t.Context())
	require.Error(t, err, "destroy without --run-program")
	require.Contains(t, out, "--run-program")
	_, ebsKey := c.ebs(t)
	require.Equal(t, key, ebsKey, "nothing has been deleted")

	t.Log("the preview of a destroy refuses, knows what is the stack's own, and deletes nothing")
	before := account(t, l, "")
	_, err = s.PreviewDestroy(t.Context(), optdestroy.RunProgram(true))
	require.ErrorContains(t, err, "still encrypts 1 resource that this stack does not delete: volume "+*volume.VolumeId)
	require.ErrorContains(t, err, "--skip-preview")
	require.Equal(t, before, account(t, l, ""))

	t.Log("without a preview, the deletion of the key itself is refused, and this is what it keeps")
	names := map[string]string{"KEY": key, "ALIAS": outputs["aliasName"].(string), "BUCKET": bucket, "OBJECT": outputs["objectKey"].(string)}
	had := c.account(t, names)
	out, err = s.TryDestroy(t.Context(), optdestroy.RunProgram(true))
	require.Error(t, err)
	require.Contains(t, out, "still encrypts 1 resource that this stack does not delete: volume "+*volume.VolumeId)
	require.NotContains(t, out, "bucket "+bucket, "what was the stack's own is no reason")
	require.Equal(t, kmstypes.KeyStateEnabled, state())
	has := c.account(t, names)
	var kept []string
	for name, shown := range had {
		if has[name] == shown {
			kept = append(kept, name)
		}
	}
	require.ElementsMatch(t, []string{"key", "key policy", "key rotation", "key tags", "key grants", "EBS switch"}, kept)
	require.Equal(t, "NotFoundException", has["alias"])
	require.Equal(t, "NoSuchBucket", has["bucket encryption"])
	require.NotContains(t, has["EBS default key"], key)
	require.Equal(t, key, s.Up(t)["keyArn"], "up creates the rest again, for the same key")
	require.True(t, s.Preview(t).Clean())

	_, err = c.ec2.DeleteVolume(t.Context(), &ec2.DeleteVolumeInput{VolumeId: volume.VolumeId})
	require.NoError(t, err)
	_, err = s.PreviewDestroy(t.Context(), optdestroy.RunProgram(true))
	require.NoError(t, err)
	s.Destroy(t, optdestroy.RunProgram(true))
	require.Equal(t, kmstypes.KeyStatePendingDeletion, state())
}
