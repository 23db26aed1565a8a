package sts

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Roles. A role exists once it has a trust policy: see [Service.SetRole].

var (
	rolePattern    = regexp.MustCompile(`^arn:aws:iam::(\d{12}):role/(?:[\w+=,.@-]+/)*([\w+=,.@-]{1,64})$`)
	arnPattern     = regexp.MustCompile(`^arn:[^:]+:[^:]+:[^:]*:[^:]*:.+$`)
	sessionPattern = regexp.MustCompile(`^[\w+=,.@-]*$`)
	externalID     = regexp.MustCompile(`^[\w+=,.@:\/-]*$`)
)

// trustKeys are STS's condition keys that a trust policy may use. The last two
// are always absent: AssumeRole models no source identity and no session tags.
var trustKeys = []string{"sts:externalid", "sts:rolesessionname", "sts:sourceidentity", "sts:transitivetagkeys"}

// SetRole creates the role of an ARN, or changes its trust policy. An empty
// document removes the role; its sessions last until they expire.
func (s *Service) SetRole(roleARN, trustPolicy string) error {
	if !rolePattern.MatchString(roleARN) {
		return fmt.Errorf("localaws: %q is not the ARN of a role (arn:aws:iam::123456789012:role/NAME)", roleARN)
	}
	if trustPolicy != "" {
		p, err := policy.ParseTrust(trustPolicy)
		if err != nil {
			return fmt.Errorf("localaws: the trust policy of %s: %w", roleARN, err)
		}
		if name := s.identities.Unknown(p); name != "" {
			return fmt.Errorf("localaws: the trust policy of %s names the principal %q, which does not exist", roleARN, name)
		}
		if key := p.UnknownKey(func(key string) bool { return slices.Contains(trustKeys, key) }); key != "" {
			return fmt.Errorf("localaws: the trust policy of %s has the condition key %s, which localaws does not implement", roleARN, key)
		}
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		if trustPolicy == "" {
			return store.Remove(tx, RoleBucket, roleARN)
		}
		return store.Save(tx, RoleBucket, roleARN, trustPolicy)
	})
}

// Limits of a role's session, in seconds. Every role has the default maximum.
// Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
const (
	standardRoleSession = 3600
	maxRoleSession      = 43200
)

