package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTypesOf_FollowsWhatATestRefersTo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"helpers/config.go": "package acctest\n\nfunc ConfigZones() string { return `data \"aws_availability_zones\" \"all\" {}` }",
		"s3/bucket_test.go": "package s3_test\n\nfunc TestAccBucket_basic(t *testing.T) {\n\tcheck(\"aws_s3_bucket.test\", config)\n}\n\n" +
			"func TestAccBucket_tags(t *testing.T) { run(\"testdata/Bucket/tags/\", acctest.ConfigZones()) }\n\nfunc TestAccBucket_other() { use(`aws_s3_object`) }",
		"s3/shared_test.go":                   "package s3_test\n\nvar config = `resource \"aws_kms_key\" \"k\" {}`",
		"s3/testdata/Bucket/tags/main_gen.tf": "resource \"aws_s3_bucket_tags\" \"test\" {}",
	} {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	}
	types, err := typesOf(filepath.Join(dir, "s3"), filepath.Join(dir, "helpers"))
	require.NoError(t, err)
	require.Equal(t, []string{"aws_kms_key", "aws_s3_bucket"}, types("TestAccBucket_basic"))
	require.Equal(t, []string{"aws_availability_zones", "aws_s3_bucket_tags"}, types("TestAccBucket_tags"))
}
