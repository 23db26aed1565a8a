package localaws

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
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// s3Bucket is a bucket and its configuration.
type s3Bucket struct {
	ID      string // of this bucket: another that later has its name has another
	Name    string
	Region  string
	Account string
	Created time.Time
	Key     []byte // S3's own key for SSE-S3, which wraps the objects' data keys

	Versioning   string // "" (never on), "Enabled" or "Suspended"
	Policy       string
	Encryption   bucketEncryption
	AllowSSEC    bool
	PublicAccess *publicAccessBlock
	Ownership    string // "" where the ownership controls were deleted
	Grants       []aclGrant
	Tags         []s3Tag
	ObjectLock   bool
	Retention    *defaultRetention
	// Documents are the configurations that are kept and given back, but not
	// carried out: "lifecycle", "logging".
	Documents map[string]string
}

// openS3 reads the buckets, and removes the files of objects that a kill left
// without a record: those of uploads that were under way, and those whose
// object had just been replaced.
func (s *Server) openS3() error {
	s.s3.dir = filepath.Join(s.opts.Dir, "objects")
	if err := os.MkdirAll(s.s3.dir, 0o700); err != nil {
		return fmt.Errorf("localaws: making the directory of objects: %w", err)
	}
	s.s3.buckets, s.s3.writing = map[string]*s3Bucket{}, map[string]bool{}
	files := map[string]bool{}
	err := s.db.View(func(tx *bolt.Tx) error {
		err := each(tx, boltS3Buckets, "", func(_ string, b s3Bucket) error { s.s3.buckets[b.Name] = &b; return nil })
		if err != nil {
			return err
		}
		type filed struct{ File string }
		keep := func(_ string, f filed) error { files[f.File] = true; return nil }
		return errors.Join(each(tx, boltS3Objects, "", keep), each(tx, boltS3Uploads, "", keep))
	})
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(s.s3.dir)
	if err != nil {
		return fmt.Errorf("localaws: reading the directory of objects: %w", err)
	}
	for _, e := range entries {
		if !files[e.Name()] {
			if err := os.Remove(s.s3.path(e.Name())); err != nil {
				return fmt.Errorf("localaws: removing the remains of an upload: %w", err)
			}
		}
	}
	return nil
}

func (s *s3Service) bucket(name string) *s3Bucket {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.buckets[name]
}

// publish makes a committed bucket visible; nil takes it away.
func (s *s3Service) publish(name string, b *s3Bucket) {
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
func (s *s3Service) begin(bucket string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing[bucket] {
		return errf(http.StatusConflict, "OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.")
	}
	s.writing[bucket] = true
	return nil
}

func (s *s3Service) end(bucket string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.writing, bucket)
}

// change writes a bucket's configuration. The caller has begun it.
func (c *s3Call) change(f func(b *s3Bucket) error) error {
	var b s3Bucket
	err := c.s.db.Update(func(tx *bolt.Tx) error {
		var ok bool
		var err error
		if b, ok, err = load[s3Bucket](tx, boltS3Buckets, c.bucket); err != nil {
			return err
		}
		if !ok {
			return errNoSuchBucket(c.bucket)
		}
		if err := f(&b); err != nil {
			return err
		}
		return save(tx, boltS3Buckets, c.bucket, b)
	})
	if err == nil {
		c.s.s3.publish(c.bucket, &b)
	}
	return err
}

