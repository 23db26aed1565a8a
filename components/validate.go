package components

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// ArgumentError is the error of one argument. errors.As finds it in what a
// constructor and Validate return, which may hold several.
type ArgumentError struct {
	// Argument is the argument's name, with the part of it that is wrong:
	// "AliasName", "LifecycleRules[0].ID".
	Argument string
	// Value is the value that is not valid; empty if a value is missing, or if the
	// value itself is not what is wrong.
	Value string
	// Expectation is what the argument must be, or what to do.
	Expectation string

	quoted bool // Value is a text, and shown in quotation marks
	cause  error
}

func (e *ArgumentError) Unwrap() error { return e.cause }

func (e *ArgumentError) Error() string {
	switch {
	case e.quoted:
		return fmt.Sprintf("%s: %q is not valid: %s", e.Argument, e.Value, e.Expectation)
	case e.Value != "":
		return fmt.Sprintf("%s: %s is not valid: %s", e.Argument, e.Value, e.Expectation)
	case strings.HasPrefix(e.Expectation, "and "), strings.HasPrefix(e.Expectation, "needs "):
		return e.Argument + " " + e.Expectation
	}
	return e.Argument + ": " + e.Expectation
}

// invalid is the error of a text that the argument may not be.
func invalid(argument, value, want string) error {
	return &ArgumentError{Argument: argument, Value: value, Expectation: want, quoted: true}
}

// invalidNumber is the error of a number that the argument may not be.
func invalidNumber(argument string, value int, want string) error {
	return &ArgumentError{Argument: argument, Value: strconv.Itoa(value), Expectation: want}
}

// wrong is the error of an argument whose value is missing, or wrong beside
// others.
func wrong(argument, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &ArgumentError{Argument: argument, Expectation: err.Error(), cause: errors.Unwrap(err)}
}

var (
	aliasPattern     = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]+$`)
	keyIDPattern     = regexp.MustCompile(`^key/(mrk-[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$`)
	accountPattern   = regexp.MustCompile(`^\d{12}$`)
	regionPattern    = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-\d$`)
	bucketPattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*[a-z0-9]$`)
	prefixPattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`)
	ipv4Pattern      = regexp.MustCompile(`^\d+\.\d+\.\d+\.\d+$`)
	partitionPattern = regexp.MustCompile(`^aws(-[a-z]+)*$`)
	principalPattern = regexp.MustCompile(`^arn:aws(-[a-z]+)*:(iam::\d{12}:(root|user/.+|role/.+)|sts::\d{12}:assumed-role/.+)$`)
	servicePattern   = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`) // not every partition's end in amazonaws.com
)

// validateAliasName holds name to what KMS accepts.
// Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html
func validateAliasName(field, name string) error {
	switch {
	case !strings.HasPrefix(name, "alias/"):
		return invalid(field, name, `it must begin with "alias/", as in "alias/my-key"`)
	case strings.HasPrefix(name, "alias/aws/"):
		return invalid(field, name, `"alias/aws/" is reserved for keys that AWS manages`)
	case len(name) > 256:
		return invalid(field, name, fmt.Sprintf("it has %d characters; 7 to 256 are allowed", len(name)))
	case !aliasPattern.MatchString(name):
		return invalid(field, name, `after "alias/" it may have letters, digits, "/", "_" and "-" only, and at least one`)
	}
	return nil
}

// keyARN is a KMS key's ARN taken apart. It carries all that policies need to
// know of where they are, so that no component has to ask AWS for it.
type keyARN struct {
	arn, partition, region, account string
}

func (k keyARN) root() string { return rootARN(k.partition, k.account) }

func rootARN(partition, account string) string {
	return "arn:" + partition + ":iam::" + account + ":root"
}

// parseKeyARN accepts the ARN of a key, and returns why it does not accept an
// alias: one is resolved in the account of its user, so a writer from
// another account would encrypt under a key of its own.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-encryption.html
func parseKeyARN(field, arn string) (keyARN, error) {
	if strings.HasPrefix(arn, "alias/") || strings.Contains(arn, ":alias/") {
		return keyARN{}, invalid(field, arn, "it is an alias; give the ARN of the key itself (aws kms describe-key --key-id ALIAS --query KeyMetadata.Arn)")
	}
	p := strings.Split(arn, ":")
	if len(p) != 6 || p[0] != "arn" || p[2] != "kms" || !regionPattern.MatchString(p[3]) || !accountPattern.MatchString(p[4]) || !keyIDPattern.MatchString(p[5]) {
		return keyARN{}, invalid(field, arn, `it must be a KMS key's ARN, as in "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"`)
	}
	if !partitionPattern.MatchString(p[1]) {
		return keyARN{}, invalid(field, arn, fmt.Sprintf("%q is not a partition of AWS, as in aws, aws-cn or aws-eusc", p[1]))
	}
	return keyARN{arn: arn, partition: p[1], region: p[3], account: p[4]}, nil
}

// validateBucketName holds name to the rules for general purpose buckets.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
func validateBucketName(field, name string) error {
	if len(name) < 3 || len(name) > 63 {
		return invalid(field, name, fmt.Sprintf("it has %d characters; 3 to 63 are allowed", len(name)))
	}
	if !bucketPattern.MatchString(name) {
		return invalid(field, name, `it may have lower-case letters, digits, "." and "-" only, and must begin and end with a letter or a digit`)
	}
	return validateBucketStart(field, name)
}

