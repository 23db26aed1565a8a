package localaws

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cttypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"
)

// newKey makes a KMS key with an alias and returns its ARN.
func newKey(t *testing.T, cfg aws.Config, alias string) string {
	t.Helper()
	c := kms.NewFromConfig(cfg)
	key, err := c.CreateKey(t.Context(), nil)
	require.NoError(t, err)
	_, err = c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: key.KeyMetadata.KeyId})
	require.NoError(t, err)
	return *key.KeyMetadata.Arn
}

func defaultKey(t *testing.T, c *ec2.Client) string {
	t.Helper()
	out, err := c.GetEbsDefaultKmsKeyId(t.Context(), nil)
	require.NoError(t, err)
	return *out.KmsKeyId
}

func TestEBSDefaults_Switch(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := ec2.NewFromConfig(awsConfig(t, s, "alice"))
	get, err := c.GetEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	require.False(t, *get.EbsEncryptionByDefault)
	require.Equal(t, types.SSETypeNone, get.SseType)

	on, err := c.EnableEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, *on.EbsEncryptionByDefault)
	get, err = c.GetEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, *get.EbsEncryptionByDefault)
	require.Equal(t, types.SSETypeSseKms, get.SseType)

	for name, elsewhere := range map[string]aws.Config{
		"another Region":  awsConfig(t, s, "alice", config.WithRegion("eu-west-1")),
		"another account": awsConfig(t, s, "210987654321"),
	} {
		get, err := ec2.NewFromConfig(elsewhere).GetEbsEncryptionByDefault(t.Context(), nil)
		require.NoError(t, err, name)
		require.False(t, *get.EbsEncryptionByDefault, name)
	}

	off, err := c.DisableEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	require.False(t, *off.EbsEncryptionByDefault)
	get, err = c.GetEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	require.False(t, *get.EbsEncryptionByDefault)
}

func TestEBSDefaults_Key(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := awsConfig(t, s, "alice")
	c := ec2.NewFromConfig(cfg)
	arn := newKey(t, cfg, "alias/mine")
	require.Equal(t, "alias/aws/ebs", defaultKey(t, c))

	for _, id := range []string{arn, arn[len(arn)-36:], "alias/mine", "arn:aws:kms:us-east-1:123456789012:alias/mine"} {
		set, err := c.ModifyEbsDefaultKmsKeyId(t.Context(), &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &id})
		require.NoError(t, err, id)
		require.Equal(t, arn, *set.KmsKeyId, id)
		require.Equal(t, arn, defaultKey(t, c), id)
	}
	require.Equal(t, "alias/aws/ebs", defaultKey(t, ec2.NewFromConfig(awsConfig(t, s, "alice", config.WithRegion("eu-west-1")))))

	reset, err := c.ResetEbsDefaultKmsKeyId(t.Context(), nil)
	require.NoError(t, err)
	managed, err := kms.NewFromConfig(cfg).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: aws.String("alias/aws/ebs")})
	require.NoError(t, err)
	require.Equal(t, *managed.KeyMetadata.Arn, *reset.KmsKeyId)
	require.Equal(t, *managed.KeyMetadata.Arn, defaultKey(t, c))
}

func TestModifyEbsDefaultKmsKeyId_Refuses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := awsConfig(t, s, "alice", noRetries)
	c := ec2.NewFromConfig(cfg)
	disabled := newKey(t, cfg, "alias/disabled")
	_, err := kms.NewFromConfig(cfg).DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &disabled})
	require.NoError(t, err)
	deleted := newKey(t, cfg, "alias/deleted")
	_, err = kms.NewFromConfig(cfg).ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &deleted})
	require.NoError(t, err)
	foreign := newKey(t, awsConfig(t, s, "alice", config.WithRegion("eu-west-1")), "alias/foreign")
	for _, tc := range []struct{ name, key, code string }{
		{"no key", "", "MissingParameter"},
		{"malformed", "not a key", "InvalidParameterValue"},
		{"unknown id", "11111111-1111-4111-8111-111111111111", "InvalidParameterValue"},
		{"unknown alias", "alias/missing", "InvalidParameterValue"},
		{"another Region's key", foreign, "InvalidParameterValue"},
		{"disabled", disabled, "InvalidKMSKey.InvalidState"},
		{"pending deletion", deleted, "InvalidKMSKey.InvalidState"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &tc.key}
			_, err := c.ModifyEbsDefaultKmsKeyId(t.Context(), in)
			requireCode(t, err, tc.code)
			require.Equal(t, "alias/aws/ebs", defaultKey(t, c))
		})
	}
}

