package localaws

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// clock is a clock that a test sets.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// unthrottled makes a server that lets a test look up as often as it likes.
func unthrottled(o *Options) { o.TrailRate = 1_000_000 }

func noRetries(o *config.LoadOptions) error {
	o.RetryMaxAttempts = 1
	return nil
}

// event is a use of key by a user, as KMS would tell the trail of it.
func event(s *Server, user, region, name, key string) trail.Event {
	h := httptest.NewRequest(http.MethodPost, "http://localhost/", nil)
	h.Header.Set("User-Agent", "test/1.0")
	return trail.Event{
		Request: &wire.Request{HTTP: h, ID: wire.NewUUID(), Service: "kms", Region: region, Who: wire.IdentityOf(user), Signed: true, Now: s.opts.Now()},
		Source:  "kms.amazonaws.com", Name: name, ReadOnly: name != "CreateKey",
		Parameters: map[string]any{"keyId": key},
		Resources:  []trail.Resource{{ARN: "arn:aws:kms:" + region + ":" + wire.IdentityOf(user).Account + ":key/" + key, Type: "AWS::KMS::Key"}},
	}
}

func record(t testing.TB, s *Server, user, region, name, key string) {
	t.Helper()
	require.NoError(t, s.trail.Record(event(s, user, region, name, key)))
}

func lookUp(t *testing.T, c *cloudtrail.Client, key types.LookupAttributeKey, value string) []types.Event {
	t.Helper()
	in := &cloudtrail.LookupEventsInput{}
	if key != "" {
		in.LookupAttributes = []types.LookupAttribute{{AttributeKey: key, AttributeValue: &value}}
	}
	out, err := c.LookupEvents(t.Context(), in)
	require.NoError(t, err)
	require.Nil(t, out.NextToken)
	return out.Events
}

func requireCode(t *testing.T, err error, code string) {
	t.Helper()
	var e smithy.APIError
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.ErrorCode(), e.ErrorMessage())
}

// apiCode is the code of an AWS error; empty for none.
func apiCode(err error) string {
	var e smithy.APIError
	if !errors.As(err, &e) {
		return ""
	}
	return e.ErrorCode()
}

func TestLookupEvents_RecordsACall(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newServer(t, unthrottled, func(o *Options) { o.Now = clock.now })
	cfg := awsConfig(t, s, "alice")
	_, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil)
	require.NoError(t, err)

	events := lookUp(t, cloudtrail.NewFromConfig(cfg), "", "")
	require.Len(t, events, 1)
	e := events[0]
	require.Equal(t, "GetCallerIdentity", *e.EventName)
	require.Equal(t, "sts.amazonaws.com", *e.EventSource)
	require.Equal(t, "alice", *e.Username)
	require.Equal(t, "alice", *e.AccessKeyId)
	require.Equal(t, "true", *e.ReadOnly)
	require.Equal(t, clock.now().UTC(), *e.EventTime)
	require.Empty(t, e.Resources)

	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(*e.CloudTrailEvent), &got))
	require.Contains(t, got["userAgent"], "aws-sdk-go-v2")
	require.Contains(t, got["tlsDetails"].(map[string]any)["tlsVersion"], "TLSv1.")
	require.Regexp(t, `^[0-9a-f-]{36}$`, got["requestID"])
	for _, k := range []string{"userAgent", "tlsDetails", "requestID"} {
		delete(got, k)
	}
	require.Equal(t, map[string]any{
		"eventVersion": "1.11",
		"userIdentity": map[string]any{
			"type": "IAMUser", "principalId": wire.IdentityOf("alice").UserID, "arn": "arn:aws:iam::123456789012:user/alice",
			"accountId": "123456789012", "accessKeyId": "alice", "userName": "alice",
		},
		"eventTime": "2026-03-01T12:00:00Z", "eventSource": "sts.amazonaws.com", "eventName": "GetCallerIdentity",
		"awsRegion": "us-east-1", "sourceIPAddress": "127.0.0.1", "requestParameters": nil, "responseElements": nil,
		"eventID": *e.EventId, "readOnly": true, "eventType": "AwsApiCall", "managementEvent": true,
		"recipientAccountId": "123456789012", "eventCategory": "Management",
	}, got)
}

