package localaws

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// s3Service is what S3 keeps in memory. Everything in it can be read back from
// the state, but for the bucket-level data keys, which are meant to be
// forgotten.
type s3Service struct {
	dir string // where the objects' files are

	mu      sync.RWMutex
	buckets map[string]*s3Bucket // as committed; a bucket is replaced, never changed in place
	writing map[string]bool      // buckets whose configuration is being written

	bucketKeys bucketKeyCache
}

// s3Call is one request to S3.
type s3Call struct {
	*request
	op     *s3Op
	bucket string
	key    string
	query  url.Values
	b      *s3Bucket // as it was when the call came; nil where the operation needs none

	keys    map[string]string // condition keys, once somebody asked
	writing bool              // the bucket's configuration, until the call has been recorded
}

// s3Answer is what an operation answers where it does not fail.
type s3Answer struct {
	status int               // 0 is 200
	header map[string]string // an empty value is left out
	xml    []byte
	body   io.ReadCloser // an object
}

// serveS3 carries out one call. The order is S3's: does the bucket exist and
// is it here, may the caller, and only then what the request says.
func serveS3(r *request) {
	c := newS3Call(r)
	a, err := c.carryOut()
	if err != nil {
		failS3(r, c.explain(err))
		return
	}
	c.write(a)
}

// carryOut does all that has to be done before the answer goes out.
func (c *s3Call) carryOut() (*s3Answer, error) {
	defer func() {
		if c.writing {
			c.s.s3.end(c.bucket)
		}
	}()
	a, err := c.answer()
	c.recordEvent(err)
	return a, err
}

