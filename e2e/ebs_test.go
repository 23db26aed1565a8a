package e2e

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/stack"
)

// begin sets the EBS defaults of an account with a past.
func (c clients) begin(t *testing.T, enabled, customerKey bool) (key string) {
	t.Helper()
	if customerKey {
		made, err := c.kms.CreateKey(t.Context(), &kms.CreateKeyInput{})
		require.NoError(t, err)
		key = *made.KeyMetadata.Arn
		_, err = c.ec2.ModifyEbsDefaultKmsKeyId(t.Context(), &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &key})
		require.NoError(t, err)
	}
	if enabled {
		_, err := c.ec2.EnableEbsEncryptionByDefault(t.Context(), nil)
		require.NoError(t, err)
	}
	return key
}

// An account is left as it was found, from all four beginnings. (Not parallel:
// the hook that restores runs in this process, with its environment.)
func TestEBS_RestoreOnDestroy(t *testing.T) {
	for name, begin := range map[string]struct{ enabled, customerKey bool }{
		"off, AWS-managed key": {false, false},
		"on, AWS-managed key":  {true, false},
		"off, customer key":    {false, true},
		"on, customer key":     {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			for _, v := range []string{"AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
				t.Setenv(v, l.Env.Get(v))
			}
			c := look(t, l)
			c.begin(t, begin.enabled, begin.customerKey)
			enabledBefore, keyBefore := c.ebs(t)
			s := l.Stack(t, "sandbox", stack.Deploy, map[string]string{"ebsOnDestroy": components.EBSRestore, "ebsTakeOver": "true"})
			ours := s.Up(t)["keyArn"]
			enabled, key := c.ebs(t)
			require.True(t, enabled)
			require.Equal(t, ours, key)
			require.True(t, s.Preview(t).Clean())

			out, err := s.TryDestroy(t.Context())
			require.Error(t, err, "destroy without --run-program")
			require.Contains(t, out, "--run-program")
			enabled, key = c.ebs(t)
			require.True(t, enabled, "nothing has been deleted")
			require.Equal(t, ours, key)

			s.Destroy(t, optdestroy.RunProgram(true))
			enabled, key = c.ebs(t)
			require.Equal(t, enabledBefore, enabled)
			require.Equal(t, keyBefore, key)
		})
	}
}

func TestEBS_SwitchOffOnDestroy(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	c := look(t, l)
	_, before := c.ebs(t)
	s := l.Stack(t, "sandbox", stack.Deploy, map[string]string{"ebsOnDestroy": components.EBSSwitchOff})
	s.Up(t)
	s.Destroy(t)
	enabled, key := c.ebs(t)
	require.False(t, enabled)
	require.Equal(t, before, key)
}

// Somebody else's default key is named at preview, before anything is made.
func TestEBS_ForeignDefaultIsNotTakenSilently(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	c := look(t, l)
	foreign := c.begin(t, true, true)
	s := l.Stack(t, "sandbox", stack.Deploy, nil)

	_, err := s.Stack.Preview(t.Context())
	require.ErrorContains(t, err, foreign)
	require.ErrorContains(t, err, "ebsTakeOver")
	_, key := c.ebs(t)
	require.Equal(t, foreign, key)

	taking := l.Stack(t, "taking", stack.Deploy, map[string]string{"ebsTakeOver": "true"})
	ours := taking.Up(t)["keyArn"]
	_, key = c.ebs(t)
	require.Equal(t, ours, key)
}
