package check

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/verify/report"
)

const testKey = "arn:aws:kms:us-east-1:111122223333:key/0"

func TestPolicy_OpenToOutsiders(t *testing.T) {
	t.Parallel()
	allow := func(principal, condition string) string {
		s := `{"Effect":"Allow","Principal":` + principal + `,"Action":"kms:*","Resource":"*"`
		if condition != "" {
			s += `,"Condition":` + condition
		}
		return `{"Statement":[` + s + `}]}`
	}
	world := `{"AWS":"*"}`
	tests := []struct {
		name, policy string
		want         truth
	}{
		{"the account itself", allow(`{"AWS":"arn:aws:iam::111122223333:root"}`, ""), no},
		{"another account by number", allow(`{"AWS":"444455556666"}`, ""), no},
		{"a role of another account", allow(`{"AWS":["arn:aws:iam::444455556666:role/x"]}`, ""), no},
		{"a service", allow(`{"Service":"logs.us-east-1.amazonaws.com"}`, ""), no},
		{"everyone, as AWS", allow(world, ""), yes},
		{"everyone, as text", allow(`"*"`, ""), yes},
		{"everyone among others", allow(`{"AWS":["arn:aws:iam::111122223333:root","*"]}`, ""), yes},
		{"everyone but one", `{"Statement":{"Effect":"Allow","NotPrincipal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}}`, yes},
		{"a policy variable in an action", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms${*}Decrypt","Resource":"*"}}`, unknown},
		{"a small network", allow(world, `{"IpAddress":{"aws:SourceIp":"203.0.0.0/16"}}`), no},
		{"small networks, each in its own statement", `{"Statement":[` + strings.TrimSuffix(strings.Repeat(`{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"203.0.0.0/16"}}},`, 2), ",") + `]}`, unknown},
		{"a network of a named role beside a small one", `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"203.0.0.0/16"}}},{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/x"},"Action":"kms:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}}]}`, no},
		{"a pattern of principals", allow(`{"AWS":"arn:aws:iam::*:root"}`, ""), unknown},
		{"a web identity provider", allow(`{"Federated":"accounts.google.com"}`, ""), unknown},
		{"one statement, not a list", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"}}`, yes},
		{"actions of another service", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}}`, no},
		{"another key's ARN", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"arn:aws:kms:us-east-1:111122223333:key/1"}}`, no},
		{"all but some actions", `{"Statement":{"Effect":"Allow","Principal":"*","NotAction":"kms:Decrypt","Resource":"*"}}`, yes},

		{"caller's account", allow(world, `{"StringEquals":{"kms:CallerAccount":"111122223333"}}`), no},
		{"caller's account, any", allow(world, `{"StringLike":{"kms:CallerAccount":"*"}}`), yes},
		{"caller's account, a star that is no wildcard", allow(world, `{"StringEquals":{"kms:CallerAccount":"*"}}`), no},
		{"caller's account, some digits", allow(world, `{"StringLike":{"kms:CallerAccount":"1111*"}}`), yes},
		{"caller's account or any", allow(world, `{"StringLike":{"kms:CallerAccount":["111122223333","*"]}}`), yes},
		{"not one account", allow(world, `{"StringNotEquals":{"kms:CallerAccount":"444455556666"}}`), yes},
		{"caller's account, if it exists: it always does", allow(world, `{"StringEqualsIfExists":{"kms:CallerAccount":"111122223333"}}`), no},
		{"through S3 alone", allow(world, `{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}}`), yes},
		{"through S3, for the account", allow(world, `{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com","kms:CallerAccount":"111122223333"}}`), no},
		{"principal's account", allow(world, `{"StringEquals":{"aws:PrincipalAccount":"111122223333"}}`), no},
		{"an organization", allow(world, `{"StringEquals":{"aws:PrincipalOrgID":"o-abcdefghij"}}`), no},
		{"any organization", allow(world, `{"StringLike":{"aws:PrincipalOrgID":"o-*"}}`), yes},
		{"an organization, if in one", allow(world, `{"StringEqualsIfExists":{"aws:PrincipalOrgID":"o-abcdefghij"}}`), yes},
		{"in some organization", allow(world, `{"Null":{"aws:PrincipalOrgID":"false"}}`), yes},
		{"an organization's path", allow(world, `{"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":"o-abcdefghij/*"}}`), no},
		{"an organization's path, for all values of none", allow(world, `{"ForAllValues:StringLike":{"aws:PrincipalOrgPaths":"o-abcdefghij/*"}}`), yes},
		{"a role by ARN", allow(world, `{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/x"}}`), no},
		{"roles of an account", allow(world, `{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/*"}}`), no},
		{"roles of an account in any partition", allow(world, `{"ArnLike":{"aws:PrincipalArn":"arn:*:iam::111122223333:role/*"}}`), no},
		{"the same with wildcards that span colons", allow(world, `{"StringLike":{"aws:PrincipalArn":"arn:*:iam::111122223333:role/*"}}`), unknown},
		{"a role of any account", allow(world, `{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/Admin"}}`), yes},
		{"any ARN", allow(world, `{"ArnLike":{"aws:PrincipalArn":"*"}}`), yes},
		{"the beginning of an ARN", allow(world, `{"StringLike":{"aws:PrincipalArn":"arn:aws:iam::*"}}`), yes},
		{"not a role", allow(world, `{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/*"}}`), yes},
		{"source account", allow(world, `{"StringEquals":{"aws:SourceAccount":"111122223333"}}`), no},
		{"source account, if there is one", allow(world, `{"StringEqualsIfExists":{"aws:SourceAccount":"111122223333"}}`), yes},
		{"a VPC endpoint", allow(world, `{"StringEquals":{"aws:SourceVpce":"vpce-1"}}`), no},
		{"a network", allow(world, `{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`), no},
		{"the whole Internet", allow(world, `{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}`), yes},
		{"the Internet in two halves", allow(world, `{"IpAddress":{"aws:SourceIp":["0.0.0.0/1","128.0.0.0/1"]}}`), yes},
		{"not from a network", allow(world, `{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`), yes},
		{"an encryption context", allow(world, `{"StringEquals":{"kms:EncryptionContext:a":"b"}}`), yes},
		{"a tag of the caller's", allow(world, `{"StringEquals":{"aws:PrincipalTag/team":"x"}}`), yes},
		{"a role's session name", allow(world, `{"StringLike":{"aws:userid":"*:ci"}}`), yes},
		{"a role's id", allow(world, `{"StringLike":{"aws:userid":"AROAEXAMPLE:*"}}`), no},
		{"over TLS", allow(world, `{"Bool":{"aws:SecureTransport":"true"}}`), yes},
		{"any AWS service", allow(world, `{"Bool":{"aws:PrincipalIsAWSService":"true"}}`), yes},
		{"any AWS service for the account", allow(world, `{"Bool":{"aws:PrincipalIsAWSService":"true"},"StringEquals":{"aws:SourceAccount":"111122223333"}}`), no},
		{"a variable in the resource", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"arn:aws:kms:${aws:RequestedRegion}:111122223333:key/*"}}`, unknown},
		{"a variable in what the resource is not", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","NotResource":"arn:aws:kms:${aws:RequestedRegion}:111122223333:key/*"}}`, unknown},
		{"a private network of any VPC", allow(world, `{"IpAddress":{"aws:VpcSourceIp":"10.0.0.0/16"}}`), yes},
		{"hundreds of large networks", allow(world, `{"IpAddress":{"aws:SourceIp":[`+networks(200)+`]}}`), yes},
		{"the Internet as IPv6", allow(world, `{"IpAddress":{"aws:SourceIp":"::ffff:0.0.0.0/96"}}`), yes},
		{"the Internet inside all of IPv6", allow(world, `{"IpAddress":{"aws:SourceIp":"::/0"}}`), yes},
		{"one network as IPv6", allow(world, `{"IpAddress":{"aws:SourceIp":"::ffff:192.0.2.0/120"}}`), no},
		{"a network that a provider shares", allow(world, `{"IpAddress":{"aws:SourceIp":"3.0.0.0/9"}}`), unknown},
		{"an ARN that begins with an account", allow(world, `{"StringLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333*"}}`), no},
		{"an ARN that begins with part of an account", allow(world, `{"StringLike":{"aws:PrincipalArn":"arn:aws:iam::11112222*"}}`), yes},
		{"a service that is named by its ARN's condition", allow(world, `{"StringEquals":{"aws:PrincipalServiceName":"cloudtrail.amazonaws.com"}}`), unknown},
		{"Null with IfExists", allow(world, `{"NullIfExists":{"aws:PrincipalOrgID":"false"}}`), unknown},
		{"no service for itself", allow(world, `{"Bool":{"aws:PrincipalIsAWSService":false}}`), yes},
		{"an unknown operator", allow(world, `{"StringMatches":{"kms:CallerAccount":"111122223333"}}`), unknown},
		{"an unknown key", allow(world, `{"StringEquals":{"kms:Unheard":"x"}}`), unknown},
		{"an unknown key beside one that restricts", allow(world, `{"StringEquals":{"kms:Unheard":"x","kms:CallerAccount":"111122223333"}}`), no},
		{"a policy variable", allow(world, `{"StringEquals":{"kms:CallerAccount":"${aws:PrincipalAccount}"}}`), unknown},
		{"key names in another case", allow(world, `{"StringEquals":{"KMS:calleraccount":"111122223333"}}`), no},

		{"open, and taken back", `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"},
			{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"StringNotEquals":{"kms:CallerAccount":"111122223333"}}}]}`, no},
		{"open, and taken back in part", `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"},
			{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*","Condition":{"StringNotEquals":{"kms:CallerAccount":"111122223333"}}}]}`, yes},
		{"open, and taken back from some", `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"},
			{"Effect":"Deny","Principal":{"AWS":"444455556666"},"Action":"kms:*","Resource":"*"}]}`, yes},
		{"open, and taken back unless they say the word", `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"},
			{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"StringNotEquals":{"kms:EncryptionContext:word":"please"}}}]}`, yes},
		{"open, and taken back from all but the account", `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"},
			{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}]}`, no},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := parsePolicy(tt.policy)
			require.NoError(t, err)
			got, why := p.openToOutsiders("kms", testKey)
			require.Equal(t, tt.want, got, why)
			require.Equal(t, tt.want == no, why == "")
		})
	}
}

