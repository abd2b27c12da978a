"""Files that reviewers send from the browser: streamed to disk under a name of our own, then submitted like any other file."""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from heaters_dagster.domain.errors import BadRequestError, DiskFullError, DownloadError
from resources.leftovers import sweep_uploads
from resources.source_video_store import SourceVideo
from resources.work_folder import WorkFolder
from review_app.desk import ReviewDesk

NAME_HEADER = "X-Heaters-File-Name"
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}\Z")
_RESERVE_BYTES = 1024**3


async def save_upload(request: Request, desk: ReviewDesk) -> SourceVideo:
    """Read the request's body into `HEATERS_HOME/uploads` and submit it. The body is the file; its name, percent-encoded, is in a header.

    The name is only a title: on disk the file has a random name. A file that did not arrive whole or could not be submitted is removed;
    one that is in the object store by now makes room first.
    Raises BadRequestError without name or content, DiskFullError, DownloadError when the browser went away.
    """
    title = _title(unquote(request.headers.get(NAME_HEADER, "")))
    expected = int(request.headers.get("content-length") or 0)
    if not expected:
        raise BadRequestError(f"{title}: an empty file cannot be uploaded")
    folder = desk.settings.uploads_folder
    await run_in_threadpool(sweep_uploads, desk.settings, desk.videos)
    await run_in_threadpool(_check_room, folder, expected)
    suffix = _SUFFIX.search(title)
    path = folder / f"{secrets.token_hex(12)}{suffix.group().lower() if suffix else ''}"
    received = 0
    try:
        # The work folder is swept when its process has died.
        with WorkFolder(desk.settings.work_folder).attempt("upload") as attempt, (attempt / path.name).open("wb") as file:
            async for chunk in request.stream():
                received += len(chunk)
                await run_in_threadpool(file.write, chunk)
            file.close()
            if received != expected:
                raise DownloadError(f"{title}: {received} of {expected} bytes arrived; send it again")
            (attempt / path.name).rename(path)
    except ClientDisconnect:
        raise DownloadError(f"{title}: the browser went away after {received} of {expected} bytes") from None
    except OSError as error:
        raise DiskFullError(f"{title} cannot be kept: {error.strerror}; make room under {folder}") from error
    try:
        return await run_in_threadpool(desk.videos.add, str(path), Path(title).stem or title)
    except Exception:
        path.unlink(missing_ok=True)
        raise


def _title(name: str) -> str:
    plain = "".join(character for character in name.replace("\\", "/").rpartition("/")[2] if character.isprintable()).strip()
    if not plain:
        raise BadRequestError("the upload has no file name")
    return plain[:200]


def _check_room(folder: Path, byte_size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < byte_size + _RESERVE_BYTES:
        raise DiskFullError(f"no room for {byte_size / 1e9:.1f} GB under {folder}: {free / 1e9:.1f} GB free")
