// Package kms is AWS KMS as localaws serves it: symmetric encryption keys, their
// policies, aliases, grants, rotation and replicas, with real cryptography.
//
// Records are in store.go, who may do what in access.go, the cryptography in
// crypto.go, and the operations in the file of their subject.
package kms

import (
	"crypto/cipher"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// The buckets of KMS.
var (
	KeyBucket   = []byte("kms-keys")    // account/region/key-id
	AliasBucket = []byte("kms-aliases") // account/region/alias-name
)

// Service serves KMS, and the keys that other services use on behalf of their
// callers.
type Service struct {
	wire.JSONService
	db         *bolt.DB
	identities *policy.Identities
	trail      *trail.Service
	now        func() time.Time
	dir        string
	master     cipher.AEAD // wraps the key material at rest
	// due is when a key is next to be erased or rotated, in nanoseconds since
	// 1970.
	due atomic.Int64
}

// Open reads the keys. dir holds the master key.
func Open(db *bolt.DB, identities *policy.Identities, events *trail.Service, dir string, now func() time.Time) (*Service, error) {
	s := &Service{db: db, identities: identities, trail: events, dir: dir, now: now}
	s.Handlers = s.operations()
	if err := s.openMaster(); err != nil {
		return nil, err
	}
	return s, s.tick(now())
}

// operations are the operations that this KMS knows; the others are
// NotImplemented.
func (s *Service) operations() map[string]wire.JSONHandler {
	return map[string]wire.JSONHandler{

		"CreateKey":            operation(s, changes, createKey),
		"DescribeKey":          operation(s, reads, describeKey),
		"ListKeys":             operation(s, reads, listKeys),
		"UpdateKeyDescription": operation(s, changes, updateKeyDescription),
		"EnableKey":            operation(s, changes, enableKey),
		"DisableKey":           operation(s, changes, disableKey),
		"ScheduleKeyDeletion":  operation(s, changes, scheduleKeyDeletion),
		"CancelKeyDeletion":    operation(s, changes, cancelKeyDeletion),
		"TagResource":          operation(s, changes, tagResource),
		"UntagResource":        operation(s, changes, untagResource),
		"ListResourceTags":     operation(s, reads, listResourceTags),

		"GetKeyPolicy":    operation(s, reads, getKeyPolicy),
		"PutKeyPolicy":    operation(s, changes, putKeyPolicy),
		"ListKeyPolicies": operation(s, reads, listKeyPolicies),

		"CreateAlias": operation(s, changes, createAlias),
		"UpdateAlias": operation(s, changes, updateAlias),
		"DeleteAlias": operation(s, changes, deleteAlias),
		"ListAliases": operation(s, reads, listAliases),

		"EnableKeyRotation":    operation(s, changes, enableKeyRotation),
		"DisableKeyRotation":   operation(s, changes, disableKeyRotation),
		"GetKeyRotationStatus": operation(s, reads, getKeyRotationStatus),
		"ListKeyRotations":     operation(s, reads, listKeyRotations),
		"RotateKeyOnDemand":    operation(s, changes, rotateKeyOnDemand),

		"ReplicateKey":        operation(s, changes, replicateKey),
		"UpdatePrimaryRegion": operation(s, changes, updatePrimaryRegion),

		"CreateGrant": operation(s, changes, createGrant),
		"ListGrants":  operation(s, reads, listGrants),
		"RevokeGrant": operation(s, changes, revokeGrant),
		"RetireGrant": operation(s, changes, retireGrant),

		"Encrypt":                         operation(s, reads, encrypt),
		"Decrypt":                         operation(s, reads, decrypt),
		"ReEncrypt":                       operation(s, reads, reEncrypt),
		"GenerateDataKey":                 operation(s, reads, generateKey),
		"GenerateDataKeyWithoutPlaintext": operation(s, reads, generateKeyWithoutPlaintext),
		"GenerateRandom":                  operation(s, reads, generateRandom),
	}
}

// What an operation does to the account, as its event says (readOnly). The use
// of a key changes nothing.
const (
	reads   = true
	changes = false
)

// call is one call to KMS while it is executed.
type call struct {
	s         *Service
	r         *wire.Request // caller, Region and time
	operation string
	account   string   // in which key IDs and aliases are looked up: the caller's
	via       string   // the service that calls on behalf of the caller; empty for a direct call
	tx        *bolt.Tx // of a call that changes the state; nil otherwise

	// What the policies see, beside the key's own attributes.
	keys  map[string]string
	lists map[string][]string

	// What a grant's own permission depends on.
	issues  createGrantInput // by CreateGrant
	retires string           // the grant's ID, by RetireGrant

	// What the event will say.
	request   any
	material  string // ID of the key material that a successful use took; empty if the event does not say
	keyARNs   []string
	aliasARNs []string
}

func (s *Service) newCall(r *wire.Request, operation string) *call {
	return &call{
		s: s, r: r, operation: operation, account: r.Who.Account,
		keys: policy.ConditionKeys(r), lists: map[string][]string{},
	}
}

// operation makes a handler of f. The change of the state and its event are one
// transaction; the event of a call that failed is recorded too.
func operation[In any](s *Service, readOnly bool, f func(*call, In) (any, error)) wire.JSONHandler {
	return func(r *wire.Request, body []byte) (any, error) {
		in, err := wire.Decode[In](r.Service, r.Operation, body)
		if err != nil {
			return nil, err
		}
		if err := s.tick(r.Now); err != nil {
			return nil, err
		}
		c := s.newCall(r, r.Operation)
		c.request = trailParameters(in)
		if readOnly {
			out, err := f(c, in)
			if e := s.trail.Record(c.event(readOnly, out, err)); e != nil {
				return nil, e
			}
			return out, err
		}
		var out any
		err = s.db.Update(func(tx *bolt.Tx) (err error) {
			c.tx = tx
			if out, err = f(c, in); err != nil {
				return err
			}
			return s.trail.RecordIn(tx, c.event(readOnly, out, nil))
		})
		if err != nil {
			if e := s.trail.Record(c.event(readOnly, nil, err)); e != nil {
				return nil, e
			}
			return nil, err
		}
		return out, nil
	}
}

// view reads from the state. f runs a second time, allowed to write, if it
// meets an AWS managed key that was never used before.
func (c *call) view(f func(tx *bolt.Tx) error) error {
	if c.tx != nil {
		return f(c.tx)
	}
	err := c.s.db.View(f)
	if errors.Is(err, errFirstUse) {
		err = c.s.db.Update(f)
	}
	return err
}

// update changes the state in the call's transaction.
func (c *call) update(f func(tx *bolt.Tx) error) error { return f(c.tx) }

// tick does what has come due by the clock: keys whose waiting period is over
// are erased, and material is rotated.
func (s *Service) tick(now time.Time) error {
	if now.UnixNano() < s.due.Load() {
		return nil
	}
	err := s.db.Update(func(tx *bolt.Tx) error { return s.sweepKeys(tx, now) })
	if err != nil {
		s.due.Store(0) // what was due still is
	}
	return err
}

// dueAt notes, once tx is committed, that something comes due at t.
func (s *Service) dueAt(tx *bolt.Tx, t time.Time) {
	tx.OnCommit(func() {
		for {
			due := s.due.Load()
			if due <= t.UnixNano() || s.due.CompareAndSwap(due, t.UnixNano()) {
				return
			}
		}
	})
}

// nothingDue is a time that does not come.
const nothingDue = math.MaxInt64

// event is the call's event.
func (c *call) event(readOnly bool, out any, err error) trail.Event {
	e := trail.Event{Request: c.r, Source: "kms.amazonaws.com", Name: c.operation, ReadOnly: readOnly, Parameters: c.request}
	for _, arn := range c.aliasARNs {
		e.Resources = append(e.Resources, trail.Resource{ARN: arn, Type: "AWS::KMS::Alias"})
	}
	for _, arn := range c.keyARNs {
		e.Resources = append(e.Resources, trail.Resource{ARN: arn, Type: "AWS::KMS::Key"})
	}
	switch c.via {
	case "s3":
		e.InvokedBy = "fas.s3.amazonaws.com"
	case "ec2":
		e.InvokedBy = "AWS Internal"
	}
	if err == nil && c.material != "" {
		e.Additional = map[string]string{"keyMaterialId": c.material}
	}
	switch {
	case err != nil:
		e.Fail(err)
	case !readOnly && out != nil:
		e.Response = trailParameters(out)
	case !readOnly && len(c.keyARNs) > 0:
		e.Response = map[string]string{"keyId": c.keyARNs[0]}
	}
	return e
}

// trailParameters writes a request or an answer as CloudTrail does: names begin
// in lower case, times are readable, and what is empty or secret is left out.
func trailParameters(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var m map[string]any
	if json.Unmarshal(b, &m) != nil {
		return nil
	}
	if out, ok := trailValue("", m); ok {
		return out
	}
	return nil
}

// trailValue returns false for what is left out.
func trailValue(name string, v any) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		if strings.Contains(name, "EncryptionContext") {
			return v, len(v) > 0 // names of the caller's own stay as they are
		}
		out := map[string]any{}
		for k, e := range v {
			e, ok := trailValue(k, e)
			if !ok {
				continue
			}
			if !strings.HasPrefix(k, "AWS") {
				k = string(unicode.ToLower(rune(k[0]))) + k[1:]
			}
			out[k] = e
		}
		return out, len(out) > 0
	case []any:
		for i := range v {
			v[i], _ = trailValue("", v[i])
		}
		return v, len(v) > 0
	case string:
		secret := name == "Plaintext" || name == "CiphertextBlob" || name == "GrantToken"
		return v, v != "" && !secret
	case float64:
		if strings.HasSuffix(name, "Date") {
			return time.UnixMilli(int64(v * 1000)).UTC().Format("Jan 2, 2006, 3:04:05 PM"), true
		}
		return v, v != 0
	case bool:
		return v, true
	}
	return v, v != nil
}

