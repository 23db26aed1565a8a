package localaws

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	awskms "github.com/securethecloud/kms-baseline/localaws/internal/kms"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"
)

const day = 24 * time.Hour

// inRegion is for a client of another Region than us-east-1.
func inRegion(region string) func(*config.LoadOptions) error { return config.WithRegion(region) }

func kmsClient(t testing.TB, s *Server, accessKey string, opts ...func(*config.LoadOptions) error) *kms.Client {
	t.Helper()
	return kms.NewFromConfig(awsConfig(t, s, accessKey, append(opts, noRetries)...))
}

// made is a new key's metadata.
func made(t testing.TB, c *kms.Client, change ...func(*kms.CreateKeyInput)) *types.KeyMetadata {
	t.Helper()
	in := &kms.CreateKeyInput{}
	for _, f := range change {
		f(in)
	}
	out, err := c.CreateKey(t.Context(), in)
	require.NoError(t, err)
	return out.KeyMetadata
}

func described(t testing.TB, c *kms.Client, id string) *types.KeyMetadata {
	t.Helper()
	out, err := c.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &id})
	require.NoError(t, err)
	return out.KeyMetadata
}

func encrypted(t testing.TB, c *kms.Client, id, plaintext string, context map[string]string) []byte {
	t.Helper()
	out, err := c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &id, Plaintext: []byte(plaintext), EncryptionContext: context})
	require.NoError(t, err)
	return out.CiphertextBlob
}

func requireDecrypts(t testing.TB, c *kms.Client, blob []byte, context map[string]string, plaintext string) {
	t.Helper()
	out, err := c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: context})
	require.NoError(t, err)
	require.Equal(t, plaintext, string(out.Plaintext))
}

// raw sends a call that no SDK would, and returns its error's code and
// message, if it has any.
func raw(s *Server, accessKey, operation, body string) (status int, code, message string) {
	h := httptest.NewRequest(http.MethodPost, "http://localhost/", strings.NewReader(body))
	h.Header.Set("X-Amz-Target", "TrentService."+operation)
	h.Header.Set("Authorization", signature(accessKey, "us-east-1", "kms"))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, h)
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	_ = json.Unmarshal(w.Body.Bytes(), &e) // an answer without a body has no error
	return w.Code, e.Type, e.Message
}

func TestKMS_KeyIsFoundByEachOfItsNames(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newServer(t, func(o *Options) { o.Now = clock.now })
	c := kmsClient(t, s, "alice")
	k := made(t, c, func(in *kms.CreateKeyInput) { in.Description = aws.String("one") })
	_, err := c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/team/one"), TargetKeyId: k.KeyId})
	require.NoError(t, err)
	for _, id := range []string{*k.KeyId, *k.Arn, "alias/team/one", "arn:aws:kms:us-east-1:123456789012:alias/team/one"} {
		d := described(t, c, id)
		require.Equal(t, k, d, id)
	}
	require.Equal(t, "arn:aws:kms:us-east-1:123456789012:key/"+*k.KeyId, *k.Arn)
	require.Equal(t, "123456789012", *k.AWSAccountId)
	require.True(t, k.CreationDate.Equal(clock.now()))
	require.True(t, k.Enabled)
	require.Equal(t, "one", *k.Description)
	require.Equal(t, types.KeyStateEnabled, k.KeyState)
	require.Equal(t, types.KeyManagerTypeCustomer, k.KeyManager)
	require.Equal(t, types.KeySpecSymmetricDefault, k.KeySpec)
	require.Equal(t, types.KeyUsageTypeEncryptDecrypt, k.KeyUsage)
	require.Equal(t, types.OriginTypeAwsKms, k.Origin)
	require.False(t, *k.MultiRegion)

	_, err = c.UpdateKeyDescription(t.Context(), &kms.UpdateKeyDescriptionInput{KeyId: k.KeyId, Description: aws.String("two")})
	require.NoError(t, err)
	require.Equal(t, "two", *described(t, c, *k.KeyId).Description)

	// Another account, or Region, does not have it.
	_, err = kmsClient(t, s, "999999999999").DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: k.KeyId})
	requireCode(t, err, "NotFoundException")
	_, err = kmsClient(t, s, "alice", inRegion("eu-west-1")).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: k.Arn})
	requireCode(t, err, "NotFoundException")
	require.ErrorContains(t, err, "Invalid arn us-east-1")
}

