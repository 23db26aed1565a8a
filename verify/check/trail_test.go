package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// forger changes the events of LookupEvents' answers on their way: the summary
// and the record. An event for which it answers false is left out.
type forger struct {
	next  aws.HTTPClient
	forge func(summary, record map[string]any) bool
}

func (f forger) Do(h *http.Request) (*http.Response, error) {
	resp, err := f.next.Do(h)
	if err != nil || !strings.HasSuffix(h.Header.Get("X-Amz-Target"), "LookupEvents") || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, err
	}
	var kept []any
	for _, e := range out["Events"].([]any) {
		summary := e.(map[string]any)
		var record map[string]any
		if err := json.Unmarshal([]byte(summary["CloudTrailEvent"].(string)), &record); err != nil {
			return nil, err
		}
		if !f.forge(summary, record) {
			continue
		}
		if _, ok := summary["raw"]; !ok {
			b, _ := json.Marshal(record)
			summary["CloudTrailEvent"] = string(b)
		}
		kept = append(kept, summary)
	}
	out["Events"] = kept
	b, err = json.Marshal(out)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	resp.Header.Set("Content-Length", strconv.Itoa(len(b)))
	return resp, err
}

// Events that are not the ones never pass, and the reader is told what they
// are.
func TestTrail_Forged(t *testing.T) {
	t.Parallel()
	const i, f, p = report.Inconclusive, report.Fail, report.Pass
	set := func(m map[string]any, value any, path ...string) {
		for _, k := range path[:len(path)-1] {
			next, ok := m[k].(map[string]any)
			if !ok {
				return // an event that has no such thing
			}
			m = next
		}
		m[path[len(path)-1]] = value
	}
	hourBefore := func(record map[string]any) time.Time {
		at, err := time.Parse(time.RFC3339, record["eventTime"].(string))
		require.NoError(t, err)
		return at.Add(-time.Hour)
	}
	tests := []struct {
		name        string
		forge       func(summary, record map[string]any) bool
		config      func(*Config)
		write, read report.Status
		because     string // in trail.write
		// files are the statuses with log files, which have no summaries. The
		// default is the same ones.
		files *[2]report.Status
	}{
		{"nothing", func(_, _ map[string]any) bool { return true }, nil, p, p, "tied to the object by its ARN", nil},
		{"no events", func(_, _ map[string]any) bool { return false }, nil, i, i, "no such GenerateDataKey event", nil},
		{"Decrypt without GenerateDataKey", func(s, _ map[string]any) bool { return s["EventName"] != "GenerateDataKey" }, nil, i, p, "no such GenerateDataKey event", nil},
		{"GenerateDataKey without Decrypt", func(s, _ map[string]any) bool { return s["EventName"] != "Decrypt" }, nil, p, i, "", nil},
		{"another caller", func(_, r map[string]any) bool {
			set(r, "arn:aws:iam::"+owner+":user/mallory", "userIdentity", "arn")
			return true
		}, nil, f, i, "the event of this write shows another caller: arn:aws:iam::" + owner + ":user/mallory", nil},
		{"the same name in another account", func(_, r map[string]any) bool {
			set(r, "arn:aws:iam::111122223333:user/localaws", "userIdentity", "arn")
			return true
		}, nil, f, i, "another caller", nil},
		{"no caller", func(_, r map[string]any) bool { set(r, nil, "userIdentity"); return true }, nil, i, i, "", nil},
		{"another object", func(_, r map[string]any) bool {
			set(r, "arn:aws:s3:::"+bucket+"/other.txt", "requestParameters", "encryptionContext", "aws:s3:arn")
			return true
		}, nil, i, i, "of another object", nil},
		{"the bucket, for an object without a Bucket Key", func(_, r map[string]any) bool {
			set(r, "arn:aws:s3:::"+bucket, "requestParameters", "encryptionContext", "aws:s3:arn")
			return true
		}, nil, i, i, "of another object", nil},
		{"no encryption context", func(_, r map[string]any) bool { set(r, nil, "requestParameters"); return true }, nil, i, i, "without an object in the encryption context", nil},
		{"made up by hand", func(_, r map[string]any) bool { delete(r["userIdentity"].(map[string]any), "invokedBy"); return true }, nil, i, i, "from a direct call to KMS, not through S3: its encryption context names S3", nil},
		{"made up by another service", func(_, r map[string]any) bool {
			set(r, "lambda.amazonaws.com", "userIdentity", "invokedBy")
			return true
		}, nil, i, i, "from a call of lambda.amazonaws.com, not of S3", nil},
		{"S3's older name", func(_, r map[string]any) bool {
			set(r, "s3.amazonaws.com", "userIdentity", "invokedBy")
			return true
		}, nil, p, p, "", nil},
		{"S3's oldest name", func(_, r map[string]any) bool {
			set(r, "AWS Internal", "userIdentity", "invokedBy")
			return true
		}, nil, p, p, "", nil},
		{"refused by KMS", func(_, r map[string]any) bool { r["errorCode"] = "AccessDenied"; return true }, nil, i, i, "that KMS refused (AccessDenied)", nil},
		{"another time", func(s, r map[string]any) bool {
			at := hourBefore(r)
			s["EventTime"], r["eventTime"] = at.Unix(), at.Format(time.RFC3339)
			return true
		}, nil, i, p, "1 from another time", nil},
		{"before the window", func(s, r map[string]any) bool {
			at := hourBefore(r)
			s["EventTime"], r["eventTime"] = at.Unix(), at.Format(time.RFC3339)
			return true
		}, func(c *Config) { c.Since = time.Minute }, i, i, "", nil},
		{"another key, in the record alone", func(_, r map[string]any) bool {
			set(r["resources"].([]any)[0].(map[string]any), testKey, "ARN")
			return true
		}, nil, i, i, "whose record contradicts its summary", &[2]report.Status{f, i}},
		{"another key", func(s, r map[string]any) bool {
			set(r["resources"].([]any)[0].(map[string]any), testKey, "ARN")
			s["Resources"] = []any{map[string]any{"ResourceType": "AWS::KMS::Key", "ResourceName": testKey}}
			return true
		}, nil, f, i, "the event of this write shows another key: " + testKey, nil},
		{"no resources", func(s, r map[string]any) bool { r["resources"], s["Resources"] = nil, nil; return true }, nil, f, i, "another key", nil},
		{"another Region", func(_, r map[string]any) bool { r["awsRegion"] = "eu-west-1"; return true }, nil, i, i, "in another Region", nil},
		{"another event's id", func(_, r map[string]any) bool { r["eventID"] = "0"; return true }, nil, i, i, "contradicts", &[2]report.Status{p, p}},
		{"another event's name", func(_, r map[string]any) bool { r["eventName"] = "GenerateDataKey"; return true }, nil, p, i, "", nil},
		{"another time in the record", func(_, r map[string]any) bool { r["eventTime"] = hourBefore(r).Format(time.RFC3339); return true }, nil, i, i, "contradicts", &[2]report.Status{i, p}},
		{"another service", func(s, r map[string]any) bool {
			s["EventSource"], r["eventSource"] = "sts.amazonaws.com", "sts.amazonaws.com"
			return true
		}, nil, i, i, "", nil},
		{"a record that is no JSON", func(s, _ map[string]any) bool { s["CloudTrailEvent"], s["raw"] = "{", true; return true }, nil, i, i, "", nil},
		{"a record of another shape", func(s, _ map[string]any) bool {
			s["CloudTrailEvent"], s["raw"] = `{"eventName":7}`, true
			return true
		}, nil, i, i, "", nil},
		{"a session of the role that is expected", func(_, r map[string]any) bool {
			r["userIdentity"] = map[string]any{
				"type": "AssumedRole", "arn": "arn:aws:sts::" + owner + ":assumed-role/Deployer/ci-17", "invokedBy": "fas.s3.amazonaws.com",
				"sessionContext": map[string]any{"sessionIssuer": map[string]any{"arn": "arn:aws:iam::" + owner + ":role/ci/Deployer"}},
			}
			return true
		}, func(c *Config) { c.Caller = "arn:aws:sts::" + owner + ":assumed-role/Deployer/ci-18" }, p, p, "", nil},
		{"a session of another role", func(_, r map[string]any) bool {
			r["userIdentity"] = map[string]any{"arn": "arn:aws:sts::" + owner + ":assumed-role/Other/Deployer", "invokedBy": "fas.s3.amazonaws.com"}
			return true
		}, func(c *Config) { c.Caller = "arn:aws:iam::" + owner + ":role/Deployer" }, f, i, "another caller", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := goodStack(t)
			const name = "exact.txt"
			s.put(t, s.cfg, name, withoutBucketKey(s.keyARN))
			s.get(t, s.cfg, name)
			s.config.Objects, s.config.Only = []string{name}, []string{"trail"}
			s.config.AWS.HTTPClient = forger{s.cfg.HTTPClient, tt.forge}
			if tt.config != nil {
				tt.config(&s.config)
			}
			rep := s.run(t)
			require.Equal(t, tt.write, result(t, rep, "trail.write").Status, show(rep))
			require.Equal(t, tt.read, result(t, rep, "trail.read").Status, show(rep))
			require.Contains(t, result(t, rep, "trail.write").Actual, tt.because)
		})
		t.Run(tt.name+", in log files", func(t *testing.T) {
			t.Parallel()
			s := newLoggedStack(t)
			s.config.Only = []string{"trail"}
			s.forge(t, func(record []byte) []byte {
				var r map[string]any
				require.NoError(t, json.Unmarshal(record, &r))
				if r["resources"] == nil { // LookupEvents does not find it by the key either
					return record
				}
				summary := map[string]any{"EventName": r["eventName"]}
				if !tt.forge(summary, r) {
					return nil
				}
				if raw, ok := summary["raw"]; ok && raw == true {
					return []byte(summary["CloudTrailEvent"].(string))
				}
				b, err := json.Marshal(r)
				require.NoError(t, err)
				return b
			})
			s.config.Since += time.Hour // for events that were moved
			if tt.config != nil {
				tt.config(&s.config)
			}
			want := [2]report.Status{tt.write, tt.read}
			if tt.files != nil {
				want = *tt.files
			}
			rep := s.run(t)
			require.Equal(t, want[0], result(t, rep, "trail.write").Status, show(rep))
			require.Equal(t, want[1], result(t, rep, "trail.read").Status, show(rep))
			if tt.files == nil && tt.because != "" {
				require.Contains(t, result(t, rep, "trail.write").Actual, tt.because)
			}
			s.config.Events = tableOf(t, s, nil)
			if _, err := s.rows(t); err != nil { // the query fails, which is an error where nothing was found
				want = [2]report.Status{report.Error, report.Error}
			}
			rep = s.run(t)
			require.Equal(t, want[0], result(t, rep, "trail.write").Status, show(rep))
			require.Equal(t, want[1], result(t, rep, "trail.read").Status, show(rep))
		})
	}
}

