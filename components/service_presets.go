package components

import "strings"

// servicePreset is what AWS documents for a service that uses a customer managed
// key under its own name.
type servicePreset struct {
	sid     string
	actions []string
	// conditions, nil for none, are those of the statement.
	conditions func(key keyARN) conditions
	// otherActions, if any, are allowed in a statement of their own, under
	// otherConditions: AWS documents them without the conditions of actions.
	otherActions    []string
	otherConditions func(key keyARN) conditions
	source          string // the page of AWS's documentation
}

// servicePresets has the services by the first part of their principals' names.
// SQS uses a queue's key as the caller that sends or receives, so that the
// services that send are the ones to name.
var servicePresets = map[string]servicePreset{
	"cloudtrail": {
		sid: "CloudTrail", actions: []string{"kms:GenerateDataKey*"},
		conditions: func(key keyARN) conditions {
			trails := arnOf(key, "cloudtrail", "*", "trail/*")
			return conditions{"ArnLike": {"aws:SourceArn": {trails}}, "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": {trails}}}
		},
		// The page has an encryption context for kms:GenerateDataKey alone, and
		// recommends aws:SourceArn for all.
		otherActions: []string{"kms:Decrypt", "kms:DescribeKey"},
		otherConditions: func(key keyARN) conditions {
			return conditions{"ArnLike": {"aws:SourceArn": {arnOf(key, "cloudtrail", "*", "trail/*")}}}
		},
		source: "https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-kms-key-policy-for-cloudtrail.html",
	},
	"logs": {
		sid: "CloudWatchLogs", actions: []string{"kms:Decrypt", "kms:Describe*", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"},
		conditions: func(key keyARN) conditions {
			return conditions{"ArnLike": {"kms:EncryptionContext:aws:logs:arn": {arnOf(key, "logs", key.region, "*")}}}
		},
		source: "https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html",
	},
	// AWS documents the source "logs:REGION:ACCOUNT:*", and for services with V2
	// permissions "logs:REGION:ACCOUNT:delivery-source:*", which the former contains.
	// Source of the former: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-and-resource-policy.html
	"delivery.logs": {
		sid: "LogDelivery", actions: useActions,
		conditions: func(key keyARN) conditions {
			c := sourceAccount(key)
			c["ArnLike"] = map[string][]string{"aws:SourceArn": {arnOf(key, "logs", key.region, "*")}}
			return c
		},
		source: "https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-infrastructure-V2-S3.html",
	},
	"config": {
		sid: "Config", actions: []string{"kms:Decrypt", "kms:GenerateDataKey"}, conditions: sourceAccount,
		source: "https://docs.aws.amazon.com/config/latest/developerguide/s3-kms-key-policy.html",
	},
	// The pages of SQS and S3 have no condition in the statement for services that send;
	// that of SQS recommends aws:SourceAccount, which SNS and S3 support.
	"sns": {
		sid: "SNS", actions: sendActions, conditions: sourceAccount,
		source: "https://docs.aws.amazon.com/sns/latest/dg/sns-enable-encryption-for-topic-sqs-queue-subscriptions.html",
	},
	"sqs": {
		sid: "SQS", actions: sendActions, conditions: sourceAccount,
		source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html",
	},
	// For EventBridge's messages to encrypted topics, AWS supports neither aws:SourceAccount nor
	// aws:SourceArn. The topic's or the queue's own policy has to limit the rules.
	"events": {
		sid: "EventBridge", actions: sendActions,
		source: "https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html",
	},
	"s3": {
		sid: "S3Notifications", actions: sendActions, conditions: sourceAccount,
		source: "https://docs.aws.amazon.com/AmazonS3/latest/userguide/grant-destinations-permissions-to-s3.html",
	},
}

var sendActions = []string{"kms:Decrypt", "kms:GenerateDataKey*"}

// presetOf finds the preset of a service principal, as in
// "cloudtrail.amazonaws.com" or "logs.us-east-1.amazonaws.com".
func presetOf(service string) (servicePreset, bool) {
	for _, name := range []string{"delivery.logs", strings.SplitN(service, ".", 2)[0]} {
		if preset, ok := servicePresets[name]; ok && strings.HasPrefix(service, name+".") {
			return preset, true
		}
	}
	return servicePreset{}, false
}

func sourceAccount(key keyARN) conditions {
	return conditions{"StringEquals": {"aws:SourceAccount": {key.account}}}
}

// arnOf is an ARN in the key's partition and account.
func arnOf(key keyARN, service, region, resource string) string {
	return "arn:" + key.partition + ":" + service + ":" + region + ":" + key.account + ":" + resource
}
