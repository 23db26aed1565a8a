package components

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/s3"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Replication copies the objects that are written to the bucket from then on into
// another bucket, and encrypts the replicas under a key of that bucket's Region.
// S3 copies with an IAM role, which this component does not create.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html
type Replication struct {
	// RoleArn is the ARN of the IAM role that S3 replicates with. The role belongs
	// to the bucket's account, trusts S3 (ReplicationTrustPolicy), and has the
	// bucket's ReplicationPolicy before objects are written: S3 does not try again
	// where a permission was missing. Required.
	// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-status.html
	RoleArn pulumi.StringInput `pulumi:"roleArn"`
	// DestinationBucketArn is the ARN of the bucket for the replicas, which has
	// Versioning. If it is an EncryptedBucket, its ReencryptionPrincipals must name
	// the role. A bucket of another account must also allow the role
	// s3:ReplicateObject, s3:ReplicateTags and, for DeleteMarkers,
	// s3:ReplicateDelete, in its Statements. Required.
	DestinationBucketArn pulumi.StringInput `pulumi:"destinationBucketArn"`
	// ReplicaKmsKeyArn is the ARN of the key for the replicas, in the Region of the
	// destination: the key of that bucket. S3 does not validate the key, and
	// replicates nothing under a key of another Region. A key of another account
	// must allow the role kms:Encrypt and kms:Decrypt. Required.
	ReplicaKmsKeyArn pulumi.StringInput `pulumi:"replicaKmsKeyArn"`
	// DestinationAccount makes this account, the owner of the destination, the owner
	// of the replicas, too, and the destination must allow the role
	// s3:ObjectOwnerOverrideToBucketOwner. Not needed if the destination's object
	// ownership is BucketOwnerEnforced, as that of an EncryptedBucket is. The default
	// is no change of the owner.
	// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-change-owner.html
	DestinationAccount pulumi.StringInput `pulumi:"destinationAccount,optional"`
	// Prefix limits replication to keys that begin so, at most 1024 characters
	// without "*", "?" and "$". The default is all keys.
	Prefix string `pulumi:"prefix,optional"`
	// StorageClass is the storage class of the replicas: STANDARD, or one of those
	// of LifecycleTransition. The default is that of the source object.
	StorageClass string `pulumi:"storageClass,optional"`
	// DeleteMarkers replicates the delete markers that a delete without a version
	// makes. S3 replicates no deletion of a version. The default is false: an
	// object that is deleted in the bucket stays current in the destination.
	// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/delete-marker-replication.html
	DeleteMarkers bool `pulumi:"deleteMarkers,optional"`
}

// ReplicationTrustPolicy is the trust policy, as JSON, of a role for [Replication]:
// S3 alone may assume it.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html
const ReplicationTrustPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

var (
	rolePattern      = regexp.MustCompile(`^arn:aws(-[a-z]+)*:iam::\d{12}:role/.+$`)
	bucketARNPattern = regexp.MustCompile(`^arn:aws(-[a-z]+)*:s3:::`)
)

