package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/plugin/provider"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// The example, from an empty account to an empty account, by the commands that
// its reader would type.
func TestYAML_Example(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	p := newProgram(t, l, readFile(t, filepath.Join(l.Root, "examples", "yaml", "Pulumi.yaml")))
	p.run("up", "--yes")

	outputs := p.outputs()
	keyArn, bucket := outputs["keyArn"].(string), outputs["bucketName"].(string)
	cfg := l.Config(t, engine.AccountID)
	keys, objects, volumes := kms.NewFromConfig(cfg), s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), ec2.NewFromConfig(cfg)

	alias := "alias/masterclass-cmk"
	key, err := keys.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &alias})
	require.NoError(t, err)
	require.Equal(t, keyArn, *key.KeyMetadata.Arn)
	rotation, err := keys.GetKeyRotationStatus(t.Context(), &kms.GetKeyRotationStatusInput{KeyId: &keyArn})
	require.NoError(t, err)
	require.True(t, rotation.KeyRotationEnabled)

	proof := "test/hello.txt"
	object, err := objects.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &proof})
	require.NoError(t, err)
	require.Equal(t, s3types.ServerSideEncryptionAwsKms, object.ServerSideEncryption)
	require.Equal(t, keyArn, *object.SSEKMSKeyId)

	enabled, err := volumes.GetEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, *enabled.EbsEncryptionByDefault)
	ebsKey, err := volumes.GetEbsDefaultKmsKeyId(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, keyArn, *ebsKey.KmsKeyId)

	p.run("preview", "--refresh", "--expect-no-changes")
	p.run("destroy", "--yes")

	key, err = keys.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &keyArn})
	require.NoError(t, err)
	require.Equal(t, kmstypes.KeyStatePendingDeletion, key.KeyMetadata.KeyState)
	buckets, err := objects.ListBuckets(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, buckets.Buckets)
	enabled, err = volumes.GetEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, *enabled.EbsEncryptionByDefault, "destroy must not leave new volumes unencrypted")
}

// The delete hook and its function live in the plugin.
func TestYAML_RestoresEBSDefaults(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	cfg := l.Config(t, engine.AccountID)
	volumes := ec2.NewFromConfig(cfg)
	_, err := volumes.DisableEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)

	p := newProgram(t, l, `
name: restore
runtime: yaml
resources:
  baseline:
    type: kms-baseline:EncryptionBaseline
    properties:
      bucket: {skip: true}
      ebs:
        args: {onDestroy: restore}
`)
	p.run("up", "--yes")
	enabled, err := volumes.GetEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, *enabled.EbsEncryptionByDefault)

	out, err := p.try("destroy", "--yes")
	require.Error(t, err, "destroy cannot restore without the program")
	require.Contains(t, out, "--run-program")
	enabled, err = volumes.GetEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, *enabled.EbsEncryptionByDefault)

	p.run("destroy", "--yes", "--run-program")
	enabled, err = volumes.GetEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	require.False(t, *enabled.EbsEncryptionByDefault)
	key, err := volumes.GetEbsDefaultKmsKeyId(t.Context(), nil)
	require.NoError(t, err)
	described, err := kms.NewFromConfig(cfg).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: key.KmsKeyId})
	require.NoError(t, err)
	require.Equal(t, kmstypes.KeyManagerTypeAws, described.KeyMetadata.KeyManager)
}

