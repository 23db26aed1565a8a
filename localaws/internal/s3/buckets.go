package s3

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// bucketRecord is a bucket and its configuration.
type bucketRecord struct {
	ID      string // of this bucket: another that later has its name has another
	Name    string
	Region  string
	Account string
	Created time.Time
	Key     []byte // S3's own key for SSE-S3, which wraps the objects' data keys

	Versioning   string // "" (never on), "Enabled" or "Suspended"
	MFADelete    string `json:",omitempty"` // "", or "Disabled" once that was said
	Policy       string
	Encryption   bucketEncryption
	AllowSSEC    bool
	PublicAccess *publicAccessBlock
	Ownership    string // "" where the ownership controls were deleted
	Grants       []aclGrant
	Tags         []s3Tag
	ObjectLock   bool
	CORS         []corsRule `json:",omitempty"`
	Acceleration string     `json:",omitempty"` // "", "Enabled" or "Suspended"
	Retention    *defaultRetention
	Replication  *replicationConfiguration `json:",omitempty"`
	// Documents are the configurations that are kept and given back, but not
	// carried out: "lifecycle", "logging".
	Documents map[string]string
}

// Open reads the buckets, and removes the files of objects that a kill left
// without a record: those of uploads that were under way, and those whose
// object had just been replaced.
func Open(db *bolt.DB, identities *policy.Identities, events *trail.Service, keys Keys, roles Roles, dir string) (*Service, error) {
	s := &Service{db: db, identities: identities, trail: events, keys: keys, roles: roles, dir: dir, buckets: map[string]*bucketRecord{}, writing: map[string]bool{}, disk: newDisk(dir)}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("localaws: making the directory of objects: %w", err)
	}
	if err := s.loadAccounts(); err != nil {
		return nil, err
	}
	if err := s.db.Update(forgetCompleted); err != nil {
		return nil, err
	}
	files := map[string]bool{}
	err := s.db.View(func(tx *bolt.Tx) error {
		err := store.Each(tx, BucketBucket, "", func(_ string, b bucketRecord) error { s.buckets[b.Name] = &b; return nil })
		if err != nil {
			return err
		}
		type filed struct{ File string }
		keep := func(_ string, f filed) error { files[f.File] = true; return nil }
		return errors.Join(store.Each(tx, ObjectBucket, "", keep), store.Each(tx, UploadBucket, "", keep))
	})
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("localaws: reading the directory of objects: %w", err)
	}
	for _, e := range entries {
		if !files[e.Name()] && fileName.MatchString(e.Name()) {
			if err := os.Remove(s.path(e.Name())); err != nil {
				return nil, fmt.Errorf("localaws: removing the remains of an upload: %w", err)
			}
		}
	}
	return s, nil
}

// fileName matches the names of objects' files: see newSealer. Files of other
// names are not localaws's and are left alone.
var fileName = regexp.MustCompile(`^[0-9a-f]{32}$`)

func (s *Service) bucket(name string) *bucketRecord {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.buckets[name]
}

// publish makes a committed bucket visible; nil takes it away.
func (s *Service) publish(name string, b *bucketRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b == nil {
		delete(s.buckets, name)
		return
	}
	s.buckets[name] = b
}

// begin marks a bucket as being configured; end takes the mark away. S3
// refuses a second write to a bucket's configuration while one is under way.
func (s *Service) begin(bucket string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing[bucket] {
		return wire.Errf(http.StatusConflict, "OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.")
	}
	s.writing[bucket] = true
	return nil
}

func (s *Service) end(bucket string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.writing, bucket)
}

// commit changes the state and records the call's event, both or neither.
func (c *call) commit(f func(tx *bolt.Tx) error) error {
	err := c.s.db.Update(func(tx *bolt.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return c.s.trail.RecordIn(tx, c.event(nil))
	})
	c.recorded = err == nil
	return err
}

// change writes a bucket's configuration. The caller has begun it.
func (c *call) change(f func(b *bucketRecord) error) error {
	return c.changeWith(func(_ *bolt.Tx, b *bucketRecord) error { return f(b) })
}

