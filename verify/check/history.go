package check

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go/middleware"
	"golang.org/x/time/rate"

	"github.com/securethecloud/kms-baseline/verify/internal/times"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// lookupRate is how many LookupEvents calls a second an account may make in one
// Region, all clients together.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html
const lookupRate = 2

// lookupAttempts is how often one lookup is tried: for about half a minute, in
// which others may leave some of the account's share.
const lookupAttempts = 8

// newTrailClient is a client for the event history that keeps under lookupRate
// in every attempt, the SDK's own retries included, and goes on for a while
// when others use up the account's share.
func newTrailClient(cfg aws.Config, limit rate.Limit, attempts int) *cloudtrail.Client {
	limiter := rate.NewLimiter(limit, 1)
	wait := middleware.FinalizeMiddlewareFunc("LookupRate", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		if limiter.Wait(ctx) != nil {
			<-ctx.Done() // Wait gives up early where ctx ends before it is this call's turn
			return middleware.FinalizeOutput{}, middleware.Metadata{}, ctx.Err()
		}
		return next.HandleFinalize(ctx, in)
	})
	return cloudtrail.NewFromConfig(cfg, func(o *cloudtrail.Options) {
		o.RetryMaxAttempts = attempts
		o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
			return s.Finalize.Insert(wait, "Retry", middleware.After)
		})
	})
}

// history is the [eventSource] that LookupEvents is.
type history struct {
	client  *cloudtrail.Client
	now     func() time.Time
	lookups int
	search  *search
}

func (h *history) name() string { return "cloudtrail:LookupEvents" }
func (h *history) noun() string { return "event history" }

func (h *history) effort() string {
	if h.lookups == 0 {
		return ""
	}
	return count(h.lookups, "lookup") + " of the event history"
}

func (h *history) oldest() (time.Time, string) {
	return h.now().Add(-eventHistory), "the event history goes back 90 days only"
}

func (h *history) find(ctx context.Context, s *search) error {
	h.search = s
	objects := map[string][]*want{} // by key
	var keys []*want
	for _, w := range s.wants {
		if w.context == "" {
			keys = append(keys, w)
		} else {
			objects[w.key] = append(objects[w.key], w)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		if err := h.lookByKey(ctx, key, objects[key]); err != nil {
			return err
		}
	}
	return h.lookForKeys(ctx, keys)
}

// lookByKey looks for wants among the events of one key.
func (h *history) lookByKey(ctx context.Context, key string, wants []*want) error {
	return h.look(ctx, types.LookupAttributeKeyResourceName, key, wants, -1)
}

// lookForKeys looks for one event of each of many keys. By the key's ARN that
// takes one lookup for each key at least; by the event's name a lookup finds up
// to 50 keys, unless the account is busy with others. It tries the latter for
// as many lookups as there are keys, and asks for what is still missing by key:
// never more than about twice what the better of the two ways takes.
func (h *history) lookForKeys(ctx context.Context, wants []*want) error {
	if left := pending(wants); len(left) > 2 {
		if err := h.look(ctx, types.LookupAttributeKeyEventName, left[0].event, left, len(left)); err != nil {
			return err
		}
	}
	for _, w := range pending(wants) {
		if err := h.lookByKey(ctx, w.key, []*want{w}); err != nil {
			return err
		}
	}
	return nil
}

// look goes through the events with an attribute, newest first, until nothing
// is left to look for: every want is found, or its time has been gone through.
// It skips stretches of time that no want asks for. It makes at most budget
// lookups; any number, where that is negative.
func (h *history) look(ctx context.Context, key types.LookupAttributeKey, value string, wants []*want, budget int) (err error) {
	defer func() {
		for _, w := range wants {
			w.gone = w.gone || err == nil && budget != 0
		}
	}()
	left := pending(wants)
	now := h.now()
	var in *cloudtrail.LookupEventsInput
	var oldest time.Time // how far back everything was seen
	for ; len(left) > 0 && budget != 0; budget-- {
		if in == nil {
			from, to := left[0].from, left[0].to
			for _, w := range left {
				from, to = times.Earlier(from, w.from), times.Later(to, w.to)
			}
			in = &cloudtrail.LookupEventsInput{
				LookupAttributes: []types.LookupAttribute{{AttributeKey: key, AttributeValue: &value}},
				StartTime:        aws.Time(times.Later(from, now.Add(-eventHistory))),
			}
			oldest = now
			if to.Before(now) { // without an end it is now, by AWS's own clock
				in.EndTime, oldest = &to, to
			}
		}
		out, err := h.client.LookupEvents(ctx, in)
		if err != nil {
			return err
		}
		h.lookups++
		requestID, _ := awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
		for _, e := range out.Events {
			rec, wrong := readEvent(e)
			h.search.show(wants, sighting{trailRecord: rec, wrong: wrong, evidence: report.Evidence{Source: h.name(), RequestID: requestID}})
			oldest = times.Earlier(oldest, aws.ToTime(e.EventTime))
		}
		if aws.ToString(out.NextToken) == "" {
			return nil
		}
		left = slices.DeleteFunc(left, func(w *want) bool { return !w.pending() || w.from.After(oldest) })
		in.NextToken = out.NextToken
		var to time.Time
		for _, w := range left {
			to = times.Later(to, w.to)
		}
		if to.Before(oldest) {
			in = nil // nothing is wanted in between: start again further back
		}
	}
	return nil
}
