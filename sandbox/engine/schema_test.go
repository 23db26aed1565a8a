package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/athena"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/cloudtrail"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/ebs"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/glue"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/iam"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/kms"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/s3"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

// sdkResources and sdkResults are what a program built on the SDK sends to, and
// expects from, the provider.
var (
	sdkResources = map[string]any{
		"aws:athena/workgroup:Workgroup": athena.Workgroup{},

		"aws:cloudtrail/trail:Trail": cloudtrail.Trail{},

		"aws:ebs/defaultKmsKey:DefaultKmsKey":                         ebs.DefaultKmsKey{},
		"aws:ebs/encryptionByDefault:EncryptionByDefault":             ebs.EncryptionByDefault{},
		"aws:ebs/snapshot:Snapshot":                                   ebs.Snapshot{},
		"aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess": ebs.SnapshotBlockPublicAccess{},
		"aws:ebs/volume:Volume":                                       ebs.Volume{},

		"aws:glue/catalogDatabase:CatalogDatabase": glue.CatalogDatabase{},
		"aws:glue/catalogTable:CatalogTable":       glue.CatalogTable{},

		"aws:kms/alias:Alias":           kms.Alias{},
		"aws:kms/key:Key":               kms.Key{},
		"aws:kms/keyPolicy:KeyPolicy":   kms.KeyPolicy{},
		"aws:kms/replicaKey:ReplicaKey": kms.ReplicaKey{},

		"aws:s3/bucketV2:BucketV2":                                                                   s3.BucketV2{},
		"aws:s3/bucketAclV2:BucketAclV2":                                                             s3.BucketAclV2{},
		"aws:s3/bucketLifecycleConfigurationV2:BucketLifecycleConfigurationV2":                       s3.BucketLifecycleConfigurationV2{},
		"aws:s3/bucketLoggingV2:BucketLoggingV2":                                                     s3.BucketLoggingV2{},
		"aws:s3/bucketObjectLockConfigurationV2:BucketObjectLockConfigurationV2":                     s3.BucketObjectLockConfigurationV2{},
		"aws:s3/bucketOwnershipControls:BucketOwnershipControls":                                     s3.BucketOwnershipControls{},
		"aws:s3/bucketPolicy:BucketPolicy":                                                           s3.BucketPolicy{},
		"aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock":                                     s3.BucketPublicAccessBlock{},
		"aws:s3/bucketReplicationConfig:BucketReplicationConfig":                                     s3.BucketReplicationConfig{},
		"aws:s3/bucketServerSideEncryptionConfigurationV2:BucketServerSideEncryptionConfigurationV2": s3.BucketServerSideEncryptionConfigurationV2{},
		"aws:s3/bucketVersioningV2:BucketVersioningV2":                                               s3.BucketVersioningV2{},
		"aws:s3/bucketObjectv2:BucketObjectv2":                                                       s3.BucketObjectv2{},
	}

	sdkResults = map[string]any{
		"aws:index/getCallerIdentity:getCallerIdentity": aws.GetCallerIdentityResult{},
		"aws:index/getPartition:getPartition":           aws.GetPartitionResult{},
		"aws:index/getRegion:getRegion":                 aws.GetRegionResult{},
		"aws:index/getRegions:getRegions":               aws.GetRegionsResult{},

		"aws:ebs/getDefaultKmsKey:getDefaultKmsKey":             ebs.LookupDefaultKmsKeyResult{},
		"aws:ebs/getEncryptionByDefault:getEncryptionByDefault": ebs.LookupEncryptionByDefaultResult{},

		"aws:iam/getPolicyDocument:getPolicyDocument": iam.GetPolicyDocumentResult{},

		"aws:kms/getAlias:getAlias": kms.LookupAliasResult{},
		"aws:kms/getKey:getKey":     kms.LookupKeyResult{},

		"aws:s3/getBucket:getBucket":   s3.LookupBucketResult{},
		"aws:s3/getObjects:getObjects": s3.GetObjectsResult{},
	}
)