func gp3(zone string) *ec2.CreateVolumeInput {
	return &ec2.CreateVolumeInput{AvailabilityZone: &zone, Size: aws.Int32(8), VolumeType: types.VolumeTypeGp3}
}

func TestCreateVolume_ObeysTheDefaults(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := awsConfig(t, s, "alice")
	c := ec2.NewFromConfig(cfg)
	mine, other := newKey(t, cfg, "alias/mine"), newKey(t, cfg, "alias/other")

	plain, err := c.CreateVolume(t.Context(), gp3("us-east-1a"))
	require.NoError(t, err)
	require.False(t, *plain.Encrypted)
	require.Nil(t, plain.KmsKeyId)
	require.Equal(t, types.VolumeStateCreating, plain.State)

	in := gp3("us-east-1a")
	in.Encrypted = aws.Bool(true)
	managed, err := c.CreateVolume(t.Context(), in)
	require.NoError(t, err)
	key, err := kms.NewFromConfig(cfg).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: aws.String("alias/aws/ebs")})
	require.NoError(t, err)
	require.Equal(t, *key.KeyMetadata.Arn, *managed.KmsKeyId)

	_, err = c.ModifyEbsDefaultKmsKeyId(t.Context(), &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &mine})
	require.NoError(t, err)
	_, err = c.EnableEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	for name, encrypted := range map[string]*bool{"not said": nil, "said not to be": aws.Bool(false)} {
		in := gp3("us-east-1b")
		in.Encrypted = encrypted
		v, err := c.CreateVolume(t.Context(), in)
		require.NoError(t, err, name)
		require.True(t, *v.Encrypted, name)
		require.Equal(t, mine, *v.KmsKeyId, name)
	}
	in = gp3("us-east-1a")
	in.Encrypted, in.KmsKeyId = aws.Bool(true), aws.String("alias/other")
	v, err := c.CreateVolume(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, other, *v.KmsKeyId)

	events, err := cloudtrail.NewFromConfig(cfg).LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{
		LookupAttributes: []cttypes.LookupAttribute{{AttributeKey: cttypes.LookupAttributeKeyResourceName, AttributeValue: &other}}})
	require.NoError(t, err)
	require.Contains(t, *events.Events[0].EventName, "GenerateDataKey")
	require.Contains(t, *events.Events[0].CloudTrailEvent, *v.VolumeId)

	in.KmsKeyId, in.Encrypted = &other, nil
	_, err = c.CreateVolume(t.Context(), in)
	requireCode(t, err, "InvalidParameterDependency")
}

func TestCreateVolume_RefusesADefaultKeyThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := awsConfig(t, s, "alice", noRetries)
	c, k := ec2.NewFromConfig(cfg), kms.NewFromConfig(cfg)
	key := newKey(t, cfg, "alias/mine")
	_, err := c.ModifyEbsDefaultKmsKeyId(t.Context(), &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &key})
	require.NoError(t, err)
	_, err = c.EnableEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)

	_, err = k.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &key})
	require.NoError(t, err)
	_, err = c.CreateVolume(t.Context(), gp3("us-east-1a"))
	requireCode(t, err, "InvalidKMSKey.InvalidState")
	_, err = k.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: &key})
	require.NoError(t, err)
	_, err = c.CreateVolume(t.Context(), gp3("us-east-1a"))
	require.NoError(t, err)
	_, err = k.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &key})
	require.NoError(t, err)
	_, err = c.CreateVolume(t.Context(), gp3("us-east-1a"))
	requireCode(t, err, "InvalidKMSKey.InvalidState")

	out, err := c.DescribeVolumes(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, out.Volumes, 1, "a refused volume leaves nothing behind")
}

