package localaws

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Tests of what the services share: requests, faults, the admin pages, TLS and
// the state on disk. What a kill leaves is in kill_test.go.

// signature is an Authorization header for a service, as far as localaws reads
// it.
func signature(accessKey, region, service string) string {
	return "AWS4-HMAC-SHA256 Credential=" + accessKey + "/20260301/" + region + "/" + service + "/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"
}

// send sends a request that no SDK would, and returns status and body.
func send(t testing.TB, s *Server, method, path, body string, headers map[string]string) (int, string) {
	t.Helper()
	h, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, strings.NewReader(body))
	require.NoError(t, err)
	for k, v := range headers {
		h.Header.Set(k, v)
	}
	out, err := httpClient(t, s).Do(h)
	require.NoError(t, err)
	defer func() { require.NoError(t, out.Body.Close()) }()
	b, err := io.ReadAll(out.Body)
	require.NoError(t, err)
	return out.StatusCode, string(b)
}

// httpClient trusts s, and finds it under every name below localhost.
func httpClient(t testing.TB, s *Server) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(s.CAFile())
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(pem))
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(s.URL(), "https://"))
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// errorCode reads an error in any of the services' shapes.
func errorCode(t testing.TB, body string) string {
	t.Helper()
	if strings.HasPrefix(body, "{") {
		var e struct {
			Type string `json:"__type"`
		}
		require.NoError(t, json.Unmarshal([]byte(body), &e), body)
		return e.Type
	}
	var e struct {
		XMLName xml.Name
		Code    string `xml:"Code"`                 // S3
		Query   string `xml:"Error>Code"`           // STS
		EC2     string `xml:"Errors>Error>Code"`    // EC2
		ID      string `xml:"RequestId"`            // S3, STS
		EC2ID   string `xml:"RequestID"`            // EC2
		Type    string `xml:"Error>Type"`           // STS
		Text    string `xml:"Message"`              // S3
		Texts   string `xml:"Error>Message"`        // STS
		EC2Text string `xml:"Errors>Error>Message"` // EC2
	}
	require.NoError(t, xml.Unmarshal([]byte(body), &e), body)
	require.NotEmpty(t, e.ID+e.EC2ID, body)
	require.NotEmpty(t, e.Text+e.Texts+e.EC2Text, body)
	return e.Code + e.Query + e.EC2
}

