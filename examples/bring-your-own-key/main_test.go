package main

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

func TestBringYourOwnKey(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	cfg := l.Config(t, engine.AccountID)
	keys, volumes := kms.NewFromConfig(cfg), ec2.NewFromConfig(cfg)
	key, err := keys.CreateKey(t.Context(), &kms.CreateKeyInput{})
	require.NoError(t, err)
	arn := *key.KeyMetadata.Arn
	_, err = volumes.ModifyEbsDefaultKmsKeyId(t.Context(), &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &arn})
	require.NoError(t, err)
	s := l.Stack(t, "dev", program, map[string]string{"keyArn": arn})

	// What cannot serve is refused at preview.
	_, err = s.Stack.Preview(t.Context())
	require.ErrorContains(t, err, "EBS encryption by default is off")
	_, err = volumes.EnableEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	_, err = keys.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &arn})
	require.NoError(t, err)
	_, err = s.Stack.Preview(t.Context())
	require.ErrorContains(t, err, "aws kms enable-key")
	_, err = keys.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: &arn})
	require.NoError(t, err)

	before, err := l.AWS.Snapshot()
	require.NoError(t, err)
	require.Equal(t, arn, s.Up(t)["ebsDefaultKeyArn"])
	require.True(t, s.Preview(t).Clean())
	s.Destroy(t)
	after, err := l.AWS.Snapshot()
	require.NoError(t, err)
	require.JSONEq(t, string(before), string(after), "the account is as it was found")
}
