package check

import (
	"bytes"
	"context"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/verify/report"
)

var quoted = regexp.MustCompile(`('[^']*'|\\')+`)

// requireRemedy requires that a remedy is a command that can be run as it
// stands, or a sentence.
func requireRemedy(t *testing.T, x report.Result) {
	t.Helper()
	if x.Status == report.Pass || x.Remedy == "" {
		return
	}
	program, _, _ := strings.Cut(x.Remedy, " ")
	if program != "aws" && program != "verify" && program != "pulumi" {
		require.False(t, report.IsCommand(x.Remedy), "%s: %s", x.ID, x.Remedy)
		return
	}
	require.True(t, report.IsCommand(x.Remedy), "%s: begins like a command and is none: %s", x.ID, x.Remedy)
	for _, prose := range []string{", then", ", and", " with ", " prints ", " shows ", ";", "KEY "} {
		require.NotContains(t, quoted.ReplaceAllString(x.Remedy, "''"), prose, x.ID)
	}
	if sh, err := exec.LookPath("sh"); err == nil {
		out, err := exec.CommandContext(t.Context(), sh, "-n", "-c", x.Remedy).CombinedOutput()
		require.NoError(t, err, "%s: %s: %s", x.ID, x.Remedy, out)
	}
}

func TestRemedy_QuotesNamesFromTheAccount(t *testing.T) {
	t.Parallel()
	const name = `it's $(touch /tmp/owned); #`
	s := goodStack(t)
	s.setDefault(t, s3types.ServerSideEncryptionAes256, "", false)
	s.put(t, s.cfg, name, nil)
	s.config.Objects, s.config.Only = []string{name}, []string{"object"}
	x := result(t, s.run(t), "object.encryption")
	require.Equal(t, report.Fail, x.Status, x.Actual)
	requireRemedy(t, x)
	require.Contains(t, x.Remedy, `aws s3 cp 's3://`+bucket+`/it'\''s $(touch /tmp/owned); #' 's3://`)
}

func TestRemedy_RepeatsTheRun(t *testing.T) {
	t.Parallel()
	r := &run{cfg: Config{Flags: []string{"--stack=dev", "--wait=5m", "--prefix=a b"}}}
	require.Equal(t, "verify --stack dev --prefix 'a b' --canary --wait 20m", r.again("--canary=true", "--wait=20m"))
	r.cfg.Flags = []string{"--outputs=-"}
	require.Equal(t, "run verify again with --wait 20m", r.again("--wait=20m"))
}

func TestCheckNames_RefusesWhatIsNoName(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{
		{Keys: []string{"foo bar"}}, {Keys: []string{"alias/$(x)"}}, {Bucket: "b; rm -rf /"}, {Bucket: "--endpoint-url"}, {Bucket: "ab"},
		{Alias: "alias/a b"}, {AWS: aws.Config{Region: "us-east-1;x"}}, {Account: "1"}, {EBSKey: "x"}, {Caller: "me"},
	} {
		require.ErrorAs(t, c.CheckNames(), new(*InputError), "%+v", c)
	}
	good := Config{Keys: []string{"alias/a_b/c"}, Bucket: "a.b-c", AWS: aws.Config{Region: "us-gov-west-1"}}
	require.NoError(t, good.CheckNames())
}

// S3 refuses a HEAD of an object under SSE-C with 400, and no body.
func TestObject_UnderACustomersKeyIsInconclusive(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.aws.Inject(localaws.Fault{Service: "s3", Operation: "HeadObject", Status: 400, Code: "BadRequest"})
	rep := s.run(t)
	for _, id := range []string{"object.encryption", "trail.write"} {
		x := result(t, rep, id)
		require.Equal(t, report.Inconclusive, x.Status, show(rep))
		require.Contains(t, x.Actual, object)
		require.Contains(t, x.Actual, "SSE-C")
	}
}

func TestPolicy_IsNeverWithoutAStatement(t *testing.T) {
	t.Parallel()
	b, err := Policy(Config{Only: []string{"account"}})
	require.NoError(t, err)
	require.Contains(t, string(b), "sts:GetCallerIdentity")
	require.NotContains(t, string(b), "null")
}

func TestProgress_WritesOneLineInAnInterval(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	now := time.Unix(0, 0)
	l := &lockedWriter{w: &b, every: 30 * time.Second, now: func() time.Time { return now }}
	for range 61 {
		l.status("waiting")
		now = now.Add(time.Second)
	}
	require.Equal(t, 3, strings.Count(b.String(), "waiting\n"))
}

func TestFailure_AfterAnInterruptNamesNoTimeout(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	cfg := s.config
	require.NoError(t, cfg.complete())
	r := newRun(t.Context(), cfg, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s3.NewFromConfig(s.cfg).ListBuckets(ctx, nil)
	require.Error(t, err)
	require.NotContains(t, r.failure("s3:ListBuckets", err).Remedy, "--timeout")
}