// changeWith is change for a configuration that other records decide about.
func (c *call) changeWith(f func(tx *bolt.Tx, b *bucketRecord) error) error {
	var b bucketRecord
	err := c.commit(func(tx *bolt.Tx) error {
		var ok bool
		var err error
		if b, ok, err = store.Load[bucketRecord](tx, BucketBucket, c.bucket); err != nil {
			return err
		}
		if !ok {
			return errNoSuchBucket(c.bucket)
		}
		if err := f(tx, &b); err != nil {
			return err
		}
		return store.Save(tx, BucketBucket, c.bucket, b)
	})
	if err == nil {
		c.s.publish(c.bucket, &b)
	}
	return err
}

// isEvent reports whether the call is a management event: a bucket-level
// operation of a signed request.
func (c *call) isEvent() bool { return c.op != nil && c.op.event != "" && c.Signed }

// event is the call's event.
func (c *call) event(failure error) trail.Event {
	if IsControl(c.HTTP) {
		e := c.controlEvent()
		if failure != nil {
			e.Fail(c.explain(failure))
		}
		return e
	}
	parameters := map[string]any{"Host": c.HTTP.Host}
	e := trail.Event{Request: c.Request, Source: "s3.amazonaws.com", Name: c.op.event,
		ReadOnly: c.HTTP.Method == http.MethodGet || c.HTTP.Method == http.MethodHead, Parameters: parameters}
	if c.bucket != "" {
		parameters["bucketName"] = c.bucket
		e.Resources = []trail.Resource{{ARN: bucketARN(c.bucket), Type: "AWS::S3::Bucket"}}
	}
	for _, sub := range bucketSubresources {
		if c.query.Has(sub) {
			parameters[sub] = ""
		}
	}
	if failure != nil {
		e.Fail(c.explain(failure))
	}
	return e
}

// canonicalID is the id under which S3 knows an account.
func canonicalID(account string) string {
	sum := sha256.Sum256([]byte("canonical user " + account))
	return hex.EncodeToString(sum[:])
}

type s3Owner struct {
	ID string
}

type createBucketConfiguration struct {
	LocationConstraint string
	Location           *struct{}
	Tags               []s3Tag `xml:"Tags>Tag"`
}

