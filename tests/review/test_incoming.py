"""Whatever a browser sends: what makes no sense is refused in words, and nothing ends in a traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from heaters_dagster.domain.errors import BadRequestError
from resources.postgres.reviewer_store import ReviewerStore
from review_app.server.door import Door
from review_app.server.routes import TOKEN_HEADER, review_routes
from review_app.service import incoming
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk
from tests.media_files import barcode_video
from tests.proxy_files import stored_video

HALF = "\ud800"
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([HALF, "\x00", 10**400, 2**63]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.sampled_from(["\x00", HALF]), inner, max_size=3),
    max_leaves=6,
)
ACTIONS = [
    "approve",
    "skip",
    "archive",
    "group",
    "add_cut_point",
    "remove_cut_point",
    "move_cut_point",
    "edit_cut",
    "undo",
    "redo",
    "explode",
]
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "request_key": ANYTHING | st.text(min_size=1, max_size=8),
        "action": st.sampled_from(ACTIONS) | ANYTHING,
        "clip_id": st.integers(0, 4) | ANYTHING,
        "clip_ids": st.lists(st.integers(0, 4), max_size=3) | ANYTHING,
        "source_video_id": st.integers(0, 2) | ANYTHING,
        "frame": st.integers(-1, 61) | ANYTHING,
        "kind": st.sampled_from(["hard", "dissolve", "end"]) | ANYTHING,
        "first_frame": st.integers(-1, 61) | ANYTHING,
        "last_frame": st.integers(-1, 61) | ANYTHING,
        "new_frame": st.integers(-1, 61) | ANYTHING,
        "target": ANYTHING,
        "versions": st.dictionaries(st.sampled_from(["1", "2", "x", "-1", "9" * 30]), st.integers(0, 2) | ANYTHING, max_size=2) | ANYTHING,
        "hold": st.lists(st.integers(0, 4), max_size=3) | ANYTHING,
        "known": st.dictionaries(st.sampled_from(["1", "2", "x"]), st.integers(0, 2) | ANYTHING, max_size=2) | ANYTHING,
    },
)
TEXTS = st.text(max_size=12) | st.sampled_from(["\x00", "1", "0", "-1", "9" * 18, "9" * 5000, "1e3", "NaN", "any", "pending_review", "١"])
NAMES = ["start", "end", "frame", "width", "only", "token", "open", "limit", "id", "video", "state", "order", "text", "min_confidence"]
QUERIES = st.lists(st.tuples(st.sampled_from(NAMES), TEXTS), max_size=4)
MEDIA = ["proxy", "index", "segment", "still", "export", "clips", "cutlist"]
PATHS = ["queue", "video", "decisions", "sync", "uploads", "session", "health", *MEDIA]


@pytest.fixture
def client(desk: ReviewDesk, tmp_path: Path) -> Iterator[TestClient]:
    """Of the whole server but Streamlit's pages; an error that nobody turns into words is raised here."""
    source = barcode_video(tmp_path / "s.mp4", frames=60)
    stored_video(source, tmp_path, database=desk.database, objects=desk.objects, cuts=(20, 40), approved=False)
    ada = ReviewerStore(desk.database).named("Ada")
    headers = {TOKEN_HEADER: desk.links.session_token(Session(ada.id, ada.name)), "Sec-Fetch-Site": "same-origin", "Host": "localhost"}
    app = Starlette(routes=review_routes(lambda: desk), middleware=[Middleware(Door, settings=desk.settings)])
    with TestClient(app, headers=headers) as client:
        yield client


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    path=st.sampled_from(PATHS),
    row=st.sampled_from(["1", "2", "9" * 18, "9" * 19, "9" * 5000, "%00", "%ED%A0%80", "x", ""]),
    signed=st.booleans(),
    query=QUERIES,
    message=MESSAGES | ANYTHING | st.binary(max_size=20),
)
@example(path="decisions", row="1", signed=True, query=[("text", "\x00")], message={"request_key": "k"})
@example(path="decisions", row="1", signed=True, query=[], message={"request_key": HALF, "action": "skip", "clip_id": 1})
@example(path="decisions", row="1", signed=True, query=[], message={"request_key": "\x00", "action": "skip", "clip_id": 1})
@example(path="decisions", row="1", signed=True, query=[], message={"request_key": "k", "action": "undo", "target": "\x00"})
@example(path="proxy", row="9" * 5000, signed=True, query=[], message=None)
def test_whatever_is_sent_is_answered_in_words(
    client: TestClient, desk: ReviewDesk, path: str, row: str, signed: bool, query: list[tuple[str, str]], message: object
) -> None:
    pairs = [*query, ("token", desk.links.media_token(path, int(row)))] if signed and path in MEDIA and row in "12" and row else query  # type: ignore[arg-type]
    address = f"/api/{path}" + (f"/{row}" if path in MEDIA else "")
    address += "?" + "&".join(f"{name}={quote(value, errors='surrogatepass')}" for name, value in pairs)
    if path in {"decisions", "sync"}:
        content = message if isinstance(message, bytes) else json.dumps(message).encode()
        answer = client.post(address, content=content)
    elif path in {"uploads", "session"}:
        answer = client.post(address, content=b"", headers={"X-Heaters-File-Name": quote(query[0][1]) if query else ""})
    else:
        answer = client.get(address)
    assert answer.status_code < 500
    if answer.status_code >= 400 and answer.headers.get("content-type") == "application/json":
        assert answer.json()["error"]