func TestKMS_Refuses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	key, other := *made(t, c).KeyId, *made(t, c).KeyId
	_, err := c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/taken"), TargetKeyId: &key})
	require.NoError(t, err)
	const missing = "11111111-2222-3333-4444-555555555555"
	of := func(format string) string { return strings.ReplaceAll(format, "KEY", key) }
	for name, tc := range map[string]struct{ operation, body, code, message string }{
		"no key id":                {"DescribeKey", `{}`, "ValidationException", "Value null at 'keyId' failed to satisfy constraint: Member must not be null"},
		"not JSON":                 {"DescribeKey", `{`, "SerializationException", ""},
		"wrong type":               {"DescribeKey", `{"KeyId":1}`, "SerializationException", ""},
		"bad base64":               {"Decrypt", `{"CiphertextBlob":"***"}`, "SerializationException", ""},
		"unknown key":              {"DescribeKey", `{"KeyId":"` + missing + `"}`, "NotFoundException", "Key 'arn:aws:kms:us-east-1:123456789012:key/" + missing + "' does not exist"},
		"no key id at all":         {"DescribeKey", `{"KeyId":"hello"}`, "NotFoundException", "Invalid keyId 'hello'"},
		"unknown alias":            {"DescribeKey", `{"KeyId":"alias/none"}`, "NotFoundException", "Alias arn:aws:kms:us-east-1:123456789012:alias/none is not found."},
		"unknown AWS alias":        {"DescribeKey", `{"KeyId":"alias/aws/none"}`, "NotFoundException", "alias/aws/none is not found."},
		"broken ARN":               {"DescribeKey", `{"KeyId":"arn:aws:s3:::bucket"}`, "InvalidArnException", "Invalid arn"},
		"ARN of another Region":    {"DescribeKey", `{"KeyId":"arn:aws:kms:eu-west-1:123456789012:key/` + missing + `"}`, "NotFoundException", "Invalid arn eu-west-1"},
		"alias where no alias may": {"GetKeyPolicy", `{"KeyId":"alias/taken"}`, "NotFoundException", "Invalid keyId"},
		"unknown operation":        {"GetPublicKey", `{}`, "NotImplemented", "does not implement GetPublicKey"},

		"asymmetric key":       {"CreateKey", `{"KeySpec":"RSA_2048"}`, "UnsupportedOperationException", "symmetric"},
		"unknown key spec":     {"CreateKey", `{"KeySpec":"ROT_13"}`, "ValidationException", "satisfy enum value set"},
		"two key specs":        {"CreateKey", `{"KeySpec":"SYMMETRIC_DEFAULT","CustomerMasterKeySpec":"RSA_2048"}`, "ValidationException", ""},
		"usage does not fit":   {"CreateKey", `{"KeyUsage":"SIGN_VERIFY"}`, "ValidationException", "incompatible"},
		"imported material":    {"CreateKey", `{"Origin":"EXTERNAL"}`, "UnsupportedOperationException", "origin"},
		"custom key store":     {"CreateKey", `{"CustomKeyStoreId":"cks-1"}`, "UnsupportedOperationException", "custom key stores"},
		"long description":     {"CreateKey", `{"Description":"` + strings.Repeat("x", 8193) + `"}`, "ValidationException", "8192"},
		"reserved tag":         {"CreateKey", `{"Tags":[{"TagKey":"aws:x","TagValue":""}]}`, "TagException", "reserved"},
		"tag twice":            {"CreateKey", `{"Tags":[{"TagKey":"x"},{"TagKey":"x"}]}`, "TagException", "Duplicate"},
		"tag without a key":    {"CreateKey", `{"Tags":[{"TagValue":"x"}]}`, "ValidationException", "tagKey"},
		"policy is not JSON":   {"CreateKey", `{"Policy":"allow all"}`, "MalformedPolicyDocumentException", ""},
		"window too short":     {"ScheduleKeyDeletion", of(`{"KeyId":"KEY","PendingWindowInDays":6}`), "ValidationException", "between 7 and 30"},
		"window too long":      {"ScheduleKeyDeletion", of(`{"KeyId":"KEY","PendingWindowInDays":31}`), "ValidationException", "between 7 and 30"},
		"not pending deletion": {"CancelKeyDeletion", of(`{"KeyId":"KEY"}`), "KMSInvalidStateException", "is not pending deletion."},
		"period too short":     {"EnableKeyRotation", of(`{"KeyId":"KEY","RotationPeriodInDays":89}`), "ValidationException", "between 90 and 2560"},
		"period too long":      {"EnableKeyRotation", of(`{"KeyId":"KEY","RotationPeriodInDays":2561}`), "ValidationException", "between 90 and 2560"},
		"no such policy":       {"GetKeyPolicy", of(`{"KeyId":"KEY","PolicyName":"mine"}`), "NotFoundException", "No such policy exists"},
		"put no policy":        {"PutKeyPolicy", of(`{"KeyId":"KEY"}`), "ValidationException", "policy"},
		"tag nothing":          {"TagResource", of(`{"KeyId":"KEY"}`), "ValidationException", "tags"},

		"alias without prefix":  {"CreateAlias", of(`{"AliasName":"mine","TargetKeyId":"KEY"}`), "ValidationException", `Alias must start with the prefix "alias/"`},
		"alias of AWS":          {"CreateAlias", of(`{"AliasName":"alias/aws/mine","TargetKeyId":"KEY"}`), "NotAuthorizedException", "alias/aws/"},
		"alias with a colon":    {"CreateAlias", of(`{"AliasName":"alias/a:b","TargetKeyId":"KEY"}`), "ValidationException", "alias/a:b contains invalid characters for an alias"},
		"alias with a space":    {"CreateAlias", of(`{"AliasName":"alias/a b","TargetKeyId":"KEY"}`), "ValidationException", "regular expression"},
		"alias exists":          {"CreateAlias", `{"AliasName":"alias/taken","TargetKeyId":"` + other + `"}`, "AlreadyExistsException", "An alias with the name arn:aws:kms:us-east-1:123456789012:alias/taken already exists"},
		"alias of nothing":      {"CreateAlias", `{"AliasName":"alias/new","TargetKeyId":"` + missing + `"}`, "NotFoundException", "does not exist"},
		"alias of an alias":     {"CreateAlias", `{"AliasName":"alias/new","TargetKeyId":"alias/taken"}`, "NotFoundException", "Invalid keyId"},
		"update no alias":       {"UpdateAlias", of(`{"AliasName":"alias/none","TargetKeyId":"KEY"}`), "NotFoundException", "is not found."},
		"delete no alias":       {"DeleteAlias", `{"AliasName":"alias/none"}`, "NotFoundException", "is not found."},
		"limit too high":        {"ListAliases", `{"Limit":101}`, "ValidationException", "limit"},
		"limit zero":            {"ListKeys", `{"Limit":0}`, "ValidationException", "limit"},
		"marker made up":        {"ListKeys", `{"Marker":"!"}`, "InvalidMarkerException", "marker"},
		"nothing to encrypt":    {"Encrypt", of(`{"KeyId":"KEY","Plaintext":""}`), "ValidationException", "plaintext"},
		"too much to encrypt":   {"Encrypt", of(`{"KeyId":"KEY","Plaintext":"` + strings.Repeat("AAAA", 1366) + `"}`), "ValidationException", "4096"},
		"asymmetric algorithm":  {"Encrypt", of(`{"KeyId":"KEY","Plaintext":"AAAA","EncryptionAlgorithm":"RSAES_OAEP_SHA_256"}`), "InvalidKeyUsageException", ""},
		"unknown algorithm":     {"Encrypt", of(`{"KeyId":"KEY","Plaintext":"AAAA","EncryptionAlgorithm":"ROT13"}`), "ValidationException", ""},
		"huge context":          {"Encrypt", of(`{"KeyId":"KEY","Plaintext":"AAAA","EncryptionContext":{"a":"` + strings.Repeat("x", 9000) + `"}}`), "ValidationException", "encryption context"},
		"ciphertext made up":    {"Decrypt", `{"CiphertextBlob":"AAAA"}`, "InvalidCiphertextException", ""},
		"no ciphertext":         {"Decrypt", `{}`, "ValidationException", "ciphertextBlob"},
		"enclave":               {"Decrypt", `{"CiphertextBlob":"AAAA","Recipient":{"AttestationDocument":"AAAA"}}`, "UnsupportedOperationException", "Recipient"},
		"no size":               {"GenerateDataKey", of(`{"KeyId":"KEY"}`), "ValidationException", "Please specify either number of bytes or key spec."},
		"two sizes":             {"GenerateDataKey", of(`{"KeyId":"KEY","KeySpec":"AES_256","NumberOfBytes":32}`), "ValidationException", "Please specify"},
		"unknown data key spec": {"GenerateDataKey", of(`{"KeyId":"KEY","KeySpec":"AES_512"}`), "ValidationException", "AES_256"},
		"too many bytes":        {"GenerateDataKey", of(`{"KeyId":"KEY","NumberOfBytes":1025}`), "ValidationException", "1024"},
		"dry run":               {"GenerateDataKey", of(`{"KeyId":"KEY","NumberOfBytes":32,"DryRun":true}`), "DryRunOperationException", "would have succeeded"},
		"random without a size": {"GenerateRandom", `{}`, "ValidationException", "NumberOfBytes is required."},
		"grant of nothing":      {"CreateGrant", of(`{"KeyId":"KEY","GranteePrincipal":"arn:aws:iam::123456789012:user/bob"}`), "ValidationException", "operations"},
		"grant of a wish":       {"CreateGrant", of(`{"KeyId":"KEY","GranteePrincipal":"arn:aws:iam::123456789012:user/bob","Operations":["Fly"]}`), "ValidationException", "enum"},
		"malformed grantee":     {"CreateGrant", of(`{"KeyId":"KEY","GranteePrincipal":"bob","Operations":["Decrypt"]}`), "InvalidArnException", "bob"},
		"revoke no grant":       {"RevokeGrant", of(`{"KeyId":"KEY","GrantId":"x"}`), "NotFoundException", "Grant"},
		"retire no token":       {"RetireGrant", `{"GrantToken":"x"}`, "InvalidGrantTokenException", ""},
		"replica of a replica":  {"ReplicateKey", of(`{"KeyId":"KEY","ReplicaRegion":"eu-west-1"}`), "UnsupportedOperationException", "not a multi-Region primary key"},
		"replica nowhere":       {"ReplicateKey", of(`{"KeyId":"KEY","ReplicaRegion":"moon"}`), "ValidationException", "replicaRegion"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, code, message := raw(s, "alice", tc.operation, tc.body)
			require.Equal(t, tc.code, code, message)
			require.Contains(t, message, tc.message)
			if code == "NotImplemented" {
				require.Equal(t, http.StatusNotImplemented, status)
			} else {
				require.Equal(t, http.StatusBadRequest, status)
			}
		})
	}
}

