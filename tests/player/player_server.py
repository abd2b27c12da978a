"""A small server for the player's browser tests: the HTTP contract of review_app/player/README.md over one barcode video.

The review rules are the real ones (tests/review_in_memory.py runs the pure core in memory). There is no database, and there are no
signatures: those have tests of their own. `Faults` makes it fail on purpose.
"""

from __future__ import annotations

import asyncio
import io
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import review_app.player
from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.cuts import ReviewClip
from heaters_dagster.domain.errors import CutError, HeatersError, NothingToUndoError, StaleClipError
from heaters_dagster.domain.frame_index import FrameIndex
from heaters_dagster.domain.states import ClipState
from resources.media.frame_reader import FrameReader
from resources.media.remuxer import ProxyReader, remux, remux_sound
from review_app.player.index_slice import slice_json
from tests.media_files import barcode_video
from tests.proxy_files import index_of
from tests.review_in_memory import ReviewInMemory, clips_of

STATIC = Path(review_app.player.__file__).parent / "static"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Heaters player</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/modules/page/styles.css">
<style>html,body{{margin:0;background:var(--page);color:inherit}} body{{padding:16px}}
:root{{--page:#fff;--st-background-color:#ffffff;--st-secondary-background-color:#f2f4f7;--st-text-color:#1c2430}}
:root[data-theme=dark]{{--page:#0e1117;--st-background-color:#0e1117;--st-secondary-background-color:#171c25;--st-text-color:#e8ecf2}}</style>
<body><input id="field" aria-label="a field" style="position:fixed;right:0;bottom:0;opacity:.01">
<div id="app"></div><script type="module">{script}</script></body></html>"""


def make_proxy(path: Path, *, frames: int, vfr: bool = False, size: tuple[int, int] = (640, 360), audio: bool = True) -> Path:
    """An all-intra barcode video with a new picture every 40 frames, as the proxy stage would write it."""
    scenes = tuple(range(40, frames, 40))
    rate = Fraction(30_000, 1001)
    return barcode_video(path, frames=frames, rate=rate, size=size, audio=audio, vfr=vfr, keyframe_every=1, scenes=scenes)


@dataclass
class Faults:
    """status: next answers by route name, taken one after the other. held: route names that do not answer until they are taken out.
    delay_seconds: by route name, for every answer.
    """

    status: dict[str, list[int]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    delay_seconds: dict[str, float] = field(default_factory=dict)
    lost_answers: int = 0  # decisions that are applied and whose answer never arrives
    without_videos: bool = False  # the queue brings clips without their videos
    expired_before: int = 0  # media links of an older generation answer 403

    def next_status(self, route: str) -> int | None:
        planned = self.status.get(route)
        return planned.pop(0) if planned else None


class Player:
    """What the server serves and saw. Change `faults` and `review` between requests.

    requests: counted by route. decisions: bodies in the order in which they were considered, each once, however often a page sent it.
    """

    def __init__(self, proxy: Path, *, edges: tuple[int, ...] | None = None, title: str = "Barcode") -> None:
        self.proxy = proxy
        self.index: FrameIndex = index_of(proxy)
        count = self.index.header.frame_count
        self.review = ReviewInMemory.of(clips_of(*(edges or (*range(0, count, 40), count))))
        self.index_ranges: list[tuple[int, int]] = []  # asked for, in order
        self.title = title
        self.faults = Faults()
        self.requests: Counter[str] = Counter()
        self.decisions: list[dict[str, Any]] = []
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}
        self.action_ids: dict[str, int] = {}
        self.generation = 0
        self.leased_to_others: dict[int, str] = {}
        self.beside: dict[int, str] = {}  # what further stages say of a clip
        self.url = ""
        self._work = tempfile.TemporaryDirectory()
        self._lock = threading.Lock()

    def clip_json(self, clip: ReviewClip) -> dict[str, Any]:
        index = self.index
        return {
            "id": clip.id,
            "source_video_id": clip.source_video_id,
            "sequence": clip.sequence,
            "start_frame": clip.start_frame,
            "end_frame": clip.end_frame,
            "start_seconds": index.time_seconds(clip.start_frame),
            "end_seconds": index.time_seconds(clip.end_frame),
            "state": str(clip.state),
            "beside": self.beside.get(clip.id, ""),
            "version": clip.version,
            "changed_by": self.changed_by(clip),
            "grouped_with_clip_id": clip.grouped_with_clip_id,
            "cut": None if clip.transition is None else clip.transition.to_json(),
            "start_confidence": None if clip.start_frame == 0 else (0.97, 0.62, 0.35)[clip.start_frame // 40 % 3],
            "start_kind": None,
            "end_kind": None,
            "end_confidence": None if clip.end_frame == index.header.frame_count else (0.97, 0.62, 0.35)[clip.end_frame // 40 % 3],
            "links": [{"label": "Dagster", "url": "/dagster/partition/1"}, {"label": "bad", "url": "javascript:window.hacked=true"}],
        }

    def video_json(self) -> dict[str, Any]:
        generation = self.generation
        return {
            "id": 1,
            "title": self.title,
            "frame_count": self.index.header.frame_count,
            "media_url": f"/api/media?generation={generation}",
            "index_url": f"/api/index?generation={generation}",
            "segment_url": f"/api/segment?generation={generation}",
            "still_url": f"/api/still?generation={generation}",
        }

    def changed_by(self, clip: ReviewClip) -> dict[str, Any] | None:
        """By the ledger; the page's own reviewer has the id 1."""
        name = next((self.review.authors[one.id] for one in reversed(self.review.ledger) if clip.id in one.clip_ids), None)
        return None if name is None else {"id": 1 if name == "tester" else 7, "name": name}

    def around(self, changed: list[ReviewClip]) -> list[dict[str, Any]]:
        """`changed` as far as they live, and the clips beside them."""
        live = self.review.live
        edges = {frame for clip in changed for frame in (clip.start_frame, clip.end_frame)}
        ids = {clip.id for clip in changed}
        return [self.clip_json(clip) for clip in live if clip.id in ids or {clip.start_frame, clip.end_frame} & edges]

    def progress(self) -> dict[str, Any]:
        left = sum(clip.state == ClipState.PENDING_REVIEW for clip in self.review.live)
        return {"done": len(self.review.live) - left, "left": left, "per_hour": 240.0}

    def decide(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self._lock:
            key = body["request_key"]
            if key in self.answers:
                status, answer = self.answers[key]
                return status, {**answer, "replayed": True}
            self.decisions.append(body)
            status, answer = self._decided(body)
            self.answers[key] = (status, answer)
            return status, answer

    def _decided(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        review, action, who = self.review, body["action"], "tester"
        touched = [review.clips[int(n)] for n in body["versions"] if int(n) in review.clips]
        try:
            for n, version in body["versions"].items():
                clip = review.clips[int(n)]
                if action not in {"undo", "redo"} and (not clip.is_live or version not in {None, clip.version}):
                    raise StaleClipError(f"clip {n} was changed by Ada since you saw it")
            match action:
                case "approve" | "skip" | "archive":
                    action_id = getattr(review, action)(who, body["clip_id"])
                case "group":
                    action_id = review.group(who, body["clip_id"])
                case "add_cut_point":
                    action_id = review.add(who, body["frame"])
                case "remove_cut_point":
                    action_id = review.remove(who, body["frame"])
                case "move_cut_point":
                    action_id = review.move(who, body["frame"], body["new_frame"])
                case "edit_cut":
                    told = Transition(CutKind(body["kind"]), body.get("first_frame"), body.get("last_frame"))
                    action_id = review.edit(who, body["frame"], told)
                case "undo":
                    target = body.get("target")
                    action_id = review.undo(who, self.action_ids[target] if target else None)
                case "redo":
                    action_id = review.redo(who)
                case _:
                    return 422, {"error": f"{action} is not a review action", "code": "illegal", "clips": []}
        except StaleClipError as error:
            return 409, {"error": str(error), "code": "stale", "clips": self.around(touched), "retired": self._retired(touched)}
        except (CutError, NothingToUndoError, HeatersError) as error:
            return 422, {"error": str(error), "code": "illegal", "clips": self.around(touched)}
        self.action_ids[body["request_key"]] = action_id
        entry = review.entry(action_id)
        changed = [review.clips[n] for n in entry.clip_ids]
        return 200, {
            "ok": True,
            "replayed": False,
            "action_id": action_id,
            "action": action,
            "clips": self.around(changed),
            "changed": [clip.id for clip in changed if clip.is_live],
            "retired": self._retired(changed),
            "versions": {str(clip.id): clip.version for clip in changed},
            "progress": self.progress(),
            **self._done(entry.target_action_id),
        }

    def _done(self, target: int | None) -> dict[str, Any]:
        if target is None:
            return {}
        changes = self.review.changes[target]
        before = [self.clip_json(change.before) for change in changes if change.before is not None and change.before.is_live]
        after = [self.clip_json(change.after) for change in changes if change.after.is_live]
        return {"done": {"action": str(self.review.entry(target).action), "before": before, "after": after, "title": self.title}}

    @staticmethod
    def _retired(clips: list[ReviewClip]) -> list[int | None]:
        return [clip.id for clip in clips if not clip.is_live]

    def queue(self, limit: int, open_id: int | None) -> dict[str, Any]:
        live = self.review.live
        waiting = [clip for clip in live if clip.state == ClipState.PENDING_REVIEW and clip.id not in self.leased_to_others]
        first = [clip for clip in live if clip.id == open_id]
        handed = [*first, *(clip for clip in waiting if clip.id != open_id)][:limit]
        return {
            "queue": [clip.id for clip in handed],
            "has_decided": bool(self.review.ledger),
            "clips": self.around(handed),
            "videos": [] if self.faults.without_videos else [self.video_json()],
            "progress": self.progress(),
            "lease_seconds": 60,
            **({"opened": open_id} if first else {}),
            **({"note": f"{self.leased_to_others[open_id]} is on this clip too."} if open_id in self.leased_to_others else {}),
        }

    def segment(self, start: int, end: int, *, sound_only: bool = False) -> Path:
        path = Path(self._work.name) / f"{self.proxy.stem}_{start}_{end}{'.m4a' if sound_only else '.mp4'}"
        with self._lock:
            if not path.exists():
                with ProxyReader(self.proxy) as reader:
                    if sound_only:
                        remux_sound(reader, self.index, start_frame=start, end_frame=end, path=path)
                    else:
                        remux(reader, self.index, start_frame=start, end_frame=end, path=path, title="clip")
        return path

    def still(self, frame: int, width: int) -> bytes:
        with FrameReader(self.proxy, self.index) as reader:
            picture = Image.fromarray(reader.read_frame(frame))
        height = round(picture.height * width / picture.width)
        data = io.BytesIO()
        picture.resize((width, height)).save(data, "JPEG", quality=88)
        return data.getvalue()


def app_of(player: Player, scripts: dict[str, str]) -> Starlette:
    """scripts: body of the module script of the page at /page/{name}."""

    def served(name: str, answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            player.requests[name] += 1
            await request.body()  # before any wait: whoever goes away meanwhile has still said it
            if delay := player.faults.delay_seconds.get(name):
                await asyncio.sleep(delay)
            while name in player.faults.held:
                await asyncio.sleep(0.02)
            status = player.faults.next_status(name)
            if status:
                return JSONResponse({"error": f"planned fault {status}", "code": "planned"}, status_code=status)
            generation = int(request.query_params.get("generation", player.faults.expired_before))
            if generation < player.faults.expired_before:
                return JSONResponse({"error": "this link has expired", "code": "link_expired"}, status_code=403)
            return await answer(request)

        return endpoint

    async def media(request: Request) -> Response:
        return FileResponse(player.proxy)

    async def index(request: Request) -> Response:
        start, end = _range(request)
        player.index_ranges.append((start, end))
        return JSONResponse(slice_json(player.index, start, end))

    async def segment(request: Request) -> Response:
        sound_only = request.query_params.get("only") == "audio"
        path = await asyncio.to_thread(player.segment, *_range(request), sound_only=sound_only)
        headers = {"Cache-Control": "private, max-age=3600"}
        return FileResponse(path, media_type="audio/mp4" if sound_only else "video/mp4", headers=headers)

    async def still(request: Request) -> Response:
        query = request.query_params
        data = await asyncio.to_thread(player.still, int(query["frame"]), int(query.get("width", 320)))
        return Response(data, media_type="image/jpeg")

    async def video(request: Request) -> Response:
        if "frame" not in request.query_params:
            return JSONResponse(player.video_json())
        frame = int(request.query_params["frame"])
        clip = next(clip for clip in player.review.live if clip.start_frame <= frame < clip.end_frame)
        return JSONResponse({**player.video_json(), "clip_id": clip.id, "clips": player.around([clip])})

    async def queue(request: Request) -> Response:
        opened = request.query_params.get("open")
        return JSONResponse(player.queue(int(request.query_params.get("limit", 6)), int(opened) if opened else None))

    async def decisions(request: Request) -> Response:
        status, answer = player.decide(await request.json())
        if player.faults.lost_answers:
            player.faults.lost_answers -= 1
            return JSONResponse({"error": "the database went away", "code": "unavailable"}, status_code=503)
        return JSONResponse(answer, status_code=status)

    async def sync(request: Request) -> Response:
        body = await request.json()
        held = [n for n in body["hold"] if n not in player.leased_to_others]
        lost = [{"clip_id": n, "reviewer": player.leased_to_others[n]} for n in body["hold"] if n in player.leased_to_others]
        known = {int(n): version for n, version in body["known"].items()}
        changed = [clip for n, version in known.items() if (clip := player.review.clips.get(n)) and clip.version != version]
        fresh = player.around(changed)
        return JSONResponse(
            {"held": held, "lost": lost, "clips": fresh, "retired": player._retired(changed), "progress": player.progress()}
        )

    async def page(request: Request) -> Response:
        return HTMLResponse(PAGE.format(script=scripts[request.path_params["name"]]))

    routes = {"media": media, "index": index, "segment": segment, "still": still, "video": video, "queue": queue}
    return Starlette(
        routes=[
            *(Route(f"/api/{name}", served(name, endpoint)) for name, endpoint in routes.items()),
            Route("/api/decisions", served("decisions", decisions), methods=["POST"]),
            Route("/api/sync", served("sync", sync), methods=["POST"]),
            Route("/page/{name}", page),
            Mount("/modules", StaticFiles(directory=STATIC)),
        ]
    )


def _range(request: Request) -> tuple[int, int]:
    return int(request.query_params["start"]), int(request.query_params["end"])


@contextmanager
def serving(player: Player, scripts: dict[str, str]) -> Iterator[Player]:
    """Serve on a free loopback port until the block ends; `player.url` is the address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app_of(player, scripts), host="127.0.0.1", port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline, "the test server does not start"
        time.sleep(0.02)
    player.url = f"http://127.0.0.1:{port}"
    try:
        yield player
    finally:
        player.faults.held.clear()
        server.should_exit = server.force_exit = True
        thread.join(10)
        player._work.cleanup()
