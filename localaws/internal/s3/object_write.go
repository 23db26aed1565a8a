package s3

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

func putObject(c *call) (*response, error) {
	p, err := c.payload(maxObject)
	if err != nil {
		return nil, err
	}
	o, err := c.storePayload(p)
	if err != nil {
		return nil, err
	}
	a := &response{header: c.sseHeaders(o)}
	maps.Copy(a.header, o.checksumHeaders())
	a.header[headerExpiration] = c.b.expirationHeader(o)
	a.header["Etag"], a.header["X-Amz-Version-Id"] = quoted(o.ETag), c.writtenHeader(o.VersionID)
	return a, nil
}

// storePayload makes an object of p, as the call's headers describe it.
func (c *call) storePayload(p *payload) (*objectRecord, error) {
	o := &objectRecord{Key: c.key, Modified: c.Now.UTC()}
	if err := errors.Join(c.describe(o), c.describeAccess(o)); err != nil {
		return nil, err
	}
	k, err := c.startWrite()
	if err != nil {
		return nil, err
	}
	return o, c.store(o, k, p)
}

// startWrite holds the conditions of a write against what is there, before the
// body travels, and gets a data key for the object.
func (c *call) startWrite() (objectKey, error) {
	if err := c.s.db.View(c.checkWriteConditions); err != nil {
		return objectKey{}, err
	}
	choice, err := c.chooseEncryption()
	if err != nil {
		return objectKey{}, err
	}
	return c.newObjectKey(choice, c.key)
}

// store writes the object's file, and then its record: an object is there
// once the record is.
func (c *call) store(o *objectRecord, k objectKey, p *payload) error {
	id, err := c.s.writeSealed(k, p.copyTo)
	k.wipe()
	if err != nil {
		return err
	}
	o.stored(id, k, p)
	return c.commitObject(o, nil, nil)
}

// writeSealed makes a file of what content writes, and returns its id.
func (s *Service) writeSealed(k objectKey, content func(io.Writer) error) (id string, err error) {
	w, err := s.newSealer(k)
	if err != nil {
		return "", err
	}
	if err := content(w); err != nil {
		w.abandon()
		return "", err
	}
	if err := w.close(); err != nil {
		s.discard(w.id)
		return "", err
	}
	return w.id, nil
}

