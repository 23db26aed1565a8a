package stack

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

func TestDeploy_WrongSettings(t *testing.T) {
	t.Parallel()
	const long = `{"a":"","b":"","c":"","d":"","e":"","f":"","g":"","h":"","i":"","j":"","k":""}`
	for _, c := range []struct {
		name     string
		settings map[string]string
		want     []string
	}{
		{"flag", map[string]string{"versioning": "yes"}, []string{`versioning is "yes", which is not true or false: pulumi config set versioning true`}},
		{"flag null", map[string]string{"versioning": "null"}, []string{"pulumi config set versioning true"}},
		{"number", map[string]string{"rotationPeriodInDays": "often"}, []string{`rotationPeriodInDays is "often", which is not a whole number: pulumi config set rotationPeriodInDays 365`}},
		{"fraction", map[string]string{"deletionWindowInDays": "7.5"}, []string{"pulumi config set deletionWindowInDays 30"}},
		{"list", map[string]string{"serviceUsers": "arn:aws:iam::111122223333:role/app"}, []string{"serviceUsers is", "not a list of texts: pulumi config set serviceUsers '["}},
		{"accounts", map[string]string{"accounts": `["1"]`}, []string{`Accounts: "1"`, "pulumi config set accounts '["}},
		{"services", map[string]string{"services": `["cloudtrail"]`}, []string{`Services: "cloudtrail"`, "pulumi config set services '["}},
		{"policy", map[string]string{"keyPolicy": `{"Statement": []}`}, []string{"Policy: the policy would lock the account out", `pulumi config set keyPolicy "$(cat policy.json)"`}},
		{"policy that is not JSON", map[string]string{"keyPolicy": "x"}, []string{"Policy: not a JSON policy document", "pulumi config set keyPolicy"}},
		{"policy and users", map[string]string{"keyPolicy": "{}", "serviceUsers": "[]", "accounts": "[]"}, []string{"keyPolicy and serviceUsers exclude each other: pulumi config rm serviceUsers", "pulumi config rm accounts"}},
		{"existing key and guard", map[string]string{"existingKeyArn": keyARN, "guardKeyDeletion": "true", "multiRegion": "true"}, []string{"pulumi config rm guardKeyDeletion", "pulumi config rm multiRegion"}},
		{"existing bucket", map[string]string{"existingBucketName": "Up"}, []string{`ExistingBucket.BucketName: "Up"`, "pulumi config set existingBucketName their-bucket"}},
		{"existing bucket and its settings", map[string]string{"existingBucketName": "abc", "versioning": "true", "objectLock": "{}"},
			[]string{"existingBucketName and versioning exclude each other: pulumi config rm versioning", "pulumi config rm objectLock"}},
		{"rules", map[string]string{"lifecycleRules": `[{"id": "a"}]`}, []string{"LifecycleRules[0]: rule \"a\" does nothing", "pulumi config set lifecycleRules '[{"}},
		{"a rule's days", map[string]string{"lifecycleRules": `[{"id": "a", "expirationDays": 0}]`}, []string{"LifecycleRules[0].ExpirationDays: 0", "pulumi config set lifecycleRules '[{"}},
		{"a misspelled rule", map[string]string{"lifecycleRules": `[{"id": "a", "expirationDays": 1, "expireDays": 2}]`}, []string{"which is not a list of rules with id,", "pulumi config set lifecycleRules '[{"}},
		{"two values", map[string]string{"versioning": "true false"}, []string{"which is not true or false"}},
		{"logging", map[string]string{"logging": `{"bucket": "x"}`}, []string{"which is not a map with targetBucket and targetPrefix: pulumi config set logging '{"}},
		{"logging to nowhere", map[string]string{"logging": `{}`}, []string{"Logging.TargetBucket: ", "pulumi config set logging '{"}},
		{"object lock", map[string]string{"objectLock": `{"mode": "x"}`}, []string{`ObjectLock.Mode: "x"`, "pulumi config set objectLock '{"}},
		{"object lock without versions", map[string]string{"objectLock": "{}", "versioning": "false"}, []string{"ObjectLock needs Versioning"}},
		{"map", map[string]string{"tags": "project"}, []string{`tags is "project", which is not a map: pulumi config set tags '{`}},
		{"many tags", map[string]string{"tags": long}, []string{"tags has 11 tags, and S3 takes 10 on the proof object: pulumi config set tags"}},
		{"reserved tag", map[string]string{"tags": `{"aws:x": "y"}`}, []string{`Tags: "aws:x"`, "reserved: pulumi config set tags"}},
		{"rotation", map[string]string{"rotationPeriodInDays": "89"}, []string{"89 is not valid: it must be 90 to 2560 days: pulumi config set rotationPeriodInDays 365"}},
		{"window", map[string]string{"deletionWindowInDays": "31"}, []string{"31 is not valid: it must be 7 to 30 days: pulumi config set deletionWindowInDays 30"}},
		{"alias", map[string]string{"aliasName": "mine"}, []string{`AliasName: "mine"`, "pulumi config set aliasName alias/masterclass-cmk"}},
		{"description", map[string]string{"keyDescription": strings.Repeat("d", 8193)}, []string{"pulumi config set keyDescription"}},
		{"administrators", map[string]string{"administrators": `["*"]`}, []string{`Administrators: "*"`, "pulumi config set administrators '["}},
		{"users", map[string]string{"serviceUsers": `["*"]`}, []string{`ServiceUsers: "*"`, "pulumi config set serviceUsers '["}},
		{"existing key", map[string]string{"existingKeyArn": "alias/mine"}, []string{`ExistingKey.KeyArn: "alias/mine"`, "pulumi config set existingKeyArn arn:aws:kms:"}},
		{"existing key and alias", map[string]string{"existingKeyArn": keyARN, "aliasName": "alias/x", "serviceUsers": "[]"},
			[]string{"existingKeyArn and aliasName exclude each other: pulumi config rm aliasName", "pulumi config rm serviceUsers"}},
		{"bucket name", map[string]string{"bucketName": "Up"}, []string{`BucketName: "Up"`, "pulumi config set bucketName my-bucket"}},
		{"bucket prefix", map[string]string{"bucketPrefix": "Up"}, []string{`BucketPrefix: "Up"`, "pulumi config set bucketPrefix my-bucket-"}},
		{"name and prefix", map[string]string{"bucketName": "abc", "bucketPrefix": "abc"}, []string{"bucketName and bucketPrefix exclude each other: pulumi config rm bucketPrefix"}},
		{"on destroy", map[string]string{"ebsOnDestroy": "off"}, []string{`OnDestroy: "off"`, "pulumi config set ebsOnDestroy keepOn"}},
		{"existing and take over", map[string]string{"ebsExisting": "true", "ebsTakeOver": "true"}, []string{"ebsExisting and ebsTakeOver exclude each other: pulumi config rm ebsTakeOver"}},
		{"existing and a block of sharing", map[string]string{"ebsExisting": "true", "ebsBlockSnapshotSharing": "true"}, []string{"pulumi config rm ebsBlockSnapshotSharing"}},
		{"existing and on destroy", map[string]string{"ebsExisting": "true", "ebsOnDestroy": "restore"}, []string{"pulumi config rm ebsOnDestroy"}},
		{"no EBS and existing", map[string]string{"skipEbs": "true", "ebsExisting": "true"}, []string{"skipEbs and ebsExisting exclude each other: pulumi config rm ebsExisting"}},
		{"all at once", map[string]string{"versioning": "yes", "rotationPeriodInDays": "89", "deletionWindowInDays": "x", "bucketName": "Up", "ebsOnDestroy": "off"},
			[]string{"config set versioning", "config set rotationPeriodInDays", "config set deletionWindowInDays", "config set bucketName", "config set ebsOnDestroy"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMock()
			err := m.deploy(c.settings)
			for _, w := range c.want {
				require.ErrorContains(t, err, w)
			}
			require.Empty(t, m.resources, "registered before the refusal")
		})
	}
}

