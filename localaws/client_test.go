package localaws

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// awsCLI runs the unmodified AWS CLI as the user of account 764265373335, the
// one in the course.
type awsCLI struct {
	t   *testing.T
	env []string
	dir string
}

func newAWSCLI(t *testing.T, s *Server) awsCLI {
	t.Helper()
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("no AWS CLI here to try the course's commands with: put aws on PATH")
	}
	dir := t.TempDir()
	return awsCLI{t: t, dir: dir, env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
		"AWS_ACCESS_KEY_ID=764265373335", "AWS_SECRET_ACCESS_KEY=secret", "AWS_DEFAULT_REGION=us-east-1",
		"AWS_ENDPOINT_URL=" + s.URL(), "AWS_CA_BUNDLE=" + s.CAFile(),
	}}
}

func (c awsCLI) try(args ...string) (stdout, stderr string, err error) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "aws", args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// run returns what the command prints.
func (c awsCLI) run(args ...string) string {
	c.t.Helper()
	out, errs, err := c.try(args...)
	require.NoError(c.t, err, "aws %s\n%s", strings.Join(args, " "), errs)
	return strings.TrimSpace(out)
}

// fails returns the error that the command prints.
func (c awsCLI) fails(args ...string) string {
	c.t.Helper()
	out, errs, err := c.try(args...)
	require.Error(c.t, err, "aws %s\n%s", strings.Join(args, " "), out)
	return errs
}

func (c awsCLI) json(v any, args ...string) {
	c.t.Helper()
	require.NoError(c.t, json.Unmarshal([]byte(c.run(args...)), v))
}

