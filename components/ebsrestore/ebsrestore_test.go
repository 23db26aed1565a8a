package ebsrestore

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/components/internal/testaccount"
	"github.com/securethecloud/kms-baseline/localaws"
)

// region is an account's Region on localaws, with two keys of the customer's:
// the stack's is the default and encryption is on, as after an up.
type region struct {
	server       *localaws.Server
	ec2          *ec2.Client
	kms          *kms.Client
	ours, theirs string
}

// newRegion also sets the environment that Restore reads.
func newRegion(t *testing.T) *region {
	t.Helper()
	s, cfg := testaccount.New(t)
	r := &region{server: s, ec2: ec2.NewFromConfig(cfg), kms: kms.NewFromConfig(cfg)}
	r.ours, r.theirs = testaccount.NewKey(t, r.kms), testaccount.NewKey(t, r.kms)
	_, err := r.ec2.ModifyEbsDefaultKmsKeyId(t.Context(), &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &r.ours})
	require.NoError(t, err)
	_, err = r.ec2.EnableEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	return r
}

func (r *region) settings(t *testing.T) components.EBSSettings {
	t.Helper()
	key, err := r.ec2.GetEbsDefaultKmsKeyId(t.Context(), nil)
	require.NoError(t, err)
	enabled, err := r.ec2.GetEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	return components.EBSSettings{Account: "123456789012", Enabled: *enabled.EbsEncryptionByDefault, KmsKeyArn: *key.KmsKeyId}
}

// untouched is what a Region has whose default key has never been set.
func (r *region) untouched(t *testing.T) string {
	t.Helper()
	_, err := r.ec2.ResetEbsDefaultKmsKeyId(t.Context(), nil)
	require.NoError(t, err)
	managed := r.settings(t).KmsKeyArn
	_, err = r.ec2.ModifyEbsDefaultKmsKeyId(t.Context(), &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &r.ours})
	require.NoError(t, err)
	return managed
}

// TestRestore_AllFourBeginnings: off or on, the AWS managed key or a
// customer's.
func TestRestore_AllFourBeginnings(t *testing.T) { //nolint:paralleltest // Restore reads the environment
	for _, c := range []struct {
		name    string
		enabled bool
		theirs  bool
	}{{"off, AWS managed", false, false}, {"on, AWS managed", true, false}, {"off, a customer's", false, true}, {"on, a customer's", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRegion(t)
			before := components.EBSSettings{Account: "123456789012", Enabled: c.enabled, KmsKeyArn: r.untouched(t)}
			if c.theirs {
				before.KmsKeyArn = r.theirs
			}
			require.NoError(t, Restore(t.Context(), "us-east-1", r.ours, before))
			require.Equal(t, before, r.settings(t))
		})
	}
}

func TestRestore_AKeyThatCannotBeUsedAnyMore(t *testing.T) { //nolint:paralleltest // Restore reads the environment
	for name, spoil := range map[string]func(ctx context.Context, r *region) error{
		"disabled": func(ctx context.Context, r *region) error {
			_, err := r.kms.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &r.theirs})
			return err
		},
		"pending deletion": func(ctx context.Context, r *region) error {
			_, err := r.kms.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &r.theirs})
			return err
		},
		"gone": func(_ context.Context, r *region) error {
			r.theirs = r.theirs[:len(r.theirs)-12] + "000000000000"
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegion(t)
			managed := r.untouched(t)
			require.NoError(t, spoil(t.Context(), r))
			require.NoError(t, Restore(t.Context(), "us-east-1", r.ours, components.EBSSettings{Account: "123456789012", Enabled: true, KmsKeyArn: r.theirs}))
			require.Equal(t, components.EBSSettings{Account: "123456789012", Enabled: true, KmsKeyArn: managed}, r.settings(t))
		})
	}
}

func TestRestore_LeavesWhatIsAnothersByNow(t *testing.T) { //nolint:paralleltest // Restore reads the environment
	r := newRegion(t)
	_, err := r.ec2.ModifyEbsDefaultKmsKeyId(t.Context(), &ec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: &r.theirs})
	require.NoError(t, err)
	require.NoError(t, Restore(t.Context(), "us-east-1", r.ours, components.EBSSettings{Account: "123456789012", KmsKeyArn: "alias/aws/ebs"}))
	require.Equal(t, components.EBSSettings{Account: "123456789012", Enabled: true, KmsKeyArn: r.theirs}, r.settings(t))
}

func TestRestore_RefusesAnotherAccountsCredentials(t *testing.T) { // Restore reads the environment
	r := newRegion(t)
	want := r.settings(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "444455556666")
	err := Restore(t.Context(), "us-east-1", r.ours, components.EBSSettings{Account: "123456789012", KmsKeyArn: "alias/aws/ebs"})
	require.ErrorContains(t, err, "credentials are of account 444455556666")
	require.ErrorContains(t, err, "nothing was changed; set AWS_PROFILE")
	require.Equal(t, want, r.settings(t))
}

func TestRestore_RefusesAnUnknownAccount(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, Restore(t.Context(), "us-east-1", "", components.EBSSettings{}), "it is not known which account they are in: nothing was changed")
}

// TestRestore_AKeyThatAnotherAccountShares: whose the key is says nothing about
// whose the EBS defaults are.
func TestRestore_AKeyThatAnotherAccountShares(t *testing.T) { //nolint:paralleltest // Restore reads the environment
	r := newRegion(t)
	shared := strings.Replace(r.ours, "123456789012", "444455556666", 1)
	want := r.settings(t)
	require.NoError(t, Restore(t.Context(), "us-east-1", shared, components.EBSSettings{Account: "123456789012", KmsKeyArn: "alias/aws/ebs"}))
	require.Equal(t, want, r.settings(t), "the default is another key than the shared one")
}

// TestRestore_ResumesAfterAFailure fails each call in turn: the error names the
// Region, and a second run finishes the job.
func TestRestore_ResumesAfterAFailure(t *testing.T) { //nolint:paralleltest // Restore reads the environment
	for _, f := range []localaws.Fault{
		{Service: "sts", Operation: "GetCallerIdentity"},
		{Service: "ec2", Operation: "GetEbsDefaultKmsKeyId"},
		{Service: "ec2", Operation: "DisableEbsEncryptionByDefault"},
		{Service: "ec2", Operation: "ModifyEbsDefaultKmsKeyId"},
	} {
		t.Run(f.Operation, func(t *testing.T) {
			r := newRegion(t)
			before := components.EBSSettings{Account: "123456789012", Enabled: false, KmsKeyArn: r.theirs}
			f.Count, f.Status, f.Code = 1, 500, "InternalError"
			r.server.Inject(f)
			require.ErrorContains(t, Restore(t.Context(), "us-east-1", r.ours, before), "us-east-1")
			require.NoError(t, Restore(t.Context(), "us-east-1", r.ours, before))
			require.Equal(t, before, r.settings(t))
		})
	}
}
