package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// clients ask AWS, knowing nothing of Pulumi.
type clients struct {
	kms   *kms.Client
	s3    *s3.Client
	ec2   *ec2.Client
	trail *cloudtrail.Client
}

func newClients(ctx context.Context, server *localaws.Server) (*clients, error) {
	ca, err := os.Open(server.CAFile())
	if err != nil {
		return nil, err
	}
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithRegion(engine.Region), config.WithBaseEndpoint(server.URL()), config.WithCustomCABundle(ca),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(engine.AccountID, "sandbox", "")),
		config.WithSharedConfigFiles([]string{}), config.WithSharedCredentialsFiles([]string{}))
	if err := errors.Join(err, ca.Close()); err != nil {
		return nil, err
	}
	return &clients{
		kms:   kms.NewFromConfig(cfg),
		s3:    s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
		ec2:   ec2.NewFromConfig(cfg),
		trail: cloudtrail.NewFromConfig(cfg),
	}, nil
}

// evidence shows the course's commands and their answers.
func (d *demo) evidence(ctx context.Context) (string, error) {
	var wrong []string
	expect := func(ok bool, what string) {
		if !ok {
			wrong = append(wrong, what)
		}
	}
	described, err := d.look.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/masterclass-cmk")})
	if err != nil {
		return "", err
	}
	k := described.KeyMetadata
	d.show("aws kms describe-key --key-id alias/masterclass-cmk", map[string]any{"Arn": k.Arn, "KeyState": k.KeyState, "KeyManager": k.KeyManager})
	expect(*k.Arn == d.key && k.KeyState == kmstypes.KeyStateEnabled, "the alias does not lead to the stack's key")

	head, err := d.look.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &d.bucket, Key: aws.String("test/hello.txt")})
	if err != nil {
		return "", err
	}
	d.show("aws s3api head-object --bucket "+d.bucket+" --key test/hello.txt", map[string]any{
		"ServerSideEncryption": head.ServerSideEncryption, "SSEKMSKeyId": head.SSEKMSKeyId, "BucketKeyEnabled": head.BucketKeyEnabled})
	expect(head.SSEKMSKeyId != nil && *head.SSEKMSKeyId == d.key, "the object is not under the stack's key")

	enabled, key, err := d.ebs(ctx)
	if err != nil {
		return "", err
	}
	d.show("aws ec2 get-ebs-encryption-by-default; aws ec2 get-ebs-default-kms-key-id", map[string]any{"EbsEncryptionByDefault": enabled, "KmsKeyId": key})
	expect(enabled && key == d.key, "EBS does not encrypt by default under the stack's key")

	events, err := d.look.trail.LookupEvents(ctx, &cloudtrail.LookupEventsInput{LookupAttributes: []trailtypes.LookupAttribute{
		{AttributeKey: trailtypes.LookupAttributeKeyResourceName, AttributeValue: &d.key}}})
	if err != nil {
		return "", err
	}
	var lines []string
	used := false
	for _, e := range events.Events {
		if strings.HasPrefix(*e.EventName, "Get") || strings.HasPrefix(*e.EventName, "List") || strings.HasPrefix(*e.EventName, "Describe") {
			continue // the provider's looks
		}
		lines = append(lines, fmt.Sprintf("%s  %-22s %s", e.EventTime.UTC().Format("15:04:05"), *e.EventName, *e.Username))
		used = used || *e.EventName == "GenerateDataKey"
	}
	fmt.Fprintf(d.out, "$ aws cloudtrail lookup-events --lookup-attributes AttributeKey=ResourceName,AttributeValue=%s\n  (without the provider's Get, List and Describe)\n  %s\n", d.key, strings.Join(lines, "\n  "))
	expect(used, "the trail has no GenerateDataKey of the key")

	if err := d.envelope(); err != nil {
		return "", err
	}
	if wrong != nil {
		return "", errors.New(strings.Join(wrong, "; "))
	}
	return "key, object, EBS and trail all name the same key", nil
}

// envelope shows an object as it lies on the disk.
func (d *demo) envelope() error {
	e, err := d.aws.Envelope(d.bucket, "test/hello.txt")
	if err != nil {
		return err
	}
	header, err := json.Marshal(e.Header)
	if err != nil {
		return err
	}
	var fields map[string]any
	if err := json.Unmarshal(header, &fields); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "test/hello.txt (\"hello kms day1\") on the disk: the data key, encrypted under the KMS key,\n")
	for _, name := range []string{"kmsKeyArn", "wrappedDataKey", "encryptionContext"} {
		value, err := json.Marshal(fields[name])
		if err != nil {
			return err
		}
		if len(value) > 90 {
			value = append(value[:87], "..."...)
		}
		fmt.Fprintf(d.out, "  %-18s %s\n", name, value)
	}
	fmt.Fprintf(d.out, "and the ciphertext:\n  %s\n", strings.ReplaceAll(strings.TrimRight(hex.Dump(e.Ciphertext), "\n"), "\n", "\n  "))
	if strings.Contains(string(e.Ciphertext), "hello") || strings.Contains(string(e.Ciphertext), base64.StdEncoding.EncodeToString([]byte("hello"))) {
		return errors.New("the object lies on the disk in the clear")
	}
	return nil
}

func (d *demo) show(command string, answer map[string]any) {
	fmt.Fprintf(d.out, "$ %s\n", command)
	for _, name := range slices.Sorted(maps.Keys(answer)) {
		value, err := json.Marshal(answer[name])
		if err != nil {
			value = []byte(err.Error())
		}
		fmt.Fprintf(d.out, "  %-23s %s\n", name, value)
	}
}

func (d *demo) ebs(ctx context.Context) (enabled bool, key string, err error) {
	e, err := d.look.ec2.GetEbsEncryptionByDefault(ctx, nil)
	if err != nil {
		return false, "", err
	}
	k, err := d.look.ec2.GetEbsDefaultKmsKeyId(ctx, nil)
	if err != nil {
		return false, "", err
	}
	return *e.EbsEncryptionByDefault, *k.KmsKeyId, nil
}

// leftovers looks at what destroy has left.
func (d *demo) leftovers(ctx context.Context) (string, error) {
	enabled, key, err := d.ebs(ctx)
	if err != nil {
		return "", err
	}
	described, err := d.look.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &d.key})
	if err != nil {
		return "", err
	}
	buckets, err := d.look.s3.ListBuckets(ctx, nil)
	if err != nil {
		return "", err
	}
	state := described.KeyMetadata.KeyState
	fmt.Fprintf(d.out, "  buckets:                   %d\n  EBS encryption by default: %t, under %s\n  the key:                   %s", len(buckets.Buckets), enabled, key, state)
	if date := described.KeyMetadata.DeletionDate; date != nil {
		fmt.Fprintf(d.out, " (until %s, aws kms cancel-key-deletion keeps it)", date.UTC().Format("2006-01-02"))
	}
	fmt.Fprintln(d.out)
	switch {
	case len(buckets.Buckets) > 0:
		return "", errors.New("a bucket is left")
	case !enabled:
		return "", errors.New("EBS encryption by default was switched off")
	case key == d.key:
		return "", errors.New("the default EBS key still is the key that is pending deletion")
	case state != kmstypes.KeyStatePendingDeletion:
		return "", fmt.Errorf("the key is in state %s", state)
	}
	return "no bucket, EBS still encrypts, the deletion of the key can be canceled for 30 days", nil
}
