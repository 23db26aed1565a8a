package stack

import (
	"errors"
	"fmt"
	"strings"

	"github.com/securethecloud/kms-baseline/components"
)

type cure struct{ argument, setting, example string }

// of reports whether line complains of the argument or of a part of it, as in
// "LifecycleRules[0].ID: ...".
func (c cure) of(line string) bool {
	for _, part := range strings.Split(line, ": ") {
		rest, ok := strings.CutPrefix(part, c.argument)
		if ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// cures has, for an argument of a component, the setting it comes from and a
// value that would do.
var cures = []cure{
	{"AliasName", "aliasName", "alias/masterclass-cmk"},
	{"Description", "keyDescription", "'my key'"},
	{"RotationPeriodInDays", "rotationPeriodInDays", "365"},
	{"DeletionWindowInDays", "deletionWindowInDays", "30"},
	{"Administrators", "administrators", arnsExample},
	{"ServiceUsers", "serviceUsers", arnsExample},
	{"DirectUsers", "directUsers", arnsExample},
	{"Accounts", "accounts", accountsExample},
	{"Services", "services", servicesExample},
	{"Policy", "keyPolicy", policyExample},
	{"ExistingKeyArn", "existingKeyArn", "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
	{"BucketName", "bucketName", "my-bucket"},
	{"BucketPrefix", "bucketPrefix", "my-bucket-"},
	{"ExistingBucketName", "existingBucketName", "their-bucket"},
	{"LifecycleRules", "lifecycleRules", rulesExample},
	{"Logging", "logging", loggingExample},
	{"ObjectLock", "objectLock", lockExample},
	{"OnDestroy", "ebsOnDestroy", components.EBSKeepOn},
	{"Tags", "tags", tagsExample},
}

const (
	arnsExample     = `'["arn:aws:iam::111122223333:role/admin"]'`
	accountsExample = `'["444455556666"]'`
	servicesExample = `'["cloudtrail.amazonaws.com"]'`
	policyExample   = `"$(cat policy.json)"`
	rulesExample    = `'[{"id": "old-versions", "noncurrentExpirationDays": 90}]'`
	loggingExample  = `'{"targetBucket": "my-logs"}'`
	lockExample     = `'{"mode": "GOVERNANCE", "days": 30}'`
	tagsExample     = `'{"project": "my-project"}'`
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
			if c.of(line) {
				lines[i] += fmt.Sprintf(": pulumi config set %s %s", c.setting, c.example)
				break
			}
		}
	}
	return errors.New(strings.Join(lines, "\n"))
}
