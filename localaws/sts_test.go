package localaws

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/stretchr/testify/require"
)

func TestGetCallerIdentity(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, tc := range []struct{ name, key, account, arn string }{
		{"a name", "alice", "123456789012", "arn:aws:iam::123456789012:user/alice"},
		{"an account", "210987654321", "210987654321", "arn:aws:iam::210987654321:user/localaws"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			who, err := sts.NewFromConfig(awsConfig(t, s, tc.key)).GetCallerIdentity(t.Context(), nil)
			require.NoError(t, err)
			require.Equal(t, tc.account, *who.Account)
			require.Equal(t, tc.arn, *who.Arn)
			require.Regexp(t, `^AIDA[A-Z2-7]{17}$`, *who.UserId)
		})
	}
}

func TestSTS_Refuses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := sts.NewFromConfig(awsConfig(t, s, "alice", noRetries))
	_, err := c.GetFederationToken(t.Context(), &sts.GetFederationTokenInput{Name: aws.String("fed")})
	requireCode(t, err, "NotImplemented")
	_, err = sts.NewFromConfig(awsConfig(t, s, "alice", noRetries, config.WithRegion("us-nowhere-1"))).GetCallerIdentity(t.Context(), nil)
	requireCode(t, err, "InvalidClientTokenId")
	_, err = sts.NewFromConfig(awsConfig(t, s, "alice", noRetries, config.WithCredentialsProvider(aws.AnonymousCredentials{}))).GetCallerIdentity(t.Context(), nil)
	requireCode(t, err, "MissingAuthenticationToken")
}
