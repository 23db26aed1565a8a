package s3

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// The replication configuration of a bucket. replicate.go carries it out.
//
// Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketReplication.html
// and https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-add-config.html
//
// Not served: filters that exclude objects (Not), UseSourceMultiRegionKey, replica
// modification sync, ReplicationTime and Metrics, whose effects are in services that
// localaws does not have. The wording of the errors is that of public records of
// AWS's answers, and [U] where it is marked.

// replicationConfiguration is kept and given back as it came.
type replicationConfiguration struct {
	Role  string
	Rules []replicationRule `xml:"Rule"`
}

type replicationRule struct {
	ID                        string             `xml:",omitempty"`
	Priority                  *int               `xml:",omitempty" json:",omitempty"`
	Prefix                    *string            `xml:",omitempty" json:",omitempty"` // of a rule of version 1, which has no filter
	Filter                    *replicationFilter `json:",omitempty"`
	Status                    string
	SourceSelectionCriteria   *sourceSelection   `json:",omitempty"`
	ExistingObjectReplication *replicationStatus `json:",omitempty"` // no longer supported by S3
	DeleteMarkerReplication   *replicationStatus `json:",omitempty"`
	Destination               *replicationDestination
}

// replicationFilter has one of its members, or none for all objects.
type replicationFilter struct {
	Prefix *string `xml:",omitempty" json:",omitempty"`
	Tag    *s3Tag  `json:",omitempty"`
	And    *struct {
		Prefix *string `xml:",omitempty" json:",omitempty"`
		Tags   []s3Tag `xml:"Tag"`
	} `json:",omitempty"`
}

type replicationStatus struct{ Status string }

func (s *replicationStatus) enabled() bool { return s != nil && s.Status == statusEnabled }

func (s *replicationStatus) valid() bool { return s == nil || validStatus(s.Status) }

const statusEnabled = "Enabled"

func validStatus(status string) bool { return status == statusEnabled || status == "Disabled" }

type sourceSelection struct {
	SseKmsEncryptedObjects *replicationStatus `json:",omitempty"`
	ReplicaModifications   *replicationStatus `json:",omitempty"`
}

type replicationDestination struct {
	Bucket                   string                  // its ARN
	Account                  string                  `xml:",omitempty" json:",omitempty"`
	StorageClass             string                  `xml:",omitempty" json:",omitempty"`
	AccessControlTranslation *struct{ Owner string } `json:",omitempty"`
	EncryptionConfiguration  *struct {
		ReplicaKmsKeyID string `xml:",omitempty"`
	} `json:",omitempty"`
}

// bucket is the name of the destination.
func (d *replicationDestination) bucket() string { return strings.TrimPrefix(d.Bucket, bucketARN("")) }

// replicaKey is the KMS key for replicas; empty if the rule names none.
func (d *replicationDestination) replicaKey() string {
	if d.EncryptionConfiguration == nil {
		return ""
	}
	return d.EncryptionConfiguration.ReplicaKmsKeyID
}

func getReplication(c *call) (*response, error) {
	if c.b.Replication == nil {
		return nil, errNotFound("ReplicationConfigurationNotFoundError", "The replication configuration was not found", c)
	}
	return xmlAnswer("ReplicationConfiguration", c.b.Replication)
}

func deleteReplication(c *call) (*response, error) {
	return c.changed(http.StatusNoContent, func(b *bucketRecord) error { b.Replication = nil; return nil })
}

func putReplication(c *call) (*response, error) {
	var in replicationConfiguration
	if err := c.readXML("ReplicationConfiguration", &in); err != nil {
		return nil, err
	}
	if err := in.check(c.bucket); err != nil {
		return nil, err
	}
	if err := c.mayPass(in.Role); err != nil {
		return nil, err
	}
	return &response{}, c.changeWith(func(tx *bolt.Tx, b *bucketRecord) error {
		if b.Versioning != statusEnabled {
			e := errInvalidRequest("Versioning must be 'Enabled' on the bucket to apply a replication configuration")
			e.Extra = map[string]string{"BucketName": b.Name}
			return e
		}
		for _, r := range in.Rules {
			if err := r.Destination.checkBucket(tx, b); err != nil {
				return err
			}
		}
		b.Replication = &in
		return nil
	})
}

// Limits of a configuration.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ReplicationRule.html
const (
	maxReplicationRules = 1000
	maxReplicationID    = 255
	maxReplicationKey   = 1024 // of a prefix
)

var roleARN = regexp.MustCompile(`^arn:aws:iam::(\d{12}):role/[\w+=,.@/-]+$`)

