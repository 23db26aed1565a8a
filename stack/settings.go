package stack

import (
	"errors"
	"fmt"
	"os"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"

	"github.com/securethecloud/kms-baseline/components"
)

// settings are the stack's configuration, with the course's values where
// nothing is set. docs/configuration.md describes each.
type settings struct {
	aliasName         string
	additionalAliases []string
	description       string
	rotation          *int
	deletionWindow    *int
	administrators    []string
	serviceUsers      []string
	directUsers       []string
	accounts          []string
	services          []string
	autoScaling       bool
	keyPolicy         string
	multiRegion       bool
	guardDeletion     bool
	existingKeyArn    string

	bucketName            string
	bucketPrefix          string
	bucketKeyEnabled      bool
	versioning            bool
	forceDestroy          bool
	denyInsecureTransport bool
	denyForeignKeys       bool
	lifecycleRules        []components.LifecycleRule
	logging               *accessLog
	objectLock            *components.ObjectLock
	existingBucketName    string

	ebsOnDestroy string
	ebsTakeOver  bool
	ebsExisting  bool
	ebsSharing   bool
	skipEBS      bool

	tags           map[string]string
	protect        bool
	retainOnDelete bool
}

// accessLog is the setting that becomes a components.AccessLogging.
type accessLog struct{ TargetBucket, TargetPrefix string }

// readSettings reads everything before anything is made, and says everything
// that cannot be read at once. Where it says something, the settings that it
// could not read have their defaults.
func readSettings(ctx *pulumi.Context) (*settings, error) {
	r := reader{cfg: config.New(ctx, ""), asked: map[string]bool{}}
	s := &settings{
		aliasName:         r.text("aliasName", "alias/masterclass-cmk"),
		additionalAliases: read[[]string](&r, "additionalAliases", nil, aliasesExample),
		description:       r.text("keyDescription", "Masterclass Day1 CMK"),
		rotation:          r.number("rotationPeriodInDays", 365),
		deletionWindow:    r.number("deletionWindowInDays", 30),
		administrators:    read[[]string](&r, "administrators", nil, arnsExample),
		serviceUsers:      read[[]string](&r, "serviceUsers", nil, arnsExample),
		directUsers:       read[[]string](&r, "directUsers", nil, arnsExample),
		accounts:          read[[]string](&r, "accounts", nil, accountsExample),
		services:          read[[]string](&r, "services", nil, servicesExample),
		autoScaling:       r.flag("allowAutoScaling", false),
		keyPolicy:         r.text("keyPolicy", ""),
		multiRegion:       r.flag("multiRegion", false),
		guardDeletion:     r.flag("guardKeyDeletion", false),
		existingKeyArn:    r.text("existingKeyArn", ""),

		bucketName:            r.text("bucketName", ""),
		bucketPrefix:          r.text("bucketPrefix", ""),
		bucketKeyEnabled:      r.flag("bucketKeyEnabled", true),
		versioning:            r.flag("versioning", true),
		forceDestroy:          r.flag("forceDestroy", false),
		denyInsecureTransport: r.flag("denyInsecureTransport", true),
		denyForeignKeys:       r.flag("denyForeignKeys", true),
		lifecycleRules:        read[[]components.LifecycleRule](&r, "lifecycleRules", nil, rulesExample),
		logging:               read[*accessLog](&r, "logging", nil, loggingExample),
		objectLock:            read[*components.ObjectLock](&r, "objectLock", nil, lockExample),
		existingBucketName:    r.text("existingBucketName", ""),

		ebsOnDestroy: r.text("ebsOnDestroy", components.EBSKeepOn),
		ebsTakeOver:  r.flag("ebsTakeOver", false),
		ebsExisting:  r.flag("ebsExisting", false),
		ebsSharing:   r.flag("ebsBlockSnapshotSharing", false),
		skipEBS:      r.flag("skipEbs", false),

		tags:           read(&r, "tags", map[string]string{"project": "cloud-kms-masterclass"}, tagsExample),
		protect:        r.flag("protect", false),
		retainOnDelete: r.flag("retainOnDelete", false),
	}
	given, err := givenSettings()
	r.errs = append(r.errs, err)
	r.unknown(ctx.Project(), given)
	if config.Get(ctx, "aws:region") == "" && os.Getenv("AWS_REGION") == "" && os.Getenv("AWS_DEFAULT_REGION") == "" {
		r.errs = append(r.errs, errors.New("the Region is not set: pulumi config set aws:region us-east-1"))
	}
	if len(s.tags) > 10 {
		r.errs = append(r.errs, fmt.Errorf("tags has %d tags, and S3 takes 10 on the proof object: pulumi config set tags %s", len(s.tags), tagsExample))
	}
	if s.existingKeyArn != "" {
		// The course's defaults are for a new key.
		r.exclude("existingKeyArn", "aliasName", "additionalAliases", "keyDescription", "rotationPeriodInDays", "deletionWindowInDays", "administrators", "serviceUsers", "directUsers",
			"accounts", "services", "allowAutoScaling", "keyPolicy", "multiRegion", "guardKeyDeletion")
	}
	if s.keyPolicy != "" {
		r.exclude("keyPolicy", "administrators", "serviceUsers", "directUsers", "accounts", "services", "allowAutoScaling")
	}
	if s.existingBucketName != "" {
		r.exclude("existingBucketName", "bucketName", "bucketPrefix", "bucketKeyEnabled", "versioning", "forceDestroy", "denyInsecureTransport",
			"denyForeignKeys", "lifecycleRules", "logging", "objectLock")
	}
	if s.bucketName != "" {
		r.exclude("bucketName", "bucketPrefix")
	}
	if s.ebsExisting {
		r.exclude("ebsExisting", "ebsOnDestroy", "ebsTakeOver", "ebsBlockSnapshotSharing")
	}
	if s.skipEBS {
		r.exclude("skipEbs", "ebsExisting", "ebsOnDestroy", "ebsTakeOver", "ebsBlockSnapshotSharing")
	}
	return s, errors.Join(r.errs...)
}

