package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
)

const (
	testPrefix = "conformance-test"
	account    = "764265373335"
)

// endpoint is a localaws in the place of AWS. Its calls go through a proxy, which
// may change requests and answers.
type endpoint struct {
	server *localaws.Server
	proxy  *httptest.Server
	direct aws.Config // to the server
	target aws.Config // through the proxy
	calls  atomic.Int64
	// onCall is told the number of each call, before it is carried out.
	onCall func(n int64)
	// change changes the answer to an operation: of S3, method and query.
	change func(operation, body string) string
}

func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	s, err := localaws.Open(localaws.Options{Dir: t.TempDir(), TrailRate: 1000})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	require.NoError(t, s.Start("127.0.0.1:0"))
	e := &endpoint{server: s}
	e.direct, err = localConfig(t.Context(), s.URL(), s.CAFile(), account)
	require.NoError(t, err)
	to, err := url.Parse(s.URL())
	require.NoError(t, err)
	transport := trusting(t, s)
	e.proxy = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = to.Host },
		Transport: transport,
		ModifyResponse: func(out *http.Response) error {
			if e.change == nil {
				return nil
			}
			body, err := io.ReadAll(out.Body)
			if err != nil {
				return err
			}
			operation := out.Request.Header.Get("X-Amz-Target")
			if operation == "" {
				operation = out.Request.Method + "?" + out.Request.URL.RawQuery
			}
			changed := e.change(operation, string(body))
			out.Body, out.ContentLength = io.NopCloser(strings.NewReader(changed)), int64(len(changed))
			if out.Request.Method != http.MethodHead {
				out.Header.Del("Content-Length")
			}
			out.Header.Del("X-Amzn-Errortype") // repeats what the body says
			return nil
		},
		// The client, too, loses the connection.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	})
	handler := e.proxy.Config.Handler
	e.proxy.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := e.calls.Add(1); e.onCall != nil {
			e.onCall(n)
		}
		handler.ServeHTTP(w, r)
	})
	t.Cleanup(e.proxy.Close)
	e.target, err = localConfig(t.Context(), e.proxy.URL, s.CAFile(), account)
	require.NoError(t, err)
	return e
}

// trusting is a transport that trusts the server's authority.
func trusting(t *testing.T, s *localaws.Server) *http.Transport {
	t.Helper()
	pem, err := os.ReadFile(s.CAFile())
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(pem))
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// options are those of a run against e, without waiting for what never comes.
func testOptions() options {
	return options{prefix: testPrefix, yes: true, settle: 0, eventsWait: time.Second}
}

// compare runs the command's comparison against e.
func (e *endpoint) compare(ctx context.Context, t *testing.T, o options) (code int, stdout, stderr string) {
	t.Helper()
	reference, closeReference, err := openReference(ctx)
	require.NoError(t, err)
	defer closeReference()
	var out, errs bytes.Buffer
	code = compare(ctx, o, reference, e.target, &out, &errs)
	return code, out.String(), errs.String()
}

// requireNothingLeft fails where anything of the run is left, or where the account's
// settings are not those of a new account.
func (e *endpoint) requireNothingLeft(t *testing.T) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	buckets, err := s3.NewFromConfig(e.direct).ListBuckets(ctx, nil)
	require.NoError(t, err)
	require.Empty(t, buckets.Buckets)
	keys := kms.NewFromConfig(e.direct)
	aliases, err := keys.ListAliases(ctx, nil)
	require.NoError(t, err)
	for _, a := range aliases.Aliases {
		require.True(t, strings.HasPrefix(*a.AliasName, "alias/aws/"), *a.AliasName)
	}
	listed, err := keys.ListKeys(ctx, nil)
	require.NoError(t, err)
	for _, k := range listed.Keys {
		got, err := keys.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.KeyId})
		require.NoError(t, err)
		if got.KeyMetadata.KeyManager == kmstypes.KeyManagerTypeCustomer {
			require.Equal(t, kmstypes.KeyStatePendingDeletion, got.KeyMetadata.KeyState)
		}
	}
	encrypt, err := ec2.NewFromConfig(e.direct).GetEbsEncryptionByDefault(ctx, nil)
	require.NoError(t, err)
	require.False(t, *encrypt.EbsEncryptionByDefault)
}

