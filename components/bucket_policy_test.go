package components

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	algorithmKey  = "s3:x-amz-server-side-encryption"
	keyIDKey      = "s3:x-amz-server-side-encryption-aws-kms-key-id"
	customerKey   = "s3:x-amz-server-side-encryption-customer-algorithm"
	transportKey  = "aws:SecureTransport"
	serviceKey    = "aws:PrincipalServiceName"
	testBucketARN = "arn:aws:s3:::b"
)

func TestBucketPolicy_Document(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		partition, region string
	}{{"aws", "us-east-1"}, {"aws-cn", "cn-north-1"}, {"aws-us-gov", "us-gov-west-1"}, {"aws-eusc", "eusc-de-east-1"}, {"aws-iso-b", "us-isob-east-1"}} {
		t.Run(c.partition, func(t *testing.T) {
			t.Parallel()
			key, err := parseKeyARN("k", "arn:"+c.partition+":kms:"+c.region+":111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
			require.NoError(t, err)
			document, err := bucketPolicy{denyInsecureTransport: true, denyForeignKeys: true}.document("arn:"+c.partition+":s3:::b", key)
			require.NoError(t, err)
			requireGolden(t, "bucket-policy-"+c.partition+".golden.json", indented(t, document))
		})
	}
}

// TestBucketPolicy_Requests evaluates requests against the policy, as IAM does.
func TestBucketPolicy_Requests(t *testing.T) {
	t.Parallel()
	put := func(context map[string]string) map[string]string {
		if _, ok := context[transportKey]; !ok {
			context[transportKey] = "true"
		}
		return context
	}
	object := testBucketARN + "/test/hello.txt"
	both := bucketPolicy{denyInsecureTransport: true, denyForeignKeys: true}
	digests := bucketPolicy{denyForeignKeys: true, sseS3Services: []string{"cloudtrail.amazonaws.com"}}
	for _, c := range []struct {
		name, action, resource string
		context                map[string]string
		policy                 bucketPolicy
		denied                 string // the statement that denies it
	}{
		{"a PUT that names no encryption", "s3:PutObject", object, put(map[string]string{}), both, ""},
		{"aws:kms and no key", "s3:PutObject", object, put(map[string]string{algorithmKey: "aws:kms"}), both, ""},
		{"aws:kms and our key", "s3:PutObject", object, put(map[string]string{algorithmKey: "aws:kms", keyIDKey: ownKey}), both, ""},
		{"aws:kms and another key", "s3:PutObject", object, put(map[string]string{algorithmKey: "aws:kms", keyIDKey: foreignKey}), both, "DenyOtherKey"},
		{"another key and no algorithm", "s3:PutObject", object, put(map[string]string{keyIDKey: foreignKey}), both, "DenyOtherKey"},
		{"AES256", "s3:PutObject", object, put(map[string]string{algorithmKey: "AES256"}), both, "DenyOtherAlgorithm"},
		{"aws:kms:dsse", "s3:PutObject", object, put(map[string]string{algorithmKey: "aws:kms:dsse"}), both, "DenyOtherAlgorithm"},
		{"AES256 by a service that may", "s3:PutObject", object, put(map[string]string{algorithmKey: "AES256", serviceKey: "cloudtrail.amazonaws.com"}), digests, ""},
		{"AES256 by another service", "s3:PutObject", object, put(map[string]string{algorithmKey: "AES256", serviceKey: "logs.amazonaws.com"}), digests, "DenySSES3"},
		{"AES256 by a user, where a service may", "s3:PutObject", object, put(map[string]string{algorithmKey: "AES256"}), digests, "DenySSES3"},
		{"another key by a service that may use SSE-S3", "s3:PutObject", object, put(map[string]string{algorithmKey: "aws:kms", keyIDKey: foreignKey, serviceKey: "cloudtrail.amazonaws.com"}), digests, "DenyOtherKey"},
		{"two layers by a service that may use SSE-S3", "s3:PutObject", object, put(map[string]string{algorithmKey: "aws:kms:dsse", serviceKey: "cloudtrail.amazonaws.com"}), digests, "DenyOtherAlgorithm"},
		{"SSE-C", "s3:PutObject", object, put(map[string]string{customerKey: "AES256"}), both, "DenyCustomerProvidedKey"},
		{"another key in place", "s3:UpdateObjectEncryption", object, put(map[string]string{}), both, "DenyReencryption"},
		{"replication", "s3:ReplicateObject", object, put(map[string]string{}), both, "DenyReencryption"},
		{"replication by a named role", "s3:ReplicateObject", object, put(map[string]string{"aws:PrincipalArn": "arn:aws:iam::111122223333:role/replication"}),
			bucketPolicy{denyForeignKeys: true, reencryption: []string{"arn:aws:iam::111122223333:role/replication"}}, ""},
		{"replication by another role", "s3:ReplicateObject", object, put(map[string]string{"aws:PrincipalArn": "arn:aws:iam::111122223333:role/x"}),
			bucketPolicy{denyForeignKeys: true, reencryption: []string{"arn:aws:iam::111122223333:role/replication"}}, "DenyReencryption"},
		{"PUT over plain HTTP", "s3:PutObject", object, put(map[string]string{transportKey: "false"}), both, "DenyInsecureTransport"},
		{"GET over plain HTTP", "s3:GetObject", object, map[string]string{transportKey: "false"}, both, "DenyInsecureTransport"},
		{"LIST over plain HTTP", "s3:ListBucket", testBucketARN, map[string]string{transportKey: "false"}, both, "DenyInsecureTransport"},
		{"GET over TLS", "s3:GetObject", object, map[string]string{transportKey: "true"}, both, ""},
		{"AES256, where it is allowed", "s3:PutObject", object, put(map[string]string{algorithmKey: "AES256"}), bucketPolicy{denyInsecureTransport: true}, ""},
		{"plain HTTP, where it is allowed", "s3:PutObject", object, put(map[string]string{transportKey: "false"}), bucketPolicy{denyForeignKeys: true}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			key, err := parseKeyARN("k", ownKey)
			require.NoError(t, err)
			document, err := c.policy.document(testBucketARN, key)
			require.NoError(t, err)
			require.Equal(t, c.denied, deniedBy(t, document, c.action, c.resource, c.context))
		})
	}
}

// deniedBy is the first statement of the policy that denies the request.
func deniedBy(t *testing.T, document, action, resource string, context map[string]string) string {
	t.Helper()
	var d struct {
		Statement []struct {
			Sid, Effect, Principal string
			Action, Resource       oneOrMany
			Condition              map[string]map[string]oneOrMany
		}
	}
	require.NoError(t, json.Unmarshal([]byte(document), &d))
	for _, s := range d.Statement {
		require.Equal(t, "Deny", s.Effect, "the bucket policy allows nothing")
		require.Equal(t, "*", s.Principal)
		holds := true
		for operator, keys := range s.Condition {
			for k, want := range keys {
				got, present := context[k]
				switch operator {
				case "Null":
					holds = holds && present == slices.Contains(want, "false")
				case "Bool", "StringEquals":
					holds = holds && present && slices.Contains(want, got)
				case "StringNotEquals", "ArnNotEquals": // holds where the key is absent, too
					holds = holds && !slices.Contains(want, got)
				default:
					t.Fatalf("this test does not know the operator %s", operator)
				}
			}
		}
		named := slices.Contains(s.Resource, resource) || slices.Contains(s.Resource, testBucketARN+"/*") && resource != testBucketARN
		if holds && named && (slices.Contains(s.Action, action) || slices.Contains(s.Action, "s3:*")) {
			return s.Sid
		}
	}
	return ""
}
