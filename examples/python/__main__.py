import pulumi
import securethecloud_kms_baseline as baseline

tags = {"project": "cloud-kms-masterclass"}
config = pulumi.Config()
administrators: list[str] | None = config.get_object("administrators")
role_arn = config.get("replicationRoleArn")

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

# A second bucket under the same key, and a third for its replicas if there is a
# role that S3 replicates with. replicationPolicy is all that the role may do.
replication: baseline.ReplicationArgsDict | None = None
if role_arn is not None:
    replicas = baseline.EncryptedBucket(
        "ckms-replicas", kms_key_arn=ckms.key_arn, reencryption_principals=[role_arn], tags=tags
    )
    replication = {
        "role_arn": role_arn,
        "destination_bucket_arn": replicas.bucket_arn,
        "replica_kms_key_arn": replicas.kms_key_arn,
    }
logs = baseline.EncryptedBucket("ckms-logs", kms_key_arn=ckms.key_arn, replication=replication, tags=tags)

pulumi.export("keyArn", ckms.key_arn)
pulumi.export("bucketName", ckms.bucket_name)
pulumi.export("logsBucketName", logs.bucket_name)
pulumi.export("replicationPolicy", logs.replication_policy)
pulumi.export("ebsEncryptionByDefault", ckms.ebs_encryption_by_default)