// The course's own commands, with their bugs mended: us-east-1 takes no
// LocationConstraint, events are found by the key's ARN, and the clean-up
// resets the EBS defaults before it gives the key away.
func TestAWSCLI_TheCourse(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	aws := newAWSCLI(t, s)
	const account, alias, bucket = "764265373335", "alias/masterclass-cmk", "ckms-764265373335-1772366400"

	// Step 1: a CMK and its alias.
	var key struct {
		KeyMetadata struct{ KeyID, Arn, KeyState, KeyManager, Description string }
	}
	aws.json(&key, "kms", "create-key", "--description", "Masterclass Day1 CMK", "--key-usage", "ENCRYPT_DECRYPT", "--origin", "AWS_KMS",
		"--tags", "TagKey=project,TagValue=cloud-kms-masterclass")
	id := key.KeyMetadata.KeyID
	arn := "arn:aws:kms:us-east-1:" + account + ":key/" + id
	require.Equal(t, arn, key.KeyMetadata.Arn)
	require.Equal(t, "Masterclass Day1 CMK", key.KeyMetadata.Description)
	aws.run("kms", "create-alias", "--alias-name", alias, "--target-key-id", id)
	require.JSONEq(t, `["`+id+`","Enabled","CUSTOMER","`+arn+`"]`,
		aws.run("kms", "describe-key", "--key-id", alias, "--query", "KeyMetadata.[KeyId,KeyState,KeyManager,Arn]"))
	require.Contains(t, aws.run("kms", "list-resource-tags", "--key-id", id), "cloud-kms-masterclass")
	require.Contains(t, aws.fails("kms", "create-key", "--key-usage", "ENCRYPT_DECRIPT"), "ENCRYPT_DECRIPT")

	// Step 2: a bucket that encrypts with it.
	require.Contains(t, aws.fails("s3api", "create-bucket", "--bucket", bucket, "--create-bucket-configuration", "LocationConstraint=us-east-1"), "InvalidLocationConstraint")
	aws.run("s3api", "create-bucket", "--bucket", bucket)
	aws.run("s3api", "put-bucket-encryption", "--bucket", bucket, "--server-side-encryption-configuration",
		`{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms","KMSMasterKeyID":"`+arn+`"},"BucketKeyEnabled":false}]}`)
	require.Contains(t, aws.run("s3api", "get-bucket-encryption", "--bucket", bucket), arn)
	require.NoError(t, os.WriteFile(filepath.Join(aws.dir, "hello.txt"), []byte("hello kms day1\n"), 0o600))
	aws.run("s3", "cp", "hello.txt", "s3://"+bucket+"/test/hello.txt")
	require.JSONEq(t, `["aws:kms","`+arn+`"]`,
		aws.run("s3api", "head-object", "--bucket", bucket, "--key", "test/hello.txt", "--query", "[ServerSideEncryption, SSEKMSKeyId]"))
	aws.run("s3", "cp", "s3://"+bucket+"/test/hello.txt", "back.txt")
	back, err := os.ReadFile(filepath.Join(aws.dir, "back.txt"))
	require.NoError(t, err)
	require.Equal(t, "hello kms day1\n", string(back))
	require.Contains(t, aws.run("s3", "ls", "s3://"+bucket+"/test/"), "hello.txt")

	// Step 3: EBS encryption by default.
	require.Equal(t, `"alias/aws/ebs"`, aws.run("ec2", "get-ebs-default-kms-key-id", "--query", "KmsKeyId"))
	aws.run("ec2", "enable-ebs-encryption-by-default")
	aws.run("ec2", "modify-ebs-default-kms-key-id", "--kms-key-id", alias)
	require.Equal(t, `"`+arn+`"`, aws.run("ec2", "get-ebs-default-kms-key-id", "--query", "KmsKeyId"))
	require.Equal(t, "true", aws.run("ec2", "get-ebs-encryption-by-default", "--query", "EbsEncryptionByDefault"))
	volume := aws.run("ec2", "create-volume", "--size", "8", "--availability-zone", "us-east-1a", "--query", "VolumeId", "--output", "text")
	require.JSONEq(t, `[true,"`+arn+`"]`, aws.run("ec2", "describe-volumes", "--volume-ids", volume, "--query", "Volumes[0].[Encrypted,KmsKeyId]"))

	// Step 4: proof in CloudTrail.
	var found struct {
		Events []struct{ EventName, Username, CloudTrailEvent string }
	}
	aws.json(&found, "cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey=ResourceName,AttributeValue="+arn)
	byService := map[string]trailEntry{}
	for _, e := range found.Events {
		require.Equal(t, "localaws", e.Username)
		var record trailEntry
		require.NoError(t, json.Unmarshal([]byte(e.CloudTrailEvent), &record))
		if strings.Contains(record.UserIdentity.InvokedBy, "s3") {
			byService[e.EventName] = record
		}
	}
	for _, name := range []string{"GenerateDataKey", "Decrypt"} {
		require.Contains(t, byService, name)
		parameters, ok := byService[name].RequestParameters.(map[string]any)
		require.True(t, ok)
		require.Equal(t, map[string]any{"aws:s3:arn": "arn:aws:s3:::" + bucket + "/test/hello.txt"}, parameters["encryptionContext"])
		require.Equal(t, arn, byService[name].Resources[0].ARN)
	}
	require.Equal(t, `"CreateKey"`, aws.run("cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey=EventName,AttributeValue=CreateKey", "--query", "Events[0].EventName"))
	aws.json(&found, "cloudtrail", "lookup-events", "--page-size", "2", "--max-items", "5")
	require.Len(t, found.Events, 5)

	// The clean-up, EBS first.
	aws.run("ec2", "delete-volume", "--volume-id", volume)
	aws.run("ec2", "disable-ebs-encryption-by-default")
	aws.run("ec2", "reset-ebs-default-kms-key-id")
	require.NotContains(t, aws.run("ec2", "get-ebs-default-kms-key-id"), id)
	require.Contains(t, aws.fails("s3api", "delete-bucket", "--bucket", bucket), "BucketNotEmpty")
	aws.run("s3", "rm", "s3://"+bucket, "--recursive")
	aws.run("s3api", "delete-bucket", "--bucket", bucket)
	aws.run("kms", "delete-alias", "--alias-name", alias)
	aws.run("kms", "schedule-key-deletion", "--key-id", id, "--pending-window-in-days", "7")
	require.Equal(t, `"PendingDeletion"`, aws.run("kms", "describe-key", "--key-id", id, "--query", "KeyMetadata.KeyState"))
	require.Contains(t, aws.fails("kms", "describe-key", "--key-id", alias), "NotFoundException")
	require.Contains(t, aws.fails("s3api", "head-bucket", "--bucket", bucket), "404")
}

