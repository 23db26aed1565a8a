package localaws

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	awskms "github.com/securethecloud/kms-baseline/localaws/internal/kms"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

func TestKMS_EncryptionContextIsAuthenticated(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	k := made(t, c)
	blob := encrypted(t, c, *k.KeyId, "secret", map[string]string{"a": "b", "c": "d"})
	requireDecrypts(t, c, blob, map[string]string{"c": "d", "a": "b"}, "secret")
	for name, context := range map[string]map[string]string{
		"none":              nil,
		"part":              {"a": "b"},
		"more":              {"a": "b", "c": "d", "e": "f"},
		"another value":     {"a": "b", "c": "D"},
		"swapped":           {"a": "d", "c": "b"},
		"joined otherwise":  {"a": "bc", "": "d"},
		"in one":            {"abcd": ""},
		"key in other case": {"A": "b", "c": "d"},
	} {
		_, err := c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: context})
		requireCode(t, err, "InvalidCiphertextException")
		require.Error(t, err, name)
	}
}

// No byte of a blob can be changed, added or taken away.
func TestKMS_CiphertextIsAuthenticated(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	k := made(t, c)
	blob := encrypted(t, c, *k.KeyId, "secret", nil)
	_, err := c.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: k.KeyId})
	require.NoError(t, err, "so that there is a second version that a changed blob could name")
	changed := [][]byte{blob[:len(blob)-1], append(bytes.Clone(blob), 0)}
	for i := range blob {
		b := bytes.Clone(blob)
		b[i] ^= 1
		changed = append(changed, b)
	}
	for i, b := range changed {
		status, code, message := raw(s, "alice", "Decrypt", `{"CiphertextBlob":"`+base64.StdEncoding.EncodeToString(b)+`"}`)
		require.Equal(t, 400, status, "%d: %s %s", i, code, message)
		require.Contains(t, []string{"InvalidCiphertextException", "AccessDeniedException"}, code, "%d: %s", i, message)
	}
	requireDecrypts(t, c, blob, nil, "secret")
}

func TestKMS_Decrypt_NamedKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	k, other := made(t, c), made(t, c)
	_, err := c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/k"), TargetKeyId: k.KeyId})
	require.NoError(t, err)
	blob := encrypted(t, c, *k.KeyId, "secret", nil)
	for _, id := range []string{*k.KeyId, *k.Arn, "alias/k"} {
		out, err := c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob, KeyId: &id})
		require.NoError(t, err)
		require.Equal(t, *k.Arn, *out.KeyId)
		require.Equal(t, *k.CurrentKeyMaterialId, *out.KeyMaterialId)
		require.Equal(t, types.EncryptionAlgorithmSpecSymmetricDefault, out.EncryptionAlgorithm)
	}
	_, err = c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob, KeyId: other.KeyId})
	requireCode(t, err, "IncorrectKeyException")
	_, err = kmsClient(t, s, "alice", inRegion("eu-west-1")).Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob})
	requireCode(t, err, "AccessDeniedException")
}

func TestKMS_DataKeys(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	k := made(t, c)
	context := map[string]string{"purpose": "test"}
	seen := map[string]bool{}
	for _, in := range []kms.GenerateDataKeyInput{
		{KeySpec: types.DataKeySpecAes256}, {KeySpec: types.DataKeySpecAes256}, {KeySpec: types.DataKeySpecAes128}, {NumberOfBytes: aws.Int32(1024)},
	} {
		in.KeyId, in.EncryptionContext = k.KeyId, context
		out, err := c.GenerateDataKey(t.Context(), &in)
		require.NoError(t, err)
		size := map[types.DataKeySpec]int{types.DataKeySpecAes256: 32, types.DataKeySpecAes128: 16, "": 1024}[in.KeySpec]
		require.Len(t, out.Plaintext, size)
		require.False(t, seen[string(out.Plaintext)])
		seen[string(out.Plaintext)] = true
		require.Equal(t, *k.Arn, *out.KeyId)
		require.False(t, bytes.Contains(out.CiphertextBlob, out.Plaintext))
		requireDecrypts(t, c, out.CiphertextBlob, context, string(out.Plaintext))
	}
	out, err := c.GenerateDataKeyWithoutPlaintext(t.Context(), &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: k.KeyId, KeySpec: types.DataKeySpecAes256})
	require.NoError(t, err)
	opened, err := c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: out.CiphertextBlob})
	require.NoError(t, err)
	require.Len(t, opened.Plaintext, 32)

	random, err := c.GenerateRandom(t.Context(), &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(24)})
	require.NoError(t, err)
	require.Len(t, random.Plaintext, 24)
}

