// Package engine puts the Pulumi engine, the AWS provider and the AWS CLI in
// place for the sandbox, and runs stacks with them against localaws.
//
// Install finds, downloads or builds the programs, Env returns what any client of
// the sandbox needs in its environment, and OpenStack gives an Automation API
// stack that uses both. It is for the sandbox and its tests, not for stacks in a
// real AWS account.
package engine
