package provider

import (
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/urn"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
)

// Dependencies of an argument as a whole move to what may be an output.
func TestSpread(t *testing.T) {
	t.Parallel()
	key, role := urn.URN("urn:pulumi:dev::p::aws:kms/key:Key::key"), urn.URN("urn:pulumi:dev::p::aws:iam/role:Role::role")
	on := func(v property.Value, urns ...urn.URN) property.Value { return v.WithDependencies(urns) }
	object := func(m map[string]property.Value) property.Value { return property.New(property.NewMap(m)) }
	list := func(v ...property.Value) property.Value { return property.New(property.NewArray(v)) }
	text := func(s string) property.Value { return property.New(s) }
	replication := func(role property.Value, prefix property.Value) property.Value {
		return object(map[string]property.Value{"roleArn": role, "prefix": prefix})
	}
	for name, c := range map[string]struct {
		token     string
		got, want map[string]property.Value
	}{
		"an output stays one": {components.EncryptedBucketType,
			map[string]property.Value{"kmsKeyArn": on(text("arn"), key), "tags": on(object(map[string]property.Value{"a": text("b")}), key)},
			map[string]property.Value{"kmsKeyArn": on(text("arn"), key), "tags": on(object(map[string]property.Value{"a": text("b")}), key)}},
		"an object": {components.EncryptedBucketType,
			map[string]property.Value{"replication": on(replication(on(text("role"), role), text("logs/")), key)},
			map[string]property.Value{"replication": replication(on(text("role"), key, role), text("logs/"))}},
		"a list of objects": {components.CustomerKeyType,
			map[string]property.Value{"statements": on(list(object(map[string]property.Value{"sid": text("Sid"), "principals": list(text("role"))})), role)},
			map[string]property.Value{"statements": list(object(map[string]property.Value{"sid": text("Sid"), "principals": on(list(text("role")), role)}))}},
		"an object in an object": {components.EncryptionBaselineType,
			map[string]property.Value{"bucket": on(object(map[string]property.Value{"args": object(map[string]property.Value{"replication": replication(text("role"), text("logs/"))})}), role)},
			map[string]property.Value{"bucket": object(map[string]property.Value{"args": object(map[string]property.Value{"replication": replication(on(text("role"), role), text("logs/"))})})}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := spread(c.token, property.NewMap(c.got))
			require.NoError(t, err)
			require.True(t, property.New(property.NewMap(c.want)).Equals(property.New(got)), "%#v", got)
		})
	}
}
