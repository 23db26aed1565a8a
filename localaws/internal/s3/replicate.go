package s3

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Replication: what a rule selects is queued in the transaction that stores it, and
// copied later, by the role of the configuration.
//
// Sources: https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-what-is-isnot-replicated.html,
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html,
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html
// and https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-status.html
//
// A replica is written beside the ordinary operations, so it is never replicated
// again. The rules are those of the moment of the write. [U]: replicas are placed among
// the versions of their key by the age of the original; a change of tags or of Object Lock is
// replicated if the object was; a change by UpdateObjectEncryption is not; the keys
// of SSE-KMS with an S3 Bucket Key are made by Encrypt; S3 leaves no record of reading
// the source.

// The values of x-amz-replication-status.
const (
	replicationPending   = "PENDING"
	replicationCompleted = "COMPLETED"
	replicationFailed    = "FAILED"
	replicationReplica   = "REPLICA"
)

// replicationSession is the name of S3's sessions of the role, as policies of
// working replications name them.
const replicationSession = "s3-replication"

// Roles is what S3 needs of STS.
type Roles interface {
	// AssumeForService is a session of a role that trusts the service.
	AssumeForService(service, roleARN, session, region string, now time.Time) (wire.Identity, error)
}

// pendingReplication is a version that has to be copied, under the key of its record.
type pendingReplication struct {
	ID        string // a later change of the version is another replication
	Bucket    string
	BucketID  string
	Key       string
	VersionID string
	Role      string
	Targets   []replicationTarget
}

type replicationTarget struct {
	Bucket         string
	StorageClass   string // "" for that of the source
	KMSKey         string // for replicas under SSE-KMS
	OverridesOwner bool
	Status         string // "" as long as it is pending
}

// queueReplication notes that o, whose record is being written to b, has to be
// replicated, if a rule selects it.
func queueReplication(tx *bolt.Tx, b *bucketRecord, record string, o *objectRecord) error {
	o.ReplicationStatus = ""
	if b.Replication == nil {
		return nil
	}
	targets := b.Replication.targets(o)
	if len(targets) == 0 {
		return nil
	}
	o.ReplicationStatus = replicationPending
	return store.Save(tx, ReplicationBucket, record, pendingReplication{
		ID: wire.NewUUID(), Bucket: b.Name, BucketID: b.ID, Key: o.Key, VersionID: o.VersionID, Role: b.Replication.Role, Targets: targets,
	})
}

// queueChange is queueReplication for a change of tags or of Object Lock.
func queueChange(tx *bolt.Tx, b *bucketRecord, record string, o *objectRecord) error {
	was := o.ReplicationStatus
	if was != replicationPending && was != replicationCompleted {
		return nil
	}
	err := queueReplication(tx, b, record, o)
	o.ReplicationStatus = cmp.Or(o.ReplicationStatus, was)
	return err
}

// targets are the destinations of o: of the rules with one destination, the one with
// the highest priority decides.
func (r *replicationConfiguration) targets(o *objectRecord) []replicationTarget {
	var rules []replicationRule
	for _, rule := range r.Rules {
		if rule.Status == statusEnabled && rule.matches(o) {
			rules = append(rules, rule)
		}
	}
	priority := func(rule replicationRule) int {
		if rule.Priority == nil {
			return 0
		}
		return *rule.Priority
	}
	slices.SortStableFunc(rules, func(a, b replicationRule) int { return cmp.Compare(priority(b), priority(a)) })
	var targets []replicationTarget
	seen := map[string]bool{}
	for _, rule := range rules {
		d := rule.Destination
		if !seen[d.Bucket] && rule.selects(o) {
			targets = append(targets, replicationTarget{Bucket: d.bucket(), StorageClass: d.StorageClass, KMSKey: d.replicaKey(), OverridesOwner: d.AccessControlTranslation != nil})
		}
		seen[d.Bucket] = true
	}
	return targets
}

// matches reports whether o is in the scope of the rule.
func (rule *replicationRule) matches(o *objectRecord) bool {
	prefix, tags := rule.scope()
	return strings.HasPrefix(o.Key, prefix) && !slices.ContainsFunc(tags, func(t s3Tag) bool { return !slices.Contains(o.Tags, t) })
}

// selects reports whether the rule replicates objects like o.
func (rule *replicationRule) selects(o *objectRecord) bool {
	switch class := o.storageClass(); {
	case o.DeleteMarker: // version 1 replicates them
		return rule.Filter == nil || rule.DeleteMarkerReplication.enabled()
	case class == "GLACIER" || class == "DEEP_ARCHIVE":
		return false
	case o.Algorithm == sseKMS:
		return rule.SourceSelectionCriteria != nil && rule.SourceSelectionCriteria.SseKmsEncryptedObjects.enabled()
	}
	return true
}