// A rewritten object: the event of the first write is not that of the second.
func TestTrail_OlderVersion(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := goodStackIn(t, localaws.Options{Now: clock.now})
	s.config.Now = clock.now
	const name = "exact.txt"
	s.put(t, s.cfg, name, withoutBucketKey(s.keyARN))
	clock.add(time.Hour)
	s.put(t, configFor(t, s.aws, owner), name, withoutBucketKey(s.keyARN))
	s.config.Objects, s.config.Only = []string{name}, []string{"trail.write"}
	late := clock.now().Add(-time.Minute)
	s.config.AWS.HTTPClient = forger{s.cfg.HTTPClient, func(_, r map[string]any) bool {
		at, err := time.Parse(time.RFC3339, r["eventTime"].(string))
		return err == nil && at.Before(late) // the second write's is not there yet
	}}
	x := result(t, s.run(t), "trail.write")
	require.Equal(t, report.Inconclusive, x.Status, x.Actual)
}

// clock is a clock that tests move.
type clock struct{ offset atomic.Int64 }

func newClock() *clock { return &clock{} }

func (c *clock) now() time.Time      { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) add(d time.Duration) { c.offset.Add(int64(d)) }

func TestTrail_Wait(t *testing.T) {
	t.Parallel()
	// The write is a minute old on the server's own clock, which dates its answers
	// and so the run's start: what is written after that is not evidence.
	clock := newClock()
	clock.add(-time.Minute)
	s := goodStackIn(t, localaws.Options{TrailDelay: 10 * time.Minute, Now: clock.now})
	clock.add(time.Minute)
	s.config.Now = clock.now
	s.config.Canary = true
	s.config.Only = []string{"trail", "canary"}

	rep := s.run(t)
	for _, id := range []string{"trail.write", "canary.write", "canary.read"} {
		x := result(t, rep, id)
		require.Equal(t, report.Inconclusive, x.Status, "%s: not there yet is not a failure", id)
		require.Contains(t, x.Remedy, "--wait 20m")
	}
	require.Equal(t, report.Inconclusive, rep.Verdict)

	progress := &waiting{clock: clock, each: 6 * time.Minute}
	s.config.Progress = progress
	s.config.Wait = 20 * time.Minute
	rep = s.run(t)
	require.Equal(t, report.Pass, rep.Verdict, show(rep))
	require.Equal(t, 2, strings.Count(progress.String(), "waiting for"))
	require.Contains(t, progress.String(), "in the event history")
}

