package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/stack"
)

// resourceOf is the stack's resource of this type, as its state has it.
func resourceOf(t *testing.T, s *lab.Stack, kind string) apitype.ResourceV3 {
	t.Helper()
	for _, r := range resources(t, s) {
		if string(r.Type) == kind {
			return r
		}
	}
	t.Fatalf("the stack has no %s", kind)
	return apitype.ResourceV3{}
}

func urnOf(t *testing.T, s *lab.Stack, kind string) string {
	t.Helper()
	return string(resourceOf(t, s, kind).URN)
}

// An up of the key alone leaves the rest to come.
func TestOperations_UpWithTarget(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", stack.Deploy, nil)
	s.Up(t)
	require.NoError(t, s.SetConfig(t.Context(), "keyDescription", auto.ConfigValue{Value: "another"}))
	require.NoError(t, s.SetConfig(t.Context(), "bucketKeyEnabled", auto.ConfigValue{Value: "false"}))
	s.Up(t, optup.Target([]string{urnOf(t, s, "aws:kms/key:Key")}))
	preview := s.Preview(t)
	require.Equal(t, 1, preview.Changes[apitype.OpUpdate], preview.Output)
	require.Contains(t, preview.Output, "ckms-encryption")
	s.Up(t)
	require.True(t, s.Preview(t).Clean())
}

// A stack that is renamed goes on with the same resources.
func TestOperations_StackRename(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", stack.Deploy, nil)
	before := s.Up(t)
	require.NoError(t, pulumiCommand(t, l, s, "stack", "rename", "renamed", "--stack", "sandbox"))
	renamed := l.Stack(t, "renamed", stack.Deploy, nil)
	require.Equal(t, before, renamed.Up(t))
	require.True(t, renamed.Preview(t).Clean())
	renamed.Destroy(t)
}

// What is not protected goes, and the protected key stays as it is.
func TestOperations_DestroyExcludesProtected(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", program(
		key("kept", components.CustomerKeyArgs{}, pulumi.Protect(true)),
		key("gone", components.CustomerKeyArgs{}),
	), nil)
	outputs := s.Up(t)
	require.NoError(t, pulumiCommand(t, l, s, "destroy", "--yes", "--skip-preview", "--exclude-protected", "--stack", "sandbox"))
	require.Equal(t, "Enabled", string(keyState(t, l, outputs["kept"].(string))))
	require.Equal(t, "PendingDeletion", string(keyState(t, l, outputs["gone"].(string))))
}

// A component that moves below another parent keeps its resources, with an alias
// that says where it was.
func TestOperations_AComponentMovesBelowAnotherParent(t *testing.T) {
	t.Parallel()
	requireUpgraded(t, baseline(nil), func(ctx *pulumi.Context) error {
		parent := &struct{ pulumi.ResourceState }{}
		if err := ctx.RegisterComponentResource("test:index:Team", "team", parent); err != nil {
			return err
		}
		return baseline(nil, pulumi.Parent(parent), pulumi.Aliases([]pulumi.Alias{{NoParent: pulumi.Bool(true)}}))(ctx)
	})
}

// A key moves from one stack to another without a change in AWS.
func TestOperations_StateMove(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	own := key("app", components.CustomerKeyArgs{})
	from := l.Stack(t, "from", own, nil)
	arn := from.Up(t)["app"]
	to := l.Stack(t, "to", own, nil)
	before := account(t, l, "")
	require.NoError(t, pulumiCommand(t, l, from, "state", "move", "--yes", "--source", "from", "--dest", "to", "--include-parents",
		urnOf(t, from, components.CustomerKeyType), urnOf(t, from, "aws:kms/key:Key"), urnOf(t, from, "aws:kms/keyPolicy:KeyPolicy"), urnOf(t, from, "aws:kms/alias:Alias")))
	require.Equal(t, arn, to.Up(t)["app"])
	require.Equal(t, before, account(t, l, ""))
	require.True(t, to.Preview(t).Clean())
	for _, r := range resources(t, from) {
		require.False(t, strings.HasPrefix(string(r.Type), "aws:"), r.URN)
	}
	to.Destroy(t, optdestroy.Remove())
}

// pulumiCommand runs the engine's own CLI on the stack.
func pulumiCommand(t *testing.T, l *lab.Lab, s *lab.Stack, args ...string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), l.Tools.Pulumi, append([]string{"--non-interactive"}, args...)...)
	cmd.Dir = s.Workspace().WorkDir()
	cmd.Env = l.Env.Environ(os.Environ())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	t.Log(filepath.Base(cmd.Path), strings.Join(args, " "), out.String())
	return err
}