// Replicate carries out what is queued, until ctx is done. What a policy or a key
// refuses has failed, for good; what fails by an error of localaws stays queued.
func (s *Service) Replicate(ctx context.Context, now func() time.Time) error {
	s.replicating.Lock()
	defer s.replicating.Unlock()
	r := &replicationRound{s: s, now: now, sessions: map[string]wire.Identity{}}
	var errs []error
	for after := ""; ctx.Err() == nil; {
		record, p, err := s.nextReplication(after)
		if err != nil || record == "" {
			return errors.Join(append(errs, err)...)
		}
		if err := r.carryOut(record, p); err != nil {
			errs = append(errs, fmt.Errorf("localaws: replicating %s/%s: %w", p.Bucket, p.Key, err))
		}
		after = record
	}
	return errors.Join(errs...)
}

// nextReplication is the first that is queued after a record; no record if there is
// none.
func (s *Service) nextReplication(after string) (record string, p pendingReplication, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(ReplicationBucket).Cursor()
		k, _ := c.Seek([]byte(after))
		if string(k) == after && k != nil {
			k, _ = c.Next()
		}
		record = string(k)
		if record == "" {
			return nil
		}
		p, _, err = store.Load[pendingReplication](tx, ReplicationBucket, record)
		return err
	})
	return record, p, err
}

// replicationRound has one session of each role.
type replicationRound struct {
	s        *Service
	now      func() time.Time
	sessions map[string]wire.Identity
}

func (r *replicationRound) assume(role, region string) (wire.Identity, error) {
	if who, ok := r.sessions[role]; ok {
		return who, nil
	}
	who, err := r.s.roles.AssumeForService(replicator, role, replicationSession, region, r.now())
	if err == nil {
		r.sessions[role] = who
	}
	return who, err
}

// carryOut copies to every destination that is pending.
func (r *replicationRound) carryOut(record string, p pendingReplication) error {
	for i := range p.Targets {
		if p.Targets[i].Status != "" {
			continue
		}
		a := &replicationAttempt{round: r, s: r.s, record: record, to: p.Targets[i]}
		refused := a.copy(p)
		for _, c := range []*call{a.src, a.dst} {
			if c != nil {
				if err := c.W.Pending.Wait(); err != nil {
					return err
				}
			}
		}
		if _, ok := asError(refused); refused != nil && !ok {
			return refused
		}
		p.Targets[i].Status = replicationCompleted
		if refused != nil {
			p.Targets[i].Status = replicationFailed
		}
		if done, err := a.commit(p, refused); err != nil || !done {
			return err
		}
	}
	return nil
}

// replicationAttempt copies one version to one destination.
type replicationAttempt struct {
	round  *replicationRound
	s      *Service
	record string
	to     replicationTarget

	src     *call         // reads the version; nil if there is none any more
	dst     *call         // writes the replica; nil until the source may be read
	replica *objectRecord // nil where none is to be written
	written bool          // the replica has a file of its own, not yet committed
}

// copy makes the replica. An error of AWS's is a refusal.
func (a *replicationAttempt) copy(p pendingReplication) error {
	b := a.s.bucket(p.Bucket)
	if b == nil || b.ID != p.BucketID {
		return nil
	}
	who, err := a.round.assume(p.Role, b.Region)
	if err != nil {
		return err
	}
	now := a.round.now()
	src := a.s.internalCall(http.MethodGet, who, now, p.Bucket, p.Key, http.Header{}, nil)
	src.query.Set("versionId", p.VersionID)
	var o objectRecord
	found := false
	err = a.s.db.View(func(tx *bolt.Tx) (err error) {
		o, found, err = store.Load[objectRecord](tx, ObjectBucket, a.record)
		return err
	})
	if err != nil || !found {
		return err
	}
	a.src = src
	for _, action := range []string{"s3:GetReplicationConfiguration", "s3:ListBucket"} {
		if err := src.authorize(action, bucketARN(p.Bucket)); err != nil {
			return err
		}
	}
	if o.DeleteMarker {
		return a.copyMarker(&o, who, now)
	}
	return a.copyObject(&o, who, now)
}

// reach makes the call that writes the replica.
func (a *replicationAttempt) reach(method string, o *objectRecord, who wire.Identity, now time.Time) error {
	header := http.Header{"X-Amz-Version-Id": {o.VersionID}}
	if method == http.MethodPut {
		header.Set("X-Amz-Storage-Class", cmp.Or(a.to.StorageClass, o.storageClass()))
		switch o.Algorithm {
		case sseKMS:
			header.Set(headerSSE, sseKMS)
			header.Set(headerSSEKey, a.to.KMSKey)
		case sseC:
			header.Set(customerPrefix+"Algorithm", sseS3)
		}
	}
	dst := a.s.internalCall(method, who, now, a.to.Bucket, o.Key, header, nil)
	dst.invokedBy = replicator
	switch b := dst.b; {
	case b == nil:
		return errNoSuchBucket(a.to.Bucket)
	case b.Versioning != statusEnabled:
		return errInvalidRequest("Destination bucket must have versioning enabled.")
	case a.src.b.ObjectLock && !b.ObjectLock:
		return errNoLock()
	}
	a.dst = dst
	return nil
}

