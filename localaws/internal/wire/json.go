package wire

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// JSON 1.1: KMS and CloudTrail.

// MaxBody is the largest body of a call that is not an S3 object.
const MaxBody = 1 << 20

// JSONHandler executes one operation of a JSON service.
type JSONHandler func(r *Request, body []byte) (any, error)

// JSONService is a service that speaks JSON 1.1.
type JSONService struct {
	Handlers map[string]JSONHandler
}

// Operation reads the operation from X-Amz-Target: "TrentService.CreateKey".
func (JSONService) Operation(r *Request) string {
	target := r.HTTP.Header.Get("X-Amz-Target")
	return target[strings.LastIndexByte(target, '.')+1:]
}

// Serve implements [Service].
func (s JSONService) Serve(r *Request) {
	out, err := s.run(r)
	if err != nil {
		s.Fail(r, AsError(err))
		return
	}
	answerJSON(r, http.StatusOK, out)
}

func (s JSONService) run(r *Request) (any, error) {
	switch {
	case !r.Signed:
		return nil, Errf(http.StatusBadRequest, "MissingAuthenticationTokenException", "Missing Authentication Token")
	case !RegionEnabled(r.Region):
		return nil, Errf(http.StatusBadRequest, "UnrecognizedClientException", "The security token included in the request is invalid.")
	case r.HTTP.URL.RawQuery != "":
		return nil, NotImplemented(r.Service, "the query "+r.HTTP.URL.RawQuery)
	}
	handle, ok := s.Handlers[r.Operation]
	if !ok {
		return nil, NotImplemented(r.Service, r.Operation)
	}
	body, err := io.ReadAll(http.MaxBytesReader(r.W, r.HTTP.Body, MaxBody))
	if err != nil {
		return nil, Errf(http.StatusBadRequest, "SerializationException", "the request body could not be read or is larger than 1 MiB")
	}
	return handle(r, body)
}

// Fail implements [Service].
func (JSONService) Fail(r *Request, e *Error) {
	r.W.Code = e.Code
	r.W.Header().Set("X-Amzn-Errortype", e.Code)
	body := map[string]string{"__type": e.Code}
	if e.Message != "" { // AWS sends no empty one
		body["message"] = e.Message
	}
	answerJSON(r, e.Status, body)
}

func answerJSON(r *Request, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"__type":"InternalFailure","message":"the response could not be encoded"}`)
	}
	if v == nil {
		b = nil // operations without output have an empty body
	}
	r.W.Header().Set("Content-Type", "application/x-amz-json-1.1")
	r.W.Header().Set("X-Amzn-Requestid", r.ID)
	r.W.WriteHeader(status)
	_, _ = r.W.Write(b) // a client that disconnected is no error here
}
