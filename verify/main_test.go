package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/securethecloud/kms-baseline/localaws"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"verify": main,
		"pulumi": fakePulumi,
	})
}

// fakePulumi answers `pulumi stack output --json` for the stack "dev" with the
// outputs of the stack in the script's localaws.
func fakePulumi() {
	args := strings.Join(os.Args[1:], " ")
	if args != "stack output --json --non-interactive --stack dev" {
		fmt.Fprintf(os.Stderr, "error: no stack named %q found\n", os.Args[len(os.Args)-1])
		os.Exit(255)
	}
	b, err := os.ReadFile(os.Getenv("OUTPUTS"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = os.Stdout.Write(b)
}

// Each script runs against a localaws of its own with the course's stack in it.
//
// Besides testscript's own commands there are: exits N COMMAND..., which must
// exit with N; await OPERATION, until localaws has answered one while a command
// runs in the background; ended N, with which that command must have exited, once
// waited for; hangup, which sends it SIGHUP; admin, which makes calls fail; stack, which changes the stack;
// trail, which makes a trail that has logged the writing and reading of the object some hours ago, and trail remove,
// which removes its oldest log file;
// member ACCOUNT FILE, which makes the stack in another account, with a role that has the IAM policy in FILE;
// role FILE, which makes the role that writes the object and has the IAM policy in FILE, and a profile for it.
func TestScripts(t *testing.T) {
	t.Parallel()
	if signal.Ignored(syscall.SIGHUP) { // under nohup; a command would inherit it, and hangup wait forever
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"admin":  admin,
			"stack":  changeStack,
			"await":  await,
			"ended":  ended,
			"exits":  exits,
			"hangup": hangup,
			"role":   makeRole,
			"trail":  makeTrail,
			"member": makeMember,

			"organization": makeOrganization,
		},
	})
}

const (
	testAccount = "764265373335"
	testBucket  = "ckms-764265373335-1"
	testObject  = "test/hello.txt"

	testDescription = "customer managed key of ckms"
)

// script is what a script's commands share.
type script struct {
	server     *localaws.Server
	past       *atomic.Int64 // how far localaws's clock is behind
	background *exec.Cmd
}

type scriptKey struct{}

func scriptOf(ts *testscript.TestScript) *script { return ts.Value(scriptKey{}).(*script) }

func setup(env *testscript.Env) error {
	dir := filepath.Join(env.WorkDir, ".localaws")
	// The stack is two hours old when a script begins: the events of what the script
	// does cannot be of the write of the object.
	var past atomic.Int64
	past.Store(int64(2 * time.Hour))
	defer past.Store(0)
	server, err := localaws.Open(localaws.Options{Dir: dir, TrailRate: 1000, Now: func() time.Time { return time.Now().Add(-time.Duration(past.Load())) }})
	if err != nil {
		return err
	}
	env.Defer(func() { _ = server.Close() }) // what a verify that was cut short left open
	if err := server.Start("127.0.0.1:0"); err != nil {
		return err
	}
	env.Values[scriptKey{}] = &script{server: server, past: &past}
	for _, v := range []string{
		"AWS_ENDPOINT_URL=" + server.URL(), "AWS_CA_BUNDLE=" + server.CAFile(), "AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=764265373335", "AWS_SECRET_ACCESS_KEY=secret", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=" + filepath.Join(env.WorkDir, "aws.config"), "AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(env.WorkDir, "aws.credentials"),
		"OUTPUTS=" + filepath.Join(env.WorkDir, "outputs.json"), "NO_COLOR=1",
	} {
		k, value, _ := strings.Cut(v, "=")
		env.Setenv(k, value)
	}
	return writeOutputs(env, server)
}

