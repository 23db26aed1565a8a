package s3

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Server-side encryption with customer-provided keys (SSE-C): every request that
// reads or writes the object brings the key, which is stored nowhere.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html

const (
	sseC = "SSE-C"

	// The three headers of a key: Algorithm, Key and Key-Md5. A copy has them for
	// its source, too.
	customerPrefix       = "X-Amz-Server-Side-Encryption-Customer-"
	customerSourcePrefix = "X-Amz-Copy-Source-Server-Side-Encryption-Customer-"
)

// hasCustomerKey reports whether the request has any of the headers.
func (c *call) hasCustomerKey(prefix string) bool {
	return c.hasHeader(prefix+"Algorithm") || c.hasHeader(prefix+"Key") || c.hasHeader(prefix+"Key-Md5")
}

// chooseCustomerKey encrypts under the customer's key, unless the bucket blocks
// that, as every new bucket does.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/blocking-unblocking-s3-c-encryption-gpb.html
func (c *call) chooseCustomerKey() (sseChoice, error) {
	if c.b.blocksSSEC() {
		return sseChoice{}, c.errSSECBlocked()
	}
	if sse := c.header(headerSSE); sse != "" {
		return sseChoice{}, errInvalidArgument(strings.ToLower(headerSSE), sse, "Server Side Encryption with Customer provided key is incompatible with the encryption method specified")
	}
	for _, name := range []string{headerSSEKey, headerSSEContext, headerSSEBucketKey} {
		if c.hasHeader(name) {
			return sseChoice{}, wire.NotImplemented("s3", strings.ToLower(name)+" beside a customer's key")
		}
	}
	key, err := c.customerKey(customerPrefix)
	if err == nil && len(key) != 32 {
		err = errCustomerKey("null", "The secret key was invalid for the specified algorithm.")
	}
	return sseChoice{algorithm: sseC, customer: key}, err
}

// errSSECBlocked names s3:CopyObject, which is no action, as S3 does:
// https://github.com/DataDog/stratus-red-team/issues/946.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html
func (c *call) errSSECBlocked() *wire.Error {
	action := "s3:PutObject"
	if c.Operation == "CopyObject" {
		action = "s3:CopyObject"
	}
	return wire.Errf(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: %s on resource: %q because this bucket has blocked upload requests that specify Server Side Encryption with Customer provided keys (SSE-C). Please specify a different server-side encryption type.", c.Who.ARN, action, c.arn())
}

// checkUploadKey refuses a request that brings another key than its upload has, or none
// where one is needed. Recorded: localstack test_s3.snapshot.json,
// test_multipart_upload_sse_c_validation.
//
// UploadPart and UploadPartCopy need the key; CompleteMultipartUpload and ListParts only
// for an upload with a checksum algorithm. [U]: that their errors are those of UploadPart.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
func (c *call) checkUploadKey(o *objectRecord, needed bool) error {
	has := c.hasCustomerKey(customerPrefix)
	if !has && (o.Algorithm != sseC || !needed) {
		return nil
	}
	if has && c.b.blocksSSEC() && c.Operation != "ListParts" { // which writes nothing
		return c.errSSECBlocked()
	}
	if !has || o.Algorithm != sseC {
		return errInvalidRequest("The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.")
	}
	key, err := c.customerKey(customerPrefix)
	if err == nil && !hmac.Equal(o.CustomerKeyHMAC, customerMAC(o.CustomerKeySalt, key)) {
		err = errInvalidRequest("The provided encryption parameters did not match the ones used originally.")
	}
	clear(key)
	return err
}

// errCustomerKey is what is wrong with the headers of a key. S3 names none of them.
// Recorded: localstack test_s3.snapshot.json, test_put_object_validation_sse_c.
func errCustomerKey(algorithm, message string) *wire.Error {
	return errInvalidArgument(strings.ToLower(headerSSE), algorithm, "%s", message)
}

// customerKey reads the key of the request. No error repeats any part of it. A key of
// another length than AES-256 has is wrong where an object is read, as any other key that
// is not the object's (recorded: test_object_retrieval_sse_c).
func (c *call) customerKey(prefix string) ([]byte, error) {
	if !c.Secure {
		return nil, errInvalidRequest("Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.")
	}
	const must = "Requests specifying Server Side Encryption with Customer provided keys must provide "
	switch algorithm := c.header(prefix + "Algorithm"); {
	case algorithm == "":
		return nil, errCustomerKey("null", must+"a valid encryption algorithm.")
	case algorithm != sseS3:
		e := wire.Errf(http.StatusBadRequest, "InvalidEncryptionAlgorithmError", "The Encryption request you specified is not valid. Supported value: AES256.")
		e.Extra = map[string]string{"ArgumentName": strings.ToLower(headerSSE), "ArgumentValue": algorithm}
		return nil, e
	case c.header(prefix+"Key") == "":
		return nil, errCustomerKey("null", must+"an appropriate secret key.")
	case c.header(prefix+"Key-Md5") == "":
		return nil, errCustomerKey("null", must+"the client calculated MD5 of the secret key.")
	}
	key, err := base64.StdEncoding.DecodeString(c.header(prefix + "Key"))
	if err != nil {
		return nil, errCustomerKey("null", "The secret key was invalid for the specified algorithm.")
	}
	digest := newMD5()
	digest.Write(key) // hashes never fail
	if sum := c.header(prefix + "Key-Md5"); sum != base64.StdEncoding.EncodeToString(digest.Sum(nil)) {
		return nil, errCustomerKey("null", "The calculated MD5 hash of the key did not match the hash that was provided.")
	}
	return key, nil
}

// saltedHMAC is what is stored of a customer's key, to tell it from a wrong one.
func saltedHMAC(key []byte) (salt, mac []byte) {
	salt = make([]byte, 32)
	_, _ = rand.Read(salt) // never fails: see crypto/rand.Read
	return salt, customerMAC(salt, key)
}

func customerMAC(salt, key []byte) []byte {
	m := hmac.New(sha256.New, salt)
	m.Write(key) // hashes never fail
	return m.Sum(nil)
}

// checkCustomerKey refuses to read an object under a customer's key without it,
// and any other object with one.
func (c *call) checkCustomerKey(o *objectRecord) error {
	if c.Operation == "UpdateObjectEncryption" {
		return nil // refuses such objects itself
	}
	switch has := c.hasCustomerKey(c.customerPrefix()); {
	case o.Algorithm != sseC && has:
		return errInvalidRequest("The encryption parameters are not applicable to this object.")
	case o.Algorithm != sseC:
		return nil
	case !has:
		return errInvalidRequest("The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.")
	}
	_, err := c.storedCustomerKey(o.CustomerKeySalt, o.CustomerKeyHMAC)
	return err
}

// storedCustomerKey is the request's key if it is the one of the stored HMAC.
func (c *call) storedCustomerKey(salt, mac []byte) ([]byte, error) {
	key, err := c.customerKey(c.customerPrefix())
	if err == nil && !hmac.Equal(mac, customerMAC(salt, key)) {
		clear(key)
		return nil, wire.Errf(http.StatusForbidden, "AccessDenied", "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.")
	}
	return key, err
}

// customerPrefix begins the headers with the key of the object that is read.
func (c *call) customerPrefix() string {
	if c.copied {
		return customerSourcePrefix
	}
	return customerPrefix
}
