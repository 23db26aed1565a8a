package kms

import (
	"slices"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
)

// Rotation: a key gets new material, and keeps the old to decrypt with.
// Sources: https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html
// and https://docs.aws.amazon.com/kms/latest/APIReference/API_RotateKeyOnDemand.html
const (
	defaultRotationDays  = 365
	minRotationDays      = 90
	maxRotationDays      = 2560
	maxRotationsOnDemand = 25
)

// rotate gives k, and its replicas, new material, and records the service event
// of k. k is not saved.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-rotatekey.html
func (s *Service) rotate(tx *bolt.Tx, k *keyRecord, kind string, now time.Time) error {
	id, material := newMaterialID(), newMaterial()
	defer clear(material)
	if err := s.addVersion(k, id, material, kind, now); err != nil {
		return err
	}
	replicas, err := related(tx, *k)
	if err != nil {
		return err
	}
	for _, r := range replicas {
		if err := s.addVersion(&r, id, material, kind, now); err != nil {
			return err
		}
		if err := saveKey(tx, r); err != nil {
			return err
		}
	}
	return s.trail.RecordServiceIn(tx, trail.ServiceEvent{
		Account: k.Account, Region: k.Region, Time: now, Source: "kms.amazonaws.com", Name: "RotateKey",
		Resource: trail.Resource{ARN: k.arn(), Type: "AWS::KMS::Key"},
		Details:  map[string]string{"rotationType": kind, "keyId": k.ID},
	})
}

// resumeRotation makes up, at once and once only, for a rotation that came due
// while the key was disabled.
func (c *call) resumeRotation(tx *bolt.Tx, k *keyRecord) error {
	if !k.Rotating || k.replica() {
		return nil
	}
	if !k.NextRotation.After(c.r.Now) {
		if err := c.s.rotate(tx, k, "AUTOMATIC", c.r.Now); err != nil {
			return err
		}
		k.NextRotation = c.r.Now.Add(days(k.RotationDays))
	}
	c.s.dueAt(tx, k.NextRotation)
	return nil
}

// rotatable refuses a key whose rotation cannot be changed.
func rotatable(k keyRecord) error {
	if err := usable(k); err != nil {
		return err
	}
	if k.replica() {
		return kmsError("UnsupportedOperationException", "%s is a replica key: the rotation of a multi-Region key is that of its primary key, in %s.", k.arn(), k.PrimaryRegion)
	}
	return nil
}

type enableKeyRotationInput struct {
	KeyId                string
	RotationPeriodInDays *int
}

func enableKeyRotation(c *call, in enableKeyRotationInput) (any, error) {
	period := defaultRotationDays
	if in.RotationPeriodInDays != nil {
		period = *in.RotationPeriodInDays
	}
	if period < minRotationDays || period > maxRotationDays {
		return nil, invalid("rotationPeriodInDays", period, "have value between 90 and 2560")
	}
	c.keys["kms:rotationperiodindays"] = strconv.Itoa(period)
	return nil, c.change(in.KeyId, idOrARN, rotatable, func(tx *bolt.Tx, k *keyRecord) error {
		if !k.Rotating || k.RotationDays != period {
			k.Rotating, k.RotationDays, k.NextRotation = true, period, c.r.Now.Add(days(period))
			c.s.dueAt(tx, k.NextRotation)
		}
		return nil
	})
}

func disableKeyRotation(c *call, in keyInput) (any, error) {
	return nil, c.change(in.KeyId, idOrARN, rotatable, func(_ *bolt.Tx, k *keyRecord) error {
		k.Rotating, k.RotationDays, k.NextRotation = false, 0, time.Time{}
		return nil
	})
}

type rotationStatus struct {
	KeyId                string
	KeyRotationEnabled   bool
	RotationPeriodInDays int    `json:",omitempty"`
	NextRotationDate     *epoch `json:",omitempty"`
	// OnDemandRotationStartDate is there while a rotation on demand is under
	// way, which takes no time here: it is never there.
	OnDemandRotationStartDate *epoch `json:",omitempty"`
}

func getKeyRotationStatus(c *call, in keyInput) (any, error) {
	var k, primary keyRecord
	err := c.view(func(tx *bolt.Tx) (err error) {
		if k, err = c.allowed(tx, in.KeyId, idOrARN, nil); err != nil {
			return err
		}
		primary, err = primaryOf(tx, k)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := rotationStatus{KeyId: k.ID}
	if primary.Rotating && notPendingDeletion(k) == nil { // a key that is pending deletion does not rotate
		out.KeyRotationEnabled, out.RotationPeriodInDays, out.NextRotationDate = true, primary.RotationDays, epochOf(&primary.NextRotation)
	}
	return out, nil
}

type listKeyRotationsInput struct {
	KeyId              string
	IncludeKeyMaterial string
	paging
}

type keyRotation struct {
	KeyId            string
	KeyMaterialId    string
	KeyMaterialState string
	RotationDate     *epoch `json:",omitempty"`
	RotationType     string `json:",omitempty"`

	order string
}

func listKeyRotations(c *call, in listKeyRotationsInput) (any, error) {
	all := in.IncludeKeyMaterial == "ALL_KEY_MATERIAL"
	if !all && in.IncludeKeyMaterial != "" && in.IncludeKeyMaterial != "ROTATIONS_ONLY" {
		return nil, invalid("includeKeyMaterial", in.IncludeKeyMaterial, "satisfy enum value set: [ALL_KEY_MATERIAL, ROTATIONS_ONLY]")
	}
	var k keyRecord
	err := c.view(func(tx *bolt.Tx) (err error) {
		k, err = c.allowed(tx, in.KeyId, idOrARN, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	var rotations []keyRotation
	for i, v := range k.Versions {
		r := keyRotation{KeyId: k.ID, KeyMaterialId: v.ID, KeyMaterialState: "NON_CURRENT", RotationType: v.Type, order: strconv.Itoa(1_000_000 + i)}
		if i == len(k.Versions)-1 {
			r.KeyMaterialState = "CURRENT"
		}
		switch {
		case i > 0:
			r.RotationDate = epochOf(&v.Made)
		case !all:
			continue // the first material is no rotation
		}
		rotations = append(rotations, r)
	}
	out, p, err := cut(in.paging, 1000, 100, rotations, func(r keyRotation) string { return r.order })
	return struct {
		Rotations []keyRotation
		page
	}{out, p}, err
}

func rotateKeyOnDemand(c *call, in keyInput) (any, error) {
	var out keyOutput
	err := c.change(in.KeyId, idOrARN, rotatable, func(tx *bolt.Tx, k *keyRecord) error {
		done := len(slices.DeleteFunc(slices.Clone(k.Versions), func(v keyVersion) bool { return v.Type != "ON_DEMAND" }))
		if done >= maxRotationsOnDemand {
			return kmsError("LimitExceededException", "%s has been rotated on demand %d times, which is the limit", k.arn(), done)
		}
		out.KeyId = k.ID
		return c.s.rotate(tx, k, "ON_DEMAND", c.r.Now)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
