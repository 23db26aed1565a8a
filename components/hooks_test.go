package components

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/promise"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"
	"github.com/stretchr/testify/require"
)

// awaitRegistration reads this field of the SDK's; without it, it waits for nothing,
// and a program could end before its hooks are registered.
func TestAwaitRegistration_FindsTheSDKsField(t *testing.T) {
	t.Parallel()
	const changed = "awaitRegistration waits for nothing with this version of the Pulumi SDK: read how pulumi.Context.RegisterResourceHook and marshalResourceHooks wait now, and correct it"
	field, ok := reflect.TypeFor[pulumi.ResourceHook]().FieldByName("registered")
	require.True(t, ok, changed)
	require.Equal(t, reflect.TypeFor[*promise.Promise[struct{}]](), field.Type, changed)
}

func TestGuardDeletion_BindsTheHook(t *testing.T) {
	t.Parallel()
	const keyType = "aws:kms/key:Key"
	m := newMock()
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		require.NoError(t, UseKeyGuard(ctx, func(context.Context, string, OwnUses) error { return nil }))
		for name, guarded := range map[string]bool{"guarded": true, "second": true, "plain": false} {
			_, err := NewCustomerKey(ctx, name, &CustomerKeyArgs{GuardDeletion: guarded})
			require.NoError(t, err)
		}
		return nil
	}))
	require.Equal(t, []string{guardHook}, m.get(t, keyType, "guarded-key").rpc.GetHooks().GetBeforeDelete())
	require.Equal(t, []string{guardHook}, m.get(t, keyType, "second-key").rpc.GetHooks().GetBeforeDelete())
	require.Empty(t, m.get(t, keyType, "plain-key").rpc.GetHooks().GetBeforeDelete(), "a hook makes destroy need --run-program")

	requireRefused(t, func(ctx *pulumi.Context) error {
		_, err := NewCustomerKey(ctx, "app", &CustomerKeyArgs{GuardDeletion: true})
		return err
	}, `CustomerKey "app": GuardDeletion: call keyguard.Register(ctx)`)
}

// A preview excludes what the program's components own; a deployment, by which
// time that is deleted, excludes nothing.
func TestAskGuard(t *testing.T) {
	t.Parallel()
	state := &pulumi.ResourceHookArgs{Name: "app-key", OldOutputs: resource.PropertyMap{"arn": resource.NewProperty(ownKey)}}
	used := errors.New("volume vol-1")
	for _, preview := range []bool{true, false} {
		m := newMock()
		require.NoError(t, pulumi.RunErr(func(ctx *pulumi.Context) error {
			require.NoError(t, begin(ctx))
			require.ErrorContains(t, askGuard(ctx, current(ctx), state), "this program has no guard: call keyguard.Register(ctx)")
			var got OwnUses
			require.NoError(t, UseKeyGuard(ctx, func(_ context.Context, arn string, own OwnUses) error {
				require.Equal(t, ownKey, arn)
				got = own
				return used
			}))
			b, err := NewEncryptionBaseline(ctx, "app", nil)
			require.NoError(t, err)
			_, err = internals.UnsafeAwaitOutput(ctx.Context(), b.EBSDefaultKeyArn)
			require.NoError(t, err)
			err = askGuard(ctx, current(ctx), state)
			require.ErrorIs(t, err, used)
			if preview {
				require.Equal(t, OwnUses{Buckets: []string{"app-111122223333-made-up"}, EBSDefault: true}, got)
				require.ErrorContains(t, err, "--skip-preview")
			} else {
				require.Equal(t, OwnUses{}, got)
			}
			require.ErrorContains(t, askGuard(ctx, current(ctx), &pulumi.ResourceHookArgs{Name: "app-key"}), "the ARN of app-key is not in the stack's state")
			return nil
		}, pulumi.WithMocks("kms-baseline", "test", m), func(i *pulumi.RunInfo) { i.DryRun = preview }))
	}
}

func TestRestore(t *testing.T) {
	t.Parallel()
	good := map[string]any{"region": "us-east-1", "account": "444455556666", "enabled": true, "kmsKeyArn": foreignKey, "ownKmsKeyArn": ownKey}
	without := func(key string) map[string]any {
		m := map[string]any{}
		for k, v := range good {
			if k != key {
				m[k] = v
			}
		}
		return m
	}
	const urn = "urn:pulumi:test::kms-baseline::" + EBSDefaultEncryptionType + "$pulumi:index:Stash::"
	for _, c := range []struct {
		name   string
		state  any
		urn    string
		other  string // the key of a component "app" that sets the defaults
		called bool
		want   string
	}{
		{name: "the component is not in the program", state: good, urn: urn + "app-restore-point", called: true},
		{name: "the component itself", state: good, urn: urn + "app-restore-point", other: ownKey, called: true},
		{name: "another component", state: good, urn: urn + "old-restore-point", other: ownKey},
		{name: "another component with another key", state: good, urn: urn + "old-restore-point", other: foreignKey, called: true},
		{name: "no record", state: nil, want: "nothing was changed"},
		{name: "a record that cannot be read", state: "x", want: "nothing was changed"},
		{name: "no account", state: without("account"), want: "nothing was changed"},
		{name: "no key", state: without("ownKmsKeyArn"), want: "nothing was changed"},
		{name: "no switch", state: without("enabled"), want: "nothing was changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMock()
			require.NoError(t, m.run(func(ctx *pulumi.Context) error {
				called := false
				h := &pulumi.ResourceHookArgs{URN: pulumi.URN(c.urn), Type: "pulumi:index:Stash", Name: "app-restore-point", OldInputs: resource.PropertyMap{"input": resource.NewPropertyValue(c.state)}}
				if c.want == "" {
					require.NoError(t, begin(ctx))
					require.ErrorContains(t, restore(ctx, current(ctx), h), "call ebsrestore.Register(ctx)")
				}
				require.NoError(t, UseEBSRestorer(ctx, func(_ context.Context, region, ours string, before EBSSettings) error {
					called = true
					require.Equal(t, "us-east-1", region)
					require.Equal(t, ownKey, ours)
					require.Equal(t, EBSSettings{Account: "444455556666", Enabled: true, KmsKeyArn: foreignKey}, before, "the account is not the key's: a key may be shared")
					return nil
				}))
				if c.other != "" {
					e, err := NewEBSDefaultEncryption(ctx, "app", &EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String(c.other)})
					require.NoError(t, err)
					resolved(t, ctx, e.Enabled)
				}
				err := restore(ctx, current(ctx), h)
				require.Equal(t, c.called, called)
				if c.want == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, c.want)
				}
				return nil
			}))
		})
	}
}

func current(ctx *pulumi.Context) (current *program) {
	ofProgram(ctx, func(p *program) { current = p })
	return current
}
