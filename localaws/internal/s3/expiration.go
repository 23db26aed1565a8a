package s3

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const headerExpiration = "X-Amz-Expiration"

// expirationHeader says when the first lifecycle rule to expire the object does so, and
// which rule that is: of rules that overlap, S3 honors the shorter one. It is empty where
// no rule expires the object. An ID is encoded as keys in listings are; the documentation
// says only that it is URL-encoded [U].
//
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html and
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-conflicts.html
func (b *bucketRecord) expirationHeader(o *objectRecord) string {
	doc := b.Documents["lifecycle"]
	var rules xmlNode
	if doc == "" || xml.Unmarshal([]byte(doc), &rules) != nil { // putLifecycle wrote it
		return ""
	}
	var first time.Time
	id := ""
	for _, rule := range rules.Children {
		at, ok := rule.expiryOf(o)
		if ok && (first.IsZero() || at.Before(first)) {
			first, id = at, rule.child("ID")
		}
	}
	if first.IsZero() {
		return ""
	}
	return fmt.Sprintf(`expiry-date="%s", rule-id="%s"`, httpTime(first), encodeKey(id))
}

// expiryOf is when a lifecycle rule expires the object as its current version; false if
// it never does. Days count from the object's creation, and end at the next midnight.
//
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
func (n xmlNode) expiryOf(o *objectRecord) (time.Time, bool) {
	expiration := n.element("Expiration")
	if n.child("Status") != "Enabled" || !n.covers(o) {
		return time.Time{}, false
	}
	if days, err := strconv.Atoi(expiration.child("Days")); err == nil {
		return o.Modified.UTC().Truncate(24*time.Hour).AddDate(0, 0, days+1), true
	}
	at, err := time.Parse(time.RFC3339, expiration.child("Date"))
	return at, err == nil
}

// covers reports whether the object has all that the filter of a lifecycle rule asks for.
func (n xmlNode) covers(o *objectRecord) bool {
	filter := n.element("Filter")
	conditions := append(slices.Clone(filter.Children), filter.element("And").Children...)
	if prefix := n.element("Prefix"); prefix.XMLName.Local != "" { // of a rule without a filter
		conditions = append(conditions, prefix)
	}
	for _, condition := range conditions {
		size, _ := strconv.ParseInt(strings.TrimSpace(condition.Text), 10, 64)
		met := true
		switch condition.XMLName.Local {
		case "Prefix":
			met = strings.HasPrefix(o.Key, condition.Text)
		case "Tag":
			met = slices.Contains(o.Tags, s3Tag{condition.child("Key"), condition.child("Value")})
		case "ObjectSizeGreaterThan":
			met = o.Size > size
		case "ObjectSizeLessThan":
			met = o.Size < size
		}
		if !met {
			return false
		}
	}
	return true
}

// element is a child of an element; empty if there is none.
func (n xmlNode) element(name string) xmlNode {
	for _, c := range n.Children {
		if c.XMLName.Local == name {
			return c
		}
	}
	return xmlNode{}
}
