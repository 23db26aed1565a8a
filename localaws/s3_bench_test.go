package localaws

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// looksSigned is all that localaws reads of a signature.
const looksSigned = "AWS4-HMAC-SHA256 Credential=alice/20260401/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00"

// plainClient is an HTTPS client that does nothing but HTTPS, so that a
// benchmark measures the server and not an SDK.
func plainClient(tb testing.TB, s *Server) *http.Client {
	tb.Helper()
	pem, err := os.ReadFile(s.CAFile())
	require.NoError(tb, err)
	roots := x509.NewCertPool()
	require.True(tb, roots.AppendCertsFromPEM(pem))
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 64,
	}}
}

func sendSigned(c *http.Client, method, url string, body []byte) (int, error) {
	q, err := http.NewRequest(method, url, bytes.NewReader(body)) //nolint:noctx // a benchmark's
	if err != nil {
		return 0, err
	}
	q.Header.Set("Authorization", looksSigned)
	q.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	a, err := c.Do(q)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, a.Body)
	_ = a.Body.Close() // read to its end
	return a.StatusCode, err
}

// inParallel calls f b.N times from 8 clients.
func inParallel(b *testing.B, f func(i int64) (int, error)) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range 8 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if status, err := f(i); err != nil || status != http.StatusOK {
					b.Errorf("status %d: %v", status, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

func BenchmarkPutObject(b *testing.B) {
	s := newServer(b)
	c := s3Client(b, s, "alice")
	_, arn := makeKey(b, s)
	for _, row := range []struct {
		name               string
		encrypt, bucketKey bool
	}{{"SSE-S3", false, false}, {"SSE-KMS", true, false}, {"SSE-KMS-BucketKey", true, true}} {
		b.Run(row.name, func(b *testing.B) {
			bucket := fmt.Sprintf("bench-%t-%t-%d", row.encrypt, row.bucketKey, b.N)
			makeBucket(b, c, bucket)
			if row.encrypt {
				encryptWith(b, c, bucket, arn, row.bucketKey)
			}
			h, body := plainClient(b, s), make([]byte, 1<<10)
			inParallel(b, func(i int64) (int, error) {
				return sendSigned(h, http.MethodPut, fmt.Sprintf("%s/%s/object-%d", s.URL(), bucket, i), body)
			})
		})
	}
}

func BenchmarkReadObject(b *testing.B) {
	s := newServer(b)
	c := s3Client(b, s, "alice")
	_, arn := makeKey(b, s)
	makeBucket(b, c, "bench")
	encryptWith(b, c, "bench", arn, true)
	put(b, c, "bench", "object", string(make([]byte, 1<<10)))
	h := plainClient(b, s)
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		b.Run(method, func(b *testing.B) {
			inParallel(b, func(int64) (int, error) { return sendSigned(h, method, s.URL()+"/bench/object", nil) })
		})
	}
}
