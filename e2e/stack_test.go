// Package e2e shows that the stack does what it says, with the real engine and
// the real AWS provider against localaws. What AWS holds afterwards is asked of
// AWS, by clients that know nothing of Pulumi.
package e2e

import (
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
	"github.com/securethecloud/kms-baseline/stack"
)

// clients look at a lab's account.
type clients struct {
	kms *kms.Client
	s3  *s3.Client
	ec2 *ec2.Client
}

func look(t *testing.T, l *lab.Lab) clients {
	t.Helper()
	cfg := l.Config(t, engine.AccountID)
	return clients{kms.NewFromConfig(cfg), s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), ec2.NewFromConfig(cfg)}
}

// ebs reads the Region's EBS defaults.
func (c clients) ebs(t *testing.T) (enabled bool, key string) {
	t.Helper()
	e, err := c.ec2.GetEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	k, err := c.ec2.GetEbsDefaultKmsKeyId(t.Context(), nil)
	require.NoError(t, err)
	return *e.EbsEncryptionByDefault, *k.KmsKeyId
}

func TestStack_FromUpToDestroyAndUpAgain(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", stack.Deploy, nil)
	c := look(t, l)

	outputs := s.Up(t)
	key, bucket := outputs["keyArn"].(string), outputs["bucketName"].(string)

	t.Log("the outputs name what is there")
	described, err := c.kms.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: aws.String("alias/masterclass-cmk")})
	require.NoError(t, err)
	require.Equal(t, key, *described.KeyMetadata.Arn)
	require.Equal(t, outputs["keyId"], *described.KeyMetadata.KeyId)
	require.Equal(t, "alias/masterclass-cmk", outputs["aliasName"])
	require.Equal(t, "arn:aws:kms:us-east-1:123456789012:alias/masterclass-cmk", outputs["aliasArn"])
	require.Equal(t, "us-east-1", outputs["region"])
	require.Equal(t, engine.AccountID, outputs["accountId"])
	require.Equal(t, "test/hello.txt", outputs["objectKey"])
	require.Equal(t, true, outputs["ebsEncryptionByDefault"])
	require.Equal(t, key, outputs["ebsDefaultKeyArn"])
	require.True(t, strings.HasPrefix(bucket, "ckms-123456789012-"), bucket)

	t.Log("the key is what was promised")
	require.Equal(t, kmstypes.KeySpecSymmetricDefault, described.KeyMetadata.KeySpec)
	require.Equal(t, kmstypes.KeyUsageTypeEncryptDecrypt, described.KeyMetadata.KeyUsage)
	require.Equal(t, kmstypes.OriginTypeAwsKms, described.KeyMetadata.Origin)
	rotation, err := c.kms.GetKeyRotationStatus(t.Context(), &kms.GetKeyRotationStatusInput{KeyId: &key})
	require.NoError(t, err)
	require.True(t, rotation.KeyRotationEnabled)
	require.EqualValues(t, 365, *rotation.RotationPeriodInDays)
	tags, err := c.kms.ListResourceTags(t.Context(), &kms.ListResourceTagsInput{KeyId: &key})
	require.NoError(t, err)
	require.Equal(t, []kmstypes.Tag{{TagKey: aws.String("project"), TagValue: aws.String("cloud-kms-masterclass")}}, tags.Tags)

	t.Log("the proof object is under the key, by the bucket's default")
	object, err := c.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("test/hello.txt")})
	require.NoError(t, err)
	content, err := io.ReadAll(object.Body)
	require.NoError(t, err)
	require.Equal(t, "hello kms day1\n", string(content))
	require.Equal(t, s3types.ServerSideEncryptionAwsKms, object.ServerSideEncryption)
	require.Equal(t, key, *object.SSEKMSKeyId)
	require.True(t, *object.BucketKeyEnabled)

	t.Log("EBS encrypts by default under the key")
	enabled, ebsKey := c.ebs(t)
	require.True(t, enabled)
	require.Equal(t, key, ebsKey)
	volume, err := c.ec2.CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String("us-east-1a"), Size: aws.Int32(1)})
	require.NoError(t, err)
	require.True(t, *volume.Encrypted)
	require.Equal(t, key, *volume.KmsKeyId)

	t.Log("nothing is left to do")
	preview := s.Preview(t, optpreview.ExpectNoChanges(), optpreview.Diff())
	require.True(t, preview.Clean(), preview.Output)
	for line := range strings.Lines(preview.Output) {
		// The provider reads into the key and the bucket what other resources set
		// after them; of that, the names of the properties stay.
		if strings.Contains(line, "~ ") && !strings.Contains(line, "(hidden)") && !strings.Contains(line, "(refresh)") {
			t.Errorf("the preview shows a change that a reader would have to explain away: %s", line)
		}
	}
	require.NotContains(t, preview.Output, "BucketObjectv2")

	t.Log("destroy leaves the account protected and the deletion of the key can be canceled")
	s.Destroy(t)
	enabled, ebsKey = c.ebs(t)
	require.True(t, enabled, "encryption by default stays on")
	require.NotEqual(t, key, ebsKey)
	_, err = c.s3.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: &bucket})
	require.Error(t, err)
	_, err = c.kms.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: aws.String("alias/masterclass-cmk")})
	require.ErrorContains(t, err, "NotFoundException")
	described, err = c.kms.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &key})
	require.NoError(t, err)
	require.Equal(t, kmstypes.KeyStatePendingDeletion, described.KeyMetadata.KeyState)

	t.Log("up again, right after")
	again := s.Up(t)
	require.NotEqual(t, key, again["keyArn"])
	require.True(t, s.Preview(t).Clean())
}

