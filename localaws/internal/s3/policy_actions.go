package s3

import (
	"strings"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
)

// The actions of S3 that a policy can name, by what they are about.
// Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
const (
	bucketActions = ` AllowVendedLogDeliveryForResource CreateBucket CreateBucketMetadataTableConfiguration DeleteBucket
		DeleteBucketMetadataTableConfiguration DeleteBucketPolicy DeleteBucketWebsite GetAccelerateConfiguration
		GetAnalyticsConfiguration GetBucketAbac GetBucketAcl GetBucketCORS GetBucketLocation GetBucketLogging
		GetBucketMetadataTableConfiguration GetBucketNotification GetBucketObjectLockConfiguration GetBucketOwnershipControls
		GetBucketPolicy GetBucketPolicyStatus GetBucketPublicAccessBlock GetBucketRequestPayment GetBucketTagging
		GetBucketVersioning GetBucketWebsite GetEncryptionConfiguration GetIntelligentTieringConfiguration
		GetInventoryConfiguration GetLifecycleConfiguration GetMetricsConfiguration GetReplicationConfiguration ListBucket
		ListBucketMultipartUploads ListBucketVersions PutAccelerateConfiguration PutAnalyticsConfiguration PutBucketAbac
		PutBucketAcl PutBucketCORS PutBucketLogging PutBucketNotification PutBucketObjectLockConfiguration
		PutBucketOwnershipControls PutBucketPolicy PutBucketPublicAccessBlock PutBucketRequestPayment PutBucketTagging
		PutBucketVersioning PutBucketWebsite PutEncryptionConfiguration PutIntelligentTieringConfiguration
		PutInventoryConfiguration PutLifecycleConfiguration PutMetricsConfiguration PutReplicationConfiguration
		UpdateBucketMetadataAnnotationTableConfiguration UpdateBucketMetadataInventoryTableConfiguration
		UpdateBucketMetadataJournalTableConfiguration `

	objectActions = ` AbortMultipartUpload BypassGovernanceRetention DeleteObject DeleteObjectAnnotation DeleteObjectTagging
		DeleteObjectVersion DeleteObjectVersionAnnotation DeleteObjectVersionTagging GetObject GetObjectAcl GetObjectAnnotation
		GetObjectAttributes GetObjectLegalHold GetObjectRetention GetObjectTagging GetObjectTorrent GetObjectVersion
		GetObjectVersionAcl GetObjectVersionAnnotation GetObjectVersionAnnotationForReplication GetObjectVersionAttributes
		GetObjectVersionForReplication GetObjectVersionTagging GetObjectVersionTorrent InitiateReplication
		ListMultipartUploadParts ListObjectAnnotations ListObjectVersionAnnotations ObjectOwnerOverrideToBucketOwner PutObject
		PutObjectAcl PutObjectAnnotation PutObjectLegalHold PutObjectRetention PutObjectTagging PutObjectVersionAcl
		PutObjectVersionAnnotation PutObjectVersionTagging ReplicateDelete ReplicateObject ReplicateObjectAnnotation
		ReplicateTags RestoreObject UpdateObjectEncryption `

	// otherActions are about accounts, access points and the like, or about more than one
	// kind of resource. The last line are actions of earlier versions of the page: whether
	// AWS still takes them is not known [U].
	otherActions = ` AssociateAccessGrantsIdentityCenter CreateAccessGrant CreateAccessGrantsInstance CreateAccessGrantsLocation
		CreateAccessPoint CreateAccessPointForObjectLambda CreateJob CreateMultiRegionAccessPoint CreateStorageLensGroup
		DeleteAccessGrant DeleteAccessGrantsInstance DeleteAccessGrantsInstanceResourcePolicy DeleteAccessGrantsLocation
		DeleteAccessPoint DeleteAccessPointForObjectLambda DeleteAccessPointPolicy DeleteAccessPointPolicyForObjectLambda
		DeleteJobTagging DeleteMultiRegionAccessPoint DeleteStorageLensConfiguration DeleteStorageLensConfigurationTagging
		DeleteStorageLensGroup DescribeJob DescribeMultiRegionAccessPointOperation DissociateAccessGrantsIdentityCenter
		GetAccessGrant GetAccessGrantsInstance GetAccessGrantsInstanceForPrefix GetAccessGrantsInstanceResourcePolicy
		GetAccessGrantsLocation GetAccessPoint GetAccessPointConfigurationForObjectLambda GetAccessPointForObjectLambda
		GetAccessPointPolicy GetAccessPointPolicyForObjectLambda GetAccessPointPolicyStatus
		GetAccessPointPolicyStatusForObjectLambda GetAccountPublicAccessBlock GetDataAccess GetJobTagging
		GetMultiRegionAccessPoint GetMultiRegionAccessPointPolicy GetMultiRegionAccessPointPolicyStatus
		GetMultiRegionAccessPointRoutes GetStorageLensConfiguration GetStorageLensConfigurationTagging GetStorageLensDashboard
		GetStorageLensGroup ListAccessGrants ListAccessGrantsInstances ListAccessGrantsLocations ListAccessPoints
		ListAccessPointsForObjectLambda ListAllMyBuckets ListCallerAccessGrants ListJobs ListMultiRegionAccessPoints
		ListStorageLensConfigurations ListStorageLensGroups ListTagsForResource PauseReplication
		PutAccessGrantsInstanceResourcePolicy PutAccessPointConfigurationForObjectLambda PutAccessPointPolicy
		PutAccessPointPolicyForObjectLambda PutAccessPointPublicAccessBlock PutAccountPublicAccessBlock PutJobTagging
		PutMultiRegionAccessPointPolicy PutStorageLensConfiguration PutStorageLensConfigurationTagging
		SubmitMultiRegionAccessPointRoutes TagResource UntagResource UpdateAccessGrantsLocation UpdateJobPriority
		UpdateJobStatus UpdateStorageLensGroup
		GetIpConfiguration HeadBucket ListBucketByTags PutIpConfiguration `
)

// actionTarget is what a named action is about.
type actionTarget int

const (
	onOther actionTarget = iota + 1
	onBucket
	onObject
)

// actionTargets are the actions in lower case, with what each is about.
var actionTargets = func() map[string]actionTarget {
	all := map[string]actionTarget{}
	for target, names := range map[actionTarget]string{onOther: otherActions, onBucket: bucketActions, onObject: objectActions} {
		for name := range strings.FieldsSeq(names) {
			all["s3:"+strings.ToLower(name)] = target
		}
	}
	return all
}()

// checkActions is what S3 refuses of a statement's actions; empty if nothing. Patterns
// are accepted: what S3 says of one that no action matches is not known [U].
func checkActions(st policy.Statement) string {
	for _, a := range st.Actions {
		a = strings.ToLower(a)
		if strings.ContainsAny(a, "*?") {
			continue
		}
		target := actionTargets[a]
		if target == 0 {
			return "Policy has invalid action"
		}
		if !st.NotAction && !st.NotResource && !anyCanBe(st.Resources, target) {
			return "Action does not apply to any resource(s) in statement"
		}
	}
	return ""
}

// anyCanBe reports whether a resource can be what an action is about: a bucket's ARN has
// no slash, and an object's has one, which a wildcard can stand for.
func anyCanBe(resources []string, target actionTarget) bool {
	for _, r := range resources {
		slash := strings.Contains(r, "/")
		if target == onOther || target == onBucket && !slash || target == onObject && (slash || strings.ContainsAny(r, "*?$")) {
			return true
		}
	}
	return false
}
