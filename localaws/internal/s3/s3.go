// Package s3 is S3 as localaws serves it: every object is a file of ciphertext
// beside its wrapped data key (envelope.go), and its record is in the database.
// operations.go lists the operations with everything that each models.
package s3

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/kms"
	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// The buckets, in the database, of S3.
var (
	BucketBucket = []byte("s3-buckets") // bucket
	ObjectBucket = []byte("s3-objects") // see objects.go
	UploadBucket = []byte("s3-uploads") // bucket/upload-id
	// ReplicationBucket has what is still to be replicated, by the key of the object's
	// record.
	ReplicationBucket = []byte("s3-replications")
)

// Keys is what S3 needs of KMS.
type Keys interface {
	ResolveKey(tx *bolt.Tx, account, region, keyID string) (arn, state string, err *wire.Error)
	GenerateDataKey(u kms.Use, keyID string) (kms.DataKey, *wire.Error)
	DecryptDataKey(u kms.Use, ciphertext []byte) ([]byte, *wire.Error)
	EncryptDataKey(u kms.Use, keyID string, plaintext []byte) (kms.DataKey, *wire.Error)
	ReEncryptDataKey(u kms.Use, ciphertext []byte, from map[string]string, keyID string) (kms.DataKey, *wire.Error)
}

// Service serves S3. What it keeps in memory can be read back from the state,
// except for the bucket-level data keys, which are meant to be forgotten.
type Service struct {
	db         *bolt.DB
	identities *policy.Identities
	trail      *trail.Service
	keys       Keys
	roles      Roles
	dir        string // of the objects' files

	mu      sync.RWMutex
	buckets map[string]*bucketRecord // as committed; a bucket is replaced, never changed in place
	writing map[string]bool          // buckets whose configuration is being written

	accounts atomic.Pointer[map[string]*publicAccessBlock] // as committed

	bucketKeys  bucketKeyCache
	replicating sync.Mutex // held by Replicate
	disk        disk       // of dir
}

// call is one request to S3.
type call struct {
	*wire.Request
	s      *Service
	op     *operation
	bucket string
	key    string
	query  url.Values
	b      *bucketRecord // as it was when the call came; nil where the operation needs none

	keys      map[string]string // condition keys, once they were needed
	tags      []s3Tag           // of the body of PutObjectTagging and TagResource
	copied    bool              // reads the source of a copy for another call
	tagKeys   []string          // of TagResource and UntagResource
	writing   bool              // the bucket's configuration, until the call has been recorded
	recorded  bool              // the event, with the change of the state
	invokedBy string            // the service that makes the call with a session of a role

	elements   map[string]string // of the response, for the data event
	sseApplied string
}

// response is what an operation returns if it does not fail.
type response struct {
	status int               // 0 is 200
	header map[string]string // an empty value is left out
	xml    []byte
	body   io.ReadCloser // an object
}

// Operation implements [wire.Service].
func (s *Service) Operation(r *wire.Request) string {
	if r.HTTP.Method == http.MethodOptions {
		return "OPTIONSObject"
	}
	if op := s.newCall(r).op; op != nil {
		return op.name
	}
	return ""
}

// Serve implements [wire.Service]. The order is S3's: does the bucket exist and
// is it in this Region, may the caller, and only then what the request says.
func (s *Service) Serve(r *wire.Request) {
	c := s.newCall(r)
	a, err := c.execute()
	if err != nil {
		s.Fail(r, c.explain(err))
		return
	}
	c.write(a)
}

// execute does all that has to be done before the response is written.
func (c *call) execute() (*response, error) {
	defer func() {
		if c.writing {
			c.s.end(c.bucket)
		}
	}()
	a, err := c.answer()
	if c.recorded && err == nil {
		return a, nil
	}
	switch {
	case c.isEvent():
		if e := c.s.trail.Record(c.event(err)); e != nil {
			return nil, e
		}
	case c.isDataEvent():
		if e := c.s.trail.Record(c.dataEvent(err)); e != nil {
			return nil, e
		}
	}
	return a, err
}