// calls reports how often the endpoint answered an operation.
func (e *endpoint) count(operation string) (n int) {
	for _, c := range e.server.Calls() {
		if c.Operation == operation {
			n += c.Count
		}
	}
	return n
}

func TestCompare_SameEndpointHasNoDifferences(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	code, out, errs := e.compare(t.Context(), t, testOptions())
	require.Equal(t, exitSame, code, "%s%s", out, errs)
	require.Regexp(t, `0 of \d{3} answers differ`, out)
	require.NotContains(t, out, "not reached")
	e.requireNothingLeft(t)
	for _, operation := range []string{"EnableEbsEncryptionByDefault", "DisableEbsEncryptionByDefault", "ModifyEbsDefaultKmsKeyId", "ResetEbsDefaultKmsKeyId"} {
		require.Zero(t, e.count(operation), "%s without -account-wide", operation)
	}
	require.LessOrEqual(t, e.count("CreateKey"), maxKeys)
}

func TestCompare_ReportsEachDifference(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	e.change = func(operation, body string) string {
		switch {
		case operation == "TrentService.CreateAlias":
			return strings.ReplaceAll(body, "AlreadyExistsException", "LimitExceededException")
		case operation == "TrentService.GetKeyRotationStatus":
			return strings.Replace(body, `"RotationPeriodInDays":120`, `"RotationPeriodInDays":365`, 1)
		case strings.HasPrefix(operation, "GET?") && strings.Contains(body, "<Code>NoSuchTagSet</Code>"):
			return strings.Replace(body, "NoSuchTagSet", "NoSuchTags", 1)
		case strings.HasSuffix(operation, ".LookupEvents"):
			return strings.ReplaceAll(body, `\"managementEvent\":true,`, "")
		case strings.HasPrefix(operation, "TrentService.ScheduleKeyDeletion"):
			return strings.Replace(body, "Member must", "Member should", 1)
		}
		return body
	}
	o := testOptions()
	code, out, errs := e.compare(t.Context(), t, o)
	require.Equal(t, exitDifferent, code, "%s%s", out, errs)
	for _, want := range []string{
		`kms names +CreateAlias again +AlreadyExistsException \(400\) +LimitExceededException \(400\)`,
		`kms rotation +GetKeyRotationStatus after EnableKeyRotation +Enabled=true Period=120 .*Enabled=true Period=365`,
		`s3 buckets +GetBucketTagging without tags +NoSuchTagSet \(404\) +NoSuchTags \(404\)`,
		`event history +the record of CreateKey +.*managementEvent=true .*managementEvent=- `,
		`event history +the record of Encrypt `,
		`event history +the record of GenerateDataKey `,
		`\n6 of \d+ answers differ`,
	} {
		require.Regexp(t, want, out)
	}
	e.requireNothingLeft(t)

	o.messages = true
	_, out, _ = e.compare(t.Context(), t, o)
	require.Regexp(t, `kms key states +ScheduleKeyDeletion in 6 days +.* must .* should `, out)
}

// Interrupted before any call of the run: what was made so far is removed, and the
// account's settings are put back.
func TestCompare_InterruptedLeavesNothing(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	o := testOptions()
	o.accountWide = true
	_, out, errs := e.compare(t.Context(), t, o)
	require.Contains(t, out, "\n0 of ", errs)
	total := e.calls.Load()
	require.Greater(t, total, int64(200))
	for at := int64(2); at < total; at += total / 12 {
		e = newEndpoint(t)
		ctx, interrupt := context.WithCancel(t.Context())
		e.onCall = func(n int64) {
			if n == at {
				interrupt()
			}
		}
		code, out, errs := e.compare(ctx, t, o)
		interrupt()
		require.NotEqual(t, exitDifferent, code, "%s%s", out, errs)
		e.requireNothingLeft(t)
		if code == exitIncomplete {
			require.Contains(t, errs, "interrupted before ")
			require.Contains(t, out, "(not reached)")
		}
	}
}

// Where the answer to a call is lost, the ID of what was made is not known.
func TestCompare_LostAnswersLeaveNothing(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"CreateKey", "CreateBucket", "CreateAlias", "CreateMultipartUpload"} {
		e := newEndpoint(t)
		e.server.Inject(localaws.Fault{Operation: operation, DropAnswer: true, Count: 1})
		e.compare(t.Context(), t, testOptions())
		require.NotZero(t, e.count(operation))
		e.requireNothingLeft(t)
	}
}

