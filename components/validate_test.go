package components

import (
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

// TestValidators has what each validator takes (no text) and what it refuses,
// with the text that tells a reader why.
func TestValidators(t *testing.T) {
	t.Parallel()
	keyArn := func(field, s string) error { _, err := parseKeyARN(field, s); return err }
	validators := map[string]func(field, s string) error{
		"alias": validateAliasName, "bucket": validateBucketName, "prefix": validateBucketPrefix, "key": keyArn,
		"principal": validatePrincipal, "service": validateService, "account": validateAccount,
		"primary": func(_, s string) error { return validatePrimary(s) },
	}
	for _, c := range []struct{ validator, value, want string }{
		{"alias", "alias/masterclass-cmk", ""},
		{"alias", "alias/a", ""},
		{"alias", "alias/team/app_1", ""},
		{"alias", "alias/" + strings.Repeat("x", 250), ""},
		{"alias", "alias/" + strings.Repeat("x", 251), "257 characters; 7 to 256"},
		{"alias", "", `begin with "alias/"`},
		{"alias", "masterclass-cmk", `begin with "alias/"`},
		{"alias", "Alias/x", `begin with "alias/"`},
		{"alias", "alias/aws/s3", "reserved"},
		{"alias", "alias/", "at least one"},
		{"alias", "alias/a b", "letters, digits"},
		{"alias", "alias/a.b", "letters, digits"},
		{"alias", "alias/\u00e4", "letters, digits"},

		{"key", ownKey, ""},
		{"key", primaryKey, ""},
		{"key", "arn:aws-cn:kms:cn-north-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", ""},
		{"key", "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", ""},
		{"key", "", "must be a KMS key's ARN"},
		{"key", "alias/mine", "it is an alias"},
		{"key", "arn:aws:kms:us-east-1:111122223333:alias/mine", "describe-key"},
		{"key", "1234abcd-12ab-34cd-56ef-1234567890ab", "must be a KMS key's ARN"},
		{"key", "arn:aws:kms:us-east-1:111122223333:key/1234", "must be a KMS key's ARN"},
		{"key", "arn:aws:kms:us-east-1:1111:key/1234abcd-12ab-34cd-56ef-1234567890ab", "must be a KMS key's ARN"},
		{"key", "arn:aws:kms::111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "must be a KMS key's ARN"},
		{"key", "arn:aws:s3:::bucket", "must be a KMS key's ARN"},
		{"key", ownKey + "\n", "must be a KMS key's ARN"},
		{"key", ownKey + ":more", "must be a KMS key's ARN"},
		{"key", "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", ""},
		{"key", "arn:aws-iso:kms:us-iso-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", ""},
		{"key", "arn:aws-iso-b:kms:us-isob-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", ""},
		{"key", "arn:aws-iso-f:kms:us-isof-south-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", ""},
		{"key", "arn:moon:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", `"moon" is not a partition`},

		{"primary", primaryKey, ""},
		{"primary", ownKey, "not a multi-Region key"},
		{"primary", "x", "PrimaryKeyArn"},

		{"bucket", "abc", ""},
		{"bucket", "ckms-111122223333-a.b", ""},
		{"bucket", strings.Repeat("x", 63), ""},
		{"bucket", strings.Repeat("x", 64), "64 characters; 3 to 63"},
		{"bucket", "ab", "2 characters; 3 to 63"},
		{"bucket", "Upper", "lower-case"},
		{"bucket", "under_score", "lower-case"},
		{"bucket", "-dash", "begin and end"},
		{"bucket", "dash-", "begin and end"},
		{"bucket", "two..dots", "two periods"},
		{"bucket", "192.168.5.4", "IP address"},
		{"bucket", "xn--name", "reserved"},
		{"bucket", "sthree-name", "reserved"},
		{"bucket", "amzn-s3-demo-name", "reserved"},
		{"bucket", "name-s3alias", "reserved"},
		{"bucket", "name--ol-s3", "reserved"},
		{"bucket", "name.mrap", "reserved"},
		{"bucket", "name--x-s3", "reserved"},
		{"bucket", "name--table-s3", "reserved"},

		{"prefix", "a", ""},
		{"prefix", "app-", ""},
		{"prefix", strings.Repeat("x", 37), ""},
		{"prefix", strings.Repeat("x", 38), "38 characters; 1 to 37"},
		{"prefix", "", "0 characters; 1 to 37"},
		{"prefix", "-app", "begin with a letter"},
		{"prefix", "App", "lower-case"},

		{"principal", adminRole, ""},
		{"principal", "arn:aws:iam::111122223333:root", ""},
		{"principal", "arn:aws:iam::111122223333:user/path/x@y", ""},
		{"principal", "arn:aws-cn:iam::111122223333:role/x", ""},
		{"principal", "arn:aws-eusc:iam::111122223333:role/x", ""},
		{"principal", "arn:aws-iso-b:iam::111122223333:role/x", ""},
		{"principal", "arn:moon:iam::111122223333:role/x", "IAM role, user or account root"},
		{"principal", "arn:aws:sts::111122223333:assumed-role/x/session", ""},
		{"principal", "*", "IAM role, user or account root"},
		{"principal", "111122223333", "IAM role, user or account root"},
		{"principal", "arn:aws:iam::111122223333:role/", "IAM role, user or account root"},
		{"principal", "arn:aws:iam::111122223333:role/app-*", "without wildcards"},
		{"principal", "arn:aws:iam::111122223333:group/x", "IAM role, user or account root"},
		{"principal", "arn:aws:iam::1111:role/x", "IAM role, user or account root"},
		{"principal", adminRole + "\n", "IAM role, user or account root"},

		{"service", "cloudtrail.amazonaws.com", ""},
		{"service", "s3.cn-north-1.amazonaws.com.cn", ""},
		{"service", "cloudtrail.c2s.ic.gov", ""},
		{"service", "cloudtrail", "service principal"},
		{"service", "*", "service principal"},

		{"account", "111122223333", ""},
		{"account", "1111-2222-3333", "12 digits"},
		{"account", "", "12 digits"},
	} {
		t.Run(c.validator+" "+c.value, func(t *testing.T) {
			t.Parallel()
			err := validators[c.validator]("Field", c.value)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			if c.validator != "primary" {
				require.ErrorContains(t, err, "Field: ")
			}
		})
	}
}

func TestDays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		in   *int
		want int
		err  string
	}{
		{"not given", nil, 365, ""},
		{"lowest", ptr(90), 90, ""},
		{"highest", ptr(2560), 2560, ""},
		{"too low", ptr(89), 0, "Field: 89 is not valid: it must be 90 to 2560 days"},
		{"too high", ptr(2561), 0, "Field: 2561 is not valid: it must be 90 to 2560 days"},
		{"zero is a value", ptr(0), 0, "Field: 0 is not valid"},
		{"negative", ptr(-1), 0, "Field: -1 is not valid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := days("Field", c.in, 90, 2560, 365)
			require.Equal(t, c.want, got)
			if c.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.err)
			}
		})
	}
}