// recordEvent tells the trail of a bucket-level operation.
func (c *s3Call) recordEvent(failure error) {
	if c.op == nil || c.op.event == "" || !c.signed {
		return
	}
	parameters := map[string]any{"Host": c.http.Host}
	e := trailEvent{r: c.request, eventSource: "s3.amazonaws.com", eventName: c.op.event,
		readOnly: c.http.Method == http.MethodGet || c.http.Method == http.MethodHead, request: parameters}
	if c.bucket != "" {
		parameters["bucketName"] = c.bucket
		e.resources = []trailResource{{ARN: bucketARN(c.bucket), Type: "AWS::S3::Bucket"}}
	}
	for _, sub := range bucketSubresources {
		if c.query.Has(sub) {
			parameters[sub] = ""
		}
	}
	if failure != nil {
		e.failed(c.explain(failure))
	}
	_ = c.s.record(e) // the call has been carried out: it cannot be taken back for its event
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

func createBucket(c *s3Call) (*s3Answer, error) {
	if !validBucketName(c.bucket) {
		e := errf(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid.")
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
		return nil, errNotImplemented("s3", "directory buckets")
	}
	if err := checkLocation(c.region, in.LocationConstraint); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags, maxBucketTags); err != nil {
		return nil, err
	}
	ownership := cmp.Or(c.header("X-Amz-Object-Ownership"), "BucketOwnerEnforced")
	if !slices.Contains(ownerships, ownership) {
		return nil, errInvalidArgument("x-amz-object-ownership", ownership, "Invalid x-amz-object-ownership header: %s", ownership)
	}
	if acl := c.header("X-Amz-Acl"); acl != "" && acl != "private" {
		if ownership == "BucketOwnerEnforced" {
			return nil, errf(http.StatusBadRequest, "InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
		}
		return nil, errNotImplemented("s3", "CreateBucket with the ACL "+acl)
	}
	b := s3Bucket{
		ID: newUUID(), Name: c.bucket, Region: c.region, Account: c.who.Account, Created: c.now.UTC(), Key: make([]byte, 32),
		Encryption: bucketEncryption{Algorithm: sseS3}, Ownership: ownership, Tags: in.Tags,
		PublicAccess: &publicAccessBlock{true, true, true, true},
	}
	_, _ = rand.Read(b.Key) // never fails: see crypto/rand.Read
	if strings.EqualFold(c.header("X-Amz-Bucket-Object-Lock-Enabled"), "true") {
		b.ObjectLock, b.Versioning = true, "Enabled"
	}
	answer := &s3Answer{header: map[string]string{"Location": "/" + c.bucket, "X-Amz-Bucket-Arn": bucketARN(c.bucket)}}
	existed := false
	err = c.s.db.Update(func(tx *bolt.Tx) error {
		old, ok, err := load[s3Bucket](tx, boltS3Buckets, c.bucket)
		switch existed = ok; {
		case err != nil:
			return err
		case ok && old.Account != c.who.Account:
			return errBucketExists("BucketAlreadyExists", "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.", c.bucket)
		case ok && (c.region != "us-east-1" || old.Region != "us-east-1"):
			return errBucketExists("BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.", c.bucket)
		case ok: // us-east-1 says yes again, and changes nothing
			return nil
		}
		return save(tx, boltS3Buckets, c.bucket, b)
	})
	if err == nil && !existed {
		c.s.s3.publish(c.bucket, &b)
	}
	return answer, err
}

func errBucketExists(code, message, bucket string) *apiError {
	e := errf(http.StatusConflict, code, "%s", message)
	e.Extra = map[string]string{"BucketName": bucket}
	return e
}

// checkLocation holds the LocationConstraint against the Region that the
// request was signed for.
func checkLocation(region, constraint string) error {
	switch {
	case constraint == "us-east-1" || constraint != "" && !regionEnabled(constraint):
		e := errf(http.StatusBadRequest, "InvalidLocationConstraint", "The specified location-constraint is not valid")
		e.Extra = map[string]string{"LocationConstraint": constraint}
		return e
	case constraint == "" && region == "us-east-1", constraint == region:
		return nil
	}
	return errf(http.StatusBadRequest, "IllegalLocationConstraintException", "The %s location constraint is incompatible for the region specific endpoint this request was sent to.", cmp.Or(constraint, "unspecified"))
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

func headBucket(c *s3Call) (*s3Answer, error) {
	return &s3Answer{header: map[string]string{
		"X-Amz-Bucket-Region": c.b.Region, "X-Amz-Access-Point-Alias": "false", "X-Amz-Bucket-Arn": bucketARN(c.bucket), "Content-Type": "application/xml",
	}}, nil
}

func deleteBucket(c *s3Call) (*s3Answer, error) {
	var parts []string
	err := c.s.db.Update(func(tx *bolt.Tx) error {
		parts = nil
		prefix := c.bucket + "/"
		if k, _ := tx.Bucket(boltS3Objects).Cursor().Seek([]byte(prefix)); strings.HasPrefix(string(k), prefix) {
			e := errf(http.StatusConflict, "BucketNotEmpty", "The bucket you tried to delete is not empty")
			if v := c.b.Versioning; v != "" {
				e.Message += ". You must delete all versions in the bucket."
			}
			e.Extra = map[string]string{"BucketName": c.bucket}
			return e
		}
		// Uploads that were never completed do not hold a bucket back.
		var keys []string
		err := each(tx, boltS3Uploads, prefix, func(key string, p s3Part) error {
			keys = append(keys, key)
			if p.File != "" {
				parts = append(parts, p.File)
			}
			return nil
		})
		for _, k := range keys {
			err = errors.Join(err, remove(tx, boltS3Uploads, k))
		}
		return errors.Join(err, remove(tx, boltS3Buckets, c.bucket))
	})
	if err != nil {
		return nil, err
	}
	c.s.s3.publish(c.bucket, nil)
	c.s.s3.discard(parts...)
	return &s3Answer{status: http.StatusNoContent}, nil
}

// discard removes files that no record names any more. One that cannot be
// removed is swept at the next start.
func (s *s3Service) discard(files ...string) {
	for _, f := range files {
		if f != "" {
			_ = os.Remove(s.path(f))
		}
	}
}

func getBucketLocation(c *s3Call) (*s3Answer, error) {
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

func listBuckets(c *s3Call) (*s3Answer, error) {
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
	}{Owner: s3Owner{canonicalID(c.who.Account)}, Prefix: prefix}
	c.s.s3.mu.RLock()
	for _, b := range c.s.s3.buckets {
		if b.Account == c.who.Account && strings.HasPrefix(b.Name, prefix) && (region == "" || b.Region == region) && b.Name > after {
			out.Buckets = append(out.Buckets, listedBucket{b.Name, s3Time{b.Created}, b.Region, bucketARN(b.Name)})
		}
	}
	c.s.s3.mu.RUnlock()
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
	Text     string    `xml:",chardata"`
	Children []xmlNode `xml:",any"`
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
// the white space between elements.
func (n xmlNode) plain() xmlNode {
	n.XMLName.Space = ""
	if len(n.Children) > 0 {
		n.Text = ""
	}
	for i, c := range n.Children {
		n.Children[i] = c.plain()
	}
	return n
}