// waiting is a Config.Progress that moves the clock whenever the run waits for events.
type waiting struct {
	bytes.Buffer
	clock *clock
	each  time.Duration
}

func (w *waiting) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("waiting for")) {
		w.clock.add(w.each)
	}
	return w.Buffer.Write(b)
}

func TestTrail_WaitIsOver(t *testing.T) {
	t.Parallel()
	s := goodStackIn(t, localaws.Options{TrailDelay: time.Hour})
	s.config.Wait, s.config.Only = 50*time.Millisecond, []string{"trail"}
	x := result(t, s.run(t), "trail.write")
	require.Equal(t, report.Inconclusive, x.Status)
	require.Contains(t, x.Actual, "so there may never be one")
	require.Contains(t, x.Remedy, "--canary")
}

func TestTrail_TooOld(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := goodStackIn(t, localaws.Options{Now: clock.now})
	s.config.Now = clock.now
	clock.add(100 * 24 * time.Hour)
	x := result(t, s.run(t), "trail.write")
	require.Equal(t, report.Inconclusive, x.Status)
	require.Contains(t, x.Actual, "90 days only")
}

// Events of no interest between the read and the write are not paged through.
func TestTrail_SkipsTimeThatNoCheckNeeds(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := goodStackIn(t, localaws.Options{Now: clock.now})
	s.config.Now = clock.now
	const name = "exact.txt"
	s.put(t, s.cfg, name, withoutBucketKey(s.keyARN))
	clock.add(time.Hour)
	for range 200 {
		s.get(t, s.cfg, name)
	}
	s.config.Objects, s.config.Only = []string{name}, []string{"trail"}
	rep := s.run(t)
	require.Equal(t, report.Pass, rep.Verdict, show(rep))
	require.Contains(t, result(t, rep, "trail.write").Actual, "2 lookups")

	// When the read is not to be found, every page is turned.
	s.config.Caller = "arn:aws:iam::" + owner + ":user/unknown"
	rep = s.run(t)
	require.Equal(t, report.Inconclusive, result(t, rep, "trail.read").Status)
	require.Contains(t, result(t, rep, "trail.read").Actual, "5 lookups")
	require.Contains(t, result(t, rep, "trail.read").Actual, "of another caller")
}

