package trino_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/trino"
	"github.com/securethecloud/kms-baseline/sandbox/trino/trinotest"
)

// TestStart_AnswersAndEndsWithItsOwner also shows that no server outlives Stop.
func TestStart_AnswersAndEndsWithItsOwner(t *testing.T) {
	t.Parallel()
	aws, err := localaws.Open(localaws.Options{Dir: t.TempDir(), TrailDelivery: -1})
	require.NoError(t, err)
	defer aws.Close()
	require.NoError(t, aws.Start("127.0.0.1:0"))
	server := trinotest.Start(t, trino.Options{URL: aws.URL(), CAFile: aws.CAFile(), Region: "us-east-1", AccessKey: "trino"})
	require.NoError(t, server.Execute(t.Context(), "SELECT 1"))
	require.ErrorContains(t, server.Execute(t.Context(), "SELECT nothing"), "cannot be resolved")
	server.Stop()
	require.Eventually(t, func() bool { return server.Execute(t.Context(), "SELECT 1") != nil }, time.Minute, 100*time.Millisecond)
}
