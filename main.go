// The program that `pulumi up` runs.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/securethecloud/kms-baseline/stack"
)

func main() { pulumi.Run(stack.Deploy) }
