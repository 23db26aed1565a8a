package check

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// newTestRun is a run of which a test calls the parts.
func (s *stack) newTestRun(t *testing.T) *run {
	t.Helper()
	cfg := s.config
	require.NoError(t, cfg.complete())
	return newRun(t.Context(), cfg, nil)
}

func TestHeads_ReturnWhatTheSDKReturns(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	r := s.newTestRun(t)
	x := r.newHeads(t.Context())
	require.NotNil(t, x, "every call goes through the SDK")
	b := s3.NewFromConfig(s.cfg)
	for _, key := range []string{"plain", "a/b//c/../d/", "ü % + & ? # ~ !'()*", "\x01\n\x1b[31m", "?versionId=null", "a b", "%41"} {
		put, err := b.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key})
		require.NoError(t, err, "%q", key)
		for _, v := range []version{{key: key}, {key, *put.VersionId}} {
			got, ok := x.head(t.Context(), v)
			require.True(t, ok, "%q", key)
			want := r.headVersion(t.Context(), v)
			require.NoError(t, want.err)
			require.Equal(t, want.out.ServerSideEncryption, got.ServerSideEncryption)
			require.Equal(t, want.out.SSEKMSKeyId, got.SSEKMSKeyId)
			require.Equal(t, want.out.SSECustomerAlgorithm, got.SSECustomerAlgorithm)
			require.Equal(t, want.out.LastModified, got.LastModified)
		}
	}
	_, ok := x.head(t.Context(), version{key: "none"})
	require.False(t, ok, "an error is left to the SDK")
}

// counted counts the requests with an expected owner and those without.
type counted struct {
	next          aws.HTTPClient
	with, without *atomic.Int64
}

func (c counted) Do(h *http.Request) (*http.Response, error) {
	if h.Method == http.MethodHead {
		if h.Header.Get("X-Amz-Expected-Bucket-Owner") == owner {
			c.with.Add(1)
		} else {
			c.without.Add(1)
		}
	}
	return c.next.Do(h)
}

func TestHeads_SendTheExpectedOwner(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	var with, without atomic.Int64
	s.config.AWS.HTTPClient = counted{s.cfg.HTTPClient, &with, &without}
	s.config.Prefix, s.config.Objects = aws.String(""), nil
	require.Equal(t, report.Pass, s.one(t, "object.encryption").Status)
	require.Positive(t, with.Load())
	require.Zero(t, without.Load())
}

// S3 refuses one call, as it does under load: the SDK repeats it.
func TestHeads_LeaveErrorsToTheSDK(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.config.Prefix, s.config.Objects = aws.String(""), nil
	s.put(t, s.cfg, "plain", func(in *s3.PutObjectInput) {
		in.ServerSideEncryption = s3types.ServerSideEncryptionAwsKms
		in.SSEKMSKeyId = &s.keyARN
	})
	s.aws.Inject(localaws.Fault{Service: "s3", Operation: "HeadObject", Status: 503, Code: "SlowDown", Count: 1})
	x := s.one(t, "object.encryption")
	require.Equal(t, report.Pass, x.Status, x.Actual)
	require.Contains(t, x.Actual, "2 objects checked")
}