// AWS may answer with an empty page and a token: it is not the end.
func TestTrail_EmptyPages(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := goodStackIn(t, localaws.Options{Now: clock.now})
	s.config.Now = clock.now
	const name = "exact.txt"
	for range 120 {
		s.get(t, s.cfg, object)
		s.put(t, s.cfg, name, withoutBucketKey(s.keyARN))
	}
	clock.add(time.Hour)
	s.config.Objects, s.config.Only = []string{name}, []string{"trail.write"}
	s.config.AWS.HTTPClient = forger{s.cfg.HTTPClient, func(_, _ map[string]any) bool { return false }}
	x := result(t, s.run(t), "trail.write")
	require.Equal(t, report.Inconclusive, x.Status)
	require.Contains(t, x.Actual, "3 lookups")
}

// The account's two lookups a second are kept to, so that AWS never throttles.
func TestTrail_KeepsToTheRate(t *testing.T) {
	t.Parallel()
	var throttled atomic.Int64
	s := goodStackIn(t, localaws.Options{TrailRate: 2, Log: func(c localaws.Call) {
		if c.Error == "ThrottlingException" {
			throttled.Add(1)
		}
	}})
	s.config.lookupRate = 0 // AWS's
	s.config.Keys = append(s.config.Keys, s.newKey(t), s.newKey(t))
	s.config.Only = []string{"trail"}
	x := result(t, s.run(t), "trail.keys")
	require.Equal(t, report.Inconclusive, x.Status)
	require.Contains(t, x.Actual, "lookups")
	require.Zero(t, throttled.Load())

	// Others use the account's share up: verify backs off, and goes on.
	s.aws.Inject(localaws.Fault{Service: "cloudtrail", Status: 400, Code: "ThrottlingException", Count: 3})
	s.config.Only = []string{"trail.write"}
	require.Equal(t, report.Pass, result(t, s.run(t), "trail.write").Status)
}

