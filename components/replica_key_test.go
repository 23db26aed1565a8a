package components

import (
	"context"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

func TestReplicaKey(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		c, err := NewReplicaKey(ctx, "copy", &ReplicaKeyArgs{
			PrimaryKeyArn: pulumi.String(primaryKey).ToStringOutput(), ServiceUsers: pulumi.StringArray{pulumi.String(userRole)},
			Tags: pulumi.StringMap{"project": pulumi.String("p")},
		})
		require.NoError(t, err)
		require.Equal(t, replicaKey, resolved(t, ctx, c.KeyArn))
		require.Equal(t, "mrk-1234abcd12ab34cd56ef1234567890ab", resolved(t, ctx, c.KeyId))
		require.Equal(t, "alias/copy", resolved(t, ctx, c.AliasName))
		return nil
	}))
	key := m.get(t, "aws:kms/replicaKey:ReplicaKey", "copy-key")
	require.Equal(t, map[string]any{
		"primaryKeyArn": primaryKey, "description": "replica key of copy", "deletionWindowInDays": 30.0, "enabled": true, "tags": map[string]any{"project": "p"},
	}, key.Inputs.Mappable())
	policy := m.get(t, "aws:kms/keyPolicy:KeyPolicy", "copy-key-policy")
	require.Contains(t, policy.input("policy"), "s3.us-west-2.amazonaws.com", "a replica is used through the services of its own Region")
	require.NotContains(t, policy.input("policy"), "us-east-1")
	require.Equal(t, key.urn, policy.rpc.GetDeletedWith())
	require.Contains(t, m.get(t, "aws:kms/alias:Alias", "copy-alias").rpc.GetDependencies(), policy.urn)
}

func TestReplicaKey_Refuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args *ReplicaKeyArgs
		want []string
	}{
		"nothing":        {nil, []string{`ReplicaKey "copy": PrimaryKeyArn: it is required`}},
		"single-Region":  {&ReplicaKeyArgs{PrimaryKeyArn: pulumi.String(ownKey)}, []string{"PrimaryKeyArn", ownKey, "not a multi-Region key"}},
		"alias":          {&ReplicaKeyArgs{PrimaryKeyArn: pulumi.String("alias/x")}, []string{`PrimaryKeyArn: "alias/x"`, "it is an alias"}},
		"replica's name": {&ReplicaKeyArgs{PrimaryKeyArn: pulumi.String(primaryKey), AliasName: "x"}, []string{`ReplicaKey "copy": AliasName: "x"`}},
		"user":           {&ReplicaKeyArgs{PrimaryKeyArn: pulumi.String(primaryKey), ServiceUsers: pulumi.StringArray{pulumi.String("x")}}, []string{`ServiceUsers: "x"`}},
		"tag":            {&ReplicaKeyArgs{PrimaryKeyArn: pulumi.String(primaryKey), Tags: pulumi.StringMap{"aws:x": pulumi.String("x")}}, []string{`Tags: "aws:x"`}},
		"all at once":    {&ReplicaKeyArgs{AliasName: "x", DeletionWindowInDays: ptr(31)}, []string{"PrimaryKeyArn", "AliasName", "DeletionWindowInDays: 31", "7 to 30"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireRefused(t, func(ctx *pulumi.Context) error {
				_, err := NewReplicaKey(ctx, "copy", c.args)
				return err
			}, c.want...)
		})
	}
}

func TestReplicaKey_SaysEachMistakeOnce(t *testing.T) {
	t.Parallel()
	err := newMock().run(func(ctx *pulumi.Context) error {
		_, err := NewReplicaKey(ctx, "copy", &ReplicaKeyArgs{PrimaryKeyArn: pulumi.String(primaryKey), DeletionWindowInDays: ptr(31)})
		return err
	})
	require.Equal(t, 1, strings.Count(err.Error(), "DeletionWindowInDays"))
}

func TestReplicaKey_ChecksALatePrimary(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.ErrorContains(t, m.run(func(ctx *pulumi.Context) error {
		_, err := NewReplicaKey(ctx, "copy", &ReplicaKeyArgs{PrimaryKeyArn: pulumi.String(ownKey).ToStringOutput()})
		return err
	}), "not a multi-Region key")
	require.False(t, m.has("aws:kms/replicaKey:ReplicaKey"))
}

// A replica is governed as a key is.
func TestReplicaKey_AcceptsWhatAKeyAccepts(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		require.NoError(t, UseKeyGuard(ctx, func(context.Context, string, OwnUses) error { return nil }))
		_, err := NewReplicaKey(ctx, "app", &ReplicaKeyArgs{
			PrimaryKeyArn: pulumi.String(primaryKey), Accounts: texts("444455556666"), Services: texts("cloudtrail.amazonaws.com"),
			DirectUsers: texts(userRole), Statements: []PolicyStatement{{Sid: "More", Principals: texts(adminRole), Actions: texts("kms:Sign")}}, GuardDeletion: true,
		})
		return err
	}))
	require.Equal(t, []string{guardHook}, m.get(t, "aws:kms/replicaKey:ReplicaKey", "app-key").rpc.GetHooks().GetBeforeDelete())
	policy := m.get(t, "aws:kms/keyPolicy:KeyPolicy", "app-key-policy").input("policy")
	for _, sid := range []string{"DirectUsers", "Accounts", "CloudTrail", "More"} {
		require.Contains(t, policy, `"Sid":"`+sid+`"`)
	}
}
