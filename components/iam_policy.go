package components

import (
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// What an IAM policy allows with a key or a bucket.
const (
	accessRead  = 1 << iota // read, decrypt
	accessWrite             // write, encrypt
)

// iamStatement is a statement of an IAM policy, which has no principal.
type iamStatement struct {
	Sid       string
	Effect    string
	Action    oneOrMany
	Resource  oneOrMany
	Condition conditions `json:",omitempty"`
}

func iamPolicy(statements ...iamStatement) (string, error) {
	for i := range statements {
		statements[i].Effect = "Allow"
	}
	return marshalPolicy(struct {
		Version   string
		Statement []iamStatement
	}{"2012-10-17", statements})
}

// keyAccess is the IAM policy to encrypt, to decrypt, or both with the key.
func keyAccess(keyArn pulumi.StringOutput, access int) pulumi.StringOutput {
	return keyArn.ApplyT(func(arn string) (string, error) {
		var actions []string
		if access&accessWrite != 0 {
			actions = append(actions, "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*")
		}
		if access&accessRead != 0 {
			actions = append(actions, "kms:Decrypt", "kms:DescribeKey")
		}
		if access == accessRead|accessWrite {
			actions = append(actions, "kms:ReEncrypt*")
		}
		return iamPolicy(iamStatement{Sid: "Key", Action: sorted(actions), Resource: oneOrMany{arn}})
	}).(pulumi.StringOutput)
}

// bucketAccess is the IAM policy to read or write the bucket's objects, or both,
// and to use the bucket's key for that, through S3 alone. S3 needs kms:Decrypt
// for multipart uploads, too.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
func bucketAccess(bucketArn, keyArn pulumi.StringOutput, access int) pulumi.StringOutput {
	return pulumi.All(bucketArn, keyArn).ApplyT(func(v []any) (string, error) {
		bucket, key := v[0].(string), v[1].(string)
		objectActions, bucketActions, keyActions := []string{}, []string{}, []string{"kms:Decrypt"}
		if access&accessRead != 0 {
			objectActions = append(objectActions, "s3:GetObject", "s3:GetObjectVersion")
			bucketActions = append(bucketActions, "s3:ListBucket")
		}
		if access&accessWrite != 0 {
			objectActions = append(objectActions, "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject")
			keyActions = append(keyActions, "kms:GenerateDataKey")
		}
		statements := []iamStatement{{Sid: "Objects", Action: sorted(objectActions), Resource: oneOrMany{bucket + "/*"}}}
		if len(bucketActions) > 0 {
			statements = append(statements, iamStatement{Sid: "Bucket", Action: bucketActions, Resource: oneOrMany{bucket}})
		}
		if key != "" {
			region := strings.Split(key, ":")[3]
			statements = append(statements, iamStatement{
				Sid: "Key", Action: sorted(keyActions), Resource: oneOrMany{key},
				Condition: conditions{"StringEquals": {"kms:ViaService": {via("s3", region)}}},
			})
		}
		return iamPolicy(statements...)
	}).(pulumi.StringOutput)
}
