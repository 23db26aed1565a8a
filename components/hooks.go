package components

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unsafe"

	"github.com/pulumi/pulumi/sdk/v3/go/common/promise"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"
)

// The delete hooks. The stack's state keeps the names, and the engine refuses to
// delete a resource whose hook the program does not register. So there is one
// hook of each kind for the whole program, every component registers both, and
// each reads what it needs from the state of the deleted resource. A program
// without any of the components sees the name in the engine's error, which is
// why the name says where to read on.
const (
	guardHook   = `kms-baseline key guard (see "Delete hooks" in docs/troubleshooting.md)`
	restoreHook = `kms-baseline EBS restore (see "Delete hooks" in docs/troubleshooting.md)`
)

// KeyGuard returns an error that names what still uses the key with this ARN,
// except for own, or states why it could not find out. [UseKeyGuard]
// registers one.
type KeyGuard func(ctx context.Context, keyArn string, own OwnUses) error

// OwnUses are the uses of a key that end with the stack.
type OwnUses struct {
	// Buckets are the names of the buckets of this program's components.
	Buckets []string
	// EBSDefault reports whether this program sets the EBS defaults of the key's
	// Region.
	EBSDefault bool
}

// EBSRestorer sets the EBS defaults of before's account in region to before, if
// the default key still is ours, the ARN of the key that this stack had set. If
// another owner has changed the default key, it does nothing. [UseEBSRestorer]
// registers one.
type EBSRestorer func(ctx context.Context, region, ours string, before EBSSettings) error

// UseKeyGuard registers the guard of all keys with GuardDeletion. Call it before
// the first component is made, and keep the call until an up has removed the
// last guarded key: without it, the deletion of a guarded key fails at preview.
// keyguard.Register calls it with the guard of this module.
func UseKeyGuard(ctx *pulumi.Context, guard KeyGuard) error {
	ofProgram(ctx, func(p *program) { p.guard = guard })
	return begin(ctx)
}

// UseEBSRestorer registers the function that restores EBS defaults, which
// OnDestroy "restore" needs. Call it before the first component is made, and
// keep the call until an up has removed the last such component.
// ebsrestore.Register calls it with the function of this module.
func UseEBSRestorer(ctx *pulumi.Context, restorer EBSRestorer) error {
	ofProgram(ctx, func(p *program) { p.restorer = restorer })
	return begin(ctx)
}

// MinimumPulumiVersion is the oldest version of the Pulumi CLI that runs these
// components, whose constructors refuse older ones. Resource hooks need 3.183 and
// pulumi:index:Stash a version of December 2025; 3.219.0 is the first that honors
// requiredPulumiVersion in Pulumi.yaml.
// Source: https://github.com/pulumi/pulumi/releases/tag/v3.219.0
const MinimumPulumiVersion = "3.219.0"

// begin requires a Pulumi CLI that is not too old, and registers the delete
// hooks, once in a program. Every constructor calls it first.
func begin(ctx *pulumi.Context) error {
	begun := false
	ofProgram(ctx, func(p *program) { begun = p.deleteHooks != nil })
	if !begun { // each call to the engine delays the resources after it
		if err := ctx.RequirePulumiVersion(">=" + MinimumPulumiVersion); err != nil {
			return fmt.Errorf("kms-baseline needs Pulumi %s or later, see https://www.pulumi.com/docs/install/: %w", MinimumPulumiVersion, err)
		}
	}
	var hooks []*pulumi.ResourceHook
	var err error
	ofProgram(ctx, func(p *program) {
		if p.deleteHooks == nil {
			p.deleteHooks = map[string]*pulumi.ResourceHook{}
			for name, run := range map[string]func(*pulumi.Context, *program, *pulumi.ResourceHookArgs) error{guardHook: askGuard, restoreHook: restore} {
				// The program has ended and is forgotten by the time resources are deleted.
				hook, e := ctx.RegisterResourceHook(name, func(h *pulumi.ResourceHookArgs) error { return run(ctx, p, h) }, &pulumi.ResourceHookOptions{OnDryRun: true})
				p.deleteHooks[name], err = hook, errors.Join(err, e)
			}
		}
		for _, hook := range p.deleteHooks {
			hooks = append(hooks, hook)
		}
	})
	for _, hook := range hooks {
		err = errors.Join(err, awaitRegistration(ctx.Context(), hook))
	}
	if err != nil {
		return fmt.Errorf("registering the delete hooks: %w", err)
	}
	return nil
}

// awaitRegistration waits until the engine has the hook, and returns why it has
// not. The SDK registers in the background; a program from which the last resource
// with the hook is removed could end first.
//
// The field is not exported. The SDK (3.259) itself waits only where a resource is
// registered with the hook, and drops the error there.
func awaitRegistration(ctx context.Context, hook *pulumi.ResourceHook) error {
	field := reflect.ValueOf(hook).Elem().FieldByName("registered")
	if !field.IsValid() {
		return nil
	}
	done, ok := reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Interface().(*promise.Promise[struct{}]) //nolint:gosec // as said above
	if !ok {
		return nil
	}
	_, err := done.Result(ctx)
	return err
}

