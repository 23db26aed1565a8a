package stack

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"

	"github.com/securethecloud/kms-baseline/components"
)

// settings are the stack's configuration, with the course's values where
// nothing is set. docs/configuration.md says what each is for.
type settings struct {
	aliasName      string
	description    string
	rotation       *int
	deletionWindow *int
	administrators []string
	users          []string
	autoScaling    bool
	existingKeyArn string

	bucketName       string
	bucketPrefix     string
	bucketKeyEnabled bool
	versioning       bool
	forceDestroy     bool

	ebsOnDestroy string
	ebsTakeOver  bool
	ebsExisting  bool
	skipEBS      bool

	tags map[string]string
}

// readSettings reads everything before anything is made, and says everything
// that cannot be read at once. Where it says something, the settings that it
// could not read have their defaults.
func readSettings(ctx *pulumi.Context) (*settings, error) {
	r := reader{cfg: config.New(ctx, "")}
	s := &settings{
		aliasName:      r.text("aliasName", "alias/masterclass-cmk"),
		description:    r.text("keyDescription", "Masterclass Day1 CMK"),
		rotation:       r.number("rotationPeriodInDays", 365),
		deletionWindow: r.number("deletionWindowInDays", 30),
		administrators: read[[]string](&r, "administrators", nil, arnsExample),
		users:          read[[]string](&r, "users", nil, arnsExample),
		autoScaling:    r.flag("allowAutoScaling", false),
		existingKeyArn: r.text("existingKeyArn", ""),

		bucketName:       r.text("bucketName", ""),
		bucketPrefix:     r.text("bucketPrefix", ""),
		bucketKeyEnabled: r.flag("bucketKeyEnabled", true),
		versioning:       r.flag("versioning", true),
		forceDestroy:     r.flag("forceDestroy", false),

		ebsOnDestroy: r.text("ebsOnDestroy", components.EBSKeepOn),
		ebsTakeOver:  r.flag("ebsTakeOver", false),
		ebsExisting:  r.flag("ebsExisting", false),
		skipEBS:      r.flag("skipEbs", false),

		tags: read(&r, "tags", map[string]string{"project": "cloud-kms-masterclass"}, tagsExample),
	}
	if config.Get(ctx, "aws:region") == "" && os.Getenv("AWS_REGION") == "" && os.Getenv("AWS_DEFAULT_REGION") == "" {
		r.errs = append(r.errs, errors.New("the Region is not set: pulumi config set aws:region us-east-1"))
	}
	if len(s.tags) > 10 {
		r.errs = append(r.errs, fmt.Errorf("tags has %d tags, and S3 takes 10 on the proof object: pulumi config set tags %s", len(s.tags), tagsExample))
	}
	if s.existingKeyArn != "" {
		// The course's defaults are for a new key.
		r.exclude("existingKeyArn", "aliasName", "keyDescription", "rotationPeriodInDays", "deletionWindowInDays", "administrators", "users", "allowAutoScaling")
	}
	if s.bucketName != "" {
		r.exclude("bucketName", "bucketPrefix")
	}
	if s.ebsExisting {
		r.exclude("ebsExisting", "ebsOnDestroy", "ebsTakeOver")
	}
	if s.skipEBS {
		r.exclude("skipEbs", "ebsExisting", "ebsOnDestroy", "ebsTakeOver")
	}
	return s, errors.Join(r.errs...)
}

