"""Files that reviewers send from the browser: streamed to disk under a name of our own, kept where every machine finds them, submitted."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from heaters_dagster.domain.errors import BadRequestError, DiskFullError, DownloadError, HeatersError, InvalidMediaError
from heaters_dagster.domain.fact_fields import FIELD_OF
from heaters_dagster.domain.list_files import LIST_SUFFIXES
from heaters_dagster.domain.source_facts import SourceFacts
from resources.files.private_folder import private_opener
from resources.media.first_bytes import HEAD_BYTES, refuse_no_video
from resources.object_store.work_folder import WorkFolder
from resources.postgres.source_video_store import SourceVideo
from resources.sources.file_identity import file_identity
from resources.sources.uploaded import drop_upload, kept_upload
from resources.upkeep.leftovers import sweep_uploads
from review_app.service.incoming import declared_bytes
from review_app.service.review_desk import ReviewDesk
from review_app.service.upload_room import UPLOAD, Admission

NAME_HEADER = "X-Heaters-File-Name"
#: What may be done with the video, percent-encoded; and `1` when its chapters begin clips.
RIGHTS_HEADER = "X-Heaters-Rights"
CHAPTERS_HEADER = "X-Heaters-Chapters"
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}\Z")


async def save_upload(request: Request, desk: ReviewDesk) -> SourceVideo:
    """Read the request's body, keep it (see `kept_upload`) and submit it. The body is the file; headers have its name and what is said.

    The name is only a title: the file has a random name. A file that did not arrive whole or could not be submitted is removed;
    one that is in the object store by now makes room first. What cannot be a video is refused after its first megabyte.
    Raises BadRequestError without name or content, InvalidMediaError, DiskFullError, BusyError, DownloadError when the browser went away.
    """
    title = _title(unquote(request.headers.get(NAME_HEADER, "")))
    facts = SourceFacts(rights=FIELD_OF["rights"].read(unquote(request.headers.get(RIGHTS_HEADER, ""))))
    chapters_as_cuts = request.headers.get(CHAPTERS_HEADER) == "1"
    declared = declared_bytes(request.headers.get("content-length"))
    if declared == 0:
        raise BadRequestError(f"{title}: an empty file cannot be uploaded")
    await run_in_threadpool(sweep_uploads, desk.settings, desk.videos)
    suffix = _SUFFIX.search(title)
    name = f"{secrets.token_hex(12)}{suffix.group().lower() if suffix else ''}"
    with desk.upload_room.admitted(declared) as admission:
        try:
            # The work folder is swept when its process has died.
            with WorkFolder.of(desk.settings).attempt(UPLOAD, bytes_needed=admission.limit_bytes) as attempt:
                path = attempt / name
                received, sha256 = await _received(request, path, admission, title)
                if declared not in {None, received}:
                    raise DownloadError(f"{title}: only {received} of {declared} bytes arrived; send the file again")
                identity = replace(await run_in_threadpool(file_identity, path), sha256=sha256)
                source = await run_in_threadpool(kept_upload, path, desk.settings, desk.objects)
        except OSError as error:
            if isinstance(error, HeatersError):
                raise
            raise DiskFullError(f"{title} cannot be stored: {error.strerror}; make room under {desk.settings.home}") from error
    try:
        said = {"source": source, "title": Path(title).stem or title, "chapters_as_cuts": chapters_as_cuts, **identity.columns()}
        (video,) = await run_in_threadpool(desk.videos.add_all, [said], [facts])
        return video
    except Exception:
        await run_in_threadpool(drop_upload, source, desk.settings, desk.objects)
        raise


async def _received(request: Request, path: Path, admission: Admission, title: str) -> tuple[int, str]:
    """Write the body to `path`, and hash it meanwhile; returns (bytes, hex SHA-256)."""
    received, digest = 0, hashlib.sha256()
    head: bytearray | None = bytearray()
    with open(path, "xb", opener=private_opener) as file:
        try:
            async for chunk in request.stream():
                received += len(chunk)
                if received > admission.limit_bytes:
                    raise BadRequestError(
                        f"{title}: more than {admission.limit_bytes / 1e9:.1f} GB arrived; send it with its size declared"
                    )
                await run_in_threadpool(_kept, chunk, file, digest)
                admission.received(len(chunk))
                if head is not None:
                    head += chunk[: HEAD_BYTES - len(head)]
                    if len(head) == HEAD_BYTES:
                        await run_in_threadpool(_refuse_no_video, bytes(head), is_whole=False, title=title)
                        head = None
        except ClientDisconnect:
            raise DownloadError(f"{title}: the browser went away, or was too slow, after {received} bytes; send it again") from None
    if not received:
        raise BadRequestError(f"{title}: an empty file cannot be uploaded")
    if head is not None:
        await run_in_threadpool(_refuse_no_video, bytes(head), is_whole=True, title=title)
    return received, digest.hexdigest()


def _refuse_no_video(head: bytes, *, is_whole: bool, title: str) -> None:
    """Raise InvalidMediaError; of what is called as a list it says where lists are taken."""
    try:
        refuse_no_video(head, is_whole=is_whole, name=title)
    except InvalidMediaError as error:
        if Path(title).suffix.lower() not in LIST_SUFFIXES:
            raise
        raise InvalidMediaError(f"{error}; a list of videos goes into Submit a list from a file") from None


def _kept(chunk: bytes, file: BinaryIO, digest: Any) -> None:
    digest.update(chunk)
    file.write(chunk)


def _title(name: str) -> str:
    plain = "".join(character for character in name.replace("\\", "/").rpartition("/")[2] if character.isprintable()).strip()
    if not plain:
        raise BadRequestError("the upload has no file name")
    return plain[:200]
