package localaws

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

// kmsKey is the record of one KMS key.
type kmsKey struct {
	Account     string
	Region      string
	ID          string
	Manager     string // "CUSTOMER" or "AWS"
	State       string
	Description string
	Policy      string
	Tags        []kmsTag
	Grants      []kmsGrant
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

type kmsTag struct {
	TagKey   string
	TagValue string
}

// kmsAlias is the record of one alias.
type kmsAlias struct {
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

func (k kmsKey) arn() string { return keyARN(k.Account, k.Region, k.ID) }

func (k kmsKey) storeKey() string { return storeKey(k.Account, k.Region, k.ID) }

func (k kmsKey) multiRegion() bool { return k.PrimaryRegion != "" }

func (k kmsKey) primary() bool { return k.PrimaryRegion == k.Region }

// expired says whether the key's waiting period is over: it is gone.
func (k kmsKey) expired(now time.Time) bool {
	return k.State == keyPendingDeletion && k.DeletionDate != nil && !k.DeletionDate.After(now)
}

func saveKey(tx *bolt.Tx, k kmsKey) error { return save(tx, boltKMSKeys, k.storeKey(), k) }

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
var errFirstUse = errors.New("an AWS-managed key is used for the first time, in a transaction that cannot make it")

// find answers with the key that id names, and adds its ARN to the event.
func (c *kmsCall) find(tx *bolt.Tx, id string, how naming) (kmsKey, error) {
	if err := required("keyId", id); err != nil {
		return kmsKey{}, err
	}
	if len(id) > 2048 {
		return kmsKey{}, invalid("keyId", id[:100]+"...", "have length less than or equal to 2048")
	}
	account, name := c.account, id
	if strings.HasPrefix(id, "arn:") {
		part := kmsARN.FindStringSubmatch(id)
		if part == nil {
			return kmsKey{}, kmsError("InvalidArnException", "Invalid arn: %s", id)
		}
		if part[1] != c.r.region {
			return kmsKey{}, kmsError("NotFoundException", "Invalid arn %s", part[1])
		}
		account, name = part[2], part[4]
		if part[3] == "alias" {
			name = "alias/" + name
		}
	}
	if strings.HasPrefix(name, "alias/") {
		if how != anyName {
			return kmsKey{}, kmsError("NotFoundException", "Invalid keyId '%s'", id)
		}
		return c.findAlias(tx, account, name)
	}
	if !keyIDPattern.MatchString(name) {
		return kmsKey{}, kmsError("NotFoundException", "Invalid keyId '%s'", id)
	}
	return c.load(tx, account, name)
}

func (c *kmsCall) findAlias(tx *bolt.Tx, account, name string) (kmsKey, error) {
	alias, ok, err := load[kmsAlias](tx, boltKMSAliases, storeKey(account, c.r.region, name))
	if err != nil {
		return kmsKey{}, err
	}
	if ok {
		c.keys["kms:requestalias"] = name
		return c.load(tx, account, alias.KeyID)
	}
	service, managed := managedAliases[name]
	switch {
	case !managed || account != c.account || account == "":
		return kmsKey{}, kmsError("NotFoundException", "Alias %s is not found.", aliasARN(account, c.r.region, name))
	case !tx.Writable():
		return kmsKey{}, errFirstUse
	}
	k, err := c.s.makeManagedKey(tx, account, c.r.region, name, service, c.r.now)
	c.keyARNs = append(c.keyARNs, k.arn())
	return k, err
}

func (c *kmsCall) load(tx *bolt.Tx, account, id string) (kmsKey, error) {
	k, ok, err := load[kmsKey](tx, boltKMSKeys, storeKey(account, c.r.region, id))
	if err != nil {
		return kmsKey{}, err
	}
	if !ok || k.expired(c.r.now) {
		return kmsKey{}, kmsError("NotFoundException", "Key '%s' does not exist", keyARN(account, c.r.region, id))
	}
	if arn := k.arn(); !slices.Contains(c.keyARNs, arn) {
		c.keyARNs = append(c.keyARNs, arn)
	}
	return k, nil
}

// newKey makes a key's record, with its first material. It is not saved.
func (s *Server) newKey(account, region, id string, now time.Time) (kmsKey, error) {
	k := kmsKey{Account: account, Region: region, ID: id, Manager: "CUSTOMER", State: keyEnabled, Created: now}
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

// makeManagedKey makes the AWS-managed key of a service. Users can look at it,
// and use it through the service; its policy lets them do no more.
func (s *Server) makeManagedKey(tx *bolt.Tx, account, region, alias, service string, now time.Time) (kmsKey, error) {
	k, err := s.newKey(account, region, newUUID(), now)
	if err != nil {
		return kmsKey{}, err
	}
	short := strings.TrimPrefix(alias, "alias/aws/")
	title := map[string]string{"s3": "S3 objects", "ebs": "EBS volumes"}[short]
	k.Manager = "AWS"
	k.Description = "Default key that protects my " + title + " when no other key is defined"
	k.Policy = managedKeyPolicy(account, region, short, service)
	k.Rotating, k.RotationDays, k.NextRotation = true, defaultRotationDays, now.Add(days(defaultRotationDays))
	s.dueAt(tx, k.NextRotation)
	if err := saveKey(tx, k); err != nil {
		return kmsKey{}, err
	}
	a := kmsAlias{Name: alias, KeyID: k.ID, Created: now, Updated: now}
	return k, save(tx, boltKMSAliases, storeKey(account, region, alias), a)
}

// related answers with the other keys of the same multi-Region key.
func related(tx *bolt.Tx, k kmsKey) (out []kmsKey, err error) {
	if !k.multiRegion() {
		return nil, nil
	}
	prefix, suffix := []byte(k.Account+"/"), []byte("/"+k.ID)
	c := tx.Bucket(boltKMSKeys).Cursor()
	for key, _ := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, _ = c.Next() {
		if !bytes.HasSuffix(key, suffix) || string(key) == k.storeKey() {
			continue
		}
		other, _, err := load[kmsKey](tx, boltKMSKeys, string(key))
		if err != nil {
			return nil, err
		}
		out = append(out, other)
	}
	return out, nil
}

// sweepKeys erases the keys whose waiting period is over, rotates what is due,
// and finds out when something comes due next.
func (s *Server) sweepKeys(tx *bolt.Tx, now time.Time) error {
	s.kms.due.Store(nothingDue)
	var keys []kmsKey
	err := each(tx, boltKMSKeys, "", func(_ string, k kmsKey) error {
		keys = append(keys, k)
		return nil
	})
	if err != nil {
		return err
	}
	// Replicas go first: their primary waits for them.
	slices.SortStableFunc(keys, func(a, b kmsKey) int {
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
		shared := storeKey(k.Account, k.ID)
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
			if err := eraseKey(tx, k); err != nil {
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

func (k kmsKey) replica() bool { return k.multiRegion() && !k.primary() }

// eraseKey removes the key and its aliases for good.
func eraseKey(tx *bolt.Tx, k kmsKey) error {
	aliases, err := aliasesOf(tx, k)
	if err != nil {
		return err
	}
	for _, a := range aliases {
		if err := remove(tx, boltKMSAliases, storeKey(k.Account, k.Region, a.Name)); err != nil {
			return err
		}
	}
	return remove(tx, boltKMSKeys, k.storeKey())
}

func aliasesOf(tx *bolt.Tx, k kmsKey) (out []kmsAlias, err error) {
	return out, each(tx, boltKMSAliases, storeKey(k.Account, k.Region, ""), func(_ string, a kmsAlias) error {
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

// cut answers with the page of all that the caller asked for. all is in the
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
