package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	pulumis3 "github.com/pulumi/pulumi-aws/sdk/v6/go/aws/s3"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
	"github.com/securethecloud/kms-baseline/stack"
	"github.com/securethecloud/kms-baseline/verify/check"
	"github.com/securethecloud/kms-baseline/verify/report"
)

var update = flag.Bool("update", false, "write the tables of docs/drift.md anew")

// drift is one change behind Pulumi's back.
type drift struct {
	// of is what has changed; two drifts of the same thing are shown one after
	// the other, those of several at once.
	of, what string
	// by are the shell commands that change it. $KEY, $ALIAS, $BUCKET, $OBJECT,
	// $LOGS and $REPLICAS stand for what the stack made.
	by string
	// shows is what the preview finds, as in "update kms.Key: isEnabled".
	shows string
	// undo takes back what the provider does not see, since up does not, and
	// seenBy is the check of verify that sees it, or who else does.
	undo, seenBy string
}

const (
	// A key of another owner, for commands that follow.
	anotherKey = `ANOTHER=$(aws kms create-key --query KeyMetadata.Arn --output text); `

	setEncryption = `aws s3api put-bucket-encryption --bucket $BUCKET --server-side-encryption-configuration `
	ourEncryption = setEncryption + `'{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms","KMSMasterKeyID":"'$KEY'"},"BucketKeyEnabled":true}]}'`
	sseS3         = setEncryption + `'{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"AES256"}}]}'`

	setAccess    = `aws s3api put-public-access-block --bucket $BUCKET --public-access-block-configuration `
	setLifecycle = `aws s3api put-bucket-lifecycle-configuration --bucket $BUCKET --lifecycle-configuration `
)

// replication is the replication configuration of options.
const replication = `{"Role":"` + replicationRole + `","Rules":[{"ID":"kms-baseline","Priority":1,"Status":"Enabled","Filter":{},` +
	`"DeleteMarkerReplication":{"Status":"Disabled"},"SourceSelectionCriteria":{"SseKmsEncryptedObjects":{"Status":"Enabled"}},` +
	`"Destination":{"Bucket":"arn:aws:s3:::'$REPLICAS'","EncryptionConfiguration":{"ReplicaKmsKeyID":"` + replicationKey + `"}}}]}`

const (
	replicationRole = "arn:aws:iam::" + engine.AccountID + ":role/replication"
	replicationKey  = "arn:aws:kms:us-west-2:" + engine.AccountID + ":key/1234abcd-12ab-34cd-56ef-1234567890ab"
)

// setReplication replaces a part of the replication configuration.
func setReplication(part, with string) string {
	return `aws s3api put-bucket-replication --bucket $BUCKET --replication-configuration '` + strings.Replace(replication, part, with, 1) + `'`
}

