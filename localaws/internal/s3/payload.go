package s3

import (
	"bufio"
	"crypto/md5"  //nolint:gosec // ETags and Content-MD5 are MD5: nothing here trusts it
	"crypto/sha1" //nolint:gosec // one of S3's checksums: nothing here trusts it
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// maxObject is the largest body of one PutObject or UploadPart: 5 GiB.
const maxObject = 5 << 30

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	// nvme is the polynomial of CRC-64/NVME, reversed as package crc64 wants it.
	nvme = crc64.MakeTable(0x9a6c9329ac4bc9b5)
)

// checksums are S3's algorithms, by the name that follows x-amz-checksum-.
var checksums = map[string]func() hash.Hash{
	"crc32":     func() hash.Hash { return crc32.NewIEEE() },
	"crc32c":    func() hash.Hash { return crc32.New(castagnoli) },
	"crc64nvme": func() hash.Hash { return crc64.New(nvme) },
	"sha1":      sha1.New,
	"sha256":    sha256.New,
}

// payload is a request's body as the client means it: without the framing of
// aws-chunked, and checked. Reading it to its end answers io.EOF only where
// length and all digests are right.
type payload struct {
	body    io.Reader
	chunked *chunkedReader // nil for a plain body
	left    int64          // bytes still to come; -1 where the client did not say
	size    int64          // bytes read so far
	err     error          // met at the end, kept

	md5       hash.Hash
	sha256    hash.Hash // nil where x-amz-content-sha256 has no digest
	checksum  hash.Hash
	algorithm string // of checksum: "crc32"
	named     bool   // the algorithm, by the client or for a copy; else it is S3's own

	wantMD5, wantSHA256, wantChecksum []byte // nil where the client did not say
	shownMD5, shownSHA256             string // wantMD5 and wantSHA256 as S3 repeats them
	decoded                           int64  // the length that the client said of a chunked body
	wantSignature                     bool   // of the trailing headers
	trailer                           bool   // the checksum comes behind the body
	open                              bool   // the length is not known before the end
}

