package s3

import (
	"crypto/tls"
	"net/http"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
)

// Data events: the object-level operations, for the trails whose selectors ask for
// them.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html
//
// The records have no bytesTransferredIn and bytesTransferredOut, copies leave no
// record of the read, and DeleteObjects is one record, not one for each object.
// Requests without a signature, and deliveries of log files, leave none.

// isDataEvent reports whether a trail may log the call as a data event.
func (c *call) isDataEvent() bool {
	return c.op != nil && c.op.event == "" && c.op.name != "" && c.Signed && c.b != nil && c.s.trail.LogsObjects()
}

// recordData writes the call's data event in the transaction of its change.
func (c *call) recordData(tx *bolt.Tx) error {
	if c.recorded || !c.isDataEvent() {
		return nil
	}
	return c.s.trail.RecordIn(tx, c.dataEvent(nil))
}

// update changes the state and records the call's data event, both or neither.
func (c *call) update(f func(tx *bolt.Tx) error) error {
	err := c.s.db.Batch(func(tx *bolt.Tx) error { // may be called twice
		if err := f(tx); err != nil {
			return err
		}
		return c.recordData(tx)
	})
	c.recorded = c.recorded || err == nil
	return err
}

// encrypted notes, for the data event, how an object is stored.
func (c *call) encrypted(o *objectRecord) {
	headers := c.sseHeaders(o)
	delete(headers, customerPrefix+"Key-Md5") // tells something of a key
	headers["X-Amz-Version-Id"] = c.versionHeader(o.VersionID)
	c.elements = recordedElements(headers)
	applied := map[string]string{sseS3: "SSE_S3", sseKMS: "SSE_KMS", sseC: "SSE_C"}[o.Algorithm]
	if applied != "" && o.Algorithm != sseC && !c.hasHeader(headerSSE) {
		applied = "Default_" + applied
	}
	c.sseApplied = applied
}

// recordedElements are the headers of a response as a record shows them.
func recordedElements(headers map[string]string) map[string]string {
	elements := map[string]string{}
	for name, value := range headers {
		if value != "" {
			elements[strings.ToLower(name)] = value
		}
	}
	return elements
}

// recordedHeaders are the headers of a request that a record shows. Others, such as
// keys of the customer's, it does not.
var recordedHeaders = []string{headerSSE, headerSSEKey, headerSSEBucketKey, "X-Amz-Acl", "X-Amz-Copy-Source", "X-Amz-Storage-Class", "X-Amz-Version-Id"}

// hiddenParameters are the query parameters that a record does not show.
var hiddenParameters = []string{"X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "x-id"}

// dataEvent is the call's data event.
func (c *call) dataEvent(failure error) trail.Event {
	parameters := map[string]any{"Host": c.HTTP.Host, "bucketName": c.bucket}
	for name := range c.query {
		parameters[name] = c.query.Get(name)
	}
	for _, name := range hiddenParameters {
		delete(parameters, name)
	}
	for _, name := range recordedHeaders {
		if v := c.HTTP.Header.Get(name); v != "" {
			parameters[strings.ToLower(name)] = v
		}
	}
	additional := map[string]any{"SignatureVersion": "SigV4", "AuthenticationMethod": "AuthHeader", "x-amz-id-2": hostID(c.ID)}
	switch {
	case c.Operation == "PostObject":
		delete(additional, "AuthenticationMethod") // no value is documented for forms
	case c.HTTP.Header.Get("Authorization") == "" && c.isPresigned():
		additional["AuthenticationMethod"] = "QueryString"
	}
	if c.HTTP.TLS != nil {
		additional["CipherSuite"] = tls.CipherSuiteName(c.HTTP.TLS.CipherSuite)
	}
	objects := trail.Resource{ARN: bucketARN(c.bucket) + "/", Type: trail.ObjectType, Account: c.b.Account, Prefix: true}
	if c.key != "" {
		parameters["key"] = c.key
		objects.ARN, objects.Prefix = c.arn(), false
	}
	e := trail.Event{
		Request: c.Request, Source: "s3.amazonaws.com", Name: strings.TrimSuffix(c.op.name, "V2"), Data: true, InvokedBy: c.invokedBy,
		ReadOnly: c.HTTP.Method == http.MethodGet || c.HTTP.Method == http.MethodHead, Parameters: parameters, Additional: additional,
		Resources: []trail.Resource{objects, {ARN: bucketARN(c.bucket), Type: "AWS::S3::Bucket", Account: c.b.Account}},
	}
	if failure != nil {
		e.Fail(c.explain(failure))
		return e
	}
	if len(c.elements) > 0 {
		e.Response = c.elements
	}
	if c.sseApplied != "" {
		additional["SSEApplied"] = c.sseApplied
	}
	return e
}
