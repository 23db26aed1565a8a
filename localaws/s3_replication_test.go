package localaws

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

const replicationRole = "arn:aws:iam::" + DefaultAccount + ":role/replication"

// replicateTo is a rule that replicates everything but delete markers.
func replicateTo(bucket string, opts ...func(*types.ReplicationRule)) types.ReplicationRule {
	rule := types.ReplicationRule{
		ID: aws.String(bucket), Priority: aws.Int32(1), Status: types.ReplicationRuleStatusEnabled, Filter: &types.ReplicationRuleFilter{},
		DeleteMarkerReplication: &types.DeleteMarkerReplication{Status: types.DeleteMarkerReplicationStatusDisabled},
		Destination:             &types.Destination{Bucket: aws.String("arn:aws:s3:::" + bucket)},
	}
	for _, f := range opts {
		f(&rule)
	}
	return rule
}

// underKey makes a rule replicate what is encrypted under KMS keys, too.
func underKey(arn string) func(*types.ReplicationRule) {
	return func(r *types.ReplicationRule) {
		r.SourceSelectionCriteria = &types.SourceSelectionCriteria{SseKmsEncryptedObjects: &types.SseKmsEncryptedObjects{Status: types.SseKmsEncryptedObjectsStatusEnabled}}
		r.Destination.EncryptionConfiguration = &types.EncryptionConfiguration{ReplicaKmsKeyID: &arn}
	}
}

func replicating(bucket string, rules ...types.ReplicationRule) *s3.PutBucketReplicationInput {
	return &s3.PutBucketReplicationInput{Bucket: &bucket, ReplicationConfiguration: &types.ReplicationConfiguration{Role: aws.String(replicationRole), Rules: rules}}
}

func TestS3_ReplicationConfiguration(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	c := s3Client(t, s, "alice", noRetries)
	_, key := makeKey(t, s)
	versioned(t, c, "source")
	versioned(t, c, "replica")
	versioned(t, c, "second")
	b := aws.String("source")
	rules := []types.ReplicationRule{
		replicateTo("replica", underKey(key), func(r *types.ReplicationRule) {
			r.Filter = &types.ReplicationRuleFilter{And: &types.ReplicationRuleAndOperator{Prefix: aws.String("tax/"), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("")}}}}
			r.Destination.StorageClass = types.StorageClassStandardIa
			r.Destination.Account, r.Destination.AccessControlTranslation = aws.String(DefaultAccount), &types.AccessControlTranslation{Owner: types.OwnerOverrideDestination}
			r.SourceSelectionCriteria.ReplicaModifications = &types.ReplicaModifications{Status: types.ReplicaModificationsStatusDisabled}
		}),
		replicateTo("second", func(r *types.ReplicationRule) {
			r.Priority, r.Status, r.DeleteMarkerReplication.Status = aws.Int32(0), types.ReplicationRuleStatusDisabled, types.DeleteMarkerReplicationStatusEnabled
			r.Filter = &types.ReplicationRuleFilter{Prefix: aws.String("")}
		}),
		replicateTo("second", func(r *types.ReplicationRule) {
			r.ID, r.Priority = nil, aws.Int32(7)
			r.Filter = &types.ReplicationRuleFilter{Tag: &types.Tag{Key: aws.String("k"), Value: aws.String("v")}}
		}),
	}
	_, err := c.PutBucketReplication(t.Context(), replicating("source", rules...))
	require.NoError(t, err)
	out, err := c.GetBucketReplication(t.Context(), &s3.GetBucketReplicationInput{Bucket: b})
	require.NoError(t, err)
	require.Equal(t, replicationRole, *out.ReplicationConfiguration.Role)
	require.NotEmpty(t, *out.ReplicationConfiguration.Rules[2].ID)
	rules[2].ID = out.ReplicationConfiguration.Rules[2].ID
	require.Equal(t, rules, out.ReplicationConfiguration.Rules)

	// The bucket cannot lose what its replication needs.
	_, err = c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: b, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended}})
	requireCode(t, err, "InvalidBucketState")
	require.ErrorContains(t, err, "first delete the replication configuration")

	// Version 1 of the schema: a prefix, and neither priority nor filter.
	first := types.ReplicationRule{ID: aws.String("one"), Status: types.ReplicationRuleStatusEnabled, Prefix: aws.String("a"), Destination: &types.Destination{Bucket: aws.String("arn:aws:s3:::replica")}} //nolint:staticcheck // still served
	_, err = c.PutBucketReplication(t.Context(), replicating("source", first))
	require.NoError(t, err)
	out, err = c.GetBucketReplication(t.Context(), &s3.GetBucketReplicationInput{Bucket: b})
	require.NoError(t, err)
	require.Equal(t, []types.ReplicationRule{first}, out.ReplicationConfiguration.Rules)

	for range 2 {
		_, err = c.DeleteBucketReplication(t.Context(), &s3.DeleteBucketReplicationInput{Bucket: b})
		require.NoError(t, err)
	}
	_, err = c.GetBucketReplication(t.Context(), &s3.GetBucketReplicationInput{Bucket: b})
	requireCode(t, err, "ReplicationConfigurationNotFoundError")
	setVersioning(t, c, "source", types.BucketVersioningStatusSuspended)

	trail := cloudtrail.NewFromConfig(awsConfig(t, s, "alice"))
	for name, want := range map[string]int{"PutBucketReplication": 2, "GetBucketReplication": 3, "DeleteBucketReplication": 2} {
		require.Len(t, lookUp(t, trail, trailtypes.LookupAttributeKeyEventName, name), want, name)
	}
}

func TestS3_ReplicationConfigurationThatIsRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	stranger := s3Client(t, s, "210987654321", noRetries)
	_, key := makeKey(t, s)
	for _, name := range []string{"source", "replica", "second"} {
		versioned(t, c, name)
	}
	versioned(t, stranger, "foreign")
	_, err := stranger.PutBucketOwnershipControls(t.Context(), &s3.PutBucketOwnershipControlsInput{Bucket: aws.String("foreign"), OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipObjectWriter}}}})
	require.NoError(t, err)
	makeBucket(t, c, "plain")
	tag := func(k, v string) types.Tag { return types.Tag{Key: &k, Value: &v} }
	one := tag("k", "v")
	and := func(prefix *string, tags ...types.Tag) *types.ReplicationRuleFilter {
		return &types.ReplicationRuleFilter{And: &types.ReplicationRuleAndOperator{Prefix: prefix, Tags: tags}}
	}
	change := func(f func(*types.ReplicationRule)) []types.ReplicationRule {
		return []types.ReplicationRule{replicateTo("replica", f)}
	}
	first := func(id, prefix, bucket string) types.ReplicationRule {
		return types.ReplicationRule{ID: &id, Status: types.ReplicationRuleStatusEnabled, Prefix: &prefix, Destination: &types.Destination{Bucket: aws.String("arn:aws:s3:::" + bucket)}} //nolint:staticcheck // still served
	}
	many := make([]types.ReplicationRule, 1001)
	for i := range many {
		many[i] = replicateTo("replica", func(r *types.ReplicationRule) { r.ID, r.Priority = aws.String(fmt.Sprint(i)), aws.Int32(int32(i)) })
	}
	for _, tc := range []struct {
		name, bucket, role, code, message string
		rules                             []types.ReplicationRule
	}{
		{"no versioning", "plain", "", "InvalidRequest", "Versioning must be 'Enabled' on the bucket to apply a replication configuration", []types.ReplicationRule{replicateTo("replica")}},
		{"no such bucket", "none", "", "NoSuchBucket", "", []types.ReplicationRule{replicateTo("replica")}},
		{"no rules", "", "", "MalformedXML", "", []types.ReplicationRule{}},
		{"too many rules", "", "", "InvalidRequest", "1000 rules", many},
		{"no role's ARN", "", "replication", "InvalidArgument", "Invalid Role specified in replication configuration", []types.ReplicationRule{replicateTo("replica")}},
		{"another account's role", "", "arn:aws:iam::210987654321:role/replication", "AccessDenied", "", []types.ReplicationRule{replicateTo("replica")}},
		{"two rules of one ID", "", "", "InvalidArgument", "Rule Id must be unique", []types.ReplicationRule{replicateTo("replica"), replicateTo("replica", func(r *types.ReplicationRule) { r.Priority = aws.Int32(2) })}},
		{"two rules of one priority", "", "", "InvalidRequest", "Found duplicate priority 1.", []types.ReplicationRule{replicateTo("replica"), replicateTo("second")}},
		{"a long ID", "", "", "InvalidArgument", "Rule Id cannot be greater than 255", change(func(r *types.ReplicationRule) { r.ID = aws.String(strings.Repeat("i", 256)) })},
		{"an unknown status", "", "", "MalformedXML", "", change(func(r *types.ReplicationRule) { r.Status = "On" })},
		{"neither filter nor prefix", "", "", "MalformedXML", "", change(func(r *types.ReplicationRule) { r.Filter = nil })},
		{"filter and prefix", "", "", "MalformedXML", "", change(func(r *types.ReplicationRule) { r.Prefix = aws.String("a") })}, //nolint:staticcheck // still served
		{"two members of a filter", "", "", "MalformedXML", "", change(func(r *types.ReplicationRule) {
			r.Filter = &types.ReplicationRuleFilter{Prefix: aws.String("a"), Tag: &one}
		})},
		{"And of one prefix", "", "", "MalformedXML", "", change(func(r *types.ReplicationRule) { r.Filter = and(aws.String("a")) })},
		{"And of one tag", "", "", "MalformedXML", "", change(func(r *types.ReplicationRule) { r.Filter = and(nil, tag("k", "v")) })},
		{"a tag twice", "", "", "InvalidRequest", "Duplicate Tag Keys are not allowed.", change(func(r *types.ReplicationRule) { r.Filter = and(nil, tag("k", "v"), tag("k", "w")) })},
		{"a long prefix", "", "", "InvalidArgument", "prefix", change(func(r *types.ReplicationRule) { r.Filter.Prefix = aws.String(strings.Repeat("p", 1025)) })},
		{"no priority", "", "", "InvalidRequest", "Priority must be specified for this version", change(func(r *types.ReplicationRule) { r.Priority = nil })},
		{"a negative priority", "", "", "InvalidRequest", "Priority must be between 0 and 2147483647.", change(func(r *types.ReplicationRule) { r.Priority = aws.Int32(-1) })},
		{"nothing about delete markers", "", "", "InvalidRequest", "DeleteMarkerReplication must be specified for this version", change(func(r *types.ReplicationRule) { r.DeleteMarkerReplication = nil })},
		{"delete markers by tags", "", "", "InvalidRequest", "Delete marker replication is not supported if any Tag filter is specified.", change(func(r *types.ReplicationRule) {
			r.DeleteMarkerReplication.Status = types.DeleteMarkerReplicationStatusEnabled
			r.Filter.Tag = &one
		})},
		{"a priority in version 1", "", "", "InvalidRequest", "Priority cannot be used for this version", []types.ReplicationRule{first("a", "a", "replica"), replicateTo("replica")}},
		{"two destinations in version 1", "", "", "InvalidRequest", "Number of distinct destination bucket ARNs cannot exceed 1", []types.ReplicationRule{first("a", "a", "replica"), first("b", "b", "second")}},
		{"overlapping prefixes in version 1", "", "", "NotImplemented", "overlapping prefixes", []types.ReplicationRule{first("a", "a", "replica"), first("b", "ab", "replica")}},
		{"no ARN of a bucket", "", "", "InvalidArgument", "Invalid bucket ARN.", change(func(r *types.ReplicationRule) { r.Destination.Bucket = aws.String("replica") })},
		{"onto itself", "", "", "InvalidRequest", "Destination bucket cannot be the same as the source bucket.", []types.ReplicationRule{replicateTo("source")}},
		{"no such destination", "", "", "InvalidRequest", "Destination bucket must exist.", []types.ReplicationRule{replicateTo("none")}},
		{"a destination without versioning", "", "", "InvalidRequest", "Destination bucket must have versioning enabled.", []types.ReplicationRule{replicateTo("plain")}},
		{"an unknown storage class", "", "", "MalformedXML", "", change(func(r *types.ReplicationRule) { r.Destination.StorageClass = "COLD" })},
		{"an owner without an account", "", "", "InvalidRequest", "Account must be specified", change(func(r *types.ReplicationRule) {
			r.Destination.AccessControlTranslation = &types.AccessControlTranslation{Owner: types.OwnerOverrideDestination}
		})},
		{"another account than the destination's", "", "", "NotImplemented", "Destination.Account", change(func(r *types.ReplicationRule) { r.Destination.Account = aws.String("210987654321") })},
		{"replicas that the source's account owns", "", "", "NotImplemented", "AccessControlTranslation", []types.ReplicationRule{replicateTo("foreign")}},
		{"no criterion", "", "", "InvalidRequest", "SourceSelectionCriteria cannot be empty.", change(func(r *types.ReplicationRule) { r.SourceSelectionCriteria = &types.SourceSelectionCriteria{} })},
		{"a key without a criterion", "", "", "InvalidRequest", "SseKmsEncryptedObjects must be specified if EncryptionConfiguration is present.", change(func(r *types.ReplicationRule) { underKey(key)(r); r.SourceSelectionCriteria = nil })},
		{"a criterion without a key", "", "", "InvalidRequest", "ReplicaKmsKeyID must be specified if SseKmsEncryptedObjects tag is present.", change(func(r *types.ReplicationRule) { underKey(key)(r); r.Destination.EncryptionConfiguration = nil })},
		{"a key that is no ARN", "", "", "InvalidArgument", "ReplicaKmsKeyID", []types.ReplicationRule{replicateTo("replica", underKey("alias/replica"))}},
		{"changes of replicas", "", "", "NotImplemented", "ReplicaModifications", change(func(r *types.ReplicationRule) {
			r.SourceSelectionCriteria = &types.SourceSelectionCriteria{ReplicaModifications: &types.ReplicaModifications{Status: types.ReplicaModificationsStatusEnabled}}
		})},
		{"existing objects", "", "", "MalformedXML", "", change(func(r *types.ReplicationRule) {
			r.ExistingObjectReplication = &types.ExistingObjectReplication{Status: types.ExistingObjectReplicationStatusEnabled}
		})},
		{"metrics", "", "", "NotImplemented", "the element Rule.Destination.Metrics", change(func(r *types.ReplicationRule) {
			r.Destination.Metrics = &types.Metrics{Status: types.MetricsStatusEnabled}
		})},
		{"time control", "", "", "NotImplemented", "the element Rule.Destination.ReplicationTime", change(func(r *types.ReplicationRule) {
			r.Destination.ReplicationTime = &types.ReplicationTime{Status: types.ReplicationTimeStatusEnabled, Time: &types.ReplicationTimeValue{Minutes: aws.Int32(15)}}
		})},
	} {
		in := replicating("source", tc.rules...)
		if tc.bucket != "" {
			in.Bucket = &tc.bucket
		}
		if tc.role != "" {
			in.ReplicationConfiguration.Role = &tc.role
		}
		_, err := c.PutBucketReplication(t.Context(), in)
		require.Equal(t, tc.code, apiCode(err), "%s: %v", tc.name, err)
		require.ErrorContains(t, err, tc.message, tc.name)
	}
	const twice = `<ReplicationConfiguration><Role>ROLE</Role><Role>ROLE</Role><Rule><Status>Enabled</Status><Prefix></Prefix><Destination><Bucket>arn:aws:s3:::replica</Bucket></Destination></Rule></ReplicationConfiguration>`
	status, body := send(t, s, "PUT", "/source?replication", strings.ReplaceAll(twice, "ROLE", replicationRole), map[string]string{"Authorization": signature("alice", "us-east-1", "s3"), "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"})
	require.Equal(t, 400, status)
	require.Contains(t, body, "MalformedXML")
	_, err = c.GetBucketReplication(t.Context(), &s3.GetBucketReplicationInput{Bucket: aws.String("source")})
	requireCode(t, err, "ReplicationConfigurationNotFoundError")
}

