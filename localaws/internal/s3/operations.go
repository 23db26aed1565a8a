package s3

import (
	"net/http"
	"net/url"
	"strings"
)

// operation is one operation of S3's API reference.
type operation struct {
	name   string
	action string // the IAM action; empty where the handler asks for itself
	// event is the operation's name in CloudTrail; empty for object-level
	// operations, which are data events and not in the event history.
	// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html
	event  string
	handle func(*call) (*response, error)

	subresource string // the query parameter that names the operation; from its route
}

// actionFor is the action on one version where the caller names one.
func (o *operation) actionFor(query url.Values) string {
	if query.Get("versionId") == "" {
		return o.action
	}
	switch o.action {
	case "s3:GetObject", "s3:DeleteObject":
		return o.action + "Version"
	case "s3:GetObjectAcl", "s3:PutObjectAcl", "s3:GetObjectTagging", "s3:PutObjectTagging", "s3:DeleteObjectTagging":
		return strings.Replace(o.action, "Object", "ObjectVersion", 1)
	}
	return o.action
}

// The query parameters that name a sub-resource, in the order in which they
// are looked for.
var (
	bucketSubresources = []string{
		"accelerate", "acl", "analytics", "cors", "delete", "encryption", "intelligent-tiering", "inventory", "lifecycle",
		"location", "logging", "metrics", "notification", "object-lock", "ownershipControls", "policy", "policyStatus",
		"publicAccessBlock", "replication", "requestPayment", "session", "tagging", "uploads", "versioning", "versions", "website",
	}
	objectSubresources = []string{
		"acl", "attributes", "encryption", "legal-hold", "restore", "retention", "select", "tagging", "torrent", "uploadId", "uploads",
	}
)

// findOperation tells the operation from method, query and headers; nil where
// there is no such operation.
func findOperation(method, bucket, key string, query url.Values, header http.Header) *operation {
	route := method + " /"
	subresources := []string(nil)
	switch {
	case key != "":
		route, subresources = method+" key", objectSubresources
	case bucket != "":
		route, subresources = method+" bucket", bucketSubresources
	}
	for _, sub := range subresources {
		if query.Has(sub) {
			route += "?" + sub
			break
		}
	}
	switch {
	case route == "GET bucket" && query.Get("list-type") == "2":
		route += "?list-type=2"
	case (route == "PUT key" || route == "PUT key?uploadId") && header.Get("X-Amz-Copy-Source") != "":
		route += " from another"
	}
	return operations[route]
}

var operations map[string]*operation

func init() { // not a literal: the handlers refer back to operations
	operations = routes()
	for route, o := range operations {
		_, sub, _ := strings.Cut(strings.TrimSuffix(route, " from another"), "?")
		o.subresource, _, _ = strings.Cut(sub, "=")
	}
}

