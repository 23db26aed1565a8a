package kms

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// The vault. Key material lies in the database wrapped with AES-256-GCM under
// a master key, which is a file of its own, readable by its owner alone, and
// bound to the key's place, so that no record can be used for another key.
// A reader of the database alone, for example a backup, has no key. One who can
// read the whole state directory has them all: there is no hardware here that
// keeps the master key, which is what real KMS is bought for.
const masterFile = "kms-master.key"

func (s *Service) openMaster() error {
	path := filepath.Join(s.dir, masterFile)
	master, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if master, err = s.makeMaster(path); err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("localaws: reading the KMS master key: %w", err)
	case len(master) != 32:
		return fmt.Errorf("localaws: %s is damaged: it has %d bytes, not 32; put back the one that belongs to this state, without which its keys are lost", path, len(master))
	}
	defer clear(master)
	if s.master, err = newGCM(master); err != nil {
		return err
	}
	return s.db.View(func(tx *bolt.Tx) error {
		return store.Each(tx, KeyBucket, "", func(_ string, k keyRecord) error {
			material, err := s.material(k, len(k.Versions)-1)
			clear(material)
			if err != nil {
				return fmt.Errorf("localaws: the KMS master key %s does not belong to this state: %w", path, err)
			}
			return nil
		})
	})
}

func (s *Service) makeMaster(path string) ([]byte, error) {
	err := s.db.View(func(tx *bolt.Tx) error {
		if k, _ := tx.Bucket(KeyBucket).Cursor().First(); k != nil {
			return fmt.Errorf("localaws: the KMS master key %s is missing, without which the keys in this state are lost: put it back, or choose another directory", path)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	master := newMaterial()
	// On disk before the first key is: O_SYNC, and a name that appears at once.
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_SYNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("localaws: making the KMS master key: %w", err)
	}
	_, err = f.Write(master)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		return nil, fmt.Errorf("localaws: making the KMS master key: %w", err)
	}
	return master, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// addVersion gives k a new current backing key.
func (s *Service) addVersion(k *keyRecord, id string, material []byte, kind string, now time.Time) error {
	if len(material) != 32 {
		return fmt.Errorf("localaws: key material of %d bytes", len(material))
	}
	place := fmt.Sprintf("%s/%d", k.storeKey(), len(k.Versions))
	wrapped := s.master.Seal(nil, nil, material, []byte(place))
	k.Versions = append(k.Versions, keyVersion{ID: id, Wrapped: wrapped, Made: now, Type: kind})
	return nil
}

// material unwraps a backing key. The caller clears it.
func (s *Service) material(k keyRecord, version int) ([]byte, error) {
	if version < 0 || version >= len(k.Versions) {
		return nil, fmt.Errorf("localaws: %s has no backing key %d", k.arn(), version)
	}
	place := fmt.Sprintf("%s/%d", k.storeKey(), version)
	material, err := s.master.Open(nil, nil, k.Versions[version].Wrapped, []byte(place))
	if err != nil {
		return nil, fmt.Errorf("localaws: the material of %s cannot be unwrapped: %w", k.arn(), err)
	}
	return material, nil
}

// A ciphertext blob is
//
//	format (1 byte) | account/key-id/version | 0 | salt (16) | sealed
//
// where everything before sealed, and the encryption context, is
// authenticated. It names no Region: a multi-Region key's other Regions can
// open it too. Each blob has an encryption key of its own, derived from the
// backing key and the salt, so that no number of calls wears one out.
type blobHeader struct {
	account string
	keyID   string
	version int
}

const (
	blobFormat = 1
	saltSize   = 16
)

// readBlob returns a blob's header, as it is and as it is written, and
// its sealed part.
func readBlob(blob []byte) (h blobHeader, head, sealed []byte, ok bool) {
	end := bytes.IndexByte(blob, 0)
	if end < 1 || blob[0] != blobFormat || len(blob) < end+1+saltSize {
		return h, nil, nil, false
	}
	part := strings.Split(string(blob[1:end]), "/")
	if len(part) != 3 || !wire.AccountID.MatchString(part[0]) || !keyIDPattern.MatchString(part[1]) {
		return h, nil, nil, false
	}
	version, err := strconv.Atoi(part[2])
	if err != nil || version < 0 {
		return h, nil, nil, false
	}
	end += 1 + saltSize
	return blobHeader{part[0], part[1], version}, blob[:end], blob[end:], true
}

// seal encrypts under the current backing key of k.
func (s *Service) seal(k keyRecord, plaintext []byte, context map[string]string) ([]byte, error) {
	version := len(k.Versions) - 1
	head := fmt.Appendf([]byte{blobFormat}, "%s/%s/%d\x00", k.Account, k.ID, version)
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails: see crypto/rand.Read
	head = append(head, salt...)
	gcm, err := s.blobCipher(k, version, salt)
	if err != nil {
		return nil, err
	}
	return gcm.Seal(head, nil, plaintext, authenticated(head, context)), nil
}

// unseal decrypts a blob of k. It answers false where the blob was changed, or
// the context is another one.
func (s *Service) unseal(k keyRecord, h blobHeader, head, sealed []byte, context map[string]string) (plaintext []byte, ok bool, err error) {
	if h.version >= len(k.Versions) {
		return nil, false, nil
	}
	gcm, err := s.blobCipher(k, h.version, head[len(head)-saltSize:])
	if err != nil {
		return nil, false, err
	}
	plaintext, err = gcm.Open(nil, nil, sealed, authenticated(head, context))
	return plaintext, err == nil, nil
}

func (s *Service) blobCipher(k keyRecord, version int, salt []byte) (cipher.AEAD, error) {
	material, err := s.material(k, version)
	if err != nil {
		return nil, err
	}
	defer clear(material)
	key, err := hkdf.Key(sha256.New, material, salt, "localaws kms blob", 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return newGCM(key)
}

// authenticated is what a blob is bound to: its header, and the encryption
// context in one unambiguous form, whatever order it was given in.
func authenticated(head []byte, context map[string]string) []byte {
	out := slices.Clone(head)
	for _, k := range slices.Sorted(maps.Keys(context)) {
		for _, part := range []string{k, context[k]} {
			out = fmt.Appendf(out, "%d:%s", len(part), part)
		}
	}
	return out
}
