package s3

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// ACLs. Those of buckets are kept and given back. Access for others needs a policy: a
// grant to all users, or to others than the owner of an object, is refused, not ignored.
//
// Where the bucket enforces its owner's ownership, S3 accepts no ACL but
// bucket-owner-full-control, and that only for an object that is written. [U]: whether it
// accepts x-amz-grant-full-control for the owner, which is the same; it is refused here.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html

const (
	groupURI       = "http://acs.amazonaws.com/groups/"
	groupLogs      = groupURI + "s3/LogDelivery"
	allUsers       = groupURI + "global/AllUsers"
	anyAccount     = groupURI + "global/AuthenticatedUsers"
	xmlSchemaNS    = "http://www.w3.org/2001/XMLSchema-instance"
	permissionFull = "FULL_CONTROL"
)

// grantHeaders grant a permission each. [U]: that an ACL shows them in this order.
var grantHeaders = []struct{ header, permission string }{
	{"X-Amz-Grant-Read", "READ"}, {"X-Amz-Grant-Write", "WRITE"}, {"X-Amz-Grant-Read-Acp", "READ_ACP"}, {"X-Amz-Grant-Write-Acp", "WRITE_ACP"},
	{"X-Amz-Grant-Full-Control", permissionFull},
}

// aclGrant lets one grantee, an account's canonical id or a group's URI, do
// something.
type aclGrant struct {
	ID         string
	URI        string
	Permission string
}

// canonicalUser is what the canonical id of an account looks like.
var canonicalUser = regexp.MustCompile("^[0-9a-f]{64}$")

// check refuses a grantee that cannot be. S3 names it as the header or the XML does.
func (g aclGrant) check(id, uri string) error {
	switch {
	case g.URI == "" && !canonicalUser.MatchString(g.ID):
		return errInvalidArgument(id, g.ID, "Invalid id")
	case g.URI != "" && g.URI != groupLogs && g.URI != allUsers && g.URI != anyAccount:
		return errInvalidArgument(uri, g.URI, "Invalid group uri")
	}
	return nil
}

// aclIn is an ACL as clients send it. S3 has stopped using DisplayName, which
// older clients send back as they read it.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Owner.html
type aclIn struct {
	Owner struct {
		ID          string
		DisplayName string
	}
	Grants []struct {
		Grantee struct {
			Type        string `xml:"http://www.w3.org/2001/XMLSchema-instance type,attr"`
			ID          string
			DisplayName string
			URI         string
		}
		Permission string
	} `xml:"AccessControlList>Grant"`
}

type aclOut struct {
	Owner  s3Owner
	Grants []aclOutGrant `xml:"AccessControlList>Grant"`
}

type aclOutGrant struct {
	Grantee    aclGrantee
	Permission string
}

type aclGrantee struct {
	Schema string `xml:"xmlns:xsi,attr"`
	Type   string `xml:"xsi:type,attr"`
	ID     string `xml:",omitempty"`
	URI    string `xml:",omitempty"`
}

// aclAnswer shows grants; none stands for the owner's full control.
func aclAnswer(owner string, grants []aclGrant) (*response, error) {
	if len(grants) == 0 {
		grants = []aclGrant{{ID: owner, Permission: permissionFull}}
	}
	out := aclOut{Owner: s3Owner{owner}}
	for _, g := range grants {
		kind := "CanonicalUser"
		if g.URI != "" {
			kind = "Group"
		}
		out.Grants = append(out.Grants, aclOutGrant{aclGrantee{xmlSchemaNS, kind, g.ID, g.URI}, g.Permission})
	}
	return xmlAnswer("AccessControlPolicy", out)
}

func getBucketACL(c *call) (*response, error) {
	return aclAnswer(canonicalID(c.b.Account), c.b.Grants)
}

