package localaws

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// DefaultAccount is whose requests are that carry an access key id which is
// not itself an account number.
const DefaultAccount = "123456789012"

// identity is who signed a request.
type identity struct {
	Account   string // 12 digits
	ARN       string // arn:aws:iam::ACCOUNT:user/NAME
	Name      string // the user's name
	UserID    string // a stable id that looks like IAM's: AIDA...
	AccessKey string
}

var (
	accountID   = regexp.MustCompile(`^\d{12}$`)
	accessKeyID = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)
)

// identityOf says who an access key id stands for: a 12-digit one is the user
// "localaws" of that account, "root" is the root user of [DefaultAccount], and
// any other is the user of its own name there.
func identityOf(accessKey string) identity {
	if accessKey == "root" {
		return identity{
			Account: DefaultAccount, ARN: "arn:aws:iam::" + DefaultAccount + ":root",
			Name: "root", UserID: DefaultAccount, AccessKey: accessKey,
		}
	}
	account, name := DefaultAccount, accessKey
	if accountID.MatchString(accessKey) {
		account, name = accessKey, "localaws"
	}
	return identity{
		Account:   account,
		ARN:       "arn:aws:iam::" + account + ":user/" + name,
		Name:      name,
		UserID:    stableID("AIDA", account+"/"+name),
		AccessKey: accessKey,
	}
}

// request is one call to one service.
type request struct {
	s         *Server
	w         *statusWriter
	http      *http.Request
	id        string // x-amz-request-id
	service   string // from the signature's scope
	region    string // from the signature's scope
	operation string
	who       identity // zero for an unsigned request
	signed    bool
	secure    bool // over TLS
	now       time.Time
}

// apiError is an error in AWS's terms. Each service renders it in its own
// shape.
type apiError struct {
	Status  int // HTTP status
	Code    string
	Message string
	// Extra has more elements for S3's XML: Resource, BucketName, Key.
	Extra map[string]string
}

func (e *apiError) Error() string { return e.Code + ": " + e.Message }

// errf makes an apiError.
func errf(status int, code, format string, args ...any) *apiError {
	return &apiError{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// errNotImplemented is the answer to every operation outside this package's
// list.
func errNotImplemented(service, operation string) *apiError {
	if operation == "" {
		operation = "this operation"
	}
	return errf(http.StatusNotImplemented, "NotImplemented", "localaws does not implement %s of %s", operation, service)
}

// ServeHTTP answers for every service: which one, and in which Region, comes
// from the scope of the request's signature.
func (s *Server) ServeHTTP(w http.ResponseWriter, h *http.Request) {
	if strings.HasPrefix(h.URL.Path, adminPath) {
		s.serveAdmin(w, h)
		return
	}
	r := &request{s: s, w: &statusWriter{ResponseWriter: w}, http: h, id: newRequestID(), secure: h.TLS != nil, now: s.opts.Now()}
	refused := r.authenticate()
	if r.service == "" {
		r.service = r.lookalike()
	}
	service, known := services[r.service]
	if !known {
		service = services[r.lookalike()]
		if refused == nil {
			refused = errNotImplemented(r.service, "")
		}
	}
	r.answer(service, refused)
}

// answer carries the request out, unless it is refused or meets a fault. A
// panic in a handler is a bug: it is logged, and costs this one call an
// InternalFailure.
func (r *request) answer(service service, refused *apiError) {
	start := time.Now()
	defer func() {
		bug := recover()
		_ = r.w.pending.Wait() // an answer has seen its error; without one, there is nobody to tell
		if err, _ := bug.(error); bug != nil && !errors.Is(err, http.ErrAbortHandler) {
			log.Printf("localaws: bug: %s of %s: %v\n%s", r.operation, r.service, bug, debug.Stack())
			if r.w.status == 0 {
				service.fail(r, errf(http.StatusInternalServerError, "InternalFailure", "localaws has a bug: its log says more"))
				bug = nil
			} else {
				bug = http.ErrAbortHandler // half an answer is out
			}
		}
		c := Call{Time: r.now, Service: r.service, Operation: r.operation, Region: r.region, Principal: r.who.ARN,
			Status: r.w.status, Error: r.w.code, Took: time.Since(start)}
		if bug != nil {
			c.Status = 0
		}
		r.s.calls.count(c)
		if r.s.opts.Log != nil {
			r.s.opts.Log(c)
		}
		if bug != nil {
			drop()
		}
	}()

	r.operation = service.operation(r)
	f := r.s.faults.meet(r.service, r.operation)
	if f != nil && f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.http.Context().Done():
			drop() // the client has hung up
		}
	}
	switch {
	case f != nil && f.Drop:
		drop()
	case f != nil && f.DropAnswer:
		r.w.discard = true
		service.serve(r)
		drop()
	case f != nil && f.Status != 0:
		service.fail(r, errf(f.Status, f.Code, "%s", cmp.Or(f.Message, "injected fault")))
	case refused != nil:
		service.fail(r, refused)
	default:
		service.serve(r)
	}
}

