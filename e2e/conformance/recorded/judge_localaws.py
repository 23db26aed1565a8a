"""A plugin of pytest that points LocalStack's tests at localaws.

The tests compare each answer with a recording of AWS. With TEST_TARGET=AWS_CLOUD they call
whatever AWS_ENDPOINT_URL names, except where they build a URL of amazonaws.com themselves:
those go to the same endpoint, with the bucket in the path.

Left out of the comparison is what AWS itself no longer repeats: display names (AWS stopped
returning them in November 2025), the checksum that S3 computes for an upload without one
(since December 2024, after the recording), the TransitionDefaultMinimumObjectSize of lifecycle
rules (since September 2024, likewise), an empty ContentEncoding (S3 does not keep one
since November 2024: https://github.com/aws/aws-sdk-kotlin/issues/1358), the ETag of an object
under KMS or a customer's key (random), and the words that S3 has added to two messages
"Access Denied" since.

The tests of SSE-C are older than the block of SSE-C that every bucket has since April 2026:
their buckets are made without it.
"""

import os

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from botocore.session import Session
from localstack_snapshot.snapshots import SnapshotSession

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]

CUSTOMER_KEYS = "TestS3SSECEncryption"  # the class of these tests

DENIED = (
    "Access Denied because object protected by object lock.",
    "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.",
)

WITHOUT_BLOCK = """<ServerSideEncryptionConfiguration><Rule>
<ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault>
<BlockedEncryptionTypes><EncryptionType>NONE</EncryptionType></BlockedEncryptionTypes>
</Rule></ServerSideEncryptionConfiguration>"""


@pytest.fixture(autouse=True)
def allow_customer_keys(request):
    """The SDK of these tests is older than the block and cannot lift it."""
    if not request.cls or request.cls.__name__ != CUSTOMER_KEYS:
        return
    bucket = request.getfixturevalue("s3_bucket")
    call = AWSRequest("PUT", f"{ENDPOINT}/{bucket}?encryption", data=WITHOUT_BLOCK)
    session = Session()
    region = session.get_config_variable("region") or "us-east-1"
    S3SigV4Auth(session.get_credentials(), "s3", region).add_auth(call)
    answer = URLLib3Session(os.environ["AWS_CA_BUNDLE"]).send(call.prepare())
    assert answer.status_code == 200, answer.text


def pytest_collection_modifyitems(items):
    for module in {item.module for item in items}:
        if hasattr(module, "_endpoint_url"):
            module._endpoint_url = lambda *_, **__: ENDPOINT
        for name in ("_bucket_url", "_bucket_url_vhost"):
            if hasattr(module, name):
                setattr(module, name, lambda bucket_name, *_, **__: f"{ENDPOINT}/{bucket_name}")


def comparable(value, customer_keys):
    """value without what AWS no longer repeats."""
    if isinstance(value, list):
        return [comparable(v, customer_keys) for v in value]
    if not isinstance(value, dict):
        return value
    opaque = value.get("ServerSideEncryption") == "aws:kms" or customer_keys
    computed = value.get("ChecksumAlgorithm") in ("CRC64NVME", ["CRC64NVME"])
    leave = {"DisplayName", "ChecksumCRC64NVME", "ChecksumType", "TransitionDefaultMinimumObjectSize"}
    leave |= {"x-amz-checksum-crc64nvme", "x-amz-checksum-type"}
    leave |= {"ETag"} if opaque else set()
    if opaque and "CopyObjectResult" in value:
        value = value | {"CopyObjectResult": {k: v for k, v in value["CopyObjectResult"].items() if k != "ETag"}}
    leave |= {"ChecksumAlgorithm"} if computed else set()
    leave |= {"ContentEncoding"} if value.get("ContentEncoding") == "" else set()
    leave |= {"Checksum"} if value.get("Checksum") == {} else set()  # the SDK does not know CRC64NVME
    denied = value.get("Code") == "AccessDenied" and value.get("Message") in DENIED
    return {k: comparable(v, customer_keys) for k, v in (value | {"Message": "Access Denied"} if denied else value).items() if k not in leave}


transform, assert_all = SnapshotSession._transform, SnapshotSession._assert_all


def compare(session, *args, **kwargs):
    session.recorded_state = comparable(session.recorded_state, CUSTOMER_KEYS in session.scope_key)
    return assert_all(session, *args, **kwargs)


SnapshotSession._transform = lambda session, state: comparable(transform(session, state), CUSTOMER_KEYS in session.scope_key)
SnapshotSession._assert_all = compare
