// Package lab gives a test an AWS of its own, the real Pulumi engine and the
// real AWS provider. It is for the tests of this repository and its examples.
package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// Lab is an empty account and what it takes to deploy to it.
type Lab struct {
	AWS   *localaws.Server
	Root  string // the project's folder
	Tools *engine.Tools
	Paths engine.Paths
	Env   engine.Environment
	// FastDestroy is what stacks are opened with.
	FastDestroy bool
}

// tools installs the engine and the provider once in a process; what is in
// place already is left as it is.
var tools = sync.OnceValues(func() (*engine.Tools, error) {
	root, err := engine.FindRoot(".")
	if err != nil {
		return nil, err
	}
	return engine.Install(context.Background(), root, os.Stderr)
})

// New opens a lab that is closed when the test ends.
func New(t testing.TB, opts ...func(*localaws.Options)) *Lab {
	t.Helper()
	installed, err := tools()
	require.NoError(t, err, "installing the engine and the provider")
	root, err := engine.FindRoot(".")
	require.NoError(t, err)
	l := &Lab{Root: root, Tools: installed, Paths: engine.Paths{Dir: t.TempDir()}}
	o := localaws.Options{Dir: l.Paths.State(), CertDir: l.Paths.Certs()}
	for _, f := range opts {
		f(&o)
	}
	l.AWS, err = localaws.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.AWS.Close()) })
	require.NoError(t, l.AWS.Start("127.0.0.1:0"))
	l.Env = engine.Env(l.Tools, l.Paths, l.AWS.URL(), l.AWS.CAFile())
	return l
}

// Stack opens a stack of this lab that runs program, with the configuration of
// Pulumi.sandbox.yaml and what settings say over it.
func (l *Lab) Stack(t testing.TB, name string, program pulumi.RunFunc, settings map[string]string) *Stack {
	t.Helper()
	s, err := engine.OpenStack(t.Context(), engine.StackOptions{
		Tools: l.Tools, Paths: l.Paths, Env: l.Env,
		ProjectFile: filepath.Join(l.Root, "Pulumi.yaml"),
		ConfigFile:  filepath.Join(l.Root, "Pulumi.sandbox.yaml"),
		Stack:       name, Config: settings, Program: program,
		FastDestroy: l.FastDestroy,
	})
	require.NoError(t, err)
	return &Stack{Stack: s}
}

// Bare opens a stack of a project without a Pulumi.yaml, whose configuration is
// that of Pulumi.sandbox.yaml.
func (l *Lab) Bare(t testing.TB, name string, program pulumi.RunFunc) *Stack {
	t.Helper()
	s, err := engine.OpenStack(t.Context(), engine.StackOptions{
		Tools: l.Tools, Paths: l.Paths, Env: l.Env, Project: "bare",
		ConfigFile: filepath.Join(l.Root, "Pulumi.sandbox.yaml"), Stack: name, Program: program,
	})
	require.NoError(t, err)
	return &Stack{Stack: s}
}

// Stack is a stack and what the engine says of it, as a reader would see it.
type Stack struct {
	auto.Stack
}

// Up deploys and returns the outputs.
func (s *Stack) Up(t testing.TB, opts ...optup.Option) map[string]any {
	t.Helper()
	out, err := s.TryUp(t.Context(), opts...)
	require.NoError(t, err, out)
	return s.Values(t)
}

// Values are the outputs of the last up.
func (s *Stack) Values(t testing.TB) map[string]any {
	t.Helper()
	outputs, err := s.Outputs(t.Context())
	require.NoError(t, err)
	values := map[string]any{}
	for k, v := range outputs {
		values[k] = v.Value
	}
	return values
}

// TryUp deploys and returns what the engine printed.
func (s *Stack) TryUp(ctx context.Context, opts ...optup.Option) (string, error) {
	var out bytes.Buffer
	_, err := s.Stack.Up(ctx, append([]optup.Option{optup.ProgressStreams(&out), optup.ErrorProgressStreams(&out)}, opts...)...)
	return out.String(), err
}

// Preview is a preview after a refresh: what drift shows.
func (s *Stack) Preview(t testing.TB, opts ...optpreview.Option) Preview {
	t.Helper()
	var out bytes.Buffer
	r, err := s.Stack.Preview(t.Context(), append([]optpreview.Option{optpreview.Refresh(), optpreview.ProgressStreams(&out), optpreview.ErrorProgressStreams(&out)}, opts...)...)
	require.NoError(t, err, out.String())
	return Preview{Changes: r.ChangeSummary, Output: out.String()}
}

// Preview is what a preview found.
type Preview struct {
	Changes map[apitype.OpType]int
	Output  string
}

// Clean reports whether there is nothing to do.
func (p Preview) Clean() bool {
	for op, n := range p.Changes {
		if op != apitype.OpSame && n > 0 {
			return false
		}
	}
	return true
}

// Destroy deletes everything.
func (s *Stack) Destroy(t testing.TB, opts ...optdestroy.Option) {
	t.Helper()
	out, err := s.TryDestroy(t.Context(), opts...)
	require.NoError(t, err, out)
}

// TryDestroy deletes everything and returns what the engine printed.
func (s *Stack) TryDestroy(ctx context.Context, opts ...optdestroy.Option) (string, error) {
	var out bytes.Buffer
	_, err := s.Stack.Destroy(ctx, append([]optdestroy.Option{optdestroy.ProgressStreams(&out), optdestroy.ErrorProgressStreams(&out)}, opts...)...)
	return out.String(), err
}

// Config is what the AWS SDK needs to look at the lab as the user of an access
// key id: engine.AccountID is whom the stack is deployed as.
func (l *Lab) Config(t testing.TB, accessKey string) aws.Config {
	t.Helper()
	ca, err := os.Open(l.AWS.CAFile())
	require.NoError(t, err)
	defer func() { require.NoError(t, ca.Close()) }()
	cfg, err := config.LoadDefaultConfig(t.Context(),
		config.WithRegion(engine.Region), config.WithBaseEndpoint(l.AWS.URL()), config.WithCustomCABundle(ca),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(accessKey, "sandbox", "")),
		config.WithSharedConfigFiles([]string{}), config.WithSharedCredentialsFiles([]string{}))
	require.NoError(t, err)
	return cfg
}

var awsCLI = sync.OnceValues(func() (string, error) {
	root, err := engine.FindRoot(".")
	if err != nil {
		return "", err
	}
	return engine.InstallAWSCLI(context.Background(), root, os.Stderr)
})

// CLI runs the unmodified AWS CLI as the stack's own user and returns its
// answer, decoded where it is JSON.
func (l *Lab) CLI(t testing.TB, args ...string) any {
	t.Helper()
	out, err := l.TryCLI(t, args...)
	require.NoError(t, err, "aws %s", strings.Join(args, " "))
	if len(bytes.TrimSpace(out)) == 0 {
		return nil
	}
	var v any
	if json.Unmarshal(out, &v) != nil {
		return string(out)
	}
	return v
}

// TryCLI is CLI for a command that may fail.
func (l *Lab) TryCLI(t testing.TB, args ...string) ([]byte, error) {
	t.Helper()
	program, err := awsCLI()
	require.NoError(t, err, "installing the AWS CLI")
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(l.Env.Environ(os.Environ()), "AWS_DEFAULT_OUTPUT=json")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%w: %s", err, stderr.String())
	}
	return out, nil
}
