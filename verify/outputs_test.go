package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const goodOutputs = `{
  "accountId": "764265373335",
  "aliasArn": "arn:aws:kms:us-east-1:764265373335:alias/masterclass-cmk",
  "aliasName": "alias/masterclass-cmk",
  "bucketName": "ckms-764265373335-1",
  "ebsDefaultKeyArn": "arn:aws:kms:us-east-1:764265373335:key/0",
  "ebsEncryptionByDefault": true,
  "keyArn": "arn:aws:kms:us-east-1:764265373335:key/0",
  "keyId": "0",
  "objectKey": "test/hello.txt",
  "region": "us-east-1",
  "somethingElse": {"nested": [1, 2]}
}`

func TestParseOutputs(t *testing.T) {
	t.Parallel()
	o, err := parseOutputs([]byte(goodOutputs))
	require.NoError(t, err)
	require.Equal(t, outputs{
		keyARN: "arn:aws:kms:us-east-1:764265373335:key/0", aliasName: "alias/masterclass-cmk", bucket: "ckms-764265373335-1",
		object: "test/hello.txt", region: "us-east-1", account: "764265373335", ebsKeyARN: "arn:aws:kms:us-east-1:764265373335:key/0",
	}, o)
}

func TestParseOutputs_Bad(t *testing.T) {
	t.Parallel()
	const rest = `"aliasName":"alias/a","bucketName":"bucket","objectKey":"o","region":"us-east-1","accountId":"764265373335"`
	tests := []struct{ name, json, want string }{
		{"empty", ``, "not a JSON object"},
		{"no JSON", `error: no stack`, "not a JSON object"},
		{"a list", `[]`, "not a JSON object"},
		{"cut short", `{"keyArn":`, "not a JSON object"},
		{"none", `{}`, "there are none: run pulumi up first"},
		{"null", `null`, "there are none"},
		{"some missing", `{"keyArn":"arn:aws:kms:us-east-1:764265373335:key/0"}`, "missing: aliasName, bucketName, objectKey, region, accountId"},
		{"another stack's", `{"vpcId":"vpc-1"}`, "missing: keyArn, aliasName"},
		{"a number", `{"keyArn":7,` + rest + `}`, "keyArn is not text: 7"},
		{"an object", `{"keyArn":{"a":"b"},` + rest + `}`, "keyArn is not text"},
		{"no ARN", `{"keyArn":"alias/x",` + rest + `}`, `keyArn is not a key ARN: "alias/x"`},
		{"a masked secret", `{"keyArn":"[secret]",` + rest + `}`, `keyArn is not a key ARN: "[secret]"`},
		{"not a switch", `{"keyArn":"","ebsEncryptionByDefault":"on",` + rest + `}`, "ebsEncryptionByDefault is not true or false"},
		{"several", `{"keyArn":"x","region":7}`, "keyArn is not a key ARN: \"x\"; region is not text: 7; missing: aliasName"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := parseOutputs([]byte(tt.json))
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), "%!")
		})
	}
}

// A stack without a bucket, or one that leaves EBS alone, shows it by an empty
// output.
func TestParseOutputs_LeftOut(t *testing.T) {
	t.Parallel()
	o, err := parseOutputs([]byte(`{"keyArn":"arn:aws:kms:us-east-1:764265373335:key/0","aliasName":"alias/a","bucketName":"","objectKey":null,"region":"us-east-1","accountId":"764265373335","ebsDefaultKeyArn":"","ebsEncryptionByDefault":false}`))
	require.NoError(t, err)
	require.Empty(t, o.bucket)
	require.Empty(t, o.object)
	require.True(t, o.ebsSkipped)
}

func FuzzParseOutputs(f *testing.F) {
	f.Add([]byte(goodOutputs))
	f.Add([]byte(`{"keyArn":null}`))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = parseOutputs(b) // must not panic
	})
}
