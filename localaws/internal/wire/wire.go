// Package wire is what the services of localaws have in common at their edge:
// a request and its caller, AWS's protocols, errors, and the Regions. Nothing
// that an operation does not model passes this edge: see strict.go.
//
// It knows no service, no policy and no state.
package wire

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"log"
	"net"
	"net/http"
	"regexp"
	"time"

	"golang.org/x/sync/errgroup"
)

// DefaultAccount owns the requests whose access key ID is not an account ID.
const DefaultAccount = "123456789012"

// Identity is the caller who signed a request. The zero value is anonymous.
type Identity struct {
	Account   string // 12 digits
	ARN       string // arn:aws:iam::ACCOUNT:user/NAME, or arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION
	Name      string // of the user; for a session, ROLE/SESSION is in the ARN and Name is the session's
	UserID    string // a stable ID that looks like IAM's: AIDA..., AROA...:SESSION
	AccessKey string
	Session   *Session // nil for a long-term access key
	// Service is set for a call that an AWS service makes as itself; every other
	// field is then empty.
	Service *ServicePrincipal
}

// ServicePrincipal is an AWS service that calls as itself, for a resource.
type ServicePrincipal struct {
	Name          string // "cloudtrail.amazonaws.com"
	SourceARN     string // of the resource: aws:SourceArn
	SourceAccount string // its account: aws:SourceAccount
}

// Session is what temporary credentials stand for.
type Session struct {
	Token   string // the security token that every request has to carry
	RoleARN string // empty for GetSessionToken
	RoleID  string // AROA...
	Role    string // the role's name
	Started time.Time
	Expires time.Time
}

// IsRoot reports whether the caller is an account's root user.
func (i Identity) IsRoot() bool { return i.ARN == RootARN(i.Account) && i.ARN != "" }

// PolicyARN is the ARN of the principal that has the identity policies: the
// role for a session of a role.
func (i Identity) PolicyARN() string {
	if i.Session != nil && i.Session.RoleARN != "" {
		return i.Session.RoleARN
	}
	return i.ARN
}

// RootARN is the ARN of an account's root user.
func RootARN(account string) string {
	if account == "" {
		return ""
	}
	return "arn:aws:iam::" + account + ":root"
}

// AccountID matches an AWS account ID.
var AccountID = regexp.MustCompile(`^\d{12}$`)

// accessKeyID matches what may stand for a caller.
var accessKeyID = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)

// IdentityOf is the caller that a long-term access key ID stands for: a 12-digit
// one is the user "localaws" of that account, "root" is the root user of
// [DefaultAccount], and any other is the user of that name there.
func IdentityOf(accessKey string) Identity {
	if accessKey == "root" {
		return Identity{Account: DefaultAccount, ARN: RootARN(DefaultAccount), Name: "root", UserID: DefaultAccount, AccessKey: accessKey}
	}
	account, name := DefaultAccount, accessKey
	if AccountID.MatchString(accessKey) {
		account, name = accessKey, "localaws"
	}
	return Identity{
		Account: account, ARN: "arn:aws:iam::" + account + ":user/" + name, Name: name,
		UserID: StableID("AIDA", account+"/"+name), AccessKey: accessKey,
	}
}

// Request is one call to one service.
type Request struct {
	W         *Writer
	HTTP      *http.Request
	ID        string // x-amz-request-id
	Service   string // from the signature's scope
	Region    string // from the signature's scope
	Operation string
	Who       Identity // zero for an unsigned request
	Signed    bool
	Secure    bool // over TLS
	// Identify finds the caller of credentials that are in the body: see S3's
	// PostObject. Every other caller is in Who.
	Identify func(accessKey, token string) (Identity, *Error)
	Now      time.Time
}

// SourceIP is the caller's address, for event records and aws:SourceIp.
func (r *Request) SourceIP() string {
	host, _, err := net.SplitHostPort(r.HTTP.RemoteAddr)
	if err != nil {
		return "127.0.0.1"
	}
	return host
}

// Service is how one AWS service speaks.
type Service interface {
	// Operation is the operation's name in the API reference; empty if unknown.
	Operation(r *Request) string
	// Serve executes the operation and writes the response.
	Serve(r *Request)
	// Fail writes an error in the service's form.
	Fail(r *Request, e *Error)
}

// Writer records what was answered.
type Writer struct {
	http.ResponseWriter
	Status  int
	Code    string // AWS error code
	Discard bool   // the response is to be lost on the way
	// Pending must succeed before anything is answered: writes of events that
	// take place beside the operation.
	Pending errgroup.Group
}

// WriteHeader implements [http.ResponseWriter].
func (w *Writer) WriteHeader(status int) {
	if w.Status == 0 {
		w.settle()
		w.Status = status
	}
	if !w.Discard {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write implements [http.ResponseWriter].
func (w *Writer) Write(b []byte) (int, error) {
	if w.Status == 0 {
		w.settle()
		w.Status = http.StatusOK
	}
	if w.Discard {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// settle waits for what is pending. If that failed nothing is acknowledged: the
// client receives no response.
func (w *Writer) settle() {
	if err := w.Pending.Wait(); err != nil {
		log.Print(err)
		Drop()
	}
}

// Drop closes the client's connection without a response.
func Drop() {
	// net/http closes the connection on this panic, and logs nothing.
	panic(http.ErrAbortHandler)
}

// NewUUID makes a random UUID.
func NewUUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: see crypto/rand.Read
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// StableID makes an ID that looks like one of IAM's and is always the same for
// the same seed: AIDA and 17 letters and digits.
func StableID(prefix, seed string) string {
	sum := sha256.Sum256([]byte(seed))
	return prefix + base32.StdEncoding.EncodeToString(sum[:])[:17]
}
