package s3

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// PostObject is an upload by an HTML form, which carries the signature and a policy
// that limits what the form may contain.
// Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html
// and https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html

// maxPostFields is how much may come before the file.
const maxPostFields = 20 << 10

// postForm is a form up to its file.
type postForm struct {
	fields map[string]string // by names in lower case
	file   *multipart.Part
}

func errPostField(name string) error {
	return errInvalidArgument(name, "", "Bucket POST must contain a field named '%s'.  If it is specified, please check the order of the fields.", name)
}

// readForm reads the fields of the form that come before its file; AWS ignores
// those behind it.
func (c *call) readForm() (*postForm, error) {
	kind, parameters, err := mime.ParseMediaType(c.HTTP.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || parameters["boundary"] == "" {
		e := wire.Errf(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
		e.Extra = map[string]string{"Condition": "Bucket POST must be of the enclosure-type multipart/form-data"}
		return nil, e
	}
	malformed := wire.Errf(http.StatusBadRequest, "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")
	parts := multipart.NewReader(c.HTTP.Body, parameters["boundary"])
	form := &postForm{fields: map[string]string{}}
	left := int64(maxPostFields)
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil, errInvalidArgument("file", "0", "POST requires exactly one file upload per request.")
		}
		if err != nil {
			return nil, malformed
		}
		name := strings.ToLower(part.FormName())
		if name == "file" {
			form.file = part
			return form, nil
		}
		value, err := io.ReadAll(io.LimitReader(part, left+1))
		if err != nil {
			return nil, malformed
		}
		if left -= int64(len(name) + len(value)); left < 0 {
			e := wire.Errf(http.StatusBadRequest, "MaxPostPreDataLengthExceeded", "Your POST request fields preceeding the upload file was too large.") //nolint:misspell // as S3 spells it
			e.Extra = map[string]string{"MaxPostPreDataLengthBytes": strconv.Itoa(maxPostFields)}
			return nil, e
		}
		if _, twice := form.fields[name]; twice || name == "" {
			return nil, malformed
		}
		form.fields[name] = string(value)
	}
}

// postSigning are the fields of the signature.
var postSigning = []string{"x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-security-token"}

// postHeaders are the fields that are headers of PutObject, beside x-amz-...
var postHeaders = []string{"cache-control", "content-disposition", "content-encoding", "content-type", "expires"}

// asPut makes of the form the call that PutObject with its fields as headers is.
func (c *call) asPut(form *postForm) (*call, error) {
	put := &call{s: c.s, op: c.op, bucket: c.bucket, key: form.fields["key"], query: url.Values{}}
	r := *c.Request
	r.HTTP = c.HTTP.Clone(c.HTTP.Context())
	put.Request = &r
	h := http.Header{}
	for _, name := range []string{"Origin", "Referer", "User-Agent"} {
		h[name] = c.HTTP.Header.Values(name)
	}
	r.HTTP.Header = h
	if err := put.authenticateForm(form); err != nil {
		return nil, err
	}
	for name, value := range form.fields {
		switch {
		case slices.Contains(postHeaders, name), strings.HasPrefix(name, "x-amz-") && !slices.Contains(postSigning, name):
			h.Set(name, value)
		case name == "acl":
			h.Set("X-Amz-Acl", value)
		case slices.Contains(postSigning, name), strings.HasPrefix(name, "x-ignore-"),
			slices.Contains([]string{"key", "policy", "bucket", "submit", "success_action_redirect", "success_action_status", "redirect"}, name):
		case name == "tagging":
			var in s3Tagging
			if err := parseXML([]byte(value), "Tagging", &in); err != nil {
				return nil, err
			}
			tags := url.Values{}
			for _, t := range in.Tags {
				tags.Add(t.Key, t.Value)
			}
			h.Set("X-Amz-Tagging", tags.Encode())
		case !put.Signed: // else a policy has to cover it
			return nil, wire.NotImplemented("s3", "the form field "+name+" of PostObject")
		}
	}
	if what := put.unmodelled(); what != "" {
		return nil, wire.NotImplemented("s3", what+" of "+c.Operation)
	}
	// The name of the file in the user's own file system, without its path.
	put.key = strings.ReplaceAll(put.key, "${filename}", form.file.FileName())
	return put, nil
}

