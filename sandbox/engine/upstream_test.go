package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProviderTypes_AreThoseOfTheTable(t *testing.T) {
	t.Parallel()
	types, err := providerTypes("../..")
	require.NoError(t, err)
	require.Subset(t, types, []string{"aws_kms_key", "aws_s3_bucket", "aws_ebs_default_kms_key", "aws_partition"})
}

func TestCutClient_KeepsWhatItsUsersMention(t *testing.T) {
	t.Parallel()
	client := writeTree(t, map[string]string{
		"go.mod": "module example.com/ec2",
		"client.go": `package ec2

import "example.com/ec2/types"

type Client struct{}

func (c *Client) DescribeVolumes() types.Volume { return types.Volume{} }

func (c *Client) RunInstances() types.Instance { return types.Instance{} }
`,
		"types/types.go": `package types

type Volume struct{}

type Instance struct{}

type Snapshot struct{}
`,
	})
	users := writeTree(t, map[string]string{
		"client.go": "package user\n\nimport \"example.com/ec2\"\n\nvar volume = (&ec2.Client{}).DescribeVolumes()",
		"types.go":  "package user\n\nimport \"example.com/ec2/types\"\n\nvar snapshot types.Snapshot",
		"other.go":  "package user\n\nfunc RunInstances() {}",
	})
	dst := filepath.Join(t.TempDir(), "ec2")
	require.NoError(t, cutClient(client, dst, "example.com/ec2", users))
	operations, err := os.ReadFile(filepath.Join(dst, "client.go"))
	require.NoError(t, err)
	require.Contains(t, string(operations), "DescribeVolumes")
	require.NotContains(t, string(operations), "RunInstances")
	types, err := os.ReadFile(filepath.Join(dst, "types", "types.go"))
	require.NoError(t, err)
	require.Contains(t, string(types), "Volume")
	require.Contains(t, string(types), "Snapshot")
	require.NotContains(t, string(types), "Instance")
}

func TestCutBridge_DropsOneFile(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"go.mod":                          "module example.com/bridge",
		"pkg/pf/tfbridge/main.go":         "package tfbridge",
		"pkg/pf/tfbridge/provider_mux.go": "package tfbridge",
	}
	dst := filepath.Join(t.TempDir(), "bridge")
	require.NoError(t, cutBridge(writeTree(t, files), dst))
	require.FileExists(t, filepath.Join(dst, "pkg", "pf", "tfbridge", "main.go"))
	require.NoFileExists(t, filepath.Join(dst, "pkg", "pf", "tfbridge", "provider_mux.go"))
	delete(files, "pkg/pf/tfbridge/provider_mux.go")
	require.ErrorContains(t, cutBridge(writeTree(t, files), filepath.Join(t.TempDir(), "bridge")), "provider_mux.go", "another version")
}
