package policy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
	"github.com/securethecloud/kms-baseline/verify/check"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// verify concludes from a policy's text that no outsider is admitted. This file
// compares that with this package's evaluation of single requests, which shares
// no code with it: where a request of an outsider is allowed, verify may not
// report a pass.

const (
	ours     = "764265373335"
	partner  = "444455556666" // named by some policies
	outsider = "999999999999" // named by none
	keyARN   = "arn:aws:kms:us-east-1:" + ours + ":key/00000000-0000-0000-0000-000000000001"
	otherKey = "arn:aws:kms:us-east-1:" + outsider + ":key/00000000-0000-0000-0000-000000000002"
	bucket   = "ckms-764265373335-1"
	ourARN   = "arn:aws:s3:::" + bucket
)

// account is what verify reads: one key and one bucket.
type account struct {
	keyPolicy, bucketPolicy string
	grants                  []grant
}

type grant struct {
	GrantId, GranteePrincipal string
	Operations                []string
}

// Do answers verify's requests.
func (a account) Do(r *http.Request) (*http.Response, error) {
	status, contentType, body := http.StatusOK, "application/x-amz-json-1.1", ""
	encode := func(v any) string { b, _ := json.Marshal(v); return string(b) }
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	query := r.URL.Query()
	switch {
	case operation == "DescribeKey":
		body = encode(map[string]any{"KeyMetadata": map[string]any{
			"Arn": keyARN, "KeyId": keyARN[len(keyARN)-36:], "AWSAccountId": ours, "KeyManager": "CUSTOMER", "KeyState": "Enabled", "Enabled": true,
			"KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT", "Origin": "AWS_KMS", "MultiRegion": false,
		}})
	case operation == "GetKeyPolicy":
		body = encode(map[string]any{"Policy": a.keyPolicy, "PolicyName": "default"})
	case operation == "ListGrants":
		body = encode(map[string]any{"Grants": a.grants, "Truncated": false})
	case operation != "":
		status, body = http.StatusBadRequest, `{"__type":"AccessDeniedException"}`
	case r.Method == http.MethodPost:
		contentType = "text/xml"
		body = "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::" + ours + ":user/auditor</Arn><UserId>AIDAAUDITOR</UserId><Account>" + ours + "</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
	case r.Method == http.MethodHead:
	case query.Has("policy"):
		contentType, body = "application/json", a.bucketPolicy
	case query.Has("policyStatus"):
		p, err := policy.Parse(a.bucketPolicy)
		if err != nil {
			return nil, err
		}
		contentType = "application/xml"
		body = fmt.Sprintf("<PolicyStatus><IsPublic>%t</IsPublic></PolicyStatus>", p.IsPublic())
	default:
		status, contentType, body = http.StatusForbidden, "application/xml", "<Error><Code>AccessDenied</Code></Error>"
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Request: r, ContentLength: int64(len(body)),
		Header: http.Header{"Content-Type": {contentType}, "X-Amz-Bucket-Region": {"us-east-1"}, "X-Amzn-Requestid": {"1"}},
		Body:   io.NopCloser(bytes.NewReader([]byte(body))),
	}, nil
}

var policyChecks = []string{"key.policy", "key.grants", "bucket.policy", "bucket.tls", "bucket.foreign-keys"}

// verdicts returns what verify reports.
func (a account) verdicts(t testing.TB) map[string]report.Result {
	t.Helper()
	rep, err := check.Run(t.Context(), check.Config{
		AWS: aws.Config{
			Region: "us-east-1", HTTPClient: a, RetryMaxAttempts: 1, BaseEndpoint: aws.String("http://127.0.0.1:1"),
			Credentials: credentials.NewStaticCredentialsProvider(ours, "secret", ""),
		},
		Keys: []string{keyARN}, Bucket: bucket, Only: policyChecks,
	})
	require.NoError(t, err)
	out := map[string]report.Result{}
	for _, x := range rep.Results {
		out[x.ID] = x
	}
	return out
}

