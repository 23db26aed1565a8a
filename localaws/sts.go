package localaws

import (
	"encoding/xml"
	"net/http"
)

// serveSTS answers for STS, whose only operation here is GetCallerIdentity. It
// needs no permission, as in AWS.
func serveSTS(r *request) {
	switch {
	case !r.signed:
		failSTS(r, errf(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token"))
		return
	case !regionEnabled(r.region):
		failSTS(r, errf(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid"))
		return
	case r.operation != "GetCallerIdentity":
		failSTS(r, errNotImplemented(r.service, r.operation))
		return
	}
	if err := r.s.record(trailEvent{r: r, eventSource: "sts.amazonaws.com", eventName: "GetCallerIdentity", readOnly: true}); err != nil {
		failSTS(r, asAPIError(err))
		return
	}
	type identity struct {
		ARN     string `xml:"Arn"`
		UserID  string `xml:"UserId"`
		Account string
	}
	answerXML(r, http.StatusOK, struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
		Result    identity `xml:"GetCallerIdentityResult"`
		RequestID string   `xml:"ResponseMetadata>RequestId"`
	}{Result: identity{r.who.ARN, r.who.UserID, r.who.Account}, RequestID: r.id})
}

// failSTS answers with an error as STS writes it.
func failSTS(r *request, e *apiError) {
	type one struct{ Type, Code, Message string }
	side := "Sender"
	if e.Status >= http.StatusInternalServerError {
		side = "Receiver"
	}
	r.w.code = e.Code
	answerXML(r, e.Status, struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Error     one
		RequestID string `xml:"RequestId"`
	}{Error: one{side, e.Code, e.Message}, RequestID: r.id})
}
