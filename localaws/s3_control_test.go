package localaws

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

const accountBlockPath = "/v20180820/configuration/publicAccessBlock"

// control sends a request to S3 Control as a user, about an account.
func control(t *testing.T, s *Server, method, user, account, path, body string) (int, string) {
	t.Helper()
	return send(t, s, method, path, body, map[string]string{"Authorization": signature(user, "us-east-1", "s3"), "X-Amz-Account-Id": account, "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"})
}

func accountBlock(blocked string) string {
	all := ""
	for _, name := range []string{"BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"} {
		all += "<" + name + ">" + map[bool]string{true: "true", false: "false"}[strings.Contains(blocked, name)] + "</" + name + ">"
	}
	return `<PublicAccessBlockConfiguration xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/">` + all + "</PublicAccessBlockConfiguration>"
}

func TestAccountPublicAccessBlock(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	status, body := control(t, s, http.MethodGet, "alice", DefaultAccount, accountBlockPath, "")
	require.Equal(t, 404, status)
	require.Contains(t, body, "<ErrorResponse><Error><Code>NoSuchPublicAccessBlockConfiguration</Code><Message>The public access block configuration was not found</Message><AccountId>"+DefaultAccount+"</AccountId></Error><RequestId>")
	status, body = control(t, s, http.MethodPut, "alice", DefaultAccount, accountBlockPath, accountBlock("BlockPublicPolicy"))
	require.Equal(t, 201, status, body)
	status, body = control(t, s, http.MethodGet, "alice", DefaultAccount, accountBlockPath, "")
	require.Equal(t, 200, status)
	require.Contains(t, body, accountBlock("BlockPublicPolicy"))
	status, _ = control(t, s, http.MethodGet, "210987654321", "210987654321", accountBlockPath, "")
	require.Equal(t, 404, status, "the setting is an account's")

	for name, tc := range map[string]struct {
		method, user, account, path, code string
		status                            int
	}{
		"another account":    {http.MethodGet, "alice", "210987654321", accountBlockPath, "AccessDenied", 403},
		"no account":         {http.MethodGet, "alice", "x", accountBlockPath, "AccessDenied", 403},
		"another operation":  {http.MethodGet, "alice", DefaultAccount, "/v20180820/accesspoint", "NotImplemented", 501},
		"a query parameter":  {http.MethodPut, "alice", DefaultAccount, accountBlockPath + "?dryRun=1", "NotImplemented", 501},
		"a body that is not": {http.MethodPut, "alice", DefaultAccount, accountBlockPath, "MalformedXML", 400},
	} {
		status, body := control(t, s, tc.method, tc.user, tc.account, tc.path, "")
		require.Equal(t, tc.status, status, name)
		require.Contains(t, body, "<ErrorResponse><Error><Code>"+tc.code+"</Code>", name)
	}

	status, _ = control(t, s, http.MethodDelete, "alice", DefaultAccount, accountBlockPath, "")
	require.Equal(t, 204, status)
	status, _ = control(t, s, http.MethodGet, "alice", DefaultAccount, accountBlockPath, "")
	require.Equal(t, 404, status)
	for _, name := range []string{"PutAccountPublicAccessBlock", "DeleteAccountPublicAccessBlock"} {
		events := lookUp(t, cloudtrail.NewFromConfig(awsConfig(t, s, "alice")), trailtypes.LookupAttributeKeyEventName, name)
		require.NotEmpty(t, events, name)
		require.Equal(t, "s3.amazonaws.com", *events[0].EventSource)
	}
}

// The stricter of the account's and the bucket's setting counts.
func TestAccountPublicAccessBlock_CoversBuckets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newServer(t, func(o *Options) { o.Dir = dir })
	c := s3.NewFromConfig(awsConfig(t, s, "alice", noRetries), func(o *s3.Options) { o.UsePathStyle = true })
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("open-bucket")})
	require.NoError(t, err)
	_, err = c.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: aws.String("open-bucket")})
	require.NoError(t, err)
	policy := &s3.PutBucketPolicyInput{Bucket: aws.String("open-bucket"), Policy: aws.String(`{"Version":"2012-10-17","Statement":
		{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::open-bucket"}}`)}
	set := func(blocked string) {
		status, body := control(t, s, http.MethodPut, "alice", DefaultAccount, accountBlockPath, accountBlock(blocked))
		require.Equal(t, 201, status, body)
	}
	set("BlockPublicPolicy")
	_, err = c.PutBucketPolicy(t.Context(), policy)
	requireCode(t, err, "AccessDenied")
	require.ErrorContains(t, err, "BlockPublicPolicy")
	set("")
	_, err = c.PutBucketPolicy(t.Context(), policy)
	require.NoError(t, err)

	list := func(s *Server) error {
		stranger := s3.NewFromConfig(awsConfig(t, s, "210987654321", noRetries), func(o *s3.Options) { o.UsePathStyle = true })
		_, err := stranger.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("open-bucket")})
		return err
	}
	require.NoError(t, list(s))
	set("RestrictPublicBuckets")
	requireCode(t, list(s), "AccessDenied")
	require.NoError(t, s.Close())
	s = newServer(t, func(o *Options) { o.Dir = dir })
	requireCode(t, list(s), "AccessDenied")

	c = s3.NewFromConfig(awsConfig(t, s, "alice", noRetries), func(o *s3.Options) { o.UsePathStyle = true })
	_, err = c.PutBucketOwnershipControls(t.Context(), &s3.PutBucketOwnershipControlsInput{Bucket: aws.String("open-bucket"),
		OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred}}}})
	require.NoError(t, err)
	set("BlockPublicAcls")
	_, err = c.PutBucketAcl(t.Context(), &s3.PutBucketAclInput{Bucket: aws.String("open-bucket"), ACL: types.BucketCannedACLPublicRead})
	require.ErrorContains(t, err, "BlockPublicAcls")
}