// What each operation does to a key in each state, from AWS's table.
func TestKMS_KeyStates(t *testing.T) {
	t.Parallel()
	const ok, disabled, invalid = "", "DisabledException", "KMSInvalidStateException"
	const policyBody = `"Policy":"{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"kms:*\",\"Resource\":\"*\"}}"`
	for _, tc := range []struct{ operation, more, whenEnabled, whenDisabled, whenDying string }{
		{"DescribeKey", "", ok, ok, ok},
		{"GetKeyPolicy", "", ok, ok, ok},
		{"ListKeyPolicies", "", ok, ok, ok},
		{"PutKeyPolicy", policyBody, ok, ok, ok},
		{"ListResourceTags", "", ok, ok, ok},
		{"ListAliases", "", ok, ok, ok},
		{"GetKeyRotationStatus", "", ok, ok, ok},
		{"ListKeyRotations", "", ok, ok, ok},
		{"ListGrants", "", ok, ok, ok},
		{"UpdateKeyDescription", `"Description":"x"`, ok, ok, invalid},
		{"TagResource", `"Tags":[]`, ok, ok, invalid},
		{"UntagResource", `"TagKeys":[]`, ok, ok, invalid},
		{"EnableKey", "", ok, ok, invalid},
		{"DisableKey", "", ok, ok, invalid},
		{"ScheduleKeyDeletion", "", ok, ok, invalid},
		{"CancelKeyDeletion", "", invalid, invalid, ok},
		{"EnableKeyRotation", "", ok, disabled, invalid},
		{"DisableKeyRotation", "", ok, disabled, invalid},
		{"RotateKeyOnDemand", "", ok, disabled, invalid},
		{"Encrypt", `"Plaintext":"AAAA"`, ok, disabled, invalid},
		{"GenerateDataKey", `"KeySpec":"AES_256"`, ok, disabled, invalid},
		{"GenerateDataKeyWithoutPlaintext", `"KeySpec":"AES_128"`, ok, disabled, invalid},
		{"CreateGrant", `"GranteePrincipal":"arn:aws:iam::123456789012:user/bob","Operations":["Decrypt"]`, ok, disabled, invalid},
	} {
		t.Run(tc.operation, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			c := kmsClient(t, s, "alice")
			for state, want := range map[string]string{"Enabled": tc.whenEnabled, "Disabled": tc.whenDisabled, "PendingDeletion": tc.whenDying} {
				k := made(t, c)
				blob := encrypted(t, c, *k.KeyId, "secret", nil)
				var err error
				switch state {
				case "Disabled":
					_, err = c.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: k.KeyId})
				case "PendingDeletion":
					_, err = c.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId})
				}
				require.NoError(t, err)
				body := `{"KeyId":"` + *k.KeyId + `"`
				if tc.more != "" {
					body += "," + tc.more
				}
				_, code, message := raw(s, "alice", tc.operation, body+"}")
				require.Equal(t, want, code, "%s: %s", state, message)
				if want != "" {
					require.Contains(t, message, *k.Arn)
				}
				if tc.operation == "Encrypt" { // and what it decrypts
					_, err := c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob})
					if want == "" {
						require.NoError(t, err)
					} else {
						requireCode(t, err, want)
					}
				}
			}
		})
	}
}