func createBucket(c *call) (*response, error) {
	if !validBucketName(c.bucket) {
		e := wire.Errf(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid.")
		e.Extra = map[string]string{"BucketName": c.bucket}
		return nil, e
	}
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	var in createBucketConfiguration
	if len(body) > 0 {
		if err := parseXML(body, "CreateBucketConfiguration", &in); err != nil {
			return nil, err
		}
	}
	if in.Location != nil {
		return nil, wire.NotImplemented("s3", "directory buckets")
	}
	if err := checkLocation(c.Region, in.LocationConstraint); err != nil {
		return nil, err
	}
	if err := checkBucketTags(in.Tags); err != nil {
		return nil, err
	}
	ownership := "BucketOwnerEnforced"
	if c.hasHeader("X-Amz-Object-Ownership") {
		ownership = c.header("X-Amz-Object-Ownership")
	}
	if !slices.Contains(ownerships, ownership) { // recorded: localstack test_s3_api.snapshot.json, test_bucket_ownership_controls_exc
		return nil, errHeader("x-amz-object-ownership", "Invalid x-amz-object-ownership header: %s", ownership)
	}
	grants, err := c.describeBucketACL(ownership)
	if err != nil {
		return nil, err
	}
	b := bucketRecord{
		ID: wire.NewUUID(), Name: c.bucket, Region: cmp.Or(in.LocationConstraint, c.Region), Account: c.Who.Account, Created: c.Now.UTC(), Key: make([]byte, 32),
		Encryption: bucketEncryption{Algorithm: sseS3}, Ownership: ownership, Grants: grants, Tags: in.Tags,
		PublicAccess: &publicAccessBlock{true, true, true, true},
	}
	_, _ = rand.Read(b.Key) // never fails: see crypto/rand.Read
	switch v := c.header("X-Amz-Bucket-Object-Lock-Enabled"); {
	case strings.EqualFold(v, "true"):
		b.ObjectLock, b.Versioning = true, "Enabled"
	case v != "" && !strings.EqualFold(v, "false"):
		return nil, errInvalidArgument("x-amz-bucket-object-lock-enabled", v, "The value of x-amz-bucket-object-lock-enabled is true or false")
	}
	answer := &response{header: map[string]string{"Location": "/" + c.bucket, "X-Amz-Bucket-Arn": bucketARN(c.bucket)}}
	if in.LocationConstraint != "" { // recorded: localstack test_s3.snapshot.json, test_create_bucket_head_bucket
		answer.header["Location"] = "http://" + c.bucket + ".s3.amazonaws.com/"
	}
	err = c.commit(func(tx *bolt.Tx) error {
		old, ok, err := store.Load[bucketRecord](tx, BucketBucket, c.bucket)
		switch {
		case err != nil:
			return err
		case ok && old.Account != c.Who.Account:
			return errBucketExists("BucketAlreadyExists", "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.", c.bucket)
		case ok && (b.Region != "us-east-1" || old.Region != "us-east-1"):
			return errBucketExists("BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.", c.bucket)
		case ok && old.Ownership == "BucketOwnerEnforced" && len(grants) > 0:
			return wire.NotImplemented("s3", "an ACL for an existing bucket without ACLs")
		case ok: // us-east-1 says yes again, and resets the ACL
			b = old
			b.Grants = grants
		}
		return store.Save(tx, BucketBucket, c.bucket, b)
	})
	if err == nil {
		c.s.publish(c.bucket, &b)
	}
	return answer, err
}

func errBucketExists(code, message, bucket string) *wire.Error {
	e := wire.Errf(http.StatusConflict, code, "%s", message)
	e.Extra = map[string]string{"BucketName": bucket}
	return e
}

// checkLocation holds the LocationConstraint against the Region that the
// request was signed for. Only us-east-1, the global endpoint, looks at other Regions:
// the rest refuse every other name, also one that no Region has (moto's AWS-verified
// test_create_bucket_with_wrong_location_constraint).
func checkLocation(region, constraint string) error {
	switch {
	case region == "us-east-1" && (constraint == "us-east-1" || constraint != "" && !wire.RegionEnabled(constraint)):
		e := wire.Errf(http.StatusBadRequest, "InvalidLocationConstraint", "The specified location-constraint is not valid")
		e.Extra = map[string]string{"LocationConstraint": constraint}
		return e
	case region == "us-east-1", constraint == region:
		return nil
	}
	return wire.Errf(http.StatusBadRequest, "IllegalLocationConstraintException", "The %s location constraint is incompatible for the region specific endpoint this request was sent to.", cmp.Or(constraint, "unspecified"))
}

var (
	bucketName  = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	badPrefixes = []string{"xn--", "sthree-", "amzn-s3-demo-"}
	badSuffixes = []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"}
)

// validBucketName holds a name against S3's rules.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
func validBucketName(name string) bool {
	return bucketName.MatchString(name) && !strings.Contains(name, "..") && net.ParseIP(name) == nil &&
		!slices.ContainsFunc(badPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) &&
		!slices.ContainsFunc(badSuffixes, func(p string) bool { return strings.HasSuffix(name, p) })
}

func headBucket(c *call) (*response, error) {
	return &response{header: map[string]string{
		"X-Amz-Bucket-Region": c.b.Region, "X-Amz-Access-Point-Alias": "false", "X-Amz-Bucket-Arn": bucketARN(c.bucket), "Content-Type": "application/xml",
	}}, nil
}

func deleteBucket(c *call) (*response, error) {
	var parts []string
	err := c.commit(func(tx *bolt.Tx) error {
		parts = nil
		prefix := c.bucket + "/"
		if k, _ := tx.Bucket(ObjectBucket).Cursor().Seek([]byte(prefix)); strings.HasPrefix(string(k), prefix) {
			e := wire.Errf(http.StatusConflict, "BucketNotEmpty", "The bucket you tried to delete is not empty")
			if v := c.b.Versioning; v != "" {
				e.Message += ". You must delete all versions in the bucket."
			}
			e.Extra = map[string]string{"BucketName": c.bucket}
			return e
		}
		// Uploads that were never completed do not hold a bucket back.
		var keys []string
		err := store.Each(tx, UploadBucket, prefix, func(key string, p partRecord) error {
			keys = append(keys, key)
			if p.File != "" {
				parts = append(parts, p.File)
			}
			return nil
		})
		for _, k := range keys {
			err = errors.Join(err, store.Remove(tx, UploadBucket, k))
		}
		return errors.Join(err, store.Remove(tx, BucketBucket, c.bucket))
	})
	if err != nil {
		return nil, err
	}
	c.s.publish(c.bucket, nil)
	c.s.discard(parts...)
	return &response{status: http.StatusNoContent}, nil
}

// discard removes files that no record names any more. One that cannot be
// removed is swept at the next start.
func (s *Service) discard(files ...string) {
	for _, f := range files {
		if f != "" {
			_ = os.Remove(s.path(f))
			s.disk.wrote(f, false)
		}
	}
}

func getBucketLocation(c *call) (*response, error) {
	region := c.b.Region
	if region == "us-east-1" {
		region = ""
	}
	return xmlAnswer("LocationConstraint", struct {
		Region string `xml:",chardata"`
	}{region})
}

type listedBucket struct {
	Name         string
	CreationDate s3Time
	BucketRegion string
	BucketArn    string
}

func listBuckets(c *call) (*response, error) {
	prefix, region, after := c.query.Get("prefix"), c.query.Get("bucket-region"), c.query.Get("continuation-token")
	limit, err := intParam(c.query, "max-buckets", 10_000, 1, 10_000)
	if err != nil {
		return nil, err
	}
	out := struct {
		Owner             s3Owner
		Buckets           []listedBucket `xml:"Buckets>Bucket"`
		ContinuationToken string         `xml:",omitempty"`
		Prefix            string         `xml:",omitempty"`
	}{Owner: s3Owner{canonicalID(c.Who.Account)}, Prefix: prefix}
	c.s.mu.RLock()
	for _, b := range c.s.buckets {
		if b.Account == c.Who.Account && strings.HasPrefix(b.Name, prefix) && (region == "" || b.Region == region) && b.Name > after {
			out.Buckets = append(out.Buckets, listedBucket{b.Name, s3Time{b.Created}, b.Region, bucketARN(b.Name)})
		}
	}
	c.s.mu.RUnlock()
	slices.SortFunc(out.Buckets, func(a, b listedBucket) int { return strings.Compare(a.Name, b.Name) })
	if len(out.Buckets) > limit {
		out.Buckets = out.Buckets[:limit]
		out.ContinuationToken = out.Buckets[limit-1].Name
	}
	return xmlAnswer("ListAllMyBucketsResult", out)
}

// xmlNode is any XML element, for configurations that are kept as they came.
type xmlNode struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []xmlNode  `xml:",any"`
}

// child is the text of an element's child.
func (n xmlNode) child(name string) string {
	for _, c := range n.Children {
		if c.XMLName.Local == name {
			return strings.TrimSpace(c.Text)
		}
	}
	return ""
}

// plain takes namespaces away, which the root element declares for all, and
// the white space between elements. Of attributes only xsi:type stays: grantees
// have it.
func (n xmlNode) plain() xmlNode {
	n.XMLName.Space = ""
	var attrs []xml.Attr
	for _, a := range n.Attrs {
		if a.Name.Space == xmlSchemaNS && a.Name.Local == "type" {
			attrs = []xml.Attr{{Name: xml.Name{Local: "xmlns:xsi"}, Value: xmlSchemaNS}, {Name: xml.Name{Local: "xsi:type"}, Value: a.Value}}
		}
	}
	n.Attrs = attrs
	if len(n.Children) > 0 {
		n.Text = ""
	}
	for i, c := range n.Children {
		n.Children[i] = c.plain()
	}
	return n
}
