package localaws

import (
	"net/http"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The sub-resources of an object.

// changeObject changes the record of the version that the call names.
func (c *s3Call) changeObject(f func(o *s3Object) error) (*s3Answer, error) {
	found, err := c.find() // answers for what is missing
	if err != nil {
		return nil, err
	}
	err = c.s.db.Batch(func(tx *bolt.Tx) error { // may be called twice
		if _, err := c.bucketIn(tx); err != nil {
			return err
		}
		record, o, err := findRecord(tx, c.bucket, c.key, found.VersionID)
		if err != nil {
			return err
		}
		if err := f(&o); err != nil {
			return err
		}
		return save(tx, boltS3Objects, record, o)
	})
	return &s3Answer{header: map[string]string{"X-Amz-Version-Id": c.versionHeader(found.VersionID)}}, err
}

func getObjectTagging(c *s3Call) (*s3Answer, error) {
	o, err := c.find()
	if err != nil {
		return nil, err
	}
	a, err := xmlAnswer("Tagging", struct {
		TagSet struct{ Tag []s3Tag }
	}{struct{ Tag []s3Tag }{o.Tags}})
	if err != nil {
		return nil, err
	}
	a.header = map[string]string{"X-Amz-Version-Id": c.versionHeader(o.VersionID)}
	return a, nil
}

func putObjectTagging(c *s3Call) (*s3Answer, error) {
	var in s3Tagging
	if err := c.readXML("Tagging", &in); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags, maxObjectTags); err != nil {
		return nil, err
	}
	return c.changeObject(func(o *s3Object) error { o.Tags = in.Tags; return nil })
}

func deleteObjectTagging(c *s3Call) (*s3Answer, error) {
	a, err := c.changeObject(func(o *s3Object) error { o.Tags = nil; return nil })
	if err == nil {
		a.status = http.StatusNoContent
	}
	return a, err
}

// getObjectACL shows that an object belongs to the bucket's owner, as it does
// where the bucket enforces that; other owners there are none here.
func getObjectACL(c *s3Call) (*s3Answer, error) {
	if _, err := c.find(); err != nil {
		return nil, err
	}
	return aclAnswer(canonicalID(c.b.Account), nil)
}

type objectRetention struct {
	Mode  string
	Until s3Time `xml:"RetainUntilDate"`
}

func getObjectRetention(c *s3Call) (*s3Answer, error) {
	o, err := c.findLocked()
	if err != nil {
		return nil, err
	}
	if o.LockMode == "" {
		return nil, errf(http.StatusNotFound, "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")
	}
	return xmlAnswer("Retention", objectRetention{o.LockMode, s3Time{o.LockUntil}})
}

// findLocked finds an object in a bucket with object lock.
func (c *s3Call) findLocked() (s3Object, error) {
	if !c.b.ObjectLock {
		return s3Object{}, errNoLock()
	}
	return c.find()
}

func putObjectRetention(c *s3Call) (*s3Answer, error) {
	if !c.b.ObjectLock {
		return nil, errNoLock()
	}
	var in objectRetention
	if err := c.readXML("Retention", &in); err != nil {
		return nil, err
	}
	if in.Mode != "" {
		if err := checkRetention(in.Mode, in.Until.Time, nil, c.now); err != nil {
			return nil, err
		}
	}
	return c.changeObject(func(o *s3Object) error {
		hold := o.LegalHold
		o.LegalHold = false // holds a deletion back, not this
		weaker := in.Mode == "" || in.Until.Before(o.LockUntil) || o.LockMode == "COMPLIANCE" && in.Mode != "COMPLIANCE"
		if weaker && o.locked(c) {
			return errf(http.StatusForbidden, "AccessDenied", "Access Denied because object protected by object lock.")
		}
		o.LegalHold, o.LockMode, o.LockUntil = hold, in.Mode, in.Until.Time
		if in.Mode == "" {
			o.LockUntil = time.Time{}
		}
		return nil
	})
}

type legalHold struct {
	Status string
}

func getObjectLegalHold(c *s3Call) (*s3Answer, error) {
	o, err := c.findLocked()
	if err != nil {
		return nil, err
	}
	if o.LegalHold {
		return xmlAnswer("LegalHold", legalHold{"ON"})
	}
	return xmlAnswer("LegalHold", legalHold{"OFF"})
}

func putObjectLegalHold(c *s3Call) (*s3Answer, error) {
	if !c.b.ObjectLock {
		return nil, errNoLock()
	}
	var in legalHold
	if err := c.readXML("LegalHold", &in); err != nil {
		return nil, err
	}
	if in.Status != "ON" && in.Status != "OFF" {
		return nil, errMalformedXML()
	}
	return c.changeObject(func(o *s3Object) error { o.LegalHold = in.Status == "ON"; return nil })
}
