package baseline;

import com.pulumi.Context;
import com.pulumi.Pulumi;
import com.pulumi.core.TypeShape;
import com.securethecloud.kmsbaseline.EncryptedBucket;
import com.securethecloud.kmsbaseline.EncryptedBucketArgs;
import com.securethecloud.kmsbaseline.EncryptionBaseline;
import com.securethecloud.kmsbaseline.EncryptionBaselineArgs;
import com.securethecloud.kmsbaseline.inputs.BaselineBucketArgs;
import com.securethecloud.kmsbaseline.inputs.BaselineKeyArgs;
import com.securethecloud.kmsbaseline.inputs.CustomerKeySettingsArgs;
import com.securethecloud.kmsbaseline.inputs.EncryptedBucketSettingsArgs;
import com.securethecloud.kmsbaseline.inputs.ReplicationArgs;
import java.util.List;
import java.util.Map;
import java.util.Optional;

public final class App {
    public static void main(String[] args) {
        Pulumi.run(App::stack);
    }

    static void stack(Context ctx) {
        var tags = Map.of("project", "cloud-kms-masterclass");
        var key = CustomerKeySettingsArgs.builder()
                .aliasName("alias/masterclass-cmk")
                .description("Masterclass Day1 CMK")
                .rotationPeriodInDays(365)
                // A trail may encrypt its log under the key.
                .services("cloudtrail.amazonaws.com");
        Optional<List<String>> administrators = ctx.config().getObject("administrators", TypeShape.list(String.class));
        administrators.ifPresent(key::administrators);

        var ckms = new EncryptionBaseline("ckms", EncryptionBaselineArgs.builder()
                .key(BaselineKeyArgs.builder().args(key.build()).build())
                .bucket(BaselineBucketArgs.builder()
                        .args(EncryptedBucketSettingsArgs.builder().bucketPrefix("ckms-").build())
                        .build())
                .tags(tags)
                .build());

        // A second bucket under the same key, and a third for its replicas if there is a
        // role that S3 replicates with. replicationPolicy is all that the role may do.
        var logsArgs = EncryptedBucketArgs.builder().kmsKeyArn(ckms.keyArn()).tags(tags);
        ctx.config().get("replicationRoleArn").ifPresent(roleArn -> {
            var replicas = new EncryptedBucket("ckms-replicas", EncryptedBucketArgs.builder()
                    .kmsKeyArn(ckms.keyArn())
                    .reencryptionPrincipals(roleArn)
                    .tags(tags)
                    .build());
            logsArgs.replication(ReplicationArgs.builder()
                    .roleArn(roleArn)
                    .destinationBucketArn(replicas.bucketArn())
                    .replicaKmsKeyArn(replicas.kmsKeyArn())
                    .build());
        });
        var logs = new EncryptedBucket("ckms-logs", logsArgs.build());

        ctx.export("keyArn", ckms.keyArn());
        ctx.export("bucketName", ckms.bucketName());
        ctx.export("logsBucketName", logs.bucketName());
        ctx.export("replicationPolicy", logs.replicationPolicy());
        ctx.export("ebsEncryptionByDefault", ckms.ebsEncryptionByDefault());
    }
}
