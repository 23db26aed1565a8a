package localaws

import (
	"net/http"

	bolt "go.etcd.io/bbolt"
)

// ebsManagedAlias is the AWS-managed key that encrypts EBS volumes where no
// other key was chosen.
const ebsManagedAlias = "alias/aws/ebs"

// ebsDefaults are one account's in one Region.
type ebsDefaults struct {
	Encrypt bool   `json:"encrypt"`
	KeyARN  string `json:"keyArn,omitempty"` // empty while it was never set
}

// key is the default key as GetEbsDefaultKmsKeyId answers it: the alias of the
// AWS-managed key while nobody has set or reset it, and an ARN from then on.
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
func ebsResponse(r *request, name string, value any) map[string]any {
	return map[string]any{r.operation + "Response": map[string]any{"xmlns": ec2Namespace, "requestId": r.id, name: value}}
}

func (s *Server) loadEBSDefaults(account, region string) (d ebsDefaults, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		d, _, err = load[ebsDefaults](tx, boltEBS, storeKey(account, region))
		return err
	})
	return d, err
}

// changeEBSDefaults lets change alter the caller's defaults, all or nothing.
func (r *request) changeEBSDefaults(change func(*bolt.Tx, *ebsDefaults) error) error {
	return r.s.db.Update(func(tx *bolt.Tx) error {
		key := storeKey(r.who.Account, r.region)
		d, _, err := load[ebsDefaults](tx, boltEBS, key)
		if err != nil {
			return err
		}
		if err := change(tx, &d); err != nil {
			return err
		}
		return save(tx, boltEBS, key, d)
	})
}

func setEBSEncryption(on bool) func(*request, *trailEvent) (any, error) {
	return func(r *request, e *trailEvent) (any, error) {
		err := r.changeEBSDefaults(func(_ *bolt.Tx, d *ebsDefaults) error {
			d.Encrypt = on
			return nil
		})
		e.response = ebsResponse(r, "ebsEncryptionByDefault", on)
		return ebsEncryptionAnswer{Encrypt: on}, err
	}
}

func getEBSEncryption(r *request, _ *trailEvent) (any, error) {
	d, err := r.s.loadEBSDefaults(r.who.Account, r.region)
	if d.Encrypt {
		return ebsEncryptionAnswer{true, "sse-kms"}, err
	}
	return ebsEncryptionAnswer{false, "none"}, err
}

func getEBSDefaultKey(r *request, _ *trailEvent) (any, error) {
	d, err := r.s.loadEBSDefaults(r.who.Account, r.region)
	return ebsKeyAnswer{d.key()}, err
}

// modifyEBSDefaultKey refuses at once a key that cannot be used. AWS checks
// some of that later, so that the call seems to succeed.
func modifyEBSDefaultKey(r *request, e *trailEvent) (any, error) {
	keyID := r.form().Get("KmsKeyId")
	if keyID == "" {
		return nil, missingParameter("KmsKeyId")
	}
	return setEBSDefaultKey(r, e, keyID)
}

// resetEBSDefaultKey answers with the AWS-managed key's ARN, and makes the key
// where it is not there yet.
func resetEBSDefaultKey(r *request, e *trailEvent) (any, error) {
	return setEBSDefaultKey(r, e, ebsManagedAlias)
}

func setEBSDefaultKey(r *request, e *trailEvent, keyID string) (any, error) {
	var arn string
	err := r.changeEBSDefaults(func(tx *bolt.Tx, d *ebsDefaults) error {
		var err error
		arn, err = r.ebsKey(tx, keyID)
		d.KeyARN = arn
		return err
	})
	e.response = ebsResponse(r, "kmsKeyId", arn)
	return ebsKeyAnswer{arn}, err
}

// ebsKey answers with the ARN of the key that keyID names, if EBS can use it
// in the caller's Region.
func (r *request) ebsKey(tx *bolt.Tx, keyID string) (string, error) {
	arn, state, err := r.s.resolveKey(tx, r.who.Account, r.region, keyID)
	if err != nil {
		return "", invalidParameter("KmsKeyId", keyID, "No such KMS key in "+r.region+".")
	}
	if state != "Enabled" {
		return "", errInvalidKMSKey(state)
	}
	return arn, nil
}

// errInvalidKMSKey refuses a key that is there but cannot be used.
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html
func errInvalidKMSKey(state string) *apiError {
	return errf(http.StatusBadRequest, "InvalidKMSKey.InvalidState", "The KMS key provided is in an incorrect state: %s", state)
}
