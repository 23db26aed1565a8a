package components

import (
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

const (
	bucketType     = "aws:s3/bucketV2:BucketV2"
	encryptionType = "aws:s3/bucketServerSideEncryptionConfigurationV2:BucketServerSideEncryptionConfigurationV2"
	accessType     = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
	ownershipType  = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
	versioningType = "aws:s3/bucketVersioningV2:BucketVersioningV2"
	lockType       = "aws:s3/bucketObjectLockConfigurationV2:BucketObjectLockConfigurationV2"
	lifecycleType  = "aws:s3/bucketLifecycleConfigurationV2:BucketLifecycleConfigurationV2"
	loggingType    = "aws:s3/bucketLoggingV2:BucketLoggingV2"
	policyType     = "aws:s3/bucketPolicy:BucketPolicy"

	replicationType = "aws:s3/bucketReplicationConfig:BucketReplicationConfig"
)

func newBucket(args EncryptedBucketArgs) func(ctx *pulumi.Context) error {
	return func(ctx *pulumi.Context) error {
		_, err := NewEncryptedBucket(ctx, "app", &args)
		return err
	}
}

func TestEncryptedBucket_Defaults(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		c, err := NewEncryptedBucket(ctx, "app", &EncryptedBucketArgs{KmsKeyArn: pulumi.String(ownKey)})
		require.NoError(t, err)
		require.Equal(t, "app-111122223333-made-up", resolved(t, ctx, c.BucketName))
		require.Equal(t, "arn:aws:s3:::app-111122223333-made-up", resolved(t, ctx, c.BucketArn))
		require.Equal(t, ownKey, resolved(t, ctx, c.KmsKeyArn))
		return nil
	}))
	const name = "app-111122223333-made-up"
	bucket := m.get(t, bucketType, "app-bucket")
	require.Equal(t, map[string]any{"bucketPrefix": "app-111122223333-", "forceDestroy": false}, bucket.Inputs.Mappable())
	require.Equal(t, []string{"bucketPrefix"}, bucket.rpc.GetIgnoreChanges(), "a bucket with data is not replaced for its prefix")
	require.Equal(t, map[string]any{"bucket": name, "rules": []any{map[string]any{
		"applyServerSideEncryptionByDefault": map[string]any{"sseAlgorithm": "aws:kms", "kmsMasterKeyId": ownKey}, "bucketKeyEnabled": true,
	}}}, m.get(t, encryptionType, "app-encryption").Inputs.Mappable())
	require.Equal(t, map[string]any{
		"bucket": name, "blockPublicAcls": true, "blockPublicPolicy": true, "ignorePublicAcls": true, "restrictPublicBuckets": true,
	}, m.get(t, accessType, "app-public-access").Inputs.Mappable())
	require.Equal(t, map[string]any{"bucket": name, "rule": map[string]any{"objectOwnership": "BucketOwnerEnforced"}}, m.get(t, ownershipType, "app-ownership").Inputs.Mappable())
	require.Equal(t, map[string]any{"bucket": name, "versioningConfiguration": map[string]any{"status": "Enabled"}}, m.get(t, versioningType, "app-versioning").Inputs.Mappable())
	policy := m.get(t, policyType, "app-policy")
	require.Equal(t, name, policy.input("bucket"))
	require.Equal(t, []string{"DenyInsecureTransport", "DenyOtherAlgorithm", "DenyOtherKey", "DenyCustomerProvidedKey", "DenyReencryption"}, sids(t, policy.input("policy").(string)))
	for _, token := range []string{lockType, lifecycleType, loggingType, replicationType} {
		require.False(t, m.has(token))
	}
}

// TestEncryptedBucket_DependsOnItsKey: whatever the bucket is called, one that is not
// empty keeps its key.
func TestEncryptedBucket_DependsOnItsKey(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]EncryptedBucketArgs{
		"default": {}, "named": {BucketName: pulumi.String("my-bucket")}, "prefixed": {BucketPrefix: pulumi.String("my-")},
	} {
		m := newMock()
		require.NoError(t, m.run(func(ctx *pulumi.Context) error {
			key, err := NewCustomerKey(ctx, "app", nil)
			require.NoError(t, err)
			args.KmsKeyArn = key.KeyArn
			return newBucket(args)(ctx)
		}))
		require.Equal(t, []string{m.get(t, "aws:kms/key:Key", "app-key").urn}, m.get(t, bucketType, "app-bucket").rpc.GetDependencies(), name)
	}
}

