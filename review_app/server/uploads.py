"""Files that reviewers send from the browser: they arrive under a name of our own, where every machine finds them, and are submitted.

The page asks what of a file is there (`begun_upload`), and sends the rest (`save_upload`), again and again until there is an answer. What
has come stays when the connection breaks or this process dies; with a bucket another review app goes on with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from heaters_dagster.domain.errors import (
    BadRequestError,
    BusyError,
    DiskFullError,
    DownloadError,
    HeatersError,
    InvalidMediaError,
    TransientError,
)
from heaters_dagster.domain.fact_fields import FIELD_OF
from heaters_dagster.domain.list_files import LIST_SUFFIXES
from heaters_dagster.domain.source_facts import SourceFacts
from heaters_dagster.domain.states import SourceVideoState
from resources.media.first_bytes import HEAD_BYTES, refuse_no_video
from resources.object_store.work_folder import WorkFolder
from resources.postgres.source_video_store import SourceVideo
from resources.sources.begun_uploads import (
    IDENTITY_DIGITS,
    BegunUpload,
    arrived_bytes,
    begun_names,
    drop_begun,
    is_name_of,
    new_name,
    opened_upload,
    source_of_upload,
    suffix_of_name,
)
from resources.sources.file_identity import FileIdentity
from resources.upkeep.leftovers import sweep_uploads
from review_app.service.incoming import declared_bytes
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk
from review_app.service.upload_room import UPLOAD, Admission

NAME_HEADER = "X-Heaters-File-Name"
#: Size and time of the last change of a file that may be gone on with; what `begun_upload` called it; and where the body begins.
SIZE_HEADER = "X-Heaters-File-Size"
MODIFIED_HEADER = "X-Heaters-File-Modified"
UPLOAD_HEADER = "X-Heaters-Upload"
OFFSET_HEADER = "X-Heaters-Offset"
#: What may be done with the video, percent-encoded; and `1` when its chapters begin clips.
RIGHTS_HEADER = "X-Heaters-Rights"
CHAPTERS_HEADER = "X-Heaters-Chapters"


@dataclass(frozen=True, slots=True)
class _Sent:
    """What the headers say of a file. identity: of this reviewer's file of this name, size and time; by chance where that is not said.

    is_resumable: it may be gone on with. name: of the upload; None: none was named. byte_size: of the whole file; None: not said.
    """

    title: str
    identity: str
    is_resumable: bool
    name: str | None
    byte_size: int | None
    offset: int
    suffix: str

    @classmethod
    def of(cls, request: Request, desk: ReviewDesk, session: Session) -> _Sent:
        title = _title(unquote(request.headers.get(NAME_HEADER, "")))
        suffix = suffix_of_name(title)
        name, modified = request.headers.get(UPLOAD_HEADER), request.headers.get(MODIFIED_HEADER)
        if modified is None:
            byte_size = declared_bytes(request.headers.get("content-length"), "Content-Length")
            return cls(title, secrets.token_hex(IDENTITY_DIGITS // 2), False, None, byte_size, 0, suffix)
        byte_size = declared_bytes(request.headers.get(SIZE_HEADER, ""), SIZE_HEADER)
        identity = desk.links.upload_identity(session, title, byte_size or 0, modified)
        if name is not None and not is_name_of(name, identity):
            raise BadRequestError(f"{title}: the name of the upload is not that of this file; choose the file again")
        return cls(
            title, identity, True, name, byte_size, declared_bytes(request.headers.get(OFFSET_HEADER, "0"), OFFSET_HEADER) or 0, suffix
        )


async def begun_upload(request: Request, desk: ReviewDesk, session: Session) -> Mapping[str, Any]:
    """What is there of a file: {upload, offset}, or the {id, title} of the source video that it is by now.

    Raises BadRequestError, and what an ObjectStore raises.
    """
    sent = _Sent.of(request, desk, session)
    desk.upload_room.check_size(sent.title, sent.byte_size)

    def look() -> Mapping[str, Any]:
        for name in [sent.name] if sent.name is not None else begun_names(sent.identity, desk.settings, desk.objects):
            known = desk.videos.of_source(source_of_upload(name, desk.settings))
            if not known:
                return {"upload": name, "offset": arrived_bytes(name, sent.byte_size or 0, desk.settings, desk.objects)}
            if known[0].state not in {SourceVideoState.DOWNLOAD_FAILED, SourceVideoState.DELETED}:
                return {"id": known[0].id, "title": known[0].title}
        return {"upload": new_name(sent.identity, sent.suffix), "offset": 0}

    return await run_in_threadpool(look)


async def cancel_upload(request: Request, desk: ReviewDesk, session: Session) -> None:
    """Remove what is there of a file that nobody goes on with. One that is there whole is swept, if no row names it."""
    sent = _Sent.of(request, desk, session)
    if sent.name is None:
        raise BadRequestError(f"{sent.title}: no upload was named")
    await run_in_threadpool(drop_begun, sent.name, desk.settings, desk.objects)


async def save_upload(request: Request, desk: ReviewDesk, session: Session) -> SourceVideo:
    """Read the request's body and submit the file when all of it is there. The body is the file, or what follows the offset; headers say
    the rest.

    The name is only a title: the file has one of our own. What cannot be a video is refused after its first megabyte and removed; so is a
    file that did not arrive whole, unless the page can go on with it. Sent again after the answer was lost, it is one source video.
    Raises BadRequestError without name or content, InvalidMediaError, DiskFullError, BusyError, DownloadError when the browser went away.
    """
    sent = _Sent.of(request, desk, session)
    facts = SourceFacts(rights=FIELD_OF["rights"].read(unquote(request.headers.get(RIGHTS_HEADER, ""))))
    chapters_as_cuts = request.headers.get(CHAPTERS_HEADER) == "1"
    if sent.byte_size == 0:
        raise BadRequestError(f"{sent.title}: an empty file cannot be uploaded")
    desk.upload_room.check_size(sent.title, sent.byte_size)
    await run_in_threadpool(sweep_uploads, desk.settings, desk.videos)
    name = sent.name or new_name(sent.identity, sent.suffix)
    if sent.is_resumable and (known := await run_in_threadpool(desk.videos.of_source, source_of_upload(name, desk.settings))):
        return known[0]
    to_come = None if sent.byte_size is None else max(0, sent.byte_size - sent.offset)
    with desk.upload_room.admitted(to_come) as admission, _promised(sent.offset + admission.limit_bytes, desk) as folder:
        try:
            upload = await run_in_threadpool(opened_upload, name, sent.byte_size, desk.settings, desk.objects, counted_in=folder)
        except OSError as error:
            raise _not_stored(sent, desk, error) from error
        try:
            await _received(request, upload, admission, sent)
            source, identity = await run_in_threadpool(upload.finish)
            return await run_in_threadpool(_submitted, source, identity, sent, facts, chapters_as_cuts, desk)
        except Exception as error:
            told = _not_stored(sent, desk, error) if isinstance(error, OSError) else error
            stays = sent.is_resumable and isinstance(told, TransientError | ClientDisconnect) and not isinstance(told, DiskFullError)
            await run_in_threadpool(upload.leave if stays else upload.drop)
            raise told from error
        except BaseException:  # the server ends
            upload.leave()
            raise


@contextmanager
def _promised(bytes_needed: int, desk: ReviewDesk) -> Iterator[Path | None]:
    """A folder of work that is promised the room, so that stages on this machine do not take it. With a bucket none is needed."""
    if desk.settings.object_bucket is not None:
        yield None
        return
    with WorkFolder.of(desk.settings).attempt(UPLOAD, bytes_needed=bytes_needed) as folder:
        yield folder


def _submitted(
    source: str, identity: FileIdentity, sent: _Sent, facts: SourceFacts, chapters_as_cuts: bool, desk: ReviewDesk
) -> SourceVideo:
    """The row of a file that is there. Two requests may come to its end at once, when the page believed the first one to be lost."""
    columns = {"source": source, "title": Path(sent.title).stem or sent.title, "chapters_as_cuts": chapters_as_cuts, **identity.columns()}
    with desk.database.turn(source):
        known = desk.videos.of_source(source)
        return known[0] if known else desk.videos.add_all([columns], [facts])[0]


def _not_stored(sent: _Sent, desk: ReviewDesk, error: OSError) -> HeatersError:
    if isinstance(error, HeatersError):
        return error
    return DiskFullError(f"{sent.title} cannot be stored: {error.strerror}; make room under {desk.settings.home}")


async def _received(request: Request, upload: BegunUpload, admission: Admission, sent: _Sent) -> None:
    """Hand the body on to `upload`."""
    title, received = sent.title, 0
    if upload.have_bytes != sent.offset:
        raise BusyError(f"{title}: {upload.have_bytes} bytes are there, and it was sent from byte {sent.offset}; it goes on by itself")
    head: bytearray | None = bytearray() if sent.offset == 0 else None
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > admission.limit_bytes:
                raise BadRequestError(f"{title}: more than {admission.limit_bytes / 1e9:.1f} GB arrived; send it with its size declared")
            if head is not None:
                head += chunk[: HEAD_BYTES - len(head)]
                if len(head) == HEAD_BYTES:
                    await run_in_threadpool(_refuse_no_video, bytes(head), is_whole=False, title=title)
                    head = None
            await run_in_threadpool(upload.add, chunk)
            admission.received(len(chunk))
    except ClientDisconnect:
        raise DownloadError(f"{title}: the browser went away, or was too slow, after {received} bytes; send it again") from None
    if not received and not sent.offset:
        raise BadRequestError(f"{title}: an empty file cannot be uploaded")
    if sent.byte_size not in {None, sent.offset + received}:
        raise DownloadError(f"{title}: only {sent.offset + received} of {sent.byte_size} bytes arrived; send the file again")
    if head is not None:
        await run_in_threadpool(_refuse_no_video, bytes(head), is_whole=True, title=title)


def _refuse_no_video(head: bytes, *, is_whole: bool, title: str) -> None:
    """Raise InvalidMediaError; of what is called as a list it says where lists are taken."""
    try:
        refuse_no_video(head, is_whole=is_whole, name=title)
    except InvalidMediaError as error:
        if Path(title).suffix.lower() not in LIST_SUFFIXES:
            raise
        raise InvalidMediaError(f"{error}; a list of videos goes into Submit a list from a file") from None


def _title(name: str) -> str:
    plain = "".join(character for character in name.replace("\\", "/").rpartition("/")[2] if character.isprintable()).strip()
    if not plain:
        raise BadRequestError("the upload has no file name")
    return plain[:200]
