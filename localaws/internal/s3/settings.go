package s3

import (
	"cmp"
	"encoding/xml"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// The sub-resources of a bucket, each as S3's API reference has it. Lifecycle
// rules and access logging are kept and given back, but not carried out:
// nothing expires here, and no log is delivered.

func errNotFound(code, message string, c *call) *wire.Error {
	e := wire.Errf(http.StatusNotFound, code, "%s", message)
	e.Extra = map[string]string{"BucketName": c.bucket}
	return e
}

// changed answers a write of the configuration.
func (c *call) changed(status int, f func(b *bucketRecord) error) (*response, error) {
	return &response{status: status}, c.change(f)
}

// deleteNothing deletes a configuration that cannot be there.
func deleteNothing(*call) (*response, error) {
	return &response{status: http.StatusNoContent}, nil
}

// Policy

func getBucketPolicy(c *call) (*response, error) {
	if c.b.Policy == "" {
		return nil, errNotFound("NoSuchBucketPolicy", "The bucket policy does not exist", c)
	}
	return &response{xml: []byte(c.b.Policy), header: map[string]string{"Content-Type": "application/json"}}, nil
}

// maxBucketPolicy is the largest bucket policy: 20 KB.
const maxBucketPolicy = 20 << 10

func putBucketPolicy(c *call) (*response, error) {
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	if len(body) > maxBucketPolicy {
		return nil, wire.Errf(http.StatusBadRequest, "PolicyTooLarge", "Policy exceeds the maximum allowed document size.")
	}
	p, err := policy.Parse(string(body))
	if err != nil {
		return nil, wire.Errf(http.StatusBadRequest, "MalformedPolicy", "%v", err)
	}
	if err := c.checkBucketPolicy(p); err != nil {
		return nil, err
	}
	return c.changed(http.StatusNoContent, func(b *bucketRecord) error {
		if c.s.blockingPolicies(b) && p.IsPublic() {
			return wire.Errf(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: s3:PutBucketPolicy on resource: %q because public policies are blocked by the BlockPublicPolicy block public access setting.", c.Who.ARN, bucketARN(c.bucket))
		}
		b.Policy = string(body)
		return nil
	})
}

func deleteBucketPolicy(c *call) (*response, error) {
	return c.changed(http.StatusNoContent, func(b *bucketRecord) error { b.Policy = ""; return nil })
}

func getBucketPolicyStatus(c *call) (*response, error) {
	if c.b.Policy == "" {
		return nil, errNotFound("NoSuchBucketPolicy", "The bucket policy does not exist", c)
	}
	p, err := policy.Parse(c.b.Policy)
	if err != nil {
		return nil, err
	}
	return xmlAnswer("PolicyStatus", struct{ IsPublic bool }{p.IsPublic()})
}

// Encryption

// bucketEncryption is the default for objects that name no encryption.
type bucketEncryption struct {
	Algorithm string // "AES256" or "aws:kms"
	KeyID     string // as typed; "" is the AWS managed key
	BucketKey bool
	// Configured tells a configuration from what every bucket has without one.
	Configured bool `json:",omitempty"`
}

// blocksSSEC reports whether SSE-C is refused, which it is in every new bucket.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/blocking-unblocking-s3-c-encryption-gpb.html
func (b *bucketRecord) blocksSSEC() bool { return !b.AllowSSEC }

type encryptionConfiguration struct {
	Rules []encryptionRule `xml:"Rule"`
}

type encryptionRule struct {
	Default   *encryptionByDefault `xml:"ApplyServerSideEncryptionByDefault"`
	BucketKey bool                 `xml:"BucketKeyEnabled"`
	Blocked   []string             `xml:"BlockedEncryptionTypes>EncryptionType"`
}

type encryptionByDefault struct {
	Algorithm string `xml:"SSEAlgorithm"`
	KeyID     string `xml:"KMSMasterKeyID,omitempty"`
}

func getBucketEncryption(c *call) (*response, error) {
	e := c.b.Encryption
	r := encryptionRule{Default: &encryptionByDefault{e.Algorithm, e.KeyID}, BucketKey: e.BucketKey, Blocked: []string{"SSE-C"}}
	if c.b.AllowSSEC {
		r.Blocked = []string{"NONE"}
	}
	return xmlAnswer("ServerSideEncryptionConfiguration", encryptionConfiguration{[]encryptionRule{r}})
}

// putBucketEncryption does not ask whether the key exists, as S3 does not:
// the first object that is to be encrypted under it finds out.
func putBucketEncryption(c *call) (*response, error) {
	var in encryptionConfiguration
	if err := c.readXML("ServerSideEncryptionConfiguration", &in); err != nil {
		return nil, err
	}
	if len(in.Rules) != 1 {
		return nil, errMalformedXML()
	}
	r := in.Rules[0]
	e := bucketEncryption{Algorithm: sseS3, BucketKey: r.BucketKey, Configured: true}
	if d := r.Default; d != nil {
		e.Algorithm, e.KeyID = d.Algorithm, d.KeyID
		switch {
		case e.Algorithm == "aws:kms:dsse":
			return nil, wire.NotImplemented("s3", "dual-layer encryption (aws:kms:dsse)")
		case e.Algorithm != sseS3 && e.Algorithm != sseKMS:
			return nil, errMalformedXML()
		case e.Algorithm == sseS3 && e.KeyID != "":
			return nil, errHeader("ApplyServerSideEncryptionByDefault", "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms")
		}
	}
	for _, blocked := range r.Blocked {
		if blocked != "SSE-C" && blocked != "NONE" {
			return nil, errMalformedXML()
		}
	}
	return c.changed(http.StatusOK, func(b *bucketRecord) error {
		b.Encryption = e
		if len(r.Blocked) > 0 {
			b.AllowSSEC = !slices.Contains(r.Blocked, "SSE-C")
		}
		return nil
	})
}

func deleteBucketEncryption(c *call) (*response, error) {
	return c.changed(http.StatusNoContent, func(b *bucketRecord) error {
		b.Encryption = bucketEncryption{Algorithm: sseS3}
		return nil
	})
}

// Public access block

type publicAccessBlock struct {
	BlockPublicAcls       bool
	IgnorePublicAcls      bool
	BlockPublicPolicy     bool
	RestrictPublicBuckets bool
}

func (p *publicAccessBlock) blocksPolicy() bool { return p != nil && p.BlockPublicPolicy }
func (p *publicAccessBlock) restricts() bool    { return p != nil && p.RestrictPublicBuckets }

func getPublicAccessBlock(c *call) (*response, error) {
	if c.b.PublicAccess == nil {
		return nil, errNotFound("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found", c)
	}
	return xmlAnswer("PublicAccessBlockConfiguration", c.b.PublicAccess)
}

func putPublicAccessBlock(c *call) (*response, error) {
	var in publicAccessBlock
	if err := c.readXML("PublicAccessBlockConfiguration", &in); err != nil {
		return nil, err
	}
	return c.changed(http.StatusOK, func(b *bucketRecord) error { b.PublicAccess = &in; return nil })
}

func deletePublicAccessBlock(c *call) (*response, error) {
	return c.changed(http.StatusNoContent, func(b *bucketRecord) error { b.PublicAccess = nil; return nil })
}

// Ownership

var ownerships = []string{"BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"}

type ownershipControls struct {
	Ownership []string `xml:"Rule>ObjectOwnership"`
}

func getOwnershipControls(c *call) (*response, error) {
	if c.b.Ownership == "" {
		return nil, errNotFound("OwnershipControlsNotFoundError", "The bucket ownership controls were not found", c)
	}
	return xmlAnswer("OwnershipControls", ownershipControls{[]string{c.b.Ownership}})
}

func putOwnershipControls(c *call) (*response, error) {
	var in ownershipControls
	if err := c.readXML("OwnershipControls", &in); err != nil {
		return nil, err
	}
	if len(in.Ownership) != 1 || !slices.Contains(ownerships, in.Ownership[0]) {
		return nil, errMalformedXML()
	}
	return c.changed(http.StatusOK, func(b *bucketRecord) error {
		if in.Ownership[0] == "BucketOwnerEnforced" && len(b.Grants) > 0 {
			return wire.Errf(http.StatusBadRequest, "InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
		}
		b.Ownership = in.Ownership[0]
		return nil
	})
}

func deleteOwnershipControls(c *call) (*response, error) {
	return c.changed(http.StatusNoContent, func(b *bucketRecord) error { b.Ownership = ""; return nil })
}

// Versioning

type versioningConfiguration struct {
	Status    string `xml:",omitempty"`
	MFADelete string `xml:"MfaDelete,omitempty"`
}

func getBucketVersioning(c *call) (*response, error) {
	return xmlAnswer("VersioningConfiguration", versioningConfiguration{c.b.Versioning, c.b.MFADelete})
}

func putBucketVersioning(c *call) (*response, error) {
	var in versioningConfiguration
	if err := c.readXML("VersioningConfiguration", &in); err != nil {
		return nil, err
	}
	switch {
	case in.MFADelete == "Enabled":
		return nil, wire.NotImplemented("s3", "MFA delete")
	case in.MFADelete != "" && in.MFADelete != "Disabled":
		return nil, errMalformedXML()
	case in.Status == "":
		return nil, wire.Errf(http.StatusBadRequest, "IllegalVersioningConfigurationException", "The Versioning element must be specified")
	case in.Status != "Enabled" && in.Status != "Suspended": // recorded: localstack test_s3_api.snapshot.json, test_bucket_versioning_crud
		return nil, errMalformedXML()
	}
	return c.changed(http.StatusOK, func(b *bucketRecord) error {
		switch suspends := in.Status == "Suspended"; {
		case suspends && b.ObjectLock:
			return wire.Errf(http.StatusConflict, "InvalidBucketState", "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
		case suspends && b.Replication != nil:
			return wire.Errf(http.StatusConflict, "InvalidBucketState", "A replication configuration is present on this bucket, so you cannot change the versioning state. To change the versioning state, first delete the replication configuration.")
		}
		b.Versioning = in.Status
		if in.MFADelete != "" { // shown from now on
			b.MFADelete = in.MFADelete
		}
		return nil
	})
}

// Object lock

type objectLockConfiguration struct {
	Enabled string `xml:"ObjectLockEnabled"`
	Rule    *objectLockRule
}

type objectLockRule struct {
	Retention *defaultRetention `xml:"DefaultRetention"`
}

// defaultRetention is what a new object of a bucket is locked with: exactly one
// of Days and Years is set.
type defaultRetention struct {
	Mode  string // "GOVERNANCE" or "COMPLIANCE"
	Days  int    `xml:",omitempty"`
	Years int    `xml:",omitempty"`
}

func getObjectLockConfiguration(c *call) (*response, error) {
	if !c.b.ObjectLock {
		return nil, errNotFound("ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket", c)
	}
	out := objectLockConfiguration{Enabled: "Enabled"}
	if c.b.Retention != nil {
		out.Rule = &objectLockRule{c.b.Retention}
	}
	return xmlAnswer("ObjectLockConfiguration", out)
}

func putObjectLockConfiguration(c *call) (*response, error) {
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	if len(body) == 0 { // moto's AWS-verified test_put_object_lock_misconfiguration
		return nil, wire.Errf(http.StatusBadRequest, "MissingRequestBodyError", "Request Body is empty")
	}
	var in objectLockConfiguration
	if err := parseXML(body, "ObjectLockConfiguration", &in); err != nil {
		return nil, err
	}
	// Recorded: localstack test_s3_api.snapshot.json, test_put_object_lock_configuration_exc.
	if r := in.Rule; in.Enabled != "Enabled" || r != nil && (r.Retention == nil || !r.Retention.valid()) {
		return nil, errMalformedXML()
	}
	var retention *defaultRetention
	if in.Rule != nil {
		retention = in.Rule.Retention
	}
	return c.changed(http.StatusOK, func(b *bucketRecord) error {
		if b.Versioning != "Enabled" {
			return wire.Errf(http.StatusConflict, "InvalidBucketState", "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
		}
		b.ObjectLock, b.Retention = true, retention
		return nil
	})
}

func (r *defaultRetention) valid() bool {
	return validLockMode(r.Mode) && r.Days >= 0 && r.Years >= 0 && (r.Days > 0) != (r.Years > 0) && r.Days <= 36500 && r.Years <= 100
}

func validLockMode(mode string) bool { return mode == "GOVERNANCE" || mode == "COMPLIANCE" }

// Tags

type s3Tag struct {
	Key   string
	Value string
}

type s3Tagging struct {
	Tags []s3Tag `xml:"TagSet>Tag"`
}

const (
	maxBucketTags = 50
	maxObjectTags = 10
)

// tagText is what keys and values of tags consist of.
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
var tagText = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

func checkBucketTags(tags []s3Tag) error {
	if len(tags) > maxBucketTags {
		return wire.Errf(http.StatusBadRequest, "BadRequest", "Tag count cannot be greater than %d", maxBucketTags)
	}
	return checkTags(tags, "System tags cannot be added/updated by requester")
}

func checkObjectTags(tags []s3Tag) error {
	if len(tags) > maxObjectTags { // moto's AWS-verified test_put_object_tagging_too_many_tags
		return wire.Errf(http.StatusBadRequest, "BadRequest", "Object tags cannot be greater than %d", maxObjectTags)
	}
	return checkTags(tags, "Your TagKey cannot be prefixed with aws:")
}

// checkTags refuses tags that may not be; system is the answer to a key of AWS's own.
// Recorded: localstack test_s3_api.snapshot.json, test_tagging_validation.
func checkTags(tags []s3Tag, system string) error {
	seen := map[string]bool{}
	for _, t := range tags {
		extra := map[string]string{"TagKey": t.Key}
		message := ""
		switch {
		case t.Key == "" || len([]rune(t.Key)) > 128 || !tagText.MatchString(t.Key):
			message = "The TagKey you have provided is invalid"
		case len([]rune(t.Value)) > 256 || !tagText.MatchString(t.Value):
			message = "The TagValue you have provided is invalid"
			extra["TagValue"] = t.Value
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			message = system
		case seen[t.Key]:
			message = "Cannot provide multiple Tags with the same key"
		}
		if message != "" {
			return &wire.Error{Status: http.StatusBadRequest, Code: "InvalidTag", Message: message, Extra: extra}
		}
		seen[t.Key] = true
	}
	return nil
}

func getBucketTagging(c *call) (*response, error) {
	if len(c.b.Tags) == 0 {
		return nil, errNotFound("NoSuchTagSet", "The TagSet does not exist", c)
	}
	return xmlAnswer("Tagging", s3Tagging{c.b.Tags})
}

func putBucketTagging(c *call) (*response, error) {
	var in s3Tagging
	if err := c.readXML("Tagging", &in); err != nil {
		return nil, err
	}
	if err := checkBucketTags(in.Tags); err != nil {
		return nil, err
	}
	return c.changed(http.StatusNoContent, func(b *bucketRecord) error { b.Tags = in.Tags; return nil })
}

func deleteBucketTagging(c *call) (*response, error) {
	return c.changed(http.StatusNoContent, func(b *bucketRecord) error { b.Tags = nil; return nil })
}

// Lifecycle

const (
	headerTransition  = "X-Amz-Transition-Default-Minimum-Object-Size"
	defaultTransition = "all_storage_classes_128K"
)

func getLifecycle(c *call) (*response, error) {
	doc, ok := c.b.Documents["lifecycle"]
	if !ok {
		return nil, errNotFound("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist", c)
	}
	return &response{xml: []byte(doc), header: map[string]string{headerTransition: c.b.Documents["transition"]}}, nil
}

// lifecycle is what a lifecycle configuration may have in it.
type lifecycle struct {
	Rules []struct {
		ID, Status string
		Prefix     *string
		Filter     *struct {
			lifecycleScope
			And *struct {
				lifecycleScope
				Tags []s3Tag `xml:"Tag"`
			}
			Tag *s3Tag
		}
		Expiration *struct {
			Date                      string
			Days                      *int
			ExpiredObjectDeleteMarker *bool
		}
		Transitions []struct {
			Date         string
			Days         *int
			StorageClass string
		} `xml:"Transition"`
		NoncurrentVersionExpiration  *lifecycleNoncurrent
		NoncurrentVersionTransitions []struct {
			lifecycleNoncurrent
			StorageClass string
		} `xml:"NoncurrentVersionTransition"`
		AbortIncompleteMultipartUpload *struct{ DaysAfterInitiation int }
	} `xml:"Rule"`
}

type lifecycleScope struct {
	Prefix                                    *string
	ObjectSizeGreaterThan, ObjectSizeLessThan *int64
}

type lifecycleNoncurrent struct{ NoncurrentDays, NewerNoncurrentVersions *int }

// checkLifecycle refuses what is in no lifecycle configuration. The document itself is kept.
func checkLifecycle(body []byte) error {
	var l lifecycle
	if err := parseXML(body, "LifecycleConfiguration", &l); err != nil {
		return err
	}
	for _, rule := range l.Rules {
		if e := rule.Expiration; e != nil && e.Days != nil && *e.Days < 1 {
			return errInvalidArgument("Days", strconv.Itoa(*e.Days), "'Days' for Expiration action must be a positive integer")
		}
	}
	return nil
}

func putLifecycle(c *call) (*response, error) {
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	var in xmlNode
	if err := parseXML(body, "LifecycleConfiguration", &in); err != nil {
		return nil, err
	}
	transition := cmp.Or(c.header(headerTransition), defaultTransition)
	if transition != defaultTransition && transition != "varies_by_storage_class" {
		return nil, errInvalidArgument(strings.ToLower(headerTransition), transition, "The value of x-amz-transition-default-minimum-object-size is invalid")
	}
	in = in.plain()
	ids := map[string]bool{}
	for i, rule := range in.Children {
		if err := checkLifecycleRule(rule); err != nil {
			return nil, err
		}
		id := rule.child("ID")
		if id == "" { // S3 gives it one
			id = wire.NewUUID()
			in.Children[i].Children = append(slices.DeleteFunc(rule.Children, func(n xmlNode) bool { return n.XMLName.Local == "ID" }),
				xmlNode{XMLName: xml.Name{Local: "ID"}, Text: id})
		}
		if ids[id] || len(id) > 255 {
			return nil, errInvalidArgument("ID", id, "Rule ID must be unique and 255 characters at most. Found same ID for more than one rule")
		}
		ids[id] = true
	}
	if len(in.Children) == 0 || len(in.Children) > 1000 {
		return nil, errMalformedXML()
	}
	if err := checkLifecycle(body); err != nil {
		return nil, err
	}
	doc, err := s3XML("LifecycleConfiguration", in)
	if err != nil {
		return nil, err
	}
	a := &response{header: map[string]string{headerTransition: transition}}
	return a, c.change(func(b *bucketRecord) error {
		b.keep("lifecycle", string(doc))
		b.keep("transition", transition)
		return nil
	})
}

// checkLifecycleRule wants a status, a scope and at least one action.
func checkLifecycleRule(rule xmlNode) error {
	status, scopes, actions := rule.child("Status"), 0, 0
	for _, n := range rule.Children {
		switch n.XMLName.Local {
		case "Filter", "Prefix":
			scopes++
		case "ID", "Status":
		case "Expiration", "Transition", "NoncurrentVersionExpiration", "NoncurrentVersionTransition", "AbortIncompleteMultipartUpload":
			actions++
			if len(n.Children) == 0 {
				return errMalformedXML()
			}
			if err := checkLifecycleDate(n); err != nil {
				return err
			}
		default:
			return errMalformedXML()
		}
	}
	switch {
	case rule.XMLName.Local != "Rule", status != "Enabled" && status != "Disabled", scopes != 1:
		return errMalformedXML()
	case actions == 0:
		return errInvalidRequest("At least one action needs to be specified in a rule.")
	}
	return checkLifecycleFilter(rule.element("Filter"))
}

// checkLifecycleDate wants an action at midnight, and a delete marker to expire on its
// own. Which form of the date S3 repeats is [U]. Recorded: localstack
// test_s3.snapshot.json, test_put_bucket_lifecycle_conf_exc.
func checkLifecycleDate(action xmlNode) error {
	date, days := action.child("Date"), action.child("Days")
	if action.child("ExpiredObjectDeleteMarker") == "true" && (date != "" || days != "") {
		return errMalformedXML()
	}
	if at, err := time.Parse(time.RFC3339, date); err == nil && !at.Equal(at.UTC().Truncate(24*time.Hour)) {
		return errInvalidArgument("Date", date, "'Date' must be at midnight GMT")
	}
	return nil
}

// checkLifecycleFilter wants one condition, or several in And. Recorded: see checkLifecycleDate.
func checkLifecycleFilter(filter xmlNode) error {
	if len(filter.Children) > 1 {
		return errMalformedXML()
	}
	keys := map[string]bool{}
	for _, n := range filter.element("And").Children {
		if n.XMLName.Local != "Tag" {
			continue
		}
		if key := n.child("Key"); keys[key] {
			return errInvalidRequest("Duplicate Tag Keys are not allowed.")
		}
		keys[n.child("Key")] = true
	}
	return nil
}

func deleteLifecycle(c *call) (*response, error) {
	return c.changed(http.StatusNoContent, func(b *bucketRecord) error { b.keep("lifecycle", ""); b.keep("transition", ""); return nil })
}

// keep stores a document; an empty one takes it away.
func (b *bucketRecord) keep(name, doc string) {
	if doc == "" {
		delete(b.Documents, name)
		return
	}
	if b.Documents == nil {
		b.Documents = map[string]string{}
	}
	b.Documents[name] = doc
}

// Logging

func getBucketLogging(c *call) (*response, error) {
	if doc, ok := c.b.Documents["logging"]; ok {
		return &response{xml: []byte(doc)}, nil
	}
	return xmlAnswer("BucketLoggingStatus", struct{}{})
}

// errCrossLocationLogging is S3's error, as S3 spells it. Recorded: localstack
// test_s3.snapshot.json, test_put_bucket_logging_cross_locations and
// test_put_bucket_logging_wrong_target.
func errCrossLocationLogging(source, target string) *wire.Error {
	e := wire.Errf(http.StatusForbidden, "CrossLocationLoggingProhibitted", "Cross S3 location logging not allowed. ")
	e.Extra = map[string]string{"TargetBucketLocation": target}
	if source != "us-east-1" {
		e.Extra["SourceBucketLocation"] = source
	}
	return e
}

// bucketLogging is what a logging configuration may have in it.
type bucketLogging struct {
	LoggingEnabled *struct {
		TargetBucket, TargetPrefix string
		TargetGrants               []struct {
			Grantee    struct{ ID, DisplayName, URI, EmailAddress string }
			Permission string
		} `xml:"TargetGrants>Grant"`
		TargetObjectKeyFormat *struct {
			SimplePrefix      *struct{}
			PartitionedPrefix *struct{ PartitionDateSource string }
		}
	}
}

func putBucketLogging(c *call) (*response, error) {
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	var in xmlNode
	if err := errors.Join(parseXML(body, "BucketLoggingStatus", &in), parseXML(body, "BucketLoggingStatus", &bucketLogging{})); err != nil {
		return nil, err
	}
	doc := ""
	in = in.plain()
	for _, enabled := range in.Children {
		if enabled.XMLName.Local != "LoggingEnabled" || doc != "" {
			return nil, errMalformedXML()
		}
		target := c.s.bucket(enabled.child("TargetBucket"))
		if target == nil || target.Account != c.b.Account {
			e := wire.Errf(http.StatusBadRequest, "InvalidTargetBucketForLogging", "The target bucket for logging does not exist")
			e.Extra = map[string]string{"TargetBucket": enabled.child("TargetBucket")}
			return nil, e
		}
		if target.Region != c.b.Region {
			return nil, errCrossLocationLogging(c.b.Region, target.Region)
		}
		b, err := s3XML("BucketLoggingStatus", in)
		if err != nil {
			return nil, err
		}
		doc = string(b)
	}
	return c.changed(http.StatusOK, func(b *bucketRecord) error { b.keep("logging", doc); return nil })
}

// What this project's buckets never have: the answer is always the same.

func getNotification(*call) (*response, error) {
	return xmlAnswer("NotificationConfiguration", struct{}{})
}

func getWebsite(c *call) (*response, error) {
	return nil, errNotFound("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration", c)
}
