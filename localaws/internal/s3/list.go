package s3

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// listing is one page of objects or versions.
type listing struct {
	prefix, delimiter string
	limit             int
	encode            func(string) string // encoding-type=url

	entries   []listedVersion
	prefixes  []commonPrefix
	last      string // the last key, or common prefix, of the page
	lastID    string // the version of it; empty for a common prefix
	truncated bool
}

type listedVersion struct {
	objectRecord
	latest bool
}

type commonPrefix struct{ Prefix string }

// newListing reads the parameters that all listings share.
func (c *call) newListing() (*listing, error) {
	l := &listing{prefix: c.query.Get("prefix"), delimiter: c.query.Get("delimiter"), encode: func(s string) string { return s }}
	var err error
	if l.limit, err = intParam(c.query, "max-keys", 1000, 0, 1000); err != nil {
		return nil, err
	}
	switch e := c.query.Get("encoding-type"); e {
	case "":
	case "url":
		l.encode = encodeKey
	default:
		return nil, errInvalidArgument("encoding-type", e, "Invalid Encoding Method specified in Request")
	}
	return l, nil
}

// encodeKey encodes a key for a URL, as S3 does: a slash stays a slash.
func encodeKey(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "%2F", "/")
}

// walk fills the page with what comes after a key or common prefix, or after
// one version of that key where afterID names it. Without versions only
// current versions count, and no delete markers.
func (l *listing) walk(tx *bolt.Tx, bucket, after, afterID string, versions bool) error {
	if l.limit == 0 {
		return nil
	}
	root := bucket + "/"
	from := root + l.prefix
	switch {
	case after == "" || root+after < from:
	case l.commonPrefix(after) != "":
		// after is a common prefix, or a key below one: that is not listed again. Recorded:
		// localstack test_s3_list_operations.snapshot.json, test_list_objects_marker_common_prefixes
		// and test_list_object_versions_pagination_common_prefixes.
		from = pastPrefix(root + l.commonPrefix(after))
	case afterID == "null":
		from = pastNull(tx, bucket, after)
	case afterID != "":
		number, _ := versionNumber(afterID) // checked by the caller
		from = versionKey(bucket, after, number) + "\x00"
	default:
		from = pastKey(root + after)
	}
	// Versions before the page were the latest, if there are any.
	previous := ""
	cursor := tx.Bucket(ObjectBucket).Cursor()
	if afterID != "" {
		if first, _ := cursor.Seek([]byte(versionsPrefix(bucket, after))); string(first) < from {
			previous = after
		}
	}
	k, v := cursor.Seek([]byte(from))
	for k != nil && strings.HasPrefix(string(k), root+l.prefix) {
		e := listedVersion{}
		if err := json.Unmarshal(v, &e.objectRecord); err != nil {
			return fmt.Errorf("localaws: damaged record %s %q: %w", ObjectBucket, k, err)
		}
		e.latest, previous = e.Key != previous, e.Key
		if !versions && e.DeleteMarker {
			k, v = cursor.Seek([]byte(pastKey(root + e.Key)))
			continue
		}
		if len(l.entries)+len(l.prefixes) == l.limit {
			l.truncated = true
			return nil
		}
		if p := l.commonPrefix(e.Key); p != "" {
			l.prefixes = append(l.prefixes, commonPrefix{l.encode(p)})
			l.last, l.lastID = p, ""
			k, v = cursor.Seek([]byte(pastPrefix(root + p)))
			continue
		}
		l.entries = append(l.entries, e)
		l.last, l.lastID = e.Key, e.VersionID
		if versions {
			k, v = cursor.Next()
		} else {
			k, v = cursor.Seek([]byte(pastKey(root + e.Key)))
		}
	}
	return nil
}

// pastNull is the place after a key's version null. Where that was deleted since,
// the place is not known: it is before all versions of the key, so that none is left
// out.
func pastNull(tx *bolt.Tx, bucket, key string) string {
	record, _, err := findRecord(tx, bucket, key, "null")
	if err != nil {
		return versionsPrefix(bucket, key)
	}
	return record + "\x00"
}

// commonPrefix is the prefix under which a key is rolled up; empty for a key
// that is listed itself.
func (l *listing) commonPrefix(key string) string {
	if l.delimiter == "" || !strings.HasPrefix(key, l.prefix) {
		return ""
	}
	i := strings.Index(key[len(l.prefix):], l.delimiter)
	if i < 0 {
		return ""
	}
	return key[:len(l.prefix)+i+len(l.delimiter)]
}

// pastKey is behind all versions of a key: only NUL, which follows it, is less.
func pastKey(key string) string { return key + "\x01" }

// pastPrefix is behind all keys with a prefix: no UTF-8 has this byte.
func pastPrefix(prefix string) string { return prefix + "\xff" }

type listedObject struct {
	Key               string
	LastModified      s3Time
	ETag              string
	ChecksumAlgorithm string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
	Size              int64
	Owner             *s3Owner `xml:",omitempty"`
	StorageClass      string
}

// objects are the entries as ListObjects shows them.
func (l *listing) objects(owner *s3Owner) []listedObject {
	out := make([]listedObject, len(l.entries))
	for i := range l.entries {
		e := &l.entries[i]
		out[i] = listedObject{l.encode(e.Key), s3Time{e.Modified}, quoted(e.ETag), strings.ToUpper(e.ChecksumAlgorithm),
			e.checksumHeaders()["X-Amz-Checksum-Type"], e.Size, owner, e.storageClass()}
	}
	return out
}

func (c *call) owner() *s3Owner { return &s3Owner{canonicalID(c.b.Account)} }

