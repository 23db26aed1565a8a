package check

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/verify/report"
)

const (
	organizationID = "o-a1b2c3d4e5"
	management     = "444455556666"
	ofOrganization = "arn:aws:cloudtrail:" + region + ":" + management + ":trail/" + trailName
	folderOfMember = "AWSLogs/" + organizationID + "/" + owner

	// organizationsPolicy is the bucket policy that AWS documents for the trail of an
	// organization, and read access for the examined account to its own folder alone.
	// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-create-and-update-an-organizational-trail-by-using-the-aws-cli.html
	organizationsPolicy = `{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:GetBucketAcl","Resource":"arn:aws:s3:::` + logsBucket + `","Condition":{"StringEquals":{"aws:SourceArn":"` + ofOrganization + `"}}},
{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:PutObject","Resource":["arn:aws:s3:::` + logsBucket + `/AWSLogs/` + management + `/*","arn:aws:s3:::` + logsBucket + `/AWSLogs/` + organizationID + `/*"],
	"Condition":{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control","aws:SourceArn":"` + ofOrganization + `"}}},
{"Effect":"Allow","Principal":{"AWS":"` + owner + `"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::` + logsBucket + `/` + folderOfMember + `/*"},
{"Effect":"Allow","Principal":{"AWS":"` + owner + `"},"Action":"s3:ListBucket","Resource":"arn:aws:s3:::` + logsBucket + `"` + ownPrefix + `}]}`
	ownPrefix = `,"Condition":{"StringLike":{"s3:prefix":"` + folderOfMember + `/*"}}`

	// organizationsKeyPolicy is that of the trail's key. The examined account may decrypt,
	// and describe the key where DESCRIBE stands.
	organizationsKeyPolicy = `{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + management + `:root"},"Action":"kms:*","Resource":"*"},
{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"kms:GenerateDataKey*","Resource":"*",
	"Condition":{"StringEquals":{"aws:SourceArn":"` + ofOrganization + `"},"StringLike":{"kms:EncryptionContext:aws:cloudtrail:arn":"arn:aws:cloudtrail:*:` + management + `:trail/*"}}},
{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + owner + `:root"},"Action":[DESCRIBE"kms:Decrypt"],"Resource":"*"}]}`
)

// newOrganizationStack makes a stack in a member account of an organization whose trail
// has logged, for hours, the write and the read of [exact].
func newOrganizationStack(t *testing.T, o localaws.Options) *loggedStack {
	t.Helper()
	clock := newClock()
	o.Now, o.TrailDelivery = clock.now, -1
	s := &loggedStack{stack: goodStackIn(t, o), clock: clock}
	require.NoError(t, s.aws.SetOrganization(localaws.Organization{ID: organizationID, Management: management, Accounts: []localaws.OrganizationAccount{{ID: management}, {ID: owner}}}))
	cfg := configFor(t, s.aws, management)
	s.files = s3.NewFromConfig(cfg)
	_, err := s.files.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(logsBucket)})
	require.NoError(t, err)
	_, err = s.files.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(logsBucket), Policy: aws.String(organizationsPolicy)})
	require.NoError(t, err)
	key, err := kms.NewFromConfig(cfg).CreateKey(t.Context(), &kms.CreateKeyInput{Policy: aws.String(strings.Replace(organizationsKeyPolicy, "DESCRIBE", `"kms:DescribeKey",`, 1))})
	require.NoError(t, err)
	_, err = organizations.NewFromConfig(cfg).EnableAWSServiceAccess(t.Context(), &organizations.EnableAWSServiceAccessInput{ServicePrincipal: aws.String("cloudtrail.amazonaws.com")})
	require.NoError(t, err)
	c := cloudtrail.NewFromConfig(cfg)
	_, err = c.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: aws.String(trailName), S3BucketName: aws.String(logsBucket), KmsKeyId: key.KeyMetadata.Arn,
		EnableLogFileValidation: aws.Bool(true), IsMultiRegionTrail: aws.Bool(true), IsOrganizationTrail: aws.Bool(true)})
	require.NoError(t, err)
	clock.add(time.Hour)
	s.began = clock.now()
	_, err = c.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String(trailName)})
	require.NoError(t, err)
	clock.add(5 * time.Minute)
	s.config.Now = clock.now
	s.config.Events, s.config.Objects, s.config.Only = "s3://"+logsBucket, []string{exact}, []string{"trail"}
	s.config.Since = hours*time.Hour + 3*time.Minute
	s.put(t, s.cfg, exact, withoutBucketKey(s.keyARN))
	s.get(t, s.cfg, exact)
	for range hours {
		s.pass(t, time.Hour)
	}
	clock.add(time.Minute)
	return s
}

