package kms

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Every operation, whatever it is sent, answers as AWS does, and the state
// stays sound.
func FuzzKMS(f *testing.F) {
	const key = "11111111-2222-3333-4444-555555555555"
	for operation := range (&Service{}).operations() {
		f.Add(operation, `{}`)
		f.Add(operation, `{"KeyId":"alias/fuzz"}`)
	}
	for operation, body := range map[string]string{
		"CreateKey":            `{"Policy":"{}","MultiRegion":true,"Tags":[{"TagKey":"a","TagValue":"b"}],"Description":"d"}`,
		"CreateAlias":          `{"AliasName":"alias/x","TargetKeyId":"` + key + `"}`,
		"Decrypt":              `{"CiphertextBlob":"ATEyMzQ1Njc4OTAxMi8xMTExMTExMS0yMjIyLTMzMzMtNDQ0NC01NTU1NTU1NTU1NTUvMABoZWxsbywgaSBhbSBzYWx0LCBzZWFsZWQgYW5kIGRvbmUsIHRydWx5","KeyId":"alias/fuzz"}`,
		"ReEncrypt":            `{"CiphertextBlob":"AQ==","DestinationKeyId":"alias/fuzz"}`,
		"Encrypt":              `{"KeyId":"alias/fuzz","Plaintext":"AAAA","EncryptionContext":{"a":"b"}}`,
		"GenerateDataKey":      `{"KeyId":"alias/aws/s3","NumberOfBytes":-1}`,
		"PutKeyPolicy":         `{"KeyId":"arn:aws:kms:us-east-1:123456789012:key/` + key + `","Policy":"{\"Statement\":[]}"}`,
		"CreateGrant":          `{"KeyId":"` + key + `","GranteePrincipal":"ec2.amazonaws.com","Operations":["Decrypt"],"Constraints":{"EncryptionContextEquals":{}}}`,
		"RetireGrant":          `{"GrantToken":"YSBi"}`,
		"ListKeys":             `{"Limit":1,"Marker":"YQ"}`,
		"ListKeyRotations":     `{"KeyId":"` + key + `","IncludeKeyMaterial":"ALL_KEY_MATERIAL"}`,
		"EnableKeyRotation":    `{"KeyId":"` + key + `","RotationPeriodInDays":1e9}`,
		"ScheduleKeyDeletion":  `{"KeyId":"` + key + `","PendingWindowInDays":7}`,
		"ReplicateKey":         `{"KeyId":"mrk-` + strings.Repeat("0", 32) + `","ReplicaRegion":"eu-west-1"}`,
		"UpdatePrimaryRegion":  `{"KeyId":"` + key + `","PrimaryRegion":"../../.."}`,
		"TagResource":          `{"KeyId":"` + key + `","Tags":[null,{}]}`,
		"UpdateKeyDescription": `{"KeyId":null,"Description":"\u0000\ud800"}`,
	} {
		f.Add(operation, body)
	}
	db, err := store.Open(filepath.Join(f.TempDir(), "db"), append(trail.Buckets(), KeyBucket, AliasBucket, policy.Bucket)...)
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, db.Close()) })
	db.NoSync = true // nothing here is to outlive the process
	identities, err := policy.OpenIdentities(db)
	require.NoError(f, err)
	events, err := trail.Open(db, identities, trail.Options{Rate: 1, Now: time.Now})
	require.NoError(f, err)
	s, err := Open(db, identities, events, f.TempDir(), time.Now)
	require.NoError(f, err)
	do := func(operation, body string) (status int, code, message string) {
		w := httptest.NewRecorder()
		h := httptest.NewRequest(http.MethodPost, "http://localhost/", strings.NewReader(body))
		s.Serve(&wire.Request{W: &wire.Writer{ResponseWriter: w}, HTTP: h, ID: wire.NewUUID(), Service: "kms", Region: "us-east-1",
			Operation: operation, Who: wire.IdentityOf("alice"), Signed: true, Secure: true, Now: time.Now()})
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		_ = json.Unmarshal(w.Body.Bytes(), &e) // a response without a body has no error
		return w.Code, e.Type, e.Message
	}
	f.Fuzz(func(t *testing.T, operation, body string) {
		// One key, and nothing left of the input before.
		k, err := s.newKey("123456789012", "us-east-1", key, time.Now())
		require.NoError(t, err)
		k.Policy = defaultKeyPolicy("123456789012")
		require.NoError(t, db.Update(func(tx *bolt.Tx) error {
			for _, b := range [][]byte{KeyBucket, AliasBucket} {
				require.NoError(t, tx.DeleteBucket(b))
				_, err := tx.CreateBucket(b)
				require.NoError(t, err)
			}
			require.NoError(t, store.Save(tx, AliasBucket, store.Key("123456789012", "us-east-1", "alias/fuzz"), aliasRecord{Name: "alias/fuzz", KeyID: key}))
			return saveKey(tx, k)
		}))
		status, code, message := do(operation, body)
		switch {
		case status == http.StatusOK:
			require.Empty(t, code)
		case s.Handlers[operation] == nil, code == "NotImplemented":
			require.Equal(t, http.StatusNotImplemented, status, message)
		default:
			require.Equal(t, http.StatusBadRequest, status, message)
			require.Regexp(t, `^[A-Za-z]+Exception$`, code)
		}
		_, code, message = do("DescribeKey", `{"KeyId":"alias/fuzz"}`)
		require.Contains(t, []string{"", "NotFoundException"}, code, message)
	})
}