func TestPolicy_ServicesForAnyAccount(t *testing.T) {
	t.Parallel()
	p, err := parsePolicy(`{"Statement":[
{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"kms:*","Resource":"*"},
{"Effect":"Allow","Principal":{"Service":["sqs.amazonaws.com","sns.amazonaws.com"]},"Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}}},
{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"aws:SourceArn":"arn:aws:cloudtrail:us-east-1:111122223333:trail/t"}}},
{"Effect":"Allow","Principal":{"Service":"logs.amazonaws.com"},"Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"}}},
{"Effect":"Deny","Principal":{"Service":"events.amazonaws.com"},"Action":"kms:*","Resource":"*"}]}`)
	require.NoError(t, err)
	require.Equal(t, []string{"sns.amazonaws.com", "sqs.amazonaws.com"}, p.servicesForAnyAccount())
}

func TestPolicy_DeniesPlain(t *testing.T) {
	t.Parallel()
	const b = "arn:aws:s3:::b"
	const both = `["` + b + `","` + b + `/*"]`
	deny := func(principal, action, resource, condition string) string {
		return `{"Effect":"Deny",` + principal + `,` + action + `,` + resource + `,"Condition":` + condition + `}`
	}
	const everyone, all, tls = `"Principal":"*"`, `"Action":"s3:*"`, `{"Bool":{"aws:SecureTransport":"false"}}`
	tests := []struct {
		name, statements string
		want             truth
	}{
		{"as it should be", deny(everyone, all, `"Resource":`+both, tls), yes},
		{"for AWS principals", deny(`"Principal":{"AWS":"*"}`, all, `"Resource":`+both, tls), yes},
		{"in two statements", deny(everyone, all, `"Resource":"`+b+`"`, tls) + "," + deny(everyone, all, `"Resource":"`+b+`/*"`, tls), yes},
		{"for every service", deny(everyone, `"Action":"*"`, `"Resource":"*"`, tls), yes},
		{"with one pattern for both", deny(everyone, all, `"Resource":"`+b+`*"`, tls), yes},
		{"as a boolean", deny(everyone, all, `"Resource":`+both, `{"Bool":{"aws:SecureTransport":false}}`), yes},
		{"if it exists", deny(everyone, all, `"Resource":`+both, `{"BoolIfExists":{"aws:SecureTransport":"false"}}`), yes},
		{"as text", deny(everyone, all, `"Resource":`+both, `{"StringEquals":{"aws:SecureTransport":"false"}}`), yes},
		{"as text in the wrong case", deny(everyone, all, `"Resource":`+both, `{"StringEquals":{"aws:SecureTransport":"False"}}`), no},
		{"not true", deny(everyone, all, `"Resource":`+both, `{"StringNotEquals":{"aws:SecureTransport":"true"}}`), yes},
		{"all but actions of another service", deny(everyone, `"NotAction":"iam:*"`, `"Resource":`+both, tls), yes},

		{"an allow instead", `{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":` + both + `,"Condition":{"Bool":{"aws:SecureTransport":"true"}}}`, no},
		{"the wrong way round", deny(everyone, all, `"Resource":`+both, `{"Bool":{"aws:SecureTransport":"true"}}`), no},
		{"only the objects", deny(everyone, all, `"Resource":"`+b+`/*"`, tls), no},
		{"only the bucket", deny(everyone, all, `"Resource":"`+b+`"`, tls), no},
		{"only some objects", deny(everyone, all, `"Resource":["`+b+`","`+b+`/private/*"]`, tls), no},
		{"another bucket", deny(everyone, all, `"Resource":["arn:aws:s3:::c","arn:aws:s3:::c/*"]`, tls), no},
		{"only reads", deny(everyone, `"Action":"s3:Get*"`, `"Resource":`+both, tls), no},
		{"all but some actions", deny(everyone, `"NotAction":"s3:GetObject"`, `"Resource":`+both, tls), no},
		{"for one account", deny(`"Principal":{"AWS":"111122223333"}`, all, `"Resource":`+both, tls), no},
		{"for all but one", deny(`"NotPrincipal":{"AWS":"arn:aws:iam::111122223333:role/x"}`, all, `"Resource":`+both, tls), no},
		{"unless from a network", deny(everyone, all, `"Resource":`+both, `{"Bool":{"aws:SecureTransport":"false"},"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`), no},
		{"unless with a header", deny(everyone, all, `"Resource":`+both, `{"Bool":{"aws:SecureTransport":"false"},"Null":{"aws:Referer":"true"}}`), no},
		{"with an old TLS", deny(everyone, all, `"Resource":`+both, `{"NumericLessThan":{"s3:TlsVersion":"1.2"}}`), no},
		{"all resources but", deny(everyone, all, `"NotResource":"arn:aws:s3:::c/*"`, tls), unknown},
		{"under an unknown condition", deny(everyone, all, `"Resource":`+both, `{"Bool":{"aws:SecureTransport":"false"},"StringMatches":{"aws:Referer":"x"}}`), unknown},
		{"a loophole and a good one", deny(everyone, `"Action":"s3:Get*"`, `"Resource":`+both, tls) + "," + deny(everyone, all, `"Resource":`+both, tls), yes},
		{"a variable in the resource", deny(everyone, all, `"Resource":["`+b+`","`+b+`/${aws:username}*"]`, tls), no},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := parsePolicy(`{"Version":"2012-10-17","Statement":[` + tt.statements + `]}`)
			require.NoError(t, err)
			got, why := p.deniesPlain(b)
			require.Equal(t, tt.want, got, why)
			require.Equal(t, tt.want == yes, why == "", "%s", why)
		})
	}
}

