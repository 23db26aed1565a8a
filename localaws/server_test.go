package localaws

import (
	"net/http"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"
)

// newServer opens a server with its state in a directory of its own, listening
// for HTTPS, and closes it when the test ends.
func newServer(t testing.TB, opts ...func(*Options)) *Server {
	t.Helper()
	o := Options{Dir: t.TempDir()}
	for _, f := range opts {
		f(&o)
	}
	s, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() }) // a test may have closed it itself
	require.NoError(t, s.Start("127.0.0.1:0"))
	return s
}

// awsConfig is what an unmodified SDK needs to talk to s in us-east-1 as the
// user of an access key id ("alice", or an account ID).
func awsConfig(t testing.TB, s *Server, accessKey string, opts ...func(*config.LoadOptions) error) aws.Config {
	t.Helper()
	ca, err := os.Open(s.CAFile())
	require.NoError(t, err)
	defer func() { require.NoError(t, ca.Close()) }()
	cfg, err := config.LoadDefaultConfig(t.Context(), append([]func(*config.LoadOptions) error{
		config.WithRegion("us-east-1"),
		config.WithBaseEndpoint(s.URL()),
		config.WithCustomCABundle(ca),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(accessKey, "secret", "")),
		config.WithSharedConfigFiles([]string{}),
		config.WithSharedCredentialsFiles([]string{}),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
			tr.MaxIdleConnsPerHost = 32
		})),
	}, opts...)...)
	require.NoError(t, err)
	return cfg
}
