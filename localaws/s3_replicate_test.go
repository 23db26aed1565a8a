package localaws

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

// replicationPair is a source and a replica, each with its key, and the role that
// AWS's documentation describes.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html
type replicationPair struct {
	t                     *testing.T
	s                     *Server
	c, there              *s3.Client // in the Regions of the two buckets
	sourceKey, replicaKey string
	policy                map[string]string // of the role, by action: resource
}

const replicationSession = "arn:aws:sts::" + DefaultAccount + ":assumed-role/replication/s3-replication"

// onDemand replicates nothing by itself.
func onDemand(o *Options) { o.Replication = -1 }

func newPair(t *testing.T, region string, opts ...func(*Options)) *replicationPair {
	t.Helper()
	s := newServer(t, append(opts, unthrottled, onDemand)...)
	there := awsConfig(t, s, "alice", noRetries, config.WithRegion(region))
	p := &replicationPair{t: t, s: s, c: s3Client(t, s, "alice", noRetries), there: s3.NewFromConfig(there)}
	_, p.sourceKey = makeKey(t, s)
	made, err := kms.NewFromConfig(there).CreateKey(t.Context(), nil)
	require.NoError(t, err)
	p.replicaKey = *made.KeyMetadata.Arn
	versioned(t, p.c, "source")
	in := &s3.CreateBucketInput{Bucket: aws.String("replica")}
	if region != "us-east-1" {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(region)}
	}
	_, err = p.there.CreateBucket(t.Context(), in)
	require.NoError(t, err)
	setVersioning(t, p.there, "replica", types.BucketVersioningStatusEnabled)
	encryptWith(t, p.c, "source", p.sourceKey, false)
	p.policy = map[string]string{
		"s3:GetReplicationConfiguration": "arn:aws:s3:::source", "s3:ListBucket": "arn:aws:s3:::source",
		"s3:GetObjectVersionForReplication": "arn:aws:s3:::source/*", "s3:GetObjectVersionAcl": "arn:aws:s3:::source/*", "s3:GetObjectVersionTagging": "arn:aws:s3:::source/*",
		"s3:ReplicateObject": "arn:aws:s3:::*/*", "s3:ReplicateDelete": "arn:aws:s3:::*/*", "s3:ReplicateTags": "arn:aws:s3:::*/*",
		"kms:Decrypt": p.sourceKey, "kms:Encrypt": p.replicaKey,
	}
	p.setRole()
	return p
}