// copyMarker replicates a delete marker, but never to another account.
func (a *replicationAttempt) copyMarker(o *objectRecord, who wire.Identity, now time.Time) error {
	if err := a.reach(http.MethodDelete, o, who, now); err != nil {
		return err
	}
	if a.dst.b.Account != a.src.b.Account {
		a.dst = nil
		return nil
	}
	if err := a.dst.authorize("s3:ReplicateDelete", a.dst.arn()); err != nil {
		return err
	}
	a.dst.elements = recordedElements(deletion{marker: true, markerID: o.VersionID}.headers())
	a.replica = &objectRecord{Key: o.Key, VersionID: o.VersionID, DeleteMarker: true, Modified: o.Modified, ReplicationStatus: replicationReplica}
	return nil
}

func (a *replicationAttempt) copyObject(o *objectRecord, who wire.Identity, now time.Time) error {
	if err := a.mayRead(o); err != nil {
		return err
	}
	if err := a.reach(http.MethodPut, o, who, now); err != nil {
		return err
	}
	if err := a.dst.authorize("s3:ReplicateObject", a.dst.arn()); err != nil {
		return err
	}
	if a.to.OverridesOwner && a.dst.b.Account != a.src.b.Account {
		if err := a.dst.authorize("s3:ObjectOwnerOverrideToBucketOwner", a.dst.arn()); err != nil {
			return err
		}
	}
	var replica objectRecord
	err := a.s.db.View(func(tx *bolt.Tx) (err error) {
		replica, err = findVersion(tx, a.to.Bucket, o.Key, o.VersionID)
		return err
	})
	if e, ok := asError(err); ok && e.Code == "NoSuchVersion" {
		replica, err = a.write(o)
	}
	if err != nil {
		return err
	}
	a.describe(&replica, o)
	a.replica = &replica
	a.dst.encrypted(&replica)
	return nil
}

// mayRead asks for the permissions on the source. Without one on the tags the
// object is replicated, and its tags are not: see describe.
func (a *replicationAttempt) mayRead(o *objectRecord) error {
	actions := []string{"s3:GetObjectVersionAcl"}
	if a.src.b.ObjectLock {
		actions = append(actions, "s3:GetObjectRetention", "s3:GetObjectLegalHold")
	}
	err := a.src.authorize("s3:GetObjectVersionForReplication", a.src.arn())
	if err != nil && o.Algorithm != sseKMS { // the older permission will do
		err = a.src.authorize("s3:GetObjectVersion", a.src.arn())
	}
	for _, action := range actions {
		if err == nil {
			err = a.src.authorize(action, a.src.arn())
		}
	}
	return err
}

// describe gives the replica the tags and the lock of its source. The permission for
// s3:ReplicateObject is one for tags, too, unless they are denied.
func (a *replicationAttempt) describe(replica, o *objectRecord) {
	replica.Tags = nil
	denied, _ := asError(a.dst.authorize("s3:ReplicateTags", a.dst.arn()))
	if (denied == nil || !strings.Contains(denied.Message, "explicit deny")) && a.src.authorize("s3:GetObjectVersionTagging", a.src.arn()) == nil {
		replica.Tags = o.Tags
	}
	switch r := a.dst.b.Retention; {
	case o.LockMode != "" || o.LegalHold != "":
		replica.LockMode, replica.LockUntil, replica.LegalHold = o.LockMode, o.LockUntil, o.LegalHold
	case a.written && r != nil:
		replica.LockMode, replica.LockUntil = r.Mode, a.dst.Now.UTC().AddDate(r.Years, 0, r.Days)
	}
}

