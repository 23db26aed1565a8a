package components

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/s3"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// EncryptedBucketType is the type token of [EncryptedBucket].
const EncryptedBucketType = "kms-baseline:index:EncryptedBucket"

// EncryptedBucket is a private, versioned bucket that encrypts with a customer
// managed key by default and answers over TLS only; or an existing bucket, which
// is read and not changed.
type EncryptedBucket struct {
	pulumi.ResourceState

	// BucketName is the bucket's name. It resolves once the bucket is ready to
	// be written to: an object written before the bucket's encryption is
	// configured would be encrypted with SSE-S3 for ever.
	BucketName pulumi.StringOutput `pulumi:"bucketName"`
	// BucketArn is the bucket's ARN, ready as BucketName is.
	BucketArn pulumi.StringOutput `pulumi:"bucketArn"`
	// KmsKeyArn is the ARN of the key that the bucket encrypts with; for an
	// existing bucket the one that was given, or empty.
	KmsKeyArn pulumi.StringOutput `pulumi:"kmsKeyArn"`
	// DomainName and RegionalDomainName are the bucket's DNS names, ready as
	// BucketName is: "NAME.s3.amazonaws.com" and "NAME.s3.REGION.amazonaws.com".
	DomainName         pulumi.StringOutput `pulumi:"domainName"`
	RegionalDomainName pulumi.StringOutput `pulumi:"regionalDomainName"`
	// ReadPolicy, WritePolicy and ReadWritePolicy are IAM policy documents, as
	// JSON, that allow a role or user of the bucket's account to read the objects
	// (and list them), to write them, or both, and to use the key for that through
	// S3. None allows objects to be deleted. For an existing bucket they name the
	// key only if KmsKeyArn is given.
	ReadPolicy      pulumi.StringOutput `pulumi:"readPolicy"`
	WritePolicy     pulumi.StringOutput `pulumi:"writePolicy"`
	ReadWritePolicy pulumi.StringOutput `pulumi:"readWritePolicy"`
	// ReplicationPolicy is the IAM policy document, as JSON, of the role of
	// Replication: exactly what S3 needs to replicate, and no more. It is known
	// before the bucket is ready. Empty without Replication.
	ReplicationPolicy pulumi.StringOutput `pulumi:"replicationPolicy"`

	// Bucket is the resource itself; nil for an existing bucket. Its outputs are
	// known before the bucket encrypts: write to BucketName.
	Bucket *s3.BucketV2
}

