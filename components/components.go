// Package components gives an AWS account encryption under its own key, as
// Pulumi components: a customer managed KMS key, a bucket that encrypts with
// it by default, EBS encryption by default under it, and the three together.
//
// It imports the Pulumi SDK and pulumi-aws's kms, s3 and ebs packages alone,
// so that a program that imports it pays for nothing else. It proves nothing: that is
// the verify command's work, from the live account.
package components

//go:generate go run ./internal/gendocs

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// child is the options of a component's child: below its parent, and what else
// is given.
func child(parent pulumi.Resource, opts ...pulumi.ResourceOption) []pulumi.ResourceOption {
	return append([]pulumi.ResourceOption{pulumi.Parent(parent)}, opts...)
}

// apart calls f in a goroutine of its own and returns what f returns. The SDK sends its
// call stack with each resource, and the engine keeps it in the state, which it writes
// at each step. For the children of a component, the frames above it are those that
// the component itself has in the state, and were a quarter of a stack's state.
func apart(f func() error) (err error) {
	var panicked any
	returned := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				panicked = fmt.Sprintf("%v\n%s", r, debug.Stack())
			}
		}()
		err = f()
		returned = true
	}()
	<-done
	switch {
	case panicked != nil:
		panic(panicked)
	case !returned: // as a test does that stops in a transform
		runtime.Goexit()
	}
	return err
}