func TestServeHTTP_Refuses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const form = "application/x-www-form-urlencoded"
	type headers = map[string]string
	status, body := send(t, s, "PUT", "/bucket", "", headers{"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD", "Authorization": signature("alice", "us-east-1", "s3")})
	require.Equal(t, http.StatusOK, status, body)
	kms := func(auth string) headers {
		return headers{"X-Amz-Target": "TrentService.ListKeys", "Authorization": auth}
	}
	for _, tc := range []struct {
		name, method, path, body string
		headers                  headers
		status                   int
		code, shape              string
	}{
		{"KMS unsigned", "POST", "/", "{}", headers{"X-Amz-Target": "TrentService.ListKeys"}, 400, "MissingAuthenticationTokenException", "{"},
		{"CloudTrail unsigned", "POST", "/", "{}", headers{"X-Amz-Target": "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents"}, 400, "MissingAuthenticationTokenException", "{"},
		{"EC2 unsigned", "POST", "/", "Action=DescribeRegions&Version=2016-11-15", headers{"Content-Type": form}, 401, "AuthFailure", "<Response>"},
		{"STS unsigned", "POST", "/", "Action=GetCallerIdentity&Version=2011-06-15", headers{"Content-Type": form}, 403, "MissingAuthenticationToken", "<ErrorResponse "},
		{"S3 unsigned", "GET", "/", "", nil, 403, "AccessDenied", "<Error>"},
		{"KMS operation", "POST", "/", "{}", headers{"X-Amz-Target": "TrentService.CreateCustomKeyStore", "Authorization": signature("alice", "us-east-1", "kms")}, 501, "NotImplemented", "{"},
		{"CloudTrail operation", "POST", "/", "{}", headers{"X-Amz-Target": "CloudTrail_20131101.CreateEventDataStore", "Authorization": signature("alice", "us-east-1", "cloudtrail")}, 501, "NotImplemented", "{"},
		{"EC2 operation", "POST", "/", "Action=RunInstances", headers{"Content-Type": form, "Authorization": signature("alice", "us-east-1", "ec2")}, 501, "NotImplemented", "<Response>"},
		{"EC2 without an operation", "POST", "/", "", headers{"Authorization": signature("alice", "us-east-1", "ec2")}, 501, "NotImplemented", "<Response>"},
		{"STS operation", "POST", "/", "Action=GetFederationToken", headers{"Content-Type": form, "Authorization": signature("alice", "us-east-1", "sts")}, 501, "NotImplemented", "<ErrorResponse "},
		{"S3 operation", "GET", "/bucket?inventory", "", headers{"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD", "Authorization": signature("alice", "us-east-1", "s3")}, 501, "NotImplemented", "<Error>"},
		{"JSON service", "POST", "/", "{}", headers{"X-Amz-Target": "DynamoDB_20120810.ListTables", "Authorization": signature("alice", "us-east-1", "dynamodb")}, 501, "NotImplemented", "{"},
		{"query service", "POST", "/", "Action=ListUsers&Version=2010-05-08", headers{"Content-Type": form, "Authorization": signature("alice", "us-east-1", "iam")}, 501, "NotImplemented", "<ErrorResponse "},
		{"REST service", "GET", "/2015-03-31/functions", "", headers{"Authorization": signature("alice", "us-east-1", "lambda")}, 501, "NotImplemented", "<Error>"},
		{"another scheme", "POST", "/", "{}", kms("Basic YTpi"), 400, "InvalidRequest", "{"},
		{"version 2", "POST", "/", "{}", kms("AWS alice:signature"), 400, "InvalidRequest", "{"},
		{"no fields", "POST", "/", "{}", kms("AWS4-HMAC-SHA256 "), 400, "IncompleteSignature", "{"},
		{"no signature", "POST", "/", "{}", kms("AWS4-HMAC-SHA256 Credential=a/20260301/us-east-1/kms/aws4_request, SignedHeaders=host"), 400, "IncompleteSignature", "{"},
		{"no scope", "POST", "/", "{}", kms("AWS4-HMAC-SHA256 Credential=alice, SignedHeaders=host, Signature=00"), 400, "IncompleteSignature", "{"},
		{"another terminator", "POST", "/", "{}", kms("AWS4-HMAC-SHA256 Credential=a/20260301/us-east-1/kms/aws5_request, SignedHeaders=host, Signature=00"), 400, "IncompleteSignature", "{"},
		{"no service", "POST", "/", "{}", kms("AWS4-HMAC-SHA256 Credential=a/20260301/us-east-1//aws4_request, SignedHeaders=host, Signature=00"), 400, "IncompleteSignature", "{"},
		{"strange access key", "POST", "/", "{}", kms(signature("a b", "us-east-1", "kms")), 400, "IncompleteSignature", "{"},
		{"unknown Region", "POST", "/", "{}", kms(signature("alice", "us-nowhere-1", "kms")), 400, "UnrecognizedClientException", "{"},
		{"not JSON", "POST", "/", "{", headers{"X-Amz-Target": "CloudTrail_20131101.LookupEvents", "Authorization": signature("alice", "us-east-1", "cloudtrail")}, 400, "SerializationException", "{"},
		{"wrong type", "POST", "/", `{"MaxResults":"ten"}`, headers{"X-Amz-Target": "CloudTrail_20131101.LookupEvents", "Authorization": signature("alice", "us-east-1", "cloudtrail")}, 400, "SerializationException", "{"},
		{"large body", "POST", "/", strings.Repeat(" ", wire.MaxBody+1), headers{"X-Amz-Target": "CloudTrail_20131101.LookupEvents", "Authorization": signature("alice", "us-east-1", "cloudtrail")}, 400, "SerializationException", "{"},
		{"large form", "POST", "/", "Action=DescribeRegions&x=" + strings.Repeat("y", wire.MaxBody), headers{"Content-Type": form, "Authorization": signature("alice", "us-east-1", "ec2")}, 501, "NotImplemented", "<Response>"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			status, body := send(t, s, tc.method, tc.path, tc.body, tc.headers)
			require.Equal(t, tc.status, status, body)
			require.Equal(t, tc.code, errorCode(t, body))
			require.True(t, strings.HasPrefix(strings.TrimSpace(strings.TrimPrefix(body, xml.Header)), tc.shape), body)
		})
	}
}