// check refuses what S3 refuses of a configuration by itself, and gives the rules
// their IDs.
func (r *replicationConfiguration) check(source string) error {
	switch {
	case len(r.Rules) == 0 || r.Role == "":
		return errMalformedXML()
	case len(r.Rules) > maxReplicationRules: // [U] the wording
		return errInvalidRequest("The number of replication rules must not exceed the allowed limit of %d rules.", maxReplicationRules)
	case !roleARN.MatchString(r.Role):
		return errInvalidArgument("Role", r.Role, "Invalid Role specified in replication configuration")
	}
	// One rule without a filter makes it a configuration of version 1.
	first := slices.ContainsFunc(r.Rules, func(rule replicationRule) bool { return rule.Filter == nil })
	ids, priorities := map[string]bool{}, map[int]bool{}
	for i := range r.Rules {
		rule := &r.Rules[i]
		if err := rule.check(source, first); err != nil {
			return err
		}
		if rule.ID == "" {
			rule.ID = wire.NewUUID()
		}
		if ids[rule.ID] {
			return errInvalidArgument("ID", rule.ID, "Rule Id must be unique")
		}
		ids[rule.ID] = true
		if p := rule.Priority; p != nil {
			if priorities[*p] { // [U] for rules with different destinations
				return errInvalidRequest("Found duplicate priority %d.", *p)
			}
			priorities[*p] = true
		}
	}
	if first {
		return r.checkVersion1()
	}
	return nil
}

// checkVersion1 holds the rules against each other, as version 1 has neither
// priorities nor several destinations.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-add-config.html
func (r *replicationConfiguration) checkVersion1() error {
	for i, rule := range r.Rules {
		for _, other := range r.Rules[:i] {
			a, b := *rule.Prefix, *other.Prefix
			switch {
			case rule.Destination.Bucket != other.Destination.Bucket:
				return errInvalidRequest("Number of distinct destination bucket ARNs cannot exceed 1")
			case strings.HasPrefix(a, b) || strings.HasPrefix(b, a):
				return wire.NotImplemented("s3", "replication rules of version 1 with overlapping prefixes")
			}
		}
	}
	return nil
}

func (rule *replicationRule) check(source string, first bool) error {
	if !validStatus(rule.Status) || rule.Destination == nil || rule.ExistingObjectReplication != nil || !rule.DeleteMarkerReplication.valid() {
		return errMalformedXML()
	}
	if len(rule.ID) > maxReplicationID {
		return errInvalidArgument("ID", rule.ID, "Rule Id cannot be greater than %d", maxReplicationID)
	}
	if err := rule.checkFilter(); err != nil {
		return err
	}
	if err := rule.checkVersion(first); err != nil {
		return err
	}
	prefix, tags := rule.scope()
	if len(prefix) > maxReplicationKey { // [U] the wording
		return errInvalidArgument("Prefix", prefix, "The maximum size of a prefix is %d.", maxReplicationKey)
	}
	if len(tags) > 0 && rule.DeleteMarkerReplication.enabled() {
		return errInvalidRequest("Delete marker replication is not supported if any Tag filter is specified. Please refer to S3 Developer Guide for more information.")
	}
	return rule.checkDestination(source)
}

// checkVersion refuses what belongs to the other version of the schema.
func (rule *replicationRule) checkVersion(first bool) error {
	for _, member := range []struct {
		name string
		set  bool
	}{{"Priority", rule.Priority != nil}, {"DeleteMarkerReplication", rule.DeleteMarkerReplication != nil}} {
		const guide = " for this version of Cross Region Replication configuration schema. Please refer to S3 Developer Guide for more information."
		switch {
		case first && member.set:
			return errInvalidRequest("%s cannot be used%s", member.name, guide)
		case !first && !member.set:
			return errInvalidRequest("%s must be specified%s", member.name, guide)
		}
	}
	if p := rule.Priority; p != nil && (*p < 0 || *p > 1<<31-1) {
		return errInvalidRequest("Priority must be between 0 and %d.", 1<<31-1)
	}
	return nil
}

func (rule *replicationRule) checkFilter() error {
	f := rule.Filter
	if (rule.Prefix == nil) == (f == nil) {
		return errMalformedXML()
	}
	if f == nil {
		return nil
	}
	members := 0
	for _, set := range []bool{f.Prefix != nil, f.Tag != nil, f.And != nil} {
		if set {
			members++
		}
	}
	_, tags := rule.scope()
	if members > 1 || f.And != nil && len(tags) < 2 && (f.And.Prefix == nil || len(tags) == 0) {
		return errMalformedXML()
	}
	for i, t := range tags {
		if slices.ContainsFunc(tags[:i], func(other s3Tag) bool { return other.Key == t.Key }) {
			return errInvalidRequest("Duplicate Tag Keys are not allowed.")
		}
	}
	return checkTags(tags, "System tags cannot be added/updated by requester")
}

