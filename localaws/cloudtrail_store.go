package localaws

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Each event is one record in the database, under
// account/region/time/sequence in hexadecimal: its summary as a line of JSON,
// and after it the event itself as LookupEvents answers it. The summaries are
// also kept in memory, one list for each value of each lookup attribute, so
// that a page of any lookup costs one search and fifty reads.

// trailEvent is what a service tells the trail of a management event.
type trailEvent struct {
	r           *request // caller, time, Region, request id, source address, user agent
	eventSource string   // "kms.amazonaws.com"
	eventName   string   // "GenerateDataKey"
	readOnly    bool
	// invokedBy is the service that called for the caller, where one did:
	// "fas.s3.amazonaws.com"; empty for a direct call.
	invokedBy               string
	request                 any // requestParameters; nil is null
	response                any // responseElements; nil is null
	additional              any // additionalEventData; nil is absent
	resources               []trailResource
	errorCode, errorMessage string
}

type trailResource struct {
	ARN  string // in the record's resources; for LookupEvents's ResourceName too
	Type string // "AWS::KMS::Key"
}

// failed notes the error that a call ended with; nil is none.
func (e *trailEvent) failed(err error) {
	if err == nil {
		return
	}
	a := asAPIError(err)
	e.errorCode, e.errorMessage = a.Code, a.Message
	if a.Code == "AccessDeniedException" {
		e.errorCode = "AccessDenied" // as CloudTrail writes it
	}
}

// lookupName is how LookupEvents names a resource: a bucket and a volume by
// their names, a KMS key by its ARN.
func (t trailResource) lookupName() string {
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
	RequestID           string                `json:"requestID"`
	EventID             string                `json:"eventID"`
	ReadOnly            bool                  `json:"readOnly"`
	Resources           []trailRecordResource `json:"resources,omitempty"`
	EventType           string                `json:"eventType"`
	ManagementEvent     bool                  `json:"managementEvent"`
	RecipientAccountID  string                `json:"recipientAccountId"`
	EventCategory       string                `json:"eventCategory"`
	TLSDetails          *trailTLS             `json:"tlsDetails,omitempty"`
}

type trailIdentity struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
	ARN         string `json:"arn"`
	AccountID   string `json:"accountId"`
	AccessKeyID string `json:"accessKeyId"`
	UserName    string `json:"userName,omitempty"`
	InvokedBy   string `json:"invokedBy,omitempty"`
}

type trailRecordResource struct {
	AccountID string `json:"accountId"`
	Type      string `json:"type,omitempty"`
	ARN       string `json:"ARN"`
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

// record writes the event, durably, before the request that it belongs to is
// answered: before record returns or, where a service called for the caller
// and has more to do, at the same time as that. An unsigned request is nobody's
// and leaves no event.
func (s *Server) record(e trailEvent) error {
	who := e.r.who
	if who.Account == "" {
		return nil
	}
	kind, userName := "IAMUser", who.Name
	if strings.HasSuffix(who.ARN, ":root") {
		kind, userName = "Root", "" // as AWS records it
	}
	record := trailRecord{
		EventVersion: "1.11",
		UserIdentity: trailIdentity{
			Type: kind, PrincipalID: who.UserID, ARN: who.ARN, AccountID: who.Account,
			AccessKeyID: who.AccessKey, UserName: userName, InvokedBy: e.invokedBy,
		},
		EventTime:           e.r.now.UTC().Format(time.RFC3339),
		EventSource:         e.eventSource,
		EventName:           e.eventName,
		AWSRegion:           e.r.region,
		SourceIPAddress:     e.r.sourceIP(),
		UserAgent:           e.r.http.UserAgent(),
		ErrorCode:           e.errorCode,
		ErrorMessage:        e.errorMessage,
		RequestParameters:   e.request,
		ResponseElements:    e.response,
		AdditionalEventData: e.additional,
		RequestID:           e.r.id,
		EventID:             newUUID(),
		ReadOnly:            e.readOnly,
		EventType:           "AwsApiCall",
		ManagementEvent:     true,
		RecipientAccountID:  who.Account,
		EventCategory:       "Management",
	}
	if e.invokedBy != "" {
		// The call is the service's own: not the client's connection, nor its id.
		record.SourceIPAddress, record.UserAgent, record.RequestID = e.invokedBy, e.invokedBy, newUUID()
	} else if c := e.r.http.TLS; c != nil {
		record.TLSDetails = &trailTLS{tlsVersionName(c.Version), tls.CipherSuiteName(c.CipherSuite), e.r.http.Host}
	}
	summary := &trailSummary{
		ID: record.EventID, Name: e.eventName, Source: e.eventSource, ReadOnly: e.readOnly,
		User: who.Name, AccessKey: who.AccessKey, Resources: []lookupResource{},
	}
	for _, resource := range e.resources {
		summary.Resources = append(summary.Resources, lookupResource{resource.Type, resource.lookupName()})
		if strings.HasPrefix(resource.Type, "AWS::EC2::") {
			continue // EC2's records carry no resources
		}
		account := who.Account
		if part := strings.SplitN(resource.ARN, ":", 6); len(part) == 6 && part[4] != "" {
			account = part[4]
		}
		record.Resources = append(record.Resources, trailRecordResource{account, resource.Type, resource.ARN})
	}
	event, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("localaws: encoding the event %s: %w", e.eventName, err)
	}
	line, err := json.Marshal(summary)
	if err != nil {
		return fmt.Errorf("localaws: encoding the event %s: %w", e.eventName, err)
	}
	summary.position = position{e.r.now.UnixNano(), s.trail.nextSeq()}
	key, value := summary.key(who.Account, e.r.region), slices.Concat(line, []byte{'\n'}, event)
	write := func() error {
		if err := s.db.Batch(func(tx *bolt.Tx) error { return tx.Bucket(boltTrail).Put([]byte(key), value) }); err != nil {
			return fmt.Errorf("localaws: recording the event %s: %w", e.eventName, err)
		}
		s.trail.add(who.Account, e.r.region, summary)
		return nil
	}
	if e.invokedBy != "" && e.r.w != nil {
		e.r.w.pending.Go(write)
		return nil
	}
	return write()
}

