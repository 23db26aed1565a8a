package localaws

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
)

// The accounts of the organization. The trail's is the management account.
const (
	organizationID   = "o-a1b2c3d4e5"
	memberAccount    = "111122223333"
	otherMember      = "222233334444"
	suspendedAccount = "333344445555"
	outsideAccount   = "999988887777"
)

// organizationPolicy is the bucket policy that CloudTrail's documentation prescribes for
// the trail of an organization.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-create-and-update-an-organizational-trail-by-using-the-aws-cli.html
var organizationPolicy = strings.TrimSuffix(trailPolicy, "]}") + `,
	{"Sid":"AWSCloudTrailOrganizationWrite20150319","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::` + logBucket + `/AWSLogs/` + organizationID + `/*",
	 "Condition":{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control","aws:SourceArn":"` + auditTrail + `"}}}]}`

func anOrganization() Organization {
	return Organization{ID: organizationID, Management: trailAccount, Accounts: []OrganizationAccount{
		{ID: trailAccount, Email: "management@example.com"}, {ID: memberAccount}, {ID: otherMember}, {ID: suspendedAccount, State: "SUSPENDED"},
	}}
}

// withOrganization is a server with an organization that trusts CloudTrail, and with a
// bucket for the log files of its trail.
func withOrganization(t *testing.T, now func() time.Time) (*Server, aws.Config, *s3.Client) {
	t.Helper()
	s := withTrail(t, now)
	require.NoError(t, s.SetOrganization(anOrganization()))
	cfg := awsConfig(t, s, trailAccount, noRetries)
	trustCloudTrail(t, cfg)
	return s, cfg, makeLogBucket(t, s, organizationPolicy)
}

func trustCloudTrail(t *testing.T, cfg aws.Config) {
	t.Helper()
	_, err := organizations.NewFromConfig(cfg).EnableAWSServiceAccess(t.Context(), &organizations.EnableAWSServiceAccessInput{ServicePrincipal: aws.String("cloudtrail.amazonaws.com")})
	require.NoError(t, err)
}

func organizationTrail() *cloudtrail.CreateTrailInput {
	return &cloudtrail.CreateTrailInput{Name: aws.String("audit"), S3BucketName: aws.String(logBucket),
		IsOrganizationTrail: aws.Bool(true), IsMultiRegionTrail: aws.Bool(true), EnableLogFileValidation: aws.Bool(true)}
}

// startedTrail makes the organization's trail, and starts it.
func startedTrail(t *testing.T, cfg aws.Config, in *cloudtrail.CreateTrailInput) *cloudtrail.Client {
	t.Helper()
	c := cloudtrail.NewFromConfig(cfg)
	created, err := c.CreateTrail(t.Context(), in)
	require.NoError(t, err)
	require.True(t, *created.IsOrganizationTrail)
	_, err = c.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String("audit")})
	require.NoError(t, err)
	return c
}

// filesOf lists an account's files of the organization's trail.
func filesOf(t *testing.T, c *s3.Client, account, folder string) []string {
	t.Helper()
	out, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(logBucket), Prefix: aws.String("AWSLogs/" + organizationID + "/" + account + "/" + folder)})
	require.NoError(t, err)
	require.False(t, *out.IsTruncated)
	var keys []string
	for _, o := range out.Contents {
		keys = append(keys, *o.Key)
	}
	return keys
}