// stackDrifts are the changes to what this repository's stack makes.
var stackDrifts = []drift{
	{of: "key", what: "description changed", shows: "update kms.Key: description",
		by: `aws kms update-key-description --key-id $KEY --description "another"`},
	{of: "key", what: "rotation off", shows: "update kms.Key: enableKeyRotation, rotationPeriodInDays",
		by: `aws kms disable-key-rotation --key-id $KEY`},
	{of: "key", what: "rotation period changed", shows: "update kms.Key: rotationPeriodInDays",
		by: `aws kms enable-key-rotation --key-id $KEY --rotation-period-in-days 180`},
	{of: "key", what: "tag changed", shows: "update kms.Key: tags",
		by: `aws kms tag-resource --key-id $KEY --tags TagKey=project,TagValue=other`},
	{of: "key", what: "tag removed", shows: "update kms.Key: tags",
		by: `aws kms untag-resource --key-id $KEY --tag-keys project`},
	{of: "key", what: "tag added", shows: "update kms.Key: tags",
		by: `aws kms tag-resource --key-id $KEY --tags TagKey=owner,TagValue=another`},
	{of: "key", what: "disabled", shows: "update kms.Key: isEnabled",
		by: `aws kms disable-key --key-id $KEY`},
	{of: "key policy", what: "opened to the world", shows: "update kms.KeyPolicy: policy",
		by: `aws kms put-key-policy --key-id $KEY --policy '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kms:*","Resource":"*"}]}'`},
	{of: "key policy", what: "statement added", shows: "update kms.KeyPolicy: policy",
		by: `aws kms put-key-policy --key-id $KEY --policy '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"},{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:Decrypt","Resource":"*"}]}'`},
	{of: "alias", what: "moved to another key", shows: "update kms.Alias: targetKeyId",
		by: anotherKey + `aws kms update-alias --alias-name $ALIAS --target-key-id $ANOTHER`},
	{of: "alias", what: "deleted", shows: "create kms.Alias",
		by: `aws kms delete-alias --alias-name $ALIAS`},

	{of: "EBS switch", what: "off", shows: "update ebs.EncryptionByDefault: enabled",
		by: `aws ec2 disable-ebs-encryption-by-default`},
	{of: "EBS default key", what: "another key", shows: "replace ebs.DefaultKmsKey: keyArn",
		by: anotherKey + `aws ec2 modify-ebs-default-kms-key-id --kms-key-id $ANOTHER`},
	{of: "EBS default key", what: "reset to the AWS managed key", shows: "replace ebs.DefaultKmsKey: keyArn",
		by: `aws ec2 reset-ebs-default-kms-key-id`},

	{of: "bucket encryption", what: "SSE-S3", shows: "update s3.BucketServerSideEncryptionConfigurationV2: rules",
		by: sseS3},
	{of: "bucket encryption", what: "AWS managed key", shows: "update s3.BucketServerSideEncryptionConfigurationV2: rules",
		by: setEncryption + `'{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms"},"BucketKeyEnabled":true}]}'`},
	{of: "bucket encryption", what: "alias instead of the key's ARN", shows: "update s3.BucketServerSideEncryptionConfigurationV2: rules",
		by: setEncryption + `'{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms","KMSMasterKeyID":"'$ALIAS'"},"BucketKeyEnabled":true}]}'`},
	{of: "bucket encryption", what: "another key", shows: "update s3.BucketServerSideEncryptionConfigurationV2: rules",
		by: anotherKey + setEncryption + `'{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms","KMSMasterKeyID":"'$ANOTHER'"},"BucketKeyEnabled":true}]}'`},
	{of: "bucket encryption", what: "S3 Bucket Key off", shows: "update s3.BucketServerSideEncryptionConfigurationV2: rules",
		by: setEncryption + `'{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms","KMSMasterKeyID":"'$KEY'"},"BucketKeyEnabled":false}]}'`},
	{of: "bucket encryption", what: "removed", shows: "update s3.BucketServerSideEncryptionConfigurationV2: rules",
		by: `aws s3api delete-bucket-encryption --bucket $BUCKET`},
	{of: "public access block", what: "public ACLs accepted", shows: "update s3.BucketPublicAccessBlock: blockPublicAcls",
		by: setAccess + `BlockPublicAcls=false,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true`},
	{of: "public access block", what: "public ACLs heeded", shows: "update s3.BucketPublicAccessBlock: ignorePublicAcls",
		by: setAccess + `BlockPublicAcls=true,IgnorePublicAcls=false,BlockPublicPolicy=true,RestrictPublicBuckets=true`},
	{of: "public access block", what: "public policies accepted", shows: "update s3.BucketPublicAccessBlock: blockPublicPolicy",
		by: setAccess + `BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=false,RestrictPublicBuckets=true`},
	{of: "public access block", what: "public policies heeded", shows: "update s3.BucketPublicAccessBlock: restrictPublicBuckets",
		by: setAccess + `BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=false`},
	{of: "public access block", what: "removed", shows: "create s3.BucketPublicAccessBlock",
		by: `aws s3api delete-public-access-block --bucket $BUCKET`},
	{of: "ownership", what: "ACLs enabled", shows: "update s3.BucketOwnershipControls: rule",
		by: `aws s3api put-bucket-ownership-controls --bucket $BUCKET --ownership-controls 'Rules=[{ObjectOwnership=ObjectWriter}]'`},
	{of: "ownership", what: "removed", shows: "create s3.BucketOwnershipControls",
		by: `aws s3api delete-bucket-ownership-controls --bucket $BUCKET`},
	{of: "versioning", what: "suspended", shows: "update s3.BucketVersioningV2: versioningConfiguration",
		by: `aws s3api put-bucket-versioning --bucket $BUCKET --versioning-configuration Status=Suspended`},
	{of: "bucket policy", what: "opened to another account", shows: "update s3.BucketPolicy: policy",
		by: `aws s3api put-bucket-policy --bucket $BUCKET --policy '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::'$BUCKET'/*"}]}'`},
	{of: "bucket policy", what: "removed", shows: "create s3.BucketPolicy",
		by: `aws s3api delete-bucket-policy --bucket $BUCKET`},
	{of: "bucket tags", what: "changed", shows: "update s3.BucketV2: tags",
		by: `aws s3api put-bucket-tagging --bucket $BUCKET --tagging 'TagSet=[{Key=project,Value=other}]'`},
	{of: "bucket tags", what: "added", shows: "update s3.BucketV2: tags",
		by: `aws s3api put-bucket-tagging --bucket $BUCKET --tagging 'TagSet=[{Key=project,Value=cloud-kms-masterclass},{Key=owner,Value=another}]'`},
	{of: "bucket tags", what: "removed", shows: "update s3.BucketV2: tags",
		by: `aws s3api delete-bucket-tagging --bucket $BUCKET`},

	// An update of an object keeps the encryption that the object has. So a round that
	// writes the object has no drift of the bucket's default to another key.
	{of: "proof object", what: "deleted", shows: "create s3.BucketObjectv2",
		by: `aws s3 rm s3://$BUCKET/$OBJECT`},
	{of: "proof object", what: "tag changed", shows: "update s3.BucketObjectv2: tags",
		by: `aws s3api put-object-tagging --bucket $BUCKET --key $OBJECT --tagging 'TagSet=[{Key=project,Value=other}]'`},
	{of: "proof object", what: "overwritten", shows: "update s3.BucketObjectv2: contentType, metadata, tags",
		by: `echo other | aws s3 cp - s3://$BUCKET/$OBJECT`},
	{of: "proof object", what: "tags removed", shows: "update s3.BucketObjectv2: tags",
		by: `aws s3api delete-object-tagging --bucket $BUCKET --key $OBJECT`},
	{of: "proof object", what: "content type changed", shows: "update s3.BucketObjectv2: contentType, metadata",
		by: `aws s3 cp s3://$BUCKET/$OBJECT s3://$BUCKET/$OBJECT --content-type text/html --metadata-directive REPLACE`},

	{of: "proof object", what: "copied over itself under another key", seenBy: "object.encryption",
		by: anotherKey + setEncryption + `'{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms","KMSMasterKeyID":"'$ANOTHER'"}}]}'; ` +
			`aws s3 cp s3://$BUCKET/$OBJECT s3://$BUCKET/$OBJECT --metadata-directive REPLACE --metadata purpose=proof --content-type text/plain; ` + ourEncryption,
		undo: `aws s3 cp s3://$BUCKET/$OBJECT s3://$BUCKET/$OBJECT --sse aws:kms --sse-kms-key-id $KEY`},
	{of: "bucket encryption", what: "SSE-S3 for a while, in which another object was written", seenBy: "object.encryption",
		by:   sseS3 + `; echo secret | aws s3 cp - s3://$BUCKET/another; ` + ourEncryption,
		undo: `aws s3 cp s3://$BUCKET/another s3://$BUCKET/another --sse aws:kms --sse-kms-key-id $KEY`},
	{of: "proof object", what: "moved to another storage class", seenBy: "nothing: it is encrypted as before",
		by:   `aws s3 cp s3://$BUCKET/$OBJECT s3://$BUCKET/$OBJECT --storage-class STANDARD_IA`,
		undo: `aws s3 cp s3://$BUCKET/$OBJECT s3://$BUCKET/$OBJECT --storage-class STANDARD --sse aws:kms --sse-kms-key-id $KEY`},
	{of: "key", what: "granted to another account", seenBy: "key.grants",
		by:   `aws kms create-grant --key-id $KEY --grantee-principal arn:aws:iam::111122223333:root --operations Decrypt`,
		undo: `aws kms revoke-grant --key-id $KEY --grant-id $(aws kms list-grants --key-id $KEY --query 'Grants[0].GrantId' --output text)`},
	{of: "key", what: "granted to a role of the account", seenBy: "nothing; `aws kms list-grants --key-id KEY` shows it",
		by:   `aws kms create-grant --key-id $KEY --grantee-principal arn:aws:iam::123456789012:role/another --operations Decrypt`,
		undo: `aws kms revoke-grant --key-id $KEY --grant-id $(aws kms list-grants --key-id $KEY --query 'Grants[0].GrantId' --output text)`},
}