func TestKMS_DeletionByTheClock(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newServer(t, func(o *Options) { o.Now = clock.now })
	c := kmsClient(t, s, "alice")
	k, kept := made(t, c), made(t, c)
	_, err := c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/a"), TargetKeyId: k.KeyId})
	require.NoError(t, err)
	blob := encrypted(t, c, *k.KeyId, "secret", nil)

	out, err := c.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: aws.Int32(7)})
	require.NoError(t, err)
	require.Equal(t, *k.Arn, *out.KeyId)
	require.Equal(t, types.KeyStatePendingDeletion, out.KeyState)
	require.Equal(t, int32(7), *out.PendingWindowInDays)
	require.True(t, out.DeletionDate.Equal(clock.now().Add(7*day)))
	d := described(t, c, "alias/a")
	require.False(t, d.Enabled)
	require.Equal(t, out.DeletionDate, d.DeletionDate)

	// Saved at the last moment, it is disabled, and whole.
	clock.advance(7*day - time.Second)
	_, err = c.CancelKeyDeletion(t.Context(), &kms.CancelKeyDeletionInput{KeyId: k.KeyId})
	require.NoError(t, err)
	d = described(t, c, *k.KeyId)
	require.Equal(t, types.KeyStateDisabled, d.KeyState)
	require.Nil(t, d.DeletionDate)
	_, err = c.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: k.KeyId})
	require.NoError(t, err)
	requireDecrypts(t, c, blob, nil, "secret")

	// Not saved, it is gone, with its alias and its ciphertext.
	_, err = c.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: aws.Int32(7)})
	require.NoError(t, err)
	clock.advance(7 * day)
	for _, id := range []string{*k.KeyId, "alias/a"} {
		_, err = c.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &id})
		requireCode(t, err, "NotFoundException")
	}
	_, err = c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob})
	requireCode(t, err, "AccessDeniedException") // AWS does not say that there was one
	keys, err := c.ListKeys(t.Context(), &kms.ListKeysInput{})
	require.NoError(t, err)
	require.Len(t, keys.Keys, 1)
	require.Equal(t, *kept.KeyId, *keys.Keys[0].KeyId)
	_, err = c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/a"), TargetKeyId: kept.KeyId})
	require.NoError(t, err, "the alias is free again")
}

func TestKMS_Aliases(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	one, two := made(t, c), made(t, c)
	for name, k := range map[string]*types.KeyMetadata{"alias/a": one, "alias/b": one, "alias/c": two} {
		_, err := c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &name, TargetKeyId: k.Arn})
		require.NoError(t, err)
	}
	of := func(k *types.KeyMetadata) (names []string) {
		out, err := c.ListAliases(t.Context(), &kms.ListAliasesInput{KeyId: k.KeyId})
		require.NoError(t, err)
		for _, a := range out.Aliases {
			require.Equal(t, *k.KeyId, *a.TargetKeyId)
			require.Equal(t, "arn:aws:kms:us-east-1:123456789012:"+*a.AliasName, *a.AliasArn)
			names = append(names, *a.AliasName)
		}
		return names
	}
	require.Equal(t, []string{"alias/a", "alias/b"}, of(one))
	_, err := c.UpdateAlias(t.Context(), &kms.UpdateAliasInput{AliasName: aws.String("alias/b"), TargetKeyId: two.KeyId})
	require.NoError(t, err)
	require.Equal(t, []string{"alias/a"}, of(one))
	require.Equal(t, []string{"alias/b", "alias/c"}, of(two))
	_, err = c.DeleteAlias(t.Context(), &kms.DeleteAliasInput{AliasName: aws.String("alias/b")})
	require.NoError(t, err)
	require.Equal(t, []string{"alias/c"}, of(two))

	// An alias cannot be made for a key that is to be deleted.
	_, err = c.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: two.KeyId})
	require.NoError(t, err)
	_, err = c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/d"), TargetKeyId: two.KeyId})
	requireCode(t, err, "KMSInvalidStateException")
	_, err = c.DeleteAlias(t.Context(), &kms.DeleteAliasInput{AliasName: aws.String("alias/c")})
	require.NoError(t, err)

	for i := range 50 - 1 {
		_, err := c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String(fmt.Sprintf("alias/n%d", i)), TargetKeyId: one.KeyId})
		require.NoError(t, err)
	}
	_, err = c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/one-too-many"), TargetKeyId: one.KeyId})
	requireCode(t, err, "LimitExceededException")
}

