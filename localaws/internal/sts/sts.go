// Package sts serves STS: who the caller is, and temporary credentials, those of
// roles (roles.go) among them.
package sts

import (
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// The buckets of STS.
var (
	RoleBucket    = []byte("iam-roles")    // role ARN
	SessionBucket = []byte("sts-sessions") // access key ID
)

// Service serves STS, and finds the callers that temporary credentials stand
// for.
type Service struct {
	db         *bolt.DB
	identities *policy.Identities
	trail      *trail.Service
	sessions   sync.Map // access key ID to wire.Identity, as committed
}

// Open reads the sessions, and removes those that expired before now.
func Open(db *bolt.DB, identities *policy.Identities, events *trail.Service, now time.Time) (*Service, error) {
	s := &Service{db: db, identities: identities, trail: events}
	return s, db.Update(func(tx *bolt.Tx) error {
		var expired []string
		err := store.Each(tx, SessionBucket, "", func(key string, who wire.Identity) error {
			if who.Session.Expires.Before(now) {
				expired = append(expired, key)
			} else {
				s.sessions.Store(key, who)
			}
			return nil
		})
		for _, key := range expired {
			err = errors.Join(err, store.Remove(tx, SessionBucket, key))
		}
		return err
	})
}

// operation is one operation and the parameters that it models, beside Action
// and Version.
type operation struct {
	handle     func(c *call) (any, error)
	parameters []string
}

var operations = map[string]operation{
	"GetCallerIdentity": {getCallerIdentity, nil},
	"AssumeRole":        {assumeRole, []string{"RoleArn", "RoleSessionName", "DurationSeconds", "ExternalId"}},
	"GetSessionToken":   {getSessionToken, []string{"DurationSeconds"}},
}

const apiVersion = "2011-06-15"

// call is one call to STS while it is executed.
type call struct {
	*wire.Request
	s        *Service
	event    trail.Event
	recorded bool // the event, with the change of the state
}

// Operation implements [wire.Service].
func (*Service) Operation(r *wire.Request) string { return wire.FormOperation(r) }

// Serve implements [wire.Service].
func (s *Service) Serve(r *wire.Request) {
	result, err := s.run(r)
	if err != nil {
		s.Fail(r, wire.AsError(err))
		return
	}
	wire.AnswerXML(r, http.StatusOK, struct {
		XMLName   xml.Name
		Result    any
		RequestID string `xml:"ResponseMetadata>RequestId"`
	}{xml.Name{Space: "https://sts.amazonaws.com/doc/" + apiVersion + "/", Local: r.Operation + "Response"}, result, r.ID})
}

func (s *Service) run(r *wire.Request) (any, error) {
	op, ok := operations[r.Operation]
	switch {
	case !r.Signed:
		return nil, wire.Errf(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
	case !wire.RegionEnabled(r.Region):
		return nil, wire.Errf(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid")
	case !ok:
		return nil, wire.NotImplemented(r.Service, r.Operation)
	}
	if v := r.Form().Get("Version"); v != apiVersion {
		return nil, wire.NotImplemented(r.Service, "the API version "+v)
	}
	if name := wire.UnknownParameter(r.Form(), slices.Concat(op.parameters, []string{"Action", "Version"})...); name != "" {
		return nil, wire.NotImplemented(r.Service, "the parameter "+name+" of "+r.Operation)
	}
	c := &call{Request: r, s: s, event: trail.Event{Request: r, Source: "sts.amazonaws.com", Name: r.Operation, ReadOnly: true, Parameters: parameters(r.Form())}}
	result, err := op.handle(c)
	if !c.recorded {
		c.event.Fail(err)
		if e := s.trail.Record(c.event); e != nil {
			return nil, e
		}
	}
	return result, err
}

// parameters is the request as its record shows it; nil if it has none.
func parameters(form url.Values) any {
	p := map[string]any{}
	for key, name := range map[string]string{"RoleArn": "roleArn", "RoleSessionName": "roleSessionName", "ExternalId": "externalId", "DurationSeconds": "durationSeconds"} {
		if v := form.Get(key); v != "" {
			p[name] = v
			if n, err := strconv.Atoi(v); err == nil && key == "DurationSeconds" {
				p[name] = n
			}
		}
	}
	if len(p) == 0 {
		return nil
	}
	return p
}

// getCallerIdentity needs no permission, as in AWS.
func getCallerIdentity(c *call) (any, error) {
	return struct {
		XMLName xml.Name `xml:"GetCallerIdentityResult"`
		ARN     string   `xml:"Arn"`
		UserID  string   `xml:"UserId"`
		Account string
	}{ARN: c.Who.ARN, UserID: c.Who.UserID, Account: c.Who.Account}, nil
}

// validationError is STS's error for a parameter whose form is wrong; rule
// completes "Member must".
func validationError(name, value, rule string) error {
	if value == "" {
		return wire.Errf(http.StatusBadRequest, "ValidationError", "1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", name)
	}
	return wire.Errf(http.StatusBadRequest, "ValidationError", "1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must %s", value, name, rule)
}

// checkText refuses a parameter that does not have between least and most
// characters, all of the pattern.
func checkText(name, value string, least, most int, pattern *regexp.Regexp) error {
	switch {
	case len(value) < least:
		return validationError(name, value, "have length greater than or equal to "+strconv.Itoa(least))
	case len(value) > most:
		return validationError(name, value, "have length less than or equal to "+strconv.Itoa(most))
	case !pattern.MatchString(value):
		return validationError(name, value, "satisfy regular expression pattern: "+pattern.String()[1:len(pattern.String())-1])
	}
	return nil
}

// duration reads DurationSeconds, which has a default and a most.
func (c *call) duration(standard, most int) (time.Duration, error) {
	seconds := standard
	if v := c.Form().Get("DurationSeconds"); v != "" {
		n, err := strconv.Atoi(v)
		switch {
		case err != nil:
			return 0, wire.Errf(http.StatusBadRequest, "MalformedInput", "The value of DurationSeconds is not a number")
		case n < 900:
			return 0, validationError("durationSeconds", v, "have value greater than or equal to 900")
		case n > most:
			return 0, validationError("durationSeconds", v, "have value less than or equal to "+strconv.Itoa(most))
		}
		seconds = n
	}
	return time.Duration(seconds) * time.Second, nil
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
