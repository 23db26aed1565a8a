package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os/exec"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components/audittrail"
	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
	"github.com/securethecloud/kms-baseline/sandbox/trino"
	"github.com/securethecloud/kms-baseline/sandbox/trino/trinotest"
	"github.com/securethecloud/kms-baseline/stack"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// verify asks the table that the component has made, in the component's workgroup, which
// a real engine answers from the log files that the trail has delivered. The events count
// as long as the digest files vouch for their log file.
func TestAuditTrail_VerifyAsksItsTable(t *testing.T) {
	t.Parallel()
	for name, organization := range map[string]string{"OfAnAccount": "", "OfAnOrganization": organizationID} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			verifyAsksTheTable(t, organization)
		})
	}
}

// verifyAsksTheTable makes the trail of an organization, if its ID is given, and else of
// the account alone.
func verifyAsksTheTable(t *testing.T, organization string) {
	// verify and the engine have this machine's clock, which ends the days of the table.
	var behind atomic.Int64
	behind.Store(int64(4*time.Hour + 10*time.Minute))
	addr, err := trino.FreeAddr(t.Context())
	require.NoError(t, err)
	l := lab.New(t, func(o *localaws.Options) {
		o.Trino, o.TrailDelivery = "http://"+addr, -1
		o.Now = func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }
	})
	trinotest.Start(t, trino.Options{URL: l.AWS.URL(), CAFile: l.AWS.CAFile(), Region: engine.Region, AccessKey: engine.AccountID, Addr: addr})
	if organization != "" {
		require.NoError(t, l.AWS.SetOrganization(localaws.Organization{ID: organization, Management: engine.AccountID, Accounts: []localaws.OrganizationAccount{{ID: engine.AccountID}, {ID: memberAccount}}}))
		l.CLI(t, "organizations", "enable-aws-service-access", "--service-principal", "cloudtrail.amazonaws.com")
	}
	s := l.Stack(t, "sandbox", func(ctx *pulumi.Context) error {
		if err := stack.Deploy(ctx); err != nil {
			return err
		}
		args := &audittrail.AuditTrailArgs{Regions: []string{"us-east-1", "us-west-2"}, Since: "2026-01-01"}
		if organization != "" {
			args.OrganizationID = pulumi.String(organization)
		}
		trail, err := audittrail.NewAuditTrail(ctx, "audit", args)
		if err != nil {
			return err
		}
		ctx.Export("logs", trail.BucketName)
		ctx.Export("athenaSource", trail.AthenaSource)
		return nil
	}, nil)
	outputs := s.Up(t)
	logs, bucket := outputs["logs"].(string), outputs["bucketName"].(string)
	c := s3.NewFromConfig(l.Config(t, engine.AccountID), func(o *s3.Options) { o.UsePathStyle = true })

	// A digest file covers an hour. What is written and read in the second hour is
	// delivered in it.
	const object = "records/café & 'co'.txt"
	for hour := 1; behind.Load() > 0; hour++ {
		behind.Store(max(behind.Load()-int64(70*time.Minute), 0))
		if hour == 1 {
			_, err = c.PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: &bucket, Key: aws.String(object), Body: strings.NewReader("a record"),
				ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: aws.String(outputs["keyArn"].(string)), BucketKeyEnabled: aws.Bool(false), // an event for each use
			})
			require.NoError(t, err)
			read, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: aws.String(object)})
			require.NoError(t, err)
			require.NoError(t, read.Body.Close())
		}
		require.NoError(t, l.AWS.DeliverTrails())
	}
	folder := path.Join("AWSLogs", organization, engine.AccountID, "CloudTrail") + "/"
	put := func(key string, content []byte) {
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &logs, Key: &key, Body: bytes.NewReader(content)})
		require.NoError(t, err)
	}
	// The engine fails if it reads a log file of another day or Region than verify needs.
	for _, other := range []string{"us-west-2/" + time.Now().UTC().Format("2006/01/02"), "us-east-1/2026/01/02"} {
		put(folder+other+"/"+engine.AccountID+"_CloudTrail_damaged.json.gz", []byte("not compressed"))
	}

	args := []string{"--events", outputs["athenaSource"].(string), "--key", outputs["keyArn"].(string), "--bucket", bucket, "--object", object,
		"--region", engine.Region, "--since", "3h50m", "--only", "trail.write,trail.read,trail.integrity"}
	found, code := verifyJSON(t, l, args...)
	require.Zero(t, code, "%+v", found)
	require.Len(t, found, 3)
	for _, x := range found {
		require.Equal(t, report.Pass, x.Status, "%s: %s", x.ID, x.Actual)
		if x.ID != "trail.integrity" {
			require.Contains(t, x.Actual, "query of AwsDataCatalog.audit.cloudtrail", x.ID)
		}
	}

	// A log file that says that another user wrote the object proves nothing.
	list, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &logs, Prefix: aws.String(folder + "us-east-1/" + time.Now().UTC().Format("2006/"))})
	require.NoError(t, err)
	changed := 0
	for _, o := range list.Contents {
		file, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &logs, Key: o.Key})
		require.NoError(t, err)
		text, err := gzip.NewReader(file.Body)
		if err != nil {
			continue // the damaged file
		}
		content, err := io.ReadAll(text)
		require.NoError(t, err)
		if !bytes.Contains(content, []byte(bucket+"/records/")) {
			continue
		}
		changed++
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		_, err = zip.Write(bytes.ReplaceAll(content, []byte(":user/localaws"), []byte(":user/mallory")))
		require.NoError(t, err)
		require.NoError(t, zip.Close())
		put(*o.Key, b.Bytes())
	}
	require.NotZero(t, changed)
	found, code = verifyJSON(t, l, args...)
	require.Equal(t, 1, code, "%+v", found)
	for _, x := range found {
		want := report.Inconclusive
		if x.ID == "trail.integrity" {
			want = report.Fail
		}
		require.Equal(t, want, x.Status, "%s: %s", x.ID, x.Actual)
	}
}

// verifyJSON runs the verify command, and returns the results and the exit code.
func verifyJSON(t *testing.T, l *lab.Lab, args ...string) ([]report.Result, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command(t, "verify"), append(args, "--output", "json")...)
	cmd.Env = l.Env.Environ(nil)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		require.IsType(t, &exec.ExitError{}, err, "%v\n%s", err, stderr.String())
	}
	var rep report.Report
	require.NoError(t, json.Unmarshal(out, &rep), "%s%s", out, stderr.String())
	return rep.Results, cmd.ProcessState.ExitCode()
}