func TestAnswer_APanicIsOneInternalFailure(t *testing.T) { //nolint:paralleltest // the standard logger is shared
	var logged bytes.Buffer
	log.SetOutput(&logged)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	var calls []Call
	s := newServer(t, func(o *Options) { o.Log = func(c Call) { calls = append(calls, c) } })
	from := func(w http.ResponseWriter) *wire.Request {
		return &wire.Request{W: &wire.Writer{ResponseWriter: w}, HTTP: httptest.NewRequest(http.MethodPost, "http://localhost/", nil), Service: "kms"}
	}

	w := httptest.NewRecorder()
	s.answer(from(w), fakeService{"CreateKey", func(*wire.Request) { panic("oops") }}, nil)
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Equal(t, "InternalFailure", errorCode(t, w.Body.String()))
	require.Contains(t, logged.String(), "bug: CreateKey of kms: oops")
	require.Contains(t, logged.String(), "core_test.go", "the stack says where")
	require.Equal(t, "InternalFailure", calls[0].Error)

	half := fakeService{"CreateKey", func(r *wire.Request) { _, _ = r.W.Write([]byte("half")); panic("oops") }}
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { s.answer(from(httptest.NewRecorder()), half, nil) })
	logged.Reset()
	dropped := fakeService{"CreateKey", func(*wire.Request) { wire.Drop() }}
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { s.answer(from(httptest.NewRecorder()), dropped, nil) })
	require.Empty(t, logged.String(), "a dropped connection is no bug")
	require.Zero(t, calls[1].Status)
	require.Zero(t, calls[2].Status)
}

// What a service records on the way is on disk before the client hears.
func TestAnswer_WaitsForWhatIsPending(t *testing.T) { //nolint:paralleltest // the standard logger is shared
	var logged bytes.Buffer
	log.SetOutput(&logged)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	s := newServer(t)
	ask := func(serve func(*wire.Request)) (int, any) {
		w := httptest.NewRecorder()
		r := &wire.Request{W: &wire.Writer{ResponseWriter: w}, HTTP: httptest.NewRequest(http.MethodPut, "http://localhost/", nil), Service: "s3"}
		var dropped any
		func() {
			defer func() { dropped = recover() }()
			s.answer(r, fakeService{"PutObject", serve}, nil)
		}()
		return w.Body.Len(), dropped
	}
	var written atomic.Bool
	n, dropped := ask(func(r *wire.Request) {
		release := make(chan struct{})
		r.W.Pending.Go(func() error { <-release; written.Store(true); return nil })
		time.AfterFunc(10*time.Millisecond, func() { close(release) })
		_, err := r.W.Write([]byte("done"))
		require.NoError(t, err)
		require.True(t, written.Load())
	})
	require.Equal(t, len("done"), n)
	require.Nil(t, dropped)

	n, dropped = ask(func(r *wire.Request) {
		r.W.Pending.Go(func() error { return errors.New("the disk is full") })
		_, _ = r.W.Write([]byte("done"))
	})
	require.Zero(t, n, "nothing is acknowledged")
	require.Equal(t, http.ErrAbortHandler, dropped)
	require.Contains(t, logged.String(), "the disk is full")
}

// quickRetries are the SDK's own, without the waiting.
func quickRetries(o *config.LoadOptions) error {
	o.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = time.Millisecond })
	}
	return nil
}

