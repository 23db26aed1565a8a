package components

import (
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

// replicated are the arguments that replication cannot do without.
func replicated() *Replication {
	return &Replication{
		RoleArn: pulumi.String(replicationRole), DestinationBucketArn: pulumi.String("arn:aws:s3:::replicas"), ReplicaKmsKeyArn: pulumi.String(replicaKey),
	}
}

func TestReplication_Defaults(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(newBucket(EncryptedBucketArgs{BucketName: pulumi.String("my-bucket"), KmsKeyArn: pulumi.String(ownKey), Replication: replicated()})))
	require.Equal(t, map[string]any{"bucket": "my-bucket", "role": replicationRole, "rules": []any{map[string]any{
		"id": "kms-baseline", "status": "Enabled", "priority": 1.0, "filter": map[string]any{"prefix": ""},
		"deleteMarkerReplication": map[string]any{"status": "Disabled"},
		"sourceSelectionCriteria": map[string]any{"sseKmsEncryptedObjects": map[string]any{"status": "Enabled"}},
		"destination":             map[string]any{"bucket": "arn:aws:s3:::replicas", "encryptionConfiguration": map[string]any{"replicaKmsKeyId": replicaKey}},
	}}}, m.get(t, replicationType, "app-replication").Inputs.Mappable())
}

func TestReplication_EveryArgument(t *testing.T) {
	t.Parallel()
	m := newMock()
	require.NoError(t, m.run(newBucket(everySetting())))
	require.Equal(t, map[string]any{
		"id": "kms-baseline", "status": "Enabled", "priority": 1.0, "filter": map[string]any{"prefix": "reports/"},
		"deleteMarkerReplication": map[string]any{"status": "Enabled"},
		"sourceSelectionCriteria": map[string]any{"sseKmsEncryptedObjects": map[string]any{"status": "Enabled"}},
		"destination": map[string]any{
			"bucket": "arn:aws:s3:::replicas", "encryptionConfiguration": map[string]any{"replicaKmsKeyId": replicaKey}, "storageClass": "GLACIER_IR",
			"account": "444455556666", "accessControlTranslation": map[string]any{"owner": "Destination"},
		},
	}, m.get(t, replicationType, "app-replication").input("rules").([]any)[0])
}

// TestReplication_Policy: the role may do what these files say, and no more.
func TestReplication_Policy(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]EncryptedBucketArgs{
		"replication":       {BucketName: pulumi.String("my-bucket"), KmsKeyArn: pulumi.String(ownKey), Replication: replicated()},
		"replication-every": everySetting(),
	} {
		require.NoError(t, newMock().run(func(ctx *pulumi.Context) error {
			bucket, err := NewEncryptedBucket(ctx, "app", &args)
			require.NoError(t, err)
			requireGolden(t, "iam-"+name+".golden.json", indented(t, resolved(t, ctx, bucket.ReplicationPolicy).(string)))
			return nil
		}))
	}
	requireGolden(t, "iam-replication-trust.golden.json", indented(t, ReplicationTrustPolicy))
}

func TestReplication_NoPolicyWithoutIt(t *testing.T) {
	t.Parallel()
	m := newMock()
	m.buckets = []string{"theirs"}
	require.NoError(t, m.run(func(ctx *pulumi.Context) error {
		own, err := NewEncryptedBucket(ctx, "app", &EncryptedBucketArgs{KmsKeyArn: pulumi.String(ownKey)})
		require.NoError(t, err)
		require.Empty(t, resolved(t, ctx, own.ReplicationPolicy))
		existing, err := LookupEncryptedBucket(ctx, "existing", &ExistingBucket{BucketName: pulumi.String("theirs")})
		require.NoError(t, err)
		require.Empty(t, resolved(t, ctx, existing.ReplicationPolicy))
		return nil
	}))
}

func TestReplication_Refuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Replication)
		want   []string
	}{
		"nothing given": {func(r *Replication) { *r = Replication{} }, []string{
			`EncryptedBucket "app": Replication.RoleArn: it is required`, "Replication.DestinationBucketArn: it is required", "Replication.ReplicaKmsKeyArn: it is required",
		}},
		"a user":             {func(r *Replication) { r.RoleArn = pulumi.String("arn:aws:iam::111122223333:user/x") }, []string{"Replication.RoleArn", "ARN of an IAM role"}},
		"any role":           {func(r *Replication) { r.RoleArn = pulumi.String("arn:aws:iam::111122223333:role/*") }, []string{"Replication.RoleArn", "ARN of an IAM role"}},
		"a bucket's name":    {func(r *Replication) { r.DestinationBucketArn = pulumi.String("replicas") }, []string{`Replication.DestinationBucketArn: "replicas"`, "arn:aws:s3:::"}},
		"objects":            {func(r *Replication) { r.DestinationBucketArn = pulumi.String("arn:aws:s3:::replicas/*") }, []string{`"replicas/*" is not the name of a bucket`}},
		"the bucket itself":  {func(r *Replication) { r.DestinationBucketArn = pulumi.String("arn:aws:s3:::my-bucket") }, []string{"it is the bucket itself"}},
		"an alias":           {func(r *Replication) { r.ReplicaKmsKeyArn = pulumi.String("alias/x") }, []string{`Replication.ReplicaKmsKeyArn: "alias/x"`, "it is an alias"}},
		"account":            {func(r *Replication) { r.DestinationAccount = pulumi.String("4444") }, []string{`Replication.DestinationAccount: "4444"`, "12 digits"}},
		"long prefix":        {func(r *Replication) { r.Prefix = strings.Repeat("x", 1025) }, []string{"Replication.Prefix: it has 1025 characters"}},
		"prefix with a star": {func(r *Replication) { r.Prefix = "a*" }, []string{`Replication.Prefix: "a*"`, "patterns"}},
		"storage class":      {func(r *Replication) { r.StorageClass = "COLD" }, []string{`Replication.StorageClass: "COLD"`, "STANDARD, STANDARD_IA", "or DEEP_ARCHIVE"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := replicated()
			c.change(r)
			requireRefused(t, newBucket(EncryptedBucketArgs{BucketName: pulumi.String("my-bucket"), KmsKeyArn: pulumi.String(ownKey), Replication: r}), c.want...)
		})
	}
	requireRefused(t, newBucket(EncryptedBucketArgs{KmsKeyArn: pulumi.String(ownKey), Versioning: ptr(false), Replication: replicated()}), "Replication needs Versioning")
}

func TestReplication_ChecksLateValues(t *testing.T) {
	t.Parallel()
	late := func(s string) pulumi.StringInput { return pulumi.String(s).ToStringOutput() }
	for name, c := range map[string]struct {
		change func(*Replication)
		want   string
	}{
		"role":          {func(r *Replication) { r.RoleArn = late("x") }, "Replication.RoleArn"},
		"no bucket":     {func(r *Replication) { r.DestinationBucketArn = late("x") }, "Replication.DestinationBucketArn"},
		"bucket itself": {func(r *Replication) { r.DestinationBucketArn = late("arn:aws:s3:::app-111122223333-made-up") }, "it is the bucket itself"},
		"key":           {func(r *Replication) { r.ReplicaKmsKeyArn = late("alias/x") }, "Replication.ReplicaKmsKeyArn"},
		"account":       {func(r *Replication) { r.DestinationAccount = late("x") }, "Replication.DestinationAccount"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := replicated()
			c.change(r)
			m := newMock()
			require.ErrorContains(t, m.run(newBucket(EncryptedBucketArgs{KmsKeyArn: pulumi.String(ownKey), Replication: r})), c.want)
			require.False(t, m.has(replicationType))
		})
	}
}