// copySource is the call that reading the source of a copy would be.
func (c *call) copySource() (*call, error) {
	v := c.header("X-Amz-Copy-Source")
	path, version, named := strings.Cut(v, "?versionId=")
	if named && version == "" { // seen on AWS by others (docs/conformance.md)
		return nil, errInvalidArgument("x-amz-copy-source", "", "Version id cannot be the empty string")
	}
	// S3 takes the URL of an object, too: localstack test_s3.py, test_response_structure.
	path = strings.TrimPrefix(path, "https://"+c.HTTP.Host+"/")
	path, err := url.QueryUnescape(strings.TrimPrefix(path, "/")) // a space may be +: recorded, test_copy_object_special_character_plus_for_space
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if err == nil && bucket != "" && key == "" { // recorded: localstack test_s3.snapshot.json, test_s3_copy_object_wrong_format
		return nil, errInvalidArgument("x-amz-copy-source", "x-amz-copy-source", "Invalid copy source object key")
	}
	if err != nil || bucket == "" || strings.HasPrefix(bucket, "arn:") {
		return nil, errInvalidArgument("x-amz-copy-source", v, "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	}
	src := &call{Request: c.Request, s: c.s, copied: true, op: operations["GET key"], bucket: bucket, key: key, query: url.Values{}}
	if version != "" {
		src.query.Set("versionId", version)
	}
	if src.b = c.s.bucket(bucket); src.b == nil {
		return nil, errNoSuchBucket(bucket)
	}
	if err := c.checkOwner("X-Amz-Source-Expected-Bucket-Owner", src.b); err != nil {
		return nil, err
	}
	return src, src.authorize(src.op.actionFor(src.query), src.arn())
}

type copyResult struct {
	LastModified s3Time
	ETag         string
	checksumFields
}

// checksumFields are the checksum elements that several answers share.
type checksumFields struct {
	ChecksumCRC32     string `xml:",omitempty"`
	ChecksumCRC32C    string `xml:",omitempty"`
	ChecksumCRC64NVME string `xml:",omitempty"`
	ChecksumSHA1      string `xml:",omitempty"`
	ChecksumSHA256    string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
}

func (f *checksumFields) field(algorithm string) *string {
	return map[string]*string{"crc32": &f.ChecksumCRC32, "crc32c": &f.ChecksumCRC32C, "crc64nvme": &f.ChecksumCRC64NVME,
		"sha1": &f.ChecksumSHA1, "sha256": &f.ChecksumSHA256}[algorithm]
}

func (o *objectRecord) checksumFields() (f checksumFields) {
	if p := f.field(o.ChecksumAlgorithm); p != nil {
		*p = o.Checksum
		f.ChecksumType = o.checksumType()
	}
	return f
}

func copyObject(c *call) (*response, error) {
	src, err := c.copySource()
	if err != nil {
		return nil, err
	}
	from, err := src.openObject(c.header, "X-Amz-Copy-Source-")
	if err != nil {
		return nil, err
	}
	defer from.close()
	o := &objectRecord{Key: c.key, Modified: c.Now.UTC()}
	if err := errors.Join(c.describe(o), c.describeAccess(o)); err != nil {
		return nil, err
	}
	switch directive := c.header("X-Amz-Metadata-Directive"); directive {
	case "", "COPY":
		own := o.Headers // what is never copied
		itself := src.bucket == c.bucket && src.key == c.key && !src.query.Has("versionId")
		// S3 permits an unchanged copy of an object under KMS: it re-encrypts the object.
		// So it does in a bucket whose encryption was configured: recorded, localstack
		// test_s3.snapshot.json, test_copy_in_place_with_bucket_encryption.
		if itself && from.object.KMSKeyARN == "" && !c.b.Encryption.Configured && !c.hasHeader("X-Amz-Storage-Class") && !c.hasHeader(headerSSE) && !c.hasCustomerKey(customerPrefix) && !c.hasHeader("X-Amz-Website-Redirect-Location") {
			return nil, errInvalidRequest("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
		}
		o.Headers, o.Metadata = maps.Clone(from.object.Headers), from.object.Metadata
		for _, name := range []string{"X-Amz-Storage-Class", "X-Amz-Website-Redirect-Location"} {
			if delete(o.Headers, name); own[name] != "" {
				o.Headers[name] = own[name]
			}
		}
	case "REPLACE":
	default:
		return nil, errInvalidArgument("x-amz-metadata-directive", directive, "Unknown metadata directive.")
	}
	switch directive := c.header("X-Amz-Tagging-Directive"); directive {
	case "", "COPY":
		o.Tags = from.object.Tags
	case "REPLACE":
	default:
		return nil, errInvalidArgument("x-amz-tagging-directive", directive, "Unknown tagging directive.")
	}
	if from.object.Size > maxObject {
		return nil, errInvalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxObject))
	}
	body, err := from.reader(0, from.object.Size)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }() // opened for reading
	k, err := c.startWrite()
	if err != nil {
		return nil, err
	}
	algorithm, err := c.checksumAlgorithm(from.object.ChecksumAlgorithm)
	if err != nil {
		return nil, err
	}
	if err := c.store(o, k, newPayload(body, from.object.Size, algorithm)); err != nil {
		return nil, err
	}
	a, err := xmlAnswer("CopyObjectResult", copyResult{s3Time{o.Modified}, quoted(o.ETag), o.checksumFields()})
	if err != nil {
		return nil, err
	}
	a.header = c.sseHeaders(o)
	a.header[headerExpiration] = c.b.expirationHeader(o)
	a.header["X-Amz-Version-Id"], a.header["X-Amz-Copy-Source-Version-Id"] = c.versionHeader(o.VersionID), src.writtenHeader(from.object.VersionID)
	return a, nil
}

