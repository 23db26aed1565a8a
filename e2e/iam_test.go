package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
	"github.com/securethecloud/kms-baseline/stack"
	"github.com/securethecloud/kms-baseline/verify/check"
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

// verify orphans needs its own document, and every statement of it.
func TestIAM_Orphans(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	outputs := l.Stack(t, "sandbox", stack.Deploy, nil).Up(t)
	aws := l.Config(t, engine.AccountID)
	cfg := check.Config{AWS: aws, Keys: []string{outputs["keyArn"].(string)}, Bucket: outputs["bucketName"].(string)}
	like, err := check.LikenessOf(t.Context(), cfg)
	require.NoError(t, err)
	in := &kms.CreateKeyInput{Description: &like.Description}
	for k, v := range like.Tags {
		in.Tags = append(in.Tags, kmstypes.Tag{TagKey: &k, TagValue: &v})
	}
	_, err = kms.NewFromConfig(aws).CreateKey(t.Context(), in)
	require.NoError(t, err)
	name := like.BucketPrefix + "20260301101112131400000001"
	_, err = s3.NewFromConfig(aws).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
	require.NoError(t, err)

	for _, without := range []string{"Account", "Keys", "Buckets", ""} {
		allow(t, l, without, "orphans")
		like, err := check.LikenessOf(t.Context(), cfg)
		if err == nil {
			var found []check.Orphan
			found, err = check.Orphans(t.Context(), cfg, like)
			if without == "" {
				require.Len(t, found, 2)
			}
		}
		if without == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, "AccessDenied", without)
		}
	}
}

// verify orphans --trail needs one document besides, and every statement of it.
func TestIAM_OrphansOfATrail(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.Stack(t, "sandbox", auditTrail("audit", false), nil).Up(t)
	cfg := check.Config{AWS: l.Config(t, engine.AccountID)}
	// Of a trail that logs, a bucket; and of one that does not exist, a database.
	name := "audit-" + engine.AccountID + "-20260301101112131400000001"
	_, err := s3.NewFromConfig(cfg.AWS).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
	require.NoError(t, err)
	l.CLI(t, "glue", "create-database", "--database-input", `{"Name":"gone","Description":"log files of the trail gone"}`)
	for _, without := range []string{"Account", "Keys", "AccountOfTrails", "Trails", "Workgroups", "Catalog", "Tables", "TrailBuckets", ""} {
		allow(t, l, without, "orphans", "orphans-trail")
		_, buckets, err := check.TrailOrphans(t.Context(), cfg, "audit")
		_, databases, ofGone := check.TrailOrphans(t.Context(), cfg, "gone")
		err = errors.Join(err, ofGone)
		if without != "" {
			require.ErrorContains(t, err, "AccessDenied", without)
			continue
		}
		require.NoError(t, err)
		require.Len(t, buckets, 1)
		require.Len(t, databases, 1)
	}
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
