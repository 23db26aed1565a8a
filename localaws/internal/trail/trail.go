// Package trail is CloudTrail: the event history, and the trails that deliver
// log files and digest files to S3. Every service records its management events
// here; a change of state and its event are one transaction.
//
// Data events are those of S3's objects. Not served: the data events of other
// resources, Insights, delegated administrators of organization trails, and the
// events of CloudTrail's own calls to KMS and S3.
package trail

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Bucket has the events.
var Bucket = []byte("trail")

// Service records events and serves CloudTrail.
type Service struct {
	wire.JSONService
	db         *bolt.DB
	identities *policy.Identities
	delay      time.Duration
	limits     limiters

	store        Store
	trails       atomic.Pointer[[]trailConfig] // as committed, or about to be
	delivering   sync.Mutex                    // held while files are delivered
	organization atomic.Pointer[Organization]
	digests      time.Duration

	mu   sync.RWMutex
	logs map[string]trailLog // by account/region
	seq  uint64
}

// Options are those of [Open].
type Options struct {
	// Delay is how long an event takes to appear in LookupEvents.
	Delay time.Duration
	// Rate is how many LookupEvents calls a second one account may make in one
	// Region.
	Rate int
	Now  func() time.Time
	// Digests is the time that a digest file covers.
	Digests time.Duration
}

// Open reads the event history.
func Open(db *bolt.DB, identities *policy.Identities, o Options) (*Service, error) {
	s := &Service{db: db, identities: identities, delay: o.Delay, digests: o.Digests, limits: limiters{rate: o.Rate}, logs: map[string]trailLog{}}
	s.organization.Store(&Organization{})
	s.Handlers = map[string]wire.JSONHandler{
		"LookupEvents":      s.lookupEvents,
		"CreateTrail":       operation(s, false, func(r *wire.Request, in createTrailInput) string { return named(r, in.Name) }, s.prepareCreate, s.createTrail),
		"UpdateTrail":       operation(s, false, func(r *wire.Request, in trailSettings) string { return named(r, in.Name) }, s.prepareUpdate, s.updateTrail),
		"DeleteTrail":       operation(s, false, trailNamed, nil, s.deleteTrail),
		"StartLogging":      operation(s, false, trailNamed, nil, s.startLogging),
		"StopLogging":       operation(s, false, trailNamed, nil, s.stopLogging),
		"GetTrail":          operation(s, true, trailNamed, nil, s.getTrail),
		"GetTrailStatus":    operation(s, true, trailNamed, nil, s.getTrailStatus),
		"DescribeTrails":    operation(s, true, anyResource[describeTrailsInput], nil, s.describeTrails),
		"ListTrails":        operation(s, true, anyResource[listTrailsInput], nil, s.listTrails),
		"PutEventSelectors": operation(s, false, func(r *wire.Request, in putEventSelectorsInput) string { return named(r, in.TrailName) }, nil, s.putEventSelectors),
		"GetEventSelectors": operation(s, true, func(r *wire.Request, in getEventSelectorsInput) string { return named(r, in.TrailName) }, nil, s.getEventSelectors),
		"ListPublicKeys":    operation(s, true, anyResource[listPublicKeysInput], nil, listPublicKeys),
		"ListTags":          operation(s, true, tagsOf, nil, s.listTags),
		"AddTags":           operation(s, false, tagged, nil, s.addTags),
		"RemoveTags":        operation(s, false, tagged, nil, s.removeTags),
	}
	if err := db.View(s.loadTrails); err != nil {
		return nil, err
	}
	return s, s.load(o.Now())
}

// Each event is one record in the database, under
// account/region/time/sequence in hexadecimal: its summary as a line of JSON,
// and after it the event itself as LookupEvents answers it. The summaries are
// also kept in memory, one list for each value of each lookup attribute, so
// that a page of any lookup costs one search and fifty reads.

// Event is a management event, or a data event of S3.
type Event struct {
	Request  *wire.Request // caller, time, Region, request ID, source address, user agent
	Source   string        // "kms.amazonaws.com"
	Name     string        // "GenerateDataKey"
	ReadOnly bool
	// Data makes it a data event, which is not in the event history: only trails
	// whose selectors ask for it deliver it.
	Data bool
	// InvokedBy is the service that called on behalf of the caller:
	// "fas.s3.amazonaws.com"; empty for a direct call.
	InvokedBy string
	// Account has the event of a call that a service makes as itself. Without it such
	// a call leaves none.
	Account                 string
	Parameters              any // requestParameters; nil is null
	Response                any // responseElements; nil is null
	Additional              any // additionalEventData; nil is absent
	Resources               []Resource
	ErrorCode, ErrorMessage string
}

