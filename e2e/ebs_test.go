package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
	"github.com/securethecloud/kms-baseline/stack"
	"github.com/securethecloud/kms-baseline/verify/check"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// begin sets the EBS defaults of an account with a past.
func (c clients) begin(t *testing.T, enabled, customerKey bool) (key string) {
	t.Helper()
	if customerKey {
		made, err := c.kms.CreateKey(t.Context(), &kms.CreateKeyInput{})
		require.NoError(t, err)
		key = *made.KeyMetadata.Arn
		_, err = c.ec2.ModifyEbsDefaultKmsKeyId(t.Context(), &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &key})
		require.NoError(t, err)
	}
	if enabled {
		_, err := c.ec2.EnableEbsEncryptionByDefault(t.Context(), nil)
		require.NoError(t, err)
	}
	return key
}

// asHook sets the environment of this process to that of the lab's stack: the
// hooks that run at destroy run here, with the credentials of the environment.
func asHook(t *testing.T, l *lab.Lab) {
	t.Helper()
	for _, v := range []string{"AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		t.Setenv(v, l.Env.Get(v))
	}
}

// ebsByMeaning is [clients.ebs] with one name for the AWS managed key: AWS
// answers its alias while no default was ever set, and its ARN from then
// on.
func (c clients) ebsByMeaning(t *testing.T) (enabled bool, key string) {
	t.Helper()
	enabled, key = c.ebs(t)
	if key == "alias/aws/ebs" {
		return enabled, "the AWS managed key"
	}
	described, err := c.kms.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &key})
	require.NoError(t, err)
	if described.KeyMetadata.KeyManager == kmstypes.KeyManagerTypeAws {
		return enabled, "the AWS managed key"
	}
	return enabled, key
}

// account is all that the lab's account holds, but for the stack's key, which
// is pending deletion in the end, and the AWS managed key, which AWS makes when
// it is first needed and never takes away.
func account(t *testing.T, l *lab.Lab, without string) map[string]map[string]any {
	t.Helper()
	raw, err := l.AWS.Snapshot()
	require.NoError(t, err)
	var all map[string]map[string]any
	require.NoError(t, json.Unmarshal(raw, &all))
	managed := map[string]bool{}
	for name, key := range all["kmsKeys"] {
		id := name[strings.LastIndex(name, "/")+1:]
		if key.(map[string]any)["Manager"] == "AWS" {
			managed[id] = true
		}
		if managed[id] || without != "" && strings.HasSuffix(without, "/"+id) {
			delete(all["kmsKeys"], name)
		}
	}
	for name := range all["kmsAliases"] {
		if strings.Contains(name, "alias/aws/") {
			delete(all["kmsAliases"], name)
		}
	}
	for name, v := range all["ebsDefaults"] {
		d := v.(map[string]any)
		if key, _ := d["keyArn"].(string); managed[key[strings.LastIndex(key, "/")+1:]] {
			delete(d, "keyArn")
		}
		if len(d) == 1 && d["encrypt"] == false {
			delete(all["ebsDefaults"], name)
		}
	}
	return all
}

// restoring is a stack that restores the EBS defaults on destroy, which it has
// made its own.
func restoring(t *testing.T, l *lab.Lab) (s *lab.Stack, ours string) {
	t.Helper()
	s = l.Stack(t, "sandbox", stack.Deploy, map[string]string{"ebsOnDestroy": components.EBSRestore, "ebsTakeOver": "true"})
	ours = s.Up(t)["keyArn"].(string)
	enabled, key := look(t, l).ebs(t)
	require.True(t, enabled)
	require.Equal(t, ours, key)
	return s, ours
}

// An account is left as it was found, from all four beginnings. (Not parallel:
// see asHook.)
func TestEBS_RestoreOnDestroy(t *testing.T) {
	for name, begin := range map[string]struct{ enabled, customerKey bool }{
		"off, AWS managed key": {false, false},
		"on, AWS managed key":  {true, false},
		"off, customer key":    {false, true},
		"on, customer key":     {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			asHook(t, l)
			c := look(t, l)
			c.begin(t, begin.enabled, begin.customerKey)
			enabledBefore, keyBefore := c.ebsByMeaning(t)
			before := account(t, l, "")
			s, ours := restoring(t, l)
			require.True(t, s.Preview(t).Clean())

			out, err := s.TryDestroy(t.Context())
			require.Error(t, err, "destroy without --run-program")
			require.Contains(t, out, "--run-program")
			enabled, key := c.ebs(t)
			require.True(t, enabled, "nothing has been deleted")
			require.Equal(t, ours, key)

			s.Destroy(t, optdestroy.RunProgram(true))
			enabled, key = c.ebsByMeaning(t)
			require.Equal(t, enabledBefore, enabled)
			require.Equal(t, keyBefore, key)
			require.Equal(t, before, account(t, l, ours), "the whole account")
		})
	}
}

