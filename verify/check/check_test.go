package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// byDefault is the checks of a run that names none.
func byDefault() []Check {
	return slices.DeleteFunc(slices.Clone(Catalogue), func(c Check) bool { return c.AccountWide || c.FilesOnly })
}

func TestRun_GoodStack(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.config.Canary = true
	rep := s.run(t)
	for i, x := range rep.Results {
		require.Equal(t, byDefault()[i].ID, x.ID)
		want := report.Pass
		if x.ID == "trail.keys" {
			want = report.Skipped
		}
		require.Equal(t, want, x.Status, "%s\n%s", x.ID, show(rep))
		require.Equal(t, want == report.Pass, len(x.Evidence) > 0, x.ID)
		require.Empty(t, x.Remedy, x.ID)
		for _, v := range []string{x.Title, x.Severity, x.Why, x.Expected, x.Actual, x.Group} {
			require.NotEmpty(t, v, x.ID)
		}
	}
	require.Equal(t, report.Pass, rep.Verdict)
	require.Equal(t, report.Subject{
		Account: owner, Region: region, Caller: "arn:aws:iam::" + owner + ":user/localaws", KeyARN: s.keyARN, Alias: alias,
		Bucket: bucket, Objects: []string{object}, ObjectCount: 1, EBSKeyARN: s.keyARN,
	}, rep.Subject)
	require.NotEmpty(t, rep.Events)
	require.Zero(t, s.versions(t, CanaryPrefix))
}

// What a real run says keeps to the schema that is published.
func TestRun_KeepsToTheSchema(t *testing.T) {
	t.Parallel()
	schema, err := jsonschema.NewCompiler().Compile("../../docs/verify.schema.json")
	require.NoError(t, err)
	s := goodStack(t)
	s.config.Canary, s.config.Prefix = true, aws.String("")
	s.aws.Inject(localaws.Fault{Service: "kms", Operation: "GetKeyPolicy", Status: 400, Code: "AccessDeniedException"})
	s.put(t, s.cfg, "x", nil)
	s.config.Keys = append(s.config.Keys, s.newKey(t))
	var b bytes.Buffer
	rep := s.run(t)
	require.NoError(t, report.WriteJSON(&b, rep))
	doc, err := jsonschema.UnmarshalJSON(&b)
	require.NoError(t, err)
	require.NoError(t, schema.Validate(doc))

	ocsf, err := jsonschema.NewCompiler().Compile("../report/testdata/ocsf-1.8.0.schema.json")
	require.NoError(t, err)
	b.Reset()
	require.NoError(t, report.WriteOCSF(&b, rep))
	doc, err = jsonschema.UnmarshalJSON(&b)
	require.NoError(t, err)
	require.NoError(t, ocsf.Validate(doc))
}

// Two runs say the same, apart from times and ids.
func TestRun_Deterministic(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	plain := func() []report.Result {
		results := s.run(t).Results
		for i := range results {
			results[i].Evidence = nil
			if results[i].Group == "trail" {
				results[i].Actual = ""
			}
		}
		return results
	}
	require.Equal(t, plain(), plain())
}

