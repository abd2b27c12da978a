"""Errors of Postgres in plain words, as errors of Heaters."""

from __future__ import annotations

import re
from typing import NoReturn

import psycopg
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from heaters_dagster.domain.errors import (
    BadRequestError,
    BusyError,
    CutError,
    DatabaseUnavailableError,
    DiskFullError,
    HeatersError,
    IllegalTransitionError,
    SettingsError,
)

#: A number too large for its column, bytes that are not text, half a character in JSON. NUL in a text is not here, because psycopg
#: refuses it.
_NOT_STORABLE = {"22003", "22021", "22P05"}
#: A server without room refuses connections, without a code.
NO_ROOM = "No space left on device"
_WRONG_ADDRESS = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|does not exist|not permitted to log in|invalid port number"
    r"|could not translate host|Name or service not known"
)


def shown(url: URL) -> str:
    """The address as people write it in HEATERS_DATABASE_URL: without the driver, and without passwords."""
    written = url._replace(drivername=url.get_backend_name(), password=None)  # `URL.set` takes None for "as it is"
    return str(written.difference_update_query([name for name in url.query if "password" in name]))


def raise_readable(error: DBAPIError, address: URL) -> NoReturn:
    """Raise the HeatersError for `error`, or `error` itself when it is a defect of Heaters."""
    url = shown(address)
    original = error.orig
    if not isinstance(original, psycopg.Error):
        raise error
    code, constraint = original.sqlstate, original.diag.constraint_name or ""
    said = original.diag.message_primary or _first_line(error)
    readable: HeatersError
    if constraint == "clips_no_overlap":
        readable = CutError(f"two clips of a source video would overlap; {original.diag.message_detail or said}")
    elif constraint in {"clips_cover_source_video", "clips_times_follow_frames"}:
        readable = CutError(said)
    elif constraint.endswith("_legal_transition"):
        readable = IllegalTransitionError(re.sub(r"\bclip (?=[0-9])", "clip id:", said))
    elif code in {"40001", "40P01", "55P03"}:
        readable = BusyError(f"another process is changing the same rows; try again ({said})")
    elif code in _NOT_STORABLE or (code is None and isinstance(original, psycopg.DataError)):
        readable = BadRequestError(f"a value cannot be stored: {said}")
    elif code == "53100" or NO_ROOM in str(original):
        readable = DiskFullError(f"the disk of the database is full: {said}")
    elif code is None and isinstance(original, psycopg.OperationalError) and _WRONG_ADDRESS.search(str(original)):
        readable = SettingsError(f"the database at {url} cannot be used: {_first_line(error)}. Correct HEATERS_DATABASE_URL")
    elif code == "42501":
        readable = SettingsError(f"{said}: the user of the database at {url} lacks this right. Grant it, or correct HEATERS_DATABASE_URL")
    elif (code or "").startswith(("08", "57P0", "53300")) or (
        code is None and isinstance(original, (psycopg.OperationalError, psycopg.InterfaceError))
    ):
        readable = DatabaseUnavailableError(
            f"Postgres at {url} does not answer ({_first_line(error)}). Start it, or correct HEATERS_DATABASE_URL; "
            f"without HEATERS_DATABASE_URL the next command starts it again"
        )
    else:
        raise error
    raise readable from error


def _first_line(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__