func routes() map[string]*operation {
	return map[string]*operation{
		"GET /": {"ListBuckets", "s3:ListAllMyBuckets", "ListBuckets", listBuckets, ""},

		"PUT bucket":          {"CreateBucket", "s3:CreateBucket", "CreateBucket", createBucket, ""},
		"HEAD bucket":         {"HeadBucket", "s3:ListBucket", "", headBucket, ""},
		"DELETE bucket":       {"DeleteBucket", "s3:DeleteBucket", "DeleteBucket", deleteBucket, ""},
		"GET bucket?location": {"GetBucketLocation", "s3:GetBucketLocation", "GetBucketLocation", getBucketLocation, ""},

		"GET bucket":              {"ListObjects", "s3:ListBucket", "", listObjects, ""},
		"GET bucket?list-type=2":  {"ListObjectsV2", "s3:ListBucket", "", listObjectsV2, ""},
		"GET bucket?versions":     {"ListObjectVersions", "s3:ListBucketVersions", "", listObjectVersions, ""},
		"GET bucket?uploads":      {"ListMultipartUploads", "s3:ListBucketMultipartUploads", "", listMultipartUploads, ""},
		"POST bucket?delete":      {"DeleteObjects", "", "", deleteObjects, ""},
		"POST bucket":             {"PostObject", "", "", postObject, ""},
		"GET bucket?policyStatus": {"GetBucketPolicyStatus", "s3:GetBucketPolicyStatus", "GetBucketPolicyStatus", getBucketPolicyStatus, ""},

		"GET bucket?policy":    {"GetBucketPolicy", "s3:GetBucketPolicy", "GetBucketPolicy", getBucketPolicy, ""},
		"PUT bucket?policy":    {"PutBucketPolicy", "s3:PutBucketPolicy", "PutBucketPolicy", putBucketPolicy, ""},
		"DELETE bucket?policy": {"DeleteBucketPolicy", "s3:DeleteBucketPolicy", "DeleteBucketPolicy", deleteBucketPolicy, ""},

		"GET bucket?encryption":    {"GetBucketEncryption", "s3:GetEncryptionConfiguration", "GetBucketEncryption", getBucketEncryption, ""},
		"PUT bucket?encryption":    {"PutBucketEncryption", "s3:PutEncryptionConfiguration", "PutBucketEncryption", putBucketEncryption, ""},
		"DELETE bucket?encryption": {"DeleteBucketEncryption", "s3:PutEncryptionConfiguration", "DeleteBucketEncryption", deleteBucketEncryption, ""},

		"GET bucket?publicAccessBlock":    {"GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock", "GetBucketPublicAccessBlock", getPublicAccessBlock, ""},
		"PUT bucket?publicAccessBlock":    {"PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock", "PutBucketPublicAccessBlock", putPublicAccessBlock, ""},
		"DELETE bucket?publicAccessBlock": {"DeletePublicAccessBlock", "s3:PutBucketPublicAccessBlock", "DeleteBucketPublicAccessBlock", deletePublicAccessBlock, ""},

		"GET bucket?ownershipControls":    {"GetBucketOwnershipControls", "s3:GetBucketOwnershipControls", "GetBucketOwnershipControls", getOwnershipControls, ""},
		"PUT bucket?ownershipControls":    {"PutBucketOwnershipControls", "s3:PutBucketOwnershipControls", "PutBucketOwnershipControls", putOwnershipControls, ""},
		"DELETE bucket?ownershipControls": {"DeleteBucketOwnershipControls", "s3:PutBucketOwnershipControls", "DeleteBucketOwnershipControls", deleteOwnershipControls, ""},

		"GET bucket?versioning": {"GetBucketVersioning", "s3:GetBucketVersioning", "GetBucketVersioning", getBucketVersioning, ""},
		"PUT bucket?versioning": {"PutBucketVersioning", "s3:PutBucketVersioning", "PutBucketVersioning", putBucketVersioning, ""},

		"GET bucket?object-lock": {"GetObjectLockConfiguration", "s3:GetBucketObjectLockConfiguration", "GetBucketObjectLockConfiguration", getObjectLockConfiguration, ""},
		"PUT bucket?object-lock": {"PutObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration", "PutBucketObjectLockConfiguration", putObjectLockConfiguration, ""},

		"GET bucket?tagging":    {"GetBucketTagging", "s3:GetBucketTagging", "GetBucketTagging", getBucketTagging, ""},
		"PUT bucket?tagging":    {"PutBucketTagging", "s3:PutBucketTagging", "PutBucketTagging", putBucketTagging, ""},
		"DELETE bucket?tagging": {"DeleteBucketTagging", "s3:PutBucketTagging", "DeleteBucketTagging", deleteBucketTagging, ""},

		"GET bucket?lifecycle":    {"GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration", "GetBucketLifecycle", getLifecycle, ""},
		"PUT bucket?lifecycle":    {"PutBucketLifecycleConfiguration", "s3:PutLifecycleConfiguration", "PutBucketLifecycle", putLifecycle, ""},
		"DELETE bucket?lifecycle": {"DeleteBucketLifecycle", "s3:PutLifecycleConfiguration", "DeleteBucketLifecycle", deleteLifecycle, ""},

		"GET bucket?logging": {"GetBucketLogging", "s3:GetBucketLogging", "GetBucketLogging", getBucketLogging, ""},
		"PUT bucket?logging": {"PutBucketLogging", "s3:PutBucketLogging", "PutBucketLogging", putBucketLogging, ""},

		"GET bucket?acl": {"GetBucketAcl", "s3:GetBucketAcl", "GetBucketAcl", getBucketACL, ""},
		"PUT bucket?acl": {"PutBucketAcl", "s3:PutBucketAcl", "PutBucketAcl", putBucketACL, ""},

		"GET bucket?accelerate": {"GetBucketAccelerateConfiguration", "s3:GetAccelerateConfiguration", "GetAccelerateConfiguration", getAccelerate, ""},
		"PUT bucket?accelerate": {"PutBucketAccelerateConfiguration", "s3:PutAccelerateConfiguration", "PutAccelerateConfiguration", putAccelerate, ""},

		"GET bucket?requestPayment": {"GetBucketRequestPayment", "s3:GetBucketRequestPayment", "GetBucketRequestPayment", getRequestPayment, ""},
		"PUT bucket?requestPayment": {"PutBucketRequestPayment", "s3:PutBucketRequestPayment", "PutBucketRequestPayment", putRequestPayment, ""},

		"GET bucket?cors":    {"GetBucketCors", "s3:GetBucketCORS", "GetBucketCors", getBucketCORS, ""},
		"PUT bucket?cors":    {"PutBucketCors", "s3:PutBucketCORS", "PutBucketCors", putBucketCORS, ""},
		"DELETE bucket?cors": {"DeleteBucketCors", "s3:PutBucketCORS", "DeleteBucketCors", deleteBucketCORS, ""},

		"GET bucket?website":    {"GetBucketWebsite", "s3:GetBucketWebsite", "GetBucketWebsite", getWebsite, ""},
		"PUT bucket?website":    {"PutBucketWebsite", "s3:PutBucketWebsite", "PutBucketWebsite", nil, ""},
		"DELETE bucket?website": {"DeleteBucketWebsite", "s3:DeleteBucketWebsite", "DeleteBucketWebsite", deleteNothing, ""},

		"GET bucket?replication":    {"GetBucketReplication", "s3:GetReplicationConfiguration", "GetBucketReplication", getReplication, ""},
		"PUT bucket?replication":    {"PutBucketReplication", "s3:PutReplicationConfiguration", "PutBucketReplication", putReplication, ""},
		"DELETE bucket?replication": {"DeleteBucketReplication", "s3:PutReplicationConfiguration", "DeleteBucketReplication", deleteReplication, ""},

		"GET bucket?notification": {"GetBucketNotificationConfiguration", "s3:GetBucketNotification", "GetBucketNotification", getNotification, ""},
		"PUT bucket?notification": {"PutBucketNotificationConfiguration", "s3:PutBucketNotification", "PutBucketNotification", nil, ""},

		"GET bucket?analytics":           {"ListBucketAnalyticsConfigurations", "s3:GetAnalyticsConfiguration", "", nil, ""},
		"GET bucket?intelligent-tiering": {"ListBucketIntelligentTieringConfigurations", "s3:GetIntelligentTieringConfiguration", "", nil, ""},
		"GET bucket?inventory":           {"ListBucketInventoryConfigurations", "s3:GetInventoryConfiguration", "", nil, ""},
		"GET bucket?metrics":             {"ListBucketMetricsConfigurations", "s3:GetMetricsConfiguration", "", nil, ""},
		"GET bucket?session":             {"CreateSession", "s3express:CreateSession", "", nil, ""},

		"PUT key":              {"PutObject", "s3:PutObject", "", putObject, ""},
		"PUT key from another": {"CopyObject", "s3:PutObject", "", copyObject, ""},
		"GET key":              {"GetObject", "s3:GetObject", "", getObject, ""},
		"HEAD key":             {"HeadObject", "s3:GetObject", "", headObject, ""},
		"DELETE key":           {"DeleteObject", "s3:DeleteObject", "", deleteObject, ""},
		"PUT key?encryption":   {"UpdateObjectEncryption", "s3:UpdateObjectEncryption", "", updateObjectEncryption, ""},
		"GET key?attributes":   {"GetObjectAttributes", "s3:GetObject", "", getObjectAttributes, ""},

		"GET key?tagging":    {"GetObjectTagging", "s3:GetObjectTagging", "", getObjectTagging, ""},
		"PUT key?tagging":    {"PutObjectTagging", "", "", putObjectTagging, ""},
		"DELETE key?tagging": {"DeleteObjectTagging", "s3:DeleteObjectTagging", "", deleteObjectTagging, ""},
		"GET key?acl":        {"GetObjectAcl", "s3:GetObjectAcl", "", getObjectACL, ""},
		"PUT key?acl":        {"PutObjectAcl", "s3:PutObjectAcl", "", putObjectACL, ""},
		"GET key?retention":  {"GetObjectRetention", "s3:GetObjectRetention", "", getObjectRetention, ""},
		"PUT key?retention":  {"PutObjectRetention", "s3:PutObjectRetention", "", putObjectRetention, ""},
		"GET key?legal-hold": {"GetObjectLegalHold", "s3:GetObjectLegalHold", "", getObjectLegalHold, ""},
		"PUT key?legal-hold": {"PutObjectLegalHold", "s3:PutObjectLegalHold", "", putObjectLegalHold, ""},
		"POST key?restore":   {"RestoreObject", "s3:RestoreObject", "", nil, ""},
		"POST key?select":    {"SelectObjectContent", "s3:GetObject", "", nil, ""},
		"GET key?torrent":    {"GetObjectTorrent", "s3:GetObject", "", nil, ""},

		"POST key?uploads":              {"CreateMultipartUpload", "s3:PutObject", "", createMultipartUpload, ""},
		"PUT key?uploadId":              {"UploadPart", "s3:PutObject", "", uploadPart, ""},
		"PUT key?uploadId from another": {"UploadPartCopy", "s3:PutObject", "", uploadPartCopy, ""},
		"POST key?uploadId":             {"CompleteMultipartUpload", "s3:PutObject", "", completeMultipartUpload, ""},
		"DELETE key?uploadId":           {"AbortMultipartUpload", "s3:AbortMultipartUpload", "", abortMultipartUpload, ""},
		"GET key?uploadId":              {"ListParts", "s3:ListMultipartUploadParts", "", listParts, ""},
	}
}