// networks are n ranges of 2^24 addresses.
func networks(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"%d.0.0.0/8"`, i))
	}
	return strings.Join(list, ",")
}

// What is not understood is refused, so that a check is inconclusive.
func TestPolicy_RefusesWhatItDoesNotModel(t *testing.T) {
	t.Parallel()
	const good = `"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"`
	for _, doc := range []string{
		``, `null`, `[]`, `{}`, `{"Statement":[]}`, `{"Statement":"x"}`, `{"Statement":[{"Action":{}}]}`, `{"Statement":[{"Principal":7}]}`,
		`{"Statement":[{"Condition":{"Bool":7}}]}`, `{"statement":{` + good + `}}`, `{"Version":"2030-01-01","Statement":{` + good + `}}`,
		`{"Statement":{` + good + `,"When":"now"}}`, `{"Statement":{` + good + `,"effect":"Deny"}}`, `{"Statement":{` + good + `,"Effect":"Deny"}}`,
		`{"Statement":{` + strings.Replace(good, "Allow", "allow", 1) + `}}`, `{"Statement":{` + good + `,"NotAction":"kms:Decrypt"}}`,
		`{"Statement":{` + good + `,"NotPrincipal":"*"}}`, `{"Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`,
	} {
		_, err := parsePolicy(doc)
		require.ErrorContains(t, err, "not a policy document that verify understands", doc)
	}
}