// Resource is a resource that an event concerns.
type Resource struct {
	ARN  string // in the record's resources; for LookupEvents's ResourceName too
	Type string // "AWS::KMS::Key"
	// Account owns the resource. The default is the account in the ARN, and where
	// there is none, the caller's.
	Account string
	// Prefix makes ARN the beginning of those of all resources that are concerned.
	Prefix bool
}

// Fail notes the error that a call ended with; nil is none.
func (e *Event) Fail(err error) {
	if err == nil {
		return
	}
	a := wire.AsError(err)
	e.ErrorCode, e.ErrorMessage = a.Code, a.Message
	if a.Code == "AccessDeniedException" {
		e.ErrorCode = "AccessDenied" // as CloudTrail writes it
	}
}

// lookupName is how LookupEvents names a resource: a bucket and a volume by
// their names, a KMS key by its ARN.
func (t Resource) lookupName() string {
	switch {
	case t.Type == "AWS::S3::Bucket":
		return strings.TrimPrefix(t.ARN, "arn:aws:s3:::")
	case strings.HasPrefix(t.Type, "AWS::EC2::"):
		return t.ARN[strings.LastIndexByte(t.ARN, '/')+1:]
	}
	return t.ARN
}

// trailRecord is CloudTrail's record format.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
type trailRecord struct {
	EventVersion        string                `json:"eventVersion"`
	UserIdentity        trailIdentity         `json:"userIdentity"`
	EventTime           string                `json:"eventTime"`
	EventSource         string                `json:"eventSource"`
	EventName           string                `json:"eventName"`
	AWSRegion           string                `json:"awsRegion"`
	SourceIPAddress     string                `json:"sourceIPAddress"`
	UserAgent           string                `json:"userAgent"`
	ErrorCode           string                `json:"errorCode,omitempty"`
	ErrorMessage        string                `json:"errorMessage,omitempty"`
	RequestParameters   any                   `json:"requestParameters"`
	ResponseElements    any                   `json:"responseElements"`
	AdditionalEventData any                   `json:"additionalEventData,omitempty"`
	RequestID           string                `json:"requestID,omitempty"`
	EventID             string                `json:"eventID"`
	ReadOnly            bool                  `json:"readOnly"`
	Resources           []trailRecordResource `json:"resources,omitempty"`
	EventType           string                `json:"eventType"`
	ManagementEvent     bool                  `json:"managementEvent"`
	RecipientAccountID  string                `json:"recipientAccountId"`
	SharedEventID       string                `json:"sharedEventID,omitempty"`
	ServiceEventDetails any                   `json:"serviceEventDetails,omitempty"`
	EventCategory       string                `json:"eventCategory"`
	TLSDetails          *trailTLS             `json:"tlsDetails,omitempty"`
}

type trailIdentity struct {
	Type        string `json:"type,omitempty"`
	PrincipalID string `json:"principalId,omitempty"`
	ARN         string `json:"arn,omitempty"`
	AccountID   string `json:"accountId,omitempty"`
	AccessKeyID string `json:"accessKeyId,omitempty"`
	UserName    string `json:"userName,omitempty"`

	SessionContext *trailSession `json:"sessionContext,omitempty"`
	InvokedBy      string        `json:"invokedBy,omitempty"`
}

type trailSession struct {
	Issuer     *trailIssuer           `json:"sessionIssuer,omitempty"`
	Attributes trailSessionAttributes `json:"attributes"`
}

type trailIssuer struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
	ARN         string `json:"arn"`
	AccountID   string `json:"accountId"`
	UserName    string `json:"userName"`
}

type trailSessionAttributes struct {
	CreationDate     string `json:"creationDate"`
	MFAAuthenticated string `json:"mfaAuthenticated"`
}

type trailRecordResource struct {
	AccountID string `json:"accountId,omitempty"`
	Type      string `json:"type,omitempty"`
	ARN       string `json:"ARN,omitempty"`
	ARNPrefix string `json:"ARNPrefix,omitempty"`
}

type trailTLS struct {
	TLSVersion               string `json:"tlsVersion"`
	CipherSuite              string `json:"cipherSuite"`
	ClientProvidedHostHeader string `json:"clientProvidedHostHeader"`
}

// trailSummary is what an event can be found by.
type trailSummary struct {
	position  `json:"-"` // in the record's key
	ID        string
	Name      string
	Source    string
	ReadOnly  bool
	User      string
	AccessKey string
	Resources []lookupResource
}