func TestRun_Input(t *testing.T) {
	t.Parallel()
	good := Config{Keys: []string{alias}, Bucket: bucket}
	good.AWS.Region = region
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"nothing", func(c *Config) { c.Keys, c.Bucket = nil, "" }, "nothing to verify"},
		{"no Region", func(c *Config) { c.AWS.Region = "" }, "no Region"},
		{"no key", func(c *Config) { c.Keys = []string{"masterclass-cmk"} }, `"masterclass-cmk" is not a key`},
		{"a key elsewhere", func(c *Config) {
			c.Keys = []string{"arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000000"}
		}, "is in Region eu-west-1, not in us-east-1"},
		{"no alias", func(c *Config) { c.Alias = "masterclass-cmk" }, "is not an alias"},
		{"no EBS key", func(c *Config) { c.EBSKey = alias }, "is not a key ARN"},
		{"no account", func(c *Config) { c.Account = "12" }, "12 digits"},
		{"no caller", func(c *Config) { c.Caller = "alice" }, "is not the ARN of a user or a role"},
		{"objects without a bucket", func(c *Config) { c.Bucket, c.Objects = "", []string{"x"} }, "need a bucket"},
		{"a canary without a key", func(c *Config) { c.Keys, c.Canary = nil, true }, "needs the key"},
		{"too far back", func(c *Config) { c.Since = 100 * 24 * time.Hour }, "90 days"},
		{"waiting backwards", func(c *Config) { c.Wait = -1 }, "negative"},
		{"no such check", func(c *Config) { c.Only = []string{"keys"} }, `no check is called "keys"`},
		{"no such check to skip", func(c *Config) { c.Skip = []string{"nothing.*"} }, "no check is called"},
		{"no pattern", func(c *Config) { c.Only = []string{"[a"} }, "is not a pattern"},
		{"nothing left", func(c *Config) { c.Only, c.Skip = []string{"key"}, []string{"key.*"} }, "leave no check"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := good
			tt.change(&c)
			rep, err := Run(t.Context(), c)
			require.Nil(t, rep)
			require.ErrorAs(t, err, new(*InputError))
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestRun_OnlyAndSkip(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.config.Only, s.config.Skip = []string{"key", "bucket.t*"}, []string{"key.p*"}
	rep := s.run(t)
	var got []string
	for _, x := range rep.Results {
		got = append(got, x.ID+" "+string(x.Status))
	}
	require.Equal(t, []string{
		"key.enabled pass", "key.customer pass", "key.spec pass", "key.alias pass", "key.rotation pass", "key.deletion pass",
		"key.policy skipped", "key.grants pass", "key.multi-region pass", "bucket.tls pass",
	}, got, "what --skip leaves out is there as skipped; what --only leaves out is not")
	require.Equal(t, report.Pass, rep.Verdict)
}

// Whatever goes wrong with one operation, the checks that do not depend on it
// still pass, those that do are errors and not failures, and nothing is left.
func TestRun_Faults(t *testing.T) {
	t.Parallel()
	kinds := []struct {
		name  string
		fault localaws.Fault
	}{
		{"denied", localaws.Fault{Status: 403, Code: "AccessDenied"}},
		{"throttled", localaws.Fault{Status: 400, Code: "ThrottlingException"}},
		{"server error", localaws.Fault{Status: 500, Code: "InternalError"}},
		{"dropped", localaws.Fault{Drop: true}},
		{"answer lost", localaws.Fault{DropAnswer: true}},
		{"nonsense", localaws.Fault{Status: 418, Code: "Teapot"}},
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s := goodStack(t)
			s.config.AWS.RetryMaxAttempts, s.config.lookupAttempts = 1, 1
			s.config.Canary = true
			s.aws.ResetCalls()
			good := s.run(t)
			for _, call := range s.aws.Calls() {
				fault := k.fault
				fault.Service, fault.Operation = call.Service, call.Operation
				s.aws.ClearFaults()
				s.aws.Inject(fault)
				rep, err := Run(t.Context(), s.config)
				s.aws.ClearFaults()
				what := fmt.Sprintf("%s:%s\n%s", call.Service, call.Operation, show(rep))
				require.NoError(t, err, what)
				s.empty(t)
				bad := 0
				for i, x := range rep.Results {
					switch x.Status {
					case report.Fail:
						t.Errorf("%s failed for a call that could not be made\n%s", x.ID, what)
					case report.Error, report.Inconclusive:
						bad++
						require.NotEmpty(t, x.Remedy, "%s %s", x.ID, what)
					default:
						require.Equal(t, good.Results[i].Status, x.Status, what)
					}
				}
				require.Positive(t, rep.Summary.Pass, what)
				if fault.DropAnswer && call.Operation == "DeleteObject" {
					continue // the second look shows that it was removed
				}
				require.Positive(t, bad, what)
				require.NotEqual(t, report.Pass, rep.Verdict, what)
			}
		})
	}
}

// empty removes what a canary could not remove itself, because removing was
// made to fail.
func (s *stack) empty(t *testing.T) {
	t.Helper()
	f := canary{r: s.newTestRun(t), prefix: CanaryPrefix}
	require.Equal(t, report.Pass, f.remove(t.Context()).Status)
}