func TestPolicy_DeniesOtherKeys(t *testing.T) {
	t.Parallel()
	const b = "arn:aws:s3:::b"
	good := strings.ReplaceAll(goodBucketPolicy(testKey), bucket, "b")
	sseS3For := func(services string) string {
		return strings.Replace(strings.ReplaceAll(good, `"aws:kms"`, `["aws:kms","AES256"]`), `"Statement":[`, `"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::b/*",
			"Condition":{"StringEquals":{"s3:x-amz-server-side-encryption":"AES256"},"StringNotLike":{"aws:PrincipalServiceName":`+services+`}}},`, 1)
	}
	for name, tt := range map[string]struct {
		policy string
		want   truth
		why    string
	}{
		"as it should be":                        {good, yes, ""},
		"another key in the condition":           {strings.ReplaceAll(good, testKey, testKey+"0"), no, "an upload that names another KMS key"},
		"only if the key is in another account":  {strings.ReplaceAll(good, `"StringNotEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"`+testKey, `"StringNotLike":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"arn:aws:kms:*:111122223333:*`), no, "names another KMS key"},
		"SSE-S3 is not denied":                   {strings.ReplaceAll(good, `"aws:kms"`, `["aws:kms","AES256"]`), no, "names SSE-S3"},
		"SSE-S3 is open to a service":            {sseS3For(`"cloudtrail.amazonaws.com"`), yes, ""},
		"SSE-S3 is open to some services":        {sseS3For(`"*.amazonaws.com"`), unknown, "names SSE-S3"},
		"keys of clients are not denied":         {strings.ReplaceAll(good, "customer-algorithm", "customer-nothing"), no, "a key that the client provides"},
		"replication is not denied":              {strings.ReplaceAll(good, `"s3:ReplicateObject",`, ""), no, "s3:ReplicateObject"},
		"a change in place is not denied":        {strings.ReplaceAll(good, `,"s3:UpdateObjectEncryption"`, ""), no, "s3:UpdateObjectEncryption"},
		"a change in place is open to one":       {strings.ReplaceAll(good, `"s3:UpdateObjectEncryption"],"Resource":"arn:aws:s3:::b/*"`, `"s3:UpdateObjectEncryption"],"Resource":"arn:aws:s3:::b/*","Condition":{"ArnNotEquals":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/x"}}`), yes, ""},
		"a change in place is open to a service": {strings.ReplaceAll(good, `"s3:UpdateObjectEncryption"],"Resource":"arn:aws:s3:::b/*"`, `"s3:UpdateObjectEncryption"],"Resource":"arn:aws:s3:::b/*","Condition":{"StringNotEqualsIfExists":{"aws:PrincipalServiceName":"cloudtrail.amazonaws.com"}}`), no, "s3:ReplicateObject"},
		"a change in place is open to a pattern": {strings.ReplaceAll(good, `"s3:UpdateObjectEncryption"],"Resource":"arn:aws:s3:::b/*"`, `"s3:UpdateObjectEncryption"],"Resource":"arn:aws:s3:::b/*","Condition":{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/x"}}`), unknown, "s3:ReplicateObject"},
		"only below a prefix":                    {strings.ReplaceAll(good, `"arn:aws:s3:::b/*"`, `"arn:aws:s3:::b/x/*"`), no, ""},
		"only for one account":                   {strings.ReplaceAll(good, `"Principal":"*"`, `"Principal":{"AWS":"111122223333"}`), no, ""},
		"unless they come from a network":        {strings.ReplaceAll(good, `"Null":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"false"}`, `"Null":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"false"},"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}`), no, "names another KMS key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := parsePolicy(tt.policy)
			require.NoError(t, err)
			got, why, except := p.deniesOtherKeys(b, testKey)
			require.Equal(t, tt.want, got, why)
			require.Contains(t, why, tt.why)
			if name == "a change in place is open to one" {
				require.Equal(t, []string{"arn:aws:iam::111122223333:role/x"}, except.reencrypt)
			}
			if name == "SSE-S3 is open to a service" {
				require.Equal(t, "; uploads under SSE-S3 are open to the service cloudtrail.amazonaws.com", except.String())
			}
		})
	}
}

