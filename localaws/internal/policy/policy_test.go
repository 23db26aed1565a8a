package policy

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// newIdentities opens the identity policies of an empty database.
func newIdentities(t *testing.T) (*Identities, *bolt.DB) {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "db"), Bucket)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	i, err := OpenIdentities(db)
	require.NoError(t, err)
	return i, db
}

// statementFor is a policy of one statement that allows every principal everything,
// with elements changed or added.
func statementFor(elements string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"` + elements + `}}`
}

func TestParsePolicy_Refuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ document, says string }{
		"empty":                  {"", "must be valid JSON"},
		"not an object":          {`["a"]`, "must be valid JSON"},
		"cut off":                {`{"Version":"2012-10-17"`, "invalid Json"},
		"something after it":     {statementFor("") + `{}`, "invalid Json"},
		"unknown element":        {`{"Statment":[]}`, "unknown field Statment"},
		"unknown version":        {`{"Version":"2020-01-01","Statement":[]}`, "valid version"},
		"no statement":           {`{"Version":"2012-10-17"}`, "Missing required field Statement"},
		"empty statement list":   {`{"Statement":[]}`, "Missing required field Statement"},
		"null statement":         {`{"Statement":[null]}`, "statement is malformed"},
		"no effect":              {`{"Statement":{"Principal":"*","Action":"*","Resource":"*"}}`, "Effect"},
		"effect in lower case":   {`{"Statement":{"Effect":"allow","Principal":"*","Action":"*","Resource":"*"}}`, "Effect"},
		"no principal":           {`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, "no principal"},
		"principal a name":       {`{"Statement":{"Effect":"Allow","Principal":"alice","Action":"*","Resource":"*"}}`, "Invalid principal"},
		"principal kind":         {`{"Statement":{"Effect":"Allow","Principal":{"User":"a"},"Action":"*","Resource":"*"}}`, "Invalid principal"},
		"principal empty":        {`{"Statement":{"Effect":"Allow","Principal":{"AWS":[]},"Action":"*","Resource":"*"}}`, "Invalid principal"},
		"both principals":        {statementFor(`,"NotPrincipal":"*"`), "both Principal and NotPrincipal"},
		"no action":              {`{"Statement":{"Effect":"Allow","Principal":"*","Resource":"*"}}`, "Missing required field Action"},
		"action without service": {`{"Statement":{"Effect":"Allow","Principal":"*","Action":"GetObject","Resource":"*"}}`, "prefaced by a vendor"},
		"both actions":           {statementFor(`,"NotAction":"s3:*"`), "both Action and NotAction"},
		"no resource":            {`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*"}}`, "Missing required field Resource"},
		"resource no ARN":        {`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"bucket"}}`, "ARN format"},
		"element twice":          {statementFor(`,"Effect":"Deny"`), "duplicate field Effect"},
		"sid not a string":       {statementFor(`,"Sid":1`), "Sid"},
		"operator unknown":       {statementFor(`,"Condition":{"StringMatches":{"aws:username":"a"}}`), "Invalid Condition type : StringMatches"},
		"operator not supported": {statementFor(`,"Condition":{"BinaryEquals":{"aws:username":"YQ=="}}`), "Invalid Condition type : BinaryEquals"},
		"set operator unknown":   {statementFor(`,"Condition":{"ForSomeValues:StringEquals":{"aws:username":"a"}}`), "Invalid Condition type"},
		"NullIfExists":           {statementFor(`,"Condition":{"NullIfExists":{"aws:username":"true"}}`), "Invalid Condition type"},
		"condition key":          {statementFor(`,"Condition":{"Bool":{"securetransport":"true"}}`), "invalid condition key"},
		"condition key twice":    {statementFor(`,"Condition":{"Bool":{"aws:a":"true","aws:a":"false"}}`), "duplicate field"},
		"not a bool":             {statementFor(`,"Condition":{"Bool":{"aws:SecureTransport":"yes"}}`), "invalid value"},
		"not a number":           {statementFor(`,"Condition":{"NumericEquals":{"s3:max-keys":"ten"}}`), "invalid value"},
		"not a date":             {statementFor(`,"Condition":{"DateLessThan":{"aws:CurrentTime":"soon"}}`), "invalid value"},
		"not a network":          {statementFor(`,"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0"}}`), "invalid value"},
		"condition value null":   {statementFor(`,"Condition":{"StringEquals":{"aws:username":null}}`), "a string"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(tc.document)
			require.ErrorContains(t, err, tc.says)
		})
	}
}

