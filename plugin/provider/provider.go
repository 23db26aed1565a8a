// Package provider is the components of this repository as a Pulumi component
// provider. It adds to them what other languages need and nothing else: a
// schema, and what can only be passed in Go. What a component does is said in
// package components alone.
package provider

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"strings"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/components/ebsrestore"
	"github.com/securethecloud/kms-baseline/components/keyguard"
)

// Name is the package's name in Pulumi, and the first part of its tokens.
const Name = "kms-baseline"

//go:embed VERSION
var version string

// Version is the plugin's version, as in "0.1.0": of the schema, of the SDKs,
// and of the folder that it is installed in.
func Version() string { return strings.TrimSpace(version) }

//go:generate go run ../generate schema schema.json

// schema is what GenerateSchema wrote. It is kept, since the comments that it
// is made from are not there when the provider runs.
//
//go:embed schema.json
var schemaJSON []byte

// Schema is the package's schema, in Pulumi's JSON.
func Schema() []byte { return bytes.Clone(schemaJSON) }

// New makes the provider.
func New() (p.Provider, error) {
	provider, err := inferred()
	provider.GetSchema = func(context.Context, p.GetSchemaRequest) (p.GetSchemaResponse, error) {
		return p.GetSchemaResponse{Schema: string(schemaJSON)}, nil
	}
	construct := provider.Construct
	provider.Construct = func(ctx context.Context, req p.ConstructRequest) (p.ConstructResponse, error) {
		var err error
		if req.Inputs, err = spread(string(req.Urn.Type()), req.Inputs); err != nil {
			return p.ConstructResponse{}, err
		}
		// The engine starts a plugin for each program that it runs.
		return construct(context.WithValue(ctx, components.ProgramKey{}, Name), req)
	}
	return provider, err
}

// inferred is the provider with what can be seen in Go's types alone.
func inferred() (p.Provider, error) {
	return infer.NewProviderBuilder().
		WithDisplayName("KMS Baseline").
		WithDescription("Encryption under your own key for an AWS account: a customer managed KMS key, a bucket that encrypts with it by default, and EBS encryption by default under it.").
		WithRepository("https://github.com/securethecloud/kms-baseline").
		WithHomepage("https://github.com/securethecloud/kms-baseline").
		WithPublisher("Secure the Cloud").
		WithLicense("Apache-2.0").
		WithKeywords("pulumi", "aws", "kms", "s3", "ebs", "encryption", "category/infrastructure", "kind/component").
		WithNamespace("securethecloud").
		WithGoImportPath("github.com/securethecloud/kms-baseline/plugin/sdk/go/kmsbaseline").
		WithModuleMap(map[tokens.ModuleName]tokens.ModuleName{"components": "index"}).
		WithComponents(
			infer.ComponentF(withHooks(components.NewCustomerKey)),
			infer.ComponentF(withHooks(components.NewReplicaKey)),
			infer.ComponentF(withHooks(components.NewEncryptedBucket)),
			infer.ComponentF(withHooks(components.NewEBSDefaultEncryption)),
			infer.ComponentF(withHooks(components.NewEncryptionBaseline)),
		).
		Build()
}

// Run serves the provider to the Pulumi engine until the engine ends it.
func Run(ctx context.Context) error {
	provider, err := New()
	if err != nil {
		return err
	}
	return provider.Run(ctx, Name, Version())
}

// withHooks is construct in a program that has the guard and the restorer, which
// a program in another language cannot register.
func withHooks[A any, R pulumi.ComponentResource](construct func(*pulumi.Context, string, A, ...pulumi.ResourceOption) (R, error)) func(*pulumi.Context, string, A, ...pulumi.ResourceOption) (R, error) {
	return func(ctx *pulumi.Context, name string, args A, opts ...pulumi.ResourceOption) (R, error) {
		if err := errors.Join(keyguard.Register(ctx), ebsrestore.Register(ctx)); err != nil {
			var none R
			return none, err
		}
		return construct(ctx, name, args, opts...)
	}
}
