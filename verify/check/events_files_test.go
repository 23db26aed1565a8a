package check

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/verify/report"
)

const (
	logsBucket = "ckms-logs-1"
	trailName  = "audit"
	trailARN   = "arn:aws:cloudtrail:" + region + ":" + owner + ":trail/" + trailName
	exact      = "exact.txt" // is written and read while the trail logs

	logsPolicy = `{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:GetBucketAcl","Resource":"arn:aws:s3:::` + logsBucket + `"},
{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::` + logsBucket + `/*"}]}`
)

// loggedStack is a stack with a trail that has logged the write and the read of
// [exact], and hours since.
type loggedStack struct {
	*stack
	clock *clock
	files *s3.Client
	began time.Time
}

// hours is how long the trail of a loggedStack has logged: each has a digest file.
const hours = 5

func newLoggedStack(t *testing.T) *loggedStack {
	t.Helper()
	return newLoggedStackIn(t, localaws.Options{})
}

func newLoggedStackIn(t *testing.T, o localaws.Options) *loggedStack {
	t.Helper()
	s := newTrailStackIn(t, o)
	s.put(t, s.cfg, exact, withoutBucketKey(s.keyARN))
	s.get(t, s.cfg, exact)
	for range hours {
		s.pass(t, time.Hour)
	}
	s.clock.add(time.Minute) // the file that was delivered last is older
	return s
}

// newTrailStack makes a stack with a trail that has begun to log.
func newTrailStack(t *testing.T) *loggedStack {
	t.Helper()
	return newTrailStackIn(t, localaws.Options{})
}

func newTrailStackIn(t *testing.T, o localaws.Options) *loggedStack {
	t.Helper()
	clock := newClock()
	o.Now, o.TrailDelivery = clock.now, -1
	s := &loggedStack{stack: goodStackIn(t, o), clock: clock}
	s.config.Now = clock.now
	s.files = s3.NewFromConfig(s.cfg)
	_, err := s.files.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(logsBucket)})
	require.NoError(t, err)
	_, err = s.files.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(logsBucket), Policy: aws.String(logsPolicy)})
	require.NoError(t, err)
	c := cloudtrail.NewFromConfig(s.cfg)
	_, err = c.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: aws.String(trailName), S3BucketName: aws.String(logsBucket),
		EnableLogFileValidation: aws.Bool(true)})
	require.NoError(t, err)
	clock.add(time.Hour)
	s.began = clock.now()
	_, err = c.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String(trailName)})
	require.NoError(t, err)
	clock.add(5 * time.Minute)
	s.config.Events, s.config.Objects, s.config.Only = "s3://"+logsBucket, []string{exact}, []string{"trail"}
	s.config.Since = hours*time.Hour + 3*time.Minute // the read, and not more than the trail has logged
	return s
}

// pass lets time pass; then the trail delivers, and something happens that it will
// log.
func (s *loggedStack) pass(t *testing.T, d time.Duration) {
	t.Helper()
	s.clock.add(d)
	_, err := kms.NewFromConfig(s.cfg).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &s.keyARN})
	require.NoError(t, err)
	require.NoError(t, s.aws.DeliverTrails())
}

// list lists the keys of the trail's files in the run's Region, in order of time.
func (s *loggedStack) list(t *testing.T, kind string) []string {
	t.Helper()
	var keys []string
	pages := s3.NewListObjectsV2Paginator(s.files, &s3.ListObjectsV2Input{Bucket: aws.String(logsBucket), Prefix: aws.String("AWSLogs/" + owner + "/" + kind + "/" + region + "/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys
}

type file struct {
	key      string
	content  []byte // uncompressed
	metadata map[string]string
}

func (s *loggedStack) read(t *testing.T, key string) file {
	t.Helper()
	f, err := s.tryRead(t, key)
	require.NoError(t, err)
	return f
}

// tryRead returns the error of a file that is no gzip file.
func (s *loggedStack) tryRead(t *testing.T, key string) (file, error) {
	t.Helper()
	out, err := s.files.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(logsBucket), Key: &key})
	require.NoError(t, err)
	zip, err := gzip.NewReader(out.Body)
	if err != nil {
		return file{}, err
	}
	b, err := io.ReadAll(zip)
	return file{key, b, out.Metadata}, err
}

func (s *loggedStack) write(t *testing.T, f file) {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	_, err := zip.Write(f.content)
	require.NoError(t, err)
	require.NoError(t, zip.Close())
	_, err = s.files.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(logsBucket), Key: &f.key, Body: bytes.NewReader(b.Bytes()), Metadata: f.metadata})
	require.NoError(t, err)
}

func (s *loggedStack) remove(t *testing.T, keys ...string) {
	t.Helper()
	for _, key := range keys {
		_, err := s.files.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(logsBucket), Key: &key})
		require.NoError(t, err)
	}
}