func TestCreateVolume_Refuses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := ec2.NewFromConfig(awsConfig(t, s, "alice", noRetries))
	of := func(kind types.VolumeType, size, iops int32) func(*ec2.CreateVolumeInput) {
		return func(in *ec2.CreateVolumeInput) { in.VolumeType, in.Size, in.Iops = kind, &size, &iops }
	}
	for _, tc := range []struct {
		name, code string
		change     func(*ec2.CreateVolumeInput)
	}{
		{"no zone", "MissingParameter", func(in *ec2.CreateVolumeInput) { in.AvailabilityZone = nil }},
		{"another Region's zone", "InvalidZone.NotFound", func(in *ec2.CreateVolumeInput) { in.AvailabilityZone = aws.String("eu-west-1a") }},
		{"no size", "MissingParameter", func(in *ec2.CreateVolumeInput) { in.Size = nil }},
		{"too small", "InvalidParameterValue", func(in *ec2.CreateVolumeInput) { in.Size = aws.Int32(0) }},
		{"too large", "InvalidParameterValue", func(in *ec2.CreateVolumeInput) { in.Size = aws.Int32(70000) }},
		{"unknown type", "UnknownVolumeType", func(in *ec2.CreateVolumeInput) { in.VolumeType = "gp9" }},
		{"a type, a size and iops that are wrong", "UnknownVolumeType", of("gp9", 0, 0)},
		{"a size and iops that are wrong", "InvalidParameterValue: The volume size is invalid for io1 volumes: 3 GiB. io1 volumes must be at least 4 GiB in size. Please specify a volume size above the minimum limit", of("io1", 3, 0)},
		{"io1 without iops", "InvalidParameterCombination: The parameter iops must be specified for io1 volumes.", func(in *ec2.CreateVolumeInput) { in.VolumeType = types.VolumeTypeIo1 }},
		{"no iops", "InvalidParameterCombination: The parameter iops is not supported for gp2 volumes.", of("gp2", 30, 0)},
		{"iops below gp3's", "InvalidParameterValue", of("gp3", 30, 2999)},
		{"iops above gp3's, and of the size", "InvalidParameterValue: Volume iops of 200000 is too high; maximum is 80000", of("gp3", 30, 200000)},
		{"iops above io1's", "InvalidParameterValue: Volume iops of 64001 is too high; maximum is 64000", of("io1", 16384, 64001)},
		{"iops of gp3's size", "InvalidParameterValue: Iops to volume size ratio of 750.000000 is too high; maximum is 500", of("gp3", 20, 15000)},
		{"iops of io1's size", "InvalidParameterValue: Iops to volume size ratio of 50.250000 is too high; maximum is 50", of("io1", 4, 201)},
		{"iops above io2's", "InvalidParameterCombination: io2 volumes configured with greater than 64 TiB or 256K IOPS or 1000:1 IOPS:GB ratio are not supported", of("io2", 65536, 256001)},
		{"iops of io2's size", "InvalidParameterCombination: io2 volumes configured", of("io2", 4, 4001)},
		{"a size above io2's", "InvalidParameterCombination: io2 volumes configured", of("io2", 65537, 100)},
		{"throughput of gp3's iops", "InvalidParameterValue: Throughput (MiBps) to iops ratio of 0.333333 is too high; maximum is 0.250000 MiBps per iops.", func(in *ec2.CreateVolumeInput) {
			in.Iops, in.Throughput = aws.Int32(3000), aws.Int32(1000)
		}},
		{"gp2 with iops", "InvalidParameterCombination", func(in *ec2.CreateVolumeInput) { in.VolumeType, in.Iops = types.VolumeTypeGp2, aws.Int32(500) }},
		{"gp2 with throughput", "InvalidParameterCombination", func(in *ec2.CreateVolumeInput) { in.VolumeType, in.Throughput = types.VolumeTypeGp2, aws.Int32(500) }},
		{"from a snapshot", "NotImplemented", func(in *ec2.CreateVolumeInput) { in.SnapshotId = aws.String("snap-1234567890abcdef0") }},
		{"a tag of AWS's", "InvalidParameterValue", func(in *ec2.CreateVolumeInput) {
			in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeVolume, Tags: []types.Tag{{Key: aws.String("aws:x"), Value: aws.String("y")}}}}
		}},
		{"dry run", "DryRunOperation", func(in *ec2.CreateVolumeInput) { in.DryRun = aws.Bool(true) }},
		{"dry run with iops that are wrong", "InvalidParameterCombination: The parameter iops is not supported for gp2 volumes.", func(in *ec2.CreateVolumeInput) {
			in.DryRun, in.VolumeType, in.Iops = aws.Bool(true), types.VolumeTypeGp2, aws.Int32(0)
		}},
		{"dry run with a key and no encryption", "InvalidParameterDependency", func(in *ec2.CreateVolumeInput) { in.DryRun, in.KmsKeyId = aws.Bool(true), aws.String("alias/k") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			in := gp3("us-east-1a")
			tc.change(in)
			_, err := c.CreateVolume(t.Context(), in)
			code, _, message := strings.Cut(tc.code, ":")
			requireCode(t, err, code)
			if message {
				require.ErrorContains(t, err, tc.code)
			}
		})
	}
	for name, change := range map[string]func(*ec2.CreateVolumeInput){
		"the least iops need no size": of("gp3", 1, 3000), "all of gp3's": of("gp3", 160, 80000), "of io1's": of("io1", 4, 200), "of io2's": of("io2", 4, 4000),
		"throughput of the iops": func(in *ec2.CreateVolumeInput) { in.Iops, in.Throughput = aws.Int32(3000), aws.Int32(750) },
	} {
		in := gp3("us-east-1a")
		change(in)
		_, err := c.CreateVolume(t.Context(), in)
		require.NoError(t, err, name)
	}
}

