import pulumi
import securethecloud_kms_baseline as baseline

tags = {"project": "cloud-kms-masterclass"}
administrators: list[str] | None = pulumi.Config().get_object("administrators")

ckms = baseline.EncryptionBaseline(
    "ckms",
    key={
        "args": {
            "alias_name": "alias/masterclass-cmk",
            "description": "Masterclass Day1 CMK",
            "rotation_period_in_days": 365,
            "administrators": administrators,
            # A trail may encrypt its log under the key.
            "services": ["cloudtrail.amazonaws.com"],
        },
    },
    bucket={"args": {"bucket_prefix": "ckms-"}},
    tags=tags,
)

# A second bucket under the same key.
logs = baseline.EncryptedBucket("ckms-logs", kms_key_arn=ckms.key_arn, tags=tags)

pulumi.export("keyArn", ckms.key_arn)
pulumi.export("bucketName", ckms.bucket_name)
pulumi.export("logsBucketName", logs.bucket_name)
pulumi.export("ebsEncryptionByDefault", ckms.ebs_encryption_by_default)