func TestLookupEvents_RecordsACallByAService(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	e := event(s, "alice", "us-east-1", "GenerateDataKey", "k1")
	e.InvokedBy = "fas.s3.amazonaws.com"
	e.Additional = map[string]any{"keyMaterialId": "m"}
	require.NoError(t, s.trail.Record(e))

	events := lookUp(t, cloudtrail.NewFromConfig(awsConfig(t, s, "bob")), "", "")
	require.Len(t, events, 1)
	require.Equal(t, []types.Resource{{ResourceType: aws.String("AWS::KMS::Key"), ResourceName: aws.String("arn:aws:kms:us-east-1:123456789012:key/k1")}}, events[0].Resources)
	var got trailEntry
	require.NoError(t, json.Unmarshal([]byte(*events[0].CloudTrailEvent), &got))
	require.Equal(t, "alice", got.UserIdentity.UserName)
	require.Equal(t, "fas.s3.amazonaws.com", got.UserIdentity.InvokedBy)
	require.Equal(t, "fas.s3.amazonaws.com", got.SourceIPAddress)
	require.Equal(t, "fas.s3.amazonaws.com", got.UserAgent)
	require.NotEqual(t, e.Request.ID, got.RequestID)
	require.Nil(t, got.TLSDetails)
	require.Equal(t, map[string]any{"keyMaterialId": "m"}, got.AdditionalEventData)
	require.Equal(t, []trailResource{{AccountID: "123456789012", Type: "AWS::KMS::Key", ARN: "arn:aws:kms:us-east-1:123456789012:key/k1"}}, got.Resources)
}

func TestLookupEvents_RecordsItself(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	c := cloudtrail.NewFromConfig(awsConfig(t, s, "alice"))
	require.Empty(t, lookUp(t, c, types.LookupAttributeKeyUsername, "unknown"))
	_, err := c.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{MaxResults: aws.Int32(51)})
	requireCode(t, err, "InvalidMaxResultsException")

	events := lookUp(t, c, types.LookupAttributeKeyEventName, "LookupEvents")
	require.Len(t, events, 2)
	require.Contains(t, *events[0].CloudTrailEvent, `"errorCode":"InvalidMaxResultsException"`)
	require.Contains(t, *events[1].CloudTrailEvent, `"lookupAttributes":[{"attributeKey":"Username","attributeValue":"unknown"}]`)
}

// A call that cannot be recorded fails, whatever its own result was.
func TestLookupEvents_FailsWithoutARecord(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := cloudtrail.NewFromConfig(awsConfig(t, s, "alice", noRetries))
	refused := &cloudtrail.LookupEventsInput{MaxResults: aws.Int32(51)}
	_, err := c.LookupEvents(t.Context(), refused)
	requireCode(t, err, "InvalidMaxResultsException")
	require.NoError(t, s.db.Close())
	_, err = c.LookupEvents(t.Context(), refused)
	requireCode(t, err, "InternalFailure")
}