func TestCreateVolume_OncePerToken(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := ec2.NewFromConfig(awsConfig(t, s, "alice"))
	s.Inject(Fault{Service: "ec2", Operation: "CreateVolume", DropAnswer: true, Count: 1})
	v, err := c.CreateVolume(t.Context(), gp3("us-east-1a"))
	require.NoError(t, err, "the SDK tries again")
	out, err := c.DescribeVolumes(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, out.Volumes, 1)
	require.Equal(t, *v.VolumeId, *out.Volumes[0].VolumeId)

	in := gp3("us-east-1a")
	in.ClientToken = aws.String("mine")
	_, err = c.CreateVolume(t.Context(), in)
	require.NoError(t, err)
	in.Size = aws.Int32(9)
	_, err = c.CreateVolume(t.Context(), in)
	requireCode(t, err, "IdempotentParameterMismatch")
}

func TestDescribeVolumes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := ec2.NewFromConfig(awsConfig(t, s, "alice", noRetries))
	var ids []string
	for i := range 7 {
		in := gp3("us-east-1a")
		in.Encrypted = aws.Bool(i < 2)
		in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeVolume, Tags: []types.Tag{{Key: aws.String("n"), Value: aws.String(fmt.Sprint(i))}}}}
		v, err := c.CreateVolume(t.Context(), in)
		require.NoError(t, err)
		ids = append(ids, *v.VolumeId)
	}
	describe := func(in ec2.DescribeVolumesInput) []string {
		t.Helper()
		got := []string{}
		pages := ec2.NewDescribeVolumesPaginator(c, &in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			require.NoError(t, err)
			for _, v := range page.Volumes {
				require.Equal(t, types.VolumeStateAvailable, v.State)
				got = append(got, *v.VolumeId)
			}
		}
		return got
	}
	filter := func(name string, values ...string) ec2.DescribeVolumesInput {
		return ec2.DescribeVolumesInput{Filters: []types.Filter{{Name: &name, Values: values}}}
	}
	require.ElementsMatch(t, ids, describe(ec2.DescribeVolumesInput{}))
	require.ElementsMatch(t, ids, describe(ec2.DescribeVolumesInput{MaxResults: aws.Int32(5)}))
	require.ElementsMatch(t, ids[3:5], describe(ec2.DescribeVolumesInput{VolumeIds: ids[3:5]}))
	require.ElementsMatch(t, ids[:2], describe(filter("encrypted", "true")))
	require.ElementsMatch(t, ids[2:3], describe(filter("volume-id", ids[2])))
	require.ElementsMatch(t, ids[1:3], describe(filter("tag:n", "1", "2")))
	require.ElementsMatch(t, ids, describe(filter("tag-key", "?")))
	require.ElementsMatch(t, ids, describe(filter("availability-zone", "us-*")))
	require.ElementsMatch(t, describe(filter("availability-zone", "us-east-1a")), describe(filter("availability-zone-id", "use1-az1")))
	require.Empty(t, describe(filter("availability-zone-id", "use1-az9")))
	require.Empty(t, describe(filter("tag:other", "*")))

	for _, tc := range []struct {
		name, code string
		in         ec2.DescribeVolumesInput
	}{
		{"unknown volume", "InvalidVolume.NotFound", ec2.DescribeVolumesInput{VolumeIds: []string{"vol-00000000000000000"}}},
		{"malformed volume", "InvalidParameterValue", ec2.DescribeVolumesInput{VolumeIds: []string{"disk-1"}}},
		{"unknown filter", "InvalidParameterValue", filter("color", "red")},
		{"small page", "InvalidParameterValue", ec2.DescribeVolumesInput{MaxResults: aws.Int32(4)}},
		{"page of named volumes", "InvalidParameterCombination", ec2.DescribeVolumesInput{MaxResults: aws.Int32(5), VolumeIds: ids[:1]}},
		{"bad token", "InvalidParameterValue", ec2.DescribeVolumesInput{NextToken: aws.String("x")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := c.DescribeVolumes(t.Context(), &tc.in)
			requireCode(t, err, tc.code)
		})
	}
}

