package localaws

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// These tests send every operation of botocore's service models, and every
// member of its input alone, to localaws. Each has to be served as itself, or
// refused. testdata/modelled has every member that is not NotImplemented, with
// the answer: a change of that list is a change of what localaws claims to
// model.

var updateModelled = flag.Bool("update-modelled", false, "rewrite testdata/modelled from the answers")

// model is a service model of botocore.
type model struct {
	Metadata struct {
		Protocol     string
		TargetPrefix string
		APIVersion   string
	}
	Operations map[string]modelOperation
	Shapes     map[string]modelShape
}

type modelOperation struct {
	Name string
	HTTP struct {
		Method     string
		RequestURI string
	}
	Input        *struct{ Shape, LocationName string }
	HTTPChecksum struct{ RequestChecksumRequired bool }
}

type modelShape struct {
	Type       string
	Required   []string
	Members    map[string]modelMember
	Member     *modelMember // of a list
	Key, Value *modelMember // of a map
	Enum       []string
	Flattened  bool
	Payload    string
}

type modelMember struct {
	Shape, Location, LocationName, QueryName string
	Flattened                                bool
	XMLAttribute                             bool
}

func readModel(t *testing.T, service string) *model {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", ".sandbox", "botocore", service+".json"))
	if err != nil {
		t.Skipf("no service models here to compare localaws with (run make install): %v", err)
	}
	m := &model{}
	require.NoError(t, json.Unmarshal(b, m))
	return m
}

// member is one member of an input: the path to it, and for an enumeration one
// of its values.
type member struct {
	path  []string
	value string
}

func (m member) String() string {
	s := strings.Join(m.path, ".")
	if m.value != "" {
		s += "=" + m.value
	}
	return s
}

// members are all members below a shape, in order.
func (m *model) members(shape string, above []string, seen []string) []member {
	s := m.Shapes[shape]
	if slices.Contains(seen, shape) {
		return nil
	}
	seen = append(slices.Clone(seen), shape)
	switch s.Type {
	case "list":
		return m.members(s.Member.Shape, above, seen)
	case "structure":
		var all []member
		for _, name := range slices.Sorted(maps.Keys(s.Members)) {
			path := append(slices.Clone(above), name)
			target := m.Shapes[s.Members[name].Shape]
			for target.Type == "list" {
				target = m.Shapes[target.Member.Shape]
			}
			form := m.Metadata.Protocol == "ec2" || m.Metadata.Protocol == "query"
			if len(target.Enum) == 0 && !(form && target.Type == "structure") { // an empty structure has no form
				all = append(all, member{path: path})
			}
			for _, value := range target.Enum {
				all = append(all, member{path, value})
			}
			all = append(all, m.members(s.Members[name].Shape, path, seen)...)
		}
		return all
	}
	return nil
}

// input is a request's input: what is required, and what leads to the members.
func (m *model) input(shape string, want []member, name string, values map[string]string) any {
	s := m.Shapes[shape]
	switch s.Type {
	case "structure":
		out := map[string]any{}
		for inner, to := range s.Members {
			var below []member
			for _, w := range want {
				if len(w.path) > 0 && w.path[0] == inner {
					below = append(below, member{w.path[1:], w.value})
				}
			}
			if len(below) == 0 && !slices.Contains(s.Required, inner) {
				continue
			}
			out[inner] = m.input(to.Shape, below, inner, values)
		}
		return out
	case "list":
		return []any{m.input(s.Member.Shape, want, name, values)}
	case "map":
		return map[string]any{"name": m.input(s.Value.Shape, nil, name, values)}
	case "boolean":
		return true
	case "integer", "long":
		if v, err := strconv.Atoi(values[name]); err == nil {
			return v
		}
		return 1
	case "float", "double":
		return 1.5
	case "timestamp":
		return 1772366400
	case "blob":
		return []byte(values[name])
	}
	for _, w := range want {
		if w.value != "" {
			return w.value
		}
	}
	switch v, ok := values[name]; {
	case ok:
		return v
	case len(s.Enum) > 0:
		return s.Enum[0]
	}
	return "text"
}

