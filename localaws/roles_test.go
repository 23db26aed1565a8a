package localaws

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/stretchr/testify/require"
)

const (
	auditor      = "arn:aws:iam::123456789012:role/audit/auditor"
	auditSession = "arn:aws:sts::123456789012:assumed-role/auditor/tuesday"
)

// trusting is a trust policy that lets the principal assume the role if the
// condition, JSON, holds.
func trusting(principal, condition string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"sts:AssumeRole","Condition":` + condition + `}}`
}

func assume(t *testing.T, s *Server, accessKey, role string, opts ...func(*sts.AssumeRoleInput)) (*sts.AssumeRoleOutput, error) {
	t.Helper()
	in := &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("tuesday")}
	for _, f := range opts {
		f(in)
	}
	return sts.NewFromConfig(awsConfig(t, s, accessKey, noRetries)).AssumeRole(t.Context(), in)
}

// with are the credentials of a session.
func with(c *ststypes.Credentials) func(*config.LoadOptions) error {
	return config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken))
}

func TestAssumeRole_SessionIsTheRole(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	require.NoError(t, s.SetRole(auditor, trusting("arn:aws:iam::123456789012:user/alice", "{}")))
	out, err := assume(t, s, "alice", auditor)
	require.NoError(t, err)
	require.Regexp(t, `^AROA[A-Z2-7]{17}:tuesday$`, *out.AssumedRoleUser.AssumedRoleId)
	require.Equal(t, auditSession, *out.AssumedRoleUser.Arn)
	require.Regexp(t, `^ASIA[A-Z2-7]{16}$`, *out.Credentials.AccessKeyId)
	require.Nil(t, out.PackedPolicySize) //nolint:staticcheck // deprecated, and still in responses that have a policy
	require.WithinDuration(t, time.Now().Add(time.Hour), *out.Credentials.Expiration, 2*time.Minute)

	session := awsConfig(t, s, "", noRetries, with(out.Credentials))
	who, err := sts.NewFromConfig(session).GetCallerIdentity(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, auditSession, *who.Arn)
	require.Equal(t, "123456789012", *who.Account)
	require.Equal(t, *out.AssumedRoleUser.AssumedRoleId, *who.UserId)
	_, err = kms.NewFromConfig(session).ListKeys(t.Context(), nil)
	require.NoError(t, err)
	_, err = s3.NewFromConfig(session).ListBuckets(t.Context(), nil)
	require.NoError(t, err)
	_, err = ec2.NewFromConfig(session).DescribeVolumes(t.Context(), nil)
	require.NoError(t, err)

	// The role's identity policy is the session's.
	require.NoError(t, s.SetIdentityPolicy(auditor, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["s3:*","cloudtrail:*"],"Resource":"*"}}`))
	_, err = kms.NewFromConfig(session).ListKeys(t.Context(), nil)
	require.ErrorContains(t, err, "User: "+auditSession+" is not authorized to perform: kms:ListKeys")
	_, err = s3.NewFromConfig(session).ListBuckets(t.Context(), nil)
	require.NoError(t, err)

	// Its events name the session and the role that issued it.
	events := lookUp(t, cloudtrail.NewFromConfig(session), trailtypes.LookupAttributeKeyUsername, "tuesday")
	require.NotEmpty(t, events)
	var record struct {
		UserIdentity struct {
			Type, PrincipalID, ARN, AccountID, AccessKeyID, UserName string
			SessionContext                                           struct {
				SessionIssuer struct{ Type, PrincipalID, ARN, AccountID, UserName string }
				Attributes    struct{ CreationDate, MFAAuthenticated string }
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(*events[0].CloudTrailEvent), &record))
	id := record.UserIdentity
	require.Equal(t, []string{"AssumedRole", *who.UserId, auditSession, "123456789012", *out.Credentials.AccessKeyId, ""},
		[]string{id.Type, id.PrincipalID, id.ARN, id.AccountID, id.AccessKeyID, id.UserName})
	require.Equal(t, "Role", id.SessionContext.SessionIssuer.Type)
	require.Equal(t, auditor, id.SessionContext.SessionIssuer.ARN)
	require.Equal(t, "auditor", id.SessionContext.SessionIssuer.UserName)
	require.Equal(t, "false", id.SessionContext.Attributes.MFAAuthenticated)
}

