package report

import (
	"fmt"
	"strings"
	"time"
)

const (
	sampleAccount = "111122223333"
	sampleForeign = "444455556666"
	sampleKey     = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	sampleBucket  = "ckms-masterclass-111122223333-us-east-1"
	sampleCaller  = "arn:aws:sts::111122223333:assumed-role/Auditor/alice"

	// An object's key may be any text; this one tries a terminal, a browser, an
	// XML parser, a shell and a SARIF viewer. U+202E turns the text around, and
	// U+009B starts a terminal sequence in one character. The end is commands to CI
	// systems.
	hostile = "logs/\x1b[31mred\x1b]0;title\x07/<script>alert('1')</script>/\"a\" & 'b'/[link](https://example.com)/line\nbreak\r\u202egnp.exe\u009b2J\x00\xff]]> ::set-output name=x::y ##vso[task.complete] ##[error]"
)

func at(minute, second int) time.Time {
	return time.Date(2026, time.March, 14, 9, minute, second, 0, time.UTC)
}

// sample has every status and every field, long names and hostile ones.
func sample() *Report {
	r := &Report{
		Schema:     Schema,
		Version:    "1.2.3",
		StartedAt:  at(40, 0),
		FinishedAt: at(40, 4).Add(250 * time.Millisecond),
		Subject: Subject{
			Account: sampleAccount, Region: "us-east-1", Caller: sampleCaller,
			KeyARN: sampleKey, Alias: "alias/masterclass-cmk-of-the-whole-department", Bucket: sampleBucket,
			Objects:     []string{"test/hello.txt", "archive/2025/12/31/" + strings.Repeat("a-very-long-name-", 8) + "end.parquet", hostile},
			ObjectCount: 1204, EBSKeyARN: strings.Replace(sampleKey, "1234abcd", "99999999", 1),
		},
		Scope: Scope{
			Endpoints: []Endpoint{
				{"cloudtrail", "https://cloudtrail.us-east-1.amazonaws.com", true},
				{"kms", "https://127.0.0.1:4566", false},
				{"s3", "https://s3.us-east-1.amazonaws.com", true},
			},
			CABundle: "AWS_CA_BUNDLE=/tmp/ca.pem",
			Flags:    []string{"--only=key,bucket,object,ebs,trail,canary.default", "--prefix=it's $HOME", "--stack=dev"},
			Objects:  "3 named objects, and every object with the prefix \"archive/\"",
			Events:   "lookup",
			Checks:   11, LeftOut: []string{"account.expected"},
		},
		Access: []Access{
			{Resource: sampleKey, Account: sampleAccount, Principal: "arn:aws:iam::" + sampleAccount + ":root", Permissions: []string{"kms:*"}, Source: `key policy, statement "Account"`},
			{Resource: sampleKey, Account: sampleForeign, Principal: "arn:aws:iam::" + sampleForeign + ":role/partner-analytics", Permissions: []string{"Decrypt", "DescribeKey"},
				Conditions: "encryption context department=finance", Source: "grant 0c237476b39f8bc44e45212e08498fbe3151305030726c0590dd8d3e9f3d6a60", External: true},
			{Resource: "arn:aws:s3:::" + sampleBucket, Principal: "logging.s3.amazonaws.com", Permissions: []string{"s3:PutObject"}, Conditions: "aws:SourceAccount = " + sampleAccount, Source: "bucket policy, statement 3"},
		},
		AccessNotes: []string{"the key policy admits the account " + sampleAccount + ": its IAM policies decide which of its principals have access, and were not read"},
		Results: []Result{
			{
				ID: "key.enabled", Group: "key", NotProven: "that disabling the key takes effect at once", Title: "the key is enabled", Severity: "critical",
				Why:    "a disabled key can neither encrypt nor decrypt: the data is out of reach",
				Status: Pass, Expected: "Enabled", Actual: "Enabled",
				Evidence: []Evidence{{Source: "kms:DescribeKey", RequestID: "0a1b2c3d-1111-4222-8333-123412341234", Time: at(40, 1), Detail: "KeyState Enabled, Origin AWS_KMS"}},
			},
			{
				ID: "key.rotation", Group: "key", Title: "the key rotates, and at least once a year", Severity: "high",
				Why:    "without rotation one key's material protects the data for ever",
				Status: Fail, Expected: "rotation on, every 365 days or less", Actual: "rotation is off",
				Remedy:   "aws kms enable-key-rotation --key-id " + sampleKey + " --rotation-period-in-days 365 --region us-east-1",
				Evidence: []Evidence{{Source: "kms:GetKeyRotationStatus", RequestID: "0a1b2c3d-1111-4222-8333-000000000002", Time: at(40, 1), Detail: "KeyRotationEnabled false"}},
				Controls: []Control{{"CIS AWS Foundations 3.0", "3.6", false}, {"AWS Security Hub", "KMS.4", false}, {"Checkov", "CKV_AWS_7", false}},
			},
			{
				ID: "key.policy", Group: "key", Title: "the key policy is not open to the world", Severity: "critical",
				Why:    "anyone who may use the key may read what it protects",
				Status: Error, Expected: "no statement allows everyone without a condition that names accounts",
				Actual:   "kms:GetKeyPolicy was denied: User: " + sampleCaller + " is not authorized to perform: kms:GetKeyPolicy",
				Remedy:   "attach the policy that verify iam prints to the role Auditor, then run verify again",
				Evidence: []Evidence{{Source: "kms:GetKeyPolicy", RequestID: "0a1b2c3d-1111-4222-8333-000000000003", Time: at(40, 1), Detail: "AccessDeniedException"}},
				Controls: []Control{{"AWS Security Hub", "KMS.5", false}},
			},
			{
				ID: "bucket.encryption", Group: "bucket", Title: "new objects are encrypted with this key by default", Severity: "high",
				Why:    "an upload that names no encryption is encrypted with the bucket's default",
				Status: Pass, Expected: "aws:kms with " + sampleKey, Actual: "aws:kms with " + sampleKey + ", Bucket Key on",
				Evidence: []Evidence{{Source: "s3:GetBucketEncryption", RequestID: "4442587FB7D0A2F9", Time: at(40, 2), Detail: "SSEAlgorithm aws:kms, BucketKeyEnabled true"}},
				Controls: []Control{{"AWS Security Hub", "S3.17", false}, {"Checkov", "CKV_AWS_145", true}},
			},
			{
				ID: "bucket.tls", Group: "bucket", Title: "the bucket answers over TLS only", Severity: "medium",
				Why:    "without it an object can be read on its way",
				Status: Fail, Expected: "a statement that denies every principal where aws:SecureTransport is false",
				Actual:   "no such statement; account 4444-5555-6666 is allowed s3:GetObject by arn:aws:iam::" + sampleForeign + ":root",
				Remedy:   "pulumi up --stack dev",
				Controls: []Control{{"CIS AWS Foundations 3.0", "2.1.1", false}, {"AWS Security Hub", "S3.5", false}},
			},
			{
				ID: "object.key", Group: "object", Title: "every object is encrypted with this key", Severity: "high",
				Why:    "an object from before the default keeps its old encryption for ever",
				Status: Fail, Expected: "aws:kms with " + sampleKey, Actual: "13 of 1204 objects are encrypted otherwise: AES256",
				Remedy:   `aws s3 cp "s3://` + sampleBucket + `/test/old file.txt" "s3://` + sampleBucket + `/test/old file.txt" --sse aws:kms --sse-kms-key-id ` + sampleKey,
				Evidence: []Evidence{{Source: "s3:HeadObject", RequestID: "A1B2C3D4E5F60718", Time: at(40, 3), Detail: "test/old file.txt: AES256"}},
				Failures: failures(13), FailureCount: 13,
			},
			{
				ID: "ebs.default", Group: "ebs", Title: "EBS volumes are encrypted by default", Severity: "high",
				Why:    "a volume that names no encryption is written in the clear",
				Status: Pass, Expected: "on in us-east-1", Actual: "on in us-east-1",
				Evidence: []Evidence{{Source: "ec2:GetEbsEncryptionByDefault", RequestID: "59dbff89-35bd-4eac-99ed-be587EXAMPLE", Time: at(40, 3)}},
				Controls: []Control{{"CIS AWS Foundations 3.0", "2.2.1", true}, {"AWS Security Hub", "EC2.7", false}},
			},
			{
				ID: "trail.generate", Group: "trail", Title: "the write of the object used the key", Severity: "medium",
				Why:    "the event ties the object to the key and to the caller",
				Status: Pass, Expected: "GenerateDataKey by " + sampleCaller, Actual: "seen, for the bucket",
				Evidence: []Evidence{{Source: "cloudtrail:LookupEvents", RequestID: "0a1b2c3d-1111-4222-8333-000000000008", EventID: "e0000000-0000-4000-8000-000000000003", Time: at(33, 10), Detail: "encryption context aws:s3:arn names the bucket"}},
			},
			{
				ID: "trail.decrypt", Group: "trail", Title: "the read of the object used the key", Severity: "medium",
				Why:    "every read of the object leaves a Decrypt in the record",
				Status: Inconclusive, Expected: "Decrypt by " + sampleCaller,
				Actual: "no event yet; with a Bucket Key there may never be one",
				Remedy: "verify --stack dev --only trail --wait 20m",
			},
			{
				ID: "canary.default", Group: "canary", Title: "an upload that names no encryption gets this key", Severity: "high",
				Why:    "it shows the default at work instead of the setting",
				Status: Skipped, Expected: "aws:kms with " + sampleKey, Actual: "writes to the bucket, so it is asked for with --canary",
				Remedy: "verify --stack dev --canary",
			},
		},
	}
	add := func(name string, minute, second int, context string) {
		n := len(r.Events)
		r.Events = append(r.Events, KeyUse{
			EventID: fmt.Sprintf("e0000000-0000-4000-8000-%012d", n), Time: at(minute, second), Name: name,
			Caller: sampleCaller, KeyARN: sampleKey, Context: context, Service: "fas.s3.amazonaws.com",
		})
	}
	object := "arn:aws:s3:::" + sampleBucket + "/test/hello.txt"
	add("GenerateDataKey", 2, 5, "arn:aws:s3:::"+sampleBucket)
	add("Decrypt", 4, 0, object)
	add("Encrypt", 11, 0, "")
	add("GenerateDataKey", 33, 10, "arn:aws:s3:::"+sampleBucket)
	add("GenerateDataKey", 33, 12, object)
	add("Decrypt", 33, 15, object)
	for i := range 9 {
		add("Decrypt", 34, i, "arn:aws:s3:::"+sampleBucket+"/"+hostile)
	}
	r.Judge()
	return r
}

func failures(n int) []string {
	names := []string{hostile, "test/old file.txt"}
	for i := len(names); i < n; i++ {
		names = append(names, fmt.Sprintf("archive/2025/part-%05d.parquet", i))
	}
	return names
}

// good is a run in which everything passed.
func good() *Report {
	r := sample()
	r.Results = []Result{r.Results[0], r.Results[3], r.Results[6], r.Results[7]}
	r.Subject.Objects, r.Subject.ObjectCount = []string{"test/hello.txt"}, 1
	r.Scope.Endpoints = []Endpoint{{"kms", "https://kms.us-east-1.amazonaws.com", true}, {"s3", "https://s3.us-east-1.amazonaws.com", true}}
	r.Scope.CABundle, r.Scope.Objects = "", "1 named object"
	r.Judge()
	return r
}

// empty is a run in which nothing was checked.
func empty() *Report {
	r := &Report{Schema: Schema, Version: "1.2.3", StartedAt: at(40, 0), FinishedAt: at(40, 1), Scope: Scope{Endpoints: []Endpoint{}, Flags: []string{}}}
	r.Judge()
	return r
}
