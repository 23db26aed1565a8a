package localaws

import (
	"bufio"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// sum64 is the checksum of body in base64.
func sum64(algorithm, body string) string {
	h := map[string]func() hash.Hash{
		"crc32": func() hash.Hash { return crc32.NewIEEE() }, "crc32c": func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
		"crc64nvme": func() hash.Hash { return crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5)) }, "sha1": sha1.New, "sha256": sha256.New,
	}[algorithm]()
	h.Write([]byte(body)) // hashes never fail
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func TestPutObject_ChecksTheBody(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "bodies")
	const hello = "hello kms day1"
	sum := sha256.Sum256([]byte(hello))
	right := md5.Sum([]byte(hello))
	signature64 := strings.Repeat("0a", 32)
	signed := strings.ReplaceAll("5;chunk-signature=SUM\r\nhello\r\n9 ; chunk-signature = SUM\r\n kms day1\r\n0;chunk-signature=SUM\r\n", "SUM", signature64)
	oneSigned := "e;chunk-signature=" + signature64 + "\r\n" + hello + "\r\n0;chunk-signature=" + signature64 + "\r\n"
	const chunked = "e\r\n" + hello + "\r\n0\r\n"
	type h = map[string]string
	streaming := func(kind string, more ...string) h {
		m := h{"X-Amz-Content-Sha256": kind, "X-Amz-Decoded-Content-Length": "14", "Content-Encoding": "aws-chunked"}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	const trailer, unsigned = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	for _, row := range []struct {
		name    string
		headers h
		body    string
		code    string // empty: it is stored, and is hello
	}{
		{"unsigned payload", h{}, hello, ""},
		{"signed payload", h{"X-Amz-Content-Sha256": hex.EncodeToString(sum[:])}, hello, ""},
		{"another signed payload", h{"X-Amz-Content-Sha256": hex.EncodeToString(sum[:])}, "hello kms day2", "XAmzContentSHA256Mismatch"},
		{"no payload hash", h{"X-Amz-Content-Sha256": ""}, hello, "InvalidRequest"},
		{"nonsense for a payload hash", h{"X-Amz-Content-Sha256": "nonsense"}, hello, "InvalidArgument"},
		{"Content-MD5", h{"Content-Md5": base64.StdEncoding.EncodeToString(right[:])}, hello, ""},
		{"another Content-MD5", h{"Content-Md5": base64.StdEncoding.EncodeToString(right[:])}, "hello kms day2", "BadDigest"},
		{"nonsense for Content-MD5", h{"Content-Md5": "nonsense"}, hello, "InvalidDigest"},
		{"checksum", h{"X-Amz-Checksum-Crc32c": sum64("crc32c", hello)}, hello, ""},
		{"another checksum", h{"X-Amz-Checksum-Crc64nvme": sum64("crc64nvme", "x")}, hello, "BadDigest"},
		{"checksum of the wrong size", h{"X-Amz-Checksum-Sha256": sum64("crc32", hello)}, hello, "InvalidRequest"},
		{"two checksums", h{"X-Amz-Checksum-Sha1": sum64("sha1", hello), "X-Amz-Checksum-Crc32": sum64("crc32", hello)}, hello, "InvalidRequest"},
		{"signed chunks", streaming("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), signed, ""},
		{"chunks with a trailer", streaming(unsigned, "X-Amz-Trailer", "x-amz-checksum-crc32"), chunked + "x-amz-checksum-crc32:" + sum64("crc32", hello) + "\r\n\r\n", ""},
		{"signed chunks with a trailer", streaming(trailer, "X-Amz-Trailer", "x-amz-checksum-sha256"), oneSigned + "x-amz-checksum-sha256:" + sum64("sha256", hello) + "\r\nx-amz-trailer-signature:00\r\n\r\n", ""},
		{"signed chunks with an unsigned trailer", streaming(trailer, "X-Amz-Trailer", "x-amz-checksum-sha256"), oneSigned + "x-amz-checksum-sha256:" + sum64("sha256", hello) + "\r\n\r\n", "IncompleteBody"},
		{"signed chunks without a trailer", streaming(trailer), oneSigned + "\r\n", "IncompleteBody"},
		{"chunks without signatures", streaming("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), chunked + "\r\n", "IncompleteBody"},
		{"chunks with an empty signature", streaming("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), strings.ReplaceAll(oneSigned, signature64, "") + "\r\n", "IncompleteBody"},
		{"chunks with something behind the signature", streaming("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), strings.ReplaceAll(oneSigned, signature64, signature64+";a=b") + "\r\n", "IncompleteBody"},
		{"chunks with something before the signature", streaming("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), strings.ReplaceAll(oneSigned, ";", ";a=b;") + "\r\n", "SignatureDoesNotMatch"},
		{"chunks with what is no signature", streaming("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), strings.ReplaceAll(oneSigned, signature64, "invalid") + "\r\n", "SignatureDoesNotMatch"},
		{"unsigned chunks with an extension", streaming(unsigned), strings.Replace(chunked, "\r\n", ";a=b\r\n", 1) + "\r\n", "NotImplemented"},
		{"lines that end early", streaming(unsigned), strings.ReplaceAll(chunked, "\r\n", "\n") + "\n", "IncompleteBody"},
		{"chunks with half a line at the end", streaming(unsigned), chunked + "\r", "IncompleteBody"},
		{"an end in the middle", streaming(unsigned), "5\r\nhello\r\n0\r\n9\r\n kms day1\r\n0\r\n\r\n", "IncompleteBody"},
		{"chunks with another trailer", streaming(unsigned, "X-Amz-Trailer", "x-amz-checksum-crc32"), chunked + "x-amz-checksum-crc32:" + sum64("crc32", "x") + "\r\n\r\n", "BadDigest"},
		{"chunks without their trailer", streaming(unsigned, "X-Amz-Trailer", "x-amz-checksum-crc32"), chunked + "\r\n", "MalformedTrailerError"},
		{"chunks that are too short", streaming(unsigned), "4\r\nhell\r\n0\r\n\r\n", "IncompleteBody"},
		{"chunks that are too long", streaming(unsigned), "f\r\nhello kms day10\r\n0\r\n\r\n", "IncompleteBody"},
		{"chunks that end early", streaming(unsigned), "e\r\nhello", "IncompleteBody"},
		{"chunks without an end", streaming(unsigned), "e\r\n" + hello + "\r\n", "IncompleteBody"},
		{"a chunk of another size", streaming(unsigned), "3\r\nhello kms day1\r\n0\r\n\r\n", "IncompleteBody"},
		{"a chunk of no size", streaming(unsigned), "zz\r\nhello kms day1\r\n0\r\n\r\n", "IncompleteBody"},
		{"a chunk of negative size", streaming(unsigned), "-1\r\nhello kms day1\r\n0\r\n\r\n", "IncompleteBody"},
		{"more behind the end", streaming(unsigned), chunked + "\r\nmore", "IncompleteBody"},
		{"chunks of unknown length", streaming(unsigned, "X-Amz-Decoded-Content-Length", ""), chunked + "\r\n", "MissingContentLength"},
		{"unknown streaming", streaming("STREAMING-NONSENSE"), chunked + "\r\n", "NotImplemented"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			key := strings.ReplaceAll(row.name, " ", "-")
			headers := h{"Authorization": signature("alice", "us-east-1", "s3"), "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}
			for k, v := range row.headers {
				headers[k] = v
			}
			status, body := send(t, s, http.MethodPut, "/bodies/"+key, row.body, headers)
			if row.code == "" {
				require.Equal(t, http.StatusOK, status, body)
				require.Equal(t, hello, get(t, c, "bodies", key))
				head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("bodies"), Key: &key})
				require.NoError(t, err)
				require.Nil(t, head.ContentEncoding, "aws-chunked is how it traveled")
				return
			}
			require.Equal(t, row.code, errorCode(t, body))
			_, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("bodies"), Key: &key})
			requireCode(t, err, "NotFound")
		})
	}
}

func TestDeleteObjects_WantsADigest(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s3Client(t, s, "alice")
	makeBucket(t, c, "many")
	for i := range 5 {
		put(t, c, "many", fmt.Sprint(i), "x")
	}
	const body = "<Delete><Object><Key>0</Key></Object></Delete>"
	headers := map[string]string{"Authorization": signature("alice", "us-east-1", "s3"), "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}
	_, answer := send(t, s, http.MethodPost, "/many?delete", body, headers)
	require.Equal(t, "InvalidRequest", errorCode(t, answer))
	require.Equal(t, "x", get(t, c, "many", "0"))

	setPolicy(t, c, "many", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:DeleteObject","Resource":"BUCKET/3"}}`)
	in := &types.Delete{Quiet: aws.Bool(true)}
	for i := range 5 {
		in.Objects = append(in.Objects, types.ObjectIdentifier{Key: aws.String(fmt.Sprint(i))})
	}
	out, err := c.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: aws.String("many"), Delete: in})
	require.NoError(t, err)
	require.Empty(t, out.Deleted)
	require.Len(t, out.Errors, 1)
	require.Equal(t, "3", *out.Errors[0].Key)
	require.Equal(t, "AccessDenied", *out.Errors[0].Code)
	list, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("many")})
	require.NoError(t, err)
	require.Len(t, list.Contents, 1)
}

// FuzzS3 sends any method, path, headers and body to a server that has a
// bucket and an object: the answer always comes, in S3's shape, and is never a
// bug's.
func FuzzS3(f *testing.F) {
	s, err := Open(Options{Dir: f.TempDir()})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, s.Close()) })
	const streaming = "X-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\nX-Amz-Decoded-Content-Length: 5\nX-Amz-Trailer: x-amz-checksum-crc32\n"
	for _, seed := range []struct{ method, target, headers, body string }{
		{"GET", "/", "", ""}, {"GET", "/?max-buckets=1&continuation-token=a", "", ""}, {"HEAD", "/bucket", "", ""}, {"DELETE", "/bucket", "", ""},
		{"PUT", "/other", "", "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"},
		{"GET", "/bucket?list-type=2&prefix=a/&delimiter=/&max-keys=1&start-after=a&encoding-type=url&continuation-token=YQ==", "", ""},
		{"GET", "/bucket?versions&key-marker=k&version-id-marker=null&max-keys=2&delimiter=/", "", ""},
		{"GET", "/bucket?uploads&key-marker=k&upload-id-marker=x&max-uploads=1", "", ""}, {"GET", "/bucket?marker=k&max-keys=-1", "", ""},
		{"PUT", "/bucket?versioning", "", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"},
		{"PUT", "/bucket?lifecycle", "", "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"},
		{"PUT", "/bucket?encryption", "", "<ServerSideEncryptionConfiguration><Rule><BucketKeyEnabled>true</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>"},
		{"PUT", "/bucket?acl", "", `<AccessControlPolicy><AccessControlList><Grant><Grantee xmlns:xsi="x" xsi:type="Group"><URI>u</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>`},
		{"PUT", "/bucket?tagging", "", "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"},
		{"PUT", "/bucket?object-lock", "", "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"},
		{"PUT", "/bucket?policy", "", `{"Version":"2012-10-17","Statement":[]}`},
		{"POST", "/bucket?delete", "Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==\n", "<Delete><Object><Key>k</Key></Object></Delete>"},
		{"GET", "/bucket/key", "Range: bytes=1-\nIf-None-Match: x\n", ""}, {"GET", "/bucket/key?partNumber=2", "", ""}, {"HEAD", "/bucket/key?versionId=null", "", ""},
		{"PUT", "/bucket/key", streaming, "5;x=y\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"},
		{"PUT", "/bucket/key", "X-Amz-Meta-A: b\nX-Amz-Tagging: a=b&c\nX-Amz-Checksum-Crc32: AAAA\n", "x"},
		{"PUT", "/bucket/copy", "X-Amz-Copy-Source: /bucket/key?versionId=null\nX-Amz-Metadata-Directive: COPY\n", ""},
		{"PUT", "/bucket/key", "X-Amz-Server-Side-Encryption: aws:kms\nX-Amz-Server-Side-Encryption-Context: e30=\n", "x"},
		{"GET", "/bucket/key?attributes", "X-Amz-Object-Attributes: ETag,ObjectParts\nX-Amz-Max-Parts: -1\n", ""},
		{"POST", "/bucket/key?uploads", "X-Amz-Checksum-Algorithm: CRC32\nX-Amz-Checksum-Type: FULL_OBJECT\n", ""},
		{"PUT", "/bucket/key?partNumber=1&uploadId=x", "X-Amz-Copy-Source: bucket/key\nX-Amz-Copy-Source-Range: bytes=0-1\n", ""},
		{"POST", "/bucket/key?uploadId=x", "", "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>"},
		{"GET", "/bucket/key?X-Amz-Signature=0&X-Amz-Credential=alice/20260301/us-east-1/s3/aws4_request&X-Amz-Date=20260301T000000Z&X-Amz-Expires=60", "Authorization: \n", ""},
		{"POST", "/bucket", "Authorization: \nContent-Type: multipart/form-data; boundary=b\n", "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--b\r\nContent-Disposition: form-data; name=\"policy\"\r\n\r\ne30=\r\n--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--b--\r\n"},
		{"OPTIONS", "/bucket/key", "Origin: http://a\nAccess-Control-Request-Method: PUT\n", ""},
		{"PUT", "/bucket?cors", "", "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>"},
		{"PUT", "/bucket/key?encryption", "", "<ObjectEncryption><SSE-KMS><KMSKeyArn>arn:aws:kms:us-east-1:123456789012:key/1</KMSKeyArn></SSE-KMS></ObjectEncryption>"},
		{"GET", "/key", "Host: bucket.s3.localhost\n", ""}, {"PATCH", "/bucket/%00", "", ""}, {"GET", "//%ff?&&=&%zz", "", ""},
	} {
		f.Add(seed.method, seed.target, seed.headers, seed.body)
	}
	do := func(method, target, headers, body string) (*httptest.ResponseRecorder, bool) {
		raw := method + " " + target + " HTTP/1.1\r\n"
		for _, line := range []string{"Host: localhost", "Authorization: " + signature("alice", "us-east-1", "s3"), "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD"} {
			if name, _, _ := strings.Cut(line, " "); !strings.Contains(headers, name) {
				raw += line + "\r\n"
			}
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(headers, "\n"), "\n") {
			if line != "" {
				raw += line + "\r\n"
			}
		}
		raw += fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
		h, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil || strings.HasPrefix(h.URL.Path, adminPath) {
			return nil, false // net/http does not let it through, or it is no call to AWS
		}
		h.RemoteAddr = "127.0.0.1:1"
		w := httptest.NewRecorder()
		r := &wire.Request{W: &wire.Writer{ResponseWriter: w}, HTTP: h, ID: wire.NewUUID(), Secure: true, Now: s.opts.Now()}
		r.Identify = func(accessKey, _ string) (wire.Identity, *wire.Error) { return wire.IdentityOf(accessKey), nil }
		if err := r.Authenticate(r.Identify); err != nil {
			return nil, false // refused before S3 sees it
		}
		r.Service, r.Operation = "s3", s.s3.Operation(r)
		s.s3.Serve(r)
		return w, true
	}
	f.Fuzz(func(t *testing.T, method, target, headers, body string) {
		do("PUT", "/bucket", "", "")
		do("PUT", "/bucket/key", "", "hello")
		w, ok := do(method, target, headers, body)
		if !ok {
			return
		}
		require.NotEmpty(t, w.Header().Get("X-Amz-Request-Id"))
		require.NotEqual(t, http.StatusInternalServerError, w.Code, w.Body.String())
		if w.Code < 400 || method == http.MethodHead {
			return
		}
		var e struct {
			XMLName                  xml.Name `xml:"Error"`
			Code, Message, RequestID string
		}
		require.NoError(t, xml.Unmarshal(w.Body.Bytes(), &e), w.Body.String())
		require.NotEmpty(t, e.Code)
	})
}
