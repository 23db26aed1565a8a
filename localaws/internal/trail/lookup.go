package trail

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// LookupEvents. What is recorded and how it is found again is in trail.go.

// trailHistory is how far back LookupEvents sees.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
const trailHistory = 90 * 24 * time.Hour

const trailPage = 50 // the most events in one answer, and the default

type lookupAttribute struct {
	AttributeKey   string `json:"AttributeKey"`
	AttributeValue string `json:"AttributeValue"`
}

type lookupEventsInput struct {
	EventCategory    string
	StartTime        *float64 // seconds since 1970
	EndTime          *float64
	LookupAttributes []lookupAttribute
	MaxResults       *int
	NextToken        string
}

type lookupEventsOutput struct {
	Events    []lookupEvent
	NextToken string `json:",omitempty"`
}

type lookupEvent struct {
	EventID         string `json:"EventId"`
	EventName       string
	ReadOnly        string
	AccessKeyID     string `json:"AccessKeyId,omitempty"`
	EventTime       int64  // seconds since 1970
	EventSource     string
	Username        string `json:",omitempty"`
	Resources       []lookupResource
	CloudTrailEvent string
}

type lookupResource struct {
	ResourceType string
	ResourceName string
}

var lookupKeys = []string{"EventId", "EventName", "ReadOnly", "Username", "ResourceType", "ResourceName", "EventSource", "AccessKeyId"}

// lookupEvents also records itself, as AWS does; a throttled call is not
// recorded.
func (s *Service) lookupEvents(r *wire.Request, body []byte) (any, error) {
	if !s.limits.allow(r.Who.Account, r.Region, r.Now) {
		return nil, wire.Errf(http.StatusBadRequest, "ThrottlingException", "Rate exceeded")
	}
	in, err := wire.Decode[lookupEventsInput](r.Service, r.Operation, body)
	if err != nil {
		return nil, err
	}
	var out lookupEventsOutput
	err = s.allowed(r, "LookupEvents")
	if err == nil {
		out, err = s.lookup(r, in)
	}
	event := Event{Request: r, Source: "cloudtrail.amazonaws.com", Name: "LookupEvents", ReadOnly: true, Parameters: in.parameters()}
	return out, s.RecordResult(event, err)
}

// allowed refuses an operation that the caller may not do.
func (s *Service) allowed(r *wire.Request, operation string) error {
	if why := s.identities.Refusal(r, "cloudtrail:"+operation); why != "" {
		return wire.Errf(http.StatusBadRequest, "AccessDeniedException", "%s", why)
	}
	return nil
}

func (s *Service) lookup(r *wire.Request, in lookupEventsInput) (out lookupEventsOutput, err error) {
	out.Events = []lookupEvent{}
	maxResults := trailPage
	if in.MaxResults != nil {
		maxResults = *in.MaxResults
	}
	if maxResults < 1 || maxResults > trailPage {
		return out, wire.Errf(http.StatusBadRequest, "InvalidMaxResultsException", "A maximum of %d results can be requested, and at least 1: %d.", trailPage, maxResults)
	}
	var attribute lookupAttribute
	switch len(in.LookupAttributes) {
	case 0:
	case 1:
		attribute = in.LookupAttributes[0]
		if !slices.Contains(lookupKeys, attribute.AttributeKey) || attribute.AttributeValue == "" || len(attribute.AttributeValue) > 2000 {
			return out, wire.Errf(http.StatusBadRequest, "InvalidLookupAttributesException", "The lookup attribute is not valid: its key is one of %s, its value has 1 to 2000 characters.", strings.Join(lookupKeys, ", "))
		}
	default:
		return out, wire.Errf(http.StatusBadRequest, "InvalidLookupAttributesException", "Only one lookup attribute can be specified in a request.")
	}
	start, end, ok := in.timeRange()
	if !ok {
		return out, wire.Errf(http.StatusBadRequest, "InvalidTimeRangeException", "The start time is after the end time, or the time range is outside the range of possible values.")
	}
	query := in.digest(r.Who.Account, r.Region)
	after, ok := parseTrailToken(in.NextToken, query)
	if !ok {
		return out, wire.Errf(http.StatusBadRequest, "InvalidNextTokenException", "The token is not valid, or the parameters are not those of the request that it came from.")
	}
	switch in.EventCategory {
	case "":
	case "insight":
		return out, nil // no trail can enable Insights
	default:
		return out, wire.Errf(http.StatusBadRequest, "InvalidEventCategoryException", "The event category is not valid: %s. The only value is insight.", in.EventCategory)
	}

	// Whole seconds count, as in the records.
	oldest := max(start, r.Now.Add(-trailHistory).Unix())
	newest := min(end, r.Now.Unix())
	delivered := r.Now.Add(-s.delay).UnixNano()
	found := s.find(r.Who.Account, r.Region, attribute, maxResults+1, oldest, newest, delivered, after)
	if len(found) > maxResults {
		found = found[:maxResults]
		out.NextToken = found[maxResults-1].token(query)
	}
	out.Events, err = s.readTrail(r.Who.Account, r.Region, found)
	return out, err
}

