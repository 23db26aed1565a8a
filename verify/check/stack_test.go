package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/verify/report"
)

const (
	owner  = "764265373335"
	region = "us-east-1"
	alias  = "alias/masterclass-cmk"
	bucket = "ckms-764265373335-1"
	object = "test/hello.txt"
)

// stack is the course's stack in a localaws of its own.
type stack struct {
	aws    *localaws.Server
	cfg    aws.Config
	keyARN string
	config Config // what verify is asked
}

// newAWS starts a localaws without a limit on lookups.
func newAWS(t *testing.T, o localaws.Options) (*localaws.Server, aws.Config) {
	t.Helper()
	o.Dir = t.TempDir()
	if o.TrailRate == 0 {
		o.TrailRate = 1 << 20
	}
	s, err := localaws.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	require.NoError(t, s.Start("127.0.0.1:0"))
	return s, configFor(t, s, owner)
}

// configFor is a client's configuration, as the user of an access key.
func configFor(t *testing.T, s *localaws.Server, accessKey string) aws.Config {
	t.Helper()
	pem, err := os.ReadFile(s.CAFile())
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(pem))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections) // the server would wait for those that were never used
	return aws.Config{
		Region:           region,
		BaseEndpoint:     aws.String(s.URL()),
		Credentials:      credentials.NewStaticCredentialsProvider(accessKey, "secret", ""),
		HTTPClient:       &http.Client{Transport: transport},
		RetryMaxAttempts: 2,
	}
}

func goodStack(t *testing.T) *stack {
	t.Helper()
	return goodStackIn(t, localaws.Options{})
}

// goodStackIn makes the stack with the SDK: every check passes on it.
func goodStackIn(t *testing.T, o localaws.Options) *stack {
	t.Helper()
	// The stack is a minute old when a test begins: a canary's events are of
	// another second than the write of the object.
	var past atomic.Int64
	if past.Store(int64(time.Minute)); o.Now == nil {
		o.Now = func() time.Time { return time.Now().Add(-time.Duration(past.Load())) }
	}
	server, cfg := newAWS(t, o)
	s := &stack{aws: server, cfg: cfg}
	defer past.Store(0)
	ctx := t.Context()
	s.keyARN = s.newKey(t)
	k := kms.NewFromConfig(cfg)
	_, err := k.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(alias), TargetKeyId: &s.keyARN})
	require.NoError(t, err)

	b := s3.NewFromConfig(cfg)
	_, err = b.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)})
	require.NoError(t, err)
	s.setDefault(t, s3types.ServerSideEncryptionAwsKms, s.keyARN, true)
	_, err = b.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: aws.String(bucket), PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{
		BlockPublicAcls: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true),
	}})
	require.NoError(t, err)
	_, err = b.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: aws.String(bucket), VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled}})
	require.NoError(t, err)
	s.setBucketPolicy(t, goodBucketPolicy(s.keyARN))
	s.put(t, cfg, object, nil)

	e := ec2.NewFromConfig(cfg)
	_, err = e.ModifyEbsDefaultKmsKeyId(ctx, &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &s.keyARN})
	require.NoError(t, err)
	_, err = e.EnableEbsEncryptionByDefault(ctx, &ec2.EnableEbsEncryptionByDefaultInput{})
	require.NoError(t, err)

	s.config = Config{
		AWS: cfg, Keys: []string{s.keyARN}, Alias: alias, Bucket: bucket, Objects: []string{object},
		Account: owner, Poll: 10 * time.Millisecond, lookupRate: rate.Inf,
	}
	return s
}

func goodBucketPolicy(key string) string {
	return `{"Version":"2012-10-17","Statement":[
{"Sid":"DenyInsecureTransport","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::` + bucket + `","arn:aws:s3:::` + bucket + `/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}},
{"Sid":"DenyOtherAlgorithm","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::` + bucket + `/*","Condition":{"Null":{"s3:x-amz-server-side-encryption":"false"},"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}},
{"Sid":"DenyOtherKey","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::` + bucket + `/*","Condition":{"Null":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"false"},"StringNotEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"` + key + `"}}},
{"Sid":"DenyCustomerProvidedKey","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::` + bucket + `/*","Condition":{"Null":{"s3:x-amz-server-side-encryption-customer-algorithm":"false"}}},
{"Sid":"DenyReencryption","Effect":"Deny","Principal":"*","Action":["s3:ReplicateObject","s3:UpdateObjectEncryption"],"Resource":"arn:aws:s3:::` + bucket + `/*"}]}`
}