// kmsError is an error of KMS: all but internal ones have status 400.
func kmsError(code, format string, args ...any) *wire.Error {
	return wire.Errf(http.StatusBadRequest, code, format, args...)
}

// required refuses a parameter that is missing.
func required(name, value string) error {
	if value == "" {
		return kmsError("ValidationException", "1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", name)
	}
	return nil
}

// invalid is the answer to a value that is not allowed; rule completes "Member
// must".
func invalid(name string, value any, rule string) *wire.Error {
	return kmsError("ValidationException", "1 validation error detected: Value '%v' at '%s' failed to satisfy constraint: Member must %s", value, name, rule)
}

// epoch is a time as the JSON protocol writes it: seconds since 1970, with
// fractions.
type epoch time.Time

func (e epoch) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(time.Time(e).UnixMilli()) / 1000)
}

func epochOf(t *time.Time) *epoch {
	if t == nil {
		return nil
	}
	e := epoch(*t)
	return &e
}

// Use is one use of a key by a service on behalf of its caller.
type Use struct {
	Request *wire.Request     // caller, request ID, source address and user agent
	Region  string            // of the key
	Via     string            // "s3" or "ec2", the service that calls
	Context map[string]string // the encryption context
}

// call makes the call that the service makes for its caller.
func (s *Service) onBehalf(u Use, operation string) *call {
	r := *u.Request
	r.Region = u.Region
	c := s.newCall(&r, operation)
	c.via = u.Via
	c.keys["kms:viaservice"] = u.Via + "." + u.Region + ".amazonaws.com"
	c.keys["aws:viaawsservice"] = "true"
	return c
}

