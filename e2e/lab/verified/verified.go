// Package verified holds a lab to verify's checks. It is not part of package
// lab, so that who uses a lab alone need not link verify.
package verified

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
	"github.com/securethecloud/kms-baseline/verify/check"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// Require requires that each of verify's checks of the key and the bucket
// passes, but for those of the event history and the EBS defaults.
func Require(t testing.TB, l *lab.Lab, keyArn, bucket string) {
	t.Helper()
	RequireIn(t, l, engine.Region, keyArn, bucket)
}

// RequireIn is Require for a key and a bucket of this Region, and for objects.
func RequireIn(t testing.TB, l *lab.Lab, region, keyArn, bucket string, objects ...string) {
	t.Helper()
	cfg := l.Config(t, engine.AccountID)
	cfg.Region = region
	found, err := check.Run(t.Context(), check.Config{AWS: cfg, Keys: []string{keyArn}, Bucket: bucket, Objects: objects, SkipEBS: true, Skip: []string{"trail"}})
	require.NoError(t, err)
	require.NotEmpty(t, found.Results)
	for _, r := range found.Results {
		require.Contains(t, []report.Status{report.Pass, report.Skipped}, r.Status, "%+v", r)
	}
}