// Record writes the event, durably, in a transaction of its own. An unsigned
// request has no account and leaves no event.
func (s *Service) Record(e Event) error {
	if e.Request.Who.Account == "" && e.Account == "" {
		return nil
	}
	err := s.db.Batch(func(tx *bolt.Tx) error { return s.RecordIn(tx, e) }) // may be called twice
	if err != nil {
		return fmt.Errorf("localaws: recording the event %s: %w", e.Name, err)
	}
	return nil
}

// RecordBeside is Record for an event of a service that called on behalf of the
// caller and has more to do: it writes beside that, and the response waits for
// it.
func (s *Service) RecordBeside(e Event) {
	e.Request.W.Pending.Go(func() error { return s.Record(e) })
}

// recorded is the resource as a record shows it. S3's records name no account
// beside an object.
func (t Resource) recorded(account string) trailRecordResource {
	switch {
	case t.Prefix:
		return trailRecordResource{Type: t.Type, ARNPrefix: t.ARN}
	case t.Type == ObjectType:
		account = ""
	}
	return trailRecordResource{AccountID: account, Type: t.Type, ARN: t.ARN}
}

// RecordIn writes the event in the transaction that changes the state. A
// successful call that concerns a resource of another account is recorded there
// too, with the caller's account instead of its name.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
func (s *Service) RecordIn(tx *bolt.Tx, e Event) error {
	who := e.Request.Who
	if who.Service != nil {
		who.Account = e.Account
	}
	if who.Account == "" {
		return nil
	}
	record := newRecord(e)
	record.RecipientAccountID = who.Account
	summary := trailSummary{Name: e.Name, Source: e.Source, ReadOnly: e.ReadOnly, Resources: []lookupResource{}}
	var owners []string
	for _, resource := range e.Resources {
		summary.Resources = append(summary.Resources, lookupResource{resource.Type, resource.lookupName()})
		if strings.HasPrefix(resource.Type, "AWS::EC2::") {
			continue // EC2's records carry no resources
		}
		account := cmp.Or(resource.Account, who.Account)
		if part := strings.SplitN(resource.ARN, ":", 6); len(part) == 6 && part[4] != "" {
			account = part[4]
		}
		record.Resources = append(record.Resources, resource.recorded(account))
		if account != who.Account && e.ErrorCode == "" && !slices.Contains(owners, account) {
			owners = append(owners, account)
		}
	}
	if len(owners) > 0 {
		record.SharedEventID = wire.NewUUID()
	}
	own := summary
	own.User, own.AccessKey = who.Name, who.AccessKey
	if err := s.write(tx, e.Request, record, own); err != nil {
		return err
	}
	for _, owner := range owners {
		record.EventID, record.RecipientAccountID = wire.NewUUID(), owner
		record.UserIdentity = trailIdentity{Type: "AWSAccount", PrincipalID: who.UserID, AccountID: who.Account, InvokedBy: e.InvokedBy}
		if err := s.write(tx, e.Request, record, summary); err != nil {
			return err
		}
	}
	return nil
}

// ServiceEvent is something that a service does to a resource of its owner
// without a request, as an event in the owner's account.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/non-api-aws-service-events.html
type ServiceEvent struct {
	Account, Region string
	Time            time.Time
	Source          string // "kms.amazonaws.com"
	Name            string // "RotateKey"
	Resource        Resource
	Response        any // responseElements; nil is null
	Details         any // serviceEventDetails; nil is absent
}

// RecordServiceIn writes the event in the transaction that changes the state.
func (s *Service) RecordServiceIn(tx *bolt.Tx, e ServiceEvent) error {
	const internal = "AWS Internal"
	record := trailRecord{
		EventVersion:        "1.11",
		UserIdentity:        trailIdentity{AccountID: e.Account, InvokedBy: internal},
		EventTime:           e.Time.UTC().Format(time.RFC3339),
		EventSource:         e.Source,
		EventName:           e.Name,
		AWSRegion:           e.Region,
		SourceIPAddress:     internal,
		UserAgent:           internal,
		ResponseElements:    e.Response,
		EventID:             wire.NewUUID(),
		Resources:           []trailRecordResource{{AccountID: e.Account, Type: e.Resource.Type, ARN: e.Resource.ARN}},
		EventType:           "AwsServiceEvent",
		ManagementEvent:     true,
		RecipientAccountID:  e.Account,
		ServiceEventDetails: e.Details,
		EventCategory:       "Management",
	}
	summary := trailSummary{Name: e.Name, Source: e.Source, Resources: []lookupResource{{e.Resource.Type, e.Resource.lookupName()}}}
	return s.write(tx, &wire.Request{Region: e.Region, Now: e.Time}, record, summary)
}

