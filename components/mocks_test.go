package components

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	ownKey     = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	foreignKey = "arn:aws:kms:us-east-1:111122223333:key/ffffffff-12ab-34cd-56ef-1234567890ab"
	primaryKey = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	replicaKey = "arn:aws:kms:us-west-2:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	adminRole  = "arn:aws:iam::111122223333:role/admin"
	userRole   = "arn:aws:iam::111122223333:role/app"

	replicationRole = "arn:aws:iam::111122223333:role/replication"
)

// mock answers for the engine and for AWS, and records what was registered. It
// stands in for neither where their behavior matters: that is tested end to
// end.
type mock struct {
	preview bool                            // nothing is known that AWS would say
	keys    map[string]resource.PropertyMap // what getKey answers, by ARN
	buckets []string                        // what getBucket finds
	ebs     EBSSettings                     // what the EBS look-ups answer
	before  map[string]any                  // what an earlier up stashed; nil: nothing
	account map[string]string               // the account by provider's name; 111122223333 for any other
	region  string                          // the bucket's Region

	mu        sync.Mutex
	resources map[string]registered // by name and type
	urns      []string
}

type registered struct {
	pulumi.MockResourceArgs
	urn string
	rpc *pulumirpc.RegisterResourceRequest
}

func newMock() *mock {
	return &mock{region: "us-east-1", ebs: EBSSettings{KmsKeyArn: "alias/aws/ebs"}, keys: map[string]resource.PropertyMap{}, resources: map[string]registered{}}
}

func (m *mock) NewResource(a pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	out := a.Inputs.Copy()
	known := func(k resource.PropertyKey, v string) {
		if m.preview {
			out[k] = resource.MakeComputed(resource.NewProperty(""))
		} else {
			out[k] = resource.NewProperty(v)
		}
	}
	switch a.TypeToken {
	case "aws:kms/key:Key":
		known("arn", ownKey)
		known("keyId", "1234abcd-12ab-34cd-56ef-1234567890ab")
	case "aws:kms/replicaKey:ReplicaKey":
		known("arn", replicaKey)
		known("keyId", "mrk-1234abcd12ab34cd56ef1234567890ab")
	case "aws:kms/alias:Alias":
		known("arn", "arn:aws:kms:us-east-1:111122223333:"+out["name"].StringValue())
	case "aws:s3/bucketV2:BucketV2":
		name := out["bucket"]
		if !name.IsString() {
			name = resource.NewProperty("made-up")
			if p := out["bucketPrefix"]; p.IsString() {
				name = resource.NewProperty(p.StringValue() + "made-up")
			}
		}
		known("bucket", name.StringValue())
		known("arn", "arn:aws:s3:::"+name.StringValue())
		known("region", m.region)
	case "pulumi:index:Stash":
		out["output"] = out["input"]
		if m.before != nil {
			out["output"] = resource.NewPropertyValue(m.before)
		}
	}
	parent := tokens.Type("")
	if p := resource.URN(a.RegisterRPC.GetParent()); p != "" && p.QualifiedType() != resource.RootStackType {
		parent = p.QualifiedType()
	}
	urn := string(resource.NewURN("test", "kms-baseline", parent, tokens.Type(a.TypeToken), a.Name))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resources[a.TypeToken+" "+a.Name] = registered{a, urn, a.RegisterRPC}
	m.urns = append(m.urns, urn)
	return a.Name + "-id", out, nil
}

func (m *mock) Call(a pulumi.MockCallArgs) (resource.PropertyMap, error) {
	switch a.Token {
	case "aws:kms/getKey:getKey":
		id := a.Args["keyId"].StringValue()
		key, ok := m.keys[id]
		if !ok {
			return nil, fmt.Errorf("NotFoundException: Key '%s' does not exist", id)
		}
		return key, nil
	case "aws:ebs/getDefaultKmsKey:getDefaultKmsKey":
		return resource.NewPropertyMapFromMap(map[string]any{"id": "us-east-1", "keyArn": m.ebs.KmsKeyArn}), nil
	case "aws:ebs/getEncryptionByDefault:getEncryptionByDefault":
		return resource.NewPropertyMapFromMap(map[string]any{"id": "us-east-1", "enabled": m.ebs.Enabled}), nil
	case "aws:index/getCallerIdentity:getCallerIdentity":
		account := "111122223333"
		for provider, other := range m.account {
			if strings.Contains(a.Provider, "::"+provider+"::") {
				account = other
			}
		}
		if account == "" {
			return nil, errors.New("AccessDenied")
		}
		return resource.NewPropertyMapFromMap(map[string]any{"id": account, "accountId": account}), nil
	case "aws:s3/getBucket:getBucket":
		name := a.Args["bucket"].StringValue()
		for _, b := range m.buckets {
			if b == name {
				return resource.NewPropertyMapFromMap(map[string]any{"id": b, "bucket": b, "arn": "arn:aws:s3:::" + b}), nil
			}
		}
		return nil, fmt.Errorf("couldn't find resource %s", name)
	}
	return nil, fmt.Errorf("the mock does not know %s", a.Token)
}

// addKey makes getKey answer arn with a usable key, changed as told.
func (m *mock) addKey(arn string, change map[string]any) {
	key := map[string]any{
		"arn": arn, "id": arn[strings.LastIndex(arn, "/")+1:], "keyId": arn, "enabled": true, "keyManager": "CUSTOMER",
		"keySpec": "SYMMETRIC_DEFAULT", "keyState": "Enabled", "keyUsage": "ENCRYPT_DECRYPT",
	}
	for k, v := range change {
		key[k] = v
	}
	m.keys[arn] = resource.NewPropertyMapFromMap(key)
}

// run runs program against m.
func (m *mock) run(program func(ctx *pulumi.Context) error) error {
	return pulumi.RunErr(program, pulumi.WithMocks("kms-baseline", "test", m), func(i *pulumi.RunInfo) { i.DryRun = m.preview })
}

// get is the resource of this type and name.
func (m *mock) get(t *testing.T, token, name string) registered {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.resources[token+" "+name]
	require.True(t, ok, "no %s %q was registered; there are: %s", token, name, strings.Join(m.urns, "\n"))
	return r
}

// has reports whether a resource of this type was registered.
func (m *mock) has(token string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.resources {
		if strings.HasPrefix(k, token+" ") {
			return true
		}
	}
	return false
}

// input is the input called key, as plain Go values.
func (r registered) input(key string) any {
	return r.Inputs[resource.PropertyKey(key)].Mappable()
}

// requireRefused runs program and requires that it fails with all of want
// before it has registered anything.
func requireRefused(t *testing.T, program func(ctx *pulumi.Context) error, want ...string) {
	t.Helper()
	m := newMock()
	err := m.run(program)
	for _, w := range want {
		require.ErrorContains(t, err, w)
	}
	require.Empty(t, m.urns, "registered before the refusal")
}

// resolved waits for out in a running program and returns its value.
func resolved(t *testing.T, ctx *pulumi.Context, out pulumi.Output) any {
	t.Helper()
	got, err := internals.UnsafeAwaitOutput(ctx.Context(), out)
	require.NoError(t, err)
	require.True(t, got.Known)
	return got.Value
}

// requireGolden compares got with testdata/name.
func requireGolden(t *testing.T, name, got string, why ...any) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o750))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, why...)
}

func ptr[T any](v T) *T { return &v }
