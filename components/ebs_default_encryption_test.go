package components

import (
	"context"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

const (
	stashType      = "pulumi:index:Stash"
	defaultKeyType = "aws:ebs/defaultKmsKey:DefaultKmsKey"
	switchType     = "aws:ebs/encryptionByDefault:EncryptionByDefault"
	sharingType    = "aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess"
)

func newEBS(args EBSDefaultEncryptionArgs) func(ctx *pulumi.Context) error {
	return func(ctx *pulumi.Context) error {
		_, err := NewEBSDefaultEncryption(ctx, "app", &args)
		return err
	}
}

func TestEBSDefaultEncryption_Defaults(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		c, err := NewEBSDefaultEncryption(ctx, "app", &EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String(ownKey)})
		require.NoError(t, err)
		require.Equal(t, ownKey, resolved(t, ctx, c.KmsKeyArn))
		require.Equal(t, true, resolved(t, ctx, c.Enabled))
		return nil
	}))
	require.Equal(t, map[string]any{"enabled": false, "kmsKeyArn": "alias/aws/ebs"}, m.get(t, stashType, "app-before").input("input"))
	require.Equal(t, ownKey, m.get(t, defaultKeyType, "app-default-key").input("keyArn"))
	require.Equal(t, true, m.get(t, switchType, "app-switch").input("enabled"))
}

// TestEBSDefaultEncryption_Order: the key of the stack, the record of what was
// there, the default key, the switch, the restore point; destroy goes the other
// way.
func TestEBSDefaultEncryption_Order(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		key, err := NewCustomerKey(ctx, "app", nil)
		require.NoError(t, err)
		_, err = NewEBSDefaultEncryption(ctx, "app", &EBSDefaultEncryptionArgs{KmsKeyArn: key.KeyArn})
		return err
	}))
	key, before := m.get(t, "aws:kms/key:Key", "app-key"), m.get(t, stashType, "app-before")
	defaultKey, onOff := m.get(t, defaultKeyType, "app-default-key"), m.get(t, switchType, "app-switch")
	require.Contains(t, m.get(t, stashType, "app-restore-point").rpc.GetDependencies(), onOff.urn)
	require.Contains(t, defaultKey.rpc.GetDependencies(), key.urn)
	require.Contains(t, defaultKey.rpc.GetDependencies(), before.urn)
	require.Contains(t, onOff.rpc.GetDependencies(), defaultKey.urn)
	require.True(t, defaultKey.rpc.GetDeleteBeforeReplace(), "else a replacement resets what it has just set")
	require.Equal(t, []string{"input"}, before.rpc.GetIgnoreChanges(), "else every preview finds the record changed")
}

// TestEBSDefaultEncryption_BlockSnapshotSharing: off by default, after the switch,
// and never undone by destroy.
func TestEBSDefaultEncryption_BlockSnapshotSharing(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(newEBS(EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String(ownKey)})))
	require.False(t, m.has(sharingType))
	m = newMock()
	require.NoError(t, m.run(newEBS(EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String(ownKey), OnDestroy: EBSSwitchOff, BlockSnapshotSharing: true})))
	block := m.get(t, sharingType, "app-snapshot-sharing")
	require.Equal(t, "block-all-sharing", block.input("state"))
	require.True(t, block.rpc.GetRetainOnDelete())
	require.Contains(t, block.rpc.GetDependencies(), m.get(t, switchType, "app-switch").urn)
}

func TestEBSDefaultEncryption_OnDestroy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		onDestroy                 string
		retainsKey, retainsSwitch bool
		hooks                     int
	}{
		{"", false, true, 0},
		{EBSKeepOn, false, true, 0},
		{EBSSwitchOff, false, false, 0},
		{EBSRestore, true, true, 1},
	} {
		t.Run("on destroy "+c.onDestroy, func(t *testing.T) {
			t.Parallel()
			m := newMock()
			require.NoError(t, m.run(func(ctx *pulumi.Context) error {
				require.NoError(t, UseEBSRestorer(ctx, func(context.Context, string, string, EBSSettings) error { return nil }))
				return newEBS(EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String(ownKey), OnDestroy: c.onDestroy})(ctx)
			}))
			require.Equal(t, c.retainsKey, m.get(t, defaultKeyType, "app-default-key").rpc.GetRetainOnDelete())
			require.Equal(t, c.retainsSwitch, m.get(t, switchType, "app-switch").rpc.GetRetainOnDelete())
			point := m.get(t, stashType, "app-restore-point")
			require.Len(t, point.rpc.GetHooks().GetBeforeDelete(), c.hooks)
			account := ""
			if c.onDestroy == EBSRestore { // asking for it is a call that only a restore needs
				account = "111122223333"
			}
			require.Equal(t, map[string]any{"region": "us-east-1", "enabled": false, "kmsKeyArn": "alias/aws/ebs", "ownKmsKeyArn": ownKey, "account": account}, point.input("input"))
		})
	}
}