// newKey makes a key that rotates.
func (s *stack) newKey(t *testing.T) string {
	t.Helper()
	k := kms.NewFromConfig(s.cfg)
	out, err := k.CreateKey(t.Context(), &kms.CreateKeyInput{})
	require.NoError(t, err)
	_, err = k.EnableKeyRotation(t.Context(), &kms.EnableKeyRotationInput{KeyId: out.KeyMetadata.Arn})
	require.NoError(t, err)
	return *out.KeyMetadata.Arn
}

func (s *stack) setDefault(t *testing.T, algorithm s3types.ServerSideEncryption, key string, bucketKey bool) {
	t.Helper()
	d := &s3types.ServerSideEncryptionByDefault{SSEAlgorithm: algorithm}
	if key != "" {
		d.KMSMasterKeyID = &key
	}
	_, err := s3.NewFromConfig(s.cfg).PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{
		Bucket: aws.String(bucket),
		ServerSideEncryptionConfiguration: &s3types.ServerSideEncryptionConfiguration{Rules: []s3types.ServerSideEncryptionRule{{
			ApplyServerSideEncryptionByDefault: d, BucketKeyEnabled: &bucketKey,
		}}},
	})
	require.NoError(t, err)
}

func (s *stack) setBucketPolicy(t *testing.T, document string) {
	t.Helper()
	_, err := s3.NewFromConfig(s.cfg).PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(bucket), Policy: &document})
	require.NoError(t, err)
}

func (s *stack) put(t *testing.T, as aws.Config, key string, how func(*s3.PutObjectInput)) {
	t.Helper()
	in := &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader("hello kms day1\n")}
	if how != nil {
		how(in)
	}
	_, err := s3.NewFromConfig(as).PutObject(t.Context(), in)
	require.NoError(t, err)
}

// withoutBucketKey uploads under a key so that KMS is asked for this object.
func withoutBucketKey(key string) func(*s3.PutObjectInput) {
	return func(in *s3.PutObjectInput) {
		in.ServerSideEncryption, in.SSEKMSKeyId, in.BucketKeyEnabled = s3types.ServerSideEncryptionAwsKms, &key, aws.Bool(false)
	}
}

func (s *stack) get(t *testing.T, as aws.Config, key string) {
	t.Helper()
	out, err := s3.NewFromConfig(as).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, out.Body)
	require.NoError(t, err)
	require.NoError(t, out.Body.Close())
}

// versions counts what is in the bucket below a prefix, markers included.
func (s *stack) versions(t *testing.T, prefix string) int {
	t.Helper()
	out, err := s3.NewFromConfig(s.cfg).ListObjectVersions(context.WithoutCancel(t.Context()), &s3.ListObjectVersionsInput{Bucket: aws.String(bucket), Prefix: &prefix})
	require.NoError(t, err)
	return len(out.Versions) + len(out.DeleteMarkers)
}

func (s *stack) run(t *testing.T) *report.Report {
	t.Helper()
	rep, err := Run(t.Context(), s.config)
	require.NoError(t, err)
	return rep
}

// status is the statuses by check.
func status(rep *report.Report) map[string]report.Status {
	m := map[string]report.Status{}
	for _, x := range rep.Results {
		m[x.ID] = x.Status
	}
	return m
}

func result(t *testing.T, rep *report.Report, id string) report.Result {
	t.Helper()
	for _, x := range rep.Results {
		if x.ID == id {
			return x
		}
	}
	t.Fatalf("no result for %s", id)
	return report.Result{}
}

// show prints results for the message of a failed test.
func show(rep *report.Report) string {
	var b strings.Builder
	for _, x := range rep.Results {
		fmt.Fprintf(&b, "%-22s %-12s %s\n", x.ID, x.Status, x.Actual)
	}
	return b.String()
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}
