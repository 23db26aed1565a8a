package s3

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// The records of objects are kept under bucket/key NUL number, where the number
// falls with every version that is made: the first record of a key is its
// current version, and a walk in key order is S3's own order of listing. Keys
// have no NUL (see call.answer).

// objectRecord is one version of an object, or a delete marker.
type objectRecord struct {
	Key          string
	VersionID    string // "null" where it was made while versioning was not on
	DeleteMarker bool   `json:",omitempty"`
	Modified     time.Time

	File      string `json:",omitempty"` // under Dir/objects
	Size      int64
	ETag      string            // without its quotes
	Headers   map[string]string `json:",omitempty"` // Content-Type and the like
	Metadata  map[string]string `json:",omitempty"` // by names without x-amz-meta-
	Tags      []s3Tag           `json:",omitempty"`
	Algorithm string            `json:",omitempty"` // of the server-side encryption
	KMSKeyARN string            `json:",omitempty"`
	BucketKey bool              `json:",omitempty"`
	// Of an object under a customer's key: see saltedHMAC.
	CustomerKeySalt, CustomerKeyHMAC []byte `json:",omitempty"`

	ChecksumAlgorithm string `json:",omitempty"` // "crc32"
	Checksum          string `json:",omitempty"` // base64; with "-N" for N parts where it is composite
	Parts             []s3PartSize

	LockMode  string    `json:",omitempty"`
	LockUntil time.Time `json:",omitzero"`
	LegalHold string    `json:",omitempty"` // "ON", "OFF", or none was ever set

	ReplicationStatus string `json:",omitempty"` // see replicate.go
}

// s3PartSize is a part of an object that was uploaded in parts.
type s3PartSize struct {
	Number   int
	Size     int64
	Checksum string
}

func versionsPrefix(bucket, key string) string { return bucket + "/" + key + "\x00" }

func versionKey(bucket, key string, number uint64) string {
	return fmt.Sprintf("%s%016x", versionsPrefix(bucket, key), math.MaxUint64-number)
}

// newVersionID makes an ID that looks like S3's, 32 characters, of the version
// with a number. A listing that continues after a version that was deleted since
// finds its place by the number. The last bytes are a checksum: like S3, localaws tells
// an ID that it never gave to a version from the ID of a version that is no more.
func newVersionID(number uint64) string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails: see crypto/rand.Read
	binary.BigEndian.PutUint64(b, number)
	copy(b[20:], versionChecksum(b[:20]))
	return strings.ReplaceAll(base64.RawURLEncoding.EncodeToString(b), "-", ".")
}

func versionChecksum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b))
}

// versionBytes are what a version's ID encodes; nil if it is none.
func versionBytes(id string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(strings.ReplaceAll(id, ".", "-"))
	if err != nil || len(b) != 24 {
		return nil
	}
	return b
}

// versionNumber is the number in a version's ID; false if there is none.
func versionNumber(id string) (uint64, bool) {
	b := versionBytes(id)
	if b == nil {
		return 0, false
	}
	return binary.BigEndian.Uint64(b), true
}

// wasVersionID reports whether newVersionID made the ID. Earlier versions of localaws gave
// IDs without a checksum, which matters only once their versions are deleted.
func wasVersionID(id string) bool {
	b := versionBytes(id)
	return b != nil && bytes.Equal(b[20:], versionChecksum(b[:20]))
}

// checkVersionID refuses what cannot be the ID of a version.
func checkVersionID(parameter, id string) error {
	if _, ok := versionNumber(id); !ok && id != "" && id != "null" {
		return errInvalidArgument(parameter, id, "Invalid version id specified")
	}
	return nil
}

// errStop ends a walk early.
var errStop = errors.New("stop")

// findVersion returns one version of an object, or the current one where
// versionID is empty; it may be a delete marker.
func findVersion(tx *bolt.Tx, bucket, key, versionID string) (objectRecord, error) {
	_, o, err := findRecord(tx, bucket, key, versionID)
	return o, err
}

// findRecord is findVersion with the key of the record.
func findRecord(tx *bolt.Tx, bucket, key, versionID string) (record string, o objectRecord, err error) {
	err = store.Each(tx, ObjectBucket, versionsPrefix(bucket, key), func(k string, v objectRecord) error {
		if versionID == "" || v.VersionID == versionID {
			record, o = k, v
			return errStop
		}
		return nil
	})
	switch {
	case errors.Is(err, errStop):
		return record, o, nil
	case err != nil:
		return "", o, err
	case versionID != "" && versionID != "null" && !wasVersionID(versionID):
		// Recorded: localstack test_s3_api.snapshot.json, test_delete_object_versioned.
		return "", o, errInvalidArgument("versionId", versionID, "Invalid version id specified")
	case versionID != "":
		return "", o, errNoSuchVersion(key, versionID)
	}
	return "", o, errNoSuchKey(key)
}

