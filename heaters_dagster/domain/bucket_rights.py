"""The rights that Heaters needs in a bucket: an IAM policy that allows every call that it makes, and no other.

Source: the service authorization reference of Amazon S3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from heaters_dagster.domain.keys import BACKUPS_PREFIX, own_prefixes

#: Call of S3's interface -> the actions of IAM that allow it.
PRODUCT_CALLS: Mapping[str, tuple[str, ...]] = {
    "AbortMultipartUpload": ("s3:AbortMultipartUpload",),
    "CompleteMultipartUpload": ("s3:PutObject",),
    "CopyObject": ("s3:GetObject", "s3:PutObject", "s3:GetObjectTagging", "s3:PutObjectTagging"),
    "CreateMultipartUpload": ("s3:PutObject",),
    "DeleteObject": ("s3:DeleteObject",),
    "DeleteObjects": ("s3:DeleteObject",),
    "GetBucketCors": ("s3:GetBucketCORS",),
    "GetBucketEncryption": ("s3:GetEncryptionConfiguration",),
    "GetBucketLifecycleConfiguration": ("s3:GetLifecycleConfiguration",),
    "GetBucketTagging": ("s3:GetBucketTagging",),
    "GetObject": ("s3:GetObject",),
    "GetPublicAccessBlock": ("s3:GetBucketPublicAccessBlock",),
    "HeadObject": ("s3:GetObject", "s3:ListBucket"),  # without the second a missing object is answered as a refusal
    "ListMultipartUploads": ("s3:ListBucketMultipartUploads",),
    "ListObjects": ("s3:ListBucket",),
    "ListObjectsV2": ("s3:ListBucket",),
    "ListParts": ("s3:ListMultipartUploadParts",),
    "PutObject": ("s3:PutObject",),
    "RestoreObject": ("s3:RestoreObject",),
    "UploadPart": ("s3:PutObject",),
    "UploadPartCopy": ("s3:GetObject", "s3:PutObject"),
}
#: The calls of `heaters storage setup`, for somebody who may set up buckets.
SETUP_CALLS: Mapping[str, tuple[str, ...]] = {
    "CreateBucket": ("s3:CreateBucket",),
    "PutBucketCors": ("s3:PutBucketCORS",),
    "PutBucketEncryption": ("s3:PutEncryptionConfiguration",),
    "PutBucketLifecycleConfiguration": ("s3:PutLifecycleConfiguration",),
    "PutBucketTagging": ("s3:PutBucketTagging",),
    "PutPublicAccessBlock": ("s3:PutBucketPublicAccessBlock",),
}
#: Calls that move a file of a watched place; they are never made in the bucket of Heaters.
_MOVES = ("CopyObject", "UploadPartCopy")
#: Calls that make, list, read and thin out backups in a bucket of their own.
_KEEPS = (
    "AbortMultipartUpload", "CompleteMultipartUpload", "CreateMultipartUpload", "DeleteObject", "GetObject", "HeadObject",
    "ListMultipartUploads", "ListObjectsV2", "ListParts", "PutObject", "UploadPart",
)  # fmt: skip
_OF_OBJECTS = frozenset(
    {
        "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:GetObjectTagging", "s3:ListMultipartUploadParts", "s3:PutObject",
        "s3:PutObjectTagging", "s3:RestoreObject",
    }
)  # fmt: skip


def least_policy(
    bucket: str,
    *,
    kms_key: str | None = None,
    has_tags: bool = False,
    read_places: Iterable[str] = (),
    moved_places: Iterable[str] = (),
    backups: str | None = None,
    setup: bool = False,
) -> dict[str, Any]:
    """An IAM policy for the credentials that Heaters runs with.

    read_places: other `s3://bucket/prefix` from which videos are taken. moved_places: those of them where taken files are moved. backups:
    another `s3://bucket/prefix` where backups are kept. setup: the policy for `heaters storage setup` instead.
    """
    calls = {**SETUP_CALLS, **{name: PRODUCT_CALLS[name] for name in _LOOKS}} if setup else PRODUCT_CALLS
    actions = {action for name, allowed in calls.items() if name not in _MOVES for action in allowed}
    if has_tags and not setup:
        actions.add("s3:PutObjectTagging")
    statements = [_statement("HeatersBucket", actions - _OF_OBJECTS, [_arn(bucket)])]
    if objects := actions & _OF_OBJECTS:
        statements.append(_statement("HeatersObjects", objects, [f"{_arn(bucket)}/{prefix}*" for prefix in own_prefixes()]))
    if kms_key is not None and not setup:
        statements.append(_key_statement(kms_key))
    if setup:
        return _policy(statements)
    if backups is not None:
        source, prefix = _parts(backups)
        kept = {action for name in _KEEPS for action in PRODUCT_CALLS[name]} | ({"s3:PutObjectTagging"} if has_tags else set())
        statements.append(_statement("HeatersBackups", kept - _OF_OBJECTS, [_arn(source)]))
        folder = f"{_arn(source)}/{prefix.strip('/')}".rstrip("/")
        statements.append(_statement("HeatersBackupsObjects", kept & _OF_OBJECTS, [f"{folder}/{BACKUPS_PREFIX}/*"]))
    moved = set(moved_places)
    for number, place in enumerate(sorted({*read_places, *moved}), 1):
        source, prefix = _parts(place)
        there = {"s3:GetObject"}
        if place in moved:
            there |= {action for name in _MOVES for action in PRODUCT_CALLS[name]} | {"s3:DeleteObject", "s3:AbortMultipartUpload"}
        statements.append(_statement(f"HeatersPlace{number}", {"s3:ListBucket"}, [_arn(source)]))
        statements.append(_statement(f"HeatersPlace{number}Objects", there, [f"{_arn(source)}/{prefix}*"]))
    return _policy(statements)


#: The calls with which setup and doctor look.
_LOOKS = (
    "GetBucketCors",
    "GetBucketEncryption",
    "GetBucketLifecycleConfiguration",
    "GetBucketTagging",
    "GetPublicAccessBlock",
    "ListObjectsV2",
)


def _parts(place: str) -> tuple[str, str]:
    """Bucket and prefix."""
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    return bucket, prefix


def _policy(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(name: str, actions: Iterable[str], resources: list[str]) -> dict[str, Any]:
    return {"Sid": name, "Effect": "Allow", "Action": sorted(actions), "Resource": resources}


def _key_statement(key: str) -> dict[str, Any]:
    statement = _statement("HeatersKey", {"kms:Decrypt", "kms:GenerateDataKey"}, [key])
    if key.startswith("alias/") or ":alias/" in key:  # a policy cannot name an alias as a resource
        alias = key[key.index("alias/") :]
        return statement | {"Resource": ["*"], "Condition": {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}}
    return statement if key.startswith("arn:") else statement | {"Resource": [f"arn:aws:kms:*:*:key/{key}"]}


def _arn(bucket: str) -> str:
    return f"arn:aws:s3:::{bucket}"
