package localaws

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
)

// KMS. Records are in kms_store.go, who may do what in kms_access.go, the
// cryptography in kms_crypto.go, and the operations in the file of their
// subject: kms_keys.go, kms_policies.go, kms_aliases.go, kms_rotation.go,
// kms_replicas.go, kms_grants.go, kms_data.go.

type kmsService struct {
	master cipher.AEAD // wraps the key material at rest
	// due is when a key is next to be erased or rotated, in nanoseconds since
	// 1970.
	due atomic.Int64
}

func (s *Server) openKMS() error {
	if err := s.openMaster(); err != nil {
		return err
	}
	return s.kmsTick(s.opts.Now())
}

// kmsHandlers are the operations that this KMS knows; the others answer
// NotImplemented.
var kmsHandlers = map[string]jsonHandler{
	"CreateKey":            kmsOperation(changes, createKey),
	"DescribeKey":          kmsOperation(reads, describeKey),
	"ListKeys":             kmsOperation(reads, listKeys),
	"UpdateKeyDescription": kmsOperation(changes, updateKeyDescription),
	"EnableKey":            kmsOperation(changes, enableKey),
	"DisableKey":           kmsOperation(changes, disableKey),
	"ScheduleKeyDeletion":  kmsOperation(changes, scheduleKeyDeletion),
	"CancelKeyDeletion":    kmsOperation(changes, cancelKeyDeletion),
	"TagResource":          kmsOperation(changes, tagResource),
	"UntagResource":        kmsOperation(changes, untagResource),
	"ListResourceTags":     kmsOperation(reads, listResourceTags),

	"GetKeyPolicy":    kmsOperation(reads, getKeyPolicy),
	"PutKeyPolicy":    kmsOperation(changes, putKeyPolicy),
	"ListKeyPolicies": kmsOperation(reads, listKeyPolicies),

	"CreateAlias": kmsOperation(changes, createAlias),
	"UpdateAlias": kmsOperation(changes, updateAlias),
	"DeleteAlias": kmsOperation(changes, deleteAlias),
	"ListAliases": kmsOperation(reads, listAliases),

	"EnableKeyRotation":    kmsOperation(changes, enableKeyRotation),
	"DisableKeyRotation":   kmsOperation(changes, disableKeyRotation),
	"GetKeyRotationStatus": kmsOperation(reads, getKeyRotationStatus),
	"ListKeyRotations":     kmsOperation(reads, listKeyRotations),
	"RotateKeyOnDemand":    kmsOperation(changes, rotateKeyOnDemand),

	"ReplicateKey":        kmsOperation(changes, replicateKey),
	"UpdatePrimaryRegion": kmsOperation(changes, updatePrimaryRegion),

	"CreateGrant": kmsOperation(changes, createGrant),
	"ListGrants":  kmsOperation(reads, listGrants),
	"RevokeGrant": kmsOperation(changes, revokeGrant),
	"RetireGrant": kmsOperation(changes, retireGrant),

	"Encrypt":                         kmsOperation(reads, encrypt),
	"Decrypt":                         kmsOperation(reads, decrypt),
	"ReEncrypt":                       kmsOperation(reads, reEncrypt),
	"GenerateDataKey":                 kmsOperation(reads, generateKey),
	"GenerateDataKeyWithoutPlaintext": kmsOperation(reads, generateKeyWithoutPlaintext),
	"GenerateRandom":                  kmsOperation(reads, generateRandom),
}

func serveKMS(r *request) { serveJSON(r, kmsHandlers) }

// What an operation does to the account, as its event says (readOnly). The use
// of a key changes nothing.
const (
	reads   = true
	changes = false
)

// kmsCall is one call to KMS while it is carried out.
type kmsCall struct {
	s         *Server
	r         *request // caller, Region and time
	operation string
	account   string // in which key ids and aliases are looked up: the caller's
	via       string // the service that calls for the caller; empty for a direct call

	// What the policies see, beside what the key says.
	keys  map[string]string
	lists map[string][]string

	// What the event will say.
	request   any
	keyARNs   []string
	aliasARNs []string
}

