// Package audittrail gives an account a trail of CloudTrail whose log files are
// encrypted with a customer managed key, and what it takes to ask them in SQL: an
// Athena workgroup and a table with partition projection.
//
// It is a package of its own, so that a program that imports only package
// components does not compile pulumi-aws's cloudtrail, athena and glue.
package audittrail

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/athena"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/cloudtrail"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/glue"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/securethecloud/kms-baseline/components"
)

// AuditTrailType is the type token of [AuditTrail].
const AuditTrailType = "kms-baseline:index:AuditTrail"

// AuditTrail is a multi-Region trail of one account, or of an organization: a key, a
// bucket for the log files, the trail with log file validation, and an Athena workgroup
// and a Glue table to query them.
//
// All its resources are protected: destroy, and an up that would delete or replace
// one of them, fail and delete none of them, because an account without its trail is
// less protected. AllowDestroy lifts that.
type AuditTrail struct {
	pulumi.ResourceState

	// TrailArn is the trail's ARN. It resolves once the trail logs.
	TrailArn pulumi.StringOutput `pulumi:"trailArn"`
	// KmsKeyArn is the ARN of the key that encrypts the log files and the results of
	// queries.
	KmsKeyArn pulumi.StringOutput `pulumi:"kmsKeyArn"`
	// BucketName is the name of the bucket with the log files.
	BucketName pulumi.StringOutput `pulumi:"bucketName"`
	// ResultsBucketName is the name of the bucket with the results of queries.
	ResultsBucketName pulumi.StringOutput `pulumi:"resultsBucketName"`
	// FilesSource and AthenaSource are values of verify's flag --events: the log
	// files, "s3://BUCKET", and the table, "athena:WORKGROUP/DATABASE.TABLE".
	FilesSource  pulumi.StringOutput `pulumi:"filesSource"`
	AthenaSource pulumi.StringOutput `pulumi:"athenaSource"`

	// Key is the component of a new key; nil with KmsKeyArn.
	Key *components.CustomerKey
	// Bucket and Results are the components of the two buckets.
	Bucket, Results *components.EncryptedBucket
	// Trail, Workgroup, Database and Table are the resources themselves.
	Trail     *cloudtrail.Trail
	Workgroup *athena.Workgroup
	Database  *glue.CatalogDatabase
	Table     *glue.CatalogTable
}

