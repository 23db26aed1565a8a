package components

// bucketPolicy is what a bucket refuses to every principal, and the statements of the caller.
type bucketPolicy struct {
	denyInsecureTransport bool
	denyForeignKeys       bool
	sseS3Services         []string // service principals that may upload under SSE-S3
	reencryption          []string // ARNs of the roles and users that replicate into the bucket or change keys in place
	statements            []policyStatement
}

// maxBucketPolicy is the largest bucket policy that S3 takes, in bytes.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-policy-language-overview.html
const maxBucketPolicy = 20 * 1024

// document writes the policy of the bucket with this ARN. Without
// statements it only denies, so it opens nothing.
//
// A request that names no encryption is not refused: it gets the bucket's
// default. "StringNotEquals" alone would refuse it too, since a key that is
// absent equals nothing; so each rule also asks that the header be there.
// Sources: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
// and https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
func (p bucketPolicy) document(bucketARN string, key keyARN) (string, error) {
	const (
		algorithm = "s3:x-amz-server-side-encryption"
		keyID     = "s3:x-amz-server-side-encryption-aws-kms-key-id"
		customer  = "s3:x-amz-server-side-encryption-customer-algorithm"
	)
	objects := bucketARN + "/*"
	d := policyDocument{Version: "2012-10-17", ID: "kms-baseline"}
	deny := func(sid, action string, resources []string, c conditions) {
		d.add(statement{Sid: sid, Effect: "Deny", Principal: "*", Action: oneOrMany{action}, Resource: resources, Condition: c})
	}
	if p.denyInsecureTransport {
		deny("DenyInsecureTransport", "s3:*", []string{bucketARN, objects}, conditions{"Bool": {"aws:SecureTransport": {"false"}}})
	}
	if p.denyForeignKeys {
		allowed := []string{"aws:kms"}
		if len(p.sseS3Services) > 0 {
			allowed = append(allowed, "AES256")
			deny("DenySSES3", "s3:PutObject", []string{objects}, conditions{
				"StringEquals":    {algorithm: {"AES256"}},
				"StringNotEquals": {"aws:PrincipalServiceName": p.sseS3Services},
			})
		}
		deny("DenyOtherAlgorithm", "s3:PutObject", []string{objects}, conditions{
			"Null":            {algorithm: {"false"}},
			"StringNotEquals": {algorithm: allowed},
		})
		deny("DenyOtherKey", "s3:PutObject", []string{objects}, conditions{
			"Null":            {keyID: {"false"}},
			"StringNotEquals": {keyID: {key.arn}},
		})
		deny("DenyCustomerProvidedKey", "s3:PutObject", []string{objects}, conditions{"Null": {customer: {"false"}}})
		// Both choose a key that no condition key is documented to hold: replication
		// takes it from the source's rule, UpdateObjectEncryption from its body.
		// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/update-sse-encryption.html
		var others conditions
		if len(p.reencryption) > 0 {
			others = conditions{"ArnNotEquals": {"aws:PrincipalArn": p.reencryption}}
		}
		d.add(statement{Sid: "DenyReencryption", Effect: "Deny", Principal: "*", Action: oneOrMany{"s3:ReplicateObject", "s3:UpdateObjectEncryption"},
			Resource: []string{objects}, Condition: others})
	}
	for _, s := range p.statements {
		resources := []string{bucketARN, objects}
		if len(s.objects) > 0 {
			resources = nil
			for _, o := range sorted(s.objects) {
				resources = append(resources, bucketARN+"/"+o)
			}
		}
		d.add(s.statement(key.partition, resources))
	}
	return d.finish("bucket", "S3", maxBucketPolicy, "name fewer principals, or an organization")
}