// TestEBSDefaultEncryption_RestoresNoKeyOfTheStack: a key that destroy deletes does
// not stay the default, where it was that before the first up.
func TestEBSDefaultEncryption_RestoresNoKeyOfTheStack(t *testing.T) {
	t.Parallel()
	for want, keyArn := range map[string]func(*pulumi.Context) pulumi.StringInput{
		"alias/aws/ebs": func(ctx *pulumi.Context) pulumi.StringInput {
			key, err := NewCustomerKey(ctx, "app", nil)
			require.NoError(t, err)
			return key.KeyArn
		},
		ownKey: func(ctx *pulumi.Context) pulumi.StringInput {
			key, err := LookupCustomerKey(ctx, "app", &ExistingKey{KeyArn: pulumi.String(ownKey)})
			require.NoError(t, err)
			return key.KeyArn
		},
	} {
		m := newMock()
		m.ebs = EBSSettings{Enabled: true, KmsKeyArn: ownKey}
		m.addKey(ownKey, nil)
		require.NoError(t, m.run(func(ctx *pulumi.Context) error {
			require.NoError(t, UseEBSRestorer(ctx, func(context.Context, string, string, EBSSettings) error { return nil }))
			_, err := NewEBSDefaultEncryption(ctx, "app", &EBSDefaultEncryptionArgs{KmsKeyArn: keyArn(ctx), OnDestroy: EBSRestore})
			return err
		}))
		require.Equal(t, want, m.get(t, stashType, "app-restore-point").input("input").(map[string]any)["kmsKeyArn"])
	}
}

// TestEBSDefaultEncryption_TakeOver: a default key of another owner is not replaced
// silently, and other keys are replaced without a question.
func TestEBSDefaultEncryption_TakeOver(t *testing.T) {
	t.Parallel()
	const managed = "arn:aws:kms:us-east-1:111122223333:key/aaaaaaaa-12ab-34cd-56ef-1234567890ab"
	none := EBSSettings{KmsKeyArn: "alias/aws/ebs"}
	on := func(arn string) EBSSettings { return EBSSettings{Enabled: true, KmsKeyArn: arn} }
	before := func(arn string) map[string]any { return map[string]any{"enabled": true, "kmsKeyArn": arn} }
	for _, c := range []struct {
		name     string
		now      EBSSettings
		before   map[string]any
		takeOver bool
		refused  bool
	}{
		{"first up, nothing set", none, nil, false, false},
		{"first up, the alias as an ARN", on("arn:aws:kms:us-east-1:111122223333:alias/aws/ebs"), nil, false, false},
		{"first up, the AWS managed key by its ARN", on(managed), nil, false, false},
		{"first up, key of another owner", on(foreignKey), nil, false, true},
		{"first up, key of another owner, switched off", EBSSettings{KmsKeyArn: foreignKey}, nil, false, true},
		{"first up, key of another owner, allowed", on(foreignKey), nil, true, false},
		{"first up that failed, key of another owner", on(foreignKey), before(foreignKey), false, true},
		{"later, ours is set", on(ownKey), before("alias/aws/ebs"), false, false},
		{"later, the other owner's key was replaced and ours is set", on(ownKey), before(foreignKey), false, false},
		{"later, drift", on(foreignKey), before("alias/aws/ebs"), false, false},
		{"later, drift to the AWS managed key", none, before("alias/aws/ebs"), false, false},
	} {
		for _, preview := range []bool{true, false} {
			name := c.name + ", by up"
			if preview {
				name = c.name + ", by preview with a key to come"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				m := newMock()
				m.preview, m.ebs, m.before = preview, c.now, c.before
				m.addKey(managed, map[string]any{"keyManager": "AWS"})
				m.addKey(foreignKey, nil)
				err := m.run(func(ctx *pulumi.Context) error {
					_, err := NewEncryptionBaseline(ctx, "app", &EncryptionBaselineArgs{EBS: &BaselineEBS{Args: &EBSDefaultEncryptionArgs{TakeOver: c.takeOver}}})
					return err
				})
				if !c.refused {
					require.NoError(t, err)
					require.True(t, m.has(switchType))
					return
				}
				require.ErrorContains(t, err, "TakeOver: the default EBS key in us-east-1 is "+foreignKey)
				require.ErrorContains(t, err, "pulumi config set ebsTakeOver true")
				require.False(t, m.has(defaultKeyType))
				require.False(t, m.has(switchType))
			})
		}
	}
}

