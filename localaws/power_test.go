package localaws

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// A power failure keeps what was synced, and may lose all else. Whenever it comes,
// between any two writes to the disk, every acknowledged write is there after it,
// and of the write that was under way all or nothing.
func TestPowerFailure_LosesNoAcknowledgedWrite(t *testing.T) {
	t.Parallel()
	const bucket = "survivors"
	s := newServer(t, onDemand)
	cfg := awsConfig(t, s, "alice")
	key := prepareWrites(t, cfg, bucket)
	prepareReplication(t, s, key)
	objects, keys, volumes := s3.NewFromConfig(cfg), kms.NewFromConfig(cfg), ec2.NewFromConfig(cfg)

	power := &powerFailures{t: t, s: s, synced: map[string]bool{}, objects: map[string]string{}}
	s.s3.OnWrite(power.wrote)
	for i := range 4 {
		for _, name := range []string{"overwritten", "deleted"} {
			content := strings.Repeat(name, 1+i)
			power.write(bucket, name, content, func() error {
				_, err := objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &name, Body: strings.NewReader(content)})
				return err
			})
		}
		power.write(bucket, "copied", strings.Repeat("overwritten", 1+i), func() error {
			_, err := objects.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String(bucket), Key: aws.String("copied"), CopySource: aws.String(bucket + "/overwritten")})
			return err
		})
		part := bytes.Repeat([]byte{byte('a' + i)}, 1000)
		power.write(bucket, "uploaded", string(part), func() error {
			_, err := objects.CompleteMultipartUpload(t.Context(), uploadParts(t, objects, bucket, "uploaded", part, func(*s3.CreateMultipartUploadInput) {}))
			return err
		})
		power.write("source", "k", string(part), func() error {
			_, err := objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("source"), Key: aws.String("k"), Body: bytes.NewReader(part)})
			return err
		})
		power.write("replica", "k", string(part), s.Replicate)
		power.write(bucket, "deleted", "", func() error {
			_, err := objects.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String("deleted")})
			return err
		})
		v, err := volumes.CreateVolume(t.Context(), gp3("us-east-1a"))
		require.NoError(t, err)
		power.volumes = append(power.volumes, *v.VolumeId)
		k, err := keys.CreateKey(t.Context(), &kms.CreateKeyInput{})
		require.NoError(t, err)
		power.keys = append(power.keys, *k.KeyMetadata.Arn)
		power.fail()
	}
	require.NoError(t, s.Close())
	for _, f := range power.failures {
		f.check(t, key)
	}
	t.Logf("%d power failures", len(power.failures))
	require.Greater(t, len(power.failures), 50)
}

// powerFailures takes copies of the state of a server whose calls come one after
// the other.
type powerFailures struct {
	t  *testing.T
	s  *Server
	mu sync.Mutex

	synced        map[string]bool   // files
	objects       map[string]string // acknowledged, by bucket and name; an empty content was deleted
	volumes, keys []string          // acknowledged
	name, content string            // the object that is being written, as in objects; no name for none

	failures []powerFailure
}

// powerFailure is a copy and what has to be in it.
type powerFailure struct {
	dir           string
	objects       map[string][]string // the contents that each may have
	volumes, keys []string
}

// write writes an object; f is the call.
func (p *powerFailures) write(bucket, name, content string, f func() error) {
	name = bucket + "/" + name
	p.mu.Lock()
	p.name, p.content = name, content
	p.mu.Unlock()
	require.NoError(p.t, f())
	p.mu.Lock()
	p.objects[name], p.name = content, ""
	p.mu.Unlock()
	p.fail()
}

// wrote is called after each write to the directory of objects.
func (p *powerFailures) wrote(file string, synced bool) {
	p.mu.Lock()
	if synced {
		p.synced[file] = true
	}
	p.mu.Unlock()
	p.fail()
}