// validateBucketPrefix holds prefix to the same rules; the provider adds 26
// characters to it.
func validateBucketPrefix(field, prefix string) error {
	if len(prefix) < 1 || len(prefix) > 37 {
		return invalid(field, prefix, fmt.Sprintf("it has %d characters; 1 to 37 are allowed, since 26 are added to it", len(prefix)))
	}
	if !prefixPattern.MatchString(prefix) {
		return invalid(field, prefix, `it may have lower-case letters, digits, "." and "-" only, and must begin with a letter or a digit`)
	}
	return validateBucketStart(field, prefix)
}

func validateBucketStart(field, name string) error {
	if strings.Contains(name, "..") {
		return invalid(field, name, "two periods may not stand beside each other")
	}
	if ipv4Pattern.MatchString(name) {
		return invalid(field, name, "it may not look like an IP address")
	}
	for _, p := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
		if strings.HasPrefix(name, p) {
			return invalid(field, name, fmt.Sprintf("names that begin with %q are reserved", p))
		}
	}
	for _, s := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(name, s) {
			return invalid(field, name, fmt.Sprintf("names that end in %q are reserved", s))
		}
	}
	return nil
}

// oneOf names what an argument may be: "A, B or C".
func oneOf(values []string) string {
	last := len(values) - 1
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// days checks an optional number of days and fills in its default.
func days(field string, v *int, low, high, otherwise int) (int, error) {
	if v == nil {
		return otherwise, nil
	}
	if *v < low || *v > high {
		return 0, invalidNumber(field, *v, fmt.Sprintf("it must be %d to %d days", low, high))
	}
	return *v, nil
}

// validatePrincipal accepts the ARN of an IAM role, user, session or account
// root. It refuses "*": a key policy must not admit everyone, and IAM takes
// no wildcard in the middle of a principal.
func validatePrincipal(field, arn string) error {
	if !principalPattern.MatchString(arn) || strings.ContainsAny(arn, "*? ") {
		return invalid(field, arn, `it must be the ARN of an IAM role, user or account root, without wildcards, as in "arn:aws:iam::111122223333:role/admin"`)
	}
	return nil
}

// samePartition returns an error if the principal, a valid ARN, is in another
// partition than the key: neither KMS nor S3 knows it.
func samePartition(field, arn string, key keyARN) error {
	if partition := strings.Split(arn, ":")[1]; partition != key.partition {
		return invalid(field, arn, fmt.Sprintf("it is in the partition %s, and %s is in %s", partition, key.arn, key.partition))
	}
	return nil
}

func validateService(field, service string) error {
	if !servicePattern.MatchString(service) {
		return invalid(field, service, `it must be a service principal, as in "cloudtrail.amazonaws.com"`)
	}
	return nil
}

func validateAccount(field, account string) error {
	if !accountPattern.MatchString(account) {
		return invalid(field, account, "it must be an AWS account ID of 12 digits")
	}
	return nil
}

// validateTags holds the tags that are known now to what AWS accepts.
// Source: https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html
func validateTags(field string, in pulumi.StringMapInput) error {
	tags, _ := in.(pulumi.StringMap)
	var errs []error
	if len(tags) > 50 {
		errs = append(errs, wrong(field, "there are %d; at most 50 are allowed", len(tags)))
	}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		switch {
		case k == "" || utf8.RuneCountInString(k) > 128:
			errs = append(errs, invalid(field, k, "a tag's key must have 1 to 128 characters"))
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			errs = append(errs, invalid(field, k, `keys that begin with "aws:" are reserved`))
		}
		if v, ok := plainString(tags[k]); ok && utf8.RuneCountInString(v) > 256 {
			errs = append(errs, wrong(field, "the value of %q has %d characters; at most 256 are allowed", k, utf8.RuneCountInString(v)))
		}
	}
	return errors.Join(errs...)
}

// plainString is what in holds where that is known before anything runs, so
// that a mistake in it can be refused before a resource is registered. What
// only turns out later is checked by [checked].
func plainString(in pulumi.StringInput) (string, bool) {
	s, ok := in.(pulumi.String)
	return string(s), ok
}

// plainStrings is plainString for a list; what is not known is left out.
func plainStrings(in pulumi.StringArrayInput) []string {
	var out []string
	list, _ := in.(pulumi.StringArray)
	for _, x := range list {
		if s, ok := plainString(x); ok {
			out = append(out, s)
		}
	}
	return out
}

// checked is in, held to check once its value is known: what depends on it is
// not made where it fails.
func checked(in pulumi.StringInput, check func(string) error) pulumi.StringOutput {
	return in.ToStringOutput().ApplyT(func(s string) (string, error) { return s, check(s) }).(pulumi.StringOutput)
}

// checkPlain runs check on in where it is known now, and on nothing otherwise.
func checkPlain(in pulumi.StringInput, check func(string) error) error {
	if s, ok := plainString(in); ok {
		return check(s)
	}
	return nil
}

// validateAll joins the errors of all checks, each with the component that it is
// about, so that a reader corrects them all at once.
func validateAll(component, name string, errs ...error) error {
	var named []error
	for _, err := range errs {
		joined, ok := err.(interface{ Unwrap() []error })
		switch {
		case ok:
			named = append(named, validateAll(component, name, joined.Unwrap()...))
		case err != nil:
			named = append(named, fmt.Errorf("%s %q: %w", component, name, err))
		}
	}
	return errors.Join(named...)
}
