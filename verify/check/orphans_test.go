package check

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
)

const (
	likeKey    = "customer managed key of ckms"
	likeBucket = "ckms-764265373335-"
)

// Of all that an account may have, what no stack has is found, and nothing else.
func TestOrphans(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		make func(*testing.T, *stack) string // what it has made, if it is to be found
		// doubt is a part of the reason not to be sure; empty: none.
		doubt string
		later time.Duration
	}{
		"a key": {make: func(t *testing.T, s *stack) string { return s.likeKey(t, "ckms") }},
		"a key that rotates already": {make: func(t *testing.T, s *stack) string {
			arn := s.likeKey(t, "ckms")
			_, err := kms.NewFromConfig(s.cfg).EnableKeyRotation(t.Context(), &kms.EnableKeyRotationInput{KeyId: &arn})
			require.NoError(t, err)
			return arn
		}},
		"a key whose use was refused": {make: func(t *testing.T, s *stack) string {
			arn := s.likeKey(t, "ckms")
			s.aws.Inject(localaws.Fault{Operation: "Encrypt", Status: http.StatusBadRequest, Code: "AccessDeniedException", Count: 1})
			_, err := kms.NewFromConfig(s.cfg).Encrypt(t.Context(), &kms.EncryptInput{KeyId: &arn, Plaintext: []byte("x")})
			require.Error(t, err)
			return arn
		}},
		"a key that is used": {make: func(t *testing.T, s *stack) string {
			arn := s.likeKey(t, "ckms")
			_, err := kms.NewFromConfig(s.cfg).Encrypt(t.Context(), &kms.EncryptInput{KeyId: &arn, Plaintext: []byte("x")})
			require.NoError(t, err)
			return arn
		}, doubt: "it is in use: Encrypt by arn:aws:iam::764265373335:user/localaws"},
		"a key with a grant": {make: func(t *testing.T, s *stack) string {
			arn := s.likeKey(t, "ckms")
			_, err := kms.NewFromConfig(s.cfg).CreateGrant(t.Context(), &kms.CreateGrantInput{KeyId: &arn, GranteePrincipal: aws.String("arn:aws:iam::" + owner + ":role/app"), Operations: []kmstypes.GrantOperation{kmstypes.GrantOperationDecrypt}})
			require.NoError(t, err)
			return arn
		}, doubt: "it is in use: CreateGrant"},
		"a key with other tags": {make: func(t *testing.T, s *stack) string { return s.likeKey(t, "other") }, doubt: "tags"},
		"a key older than the event history": {make: func(t *testing.T, s *stack) string { return s.likeKey(t, "ckms") },
			later: 91 * 24 * time.Hour, doubt: "older than the event history"},
		"a key that is the default for EBS": {make: func(t *testing.T, s *stack) string {
			arn := s.likeKey(t, "ckms")
			_, err := ec2.NewFromConfig(s.cfg).ModifyEbsDefaultKmsKeyId(t.Context(), &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &arn})
			require.NoError(t, err)
			return arn
		}, doubt: "default key for EBS"},
		"a key with an alias": {make: func(t *testing.T, s *stack) string {
			arn := s.likeKey(t, "ckms")
			_, err := kms.NewFromConfig(s.cfg).CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/ckms-other"), TargetKeyId: &arn})
			require.NoError(t, err)
			return ""
		}},
		"a key that is to be deleted": {make: func(t *testing.T, s *stack) string {
			arn := s.likeKey(t, "ckms")
			_, err := kms.NewFromConfig(s.cfg).ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &arn})
			require.NoError(t, err)
			return ""
		}},
		"a key of another description": {make: func(t *testing.T, s *stack) string {
			_, err := kms.NewFromConfig(s.cfg).CreateKey(t.Context(), &kms.CreateKeyInput{Description: aws.String(likeKey + "2")})
			require.NoError(t, err)
			return ""
		}},
		"a bucket": {make: func(t *testing.T, s *stack) string { return s.likeBucket(t, likeBucket+"20260301101112131400000002") }},
		"a bucket that is not empty": {make: func(t *testing.T, s *stack) string {
			name := s.likeBucket(t, likeBucket+"20260301101112131400000002")
			_, err := s3.NewFromConfig(s.cfg).PutObject(t.Context(), &s3.PutObjectInput{Bucket: &name, Key: aws.String("k"), Body: strings.NewReader("x")})
			require.NoError(t, err)
			return name
		}, doubt: "not empty"},
		"a bucket that is set up": {make: func(t *testing.T, s *stack) string {
			name := s.likeBucket(t, likeBucket+"20260301101112131400000002")
			policy := strings.ReplaceAll(goodBucketPolicy(s.keyARN), bucket, name)
			_, err := s3.NewFromConfig(s.cfg).PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &name, Policy: &policy})
			require.NoError(t, err)
			return ""
		}},
		"a bucket that a person named": {make: func(t *testing.T, s *stack) string { s.likeBucket(t, likeBucket+"logs"); return "" }},
		"a bucket of a longer prefix": {make: func(t *testing.T, s *stack) string {
			s.likeBucket(t, likeBucket+"x-20260301101112131400000002")
			return ""
		}},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := likeStack(t)
			want := c.make(t, s)
			s.config.Now = func() time.Time { return time.Now().Add(c.later) }
			like, err := LikenessOf(t.Context(), s.config)
			require.NoError(t, err)
			require.Equal(t, Likeness{Description: likeKey, Tags: map[string]string{"name": "ckms"}, BucketPrefix: likeBucket}, like)
			found, err := Orphans(t.Context(), s.config, like)
			require.NoError(t, err)
			if want == "" {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Equal(t, want, found[0].Key+found[0].Bucket)
			require.WithinDuration(t, time.Now(), found[0].Made, time.Minute)
			if found[0].Key != "" && c.doubt == "" {
				require.Equal(t, "arn:aws:iam::"+owner+":user/localaws", found[0].By)
			}
			require.Contains(t, found[0].Doubt, c.doubt)
			require.Equal(t, c.doubt == "", found[0].Doubt == "")
		})
	}
}