// authenticateForm finds the caller by the form's credential.
func (c *call) authenticateForm(form *postForm) error {
	c.Who, c.Signed = wire.Identity{}, false
	if form.fields["awsaccesskeyid"] != "" || form.fields["signature"] != "" {
		return errInvalidRequest("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	}
	policy, signature := form.fields["policy"], form.fields["x-amz-signature"]
	if policy == "" && signature == "" {
		return nil // anonymous
	}
	if policy == "" {
		return errPostField("policy")
	}
	// Recorded: localstack test_s3.snapshot.json, test_post_request_missing_fields.
	if !slices.ContainsFunc(postSigning, func(name string) bool { return form.fields[name] != "" }) {
		return errAccessDenied()
	}
	for _, name := range []string{"X-Amz-Signature", "X-Amz-Algorithm", "X-Amz-Date", "X-Amz-Credential"} {
		if form.fields[strings.ToLower(name)] == "" {
			return errPostField(name)
		}
	}
	if form.fields["x-amz-algorithm"] != "AWS4-HMAC-SHA256" {
		return errInvalidArgument("X-Amz-Algorithm", form.fields["x-amz-algorithm"], "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")
	}
	scope := strings.Split(form.fields["x-amz-credential"], "/")
	if len(scope) != 5 || scope[3] != "s3" || scope[4] != "aws4_request" || scope[2] == "" {
		return errInvalidArgument("X-Amz-Credential", form.fields["x-amz-credential"], "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
	}
	who, err := c.Identify(scope[0], form.fields["x-amz-security-token"])
	if err != nil {
		return err
	}
	c.Who, c.Region, c.Signed = who, scope[2], true
	return nil
}

func postObject(c *call) (*response, error) {
	if c.Signed {
		return nil, wire.NotImplemented("s3", "the header Authorization of PostObject")
	}
	form, err := c.readForm()
	if err != nil {
		return nil, err
	}
	if _, ok := form.fields["key"]; !ok {
		return nil, errPostField("key")
	}
	put, err := c.asPut(form)
	if err != nil {
		return nil, err
	}
	limits := postLimits{0, maxObject}
	if put.Signed {
		if limits, err = form.checkPolicy(c.bucket, c.Now); err != nil {
			return nil, err
		}
	}
	a, err := put.storeForm(form, limits)
	if err != nil && put.isDataEvent() {
		if e := c.s.trail.Record(put.dataEvent(err)); e != nil {
			return nil, e
		}
	}
	return a, err
}

// storeForm stores the file of a form that its policy allows.
func (c *call) storeForm(form *postForm, limits postLimits) (*response, error) {
	if err := c.checkKey(); err != nil {
		return nil, err
	}
	if c.key == "" {
		return nil, errInvalidArgument("key", "", "User key must have a length greater than 0.")
	}
	if err := c.findBucket(); err != nil {
		return nil, err
	}
	if err := c.authorize("s3:PutObject", c.arn()); err != nil {
		return nil, err
	}
	p := &payload{body: &limitedFile{file: form.file, limits: limits}, left: math.MaxInt64, open: true, md5: newMD5()}
	if err := p.readChecksum(c); err != nil {
		return nil, err
	}
	o, err := c.storePayload(p)
	if err != nil {
		return nil, err
	}
	return c.posted(o, form)
}

// posted answers as the form wants it.
func (c *call) posted(o *objectRecord, form *postForm) (*response, error) {
	scheme := "https"
	if !c.Secure {
		scheme = "http"
	}
	location := scheme + "://" + c.HTTP.Host + c.HTTP.URL.EscapedPath()
	location = strings.TrimSuffix(location, "/") + "/" + encodeKey(o.Key)
	a := &response{status: http.StatusNoContent, header: c.sseHeaders(o)}
	switch form.fields["success_action_status"] {
	case "200":
		a.status = http.StatusOK
	case "201":
		x, err := s3XMLBare("PostResponse", struct{ Location, Bucket, Key, ETag string }{location, c.bucket, o.Key, quoted(o.ETag)})
		if err != nil {
			return nil, err
		}
		a.status, a.xml = http.StatusCreated, x
	}
	maps.Copy(a.header, o.checksumHeaders())
	a.header[headerExpiration] = c.b.expirationHeader(o)
	a.header["Etag"], a.header["X-Amz-Version-Id"], a.header["Location"] = quoted(o.ETag), c.versionHeader(o.VersionID), location
	target := form.fields["success_action_redirect"]
	if target == "" {
		target = form.fields["redirect"]
	}
	if u, err := url.Parse(target); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		q := u.Query()
		q.Set("bucket", c.bucket)
		q.Set("key", o.Key)
		q.Set("etag", quoted(o.ETag))
		u.RawQuery = q.Encode()
		a.status, a.xml, a.header["Location"] = http.StatusSeeOther, nil, u.String()
	}
	return a, nil
}

// postLimits are how many bytes the file may have.
type postLimits struct{ least, most int64 }

// limitedFile reads a file of a form, and refuses one of another size.
type limitedFile struct {
	file   io.Reader
	limits postLimits
	size   int64
}

func (f *limitedFile) Read(b []byte) (int, error) {
	n, err := f.file.Read(b)
	f.size += int64(n)
	switch {
	case f.size > f.limits.most:
		return 0, errTooLarge(f.size, f.limits.most)
	case errors.Is(err, io.EOF) && f.size < f.limits.least:
		e := wire.Errf(http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
		e.Extra = map[string]string{"ProposedSize": strconv.FormatInt(f.size, 10), "MinSizeAllowed": strconv.FormatInt(f.limits.least, 10)}
		return 0, e
	case err != nil && !errors.Is(err, io.EOF):
		return 0, errIncompleteBody()
	}
	return n, err
}

// checkPolicy holds the form against its policy: every condition must hold, and
// every field must have one. The key is compared as it is in the form, with
// ${filename} in it: the SDKs sign it so.
func (form *postForm) checkPolicy(bucket string, now time.Time) (limits postLimits, err error) {
	invalid := func(what string) error {
		return wire.Errf(http.StatusBadRequest, "InvalidPolicyDocument", "Invalid Policy: %s", what)
	}
	denied := func(what string) error {
		return wire.Errf(http.StatusForbidden, "AccessDenied", "Invalid according to Policy: %s", what)
	}
	limits = postLimits{0, maxObject}
	document, err := base64.StdEncoding.DecodeString(form.fields["policy"])
	var policy struct {
		Expiration *string
		Conditions *[]json.RawMessage
	}
	switch {
	case err != nil || json.Unmarshal(document, &policy) != nil:
		return limits, invalid("Invalid JSON.")
	case policy.Expiration == nil:
		return limits, invalid("Policy missing expiration.")
	case policy.Conditions == nil:
		return limits, invalid("Policy missing conditions.")
	}
	until, err := time.Parse(time.RFC3339, *policy.Expiration)
	if err != nil {
		return limits, invalid(fmt.Sprintf("Invalid 'expiration' value: '%s'", *policy.Expiration))
	}
	if !now.Before(until) {
		return limits, denied("Policy expired.")
	}
	values := maps.Clone(form.fields)
	values["bucket"] = bucket
	covered := map[string]bool{}
	for _, raw := range *policy.Conditions {
		conditions, err := parsePostCondition(raw)
		if err != nil {
			return limits, invalid("Invalid Condition: " + string(raw))
		}
		for _, one := range conditions {
			if one.operator == "content-length-range" {
				limits.least, limits.most = max(limits.least, one.least), min(limits.most, one.most)
				continue
			}
			value, ok := values[one.field], false
			if one.operator == "eq" {
				ok = value == one.value
			} else {
				ok = startsWith(one.field, value, one.value)
			}
			if !ok {
				return limits, denied(fmt.Sprintf("Policy Condition failed: [%q, %q, %q]", one.operator, "$"+one.field, one.value))
			}
			covered[one.field] = true
		}
	}
	var extra []string
	for name := range form.fields {
		free := name == "x-amz-signature" || name == "policy" || name == "bucket" || strings.HasPrefix(name, "x-ignore-")
		if !free && !covered[name] {
			extra = append(extra, name)
		}
	}
	if len(extra) > 0 {
		slices.Sort(extra)
		return limits, denied("Extra input fields: " + strings.Join(extra, ", "))
	}
	return limits, nil
}

// startsWith reports whether a field has a prefix; of a list of content types,
// whether each has it.
func startsWith(field, value, prefix string) bool {
	if field != "content-type" || strings.Contains(prefix, ",") {
		return strings.HasPrefix(value, prefix)
	}
	for one := range strings.SplitSeq(value, ",") {
		if !strings.HasPrefix(strings.TrimSpace(one), prefix) {
			return false
		}
	}
	return true
}

// postCondition is one condition of a policy.
type postCondition struct {
	operator     string // "eq", "starts-with" or "content-length-range"
	field, value string
	least, most  int64
}

// parsePostCondition reads {"field": "value"}, [operator, "$field", "value"] or
// ["content-length-range", least, most].
func parsePostCondition(raw json.RawMessage) (out []postCondition, err error) {
	var exact map[string]string
	if json.Unmarshal(raw, &exact) == nil && len(exact) > 0 {
		for field, value := range exact {
			out = append(out, postCondition{operator: "eq", field: strings.ToLower(field), value: value})
		}
		return out, nil
	}
	var list []any
	if err := json.Unmarshal(raw, &list); err != nil || len(list) != 3 {
		return nil, errors.New("no condition")
	}
	operator, _ := list[0].(string)
	one := postCondition{operator: strings.ToLower(operator)}
	switch one.operator {
	case "eq", "starts-with":
		field, ok1 := list[1].(string)
		value, ok2 := list[2].(string)
		field, ok3 := strings.CutPrefix(field, "$")
		if !ok1 || !ok2 || !ok3 {
			return nil, errors.New("no field")
		}
		one.field, one.value = strings.ToLower(field), value
	case "content-length-range":
		for i, to := range []*int64{&one.least, &one.most} {
			n, err := strconv.ParseInt(fmt.Sprint(list[i+1]), 10, 64)
			if f, ok := list[i+1].(float64); ok && f >= 0 && f <= math.MaxInt32<<20 {
				n, err = int64(f), nil
			}
			if err != nil || n < 0 {
				return nil, errors.New("no size")
			}
			*to = n
		}
	default:
		return nil, errors.New("no operator")
	}
	return []postCondition{one}, nil
}
