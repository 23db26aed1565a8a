package trail

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Trails. An account here has none, so that every name of a trail is unknown.

// reading makes a handler of f, an operation that changes nothing: it authorizes
// the caller and records the event, also of a call that failed.
func reading[In any](s *Service, f func(*wire.Request, In) (any, error)) wire.JSONHandler {
	return func(r *wire.Request, body []byte) (any, error) {
		in, err := wire.Decode[In](r.Service, r.Operation, body)
		if err != nil {
			return nil, err
		}
		var out any
		if err = s.allowed(r, r.Operation); err == nil {
			out, err = f(r, in)
		}
		e := Event{Request: r, Source: "cloudtrail.amazonaws.com", Name: r.Operation, ReadOnly: true, Parameters: readParameters(in)}
		e.Fail(err)
		if recordErr := s.Record(e); recordErr != nil {
			return nil, recordErr
		}
		return out, err
	}
}

// readParameters is a request as its record shows it: what it names, names in
// lower case; nil if it names nothing.
func readParameters(in any) any {
	b, _ := json.Marshal(in) // strings and booleans: always encodes
	var m map[string]any
	if json.Unmarshal(b, &m) != nil {
		return nil
	}
	p := map[string]any{}
	for name, value := range m {
		if value != nil && value != "" {
			p[strings.ToLower(name[:1])+name[1:]] = value
		}
	}
	if len(p) == 0 {
		return nil
	}
	return p
}

type describeTrailsInput struct {
	TrailNameList       []string `json:"trailNameList"`
	IncludeShadowTrails *bool    `json:"includeShadowTrails"`
}

// describeTrails leaves out the names that it does not find.
func describeTrails(_ *wire.Request, in describeTrailsInput) (any, error) {
	for _, name := range in.TrailNameList {
		if err := checkTrail(name); err != nil {
			return nil, err
		}
	}
	return map[string]any{"trailList": []any{}}, nil
}

type listTrailsInput struct{ NextToken string }

func listTrails(_ *wire.Request, in listTrailsInput) (any, error) {
	if in.NextToken != "" {
		return nil, wire.Errf(http.StatusBadRequest, "InvalidNextTokenException", "The token is not valid.")
	}
	return map[string]any{"Trails": []any{}}, nil
}

type getTrailInput struct{ Name string }

// getTrail is GetTrail and GetTrailStatus.
func getTrail(r *wire.Request, in getTrailInput) (any, error) { return nil, unknownTrail(r, in.Name) }

type getEventSelectorsInput struct{ TrailName string }

func getEventSelectors(r *wire.Request, in getEventSelectorsInput) (any, error) {
	return nil, unknownTrail(r, in.TrailName)
}

// unknownTrail is the error for a trail that does not exist, given its name or
// ARN.
func unknownTrail(r *wire.Request, name string) error {
	if err := checkTrail(name); err != nil {
		return err
	}
	if !strings.HasPrefix(name, "arn:") {
		name = "arn:aws:cloudtrail:" + r.Region + ":" + r.Who.Account + ":trail/" + name
	}
	return wire.Errf(http.StatusBadRequest, "TrailNotFoundException", "Unknown trail: %s for the user: %s", name, r.Who.Account)
}

var (
	trailARN  = regexp.MustCompile(`^arn:aws:cloudtrail:[a-z0-9-]+:\d{12}:trail/[A-Za-z0-9._-]{3,128}$`)
	trailName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
)

// checkTrail refuses what is neither the name nor the ARN of a trail.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-trail-naming-requirements.html
func checkTrail(name string) error {
	invalid := func(message string, args ...any) error {
		return wire.Errf(http.StatusBadRequest, "InvalidTrailNameException", message, args...)
	}
	isAlphanumeric := func(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }
	switch {
	case strings.HasPrefix(name, "arn:"):
		if !trailARN.MatchString(name) {
			return wire.Errf(http.StatusBadRequest, "CloudTrailARNInvalidException", "%s is not the ARN of a trail.", name)
		}
	case len(name) < 3:
		return invalid("Trail name too short. Minimum allowed length: 3 characters. Specified name length: %d characters.", len(name))
	case len(name) > 128:
		return invalid("Trail name too long. Maximum allowed length: 128 characters. Specified name length: %d characters.", len(name))
	case !isAlphanumeric(name[0]):
		return invalid("Trail name must starts with a letter or number.")
	case !isAlphanumeric(name[len(name)-1]):
		return invalid("Trail name must ends with a letter or number.")
	case !trailName.MatchString(name):
		return invalid("Trail name or ARN can only contain uppercase letters, lowercase letters, numbers, periods (.), hyphens (-), and underscores (_).")
	}
	return nil
}
