// Package logfilestest makes the files of a trail, for tests and measurements: log
// files, and digest files that are signed with a key of its own.
package logfilestest

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto"
	"crypto/md5" //nolint:gosec // CloudTrail's fingerprint of a public key
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cttypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Trail is a trail with its files. It answers as S3 and as ListPublicKeys do.
type Trail struct {
	Bucket, Account, Region, Name string
	// Prefix is that of new files, without a slash at its end.
	Prefix string
	// Objects are the files by key.
	Objects map[string]Object

	signer   *rsa.PrivateKey
	since    time.Time
	listed   []map[string]string
	previous map[string]string
}

// Object is a file: compressed, with its metadata.
type Object struct {
	Body     []byte
	Metadata map[string]string
	Modified time.Time
}

// New returns a trail that begins to log at a time.
func New(bucket, account, region, name string, since time.Time) *Trail {
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return &Trail{Bucket: bucket, Account: account, Region: region, Name: name, Objects: map[string]Object{}, signer: signer, since: since.UTC()}
}

// Fingerprint is that of the public key.
func (t *Trail) Fingerprint() string {
	sum := md5.Sum(t.PublicKey()) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}

// PublicKey is the key that verifies the digest files, in PKCS #1.
func (t *Trail) PublicKey() []byte { return x509.MarshalPKCS1PublicKey(&t.signer.PublicKey) }

