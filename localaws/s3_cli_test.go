package localaws

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestS3_CLICopiesLargeFiles(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := newAWSCLI(t, s)
	body := make([]byte, 20<<20+123)
	_, _ = rand.Read(body)
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "up.bin"), body, 0o600))

	c.run("s3", "mb", "s3://ckms-764265373335-x1")
	key := c.run("kms", "create-key", "--query", "KeyMetadata.Arn", "--output", "text")
	c.run("s3api", "put-bucket-encryption", "--bucket", "ckms-764265373335-x1", "--server-side-encryption-configuration",
		`{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms","KMSMasterKeyID":"`+key+`"},"BucketKeyEnabled":true}]}`)
	c.run("s3", "cp", "up.bin", "s3://ckms-764265373335-x1/big/up.bin")
	c.run("s3", "cp", "s3://ckms-764265373335-x1/big/up.bin", "down.bin")
	down, err := os.ReadFile(filepath.Join(c.dir, "down.bin"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(body, down))
	c.run("s3", "cp", "s3://ckms-764265373335-x1/big/up.bin", "s3://ckms-764265373335-x1/big/copy.bin")
	c.run("s3", "cp", "s3://ckms-764265373335-x1/big/copy.bin", "down.bin")
	down, err = os.ReadFile(filepath.Join(c.dir, "down.bin"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(body, down))

	var head struct {
		ContentLength        int64
		ServerSideEncryption string
		SSEKMSKeyID          string `json:"SSEKMSKeyId"`
		BucketKeyEnabled     bool
		ETag                 string
	}
	require.NoError(t, json.Unmarshal([]byte(c.run("s3api", "head-object", "--bucket", "ckms-764265373335-x1", "--key", "big/up.bin")), &head))
	require.EqualValues(t, len(body), head.ContentLength)
	require.Equal(t, "aws:kms", head.ServerSideEncryption)
	require.Equal(t, key, head.SSEKMSKeyID)
	require.True(t, head.BucketKeyEnabled)
	require.True(t, strings.HasSuffix(head.ETag, `-3"`), head.ETag)

	require.Contains(t, c.run("s3", "ls", "s3://ckms-764265373335-x1/"), "PRE big/")
	require.Contains(t, c.run("s3", "ls", "--recursive", "s3://ckms-764265373335-x1"), "big/up.bin")
	require.Contains(t, c.fails("s3", "rb", "s3://ckms-764265373335-x1"), "BucketNotEmpty")
	require.Contains(t, c.fails("s3api", "head-object", "--bucket", "ckms-764265373335-x1", "--key", "nothing"), "404")
	c.run("s3", "rm", "--recursive", "s3://ckms-764265373335-x1")
	c.run("s3", "rb", "s3://ckms-764265373335-x1")
	require.Contains(t, c.fails("s3api", "head-bucket", "--bucket", "ckms-764265373335-x1"), "404")
	left, err := os.ReadDir(s.objects())
	require.NoError(t, err)
	require.Empty(t, left, "files of objects and parts that are no more")
}
