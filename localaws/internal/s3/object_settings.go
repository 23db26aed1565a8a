package s3

import (
	"net/http"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// The sub-resources of an object.

// changeObject changes the record of the version that the call names.
func (c *call) changeObject(f func(o *objectRecord) error) (*response, error) {
	found, err := c.find() // answers for what is missing
	if err != nil {
		return nil, err
	}
	err = c.update(func(tx *bolt.Tx) error {
		b, err := c.bucketIn(tx)
		if err != nil {
			return err
		}
		record, o, err := findRecord(tx, c.bucket, c.key, found.VersionID)
		if err != nil {
			return err
		}
		if err := f(&o); err != nil {
			return err
		}
		if err := queueChange(tx, b, record, &o); err != nil {
			return err
		}
		return store.Save(tx, ObjectBucket, record, o)
	})
	return &response{header: map[string]string{"X-Amz-Version-Id": c.versionHeader(found.VersionID)}}, err
}

func getObjectTagging(c *call) (*response, error) {
	o, err := c.find()
	// Recorded: only this operation names the bucket, too. localstack
	// test_s3_api.snapshot.json, test_object_tagging_exc.
	if e, ok := asError(err); ok && e.Code == "NoSuchKey" {
		return nil, errNoSuchKey(c.bucket + "/" + c.key)
	}
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

func putObjectTagging(c *call) (*response, error) {
	var in s3Tagging
	if err := c.readXML("Tagging", &in); err != nil {
		return nil, err
	}
	action := "s3:PutObjectTagging"
	if c.query.Get("versionId") != "" {
		action = "s3:PutObjectVersionTagging"
	}
	c.tags = append([]s3Tag{}, in.Tags...)
	if err := c.authorize(action, c.arn()); err != nil {
		return nil, err
	}
	if err := checkObjectTags(in.Tags); err != nil {
		return nil, err
	}
	return c.changeObject(func(o *objectRecord) error { o.Tags = in.Tags; return nil })
}

func deleteObjectTagging(c *call) (*response, error) {
	a, err := c.changeObject(func(o *objectRecord) error { o.Tags = nil; return nil })
	if err == nil {
		a.status = http.StatusNoContent
	}
	return a, err
}

func errNoObjectLock() *wire.Error {
	return wire.Errf(http.StatusNotFound, "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")
}

type objectRetention struct {
	Mode  string
	Until s3Time `xml:"RetainUntilDate"`
}

func getObjectRetention(c *call) (*response, error) {
	o, err := c.findLocked()
	if err != nil {
		return nil, err
	}
	if o.LockMode == "" {
		return nil, errNoObjectLock()
	}
	return xmlAnswer("Retention", objectRetention{o.LockMode, s3Time{o.LockUntil}})
}

// findLocked finds an object in a bucket with object lock.
func (c *call) findLocked() (objectRecord, error) {
	if !c.b.ObjectLock {
		return objectRecord{}, errNoLock()
	}
	return c.find()
}

func putObjectRetention(c *call) (*response, error) {
	if !c.b.ObjectLock {
		return nil, errNoLock()
	}
	var in objectRetention
	if err := c.readXML("Retention", &in); err != nil {
		return nil, err
	}
	if (in.Mode == "") != in.Until.IsZero() { // recorded: see below
		return nil, errMalformedXML()
	}
	return c.changeObject(func(o *objectRecord) error {
		hold := o.LegalHold
		o.LegalHold = "" // holds a deletion back, not this
		weaker := in.Mode == "" || in.Until.Before(o.LockUntil) || o.LockMode == "COMPLIANCE" && in.Mode != "COMPLIANCE"
		if weaker && o.locked(c) {
			return wire.Errf(http.StatusForbidden, "AccessDenied", "Access Denied because object protected by object lock.")
		}
		if in.Mode != "" { // after the lock: recorded, localstack test_s3.snapshot.json, test_s3_object_retention_exc
			if err := checkRetention(in.Mode, in.Until.Time, nil, c.Now); err != nil {
				return err
			}
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

func getObjectLegalHold(c *call) (*response, error) {
	o, err := c.findLocked()
	if err != nil {
		return nil, err
	}
	if o.LegalHold == "" {
		return nil, errNoObjectLock()
	}
	return xmlAnswer("LegalHold", legalHold{o.LegalHold})
}

func putObjectLegalHold(c *call) (*response, error) {
	var in legalHold
	if err := c.readXML("LegalHold", &in); err != nil {
		return nil, err
	}
	if in.Status != "ON" && in.Status != "OFF" {
		return nil, errMalformedXML()
	}
	if !c.b.ObjectLock { // recorded: localstack test_s3.snapshot.json, test_put_object_legal_hold_exc
		return nil, errNoLock()
	}
	return c.changeObject(func(o *objectRecord) error { o.LegalHold = in.Status; return nil })
}