// checksumAlgorithm is which checksum S3 is to make of what it writes.
func (c *call) checksumAlgorithm(otherwise string) (string, error) {
	name := strings.ToLower(c.header("X-Amz-Checksum-Algorithm"))
	switch {
	case name == "" && otherwise == "":
		return "crc64nvme", nil
	case name == "":
		return otherwise, nil
	case checksums[name] == nil:
		return "", errInvalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
	}
	return name, nil
}

// deletion is one object to delete, and what became of it.
type deletion struct {
	key, versionID string
	match          string // the ETag that the current version must have; empty for any or none
	marker         bool   // a delete marker was made, or removed
	markerID       string // its version
	file           string // to be discarded once the deletion is committed
	err            error
}

// apply deletes: a version where one is named, else it makes a delete marker
// where the bucket has versioning. Deleting what is not there succeeds.
func (d *deletion) apply(tx *bolt.Tx, c *call, b *bucketRecord) error {
	d.marker, d.markerID, d.file = false, "", ""
	if d.match != "" {
		if err := checkMatch(tx, b.Name, d.key, d.match); err != nil {
			return err
		}
	}
	if d.versionID == "" && b.Versioning != "" {
		m := &objectRecord{Key: d.key, DeleteMarker: true, Modified: c.Now.UTC()}
		replaced, err := putVersion(tx, b, m)
		d.marker, d.markerID, d.file = true, m.VersionID, replaced
		return err
	}
	record, o, err := findRecord(tx, b.Name, d.key, d.versionID)
	if e, ok := asError(err); ok && e.Status == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if o.locked(c) {
		return wire.Errf(http.StatusForbidden, "AccessDenied", "Access Denied because object protected by object lock.")
	}
	if o.DeleteMarker {
		d.marker, d.markerID = true, o.VersionID
	}
	d.file = o.File
	return store.Remove(tx, ObjectBucket, record)
}

// locked reports whether the version may not be deleted yet.
func (o *objectRecord) locked(c *call) bool {
	if o.LegalHold == "ON" {
		return true
	}
	if o.LockMode == "" || !o.LockUntil.After(c.Now) {
		return false
	}
	bypass := o.LockMode == "GOVERNANCE" && strings.EqualFold(c.header("X-Amz-Bypass-Governance-Retention"), "true")
	return !bypass || c.authorize("s3:BypassGovernanceRetention", objectARN(c.bucket, o.Key)) != nil
}

// deleteAll carries the deletions out, in one commit.
func (c *call) deleteAll(ds []deletion) error {
	deleted := false
	err := c.s.db.Batch(func(tx *bolt.Tx) error { // may be called twice
		b, err := c.bucketIn(tx)
		if err != nil {
			return err
		}
		for i := range ds {
			if ds[i].err != nil {
				continue
			}
			if err := ds[i].apply(tx, c, b); err != nil {
				e, ok := asError(err)
				if !ok {
					return err
				}
				ds[i].err = e
			}
		}
		deleted = slices.ContainsFunc(ds, func(d deletion) bool { return d.err == nil })
		if !deleted {
			return nil
		}
		if len(ds) == 1 {
			c.elements = recordedElements(ds[0].headers())
		}
		return c.recordData(tx)
	})
	if err != nil {
		return err
	}
	c.recorded = deleted
	for _, d := range ds {
		c.s.discard(d.file)
	}
	return nil
}

