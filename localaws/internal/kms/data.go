package kms

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// The use of keys. What goes into a blob and how it is sealed is in
// kms_crypto.go.

// Limits, in bytes.
// Sources: https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html
// and https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html
const (
	maxPlaintext  = 4096
	maxCiphertext = 6144
	maxContext    = 8192
	maxRandom     = 1024
)

var dryRun = kmsError("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")

// use returns the key that id names, ready for operation by the caller in
// this encryption context.
func (c *call) use(tx *bolt.Tx, operation, id string, context map[string]string) (keyRecord, error) {
	k, err := c.find(tx, id, anyName)
	if err != nil {
		return keyRecord{}, err
	}
	return k, c.mayUse(k, operation, context)
}

func (c *call) mayUse(k keyRecord, operation string, context map[string]string) error {
	size := 0
	for k, v := range context {
		size += len(k) + len(v)
	}
	if size > maxContext {
		return kmsError("ValidationException", "The encryption context has %d bytes; the limit is %d.", size, maxContext)
	}
	c.withContext(context)
	c.keys["kms:encryptionalgorithm"] = symmetricDefault
	if err := c.authorize(k, operation, context); err != nil {
		return err
	}
	return usable(k)
}

// algorithm refuses an encryption algorithm that the keys here do not have.
func algorithm(name string) error {
	switch name {
	case "", symmetricDefault:
		return nil
	case "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE":
		return kmsError("InvalidKeyUsageException", "Algorithm %s is incompatible with key spec %s.", name, symmetricDefault)
	}
	return invalid("encryptionAlgorithm", name, "satisfy enum value set: [SYMMETRIC_DEFAULT, RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, SM2PKE]")
}

// recipient is an enclave that an answer is to be encrypted for.
type recipient struct {
	KeyEncryptionAlgorithm string
	AttestationDocument    []byte
}

// noEnclave refuses a call that wants its answer encrypted for an enclave.
func noEnclave(r *recipient) error {
	if r != nil {
		return kmsError("UnsupportedOperationException", "localaws has no enclaves: leave out Recipient")
	}
	return nil
}

type encryptInput struct {
	KeyId               string
	Plaintext           []byte
	EncryptionContext   map[string]string
	EncryptionAlgorithm string
	GrantTokens         []string
	DryRun              bool `json:",omitempty"`
}

func encrypt(c *call, in encryptInput) (any, error) {
	defer clear(in.Plaintext)
	if err := errors.Join(algorithm(in.EncryptionAlgorithm), checkGrantTokens(in.GrantTokens)); err != nil {
		return nil, err
	}
	if err := checkLength("plaintext", len(in.Plaintext), maxPlaintext); err != nil {
		return nil, err
	}
	blob, k, err := c.encrypt(in)
	if err != nil {
		return nil, err
	}
	return struct {
		CiphertextBlob      []byte
		KeyId               string
		EncryptionAlgorithm string
	}{blob, k.arn(), symmetricDefault}, nil
}

// encrypt seals the plaintext of in under the key that in names.
func (c *call) encrypt(in encryptInput) (blob []byte, k keyRecord, err error) {
	in.EncryptionAlgorithm = symmetricDefault
	c.request = trailParameters(in)
	err = c.view(func(tx *bolt.Tx) (err error) {
		k, err = c.use(tx, "Encrypt", in.KeyId, in.EncryptionContext)
		return err
	})
	if err != nil {
		return nil, k, err
	}
	if in.DryRun {
		return nil, k, dryRun
	}
	c.material = k.Versions[len(k.Versions)-1].ID
	blob, err = c.s.seal(k, in.Plaintext, in.EncryptionContext)
	return blob, k, err
}

// opened is what a blob had in it.
type opened struct {
	key        keyRecord
	materialID string
	plaintext  []byte
}