// everySetting are the arguments that make all settings of a bucket.
func everySetting() EncryptedBucketArgs {
	return EncryptedBucketArgs{
		BucketName: pulumi.String("my-bucket"), KmsKeyArn: pulumi.String(ownKey), BucketKeyEnabled: ptr(false), ForceDestroy: true,
		LifecycleRules: []LifecycleRule{
			{ID: "old", Prefix: "log/", ExpirationDays: ptr(365), Transitions: []LifecycleTransition{{Days: 30, StorageClass: "STANDARD_IA"}}},
			{ID: "clean", NoncurrentExpirationDays: ptr(90), AbortIncompleteMultipartDays: ptr(7)},
		},
		Logging:    &AccessLogging{TargetBucket: pulumi.String("access-logs")},
		ObjectLock: &ObjectLock{Mode: "GOVERNANCE", Days: ptr(3)},
		Replication: &Replication{
			RoleArn: pulumi.String(replicationRole), DestinationBucketArn: pulumi.String("arn:aws:s3:::replicas"), ReplicaKmsKeyArn: pulumi.String(replicaKey),
			DestinationAccount: pulumi.String("444455556666"), Prefix: "reports/", StorageClass: "GLACIER_IR", DeleteMarkers: true,
		},
		Tags: pulumi.StringMap{"project": pulumi.String("p")},
	}
}

func TestEncryptedBucket_EveryArgument(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(newBucket(everySetting())))
	require.Equal(t, map[string]any{
		"bucket": "my-bucket", "forceDestroy": true, "objectLockEnabled": true, "tags": map[string]any{"project": "p"},
	}, m.get(t, bucketType, "app-bucket").Inputs.Mappable())
	require.Equal(t, false, m.get(t, encryptionType, "app-encryption").input("rules").([]any)[0].(map[string]any)["bucketKeyEnabled"])
	require.Equal(t, map[string]any{"bucket": "my-bucket", "rules": []any{
		map[string]any{
			"id": "old", "status": "Enabled", "filter": map[string]any{"prefix": "log/"}, "expiration": map[string]any{"days": 365.0},
			"transitions": []any{map[string]any{"days": 30.0, "storageClass": "STANDARD_IA"}},
		},
		map[string]any{
			"id": "clean", "status": "Enabled", "filter": map[string]any{"prefix": ""},
			"noncurrentVersionExpiration": map[string]any{"noncurrentDays": 90.0}, "abortIncompleteMultipartUpload": map[string]any{"daysAfterInitiation": 7.0},
		},
	}}, m.get(t, lifecycleType, "app-lifecycle").Inputs.Mappable())
	require.Equal(t, map[string]any{"bucket": "my-bucket", "targetBucket": "access-logs", "targetPrefix": "app/"}, m.get(t, loggingType, "app-logging").Inputs.Mappable())
	require.Equal(t, map[string]any{"bucket": "my-bucket", "rule": map[string]any{"defaultRetention": map[string]any{"mode": "GOVERNANCE", "days": 3.0}}},
		m.get(t, lockType, "app-object-lock").Inputs.Mappable())
}

// TestEncryptedBucket_SettingsComeOneByOne: two at once get 409 from S3; and
// none is taken off a bucket that destroy may have to leave standing.
func TestEncryptedBucket_SettingsComeOneByOne(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(newBucket(everySetting())))
	bucket := m.get(t, bucketType, "app-bucket")
	last := bucket
	for _, next := range [][2]string{
		{encryptionType, "app-encryption"},
		{accessType, "app-public-access"},
		{ownershipType, "app-ownership"},
		{versioningType, "app-versioning"},
		{lockType, "app-object-lock"},
		{lifecycleType, "app-lifecycle"},
		{loggingType, "app-logging"},
		{replicationType, "app-replication"},
		{policyType, "app-policy"},
	} {
		r := m.get(t, next[0], next[1])
		require.Contains(t, r.rpc.GetDependencies(), last.urn, "%s comes after %s", r.Name, last.Name)
		require.Equal(t, bucket.urn, r.rpc.GetDeletedWith(), r.Name)
		last = r
	}
}

