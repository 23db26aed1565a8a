package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/securethecloud/kms-baseline/localaws"
)

// BenchmarkOrganization checks key and EBS defaults of 1,000 accounts in four
// Regions each, where every call to AWS takes 30 ms longer. One account has no role:
// it must be the only one that is not examined.
func BenchmarkOrganization(b *testing.B) {
	const accounts, latency = 1000, 30 * time.Millisecond
	regions := []string{"us-east-1", "us-west-2", "eu-west-1", "ap-southeast-1"}
	x := newBenched(b, localaws.Options{TrailRate: 1 << 20})
	require.NoError(b, x.server.SetIdentityPolicy("arn:aws:iam::"+testAccount+":user/localaws", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}}`))
	policy, err := exec.CommandContext(b.Context(), x.binary, "iam", "--only", "key,ebs").Output()
	require.NoError(b, err)
	var list strings.Builder
	var g errgroup.Group
	g.SetLimit(8)
	for i := range accounts {
		account := fmt.Sprintf("%012d", 100_000_000_000+i)
		fmt.Fprintln(&list, account)
		g.Go(func() error {
			if i > 0 {
				role := "arn:aws:iam::" + account + ":role/verify-reader"
				if err := errors.Join(
					x.server.SetRole(role, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"`+testAccount+`"},"Action":"sts:AssumeRole"}}`),
					x.server.SetIdentityPolicy(role, string(policy)),
				); err != nil {
					return err
				}
			}
			for _, region := range regions {
				if err := makeKey(b, x.server, account, region); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(b, g.Wait())
	file := filepath.Join(x.dir, "accounts.txt")
	require.NoError(b, os.WriteFile(file, []byte(list.String()), 0o600))
	x.server.Inject(localaws.Fault{Delay: latency})
	for b.Loop() {
		x.server.ResetCalls()
		start := time.Now()
		out, mb, err := x.output(b, "org", "--accounts", file, "--role", "verify-reader", "--alias", "alias/masterclass-cmk", "--only", "key,ebs", "--regions", strings.Join(regions, ","))
		took := time.Since(start).Seconds()
		var exit *exec.ExitError
		require.ErrorAs(b, err, &exit, "an account without the role cannot be examined")
		require.Equal(b, exitUnknown, exit.ExitCode())
		var rep struct {
			Accounts []struct{ ID, Verdict string }
		}
		require.NoError(b, json.Unmarshal(out, &rep))
		require.Len(b, rep.Accounts, accounts)
		for i, a := range rep.Accounts {
			want := "pass"
			if i == 0 {
				want = "error"
			}
			require.Equal(b, want, a.Verdict, a.ID)
		}
		calls, roles := 0, 0
		for _, c := range x.server.Calls() {
			calls += c.Count
			if c.Operation == "AssumeRole" {
				roles += c.Count
			}
		}
		b.ReportMetric(accounts/took, "accounts/s")
		b.ReportMetric(float64(calls)/took, "calls/s")
		b.ReportMetric(float64(roles)/took, "AssumeRole/s")
		b.ReportMetric(mb, "MB")
		b.ReportMetric(x.cpu.Seconds(), "cpu-s")
	}
}

// makeKey makes a key with the alias, and the EBS defaults under it.
func makeKey(b *testing.B, server *localaws.Server, account, region string) error {
	ctx := b.Context()
	cfg, err := accountConfig(ctx, server, account)
	if err != nil {
		return err
	}
	cfg.Region = region
	k, e := kms.NewFromConfig(cfg), ec2.NewFromConfig(cfg)
	key, err := k.CreateKey(ctx, nil)
	if err != nil {
		return err
	}
	arn := key.KeyMetadata.Arn
	_, rotation := k.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: arn})
	_, alias := k.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/masterclass-cmk"), TargetKeyId: arn})
	_, ebsKey := e.ModifyEbsDefaultKmsKeyId(ctx, &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: arn})
	_, ebs := e.EnableEbsEncryptionByDefault(ctx, nil)
	return errors.Join(rotation, alias, ebsKey, ebs)
}