// A destroy that could not put the defaults back has not deleted the key that
// is still the default, and the next one finishes the job.
func TestEBS_RestoreOnDestroyIsResumed(t *testing.T) {
	for name, c := range map[string]struct {
		spoil, mend func(t *testing.T, l *lab.Lab)
		want        string
	}{
		"EC2 refuses": {
			func(_ *testing.T, l *lab.Lab) {
				l.AWS.Inject(localaws.Fault{Service: "ec2", Operation: "ModifyEbsDefaultKmsKeyId", Count: 1, Status: 403, Code: "UnauthorizedOperation"})
			},
			func(*testing.T, *lab.Lab) {},
			"restoring the default EBS key of us-east-1",
		},
		"another account's credentials": {
			func(t *testing.T, _ *lab.Lab) {
				t.Helper()
				t.Setenv("AWS_ACCESS_KEY_ID", "444455556666")
			},
			func(t *testing.T, l *lab.Lab) {
				t.Helper()
				asHook(t, l)
			},
			"credentials are of account 444455556666 and the stack is in " + engine.AccountID,
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			asHook(t, l)
			look(t, l).begin(t, false, true)
			before := account(t, l, "")
			s, ours := restoring(t, l)

			c.spoil(t, l)
			out, err := s.TryDestroy(t.Context(), optdestroy.RunProgram(true))
			require.Error(t, err)
			require.Contains(t, out, c.want)
			_, key := look(t, l).ebs(t)
			require.Equal(t, ours, key)
			described, err := look(t, l).kms.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &ours})
			require.NoError(t, err)
			require.Equal(t, kmstypes.KeyStateEnabled, described.KeyMetadata.KeyState, "the default key can still be used")

			c.mend(t, l)
			s.Destroy(t, optdestroy.RunProgram(true))
			require.Equal(t, before, account(t, l, ours))
		})
	}
}

// What another owner has set since is kept.
func TestEBS_RestoreOnDestroyLeavesWhatIsAnothersByNow(t *testing.T) {
	l := lab.New(t)
	asHook(t, l)
	c := look(t, l)
	s, _ := restoring(t, l)
	theirs := c.begin(t, true, true)

	s.Destroy(t, optdestroy.RunProgram(true))
	enabled, key := c.ebs(t)
	require.True(t, enabled)
	require.Equal(t, theirs, key)
}

func TestEBS_SwitchOffOnDestroy(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	c := look(t, l)
	_, before := c.ebsByMeaning(t)
	s := l.Stack(t, "sandbox", stack.Deploy, map[string]string{"ebsOnDestroy": components.EBSSwitchOff})
	s.Up(t)
	s.Destroy(t)
	enabled, key := c.ebsByMeaning(t)
	require.False(t, enabled)
	require.Equal(t, before, key)
}

// Another owner's default key is named at preview, before anything is made.
func TestEBS_ForeignDefaultIsNotTakenSilently(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	c := look(t, l)
	foreign := c.begin(t, true, true)
	s := l.Stack(t, "sandbox", stack.Deploy, nil)

	_, err := s.Stack.Preview(t.Context())
	require.ErrorContains(t, err, foreign)
	require.ErrorContains(t, err, "ebsTakeOver")
	_, key := c.ebs(t)
	require.Equal(t, foreign, key)

	taking := l.Stack(t, "taking", stack.Deploy, map[string]string{"ebsTakeOver": "true"})
	ours := taking.Up(t)["keyArn"]
	_, key = c.ebs(t)
	require.Equal(t, ours, key)
}