// EncryptedBucketArgs are the arguments of [NewEncryptedBucket].
type EncryptedBucketArgs struct {
	// BucketName is the bucket's name: 3 to 63 lower-case letters, digits, "."
	// and "-". The default is a name that begins with BucketPrefix.
	// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
	BucketName pulumi.StringInput `pulumi:"bucketName,optional"`
	// BucketPrefix is what a name made up by the provider begins with, 1 to 37
	// characters. It counts when the bucket is made and not afterwards. The
	// default is "NAME-ACCOUNT-", of the component's name and the number of the
	// key's account. BucketName and BucketPrefix exclude each other.
	BucketPrefix pulumi.StringInput `pulumi:"bucketPrefix,optional"`
	// KmsKeyArn is the ARN of the key to encrypt with: an ARN, not an alias,
	// which is resolved in the account of the writer. Required, except within a
	// baseline, whose key is the default there.
	KmsKeyArn pulumi.StringInput `pulumi:"kmsKeyArn,optional"`
	// BucketKeyEnabled makes S3 use a bucket-level data key, which saves about
	// 99 % of the calls to KMS, and of the events that show them. The default is
	// true.
	// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html
	BucketKeyEnabled *bool `pulumi:"bucketKeyEnabled,optional"`
	// Versioning keeps the versions of objects that are overwritten or deleted.
	// The default is true.
	Versioning *bool `pulumi:"versioning,optional"`
	// ForceDestroy lets destroy delete the bucket with all objects in it. The
	// default is false: destroy refuses a bucket that is not empty. It takes
	// effect with an up before the destroy.
	ForceDestroy bool `pulumi:"forceDestroy,optional"`
	// DenyInsecureTransport refuses requests without TLS. The default is true
	// (CIS AWS 2.1.1, Security Hub S3.5).
	DenyInsecureTransport *bool `pulumi:"denyInsecureTransport,optional"`
	// DenyForeignKeys refuses uploads that name another algorithm or another
	// key, or bring a key of their own (SSE-C). An upload that names no
	// encryption is not refused: it gets the bucket's default. The default is
	// true.
	DenyForeignKeys *bool `pulumi:"denyForeignKeys,optional"`
	// ReencryptionPrincipals are the ARNs of the IAM roles and users that may
	// replicate objects into the bucket (s3:ReplicateObject) or change the key of
	// an object in place (s3:UpdateObjectEncryption). DenyForeignKeys denies both
	// to everyone else, because no condition key is documented to hold the key
	// that they choose. The default is none.
	ReencryptionPrincipals pulumi.StringArrayInput `pulumi:"reencryptionPrincipals,optional"`
	// SSES3Services are the service principals that may upload objects under SSE-S3
	// although DenyForeignKeys denies that to every other caller. CloudTrail needs
	// it: "cloudtrail.amazonaws.com" names SSE-S3 for the digest files of a trail.
	// The default is none.
	// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/encrypting-cloudtrail-log-files-with-aws-kms.html
	SSES3Services []string `pulumi:"sseS3Services,optional"`
	// Statements are further statements of the bucket policy, beside the denials
	// above: S3 allows a bucket one policy. A bucket whose public access is blocked
	// takes none that is public. The default is none.
	Statements []PolicyStatement `pulumi:"statements,optional"`
	// LifecycleRules say when objects move to another storage class or expire.
	// The default is none.
	LifecycleRules []LifecycleRule `pulumi:"lifecycleRules,optional"`
	// Logging sends the bucket's access log to another bucket. The default is
	// no access log.
	Logging *AccessLogging `pulumi:"logging,optional"`
	// ObjectLock keeps objects from being deleted or overwritten. It can only be
	// turned on when the bucket is made, and needs Versioning. The default is
	// off.
	ObjectLock *ObjectLock `pulumi:"objectLock,optional"`
	// Replication copies new objects into another bucket, under another key. It
	// needs Versioning. The default is no replication.
	Replication *Replication `pulumi:"replication,optional"`
	// Tags are the bucket's tags.
	Tags pulumi.StringMapInput `pulumi:"tags,optional"`
}

// LifecycleRule is one rule of a bucket's lifecycle.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lifecycle-mgmt.html
type LifecycleRule struct {
	// ID names the rule, 1 to 255 characters. Required.
	ID string `pulumi:"id"`
	// Prefix limits the rule to keys that begin so. The default is all keys.
	Prefix string `pulumi:"prefix,optional"`
	// ExpirationDays deletes objects so many days after they were written; in a
	// versioned bucket it puts a delete marker on them. At least 1, and more than
	// the days of any of Transitions.
	ExpirationDays *int `pulumi:"expirationDays,optional"`
	// NoncurrentExpirationDays deletes versions so many days after they were
	// replaced. At least 1.
	NoncurrentExpirationDays *int `pulumi:"noncurrentExpirationDays,optional"`
	// AbortIncompleteMultipartDays removes uploads that were begun and not
	// finished. At least 1.
	AbortIncompleteMultipartDays *int `pulumi:"abortIncompleteMultipartDays,optional"`
	// Transitions move objects to cheaper storage.
	Transitions []LifecycleTransition `pulumi:"transitions,optional"`
}

// LifecycleTransition moves objects to another storage class.
type LifecycleTransition struct {
	// Days after the object was written. At least 0; S3 wants 30 for
	// STANDARD_IA and ONEZONE_IA.
	Days int `pulumi:"days"`
	// StorageClass is STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING, GLACIER,
	// GLACIER_IR or DEEP_ARCHIVE.
	StorageClass string `pulumi:"storageClass"`
}