// validate holds what is known now to what S3 accepts. bucketName is the source's,
// empty if it is not known.
func (r *Replication) validate(bucketName string) error {
	var errs []error
	for _, required := range []struct {
		field string
		in    pulumi.StringInput
		what  string
	}{
		{"RoleArn", r.RoleArn, "the ARN of the IAM role that S3 replicates with"},
		{"DestinationBucketArn", r.DestinationBucketArn, "the ARN of the bucket for the replicas"},
		{"ReplicaKmsKeyArn", r.ReplicaKmsKeyArn, "the ARN of a key in the Region of the destination"},
	} {
		if required.in == nil {
			errs = append(errs, wrong("Replication."+required.field, "it is required: %s", required.what))
		}
	}
	errs = append(errs,
		checkPlain(r.RoleArn, validateReplicationRole),
		checkPlain(r.DestinationBucketArn, func(arn string) error { return validateDestination(arn, bucketName) }),
		checkPlain(r.ReplicaKmsKeyArn, validateReplicaKey),
		checkPlain(r.DestinationAccount, validateDestinationAccount))
	switch {
	case len(r.Prefix) > 1024:
		errs = append(errs, wrong("Replication.Prefix", "it has %d characters; at most 1024 are allowed", len(r.Prefix)))
	case strings.ContainsAny(r.Prefix, "*?$"):
		errs = append(errs, invalid("Replication.Prefix", r.Prefix, `it may not have "*", "?" or "$", which are patterns in the role's policy: give a shorter prefix`))
	}
	if classes := append([]string{"STANDARD"}, storageClasses...); r.StorageClass != "" && !slices.Contains(classes, r.StorageClass) {
		errs = append(errs, invalid("Replication.StorageClass", r.StorageClass, "it must be "+oneOf(classes)))
	}
	return errors.Join(errs...)
}

func validateReplicationRole(arn string) error {
	if !rolePattern.MatchString(arn) || strings.ContainsAny(arn, "*? ") {
		return invalid("Replication.RoleArn", arn, `it must be the ARN of an IAM role, as in "arn:aws:iam::111122223333:role/replication"`)
	}
	return nil
}

// validateDestination accepts the ARN of a bucket other than the source.
func validateDestination(arn, source string) error {
	const field = "Replication.DestinationBucketArn"
	prefix := bucketARNPattern.FindString(arn)
	name := arn[len(prefix):]
	switch {
	case prefix == "":
		return invalid(field, arn, `it must be the ARN of a bucket, as in "arn:aws:s3:::my-replicas"`)
	case name == source:
		return invalid(field, arn, "it is the bucket itself: give another bucket")
	case validateBucketName(field, name) != nil:
		return invalid(field, arn, fmt.Sprintf("%q is not the name of a bucket", name))
	}
	return nil
}

func validateReplicaKey(arn string) error {
	_, err := parseKeyARN("Replication.ReplicaKmsKeyArn", arn)
	return err
}

func validateDestinationAccount(account string) error {
	return validateAccount("Replication.DestinationAccount", account)
}

// create makes the replication configuration of the bucket.
func (r *Replication) create(ctx *pulumi.Context, name string, bucket *s3.BucketV2, opts []pulumi.ResourceOption) (*s3.BucketReplicationConfig, error) {
	destination := s3.BucketReplicationConfigRuleDestinationArgs{
		Bucket: r.destination(bucket),
		EncryptionConfiguration: s3.BucketReplicationConfigRuleDestinationEncryptionConfigurationArgs{
			ReplicaKmsKeyId: checked(r.ReplicaKmsKeyArn, validateReplicaKey),
		},
	}
	if r.StorageClass != "" {
		destination.StorageClass = pulumi.String(r.StorageClass)
	}
	if r.DestinationAccount != nil {
		destination.Account = checked(r.DestinationAccount, validateDestinationAccount)
		destination.AccessControlTranslation = s3.BucketReplicationConfigRuleDestinationAccessControlTranslationArgs{Owner: pulumi.String("Destination")}
	}
	deleteMarkers := "Disabled"
	if r.DeleteMarkers {
		deleteMarkers = "Enabled"
	}
	return s3.NewBucketReplicationConfig(ctx, name+"-replication", &s3.BucketReplicationConfigArgs{
		Bucket: bucket.Bucket,
		Role:   checked(r.RoleArn, validateReplicationRole),
		Rules: s3.BucketReplicationConfigRuleArray{s3.BucketReplicationConfigRuleArgs{
			Id:       pulumi.String("kms-baseline"),
			Status:   pulumi.String("Enabled"),
			Priority: pulumi.Int(1),
			// S3 asks for a filter, if only an empty one, in a rule on delete markers.
			Filter:                  s3.BucketReplicationConfigRuleFilterArgs{Prefix: pulumi.String(r.Prefix)},
			DeleteMarkerReplication: s3.BucketReplicationConfigRuleDeleteMarkerReplicationArgs{Status: pulumi.String(deleteMarkers)},
			// Without this, S3 replicates no object under a KMS key.
			SourceSelectionCriteria: s3.BucketReplicationConfigRuleSourceSelectionCriteriaArgs{
				SseKmsEncryptedObjects: s3.BucketReplicationConfigRuleSourceSelectionCriteriaSseKmsEncryptedObjectsArgs{Status: pulumi.String("Enabled")},
			},
			Destination: destination,
		}},
	}, opts...)
}