// write adds a record to the history of its recipient.
func (s *Service) write(tx *bolt.Tx, r *wire.Request, record trailRecord, summary trailSummary) error {
	summary.ID = record.EventID
	event, err := json.Marshal(record)
	if err != nil {
		return err
	}
	if !record.ManagementEvent {
		return s.deliverLater(tx, r, record, event, s.nextSeq())
	}
	line, err := json.Marshal(summary)
	if err != nil {
		return err
	}
	summary.position = position{r.Now.UnixNano(), s.nextSeq()}
	key := summary.key(record.RecipientAccountID, r.Region)
	if err := tx.Bucket(Bucket).Put([]byte(key), slices.Concat(line, []byte{'\n'}, event)); err != nil {
		return err
	}
	if err := s.deliverLater(tx, r, record, event, summary.Seq); err != nil {
		return err
	}
	tx.OnCommit(func() { s.add(record.RecipientAccountID, r.Region, &summary) })
	return nil
}

// deliverLater keeps an event for the trails that log it.
func (s *Service) deliverLater(tx *bolt.Tx, r *wire.Request, record trailRecord, event []byte, seq uint64) error {
	o := s.organization.Load()
	for _, t := range *s.trails.Load() {
		if !t.wants(o, record) {
			continue
		}
		key := store.Key(lane{record.RecipientAccountID, r.Region}.key(t), fmt.Sprintf("%016x", seq))
		if err := tx.Bucket(PendingBucket).Put([]byte(key), event); err != nil {
			return err
		}
	}
	return nil
}

func newRecord(e Event) trailRecord {
	r := e.Request
	record := trailRecord{
		EventVersion:        "1.11",
		UserIdentity:        newTrailIdentity(r.Who, e.InvokedBy),
		EventTime:           r.Now.UTC().Format(time.RFC3339),
		EventSource:         e.Source,
		EventName:           e.Name,
		AWSRegion:           r.Region,
		SourceIPAddress:     r.SourceIP(),
		UserAgent:           r.HTTP.UserAgent(),
		ErrorCode:           e.ErrorCode,
		ErrorMessage:        e.ErrorMessage,
		RequestParameters:   e.Parameters,
		ResponseElements:    e.Response,
		AdditionalEventData: e.Additional,
		RequestID:           r.ID,
		EventID:             wire.NewUUID(),
		ReadOnly:            e.ReadOnly,
		EventType:           "AwsApiCall",
		ManagementEvent:     true,
		EventCategory:       "Management",
	}
	if e.Data {
		record.ManagementEvent, record.EventCategory = false, "Data"
	}
	if e.InvokedBy != "" {
		// The call is the service's own: not the client's connection, nor its ID.
		record.SourceIPAddress, record.UserAgent, record.RequestID = e.InvokedBy, e.InvokedBy, wire.NewUUID()
	} else if c := r.HTTP.TLS; c != nil {
		record.TLSDetails = &trailTLS{tlsVersionName(c.Version), tls.CipherSuiteName(c.CipherSuite), r.HTTP.Host}
	}
	return record
}

// newTrailIdentity is the caller as CloudTrail records it.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
func newTrailIdentity(who wire.Identity, invokedBy string) trailIdentity {
	if who.Service != nil {
		return trailIdentity{Type: "AWSService", InvokedBy: who.Service.Name}
	}
	id := trailIdentity{
		Type: "IAMUser", PrincipalID: who.UserID, ARN: who.ARN, AccountID: who.Account,
		AccessKeyID: who.AccessKey, UserName: who.Name, InvokedBy: invokedBy,
	}
	if who.IsRoot() {
		id.Type, id.UserName = "Root", ""
	}
	if s := who.Session; s != nil {
		id.SessionContext = &trailSession{Attributes: trailSessionAttributes{CreationDate: s.Started.UTC().Format(time.RFC3339), MFAAuthenticated: "false"}}
		if s.RoleARN != "" {
			id.Type, id.UserName = "AssumedRole", ""
			id.SessionContext.Issuer = &trailIssuer{Type: "Role", PrincipalID: s.RoleID, ARN: s.RoleARN, AccountID: who.Account, UserName: s.Role}
		}
	}
	return id
}

func tlsVersionName(version uint16) string {
	return "TLSv" + strings.TrimPrefix(tls.VersionName(version), "TLS ")
}