// bucketIn reads the call's bucket inside a transaction. A bucket that was
// deleted since the call began is gone, even where another has its name.
func (c *call) bucketIn(tx *bolt.Tx) (*bucketRecord, error) {
	b, ok, err := store.Load[bucketRecord](tx, BucketBucket, c.bucket)
	if err != nil {
		return nil, err
	}
	if !ok || b.ID != c.b.ID {
		return nil, errNoSuchBucket(c.bucket)
	}
	return &b, nil
}

// putVersion makes o the current version of its key, and returns the file
// of the version that it replaced, if any.
func putVersion(tx *bolt.Tx, b *bucketRecord, o *objectRecord) (replaced string, err error) {
	n, err := tx.Bucket(ObjectBucket).NextSequence()
	if err != nil {
		return "", err
	}
	o.VersionID = "null"
	if b.Versioning == "Enabled" {
		o.VersionID = newVersionID(n)
	} else {
		record, old, err := findRecord(tx, b.Name, o.Key, "null")
		if err == nil {
			replaced = old.File
			err = store.Remove(tx, ObjectBucket, record)
		}
		if e, ok := asError(err); err != nil && (!ok || e.Code != "NoSuchVersion") {
			return "", err
		}
	}
	record := versionKey(b.Name, o.Key, n)
	if err := queueReplication(tx, b, record, o); err != nil {
		return "", err
	}
	return replaced, store.Save(tx, ObjectBucket, record, o)
}

// commitObject makes o the current version of its key, unless check, where there is
// one, objects; then, where there is one, writes more. The object's file is
// removed where that fails.
func (c *call) commitObject(o *objectRecord, check, then func(tx *bolt.Tx) error) error {
	replaced := ""
	err := c.update(func(tx *bolt.Tx) error {
		b, err := c.bucketIn(tx)
		if err != nil {
			return err
		}
		if err := c.checkWriteConditions(tx); err != nil {
			return err
		}
		if check != nil {
			if err := check(tx); err != nil {
				return err
			}
		}
		if replaced, err = putVersion(tx, b, o); err != nil {
			return err
		}
		c.encrypted(o)
		if then == nil {
			return nil
		}
		return then(tx)
	})
	if err != nil {
		c.s.discard(o.File)
		return err
	}
	c.s.discard(replaced)
	return nil
}

