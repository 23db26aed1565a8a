package s3

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// CloudTrail's deliveries. They are ordinary requests, made by the service
// principal: the bucket policy and the key policy decide.

// BucketRegion implements [trail.Store].
func (s *Service) BucketRegion(bucket string) (string, bool) {
	b := s.bucket(bucket)
	if b == nil {
		return "", false
	}
	return b.Region, true
}

// ResolveKey implements [trail.Store].
func (s *Service) ResolveKey(account, region, keyID string) (arn, state string, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		var e *wire.Error
		if arn, state, e = s.keys.ResolveKey(tx, account, region, keyID); e != nil {
			return e
		}
		return nil
	})
	return arn, state, err
}

// CheckDelivery implements [trail.Store].
func (s *Service) CheckDelivery(d trail.Delivery) (bucket, key error) {
	c := s.deliveryCall(d)
	if bucket = c.findBucket(); bucket != nil {
		return bucket, nil
	}
	if bucket = c.authorize("s3:PutObject", c.arn()); bucket == nil {
		bucket = c.authorize("s3:GetBucketAcl", bucketARN(c.bucket))
	}
	choice, err := c.chooseEncryption()
	if err != nil {
		return bucket, err
	}
	k, err := c.newObjectKey(choice, c.key)
	k.wipe()
	return bucket, err
}

// Deliver implements [trail.Store].
func (s *Service) Deliver(d trail.Delivery) error {
	c := s.deliveryCall(d)
	_, err := c.execute()
	if pending := c.W.Pending.Wait(); err == nil {
		err = pending
	}
	return err
}

// deliveryCall is the PutObject of a delivery.
func (s *Service) deliveryCall(d trail.Delivery) *call {
	h := http.Header{
		"X-Amz-Acl":    {"bucket-owner-full-control"},
		"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"},
		"User-Agent": {d.Who.Service.Name},
	}
	for name, value := range d.Metadata {
		h.Set("X-Amz-Meta-"+name, value)
	}
	switch {
	case d.SSES3:
		h.Set(headerSSE, sseS3)
	case d.KMSKeyARN != "":
		context, _ := json.Marshal(d.Context) // strings: always encodes
		h.Set(headerSSE, sseKMS)
		h.Set(headerSSEKey, d.KMSKeyARN)
		h.Set(headerSSEContext, base64.StdEncoding.EncodeToString(context))
	}
	return s.internalCall(http.MethodPut, d.Who, d.Now, d.Bucket, d.Key, h, d.Body)
}

// internalCall is the request that a service makes for itself or for its caller.
func (s *Service) internalCall(method string, who wire.Identity, now time.Time, bucket, key string, h http.Header, body []byte) *call {
	region, _ := s.BucketRegion(bucket)
	r := &wire.Request{
		W: &wire.Writer{}, ID: wire.NewUUID(), Service: "s3", Region: region,
		Who: who, Signed: true, Secure: true, Now: now,
		HTTP: &http.Request{
			Method: method, Host: "s3." + region + ".amazonaws.com", URL: &url.URL{Path: "/" + bucket + "/" + key},
			Header: h, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		},
	}
	c := s.newCall(r)
	r.Operation = c.op.name
	c.b = s.bucket(bucket)
	return c
}

// Put stores an object as the caller who. The header may ask for an encryption.
func (s *Service) Put(who wire.Identity, now time.Time, bucket, key string, h http.Header, body []byte) error {
	c := s.internalCall(http.MethodPut, who, now, bucket, key, h, body)
	_, err := c.execute()
	if pending := c.W.Pending.Wait(); err == nil {
		err = pending
	}
	return err
}

// Get reads an object as the caller who.
func (s *Service) Get(who wire.Identity, now time.Time, bucket, key string) ([]byte, error) {
	c := s.internalCall(http.MethodGet, who, now, bucket, key, http.Header{}, nil)
	a, err := c.execute()
	if pending := c.W.Pending.Wait(); err == nil {
		err = pending
	}
	if err != nil {
		return nil, err
	}
	if a.body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(a.body)
	return body, errors.Join(err, a.body.Close())
}
