package localaws

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	athenatypes "github.com/aws/aws-sdk-go-v2/service/athena/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"
)

func TestKMS_RefusesWhatIsNoGrantToken(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := kmsClient(t, s, "alice")
	key := made(t, c)
	grant, err := c.CreateGrant(t.Context(), &kms.CreateGrantInput{KeyId: key.KeyId, GranteePrincipal: aws.String("arn:aws:iam::123456789012:user/bob"), Operations: []kmstypes.GrantOperation{"Encrypt"}})
	require.NoError(t, err)
	sealed, err := c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x"), GrantTokens: []string{*grant.GrantToken}})
	require.NoError(t, err)
	const token = "AQpAM2RhZTk1MGMyNTk2ZmZmMzEyYWVhOWViN2I1MWM4Mzc0MWFiYjc0ZDE1ODkyNGFlNTIzODZhMzgyZjBlNGY3NiKIAgEBAgB4"
	wrong := []string{token}
	for name, err := range map[string]error{
		"DescribeKey": func() error {
			_, err := c.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: key.KeyId, GrantTokens: wrong})
			return err
		}(),
		"Encrypt": func() error {
			_, err := c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x"), GrantTokens: wrong})
			return err
		}(),
		"Decrypt": func() error {
			_, err := c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, GrantTokens: wrong})
			return err
		}(),
		"ReEncrypt": func() error {
			_, err := c.ReEncrypt(t.Context(), &kms.ReEncryptInput{CiphertextBlob: sealed.CiphertextBlob, DestinationKeyId: key.KeyId, GrantTokens: wrong})
			return err
		}(),
		"GenerateDataKey": func() error {
			_, err := c.GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: key.KeyId, KeySpec: "AES_256", GrantTokens: wrong})
			return err
		}(),
		"GenerateDataKeyWithoutPlaintext": func() error {
			_, err := c.GenerateDataKeyWithoutPlaintext(t.Context(), &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: key.KeyId, KeySpec: "AES_256", GrantTokens: wrong})
			return err
		}(),
		"CreateGrant": func() error {
			_, err := c.CreateGrant(t.Context(), &kms.CreateGrantInput{KeyId: key.KeyId, GranteePrincipal: aws.String("arn:aws:iam::123456789012:user/bob"), Operations: []kmstypes.GrantOperation{"Encrypt"}, GrantTokens: wrong})
			return err
		}(),
		"RetireGrant": func() error {
			_, err := c.RetireGrant(t.Context(), &kms.RetireGrantInput{GrantToken: aws.String(token)})
			return err
		}(),
	} {
		require.Equal(t, "InvalidGrantTokenException", apiCode(err), name)
	}
	many := strings.Split(strings.Repeat(*grant.GrantToken+" ", 11), " ")[:11]
	_, err = c.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: key.KeyId, GrantTokens: many})
	requireCode(t, err, "ValidationException")
}

func TestKMS_RefusesNullAndEnclaves(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	id := *made(t, kmsClient(t, s, "alice")).KeyId
	for name, row := range map[string]struct{ operation, body, code string }{
		"null in an encryption context":   {"Encrypt", `{"KeyId":"` + id + `","Plaintext":"eA==","EncryptionContext":{"a":null}}`, "NotImplemented"},
		"null in a list":                  {"DescribeKey", `{"KeyId":"` + id + `","GrantTokens":[null]}`, "NotImplemented"},
		"an enclave of a wrapped key":     {"GenerateDataKeyWithoutPlaintext", `{"KeyId":"` + id + `","KeySpec":"AES_256","Recipient":{"KeyEncryptionAlgorithm":"RSAES_OAEP_SHA_256","AttestationDocument":"eA=="}}`, "UnsupportedOperationException"},
		"an enclave of a key in the open": {"GenerateDataKey", `{"KeyId":"` + id + `","KeySpec":"AES_256","Recipient":{"KeyEncryptionAlgorithm":"RSAES_OAEP_SHA_256","AttestationDocument":"eA=="}}`, "UnsupportedOperationException"},
	} {
		_, code, message := raw(s, "alice", row.operation, row.body)
		require.Equal(t, row.code, code, "%s: %s", name, message)
	}
}

