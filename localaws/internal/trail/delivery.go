package trail

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto"
	"crypto/md5" //nolint:gosec // CloudTrail's fingerprint of a public key
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Log files and digest files.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html

const (
	logFolder    = "CloudTrail"
	digestFolder = "CloudTrail-Digest"
	// maxLogFile is the most events in one log file.
	maxLogFile = 5000

	principal = "cloudtrail.amazonaws.com"
	signing   = "SHA256withRSA"
)

// Delivery is one file for a trail's bucket.
type Delivery struct {
	Who         wire.Identity
	Now         time.Time
	Bucket, Key string
	Body        []byte
	Metadata    map[string]string
	// SSES3 asks for SSE-S3, KMSKeyARN and Context for SSE-KMS.
	SSES3     bool
	KMSKeyARN string
	Context   map[string]string
}

// Store is what trails need of S3.
type Store interface {
	// BucketRegion is the Region of a bucket; false if there is no such bucket.
	BucketRegion(bucket string) (string, bool)
	// ResolveKey is the ARN and the state of the KMS key that an account means.
	ResolveKey(account, region, keyID string) (arn, state string, err error)
	// CheckDelivery is why a delivery would be refused, by the bucket or by the
	// key; nothing is written.
	CheckDelivery(d Delivery) (bucket, key error)
	Deliver(d Delivery) error
}

// SetStore sets where trails deliver to. It must be called before any request.
func (s *Service) SetStore(store Store) { s.store = store }

// lane is the account and the Region of the events in a file: each has its own log
// files, and its own chain of digests.
type lane struct{ account, region string }

// home is the lane of the trail's own account and Region.
func (t trailConfig) home() lane { return lane{t.Account, t.Region} }

// key is the lane of a trail in the database.
func (l lane) key(t trailConfig) string { return store.Key(t.ID, l.account, l.region) }

// folder is where the files of a lane are, with a slash at its end.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/creating-trail-organization.html
func (t trailConfig) folder(kind string, l lane) string {
	return path.Join(t.Prefix, "AWSLogs", t.Organization, l.account, kind, l.region) + "/"
}

func (t trailConfig) delivery(kind, key string, body []byte, now time.Time) Delivery {
	d := Delivery{
		Who: wire.Identity{Service: &wire.ServicePrincipal{Name: principal, SourceARN: t.arn(), SourceAccount: t.Account}},
		Now: now, Bucket: t.S3Bucket, Key: key, Body: body,
	}
	// CloudTrail names SSE-S3 also where the trail has no key: its records of
	// deliveries have x-amz-server-side-encryption: AES256.
	if kind == digestFolder || t.KMSKeyARN == "" {
		d.SSES3 = true
	} else {
		d.KMSKeyARN, d.Context = t.KMSKeyARN, map[string]string{"aws:cloudtrail:arn": t.arn()}
	}
	return d
}

func (t trailConfig) regions() []string {
	if t.MultiRegion {
		return wire.RegionsEnabled
	}
	return []string{t.Region}
}

