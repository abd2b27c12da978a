"""The key that signs media links and sessions where HEATERS_SECRET_KEY is not set: created once and kept under HEATERS_HOME."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from heaters_dagster.settings import Settings
from resources.files.private_folder import private_home


def _path(settings: Settings) -> Path:
    return settings.home / "secret_key"


def kept_signing_key(settings: Settings) -> str:
    """The key under HEATERS_HOME, created at its first use, readable by its owner only."""
    path = _path(settings)
    private_home(settings)
    made = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    if not path.exists():
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(made, path)  # fails when another process has created it first: then its key is used
        except FileExistsError:
            pass
        finally:
            made.unlink()
    return path.read_text().strip()


def renew_signing_key(settings: Settings) -> bool:
    """Replace the kept key in one step; False when there is none. A running program uses the old key until it is started again."""
    path = _path(settings)
    if not path.exists():
        return False
    path.rename(path.with_name(f".{path.name}.old"))
    path.with_name(f".{path.name}.old").unlink()
    kept_signing_key(settings)
    return True
