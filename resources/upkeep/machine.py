"""What this machine has: its programs with their versions, its disk, its database. `heaters doctor` and the page Status say the same."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from sqlalchemy import text

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.settings import Settings
from resources.postgres.database import Database

LOW_DISK_BYTES = 5 * 1024**3
_PACKAGES = ("heaters", "dagster", "streamlit", "yt-dlp")


class LowDiskError(HeatersError):
    """Little room is left on the disk of HEATERS_HOME."""


def checked_disk(settings: Settings) -> int:
    """Bytes that are free on the disk of HEATERS_HOME. Raises LowDiskError when they are few, OSError."""
    free = shutil.disk_usage(settings.home).free
    if free < LOW_DISK_BYTES:
        raise LowDiskError(
            f"{free / 1e9:.1f} GB free under {settings.home}, which is little: a proxy needs 3 to 11 times the size of its original. Make "
            "room, or set HEATERS_HOME to another disk"
        )
    return free


def database_told(database: Database) -> str:
    """`Postgres 17.2 with pgvector 0.8.0, schema 0034`. Raises DatabaseUnavailableError."""
    with database.read() as connection:
        server = connection.scalar(text("show server_version"))
        vector = connection.scalar(text("select extversion from pg_extension where extname = 'vector'"))
        revision = connection.scalar(text("select version_num from alembic_version"))
    return f"Postgres {server} with pgvector {vector}, schema {revision}"


@cache
def ffmpeg_told() -> str:
    """Raises what starting it raises."""
    from resources.media.ffmpeg import ffmpeg_path

    path = ffmpeg_path()
    first_line = subprocess.run([path, "-version"], capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()[0]
    return first_line.split(" Copyright")[0]


def versions() -> Iterator[tuple[str, str]]:
    """(program, version) of what the answers of this machine depend on, without the database. Loads none of them."""
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, "not installed"
    yield "Python", platform.python_version()
    try:
        yield "ffmpeg", ffmpeg_told().removeprefix("ffmpeg version ")
    except (HeatersError, OSError, subprocess.SubprocessError) as error:
        yield "ffmpeg", f"cannot be started: {error}"
