package ec2

import (
	"net/http"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// ebsManagedAlias is the AWS managed key that encrypts EBS volumes where no
// other key was chosen.
const ebsManagedAlias = "alias/aws/ebs"

// ebsDefaults are one account's in one Region.
type ebsDefaults struct {
	Encrypt bool   `json:"encrypt"`
	KeyARN  string `json:"keyArn,omitempty"` // empty while it was never set
	// SnapshotBlock is the state of block public access for snapshots; empty
	// while it was never set.
	SnapshotBlock string `json:"snapshotBlock,omitempty"`
}

// key is the default key as GetEbsDefaultKmsKeyId answers it: the alias of the
// AWS managed key until it is first set or reset, and an ARN from then on.
// Source: https://docs.aws.amazon.com/cli/latest/reference/ec2/get-ebs-default-kms-key-id.html
func (d ebsDefaults) key() string {
	if d.KeyARN == "" {
		return ebsManagedAlias
	}
	return d.KeyARN
}

type ebsEncryptionAnswer struct {
	Encrypt bool   `xml:"ebsEncryptionByDefault"`
	SSEType string `xml:"sseType,omitempty"`
}

type ebsKeyAnswer struct {
	KeyID string `xml:"kmsKeyId"`
}

// ebsResponse is how the record of a change shows its answer.
func ebsResponse(c *call, name string, value any) map[string]any {
	return map[string]any{c.Operation + "Response": map[string]any{"xmlns": ec2Namespace, "requestId": c.ID, name: value}}
}

func (s *Service) loadEBSDefaults(account, region string) (d ebsDefaults, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		d, _, err = store.Load[ebsDefaults](tx, DefaultsBucket, store.Key(account, region))
		return err
	})
	return d, err
}

// changeEBSDefaults lets change alter the caller's defaults, all or nothing.
func (c *call) changeEBSDefaults(change func(*bolt.Tx, *ebsDefaults) error) error {
	return c.commit(func(tx *bolt.Tx) error {
		key := store.Key(c.Who.Account, c.Region)
		d, _, err := store.Load[ebsDefaults](tx, DefaultsBucket, key)
		if err != nil {
			return err
		}
		if err := change(tx, &d); err != nil {
			return err
		}
		return store.Save(tx, DefaultsBucket, key, d)
	})
}

func setEBSEncryption(on bool) func(*call) (any, error) {
	return func(c *call) (any, error) {
		c.event.Response = ebsResponse(c, "ebsEncryptionByDefault", on)
		err := c.changeEBSDefaults(func(_ *bolt.Tx, d *ebsDefaults) error {
			d.Encrypt = on
			return nil
		})
		return ebsEncryptionAnswer{Encrypt: on}, err
	}
}

func getEBSEncryption(c *call) (any, error) {
	d, err := c.s.loadEBSDefaults(c.Who.Account, c.Region)
	if d.Encrypt {
		return ebsEncryptionAnswer{true, "sse-kms"}, err
	}
	return ebsEncryptionAnswer{false, "none"}, err
}

func getEBSDefaultKey(c *call) (any, error) {
	d, err := c.s.loadEBSDefaults(c.Who.Account, c.Region)
	return ebsKeyAnswer{d.key()}, err
}

// modifyEBSDefaultKey refuses at once a key that cannot be used. AWS checks
// some of that later, so that the call seems to succeed.
func modifyEBSDefaultKey(c *call) (any, error) {
	keyID := c.Form().Get("KmsKeyId")
	if keyID == "" {
		return nil, missingParameter("KmsKeyId")
	}
	return setEBSDefaultKey(c, keyID)
}

// resetEBSDefaultKey returns the AWS managed key's ARN, and makes the key
// where it is not there yet.
func resetEBSDefaultKey(c *call) (any, error) {
	return setEBSDefaultKey(c, ebsManagedAlias)
}

func setEBSDefaultKey(c *call, keyID string) (any, error) {
	var arn string
	err := c.changeEBSDefaults(func(tx *bolt.Tx, d *ebsDefaults) error {
		var err error
		arn, err = c.ebsKey(tx, keyID)
		d.KeyARN = arn
		c.event.Response = ebsResponse(c, "kmsKeyId", arn)
		return err
	})
	return ebsKeyAnswer{arn}, err
}

// ebsKey returns the ARN of the key that keyID names, if EBS can use it
// in the caller's Region.
func (c *call) ebsKey(tx *bolt.Tx, keyID string) (string, error) {
	arn, state, err := c.s.keys.ResolveKey(tx, c.Who.Account, c.Region, keyID)
	if err != nil {
		return "", invalidParameter("KmsKeyId", keyID, "No such KMS key in "+c.Region+".")
	}
	if state != "Enabled" {
		return "", errInvalidKMSKey(state)
	}
	return arn, nil
}

// errInvalidKMSKey refuses a key that is there but cannot be used.
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html
func errInvalidKMSKey(state string) *wire.Error {
	return wire.Errf(http.StatusBadRequest, "InvalidKMSKey.InvalidState", "The KMS key provided is in an incorrect state: %s", state)
}
