package s3

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Cross-origin requests: which web pages may call a bucket. The browser enforces
// it, by what these answers say.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html
// The answers are those that LocalStack's test_s3_cors.snapshot.json has recorded.

type corsConfiguration struct {
	Rules   []corsRule `xml:"CORSRule"`
	Unknown []xmlNode  `xml:",any"`
}

type corsRule struct {
	ID             string    `xml:",omitempty"`
	AllowedHeaders []string  `xml:"AllowedHeader"`
	AllowedMethods []string  `xml:"AllowedMethod"`
	AllowedOrigins []string  `xml:"AllowedOrigin"`
	ExposeHeaders  []string  `xml:"ExposeHeader"`
	MaxAge         *int      `xml:"MaxAgeSeconds,omitempty"`
	Unknown        []xmlNode `xml:",any" json:",omitempty"` // always empty in a bucket's record
}

const maxCORSRules = 100

var corsMethods = []string{http.MethodGet, http.MethodPut, http.MethodHead, http.MethodPost, http.MethodDelete}

func getBucketCORS(c *call) (*response, error) {
	if len(c.b.CORS) == 0 {
		return nil, errNotFound("NoSuchCORSConfiguration", "The CORS configuration does not exist", c)
	}
	return xmlAnswer("CORSConfiguration", corsConfiguration{Rules: c.b.CORS})
}

func putBucketCORS(c *call) (*response, error) {
	var in corsConfiguration
	if err := c.readXML("CORSConfiguration", &in); err != nil {
		return nil, err
	}
	if len(in.Rules) == 0 || len(in.Unknown) > 0 {
		return nil, errMalformedXML()
	}
	if len(in.Rules) > maxCORSRules {
		return nil, errInvalidRequest("The number of CORS rules should not exceed allowed limit of %d rules.", maxCORSRules)
	}
	for _, r := range in.Rules {
		if err := r.check(); err != nil {
			return nil, err
		}
	}
	return c.changed(http.StatusOK, func(b *bucketRecord) error { b.CORS = in.Rules; return nil })
}

func deleteBucketCORS(c *call) (*response, error) {
	return c.changed(http.StatusNoContent, func(b *bucketRecord) error { b.CORS = nil; return nil })
}

func (r corsRule) check() error {
	if len(r.AllowedMethods) == 0 || len(r.AllowedOrigins) == 0 || len(r.Unknown) > 0 || len(r.ID) > 255 {
		return errMalformedXML()
	}
	for _, m := range r.AllowedMethods {
		if !slices.Contains(corsMethods, m) {
			return errInvalidRequest("Found unsupported HTTP method in CORS config. Unsupported method is %s", m)
		}
	}
	for _, o := range r.AllowedOrigins {
		if strings.Count(o, "*") > 1 {
			return errInvalidRequest("AllowedOrigin %q can not have more than one wildcard.", o)
		}
	}
	for _, h := range r.AllowedHeaders {
		if strings.Count(h, "*") > 1 {
			return errInvalidRequest("AllowedHeader %q can not have more than one wildcard.", h)
		}
	}
	for _, h := range r.ExposeHeaders {
		if strings.Contains(h, "*") {
			return errInvalidRequest("ExposeHeader %q contains wildcard. We currently do not support wildcard for ExposeHeader.", h)
		}
	}
	return nil
}

// matchesWildcard reports whether s matches a pattern with at most one asterisk.
func matchesWildcard(pattern, s string) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	return len(s) >= len(before)+len(after) && strings.HasPrefix(s, before) && strings.HasSuffix(s, after)
}