func TestKMS_Paging(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	var want []string
	for range 7 {
		want = append(want, *made(t, c).KeyId)
	}
	slices.Sort(want)
	for _, limit := range []int32{1, 3, 7, 100} {
		var got []string
		p := kms.NewListKeysPaginator(c, &kms.ListKeysInput{}, func(o *kms.ListKeysPaginatorOptions) { o.Limit = limit })
		for p.HasMorePages() {
			out, err := p.NextPage(t.Context())
			require.NoError(t, err)
			require.LessOrEqual(t, len(out.Keys), int(limit))
			for _, k := range out.Keys {
				got = append(got, *k.KeyId)
			}
		}
		require.Equal(t, want, got, "limit %d", limit)
	}

	// A page begins after the last one, though its last key is gone.
	for i := range 3 {
		_, err := c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String(fmt.Sprintf("alias/%d", i)), TargetKeyId: &want[0]})
		require.NoError(t, err)
	}
	first, err := c.ListAliases(t.Context(), &kms.ListAliasesInput{KeyId: &want[0], Limit: aws.Int32(2)})
	require.NoError(t, err)
	require.True(t, first.Truncated)
	_, err = c.DeleteAlias(t.Context(), &kms.DeleteAliasInput{AliasName: aws.String("alias/1")})
	require.NoError(t, err)
	second, err := c.ListAliases(t.Context(), &kms.ListAliasesInput{KeyId: &want[0], Limit: aws.Int32(2), Marker: first.NextMarker})
	require.NoError(t, err)
	require.Len(t, second.Aliases, 1)
	require.Equal(t, "alias/2", *second.Aliases[0].AliasName)
	require.False(t, second.Truncated)
	require.Nil(t, second.NextMarker)

	names, err := c.ListKeyPolicies(t.Context(), &kms.ListKeyPoliciesInput{KeyId: &want[0]})
	require.NoError(t, err)
	require.Equal(t, []string{"default"}, names.PolicyNames)
}

func TestKMS_Tags(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	tag := func(k, v string) types.Tag { return types.Tag{TagKey: &k, TagValue: &v} }
	k := made(t, c, func(in *kms.CreateKeyInput) { in.Tags = []types.Tag{tag("b", "1"), tag("a", "")} })
	tags := func() []types.Tag {
		out, err := c.ListResourceTags(t.Context(), &kms.ListResourceTagsInput{KeyId: k.KeyId})
		require.NoError(t, err)
		return out.Tags
	}
	require.Equal(t, []types.Tag{tag("a", ""), tag("b", "1")}, tags())
	_, err := c.TagResource(t.Context(), &kms.TagResourceInput{KeyId: k.KeyId, Tags: []types.Tag{tag("b", "2"), tag("c", "3")}})
	require.NoError(t, err)
	_, err = c.UntagResource(t.Context(), &kms.UntagResourceInput{KeyId: k.KeyId, TagKeys: []string{"a", "none"}})
	require.NoError(t, err)
	require.Equal(t, []types.Tag{tag("b", "2"), tag("c", "3")}, tags())

	var many []types.Tag
	for i := range 50 - 1 {
		many = append(many, tag(fmt.Sprintf("t%d", i), ""))
	}
	_, err = c.TagResource(t.Context(), &kms.TagResourceInput{KeyId: k.KeyId, Tags: many})
	requireCode(t, err, "LimitExceededException")
	require.Len(t, tags(), 2, "a call that fails changes nothing")
}

