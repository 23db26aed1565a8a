package kms

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Key states.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
const (
	keyEnabled                = "Enabled"
	keyDisabled               = "Disabled"
	keyPendingDeletion        = "PendingDeletion"
	keyPendingReplicaDeletion = "PendingReplicaDeletion" // a multi-Region primary that waits for its replicas
)

const (
	symmetricDefault = "SYMMETRIC_DEFAULT"
	encryptDecrypt   = "ENCRYPT_DECRYPT"
)

// keyRecord is the record of one KMS key.
type keyRecord struct {
	Account     string
	Region      string
	ID          string
	Manager     string // "CUSTOMER" or "AWS"
	State       string
	Description string
	Policy      string
	Tags        []tag
	Grants      []grant
	Created     time.Time

	DeletionDate *time.Time // while PendingDeletion
	DeletionDays int        // the waiting period, while a deletion is pending

	// PrimaryRegion is where the primary of a multi-Region key is; empty for a
	// single-Region key.
	PrimaryRegion string

	Versions     []keyVersion // the backing keys, the current one last
	Rotating     bool         // automatic rotation is on
	RotationDays int
	NextRotation time.Time
}

// keyVersion is one backing key of a KMS key.
type keyVersion struct {
	ID      string // KeyMaterialId: 64 hexadecimal digits
	Wrapped []byte // see kms_crypto.go
	Made    time.Time
	Type    string // "AUTOMATIC" or "ON_DEMAND"; empty for the first
}

type tag struct {
	TagKey   string
	TagValue string
}

// aliasRecord is the record of one alias.
type aliasRecord struct {
	Name    string
	KeyID   string
	Created time.Time
	Updated time.Time
}

func keyARN(account, region, id string) string {
	return "arn:aws:kms:" + region + ":" + account + ":key/" + id
}

func aliasARN(account, region, name string) string {
	return "arn:aws:kms:" + region + ":" + account + ":" + name
}

// days is so many days of 24 hours, whatever the clocks are set to meanwhile.
func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

func (k keyRecord) arn() string { return keyARN(k.Account, k.Region, k.ID) }

func (k keyRecord) storeKey() string { return store.Key(k.Account, k.Region, k.ID) }

func (k keyRecord) multiRegion() bool { return k.PrimaryRegion != "" }

func (k keyRecord) primary() bool { return k.PrimaryRegion == k.Region }

// expired reports whether the key's waiting period is over: it is gone.
func (k keyRecord) expired(now time.Time) bool {
	return k.State == keyPendingDeletion && k.DeletionDate != nil && !k.DeletionDate.After(now)
}

func saveKey(tx *bolt.Tx, k keyRecord) error { return store.Save(tx, KeyBucket, k.storeKey(), k) }

// How an operation lets a key be named.
type naming int

const (
	idOrARN naming = iota // key id or key ARN
	anyName               // also alias name or alias ARN
)

var (
	keyIDPattern   = regexp.MustCompile(`^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$`)
	kmsARN         = regexp.MustCompile(`^arn:aws:kms:([a-z0-9-]+):(\d{12}):(key|alias)/(.+)$`)
	regionPattern  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d+$`)
	aliasPattern   = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]+$`)
	managedAliases = map[string]string{"alias/aws/s3": "s3", "alias/aws/ebs": "ec2"} // and the service that uses the key
)

// errFirstUse asks for the transaction to be run again, allowed to write.
var errFirstUse = errors.New("an AWS managed key is used for the first time, in a transaction that cannot make it")

// find returns the key that id names, and adds its ARN to the event.
func (c *call) find(tx *bolt.Tx, id string, how naming) (keyRecord, error) {
	delete(c.keys, "kms:requestalias") // of an earlier key of the call
	if err := required("keyId", id); err != nil {
		return keyRecord{}, err
	}
	if len(id) > 2048 {
		return keyRecord{}, invalid("keyId", id[:100]+"...", "have length less than or equal to 2048")
	}
	account, name := c.account, id
	if strings.HasPrefix(id, "arn:") {
		part := kmsARN.FindStringSubmatch(id)
		if part == nil {
			return keyRecord{}, kmsError("InvalidArnException", "Invalid arn: %s", id)
		}
		if part[1] != c.r.Region {
			return keyRecord{}, kmsError("NotFoundException", "Invalid arn %s", part[1])
		}
		account, name = part[2], part[4]
		if part[3] == "alias" {
			name = "alias/" + name
		}
	}
	if strings.HasPrefix(name, "alias/") {
		if how != anyName {
			return keyRecord{}, kmsError("NotFoundException", "Invalid keyId '%s'", id)
		}
		return c.findAlias(tx, account, name)
	}
	if !keyIDPattern.MatchString(name) {
		return keyRecord{}, kmsError("NotFoundException", "Invalid keyId '%s'", id)
	}
	return c.load(tx, account, name)
}

