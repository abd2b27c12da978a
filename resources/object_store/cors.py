"""Tests whether a browser may read objects of a bucket from a page of Heaters: the CORS rules of the bucket or of its CDN."""

from __future__ import annotations

import json
import secrets

from heaters_dagster.domain.errors import StoreUnavailableError
from resources.object_store.interface import CHECKED, ObjectStore

_SECONDS = 10.0


def cors_problem(objects: ObjectStore, origin: str) -> str | None:
    """What is missing for a page at `origin`, with the rules to set; None when the page may read, or reads from Heaters itself.

    It asks as a browser does: first for permission, because of the Range header, then for the bytes. Raises the errors of ObjectStore.
    """
    import requests

    key = f"heaters/check-{secrets.token_hex(6)}"
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
        f"browsers may not read the bucket from {origin}, so reviewers see no picture. Set these CORS rules: "
        f"{json.dumps(cors_rules(origin))}"
    )


def cors_rules(origin: str) -> list[dict[str, object]]:
    """The rules that the player needs, in the form of S3's PutBucketCors (`CORSRules`)."""
    return [
        {
            "AllowedOrigins": [origin],
            "AllowedMethods": ["GET", "HEAD"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["Content-Range", "Content-Length", "ETag"],
            "MaxAgeSeconds": 3600,
        }
    ]
