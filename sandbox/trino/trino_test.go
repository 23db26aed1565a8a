package trino_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
	"github.com/securethecloud/kms-baseline/sandbox/trino"
)

// TestStart_AnswersAndEndsWithItsOwner also shows that no server outlives Stop.
func TestStart_AnswersAndEndsWithItsOwner(t *testing.T) {
	t.Parallel()
	root, err := engine.FindRoot(".")
	require.NoError(t, err)
	program, err := engine.FindTrino(t.Context(), root)
	if err != nil {
		t.Skipf("needs Trino: %v", err)
	}
	aws, err := localaws.Open(localaws.Options{Dir: t.TempDir(), TrailDelivery: -1})
	require.NoError(t, err)
	defer aws.Close()
	require.NoError(t, aws.Start("127.0.0.1:0"))
	server, err := trino.Start(t.Context(), program, trino.Options{
		URL: aws.URL(), CAFile: aws.CAFile(), Region: "us-east-1", AccessKey: "trino", Dir: t.TempDir(),
	})
	require.NoError(t, err)
	require.NoError(t, server.Execute(t.Context(), "SELECT 1"))
	require.ErrorContains(t, server.Execute(t.Context(), "SELECT nothing"), "cannot be resolved")
	server.Stop()
	require.Eventually(t, func() bool { return server.Execute(t.Context(), "SELECT 1") != nil }, 10*time.Second, 100*time.Millisecond)
}
