package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
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
	"github.com/securethecloud/kms-baseline/verify/logfiles/logfilestest"
)

// benched is a built verify and a localaws for it.
type benched struct {
	binary string
	server *localaws.Server
	cfg    aws.Config
	key    string
	dir    string

	endpoint string        // of verify; empty is the server's
	cpu      time.Duration // of the last run
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
	x.key, err = makeStack(x.server, testAccount, testBucket)
	require.NoError(b, err)
	x.cfg, err = clientConfig(b.Context(), x.server)
	require.NoError(b, err)
	return x
}

// output runs verify, and returns its report and its peak memory in MB.
func (x *benched) output(b *testing.B, args ...string) (rep []byte, megabytes float64, err error) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), x.binary, append(args, "-o", "json", "-q")...)
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+cmp.Or(x.endpoint, x.server.URL()), "AWS_CA_BUNDLE="+x.server.CAFile(), "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=764265373335", "AWS_SECRET_ACCESS_KEY=secret")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	require.NoError(b, cmd.Start())
	peak := watchPeak(cmd.Process.Pid)
	err = cmd.Wait()
	megabytes = peak()
	x.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return out.Bytes(), megabytes, err
}

// run is output for checks that pass.
func (x *benched) run(b *testing.B, args ...string) (results map[string]string, megabytes float64) {
	b.Helper()
	out, megabytes, err := x.output(b, args...)
	require.NoError(b, err, string(out))
	var rep struct {
		Results []struct{ ID, Actual string }
	}
	require.NoError(b, json.Unmarshal(out, &rep))
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

// BenchmarkLogFiles proves the use of 10 keys from 1,000,000 events in the log files
// of a trail, which it validates. One event in a hundred uses one of the keys.
func BenchmarkLogFiles(b *testing.B) {
	const keys = 10
	x := newBenched(b, localaws.Options{})
	client := kms.NewFromConfig(x.cfg)
	var used []string
	args := []string{"--only", "trail.keys,trail.integrity", "--events", "s3://bench-logs", "--since", "3h", "--caller", "arn:aws:iam::764265373335:role/app"}
	for range keys {
		key, err := client.CreateKey(b.Context(), &kms.CreateKeyInput{})
		require.NoError(b, err)
		used = append(used, *key.KeyMetadata.Arn)
		args = append(args, "--key", *key.KeyMetadata.Arn)
	}
	trail := newLogged(used).trail
	front := httptest.NewServer(inFront(b, x, trail))
	b.Cleanup(front.Close)
	x.endpoint = front.URL
	for b.Loop() {
		start := time.Now()
		results, mb := x.run(b, args...)
		took := time.Since(start)
		require.Contains(b, results["trail.keys"], "as expected for all 10 keys")
		require.Contains(b, results["trail.integrity"], fmt.Sprintf("%d events in %d log files", logFiles*eventsEach, logFiles))
		b.ReportMetric(logFiles*eventsEach/took.Seconds(), "events/s")
		b.ReportMetric(logFiles*eventsEach/x.cpu.Seconds(), "events/cpu-s")
		b.ReportMetric(mb, "MB")
	}
}

// inFront answers for the trail and its bucket, and sends everything else to
// localaws.
func inFront(b *testing.B, x *benched, trail *logfilestest.Trail) http.Handler {
	b.Helper()
	pem, err := os.ReadFile(x.server.CAFile())
	require.NoError(b, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	target, err := url.Parse(x.server.URL())
	require.NoError(b, err)
	rest := httputil.NewSingleHostReverseProxy(target)
	rest.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	var newest time.Time
	for _, key := range trail.List("AWSLogs/" + trail.Account + "/CloudTrail-Digest/") {
		newest = trail.Objects[key].Modified
	}
	answers := map[string]any{
		"ListPublicKeys": map[string]any{"PublicKeyList": []any{map[string]any{"Value": trail.PublicKey(), "Fingerprint": trail.Fingerprint()}}},
		"DescribeTrails": map[string]any{"trailList": []any{map[string]any{"Name": trail.Name, "TrailARN": "arn:aws:cloudtrail:" + trail.Region + ":" + trail.Account + ":trail/" + trail.Name,
			"S3BucketName": trail.Bucket, "HomeRegion": trail.Region, "LogFileValidationEnabled": true}}},
		"GetTrailStatus": map[string]any{"IsLogging": true, "LatestDigestDeliveryTime": newest.Unix()},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		operation := r.Header.Get("X-Amz-Target")
		if answer, ok := answers[operation[strings.LastIndexByte(operation, '.')+1:]]; ok {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			_ = json.NewEncoder(w).Encode(answer)
			return
		}
		key, ok := strings.CutPrefix(r.URL.Path, "/"+trail.Bucket)
		if !ok {
			rest.ServeHTTP(w, r)
			return
		}
		w.Header().Set("X-Amz-Bucket-Region", trail.Region)
		if r.URL.Query().Has("list-type") {
			type contents struct{ Key, LastModified string }
			var list struct {
				XMLName  xml.Name `xml:"ListBucketResult"`
				Contents []contents
			}
			for _, k := range trail.List(r.URL.Query().Get("prefix")) {
				list.Contents = append(list.Contents, contents{k, trail.Objects[k].Modified.Format(time.RFC3339)})
			}
			_ = xml.NewEncoder(w).Encode(list)
			return
		}
		o := trail.Objects[strings.TrimPrefix(key, "/")]
		for name, value := range o.Metadata {
			w.Header().Set("X-Amz-Meta-"+name, value)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(o.Body)
	})
}