func TestLookupEvents_ByAttribute(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	record(t, s, "alice", "us-east-1", "CreateKey", "k1")
	record(t, s, "alice", "us-east-1", "GenerateDataKey", "k1")
	record(t, s, "bob", "us-east-1", "Decrypt", "k2")
	record(t, s, "alice", "eu-west-1", "Decrypt", "k1")
	record(t, s, "210987654321", "us-east-1", "Decrypt", "k1")
	volume := event(s, "bob", "us-east-1", "DeleteVolume", "")
	volume.Source, volume.ReadOnly = "ec2.amazonaws.com", false
	volume.Resources = []trail.Resource{{ARN: "arn:aws:ec2:us-east-1:123456789012:volume/vol-1", Type: "AWS::EC2::Volume"}}
	require.NoError(t, s.trail.Record(volume))
	bucket := event(s, "bob", "us-east-1", "CreateBucket", "")
	bucket.Source, bucket.ReadOnly = "s3.amazonaws.com", false
	bucket.Resources = []trail.Resource{{ARN: "arn:aws:s3:::b1", Type: "AWS::S3::Bucket"}}
	require.NoError(t, s.trail.Record(bucket))

	c := cloudtrail.NewFromConfig(awsConfig(t, s, "reader"))
	id := *lookUp(t, c, types.LookupAttributeKeyEventName, "CreateKey")[0].EventId
	for _, tc := range []struct {
		key   types.LookupAttributeKey
		value string
		want  []string
	}{
		{types.LookupAttributeKeyEventId, id, []string{"CreateKey"}},
		{types.LookupAttributeKeyEventName, "Decrypt", []string{"Decrypt"}},
		{types.LookupAttributeKeyReadOnly, "false", []string{"CreateBucket", "DeleteVolume", "CreateKey"}},
		{types.LookupAttributeKeyUsername, "alice", []string{"GenerateDataKey", "CreateKey"}},
		{types.LookupAttributeKeyResourceType, "AWS::KMS::Key", []string{"Decrypt", "GenerateDataKey", "CreateKey"}},
		{types.LookupAttributeKeyResourceName, "arn:aws:kms:us-east-1:123456789012:key/k1", []string{"GenerateDataKey", "CreateKey"}},
		{types.LookupAttributeKeyResourceName, "vol-1", []string{"DeleteVolume"}},
		{types.LookupAttributeKeyResourceName, "b1", []string{"CreateBucket"}},
		{types.LookupAttributeKeyResourceName, "k1", []string{}},
		{types.LookupAttributeKeyEventSource, "ec2.amazonaws.com", []string{"DeleteVolume"}},
		{types.LookupAttributeKeyAccessKeyId, "bob", []string{"CreateBucket", "DeleteVolume", "Decrypt"}},
	} {
		t.Run(string(tc.key)+"="+tc.value, func(t *testing.T) {
			t.Parallel()
			names := []string{}
			for _, e := range lookUp(t, c, tc.key, tc.value) {
				names = append(names, *e.EventName)
			}
			require.Equal(t, tc.want, names)
		})
	}
}

func TestLookupEvents_Refuses(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	cfg := awsConfig(t, s, "alice", noRetries)
	attribute := func(key, value string) types.LookupAttribute {
		return types.LookupAttribute{AttributeKey: types.LookupAttributeKey(key), AttributeValue: &value}
	}
	now := time.Now()
	for _, tc := range []struct {
		name, code string
		in         cloudtrail.LookupEventsInput
	}{
		{"two attributes", "InvalidLookupAttributesException", cloudtrail.LookupEventsInput{LookupAttributes: []types.LookupAttribute{attribute("EventName", "a"), attribute("Username", "b")}}},
		{"an unknown attribute", "InvalidLookupAttributesException", cloudtrail.LookupEventsInput{LookupAttributes: []types.LookupAttribute{attribute("Color", "a")}}},
		{"an attribute without a value", "InvalidLookupAttributesException", cloudtrail.LookupEventsInput{LookupAttributes: []types.LookupAttribute{attribute("EventName", "")}}},
		{"no results", "InvalidMaxResultsException", cloudtrail.LookupEventsInput{MaxResults: aws.Int32(0)}},
		{"too many results", "InvalidMaxResultsException", cloudtrail.LookupEventsInput{MaxResults: aws.Int32(51)}},
		{"a range backwards", "InvalidTimeRangeException", cloudtrail.LookupEventsInput{StartTime: aws.Time(now), EndTime: aws.Time(now.Add(-time.Hour))}},
		{"a time before 1970", "InvalidTimeRangeException", cloudtrail.LookupEventsInput{StartTime: aws.Time(time.Unix(-1, 0))}},
		{"a token that was not issued", "InvalidNextTokenException", cloudtrail.LookupEventsInput{NextToken: aws.String("bm9uc2Vuc2U=")}},
		{"a token that is none", "InvalidNextTokenException", cloudtrail.LookupEventsInput{NextToken: aws.String("?")}},
		{"an unknown category", "InvalidEventCategoryException", cloudtrail.LookupEventsInput{EventCategory: "data"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := cloudtrail.NewFromConfig(cfg).LookupEvents(t.Context(), &tc.in)
			requireCode(t, err, tc.code)
		})
	}
}