// scope is what the key of an object has to begin with, and the tags that it has
// to have.
func (rule *replicationRule) scope() (prefix string, tags []s3Tag) {
	f := rule.Filter
	switch {
	case rule.Prefix != nil:
		return *rule.Prefix, nil
	case f == nil:
	case f.Tag != nil:
		return "", []s3Tag{*f.Tag}
	case f.And != nil && f.And.Prefix != nil:
		return *f.And.Prefix, f.And.Tags
	case f.And != nil:
		return "", f.And.Tags
	case f.Prefix != nil:
		return *f.Prefix, nil
	}
	return "", nil
}

// replicaKeyARN is the form of ReplicaKmsKeyID. Whether there is such a key only
// the first replica finds out.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html
var replicaKeyARN = regexp.MustCompile(`^arn:aws:kms:[a-z0-9-]+:\d{12}:(key|alias)/.+$`)

func (rule *replicationRule) checkDestination(source string) error {
	d, kms := rule.Destination, false
	if s := rule.SourceSelectionCriteria; s != nil {
		kms = s.SseKmsEncryptedObjects != nil
		switch {
		case !kms && s.ReplicaModifications == nil:
			return errInvalidRequest("SourceSelectionCriteria cannot be empty.")
		case !s.SseKmsEncryptedObjects.valid() || !s.ReplicaModifications.valid():
			return errMalformedXML()
		case s.ReplicaModifications.enabled():
			return wire.NotImplemented("s3", "replica modification sync (ReplicaModifications with the status Enabled)")
		}
	}
	name, ok := strings.CutPrefix(d.Bucket, bucketARN(""))
	switch {
	case d.Bucket == "":
		return errMalformedXML()
	case !ok || !validBucketName(name):
		return errInvalidArgument("Bucket", d.Bucket, "Invalid bucket ARN.")
	case name == source:
		return errInvalidRequest("Destination bucket cannot be the same as the source bucket.")
	case d.StorageClass != "" && !slices.Contains(storageClasses, d.StorageClass):
		return errMalformedXML()
	case d.AccessControlTranslation != nil && d.AccessControlTranslation.Owner != "Destination":
		return errMalformedXML()
	case d.AccessControlTranslation != nil && d.Account == "":
		return errInvalidRequest("Account must be specified if the Owner in AccessControlTranslation has a value")
	case d.EncryptionConfiguration != nil && !kms:
		return errInvalidRequest("SseKmsEncryptedObjects must be specified if EncryptionConfiguration is present.")
	case kms && d.replicaKey() == "":
		return errInvalidRequest("ReplicaKmsKeyID must be specified if SseKmsEncryptedObjects tag is present.")
	case kms && !replicaKeyARN.MatchString(d.replicaKey()): // [U] the wording
		return errInvalidArgument("ReplicaKmsKeyID", d.replicaKey(), "Invalid ReplicaKmsKeyID ARN.")
	}
	return nil
}

// checkBucket refuses a destination that replicas cannot be stored in.
func (d *replicationDestination) checkBucket(tx *bolt.Tx, source *bucketRecord) error {
	b, ok, err := store.Load[bucketRecord](tx, BucketBucket, d.bucket())
	switch {
	case err != nil:
		return err
	case !ok:
		return errInvalidRequest("Destination bucket must exist.")
	case b.Versioning != statusEnabled:
		return errInvalidRequest("Destination bucket must have versioning enabled.")
	case d.Account != "" && d.Account != b.Account: // [U] what S3 does
		return wire.NotImplemented("s3", "replication whose Destination.Account does not own the bucket "+b.Name)
	case b.Account != source.Account && d.AccessControlTranslation == nil && b.Ownership != "BucketOwnerEnforced":
		return wire.NotImplemented("s3", "replicas in another account's bucket that the account of the source owns: set AccessControlTranslation, or the object ownership BucketOwnerEnforced")
	}
	return nil
}

// mayPass refuses a caller that may not pass the role to S3. A role can only be
// passed within its account.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
func (c *call) mayPass(role string) error {
	if roleARN.FindStringSubmatch(role)[1] != c.b.Account {
		return wire.Errf(http.StatusForbidden, "AccessDenied", "Cross-account pass role is not allowed.") // [U] S3's wording
	}
	a := policy.Access{Who: c.Who, Action: "iam:PassRole", Resource: role, Context: policy.ConditionKeys(c.Request)}
	a.Context["iam:passedtoservice"] = replicator
	if reason, ok := c.s.identities.Authorize(a, nil, c.b.Account); !ok {
		return wire.Errf(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: %s on resource: %s %s", c.Who.ARN, a.Action, role, reason)
	}
	return nil
}

// replicator is the service that assumes the role of a configuration.
const replicator = "s3.amazonaws.com"
