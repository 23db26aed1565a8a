package localaws

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// Every operation, whatever it is sent, answers as AWS does, and the state
// stays sound.
func FuzzKMS(f *testing.F) {
	const key = "11111111-2222-3333-4444-555555555555"
	for operation := range kmsHandlers {
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
	s, err := Open(Options{Dir: f.TempDir()})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, s.Close()) })
	s.db.NoSync = true // nothing here is to outlive the process
	f.Fuzz(func(t *testing.T, operation, body string) {
		// One key, and nothing left of the input before.
		k, err := s.newKey("123456789012", "us-east-1", key, s.opts.Now())
		require.NoError(t, err)
		k.Policy = defaultKeyPolicy("123456789012")
		require.NoError(t, s.db.Update(func(tx *bolt.Tx) error {
			for _, b := range [][]byte{boltKMSKeys, boltKMSAliases} {
				require.NoError(t, tx.DeleteBucket(b))
				_, err := tx.CreateBucket(b)
				require.NoError(t, err)
			}
			require.NoError(t, save(tx, boltKMSAliases, storeKey("123456789012", "us-east-1", "alias/fuzz"), kmsAlias{Name: "alias/fuzz", KeyID: key}))
			return saveKey(tx, k)
		}))
		status, code, message := raw(s, "alice", operation, body)
		switch {
		case status == http.StatusOK:
			require.Empty(t, code)
		case kmsHandlers[operation] == nil:
			require.Equal(t, "NotImplemented", code)
		default:
			require.Equal(t, http.StatusBadRequest, status, message)
			require.Regexp(t, `^[A-Za-z]+Exception$`, code)
		}
		_, code, message = raw(s, "alice", "DescribeKey", `{"KeyId":"alias/fuzz"}`)
		require.Contains(t, []string{"", "NotFoundException"}, code, message)
	})
}