// AuditTrailArgs are the arguments of [NewAuditTrail].
type AuditTrailArgs struct { //nolint:revive // every component's arguments are named for it
	// TrailName is the name of the trail: 3 to 128 letters, digits, ".", "_" and "-",
	// beginning and ending with a letter or a digit, without two of the others in
	// a row. Another name is another trail, which up refuses without AllowDestroy.
	// The default is the component's name.
	// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-trail-naming-requirements.html
	TrailName string `pulumi:"trailName,optional"`
	// OrganizationID is the ID of the organization whose trail it is, as in "o-a1b2c3d4e5".
	// The trail then logs all its active accounts, also those that join later, which see
	// the trail and cannot change it. The program must run in the organization's management
	// account; the organization must have all features, and trust CloudTrail as with "aws
	// organizations enable-aws-service-access --service-principal cloudtrail.amazonaws.com".
	// Each account has a folder of its own in the bucket, which only the management account
	// can read unless Bucket.Statements and Key allow more. The table has the partition key
	// account, for which a query must name values: WHERE account = '111122223333'. The
	// default is a trail of the program's account alone.
	// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/creating-an-organizational-trail-prepare.html
	OrganizationID pulumi.StringInput `pulumi:"organizationId,optional"`
	// Key are arguments of the key. CloudTrail is added to its Services, unless Policy
	// is the whole policy. The default is a new key without further arguments. Key
	// and KmsKeyArn exclude each other.
	Key *components.CustomerKeyArgs `pulumi:"key,optional"`
	// KmsKeyArn is the ARN of a key of this account and Region instead of a new one.
	// Its policy must let CloudTrail use it, as CustomerKeyArgs.Services does for
	// "cloudtrail.amazonaws.com". Where the same program makes the key, give the
	// option pulumi.DependsOn with it, so that its policy is set before the trail
	// is created.
	KmsKeyArn pulumi.StringInput `pulumi:"kmsKeyArn,optional"`
	// Bucket are arguments of the bucket with the log files. Its KmsKeyArn is the
	// trail's, and the statements that CloudTrail needs are added. The default is a
	// bucket without further arguments, which keeps log files forever.
	Bucket *components.EncryptedBucketArgs `pulumi:"bucket,optional"`
	// DataEventBuckets are the names of buckets whose objects' reads and writes the
	// trail logs, beside the management events: at most 250. The trail's own bucket
	// may not be one, since each log file would cause another event. Where the up that
	// creates the trail fails, they may be missing without a sign of it:
	// docs/interruptions.md has the remedy, and verify's check trail.logging reports
	// whether they are logged. The default is none; AWS charges for data events.
	// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-data-events-with-cloudtrail.html
	DataEventBuckets pulumi.StringArrayInput `pulumi:"dataEventBuckets,optional"`
	// Regions are the Regions whose log files the table shows. The trail logs every
	// Region, whatever this says. Required.
	Regions []string `pulumi:"regions"`
	// Since is the first day that the table shows, as in "2026-01-31": the day on
	// which the trail is created, or an earlier one if the bucket has log files of
	// another trail. Required.
	Since string `pulumi:"since"`
	// BytesScannedCutoff is how many bytes a query may scan before Athena cancels
	// it: at least 10485760. The default is 100 GiB, which costs half a US dollar at
	// USD 5 per TB.
	// Source: https://docs.aws.amazon.com/athena/latest/ug/workgroups-setting-control-limits-cloudwatch.html
	BytesScannedCutoff *int `pulumi:"bytesScannedCutoff,optional"`
	// ResultsExpirationDays deletes the results of queries after so many days: at
	// least 1. The default is 30.
	ResultsExpirationDays *int `pulumi:"resultsExpirationDays,optional"`
	// AllowDestroy lets destroy delete what the component has made, and up replace it.
	// It takes effect with an up before the destroy. The trail is deleted first: with
	// it, logging ends. A bucket with log files in it stays, with all its protection
	// and its key, unless Bucket.ForceDestroy is set; another up then creates the
	// trail again. The default is false.
	AllowDestroy bool `pulumi:"allowDestroy,optional"`
	// Tags are the tags of the trail, the workgroup, the database and the results
	// bucket, and of the key and the bucket unless Key.Tags and Bucket.Tags are
	// given.
	Tags pulumi.StringMapInput `pulumi:"tags,optional"`
}

const (
	service = "cloudtrail.amazonaws.com"

	defaultCutoff = 100 << 30
	// minCutoff is the least limit that the provider takes.
	minCutoff = 10 << 20

	maxDataEventBuckets = 250
)

// NewAuditTrail makes a trail and what it needs.
func NewAuditTrail(ctx *pulumi.Context, name string, args *AuditTrailArgs, opts ...pulumi.ResourceOption) (*AuditTrail, error) {
	if args == nil {
		args = &AuditTrailArgs{}
	}
	if err := args.validate(name); err != nil {
		return nil, err
	}
	c := &AuditTrail{}
	if err := ctx.RegisterComponentResource(AuditTrailType, name, c, opts...); err != nil {
		return nil, err
	}
	after, err := pulumi.NewResourceOptions(opts...)
	if err != nil {
		return nil, err
	}
	for _, create := range []func(*pulumi.Context, string, *AuditTrailArgs) error{
		c.createKey, c.createBuckets,
		func(ctx *pulumi.Context, name string, args *AuditTrailArgs) error {
			return c.createTrail(ctx, name, args, after.DependsOn)
		},
		c.createTable, c.createWorkgroup,
	} {
		if err := create(ctx, name, args); err != nil {
			return nil, err
		}
	}
	c.FilesSource = pulumi.Sprintf("s3://%s", c.BucketName)
	c.AthenaSource = pulumi.Sprintf("athena:%s/%s.%s", c.Workgroup.Name, c.Database.Name, c.Table.Name)
	return c, ctx.RegisterResourceOutputs(c, pulumi.Map{
		"trailArn": c.TrailArn, "kmsKeyArn": c.KmsKeyArn, "bucketName": c.BucketName, "resultsBucketName": c.ResultsBucketName,
		"filesSource": c.FilesSource, "athenaSource": c.AthenaSource,
	})
}

// child are the options of a child, which is protected unless AllowDestroy is set.
func (c *AuditTrail) child(args *AuditTrailArgs, opts ...pulumi.ResourceOption) []pulumi.ResourceOption {
	return append([]pulumi.ResourceOption{pulumi.Parent(c), pulumi.Protect(!args.AllowDestroy)}, opts...)
}