func TestLookupEvents_TimeRange(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newServer(t, unthrottled, func(o *Options) { o.Now = clock.now })
	c := cloudtrail.NewFromConfig(awsConfig(t, s, "reader"))
	begin := clock.now()
	for range 5 {
		record(t, s, "alice", "us-east-1", "Decrypt", "k1")
		clock.advance(1500 * time.Millisecond)
	}
	// At 0, 1.5, 3, 4.5 and 6 s, so in the records at 0, 1, 3, 4 and 6.
	for _, tc := range []struct {
		name       string
		start, end *time.Time
		want       int
	}{
		{"all", nil, nil, 5},
		{"from an event's second on", aws.Time(begin.Add(3 * time.Second)), nil, 3},
		{"from between two on", aws.Time(begin.Add(3100 * time.Millisecond)), nil, 2},
		{"up to an event's second", nil, aws.Time(begin.Add(4 * time.Second)), 4},
		{"one second", aws.Time(begin.Add(time.Second)), aws.Time(begin.Add(time.Second)), 1},
		{"before all", nil, aws.Time(begin.Add(-time.Second)), 0},
		{"in the future", aws.Time(begin.Add(24 * time.Hour)), nil, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			out, err := c.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{StartTime: tc.start, EndTime: tc.end,
				LookupAttributes: []types.LookupAttribute{{AttributeKey: types.LookupAttributeKeyUsername, AttributeValue: aws.String("alice")}}})
			require.NoError(t, err)
			require.Len(t, out.Events, tc.want)
		})
	}
}

