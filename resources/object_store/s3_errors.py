"""What S3 and boto3 raise, as errors of Heaters: in words, and told apart into what may pass by itself and what must be mended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from heaters_dagster.domain.audit import remedy
from heaters_dagster.domain.errors import (
    ColdStorageError,
    DownloadError,
    ObjectNotFoundError,
    PermanentError,
    StoreRefusedError,
    StoreUnavailableError,
)
from heaters_dagster.domain.reasons import without_objects
from resources.object_store.object_parts import REPLACED

MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_UNAVAILABLE = frozenset(
    {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "RequestLimitExceeded", "Throttling", "ThrottlingException",
     "TooManyRequestsException", "OperationAborted", "NoSuchUpload", "BadDigest", "XAmzContentSHA256Mismatch"}
)  # fmt: skip
DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "Forbidden"})
_REGION = frozenset({"301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})
_SIGN_IN = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"})


def error_code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def head_of(client: Any, bucket: str, key: str, **options: str) -> Mapping[str, Any] | None:
    """What the server says of an object; None when there is none. Raises boto3's errors."""
    from botocore.exceptions import ClientError

    try:
        head: Mapping[str, Any] = client.head_object(Bucket=bucket, Key=key, **options)
    except ClientError as error:
        if error_code(error) in MISSING:
            return None
        raise
    return head


def _was_replaced(name: str) -> DownloadError:
    return DownloadError(f"{name} was replaced while it was read; nothing of it was kept. Try again when it is complete")


@contextmanager
def store_errors(bucket: str, key: str) -> Iterator[None]:
    """Turns boto3's errors into ours, with the name of the object."""
    from botocore import exceptions as boto
    from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError

    name = f"s3://{bucket}/{key}"
    try:
        yield
    except boto.ClientError as error:
        code, status = error_code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        message = error.response.get("Error", {}).get("Message") or code
        if code in MISSING:
            raise ObjectNotFoundError(f"no object {key} in s3://{bucket}{remedy(key)}") from error
        if code in REPLACED:
            raise _was_replaced(name) from error
        if code == "InvalidObjectState":
            raise ColdStorageError(
                f"{name} is in cold storage: request it back with"
                f" `aws s3api restore-object --bucket {bucket} --key {key} --restore-request Days=7`, wait some hours, and try again"
            ) from error
        if code == "NoSuchBucket":
            raise StoreRefusedError(
                f"there is no bucket {bucket}: correct S3_BUCKET_NAME, or make the bucket: heaters storage setup"
            ) from error
        if code in DENIED:
            raise StoreRefusedError(
                f"{name}: access denied. Give these credentials the right to read, write and delete in this bucket"
            ) from error
        if code in _SIGN_IN:
            raise StoreRefusedError(f"{name}: the server does not accept the credentials ({code}). Renew them") from error
        if code == "RequestTimeTooSkewed":
            raise StoreUnavailableError(
                f"{name}: the clock of this machine differs too much from the server's. Set it, for example by timedatectl set-ntp true",
                bucket=bucket,
            ) from error
        if code in _REGION:
            raise StoreRefusedError(
                f"s3://{bucket} is in another region ({code}): name it in AWS_DEFAULT_REGION, as the bucket's properties show it"
            ) from error
        if code in _UNAVAILABLE or status >= 500:
            raise StoreUnavailableError(f"{name}: the store has a problem at the moment: {message}", bucket=bucket) from error
        if code == "400":  # the answer to a question about an object has no body that says more
            raise StoreRefusedError(
                f"{name}: the server refuses without a reason (400). The credentials may have expired: renew them; "
                "or the clock of this machine may be wrong"
            ) from error
        raise PermanentError(f"{name}: the store refuses: {message} ({code})") from error
    except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.ProfileNotFound, boto.CredentialRetrievalError) as error:
        raise StoreRefusedError(
            f"s3://{bucket}: there are no usable credentials ({error}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except boto.FlexibleChecksumError as error:
        told = f"{name}: other bytes arrived than are stored. Nothing of them is used; try again"
        raise StoreUnavailableError(told, bucket=bucket) from error
    except (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, RetriesExceededError) as error:
        raise StoreUnavailableError(f"{name}: the store cannot be reached: {without_objects(str(error))}", bucket=bucket) from error
    except S3DownloadFailedError as error:  # its parts are requested by the tag of its bytes
        raise _was_replaced(name) from error
    except (boto.BotoCoreError, ValueError) as error:
        if isinstance(error, boto.BotoCoreError) or "endpoint" in str(error).lower():
            raise StoreRefusedError(f"s3://{bucket} cannot be used: {without_objects(str(error))}") from error
        raise