// The caller has to be allowed to pass the role to S3.
func TestS3_ReplicationNeedsPassRole(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "bob", noRetries)
	versioned(t, c, "source")
	versioned(t, c, "replica")
	allow := func(condition string) {
		t.Helper()
		require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::"+DefaultAccount+":user/bob", `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":"s3:*","Resource":"*"}`+condition+`]}`))
	}
	allow("")
	_, err := c.PutBucketReplication(t.Context(), replicating("source", replicateTo("replica")))
	requireCode(t, err, "AccessDenied")
	require.ErrorContains(t, err, "is not authorized to perform: iam:PassRole on resource: "+replicationRole)
	allow(`,{"Effect":"Allow","Action":"iam:PassRole","Resource":"` + replicationRole + `","Condition":{"StringEquals":{"iam:PassedToService":"ec2.amazonaws.com"}}}`)
	_, err = c.PutBucketReplication(t.Context(), replicating("source", replicateTo("replica")))
	requireCode(t, err, "AccessDenied")
	allow(`,{"Effect":"Allow","Action":"iam:PassRole","Resource":"` + replicationRole + `","Condition":{"StringEquals":{"iam:PassedToService":"s3.amazonaws.com"}}}`)
	_, err = c.PutBucketReplication(t.Context(), replicating("source", replicateTo("replica")))
	require.NoError(t, err)
}
