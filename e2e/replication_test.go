package e2e

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/e2e/lab"
)

const replicationType = "aws:s3/bucketReplicationConfig:BucketReplicationConfig"

// replicated is a program with a bucket of this name that S3 replicates into
// another bucket, unless change takes the argument away.
func replicated(name string, change func(*components.EncryptedBucketArgs), opts ...pulumi.ResourceOption) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		key, err := components.NewCustomerKey(ctx, "app", nil)
		if err != nil {
			return err
		}
		replicas, err := components.NewEncryptedBucket(ctx, "replicas", &components.EncryptedBucketArgs{
			KmsKeyArn: key.KeyArn, ReencryptionPrincipals: pulumi.StringArray{pulumi.String(replicationRole)},
		})
		if err != nil {
			return err
		}
		args := &components.EncryptedBucketArgs{KmsKeyArn: key.KeyArn, Replication: &components.Replication{
			RoleArn: pulumi.String(replicationRole), DestinationBucketArn: replicas.BucketArn, ReplicaKmsKeyArn: replicas.KmsKeyArn,
		}}
		if change != nil {
			change(args)
		}
		source, err := components.NewEncryptedBucket(ctx, name, args, opts...)
		if err != nil {
			return err
		}
		ctx.Export("keyArn", key.KeyArn)
		ctx.Export("bucketName", source.BucketName)
		ctx.Export("replicas", replicas.BucketName)
		ctx.Export("replicationPolicy", source.ReplicationPolicy)
		return nil
	}
}

func notReplicated(args *components.EncryptedBucketArgs) { args.Replication = nil }

// requireReplicated requires that AWS replicates the bucket of these outputs as
// the program says, and returns the rule.
func (c clients) requireReplicated(t *testing.T, outputs map[string]any) s3types.ReplicationRule {
	t.Helper()
	got, err := c.s3.GetBucketReplication(t.Context(), &s3.GetBucketReplicationInput{Bucket: aws.String(outputs["bucketName"].(string))})
	require.NoError(t, err)
	require.Equal(t, replicationRole, *got.ReplicationConfiguration.Role)
	require.Len(t, got.ReplicationConfiguration.Rules, 1)
	rule := got.ReplicationConfiguration.Rules[0]
	require.Equal(t, s3types.ReplicationRuleStatusEnabled, rule.Status)
	require.Equal(t, "arn:aws:s3:::"+outputs["replicas"].(string), *rule.Destination.Bucket)
	require.Equal(t, outputs["keyArn"], *rule.Destination.EncryptionConfiguration.ReplicaKmsKeyID)
	require.Equal(t, s3types.SseKmsEncryptedObjectsStatusEnabled, rule.SourceSelectionCriteria.SseKmsEncryptedObjects.Status)
	require.Contains(t, outputs["replicationPolicy"], *rule.Destination.Bucket)
	return rule
}

func (c clients) requireNotReplicated(t *testing.T, outputs map[string]any) {
	t.Helper()
	_, err := c.s3.GetBucketReplication(t.Context(), &s3.GetBucketReplicationInput{Bucket: aws.String(outputs["bucketName"].(string))})
	require.ErrorContains(t, err, "ReplicationConfigurationNotFoundError")
	require.Empty(t, outputs["replicationPolicy"])
}

// The replication argument comes, goes, comes back and is destroyed, each time
// with an interruption, and the next run finishes each of them.
func TestReplication_Interrupted(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"answer lost once", "access denied once", "Ctrl-C", "engine killed"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			i := newInterrupted(t, theStack, interruptionNamed(t, how))
			for _, leg := range []struct {
				operation, at string
				program       pulumi.RunFunc
				require       func(clients, *testing.T, map[string]any)
			}{
				{"up", "PutBucketReplication", replicated("source", nil), func(c clients, t *testing.T, o map[string]any) { t.Helper(); c.requireReplicated(t, o) }},
				{"up", "DeleteBucketReplication", replicated("source", notReplicated), clients.requireNotReplicated},
				{"up", "PutBucketReplication", replicated("source", nil), func(c clients, t *testing.T, o map[string]any) { t.Helper(); c.requireReplicated(t, o) }},
				{"destroy", "DeleteBucket", replicated("source", nil), nil},
			} {
				i.residues = nil
				i.open(t, leg.program)
				met, out, err := i.run(t, leg.operation, point{operation: leg.at})
				require.True(t, met, "there was no %s to interrupt:\n%s", leg.at, out)
				i.protected(t, false)
				if err != nil {
					i.finish(t, leg.operation)
				}
				t.Logf("%s at %s: %v %v", leg.operation, leg.at, err != nil, i.residues)
				if leg.require == nil {
					break
				}
				outputs := i.stack.Values(t)
				leg.require(i.clients, t, outputs)
				preview := i.stack.Preview(t)
				require.True(t, preview.Clean(), preview.Output)
			}
			left, err := i.clients.s3.ListBuckets(t.Context(), &s3.ListBucketsInput{})
			require.NoError(t, err)
			require.Empty(t, left.Buckets)
		})
	}
}

