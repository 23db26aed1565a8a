package localaws

import (
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

func setCORS(t *testing.T, c *s3.Client, bucket string, rules ...types.CORSRule) error {
	t.Helper()
	_, err := c.PutBucketCors(t.Context(), &s3.PutBucketCorsInput{Bucket: &bucket, CORSConfiguration: &types.CORSConfiguration{CORSRules: rules}})
	return err
}

// fromPage sends a request as a browser does for a page of https://localhost:4200.
func fromPage(t *testing.T, s *Server, method, path string, headers map[string]string) (int, http.Header, string) {
	t.Helper()
	h, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, nil)
	require.NoError(t, err)
	h.Header.Set("Origin", "https://localhost:4200")
	for k, v := range headers {
		if h.Header.Set(k, v); v == "" {
			h.Header.Del(k)
		}
	}
	out, err := httpClient(t, s).Do(h)
	require.NoError(t, err)
	body, err := io.ReadAll(out.Body)
	require.NoError(t, err)
	require.NoError(t, out.Body.Close())
	return out.StatusCode, out.Header, string(body)
}

// The answers are those of AWS in LocalStack's test_s3_cors.snapshot.json.
func TestCORS_Preflight(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "pages")
	const (
		noOrigin = "Insufficient information. Origin request header needed."
		refused  = "CORSResponse: This CORS request is not allowed."
	)
	asks := func(method string, more ...string) map[string]string {
		h := map[string]string{"Access-Control-Request-Method": method}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return h
	}
	check := func(path string, headers map[string]string, status int, message string, elements ...string) http.Header {
		t.Helper()
		got, h, body := fromPage(t, s, http.MethodOptions, path, headers)
		require.Equal(t, status, got, body)
		for _, e := range append(elements, message) {
			require.Contains(t, body, e)
		}
		return h
	}
	check("/pages/k", asks("PUT", "Origin", ""), 400, noOrigin)
	check("/none/k", nil, 403, "CORSResponse: Bucket not found", "<Method>OPTIONS</Method>", "<ResourceType>BUCKET</ResourceType>", "AccessForbidden")
	check("/pages/k", asks("PUT"), 403, "CORSResponse: CORS is not enabled for this bucket.", "<Method>PUT</Method>", "<ResourceType>BUCKET</ResourceType>")

	require.NoError(t, setCORS(t, c, "pages",
		types.CORSRule{AllowedOrigins: []string{"https://localhost:4200"}, AllowedMethods: []string{"GET", "PUT"}, AllowedHeaders: []string{"X-Amz-Meta-*", "content-type"}, MaxAgeSeconds: aws.Int32(3000)},
		types.CORSRule{AllowedOrigins: []string{"http://*.origin.com"}, AllowedMethods: []string{"HEAD"}},
		types.CORSRule{AllowedOrigins: []string{"*"}, AllowedMethods: []string{"HEAD"}, ExposeHeaders: []string{"x-amz-id-2", "ETag"}}))
	h := check("/pages/k?versionId=x&X-Amz-Signature=y", asks("PUT", "Access-Control-Request-Headers", "Content-Type, x-amz-meta-a"), 200, "")
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://localhost:4200", "Access-Control-Allow-Methods": "GET, PUT", "Access-Control-Allow-Credentials": "true",
		"Access-Control-Allow-Headers": "content-type, x-amz-meta-a", "Access-Control-Max-Age": "3000", "Access-Control-Expose-Headers": "", "Content-Length": "0",
		"Vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
	} {
		require.Equal(t, want, h.Get(name), name)
	}
	h = check("/pages", asks("HEAD"), 200, "")
	require.Equal(t, "*", h.Get("Access-Control-Allow-Origin"))
	require.Empty(t, h.Get("Access-Control-Allow-Credentials"))
	require.Equal(t, "x-amz-id-2, ETag", h.Get("Access-Control-Expose-Headers"))
	h = check("/pages", asks("HEAD", "Origin", "http://test.origin.com"), 200, "")
	require.Equal(t, "http://test.origin.com", h.Get("Access-Control-Allow-Origin"))
	check("/pages/k", asks("DELETE"), 403, refused, "<Method>DELETE</Method>", "<ResourceType>OBJECT</ResourceType>")
	check("/pages", asks("GET", "Access-Control-Request-Headers", "x-amz-acl"), 403, refused, "<ResourceType>BUCKET</ResourceType>")
	check("/pages", asks("GET", "Origin", "http://localhost:4200"), 403, refused)
}

