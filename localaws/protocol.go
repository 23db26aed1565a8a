package localaws

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// The wire shapes that several services share: JSON 1.1 (KMS, CloudTrail) and
// the query protocol (EC2, STS). S3's own is in s3.go.

// maxBody is the largest body of a call that is not an S3 object.
const maxBody = 1 << 20

// jsonOperation reads the operation from X-Amz-Target: "TrentService.CreateKey".
func jsonOperation(r *request) string {
	target := r.http.Header.Get("X-Amz-Target")
	return target[strings.LastIndexByte(target, '.')+1:]
}

// jsonHandler carries out one operation of a JSON service.
type jsonHandler func(r *request, body []byte) (any, error)

// serveJSON answers a call to a JSON 1.1 service.
func serveJSON(r *request, handlers map[string]jsonHandler) {
	if !r.signed {
		failJSON(r, errf(http.StatusBadRequest, "MissingAuthenticationTokenException", "Missing Authentication Token"))
		return
	}
	if !regionEnabled(r.region) {
		failJSON(r, errf(http.StatusBadRequest, "UnrecognizedClientException", "The security token included in the request is invalid."))
		return
	}
	handle, ok := handlers[r.operation]
	if !ok {
		failJSON(r, errNotImplemented(r.service, r.operation))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(r.w, r.http.Body, maxBody))
	if err != nil {
		failJSON(r, errf(http.StatusBadRequest, "SerializationException", "the request body could not be read or is larger than 1 MiB"))
		return
	}
	out, err := handle(r, body)
	if err != nil {
		failJSON(r, asAPIError(err))
		return
	}
	answerJSON(r, http.StatusOK, out)
}

// decode reads a JSON request into T, answering as AWS does where it cannot.
func decode[T any](body []byte) (T, error) {
	var in T
	if len(bytes.TrimSpace(body)) == 0 {
		return in, nil
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return in, errf(http.StatusBadRequest, "SerializationException", "the request could not be understood: %v", err)
	}
	return in, nil
}

func failJSON(r *request, e *apiError) {
	r.w.code = e.Code
	r.w.Header().Set("X-Amzn-Errortype", e.Code)
	answerJSON(r, e.Status, map[string]string{"__type": e.Code, "message": e.Message})
}

func answerJSON(r *request, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"__type":"InternalFailure","message":"the answer could not be encoded"}`)
	}
	if v == nil {
		b = nil // operations without output answer with an empty body
	}
	r.w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	r.w.Header().Set("X-Amzn-Requestid", r.id)
	r.w.WriteHeader(status)
	_, _ = r.w.Write(b) // a client that hung up is no error of ours
}

// asAPIError turns an unexpected error into AWS's InternalFailure.
func asAPIError(err error) *apiError {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	return errf(http.StatusInternalServerError, "InternalFailure", "%v", err)
}

// queryOperation reads the operation from the form: Action=GetCallerIdentity.
func queryOperation(r *request) string {
	return r.form().Get("Action")
}

// form reads the parameters of a query-protocol call, once.
func (r *request) form() url.Values {
	if r.http.PostForm == nil {
		r.http.Body = http.MaxBytesReader(r.w, r.http.Body, maxBody)
		if r.http.ParseForm() != nil && r.http.PostForm == nil {
			r.http.PostForm = url.Values{}
		}
	}
	return r.http.Form
}

func answerXML(r *request, status int, v any) {
	b, err := xml.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, nil
	}
	r.w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	r.w.Header().Set("X-Amzn-Requestid", r.id)
	r.w.WriteHeader(status)
	_, _ = r.w.Write(append([]byte(xml.Header), b...)) // a client that hung up is no error of ours
}

// stableID makes an id that looks like one of IAM's and is always the same for
// the same seed: AIDA and 17 letters and digits.
func stableID(prefix, seed string) string {
	sum := sha256.Sum256([]byte(seed))
	return prefix + base32.StdEncoding.EncodeToString(sum[:])[:17]
}