// optionDrifts are the changes to what a bucket has when it is asked for.
var optionDrifts = []drift{
	{of: "lifecycle", what: "days changed", shows: "update s3.BucketLifecycleConfigurationV2: rules",
		by: setLifecycle + `'{"Rules":[{"ID":"old","Status":"Enabled","Filter":{"Prefix":""},"NoncurrentVersionExpiration":{"NoncurrentDays":1}}]}'`},
	{of: "lifecycle", what: "rule disabled", shows: "update s3.BucketLifecycleConfigurationV2: rules",
		by: setLifecycle + `'{"Rules":[{"ID":"old","Status":"Disabled","Filter":{"Prefix":""},"NoncurrentVersionExpiration":{"NoncurrentDays":90}}]}'`},
	{of: "lifecycle", what: "removed", shows: "create s3.BucketLifecycleConfigurationV2",
		by: `aws s3api delete-bucket-lifecycle --bucket $BUCKET`},
	{of: "access log", what: "sent elsewhere", shows: "update s3.BucketLoggingV2: targetPrefix",
		by: `aws s3api put-bucket-logging --bucket $BUCKET --bucket-logging-status '{"LoggingEnabled":{"TargetBucket":"'$LOGS'","TargetPrefix":"elsewhere/"}}'`},
	{of: "access log", what: "off", shows: "create s3.BucketLoggingV2",
		by: `aws s3api put-bucket-logging --bucket $BUCKET --bucket-logging-status '{}'`},
	{of: "object lock", what: "retention shortened", shows: "update s3.BucketObjectLockConfigurationV2: rule",
		by: `aws s3api put-object-lock-configuration --bucket $BUCKET --object-lock-configuration '{"ObjectLockEnabled":"Enabled","Rule":{"DefaultRetention":{"Mode":"GOVERNANCE","Days":1}}}'`},
	{of: "object lock", what: "retention removed", shows: "update s3.BucketObjectLockConfigurationV2: rule",
		by: `aws s3api put-object-lock-configuration --bucket $BUCKET --object-lock-configuration '{"ObjectLockEnabled":"Enabled"}'`},
	{of: "replication", what: "another role", shows: "update s3.BucketReplicationConfig: role",
		by: setReplication(replicationRole, replicationRole+"-of-another")},
	{of: "replication", what: "rule disabled", shows: "update s3.BucketReplicationConfig: rules",
		by: setReplication(`"Priority":1,"Status":"Enabled"`, `"Priority":1,"Status":"Disabled"`)},
	{of: "replication", what: "fewer objects", shows: "update s3.BucketReplicationConfig: rules",
		by: setReplication(`"Filter":{}`, `"Filter":{"Prefix":"some/"}`)},
	{of: "replication", what: "delete markers replicated", shows: "update s3.BucketReplicationConfig: rules",
		by: setReplication(`"DeleteMarkerReplication":{"Status":"Disabled"}`, `"DeleteMarkerReplication":{"Status":"Enabled"}`)},
	{of: "replication", what: "objects under KMS keys left out", shows: "update s3.BucketReplicationConfig: rules",
		by: setReplication(`"SseKmsEncryptedObjects":{"Status":"Enabled"}`, `"SseKmsEncryptedObjects":{"Status":"Disabled"}`)},
	{of: "replication", what: "another key for replicas", shows: "update s3.BucketReplicationConfig: rules",
		by: setReplication(replicationKey, replicationKey[:len(replicationKey)-1]+"0")},
	{of: "replication", what: "another destination", shows: "update s3.BucketReplicationConfig: rules",
		by: `aws s3api create-bucket --bucket elsewhere; aws s3api put-bucket-versioning --bucket elsewhere --versioning-configuration Status=Enabled; ` +
			setReplication(`'$REPLICAS'`, `elsewhere`)},
	{of: "replication", what: "another storage class", shows: "update s3.BucketReplicationConfig: rules",
		by: setReplication(`"EncryptionConfiguration"`, `"StorageClass":"ONEZONE_IA","EncryptionConfiguration"`)},
	{of: "replication", what: "removed", shows: "create s3.BucketReplicationConfig",
		by: `aws s3api delete-bucket-replication --bucket $BUCKET`},
}

