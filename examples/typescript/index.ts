import * as pulumi from "@pulumi/pulumi";
import * as baseline from "@securethecloud/kms-baseline";

const tags = { project: "cloud-kms-masterclass" };
const config = new pulumi.Config();
const administrators = config.getObject<string[]>("administrators");
const roleArn = config.get("replicationRoleArn");

const ckms = new baseline.EncryptionBaseline("ckms", {
    key: {
        args: {
            aliasName: "alias/masterclass-cmk",
            description: "Masterclass Day1 CMK",
            rotationPeriodInDays: 365,
            administrators,
            // A trail may encrypt its log under the key.
            services: ["cloudtrail.amazonaws.com"],
        },
    },
    bucket: { args: { bucketPrefix: "ckms-" } },
    tags,
});

// A second bucket under the same key, and a third for its replicas if there is a
// role that S3 replicates with. replicationPolicy is all that the role may do.
const replicas =
    roleArn === undefined
        ? undefined
        : new baseline.EncryptedBucket("ckms-replicas", { kmsKeyArn: ckms.keyArn, reencryptionPrincipals: [roleArn], tags });
const logs = new baseline.EncryptedBucket("ckms-logs", {
    kmsKeyArn: ckms.keyArn,
    replication:
        roleArn && replicas
            ? { roleArn, destinationBucketArn: replicas.bucketArn, replicaKmsKeyArn: replicas.kmsKeyArn }
            : undefined,
    tags,
});

export const keyArn: pulumi.Output<string> = ckms.keyArn;
export const bucketName = ckms.bucketName;
export const logsBucketName = logs.bucketName;
export const replicationPolicy = logs.replicationPolicy;
export const ebsEncryptionByDefault: pulumi.Output<boolean> = ckms.ebsEncryptionByDefault;