// What else is done to a stack finds the replication, and leaves it or takes it
// as it should.
func TestReplication_Operations(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	c := look(t, l)
	open := func(name string, change func(*components.EncryptedBucketArgs), opts ...pulumi.ResourceOption) *lab.Stack {
		t.Helper()
		return l.Stack(t, "sandbox", replicated(name, change, opts...), nil)
	}
	s := open("source", nil)
	first := s.Up(t)
	c.requireReplicated(t, first)

	t.Log("up of the replication alone leaves the rest to come")
	changed := open("source", func(args *components.EncryptedBucketArgs) {
		args.Replication.DeleteMarkers, args.BucketKeyEnabled = true, aws.Bool(false)
	})
	rule := c.requireReplicated(t, changed.Up(t, optup.Target([]string{urnOf(t, s, replicationType)})))
	require.Equal(t, s3types.DeleteMarkerReplicationStatusEnabled, rule.DeleteMarkerReplication.Status)
	preview := changed.Preview(t)
	require.Equal(t, 1, preview.Changes[apitype.OpUpdate], preview.Output)
	require.Contains(t, preview.Output, "source-encryption")
	rule = c.requireReplicated(t, s.Up(t))
	require.Equal(t, s3types.DeleteMarkerReplicationStatusDisabled, rule.DeleteMarkerReplication.Status)

	t.Log("a refresh sees that it was deleted, and changes nothing else")
	_, err := c.s3.DeleteBucketReplication(t.Context(), &s3.DeleteBucketReplicationInput{Bucket: aws.String(first["bucketName"].(string))})
	require.NoError(t, err)
	_, err = s.Refresh(t.Context())
	require.NoError(t, err)
	preview = s.Preview(t)
	require.Equal(t, 1, preview.Changes[apitype.OpCreate], preview.Output)
	require.Equal(t, first, s.Up(t))
	c.requireReplicated(t, first)
	_, err = s.Refresh(t.Context())
	require.NoError(t, err)
	preview = s.Preview(t, optpreview.ExpectNoChanges())
	require.True(t, preview.Clean(), preview.Output)

	t.Log("without the argument it goes, and nothing else")
	without := open("source", notReplicated)
	preview = without.Preview(t)
	require.Equal(t, map[apitype.OpType]int{apitype.OpDelete: 1, apitype.OpSame: preview.Changes[apitype.OpSame]}, preview.Changes, preview.Output)
	c.requireNotReplicated(t, without.Up(t))
	require.True(t, without.Preview(t).Clean())
	require.Equal(t, first, s.Up(t))
	c.requireReplicated(t, first)

	t.Log("a component that is renamed keeps it, by an alias")
	s = open("renamed", nil, pulumi.Aliases([]pulumi.Alias{{Name: pulumi.String("source")}}))
	preview = s.Preview(t)
	require.Zero(t, preview.Changes[apitype.OpDelete]+preview.Changes[apitype.OpCreate]+preview.Changes[apitype.OpReplace], preview.Output)
	require.Equal(t, first, s.Up(t))
	c.requireReplicated(t, first)
	require.True(t, s.Preview(t).Clean())

	t.Log("or by renaming what the state has")
	for _, r := range resources(t, s) {
		if name := r.URN.Name(); strings.HasPrefix(name, "renamed") {
			require.NoError(t, pulumiCommand(t, l, s, "state", "rename", "--yes", "--stack", "sandbox", string(r.URN), strings.Replace(name, "renamed", "source", 1)))
		}
	}
	s = open("source", nil)
	preview = s.Preview(t)
	require.True(t, preview.Clean(), preview.Output)

	t.Log("one that was configured by hand is imported, and becomes what the program says")
	parent := resourceOf(t, s, replicationType).Parent
	open("source", notReplicated).Up(t)
	d := drifting{lab: l, clients: c, stack: s, variables: map[string]string{"BUCKET": first["bucketName"].(string), "REPLICAS": first["replicas"].(string)}}
	d.change(t, setReplication("kms-baseline", "by-hand"))
	d.importResource(t, "pulumi import "+replicationType+" source-replication "+d.variables["BUCKET"]+" --parent parent='"+string(parent)+"' --protect=false --generate-code=false")
	preview = s.Preview(t)
	require.Equal(t, map[apitype.OpType]int{apitype.OpUpdate: 1, apitype.OpSame: preview.Changes[apitype.OpSame]}, preview.Changes, preview.Output)
	require.Equal(t, first, s.Up(t))
	rule = c.requireReplicated(t, first)
	require.Equal(t, "kms-baseline", *rule.ID)
	require.True(t, s.Preview(t).Clean())

	s.Destroy(t)
}