// TestEncryptedBucket_WritersWaitForEverySetting: what takes the bucket's name
// or ARN comes after the last setting, and so after all of them.
func TestEncryptedBucket_WritersWaitForEverySetting(t *testing.T) {
	t.Parallel()
	off := ptr(false)
	for name, c := range map[string]struct {
		args EncryptedBucketArgs
		last [2]string
	}{
		"policy":     {EncryptedBucketArgs{}, [2]string{policyType, "app-policy"}},
		"one denial": {EncryptedBucketArgs{DenyForeignKeys: off}, [2]string{policyType, "app-policy"}},
		"versioning": {EncryptedBucketArgs{DenyForeignKeys: off, DenyInsecureTransport: off}, [2]string{versioningType, "app-versioning"}},
		"ownership":  {EncryptedBucketArgs{DenyForeignKeys: off, DenyInsecureTransport: off, Versioning: off}, [2]string{ownershipType, "app-ownership"}},
		"lifecycle": {EncryptedBucketArgs{DenyForeignKeys: off, DenyInsecureTransport: off, LifecycleRules: []LifecycleRule{{ID: "x", ExpirationDays: ptr(1)}}},
			[2]string{lifecycleType, "app-lifecycle"}},
		// What is written before S3 replicates is not replicated.
		"replication": {EncryptedBucketArgs{DenyForeignKeys: off, DenyInsecureTransport: off, Replication: replicated()}, [2]string{replicationType, "app-replication"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMock()
			c.args.KmsKeyArn = pulumi.String(ownKey)
			require.NoError(t, m.run(func(ctx *pulumi.Context) error {
				b, err := NewEncryptedBucket(ctx, "app", &c.args)
				require.NoError(t, err)
				_, err = pulumi.NewStash(ctx, "by-name", &pulumi.StashArgs{Input: b.BucketName})
				require.NoError(t, err)
				_, err = pulumi.NewStash(ctx, "by-arn", &pulumi.StashArgs{Input: b.BucketArn})
				return err
			}))
			last := m.get(t, c.last[0], c.last[1])
			require.Contains(t, m.get(t, "pulumi:index:Stash", "by-name").rpc.GetDependencies(), last.urn)
			require.Contains(t, m.get(t, "pulumi:index:Stash", "by-arn").rpc.GetDependencies(), last.urn)
			require.Equal(t, c.last[0] == policyType, m.has(policyType))
		})
	}
}