func newKMSCall(r *request, operation string) *kmsCall {
	return &kmsCall{
		s: r.s, r: r, operation: operation, account: r.who.Account,
		keys: r.conditionKeys(), lists: map[string][]string{},
	}
}

// kmsOperation makes a handler of f: it decodes the request, and records the
// event, also of a call that failed.
func kmsOperation[In any](readOnly bool, f func(*kmsCall, In) (any, error)) jsonHandler {
	return func(r *request, body []byte) (any, error) {
		in, err := decode[In](body)
		if err != nil {
			return nil, err
		}
		c := newKMSCall(r, r.operation)
		c.request = trailParameters(in)
		out, err := f(c, in)
		if e := c.record(readOnly, out, err); e != nil {
			return nil, e
		}
		return out, err
	}
}

// view reads from the state. f runs a second time, allowed to write, where it
// meets an AWS-managed key that nobody has used before.
func (c *kmsCall) view(f func(tx *bolt.Tx) error) error {
	if err := c.s.kmsTick(c.r.now); err != nil {
		return err
	}
	err := c.s.db.View(f)
	if errors.Is(err, errFirstUse) {
		err = c.s.db.Update(f)
	}
	return err
}

// update changes the state, wholly or, where f fails, not at all.
func (c *kmsCall) update(f func(tx *bolt.Tx) error) error {
	if err := c.s.kmsTick(c.r.now); err != nil {
		return err
	}
	return c.s.db.Update(f)
}

// kmsTick does what has come due by the clock: keys whose waiting period is
// over are erased, and material is rotated.
func (s *Server) kmsTick(now time.Time) error {
	if now.UnixNano() < s.kms.due.Load() {
		return nil
	}
	err := s.db.Update(func(tx *bolt.Tx) error { return s.sweepKeys(tx, now) })
	if err != nil {
		s.kms.due.Store(0) // what was due still is
	}
	return err
}

// dueAt notes, once tx is committed, that something comes due at t.
func (s *Server) dueAt(tx *bolt.Tx, t time.Time) {
	tx.OnCommit(func() {
		for {
			due := s.kms.due.Load()
			if due <= t.UnixNano() || s.kms.due.CompareAndSwap(due, t.UnixNano()) {
				return
			}
		}
	})
}

// nothingDue is a time that does not come.
const nothingDue = math.MaxInt64