// writeOutputs makes the course's stack, and writes its outputs as Pulumi does.
func writeOutputs(env *testscript.Env, server *localaws.Server) error {
	arn, err := makeStack(server, testAccount, testBucket)
	if err != nil {
		return err
	}
	env.Setenv("KEY", arn)
	env.Setenv("BUCKET", testBucket)
	verify, err := exec.LookPath("verify")
	if err != nil {
		return err
	}
	env.Setenv("VERIFY", verify)
	out, err := json.Marshal(map[string]any{
		"keyArn": arn, "keyId": arn[len(arn)-36:], "aliasName": "alias/masterclass-cmk", "aliasArn": "arn:aws:kms:us-east-1:764265373335:alias/masterclass-cmk",
		"bucketName": testBucket, "objectKey": testObject, "region": "us-east-1", "accountId": "764265373335",
		"ebsEncryptionByDefault": true, "ebsDefaultKeyArn": arn,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(env.WorkDir, "outputs.json"), out, 0o600)
}

// makeStack creates the course's stack in an account, and returns its key's ARN.
func makeStack(server *localaws.Server, account, bucket string) (string, error) {
	ctx := context.Background()
	cfg, err := accountConfig(ctx, server, account)
	if err != nil {
		return "", err
	}
	k, b, e := kms.NewFromConfig(cfg), s3.NewFromConfig(cfg), ec2.NewFromConfig(cfg)
	key, err := k.CreateKey(ctx, &kms.CreateKeyInput{Description: aws.String(testDescription)})
	if err != nil {
		return "", err
	}
	arn := key.KeyMetadata.Arn
	policy := strings.ReplaceAll(`{"Version":"2012-10-17","Statement":[
{"Sid":"TLS","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::BUCKET","arn:aws:s3:::BUCKET/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}},
{"Sid":"Algorithm","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::BUCKET/*","Condition":{"Null":{"s3:x-amz-server-side-encryption":"false"},"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}},
{"Sid":"Key","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::BUCKET/*","Condition":{"Null":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"false"},"StringNotEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"`+*arn+`"}}},
{"Sid":"SSEC","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::BUCKET/*","Condition":{"Null":{"s3:x-amz-server-side-encryption-customer-algorithm":"false"}}},
{"Sid":"InPlace","Effect":"Deny","Principal":"*","Action":["s3:ReplicateObject","s3:UpdateObjectEncryption"],"Resource":"arn:aws:s3:::BUCKET/*"}]}`, "BUCKET", bucket)
	yes := aws.Bool(true)
	for _, do := range []func() error{
		func() error { _, err := k.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: arn}); return err },
		func() error {
			_, err := k.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/masterclass-cmk"), TargetKeyId: arn})
			return err
		},
		func() error {
			_, err := b.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)})
			return err
		},
		func() error {
			_, err := b.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{Bucket: aws.String(bucket), ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
				Rules: []types.ServerSideEncryptionRule{{BucketKeyEnabled: yes, ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: arn}}},
			}})
			return err
		},
		func() error {
			_, err := b.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: aws.String(bucket), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
			return err
		},
		func() error {
			_, err := b.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: aws.String(bucket), PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
				BlockPublicAcls: yes, IgnorePublicAcls: yes, BlockPublicPolicy: yes, RestrictPublicBuckets: yes,
			}})
			return err
		},
		func() error {
			_, err := b.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String(bucket), Policy: &policy})
			return err
		},
		func() error {
			_, err := b.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(testObject), Body: strings.NewReader("hello kms day1\n")})
			return err
		},
		func() error {
			_, err := e.ModifyEbsDefaultKmsKeyId(ctx, &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: arn})
			return err
		},
		func() error {
			_, err := e.EnableEbsEncryptionByDefault(ctx, &ec2.EnableEbsEncryptionByDefaultInput{})
			return err
		},
	} {
		if err := do(); err != nil {
			return "", err
		}
	}
	return *arn, nil
}

// clientConfig is a client of the script's localaws.
func clientConfig(ctx context.Context, server *localaws.Server) (aws.Config, error) {
	return accountConfig(ctx, server, testAccount)
}

// accountConfig is a client for an account.
func accountConfig(ctx context.Context, server *localaws.Server, account string) (aws.Config, error) {
	pem, err := os.Open(server.CAFile())
	if err != nil {
		return aws.Config{}, err
	}
	defer func() { _ = pem.Close() }() // read only
	return config.LoadDefaultConfig(ctx, config.WithRegion("us-east-1"), config.WithBaseEndpoint(server.URL()), config.WithCustomCABundle(pem),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(account, "secret", "")))
}