func TestEBSDefaultEncryption_OwnKeyIsTheDefaultAlready(t *testing.T) {
	t.Parallel()
	for _, preview := range []bool{true, false} {
		m := newMock()
		m.preview, m.ebs = preview, EBSSettings{Enabled: true, KmsKeyArn: ownKey}
		m.addKey(ownKey, nil)
		require.NoError(t, m.run(newEBS(EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String(ownKey)})))
	}
}

func TestEBSDefaultEncryption_AnotherKeyThatKMSDoesNotShow(t *testing.T) {
	t.Parallel()
	m := newMock()
	m.ebs = EBSSettings{Enabled: true, KmsKeyArn: foreignKey}
	require.ErrorContains(t, m.run(newEBS(EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String(ownKey)})), "TakeOver: the default EBS key")
}

func TestEBSDefaultEncryption_KeyOfAnotherRegion(t *testing.T) {
	t.Parallel()
	m := newMock()
	m.preview = true
	err := m.run(newEBS(EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String(replicaKey)}))
	require.ErrorContains(t, err, `KmsKeyArn: "`+replicaKey+`"`)
	require.ErrorContains(t, err, "the key is in us-west-2 and these are the EBS defaults of us-east-1")
	require.False(t, m.has(defaultKeyType))
}

// TestEBSDefaultEncryption_UnreadableRecord: a record that cannot be read is
// neither "off" nor "without an owner".
func TestEBSDefaultEncryption_UnreadableRecord(t *testing.T) {
	t.Parallel()
	m := newMock()
	m.before = map[string]any{"kmsKeyArn": 1}
	require.ErrorContains(t, m.run(newEBS(EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String(ownKey)})), "record of the EBS defaults before the first up cannot be read")
	for _, v := range []any{nil, "x", map[string]any{}, map[string]any{"enabled": true}, map[string]any{"enabled": "true", "kmsKeyArn": "x"}} {
		_, err := recorded(v)
		require.Error(t, err)
	}
}

func TestEBSDefaultEncryption_TwoInOneRegion(t *testing.T) {
	t.Parallel()
	two := func(first, second EBSDefaultEncryptionArgs) func(ctx *pulumi.Context) error {
		return func(ctx *pulumi.Context) error {
			if _, err := NewEBSDefaultEncryption(ctx, "one", &first); err != nil {
				return err
			}
			_, err := NewEBSDefaultEncryption(ctx, "two", &second)
			return err
		}
	}
	set := EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String(ownKey)}

	m := newMock()
	m.preview = true
	err := m.run(two(set, set))
	require.ErrorContains(t, err, `"one"`)
	require.ErrorContains(t, err, `"two"`)
	require.ErrorContains(t, err, "sets the EBS defaults of us-east-1 in account 111122223333 already")
	require.ErrorContains(t, err, "LookupEBSDefaultEncryption")

	m = newMock()
	m.ebs = EBSSettings{Enabled: true, KmsKeyArn: ownKey}
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		if _, err := NewEBSDefaultEncryption(ctx, "one", &set); err != nil {
			return err
		}
		_, err := LookupEBSDefaultEncryption(ctx, "two", nil)
		return err
	}), "one sets and the other reads")

	for range 2 {
		require.NoError(t, newMock().run(newEBS(set)), "another program is another matter")
	}
}

func TestEBSDefaultEncryption_TwoOfOneNameInOneRegion(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, newMock().run(func(ctx *pulumi.Context) error {
		for _, parent := range []string{"a", "b"} {
			p, err := NewCustomerKey(ctx, parent, nil)
			require.NoError(t, err)
			_, err = NewEBSDefaultEncryption(ctx, "ebs", &EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String(ownKey)}, pulumi.Parent(p))
			require.NoError(t, err)
		}
		return nil
	}), "sets the EBS defaults of us-east-1 in account 111122223333 already")
}