@pytest.mark.parametrize(
    "raw",
    [
        "[" * 30_000 + "]" * 30_000,
        '{"a":' * 5000 + "1" + "}" * 5000,
        '{"a": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}',
        '{"request_key": "\\ud800"}',
        '{"request_key": "a\\u0000b"}',
        '{"a\\u0000": 1}',
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": 9223372036854775808}',
        '{"a": ' + "9" * 5000 + "}",
        "[]",
        "null",
        "",
    ],
)
def test_json_that_cannot_be_meant_is_refused_in_words(client: TestClient, raw: str) -> None:
    for path in ("decisions", "sync"):
        answer = client.post(f"/api/{path}", content=raw.encode())
        assert (answer.status_code, answer.json()["code"]) == (400, "illegal")
        assert "message" in answer.json()["error"] or "number" in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("decisions", {"request_key": "k", "action": "undo", "target": 5}),
        ("decisions", {"request_key": "k", "action": "approve", "clip_id": "1"}),
        ("decisions", {"request_key": "k", "action": "approve", "clip_id": 1, "versions": {"1": 1.5}}),
        ("decisions", {"request_key": "k", "action": "approve", "clip_ids": []}),
        ("decisions", {"request_key": ["k"], "action": "approve", "clip_id": 1}),
        ("sync", {"hold": "12"}),
        ("sync", {"hold": [True]}),
        ("sync", {"known": {"1": "x"}}),
        ("sync", {"known": [1]}),
    ],
)
def test_a_value_of_another_kind_is_refused_in_words(client: TestClient, desk: ReviewDesk, path: str, body: dict[str, Any]) -> None:
    """A `target` that was no text used to undo the latest decision instead."""
    answer = client.post(f"/api/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "illegal")
    assert "must be" in answer.json()["error"]
    assert desk.reviews.history(limit=1) == []


def test_an_action_that_is_no_text_is_refused_for_ticked_clips_too(client: TestClient) -> None:
    body = {"request_key": "k", "action": ["approve"], "clip_ids": [1, 2], "versions": {"1": 1, "2": 1}}
    answer = client.post("/api/decisions", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "\"['approve']\" is not a review action")


def test_json_within_the_limits_is_taken_as_it_is() -> None:
    body = {"a": [{"b": [1, -(2**63) + 1, 2**63 - 1, 0.5, None, True, "é\U0001f600\n"]}]}
    assert incoming.json_object(json.dumps(body).encode()) == body


@pytest.mark.parametrize("text", ["\x00", HALF])
def test_a_text_that_cannot_be_stored_is_refused_wherever_it_comes_from(desk: ReviewDesk, text: str) -> None:
    """The pages' own fields go to the stores without the routes."""
    for ask in (
        lambda: desk.videos.load_all(text=f"a{text}"),
        lambda: desk.videos.add("/videos/a.mp4", f"a{text}"),
        lambda: ReviewerStore(desk.database).named(f"A{text}"),
    ):
        with pytest.raises(BadRequestError):
            ask()
