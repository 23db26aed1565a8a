package e2e

import (
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/e2e/lab"
)

// inRegion is an explicit provider of the lab's account in another Region.
func inRegion(ctx *pulumi.Context, region string) (pulumi.ResourceOption, error) {
	var provider pulumi.ProviderResourceState
	err := ctx.RegisterResource("pulumi:providers:aws", region, pulumi.Map{
		"region": pulumi.String(region), "s3UsePathStyle": pulumi.Bool(true), "skipMetadataApiCheck": pulumi.Bool(true),
	}, &provider, pulumi.Version("6.83.0")) // as the provider's own package does
	return pulumi.Provider(&provider), err
}

// A replica's policy is shown by the resource that sets it, and nowhere else.
func TestReplica_RefreshShowsNoPolicy(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", func(ctx *pulumi.Context) error {
		key, err := components.NewCustomerKey(ctx, "app", &components.CustomerKeyArgs{MultiRegion: true})
		if err != nil {
			return err
		}
		west, err := inRegion(ctx, "us-west-2")
		if err != nil {
			return err
		}
		_, err = components.NewReplicaKey(ctx, "app-west", &components.ReplicaKeyArgs{PrimaryKeyArn: key.KeyArn}, west)
		return err
	}, nil)
	s.Up(t)
	for range 2 {
		preview := s.Preview(t, optpreview.ExpectNoChanges(), optpreview.Diff())
		require.True(t, preview.Clean(), preview.Output)
		for line := range strings.Lines(preview.Output) {
			if strings.Contains(line, "~ ") && !strings.Contains(line, "(hidden)") && !strings.Contains(line, "(refresh)") {
				t.Errorf("a change that a reader would have to explain away: %s", line)
			}
		}
		_, err := s.Refresh(t.Context())
		require.NoError(t, err)
	}
	s.Destroy(t)
}