func TestFaults_SDKRetriesSurvive(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		fault Fault
	}{
		{"throttled", Fault{Status: 400, Code: "Throttling", Count: 2}},
		{"server error", Fault{Status: 500, Code: "InternalFailure", Count: 2}},
		{"unavailable", Fault{Status: 503, Code: "ServiceUnavailable", Count: 2}},
		{"slow", Fault{Delay: time.Millisecond}},
		{"dropped", Fault{Drop: true, Count: 2}},
		{"answer dropped", Fault{DropAnswer: true, Count: 2}},
		{"slow, then dropped", Fault{Delay: time.Millisecond, Drop: true, Count: 2}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			tc.fault.Service, tc.fault.Operation = "sts", "GetCallerIdentity"
			s.Inject(tc.fault)
			who, err := sts.NewFromConfig(awsConfig(t, s, "alice", quickRetries)).GetCallerIdentity(t.Context(), nil)
			require.NoError(t, err)
			require.Equal(t, DefaultAccount, *who.Account)
			require.Equal(t, []CallCount{{"sts", "GetCallerIdentity", 1 + tc.fault.Count}}, s.Calls())
		})
	}
}

func TestFaults_AreToldApart(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Inject(Fault{Service: "kms", Status: 500, Code: "KMSInternalException"})
	s.Inject(Fault{Service: "sts", Operation: "AssumeRole", Status: 500, Code: "InternalFailure"})
	s.Inject(Fault{Service: "sts", Status: 400, Code: "First", Skip: 1, Count: 1})
	s.Inject(Fault{Status: 400, Code: "Second", Count: 1, Message: "told so"})
	call := func() error {
		_, err := sts.NewFromConfig(awsConfig(t, s, "alice", noRetries)).GetCallerIdentity(t.Context(), nil)
		return err
	}
	err := call()
	requireCode(t, err, "Second")
	require.ErrorContains(t, err, "told so")
	requireCode(t, call(), "First")
	require.NoError(t, call())
	s.Inject(Fault{Status: 500, Code: "InternalFailure"})
	require.Error(t, call())
	require.Error(t, call(), "without a count it meets every call")
	s.ClearFaults()
	require.NoError(t, call())
}