// A member account finds its own events in the organization's trail, validated, with
// access to its own folder of the bucket alone.
func TestLogFiles_OfAnOrganizationsTrail(t *testing.T) {
	t.Parallel()
	s := newOrganizationStack(t, localaws.Options{})
	rep := s.run(t)
	for _, id := range []string{"trail.integrity", "trail.write", "trail.read"} {
		x := result(t, rep, id)
		require.Equal(t, report.Pass, x.Status, show(rep))
		if id != "trail.integrity" {
			require.Contains(t, x.Evidence[0].Detail, "in s3://"+logsBucket+"/"+folderOfMember+"/CloudTrail/"+region+"/")
		}
	}

	// A file that is removed from the folder is found. S3 refuses it instead to a caller that
	// may list only a prefix.
	folder := folderOfMember + "/CloudTrail/" + region + "/"
	out, err := s.files.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(logsBucket), Prefix: &folder})
	require.NoError(t, err)
	s.remove(t, *out.Contents[0].Key)
	x := result(t, s.run(t), "trail.integrity")
	require.Equal(t, report.Error, x.Status, x.Actual)
	require.Contains(t, x.Actual, "s3:GetObject answered AccessDenied")
	_, err = s.files.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(logsBucket), Policy: aws.String(strings.Replace(organizationsPolicy, ownPrefix, "", 1))})
	require.NoError(t, err)
	x = result(t, s.run(t), "trail.integrity")
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Contains(t, x.Actual, *out.Contents[0].Key)

	// The permissions that verify iam prints suffice, and the one for the organization's ID
	// is needed.
	policy, err := Policy(s.config)
	require.NoError(t, err)
	user := "arn:aws:iam::" + owner + ":user/localaws"
	require.NoError(t, s.aws.SetIdentityPolicy(user, string(policy)))
	require.Equal(t, report.Fail, result(t, s.run(t), "trail.integrity").Status)
	require.NoError(t, s.aws.SetIdentityPolicy(user, strings.Replace(string(policy), "organizations:DescribeOrganization", "organizations:ListAccounts", 1)))
	x = result(t, s.run(t), "trail.integrity")
	require.Equal(t, report.Error, x.Status, x.Actual)
	require.Contains(t, x.Actual, "organizations:DescribeOrganization")
}

// The organization's trail is one that a member's account has, if its key can be
// described.
func TestTrailLogging_OfTheOrganization(t *testing.T) {
	t.Parallel()
	s := newOrganizationStack(t, localaws.Options{})
	logging := func(region string) report.Result {
		t.Helper()
		s.config.Events, s.config.AWS.Region, s.config.Keys, s.config.Alias = "", region, nil, ""
		return s.one(t, "trail.logging")
	}
	for _, r := range []string{region, "eu-west-1"} {
		x := logging(r)
		require.Equal(t, report.Pass, x.Status, x.Actual)
		require.Contains(t, x.Actual, "the trail "+ofOrganization+", which the account "+management+" has for the organization, does")
	}
	cfg := configFor(t, s.aws, management)
	trails := cloudtrail.NewFromConfig(cfg)
	out, err := trails.DescribeTrails(t.Context(), nil)
	require.NoError(t, err)
	_, err = kms.NewFromConfig(cfg).PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: out.TrailList[0].KmsKeyId, Policy: aws.String(strings.Replace(organizationsKeyPolicy, "DESCRIBE", "", 1))})
	require.NoError(t, err)
	x := logging(region)
	require.Equal(t, report.Inconclusive, x.Status, x.Actual)
	require.Contains(t, x.Actual, "could not be described")
	require.Contains(t, x.Remedy, "in the account "+management)
	_, err = trails.StopLogging(t.Context(), &cloudtrail.StopLoggingInput{Name: aws.String(trailName)})
	require.NoError(t, err)
	x = logging(region)
	require.Equal(t, report.Fail, x.Status, x.Actual)
	require.Contains(t, x.Actual, "is not logging")
}
