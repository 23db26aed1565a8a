package s3

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// find returns the version that the call names; a delete marker is an
// error, as in S3. A caller that may not list a bucket is not told what is missing
// in it.
func (c *call) find() (objectRecord, error) {
	var o objectRecord
	id := c.query.Get("versionId")
	err := c.s.db.View(func(tx *bolt.Tx) (err error) {
		o, err = findVersion(tx, c.bucket, c.key, id)
		return err
	})
	switch e, known := asError(err); {
	case known && c.copied && e.Code == "InvalidArgument":
		return o, c.errSourceVersion(id)
	case known && e.Status == http.StatusNotFound && c.authorize("s3:ListBucket", bucketARN(c.bucket)) != nil:
		return o, errAccessDenied()
	case err != nil:
		return o, err
	case !o.DeleteMarker:
		return o, nil
	}
	if c.copied && id != "" { // recorded: localstack test_s3.snapshot.json, test_s3_copy_object_src_not_exists
		return o, errInvalidRequest("The source of a copy request may not specifically refer to a delete marker by version id.")
	}
	h := c.W.Header()
	h.Set("X-Amz-Delete-Marker", "true")
	h.Set("X-Amz-Version-Id", o.VersionID)
	// Recorded: localstack test_s3_api.snapshot.json, test_object_tagging_versioned, and
	// test_s3.snapshot.json, test_put_object_acl_on_delete_marker.
	if id == "" && !c.query.Has("tagging") && c.Operation != "PutObjectAcl" {
		return o, errNoSuchKey(c.key)
	}
	h.Set("Allow", "DELETE")
	h.Set("Last-Modified", httpTime(o.Modified))
	e := wire.Errf(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	e.Extra = map[string]string{"Method": c.HTTP.Method, "ResourceType": "DeleteMarker"}
	return o, e
}

// errSourceVersion is the error for a copy's source with the ID of no version: seen on AWS
// by others (docs/conformance.md).
func (c *call) errSourceVersion(id string) *wire.Error {
	if c.Operation == "CopyObject" {
		return errInvalidRequest("Invalid Request")
	}
	return errInvalidArgument("x-amz-copy-source", id, "Invalid version id specified")
}

func httpTime(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

// openedObject is an object, its file open and its data key not yet asked for.
type openedObject struct {
	c      *call
	object objectRecord
	file   *sealedFile
	taken  bool // by a reader, which closes the file
}

// openObject finds the object and opens its file, if the conditions hold that
// header answers under names that begin with prefix.
func (c *call) openObject(header func(string) string, prefix string) (*openedObject, error) {
	for tries := 0; ; tries++ {
		o, err := c.find()
		if err != nil {
			return nil, err
		}
		if err := c.checkCustomerKey(&o); err != nil {
			return nil, err
		}
		if err := c.checkReadConditions(o, header, prefix); err != nil {
			return nil, err
		}
		f, err := c.s.openSealed(o.File)
		// Between the two lines above another call may have replaced the object
		// and removed its file.
		if errors.Is(err, os.ErrNotExist) && tries < 10 {
			continue
		}
		return &openedObject{c: c, object: o, file: f}, err
	}
}

// reader decrypts: it is here that KMS is asked. An archived object has to be
// restored first, which localaws does not do.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
func (o *openedObject) reader(offset, length int64) (io.ReadCloser, error) {
	if class := o.object.storageClass(); class == "GLACIER" || class == "DEEP_ARCHIVE" {
		e := wire.Errf(http.StatusForbidden, "InvalidObjectState", "The operation is not valid for the object's storage class")
		e.Extra = map[string]string{"StorageClass": class}
		return nil, e
	}
	k, err := o.c.unwrapObjectKey(o.c.b, o.file.header)
	if err != nil {
		return nil, err
	}
	defer k.wipe()
	return o.readerWith(k, offset, length)
}

// readerWith decrypts with a data key that the caller has.
func (o *openedObject) readerWith(k objectKey, offset, length int64) (io.ReadCloser, error) {
	r, err := o.file.reader(k, o.object.Parts, offset, length)
	o.taken = err == nil
	return r, err
}

func (o *openedObject) close() {
	if !o.taken {
		_ = o.file.file.Close() // opened for reading
	}
}

// checkReadConditions is RFC 9110's order: the ETags go before the times. The errors of a
// copy name the headers of its source. Recorded: localstack test_s3.snapshot.json,
// test_s3_copy_object_preconditions.
func (c *call) checkReadConditions(o objectRecord, header func(string) string, prefix string) error {
	source := prefix != ""
	failed := func(condition string) error {
		if source {
			condition = "x-amz-copy-source-" + condition
		}
		return errPrecondition(condition)
	}
	match, noneMatch := header(prefix+"If-Match"), header(prefix+"If-None-Match")
	since, unmodified := header(prefix+"If-Modified-Since"), header(prefix+"If-Unmodified-Since")
	modified := func(date string) (after, ok bool) {
		t, err := http.ParseTime(date)
		return err == nil && o.Modified.Truncate(time.Second).After(t), err == nil
	}
	if match != "" {
		if !matchesETag(match, o.ETag) {
			return failed("If-Match")
		}
	} else if after, ok := modified(unmodified); ok && after {
		return failed("If-Unmodified-Since")
	}
	unchanged := "" // the condition by which the object is not sent
	if noneMatch != "" {
		if matchesETag(noneMatch, o.ETag) {
			unchanged = "If-None-Match"
		}
	} else if t, err := http.ParseTime(since); err == nil && !t.After(c.Now) { // a date in the future is none
		if after, _ := modified(since); !after {
			unchanged = "If-Modified-Since"
		}
	}
	switch {
	case unchanged != "" && source:
		return failed(unchanged)
	case unchanged != "":
		c.W.Header().Set("Etag", quoted(o.ETag))
		return wire.Errf(http.StatusNotModified, "NotModified", "Not Modified")
	}
	return nil
}

// objectHeaders are what HEAD and GET say of an object.
func (c *call) objectHeaders(o *objectRecord) map[string]string {
	h := c.sseHeaders(o)
	maps.Copy(h, o.Headers)
	for k, v := range o.Metadata {
		h["x-amz-meta-"+k] = v
	}
	h["Accept-Ranges"], h["Last-Modified"], h["Etag"] = "bytes", httpTime(o.Modified), quoted(o.ETag)
	h["X-Amz-Version-Id"], h["X-Amz-Replication-Status"] = c.versionHeader(o.VersionID), o.ReplicationStatus
	if len(o.Tags) > 0 {
		h["X-Amz-Tagging-Count"] = strconv.Itoa(len(o.Tags))
	}
	if o.LockMode != "" {
		h["X-Amz-Object-Lock-Mode"], h["X-Amz-Object-Lock-Retain-Until-Date"] = o.LockMode, o.LockUntil.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	h["X-Amz-Object-Lock-Legal-Hold"] = o.LegalHold
	// Rules expire the current version only. A read that names a version is not told, even
	// if it is the current one (seen by LocalStack's authors on AWS).
	if !c.query.Has("versionId") {
		h[headerExpiration] = c.b.expirationHeader(o)
	}
	return h
}

// overridable are the headers of the answer that a signed GET may set itself.
var overridable = map[string]string{
	"response-cache-control": "Cache-Control", "response-content-disposition": "Content-Disposition", "response-content-encoding": "Content-Encoding",
	"response-content-language": "Content-Language", "response-content-type": "Content-Type", "response-expires": "Expires",
}

// describeRead makes the answer for the part of o that the call wants.
func (c *call) describeRead(o *objectRecord) (a *response, offset, length int64, err error) {
	a = &response{header: c.objectHeaders(o)}
	for param, name := range overridable {
		if c.query.Has(param) {
			if !c.Signed {
				return nil, 0, 0, errInvalidRequest("Request specific response headers cannot be used for anonymous GET requests.")
			}
			a.header[name] = c.query.Get(param)
		}
	}
	mode := c.header("X-Amz-Checksum-Mode") // recorded: localstack test_s3.snapshot.json, test_s3_get_object_checksum
	if mode != "" && !strings.EqualFold(mode, "ENABLED") {
		return nil, 0, 0, errInvalidRequest("Value for x-amz-checksum-mode header is invalid.")
	}
	offset, length = 0, o.Size
	ranged := c.HTTP.Header.Get("Range")
	if !o.matchesIfRange(c.HTTP.Header.Get("If-Range")) {
		ranged = ""
	}
	part, err := strconv.Atoi(c.query.Get("partNumber"))
	switch { // the order: test/s3api of OpenStack Swift, test_mpu.py
	case c.query.Has("partNumber") && c.HTTP.Header.Get("Range") != "":
		return nil, 0, 0, errInvalidRequest("Cannot specify both Range header and partNumber query parameter")
	case c.query.Has("partNumber") && (err != nil || part < 1 || part > maxPart):
		return nil, 0, 0, errPartNumber(c.query.Get("partNumber"))
	case part > max(len(o.Parts), 1):
		e := wire.Errf(http.StatusRequestedRangeNotSatisfiable, "InvalidPartNumber", "The requested partnumber is not satisfiable")
		e.Extra = map[string]string{"PartNumberRequested": strconv.Itoa(part), "ActualPartCount": strconv.Itoa(max(len(o.Parts), 1))} // recorded: localstack test_s3.snapshot.json, test_get_object_part
		return nil, 0, 0, e
	case part > 0:
		a.status = http.StatusPartialContent
		for i, p := range o.Parts {
			if i == part-1 {
				length = p.Size
				break
			}
			offset += p.Size
		}
		if len(o.Parts) > 0 {
			a.header["X-Amz-Mp-Parts-Count"] = strconv.Itoa(len(o.Parts))
		}
		// Seen on AWS by OpenStack Swift (test/s3api, test_object_checksums.py).
		if mode != "" && o.checksumType() == "COMPOSITE" {
			a.header["X-Amz-Checksum-"+o.ChecksumAlgorithm], a.header["X-Amz-Checksum-Type"] = o.Parts[part-1].Checksum, o.checksumType()
		}
	case ranged != "":
		var ok bool
		if offset, length, ok = parseRange(ranged, o.Size); !ok {
			offset, length = 0, o.Size
			break
		}
		if length <= 0 {
			e := wire.Errf(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable")
			e.Extra = map[string]string{"ActualObjectSize": strconv.FormatInt(o.Size, 10), "RangeRequested": ranged}
			return nil, 0, 0, e
		}
		a.status = http.StatusPartialContent
	}
	switch {
	case a.status == http.StatusPartialContent && o.Size > 0:
		a.header["Content-Range"] = "bytes " + strconv.FormatInt(offset, 10) + "-" + strconv.FormatInt(offset+length-1, 10) + "/" + strconv.FormatInt(o.Size, 10)
	case mode != "":
		maps.Copy(a.header, o.checksumHeaders())
	}
	a.header["Content-Length"] = strconv.FormatInt(length, 10)
	return a, offset, length, nil
}

// matchesIfRange reports whether a range may be sent: where the object is still the one
// that the client has a part of. S3 does as RFC 9110 says (seen by a user:
// https://github.com/aws/aws-sdk-kotlin/issues/1645).
func (o *objectRecord) matchesIfRange(v string) bool {
	if at, err := http.ParseTime(v); err == nil {
		return at.Equal(o.Modified.Truncate(time.Second))
	}
	return v == "" || v == quoted(o.ETag)
}

// parseRange reads one range of bytes. A range that makes no sense, and more
// than one, mean the whole object; one that lies outside has no length.
func parseRange(header string, size int64) (offset, length int64, ok bool) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	from, to, cut := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok || !cut {
		return 0, 0, false
	}
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	switch {
	case from == "" && err2 == nil && last >= 0: // the last so many bytes
		length = min(last, size)
		return size - length, length, true
	case err1 != nil || first < 0 || to != "" && (err2 != nil || last < first):
		return 0, 0, false
	case to == "" || last >= size:
		last = size - 1
	}
	return first, last - first + 1, true
}

func headObject(c *call) (*response, error) {
	o, err := c.find()
	if err != nil {
		return nil, err
	}
	if err := c.checkCustomerKey(&o); err != nil {
		return nil, err
	}
	if err := c.checkReadConditions(o, c.header, ""); err != nil {
		return nil, err
	}
	a, _, _, err := c.describeRead(&o)
	return a, err
}

func getObject(c *call) (*response, error) {
	o, err := c.openObject(c.header, "")
	if err != nil {
		return nil, err
	}
	defer o.close()
	a, offset, length, err := c.describeRead(&o.object)
	if err != nil {
		return nil, err
	}
	a.body, err = o.reader(offset, length)
	return a, err
}

type attributesPart struct {
	PartNumber int
	Size       int64
	checksumFields
}

type attributesParts struct {
	PartsCount int
	*attributesPage
}

type attributesPage struct {
	PartNumberMarker     int
	NextPartNumberMarker int
	MaxParts             int
	IsTruncated          bool
	Parts                []attributesPart `xml:"Part"`
}

type objectAttributes struct {
	ETag         string           `xml:",omitempty"`
	Checksum     *checksumFields  `xml:",omitempty"`
	ObjectParts  *attributesParts `xml:",omitempty"`
	StorageClass string           `xml:",omitempty"`
	ObjectSize   *int64           `xml:",omitempty"`
}

func getObjectAttributes(c *call) (*response, error) {
	action := "s3:GetObjectAttributes"
	if c.query.Get("versionId") != "" {
		action = "s3:GetObjectVersionAttributes"
	}
	if err := c.authorize(action, c.arn()); err != nil {
		return nil, err
	}
	o, err := c.find()
	if err != nil {
		return nil, err
	}
	if err := c.checkCustomerKey(&o); err != nil {
		return nil, err
	}
	var out objectAttributes
	for name := range strings.SplitSeq(strings.Join(c.HTTP.Header.Values("X-Amz-Object-Attributes"), ","), ",") {
		switch strings.TrimSpace(name) {
		case "ETag":
			out.ETag = o.ETag
		case "Checksum":
			f := o.checksumFields()
			if p := f.field(o.ChecksumAlgorithm); p != nil { // without the number of parts: recorded, test_complete_multipart_parts_checksum
				*p, _, _ = strings.Cut(*p, "-")
			}
			out.Checksum = &f
		case "ObjectParts":
			if out.ObjectParts, err = c.objectParts(&o); err != nil {
				return nil, err
			}
		case "StorageClass":
			out.StorageClass = o.storageClass()
		case "ObjectSize":
			out.ObjectSize = &o.Size
		default:
			return nil, errInvalidArgument("x-amz-object-attributes", name, "Invalid attribute name specified.")
		}
	}
	a, err := xmlAnswer("GetObjectAttributesResponse", out)
	if err != nil {
		return nil, err
	}
	a.header = map[string]string{"Last-Modified": httpTime(o.Modified), "X-Amz-Version-Id": c.versionHeader(o.VersionID)}
	return a, nil
}

// objectParts counts the parts of an object that was uploaded in parts; nil for
// any other. It lists them where the object's checksum is made of theirs. Recorded:
// localstack test_s3.snapshot.json, test_get_object_attributes.
func (c *call) objectParts(o *objectRecord) (*attributesParts, error) {
	if len(o.Parts) == 0 {
		return nil, nil
	}
	out := &attributesParts{PartsCount: len(o.Parts)}
	if o.checksumType() != "COMPOSITE" {
		return out, nil
	}
	given := url.Values{"max-parts": {c.header("X-Amz-Max-Parts")}, "part-number-marker": {c.header("X-Amz-Part-Number-Marker")}}
	limit, err := intParam(given, "max-parts", 1000, 0, 1000)
	if err != nil {
		return nil, err
	}
	marker, err := intParam(given, "part-number-marker", 0, 0, maxPart)
	if err != nil {
		return nil, err
	}
	out.attributesPage = &attributesPage{PartNumberMarker: marker, MaxParts: limit}
	for i, p := range o.Parts {
		if i+1 <= marker {
			continue
		}
		if len(out.Parts) >= limit {
			out.IsTruncated = true
			break
		}
		part := attributesPart{PartNumber: i + 1, Size: p.Size}
		if f := part.field(o.ChecksumAlgorithm); f != nil {
			*f = p.Checksum
		}
		out.Parts = append(out.Parts, part)
		out.NextPartNumberMarker = i + 1
	}
	return out, nil
}

func (o *objectRecord) storageClass() string {
	if class := o.Headers["X-Amz-Storage-Class"]; class != "" {
		return class
	}
	return "STANDARD"
}