func (p position) key(account, region string) string {
	return store.Key(account, region, fmt.Sprintf("%016x", p.Time), fmt.Sprintf("%016x", p.Seq))
}

func parseTrailKey(key string) (account, region string, p position, err error) {
	part := strings.Split(key, "/")
	if len(part) != 4 {
		return "", "", p, fmt.Errorf("localaws: damaged event key %q", key)
	}
	p.Time, err = strconv.ParseInt(part[2], 16, 64)
	if err == nil {
		p.Seq, err = strconv.ParseUint(part[3], 16, 64)
	}
	return part[0], part[1], p, err
}

// load reads the summaries back and forgets what is older than the history.
func (s *Service) load(now time.Time) error {
	horizon := now.Add(-trailHistory).UnixNano()
	return s.db.Update(func(tx *bolt.Tx) error {
		c := tx.Bucket(Bucket).Cursor()
		var old [][]byte
		for k, v := c.First(); k != nil; k, v = c.Next() {
			account, region, at, err := parseTrailKey(string(k))
			if err != nil {
				return err
			}
			s.seq = max(s.seq, at.Seq)
			if at.Time < horizon {
				old = append(old, k)
				continue
			}
			line, _, _ := bytes.Cut(v, []byte{'\n'})
			summary := &trailSummary{}
			if err := json.Unmarshal(line, summary); err != nil {
				return fmt.Errorf("localaws: damaged event %s: %w", k, err)
			}
			summary.position = at
			s.add(account, region, summary)
		}
		for _, k := range old {
			if err := tx.Bucket(Bucket).Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// readTrail completes what a lookup found.
func (s *Service) readTrail(account, region string, found []*trailSummary) ([]lookupEvent, error) {
	events := make([]lookupEvent, 0, len(found))
	err := s.db.View(func(tx *bolt.Tx) error {
		for _, f := range found {
			_, event, ok := bytes.Cut(tx.Bucket(Bucket).Get([]byte(f.key(account, region))), []byte{'\n'})
			if !ok {
				return errors.New("localaws: an event is missing from the database")
			}
			events = append(events, lookupEvent{
				EventID: f.ID, EventName: f.Name, ReadOnly: strconv.FormatBool(f.ReadOnly), AccessKeyID: f.AccessKey,
				EventTime: f.Time / int64(time.Second), EventSource: f.Source, Username: f.User,
				Resources: f.Resources, CloudTrailEvent: string(event),
			})
		}
		return nil
	})
	return events, err
}

// trailLog is one account's history in one Region: every list is in order of
// position. The empty attribute lists all.
type trailLog map[lookupAttribute][]*trailSummary

func (s *Service) nextSeq() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	return s.seq
}

func (s *Service) add(account, region string, e *trailSummary) {
	attributes := []lookupAttribute{
		{}, {"EventId", e.ID}, {"EventName", e.Name}, {"EventSource", e.Source}, {"Username", e.User},
		{"AccessKeyId", e.AccessKey}, {"ReadOnly", strconv.FormatBool(e.ReadOnly)},
	}
	for _, r := range e.Resources {
		attributes = append(attributes, lookupAttribute{"ResourceName", r.ResourceName}, lookupAttribute{"ResourceType", r.ResourceType})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.logs[store.Key(account, region)]
	if log == nil {
		log = trailLog{}
		s.logs[store.Key(account, region)] = log
	}
	for i, a := range attributes {
		if slices.Contains(attributes[:i], a) {
			continue // two resources of one type
		}
		list := append(log[a], e)
		// Calls under way at one moment end in any order: find e's place from the end.
		for j := len(list) - 1; j > 0 && list[j-1].compare(e.position) > 0; j-- {
			list[j-1], list[j] = list[j], list[j-1]
		}
		log[a] = list
	}
}

// find returns at most n events with the attribute, newest first: those
// before the position and delivered by then, in whole seconds from oldest to
// newest.
func (s *Service) find(account, region string, a lookupAttribute, n int, oldest, newest, delivered int64, before position) []*trailSummary {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if oldest > newest {
		return nil
	}
	list := s.logs[store.Key(account, region)][a]
	before = slices.MinFunc([]position{before, {(newest + 1) * int64(time.Second), 0}, {delivered + 1, 0}}, position.compare)
	i, _ := slices.BinarySearchFunc(list, before, func(e *trailSummary, p position) int { return e.compare(p) })
	var found []*trailSummary
	for i--; i >= 0 && len(found) < n && list[i].Time >= oldest*int64(time.Second); i-- {
		found = append(found, list[i])
	}
	return found
}
