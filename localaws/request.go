package localaws

import (
	"cmp"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/securethecloud/kms-baseline/localaws/internal/s3"
	"github.com/securethecloud/kms-baseline/localaws/internal/sts"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// DefaultAccount owns the requests whose access key ID is not an account ID.
const DefaultAccount = wire.DefaultAccount

// ServeHTTP serves every service: which one, and in which Region, comes from the
// scope of the request's signature.
func (s *Server) ServeHTTP(w http.ResponseWriter, h *http.Request) {
	if why := foreign(h); why != "" {
		http.Error(w, "localaws: "+why, http.StatusForbidden)
		return
	}
	switch {
	case h.Method != http.MethodConnect && !strings.HasPrefix(h.URL.Path, adminPath):
	case h.Header.Get("Origin") != "":
		refuseOrigin(w, h)
		return
	case h.Method == http.MethodConnect:
		s.tunnel(w, h)
		return
	default:
		s.serveAdmin(w, h)
		return
	}
	r := &wire.Request{W: &wire.Writer{ResponseWriter: w}, HTTP: h, ID: wire.NewUUID(), Secure: h.TLS != nil, Now: s.opts.Now()}
	r.Identify = func(accessKey, token string) (wire.Identity, *wire.Error) {
		who, err := s.sts.Identify(accessKey, token, r.Now)
		return who, credentialError(r.Service, err)
	}
	refused := r.Authenticate(r.Identify)
	if r.Service == "" {
		r.Service = guessService(r)
	}
	service, known := s.services[r.Service]
	if r.Service == "s3" && s3.IsControl(h) {
		service = s.s3.Control()
	}
	if !known {
		service = s.services[guessService(r)]
		if refused == nil {
			refused = wire.NotImplemented(r.Service, "")
		}
	}
	if h.Method == http.MethodOptions { // a preflight request, which is never signed
		r.Service, service, refused = "s3", s.s3, nil
	}
	if h.Header.Get("Origin") != "" && (service != s.s3 || !s.s3.AllowsOrigin(h)) {
		refuseOrigin(w, h)
		return
	}
	s.answer(r, service, refused)
}

// refuseOrigin answers a web page that no bucket's CORS rules allow.
func refuseOrigin(w http.ResponseWriter, h *http.Request) {
	http.Error(w, fmt.Sprintf("localaws: refusing a request of a web page (Origin: %s): only a bucket's CORS rules can allow it", h.Header.Get("Origin")), http.StatusForbidden)
}

// foreign is why a request does not come from a program on this machine that
// means localaws; empty if it does. A web page that the user visits can send
// requests to loopback addresses, directly or by a name of its own that resolves
// to one: the former carry an Origin (see refuseOrigin), the latter this Host.
func foreign(h *http.Request) string {
	host := h.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	// ACCOUNT.127.0.0.1 is how clients of S3 Control address an endpoint.
	if account, rest, ok := strings.Cut(host, "."); ok && wire.AccountID.MatchString(account) {
		host = rest
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return ""
	}
	return fmt.Sprintf("refusing a request for the host %q: use 127.0.0.1, ::1, localhost or a name that ends with .localhost", h.Host)
}

// credentialError is what a service returns for credentials that
// [sts.Service.Identify] refuses; nil for none.
func credentialError(service string, err error) *wire.Error {
	expired := errors.Is(err, sts.ErrExpiredToken)
	switch {
	case err == nil:
		return nil
	case service == "s3" && expired:
		return wire.Errf(http.StatusBadRequest, "ExpiredToken", "The provided token has expired.")
	case service == "s3" && errors.Is(err, sts.ErrUnknownKey):
		return wire.Errf(http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	case service == "s3":
		return wire.Errf(http.StatusBadRequest, "InvalidToken", "The provided token is malformed or otherwise invalid.")
	case service == "ec2" && expired:
		return wire.Errf(http.StatusBadRequest, "RequestExpired", "Request has expired.")
	case service == "ec2":
		return wire.Errf(http.StatusUnauthorized, "AuthFailure", "AWS was not able to validate the provided access credentials")
	case service == "sts" && expired:
		return wire.Errf(http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired")
	case service == "sts":
		return wire.Errf(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid")
	case expired:
		return wire.Errf(http.StatusBadRequest, "ExpiredTokenException", "The security token included in the request is expired")
	}
	return wire.Errf(http.StatusBadRequest, "UnrecognizedClientException", "The security token included in the request is invalid.")
}

// answer executes the request, unless it is refused or meets a fault. A panic in
// a handler is a bug: it is logged, and costs this one call an InternalFailure.
func (s *Server) answer(r *wire.Request, service wire.Service, refused *wire.Error) {
	start := time.Now()
	defer func() {
		bug := recover()
		_ = r.W.Pending.Wait() // a response has reported its error; without one, no client waits for it
		if err, _ := bug.(error); bug != nil && !errors.Is(err, http.ErrAbortHandler) {
			log.Printf("localaws: bug: %s of %s: %v\n%s", r.Operation, r.Service, bug, debug.Stack())
			if r.W.Status == 0 {
				service.Fail(r, wire.Errf(http.StatusInternalServerError, "InternalFailure", "localaws has a bug: its log says more"))
				bug = nil
			} else {
				bug = http.ErrAbortHandler // part of a response is out
			}
		}
		c := Call{Time: r.Now, Service: r.Service, Operation: r.Operation, Region: r.Region, Principal: r.Who.ARN,
			Status: r.W.Status, Error: r.W.Code, Took: time.Since(start)}
		if bug != nil {
			c.Status = 0
		}
		s.calls.count(c)
		if s.opts.Log != nil {
			s.opts.Log(c)
		}
		if bug != nil {
			wire.Drop()
		}
	}()

	r.Operation = service.Operation(r)
	f := s.faults.meet(r.Service, r.Operation)
	if f != nil && f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.HTTP.Context().Done():
			wire.Drop() // the client has disconnected
		}
	}
	switch {
	case f != nil && f.Drop:
		wire.Drop()
	case f != nil && f.DropAnswer:
		r.W.Discard = true
		service.Serve(r)
		wire.Drop()
	case f != nil && f.Status != 0:
		service.Fail(r, wire.Errf(f.Status, f.Code, "%s", cmp.Or(f.Message, "injected fault")))
	case refused != nil:
		service.Fail(r, refused)
	case !validQuery(r.HTTP):
		service.Fail(r, wire.Errf(http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI."))
	default:
		service.Serve(r)
	}
}

// validQuery reports whether the whole query can be parsed: url.URL.Query drops
// what it cannot parse.
func validQuery(h *http.Request) bool {
	_, err := url.ParseQuery(h.URL.RawQuery)
	return err == nil
}

// guessService guesses from its form which service an unsigned request means, or
// which one speaks like the unknown service that it is signed for, only to
// refuse it in the right form.
func guessService(r *wire.Request) string {
	target := r.HTTP.Header.Get("X-Amz-Target")
	switch {
	case strings.HasPrefix(target, "TrentService."):
		return "kms"
	case target != "":
		return "cloudtrail"
	case r.HTTP.Method != http.MethodPost || !strings.HasPrefix(r.HTTP.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
		return "s3"
	case r.Form().Get("Version") == "2016-11-15":
		return "ec2"
	}
	return "sts"
}