const (
	baselineKeyPolicy = `{"Version":"2012-10-17","Statement":[
{"Sid":"EnableIAMPolicies","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + ours + `:root"},"Action":"kms:*","Resource":"*"},
{"Sid":"AllowS3","Effect":"Allow","Principal":"*","Action":["kms:Decrypt","kms:GenerateDataKey*"],"Resource":"*","Condition":{"StringEquals":{"kms:CallerAccount":"` + ours + `","kms:ViaService":"s3.us-east-1.amazonaws.com"}}}]}`
	baselineBucketPolicy = `{"Version":"2012-10-17","Statement":[
{"Sid":"DenyInsecureTransport","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["` + ourARN + `","` + ourARN + `/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}},
{"Sid":"DenyOtherAlgorithm","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"` + ourARN + `/*","Condition":{"Null":{"s3:x-amz-server-side-encryption":"false"},"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}},
{"Sid":"DenyOtherKey","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"` + ourARN + `/*","Condition":{"Null":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"false"},"StringNotEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"` + keyARN + `"}}},
{"Sid":"DenyCustomerProvidedKey","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"` + ourARN + `/*","Condition":{"Null":{"s3:x-amz-server-side-encryption-customer-algorithm":"false"}}},
{"Sid":"DenyOtherWaysToAnotherKey","Effect":"Deny","Principal":"*","Action":["s3:ReplicateObject","s3:UpdateObjectEncryption"],"Resource":"` + ourARN + `/*"}]}`
)

// An analysis that passes nothing would be sound, and of no use.
func TestOutsiders_BaselinePasses(t *testing.T) {
	t.Parallel()
	a := account{baselineKeyPolicy, baselineBucketPolicy, []grant{{"g", "arn:aws:iam::" + ours + ":role/app", []string{"Decrypt"}}}}
	for id, x := range a.verdicts(t) {
		require.Equal(t, report.Pass, x.Status, "%s: %s", id, x.Actual)
	}
	require.Empty(t, a.admitted(newChooser([]byte("baseline"))))
}

// chooser makes the random choices of a case.
type chooser struct{ *rand.Rand }

func newChooser(seed []byte) *chooser {
	h := fnv.New64a()
	_, _ = h.Write(seed)
	return &chooser{rand.New(rand.NewPCG(h.Sum64(), 1))}
}

func (c *chooser) n(n int) int { return c.IntN(n) }

func (c *chooser) chance(percent int) bool { return c.n(100) < percent }

func pick[T any](c *chooser, list []T) T { return list[c.n(len(list))] }

// some is one to four of the list.
func some[T any](c *chooser, list []T) []T {
	var out []T
	for range 1 + c.n(10)/5 + c.n(10)/8 + c.n(10)/9 {
		out = append(out, pick(c, list))
	}
	return out
}

// conditionValues are the condition keys of the grammar, each with values that
// policies compare it with.
var conditionValues = map[string][]string{
	"aws:PrincipalAccount":                           accounts,
	"kms:CallerAccount":                              accounts,
	"aws:SourceAccount":                              accounts,
	"aws:ResourceAccount":                            accounts,
	"s3:ResourceAccount":                             accounts,
	"aws:SourceOwner":                                accounts,
	"aws:VpceAccount":                                accounts,
	"s3:DataAccessPointAccount":                      accounts,
	"aws:PrincipalArn":                               principals,
	"aws:SourceArn":                                  append([]string{"arn:aws:cloudtrail:us-east-1:" + ours + ":trail/t", "arn:aws:cloudtrail:us-east-1:" + ours + ":*", "arn:aws:cloudtrail:*:*:trail/t", ourARN, "arn:aws:s3:::*", "arn:aws:s3:::ckms-*"}, principals...),
	"aws:PrincipalOrgID":                             {"o-ours", "o-*", "*", "o-our?", ""},
	"aws:SourceOrgID":                                {"o-ours", "o-*", "*"},
	"aws:PrincipalOrgPaths":                          {"o-ours/r-1/*", "o-*/r-1/*", "*", "*/r-1/ou-1/*"},
	"aws:PrincipalIsAWSService":                      {"true", "false"},
	"aws:PrincipalServiceName":                       {"cloudtrail.amazonaws.com", "*.amazonaws.com", "*"},
	"aws:PrincipalServiceNamesList":                  {"cloudtrail.amazonaws.com", "*"},
	"aws:PrincipalType":                              {"User", "AssumedRole", "Account", "Anonymous", "*"},
	"aws:PrincipalTag/team":                          {"data", "*", "${aws:PrincipalTag/team}"},
	"aws:userid":                                     {"AIDAOURS", "AIDA*", "AROAOURS:*", "*", "*:app", "?IDA*"},
	"aws:username":                                   {"app", "*", "a*", "${aws:username}"},
	"aws:SourceIp":                                   {"192.0.2.0/24", "198.18.0.0/15", "0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "::ffff:0.0.0.0/96", "::ffff:0:0/97", "8.0.0.0/8", "45.0.0.0/8", "2600::/12", "2600::/16", "10.0.0.0/8", "192.0.2.1", "2001:db8::/32"},
	"aws:VpcSourceIp":                                {"10.0.0.0/16", "10.1.2.3", "172.16.0.0/12", "192.168.0.0/24"},
	"aws:SourceVpc":                                  {"vpc-ours", "vpc-*", "*", ""},
	"aws:SourceVpce":                                 {"vpce-ours", "vpce-*", "*"},
	"aws:SecureTransport":                            {"true", "false"},
	"aws:ViaAWSService":                              {"true", "false"},
	"aws:MultiFactorAuthPresent":                     {"true", "false"},
	"aws:MultiFactorAuthAge":                         {"0", "3600", "1e3", "-1"},
	"aws:RequestedRegion":                            {"us-east-1", "us-*", "*"},
	"aws:UserAgent":                                  {"curl", "aws-cli*", "*"},
	"aws:Referer":                                    {"https://example.com/*", "secret", "*"},
	"aws:CurrentTime":                                {"2020-01-01T00:00:00Z", "2026-11-25T00:00:00Z", "2040-01-01T00:00:00Z"},
	"aws:EpochTime":                                  {"1577836800", "2208988800"},
	"aws:TokenIssueTime":                             {"2020-01-01T00:00:00Z", "2040-01-01T00:00:00Z"},
	"aws:TagKeys":                                    {"team", "cost*", "*"},
	"aws:CalledVia":                                  {"athena.amazonaws.com", "*"},
	"aws:SourceIdentity":                             {"alice", "*"},
	"aws:FederatedProvider":                          {"cognito-identity.amazonaws.com"},
	"kms:ViaService":                                 {"s3.us-east-1.amazonaws.com", "s3.*.amazonaws.com", "*"},
	"kms:EncryptionContext:aws:s3:arn":               {ourARN, ourARN + "/*", "arn:aws:s3:::*"},
	"kms:EncryptionContextKeys":                      {"aws:s3:arn", "*"},
	"kms:GrantIsForAWSResource":                      {"true", "false"},
	"kms:KeyOrigin":                                  {"AWS_KMS", "EXTERNAL"},
	"s3:x-amz-server-side-encryption":                {"aws:kms", "aws:kms:dsse", "AES256", "aws:*", "*", "aws:km?"},
	"s3:x-amz-server-side-encryption-aws-kms-key-id": {keyARN, "*", otherKey, "arn:aws:kms:*:" + ours + ":key/*", "arn:aws:kms:us-east-1:" + ours + ":*", keyARN + "*", "${aws:username}"},
	"s3:x-amz-server-side-encryption-customer-algorithm": {"AES256", "*"},
	"s3:TlsVersion":            {"1.2", "1.3", "1.1"},
	"s3:authType":              {"REST-HEADER", "REST-QUERY-STRING", "*"},
	"s3:signatureversion":      {"AWS4-HMAC-SHA256", "*"},
	"s3:prefix":                {"", "home/*", "*"},
	"s3:x-amz-acl":             {"public-read", "bucket-owner-full-control"},
	"s3:ExistingObjectTag/c":   {"public", "*"},
	"aws:NewKeyOfNextYear":     {"true", "*"},
	"aws:Ec2InstanceSourceVpc": {"vpc-ours", "${aws:SourceVpc}"},
}

var (
	accounts = []string{ours, partner, "*", "7*", "9*", "????????????", ours + "*", "*" + ours, "", "7642653733?5", "${aws:PrincipalAccount}", "${aws:ResourceAccount}", "${aws:nothing, '*'}"}

	principals = []string{
		"arn:aws:iam::" + ours + ":role/app", "arn:aws:iam::" + ours + ":role/*", "arn:aws:iam::" + ours + "*", "arn:aws:iam::" + ours + ":*", "arn:aws:iam::*:role/app",
		"arn:aws:iam::*:user/*", "arn:*:iam::" + ours + ":*", "*", "*" + ours + "*", "*:" + ours + ":*", "arn:aws:iam::${aws:PrincipalAccount}:*", "arn:aws:iam::7*", "arn:aws:iam::" + ours[:11] + "*",
		"arn:aws:*::" + ours + ":*", "arn:aws:iam:*" + ours + ":*", "arn:aws:iam::????????????:root", "arn:aws:iam::" + partner + ":root",
	}

	operators = []string{
		"Null", "Bool", "StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike", "ArnEquals", "ArnLike",
		"ArnNotEquals", "ArnNotLike", "NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals",
		"DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals", "IpAddress", "NotIpAddress",
	}
	stringOperators = operators[2:12]

	statementPrincipals = []any{
		"*", "*", "*", "*", map[string]any{"AWS": "*"}, map[string]any{"AWS": []string{"*"}}, map[string]any{"AWS": "arn:aws:iam::" + ours + ":root"}, map[string]any{"AWS": ours},
		map[string]any{"AWS": "arn:aws:iam::" + ours + ":role/app"}, map[string]any{"AWS": []string{partner, "arn:aws:iam::" + ours + ":user/admin"}}, map[string]any{"Service": "cloudtrail.amazonaws.com"},
		map[string]any{"AWS": "*", "Service": "logs.amazonaws.com"}, map[string]any{"Federated": "cognito-identity.amazonaws.com"}, map[string]any{"CanonicalUser": strings.Repeat("0123456789abcdef", 4)},
		map[string]any{"AWS": []string{"arn:aws:sts::" + partner + ":assumed-role/app/s", "*"}},
	}

	actions = map[string][]string{
		"kms": {"kms:*", "*", "kms:Decrypt", "kms:GenerateDataKey*", "KMS:decrypt", "kms:D*", "kms:?ecrypt", "kms:DescribeKey", "kms:CreateGrant", "kms:ReEncrypt*", "kms:*Key", "kms:Encrypt"},
		"s3":  {"s3:*", "s3:*", "*", "s3:PutObject", "s3:PutObject*", "s3:Put*", "s3:GetObject", "S3:getobject", "s3:Get*", "s3:ListBucket", "s3:ReplicateObject", "s3:Replicate*", "s3:UpdateObjectEncryption", "s3:Update*", "s3:?*", "s3:??tObject", "s3:*Object"},
	}
	requested = map[string][]string{ // those that another account can do to a key
		"kms": {"kms:Decrypt", "kms:GenerateDataKey", "kms:Encrypt", "kms:DescribeKey", "kms:CreateGrant", "kms:ReEncryptFrom", "kms:ListGrants"},
		"s3":  {"s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:DeleteObject", "s3:ReplicateObject", "s3:UpdateObjectEncryption", "s3:PutBucketPolicy", "s3:GetObjectVersion"},
	}
	resources = map[string][]string{
		"kms": {"*", "*", "*", keyARN, "arn:aws:kms:*:*:key/*", "arn:aws:kms:${aws:RequestedRegion}:" + ours + ":key/*", "arn:aws:kms:us-east-?:*", otherKey, "arn:*", "${aws:nothing, '*'}", "arn:aws:kms:us-east-1:" + ours + ":alias/*"},
		"s3": {
			ourARN, ourARN + "/*", ourARN + "/*", ourARN + "*", "arn:aws:s3:::*", "arn:aws:s3:::ckms-*", ourARN + "/${aws:username}/*", ourARN + "/home/*", ourARN + "/*.txt", ourARN + "/?*",
			ourARN + "/kms-baseline-canary/*", "arn:aws:s3:::${aws:PrincipalTag/bucket}/*", "arn:aws:s3:::*/*", ourARN + "/${*}", "*",
		},
	}
	objects = []string{"/x", "/home/app/x", "/kms-baseline-canary/00/x", "/a.txt", "/*", "/", "/app/x", "/é"}
)