// request renders an input in the service's protocol.
func (m *model) request(service string, op modelOperation, input map[string]any) *http.Request {
	var h *http.Request
	switch m.Metadata.Protocol {
	case "json":
		body, _ := json.Marshal(input) // maps, lists and scalars always encode
		h = httptest.NewRequest(http.MethodPost, "http://localhost/", bytes.NewReader(body))
		h.Header.Set("Content-Type", "application/x-amz-json-1.1")
		h.Header.Set("X-Amz-Target", m.Metadata.TargetPrefix+"."+op.Name)
	case "query", "ec2":
		form := url.Values{"Action": {op.Name}, "Version": {m.Metadata.APIVersion}}
		if op.Input != nil {
			m.form(form, op.Input.Shape, "", input, false)
		}
		h = httptest.NewRequest(http.MethodPost, "http://localhost/", strings.NewReader(form.Encode()))
		h.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	default:
		h = m.rest(op, input)
	}
	if op.Name == "ListDirectoryBuckets" {
		service = "s3express" // its endpoint, and so its signature, are those of S3 Express: the path is that of ListBuckets
	}
	h.Header.Set("Authorization", signature("alice", "us-east-1", service))
	return h
}

// form flattens a value as the query protocols do.
func (m *model) form(form url.Values, shape, prefix string, v any, flattened bool) {
	s, ec2 := m.Shapes[shape], m.Metadata.Protocol == "ec2"
	switch v := v.(type) {
	case map[string]any:
		if s.Type == "map" {
			form.Set(prefix+".entry.1.key", "name")
			return
		}
		for name, inner := range v {
			to := s.Members[name]
			key := name
			if to.LocationName != "" {
				key = to.LocationName
			}
			if ec2 {
				key = strings.ToUpper(key[:1]) + key[1:]
				if to.QueryName != "" {
					key = to.QueryName
				}
			}
			if prefix != "" {
				key = prefix + "." + key
			}
			m.form(form, to.Shape, key, inner, to.Flattened || m.Shapes[to.Shape].Flattened)
		}
	case []any:
		for i, inner := range v {
			key := fmt.Sprintf("%s.%d", prefix, i+1)
			if !ec2 && !flattened {
				key = fmt.Sprintf("%s.member.%d", prefix, i+1)
			}
			m.form(form, s.Member.Shape, key, inner, false)
		}
	case []byte:
		form.Set(prefix, base64.StdEncoding.EncodeToString(v))
	default:
		form.Set(prefix, m.text(shape, v, "2026-03-01T12:00:00Z"))
	}
}

func (m *model) text(shape string, v any, timestamp string) string {
	if m.Shapes[shape].Type == "timestamp" {
		return timestamp
	}
	return fmt.Sprint(v)
}