// Every shape of argument reaches the component: AWS has what they say.
func TestYAML_Arguments(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	p := newProgram(t, l, `
name: arguments
runtime: yaml
resources:
  key:
    type: kms-baseline:CustomerKey
    properties:
      accounts: ["111122223333"]
      tags: {team: security}
      statements:
        - sid: Trail
          services: [cloudtrail.amazonaws.com]
          actions: ["kms:GenerateDataKey*"]
          conditions:
            StringEquals:
              aws:SourceAccount: ["123456789012"]
  bucket:
    type: kms-baseline:EncryptedBucket
    properties:
      kmsKeyArn: ${key.keyArn}
      bucketName: arguments-of-a-bucket
      bucketKeyEnabled: false
      objectLock: {mode: GOVERNANCE, days: 30}
  replicas:
    type: kms-baseline:EncryptedBucket
    properties:
      kmsKeyArn: ${key.keyArn}
      reencryptionPrincipals: [`+replicationRole+`]
  replicated:
    type: kms-baseline:EncryptedBucket
    properties:
      kmsKeyArn: ${key.keyArn}
      replication:
        roleArn: `+replicationRole+`
        destinationBucketArn: ${replicas.bucketArn}
        replicaKmsKeyArn: ${replicas.kmsKeyArn}
        destinationAccount: "123456789012"
        prefix: logs/
        storageClass: STANDARD_IA
        deleteMarkers: true
  volumes:
    type: kms-baseline:EBSDefaultEncryption
    properties:
      kmsKeyArn: ${key.keyArn}
outputs:
  keyArn: ${key.keyArn}
  replicatedBucketName: ${replicated.bucketName}
  replicationPolicy: ${replicated.replicationPolicy}
  bucketKeyArn: ${bucket.kmsKeyArn}
  ebsKeyArn: ${volumes.kmsKeyArn}
`)
	p.run("up", "--yes")
	outputs := p.outputs()
	require.Equal(t, outputs["keyArn"], outputs["bucketKeyArn"])
	require.Equal(t, outputs["keyArn"], outputs["ebsKeyArn"])

	cfg := l.Config(t, engine.AccountID)
	keyArn, bucket := outputs["keyArn"].(string), "arguments-of-a-bucket"
	keys, objects := kms.NewFromConfig(cfg), s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	policy, err := keys.GetKeyPolicy(t.Context(), &kms.GetKeyPolicyInput{KeyId: &keyArn})
	require.NoError(t, err)
	require.Contains(t, *policy.Policy, "arn:aws:iam::111122223333:root")
	require.Contains(t, *policy.Policy, `"Condition":{"StringEquals":{"aws:SourceAccount":"123456789012"}}`)
	tags, err := keys.ListResourceTags(t.Context(), &kms.ListResourceTagsInput{KeyId: &keyArn})
	require.NoError(t, err)
	require.Len(t, tags.Tags, 1)
	require.Equal(t, "security", *tags.Tags[0].TagValue)
	encryption, err := objects.GetBucketEncryption(t.Context(), &s3.GetBucketEncryptionInput{Bucket: &bucket})
	require.NoError(t, err)
	require.False(t, *encryption.ServerSideEncryptionConfiguration.Rules[0].BucketKeyEnabled)
	lock, err := objects.GetObjectLockConfiguration(t.Context(), &s3.GetObjectLockConfigurationInput{Bucket: &bucket})
	require.NoError(t, err)
	require.Equal(t, int32(30), *lock.ObjectLockConfiguration.Rule.DefaultRetention.Days)
	rule := requireReplicated(t, l, outputs["replicatedBucketName"].(string), "replicas-", keyArn)
	require.Equal(t, "logs/", *rule.Filter.Prefix)
	require.Equal(t, engine.AccountID, *rule.Destination.Account)
	require.Equal(t, s3types.StorageClassStandardIa, rule.Destination.StorageClass)
	require.Equal(t, s3types.DeleteMarkerReplicationStatusEnabled, rule.DeleteMarkerReplication.Status)
	require.Contains(t, outputs["replicationPolicy"], "s3:ReplicateDelete")
	p.run("preview", "--refresh", "--expect-no-changes")
	p.run("destroy", "--yes")
}

// The provider that a component is given is the one that its resources and its
// look-ups use.
func TestYAML_OtherRegion(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	p := newProgram(t, l, `
name: regions
runtime: yaml
resources:
  west:
    type: pulumi:providers:aws
    properties: {region: us-west-2, skipMetadataApiCheck: true}
  key:
    type: kms-baseline:CustomerKey
    properties: {multiRegion: true}
  replica:
    type: kms-baseline:ReplicaKey
    properties: {primaryKeyArn: "${key.keyArn}"}
    options: {providers: ["${west}"]}
  volumes:
    type: kms-baseline:EBSDefaultEncryption
    properties: {kmsKeyArn: "${replica.keyArn}"}
    options: {providers: ["${west}"]}
outputs:
  replicaArn: ${replica.keyArn}
`)
	p.run("up", "--yes")
	replica := p.outputs()["replicaArn"].(string)
	require.Contains(t, replica, "arn:aws:kms:us-west-2:")
	volumes := ec2.NewFromConfig(l.Config(t, engine.AccountID))
	west := func(o *ec2.Options) { o.Region = "us-west-2" }
	key, err := volumes.GetEbsDefaultKmsKeyId(t.Context(), nil, west)
	require.NoError(t, err)
	require.Equal(t, replica, *key.KmsKeyId)
	here, err := volumes.GetEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	require.False(t, *here.EbsEncryptionByDefault, "the stack's own Region was not asked for")
	p.run("preview", "--refresh", "--expect-no-changes")
	p.run("destroy", "--yes")
}