func (c *AuditTrail) createKey(ctx *pulumi.Context, name string, args *AuditTrailArgs) error {
	if args.KmsKeyArn != nil {
		c.KmsKeyArn = args.KmsKeyArn.ToStringOutput()
		return nil
	}
	keyArgs := args.key()
	key, err := components.NewCustomerKey(ctx, name, &keyArgs, c.child(args)...)
	if err != nil {
		return err
	}
	c.Key, c.KmsKeyArn = key, key.KeyArn
	return nil
}

// key are the arguments of a new key: a copy, since the caller's are the caller's.
func (a *AuditTrailArgs) key() components.CustomerKeyArgs {
	var key components.CustomerKeyArgs
	if a.Key != nil {
		key = *a.Key
	}
	if key.Policy == nil {
		key.Services = withService(key.Services)
	}
	if key.Tags == nil {
		key.Tags = a.Tags
	}
	return key
}

// withService is services and CloudTrail.
func withService(services pulumi.StringArrayInput) pulumi.StringArrayInput {
	plain, ok := services.(pulumi.StringArray)
	if ok || services == nil {
		return append(slices.Clone(plain), pulumi.String(service))
	}
	return services.ToStringArrayOutput().ApplyT(func(list []string) []string {
		return append(slices.Clone(list), service)
	}).(pulumi.StringArrayOutput)
}

func (c *AuditTrail) createBuckets(ctx *pulumi.Context, name string, args *AuditTrailArgs) error {
	logs := args.bucket(name, c.KmsKeyArn)
	bucket, err := components.NewEncryptedBucket(ctx, name, &logs, c.child(args)...)
	if err != nil {
		return err
	}
	c.Bucket, c.BucketName = bucket, bucket.BucketName
	days, one := args.resultsExpirationDays(), 1
	results, err := components.NewEncryptedBucket(ctx, name+"-results", &components.EncryptedBucketArgs{
		KmsKeyArn:    c.KmsKeyArn,
		ForceDestroy: true, // a query can be run again
		LifecycleRules: []components.LifecycleRule{{
			ID: "results", ExpirationDays: &days, NoncurrentExpirationDays: &one, AbortIncompleteMultipartDays: &one,
		}},
		Tags: args.Tags,
	}, c.child(args)...)
	if err != nil {
		return err
	}
	c.Results, c.ResultsBucketName = results, results.BucketName
	return nil
}

// bucket are the arguments of the bucket with the log files, with the statements
// that AWS documents for a trail, and for that of an organization.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-s3-bucket-policy-for-cloudtrail.html
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-create-and-update-an-organizational-trail-by-using-the-aws-cli.html
func (a *AuditTrailArgs) bucket(name string, key pulumi.StringOutput) components.EncryptedBucketArgs {
	var b components.EncryptedBucketArgs
	if a.Bucket != nil {
		b = *a.Bucket
	}
	of := func(text func(partition, region, account string) string) pulumi.StringArray {
		return pulumi.StringArray{key.ApplyT(func(arn string) (string, error) {
			p := strings.Split(arn, ":")
			if len(p) != 6 {
				return "", wrong("KmsKeyArn", arn, "it must be a KMS key's ARN")
			}
			return text(p[1], p[3], p[4]), nil
		}).(pulumi.StringOutput)}
	}
	trail := of(func(partition, region, account string) string {
		return "arn:" + partition + ":cloudtrail:" + region + ":" + account + ":trail/" + a.trailName(name)
	})
	services := pulumi.StringArray{pulumi.String(service)}
	write := func(sid string, objects pulumi.StringArray) components.PolicyStatement {
		return components.PolicyStatement{
			Sid: sid, Services: services, Actions: pulumi.ToStringArray([]string{"s3:PutObject"}), Objects: objects,
			Conditions: map[string]map[string]pulumi.StringArrayInput{"StringEquals": {
				"aws:SourceArn": trail, "s3:x-amz-acl": pulumi.StringArray{pulumi.String("bucket-owner-full-control")},
			}},
		}
	}
	b.KmsKeyArn = key
	b.SSES3Services = append(slices.Clone(b.SSES3Services), service) // CloudTrail names SSE-S3 for digest files
	b.Statements = append(
		slices.Clone(b.Statements),
		components.PolicyStatement{
			Sid: "AWSCloudTrailAclCheck", Services: services, Actions: pulumi.ToStringArray([]string{"s3:GetBucketAcl"}),
			Conditions: map[string]map[string]pulumi.StringArrayInput{"StringEquals": {"aws:SourceArn": trail}},
		},
		write("AWSCloudTrailWrite", of(func(_, _, account string) string { return "AWSLogs/" + account + "/*" })),
	)
	if a.OrganizationID != nil { // beside the statement for the account, without which AWS refuses the bucket
		b.Statements = append(b.Statements, write("AWSCloudTrailOrganizationWrite", pulumi.StringArray{pulumi.Sprintf("AWSLogs/%s/*", a.organizationID())}))
	}
	if b.Tags == nil {
		b.Tags = a.Tags
	}
	return b
}