// options is a program with what the stack has no settings for.
func options(ctx *pulumi.Context) error {
	logs, err := pulumis3.NewBucketV2(ctx, "logs", &pulumis3.BucketV2Args{BucketPrefix: pulumi.String("logs-")})
	if err != nil {
		return err
	}
	replicas, err := pulumis3.NewBucketV2(ctx, "replicas", &pulumis3.BucketV2Args{BucketPrefix: pulumi.String("replicas-")})
	if err != nil {
		return err
	}
	versioned, err := pulumis3.NewBucketVersioningV2(ctx, "replicas", &pulumis3.BucketVersioningV2Args{
		Bucket: replicas.Bucket, VersioningConfiguration: pulumis3.BucketVersioningV2VersioningConfigurationArgs{Status: pulumi.String("Enabled")},
	})
	if err != nil {
		return err
	}
	b, err := components.NewEncryptionBaseline(ctx, "drift", &components.EncryptionBaselineArgs{
		Bucket: &components.BaselineBucket{Args: &components.EncryptedBucketArgs{
			LifecycleRules: []components.LifecycleRule{{ID: "old", NoncurrentExpirationDays: aws.Int(90)}},
			Logging:        &components.AccessLogging{TargetBucket: logs.Bucket},
			ObjectLock:     &components.ObjectLock{Mode: "GOVERNANCE", Days: aws.Int(30)},
			Replication: &components.Replication{
				RoleArn: pulumi.String(replicationRole), DestinationBucketArn: pulumi.Sprintf("arn:aws:s3:::%s", versioned.Bucket), ReplicaKmsKeyArn: pulumi.String(replicationKey),
			},
		}},
		EBS: &components.BaselineEBS{Skip: true},
	})
	if err != nil {
		return err
	}
	ctx.Export("keyArn", b.KeyArn)
	ctx.Export("aliasName", b.AliasName)
	ctx.Export("bucketName", b.BucketName)
	ctx.Export("logs", logs.Bucket)
	ctx.Export("replicas", versioned.Bucket)
	return nil
}