// corsHeaders are the headers for a request of a web page; false if no rule of
// the bucket allows it. The method is the one that a preflight request asks for.
func (b *bucketRecord) corsHeaders(h *http.Request, method string) (map[string]string, bool) {
	origin := h.Header.Get("Origin")
	var wanted []string
	for name := range strings.SplitSeq(h.Header.Get("Access-Control-Request-Headers"), ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			wanted = append(wanted, name)
		}
	}
	for _, r := range b.CORS {
		i := slices.IndexFunc(r.AllowedOrigins, func(o string) bool { return matchesWildcard(o, origin) })
		allHeaders := !slices.ContainsFunc(wanted, func(name string) bool {
			return !slices.ContainsFunc(r.AllowedHeaders, func(h string) bool { return matchesWildcard(strings.ToLower(h), name) })
		})
		if i < 0 || !slices.Contains(r.AllowedMethods, method) || !allHeaders {
			continue
		}
		out := map[string]string{
			"Access-Control-Allow-Origin":   "*",
			"Access-Control-Allow-Methods":  strings.Join(r.AllowedMethods, ", "),
			"Access-Control-Allow-Headers":  strings.Join(wanted, ", "),
			"Access-Control-Expose-Headers": strings.Join(r.ExposeHeaders, ", "),
			"Vary":                          "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
		}
		if r.AllowedOrigins[i] != "*" {
			out["Access-Control-Allow-Origin"], out["Access-Control-Allow-Credentials"] = origin, "true"
		}
		if r.MaxAge != nil {
			out["Access-Control-Max-Age"] = strconv.Itoa(*r.MaxAge)
		}
		return out, true
	}
	return nil, false
}

// corsMethod is the method that a request of a web page is about.
func corsMethod(h *http.Request) string {
	if m := h.Header.Get("Access-Control-Request-Method"); m != "" {
		return m
	}
	return h.Method
}

// AllowsOrigin reports whether the bucket of a request allows the web page that
// sent it, or whether it is a preflight request, which asks just that. S3 executes
// other requests of pages too and only hides the answer from them; but the secret
// that keeps a page from signing them is no secret here.
func (s *Service) AllowsOrigin(h *http.Request) bool {
	if h.Method == http.MethodOptions {
		return true
	}
	bucket, _ := resource(h)
	b := s.bucket(bucket)
	if b == nil || h.Header.Get("X-Amz-Copy-Source") != "" { // of any other bucket
		return false
	}
	_, ok := b.corsHeaders(h, corsMethod(h))
	return ok
}

// addCORS adds the headers for a web page to whatever the answer will be.
func (c *call) addCORS() {
	if c.b == nil || c.HTTP.Header.Get("Origin") == "" {
		return
	}
	headers, _ := c.b.corsHeaders(c.HTTP, corsMethod(c.HTTP))
	for k, v := range headers {
		if v != "" {
			c.W.Header().Set(k, v)
		}
	}
}

// preflight answers whether a web page may send a request: to any operation, with
// any parameters, from any caller.
func (c *call) preflight() (*response, error) {
	if c.HTTP.Header.Get("Origin") == "" {
		return nil, wire.Errf(http.StatusBadRequest, "BadRequest", "Insufficient information. Origin request header needed.")
	}
	method, kind := corsMethod(c.HTTP), "BUCKET"
	forbidden := func(message string) error {
		e := wire.Errf(http.StatusForbidden, "AccessForbidden", "CORSResponse: %s", message)
		e.Extra = map[string]string{"Method": method, "ResourceType": kind}
		return e
	}
	b := c.s.bucket(c.bucket)
	switch {
	case b == nil:
		return nil, forbidden("Bucket not found")
	case len(b.CORS) == 0:
		return nil, forbidden("CORS is not enabled for this bucket.")
	case method == http.MethodOptions:
		return nil, wire.Errf(http.StatusBadRequest, "BadRequest", "Invalid Access-Control-Request-Method: null")
	}
	if c.key != "" {
		kind = "OBJECT"
	}
	headers, ok := b.corsHeaders(c.HTTP, method)
	if !ok {
		return nil, forbidden("This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.")
	}
	headers["Content-Length"] = "0"
	return &response{header: headers}, nil
}
