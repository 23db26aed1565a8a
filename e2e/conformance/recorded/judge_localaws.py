"""A plugin of pytest that points LocalStack's tests at localaws.

The tests compare each answer with a recording of AWS. With TEST_TARGET=AWS_CLOUD they call
whatever AWS_ENDPOINT_URL names, except where they build a URL of amazonaws.com themselves:
those go to the same endpoint, with the bucket in the path.

Three things are left out of the comparison, because AWS itself no longer repeats them:
display names (AWS stopped returning them in November 2025), the checksum that S3 computes for
an upload without one (since December 2024, after the recording), and the ETag of an object
under KMS (random).
"""

import os

from localstack_snapshot.snapshots import SnapshotSession

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]


def pytest_collection_modifyitems(items):
    for module in {item.module for item in items}:
        if hasattr(module, "_endpoint_url"):
            module._endpoint_url = lambda *_, **__: ENDPOINT
        for name in ("_bucket_url", "_bucket_url_vhost"):
            if hasattr(module, name):
                setattr(module, name, lambda bucket_name, *_, **__: f"{ENDPOINT}/{bucket_name}")


def comparable(value):
    """value without what AWS no longer repeats."""
    if isinstance(value, list):
        return [comparable(v) for v in value]
    if not isinstance(value, dict):
        return value
    kms = value.get("ServerSideEncryption") == "aws:kms"
    computed = value.get("ChecksumAlgorithm") in ("CRC64NVME", ["CRC64NVME"])
    leave = {"DisplayName", "ChecksumCRC64NVME", "ChecksumType"}
    leave |= {"ETag"} if kms else set()
    leave |= {"ChecksumAlgorithm"} if computed else set()
    return {k: comparable(v) for k, v in value.items() if k not in leave}


transform, assert_all = SnapshotSession._transform, SnapshotSession._assert_all


def compare(session, *args, **kwargs):
    session.recorded_state = comparable(session.recorded_state)
    return assert_all(session, *args, **kwargs)


SnapshotSession._transform = lambda session, state: comparable(transform(session, state))
SnapshotSession._assert_all = compare
