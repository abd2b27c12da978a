"""The review app's routes on real Postgres and a real proxy: what is served, what is refused, and what a decision comes to."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import re
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text
from sqlalchemy.engine import make_url
from starlette.applications import Starlette
from starlette.testclient import TestClient

from assets.source_video import fetch_source_video
from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.errors import BusyError, DatabaseUnavailableError, DiskFullError
from heaters_dagster.domain.frame_index import FrameIndex, encoded
from heaters_dagster.domain.keys import frame_index_key, proxy_key
from heaters_dagster.domain.source_facts import Origin, SourceFacts
from heaters_dagster.domain.stages import EXPORTS
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.subtitles import Line, SubtitleFile
from heaters_dagster.registries import CUT_LIST_FORMATS, EXPORT_PROFILES
from heaters_dagster.settings import Settings
from resources.media.first_bytes import HEAD_BYTES
from resources.object_store.interface import ObjectStore
from resources.object_store.open import open_object_store
from resources.object_store.s3 import S3ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.postgres.clip_store import Clip, ClipStore, MadeObject
from resources.postgres.database import Database
from resources.postgres.facts_store import FactsStore
from resources.postgres.reviewer_store import ReviewerStore
from resources.postgres.source_video_store import SourceVideo
from resources.postgres.transcript_store import TranscriptStore
from resources.sources.begun_uploads import opened_upload
from resources.sources.downloader import Downloader
from resources.sources.given_files import GivenFiles
from resources.upkeep.leftovers import sweep_uploaded_objects
from resources.upkeep.source_video_removal import rename_source_video
from review_app.server.routes import DECIDING_THREADS, TOKEN_HEADER, review_routes
from review_app.service.links import OLD_COOKIE, Links, Session, open_links
from review_app.service.review_desk import ReviewDesk
from review_app.service.upload_room import MAX_UPLOADS, RESERVE_BYTES, UploadRoom
from tests.buckets import BucketServer
from tests.media_files import barcode_video, ffmpeg, make_video, noisy_minute
from tests.pipeline_rows import waiting_transactions
from tests.proxy_files import stored_video
from tests.this_machine import eventually

OWN = {"Sec-Fetch-Site": "same-origin"}
A_FILM = b"YUV4MPEG2 W16 H16 F1:1 C420jpeg\nFRAME\n" + bytes(16 * 16 * 3 // 2)


@pytest.fixture
def video(tmp_path: Path, database: Database, object_store: ObjectStore) -> SourceVideo:
    source = barcode_video(tmp_path / "holiday.mp4", frames=60, vfr=True)
    return stored_video(source, tmp_path, database=database, objects=object_store, cuts=(20, 40), approved=False)


def _large_jpeg() -> bytes:
    file = BytesIO()
    Image.frombytes("L", (2000, 1000), random.Random(1).randbytes(2_000_000)).save(file, "JPEG", quality=95)
    assert file.tell() > HEAD_BYTES
    return file.getvalue()


@pytest.fixture
def client(desk: ReviewDesk) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=review_routes(lambda: desk))) as client:
        yield client


def signed_in(desk: ReviewDesk, name: str = "Ada") -> dict[str, str]:
    reviewer = ReviewerStore(desk.database).named(name)
    return {TOKEN_HEADER: desk.links.session_token(Session(reviewer.id, reviewer.name)), **OWN}


def clips_of(desk: ReviewDesk, video: SourceVideo) -> list[Clip]:
    return ClipStore(desk.database).load_live(video.id)


def decision(clip: Clip, action: str, key: str, **more: Any) -> dict[str, Any]:
    versions = {str(clip.id): clip.cut_point_version}
    return {
        "request_key": key, "action": action, "clip_id": clip.id, "source_video_id": clip.source_video_id, "versions": versions, **more,
    }  # fmt: skip


# Media


def test_the_address_that_the_other_pages_let_one_expect_leads_to_review_with_its_filters(client: TestClient) -> None:
    answers = [client.get(path, follow_redirects=False) for path in ("/review", "/review?video=3&order=confidence")]
    assert [(answer.status_code, answer.headers["location"]) for answer in answers] == [(307, "./"), (307, "./?video=3&order=confidence")]


def test_the_proxy_is_served_by_byte_ranges(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    whole = desk.objects.get_bytes(proxy_key(video.id))
    url = desk.addresses.media_url("proxy", video.id)
    part = client.get(url, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    assert client.get(url).content == whole
    assert client.get(url, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416
    assert client.get(url, headers={"Range": "bytes=-10"}).content == whole[-10:]


@pytest.mark.parametrize("kind", ["proxy", "index", "segment", "still", "export", "clips"])
def test_media_without_a_signature_is_refused(client: TestClient, desk: ReviewDesk, video: SourceVideo, kind: str) -> None:
    for token in ("", "forged", desk.links.media_token("proxy" if kind != "proxy" else "index", video.id)):
        answer = client.get(f"/api/{kind}/{video.id}", params={"token": token, "start": 0, "end": 5, "frame": 1})
        assert answer.status_code == 403
        assert answer.json()["code"] == "forbidden"


def test_a_signature_for_one_video_does_not_open_another(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    token = desk.links.media_token("proxy", video.id)
    assert client.get(f"/api/proxy/{video.id + 1}", params={"token": token}).status_code == 403


@pytest.mark.parametrize("path", ["/api/proxy/../../etc/passwd", "/api/proxy/..%2f..%2fetc%2fpasswd", "/api/proxy/-1", "/api/proxy/1e3"])
def test_a_path_that_is_no_id_reaches_nothing(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_index_slice_says_when_its_last_frame_ends(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    answer = client.get(desk.addresses.media_url("index", video.id, start=20, end=40)).json()
    index = desk.indexes.load(video.id)
    assert answer["first_frame"] == 20
    assert answer["pts"] == index.pts[20:40].tolist()
    assert answer["byte_offset"] == index.byte_offset[20:40].tolist()
    assert answer["end_pts"] == index.pts[40]
    assert client.get(desk.addresses.media_url("index", video.id, start=40, end=60)).json()["end_pts"] == index.header.end_pts


def test_an_index_of_any_length_comes_in_answers_of_bounded_length(
    client: TestClient, desk: ReviewDesk, video: SourceVideo, object_store: ObjectStore
) -> None:
    """More than 200,000 frames in one clip were refused for ever."""
    count = 200_100
    header = replace(desk.indexes.header(video.id), frame_count=count, end_pts=3 * count)
    frames = np.arange(count, dtype=np.int64)
    long_id = video.id + 1
    object_store.put_bytes(frame_index_key(long_id), encoded(FrameIndex(header, 0, 3 * frames, 100 * frames, np.full(count, 99))))
    pts: list[int] = []
    while len(pts) < count:
        answer = client.get(desk.addresses.media_url("index", long_id, start=len(pts), end=count)).json()
        assert (answer["first_frame"], answer["end_frame"], answer["frame_count"]) == (len(pts), len(pts) + len(answer["pts"]), count)
        assert len(answer["pts"]) <= 20_000
        assert answer["end_pts"] == 3 * answer["end_frame"]
        pts += answer["pts"]
    assert pts == (3 * frames).tolist()


@pytest.mark.parametrize(("start", "end"), [(0, 61), (10, 10), (-1, 4), ("a", 4), (0, 10**9)])
def test_frames_that_are_not_there_are_refused_in_words(
    client: TestClient, desk: ReviewDesk, video: SourceVideo, start: Any, end: Any
) -> None:
    for kind in ("index", "segment"):
        answer = client.get(desk.addresses.media_url(kind, video.id, start=start, end=end))
        assert answer.status_code == (422 if isinstance(start, int) and start >= 0 else 400)
        assert answer.json()["error"]


def test_a_segment_is_the_clip_by_itself(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    answer = client.get(desk.addresses.media_url("segment", video.id, start=20, end=40))
    with av.open(BytesIO(answer.content)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 20
    assert frames[0].pts == 0


def test_the_sound_of_a_segment_comes_alone_and_stays_small(
    client: TestClient, desk: ReviewDesk, tmp_path: Path, database: Database, object_store: ObjectStore
) -> None:
    source = noisy_minute(tmp_path / "minute.mp4")
    video = stored_video(source, tmp_path, database=database, objects=object_store, proxy=source)
    whole = client.get(desk.addresses.media_url("segment", video.id, start=0, end=300))
    answer = client.get(desk.addresses.media_url("segment", video.id, start=0, end=300, only="audio"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/mp4")
    assert len(whole.content) > 8 * 2**20 > 4 * len(answer.content)
    with av.open(BytesIO(answer.content)) as container, av.open(BytesIO(whole.content)) as both:
        assert not container.streams.video
        assert [bytes(packet) for packet in container.demux(audio=0)] == [bytes(packet) for packet in both.demux(audio=0)]
    assert client.get(desk.addresses.media_url("segment", video.id, start=0, end=20, only="video")).status_code == 400


def test_the_sound_of_a_silent_video_is_not_there(
    client: TestClient, desk: ReviewDesk, tmp_path: Path, database: Database, object_store: ObjectStore
) -> None:
    source = make_video(tmp_path / "silent.mp4", frames=20, audio=False)
    video = stored_video(source, tmp_path, database=database, objects=object_store)
    answer = client.get(desk.addresses.media_url("segment", video.id, start=0, end=20, only="audio"))
    assert answer.status_code == 404
    assert answer.json()["error"] == "frames 0..19 have no sound"


def test_a_still_is_a_picture_of_that_width(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    answer = client.get(desk.addresses.media_url("still", video.id, frame=33, width=64))
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(BytesIO(answer.content)).width == 64
    assert client.get(desk.addresses.media_url("still", video.id, frame=60)).status_code == 422
    assert client.get(desk.addresses.media_url("still", video.id, frame=0, width=99_999)).status_code == 422


def test_a_proxy_that_is_gone_is_said(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    desk.objects.delete(proxy_key(video.id))
    answer = client.get(desk.addresses.media_url("proxy", video.id))
    assert answer.status_code == 404
    assert "Retry" in answer.json()["error"]


# Decisions


@pytest.mark.parametrize("route", ["/api/decisions", "/api/sync"])
def test_a_post_without_a_session_is_refused(client: TestClient, route: str) -> None:
    answer = client.post(route, json={}, headers=OWN)
    assert (answer.status_code, answer.json()["code"]) == (401, "signed_out")


@pytest.mark.parametrize("foreign", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}])
def test_a_post_from_another_site_is_refused(client: TestClient, desk: ReviewDesk, video: SourceVideo, foreign: dict[str, str]) -> None:
    clip = clips_of(desk, video)[0]
    headers = {name: value for name, value in signed_in(desk).items() if name == TOKEN_HEADER} | foreign
    answer = client.post("/api/decisions", json=decision(clip, "approve", "k1"), headers=headers)
    assert answer.status_code == 403
    assert desk.clips.load(clip.id).state == ClipState.PENDING_REVIEW


def test_the_queue_leases_clips_and_gives_their_neighbours(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    first = client.get("/api/queue", params={"limit": 2}, headers=signed_in(desk, "Ada")).json()
    second = client.get("/api/queue", params={"limit": 2}, headers=signed_in(desk, "Bob")).json()
    ids = [clip.id for clip in clips_of(desk, video)]
    assert (first["queue"], second["queue"]) == (ids[:2], ids[2:])
    assert {clip["id"] for clip in first["clips"]} == set(ids)
    assert first["progress"] == {"done": 0, "left": 3, "per_hour": 0.0}
    (shown,) = first["videos"]
    assert client.get(shown["media_url"]).status_code == 200


def test_the_queue_says_whether_the_reviewer_has_ever_decided(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    def told(name: str) -> bool:
        return bool(client.get("/api/queue", headers=signed_in(desk, name)).json()["has_decided"])

    assert not told("Ada")
    rename_source_video(video.id, "Harbour", reviewer="Ada", database=desk.database)
    assert not told("Ada"), "a title is no decision on a clip"
    desk.reviews.approve(clips_of(desk, video)[0].id, reviewer="Ada")
    desk.reviews.undo("Ada")
    assert (told("Ada"), told("Bob")) == (True, False), "there is something to redo"


def test_a_link_to_a_clip_that_was_cut_anew_opens_what_lies_where_it_began(
    client: TestClient, desk: ReviewDesk, video: SourceVideo
) -> None:
    clip = clips_of(desk, video)[1]
    answer = client.get("/api/queue", params={"limit": 2, "open": clip.id}, headers=signed_in(desk)).json()
    assert (answer["opened"], answer["queue"][0], "note" in answer) == (clip.id, clip.id, False)
    made = desk.reviews.add_cut_point(video.id, clip.start_frame + 2, reviewer="Bob", request_key="cut")
    answer = client.get("/api/queue", params={"limit": 2, "open": clip.id}, headers=signed_in(desk)).json()
    assert answer["opened"] == answer["queue"][0] == made.live_clips[0].id
    assert answer["note"] == f"Clip {clip.sequence} of holiday was cut again. Here is the clip that now begins there."


def test_a_link_to_a_clip_that_never_was_brings_the_queue_and_says_so(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    answer = client.get("/api/queue", params={"limit": 3, "open": 987_654}, headers=signed_in(desk)).json()
    assert "opened" not in answer
    assert answer["queue"] == [clip.id for clip in clips_of(desk, video)]
    assert answer["note"].startswith("The clip in the address does not exist")


def test_an_approval_is_committed_and_answered_with_the_fresh_clip(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    clip = clips_of(desk, video)[1]
    answer = client.post("/api/decisions", json=decision(clip, "approve", "k1"), headers=signed_in(desk)).json()
    assert (answer["ok"], answer["changed"], answer["progress"]["left"]) == (True, [clip.id], 2)
    assert desk.clips.load(clip.id).state == ClipState.REVIEW_APPROVED


def test_the_same_decision_sent_again_is_applied_once(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    clip, headers = clips_of(desk, video)[1], signed_in(desk)
    body = decision(clip, "add_cut_point", "k1", frame=30)
    first, again = (client.post("/api/decisions", json=body, headers=headers).json() for _ in range(2))
    assert first["action_id"] == again["action_id"]
    assert again["replayed"]
    assert [clip.start_frame for clip in clips_of(desk, video)] == [0, 20, 30, 40]


def test_a_cut_is_added_moved_removed_and_taken_back(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    headers = signed_in(desk)

    def send(body: dict[str, Any]) -> dict[str, Any]:
        answer = client.post("/api/decisions", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def starts() -> list[int]:
        return [clip.start_frame for clip in clips_of(desk, video)]

    first = clips_of(desk, video)[0]
    send(decision(first, "add_cut_point", "k1", frame=9))
    left, _right, *_ = clips_of(desk, video)
    send(decision(left, "move_cut_point", "k2", frame=9, new_frame=11))
    assert starts() == [0, 11, 20, 40]
    send({"request_key": "k3", "action": "remove_cut_point", "source_video_id": video.id, "frame": 20, "versions": {}})
    assert starts() == [0, 11, 40]
    send({"request_key": "k4", "action": "undo"})
    send({"request_key": "k5", "action": "undo", "target": "k2"})
    assert starts() == [0, 9, 20, 40]
    send({"request_key": "k6", "action": "redo"})
    assert starts() == [0, 11, 20, 40]


def test_what_a_cut_is_can_be_said_once_and_taken_back(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    headers = signed_in(desk)

    def send(body: dict[str, Any], status: int = 200) -> dict[str, Any]:
        answer = client.post("/api/decisions", json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    def told() -> list[Any]:
        return [clip.transition and clip.transition.to_json() for clip in clips_of(desk, video)]

    dissolve = {"kind": "dissolve", "first_frame": 16, "last_frame": 23}
    left, right, *_ = clips_of(desk, video)
    seen = {str(left.id): left.cut_point_version, str(right.id): right.cut_point_version}
    body = {"request_key": "k1", "action": "edit_cut", "source_video_id": video.id, "frame": 20, **dissolve, "versions": seen}
    done = send(body)
    assert send(body)["replayed"]
    assert [clip["cut"] for clip in done["clips"]] == told() == [{"kind": "end", "first_frame": None, "last_frame": None}, dissolve, None]
    assert (done["changed"], done["versions"]) == ([left.id, right.id], {str(left.id): 2, str(right.id): 2})
    assert send({**body, "request_key": "k2", "kind": "fade"}, 409)["code"] == "stale"
    refused = send({**body, "request_key": "k3", "first_frame": 21, "versions": {}}, 422)
    assert "can begin at frames 0..20 and end at frames 19..39; it cannot be 21..23" in refused["error"]
    refused = send({**body, "request_key": "k8", "kind": "jump", "versions": {}}, 422)
    assert "a jump cut has no transition, so the one at frame 20 cannot have the frames 16..23" in refused["error"]
    assert "kind='zoom' is not one of: hard, dissolve" in send({**body, "request_key": "k4", "kind": "zoom", "versions": {}}, 400)["error"]
    send({"request_key": "k5", "action": "undo"})
    assert told()[1] is None
    send({"request_key": "k6", "action": "redo"})
    assert told()[1] == dissolve
    send({**body, "request_key": "k7", "kind": "hard", "first_frame": None, "last_frame": None, "versions": {}})
    assert told()[1] == {"kind": "hard", "first_frame": None, "last_frame": None}


def test_undo_and_redo_go_on_past_a_decision_that_changed_nothing(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    headers = signed_in(desk)
    clip = clips_of(desk, video)[0]

    def send(body: dict[str, Any]) -> str:
        answer = client.post("/api/decisions", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return str(desk.clips.load(clip.id).state)

    send(decision(clip, "approve", "k1"))
    send({**decision(clip, "approve", "k2"), "versions": {}})
    assert send({"request_key": "k3", "action": "undo", "target": "k2"}) == ClipState.REVIEW_APPROVED
    assert send({"request_key": "k4", "action": "undo", "target": "k1"}) == ClipState.PENDING_REVIEW
    assert send({"request_key": "k5", "action": "redo", "target": "k1"}) == ClipState.REVIEW_APPROVED
    assert send({"request_key": "k6", "action": "redo", "target": "k2"}) == ClipState.REVIEW_APPROVED
    answer = client.post("/api/decisions", json={"request_key": "k7", "action": "redo", "target": "k1"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "illegal")


def test_of_several_ticked_clips_those_that_a_colleague_changed_stay_as_they_are(
    client: TestClient, desk: ReviewDesk, video: SourceVideo
) -> None:
    first, *rest = clips_of(desk, video)
    ticked = {
        "request_key": "k2",
        "action": "approve",
        "clip_ids": [clip.id for clip in (first, *rest)],
        "versions": {str(clip.id): clip.cut_point_version for clip in (first, *rest)},
    }
    client.post("/api/decisions", json=decision(first, "skip", "k1"), headers=signed_in(desk, "Bob"))
    answers = [client.post("/api/decisions", json=ticked, headers=signed_in(desk, "Ada")) for _ in range(2)]
    assert [(answer.status_code, answer.json()["replayed"]) for answer in answers] == [(200, False), (200, True)]
    told = answers[0].json()["told"]
    assert told.startswith(f"{len(rest)} clip")
    assert f"clip 1 of {video.title}" in told
    assert "by Bob" in told
    states = [ClipState.REVIEW_SKIPPED, *[ClipState.REVIEW_APPROVED] * len(rest)]
    assert [clip.state for clip in clips_of(desk, video)] == states
    client.post("/api/decisions", json={"request_key": "k3", "action": "undo", "target": "k2"}, headers=signed_in(desk, "Ada"))
    assert [clip.state for clip in clips_of(desk, video)] == [ClipState.REVIEW_SKIPPED, *[ClipState.PENDING_REVIEW] * len(rest)]


def test_a_stale_decision_is_refused_with_the_fresh_clip(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    clip = clips_of(desk, video)[0]
    client.post("/api/decisions", json=decision(clip, "skip", "k1"), headers=signed_in(desk, "Bob"))
    answer = client.post("/api/decisions", json=decision(clip, "approve", "k2"), headers=signed_in(desk, "Ada"))
    assert (answer.status_code, answer.json()["code"]) == (409, "stale")
    assert answer.json()["error"] == f"Bob has changed clip 1 of {video.title} since you saw it: it has frames 0–19 and is skipped."
    fresh = next(one for one in answer.json()["clips"] if one["id"] == clip.id)
    assert (fresh["state"], fresh["version"]) == ("review_skipped", clip.cut_point_version + 1)


def test_a_decision_sent_again_does_not_teach_what_a_colleague_has_made_of_the_clip_since(
    client: TestClient, desk: ReviewDesk, video: SourceVideo
) -> None:
    clip, headers = clips_of(desk, video)[0], signed_in(desk)
    body = decision(clip, "approve", "k1")
    first = client.post("/api/decisions", json=body, headers=headers).json()
    desk.reviews.archive(clip.id, reviewer="Bob")
    again = client.post("/api/decisions", json=body, headers=headers).json()
    assert again["versions"] == first["versions"] == {str(clip.id): clip.cut_point_version + 1}
    (shown,) = [one for one in again["clips"] if one["id"] == clip.id]
    assert (shown["version"], shown["changed_by"]["name"]) == (clip.cut_point_version + 2, "Bob")


def test_a_verdict_without_the_version_that_was_seen_changes_nobody_elses(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    first, second, third = clips_of(desk, video)
    desk.reviews.archive(first.id, reviewer="Bob")
    desk.reviews.skip(second.id, reviewer="Ada")
    answers = [
        client.post("/api/decisions", json={**decision(clip, "approve", f"k{clip.id}"), "versions": {}}, headers=signed_in(desk))
        for clip in (first, second, third)
    ]
    assert [answer.status_code for answer in answers] == [409, 200, 200]
    assert "Bob has changed" in answers[0].json()["error"]
    states = [clip.state for clip in clips_of(desk, video)]
    assert states == [ClipState.REVIEW_ARCHIVED, ClipState.REVIEW_APPROVED, ClipState.REVIEW_APPROVED]


def test_a_group_with_a_clip_that_a_colleague_put_aside_is_refused_with_the_name(
    client: TestClient, desk: ReviewDesk, video: SourceVideo
) -> None:
    first, second, _ = clips_of(desk, video)
    desk.reviews.skip(first.id, reviewer="Bob")
    seen = {str(clip.id): clip.cut_point_version for clip in clips_of(desk, video)[:2]}
    answer = client.post("/api/decisions", json={**decision(second, "group", "k1"), "versions": seen}, headers=signed_in(desk))
    assert (answer.status_code, answer.json()["code"]) == (422, "illegal")
    assert answer.json()["error"] == (
        f"clip 1 of {video.title} was skipped by Bob, and a group would approve it. Approve clip 1 first if the two belong together."
    )
    assert [clip.state for clip in clips_of(desk, video)] == [ClipState.REVIEW_SKIPPED, ClipState.PENDING_REVIEW, ClipState.PENDING_REVIEW]


def test_an_undo_says_what_it_took_back_also_when_it_is_sent_again(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    clip, headers = clips_of(desk, video)[1], signed_in(desk)
    client.post("/api/decisions", json=decision(clip, "skip", "k1"), headers=headers)
    for _ in range(2):
        done = client.post("/api/decisions", json={"request_key": "k2", "action": "undo"}, headers=headers).json()["done"]
        assert (done["action"], done["title"]) == ("skip", video.title)
        assert [(one["sequence"], one["state"]) for one in done["before"] + done["after"]] == [(2, "pending_review"), (2, "review_skipped")]


def test_an_undo_and_a_redo_say_what_the_cut_was_called(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    clip, headers = clips_of(desk, video)[1], signed_in(desk)
    desk.reviews.edit_cut(video.id, clip.start_frame, Transition(CutKind.WIPE, clip.start_frame - 1, clip.start_frame), reviewer="Ada")
    for key, action in (("k1", "undo"), ("k2", "redo")):
        done = client.post("/api/decisions", json={"request_key": key, "action": action}, headers=headers).json()["done"]
        (cut,) = [one["cut"] for one in done["after"] if one["id"] == clip.id]
        assert cut == {"kind": "wipe", "first_frame": clip.start_frame - 1, "last_frame": clip.start_frame}


def test_a_frame_of_a_video_leads_to_the_clip_that_holds_it(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    clips = clips_of(desk, video)
    for frame, clip in ((0, clips[0]), (19, clips[0]), (20, clips[1]), (59, clips[2])):
        answer = client.get("/api/video", params={"id": video.id, "frame": frame}, headers=signed_in(desk)).json()
        assert answer["clip_id"] == clip.id
        assert clip.id in {one["id"] for one in answer["clips"]}
    beyond = client.get("/api/video", params={"id": video.id, "frame": 60}, headers=signed_in(desk))
    assert (beyond.status_code, beyond.json()["code"]) == (404, "not_found")
    assert "frames 0 to 59" in beyond.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        {"action": "approve"},
        {"action": "approve", "request_key": "k", "clip_id": "1; drop table clips"},
        {"action": "explode", "request_key": "k", "clip_id": 1},
        {"action": "approve", "request_key": "k", "clip_id": 2**70},
        {"action": "approve", "request_key": "k", "clip_id": True},
        {"action": "add_cut_point", "request_key": "k", "source_video_id": 1, "frame": 1.5},
        {"action": "approve", "request_key": "k", "clip_id": 1, "versions": ["x"]},
        {"action": "approve", "request_key": "k" * 1000, "clip_id": 1},
    ],
)
def test_a_message_that_makes_no_sense_is_refused_in_words(
    client: TestClient, desk: ReviewDesk, video: SourceVideo, body: dict[str, Any]
) -> None:
    answer = client.post("/api/decisions", json=body, headers=signed_in(desk))
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert {clip.state for clip in clips_of(desk, video)} == {ClipState.PENDING_REVIEW}


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'"x"', b"x" * 70_000])
def test_a_body_that_is_no_small_object_is_refused(client: TestClient, desk: ReviewDesk, raw: bytes) -> None:
    assert client.post("/api/decisions", content=raw, headers=signed_in(desk)).status_code == 400


def test_sync_renews_leases_and_tells_what_others_did(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    one, two, _three = clips_of(desk, video)
    ada, bob = signed_in(desk, "Ada"), signed_in(desk, "Bob")
    client.get("/api/queue", params={"limit": 1}, headers=ada)
    client.get("/api/queue", params={"limit": 1}, headers=bob)
    client.post("/api/decisions", json=decision(two, "archive", "k1"), headers=bob)
    known = {str(clip.id): clip.cut_point_version for clip in (one, two)}
    answer = client.post("/api/sync", json={"hold": [one.id, two.id], "known": known}, headers=ada).json()
    assert answer["held"] == [one.id]
    assert two.id in {clip["id"] for clip in answer["clips"] if clip["state"] == "review_archived"}
    until = "select lease_expires_at from clips where id = :id"
    with desk.database.begin() as connection:
        before = connection.scalar(text(until), {"id": one.id})
    client.post("/api/sync", json={"hold": [one.id], "known": {}}, headers=ada)
    with desk.database.begin() as connection:
        assert connection.scalar(text(until), {"id": one.id}) == before, "nothing is written while most of its time is left"
        connection.execute(text("update clips set lease_expires_at = now() + interval '44 seconds' where id = :id"), {"id": one.id})
    lost = client.post("/api/sync", json={"hold": [one.id], "known": {}}, headers=bob).json()
    assert (lost["held"], lost["lost"]) == ([], [{"clip_id": one.id, "reviewer": "Ada"}])
    assert client.post("/api/sync", json={"hold": [one.id], "known": {}}, headers=ada).json()["held"] == [one.id]
    with desk.database.begin() as connection:
        left = connection.scalar(text("select lease_expires_at - now() > interval '50 seconds' from clips where id = :id"), {"id": one.id})
    assert left


def test_decisions_that_wait_for_a_source_video_keep_nobody_from_seeing_clips(
    client: TestClient, desk: ReviewDesk, video: SourceVideo
) -> None:
    clip = clips_of(desk, video)[0]
    crowd = [signed_in(desk, f"Reviewer {number}") for number in range(DECIDING_THREADS + 2)]
    with ThreadPoolExecutor(len(crowd)) as threads:
        with desk.database.begin() as connection:
            connection.execute(text("select from source_videos for no key update"))
            sent = [
                threads.submit(client.post, "/api/decisions", json=decision(clip, "skip", f"k{number}"), headers=headers)
                for number, headers in enumerate(crowd)
            ]
            assert eventually(lambda: waiting_transactions(desk.database) == DECIDING_THREADS)
            assert client.get("/api/queue", params={"limit": 1}, headers=crowd[0]).status_code == 200
            assert client.post("/api/sync", json={"hold": [clip.id], "known": {}}, headers=crowd[0]).status_code == 200
        assert sorted(answer.result(timeout=120).status_code for answer in sent) == [200, *[409] * (len(crowd) - 1)]


def test_a_clip_that_an_undo_brings_back_is_not_given_to_a_colleague(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    one, two, _three = clips_of(desk, video)
    ada, bob = signed_in(desk, "Ada"), signed_in(desk, "Bob")
    client.get("/api/queue", params={"limit": 1}, headers=ada)
    client.post("/api/decisions", json=decision(one, "approve", "k1"), headers=ada)
    client.post("/api/decisions", json={"request_key": "k2", "action": "undo", "target": "k1"}, headers=ada)
    assert client.get("/api/queue", params={"limit": 1}, headers=bob).json()["queue"] == [two.id]
    answer = client.post("/api/sync", json={"hold": [one.id], "known": {}}, headers=ada).json()
    assert (answer["held"], answer["lost"]) == ([one.id], [])


@pytest.mark.parametrize("address", ["postgresql://nobody@127.0.0.1:9/none", "postgresql://nobody@no-such-host.invalid/none", None])
def test_a_database_that_cannot_be_reached_is_said_and_comes_back(
    desk: ReviewDesk, video: SourceVideo, settings: Settings, address: str | None
) -> None:
    """Nothing listens, the name is not resolved, and the server refuses: in each case the page must keep its decision."""
    clip, headers = clips_of(desk, video)[0], signed_in(desk)
    refused = make_url(settings.database_url or "").set(database="no_such_database").render_as_string(hide_password=False)
    nowhere = Database.connect(address or refused)
    down = ReviewDesk(settings=desk.settings, database=nowhere, objects=desk.objects, links=desk.links)
    current = [down]
    with TestClient(Starlette(routes=review_routes(lambda: current[0]))) as client:
        answer = client.post("/api/decisions", json=decision(clip, "approve", "k1"), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert client.post("/api/sync", json={}, headers=headers).status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        current[0] = desk
        assert client.post("/api/decisions", json=decision(clip, "approve", "k1"), headers=headers).status_code == 200
    assert desk.clips.load(clip.id).state == ClipState.REVIEW_APPROVED


# Upload and download


def test_an_upload_becomes_a_source_video_under_a_name_of_our_own(client: TestClient, desk: ReviewDesk, settings: Settings) -> None:
    headers = {**signed_in(desk), "X-Heaters-File-Name": "..%2F..%2Fetc%2Fmy%20%3Cb%3Eholiday.MP4"}
    headers |= {"X-Heaters-Rights": "training%20only%20%E2%80%94%20Ada", "X-Heaters-Chapters": "1"}
    answer = client.post("/api/uploads", content=A_FILM, headers=headers)
    assert (answer.status_code, answer.json()["title"]) == (201, "my <b>holiday")
    row = desk.videos.load(answer.json()["id"])
    source = Path(row.source)
    assert (row.source_bytes, row.source_sha256) == (len(A_FILM), hashlib.sha256(A_FILM).hexdigest()), "hashed while it arrived"
    assert (row.chapters_as_cuts, FactsStore(desk.database).load(row.id).rights) == (True, "training only — Ada")
    assert source.parent == settings.home / "uploads"
    assert source.read_bytes() == A_FILM
    assert source.suffix == ".mp4"
    assert [path.name for path in source.parent.iterdir()] == [source.name]


def test_with_a_bucket_an_upload_lies_where_every_machine_finds_it(
    database: Database, settings: Settings, buckets: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = replace(settings, bucket=buckets.new_bucket(), s3_endpoint_url=buckets.url)
    desk = ReviewDesk(settings=here, database=database, objects=open_object_store(here), links=open_links(here))
    film = make_video(tmp_path / "film.mp4", frames=12).read_bytes()

    def send(name: str) -> tuple[int, Any]:
        with TestClient(Starlette(routes=review_routes(lambda: desk))) as client:
            answer = client.post("/api/uploads", content=film, headers={**signed_in(desk), "X-Heaters-File-Name": name})
        return answer.status_code, answer.json()

    def uploads() -> list[str]:
        return [one.key for one in desk.objects.list("uploads/")]

    status, said = send("holiday.MP4")
    row = desk.videos.load(said["id"])
    assert (status, row.title, row.source_sha256) == (201, "holiday", hashlib.sha256(film).hexdigest())
    assert (uploads(), row.source) == ([row.source.removeprefix(f"s3://{here.bucket}/")], f"s3://{here.bucket}/{uploads()[0]}")
    assert desk.objects.get_bytes(uploads()[0]) == film
    assert [path for path in here.home.rglob("*") if path.suffix == ".mp4" and path != tmp_path / "film.mp4"] == []

    # Another machine takes it: with another home.
    there = replace(here, home=tmp_path / "another")
    done = fetch_source_video(
        row.id, videos=desk.videos, objects=open_object_store(there), work=WorkFolder(there.work_folder),
        downloader=Downloader.from_settings(there), uploads_bucket=there.object_bucket,
    )  # fmt: skip
    assert (done.state, done.title, done.content_sha256) == (SourceVideoState.DOWNLOADED, "holiday", row.source_sha256)
    assert uploads() == []

    # What was cut off is swept: taken and not removed, and without a row for a day. What waits for Retry stays.
    keys = [f"uploads/{token * 24}.mp4" for token in "abc"]
    for key in keys:
        desk.objects.put_bytes(key, film)
    taken, waits = (desk.videos.add(f"s3://{here.bucket}/{key}", "film") for key in keys[:2])
    desk.videos.update(taken.id, original_filepath="originals/video_9.mp4")
    desk.videos.record_failure(waits.id, SourceVideoState.DOWNLOAD_FAILED, "made to fail", transient=False)
    assert sweep_uploaded_objects(here, desk.videos) == keys[:1]
    monkeypatch.setattr("resources.upkeep.leftovers._ABANDONED_SECONDS", -60.0)
    assert sweep_uploaded_objects(here, desk.videos) == keys[2:]
    assert uploads() == keys[1:2]

    def fail(*arguments: object, **columns: object) -> None:
        raise DatabaseUnavailableError("Postgres does not answer")

    monkeypatch.setattr(desk.videos, "add_all", fail)
    assert send("another.mp4")[0] == 503
    assert uploads() == keys[1:2]


def test_an_upload_is_gone_on_with_by_whoever_began_it_and_becomes_one_source_video(
    client: TestClient, desk: ReviewDesk, settings: Settings
) -> None:
    film = A_FILM + os.urandom(3_000_000)
    said = {"X-Heaters-File-Name": "long.y4m", "X-Heaters-File-Size": str(len(film)), "X-Heaters-File-Modified": "1700000000000"}
    mine, theirs = {**signed_in(desk), **said}, {**signed_in(desk, "Grace"), **said}

    def begun(headers: dict[str, str] = mine, **more: str) -> dict[str, Any]:
        return dict(client.get("/api/uploads", headers={**headers, **more}).json())

    name = begun()["upload"]
    assert begun()["offset"] == 0

    def send(start: int, end: int, headers: dict[str, str] = mine) -> tuple[int, dict[str, Any]]:
        named = {**headers, "X-Heaters-Upload": name, "X-Heaters-Offset": str(start)}
        answer = client.post("/api/uploads", content=film[start:end], headers=named)
        return answer.status_code, dict(answer.json())

    assert send(0, 1000)[0] == 503, "only its beginning came"
    assert begun()["offset"] == 0, "so little is not looked at yet: it comes once more"
    status, told = send(0, 2_000_000)
    assert (status, told["error"]) == (503, f"long.y4m: only 2000000 of {len(film)} bytes arrived; send the file again")
    assert (begun(), desk.videos.load_all()) == ({"upload": name, "offset": 2_000_000}, []), "half a file is no source video"
    with opened_by_another(settings, name, len(film)):
        assert send(2_000_000, len(film))[1]["error"].startswith("this file is being sent by another page")
    assert send(1_000_000, len(film))[1]["error"].startswith("long.y4m: 2000000 bytes are there, and it was sent from byte 1000000")
    assert begun(theirs)["offset"] == 0
    assert send(2_000_000, len(film), theirs)[0] == 400, "nobody goes on with what is somebody else's"
    assert send(2_000_000, len(film))[0] == 201
    row = desk.videos.load(begun()["id"])
    assert send(2_000_000, len(film)) == (201, {"id": row.id, "title": "long"}), "the answer was lost, and it was sent again"
    assert [one.id for one in desk.videos.load_all()] == [row.id]
    assert (Path(row.source).read_bytes(), row.source_sha256) == (film, hashlib.sha256(film).hexdigest())
    name = begun(mine, **{"X-Heaters-File-Modified": "1700000000001"})["upload"]
    mine["X-Heaters-File-Modified"] = "1700000000001"
    assert send(0, 2_000_000)[0] == 503
    assert client.delete("/api/uploads", headers={**mine, "X-Heaters-Upload": name}).status_code == 204
    assert [path.name for path in settings.uploads_folder.iterdir()] == [Path(row.source).name]


@contextmanager
def opened_by_another(settings: Settings, name: str, byte_size: int) -> Iterator[None]:
    """As while another request writes to an upload."""
    upload = opened_upload(name, byte_size, settings, open_object_store(settings))
    yield
    upload.leave()


def test_an_upload_that_cannot_be_submitted_leaves_no_file(
    client: TestClient, desk: ReviewDesk, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **columns: object) -> None:
        raise DatabaseUnavailableError("Postgres does not answer")

    monkeypatch.setattr(desk.videos, "add_all", fail)
    answer = client.post("/api/uploads", content=A_FILM, headers={**signed_in(desk), "X-Heaters-File-Name": "a.mp4"})
    assert answer.status_code == 503
    assert [path for folder in (settings.uploads_folder, settings.work_folder) for path in folder.rglob("*")] == []


def test_an_upload_goes_once_its_original_is_in_the_store(client: TestClient, desk: ReviewDesk, settings: Settings) -> None:
    def send(name: str) -> tuple[int, Path]:
        answer = client.post("/api/uploads", content=A_FILM, headers={**signed_in(desk), "X-Heaters-File-Name": name})
        return answer.json()["id"], Path(desk.videos.load(answer.json()["id"]).source)

    (stored, first), (failed, second) = send("a.mp4"), send("b.mp4")
    desk.videos.update(stored, original_filepath="originals/video_1.mp4")
    desk.videos.record_failure(failed, SourceVideoState.DOWNLOAD_FAILED, "made to fail", transient=False)
    left, fresh = settings.uploads_folder / "0123.mp4", settings.uploads_folder / "4567.mp4"
    for path in (left, fresh):
        path.write_bytes(b"of a process that died")
    os.utime(left, (1, 1))
    _, third = send("c.mp4")
    assert set(settings.uploads_folder.iterdir()) == {second, fresh, third}
    assert not first.exists()


def test_a_list_that_is_dropped_where_videos_go_is_told_its_place(client: TestClient, desk: ReviewDesk) -> None:
    named = {**signed_in(desk), "X-Heaters-File-Name": "films.CSV"}
    answer = client.post("/api/uploads", content=b"address,licence\n/films/a.mp4,CC0\n", headers=named)
    assert answer.status_code == 415
    assert answer.json()["error"] == "films.CSV is not a video: it holds text; a list of videos goes into Submit a list from a file"


@pytest.mark.parametrize(
    "content",
    [
        b"Dear all, this is no video. " * 100,
        bytes(3_000_000),
        b"n" + os.urandom(3_000_000),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        pytest.param(_large_jpeg(), id="a large JPEG picture"),
        pytest.param(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(3_000_000), id="a large HEIC picture"),
    ],
)
def test_what_is_no_video_is_refused_and_leaves_nothing(client: TestClient, desk: ReviewDesk, settings: Settings, content: bytes) -> None:
    answer = client.post("/api/uploads", content=content, headers={**signed_in(desk), "X-Heaters-File-Name": "a.mp4"})
    assert answer.status_code == 415
    assert answer.json()["error"].startswith("a.mp4 is not a video: ")
    assert "list" not in answer.json()["error"]
    assert [path for folder in (settings.uploads_folder, settings.work_folder) for path in folder.rglob("*")] == []
    assert desk.videos.load_all() == []


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts", "flv", "mov"])
def test_a_video_larger_than_its_head_is_let_in_whatever_its_container(
    client: TestClient, desk: ReviewDesk, tmp_path: Path, suffix: str
) -> None:
    """The index of an MP4 lies at its end, where nobody has looked yet."""
    noise = ["-f", "lavfi", "-i", "testsrc2=size=640x480:rate=25:duration=0.4,noise=alls=80:allf=t"]
    path = ffmpeg([*noise, "-c:v", "flv1" if suffix == "flv" else "mpeg4", "-q:v", "1"], tmp_path / f"a.{suffix}")
    assert path.stat().st_size > HEAD_BYTES
    answer = client.post("/api/uploads", content=path.read_bytes(), headers={**signed_in(desk), "X-Heaters-File-Name": path.name})
    assert answer.status_code == 201, answer.text


def test_uploads_together_never_need_more_than_is_free(settings: Settings) -> None:
    room = UploadRoom(settings.uploads_folder, WorkFolder.of(settings).room)
    free = shutil.disk_usage(settings.home).free - RESERVE_BYTES
    most = free * 6 // 10
    with room.admitted(most) as first:
        with pytest.raises(DiskFullError, match="for uploads under way"), room.admitted(most):
            pass
        first.received(most)  # it is on the disk now, which here nobody wrote
        with room.admitted(most):
            pass
    with room.admitted(most), ExitStack() as others:
        for _ in range(MAX_UPLOADS - 1):
            others.enter_context(room.admitted(1))
        with pytest.raises(BusyError, match="uploads are running"), room.admitted(1):
            pass
    with room.admitted(most):
        pass


@pytest.mark.parametrize(("name", "content"), [("", b"x"), ("..%2F", b"x"), ("a.mp4", b"")])
def test_an_upload_without_name_or_content_is_refused(client: TestClient, desk: ReviewDesk, name: str, content: bytes) -> None:
    answer = client.post("/api/uploads", content=content, headers={**signed_in(desk), "X-Heaters-File-Name": name})
    assert answer.status_code == 400
    assert desk.videos.load_all() == []


def test_an_exported_clip_is_downloaded_under_its_name(client: TestClient, desk: ReviewDesk, video: SourceVideo) -> None:
    clip = clips_of(desk, video)[0]
    assert client.get(desk.addresses.media_url("export", clip.id)).status_code == 404
    desk.reviews.approve(clip.id, reviewer="Ada")
    key = f"final_clips/video_{video.id}_clip_001.mp4"
    claimed = desk.clips.claim(clip.id, EXPORTS, [key])
    assert claimed is not None
    desk.objects.put_bytes(key, b"a clip")
    desk.clips.finish(clip.id, EXPORTS, claimed.cut_point_version, [MadeObject(key, 6, {})])
    answer = client.get(desk.addresses.media_url("export", clip.id))
    assert answer.content == b"a clip"
    assert f"video_{video.id}_clip_001.mp4" in answer.headers["content-disposition"]
    # A further one has its own address, name and type, and takes the first one's from nobody.
    assert client.get(desk.addresses.media_url("export", clip.id, profile="delivery")).status_code == 404
    further(desk, clip, "delivery", b"a small clip")
    answer = client.get(desk.addresses.media_url("export", clip.id, profile="delivery"))
    assert (answer.content, answer.headers["content-type"]) == (b"a small clip", "video/mp4")
    assert f"video_{video.id}_clip_001_delivery.mp4" in answer.headers["content-disposition"]
    assert client.get(desk.addresses.media_url("export", clip.id, profile="stream_copy")).content == b"a clip"
    refused = client.get(desk.addresses.media_url("export", clip.id, profile="../secret"))
    assert refused.status_code == 404
    assert "has no file by the export profile '../secret'" in refused.text


def further(desk: ReviewDesk, clip: Clip, profile: str, content: bytes) -> None:
    """A further export of a clip that has its first file."""
    desk.exports.request(clip.id, profile)
    key = desk.exports.key_for(clip, EXPORT_PROFILES.load(profile))
    claimed = desk.exports.claim(clip.id, profile, key)
    assert claimed is not None
    desk.objects.put_bytes(key, content)
    assert desk.exports.finish(clip.id, profile, claimed.cut_point_version, MadeObject(key, len(content), {"profile": profile}))


def test_a_cut_list_comes_in_any_form_and_names_no_place_of_this_machine(desk: ReviewDesk, tmp_path: Path, database: Database) -> None:
    source = barcode_video(tmp_path / "h\u00e4fen.mp4", frames=60)
    video = stored_video(source, tmp_path, database=database, objects=desk.objects, cuts=(20, 40), approved=False)
    with TestClient(Starlette(routes=review_routes(lambda: desk))) as client:
        for form in CUT_LIST_FORMATS.usable():
            answer = client.get(desk.addresses.media_url("cutlist", video.id, form=form.name))
            assert answer.status_code == 200
            assert quote(f"h\u00e4fen{form.suffix}") in answer.headers["content-disposition"]
            assert str(tmp_path) not in answer.text
        rows = list(csv.DictReader(StringIO(client.get(desk.addresses.media_url("cutlist", video.id)).text)))
        assert [(row["start_frame"], row["media"]) for row in rows] == [(start, "h\u00e4fen.mp4") for start in ("0", "20", "40")]
        assert client.get(desk.addresses.media_url("cutlist", video.id, form="csv", only="approved")).status_code == 404
        desk.reviews.approve(desk.clips.load_live(video.id)[0].id, reviewer="Ada")
        approved = client.get(desk.addresses.media_url("cutlist", video.id, form="csv", only="approved"))
        assert quote("h\u00e4fen approved.csv") in approved.headers["content-disposition"], "not taken for the list of all clips"
        assert "only can be approved, skipped" in client.get(desk.addresses.media_url("cutlist", video.id, only="good")).json()["error"]
        assert client.get(desk.addresses.media_url("cutlist", video.id, form="aaf")).status_code == 400
        assert client.get(f"/api/cutlist/{video.id}?token={desk.links.media_token('clips', video.id)}").status_code == 403


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_the_approved_clips_come_as_one_zip_with_their_cut_list(
    desk: ReviewDesk, tmp_path: Path, database: Database, request: pytest.FixtureRequest, place: str
) -> None:
    objects: ObjectStore = desk.objects
    if place == "bucket":
        buckets: BucketServer = request.getfixturevalue("buckets")
        objects = S3ObjectStore(buckets.new_bucket(), endpoint_url=buckets.url)
    desk = ReviewDesk(settings=desk.settings, database=database, objects=objects, links=desk.links)
    source = barcode_video(tmp_path / "s.mp4", frames=60)
    video = stored_video(source, tmp_path, database=database, objects=objects, cuts=(20, 40), approved=False)
    desk.videos.update(video.id, title='Caf\u00e9: the "end"/2')
    key = f"subtitles/video_{video.id}_01_de.srt"
    spoken = SubtitleFile("beside", "de", None, ".srt", b"as it was", (Line(0.25, 0.5, "Hafen"), Line(2.0, 2.25, "See")))
    TranscriptStore(database).replace_subtitles(video.id, [(key, spoken)])
    objects.put_bytes(key, spoken.data)
    FactsStore(database).put(video.id, SourceFacts(start_timecode="10:00:00:00", timecode_rate="24"), Origin.FILE)
    first, second, third = clips_of(desk, video)
    with TestClient(Starlette(routes=review_routes(lambda: desk))) as client:
        assert client.get(desk.addresses.media_url("clips", video.id)).status_code == 404
        desk.reviews.approve([first.id, second.id], reviewer="Ada")
        contents = {}
        for clip in (first, second):
            key = f"final_clips/video_{video.id}_clip_{clip.sequence:03d}.mp4"
            claimed = desk.clips.claim(clip.id, EXPORTS, [key])
            assert claimed is not None
            contents[f"Caf\u00e9_ the _end_2 clip {clip.sequence:03d}.mp4"] = os.urandom(9_000_000 // clip.sequence)
            objects.put_bytes(key, list(contents.values())[-1])
            assert desk.clips.finish(
                clip.id, EXPORTS, claimed.cut_point_version, [MadeObject(key, 6, {"first_frame_hash": f"hash {clip.id}"})]
            )
        further(desk, second, "delivery", b"small")
        contents["Caf\u00e9_ the _end_2 clip 002 delivery.mp4"] = b"small"
        answer = client.get(desk.addresses.media_url("clips", video.id))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert "Caf%C3%A9_%20the%20_end_2%20clips.zip" in answer.headers["content-disposition"]
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert {name: archive.read(name) for name in names if name.endswith(".mp4")} == contents
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_STORED}
        manifest = json.loads(archive.read("Caf\u00e9_ the _end_2 manifest.json"))
        assert [(one["clip"], one["file"], one["proof"]) for one in manifest["clips"]] == [
            (clip.sequence, name, {"first_frame_hash": f"hash {clip.id}"}) for clip, name in zip((first, second), contents, strict=False)
        ]
        assert [[(one["profile"], one["file"][-22:]) for one in about["exports"]] for about in manifest["clips"]] == [
            [("stream_copy", "the _end_2 clip 001.mp4"[-22:])],
            [("stream_copy", "the _end_2 clip 002.mp4"[-22:]), ("delivery", "2 clip 002 delivery.mp4"[-22:])],
        ]
        listed = archive.read("Caf\u00e9_ the _end_2.csv").decode()
        clip_names = [name for name in contents if "delivery" not in name]
        assert [row["media"] for row in csv.DictReader(StringIO(listed))] == clip_names, "the files beside the list"
        assert b"TITLE" in archive.read("Caf\u00e9_ the _end_2.edl")
        relinked = archive.read("Caf\u00e9_ the _end_2.fcpxml").decode()
        assert list(re.findall('src="(.*?)"', relinked)) == ["./" + quote(name) for name in clip_names]
        assert {Path(name).suffix for name in names} >= {".ale", ".otio", ".xml"}
        assert b",Hafen," in archive.read("Caf\u00e9_ the _end_2.csv")
        (told,) = manifest["subtitles"]
        assert told == {"language": "de", "name": None, "kind": "subtitle", "origin": "beside", "file": told["file"]}
        assert archive.read(told["file"]) == b"as it was"
        (said,) = manifest["clips"][0]["subtitles"]
        assert said == {"language": "de", "kind": "subtitle", "lines": [{"start_seconds": 0.25, "end_seconds": 0.5, "text": "Hafen"}]}
        assert (manifest["clips"][1]["subtitles"], manifest["thumbnail"]) == ([], None)
        timecodes = [(one["first_timecode"], one["last_timecode"]) for one in manifest["clips"]]
        assert timecodes == [("10:00:00:00", "10:00:00:19"), ("10:00:00:20", "10:00:01:15")]
    assert third.id not in {one["clip_id"] for one in manifest["clips"]}

    given, drawn = GivenFiles(database, objects, keep_places=False), BytesIO()
    Image.new("RGB", (32, 18), "red").save(drawn, "PNG")
    given.put_subtitles(video.id, "de", "kai.srt", b"1\n00:00:00,250 --> 00:00:00,500\nKai\n", reviewer="Ada")
    given.put_thumbnail(video.id, "still.png", drawn.getvalue(), reviewer="Ada", seen=None)
    with TestClient(Starlette(routes=review_routes(lambda: desk))) as client:
        answer = client.get(desk.addresses.media_url("clips", video.id))
        gone = client.get(desk.addresses.media_url("subtitles", 1))
        shown = client.get(desk.addresses.media_url("thumbnail", video.id, of="x"), follow_redirects=False)
        assert shown.status_code == (200 if place == "folder" else 307)
    assert (gone.status_code, "load the page again" in gone.text) == (404, True)
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        assert b",Kai," in archive.read("Caf\u00e9_ the _end_2.csv")
        manifest = json.loads(archive.read("Caf\u00e9_ the _end_2 manifest.json"))
        assert [(one["name"], one["origin"]) for one in manifest["subtitles"]] == [("kai.srt", "person")]
        with Image.open(BytesIO(archive.read(manifest["thumbnail"]))) as picture:
            assert (picture.format, picture.size) == ("JPEG", (32, 18))


def test_two_heaters_on_one_host_remember_a_name_each(desk: ReviewDesk, tmp_path: Path, database: Database) -> None:
    """Cookies do not know ports: a browser sends each of them the cookies of both."""
    beside = ReviewDesk(
        settings=desk.settings, database=database, objects=desk.objects, links=Links("another key, quite long", ttl_seconds=60)
    )
    ada, bob = (Session(desk.reviews.reviewers.named(name).id, name) for name in ("Ada", "Bob"))
    jar = None
    for one, session in ((desk, ada), (beside, bob), (desk, ada)):
        with TestClient(Starlette(routes=review_routes(lambda one=one: one)), base_url="http://127.0.0.1") as client:
            client.cookies = jar or client.cookies
            jar = client.cookies
            assert client.post("/api/session", headers={TOKEN_HEADER: one.links.session_token(session)}).status_code == 204
    assert jar is not None
    assert desk.links.remembered_by(dict(jar)) == (desk.links.cookie, ada)
    assert beside.links.remembered_by(dict(jar)) == (beside.links.cookie, bob)
    jar.set(OLD_COOKIE, beside.links.remembered_token(bob), domain="127.0.0.1")
    with TestClient(Starlette(routes=review_routes(lambda: desk)), base_url="http://127.0.0.1") as client:
        client.cookies = jar
        assert client.delete("/api/session").status_code == 204
        jar = client.cookies
    assert desk.links.remembered_by(dict(jar)) is None
    assert set(jar) == {beside.links.cookie, OLD_COOKIE}, "what another Heaters keeps is left alone"


def with_files(clips: list[Clip], desk: ReviewDesk) -> None:
    """Approve all clips and give each an exported file: the first by its stage, the others, as there are many, by copies of its rows."""
    first, *_ = clips
    keys = {clip.id: f"final_clips/video_{clip.source_video_id}_clip_{clip.id}.mp4" for clip in clips}
    desk.reviews.approve(first.id, reviewer="Ada")
    claimed = desk.clips.claim(first.id, EXPORTS, [keys[first.id]])
    assert claimed is not None
    for key in keys.values():
        desk.objects.put_bytes(key, b"a clip")
    assert desk.clips.finish(first.id, EXPORTS, claimed.cut_point_version, [MadeObject(keys[first.id], 6, {})])
    key, others = "format('final_clips/video_%s_clip_%s.mp4', source_video_id, id)", "source_video_id = :video and id <> :first"
    statements = (
        "insert into clip_artifacts (clip_id, kind, key, state, byte_size) select c.id, a.kind, c.key, a.state, a.byte_size"
        f" from (select id, {key} as key from clips where {others}) c, clip_artifacts a where a.clip_id = :first and a.key = :key",
        "insert into clip_exports (clip_id, profile, state, key, version, made_at)"
        " select c.id, e.profile, e.state, c.key, e.version, e.made_at"
        f" from (select id, {key} as key from clips where {others}) c, clip_exports e where e.clip_id = :first",
        *(f"update clips set state = '{state}' where {others}" for state in ("review_approved", "exporting")),
        f"update clips set state = 'exported', is_virtual = false, clip_filepath = {key} where {others}",
    )
    with desk.database.begin() as connection:
        for statement in statements:
            connection.execute(text(statement), {"video": first.source_video_id, "first": first.id, "key": keys[first.id]})


def test_a_zip_of_more_clips_than_one_edl_holds_has_several(
    desk: ReviewDesk, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 999 takes a minute; tests/domain/test_cut_lists.py has the real number.
    monkeypatch.setitem(CUT_LIST_FORMATS._loaded, "edl", replace(CUT_LIST_FORMATS.load("edl"), most_clips=9))
    source = barcode_video(tmp_path / "s.mp4", frames=11)
    video = stored_video(source, tmp_path, database=database, objects=desk.objects, cuts=tuple(range(1, 11)), approved=False)
    desk.videos.update(video.id, title="Long")
    with_files(clips_of(desk, video), desk)
    with TestClient(Starlette(routes=review_routes(lambda: desk))) as client:
        answer = client.get(desk.addresses.media_url("clips", video.id))
    assert answer.status_code == 200
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        files = [name for name in archive.namelist() if name.endswith(".mp4")]
        texts = {name: archive.read(name).decode() for name in archive.namelist() if name not in files}
    whole = {f"Long{form.suffix}" for form in CUT_LIST_FORMATS.usable() if form.in_zip and form.most_clips is None}
    assert {"Long.csv", "Long.fcpxml", "Long.otio"} <= whole
    assert set(texts) == whole | {"Long_1.edl", "Long_2.edl", "Long manifest.json", "Long read me.txt"}
    assert texts["Long.csv"].count("\n") == 12
    named = [re.findall(r"^\* FROM CLIP NAME: (.+)$", texts[name], re.MULTILINE) for name in ("Long_1.edl", "Long_2.edl")]
    wanted = [f"Long clip {number:03d}.mp4" for number in range(1, 12)]
    assert [*named[0], *named[1]] == wanted == files, "nothing is missing between the lists, and each names the files of the zip"
    assert [texts[name].count("* COMMENT") for name in ("Long_1.edl", "Long_2.edl")] == [9, 2]
    assert "up to 9 clips" in texts["Long read me.txt"]
    assert "Long_1.edl, Long_2.edl" in texts["Long read me.txt"]