// newerThanUpstream are properties that came to the SDK after the version of the
// Terraform provider that can be built: the provider ignores them.
var newerThanUpstream = map[string][]string{
	"aws:cloudtrail/trail:Trail": {".snsTopicArn"},
	"aws:ebs/volume:Volume":      {".createTime"},
	"aws:s3/bucketLifecycleConfigurationV2:BucketLifecycleConfigurationV2": {".timeouts"},
	"aws:s3/bucketObjectv2:BucketObjectv2":                                 {".checksumCrc64nvme"},
}

// packageSchema is the part of a Pulumi package schema that the test reads.
type packageSchema struct {
	Resources map[string]objectSpec
	Functions map[string]struct{ Outputs objectSpec }
	Types     map[string]objectSpec
}

type objectSpec struct{ Properties map[string]typeSpec }

type typeSpec struct {
	Type                 string
	Ref                  string `json:"$ref"`
	Items                *typeSpec
	AdditionalProperties *typeSpec
}

func TestProviderSchema_AgreesWithTheSDK(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../provider/schema.json")
	require.NoError(t, err)
	var schema packageSchema
	require.NoError(t, json.Unmarshal(data, &schema))

	for token, spec := range schema.Resources {
		t.Run(token, func(t *testing.T) {
			t.Parallel()
			sdk, ok := sdkResources[token]
			require.True(t, ok, "resource %s is in the provider's table and not in this test's", token)
			require.ElementsMatch(t, newerThanUpstream[token], compare(schema, spec, reflect.TypeOf(sdk), ""))
		})
	}
	for token, spec := range schema.Functions {
		t.Run(token, func(t *testing.T) {
			t.Parallel()
			sdk, ok := sdkResults[token]
			require.True(t, ok, "function %s is in the provider's table and not in this test's", token)
			require.Empty(t, compare(schema, spec.Outputs, reflect.TypeOf(sdk), ""))
		})
	}
	require.Equal(t, len(sdkResources), len(schema.Resources)) //nolint:testifylint // Len would print both schemas
	require.Equal(t, len(sdkResults), len(schema.Functions))   //nolint:testifylint // Len would print both schemas
}

// compare names every property that one side has and the other has not, or has
// in another shape. One that only the SDK has is named by its path alone.
func compare(schema packageSchema, spec objectSpec, sdk reflect.Type, at string) []string {
	var differences []string
	tags := map[string]reflect.Type{}
	for i := range sdk.NumField() {
		if name, _, _ := strings.Cut(sdk.Field(i).Tag.Get("pulumi"), ","); name != "" {
			tags[name] = sdk.Field(i).Type
		}
	}
	for name, prop := range spec.Properties {
		path := at + "." + name
		if field, ok := tags[name]; ok {
			differences = append(differences, compareType(schema, prop, field, path)...)
		} else {
			differences = append(differences, path+": the SDK has no such property")
		}
	}
	for name := range tags {
		if _, ok := spec.Properties[name]; !ok && name != "id" {
			differences = append(differences, at+"."+name)
		}
	}
	return differences
}

func compareType(schema packageSchema, prop typeSpec, sdk reflect.Type, path string) []string {
	if out, ok := reflect.Zero(sdk).Interface().(pulumi.Output); ok {
		sdk = out.ElementType()
	}
	if sdk.Kind() == reflect.Pointer {
		sdk = sdk.Elem()
	}
	want := map[reflect.Kind]string{
		reflect.Bool: "boolean", reflect.Int: "integer", reflect.Float64: "number", reflect.String: "string",
		reflect.Slice: "array", reflect.Map: "object", reflect.Struct: "$ref", reflect.Interface: "$ref",
	}[sdk.Kind()]
	got := prop.Type
	if prop.Ref != "" {
		got = "$ref"
	}
	if want != got {
		return []string{fmt.Sprintf("%s: the SDK has %s (%s), the provider %s", path, want, sdk, got)}
	}
	switch {
	case prop.Items != nil:
		return compareType(schema, *prop.Items, sdk.Elem(), path+"[]")
	case prop.AdditionalProperties != nil:
		return compareType(schema, *prop.AdditionalProperties, sdk.Elem(), path+"{}")
	case sdk.Kind() == reflect.Struct:
		spec, ok := schema.Types[strings.TrimPrefix(prop.Ref, "#/types/")]
		if !ok {
			return []string{fmt.Sprintf("%s: the schema lacks its own type %s", path, prop.Ref)}
		}
		return compare(schema, spec, sdk, path)
	}
	return nil
}
