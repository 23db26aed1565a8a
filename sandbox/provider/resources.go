package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-provider-aws/xpprovider"
	pfbridge "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shimv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/x/muxer"
	"github.com/pulumi/pulumi-terraform-bridge/v3/unstable/metadata"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
)

// version is what the plugin reports: the version of the SDK whose tokens and
// property names it answers to.
const version = "6.83.0"

// resources maps Pulumi's tokens to Terraform's resources.
var resources = map[string]tokens.Type{
	"aws_athena_workgroup": "aws:athena/workgroup:Workgroup",

	"aws_cloudtrail": "aws:cloudtrail/trail:Trail",

	"aws_ebs_default_kms_key":              "aws:ebs/defaultKmsKey:DefaultKmsKey",
	"aws_ebs_encryption_by_default":        "aws:ebs/encryptionByDefault:EncryptionByDefault",
	"aws_ebs_snapshot":                     "aws:ebs/snapshot:Snapshot",
	"aws_ebs_snapshot_block_public_access": "aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess",
	"aws_ebs_volume":                       "aws:ebs/volume:Volume",

	"aws_glue_catalog_database": "aws:glue/catalogDatabase:CatalogDatabase",
	"aws_glue_catalog_table":    "aws:glue/catalogTable:CatalogTable",

	"aws_kms_alias":       "aws:kms/alias:Alias",
	"aws_kms_key":         "aws:kms/key:Key",
	"aws_kms_key_policy":  "aws:kms/keyPolicy:KeyPolicy",
	"aws_kms_replica_key": "aws:kms/replicaKey:ReplicaKey",

	"aws_s3_bucket":                                      "aws:s3/bucketV2:BucketV2",
	"aws_s3_bucket_acl":                                  "aws:s3/bucketAclV2:BucketAclV2",
	"aws_s3_bucket_lifecycle_configuration":              "aws:s3/bucketLifecycleConfigurationV2:BucketLifecycleConfigurationV2",
	"aws_s3_bucket_logging":                              "aws:s3/bucketLoggingV2:BucketLoggingV2",
	"aws_s3_bucket_object_lock_configuration":            "aws:s3/bucketObjectLockConfigurationV2:BucketObjectLockConfigurationV2",
	"aws_s3_bucket_ownership_controls":                   "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
	"aws_s3_bucket_policy":                               "aws:s3/bucketPolicy:BucketPolicy",
	"aws_s3_bucket_public_access_block":                  "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
	"aws_s3_bucket_replication_configuration":            "aws:s3/bucketReplicationConfig:BucketReplicationConfig",
	"aws_s3_bucket_server_side_encryption_configuration": "aws:s3/bucketServerSideEncryptionConfigurationV2:BucketServerSideEncryptionConfigurationV2",
	"aws_s3_bucket_versioning":                           "aws:s3/bucketVersioningV2:BucketVersioningV2",
	"aws_s3_object":                                      "aws:s3/bucketObjectv2:BucketObjectv2",
}

// functions says the same of data sources.
var functions = map[string]tokens.ModuleMember{
	"aws_caller_identity": "aws:index/getCallerIdentity:getCallerIdentity",
	"aws_partition":       "aws:index/getPartition:getPartition",
	"aws_region":          "aws:index/getRegion:getRegion",
	"aws_regions":         "aws:index/getRegions:getRegions",

	"aws_ebs_default_kms_key":       "aws:ebs/getDefaultKmsKey:getDefaultKmsKey",
	"aws_ebs_encryption_by_default": "aws:ebs/getEncryptionByDefault:getEncryptionByDefault",

	"aws_iam_policy_document": "aws:iam/getPolicyDocument:getPolicyDocument",

	"aws_kms_alias": "aws:kms/getAlias:getAlias",
	"aws_kms_key":   "aws:kms/getKey:getKey",

	"aws_s3_bucket":  "aws:s3/getBucket:getBucket",
	"aws_s3_objects": "aws:s3/getObjects:getObjects",
}

// providerInfo bridges the tables' resources and functions.
func providerInfo(ctx context.Context) (tfbridge.ProviderInfo, error) {
	framework, sdkv2, err := xpprovider.GetProvider(ctx)
	if err != nil {
		return tfbridge.ProviderInfo{}, fmt.Errorf("making the Terraform AWS provider: %w", err)
	}
	info := tfbridge.ProviderInfo{
		// Two halves, as upstream is moving from one Terraform library to the other.
		P:            pfbridge.MuxShimWithPF(ctx, shimv2.NewProvider(sdkv2), framework),
		Name:         "aws",
		Version:      version,
		GitHubOrg:    "hashicorp",
		Resources:    map[string]*tfbridge.ResourceInfo{},
		DataSources:  map[string]*tfbridge.DataSourceInfo{},
		MetadataInfo: tfbridge.NewProviderMetadata([]byte("{}")),
	}
	for name, token := range resources {
		info.Resources[name] = &tfbridge.ResourceInfo{Tok: token, Fields: fields[name], TransformOutputs: outputs[name]}
	}
	for name, token := range functions {
		info.DataSources[name] = &tfbridge.DataSourceInfo{Tok: token}
	}
	halves, ok := info.P.(interface {
		ResolveDispatch(*tfbridge.ProviderInfo) (muxer.DispatchTable, error)
	})
	if !ok {
		return info, fmt.Errorf("the bridge's muxed provider has no dispatch table: %T", info.P)
	}
	dispatch, err := halves.ResolveDispatch(&info)
	if err != nil {
		return info, fmt.Errorf("finding the half of the provider that has each resource: %w", err)
	}
	if err := metadata.Set(info.GetMetadata(), "mux", dispatch); err != nil {
		return info, fmt.Errorf("writing the provider's metadata: %w", err)
	}
	return info, nil
}

