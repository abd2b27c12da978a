"""Compares how a bucket is set with how it should be, and sets it: `heaters storage setup` and `heaters doctor`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from heaters_dagster.domain.bucket_rules import BLOCKED, Transition, cors_rules, lifecycle_rules, merged_cors, merged_lifecycle
from heaters_dagster.domain.errors import SettingsError, StoreRefusedError
from heaters_dagster.domain.keys import CHECKS_PREFIX
from heaters_dagster.domain.words import counted
from heaters_dagster.settings import Settings
from resources.object_store.s3_client import s3_client
from resources.object_store.s3_errors import DENIED, error_code, store_errors

_NOT_KNOWN = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405", "UnsupportedOperation"})


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that a bucket should have. told: how it is set. wanted: what will be changed; empty when nothing has to be.

    is_known: False where the server does not know such a thing, or these credentials may not look.
    """

    what: str
    told: str
    wanted: str = ""
    is_known: bool = True
    change: Callable[[], object] | None = None


class BucketSetup:
    """The bucket of the settings. Everything can be done twice; what others have set stays, where it is not in the way."""

    def __init__(self, settings: Settings) -> None:
        if settings.object_bucket is None:
            name = "S3_PROD_BUCKET_NAME" if settings.production else "S3_DEV_BUCKET_NAME"
            raise SettingsError(f"there is no bucket: objects lie in {settings.objects_folder}. Name a bucket in {name} or S3_BUCKET_NAME")
        self.bucket = settings.object_bucket
        self._settings = settings
        self._client = s3_client(self.bucket, settings.s3_endpoint_url, 3)

    def parts(self) -> list[Part]:
        """How the bucket is set. Raises StoreRefusedError, StoreUnavailableError."""
        there = self._bucket()
        looks = [self._public_access, self._cors, self._lifecycle]
        if self._settings.s3_kms_key:
            looks.append(self._encryption)
        if self._settings.s3_tags:
            looks.append(self._tags)
        return [there, *(look(bool(there.wanted)) for look in looks)]

    def missing_rights(self) -> list[str]:
        """The calls of a working Heaters that these credentials may not make, as far as a call can be tried that changes nothing."""
        key = f"{CHECKS_PREFIX}/check-{secrets.token_hex(6)}"
        upload: dict[str, str] = {}

        def begin() -> None:
            upload["UploadId"] = self._client.create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"]

        tries: dict[str, Callable[[], object]] = {
            "ListObjectsV2": lambda: self._client.list_objects_v2(Bucket=self.bucket, MaxKeys=1),
            "ListMultipartUploads": lambda: self._client.list_multipart_uploads(Bucket=self.bucket, MaxUploads=1),
            "CreateMultipartUpload": begin,
            "ListParts": lambda: upload and self._client.list_parts(Bucket=self.bucket, Key=key, **upload),
            "AbortMultipartUpload": lambda: upload and self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, **upload),
        }
        return [name for name, call in tries.items() if self._is_denied(call)]

    def _is_denied(self, call: Callable[[], object]) -> bool:
        from botocore.exceptions import ClientError

        with store_errors(self.bucket, ""):
            try:
                call()
            except ClientError as error:
                if error_code(error) in DENIED:
                    return True
                raise
        return False

    def _bucket(self) -> Part:
        from botocore.exceptions import ClientError

        region = str(self._client.meta.region_name)
        try:
            with store_errors(self.bucket, ""):
                try:
                    self._client.list_objects_v2(Bucket=self.bucket, MaxKeys=1)
                except ClientError as error:
                    if error_code(error) != "NoSuchBucket":
                        raise
                    return Part("bucket", f"there is no bucket {self.bucket}", f"is made in {region}", change=lambda: self._make(region))
        except StoreRefusedError as error:
            raise StoreRefusedError(f"{error}. The bucket {self.bucket} may also belong to somebody else") from error
        return Part("bucket", f"{self.bucket} is there")

    def _make(self, region: str) -> None:
        place = {} if region in {"us-east-1", "aws-global", "None"} else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        self._client.create_bucket(Bucket=self.bucket, **place)

    def _public_access(self, is_new: bool) -> Part:
        found, part = self._read("public access", is_new, self._client.get_public_access_block, "NoSuchPublicAccessBlockConfiguration")
        if part is not None:
            return part
        if found.get("PublicAccessBlockConfiguration") == BLOCKED:
            return Part("public access", "is blocked")
        return Part(
            "public access",
            "is not blocked in every way",
            "is blocked in all four ways: nobody can make objects public by mistake",
            change=lambda: self._client.put_public_access_block(Bucket=self.bucket, PublicAccessBlockConfiguration=BLOCKED),
        )

    def _cors(self, is_new: bool) -> Part:
        found, part = self._read("browsers (CORS)", is_new, self._client.get_bucket_cors, "NoSuchCORSConfiguration")
        if part is not None:
            return part
        origins = self._settings.browser_origins
        rules = merged_cors(found.get("CORSRules", ()), cors_rules(*origins))
        pages = " and ".join(origins)
        if rules is None:
            return Part("browsers (CORS)", f"pages at {pages} may read")
        return Part(
            "browsers (CORS)",
            f"pages at {pages} may not all read",
            f"they may read{_beside(len(rules) - 1)}",
            change=lambda: self._client.put_bucket_cors(Bucket=self.bucket, CORSConfiguration={"CORSRules": rules}),
        )

    def _lifecycle(self, is_new: bool) -> Part:
        found, part = self._read("lifecycle", is_new, self._client.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration")
        if part is not None:
            return part
        wanted = lifecycle_rules(map(Transition.parsed, self._settings.s3_transitions))
        rules = merged_lifecycle(found.get("Rules", ()), wanted)
        told = f"uploads that are not completed and temporary objects are removed, {_moves(self._settings.s3_transitions)}"
        if rules is None:
            return Part("lifecycle", told)
        kept = {name: found[name] for name in ("TransitionDefaultMinimumObjectSize",) if name in found}
        return Part(
            "lifecycle",
            "its rules are missing or other ones",
            f"{told}{_beside(len(rules) - len(wanted))}",
            change=lambda: self._client.put_bucket_lifecycle_configuration(
                Bucket=self.bucket, LifecycleConfiguration={"Rules": rules}, **kept
            ),
        )

    def _encryption(self, is_new: bool) -> Part:
        found, part = self._read("encryption", is_new, self._client.get_bucket_encryption, "ServerSideEncryptionConfigurationNotFoundError")
        if part is not None:
            return part
        key = self._settings.s3_kms_key
        wanted = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
        rules = found.get("ServerSideEncryptionConfiguration", {}).get("Rules", ())
        if any(rule.get("ApplyServerSideEncryptionByDefault") == wanted for rule in rules):
            return Part("encryption", f"new objects are encrypted with {key}")
        rule = {"ApplyServerSideEncryptionByDefault": wanted, "BucketKeyEnabled": True}
        return Part(
            "encryption",
            f"new objects are not all encrypted with {key}",
            f"they are encrypted with {key}; objects that are there stay as they are",
            change=lambda: self._client.put_bucket_encryption(Bucket=self.bucket, ServerSideEncryptionConfiguration={"Rules": [rule]}),
        )

    def _tags(self, is_new: bool) -> Part:
        found, part = self._read("tags", is_new, self._client.get_bucket_tagging, "NoSuchTagSet")
        if part is not None:
            return part
        there = {tag["Key"]: tag["Value"] for tag in found.get("TagSet", ())}
        wanted = self._settings.object_tags
        named = ", ".join(f"{name}={value}" for name, value in wanted.items())
        if wanted.items() <= there.items():
            return Part("tags", f"the bucket has {named}")
        tags = [{"Key": name, "Value": value} for name, value in (there | wanted).items()]
        return Part(
            "tags",
            f"the bucket does not have {named}",
            f"it has {named}{_beside(len(tags) - len(wanted), 'tag')}",
            change=lambda: self._client.put_bucket_tagging(Bucket=self.bucket, Tagging={"TagSet": tags}),
        )

    def _read(self, what: str, is_new: bool, call: Callable[..., Mapping[str, Any]], none: str) -> tuple[Mapping[str, Any], Part | None]:
        """(What the bucket has, empty for nothing; the part to show instead, where that cannot be known)."""
        from botocore.exceptions import ClientError

        if is_new:
            return {}, None
        with store_errors(self.bucket, ""):
            try:
                return call(Bucket=self.bucket), None
            except ClientError as error:
                code = error_code(error)
                if code == none:
                    return {}, None
                if code in _NOT_KNOWN:
                    return {}, Part(what, "this server does not know such a thing", is_known=False)
                if code in DENIED:
                    return {}, Part(what, "these credentials may not look at it", is_known=False)
                raise


def _moves(transitions: tuple[str, ...]) -> str:
    parsed = [Transition.parsed(one) for one in transitions]
    return (
        ", ".join(f"{one.prefix} move to {one.storage_class} after {counted(one.days, 'day')}" for one in parsed)
        or "nothing moves to other classes"
    )


def _beside(count: int, what: str = "rule") -> str:
    if count <= 0:
        return ""
    return f"; {count} {what}{'s' if count > 1 else ''} of others stay{'s' if count == 1 else ''}"