// What could not be asked is named, and nothing is said to be missing.
func TestOrphans_AWSRefuses(t *testing.T) {
	t.Parallel()
	for action, operation := range map[string]string{
		"kms:ListAliases": "ListAliases", "kms:ListKeys": "ListKeys", "kms:DescribeKey": "DescribeKey", "kms:ListResourceTags": "ListResourceTags",
		"ec2:GetEbsDefaultKmsKeyId": "GetEbsDefaultKmsKeyId", "cloudtrail:LookupEvents": "LookupEvents",
		"s3:ListAllMyBuckets": "ListBuckets", "s3:GetBucketPolicy": "GetBucketPolicy", "s3:ListBucketVersions": "ListObjectVersions",
	} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			s := likeStack(t)
			s.likeKey(t, "ckms")
			s.likeBucket(t, likeBucket+"20260301101112131400000002")
			like, err := LikenessOf(t.Context(), s.config)
			require.NoError(t, err)
			s.aws.Inject(localaws.Fault{Operation: operation, Status: http.StatusForbidden, Code: "AccessDenied"})
			_, err = Orphans(t.Context(), s.config, like)
			require.ErrorContains(t, err, action+": AccessDenied")
		})
	}
}

func TestOrphans_NothingToLookFor(t *testing.T) {
	t.Parallel()
	s := goodStack(t) // its key has no description, and its bucket a name that was chosen
	_, err := LikenessOf(t.Context(), s.config)
	require.ErrorContains(t, err, "no description")
	s.config.Keys = nil
	like, err := LikenessOf(t.Context(), s.config)
	require.NoError(t, err)
	_, err = Orphans(t.Context(), s.config, like)
	require.ErrorAs(t, err, new(*InputError))
}

// likeStack is a stack whose key and bucket are as the provider makes them.
func likeStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{}
	s.aws, s.cfg = newAWS(t, localaws.Options{})
	s.keyARN = s.likeKey(t, "ckms")
	name := s.likeBucket(t, likeBucket+"20260301101112131400000001")
	s.config = Config{AWS: s.cfg, Keys: []string{s.keyARN}, Bucket: name, lookupRate: 1 << 20}
	return s
}

func (s *stack) likeKey(t *testing.T, tag string) string {
	t.Helper()
	out, err := kms.NewFromConfig(s.cfg).CreateKey(t.Context(), &kms.CreateKeyInput{
		Description: aws.String(likeKey), Tags: []kmstypes.Tag{{TagKey: aws.String("name"), TagValue: &tag}},
	})
	require.NoError(t, err)
	return *out.KeyMetadata.Arn
}

func (s *stack) likeBucket(t *testing.T, name string) string {
	t.Helper()
	_, err := s3.NewFromConfig(s.cfg).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
	require.NoError(t, err)
	return name
}
