"""The review app's own routes beside the Streamlit page: media, frame index, decisions, queue, upload.

What a browser names is checked here: a signature for media, a session token for everything that reads or writes decisions; its values
are parsed in `incoming`. No path from the browser reaches the file system. Work that waits for Postgres or a disk runs in threads, never on
the event loop.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from anyio import CapacityLimiter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from heaters_dagster.domain.errors import (
    BadRequestError,
    CutError,
    NotFoundError,
)
from heaters_dagster.domain.keys import proxy_key
from heaters_dagster.domain.review_queue import filter_of_query
from heaters_dagster.registries import EXPORT_PROFILES
from resources.clips.clips_zip import clips_zip
from resources.postgres.facts_store import FactsStore
from resources.postgres.transcript_store import TranscriptStore
from review_app.player.index_slice import slice_json
from review_app.server.cut_list_route import cut_list_answer
from review_app.server.pace import UPLOADS_PATH
from review_app.server.served import FRESH, PRIVATE, NoSessionError, Served, in_lane
from review_app.server.uploads import begun_upload, cancel_upload, save_upload
from review_app.service import incoming
from review_app.service.links import REMEMBERED_TTL_SECONDS, LinkError, MediaKind, Session
from review_app.service.review_desk import Answer, ReviewDesk

TOKEN_HEADER = "X-Heaters-Token"
#: Of one answer. Reading and writing that many rows takes about 50 ms of a thread; a longer range comes in several answers.
MAX_INDEX_FRAMES = 20_000
#: A segment is a copy in the cache folder, made while the browser waits.
MAX_SEGMENT_BYTES = 512 * 1024**2
#: Threads for the short work of pages, few of each kind: what waits then waits for its turn, not for the interpreter in the middle of a
#: transaction. Decisions have threads of their own, so that those that wait for a lock keep nobody from seeing clips. On two cores with 200
#: reviewers the 95th percentile of a decision is 121 ms with these, and 204 to 330 ms with nine and five.
DECIDING_THREADS = 5
ASKING_THREADS = 3


def review_routes(open_desk: Callable[[], ReviewDesk]) -> list[Route]:
    """The routes. open_desk: gives the process's desk, made when first asked for."""
    served = functools.partial(Served, open_desk)
    decided = functools.partial(served, lane=CapacityLimiter(DECIDING_THREADS))
    asked = functools.partial(served, lane=CapacityLimiter(ASKING_THREADS))
    return [
        served("/api/proxy/{row_id}", _proxy),
        served("/api/index/{row_id}", _index),
        served("/api/segment/{row_id}", _segment),
        served("/api/still/{row_id}", _still),
        served("/api/export/{row_id}", _export),
        served("/api/clips/{row_id}", _clips),
        served("/api/cutlist/{row_id}", _cut_list),
        served("/api/thumbnail/{row_id}", _thumbnail),
        served("/api/subtitles/{row_id}", _subtitles),
        asked("/api/queue", _queue),
        asked("/api/video", _video),
        decided("/api/decisions", _decisions, methods=("POST",)),
        served("/api/selection", _selection),
        asked("/api/sync", _sync, methods=("POST",)),
        served(UPLOADS_PATH, _upload, methods=("POST",), takes_files=True),
        served(UPLOADS_PATH, _begun_upload, methods=("GET", "DELETE")),
        served("/api/session", _remember, methods=("POST", "DELETE")),
        served("/api/health", _health),
        Route("/review", _to_review),
    ]


async def _to_review(request: Request) -> Response:
    """Review is the first page, so its address is `/`; the address that the others let one expect leads there too, with its filters."""
    return RedirectResponse("./" + (f"?{request.url.query}" if request.url.query else ""))


def _session(desk: ReviewDesk, request: Request) -> Session:
    token = request.headers.get(TOKEN_HEADER, "")
    try:
        return desk.links.session(token)
    except LinkError as error:
        raise NoSessionError(f"{error}: load the page again") from None


def _signed(desk: ReviewDesk, request: Request, kind: MediaKind) -> int:
    row_id = incoming.row_id_of_path(request.path_params["row_id"])
    if row_id is None:
        raise NotFoundError("there is nothing at this address: no row has the number at its end")
    desk.links.check_media(_query(request).get("token", [""])[-1], kind, row_id)
    return row_id


def _query(request: Request) -> dict[str, list[str]]:
    """The query of the address, checked before the route was called."""
    query: dict[str, list[str]] = request.state.query
    return query


def _whole(request: Request, name: str, default: int | None = None) -> int:
    return incoming.whole(_query(request), name, default)


async def _proxy(desk: ReviewDesk, request: Request) -> Response:
    source_video_id = _signed(desk, request, "proxy")
    return await run_in_threadpool(_object, desk, proxy_key(source_video_id), None)