// signer signs digests with a key of its own.
type signer struct{ key *rsa.PrivateKey }

func newSigner(t *testing.T) signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return signer{key}
}

func (s signer) fingerprint() string {
	sum := md5.Sum(x509.MarshalPKCS1PublicKey(&s.key.PublicKey))
	return hex.EncodeToString(sum[:])
}

// resign signs the digests d as one chain, after change has changed each.
func (s signer) resign(t *testing.T, digests []file, change func(digest map[string]any)) {
	t.Helper()
	var previous, previousHash string
	for i := range digests {
		var d map[string]any
		require.NoError(t, json.Unmarshal(digests[i].content, &d))
		d["digestPublicKeyFingerprint"] = s.fingerprint()
		if i > 0 {
			d["previousDigestHashValue"], d["previousDigestSignature"] = previousHash, previous
		}
		if change != nil {
			change(d)
		}
		b, err := json.Marshal(d)
		require.NoError(t, err)
		sum := sha256.Sum256(b)
		previousHash = hex.EncodeToString(sum[:])
		before := "null"
		if p, ok := d["previousDigestSignature"].(string); ok {
			before = p
		}
		signed := sha256.Sum256([]byte(d["digestEndTime"].(string) + "\n" + d["digestS3Bucket"].(string) + "/" + d["digestS3Object"].(string) + "\n" + previousHash + "\n" + before))
		signature, err := rsa.SignPKCS1v15(nil, s.key, crypto.SHA256, signed[:])
		require.NoError(t, err)
		previous = hex.EncodeToString(signature)
		digests[i].content, digests[i].metadata = b, map[string]string{"signature": previous, "signature-algorithm": "SHA256withRSA"}
	}
}

// vouch is an HTTP client on whose way CloudTrail's public keys become those of the
// signer.
type vouch struct {
	next aws.HTTPClient
	signer
}

func (v vouch) Do(h *http.Request) (*http.Response, error) {
	resp, err := v.next.Do(h)
	if err != nil || !strings.HasSuffix(h.Header.Get("X-Amz-Target"), "ListPublicKeys") {
		return resp, err
	}
	_ = resp.Body.Close()
	b, err := json.Marshal(map[string]any{"PublicKeyList": []any{map[string]any{"Value": x509.MarshalPKCS1PublicKey(&v.key.PublicKey), "Fingerprint": v.fingerprint()}}})
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	resp.Header.Set("Content-Length", strconv.Itoa(len(b)))
	resp.Header.Del("X-Amz-Crc32")
	return resp, err
}

// forge changes the records of the log files as if CloudTrail had delivered them
// so. A record for which change returns nil is left out.
func (s *loggedStack) forge(t *testing.T, change func(record []byte) []byte) {
	t.Helper()
	hashes := map[string]string{}
	for _, key := range s.list(t, "CloudTrail") {
		f := s.read(t, key)
		var content struct{ Records []json.RawMessage }
		require.NoError(t, json.Unmarshal(f.content, &content))
		var records [][]byte
		for _, r := range content.Records {
			if b := change(r); b != nil {
				records = append(records, b)
			}
		}
		f.content = slices.Concat([]byte(`{"Records":[`), bytes.Join(records, []byte(",")), []byte(`]}`))
		sum := sha256.Sum256(f.content)
		hashes[key] = hex.EncodeToString(sum[:])
		s.write(t, f)
	}
	by := newSigner(t)
	var digests []file
	for _, key := range s.list(t, "CloudTrail-Digest") {
		digests = append(digests, s.read(t, key))
	}
	by.resign(t, digests, func(d map[string]any) {
		for _, l := range d["logFiles"].([]any) {
			l := l.(map[string]any)
			l["hashValue"] = hashes[l["s3Object"].(string)]
		}
	})
	for _, d := range digests {
		s.write(t, d)
	}
	s.config.AWS.HTTPClient = vouch{s.cfg.HTTPClient, by}
}

func TestFiles_ProveTheWriteAndTheRead(t *testing.T) {
	t.Parallel()
	s := newLoggedStack(t)
	rep := s.run(t)
	for _, id := range []string{"trail.write", "trail.read"} {
		x := result(t, rep, id)
		require.Equal(t, report.Pass, x.Status, show(rep))
		require.Contains(t, x.Actual, "tied to the object by its ARN")
		require.Equal(t, "s3:GetObject", x.Evidence[0].Source)
		require.Contains(t, x.Evidence[0].Detail, "in s3://"+logsBucket+"/AWSLogs/"+owner+"/CloudTrail/"+region+"/")
	}
	x := result(t, rep, "trail.integrity")
	require.Equal(t, report.Pass, x.Status, show(rep))
	require.Contains(t, x.Actual, "the digest files of "+trailARN+" vouch for")
	require.Contains(t, x.Actual, "newer log file")
	require.Equal(t, "s3://"+logsBucket, rep.Scope.Events)
	require.NotEmpty(t, rep.Events)
}