func listObjects(c *call) (*response, error) {
	l, err := c.newListing()
	if err != nil {
		return nil, err
	}
	marker := c.query.Get("marker")
	if err := c.s.db.View(func(tx *bolt.Tx) error { return l.walk(tx, c.bucket, marker, "", false) }); err != nil {
		return nil, err
	}
	next := ""
	if l.truncated && l.delimiter != "" { // without a delimiter it is the last key
		next = l.encode(l.last)
	}
	return xmlAnswer("ListBucketResult", struct {
		Name           string
		Prefix         string
		Marker         string
		NextMarker     string `xml:",omitempty"`
		MaxKeys        int
		Delimiter      string `xml:",omitempty"`
		EncodingType   string `xml:",omitempty"`
		IsTruncated    bool
		Contents       []listedObject
		CommonPrefixes []commonPrefix
	}{c.bucket, l.encode(l.prefix), l.encode(marker), next, l.limit, l.encode(l.delimiter), c.query.Get("encoding-type"), l.truncated,
		l.objects(c.owner()), l.prefixes})
}

func listObjectsV2(c *call) (*response, error) {
	// RestoreStatus is the only attribute. Only restored objects have it, and there
	// is no RestoreObject.
	if v := c.header("x-amz-optional-object-attributes"); v != "" && v != "RestoreStatus" {
		return nil, errInvalidArgument("x-amz-optional-object-attributes", v, "Invalid attribute name specified.")
	}
	l, err := c.newListing()
	if err != nil {
		return nil, err
	}
	token, after := c.query.Get("continuation-token"), c.query.Get("start-after")
	from := after
	if c.query.Has("continuation-token") {
		b, err := base64.URLEncoding.DecodeString(token)
		if err != nil || token == "" {
			e := errInvalidArgument("continuation-token", token, "The continuation token provided is incorrect")
			if token == "" {
				delete(e.Extra, "ArgumentValue")
			}
			return nil, e
		}
		from, after = string(b), "" // recorded: localstack test_s3_list_operations.snapshot.json, test_list_objects_v2_continuation_start_after
	}
	if err := c.s.db.View(func(tx *bolt.Tx) error { return l.walk(tx, c.bucket, from, "", false) }); err != nil {
		return nil, err
	}
	next, owner := "", (*s3Owner)(nil)
	if l.truncated {
		next = base64.URLEncoding.EncodeToString([]byte(l.last))
	}
	if c.query.Get("fetch-owner") == "true" {
		owner = c.owner()
	}
	return xmlAnswer("ListBucketResult", struct {
		Name                  string
		Prefix                string
		StartAfter            string `xml:",omitempty"`
		ContinuationToken     string `xml:",omitempty"`
		NextContinuationToken string `xml:",omitempty"`
		KeyCount              int
		MaxKeys               int
		Delimiter             string `xml:",omitempty"`
		EncodingType          string `xml:",omitempty"`
		IsTruncated           bool
		Contents              []listedObject
		CommonPrefixes        []commonPrefix
	}{c.bucket, l.encode(l.prefix), l.encode(after), token, next, len(l.entries) + len(l.prefixes), l.limit, l.encode(l.delimiter),
		c.query.Get("encoding-type"), l.truncated, l.objects(owner), l.prefixes})
}

type versionEntry struct {
	XMLName   xml.Name `xml:"Version"`
	VersionID string   `xml:"VersionId"`
	IsLatest  bool
	listedObject
}

type markerEntry struct {
	XMLName      xml.Name `xml:"DeleteMarker"`
	Key          string
	VersionID    string `xml:"VersionId"`
	IsLatest     bool
	LastModified s3Time
	Owner        *s3Owner
}

func listObjectVersions(c *call) (*response, error) {
	l, err := c.newListing()
	if err != nil {
		return nil, err
	}
	marker, id := c.query.Get("key-marker"), c.query.Get("version-id-marker")
	if err := checkVersionID("version-id-marker", id); err != nil {
		return nil, err
	}
	if id != "" && marker == "" {
		return nil, errInvalidArgument("version-id-marker", id, "A version-id marker cannot be specified without a key marker.")
	}
	if err := c.s.db.View(func(tx *bolt.Tx) error { return l.walk(tx, c.bucket, marker, id, true) }); err != nil {
		return nil, err
	}
	objects := l.objects(c.owner())
	entries := make([]any, len(objects)) // versions and markers, in the order of the keys
	for i, e := range l.entries {
		if e.DeleteMarker {
			entries[i] = markerEntry{Key: l.encode(e.Key), VersionID: e.VersionID, IsLatest: e.latest, LastModified: s3Time{e.Modified}, Owner: c.owner()}
		} else {
			entries[i] = versionEntry{VersionID: e.VersionID, IsLatest: e.latest, listedObject: objects[i]}
		}
	}
	next, nextID := "", ""
	if l.truncated {
		next, nextID = l.encode(l.last), l.lastID
	}
	return xmlAnswer("ListVersionsResult", struct {
		Name                string
		Prefix              string
		KeyMarker           string
		VersionIDMarker     string `xml:"VersionIdMarker"`
		NextKeyMarker       string `xml:",omitempty"`
		NextVersionIDMarker string `xml:"NextVersionIdMarker,omitempty"`
		MaxKeys             int
		Delimiter           string `xml:",omitempty"`
		EncodingType        string `xml:",omitempty"`
		IsTruncated         bool
		Entries             []any `xml:",any"`
		CommonPrefixes      []commonPrefix
	}{c.bucket, l.encode(l.prefix), l.encode(marker), id, next, nextID, l.limit, l.encode(l.delimiter), c.query.Get("encoding-type"),
		l.truncated, entries, l.prefixes})
}
