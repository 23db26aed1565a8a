package logfiles

import (
	"bytes"
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
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// maxDigest is the largest digest that is read, uncompressed.
const maxDigest = 256 << 20

// digest is a digest file. Its fields have CloudTrail's names.
type digest struct {
	AWSAccountID               string    `json:"awsAccountId"`
	DigestStartTime            time.Time `json:"digestStartTime"`
	DigestEndTime              time.Time `json:"digestEndTime"`
	DigestS3Bucket             string    `json:"digestS3Bucket"`
	DigestS3Object             string    `json:"digestS3Object"`
	DigestPublicKeyFingerprint string    `json:"digestPublicKeyFingerprint"`
	DigestSignatureAlgorithm   string    `json:"digestSignatureAlgorithm"`
	PreviousDigestS3Bucket     *string   `json:"previousDigestS3Bucket"`
	PreviousDigestS3Object     *string   `json:"previousDigestS3Object"`
	PreviousDigestHashValue    *string   `json:"previousDigestHashValue"`
	PreviousDigestSignature    *string   `json:"previousDigestSignature"`
	LogFiles                   []logFile `json:"logFiles"`

	endTime   string // as it is written, which is what is signed
	key       string
	hash      string // SHA-256 of the uncompressed file, in hexadecimal
	signature string // from the object's metadata
}

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

// loadKeys fetches the keys that were valid from from to to.
func loadKeys(ctx context.Context, client PublicKeys, from, to time.Time) (keyring, error) {
	keys := keyring{}
	in := &cloudtrail.ListPublicKeysInput{StartTime: &from, EndTime: &to}
	for {
		out, err := client.ListPublicKeys(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("listing the public keys of CloudTrail: %w", err)
		}
		for _, k := range out.PublicKeyList {
			key, err := x509.ParsePKCS1PublicKey(k.Value)
			if err != nil || k.Fingerprint == nil {
				return nil, fmt.Errorf("a public key of CloudTrail is not PKCS #1: %w", err)
			}
			keys[*k.Fingerprint] = key
		}
		if out.NextToken == nil || *out.NextToken == "" {
			return keys, nil
		}
		in.NextToken = out.NextToken
	}
}

// errMissing is returned for an object that does not exist.
var errMissing = errors.New("the file does not exist")

// invalidError is why a file is not what it should be; other errors are of the
// network or of permissions.
type invalidError struct{ reason string }

func (e invalidError) Error() string { return e.reason }

func invalid(format string, args ...any) error { return invalidError{fmt.Sprintf(format, args...)} }

// open returns the object's body.
func (r *Reader) open(ctx context.Context, bucket, key string) (*s3.GetObjectOutput, error) {
	out, err := r.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	var noKey *types.NoSuchKey
	if errors.As(err, &noKey) {
		return nil, errMissing
	}
	return out, err
}

// loadDigest fetches a digest and checks all that it can be checked for alone:
// format, location and signature.
func (r *Reader) loadDigest(ctx context.Context, keys keyring, bucket, key string) (*digest, error) {
	out, err := r.open(ctx, bucket, key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Body.Close() }() // read only
	zip, err := gzip.NewReader(out.Body)
	if err != nil {
		return nil, invalid("it is not a gzip file: %v", err)
	}
	body, err := io.ReadAll(io.LimitReader(zip, maxDigest+1))
	if err != nil {
		return nil, invalid("it cannot be unpacked: %v", err)
	}
	if len(body) > maxDigest {
		return nil, invalid("it is larger than %d bytes", maxDigest)
	}
	return parseDigest(keys, bucket, key, body, out.Metadata)
}

func parseDigest(keys keyring, bucket, key string, body []byte, metadata map[string]string) (*digest, error) {
	d := &digest{key: key, signature: metadata["signature"]}
	if err := json.Unmarshal(body, d); err != nil {
		return nil, invalid("it is not a digest: %v", err)
	}
	var times struct{ DigestEndTime string }
	if err := json.Unmarshal(body, &times); err != nil {
		return nil, invalid("it is not a digest: %v", err)
	}
	d.endTime = times.DigestEndTime
	switch {
	case d.DigestStartTime.IsZero() || d.DigestEndTime.IsZero() || !d.DigestStartTime.Before(d.DigestEndTime):
		return nil, invalid("it names no time that it covers")
	case d.DigestS3Bucket != bucket || d.DigestS3Object != key:
		return nil, invalid("it was moved here from s3://%s/%s", d.DigestS3Bucket, d.DigestS3Object)
	case d.signature == "" || metadata["signature-algorithm"] != "SHA256withRSA":
		return nil, invalid("it has no signature in its metadata (x-amz-meta-signature, with SHA256withRSA)")
	}
	public, ok := keys[d.DigestPublicKeyFingerprint]
	if !ok {
		return nil, invalid("CloudTrail has no public key with the fingerprint %s in the trail's home Region", d.DigestPublicKeyFingerprint)
	}
	signature, err := hex.DecodeString(d.signature)
	if err != nil {
		return nil, invalid("its signature is not hexadecimal")
	}
	sum := sha256.Sum256(body)
	d.hash = hex.EncodeToString(sum[:])
	signed := sha256.Sum256(stringToSign(d))
	if rsa.VerifyPKCS1v15(public, crypto.SHA256, signed[:], signature) != nil {
		return nil, invalid("its signature is not CloudTrail's: the file was changed")
	}
	return d, nil
}

// stringToSign is what CloudTrail signs.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-custom-validation.html
func stringToSign(d *digest) []byte {
	previous := "null"
	if d.PreviousDigestSignature != nil {
		previous = *d.PreviousDigestSignature
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n%s/%s\n%s\n%s", d.endTime, d.DigestS3Bucket, d.DigestS3Object, d.hash, previous)
	return b.Bytes()
}
