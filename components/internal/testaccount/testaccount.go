// Package testaccount gives a test an account on localaws, for code that takes
// its AWS configuration from the environment, as ebsrestore and keyguard do.
package testaccount

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
)

// New starts a localaws that ends with the test, sets the environment to it and
// returns what a client of us-east-1 needs. The test cannot run in parallel.
func New(t *testing.T) (*localaws.Server, aws.Config) {
	t.Helper()
	s, err := localaws.Open(localaws.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	require.NoError(t, s.Start("127.0.0.1:0"))
	for k, v := range map[string]string{ //nolint:gosec // no secret: localaws takes any
		"AWS_ENDPOINT_URL": s.URL(), "AWS_CA_BUNDLE": s.CAFile(), "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "",
		"AWS_PROFILE": "", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(k, v)
	}
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"))
	require.NoError(t, err)
	return s, cfg
}

// NewKey makes a key and returns its ARN.
func NewKey(t *testing.T, client *kms.Client) string {
	t.Helper()
	out, err := client.CreateKey(t.Context(), nil)
	require.NoError(t, err)
	return *out.KeyMetadata.Arn
}