// destination is DestinationBucketArn, once it is known not to be the bucket itself.
func (r *Replication) destination(bucket *s3.BucketV2) pulumi.StringOutput {
	return pulumi.All(r.DestinationBucketArn, bucket.Bucket).ApplyT(func(v []any) (string, error) {
		return v[0].(string), validateDestination(v[0].(string), v[1].(string))
	}).(pulumi.StringOutput)
}

// policy is the IAM policy of the role: to read from the bucket and its key, and to
// write to the destination and its key. kms:Encrypt is for the replicas, and
// kms:Decrypt on their key for S3 Bucket Keys. The encryption context of S3 is the
// bucket's ARN with a Bucket Key and the object's without, which each upload may
// choose. There is no kms:GenerateDataKey, which only objects without encryption
// need: S3 has written none since 2023.
//
// Sources: https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html,
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html
// and, for Object Lock, https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html
func (r *Replication) policy(bucket *s3.BucketV2, keyArn pulumi.StringOutput, objectLock bool) pulumi.StringOutput {
	return pulumi.All(bucket.Arn, keyArn, r.destination(bucket), r.ReplicaKmsKeyArn).ApplyT(func(v []any) (string, error) {
		source, destination := v[0].(string), v[2].(string)
		sourceKey, err := parseKeyARN("KmsKeyArn", v[1].(string))
		replicaKey, replicaErr := parseKeyARN("Replication.ReplicaKmsKeyArn", v[3].(string))
		if err := errors.Join(err, replicaErr); err != nil {
			return "", err
		}
		objects := func(bucket string) oneOrMany { return oneOrMany{bucket + "/" + r.Prefix + "*"} }
		read := []string{"s3:GetObjectVersionAcl", "s3:GetObjectVersionForReplication", "s3:GetObjectVersionTagging"}
		if objectLock {
			read = append(read, "s3:GetObjectLegalHold", "s3:GetObjectRetention")
		}
		write := []string{"s3:ReplicateObject", "s3:ReplicateTags"}
		if r.DeleteMarkers {
			write = append(write, "s3:ReplicateDelete")
		}
		if r.DestinationAccount != nil {
			write = append(write, "s3:ObjectOwnerOverrideToBucketOwner")
		}
		use := func(sid string, key keyARN, bucket string, actions ...string) iamStatement {
			return iamStatement{Sid: sid, Action: actions, Resource: oneOrMany{key.arn}, Condition: conditions{
				"StringEquals": {"kms:ViaService": {via("s3", key.region)}},
				"StringLike":   {"kms:EncryptionContext:aws:s3:arn": append([]string{bucket}, objects(bucket)...)},
			}}
		}
		return iamPolicy(
			iamStatement{Sid: "SourceBucket", Action: oneOrMany{"s3:GetReplicationConfiguration", "s3:ListBucket"}, Resource: oneOrMany{source}},
			iamStatement{Sid: "SourceObjects", Action: sorted(read), Resource: objects(source)},
			iamStatement{Sid: "Replicas", Action: sorted(write), Resource: objects(destination)},
			use("SourceKey", sourceKey, source, "kms:Decrypt"),
			use("ReplicaKey", replicaKey, destination, "kms:Decrypt", "kms:Encrypt"),
		)
	}).(pulumi.StringOutput)
}
