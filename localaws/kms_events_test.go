package localaws

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/stretchr/testify/require"
)

// kmsEvent is the newest event of an operation, as alice finds it.
func kmsEvent(t *testing.T, s *Server, operation string) (whole string, e trailEntry) {
	t.Helper()
	events := lookUp(t, cloudtrail.NewFromConfig(awsConfig(t, s, "alice")), trailtypes.LookupAttributeKeyEventName, operation)
	require.NotEmpty(t, events, "no event of %s", operation)
	whole = *events[0].CloudTrailEvent
	require.NoError(t, json.Unmarshal([]byte(whole), &e))
	return whole, e
}

func TestKMS_Events(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	c := kmsClient(t, s, "alice")
	k, other := made(t, c), made(t, c)
	_, code, message := raw(s, "alice", "CreateAlias", `{"AliasName":"alias/there","TargetKeyId":"`+*k.KeyId+`"}`)
	require.Empty(t, code, message)
	// Plaintext and ciphertext that would be recognized in an event.
	const plain = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
	blob := base64.StdEncoding.EncodeToString(encrypted(t, c, *k.KeyId, "secret-secret-secret", map[string]string{"Dept": "it"}))
	fill := strings.NewReplacer("KEY", *k.KeyId, "ARN", *k.Arn, "OTHER", *other.Arn, "PLAIN", plain, "BLOB", blob)

	for _, tc := range []struct {
		operation, body      string
		readOnly             bool
		parameters, response string // JSON; "" where it is not looked at
		resources, errorCode string
	}{
		{"CreateKey", `{"Description":"d","Tags":[{"TagKey":"Team","TagValue":"Blue"}]}`, false,
			`{"description":"d","keySpec":"SYMMETRIC_DEFAULT","customerMasterKeySpec":"SYMMETRIC_DEFAULT","keyUsage":"ENCRYPT_DECRYPT","origin":"AWS_KMS",
			"bypassPolicyLockoutSafetyCheck":false,"multiRegion":false,"tags":[{"tagKey":"Team","tagValue":"Blue"}]}`, "", "", ""},
		{"DescribeKey", `{"KeyId":"alias/there"}`, true, `{"keyId":"alias/there"}`, `null`, "ARN", ""},
		{"ListKeys", `{}`, true, `null`, `null`, "", ""},
		{"ListAliases", `{"KeyId":"KEY","Limit":5}`, true, `{"keyId":"KEY","limit":5}`, `null`, "ARN", ""},
		{"GetKeyPolicy", `{"KeyId":"KEY","PolicyName":"default"}`, true, `{"keyId":"KEY","policyName":"default"}`, `null`, "ARN", ""},
		{"GetKeyRotationStatus", `{"KeyId":"KEY"}`, true, `{"keyId":"KEY"}`, `null`, "ARN", ""},
		{"ListResourceTags", `{"KeyId":"KEY"}`, true, `{"keyId":"KEY"}`, `null`, "ARN", ""},
		{"EnableKeyRotation", `{"KeyId":"KEY","RotationPeriodInDays":90}`, false, `{"keyId":"KEY","rotationPeriodInDays":90}`, `{"keyId":"ARN"}`, "ARN", ""},
		{"TagResource", `{"KeyId":"KEY","Tags":[{"TagKey":"a","TagValue":"b"}]}`, false, `{"keyId":"KEY","tags":[{"tagKey":"a","tagValue":"b"}]}`, `{"keyId":"ARN"}`, "ARN", ""},
		{"CreateAlias", `{"AliasName":"alias/new","TargetKeyId":"KEY"}`, false, `{"aliasName":"alias/new","targetKeyId":"KEY"}`, `{"keyId":"ARN"}`,
			"arn:aws:kms:us-east-1:123456789012:alias/new ARN", ""},
		{"CreateAlias", `{"AliasName":"alias/new","TargetKeyId":"KEY"}`, false, `{"aliasName":"alias/new","targetKeyId":"KEY"}`, `null`,
			"arn:aws:kms:us-east-1:123456789012:alias/new ARN", "AlreadyExistsException"},
		{"DeleteAlias", `{"AliasName":"alias/new"}`, false, `{"aliasName":"alias/new"}`, `{"keyId":"ARN"}`,
			"arn:aws:kms:us-east-1:123456789012:alias/new ARN", ""},
		{"Encrypt", `{"KeyId":"KEY","Plaintext":"PLAIN","EncryptionContext":{"Dept":"it"}}`, true,
			`{"keyId":"KEY","encryptionContext":{"Dept":"it"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`, `null`, "ARN", ""},
		{"Decrypt", `{"CiphertextBlob":"BLOB","EncryptionContext":{"Dept":"it"}}`, true,
			`{"encryptionContext":{"Dept":"it"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`, `null`, "ARN", ""},
		{"Decrypt", `{"CiphertextBlob":"BLOB","EncryptionContext":{"Dept":"hr"}}`, true,
			`{"encryptionContext":{"Dept":"hr"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`, `null`, "ARN", "InvalidCiphertextException"},
		{"GenerateDataKey", `{"KeyId":"KEY","KeySpec":"AES_256","EncryptionContext":{"aws:s3:arn":"x"}}`, true,
			`{"keyId":"KEY","keySpec":"AES_256","encryptionContext":{"aws:s3:arn":"x"}}`, `null`, "ARN", ""},
		{"GenerateDataKeyWithoutPlaintext", `{"KeyId":"KEY","NumberOfBytes":24}`, true, `{"keyId":"KEY","numberOfBytes":24}`, `null`, "ARN", ""},
		{"ReEncrypt", `{"CiphertextBlob":"BLOB","SourceEncryptionContext":{"Dept":"it"},"DestinationKeyId":"OTHER"}`, true,
			`{"sourceEncryptionContext":{"Dept":"it"},"destinationKeyId":"OTHER","sourceEncryptionAlgorithm":"SYMMETRIC_DEFAULT","destinationEncryptionAlgorithm":"SYMMETRIC_DEFAULT"}`,
			`null`, "ARN OTHER", ""},
		{"GenerateRandom", `{"NumberOfBytes":24}`, true, `null`, `null`, "", ""},
		{"RetireGrant", `{"GrantToken":"c2VjcmV0"}`, false, `null`, `null`, "", "InvalidGrantTokenException"},
		{"DisableKey", `{"KeyId":"KEY"}`, false, `{"keyId":"KEY"}`, `{"keyId":"ARN"}`, "ARN", ""},
		{"Encrypt", `{"KeyId":"KEY","Plaintext":"PLAIN"}`, true, `{"keyId":"KEY","encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`, `null`, "ARN", "DisabledException"},
		{"ScheduleKeyDeletion", `{"KeyId":"KEY"}`, false, `{"keyId":"KEY"}`, "", "ARN", ""},
		{"DescribeKey", `{"KeyId":"alias/none"}`, true, `{"keyId":"alias/none"}`, `null`, "", "NotFoundException"},
	} {
		_, code, message := raw(s, "alice", tc.operation, fill.Replace(tc.body))
		require.Equal(t, tc.errorCode, code, "%s: %s", tc.operation, message)
		whole, e := kmsEvent(t, s, tc.operation)
		require.Equal(t, "kms.amazonaws.com", e.EventSource)
		require.Equal(t, tc.readOnly, e.ReadOnly, tc.operation)
		require.Equal(t, tc.errorCode, e.ErrorCode, tc.operation)
		var got struct{ RequestParameters, ResponseElements json.RawMessage }
		require.NoError(t, json.Unmarshal([]byte(whole), &got))
		require.JSONEq(t, fill.Replace(tc.parameters), string(got.RequestParameters), tc.operation)
		if tc.response != "" {
			require.JSONEq(t, fill.Replace(tc.response), string(got.ResponseElements), tc.operation)
		}
		if tc.operation != "CreateKey" {
			var arns []string
			for _, r := range e.Resources {
				arns = append(arns, r.ARN)
			}
			require.Equal(t, fill.Replace(tc.resources), strings.Join(arns, " "), tc.operation)
		}
		require.NotContains(t, whole, plain, tc.operation)
		require.NotContains(t, whole, "secret-secret-secret", tc.operation)
		require.NotContains(t, whole, blob, tc.operation)
	}

	_, e := kmsEvent(t, s, "CreateKey")
	answer, err := json.Marshal(e.ResponseElements)
	require.NoError(t, err)
	require.Contains(t, string(answer), `"keyMetadata":{"AWSAccountId":"123456789012","arn":"`+e.Resources[0].ARN)
	_, e = kmsEvent(t, s, "ScheduleKeyDeletion")
	require.Equal(t, "PendingDeletion", e.ResponseElements.(map[string]any)["keyState"])
}

