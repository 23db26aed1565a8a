package check

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// accessAnalyzer answers CheckNoPublicAccess as AWS's API reference describes it;
// localaws does not serve it.
type accessAnalyzer struct {
	next   aws.HTTPClient
	answer string

	mu    *sync.Mutex
	asked map[string]string // the policy by the type of the resource
}

func (x accessAnalyzer) Do(h *http.Request) (*http.Response, error) {
	if h.URL.Path != "/policy/check-no-public-access" {
		return x.next.Do(h)
	}
	var in struct{ PolicyDocument, ResourceType string }
	if err := json.NewDecoder(h.Body).Decode(&in); err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked[in.ResourceType] = in.PolicyDocument
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(x.answer)), Request: h}, nil
}

func TestAccessAnalyzer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer  string
		want    report.Status
		because string
	}{
		"agrees":           {`{"result":"PASS","message":"no"}`, report.Pass, "IAM Access Analyzer agrees"},
		"disagrees":        {`{"result":"FAIL","message":"public","reasons":[{"description":"statement Two","statementIndex":1}]}`, report.Inconclusive, "finds public access: public; statement Two"},
		"an unknown value": {`{"result":"MAYBE"}`, report.Inconclusive, "unknown result"},
		"no value":         {`{}`, report.Inconclusive, "unknown result"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := goodStack(t)
			analyzer := accessAnalyzer{s.cfg.HTTPClient, c.answer, &sync.Mutex{}, map[string]string{}}
			s.config.AWS.HTTPClient = analyzer
			s.config.Only = []string{"key.policy", "bucket.policy"}
			s.run(t)
			require.Empty(t, analyzer.asked, "it was not asked for")
			s.config.AccessAnalyzer = true
			rep := s.run(t)
			for _, id := range s.config.Only {
				x := result(t, rep, id)
				require.Equal(t, c.want, x.Status, x.Actual)
				require.Contains(t, x.Actual, c.because)
			}
			require.Equal(t, goodBucketPolicy(s.keyARN), analyzer.asked["AWS::S3::Bucket"])
			require.Contains(t, analyzer.asked["AWS::KMS::Key"], `"kms:*"`)
		})
	}
}

// localaws refuses the call, as AWS does without the permission.
func TestAccessAnalyzer_OwnAnalysisStandsIfItCannotBeAsked(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.config.AccessAnalyzer = true
	for _, id := range []string{"key.policy", "bucket.policy"} {
		x := s.one(t, id)
		require.Equal(t, report.Pass, x.Status, x.Actual)
		require.Contains(t, x.Actual, "IAM Access Analyzer gave no second opinion: ")
	}
}
