package check

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/verify/report"
)

func TestRun_GoodStack(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.config.Canary = true
	rep := s.run(t)
	t.Log("\n" + show(rep))
	for id, got := range status(rep) {
		want := report.Pass
		if id == "trail.keys" {
			want = report.Skipped
		}
		require.Equal(t, want, got, "%s\n%s", id, show(rep))
	}
	require.Equal(t, report.Pass, rep.Verdict)
	t.Log(toJSON(t, rep))
}
