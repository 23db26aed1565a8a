package localaws

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

// postFile submits a form with a file as a browser does.
func postFile(t *testing.T, s *Server, target string, fields map[string]string, content string) (*http.Response, string) {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for name, value := range fields {
		require.NoError(t, form.WriteField(name, value))
	}
	if content != "" {
		file, err := form.CreateFormFile("file", "C:/photos/cat.txt")
		require.NoError(t, err)
		_, err = io.WriteString(file, content)
		require.NoError(t, err)
	}
	require.NoError(t, form.WriteField("submit", "Upload")) // behind the file: ignored
	require.NoError(t, form.Close())
	h, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, &b)
	require.NoError(t, err)
	h.Header.Set("Content-Type", form.FormDataContentType())
	client := httpClient(t, s)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	out, err := client.Do(h)
	require.NoError(t, err)
	body, err := io.ReadAll(out.Body)
	require.NoError(t, err)
	require.NoError(t, out.Body.Close())
	return out, string(body)
}

// signedForm is the form that the unmodified SDK signs.
func signedForm(t *testing.T, s *Server, user, key string, conditions ...any) (target string, fields map[string]string) {
	t.Helper()
	out, err := s3.NewPresignClient(s3Client(t, s, user)).PresignPostObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("forms"), Key: &key},
		func(o *s3.PresignPostOptions) { o.Conditions, o.Expires = conditions, time.Hour })
	require.NoError(t, err)
	return s.URL() + "/forms", out.Values
}

func TestPostObject_StoresWhatItsPolicyAllows(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	_, arn := makeKey(t, s)
	makeBucket(t, c, "forms")
	encryptWith(t, c, "forms", arn, false)
	target, fields := signedForm(t, s, "alice", "up/${filename}", []any{"starts-with", "$Content-Type", "text/"}, []any{"content-length-range", 1, 10},
		map[string]string{"x-amz-meta-colour": "blue"}, []any{"starts-with", "$success_action_status", ""}, []any{"starts-with", "$tagging", "<Tagging>"}, []any{"eq", "$other", "x"})
	fields["Content-Type"], fields["x-amz-meta-colour"], fields["success_action_status"], fields["other"], fields["x-ignore-this"] = "text/plain", "blue", "201", "x", "y"
	fields["tagging"] = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
	out, body := postFile(t, s, target, fields, "hello")
	require.Equal(t, http.StatusCreated, out.StatusCode, body)
	require.Contains(t, body, "<PostResponse><Location>"+s.URL()+"/forms/up/cat.txt</Location><Bucket>forms</Bucket><Key>up/cat.txt</Key><ETag>")
	require.Equal(t, arn, out.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"))
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("forms"), Key: aws.String("up/cat.txt")})
	require.NoError(t, err)
	require.Equal(t, "text/plain", *head.ContentType)
	require.Equal(t, map[string]string{"colour": "blue"}, head.Metadata)
	require.EqualValues(t, 1, *head.TagCount)
	require.Equal(t, out.Header.Get("Etag"), *head.ETag)
	require.Equal(t, "hello", get(t, c, "forms", "up/cat.txt"))
	uses := keyUses(t, s)
	require.Equal(t, "alice", uses[0].User, "KMS is called for the caller who signed the form")

	for name, row := range map[string]struct {
		change        func(f map[string]string)
		content       string
		status        int
		code, message string
	}{
		"a longer file":       {func(map[string]string) {}, "hello kms day1", 400, "EntityTooLarge", "<MaxSizeAllowed>10</MaxSizeAllowed>"},
		"no file":             {func(map[string]string) {}, "", 400, "InvalidArgument", "POST requires exactly one file upload per request."},
		"another type":        {func(f map[string]string) { f["Content-Type"] = "image/png" }, "x", 403, "AccessDenied", `Invalid according to Policy: Policy Condition failed: [&quot;starts-with&quot;, &quot;$content-type&quot;, &quot;text/&quot;]`},
		"one of another type": {func(f map[string]string) { f["Content-Type"] = "text/plain,image/png" }, "x", 403, "AccessDenied", "Policy Condition failed"},
		"another value":       {func(f map[string]string) { f["x-amz-meta-colour"] = "red" }, "x", 403, "AccessDenied", "Policy Condition failed"},
		"a value is missing":  {func(f map[string]string) { delete(f, "x-amz-meta-colour") }, "x", 403, "AccessDenied", "Policy Condition failed"},
		"another key":         {func(f map[string]string) { f["key"] = "elsewhere" }, "x", 403, "AccessDenied", "Policy Condition failed"},
		"more than it covers": {func(f map[string]string) { f["acl"], f["x-amz-storage-class"] = "private", "STANDARD_IA" }, "x", 403, "AccessDenied", "Extra input fields: acl, x-amz-storage-class"},
		"no key":              {func(f map[string]string) { delete(f, "key") }, "x", 400, "InvalidArgument", "Bucket POST must contain a field named 'key'."},
		"no policy":           {func(f map[string]string) { delete(f, "policy") }, "x", 400, "InvalidArgument", "Bucket POST must contain a field named 'policy'."},
		"no signature":        {func(f map[string]string) { delete(f, "X-Amz-Signature") }, "x", 400, "InvalidArgument", "Bucket POST must contain a field named 'X-Amz-Signature'."},
		"no field of signatures": {func(f map[string]string) { // recorded: localstack test_s3.py, test_post_request_missing_fields
			for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature"} {
				delete(f, name)
			}
		}, "x", 403, "AccessDenied", "Access Denied"},
		"a signature of version 2": {func(f map[string]string) { // its names, and none of version 4
			clear(f)
			f["key"], f["policy"], f["signature"] = "k", "e30=", "x"
		}, "x", 400, "InvalidRequest", "Please use AWS4-HMAC-SHA256."},
		"no credential":         {func(f map[string]string) { delete(f, "X-Amz-Credential") }, "x", 400, "InvalidArgument", "X-Amz-Credential"},
		"no JSON":               {func(f map[string]string) { f["policy"] = "e" }, "x", 400, "InvalidPolicyDocument", "Invalid Policy: Invalid JSON."},
		"no expiration":         {policyOf(`{"conditions":[]}`), "x", 400, "InvalidPolicyDocument", "Invalid Policy: Policy missing expiration."},
		"no conditions":         {policyOf(`{"expiration":"2999-01-01T00:00:00Z"}`), "x", 400, "InvalidPolicyDocument", "Invalid Policy: Policy missing conditions."},
		"an unknown condition":  {policyOf(`{"expiration":"2999-01-01T00:00:00Z","conditions":[["ends-with","$key","x"]]}`), "x", 400, "InvalidPolicyDocument", "Invalid Condition"},
		"expired":               {policyOf(`{"expiration":"2001-01-01T00:00:00Z","conditions":[]}`), "x", 403, "AccessDenied", "Invalid according to Policy: Policy expired."},
		"fields that are large": {func(f map[string]string) { f["x-ignore-this"] = strings.Repeat("x", 21<<10) }, "x", 400, "MaxPostPreDataLengthExceeded", ""},
		"SigV2":                 {func(f map[string]string) { f["AWSAccessKeyId"] = "a" }, "x", 400, "InvalidRequest", "Please use AWS4-HMAC-SHA256."},
	} {
		changed := map[string]string{}
		for k, v := range fields {
			changed[k] = v
		}
		row.change(changed)
		out, body := postFile(t, s, target, changed, row.content)
		require.Equal(t, row.status, out.StatusCode, name+": "+body)
		require.Equal(t, row.code, errorCode(t, body), name)
		require.Contains(t, body, row.message, name)
	}
	list, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("forms")})
	require.NoError(t, err)
	require.Len(t, list.Contents, 1, "a refused form has left an object")
}

