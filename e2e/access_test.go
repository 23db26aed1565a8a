package e2e

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// The IAM policies among the outputs allow what they are named for, and no more.
func TestAccess_PoliciesAllowWhatTheyAreNamedFor(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	outputs := l.Stack(t, "sandbox", func(ctx *pulumi.Context) error {
		key, err := components.NewCustomerKey(ctx, "app", nil)
		if err != nil {
			return err
		}
		bucket, err := components.NewEncryptedBucket(ctx, "app", &components.EncryptedBucketArgs{KmsKeyArn: key.KeyArn})
		if err != nil {
			return err
		}
		ctx.Export("key", key.KeyArn)
		ctx.Export("bucket", bucket.BucketName)
		ctx.Export("domain", bucket.RegionalDomainName)
		for name, policy := range map[string]pulumi.StringOutput{
			"encrypt": key.EncryptPolicy, "decrypt": key.DecryptPolicy, "encryptDecrypt": key.EncryptDecryptPolicy,
			"read": bucket.ReadPolicy, "write": bucket.WritePolicy, "readWrite": bucket.ReadWritePolicy,
		} {
			ctx.Export(name, policy)
		}
		return nil
	}, nil).Up(t)
	key, bucket := outputs["key"].(string), outputs["bucket"].(string)
	require.Equal(t, bucket+".s3.us-east-1.amazonaws.com", outputs["domain"])
	c := look(t, l)
	_, err := c.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("there"), Body: strings.NewReader("data")})
	require.NoError(t, err)
	sealed, err := c.kms.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &key, Plaintext: []byte("data")})
	require.NoError(t, err)

	calls := map[string]func() error{
		"put": func() error {
			_, err := c.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("new"), Body: strings.NewReader("data")})
			return err
		},
		"get": func() error {
			_, err := c.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("there")})
			return err
		},
		"list": func() error {
			_, err := c.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
			return err
		},
		"delete": func() error {
			_, err := c.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: aws.String("there")})
			return err
		},
		"encrypt": func() error {
			_, err := c.kms.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &key, Plaintext: []byte("data")})
			return err
		},
		"decrypt": func() error {
			_, err := c.kms.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})
			return err
		},
	}
	for policy, allowed := range map[string]string{
		"read": "get list", "write": "put", "readWrite": "get list put",
		"encrypt": "encrypt", "decrypt": "decrypt", "encryptDecrypt": "encrypt decrypt",
	} {
		require.NoError(t, l.AWS.SetIdentityPolicy("arn:aws:iam::"+engine.AccountID+":user/localaws", outputs[policy].(string)))
		for name, call := range calls {
			err := call()
			if strings.Contains(" "+allowed+" ", " "+name+" ") {
				require.NoError(t, err, "%s with %s", name, policy)
			} else {
				require.ErrorContains(t, err, "AccessDenied", "%s with %s", name, policy)
			}
		}
	}
}
