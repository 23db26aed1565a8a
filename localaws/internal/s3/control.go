package s3

import (
	"bytes"
	"encoding/xml"
	"maps"
	"net/http"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// AccountBucket has the public access block of accounts, in the database:
// account.
var AccountBucket = []byte("s3-accounts")

// accountHeader names the account that a call to S3 Control concerns. No call to
// S3 has it.
const accountHeader = "X-Amz-Account-Id"

// IsControl reports whether a request is one to S3 Control, which has S3's
// signature scope.
func IsControl(h *http.Request) bool { return h.Header.Get(accountHeader) != "" }

// Control is S3 Control: the settings of accounts, and the tags of buckets.
type Control struct{ s *Service }

// Control is the S3 Control of this S3.
func (s *Service) Control() *Control { return &Control{s} }

// controlOperation is an operation of S3 Control. Its name is that of its event,
// which differs from that of the buckets' operation.
type controlOperation struct {
	name, action string
	handle       func(*call) (*response, error)
}

// controlOperations are the operations, by method and path. Of tagged resources
// the ARN follows.
var controlOperations = map[string]controlOperation{
	"GET /v20180820/configuration/publicAccessBlock":    {"GetAccountPublicAccessBlock", "s3:GetAccountPublicAccessBlock", getAccountBlock},
	"PUT /v20180820/configuration/publicAccessBlock":    {"PutAccountPublicAccessBlock", "s3:PutAccountPublicAccessBlock", putAccountBlock},
	"DELETE /v20180820/configuration/publicAccessBlock": {"DeleteAccountPublicAccessBlock", "s3:PutAccountPublicAccessBlock", deleteAccountBlock},

	"GET /v20180820/tags/":    {"ListTagsForResource", "s3:ListTagsForResource", listTagsForResource},
	"POST /v20180820/tags/":   {"TagResource", "s3:TagResource", tagResource},
	"DELETE /v20180820/tags/": {"UntagResource", "s3:UntagResource", untagResource},
}

const tagsPath = "/v20180820/tags/"

// findControl finds the operation, and the ARN of a tagged resource.
func findControl(h *http.Request) (op controlOperation, arn string) {
	path := h.URL.Path
	if rest, ok := strings.CutPrefix(path, tagsPath); ok {
		path, arn = tagsPath, rest
	}
	return controlOperations[h.Method+" "+path], arn
}

// Operation implements [wire.Service].
func (*Control) Operation(r *wire.Request) string {
	op, _ := findControl(r.HTTP)
	return op.name
}

// Serve implements [wire.Service].
func (s *Control) Serve(r *wire.Request) {
	c := &call{Request: r, s: s.s, query: r.HTTP.URL.Query(), op: &operation{name: r.Operation, event: r.Operation}}
	a, err := c.control()
	if c.writing {
		s.s.end(c.bucket)
	}
	if r.Operation != "" && r.Signed && (!c.recorded || err != nil) {
		if recordErr := s.s.trail.Record(c.event(err)); recordErr != nil {
			a, err = nil, recordErr
		}
	}
	if err != nil {
		s.Fail(r, c.explain(err))
		return
	}
	c.write(a)
}

func (c *call) control() (*response, error) {
	op, arn := findControl(c.HTTP)
	if op.handle == nil {
		return nil, wire.NotImplemented("s3control", c.HTTP.Method+" "+c.HTTP.URL.Path)
	}
	if what := c.unmodelled(); what != "" {
		return nil, wire.NotImplemented("s3control", what+" of "+c.Operation)
	}
	if arn != "" {
		return c.controlTags(op, arn)
	}
	if !c.Signed || c.header(accountHeader) != c.Who.Account {
		return nil, errAccessDenied()
	}
	if why := c.s.identities.Refusal(c.Request, op.action); why != "" {
		return nil, wire.Errf(http.StatusForbidden, "AccessDenied", "%s", why)
	}
	return op.handle(c)
}

func (c *call) controlEvent() trail.Event {
	e := trail.Event{Request: c.Request, Source: "s3.amazonaws.com", Name: c.op.event, ReadOnly: c.HTTP.Method == http.MethodGet,
		Parameters: map[string]any{"Host": c.HTTP.Host, "accountId": c.header(accountHeader)}}
	if c.bucket != "" {
		e.Parameters = map[string]any{"Host": c.HTTP.Host, "accountId": c.header(accountHeader), "resourceArn": bucketARN(c.bucket)}
		e.Resources = []trail.Resource{{ARN: bucketARN(c.bucket), Type: "AWS::S3::Bucket"}}
	}
	return e
}

// accountBlock is the public access block of an account; nil for none.
func (s *Service) accountBlock(account string) *publicAccessBlock {
	return (*s.accounts.Load())[account]
}

// loadAccounts reads the settings of accounts.
func (s *Service) loadAccounts() error {
	all := map[string]*publicAccessBlock{}
	s.accounts.Store(&all)
	return s.db.View(func(tx *bolt.Tx) error {
		return store.Each(tx, AccountBucket, "", func(account string, b publicAccessBlock) error {
			all[account] = &b
			return nil
		})
	})
}

func getAccountBlock(c *call) (*response, error) {
	b := c.s.accountBlock(c.Who.Account)
	if b == nil {
		e := wire.Errf(http.StatusNotFound, "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found")
		e.Extra = map[string]string{"AccountId": c.Who.Account}
		return nil, e
	}
	out, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"http://awss3control.amazonaws.com/doc/2018-08-20/ PublicAccessBlockConfiguration"`
		publicAccessBlock
	}{publicAccessBlock: *b})
	return &response{xml: append([]byte(xml.Header), out...)}, err
}

func putAccountBlock(c *call) (*response, error) {
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	var in publicAccessBlock
	var settings xmlNode
	for _, v := range []any{&in, &settings} {
		if err := parseXML(body, "PublicAccessBlockConfiguration", v); err != nil {
			return nil, err
		}
	}
	if len(settings.Children) == 0 {
		return nil, errInvalidRequest("Must specify at least one configuration.")
	}
	return &response{}, c.setAccountBlock(&in)
}

func deleteAccountBlock(c *call) (*response, error) {
	return &response{status: http.StatusNoContent}, c.setAccountBlock(nil)
}

// setAccountBlock changes the setting and records the event, both or neither.
func (c *call) setAccountBlock(b *publicAccessBlock) error {
	account := c.Who.Account
	err := c.s.db.Update(func(tx *bolt.Tx) error {
		var err error
		if b == nil {
			err = store.Remove(tx, AccountBucket, account)
		} else {
			err = store.Save(tx, AccountBucket, account, b)
		}
		if err != nil {
			return err
		}
		tx.OnCommit(func() { // one transaction at a time
			all := maps.Clone(*c.s.accounts.Load())
			delete(all, account)
			if b != nil {
				all[account] = b
			}
			c.s.accounts.Store(&all)
		})
		return c.s.trail.RecordIn(tx, c.event(nil))
	})
	c.recorded = err == nil
	return err
}

// blockingPolicies reports whether the account or the bucket blocks public
// policies: the stricter of both counts.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
func (s *Service) blockingPolicies(b *bucketRecord) bool {
	return b.PublicAccess.blocksPolicy() || s.accountBlock(b.Account).blocksPolicy()
}

// blockingACLs reports whether the account or the bucket blocks public ACLs.
func (s *Service) blockingACLs(b *bucketRecord) bool {
	account := s.accountBlock(b.Account)
	return b.PublicAccess != nil && b.PublicAccess.BlockPublicAcls || account != nil && account.BlockPublicAcls
}

// restricting reports whether the account or the bucket restricts public
// buckets, and the policy p is public.
func (s *Service) restricting(b *bucketRecord, p *policy.Policy) bool {
	return (b.PublicAccess.restricts() || s.accountBlock(b.Account).restricts()) && p.IsPublic()
}

// Fail implements [wire.Service].
func (s *Control) Fail(r *wire.Request, e *wire.Error) {
	r.W.Code = e.Code
	answerHeaders(r)
	var b bytes.Buffer
	b.WriteString(xml.Header + "<ErrorResponse><Error>")
	errorElements(&b, e)
	b.WriteString("</Error><RequestId>" + r.ID + "</RequestId><HostId>" + hostID(r.ID) + "</HostId></ErrorResponse>")
	r.W.Header().Set("Content-Type", "application/xml")
	r.W.WriteHeader(e.Status)
	_, _ = r.W.Write(b.Bytes()) // a client that disconnected is no error here
}