func TestFaults_CountsAreExact(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Inject(Fault{Service: "sts", Skip: 7, Count: 11, Status: 503, Code: "ServiceUnavailable"})
	s.Inject(Fault{Service: "sts", Count: 5, Drop: true})
	var refused, dropped atomic.Int64
	client := httpClient(t, s)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				h, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(), strings.NewReader("Action=GetCallerIdentity"))
				if err != nil {
					t.Error(err)
					return
				}
				h.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				h.Header.Set("Authorization", signature("alice", "us-east-1", "sts"))
				out, err := client.Do(h)
				if err != nil {
					dropped.Add(1)
					continue
				}
				if out.StatusCode == http.StatusServiceUnavailable {
					refused.Add(1)
				}
				_ = out.Body.Close()
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 11, refused.Load())
	require.EqualValues(t, 5, dropped.Load())
	require.Equal(t, []CallCount{{"sts", "GetCallerIdentity", 80}}, s.Calls())
	require.Empty(t, s.faults.armed)
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	call := func() error {
		_, err := sts.NewFromConfig(awsConfig(t, s, "alice", noRetries)).GetCallerIdentity(t.Context(), nil)
		return err
	}
	status, body := send(t, s, "POST", "/_localaws/faults", `{"service":"sts","status":403,"code":"AccessDenied"}`, nil)
	require.Equal(t, http.StatusOK, status, body)
	requireCode(t, call(), "AccessDenied")
	status, _ = send(t, s, "DELETE", "/_localaws/faults", "", nil)
	require.Equal(t, http.StatusOK, status)
	require.NoError(t, call())

	status, body = send(t, s, "GET", "/_localaws/calls", "", nil)
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `[{"service":"sts","operation":"GetCallerIdentity","count":2}]`, body)
	status, _ = send(t, s, "DELETE", "/_localaws/calls", "", nil)
	require.Equal(t, http.StatusOK, status)
	_, body = send(t, s, "GET", "/_localaws/calls", "", nil)
	require.JSONEq(t, `[]`, body)

	for _, tc := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"unknown page", "GET", "/_localaws/keys", "", 404},
		{"unknown method", "GET", "/_localaws/faults", "", 404},
		{"not JSON", "POST", "/_localaws/faults", "x", 400},
		{"unknown field", "POST", "/_localaws/faults", `{"drop":true,"color":"red"}`, 400},
		{"a fault that says nothing", "POST", "/_localaws/faults", `{"service":"kms"}`, 400},
		{"a fault that says two things", "POST", "/_localaws/faults", `{"drop":true,"dropAnswer":true}`, 400},
		{"a status that is no error", "POST", "/_localaws/faults", `{"status":200,"code":"OK"}`, 400},
		{"a status without a code", "POST", "/_localaws/faults", `{"status":500}`, 400},
		{"a negative count", "POST", "/_localaws/faults", `{"drop":true,"count":-1}`, 400},
		{"not a policy", "PUT", "/_localaws/policies?principal=arn:aws:iam::123456789012:user/alice", `{"Statement":1}`, 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, body := send(t, s, tc.method, tc.path, tc.body, nil)
			require.Equal(t, tc.status, status, body)
			require.NotEmpty(t, body)
		})
	}
	require.NoError(t, call(), "nothing that was refused is armed")

	status, body = send(t, s, "PUT", "/_localaws/policies?principal=arn:aws:iam::123456789012:user/alice", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"cloudtrail:*","Resource":"*"}]}`, nil)
	require.Equal(t, http.StatusOK, status, body)
	status, body = send(t, s, "POST", "/", "{}", map[string]string{"X-Amz-Target": "CloudTrail_20131101.LookupEvents", "Authorization": signature("alice", "us-east-1", "cloudtrail")})
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, "AccessDeniedException", errorCode(t, body))
}

func TestTLS_Names(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client := httpClient(t, s)
	get := func(host string) error {
		out, err := client.Get("https://" + host + "/_localaws/calls")
		if err == nil {
			err = out.Body.Close()
		}
		return err
	}
	for _, host := range []string{"127.0.0.1", "[::1]", "localhost", "bucket.localhost", "my.dotted.bucket.localhost"} {
		require.NoError(t, get(host), host)
	}
	for _, host := range []string{"example.com", "localhost.example.com", "8.8.8.8"} {
		require.Error(t, get(host), host)
	}
}

// OpenSSL is stricter than Go, and what the AWS CLI uses.
func TestTLS_OpenSSL(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here to try OpenSSL with")
	}
	s := newServer(t)
	const script = `
import socket, ssl, sys
ca, port, name, want = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
c = ssl.create_default_context(cafile=ca)
c.verify_flags |= ssl.VERIFY_X509_STRICT
try:
    with c.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=name) as s:
        got = "trusted"
except ssl.SSLError as e:
    got = "refused"
    print(e)
