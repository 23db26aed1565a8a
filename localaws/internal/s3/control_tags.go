package s3

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// The tags of general purpose buckets by S3 Control, which Terraform's AWS
// provider uses since its version 6.23. They are the tags of GetBucketTagging.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_TagResource.html

// controlTags executes an operation on the tags of the bucket that arn names.
func (c *call) controlTags(op controlOperation, arn string) (*response, error) {
	name, ok := strings.CutPrefix(arn, bucketARN(""))
	if !ok || strings.Contains(name, "/") {
		return nil, wire.NotImplemented("s3control", "tags of resources other than general purpose buckets")
	}
	c.bucket = name
	if err := c.findBucket(); err != nil {
		return nil, err
	}
	if !c.Signed || c.header(accountHeader) != c.b.Account {
		return nil, errAccessDenied()
	}
	if err := c.readControlTags(); err != nil {
		return nil, err
	}
	if err := c.authorize(op.action, bucketARN(name)); err != nil {
		return nil, err
	}
	if c.HTTP.Method != http.MethodGet {
		if err := c.s.begin(name); err != nil {
			return nil, err
		}
		c.writing = true
	}
	return op.handle(c)
}

// readControlTags reads what the request says of tags, which policies see too.
func (c *call) readControlTags() error {
	keys := c.query["tagKeys"]
	if c.Operation == "TagResource" {
		var in struct {
			Tags []s3Tag `xml:"Tags>Tag"`
		}
		if err := c.readXML("TagResourceRequest", &in); err != nil {
			return err
		}
		if err := checkBucketTags(in.Tags); err != nil {
			return err
		}
		c.tags = in.Tags
		for _, t := range in.Tags {
			keys = append(keys, t.Key)
			c.conditions()["aws:requesttag/"+strings.ToLower(t.Key)] = t.Value
		}
	}
	c.tagKeys = keys
	return nil
}

func listTagsForResource(c *call) (*response, error) {
	out, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"http://awss3control.amazonaws.com/doc/2018-08-20/ ListTagsForResourceResult"`
		Tags    struct {
			Tag []s3Tag
		}
	}{Tags: struct{ Tag []s3Tag }{c.b.Tags}})
	return &response{xml: append([]byte(xml.Header), out...)}, err
}

func tagResource(c *call) (*response, error) {
	return c.changed(http.StatusNoContent, func(b *bucketRecord) error {
		tags := slices.DeleteFunc(slices.Clone(b.Tags), func(t s3Tag) bool { return slices.Contains(c.tagKeys, t.Key) })
		tags = append(tags, c.tags...)
		if err := checkBucketTags(tags); err != nil {
			return err
		}
		b.Tags = tags
		return nil
	})
}

func untagResource(c *call) (*response, error) {
	return c.changed(http.StatusNoContent, func(b *bucketRecord) error {
		b.Tags = slices.DeleteFunc(slices.Clone(b.Tags), func(t s3Tag) bool { return slices.Contains(c.tagKeys, t.Key) })
		return nil
	})
}