// fail copies what a power failure at this moment leaves: what is committed, and
// what is synced. Of a file that is not synced the name stays, and the content is
// lost. No other file is written meanwhile.
func (p *powerFailures) fail() {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := powerFailure{dir: p.t.TempDir(), objects: map[string][]string{}, volumes: p.volumes, keys: p.keys}
	for name, content := range p.objects {
		f.objects[name] = []string{content}
	}
	if p.name != "" {
		acknowledged, ok := p.objects[p.name]
		if !ok {
			acknowledged = ""
		}
		f.objects[p.name] = []string{acknowledged, p.content}
	}
	p.failures = append(p.failures, f)

	from := p.s.opts.Dir
	noError := func(err error) { // this may be a goroutine of the server
		if err != nil {
			p.t.Errorf("copying the state: %v", err)
		}
	}
	noError(p.s.db.View(func(tx *bolt.Tx) error { return tx.CopyFile(filepath.Join(f.dir, "localaws.db"), 0o600) }))
	noError(os.CopyFS(filepath.Join(f.dir, "certs"), os.DirFS(filepath.Join(from, "certs"))))
	master, err := os.ReadFile(filepath.Join(from, "kms-master.key"))
	noError(err)
	noError(os.WriteFile(filepath.Join(f.dir, "kms-master.key"), master, 0o600))
	noError(os.Mkdir(filepath.Join(f.dir, "objects"), 0o700))
	entries, err := os.ReadDir(p.s.objects())
	noError(err)
	for _, e := range entries {
		var content []byte
		if p.synced[e.Name()] {
			content, err = os.ReadFile(filepath.Join(p.s.objects(), e.Name()))
			noError(err)
		}
		noError(os.WriteFile(filepath.Join(f.dir, "objects", e.Name()), content, 0o600))
	}
}

// prepareReplication makes the buckets source and replica, under the same key.
func prepareReplication(t *testing.T, s *Server, key string) {
	t.Helper()
	c := s3Client(t, s, "alice")
	for _, bucket := range []string{"source", "replica"} {
		versioned(t, c, bucket)
		encryptWith(t, c, bucket, key, false)
	}
	require.NoError(t, s.SetRole(replicationRole, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"sts:AssumeRole"}}`))
	_, err := c.PutBucketReplication(t.Context(), replicating("source", replicateTo("replica", underKey(key))))
	require.NoError(t, err)
}

// check starts a server on the copy.
func (f powerFailure) check(t *testing.T, key string) {
	t.Helper()
	s := newServer(t, onDemand, func(o *Options) { o.Dir = f.dir })
	cfg := awsConfig(t, s, "alice")
	for path, allowed := range f.objects {
		content := ""
		bucket, name, _ := strings.Cut(path, "/")
		out, err := s3.NewFromConfig(cfg).GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &name})
		if err != nil {
			requireCode(t, err, "NoSuchKey")
		} else {
			b, err := io.ReadAll(out.Body)
			require.NoError(t, err)
			require.Equal(t, key, *out.SSEKMSKeyId)
			content = string(b)
		}
		require.Contains(t, allowed, content, path)
	}
	f.checkReplica(t, s, s3.NewFromConfig(cfg))
	for _, arn := range f.keys {
		described(t, kms.NewFromConfig(cfg), arn)
	}
	if len(f.volumes) > 0 {
		out, err := ec2.NewFromConfig(cfg).DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{VolumeIds: f.volumes})
		require.NoError(t, err)
		require.Len(t, out.Volumes, len(f.volumes))
	}
	require.NoError(t, s.Close())
}

// checkReplica looks at the version of the source that is current after the failure: where
// it is said to be replicated its replica is there, and else one more round makes it.
func (f powerFailure) checkReplica(t *testing.T, s *Server, c *s3.Client) {
	t.Helper()
	if _, begun := f.objects["source/k"]; !begun {
		return
	}
	source, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("source"), Key: aws.String("k")})
	if err != nil {
		require.ErrorContains(t, err, "404")
		return
	}
	if source.ReplicationStatus != types.ReplicationStatusCompleted {
		require.Equal(t, types.ReplicationStatusPending, source.ReplicationStatus)
		require.NoError(t, s.Replicate())
		require.Equal(t, types.ReplicationStatusCompleted, head(t, c, "source", "k").ReplicationStatus)
	}
	require.Equal(t, *source.VersionId, *head(t, c, "replica", "k").VersionId)
	require.Equal(t, get(t, c, "source", "k"), get(t, c, "replica", "k"))
}
