"""How early the order "least confident first" brings what is to be corrected."""

from __future__ import annotations

import pytest

from heaters_dagster.domain.review_order import QueuedClips


def test_a_doubtful_clip_at_the_end_comes_first() -> None:
    queue = QueuedClips()
    queue.add([0.9, 0.9, 0.9, 0.9, 0.2], [(4, 4)])
    early = queue.early()
    assert early is not None
    assert (early.in_order, early.least_confident_first) == (0.0, 1.0)


def test_a_correction_of_a_cut_is_found_at_the_first_of_the_clips_beside_it() -> None:
    queue = QueuedClips()
    queue.add([0.1, 0.9, 0.8, 0.7, 0.6], [(0, 1), (2, 3)])
    assert [(one.share, one.in_order, one.least_confident_first) for one in queue.found([0.2, 0.6, 1.0])] == [
        (0.2, 0.5, 0.5),
        (0.6, 1.0, 1.0),
        (1.0, 1.0, 1.0),
    ]


def test_clips_without_a_confidence_come_last_and_equal_ones_stay_in_order() -> None:
    queue = QueuedClips()
    queue.add([None, 0.5], [(0, 0)])
    queue.add([0.5, 0.4], [(0, 0), (1, 1)])
    found = queue.found([0.25, 0.5, 0.75, 1.0])
    assert [one.least_confident_first for one in found] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1.0])
    assert [one.in_order for one in found] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1.0])


def test_nothing_is_said_without_corrections() -> None:
    queue = QueuedClips()
    assert queue.early() is None
    queue.add([0.5], [])
    assert (queue.early(), queue.found()) == (None, [])
