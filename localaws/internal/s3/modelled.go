package s3

import (
	"net/http"
	"slices"
	"strings"
)

// What each operation models, beside its sub-resource: query parameters, and
// headers that begin with x-amz-. Everything else is refused at the edge.

// signing are the headers and parameters of a signed request, and what the SDKs
// add to every request. A body's digests belong to every operation: an operation
// without a body has none to compare.
var signing = []string{
	"x-amz-algorithm", "x-amz-content-sha256", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-security-token",
	"x-amz-signature", "x-amz-signedheaders", "x-amz-user-agent", "x-amz-expected-bucket-owner", "x-id",
	"x-amz-decoded-content-length", "x-amz-sdk-checksum-algorithm", "x-amz-trailer",
	"x-amz-checksum-crc32", "x-amz-checksum-crc32c", "x-amz-checksum-crc64nvme", "x-amz-checksum-sha1", "x-amz-checksum-sha256",
}

var (
	encryptionHeaders = []string{
		strings.ToLower(headerSSE), strings.ToLower(headerSSEKey), strings.ToLower(headerSSEContext), strings.ToLower(headerSSEBucketKey),
	}
	customerHeaders = []string{
		"x-amz-server-side-encryption-customer-algorithm", "x-amz-server-side-encryption-customer-key", "x-amz-server-side-encryption-customer-key-md5",
	}
	writeHeaders = slices.Concat(encryptionHeaders, customerHeaders, []string{
		"x-amz-acl", "x-amz-tagging", "x-amz-storage-class", "x-amz-website-redirect-location", "x-amz-meta-*",
		"x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "x-amz-object-lock-legal-hold",
	})
	objectGrantHeaders = []string{"x-amz-grant-full-control", "x-amz-grant-read", "x-amz-grant-read-acp", "x-amz-grant-write-acp"}
	allGrantHeaders    = slices.Concat(objectGrantHeaders, []string{"x-amz-grant-write"})
	copyHeaders        = []string{
		"x-amz-copy-source-server-side-encryption-customer-algorithm", "x-amz-copy-source-server-side-encryption-customer-key",
		"x-amz-copy-source-server-side-encryption-customer-key-md5",
		"x-amz-copy-source", "x-amz-copy-source-if-match", "x-amz-copy-source-if-none-match", "x-amz-copy-source-if-modified-since",
		"x-amz-copy-source-if-unmodified-since", "x-amz-source-expected-bucket-owner",
	}
	listing1  = []string{"prefix", "delimiter", "max-keys", "encoding-type"}
	overrides = []string{
		"response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language",
		"response-content-type", "response-expires",
	}
)