// Compress compresses fast.
func Compress(content []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is valid
	_, _ = w.Write(content)                         // a bytes.Buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

// AddLog adds a log file that was delivered at a time and whose events are of the
// minute before. It returns its key.
func (t *Trail) AddLog(at time.Time, content []byte) string {
	at = at.UTC()
	key := path.Join(t.Prefix, fmt.Sprintf("AWSLogs/%s/CloudTrail/%s/%s/%s_CloudTrail_%s_%s_%s.json.gz", t.Account, t.Region, at.Format("2006/01/02"), t.Account, t.Region, at.Format("20060102T1504Z"), rand.Text()[:16]))
	sum := sha256.Sum256(content)
	t.Objects[key] = Object{Body: Compress(content), Modified: at}
	t.listed = append(t.listed, map[string]string{"s3Bucket": t.Bucket, "s3Object": key, "hashValue": hex.EncodeToString(sum[:]), "hashAlgorithm": "SHA-256",
		"oldestEventTime": at.Add(-time.Minute).Format(time.RFC3339), "newestEventTime": at.Format(time.RFC3339)})
	return key
}

// AddDigest adds a digest file for the time until end. It returns its key.
func (t *Trail) AddDigest(end time.Time) string {
	end = end.UTC()
	key := path.Join(t.Prefix, fmt.Sprintf("AWSLogs/%s/CloudTrail-Digest/%s/%s/%s_CloudTrail-Digest_%s_%s_%s_%s.json.gz", t.Account, t.Region, end.Format("2006/01/02"), t.Account, t.Region, t.Name, t.Region, end.Format("20060102T150405Z")))
	d := map[string]any{"awsAccountId": t.Account, "digestStartTime": t.since.Format(time.RFC3339), "digestEndTime": end.Format(time.RFC3339),
		"digestS3Bucket": t.Bucket, "digestS3Object": key, "digestPublicKeyFingerprint": t.Fingerprint(), "digestSignatureAlgorithm": "SHA256withRSA",
		"logFiles": t.listed, "previousDigestSignature": nil}
	before := "null"
	if t.previous != nil {
		before = t.previous["previousDigestSignature"]
		for k, v := range t.previous {
			d[k] = v
		}
	}
	content, _ := json.Marshal(d) // strings only
	sum := sha256.Sum256(content)
	hash := hex.EncodeToString(sum[:])
	signed := sha256.Sum256([]byte(end.Format(time.RFC3339) + "\n" + t.Bucket + "/" + key + "\n" + hash + "\n" + before))
	signature, err := rsa.SignPKCS1v15(nil, t.signer, crypto.SHA256, signed[:])
	if err != nil {
		panic(err) // the key is long enough
	}
	t.Objects[key] = Object{Compress(content), map[string]string{"signature": hex.EncodeToString(signature), "signature-algorithm": "SHA256withRSA"}, end}
	t.previous = map[string]string{"previousDigestS3Bucket": t.Bucket, "previousDigestS3Object": key, "previousDigestHashValue": hash,
		"previousDigestHashAlgorithm": "SHA-256", "previousDigestSignature": hex.EncodeToString(signature)}
	t.since, t.listed = end, nil
	return key
}

// Restart begins a new chain of digest files at a time, as StopLogging and
// StartLogging do.
func (t *Trail) Restart(at time.Time) { t.since, t.previous = at.UTC(), nil }

// List are the keys with a prefix, sorted.
func (t *Trail) List(prefix string) []string {
	var keys []string
	for key := range t.Objects {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// ListObjectsV2 implements the method of S3. It returns one page.
func (t *Trail) ListObjectsV2(_ context.Context, in *s3.ListObjectsV2Input, _ ...func(*s3.Options)) (*s3.ListObjectsV2Output, error) {
	out := &s3.ListObjectsV2Output{}
	for _, key := range t.List(aws.ToString(in.Prefix)) {
		out.Contents = append(out.Contents, types.Object{Key: &key, LastModified: aws.Time(t.Objects[key].Modified)})
	}
	return out, nil
}

// GetObject implements the method of S3.
func (t *Trail) GetObject(_ context.Context, in *s3.GetObjectInput, _ ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	o, ok := t.Objects[aws.ToString(in.Key)]
	if !ok {
		return nil, &types.NoSuchKey{}
	}
	return &s3.GetObjectOutput{Body: io.NopCloser(bytes.NewReader(o.Body)), Metadata: o.Metadata}, nil
}

// ListPublicKeys implements the method of CloudTrail.
func (t *Trail) ListPublicKeys(context.Context, *cloudtrail.ListPublicKeysInput, ...func(*cloudtrail.Options)) (*cloudtrail.ListPublicKeysOutput, error) {
	return &cloudtrail.ListPublicKeysOutput{PublicKeyList: []cttypes.PublicKey{{Value: t.PublicKey(), Fingerprint: aws.String(t.Fingerprint())}}}, nil
}

// Record is a record as KMS and S3 write it: GenerateDataKey for an object, with
// values that differ from record to record.
func Record(at time.Time, account, region, keyARN, object, caller string) []byte {
	id := rand.Text()
	return fmt.Appendf(nil, `{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROA%[1]s:session","arn":"arn:aws:sts::%[2]s:assumed-role/%[6]s/session-%[1]s","accountId":"%[2]s","accessKeyId":"ASIA%[1]s","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROA%[1]s","arn":"arn:aws:iam::%[2]s:role/%[6]s","accountId":"%[2]s","userName":"%[6]s"},"attributes":{"creationDate":"%[7]s","mfaAuthenticated":"false"}},"invokedBy":"fas.s3.amazonaws.com"},"eventTime":"%[7]s","eventSource":"kms.amazonaws.com","eventName":"GenerateDataKey","awsRegion":"%[3]s","sourceIPAddress":"fas.s3.amazonaws.com","userAgent":"fas.s3.amazonaws.com","requestParameters":{"keyId":"%[4]s","encryptionContext":{"aws:s3:arn":"%[5]s"},"keySpec":"AES_256"},"responseElements":null,"requestID":"%[1]s","eventID":"%[1]s","readOnly":true,"resources":[{"accountId":"%[2]s","type":"AWS::KMS::Key","ARN":"%[4]s"}],"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"%[2]s","sharedEventID":"%[1]s","eventCategory":"Management"}`,
		id, account, region, keyARN, object, caller, at.UTC().Format(time.RFC3339))
}

// Content is a log file's content.
func Content(records ...[]byte) []byte {
	return slices.Concat([]byte(`{"Records":[`), bytes.Join(records, []byte(",")), []byte("]}"))
}
