"""Signed, expiring addresses of media, and the signed token of a review session. Nothing in a browser can make or widen one."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from heaters_dagster.domain.errors import PermanentError
from heaters_dagster.settings import Settings

MediaKind: TypeAlias = Literal["proxy", "index", "segment", "still", "export", "thumbnail"]

SESSION_TTL_SECONDS = 12 * 3600


class LinkError(PermanentError):
    """A link or token that is forged, of another row, or expired. `expired` tells which: an expired one can be asked for anew."""

    def __init__(self, message: str, *, expired: bool) -> None:
        super().__init__(message)
        self.expired = expired


@dataclass(frozen=True, slots=True)
class Session:
    """Who decides: the reviewer's id and name, vouched for by the page that made the token."""

    reviewer_id: int
    reviewer: str


class Links:
    """Signs and checks. secret: at least 16 characters; ttl_seconds: how long a media link works."""

    def __init__(self, secret: str, *, ttl_seconds: int) -> None:
        self._media = URLSafeTimedSerializer(secret, salt="heaters-media")
        self._sessions = URLSafeTimedSerializer(secret, salt="heaters-session")
        self._ttl_seconds = ttl_seconds

    def media_token(self, kind: MediaKind, row_id: int) -> str:
        """A token for one kind of media of one row: the source video's id, for `export` and `thumbnail` the clip's."""
        return str(self._media.dumps([kind, row_id]))

    def check_media(self, token: str, kind: MediaKind, row_id: int) -> None:
        """Raise LinkError unless `token` was made by `media_token(kind, row_id)` within the time it lasts."""
        if self._loaded(self._media, token, self._ttl_seconds) != [kind, row_id]:
            raise LinkError("this link is for something else", expired=False)

    def session_token(self, session: Session) -> str:
        return str(self._sessions.dumps([session.reviewer_id, session.reviewer]))

    def session(self, token: str) -> Session:
        """The session a token stands for. Raises LinkError."""
        loaded = self._loaded(self._sessions, token, SESSION_TTL_SECONDS)
        if not (isinstance(loaded, list) and len(loaded) == 2 and isinstance(loaded[0], int) and isinstance(loaded[1], str)):
            raise LinkError("this is no session token", expired=False)
        return Session(reviewer_id=loaded[0], reviewer=loaded[1])

    @staticmethod
    def _loaded(serializer: URLSafeTimedSerializer, token: str, max_age: int) -> object:
        try:
            return serializer.loads(token, max_age=max_age)
        except SignatureExpired:
            raise LinkError("this link has expired; the page asks for a new one", expired=True) from None
        except BadSignature:
            raise LinkError("this link was not made by Heaters", expired=False) from None


def open_links(settings: Settings) -> Links:
    """The links of these settings. Without HEATERS_SECRET_KEY the secret is made once and kept under HEATERS_HOME, for its owner only."""
    return Links(settings.secret_key or _kept_secret(settings.home / "secret_key"), ttl_seconds=settings.link_ttl_seconds)


def _kept_secret(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    if not path.exists():
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(made, path)  # fails when another process was first: then its secret counts
        except FileExistsError:
            pass
        finally:
            made.unlink()
    return path.read_text().strip()