// DataKey is a data key as GenerateDataKey returns it.
type DataKey struct {
	KeyARN     string
	Plaintext  []byte // 32 bytes; the service that asked for it clears it
	Ciphertext []byte // wrapped under the KMS key
}

// GenerateDataKey makes a 256-bit data key under keyID (ID, ARN, alias name or
// alias ARN), records the event, and refuses as KMS does: NotFoundException,
// DisabledException, KMSInvalidStateException, AccessDeniedException. EC2 asks
// for the key without its plaintext, as the event then says, and gets none.
func (s *Service) GenerateDataKey(u Use, keyID string) (DataKey, *wire.Error) {
	if err := s.tick(u.Request.Now); err != nil {
		return DataKey{}, wire.AsError(err)
	}
	size, operation, parameters := 32, "GenerateDataKey", map[string]any{"keyId": keyID, "keySpec": "AES_256"}
	if u.Via == "ec2" {
		// An EBS volume's key is one for XTS: two keys of 256 bits.
		size, operation, parameters = 64, "GenerateDataKeyWithoutPlaintext", map[string]any{"keyId": keyID, "numberOfBytes": 64}
	}
	c := s.onBehalf(u, operation)
	if len(u.Context) > 0 {
		parameters["encryptionContext"] = u.Context
	}
	c.request = parameters
	k, err := c.newDataKey(keyID, size, u.Context)
	if u.Via == "ec2" {
		clear(k.Plaintext)
		k.Plaintext = nil
	}
	s.trail.RecordBeside(c.event(reads, nil, err))
	if err != nil {
		clear(k.Plaintext)
		return DataKey{}, wire.AsError(err)
	}
	return k.DataKey, nil
}