var modelled = map[string][]string{
	"GetAccountPublicAccessBlock":    {"x-amz-account-id"},
	"PutAccountPublicAccessBlock":    {"x-amz-account-id"},
	"DeleteAccountPublicAccessBlock": {"x-amz-account-id"},

	"ListTagsForResource": {"x-amz-account-id"},
	"TagResource":         {"x-amz-account-id"},
	"UntagResource":       {"x-amz-account-id", "tagKeys"},

	"ListBuckets":  {"prefix", "bucket-region", "continuation-token", "max-buckets"},
	"CreateBucket": slices.Concat(allGrantHeaders, []string{"x-amz-acl", "x-amz-bucket-object-lock-enabled", "x-amz-object-ownership"}),

	"ListObjects":          slices.Concat(listing1, []string{"marker"}),
	"ListObjectsV2":        slices.Concat(listing1, []string{"list-type", "continuation-token", "start-after", "fetch-owner", "x-amz-optional-object-attributes"}),
	"ListObjectVersions":   slices.Concat(listing1, []string{"key-marker", "version-id-marker"}),
	"ListMultipartUploads": {"prefix", "delimiter", "max-uploads", "encoding-type", "key-marker", "upload-id-marker"},
	"DeleteObjects":        {"x-amz-bypass-governance-retention"},

	"PutBucketLifecycleConfiguration": {strings.ToLower(headerTransition)},
	"PutBucketAcl":                    slices.Concat(allGrantHeaders, []string{"x-amz-acl"}),

	"PutObject":  slices.Concat(writeHeaders, objectGrantHeaders),
	"PostObject": writeHeaders,
	"CopyObject": slices.Concat(writeHeaders, objectGrantHeaders, copyHeaders, []string{
		"x-amz-metadata-directive", "x-amz-tagging-directive", "x-amz-checksum-algorithm",
	}),
	"GetObject":              slices.Concat(overrides, customerHeaders, []string{"versionId", "partNumber", "x-amz-checksum-mode"}),
	"HeadObject":             slices.Concat(overrides, customerHeaders, []string{"versionId", "partNumber", "x-amz-checksum-mode"}),
	"DeleteObject":           {"versionId", "x-amz-bypass-governance-retention"},
	"GetObjectAttributes":    slices.Concat(customerHeaders, []string{"versionId", "x-amz-object-attributes", "x-amz-max-parts", "x-amz-part-number-marker"}),
	"UpdateObjectEncryption": {"versionId"},
	"GetObjectTagging":       {"versionId"},
	"PutObjectTagging":       {"versionId"},
	"DeleteObjectTagging":    {"versionId"},
	"PutObjectAcl":           slices.Concat(allGrantHeaders, []string{"versionId", "x-amz-acl"}),
	"GetObjectAcl":           {"versionId"},
	"GetObjectRetention":     {"versionId"},
	"PutObjectRetention":     {"versionId", "x-amz-bypass-governance-retention"},
	"GetObjectLegalHold":     {"versionId"},
	"PutObjectLegalHold":     {"versionId"},

	"CreateMultipartUpload":   slices.Concat(writeHeaders, objectGrantHeaders, []string{"x-amz-checksum-algorithm", "x-amz-checksum-type"}),
	"UploadPart":              slices.Concat(customerHeaders, []string{"partNumber"}),
	"UploadPartCopy":          slices.Concat(customerHeaders, copyHeaders, []string{"partNumber", "x-amz-copy-source-range"}),
	"CompleteMultipartUpload": slices.Concat(customerHeaders, []string{"x-amz-checksum-type", "x-amz-mp-object-size"}),
	"ListParts":               slices.Concat(customerHeaders, []string{"max-parts", "part-number-marker"}),
}

// unmodelled names a query parameter or header of the request that its operation
// does not model; empty if there is none.
func (c *call) unmodelled() string {
	known := modelled[c.op.name]
	isModelled := func(name string) bool {
		lower := strings.ToLower(name)
		if name == c.op.subresource || slices.Contains(known, name) || slices.Contains(signing, lower) {
			return true
		}
		return slices.ContainsFunc(known, func(k string) bool {
			prefix, wild := strings.CutSuffix(k, "*")
			return strings.HasPrefix(k, "x-amz-") && (k == lower || wild && strings.HasPrefix(lower, prefix))
		})
	}
	// A query parameter may name an operation that localaws does not have: it says
	// more than the headers of that operation.
	var parameters, headers []string
	for name, values := range c.query {
		if len(values) > 1 && name != "tagKeys" || !isModelled(name) {
			parameters = append(parameters, "the query parameter "+name)
		}
	}
	for name, values := range c.HTTP.Header {
		if strings.HasPrefix(name, "X-Amz-") && (!isModelled(name) || len(values) > 1 && !mayRepeat(name)) {
			headers = append(headers, "the header "+strings.ToLower(name))
		}
	}
	switch {
	case len(parameters) > 0:
		return slices.Min(parameters)
	case len(headers) > 0:
		return slices.Min(headers)
	}
	return ""
}

// mayRepeat reports whether several headers of this name are one list.
func mayRepeat(name string) bool {
	return name == http.CanonicalHeaderKey("x-amz-object-attributes") || strings.HasPrefix(name, "X-Amz-Meta-")
}