func assumeRole(c *call) (any, error) {
	f := c.Form()
	roleARN, session := f.Get("RoleArn"), f.Get("RoleSessionName")
	switch {
	case len(roleARN) < 20:
		return nil, validationError("roleArn", roleARN, "have length greater than or equal to 20")
	case len(roleARN) > 2048:
		return nil, validationError("roleArn", roleARN, "have length less than or equal to 2048")
	}
	if err := checkText("roleSessionName", session, 2, 64, sessionPattern); err != nil {
		return nil, err
	}
	if f.Has("ExternalId") {
		if err := checkText("externalId", f.Get("ExternalId"), 2, 1224, externalID); err != nil {
			return nil, err
		}
	}
	lasts, err := c.duration(standardRoleSession, maxRoleSession)
	if err != nil {
		return nil, err
	}
	if !arnPattern.MatchString(roleARN) {
		return nil, wire.Errf(http.StatusBadRequest, "ValidationError", "%s is invalid", roleARN)
	}
	if c.Who.IsRoot() {
		return nil, wire.Errf(http.StatusForbidden, "AccessDenied", "Roles may not be assumed by root accounts.")
	}
	if err := c.authorize(roleARN); err != nil {
		return nil, err
	}
	if lasts.Seconds() > standardRoleSession {
		if c.Who.Session != nil && c.Who.Session.RoleARN != "" {
			return nil, wire.Errf(http.StatusBadRequest, "ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
		}
		return nil, wire.Errf(http.StatusBadRequest, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}

	who := sessionOf(roleARN, session)
	c.event.Resources = []trail.Resource{{ARN: roleARN, Type: "AWS::IAM::Role"}}
	out, err := c.start(who, lasts, assumedUser(who))
	if err != nil {
		return nil, err
	}
	type user struct {
		ID  string `xml:"AssumedRoleId"`
		ARN string `xml:"Arn"`
	}
	return struct {
		XMLName     xml.Name `xml:"AssumeRoleResult"`
		User        user     `xml:"AssumedRoleUser"`
		Credentials credentials
	}{User: user{who.UserID, who.ARN}, Credentials: out}, nil
}

// sessionOf is a session of a role, not yet started.
func sessionOf(roleARN, session string) wire.Identity {
	part := rolePattern.FindStringSubmatch(roleARN)
	account, role := part[1], part[2]
	id := wire.StableID("AROA", roleARN)
	return wire.Identity{
		Account: account, ARN: "arn:aws:sts::" + account + ":assumed-role/" + role + "/" + session,
		Name: session, UserID: id + ":" + session, Session: &wire.Session{RoleARN: roleARN, RoleID: id, Role: role},
	}
}

// assumedUser is what an event shows of the session beside its credentials.
func assumedUser(who wire.Identity) map[string]any {
	return map[string]any{"assumedRoleUser": map[string]string{"assumedRoleId": who.UserID, "arn": who.ARN}}
}

// AssumeForService is a session of a role for an AWS service that the role trusts,
// such as "s3.amazonaws.com". Its credentials are only in the event: no request can use
// them. [U]: S3 gives no aws:SourceArn and aws:SourceAccount to the trust policy.
func (s *Service) AssumeForService(service, roleARN, session, region string, now time.Time) (wire.Identity, error) {
	r := &wire.Request{
		ID: wire.NewUUID(), Service: "sts", Operation: "AssumeRole", Region: region, Signed: true, Secure: true, Now: now,
		Who: wire.Identity{Service: &wire.ServicePrincipal{Name: service}}, HTTP: &http.Request{Header: http.Header{}},
	}
	a := roleAccess(r, roleARN, session)
	byRole, err := s.trust(a)
	if err != nil {
		return wire.Identity{}, err
	}
	if byRole != policy.Allowed {
		return wire.Identity{}, wire.Errf(http.StatusForbidden, "AccessDenied", "%s is not authorized to perform: sts:AssumeRole on resource: %s", service, roleARN)
	}
	who := sessionOf(roleARN, session)
	response := assumedUser(who)
	issue(&who, now, standardRoleSession*time.Second, response)
	return who, s.trail.Record(trail.Event{
		Request: r, Source: "sts.amazonaws.com", Name: r.Operation, ReadOnly: true, InvokedBy: service, Account: who.Account,
		Parameters: map[string]any{"roleArn": roleARN, "roleSessionName": session}, Response: response,
		Resources: []trail.Resource{{ARN: roleARN, Type: "AWS::IAM::Role"}},
	})
}

// roleAccess is what a trust policy is asked about.
func roleAccess(r *wire.Request, roleARN, session string) policy.Access {
	a := policy.Access{Who: r.Who, Action: "sts:AssumeRole", Resource: roleARN, Context: policy.ConditionKeys(r)}
	a.Context["sts:rolesessionname"] = session
	a.Context["aws:resourceaccount"] = strings.SplitN(roleARN, ":", 6)[4]
	return a
}

// trust is what the trust policy of the role says; a role that does not exist has
// none.
func (s *Service) trust(a policy.Access) (policy.Decision, error) {
	var trust string
	err := s.db.View(func(tx *bolt.Tx) (err error) {
		trust, _, err = store.Load[string](tx, RoleBucket, a.Resource)
		return err
	})
	if err != nil || trust == "" {
		return policy.NoMatch, err
	}
	p, err := policy.ParseTrust(trust)
	if err != nil {
		return policy.NoMatch, fmt.Errorf("localaws: the stored trust policy of %s: %w", a.Resource, err)
	}
	return p.Decide(a), nil
}

// authorize refuses a caller whom the role's trust policy does not allow, or who
// is only trusted as part of an account and not allowed by its identity policy.
// A role that does not exist gives the same error.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html
func (c *call) authorize(roleARN string) error {
	a := roleAccess(c.Request, roleARN, c.Form().Get("RoleSessionName"))
	if v := c.Form().Get("ExternalId"); v != "" {
		a.Context["sts:externalid"] = v
	}
	byRole, err := c.s.trust(a)
	if err != nil {
		return err
	}
	byIdentity := c.s.identities.Decide(a)
	sameAccount := strings.HasPrefix(roleARN, "arn:aws:iam::"+c.Who.Account+":")
	reason := ""
	switch {
	case byIdentity == policy.Denied:
		reason = " with an explicit deny in an identity-based policy"
	case byRole == policy.Denied:
		reason = " with an explicit deny in a resource-based policy"
	case byRole == policy.Allowed && sameAccount, byRole != policy.NoMatch && byIdentity == policy.Allowed:
		return nil
	case byRole != policy.NoMatch:
		reason = " because no identity-based policy allows the sts:AssumeRole action"
	}
	return wire.Errf(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: sts:AssumeRole on resource: %s%s", c.Who.ARN, roleARN, reason)
}