func TestKMS_Rotation(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newServer(t, func(o *Options) { o.Now = clock.now })
	c := kmsClient(t, s, "alice")
	k := made(t, c)
	status := func() *kms.GetKeyRotationStatusOutput {
		out, err := c.GetKeyRotationStatus(t.Context(), &kms.GetKeyRotationStatusInput{KeyId: k.KeyId})
		require.NoError(t, err)
		return out
	}
	rotations := func() []types.RotationsListEntry {
		out, err := c.ListKeyRotations(t.Context(), &kms.ListKeyRotationsInput{KeyId: k.KeyId})
		require.NoError(t, err)
		return out.Rotations
	}
	require.False(t, status().KeyRotationEnabled)
	require.Nil(t, status().RotationPeriodInDays)
	require.Nil(t, status().NextRotationDate)
	require.Empty(t, rotations())
	blobs := [][]byte{encrypted(t, c, *k.KeyId, "secret", nil)}

	_, err := c.EnableKeyRotation(t.Context(), &kms.EnableKeyRotationInput{KeyId: k.KeyId})
	require.NoError(t, err)
	require.Equal(t, int32(365), *status().RotationPeriodInDays)
	_, err = c.EnableKeyRotation(t.Context(), &kms.EnableKeyRotationInput{KeyId: k.KeyId, RotationPeriodInDays: aws.Int32(90)})
	require.NoError(t, err)
	start := clock.now()
	require.True(t, status().KeyRotationEnabled)
	require.Equal(t, int32(90), *status().RotationPeriodInDays)
	require.True(t, status().NextRotationDate.Equal(start.Add(90*day)))

	clock.advance(90*day - time.Second)
	require.Empty(t, rotations())
	clock.advance(time.Second)
	blobs = append(blobs, encrypted(t, c, *k.KeyId, "secret", nil))
	require.Len(t, rotations(), 1)
	require.Equal(t, types.RotationTypeAutomatic, rotations()[0].RotationType)
	require.True(t, rotations()[0].RotationDate.Equal(start.Add(90*day)))
	require.True(t, status().NextRotationDate.Equal(start.Add(180*day)))
	require.NotEqual(t, *k.CurrentKeyMaterialId, *described(t, c, *k.KeyId).CurrentKeyMaterialId)

	// Two that came due unnoticed are both made up for, on their dates.
	clock.advance(200 * day)
	require.Len(t, rotations(), 3)
	require.True(t, rotations()[2].RotationDate.Equal(start.Add(270*day)))

	// On demand, the plan stays as it is.
	next := status().NextRotationDate
	_, err = c.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: k.KeyId})
	require.NoError(t, err)
	blobs = append(blobs, encrypted(t, c, *k.KeyId, "secret", nil))
	require.Len(t, rotations(), 4)
	require.Equal(t, types.RotationTypeOnDemand, rotations()[3].RotationType)
	require.Equal(t, next, status().NextRotationDate)

	// A disabled key waits, and rotates once when it is enabled again.
	_, err = c.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: k.KeyId})
	require.NoError(t, err)
	require.True(t, status().KeyRotationEnabled)
	clock.advance(1000 * day)
	require.Len(t, rotations(), 4)
	_, err = c.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: k.KeyId})
	require.NoError(t, err)
	require.Len(t, rotations(), 5)
	require.True(t, status().NextRotationDate.Equal(clock.now().Add(90*day)))

	// A key that is pending deletion does not rotate, and remembers that it did.
	_, err = c.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId})
	require.NoError(t, err)
	require.False(t, status().KeyRotationEnabled)
	_, err = c.CancelKeyDeletion(t.Context(), &kms.CancelKeyDeletionInput{KeyId: k.KeyId})
	require.NoError(t, err)
	require.True(t, status().KeyRotationEnabled)
	_, err = c.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: k.KeyId})
	require.NoError(t, err)

	_, err = c.DisableKeyRotation(t.Context(), &kms.DisableKeyRotationInput{KeyId: k.KeyId})
	require.NoError(t, err)
	require.False(t, status().KeyRotationEnabled)
	clock.advance(1000 * day)
	require.Len(t, rotations(), 5)

	for _, blob := range blobs {
		requireDecrypts(t, c, blob, nil, "secret")
	}
	all, err := c.ListKeyRotations(t.Context(), &kms.ListKeyRotationsInput{KeyId: k.KeyId, IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial})
	require.NoError(t, err)
	require.Len(t, all.Rotations, 6)
	require.Equal(t, types.KeyMaterialStateNonCurrent, all.Rotations[0].KeyMaterialState)
	require.Equal(t, types.KeyMaterialStateCurrent, all.Rotations[5].KeyMaterialState)
}

func TestKMS_RotationsOnDemandAreLimited(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	k := made(t, c)
	for range 25 {
		_, err := c.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: k.KeyId})
		require.NoError(t, err)
	}
	_, err := c.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: k.KeyId})
	requireCode(t, err, "LimitExceededException")
}

func TestKMS_ManagedKeys(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	aliases, err := c.ListAliases(t.Context(), &kms.ListAliasesInput{})
	require.NoError(t, err)
	require.Len(t, aliases.Aliases, 2)
	require.Equal(t, "alias/aws/ebs", *aliases.Aliases[0].AliasName)
	require.Nil(t, aliases.Aliases[0].TargetKeyId, "no key before its first use")

	k := described(t, c, "alias/aws/s3")
	require.Equal(t, types.KeyManagerTypeAws, k.KeyManager)
	require.Equal(t, *k.Arn, *described(t, c, "arn:aws:kms:us-east-1:123456789012:alias/aws/s3").Arn)
	require.NotEqual(t, *k.Arn, *described(t, c, "alias/aws/ebs").Arn)
	require.NotEqual(t, *k.Arn, *described(t, kmsClient(t, s, "999999999999"), "alias/aws/s3").Arn)
	_, err = kmsClient(t, s, "999999999999").DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: aws.String("arn:aws:kms:us-east-1:123456789012:alias/aws/ebs")})
	requireCode(t, err, "AccessDeniedException")
	rotation, err := c.GetKeyRotationStatus(t.Context(), &kms.GetKeyRotationStatusInput{KeyId: k.KeyId})
	require.NoError(t, err)
	require.True(t, rotation.KeyRotationEnabled)

	// Users look, and do not touch.
	for operation, more := range map[string]string{
		"ScheduleKeyDeletion": "", "DisableKey": "", "DisableKeyRotation": "", "PutKeyPolicy": `,"Policy":"{}"`,
		"TagResource": `,"Tags":[]`, "Encrypt": `,"Plaintext":"AAAA"`, "GenerateDataKey": `,"KeySpec":"AES_256"`,
	} {
		_, code, message := raw(s, "alice", operation, `{"KeyId":"`+*k.KeyId+`"`+more+`}`)
		require.Equal(t, "AccessDeniedException", code, operation)
		require.Contains(t, message, "because no resource-based policy allows the kms:"+operation+" action")
	}
	_, code, _ := raw(s, "alice", "DeleteAlias", `{"AliasName":"alias/aws/s3"}`)
	require.Equal(t, "NotAuthorizedException", code)

	// The service that it is for uses it for them; another does not.
	use := useBy(s, "alice", "s3", map[string]string{"aws:s3:arn": "arn:aws:s3:::b/k"})
	dk, e := s.kms.GenerateDataKey(use, "alias/aws/s3")
	require.Nil(t, e)
	require.Equal(t, *k.Arn, dk.KeyARN)
	plain, e := s.kms.DecryptDataKey(use, dk.Ciphertext)
	require.Nil(t, e)
	require.Equal(t, dk.Plaintext, plain)
	_, e = s.kms.GenerateDataKey(use, "alias/aws/ebs")
	require.Equal(t, "AccessDeniedException", e.Code)
}

