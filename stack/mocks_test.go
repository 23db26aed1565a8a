package stack

import (
	"fmt"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/stretchr/testify/require"
)

const (
	keyARN     = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	foreignARN = "arn:aws:kms:us-east-1:111122223333:key/ffffffff-12ab-34cd-56ef-1234567890ab"
)

// mock answers for the engine and for AWS, and records what was registered.
type mock struct {
	ebsKey     string
	ebsEnabled bool

	mu        sync.Mutex
	resources map[string]registered // by name and type
	exports   map[string]any
}

type registered struct {
	inputs map[string]any
	rpc    *pulumirpc.RegisterResourceRequest
}

func newMock() *mock {
	return &mock{ebsKey: "alias/aws/ebs", resources: map[string]registered{}, exports: map[string]any{}}
}

func (m *mock) NewResource(a pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	out := a.Inputs.Copy()
	switch a.TypeToken {
	case "aws:kms/key:Key":
		out["arn"], out["keyId"] = resource.NewProperty(keyARN), resource.NewProperty("1234abcd-12ab-34cd-56ef-1234567890ab")
	case "aws:kms/alias:Alias":
		out["arn"] = resource.NewProperty("arn:aws:kms:us-east-1:111122223333:" + out["name"].StringValue())
	case "aws:s3/bucketV2:BucketV2":
		if !out["bucket"].IsString() {
			out["bucket"] = resource.NewProperty(out["bucketPrefix"].StringValue() + "made-up")
		}
		out["arn"] = resource.NewProperty("arn:aws:s3:::" + out["bucket"].StringValue())
	case "pulumi:index:Stash":
		out["output"] = out["input"]
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resources[a.TypeToken+" "+a.Name] = registered{a.Inputs.Mappable(), a.RegisterRPC}
	return a.Name + "-id", out, nil
}

func (m *mock) Call(a pulumi.MockCallArgs) (resource.PropertyMap, error) {
	switch a.Token {
	case "aws:kms/getKey:getKey":
		arn := a.Args["keyId"].StringValue()
		return resource.NewPropertyMapFromMap(map[string]any{
			"arn": arn, "id": arn[len(arn)-36:], "keyManager": "CUSTOMER", "keySpec": "SYMMETRIC_DEFAULT", "keyState": "Enabled", "keyUsage": "ENCRYPT_DECRYPT",
		}), nil
	case "aws:s3/getBucket:getBucket":
		name := a.Args["bucket"].StringValue()
		return resource.NewPropertyMapFromMap(map[string]any{"id": name, "bucket": name, "arn": "arn:aws:s3:::" + name}), nil
	case "aws:index/getCallerIdentity:getCallerIdentity":
		return resource.NewPropertyMapFromMap(map[string]any{"id": "111122223333", "accountId": "111122223333"}), nil
	case "aws:ebs/getDefaultKmsKey:getDefaultKmsKey":
		return resource.NewPropertyMapFromMap(map[string]any{"id": "us-east-1", "keyArn": m.ebsKey}), nil
	case "aws:ebs/getEncryptionByDefault:getEncryptionByDefault":
		return resource.NewPropertyMapFromMap(map[string]any{"id": "us-east-1", "enabled": m.ebsEnabled}), nil
	}
	return nil, fmt.Errorf("the mock does not know %s", a.Token)
}

// deploy runs Deploy with these settings and waits for what it exports.
func (m *mock) deploy(settings map[string]string) error {
	cfg := map[string]string{"aws:region": "us-east-1"}
	for k, v := range settings {
		cfg["kms-baseline:"+k] = v
	}
	return m.deployExactly(cfg)
}

func (m *mock) deployExactly(cfg map[string]string) error {
	return pulumi.RunErr(func(ctx *pulumi.Context) error {
		if err := Deploy(ctx); err != nil {
			return err
		}
		for name, out := range ctx.GetCurrentExportMap() {
			got, err := internals.UnsafeAwaitOutput(ctx.Context(), out.(pulumi.Output))
			if err != nil {
				return err
			}
			m.exports[name] = got.Value
		}
		return nil
	}, pulumi.WithMocks("kms-baseline", "test", m), func(i *pulumi.RunInfo) { i.Config = cfg })
}

func (m *mock) get(t *testing.T, token, name string) registered {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.resources[token+" "+name]
	require.True(t, ok, "no %s %q was registered", token, name)
	return r
}
