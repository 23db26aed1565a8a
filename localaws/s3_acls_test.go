package localaws

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

// bucketOwner is the canonical id of the account that has the bucket.
func bucketOwner(t *testing.T, c *s3.Client, bucket string) string {
	t.Helper()
	out, err := c.GetBucketAcl(t.Context(), &s3.GetBucketAclInput{Bucket: &bucket})
	require.NoError(t, err)
	return *out.Owner.ID
}

const (
	logDelivery = `uri="http://acs.amazonaws.com/groups/s3/LogDelivery"`
	everyone    = `uri="http://acs.amazonaws.com/groups/global/AllUsers"`
)

// stranger is the canonical id of an account that owns nothing here.
var stranger = strings.Repeat("0123456789abcdef", 4)

// withACLs makes a bucket that has ACLs.
func withACLs(t *testing.T, c *s3.Client, bucket string) {
	t.Helper()
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket, ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred})
	require.NoError(t, err)
}

func TestGrantHeaders_OfBuckets(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "enforced")
	owner := bucketOwner(t, c, "enforced")
	_, err := c.PutBucketAcl(t.Context(), &s3.PutBucketAclInput{Bucket: aws.String("enforced"), GrantFullControl: aws.String("id=" + owner)})
	requireCode(t, err, "AccessControlListNotSupported")
	create := func(in *s3.CreateBucketInput) error {
		in.Bucket = aws.String("created")
		_, err := c.CreateBucket(t.Context(), in)
		return err
	}
	requireCode(t, create(&s3.CreateBucketInput{GrantRead: aws.String(logDelivery)}), "InvalidBucketAclWithObjectOwnership")
	requireCode(t, create(&s3.CreateBucketInput{GrantFullControl: aws.String("id=" + owner)}), "NotImplemented")
	requireCode(t, create(&s3.CreateBucketInput{GrantRead: aws.String(logDelivery), ACL: "private"}), "InvalidRequest")
	preferred := types.ObjectOwnershipBucketOwnerPreferred
	requireCode(t, create(&s3.CreateBucketInput{GrantRead: aws.String(everyone), ObjectOwnership: preferred}), "NotImplemented")
	denied := s3Client(t, s, "mallory", noRetries)
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::"+DefaultAccount+":user/mallory", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:CreateBucket","Resource":"*"}}`))
	_, err = denied.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("created"), GrantRead: aws.String(logDelivery), ObjectOwnership: preferred})
	require.ErrorContains(t, err, "not authorized to perform: s3:PutBucketAcl")

	require.NoError(t, create(&s3.CreateBucketInput{GrantRead: aws.String(logDelivery), GrantFullControl: aws.String(`id="` + owner + `", id=` + stranger), ObjectOwnership: preferred}))
	grants := func() []types.Grant {
		out, err := c.GetBucketAcl(t.Context(), &s3.GetBucketAclInput{Bucket: aws.String("created")})
		require.NoError(t, err)
		return out.Grants
	}
	user := func(id string, permission types.Permission) types.Grant {
		return types.Grant{Grantee: &types.Grantee{Type: types.TypeCanonicalUser, ID: &id}, Permission: permission}
	}
	logs := types.Grant{Grantee: &types.Grantee{Type: types.TypeGroup, URI: aws.String("http://acs.amazonaws.com/groups/s3/LogDelivery")}, Permission: types.PermissionRead}
	require.Equal(t, []types.Grant{logs, user(owner, types.PermissionFullControl), user(stranger, types.PermissionFullControl)}, grants())
	_, err = c.PutBucketOwnershipControls(t.Context(), &s3.PutBucketOwnershipControlsInput{Bucket: aws.String("created"),
		OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced}}}})
	requireCode(t, err, "InvalidBucketAclWithObjectOwnership")

	set := func(in *s3.PutBucketAclInput) error {
		in.Bucket = aws.String("created")
		_, err := c.PutBucketAcl(t.Context(), in)
		return err
	}
	require.NoError(t, set(&s3.PutBucketAclInput{GrantWriteACP: aws.String("id=" + stranger), GrantWrite: aws.String(logDelivery), GrantReadACP: aws.String("id=" + stranger)}))
	require.Equal(t, []types.Permission{types.PermissionWrite, types.PermissionReadAcp, types.PermissionWriteAcp},
		[]types.Permission{grants()[0].Permission, grants()[1].Permission, grants()[2].Permission}, "the owner gets nothing that is not granted")
	requireCode(t, set(&s3.PutBucketAclInput{GrantRead: aws.String(everyone)}), "AccessDenied")
	requireCode(t, set(&s3.PutBucketAclInput{ACL: types.BucketCannedACLAuthenticatedRead}), "AccessDenied")
	requireCode(t, set(&s3.PutBucketAclInput{GrantRead: aws.String("emailAddress=alice@example.com")}), "NotImplemented")
	requireCode(t, set(&s3.PutBucketAclInput{AccessControlPolicy: &types.AccessControlPolicy{Owner: &types.Owner{ID: &stranger}, Grants: []types.Grant{logs}}}), "NotImplemented")
	require.Len(t, grants(), 3)
	require.NoError(t, set(&s3.PutBucketAclInput{GrantFullControl: aws.String("id=" + owner)}))
	require.Equal(t, []types.Grant{user(owner, types.PermissionFullControl)}, grants())

	// A bucket that is created again gets a new ACL.
	require.NoError(t, create(&s3.CreateBucketInput{GrantRead: aws.String(logDelivery), ObjectOwnership: preferred}))
	require.Equal(t, []types.Grant{logs}, grants())
	require.NoError(t, create(&s3.CreateBucketInput{}))
	require.Equal(t, []types.Grant{user(owner, types.PermissionFullControl)}, grants())
	_, err = c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("enforced"), GrantRead: aws.String(logDelivery), ObjectOwnership: preferred})
	requireCode(t, err, "NotImplemented")
}

func TestGrantHeaders_OfObjects(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "enforced")
	withACLs(t, c, "preferred")
	put(t, c, "enforced", "k", "x")
	put(t, c, "preferred", "k", "x")
	owner := bucketOwner(t, c, "enforced")
	writes := map[string]func(bucket, read, full *string) error{
		"PutObject": func(bucket, read, full *string) error {
			_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String("k"), GrantRead: read, GrantFullControl: full})
			return err
		},
		"CopyObject": func(bucket, read, full *string) error {
			_, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("preferred/k"), GrantRead: read, GrantFullControl: full})
			return err
		},
		"CreateMultipartUpload": func(bucket, read, full *string) error {
			_, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("k"), GrantRead: read, GrantFullControl: full})
			return err
		},
		"PutObjectAcl": func(bucket, read, full *string) error {
			_, err := c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{Bucket: bucket, Key: aws.String("k"), GrantRead: read, GrantFullControl: full})
			return err
		},
	}
	ownerOnly, anyone, logs := aws.String(`id="`+owner+`"`), aws.String(everyone), aws.String(logDelivery)
	for name, write := range writes {
		for _, read := range []*string{anyone, logs, ownerOnly, aws.String("id=" + stranger)} {
			requireCode(t, write(aws.String("enforced"), read, nil), "AccessControlListNotSupported")
			requireCode(t, write(aws.String("preferred"), read, nil), "NotImplemented")
			requireCode(t, write(aws.String("preferred"), read, ownerOnly), "NotImplemented")
		}
		requireCode(t, write(aws.String("enforced"), nil, aws.String("id="+stranger)), "AccessControlListNotSupported")
		if name != "PutObjectAcl" { // which never sets an ACL where there are none
			requireCode(t, write(aws.String("enforced"), nil, ownerOnly), "NotImplemented")
		}
		require.NoError(t, write(aws.String("preferred"), nil, ownerOnly), name)
	}
	acl, err := c.GetObjectAcl(t.Context(), &s3.GetObjectAclInput{Bucket: aws.String("preferred"), Key: aws.String("k")})
	require.NoError(t, err)
	require.Len(t, acl.Grants, 1)

	// The grants need a permission of their own.
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::"+DefaultAccount+":user/mallory", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}}`))
	_, err = s3Client(t, s, "mallory", noRetries).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("preferred"), Key: aws.String("k"), GrantFullControl: ownerOnly})
	require.ErrorContains(t, err, "not authorized to perform: s3:PutObjectAcl")

	empty := map[string]string{"Code": "InvalidArgument", "Message": "Argument format not recognized", "ArgumentName": "x-amz-grant-read", "ArgumentValue": ""}
	require.Equal(t, empty, s3Error(t, s, http.MethodPut, "/preferred/k", "x", map[string]string{"X-Amz-Grant-Read": ""}))
	empty["ArgumentValue"] = `id="` + owner + `",`
	require.Equal(t, empty, s3Error(t, s, http.MethodPut, "/preferred/k", "x", map[string]string{"X-Amz-Grant-Read": `id="` + owner + `",`}))
}