// Events of one moment, too, have an order, which pages keep.
func TestLookupEvents_PagesStayPut(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newServer(t, unthrottled, func(o *Options) { o.Now = clock.now })
	c := cloudtrail.NewFromConfig(awsConfig(t, s, "alice"))
	const n = 123
	for i := range n {
		if i%50 == 0 {
			clock.advance(time.Second)
		}
		record(t, s, "alice", "us-east-1", "Decrypt", fmt.Sprintf("k%03d", i))
	}
	var want []string
	for i := n - 1; i >= 0; i-- {
		want = append(want, fmt.Sprintf("arn:aws:kms:us-east-1:123456789012:key/k%03d", i))
	}
	var got []string
	pages := cloudtrail.NewLookupEventsPaginator(c, &cloudtrail.LookupEventsInput{MaxResults: aws.Int32(10)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		for _, e := range page.Events {
			got = append(got, *e.Resources[0].ResourceName)
		}
		record(t, s, "alice", "us-east-1", "Decrypt", "new")
	}
	require.Equal(t, want, got)
}

func TestLookupEvents_TokenBelongsToItsQuery(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	for range 3 {
		record(t, s, "alice", "us-east-1", "Decrypt", "k1")
		record(t, s, "alice", "eu-west-1", "Decrypt", "k1")
	}
	query := func(value string, token *string) *cloudtrail.LookupEventsInput {
		return &cloudtrail.LookupEventsInput{MaxResults: aws.Int32(1), NextToken: token,
			LookupAttributes: []types.LookupAttribute{{AttributeKey: types.LookupAttributeKeyEventName, AttributeValue: &value}}}
	}
	c := cloudtrail.NewFromConfig(awsConfig(t, s, "alice"))
	out, err := c.LookupEvents(t.Context(), query("Decrypt", nil))
	require.NoError(t, err)
	require.NotNil(t, out.NextToken)
	_, err = c.LookupEvents(t.Context(), query("Encrypt", out.NextToken))
	requireCode(t, err, "InvalidNextTokenException")
	elsewhere := cloudtrail.NewFromConfig(awsConfig(t, s, "alice", config.WithRegion("eu-west-1")))
	_, err = elsewhere.LookupEvents(t.Context(), query("Decrypt", out.NextToken))
	requireCode(t, err, "InvalidNextTokenException")
	_, err = c.LookupEvents(t.Context(), query("Decrypt", out.NextToken))
	require.NoError(t, err)
}

func TestLookupEvents_Throttles(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newServer(t, func(o *Options) { o.Now = clock.now })
	call := func(user, region string) error {
		cfg := awsConfig(t, s, user, noRetries, config.WithRegion(region))
		_, err := cloudtrail.NewFromConfig(cfg).LookupEvents(t.Context(), nil)
		return err
	}
	require.NoError(t, call("alice", "us-east-1"))
	require.NoError(t, call("bob", "us-east-1"))
	requireCode(t, call("alice", "us-east-1"), "ThrottlingException")
	require.NoError(t, call("alice", "eu-west-1"), "another Region has a rate of its own")
	require.NoError(t, call("210987654321", "us-east-1"), "another account has a rate of its own")
	clock.advance(500 * time.Millisecond)
	require.NoError(t, call("alice", "us-east-1"))
	requireCode(t, call("alice", "us-east-1"), "ThrottlingException")
}

func TestLookupEvents_DeliversLater(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newServer(t, unthrottled, func(o *Options) { o.Now, o.TrailDelay = clock.now, 5*time.Minute })
	c := cloudtrail.NewFromConfig(awsConfig(t, s, "reader"))
	record(t, s, "alice", "us-east-1", "Decrypt", "k1")
	require.Empty(t, lookUp(t, c, types.LookupAttributeKeyUsername, "alice"))
	clock.advance(5*time.Minute - 1)
	require.Empty(t, lookUp(t, c, types.LookupAttributeKeyUsername, "alice"))
	clock.advance(1)
	require.Len(t, lookUp(t, c, types.LookupAttributeKeyUsername, "alice"), 1)
}

func TestLookupEvents_ForgetsAfter90Days(t *testing.T) {
	t.Parallel()
	clock := newClock()
	dir := t.TempDir()
	options := func(o *Options) { o.Dir, o.Now = dir, clock.now }
	s := newServer(t, unthrottled, options)
	record(t, s, "alice", "us-east-1", "Decrypt", "k1")
	c := cloudtrail.NewFromConfig(awsConfig(t, s, "reader"))
	clock.advance(90 * 24 * time.Hour)
	record(t, s, "alice", "us-east-1", "Decrypt", "k1")
	require.Len(t, lookUp(t, c, types.LookupAttributeKeyUsername, "alice"), 2)
	clock.advance(time.Second)
	require.Len(t, lookUp(t, c, types.LookupAttributeKeyUsername, "alice"), 1)

	require.NoError(t, s.Close())
	s = newServer(t, unthrottled, options)
	clock.advance(-time.Second)
	require.Len(t, lookUp(t, cloudtrail.NewFromConfig(awsConfig(t, s, "reader")), types.LookupAttributeKeyUsername, "alice"), 1, "the old event is gone from the database")
}

func TestLookupEvents_SurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newServer(t, unthrottled, func(o *Options) { o.Dir = dir })
	for i := range 60 {
		record(t, s, "alice", "us-east-1", "Decrypt", fmt.Sprint("k", i))
	}
	before := lookUp(t, cloudtrail.NewFromConfig(awsConfig(t, s, "reader")), types.LookupAttributeKeyResourceName, "arn:aws:kms:us-east-1:123456789012:key/k7")
	require.Len(t, before, 1)
	require.NoError(t, s.Close())

	s = newServer(t, unthrottled, func(o *Options) { o.Dir = dir })
	record(t, s, "alice", "us-east-1", "Decrypt", "k7")
	after := lookUp(t, cloudtrail.NewFromConfig(awsConfig(t, s, "reader")), types.LookupAttributeKeyResourceName, "arn:aws:kms:us-east-1:123456789012:key/k7")
	require.Len(t, after, 2)
	require.Equal(t, before[0], after[1])
}