func TestParsePolicy_ScalarOrList(t *testing.T) {
	t.Parallel()
	alice := wire.IdentityOf("alice")
	for _, document := range []string{
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + alice.ARN + `"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*","Condition":{"Bool":{"aws:SecureTransport":true}}}}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["` + alice.ARN + `"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::b/*"],"Condition":{"Bool":{"aws:SecureTransport":["true"]}}}]}`,
	} {
		p, err := Parse(document)
		require.NoError(t, err)
		a := Access{Who: alice, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Context: map[string]string{"aws:securetransport": "true"}}
		require.Equal(t, Allowed, p.Decide(a))
		a.Context["aws:securetransport"] = "false"
		require.Equal(t, NoMatch, p.Decide(a))
	}
}

func TestPolicy_Principals(t *testing.T) {
	t.Parallel()
	alice, stranger := wire.IdentityOf("alice"), wire.IdentityOf("999999999999")
	for name, tc := range map[string]struct {
		element                    string
		alice, stranger, anonymous Decision
	}{
		"every principal":     {`"Principal":"*"`, Allowed, Allowed, Allowed},
		"every AWS":           {`"Principal":{"AWS":"*"}`, Allowed, Allowed, Allowed},
		"by name":             {`"Principal":{"AWS":"` + alice.ARN + `"}`, Allowed, NoMatch, NoMatch},
		"account root":        {`"Principal":{"AWS":"arn:aws:iam::123456789012:root"}`, Delegated, NoMatch, NoMatch},
		"account ID":          {`"Principal":{"AWS":"999999999999"}`, NoMatch, Delegated, NoMatch},
		"root and name":       {`"Principal":{"AWS":["arn:aws:iam::123456789012:root","` + alice.ARN + `"]}`, Allowed, NoMatch, NoMatch},
		"service":             {`"Principal":{"Service":"ec2.amazonaws.com"}`, NoMatch, NoMatch, NoMatch},
		"all but one":         {`"NotPrincipal":{"AWS":"` + alice.ARN + `"}`, NoMatch, Allowed, Allowed},
		"all but one account": {`"NotPrincipal":{"AWS":"123456789012"}`, NoMatch, Allowed, Allowed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := Parse(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*",` + tc.element + `}}`)
			require.NoError(t, err)
			require.Equal(t, tc.alice, p.Decide(Access{Who: alice, Action: "kms:Decrypt", Resource: "arn:x"}), "alice")
			require.Equal(t, tc.stranger, p.Decide(Access{Who: stranger, Action: "kms:Decrypt", Resource: "arn:x"}), "stranger")
			require.Equal(t, tc.anonymous, p.Decide(Access{Action: "kms:Decrypt", Resource: "arn:x"}), "anonymous")
		})
	}
}

func TestPolicy_ActionsAndResources(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		action, resource string // of the statement
		want             Decision
	}{
		"exact":                   {`"Action":"kms:ReEncryptTo"`, `"Resource":"arn:aws:kms:us-east-1:1:key/abc"`, Allowed},
		"case of the action":      {`"Action":"KMS:reencryptTO"`, `"Resource":"*"`, Allowed},
		"case of the resource":    {`"Action":"*"`, `"Resource":"arn:aws:kms:us-east-1:1:key/ABC"`, NoMatch},
		"star":                    {`"Action":"kms:ReEncrypt*"`, `"Resource":"arn:*:key/*"`, Allowed},
		"question mark":           {`"Action":"kms:ReEncryptT?"`, `"Resource":"arn:aws:kms:us-east-1:1:key/a?c"`, Allowed},
		"question mark is one":    {`"Action":"kms:ReEncryptTo?"`, `"Resource":"*"`, NoMatch},
		"another service":         {`"Action":"s3:*"`, `"Resource":"*"`, NoMatch},
		"all actions but":         {`"NotAction":"kms:ReEncrypt*"`, `"Resource":"*"`, NoMatch},
		"all actions but another": {`"NotAction":"s3:*"`, `"Resource":"*"`, Allowed},
		"all resources but":       {`"Action":"*"`, `"NotResource":"arn:aws:kms:*"`, NoMatch},
		"stars that backtrack":    {`"Action":"*"`, `"Resource":"arn:*:*:*:*k*e*y*c"`, Allowed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := Parse(`{"Statement":{"Effect":"Allow","Principal":"*",` + tc.action + `,` + tc.resource + `}}`)
			require.NoError(t, err)
			require.Equal(t, tc.want, p.Decide(Access{Action: "kms:ReEncryptTo", Resource: "arn:aws:kms:us-east-1:1:key/abc"}))
		})
	}
}

