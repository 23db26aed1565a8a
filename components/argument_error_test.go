package components

import (
	"errors"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

// argumentErrors are all of them in err.
func argumentErrors(err error) []ArgumentError {
	var found []ArgumentError
	if e := (*ArgumentError)(nil); err == nil {
		return nil
	} else if one, ok := err.(*ArgumentError); ok { //nolint:errorlint // walks the tree itself
		return []ArgumentError{*one}
	} else if errors.As(err, &e) {
		switch wrapped := err.(type) { //nolint:errorlint // walks the tree itself
		case interface{ Unwrap() []error }:
			for _, e := range wrapped.Unwrap() {
				found = append(found, argumentErrors(e)...)
			}
		case interface{ Unwrap() error }:
			found = argumentErrors(wrapped.Unwrap())
		}
	}
	return found
}

func TestArgumentError(t *testing.T) {
	t.Parallel()
	err := (&EncryptionBaselineArgs{
		Key:    &BaselineKey{Args: &CustomerKeyArgs{AliasName: "mine", RotationPeriodInDays: ptr(1)}},
		Bucket: &BaselineBucket{Args: &EncryptedBucketArgs{BucketName: pulumi.String("b"), LifecycleRules: []LifecycleRule{{ID: "old", ExpirationDays: ptr(0)}}}},
		EBS:    &BaselineEBS{Args: &EBSDefaultEncryptionArgs{OnDestroy: "off"}},
	}).Validate("app")
	var named []string
	for _, e := range argumentErrors(err) {
		require.NotEmpty(t, e.Expectation)
		named = append(named, e.Argument+"="+e.Value)
	}
	require.Equal(t, []string{"AliasName=mine", "RotationPeriodInDays=1", "BucketName=b", "LifecycleRules[0].ExpirationDays=0", "OnDestroy=off"}, named)

	var missing *ArgumentError
	require.ErrorAs(t, (&EncryptionBaselineArgs{Key: noKey, Bucket: noBucket}).Validate("app"), &missing)
	require.Equal(t, "KmsKeyArn", missing.Argument)
	require.Empty(t, missing.Value)
}