// TestDrift_Stack and TestDrift_Options are tests of their own, not cases: a parallel
// case waits until all other parallel tests have begun, and these take longest.
func TestDrift_Stack(t *testing.T) {
	t.Parallel()
	testDrifts(t, stack.Deploy, stackDrifts)
}

func TestDrift_Options(t *testing.T) {
	t.Parallel()
	testDrifts(t, options, optionDrifts)
}

// testDrifts finds every change by one preview, repairs it by one up, and sees that it
// is gone after that; or the change stands in the table of those that the provider
// does not see.
func testDrifts(t *testing.T, program pulumi.RunFunc, drifts []drift) {
	t.Helper()
	l := lab.New(t)
	d := drifting{lab: l, clients: look(t, l), stack: l.Stack(t, "sandbox", program, nil)}
	d.up(t)
	for i := 0; ; i++ {
		round := inRound(drifts, i)
		if len(round) == 0 {
			break
		}
		d.repair(t, round)
	}
	d.overlook(t, drifts)
}

// inRound is the i-th visible drift of each thing: they are made at once, and
// none hides another.
func inRound(drifts []drift, i int) []drift {
	var round []drift
	nth := map[string]int{}
	for _, d := range drifts {
		if d.shows != "" {
			if nth[d.of] == i {
				round = append(round, d)
			}
			nth[d.of]++
		}
	}
	return round
}

// drifting is a stack whose resources change behind its back.
type drifting struct {
	lab       *lab.Lab
	clients   clients
	stack     *lab.Stack
	variables map[string]string
	before    map[string]string // the account
}

func (d *drifting) up(t *testing.T) {
	t.Helper()
	outputs := d.stack.Up(t)
	d.variables = map[string]string{}
	for variable, output := range map[string]string{"KEY": "keyArn", "ALIAS": "aliasName", "BUCKET": "bucketName", "OBJECT": "objectKey", "LOGS": "logs", "REPLICAS": "replicas"} {
		if value, ok := outputs[output].(string); ok {
			d.variables[variable] = value
		}
	}
	d.before = d.clients.account(t, d.variables)
}

// change makes the drifts, one after the other.
func (d *drifting) change(t *testing.T, commands ...string) {
	t.Helper()
	for _, c := range commands {
		require.NoError(t, shell(t.Context(), d.lab, c, d.variables))
	}
}

// repair makes visible drifts, and shows that they are found and repaired.
func (d *drifting) repair(t *testing.T, round []drift) {
	t.Helper()
	var want []string
	for _, r := range round {
		t.Logf("%s: %s", r.of, r.what)
		d.change(t, r.by)
		want = append(want, r.shows)
	}
	found, preview := steps(t, d.stack)
	var got []string
	for _, s := range found {
		got = append(got, s.String())
		require.Contains(t, preview.Output, s.name, "the output names the resource")
		if s.typ == "kms.Key" || s.typ == "s3.BucketV2" {
			require.Equal(t, "update", s.op, "%s is not replaced", s.name)
		}
	}
	require.ElementsMatch(t, want, got, preview.Output)

	out, err := d.stack.TryUp(t.Context(), optup.Refresh())
	require.NoError(t, err, out)
	require.Equal(t, d.before, d.clients.account(t, d.variables), "AWS shows what it showed before")
	found, preview = steps(t, d.stack)
	require.Empty(t, found, preview.Output)
}