// checkBypass refuses to bypass a lock that no object of the bucket can have. Recorded:
// localstack test_s3_api.snapshot.json, test_delete_object_with_no_locking.
func (c *call) checkBypass() error {
	if c.hasHeader("X-Amz-Bypass-Governance-Retention") && !c.b.ObjectLock {
		return errHeader("x-amz-bypass-governance-retention", "x-amz-bypass-governance-retention is only applicable to Object Lock enabled buckets.")
	}
	return nil
}

func deleteObject(c *call) (*response, error) {
	if err := c.checkBypass(); err != nil {
		return nil, err
	}
	match := c.HTTP.Header.Get("If-Match")
	if err := c.authorizeMatch(match, c.key); err != nil {
		return nil, err
	}
	ds := []deletion{{key: c.key, versionID: c.query.Get("versionId"), match: match}}
	if err := c.deleteAll(ds); err != nil {
		return nil, err
	}
	d := ds[0]
	if d.err != nil {
		return nil, d.err
	}
	return &response{status: http.StatusNoContent, header: d.headers()}, nil
}

// headers are those of the response of DeleteObject.
func (d deletion) headers() map[string]string {
	if d.marker {
		return map[string]string{"X-Amz-Delete-Marker": "true", "X-Amz-Version-Id": d.markerID}
	}
	return map[string]string{"X-Amz-Version-Id": d.versionID}
}

type deleteObjectsInput struct {
	Quiet   bool
	Objects []struct {
		Key       string
		VersionID string `xml:"VersionId"`
		ETag      string
	} `xml:"Object"`
}

type deletedObject struct {
	Key                   string
	VersionID             string `xml:"VersionId,omitempty"`
	DeleteMarker          bool   `xml:",omitempty"`
	DeleteMarkerVersionID string `xml:"DeleteMarkerVersionId,omitempty"`
}

type deleteError struct {
	Key       string
	VersionID string `xml:"VersionId,omitempty"`
	Code      string
	Message   string
}

func deleteObjects(c *call) (*response, error) {
	if err := c.checkBypass(); err != nil {
		return nil, err
	}
	p, err := c.payload(maxS3XML)
	if err != nil {
		return nil, err
	}
	if p.wantMD5 == nil && p.wantChecksum == nil && !p.trailer {
		return nil, errInvalidRequest("Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
	}
	body, err := io.ReadAll(p)
	if err != nil {
		return nil, err
	}
	var in deleteObjectsInput
	if err := parseXML(body, "Delete", &in); err != nil {
		return nil, err
	}
	if len(in.Objects) == 0 || len(in.Objects) > 1000 {
		return nil, errMalformedXML()
	}
	var ds []deletion
	for _, o := range in.Objects {
		// S3 deletes once what is named twice (seen on AWS by others: docs/conformance.md).
		if slices.ContainsFunc(ds, func(d deletion) bool { return d.key == o.Key && d.versionID == o.VersionID && d.match == o.ETag }) {
			continue
		}
		action := "s3:DeleteObject"
		if o.VersionID != "" {
			action = "s3:DeleteObjectVersion"
		}
		err := c.authorize(action, objectARN(c.bucket, o.Key))
		if err == nil {
			err = c.authorizeMatch(o.ETag, o.Key)
		}
		ds = append(ds, deletion{key: o.Key, versionID: o.VersionID, match: o.ETag, err: err})
	}
	if err := c.deleteAll(ds); err != nil {
		return nil, err
	}
	var out struct {
		Deleted []deletedObject
		Error   []deleteError
	}
	for _, d := range ds {
		switch {
		case d.err != nil:
			e := c.explain(d.err)
			if e.Code == "InvalidArgument" { // recorded: localstack test_s3_api.snapshot.json, test_delete_objects
				e = errNoSuchVersion(d.key, d.versionID)
			}
			out.Error = append(out.Error, deleteError{d.key, d.versionID, e.Code, e.Message})
		case !in.Quiet:
			out.Deleted = append(out.Deleted, deletedObject{d.key, d.versionID, d.marker, d.markerID})
		}
	}
	return xmlAnswer("DeleteResult", out)
}