// tampering is what is done to the files of a loggedStack.
type tampering struct {
	name      string
	tamper    func(t *testing.T, s *loggedStack) (key string) // that must be named
	integrity report.Status
	because   string
	write     report.Status
	// unreadable marks a file that no engine can read: the query fails, and trail.read,
	// whose evidence it has to find, is an error.
	unreadable bool
}

// proof is the key of the log file with the write.
func (s *loggedStack) proof(t *testing.T) string {
	t.Helper()
	for _, key := range s.list(t, "CloudTrail") {
		if bytes.Contains(s.read(t, key).content, []byte(`"GenerateDataKey"`)) {
			return key
		}
	}
	t.Fatal("no log file has the write")
	return ""
}

func tamperings() []tampering {
	const i, f, p = report.Inconclusive, report.Fail, report.Pass
	return []tampering{
		{"nothing", func(*testing.T, *loggedStack) string { return "" }, p, "vouch for", p, false},
		{"a changed byte in the log file of the write", func(t *testing.T, s *loggedStack) string {
			l := s.read(t, s.proof(t))
			l.content = bytes.Replace(l.content, []byte("GenerateDataKey"), []byte("GenerateDataKeY"), 1)
			s.write(t, l)
			return l.key
		}, f, "log file modified", i, false},
		{"a changed byte in another log file", func(t *testing.T, s *loggedStack) string {
			l := s.read(t, s.list(t, "CloudTrail")[2])
			l.content = bytes.Replace(l.content, []byte("DescribeKey"), []byte("DescribeKeY"), 1)
			s.write(t, l)
			return l.key
		}, f, "log file modified", p, false},
		{"a log file with white space added", func(t *testing.T, s *loggedStack) string {
			l := s.read(t, s.list(t, "CloudTrail")[2])
			l.content = append(l.content, '\n')
			s.write(t, l)
			return l.key
		}, f, "log file modified", p, false},
		{"a log file that is no gzip file", func(t *testing.T, s *loggedStack) string {
			key := s.list(t, "CloudTrail")[2]
			_, err := s.files.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(logsBucket), Key: &key, Body: strings.NewReader("gone")})
			require.NoError(t, err)
			return key
		}, f, "log file modified", p, true},
		{"the log file of the write removed", func(t *testing.T, s *loggedStack) string {
			key := s.proof(t)
			s.remove(t, key)
			return key
		}, f, "log file missing", i, false},
		{"a log file added", func(t *testing.T, s *loggedStack) string {
			l := s.read(t, s.proof(t))
			s.remove(t, l.key)
			l.key = strings.Replace(l.key, ".json.gz", "0.json.gz", 1)
			s.write(t, l)
			return l.key
		}, f, "log file in no digest file", i, false},
		{"a file that is no log file added", func(t *testing.T, s *loggedStack) string {
			key := path.Dir(s.list(t, "CloudTrail")[2]) + "/notes.txt"
			s.write(t, file{key: key})
			return key
		}, f, "are not those of a log file", p, false},
		{"the oldest digest file removed", func(t *testing.T, s *loggedStack) string {
			key := s.list(t, "CloudTrail-Digest")[0]
			s.remove(t, key)
			return key
		}, f, "digest file missing", i, false},
		{"a digest file in the middle removed", func(t *testing.T, s *loggedStack) string {
			key := s.list(t, "CloudTrail-Digest")[2]
			s.remove(t, key)
			return key
		}, f, "digest file missing", p, false},
		{"the newest digest file removed", func(t *testing.T, s *loggedStack) string {
			all := s.list(t, "CloudTrail-Digest")
			s.remove(t, all[len(all)-1])
			return "CloudTrail-Digest/"
		}, f, "GetTrailStatus states that a digest file was delivered", p, false},
		{"all digest files removed", func(t *testing.T, s *loggedStack) string {
			s.remove(t, s.list(t, "CloudTrail-Digest")...)
			return "CloudTrail-Digest/"
		}, f, "no digest file of the trail", i, false},
		{"all files removed", func(t *testing.T, s *loggedStack) string {
			s.remove(t, s.list(t, "CloudTrail-Digest")...)
			s.remove(t, s.list(t, "CloudTrail")...)
			return "CloudTrail-Digest/"
		}, f, "no digest file of the trail", i, false},
		{"two digest files swapped", func(t *testing.T, s *loggedStack) string {
			all := s.list(t, "CloudTrail-Digest")
			a, b := s.read(t, all[2]), s.read(t, all[3])
			a.key, b.key = b.key, a.key
			s.write(t, a)
			s.write(t, b)
			return a.key
		}, f, "it is a copy of", p, false},
		{"a changed byte in a digest file", func(t *testing.T, s *loggedStack) string {
			d := s.read(t, s.list(t, "CloudTrail-Digest")[1]) // which lists the log file of the write
			d.content = bytes.Replace(d.content, []byte(`"hashValue":"`), []byte(`"hashValue":"0`), 1)
			s.write(t, d)
			return d.key
		}, f, "its signature is not CloudTrail's", i, false},
		{"a digest file without its signature", func(t *testing.T, s *loggedStack) string {
			d := s.read(t, s.list(t, "CloudTrail-Digest")[2])
			d.metadata = nil
			s.write(t, d)
			return d.key
		}, f, "its metadata has no signature", p, false},
		{"all digest files signed again with another key", func(t *testing.T, s *loggedStack) string {
			var all []file
			for _, key := range s.list(t, "CloudTrail-Digest") {
				all = append(all, s.read(t, key))
			}
			newSigner(t).resign(t, all, nil)
			for _, d := range all {
				s.write(t, d)
			}
			return all[0].key
		}, f, "CloudTrail has no public key with its fingerprint", i, false},
		{"signed with another key under CloudTrail's fingerprint", func(t *testing.T, s *loggedStack) string {
			d := s.read(t, s.list(t, "CloudTrail-Digest")[2])
			var was struct{ DigestPublicKeyFingerprint string }
			require.NoError(t, json.Unmarshal(d.content, &was))
			all := []file{d}
			newSigner(t).resign(t, all, func(d map[string]any) { d["digestPublicKeyFingerprint"] = was.DigestPublicKeyFingerprint })
			s.write(t, all[0])
			return d.key
		}, f, "its signature is not CloudTrail's", p, false},
		{"a file among the digest files", func(t *testing.T, s *loggedStack) string {
			key := path.Dir(s.list(t, "CloudTrail-Digest")[1]) + "/notes.txt"
			s.write(t, file{key: key})
			return key
		}, f, "its name is not that of a digest file", p, false},
		{"a digest file of another trail", func(t *testing.T, s *loggedStack) string {
			d := s.read(t, s.list(t, "CloudTrail-Digest")[1])
			d.key = strings.Replace(d.key, "_"+trailName+"_", "_other_", 1)
			s.write(t, d)
			return d.key
		}, i, "of the trail other", p, false},
		{"a digest file of another account", func(t *testing.T, s *loggedStack) string {
			d := s.read(t, s.list(t, "CloudTrail-Digest")[1])
			d.key = path.Dir(d.key) + "/" + strings.Replace(path.Base(d.key), owner, "111122223333", 1)
			s.write(t, d)
			return d.key
		}, i, "account 111122223333", p, false},
	}
}