// record tells the trail of the call.
func (c *kmsCall) record(readOnly bool, out any, err error) error {
	e := trailEvent{r: c.r, eventSource: "kms.amazonaws.com", eventName: c.operation, readOnly: readOnly, request: c.request}
	for _, arn := range c.aliasARNs {
		e.resources = append(e.resources, trailResource{arn, "AWS::KMS::Alias"})
	}
	for _, arn := range c.keyARNs {
		e.resources = append(e.resources, trailResource{arn, "AWS::KMS::Key"})
	}
	switch c.via {
	case "s3":
		e.invokedBy = "fas.s3.amazonaws.com"
	case "ec2":
		e.invokedBy = "AWS Internal"
	}
	switch {
	case err != nil:
		a := asAPIError(err)
		// CloudTrail shortens this one's name.
		e.errorCode, e.errorMessage = a.Code, a.Message
		if a.Code == "AccessDeniedException" {
			e.errorCode = "AccessDenied"
		}
	case !readOnly && out != nil:
		e.response = trailParameters(out)
	case !readOnly && len(c.keyARNs) > 0:
		e.response = map[string]string{"keyId": c.keyARNs[0]}
	}
	return c.s.record(e)
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

// trailValue answers false for what is left out.
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
func kmsError(code, format string, args ...any) *apiError {
	return errf(http.StatusBadRequest, code, format, args...)
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
func invalid(name string, value any, rule string) *apiError {
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

// kmsUse is one use of a key by a caller, through a service.
type kmsUse struct {
	who     identity
	region  string
	account string            // the account in which key ids and aliases are looked up: the caller's
	via     string            // "s3" or "ec2", the service that calls for the caller
	context map[string]string // the encryption context
	r       *request          // for request id, source address and user agent
}

// call makes the call that the service makes for its caller.
func (u kmsUse) call(operation string) *kmsCall {
	r := *u.r
	r.who, r.region = u.who, u.region
	c := newKMSCall(&r, operation)
	c.account, c.via = u.account, u.via
	if c.via != "" {
		c.keys["kms:viaservice"] = u.via + "." + u.region + ".amazonaws.com"
		c.keys["aws:viaawsservice"] = "true"
	}
	return c
}

// dataKey is what GenerateDataKey answers.
type dataKey struct {
	KeyARN     string
	Plaintext  []byte // 32 bytes; whoever asked for it wipes it
	Ciphertext []byte // wrapped under the KMS key
}

// generateDataKey makes a 256-bit data key under keyID (id, ARN, alias name or
// alias ARN), records the event, and refuses as KMS does: NotFoundException,
// DisabledException, KMSInvalidStateException, AccessDeniedException. EC2 asks
// for the key without its plaintext, as the event then says, and gets none.
func (s *Server) generateDataKey(u kmsUse, keyID string) (dataKey, *apiError) {
	size, operation, parameters := 32, "GenerateDataKey", map[string]any{"keyId": keyID, "keySpec": "AES_256"}
	if u.via == "ec2" {
		// An EBS volume's key is one for XTS: two keys of 256 bits.
		size, operation, parameters = 64, "GenerateDataKeyWithoutPlaintext", map[string]any{"keyId": keyID, "numberOfBytes": 64}
	}
	c := u.call(operation)
	if len(u.context) > 0 {
		parameters["encryptionContext"] = u.context
	}
	c.request = parameters
	k, err := c.newDataKey(keyID, size, u.context)
	if u.via == "ec2" {
		clear(k.Plaintext)
		k.Plaintext = nil
	}
	if e := c.record(reads, nil, err); e != nil && err == nil {
		err = e
	}
	if err != nil {
		clear(k.Plaintext)
		return dataKey{}, asAPIError(err)
	}
	return k.dataKey, nil
}

// decryptDataKey unwraps a data key, records the event, and refuses as KMS
// does.
func (s *Server) decryptDataKey(u kmsUse, ciphertext []byte) ([]byte, *apiError) {
	c := u.call("Decrypt")
	parameters := map[string]any{"encryptionAlgorithm": symmetricDefault}
	if len(u.context) > 0 {
		parameters["encryptionContext"] = u.context
	}
	c.request = parameters
	opened, err := c.open("Decrypt", "", ciphertext, u.context)
	if e := c.record(reads, nil, err); e != nil && err == nil {
		err = e
	}
	if err != nil {
		clear(opened.plaintext)
		return nil, asAPIError(err)
	}
	return opened.plaintext, nil
}

// resolveKey answers with the ARN and the state of the key that keyID names,
// without using it. AWS-managed keys (alias/aws/s3, alias/aws/ebs) are made
// on first use: tx is nil, or one that may write.
func (s *Server) resolveKey(tx *bolt.Tx, account, region, keyID string) (arn, state string, err *apiError) {
	c := &kmsCall{s: s, r: &request{s: s, region: region, now: s.opts.Now()}, account: account, keys: map[string]string{}}
	find := func(tx *bolt.Tx) error {
		k, e := c.find(tx, keyID, anyName)
		arn, state = k.arn(), k.State
		return e
	}
	var e error
	if tx == nil {
		e = c.view(find)
	} else {
		e = find(tx)
	}
	if e != nil {
		return "", "", asAPIError(e)
	}
	return arn, state, nil
}
