package components

import "strings"

// servicePreset is what AWS documents for a service that uses a customer managed
// key under its own name.
type servicePreset struct {
	sid        string
	actions    []string
	conditions func(key keyARN) conditions
	// describeConditions, if not nil, adds kms:DescribeKey in a statement of its
	// own: a request to describe a key has no encryption context.
	describeConditions func(key keyARN) conditions
	source             string // the page of AWS's documentation
}

// servicePresets has the services by the first part of their principals' names.
// SQS uses a queue's key as the caller that sends or receives, so that the
// services that send are the ones to name.
var servicePresets = map[string]servicePreset{
	"cloudtrail": {
		sid: "CloudTrail", actions: []string{"kms:Decrypt", "kms:GenerateDataKey*"},
		conditions: func(key keyARN) conditions {
			trails := arnOf(key, "cloudtrail", "*", "trail/*")
			return conditions{"ArnLike": {"aws:SourceArn": {trails}}, "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": {trails}}}
		},
		describeConditions: func(key keyARN) conditions {
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
	"sns": {
		sid: "SNS", actions: sendActions, conditions: sourceAccount,
		source: "https://docs.aws.amazon.com/sns/latest/dg/sns-enable-encryption-for-topic-sqs-queue-subscriptions.html",
	},
	"sqs": {
		sid: "SQS", actions: sendActions, conditions: sourceAccount,
		source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html",
	},
	"events": {
		sid: "EventBridge", actions: sendActions, conditions: sourceAccount,
		source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html",
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
