"""Words and numbers of the pages: what a reviewer reads stands for what is in the rows."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.words import without_state_names
from resources.postgres.review_store import HistoryEntry
from resources.postgres.source_video_lists import VideoCounts
from resources.postgres.source_video_store import SourceVideo
from review_app.service import views


def a_video(state: SourceVideoState, **columns: Any) -> SourceVideo:
    values: dict[str, Any] = {spec.name: None for spec in fields(SourceVideo)}
    return SourceVideo(**{**values, "id": 1, "title": "Holiday", "state": state, "warnings": [], **columns})


def an_entry(action: ReviewAction, **columns: Any) -> HistoryEntry:
    values: dict[str, Any] = {
        "id": 7, "action": action, "reviewer": "Ada", "source_video_id": 3, "source_video_title": "Holiday", "clip_ids": (5,), "before": {},
        "after": {}, "target_action_id": None, "undone": False, "details": {}, "created_at": datetime(2026, 11, 21, tzinfo=UTC),
    }  # fmt: skip
    return HistoryEntry(**{**values, **columns})


def shot(start: int, end: int, state: ClipState, *, is_live: bool = True) -> dict[str, Any]:
    return {"sequence": 15, "start_frame": start, "end_frame": end, "state": state.value, "is_live": is_live}


@pytest.mark.parametrize(
    "text", ["<script>", "*bold*", "[a](javascript:x)", "$x$", ":material/check:", "`code`", "# head", "1. one", "a~b", "&lt;b&gt;"]
)
def test_what_a_stranger_called_a_video_is_text_and_no_markdown(text: str) -> None:
    written = views.plain(text)
    assert not set("\\`*_{}[]()<>#+-.!|~$:&") & set(re.sub(r"\\.", "", written)), "every sign that Markdown reads is escaped"
    assert re.sub(r"\\(.)", r"\1", written) == text


@pytest.mark.parametrize("sign", ["<->", "->", "<-", "--", ">=", "<=", "~="])
def test_what_streamlit_draws_as_one_sign_is_kept_apart(sign: str) -> None:
    written = re.sub(r"\\(.)", r"\1", views.plain(f"a {sign} b{sign}c {sign}"))
    assert f" {sign}" not in written
    assert written.replace("\u2060", "") == f"a {sign} b{sign}c {sign}"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0.0, "0:00.0"), (0.04, "0:00.0"), (2.16, "0:02.2"), (59.96, "1:00.0"), (3599.99, "1:00:00.0"), (3723.4, "1:02:03.4")],
)
def test_a_clock_carries_over(seconds: float | None, words: str) -> None:
    assert views.clock(seconds) == words


@pytest.mark.parametrize("state", list(SourceVideoState))
def test_every_state_of_a_source_video_has_words_and_a_place_on_the_way(state: SourceVideoState) -> None:
    video = a_video(state)
    assert views.video_words(video)
    assert 0 <= views.video_fraction(video) <= 1
    assert views.has_failed(state) == (state.value.endswith("failed"))


@pytest.mark.parametrize("state", list(ClipState))
def test_every_state_of_a_clip_has_words(state: ClipState) -> None:
    assert "_" not in views.clip_words(state)


def test_counts_stand_in_the_order_of_the_states() -> None:
    counts = {ClipState.EMBEDDED: 8, ClipState.PENDING_REVIEW: 3}
    assert views.clip_counts(counts) == "3 waiting, 8 searchable"
    assert views.reviewed_fraction(counts) == pytest.approx(8 / 11)
    assert views.reviewed_words(counts) == "8 of 11 clips reviewed"
    assert views.reviewed_fraction({}) == 0.0
    counts = VideoCounts({SourceVideoState.NEW: 2}, duplicates=1)
    assert views.video_counts(counts) == "3 source videos: 2 waiting to be fetched, 1 the same as another one"


def test_history_says_what_was_and_what_is() -> None:
    entry = an_entry(
        ReviewAction.MOVE_CUT_POINT,
        before={"5": shot(0, 40, ClipState.PENDING_REVIEW), "6": shot(40, 80, ClipState.REVIEW_APPROVED)},
        after={"5": shot(0, 43, ClipState.PENDING_REVIEW), "6": shot(43, 80, ClipState.REVIEW_APPROVED)},
    )
    (row,) = views.history_rows([entry], reader="Ada")
    assert (row.what, row.before, row.after) == ("moved a cut", "0–39 waiting, 40–79 approved", "0–42 waiting, 43–79 approved")
    assert (row.source_video, row.clips, row.why_not) == ("3. Holiday", ((5, 15),), None)


def test_history_says_what_a_cut_was_and_is() -> None:
    before = {"5": shot(0, 40, ClipState.PENDING_REVIEW) | {"transition": {"kind": "end", "first_frame": None, "last_frame": None}}}
    dissolve = {"kind": "dissolve", "first_frame": 36, "last_frame": 43}
    cut = shot(40, 80, ClipState.REVIEW_APPROVED)
    entry = an_entry(
        ReviewAction.EDIT_CUT,
        before={**before, "6": cut | {"transition": None}},
        after={**before, "6": cut | {"transition": dissolve}},
    )
    (row,) = views.history_rows([entry], reader="Ada")
    assert (row.what, row.before) == ("set the kind of a cut", "cut at 40: kind not known")
    assert row.after == "cut at 40: dissolve, frames 36..43"
    (back,) = views.history_rows([replace(entry, action=ReviewAction.UNDO, before=entry.after, after=entry.before)], reader="Ada")
    assert (back.before, back.after) == (row.after, row.before)
    (back,) = views.history_rows([replace(entry, action=ReviewAction.REDO, after=entry.before)], reader="Ada")
    assert (back.before, back.after) == ("0–39 waiting, 40–79 approved", "0–39 waiting, 40–79 approved"), "nothing changed"


def test_history_names_clips_in_their_order_in_the_video() -> None:
    made = {"5": shot(40, 80, ClipState.PENDING_REVIEW), "6": shot(0, 40, ClipState.PENDING_REVIEW)}
    (row,) = views.history_rows([an_entry(ReviewAction.ADD_CUT_POINT, after=made)], reader="Ada")
    assert row.after == "0–39 waiting, 40–79 waiting"


def test_history_leaves_out_retired_clips_and_counts_many() -> None:
    retired = {"5": shot(0, 80, ClipState.REVIEW_ARCHIVED, is_live=False), "6": shot(0, 40, ClipState.PENDING_REVIEW)}
    many = {str(n): shot(n, n + 1, ClipState.REVIEW_APPROVED) for n in range(9)}
    (row,) = views.history_rows([an_entry(ReviewAction.ADD_CUT_POINT, before={"5": None}, after=retired)], reader="Ada")
    assert (row.before, row.after) == ("", "0–39 waiting")
    (row,) = views.history_rows([an_entry(ReviewAction.APPROVE, after=many)], reader="Ada")
    assert row.after == "9 approved"


@pytest.mark.parametrize(
    ("entry", "why_not"),
    [
        (an_entry(ReviewAction.APPROVE), None),
        (an_entry(ReviewAction.APPROVE, reviewer="Bob"), "only Bob can take it back"),
        (an_entry(ReviewAction.APPROVE, clip_ids=()), "changed nothing"),
        (an_entry(ReviewAction.UNDO, target_action_id=3), ""),
        (an_entry(ReviewAction.RECUT), None),
        (an_entry(ReviewAction.DELETE), "cannot be taken back"),
        (an_entry(ReviewAction.RENAME, clip_ids=()), "cannot be taken back"),
    ],
)
def test_only_ones_own_decisions_can_be_taken_back(entry: HistoryEntry, why_not: str | None) -> None:
    (row,) = views.history_rows([entry], reader="Ada")
    assert row.why_not == why_not


def test_an_undo_names_what_it_took_back() -> None:
    undo = an_entry(ReviewAction.UNDO, target_action_id=3, target_action=ReviewAction.SKIP, target_details={})
    (row,) = views.history_rows([undo], reader="Ada")
    assert row.what == "undid skipping"
    (row,) = views.history_rows([replace(undo, action=ReviewAction.REDO)], reader="Ada")
    assert row.what == "redid skipping"


def test_a_message_names_states_as_the_pages_do() -> None:
    message = "clip 1 of Snow has no embedding: it is review_skipped"
    assert without_state_names(message) == "clip 1 of Snow has no embedding: it is skipped"


def test_the_history_names_the_file_whose_cuts_were_imported_also_where_that_is_taken_back() -> None:
    entry = an_entry(ReviewAction.IMPORT_CUTS, details={"file": "Reel <1>.edl", "format": "edl"})
    undo = an_entry(ReviewAction.UNDO, id=8, target_action_id=7, target_action=entry.action, target_details=entry.details)
    back, done = views.history_rows([undo, entry], reader="Ada")
    assert (back.what, done.what) == (
        "undid importing the cuts of a list: Reel <1>.edl",
        "imported the cuts of a list: Reel <1>.edl",
    )
    (unnamed,) = views.history_rows([replace(entry, details={})], reader="Ada")
    assert unnamed.what == "imported the cuts of a list"