// TestEBSDefaultEncryption_TwoInOneRegionWithDerivedContexts: a context that
// ctx.WithValue returns belongs to the same program.
func TestEBSDefaultEncryption_TwoInOneRegionWithDerivedContexts(t *testing.T) {
	t.Parallel()
	type key struct{}
	require.ErrorContains(t, newMock().run(func(ctx *pulumi.Context) error {
		for _, name := range []string{"one", "two"} {
			if _, err := NewEBSDefaultEncryption(ctx.WithValue(key{}, name), name, &EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String(ownKey)}); err != nil {
				return err
			}
		}
		return nil
	}), "sets the EBS defaults of us-east-1 in account 111122223333 already")
}

// TestEBSDefaultEncryption_TwoAccountsInOneRegion: each account has its own
// defaults, also where another account owns the key.
func TestEBSDefaultEncryption_TwoAccountsInOneRegion(t *testing.T) {
	t.Parallel()
	two := func(ctx *pulumi.Context) error {
		for _, name := range []string{"one", "two"} {
			var provider pulumi.ProviderResourceState
			if err := ctx.RegisterResource("pulumi:providers:aws", name, nil, &provider); err != nil {
				return err
			}
			if _, err := NewEBSDefaultEncryption(ctx, name, &EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String(ownKey)}, pulumi.Provider(&provider)); err != nil {
				return err
			}
		}
		return nil
	}
	m := newMock()
	m.account = map[string]string{"two": "444455556666"}
	require.NoError(t, m.run(two))
	m.get(t, defaultKeyType, "one-default-key")
	m.get(t, defaultKeyType, "two-default-key")

	m = newMock()
	require.ErrorContains(t, m.run(two), "in account 111122223333 already", "two providers of one account")

	m = newMock()
	m.account = map[string]string{"two": ""}
	require.ErrorContains(t, m.run(two), "asking which account the EBS defaults are in", "neither the same account nor another one")
}

// TestEBSDefaultEncryption_ClaimsGoWithTheirProgram: a process that runs many
// programs does not remember them all.
func TestEBSDefaultEncryption_ClaimsGoWithTheirProgram(t *testing.T) {
	t.Parallel()
	var info pulumi.RunInfo
	pulumi.WithMocks("kms-baseline", "test", newMock())(&info)
	running, end := context.WithCancel(t.Context())
	ctx, err := pulumi.NewContext(running, info)
	require.NoError(t, err)
	require.NoError(t, pulumi.RunWithContext(ctx, newEBS(EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String(ownKey)})))
	claimed := func() bool {
		programs.Lock()
		defer programs.Unlock()
		return programs.of[ctx.Log] != nil
	}
	require.True(t, claimed())
	end()
	require.Eventually(t, func() bool { return !claimed() }, time.Minute, time.Millisecond)
}

func TestEBSDefaultEncryption_Refuses(t *testing.T) {
	t.Parallel()
	key := pulumi.String(ownKey)
	for name, c := range map[string]struct {
		args EBSDefaultEncryptionArgs
		want []string
	}{
		"no key":      {EBSDefaultEncryptionArgs{}, []string{`EBSDefaultEncryption "app": KmsKeyArn: it is required`}},
		"alias":       {EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String("alias/x")}, []string{`KmsKeyArn: "alias/x"`, "it is an alias"}},
		"on destroy":  {EBSDefaultEncryptionArgs{KmsKeyArn: key, OnDestroy: "off"}, []string{`OnDestroy: "off"`, `"keepOn", "switchOff" or "restore"`}},
		"restore":     {EBSDefaultEncryptionArgs{KmsKeyArn: key, OnDestroy: EBSRestore}, []string{"OnDestroy", "ebsrestore.Register(ctx)"}},
		"all at once": {EBSDefaultEncryptionArgs{OnDestroy: "x"}, []string{"KmsKeyArn", "OnDestroy"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireRefused(t, newEBS(c.args), c.want...)
		})
	}
	t.Run("nil", func(t *testing.T) {
		t.Parallel()
		requireRefused(t, func(ctx *pulumi.Context) error {
			_, err := NewEBSDefaultEncryption(ctx, "app", nil)
			return err
		}, "KmsKeyArn: it is required")
	})
}

func TestEBSDefaultEncryption_ChecksALateKey(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.ErrorContains(t, m.run(newEBS(EBSDefaultEncryptionArgs{KmsKeyArn: pulumi.String("alias/x").ToStringOutput()})), `KmsKeyArn: "alias/x"`)
	require.False(t, m.has(defaultKeyType))
}
