package stack

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
)

const (
	keyType        = "aws:kms/key:Key"
	aliasType      = "aws:kms/alias:Alias"
	keyPolicyType  = "aws:kms/keyPolicy:KeyPolicy"
	bucketType     = "aws:s3/bucketV2:BucketV2"
	encryptionType = "aws:s3/bucketServerSideEncryptionConfigurationV2:BucketServerSideEncryptionConfigurationV2"
	versioningType = "aws:s3/bucketVersioningV2:BucketVersioningV2"
	bucketPolicy   = "aws:s3/bucketPolicy:BucketPolicy"
	objectType     = "aws:s3/bucketObjectv2:BucketObjectv2"
	defaultKeyType = "aws:ebs/defaultKmsKey:DefaultKmsKey"
	switchType     = "aws:ebs/encryptionByDefault:EncryptionByDefault"
	lifecycleType  = "aws:s3/bucketLifecycleConfigurationV2:BucketLifecycleConfigurationV2"
	loggingType    = "aws:s3/bucketLoggingV2:BucketLoggingV2"
	lockType       = "aws:s3/bucketObjectLockConfigurationV2:BucketObjectLockConfigurationV2"
	stashType      = "pulumi:index:Stash"
)

// TestDeploy_CourseValues: without any setting, the stack is the course's day.
func TestDeploy_CourseValues(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.deploy(nil))
	tags := map[string]any{"project": "cloud-kms-masterclass"}
	key := m.get(t, keyType, "ckms-key").inputs
	require.Equal(t, "Masterclass Day1 CMK", key["description"])
	require.InDelta(t, 365, key["rotationPeriodInDays"], 0)
	require.InDelta(t, 30, key["deletionWindowInDays"], 0)
	require.Equal(t, tags, key["tags"])
	require.Equal(t, "alias/masterclass-cmk", m.get(t, aliasType, "ckms-alias").inputs["name"])
	bucket := m.get(t, bucketType, "ckms-bucket").inputs
	require.Equal(t, map[string]any{"bucketPrefix": "ckms-111122223333-", "forceDestroy": false, "tags": tags}, bucket)
	require.Equal(t, keyARN, m.get(t, defaultKeyType, "ckms-ebs-default-key").inputs["keyArn"])
	require.True(t, m.get(t, switchType, "ckms-ebs-switch").rpc.GetRetainOnDelete(), "destroy leaves encryption on")
	m.get(t, versioningType, "ckms-versioning")
}

func TestDeploy_ProofObject(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.deploy(nil))
	proof := m.get(t, objectType, "proof")
	require.Equal(t, map[string]any{
		"bucket": "ckms-111122223333-made-up", "key": "test/hello.txt", "content": "hello kms day1\n", "contentType": "text/plain",
		"metadata": map[string]any{"purpose": "proof"}, "tags": map[string]any{"project": "cloud-kms-masterclass"},
	}, proof.inputs, "it names no encryption of its own: that is what it is to prove")
	require.Contains(t, proof.rpc.GetDependencies(),
		"urn:pulumi:test::kms-baseline::kms-baseline:index:EncryptionBaseline$kms-baseline:index:EncryptedBucket$"+bucketPolicy+"::ckms-policy",
		"written after the bucket's last setting")
}

func TestDeploy_Outputs(t *testing.T) {
	t.Parallel()
	want := map[string]any{
		"keyArn": keyARN, "keyId": "1234abcd-12ab-34cd-56ef-1234567890ab",
		"aliasName": "alias/masterclass-cmk", "aliasArn": "arn:aws:kms:us-east-1:111122223333:alias/masterclass-cmk",
		"bucketName": "ckms-111122223333-made-up", "objectKey": "test/hello.txt", "region": "us-east-1", "accountId": "111122223333",
		"ebsEncryptionByDefault": true, "ebsDefaultKeyArn": keyARN,
	}
	m := newMock()
	require.NoError(t, m.deploy(nil))
	require.Equal(t, want, m.exports)

	m = newMock()
	require.NoError(t, m.deploy(map[string]string{"skipEbs": "true"}))
	want["ebsEncryptionByDefault"], want["ebsDefaultKeyArn"] = false, ""
	require.Equal(t, want, m.exports, "the names stay where a part is left out")

	m = newMock()
	require.NoError(t, m.deploy(map[string]string{"skipEbs": "true", "existingBucketName": "theirs"}))
	want["bucketName"], want["objectKey"] = "theirs", ""
	require.Equal(t, want, m.exports, "nothing is written to another owner's bucket")
}