func TestAssumeRole_PoliciesNameRoleOrSession(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	require.NoError(t, s.SetRole(auditor, trusting("123456789012", "{}")))
	out, err := assume(t, s, "alice", auditor)
	require.NoError(t, err)
	session := kms.NewFromConfig(awsConfig(t, s, "", noRetries, with(out.Credentials)))
	alice := kmsClient(t, s, "alice")
	for _, tc := range []struct {
		name, principal, condition string
		allowed                    bool
	}{
		{"the role", auditor, "{}", true},
		{"the session", auditSession, "{}", true},
		{"another session", "arn:aws:sts::123456789012:assumed-role/auditor/friday", "{}", false},
		{"another role", "arn:aws:iam::123456789012:role/other", "{}", false},
		{"anyone with the role's ARN", "*", `{"ArnEquals":{"aws:PrincipalArn":"` + auditor + `"}}`, true},
		{"anyone with a user name", "*", `{"Null":{"aws:username":"false"}}`, false},
		{"anyone of the type", "*", `{"StringEquals":{"aws:PrincipalType":"AssumedRole"}}`, true},
	} {
		policy := `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/alice"},"Action":"kms:*","Resource":"*"},
			{"Effect":"Allow","Principal":{"AWS":"` + tc.principal + `"},"Action":"kms:DescribeKey","Resource":"*","Condition":` + tc.condition + `}]}`
		k, err := alice.CreateKey(t.Context(), &kms.CreateKeyInput{Policy: &policy})
		require.NoError(t, err, tc.name)
		_, err = session.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: k.KeyMetadata.KeyId})
		if tc.allowed {
			require.NoError(t, err, tc.name)
		} else {
			requireCode(t, err, "AccessDeniedException")
		}
	}
}

func TestAssumeRole_Refuses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	require.NoError(t, s.SetRole(auditor, trusting("arn:aws:iam::123456789012:root", `{"StringEquals":{"sts:ExternalId":"42-42"}}`)))
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::123456789012:user/unknown", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`))
	external := func(in *sts.AssumeRoleInput) { in.ExternalId = aws.String("42-42") }
	lasting := func(seconds int32) func(*sts.AssumeRoleInput) {
		return func(in *sts.AssumeRoleInput) { external(in); in.DurationSeconds = &seconds }
	}
	first, err := assume(t, s, "alice", auditor, external)
	require.NoError(t, err)
	chained := sts.NewFromConfig(awsConfig(t, s, "", noRetries, with(first.Credentials)))
	_, err = chained.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String(auditor), RoleSessionName: aws.String("again"), ExternalId: aws.String("42-42"), DurationSeconds: aws.Int32(3601)})
	require.ErrorContains(t, err, "exceeds the 1 hour session limit for roles assumed by role chaining")
	_, err = chained.GetSessionToken(t.Context(), nil)
	require.ErrorContains(t, err, "Cannot call GetSessionToken with session credentials")

	for _, tc := range []struct {
		name, accessKey, role string
		opt                   func(*sts.AssumeRoleInput)
		code, message         string
	}{
		{"no external ID", "alice", auditor, func(*sts.AssumeRoleInput) {}, "AccessDenied", "User: arn:aws:iam::123456789012:user/alice is not authorized to perform: sts:AssumeRole on resource: " + auditor},
		{"no identity policy that allows it", "unknown", auditor, external, "AccessDenied", "because no identity-based policy allows the sts:AssumeRole action"},
		{"another account", "210987654321", auditor, external, "AccessDenied", "is not authorized"},
		{"the root user", "root", auditor, external, "AccessDenied", "Roles may not be assumed by root accounts."},
		{"no such role", "alice", "arn:aws:iam::123456789012:role/none", external, "AccessDenied", "is not authorized"},
		{"no ARN", "alice", "nothing-valid-in-here", external, "ValidationError", "nothing-valid-in-here is invalid"},
		{"too long for the role", "alice", auditor, lasting(3601), "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		{"too short", "alice", auditor, lasting(899), "ValidationError", "Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"},
		{"too long", "alice", auditor, lasting(43201), "ValidationError", "Member must have value less than or equal to 43200"},
		{"a session name with a colon", "alice", auditor, func(in *sts.AssumeRoleInput) { in.RoleSessionName = aws.String("Session1:2") }, "ValidationError",
			`Value 'Session1:2' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`},
		{"a long session name", "alice", auditor, func(in *sts.AssumeRoleInput) { in.RoleSessionName = aws.String(strings.Repeat("s", 65)) }, "ValidationError", "Member must have length less than or equal to 64"},
		{"a session policy", "alice", auditor, func(in *sts.AssumeRoleInput) { in.Policy = aws.String("{}") }, "NotImplemented", "the parameter Policy of AssumeRole"},
	} {
		_, err := assume(t, s, tc.accessKey, tc.role, tc.opt)
		require.Error(t, err, tc.name)
		requireCode(t, err, tc.code)
		require.ErrorContains(t, err, tc.message, tc.name)
	}
}

