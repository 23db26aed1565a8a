package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCutUnused_KeepsWhatIsMentioned(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cut")
	require.NoError(t, copyModule(writeTree(t, map[string]string{
		"client.go": `package ec2

import (
	"context"
	"fmt"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	multierror "github.com/hashicorp/go-multierror"
	"github.com/hashicorp/hcl/v2"
	_ "time/tzdata"
)

type Client struct{ options Options }

type Options struct{ first, second v4.Signer }

func (o Options) Copy() Options { return o }

func (c *Client) DescribeVolumes(ctx context.Context) (*Volumes, error) {
	return nil, fmt.Errorf("%v", hcl.Diagnostics{})
}

func (c *Client) RunInstances(ctx context.Context) error { return multierror.Append(nil) }

var _ DescribeInstances = (*Client)(nil)
`,
		"volumes.go": `package ec2

type Volumes struct{ State VolumeState }

type VolumeState int

const (
	Creating VolumeState = iota
	Available
)

type Instances struct{}

var used, unused = Creating, 1

func init() { register(used) }

func register(VolumeState) {}
`,
		"instances.go": `package ec2

type DescribeInstances interface{}

var instances Instances
`,
		"client_test.go":      "package ec2",
		"testdata/request.go": "package testdata",
		"snapshot/request":    "a request",
		"LICENSE.txt":         "Apache",
	}), dir, ".", isBuilt))
	require.NoFileExists(t, filepath.Join(dir, "client_test.go"))
	require.NoFileExists(t, filepath.Join(dir, "testdata", "request.go"))
	require.NoFileExists(t, filepath.Join(dir, "snapshot", "request"))
	require.FileExists(t, filepath.Join(dir, "LICENSE.txt"))
	require.NoError(t, cutUnused(dir, map[string]bool{"Client": true, "DescribeVolumes": true}))
	client, err := os.ReadFile(filepath.Join(dir, "client.go"))
	require.NoError(t, err)
	require.Equal(t, `package ec2

import (
	"context"
	"fmt"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/hashicorp/hcl/v2"
	_ "time/tzdata"
)

type Client struct{ options Options }

type Options struct{ first, second v4.Signer }

func (o Options) Copy() Options { return o }

func (c *Client) DescribeVolumes(ctx context.Context) (*Volumes, error) {
	return nil, fmt.Errorf("%v", hcl.Diagnostics{})
}
`, string(client))
	volumes, err := os.ReadFile(filepath.Join(dir, "volumes.go"))
	require.NoError(t, err)
	require.Contains(t, string(volumes), "Available", "iota counts all constants of the group")
	require.Contains(t, string(volumes), "func register(VolumeState)")
	require.NotContains(t, string(volumes), "Instances")
	require.NoFileExists(t, filepath.Join(dir, "instances.go"))
}
