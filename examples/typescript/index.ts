import * as pulumi from "@pulumi/pulumi";
import * as baseline from "@securethecloud/kms-baseline";

const tags = { project: "cloud-kms-masterclass" };
const administrators = new pulumi.Config().getObject<string[]>("administrators");

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

// A second bucket under the same key.
const logs = new baseline.EncryptedBucket("ckms-logs", { kmsKeyArn: ckms.keyArn, tags });

export const keyArn: pulumi.Output<string> = ckms.keyArn;
export const bucketName = ckms.bucketName;
export const logsBucketName = logs.bucketName;
export const ebsEncryptionByDefault: pulumi.Output<boolean> = ckms.ebsEncryptionByDefault;