// A page reaches the buckets whose rules name it, and nothing else.
func TestCORS_Requests(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "pages")
	makeBucket(t, c, "private")
	put(t, c, "pages", "k", "hello")
	signed := map[string]string{"Authorization": signature("alice", "us-east-1", "s3"), "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}
	with := func(more ...string) map[string]string {
		h := map[string]string{}
		for k, v := range signed {
			h[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return h
	}
	status, _, body := fromPage(t, s, http.MethodGet, "/pages/k", signed)
	require.Equal(t, 403, status)
	require.Contains(t, body, "localaws: refusing a request of a web page")

	require.NoError(t, setCORS(t, c, "pages", types.CORSRule{AllowedOrigins: []string{"https://localhost:4200"}, AllowedMethods: []string{"GET", "PUT", "POST"}, MaxAgeSeconds: aws.Int32(0)}))
	status, h, body := fromPage(t, s, http.MethodGet, "/pages/k", signed)
	require.Equal(t, 200, status)
	require.Equal(t, "hello", body)
	require.Equal(t, "https://localhost:4200", h.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "0", h.Get("Access-Control-Max-Age"))
	status, h, _ = fromPage(t, s, http.MethodGet, "/pages/none", signed)
	require.Equal(t, 404, status)
	require.Equal(t, "https://localhost:4200", h.Get("Access-Control-Allow-Origin"), "a page can read errors, too")

	for name, row := range map[string]struct {
		method, path string
		headers      map[string]string
	}{
		"another bucket":        {"GET", "/private", signed},
		"another origin":        {"GET", "/pages/k", with("Origin", "https://example.com")},
		"no origin to speak of": {"GET", "/pages/k", with("Origin", "null")},
		"another method":        {"DELETE", "/pages/k", signed},
		"a copy":                {"PUT", "/pages/copy", with("X-Amz-Copy-Source", "private/k")},
		"the list of buckets":   {"GET", "/", signed},
		"KMS":                   {"POST", "/pages", map[string]string{"Authorization": signature("alice", "us-east-1", "kms"), "X-Amz-Target": "TrentService.ListKeys"}},
		"KMS, unsigned":         {"POST", "/pages", map[string]string{"X-Amz-Target": "TrentService.ListKeys"}},
		"S3 Control":            {"GET", "/pages", with("X-Amz-Account-Id", DefaultAccount)},
		"the admin endpoint":    {"GET", adminPath + "calls", nil},
		"the admin's preflight": {"OPTIONS", adminPath + "calls", nil},
	} {
		status, h, body := fromPage(t, s, row.method, row.path, row.headers)
		require.Equal(t, 403, status, name)
		require.Contains(t, body, "localaws: refusing", name)
		require.Empty(t, h.Get("Access-Control-Allow-Origin"), name)
	}
	h2, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/pages/k", nil)
	require.NoError(t, err)
	h2.Host = "pages.example.com" // a name of the page's own that resolves to loopback
	h2.Header.Set("Origin", "https://localhost:4200")
	out, err := httpClient(t, s).Do(h2)
	require.NoError(t, err)
	require.NoError(t, out.Body.Close())
	require.Equal(t, 403, out.StatusCode)
}

func TestCORS_Configuration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newServer(t, func(o *Options) { o.Dir = dir })
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "rules")
	rule := types.CORSRule{ID: aws.String("one"), AllowedOrigins: []string{"https://a", ""}, AllowedMethods: []string{"GET", "DELETE"},
		AllowedHeaders: []string{"x-AMZ-server-SIDE-encryption"}, ExposeHeaders: []string{"ETag"}, MaxAgeSeconds: aws.Int32(3000)}
	require.NoError(t, setCORS(t, c, "rules", rule))
	require.NoError(t, s.Close())
	s = newServer(t, func(o *Options) { o.Dir = dir })
	c = s3Client(t, s, "alice", noRetries)
	out, err := c.GetBucketCors(t.Context(), &s3.GetBucketCorsInput{Bucket: aws.String("rules")})
	require.NoError(t, err)
	require.Equal(t, []types.CORSRule{rule}, out.CORSRules)
	for _, row := range []struct {
		rule          types.CORSRule
		code, message string
	}{
		{types.CORSRule{AllowedOrigins: []string{"*"}, AllowedMethods: []string{"MYMETHOD"}}, "InvalidRequest", "Found unsupported HTTP method in CORS config. Unsupported method is MYMETHOD"},
		{types.CORSRule{AllowedOrigins: []string{"*.*"}, AllowedMethods: []string{"GET"}}, "InvalidRequest", `AllowedOrigin "*.*" can not have more than one wildcard.`},
		{types.CORSRule{AllowedOrigins: []string{"*"}, AllowedMethods: []string{"GET"}, AllowedHeaders: []string{"*a*"}}, "InvalidRequest", `AllowedHeader "*a*"`},
		{types.CORSRule{AllowedOrigins: []string{"*"}, AllowedMethods: []string{"GET"}, ExposeHeaders: []string{"x-*"}}, "InvalidRequest", `ExposeHeader "x-*"`},
		{types.CORSRule{AllowedOrigins: []string{}, AllowedMethods: []string{"GET"}}, "MalformedXML", ""},
	} {
		err := setCORS(t, c, "rules", row.rule)
		requireCode(t, err, row.code)
		require.ErrorContains(t, err, row.message)
	}
	requireCode(t, setCORS(t, c, "rules", make([]types.CORSRule, 0)...), "MalformedXML")
	for range 2 {
		_, err = c.DeleteBucketCors(t.Context(), &s3.DeleteBucketCorsInput{Bucket: aws.String("rules")})
		require.NoError(t, err)
	}
	_, err = c.GetBucketCors(t.Context(), &s3.GetBucketCorsInput{Bucket: aws.String("rules")})
	requireCode(t, err, "NoSuchCORSConfiguration")
}