// useBy is a use of a key by a user through a service.
func useBy(s *Server, user, via string, context map[string]string) awskms.Use {
	h := httptest.NewRequest(http.MethodPut, "/b/k", nil)
	r := &wire.Request{W: &wire.Writer{}, HTTP: h, ID: wire.NewUUID(), Service: via, Region: "us-east-1", Who: wire.IdentityOf(user), Signed: true, Now: s.opts.Now()}
	return awskms.Use{Request: r, Region: "us-east-1", Via: via, Context: context}
}

func TestKMS_Grants(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	alice, bob := kmsClient(t, s, "alice"), kmsClient(t, s, "bob")
	bobARN := "arn:aws:iam::123456789012:user/bob"
	require.NoError(t, s.SetIdentityPolicy(bobARN, `{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`))
	k := made(t, alice)
	right, wrong := map[string]string{"dept": "it", "x": "y"}, map[string]string{"dept": "hr"}
	blob := encrypted(t, alice, *k.KeyId, "secret", right)
	decryptAs := func(context map[string]string) error {
		_, err := bob.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: context})
		return err
	}
	requireCode(t, decryptAs(right), "AccessDeniedException")

	in := &kms.CreateGrantInput{
		KeyId: k.KeyId, GranteePrincipal: &bobARN, Operations: []types.GrantOperation{types.GrantOperationDecrypt}, Name: aws.String("to bob"),
		Constraints: &types.GrantConstraints{EncryptionContextSubset: map[string]string{"dept": "it"}},
	}
	first, err := alice.CreateGrant(t.Context(), in)
	require.NoError(t, err)
	again, err := alice.CreateGrant(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, *first.GrantId, *again.GrantId)
	require.NoError(t, decryptAs(right))
	requireCode(t, decryptAs(wrong), "AccessDeniedException")
	_, err = bob.Encrypt(t.Context(), &kms.EncryptInput{KeyId: k.Arn, Plaintext: []byte("x"), EncryptionContext: right})
	requireCode(t, err, "AccessDeniedException")

	list, err := alice.ListGrants(t.Context(), &kms.ListGrantsInput{KeyId: k.KeyId})
	require.NoError(t, err)
	require.Len(t, list.Grants, 1)
	g := list.Grants[0]
	require.Equal(t, "to bob", *g.Name)
	require.Equal(t, bobARN, *g.GranteePrincipal)
	require.Equal(t, *k.Arn, *g.KeyId)
	require.NotNil(t, g.CreationDate)
	require.Equal(t, map[string]string{"dept": "it"}, g.Constraints.EncryptionContextSubset)

	_, err = alice.RevokeGrant(t.Context(), &kms.RevokeGrantInput{KeyId: k.KeyId, GrantId: first.GrantId})
	require.NoError(t, err)
	requireCode(t, decryptAs(right), "AccessDeniedException")

	// A grant can be retired by whom it says, and by no other principal.
	in.RetiringPrincipal = &bobARN
	second, err := alice.CreateGrant(t.Context(), in)
	require.NoError(t, err)
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::123456789012:user/carol", `{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`))
	_, err = kmsClient(t, s, "carol").RetireGrant(t.Context(), &kms.RetireGrantInput{GrantToken: second.GrantToken})
	requireCode(t, err, "AccessDeniedException")
	_, err = bob.RetireGrant(t.Context(), &kms.RetireGrantInput{GrantToken: second.GrantToken})
	require.NoError(t, err)
	list, err = alice.ListGrants(t.Context(), &kms.ListGrantsInput{KeyId: k.KeyId})
	require.NoError(t, err)
	require.Empty(t, list.Grants)
}

