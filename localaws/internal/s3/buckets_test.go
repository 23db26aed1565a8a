package s3

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestValidBucketName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"abc", "a.b.c", "ckms-764265373335-x1", "123"} {
		require.True(t, validBucketName(name), name)
	}
	for _, name := range []string{"", "ab", "Abc", "a_b_c", "-abc", "abc-", ".abc", "a..b", "10.0.0.1", "xn--abc", "sthree-x", "x-s3alias", "x--ol-s3", "a/b", "a b", "é-bucket", string(make([]byte, 64))} {
		require.False(t, validBucketName(name), name)
	}
}

func TestResource_FindsBucketAndKey(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"b.localhost": "b", "b.localhost:4566": "b", "a.b.localhost": "a.b", "B.LOCALHOST": "b", "b.s3.localhost": "b",
		"a.b.s3.eu-west-1.localhost": "a.b", "b.s3.us-east-1.aws.localhost:1": "b",
		"localhost": "path", "127.0.0.1:4566": "path", "[::1]:4566": "path", "s3.localhost": "path", "s3.eu-west-1.localhost": "path", "example.com": "path", "": "path",
	} {
		h, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://x/path/key", nil)
		require.NoError(t, err)
		h.Host = host
		bucket, key := resource(h)
		require.Equal(t, want, bucket, host)
		if want == "path" {
			require.Equal(t, "key", key)
		} else {
			require.Equal(t, "path/key", key)
		}
	}
}