func TestKMS_Events_DeniedAndByAService(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	c := kmsClient(t, s, "alice")
	k := made(t, c)
	require.NoError(t, s.SetIdentityPolicy("arn:aws:iam::123456789012:user/bob", `{"Statement":{"Effect":"Deny","Action":"kms:*","Resource":"*"}}`))
	_, code, _ := raw(s, "bob", "DescribeKey", `{"KeyId":"`+*k.KeyId+`"}`)
	require.Equal(t, "AccessDeniedException", code)
	_, e := kmsEvent(t, s, "DescribeKey")
	require.Equal(t, "AccessDenied", e.ErrorCode)
	require.Contains(t, e.ErrorMessage, "explicit deny")
	require.Equal(t, "bob", e.UserIdentity.UserName)
	require.Equal(t, *k.Arn, e.Resources[0].ARN)

	context := map[string]string{"aws:s3:arn": "arn:aws:s3:::bucket/key"}
	use := useBy(s, "alice", "s3", context)
	dk, apiErr := s.kms.GenerateDataKey(use, *k.Arn)
	require.Nil(t, apiErr)
	require.Len(t, dk.Plaintext, 32)
	_, apiErr = s.kms.DecryptDataKey(use, dk.Ciphertext)
	require.Nil(t, apiErr)
	require.NoError(t, use.Request.W.Pending.Wait()) // as the response of S3 waits
	for operation, parameters := range map[string]map[string]any{
		"GenerateDataKey": {"keyId": *k.Arn, "keySpec": "AES_256", "encryptionContext": map[string]any{"aws:s3:arn": "arn:aws:s3:::bucket/key"}},
		"Decrypt":         {"encryptionAlgorithm": "SYMMETRIC_DEFAULT", "encryptionContext": map[string]any{"aws:s3:arn": "arn:aws:s3:::bucket/key"}},
	} {
		whole, e := kmsEvent(t, s, operation)
		require.Equal(t, "fas.s3.amazonaws.com", e.UserIdentity.InvokedBy)
		require.Equal(t, "alice", e.UserIdentity.UserName)
		require.True(t, e.ReadOnly)
		require.Equal(t, parameters, e.RequestParameters)
		require.Nil(t, e.ResponseElements)
		require.Equal(t, *k.Arn, e.Resources[0].ARN)
		require.NotContains(t, whole, base64.StdEncoding.EncodeToString(dk.Ciphertext))
	}

	use = useBy(s, "alice", "ec2", map[string]string{"aws:ebs:id": "vol-1"})
	dk, apiErr = s.kms.GenerateDataKey(use, *k.Arn)
	require.Nil(t, apiErr)
	require.NoError(t, use.Request.W.Pending.Wait())
	require.Empty(t, dk.Plaintext)
	_, e = kmsEvent(t, s, "GenerateDataKeyWithoutPlaintext")
	require.Equal(t, map[string]any{"keyId": *k.Arn, "numberOfBytes": 64.0, "encryptionContext": map[string]any{"aws:ebs:id": "vol-1"}}, e.RequestParameters)
	require.NotEmpty(t, e.UserIdentity.InvokedBy)
}

