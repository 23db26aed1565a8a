package stack

import (
	"errors"
	"fmt"
	"strings"

	"github.com/securethecloud/kms-baseline/components"
)

// setting is the configuration setting that an argument of a component comes from,
// and a value that is valid.
type setting struct{ name, example string }

// settingOf has the setting of each argument.
var settingOf = map[string]setting{
	"AliasName":            {"aliasName", "alias/masterclass-cmk"},
	"AdditionalAliases":    {"additionalAliases", aliasesExample},
	"Description":          {"keyDescription", "'my key'"},
	"RotationPeriodInDays": {"rotationPeriodInDays", "365"},
	"DeletionWindowInDays": {"deletionWindowInDays", "30"},
	"Administrators":       {"administrators", arnsExample},
	"ServiceUsers":         {"serviceUsers", arnsExample},
	"DirectUsers":          {"directUsers", arnsExample},
	"Accounts":             {"accounts", accountsExample},
	"Services":             {"services", servicesExample},
	"Policy":               {"keyPolicy", policyExample},
	"ExistingKey":          {"existingKeyArn", "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
	"BucketName":           {"bucketName", "my-bucket"},
	"BucketPrefix":         {"bucketPrefix", "my-bucket-"},
	"ExistingBucket":       {"existingBucketName", "their-bucket"},
	"LifecycleRules":       {"lifecycleRules", rulesExample},
	"Logging":              {"logging", loggingExample},
	"ObjectLock":           {"objectLock", lockExample},
	"OnDestroy":            {"ebsOnDestroy", components.EBSKeepOn},
	"Tags":                 {"tags", tagsExample},
}

const (
	aliasesExample  = `'["alias/second-name"]'`
	arnsExample     = `'["arn:aws:iam::111122223333:role/admin"]'`
	accountsExample = `'["444455556666"]'`
	servicesExample = `'["cloudtrail.amazonaws.com"]'`
	policyExample   = `"$(cat policy.json)"`
	rulesExample    = `'[{"id": "old-versions", "noncurrentExpirationDays": 90}]'`
	loggingExample  = `'{"targetBucket": "my-logs"}'`
	lockExample     = `'{"mode": "GOVERNANCE", "days": 30}'`
	tagsExample     = `'{"project": "my-project"}'`
)

// withSettings adds, to the error of each argument, the command that sets it. err is
// what Validate of a component returns.
func withSettings(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, one := range joined.Unwrap() {
			errs = append(errs, withSettings(one))
		}
		return errors.Join(errs...)
	}
	var argument *components.ArgumentError
	if !errors.As(err, &argument) {
		return err
	}
	name, _, _ := strings.Cut(argument.Argument, ".")
	name, _, _ = strings.Cut(name, "[")
	from, ok := settingOf[name]
	if !ok {
		return err
	}
	return fmt.Errorf("%w: pulumi config set %s %s", err, from.name, from.example)
}
