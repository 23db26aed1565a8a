package e2e

import (
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/components/ebsrestore"
	"github.com/securethecloud/kms-baseline/components/keyguard"
	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/stack"
)

// program is the parts of a program, in order.
func program(parts ...pulumi.RunFunc) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		for _, part := range parts {
			if err := part(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

func key(name string, args components.CustomerKeyArgs, opts ...pulumi.ResourceOption) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		k, err := components.NewCustomerKey(ctx, name, &args, opts...)
		if err != nil {
			return err
		}
		ctx.Export(name, k.KeyArn)
		return nil
	}
}

// ebsOf sets the EBS defaults to a key named "app".
func ebsOf(name string, args components.EBSDefaultEncryptionArgs, opts ...pulumi.ResourceOption) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		k, err := components.NewCustomerKey(ctx, "app", nil)
		if err != nil {
			return err
		}
		ctx.Export("app", k.KeyArn)
		args.KmsKeyArn = k.KeyArn
		_, err = components.NewEBSDefaultEncryption(ctx, name, &args, opts...)
		return err
	}
}

func keyState(t *testing.T, l *lab.Lab, arn string) kmstypes.KeyState {
	t.Helper()
	described, err := look(t, l).kms.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &arn})
	require.NoError(t, err)
	return described.KeyMetadata.KeyState
}

// requirePreviewRefused requires that a preview of the stack fails so.
func requirePreviewRefused(t *testing.T, s *lab.Stack, want string) {
	t.Helper()
	_, err := s.Stack.Preview(t.Context())
	require.ErrorContains(t, err, want)
}

// withoutDeleteHooks removes all delete hooks from the stack's state, as
// docs/troubleshooting.md says.
func withoutDeleteHooks(t *testing.T, s *lab.Stack) {
	t.Helper()
	exported, err := s.Export(t.Context())
	require.NoError(t, err)
	var d map[string]any
	require.NoError(t, json.Unmarshal(exported.Deployment, &d))
	for _, r := range d["resources"].([]any) {
		delete(r.(map[string]any), "resourceHooks")
	}
	exported.Deployment, err = json.Marshal(d)
	require.NoError(t, err)
	require.NoError(t, s.Import(t.Context(), apitype.UntypedDeployment{Version: exported.Version, Deployment: exported.Deployment}))
}

// A guarded key can leave the program in every way. (Not parallel: see asHook.)
func TestHooks_AGuardedKeyCanBeRemoved(t *testing.T) {
	guarded := components.CustomerKeyArgs{GuardDeletion: true}
	other := key("other", components.CustomerKeyArgs{})
	for name, after := range map[string][]pulumi.RunFunc{
		"enabled, removed":                        {program(keyguard.Register, other)},
		"enabled, removed with every component":   {keyguard.Register},
		"enabled, disabled, removed":              {key("app", components.CustomerKeyArgs{}), program()},
		"enabled, disabled, renamed":              {key("app", components.CustomerKeyArgs{}), key("renamed", components.CustomerKeyArgs{})},
		"enabled, renamed":                        {program(keyguard.Register, key("renamed", guarded))},
		"enabled, replaced by a multi-Region key": {program(keyguard.Register, key("app", components.CustomerKeyArgs{GuardDeletion: true, MultiRegion: true}))},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			asHook(t, l)
			arn := l.Stack(t, "sandbox", program(keyguard.Register, key("app", guarded)), nil).Up(t)["app"].(string)
			for _, program := range after {
				l.Stack(t, "sandbox", program, nil).Up(t)
			}
			require.Equal(t, kmstypes.KeyStatePendingDeletion, keyState(t, l, arn))
		})
	}
}

// A key that moves below another name with an alias is not deleted.
func TestHooks_AGuardedKeyCanBeRenamedWithAnAlias(t *testing.T) {
	l := lab.New(t)
	asHook(t, l)
	guarded := components.CustomerKeyArgs{GuardDeletion: true, AliasName: "alias/app"}
	arn := l.Stack(t, "sandbox", program(keyguard.Register, key("app", guarded)), nil).Up(t)["app"]
	s := l.Stack(t, "sandbox", program(keyguard.Register, key("renamed", guarded, pulumi.Aliases([]pulumi.Alias{{Name: pulumi.String("app")}}))), nil)
	require.Equal(t, arn, s.Up(t)["renamed"])
	s.Destroy(t, optdestroy.RunProgram(true))
	require.Equal(t, kmstypes.KeyStatePendingDeletion, keyState(t, l, arn.(string)))
}

// A program that cannot ask the guard is told so before anything is deleted.
func TestHooks_AProgramWithoutTheGuardIsRefusedAtPreview(t *testing.T) {
	l := lab.New(t)
	asHook(t, l)
	s := l.Stack(t, "sandbox", program(keyguard.Register, key("app", components.CustomerKeyArgs{GuardDeletion: true})), nil)
	arn := s.Up(t)["app"].(string)
	before := account(t, l, "")

	t.Log("another component of this module")
	requirePreviewRefused(t, l.Stack(t, "sandbox", key("other", components.CustomerKeyArgs{}), nil), "this program has no guard: call keyguard.Register(ctx)")
	t.Log("nothing of this module: the hook's name in the engine's error says where to read on")
	without := l.Stack(t, "sandbox", program(), nil)
	requirePreviewRefused(t, without, `(see \"Delete hooks\" in docs/troubleshooting.md)" was not registered`)
	require.Equal(t, before, account(t, l, ""))

	t.Log("the documented way out of the state")
	withoutDeleteHooks(t, without)
	without.Up(t)
	require.Equal(t, kmstypes.KeyStatePendingDeletion, keyState(t, l, arn))
}