func TestPolicy_DenyWins(t *testing.T) {
	t.Parallel()
	p, err := Parse(`{"Statement":[
		{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}},
		{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}]}`)
	require.NoError(t, err)
	require.Equal(t, Denied, p.Decide(Access{Action: "s3:GetObject", Context: map[string]string{"aws:securetransport": "false"}}))
	require.Equal(t, Allowed, p.Decide(Access{Action: "s3:GetObject", Context: map[string]string{"aws:securetransport": "true"}}))
}

func TestPolicy_Conditions(t *testing.T) {
	t.Parallel()
	const absent = "\x00"
	for _, tc := range []struct {
		operator, value string // value is JSON
		request         string
		holds           bool
	}{
		{"StringEquals", `"a"`, "a", true},
		{"StringEquals", `"a"`, "A", false},
		{"StringEquals", `["b","a"]`, "a", true},
		{"StringEquals", `"a*"`, "ab", false},
		{"StringEquals", `"a"`, absent, false},
		{"StringEqualsIfExists", `"a"`, absent, true},
		{"StringEqualsIfExists", `"a"`, "b", false},
		{"StringNotEquals", `"a"`, "b", true},
		{"StringNotEquals", `["a","b"]`, "b", false},
		{"StringNotEquals", `"a"`, absent, true},
		{"StringNotEqualsIfExists", `"a"`, absent, true},
		{"StringNotEqualsIfExists", `"a"`, "a", false},
		{"StringEqualsIgnoreCase", `"aB"`, "Ab", true},
		{"StringNotEqualsIgnoreCase", `"aB"`, "Ab", false},
		{"StringLike", `"a?c*"`, "abcdef", true},
		{"StringLike", `"a?c"`, "abbc", false},
		{"StringNotLike", `"a*"`, "abc", false},
		{"StringNotLike", `"a*"`, absent, true},
		{"Bool", `"true"`, "true", true},
		{"Bool", `true`, "True", true},
		{"Bool", `"true"`, "false", false},
		{"Bool", `"false"`, absent, false},
		{"BoolIfExists", `"false"`, absent, true},
		{"Null", `"true"`, absent, true},
		{"Null", `"true"`, "", false},
		{"Null", `false`, "x", true},
		{"Null", `false`, absent, false},
		{"ArnEquals", `"arn:aws:s3:::b"`, "arn:aws:s3:::b", true},
		{"ArnLike", `"arn:aws:iam::*:user/*"`, "arn:aws:iam::123456789012:user/alice", true},
		{"ArnLike", `"arn:*:role/x"`, "arn:aws:iam::1:role/x", false}, // * stays in its component
		{"ArnLike", `"arn:aws:iam::1:*"`, "arn:aws:iam::1:role/a:b", true},
		{"ArnLike", `"*"`, "arn:aws:iam::1:role/x", true},
		{"ArnNotEquals", `"arn:aws:s3:::b"`, "arn:aws:s3:::c", true},
		{"ArnNotLike", `"arn:aws:s3:::*"`, "arn:aws:s3:::c", false},
		{"ArnNotLikeIfExists", `"arn:aws:s3:::*"`, absent, true},
		{"NumericEquals", `10`, "10.0", true},
		{"NumericNotEquals", `"10"`, "11", true},
		{"NumericLessThan", `"10"`, "9", true},
		{"NumericLessThan", `"10"`, "10", false},
		{"NumericLessThanEquals", `"10"`, "10", true},
		{"NumericGreaterThan", `"10"`, "10", false},
		{"NumericGreaterThanEquals", `"10"`, "10", true},
		{"NumericGreaterThan", `"10"`, "ten", false},
		{"DateEquals", `"2026-01-02T03:04:05Z"`, "2026-01-02T03:04:05Z", true},
		{"DateNotEquals", `"2026-01-02T03:04:05Z"`, "2026-01-02T03:04:05Z", false},
		{"DateLessThan", `"2026-01-02"`, "2026-01-01T23:59:59Z", true},
		{"DateLessThanEquals", `"1767225600"`, "2026-01-01T00:00:00Z", true},
		{"DateGreaterThan", `"2026-01-02T03:04:05+01:00"`, "2026-01-02T02:04:05Z", false},
		{"DateGreaterThanEquals", `"2026-01-02T03:04:05+01:00"`, "2026-01-02T02:04:05Z", true},
		{"IpAddress", `"10.0.0.0/8"`, "10.1.2.3", true},
		{"IpAddress", `["192.0.2.1","::1"]`, "::1", true},
		{"IpAddress", `"10.0.0.0/8"`, "11.0.0.1", false},
		{"IpAddress", `"10.0.0.0/8"`, absent, false},
		{"NotIpAddress", `"10.0.0.0/8"`, "11.0.0.1", true},
		{"ForAnyValue:StringEquals", `"a"`, "a", true},
		{"ForAnyValue:StringEquals", `"a"`, absent, false},
		{"ForAllValues:StringEquals", `"a"`, absent, true},
		{"StringEquals", `"${aws:username}"`, "alice", true},
		{"StringEquals", `"${aws:username}"`, "bob", false},
		{"StringEquals", `"${aws:nothing}"`, "", false},
		{"StringEquals", `"${aws:nothing, 'fallback'}"`, "fallback", true},
		{"StringLike", `"${*}-*"`, "*-x", true},
		{"StringLike", `"${*}-*"`, "y-x", false},
	} {
		t.Run(strings.ReplaceAll(fmt.Sprintf("%s %s %q", tc.operator, tc.value, tc.request), "/", "|"), func(t *testing.T) {
			t.Parallel()
			p, err := Parse(statementFor(`,"Condition":{"` + tc.operator + `":{"Test:KEY":` + tc.value + `}}`))
			require.NoError(t, err)
			a := Access{Who: wire.IdentityOf("alice"), Action: "s3:GetObject", Resource: "arn:aws:s3:::b", Context: map[string]string{}}
			if tc.request != absent {
				a.Context["test:key"] = tc.request
			}
			require.Equal(t, tc.holds, p.Decide(a) == Allowed)
		})
	}
}

