package s3

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/kms"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

const (
	sseS3  = "AES256"
	sseKMS = "aws:kms"

	// s3ManagedKey is the AWS managed key of S3, which the header aws:kms
	// without a key id means.
	// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
	s3ManagedKey = "alias/aws/s3"

	headerSSE          = "X-Amz-Server-Side-Encryption"
	headerSSEKey       = "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
	headerSSEContext   = "X-Amz-Server-Side-Encryption-Context"
	headerSSEBucketKey = "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled"
)

// sseChoice is how an object is to be encrypted.
type sseChoice struct {
	algorithm string
	keyID     string // as typed, in the header or in the bucket's default
	bucketKey bool
	context   map[string]string // the caller's part of the encryption context
	customer  []byte            // the customer's key, of SSE-C
}

// chooseEncryption is the request's headers, else the bucket's default, which
// for a bucket that was told nothing is SSE-S3.
func (c *call) chooseEncryption() (sseChoice, error) {
	if c.hasCustomerKey(customerPrefix) {
		return c.chooseCustomerKey()
	}
	ch := sseChoice{algorithm: c.header(headerSSE), keyID: c.header(headerSSEKey)}
	if ch.keyID != "" && ch.algorithm != sseKMS {
		return ch, errInvalidArgument(strings.ToLower(headerSSE), ch.algorithm, "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms")
	}
	def := c.b.Encryption
	switch ch.algorithm {
	case "":
		ch.algorithm, ch.keyID, ch.bucketKey = def.Algorithm, def.KeyID, def.BucketKey
	case sseS3:
	case sseKMS:
		ch.bucketKey = def.BucketKey
	case "aws:kms:dsse", "aws:fsx":
		return ch, wire.Errf(http.StatusNotImplemented, "NotImplemented", "localaws does not implement the server-side encryption %s.", ch.algorithm)
	default:
		return ch, wire.Errf(http.StatusBadRequest, "InvalidEncryptionAlgorithmError", "The Encryption request you specified is not valid. Supported value: AES256.")
	}
	switch v := strings.ToLower(c.header(headerSSEBucketKey)); v {
	case "":
	case "true", "false":
		ch.bucketKey = v == "true"
	default:
		return ch, errInvalidArgument(strings.ToLower(headerSSEBucketKey), v, "The value specified for the x-amz-server-side-encryption-bucket-key-enabled header is invalid.")
	}
	if ch.algorithm == sseS3 {
		switch {
		case c.hasHeader(headerSSEContext):
			return ch, wire.NotImplemented("s3", "an encryption context without SSE-KMS")
		case ch.bucketKey && c.hasHeader(headerSSEBucketKey):
			return ch, wire.NotImplemented("s3", "an S3 Bucket Key without SSE-KMS")
		}
		return sseChoice{algorithm: sseS3}, nil
	}
	if ch.keyID == "" {
		ch.keyID = s3ManagedKey
	}
	if v := c.header(headerSSEContext); v != "" {
		b, err := base64.StdEncoding.DecodeString(v)
		if err != nil || json.Unmarshal(b, &ch.context) != nil {
			return ch, errInvalidArgument(strings.ToLower(headerSSEContext), v, "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map")
		}
	}
	return ch, nil
}

// checkKMSTransport refuses what S3 refuses for objects under KMS: anonymous
// callers and plain HTTP.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
func (c *call) checkKMSTransport() error {
	switch {
	case !c.Signed:
		return errInvalidArgument("Authorization", "null", "Requests specifying Server Side Encryption with AWS KMS managed keys require AWS Signature Version 4.")
	case !c.Secure:
		return wire.Errf(http.StatusBadRequest, "InvalidArgument", "Requests specifying Server Side Encryption with AWS KMS managed keys must be made over a secure connection.")
	}
	return nil
}

func (c *call) kmsUse(region string, context map[string]string) kms.Use {
	return kms.Use{Request: c.Request, Region: region, Via: "s3", Context: context}
}