// A bucket that is not empty has to stay, and stays as protected as it was.
func TestStack_DestroyOfAFullBucketTakesNothingFromIt(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]map[string]string{
		"a name of the provider's": nil,
		"a name of the program's":  {"bucketName": "named-by-the-program"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireFullBucketKept(t, settings)
		})
	}
}

func requireFullBucketKept(t *testing.T, settings map[string]string) {
	t.Helper()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", stack.Deploy, settings)
	c := look(t, l)
	bucket := s.Up(t)["bucketName"].(string)
	_, err := c.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("other"), Body: strings.NewReader("data")})
	require.NoError(t, err)

	out, err := s.TryDestroy(t.Context())
	require.Error(t, err)
	require.Contains(t, out, "BucketNotEmpty")

	encryption, err := c.s3.GetBucketEncryption(t.Context(), &s3.GetBucketEncryptionInput{Bucket: &bucket})
	require.NoError(t, err)
	require.Equal(t, s3types.ServerSideEncryptionAwsKms, encryption.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm)
	_, err = c.s3.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: &bucket})
	require.NoError(t, err, "the policy is still there")
	object, err := c.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("other")})
	require.NoError(t, err, "its key still opens it")
	require.NoError(t, object.Body.Close())

	t.Log("the next up makes it whole")
	s.Up(t)
	require.True(t, s.Preview(t).Clean())
}

// Keys of one name, below parents of two types, are two keys to the engine.
func TestKeys_OfOneName(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", func(ctx *pulumi.Context) error {
		for _, team := range []string{"red", "blue"} {
			parent := &struct{ pulumi.ResourceState }{}
			if err := ctx.RegisterComponentResource("test:index:"+team, team, parent); err != nil {
				return err
			}
			if _, err := components.NewCustomerKey(ctx, "key", &components.CustomerKeyArgs{AliasName: "alias/" + team}, pulumi.Parent(parent)); err != nil {
				return err
			}
		}
		return nil
	}, nil)
	s.Up(t)
	require.True(t, s.Preview(t).Clean())
	s.Destroy(t)
}