func TestKMS_ReEncrypt(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	from, to := made(t, c), made(t, c)
	a, b := map[string]string{"a": "1"}, map[string]string{"b": "2"}
	blob := encrypted(t, c, *from.KeyId, "secret", a)
	out, err := c.ReEncrypt(t.Context(), &kms.ReEncryptInput{
		CiphertextBlob: blob, SourceEncryptionContext: a, DestinationKeyId: to.KeyId, DestinationEncryptionContext: b,
	})
	require.NoError(t, err)
	require.Equal(t, *from.Arn, *out.SourceKeyId)
	require.Equal(t, *to.Arn, *out.KeyId)
	requireDecrypts(t, c, out.CiphertextBlob, b, "secret")
	_, err = c.ReEncrypt(t.Context(), &kms.ReEncryptInput{CiphertextBlob: blob, SourceEncryptionContext: b, DestinationKeyId: to.KeyId})
	requireCode(t, err, "InvalidCiphertextException")
	_, err = c.ReEncrypt(t.Context(), &kms.ReEncryptInput{CiphertextBlob: blob, SourceEncryptionContext: a, SourceKeyId: to.KeyId, DestinationKeyId: to.KeyId})
	requireCode(t, err, "IncorrectKeyException")
}

// The database alone does not have the key material.
func TestKMS_MaterialAtRestIsWrapped(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	k := made(t, c)
	var record struct{ Versions []struct{ Wrapped []byte } }
	err := s.db.View(func(tx *bolt.Tx) error {
		return json.Unmarshal(tx.Bucket(awskms.KeyBucket).Get([]byte("123456789012/us-east-1/"+*k.KeyId)), &record)
	})
	require.NoError(t, err)
	master, err := os.ReadFile(filepath.Join(s.opts.Dir, "kms-master.key"))
	require.NoError(t, err)
	material := unwrapped(t, master, record.Versions[0].Wrapped, "123456789012/us-east-1/"+*k.KeyId+"/0")
	// A record that is moved to another key's place is of no use there.
	block, err := aes.NewCipher(master)
	require.NoError(t, err)
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	require.NoError(t, err)
	_, err = gcm.Open(nil, nil, record.Versions[0].Wrapped, []byte("123456789012/us-east-1/11111111-2222-3333-4444-555555555555/0"))
	require.Error(t, err)
	require.NoError(t, s.Close())
	require.Len(t, material, 32)
	db, err := os.ReadFile(filepath.Join(s.opts.Dir, "localaws.db"))
	require.NoError(t, err)
	require.Contains(t, string(db), *k.KeyId)
	for _, form := range []string{string(material), base64.StdEncoding.EncodeToString(material)} {
		require.NotContains(t, string(db), form)
	}
}

// unwrapped decrypts key material as only the holder of the master key can.
func unwrapped(t *testing.T, master, wrapped []byte, place string) []byte {
	t.Helper()
	block, err := aes.NewCipher(master)
	require.NoError(t, err)
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	require.NoError(t, err)
	material, err := gcm.Open(nil, nil, wrapped, []byte(place))
	require.NoError(t, err)
	return material
}
