package provider

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
)

func TestSchema_IsGenerated(t *testing.T) {
	t.Parallel()
	want, err := GenerateSchema(t.Context(), "../../components")
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, Schema()), "schema.json is not what the components say any more: make -C plugin generate, and see git diff")
}

func TestSchema_IsServed(t *testing.T) {
	t.Parallel()
	provider, err := New()
	require.NoError(t, err)
	served, err := p.GetSchema(t.Context(), Name, Version(), provider)
	require.NoError(t, err)
	require.Equal(t, committed(t), served)
	require.Equal(t, Version(), served.Version)
}

// The binder is what every SDK generator begins with.
func TestSchema_IsValid(t *testing.T) {
	t.Parallel()
	_, diagnostics, err := schema.BindSpec(committed(t), schema.NewNullLoader(), schema.ValidationOptions{})
	require.NoError(t, err)
	require.Empty(t, diagnostics)
}

// A program in Go and one in another language make resources of the same types,
// so that a stack can move from one to the other.
func TestSchema_Tokens(t *testing.T) {
	t.Parallel()
	var tokens []string
	for token, r := range committed(t).Resources {
		require.True(t, r.IsComponent, token)
		tokens = append(tokens, token)
	}
	slices.Sort(tokens)
	require.Equal(t, []string{
		components.CustomerKeyType,
		components.EBSDefaultEncryptionType,
		components.EncryptedBucketType,
		components.EncryptionBaselineType,
		components.ReplicaKeyType,
	}, tokens)
}

func TestSchema_DescribesEverything(t *testing.T) {
	t.Parallel()
	spec := committed(t)
	described := func(owner string, properties map[string]schema.PropertySpec) {
		for name, property := range properties {
			require.NotEmpty(t, property.Description, "%s.%s has no description: it needs a doc comment in package components", owner, name)
		}
	}
	for token, r := range spec.Resources {
		require.NotEmpty(t, r.Description, token)
		described(token, r.Properties)
		described(token+"Args", r.InputProperties)
	}
	for token, typ := range spec.Types {
		require.NotEmpty(t, typ.Description, token)
		described(token, typ.Properties)
	}
}

// What decides which resources there are has to be known before there are any;
// the rest may be an output of another resource.
func TestSchema_Plain(t *testing.T) {
	t.Parallel()
	spec := committed(t)
	key, baseline := spec.Resources[components.CustomerKeyType].InputProperties, spec.Resources[components.EncryptionBaselineType].InputProperties
	for _, c := range []struct {
		name     string
		property schema.PropertySpec
		plain    bool
	}{
		{"a string", key["aliasName"], true},
		{"a string that may be an output", spec.Types["kms-baseline:index:ExistingKey"].Properties["keyArn"], false},
		{"a list", key["additionalAliases"], true},
		{"a list that may be of outputs", key["administrators"], false},
		{"a map that may be of outputs", key["tags"], false},
		{"a part", baseline["key"], true},
		{"within a part", spec.Types["kms-baseline:index:EncryptedBucketSettings"].Properties["kmsKeyArn"], false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.NotEmpty(t, c.property.Description, "no such property")
			require.Equal(t, c.plain, c.property.Plain)
			for _, element := range []*schema.TypeSpec{c.property.Items, c.property.AdditionalProperties} {
				if element != nil {
					require.Equal(t, c.plain, element.Plain)
				}
			}
		})
	}
}

// What a component cannot do without is required, so that a compiler reports it.
func TestSchema_Required(t *testing.T) {
	t.Parallel()
	spec := committed(t)
	for token, want := range map[string][]string{
		components.CustomerKeyType:          nil,
		components.ReplicaKeyType:           {"primaryKeyArn"},
		components.EncryptedBucketType:      {"kmsKeyArn"},
		components.EBSDefaultEncryptionType: {"kmsKeyArn"},
		components.EncryptionBaselineType:   nil,
	} {
		require.Equal(t, want, spec.Resources[token].RequiredInputs, token)
	}
	for token, want := range map[string][]string{
		"ExistingKey": {"keyArn"}, "ExistingBucket": {"bucketName"}, "PolicyStatement": {"actions", "sid"}, "LifecycleRule": {"id"}, "AccessLogging": {"targetBucket"},
		"Replication":             {"destinationBucketArn", "replicaKmsKeyArn", "roleArn"},
		"EncryptedBucketSettings": nil, "EBSDefaultEncryptionSettings": nil,
	} {
		typ, ok := spec.Types["kms-baseline:index:"+token]
		require.True(t, ok, token)
		require.ElementsMatch(t, want, typ.Required, token)
	}
}

func TestSchema_NamesPropertiesAsOtherLanguagesDo(t *testing.T) {
	t.Parallel()
	src, err := readSource("../../components")
	require.NoError(t, err)
	for _, c := range []struct{ name, typeName, field, text, want string }{
		{"its own", "EncryptionBaselineArgs", "EBS", "EBS is the Region's EBS defaults.", "`ebs` is the Region's EBS defaults."},
		{"another of the type", "EncryptedBucketArgs", "ObjectLock", "ObjectLock needs Versioning.", "`objectLock` needs `versioning`."},
		{"one of another type", "EncryptionBaselineArgs", "Key", "Key is new, or has a KmsKeyArn.", "`key` is new, or has a `kmsKeyArn`."},
		{"one of a named type", "ReplicaKeyArgs", "ServiceUsers", "ServiceUsers use it: see CustomerKeyArgs.ServiceUsers.", "`serviceUsers` use it: see CustomerKey's `serviceUsers`."},
		{"a constructor", "CustomerKeyArgs", "", "CustomerKeyArgs are the arguments of [NewCustomerKey].", "CustomerKeyArgs are the arguments of CustomerKey."},
		{"an English word", "CustomerKeyArgs", "ServiceUsers", "ServiceUsers use it. Principals need not be named.", "`serviceUsers` use it. Principals need not be named."},
		{"a type with a field's name", "ObjectLock", "", "ObjectLock is a retention.", "ObjectLock is a retention."},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, src.prose(c.typeName, c.field, c.text))
		})
	}
}

func committed(t *testing.T) schema.PackageSpec {
	t.Helper()
	var spec schema.PackageSpec
	require.NoError(t, json.Unmarshal(Schema(), &spec))
	return spec
}