def _object(desk: ReviewDesk, key: str, filename: str | None, *, media_type: str = "video/mp4") -> Response:
    """The object with range requests: from the folder, or by the store's own signed address."""
    if desk.objects.info(key) is None:
        raise NotFoundError(f"there is no file {key}; Retry on the source video makes it again")
    path = desk.objects.local_path(key)
    if path is not None:
        return FileResponse(path, media_type=media_type, filename=filename, headers=PRIVATE)
    address = desk.objects.url(key, expires_seconds=desk.settings.link_ttl_seconds)
    if address is None:
        raise NotFoundError(f"{key} cannot be served")
    return RedirectResponse(address, headers=FRESH)


async def _index(desk: ReviewDesk, request: Request) -> Response:
    """The first rows of `[start, end)`, at most MAX_INDEX_FRAMES: `end_frame` says where the next answer begins."""
    source_video_id = _signed(desk, request, "index")
    start, end = _whole(request, "start"), _whole(request, "end")

    def read() -> bytes:
        frame_count = desk.indexes.header(source_video_id).frame_count
        if end > frame_count:
            raise CutError(f"frames {start}..{end - 1} of source video {source_video_id}: it has frames 0..{frame_count - 1}")
        last = min(end, start + MAX_INDEX_FRAMES)
        rows = desk.indexes.slice(source_video_id, start, min(last + 1, frame_count))
        # Encoded in the thread too, so that the event loop stays free for decisions.
        return json.dumps(slice_json(rows, start, last), separators=(",", ":")).encode()

    return Response(await run_in_threadpool(read), media_type="application/json", headers=PRIVATE)


async def _segment(desk: ReviewDesk, request: Request) -> Response:
    source_video_id = _signed(desk, request, "segment")
    start, end = _whole(request, "start"), _whole(request, "end")
    only = _query(request).get("only", [None])[-1]
    if only not in {None, "audio"}:
        raise BadRequestError(f"the parameter only can be audio, not {str(only)[:40]!r}")

    def make() -> Path:
        byte_size = desk.segment_bytes(source_video_id, start, end)
        if byte_size > MAX_SEGMENT_BYTES:
            raise BadRequestError(
                f"frames {start}..{end - 1} are {byte_size / 1e6:.0f} MB; a segment has at most {MAX_SEGMENT_BYTES / 1e6:.0f} MB. "
                "The WebCodecs player shows clips of any length; for the plain player cut the clip first"
            )
        return desk.media.segment(source_video_id, start, end, sound_only=only == "audio")

    return FileResponse(await run_in_threadpool(make), media_type="audio/mp4" if only else "video/mp4", headers=PRIVATE)


async def _still(desk: ReviewDesk, request: Request) -> Response:
    source_video_id = _signed(desk, request, "still")
    frame, width = _whole(request, "frame"), _whole(request, "width", 320)
    data = await run_in_threadpool(functools.partial(desk.media.still, source_video_id, frame, width=width))
    return Response(data, media_type="image/jpeg", headers=PRIVATE)


async def _export(desk: ReviewDesk, request: Request) -> Response:
    clip_id = _signed(desk, request, "export")

    def serve() -> Response:
        clip = desk.clips.load(clip_id)
        made = {export.profile: export.key for export in desk.exports.of_clips([clip_id])[clip_id] if export.has_file}
        name = _query(request).get("profile", [clip.export_profile])[-1]
        key = clip.clip_filepath if name == clip.export_profile else made.get(name)
        if key is None:
            what = "no file" if name == clip.export_profile else f"no file by the export profile {name[:40]!r}"
            raise NotFoundError(desk.in_words(f"clip id:{clip_id} has {what} (its state: {clip.state})"))
        # Its file may still be by another profile, while one with its own is made.
        profile = EXPORT_PROFILES.find(next((profile for profile, of_it in made.items() if of_it == key), name))
        media_type = "application/octet-stream" if profile is None else profile.media_type
        return _object(desk, key, key.rpartition("/")[2], media_type=media_type)

    return await run_in_threadpool(serve)


async def _clips(desk: ReviewDesk, request: Request) -> Response:
    """The approved clips of a source video that have a file, as one zip with its cut lists."""
    source_video_id = _signed(desk, request, "clips")
    gather = functools.partial(clips_zip, source_video_id, database=desk.database, objects=desk.objects, settings=desk.settings)
    zipped = await run_in_threadpool(gather)
    named = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(zipped.name)}"}
    return StreamingResponse(zipped.chunks(desk.objects), media_type="application/zip", headers={**FRESH, **named})


