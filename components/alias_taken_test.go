package components

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/kms"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

func TestAliasIsFree_LooksBeforeAKeyIsMade(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		_, err := NewCustomerKey(ctx, "app", nil)
		require.NoError(t, err)
		_, err = NewReplicaKey(ctx, "far", &ReplicaKeyArgs{PrimaryKeyArn: pulumi.String(primaryKey)})
		return err
	}))
	for typ, name := range map[string]string{"aws:kms/key:Key": "app-key", "aws:kms/replicaKey:ReplicaKey": "far-key"} {
		hooks := m.get(t, typ, name).rpc.GetHooks()
		require.Len(t, hooks.GetBeforeCreate(), 1)
		require.Len(t, hooks.GetAfterUpdate(), map[string]int{"app-key": 1}[name], "a replica rotates with its primary")
		require.Empty(t, hooks.GetBeforeDelete(), "a hook there makes destroy need --run-program")
	}
}

// The engine refuses two hooks of one name, and components below different
// parents may have one.
func TestAliasIsFree_KeysOfOneName(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		_, err := NewCustomerKey(ctx, "app", nil)
		require.NoError(t, err)
		_, err = NewReplicaKey(ctx, "app", &ReplicaKeyArgs{PrimaryKeyArn: pulumi.String(primaryKey)})
		return err
	}))
	require.Equal(t, []string{"alias of the key of app"}, m.get(t, "aws:kms/key:Key", "app-key").rpc.GetHooks().GetBeforeCreate())
	require.Equal(t, []string{"alias of the key of app (2)"}, m.get(t, "aws:kms/replicaKey:ReplicaKey", "app-key").rpc.GetHooks().GetBeforeCreate())
}

func TestCheckTaken(t *testing.T) {
	t.Parallel()
	always, never := func(kms.LookupKeyResult) bool { return true }, func(kms.LookupKeyResult) bool { return false }
	h := &pulumi.ResourceHookArgs{
		URN: "urn:pulumi:dev::p::my:Thing$kms-baseline:index:CustomerKey$aws:kms/key:Key::app-key", Type: "aws:kms/key:Key", Name: "app-key",
	}
	for name, c := range map[string]struct {
		key   kms.LookupKeyResult
		taken func(kms.LookupKeyResult) bool
		want  []string
	}{
		"a key that is being replaced": {key: kms.LookupKeyResult{Arn: ownKey, KeyState: "Enabled"}, taken: never},
		"a key that is there": {key: kms.LookupKeyResult{Arn: ownKey, Id: "1234abcd", KeyState: "Enabled"}, taken: always, want: []string{
			"alias/app names " + ownKey + " already",
			"pulumi import aws:kms/key:Key app-key 1234abcd --parent parent='urn:pulumi:dev::p::my:Thing$kms-baseline:index:CustomerKey::app'",
			"--provider provider=URN",
		}},
		"a key that is disabled": {key: kms.LookupKeyResult{Arn: ownKey, KeyState: "Disabled"}, taken: always, want: []string{"already"}},
		"a key that is to be deleted": {key: kms.LookupKeyResult{Arn: ownKey, KeyState: "PendingDeletion", DeletionDate: "2030-01-02T03:04:05Z"}, taken: never, want: []string{
			"pending deletion until 2030-01-02T03:04:05Z", "aws kms cancel-key-deletion --key-id " + ownKey, "aws kms delete-alias --alias-name alias/app",
		}},
		"a primary that is to be deleted": {key: kms.LookupKeyResult{Arn: ownKey, KeyState: "PendingReplicaDeletion"}, taken: never, want: []string{"pending deletion"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := checkTaken(h, "app", "alias/app", c.key, c.taken)
			if c.want == nil {
				require.NoError(t, err)
			}
			for _, w := range c.want {
				require.ErrorContains(t, err, w)
			}
		})
	}
}

// What pulumi-aws says of an alias that is not there, as the provider wraps it.
func TestNoSuchAlias(t *testing.T) {
	t.Parallel()
	require.True(t, noSuchAlias(errors.New("invoking aws:kms/getKey:getKey: 1 error occurred:\n\t* reading KMS Key (alias/app): couldn't find resource")))
	require.False(t, noSuchAlias(errors.New("reading KMS Key (alias/app): operation error KMS: DescribeKey, AccessDeniedException")))
}

func TestAnswerBefore(t *testing.T) {
	t.Parallel()
	reached := make(chan time.Time, 1)
	reached <- time.Time{}
	hangs := make(chan struct{})
	defer close(hangs)
	_, err := answerBefore(reached, func() (*kms.LookupKeyResult, error) { <-hangs; return nil, nil })
	require.ErrorIs(t, err, errNoAnswer)

	key, err := answerBefore(nil, func() (*kms.LookupKeyResult, error) { return &kms.LookupKeyResult{Arn: "a"}, nil })
	require.NoError(t, err)
	require.Equal(t, "a", key.Arn)
	_, err = answerBefore(nil, func() (*kms.LookupKeyResult, error) { return nil, context.Canceled })
	require.ErrorIs(t, err, context.Canceled)
}
