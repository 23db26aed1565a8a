package components

import (
	"context"
	"fmt"
	"sync"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// ProgramKey is the key of a value in the context, any that can be compared,
// that identifies the program of a component. A plugin sets it, since every
// component there has a context of its own; a Go program is identified by its log.
type ProgramKey struct{}

// program is what the components of one program have to know of each other.
type program struct {
	inPlugin bool
	// claims has who sets the EBS defaults of each Region.
	claims map[string][]claimant
	// hooks has how many hooks were given each name.
	hooks map[string]int
	// deleteHooks are the program's delete hooks by name, and guard and restorer
	// what they call; nil while nothing has registered one.
	deleteHooks map[string]*pulumi.ResourceHook
	guard       KeyGuard
	restorer    EBSRestorer
	// buckets are the names of the buckets that the program's components make.
	buckets []pulumi.StringOutput
}

// programs are those that run in this process. A Go program is forgotten when
// its context ends; a plugin ends with its program.
var programs = struct {
	sync.Mutex
	of map[any]*program
}{of: map[any]*program{}}

// ofProgram calls f with the program that ctx belongs to, while holding the lock
// of all programs.
func ofProgram(ctx *pulumi.Context, f func(*program)) {
	key := ctx.Value(ProgramKey{})
	inPlugin := key != nil
	if !inPlugin {
		// ctx.WithValue returns another *pulumi.Context of the same program; all of
		// them share the program's log.
		key = ctx.Log
	}
	programs.Lock()
	defer programs.Unlock()
	if programs.of[key] == nil {
		programs.of[key] = &program{inPlugin: inPlugin, claims: map[string][]claimant{}, hooks: map[string]int{}}
		if !inPlugin {
			context.AfterFunc(ctx.Context(), func() {
				programs.Lock()
				defer programs.Unlock()
				delete(programs.of, key)
			})
		}
	}
	f(programs.of[key])
}

// hookName is name, with a number where the program has a hook of that name
// already: components below different parents may be called the same, and the
// engine refuses two hooks of one name. It is not for delete hooks, whose names
// the state keeps: see [begin].
func hookName(ctx *pulumi.Context, name string) (unique string) {
	ofProgram(ctx, func(p *program) {
		p.hooks[name]++
		if unique = name; p.hooks[name] > 1 {
			unique = fmt.Sprintf("%s (%d)", name, p.hooks[name])
		}
	})
	return unique
}