async def _cut_list(desk: ReviewDesk, request: Request) -> Response:
    source_video_id = _signed(desk, request, "cutlist")
    query = _query(request)
    form, only = query.get("form", ["csv"])[-1], query.get("only", [])
    return await run_in_threadpool(functools.partial(cut_list_answer, desk, source_video_id, form=form, only=only))


async def _thumbnail(desk: ReviewDesk, request: Request) -> Response:
    source_video_id = _signed(desk, request, "thumbnail")

    def serve() -> Response:
        key = FactsStore(desk.database).load(source_video_id).thumbnail_filepath
        if key is None:
            raise NotFoundError(f"source video {source_video_id} has no thumbnail any more: load the page again")
        return _object(desk, key, None, media_type="image/jpeg")

    return await run_in_threadpool(serve)


async def _subtitles(desk: ReviewDesk, request: Request) -> Response:
    """The file of a transcript, to be saved: a stranger wrote it, so no browser shall show it as a page."""
    transcript_id = _signed(desk, request, "subtitles")

    def serve() -> Response:
        key = TranscriptStore(desk.database).load(transcript_id).subtitle_filepath
        return _object(desk, key, key.rpartition("/")[2], media_type="application/octet-stream")

    return await run_in_threadpool(serve)


async def _queue(desk: ReviewDesk, request: Request) -> Response:
    session = _session(desk, request)
    chosen = filter_of_query(_query(request))
    opened = _whole(request, "open", 0)
    limit = _whole(request, "limit", 6)
    return _said(await in_lane(request, desk.queue, session, chosen, limit=limit, open_clip_id=opened or None))


async def _video(desk: ReviewDesk, request: Request) -> Response:
    _session(desk, request)
    frame = _whole(request, "frame") if "frame" in request.query_params else None
    return _said(await in_lane(request, desk.video, _whole(request, "id"), frame))


async def _decisions(desk: ReviewDesk, request: Request) -> Response:
    session = _session(desk, request)
    body = await _json(request)
    if "selection" in body:  # thousands of clips take seconds
        request.state.lane = None
    return _said(await in_lane(request, desk.decide, session, body, filter_of_query(_query(request))))


async def _selection(desk: ReviewDesk, request: Request) -> Response:
    """All clips that match the filters of the query, to be decided on at once."""
    _session(desk, request)
    return _said(await run_in_threadpool(desk.select_all, filter_of_query(_query(request))))


async def _sync(desk: ReviewDesk, request: Request) -> Response:
    session = _session(desk, request)
    body = await _json(request)
    ids = incoming.numbers(body, "hold", least=0, most=incoming.MAX_HELD) if "hold" in body else []
    versions = incoming.versions(body, "known")
    chosen = filter_of_query(_query(request))
    return _said(await in_lane(request, desk.sync, session, hold=ids, known=versions, chosen=chosen))


async def _begun_upload(desk: ReviewDesk, request: Request) -> Response:
    """What is there of a file that the page wants to send, or the end of it."""
    session = _session(desk, request)
    if request.method == "DELETE":
        await cancel_upload(request, desk, session)
        return Response(status_code=204, headers=FRESH)
    return JSONResponse(dict(await begun_upload(request, desk, session)), headers=FRESH)


async def _upload(desk: ReviewDesk, request: Request) -> Response:
    session = _session(desk, request)
    video = await save_upload(request, desk, session)
    return JSONResponse({"id": video.id, "title": video.title}, status_code=201, headers=FRESH)


async def _remember(desk: ReviewDesk, request: Request) -> Response:
    """Remember the chosen name in a cookie that no script can read, or forget it."""
    answer = Response(status_code=204, headers=FRESH)
    found = desk.links.remembered_by({name: value for name, value in request.cookies.items() if name != desk.links.cookie})
    if found is not None:  # of an older version
        answer.delete_cookie(found[0])
    if request.method == "DELETE":
        answer.delete_cookie(desk.links.cookie)
        return answer
    token = desk.links.remembered_token(_session(desk, request))
    secure = request.url.scheme == "https"
    answer.set_cookie(desk.links.cookie, token, max_age=REMEMBERED_TTL_SECONDS, secure=secure, httponly=True, samesite="strict")
    return answer


async def _health(desk: ReviewDesk, request: Request) -> Response:
    def look() -> None:
        with desk.database.read() as connection:
            connection.exec_driver_sql("select 1")

    await run_in_threadpool(look)
    return JSONResponse({"ok": True}, headers=FRESH)


async def _json(request: Request) -> dict[str, Any]:
    """The body as a JSON object of at most 64 KiB. Raises BadRequestError."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > incoming.MAX_BODY_BYTES:
            raise BadRequestError("the message is too long")
    return incoming.json_object(bytes(data))


def _said(answer: Answer) -> JSONResponse:
    return JSONResponse(dict(answer.body), status_code=answer.status, headers=FRESH)