func (c *call) findAlias(tx *bolt.Tx, account, name string) (keyRecord, error) {
	alias, ok, err := store.Load[aliasRecord](tx, AliasBucket, store.Key(account, c.r.Region, name))
	if err != nil {
		return keyRecord{}, err
	}
	if ok {
		c.keys["kms:requestalias"] = name
		return c.load(tx, account, alias.KeyID)
	}
	service, managed := managedAliases[name]
	switch {
	case !managed || account != c.account || account == "":
		return keyRecord{}, kmsError("NotFoundException", "Alias %s is not found.", aliasARN(account, c.r.Region, name))
	case !tx.Writable():
		return keyRecord{}, errFirstUse
	}
	k, err := c.s.makeManagedKey(tx, account, c.r.Region, name, service, c.r.Now)
	if err != nil {
		return keyRecord{}, err
	}
	c.keys["kms:requestalias"] = name
	return c.load(tx, account, k.ID)
}

func (c *call) load(tx *bolt.Tx, account, id string) (keyRecord, error) {
	k, ok, err := store.Load[keyRecord](tx, KeyBucket, store.Key(account, c.r.Region, id))
	if err != nil {
		return keyRecord{}, err
	}
	if !ok || k.expired(c.r.Now) {
		return keyRecord{}, kmsError("NotFoundException", "Key '%s' does not exist", keyARN(account, c.r.Region, id))
	}
	if arn := k.arn(); !slices.Contains(c.keyARNs, arn) {
		c.keyARNs = append(c.keyARNs, arn)
	}
	return k, c.seeAliases(tx, k)
}

// seeAliases lets the policies see the aliases of the key, if one compares them:
// finding them takes a walk over all aliases of the account in the Region.
func (c *call) seeAliases(tx *bolt.Tx, k keyRecord) error {
	const key = "kms:resourcealiases"
	delete(c.lists, key) // of an earlier key of the call
	p, err := k.parsedPolicy()
	if err != nil {
		return err
	}
	if !c.s.identities.Mention(c.r.Who, p, key) {
		return nil
	}
	aliases, err := aliasesOf(tx, k)
	for _, a := range aliases {
		c.lists[key] = append(c.lists[key], a.Name)
	}
	return err
}

// newKey makes a key's record, with its first material. It is not saved.
func (s *Service) newKey(account, region, id string, now time.Time) (keyRecord, error) {
	k := keyRecord{Account: account, Region: region, ID: id, Manager: "CUSTOMER", State: keyEnabled, Created: now}
	material := newMaterial()
	defer clear(material)
	return k, s.addVersion(&k, newMaterialID(), material, "", now)
}

func newMaterial() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: see crypto/rand.Read
	return b
}

func newMaterialID() string { return hex.EncodeToString(newMaterial()) }

// makeManagedKey makes the AWS managed key of a service. Users can look at it,
// and use it through the service; its policy lets them do no more.
func (s *Service) makeManagedKey(tx *bolt.Tx, account, region, alias, service string, now time.Time) (keyRecord, error) {
	k, err := s.newKey(account, region, wire.NewUUID(), now)
	if err != nil {
		return keyRecord{}, err
	}
	short := strings.TrimPrefix(alias, "alias/aws/")
	title := map[string]string{"s3": "S3 objects", "ebs": "EBS volumes"}[short]
	k.Manager = "AWS"
	k.Description = "Default key that protects my " + title + " when no other key is defined"
	k.Policy = managedKeyPolicy(account, region, short, service)
	k.Rotating, k.RotationDays, k.NextRotation = true, defaultRotationDays, now.Add(days(defaultRotationDays))
	s.dueAt(tx, k.NextRotation)
	if err := saveKey(tx, k); err != nil {
		return keyRecord{}, err
	}
	a := aliasRecord{Name: alias, KeyID: k.ID, Created: now, Updated: now}
	return k, store.Save(tx, AliasBucket, store.Key(account, region, alias), a)
}

// related returns the other keys of the same multi-Region key.
func related(tx *bolt.Tx, k keyRecord) (out []keyRecord, err error) {
	if !k.multiRegion() {
		return nil, nil
	}
	prefix, suffix := []byte(k.Account+"/"), []byte("/"+k.ID)
	c := tx.Bucket(KeyBucket).Cursor()
	for key, _ := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, _ = c.Next() {
		if !bytes.HasSuffix(key, suffix) || string(key) == k.storeKey() {
			continue
		}
		other, _, err := store.Load[keyRecord](tx, KeyBucket, string(key))
		if err != nil {
			return nil, err
		}
		out = append(out, other)
	}
	return out, nil
}