func TestVolume_TagsAndDeletion(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := ec2.NewFromConfig(awsConfig(t, s, "alice"))
	v, err := c.CreateVolume(t.Context(), gp3("us-east-1a"))
	require.NoError(t, err)
	ids := []string{*v.VolumeId}
	_, err = c.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: ids, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("2")}}})
	require.NoError(t, err)
	_, err = c.DeleteTags(t.Context(), &ec2.DeleteTagsInput{Resources: ids, Tags: []types.Tag{{Key: aws.String("a")}, {Key: aws.String("b"), Value: aws.String("other")}}})
	require.NoError(t, err)
	tags, err := c.DescribeTags(t.Context(), &ec2.DescribeTagsInput{Filters: []types.Filter{{Name: aws.String("resource-id"), Values: ids}}})
	require.NoError(t, err)
	require.Len(t, tags.Tags, 1)
	require.Equal(t, "b", *tags.Tags[0].Key)

	_, err = c.DeleteVolume(t.Context(), &ec2.DeleteVolumeInput{VolumeId: v.VolumeId})
	require.NoError(t, err)
	for name, call := range map[string]func() error{
		"delete": func() error {
			_, err := c.DeleteVolume(t.Context(), &ec2.DeleteVolumeInput{VolumeId: v.VolumeId})
			return err
		},
		"describe": func() error {
			_, err := c.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{VolumeIds: ids})
			return err
		},
		"tag": func() error {
			_, err := c.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: ids, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { requireCode(t, call(), "InvalidVolume.NotFound") })
	}
}

func TestDescribeRegions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := ec2.NewFromConfig(awsConfig(t, s, "alice", noRetries))
	status := func(in ec2.DescribeRegionsInput) map[string]string {
		t.Helper()
		out, err := c.DescribeRegions(t.Context(), &in)
		require.NoError(t, err)
		m := map[string]string{}
		for _, r := range out.Regions {
			m[*r.RegionName] = *r.OptInStatus
		}
		return m
	}
	enabled := status(ec2.DescribeRegionsInput{})
	require.Len(t, enabled, 17)
	require.Equal(t, "opt-in-not-required", enabled["us-east-1"])
	require.NotContains(t, enabled, "me-south-1")
	require.Equal(t, "not-opted-in", status(ec2.DescribeRegionsInput{AllRegions: aws.Bool(true)})["me-south-1"])
	require.Equal(t, map[string]string{"eu-west-1": "opt-in-not-required"}, status(ec2.DescribeRegionsInput{RegionNames: []string{"eu-west-1"}}))
	require.Len(t, status(ec2.DescribeRegionsInput{Filters: []types.Filter{{Name: aws.String("endpoint"), Values: []string{"*us-*"}}}}), 4)
	_, err := c.DescribeRegions(t.Context(), &ec2.DescribeRegionsInput{RegionNames: []string{"us-nowhere-1"}})
	requireCode(t, err, "InvalidParameterValue")
}

func TestDescribeAvailabilityZones(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	out, err := ec2.NewFromConfig(awsConfig(t, s, "alice", config.WithRegion("ap-southeast-2"))).DescribeAvailabilityZones(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, out.AvailabilityZones, 3)
	require.Equal(t, "ap-southeast-2b", *out.AvailabilityZones[1].ZoneName)
	require.Equal(t, "apse2-az2", *out.AvailabilityZones[1].ZoneId)
}

