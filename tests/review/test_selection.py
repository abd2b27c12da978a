"""Selections of very many clips: what is packed for the browser, and what a decision on all that match comes to."""

from __future__ import annotations

import zlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.review_queue import MAX_ID
from heaters_dagster.domain.states import ClipState
from resources.postgres.reviewer_store import ReviewerStore
from review_app.server.routes import TOKEN_HEADER, review_routes
from review_app.service import review_desk as desks
from review_app.service.incoming import MAX_BODY_BYTES
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk
from review_app.service.selection import MAX_MATCHING, packed, unpacked
from tests.conftest import SomeClips

PENDING, APPROVED, SKIPPED = ClipState.PENDING_REVIEW, ClipState.REVIEW_APPROVED, ClipState.REVIEW_SKIPPED


@given(st.dictionaries(st.integers(1, MAX_ID), st.integers(1, 2**31 - 1), min_size=1, max_size=50))
def test_a_selection_comes_back_as_it_was_packed(seen: dict[int, int]) -> None:
    assert unpacked(packed(seen)) == seen


def test_the_largest_selection_of_scattered_clips_fits_into_a_message() -> None:
    seen = {1 + place * 97 + place * place % 89: 1 + place * 31 % 200 for place in range(MAX_MATCHING)}
    assert len(seen) == MAX_MATCHING
    text = packed(seen)
    assert unpacked(text) == seen
    assert len(text) < MAX_BODY_BYTES - 1000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        "ä",
        "!!!!",
        urlsafe_b64encode(zlib.compress(b"")).decode(),
        urlsafe_b64encode(zlib.compress(b"\x01")).decode(),
        urlsafe_b64encode(zlib.compress(b"\x01\xff")).decode(),
        urlsafe_b64encode(zlib.compress(bytes([1]) * 2 * (MAX_MATCHING + 1))).decode(),
        urlsafe_b64encode(zlib.compress(bytes(10**7))).decode(),
        urlsafe_b64encode(zlib.compress(b"\xff" * 100_000 + b"\x01\x01")).decode(),
        packed({1: 1})[:-8],
        packed({MAX_ID + 1: 1}),
    ],
)
def test_what_is_no_selection_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadRequestError, match="select the clips again"):
        unpacked(text)


@pytest.fixture
def client(desk: ReviewDesk) -> Iterator[TestClient]:
    reviewer = ReviewerStore(desk.database).named("Ada")
    headers = {TOKEN_HEADER: desk.links.session_token(Session(reviewer.id, "Ada")), "Sec-Fetch-Site": "same-origin"}
    with TestClient(Starlette(routes=review_routes(lambda: desk)), headers=headers) as client:
        yield client


def test_all_that_match_are_decided_as_one_and_taken_back_as_one(desk: ReviewDesk, client: TestClient, some_clips: SomeClips) -> None:
    harbour, other = some_clips(20, 40, 60, 80), some_clips(50)
    desk.reviews.skip(harbour[0].id, reviewer="Ada")
    selected = client.get(f"/api/selection?video={harbour[0].source_video_id}").json()
    assert (selected["count"], selected["newest"]) == (4, harbour[4].id)
    body = {"action": "approve", "selection": selected["selection"], "request_key": "all"}
    answer = client.post("/api/decisions", json=body)
    assert answer.status_code == 200
    assert answer.json()["told"] == "4 clips approved."
    again = client.post("/api/decisions", json=body).json()
    assert (again["replayed"], again["told"]) == (True, "4 clips approved.")
    assert [clip.state for clip in desk.clips.load_live(harbour[0].source_video_id)] == [SKIPPED, *[APPROVED] * 4]
    assert [clip.state for clip in desk.clips.load_live(other[0].source_video_id)] == [PENDING] * 2
    assert len(desk.reviews.history(reviewer="Ada")) == 2, "one entry for all of them"
    undo = client.post("/api/decisions", json={"action": "undo", "target": "all", "request_key": "all-undo"})
    assert undo.status_code == 200
    assert [clip.state for clip in desk.clips.load_live(harbour[0].source_video_id)] == [SKIPPED, *[PENDING] * 4]


def test_what_a_colleague_decided_in_between_stands_and_is_told(desk: ReviewDesk, client: TestClient, some_clips: SomeClips) -> None:
    clips = some_clips(20, 40, 60, 80)
    selection = client.get("/api/selection?state=any").json()["selection"]
    desk.reviews.archive(clips[1].id, reviewer="Bob")
    desk.reviews.remove_cut_point(clips[0].source_video_id, 60, reviewer="Cleo")
    answer = client.post("/api/decisions", json={"action": "skip", "selection": selection, "request_key": "k"}).json()
    assert answer["told"].startswith("2 clips skipped. 3 clips were changed after you selected them, so they stay as they are: ")
    assert "clip 2 of Holiday has changed, last by Bob: its state is now archived" in answer["told"]
    assert "Cleo" in answer["told"]
    states = {clip.start_frame: clip.state for clip in desk.clips.load_live(clips[0].source_video_id)}
    assert states == {0: SKIPPED, 20: ClipState.REVIEW_ARCHIVED, 40: PENDING, 80: SKIPPED}
    nothing = client.post("/api/decisions", json={"action": "approve", "selection": selection, "request_key": "l"}).json()
    assert nothing["told"].startswith("No clip was changed. 5 clips were changed after you selected them")
    assert nothing["action_id"] is None


def test_more_than_can_be_decided_at_once_are_not_selected(
    client: TestClient, some_clips: SomeClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_clips(20, 40)
    monkeypatch.setattr(desks, "MAX_MATCHING", 2)
    answer = client.get("/api/selection")
    assert (answer.status_code, "more than 2 clips match" in answer.json()["error"]) == (400, True)
    monkeypatch.setattr(desks, "MAX_MATCHING", 3)
    assert client.get("/api/selection").json()["count"] == 3
    assert client.get("/api/selection", headers={TOKEN_HEADER: "none"}).status_code == 401


@pytest.mark.parametrize("action", ["group", "undo", "nothing", 5])
def test_a_selection_is_approved_skipped_or_archived_and_nothing_else(client: TestClient, some_clips: SomeClips, action: object) -> None:
    some_clips(20)
    selection = client.get("/api/selection").json()["selection"]
    answer = client.post("/api/decisions", json={"action": action, "selection": selection, "request_key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (400, "illegal")


def test_an_undo_of_very_many_names_some_and_counts_all(
    desk: ReviewDesk, client: TestClient, some_clips: SomeClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desks, "_MAX_TOLD", 2)
    clips = some_clips(20, 40, 60, 80)
    desk.reviews.approve([clip.id for clip in clips], reviewer="Ada", request_key="five")
    answer = client.post("/api/decisions", json={"action": "undo", "target": "five", "request_key": "undo"}).json()
    assert (answer["done"]["count"], len(answer["done"]["after"]), len(answer["changed"])) == (5, 2, 5)
    assert len(answer["clips"]) < 5
    desk.reviews.redo("Ada")
    for clip in clips:
        desk.reviews.skip(clip.id, reviewer="Bob")
    refused = client.post("/api/decisions", json={"action": "undo", "target": "five", "request_key": "again"})
    assert refused.status_code == 409
    assert "and 2 clips more" in refused.json()["error"]