// One call fails, any: the run goes on, and the canary is gone all the same.
func TestRun_FaultAtEveryCall(t *testing.T) {
	t.Parallel()
	for _, fault := range []localaws.Fault{{Status: 503, Code: "SlowDown"}, {Drop: true}, {DropAnswer: true}} {
		t.Run(toJSON(t, fault), func(t *testing.T) {
			t.Parallel()
			s := goodStack(t)
			s.config.AWS.RetryMaxAttempts, s.config.lookupAttempts = 1, 1
			s.config.Canary = true
			for n := 0; ; n++ {
				fault.Skip, fault.Count = n, 1
				s.aws.ClearFaults()
				s.aws.ResetCalls()
				s.aws.Inject(fault)
				rep, err := Run(t.Context(), s.config)
				require.NoError(t, err)
				require.Zero(t, rep.Summary.Fail, show(rep))
				require.Zero(t, s.versions(t, CanaryPrefix), "call %d\n%s", n, show(rep))
				calls := 0
				for _, c := range s.aws.Calls() {
					calls += c.Count
				}
				if n >= calls {
					require.Equal(t, report.Pass, rep.Verdict, show(rep))
					break
				}
			}
		})
	}
}

// With the SDK's own retries a single fault goes unnoticed.
func TestRun_Retries(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	for _, op := range [][2]string{{"kms", "DescribeKey"}, {"s3", "HeadObject"}, {"ec2", "GetEbsDefaultKmsKeyId"}, {"cloudtrail", "LookupEvents"}, {"sts", "GetCallerIdentity"}} {
		s.aws.Inject(localaws.Fault{Service: op[0], Operation: op[1], Count: 1, Status: 500, Code: "InternalError"})
	}
	rep := s.run(t)
	require.Equal(t, report.Pass, rep.Verdict, show(rep))
}

// However a run is cut short, the canary is gone.
func TestRun_Cancelled(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	var stop atomic.Pointer[context.CancelCauseFunc]
	var at atomic.Int64
	s := goodStackIn(t, localaws.Options{Log: func(localaws.Call) {
		if calls.Add(1) == at.Load() {
			(*stop.Load())(errors.New("enough"))
		}
	}})
	s.config.Canary = true
	s.config.Wait = time.Hour // never reached: it waits for nothing, or is cancelled
	ended := false
	for n := int64(1); !ended; n++ {
		ctx, cancel := context.WithCancelCause(t.Context())
		stop.Store(&cancel)
		calls.Store(0)
		at.Store(n)
		rep, err := Run(ctx, s.config)
		cancel(nil)
		at.Store(-1)
		ended = calls.Load() < n
		require.NotNil(t, rep)
		require.Len(t, rep.Results, len(byDefault()))
		if !ended && err != nil {
			require.EqualError(t, err, "enough")
		}
		require.Zero(t, rep.Summary.Fail, show(rep))
		require.Zero(t, s.versions(t, CanaryPrefix), "after call %d\n%s", n, show(rep))
	}
}

func TestRun_TimedOut(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	ctx := deadline{context.Background(), make(chan struct{})} // its cause is the deadline, unlike that of t.Context()
	s.config.Only = []string{"key.policy", "bucket.tls"}
	s.config.AWS.HTTPClient = &hangingKeyPolicy{HTTPClient: s.config.AWS.HTTPClient, bucketPolicyRead: make(chan struct{}), timeOut: func() { close(ctx.passed) }}
	rep, err := Run(ctx, s.config)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, report.Error, result(t, rep, "key.policy").Status)
	require.Contains(t, result(t, rep, "key.policy").Actual, "it took too long")
	require.Equal(t, report.Pass, result(t, rep, "bucket.tls").Status, "what was found until then is in the report\n%s", show(rep))
}

// deadline is a context whose deadline passes when the test decides.
type deadline struct {
	context.Context
	passed chan struct{}
}

func (d deadline) Done() <-chan struct{} { return d.passed }

