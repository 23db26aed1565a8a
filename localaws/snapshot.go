package localaws

import (
	"encoding/json"
	"fmt"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/athena"
	"github.com/securethecloud/kms-baseline/localaws/internal/ec2"
	"github.com/securethecloud/kms-baseline/localaws/internal/glue"
	"github.com/securethecloud/kms-baseline/localaws/internal/kms"
	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/s3"
	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
)

// snapshotKinds are the records of a snapshot, and what is left out of them:
// key material, what only this server can make sense of, and dates, so that an
// account that was made twice alike looks alike.
var snapshotKinds = []struct {
	name    string
	bucket  []byte
	without []string // paths of fields, through lists too
}{
	{"kmsKeys", kms.KeyBucket, []string{"Versions.Wrapped", "Versions.Made", "Created", "DeletionDate", "NextRotation", "Grants.Created"}},
	{"kmsAliases", kms.AliasBucket, []string{"Created", "Updated"}},
	{"s3Buckets", s3.BucketBucket, []string{"ID", "Key", "Created"}},
	{"s3Objects", s3.ObjectBucket, []string{"File", "Modified", "VersionID", "ETag"}},
	{"ebsDefaults", ec2.DefaultsBucket, nil},
	{"ebsVolumes", ec2.VolumeBucket, []string{"dataKey", "created", "token", "request"}},
	{"ebsSnapshots", ec2.SnapshotBucket, []string{"dataKey", "created"}},
	{"identityPolicies", policy.Bucket, nil},
	{"trails", trail.TrailBucket, []string{"ID", "Started", "Stopped", "Delivered", "DigestDelivered", "Attempted", "Succeeded"}},
	{"workGroups", athena.WorkGroupBucket, []string{"CreationTime"}},
	{"databases", glue.DatabaseBucket, []string{"Database.CreateTime"}},
	{"tables", glue.TableBucket, []string{"CreateTime", "UpdateTime", "VersionId"}},
}

// Snapshot is the whole state as JSON, by kind of record and then by name, for
// tests to compare before and after: KMS keys without their material, aliases,
// buckets with all their configuration, the list of their objects, the EBS
// defaults of each Region, volumes, identity policies, trails, workgroups, and the
// databases and tables of the Glue Data Catalog. Event history, the
// content of objects and dates are not in it. The same state always gives the
// same bytes.
func (s *Server) Snapshot() (json.RawMessage, error) {
	out := map[string]map[string]any{}
	err := s.db.View(func(tx *bolt.Tx) error {
		for _, kind := range snapshotKinds {
			records := map[string]any{}
			err := store.Each(tx, kind.bucket, "", func(key string, record any) error {
				for _, path := range kind.without {
					leaveOut(record, strings.Split(path, "."))
				}
				records[key] = record
				return nil
			})
			if err != nil {
				return err
			}
			out[kind.name] = records
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("localaws: taking a snapshot: %w", err)
	}
	return json.MarshalIndent(out, "", "  ") // sorts the names
}

// leaveOut removes the field at path from decoded JSON.
func leaveOut(v any, path []string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			leaveOut(e, path)
		}
	case map[string]any:
		if len(path) == 1 {
			delete(v, path[0])
			return
		}
		leaveOut(v[path[0]], path[1:])
	}
}
