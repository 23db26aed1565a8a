package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/e2e/lab"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

func TestApplication(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	platform := l.Stack(t, "platform", func(ctx *pulumi.Context) error {
		key, err := components.NewCustomerKey(ctx, "platform", nil)
		if err != nil {
			return err
		}
		ctx.Export("keyArn", key.KeyArn)
		return nil
	}, nil)
	platform.Up(t)
	s := l.Stack(t, "dev", program, map[string]string{"platformStack": "organization/kms-baseline/platform"})
	require.Contains(t, s.Up(t)["bucketName"], "application-123456789012-")
	require.True(t, s.Preview(t).Clean())
	s.Destroy(t)
	platform.Destroy(t)
}