func TestEncryptedBucket_Refuses(t *testing.T) {
	t.Parallel()
	with := func(change func(*EncryptedBucketArgs)) EncryptedBucketArgs {
		a := EncryptedBucketArgs{KmsKeyArn: pulumi.String(ownKey)}
		change(&a)
		return a
	}
	rule := func(r LifecycleRule) EncryptedBucketArgs {
		return with(func(a *EncryptedBucketArgs) { a.LifecycleRules = []LifecycleRule{r} })
	}
	for name, c := range map[string]struct {
		args EncryptedBucketArgs
		want []string
	}{
		"no key":          {EncryptedBucketArgs{}, []string{`EncryptedBucket "app": KmsKeyArn: it is required`}},
		"key is an alias": {EncryptedBucketArgs{KmsKeyArn: pulumi.String("alias/x")}, []string{`KmsKeyArn: "alias/x"`, "it is an alias"}},
		"key is no ARN":   {EncryptedBucketArgs{KmsKeyArn: pulumi.String("x")}, []string{`KmsKeyArn: "x"`, "must be a KMS key's ARN"}},
		"name":            {with(func(a *EncryptedBucketArgs) { a.BucketName = pulumi.String("Up") }), []string{`BucketName: "Up"`, "2 characters; 3 to 63"}},
		"prefix":          {with(func(a *EncryptedBucketArgs) { a.BucketPrefix = pulumi.String("Up") }), []string{`BucketPrefix: "Up"`, "lower-case"}},
		"name and prefix": {with(func(a *EncryptedBucketArgs) {
			a.BucketName, a.BucketPrefix = pulumi.String("abc"), pulumi.String("abc")
		}), []string{"BucketName and BucketPrefix exclude each other"}},
		"rule without ID":   {rule(LifecycleRule{ExpirationDays: ptr(1)}), []string{"LifecycleRules[0].ID", "1 to 255"}},
		"rule's ID":         {rule(LifecycleRule{ID: strings.Repeat("x", 256), ExpirationDays: ptr(1)}), []string{"LifecycleRules[0].ID", "1 to 255"}},
		"rule does nothing": {rule(LifecycleRule{ID: "x"}), []string{`LifecycleRules[0]: rule "x" does nothing`}},
		"expiration":        {rule(LifecycleRule{ID: "x", ExpirationDays: ptr(0)}), []string{"LifecycleRules[0].ExpirationDays: 0", "at least 1"}},
		"noncurrent":        {rule(LifecycleRule{ID: "x", NoncurrentExpirationDays: ptr(0)}), []string{"NoncurrentExpirationDays: 0", "at least 1"}},
		"multipart":         {rule(LifecycleRule{ID: "x", AbortIncompleteMultipartDays: ptr(-1)}), []string{"AbortIncompleteMultipartDays: -1", "at least 1"}},
		"storage class":     {rule(LifecycleRule{ID: "x", Transitions: []LifecycleTransition{{Days: 1, StorageClass: "COLD"}}}), []string{`StorageClass: "COLD"`, "GLACIER_IR"}},
		"too early":         {rule(LifecycleRule{ID: "x", Transitions: []LifecycleTransition{{Days: 29, StorageClass: "ONEZONE_IA"}}}), []string{"Days: 29", "ONEZONE_IA wants at least 30"}},
		"negative days":     {rule(LifecycleRule{ID: "x", Transitions: []LifecycleTransition{{Days: -1, StorageClass: "GLACIER"}}}), []string{"Days: -1", "at least 0"}},
		"gone before moved": {rule(LifecycleRule{ID: "x", ExpirationDays: ptr(30), Transitions: []LifecycleTransition{{Days: 30, StorageClass: "GLACIER"}}}), []string{"ExpirationDays: 30", "more than the 30 days", "GLACIER"}},
		"rules of one name": {with(func(a *EncryptedBucketArgs) {
			a.LifecycleRules = []LifecycleRule{{ID: "x", ExpirationDays: ptr(1)}, {ID: "x", ExpirationDays: ptr(2)}}
		}), []string{`LifecycleRules[1].ID: two rules are named "x"`}},
		"log to nowhere":    {with(func(a *EncryptedBucketArgs) { a.Logging = &AccessLogging{} }), []string{"Logging.TargetBucket: it is required"}},
		"log to no bucket":  {with(func(a *EncryptedBucketArgs) { a.Logging = &AccessLogging{TargetBucket: pulumi.String("A")} }), []string{`Logging.TargetBucket: "A"`}},
		"lock, no versions": {with(func(a *EncryptedBucketArgs) { a.ObjectLock, a.Versioning = &ObjectLock{}, ptr(false) }), []string{"ObjectLock needs Versioning"}},
		"lock mode":         {with(func(a *EncryptedBucketArgs) { a.ObjectLock = &ObjectLock{Mode: "STRICT", Days: ptr(1)} }), []string{`ObjectLock.Mode: "STRICT"`, "GOVERNANCE or COMPLIANCE"}},
		"lock without mode": {with(func(a *EncryptedBucketArgs) { a.ObjectLock = &ObjectLock{Days: ptr(1)} }), []string{`ObjectLock.Mode: ""`}},
		"lock without days": {with(func(a *EncryptedBucketArgs) { a.ObjectLock = &ObjectLock{Mode: "GOVERNANCE"} }), []string{"ObjectLock.Days: it is required"}},
		"lock days":         {with(func(a *EncryptedBucketArgs) { a.ObjectLock = &ObjectLock{Mode: "COMPLIANCE", Days: ptr(36501)} }), []string{"ObjectLock.Days: 36501", "1 to 36500"}},
		"tag":               {with(func(a *EncryptedBucketArgs) { a.Tags = pulumi.StringMap{"aws:x": pulumi.String("x")} }), []string{`Tags: "aws:x"`}},
		"all at once": {EncryptedBucketArgs{BucketName: pulumi.String("A"), Logging: &AccessLogging{}, ObjectLock: &ObjectLock{Mode: "x"}},
			[]string{"KmsKeyArn: it is required", `BucketName: "A"`, "Logging.TargetBucket", "ObjectLock.Mode"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireRefused(t, newBucket(c.args), c.want...)
		})
	}
}