func TestForms_RefuseWhatAnOperationDoesNotModel(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	form := func(service, body string) (int, string) {
		return send(t, s, http.MethodPost, "/", body, map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Authorization": signature("alice", "us-east-1", service)})
	}
	const ec2, sts = "&Version=2016-11-15", "&Version=2011-06-15"
	_, made := form("ec2", "Action=CreateVolume&Size=1&AvailabilityZone=us-east-1a&TagSpecification.1.ResourceType=volume&TagSpecification.1.Tag.1.Key=a&TagSpecification.1.Tag.1.Value=1"+ec2)
	volume := within(t, made, "<volumeId>", "<")
	for name, row := range map[string]struct{ service, body, code, what string }{
		"another API version of EC2": {"ec2", "Action=DescribeVolumes&Version=2013-10-15", "NotImplemented", "2013-10-15"},
		"no API version of EC2":      {"ec2", "Action=DescribeVolumes", "NotImplemented", "API version"},
		"another API version of STS": {"sts", "Action=GetCallerIdentity&Version=2010-05-08", "NotImplemented", "2010-05-08"},
		"no tags":                    {"ec2", "Action=CreateTags&ResourceId.1=" + volume + ec2, "MissingParameter", "tag"},
		"one key twice":              {"ec2", "Action=CreateTags&ResourceId.1=" + volume + "&Tag.1.Key=b&Tag.1.Value=1&Tag.2.Key=b&Tag.2.Value=2" + ec2, "InvalidParameterValue", "Duplicate tag key"},
		"deletion of a value":        {"ec2", "Action=DeleteTags&ResourceId.1=" + volume + "&Tag.1.Value=1" + ec2, "MissingParameter", "Key"},
		"filter without a value":     {"ec2", "Action=DescribeVolumes&Filter.1.Name=size" + ec2, "NotImplemented", "size"},
		"presigned form":             {"sts", "Action=GetCallerIdentity&X-Amz-Expires=60" + sts, "NotImplemented", "X-Amz-Expires"},
	} {
		status, answer := form(row.service, row.body)
		require.GreaterOrEqual(t, status, 400, name)
		require.Contains(t, answer, "<Code>"+row.code+"</Code>", name)
		require.Contains(t, answer, row.what, name)
	}
	_, tags := form("ec2", "Action=DescribeTags"+ec2)
	require.Equal(t, 1, strings.Count(tags, "<key>"), tags)
}

func TestJSON_RefusesTokensThatNoAnswerHas(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cli := newAWSCLI(t, s)
	require.Contains(t, cli.fails("cloudtrail", "list-tags", "--resource-id-list", "arn:aws:cloudtrail:us-east-1:"+trailAccount+":trail/none", "--next-token", "x"), "InvalidTokenException")
	cli.run("glue", "create-database", "--database-input", `{"Name":"a"}`)
	cli.run("glue", "create-table", "--database-name", "a", "--table-input", trailTable)
	require.Contains(t, cli.fails("glue", "get-partition-indexes", "--database-name", "a", "--table-name", "cloudtrail", "--next-token", "x"), "InvalidInputException")
}

func TestAthena_TokenOfAQueryWithOtherParametersIsRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(o *Options) { o.Trino = "http://127.0.0.1:1" }) // no engine: the query fails
	c := athena.NewFromConfig(awsConfig(t, s, "alice"))
	in := &athena.StartQueryExecutionInput{QueryString: aws.String("SELECT 1"), ClientRequestToken: aws.String(strings.Repeat("t", 32)),
		ResultConfiguration: &athenatypes.ResultConfiguration{OutputLocation: aws.String("s3://results/a/")}}
	first, err := c.StartQueryExecution(t.Context(), in)
	require.NoError(t, err)
	again, err := c.StartQueryExecution(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, *first.QueryExecutionId, *again.QueryExecutionId)
	in.ResultConfiguration.OutputLocation = aws.String("s3://results/b/")
	_, err = c.StartQueryExecution(t.Context(), in)
	requireCode(t, err, "InvalidRequestException")
	in.ResultConfiguration.OutputLocation, in.QueryExecutionContext = aws.String("s3://results/a/"), &athenatypes.QueryExecutionContext{Database: aws.String("other")}
	_, err = c.StartQueryExecution(t.Context(), in)
	requireCode(t, err, "InvalidRequestException")
}