// admin arms a fault: admin SERVICE OPERATION STATUS CODE, or disarms all: admin
// clear. The status hang delays for an hour: every call, or with the code "first"
// one.
func admin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 && len(args) != 4 {
		ts.Fatalf("usage: admin clear, or admin SERVICE OPERATION STATUS CODE")
	}
	server := scriptOf(ts).server
	if args[0] == "clear" {
		server.ClearFaults()
		return
	}
	f := localaws.Fault{Service: args[0], Operation: args[1], Code: args[3]}
	if args[2] == "hang" {
		f.Delay = time.Hour
		if args[3] == "first" {
			f.Count = 1
		}
	} else if _, err := fmt.Sscan(args[2], &f.Status); err != nil {
		ts.Fatalf("%s is not a status: %v", args[2], err)
	}
	server.Inject(f)
}

// changeStack breaks the stack in the way that is named.
func changeStack(ts *testscript.TestScript, neg bool, args []string) {
	ctx := context.Background()
	server := scriptOf(ts).server
	cfg, err := clientConfig(ctx, server)
	ts.Check(err)
	switch {
	case neg || len(args) != 1:
		ts.Fatalf("usage: stack rotation-off|no-canary|orphan|use-orphan")
	case args[0] == "rotation-off":
		_, err = kms.NewFromConfig(cfg).DisableKeyRotation(ctx, &kms.DisableKeyRotationInput{KeyId: aws.String(ts.Getenv("KEY"))})
	case args[0] == "no-canary":
		var out *s3.ListObjectVersionsOutput
		out, err = s3.NewFromConfig(cfg).ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: aws.String(testBucket), Prefix: aws.String("kms-baseline-canary/")})
		if err == nil && len(out.Versions)+len(out.DeleteMarkers) > 0 {
			err = fmt.Errorf("%d versions of a canary are left", len(out.Versions))
		}
	case args[0] == "orphan":
		var out *kms.CreateKeyOutput
		if out, err = kms.NewFromConfig(cfg).CreateKey(ctx, &kms.CreateKeyInput{Description: aws.String(testDescription)}); err == nil {
			ts.Setenv("ORPHAN", *out.KeyMetadata.Arn)
			_, err = s3.NewFromConfig(cfg).CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("ckms-20260301101112131400000001")})
		}
	case args[0] == "use-orphan":
		_, err = kms.NewFromConfig(cfg).Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String(ts.Getenv("ORPHAN")), Plaintext: []byte("x")})
	default:
		err = fmt.Errorf("unknown change %q", args[0])
	}
	ts.Check(err)
}

// makeRole makes the role of a pipeline that deploys the stack: a minute ago it wrote the
// object, and now it has the IAM policy in a file. The profile "deployer" assumes it.
func makeRole(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: role FILE")
	}
	const role = "arn:aws:iam::764265373335:role/ci/deployer"
	ctx, x := context.Background(), scriptOf(ts)
	ts.Check(x.server.SetRole(role, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"764265373335"},"Action":"sts:AssumeRole"}}`))
	ts.Check(x.server.SetIdentityPolicy(role, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["s3:*","kms:*"],"Resource":"*"}}`))
	x.past.Store(int64(time.Minute))
	defer x.past.Store(0)
	cfg, err := clientConfig(ctx, x.server)
	ts.Check(err)
	cfg.Credentials = stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), role)
	_, err = s3.NewFromConfig(cfg).PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(testBucket), Key: aws.String(testObject), Body: strings.NewReader("hello kms day1\n")})
	ts.Check(err)
	ts.Check(x.server.SetIdentityPolicy(role, ts.ReadFile(args[0])))
	ts.Check(os.WriteFile(ts.Getenv("AWS_CONFIG_FILE"), []byte("[profile base]\naws_access_key_id = 764265373335\naws_secret_access_key = secret\n[profile deployer]\nsource_profile = base\nrole_arn = "+role+"\nrole_session_name = run-17\n"), 0o600))
}

