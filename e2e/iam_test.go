package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
	"github.com/securethecloud/kms-baseline/stack"
)

// allow gives the lab's user the documented policies and nothing else.
func allow(t *testing.T, l *lab.Lab, drop string, names ...string) {
	t.Helper()
	merged := struct {
		Version   string
		Statement []map[string]any
	}{Version: "2012-10-17"}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(l.Root, "docs", "iam", name+".json"))
		require.NoError(t, err)
		var p struct{ Statement []map[string]any }
		require.NoError(t, json.Unmarshal([]byte(strings.ReplaceAll(string(b), "111122223333", engine.AccountID)), &p))
		for _, s := range p.Statement {
			if s["Sid"] != drop {
				merged.Statement = append(merged.Statement, s)
			}
		}
	}
	b, err := json.Marshal(merged)
	require.NoError(t, err)
	require.NoError(t, l.AWS.SetIdentityPolicy("arn:aws:iam::"+engine.AccountID+":user/localaws", string(b)))
}

// The documented permissions are enough, one step after the other.
func TestIAM_DocumentedPoliciesSuffice(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", stack.Deploy, nil)
	allow(t, l, "", "preview", "deploy")
	s.Up(t)
	allow(t, l, "", "preview")
	require.True(t, s.Preview(t).Clean())
	allow(t, l, "", "destroy")
	s.Destroy(t)
}

// And they are needed: without one of them, up is denied by name.
func TestIAM_AMissingPermissionIsNamed(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", stack.Deploy, nil)
	for _, missing := range []struct{ statement, action string }{
		{"NewKey", "kms:CreateKey"},
		{"KeyUseThroughS3", "kms:GenerateDataKey"},
	} {
		allow(t, l, missing.statement, "preview", "deploy")
		out, err := s.TryUp(t.Context(), optup.SuppressProgress())
		require.Error(t, err, missing.statement)
		require.Contains(t, out, missing.action)
	}
	allow(t, l, "", "preview", "deploy")
	s.Up(t)
}
