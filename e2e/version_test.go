package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/stack"
)

// An engine of an older version is refused before anything is registered: by its
// own check of Pulumi.yaml, and by the components in a project without one.
func TestVersion_AnOldEngineIsRefused(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	old := *l.Tools
	old.Pulumi = filepath.Join(t.TempDir(), "pulumi")
	// The engine of this repository, linked to say that it is older.
	cmd := exec.CommandContext(t.Context(), "go", "build", "-mod=readonly", "-buildvcs=false",
		"-ldflags", "-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=3.200.0", "-o", old.Pulumi, "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi")
	cmd.Dir = filepath.Join(l.Root, "sandbox", "pulumi")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	l.Tools = &old

	s := l.Stack(t, "sandbox", stack.Deploy, nil)
	said, err := s.TryUp(t.Context())
	require.Error(t, err)
	require.Contains(t, said+err.Error(), `does not satisfy the version range ">=`+components.MinimumPulumiVersion+`"`)
	require.Empty(t, resources(t, s))

	s = l.Bare(t, "sandbox", func(ctx *pulumi.Context) error {
		_, err := components.NewEncryptionBaseline(ctx, "app", nil)
		return err
	})
	said, err = s.TryUp(t.Context())
	require.Error(t, err)
	require.Contains(t, said+err.Error(), "kms-baseline needs Pulumi "+components.MinimumPulumiVersion+" or later")
	for _, r := range resources(t, s) {
		require.Equal(t, "pulumi:pulumi:Stack", string(r.Type))
	}
}