var conditionKeys = func() (keys []string) {
	for k := range conditionValues {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}()

// lowerKeys are the keys as [policy.Access] has them.
var lowerKeys = func() (keys []string) {
	for _, k := range conditionKeys {
		keys = append(keys, strings.ToLower(k))
	}
	return keys
}()

// conditionsOf writes a Condition, mostly of operators that fit the values.
func conditionsOf(c *chooser) map[string]map[string]any {
	out := map[string]map[string]any{}
	for range 1 + c.n(3) {
		key := pick(c, conditionKeys)
		values := some(c, conditionValues[key])
		op := pick(c, stringOperators)
		switch first := conditionValues[key][0]; {
		case c.chance(8):
			op, values = "Null", []string{pick(c, []string{"true", "false"})}
		case c.chance(5):
			op = pick(c, operators)
		case key == "aws:SourceIp" || key == "aws:VpcSourceIp":
			op = pick(c, []string{"IpAddress", "IpAddress", "IpAddress", "NotIpAddress", op})
		case first == "true":
			op = pick(c, []string{"Bool", "Bool", "Bool", op})
		case strings.HasSuffix(key, "Time"):
			op = pick(c, operators[18:24])
		case key == "aws:MultiFactorAuthAge" || key == "s3:TlsVersion":
			op = pick(c, operators[12:18])
		}
		if op != "Null" {
			if c.chance(15) {
				op += "IfExists"
			}
			if c.chance(15) {
				op = pick(c, []string{"ForAllValues:", "ForAnyValue:"}) + op
			}
		}
		if c.chance(10) {
			key = strings.ToUpper(key)
		}
		if out[op] == nil {
			out[op] = map[string]any{}
		}
		if len(values) == 1 && c.chance(50) {
			out[op][key] = values[0]
		} else {
			out[op][key] = values
		}
	}
	return out
}

// document writes a resource policy for the service: random statements, often with
// those of the baseline.
func document(c *chooser, service, baseline string) string {
	var p struct {
		Version   string
		Statement []any
	}
	p.Version = pick(c, []string{"2012-10-17", "2012-10-17", "2012-10-17", "2008-10-17"})
	if c.chance(70) {
		var b struct{ Statement []any }
		_ = json.Unmarshal([]byte(baseline), &b)
		for _, s := range b.Statement {
			if c.chance(15) {
				continue // without one of them
			}
			if c.chance(15) { // with one more condition
				m := s.(map[string]any)
				if m["Condition"] == nil {
					m["Condition"] = conditionsOf(c)
				} else {
					for op, keys := range conditionsOf(c) {
						m["Condition"].(map[string]any)[op] = keys
					}
				}
			}
			if c.chance(8) {
				s.(map[string]any)["Resource"] = some(c, resources[service])
			}
			p.Statement = append(p.Statement, s)
		}
	}
	for range c.n(3) {
		s := map[string]any{"Effect": pick(c, []string{"Allow", "Allow", "Deny"})}
		not := func(name string, percent int, v any) {
			if c.chance(percent) {
				name = "Not" + name
			}
			s[name] = v
		}
		not("Principal", 10, pick(c, statementPrincipals))
		not("Action", 10, some(c, actions[service]))
		not("Resource", 10, some(c, resources[service]))
		if c.chance(75) {
			s["Condition"] = conditionsOf(c)
		}
		p.Statement = append(p.Statement, s)
	}
	if len(p.Statement) == 0 {
		return baseline
	}
	b, _ := json.Marshal(p)
	return string(b)
}

func randomAccount(c *chooser) account {
	a := account{document(c, "kms", baselineKeyPolicy), document(c, "s3", baselineBucketPolicy), []grant{}}
	for i := range c.n(3) {
		a.grants = append(a.grants, grant{fmt.Sprint("g", i), pick(c, []string{
			"arn:aws:iam::" + ours + ":role/app", "arn:aws:iam::" + outsider + ":role/app", "arn:aws:iam::" + partner + ":role/app", partner, outsider, "arn:aws:iam::" + partner + ":root",
			"arn:aws:sts::" + outsider + ":assumed-role/rds.amazonaws.com/s", "rds.us-east-1.amazonaws.com", "arn:aws:iam::" + outsider + ":role/rds.amazonaws.com", "AROAEXAMPLEID",
		}), some(c, []string{"Decrypt", "DescribeKey", "GenerateDataKey", "CreateGrant", "ReEncryptFrom"})})
	}
	return a
}

// compared collects the values that a policy compares each condition key with.
func compared(p *policy.Policy) map[string][]string {
	out := map[string][]string{}
	for _, s := range p.Statements {
		for _, c := range s.Conditions {
			out[c.Key] = append(out[c.Key], c.Values...)
		}
	}
	return out
}

// chosen returns a value for a condition key that the requester chooses: one that
// the policy compares it with, or another.
func chosen(c *chooser, values []string) string {
	if len(values) == 0 || c.chance(20) {
		return pick(c, []string{"", "x", "true", "false", "app", "1", "10.0.3.4", "2026-11-25T12:00:00Z", "us-east-1"})
	}
	v := pick(c, values)
	if strings.Contains(v, "/") && strings.Count(v, ".") == 3 { // a network
		v, _, _ = strings.Cut(v, "/")
	}
	return strings.ReplaceAll(strings.ReplaceAll(v, "*", pick(c, []string{"", "x", "*"})), "?", "a")
}

// request is a random request to the resource of p. kind is who makes it:
// "outsider", "service" (on behalf of an outsider), "anonymous" or "ours".
func request(c *chooser, service, kind string, p *policy.Policy) policy.Access {
	values := compared(p)
	a := policy.Access{Action: pick(c, requested[service]), Resource: keyARN, Context: map[string]string{}, Lists: map[string][]string{}}
	if service == "s3" {
		a.Resource = ourARN
		if !strings.Contains(a.Action, "Bucket") {
			a.Resource += pick(c, objects)
		}
	}
	// What the requester chooses.
	for _, key := range lowerKeys {
		if len(values[key]) == 0 || c.chance(30) {
			continue
		}
		switch key {
		case "aws:tagkeys", "aws:calledvia", "kms:encryptioncontextkeys":
			for range c.n(3) {
				a.Lists[key] = append(a.Lists[key], chosen(c, values[key]))
			}
		case "kms:grantisforawsresource", "aws:multifactorauthpresent", "aws:viaawsservice":
			a.Context[key] = pick(c, []string{"true", "false"})
		default:
			a.Context[key] = chosen(c, values[key])
		}
	}
	// What it does not. A key that is deleted is absent, unless it follows from Who.
	set := func(key string, options ...string) {
		delete(a.Context, key)
		if v := pick(c, options); v != "-" {
			a.Context[key] = v
		}
	}
	now := time.Date(2026, 11, 25, c.n(24), 0, 0, 0, time.UTC)
	a.Context["aws:currenttime"], a.Context["aws:epochtime"] = now.Format(time.RFC3339), fmt.Sprint(now.Unix())
	set("aws:resourceaccount", ours)
	set("s3:resourceaccount", ours)
	set("kms:keyorigin", "AWS_KMS")
	set("aws:newkeyofnextyear", "-", "true", "false", "x")
	set("aws:sourceip", "8.8.8.8", "45.60.1.1", "203.0.113.77", "2600:1f18::1", "-")
	set("aws:sourcevpc", "-", "vpc-theirs")
	set("aws:sourcevpce", "-", "vpce-theirs")
	set("aws:vpceaccount", "-", outsider)
	set("aws:ec2instancesourcevpc", "-", "vpc-theirs")
	if a.Context["aws:sourcevpc"] == "" {
		set("aws:vpcsourceip", "-")
	}
	for _, key := range []string{"aws:principalarn", "aws:principalaccount", "aws:principalorgid", "aws:principalorgpaths", "aws:principalisawsservice", "aws:principalservicename", "aws:principalservicenameslist", "aws:principaltype", "aws:userid", "aws:sourceaccount", "aws:sourcearn", "aws:sourceowner", "aws:sourceorgid", "s3:dataaccesspointaccount", "aws:federatedprovider", "s3:existingobjecttag/c", "aws:tokenissuetime"} {
		delete(a.Context, key)
	}
	switch kind {
	case "anonymous":
		set("aws:principalaccount", "anonymous", "-")
		delete(a.Context, "aws:username")
	case "service":
		set("aws:principalisawsservice", "true")
		set("aws:principalservicename", "cloudtrail.amazonaws.com")
		a.Lists["aws:principalservicenameslist"] = []string{"cloudtrail.amazonaws.com"}
		set("aws:sourceaccount", outsider, "-")
		set("aws:sourceowner", outsider, "-")
		set("aws:sourcearn", "arn:aws:cloudtrail:us-east-1:"+outsider+":trail/t", "arn:aws:s3:::theirs", "-")
		set("aws:sourceorgid", "o-theirs", "-")
		set("kms:calleraccount", outsider)
	case "outsider", "ours":
		number, org := outsider, "o-theirs"
		if kind == "ours" {
			number, org = ours, "o-ours"
			set("aws:sourceip", "192.0.2.1", "8.8.8.8")
		}
		a.Who = wire.IdentityOf(number)
		if c.chance(30) {
			a.Who = wire.Identity{Account: number, ARN: "arn:aws:sts::" + number + ":assumed-role/app/app", Name: "app", UserID: "AROATHEIRS:app",
				Session: &wire.Session{RoleARN: "arn:aws:iam::" + number + ":role/app", RoleID: "AROATHEIRS", Role: "app", Started: now, Expires: now.Add(time.Hour)}}
		}
		if kind == "ours" && c.chance(30) {
			a.Who = wire.Identity{Account: number, ARN: wire.RootARN(number), Name: "root", UserID: number}
		}
		delete(a.Context, "aws:username")
		set("aws:principalorgid", org, "-")
		if a.Context["aws:principalorgid"] != "" {
			a.Lists["aws:principalorgpaths"] = []string{org + "/r-1/ou-1/"}
		}
		set("kms:calleraccount", number)
	}
	if service == "s3" {
		delete(a.Context, "kms:calleraccount")
	}
	set("aws:securetransport", "true", "true", "true", "false")
	if a.Context["aws:securetransport"] == "false" {
		delete(a.Context, "s3:tlsversion")
	} else {
		set("s3:tlsversion", "1.2", "1.3")
	}
	return a
}

// admitted returns, by check, a request that the check's pass would exclude and
// that this package allows.
func (a account) admitted(c *chooser) map[string]string {
	out := map[string]string{}
	found := func(id string, v any) {
		if out[id] == "" {
			b, _ := json.Marshal(v)
			out[id] = string(b)
		}
	}
	key, err := policy.Parse(a.keyPolicy)
	if err == nil {
		for range 40 {
			r := request(c, "kms", pick(c, []string{"outsider", "outsider", "outsider", "service"}), key)
			if d := key.Decide(r); d == policy.Allowed || d == policy.Delegated {
				found("key.policy", r)
			}
		}
		for _, g := range a.grants {
			if number := accountOf(g.GranteePrincipal); number != "" && number != ours {
				for _, o := range g.Operations {
					if !namesFor(key, g.GranteePrincipal, number, "kms:"+o) {
						found("key.grants", g)
					}
				}
			}
		}
	}
	p, err := policy.Parse(a.bucketPolicy)
	if err != nil {
		return out
	}
	for range 60 {
		r := request(c, "s3", pick(c, []string{"outsider", "service", "anonymous"}), p)
		if d := p.Decide(r); d == policy.Allowed || d == policy.Delegated {
			found("bucket.policy", r)
		}
		r = request(c, "s3", pick(c, []string{"outsider", "service", "anonymous", "ours"}), p)
		r.Context["aws:securetransport"] = "false"
		delete(r.Context, "s3:tlsversion")
		if p.Decide(r) != policy.Denied {
			found("bucket.tls", r)
		}
		r = request(c, "s3", pick(c, []string{"outsider", "ours", "service", "anonymous"}), p)
		for k := range r.Context {
			if strings.HasPrefix(k, "s3:x-amz-server-side-encryption") {
				delete(r.Context, k)
			}
		}
		r.Action, r.Resource = "s3:PutObject", ourARN+pick(c, objects)
		r.Context["aws:securetransport"] = "true"
		set := func(name, value string) { r.Context["s3:x-amz-server-side-encryption"+name] = value }
		switch c.n(5) {
		case 0:
			set("", "AES256")
			if s := r.Context["aws:principalservicename"]; s != "" && slices.Contains(compared(p)["aws:principalservicename"], s) {
				continue // the report lists it as an exception
			}
		case 1:
			set("-customer-algorithm", "AES256")
		case 2:
			r.Action = pick(c, []string{"s3:ReplicateObject", "s3:UpdateObjectEncryption"})
			if kind := r.Who.Account; kind == ours && named(p, r.Who) {
				continue // the report lists it as an exception
			}
		default:
			set("", pick(c, []string{"aws:kms", "aws:kms:dsse"}))
			set("-aws-kms-key-id", pick(c, []string{otherKey, keyARN[:len(keyARN)-1] + "9", "alias/aws/s3", "arn:aws:kms:us-east-1:" + outsider + ":alias/x", keyARN + "x"}))
		}
		if p.Decide(r) != policy.Denied {
			found("bucket.foreign-keys", r)
		}
	}
	return out
}

func accountOf(principal string) string {
	if part := strings.SplitN(principal, ":", 6); len(part) == 6 {
		return part[4]
	}
	if len(principal) == 12 && strings.Trim(principal, "0123456789") == "" {
		return principal
	}
	return ""
}

// namesFor reports whether some Allow statement of the policy names the grantee or
// its account for an action, whatever its conditions.
func namesFor(p *policy.Policy, grantee, number, action string) bool {
	a := policy.Access{Who: wire.IdentityOf(number), Action: action, Resource: keyARN}
	return slices.ContainsFunc(p.Statements, func(s policy.Statement) bool {
		s.Conditions = nil
		named := slices.ContainsFunc(s.Principals, func(pr policy.Principal) bool {
			return pr.Kind == "AWS" && slices.Contains([]string{grantee, number, wire.RootARN(number)}, pr.Name)
		})
		a.Who.ARN = "arn:aws:iam::" + number + ":root"
		if s.NotPrincipal || s.Deny || !named {
			return false
		}
		s.Principals = []policy.Principal{{Kind: "AWS", Name: "*"}}
		return (&policy.Policy{Statements: []policy.Statement{s}}).Decide(a) == policy.Allowed
	})
}

// named reports whether the policy has a condition that names the caller's ARN.
func named(p *policy.Policy, who wire.Identity) bool {
	return slices.Contains(compared(p)["aws:principalarn"], who.PolicyARN())
}

// compare requires that verify passes nothing that the requests disprove, and
// reports whether there are such requests.
func (a account) compare(t testing.TB, c *chooser) bool {
	t.Helper()
	admitted := a.admitted(c)
	if len(admitted) == 0 {
		return false
	}
	verdicts := a.verdicts(t)
	for id, r := range admitted {
		if verdicts[id].Status == report.Pass {
			t.Errorf("%s passes (%s), but this is admitted:\n%s\nkey policy: %s\ngrants: %+v\nbucket policy: %s", id, verdicts[id].Actual, r, a.keyPolicy, a.grants, a.bucketPolicy)
		}
	}
	return true
}

// What fuzzing, and people, found: none of it may pass.
func TestOutsiders_KnownCases(t *testing.T) {
	t.Parallel()
	allow := func(principal, more string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":"ACTION","Resource":"*"` + more + `}]}`
	}
	condition := func(c string) string { return allow(`"*"`, `,"Condition":`+c) }
	for name, document := range map[string]string{
		"a principal's ARN that anonymous requests lack": condition(`{"ArnLikeIfExists":{"aws:PrincipalArn":"arn:aws:iam::` + ours + `:role/*"}}`),
		"all of no ARNs":                                     condition(`{"ForAllValues:StringEquals":{"aws:PrincipalArn":"arn:aws:iam::` + ours + `:role/app"}}`),
		"an ID that anonymous requests lack":                 condition(`{"StringNotLike":{"aws:userid":"*"}}`),
		"an ARN operator on an account":                      condition(`{"ForAnyValue:ArnNotLike":{"aws:SourceAccount":["*"]}}`),
		"any AWS service":                                    condition(`{"Bool":{"aws:PrincipalIsAWSService":"true"}}`),
		"a private network":                                  condition(`{"IpAddress":{"aws:VpcSourceIp":"10.0.0.0/16"}}`),
		"half of all addresses, twice":                       condition(`{"IpAddress":{"aws:SourceIp":["0.0.0.0/1","128.0.0.0/1"]}}`),
		"all IPv4 addresses, as IPv6":                        condition(`{"IpAddress":{"aws:SourceIp":"::ffff:0.0.0.0/96"}}`),
		"a condition key that verify does not model":         condition(`{"Bool":{"aws:NewKeyOfNextYear":"true"}}`),
		"everyone but one role":                              strings.Replace(allow(`{"AWS":"arn:aws:iam::`+ours+`:role/app"}`, ""), `"Principal"`, `"NotPrincipal"`, 1),
		"a policy variable in the resource":                  strings.Replace(allow(`"*"`, ""), `"Resource":"*"`, `"Resource":"RESOURCE"`, 1),
		"a pattern of accounts":                              condition(`{"StringLike":{"aws:PrincipalAccount":"????????????"}}`),
		"a deny that leaves out one action of those allowed": strings.Replace(allow(`"*"`, ""), `"Statement":[`, `"Statement":[{"Effect":"Deny","Principal":"*","NotAction":"EXCEPT","Resource":"*"},`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := account{
				strings.NewReplacer("ACTION", "kms:*", "EXCEPT", "kms:Decrypt", "RESOURCE", "arn:aws:kms:${aws:RequestedRegion}:"+ours+":key/*").Replace(document),
				strings.NewReplacer("ACTION", "s3:*", "EXCEPT", "s3:GetObject", "RESOURCE", ourARN+"/${aws:username}/*").Replace(document), nil,
			}
			for id, x := range a.verdicts(t) {
				if id == "key.policy" || id == "bucket.policy" {
					require.NotEqual(t, report.Pass, x.Status, "%s: %s", id, x.Actual)
				}
			}
		})
	}
	t.Run("a grant to a role that is named like a service", func(t *testing.T) {
		t.Parallel()
		a := account{baselineKeyPolicy, baselineBucketPolicy, []grant{{"g", "arn:aws:iam::" + outsider + ":role/rds.amazonaws.com", []string{"Decrypt"}}}}
		require.Equal(t, report.Fail, a.verdicts(t)["key.grants"].Status)
	})
	t.Run("a grant to an account that may describe the key only", func(t *testing.T) {
		t.Parallel()
		a := account{
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + partner + `"},"Action":"kms:DescribeKey","Resource":"*"}]}`,
			baselineBucketPolicy, []grant{{"g", "arn:aws:iam::" + partner + ":role/app", []string{"DescribeKey", "Decrypt"}}},
		}
		require.Equal(t, report.Fail, a.verdicts(t)["key.grants"].Status)
	})
	t.Run("a grant to another role of an account whose one role is named", func(t *testing.T) {
		t.Parallel()
		a := account{
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + partner + `:role/app"},"Action":"kms:Decrypt","Resource":"*"}]}`,
			baselineBucketPolicy, []grant{{"g", "arn:aws:iam::" + partner + ":role/other", []string{"Decrypt"}}},
		}
		require.Equal(t, report.Fail, a.verdicts(t)["key.grants"].Status)
		a.grants[0].GranteePrincipal = "arn:aws:iam::" + partner + ":role/app"
		require.Equal(t, report.Pass, a.verdicts(t)["key.grants"].Status)
	})
	t.Run("an ARN operator on an algorithm", func(t *testing.T) {
		t.Parallel()
		a := account{baselineKeyPolicy, strings.Replace(baselineBucketPolicy, `{"Null":{"s3:x-amz-server-side-encryption":"false"}`, `{"ArnLike":{"s3:x-amz-server-side-encryption":"AES256"}`, 1), nil}
		require.NotEqual(t, report.Pass, a.verdicts(t)["bucket.foreign-keys"].Status)
	})
}

// Random cases: the same few hundred in every run, or, with OUTSIDERS=10m, new ones
// for that long. This is no fuzz target, since coverage instrumentation takes the
// compiler minutes for the AWS SDK, and the grammar needs no guidance.
func TestOutsiders_AreNotAdmitted(t *testing.T) {
	t.Parallel()
	seed, cases, end := "fixed", 500, time.Time{}
	if v := os.Getenv("OUTSIDERS"); v != "" {
		d, err := time.ParseDuration(v)
		require.NoError(t, err)
		end = time.Now().Add(d)
		seed, cases = end.String(), math.MaxInt
	}
	var g errgroup.Group
	var done, admitted atomic.Int64
	for worker := range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			for i := worker; i < cases && !t.Failed() && (end.IsZero() || time.Now().Before(end)); i += runtime.GOMAXPROCS(0) {
				c := newChooser([]byte(fmt.Sprint(seed, i)))
				if randomAccount(c).compare(t, c) {
					admitted.Add(1)
				}
				done.Add(1)
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	t.Logf("%d cases, of which %d admit a request that a pass excludes", done.Load(), admitted.Load())
}