// KMS rotates and deletes by itself: service events, without a caller.
func TestKMS_Events_OfTheServiceItself(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newServer(t, unthrottled, func(o *Options) { o.Now = clock.now })
	c := kmsClient(t, s, "alice")
	k, other := made(t, c), made(t, c)
	for _, call := range [][2]string{
		{"EnableKeyRotation", `{"KeyId":"` + *k.KeyId + `","RotationPeriodInDays":90}`},
		{"ScheduleKeyDeletion", `{"KeyId":"` + *other.KeyId + `","PendingWindowInDays":7}`},
		{"RotateKeyOnDemand", `{"KeyId":"` + *k.KeyId + `"}`},
	} {
		_, code, message := raw(s, "alice", call[0], call[1])
		require.Empty(t, code, message)
	}
	check := func(operation, arn, response, details string) {
		t.Helper()
		whole, _ := kmsEvent(t, s, operation)
		var got map[string]any
		require.NoError(t, json.Unmarshal([]byte(whole), &got))
		delete(got, "eventID")
		delete(got, "eventTime")
		want := `{"eventVersion":"1.11","userIdentity":{"accountId":"123456789012","invokedBy":"AWS Internal"},"eventSource":"kms.amazonaws.com",
			"eventName":"` + operation + `","awsRegion":"us-east-1","sourceIPAddress":"AWS Internal","userAgent":"AWS Internal","requestParameters":null,
			"responseElements":` + response + `,"readOnly":false,"resources":[{"accountId":"123456789012","type":"AWS::KMS::Key","ARN":"` + arn + `"}],
			"eventType":"AwsServiceEvent","managementEvent":true,"recipientAccountId":"123456789012","eventCategory":"Management"` + details + `}`
		b, err := json.Marshal(got)
		require.NoError(t, err)
		require.JSONEq(t, want, string(b))
	}
	check("RotateKey", *k.Arn, "null", `,"serviceEventDetails":{"rotationType":"ON_DEMAND","keyId":"`+*k.KeyId+`"}`)
	clock.advance(91 * 24 * time.Hour)
	_, code, message := raw(s, "alice", "ListKeys", `{}`) // what is due is done
	require.Empty(t, code, message)
	check("RotateKey", *k.Arn, "null", `,"serviceEventDetails":{"rotationType":"AUTOMATIC","keyId":"`+*k.KeyId+`"}`)
	check("DeleteKey", *other.Arn, `{"keyId":"`+*other.Arn+`"}`, "")
}