func TestPolicy_Access_ListsWhoHasWhat(t *testing.T) {
	t.Parallel()
	p, err := parsePolicy(`{"Statement":[
		{"Sid":"Own","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},
		{"Sid":"Partner","Effect":"Allow","Principal":{"AWS":["444455556666"],"Service":"logs.us-east-1.amazonaws.com"},"Action":["kms:Decrypt"],"Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}},
		{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*"}]}`)
	require.NoError(t, err)
	list, notes := p.access(testKey, "111122223333", "key policy")
	require.Equal(t, []report.Access{
		{Resource: testKey, Account: "111122223333", Principal: "arn:aws:iam::111122223333:root", Permissions: []string{"kms:*"}, Source: `key policy, statement "Own"`},
		{Resource: testKey, Account: "444455556666", Principal: "444455556666", Permissions: []string{"kms:Decrypt"}, Conditions: "aws:SecureTransport Bool true", Source: `key policy, statement "Partner"`, External: true},
		{Resource: testKey, Principal: "Service logs.us-east-1.amazonaws.com", Permissions: []string{"kms:Decrypt"}, Conditions: "aws:SecureTransport Bool true", Source: `key policy, statement "Partner"`, External: true},
	}, list)
	require.Len(t, notes, 1)
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, specific string
		want              bool
	}{
		{"*", "a", true}, {"*", "", true}, {"a*c", "abc", true}, {"a*c", "ab", false}, {"a?c", "abc", true}, {"a?c", "a*c", false},
		{"a*", "a?*", true}, {"ab", "a*", false}, {"a**", "a*", true}, {"?", "*", false}, {"*b*", "abba", true}, {"", "a", false},
		{"${x}", "${x}", false}, {"a?", "a?", true},
	} {
		require.Equal(t, tt.want, covers(tt.pattern, tt.specific), "%s over %s", tt.pattern, tt.specific)
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add(goodBucketPolicy(testKey))
	f.Add(`{"Statement":{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":"kms:*","Resource":"*","Condition":{"ForAnyValue:StringLikeIfExists":{"aws:PrincipalArn":["arn:*",true,1]}}}}`)
	f.Fuzz(func(t *testing.T, doc string) {
		p, err := parsePolicy(doc)
		if err != nil {
			require.False(t, strings.Contains(err.Error(), "\n"))
			return
		}
		p.openToOutsiders("kms", testKey)
		p.deniesPlain("arn:aws:s3:::b")
	})
}
