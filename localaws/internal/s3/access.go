package s3

import (
	"crypto/tls"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// s3HeaderKeys are the headers that are condition keys of S3 under their own
// names.
// Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
var s3HeaderKeys = []string{
	"x-amz-acl", "x-amz-content-sha256", "x-amz-copy-source", "x-amz-grant-full-control", "x-amz-grant-read",
	"x-amz-grant-read-acp", "x-amz-grant-write", "x-amz-grant-write-acp", "x-amz-metadata-directive",
	"x-amz-object-ownership", "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id",
	"x-amz-server-side-encryption-customer-algorithm", "x-amz-storage-class", "x-amz-website-redirect-location",
}

// s3OtherKeys are the rest of S3's condition keys that are known here.
var s3OtherKeys = []string{
	"authtype", "delimiter", "if-match", "if-none-match", "max-keys", "object-lock-legal-hold", "object-lock-mode",
	"object-lock-retain-until-date", "objectcreationoperation", "prefix", "requestobjecttagkeys", "resourceaccount",
	"signatureage", "signatureversion", "tlsversion", "versionid",
	// Of access points and access grants, which localaws does not have: absent.
	"accessgrantsinstancearn", "accesspointnetworkorigin", "dataaccesspointaccount", "dataaccesspointarn",
}

// s3Unserved are S3's condition keys that are not evaluated.
var s3Unserved = []string{
	"inventoryaccessibleoptionalfields", "isreplicationpauserequest", "jobsuspendedcause", "locationconstraint",
	"object-lock-remaining-retention-days", "requestjoboperation", "requestjobpriority", "existingjoboperation", "existingjobpriority",
	"bucketnamespace", "buckettag/", "destinationregion",
}

// authorize asks the caller's policy and the bucket's whether the call may do
// action to the resource.
func (c *call) authorize(action, resource string) error {
	account, document, public := c.Who.Account, "", false
	if c.b != nil {
		account, document = c.b.Account, c.b.Policy
		// The owner's root can always repair a policy that denies every principal.
		if strings.HasSuffix(action, "BucketPolicy") && c.Who.ARN == "arn:aws:iam::"+account+":root" {
			return nil
		}
	}
	var p *policy.Policy
	if document != "" {
		var err error
		if p, err = policy.Parse(document); err != nil {
			return err
		}
		public = c.Who.Account != account && c.s.restricting(c.b, p)
	}
	a := policy.Access{Who: c.Who, Action: action, Resource: resource, Context: c.conditions(), Lists: map[string][]string{}}
	if len(c.tagKeys) > 0 {
		a.Lists["aws:tagkeys"] = c.tagKeys
	}
	if err := c.tagConditions(&a, p); err != nil {
		return err
	}
	reason, ok := c.s.identities.Authorize(a, p, account)
	if public && ok {
		reason, ok = "because public policies are restricted by the RestrictPublicBuckets block public access setting", false
	}
	switch {
	case ok:
		return nil
	case !c.Signed:
		return errAccessDenied()
	}
	return wire.Errf(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: %s on resource: %q %s", c.Who.ARN, action, resource, reason)
}

// existingTagActions are the actions that the tags of an existing object decide
// about.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/tagging-and-policies.html
var existingTagActions = []string{
	"s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectAcl", "s3:GetObjectVersionAcl", "s3:PutObjectAcl", "s3:PutObjectVersionAcl",
	"s3:GetObjectTagging", "s3:GetObjectVersionTagging", "s3:PutObjectTagging", "s3:PutObjectVersionTagging",
	"s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging",
}

// tagConditions adds the condition keys of tags, and of what PutObject is part of.
func (c *call) tagConditions(a *policy.Access, p *policy.Policy) error {
	const existing = "s3:existingobjecttag/"
	reads := slices.Contains(existingTagActions, a.Action) && c.b != nil && c.key != "" && c.Operation != "CreateMultipartUpload" && c.Operation != "PutObject" &&
		c.s.identities.Mention(c.Who, p, existing)
	writes := a.Action == "s3:PutObject" || strings.HasPrefix(a.Action, "s3:PutObject") && strings.HasSuffix(a.Action, "Tagging")
	if !writes && !reads {
		return nil
	}
	a.Context = maps.Clone(a.Context)
	if reads {
		var o objectRecord
		err := c.s.db.View(func(tx *bolt.Tx) (err error) {
			o, err = findVersion(tx, c.bucket, c.key, c.query.Get("versionId"))
			return err
		})
		if e, ok := asError(err); err != nil && (!ok || e.Status >= http.StatusInternalServerError) {
			return err
		}
		for _, t := range o.Tags { // none, if there is no object
			a.Context[existing+strings.ToLower(t.Key)] = t.Value
		}
	}
	if a.Action == "s3:PutObject" {
		creates := !slices.Contains([]string{"CreateMultipartUpload", "UploadPart", "UploadPartCopy"}, c.Operation)
		a.Context["s3:objectcreationoperation"] = strconv.FormatBool(creates)
	}
	if writes {
		for _, t := range c.requestTags() {
			a.Context["s3:requestobjecttag/"+strings.ToLower(t.Key)] = t.Value
			a.Lists["s3:requestobjecttagkeys"] = append(a.Lists["s3:requestobjecttagkeys"], t.Key)
		}
	}
	return nil
}

// requestTags are the tags that the request gives to an object: in its header, or
// in its body, which PutObjectTagging has read.
func (c *call) requestTags() []s3Tag {
	if c.tags != nil {
		return c.tags
	}
	var out []s3Tag
	values, err := url.ParseQuery(c.header("X-Amz-Tagging"))
	if err != nil {
		return nil // describeAccess refuses it
	}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		out = append(out, s3Tag{k, values.Get(k)})
	}
	return out
}

// conditions are the condition keys that the request carries. A header that
// was not sent is an absent key.
func (c *call) conditions() map[string]string {
	if c.keys != nil {
		return c.keys
	}
	m := policy.ConditionKeys(c.Request)
	for _, name := range s3HeaderKeys {
		if c.hasHeader(name) {
			m["s3:"+name] = c.header(name)
		}
	}
	for name, key := range map[string]string{
		"If-Match": "if-match", "If-None-Match": "if-none-match", "X-Amz-Object-Lock-Mode": "object-lock-mode",
		"X-Amz-Object-Lock-Legal-Hold": "object-lock-legal-hold", "X-Amz-Object-Lock-Retain-Until-Date": "object-lock-retain-until-date",
	} {
		if c.hasHeader(name) {
			m["s3:"+key] = c.header(name)
		}
	}
	for _, name := range []string{"prefix", "delimiter", "max-keys", "versionId"} {
		if c.query.Has(name) {
			m["s3:"+strings.ToLower(name)] = c.query.Get(name)
		}
	}
	if v := c.HTTP.Referer(); v != "" {
		m["aws:referer"] = v
	}
	if c.b != nil {
		m["s3:resourceaccount"], m["aws:resourceaccount"] = c.b.Account, c.b.Account
	}
	if t := c.HTTP.TLS; t != nil {
		m["s3:tlsversion"] = map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"}[t.Version]
	}
	if c.Signed {
		m["s3:signatureversion"], m["s3:authtype"] = "AWS4-HMAC-SHA256", "REST-HEADER"
		switch {
		case c.isPresigned():
			m["s3:authtype"] = "REST-QUERY-STRING"
		case c.Operation == "PostObject":
			m["s3:authtype"] = "POST"
		}
		if at, err := time.Parse("20060102T150405Z", c.header("X-Amz-Date")); err == nil {
			m["s3:signatureage"] = strconv.FormatInt(c.Now.Sub(at).Milliseconds(), 10)
		}
	}
	c.keys = m
	return m
}

// checkBucketPolicy refuses what S3 refuses of a well-formed policy: what is
// not about this bucket, or about nothing that S3 knows.
func (c *call) checkBucketPolicy(p *policy.Policy) error {
	malformed := func(message string) error { return wire.Errf(http.StatusBadRequest, "MalformedPolicy", "%s", message) }
	if c.s.identities.Unknown(p) != "" {
		return malformed("Invalid principal in policy")
	}
	for _, st := range p.Statements {
		for _, a := range st.Actions {
			if a != "*" && !strings.HasPrefix(strings.ToLower(a), "s3:") {
				return malformed("Policy has invalid action")
			}
		}
		for _, r := range st.Resources {
			name, ok := strings.CutPrefix(r, "arn:aws:s3:::")
			if name, _, _ = strings.Cut(name, "/"); !ok || !policy.Match(policy.Pattern(name), c.bucket) {
				return malformed("Policy has invalid resource")
			}
		}
		if problem := checkActions(st); problem != "" {
			return malformed(problem)
		}
	}
	if key := p.UnknownKey(KnownKey); key != "" {
		name := strings.TrimPrefix(key, "s3:")
		if slices.ContainsFunc(s3Unserved, func(k string) bool { return name == k || strings.HasSuffix(k, "/") && strings.HasPrefix(name, k) }) {
			return wire.NotImplemented("s3", "the condition key "+key+" in a bucket policy")
		}
		return malformed("Policy has an invalid condition key")
	}
	return nil
}

// KnownKey reports whether a condition key, in lower case, is one of S3 that is
// evaluated.
func KnownKey(key string) bool {
	name, ok := strings.CutPrefix(key, "s3:")
	if !ok {
		return false
	}
	for _, tags := range tagKeys {
		if strings.HasPrefix(name, tags) && len(name) > len(tags) {
			return true
		}
	}
	return slices.Contains(s3HeaderKeys, name) || slices.Contains(s3OtherKeys, name)
}

// tagKeys are the condition keys that end with the name of an object's tag.
var tagKeys = []string{"existingobjecttag/", "requestobjecttag/"}
