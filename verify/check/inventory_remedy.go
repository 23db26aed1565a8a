package check

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// batchJob is the part of S3 Batch Operations' CreateJob that a job which changes
// the key of objects in place takes.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_CreateJob.html
type (
	batchOperation struct {
		S3UpdateObjectEncryption struct{ ObjectEncryption struct{ SSEKMS batchKey } }
	}
	batchKey struct {
		KMSKeyArn        string
		BucketKeyEnabled bool
	}
	batchManifest struct{ S3JobManifestGenerator batchGenerator }

	batchGenerator struct {
		ExpectedBucketOwner  string `json:",omitempty"`
		SourceBucket         string
		EnableManifestOutput bool
		Filter               batchFilter
	}
	batchFilter struct {
		// MatchAnyObjectEncryption has one item: CreateJob takes no more.
		MatchAnyObjectEncryption []map[string]map[string]string
		KeyNameConstraint        *batchNames `json:",omitempty"`
	}
	batchNames struct{ MatchAnyPrefix []string }
)

// remedy is one job of S3 Batch Operations for each group of offenders. The role of
// the jobs is the reader's choice, so it is a sentence.
func (v *inventory) remedy(groups []inventoryGroup) string {
	r := v.r
	account := r.cfg.Account
	if id := r.identity(); id.err == nil {
		account = aws.ToString(id.out.Account)
	}
	var filters []map[string]map[string]string
	copied := false // what UpdateObjectEncryption does not take
	for _, g := range groups {
		filter := map[string]map[string]string{"SSES3": {}}
		switch {
		case v.isUnderKey(g.inventoryRow), !g.current && !r.cfg.Versions:
			continue
		case g.status == "SSE-KMS" && g.kms != "":
			filter = map[string]map[string]string{"SSEKMS": {"KmsKeyArn": g.kms}}
		case g.status != "SSE-S3":
			copied = true
			continue
		}
		if !slices.ContainsFunc(filters, func(f map[string]map[string]string) bool { return jsonText(f) == jsonText(filter) }) {
			filters = append(filters, filter)
		}
	}
	const copies = "copy objects under DSSE-KMS, under SSE-C and without encryption over themselves with aws s3 cp --sse aws:kms --sse-kms-key-id: UpdateObjectEncryption does not take them"
	switch {
	case len(filters) > 0:
	case copied:
		return copies
	default: // named objects only
		return "copy each object over itself with aws s3 cp --sse aws:kms --sse-kms-key-id " + r.keyARN()
	}
	var operation batchOperation
	operation.S3UpdateObjectEncryption.ObjectEncryption.SSEKMS = batchKey{KMSKeyArn: r.keyARN()}
	if e := r.encryption(); e.err == nil {
		first, _ := rule(e.out)
		operation.S3UpdateObjectEncryption.ObjectEncryption.SSEKMS.BucketKeyEnabled = aws.ToBool(first.BucketKeyEnabled)
	}
	part := partition(r.cfg.AWS.Region)
	var jobs []string
	for _, f := range filters {
		manifest := batchManifest{batchGenerator{ExpectedBucketOwner: account, SourceBucket: "arn:" + part + ":s3:::" + r.cfg.Bucket,
			Filter: batchFilter{MatchAnyObjectEncryption: []map[string]map[string]string{f}}}}
		if p := aws.ToString(r.cfg.Prefix); p != "" {
			manifest.S3JobManifestGenerator.Filter.KeyNameConstraint = &batchNames{[]string{p}}
		}
		jobs = append(jobs, "aws s3control create-job --account-id "+quote(account)+" --region "+quote(r.cfg.AWS.Region)+" --confirmation-required --priority 10"+
			" --role-arn arn:"+part+":iam::"+account+":role/ROLE --report Enabled=false --operation "+quote(jsonText(operation))+" --manifest-generator "+quote(jsonText(manifest)))
	}
	text := "change the encryption in place, with ROLE replaced by a role that S3 Batch Operations can assume, and that the bucket policy lets call s3:UpdateObjectEncryption (ReencryptionPrincipals of EncryptedBucket): " + strings.Join(jobs, " ; ")
	if copied {
		text += " ; " + copies
	}
	return text
}

func jsonText(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // texts and booleans
	return strings.TrimSpace(b.String())
}