// makeTrail makes the trail "audit" in the bucket ckms-logs. It began four hours ago,
// and has logged how the object was written and read since. A half-made one never logs.
func makeTrail(ts *testscript.TestScript, neg bool, args []string) {
	const logs = "ckms-logs"
	ctx, x := context.Background(), scriptOf(ts)
	cfg, err := clientConfig(ctx, x.server)
	ts.Check(err)
	b, c := s3.NewFromConfig(cfg), cloudtrail.NewFromConfig(cfg)
	switch {
	case !neg && (len(args) == 0 || len(args) == 1 && args[0] == "half-made"):
	case !neg && len(args) == 1 && args[0] == "remove":
		out, err := b.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String(logs), Prefix: aws.String("AWSLogs/764265373335/CloudTrail/")})
		ts.Check(err)
		_, err = b.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(logs), Key: out.Contents[0].Key})
		ts.Check(err)
		return
	default:
		ts.Fatalf("usage: trail [half-made | remove]")
	}
	defer x.past.Store(0)
	x.past.Store(int64(4 * time.Hour))
	_, err = b.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(logs)})
	ts.Check(err)
	policy := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":["s3:GetBucketAcl","s3:PutObject"],"Resource":["arn:aws:s3:::ckms-logs","arn:aws:s3:::ckms-logs/*"]}}`
	_, err = b.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String(logs), Policy: &policy})
	ts.Check(err)
	_, err = c.CreateTrail(ctx, &cloudtrail.CreateTrailInput{Name: aws.String("audit"), S3BucketName: aws.String(logs), EnableLogFileValidation: aws.Bool(true)})
	ts.Check(err)
	if len(args) == 1 {
		return
	}
	_, err = c.PutEventSelectors(ctx, &cloudtrail.PutEventSelectorsInput{TrailName: aws.String("audit"), EventSelectors: []trailtypes.EventSelector{{
		ReadWriteType: trailtypes.ReadWriteTypeAll, IncludeManagementEvents: aws.Bool(true),
		DataResources: []trailtypes.DataResource{{Type: aws.String("AWS::S3::Object"), Values: []string{"arn:aws:s3:::" + testBucket + "/"}}},
	}}})
	ts.Check(err)
	_, err = c.StartLogging(ctx, &cloudtrail.StartLoggingInput{Name: aws.String("audit")})
	ts.Check(err)
	x.past.Store(int64(170 * time.Minute))
	_, err = b.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(testBucket), Key: aws.String(testObject), Body: strings.NewReader("hello kms day1\n")})
	ts.Check(err)
	out, err := b.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(testBucket), Key: aws.String(testObject)})
	ts.Check(err)
	ts.Check(out.Body.Close())
	for _, ago := range []time.Duration{165, 110, 50, 0} {
		x.past.Store(int64(ago * time.Minute))
		ts.Check(x.server.DeliverTrails())
	}
}

// makeOrganization makes an organization of accounts, each with a state after a
// colon if it is not active. The first is the management account.
func makeOrganization(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: organization ACCOUNT[:STATE] ...")
	}
	o := localaws.Organization{ID: "o-a1b2c3d4e5"}
	for _, arg := range args {
		id, state, _ := strings.Cut(arg, ":")
		o.Accounts = append(o.Accounts, localaws.OrganizationAccount{ID: id, Name: "account " + id[:3], State: state})
	}
	o.Management = o.Accounts[0].ID
	ts.Check(scriptOf(ts).server.SetOrganization(o))
}

// makeMember makes an account of an organization: the stack, and the role audit/verify-reader, which
// the account of the script may assume with an external ID.
func makeMember(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: member ACCOUNT FILE")
	}
	account, server := args[0], scriptOf(ts).server
	_, err := makeStack(server, account, "ckms-"+account+"-us-east-1")
	ts.Check(err)
	ts.Check(server.SetIdentityPolicy("arn:aws:iam::"+testAccount+":user/localaws", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["sts:AssumeRole","organizations:ListAccounts"],"Resource":"*"}}`))
	role := "arn:aws:iam::" + account + ":role/audit/verify-reader"
	ts.Check(server.SetRole(role, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"`+testAccount+`"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"audit-2026"}}}}`))
	ts.Check(server.SetIdentityPolicy(role, ts.ReadFile(args[1])))
}

// await waits until localaws has answered an operation, or has begun to.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await OPERATION")
	}
	s := scriptOf(ts)
	s.background = ts.BackgroundCmds()[0]
	for range 6000 {
		for _, c := range s.server.Calls() {
			if c.Operation == args[0] {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("no %s came in a minute", args[0])
}

// exits runs a command and holds its exit code to the one that is named.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s exited with %d, not with %s", args[1], code, args[0])
	}
}

// hangup sends SIGHUP to the command in the background.
func hangup(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: hangup")
	}
	ts.Check(scriptOf(ts).background.Process.Signal(syscall.SIGHUP))
}

func ended(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ended N")
	}
	if code := scriptOf(ts).background.ProcessState.ExitCode(); strconv.Itoa(code) != args[0] {
		ts.Fatalf("it exited with %d, not with %s", code, args[0])
	}
}
