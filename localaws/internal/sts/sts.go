// Package sts serves STS: who the caller is, and temporary credentials.
package sts

import (
	"encoding/xml"
	"net/http"

	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Service serves STS.
type Service struct {
	trail *trail.Service
}

// New makes the service.
func New(events *trail.Service) *Service { return &Service{trail: events} }

// Operation implements [wire.Service].
func (*Service) Operation(r *wire.Request) string { return wire.FormOperation(r) }

// Serve implements [wire.Service].
func (s *Service) Serve(r *wire.Request) {
	out, err := s.run(r)
	if err != nil {
		s.Fail(r, wire.AsError(err))
		return
	}
	wire.AnswerXML(r, http.StatusOK, out)
}

func (s *Service) run(r *wire.Request) (any, error) {
	switch {
	case !r.Signed:
		return nil, wire.Errf(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
	case !wire.RegionEnabled(r.Region):
		return nil, wire.Errf(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid")
	case r.Operation != "GetCallerIdentity":
		return nil, wire.NotImplemented(r.Service, r.Operation)
	}
	if name := wire.UnknownParameter(r.Form(), "Action", "Version"); name != "" {
		return nil, wire.NotImplemented(r.Service, "the parameter "+name+" of "+r.Operation)
	}
	return s.getCallerIdentity(r)
}

// getCallerIdentity needs no permission, as in AWS.
func (s *Service) getCallerIdentity(r *wire.Request) (any, error) {
	if err := s.trail.Record(trail.Event{Request: r, Source: "sts.amazonaws.com", Name: "GetCallerIdentity", ReadOnly: true}); err != nil {
		return nil, err
	}
	type identity struct {
		ARN     string `xml:"Arn"`
		UserID  string `xml:"UserId"`
		Account string
	}
	return struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
		Result    identity `xml:"GetCallerIdentityResult"`
		RequestID string   `xml:"ResponseMetadata>RequestId"`
	}{Result: identity{r.Who.ARN, r.Who.UserID, r.Who.Account}, RequestID: r.ID}, nil
}

// Fail implements [wire.Service].
func (*Service) Fail(r *wire.Request, e *wire.Error) {
	type one struct{ Type, Code, Message string }
	side := "Sender"
	if e.Status >= http.StatusInternalServerError {
		side = "Receiver"
	}
	r.W.Code = e.Code
	wire.AnswerXML(r, e.Status, struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Error     one
		RequestID string `xml:"RequestId"`
	}{Error: one{side, e.Code, e.Message}, RequestID: r.ID})
}
