package report

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRedact(t *testing.T) {
	t.Parallel()
	r := sample()
	r.Results[0].Actual = "used by AKIAIOSFODNN7EXAMPLE and ASIAIOSFODNN7EXAMPLE, again AKIAIOSFODNN7EXAMPLE, as AROAIOSFODNN7EXAMPLE:alice"
	r.Results[0].Evidence[0].Detail = "bucket logs-" + sampleAccount + "20260314 of 777788889999"
	uuidLike := []string{"0a1b2c3d-1234-1234-1234-" + sampleAccount, "0a1b2c3d-1111-2222-3333-0a1b2c3d4e5f", "x" + sampleForeign + "y", "0a1b2c3d-1234-1234-1234-777788889999"}
	r.Results[0].Expected = strings.Join(uuidLike, " ")
	before := mapStrings(r, strings.Clone)
	masked := Redact(r)
	require.Equal(t, before, r, "the original was changed")

	require.Equal(t, "account-1", masked.Subject.Account)
	require.Equal(t, "arn:aws:kms:us-east-1:account-1:key/1234abcd-12ab-34cd-56ef-1234567890ab", masked.Subject.KeyARN)
	require.Equal(t, "ckms-masterclass-account-1-us-east-1", masked.Subject.Bucket)
	require.Equal(t, "arn:aws:sts::account-1:assumed-role/Auditor/alice", masked.Events[0].Caller)
	require.Equal(t, "used by access-key-1 and access-key-2, again access-key-1, as principal-1:alice", masked.Results[0].Actual)
	require.Equal(t, "0a1b2c3d-1234-1234-1234-account-1 0a1b2c3d-account-1-0a1b2c3d4e5f xaccount-2y 0a1b2c3d-1234-1234-1234-account-3", masked.Results[0].Expected)
	require.Equal(t, "bucket logs-account-120260314 of account-3", masked.Results[0].Evidence[0].Detail)
	require.Equal(t, "no such statement; account account-2 is allowed s3:GetObject by arn:aws:iam::account-2:root", masked.Results[4].Actual)
	require.Equal(t, r.Results[1].Evidence[0].RequestID, masked.Results[1].Evidence[0].RequestID)
	require.Equal(t, r.Events[3].EventID, masked.Events[3].EventID, "12 digits that end a UUID are no account")

	for _, format := range Formats {
		got := render(t, format, masked, Options{Verbose: true})
		for _, planted := range []string{sampleAccount, sampleForeign, "4444-5555-6666", "777788889999", "AKIA", "ASIA", "AROA"} {
			require.NotContains(t, got, planted, format)
		}
	}
}

// Credentials can get near a report in the messages of AWS, of a proxy or of a
// library. None may get through, in any field and in any format.
func TestWrite_CarriesNoCredential(t *testing.T) {
	t.Parallel()
	const (
		secretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
		signature = "fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024"
		plaintext = "VdzKNHGzUAzJeRBVY+uUmofUGGiDzyB3+i9fVkh3piw="
	)
	token := "IQoJb3JpZ2luX2VjE" + strings.Repeat("aB3+/", 40) + "=="
	for name, planted := range map[string]string{
		"presigned URL":     "Get https://b.s3.amazonaws.com/k?X-Amz-Security-Token=" + token + "&X-Amz-Signature=" + signature + ": timeout",
		"signed header":     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260314/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=" + signature,
		"environment":       "AWS_SECRET_ACCESS_KEY=" + secretKey + " AWS_SESSION_TOKEN=" + token,
		"credentials file":  "aws_secret_access_key = " + secretKey,
		"answer of STS":     `{"SecretAccessKey":"` + secretKey + `","SessionToken":"` + token + `"}`,
		"answer of KMS":     `{"Plaintext": "` + plaintext + `", "KeyId": "x"}`,
		"header of a token": "X-Amz-Security-Token: " + token,
		"bare token":        "the token " + token + " is expired",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := mapStrings(good(), func(s string) string {
				if s == "" || len(s) < 20 {
					return s
				}
				return s + " " + planted
			})
			for _, format := range Formats {
				got := render(t, format, r, Options{Verbose: true, Width: 4000})
				for _, secret := range []string{secretKey, signature, plaintext, token, token[:70]} {
					require.NotContains(t, got, secret, format)
				}
				require.Contains(t, got, "masked", format)
			}
		})
	}
}

func TestMaskSecrets_LeavesEvidence(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		sampleKey, "0a1b2c3d-1111-4222-8333-000000000002", "the plaintext key is wiped", "SHA-256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"x-amz-server-side-encryption: aws:kms", "x-amz-id-2 " + strings.Repeat("Ab9/", 19),
	} {
		require.Equal(t, s, maskSecrets(s))
	}
}