// write encrypts the content for the destination: by the same method, under the key
// of the rule.
func (a *replicationAttempt) write(o *objectRecord) (replica objectRecord, err error) {
	replica = *o
	replica.ReplicationStatus = replicationReplica
	replica.LockMode, replica.LockUntil, replica.LegalHold = "", time.Time{}, ""
	if a.to.StorageClass != "" {
		replica.Headers = maps.Clone(o.Headers)
		if replica.Headers["X-Amz-Storage-Class"] = a.to.StorageClass; a.to.StorageClass == "STANDARD" {
			delete(replica.Headers, "X-Amz-Storage-Class")
		}
	}
	file, err := a.s.openSealed(o.File)
	if err != nil { // the version may be gone by now: the next round finds out
		return replica, err
	}
	from := &openedObject{c: a.src, object: *o, file: file}
	defer from.close()
	if o.Algorithm == sseC {
		if a.dst.b.blocksSSEC() {
			return replica, a.dst.errSSECBlocked()
		}
		replica.File, err = a.s.copyFile(func(w io.Writer) error {
			_, err := io.Copy(w, io.NewSectionReader(file.file, 0, file.size))
			return err
		})
		a.written = err == nil
		return replica, err
	}
	body, err := from.reader(0, o.Size)
	if err != nil {
		return replica, err
	}
	defer func() { _ = body.Close() }() // opened for reading
	k, err := a.newKey(o)
	if err != nil {
		return replica, err
	}
	replica.File, err = a.s.writeSealed(k, func(w io.Writer) error {
		_, err := io.Copy(w, body)
		return err
	})
	k.wipe()
	a.written = err == nil
	replica.encryptedBy(k)
	return replica, err
}

// newKey is a data key for the replica. Under KMS it needs kms:Encrypt, and with an
// S3 Bucket Key, which S3 uses where the source or the destination has one,
// kms:Decrypt, too.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html#bk-replication
func (a *replicationAttempt) newKey(o *objectRecord) (objectKey, error) {
	c := a.dst
	if o.Algorithm != sseKMS {
		return c.newObjectKey(sseChoice{algorithm: sseS3}, o.Key)
	}
	if !o.BucketKey && !c.b.Encryption.BucketKey {
		return c.wrapNewKey(a.to.KMSKey, c.arn(), false)
	}
	id := strings.Join([]string{"replica", c.b.ID, c.Who.ARN, a.to.KMSKey}, "\x00")
	return c.s.bucketKeys.get(id, c.Now, func() (objectKey, error) {
		k, err := c.wrapNewKey(a.to.KMSKey, bucketARN(c.bucket), true)
		if err != nil {
			return k, err
		}
		plain, e := c.s.keys.DecryptDataKey(c.kmsUse(c.b.Region, k.header.EncryptionContext), k.header.WrappedKey)
		clear(plain)
		if e != nil {
			return k, s3KMSError(e)
		}
		return k, nil
	})
}

// copyFile makes a file of what content writes, which is encrypted already.
func (s *Service) copyFile(content func(io.Writer) error) (id string, err error) {
	name := make([]byte, 16)
	_, _ = rand.Read(name) // never fails: see crypto/rand.Read
	id = hex.EncodeToString(name)
	f, err := os.OpenFile(s.path(id), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	if err = content(f); err == nil {
		err = s.disk.persist(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		s.discard(id)
		return "", err
	}
	return id, nil
}

// commit writes replica, status and event in one transaction. It returns false if
// the version is gone, or has another replication by now.
func (a *replicationAttempt) commit(p pendingReplication, refused error) (done bool, err error) {
	err = a.s.db.Update(func(tx *bolt.Tx) error {
		done = false
		o, found, err := store.Load[objectRecord](tx, ObjectBucket, a.record)
		if err != nil {
			return err
		}
		if !found {
			return store.Remove(tx, ReplicationBucket, a.record)
		}
		current, ok, err := store.Load[pendingReplication](tx, ReplicationBucket, a.record)
		if err != nil || !ok || current.ID != p.ID {
			return err
		}
		if refused == nil && a.replica != nil {
			b, _, err := store.Load[bucketRecord](tx, BucketBucket, a.to.Bucket) // none has no ID
			if err != nil || b.ID != a.dst.b.ID || b.Versioning != statusEnabled {
				return err // the next round finds out
			}
			number, _ := versionNumber(p.VersionID)
			if err := store.Save(tx, ObjectBucket, versionKey(a.to.Bucket, p.Key, number), a.replica); err != nil {
				return err
			}
		}
		done = true
		if a.dst != nil && a.dst.isDataEvent() {
			if err := a.s.trail.RecordIn(tx, a.dst.dataEvent(refused)); err != nil {
				return err
			}
		}
		status := p.status()
		if status == replicationPending {
			return store.Save(tx, ReplicationBucket, a.record, p)
		}
		o.ReplicationStatus = status
		return errors.Join(store.Save(tx, ObjectBucket, a.record, o), store.Remove(tx, ReplicationBucket, a.record))
	})
	if a.written && (err != nil || !done || refused != nil) {
		a.s.discard(a.replica.File)
	}
	return done, err
}

// status is that of the source: it is completed with the last destination.
func (p *pendingReplication) status() string {
	status := replicationCompleted
	for _, t := range p.Targets {
		switch t.Status {
		case "":
			return replicationPending
		case replicationFailed:
			status = replicationFailed
		}
	}
	return status
}
