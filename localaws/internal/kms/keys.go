package kms

import (
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Keys: made, looked at, switched off and on, tagged, and deleted.

// allowed returns the key that id names, where the caller may do the
// call's operation to it and check, if there is one, finds it in the right
// state.
func (c *call) allowed(tx *bolt.Tx, id string, how naming, check func(keyRecord) error) (keyRecord, error) {
	k, err := c.find(tx, id, how)
	if err != nil {
		return keyRecord{}, err
	}
	if err := c.authorize(k, c.operation, nil); err != nil {
		return keyRecord{}, err
	}
	if check != nil {
		return k, check(k)
	}
	return k, nil
}

// change lets f change the key that id names, as allowed has it, and saves it.
func (c *call) change(id string, how naming, check func(keyRecord) error, f func(tx *bolt.Tx, k *keyRecord) error) error {
	return c.update(func(tx *bolt.Tx) error {
		k, err := c.allowed(tx, id, how, check)
		if err != nil {
			return err
		}
		if err := f(tx, &k); err != nil {
			return err
		}
		return saveKey(tx, k)
	})
}

// keyMetadata is what DescribeKey and CreateKey answer.
type keyMetadata struct {
	AWSAccountId                string
	KeyId                       string
	Arn                         string
	CreationDate                epoch
	Enabled                     bool
	Description                 string
	KeyUsage                    string
	KeyState                    string
	DeletionDate                *epoch `json:",omitempty"`
	PendingDeletionWindowInDays int    `json:",omitempty"`
	Origin                      string
	KeyManager                  string
	CustomerMasterKeySpec       string
	KeySpec                     string
	EncryptionAlgorithms        []string
	MultiRegion                 bool
	MultiRegionConfiguration    *multiRegionConfiguration `json:",omitempty"`
	CurrentKeyMaterialId        string
}

func (c *call) metadata(tx *bolt.Tx, k keyRecord) (keyMetadata, error) {
	m := keyMetadata{
		AWSAccountId: k.Account, KeyId: k.ID, Arn: k.arn(), CreationDate: epoch(k.Created),
		Enabled: k.State == keyEnabled, Description: k.Description, KeyUsage: encryptDecrypt, KeyState: k.State,
		DeletionDate: epochOf(k.DeletionDate), Origin: "AWS_KMS", KeyManager: k.Manager,
		CustomerMasterKeySpec: symmetricDefault, KeySpec: symmetricDefault, EncryptionAlgorithms: []string{symmetricDefault},
		MultiRegion: k.multiRegion(), CurrentKeyMaterialId: k.Versions[len(k.Versions)-1].ID,
	}
	if k.State == keyPendingReplicaDeletion {
		m.PendingDeletionWindowInDays = k.DeletionDays
	}
	var err error
	if k.multiRegion() {
		m.MultiRegionConfiguration, err = c.multiRegionConfiguration(tx, k)
	}
	return m, err
}

type createKeyInput struct {
	Policy                         string
	Description                    string
	KeyUsage                       string
	CustomerMasterKeySpec          string // the older name of KeySpec
	KeySpec                        string
	Origin                         string
	CustomKeyStoreId               string
	XksKeyId                       string
	BypassPolicyLockoutSafetyCheck *bool
	Tags                           []tag
	MultiRegion                    bool
}

// What AWS knows and this KMS cannot do is refused as AWS refuses what a
// Region cannot do.
var (
	keySpecs = []string{
		symmetricDefault, "RSA_2048", "RSA_3072", "RSA_4096", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1",
		"ECC_NIST_EDWARDS25519", "HMAC_224", "HMAC_256", "HMAC_384", "HMAC_512", "SM2", "ML_DSA_44", "ML_DSA_65", "ML_DSA_87",
	}
	keyUsages  = []string{encryptDecrypt, "SIGN_VERIFY", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT"}
	keyOrigins = []string{"AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"}
)

// oneOf refuses a value that AWS does not know, and one that only AWS can do:
// that is every one but the first.
func oneOf(name, value string, all []string) error {
	switch {
	case value == all[0]:
		return nil
	case !slices.Contains(all, value):
		return invalid(name, value, "satisfy enum value set: ["+strings.Join(all, ", ")+"]")
	}
	return kmsError("UnsupportedOperationException", "localaws has symmetric encryption keys only: %s is %s, not %s", name, all[0], value)
}

// defaultTo sets what the caller left empty.
func defaultTo(v *string, standard string) {
	if *v == "" {
		*v = standard
	}
}

func createKey(c *call, in createKeyInput) (any, error) {
	if in.KeySpec != "" && in.CustomerMasterKeySpec != "" && in.KeySpec != in.CustomerMasterKeySpec {
		return nil, kmsError("ValidationException", "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
	}
	defaultTo(&in.KeySpec, in.CustomerMasterKeySpec)
	defaultTo(&in.KeySpec, symmetricDefault)
	defaultTo(&in.KeyUsage, encryptDecrypt)
	defaultTo(&in.Origin, "AWS_KMS")
	in.CustomerMasterKeySpec = in.KeySpec
	bypass := c.bypassing(in.BypassPolicyLockoutSafetyCheck)
	in.BypassPolicyLockoutSafetyCheck = &bypass // the event shows the default
	c.request = trailParameters(in)
	if err := checkNewKey(in); err != nil {
		return nil, err
	}
	maps.Copy(c.keys, keyAttributes(in.Origin, in.KeySpec, in.KeyUsage, in.MultiRegion))
	c.keys["kms:calleraccount"] = c.r.Who.Account
	if in.MultiRegion {
		c.keys["kms:multiregionkeytype"] = "PRIMARY"
	}
	c.requestTags(in.Tags)
	if err := c.authorizeOn("*", "CreateKey"); err != nil {
		return nil, err
	}
	if len(in.Tags) > 0 {
		if err := c.authorizeOn("*", "TagResource"); err != nil {
			return nil, err
		}
	}
	id := wire.NewUUID()
	if in.MultiRegion {
		id = "mrk-" + hex.EncodeToString(newMaterial()[:16])
	}
	k, err := c.s.newKey(c.account, c.r.Region, id, c.r.Now)
	if err != nil {
		return nil, err
	}
	k.Description, k.Tags, k.Policy = in.Description, in.Tags, in.Policy
	if in.MultiRegion {
		k.PrimaryRegion = c.r.Region
	}
	if k.Policy == "" {
		k.Policy = defaultKeyPolicy(c.account)
	} else if err := c.checkPolicy(k, k.Policy, bypass); err != nil {
		return nil, err
	}
	var m keyMetadata
	err = c.update(func(tx *bolt.Tx) (err error) {
		if m, err = c.metadata(tx, k); err != nil {
			return err
		}
		return saveKey(tx, k)
	})
	if err != nil {
		return nil, err
	}
	c.keyARNs = append(c.keyARNs, k.arn())
	return struct{ KeyMetadata keyMetadata }{m}, nil
}

func checkNewKey(in createKeyInput) error {
	if in.CustomKeyStoreId != "" || in.XksKeyId != "" {
		return kmsError("UnsupportedOperationException", "localaws has no custom key stores: leave out CustomKeyStoreId and XksKeyId")
	}
	if err := oneOf("keySpec", in.KeySpec, keySpecs); err != nil {
		return err
	}
	if in.KeyUsage != encryptDecrypt && slices.Contains(keyUsages, in.KeyUsage) {
		return kmsError("ValidationException", "KeyUsage %s is incompatible with KeySpec %s", in.KeyUsage, in.KeySpec)
	}
	if err := oneOf("keyUsage", in.KeyUsage, keyUsages); err != nil {
		return err
	}
	if err := oneOf("origin", in.Origin, keyOrigins); err != nil {
		return err
	}
	if err := checkDescription(in.Description); err != nil {
		return err
	}
	return checkKeyTags(in.Tags)
}

func checkDescription(d string) error {
	if len(d) > 8192 {
		return invalid("description", d[:50]+"...", "have length less than or equal to 8192")
	}
	return nil
}

type describeKeyInput struct {
	KeyId       string
	GrantTokens []string
}

func describeKey(c *call, in describeKeyInput) (any, error) {
	if err := checkGrantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	var m keyMetadata
	err := c.view(func(tx *bolt.Tx) error {
		k, err := c.allowed(tx, in.KeyId, anyName, nil)
		if err != nil {
			return err
		}
		m, err = c.metadata(tx, k)
		return err
	})
	if err != nil {
		return nil, err
	}
	return struct{ KeyMetadata keyMetadata }{m}, nil
}

type keyEntry struct {
	KeyId  string
	KeyArn string
}

func listKeys(c *call, in paging) (any, error) {
	if err := c.authorizeOn("*", "ListKeys"); err != nil {
		return nil, err
	}
	var all []keyEntry
	err := c.view(func(tx *bolt.Tx) error {
		return store.Each(tx, KeyBucket, store.Key(c.account, c.r.Region, ""), func(_ string, k keyRecord) error {
			if !k.expired(c.r.Now) {
				all = append(all, keyEntry{k.ID, k.arn()})
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	keys, p, err := cut(in, 1000, 100, all, func(k keyEntry) string { return k.KeyId })
	return struct {
		Keys []keyEntry
		page
	}{keys, p}, err
}

type updateKeyDescriptionInput struct {
	KeyId       string
	Description string
}

func updateKeyDescription(c *call, in updateKeyDescriptionInput) (any, error) {
	if err := checkDescription(in.Description); err != nil {
		return nil, err
	}
	return nil, c.change(in.KeyId, idOrARN, notPendingDeletion, func(_ *bolt.Tx, k *keyRecord) error {
		k.Description = in.Description
		return nil
	})
}

// keyInput is the request of the operations that need no more than a key.
type keyInput struct {
	KeyId string
}

// keyOutput is the answer of the operations that answer with the key's ARN.
type keyOutput struct {
	KeyId string
}

func enableKey(c *call, in keyInput) (any, error) {
	return nil, c.change(in.KeyId, idOrARN, notPendingDeletion, func(tx *bolt.Tx, k *keyRecord) error {
		k.State = keyEnabled
		return c.resumeRotation(tx, k)
	})
}

func disableKey(c *call, in keyInput) (any, error) {
	return nil, c.change(in.KeyId, idOrARN, notPendingDeletion, func(_ *bolt.Tx, k *keyRecord) error {
		k.State = keyDisabled
		return nil
	})
}

type scheduleKeyDeletionInput struct {
	KeyId               string
	PendingWindowInDays *int
}

type scheduleKeyDeletionOutput struct {
	KeyId               string
	DeletionDate        *epoch `json:",omitempty"`
	KeyState            string
	PendingWindowInDays int
}

func scheduleKeyDeletion(c *call, in scheduleKeyDeletionInput) (any, error) {
	window := 30
	if in.PendingWindowInDays != nil {
		window = *in.PendingWindowInDays
	}
	if window < 7 || window > 30 {
		return nil, invalid("pendingWindowInDays", window, "have value between 7 and 30")
	}
	c.keys["kms:schedulekeydeletionpendingwindowindays"] = strconv.Itoa(window)
	var out scheduleKeyDeletionOutput
	err := c.change(in.KeyId, idOrARN, notPendingDeletion, func(tx *bolt.Tx, k *keyRecord) error {
		replicas, err := related(tx, *k)
		if err != nil {
			return err
		}
		k.DeletionDays = window
		if k.primary() && len(replicas) > 0 {
			k.State = keyPendingReplicaDeletion
		} else {
			date := c.r.Now.Add(days(window))
			k.State, k.DeletionDate = keyPendingDeletion, &date
			c.s.dueAt(tx, date)
		}
		out = scheduleKeyDeletionOutput{k.arn(), epochOf(k.DeletionDate), k.State, window}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func cancelKeyDeletion(c *call, in keyInput) (any, error) {
	pendingDeletion := func(k keyRecord) error {
		if notPendingDeletion(k) == nil {
			return kmsError("KMSInvalidStateException", "%s is not pending deletion.", k.arn())
		}
		return nil
	}
	var out keyOutput
	err := c.change(in.KeyId, idOrARN, pendingDeletion, func(_ *bolt.Tx, k *keyRecord) error {
		k.State, k.DeletionDate, k.DeletionDays = keyDisabled, nil, 0
		out.KeyId = k.arn()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// maxKeyTags is how many tags a key may have.
// Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_TagResource.html
const maxKeyTags = 50

func checkKeyTags(tags []tag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		switch {
		case t.TagKey == "" || len([]rune(t.TagKey)) > 128:
			return invalid("tags.tagKey", t.TagKey, "have length between 1 and 128")
		case len([]rune(t.TagValue)) > 256:
			return invalid("tags.tagValue", t.TagValue, "have length less than or equal to 256")
		case strings.HasPrefix(strings.ToLower(t.TagKey), "aws:"):
			return kmsError("TagException", "Tag key %s is reserved: keys may not begin with aws:", t.TagKey)
		case seen[t.TagKey]:
			return kmsError("TagException", "Duplicate tag keys")
		}
		seen[t.TagKey] = true
	}
	if len(tags) > maxKeyTags {
		return kmsError("LimitExceededException", "Too many tags: a key may have %d", maxKeyTags)
	}
	return nil
}

// requestTags lets the policies see the tags that the request sets.
func (c *call) requestTags(tags []tag) {
	for _, t := range tags {
		c.keys["aws:requesttag/"+strings.ToLower(t.TagKey)] = t.TagValue
		c.lists["aws:tagkeys"] = append(c.lists["aws:tagkeys"], t.TagKey)
	}
}

type tagResourceInput struct {
	KeyId string
	Tags  []tag
}

func tagResource(c *call, in tagResourceInput) (any, error) {
	if in.Tags == nil {
		return nil, required("tags", "")
	}
	if err := checkKeyTags(in.Tags); err != nil {
		return nil, err
	}
	c.requestTags(in.Tags)
	return nil, c.change(in.KeyId, idOrARN, notPendingDeletion, func(_ *bolt.Tx, k *keyRecord) error {
		for _, t := range in.Tags {
			at := slices.IndexFunc(k.Tags, func(old tag) bool { return old.TagKey == t.TagKey })
			if at < 0 {
				k.Tags = append(k.Tags, t)
			} else {
				k.Tags[at] = t
			}
		}
		return checkKeyTags(k.Tags)
	})
}

type untagResourceInput struct {
	KeyId   string
	TagKeys []string
}

func untagResource(c *call, in untagResourceInput) (any, error) {
	if in.TagKeys == nil {
		return nil, required("tagKeys", "")
	}
	c.lists["aws:tagkeys"] = in.TagKeys
	return nil, c.change(in.KeyId, idOrARN, notPendingDeletion, func(_ *bolt.Tx, k *keyRecord) error {
		k.Tags = slices.DeleteFunc(k.Tags, func(t tag) bool { return slices.Contains(in.TagKeys, t.TagKey) })
		return nil
	})
}

type listResourceTagsInput struct {
	KeyId string
	paging
}

func listResourceTags(c *call, in listResourceTagsInput) (any, error) {
	var k keyRecord
	err := c.view(func(tx *bolt.Tx) (err error) {
		k, err = c.allowed(tx, in.KeyId, idOrARN, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(k.Tags, func(a, b tag) int { return strings.Compare(a.TagKey, b.TagKey) })
	tags, p, err := cut(in.paging, 50, 50, k.Tags, func(t tag) string { return t.TagKey })
	return struct {
		Tags []tag
		page
	}{tags, p}, err
}
