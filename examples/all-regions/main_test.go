package main

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// Three Regions of the seventeen: each has a provider process of its own.
func TestAllRegions(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "dev", program, map[string]string{"regions": `["us-east-1", "eu-west-1", "ap-southeast-2"]`})
	s.Up(t)
	for _, region := range []string{"us-east-1", "eu-west-1", "ap-southeast-2"} {
		cfg := l.Config(t, engine.AccountID)
		cfg.Region = region
		c := ec2.NewFromConfig(cfg)
		enabled, err := c.GetEbsEncryptionByDefault(t.Context(), nil)
		require.NoError(t, err)
		require.True(t, *enabled.EbsEncryptionByDefault, region)
		key, err := c.GetEbsDefaultKmsKeyId(t.Context(), nil)
		require.NoError(t, err)
		require.Contains(t, *key.KmsKeyId, "arn:aws:kms:"+region+":123456789012:key/mrk-")
	}
	require.True(t, s.Preview(t).Clean())
	s.Destroy(t)
}