func TestBucket_AccelerationPaymentAndACLs(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "plain")
	makeBucket(t, c, "with.dots")
	accelerate := func(bucket string, status types.BucketAccelerateStatus) error {
		_, err := c.PutBucketAccelerateConfiguration(t.Context(), &s3.PutBucketAccelerateConfigurationInput{Bucket: &bucket, AccelerateConfiguration: &types.AccelerateConfiguration{Status: status}})
		return err
	}
	for _, status := range []types.BucketAccelerateStatus{"Enabled", "Suspended"} {
		require.NoError(t, accelerate("plain", status))
		out, err := c.GetBucketAccelerateConfiguration(t.Context(), &s3.GetBucketAccelerateConfigurationInput{Bucket: aws.String("plain")})
		require.NoError(t, err)
		require.Equal(t, status, out.Status)
	}
	requireCode(t, accelerate("plain", "enabled"), "MalformedXML")
	require.ErrorContains(t, accelerate("with.dots", "Enabled"), "S3 Transfer Acceleration is not supported for buckets with periods (.) in their names")

	_, err := c.PutBucketRequestPayment(t.Context(), &s3.PutBucketRequestPaymentInput{Bucket: aws.String("plain"), RequestPaymentConfiguration: &types.RequestPaymentConfiguration{Payer: types.PayerBucketOwner}})
	require.NoError(t, err)

	put(t, c, "plain", "k", "x")
	acl := func(acl types.ObjectCannedACL) error {
		_, err := c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{Bucket: aws.String("plain"), Key: aws.String("k"), ACL: acl})
		return err
	}
	requireCode(t, acl("private"), "AccessControlListNotSupported")
	_, err = c.PutBucketAcl(t.Context(), &s3.PutBucketAclInput{Bucket: aws.String("plain"), ACL: "private"})
	requireCode(t, err, "AccessControlListNotSupported")
	_, err = c.PutBucketOwnershipControls(t.Context(), &s3.PutBucketOwnershipControlsInput{Bucket: aws.String("plain"),
		OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred}}}})
	require.NoError(t, err)
	require.NoError(t, acl("private"))
	requireCode(t, acl("public-read"), "NotImplemented")
	_, err = c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{Bucket: aws.String("plain"), Key: aws.String("none"), ACL: "private"})
	requireCode(t, err, "NoSuchKey")
}
