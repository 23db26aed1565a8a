package s3

import (
	"net/http"
	"strings"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Who pays for requests, and Transfer Acceleration.

type requestPayment struct {
	Payer string
}

func getRequestPayment(*call) (*response, error) {
	return xmlAnswer("RequestPaymentConfiguration", requestPayment{"BucketOwner"})
}

func putRequestPayment(c *call) (*response, error) {
	var in requestPayment
	if err := c.readXML("RequestPaymentConfiguration", &in); err != nil {
		return nil, err
	}
	switch in.Payer {
	case "BucketOwner":
		return c.changed(http.StatusOK, func(*bucketRecord) error { return nil })
	case "Requester":
		return nil, wire.NotImplemented("s3", "requester pays (Payer Requester)")
	}
	return nil, errMalformedXML()
}

type accelerateConfiguration struct {
	Status string `xml:",omitempty"` // "Enabled", "Suspended", or "" if it was never set
}

func getAccelerate(c *call) (*response, error) {
	return xmlAnswer("AccelerateConfiguration", accelerateConfiguration{c.b.Acceleration})
}

// putAccelerate keeps the setting. It is about an endpoint of AWS's network that no
// client reaches here; every other endpoint serves the bucket as before.
func putAccelerate(c *call) (*response, error) {
	var in accelerateConfiguration
	if err := c.readXML("AccelerateConfiguration", &in); err != nil {
		return nil, err
	}
	switch { // recorded order: localstack test_s3_api.snapshot.json, test_bucket_acceleration_configuration_exc
	case strings.Contains(c.bucket, "."):
		return nil, errInvalidRequest("S3 Transfer Acceleration is not supported for buckets with periods (.) in their names")
	case in.Status != "Enabled" && in.Status != "Suspended":
		return nil, errMalformedXML()
	}
	return c.changed(http.StatusOK, func(b *bucketRecord) error { b.Acceleration = in.Status; return nil })
}
