package check

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/encoding/httpbinding"
)

// heads sends HeadObject for many objects. The SDK takes most of a core for 7,000
// calls a second, almost all of it in its request pipeline. This sends the same
// request with the SDK's endpoint, signer and HTTP client, and leaves to the SDK
// every call that S3 does not answer with 200: retries, errors and their causes.
type heads struct {
	owner       string
	base        *url.URL // of the bucket; the path ends with a slash
	region      string   // of the signature
	signer      *v4.Signer
	credentials aws.CredentialsProvider
	client      aws.HTTPClient
}

// emptySHA256 is the hash of an empty body.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// newHeads takes the endpoint and the scope of the signature from a request that
// the SDK signs and does not send. It returns nil where they have another form
// than expected: the SDK sends every call then.
func (r *run) newHeads(ctx context.Context) *heads {
	owner, err := r.owner()
	if err != nil {
		return nil
	}
	const name = "k"
	p, err := s3.NewPresignClient(r.bucket()).PresignHeadObject(ctx, &s3.HeadObjectInput{Bucket: &r.cfg.Bucket, Key: aws.String(name)})
	if err != nil {
		return nil
	}
	u, err := url.Parse(p.URL)
	if err != nil {
		return nil
	}
	q := u.Query()
	scope := strings.Split(q.Get("X-Amz-Credential"), "/") // KEY/DATE/REGION/s3/aws4_request
	path, ok := strings.CutSuffix(u.Path, "/"+name)
	if !ok || u.RawPath != "" || q.Get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" || len(scope) != 5 || scope[3] != "s3" {
		return nil
	}
	return &heads{
		owner: owner, base: &url.URL{Scheme: u.Scheme, Host: u.Host, Path: path + "/"}, region: scope[2],
		signer:      v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }),
		credentials: r.cfg.AWS.Credentials, client: r.cfg.AWS.HTTPClient,
	}
}

// head returns what S3 answered, without its metadata. It returns false for
// everything but a 200: the caller asks the SDK then.
func (x *heads) head(ctx context.Context, v version) (*s3.HeadObjectOutput, bool) {
	u := *x.base
	u.Path, u.RawPath = u.Path+v.key, u.Path+httpbinding.EscapePath(v.key, false)
	if v.id != "" {
		u.RawQuery = url.Values{"versionId": {v.id}}.Encode()
	}
	h := &http.Request{
		Method: http.MethodHead, URL: &u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"X-Amz-Content-Sha256": {emptySHA256}, "X-Amz-Expected-Bucket-Owner": {x.owner}},
	}
	h = h.WithContext(ctx)
	credentials, err := x.credentials.Retrieve(ctx)
	if err != nil {
		return nil, false
	}
	if err := x.signer.SignHTTP(ctx, credentials, h, emptySHA256, "s3", x.region, time.Now()); err != nil {
		return nil, false
	}
	resp, err := x.client.Do(h)
	if err != nil {
		return nil, false
	}
	_ = resp.Body.Close() // a response to HEAD has none
	if resp.StatusCode != http.StatusOK {
		return nil, false
	}
	out := &s3.HeadObjectOutput{
		ServerSideEncryption: types.ServerSideEncryption(resp.Header.Get("X-Amz-Server-Side-Encryption")),
		SSEKMSKeyId:          header(resp, "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"),
		SSECustomerAlgorithm: header(resp, "X-Amz-Server-Side-Encryption-Customer-Algorithm"),
	}
	if t, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
		out.LastModified = &t
	}
	return out, true
}

func header(resp *http.Response, name string) *string {
	if v := resp.Header.Get(name); v != "" {
		return &v
	}
	return nil
}