func TestKMS_MultiRegionKeys(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newServer(t, func(o *Options) { o.Now = clock.now })
	east, west := kmsClient(t, s, "alice"), kmsClient(t, s, "alice", inRegion("us-west-2"))
	k := made(t, east, func(in *kms.CreateKeyInput) { in.MultiRegion = aws.Bool(true) })
	require.True(t, strings.HasPrefix(*k.KeyId, "mrk-"))
	require.Equal(t, types.MultiRegionKeyTypePrimary, k.MultiRegionConfiguration.MultiRegionKeyType)
	old := encrypted(t, east, *k.KeyId, "secret", nil)

	out, err := east.ReplicateKey(t.Context(), &kms.ReplicateKeyInput{KeyId: k.KeyId, ReplicaRegion: aws.String("us-west-2"), Description: aws.String("copy")})
	require.NoError(t, err)
	require.Equal(t, "arn:aws:kms:us-west-2:123456789012:key/"+*k.KeyId, *out.ReplicaKeyMetadata.Arn)
	require.NotEmpty(t, *out.ReplicaPolicy)
	_, err = east.ReplicateKey(t.Context(), &kms.ReplicateKeyInput{KeyId: k.KeyId, ReplicaRegion: aws.String("us-west-2")})
	requireCode(t, err, "AlreadyExistsException")
	replica := described(t, west, *k.KeyId)
	require.Equal(t, "copy", *replica.Description)
	for _, m := range []*types.KeyMetadata{replica, described(t, east, *k.KeyId)} {
		require.Equal(t, *k.Arn, *m.MultiRegionConfiguration.PrimaryKey.Arn)
		require.Len(t, m.MultiRegionConfiguration.ReplicaKeys, 1)
		require.Equal(t, "us-west-2", *m.MultiRegionConfiguration.ReplicaKeys[0].Region)
	}

	// They open each other's ciphertext, also after a rotation.
	requireDecrypts(t, west, old, nil, "secret")
	_, err = west.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: k.KeyId})
	requireCode(t, err, "UnsupportedOperationException")
	_, err = east.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: k.KeyId})
	require.NoError(t, err)
	requireDecrypts(t, east, encrypted(t, west, *k.KeyId, "newer", nil), nil, "newer")
	requireDecrypts(t, west, encrypted(t, east, *k.KeyId, "newest", nil), nil, "newest")
	requireDecrypts(t, west, old, nil, "secret")

	_, err = east.UpdatePrimaryRegion(t.Context(), &kms.UpdatePrimaryRegionInput{KeyId: k.KeyId, PrimaryRegion: aws.String("us-west-2")})
	require.NoError(t, err)
	require.Equal(t, types.MultiRegionKeyTypeReplica, described(t, east, *k.KeyId).MultiRegionConfiguration.MultiRegionKeyType)
	require.Equal(t, types.MultiRegionKeyTypePrimary, described(t, west, *k.KeyId).MultiRegionConfiguration.MultiRegionKeyType)

	// A primary waits for its replicas before it dies.
	gone, err := west.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: aws.Int32(10)})
	require.NoError(t, err)
	require.Equal(t, types.KeyStatePendingReplicaDeletion, gone.KeyState)
	require.Nil(t, gone.DeletionDate)
	clock.advance(20 * day)
	require.Equal(t, types.KeyStatePendingReplicaDeletion, described(t, west, *k.KeyId).KeyState)
	_, err = east.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: aws.Int32(7)})
	require.NoError(t, err)
	clock.advance(7 * day)
	d := described(t, west, *k.KeyId)
	require.Equal(t, types.KeyStatePendingDeletion, d.KeyState)
	require.True(t, d.DeletionDate.Equal(clock.now().Add(10*day)))
	clock.advance(10 * day)
	_, err = west.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: k.KeyId})
	requireCode(t, err, "NotFoundException")
}

func TestKMS_SurvivesARestart(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newServer(t, func(o *Options) { o.Now = clock.now })
	c := kmsClient(t, s, "alice")
	k, deleted := made(t, c), made(t, c)
	_, err := c.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/a"), TargetKeyId: k.KeyId})
	require.NoError(t, err)
	_, err = c.EnableKeyRotation(t.Context(), &kms.EnableKeyRotationInput{KeyId: k.KeyId, RotationPeriodInDays: aws.Int32(100)})
	require.NoError(t, err)
	_, err = c.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: deleted.KeyId, PendingWindowInDays: aws.Int32(7)})
	require.NoError(t, err)
	blob := encrypted(t, c, *k.KeyId, "secret", nil)
	before := described(t, c, *k.KeyId)
	require.NoError(t, s.Close())

	clock.advance(8 * day)
	s, err = Open(s.opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	require.NoError(t, s.Start("127.0.0.1:0"))
	c = kmsClient(t, s, "alice")
	require.Equal(t, before, described(t, c, "alias/a"))
	requireDecrypts(t, c, blob, nil, "secret")
	_, err = c.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: deleted.KeyId})
	requireCode(t, err, "NotFoundException")
	clock.advance(100 * day)
	rotations, err := c.ListKeyRotations(t.Context(), &kms.ListKeyRotationsInput{KeyId: k.KeyId})
	require.NoError(t, err)
	require.Len(t, rotations.Rotations, 1, "the rotation that was planned before the restart")
}

func TestOpenKMS_Refuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		damage func(path string) error
		says   string
	}{
		"master key missing": {os.Remove, "is missing"},
		"master key short":   {func(p string) error { return os.WriteFile(p, []byte("short"), 0o600) }, "is damaged"},
		"another master key": {func(p string) error { return os.WriteFile(p, make([]byte, 32), 0o600) }, "does not belong to this state"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			made(t, kmsClient(t, s, "alice"))
			require.NoError(t, s.Close())
			path := filepath.Join(s.opts.Dir, "kms-master.key")
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			require.NoError(t, tc.damage(path))
			_, err = Open(s.opts)
			require.ErrorContains(t, err, tc.says)
		})
	}
}

func TestKMS_Concurrently(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	k := made(t, c)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				use := useBy(s, "alice", "s3", map[string]string{"a": "b"})
				dk, e := s.kms.GenerateDataKey(use, *k.Arn)
				if !errorIsNil(t, e) {
					return
				}
				plain, e := s.kms.DecryptDataKey(use, dk.Ciphertext)
				if !errorIsNil(t, e) {
					return
				}
				if string(plain) != string(dk.Plaintext) {
					t.Error("another key came back")
				}
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			if _, err := c.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: k.KeyId}); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	// Managed keys are made once, by the first call that needs them.
	arns := make([]string, 8)
	for i := range arns {
		wg.Go(func() { arns[i], _, _ = s.kms.ResolveKey(nil, "123456789012", "us-east-1", "alias/aws/ebs") })
	}
	wg.Wait()
	require.NotEmpty(t, arns[0])
	require.Len(t, slices.Compact(arns), 1)
}

func errorIsNil(t *testing.T, e *wire.Error) bool {
	t.Helper()
	if e != nil {
		t.Error(e)
	}
	return e == nil
}

func BenchmarkGenerateDataKey(b *testing.B) {
	s := newServer(b)
	k := made(b, kmsClient(b, s, "alice"))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			use := useBy(s, "alice", "s3", map[string]string{"aws:s3:arn": "arn:aws:s3:::bucket/key"})
			if _, e := s.kms.GenerateDataKey(use, *k.Arn); e != nil {
				b.Error(e)
			}
		}
	})
}