func TestPolicy_ConditionsOnLists(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		operator string
		request  []string
		holds    bool
	}{
		{"ForAllValues:StringEquals", []string{"a", "b"}, true},
		{"ForAllValues:StringEquals", []string{"a", "c"}, false},
		{"ForAllValues:StringEquals", nil, true},
		{"ForAnyValue:StringEquals", []string{"c", "a"}, true},
		{"ForAnyValue:StringEquals", []string{"c"}, false},
		{"ForAnyValue:StringEquals", nil, false},
		{"ForAllValues:StringNotEquals", []string{"c", "d"}, true},
		{"ForAllValues:StringNotEquals", []string{"c", "a"}, false},
		{"ForAnyValue:StringNotEquals", []string{"c", "a"}, true},
		{"ForAnyValue:StringNotEquals", nil, false},
	} {
		t.Run(fmt.Sprint(tc.operator, tc.request), func(t *testing.T) {
			t.Parallel()
			p, err := Parse(statementFor(`,"Condition":{"` + tc.operator + `":{"aws:TagKeys":["a","b"]}}`))
			require.NoError(t, err)
			a := Access{Action: "kms:TagResource", Resource: "*", Lists: map[string][]string{"aws:tagkeys": tc.request}}
			require.Equal(t, tc.holds, p.Decide(a) == Allowed)
		})
	}
}

func TestPolicy_VariablesOnlyInVersion2012(t *testing.T) {
	t.Parallel()
	a := Access{Who: wire.IdentityOf("alice"), Action: "s3:GetObject", Resource: "arn:aws:s3:::b/home/alice/x"}
	for version, want := range map[string]Decision{"2012-10-17": Allowed, "2008-10-17": NoMatch} {
		p, err := Parse(`{"Version":"` + version + `","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3:::b/home/${aws:username}/*"}}`)
		require.NoError(t, err)
		require.Equal(t, want, p.Decide(a), version)
	}
	// What replaces a variable is no pattern.
	p, err := Parse(statementFor(`,"Condition":{"StringLike":{"test:a":"${test:b}"}}`))
	require.NoError(t, err)
	require.Equal(t, NoMatch, p.Decide(Access{Action: "s3:GetObject", Resource: "arn:x", Context: map[string]string{"test:a": "anything", "test:b": "*"}}))
}