// createTrail makes the trail once the bucket and the key are ready for it.
func (c *AuditTrail) createTrail(ctx *pulumi.Context, name string, args *AuditTrailArgs, after []pulumi.Resource) error {
	if c.Key != nil {
		after = append(slices.Clone(after), c.Key) // its policy too
	}
	trailArgs := &cloudtrail.TrailArgs{
		Name:                       pulumi.String(args.trailName(name)),
		S3BucketName:               c.BucketName,
		KmsKeyId:                   c.KmsKeyArn,
		EnableLogging:              pulumi.Bool(true),
		EnableLogFileValidation:    pulumi.Bool(true),
		IncludeGlobalServiceEvents: pulumi.Bool(true),
		IsMultiRegionTrail:         pulumi.Bool(true),
		IsOrganizationTrail:        pulumi.Bool(args.OrganizationID != nil),
		Tags:                       args.Tags,
	}
	if args.DataEventBuckets != nil {
		objects := pulumi.All(args.DataEventBuckets, c.BucketName, c.Bucket.BucketArn).ApplyT(func(v []any) ([]string, error) {
			return dataEventObjects(v[0].([]string), v[1].(string), v[2].(string))
		}).(pulumi.StringArrayOutput)
		trailArgs.EventSelectors = cloudtrail.TrailEventSelectorArray{cloudtrail.TrailEventSelectorArgs{
			ReadWriteType: pulumi.String("All"), IncludeManagementEvents: pulumi.Bool(true),
			DataResources: cloudtrail.TrailEventSelectorDataResourceArray{cloudtrail.TrailEventSelectorDataResourceArgs{
				Type: pulumi.String("AWS::S3::Object"), Values: objects,
			}},
		}}
	}
	logs, err := logsAfterUpdate(ctx, name)
	if err != nil {
		return err
	}
	trail, err := cloudtrail.NewTrail(ctx, name+"-trail", trailArgs, c.child(args, pulumi.DependsOn(after), logs)...)
	if err != nil {
		return fmt.Errorf("creating the trail of %s: %w", name, err)
	}
	c.Trail, c.TrailArn = trail, trail.Arn
	return nil
}

// hooks has how many hooks were made: the engine refuses two of one name in a
// program, and components below different parents may be called the same.
var hooks atomic.Int64