func tlsVersionName(version uint16) string {
	return "TLSv" + strings.TrimPrefix(tls.VersionName(version), "TLS ")
}

func (p position) key(account, region string) string {
	return storeKey(account, region, fmt.Sprintf("%016x", p.Time), fmt.Sprintf("%016x", p.Seq))
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

// openTrail reads the summaries back and forgets what is older than the
// history.
func (s *Server) openTrail() error {
	s.trail.logs, s.trail.rates = map[string]trailLog{}, map[string]rateBucket{}
	horizon := s.opts.Now().Add(-trailHistory).UnixNano()
	return s.db.Update(func(tx *bolt.Tx) error {
		c := tx.Bucket(boltTrail).Cursor()
		var old [][]byte
		for k, v := c.First(); k != nil; k, v = c.Next() {
			account, region, at, err := parseTrailKey(string(k))
			if err != nil {
				return err
			}
			s.trail.seq = max(s.trail.seq, at.Seq)
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
			s.trail.add(account, region, summary)
		}
		for _, k := range old {
			if err := tx.Bucket(boltTrail).Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// readTrail completes what a lookup found.
func (s *Server) readTrail(account, region string, found []*trailSummary) ([]lookupEvent, error) {
	events := make([]lookupEvent, 0, len(found))
	err := s.db.View(func(tx *bolt.Tx) error {
		for _, f := range found {
			_, event, ok := bytes.Cut(tx.Bucket(boltTrail).Get([]byte(f.key(account, region))), []byte{'\n'})
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

func (t *trailService) nextSeq() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seq++
	return t.seq
}

func (t *trailService) add(account, region string, e *trailSummary) {
	attributes := []lookupAttribute{
		{}, {"EventId", e.ID}, {"EventName", e.Name}, {"EventSource", e.Source}, {"Username", e.User},
		{"AccessKeyId", e.AccessKey}, {"ReadOnly", strconv.FormatBool(e.ReadOnly)},
	}
	for _, r := range e.Resources {
		attributes = append(attributes, lookupAttribute{"ResourceName", r.ResourceName}, lookupAttribute{"ResourceType", r.ResourceType})
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	log := t.logs[storeKey(account, region)]
	if log == nil {
		log = trailLog{}
		t.logs[storeKey(account, region)] = log
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

// find answers with at most n events with the attribute, newest first: those
// before the position and delivered by then, in whole seconds from oldest to
// newest.
func (t *trailService) find(account, region string, a lookupAttribute, n int, oldest, newest, delivered int64, before position) []*trailSummary {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if oldest > newest {
		return nil
	}
	list := t.logs[storeKey(account, region)][a]
	before = slices.MinFunc([]position{before, {(newest + 1) * int64(time.Second), 0}, {delivered + 1, 0}}, position.compare)
	i, _ := slices.BinarySearchFunc(list, before, func(e *trailSummary, p position) int { return e.compare(p) })
	var found []*trailSummary
	for i--; i >= 0 && len(found) < n && list[i].Time >= oldest*int64(time.Second); i-- {
		found = append(found, list[i])
	}
	return found
}
