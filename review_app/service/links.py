"""Signed, expiring addresses of media, and the signed token of a review session. A browser can neither make nor change one."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias

from itsdangerous import BadSignature, SignatureExpired, TimestampSigner, URLSafeTimedSerializer

from heaters_dagster.domain.errors import PermanentError
from heaters_dagster.settings import Settings
from resources.files.signing_key import kept_signing_key

MediaKind: TypeAlias = Literal["proxy", "index", "segment", "still", "export", "clips", "cutlist", "thumbnail", "subtitles"]

#: What the cookie that remembers a name was called until 0.2, by every Heaters of a host.
OLD_COOKIE = "heaters_reviewer"
SESSION_TTL_SECONDS = 12 * 3600
REMEMBERED_TTL_SECONDS = 90 * 24 * 3600


class LinkError(PermanentError):
    """A link or token that is forged, of another row, or expired. `expired`: the browser can ask for a new one."""

    def __init__(self, message: str, *, expired: bool) -> None:
        super().__init__(message)
        self.expired = expired


@dataclass(frozen=True, slots=True)
class Session:
    """Who decides: the reviewer's id and name, vouched for by the page that made the token."""

    reviewer_id: int
    reviewer: str


class Links:
    """Signs and checks. secret: at least 16 characters; ttl_seconds: how long a media link works.

    Tokens are dated back to a round time, an eighth of their life at most: the same thing asked for again soon after has the same address,
    so a page that draws itself anew every few seconds does not make the browser fetch every picture again.
    """

    def __init__(self, secret: str, *, ttl_seconds: int) -> None:
        self._media = _Tokens(secret, "heaters-media", ttl_seconds)
        self._sessions = _Tokens(secret, "heaters-session", SESSION_TTL_SECONDS)
        self._remembered = _Tokens(secret, "heaters-remembered", REMEMBERED_TTL_SECONDS)
        self._uploads = hashlib.sha256(f"upload {secret}".encode()).digest()
        # Cookies are shared by all ports of a host: with one name for all, two Heaters there would overwrite each other's.
        self.cookie = f"{OLD_COOKIE}_{hashlib.sha256(f'cookie {secret}'.encode()).hexdigest()[:12]}"

    def upload_identity(self, session: Session, *file: object) -> str:
        """16 hexadecimal digits that stand for a reviewer's file of this name, size and time. Nobody can find out those of others."""
        text = json.dumps([session.reviewer_id, *file])
        return hashlib.blake2b(text.encode(), key=self._uploads, digest_size=8).hexdigest()

    def media_token(self, kind: MediaKind, row_id: int) -> str:
        """A token for one kind of media of one row: the source video's id, for `export` the clip's, for `subtitles` the
        transcript's."""
        return self._media.made([kind, row_id])

    def check_media(self, token: str, kind: MediaKind, row_id: int) -> None:
        """Raise LinkError unless `token` was made by `media_token(kind, row_id)` within the time it lasts."""
        if self._media.loaded(token) != [kind, row_id]:
            raise LinkError("this link is for something else", expired=False)

    def session_token(self, session: Session) -> str:
        """For the header of requests that read or write decisions."""
        return self._sessions.made([session.reviewer_id, session.reviewer])

    def session(self, token: str) -> Session:
        """The session a token stands for. Raises LinkError."""
        return _session(self._sessions.loaded(token))

    def remembered_token(self, session: Session) -> str:
        """For the cookie that remembers a chosen name; it has no other use."""
        return self._remembered.made([session.reviewer_id, session.reviewer])

    def remembered(self, token: str) -> Session:
        """Who a cookie remembers. Raises LinkError."""
        return _session(self._remembered.loaded(token))

    def remembered_by(self, cookies: Mapping[str, str]) -> tuple[str, Session] | None:
        """(name of the cookie, whom it remembers), of the cookies that a browser sent; None when none of them was made here."""
        for name in (self.cookie, OLD_COOKIE):
            with suppress(LinkError):
                if name in cookies:
                    return name, self.remembered(cookies[name])
        return None


class _Tokens:
    def __init__(self, secret: str, salt: str, ttl_seconds: int) -> None:
        self._ttl_seconds = ttl_seconds
        self._checks = URLSafeTimedSerializer(secret, salt=salt)
        signer = type("_RoundSigner", (_RoundSigner,), {"step_seconds": max(1, ttl_seconds // 8)})
        self._makes = URLSafeTimedSerializer(secret, salt=salt, signer=signer)

    def made(self, value: object) -> str:
        return str(self._makes.dumps(value))

    def loaded(self, token: str) -> object:
        try:
            return self._checks.loads(token, max_age=self._ttl_seconds)
        except SignatureExpired:
            raise LinkError("this link has expired; the page asks for a new one", expired=True) from None
        except BadSignature:
            raise LinkError("this link was not made by Heaters", expired=False) from None


class _RoundSigner(TimestampSigner):
    step_seconds = 1

    def get_timestamp(self) -> int:
        now = int(time.time())
        return now - now % self.step_seconds


def _session(loaded: object) -> Session:
    if not (isinstance(loaded, list) and len(loaded) == 2 and isinstance(loaded[0], int) and isinstance(loaded[1], str)):
        raise LinkError("this is no session token", expired=False)
    return Session(reviewer_id=loaded[0], reviewer=loaded[1])


def open_links(settings: Settings) -> Links:
    """The links of these settings. Without HEATERS_SECRET_KEY the secret is made once and kept under HEATERS_HOME, for its owner only."""
    return Links(settings.secret_key or kept_signing_key(settings), ttl_seconds=settings.link_ttl_seconds)
