"""Folders and files for the account that runs Heaters and nobody else, whatever the umask is."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from heaters_dagster.domain.errors import PermanentError
from heaters_dagster.settings import Settings

_FOR_OTHERS = 0o077
#: May be walked through, but not be listed: the embedded Postgres, which root runs as another account, must reach its data.
PASSABLE = 0o011


def private_home(settings: Settings) -> Path:
    """Make HEATERS_HOME and close it and what Heaters keeps in it to others, also where an older version has made it.

    Raises PermanentError when it cannot be made.
    """
    is_passable = os.geteuid() == 0 and settings.database_url is None
    try:
        home = private_folder(settings.home, but=PASSABLE if is_passable else 0)
    except OSError as error:
        raise PermanentError(f"HEATERS_HOME={settings.home} cannot be made: {error.strerror}; name a folder that can be written") from error
    ours = (settings.objects_folder, settings.work_folder, settings.uploads_folder, settings.dagster_home, home / "review_cache")
    for path in (*ours, home / "secret_key"):  # the embedded Postgres sees to its own
        close_to_others(path)
    return home


def private_folder(path: Path, *, but: int = 0) -> Path:
    """Make the folder, and those above it that are missing, for their owner only; returns it. One that is there and is ours is closed to
    others. but: rights of others that it keeps.
    """
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    close_to_others(path, but=but)
    return path


def close_to_others(path: Path, *, but: int = 0) -> None:
    """Take the rights of group and others to `path` away, but those in `but`, unless it belongs to somebody else."""
    with suppress(OSError):  # gone meanwhile, or a file system without modes
        found = path.stat()
        if found.st_uid == os.geteuid() and (found.st_mode & _FOR_OTHERS) != but:
            path.chmod((found.st_mode & 0o7700) | but)


def private_opener(path: str, flags: int) -> int:
    """For `open(..., opener=private_opener)`: a file that is made is its owner's only."""
    return os.open(path, flags, 0o600)