// beforeDelete is the option that runs the delete hook of this name.
func beforeDelete(ctx *pulumi.Context, name string) (option pulumi.ResourceOption) {
	ofProgram(ctx, func(p *program) {
		option = pulumi.ResourceHooks(&pulumi.ResourceHookBinding{BeforeDelete: []*pulumi.ResourceHook{p.deleteHooks[name]}})
	})
	return option
}

// askGuard asks the program's guard before a key is deleted. In a deployment,
// what else the stack had is deleted by then, so that nothing that uses the key
// is the stack's own. In a preview it is not, and what is known to be the
// stack's own does not count.
func askGuard(ctx *pulumi.Context, p *program, h *pulumi.ResourceHookArgs) error {
	arn := h.OldOutputs["arn"]
	if !arn.IsString() {
		return wrong("GuardDeletion", "the ARN of %s is not in the stack's state, so that its uses cannot be found", h.Name)
	}
	key, err := parseKeyARN("arn", arn.StringValue())
	if err != nil {
		return err
	}
	programs.Lock()
	guard, buckets, own := p.guard, p.buckets, OwnUses{EBSDefault: len(p.claims[key.region]) > 0}
	programs.Unlock()
	if guard == nil {
		return wrong("GuardDeletion", "%s is guarded, and this program has no guard: call keyguard.Register(ctx) at its beginning; or run pulumi up with GuardDeletion off before you remove the key", key.arn)
	}
	background := context.WithoutCancel(ctx.Context())
	if !ctx.DryRun() {
		return guard(background, key.arn, OwnUses{})
	}
	for _, bucket := range buckets {
		name, err := internals.UnsafeAwaitOutput(background, bucket)
		if err != nil {
			return err
		}
		if s, ok := name.Value.(string); ok && name.Known {
			own.Buckets = append(own.Buckets, s)
		}
	}
	if err := guard(background, key.arn, own); err != nil {
		return fmt.Errorf("%w; if this stack deletes all of them itself, run the command with --skip-preview: the guard asks again right before it deletes the key", err)
	}
	return nil
}

// restore puts the EBS defaults back before a restore point is deleted. It
// changes nothing if it cannot read the restore point, or if another component
// of this program sets the same defaults by now, as after a rename.
//
// The account is the recorded one. It is not read off the key's ARN: a key may
// be shared by another account.
func restore(ctx *pulumi.Context, p *program, h *pulumi.ResourceHookArgs) error {
	const unchanged = "nothing was changed"
	point, err := readRestorePoint(h.OldInputs["input"].Mappable())
	if err != nil {
		return fmt.Errorf("restoring the EBS defaults of %s: %w; %s", h.Name, err, unchanged)
	}
	programs.Lock()
	restorer, claimants := p.restorer, p.claims[point.region]
	programs.Unlock()
	if restorer == nil {
		return fmt.Errorf("restoring the EBS defaults of %s: this program cannot restore: call ebsrestore.Register(ctx) at its beginning; or run pulumi up with OnDestroy keepOn before you remove the component; %s", h.Name, unchanged)
	}
	if ctx.DryRun() {
		return nil
	}
	background := context.WithoutCancel(ctx.Context())
	successor, err := hasSuccessor(background, h, point, claimants)
	if err != nil {
		return fmt.Errorf("restoring the EBS defaults of %s: %w; %s", h.Name, err, unchanged)
	}
	if successor {
		return nil // the SDK sends no warning after the end of the program
	}
	return restorer(background, point.region, point.keyArn, point.before)
}

// hasSuccessor reports whether another component sets the defaults to the key of
// the restore point, and the restore point's own is no longer in the program, as
// it is when a destroy runs. A component that sets another key needs no care: the
// restorer finds the default changed.
func hasSuccessor(ctx context.Context, h *pulumi.ResourceHookArgs, point restorePoint, claimants []claimant) (bool, error) {
	found := false
	for _, c := range claimants {
		urn, err := internals.UnsafeAwaitOutput(ctx, c.component.URN())
		if err != nil {
			return false, err
		}
		parent, _ := urn.Value.(pulumi.URN)
		if strings.TrimSuffix(string(parent), "::"+c.name)+"$"+string(h.Type)+"::"+c.name+restorePointSuffix == string(h.URN) {
			return false, nil
		}
		key, err := internals.UnsafeAwaitOutput(ctx, c.keyArn)
		if err != nil {
			return false, err
		}
		found = found || key.Value == point.keyArn
	}
	return found, nil
}