// The order must hold, and nothing be lost, when calls end in another order
// than they began.
func TestRecord_Concurrently(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				if err := s.trail.Record(event(s, fmt.Sprint("user", i), "us-east-1", "Decrypt", "k1")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var all []types.Event
	pages := cloudtrail.NewLookupEventsPaginator(cloudtrail.NewFromConfig(awsConfig(t, s, "reader")), &cloudtrail.LookupEventsInput{
		LookupAttributes: []types.LookupAttribute{{AttributeKey: types.LookupAttributeKeyEventName, AttributeValue: aws.String("Decrypt")}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		all = append(all, page.Events...)
	}
	require.Len(t, all, 400)
	byUser := map[string]int{}
	for _, e := range all {
		byUser[*e.Username]++
	}
	require.Equal(t, 50, byUser["user3"])
	require.True(t, slices.IsSortedFunc(all, func(a, b types.Event) int { return b.EventTime.Compare(*a.EventTime) }))
}

func TestTrails_ThereAreNone(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	c := cloudtrail.NewFromConfig(awsConfig(t, s, "alice", noRetries))
	described, err := c.DescribeTrails(t.Context(), &cloudtrail.DescribeTrailsInput{TrailNameList: []string{"audit"}, IncludeShadowTrails: aws.Bool(false)})
	require.NoError(t, err)
	require.Empty(t, described.TrailList)
	listed, err := c.ListTrails(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, listed.Trails)
	for name, tc := range map[string]struct{ code, message string }{
		"audit": {"TrailNotFoundException", "Unknown trail: arn:aws:cloudtrail:us-east-1:123456789012:trail/audit for the user: 123456789012"},
		"arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit": {"TrailNotFoundException", "Unknown trail: arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit"},
		"arn:aws:s3:::audit":     {"CloudTrailARNInvalidException", "is not the ARN of a trail"},
		"ab":                     {"InvalidTrailNameException", "Trail name too short"},
		strings.Repeat("a", 129): {"InvalidTrailNameException", "Trail name too long"},
		"-audit":                 {"InvalidTrailNameException", "starts with a letter or number"},
		"audit.":                 {"InvalidTrailNameException", "ends with a letter or number"},
		"audit log":              {"InvalidTrailNameException", "can only contain"},
	} {
		_, status := c.GetTrailStatus(t.Context(), &cloudtrail.GetTrailStatusInput{Name: &name})
		_, selectors := c.GetEventSelectors(t.Context(), &cloudtrail.GetEventSelectorsInput{TrailName: &name})
		_, trail := c.GetTrail(t.Context(), &cloudtrail.GetTrailInput{Name: &name})
		for _, err := range []error{status, selectors, trail} {
			requireCode(t, err, tc.code)
			require.ErrorContains(t, err, tc.message)
		}
	}
	events := lookUp(t, c, types.LookupAttributeKeyEventName, "GetEventSelectors")
	require.Len(t, events, 8)
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::123456789012:user/alice", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`))
	_, err = c.DescribeTrails(t.Context(), nil)
	requireCode(t, err, "AccessDeniedException")
}

// BenchmarkLookupEvents looks a page up among 100,000 events by each attribute.
func BenchmarkLookupEvents(b *testing.B) {
	s := newServer(b, unthrottled)
	const n = 100_000
	var wg sync.WaitGroup
	for w := range 64 { // together, so that many share one sync to disk
		wg.Go(func() {
			for i := w; i < n; i += 64 {
				if err := s.trail.Record(event(s, fmt.Sprint("user", i%50), "us-east-1", "Decrypt", fmt.Sprint("k", i%1000))); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c := cloudtrail.NewFromConfig(awsConfig(b, s, "reader"))
	first, err := c.LookupEvents(b.Context(), &cloudtrail.LookupEventsInput{})
	require.NoError(b, err)
	for _, a := range []types.LookupAttribute{
		{}, {AttributeKey: "EventId", AttributeValue: first.Events[7].EventId}, {AttributeKey: "EventName", AttributeValue: aws.String("Decrypt")},
		{AttributeKey: "ReadOnly", AttributeValue: aws.String("true")}, {AttributeKey: "Username", AttributeValue: aws.String("user7")},
		{AttributeKey: "ResourceName", AttributeValue: aws.String("arn:aws:kms:us-east-1:123456789012:key/k7")},
	} {
		in := &cloudtrail.LookupEventsInput{}
		name := "none"
		if a.AttributeKey != "" {
			name, in.LookupAttributes = string(a.AttributeKey), []types.LookupAttribute{a}
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				out, err := c.LookupEvents(b.Context(), in)
				if err != nil || len(out.Events) == 0 {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRecord records from 8 clients at once.
func BenchmarkRecord(b *testing.B) {
	s := newServer(b)
	b.SetParallelism(8)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := s.trail.Record(event(s, "alice", "us-east-1", "GenerateDataKey", "k1")); err != nil {
				b.Error(err)
			}
		}
	})
}