func (d deadline) Err() error {
	select {
	case <-d.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// hangingKeyPolicy never answers GetKeyPolicy, and lets the deadline pass once the
// bucket policy was read.
type hangingKeyPolicy struct {
	aws.HTTPClient
	bucketPolicyRead chan struct{}
	read, passed     sync.Once
	timeOut          func()
}

func (h *hangingKeyPolicy) Do(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".GetKeyPolicy") {
		<-h.bucketPolicyRead
		h.passed.Do(h.timeOut)
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	resp, err := h.HTTPClient.Do(req)
	if err == nil && req.Method == http.MethodGet && req.URL.Query().Has("policy") {
		resp.Body = &closing{resp.Body, func() { h.read.Do(func() { close(h.bucketPolicyRead) }) }}
	}
	return resp, err
}

type closing struct {
	io.ReadCloser
	closed func()
}

func (c *closing) Close() error {
	defer c.closed()
	return c.ReadCloser.Close()
}

func TestRun_Credentials(t *testing.T) {
	t.Parallel()
	t.Run("expired", func(t *testing.T) {
		t.Parallel()
		s := goodStack(t)
		s.aws.Inject(localaws.Fault{Status: 403, Code: "ExpiredToken"})
		rep, err := Run(t.Context(), s.config)
		require.ErrorAs(t, err, new(*CredentialsError))
		require.ErrorContains(t, err, "ExpiredToken")
		require.Equal(t, report.Error, rep.Verdict)
	})
	t.Run("not valid", func(t *testing.T) {
		t.Parallel()
		s := goodStack(t)
		s.aws.Inject(localaws.Fault{Status: 403, Code: "InvalidClientTokenId"})
		_, err := Run(t.Context(), s.config)
		require.ErrorAs(t, err, new(*CredentialsError))
	})
	t.Run("expired meanwhile", func(t *testing.T) {
		t.Parallel()
		s := goodStack(t)
		s.aws.Inject(localaws.Fault{Service: "ec2", Status: 403, Code: "ExpiredToken"})
		rep, err := Run(t.Context(), s.config)
		require.ErrorAs(t, err, new(*CredentialsError))
		require.Equal(t, report.Error, result(t, rep, "ebs.key").Status)
		require.Equal(t, report.Pass, result(t, rep, "key.enabled").Status)
	})
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		s := goodStack(t)
		s.config.AWS.Credentials = nil
		_, err := Run(t.Context(), s.config)
		require.ErrorAs(t, err, new(*CredentialsError))
	})
}

func TestRun_RegionOff(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.config.Keys, s.config.Alias = []string{alias}, ""
	s.config.AWS.Region = "me-south-1"
	// localaws knows nothing of sessions for Regions; so STS and KMS are told to
	// answer as they do in a Region that is off.
	for _, service := range []string{"sts", "kms"} {
		s.aws.Inject(localaws.Fault{Service: service, Count: 1, Status: 403, Code: "InvalidClientTokenId"})
	}
	rep := s.run(t)
	x := result(t, rep, "ebs.encryption")
	require.Equal(t, report.Error, x.Status, show(rep))
	require.Contains(t, x.Actual, "the Region is not enabled")
	require.Equal(t, report.Fail, result(t, rep, "bucket.region").Status, show(rep))
	require.Contains(t, result(t, rep, "bucket.region").Actual, "the bucket is in us-east-1, the key in me-south-1")
}

func TestRun_BucketElsewhere(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.config.Keys, s.config.Alias = nil, ""
	s.config.AWS.Region = "eu-west-1"
	rep := s.run(t)
	require.Equal(t, report.Fail, result(t, rep, "bucket.region").Status, show(rep))
	for _, id := range []string{"bucket.tls", "bucket.public-access", "bucket.bucket-key"} {
		require.Equal(t, report.Pass, result(t, rep, id).Status, show(rep))
	}
	require.Equal(t, report.Skipped, result(t, rep, "bucket.encryption").Status)
}

func TestCatalogue_EveryCheckIsComplete(t *testing.T) {
	t.Parallel()
	var ids []string
	for _, c := range Catalogue {
		require.Equal(t, c.ID, c.Group+c.ID[len(c.Group):])
		require.NotNil(t, c.run, c.ID)
		require.Contains(t, []string{"critical", "high", "medium", "low"}, c.Severity, c.ID)
		for _, text := range []string{c.Title, c.Why, c.Expected, c.Proves, c.Remedy} {
			require.NotEmpty(t, text, c.ID)
		}
		require.NotEmpty(t, Controls(c.ID, true), "%s: controls.json has no control for it", c.ID)
		ids = append(ids, c.ID)
	}
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(ids))), len(ids), "ids are unique")
	for id := range controls {
		require.Contains(t, ids, id, "controls.json names a check that does not exist")
	}
}

func TestControls_OneRegionIsPartial(t *testing.T) {
	t.Parallel()
	require.Contains(t, Controls("ebs.encryption", false), report.Control{Framework: "CIS AWS Foundations 6.0", ID: "6.1.1", Partial: true})
	require.Contains(t, Controls("ebs.encryption", true), report.Control{Framework: "CIS AWS Foundations 6.0", ID: "6.1.1"})
	require.Contains(t, Controls("ebs.encryption", false), report.Control{Framework: "AWS Security Hub", ID: "EC2.7"})
}
