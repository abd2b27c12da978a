"""Encrypts secrets that lie in the database: AES-256-GCM under a key that is derived from the secret key of this installation.

Machines share the database and the object store, so a sign-in that is stored on one machine must be usable on all. The database holds what
nobody can read without HEATERS_SECRET_KEY (or the kept key under HEATERS_HOME, where all of Heaters runs on one machine).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from functools import lru_cache

from Cryptodome.Cipher import AES

from heaters_dagster.domain.errors import PermanentError
from heaters_dagster.settings import Settings
from resources.files.signing_key import kept_signing_key

_VERSION = b"\x01"
_NONCE_BYTES = 12
_TAG_BYTES = 16
#: Another purpose of the secret key gets another key.
_PURPOSE = b"heaters: what lets into web sites"


class UnreadableError(PermanentError):
    """The text was sealed with another secret key, or somebody has changed it."""


class Sealer:
    """secret: any text; a short one is made slow to guess. about: what the text belongs to; it opens as that and nothing else."""

    def __init__(self, secret: str) -> None:
        self._key = _derived(secret)

    @classmethod
    def of(cls, settings: Settings) -> Sealer:
        return cls(settings.secret_key or kept_signing_key(settings))

    def sealed(self, text: str, *, about: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = AES.new(self._key, AES.MODE_GCM, nonce=nonce, mac_len=_TAG_BYTES)
        cipher.update(_VERSION + about.encode())
        body, tag = cipher.encrypt_and_digest(text.encode())
        return _VERSION + nonce + tag + body

    def opened(self, data: bytes, *, about: str) -> str:
        """Raises UnreadableError."""
        nonce, rest = data[1 : 1 + _NONCE_BYTES], data[1 + _NONCE_BYTES :]
        if data[:1] != _VERSION or len(rest) < _TAG_BYTES:
            raise UnreadableError("it was stored by another version of Heaters")
        cipher = AES.new(self._key, AES.MODE_GCM, nonce=nonce, mac_len=_TAG_BYTES)
        cipher.update(_VERSION + about.encode())
        try:
            return cipher.decrypt_and_verify(rest[_TAG_BYTES:], rest[:_TAG_BYTES]).decode()
        except ValueError:
            raise UnreadableError("it was stored with another secret key than the one of this machine") from None

    def mark(self, text: str, *, about: str) -> bytes:
        """By which the same text is known again, and which tells nothing of it to who has not the key."""
        return hmac.digest(self._key, f"{about}\n{text}".encode(), "sha256")


@lru_cache(maxsize=4)
def _derived(secret: str) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=_PURPOSE, n=2**14, r=8, p=1, dklen=32)
