package kms

import (
	"cmp"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
)

// Multi-Region keys: a primary and its replicas have id and material in
// common, and are otherwise keys of their own.

type multiRegionConfiguration struct {
	MultiRegionKeyType string
	PrimaryKey         multiRegionKey
	ReplicaKeys        []multiRegionKey
}

type multiRegionKey struct {
	Arn    string
	Region string
}

func (k keyRecord) multiRegionType() string {
	if k.primary() {
		return "PRIMARY"
	}
	return "REPLICA"
}

func (c *call) multiRegionConfiguration(tx *bolt.Tx, k keyRecord) (*multiRegionConfiguration, error) {
	all, err := related(tx, k)
	if err != nil {
		return nil, err
	}
	out := &multiRegionConfiguration{MultiRegionKeyType: k.multiRegionType(), ReplicaKeys: []multiRegionKey{}}
	for _, m := range append(all, k) {
		member := multiRegionKey{m.arn(), m.Region}
		switch {
		case m.primary():
			out.PrimaryKey = member
		case !m.expired(c.r.Now):
			out.ReplicaKeys = append(out.ReplicaKeys, member)
		}
	}
	slices.SortFunc(out.ReplicaKeys, func(a, b multiRegionKey) int { return cmp.Compare(a.Region, b.Region) })
	return out, nil
}

// primaryOf returns the primary of a replica, and with any other key
// itself.
func primaryOf(tx *bolt.Tx, k keyRecord) (keyRecord, error) {
	if !k.replica() {
		return k, nil
	}
	p, ok, err := store.Load[keyRecord](tx, KeyBucket, store.Key(k.Account, k.PrimaryRegion, k.ID))
	if err != nil || ok {
		return p, err
	}
	return k, nil
}

type replicateKeyInput struct {
	KeyId                          string
	ReplicaRegion                  string
	Policy                         string
	BypassPolicyLockoutSafetyCheck bool
	Description                    string
	Tags                           []tag
}

// primaryUsable refuses a key that is no usable primary.
func primaryUsable(k keyRecord) error {
	if !k.primary() {
		return kmsError("UnsupportedOperationException", "%s is not a multi-Region primary key.", k.arn())
	}
	return usable(k)
}

func checkRegion(name, region string) error {
	if err := required(name, region); err != nil {
		return err
	}
	if !regionPattern.MatchString(region) || len(region) > 32 {
		return invalid(name, region, "satisfy regular expression pattern: ^([a-z]+-){2,3}\\d+$")
	}
	return nil
}

func replicateKey(c *call, in replicateKeyInput) (any, error) {
	if err := checkRegion("replicaRegion", in.ReplicaRegion); err != nil {
		return nil, err
	}
	if err := checkDescription(in.Description); err != nil {
		return nil, err
	}
	if err := checkKeyTags(in.Tags); err != nil {
		return nil, err
	}
	c.keys["kms:replicaregion"] = in.ReplicaRegion
	c.requestTags(in.Tags)
	var out struct {
		ReplicaKeyMetadata keyMetadata
		ReplicaPolicy      string
		ReplicaTags        []tag `json:",omitempty"`
	}
	err := c.update(func(tx *bolt.Tx) error {
		k, err := c.allowed(tx, in.KeyId, idOrARN, primaryUsable)
		if err != nil {
			return err
		}
		replica := keyRecord{
			Account: k.Account, Region: in.ReplicaRegion, ID: k.ID, Manager: k.Manager, State: keyEnabled,
			Description: in.Description, Policy: in.Policy, Tags: in.Tags, Created: c.r.Now, PrimaryRegion: k.PrimaryRegion,
		}
		if _, exists, err := store.Load[keyRecord](tx, KeyBucket, replica.storeKey()); err != nil {
			return err
		} else if exists {
			return kmsError("AlreadyExistsException", "%s already exists", replica.arn())
		}
		if replica.Policy == "" {
			replica.Policy = defaultKeyPolicy(k.Account)
		} else if err := c.checkPolicy(replica, replica.Policy, in.BypassPolicyLockoutSafetyCheck); err != nil {
			return err
		}
		for i, v := range k.Versions {
			material, err := c.s.material(k, i)
			if err != nil {
				return err
			}
			err = c.s.addVersion(&replica, v.ID, material, v.Type, v.Made)
			clear(material)
			if err != nil {
				return err
			}
		}
		if err := saveKey(tx, replica); err != nil {
			return err
		}
		out.ReplicaPolicy, out.ReplicaTags = replica.Policy, slices.Clone(replica.Tags)
		out.ReplicaKeyMetadata, err = c.metadata(tx, replica)
		// The replica is enabled at once here, and in AWS after a few seconds.
		out.ReplicaKeyMetadata.KeyState, out.ReplicaKeyMetadata.Enabled = "Creating", false
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type updatePrimaryRegionInput struct {
	KeyId         string
	PrimaryRegion string
}

func updatePrimaryRegion(c *call, in updatePrimaryRegionInput) (any, error) {
	if err := checkRegion("primaryRegion", in.PrimaryRegion); err != nil {
		return nil, err
	}
	c.keys["kms:primaryregion"] = in.PrimaryRegion
	return nil, c.change(in.KeyId, idOrARN, primaryUsable, func(tx *bolt.Tx, k *keyRecord) error {
		all, err := related(tx, *k)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(all, func(r keyRecord) bool { return r.Region == in.PrimaryRegion })
		if at < 0 {
			return kmsError("NotFoundException", "Key '%s' does not exist", keyARN(k.Account, in.PrimaryRegion, k.ID))
		}
		if err := usable(all[at]); err != nil {
			return err
		}
		// Rotation is the primary's to do.
		all[at].Rotating, all[at].RotationDays, all[at].NextRotation = k.Rotating, k.RotationDays, k.NextRotation
		k.Rotating = false
		k.PrimaryRegion = in.PrimaryRegion
		for _, r := range all {
			r.PrimaryRegion = in.PrimaryRegion
			if err := saveKey(tx, r); err != nil {
				return err
			}
		}
		return nil
	})
}
