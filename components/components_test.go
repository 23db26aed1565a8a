package components

import (
	"errors"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

// TestApart: what f does is as if it were called, but for its call stack.
func TestApart(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	require.ErrorIs(t, apart(func() error { return failed }), failed)
	var stack string
	require.NoError(t, apart(func() error { stack = string(debug.Stack()); return nil }))
	require.NotContains(t, stack, "tRunner", "the callers are not in it")
	wentOn := make(chan bool, 2)
	go func() {
		defer func() { wentOn <- false }()
		_ = apart(func() error { runtime.Goexit(); return nil })
		wentOn <- true
	}()
	require.False(t, <-wentOn, "the caller ends with the function")
	defer func() { require.Contains(t, recover(), "a nil map") }()
	_ = apart(func() error { panic("a nil map") })
	require.Fail(t, "a panic goes on in the caller")
}

// TestURNs pins the name, the type and the parent of every resource: a URN is
// what ties a resource in a user's state to the key or the bucket in the
// account.
func TestURNs(t *testing.T) {
	t.Parallel()
	everything := func(ctx *pulumi.Context) error {
		if _, err := NewEncryptionBaseline(ctx, "app", &EncryptionBaselineArgs{
			Bucket: &BaselineBucket{Args: &EncryptedBucketArgs{
				LifecycleRules: []LifecycleRule{{ID: "old", ExpirationDays: ptr(365)}},
				Logging:        &AccessLogging{TargetBucket: pulumi.String("access-logs")},
				ObjectLock:     &ObjectLock{Mode: "GOVERNANCE", Days: ptr(1)},
				Replication:    replicated(),
			}},
		}); err != nil {
			return err
		}
		_, err := NewReplicaKey(ctx, "copy", &ReplicaKeyArgs{PrimaryKeyArn: pulumi.String(primaryKey)})
		return err
	}
	alone := func(ctx *pulumi.Context) error {
		if _, err := NewCustomerKey(ctx, "key", nil); err != nil {
			return err
		}
		if _, err := NewEncryptedBucket(ctx, "bucket", &EncryptedBucketArgs{KmsKeyArn: pulumi.String(ownKey)}); err != nil {
			return err
		}
		_, err := NewEBSDefaultEncryption(ctx, "ebs", &EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String(ownKey)})
		return err
	}
	var urns []string
	for _, program := range []func(*pulumi.Context) error{everything, alone} {
		m := newMock()
		require.NoError(t, m.run(program))
		urns = append(urns, m.urns...)
	}
	slices.Sort(urns)
	require.Equal(t, urns, slices.Compact(slices.Clone(urns)), "two resources share a URN")
	requireGolden(t, "urns.golden", strings.Join(urns, "\n")+"\n",
		"a resource's name, type or parent has changed. In a user's stack that deletes the resource and makes another: a new key, and data that needs the old one. "+
			"Give the child pulumi.Aliases with its former URN, and only then run the test with -update")
}

// TestImports keeps what a user of the components compiles and links to the
// Pulumi SDK, the three service packages of pulumi-aws, and what those need.
func TestImports(t *testing.T) {
	t.Parallel()
	list := func(args ...string) []string {
		out, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps"}, args...)...).Output()
		require.NoError(t, err)
		return strings.Fields(string(out))
	}
	const aws = "github.com/pulumi/pulumi-aws/sdk/v6/go/aws"
	direct := []string{"github.com/pulumi/pulumi/sdk/v3/go/pulumi", aws + "/kms", aws + "/s3", aws + "/ebs"}
	allowed := append(list(direct...), "github.com/securethecloud/kms-baseline/components")
	ours := list(".")
	for _, p := range ours {
		require.NotContains(t, p, "aws-sdk-go-v2")
		require.True(t, !strings.Contains(strings.SplitN(p, "/", 2)[0], ".") || slices.Contains(allowed, p), "components pulls in %s, which pulumi and pulumi-aws do not", p)
	}
	require.NotContains(t, ours, aws, "the root package costs every preview about a second")
}
