"""Folders and files that only the account that runs Heaters may use, with any umask."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from heaters_dagster.domain.errors import PermanentError
from heaters_dagster.settings import Settings

_FOR_OTHERS = 0o077
#: Others may enter it, but not list it: for root the embedded Postgres runs as another account and must reach its data.
PASSABLE = 0o011


def folders_of_heaters(settings: Settings) -> tuple[Path, ...]:
    """Those that it keeps below HEATERS_HOME, without that of the embedded Postgres."""
    return (
        settings.objects_folder,
        settings.work_folder,
        settings.uploads_folder,
        settings.cache_folder,
        settings.dagster_home,
        settings.home / "review_cache",
    )


def private_home(settings: Settings) -> Path:
    """Create HEATERS_HOME, and take away the rights of others to it and to what Heaters keeps in it, also in a home of an older version.

    Raises PermanentError when it cannot be created.
    """
    is_passable = os.geteuid() == 0 and settings.database_url is None
    try:
        home = private_folder(settings.home, but=PASSABLE if is_passable else 0)
    except OSError as error:
        raise PermanentError(
            f"HEATERS_HOME={settings.home} cannot be created: {error.strerror}; set it to a folder that this user can write to"
        ) from error
    for path in (*folders_of_heaters(settings), home / "secret_key"):  # the embedded Postgres takes care of its own folder
        close_to_others(path)
    return home


def private_folder(path: Path, *, but: int = 0) -> Path:
    """Create the folder and missing parent folders for their owner only; return it.

    If it exists and is ours, others lose their rights to it.
    but: rights of others that stay.
    """
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    close_to_others(path, but=but)
    return path


def close_to_others(path: Path, *, but: int = 0) -> None:
    """Take away the rights of group and others to `path`, except those in `but`. Nothing is done when it belongs to somebody else."""
    with suppress(OSError):  # no longer there, or a file system without modes
        found = path.stat()
        if found.st_uid == os.geteuid() and (found.st_mode & _FOR_OTHERS) != but:
            path.chmod((found.st_mode & 0o7700) | but)


def private_opener(path: str, flags: int) -> int:
    """For `open(..., opener=private_opener)`: only the owner may use a newly created file."""
    return os.open(path, flags, 0o600)
