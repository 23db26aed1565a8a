package stack

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"

	"github.com/securethecloud/kms-baseline/components"
)

// reader collects what is wrong with the settings it reads.
type reader struct {
	cfg  *config.Config
	errs []error
}

// exclude complains of each of others that is set beside key.
func (r *reader) exclude(key string, others ...string) {
	for _, k := range others {
		if r.cfg.Get(k) != "" {
			r.errs = append(r.errs, fmt.Errorf("%s and %s exclude each other: pulumi config rm %s", key, k, k))
		}
	}
}

func (r *reader) text(key, otherwise string) string {
	if v := r.cfg.Get(key); v != "" {
		return v
	}
	return otherwise
}

func (r *reader) flag(key string, otherwise bool) bool { return read(r, key, otherwise, "true") }

func (r *reader) number(key string, otherwise int) *int {
	n := read(r, key, otherwise, fmt.Sprint(otherwise))
	return &n
}

// read reads a setting that is not text.
func read[T any](r *reader, key string, otherwise T, example string) T {
	if r.cfg.Get(key) == "" {
		return otherwise
	}
	var v T
	// Strictly: a misspelled part of a setting is not a part left out.
	d := json.NewDecoder(strings.NewReader(r.cfg.Get(key)))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil || d.More() || r.cfg.Get(key) == "null" {
		r.errs = append(r.errs, fmt.Errorf("%s is %q, which is not %s: pulumi config set %s %s", key, r.cfg.Get(key), kind(otherwise), key, example))
		return otherwise
	}
	return v
}

func kind(v any) string {
	switch v.(type) {
	case bool:
		return "true or false"
	case int:
		return "a whole number"
	case []string:
		return "a list of texts"
	case []components.LifecycleRule:
		return "a list of rules with id, prefix, expirationDays, noncurrentExpirationDays, abortIncompleteMultipartDays and transitions (days, storageClass)"
	case *accessLog:
		return "a map with targetBucket and targetPrefix"
	case *components.ObjectLock:
		return "a map with mode and days"
	}
	return "a map"
}