func TestSession_CredentialsAreChecked(t *testing.T) {
	t.Parallel()
	now := newClock()
	s := newServer(t, func(o *Options) { o.Now = now.now })
	out, err := sts.NewFromConfig(awsConfig(t, s, "alice")).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(900)})
	require.NoError(t, err)
	codes := func(c *ststypes.Credentials) (codes []string) {
		cfg := awsConfig(t, s, "", noRetries, with(c))
		_, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil)
		codes = append(codes, apiCode(err))
		_, err = kms.NewFromConfig(cfg).ListKeys(t.Context(), nil)
		codes = append(codes, apiCode(err))
		_, err = ec2.NewFromConfig(cfg).DescribeVolumes(t.Context(), nil)
		codes = append(codes, apiCode(err))
		_, err = s3.NewFromConfig(cfg).ListBuckets(t.Context(), nil)
		return append(codes, apiCode(err))
	}
	require.Equal(t, []string{"", "", "", ""}, codes(out.Credentials))
	who, err := sts.NewFromConfig(awsConfig(t, s, "", with(out.Credentials))).GetCallerIdentity(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, "arn:aws:iam::123456789012:user/alice", *who.Arn)

	changed := *out.Credentials
	changed.SessionToken = aws.String("x" + *changed.SessionToken)
	require.Equal(t, []string{"InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "InvalidToken"}, codes(&changed))
	changed.SessionToken = aws.String("")
	require.Equal(t, []string{"InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "InvalidToken"}, codes(&changed))
	unknown := *out.Credentials
	unknown.AccessKeyId = aws.String("ASIAAAAAAAAAAAAAAAAA")
	require.Equal(t, []string{"InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "InvalidAccessKeyId"}, codes(&unknown))
	longTerm := *out.Credentials
	longTerm.AccessKeyId = aws.String("alice")
	require.Equal(t, []string{"InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "InvalidToken"}, codes(&longTerm))

	now.advance(15 * time.Minute)
	require.Equal(t, []string{"ExpiredToken", "ExpiredTokenException", "RequestExpired", "ExpiredToken"}, codes(out.Credentials))
}

func TestAssumeRole_AcrossAccountsIsRecordedInBoth(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	const role = "arn:aws:iam::210987654321:role/visitor"
	require.NoError(t, s.SetRole(role, trusting("123456789012", "{}")))
	out, err := assume(t, s, "alice", role)
	require.NoError(t, err)
	var shared []string
	for account, kind := range map[string]string{"alice": "IAMUser", "210987654321": "AWSAccount"} {
		events := lookUp(t, cloudtrail.NewFromConfig(awsConfig(t, s, account)), trailtypes.LookupAttributeKeyResourceName, role)
		require.Len(t, events, 1, account)
		var record struct {
			UserIdentity                      struct{ Type, AccountID, ARN, UserName string }
			SharedEventID, RecipientAccountID string
			ResponseElements                  struct {
				AssumedRoleUser struct{ ARN string }
				Credentials     struct{ AccessKeyID, SecretAccessKey string }
			}
			Resources []trailResource
		}
		require.NoError(t, json.Unmarshal([]byte(*events[0].CloudTrailEvent), &record))
		require.Equal(t, kind, record.UserIdentity.Type)
		require.Equal(t, "123456789012", record.UserIdentity.AccountID)
		require.Equal(t, *out.Credentials.AccessKeyId, record.ResponseElements.Credentials.AccessKeyID)
		require.Empty(t, record.ResponseElements.Credentials.SecretAccessKey)
		require.Equal(t, []trailResource{{AccountID: "210987654321", Type: "AWS::IAM::Role", ARN: role}}, record.Resources)
		if kind == "AWSAccount" {
			require.Empty(t, record.UserIdentity.ARN)
			require.Equal(t, "210987654321", record.RecipientAccountID)
		}
		shared = append(shared, record.SharedEventID)
	}
	require.NotEmpty(t, shared[0])
	require.Equal(t, shared[0], shared[1])
}

func TestRoles_SurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newServer(t, func(o *Options) { o.Dir = dir })
	require.NoError(t, s.SetRole(auditor, trusting("123456789012", "{}")))
	out, err := assume(t, s, "alice", auditor)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	s = newServer(t, func(o *Options) { o.Dir = dir })
	who, err := sts.NewFromConfig(awsConfig(t, s, "", with(out.Credentials))).GetCallerIdentity(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, auditSession, *who.Arn)
	_, err = assume(t, s, "alice", auditor)
	require.NoError(t, err)
}

func TestAdmin_Roles(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	at := "/_localaws/roles?arn=" + url.QueryEscape(auditor)
	status, body := send(t, s, http.MethodPut, at, trusting("123456789012", "{}"), nil)
	require.Equal(t, 200, status, body)
	_, err := assume(t, s, "alice", auditor)
	require.NoError(t, err)
	for name, tc := range map[string]struct{ at, body, want string }{
		"no role's ARN":      {"/_localaws/roles?arn=auditor", trusting("123456789012", "{}"), "is not the ARN of a role"},
		"no trust policy":    {at, `"x"`, "Policies must be valid JSON"},
		"a resource":         {at, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}}`, "Has prohibited field Resource"},
		"an unknown key":     {at, trusting("123456789012", `{"StringEquals":{"sts:Nothing":"x"}}`), "sts:nothing"},
		"a foreign key":      {at, trusting("123456789012", `{"StringEquals":{"s3:prefix":"x"}}`), "s3:prefix"},
		"an invalid account": {at, trusting("12345", "{}"), "does not exist"},
	} {
		status, body := send(t, s, http.MethodPut, tc.at, tc.body, nil)
		require.Equal(t, 400, status, name)
		require.Contains(t, body, tc.want, name)
	}
	status, body = send(t, s, http.MethodDelete, at, "", nil)
	require.Equal(t, 200, status, body)
	_, err = assume(t, s, "alice", auditor)
	requireCode(t, err, "AccessDenied")
}