// The component that restores EBS defaults can leave the program in every way,
// and where it leaves while it restores, the defaults are restored. (Not
// parallel: see asHook.)
func TestHooks_RestoringEBSDefaultsCanBeRemoved(t *testing.T) {
	restoring := components.EBSDefaultEncryptionArgs{OnDestroy: components.EBSRestore, TakeOver: true}
	app := key("app", components.CustomerKeyArgs{})
	kept := ebsOf("ebs", components.EBSDefaultEncryptionArgs{})
	for name, c := range map[string]struct {
		after    []pulumi.RunFunc
		restored bool
	}{
		"enabled, removed":                      {[]pulumi.RunFunc{program(ebsrestore.Register, app)}, true},
		"enabled, removed with every component": {[]pulumi.RunFunc{ebsrestore.Register}, true},
		"enabled, disabled":                     {[]pulumi.RunFunc{kept}, false},
		"enabled, disabled, removed":            {[]pulumi.RunFunc{kept, program()}, false},
		"enabled, renamed":                      {[]pulumi.RunFunc{program(ebsrestore.Register, ebsOf("renamed", restoring))}, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			asHook(t, l)
			theirs := look(t, l).begin(t, false, true)
			ours := l.Stack(t, "sandbox", program(ebsrestore.Register, ebsOf("ebs", restoring)), nil).Up(t)["app"]
			var s *lab.Stack
			for _, program := range c.after {
				s = l.Stack(t, "sandbox", program, nil)
				s.Up(t)
			}
			enabled, now := look(t, l).ebs(t)
			require.Equal(t, !c.restored, enabled)
			switch name {
			case "enabled, disabled, removed":
				require.NotEqual(t, ours, now)
			case "enabled, disabled":
				require.Equal(t, ours, now)
				require.True(t, s.Preview(t).Clean())
			case "enabled, renamed":
				require.Equal(t, ours, now)
				require.True(t, s.Preview(t).Clean())
				s.Destroy(t, optdestroy.RunProgram(true))
				enabled, now = look(t, l).ebs(t)
				require.True(t, enabled, "as it was when the renamed component began")
				require.NotEqual(t, ours, now, "a key that is pending deletion is not left as the default")
			default:
				require.Equal(t, theirs, now)
			}
		})
	}
}

// The stack's own settings are left as its options are.
func TestHooks_TheStackGivesUpItsOptions(t *testing.T) {
	l := lab.New(t)
	asHook(t, l)
	theirs := look(t, l).begin(t, false, true)
	arn := l.Stack(t, "sandbox", stack.Deploy, map[string]string{"guardKeyDeletion": "true", "ebsOnDestroy": components.EBSRestore, "ebsTakeOver": "true"}).Up(t)["keyArn"].(string)
	s := l.Stack(t, "sandbox", stack.Deploy, map[string]string{"skipEbs": "true", "existingKeyArn": theirs})
	s.Up(t)
	enabled, now := look(t, l).ebs(t)
	require.False(t, enabled)
	require.Equal(t, theirs, now)
	require.Equal(t, kmstypes.KeyStatePendingDeletion, keyState(t, l, arn))
	s.Destroy(t)
}

// Two guarded keys of one name are two keys, each guarded by itself.
func TestHooks_GuardedKeysOfOneName(t *testing.T) {
	l := lab.New(t)
	asHook(t, l)
	s := l.Stack(t, "sandbox", func(ctx *pulumi.Context) error {
		if err := keyguard.Register(ctx); err != nil {
			return err
		}
		for _, team := range []string{"red", "blue"} {
			parent := &struct{ pulumi.ResourceState }{}
			if err := ctx.RegisterComponentResource("test:index:"+team, team, parent); err != nil {
				return err
			}
			k, err := components.NewCustomerKey(ctx, "key", &components.CustomerKeyArgs{AliasName: "alias/" + team, GuardDeletion: true}, pulumi.Parent(parent))
			if err != nil {
				return err
			}
			ctx.Export(team, k.KeyArn)
		}
		return nil
	}, nil)
	outputs := s.Up(t)
	require.True(t, s.Preview(t).Clean())
	c := look(t, l)
	volume, err := c.ec2.CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String("us-east-1a"), Size: aws.Int32(1), Encrypted: aws.Bool(true), KmsKeyId: aws.String(outputs["blue"].(string))})
	require.NoError(t, err)
	_, err = s.PreviewDestroy(t.Context(), optdestroy.RunProgram(true))
	require.ErrorContains(t, err, outputs["blue"].(string)+" still encrypts 1 resource that this stack does not delete: volume "+*volume.VolumeId)
	require.NotContains(t, err.Error(), outputs["red"].(string)+" still encrypts")
	_, err = c.ec2.DeleteVolume(t.Context(), &ec2.DeleteVolumeInput{VolumeId: volume.VolumeId})
	require.NoError(t, err)
	s.Destroy(t, optdestroy.RunProgram(true))
	for _, arn := range outputs {
		require.Equal(t, kmstypes.KeyStatePendingDeletion, keyState(t, l, arn.(string)))
	}
}
