"""Counts with their nouns, and states in the words of people."""

import ast
from pathlib import Path

import pytest

from heaters_dagster.domain.clip_names import no_clips
from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.words import action_words, clip_state_words, counted, percent, video_state_words, without_state_names

ROOT = Path(__file__).parents[2]
NOUNS = ("clips", "files", "runs", "source videos", "folders", "uploads", "packets", "tries", "minutes", "days", "objects", "frames")


#: Values that are not counts, although one of these nouns follows.
NO_COUNTS = {"title", "clip_name(source, clip)", "float(video.average_frame_rate)"}


@pytest.mark.parametrize(("number", "told"), [(0, "0 clips wait"), (1, "1 clip waits"), (2, "2 clips wait")])
def test_the_verb_agrees_with_the_number(number: int, told: str) -> None:
    assert counted(number, "clip waits", "clips wait") == told
    assert counted(number, "file") == f"{number} file{'' if number == 1 else 's'}"


def test_clips_that_do_not_exist_are_named_in_correct_english() -> None:
    assert no_clips([4]).startswith("there is no clip id:4;")
    assert no_clips([4, 5]).startswith("there are no clips id:4 and id:5;")


@pytest.mark.parametrize(("share", "told"), [(0.0, "0 %"), (0.005, "1 %"), (0.125, "13 %"), (0.96, "96 %"), (1.0, "100 %")])
def test_a_share_is_told_in_one_way(share: float, told: str) -> None:
    assert percent(share) == told


def test_an_undo_says_what_it_undid() -> None:
    assert action_words(ReviewAction.UNDO, ReviewAction.EDIT_CUT) == "undid setting the kind of a cut"
    assert action_words(ReviewAction.REDO, ReviewAction.SEND_BACK) == "redid sending back to review"
    done = [action_words(action) for action in ReviewAction]
    undone = [action_words(ReviewAction.UNDO, action) for action in ReviewAction]
    assert len({*done, *undone}) == 2 * len(ReviewAction)


@pytest.mark.parametrize("state", [*ClipState, *SourceVideoState])
def test_a_message_names_states_in_words(state: ClipState | SourceVideoState) -> None:
    words = clip_state_words(state) if isinstance(state, ClipState) else video_state_words(state)
    assert "_" not in words
    if "_" in state.value:
        assert without_state_names(f"its state is {state.value}") == f"its state is {words}"


def test_no_message_puts_a_number_before_a_plural_by_hand() -> None:
    by_hand = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(number.value)} {noun.value.strip()[:20]}"
        for folder in ("heaters_dagster", "assets", "resources", "review_app")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.JoinedStr)
        for number, noun in zip(node.values, node.values[1:], strict=False)
        if isinstance(number, ast.FormattedValue)
        and isinstance(noun, ast.Constant)
        and noun.value.startswith(tuple(f" {one}" for one in NOUNS))
        if not ast.unparse(number.value).isupper() and ast.unparse(number.value) not in NO_COUNTS
    ]
    assert by_hand == []