// Each account has its own defaults, in one program too.
func TestEBS_TwoAccountsOfOneProgram(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	baselines := func(accounts ...string) pulumi.RunFunc {
		return func(ctx *pulumi.Context) error {
			for i, account := range accounts {
				name := fmt.Sprintf("app-%d", i+1)
				var provider pulumi.ProviderResourceState
				if err := ctx.RegisterResource("pulumi:providers:aws", name, pulumi.Map{
					"region": pulumi.String(engine.Region), "accessKey": pulumi.String(account), "secretKey": pulumi.String("sandbox"), "skipMetadataApiCheck": pulumi.Bool(true),
				}, &provider); err != nil {
					return err
				}
				b, err := components.NewEncryptionBaseline(ctx, name, &components.EncryptionBaselineArgs{Bucket: &components.BaselineBucket{Skip: true}}, pulumi.Provider(&provider))
				if err != nil {
					return err
				}
				ctx.Export(account, b.KeyArn)
			}
			return nil
		}
	}
	const other = "444455556666"
	s := l.Stack(t, "two", baselines(engine.AccountID, other), nil)
	outputs := s.Up(t)
	for _, account := range []string{engine.AccountID, other} {
		out, err := ec2.NewFromConfig(l.Config(t, account)).GetEbsDefaultKmsKeyId(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, outputs[account], *out.KmsKeyId)
		require.Contains(t, *out.KmsKeyId, account)
	}
	require.True(t, s.Preview(t).Clean())
	s.Destroy(t)

	_, err := l.Stack(t, "one", baselines(other, other), nil).Stack.Preview(t.Context())
	require.ErrorContains(t, err, "sets the EBS defaults of us-east-1 in account "+other+" already")
}

// AWS sets the default key and then refuses to say so: the next up, without a
// refresh, goes on from there.
func TestEBS_HalfMade(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", stack.Deploy, nil)
	l.AWS.Inject(localaws.Fault{Operation: "GetEbsDefaultKmsKeyId", Skip: 1, Status: 403, Code: "UnauthorizedOperation"}) // the first is the preview's own
	out, err := s.TryUp(t.Context())
	require.Error(t, err)
	require.Contains(t, out, "ckms-ebs-default-key")
	l.AWS.ClearFaults()
	outputs := s.Up(t)
	on, key := look(t, l).ebs(t)
	require.True(t, on)
	require.Equal(t, outputs["keyArn"], key)
	require.True(t, s.Preview(t).Clean())
}

// The check for two setters of one account's defaults is per program, whatever
// context a component is given.
func TestEBS_ASecondSetterBehindWithValue(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	type key struct{}
	_, err := l.Stack(t, "sandbox", func(ctx *pulumi.Context) error {
		for _, name := range []string{"one", "two"} {
			if _, err := components.NewEncryptionBaseline(ctx.WithValue(key{}, name), name, &components.EncryptionBaselineArgs{Bucket: &components.BaselineBucket{Skip: true}}); err != nil {
				return err
			}
		}
		return nil
	}, nil).Stack.Preview(t.Context())
	require.ErrorContains(t, err, "sets the EBS defaults of us-east-1 in account "+engine.AccountID+" already")
}

// The block of public sharing is in place after up, repaired as drift, and stays
// after destroy, also where the EBS defaults are switched off.
func TestEBS_BlockSnapshotSharing(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	c := look(t, l)
	s := l.Stack(t, "sandbox", stack.Deploy, map[string]string{"ebsBlockSnapshotSharing": "true", "ebsOnDestroy": components.EBSSwitchOff})
	key := s.Up(t)["keyArn"].(string)
	require.True(t, s.Preview(t).Clean())
	passes := func() report.Status {
		found, err := check.Run(t.Context(), check.Config{AWS: l.Config(t, engine.AccountID), Keys: []string{key}, Only: []string{"ebs.snapshot-sharing"}, AccountWide: true})
		require.NoError(t, err)
		require.Len(t, found.Results, 1)
		return found.Results[0].Status
	}
	require.Equal(t, report.Pass, passes())

	_, err := c.ec2.DisableSnapshotBlockPublicAccess(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, report.Fail, passes())
	require.False(t, s.Preview(t).Clean(), "drift")
	s.Up(t, optup.Refresh())
	require.Equal(t, report.Pass, passes())

	s.Destroy(t)
	enabled, _ := c.ebs(t)
	require.False(t, enabled)
	require.Equal(t, report.Pass, passes())
}