// payload makes the reader of a body of at most limit bytes.
func (c *call) payload(limit int64) (*payload, error) {
	h := c.HTTP.Header
	p := &payload{body: c.HTTP.Body, left: c.HTTP.ContentLength, md5: newMD5()}
	content := c.header("X-Amz-Content-Sha256")
	p.shownSHA256 = content
	switch {
	case strings.HasPrefix(content, "STREAMING-"):
		switch content {
		case "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
		default:
			return nil, wire.Errf(http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented: x-amz-content-sha256: %s", content)
		}
		n, err := strconv.ParseInt(h.Get("X-Amz-Decoded-Content-Length"), 10, 64)
		if err != nil || n < 0 {
			return nil, wire.Errf(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
		}
		p.left = n
		p.chunked = &chunkedReader{r: bufio.NewReaderSize(c.HTTP.Body, 4096), trailers: map[string]string{}, signed: content != "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
		p.decoded, p.wantSignature = n, content == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
		p.body = p.chunked
	case content == "UNSIGNED-PAYLOAD":
	case len(content) == 64:
		want, err := hex.DecodeString(content)
		if err != nil {
			return nil, errInvalidArgument("x-amz-content-sha256", content, "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, or a valid sha256 value.")
		}
		p.sha256, p.wantSHA256 = sha256.New(), want
	case content != "" && c.isPresigned(): // S3 compares it in a presigned request (seen by OpenStack Swift, as the errors of chunks)
		p.sha256, p.wantSHA256 = sha256.New(), []byte{}
	case content != "":
		return nil, errInvalidArgument("x-amz-content-sha256", content, "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, or a valid sha256 value.")
	case c.Signed && h.Get("Authorization") != "":
		return nil, errInvalidRequest("Missing required header for this request: x-amz-content-sha256")
	}
	if p.left < 0 {
		return nil, wire.Errf(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	if p.left > limit {
		return nil, errTooLarge(p.left, limit)
	}
	if v := h.Get("Content-Md5"); v != "" {
		want, err := base64.StdEncoding.DecodeString(v)
		if err != nil || len(want) != md5.Size {
			e := wire.Errf(http.StatusBadRequest, "InvalidDigest", "The Content-MD5 you specified was invalid.")
			e.Extra = map[string]string{"Content-MD5": v}
			return nil, e
		}
		p.wantMD5, p.shownMD5 = want, hex.EncodeToString(want)
		if c.Operation != "PutObject" { // for which it is hexadecimal
			p.shownMD5 = v
		}
	}
	return p, p.readChecksum(c)
}

func newMD5() hash.Hash { return md5.New() } //nolint:gosec // see above

// newPayload is a body of known length that does not come from the client.
func newPayload(body io.Reader, size int64, algorithm string) *payload {
	return &payload{body: body, left: size, md5: newMD5(), algorithm: algorithm, named: true, checksum: checksums[algorithm]()}
}

func errTooLarge(size, limit int64) *wire.Error {
	e := wire.Errf(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
	e.Extra = map[string]string{"ProposedSize": strconv.FormatInt(size, 10), "MaxSizeAllowed": strconv.FormatInt(limit, 10)}
	return e
}

// checksumsIn are the algorithms of the headers x-amz-checksum-ALGORITHM.
func checksumsIn(header func(string) string) (sent []string) {
	for name := range checksums {
		if header("X-Amz-Checksum-"+name) != "" {
			sent = append(sent, name)
		}
	}
	return sent
}

// decodeChecksum is a checksum that a client sends; nil if the algorithm has no such
// checksum. Like S3, localaws takes no base64 with bits that nothing is encoded in.
func decodeChecksum(algorithm, value string) []byte {
	sum, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil || len(sum) != checksums[algorithm]().Size() {
		return nil
	}
	return sum
}

func errManyChecksums() *wire.Error {
	return errInvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

func errChecksumHeader(algorithm string) *wire.Error {
	return errInvalidRequest("Value for x-amz-checksum-%s header is invalid.", algorithm)
}

func errMalformedTrailer() *wire.Error {
	return wire.Errf(http.StatusBadRequest, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
}

// readChecksum finds which checksum the client sends, and where; without one
// S3 makes a CRC-64/NVME of its own. The errors are those that OpenStack Swift's
// test/s3api has seen on AWS (test_object_checksums.py, test_input_errors.py).
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
func (p *payload) readChecksum(c *call) error {
	var trailing []string
	if t := c.HTTP.Header.Get("X-Amz-Trailer"); t != "" {
		for one := range strings.SplitSeq(strings.TrimRight(strings.TrimSpace(t), ","), ",") { // S3 overlooks commas at the end
			name, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(one)), "x-amz-checksum-")
			if !ok || checksums[name] == nil {
				return errInvalidRequest("The value specified in the x-amz-trailer header is not supported")
			}
			trailing = append(trailing, name)
		}
	}
	sent := checksumsIn(c.header)
	switch {
	case len(sent) > 1 || len(trailing) > 1:
		return errManyChecksums()
	case len(sent) > 0 && len(trailing) > 0:
		return errInvalidRequest("Expecting a single x-amz-checksum- header")
	case len(trailing) > 0 && p.chunked == nil:
		return errMalformedTrailer()
	case len(trailing) > 0:
		p.algorithm, p.trailer = trailing[0], true
	case len(sent) > 0:
		p.algorithm, p.wantChecksum = sent[0], decodeChecksum(sent[0], c.header("X-Amz-Checksum-"+sent[0]))
		if p.wantChecksum == nil {
			return errChecksumHeader(sent[0])
		}
	}
	switch named := c.header("X-Amz-Sdk-Checksum-Algorithm"); {
	case named == "":
	case p.algorithm == "":
		return errInvalidRequest("x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
	case !strings.EqualFold(named, p.algorithm):
		return errInvalidRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.")
	}
	if p.named = p.algorithm != ""; !p.named {
		p.algorithm = "crc64nvme"
	}
	p.checksum = checksums[p.algorithm]()
	return nil
}

func (p *payload) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.body.Read(b)
	p.left -= int64(n)
	p.size += int64(n)
	if p.left < 0 {
		if p.err = errIncompleteBody(); p.chunked != nil {
			more, _ := io.Copy(io.Discard, p.body) // to count it
			p.err = errDecodedLength(p.decoded, p.size+more)
		}
		return 0, p.err
	}
	p.md5.Write(b[:n]) // hashes never fail
	p.checksum.Write(b[:n])
	if p.sha256 != nil {
		p.sha256.Write(b[:n])
	}
	if err != nil {
		p.err = p.end(err)
		return n, p.err
	}
	return n, nil
}

func errIncompleteBody() *wire.Error {
	return wire.Errf(http.StatusBadRequest, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.")
}

// errDecodedLength is the error for a chunked body of another length than the client said.
func errDecodedLength(expected, provided int64) *wire.Error {
	e := wire.Errf(http.StatusBadRequest, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
	e.Extra = map[string]string{"NumberBytesExpected": strconv.FormatInt(expected, 10), "NumberBytesProvided": strconv.FormatInt(provided, 10)}
	return e
}

// errTerminated is the error for a body that is not well-formed aws-chunked content.
func errTerminated() *wire.Error {
	return wire.Errf(http.StatusBadRequest, "IncompleteBody", "The request body terminated unexpectedly")
}

// end judges the whole once the body has ended with err.
func (p *payload) end(err error) error {
	if p.chunked != nil && p.chunked.done && p.left != 0 {
		return errDecodedLength(p.decoded, p.size)
	}
	if e, ok := asError(err); ok {
		return e
	}
	if errors.Is(err, errDamaged) { // the source of a copy
		return err
	}
	if !errors.Is(err, io.EOF) || p.left != 0 && !p.open {
		return errIncompleteBody()
	}
	if p.trailer {
		if p.wantSignature && !p.chunked.signature {
			return errTerminated()
		}
		value, ok := p.chunked.trailers["x-amz-checksum-"+p.algorithm]
		if !ok {
			return errMalformedTrailer()
		}
		if p.wantChecksum = decodeChecksum(p.algorithm, value); p.wantChecksum == nil {
			return errInvalidRequest("Value for x-amz-checksum-%s trailing header is invalid.", p.algorithm)
		}
		delete(p.chunked.trailers, "x-amz-checksum-"+p.algorithm)
	}
	switch {
	case p.chunked != nil && len(p.chunked.trailers) > 0: // that X-Amz-Trailer does not announce
		return errMalformedTrailer()
	case p.wantSignature && !p.trailer, p.chunked != nil && p.chunked.more && !p.trailer:
		return errTerminated()
	}
	switch {
	case p.wantSHA256 != nil && !slices.Equal(p.wantSHA256, p.sha256.Sum(nil)):
		e := wire.Errf(http.StatusBadRequest, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
		e.Extra = map[string]string{"ClientComputedContentSHA256": p.shownSHA256, "S3ComputedContentSHA256": hex.EncodeToString(p.sha256.Sum(nil))}
		return e
	case p.wantMD5 != nil && !slices.Equal(p.wantMD5, p.md5.Sum(nil)):
		e := wire.Errf(http.StatusBadRequest, "BadDigest", "The Content-MD5 you specified did not match what we received.")
		e.Extra = map[string]string{ // recorded: localstack test_s3.snapshot.json, test_s3_invalid_content_md5
			"ExpectedDigest": p.shownMD5, "CalculatedDigest": base64.StdEncoding.EncodeToString(p.md5.Sum(nil)),
		}
		return e
	case p.wantChecksum != nil && !slices.Equal(p.wantChecksum, p.checksum.Sum(nil)):
		return wire.Errf(http.StatusBadRequest, "BadDigest", "The %s you specified did not match the calculated checksum.", strings.ToUpper(p.algorithm))
	}
	return io.EOF
}

// copyTo writes all of the body to w.
func (p *payload) copyTo(w io.Writer) error {
	_, err := io.Copy(w, p)
	return err
}

// sum is the checksum of what was read, in base64.
func (p *payload) sum() string { return base64.StdEncoding.EncodeToString(p.checksum.Sum(nil)) }

// chunkedReader takes the framing of aws-chunked off: chunks of
// "hex-size[;chunk-signature=...]\r\n...\r\n", a chunk of size 0, and trailing
// headers.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
type chunkedReader struct {
	r        *bufio.Reader
	left     int64             // in this chunk
	started  bool              // a chunk has been read: its end comes first
	done     bool              // the end has been read
	trailers map[string]string // the trailing headers but the signature, by name in lower case; the last of a name counts
	// signed is whether every chunk has a signature, and signature whether the trailing
	// headers had one. localaws knows no secret keys: it looks at their form only.
	signed, signature bool
	more              bool // something follows the end; S3 overlooks it behind a trailing header
}

// checkExtension looks at what follows the size of a chunk. The errors are those that
// OpenStack Swift has seen on AWS (test/s3api, test_input_errors.py).
func (c *chunkedReader) checkExtension(extension string) error {
	name, value, _ := strings.Cut(extension, "=")
	switch value = strings.TrimSpace(value); {
	case !c.signed && extension == "":
		return nil
	case !c.signed:
		return wire.NotImplemented("s3", "chunk extensions of an unsigned body")
	case extension == "", strings.TrimSpace(name) == "chunk-signature" && (value == "" || strings.Contains(value, ";")):
		return errTerminated()
	case strings.TrimSpace(name) != "chunk-signature" || !signatureForm.MatchString(value):
		return wire.Errf(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	}
	return nil
}

var signatureForm = regexp.MustCompile("^[0-9a-f]{64}$")

func (c *chunkedReader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for c.left == 0 {
		if c.done {
			return 0, io.EOF
		}
		if err := c.nextChunk(); err != nil {
			return 0, err
		}
	}
	n, err := c.r.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = errTerminated()
	}
	return n, err
}

func (c *chunkedReader) nextChunk() error {
	if c.started {
		if line, err := c.line(); err != nil || line != "" {
			return errTerminated()
		}
	}
	c.started = true
	line, err := c.line()
	if err != nil {
		return err
	}
	size, extension, _ := strings.Cut(line, ";")
	n, err := strconv.ParseInt(strings.TrimSpace(size), 16, 64)
	if err != nil || n < 0 {
		return errTerminated()
	}
	if err := c.checkExtension(extension); err != nil {
		return err
	}
	c.left = n
	if n > 0 {
		return nil
	}
	c.done = true
	for { // trailing headers, up to an empty line or the end
		if _, err := c.r.Peek(1); errors.Is(err, io.EOF) { // some clients leave the last empty line out
			return nil
		}
		line, err := c.line()
		switch {
		case err != nil:
			return err
		case line == "":
			_, err := c.r.Peek(1)
			c.more = err == nil
			return nil
		}
		name, value, ok := strings.Cut(line, ":")
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case !ok:
			return errMalformedTrailer()
		case name == "x-amz-trailer-signature":
			c.signature = true
		default:
			c.trailers[name] = strings.TrimSpace(value)
		}
	}
}

func (c *chunkedReader) line() (string, error) {
	b, err := c.r.ReadSlice('\n')
	line, ok := strings.CutSuffix(string(b), "\r\n")
	if err != nil || !ok {
		return "", errTerminated()
	}
	return line, nil
}