// DecryptDataKey unwraps a data key, records the event, and refuses as KMS
// does.
func (s *Service) DecryptDataKey(u Use, ciphertext []byte) ([]byte, *wire.Error) {
	if err := s.tick(u.Request.Now); err != nil {
		return nil, wire.AsError(err)
	}
	c := s.onBehalf(u, "Decrypt")
	parameters := map[string]any{"encryptionAlgorithm": symmetricDefault}
	if len(u.Context) > 0 {
		parameters["encryptionContext"] = u.Context
	}
	c.request = parameters
	opened, err := c.open("Decrypt", "", ciphertext, u.Context)
	s.trail.RecordBeside(c.event(reads, nil, err))
	if err != nil {
		clear(opened.plaintext)
		return nil, wire.AsError(err)
	}
	return opened.plaintext, nil
}

// EncryptDataKey wraps an existing data key under keyID, records the event, and
// refuses as KMS does.
func (s *Service) EncryptDataKey(u Use, keyID string, plaintext []byte) (DataKey, *wire.Error) {
	if err := s.tick(u.Request.Now); err != nil {
		return DataKey{}, wire.AsError(err)
	}
	c := s.onBehalf(u, "Encrypt")
	blob, k, err := c.encrypt(encryptInput{KeyId: keyID, Plaintext: plaintext, EncryptionContext: u.Context})
	s.trail.RecordBeside(c.event(reads, nil, err))
	if err != nil {
		return DataKey{}, wire.AsError(err)
	}
	return DataKey{k.arn(), plaintext, blob}, nil
}

// ReEncryptDataKey unwraps a data key that was wrapped in the encryption context
// from, wraps it under keyID in the context of u, records the one event of
// ReEncrypt, and refuses as KMS does.
func (s *Service) ReEncryptDataKey(u Use, ciphertext []byte, from map[string]string, keyID string) (DataKey, *wire.Error) {
	if err := s.tick(u.Request.Now); err != nil {
		return DataKey{}, wire.AsError(err)
	}
	c := s.onBehalf(u, "ReEncrypt")
	source, to, blob, err := c.reEncrypt(reEncryptInput{CiphertextBlob: ciphertext, SourceEncryptionContext: from,
		DestinationKeyId: keyID, DestinationEncryptionContext: u.Context})
	s.trail.RecordBeside(c.event(reads, nil, err))
	if err != nil {
		clear(source.plaintext)
		return DataKey{}, wire.AsError(err)
	}
	return DataKey{to.arn(), source.plaintext, blob}, nil
}

// ResolveKey returns the ARN and the state of the key that keyID names, without
// using it. AWS managed keys (alias/aws/s3, alias/aws/ebs) are made on first
// use: tx is nil, or one that may write.
func (s *Service) ResolveKey(tx *bolt.Tx, account, region, keyID string) (arn, state string, err *wire.Error) {
	c := &call{s: s, r: &wire.Request{Region: region, Now: s.now()}, account: account, tx: tx, keys: map[string]string{}, lists: map[string][]string{}}
	e := c.view(func(tx *bolt.Tx) error {
		k, e := c.find(tx, keyID, anyName)
		arn, state = k.arn(), k.State
		return e
	})
	switch {
	case errors.Is(e, errFirstUse): // the caller asks again, otherwise
		return "", "", wire.Errf(http.StatusInternalServerError, "InternalFailure", "%v", e)
	case e != nil:
		return "", "", wire.AsError(e)
	}
	return arn, state, nil
}