// The account that has the bucket may say private where there are no ACLs: it owns the object
// anyway. For another account that would be an ACL without the bucket's owner.
func TestPrivateACL_WhereOwnershipIsEnforced(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice", noRetries)
	makeBucket(t, c, "enforced")
	put(t, c, "enforced", "source", "x")
	_, err := c.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("enforced"), Policy: aws.String(`{"Version":"2012-10-17","Statement":{
		"Effect":"Allow","Principal":{"AWS":"210987654321"},"Action":["s3:GetObject","s3:PutObject","s3:PutObjectAcl"],"Resource":"arn:aws:s3:::enforced/*"}}`)})
	require.NoError(t, err)
	bucket, key := aws.String("enforced"), aws.String("k")
	writes := map[string]func(c *s3.Client, acl types.ObjectCannedACL) error{
		"PutObject": func(c *s3.Client, acl types.ObjectCannedACL) error {
			_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key, ACL: acl})
			return err
		},
		"CopyObject": func(c *s3.Client, acl types.ObjectCannedACL) error {
			_, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: bucket, Key: key, CopySource: aws.String("enforced/source"), ACL: acl})
			return err
		},
		"CreateMultipartUpload": func(c *s3.Client, acl types.ObjectCannedACL) error {
			_, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key, ACL: acl})
			return err
		},
	}
	guest := s3Client(t, s, "210987654321", noRetries)
	for name, write := range writes {
		require.NoError(t, write(c, "private"), name)
		requireCode(t, write(c, "bucket-owner-read"), "AccessControlListNotSupported")
		requireCode(t, write(guest, "private"), "AccessControlListNotSupported")
		require.NoError(t, write(guest, "bucket-owner-full-control"), name)
	}
	owner := bucketOwner(t, c, "enforced")
	acl, err := c.GetObjectAcl(t.Context(), &s3.GetObjectAclInput{Bucket: bucket, Key: key})
	require.NoError(t, err)
	require.Len(t, acl.Grants, 1)
	require.Equal(t, owner, *acl.Grants[0].Grantee.ID)
}

func TestPutBucketAcl_KeepsGrantsBehindTheOwners(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	withACLs(t, c, "listed")
	owner := bucketOwner(t, c, "listed")
	grants := []types.Grant{
		{Grantee: &types.Grantee{Type: types.TypeCanonicalUser, ID: &owner}, Permission: types.PermissionFullControl},
		{Grantee: &types.Grantee{Type: types.TypeGroup, URI: aws.String("http://acs.amazonaws.com/groups/s3/LogDelivery")}, Permission: types.PermissionWrite},
	}
	_, err := c.PutBucketAcl(t.Context(), &s3.PutBucketAclInput{Bucket: aws.String("listed"), AccessControlPolicy: &types.AccessControlPolicy{Owner: &types.Owner{ID: &owner}, Grants: grants}})
	require.NoError(t, err)
	out, err := c.GetBucketAcl(t.Context(), &s3.GetBucketAclInput{Bucket: aws.String("listed")})
	require.NoError(t, err)
	require.Equal(t, grants, out.Grants)
}