func TestMatch_IsNotExponential(t *testing.T) {
	t.Parallel()
	pattern := Pattern(strings.Repeat("*a", 500) + "b")
	done := make(chan bool, 1)
	go func() { done <- Match(pattern, strings.Repeat("a", 2000)) }()
	select {
	case got := <-done:
		require.False(t, got)
	case <-time.After(time.Minute):
		t.Fatal("matching did not end")
	}
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	const own, other = "123456789012", "999999999999"
	const (
		all     = `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
		nothing = `{"Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}`
		deny    = `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}`
	)
	toAlice := `{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/alice"},"Action":"*","Resource":"*"}}`
	toAccount := `{"Statement":{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"*","Resource":"*"}}`
	denyAll := `{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}`
	for name, tc := range map[string]struct {
		identity, resource, account string
		reason                      string // empty: Allowed
	}{
		"own account, no policies":                {"", "", own, ""},
		"own account, identity allows":            {all, "", own, ""},
		"own account, identity is silent":         {nothing, "", own, "because no identity-based policy allows the s3:GetObject action"},
		"own account, identity denies":            {deny, toAlice, own, "with an explicit deny in an identity-based policy"},
		"own account, resource allows by name":    {nothing, toAlice, own, ""},
		"own account, resource delegates":         {nothing, toAccount, own, "because no identity-based policy allows the s3:GetObject action"},
		"own account, resource denies":            {all, denyAll, own, "with an explicit deny in a resource-based policy"},
		"other account, no resource policy":       {all, "", other, "because no resource-based policy allows the s3:GetObject action"},
		"other account, resource allows by name":  {all, toAlice, other, ""},
		"other account, resource delegates":       {all, toAccount, other, ""},
		"other account, only the resource allows": {nothing, toAlice, other, "because no identity-based policy allows the s3:GetObject action"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, _ := newIdentities(t)
			alice := wire.IdentityOf("alice")
			require.NoError(t, i.Set(alice.ARN, tc.identity))
			var p *Policy
			if tc.resource != "" {
				var err error
				p, err = Parse(tc.resource)
				require.NoError(t, err)
			}
			reason, ok := i.Authorize(Access{Who: alice, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k"}, p, tc.account)
			require.Equal(t, tc.reason, reason)
			require.Equal(t, tc.reason == "", ok)
		})
	}
	t.Run("anonymous", func(t *testing.T) {
		t.Parallel()
		i, _ := newIdentities(t)
		_, ok := i.Authorize(Access{Action: "s3:GetObject"}, nil, own)
		require.False(t, ok)
		p, err := Parse(statementFor(""))
		require.NoError(t, err)
		_, ok = i.Authorize(Access{Action: "s3:GetObject"}, p, own)
		require.True(t, ok)
	})
}

func TestSetIdentityPolicy(t *testing.T) {
	t.Parallel()
	i, db := newIdentities(t)
	alice := wire.IdentityOf("alice")
	ask := Access{Who: alice, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k"}

	require.ErrorContains(t, i.Set("alice", `{}`), "not the ARN of a user or role")
	require.ErrorContains(t, i.Set(alice.ARN, statementFor("")), "should not specify a principal")
	require.Equal(t, Allowed, i.Decide(ask), "a refused policy changes nothing")

	require.NoError(t, i.Set(alice.ARN, `{"Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`))
	require.Equal(t, NoMatch, i.Decide(ask))

	// It is still there after a restart.
	i, err := OpenIdentities(db)
	require.NoError(t, err)
	require.Equal(t, NoMatch, i.Decide(ask))

	require.NoError(t, i.Set(alice.ARN, ""))
	require.Equal(t, Allowed, i.Decide(ask))
}

func TestUnknownPrincipal(t *testing.T) {
	t.Parallel()
	i, _ := newIdentities(t)
	const linked = "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
	for principal, known := range map[string]bool{
		`"*"`:                    true,
		`{"AWS":"123456789012"}`: true,
		`{"AWS":"arn:aws:iam::111122223333:root"}`:                          true,
		`{"AWS":"arn:aws:iam::123456789012:user/alice"}`:                    true,
		`{"AWS":"arn:aws:iam::123456789012:role/team/deploy"}`:              true,
		`{"AWS":"arn:aws:sts::123456789012:assumed-role/deploy/me"}`:        true,
		`{"Service":"logs.us-east-1.amazonaws.com"}`:                        true,
		`{"Service":"unknown"}`:                                             false,
		`{"AWS":"alice"}`:                                                   false,
		`{"AWS":"12345"}`:                                                   false,
		`{"AWS":"AIDAEXAMPLE"}`:                                             false,
		`{"AWS":"arn:aws:iam::123456789012:user/*"}`:                        false,
		`{"AWS":"arn:aws:iam::123456789012:group/admins"}`:                  false,
		`{"AWS":["arn:aws:iam::123456789012:user/alice","` + linked + `"]}`: false,
	} {
		p, err := Parse(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Principal":` + principal + `}}`)
		require.NoError(t, err, principal)
		require.Equal(t, known, i.Unknown(p) == "", principal)
	}
	p, err := Parse(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Principal":{"AWS":"` + linked + `"}}}`)
	require.NoError(t, err)
	require.Equal(t, linked, i.Unknown(p))
	require.NoError(t, i.Set(linked, `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`))
	require.Empty(t, i.Unknown(p), "a service-linked role with a policy exists")
}

func FuzzPolicy(f *testing.F) {
	f.Add(statementFor(""), "s3:GetObject", "arn:aws:s3:::b/k", "v")
	f.Add(`{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}}`, "kms:Decrypt", "arn:aws:kms:us-east-1:123456789012:key/x", "")
	for name := range operators {
		f.Add(statementFor(`,"Condition":{"`+name+`":{"test:key":["1","true","2026-01-01","10.0.0.0/8","${aws:username, 'x'}"]}}`), "kms:Decrypt", "*", "1")
	}
	f.Add(`{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":["a"]},"NotAction":["a:*?"],"NotResource":"arn:${a","Condition":{"ForAllValues:ArnLike":{"a:b":"a:b:c:*:e:f"}}}}`, "a:b", "arn:x", "a:b:c:d:e:f")
	f.Fuzz(func(t *testing.T, document, action, resource, value string) {
		p, err := Parse(document)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		a := Access{Who: wire.IdentityOf("alice"), Action: action, Resource: resource, Context: map[string]string{"test:key": value}}
		d := p.Decide(a)
		require.Contains(t, []Decision{NoMatch, Allowed, Delegated, Denied}, d)
		require.Equal(t, d, p.Decide(a), "the same question has the same answer")
		// A statement that denies everything wins over whatever was there.
		p = &Policy{Statements: append(append([]Statement{}, p.Statements...), Statement{
			Deny: true, Principals: []Principal{{"AWS", "*"}}, Actions: []string{"*"}, Resources: []string{"*"},
		})}
		require.Equal(t, Denied, p.Decide(a))
	})
}

func TestPolicy_IsPublic(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, statement string
		public          bool
	}{
		{"every principal", `"Effect":"Allow","Principal":"*"`, true},
		{"every principal, as a list", `"Effect":"Allow","Principal":{"AWS":["123456789012","*"]}`, true},
		{"all but one", `"Effect":"Allow","NotPrincipal":{"AWS":"123456789012"}`, true},
		{"an account", `"Effect":"Allow","Principal":{"AWS":"123456789012"}`, false},
		{"a deny", `"Effect":"Deny","Principal":"*"`, false},
		{"an account by condition", `"Effect":"Allow","Principal":"*","Condition":{"StringEquals":{"aws:PrincipalAccount":"123456789012"}}`, false},
		{"a wildcard in the condition", `"Effect":"Allow","Principal":"*","Condition":{"StringLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/x"}}`, true},
		{"a condition that excludes", `"Effect":"Allow","Principal":"*","Condition":{"StringNotEquals":{"aws:PrincipalAccount":"123456789012"}}`, true},
		{"a condition only where the key is there", `"Effect":"Allow","Principal":"*","Condition":{"StringEqualsIfExists":{"aws:PrincipalAccount":"123456789012"}}`, true},
		{"a network", `"Effect":"Allow","Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`, false},
		{"half of all networks", `"Effect":"Allow","Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":"0.0.0.0/1"}}`, true},
		{"another condition", `"Effect":"Allow","Principal":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}`, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p, err := Parse(`{"Version":"2012-10-17","Statement":{` + row.statement + `,"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}}`)
			require.NoError(t, err)
			require.Equal(t, row.public, p.IsPublic())
		})
	}
}