func putBucketACL(c *call) (*response, error) {
	grants, err := c.readACL()
	if err != nil {
		return nil, err
	}
	return c.changed(http.StatusOK, func(b *bucketRecord) error {
		if b.Ownership == "BucketOwnerEnforced" {
			return errNoACLs()
		}
		if grantsToAll(grants) {
			if c.s.blockingACLs(b) {
				return wire.Errf(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: s3:PutBucketAcl on resource: %q because public access control lists (ACLs) are blocked by the BlockPublicAcls block public access setting.", c.Who.ARN, bucketARN(c.bucket))
			}
			return wire.NotImplemented("s3", "ACLs that grant access to all users")
		}
		b.Grants = grants
		return nil
	})
}

func grantsToAll(grants []aclGrant) bool {
	return slices.ContainsFunc(grants, func(g aclGrant) bool { return g.URI == allUsers || g.URI == anyAccount })
}

// getObjectACL shows that an object belongs to the bucket's owner, as it does
// where the bucket enforces that; other owners there are none here.
func getObjectACL(c *call) (*response, error) {
	if _, err := c.find(); err != nil {
		return nil, err
	}
	return aclAnswer(canonicalID(c.b.Account), nil)
}

// putObjectACL serves what changes nothing: no object has another owner than its
// bucket's.
func putObjectACL(c *call) (*response, error) {
	grants, err := c.readACL()
	if err != nil {
		return nil, err
	}
	o, err := c.find()
	switch {
	case err != nil:
		return nil, err
	case c.b.Ownership == "BucketOwnerEnforced":
		return nil, errNoACLs()
	case len(grants) > 0:
		return nil, errObjectGrants()
	}
	return &response{header: map[string]string{"X-Amz-Version-Id": c.versionHeader(o.VersionID)}}, nil
}

func errNoACLs() *wire.Error {
	return wire.Errf(http.StatusBadRequest, "AccessControlListNotSupported", "The bucket does not allow ACLs")
}

func errObjectGrants() *wire.Error {
	return wire.NotImplemented("s3", "objects with an ACL that grants access to others than their owner")
}

// describeACL reads the ACL of the object that a request writes. A bucket without ACLs also accepts
// private from its own account, whose full control it stands for; from others, it does not:
// https://github.com/redpanda-data/connect/pull/4372. The user guide names
// bucket-owner-full-control "or an equivalent form" only; the acceptance tests of Terraform's
// aws_s3_bucket_object, which run on AWS, upload with private.
func (c *call) describeACL() error {
	grants, given, err := c.headerACL(c.b.Account)
	if err != nil || !given {
		return err
	}
	canned := c.header("X-Amz-Acl")
	switch enforced := c.b.Ownership == "BucketOwnerEnforced"; {
	case enforced && canned == "" && len(grants) == 0:
		return errFullControl()
	case enforced && canned != "bucket-owner-full-control" && (canned != "private" || c.Who.Account != c.b.Account):
		return errNoACLs()
	case len(grants) > 0:
		return errObjectGrants()
	}
	// The bucket policy that CloudTrail's documentation prescribes does not
	// allow s3:PutObjectAcl, and its deliveries carry an ACL.
	if c.Who.Service != nil {
		return nil
	}
	return c.authorize("s3:PutObjectAcl", c.arn())
}

func errFullControl() *wire.Error {
	return wire.NotImplemented("s3", "x-amz-grant-full-control for the owner of a bucket without ACLs")
}

// describeBucketACL reads the ACL of the bucket that a request creates.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
func (c *call) describeBucketACL(ownership string) ([]aclGrant, error) {
	grants, given, err := c.headerACL(c.Who.Account)
	canned := c.header("X-Amz-Acl")
	if err != nil || !given || canned == "private" {
		return nil, err
	}
	switch enforced := ownership == "BucketOwnerEnforced"; {
	case enforced && canned == "" && len(grants) == 0:
		return nil, errFullControl()
	case enforced:
		return nil, wire.Errf(http.StatusBadRequest, "InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
	case canned != "":
		return nil, wire.NotImplemented("s3", "CreateBucket with the ACL "+canned)
	case grantsToAll(grants):
		return nil, wire.NotImplemented("s3", "ACLs that grant access to all users")
	}
	return grants, c.authorize("s3:PutBucketAcl", bucketARN(c.bucket))
}

// headerACL reads a canned ACL or the grants of headers; no grants stand for private.
// Recorded: localstack test_s3.snapshot.json, test_s3_bucket_acl_exceptions and
// test_s3_object_acl_exceptions, which shows that S3 looks at the headers first, and
// then whether the bucket has ACLs.
func (c *call) headerACL(account string) (grants []aclGrant, given bool, err error) {
	owner := aclGrant{ID: canonicalID(account), Permission: permissionFull}
	for _, h := range grantHeaders {
		if !c.hasHeader(h.header) {
			continue
		}
		given = true
		for grantee := range strings.SplitSeq(c.header(h.header), ",") {
			kind, value, ok := strings.Cut(strings.TrimSpace(grantee), "=")
			value = strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`)
			g := aclGrant{Permission: h.permission}
			switch strings.ToLower(kind) {
			case "id":
				g.ID = value
			case "uri":
				g.URI = value
			case "emailaddress":
				return nil, true, wire.NotImplemented("s3", "ACLs that grant access to an e-mail address")
			}
			if !ok || g.ID == "" && g.URI == "" {
				return nil, true, errInvalidArgument(strings.ToLower(h.header), c.header(h.header), "Argument format not recognized")
			}
			if err := g.check("id", "uri"); err != nil {
				return nil, true, err
			}
			grants = append(grants, g)
		}
	}
	canned := c.header("X-Amz-Acl")
	switch {
	case canned == "":
		return owner.others(grants), given, nil
	case given:
		return nil, true, errInvalidRequest("Specifying both Canned ACLs and Header Grants is not allowed")
	}
	grants, ok := owner.canned(canned)
	if !ok {
		return nil, true, errInvalidArgument("x-amz-acl", canned, "")
	}
	return grants, true, nil
}

// others are the grants, or none if the owner's full control, g, is the only one.
func (g aclGrant) others(grants []aclGrant) []aclGrant {
	if len(grants) == 1 && grants[0] == g {
		return nil
	}
	return grants
}

// bundleReader is the account of EC2 that aws-exec-read is for.
const bundleReader = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"

// canned are the grants of a canned ACL, where g is the owner's full control; false if there is none of the name.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#canned-acl
func (g aclGrant) canned(name string) (grants []aclGrant, ok bool) {
	switch name {
	case "private", "bucket-owner-read", "bucket-owner-full-control":
		return nil, true
	case "log-delivery-write":
		return []aclGrant{g, {URI: groupLogs, Permission: "WRITE"}, {URI: groupLogs, Permission: "READ_ACP"}}, true
	case "public-read":
		return []aclGrant{g, {URI: allUsers, Permission: "READ"}}, true
	case "public-read-write":
		return []aclGrant{g, {URI: allUsers, Permission: "READ"}, {URI: allUsers, Permission: "WRITE"}}, true
	case "authenticated-read":
		return []aclGrant{g, {URI: anyAccount, Permission: "READ"}}, true
	case "aws-exec-read":
		return []aclGrant{g, {ID: bundleReader, Permission: "READ"}}, true
	}
	return nil, false
}

// readACL reads the ACL of a request that sets one, in its headers or in XML; none stands
// for private. Recorded: see headerACL.
func (c *call) readACL() ([]aclGrant, error) {
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	grants, given, err := c.headerACL(c.b.Account)
	switch {
	case err != nil:
		return nil, err
	case given && len(body) > 0:
		return nil, wire.Errf(http.StatusBadRequest, "UnexpectedContent", "This request does not support content")
	case given:
		return grants, nil
	case len(body) == 0:
		e := wire.Errf(http.StatusBadRequest, "MissingSecurityHeader", "Your request was missing a required header")
		e.Extra = map[string]string{"MissingHeaderName": "x-amz-acl"}
		return nil, e
	}
	var in aclIn
	if err := parseXML(body, "AccessControlPolicy", &in); err != nil {
		if e, ok := asError(err); ok && e.Code == "MalformedXML" {
			return nil, errMalformedACL()
		}
		return nil, err
	}
	owner := aclGrant{ID: canonicalID(c.b.Account), Permission: permissionFull}
	switch {
	case in.Owner.ID == "":
		return nil, errMalformedACL()
	case !canonicalUser.MatchString(in.Owner.ID):
		return nil, errInvalidArgument("CanonicalUser/ID", in.Owner.ID, "Invalid id")
	case in.Owner.ID != owner.ID:
		return nil, wire.NotImplemented("s3", "an ACL with another owner than the bucket's")
	}
	for _, g := range in.Grants {
		grant := aclGrant{g.Grantee.ID, g.Grantee.URI, g.Permission}
		kind := "CanonicalUser"
		if grant.URI != "" {
			kind = "Group"
		}
		known := slices.Contains([]string{permissionFull, "READ", "WRITE", "READ_ACP", "WRITE_ACP"}, g.Permission)
		if !known || g.Grantee.Type != kind || (grant.ID == "") == (grant.URI == "") {
			return nil, errMalformedACL()
		}
		if err := grant.check("CanonicalUser/ID", "Group/URI"); err != nil {
			return nil, err
		}
		grants = append(grants, grant)
	}
	return owner.others(grants), nil
}

func errMalformedACL() *wire.Error {
	e := errMalformedXML()
	e.Code = "MalformedACLError"
	return e
}