// Deliver delivers the digests that are due, and what is recorded.
func (s *Service) Deliver(now time.Time) error {
	s.delivering.Lock()
	defer s.delivering.Unlock()
	now = now.UTC()
	deleted, err := s.deletedTrails()
	if err != nil {
		return err
	}
	for _, t := range slices.Concat(*s.trails.Load(), deleted) {
		lanes, err := s.lanes(t, now)
		if err != nil {
			return err
		}
		for _, l := range lanes {
			err := s.deliverDigests(t, l, now)
			if err := s.noteDelivery(t, digestFolder, now, err); err != nil {
				return err
			}
			delivered, err := s.deliverLogs(t, l, now)
			if !delivered && err == nil {
				continue
			}
			if err := s.noteDelivery(t, logFolder, now, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// lanes are the accounts and Regions for which a trail may have something to deliver.
// An account that has joined the trail's organization gets its chains of digests first.
func (s *Service) lanes(t trailConfig, now time.Time) (lanes []lane, err error) {
	joined := false
	find := func(tx *bolt.Tx) error {
		seen := map[lane]bool{}
		for _, bucket := range [][]byte{DigestBucket, PendingBucket} {
			c := tx.Bucket(bucket).Cursor()
			for k, _ := c.Seek([]byte(t.ID + "/")); strings.HasPrefix(string(k), t.ID+"/"); {
				part := strings.Split(string(k), "/")
				l := lane{part[1], part[2]}
				if !seen[l] {
					seen[l] = true
					lanes = append(lanes, l)
				}
				k, _ = c.Seek([]byte(l.key(t) + "0")) // behind all keys of the lane: 0 follows the slash
			}
		}
		return nil
	}
	err = s.db.View(func(tx *bolt.Tx) error {
		joined = t.Logging && t.Validation && slices.ContainsFunc(s.accounts(t), func(account string) bool {
			return tx.Bucket(DigestBucket).Get([]byte(lane{account, t.Region}.key(t))) == nil
		})
		return find(tx)
	})
	if err != nil || !joined {
		return lanes, err
	}
	lanes = nil
	return lanes, s.db.Update(func(tx *bolt.Tx) error {
		if err := s.startChains(tx, t, now); err != nil {
			return err
		}
		return find(tx)
	})
}

// deletedTrails are the deleted trails with something left to deliver: their last
// log files, and the digest of these. Those without are forgotten.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
func (s *Service) deletedTrails() (left []trailConfig, err error) {
	var done []trailConfig
	err = s.db.View(func(tx *bolt.Tx) error {
		return store.Each(tx, DeletedBucket, "", func(_ string, t trailConfig) error {
			if hasAny(tx, PendingBucket, t.ID+"/") || hasAny(tx, DigestBucket, t.ID+"/") {
				left = append(left, t)
			} else {
				done = append(done, t)
			}
			return nil
		})
	})
	if err != nil || len(done) == 0 {
		return left, err
	}
	return left, s.db.Update(func(tx *bolt.Tx) error {
		for _, t := range done {
			if err := forget(tx, t); err != nil {
				return err
			}
		}
		return nil
	})
}

// forget removes what is left of a deleted trail.
func forget(tx *bolt.Tx, t trailConfig) error {
	return errors.Join(removeAll(tx, PendingBucket, t.ID+"/"), removeAll(tx, DigestBucket, t.ID+"/"), store.Remove(tx, DeletedBucket, t.ID))
}

// hasAny reports whether a bucket has a record whose key begins with prefix.
func hasAny(tx *bolt.Tx, bucket []byte, prefix string) bool {
	first, _ := tx.Bucket(bucket).Cursor().Seek([]byte(prefix))
	return strings.HasPrefix(string(first), prefix)
}

// noteDelivery keeps the outcome of an attempt for GetTrailStatus. It returns
// errors that are localaws's own. A deleted trail has one attempt.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
func (s *Service) noteDelivery(t trailConfig, kind string, now time.Time, outcome error) error {
	code := ""
	if outcome != nil {
		var refused *wire.Error
		if !errors.As(outcome, &refused) {
			return fmt.Errorf("localaws: delivering for the trail %s: %w", t.arn(), outcome)
		}
		code = refused.Code
	}
	if kind == digestFolder && code == t.LastDigestError && t.Deleted.IsZero() {
		return nil
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		current, ok, err := store.Load[trailConfig](tx, TrailBucket, t.storeKey())
		switch deleted := !ok || current.ID != t.ID; {
		case err != nil:
			return err
		case deleted && code != "": // CloudTrail tries again for trails that exist
			return forget(tx, t)
		case deleted:
			return nil
		}
		if kind == digestFolder {
			current.LastDigestError = code
		} else {
			current.LastError, current.Attempted = code, now
			if code == "" {
				current.Delivered, current.Succeeded = now, now
			}
		}
		if err := store.Save(tx, TrailBucket, t.storeKey(), current); err != nil {
			return err
		}
		return s.loadTrails(tx)
	})
}

// chain is the state of the digests of one lane of a trail.
type chain struct {
	From     time.Time // what the next digest covers begins here
	Files    []deliveredLog
	Previous *signedDigest // nil for the first of a chain
}

type signedDigest struct{ Bucket, Key, Hash, Signature string }

// deliveredLog is a log file as a digest lists it.
type deliveredLog struct {
	S3Bucket        string    `json:"s3Bucket"`
	S3Object        string    `json:"s3Object"`
	HashValue       string    `json:"hashValue"`
	HashAlgorithm   string    `json:"hashAlgorithm"`
	NewestEventTime time.Time `json:"newestEventTime"`
	OldestEventTime time.Time `json:"oldestEventTime"`
}

// digestFile is a digest file.
type digestFile struct {
	AWSAccountID                string         `json:"awsAccountId"`
	DigestStartTime             time.Time      `json:"digestStartTime"`
	DigestEndTime               time.Time      `json:"digestEndTime"`
	DigestS3Bucket              string         `json:"digestS3Bucket"`
	DigestS3Object              string         `json:"digestS3Object"`
	DigestPublicKeyFingerprint  string         `json:"digestPublicKeyFingerprint"`
	DigestSignatureAlgorithm    string         `json:"digestSignatureAlgorithm"`
	NewestEventTime             *time.Time     `json:"newestEventTime"`
	OldestEventTime             *time.Time     `json:"oldestEventTime"`
	PreviousDigestS3Bucket      *string        `json:"previousDigestS3Bucket"`
	PreviousDigestS3Object      *string        `json:"previousDigestS3Object"`
	PreviousDigestHashValue     *string        `json:"previousDigestHashValue"`
	PreviousDigestHashAlgorithm *string        `json:"previousDigestHashAlgorithm"`
	PreviousDigestSignature     *string        `json:"previousDigestSignature"`
	LogFiles                    []deliveredLog `json:"logFiles"`
}

// startChains begins a chain of digests in every lane of the trail that has none.
func (s *Service) startChains(tx *bolt.Tx, t trailConfig, now time.Time) error {
	if _, err := signerOf(tx, t.Region, now); err != nil {
		return err
	}
	for _, account := range s.accounts(t) {
		for _, region := range t.regions() {
			at := lane{account, region}.key(t)
			if tx.Bucket(DigestBucket).Get([]byte(at)) != nil {
				continue
			}
			if err := store.Save(tx, DigestBucket, at, chain{From: now.UTC().Truncate(time.Second)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// errChainEnded is met if UpdateTrail has ended the validation of the log files
// meanwhile.
var errChainEnded = errors.New("the chain of digests has ended")

// deliverDigests delivers every digest that is due: one for each period, and the
// last one of a trail that has stopped, once its log files are delivered. For an account
// that has left the organization the trail has stopped; of the last digest there, [U].
func (s *Service) deliverDigests(t trailConfig, l lane, now time.Time) error {
	at := l.key(t)
	stopped := !t.Logging || !t.covers(s.organization.Load(), l.account, l.region)
	for {
		var c chain
		var key signer
		ok, pending := false, false
		err := s.db.View(func(tx *bolt.Tx) (err error) {
			if c, ok, err = store.Load[chain](tx, DigestBucket, at); err != nil || !ok {
				return err
			}
			pending = hasAny(tx, PendingBucket, at+"/")
			key, _, err = store.Load[signer](tx, SignerBucket, t.Region)
			return err
		})
		if err != nil || !ok {
			return err
		}
		end, last := c.From.Add(s.digests), false
		if stopped && end.After(t.Stopped) {
			if pending {
				return nil
			}
			end, last = now.Truncate(time.Second), true
		}
		if end.After(now) || !end.After(c.From) {
			return nil
		}
		signed, err := s.deliverDigest(t, l, c, end, key, now)
		if err != nil {
			return err
		}
		err = s.db.Update(func(tx *bolt.Tx) error {
			if last {
				return store.Remove(tx, DigestBucket, at)
			}
			if tx.Bucket(DigestBucket).Get([]byte(at)) == nil {
				return errChainEnded
			}
			current, ok, err := store.Load[trailConfig](tx, TrailBucket, t.storeKey())
			if err != nil {
				return err
			}
			if ok && current.ID == t.ID { // not deleted
				current.DigestDelivered = now
				if err := store.Save(tx, TrailBucket, t.storeKey(), current); err != nil {
					return err
				}
			}
			return store.Save(tx, DigestBucket, at, chain{From: end, Previous: &signed})
		})
		if errors.Is(err, errChainEnded) {
			return nil
		}
		if err != nil || last {
			return err
		}
	}
}

func (s *Service) deliverDigest(t trailConfig, l lane, c chain, end time.Time, key signer, now time.Time) (signedDigest, error) {
	private, err := x509.ParsePKCS1PrivateKey(key.Private)
	if err != nil {
		return signedDigest{}, fmt.Errorf("the signing key of %s: %w", t.Region, err)
	}
	name := fmt.Sprintf("%s_%s_%s_%s_%s_%s.json.gz", l.account, digestFolder, l.region, t.Name, t.Region, end.Format("20060102T150405Z"))
	d := digestFile{
		AWSAccountID: l.account, DigestStartTime: c.From, DigestEndTime: end, DigestS3Bucket: t.S3Bucket,
		DigestS3Object:             t.folder(digestFolder, l) + end.Format("2006/01/02/") + name,
		DigestPublicKeyFingerprint: key.Fingerprint, DigestSignatureAlgorithm: signing, LogFiles: c.Files,
	}
	if d.LogFiles == nil {
		d.LogFiles = []deliveredLog{}
	}
	for _, f := range c.Files {
		if d.OldestEventTime == nil || f.OldestEventTime.Before(*d.OldestEventTime) {
			d.OldestEventTime = &f.OldestEventTime
		}
		if d.NewestEventTime == nil || f.NewestEventTime.After(*d.NewestEventTime) {
			d.NewestEventTime = &f.NewestEventTime
		}
	}
	previous := "null"
	if p := c.Previous; p != nil {
		algorithm := "SHA-256"
		d.PreviousDigestS3Bucket, d.PreviousDigestS3Object, d.PreviousDigestHashValue = &p.Bucket, &p.Key, &p.Hash
		d.PreviousDigestHashAlgorithm, d.PreviousDigestSignature = &algorithm, &p.Signature
		previous = p.Signature
	}
	body, err := json.Marshal(d)
	if err != nil {
		return signedDigest{}, err
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	toSign := sha256.Sum256([]byte(strings.Join([]string{end.Format(time.RFC3339), d.DigestS3Bucket + "/" + d.DigestS3Object, hash, previous}, "\n")))
	signature, err := rsa.SignPKCS1v15(nil, private, crypto.SHA256, toSign[:])
	if err != nil {
		return signedDigest{}, err
	}
	out := t.delivery(digestFolder, d.DigestS3Object, zip(body), now)
	out.Metadata = map[string]string{"Signature": hex.EncodeToString(signature), "Signature-Algorithm": signing}
	return signedDigest{t.S3Bucket, d.DigestS3Object, hash, hex.EncodeToString(signature)}, s.store.Deliver(out)
}

// deliverLogs delivers what is recorded for one lane, and reports whether
// there was anything. Events leave the queue in the transaction that notes their
// file for the digest; a kill in between delivers them twice, as CloudTrail may.
func (s *Service) deliverLogs(t trailConfig, l lane, now time.Time) (delivered bool, err error) {
	for {
		var keys [][]byte
		var body bytes.Buffer
		var oldest, newest time.Time
		body.WriteString(`{"Records":[`)
		err := s.db.View(func(tx *bolt.Tx) error {
			prefix := l.key(t) + "/"
			c := tx.Bucket(PendingBucket).Cursor()
			for k, v := c.Seek([]byte(prefix)); strings.HasPrefix(string(k), prefix) && len(keys) < maxLogFile; k, v = c.Next() {
				var event struct{ EventTime time.Time }
				if err := json.Unmarshal(v, &event); err != nil {
					return fmt.Errorf("damaged event %s: %w", k, err)
				}
				if len(keys) > 0 {
					body.WriteByte(',')
				}
				body.Write(v)
				keys = append(keys, bytes.Clone(k))
				if oldest.IsZero() || event.EventTime.Before(oldest) {
					oldest = event.EventTime
				}
				if event.EventTime.After(newest) {
					newest = event.EventTime
				}
			}
			return nil
		})
		if err != nil || len(keys) == 0 {
			return delivered, err
		}
		body.WriteString(`]}`)
		sum := sha256.Sum256(body.Bytes())
		name := fmt.Sprintf("%s_%s_%s_%s_%s.json.gz", l.account, logFolder, l.region, now.Format("20060102T1504Z"), rand.Text()[:16])
		file := deliveredLog{t.S3Bucket, t.folder(logFolder, l) + now.Format("2006/01/02/") + name, hex.EncodeToString(sum[:]), "SHA-256", newest, oldest}
		if err := s.store.Deliver(t.delivery(logFolder, file.S3Object, zip(body.Bytes()), now)); err != nil {
			return delivered, err
		}
		delivered = true
		err = s.db.Update(func(tx *bolt.Tx) error {
			for _, k := range keys {
				if err := tx.Bucket(PendingBucket).Delete(k); err != nil {
					return err
				}
			}
			at := l.key(t)
			c, ok, err := store.Load[chain](tx, DigestBucket, at)
			if err != nil || !ok {
				return err
			}
			c.Files = append(c.Files, file)
			return store.Save(tx, DigestBucket, at, c)
		})
		if err != nil {
			return delivered, err
		}
	}
}

func zip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b) // a bytes.Buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

// signer is the key pair that signs the digests of a Region's trails.
type signer struct {
	Private     []byte // PKCS #1
	Public      []byte // PKCS #1
	Fingerprint string
	From        time.Time
}

// signerOf is the Region's signer, made at its first use.
func signerOf(tx *bolt.Tx, region string, now time.Time) (signer, error) {
	k, ok, err := store.Load[signer](tx, SignerBucket, region)
	if err != nil || ok {
		return k, err
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return k, err
	}
	public := x509.MarshalPKCS1PublicKey(&private.PublicKey)
	sum := md5.Sum(public) //nolint:gosec // CloudTrail's fingerprint has 32 hexadecimal digits
	k = signer{x509.MarshalPKCS1PrivateKey(private), public, hex.EncodeToString(sum[:]), now.UTC().Truncate(24 * time.Hour)}
	return k, store.Save(tx, SignerBucket, region, k)
}

type listPublicKeysInput struct {
	StartTime *float64
	EndTime   *float64
	NextToken string
}

// keyValidity is how long a signer's public key is listed for.
const keyValidity = 10 * 365 * 24 * time.Hour

func listPublicKeys(tx *bolt.Tx, r *wire.Request, in listPublicKeysInput) (any, error) {
	if in.NextToken != "" {
		return nil, wire.Errf(http.StatusBadRequest, "InvalidTokenException", "The token is not valid.")
	}
	from, to := 0.0, float64(r.Now.Unix())
	from, to = *cmp.Or(in.StartTime, &from), *cmp.Or(in.EndTime, &to)
	if from > to {
		return nil, wire.Errf(http.StatusBadRequest, "InvalidTimeRangeException", "The start time is after the end time.")
	}
	list := []any{}
	k, ok, err := store.Load[signer](tx, SignerBucket, r.Region)
	if ok && float64(k.From.Unix()) <= to && from <= float64(k.From.Add(keyValidity).Unix()) {
		list = append(list, map[string]any{"Value": k.Public, "Fingerprint": k.Fingerprint,
			"ValidityStartTime": k.From.Unix(), "ValidityEndTime": k.From.Add(keyValidity).Unix()})
	}
	return map[string]any{"PublicKeyList": list}, err
}