// service is how one AWS service speaks.
type service struct {
	operation func(*request) string     // the operation's name in the API reference
	serve     func(*request)            // carries it out and answers
	fail      func(*request, *apiError) // answers with an error in the service's shape
}

var services map[string]service

func init() { // not a literal: the handlers refer back to services
	services = map[string]service{
		"kms":        {jsonOperation, serveKMS, failJSON},
		"cloudtrail": {jsonOperation, serveTrail, failJSON},
		"ec2":        {queryOperation, serveEC2, failEC2},
		"sts":        {queryOperation, serveSTS, failSTS},
		"s3":         {s3Operation, serveS3, failS3},
	}
}

// lookalike guesses from its form which service an unsigned request means, or
// which one speaks like the unknown service that it is signed for, only to
// refuse it in the right shape.
func (r *request) lookalike() string {
	target := r.http.Header.Get("X-Amz-Target")
	switch {
	case strings.HasPrefix(target, "TrentService."):
		return "kms"
	case target != "":
		return "cloudtrail"
	case r.http.Method != http.MethodPost || !strings.HasPrefix(r.http.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
		return "s3"
	case r.form().Get("Version") == "2016-11-15":
		return "ec2"
	}
	return "sts"
}

// authenticate reads the scope of a SigV4 signature, from the Authorization
// header or a presigned URL's query.
func (r *request) authenticate() *apiError {
	var credential string
	switch auth := r.http.Header.Get("Authorization"); {
	case strings.HasPrefix(auth, "AWS4-HMAC-SHA256"):
		fields := map[string]string{}
		for f := range strings.SplitSeq(strings.TrimPrefix(auth, "AWS4-HMAC-SHA256"), ",") {
			if k, v, ok := strings.Cut(strings.TrimSpace(f), "="); ok {
				fields[k] = v
			}
		}
		if fields["Credential"] == "" || fields["SignedHeaders"] == "" || fields["Signature"] == "" {
			return errf(http.StatusBadRequest, "IncompleteSignature", "Authorization header requires 'Credential', 'Signature' and 'SignedHeaders' parameters.")
		}
		credential = fields["Credential"]
	case auth != "":
		return errf(http.StatusBadRequest, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	case r.http.URL.Query().Has("X-Amz-Signature"):
		credential = r.http.URL.Query().Get("X-Amz-Credential")
	default:
		return nil // unsigned: each service refuses it in its own words
	}
	scope := strings.Split(credential, "/")
	if len(scope) != 5 || scope[4] != "aws4_request" || !accessKeyID.MatchString(scope[0]) || scope[2] == "" || scope[3] == "" {
		return errf(http.StatusBadRequest, "IncompleteSignature", "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", credential)
	}
	r.who, r.region, r.service, r.signed = identityOf(scope[0]), scope[2], scope[3], true
	return nil
}

// refusal says why the caller may not do action, in AWS's words; empty where
// it may. It is for actions whose resource has no policy of its own.
func (r *request) refusal(action string) string {
	a := access{who: r.who, action: action, resource: "*", context: r.conditionKeys()}
	if reason, ok := r.s.authorize(a, nil, r.who.Account); !ok {
		return fmt.Sprintf("User: %s is not authorized to perform: %s %s", r.who.ARN, action, reason)
	}
	return ""
}

// sourceIP is where the call came from, for event records and aws:SourceIp.
func (r *request) sourceIP() string {
	host, _, err := net.SplitHostPort(r.http.RemoteAddr)
	if err != nil {
		return "127.0.0.1"
	}
	return host
}

// statusWriter remembers what was answered.
type statusWriter struct {
	http.ResponseWriter
	status  int
	code    string // AWS error code
	discard bool   // the answer is to be lost on the way
	// pending has to succeed before anything is answered: see [Server.record].
	pending errgroup.Group
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.settle()
		w.status = status
	}
	if !w.discard {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.settle()
		w.status = http.StatusOK
	}
	if w.discard {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// settle waits for what is pending. Where that failed nothing is acknowledged:
// the client gets no answer.
func (w *statusWriter) settle() {
	if err := w.pending.Wait(); err != nil {
		log.Print(err)
		drop()
	}
}

func newRequestID() string { return newUUID() }

func newUUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: see crypto/rand.Read
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