// checkWriteConditions holds If-Match and If-None-Match of a write against the
// object that is there.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
func (c *call) checkWriteConditions(tx *bolt.Tx) error {
	match, noneMatch := c.HTTP.Header.Get("If-Match"), c.HTTP.Header.Get("If-None-Match")
	if match == "" && noneMatch == "" {
		return nil
	}
	if noneMatch != "" && noneMatch != "*" {
		e := wire.Errf(http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented")
		e.Extra = map[string]string{ // recorded: localstack test_s3_api.snapshot.json, test_put_object_if_none_match_validation
			"Header": "If-None-Match", "additionalMessage": "We don't accept the provided value of If-None-Match header for this API",
		}
		return e
	}
	if noneMatch != "" {
		err := checkMatch(tx, c.bucket, c.key, "*")
		if err == nil {
			return errPrecondition("If-None-Match")
		}
		if e, ok := asError(err); !ok || e.Code != "NoSuchKey" {
			return err
		}
	}
	if match == "" {
		return nil
	}
	return checkMatch(tx, c.bucket, c.key, match)
}

// checkMatch refuses a request whose If-Match does not match the current version
// of the object.
func checkMatch(tx *bolt.Tx, bucket, key, match string) error {
	o, err := findVersion(tx, bucket, key, "")
	switch {
	case err != nil:
		return err
	case o.DeleteMarker:
		return errNoSuchKey(key)
	case !matchesETag(match, o.ETag):
		return errPrecondition("If-Match")
	}
	return nil
}

// authorizeMatch asks for the permission to read that a deletion on condition of
// an ETag needs.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
func (c *call) authorizeMatch(match, key string) error {
	if match == "" || match == "*" {
		return nil
	}
	return c.authorize("s3:GetObject", objectARN(c.bucket, key))
}

func errPrecondition(condition string) *wire.Error {
	e := wire.Errf(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	e.Extra = map[string]string{"Condition": condition}
	return e
}

// matchesETag reports whether a list of quoted or bare ETags has etag.
func matchesETag(list, etag string) bool {
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if one == "*" || strings.Trim(one, `"`) == etag {
			return true
		}
	}
	return false
}

// The headers that S3 stores with an object and gives back.
var storedHeaders = []string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Expires", "X-Amz-Website-Redirect-Location", "X-Amz-Storage-Class"}

var storageClasses = []string{"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE", "GLACIER_IR"}

// describe reads what a request says of the object that it writes.
func (c *call) describe(o *objectRecord) error {
	o.Headers, o.Metadata = map[string]string{}, map[string]string{}
	for _, name := range storedHeaders {
		if v := c.header(name); v != "" {
			o.Headers[name] = v
		}
	}
	// aws-chunked is how a body travels that is framed so, and not what it is. Of any other
	// body S3 keeps it (seen on AWS by OpenStack Swift: test/s3api, test_input_errors.py).
	if strings.HasPrefix(c.header("X-Amz-Content-Sha256"), "STREAMING-") {
		codings := strings.Split(o.Headers["Content-Encoding"], ",")
		codings = slices.DeleteFunc(codings, func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), "aws-chunked") })
		if o.Headers["Content-Encoding"] = strings.TrimSpace(strings.Join(codings, ",")); o.Headers["Content-Encoding"] == "" {
			delete(o.Headers, "Content-Encoding")
		}
	}
	if o.Headers["Content-Type"] == "" {
		o.Headers["Content-Type"] = "binary/octet-stream"
	}
	switch class := o.Headers["X-Amz-Storage-Class"]; {
	case class == "STANDARD":
		delete(o.Headers, "X-Amz-Storage-Class")
	case class != "" && !slices.Contains(storageClasses, class):
		e := wire.Errf(http.StatusBadRequest, "InvalidStorageClass", "The storage class you specified is not valid")
		e.Extra = map[string]string{"StorageClassRequested": class} // recorded: localstack test_s3.snapshot.json, test_post_object_with_storage_class
		return e
	}
	size := 0
	headers := c.HTTP.Header
	if c.isPresigned() { // see call.header
		headers = maps.Clone(headers)
		for name, values := range c.query {
			headers[http.CanonicalHeaderKey(name)] = values
		}
	}
	for name, values := range headers {
		if meta, ok := strings.CutPrefix(strings.ToLower(name), "x-amz-meta-"); ok {
			value := strings.Join(values, ",")
			if !isPlain(value) {
				return wire.NotImplemented("s3", "object metadata that S3 decodes and encodes (RFC 2047)")
			}
			o.Metadata[meta] = value
			size += len(meta) + len(value)
		}
	}
	if size > 2<<10 {
		return wire.Errf(http.StatusBadRequest, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size")
	}
	return nil
}

// isPlain reports whether S3 returns a value of an object's metadata as it came: in
// ASCII, and without an encoded word. It decodes others as RFC 2047 says before it
// stores them, and encodes them before it returns them.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
func isPlain(value string) bool {
	return !strings.Contains(value, "=?") && strings.IndexFunc(value, func(r rune) bool { return r > unicode.MaxASCII }) < 0
}

