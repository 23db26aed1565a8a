package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/securethecloud/kms-baseline/localaws"
)

// benched is a built verify and a localaws for it.
type benched struct {
	binary string
	server *localaws.Server
	cfg    aws.Config
	key    string
	dir    string
}

func newBenched(b *testing.B, o localaws.Options) *benched {
	b.Helper()
	dir := b.TempDir()
	o.Dir = filepath.Join(dir, "aws")
	x := &benched{binary: filepath.Join(dir, "verify"), dir: dir}
	out, err := exec.CommandContext(b.Context(), "go", "build", "-o", x.binary, ".").CombinedOutput()
	require.NoError(b, err, string(out))
	x.server, err = localaws.Open(o)
	require.NoError(b, err)
	b.Cleanup(func() { _ = x.server.Close() }) // waits five seconds for connections that were never used
	require.NoError(b, x.server.Start("127.0.0.1:0"))
	x.key, err = makeStack(x.server)
	require.NoError(b, err)
	x.cfg, err = clientConfig(b.Context(), x.server)
	require.NoError(b, err)
	return x
}

// run runs verify, and returns its report and its peak memory in MB.
func (x *benched) run(b *testing.B, args ...string) (results map[string]string, megabytes float64) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), x.binary, append(args, "-o", "json", "--region", "us-east-1", "-q")...)
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+x.server.URL(), "AWS_CA_BUNDLE="+x.server.CAFile(), "AWS_ACCESS_KEY_ID=764265373335", "AWS_SECRET_ACCESS_KEY=secret")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	require.NoError(b, cmd.Start())
	peak := watchPeak(cmd.Process.Pid)
	err := cmd.Wait()
	megabytes = peak()
	require.NoError(b, err, out.String())
	var rep struct {
		Results []struct{ ID, Actual string }
	}
	require.NoError(b, json.Unmarshal(out.Bytes(), &rep))
	results = map[string]string{}
	for _, r := range rep.Results {
		results[r.ID] = r.Actual
	}
	return results, megabytes
}

// watchPeak reads a process's peak memory in MB until the answer is asked for;
// 0 where there is no /proc. The process's rusage would not do: its peak is at
// least what its parent had at the fork, and the parent has localaws in it.
func watchPeak(pid int) (peak func() float64) {
	stop, result := make(chan struct{}), make(chan float64)
	go func() {
		var megabytes float64
		for {
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // empty once it has ended
			if _, after, ok := strings.Cut(string(status), "VmHWM:"); ok {
				var kilobytes float64
				_, _ = fmt.Sscan(after, &kilobytes) // always a number
				megabytes = kilobytes / 1024
			}
			select {
			case <-stop:
				result <- megabytes
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() float64 {
		close(stop)
		return <-result
	}
}

// BenchmarkVerify is every check without a wait, the process included.
func BenchmarkVerify(b *testing.B) {
	x := newBenched(b, localaws.Options{TrailRate: 1 << 20})
	for b.Loop() {
		_, mb := x.run(b, "--key", x.key, "--alias", "alias/masterclass-cmk", "--bucket", testBucket, "--object", testObject)
		b.ReportMetric(mb, "MB")
	}
}

// BenchmarkObjects checks 100,000 objects, and measures what localaws can serve
// at all: the same HEAD from as many clients that do nothing else.
func BenchmarkObjects(b *testing.B) {
	const objects, clients = 100_000, 32
	x := newBenched(b, localaws.Options{})
	client := s3.NewFromConfig(x.cfg)
	var g errgroup.Group
	g.SetLimit(clients)
	for i := range objects {
		g.Go(func() error {
			_, err := client.PutObject(b.Context(), &s3.PutObjectInput{Bucket: aws.String(testBucket), Key: aws.String(fmt.Sprintf("many/%06d", i)), Body: strings.NewReader("x")})
			return err
		})
	}
	require.NoError(b, g.Wait())
	limit := x.headRate(b, clients)
	for b.Loop() {
		start := time.Now()
		results, mb := x.run(b, "--key", x.key, "--bucket", testBucket, "--prefix", "many/", "--only", "object")
		require.Contains(b, results["object.encryption"], fmt.Sprintf("%d objects checked", objects))
		b.ReportMetric(objects/time.Since(start).Seconds(), "objects/s")
		b.ReportMetric(limit, "localaws-HEAD/s")
		b.ReportMetric(mb, "MB")
	}
}

// headRate is how many HEADs a second localaws serves.
func (x *benched) headRate(b *testing.B, clients int) float64 {
	b.Helper()
	pem, err := os.ReadFile(x.server.CAFile())
	require.NoError(b, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: clients}}
	defer c.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(b.Context(), 3*time.Second)
	defer cancel()
	var n atomic.Int64
	var g errgroup.Group
	start := time.Now()
	for range clients {
		g.Go(func() error {
			for ctx.Err() == nil {
				h, err := http.NewRequestWithContext(b.Context(), http.MethodHead, x.server.URL()+"/"+testBucket+"/many/000000", nil)
				if err != nil {
					return err
				}
				h.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=764265373335/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0")
				resp, err := c.Do(h)
				if err != nil {
					return err
				}
				if err := resp.Body.Close(); err != nil {
					return err
				}
				if resp.StatusCode != http.StatusOK {
					return fmt.Errorf("localaws answered %s", resp.Status)
				}
				n.Add(1)
			}
			return nil
		})
	}
	require.NoError(b, g.Wait())
	return float64(n.Load()) / time.Since(start).Seconds()
}

// BenchmarkKeys proves the use of 500 keys from the event history, at AWS's
// two lookups a second.
func BenchmarkKeys(b *testing.B) {
	const keys = 500
	x := newBenched(b, localaws.Options{})
	client := kms.NewFromConfig(x.cfg)
	args := []string{"--only", "trail.keys"}
	for range keys {
		key, err := client.CreateKey(b.Context(), &kms.CreateKeyInput{})
		require.NoError(b, err)
		_, err = client.GenerateDataKey(b.Context(), &kms.GenerateDataKeyInput{KeyId: key.KeyMetadata.Arn, KeySpec: types.DataKeySpecAes256})
		require.NoError(b, err)
		args = append(args, "--key", *key.KeyMetadata.Arn)
	}
	for b.Loop() {
		results, _ := x.run(b, args...)
		var lookups float64
		_, err := fmt.Sscanf(results["trail.keys"], "as expected for all 500 keys (%f lookups", &lookups)
		require.NoError(b, err, results["trail.keys"])
		b.ReportMetric(lookups, "lookups")
	}
}
