package s3

import (
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// UpdateObjectEncryption changes how an existing object is encrypted, and nothing
// else of it: the ETag and the date of the last change stay.
//
// S3 wraps the object's data key again and moves no data. Here the file is written
// again too, since every chunk of it authenticates the header with the wrapped key.
// No client can tell. Which calls to KMS S3 makes is documented only by the
// permissions that it needs; these calls need each of them:
//
//	from \ to            SSE-KMS              SSE-KMS with a bucket key
//	SSE-S3               Encrypt              GenerateDataKey
//	SSE-KMS              ReEncrypt            Decrypt, GenerateDataKey
//	... with bucket key  Decrypt, Encrypt     Decrypt, GenerateDataKey
//
// Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/API_UpdateObjectEncryption.html
// and https://docs.aws.amazon.com/AmazonS3/latest/userguide/update-sse-encryption.html

var kmsKeyARN = regexp.MustCompile(`^arn:aws[a-zA-Z0-9-]*:kms:[a-z0-9-]+:([0-9]{12}):key/[a-zA-Z0-9-]+$`)

var errLockedEncryption = wire.Errf(http.StatusForbidden, "AccessDenied", "The encryption type for the specified object can’t be updated because that object is protected by S3 Object Lock. If the object has a governance-mode retention period or a legal hold, you must first remove the Object Lock status on the object before you issue your UpdateObjectEncryption request. You can't use the UpdateObjectEncryption operation with objects that have an Object Lock compliance mode retention period applied to them.")

func updateObjectEncryption(c *call) (*response, error) {
	to, err := c.readObjectEncryption()
	if err != nil {
		return nil, err
	}
	for range 10 { // until no other call replaces the file meanwhile
		if err = c.reEncrypt(to); !errors.Is(err, errReplaced) {
			return &response{}, err
		}
	}
	return nil, wire.Errf(http.StatusConflict, "OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.")
}

// readObjectEncryption reads the new encryption, which can only be SSE-KMS.
func (c *call) readObjectEncryption() (to sseChoice, err error) {
	var in xmlNode
	if err := c.readXML("ObjectEncryption", &in); err != nil {
		return to, err
	}
	if !c.Signed {
		return to, errInvalidRequest("Requests that modify an object encryption configuration require Amazon Web Services Signature Version 4. Modify the request to use Amazon Web Services Signature Version 4, and then try again.")
	}
	if len(in.Children) > 1 {
		return to, errMalformedXML()
	}
	kind := ""
	if len(in.Children) == 1 {
		kind = in.Children[0].XMLName.Local
	}
	switch kind {
	case "SSE-KMS":
	case "DSSE-KMS", "SSE-C":
		return to, errInvalidRequest("The UpdateObjectEncryption operation doesn't support updating the encryption type to DSSE-KMS or SSE-C. Modify the request to specify SSE-KMS for the updated encryption type, and then try again.")
	default:
		return to, errInvalidRequest("Requests that modify an object encryption configuration require a valid new encryption type. Valid values are SSEKMS . Modify the request to specify SSE-KMS for the updated encryption type, and then try again.")
	}
	to.algorithm = sseKMS
	seen := map[string]bool{}
	for _, n := range in.Children[0].Children {
		name, value := n.XMLName.Local, strings.TrimSpace(n.Text)
		if seen[name] {
			return to, errMalformedXML()
		}
		seen[name] = true
		switch {
		case name == "KMSKeyArn":
			to.keyID = value
		case name != "BucketKeyEnabled":
			return to, errMalformedXML()
		case value != "true" && value != "false":
			return to, errInvalidRequest("The BucketKeyEnabled value isn't valid. Valid values are true or false . Modify the request to specify a valid value, and then try again.")
		default:
			to.bucketKey = value == "true"
		}
	}
	arn := kmsKeyARN.FindStringSubmatch(to.keyID)
	switch {
	case to.keyID == "":
		return to, errInvalidRequest("Requests that modify an object's encryption type to SSE-KMS require an Amazon Web Services KMS key Amazon Resource Name (ARN). Modify the request to specify a KMS key ARN, and then try again.")
	case arn == nil:
		return to, errInvalidRequest("Requests that modify an object's encryption type to SSE-KMS require a valid Amazon Web Services KMS key Amazon Resource Name (ARN). Confirm that you have a correctly formatted KMS key ARN in your request, and then try again.")
	case arn[1] != c.b.Account:
		return to, wire.Errf(http.StatusForbidden, "AccessDenied", "The Amazon Web Services KMS key in the request must be owned by the same account as the bucket. Modify the request to specify a KMS key from the same account, and then try again.")
	}
	return to, nil
}

// errReplaced is met if another call has replaced the object's file.
var errReplaced = errors.New("the object's file was replaced")

// reEncrypt encrypts the version that the call names as to says.
func (c *call) reEncrypt(to sseChoice) error {
	from, err := c.openObject(func(string) string { return "" }, "")
	if err != nil {
		return err
	}
	defer from.close()
	switch {
	case from.object.Algorithm == sseC:
		return errInvalidRequest("The UpdateObjectEncryption operation doesn't support source objects with the encryption type DSSE-KMS or SSE-C. Only source objects encrypted with SSE-S3 or SSE-KMS are supported.")
	case from.object.protected(c):
		return errLockedEncryption
	}
	old, k, err := c.rewrapObjectKey(from.file.header, to)
	defer old.wipe()
	defer k.wipe()
	if err != nil {
		return err
	}
	body, err := from.readerWith(old, 0, from.object.Size)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // opened for reading
	file, err := c.s.writeSealed(k, func(w io.Writer) error {
		_, err := io.Copy(w, body)
		return err
	})
	if err != nil {
		return err
	}
	err = c.update(func(tx *bolt.Tx) error {
		if _, err := c.bucketIn(tx); err != nil {
			return err
		}
		record, o, err := findRecord(tx, c.bucket, c.key, from.object.VersionID)
		switch {
		case err != nil:
			return err
		case o.File != from.object.File:
			return errReplaced
		case o.protected(c):
			return errLockedEncryption
		}
		o.File = file
		o.encryptedBy(k)
		return store.Save(tx, ObjectBucket, record, o)
	})
	if err != nil {
		c.s.discard(file)
		return err
	}
	c.s.discard(from.object.File)
	return nil
}

// protected reports whether Object Lock protects the version. The permission to
// bypass governance mode makes no difference here.
func (o *objectRecord) protected(c *call) bool {
	return o.LegalHold == "ON" || o.LockMode != "" && o.LockUntil.After(c.Now)
}

// rewrapObjectKey gets the data key of a stored object, and the one that it is to
// be encrypted under.
func (c *call) rewrapObjectKey(from EnvelopeHeader, to sseChoice) (old, k objectKey, err error) {
	if err := c.checkKMSTransport(); err != nil {
		return old, k, err
	}
	context := map[string]string{"aws:s3:arn": c.arn()}
	if from.Algorithm == sseKMS && !from.BucketKey && !to.bucketKey {
		d, e := c.s.keys.ReEncryptDataKey(c.kmsUse(c.b.Region, context), from.WrappedKey, from.EncryptionContext, to.keyID)
		if e != nil {
			return old, k, s3KMSError(e)
		}
		k = objectKey{EnvelopeHeader{Algorithm: sseKMS, KMSKeyARN: d.KeyARN, WrappedKey: d.Ciphertext, EncryptionContext: context}, d.Plaintext}
		return objectKey{from, d.Plaintext}, k, nil
	}
	if old, err = c.unwrapObjectKey(c.b, from); err != nil {
		return old, k, err
	}
	if to.bucketKey {
		k, err = c.newObjectKey(to, c.key)
		return old, k, err
	}
	k, err = c.wrapNewKey(to.keyID, c.arn(), false)
	return old, k, err
}