// wholePolicy leaves the account in command.
const wholePolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}]}`

// settingCases has, for every setting, a value that is not the default and
// what becomes of it.
var settingCases = map[string]struct {
	value string
	check func(t *testing.T, m *mock)
}{
	"aliasName": {value: "alias/mine", check: func(t *testing.T, m *mock) {
		require.Equal(t, "alias/mine", m.get(t, aliasType, "ckms-alias").inputs["name"])
	}},
	"additionalAliases": {value: `["alias/second"]`, check: func(t *testing.T, m *mock) {
		require.Equal(t, "alias/second", m.get(t, aliasType, "ckms-alias-second").inputs["name"])
	}},
	"keyDescription": {value: "mine", check: func(t *testing.T, m *mock) {
		require.Equal(t, "mine", m.get(t, keyType, "ckms-key").inputs["description"])
	}},
	"rotationPeriodInDays": {value: "90", check: func(t *testing.T, m *mock) {
		require.InDelta(t, 90, m.get(t, keyType, "ckms-key").inputs["rotationPeriodInDays"], 0)
	}},
	"deletionWindowInDays": {value: "7", check: func(t *testing.T, m *mock) {
		require.InDelta(t, 7, m.get(t, keyType, "ckms-key").inputs["deletionWindowInDays"], 0)
	}},
	"administrators": {value: `["arn:aws:iam::111122223333:role/admin"]`, check: func(t *testing.T, m *mock) {
		require.Equal(t, "arn:aws:iam::111122223333:role/admin", principalOf(t, m, "Administrators"))
	}},
	"serviceUsers": {value: `["arn:aws:iam::111122223333:role/app"]`, check: func(t *testing.T, m *mock) {
		require.Equal(t, "arn:aws:iam::111122223333:role/app", principalOf(t, m, "ServiceUsers"))
	}},
	"directUsers": {value: `["arn:aws:iam::111122223333:role/app"]`, check: func(t *testing.T, m *mock) {
		require.Equal(t, "arn:aws:iam::111122223333:role/app", principalOf(t, m, "DirectUsers"))
	}},
	"allowAutoScaling": {value: "true", check: func(t *testing.T, m *mock) {
		require.Contains(t, principalOf(t, m, "AutoScaling"), "AWSServiceRoleForAutoScaling")
	}},
	"accounts": {value: `["444455556666"]`, check: func(t *testing.T, m *mock) {
		require.Equal(t, "arn:aws:iam::444455556666:root", principalOf(t, m, "Accounts"))
	}},
	"services": {value: `["cloudtrail.amazonaws.com"]`, check: func(t *testing.T, m *mock) {
		require.Contains(t, m.get(t, keyPolicyType, "ckms-key-policy").inputs["policy"], `{"Service":"cloudtrail.amazonaws.com"}`)
	}},
	"keyPolicy": {value: wholePolicy, check: func(t *testing.T, m *mock) {
		require.Equal(t, wholePolicy, m.get(t, keyPolicyType, "ckms-key-policy").inputs["policy"])
	}},
	"multiRegion": {value: "true", check: func(t *testing.T, m *mock) {
		require.Equal(t, true, m.get(t, keyType, "ckms-key").inputs["multiRegion"])
	}},
	"guardKeyDeletion": {value: "true", check: func(t *testing.T, m *mock) {
		require.Len(t, m.get(t, keyType, "ckms-key").rpc.GetHooks().GetBeforeDelete(), 1)
	}},
	"existingKeyArn": {value: foreignARN, check: func(t *testing.T, m *mock) {
		require.Equal(t, foreignARN, m.exports["keyArn"])
		require.NotContains(t, m.resources, keyType+" ckms-key")
	}},
	"bucketName": {value: "my-bucket", check: func(t *testing.T, m *mock) {
		require.Equal(t, "my-bucket", m.get(t, bucketType, "ckms-bucket").inputs["bucket"])
	}},
	"bucketPrefix": {value: "mine-", check: func(t *testing.T, m *mock) {
		require.Equal(t, "mine-", m.get(t, bucketType, "ckms-bucket").inputs["bucketPrefix"])
	}},
	"bucketKeyEnabled": {value: "false", check: func(t *testing.T, m *mock) {
		require.Equal(t, false, m.get(t, encryptionType, "ckms-encryption").inputs["rules"].([]any)[0].(map[string]any)["bucketKeyEnabled"])
	}},
	"versioning": {value: "false", check: func(t *testing.T, m *mock) {
		require.NotContains(t, m.resources, versioningType+" ckms-versioning")
	}},
	"forceDestroy": {value: "true", check: func(t *testing.T, m *mock) {
		require.Equal(t, true, m.get(t, bucketType, "ckms-bucket").inputs["forceDestroy"])
	}},
	"denyInsecureTransport": {value: "false", check: func(t *testing.T, m *mock) {
		require.NotContains(t, m.get(t, bucketPolicy, "ckms-policy").inputs["policy"], "DenyInsecureTransport")
	}},
	"denyForeignKeys": {value: "false", check: func(t *testing.T, m *mock) {
		require.NotContains(t, m.get(t, bucketPolicy, "ckms-policy").inputs["policy"], "DenyOtherKey")
	}},
	"lifecycleRules": {value: `[{"id": "old", "prefix": "a/", "expirationDays": 90, "noncurrentExpirationDays": 1, "abortIncompleteMultipartDays": 2, "transitions": [{"days": 30, "storageClass": "STANDARD_IA"}]}]`,
		check: func(t *testing.T, m *mock) {
			require.Equal(t, []any{map[string]any{
				"id": "old", "status": "Enabled", "filter": map[string]any{"prefix": "a/"}, "expiration": map[string]any{"days": 90.0},
				"noncurrentVersionExpiration": map[string]any{"noncurrentDays": 1.0}, "abortIncompleteMultipartUpload": map[string]any{"daysAfterInitiation": 2.0},
				"transitions": []any{map[string]any{"days": 30.0, "storageClass": "STANDARD_IA"}},
			}}, m.get(t, lifecycleType, "ckms-lifecycle").inputs["rules"])
		}},
	"logging": {value: `{"targetBucket": "my-logs", "targetPrefix": "p/"}`, check: func(t *testing.T, m *mock) {
		logging := m.get(t, loggingType, "ckms-logging").inputs
		require.Equal(t, "my-logs", logging["targetBucket"])
		require.Equal(t, "p/", logging["targetPrefix"])
	}},
	"objectLock": {value: `{"mode": "GOVERNANCE", "days": 30}`, check: func(t *testing.T, m *mock) {
		require.Equal(t, true, m.get(t, bucketType, "ckms-bucket").inputs["objectLockEnabled"])
		require.Equal(t, map[string]any{"defaultRetention": map[string]any{"mode": "GOVERNANCE", "days": 30.0}}, m.get(t, lockType, "ckms-object-lock").inputs["rule"])
	}},
	"existingBucketName": {value: "theirs", check: func(t *testing.T, m *mock) {
		require.NotContains(t, m.resources, bucketType+" ckms-bucket")
		require.NotContains(t, m.resources, objectType+" proof")
		require.Equal(t, "theirs", m.exports["bucketName"])
	}},
	"protect": {value: "true", check: func(t *testing.T, m *mock) {
		for _, r := range []registered{m.get(t, keyType, "ckms-key"), m.get(t, bucketType, "ckms-bucket"), m.get(t, objectType, "proof")} {
			require.True(t, r.rpc.GetProtect())
		}
	}},
	// That the key and the bucket inherit it is the engine's work, shown end to
	// end.
	"retainOnDelete": {value: "true", check: func(t *testing.T, m *mock) {
		require.True(t, m.get(t, components.EncryptionBaselineType, "ckms").rpc.GetRetainOnDelete())
		require.True(t, m.get(t, objectType, "proof").rpc.GetRetainOnDelete())
	}},
	"ebsOnDestroy": {value: "restore", check: func(t *testing.T, m *mock) {
		require.Len(t, m.get(t, stashType, "ckms-ebs-restore-point").rpc.GetHooks().GetBeforeDelete(), 1)
	}},
	"ebsTakeOver": {value: "true", check: func(t *testing.T, m *mock) {
		require.Equal(t, keyARN, m.get(t, defaultKeyType, "ckms-ebs-default-key").inputs["keyArn"])
	}},
	"ebsExisting": {value: "true", check: func(t *testing.T, m *mock) {
		require.NotContains(t, m.resources, defaultKeyType+" ckms-ebs-default-key")
		require.Equal(t, foreignARN, m.exports["ebsDefaultKeyArn"])
	}},
	"ebsBlockSnapshotSharing": {value: "true", check: func(t *testing.T, m *mock) {
		require.Equal(t, "block-all-sharing", m.get(t, "aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess", "ckms-ebs-snapshot-sharing").inputs["state"])
	}},
	"skipEbs": {value: "true", check: func(t *testing.T, m *mock) {
		require.NotContains(t, m.resources, defaultKeyType+" ckms-ebs-default-key")
		require.Empty(t, m.exports["ebsDefaultKeyArn"])
	}},
	"tags": {value: `{"team": "a"}`, check: func(t *testing.T, m *mock) {
		for _, r := range []registered{m.get(t, keyType, "ckms-key"), m.get(t, bucketType, "ckms-bucket"), m.get(t, objectType, "proof")} {
			require.Equal(t, map[string]any{"team": "a"}, r.inputs["tags"])
		}
	}},
}

func TestDeploy_EverySetting(t *testing.T) {
	t.Parallel()
	for name, c := range settingCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMock()
			if name == "ebsTakeOver" || name == "ebsExisting" {
				m.ebsKey, m.ebsEnabled = foreignARN, true
			}
			require.NoError(t, m.deploy(map[string]string{name: c.value}))
			c.check(t, m)
		})
	}
}

// principalOf is whom the key policy's statement of this name allows.
func principalOf(t *testing.T, m *mock, sid string) string {
	t.Helper()
	var d struct {
		Statement []struct {
			Sid       string
			Principal struct{ AWS string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(m.get(t, keyPolicyType, "ckms-key-policy").inputs["policy"].(string)), &d))
	for _, s := range d.Statement {
		if s.Sid == sid {
			return s.Principal.AWS
		}
	}
	t.Fatalf("the key policy has no statement %s", sid)
	return ""
}