func TestCompare_NamesWhatItCannotRemove(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	e.server.Inject(localaws.Fault{Operation: "DeleteBucket", Status: http.StatusForbidden, Code: "AccessDenied"})
	code, _, errs := e.compare(t.Context(), t, testOptions())
	require.Equal(t, exitIncomplete, code)
	require.Contains(t, errs, "not removed: buckets: bucket "+testPrefix+"-"+account)
	require.Contains(t, errs, "-clean "+testPrefix)

	// What is of others stays: another bucket, another key, another alias.
	e.server.ClearFaults()
	buckets, keys := s3.NewFromConfig(e.direct), kms.NewFromConfig(e.direct)
	_, err := buckets.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(testPrefix + "2")})
	require.NoError(t, err)
	key, err := keys.CreateKey(t.Context(), &kms.CreateKeyInput{Description: aws.String("production")})
	require.NoError(t, err)
	_, err = keys.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/production"), TargetKeyId: key.KeyMetadata.KeyId})
	require.NoError(t, err)
	r, err := newRunner(t.Context(), e.target, testOptions())
	require.NoError(t, err)
	require.NoError(t, r.cleanUp(t.Context()))
	left, err := buckets.ListBuckets(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, left.Buckets, 1)
	got, err := keys.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: aws.String("alias/production")})
	require.NoError(t, err)
	require.Equal(t, kmstypes.KeyStateEnabled, got.KeyMetadata.KeyState)
}

func TestCompare_PutsAccountSettingsBack(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	keys, volumes := kms.NewFromConfig(e.direct), ec2.NewFromConfig(e.direct)
	key, err := keys.CreateKey(t.Context(), nil)
	require.NoError(t, err)
	_, err = volumes.ModifyEbsDefaultKmsKeyId(t.Context(), &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: key.KeyMetadata.Arn})
	require.NoError(t, err)
	_, err = volumes.EnableEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	o := testOptions()
	o.accountWide = true
	code, out, errs := e.compare(t.Context(), t, o)
	require.Equal(t, exitSame, code, "%s%s", out, errs)
	require.NotZero(t, e.count("ResetEbsDefaultKmsKeyId"))
	got, err := volumes.GetEbsDefaultKmsKeyId(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, *key.KeyMetadata.Arn, *got.KmsKeyId)
	encrypt, err := volumes.GetEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, *encrypt.EbsEncryptionByDefault)
}

// The command reads credentials and endpoints from the environment.
func TestRun_CallsNothingWithoutConfirmation(t *testing.T) {
	e := newEndpoint(t)
	t.Setenv("AWS_ACCESS_KEY_ID", account)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	var out, errs bytes.Buffer
	command := func(args ...string) int {
		out.Reset()
		errs.Reset()
		return run(t.Context(), args, &out, &errs)
	}
	require.Equal(t, exitUsage, command("-endpoint", e.proxy.URL))
	require.Contains(t, out.String(), "cost limit:  0.02 USD")
	require.Contains(t, errs.String(), "not confirmed, nothing was called")
	require.Equal(t, exitUsage, command("-endpoint", e.proxy.URL, "-clean", testPrefix))
	require.Equal(t, exitUsage, command())
	require.Contains(t, errs.String(), "-profile")
	require.Equal(t, exitUsage, command("-endpoint", e.proxy.URL, "-yes", "-prefix", "production-logs"))
	require.Zero(t, e.calls.Load())

	require.Equal(t, exitSame, command("-endpoint", e.proxy.URL, "-yes", "-events-wait", "1s"), errs.String())
	e.requireNothingLeft(t)
	require.Equal(t, exitSame, command("-endpoint", e.proxy.URL, "-yes", "-clean", testPrefix), errs.String())

	// A profile is an AWS account: no endpoint of the environment takes its place.
	calls := e.calls.Load()
	file := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(file, []byte("[profile account]\nregion = us-east-1\n"), 0o600))
	t.Setenv("AWS_CONFIG_FILE", file)
	for _, variable := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS"} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, e.proxy.URL)
			require.Equal(t, exitUsage, command("-profile", "account", "-yes"))
			require.Contains(t, errs.String(), "unset AWS_ENDPOINT_URL")
		})
	}
	require.Equal(t, calls, e.calls.Load())
}
