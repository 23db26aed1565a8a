package wire

import (
	"net/http"
	"slices"
	"strings"
)

// Authenticate reads the scope of a SigV4 signature, from the Authorization
// header or a presigned URL's query, and finds the caller by identify. It does
// not check the signature: localaws knows no secret keys.
func (r *Request) Authenticate(identify func(accessKey, token string) (Identity, *Error)) *Error {
	var credential string
	query := r.HTTP.URL.Query()
	token := r.HTTP.Header.Get("X-Amz-Security-Token")
	switch auth := r.HTTP.Header.Get("Authorization"); {
	case strings.HasPrefix(auth, "AWS4-HMAC-SHA256"):
		fields := map[string]string{}
		for f := range strings.SplitSeq(strings.TrimPrefix(auth, "AWS4-HMAC-SHA256"), ",") {
			if k, v, ok := strings.Cut(strings.TrimSpace(f), "="); ok {
				fields[k] = v
			}
		}
		if fields["Credential"] == "" || fields["SignedHeaders"] == "" || fields["Signature"] == "" {
			return Errf(http.StatusBadRequest, "IncompleteSignature", "Authorization header requires 'Credential', 'Signature' and 'SignedHeaders' parameters.")
		}
		credential = fields["Credential"]
	case strings.HasPrefix(auth, "AWS "), auth == "" && query.Has("AWSAccessKeyId"):
		return Errf(http.StatusBadRequest, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	case auth != "":
		return Errf(http.StatusBadRequest, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	case query.Has("X-Amz-Signature"):
		credential = query.Get("X-Amz-Credential")
		token = query.Get("X-Amz-Security-Token")
	default:
		return nil // unsigned: each service refuses it in its own words
	}
	scope := strings.Split(credential, "/")
	if len(scope) != 5 || scope[4] != "aws4_request" || !accessKeyID.MatchString(scope[0]) || scope[2] == "" || scope[3] == "" {
		return Errf(http.StatusBadRequest, "IncompleteSignature", "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", credential)
	}
	r.Region, r.Service, r.Signed = scope[2], scope[3], true
	var err *Error
	r.Who, err = identify(scope[0], token)
	return err
}

// SignedHeaders are the names of the headers that the signature covers, in
// lower case.
func (r *Request) SignedHeaders() []string {
	auth := r.HTTP.Header.Get("Authorization")
	list := r.HTTP.URL.Query().Get("X-Amz-SignedHeaders")
	if _, rest, ok := strings.Cut(auth, "SignedHeaders="); ok {
		list, _, _ = strings.Cut(rest, ",")
	}
	return slices.DeleteFunc(strings.Split(strings.ToLower(strings.TrimSpace(list)), ";"), func(s string) bool { return s == "" })
}
