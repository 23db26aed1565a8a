package logfiles

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// digest is a digest file. Its fields have CloudTrail's names.
type digest struct {
	AWSAccountID               string    `json:"awsAccountId"`
	DigestStartTime            string    `json:"digestStartTime"`
	DigestEndTime              string    `json:"digestEndTime"` // as it is signed
	DigestS3Bucket             string    `json:"digestS3Bucket"`
	DigestS3Object             string    `json:"digestS3Object"`
	DigestPublicKeyFingerprint string    `json:"digestPublicKeyFingerprint"`
	DigestSignatureAlgorithm   string    `json:"digestSignatureAlgorithm"`
	PreviousDigestS3Bucket     *string   `json:"previousDigestS3Bucket"`
	PreviousDigestS3Object     *string   `json:"previousDigestS3Object"`
	PreviousDigestHashValue    *string   `json:"previousDigestHashValue"`
	PreviousDigestHashAlgo     *string   `json:"previousDigestHashAlgorithm"`
	PreviousDigestSignature    *string   `json:"previousDigestSignature"`
	LogFiles                   []logFile `json:"logFiles"`

	key        string
	start, end time.Time
	hash       string // SHA-256 of the uncompressed file, in hexadecimal
	signature  string // from the object's metadata
	backfill   bool
	disowned   bool // the chain names another file in its place
}

// logFile is a log file as a digest lists it.
type logFile struct {
	S3Bucket        string    `json:"s3Bucket"`
	S3Object        string    `json:"s3Object"`
	HashValue       string    `json:"hashValue"`
	HashAlgorithm   string    `json:"hashAlgorithm"`
	NewestEventTime time.Time `json:"newestEventTime"`
	OldestEventTime time.Time `json:"oldestEventTime"`
}

// keyring has the public keys by fingerprint.
type keyring map[string]*rsa.PublicKey

// loadKeys fetches the public keys that were valid in a time.
func loadKeys(ctx context.Context, client PublicKeys, from, to time.Time) (keyring, error) {
	keys := keyring{}
	in := &cloudtrail.ListPublicKeysInput{StartTime: &from, EndTime: &to}
	for {
		out, err := client.ListPublicKeys(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("listing CloudTrail's public keys: %w", err)
		}
		for _, k := range out.PublicKeyList {
			key, err := x509.ParsePKCS1PublicKey(k.Value)
			if err != nil {
				return nil, fmt.Errorf("CloudTrail's public key %s is not in PKCS #1: %w", aws.ToString(k.Fingerprint), err)
			}
			keys[aws.ToString(k.Fingerprint)] = key
		}
		if aws.ToString(out.NextToken) == "" {
			return keys, nil
		}
		in.NextToken = out.NextToken
	}
}

// invalidError is why a file is not what it should be. Other errors are of the
// network or of permissions, and prove nothing about the file.
type invalidError struct{ reason string }

func (e invalidError) Error() string { return e.reason }

func invalid(format string, args ...any) error { return invalidError{fmt.Sprintf(format, args...)} }

// errMissing is returned for an object that does not exist.
var errMissing = errors.New("the file does not exist")

// object is an object's decompressed content, with its metadata.
type object struct {
	io.Reader
	metadata map[string]string
}

// body is a response's body. It keeps the error of the connection, so that a
// damaged file is not taken for a broken connection, nor the reverse.
type body struct {
	io.ReadCloser
	err error
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// transferAttempts is how often a file is read whose transfer breaks off.
const transferAttempts = 3

// withObject calls use with the content of an object, again if the transfer breaks
// off. An error of use is returned as it is, unless the transfer broke off or the
// content cannot be decompressed.
func (r *Reader) withObject(ctx context.Context, key string, use func(*object) error) error {
	var err error
	for range transferAttempts {
		var out *s3.GetObjectOutput
		if out, err = r.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &r.Location.Bucket, Key: &key}); err != nil {
			if errors.As(err, new(*types.NoSuchKey)) {
				return errMissing
			}
			return err
		}
		b := &body{ReadCloser: out.Body}
		var zip *gzip.Reader
		if zip, err = gzip.NewReader(b); err == nil {
			err = use(&object{zip, out.Metadata})
		}
		_ = b.Close() // it was only read
		if b.err == nil {
			break
		}
		if err = b.err; ctx.Err() != nil {
			return err
		}
	}
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, new(flate.CorruptInputError)) {
		return invalid("it is not a complete gzip file: %v", err)
	}
	return err
}

