package localaws

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	controltypes "github.com/aws/aws-sdk-go-v2/service/s3control/types"
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
	require.Equal(t, 200, status, body)
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

	_, body = control(t, s, http.MethodPut, "alice", DefaultAccount, accountBlockPath, "<PublicAccessBlockConfiguration/>")
	require.Contains(t, body, "<Code>InvalidRequest</Code><Message>Must specify at least one configuration.</Message>")

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
		require.Equal(t, 200, status, body)
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

// controlClient is the unmodified client of S3 Control, which calls
// ACCOUNT.localhost and leaves that name to the server as its proxy.
func controlClient(t *testing.T, s *Server, user string) *s3control.Client {
	t.Helper()
	proxy, err := url.Parse(s.URL())
	require.NoError(t, err)
	return s3control.NewFromConfig(awsConfig(t, s, user, noRetries), func(o *s3control.Options) {
		o.BaseEndpoint = aws.String("https://localhost:" + proxy.Port())
		transport, ok := httpClient(t, s).Transport.(*http.Transport)
		require.True(t, ok)
		transport.Proxy, transport.DialContext = http.ProxyURL(proxy), nil
		o.HTTPClient = &http.Client{Transport: transport}
	})
}

// Terraform's AWS provider reads and writes the tags of buckets so.
func TestControlTags(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	c, control := s3Client(t, s, "alice", noRetries), controlClient(t, s, "alice")
	makeBucket(t, c, "tagged")
	account, arn := aws.String(DefaultAccount), aws.String("arn:aws:s3:::tagged")
	tags := func() map[string]string {
		out, err := control.ListTagsForResource(t.Context(), &s3control.ListTagsForResourceInput{AccountId: account, ResourceArn: arn})
		require.NoError(t, err)
		all := map[string]string{}
		for _, tag := range out.Tags {
			all[*tag.Key] = *tag.Value
		}
		return all
	}
	require.Empty(t, tags(), "a bucket without tags is no error here")
	_, err := c.PutBucketTagging(t.Context(), &s3.PutBucketTaggingInput{Bucket: aws.String("tagged"),
		Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("2")}}}})
	require.NoError(t, err)
	_, err = control.TagResource(t.Context(), &s3control.TagResourceInput{AccountId: account, ResourceArn: arn,
		Tags: []controltypes.Tag{{Key: aws.String("b"), Value: aws.String("3")}, {Key: aws.String("c"), Value: aws.String("")}}})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "1", "b": "3", "c": ""}, tags())
	_, err = control.UntagResource(t.Context(), &s3control.UntagResourceInput{AccountId: account, ResourceArn: arn, TagKeys: []string{"a", "c", "none"}})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"b": "3"}, tags())
	out, err := c.GetBucketTagging(t.Context(), &s3.GetBucketTaggingInput{Bucket: aws.String("tagged")})
	require.NoError(t, err)
	require.Len(t, out.TagSet, 1)
	for _, name := range []string{"TagResource", "UntagResource", "ListTagsForResource"} {
		events := lookUp(t, cloudtrail.NewFromConfig(awsConfig(t, s, "alice")), trailtypes.LookupAttributeKeyEventName, name)
		require.NotEmpty(t, events, name)
		require.Contains(t, *events[0].CloudTrailEvent, "arn:aws:s3:::tagged")
	}

	list := func(user, account, arn string) error {
		_, err := controlClient(t, s, user).ListTagsForResource(t.Context(), &s3control.ListTagsForResourceInput{AccountId: &account, ResourceArn: &arn})
		return err
	}
	requireCode(t, list("alice", DefaultAccount, "arn:aws:s3:::none"), "NoSuchBucket")
	requireCode(t, list("alice", "210987654321", *arn), "AccessDenied")
	requireCode(t, list("210987654321", DefaultAccount, *arn), "AccessDenied")
	requireCode(t, list("alice", DefaultAccount, "arn:aws:s3:us-east-1:123456789012:accesspoint/a"), "NotImplemented")
	_, err = control.TagResource(t.Context(), &s3control.TagResourceInput{AccountId: account, ResourceArn: arn,
		Tags: []controltypes.Tag{{Key: aws.String("aws:x"), Value: aws.String("3")}}})
	requireCode(t, err, "InvalidTag")
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::123456789012:user/bob", `{"Statement":[{"Effect":"Allow","Action":"s3:GetBucketTagging","Resource":"*"},
		{"Effect":"Allow","Action":"s3:UntagResource","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":"c"}}}]}`))
	bob := controlClient(t, s, "bob")
	err = list("bob", DefaultAccount, *arn)
	require.ErrorContains(t, err, "is not authorized to perform: s3:ListTagsForResource", "the provider falls back to GetBucketTagging on these words")
	_, err = bob.UntagResource(t.Context(), &s3control.UntagResourceInput{AccountId: account, ResourceArn: arn, TagKeys: []string{"b"}})
	requireCode(t, err, "AccessDenied")
	_, err = bob.UntagResource(t.Context(), &s3control.UntagResourceInput{AccountId: account, ResourceArn: arn, TagKeys: []string{"c"}})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"b": "3"}, tags())
}

func TestAWSCLI_ControlTags(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := newAWSCLI(t, s)
	c.env = append(c.env, "AWS_ENDPOINT_URL_S3_CONTROL="+strings.Replace(s.URL(), "127.0.0.1", "sandbox@localhost", 1))
	c.run("s3", "mb", "s3://cli-764265373335")
	of := []string{"--account-id", "764265373335", "--resource-arn", "arn:aws:s3:::cli-764265373335"}
	c.run(append([]string{"s3control", "tag-resource", "--tags", "Key=a,Value=b"}, of...)...)
	require.JSONEq(t, `[{"Key":"a","Value":"b"}]`, c.run(append([]string{"s3control", "list-tags-for-resource", "--query", "Tags"}, of...)...))
}

// A tunnel leads to this server and nowhere else.
func TestTunnel_LeadsToThisServerOnly(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	own, err := url.Parse(s.URL())
	require.NoError(t, err)
	for host, want := range map[string]int{
		"123456789012.localhost:" + own.Port(): 200, "123456789012.127.0.0.1:" + own.Port(): 200,
		"localhost:22": 403, "example.com:" + own.Port(): 403, "example.com:443": 403,
	} {
		out, err := httpClient(t, s).Do(&http.Request{Method: http.MethodConnect, URL: own, Host: host})
		require.NoError(t, err, host)
		require.Equal(t, want, out.StatusCode, host)
		require.NoError(t, out.Body.Close())
	}
}