// newObjectKey gets a data key for the object key in c's bucket.
func (c *call) newObjectKey(ch sseChoice, key string) (objectKey, error) {
	context := map[string]string{"aws:s3:arn": objectARN(c.bucket, key)}
	if ch.algorithm == sseC {
		salt, mac := saltedHMAC(ch.customer)
		return objectKey{EnvelopeHeader{Algorithm: sseC, CustomerKeySalt: salt, CustomerKeyHMAC: mac, EncryptionContext: context}, ch.customer}, nil
	}
	if ch.algorithm == sseS3 {
		plain := make([]byte, 32)
		_, _ = rand.Read(plain) // never fails: see crypto/rand.Read
		wrapped, err := c.b.wrap(plain, context["aws:s3:arn"])
		return objectKey{EnvelopeHeader{Algorithm: sseS3, WrappedKey: wrapped, EncryptionContext: context}, plain}, err
	}
	if err := c.checkKMSTransport(); err != nil {
		return objectKey{}, err
	}
	generate := func(context map[string]string) (objectKey, error) {
		k, e := c.s.keys.GenerateDataKey(c.kmsUse(c.b.Region, context), ch.keyID)
		if e != nil {
			return objectKey{}, s3KMSError(e)
		}
		return objectKey{EnvelopeHeader{Algorithm: sseKMS, KMSKeyARN: k.KeyARN, BucketKey: ch.bucketKey,
			WrappedKey: k.Ciphertext, EncryptionContext: context}, k.Plaintext}, nil
	}
	if ch.bucketKey {
		context["aws:s3:arn"] = bucketARN(c.bucket)
	}
	for k, v := range ch.context {
		if own, ok := context[k]; ok && own != v {
			return objectKey{}, wire.NotImplemented("s3", "an encryption context with another "+k+" than S3's own")
		}
		context[k] = v
	}
	if !ch.bucketKey {
		return generate(context)
	}
	// The key is found by its ARN, not by what was typed: an alias may move.
	arn := ""
	err := c.s.db.View(func(tx *bolt.Tx) error {
		a, _, e := c.s.keys.ResolveKey(tx, c.Who.Account, c.b.Region, ch.keyID)
		if e != nil {
			return e
		}
		arn = a
		return nil
	})
	if err != nil { // let KMS say so, so that it is recorded
		return generate(context)
	}
	id := strings.Join(append([]string{"new", c.b.ID, c.Who.ARN, arn}, flatten(context)...), "\x00")
	return c.s.bucketKeys.get(id, c.Now, func() (objectKey, error) { return generate(context) })
}

// wrapNewKey makes a data key that KMS only wraps, in the encryption context of the
// object or the bucket with an ARN.
func (c *call) wrapNewKey(keyID, arn string, bucketKey bool) (objectKey, error) {
	plain := make([]byte, 32)
	_, _ = rand.Read(plain) // never fails: see crypto/rand.Read
	context := map[string]string{"aws:s3:arn": arn}
	d, e := c.s.keys.EncryptDataKey(c.kmsUse(c.b.Region, context), keyID, plain)
	if e != nil {
		return objectKey{}, s3KMSError(e)
	}
	return objectKey{EnvelopeHeader{Algorithm: sseKMS, KMSKeyARN: d.KeyARN, BucketKey: bucketKey, WrappedKey: d.Ciphertext, EncryptionContext: context}, d.Plaintext}, nil
}

// unwrapObjectKey gets the data key of a stored object or upload back.
func (c *call) unwrapObjectKey(b *bucketRecord, h EnvelopeHeader) (objectKey, error) {
	if h.Algorithm == sseC {
		key, err := c.storedCustomerKey(h.CustomerKeySalt, h.CustomerKeyHMAC)
		return objectKey{h, key}, err
	}
	if h.Algorithm == sseS3 {
		plain, err := b.unwrap(h.WrappedKey, h.EncryptionContext["aws:s3:arn"])
		return objectKey{h, plain}, err
	}
	if err := c.checkKMSTransport(); err != nil {
		return objectKey{}, err
	}
	decrypt := func() (objectKey, error) {
		plain, e := c.s.keys.DecryptDataKey(c.kmsUse(b.Region, h.EncryptionContext), h.WrappedKey)
		if e != nil {
			return objectKey{}, s3KMSError(e)
		}
		return objectKey{h, plain}, nil
	}
	if !h.BucketKey {
		return decrypt()
	}
	sum := sha256.Sum256(h.WrappedKey)
	id := strings.Join([]string{"old", b.ID, c.Who.ARN, hex.EncodeToString(sum[:])}, "\x00")
	k, err := c.s.bucketKeys.get(id, c.Now, decrypt)
	return objectKey{h, k.plaintext}, err
}