// Many keys are found by the event's name, 50 at a time, unless others fill the
// history.
func TestTrail_ManyKeys(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	client := kms.NewFromConfig(s.cfg)
	use := func(key string, times int) {
		for range times {
			_, err := client.GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: &key, KeySpec: kmstypes.DataKeySpecAes256})
			require.NoError(t, err)
		}
	}
	for range 119 {
		key := s.newKey(t)
		use(key, 1)
		s.config.Keys = append(s.config.Keys, key)
	}
	s.config.Only = []string{"trail.keys"}
	x := result(t, s.run(t), "trail.keys")
	require.Equal(t, report.Pass, x.Status, x.Actual)
	require.Equal(t, "as expected for all 120 keys (3 lookups of the event history)", x.Actual)

	use(s.newKey(t), 200)
	s.config.Keys = s.config.Keys[:3]
	x = result(t, s.run(t), "trail.keys")
	require.Equal(t, report.Pass, x.Status, x.Actual)
	require.Contains(t, x.Actual, "(6 lookups of the event history)")

	unused := s.newKey(t)
	s.config.Keys = append(s.config.Keys, unused)
	x = result(t, s.run(t), "trail.keys")
	require.Equal(t, report.Inconclusive, x.Status)
	require.Equal(t, 1, x.FailureCount)
	require.Contains(t, x.Failures[0], unused+": no such GenerateDataKey event")
}

func TestPrincipalOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ arn, want string }{
		{"arn:aws:iam::111122223333:role/R", "111122223333:role/R"},
		{"arn:aws:iam::111122223333:role/a/path/R", "111122223333:role/R"},
		{"arn:aws:sts::111122223333:assumed-role/R/session", "111122223333:role/R"},
		{"arn:aws-us-gov:sts::111122223333:assumed-role/R/session/with/slashes", "111122223333:role/R"},
		{"arn:aws:iam::111122223333:user/u", "111122223333:user/u"},
		{"arn:aws:iam::111122223333:user/path/u", "111122223333:user/u"},
		{"arn:aws:iam::111122223333:root", "111122223333:root"},
		{"arn:aws:sts::111122223333:federated-user/f", "111122223333:federated-user/f"},
		{"arn:aws:s3:::bucket", ""},
		{"arn:aws:iam::111122223333:role", ""},
		{"alice", ""},
		{"", ""},
	} {
		require.Equal(t, tt.want, principalOf(tt.arn), fmt.Sprintf("%q", tt.arn))
	}
}

