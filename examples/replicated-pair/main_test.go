package main

import (
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/e2e/lab/verified"
	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

const role = "arn:aws:iam::" + engine.AccountID + ":role/replication"

// The role may do what the two documents say and nothing else, and that is enough.
func TestReplicatedPair(t *testing.T) {
	t.Parallel()
	l := lab.New(t, func(o *localaws.Options) { o.Replication = -1 })
	trust, err := os.ReadFile("trust-policy.json")
	require.NoError(t, err)
	require.NoError(t, l.AWS.SetRole(role, string(trust)))
	s := l.Stack(t, "dev", program, map[string]string{"roleArn": role})
	outputs := s.Up(t)
	text := func(name string) string { return outputs[name].(string) }
	require.NoError(t, l.AWS.SetIdentityPolicy(role, text("replicationPolicy")))
	require.True(t, s.Preview(t).Clean())

	client := func(region string) *s3.Client {
		cfg := l.Config(t, engine.AccountID)
		cfg.Region = region
		return s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	}
	home, other := client(engine.Region), client(text("replicaRegion"))
	bucket, replica, object := text("bucketName"), text("replicaBucketName"), "record.txt"
	_, err = home.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &object, Body: strings.NewReader("a record")})
	require.NoError(t, err)
	require.NoError(t, l.AWS.Replicate())
	original, err := home.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &object})
	require.NoError(t, err)
	require.Equal(t, types.ReplicationStatusCompleted, original.ReplicationStatus)
	require.Equal(t, text("keyArn"), *original.SSEKMSKeyId)
	copied, err := other.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &replica, Key: &object})
	require.NoError(t, err)
	require.Equal(t, types.ReplicationStatusReplica, copied.ReplicationStatus)
	require.Equal(t, text("replicaKeyArn"), *copied.SSEKMSKeyId)
	require.NotEqual(t, *original.SSEKMSKeyId, *copied.SSEKMSKeyId)

	verified.RequireIn(t, l, engine.Region, text("keyArn"), bucket, object)
	verified.RequireIn(t, l, text("replicaRegion"), text("replicaKeyArn"), replica, object)

	s = l.Stack(t, "dev", program, map[string]string{"roleArn": role, "forceDestroy": "true"})
	s.Up(t)
	s.Destroy(t)
}

// The role of a user is made with the file.
func TestTrustPolicy(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("trust-policy.json")
	require.NoError(t, err)
	require.JSONEq(t, components.ReplicationTrustPolicy, string(file))
}