// overlook makes the drifts that the provider does not see, and shows that it
// does not, and that verify does.
func (d *drifting) overlook(t *testing.T, drifts []drift) {
	t.Helper()
	for _, r := range drifts {
		if r.shows != "" {
			continue
		}
		t.Logf("%s: %s", r.of, r.what)
		require.Empty(t, d.failing(t))
		d.change(t, r.by)
		found, preview := steps(t, d.stack)
		require.Empty(t, found, preview.Output)
		if strings.HasPrefix(r.seenBy, "nothing") {
			require.Empty(t, d.failing(t))
		} else {
			require.Equal(t, []string{r.seenBy}, d.failing(t))
		}
		d.change(t, r.undo)
	}
}

// failing are the checks of verify that fail.
func (d *drifting) failing(t *testing.T) []string {
	t.Helper()
	whole := ""
	found, err := check.Run(t.Context(), check.Config{
		AWS: d.lab.Config(t, engine.AccountID), Keys: []string{d.variables["KEY"]}, Alias: d.variables["ALIAS"],
		Bucket: d.variables["BUCKET"], Prefix: &whole, Skip: []string{"trail"},
	})
	require.NoError(t, err)
	var failing []string
	for _, r := range found.Results {
		if r.Status == report.Fail {
			failing = append(failing, r.ID)
		}
	}
	return failing
}

// To the provider a key that is about to be deleted is gone. No other is made in
// its place, which could not read what it has encrypted: preview and up print the
// commands that cancel the deletion, and those are enough.
func TestDrift_KeyScheduledForDeletion(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	d := drifting{lab: l, clients: look(t, l), stack: l.Stack(t, "sandbox", stack.Deploy, nil)}
	d.up(t)

	d.change(t, `aws kms schedule-key-deletion --key-id $KEY --pending-window-in-days 7`)
	var out bytes.Buffer
	_, err := d.stack.Stack.Preview(t.Context(), optpreview.Refresh(), optpreview.ProgressStreams(&out), optpreview.ErrorProgressStreams(&out))
	require.Error(t, err)
	cancel := commandsOf(t, out.String(), "pending deletion", `aws kms cancel-key-deletion --key-id \S+`, `aws kms enable-key --key-id \S+`)
	require.Contains(t, d.failing(t), "key.deletion")

	d.change(t, cancel...)
	found, preview := steps(t, d.stack)
	require.Empty(t, found, preview.Output)
	require.Equal(t, d.before, d.clients.account(t, d.variables), "AWS shows what it showed before")

	// up makes no other key either. But its refresh has taken the key out of the
	// stack, which takes it back as the error says.
	d.change(t, `aws kms schedule-key-deletion --key-id $KEY --pending-window-in-days 7`)
	said, err := d.stack.TryUp(t.Context(), optup.Refresh())
	require.Error(t, err)
	d.change(t, commandsOf(t, said, "pending deletion", `aws kms cancel-key-deletion --key-id \S+`, `aws kms enable-key --key-id \S+`)...)
	said, err = d.stack.TryUp(t.Context(), optup.Refresh())
	require.Error(t, err)
	d.importResource(t, commandsOf(t, said, "names "+d.variables["KEY"]+" already", `pulumi import [^`+"`"+`]+`)[0])
	said, err = d.stack.TryUp(t.Context(), optup.Refresh())
	require.NoError(t, err, said)
	require.Equal(t, d.before, d.clients.account(t, d.variables), "AWS shows what it showed before")
	found, preview = steps(t, d.stack)
	require.Empty(t, found, preview.Output)
}

// commandsOf takes the commands out of an error that contains a text.
func commandsOf(t *testing.T, said, text string, patterns ...string) (commands []string) {
	t.Helper()
	require.Contains(t, said, text)
	for _, p := range patterns {
		found := regexp.MustCompile("`(" + p + ")`").FindStringSubmatch(said)
		require.Len(t, found, 2, "%s in %s", p, said)
		commands = append(commands, found[1])
	}
	return commands
}