// loadDigest fetches a digest and checks everything about it but the chain.
func (r *Reader) loadDigest(ctx context.Context, keys keyring, key string) (d *digest, err error) {
	err = r.withObject(ctx, key, func(o *object) error {
		content, err := io.ReadAll(io.LimitReader(o, maxDigestSize+1))
		if err != nil {
			return err
		}
		if len(content) > maxDigestSize {
			return invalid("it has more than %d MB", maxDigestSize>>20)
		}
		if d, err = parseDigest(content, o.metadata); err != nil {
			return err
		}
		return d.check(keys, r, key)
	})
	return d, err
}

func parseDigest(body []byte, metadata map[string]string) (*digest, error) {
	d := &digest{}
	if err := json.Unmarshal(body, d); err != nil {
		return nil, invalid("it is not a digest file: %v", err)
	}
	sum := sha256.Sum256(body)
	d.hash, d.signature = hex.EncodeToString(sum[:]), metadata["signature"]
	if algorithm := metadata["signature-algorithm"]; d.signature == "" || algorithm != "SHA256withRSA" || d.DigestSignatureAlgorithm != algorithm {
		return nil, invalid("its metadata has no signature (x-amz-meta-signature with SHA256withRSA)")
	}
	var startErr, endErr error
	d.start, startErr = time.Parse(time.RFC3339, d.DigestStartTime)
	d.end, endErr = time.Parse(time.RFC3339, d.DigestEndTime)
	if startErr != nil || endErr != nil || !d.start.Before(d.end) {
		return nil, invalid("it does not state a time that it covers")
	}
	if (d.PreviousDigestS3Object == nil) != (d.PreviousDigestSignature == nil) {
		return nil, invalid("it has only one of the name and the signature of the digest file before it")
	}
	return d, nil
}

// check checks the place and the signature of a digest.
func (d *digest) check(keys keyring, r *Reader, key string) error {
	d.key, d.backfill = key, strings.HasSuffix(key, "_backfill.json.gz")
	switch {
	case d.DigestS3Bucket != r.Location.Bucket || d.DigestS3Object != key:
		return invalid("it is a copy of s3://%s/%s", d.DigestS3Bucket, d.DigestS3Object)
	case d.AWSAccountID != r.Account:
		return invalid("it is of the account %s", d.AWSAccountID)
	}
	public, ok := keys[d.DigestPublicKeyFingerprint]
	if !ok {
		return invalid("CloudTrail has no public key with its fingerprint %s in %s", d.DigestPublicKeyFingerprint, r.HomeRegion)
	}
	signature, err := hex.DecodeString(d.signature)
	if err != nil {
		return invalid("its signature is not hexadecimal")
	}
	signed := sha256.Sum256([]byte(d.stringToSign()))
	if rsa.VerifyPKCS1v15(public, crypto.SHA256, signed[:], signature) != nil {
		return invalid("its signature is not CloudTrail's")
	}
	return nil
}

// stringToSign is what CloudTrail signs.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-custom-validation.html
func (d *digest) stringToSign() string {
	previous := "null"
	if d.PreviousDigestSignature != nil {
		previous = *d.PreviousDigestSignature
	}
	return d.DigestEndTime + "\n" + d.DigestS3Bucket + "/" + d.DigestS3Object + "\n" + d.hash + "\n" + previous
}