// policyOf replaces the policy of a form.
func policyOf(policy string) func(map[string]string) {
	return func(f map[string]string) { f["policy"] = base64.StdEncoding.EncodeToString([]byte(policy)) }
}

func TestPostObject_AnswersAndPermissions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "forms")
	target, fields := signedForm(t, s, "alice", "k")
	out, body := postFile(t, s, target, fields, "x")
	require.Equal(t, http.StatusNoContent, out.StatusCode, body)
	require.Equal(t, s.URL()+"/forms/k", out.Header.Get("Location"))

	target, fields = signedForm(t, s, "alice", "k", []any{"starts-with", "$success_action_redirect", "https://example.com/"})
	fields["success_action_redirect"] = "https://example.com/done?a=b"
	out, _ = postFile(t, s, target, fields, "x")
	require.Equal(t, http.StatusSeeOther, out.StatusCode)
	to, err := url.Parse(out.Header.Get("Location"))
	require.NoError(t, err)
	require.Equal(t, url.Values{"a": {"b"}, "bucket": {"forms"}, "key": {"k"}, "etag": {out.Header.Get("Etag")}}, to.Query())

	// The signer needs the permission, and policies see an upload by a form.
	target, fields = signedForm(t, s, "bob", "k")
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::123456789012:user/bob", `{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}`))
	_, body = postFile(t, s, target, fields, "x")
	require.Equal(t, "AccessDenied", errorCode(t, body))
	require.Contains(t, body, "s3:PutObject")
	target, fields = signedForm(t, s, "alice", "k")
	setPolicy(t, c, "forms", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"BUCKET/*","Condition":{"StringEquals":{"s3:authType":"POST"}}}}`)
	_, body = postFile(t, s, target, fields, "x")
	require.Contains(t, body, "explicit deny in a resource-based policy")
	put(t, c, "forms", "k", "y")
	_, body = postFile(t, s, target, map[string]string{"key": "anonymous"}, "x")
	require.Equal(t, "AccessDenied", errorCode(t, body))

	// A page reaches a bucket by a form where its CORS rules allow it.
	status, _, _ := fromPage(t, s, http.MethodPost, "/forms", map[string]string{"Content-Type": "multipart/form-data; boundary=b"})
	require.Equal(t, 403, status)
	require.NoError(t, setCORS(t, c, "forms", types.CORSRule{AllowedOrigins: []string{"https://localhost:4200"}, AllowedMethods: []string{"POST"}}))
	status, h, body := fromPage(t, s, http.MethodPost, "/forms", map[string]string{"Content-Type": "multipart/form-data; boundary=b"})
	require.Equal(t, 400, status, body)
	require.Equal(t, "https://localhost:4200", h.Get("Access-Control-Allow-Origin"))
	status, _ = send(t, s, http.MethodPost, "/forms", "x", map[string]string{"Content-Type": "text/plain"})
	require.Equal(t, http.StatusPreconditionFailed, status)
}
