package e2e

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	awskms "github.com/pulumi/pulumi-aws/sdk/v6/go/aws/kms"
	awss3 "github.com/pulumi/pulumi-aws/sdk/v6/go/aws/s3"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/stack"
)

// baseline is a program with one baseline that is named "app".
func baseline(args *components.EncryptionBaselineArgs, opts ...pulumi.ResourceOption) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		b, err := components.NewEncryptionBaseline(ctx, "app", args, opts...)
		if err != nil {
			return err
		}
		ctx.Export("keyArn", b.KeyArn)
		ctx.Export("bucketName", b.BucketName)
		return nil
	}
}

// requireUpgraded deploys before and then after over it, and requires that key
// and bucket stay what they are.
func requireUpgraded(t *testing.T, before, after pulumi.RunFunc) {
	t.Helper()
	l := lab.New(t)
	old := l.Stack(t, "sandbox", before, nil).Up(t)
	s := l.Stack(t, "sandbox", after, nil)
	preview := s.Preview(t)
	for _, op := range []apitype.OpType{apitype.OpDelete, apitype.OpReplace, apitype.OpDeleteReplaced, apitype.OpCreateReplacement} {
		require.Zero(t, preview.Changes[op], preview.Output)
	}
	upgraded := s.Up(t)
	require.Equal(t, old["keyArn"], upgraded["keyArn"])
	require.Equal(t, old["bucketName"], upgraded["bucketName"])
	keys, err := look(t, l).kms.ListKeys(t.Context(), nil)
	require.NoError(t, err)
	var own int
	for _, k := range keys.Keys {
		described, err := look(t, l).kms.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: k.KeyArn})
		require.NoError(t, err)
		if described.KeyMetadata.KeyManager == kmstypes.KeyManagerTypeCustomer {
			own++
			require.Equal(t, kmstypes.KeyStateEnabled, described.KeyMetadata.KeyState)
		}
	}
	require.Equal(t, 1, own, "no key was made anew")
	require.True(t, s.Preview(t).Clean())
}

// There is no released layout before this one. The test stands for the first
// change of a component's token and name: with an alias on the component alone,
// everything below it is found again, and a stack of the layout before goes on
// with the same key and bucket.
func TestRename_OfAComponentKeepsKeyAndBucket(t *testing.T) {
	t.Parallel()
	type previous struct {
		pulumi.ResourceState
	}
	requireUpgraded(t, func(ctx *pulumi.Context) error {
		var b previous
		if err := ctx.RegisterComponentResource("kms-baseline:index:Baseline", "old", &b); err != nil {
			return err
		}
		key, err := components.NewCustomerKey(ctx, "old", &components.CustomerKeyArgs{AliasName: "alias/app", Description: "app"}, pulumi.Parent(&b))
		if err != nil {
			return err
		}
		bucket, err := components.NewEncryptedBucket(ctx, "old", &components.EncryptedBucketArgs{KmsKeyArn: key.KeyArn}, pulumi.Parent(&b))
		if err != nil {
			return err
		}
		if _, err := components.NewEBSDefaultEncryption(ctx, "old-ebs", &components.EBSDefaultEncryptionArgs{KmsKeyArn: key.KeyArn}, pulumi.Parent(&b)); err != nil {
			return err
		}
		ctx.Export("keyArn", key.KeyArn)
		ctx.Export("bucketName", bucket.BucketName)
		return nil
	}, baseline(&components.EncryptionBaselineArgs{Key: &components.BaselineKey{Args: &components.CustomerKeyArgs{AliasName: "alias/app", Description: "app"}}},
		pulumi.Aliases([]pulumi.Alias{{Type: pulumi.String("kms-baseline:index:Baseline"), Name: pulumi.String("old")}})))
}