// importResource runs a pulumi import as it is printed. A Go program's language host
// comes with the official CLI; one for YAML does here.
func (d *drifting) importResource(t *testing.T, command string) {
	t.Helper()
	host, err := engine.InstallYAMLHost(t.Context(), d.lab.Root, io.Discard)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Pulumi.yaml"), []byte("name: kms-baseline\nruntime: yaml\n"), 0o600))
	settings, err := os.ReadFile(filepath.Join(d.stack.Workspace().WorkDir(), "Pulumi.sandbox.yaml"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Pulumi.sandbox.yaml"), settings, 0o600))
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", command+" --stack sandbox --yes --non-interactive")
	cmd.Dir = dir
	path := strings.Join([]string{host, filepath.Dir(d.lab.Tools.Pulumi), os.Getenv("PATH")}, string(os.PathListSeparator))
	cmd.Env = d.lab.Env.With("PATH", path).Environ(os.Environ())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", command, out)
}

// A bucket that has been deleted takes its settings along: one up makes all of
// them again before anything is written.
func TestDrift_BucketDeleted(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	d := drifting{lab: l, clients: look(t, l), stack: l.Stack(t, "sandbox", stack.Deploy, nil)}
	d.up(t)

	d.change(t, `aws s3api delete-objects --bucket $BUCKET --delete "$(aws s3api list-object-versions --bucket $BUCKET --query '{Objects: Versions[].{Key: Key, VersionId: VersionId}}')" && aws s3api delete-bucket --bucket $BUCKET`)
	found, preview := steps(t, d.stack)
	for _, s := range found {
		require.Equal(t, "create", s.op, preview.Output)
		require.True(t, strings.HasPrefix(s.typ, "s3."), preview.Output)
	}
	require.NotEmpty(t, found)

	out, err := d.stack.TryUp(t.Context(), optup.Refresh())
	require.NoError(t, err, out)
	found, preview = steps(t, d.stack)
	require.Empty(t, found, preview.Output)
	d.up(t)
	require.Empty(t, d.failing(t), "the proof object is under the key again")
}

// step is one line of a preview.
type step struct {
	op, typ, name string
	properties    []string
}

// String is the step as docs/drift.md shows it: "update kms.Key: isEnabled".
func (s step) String() string {
	out := s.op + " " + s.typ
	if s.op != "create" && len(s.properties) > 0 {
		out += ": " + strings.Join(s.properties, ", ")
	}
	return out
}

// steps runs a preview after a refresh and returns what an up would do.
func steps(t *testing.T, s *lab.Stack) ([]step, lab.Preview) {
	t.Helper()
	stream := make(chan events.EngineEvent)
	var found []step
	var reading sync.WaitGroup
	reading.Go(func() {
		for e := range stream {
			if e.ResourcePreEvent == nil {
				continue
			}
			m := e.ResourcePreEvent.Metadata
			switch m.Op {
			case "same", "refresh", "read", "create-replacement", "delete-replaced": // a "replace" comes with the latter two
				continue
			}
			kind := strings.Split(m.Type, ":") // aws:kms/key:Key
			module, _, _ := strings.Cut(kind[1], "/")
			properties := map[string]bool{}
			for path := range m.DetailedDiff {
				if p := path[:len(path)-len(strings.TrimLeftFunc(path, unicode.IsLetter))]; p != "tagsAll" { // tags again, and the provider's own
					properties[p] = true
				}
			}
			found = append(found, step{string(m.Op), module + "." + kind[2], resource.URN(m.URN).Name(), slices.Sorted(maps.Keys(properties))})
		}
	})
	p := s.Preview(t, optpreview.EventStreams(stream))
	reading.Wait()
	return found, p
}

// account is all that AWS shows of what a baseline made, as far as it does not
// change by itself.
func (c clients) account(t *testing.T, outputs map[string]string) map[string]string {
	t.Helper()
	key, alias, bucket, object := outputs["KEY"], outputs["ALIAS"], outputs["BUCKET"], outputs["OBJECT"]
	ctx := t.Context()
	shown := map[string]string{}
	show := func(name string, answer any, err error) {
		var refused smithy.APIError
		if err != nil {
			require.ErrorAs(t, err, &refused, name)
			shown[name] = refused.ErrorCode()
			return
		}
		text, err := json.Marshal(answer)
		require.NoError(t, err)
		var fields map[string]any
		require.NoError(t, json.Unmarshal(text, &fields))
		for _, changing := range []string{"ResultMetadata", "NextRotationDate", "LastModified", "VersionId", "ETag", "Body", "ContentRange"} {
			delete(fields, changing)
		}
		text, err = json.Marshal(fields)
		require.NoError(t, err)
		shown[name] = string(text)
	}
	described, err := c.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key})
	show("key", described, err)
	rotation, err := c.kms.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: &key})
	show("key rotation", rotation, err)
	keyPolicy, err := c.kms.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &key})
	show("key policy", keyPolicy, err)
	keyTags, err := c.kms.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: &key})
	show("key tags", keyTags, err)
	grants, err := c.kms.ListGrants(ctx, &kms.ListGrantsInput{KeyId: &key})
	show("key grants", grants, err)
	target, err := c.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &alias})
	show("alias", target, err)
	encryption, err := c.s3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &bucket})
	show("bucket encryption", encryption, err)
	access, err := c.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &bucket})
	show("bucket public access", access, err)
	ownership, err := c.s3.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: &bucket})
	show("bucket ownership", ownership, err)
	versioning, err := c.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &bucket})
	show("bucket versioning", versioning, err)
	policy, err := c.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &bucket})
	show("bucket policy", policy, err)
	lifecycle, err := c.s3.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &bucket})
	show("bucket lifecycle", lifecycle, err)
	logging, err := c.s3.GetBucketLogging(ctx, &s3.GetBucketLoggingInput{Bucket: &bucket})
	show("bucket logging", logging, err)
	replicated, err := c.s3.GetBucketReplication(ctx, &s3.GetBucketReplicationInput{Bucket: &bucket})
	if err == nil {
		for _, rule := range replicated.ReplicationConfiguration.Rules {
			if aws.ToString(rule.Filter.Prefix) == "" { // the provider writes an empty prefix or none; both select all objects
				rule.Filter.Prefix = nil
			}
		}
	}
	show("bucket replication", replicated, err)
	lock, err := c.s3.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &bucket})
	show("bucket object lock", lock, err)
	tags, err := c.s3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: &bucket})
	show("bucket tags", tags, err)
	if object != "" {
		read, err := c.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &object})
		show("object", read, err)
		if err == nil {
			content, err := io.ReadAll(read.Body)
			require.NoError(t, err)
			shown["object content"] = string(content)
		}
		objectTags, err := c.s3.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &bucket, Key: &object})
		show("object tags", objectTags, err)
	}
	enabled, err := c.ec2.GetEbsEncryptionByDefault(ctx, &ec2.GetEbsEncryptionByDefaultInput{})
	show("EBS switch", enabled, err)
	ebsKey, err := c.ec2.GetEbsDefaultKmsKeyId(ctx, &ec2.GetEbsDefaultKmsKeyIdInput{})
	show("EBS default key", ebsKey, err)
	return shown
}