// storageClasses are those of LifecycleTransition.
var storageClasses = []string{"STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "GLACIER_IR", "DEEP_ARCHIVE"}

// AccessLogging sends a bucket's access log elsewhere.
type AccessLogging struct {
	// TargetBucket is the bucket that takes the log, in the same Region and
	// account. Its policy must let logging.s3.amazonaws.com write there, and its
	// default encryption must be SSE-S3, so that it cannot be an EncryptedBucket.
	// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
	TargetBucket pulumi.StringInput `pulumi:"targetBucket"`
	// TargetPrefix is what the log's keys begin with. The default is the name of
	// the component and "/".
	TargetPrefix string `pulumi:"targetPrefix,optional"`
}

// ObjectLock is the retention that new objects get.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
type ObjectLock struct {
	// Mode is GOVERNANCE, which some may be allowed to bypass, or COMPLIANCE,
	// which no principal can, the account root included. The default is no retention:
	// objects are locked one by one.
	Mode string `pulumi:"mode,optional"`
	// Days is how long, 1 to 36500. Required with Mode.
	Days *int `pulumi:"days,optional"`
}

// NewEncryptedBucket makes a bucket. [LookupEncryptedBucket] reads an existing one.
func NewEncryptedBucket(ctx *pulumi.Context, name string, args *EncryptedBucketArgs, opts ...pulumi.ResourceOption) (*EncryptedBucket, error) {
	if args == nil {
		args = &EncryptedBucketArgs{}
	}
	if err := errors.Join(args.validate(name), begin(ctx)); err != nil {
		return nil, err
	}
	c := &EncryptedBucket{}
	if err := ctx.RegisterComponentResource(EncryptedBucketType, name, c, opts...); err != nil {
		return nil, err
	}
	if err := apart(func() error { return c.create(ctx, name, args) }); err != nil {
		return nil, err
	}
	return c, c.complete(ctx)
}

// complete makes the outputs that a new and an existing bucket share.
func (c *EncryptedBucket) complete(ctx *pulumi.Context) error {
	c.ReadPolicy, c.WritePolicy = bucketAccess(c.BucketArn, c.KmsKeyArn, accessRead), bucketAccess(c.BucketArn, c.KmsKeyArn, accessWrite)
	c.ReadWritePolicy = bucketAccess(c.BucketArn, c.KmsKeyArn, accessRead|accessWrite)
	return ctx.RegisterResourceOutputs(c, pulumi.Map{
		"bucketName": c.BucketName, "bucketArn": c.BucketArn, "kmsKeyArn": c.KmsKeyArn,
		"domainName": c.DomainName, "regionalDomainName": c.RegionalDomainName,
		"readPolicy": c.ReadPolicy, "writePolicy": c.WritePolicy, "readWritePolicy": c.ReadWritePolicy,
		"replicationPolicy": c.ReplicationPolicy,
	})
}

func (a *EncryptedBucketArgs) validate(name string) error {
	var errs []error
	if a.KmsKeyArn != nil {
		errs = append(errs, checkPlain(a.KmsKeyArn, validateKeyArn))
	}
	for _, p := range plainStrings(a.ReencryptionPrincipals) {
		errs = append(errs, validatePrincipal("ReencryptionPrincipals", p))
	}
	if a.ReencryptionPrincipals != nil && !orTrue(a.DenyForeignKeys) {
		errs = append(errs, wrong("ReencryptionPrincipals", "they are exceptions of DenyForeignKeys, which is off"))
	}
	errs = append(errs, validateStatements("s3", a.Statements))
	// Names used twice and a policy too large show with any bucket's ARN.
	_, err := a.policy(plainStrings(a.ReencryptionPrincipals), plainStatements(a.Statements)).document("arn:aws:s3:::"+name, keyARN{partition: "aws"})
	errs = append(errs, err)
	if a.KmsKeyArn == nil {
		errs = append(errs, wrong("KmsKeyArn", "it is required: the ARN of the key to encrypt with"))
	}
	switch {
	case a.BucketName != nil && a.BucketPrefix != nil:
		errs = append(errs, wrong("BucketName", "and BucketPrefix exclude each other: give one or the other"))
	case a.BucketName != nil:
		errs = append(errs, checkPlain(a.BucketName, func(s string) error { return validateBucketName("BucketName", s) }))
	case a.BucketPrefix != nil:
		errs = append(errs, checkPlain(a.BucketPrefix, func(s string) error { return validateBucketPrefix("BucketPrefix", s) }))
	default:
		if err := validateBucketPrefix("BucketPrefix", defaultPrefix(name, "000000000000")); err != nil {
			errs = append(errs, fmt.Errorf("BucketName or BucketPrefix: give one, since none can be made of the component's name: %w", err))
		}
	}
	seen := map[string]bool{}
	for i, r := range a.LifecycleRules {
		errs = append(errs, r.validate(fmt.Sprintf("LifecycleRules[%d]", i)))
		if seen[r.ID] {
			errs = append(errs, wrong(fmt.Sprintf("LifecycleRules[%d].ID", i), "two rules are named %q", r.ID))
		}
		seen[r.ID] = true
	}
	if a.Logging != nil {
		if a.Logging.TargetBucket == nil {
			errs = append(errs, wrong("Logging.TargetBucket", "it is required"))
		}
		errs = append(errs, checkPlain(a.Logging.TargetBucket, validateTarget))
	}
	if len(a.SSES3Services) > 0 && !orTrue(a.DenyForeignKeys) {
		errs = append(errs, wrong("SSES3Services", "needs DenyForeignKeys: without it, no upload under SSE-S3 is denied"))
	}
	for _, service := range a.SSES3Services {
		errs = append(errs, validateService("SSES3Services", service))
	}
	errs = append(errs, validateTags("Tags", a.Tags))
	if a.ObjectLock != nil {
		if !orTrue(a.Versioning) {
			errs = append(errs, wrong("ObjectLock", "needs Versioning"))
		}
		errs = append(errs, a.ObjectLock.validate())
	}
	if a.Replication != nil {
		if !orTrue(a.Versioning) {
			errs = append(errs, wrong("Replication", "needs Versioning"))
		}
		bucketName, _ := plainString(a.BucketName)
		errs = append(errs, a.Replication.validate(bucketName))
	}
	return validateAll("EncryptedBucket", name, errs...)
}

func (a *EncryptedBucketArgs) policy(reencryption []string, statements []policyStatement) bucketPolicy {
	return bucketPolicy{orTrue(a.DenyInsecureTransport), orTrue(a.DenyForeignKeys), a.SSES3Services, reencryption, statements}
}

func validateKeyArn(s string) error {
	_, err := parseKeyARN("KmsKeyArn", s)
	return err
}

func validateTarget(s string) error { return validateBucketName("Logging.TargetBucket", s) }

func defaultPrefix(name, account string) string { return name + "-" + account + "-" }

func (r LifecycleRule) validate(field string) error {
	var errs []error
	if r.ID == "" || len(r.ID) > 255 {
		errs = append(errs, invalid(field+".ID", r.ID, "it must have 1 to 255 characters"))
	}
	for _, d := range []struct {
		name string
		v    *int
	}{
		{"ExpirationDays", r.ExpirationDays},
		{"NoncurrentExpirationDays", r.NoncurrentExpirationDays},
		{"AbortIncompleteMultipartDays", r.AbortIncompleteMultipartDays},
	} {
		if d.v != nil && *d.v < 1 {
			errs = append(errs, invalidNumber(field+"."+d.name, *d.v, "it must be at least 1 day"))
		}
	}
	for _, t := range r.Transitions {
		least := 0
		if t.StorageClass == "STANDARD_IA" || t.StorageClass == "ONEZONE_IA" {
			least = 30
		}
		if !slices.Contains(storageClasses, t.StorageClass) {
			errs = append(errs, invalid(field+".Transitions.StorageClass", t.StorageClass, "it must be "+oneOf(storageClasses)))
		}
		if t.Days < least {
			errs = append(errs, invalidNumber(field+".Transitions.Days", t.Days, fmt.Sprintf("%s wants at least %d", t.StorageClass, least)))
		}
		if r.ExpirationDays != nil && *r.ExpirationDays <= t.Days {
			errs = append(errs, invalidNumber(field+".ExpirationDays", *r.ExpirationDays, fmt.Sprintf("it must be more than the %d days after which objects move to %s", t.Days, t.StorageClass)))
		}
	}
	if r.ExpirationDays == nil && r.NoncurrentExpirationDays == nil && r.AbortIncompleteMultipartDays == nil && len(r.Transitions) == 0 {
		errs = append(errs, wrong(field, "rule %q does nothing: give ExpirationDays, NoncurrentExpirationDays, AbortIncompleteMultipartDays or Transitions", r.ID))
	}
	return errors.Join(errs...)
}

func (l ObjectLock) validate() error {
	switch {
	case l.Mode == "" && l.Days == nil:
		return nil
	case l.Mode != "GOVERNANCE" && l.Mode != "COMPLIANCE":
		return invalid("ObjectLock.Mode", l.Mode, "it must be GOVERNANCE or COMPLIANCE")
	case l.Days == nil:
		return wrong("ObjectLock.Days", "it is required with Mode")
	}
	_, err := days("ObjectLock.Days", l.Days, 1, 36500, 0)
	return err
}

func orTrue(b *bool) bool { return b == nil || *b }

// create makes the bucket and then its settings one after the other: S3 answers
// 409 OperationAborted to two changes of one bucket at the same moment.
//
// Every setting is "deleted with" the bucket: destroy does not strip a bucket
// of its protection before it finds that the bucket is not empty and has to
// stay.
func (c *EncryptedBucket) create(ctx *pulumi.Context, name string, args *EncryptedBucketArgs) error {
	keyArn := checked(args.KmsKeyArn, validateKeyArn)
	bucketArgs := &s3.BucketV2Args{ForceDestroy: pulumi.Bool(args.ForceDestroy), Tags: args.Tags}
	switch {
	case args.BucketName != nil:
		bucketArgs.Bucket = checked(args.BucketName, func(s string) error { return validateBucketName("BucketName", s) })
	case args.BucketPrefix != nil:
		bucketArgs.BucketPrefix = checked(args.BucketPrefix, func(s string) error { return validateBucketPrefix("BucketPrefix", s) })
	default:
		bucketArgs.BucketPrefix = keyArn.ApplyT(func(arn string) (string, error) {
			key, err := parseKeyARN("KmsKeyArn", arn)
			return defaultPrefix(name, key.account), err
		}).(pulumi.StringOutput)
	}
	if args.ObjectLock != nil {
		bucketArgs.ObjectLockEnabled = pulumi.Bool(true)
	}
	tagged, err := taggedAfterUpdate(ctx, name)
	if err != nil {
		return err
	}
	// A bucket that is not empty fails to be deleted, and so keeps what it depends on:
	// the key, without which its objects cannot be read.
	key := keyArn.ApplyT(func(string) []pulumi.Resource { return nil }).(pulumi.ResourceArrayOutput)
	// A bucket with data in it is not replaced because a prefix has changed, or
	// is not known yet.
	bucket, err := s3.NewBucketV2(ctx, name+"-bucket", bucketArgs, child(c, tagged, pulumi.DependsOnInputs(key),
		pulumi.IgnoreChanges([]string{"bucketPrefix"}),
		// The provider reads the settings back into the bucket as well; each is
		// shown once, by the resource that sets it.
		pulumi.HideDiffs([]string{"policy", "serverSideEncryptionConfigurations", "versionings"}),
	)...)
	if err != nil {
		return fmt.Errorf("creating the bucket of %s: %w", name, err)
	}
	ofProgram(ctx, func(p *program) { p.buckets = append(p.buckets, bucket.Bucket) })
	var last pulumi.Resource = bucket
	next := func() []pulumi.ResourceOption {
		return child(c, pulumi.DependsOn([]pulumi.Resource{last}), pulumi.DeletedWith(bucket))
	}

	encryption, err := s3.NewBucketServerSideEncryptionConfigurationV2(ctx, name+"-encryption", &s3.BucketServerSideEncryptionConfigurationV2Args{
		Bucket: bucket.Bucket,
		Rules: s3.BucketServerSideEncryptionConfigurationV2RuleArray{s3.BucketServerSideEncryptionConfigurationV2RuleArgs{
			ApplyServerSideEncryptionByDefault: s3.BucketServerSideEncryptionConfigurationV2RuleApplyServerSideEncryptionByDefaultArgs{
				SseAlgorithm:   pulumi.String("aws:kms"),
				KmsMasterKeyId: inRegion(keyArn, bucket.Region),
			},
			BucketKeyEnabled: pulumi.Bool(orTrue(args.BucketKeyEnabled)),
		}},
	}, next()...)
	if err != nil {
		return fmt.Errorf("setting the encryption of %s: %w", name, err)
	}
	last = encryption
	readyKey := encryption.Rules.Index(pulumi.Int(0)).ApplyServerSideEncryptionByDefault().KmsMasterKeyId().Elem()

	access, err := s3.NewBucketPublicAccessBlock(ctx, name+"-public-access", &s3.BucketPublicAccessBlockArgs{
		Bucket:                bucket.Bucket,
		BlockPublicAcls:       pulumi.Bool(true),
		BlockPublicPolicy:     pulumi.Bool(true),
		IgnorePublicAcls:      pulumi.Bool(true),
		RestrictPublicBuckets: pulumi.Bool(true),
	}, next()...)
	if err != nil {
		return fmt.Errorf("blocking public access to %s: %w", name, err)
	}
	last = access

	ownership, err := s3.NewBucketOwnershipControls(ctx, name+"-ownership", &s3.BucketOwnershipControlsArgs{
		Bucket: bucket.Bucket,
		Rule:   s3.BucketOwnershipControlsRuleArgs{ObjectOwnership: pulumi.String("BucketOwnerEnforced")},
	}, next()...)
	if err != nil {
		return fmt.Errorf("setting the ownership of %s: %w", name, err)
	}
	last = ownership
	// ready is the name once the last setting is made: a resource that writes waits for
	// all of them.
	ready := ownership.Bucket

	if orTrue(args.Versioning) {
		versioning, err := s3.NewBucketVersioningV2(ctx, name+"-versioning", &s3.BucketVersioningV2Args{
			Bucket:                  bucket.Bucket,
			VersioningConfiguration: s3.BucketVersioningV2VersioningConfigurationArgs{Status: pulumi.String("Enabled")},
		}, next()...)
		if err != nil {
			return fmt.Errorf("turning on versioning of %s: %w", name, err)
		}
		last, ready = versioning, versioning.Bucket
	}
	if args.ObjectLock != nil && args.ObjectLock.Mode != "" {
		lock, err := s3.NewBucketObjectLockConfigurationV2(ctx, name+"-object-lock", &s3.BucketObjectLockConfigurationV2Args{
			Bucket: bucket.Bucket,
			Rule: s3.BucketObjectLockConfigurationV2RuleArgs{DefaultRetention: s3.BucketObjectLockConfigurationV2RuleDefaultRetentionArgs{
				Mode: pulumi.String(args.ObjectLock.Mode),
				Days: pulumi.IntPtrFromPtr(args.ObjectLock.Days),
			}},
		}, next()...)
		if err != nil {
			return fmt.Errorf("locking the objects of %s: %w", name, err)
		}
		last, ready = lock, lock.Bucket
	}
	if len(args.LifecycleRules) > 0 {
		lifecycle, err := s3.NewBucketLifecycleConfigurationV2(ctx, name+"-lifecycle", &s3.BucketLifecycleConfigurationV2Args{
			Bucket: bucket.Bucket,
			Rules:  lifecycleRules(args.LifecycleRules),
		}, next()...)
		if err != nil {
			return fmt.Errorf("setting the lifecycle of %s: %w", name, err)
		}
		last, ready = lifecycle, lifecycle.Bucket
	}
	if args.Logging != nil {
		prefix := args.Logging.TargetPrefix
		if prefix == "" {
			prefix = name + "/"
		}
		logging, err := s3.NewBucketLoggingV2(ctx, name+"-logging", &s3.BucketLoggingV2Args{
			Bucket: bucket.Bucket, TargetBucket: checked(args.Logging.TargetBucket, validateTarget), TargetPrefix: pulumi.String(prefix),
		}, next()...)
		if err != nil {
			return fmt.Errorf("setting the access log of %s: %w", name, err)
		}
		last, ready = logging, logging.Bucket
	}
	c.ReplicationPolicy = pulumi.String("").ToStringOutput()
	if args.Replication != nil {
		replication, err := args.Replication.create(ctx, name, bucket, next())
		if err != nil {
			return fmt.Errorf("setting the replication of %s: %w", name, err)
		}
		last, ready = replication, replication.Bucket
		c.ReplicationPolicy = args.Replication.policy(bucket, keyArn, args.ObjectLock != nil)
	}
	if orTrue(args.DenyInsecureTransport) || orTrue(args.DenyForeignKeys) || len(args.Statements) > 0 {
		bp, err := s3.NewBucketPolicy(ctx, name+"-policy", &s3.BucketPolicyArgs{
			Bucket: bucket.Bucket,
			Policy: pulumi.All(bucket.Arn, keyArn, orEmpty(args.ReencryptionPrincipals), statementValues(args.Statements)).ApplyT(func(v []any) (string, error) {
				key, err := parseKeyARN("KmsKeyArn", v[1].(string))
				if err != nil {
					return "", err
				}
				policy := args.policy(v[2].([]string), v[3].([]policyStatement))
				for _, p := range policy.reencryption {
					if e := validatePrincipal("ReencryptionPrincipals", p); e != nil {
						err = errors.Join(err, e)
					} else {
						err = errors.Join(err, samePartition("ReencryptionPrincipals", p, key))
					}
				}
				if err := errors.Join(err, checkStatements("s3", policy.statements, key)); err != nil {
					return "", err
				}
				return policy.document(v[0].(string), key)
			}).(pulumi.StringOutput),
		}, next()...)
		if err != nil {
			return fmt.Errorf("setting the policy of %s: %w", name, err)
		}
		ready = bp.Bucket
	}
	c.BucketName, c.KmsKeyArn = ready, readyKey
	whenReady := func(out pulumi.StringOutput) pulumi.StringOutput {
		return pulumi.All(out, ready).ApplyT(func(v []any) string { return v[0].(string) }).(pulumi.StringOutput)
	}
	c.BucketArn, c.DomainName, c.RegionalDomainName = whenReady(bucket.Arn), whenReady(bucket.BucketDomainName), whenReady(bucket.BucketRegionalDomainName)
	c.Bucket = bucket
	return nil
}

// taggedAfterUpdate is the option that fails an up that leaves the bucket without
// its tags, for the reason of [rotatesAfterUpdate].
func taggedAfterUpdate(ctx *pulumi.Context, name string) (pulumi.ResourceOption, error) {
	hook, err := ctx.RegisterResourceHook(hookName(ctx, "tags of the bucket of "+name), func(h *pulumi.ResourceHookArgs) error {
		want, got := h.NewInputs["tags"], h.NewOutputs["tags"]
		if !want.IsObject() || want.ContainsUnknowns() {
			return nil
		}
		for k, v := range want.ObjectValue() {
			if strings.HasPrefix(string(k), "__") { // the provider's own
				continue
			}
			if !got.IsObject() || !got.ObjectValue()[k].DeepEquals(v) {
				return fmt.Errorf("the bucket of %s was half made by an up that failed, and does not have its tags yet: run pulumi up again", name)
			}
		}
		return nil
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("preparing to look at the tags of the bucket of %s: %w", name, err)
	}
	return pulumi.ResourceHooks(&pulumi.ResourceHookBinding{AfterUpdate: []*pulumi.ResourceHook{hook}}), nil
}

// inRegion is keyArn, refused where the bucket is in another Region: S3 takes
// the setting and refuses every upload afterwards.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
func inRegion(keyArn, region pulumi.StringOutput) pulumi.StringOutput {
	return pulumi.All(keyArn, region).ApplyT(func(v []any) (string, error) {
		arn, region := v[0].(string), v[1].(string)
		key, err := parseKeyARN("KmsKeyArn", arn)
		if err == nil && region != "" && key.region != region {
			err = invalid("KmsKeyArn", arn, fmt.Sprintf("the key is in %s and the bucket in %s, where S3 could not use it: give a key of that Region, or a replica", key.region, region))
		}
		return arn, err
	}).(pulumi.StringOutput)
}

func lifecycleRules(rules []LifecycleRule) s3.BucketLifecycleConfigurationV2RuleArray {
	var out s3.BucketLifecycleConfigurationV2RuleArray
	for _, r := range rules {
		rule := s3.BucketLifecycleConfigurationV2RuleArgs{
			Id:     pulumi.String(r.ID),
			Status: pulumi.String("Enabled"),
			Filter: s3.BucketLifecycleConfigurationV2RuleFilterArgs{Prefix: pulumi.String(r.Prefix)},
		}
		if r.ExpirationDays != nil {
			rule.Expiration = s3.BucketLifecycleConfigurationV2RuleExpirationArgs{Days: pulumi.Int(*r.ExpirationDays)}
		}
		if r.NoncurrentExpirationDays != nil {
			rule.NoncurrentVersionExpiration = s3.BucketLifecycleConfigurationV2RuleNoncurrentVersionExpirationArgs{NoncurrentDays: pulumi.Int(*r.NoncurrentExpirationDays)}
		}
		if r.AbortIncompleteMultipartDays != nil {
			rule.AbortIncompleteMultipartUpload = s3.BucketLifecycleConfigurationV2RuleAbortIncompleteMultipartUploadArgs{DaysAfterInitiation: pulumi.Int(*r.AbortIncompleteMultipartDays)}
		}
		var transitions s3.BucketLifecycleConfigurationV2RuleTransitionArray
		for _, t := range r.Transitions {
			transitions = append(transitions, s3.BucketLifecycleConfigurationV2RuleTransitionArgs{Days: pulumi.Int(t.Days), StorageClass: pulumi.String(t.StorageClass)})
		}
		if transitions != nil {
			rule.Transitions = transitions
		}
		out = append(out, rule)
	}
	return out
}