func (c *s3Call) answer() (*s3Answer, error) {
	if c.op == nil || c.op.handle == nil {
		return nil, errNotImplemented("s3", c.operation)
	}
	if err := c.checkPresigned(); err != nil {
		return nil, err
	}
	if c.bucket == "" && c.key != "" { // as in //bucket/key
		return nil, errf(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid.")
	}
	if !utf8.ValidString(c.key) || strings.ContainsRune(c.key, 0) {
		return nil, errf(http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI.")
	}
	if len(c.key) > 1024 {
		return nil, errf(http.StatusBadRequest, "KeyTooLongError", "Your key is too long")
	}
	if c.bucket != "" && c.operation != "CreateBucket" {
		if err := c.findBucket(); err != nil {
			return nil, err
		}
	}
	if c.op.action != "" {
		if err := c.authorize(c.op.actionFor(c.query), c.arn()); err != nil {
			return nil, err
		}
	}
	if c.op.event != "" && (c.http.Method == http.MethodPut || c.http.Method == http.MethodDelete) {
		if err := c.s.s3.begin(c.bucket); err != nil {
			return nil, err
		}
		c.writing = true
	}
	return c.op.handle(c)
}

func (c *s3Call) findBucket() error {
	c.b = c.s.s3.bucket(c.bucket)
	if c.b == nil {
		return errNoSuchBucket(c.bucket)
	}
	if c.signed && c.region != c.b.Region {
		c.w.Header().Set("X-Amz-Bucket-Region", c.b.Region)
		e := errf(http.StatusMovedPermanently, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.")
		e.Extra = map[string]string{"Bucket": c.bucket, "Endpoint": c.bucket + ".s3." + c.b.Region + ".amazonaws.com"}
		return e
	}
	if owner := c.header("X-Amz-Expected-Bucket-Owner"); owner != "" && owner != c.b.Account {
		return errAccessDenied()
	}
	return nil
}

// arn is the object's ARN, or the bucket's; "*" for ListBuckets.
func (c *s3Call) arn() string {
	switch {
	case c.bucket == "":
		return "*"
	case c.key == "":
		return bucketARN(c.bucket)
	}
	return objectARN(c.bucket, c.key)
}

func bucketARN(bucket string) string      { return "arn:aws:s3:::" + bucket }
func objectARN(bucket, key string) string { return bucketARN(bucket) + "/" + key }

func newS3Call(r *request) *s3Call {
	c := &s3Call{request: r, query: r.http.URL.Query()}
	c.bucket, c.key = s3Resource(r.http)
	c.op = findS3Op(r.http.Method, c.bucket, c.key, c.query, r.http.Header)
	return c
}

func s3Operation(r *request) string {
	if op := newS3Call(r).op; op != nil {
		return op.name
	}
	return ""
}

// s3Resource reads bucket and key, in virtual-host style (bucket.localhost,
// bucket.s3.us-east-1.localhost) or path style (anything else).
func s3Resource(h *http.Request) (bucket, key string) {
	path := strings.TrimPrefix(h.URL.Path, "/")
	host := h.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if name, ok := strings.CutSuffix(strings.ToLower(host), ".localhost"); ok && name != "s3" && !strings.HasPrefix(name, "s3.") {
		if i := strings.LastIndex(name, ".s3."); i > 0 {
			name = name[:i]
		}
		return strings.TrimSuffix(name, ".s3"), path
	}
	bucket, key, _ = strings.Cut(path, "/")
	return bucket, key
}

// header reads a header, which a presigned URL may carry in its query.
func (c *s3Call) header(name string) string {
	v := c.http.Header.Get(name)
	if v == "" && c.query.Has("X-Amz-Signature") {
		v = cmp.Or(c.query.Get(name), c.query.Get(strings.ToLower(name)))
	}
	return v
}

// hasHeader tells an absent header from an empty one, as policies do.
func (c *s3Call) hasHeader(name string) bool {
	return len(c.http.Header.Values(name)) > 0 || c.header(name) != ""
}

func (c *s3Call) checkPresigned() error {
	if !c.query.Has("X-Amz-Signature") || c.http.Header.Get("Authorization") != "" {
		return nil
	}
	at, err := time.Parse("20060102T150405Z", c.query.Get("X-Amz-Date"))
	seconds, err2 := strconv.Atoi(c.query.Get("X-Amz-Expires"))
	if err != nil || err2 != nil || seconds < 1 || seconds > 7*24*3600 {
		return errf(http.StatusBadRequest, "AuthorizationQueryParametersError", "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
	}
	if c.now.After(at.Add(time.Duration(seconds) * time.Second)) {
		return errf(http.StatusForbidden, "AccessDenied", "Request has expired")
	}
	return nil
}

func (c *s3Call) write(a *s3Answer) {
	h := c.w.Header()
	c.answerHeaders()
	for k, v := range a.header {
		switch {
		case strings.HasPrefix(k, "x-amz-meta-"):
			h[k] = []string{v} // some clients keep the name as it comes: S3's are in lower case
		case v != "":
			h.Set(k, v)
		}
	}
	if a.xml != nil {
		h.Set("Content-Type", cmp.Or(a.header["Content-Type"], "application/xml"))
		h.Set("Content-Length", strconv.Itoa(len(a.xml)))
	}
	c.w.WriteHeader(cmp.Or(a.status, http.StatusOK))
	switch {
	case a.xml != nil:
		_, _ = c.w.Write(a.xml) // a client that hung up is no error of ours
	case a.body != nil:
		_, err := io.Copy(c.w, a.body)
		_ = a.body.Close() // opened for reading
		if errors.Is(err, errDamaged) {
			drop() // the status is out: a short answer must not look like a whole one
		}
	}
}

func (r *request) answerHeaders() {
	h := r.w.Header()
	h.Set("X-Amz-Request-Id", r.id)
	h.Set("X-Amz-Id-2", hostID(r.id))
	h.Set("Server", "AmazonS3")
}

// hostID is S3's second request id: opaque to everybody.
func hostID(id string) string { return base64.StdEncoding.EncodeToString([]byte("localaws " + id)) }

func failS3(r *request, e *apiError) {
	r.w.code = e.Code
	r.answerHeaders()
	if e.Status == http.StatusNotModified || r.http.Method == http.MethodHead {
		r.w.WriteHeader(e.Status)
		return
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + "<Error>")
	element := func(name, value string) {
		b.WriteString("<" + name + ">")
		_ = xml.EscapeText(&b, []byte(value)) // a bytes.Buffer takes everything
		b.WriteString("</" + name + ">")
	}
	element("Code", e.Code)
	element("Message", e.Message)
	for _, k := range slices.Sorted(maps.Keys(e.Extra)) {
		element(k, e.Extra[k])
	}
	if _, ok := e.Extra["Resource"]; !ok {
		element("Resource", r.http.URL.Path)
	}
	element("RequestId", r.id)
	element("HostId", hostID(r.id))
	b.WriteString("</Error>")
	r.w.Header().Set("Content-Type", "application/xml")
	r.w.WriteHeader(e.Status)
	_, _ = r.w.Write(b.Bytes()) // a client that hung up is no error of ours
}

// explain makes S3's error of any error.
func (c *s3Call) explain(err error) *apiError {
	e, ok := errors.AsType[*apiError](err)
	if !ok {
		return errf(http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again. (%v)", err)
	}
	return e
}

func errNoSuchBucket(bucket string) *apiError {
	e := errf(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	e.Extra = map[string]string{"BucketName": bucket}
	return e
}

func errNoSuchKey(key string) *apiError {
	e := errf(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
	e.Extra = map[string]string{"Key": key}
	return e
}

func errAccessDenied() *apiError { return errf(http.StatusForbidden, "AccessDenied", "Access Denied") }

func errInvalidArgument(name, value, format string, args ...any) *apiError {
	e := errf(http.StatusBadRequest, "InvalidArgument", format, args...)
	e.Extra = map[string]string{"ArgumentName": name, "ArgumentValue": value}
	return e
}

func errMalformedXML() *apiError {
	return errf(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

const s3Namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// s3XML renders v as S3 does: root carries the namespace.
func s3XML(root string, v any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	if err := xml.NewEncoder(&b).EncodeElement(v, xml.StartElement{Name: xml.Name{Space: s3Namespace, Local: root}}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func xmlAnswer(root string, v any) (*s3Answer, error) {
	b, err := s3XML(root, v)
	return &s3Answer{xml: b}, err
}

// maxS3XML is the largest XML body: 1,000 keys of DeleteObjects fit.
const maxS3XML = 2 << 20

// readBody reads a small body whole, checking it against its digests.
func (c *s3Call) readBody() ([]byte, error) {
	p, err := c.payload(maxS3XML)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(p)
}

// readXML reads a body whose root element is root into v.
func (c *s3Call) readXML(root string, v any) error {
	body, err := c.readBody()
	if err != nil {
		return err
	}
	return parseXML(body, root, v)
}

func parseXML(body []byte, root string, v any) error {
	d := xml.NewDecoder(bytes.NewReader(body))
	for {
		t, err := d.Token()
		if err != nil {
			return errMalformedXML()
		}
		start, ok := t.(xml.StartElement)
		if !ok {
			continue
		}
		if start.Name.Local != root || d.DecodeElement(v, &start) != nil {
			return errMalformedXML()
		}
		return nil
	}
}

// s3Time is a time as S3 writes it in XML.
type s3Time struct{ time.Time }

func (t s3Time) MarshalText() ([]byte, error) {
	return []byte(t.UTC().Format("2006-01-02T15:04:05.000Z")), nil
}

func (t *s3Time) UnmarshalText(b []byte) (err error) {
	t.Time, err = time.Parse(time.RFC3339, string(b))
	return err
}
