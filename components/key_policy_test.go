package components

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func fullPolicy(partition string) keyPolicy {
	arn := func(s string) string { return "arn:" + partition + ":iam::" + s }
	return keyPolicy{
		administrators:   []string{arn("111122223333:role/b"), arn("111122223333:role/a"), arn("111122223333:role/b")},
		serviceUsers:     []string{arn("111122223333:role/app")},
		directUsers:      []string{arn("111122223333:role/direct")},
		accounts:         []string{"444455556666"},
		services:         []string{"cloudtrail.amazonaws.com"},
		allowAutoScaling: true,
		statements: []policyStatement{{
			sid: "Break", effect: "Deny", principals: []string{arn("111122223333:role/b")}, services: []string{"x.amazonaws.com"},
			actions:    []string{"kms:ReEncrypt*", "kms:Decrypt"},
			conditions: conditions{"StringEquals": {"kms:CallerAccount": {"2", "1"}}, "Bool": {"aws:MultiFactorAuthPresent": {"false"}}},
		}},
	}
}

// TestKeyPolicy_Documents pins the bytes: a policy that is written another way
// is a change in every user's preview.
func TestKeyPolicy_Documents(t *testing.T) {
	t.Parallel()
	for partition, region := range map[string]string{"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1", "aws-eusc": "eusc-de-east-1", "aws-iso-b": "us-isob-east-1"} {
		t.Run(partition, func(t *testing.T) {
			t.Parallel()
			key, err := parseKeyARN("k", "arn:"+partition+":kms:"+region+":111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
			require.NoError(t, err)
			document, err := fullPolicy(partition).document(key)
			require.NoError(t, err)
			requireGolden(t, "key-policy-"+partition+".golden.json", indented(t, document))
			if partition != "aws" {
				require.NotContains(t, document, "arn:aws:", "an ARN of another partition")
			}
		})
	}
}

func TestKeyPolicy_SameArgumentsGiveSameBytes(t *testing.T) {
	t.Parallel()
	key, err := parseKeyARN("k", ownKey)
	require.NoError(t, err)
	p := keyPolicy{
		administrators: []string{"arn:aws:iam::111122223333:role/a", "arn:aws:iam::111122223333:role/b", "arn:aws:iam::111122223333:role/c"},
		serviceUsers:   []string{"arn:aws:iam::111122223333:role/d", "arn:aws:iam::111122223333:role/e"},
		accounts:       []string{"444455556666", "777788889999"},
		services:       []string{"a.amazonaws.com", "b.amazonaws.com"},
	}
	want, err := p.document(key)
	require.NoError(t, err)
	for range 50 {
		q := keyPolicy{shuffled(p.administrators), shuffled(p.serviceUsers), nil, shuffled(p.accounts), shuffled(p.services), false, nil}
		got, err := q.document(key)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// shuffled is list in another order, with some elements twice.
func shuffled(list []string) []string {
	out := append(slices.Clone(list), list[rand.IntN(len(list))])
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func TestKeyPolicy_OnePrincipalIsAScalar(t *testing.T) {
	t.Parallel()
	key, err := parseKeyARN("k", ownKey)
	require.NoError(t, err)
	document, err := keyPolicy{administrators: []string{adminRole, adminRole}}.document(key)
	require.NoError(t, err)
	require.Contains(t, document, `"Principal":{"AWS":"`+adminRole+`"}`)
	require.Contains(t, document, `"Resource":"*"`)
}

// TestKeyPolicy_KeepsTheAccountInCommand: whatever is asked for, the account
// can still change the policy, by our own check of policies.
func TestKeyPolicy_KeepsTheAccountInCommand(t *testing.T) {
	t.Parallel()
	key, err := parseKeyARN("k", ownKey)
	require.NoError(t, err)
	for _, p := range []keyPolicy{{}, fullPolicy("aws")} {
		document, err := p.document(key)
		require.NoError(t, err)
		require.NoError(t, validateKeyPolicy("Policy", document, "111122223333"))
	}
}

func TestKeyPolicy_SizeLimit(t *testing.T) {
	t.Parallel()
	key, err := parseKeyARN("k", ownKey)
	require.NoError(t, err)
	base, err := keyPolicy{administrators: []string{adminRole}}.document(key)
	require.NoError(t, err)
	fits := adminRole + strings.Repeat("x", maxKeyPolicy-len(base))
	document, err := keyPolicy{administrators: []string{fits}}.document(key)
	require.NoError(t, err)
	require.Len(t, document, maxKeyPolicy)
	_, err = keyPolicy{administrators: []string{fits + "x"}}.document(key)
	require.ErrorContains(t, err, "the key policy has 32769 bytes, and KMS takes 32768")
}

func TestValidateKeyPolicy(t *testing.T) {
	t.Parallel()
	const lockedOut = "would lock the account out"
	for _, c := range []struct{ name, statements, account, want string }{
		{"the account root", `[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*"}]`, "111122223333", ""},
		{"the account ID", `[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*"}]`, "111122223333", ""},
		{"the account ID, not known yet", `[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*"}]`, "", ""},
		{"a role of the account", `[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:role/x"]},"Action":["kms:Get*","kms:PutKeyPolicy"]}]`, "111122223333", ""},
		{"one statement without a list", `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"*"}`, "111122223333", ""},
		{"another account", `[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"kms:*"}]`, "111122223333", lockedOut},
		{"the ID of another account", `[{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"kms:*"}]`, "111122223333", lockedOut},
		{"a service", `[{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"kms:*"}]`, "111122223333", lockedOut},
		{"use only", `[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:Decrypt"}]`, "111122223333", lockedOut},
		{"under a condition", `[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Condition":{"Bool":{"x":"true"}}}]`, "111122223333", lockedOut},
		{"denied to all again", `[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*"},{"Effect":"Deny","Principal":"*","Action":"kms:Put*"}]`, "111122223333", lockedOut},
		{"denied to the root again", `[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*"},{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"*"}]`, "", lockedOut},
		{"denied to one role", `[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*"},{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::111122223333:role/x"},"Action":"*"}]`, "111122223333", ""},
		{"denied under a condition", `[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*"},{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"Bool":{"x":"true"}}}]`, "111122223333", ""},
		{"denied to another account", `[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*"},{"Effect":"Deny","Principal":{"AWS":"444455556666"},"Action":"*"}]`, "111122223333", ""},
		{"no statements", `[]`, "", lockedOut},
		{"statements of another shape", `"x"`, "", "no list of statements"},
		{"null", `null`, "", lockedOut},
		{"odd principals", `[{"Effect":"Allow","Principal":{"AWS":[1,null]},"Action":"kms:*"},{"Effect":"Allow","Principal":[],"Action":"kms:*"}]`, "", lockedOut},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := validateKeyPolicy("Policy", `{"Statement":`+c.statements+`}`, c.account)
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "Policy: ")
				require.ErrorContains(t, err, c.want)
			}
		})
	}
	for name, document := range map[string]string{"empty": "", "not JSON": "{", "a list": "[]", "no Statement": "{}"} {
		require.Error(t, validateKeyPolicy("Policy", document, ""), name)
	}
	require.ErrorContains(t, validateKeyPolicy("Policy",
		`{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*"}}`+strings.Repeat(" ", maxKeyPolicy), ""),
		"and KMS takes 32768")
}

func indented(t *testing.T, document string) string {
	t.Helper()
	b, err := json.MarshalIndent(json.RawMessage(document), "", "  ")
	require.NoError(t, err)
	return string(b) + "\n"
}
