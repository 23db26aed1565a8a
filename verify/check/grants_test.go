package check

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// renamed changes a text in the answers to ListGrants: to grantees that KMS returns and that no
// request can put into a grant.
type renamed struct {
	next     aws.HTTPClient
	from, to string
}

func (x renamed) Do(h *http.Request) (*http.Response, error) {
	resp, err := x.next.Do(h)
	if err != nil || !strings.HasSuffix(h.Header.Get("X-Amz-Target"), "ListGrants") {
		return resp, err
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	b = bytes.ReplaceAll(b, []byte(x.from), []byte(x.to))
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	resp.Header.Set("Content-Length", strconv.Itoa(len(b)))
	return resp, nil
}

func TestKeyGrants(t *testing.T) {
	t.Parallel()
	const partner = "444455556666"
	someone := "arn:aws:iam::" + owner + ":role/app"
	for name, c := range map[string]struct {
		grantees  []string
		operation kmstypes.GrantOperation // Decrypt if empty
		shown     string                  // what KMS shows instead of someone
		want      report.Status
		because   string
	}{
		"none":                             {want: report.Pass, because: "none of 0 grants"},
		"a role of the account":            {grantees: []string{someone}, want: report.Pass, because: "none of 1 grants"},
		"an account that the policy names": {grantees: []string{"arn:aws:iam::" + partner + ":role/app"}, want: report.Pass},
		"an operation that the policy does not allow the account": {grantees: []string{"arn:aws:iam::" + partner + ":role/app"}, operation: kmstypes.GrantOperationEncrypt, want: report.Fail, because: "what the key policy does not allow it"},
		"another account":                                {grantees: []string{someone, "arn:aws:iam::111122223333:root"}, want: report.Fail, because: "1 of 2 grants give an account what the key policy does not allow it: grant "},
		"a session in another account":                   {grantees: []string{someone}, shown: "arn:aws:sts::111122223333:assumed-role/app/session", want: report.Fail, because: "to arn:aws:sts::111122223333:assumed-role/app/session (Decrypt)"},
		"a service":                                      {grantees: []string{someone}, shown: "rds.us-east-1.amazonaws.com", want: report.Pass},
		"a principal that was deleted":                   {grantees: []string{someone}, shown: "AROAEXAMPLEID", want: report.Inconclusive, because: "AROAEXAMPLEID"},
		"a service's name in the ARN of another account": {grantees: []string{someone}, shown: "arn:aws:iam::111122223333:role/rds", want: report.Fail},
		"an empty grantee, as of a grant to a service":   {grantees: []string{someone}, shown: "", want: report.Inconclusive, because: "cannot be told"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := goodStack(t)
			policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + owner + `:root"},"Action":"kms:*","Resource":"*"},{"Effect":"Allow","Principal":{"AWS":"` + partner + `"},"Action":"kms:Decrypt","Resource":"*"}]}`
			k := kms.NewFromConfig(s.cfg)
			_, err := k.PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: &s.keyARN, PolicyName: aws.String("default"), Policy: &policy})
			require.NoError(t, err)
			for _, g := range c.grantees {
				_, err := k.CreateGrant(t.Context(), &kms.CreateGrantInput{KeyId: &s.keyARN, GranteePrincipal: &g, Operations: []kmstypes.GrantOperation{cmp.Or(c.operation, kmstypes.GrantOperationDecrypt)}})
				require.NoError(t, err)
			}
			if c.shown != "" || strings.HasPrefix(name, "an empty") {
				s.config.AWS.HTTPClient = renamed{s.config.AWS.HTTPClient, someone, c.shown}
			}
			s.config.Only = []string{"key.grants"}
			rep, err := Run(t.Context(), s.config)
			require.NoError(t, err)
			require.Equal(t, c.want, rep.Results[0].Status, rep.Results[0].Actual)
			require.Contains(t, rep.Results[0].Actual, c.because)
		})
	}
}

// More grants than fit a page are all looked at.
func TestKeyGrants_EveryPage(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	k := kms.NewFromConfig(s.cfg)
	const several = 120
	for range several {
		_, err := k.CreateGrant(t.Context(), &kms.CreateGrantInput{KeyId: &s.keyARN, GranteePrincipal: aws.String("arn:aws:iam::111122223333:root"), Operations: []kmstypes.GrantOperation{kmstypes.GrantOperationDecrypt}})
		require.NoError(t, err)
	}
	s.config.Only = []string{"key.grants"}
	rep, err := Run(t.Context(), s.config)
	require.NoError(t, err)
	require.Equal(t, several, rep.Results[0].FailureCount)
}

// Without kms:ListGrants nothing is said about grants.
func TestKeyGrants_Denied(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.aws.Inject(localaws.Fault{Operation: "ListGrants", Status: http.StatusBadRequest, Code: "AccessDeniedException"})
	s.config.Only = []string{"key.grants"}
	rep, err := Run(t.Context(), s.config)
	require.NoError(t, err)
	require.Equal(t, report.Error, rep.Results[0].Status)
}