func TestOrganizationTrail_Refusals(t *testing.T) {
	t.Parallel()
	s := withTrail(t, time.Now)
	bucket := makeLogBucket(t, s, organizationPolicy)
	refused := func(account, code string) {
		t.Helper()
		_, err := cloudtrail.NewFromConfig(awsConfig(t, s, account, noRetries)).CreateTrail(t.Context(), organizationTrail())
		requireCode(t, err, code)
	}
	refused(trailAccount, "OrganizationsNotInUseException")
	o := anOrganization()
	o.FeatureSet = "CONSOLIDATED_BILLING"
	require.NoError(t, s.SetOrganization(o))
	refused(outsideAccount, "OrganizationsNotInUseException")
	refused(memberAccount, "NotOrganizationMasterAccountException")
	refused(suspendedAccount, "NotOrganizationMasterAccountException")
	refused(trailAccount, "OrganizationNotInAllFeaturesModeException")
	require.NoError(t, s.SetOrganization(anOrganization()))
	refused(trailAccount, "CloudTrailAccessNotEnabledException")
	cfg := awsConfig(t, s, trailAccount, noRetries)
	trustCloudTrail(t, cfg)

	user := "arn:aws:iam::" + trailAccount + ":user/localaws"
	require.NoError(t, s.SetIdentityPolicy(user, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["cloudtrail:*","iam:*","organizations:Describe*"],"Resource":"*"}}`))
	refused(trailAccount, "InsufficientDependencyServiceAccessPermissionException")
	require.NoError(t, s.SetIdentityPolicy(user, ""))

	// Each of the two folders that CloudTrail's documentation has in the policy is needed.
	for _, folder := range []string{"AWSLogs/" + organizationID + "/", "AWSLogs/" + trailAccount + "/"} {
		policy := strings.Replace(organizationPolicy, folder, "elsewhere/", 1)
		_, err := bucket.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(logBucket), Policy: &policy})
		require.NoError(t, err)
		refused(trailAccount, "InsufficientS3BucketPolicyException")
	}
	_, err := bucket.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(logBucket), Policy: &organizationPolicy})
	require.NoError(t, err)
	startedTrail(t, cfg, organizationTrail())

	// The organization of a trail stays.
	require.ErrorContains(t, s.SetOrganization(Organization{}), auditTrail)
	o = anOrganization()
	o.Management = memberAccount
	require.ErrorContains(t, s.SetOrganization(o), auditTrail)
}

// Every active account's events are in its own folder, under the management account's
// key, whose policy names no other account. An account that joins is logged from then on,
// and one that leaves no longer.
func TestOrganizationTrail_DeliversEveryAccount(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s, cfg, bucket := withOrganization(t, clock.now)
	key, err := kms.NewFromConfig(cfg).CreateKey(t.Context(), &kms.CreateKeyInput{Policy: aws.String(trailKeyPolicy)})
	require.NoError(t, err)
	in := organizationTrail()
	in.KmsKeyId = key.KeyMetadata.Arn
	startedTrail(t, cfg, in)

	makeKeys := func() {
		t.Helper()
		for _, account := range []string{trailAccount, memberAccount, otherMember, suspendedAccount, outsideAccount} {
			_, err := kms.NewFromConfig(awsConfig(t, s, account)).CreateKey(t.Context(), nil)
			require.NoError(t, err)
		}
	}
	// records are those of a log file's key.
	records := func(key string) []trailEntry {
		t.Helper()
		file, err := bucket.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(logBucket), Key: &key})
		require.NoError(t, err)
		return logRecords(t, file.Body)
	}
	makeKeys()
	elsewhere := kms.NewFromConfig(awsConfig(t, s, memberAccount), func(o *kms.Options) { o.Region = "eu-west-1" })
	_, err = elsewhere.CreateKey(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, s.DeliverTrails())

	require.Empty(t, trailFiles(t, bucket, ""), "the folder of a trail of one account")
	for account, regions := range map[string][]string{
		trailAccount: {"us-east-1"}, memberAccount: {"eu-west-1", "us-east-1"}, otherMember: {"us-east-1"}, suspendedAccount: nil, outsideAccount: nil,
	} {
		files := filesOf(t, bucket, account, "CloudTrail/")
		require.Len(t, files, len(regions), account)
		for i, region := range regions {
			require.Regexp(t, fmt.Sprintf(`^AWSLogs/%s/%s/CloudTrail/%s/2026/03/01/%s_CloudTrail_%s_20260301T1200Z_[A-Z2-7]{16}\.json\.gz$`, organizationID, account, region, account, region), files[i])
			for _, record := range records(files[i]) {
				require.Equal(t, account, record.RecipientAccountID)
			}
			head, err := bucket.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(logBucket), Key: &files[i]})
			require.NoError(t, err)
			require.Equal(t, *key.KeyMetadata.Arn, *head.SSEKMSKeyId)
		}
	}

	clock.advance(time.Hour)
	require.NoError(t, s.DeliverTrails())
	for _, account := range []string{trailAccount, memberAccount, otherMember} {
		digests := filesOf(t, bucket, account, "CloudTrail-Digest/")
		require.Len(t, digests, 17, "one for each Region")
		i := slices.IndexFunc(digests, func(key string) bool { return strings.Contains(key, "/us-east-1/") })
		require.Regexp(t, regexp.MustCompile(`^AWSLogs/`+organizationID+`/`+account+`/CloudTrail-Digest/us-east-1/2026/03/01/`+account+`_CloudTrail-Digest_us-east-1_audit_us-east-1_20260301T130000Z\.json\.gz$`), digests[i])
	}
	require.Empty(t, filesOf(t, bucket, suspendedAccount, ""))

	o := anOrganization()
	o.Accounts[2].State, o.Accounts[3].State = "SUSPENDED", "ACTIVE"
	require.NoError(t, s.SetOrganization(o))
	before := map[string]int{}
	for _, account := range []string{otherMember, suspendedAccount} {
		before[account] = len(filesOf(t, bucket, account, "CloudTrail/"))
	}
	makeKeys()
	clock.advance(time.Minute)
	require.NoError(t, s.DeliverTrails())
	require.Len(t, filesOf(t, bucket, otherMember, "CloudTrail/"), before[otherMember])
	require.Len(t, filesOf(t, bucket, suspendedAccount, "CloudTrail/"), before[suspendedAccount]+1)
	clock.advance(2 * time.Hour)
	require.NoError(t, s.DeliverTrails())
	require.Len(t, filesOf(t, bucket, suspendedAccount, "CloudTrail-Digest/us-east-1/"), 2)
	require.Len(t, filesOf(t, bucket, otherMember, "CloudTrail-Digest/us-east-1/"), 2, "one last digest")
}

// A member sees the trail by its ARN, and cannot change it.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_DescribeTrails.html
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_GetTrailStatus.html
func TestOrganizationTrail_SeenFromAMember(t *testing.T) {
	t.Parallel()
	s, cfg, _ := withOrganization(t, time.Now)
	startedTrail(t, cfg, organizationTrail())
	ctx := t.Context()
	for _, region := range []string{"us-east-1", "eu-west-1"} {
		c := cloudtrail.NewFromConfig(awsConfig(t, s, memberAccount, noRetries), func(o *cloudtrail.Options) { o.Region = region })
		described, err := c.DescribeTrails(ctx, nil)
		require.NoError(t, err)
		require.Len(t, described.TrailList, 1)
		trail := described.TrailList[0]
		require.Equal(t, auditTrail, *trail.TrailARN)
		require.Equal(t, "us-east-1", *trail.HomeRegion)
		require.True(t, *trail.IsOrganizationTrail)
		described, err = c.DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{IncludeShadowTrails: aws.Bool(false)})
		require.NoError(t, err)
		require.Empty(t, described.TrailList)
		described, err = c.DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{TrailNameList: []string{"audit"}})
		require.NoError(t, err)
		require.Empty(t, described.TrailList, "a name is one of the account's own trails")
		described, err = c.DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{TrailNameList: []string{auditTrail}})
		require.NoError(t, err)
		require.Len(t, described.TrailList, 1)

		_, err = c.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: aws.String("audit")})
		requireCode(t, err, "TrailNotFoundException")
		require.ErrorContains(t, err, "Unknown trail: arn:aws:cloudtrail:"+region+":"+memberAccount+":trail/audit for the user: "+memberAccount)
		status, err := c.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: aws.String(auditTrail)})
		require.NoError(t, err)
		require.True(t, *status.IsLogging)
		selectors, err := c.GetEventSelectors(ctx, &cloudtrail.GetEventSelectorsInput{TrailName: aws.String(auditTrail)})
		require.NoError(t, err)
		require.Equal(t, types.ReadWriteTypeAll, selectors.EventSelectors[0].ReadWriteType)
		got, err := c.GetTrail(ctx, &cloudtrail.GetTrailInput{Name: aws.String(auditTrail)})
		require.NoError(t, err)
		require.Equal(t, trail, *got.Trail)

		_, err = c.ListTags(ctx, &cloudtrail.ListTagsInput{ResourceIdList: []string{auditTrail}})
		requireCode(t, err, "CloudTrailARNInvalidException")
		require.ErrorContains(t, err, "you can only access resources with AccountID "+memberAccount)
		for name, change := range map[string]func() error{
			"StopLogging": func() error {
				_, err := c.StopLogging(ctx, &cloudtrail.StopLoggingInput{Name: aws.String(auditTrail)})
				return err
			},
			"DeleteTrail": func() error {
				_, err := c.DeleteTrail(ctx, &cloudtrail.DeleteTrailInput{Name: aws.String(auditTrail)})
				return err
			},
			"UpdateTrail": func() error {
				_, err := c.UpdateTrail(ctx, &cloudtrail.UpdateTrailInput{Name: aws.String(auditTrail), EnableLogFileValidation: aws.Bool(false)})
				return err
			},
			"PutEventSelectors": func() error {
				_, err := c.PutEventSelectors(ctx, &cloudtrail.PutEventSelectorsInput{TrailName: aws.String(auditTrail), EventSelectors: []types.EventSelector{{ReadWriteType: types.ReadWriteTypeWriteOnly}}})
				return err
			},
		} {
			require.Equal(t, "NotOrganizationMasterAccountException", apiCode(change()), name)
		}
	}
	for _, account := range []string{suspendedAccount, outsideAccount} {
		c := cloudtrail.NewFromConfig(awsConfig(t, s, account, noRetries))
		described, err := c.DescribeTrails(ctx, nil)
		require.NoError(t, err)
		require.Empty(t, described.TrailList)
		_, err = c.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: aws.String(auditTrail)})
		requireCode(t, err, "TrailNotFoundException")
	}
	// AWS does not document whether a member's list has it.
	_, err := cloudtrail.NewFromConfig(awsConfig(t, s, memberAccount, noRetries)).ListTrails(ctx, nil)
	requireCode(t, err, "NotImplemented")
	listed, err := cloudtrail.NewFromConfig(cfg).ListTrails(ctx, nil)
	require.NoError(t, err)
	require.Len(t, listed.Trails, 1)
}

// A trail of one account becomes the organization's. It does not become one account's
// again, and not while digest files are due: their chain then is not documented.
func TestOrganizationTrail_FromATrailOfOneAccount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() *Server {
		return newServer(t, unthrottled, func(o *Options) { o.Dir, o.TrailDelivery = dir, -1 })
	}
	s := open()
	require.NoError(t, s.SetOrganization(anOrganization()))
	cfg := awsConfig(t, s, trailAccount, noRetries)
	trustCloudTrail(t, cfg)
	makeLogBucket(t, s, organizationPolicy)
	c := cloudtrail.NewFromConfig(cfg)
	in := organizationTrail()
	in.IsOrganizationTrail = nil
	_, err := c.CreateTrail(t.Context(), in)
	require.NoError(t, err)
	_, err = c.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String("audit")})
	require.NoError(t, err)
	update := func(organization bool) error {
		_, err := c.UpdateTrail(t.Context(), &cloudtrail.UpdateTrailInput{Name: aws.String("audit"), IsOrganizationTrail: &organization})
		return err
	}
	requireCode(t, update(true), "NotImplemented")
	_, err = c.UpdateTrail(t.Context(), &cloudtrail.UpdateTrailInput{Name: aws.String("audit"), EnableLogFileValidation: aws.Bool(false)})
	require.NoError(t, err)
	require.NoError(t, update(true))
	requireCode(t, update(false), "NotImplemented")
	require.NoError(t, s.Close())

	s = open()
	cfg = awsConfig(t, s, trailAccount, noRetries)
	got, err := cloudtrail.NewFromConfig(cfg).GetTrail(t.Context(), &cloudtrail.GetTrailInput{Name: aws.String("audit")})
	require.NoError(t, err)
	require.True(t, *got.Trail.IsOrganizationTrail)
	_, err = kms.NewFromConfig(awsConfig(t, s, memberAccount)).CreateKey(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, s.DeliverTrails())
	require.Len(t, filesOf(t, s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), memberAccount, "CloudTrail/us-east-1/"), 1)
}

// The data events of a member's bucket are logged with the management account's
// selectors.
func TestOrganizationTrail_DataEventsOfAMember(t *testing.T) {
	t.Parallel()
	s, cfg, bucket := withOrganization(t, time.Now)
	c := startedTrail(t, cfg, organizationTrail())
	name := aws.String("orders-111122223333")
	member := s3.NewFromConfig(awsConfig(t, s, memberAccount), func(o *s3.Options) { o.UsePathStyle = true })
	_, err := member.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: name})
	require.NoError(t, err)
	_, err = c.PutEventSelectors(t.Context(), &cloudtrail.PutEventSelectorsInput{TrailName: aws.String("audit"), EventSelectors: []types.EventSelector{{
		DataResources: []types.DataResource{{Type: aws.String("AWS::S3::Object"), Values: []string{"arn:aws:s3:::orders-111122223333/"}}},
	}}})
	require.NoError(t, err)
	_, err = member.PutObject(t.Context(), &s3.PutObjectInput{Bucket: name, Key: aws.String("1"), Body: strings.NewReader("data")})
	require.NoError(t, err)
	require.NoError(t, s.DeliverTrails())
	files := filesOf(t, bucket, memberAccount, "CloudTrail/")
	require.Len(t, files, 1)
	file, err := bucket.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(logBucket), Key: &files[0]})
	require.NoError(t, err)
	data := dataEvents(logRecords(t, file.Body))
	require.Len(t, data, 1)
	require.Equal(t, "PutObject", data[0].EventName)
}

// The unmodified AWS CLI validates the log files of a member.
func TestAWSCLI_ValidatesLogsOfAMember(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64 // the CLI asks for the time until now
	offset.Store(int64(-5 * time.Hour))
	now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	s, _, bucket := withOrganization(t, now)
	c := newAWSCLI(t, s)
	var organization struct {
		Organization struct{ Id, Arn, FeatureSet, MasterAccountArn, MasterAccountEmail string }
	}
	require.NoError(t, json.Unmarshal([]byte(c.run("organizations", "describe-organization")), &organization))
	require.Equal(t, "arn:aws:organizations::"+trailAccount+":organization/"+organizationID, organization.Organization.Arn)
	require.Equal(t, "management@example.com", organization.Organization.MasterAccountEmail)
	require.Contains(t, c.run("organizations", "list-aws-service-access-for-organization"), "cloudtrail.amazonaws.com")

	start := now().UTC().Format(time.RFC3339)
	c.run("cloudtrail", "create-trail", "--name", "audit", "--s3-bucket-name", logBucket, "--enable-log-file-validation", "--is-organization-trail")
	c.run("cloudtrail", "start-logging", "--name", "audit")
	member := kms.NewFromConfig(awsConfig(t, s, memberAccount))
	for range 4 {
		_, err := member.CreateKey(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, s.DeliverTrails())
		offset.Add(int64(time.Hour + time.Minute))
		require.NoError(t, s.DeliverTrails())
	}
	validate := func(args ...string) string {
		out, errs, _ := c.try(append([]string{"cloudtrail", "validate-logs", "--trail-arn", auditTrail, "--start-time", start, "--verbose"}, args...)...)
		return out + errs
	}
	require.Contains(t, validate(), "--account-id")
	for account, logs := range map[string]string{memberAccount: "4/4 log files valid", trailAccount: "log files valid", otherMember: ""} {
		out := validate("--account-id", account)
		require.Contains(t, out, "4/4 digest files valid", account)
		require.Contains(t, out, logs, account)
		require.NotContains(t, out, "INVALID", account)
	}
	files := filesOf(t, bucket, memberAccount, "CloudTrail/")
	_, err := bucket.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(logBucket), Key: &files[1]})
	require.NoError(t, err)
	require.Contains(t, validate("--account-id", memberAccount), "INVALID: not found")
}

func TestOrganizationTrail_OtherTrailsAreNotShared(t *testing.T) {
	t.Parallel()
	s, cfg, _ := withOrganization(t, time.Now)
	in := organizationTrail()
	in.IsOrganizationTrail = nil
	_, err := cloudtrail.NewFromConfig(cfg).CreateTrail(t.Context(), in)
	require.NoError(t, err)
	c := cloudtrail.NewFromConfig(awsConfig(t, s, memberAccount, noRetries))
	described, err := c.DescribeTrails(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, described.TrailList)
	_, err = c.GetTrail(t.Context(), &cloudtrail.GetTrailInput{Name: aws.String(auditTrail)})
	requireCode(t, err, "TrailNotFoundException")
}
