package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// The course's commands for the shell, with their bugs mended: us-east-1 takes
// no LocationConstraint, the bucket's default names the key by its ARN, events
// are found by that ARN, and the clean-up takes EBS off the key before it gives
// the key away. --query stands for jq.
const (
	courseCreate = `set -eu
aws kms create-key --description "Masterclass Day1 CMK" --key-usage ENCRYPT_DECRYPT --origin AWS_KMS \
	--tags TagKey=project,TagValue=cloud-kms-masterclass --query KeyMetadata.Arn --output text > "$WORK/key"
KEY_ARN=$(cat "$WORK/key")
aws kms create-alias --alias-name alias/masterclass-cmk --target-key-id "$KEY_ARN"
aws s3api create-bucket --bucket ckms-123456789012-course
aws s3api put-bucket-encryption --bucket ckms-123456789012-course --server-side-encryption-configuration \
	'{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms","KMSMasterKeyID":"'"$KEY_ARN"'"}}]}'
echo "hello kms day1" > "$WORK/hello.txt"
aws s3 cp "$WORK/hello.txt" s3://ckms-123456789012-course/test/hello.txt
aws ec2 enable-ebs-encryption-by-default
aws ec2 modify-ebs-default-kms-key-id --kms-key-id alias/masterclass-cmk
`
	courseVerify = `set -eu
aws kms describe-key --key-id alias/masterclass-cmk --query 'KeyMetadata.[KeyId,KeyState,KeyManager,Arn]'
aws s3api head-object --bucket ckms-123456789012-course --key test/hello.txt --query '[ServerSideEncryption, SSEKMSKeyId]'
aws ec2 get-ebs-default-kms-key-id
aws ec2 get-ebs-encryption-by-default
aws cloudtrail lookup-events --lookup-attributes AttributeKey=ResourceName,AttributeValue="$(cat "$WORK/key")" \
	--max-results 10 --query 'Events[].[EventTime,EventName,Username]'
`
	courseCleanUp = `set -eu
aws ec2 reset-ebs-default-kms-key-id
aws s3 rm s3://ckms-123456789012-course --recursive
aws s3api delete-bucket --bucket ckms-123456789012-course
aws kms delete-alias --alias-name alias/masterclass-cmk
aws kms schedule-key-deletion --key-id "$(cat "$WORK/key")" --pending-window-in-days 7
`
)

// The rows of the table.
const (
	rowCreate  = "course: its commands that create"
	rowCheck   = "course: its commands that verify"
	rowCleanUp = "course: its commands that clean up"
	rowUp      = "sandbox up, the first"
	rowUpAgain = "sandbox up, nothing to do"
	rowPreview = "sandbox preview"
	rowRefresh = "sandbox preview --refresh"
	rowVerify  = "verify, every check without --wait"
	rowDestroy = "sandbox destroy"
)

// warm is the longest that a look at an unchanged stack is to take.
const warm = 2500 * time.Millisecond

// measureCourse runs the course's day twice in each round, by the AWS CLI and by
// the sandbox, each in an account of its own.
func measureCourse(ctx context.Context, b *bench) ([]table, error) {
	samples := map[string][]sample{}
	for i := range b.runs {
		b.say("the course's day, round %d of %d", i+1, b.runs)
		for _, day := range []func(context.Context, *account, map[string][]sample) error{b.shellDay, b.sandboxDay} {
			a, err := b.newAccount()
			if err == nil {
				err = errors.Join(day(ctx, a, samples), a.close())
			}
			if err != nil {
				return nil, err
			}
		}
	}
	t := table{title: "The course's day, by the AWS CLI and by the sandbox", header: []string{"command", "time", "peak memory", "AWS calls", "target", ""}}
	for _, row := range []struct {
		name   string
		target time.Duration
		why    string
	}{
		{rowCreate, 0, ""},
		{rowUp, 0, ""},
		{rowUpAgain, warm, ""},
		{rowPreview, 0, ""},
		{rowCheck, 0, ""},
		{rowRefresh, warm, ""},
		{rowVerify, median(samples[rowCheck]).took / 10, ", a tenth of the course's"},
		{rowCleanUp, 0, ""},
		{rowDestroy, 0, ""},
	} {
		m := median(samples[row.name])
		target, sign := "", ""
		if row.target > 0 {
			target, sign = "at most "+seconds(row.target)+row.why, met(m.took <= row.target)
		}
		t.add(row.name, seconds(m.took), megabytes(m.memory), fmt.Sprint(m.calls), target, sign)
	}
	t.notes = []string{fmt.Sprintf("Median of %d. Peak memory is that of all processes of the command together (sandbox with the program, "+
		"engine and provider; shell and AWS CLI), resident, looked at every %s; localaws runs in another process.", b.runs, sampling)}
	return []table{t}, nil
}