// rest renders an input in S3's protocol.
func (m *model) rest(op modelOperation, input map[string]any) *http.Request {
	path, query := op.HTTP.RequestURI, url.Values{}
	header, inBody := http.Header{}, map[string]any{}
	var body []byte
	shape := modelShape{}
	if op.Input != nil {
		shape = m.Shapes[op.Input.Shape]
	}
	for name, v := range input {
		to := shape.Members[name]
		switch to.Location {
		case "uri":
			text := fmt.Sprint(v)
			path = strings.NewReplacer("{"+to.LocationName+"}", text, "{"+to.LocationName+"+}", text).Replace(path)
		case "querystring":
			if list, ok := v.([]any); ok {
				for _, e := range list {
					query.Add(to.LocationName, fmt.Sprint(e))
				}
			} else {
				query.Set(to.LocationName, m.text(to.Shape, v, "Sun, 01 Mar 2026 12:00:00 GMT"))
			}
		case "header":
			if list, ok := v.([]any); ok {
				v = list[0]
			}
			header.Set(to.LocationName, m.text(to.Shape, v, "Sun, 01 Mar 2026 12:00:00 GMT"))
		case "headers":
			header.Set(to.LocationName+"name", "value")
		default:
			inBody[name] = v
		}
	}
	switch payload := shape.Payload; {
	case payload != "" && inBody[payload] != nil:
		to := shape.Members[payload]
		if blob, ok := inBody[payload].([]byte); ok {
			body = blob
		} else if text, ok := inBody[payload].(string); ok {
			body = []byte(text)
		} else {
			body = m.xml(to.LocationName, to, inBody[payload])
		}
	case payload == "" && len(inBody) > 0:
		body = m.xml(op.Input.LocationName, modelMember{Shape: op.Input.Shape}, inBody)
	}
	if raw := query.Encode(); raw != "" {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		path += separator + raw
	}
	h := httptest.NewRequest(op.HTTP.Method, "http://localhost"+path, bytes.NewReader(body))
	h.Header = header
	h.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	if _, ok := input["ContentMD5"]; ok || op.HTTPChecksum.RequestChecksumRequired {
		sum := md5.Sum(body)
		h.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	return h
}

func (m *model) xml(name string, to modelMember, v any) []byte {
	var b bytes.Buffer
	s := m.Shapes[to.Shape]
	switch v := v.(type) {
	case map[string]any:
		attributes := ""
		var inside bytes.Buffer
		for _, inner := range slices.Sorted(maps.Keys(v)) {
			to := s.Members[inner]
			if s.Type == "map" {
				continue // no input of S3 that is served has one
			}
			tag := inner
			if to.LocationName != "" {
				tag = to.LocationName
			}
			if to.XMLAttribute {
				attributes = fmt.Sprintf(` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" %s="%s"`, tag, v[inner])
				continue
			}
			inside.Write(m.xml(tag, to, v[inner]))
		}
		fmt.Fprintf(&b, "<%s%s>%s</%s>", name, attributes, inside.Bytes(), name)
	case []any:
		if to.Flattened || s.Flattened {
			for _, e := range v {
				b.Write(m.xml(name, *s.Member, e))
			}
			return b.Bytes()
		}
		tag := "member"
		if s.Member.LocationName != "" {
			tag = s.Member.LocationName
		}
		fmt.Fprintf(&b, "<%s>", name)
		for _, e := range v {
			b.Write(m.xml(tag, *s.Member, e))
		}
		fmt.Fprintf(&b, "</%s>", name)
	default:
		fmt.Fprintf(&b, "<%s>", name)
		_ = xml.EscapeText(&b, []byte(m.text(to.Shape, v, "2026-03-01T00:00:00Z"))) // a bytes.Buffer takes everything
		fmt.Fprintf(&b, "</%s>", name)
	}
	return b.Bytes()
}

// alsoRequired are members that an operation needs to succeed, which its model
// calls optional.
var alsoRequired = map[string][]string{
	"Decrypt": {"CiphertextBlob"}, "ReEncrypt": {"CiphertextBlob"}, "GenerateRandom": {"NumberOfBytes"},
	"GenerateDataKey": {"KeySpec=AES_256"}, "GenerateDataKeyWithoutPlaintext": {"KeySpec=AES_256"},
	"RetireGrant": {"KeyId", "GrantId"}, "CreateGrant": {"GranteePrincipal"},

	"CreateVolume": {"Size", "AvailabilityZone"},
	"CreateTags":   {"Resources", "Tags.Key"},

	"CompleteMultipartUpload":         {"MultipartUpload.Parts.PartNumber", "MultipartUpload.Parts.ETag"},
	"PutBucketLifecycleConfiguration": {"LifecycleConfiguration.Rules.Filter", "LifecycleConfiguration.Rules.Expiration.Days"},
	"PutBucketVersioning":             {"VersioningConfiguration.Status=Enabled"},
	"PutObjectLockConfiguration":      {"ObjectLockConfiguration.ObjectLockEnabled=Enabled"},
	"PutBucketReplication": {"ReplicationConfiguration.Rules.Filter", "ReplicationConfiguration.Rules.Priority", "ReplicationConfiguration.Rules.Status=Enabled",
		"ReplicationConfiguration.Rules.DeleteMarkerReplication.Status=Disabled"},
	"PutObjectRetention": {"Retention.Mode=GOVERNANCE", "Retention.RetainUntilDate"},
	"PutObjectLegalHold": {"LegalHold.Status=ON"},
	"PutBucketAcl":       {"AccessControlPolicy.Owner.ID", "AccessControlPolicy.Grants.Grantee.ID", "AccessControlPolicy.Grants.Permission=FULL_CONTROL"},
}

// sameRoute are S3's old names of operations: they are the same requests.
var sameRoute = map[string]string{
	"GetBucketLifecycle": "GetBucketLifecycleConfiguration", "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
	"GetBucketNotification": "GetBucketNotificationConfiguration", "PutBucketNotification": "PutBucketNotificationConfiguration",
}

// modelJudge sends requests to a server in this process.
type modelJudge struct {
	t      *testing.T
	s      *Server
	mu     sync.Mutex
	last   Call
	n      int
	values map[string]string // of members, by name
}

func newModelJudge(t *testing.T) *modelJudge {
	t.Helper()
	j := &modelJudge{t: t}
	j.s = newServer(t, unthrottled, func(o *Options) {
		o.TrailDelivery = -1
		o.Log = func(c Call) { j.mu.Lock(); defer j.mu.Unlock(); j.last = c }
	})
	return j
}

// send returns the status, the error code and the body.
func (j *modelJudge) send(h *http.Request) (int, string, string) {
	j.t.Helper()
	w := httptest.NewRecorder()
	j.s.ServeHTTP(w, h)
	body := w.Body.String()
	j.mu.Lock()
	defer j.mu.Unlock()
	return w.Code, j.last.Error, body
}

// must sends a request of the fixture.
func (j *modelJudge) must(method, path, body string, headers map[string]string) string {
	j.t.Helper()
	h := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	for k, v := range headers {
		h.Header.Set(k, v)
	}
	status, code, answer := j.send(h)
	require.Less(j.t, status, 300, "%s %s: %s %s", method, path, code, answer)
	return answer
}

func (j *modelJudge) json(target, body string) map[string]any {
	j.t.Helper()
	service := "kms"
	if !strings.HasPrefix(target, "Trent") {
		service = "cloudtrail"
	}
	answer := j.must(http.MethodPost, "/", body, map[string]string{"X-Amz-Target": target, "Authorization": signature("alice", "us-east-1", service)})
	var out map[string]any
	if answer != "" {
		require.NoError(j.t, json.Unmarshal([]byte(answer), &out))
	}
	return out
}

func (j *modelJudge) form(service, body string) string {
	j.t.Helper()
	return j.must(http.MethodPost, "/", body, map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Authorization": signature("alice", "us-east-1", service)})
}

func (j *modelJudge) bucket(method, path, body string) string {
	j.t.Helper()
	return j.must(method, path, body, map[string]string{"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD", "Authorization": signature("alice", "us-east-1", "s3")})
}

func within(t *testing.T, text, before, after string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, before)
	require.True(t, ok, text)
	value, _, _ := strings.Cut(rest, after)
	return value
}

// fixture makes what requests of a service name.
func (j *modelJudge) fixture(service, operation string) {
	j.t.Helper()
	j.n++
	switch service {
	case "kms":
		replicates := operation == "ReplicateKey" || operation == "UpdatePrimaryRegion"
		made, _ := j.json("TrentService.CreateKey", fmt.Sprintf(`{"MultiRegion":%v}`, replicates))["KeyMetadata"].(map[string]any)
		id := fmt.Sprint(made["KeyId"])
		blob := fmt.Sprint(j.json("TrentService.Encrypt", `{"KeyId":"`+id+`","Plaintext":"AAAA"}`)["CiphertextBlob"])
		raw, err := base64.StdEncoding.DecodeString(blob)
		require.NoError(j.t, err)
		alias := fmt.Sprintf("alias/model-%d", j.n)
		grant := ""
		switch operation {
		case "UpdateAlias", "DeleteAlias":
			j.json("TrentService.CreateAlias", `{"AliasName":"`+alias+`","TargetKeyId":"`+id+`"}`)
		case "CancelKeyDeletion":
			j.json("TrentService.ScheduleKeyDeletion", `{"KeyId":"`+id+`"}`)
		case "UpdatePrimaryRegion":
			j.json("TrentService.ReplicateKey", `{"KeyId":"`+id+`","ReplicaRegion":"eu-west-1"}`)
		case "RetireGrant", "RevokeGrant":
			user := "arn:aws:iam::" + DefaultAccount + ":user/alice"
			grant = fmt.Sprint(j.json("TrentService.CreateGrant", `{"KeyId":"`+id+`","GranteePrincipal":"`+user+`","RetiringPrincipal":"`+user+`","Operations":["Decrypt"]}`)["GrantId"])
		}
		j.values = map[string]string{
			"KeyId": id, "TargetKeyId": id, "SourceKeyId": id, "DestinationKeyId": id, "CiphertextBlob": string(raw), "Plaintext": "text",
			"AliasName": alias, "GranteePrincipal": "arn:aws:iam::" + DefaultAccount + ":root", "RetiringPrincipal": "arn:aws:iam::" + DefaultAccount + ":root",
			"PendingWindowInDays": "7", "RotationPeriodInDays": "365", "NumberOfBytes": "32", "ReplicaRegion": "eu-west-1", "PrimaryRegion": "eu-west-1",
			"PolicyName": "default", "Limit": "10", "Marker": "no marker", "GrantId": grant, "Operations": "Decrypt",
			"Policy": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + DefaultAccount + `:root"},"Action":"kms:*","Resource":"*"}}`,
		}
	case "cloudtrail":
		name := fmt.Sprintf("model-%d", j.n)
		bucket := "logs-" + name
		j.bucket(http.MethodPut, "/"+bucket, "")
		j.bucket(http.MethodPut, "/"+bucket+"?policy", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":["s3:GetBucketAcl","s3:PutObject"],"Resource":["arn:aws:s3:::`+bucket+`","arn:aws:s3:::`+bucket+`/*"]}}`)
		for _, old := range []string{fmt.Sprintf("model-%d", j.n-1), "text"} {
			h := httptest.NewRequest(http.MethodPost, "http://localhost/", strings.NewReader(`{"Name":"`+old+`"}`))
			h.Header.Set("X-Amz-Target", "CloudTrail_20131101.DeleteTrail")
			h.Header.Set("Authorization", signature("alice", "us-east-1", "cloudtrail"))
			j.send(h) // there may be none
		}
		trail := fmt.Sprint(j.json("CloudTrail_20131101.CreateTrail", `{"Name":"`+name+`","S3BucketName":"`+bucket+`"}`)["TrailARN"])
		if operation == "CreateTrail" {
			name = "text"
		}
		j.values = map[string]string{"Name": name, "TrailName": name, "S3BucketName": bucket, "ResourceId": trail, "ResourceIdList": trail, "ResourceArn": trail, "MaxResults": "10"}
	case "ec2":
		volume := within(j.t, j.form("ec2", "Version=2016-11-15&Action=CreateVolume&Size=1&AvailabilityZone=us-east-1a"), "<volumeId>", "<")
		snapshot := within(j.t, j.form("ec2", "Version=2016-11-15&Action=CreateSnapshot&VolumeId="+volume), "<snapshotId>", "<")
		j.values = map[string]string{
			"VolumeId": volume, "VolumeIds": volume, "SnapshotId": snapshot, "SnapshotIds": snapshot, "Resources": snapshot, "AvailabilityZone": "us-east-1a",
			"ZoneNames": "us-east-1a", "ZoneIds": "use1-az1", "RegionNames": "us-east-1", "Size": "4", "MaxResults": "10", "OwnerIds": "self", "KmsKeyId": "alias/aws/ebs", "SourceRegion": "us-east-1", "SourceSnapshotId": snapshot,
		}
	case "sts":
		j.values = map[string]string{"DurationSeconds": "900", "RoleArn": "arn:aws:iam::" + DefaultAccount + ":role/model", "RoleSessionName": "session"}
	case "s3":
		bucket := fmt.Sprintf("model-%d", j.n)
		j.bucket(http.MethodPut, "/"+bucket, "")
		j.bucket(http.MethodPut, "/"+bucket+"/object", "content")
		switch operation {
		case "PutBucketAcl":
			j.bucket(http.MethodPut, "/"+bucket+"?ownershipControls", "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>")
		case "PutObjectRetention", "PutObjectLegalHold", "PutObjectLockConfiguration", "GetObjectRetention", "GetObjectLegalHold":
			j.bucket(http.MethodPut, "/"+bucket+"?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
			j.bucket(http.MethodPut, "/"+bucket+"?object-lock", "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>")
			j.bucket(http.MethodPut, "/"+bucket+"/object", "content")
		}
		if strings.HasSuffix(operation, "BucketReplication") {
			for _, name := range []string{bucket, bucket + "-replica"} {
				j.bucket(http.MethodPut, "/"+name, "")
				j.bucket(http.MethodPut, "/"+name+"?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
			}
		}
		upload := within(j.t, j.bucket(http.MethodPost, "/"+bucket+"/object?uploads", ""), "<UploadId>", "<")
		j.values = map[string]string{
			"Bucket": bucket, "Key": "object", "CopySource": "/" + bucket + "/object", "RenameSource": "/" + bucket + "/object", "UploadId": upload, "VersionId": "null", "PartNumber": "1", "Body": "text",
			"ExpectedBucketOwner": DefaultAccount, "ExpectedSourceBucketOwner": DefaultAccount, "ID": within(j.t, j.bucket(http.MethodGet, "/"+bucket+"?acl", ""), "<ID>", "<"), "TargetBucket": bucket, "PartitionDateSource": "EventTime", "ContinuationToken": "no token", "SSEKMSEncryptionContext": "e30=", "Tagging": "a=b", "Role": "arn:aws:iam::" + DefaultAccount + ":role/model", "Account": DefaultAccount, "ReplicaKmsKeyID": "arn:aws:kms:us-east-1:" + DefaultAccount + ":key/model", "MaxKeys": "10", "Days": "10", "EncodingType": "url",
			"Policy": `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::` + bucket + `/x"}}`,
		}
	}
}

// judge sends one request, and returns the answer: NotImplemented, another error
// code, or "served".
func (j *modelJudge) judge(service string, m *model, op modelOperation, want member) string {
	t := j.t
	input := map[string]any{}
	if op.Input != nil {
		members := []member{want}
		for _, path := range alsoRequired[op.Name] {
			name, value, _ := strings.Cut(path, "=")
			if name != strings.Join(want.path, ".") {
				members = append(members, member{strings.Split(name, "."), value})
			}
		}
		input, _ = m.input(op.Input.Shape, members, "", j.values).(map[string]any)
	}
	switch op.Name {
	case "CreateBucket":
		input["Bucket"] = j.values["Bucket"] + "-new"
	case "CopyObject":
		input["Key"] = "copy"
	case "PutBucketReplication": // its two buckets are members of one name
		configuration, _ := input["ReplicationConfiguration"].(map[string]any)
		rules, _ := configuration["Rules"].([]any)
		rule, _ := rules[0].(map[string]any)
		destination, _ := rule["Destination"].(map[string]any)
		destination["Bucket"] = "arn:aws:s3:::" + j.values["Bucket"] + "-replica"
	}
	h := m.request(service, op, input)
	sent := fmt.Sprintf("%s of %s with %q", op.Name, service, want.String())
	status, code, body := j.send(h)
	j.mu.Lock()
	as := j.last.Operation
	j.mu.Unlock()
	require.True(t, status < 500 || code == "NotImplemented", "%s: %d %s", sent, status, body)
	name := op.Name
	if other, ok := sameRoute[name]; ok {
		name = other
	}
	if code != "NotImplemented" {
		require.Equal(t, name, as, "%s was taken for another operation, and answered %d %.500s", sent, status, body)
	}
	if service == "s3" && status >= 300 { // nothing that is refused leaves anything behind
		probe := httptest.NewRequest(http.MethodHead, "http://localhost/"+j.values["Bucket"]+"/object", nil)
		probe.Header.Set("Authorization", signature("alice", "us-east-1", "s3"))
		w := httptest.NewRecorder()
		j.s.ServeHTTP(w, probe)
		require.Equal(t, `"9a0364b9e99bb480dd25e1f0284c8555"`, w.Header().Get("ETag"), "%s was refused (%s), and changed the object", sent, code)
	}
	if status < 400 {
		return "served"
	}
	return code
}

func TestModels_EveryInputIsServedOrRefused(t *testing.T) {
	t.Parallel()
	for _, service := range []string{"kms", "s3", "cloudtrail", "sts", "ec2"} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			m := readModel(t, service)
			j := newModelJudge(t)
			require.NoError(t, j.s.SetRole("arn:aws:iam::"+DefaultAccount+":role/model", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}}`))
			var list bytes.Buffer
			for _, name := range slices.Sorted(maps.Keys(m.Operations)) {
				op := m.Operations[name]
				j.fixture(service, name)
				base := j.judge(service, m, op, member{})
				served := base != "NotImplemented"
				reads := slices.ContainsFunc([]string{"Get", "List", "Describe", "Head", "Lookup"}, func(verb string) bool { return strings.HasPrefix(name, verb) })
				changed := base == "served" && !reads
				if served {
					fmt.Fprintf(&list, "%s %s\n", name, base)
				}
				if op.Input == nil {
					continue
				}
				for _, want := range m.members(op.Input.Shape, nil, nil) {
					if service == "ec2" && !served {
						break // hundreds of operations, told apart by their names alone
					}
					if changed {
						j.fixture(service, name)
					}
					answer := j.judge(service, m, op, want)
					changed = answer == "served" && !reads
					if answer != "NotImplemented" {
						fmt.Fprintf(&list, "%s %s %s\n", name, want, answer)
					}
				}
			}
			golden := filepath.Join("testdata", "modelled", service+".txt")
			if *updateModelled {
				require.NoError(t, os.MkdirAll(filepath.Dir(golden), 0o755))
				require.NoError(t, os.WriteFile(golden, list.Bytes(), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), list.String(), "what localaws models has changed: review it, then run go test ./localaws -run TestModels -update-modelled")
		})
	}
}