// A setting that is mistyped is not a setting that is left out.
func TestDeploy_UnknownSetting(t *testing.T) {
	t.Setenv(pulumi.EnvConfig, `{"aws:region": "us-east-1", "kms-baseline:guardKeyDeletoin": "true", "kms-baseline:aliasName": "alias/app", "other:thing": "x"}`)
	m := newMock()
	err := m.deploy(map[string]string{"aliasName": "alias/app"})
	require.ErrorContains(t, err, "* kms-baseline:guardKeyDeletoin is not a setting of this stack; docs/configuration.md has them all: pulumi config rm guardKeyDeletoin")
	require.ErrorContains(t, err, "1 error occurred", "the others are settings, or not this project's")
	require.Empty(t, m.resources, "registered before the refusal")

	t.Setenv(pulumi.EnvConfig, "{")
	require.ErrorContains(t, newMock().deploy(nil), "reading PULUMI_CONFIG")
}

// A Region in the environment would stand in for the missing setting.
func TestDeploy_NoRegion(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	m := newMock()
	require.ErrorContains(t, m.deployExactly(nil), "the Region is not set: pulumi config set aws:region us-east-1")
	require.Empty(t, m.resources)
	t.Setenv("AWS_REGION", "eu-west-1")
	require.NoError(t, newMock().deployExactly(nil))
}

// TestDocumentation: every setting that is read is documented and tested, and
// every setting that is documented is read.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	f, err := parser.ParseFile(token.NewFileSet(), "settings.go", nil, 0)
	require.NoError(t, err)
	read := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		fun := call.Fun
		if index, ok := fun.(*ast.IndexExpr); ok {
			fun = index.X
		}
		at := 0
		switch x := fun.(type) {
		case *ast.Ident:
			if x.Name != "read" {
				return true
			}
			at = 1
		case *ast.SelectorExpr:
			if !slices.Contains([]string{"text", "flag", "number"}, x.Sel.Name) {
				return true
			}
		default:
			return true
		}
		if lit, ok := call.Args[at].(*ast.BasicLit); ok {
			key, err := strconv.Unquote(lit.Value)
			require.NoError(t, err)
			read[key] = true
		}
		return true
	})
	document, err := os.ReadFile("../docs/configuration.md")
	require.NoError(t, err)
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `kms-baseline:([A-Za-z]+)` \\|").FindAllStringSubmatch(string(document), -1) {
		documented[m[1]] = true
		require.Regexp(t, "(?m)^pulumi config set (--path )?kms-baseline:"+m[1]+" ", string(document), "an example of %s", m[1])
	}
	require.NotEmpty(t, read)
	require.Equal(t, slices.Sorted(maps.Keys(read)), slices.Sorted(maps.Keys(documented)), "settings.go and docs/configuration.md")
	require.Equal(t, slices.Sorted(maps.Keys(read)), slices.Sorted(maps.Keys(settingCases)), "settings.go and settingCases")
}
