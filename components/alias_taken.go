package components

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/kms"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// aliasIsFree is the option that looks, at preview and before a key is made,
// whether one of its aliases names a key already. That may be the stack's own key,
// which to the provider is gone while it waits to be deleted: a key in its place
// could not read what it has encrypted. Or another stack has it, which KMS would
// refuse only after the key is made. taken reports whether an alias of that key,
// which does not wait to be deleted, is in the way.
func aliasIsFree(ctx *pulumi.Context, c pulumi.Resource, name string, aliases []string, taken func(kms.LookupKeyResult) bool) (pulumi.ResourceOption, error) {
	hook, err := ctx.RegisterResourceHook(hookName(ctx, "alias of the key of "+name), func(h *pulumi.ResourceHookArgs) error {
		for _, alias := range aliases {
			if err := aliasTaken(ctx, c, h, name, alias, taken); err != nil {
				return err
			}
		}
		return nil
	}, &pulumi.ResourceHookOptions{OnDryRun: true})
	if err != nil {
		return nil, fmt.Errorf("preparing to look at the aliases of %s: %w", name, err)
	}
	return pulumi.ResourceHooks(&pulumi.ResourceHookBinding{BeforeCreate: []*pulumi.ResourceHook{hook}}), nil
}

func aliasTaken(ctx *pulumi.Context, c pulumi.Resource, h *pulumi.ResourceHookArgs, name, alias string, taken func(kms.LookupKeyResult) bool) error {
	key, err := answerBefore(time.After(hookLimit), func() (*kms.LookupKeyResult, error) {
		return kms.LookupKey(ctx, &kms.LookupKeyArgs{KeyId: alias}, pulumi.Parent(c))
	})
	switch {
	case errors.Is(err, errNoAnswer):
		return wrong("AliasName", "whether %s names a key already could not be found out: %w", alias, err)
	case err != nil && noSuchAlias(err):
		return nil
	case err != nil: // KMS has the last word, and refuses a name that is taken
		return ctx.Log.Warn(fmt.Sprintf("AliasName: whether %s names a key already could not be found out: %v", alias, err), &pulumi.LogArgs{Resource: c})
	case key.Arn == "": // the provider is not configured yet
		return nil
	}
	return checkTaken(h, name, alias, *key, taken)
}

// hookLimit bounds a call to the engine from a hook. After an interrupt the engine
// completes the steps under way, and starts no default provider any more: a hook
// whose call waits for one would keep the engine from ending, until a second
// interrupt.
const hookLimit = time.Minute

var errNoAnswer = fmt.Errorf("no answer within %s; run the command again, unless it was interrupted", hookLimit)

// answerBefore is what lookup returns, or errNoAnswer if the limit comes first.
func answerBefore(limit <-chan time.Time, lookup func() (*kms.LookupKeyResult, error)) (*kms.LookupKeyResult, error) {
	done := make(chan struct{})
	var found *kms.LookupKeyResult
	var failed error
	go func() {
		defer close(done)
		found, failed = lookup()
	}()
	select {
	case <-done:
		return found, failed
	case <-limit:
		return nil, errNoAnswer
	}
}

// noSuchAlias reports whether the provider's error is that there is no such alias.
func noSuchAlias(err error) bool {
	for _, text := range []string{"couldn't find resource", "empty result", "NotFoundException"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// checkTaken returns why no key is made while the alias names this one.
func checkTaken(h *pulumi.ResourceHookArgs, name, alias string, key kms.LookupKeyResult, taken func(kms.LookupKeyResult) bool) error {
	if pendingDeletion(key) {
		return wrong("AliasName", "%s names %s, which is %s: a key in its place could not read what it has encrypted. "+
			"Cancel the deletion with %s; or, if it is to go, free the name with `aws kms delete-alias --alias-name %s`",
			alias, key.Arn, deletion(key), cancelDeletion(key), alias)
	}
	if !taken(key) {
		return nil
	}
	component := strings.TrimSuffix(string(h.URN), "$"+string(h.Type)+"::"+h.Name) + "::" + name
	return wrong("AliasName", "%s names %s already: choose another alias; or use that key as it is, with LookupCustomerKey (in a baseline: Key.Existing); "+
		"or import it, to manage it from now on (docs/importing.md); or, if this stack has made it and lost it, take it back with `pulumi import %s %s %s --parent parent='%s' --protect=false --generate-code=false` (with --provider provider=URN if the component has a provider of its own, as for another Region)",
		alias, key.Arn, h.Type, h.Name, key.Id, component)
}
