package s3

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// An object lies in a file of its own: one line of JSON, the [EnvelopeHeader],
// and then the ciphertext. The data key that encrypts it is in the header, but
// wrapped: only KMS (or, for SSE-S3, S3's own key) can unwrap it. So a reader that
// has the file and not the key has nothing.
//
// The plaintext is cut into chunks of 64 KiB, each sealed by AES-256-GCM with
// its number and whether it is the last in the nonce, and the header line as
// authenticated data: a chunk that is missing, moved or from another file is
// found, and so is a header that was changed. The key of a file is
// derived from the data key with the file's own salt, so that the parts of an
// upload, and objects that share an S3 Bucket Key, may share a data key.
//
// The file of an object that was uploaded in parts under a customer's key is several
// such files, one after the other: one for each part.
const (
	sealFormat    = "localaws-object-1"
	sealChunk     = 64 << 10
	sealTag       = 16
	maxSealHeader = 64 << 10
)

// errDamaged is in the chain of every error that says that a file is not what
// was written.
var errDamaged = errors.New("the stored object is damaged")

// EnvelopeHeader is the first line of an object's file.
type EnvelopeHeader struct {
	Format string `json:"format"` // "localaws-object-1"
	// Algorithm is the server-side encryption: "AES256" (SSE-S3), "aws:kms" or
	// "SSE-C".
	Algorithm string `json:"algorithm"`
	// KMSKeyARN is the key under which WrappedKey is wrapped; empty for the others.
	KMSKeyARN string `json:"kmsKeyArn,omitempty"`
	// BucketKey says that WrappedKey is the bucket-level key of an S3 Bucket
	// Key, which many objects share.
	BucketKey bool `json:"bucketKey,omitempty"`
	// WrappedKey is the data key, encrypted; base64 in JSON. With SSE-C there is
	// none: the customer's key takes its place, and nothing of it is stored but a
	// salted HMAC, to tell it from a wrong one.
	WrappedKey      []byte `json:"wrappedDataKey,omitempty"`
	CustomerKeySalt []byte `json:"customerKeySalt,omitempty"`
	CustomerKeyHMAC []byte `json:"customerKeyHmac,omitempty"`
	// Part is the number of the part that follows, of an upload under SSE-C.
	Part int `json:"part,omitempty"`
	// EncryptionContext was given when the data key was wrapped and must be
	// given to unwrap it.
	EncryptionContext map[string]string `json:"encryptionContext"`
	Cipher            string            `json:"cipher"`        // "AES-256-GCM"
	KeyDerivation     string            `json:"keyDerivation"` // "HKDF-SHA-256"
	Salt              []byte            `json:"salt"`          // of the derivation; base64 in JSON
	ChunkSize         int               `json:"chunkSize"`     // bytes of plaintext in each chunk but the last
}

// objectKey is a data key in use: what is written of it, and what is not.
type objectKey struct {
	header    EnvelopeHeader
	plaintext []byte
}

// wipe forgets the plaintext once it has been used. The bucket-level key of an
// S3 Bucket Key has other users yet.
func (k objectKey) wipe() {
	if !k.header.BucketKey {
		clear(k.plaintext)
	}
}

// aead makes the cipher of one file.
func (k objectKey) aead(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, k.plaintext, salt, sealFormat, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	clear(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// sealNonce is the nonce of one chunk: eleven bytes of number, and 1 for the
// last chunk. No two files share a key, so no two chunks share key and nonce.
func sealNonce(chunk int64, last bool) []byte {
	n := make([]byte, 12)
	binary.BigEndian.PutUint64(n[3:], uint64(chunk)) // never negative
	if last {
		n[11] = 1
	}
	return n
}

var sealBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, sealChunk+sealTag)
	return &b
}}

// sealer writes one file.
type sealer struct {
	file   *os.File
	id     string
	aead   cipher.AEAD
	header []byte // the first line, without its end
	out    []byte // not yet written
	buf    *[]byte
	chunk  int64
	disk   *disk
}

// newSealer makes a file for an object encrypted under k. Its name is an ID of
// ours: what a client calls its object never reaches the file system.
//
// A power failure loses no acknowledged object: the file and its name are on disk
// before the record that names them is committed (see [sealer.close]), and the
// file of an overwritten object is removed after that.
func (s *Service) newSealer(k objectKey) (*sealer, error) {
	id := make([]byte, 16)
	salt := make([]byte, 32)
	_, _ = rand.Read(id) // never fails: see crypto/rand.Read
	_, _ = rand.Read(salt)
	h := k.header
	h.Format, h.Cipher, h.KeyDerivation, h.Salt, h.ChunkSize = sealFormat, "AES-256-GCM", "HKDF-SHA-256", salt, sealChunk
	line, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	aead, err := k.aead(salt)
	if err != nil {
		return nil, err
	}
	w := &sealer{id: hex.EncodeToString(id), aead: aead, header: line, disk: &s.disk}
	if w.file, err = os.OpenFile(s.path(w.id), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	w.out = append(w.out, line...)
	w.out = append(w.out, '\n')
	buf, ok := sealBuffers.Get().(*[]byte)
	if !ok {
		return nil, errors.New("localaws: no buffer") // cannot be: the pool holds nothing else
	}
	w.buf = buf
	*w.buf = (*w.buf)[:0]
	return w, nil
}

func (s *Service) path(id string) string { return filepath.Join(s.dir, id) }

// Write encrypts p. Nothing of it is sure to be in the file before close.
func (w *sealer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if len(*w.buf) == sealChunk { // only now is it sure that it is not the last
			if err := w.flush(false); err != nil {
				return 0, err
			}
		}
		take := min(len(p), sealChunk-len(*w.buf))
		*w.buf = append(*w.buf, p[:take]...)
		p = p[take:]
	}
	return n, nil
}

