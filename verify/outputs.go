package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// outputs are the outputs of the stack. An empty output means that the stack has
// no such resource.
type outputs struct {
	keyARN, aliasName, bucket, object, region, account, ebsKeyARN string
	ebsSkipped                                                    bool
}

// known are the outputs that verify reads, each with its form. A required output
// may be empty.
var known = []struct {
	name     string
	required bool
	form     *regexp.Regexp
	what     string
	field    func(*outputs) *string
}{
	{"keyArn", true, regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+$`), "a key ARN", func(o *outputs) *string { return &o.keyARN }},
	{"aliasName", true, regexp.MustCompile(`^alias/[\w/-]+$`), "an alias name", func(o *outputs) *string { return &o.aliasName }},
	{"bucketName", true, regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`), "a bucket name", func(o *outputs) *string { return &o.bucket }},
	{"objectKey", true, regexp.MustCompile(`^(?s:.+)$`), "an object key", func(o *outputs) *string { return &o.object }},
	{"region", true, regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d+$`), "a Region", func(o *outputs) *string { return &o.region }},
	{"accountId", true, regexp.MustCompile(`^\d{12}$`), "an account of 12 digits", func(o *outputs) *string { return &o.account }},
	{"ebsDefaultKeyArn", false, regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+$`), "a key ARN", func(o *outputs) *string { return &o.ebsKeyARN }},
}

// readOutputs reads the outputs from the pulumi CLI, a file, or stdin.
func readOutputs(ctx context.Context, stack, file string, stdin io.Reader) (outputs, error) {
	source := "stack " + stack
	var b []byte
	var err error
	switch {
	case stack != "":
		b, err = askPulumi(ctx, stack)
	case file == "-":
		source = "stdin"
		b, err = io.ReadAll(io.LimitReader(stdin, maxOutputs+1))
	default:
		source = file
		b, err = readLimited(file)
	}
	if err != nil {
		return outputs{}, err
	}
	if len(b) > maxOutputs {
		return outputs{}, fmt.Errorf("the outputs from %s are larger than %d MiB", source, maxOutputs>>20)
	}
	o, err := parseOutputs(b)
	if err != nil {
		return o, hinted{fmt.Errorf("the outputs from %s: %w", source, err),
			"run pulumi up, which exports them, or write them with pulumi stack output --json"}
	}
	return o, nil
}

// maxOutputs is the largest file of outputs that is read.
const maxOutputs = 1 << 20

func readLimited(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, hinted{fmt.Errorf("reading the outputs: %w", err), "pulumi stack output --json > " + report.Quote(file)}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxOutputs+1))
	return b, errors.Join(err, f.Close())
}

// askPulumi asks the pulumi CLI for a stack's outputs.
func askPulumi(ctx context.Context, stack string) ([]byte, error) {
	path, err := exec.LookPath("pulumi")
	if err != nil {
		return nil, hinted{fmt.Errorf("--stack needs the pulumi CLI: %w", err),
			"install it, or run pulumi stack output --json > outputs.json elsewhere and pass --outputs outputs.json"}
	}
	cmd := exec.CommandContext(ctx, path, "stack", "output", "--json", "--non-interactive", "--stack", stack)
	cmd.Env = append(os.Environ(), "PULUMI_SKIP_UPDATE_CHECK=true")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		said := strings.Join(strings.Fields(stderr.String()), " ")
		return nil, hinted{fmt.Errorf("pulumi stack output --stack %s: %w: %s", stack, err, said), "pulumi stack ls"}
	}
	return stdout.Bytes(), nil
}

// parseOutputs reads what `pulumi stack output --json` prints.
func parseOutputs(b []byte) (outputs, error) {
	var o outputs
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return o, fmt.Errorf("not a JSON object, as pulumi stack output --json prints it: %w", err)
	}
	if len(m) == 0 {
		return o, errors.New("there are none: run pulumi up first")
	}
	var missing []string
	var wrong []error
	for _, k := range known {
		raw, ok := m[k.name]
		if !ok {
			if k.required {
				missing = append(missing, k.name)
			}
			continue
		}
		var text *string
		if err := json.Unmarshal(raw, &text); err != nil {
			wrong = append(wrong, fmt.Errorf("%s is not text: %s", k.name, shorten(raw)))
			continue
		}
		if text == nil || *text == "" {
			continue
		}
		if !k.form.MatchString(*text) {
			wrong = append(wrong, fmt.Errorf("%s is not %s: %s", k.name, k.what, shorten(raw)))
			continue
		}
		*k.field(&o) = *text
	}
	if raw, ok := m["ebsEncryptionByDefault"]; ok {
		var on *bool
		if err := json.Unmarshal(raw, &on); err != nil {
			wrong = append(wrong, fmt.Errorf("ebsEncryptionByDefault is not true or false: %s", shorten(raw)))
		}
		o.ebsSkipped = (on == nil || !*on) && o.ebsKeyARN == ""
	}
	if len(missing) > 0 {
		wrong = append(wrong, fmt.Errorf("missing: %s", strings.Join(missing, ", ")))
	}
	return o, oneLine(wrong)
}

// oneLine joins errors without line breaks.
func oneLine(errs []error) error {
	var texts []string
	for _, e := range errs {
		texts = append(texts, e.Error())
	}
	if len(texts) == 0 {
		return nil
	}
	return errors.New(strings.Join(texts, "; "))
}

func shorten(raw json.RawMessage) string {
	s := string(raw)
	if len(s) > 60 {
		s = s[:57] + "..."
	}
	return s
}
