package localaws

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
)

func TestBucketPolicy_ActionsThatS3Refuses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "actions")
	bucket := "actions"
	const (
		unknown = "Policy has invalid action"
		applies = "Action does not apply to any resource(s) in statement"
	)
	for _, row := range []struct{ action, resource, problem string }{
		{`"s3:GetObject"`, `"arn:aws:s3:::actions/*"`, ""},
		{`"S3:getobject"`, `"arn:aws:s3:::actions/*"`, ""},
		{`"s3:GetObject"`, `"arn:aws:s3:::actions*"`, ""},
		{`"s3:ListBucket"`, `"arn:aws:s3:::actions"`, ""},
		{`["s3:ListBucket","s3:GetObject"]`, `["arn:aws:s3:::actions","arn:aws:s3:::actions/*"]`, ""},
		{`"s3:Get*"`, `"arn:aws:s3:::actions"`, ""},
		{`"s3:*"`, `"arn:aws:s3:::actions/*"`, ""},
		{`"*"`, `"arn:aws:s3:::actions/*"`, ""},
		{`"s3:HeadObject"`, `"arn:aws:s3:::actions/*"`, unknown},
		{`"s3:PutObjectLockConfiguration"`, `"arn:aws:s3:::actions"`, unknown},
		{`["s3:GetObject","s3:ListObjectsV2"]`, `"arn:aws:s3:::actions/*"`, unknown},
		{`"s3:GetObject"`, `"arn:aws:s3:::actions"`, applies},
		{`"s3:ListBucket"`, `"arn:aws:s3:::actions/*"`, applies},
		{`["s3:GetObject","s3:ListBucket"]`, `"arn:aws:s3:::actions/*"`, applies},
	} {
		doc := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"AWS":"210987654321"},"Action":` + row.action + `,"Resource":` + row.resource + `}]}`
		_, err := c.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: &doc})
		if row.problem == "" {
			require.NoError(t, err, doc)
			continue
		}
		requireCode(t, err, "MalformedPolicy")
		require.ErrorContains(t, err, row.problem, doc)
	}
}