// flatten makes a list of a map that is the same for the same map.
func flatten(m map[string]string) (list []string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, k, m[k])
	}
	return list
}

// s3KMSError is KMS's refusal as S3 passes it on: KMS.DisabledException and
// the like, or a plain AccessDenied.
func s3KMSError(e *wire.Error) *wire.Error {
	switch {
	case e.Code == "AccessDeniedException":
		return wire.Errf(http.StatusForbidden, "AccessDenied", "%s", e.Message)
	case e.Status >= http.StatusInternalServerError:
		return wire.Errf(e.Status, "InternalError", "%s", e.Message)
	}
	return wire.Errf(http.StatusBadRequest, "KMS."+e.Code, "%s", e.Message)
}

// bucketKeyLife is how long a bucket-level key serves one principal. AWS calls
// it "a time-limited period" and says no more.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html
const bucketKeyLife = 5 * time.Minute

// bucketKeyCache has the bucket-level keys of S3 Bucket Keys, each for one
// principal. While one lives in it KMS is not asked, so a key that was
// disabled is not felt at once: as in AWS.
type bucketKeyCache struct {
	mu   sync.Mutex
	keys map[string]*bucketKey
}

type bucketKey struct {
	mu    sync.Mutex // held while KMS is asked: callers at the same moment ask once
	key   objectKey
	until time.Time
}

func (b *bucketKeyCache) get(id string, now time.Time, ask func() (objectKey, error)) (objectKey, error) {
	b.mu.Lock()
	if b.keys == nil || len(b.keys) >= 10_000 { // ids come from clients: do not keep them without end
		b.keys = map[string]*bucketKey{}
	}
	k := b.keys[id]
	if k == nil {
		k = &bucketKey{}
		b.keys[id] = k
	}
	b.mu.Unlock()

	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Before(k.until) {
		return k.key, nil
	}
	key, err := ask()
	if err != nil {
		return objectKey{}, err
	}
	k.key, k.until = key, now.Add(bucketKeyLife)
	return key, nil
}

// wrap encrypts a data key under the bucket's own key, which stands for the
// root key that S3 keeps for SSE-S3: no KMS, and no event.
func (b *bucketRecord) wrap(plain []byte, arn string) ([]byte, error) {
	aead, err := b.aead()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails: see crypto/rand.Read
	return aead.Seal(nonce, nonce, plain, []byte(arn)), nil
}

func (b *bucketRecord) unwrap(wrapped []byte, arn string) ([]byte, error) {
	aead, err := b.aead()
	if err != nil {
		return nil, err
	}
	if len(wrapped) < aead.NonceSize() {
		return nil, fmt.Errorf("%w: no wrapped data key", errDamaged)
	}
	plain, err := aead.Open(nil, wrapped[:aead.NonceSize()], wrapped[aead.NonceSize():], []byte(arn))
	if err != nil {
		return nil, fmt.Errorf("%w: its wrapped data key: %w", errDamaged, err)
	}
	return plain, nil
}

func (b *bucketRecord) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(b.Key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// sseHeaders are the headers that say how an object is encrypted. The digest of a
// customer's key is the one that the request has: it is not stored.
func (c *call) sseHeaders(o *objectRecord) map[string]string {
	if o.Algorithm == sseC {
		return map[string]string{customerPrefix + "Algorithm": sseS3, customerPrefix + "Key-Md5": c.header(customerPrefix + "Key-Md5")}
	}
	h := map[string]string{headerSSE: cmp.Or(o.Algorithm, sseS3), headerSSEKey: o.KMSKeyARN}
	if o.BucketKey {
		h[headerSSEBucketKey] = "true"
	}
	return h
}