// A key and a bucket that a program had made by itself move into the component
// with a transform that states their old names.
func TestRename_FromResourcesOfOnesOwn(t *testing.T) {
	t.Parallel()
	requireUpgraded(t, func(ctx *pulumi.Context) error {
		key, err := awskms.NewKey(ctx, "my-key", &awskms.KeyArgs{EnableKeyRotation: pulumi.Bool(true)})
		if err != nil {
			return err
		}
		bucket, err := awss3.NewBucketV2(ctx, "my-bucket", nil)
		if err != nil {
			return err
		}
		ctx.Export("keyArn", key.Arn)
		ctx.Export("bucketName", bucket.Bucket)
		return nil
	}, baseline(nil, pulumi.Transforms([]pulumi.ResourceTransform{func(_ context.Context, r *pulumi.ResourceTransformArgs) *pulumi.ResourceTransformResult {
		was, ok := map[string]string{"app-key": "my-key", "app-bucket": "my-bucket"}[r.Name]
		if !ok {
			return nil
		}
		r.Opts.Aliases = append(r.Opts.Aliases, pulumi.Alias{Name: pulumi.String(was), NoParent: pulumi.Bool(true)})
		return &pulumi.ResourceTransformResult{Props: r.Props, Opts: r.Opts}
	}})))
}

// What is told to the component is told to the key and the bucket.
func TestOptions_TransformsReachKeyAndBucket(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	c := look(t, l)
	outputs := l.Stack(t, "sandbox", baseline(nil, pulumi.Transforms([]pulumi.ResourceTransform{func(_ context.Context, r *pulumi.ResourceTransformArgs) *pulumi.ResourceTransformResult {
		if r.Name != "app-key" && r.Name != "app-bucket" {
			return nil
		}
		r.Props["tags"] = pulumi.StringMap{"team": pulumi.String("platform")}
		return &pulumi.ResourceTransformResult{Props: r.Props, Opts: r.Opts}
	}})), nil).Up(t)
	key, bucket := outputs["keyArn"].(string), outputs["bucketName"].(string)
	keyTags, err := c.kms.ListResourceTags(t.Context(), &kms.ListResourceTagsInput{KeyId: &key})
	require.NoError(t, err)
	require.Len(t, keyTags.Tags, 1)
	require.Equal(t, "team", *keyTags.Tags[0].TagKey)
	bucketTags, err := c.s3.GetBucketTagging(t.Context(), &s3.GetBucketTaggingInput{Bucket: &bucket})
	require.NoError(t, err)
	require.Len(t, bucketTags.TagSet, 1)
	require.Equal(t, "team", *bucketTags.TagSet[0].Key)
}

func TestOptions_ProtectReachesKeyAndBucket(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", stack.Deploy, map[string]string{"protect": "true"})
	s.Up(t)
	before := account(t, l, "")
	out, err := s.TryDestroy(t.Context())
	require.Error(t, err)
	require.Contains(t, out, "protect")
	require.Equal(t, before, account(t, l, ""), "nothing has been deleted")
	protected := map[string]bool{}
	for _, r := range resources(t, s) {
		protected[string(r.Type)] = r.Protect
	}
	for _, kind := range []string{"aws:kms/key:Key", "aws:s3/bucketV2:BucketV2", "aws:s3/bucketObjectv2:BucketObjectv2"} {
		require.True(t, protected[kind], kind)
	}

	require.NoError(t, s.SetConfig(t.Context(), "protect", auto.ConfigValue{Value: "false"}))
	s.Up(t)
	s.Destroy(t)
}

func TestOptions_RetainOnDeleteReachesKeyAndBucket(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", stack.Deploy, map[string]string{"retainOnDelete": "true"})
	s.Up(t)
	before := account(t, l, "")
	s.Destroy(t)
	require.Equal(t, before, account(t, l, ""), "the account is as it was with the stack")
	require.Empty(t, resources(t, s))
}

// resources are what the stack's state has.
func resources(t *testing.T, s *lab.Stack) []apitype.ResourceV3 {
	t.Helper()
	exported, err := s.Export(t.Context())
	require.NoError(t, err)
	var d apitype.DeploymentV3
	require.NoError(t, json.Unmarshal(exported.Deployment, &d))
	return d.Resources
}
