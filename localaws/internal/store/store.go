// Package store is the database of localaws: one bbolt file, with one bucket per
// kind of record, values in JSON, and keys that begin with what the record
// belongs to: "account/region/...", made by [Key]. Each service owns its buckets.
package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Open opens the database at path, or makes it, with the given buckets.
func Open(path string, buckets ...[]byte) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		if errors.Is(err, bolterrors.ErrTimeout) {
			return nil, fmt.Errorf("localaws: the state in %s is in use by another process: stop it, or choose another directory", path)
		}
		return nil, fmt.Errorf("localaws: opening the state %s: %w", path, err)
	}
	// Commits of several clients share one sync to disk; the default of 10 ms
	// would be most of a small request's time.
	db.MaxBatchDelay = time.Millisecond
	err = db.Update(func(tx *bolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("localaws: preparing the state %s: %w", path, err), db.Close())
	}
	return db, nil
}

// Key joins the parts of a record's key.
func Key(parts ...string) string { return strings.Join(parts, "/") }

// Load reads one record; ok reports whether it exists.
func Load[T any](tx *bolt.Tx, bucket []byte, key string) (v T, ok bool, err error) {
	b := tx.Bucket(bucket).Get([]byte(key))
	if b == nil {
		return v, false, nil
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, false, fmt.Errorf("localaws: damaged record %s %s: %w", bucket, key, err)
	}
	return v, true, nil
}

// Save writes one record.
func Save(tx *bolt.Tx, bucket []byte, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Bucket(bucket).Put([]byte(key), b)
}

// Remove deletes one record, if it exists.
func Remove(tx *bolt.Tx, bucket []byte, key string) error {
	return tx.Bucket(bucket).Delete([]byte(key))
}

// Each calls f with every record whose key begins with prefix, in key order.
func Each[T any](tx *bolt.Tx, bucket []byte, prefix string, f func(key string, v T) error) error {
	c := tx.Bucket(bucket).Cursor()
	for k, b := c.Seek([]byte(prefix)); k != nil && strings.HasPrefix(string(k), prefix); k, b = c.Next() {
		var v T
		if err := json.Unmarshal(b, &v); err != nil {
			return fmt.Errorf("localaws: damaged record %s %s: %w", bucket, k, err)
		}
		if err := f(string(k), v); err != nil {
			return err
		}
	}
	return nil
}
