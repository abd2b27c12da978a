"""Writes to a bucket that hold only while nobody else has written the object meanwhile, for runs.

The fence is asked before each request (`s3_client.py`), but a process may stand still between the fence and the request, for longer
than its lease. Another one then does the work, and the request of the first must not write over it. So each such request names what it
expects: no object (`If-None-Match: *`), or the one whose tag was read before the fence was asked (`If-Match`). S3 refuses when it is
otherwise (412).

Source: Amazon S3 User Guide, "Prevent object overwrites with conditional writes", and "Conditional deletes".
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from heaters_dagster.domain.errors import StoreUnavailableError
from heaters_dagster.domain.keys import CHECKS_PREFIX
from resources.files import run_fence
from resources.object_store.interface import CHECKED, ObjectStore
from resources.object_store.s3_errors import MISSING, error_code, head_of, store_errors

#: The object is otherwise than was expected; another request for it was under way.
_OTHERWISE = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
#: Others may write again and again; who has lost its run is told at the first.
_TRIES = 5

ABSENT: Mapping[str, str] = {"IfNoneMatch": "*"}


@dataclass(slots=True)
class Conditions:
    """Of one bucket. are_known: False once the server has said that it knows no conditions; then there are none."""

    client: Any
    bucket: str
    are_known: bool = True

    @property
    def are_wanted(self) -> bool:
        return self.are_known and run_fence.is_up()

    def write(
        self, key: str, send: Callable[[Mapping[str, str]], None], *, is_ours: Callable[[], bool], expected: Mapping[str, str] = ABSENT
    ) -> None:
        """Store an object. send: makes the request, with these arguments besides its own.

        is_ours: whether the object is what `send` sends: the answer to an earlier request may have been lost. expected: of the first
        request; the later ones expect what is there. Raises RunTakenAwayError when the run was given to another process.
        """
        from botocore.exceptions import ClientError

        if not self.are_wanted:
            send({})
            return
        for _ in range(_TRIES):
            try:
                send(expected)
                return
            except ClientError as error:
                if _is_unknown(error):
                    self.are_known = False
                    send({})
                    return
                if not _is_refused(error, expected):
                    raise
            run_fence.check_fence(anew=True)
            if is_ours():
                return
            expected = self.of_now(key)
        told = f"s3://{self.bucket}/{key}: others write it at the same time. Nothing of this try is used; it is made again"
        raise StoreUnavailableError(told, bucket=self.bucket)

    def delete(self, key: str) -> bool:
        """Delete an object; False when there is none."""
        from botocore.exceptions import ClientError

        for _ in range(_TRIES):
            expected = self.of_now(key)
            if expected == ABSENT:
                return False
            try:
                self.client.delete_object(Bucket=self.bucket, Key=key, **(expected if self.are_wanted else {}))
                return True
            except ClientError as error:
                if _is_unknown(error):
                    self.are_known = False
                elif not _is_refused(error, expected):
                    raise
                else:
                    run_fence.check_fence(anew=True)
        raise StoreUnavailableError(f"s3://{self.bucket}/{key} could not be deleted: others write it at the same time", bucket=self.bucket)

    def of_now(self, key: str) -> Mapping[str, str]:
        """The condition that the object is as it is now. Ask for it before the fence is asked."""
        head = head_of(self.client, self.bucket, key)
        return ABSENT if head is None else {"IfMatch": head["ETag"]}


def condition_problem(objects: ObjectStore) -> str | None:
    """Why a process that stood still could overwrite what another one has made; None when the bucket refuses it, or there is none."""
    from botocore.exceptions import ClientError

    from resources.object_store.s3 import S3ObjectStore

    if not isinstance(objects, S3ObjectStore):
        return None
    client, bucket, key = objects.conditions.client, objects.bucket, f"{CHECKS_PREFIX}/check-{secrets.token_hex(6)}"
    what_then = "a process that stood still, and has lost its run, may overwrite one object of whoever does the work again"
    with store_errors(bucket, key):
        try:
            for _ in range(2):
                client.put_object(Bucket=bucket, Key=key, Body=CHECKED, **ABSENT)
        except ClientError as error:
            if _is_refused(error, ABSENT):
                return None
            if _is_unknown(error):
                return f"the server of {bucket} knows no conditional writes (If-None-Match): {what_then}"
            raise
        finally:
            client.delete_object(Bucket=bucket, Key=key)
    return f"the server of {bucket} does not heed conditional writes (If-None-Match): {what_then}"


def _is_refused(error: Any, expected: Mapping[str, str]) -> bool:
    code = error_code(error)
    return code in _OTHERWISE or (code in MISSING and expected != ABSENT)


def _is_unknown(error: Any) -> bool:
    return error_code(error) == "NotImplemented" or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 501
