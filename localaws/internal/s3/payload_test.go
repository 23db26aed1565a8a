package s3

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

// The check values of the catalogs of CRCs and RFC 3174: of "123456789".
func TestChecksums(t *testing.T) {
	t.Parallel()
	for algorithm, want := range map[string]string{
		"crc32": "cbf43926", "crc32c": "e3069283", "crc64nvme": "ae8b14860a799888", "sha1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
		"sha256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
	} {
		h := checksums[algorithm]()
		h.Write([]byte("123456789"))
		require.Equal(t, want, hex.EncodeToString(h.Sum(nil)), algorithm)
	}
}
