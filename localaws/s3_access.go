package localaws

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"slices"
	"strings"
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
	"authtype", "delimiter", "if-match", "if-none-match", "locationconstraint", "max-keys", "object-lock-legal-hold",
	"object-lock-mode", "object-lock-retain-until-date", "prefix", "resourceaccount", "signatureversion", "tlsversion", "versionid",
}

// authorize asks the caller's policy and the bucket's whether the call may do
// action to the resource.
func (c *s3Call) authorize(action, resource string) error {
	account, document, public := c.who.Account, "", false
	if c.b != nil {
		account, document = c.b.Account, c.b.Policy
		// The owner's root can always repair a policy that locks everybody out.
		if strings.HasSuffix(action, "BucketPolicy") && c.who.ARN == "arn:aws:iam::"+account+":root" {
			return nil
		}
	}
	var p *policy
	if document != "" {
		var err error
		if p, err = parsePolicy(document); err != nil {
			return err
		}
		public = c.b.PublicAccess.restricts() && c.who.Account != account && p.isPublic()
	}
	reason, ok := c.s.authorize(access{who: c.who, action: action, resource: resource, context: c.conditions()}, p, account)
	if public && ok {
		reason, ok = "because public policies are restricted by the RestrictPublicBuckets block public access setting", false
	}
	switch {
	case ok:
		return nil
	case !c.signed:
		return errAccessDenied()
	}
	return errf(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: %s on resource: %q %s", c.who.ARN, action, resource, reason)
}

// conditions are the condition keys that the request carries. A header that
// was not sent is an absent key.
func (c *s3Call) conditions() map[string]string {
	if c.keys != nil {
		return c.keys
	}
	m := c.conditionKeys()
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
	if v := c.http.Referer(); v != "" {
		m["aws:referer"] = v
	}
	if c.b != nil {
		m["s3:resourceaccount"], m["aws:resourceaccount"] = c.b.Account, c.b.Account
	}
	if t := c.http.TLS; t != nil {
		m["s3:tlsversion"] = map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"}[t.Version]
	}
	if c.signed {
		m["s3:signatureversion"], m["s3:authtype"] = "AWS4-HMAC-SHA256", "REST-HEADER"
		if c.query.Has("X-Amz-Signature") {
			m["s3:authtype"] = "REST-QUERY-STRING"
		}
	}
	c.keys = m
	return m
}

// publicAccessKeys are the condition keys that make a statement for everybody
// a statement for somebody, where they have a fixed value.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
var publicAccessKeys = []string{
	"aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceaccount",
	"aws:sourcearn", "aws:sourceip", "aws:sourceowner", "aws:sourcevpc", "aws:sourcevpce", "aws:userid",
	"s3:dataaccesspointaccount", "s3:dataaccesspointarn", "s3:x-amz-server-side-encryption-aws-kms-key-id",
}

// isPublic says whether the policy allows anything to everybody.
func (p *policy) isPublic() bool {
	return slices.ContainsFunc(p.statements, func(st statement) bool {
		everybody := st.notPrincipal || slices.ContainsFunc(st.principals, func(p principal) bool { return p.kind == "AWS" && p.name == "*" })
		return !st.deny && everybody && !slices.ContainsFunc(st.conditions, condition.narrows)
	})
}

// narrows says whether the condition names who or where from, and not with a
// wildcard.
func (c condition) narrows() bool {
	if !slices.Contains(publicAccessKeys, c.key) || c.operator.negate || c.operator.null || c.ifExists || c.set == "ForAllValues" {
		return false
	}
	return !slices.ContainsFunc(c.values, func(v string) bool {
		if c.key == "aws:sourceip" {
			p, err := netip.ParsePrefix(v)
			return err == nil && (p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 32)
		}
		return strings.ContainsAny(v, "*?") || strings.Contains(v, "${")
	})
}

// checkBucketPolicy refuses what S3 refuses of a well-formed policy: what is
// not about this bucket, or about nothing that S3 knows.
func checkBucketPolicy(p *policy, bucket string) error {
	malformed := func(message string) error { return errf(http.StatusBadRequest, "MalformedPolicy", "%s", message) }
	for _, st := range p.statements {
		for _, a := range st.actions {
			if a != "*" && !strings.HasPrefix(strings.ToLower(a), "s3:") {
				return malformed("Policy has invalid action")
			}
		}
		for _, r := range st.resources {
			name, ok := strings.CutPrefix(r, "arn:aws:s3:::")
			if name, _, _ = strings.Cut(name, "/"); !ok || !match(literalOrWild(name), bucket) {
				return malformed("Policy has invalid resource")
			}
		}
		for _, c := range st.conditions {
			key, ok := strings.CutPrefix(c.key, "s3:")
			known := slices.Contains(s3HeaderKeys, key) || slices.Contains(s3OtherKeys, key) || slices.Contains(publicAccessKeys, c.key)
			if ok && !known {
				return malformed("Policy has an invalid condition key")
			}
		}
	}
	return nil
}
