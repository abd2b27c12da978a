"""Tests whether a browser may read objects of a bucket from a page of Heaters: the CORS rules of the bucket or of its CDN."""

from __future__ import annotations

import json
import secrets

from heaters_dagster.domain.bucket_rules import cors_rules
from heaters_dagster.domain.errors import StoreUnavailableError
from heaters_dagster.domain.keys import CHECKS_PREFIX
from resources.object_store.interface import CHECKED, ObjectStore

_SECONDS = 10.0


def cors_problem(objects: ObjectStore, origin: str) -> str | None:
    """What is missing for a page at `origin`, with the rules to set; None when the page may read, or reads from Heaters itself.

    It asks as a browser does: first for permission, because of the Range header, then for the bytes. Raises the errors of ObjectStore.
    """
    import requests

    key = f"{CHECKS_PREFIX}/check-{secrets.token_hex(6)}"
    address = objects.url(key, expires_seconds=60)
    if address is None:
        return None
    objects.put_bytes(key, CHECKED)
    asks = {"Origin": origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"}
    try:
        leave = requests.options(address, headers=asks, timeout=_SECONDS)
        answer = requests.get(address, headers={"Origin": origin, "Range": "bytes=0-1"}, timeout=_SECONDS)
    except requests.RequestException as error:
        raise StoreUnavailableError(
            f"the bucket's address for browsers does not answer ({type(error).__name__}): check HEATERS_S3_ENDPOINT_URL or the CDN domain"
        ) from None
    finally:
        objects.delete(key)
    allowed = [response.headers.get("Access-Control-Allow-Origin") in {"*", origin} for response in (leave, answer)]
    if all(allowed) and leave.ok:
        return None
    return (
        f"browsers may not read the bucket from {origin}, so reviewers see no picture. heaters storage setup sets these CORS rules: "
        f"{json.dumps(cors_rules(origin))}"
    )