// options are what Pulumi itself is to do with the baseline and the proof
// object.
func (s *settings) options() []pulumi.ResourceOption {
	var opts []pulumi.ResourceOption
	if s.protect {
		opts = append(opts, pulumi.Protect(true))
	}
	if s.retainOnDelete {
		opts = append(opts, pulumi.RetainOnDelete(true))
	}
	return opts
}

func (s *settings) key() *components.BaselineKey {
	if s.existingKeyArn != "" {
		return &components.BaselineKey{Existing: &components.ExistingKey{KeyArn: pulumi.String(s.existingKeyArn)}}
	}
	k := &components.CustomerKeyArgs{
		AliasName: s.aliasName, Description: s.description, RotationPeriodInDays: s.rotation, DeletionWindowInDays: s.deletionWindow,
		AdditionalAliases: s.additionalAliases, AllowAutoScaling: s.autoScaling, MultiRegion: s.multiRegion,
		GuardDeletion: s.guardDeletion,
	}
	k.Administrators, k.ServiceUsers, k.DirectUsers = ifAny(s.administrators), ifAny(s.serviceUsers), ifAny(s.directUsers)
	k.Accounts, k.Services = ifAny(s.accounts), ifAny(s.services)
	if s.keyPolicy != "" {
		k.Policy = pulumi.String(s.keyPolicy)
	}
	return &components.BaselineKey{Args: k}
}

// ifAny is a list that is given, or nil: an argument that is not.
func ifAny(list []string) pulumi.StringArrayInput {
	if len(list) == 0 {
		return nil
	}
	return pulumi.ToStringArray(list)
}

func (s *settings) bucket() *components.BaselineBucket {
	if s.existingBucketName != "" {
		return &components.BaselineBucket{Existing: &components.ExistingBucket{BucketName: pulumi.String(s.existingBucketName)}}
	}
	b := &components.EncryptedBucketArgs{
		BucketKeyEnabled: &s.bucketKeyEnabled, Versioning: &s.versioning, ForceDestroy: s.forceDestroy,
		DenyInsecureTransport: &s.denyInsecureTransport, DenyForeignKeys: &s.denyForeignKeys,
		LifecycleRules: s.lifecycleRules, ObjectLock: s.objectLock,
	}
	if s.logging != nil {
		b.Logging = &components.AccessLogging{TargetBucket: pulumi.String(s.logging.TargetBucket), TargetPrefix: s.logging.TargetPrefix}
	}
	switch {
	case s.bucketName != "":
		b.BucketName = pulumi.String(s.bucketName)
	case s.bucketPrefix != "":
		b.BucketPrefix = pulumi.String(s.bucketPrefix)
	}
	return &components.BaselineBucket{Args: b}
}

func (s *settings) ebs() *components.BaselineEBS {
	switch {
	case s.skipEBS:
		return &components.BaselineEBS{Skip: true}
	case s.ebsExisting:
		return &components.BaselineEBS{Existing: &components.ExistingEBSDefaults{}}
	}
	return &components.BaselineEBS{Args: &components.EBSDefaultEncryptionArgs{TakeOver: s.ebsTakeOver, OnDestroy: s.ebsOnDestroy, BlockSnapshotSharing: s.ebsSharing}}
}