func TestYAML_RefusesAtPreview(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	for _, c := range []struct{ name, resources, want string }{
		{
			"a value out of range", `
  key: {type: kms-baseline:CustomerKey, properties: {rotationPeriodInDays: 5}}
`, "RotationPeriodInDays: 5 is not valid: it must be 90 to 2560 days",
		},
		{
			"an alias for an ARN", `
  bucket: {type: kms-baseline:EncryptedBucket, properties: {kmsKeyArn: alias/mine}}
`, "it is an alias; give the ARN of the key itself",
		},
		{
			"a property that does not exist", `
  key: {type: kms-baseline:CustomerKey, properties: {rotation: 90}}
`, "Property rotation does not exist on 'kms-baseline:index:CustomerKey'",
		},
		{
			"two that set one Region's EBS defaults", `
  key: {type: kms-baseline:CustomerKey}
  one: {type: kms-baseline:EBSDefaultEncryption, properties: {kmsKeyArn: "${key.keyArn}"}}
  other: {type: kms-baseline:EBSDefaultEncryption, properties: {kmsKeyArn: "${key.keyArn}"}}
`, "sets the EBS defaults of us-east-1 in account 123456789012 already",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, err := newProgram(t, l, "name: refuses\nruntime: yaml\nresources:"+c.resources).try("preview")
			require.Error(t, err)
			require.Contains(t, out, c.want)
		})
	}
}

// program is a YAML program and its stack.
type program struct {
	t   *testing.T
	lab *lab.Lab
	dir string
	env []string
}

func newProgram(t *testing.T, l *lab.Lab, text string) *program {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Pulumi.yaml"), []byte(text), 0o600))
	host, err := tools()
	require.NoError(t, err)
	return openProgram(t, l, dir, host)
}

// openProgram gives the program in dir, whose language host is in the folder host,
// a stack with the sandbox's configuration.
func openProgram(t *testing.T, l *lab.Lab, dir, host string) *program {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Pulumi.dev.yaml"), []byte(readFile(t, filepath.Join(l.Root, "Pulumi.sandbox.yaml"))), 0o600))
	// A backend of its own: programs of the same name do not share a stack.
	backend := t.TempDir()
	env := l.Env.With("PULUMI_BACKEND_URL", "file://"+filepath.ToSlash(backend)).
		With("PATH", host+string(os.PathListSeparator)+l.Env.Get("PATH"))
	p := &program{t: t, lab: l, dir: dir, env: env.Environ(os.Environ())}
	p.run("stack", "init", "dev")
	return p
}

func (p *program) run(args ...string) {
	p.t.Helper()
	out, err := p.try(args...)
	require.NoError(p.t, err, out)
}

// try runs the Pulumi CLI and returns what it printed.
func (p *program) try(args ...string) (string, error) {
	cmd := exec.CommandContext(p.t.Context(), p.lab.Tools.Pulumi, append(args, "--non-interactive", "--color", "never")...)
	cmd.Dir, cmd.Env = p.dir, p.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (p *program) outputs() map[string]any {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), p.lab.Tools.Pulumi, "stack", "output", "--json")
	cmd.Dir, cmd.Env = p.dir, p.env
	out, err := cmd.Output()
	require.NoError(p.t, err)
	var values map[string]any
	require.NoError(p.t, json.Unmarshal(out, &values))
	return values
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}

// tools builds and installs the plugin as `make install` does, and the host for
// YAML programs. It returns the host's folder.
var tools = sync.OnceValues(func() (string, error) {
	root, err := engine.FindRoot(".")
	if err != nil {
		return "", err
	}
	t, err := engine.Install(context.Background(), root, os.Stderr)
	if err != nil {
		return "", err
	}
	host, err := engine.InstallYAMLHost(context.Background(), root, os.Stderr)
	if err != nil {
		return "", err
	}
	plugin := filepath.Join(engine.Dir(root), "plugin", "pulumi-resource-kms-baseline")
	for _, c := range []struct {
		dir  string
		args []string
	}{
		{filepath.Join(root, "plugin"), []string{"go", "build", "-o", plugin, "."}},
		{root, []string{t.Pulumi, "plugin", "install", "resource", provider.Name, provider.Version(), "--file", plugin, "--reinstall"}},
	} {
		cmd := exec.Command(c.args[0], c.args[1:]...)
		cmd.Dir, cmd.Env = c.dir, append(os.Environ(), "PULUMI_HOME="+t.PulumiHome)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", strings.Join(c.args, " "), err, bytes.TrimSpace(out))
		}
	}
	return host, nil
})
