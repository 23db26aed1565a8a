package sts

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"net/http"
	"regexp"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Temporary credentials.

// Errors of [Service.Identify]. Each service has its own words for them.
var (
	ErrUnknownKey   = errors.New("the access key ID does not exist")
	ErrInvalidToken = errors.New("the security token is invalid")
	ErrExpiredToken = errors.New("the security token is expired")
)

// temporaryKey matches the access key ID of temporary credentials.
var temporaryKey = regexp.MustCompile(`^ASIA[A-Z2-7]{16}$`)

// Identify finds the caller of an access key ID and its security token: a
// session, or the user that [wire.IdentityOf] knows.
func (s *Service) Identify(accessKey, token string, now time.Time) (wire.Identity, error) {
	if !temporaryKey.MatchString(accessKey) {
		if token != "" {
			return wire.Identity{}, ErrInvalidToken
		}
		return wire.IdentityOf(accessKey), nil
	}
	v, ok := s.sessions.Load(accessKey)
	if !ok {
		return wire.Identity{}, ErrUnknownKey
	}
	who := v.(wire.Identity)
	switch {
	case subtle.ConstantTimeCompare([]byte(token), []byte(who.Session.Token)) == 0:
		return wire.Identity{}, ErrInvalidToken
	case !now.Before(who.Session.Expires):
		return wire.Identity{}, ErrExpiredToken
	}
	return who, nil
}

// credentials are temporary credentials as STS returns them. The secret access
// key is never checked: localaws does not verify signatures.
type credentials struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      string
}

// start makes temporary credentials for who, whose Session has a role or none,
// in one transaction with the call's event. response is what the event shows
// beside the credentials.
func (c *call) start(who wire.Identity, lasts time.Duration, response map[string]any) (credentials, error) {
	secret := issue(&who, c.Now, lasts, response)
	c.event.Response = response
	err := c.s.db.Batch(func(tx *bolt.Tx) error { // may be called twice
		if err := store.Save(tx, SessionBucket, who.AccessKey, who); err != nil {
			return err
		}
		return c.s.trail.RecordIn(tx, c.event)
	})
	if err != nil {
		return credentials{}, err
	}
	c.recorded = true
	c.s.forgetExpired(c.Now)
	c.s.sessions.Store(who.AccessKey, who)
	return credentials{
		AccessKeyID: who.AccessKey, SecretAccessKey: secret,
		SessionToken: who.Session.Token, Expiration: who.Session.Expires.UTC().Format(time.RFC3339),
	}, nil
}

// issue gives a session its credentials, notes in response what the event shows of
// them, and returns the secret access key.
func issue(who *wire.Identity, now time.Time, lasts time.Duration, response map[string]any) (secret string) {
	token := make([]byte, 192)
	_, _ = rand.Read(token) // never fails: see crypto/rand.Read
	who.AccessKey = "ASIA" + rand.Text()[:16]
	who.Session.Token = base64.StdEncoding.EncodeToString(token)
	who.Session.Started = now.Truncate(time.Second)
	who.Session.Expires = who.Session.Started.Add(lasts)
	response["credentials"] = map[string]string{
		"accessKeyId": who.AccessKey, "sessionToken": who.Session.Token,
		"expiration": who.Session.Expires.UTC().Format("Jan 2, 2006, 3:04:05 PM"),
	}
	return base64.StdEncoding.EncodeToString(token[:30])
}

// expiredKept is how long a session is remembered after it expired, so that its
// user learns that the token expired and not that the key does not exist.
const expiredKept = 24 * time.Hour

// forgetExpired forgets the sessions that expired long ago. Their records go when
// the state is next opened.
func (s *Service) forgetExpired(now time.Time) {
	s.sessions.Range(func(key, v any) bool {
		if who, ok := v.(wire.Identity); ok && now.Sub(who.Session.Expires) > expiredKept {
			s.sessions.Delete(key)
		}
		return true
	})
}

// Limits of GetSessionToken, in seconds.
// Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
const (
	standardSession = 43200
	maxSession      = 129600
	maxRootSession  = time.Hour
)

// getSessionToken needs no permission: policies do not control it.
func getSessionToken(c *call) (any, error) {
	lasts, err := c.duration(standardSession, maxSession)
	if err != nil {
		return nil, err
	}
	if c.Who.Session != nil {
		return nil, wire.Errf(http.StatusForbidden, "AccessDenied", "Cannot call GetSessionToken with session credentials")
	}
	if c.Who.IsRoot() {
		lasts = min(lasts, maxRootSession)
	}
	who := c.Who
	who.Session = &wire.Session{}
	out, err := c.start(who, lasts, map[string]any{})
	if err != nil {
		return nil, err
	}
	return struct {
		XMLName     xml.Name `xml:"GetSessionTokenResult"`
		Credentials credentials
	}{Credentials: out}, nil
}