// A source whose records may be incomplete proves neither that there is no event
// nor that there is no other one.
func TestTrail_UncoveredTimeIsInconclusive(t *testing.T) {
	t.Parallel()
	at := time.Now().UTC()
	const why = "no digest covers the time"
	rec := trailRecord{EventName: "GenerateDataKey", EventSource: "kms.amazonaws.com", EventTime: at, Region: region}
	rec.UserIdentity.ARN, rec.UserIdentity.InvokedBy = "arn:aws:iam::"+owner+":role/a", "s3.amazonaws.com"
	rec.Resources = []trailResource{{ARN: testKey}}
	rec.RequestParameters.EncryptionContext = map[string]string{"aws:s3:arn": "arn:aws:s3:::" + bucket + "/" + object}
	for name, tt := range map[string]struct {
		uncovered, unproven string
		whole               bool
		want                report.Status
	}{
		"covered":                        {"", "", true, report.Pass},
		"a write, and not covered":       {why, "", true, report.Inconclusive},
		"a read, and not covered":        {why, "", false, report.Pass},
		"a record that is no evidence":   {"", "in a file without a digest", true, report.Inconclusive},
		"a read that is no evidence yet": {"", "in a file without a digest", false, report.Inconclusive},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &want{name: object, event: "GenerateDataKey", key: testKey, caller: principalOf(rec.UserIdentity.ARN), context: rec.s3ARN(), object: rec.s3ARN(),
				whole: tt.whole, from: at.Add(-time.Hour), to: at.Add(time.Minute)}
			w.meet(sighting{trailRecord: rec, unproven: tt.unproven})
			w.gone, w.uncovered = true, tt.uncovered
			x := trailFindings{noun: "log files"}.result(&run{}, w)
			require.Equal(t, tt.want, x.Status, x.Actual)
			require.Contains(t, x.Actual, tt.unproven)
			if x.Status != report.Pass {
				require.Contains(t, x.Actual, tt.uncovered)
			}
		})
	}
}

// S3 has written a replica, with an Encrypt. An event of the caller's, of another
// object of the same bucket at the same time, does not prove its write.
func TestTrail_Replica(t *testing.T) {
	t.Parallel()
	s := goodStackIn(t, localaws.Options{Replication: -1})
	const source, role, replica = "originals", "arn:aws:iam::" + owner + ":role/replication", "replica.txt"
	require.NoError(t, s.aws.SetRole(role, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"sts:AssumeRole"}]}`))
	s.setBucketPolicy(t, strings.Replace(goodBucketPolicy(s.keyARN), `"Sid":"DenyReencryption",`,
		`"Sid":"DenyReencryption","Condition":{"ArnNotEquals":{"aws:PrincipalArn":"`+role+`"}},`, 1))
	b := s3.NewFromConfig(s.cfg)
	_, err := b.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(source)})
	require.NoError(t, err)
	_, err = b.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: aws.String(source), VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
	})
	require.NoError(t, err)
	_, err = b.PutBucketReplication(t.Context(), &s3.PutBucketReplicationInput{Bucket: aws.String(source), ReplicationConfiguration: &s3types.ReplicationConfiguration{
		Role: aws.String(role), Rules: []s3types.ReplicationRule{{
			Status: s3types.ReplicationRuleStatusEnabled, Priority: aws.Int32(1), Filter: &s3types.ReplicationRuleFilter{},
			DeleteMarkerReplication: &s3types.DeleteMarkerReplication{Status: s3types.DeleteMarkerReplicationStatusDisabled},
			SourceSelectionCriteria: &s3types.SourceSelectionCriteria{SseKmsEncryptedObjects: &s3types.SseKmsEncryptedObjects{Status: s3types.SseKmsEncryptedObjectsStatusEnabled}},
			Destination: &s3types.Destination{
				Bucket: aws.String("arn:aws:s3:::" + bucket), EncryptionConfiguration: &s3types.EncryptionConfiguration{ReplicaKmsKeyID: &s.keyARN},
			},
		}},
	}})
	require.NoError(t, err)
	_, err = b.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(source), Key: aws.String(replica), Body: strings.NewReader("x"), ServerSideEncryption: s3types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &s.keyARN,
	})
	require.NoError(t, err)
	require.NoError(t, s.aws.Replicate())
	s.put(t, s.cfg, "mine.txt", nil)

	s.config.Objects = []string{replica}
	rep := s.run(t)
	require.Equal(t, report.Pass, result(t, rep, "object.encryption").Status, show(rep))
	require.Equal(t, report.Pass, result(t, rep, "bucket.foreign-keys").Status)
	require.Contains(t, result(t, rep, "bucket.foreign-keys").Actual, "open to "+role)
	write := result(t, rep, "trail.write")
	require.Equal(t, report.Inconclusive, write.Status, write.Actual)
	require.Contains(t, write.Actual, "is a replica")
}