// shellDay is the course as it is written.
func (b *bench) shellDay(ctx context.Context, a *account, samples map[string][]sample) error {
	for _, step := range []struct{ name, script string }{{rowCreate, courseCreate}, {rowCheck, courseVerify}, {rowCleanUp, courseCleanUp}} {
		s, out, err := b.run(ctx, a, "sh", "-c", step.script)
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		if step.name == rowCheck {
			for _, want := range []string{`"Enabled"`, `"CUSTOMER"`, `"aws:kms"`, `"EbsEncryptionByDefault": true`, `"GenerateDataKey"`} {
				if !strings.Contains(out, want) {
					return fmt.Errorf("%s: the answers do not have %s:\n%s", step.name, want, out)
				}
			}
		}
		samples[step.name] = append(samples[step.name], s)
	}
	return nil
}

var (
	nothingToDo = regexp.MustCompile(`Resources:\n\s+\d+ unchanged\n`)
	keyOutput   = regexp.MustCompile(`(?m)^\s*keyArn\s*: "([^"]+)"`)
	nameOutput  = regexp.MustCompile(`(?m)^\s*bucketName\s*: "([^"]+)"`)
)

// sandboxDay is the same by this project's own programs.
func (b *bench) sandboxDay(ctx context.Context, a *account, samples map[string][]sample) error {
	var out string
	step := func(name, program string, args ...string) (err error) {
		var s sample
		if s, out, err = b.run(ctx, a, filepath.Join(b.dir, program), args...); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		samples[name] = append(samples[name], s)
		return nil
	}
	at := []string{"--dir", a.paths.Dir, "--addr", a.addr()}
	sandbox := func(name string, args ...string) error { return step(name, "sandbox", append(args, at...)...) }

	if err := sandbox(rowUp, "up"); err != nil {
		return err
	}
	key, bucket := keyOutput.FindStringSubmatch(out), nameOutput.FindStringSubmatch(out)
	if key == nil || bucket == nil {
		return fmt.Errorf("%s: there is no keyArn or no bucketName among the outputs:\n%s", rowUp, out)
	}
	if err := sandbox(rowUpAgain, "up"); err != nil {
		return err
	}
	if !nothingToDo.MatchString(out) {
		return fmt.Errorf("%s: there was something to do:\n%s", rowUpAgain, out)
	}
	if err := sandbox(rowPreview, "preview", "--expect-no-changes"); err != nil {
		return err
	}
	if err := sandbox(rowRefresh, "preview", "--refresh", "--expect-no-changes"); err != nil {
		return err
	}
	if err := step(rowVerify, "verify", "--key", key[1], "--alias", "alias/masterclass-cmk", "--account", engine.AccountID,
		"--bucket", bucket[1], "--object", "test/hello.txt", "--region", engine.Region); err != nil {
		return err
	}
	if err := sandbox(rowDestroy, "destroy"); err != nil {
		return err
	}
	if a.deleted() < 1 {
		return fmt.Errorf("%s: bucket and key are not both gone:\n%s", rowDestroy, out)
	}
	return nil
}
