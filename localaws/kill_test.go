package localaws

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cttypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
)

// serveDir makes this test binary a server process with its state there.
const serveDir = "LOCALAWS_TEST_SERVE"

// serveOnDemand makes it replicate nothing.
const serveOnDemand = "LOCALAWS_TEST_ON_DEMAND"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveDir); dir != "" {
		if err := serveUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serveUntilKilled(dir string) error {
	o := Options{Dir: dir, TrailRate: 1_000_000}
	if os.Getenv(serveOnDemand) != "" {
		onDemand(&o)
	}
	s, err := Open(o)
	if err != nil {
		return err
	}
	if err := s.Start("127.0.0.1:0"); err != nil {
		return err
	}
	fmt.Println(s.URL())
	_, err = io.Copy(io.Discard, os.Stdin) // ends with the test, if nothing kills it before
	return err
}

// process is a server in a process of its own.
type process struct {
	cmd *exec.Cmd
	cfg aws.Config
}

func startProcess(t *testing.T, dir string, env ...string) process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(append(os.Environ(), serveDir+"="+dir), env...)
	cmd.Stderr = os.Stderr
	_, err = cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	url, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, "the server did not start")
	there := &Server{url: strings.TrimSpace(url), authority: &authority{file: filepath.Join(dir, "certs", "ca.pem")}}
	return process{cmd, awsConfig(t, there, "alice", noRetries)}
}

// kill leaves the process no time for anything.
func (p process) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait() // says that it was killed
}

// acknowledged are the writes that the server said it had carried out.
type acknowledged struct {
	mu      sync.Mutex
	n       int
	objects map[string][]byte
	volumes []string
	keys    map[string]string // description by ARN
}

func (a *acknowledged) add(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	a.n++
}

func (a *acknowledged) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

func TestKill_LosesNoAcknowledgedWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const bucket = "survivors"
	done := &acknowledged{objects: map[string][]byte{}, keys: map[string]string{}}

	p := startProcess(t, dir)
	key := prepareWrites(t, p.cfg, bucket)

	for round := range 5 {
		before := done.count()
		writers := startWriters(t, p.cfg, bucket, round, done)
		require.Eventually(t, func() bool { return done.count() > before+5 }, time.Minute, time.Millisecond, "nothing is written")
		time.Sleep(rand.N(100 * time.Millisecond)) // any moment will do
		p.kill(t)
		writers.Wait()
		p = startProcess(t, dir)
		requireAll(t, p.cfg, bucket, key, done)
	}
	t.Logf("%d acknowledged writes in 5 rounds", done.count())
	p.kill(t)
}

// prepareWrites makes the bucket that the writers write to, with its key.
func prepareWrites(t *testing.T, cfg aws.Config, bucket string) (key string) {
	t.Helper()
	key = newKey(t, cfg, "alias/survivor")
	c := s3.NewFromConfig(cfg)
	makeBucket(t, c, bucket)
	encryptWith(t, c, bucket, key, false)
	_, err := ec2.NewFromConfig(cfg).EnableEbsEncryptionByDefault(t.Context(), nil)
	require.NoError(t, err)
	return key
}

// startWriters writes to every service until the server is gone.
func startWriters(t *testing.T, cfg aws.Config, bucket string, round int, done *acknowledged) *sync.WaitGroup {
	t.Helper()
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			c := s3.NewFromConfig(cfg)
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d/%d/%d", round, w, i)
				content := bytes.Repeat([]byte(name), 1+i%3000)
				if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &name, Body: bytes.NewReader(content)}); err != nil {
					return
				}
				done.add(func() { done.objects[name] = content })
			}
		})
	}
	wg.Go(func() {
		c := ec2.NewFromConfig(cfg)
		for {
			v, err := c.CreateVolume(t.Context(), gp3("us-east-1a"))
			if err != nil {
				return
			}
			done.add(func() { done.volumes = append(done.volumes, *v.VolumeId) })
		}
	})
	wg.Go(func() {
		c := kms.NewFromConfig(cfg)
		for i := 0; ; i++ {
			description := fmt.Sprintf("key %d of round %d", i, round)
			k, err := c.CreateKey(t.Context(), &kms.CreateKeyInput{Description: &description})
			if err != nil {
				return
			}
			done.add(func() { done.keys[*k.KeyMetadata.Arn] = description })
		}
	})
	return &wg
}

func requireAll(t *testing.T, cfg aws.Config, bucket, key string, done *acknowledged) {
	t.Helper()
	objects := s3.NewFromConfig(cfg)
	for name, want := range done.objects {
		out, err := objects.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &name})
		require.NoError(t, err, name)
		got, err := io.ReadAll(out.Body)
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(want, got), name)
		require.Equal(t, key, *out.SSEKMSKeyId, name)
	}
	trail := cloudtrail.NewFromConfig(cfg)
	for _, id := range done.volumes {
		out, err := ec2.NewFromConfig(cfg).DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
		require.NoError(t, err, id)
		require.True(t, *out.Volumes[0].Encrypted, id)
		require.Len(t, lookUp(t, trail, cttypes.LookupAttributeKeyResourceName, id), 1, "its event")
	}
	for arn, want := range done.keys {
		out, err := kms.NewFromConfig(cfg).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &arn})
		require.NoError(t, err, arn)
		require.Equal(t, want, *out.KeyMetadata.Description)
	}
}
