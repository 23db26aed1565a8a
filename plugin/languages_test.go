package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// The examples that `make check` has type-checked, run with the SDKs that it
// has generated.
func TestLanguages_Example(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, program, script string }{
		{"python", ".venv/bin/python", "run.py"},
		{"typescript", "node", "run.js"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var replicating atomic.Int32
			l := lab.New(t, func(o *localaws.Options) {
				o.Log = func(c localaws.Call) {
					if c.Operation == "PutBucketReplication" && c.Status == http.StatusOK {
						replicating.Add(1)
					}
				}
			})
			dir := filepath.Join(engine.Dir(l.Root), "check", c.name)
			if _, err := os.Stat(filepath.Join(dir, "checked")); err != nil {
				t.Skipf("the SDK is not there: make -C plugin check-%s, which needs npm or PyPI", c.name)
			}
			_, err := tools()
			require.NoError(t, err)
			script, err := filepath.Abs(filepath.Join("testdata", c.script))
			require.NoError(t, err)
			program := c.program
			if filepath.Base(program) != program {
				program = filepath.Join(dir, program)
			}
			backend := t.TempDir()
			cmd := exec.CommandContext(t.Context(), program, script, `{"aws:region": "us-east-1", "aws:s3UsePathStyle": "true", "aws:skipMetadataApiCheck": "true", "replicationRoleArn": "`+replicationRole+`"}`)
			cmd.Dir = dir
			cmd.Env = l.Env.With("PULUMI_BACKEND_URL", "file://"+filepath.ToSlash(backend)).Environ(os.Environ())
			var said bytes.Buffer
			cmd.Stderr = &said
			out, err := cmd.Output()
			require.NoError(t, err, said.String())

			var outputs struct {
				KeyArn                 string
				LogsBucketName         string
				ReplicationPolicy      string
				EBSEncryptionByDefault bool
			}
			require.NoError(t, json.Unmarshal(out, &outputs))
			require.True(t, outputs.EBSEncryptionByDefault)
			require.Contains(t, outputs.LogsBucketName, "ckms-logs-"+engine.AccountID)
			require.Contains(t, outputs.ReplicationPolicy, "arn:aws:s3:::ckms-replicas-"+engine.AccountID)
			require.EqualValues(t, 1, replicating.Load(), "and the script's preview found it as the program says")
			requirePendingDeletion(t, l, outputs.KeyArn)
		})
	}
}

// Java's host is published as a module, so that plain pulumi runs the example.
func TestLanguages_Java(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	dir := filepath.Join(engine.Dir(l.Root), "check", "java")
	if _, err := os.Stat(filepath.Join(dir, "checked")); err != nil {
		t.Skip("the SDK is not there: make -C plugin check-java, which needs Maven")
	}
	_, err := tools()
	require.NoError(t, err)
	p := openProgram(t, l, dir, filepath.Join(dir, "bin"))
	p.run("config", "set", "replicationRoleArn", replicationRole)
	p.run("up", "--yes")
	p.run("preview", "--refresh", "--expect-no-changes")
	outputs := p.outputs()
	requireReplicated(t, l, outputs["logsBucketName"].(string), "ckms-replicas-", outputs["keyArn"].(string))
	require.Equal(t, true, outputs["ebsEncryptionByDefault"])
	require.Contains(t, outputs["logsBucketName"], "ckms-logs-"+engine.AccountID)
	p.run("destroy", "--yes")
	requirePendingDeletion(t, l, outputs["keyArn"].(string))
}

const replicationRole = "arn:aws:iam::" + engine.AccountID + ":role/replication"

// requireReplicated requires that the bucket is replicated, under the key, into a
// bucket whose name begins so, and returns the rule.
func requireReplicated(t *testing.T, l *lab.Lab, bucket, destination, keyARN string) s3types.ReplicationRule {
	t.Helper()
	objects := s3.NewFromConfig(l.Config(t, engine.AccountID), func(o *s3.Options) { o.UsePathStyle = true })
	got, err := objects.GetBucketReplication(t.Context(), &s3.GetBucketReplicationInput{Bucket: &bucket})
	require.NoError(t, err)
	require.Equal(t, replicationRole, *got.ReplicationConfiguration.Role)
	require.Len(t, got.ReplicationConfiguration.Rules, 1)
	rule := got.ReplicationConfiguration.Rules[0]
	require.Contains(t, *rule.Destination.Bucket, "arn:aws:s3:::"+destination)
	require.Equal(t, keyARN, *rule.Destination.EncryptionConfiguration.ReplicaKmsKeyID)
	return rule
}

func requirePendingDeletion(t *testing.T, l *lab.Lab, keyARN string) {
	t.Helper()
	key, err := kms.NewFromConfig(l.Config(t, engine.AccountID)).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &keyARN})
	require.NoError(t, err)
	require.Equal(t, kmstypes.KeyStatePendingDeletion, key.KeyMetadata.KeyState)
}