// shell runs commands with the unmodified AWS CLI, as the stack's own user.
func shell(ctx context.Context, l *lab.Lab, commands string, variables map[string]string) error {
	cli, err := engine.InstallAWSCLI(ctx, l.Root, io.Discard)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "sh", "-eu", "-c", commands)
	cmd.Env = l.Env.With("PATH", filepath.Dir(cli)+string(os.PathListSeparator)+os.Getenv("PATH")).Environ(os.Environ())
	for name, value := range variables {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", commands, err, bytes.TrimSpace(out))
	}
	return nil
}

// TestDrift_TableNamesEveryChange compares the tables of docs/drift.md with the changes
// that the tests above make.
func TestDrift_TableNamesEveryChange(t *testing.T) {
	t.Parallel()
	root, err := engine.FindRoot(".")
	require.NoError(t, err)
	file := filepath.Join(root, "docs", "drift.md")
	old, err := os.ReadFile(file)
	require.NoError(t, err)
	var seen, unseen strings.Builder
	seen.WriteString("| changed | how | `pulumi preview --refresh` shows |\n| --- | --- | --- |\n")
	unseen.WriteString("| changed | how | seen by |\n| --- | --- | --- |\n")
	for _, d := range slices.Concat(stackDrifts, optionDrifts) {
		switch {
		case d.shows != "":
			fmt.Fprintf(&seen, "| %s | %s | %s |\n", d.of, d.what, d.shows)
		case strings.HasPrefix(d.seenBy, "nothing"):
			fmt.Fprintf(&unseen, "| %s | %s | %s |\n", d.of, d.what, d.seenBy)
		default:
			fmt.Fprintf(&unseen, "| %s | %s | `verify`: `%s` |\n", d.of, d.what, d.seenBy)
		}
	}
	text := between(t, string(old), "seen", seen.String())
	text = between(t, text, "unseen", unseen.String())
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		return
	}
	require.Equal(t, text, string(old), "docs/drift.md does not name what the tests see: go test ./e2e -run TestDrift -update")
}

// between puts a table between a document's marks.
func between(t *testing.T, document, name, table string) string {
	t.Helper()
	begin, end := "<!-- "+name+": written by go test ./e2e -run TestDrift -update -->\n", "<!-- end of "+name+" -->\n"
	before, rest, ok := strings.Cut(document, begin)
	require.True(t, ok, "docs/drift.md has no mark %q", begin)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok, "docs/drift.md has no mark %q", end)
	return before + begin + table + end + after
}