func TestValidateTags(t *testing.T) {
	t.Parallel()
	many := pulumi.StringMap{}
	for i := range 51 {
		many[strings.Repeat("k", i+1)] = pulumi.String("v")
	}
	for _, c := range []struct {
		name string
		tags pulumi.StringMapInput
		want string
	}{
		{"none", nil, ""},
		{"usual", pulumi.StringMap{"project": pulumi.String("x"), "empty": pulumi.String("")}, ""},
		{"not known yet", pulumi.StringMap{"aws:x": pulumi.String("x")}.ToStringMapOutput(), ""},
		{"a value that is not known yet", pulumi.StringMap{"x": pulumi.String("x").ToStringOutput()}, ""},
		{"a nil value", pulumi.StringMap{"x": nil}, ""},
		{"reserved", pulumi.StringMap{"AWS:x": pulumi.String("x")}, `Tags: "AWS:x" is not valid: keys that begin with "aws:"`},
		{"empty key", pulumi.StringMap{"": pulumi.String("x")}, "1 to 128 characters"},
		{"long key", pulumi.StringMap{strings.Repeat("k", 129): pulumi.String("x")}, "1 to 128 characters"},
		{"long value", pulumi.StringMap{"k": pulumi.String(strings.Repeat("v", 257))}, `the value of "k" has 257 characters`},
		{"too many", many, "there are 51; at most 50"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := validateTags("Tags", c.tags)
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.want)
			}
		})
	}
}

// FuzzValidators: whatever is typed, an answer and never a panic; and what
// parseKeyARN takes has its four parts.
func FuzzValidators(f *testing.F) {
	for _, s := range []string{"", "alias/x", ownKey, primaryKey, "arn:::::", "a..b", "1.2.3.4", adminRole, "*", "111122223333", "\xff",
		`{"Statement":{"Effect":"Allow","Principal":{"AWS":"x"},"Action":"kms:*"}}`, `{"Statement":[null]}`, `{"Statement":[{"Principal":{"AWS":[1]},"Action":null}]}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, v := range []func(field, s string) error{validateAliasName, validateBucketName, validateBucketPrefix, validatePrincipal, validateService, validateAccount} {
			_ = v("Field", s)
		}
		_ = validateKeyPolicy("Policy", s, "111122223333")
		_ = validatePrimary(s)
		if k, err := parseKeyARN("Field", s); err == nil {
			require.Equal(t, s, k.arn)
			require.NotEmpty(t, k.region)
			require.Len(t, k.account, 12)
		}
	})
}