// sweepKeys erases the keys whose waiting period is over, rotates what is due,
// and finds out when something comes due next.
func (s *Service) sweepKeys(tx *bolt.Tx, now time.Time) error {
	s.due.Store(nothingDue)
	var keys []keyRecord
	err := store.Each(tx, KeyBucket, "", func(_ string, k keyRecord) error {
		keys = append(keys, k)
		return nil
	})
	if err != nil {
		return err
	}
	// Replicas go first: their primary waits for them.
	slices.SortStableFunc(keys, func(a, b keyRecord) int {
		switch {
		case a.primary() == b.primary():
			return 0
		case b.primary():
			return -1
		}
		return 1
	})
	lastErased := map[string]time.Time{} // by account/key-id
	for _, k := range keys {
		shared := store.Key(k.Account, k.ID)
		if k.State == keyPendingReplicaDeletion {
			replicas, err := related(tx, k)
			if err != nil {
				return err
			}
			if len(replicas) > 0 {
				continue
			}
			since, ok := lastErased[shared]
			if !ok {
				since = now
			}
			date := since.Add(days(k.DeletionDays))
			k.State, k.DeletionDate = keyPendingDeletion, &date
			if err := saveKey(tx, k); err != nil {
				return err
			}
		}
		switch {
		case k.expired(now):
			if err := s.eraseKey(tx, k); err != nil {
				return err
			}
			if k.DeletionDate.After(lastErased[shared]) {
				lastErased[shared] = *k.DeletionDate
			}
		case k.State == keyPendingDeletion:
			s.dueAt(tx, *k.DeletionDate)
		case k.Rotating && k.State == keyEnabled && !k.replica():
			for !k.NextRotation.After(now) {
				if err := s.rotate(tx, &k, "AUTOMATIC", k.NextRotation); err != nil {
					return err
				}
				k.NextRotation = k.NextRotation.Add(days(k.RotationDays))
			}
			if err := saveKey(tx, k); err != nil {
				return err
			}
			s.dueAt(tx, k.NextRotation)
		}
	}
	return nil
}

func (k keyRecord) replica() bool { return k.multiRegion() && !k.primary() }

// eraseKey removes the key and its aliases for good, and records the service
// event.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-delete-key.html
func (s *Service) eraseKey(tx *bolt.Tx, k keyRecord) error {
	aliases, err := aliasesOf(tx, k)
	if err != nil {
		return err
	}
	for _, a := range aliases {
		if err := store.Remove(tx, AliasBucket, store.Key(k.Account, k.Region, a.Name)); err != nil {
			return err
		}
	}
	if err := store.Remove(tx, KeyBucket, k.storeKey()); err != nil {
		return err
	}
	return s.trail.RecordServiceIn(tx, trail.ServiceEvent{
		Account: k.Account, Region: k.Region, Time: *k.DeletionDate, Source: "kms.amazonaws.com", Name: "DeleteKey",
		Resource: trail.Resource{ARN: k.arn(), Type: "AWS::KMS::Key"},
		Response: map[string]string{"keyId": k.arn()},
	})
}

func aliasesOf(tx *bolt.Tx, k keyRecord) (out []aliasRecord, err error) {
	return out, store.Each(tx, AliasBucket, store.Key(k.Account, k.Region, ""), func(_ string, a aliasRecord) error {
		if a.KeyID == k.ID {
			out = append(out, a)
		}
		return nil
	})
}

// paging is what the listing operations have in common.
type paging struct {
	Limit  *int
	Marker string
}

// page is what their answers have in common.
type page struct {
	Truncated  bool
	NextMarker string `json:",omitempty"`
}

// cut returns the page of all that the caller asked for. all is in the
// order of name, which no two have in common: a page begins after the name
// that the last one ended with, whatever has been made or removed since.
func cut[T any](p paging, most, standard int, all []T, name func(T) string) ([]T, page, error) {
	limit := standard
	if p.Limit != nil {
		limit = *p.Limit
	}
	if limit < 1 || limit > most {
		return nil, page{}, invalid("limit", limit, fmt.Sprintf("have value between 1 and %d", most))
	}
	if p.Marker != "" {
		after, err := base64.RawURLEncoding.DecodeString(p.Marker)
		if err != nil || len(after) == 0 {
			return nil, page{}, kmsError("InvalidMarkerException", "Could not deserialize marker '%s'", p.Marker)
		}
		for len(all) > 0 && name(all[0]) <= string(after) {
			all = all[1:]
		}
	}
	if len(all) <= limit {
		return append([]T{}, all...), page{}, nil
	}
	last := base64.RawURLEncoding.EncodeToString([]byte(name(all[limit-1])))
	return all[:limit], page{Truncated: true, NextMarker: last}, nil
}