// fields are the properties that the SDK has otherwise than the bridge would
// make them by itself: names given to resources that have none, files instead
// of paths, lists that the SDK keeps as lists where Terraform allows one element
// only, and numbers that this version of Terraform's provider keeps as text.
var fields = map[string]fieldInfos{
	"aws_s3_bucket": {
		"bucket":     tfbridge.AutoNameTransform("bucket", 63, strings.ToLower),
		"logging":    list("loggings", nil),
		"versioning": list("versionings", nil),
		"website":    list("websites", nil),
		"lifecycle_rule": elem(fieldInfos{
			"expiration":                    list("expirations", nil),
			"noncurrent_version_expiration": list("noncurrentVersionExpirations", nil),
		}),
		"object_lock_configuration": elem(fieldInfos{
			"rule": list("rules", fieldInfos{
				"default_retention": list("defaultRetentions", nil),
			}),
		}),
		"replication_configuration": list("replicationConfigurations", fieldInfos{
			"rules": elem(fieldInfos{
				"destination": list("destinations", fieldInfos{
					"access_control_translation": list("accessControlTranslations", nil),
					"metrics":                    list("metrics", nil),
					"replication_time":           list("replicationTimes", nil),
				}),
				"filter": list("filters", nil),
				"source_selection_criteria": list("sourceSelectionCriterias", fieldInfos{
					"sse_kms_encrypted_objects": list("sseKmsEncryptedObjects", nil),
				}),
			}),
		}),
		"server_side_encryption_configuration": list("serverSideEncryptionConfigurations", fieldInfos{
			"rule": list("rules", fieldInfos{
				"apply_server_side_encryption_by_default": list("applyServerSideEncryptionByDefaults", nil),
			}),
		}),
	},
	"aws_s3_bucket_lifecycle_configuration": {
		"rule": elem(fieldInfos{
			"filter": elem(fieldInfos{
				"object_size_greater_than": {Type: "integer"},
				"object_size_less_than":    {Type: "integer"},
			}),
			"noncurrent_version_expiration": elem(fieldInfos{
				"newer_noncurrent_versions": {Type: "integer"},
			}),
			"noncurrent_version_transition": elem(fieldInfos{
				"newer_noncurrent_versions": {Type: "integer"},
			}),
		}),
	},
	"aws_s3_object": {
		"key":    {Default: &tfbridge.DefaultInfo{From: tfbridge.FromName(tfbridge.AutoNameOptions{})}},
		"source": {Asset: &tfbridge.AssetTranslation{Kind: tfbridge.FileAsset}},
	},
}

// outputs are corrections to what a resource's properties come out as.
var outputs = map[string]tfbridge.PropertyTransform{
	"aws_s3_bucket_lifecycle_configuration": dropUnsetNumbers,
}

// dropUnsetNumbers leaves out numbers that were never set. Terraform's provider
// keeps them as the empty text, on which a program built on the SDK fails, since
// it expects a number or nothing.
func dropUnsetNumbers(_ context.Context, props resource.PropertyMap) (resource.PropertyMap, error) {
	return withoutUnset(resource.NewProperty(props)).ObjectValue(), nil
}

func withoutUnset(value resource.PropertyValue) resource.PropertyValue {
	numbers := []resource.PropertyKey{"newerNoncurrentVersions", "objectSizeGreaterThan", "objectSizeLessThan"}
	switch {
	case value.IsArray():
		var kept []resource.PropertyValue
		for _, element := range value.ArrayValue() {
			kept = append(kept, withoutUnset(element))
		}
		return resource.NewProperty(kept)
	case value.IsObject():
		kept := resource.PropertyMap{}
		for name, property := range value.ObjectValue() {
			if unset := property.IsString() && property.StringValue() == ""; !unset || !slices.Contains(numbers, name) {
				kept[name] = withoutUnset(property)
			}
		}
		return resource.NewProperty(kept)
	}
	return value
}

type fieldInfos = map[string]*tfbridge.SchemaInfo

// list keeps a block of at most one element a list, under its plural name.
func list(name string, nested fieldInfos) *tfbridge.SchemaInfo {
	info := elem(nested)
	info.Name, info.MaxItemsOne = name, tfbridge.False()
	return info
}

// elem overrides fields of a block's element.
func elem(nested fieldInfos) *tfbridge.SchemaInfo {
	if nested == nil {
		return &tfbridge.SchemaInfo{}
	}
	return &tfbridge.SchemaInfo{Elem: &tfbridge.SchemaInfo{Fields: nested}}
}
