package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/components/ebsrestore"
	"github.com/securethecloud/kms-baseline/e2e/lab"
)

// A key and a bucket that were made by hand, and EBS defaults that name the key, are
// imported as docs/importing.md says: none is made anew, and destroy leaves no key
// that is pending deletion as the EBS default. (Not parallel: see asHook.)
func TestImport_AnExistingBaseline(t *testing.T) {
	l := lab.New(t)
	asHook(t, l)
	c := look(t, l)
	existing := c.begin(t, true, true)
	_, err := c.kms.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/app"), TargetKeyId: &existing})
	require.NoError(t, err)
	s := l.Stack(t, "sandbox", program(ebsrestore.Register, baseline(&components.EncryptionBaselineArgs{
		Bucket: &components.BaselineBucket{Args: &components.EncryptedBucketArgs{BucketName: pulumi.String("by-hand")}},
		EBS:    &components.BaselineEBS{Args: &components.EBSDefaultEncryptionArgs{OnDestroy: components.EBSRestore}},
	})), nil)
	requirePreviewRefused(t, s, "docs/importing.md")

	d := drifting{lab: l, clients: c, stack: s, variables: map[string]string{"KEY": existing, "BUCKET": "by-hand"}}
	d.change(t, `aws s3api create-bucket --bucket $BUCKET; `+ourEncryption)
	file := filepath.Join(t.TempDir(), "import.json")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `{"resources": [
		{"type": %q, "name": "app", "component": true},
		{"type": %q, "name": "appKey", "logicalName": "app", "parent": "app", "component": true},
		{"type": "aws:kms/key:Key", "name": "app-key", "parent": "appKey", "id": %q},
		{"type": "aws:kms/alias:Alias", "name": "app-alias", "parent": "appKey", "id": "alias/app"},
		{"type": %q, "name": "appBucket", "logicalName": "app", "parent": "app", "component": true},
		{"type": "aws:s3/bucketV2:BucketV2", "name": "app-bucket", "parent": "appBucket", "id": "by-hand"}
	]}`, components.EncryptionBaselineType, components.CustomerKeyType, filepath.Base(existing), components.EncryptedBucketType), 0o600))
	d.importResource(t, "pulumi import --file '"+file+"' --protect=false --generate-code=false")

	preview := s.Preview(t)
	require.Zero(t, preview.Changes[apitype.OpReplace]+preview.Changes[apitype.OpDelete], preview.Output)
	outputs := s.Up(t)
	require.Equal(t, existing, outputs["keyArn"])
	require.Equal(t, "by-hand", outputs["bucketName"])
	require.True(t, s.Preview(t).Clean())
	_, ebsKey := c.ebs(t)
	require.Equal(t, existing, ebsKey)

	s.Destroy(t, optdestroy.RunProgram(true))
	require.Equal(t, "PendingDeletion", string(keyState(t, l, existing)))
	enabled, ebsKey := c.ebs(t)
	require.True(t, enabled)
	require.NotEqual(t, existing, ebsKey)
}