func (w *sealer) flush(last bool) error {
	w.out = w.aead.Seal(w.out, sealNonce(w.chunk, last), *w.buf, w.header)
	w.chunk++
	*w.buf = (*w.buf)[:0]
	_, err := w.file.Write(w.out)
	w.out = w.out[:0]
	return err
}

// close writes the last chunk, and returns once the file and its name are on disk.
func (w *sealer) close() error {
	err := w.flush(true)
	w.release()
	if err == nil {
		err = w.disk.persist(w.file)
	}
	return errors.Join(err, w.file.Close())
}

// abandon removes the file.
func (w *sealer) abandon() {
	w.release()
	_ = w.file.Close()
	_ = os.Remove(w.file.Name()) // else the next start sweeps it
}

func (w *sealer) release() {
	clear((*w.buf)[:cap(*w.buf)])
	sealBuffers.Put(w.buf)
	w.buf = nil
}

// sealedFile is an object's file, opened for reading.
type sealedFile struct {
	file   *os.File
	start  int64 // where in the file it begins: not at 0 if it is a part
	header EnvelopeHeader
	line   []byte // the first line, without its end
	size   int64  // of the file, or of the part in it
}

// openSealed reads the header. A file that is not there is os.ErrNotExist.
func (s *Service) openSealed(id string) (*sealedFile, error) {
	f, err := os.Open(s.path(id))
	if err != nil {
		return nil, err
	}
	o := &sealedFile{file: f}
	if err := o.readHeader(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s: %w", errDamaged, id, err), f.Close())
	}
	return o, nil
}

func (o *sealedFile) readHeader() error {
	info, err := o.file.Stat()
	if err != nil {
		return err
	}
	o.size = info.Size()
	line, err := bufio.NewReaderSize(io.NewSectionReader(o.file, o.start, maxSealHeader), 1024).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("no header line: %w", err)
	}
	o.line = bytes.TrimSuffix(line, []byte("\n"))
	if err := json.Unmarshal(o.line, &o.header); err != nil {
		return fmt.Errorf("no header: %w", err)
	}
	if o.header.Format != sealFormat || o.header.ChunkSize != sealChunk {
		return fmt.Errorf("unknown format %q with chunks of %d bytes", o.header.Format, o.header.ChunkSize)
	}
	return nil
}

// plainSize is how many bytes the object has.
func (o *sealedFile) plainSize() int64 {
	cipherSize := o.size - int64(len(o.line)) - 1
	chunks := max((cipherSize+sealChunk+sealTag-1)/(sealChunk+sealTag), 1)
	return cipherSize - chunks*sealTag
}

// lastChunk is the number of the last chunk.
func (o *sealedFile) lastChunk() int64 { return max(o.plainSize()-1, 0) / sealChunk }

// parts finds the parts, of the given sizes, that the file is made of. A file that is not
// of parts is itself the only one.
func (o *sealedFile) parts(sizes []s3PartSize) ([]*sealedFile, error) {
	if o.header.Part == 0 {
		return []*sealedFile{o}, nil
	}
	parts := make([]*sealedFile, len(sizes))
	at := int64(0)
	for i, s := range sizes {
		p := &sealedFile{file: o.file, start: at}
		if err := p.readHeader(); err != nil {
			return nil, fmt.Errorf("%w: part %d: %w", errDamaged, s.Number, err)
		}
		// The salt is that of the upload.
		if p.header.Part != s.Number || !bytes.Equal(p.header.CustomerKeySalt, o.header.CustomerKeySalt) {
			return nil, fmt.Errorf("%w: part %d is not in its place", errDamaged, s.Number)
		}
		chunks := max((s.Size+sealChunk-1)/sealChunk, 1)
		p.size = int64(len(p.line)) + 1 + s.Size + chunks*sealTag
		at += p.size
		parts[i] = p
	}
	if at != o.size {
		return nil, fmt.Errorf("%w: its parts have %d bytes, not %d", errDamaged, at, o.size)
	}
	return parts, nil
}