// cures has, for an argument of a component, the setting it comes from and a
// value that would do.
var cures = []struct{ argument, setting, example string }{
	{"AliasName", "aliasName", "alias/masterclass-cmk"},
	{"Description", "keyDescription", "'my key'"},
	{"RotationPeriodInDays", "rotationPeriodInDays", "365"},
	{"DeletionWindowInDays", "deletionWindowInDays", "30"},
	{"Administrators", "administrators", arnsExample},
	{"Users", "users", arnsExample},
	{"ExistingKeyArn", "existingKeyArn", "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
	{"BucketName", "bucketName", "my-bucket"},
	{"BucketPrefix", "bucketPrefix", "my-bucket-"},
	{"OnDestroy", "ebsOnDestroy", components.EBSKeepOn},
	{"Tags", "tags", tagsExample},
}

const (
	arnsExample = `'["arn:aws:iam::111122223333:role/admin"]'`
	tagsExample = `'{"project": "my-project"}'`
)

// withCures adds, to each line that complains of an argument, the command that
// sets it.
func withCures(err error) error {
	if err == nil {
		return nil
	}
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		for _, c := range cures {
			if strings.HasPrefix(line, c.argument+": ") || strings.Contains(line, ": "+c.argument+": ") {
				lines[i] += fmt.Sprintf(": pulumi config set %s %s", c.setting, c.example)
				break
			}
		}
	}
	return errors.New(strings.Join(lines, "\n"))
}

func (s *settings) key() *components.CustomerKeyArgs {
	if s.existingKeyArn != "" {
		return &components.CustomerKeyArgs{ExistingKeyArn: pulumi.String(s.existingKeyArn)}
	}
	k := &components.CustomerKeyArgs{
		AliasName: s.aliasName, Description: s.description, RotationPeriodInDays: s.rotation, DeletionWindowInDays: s.deletionWindow,
		AllowAutoScaling: s.autoScaling,
	}
	if len(s.administrators) > 0 {
		k.Administrators = pulumi.ToStringArray(s.administrators)
	}
	if len(s.users) > 0 {
		k.Users = pulumi.ToStringArray(s.users)
	}
	return k
}

func (s *settings) bucket() *components.EncryptedBucketArgs {
	b := &components.EncryptedBucketArgs{BucketKeyEnabled: &s.bucketKeyEnabled, Versioning: &s.versioning, ForceDestroy: s.forceDestroy}
	switch {
	case s.bucketName != "":
		b.BucketName = pulumi.String(s.bucketName)
	case s.bucketPrefix != "":
		b.BucketPrefix = pulumi.String(s.bucketPrefix)
	}
	return b
}

func (s *settings) ebs(restorer components.EBSRestorer) *components.EBSDefaultEncryptionArgs {
	if s.skipEBS {
		return nil
	}
	if s.ebsExisting {
		return &components.EBSDefaultEncryptionArgs{Existing: true}
	}
	return &components.EBSDefaultEncryptionArgs{TakeOver: s.ebsTakeOver, OnDestroy: s.ebsOnDestroy, Restorer: restorer}
}

// reader collects what is wrong with the settings it reads.
type reader struct {
	cfg  *config.Config
	errs []error
}

// exclude complains of each of others that is set beside key.
func (r *reader) exclude(key string, others ...string) {
	for _, k := range others {
		if r.cfg.Get(k) != "" {
			r.errs = append(r.errs, fmt.Errorf("%s and %s exclude each other: pulumi config rm %s", key, k, k))
		}
	}
}

func (r *reader) text(key, otherwise string) string {
	if v := r.cfg.Get(key); v != "" {
		return v
	}
	return otherwise
}

func (r *reader) flag(key string, otherwise bool) bool { return read(r, key, otherwise, "true") }

func (r *reader) number(key string, otherwise int) *int {
	n := read(r, key, otherwise, fmt.Sprint(otherwise))
	return &n
}

// read reads a setting that is not text.
func read[T any](r *reader, key string, otherwise T, example string) T {
	if r.cfg.Get(key) == "" {
		return otherwise
	}
	var v T
	if err := r.cfg.TryObject(key, &v); err != nil || r.cfg.Get(key) == "null" {
		r.errs = append(r.errs, fmt.Errorf("%s is %q, which is not %s: pulumi config set %s %s", key, r.cfg.Get(key), kind(otherwise), key, example))
		return otherwise
	}
	return v
}

func kind(v any) string {
	switch v.(type) {
	case bool:
		return "true or false"
	case int:
		return "a whole number"
	case []string:
		return "a list"
	}
	return "a map"
}