// timeRange is the range in whole seconds, both ends included.
func (in lookupEventsInput) timeRange() (start, end int64, ok bool) {
	const last = 1 << 40 // far beyond any date, and exact as a float
	start, end = 0, last
	if t := in.StartTime; t != nil {
		if !(*t >= 0 && *t <= last) { // false for NaN, too
			return 0, 0, false
		}
		start = int64(math.Ceil(*t))
	}
	if t := in.EndTime; t != nil {
		if !(*t >= 0 && *t <= last) {
			return 0, 0, false
		}
		end = int64(*t)
	}
	return start, end, in.StartTime == nil || in.EndTime == nil || *in.StartTime <= *in.EndTime
}

// digest stands for what is asked, apart from the page.
func (in lookupEventsInput) digest(account, region string) string {
	in.NextToken, in.MaxResults = "", nil
	b, _ := json.Marshal(in) // plain strings and finite numbers: timeRange has seen to that
	sum := sha256.Sum256([]byte(store.Key(account, region, string(b))))
	return hex.EncodeToString(sum[:8])
}

// parameters is the request as its own record shows it.
func (in lookupEventsInput) parameters() any {
	p := map[string]any{}
	for key, t := range map[string]*float64{"startTime": in.StartTime, "endTime": in.EndTime} {
		if t != nil {
			p[key] = time.Unix(int64(*t), 0).UTC().Format("Jan 2, 2006, 3:04:05 PM")
		}
	}
	if len(in.LookupAttributes) > 0 {
		var attributes []map[string]string
		for _, a := range in.LookupAttributes {
			attributes = append(attributes, map[string]string{"attributeKey": a.AttributeKey, "attributeValue": a.AttributeValue})
		}
		p["lookupAttributes"] = attributes
	}
	if in.MaxResults != nil {
		p["maxResults"] = *in.MaxResults
	}
	if in.NextToken != "" {
		p["nextToken"] = in.NextToken
	}
	if in.EventCategory != "" {
		p["eventCategory"] = in.EventCategory
	}
	return p
}

// position is a place in an account's history. Records are ordered by their
// time, those of one moment by their arrival.
type position struct {
	Time int64  // nanoseconds since 1970
	Seq  uint64 // counts this database's records
}

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.Time, q.Time), cmp.Compare(p.Seq, q.Seq))
}

// trailToken is what a NextToken says: the query it belongs to, and the last
// event that was answered. What arrives later is newer, so it moves no page.
type trailToken struct {
	Query string
	position
}

func (p position) token(query string) string {
	b, _ := json.Marshal(trailToken{query, p}) // strings and integers: always encodes
	return base64.StdEncoding.EncodeToString(b)
}

// parseTrailToken returns the position to go on from: beyond every event
// where there is no token.
func parseTrailToken(token, query string) (position, bool) {
	if token == "" {
		return position{math.MaxInt64, math.MaxUint64}, true
	}
	var t trailToken
	b, err := base64.StdEncoding.DecodeString(token)
	if err != nil || json.Unmarshal(b, &t) != nil {
		return position{}, false
	}
	return t.position, t.Query == query
}

// limiters has a rate limit for each account in each Region.
type limiters struct {
	rate int
	mu   sync.Mutex
	all  map[string]*rate.Limiter
}

// allow reports whether one more call may be made.
func (l *limiters) allow(account, region string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := store.Key(account, region)
	if l.all == nil {
		l.all = map[string]*rate.Limiter{}
	}
	if l.all[key] == nil {
		l.all[key] = rate.NewLimiter(rate.Limit(l.rate), l.rate)
	}
	return l.all[key].AllowN(now, 1)
}