// describeAccess reads tags, ACL and lock of the object that a request writes.
// Each needs a permission of its own.
func (c *call) describeAccess(o *objectRecord) error {
	if v := c.header("X-Amz-Tagging"); v != "" {
		// Recorded: localstack test_s3_api.snapshot.json, test_object_tagging_exc.
		tags, err := url.ParseQuery(v)
		twice := func(values []string) bool { return len(values) > 1 }
		if err != nil || strings.Contains(v, ",") || slices.ContainsFunc(slices.Collect(maps.Values(tags)), twice) {
			return errInvalidArgument("x-amz-tagging", v, "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
		}
		for _, k := range slices.Sorted(maps.Keys(tags)) {
			o.Tags = append(o.Tags, s3Tag{k, tags.Get(k)})
		}
		if err := checkObjectTags(o.Tags); err != nil {
			return err
		}
		if err := c.authorize("s3:PutObjectTagging", c.arn()); err != nil {
			return err
		}
	}
	if err := c.describeACL(); err != nil {
		return err
	}
	return c.describeLock(o)
}

func (c *call) describeLock(o *objectRecord) error {
	mode, until, hold := c.header("X-Amz-Object-Lock-Mode"), c.header("X-Amz-Object-Lock-Retain-Until-Date"), c.header("X-Amz-Object-Lock-Legal-Hold")
	if mode == "" && until == "" && hold == "" {
		if r := c.b.Retention; r != nil {
			o.LockMode, o.LockUntil = r.Mode, c.Now.UTC().AddDate(r.Years, 0, r.Days)
		}
		return nil
	}
	if !c.b.ObjectLock {
		return errNoLock()
	}
	if (mode == "") != (until == "") {
		return errInvalidArgument("x-amz-object-lock-mode", mode, "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
	}
	if mode != "" {
		at, err := time.Parse(time.RFC3339, until)
		if err := checkRetention(mode, at, err, c.Now); err != nil {
			return err
		}
		o.LockMode, o.LockUntil = mode, at
		if err := c.authorize("s3:PutObjectRetention", c.arn()); err != nil {
			return err
		}
	}
	switch hold {
	case "":
		return nil
	case "ON", "OFF":
		o.LegalHold = hold
		return c.authorize("s3:PutObjectLegalHold", c.arn())
	}
	return errInvalidArgument("x-amz-object-lock-legal-hold", hold, "Legal Hold must be either of 'ON' or 'OFF'")
}

func errNoLock() *wire.Error {
	return errInvalidRequest("Bucket is missing Object Lock Configuration")
}

func checkRetention(mode string, until time.Time, parse error, now time.Time) error {
	switch {
	case !validLockMode(mode):
		return errInvalidArgument("x-amz-object-lock-mode", mode, "Unknown wormMode directive.")
	case parse != nil:
		return errInvalidArgument("x-amz-object-lock-retain-until-date", "", "The retain until date must be provided in ISO 8601 format")
	case !until.After(now):
		return errInvalidArgument("x-amz-object-lock-retain-until-date", until.Format(time.RFC3339), "The retain until date must be in the future!")
	}
	return nil
}

// stored fills in how the object was encrypted and what its bytes are.
func (o *objectRecord) stored(file string, k objectKey, p *payload) {
	o.File, o.Size = file, p.size
	o.encryptedBy(k)
	o.ETag = fmt.Sprintf("%x", p.md5.Sum(nil))
	if o.Algorithm != sseS3 {
		o.ETag = opaqueETag()
	}
	o.ChecksumAlgorithm, o.Checksum = p.algorithm, p.sum()
}

func (o *objectRecord) encryptedBy(k objectKey) {
	o.Algorithm, o.KMSKeyARN, o.BucketKey = k.header.Algorithm, k.header.KMSKeyARN, k.header.BucketKey
	o.CustomerKeySalt, o.CustomerKeyHMAC = k.header.CustomerKeySalt, k.header.CustomerKeyHMAC
}

// opaqueETag is the ETag of an object under KMS, which is no digest of its
// plaintext.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
func opaqueETag() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: see crypto/rand.Read
	return fmt.Sprintf("%x", b)
}

// quoted is an ETag as it travels.
func quoted(etag string) string { return `"` + etag + `"` }

// versionHeader is the version's id, as a bucket shows it that has or had
// versioning.
func (c *call) versionHeader(id string) string {
	if c.b.Versioning == "" {
		return ""
	}
	return id
}

// writtenHeader is versionHeader in the answer to an upload, which names no version
// null. Recorded: localstack test_s3_api.snapshot.json, test_put_object_on_suspended_bucket.
func (c *call) writtenHeader(id string) string {
	if id == "null" {
		return ""
	}
	return c.versionHeader(id)
}

// checksumHeaders are an object's checksum and its type.
func (o *objectRecord) checksumHeaders() map[string]string {
	if o.Checksum == "" {
		return nil
	}
	return map[string]string{"X-Amz-Checksum-" + o.ChecksumAlgorithm: o.Checksum, "X-Amz-Checksum-Type": o.checksumType()}
}

func (o *objectRecord) checksumType() string {
	if strings.Contains(o.Checksum, "-") {
		return "COMPOSITE"
	}
	return "FULL_OBJECT"
}

// intParam reads a whole number from the query.
func intParam(query url.Values, name string, absent, least, most int) (int, error) {
	v := query.Get(name)
	if v == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(v)
	switch {
	case err != nil || n < least:
		return 0, errInvalidArgument(name, v, "Provided %s not an integer or within integer range", name)
	case n > most:
		return most, nil
	}
	return n, nil
}