// Whatever is done to the files is found, named, and proves nothing: with the files
// themselves and with SQL, which finds them. Nothing of it concerns LookupEvents, which
// reads no files: its verdicts stay those of the untampered account.
func TestFiles_TamperingIsFound(t *testing.T) {
	t.Parallel()
	for _, tt := range tamperings() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newLoggedStack(t)
			key := tt.tamper(t, s)
			s.config.Only = []string{"trail", "trail.integrity"}
			files := s.run(t)
			require.Equal(t, tt.write, result(t, files, "trail.write").Status, show(files))
			s.config.Events = tableOf(t, s, nil)
			found := s.run(t)
			for _, rep := range []*report.Report{files, found} {
				x := result(t, rep, "trail.integrity")
				require.Equal(t, tt.integrity, x.Status, show(rep))
				require.Contains(t, x.Actual+strings.Join(x.Failures, "\n"), tt.because)
				require.Contains(t, x.Actual+strings.Join(x.Failures, "\n"), key)
			}
			for _, id := range []string{"trail.write", "trail.read"} {
				require.Equal(t, result(t, files, id).Status, result(t, found, id).Status, show(found))
			}
			s.config.Only = []string{"trail"} // the log files that SQL names, and no other
			s.requireAsFiles(t, files, tt)
			s.config.Events = lookup
			for _, id := range []string{"trail.write", "trail.read"} {
				require.Equal(t, report.Pass, result(t, s.run(t), id).Status, id)
			}
		})
	}
}

// requireAsFiles requires the verdicts of a run over the log files from one that finds
// the log files with SQL.
func (s *loggedStack) requireAsFiles(t *testing.T, files *report.Report, tt tampering) {
	t.Helper()
	rep := s.run(t)
	for _, id := range []string{"trail.write", "trail.read"} {
		want := result(t, files, id)
		x := result(t, rep, id)
		if tt.unreadable && id == "trail.read" {
			require.Equal(t, report.Error, x.Status, show(rep))
			continue
		}
		require.Equal(t, want.Status, x.Status, "%s\n%s", show(files), show(rep))
		require.Equal(t, eventIDs(want), eventIDs(x), "%s\n%s", show(files), show(rep))
	}
}
