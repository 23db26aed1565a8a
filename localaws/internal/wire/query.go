package wire

import (
	"encoding/xml"
	"net/http"
	"net/url"
)

// The query protocol: EC2 and STS.

// FormOperation reads the operation from the form: Action=GetCallerIdentity.
func FormOperation(r *Request) string { return r.Form().Get("Action") }

// Form reads the parameters of a query-protocol call, once.
func (r *Request) Form() url.Values {
	if r.HTTP.PostForm == nil {
		r.HTTP.Body = http.MaxBytesReader(r.W, r.HTTP.Body, MaxBody)
		if r.HTTP.ParseForm() != nil && r.HTTP.PostForm == nil {
			r.HTTP.PostForm = url.Values{}
		}
	}
	return r.HTTP.Form
}

// AnswerXML writes v as XML.
func AnswerXML(r *Request, status int, v any) {
	b, err := xml.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, nil
	}
	r.W.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	r.W.Header().Set("X-Amzn-Requestid", r.ID)
	r.W.WriteHeader(status)
	_, _ = r.W.Write(append([]byte(xml.Header), b...)) // a client that disconnected is no error here
}