func TestEC2_RefusesACaller(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::123456789012:user/mallory", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"ec2:Get*","Resource":"*"},
		{"Effect":"Deny","Action":"ec2:GetEbsDefaultKmsKeyId","Resource":"*"}]}`))
	for _, tc := range []struct {
		name, code, message string
		cfg                 aws.Config
	}{
		{"unsigned", "AuthFailure", "not able to validate", awsConfig(t, s, "", noRetries, config.WithCredentialsProvider(aws.AnonymousCredentials{}))},
		{"unknown Region", "AuthFailure", "not able to validate", awsConfig(t, s, "alice", noRetries, config.WithRegion("us-nowhere-1"))},
		{"Region not opted into", "AuthFailure", "not able to validate", awsConfig(t, s, "alice", noRetries, config.WithRegion("me-south-1"))},
		{"explicit deny", "UnauthorizedOperation", "explicit deny in an identity-based policy", awsConfig(t, s, "mallory", noRetries)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := ec2.NewFromConfig(tc.cfg).GetEbsDefaultKmsKeyId(t.Context(), nil)
			requireCode(t, err, tc.code)
			require.ErrorContains(t, err, tc.message)
		})
	}
	c := ec2.NewFromConfig(awsConfig(t, s, "mallory", noRetries))
	_, err := c.GetEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	_, err = c.EnableEbsEncryptionByDefault(t.Context(), nil)
	requireCode(t, err, "UnauthorizedOperation")
	require.ErrorContains(t, err, "because no identity-based policy allows the ec2:EnableEbsEncryptionByDefault action")
	_, err = c.DescribeInstances(t.Context(), nil)
	requireCode(t, err, "NotImplemented")
}

func TestEC2_RecordsCalls(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	cfg := awsConfig(t, s, "alice", noRetries)
	c, trail := ec2.NewFromConfig(cfg), cloudtrail.NewFromConfig(cfg)
	_, err := c.EnableEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	_, err = c.DeleteVolume(t.Context(), &ec2.DeleteVolumeInput{VolumeId: aws.String("vol-00000000000000000")})
	requireCode(t, err, "InvalidVolume.NotFound")

	enable := lookUp(t, trail, cttypes.LookupAttributeKeyEventName, "EnableEbsEncryptionByDefault")
	require.Len(t, enable, 1)
	require.Equal(t, "false", *enable[0].ReadOnly)
	require.Contains(t, *enable[0].CloudTrailEvent, `"requestParameters":{"EnableEbsEncryptionByDefaultRequest":{}}`)
	require.Contains(t, *enable[0].CloudTrailEvent, `"ebsEncryptionByDefault":true`)
	gone := lookUp(t, trail, cttypes.LookupAttributeKeyResourceName, "vol-00000000000000000")
	require.Len(t, gone, 1)
	require.Contains(t, *gone[0].CloudTrailEvent, `"errorCode":"Client.InvalidVolume.NotFound"`)
	require.Contains(t, *gone[0].CloudTrailEvent, `"requestParameters":{"volumeId":"vol-00000000000000000"}`)
}

func TestSnapshotBlockPublicAccess(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	c := ec2.NewFromConfig(awsConfig(t, s, "alice", noRetries))
	state := func(c *ec2.Client) string {
		out, err := c.GetSnapshotBlockPublicAccessState(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, types.ManagedByAccount, out.ManagedBy)
		return string(out.State)
	}
	require.Equal(t, "unblocked", state(c))
	for _, want := range []types.SnapshotBlockPublicAccessState{"block-new-sharing", "block-all-sharing"} {
		out, err := c.EnableSnapshotBlockPublicAccess(t.Context(), &ec2.EnableSnapshotBlockPublicAccessInput{State: want})
		require.NoError(t, err)
		require.Equal(t, want, out.State)
		require.Equal(t, string(want), state(c))
	}
	require.Equal(t, "unblocked", state(ec2.NewFromConfig(awsConfig(t, s, "alice", config.WithRegion("eu-west-1")))), "the setting is a Region's")
	require.Equal(t, "unblocked", state(ec2.NewFromConfig(awsConfig(t, s, "210987654321"))), "the setting is an account's")
	_, err := c.EnableSnapshotBlockPublicAccess(t.Context(), &ec2.EnableSnapshotBlockPublicAccessInput{State: "unblocked"})
	requireCode(t, err, "InvalidParameterValue")
	out, err := c.DisableSnapshotBlockPublicAccess(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, types.SnapshotBlockPublicAccessState("unblocked"), out.State)
	require.Equal(t, "unblocked", state(c))
	events := lookUp(t, cloudtrail.NewFromConfig(awsConfig(t, s, "alice")), cttypes.LookupAttributeKeyEventName, "EnableSnapshotBlockPublicAccess")
	require.Len(t, events, 3)
	require.Contains(t, *events[1].CloudTrailEvent, `"requestParameters":{"EnableSnapshotBlockPublicAccessRequest":{"State":"block-all-sharing"}}`)
}