// setRole gives the role its policies.
func (p *replicationPair) setRole() {
	p.t.Helper()
	require.NoError(p.t, p.s.SetRole(replicationRole, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"sts:AssumeRole"}}`))
	statements := []string{`{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::none/*"}`}
	for action, resource := range p.policy {
		condition := ""
		switch action {
		case "kms:Decrypt":
			condition = `,"Condition":{"StringLike":{"kms:ViaService":"s3.us-east-1.amazonaws.com","kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::source/*"}}`
		case "kms:Encrypt":
			condition = `,"Condition":{"StringLike":{"kms:ViaService":"s3.` + strings.Split(p.replicaKey, ":")[3] + `.amazonaws.com","kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::replica/*"}}`
		}
		statements = append(statements, `{"Effect":"Allow","Action":"`+action+`","Resource":"`+resource+`"`+condition+`}`)
	}
	require.NoError(p.t, p.s.SetIdentityPolicy(replicationRole, `{"Version":"2012-10-17","Statement":[`+strings.Join(statements, ",")+`]}`))
}

func (p *replicationPair) configure(rules ...types.ReplicationRule) {
	p.t.Helper()
	_, err := p.c.PutBucketReplication(p.t.Context(), replicating("source", rules...))
	require.NoError(p.t, err)
}

func (p *replicationPair) replicate() {
	p.t.Helper()
	require.NoError(p.t, p.s.Replicate())
}

// meanwhile changes something once, when the next file is on the disk and no record
// names it, and tells whether it has.
func (p *replicationPair) meanwhile(change func()) (changed *bool) {
	changed = new(bool)
	p.s.s3.OnWrite(func(_ string, synced bool) {
		if synced && !*changed {
			*changed = true
			change()
		}
	})
	return changed
}

// status is the replication status of an object of the source.
func (p *replicationPair) status(key string) types.ReplicationStatus {
	p.t.Helper()
	return head(p.t, p.c, "source", key).ReplicationStatus
}

func head(t *testing.T, c *s3.Client, bucket, key string) *s3.HeadObjectOutput {
	t.Helper()
	out, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	require.NoError(t, err, key)
	return out
}

// versions are the keys of all versions and delete markers of a bucket.
func versions(t *testing.T, c *s3.Client, bucket string) []string {
	t.Helper()
	out, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket})
	require.NoError(t, err)
	all := []string{}
	for _, v := range out.Versions {
		all = append(all, *v.Key)
	}
	for _, m := range out.DeleteMarkers {
		all = append(all, *m.Key+" deleted")
	}
	return all
}

func TestReplication_CopiesUnderTheKeyOfTheRule(t *testing.T) {
	t.Parallel()
	for _, region := range []string{"us-east-1", "eu-west-1"} {
		t.Run(region, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, region)
			put(t, p.c, "source", "before", "not replicated")
			p.configure(replicateTo("replica", underKey(p.replicaKey)))
			written := put(t, p.c, "source", "k", "content", func(in *s3.PutObjectInput) {
				in.Metadata, in.Tagging, in.ContentType = map[string]string{"colour": "blue"}, aws.String("a=1&b=2"), aws.String("text/plain")
			})
			_, err := p.c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("source"), Key: aws.String("copied"), CopySource: aws.String("source/before")})
			require.NoError(t, err)
			_, err = p.c.CompleteMultipartUpload(t.Context(), uploadParts(t, p.c, "source", "parts", make([]byte, 2*minPart+1), func(*s3.CreateMultipartUploadInput) {}))
			require.NoError(t, err)
			require.Equal(t, types.ReplicationStatusPending, p.status("k"))
			require.Empty(t, p.status("before"))
			require.Empty(t, versions(t, p.there, "replica"))

			p.replicate()
			require.ElementsMatch(t, []string{"k", "copied", "parts"}, versions(t, p.there, "replica"))
			for _, key := range []string{"k", "copied", "parts"} {
				from, to := head(t, p.c, "source", key), head(t, p.there, "replica", key)
				require.Equal(t, types.ReplicationStatusCompleted, from.ReplicationStatus, key)
				require.Equal(t, types.ReplicationStatusReplica, to.ReplicationStatus)
				require.Equal(t, []any{*from.ETag, *from.VersionId, *from.LastModified, from.Metadata, *from.ContentType, *from.ContentLength},
					[]any{*to.ETag, *to.VersionId, *to.LastModified, to.Metadata, *to.ContentType, *to.ContentLength})
				require.Equal(t, p.sourceKey, *from.SSEKMSKeyId)
				require.Equal(t, p.replicaKey, *to.SSEKMSKeyId)
				require.Equal(t, get(t, p.c, "source", key), get(t, p.there, "replica", key))
			}
			require.Equal(t, *written.VersionId, *head(t, p.there, "replica", "k").VersionId)
			tags, err := p.there.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: aws.String("replica"), Key: aws.String("k")})
			require.NoError(t, err)
			require.Len(t, tags.TagSet, 2)
			envelope, err := p.s.Envelope("replica", "k")
			require.NoError(t, err)
			require.Equal(t, p.replicaKey, envelope.Header.KMSKeyARN)
			require.Equal(t, map[string]string{"aws:s3:arn": "arn:aws:s3:::replica/k"}, envelope.Header.EncryptionContext)

			// The keys are used by the role, each in its Region.
			for key, want := range map[string]string{p.sourceKey: "Decrypt", p.replicaKey: "Encrypt"} {
				trail := cloudtrail.NewFromConfig(awsConfig(t, p.s, "alice", config.WithRegion(strings.Split(key, ":")[3])))
				var found []string
				for _, e := range lookUp(t, trail, trailtypes.LookupAttributeKeyResourceName, key) {
					var record trailEntry
					require.NoError(t, json.Unmarshal([]byte(*e.CloudTrailEvent), &record))
					if record.UserIdentity.ARN != replicationSession {
						continue
					}
					found = append(found, record.EventName)
					require.Equal(t, "AssumedRole", record.UserIdentity.Type)
					require.Equal(t, "fas.s3.amazonaws.com", record.UserIdentity.InvokedBy)
				}
				require.Equal(t, []string{want, want, want}, found)
			}
			assumed := lookUp(t, cloudtrail.NewFromConfig(awsConfig(t, p.s, "alice")), trailtypes.LookupAttributeKeyResourceName, replicationRole)
			require.Len(t, assumed, 1)
			require.Contains(t, *assumed[0].CloudTrailEvent, `"userIdentity":{"type":"AWSService","invokedBy":"s3.amazonaws.com"}`)

			p.replicate() // nothing is left to do
			require.Len(t, lookUp(t, cloudtrail.NewFromConfig(awsConfig(t, p.s, "alice")), trailtypes.LookupAttributeKeyResourceName, replicationRole), 1)
		})
	}
}

// A replica of a multi-Region key is the key of its Region.
func TestReplication_MultiRegionKeys(t *testing.T) {
	t.Parallel()
	p := newPair(t, "eu-west-1")
	here := kms.NewFromConfig(awsConfig(t, p.s, "alice"))
	key, err := here.CreateKey(t.Context(), &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})
	require.NoError(t, err)
	out, err := here.ReplicateKey(t.Context(), &kms.ReplicateKeyInput{KeyId: key.KeyMetadata.KeyId, ReplicaRegion: aws.String("eu-west-1")})
	require.NoError(t, err)
	require.Equal(t, kmstypes.KeyStateCreating, out.ReplicaKeyMetadata.KeyState)
	encryptWith(t, p.c, "source", *key.KeyMetadata.Arn, false)
	p.policy["kms:Decrypt"], p.policy["kms:Encrypt"] = *key.KeyMetadata.Arn, *out.ReplicaKeyMetadata.Arn
	p.setRole()
	p.configure(replicateTo("replica", underKey(*out.ReplicaKeyMetadata.Arn)))
	put(t, p.c, "source", "k", "content")
	p.configure(replicateTo("replica", underKey(*key.KeyMetadata.Arn))) // of the wrong Region
	put(t, p.c, "source", "wrong", "content")
	p.replicate()
	require.Equal(t, *out.ReplicaKeyMetadata.Arn, *head(t, p.there, "replica", "k").SSEKMSKeyId)
	require.Equal(t, "content", get(t, p.there, "replica", "k"))
	require.Equal(t, types.ReplicationStatusFailed, p.status("wrong"))
	require.Equal(t, []string{"k"}, versions(t, p.there, "replica"))
}

// What is refused has failed, and nothing is at the destination.
func TestReplication_Fails(t *testing.T) {
	t.Parallel()
	without := func(action string) func(*replicationPair) {
		return func(p *replicationPair) { delete(p.policy, action); p.setRole() }
	}
	denying := func(statement string) func(*replicationPair) {
		return func(p *replicationPair) {
			setPolicy(p.t, p.c, "replica", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*",`+statement+`}}`)
		}
	}
	for name, change := range map[string]func(*replicationPair){
		"no such role": func(p *replicationPair) { require.NoError(p.t, p.s.SetRole(replicationRole, "")) },
		"a role of a service": func(p *replicationPair) {
			require.NoError(p.t, p.s.SetRole(replicationRole, trusting("123456789012", "{}")))
		},
		"no GetReplicationConfiguration": without("s3:GetReplicationConfiguration"), "no ListBucket": without("s3:ListBucket"),
		"no GetObjectVersionForReplication": without("s3:GetObjectVersionForReplication"), "no GetObjectVersionAcl": without("s3:GetObjectVersionAcl"),
		"GetObjectVersion, which is not enough under KMS": func(p *replicationPair) {
			without("s3:GetObjectVersionForReplication")(p)
			p.policy["s3:GetObjectVersion"] = "arn:aws:s3:::source/*"
			p.setRole()
		},
		"no ReplicateObject": without("s3:ReplicateObject"), "no Decrypt": without("kms:Decrypt"), "no Encrypt": without("kms:Encrypt"),
		"Encrypt of another key": func(p *replicationPair) { p.policy["kms:Encrypt"] = p.sourceKey; p.setRole() },
		"a bucket policy":        denying(`"Action":"s3:ReplicateObject","Resource":"BUCKET/*"`),
		"a bucket policy about the key": denying(`"Action":"s3:ReplicateObject","Resource":"BUCKET/*",
			"Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"arn:aws:kms:us-east-1:123456789012:key/other"}}`),
		"a disabled key": func(p *replicationPair) {
			_, err := kms.NewFromConfig(awsConfig(p.t, p.s, "alice")).DisableKey(p.t.Context(), &kms.DisableKeyInput{KeyId: &p.replicaKey})
			require.NoError(p.t, err)
		},
		"no versioning at the destination": func(p *replicationPair) { setVersioning(p.t, p.c, "replica", types.BucketVersioningStatusSuspended) },
		"no destination": func(p *replicationPair) {
			_, err := p.c.DeleteBucket(p.t.Context(), &s3.DeleteBucketInput{Bucket: aws.String("replica")})
			require.NoError(p.t, err)
			makeBucket(p.t, s3Client(p.t, p.s, "210987654321"), "replica")
			setPolicy(p.t, s3Client(p.t, p.s, "210987654321"), "replica", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":["s3:ListBucketVersions"],"Resource":"BUCKET"}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, "us-east-1")
			p.configure(replicateTo("replica", underKey(p.replicaKey)))
			put(t, p.c, "source", "k", "content")
			change(p)
			p.replicate()
			require.Equal(t, types.ReplicationStatusFailed, p.status("k"))
			require.Empty(t, versions(t, p.c, "replica"))
			files, err := os.ReadDir(p.s.objects())
			require.NoError(t, err)
			require.Len(t, files, 1, "the file of the source")

			// It has failed for good: S3 does not try again.
			p.policy["kms:Decrypt"], p.policy["kms:Encrypt"] = "*", "*"
			p.setRole()
			p.replicate()
			require.Equal(t, types.ReplicationStatusFailed, p.status("k"))
		})
	}
}

func TestReplication_AllowedByTheKeyInTheBucketPolicy(t *testing.T) {
	t.Parallel()
	p := newPair(t, "us-east-1")
	setPolicy(t, p.c, "replica", strings.ReplaceAll(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:ReplicateObject","Resource":"BUCKET/*",
		"Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"KEY"}}}}`, "KEY", p.replicaKey))
	p.configure(replicateTo("replica", underKey(p.replicaKey)))
	put(t, p.c, "source", "k", "content")
	p.replicate()
	require.Equal(t, types.ReplicationStatusCompleted, p.status("k"))
}

func TestReplication_WhatTheRulesSelect(t *testing.T) {
	t.Parallel()
	p := newPair(t, "us-east-1")
	encryptWith(t, p.c, "replica", p.replicaKey, false) // the default of the destination changes nothing
	for _, name := range []string{"second", "third"} {
		versioned(t, p.c, name)
	}
	prefix := func(s string) func(*types.ReplicationRule) {
		return func(r *types.ReplicationRule) { r.Filter.Prefix, r.ID = &s, aws.String(*r.ID+s) }
	}
	priority := func(n int32) func(*types.ReplicationRule) { return func(r *types.ReplicationRule) { r.Priority = &n } }
	storage := func(class types.StorageClass) func(*types.ReplicationRule) {
		return func(r *types.ReplicationRule) { r.Destination.StorageClass = class }
	}
	disabled := func(r *types.ReplicationRule) { r.Status = types.ReplicationRuleStatusDisabled }
	p.configure(
		replicateTo("replica", prefix("a"), priority(1), storage(types.StorageClassStandardIa)),
		replicateTo("replica", prefix("ab"), priority(2), storage(types.StorageClassOnezoneIa)),
		replicateTo("second", prefix("a"), priority(3), underKey(p.replicaKey)),
		replicateTo("second", prefix("a-kms2"), priority(6)), // decides, and does not select KMS
		replicateTo("third", prefix("b"), priority(4), disabled),
		replicateTo("third", priority(5), func(r *types.ReplicationRule) {
			r.Filter.And = &types.ReplicationRuleAndOperator{Prefix: aws.String("t"), Tags: []types.Tag{{Key: aws.String("x"), Value: aws.String("1")}, {Key: aws.String("y"), Value: aws.String("2")}}}
		}),
	)
	plain := func(in *s3.PutObjectInput) { in.ServerSideEncryption = types.ServerSideEncryptionAes256 }
	tagged := func(tags string) func(*s3.PutObjectInput) { return func(in *s3.PutObjectInput) { in.Tagging = &tags } }
	put(t, p.c, "source", "a", "a", plain)
	put(t, p.c, "source", "ab", "ab", plain)
	put(t, p.c, "source", "a-kms", "under a key")
	put(t, p.c, "source", "a-kms2", "under a key")
	put(t, p.c, "source", "b", "b", plain)
	put(t, p.c, "source", "t1", "t1", plain, tagged("x=1&y=2&z=3"))
	put(t, p.c, "source", "t2", "t2", plain, tagged("x=1&y=3"))
	put(t, p.c, "source", "a-cold", "cold", plain, func(in *s3.PutObjectInput) { in.StorageClass = types.StorageClassGlacier })
	p.replicate()
	require.ElementsMatch(t, []string{"a", "ab"}, versions(t, p.c, "replica"))
	require.Equal(t, types.StorageClassStandardIa, head(t, p.c, "replica", "a").StorageClass)
	require.Equal(t, types.StorageClassOnezoneIa, head(t, p.c, "replica", "ab").StorageClass)
	require.Equal(t, types.ServerSideEncryptionAes256, head(t, p.c, "replica", "a").ServerSideEncryption)
	require.Equal(t, *head(t, p.c, "source", "a").ETag, *head(t, p.c, "replica", "a").ETag)
	require.Equal(t, "a", get(t, p.c, "replica", "a"))
	require.ElementsMatch(t, []string{"a", "ab"}, versions(t, p.c, "second"))
	require.Equal(t, []string{"t1"}, versions(t, p.c, "third"))
	for _, key := range []string{"a-kms2", "b", "t2", "a-cold"} {
		require.Empty(t, p.status(key), key)
	}
	// The role may use the key for one of the buckets only.
	require.Equal(t, types.ReplicationStatusFailed, p.status("a-kms"))
	require.Equal(t, types.ReplicationStatusCompleted, p.status("a"))
}

func TestReplication_SeveralDestinations(t *testing.T) {
	t.Parallel()
	p := newPair(t, "us-east-1")
	versioned(t, p.c, "second")
	p.configure(replicateTo("replica"), replicateTo("second", func(r *types.ReplicationRule) { r.Priority = aws.Int32(2) }))
	plain := func(in *s3.PutObjectInput) { in.ServerSideEncryption = types.ServerSideEncryptionAes256 }
	put(t, p.c, "source", "both", "x", plain)
	p.replicate()
	require.Equal(t, types.ReplicationStatusCompleted, p.status("both"))
	setPolicy(t, p.c, "second", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:ReplicateObject","Resource":"BUCKET/*"}}`)
	put(t, p.c, "source", "one", "x", plain)
	p.replicate()
	require.Equal(t, types.ReplicationStatusFailed, p.status("one"), "one destination failed")
	require.ElementsMatch(t, []string{"both", "one"}, versions(t, p.c, "replica"))
	require.Equal(t, []string{"both"}, versions(t, p.c, "second"))
}

func TestReplication_DeletionsAndReplicas(t *testing.T) {
	t.Parallel()
	p := newPair(t, "us-east-1")
	versioned(t, p.c, "third")
	markers := func(r *types.ReplicationRule) {
		r.Filter.Prefix = aws.String("m")
		r.DeleteMarkerReplication.Status = types.DeleteMarkerReplicationStatusEnabled
	}
	p.configure(replicateTo("replica", underKey(p.replicaKey), markers), replicateTo("replica", underKey(p.replicaKey), func(r *types.ReplicationRule) {
		r.ID, r.Priority, r.Filter.Prefix = aws.String("k"), aws.Int32(2), aws.String("k")
	}))
	_, err := p.c.PutBucketReplication(t.Context(), replicating("replica", replicateTo("third", underKey(p.replicaKey))))
	require.NoError(t, err)
	first := put(t, p.c, "source", "m", "1")
	second := put(t, p.c, "source", "m", "2")
	put(t, p.c, "source", "k", "1")
	p.replicate()
	remove := func(key string, version *string) *s3.DeleteObjectOutput {
		t.Helper()
		out, err := p.c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("source"), Key: &key, VersionId: version})
		require.NoError(t, err)
		return out
	}
	remove("m", second.VersionId) // of one version: not replicated
	p.replicate()
	require.Equal(t, "2", get(t, p.c, "replica", "m"))
	marker := remove("m", nil)
	remove("k", nil)
	p.replicate()
	out, err := p.c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("replica")})
	require.NoError(t, err)
	require.Len(t, out.DeleteMarkers, 1, "only the rule for m replicates delete markers")
	require.Equal(t, *marker.VersionId, *out.DeleteMarkers[0].VersionId)
	require.True(t, *out.DeleteMarkers[0].IsLatest)
	require.Equal(t, []string{*second.VersionId, *first.VersionId}, []string{*out.Versions[1].VersionId, *out.Versions[2].VersionId})
	_, err = p.c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("replica"), Key: aws.String("m")})
	requireCode(t, err, "NoSuchKey")
	require.Equal(t, "1", get(t, p.c, "replica", "k"))
	// A replica is not replicated again, and an object that is written there is.
	require.Empty(t, versions(t, p.c, "third"))
	put(t, p.c, "replica", "own", "x")
	p.policy["s3:GetReplicationConfiguration"], p.policy["s3:ListBucket"] = "arn:aws:s3:::replica", "arn:aws:s3:::replica"
	p.policy["s3:GetObjectVersionForReplication"], p.policy["s3:GetObjectVersionAcl"] = "arn:aws:s3:::replica/*", "arn:aws:s3:::replica/*"
	p.setRole()
	p.replicate()
	require.Equal(t, []string{"own"}, versions(t, p.c, "third"))

	// Delete markers need their own permission.
	p.policy["s3:GetReplicationConfiguration"], p.policy["s3:ListBucket"] = "arn:aws:s3:::source", "arn:aws:s3:::source"
	delete(p.policy, "s3:ReplicateDelete")
	p.setRole()
	remove("m2", nil)
	p.replicate()
	require.NotContains(t, versions(t, p.c, "replica"), "m2 deleted")
}

func TestReplication_BucketKeys(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name                string
		source, destination bool
	}{{"of the source", true, false}, {"of the destination", false, true}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, "us-east-1")
			encryptWith(t, p.c, "source", p.sourceKey, tc.source)
			encryptWith(t, p.c, "replica", p.replicaKey, tc.destination)
			p.configure(replicateTo("replica", underKey(p.replicaKey)))
			put(t, p.c, "source", "k", "content")
			p.replicate() // contexts are those of objects, and Decrypt of the replica's key is not allowed
			require.Equal(t, types.ReplicationStatusFailed, p.status("k"))
			require.NoError(t, p.s.SetIdentityPolicy(replicationRole, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"},
				{"Effect":"Allow","Action":"kms:Decrypt","Resource":["`+p.sourceKey+`","`+p.replicaKey+`"]},
				{"Effect":"Allow","Action":"kms:Encrypt","Resource":"`+p.replicaKey+`","Condition":{"StringEquals":{"kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::replica"}}}]}`))
			put(t, p.c, "source", "k2", "content")
			put(t, p.c, "source", "k3", "content")
			p.replicate()
			require.Equal(t, types.ReplicationStatusCompleted, p.status("k2"))
			require.Equal(t, "content", get(t, p.c, "replica", "k3"))
			require.True(t, *head(t, p.c, "replica", "k2").BucketKeyEnabled)
			var calls []string
			for _, e := range lookUp(t, cloudtrail.NewFromConfig(awsConfig(t, p.s, "alice")), trailtypes.LookupAttributeKeyResourceName, p.replicaKey) {
				if strings.Contains(*e.CloudTrailEvent, replicationSession) && !strings.Contains(*e.CloudTrailEvent, "errorCode") {
					calls = append(calls, *e.EventName)
				}
			}
			require.ElementsMatch(t, []string{"Decrypt", "Encrypt"}, calls, "one key for both objects")
		})
	}
}

// S3 copies objects under a customer's key as they are: it does not have the key.
func TestReplication_CustomerKeys(t *testing.T) {
	t.Parallel()
	p := newPair(t, "us-east-1")
	allowSSEC(t, p.c, "source")
	p.configure(replicateTo("replica"))
	put(t, p.c, "source", "blocked", "x", withCustomerKey)
	p.replicate()
	require.Empty(t, versions(t, p.c, "replica"), "new buckets block SSE-C")
	allowSSEC(t, p.c, "replica")
	put(t, p.c, "source", "k", "content", withCustomerKey)
	p.replicate()
	out, err := p.c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("replica"), Key: aws.String("k"),
		SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: encoded(customerKey), SSECustomerKeyMD5: digest(customerKey)})
	require.NoError(t, err)
	body, err := io.ReadAll(out.Body)
	require.NoError(t, err)
	require.Equal(t, "content", string(body))
	require.Equal(t, types.ReplicationStatusReplica, out.ReplicationStatus)

	parts := []byte(strings.Repeat("parts", minPart/4))
	_, err = p.c.CompleteMultipartUpload(t.Context(), uploadParts(t, p.c, "source", "parts", parts, uploadWithCustomerKey))
	require.NoError(t, err)
	p.replicate()
	got, err := getCustomers(t, p.c, "replica", "parts", customerKey, func(*s3.GetObjectInput) {})
	require.NoError(t, err)
	require.True(t, string(parts) == string(got))
}

func TestReplication_TagsAndLocks(t *testing.T) {
	t.Parallel()
	p := newPair(t, "us-east-1")
	p.configure(replicateTo("replica", underKey(p.replicaKey)))
	put(t, p.c, "source", "k", "content", func(in *s3.PutObjectInput) { in.Tagging = aws.String("a=1") })
	tags := func(key string) int {
		t.Helper()
		out, err := p.c.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: aws.String("replica"), Key: &key})
		require.NoError(t, err)
		return len(out.TagSet)
	}
	p.replicate()
	require.Equal(t, 1, tags("k"))
	// A change of the tags is replicated, too.
	_, err := p.c.PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{Bucket: aws.String("source"), Key: aws.String("k"), Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("a"), Value: aws.String("2")}, {Key: aws.String("b"), Value: aws.String("3")}}}})
	require.NoError(t, err)
	require.Equal(t, types.ReplicationStatusPending, p.status("k"))
	require.Equal(t, 1, tags("k"))
	p.replicate()
	require.Equal(t, 2, tags("k"))
	require.Equal(t, types.ReplicationStatusCompleted, p.status("k"))
	require.Equal(t, []string{"k"}, versions(t, p.c, "replica"))
	// Without the permissions the object is replicated, and its tags are not.
	delete(p.policy, "s3:ReplicateTags") // ReplicateObject is enough
	p.setRole()
	put(t, p.c, "source", "k2", "content", func(in *s3.PutObjectInput) { in.Tagging = aws.String("a=1") })
	p.replicate()
	require.Equal(t, 1, tags("k2"))
	setPolicy(t, p.c, "replica", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:ReplicateTags","Resource":"BUCKET/k3"}}`)
	delete(p.policy, "s3:GetObjectVersionTagging")
	put(t, p.c, "source", "k3", "content", func(in *s3.PutObjectInput) { in.Tagging = aws.String("a=1") })
	p.replicate()
	require.Equal(t, 0, tags("k3"))
	p.setRole()
	put(t, p.c, "source", "k4", "content", func(in *s3.PutObjectInput) { in.Tagging = aws.String("a=1") })
	p.replicate()
	require.Equal(t, 0, tags("k4"))
	require.Equal(t, types.ReplicationStatusCompleted, p.status("k4"))

	// A source with Object Lock needs a destination with it, and two permissions.
	lock := func(bucket string) {
		t.Helper()
		_, err := p.c.PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{Bucket: &bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled}})
		require.NoError(t, err)
	}
	until := time.Now().Add(24 * time.Hour).Truncate(time.Second).UTC()
	locked := func(key string) types.ReplicationStatus {
		t.Helper()
		put(t, p.c, "source", key, "content", func(in *s3.PutObjectInput) {
			in.ObjectLockMode, in.ObjectLockRetainUntilDate = types.ObjectLockModeGovernance, &until
		})
		p.replicate()
		return p.status(key)
	}
	p.policy["s3:GetObjectRetention"], p.policy["s3:GetObjectLegalHold"] = "arn:aws:s3:::source/*", "arn:aws:s3:::source/*"
	p.setRole()
	lock("source")
	require.Equal(t, types.ReplicationStatusFailed, locked("l1"))
	lock("replica")
	require.Equal(t, types.ReplicationStatusCompleted, locked("l2"))
	out := head(t, p.c, "replica", "l2")
	require.Equal(t, types.ObjectLockModeGovernance, out.ObjectLockMode)
	require.Equal(t, until, out.ObjectLockRetainUntilDate.UTC())
	delete(p.policy, "s3:GetObjectLegalHold")
	p.setRole()
	require.Equal(t, types.ReplicationStatusFailed, locked("l3"))
}

// To another account: its bucket policy has to allow it, and delete markers stay
// where they are.
func TestReplication_AcrossAccounts(t *testing.T) {
	t.Parallel()
	p := newPair(t, "us-east-1")
	const account = "210987654321"
	stranger := s3Client(t, p.s, account, noRetries)
	versioned(t, stranger, "theirs")
	theirs := replicateTo("theirs", func(r *types.ReplicationRule) {
		r.DeleteMarkerReplication.Status = types.DeleteMarkerReplicationStatusEnabled
		r.Destination.Account, r.Destination.AccessControlTranslation = aws.String(account), &types.AccessControlTranslation{Owner: types.OwnerOverrideDestination}
	})
	p.configure(theirs)
	replicate := func(key string) types.ReplicationStatus {
		t.Helper()
		put(t, p.c, "source", key, "content", func(in *s3.PutObjectInput) { in.ServerSideEncryption = types.ServerSideEncryptionAes256 })
		p.replicate()
		return p.status(key)
	}
	allow := func(actions string) {
		t.Helper()
		setPolicy(t, stranger, "theirs", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"`+replicationRole+`"},"Action":[`+actions+`],"Resource":"BUCKET/*"}}`)
	}
	require.Equal(t, types.ReplicationStatusFailed, replicate("1"))
	allow(`"s3:ReplicateObject","s3:ReplicateDelete"`)
	require.Equal(t, types.ReplicationStatusFailed, replicate("2"), "no permission to change the owner")
	allow(`"s3:ReplicateObject","s3:ReplicateDelete","s3:ObjectOwnerOverrideToBucketOwner"`)
	p.policy["s3:ObjectOwnerOverrideToBucketOwner"] = "arn:aws:s3:::theirs/*"
	p.setRole()
	require.Equal(t, types.ReplicationStatusCompleted, replicate("3"))
	_, err := p.c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("source"), Key: aws.String("3")})
	require.NoError(t, err)
	p.replicate()
	require.Equal(t, []string{"3"}, versions(t, stranger, "theirs"))
	require.Equal(t, "content", get(t, stranger, "theirs", "3"))
}

// The queue is in the store: what was pending at the end is replicated after a
// restart, and a version that is gone by then is not.
func TestReplication_SurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newPair(t, "us-east-1", func(o *Options) { o.Dir = dir })
	p.configure(replicateTo("replica", underKey(p.replicaKey)))
	put(t, p.c, "source", "k", "content")
	gone := put(t, p.c, "source", "gone", "content")
	_, err := p.c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("source"), Key: aws.String("gone"), VersionId: gone.VersionId})
	require.NoError(t, err)
	require.NoError(t, p.s.Close())
	p.s = newServer(t, onDemand, func(o *Options) { o.Dir = dir })
	p.c = s3Client(t, p.s, "alice")
	require.Equal(t, types.ReplicationStatusPending, p.status("k"))
	p.replicate()
	require.Equal(t, types.ReplicationStatusCompleted, p.status("k"))
	require.Equal(t, []string{"k"}, versions(t, p.c, "replica"))
}

func TestReplication_SurvivesAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newPair(t, "us-east-1", func(o *Options) { o.Dir = dir })
	p.configure(replicateTo("replica", underKey(p.replicaKey)))
	require.NoError(t, p.s.Close())
	there := startProcess(t, dir, serveOnDemand+"=1")
	put(t, s3.NewFromConfig(there.cfg), "source", "k", "content")
	there.kill(t)
	there = startProcess(t, dir)
	p.c = s3.NewFromConfig(there.cfg)
	require.Eventually(t, func() bool { return p.status("k") == types.ReplicationStatusCompleted }, time.Minute, 10*time.Millisecond)
	require.Equal(t, "content", get(t, p.c, "replica", "k"))
	there.kill(t)
}

// A replica is as old as its source: what was written to the destination after that
// stays the current version.
func TestReplication_KeepsTheOrderOfVersions(t *testing.T) {
	t.Parallel()
	p := newPair(t, "us-east-1")
	p.configure(replicateTo("replica", underKey(p.replicaKey)))
	put(t, p.c, "replica", "k", "older")
	put(t, p.c, "source", "k", "replica")
	put(t, p.c, "replica", "k", "newer")
	p.replicate()
	require.Equal(t, types.ReplicationStatusCompleted, p.status("k"))
	require.Equal(t, "newer", get(t, p.c, "replica", "k"))
	out, err := p.c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("replica")})
	require.NoError(t, err)
	require.Len(t, out.Versions, 3)
	require.Equal(t, *head(t, p.c, "source", "k").VersionId, *out.Versions[1].VersionId)
}

// The file of a replica is on disk before the record that names it.
func TestReplication_SyncsTheFiles(t *testing.T) {
	t.Parallel()
	p := newPair(t, "us-east-1")
	allowSSEC(t, p.c, "source")
	allowSSEC(t, p.c, "replica")
	p.configure(replicateTo("replica", underKey(p.replicaKey)))
	put(t, p.c, "source", "kms", "content")
	put(t, p.c, "source", "customer", "content", withCustomerKey)
	var files []string
	p.s.s3.OnWrite(func(file string, synced bool) {
		if synced {
			require.Len(t, versions(t, p.c, "replica"), len(files))
			files = append(files, file)
		}
	})
	p.replicate()
	require.Len(t, files, 2)
	for _, key := range []string{"kms", "customer"} {
		envelope, err := p.s.Envelope("replica", key)
		require.NoError(t, err)
		require.Contains(t, files, filepath.Base(envelope.Path))
	}
}

// A version that is deleted while it is copied leaves no replica, and no file.
func TestReplication_OfAVersionThatIsDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	p := newPair(t, "us-east-1")
	p.configure(replicateTo("replica", underKey(p.replicaKey)))
	written := put(t, p.c, "source", "k", "content")
	p.s.s3.OnWrite(func(_ string, synced bool) {
		if synced {
			_, err := p.c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("source"), Key: aws.String("k"), VersionId: written.VersionId})
			require.NoError(t, err)
		}
	})
	p.replicate()
	require.Empty(t, versions(t, p.c, "source"))
	require.Empty(t, versions(t, p.c, "replica"))
	files, err := os.ReadDir(p.s.objects())
	require.NoError(t, err)
	require.Empty(t, files)
}

// A change of the tags while the version is copied is not lost.
func TestReplication_OfAVersionThatIsChangedMeanwhile(t *testing.T) {
	t.Parallel()
	p := newPair(t, "us-east-1")
	p.configure(replicateTo("replica", underKey(p.replicaKey)))
	put(t, p.c, "source", "k", "content")
	changed := p.meanwhile(func() {
		_, err := p.c.PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{Bucket: aws.String("source"), Key: aws.String("k"), Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}}}})
		require.NoError(t, err)
	})
	p.replicate()
	require.True(t, *changed)
	require.Equal(t, types.ReplicationStatusPending, p.status("k"))
	p.replicate()
	require.Equal(t, types.ReplicationStatusCompleted, p.status("k"))
	require.Equal(t, int32(1), *head(t, p.c, "replica", "k").TagCount)
}

// A destination that is another one, or has no versions, by the time that the replica is
// written gets none, and the next round finds out. What only was asked for before the
// replica was made, policies and keys, decides about later ones.
func TestReplication_ToADestinationThatIsChangedMeanwhile(t *testing.T) {
	t.Parallel()
	const account = "210987654321"
	recreate := func(t *testing.T, p *replicationPair, by *s3.Client) {
		t.Helper()
		_, err := p.c.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: aws.String("replica")})
		require.NoError(t, err)
		versioned(t, by, "replica")
	}
	const failed, completed = types.ReplicationStatusFailed, types.ReplicationStatusCompleted
	for name, row := range map[string]struct {
		change      func(t *testing.T, p *replicationPair)
		first, last types.ReplicationStatus // after the round with the change, and after the next one
		lastOfNext  types.ReplicationStatus // of another object
	}{
		"deleted": {func(t *testing.T, p *replicationPair) {
			t.Helper()
			_, err := p.c.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: aws.String("replica")})
			require.NoError(t, err)
		}, types.ReplicationStatusPending, failed, failed},
		"created again":            {func(t *testing.T, p *replicationPair) { t.Helper(); recreate(t, p, p.c) }, types.ReplicationStatusPending, completed, completed},
		"created again by another": {func(t *testing.T, p *replicationPair) { t.Helper(); recreate(t, p, s3Client(t, p.s, account)) }, types.ReplicationStatusPending, failed, failed},
		"versioning suspended": {func(t *testing.T, p *replicationPair) {
			t.Helper()
			setVersioning(t, p.c, "replica", types.BucketVersioningStatusSuspended)
		}, types.ReplicationStatusPending, failed, failed},
		"policy": {func(t *testing.T, p *replicationPair) {
			t.Helper()
			setPolicy(t, p.c, "replica", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:ReplicateObject","Resource":"BUCKET/*"}}`)
		}, completed, completed, failed},
		"key disabled": {func(t *testing.T, p *replicationPair) {
			t.Helper()
			_, err := kms.NewFromConfig(awsConfig(t, p.s, "alice")).DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &p.replicaKey})
			require.NoError(t, err)
		}, completed, completed, failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, "us-east-1")
			p.configure(replicateTo("replica", underKey(p.replicaKey)))
			put(t, p.c, "source", "k", "content")
			changed := p.meanwhile(func() { row.change(t, p) })
			require.NoError(t, p.s.Replicate())
			require.True(t, *changed)
			require.Equal(t, row.first, p.status("k"))
			p.replicate()
			require.Equal(t, row.last, p.status("k"))
			put(t, p.c, "source", "next", "content")
			p.replicate()
			require.Equal(t, row.lastOfNext, p.status("next"))
			want := 2 // files: of the two sources, and of their replicas
			for _, status := range []types.ReplicationStatus{row.last, row.lastOfNext} {
				if status == completed {
					want++
				}
			}
			files, err := os.ReadDir(p.s.objects())
			require.NoError(t, err)
			require.Len(t, files, want, "a file without a record")
		})
	}
}

// A trail that logs the destination has the record of the write, and of a refusal.
func TestReplication_DataEvents(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled, onDemand, func(o *Options) { o.TrailDelivery = -1 })
	bucket := makeLogBucket(t, s, trailPolicy)
	for _, name := range []string{"source", "replica"} {
		versioned(t, bucket, name)
	}
	const role = "arn:aws:iam::" + trailAccount + ":role/replication"
	require.NoError(t, s.SetRole(role, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"sts:AssumeRole"}}`))
	trails := cloudtrail.NewFromConfig(awsConfig(t, s, trailAccount, noRetries))
	key, err := kms.NewFromConfig(awsConfig(t, s, trailAccount)).CreateKey(t.Context(), nil)
	require.NoError(t, err)
	encryptWith(t, bucket, "source", *key.KeyMetadata.Arn, false)
	_, err = trails.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: aws.String("audit"), S3BucketName: aws.String(logBucket)})
	require.NoError(t, err)
	_, err = trails.PutEventSelectors(t.Context(), &cloudtrail.PutEventSelectorsInput{TrailName: aws.String("audit"), EventSelectors: []trailtypes.EventSelector{{
		DataResources: []trailtypes.DataResource{{Type: aws.String("AWS::S3::Object"), Values: []string{"arn:aws:s3:::replica/"}}}}}})
	require.NoError(t, err)
	_, err = trails.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String("audit")})
	require.NoError(t, err)
	in := replicating("source", replicateTo("replica", underKey(*key.KeyMetadata.Arn), func(r *types.ReplicationRule) {
		r.DeleteMarkerReplication.Status = types.DeleteMarkerReplicationStatusEnabled
	}))
	in.ReplicationConfiguration.Role = aws.String(role)
	_, err = bucket.PutBucketReplication(t.Context(), in)
	require.NoError(t, err)
	written := put(t, bucket, "source", "k", "content")
	require.NoError(t, s.Replicate())
	marker, err := bucket.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("source"), Key: aws.String("k")})
	require.NoError(t, err)
	require.NoError(t, s.Replicate())
	setPolicy(t, bucket, "replica", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:ReplicateObject","Resource":"BUCKET/*"}}`)
	put(t, bucket, "source", "denied", "content")
	require.NoError(t, s.Replicate())

	data := dataEvents(deliveredRecords(t, s, bucket))
	require.Len(t, data, 3)
	for i, want := range []struct{ name, key, version, code string }{{"PutObject", "k", *written.VersionId, ""}, {"DeleteObject", "k", *marker.VersionId, ""}, {"PutObject", "denied", "", "AccessDenied"}} {
		record := data[i]
		require.Equal(t, []any{want.name, want.code, want.key}, []any{record.EventName, record.ErrorCode, field(record.RequestParameters, "key")})
		require.Equal(t, "arn:aws:sts::"+trailAccount+":assumed-role/replication/s3-replication", record.UserIdentity.ARN)
		require.Equal(t, []string{"s3.amazonaws.com", "s3.amazonaws.com", "s3.amazonaws.com"}, []string{record.UserIdentity.InvokedBy, record.SourceIPAddress, record.UserAgent})
		if want.version != "" {
			require.Equal(t, want.version, field(record.ResponseElements, "x-amz-version-id"))
			require.Equal(t, want.version, field(record.RequestParameters, "x-amz-version-id"))
		}
	}
	require.Equal(t, "SSE_KMS", field(data[0].AdditionalEventData, "SSEApplied"))
	require.Equal(t, *key.KeyMetadata.Arn, field(data[0].RequestParameters, "x-amz-server-side-encryption-aws-kms-key-id"))
}

// Version 1 of the schema replicates delete markers.
func TestReplication_Version1(t *testing.T) {
	t.Parallel()
	p := newPair(t, "us-east-1")
	p.configure(types.ReplicationRule{Status: types.ReplicationRuleStatusEnabled, Prefix: aws.String("a"), Destination: &types.Destination{Bucket: aws.String("arn:aws:s3:::replica")}}) //nolint:staticcheck // still served
	plain := func(in *s3.PutObjectInput) { in.ServerSideEncryption = types.ServerSideEncryptionAes256 }
	put(t, p.c, "source", "a", "x", plain)
	put(t, p.c, "source", "b", "x", plain)
	_, err := p.c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("source"), Key: aws.String("a")})
	require.NoError(t, err)
	p.replicate()
	require.Equal(t, []string{"a", "a deleted"}, versions(t, p.c, "replica"))
}

func TestAWSCLI_Replication(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cli := newAWSCLI(t, s)
	const account, role = "764265373335", "arn:aws:iam::764265373335:role/replication"
	require.NoError(t, s.SetRole(role, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"sts:AssumeRole"}}`))
	for _, bucket := range []string{"source", "replica"} {
		cli.run("s3api", "create-bucket", "--bucket", bucket)
		cli.run("s3api", "put-bucket-versioning", "--bucket", bucket, "--versioning-configuration", "Status=Enabled")
	}
	key := strings.Trim(cli.run("kms", "create-key", "--query", "KeyMetadata.Arn"), `"`)
	configuration := `{"Role":"` + role + `","Rules":[{"ID":"all","Priority":1,"Status":"Enabled","Filter":{"Prefix":""},"DeleteMarkerReplication":{"Status":"Disabled"},
		"SourceSelectionCriteria":{"SseKmsEncryptedObjects":{"Status":"Enabled"}},"Destination":{"Bucket":"arn:aws:s3:::replica","EncryptionConfiguration":{"ReplicaKmsKeyID":"` + key + `"}}}]}`
	cli.run("s3api", "put-bucket-replication", "--bucket", "source", "--replication-configuration", configuration)
	require.JSONEq(t, `{"ReplicationConfiguration":`+configuration+`}`, cli.run("s3api", "get-bucket-replication", "--bucket", "source"))
	require.NoError(t, os.WriteFile(cli.dir+"/file", []byte("content"), 0o600))
	cli.run("s3", "cp", "file", "s3://source/k", "--sse", "aws:kms", "--sse-kms-key-id", key)
	require.Eventually(t, func() bool {
		return cli.run("s3api", "head-object", "--bucket", "source", "--key", "k", "--query", "ReplicationStatus") == `"COMPLETED"`
	}, time.Minute, 100*time.Millisecond)
	require.JSONEq(t, `["REPLICA","`+key+`"]`, cli.run("s3api", "head-object", "--bucket", "replica", "--key", "k", "--query", "[ReplicationStatus, SSEKMSKeyId]"))
	cli.run("s3api", "delete-bucket-replication", "--bucket", "source")
	require.Contains(t, cli.fails("s3api", "get-bucket-replication", "--bucket", "source"), "ReplicationConfigurationNotFoundError")
}