func TestEncryptedBucket_NilArgs(t *testing.T) {
	t.Parallel()
	requireRefused(t, func(ctx *pulumi.Context) error {
		_, err := NewEncryptedBucket(ctx, "app", nil)
		return err
	}, "KmsKeyArn: it is required")
}

func TestEncryptedBucket_RefusesANameThatMakesNoPrefix(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"App": "lower-case", strings.Repeat("a", 24): "38 characters; 1 to 37"} {
		requireRefused(t, func(ctx *pulumi.Context) error {
			_, err := NewEncryptedBucket(ctx, name, &EncryptedBucketArgs{KmsKeyArn: pulumi.String(ownKey)})
			return err
		}, "BucketName or BucketPrefix: give one", want)
	}
}

func TestEncryptedBucket_ChecksLateValues(t *testing.T) {
	t.Parallel()
	late := func(s string) pulumi.StringInput { return pulumi.String(s).ToStringOutput() }
	for name, c := range map[string]struct {
		args    EncryptedBucketArgs
		want    string
		notMade string
	}{
		"key":     {EncryptedBucketArgs{BucketName: late("abc"), KmsKeyArn: late("alias/x")}, `KmsKeyArn: "alias/x"`, encryptionType},
		"name":    {EncryptedBucketArgs{BucketName: late("A"), KmsKeyArn: late(ownKey)}, `BucketName: "A"`, bucketType},
		"prefix":  {EncryptedBucketArgs{BucketPrefix: late("A"), KmsKeyArn: late(ownKey)}, `BucketPrefix: "A"`, bucketType},
		"no name": {EncryptedBucketArgs{KmsKeyArn: late("")}, `KmsKeyArn: ""`, bucketType},
		"log":     {EncryptedBucketArgs{KmsKeyArn: late(ownKey), Logging: &AccessLogging{TargetBucket: late("A")}}, `Logging.TargetBucket: "A"`, loggingType},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMock()
			require.ErrorContains(t, m.run(newBucket(c.args)), c.want)
			require.False(t, m.has(c.notMade))
		})
	}
}

// TestEncryptedBucket_KeyOfAnotherRegion: S3 takes such a key and refuses every
// upload afterwards.
func TestEncryptedBucket_KeyOfAnotherRegion(t *testing.T) {
	t.Parallel()
	bucket := func(ctx *pulumi.Context) error {
		_, err := NewEncryptedBucket(ctx, "app", &EncryptedBucketArgs{KmsKeyArn: pulumi.String(replicaKey)})
		return err
	}
	m := newMock()
	err := m.run(bucket)
	require.ErrorContains(t, err, `KmsKeyArn: "`+replicaKey+`"`)
	require.ErrorContains(t, err, "the key is in us-west-2 and the bucket in us-east-1")
	require.False(t, m.has(encryptionType))

	m = newMock()
	m.region = "us-west-2"
	require.NoError(t, m.run(bucket))

	m = newMock()
	m.preview = true
	require.NoError(t, m.run(bucket), "the Region of a bucket that is not there yet is not known")
}