// logsAfterUpdate is the option that fails an up that leaves the trail without
// logging. Where AWS created the trail and then refused to start it, the engine goes
// on with an update in which the provider finds nothing to change, and only
// afterwards sees the current state.
func logsAfterUpdate(ctx *pulumi.Context, name string) (pulumi.ResourceOption, error) {
	hook, err := ctx.RegisterResourceHook(fmt.Sprintf("logging of the trail of %s (%d)", name, hooks.Add(1)), func(h *pulumi.ResourceHookArgs) error {
		if on := h.NewOutputs["enableLogging"]; on.IsBool() && !on.BoolValue() {
			return fmt.Errorf("the trail of %s was half made by an up that failed, and does not log yet: run pulumi up again, and if it has DataEventBuckets, "+
				"see https://github.com/securethecloud/kms-baseline/blob/main/docs/interruptions.md#data-events", name)
		}
		return nil
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("preparing to look at the trail of %s: %w", name, err)
	}
	return pulumi.ResourceHooks(&pulumi.ResourceHookBinding{AfterUpdate: []*pulumi.ResourceHook{hook}}), nil
}

// dataEventObjects are the beginnings of the ARNs of all objects of buckets, of
// which own, with the ARN ownArn, is the trail's.
func dataEventObjects(buckets []string, own, ownArn string) ([]string, error) {
	if len(buckets) == 0 || len(buckets) > maxDataEventBuckets {
		return nil, wrong("DataEventBuckets", "", fmt.Sprintf("there are %d names; give 1 to %d, or leave the argument out", len(buckets), maxDataEventBuckets))
	}
	var objects []string
	for _, b := range buckets {
		switch {
		case b == own && own != "":
			return nil, wrong("DataEventBuckets", b, "it is the trail's own bucket: each log file would cause another event")
		case !bucketName.MatchString(b):
			return nil, wrong("DataEventBuckets", b, "it is not the name of a bucket")
		}
		objects = append(objects, strings.TrimSuffix(ownArn, own)+b+"/")
	}
	return objects, nil
}

func (c *AuditTrail) createTable(ctx *pulumi.Context, name string, args *AuditTrailArgs) error {
	database, err := glue.NewCatalogDatabase(ctx, name+"-database", &glue.CatalogDatabaseArgs{
		Name: pulumi.String(databaseName(name)), Description: pulumi.String("log files of the trail " + args.trailName(name)), Tags: args.Tags,
	}, c.child(args)...)
	if err != nil {
		return fmt.Errorf("creating the database of %s: %w", name, err)
	}
	// The trail's account owns the folder, and the table needs the trail to be of use.
	location := pulumi.All(c.BucketName, c.TrailArn).ApplyT(func(v []any) string {
		account := strings.Split(v[1].(string), ":")[4]
		return "s3://" + v[0].(string) + "/AWSLogs/" + account + "/CloudTrail/"
	}).(pulumi.StringOutput)
	if args.OrganizationID != nil {
		location = pulumi.All(c.BucketName, args.organizationID(), c.TrailArn).ApplyT(func(v []any) string {
			return "s3://" + v[0].(string) + "/AWSLogs/" + v[1].(string) + "/"
		}).(pulumi.StringOutput)
	}
	var keys glue.CatalogTablePartitionKeyArray
	for _, k := range args.partitionKeys() {
		keys = append(keys, glue.CatalogTablePartitionKeyArgs{Name: pulumi.String(k), Type: pulumi.String("string")})
	}
	table, err := glue.NewCatalogTable(ctx, name+"-table", &glue.CatalogTableArgs{
		Name: pulumi.String(tableName), DatabaseName: database.Name, TableType: pulumi.String("EXTERNAL_TABLE"),
		Parameters: location.ApplyT(func(l string) map[string]string { return args.tableParameters(l) }).(pulumi.StringMapOutput),
		StorageDescriptor: glue.CatalogTableStorageDescriptorArgs{
			Columns: glue.CatalogTableStorageDescriptorColumnArray{glue.CatalogTableStorageDescriptorColumnArgs{
				Name: pulumi.String("records"), Type: pulumi.String(recordsType),
			}},
			Location: location, InputFormat: pulumi.String(inputFormat), OutputFormat: pulumi.String(outputFormat),
			SerDeInfo: glue.CatalogTableStorageDescriptorSerDeInfoArgs{SerializationLibrary: pulumi.String(serDe)},
		},
		PartitionKeys: keys,
	}, c.child(args)...)
	if err != nil {
		return fmt.Errorf("creating the table of %s: %w", name, err)
	}
	c.Database, c.Table = database, table
	return nil
}

func (c *AuditTrail) createWorkgroup(ctx *pulumi.Context, name string, args *AuditTrailArgs) error {
	workgroup, err := athena.NewWorkgroup(ctx, name+"-workgroup", &athena.WorkgroupArgs{
		Name:         pulumi.String(args.trailName(name)),
		Description:  pulumi.String("queries of the trail " + args.trailName(name)),
		ForceDestroy: pulumi.Bool(true), // the history of queries is no evidence
		Configuration: athena.WorkgroupConfigurationArgs{
			BytesScannedCutoffPerQuery:    pulumi.Int(args.cutoff()),
			EnforceWorkgroupConfiguration: pulumi.Bool(true), // or a client could choose another place and no encryption
			ResultConfiguration: athena.WorkgroupConfigurationResultConfigurationArgs{
				OutputLocation: pulumi.Sprintf("s3://%s/", c.ResultsBucketName),
				EncryptionConfiguration: athena.WorkgroupConfigurationResultConfigurationEncryptionConfigurationArgs{
					EncryptionOption: pulumi.String("SSE_KMS"), KmsKeyArn: c.KmsKeyArn,
				},
			},
		},
		Tags: args.Tags,
	}, c.child(args)...)
	if err != nil {
		return fmt.Errorf("creating the workgroup of %s: %w", name, err)
	}
	c.Workgroup = workgroup
	return nil
}

var (
	trailNamePattern = regexp.MustCompile(`^[a-zA-Z0-9]+([._-][a-zA-Z0-9]+)*$`)
	bucketName       = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	organizationID   = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)
	regionName       = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-\d$`)
	notInDatabase    = regexp.MustCompile(`[^a-z0-9_]`)
)

// databaseName is name as Athena takes the name of a database.
// Source: https://docs.aws.amazon.com/athena/latest/ug/tables-databases-columns-names.html
func databaseName(name string) string {
	return notInDatabase.ReplaceAllString(strings.ToLower(name), "_")
}

func (a *AuditTrailArgs) trailName(name string) string {
	if a.TrailName != "" {
		return a.TrailName
	}
	return name
}

// organizationID is OrganizationID, checked also where it is not known before anything
// runs.
func (a *AuditTrailArgs) organizationID() pulumi.StringOutput {
	return a.OrganizationID.ToStringOutput().ApplyT(func(id string) (string, error) {
		return id, checkOrganization(id)
	}).(pulumi.StringOutput)
}

func checkOrganization(id string) error {
	if organizationID.MatchString(id) {
		return nil
	}
	return wrong("OrganizationID", id, `it must be the ID of an organization, as in "o-a1b2c3d4e5"`)
}

func (a *AuditTrailArgs) cutoff() int {
	if a.BytesScannedCutoff != nil {
		return *a.BytesScannedCutoff
	}
	return defaultCutoff
}

func (a *AuditTrailArgs) resultsExpirationDays() int {
	if a.ResultsExpirationDays != nil {
		return *a.ResultsExpirationDays
	}
	return 30
}

func (a *AuditTrailArgs) validate(name string) error {
	var errs []error
	add := func(argument, value, expectation string) { errs = append(errs, wrong(argument, value, expectation)) }
	if n := a.trailName(name); len(n) < 3 || len(n) > 128 || !trailNamePattern.MatchString(n) {
		add("TrailName", n, `it must have 3 to 128 letters, digits, ".", "_" and "-", begin and end with a letter or a digit, and have no two of the others in a row`)
	}
	if id, ok := a.OrganizationID.(pulumi.String); ok {
		errs = append(errs, checkOrganization(string(id)))
	}
	if a.Key != nil && a.KmsKeyArn != nil {
		add("Key", "", "and KmsKeyArn exclude each other: give one or the other")
	}
	if a.Bucket != nil && a.Bucket.KmsKeyArn != nil {
		add("Bucket.KmsKeyArn", "", "the bucket encrypts with the trail's key: leave it out")
	}
	if a.Bucket != nil && a.Bucket.DenyForeignKeys != nil && !*a.Bucket.DenyForeignKeys {
		add("Bucket.DenyForeignKeys", "", "it must stay on: log files are encrypted with the trail's key")
	}
	if plain, ok := a.DataEventBuckets.(pulumi.StringArray); ok {
		var known []string
		for _, b := range plain {
			if s, ok := b.(pulumi.String); ok {
				known = append(known, string(s))
			}
		}
		if len(plain) == 0 || len(known) > 0 {
			_, err := dataEventObjects(known, "", "")
			errs = append(errs, err)
		}
	}
	if len(a.Regions) == 0 {
		add("Regions", "", "it is required: the Regions whose log files the table shows")
	}
	for i, r := range a.Regions {
		if !regionName.MatchString(r) || slices.Contains(a.Regions[:i], r) {
			add("Regions", r, "each must be the name of a Region, as in us-east-1, and occur once")
		}
	}
	if _, err := time.Parse(time.DateOnly, a.Since); err != nil {
		add("Since", a.Since, "it must be a day, as in 2026-01-31")
	}
	if n := a.cutoff(); n < minCutoff {
		add("BytesScannedCutoff", fmt.Sprint(n), fmt.Sprintf("it must be at least %d", minCutoff))
	}
	if n := a.resultsExpirationDays(); n < 1 {
		add("ResultsExpirationDays", fmt.Sprint(n), "it must be at least 1 day")
	}
	for i, err := range errs {
		if err != nil {
			errs[i] = fmt.Errorf("AuditTrail %q: %w", name, err)
		}
	}
	return errors.Join(errs...)
}

func wrong(argument, value, expectation string) error {
	return &components.ArgumentError{Argument: argument, Value: value, Expectation: expectation}
}