// aws s3 cp of 20 MB goes up in parts and comes back in ranges.
func TestAWSCLI_LargeFile(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	aws := newAWSCLI(t, s)
	content := bytes.Repeat([]byte("kms "), 5<<20)
	require.NoError(t, os.WriteFile(filepath.Join(aws.dir, "large"), content, 0o600))
	aws.run("s3", "mb", "s3://large-files")
	aws.run("s3", "cp", "large", "s3://large-files/large", "--sse", "aws:kms")
	aws.run("s3", "cp", "s3://large-files/large", "back")
	back, err := os.ReadFile(filepath.Join(aws.dir, "back"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, back))
	require.Equal(t, `"aws:kms"`, aws.run("s3api", "head-object", "--bucket", "large-files", "--key", "large", "--query", "ServerSideEncryption"))

	// Under keys of the customer's, and from one to another.
	for name, key := range map[string]string{"first.key": customerKey, "second.key": anotherKey} {
		require.NoError(t, os.WriteFile(filepath.Join(aws.dir, name), []byte(key), 0o600))
	}
	require.Contains(t, aws.fails("s3", "cp", "large", "s3://large-files/first", "--sse-c", "AES256", "--sse-c-key", "fileb://first.key"), "this bucket has blocked upload requests")
	aws.run("s3api", "put-bucket-encryption", "--bucket", "large-files", "--server-side-encryption-configuration", `{"Rules":[{"BlockedEncryptionTypes":{"EncryptionType":["NONE"]}}]}`)
	aws.run("s3", "cp", "large", "s3://large-files/first", "--sse-c", "AES256", "--sse-c-key", "fileb://first.key")
	aws.run("s3", "cp", "s3://large-files/first", "s3://large-files/second", "--sse-c", "AES256", "--sse-c-key", "fileb://second.key", "--sse-c-copy-source", "AES256", "--sse-c-copy-source-key", "fileb://first.key")
	aws.run("s3", "cp", "s3://large-files/second", "again", "--sse-c", "AES256", "--sse-c-key", "fileb://second.key")
	again, err := os.ReadFile(filepath.Join(aws.dir, "again"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, again))
}

func TestAWSCLI_Errors(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	aws := newAWSCLI(t, s)
	for _, tc := range []struct {
		name, want string
		args       []string
	}{
		{"not in the list", "(NotImplemented) when calling the ListUsers operation", []string{"iam", "list-users"}},
		{"an operation not in the list", "(NotImplemented) when calling the DescribeInstances operation", []string{"ec2", "describe-instances"}},
		{"no such volume", "(InvalidVolume.NotFound) when calling the DescribeVolumes operation", []string{"ec2", "describe-volumes", "--volume-ids", "vol-00000000000000000"}},
		{"no such key", "(NotFoundException) when calling the DescribeKey operation", []string{"kms", "describe-key", "--key-id", "alias/none"}},
		{"no such bucket", "(NoSuchBucket) when calling the ListObjectsV2 operation", []string{"s3", "ls", "s3://no-such-bucket"}},
		{"two attributes", "(InvalidLookupAttributesException) when calling the LookupEvents operation", []string{"cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey=EventName,AttributeValue=a", "AttributeKey=EventName,AttributeValue=b"}},
		{"a Region not opted into", "(AuthFailure) when calling the DescribeRegions operation", []string{"ec2", "describe-regions", "--region", "me-south-1"}},
		{"dry run", "(DryRunOperation) when calling the CreateVolume operation", []string{"ec2", "create-volume", "--size", "1", "--availability-zone", "us-east-1a", "--dry-run"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Contains(t, aws.fails(tc.args...), tc.want)
		})
	}
	require.JSONEq(t, `{"Account":"764265373335","Arn":"arn:aws:iam::764265373335:user/localaws","UserId":"`+wire.IdentityOf("764265373335").UserID+`"}`,
		aws.run("sts", "get-caller-identity"))
	require.Equal(t, "17", aws.run("ec2", "describe-regions", "--query", "length(Regions)"))
}
