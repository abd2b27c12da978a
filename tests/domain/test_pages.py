"""Pages that are turned are told from what appears on a page, from light, and from all that moves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from heaters_dagster.domain.pages import STANDS, page_turns

Frames = NDArray[np.uint8]
AT, FRAMES = 20, 40


def page(seed: int, *, lines: range = range(5, 24, 3), paper: int = 245, ink: int = 60) -> Frames:
    """A page of a design: a coloured bar at the left, and lines of words, each as long as it comes."""
    rng = np.random.default_rng(seed)
    shown = np.full((27, 48, 3), paper, np.uint8)
    shown[:, :3] = (40, 90, 160)
    for line in lines:
        words = rng.random(36) < 0.7
        words[int(rng.integers(12, 36)) :] = False
        shown[line, 5:41][words] = ink
    return shown


def stands(shown: Frames, frames: int = AT) -> Frames:
    return np.repeat(shown[None], frames, axis=0)


def turned(old: Frames, new: Frames) -> Frames:
    return np.concatenate([stands(old), stands(new, FRAMES - AT)])


def with_talker(frames: Frames) -> Frames:
    """Somebody moves in a corner all the time."""
    shown = frames.copy()
    shown[:, 18:, 34:] = np.random.default_rng(9).integers(0, 256, (len(frames), 9, 14, 3))
    return shown


def moving(frames: int, seed: int = 5) -> Frames:
    """A picture of large parts that goes by, two pixels a frame."""
    parts = np.random.default_rng(seed).integers(20, 230, (3, 24, 3)).astype(np.uint8)
    wide = np.repeat(np.repeat(parts, 9, axis=0), 8, axis=1)
    return np.stack([wide[:, 2 * number :][:, :48] for number in range(frames)])


@pytest.mark.parametrize(("paper", "ink"), [(245, 60), (20, 180)], ids=["light", "dark"])
def test_a_page_that_is_turned_is_found_though_the_next_has_the_same_design(paper: int, ink: int) -> None:
    frames = turned(page(1, paper=paper, ink=ink), page(2, paper=paper, ink=ink))
    assert page_turns(frames) == [AT]
    assert page_turns(with_talker(frames)) == [AT]


def test_pages_are_found_that_stand_for_few_frames_only() -> None:
    pages = [stands(page(seed), STANDS + seed) for seed in range(5)]
    assert page_turns(np.concatenate([stands(page(9)), *pages, stands(page(8))])) == [20, 25, 31, 38, 46, 55]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (page(1, lines=range(5, 18, 3)), page(1, lines=range(5, 21, 3))),
        (page(1, lines=range(5, 9, 3)), page(1)),
        (page(1), np.clip(page(1).astype(int) * 0.6 + 20, 0, 255).astype(np.uint8)),
        (page(1), np.concatenate([page(1)[:20], page(2)[20:]])),
        (page(1), page(1)),
    ],
    ids=["a line appears", "all lines appear", "the light goes down", "the lower lines change", "nothing"],
)
def test_what_changes_a_page_that_stays_turns_none(old: Frames, new: Frames) -> None:
    assert page_turns(turned(old, new)) == []
    assert page_turns(with_talker(turned(old, new))) == []


@pytest.mark.parametrize("depth", [3, 6])
@pytest.mark.parametrize("sides", [(True, False), (False, True), (True, True)], ids=["above and below", "at the sides", "all around"])
def test_bars_that_come_or_go_turn_no_page(depth: int, sides: tuple[bool, bool]) -> None:
    # Of many colours, so that bars make some of it darker and some of it brighter.
    shown = np.repeat(np.repeat(np.random.default_rng(3).integers(0, 255, (9, 16, 3)).astype(np.uint8), 3, axis=0), 3, axis=1)
    barred = np.full_like(shown, 128)
    rows, columns = (slice(depth, -depth) if side else slice(None) for side in sides)
    barred[rows, columns] = shown[rows, columns]
    assert page_turns(turned(shown, barred)) == page_turns(turned(barred, shown)) == []


@pytest.mark.parametrize("length", [4, 12, 30])
def test_a_page_that_dissolves_into_the_next_is_not_turned_at_once(length: int) -> None:
    share = np.clip((np.arange(2 * FRAMES) - FRAMES + 1) / (length + 1), 0, 1)[:, None, None, None]
    assert page_turns(np.rint(page(1) * (1 - share) + page(2) * share).astype(np.uint8)) == []


@pytest.mark.parametrize("times", [1, 6, 12])
def test_a_moving_picture_turns_no_page_though_each_picture_is_shown_many_times(times: int) -> None:
    assert page_turns(np.repeat(moving(24), times, axis=0)) == []


def test_a_cut_between_shots_that_move_is_left_to_others() -> None:
    assert page_turns(np.concatenate([moving(AT), moving(AT, seed=6)])) == []