// reader returns length bytes of the object, from offset on; sizes are those of its parts.
// It has decrypted the first chunk when it returns, so that a wrong key or a damaged
// file is found before anything was answered. Closing it closes the file.
func (o *sealedFile) reader(k objectKey, sizes []s3PartSize, offset, length int64) (io.ReadCloser, error) {
	parts, err := o.parts(sizes)
	if err != nil {
		return nil, err
	}
	size := int64(0)
	for _, p := range parts {
		size += p.plainSize()
	}
	if size < 0 || offset < 0 || length < 0 || offset+length > size {
		return nil, fmt.Errorf("%w: it has %d bytes, not %d", errDamaged, size, offset+length)
	}
	for len(parts) > 1 && offset >= parts[0].plainSize() {
		offset -= parts[0].plainSize()
		parts = parts[1:]
	}
	r := &sealedReader{file: o.file, chunk: offset / sealChunk, left: length}
	for end := offset + length; len(r.parts) == 0 || end > 0; parts = parts[1:] {
		aead, err := k.aead(parts[0].header.Salt)
		if err != nil {
			return nil, err
		}
		r.parts = append(r.parts, openedPart{parts[0], aead})
		end -= parts[0].plainSize()
	}
	buf, ok := sealBuffers.Get().(*[]byte)
	if !ok {
		return nil, errors.New("localaws: no buffer") // cannot be: the pool holds nothing else
	}
	r.buf = buf
	if err := r.next(); err != nil {
		r.release()
		return nil, err
	}
	r.plain = r.plain[offset-(offset/sealChunk)*sealChunk:]
	return r, nil
}

// openedPart is a part, or a file that is not of parts, with its cipher.
type openedPart struct {
	*sealedFile
	aead cipher.AEAD
}

type sealedReader struct {
	file  *os.File
	parts []openedPart // the first is being read
	buf   *[]byte
	plain []byte // decrypted and not yet read; in buf
	chunk int64  // the next one, of the first part
	left  int64
}

func (r *sealedReader) next() error {
	if len(r.parts) > 1 && r.chunk > r.parts[0].lastChunk() {
		r.parts, r.chunk = r.parts[1:], 0
	}
	p := r.parts[0]
	at := int64(len(p.line)) + 1 + r.chunk*(sealChunk+sealTag)
	n := min(sealChunk+sealTag, p.size-at)
	if n < sealTag {
		return fmt.Errorf("%w: chunk %d is missing", errDamaged, r.chunk)
	}
	b := (*r.buf)[:n]
	if _, err := r.file.ReadAt(b, p.start+at); err != nil {
		return fmt.Errorf("%w: reading chunk %d: %w", errDamaged, r.chunk, err)
	}
	plain, err := p.aead.Open(b[:0], sealNonce(r.chunk, r.chunk == p.lastChunk()), b, p.line)
	if err != nil {
		return fmt.Errorf("%w: chunk %d: %w", errDamaged, r.chunk, err)
	}
	r.plain = plain
	r.chunk++
	return nil
}

func (r *sealedReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if len(r.plain) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.plain[:min(int64(len(r.plain)), r.left)])
	r.plain = r.plain[n:]
	r.left -= int64(n)
	return n, nil
}

func (r *sealedReader) release() {
	if r.buf == nil {
		return
	}
	clear((*r.buf)[:cap(*r.buf)])
	sealBuffers.Put(r.buf)
	r.buf, r.plain, r.left = nil, nil, 0
}

func (r *sealedReader) Close() error {
	r.release()
	return r.file.Close()
}

// Envelope is what lies on disk of one object: everything that a thief of the
// disk would have.
type Envelope struct {
	Path       string         // the object's file
	Header     EnvelopeHeader // its first line
	Ciphertext []byte         // the first bytes of what follows: 64 at most
}

// Envelope shows the file of the current version of an object. It asks no
// policy and calls no key: it decrypts nothing.
func (s *Service) Envelope(bucket, key string) (Envelope, error) {
	var o objectRecord
	err := s.db.View(func(tx *bolt.Tx) error {
		var err error
		o, err = findVersion(tx, bucket, key, "")
		return err
	})
	if err != nil {
		return Envelope{}, fmt.Errorf("localaws: object %s/%s: %w", bucket, key, err)
	}
	if o.DeleteMarker {
		return Envelope{}, fmt.Errorf("localaws: object %s/%s: %w", bucket, key, errNoSuchKey(key))
	}
	f, err := s.openSealed(o.File)
	if err != nil {
		return Envelope{}, fmt.Errorf("localaws: object %s/%s: %w", bucket, key, err)
	}
	defer func() { _ = f.file.Close() }() // opened for reading
	first := make([]byte, 64)
	n, err := f.file.ReadAt(first, int64(len(f.line))+1)
	if err != nil && !errors.Is(err, io.EOF) {
		return Envelope{}, fmt.Errorf("localaws: object %s/%s: %w", bucket, key, err)
	}
	return Envelope{Path: f.file.Name(), Header: f.header, Ciphertext: first[:n]}, nil
}