// Since 2025 the events of the use of a key name its material.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-generatedatakey.html
func TestKMS_Events_NameTheKeyMaterial(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	c := kmsClient(t, s, "alice")
	k := made(t, c)
	blob := base64.StdEncoding.EncodeToString(encrypted(t, c, *k.KeyId, "text", nil))
	_, code, message := raw(s, "alice", "RotateKeyOnDemand", `{"KeyId":"`+*k.KeyId+`"}`)
	require.Empty(t, code, message)
	material := func(operation string) string {
		whole, _ := kmsEvent(t, s, operation)
		var got struct {
			AdditionalEventData struct{ KeyMaterialID string }
		}
		require.NoError(t, json.Unmarshal([]byte(whole), &got))
		return got.AdditionalEventData.KeyMaterialID
	}
	first := material("Encrypt")
	require.Len(t, first, 64)
	for _, call := range [][2]string{
		{"Decrypt", `{"CiphertextBlob":"` + blob + `"}`},
		{"GenerateDataKey", `{"KeyId":"` + *k.KeyId + `","KeySpec":"AES_256"}`},
	} {
		_, code, message := raw(s, "alice", call[0], call[1])
		require.Empty(t, code, message)
	}
	require.Equal(t, first, material("Decrypt"), "of the material that the ciphertext is under")
	require.NotEqual(t, first, material("GenerateDataKey"))
}

func TestKMS_UseAcrossAccountsIsRecordedInBoth(t *testing.T) {
	t.Parallel()
	s := newServer(t, unthrottled)
	const owner, stranger = "123456789012", "210987654321"
	k := made(t, kmsClient(t, s, "alice"))
	policy, _ := json.Marshal(keyPolicy(toRoot, `{"Effect":"Allow","Principal":{"AWS":"`+stranger+`"},"Action":"kms:GenerateDataKey","Resource":"*"}`))
	_, code, message := raw(s, "alice", "PutKeyPolicy", `{"KeyId":"`+*k.KeyId+`","PolicyName":"default","Policy":`+string(policy)+`}`)
	require.Empty(t, code, message)
	_, code, message = raw(s, stranger, "GenerateDataKey", `{"KeyId":"`+*k.Arn+`","KeySpec":"AES_256"}`)
	require.Empty(t, code, message)
	_, code, _ = raw(s, stranger, "DescribeKey", `{"KeyId":"`+*k.Arn+`"}`)
	require.Equal(t, "AccessDeniedException", code)

	type record struct {
		trailEntry
		SharedEventID string
	}
	of := func(caller, operation string) (records []record) {
		for _, e := range lookUp(t, cloudtrail.NewFromConfig(awsConfig(t, s, caller)), trailtypes.LookupAttributeKeyEventName, operation) {
			var r record
			require.NoError(t, json.Unmarshal([]byte(*e.CloudTrailEvent), &r))
			records = append(records, r)
		}
		return records
	}
	mine, theirs := of("alice", "GenerateDataKey"), of(stranger, "GenerateDataKey")
	require.Len(t, mine, 1)
	require.Len(t, theirs, 1)
	require.NotEmpty(t, mine[0].SharedEventID)
	require.Equal(t, mine[0].SharedEventID, theirs[0].SharedEventID)
	require.NotEqual(t, mine[0].EventID, theirs[0].EventID)
	require.Equal(t, owner, mine[0].RecipientAccountID)
	require.Equal(t, stranger, theirs[0].RecipientAccountID)
	require.Equal(t, "AWSAccount", mine[0].UserIdentity.Type)
	require.Equal(t, stranger, mine[0].UserIdentity.AccountID)
	require.Empty(t, mine[0].UserIdentity.ARN, "the owner is not told who it was")
	require.Equal(t, []trailResource{{AccountID: owner, Type: "AWS::KMS::Key", ARN: *k.Arn}}, theirs[0].Resources)
	require.Empty(t, of("alice", "DescribeKey"), "a call that failed is the caller's alone")
	require.Len(t, of(stranger, "DescribeKey"), 1)
}