func (c *call) answer() (*response, error) {
	if c.HTTP.Method == http.MethodOptions {
		return c.preflight()
	}
	if c.op == nil && c.HTTP.Method == http.MethodHead && c.bucket == "" && c.key == "" { // seen on AWS by OpenStack Swift: test/s3api, test_input_errors.py
		return nil, wire.Errf(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	}
	if c.op == nil || c.op.handle == nil {
		return nil, wire.NotImplemented("s3", c.Operation)
	}
	if err := c.checkAuthentication(); err != nil {
		return nil, err
	}
	if err := c.checkVersionParameter(); err != nil {
		return nil, err
	}
	if what := c.unmodelled(); what != "" {
		return nil, wire.NotImplemented("s3", what+" of "+c.Operation)
	}
	if err := c.checkPresigned(); err != nil {
		return nil, err
	}
	if c.bucket == "" && c.key != "" { // as in //bucket/key
		return nil, wire.Errf(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid.")
	}
	if err := c.checkKey(); err != nil {
		return nil, err
	}
	if c.bucket != "" && c.Operation != "CreateBucket" {
		if err := c.findBucket(); err != nil {
			return nil, err
		}
		c.addCORS()
	}
	if c.op.action != "" {
		if err := c.authorize(c.op.actionFor(c.query), c.arn()); err != nil {
			return nil, err
		}
	}
	if c.op.event != "" && (c.HTTP.Method == http.MethodPut || c.HTTP.Method == http.MethodDelete) {
		if err := c.s.begin(c.bucket); err != nil {
			return nil, err
		}
		c.writing = true
	}
	return c.op.handle(c)
}

// checkVersionParameter refuses a version without an ID, and any for a part: seen on AWS by
// others (docs/conformance.md).
func (c *call) checkVersionParameter() error {
	id := c.query.Get("versionId")
	switch {
	case !c.query.Has("versionId"):
		return nil
	case c.Operation == "UploadPart":
		return errInvalidArgument("versionId", id, "This operation does not accept a version-id.")
	case id == "":
		return errInvalidArgument("versionId", id, "Version id cannot be the empty string")
	}
	return nil
}

// checkKey refuses what no object can have as its key.
func (c *call) checkKey() error {
	switch {
	case !utf8.ValidString(c.key) || strings.ContainsRune(c.key, 0):
		return wire.Errf(http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI.")
	case len(c.key) > 1024:
		return wire.Errf(http.StatusBadRequest, "KeyTooLongError", "Your key is too long")
	}
	return nil
}

func (c *call) findBucket() error {
	c.b = c.s.bucket(c.bucket)
	if c.b == nil {
		return errNoSuchBucket(c.bucket)
	}
	if c.Signed && c.Region != c.b.Region {
		c.W.Header().Set("X-Amz-Bucket-Region", c.b.Region)
		e := wire.Errf(http.StatusMovedPermanently, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.")
		e.Extra = map[string]string{"Bucket": c.bucket, "Endpoint": c.bucket + ".s3." + c.b.Region + ".amazonaws.com"}
		return e
	}
	// HeadBucket says where the bucket is, even to those who may not read it; ListObjectsV2:
	// recorded, localstack test_s3.snapshot.json, test_region_header_exists_outside_us_east_1.
	if c.Operation == "HeadBucket" || c.Operation == "ListObjectsV2" {
		c.W.Header().Set("X-Amz-Bucket-Region", c.b.Region)
	}
	return c.checkOwner("X-Amz-Expected-Bucket-Owner", c.b)
}

// checkOwner refuses a request whose header expects another owner of the bucket.
func (c *call) checkOwner(header string, b *bucketRecord) error {
	expected := c.header(header)
	switch {
	case !c.hasHeader(header) || expected == b.Account:
		return nil
	case !wire.AccountID.MatchString(expected):
		return wire.Errf(http.StatusBadRequest, "InvalidBucketOwnerAWSAccountID", "The value of the expected bucket owner parameter must be an AWS Account ID... [%s]", expected)
	}
	return errAccessDenied()
}

// arn is the object's ARN, or the bucket's; "*" for ListBuckets.
func (c *call) arn() string {
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

func (s *Service) newCall(r *wire.Request) *call {
	c := &call{Request: r, s: s, query: r.HTTP.URL.Query()}
	c.bucket, c.key = resource(r.HTTP)
	c.op = findOperation(r.HTTP.Method, c.bucket, c.key, c.query, r.HTTP.Header)
	return c
}

// resource reads bucket and key, in virtual-host style (bucket.localhost,
// bucket.s3.us-east-1.localhost) or path style (anything else).
func resource(h *http.Request) (bucket, key string) {
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

// isPresigned reports whether the request is that of a presigned URL.
func (c *call) isPresigned() bool { return c.query.Has("X-Amz-Signature") }

// header reads a header, which a presigned URL may carry in its query.
func (c *call) header(name string) string {
	v := c.HTTP.Header.Get(name)
	if v == "" && c.isPresigned() {
		v = cmp.Or(c.query.Get(name), c.query.Get(strings.ToLower(name)))
	}
	return v
}

// hasHeader tells an absent header from an empty one, as policies do.
func (c *call) hasHeader(name string) bool {
	return len(c.HTTP.Header.Values(name)) > 0 || c.header(name) != ""
}

// checkAuthentication refuses a request that is signed twice, or a presigned one that is
// signed in part.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
func (c *call) checkAuthentication() error {
	switch authorization := c.HTTP.Header.Get("Authorization"); {
	case !slices.ContainsFunc(querySignature, c.query.Has):
		return nil
	case authorization != "":
		return errInvalidArgument("Authorization", authorization, "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified")
	case slices.ContainsFunc(querySignature, func(name string) bool { return !c.query.Has(name) }):
		return errQueryAuthentication()
	}
	return nil
}

func errQueryAuthentication() *wire.Error {
	return wire.Errf(http.StatusBadRequest, "AuthorizationQueryParametersError", "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
}

func (c *call) checkPresigned() error {
	if !c.isPresigned() {
		return nil
	}
	at, err := time.Parse("20060102T150405Z", c.query.Get("X-Amz-Date"))
	seconds, err2 := strconv.Atoi(c.query.Get("X-Amz-Expires"))
	if err != nil || err2 != nil || seconds < 1 || seconds > 7*24*3600 {
		return errQueryAuthentication()
	}
	if expiry := at.Add(time.Duration(seconds) * time.Second); c.Now.After(expiry) {
		e := wire.Errf(http.StatusForbidden, "AccessDenied", "Request has expired")
		e.Extra = map[string]string{ // recorded: localstack test_s3.snapshot.json, test_s3_presigned_url_expired
			"X-Amz-Expires": strconv.Itoa(seconds), "Expires": expiry.UTC().Format(time.RFC3339), "ServerTime": c.Now.UTC().Format(time.RFC3339),
		}
		return e
	}
	return c.checkSignedHeaders()
}

// checkSignedHeaders refuses a presigned request that does not have the headers
// that were signed, or has one of AWS's that was not, beside x-amz-content-sha256 (recorded:
// localstack test_s3.snapshot.json, test_put_object_with_md5_and_chunk_signature_bad_headers).
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
func (c *call) checkSignedHeaders() error {
	signed := c.SignedHeaders()
	var unsigned []string
	if !slices.Contains(signed, "host") {
		unsigned = append(unsigned, "host")
	}
	for name := range c.HTTP.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") && lower != "x-amz-content-sha256" && !slices.Contains(signed, lower) {
			unsigned = append(unsigned, lower)
		}
	}
	if len(unsigned) > 0 {
		slices.Sort(unsigned)
		e := wire.Errf(http.StatusForbidden, "AccessDenied", "There were headers present in the request which were not signed")
		e.Extra = map[string]string{"HeadersNotSigned": strings.Join(unsigned, ", ")}
		return e
	}
	for _, name := range signed {
		length := name == "content-length" && c.HTTP.ContentLength >= 0 // net/http takes it out of the headers
		if name != "host" && !length && len(c.HTTP.Header.Values(name)) == 0 {
			return wire.Errf(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
		}
	}
	return nil
}

func (c *call) write(a *response) {
	h := c.W.Header()
	answerHeaders(c.Request)
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
	c.W.WriteHeader(cmp.Or(a.status, http.StatusOK))
	switch {
	case a.xml != nil:
		_, _ = c.W.Write(a.xml) // a client that hung up is no error of ours
	case a.body != nil:
		_, err := io.Copy(c.W, a.body)
		_ = a.body.Close() // opened for reading
		if errors.Is(err, errDamaged) {
			wire.Drop() // the status is out: a short answer must not look like a whole one
		}
	}
}

func answerHeaders(r *wire.Request) {
	h := r.W.Header()
	h.Set("X-Amz-Request-Id", r.ID)
	h.Set("X-Amz-Id-2", hostID(r.ID))
	h.Set("Server", "AmazonS3")
}

// hostID is S3's second request id: opaque to clients.
func hostID(id string) string { return base64.StdEncoding.EncodeToString([]byte("localaws " + id)) }

// Fail implements [wire.Service].
func (*Service) Fail(r *wire.Request, e *wire.Error) {
	r.W.Code = e.Code
	answerHeaders(r)
	if e.Status == http.StatusNotModified || r.HTTP.Method == http.MethodHead {
		r.W.WriteHeader(e.Status)
		return
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + "<Error>")
	errorElements(&b, e)
	element(&b, "RequestId", r.ID)
	element(&b, "HostId", hostID(r.ID))
	b.WriteString("</Error>")
	r.W.Header().Set("Content-Type", "application/xml")
	r.W.WriteHeader(e.Status)
	_, _ = r.W.Write(b.Bytes()) // a client that hung up is no error of ours
}

// errorElements writes what S3 and S3 Control have in common.
func errorElements(b *bytes.Buffer, e *wire.Error) {
	element(b, "Code", e.Code)
	element(b, "Message", e.Message)
	for _, k := range slices.Sorted(maps.Keys(e.Extra)) {
		element(b, k, e.Extra[k])
	}
}

// quotes are as S3 writes them: clients look for its messages in the text of the answer.
var quotes = strings.NewReplacer("&#39;", "'", "&#34;", "&quot;")

func element(b *bytes.Buffer, name, value string) {
	b.WriteString("<" + name + ">")
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(value)) // a strings.Builder takes everything
	b.WriteString(quotes.Replace(escaped.String()))
	b.WriteString("</" + name + ">")
}

// asError finds the AWS error in err's chain.
func asError(err error) (*wire.Error, bool) {
	var e *wire.Error
	ok := errors.As(err, &e)
	return e, ok
}

// explain makes S3's error of any error.
func (c *call) explain(err error) *wire.Error {
	e, ok := asError(err)
	if !ok {
		log.Printf("localaws: %s of s3: %v", c.Operation, err)
		return wire.Errf(http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again.")
	}
	return e
}

func errNoSuchBucket(bucket string) *wire.Error {
	e := wire.Errf(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	e.Extra = map[string]string{"BucketName": bucket}
	return e
}

func errNoSuchKey(key string) *wire.Error {
	e := wire.Errf(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
	e.Extra = map[string]string{"Key": key}
	return e
}

func errNoSuchVersion(key, id string) *wire.Error {
	e := wire.Errf(http.StatusNotFound, "NoSuchVersion", "The specified version does not exist.")
	e.Extra = map[string]string{"Key": key, "VersionId": id}
	return e
}

func errAccessDenied() *wire.Error {
	return wire.Errf(http.StatusForbidden, "AccessDenied", "Access Denied")
}

func errInvalidArgument(name, value, format string, args ...any) *wire.Error {
	e := wire.Errf(http.StatusBadRequest, "InvalidArgument", format, args...)
	e.Extra = map[string]string{"ArgumentName": name, "ArgumentValue": value}
	return e
}

// errHeader is errInvalidArgument for a header whose value S3 does not repeat.
func errHeader(name, format string, args ...any) *wire.Error {
	e := errInvalidArgument(name, "", format, args...)
	delete(e.Extra, "ArgumentValue")
	return e
}

func errInvalidRequest(format string, args ...any) *wire.Error {
	return wire.Errf(http.StatusBadRequest, "InvalidRequest", format, args...)
}

func errMalformedXML() *wire.Error {
	return wire.Errf(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
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

// s3XMLBare renders v without the namespace, as S3 does in few places.
func s3XMLBare(root string, v any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	err := xml.NewEncoder(&b).EncodeElement(v, xml.StartElement{Name: xml.Name{Local: root}})
	return b.Bytes(), err
}

func xmlAnswer(root string, v any) (*response, error) {
	b, err := s3XML(root, v)
	return &response{xml: b}, err
}

// maxS3XML is the largest XML body: 1,000 keys of DeleteObjects fit.
const maxS3XML = 2 << 20

// readBody reads a small body whole, checking it against its digests.
func (c *call) readBody() ([]byte, error) {
	p, err := c.payload(maxS3XML)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(p)
}

// readXML reads a body whose root element is root into v.
func (c *call) readXML(root string, v any) error {
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
		if start.Name.Local != root || d.DecodeElement(v, &start) != nil || !isAtEnd(d) {
			return errMalformedXML()
		}
		return checkElements(body, reflect.TypeOf(v))
	}
}

// isAtEnd reports whether no other element follows.
func isAtEnd(d *xml.Decoder) bool {
	for {
		t, err := d.Token()
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		if _, element := t.(xml.StartElement); element {
			return false
		}
	}
}

// s3Time is a time as S3 writes it in XML.
type s3Time struct{ time.Time }

// MarshalText has S3's precision: the milliseconds are always zero. Recorded: localstack
// tests/aws/services/s3/test_s3_list_operations.py, test_s3_list_objects_timestamp_precision.
func (t s3Time) MarshalText() ([]byte, error) {
	return []byte(t.UTC().Format("2006-01-02T15:04:05") + ".000Z"), nil
}

func (t *s3Time) UnmarshalText(b []byte) (err error) {
	t.Time, err = time.Parse(time.RFC3339, string(b))
	return err
}
