"""Links to objects through a CDN in front of the bucket: signed as CloudFront wants them, or plain.

A signed link names one object and ends; nobody can make one, or another one of it, without the private key. A plain link can be guessed
from the key of an object and never ends: the CDN itself must then decide who may read.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from heaters_dagster.domain.errors import SettingsError, StoreUnavailableError
from heaters_dagster.domain.keys import CHECKS_PREFIX
from resources.object_store.interface import CHECKED, ObjectStore

_SECONDS = 10.0


class Cdn:
    """domain: of the CDN; an address with http:// for one in an internal network. key_id, private_key: of the key pair whose public
    key the CDN trusts; both None: links are plain. Raises SettingsError when the key cannot be used."""

    def __init__(self, domain: str, *, key_id: str | None = None, private_key: str | None = None) -> None:
        self.address = cdn_address(domain)
        if (key_id is None) != (private_key is None):
            raise SettingsError("signed links need HEATERS_CDN_KEY_ID and HEATERS_CDN_PRIVATE_KEY: set both, or none for plain links")
        self._key_id = key_id
        self._sign = None if private_key is None else _signer(private_key)

    @property
    def is_signed(self) -> bool:
        return self._sign is not None

    def url(self, key: str, *, expires_seconds: int) -> str:
        """Source: CloudFront's developer guide, "Create a signed URL using a canned policy"."""
        plain = f"{self.address}/{key}"
        if self._sign is None:
            return plain
        from botocore.signers import CloudFrontSigner

        until = datetime.now(UTC) + timedelta(seconds=expires_seconds)
        signed: str = CloudFrontSigner(self._key_id, self._sign).generate_presigned_url(plain, date_less_than=until)
        return signed


def cdn_address(domain: str) -> str:
    return domain.rstrip("/") if "://" in domain else f"https://{domain.strip('/')}"


def _signer(private_key: str) -> Callable[[bytes], bytes]:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        key = serialization.load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError):
        raise SettingsError("HEATERS_CDN_PRIVATE_KEY is no private key in PEM form without a password") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SettingsError("HEATERS_CDN_PRIVATE_KEY is no RSA key; links are signed with RSA of 2048 bits")
    # SHA-1 is what CloudFront checks.
    return lambda message: key.sign(message, padding.PKCS1v15(), hashes.SHA1())


def cdn_problem(objects: ObjectStore, cdn: Cdn) -> str | None:
    """Whether the CDN gives a test object to who has no link, or one that has ended; None when it does not. Raises as ObjectStore does."""
    import requests

    key = f"{CHECKS_PREFIX}/check-{secrets.token_hex(6)}"
    signed = cdn.url(key, expires_seconds=60)
    tries = {
        "without a signature": f"{cdn.address}/{key}",
        "by a link that has ended": cdn.url(key, expires_seconds=-60),
        "by a link to another object": signed.replace(key, f"{key}x", 1),
    }
    objects.put_bytes(key, CHECKED)
    objects.put_bytes(f"{key}x", CHECKED)
    try:
        if not requests.get(signed, timeout=_SECONDS).ok:
            return (
                "the CDN does not take our signed links: give the public key of HEATERS_CDN_PRIVATE_KEY to its key group, "
                "with the id that stands in HEATERS_CDN_KEY_ID, and let the CDN read the bucket"
            )
        given = [how for how, address in tries.items() if requests.get(address, timeout=_SECONDS).ok]
    except requests.RequestException as error:
        host = urlsplit(cdn.address).netloc
        raise StoreUnavailableError(f"the CDN {host} does not answer ({type(error).__name__}): check its domain in the settings") from None
    finally:
        objects.delete(key)
        objects.delete(f"{key}x")
    if not given:
        return None
    return f"the CDN gives objects to everybody ({'; '.join(given)}): restrict viewer access to signed links, with your key group"