sys.exit(got != want)
`
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.URL(), "https://"))
	require.NoError(t, err)
	for name, want := range map[string]string{
		"127.0.0.1": "trusted", "localhost": "trusted", "bucket.localhost": "trusted", "my.dotted.bucket.localhost": "trusted",
		"example.com": "refused",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), python, "-c", script, s.CAFile(), port, name, want).CombinedOutput()
			require.NoError(t, err, string(out))
		})
	}
}

func TestAuthority_StaysAndIsPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newServer(t, func(o *Options) { o.Dir = dir })
	first, err := os.ReadFile(s.CAFile())
	require.NoError(t, err)
	key := filepath.Join(dir, "certs", "ca-key.pem")
	info, err := os.Stat(key)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, s.Close())
	s = newServer(t, func(o *Options) { o.Dir = dir })
	second, err := os.ReadFile(s.CAFile())
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.NoError(t, s.Close())

	require.NoError(t, os.WriteFile(key, []byte("damaged"), 0o600))
	_, err = Open(Options{Dir: dir})
	require.ErrorContains(t, err, "remove it to have a new one made")
}

func TestStart_RefusesOtherAddresses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:0"} {
		require.ErrorContains(t, s.Start(addr), "loopback only", addr)
		require.ErrorContains(t, s.StartPlain(addr), "loopback only", addr)
	}
	require.ErrorContains(t, s.Start("127.0.0.1"), "not HOST:PORT")
	require.ErrorContains(t, s.Start(strings.TrimPrefix(s.URL(), "https://")), "address already in use")
	require.NoError(t, s.StartPlain("localhost:0"))
	out, err := http.Get(s.PlainURL() + "/_localaws/calls")
	require.NoError(t, err)
	require.NoError(t, out.Body.Close())
	require.Equal(t, http.StatusOK, out.StatusCode)
}

func TestOpen_OneProcessAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newServer(t, func(o *Options) { o.Dir = dir })
	_, err := Open(Options{Dir: dir})
	require.ErrorContains(t, err, "in use by another process")
	require.NoError(t, s.Close())
	again, err := Open(Options{Dir: dir})
	require.NoError(t, err)
	require.NoError(t, again.Close())
	_, err = Open(Options{})
	require.ErrorContains(t, err, "no directory")
}

func TestLog_TellsEveryCall(t *testing.T) {
	t.Parallel()
	calls := make(chan Call, 10)
	s := newServer(t, func(o *Options) { o.Log = func(c Call) { calls <- c } })
	c := sts.NewFromConfig(awsConfig(t, s, "alice", noRetries))
	_, err := c.GetCallerIdentity(t.Context(), nil)
	require.NoError(t, err)
	got := <-calls
	require.Positive(t, got.Took)
	got.Took, got.Time = 0, time.Time{}
	require.Equal(t, Call{Service: "sts", Operation: "GetCallerIdentity", Region: "us-east-1", Principal: "arn:aws:iam::123456789012:user/alice", Status: 200}, got)
	_, err = c.GetAccessKeyInfo(t.Context(), &sts.GetAccessKeyInfoInput{AccessKeyId: aws.String("AKIAIOSFODNN7EXAMPLE")})
	require.Error(t, err)
	got = <-calls
	require.Equal(t, "NotImplemented", got.Error)
	require.Equal(t, 501, got.Status)
}

// FuzzRequest sends any request to any service: the answer always comes, in
// an AWS shape, and is never a bug's.
func FuzzRequest(f *testing.F) {
	s, err := Open(Options{Dir: f.TempDir(), TrailRate: 1_000_000})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, s.Close()) })
	const form = "Content-Type: application/x-www-form-urlencoded\n"
	for _, seed := range []struct{ service, method, path, headers, body string }{
		{"kms", "POST", "/", "X-Amz-Target: TrentService.CreateKey\n", `{"Description":"d","Tags":[{"TagKey":"a","TagValue":"b"}]}`},
		{"kms", "POST", "/", "X-Amz-Target: TrentService.CreateAlias\n", `{"AliasName":"alias/a","TargetKeyId":"11111111-1111-4111-8111-111111111111"}`},
		{"kms", "POST", "/", "X-Amz-Target: TrentService.Encrypt\n", `{"KeyId":"alias/a","Plaintext":"aGk=","EncryptionContext":{"a":"b"}}`},
		{"kms", "POST", "/", "X-Amz-Target: TrentService.Decrypt\n", `{"CiphertextBlob":"AQID"}`},
		{"kms", "POST", "/", "X-Amz-Target: TrentService.GenerateDataKey\n", `{"KeyId":"alias/aws/s3","NumberOfBytes":1}`},
		{"kms", "POST", "/", "X-Amz-Target: TrentService.ListKeys\n", `{"Limit":1,"Marker":"x"}`},
		{"cloudtrail", "POST", "/", "X-Amz-Target: CloudTrail_20131101.LookupEvents\n", `{"LookupAttributes":[{"AttributeKey":"EventName","AttributeValue":"CreateKey"}],"StartTime":1.5e9,"NextToken":"e30="}`},
		{"ec2", "POST", "/", form, "Action=CreateVolume&Size=8&AvailabilityZone=us-east-1a&Encrypted=true&TagSpecification.1.ResourceType=volume&TagSpecification.1.Tag.1.Key=a"},
		{"ec2", "POST", "/", form, "Action=DescribeVolumes&Filter.1.Name=tag:a&Filter.1.Value.1=*%3F&MaxResults=5"},
		{"ec2", "POST", "/", form, "Action=ModifyEbsDefaultKmsKeyId&KmsKeyId=alias/aws/ebs"},
		{"ec2", "GET", "/?Action=DescribeRegions&AllRegions=true&RegionName.1=me-south-1", "", ""},
		{"ec2", "POST", "/", form, "Action=DescribeVolumes&\x87"},
		{"sts", "POST", "/", form, "Action=GetCallerIdentity"},
		{"s3", "PUT", "/bucket", "", ""},
		{"s3", "PUT", "/bucket?encryption", "", "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"},
		{"s3", "PUT", "/bucket?policy", "", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::bucket/*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`},
		{"s3", "PUT", "/bucket/key", "X-Amz-Server-Side-Encryption: aws:kms\n", "hello"},
		{"s3", "PUT", "/bucket/key", "X-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\nX-Amz-Decoded-Content-Length: 5\nContent-Encoding: aws-chunked\n", "5\r\nhello\r\n0\r\n\r\n"},
		{"s3", "GET", "/bucket/key", "Range: bytes=1-2\n", ""},
		{"s3", "GET", "/bucket?list-type=2&max-keys=1&prefix=k&delimiter=/", "", ""},
		{"s3", "POST", "/bucket?delete", "", "<Delete><Object><Key>key</Key></Object></Delete>"},
		{"s3", "POST", "/bucket/key?uploads", "", ""},
		{"s3", "POST", "//bucket/key?uploads", "", ""},
		{"s3", "PUT", "/bucket/key?partNumber=1&uploadId=x", "", "part"},
		{"s3", "GET", "/", "Host: bucket.localhost\n", ""},
		{"", "GET", "/%zz/../..//", "Authorization: AWS4-HMAC-SHA256 Credential=////\n", ""},
	} {
		f.Add(seed.service, seed.method, seed.path, seed.headers, seed.body)
	}
	f.Fuzz(func(t *testing.T, service, method, path, headers, body string) {
		raw := method + " " + path + " HTTP/1.1\r\n"
		if !strings.Contains(headers, "Host:") {
			raw += "Host: localhost\r\n"
		}
		if service != "" {
			raw += "Authorization: " + signature("alice", "us-east-1", service) + "\r\n"
		}
		if !strings.Contains(headers, "X-Amz-Content-Sha256:") {
			raw += "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n"
		}
		for line := range strings.SplitSeq(headers, "\n") {
			if line != "" {
				raw += line + "\r\n"
			}
		}
		raw += fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
		h, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return // net/http does not let it through
		}
		if strings.HasPrefix(h.URL.Path, adminPath) {
			return // faults and policies that stay would spoil the rest
		}
		h.RemoteAddr = "127.0.0.1:1"
		w := httptest.NewRecorder()
		done := make(chan any)
		go func() {
			defer func() { done <- recover() }()
			s.ServeHTTP(w, h)
		}()
		select {
		case p := <-done:
			if err, _ := p.(error); errors.Is(err, http.ErrAbortHandler) {
				return // no answer can be told from an answer cut short
			}
			require.Nil(t, p)
		case <-time.After(time.Minute):
			t.Fatal("no answer")
		}
		require.NotEqual(t, http.StatusInternalServerError, w.Code, w.Body)
		require.NotEmpty(t, w.Header().Get("X-Amzn-Requestid")+w.Header().Get("X-Amz-Request-Id")+w.Body.String(), "an answer carries its id")
		if foreign(h) != "" {
			require.Equal(t, http.StatusForbidden, w.Code)
			return // refused before any service, in plain text
		}
		if w.Code >= 400 && method != http.MethodHead {
			require.NotEmpty(t, errorCode(t, w.Body.String()))
		}
	})
}

// fakeService is a service of one operation.
type fakeService struct {
	operation string
	serve     func(*wire.Request)
}

func (f fakeService) Operation(*wire.Request) string    { return f.operation }
func (f fakeService) Serve(r *wire.Request)             { f.serve(r) }
func (fakeService) Fail(r *wire.Request, e *wire.Error) { wire.JSONService{}.Fail(r, e) }