// open decrypts a blob for operation. id is the key that it must be under;
// empty where the caller leaves that to the blob.
func (c *call) open(operation, id string, blob []byte, context map[string]string) (out opened, err error) {
	if err := checkLength("ciphertextBlob", len(blob), maxCiphertext); err != nil {
		return out, err
	}
	h, head, sealed, ok := readBlob(blob)
	if !ok {
		return out, kmsError("InvalidCiphertextException", "")
	}
	named := id != ""
	err = c.view(func(tx *bolt.Tx) error {
		if !named {
			id = keyARN(h.account, c.r.Region, h.keyID)
		}
		k, err := c.find(tx, id, anyName)
		if e := new(wire.Error); !named && errors.As(err, &e) && e.Code == "NotFoundException" {
			return kmsError("AccessDeniedException", "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.")
		}
		if err != nil {
			return err
		}
		if k.Account != h.account || k.ID != h.keyID {
			return kmsError("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
		}
		out.key = k
		return c.mayUse(k, operation, context)
	})
	if err != nil {
		return out, err
	}
	out.plaintext, ok, err = c.s.unseal(out.key, h, head, sealed, context)
	if err != nil {
		return out, err
	}
	if !ok {
		return out, kmsError("InvalidCiphertextException", "")
	}
	out.materialID = out.key.Versions[h.version].ID
	if operation == "Decrypt" {
		c.material = out.materialID
	}
	return out, nil
}

type decryptInput struct {
	CiphertextBlob      []byte
	EncryptionContext   map[string]string
	GrantTokens         []string
	KeyId               string
	EncryptionAlgorithm string
	Recipient           *recipient
	DryRun              bool `json:",omitempty"`
}

func decrypt(c *call, in decryptInput) (any, error) {
	if err := errors.Join(algorithm(in.EncryptionAlgorithm), checkGrantTokens(in.GrantTokens), noEnclave(in.Recipient)); err != nil {
		return nil, err
	}
	in.EncryptionAlgorithm = symmetricDefault
	c.request = trailParameters(in)
	o, err := c.open("Decrypt", in.KeyId, in.CiphertextBlob, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		clear(o.plaintext)
		return nil, dryRun
	}
	return struct {
		KeyId               string
		Plaintext           []byte
		EncryptionAlgorithm string
		KeyMaterialId       string
	}{o.key.arn(), o.plaintext, symmetricDefault, o.materialID}, nil
}

type reEncryptInput struct {
	CiphertextBlob                 []byte
	SourceEncryptionContext        map[string]string
	SourceKeyId                    string
	DestinationKeyId               string
	DestinationEncryptionContext   map[string]string
	SourceEncryptionAlgorithm      string
	DestinationEncryptionAlgorithm string
	GrantTokens                    []string
	DryRun                         bool `json:",omitempty"`
}

func reEncrypt(c *call, in reEncryptInput) (any, error) {
	if err := errors.Join(algorithm(in.SourceEncryptionAlgorithm), algorithm(in.DestinationEncryptionAlgorithm), checkGrantTokens(in.GrantTokens),
		required("destinationKeyId", in.DestinationKeyId)); err != nil {
		return nil, err
	}
	source, to, blob, err := c.reEncrypt(in)
	clear(source.plaintext)
	if err != nil {
		return nil, err
	}
	return struct {
		CiphertextBlob                 []byte
		SourceKeyId                    string
		KeyId                          string
		SourceEncryptionAlgorithm      string
		DestinationEncryptionAlgorithm string
		SourceKeyMaterialId            string
		DestinationKeyMaterialId       string
	}{blob, source.key.arn(), to.arn(), symmetricDefault, symmetricDefault, source.materialID, to.Versions[len(to.Versions)-1].ID}, nil
}

// reEncrypt opens the blob of in, and seals what it had in it under another key.
// The caller clears the plaintext, also after an error.
func (c *call) reEncrypt(in reEncryptInput) (source opened, to keyRecord, blob []byte, err error) {
	in.SourceEncryptionAlgorithm, in.DestinationEncryptionAlgorithm = symmetricDefault, symmetricDefault
	c.request = trailParameters(in)
	c.compareKeys(in)
	if source, err = c.open("ReEncryptFrom", in.SourceKeyId, in.CiphertextBlob, in.SourceEncryptionContext); err != nil {
		return source, to, nil, err
	}
	err = c.view(func(tx *bolt.Tx) (err error) {
		to, err = c.use(tx, "ReEncryptTo", in.DestinationKeyId, in.DestinationEncryptionContext)
		return err
	})
	if err != nil {
		return source, to, nil, err
	}
	if in.DryRun {
		return source, to, nil, dryRun
	}
	blob, err = c.s.seal(to, source.plaintext, in.DestinationEncryptionContext)
	return source, to, blob, err
}

// compareKeys lets the policies see whether the call encrypts again under the
// same key. Of a destination that does not exist the call itself tells.
func (c *call) compareKeys(in reEncryptInput) {
	h, _, _, ok := readBlob(in.CiphertextBlob)
	if !ok {
		return
	}
	probe := *c
	probe.keys, probe.lists, probe.keyARNs = map[string]string{}, map[string][]string{}, nil
	_ = probe.view(func(tx *bolt.Tx) error {
		to, err := probe.find(tx, in.DestinationKeyId, anyName)
		if err == nil {
			c.keys["kms:reencryptonsamekey"] = strconv.FormatBool(to.Account == h.account && to.ID == h.keyID)
		}
		return err
	})
}

type generateKeyInput struct {
	KeyId             string
	EncryptionContext map[string]string
	NumberOfBytes     *int
	KeySpec           string
	GrantTokens       []string
	Recipient         *recipient
	DryRun            bool `json:",omitempty"`
}

type generateKeyOutput struct {
	CiphertextBlob []byte
	Plaintext      []byte `json:",omitempty"`
	KeyId          string
	KeyMaterialId  string
}

func generateKey(c *call, in generateKeyInput) (any, error) {
	k, err := c.generate(in)
	if err != nil {
		return nil, err
	}
	return generateKeyOutput{k.Ciphertext, k.Plaintext, k.KeyARN, k.materialID}, nil
}

func generateKeyWithoutPlaintext(c *call, in generateKeyInput) (any, error) {
	k, err := c.generate(in)
	if err != nil {
		return nil, err
	}
	clear(k.Plaintext)
	return generateKeyOutput{k.Ciphertext, nil, k.KeyARN, k.materialID}, nil
}

func (c *call) generate(in generateKeyInput) (k newDataKey, err error) {
	if err := errors.Join(noEnclave(in.Recipient), checkGrantTokens(in.GrantTokens)); err != nil {
		return k, err
	}
	if (in.KeySpec == "") == (in.NumberOfBytes == nil) {
		return k, kmsError("ValidationException", "Please specify either number of bytes or key spec.")
	}
	size := 0
	switch in.KeySpec {
	case "AES_256":
		size = 32
	case "AES_128":
		size = 16
	case "":
		size = *in.NumberOfBytes
	default:
		return k, invalid("keySpec", in.KeySpec, "satisfy enum value set: [AES_256, AES_128]")
	}
	if err := checkNumberOfBytes(size); err != nil {
		return k, err
	}
	k, err = c.newDataKey(in.KeyId, size, in.EncryptionContext)
	if err == nil && in.DryRun {
		clear(k.Plaintext)
		return k, dryRun
	}
	return k, err
}

// newDataKey is a data key, and the material that it is wrapped with.
type newDataKey struct {
	DataKey
	materialID string
}

// newDataKey makes a data key of size bytes under the key that id names, for
// the call's own operation.
func (c *call) newDataKey(id string, size int, context map[string]string) (out newDataKey, err error) {
	var k keyRecord
	err = c.view(func(tx *bolt.Tx) (err error) {
		k, err = c.use(tx, c.operation, id, context)
		return err
	})
	if err != nil {
		return out, err
	}
	out.KeyARN, out.materialID = k.arn(), k.Versions[len(k.Versions)-1].ID
	c.material = out.materialID
	out.Plaintext = make([]byte, size)
	_, _ = rand.Read(out.Plaintext) // never fails: see crypto/rand.Read
	out.Ciphertext, err = c.s.seal(k, out.Plaintext, context)
	return out, err
}

type generateRandomInput struct {
	NumberOfBytes    *int
	CustomKeyStoreId string
	Recipient        *recipient
}

func generateRandom(c *call, in generateRandomInput) (any, error) {
	c.request = nil // as in AWS's own events
	if err := noEnclave(in.Recipient); err != nil {
		return nil, err
	}
	if in.CustomKeyStoreId != "" {
		return nil, kmsError("CustomKeyStoreNotFoundException", "Custom key store %s does not exist", in.CustomKeyStoreId)
	}
	if in.NumberOfBytes == nil {
		return nil, kmsError("ValidationException", "NumberOfBytes is required.")
	}
	if err := checkNumberOfBytes(*in.NumberOfBytes); err != nil {
		return nil, err
	}
	if err := c.authorizeOn("*", "GenerateRandom"); err != nil {
		return nil, err
	}
	b := make([]byte, *in.NumberOfBytes)
	_, _ = rand.Read(b) // never fails: see crypto/rand.Read
	return struct{ Plaintext []byte }{b}, nil
}

// checkNumberOfBytes refuses what no key or random string may have as its length.
// Recorded: localstack tests/aws/services/kms/test_kms.snapshot.json,
// test_generate_random_invalid_number_of_bytes.
func checkNumberOfBytes(n int) error {
	switch {
	case n < 1:
		return invalid("numberOfBytes", n, "have value greater than or equal to 1")
	case n > maxRandom:
		return invalid("numberOfBytes", n, fmt.Sprintf("have value less than or equal to %d", maxRandom))
	}
	return nil
}

// checkLength refuses a blob that is empty or too long; the message does not repeat
// it. Recorded for plaintext: localstack tests/aws/services/kms/test_kms.snapshot.json,
// test_plaintext_size_for_encrypt; moto tests/test_kms/test_kms_encrypt.py.
func checkLength(name string, length, most int) error {
	rule, limit := "greater than or equal to", 1
	if length > most {
		rule, limit = "less than or equal to", most
	} else if length >= 1 {
		return nil
	}
	return kmsError("ValidationException", "1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length %s %d", name, rule, limit)
}
