from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from heaters_dagster.domain.frame_index import FrameIndex, FrameIndexHeader
from heaters_dagster.domain.frame_times import times_compared


def index(pts: list[int], time_base: Fraction = Fraction(1, 12_288)) -> FrameIndex:
    header = FrameIndexHeader(len(pts), time_base, pts[-1] + 512, 160, 120, Fraction(1), b"\x01", False, 0.0)
    ones = np.ones(len(pts), np.int64)
    return FrameIndex(header, 0, np.array(pts, np.int64), ones, ones)


def test_the_same_frames_at_the_same_times_are_the_same_wherever_both_begin():
    compared = times_compared(np.array([1.5, 1.5 + 1 / 24, 1.5 + 3 / 24]), index([6144, 6144 + 512, 6144 + 1536]))
    assert compared.same
    assert compared.largest_error_seconds < 1e-9
    assert str(compared) == "3 frames in both; times differ by at most 0.000 ms"


@pytest.mark.parametrize("pts", [[0, 512], [0, 512, 1024, 1536]])
def test_a_frame_too_few_or_too_many_is_seen(pts: list[int]):
    compared = times_compared(np.array([0, 1 / 24, 2 / 24]), index(pts))
    assert not compared.same
    assert str(compared) == f"the original has 3 frames, the proxy {len(pts)}"


def test_the_first_frame_at_another_time_is_named():
    compared = times_compared(np.array([0, 1 / 24, 2 / 24, 3 / 24]), index([0, 512, 1030, 1536]))
    assert (compared.same, compared.first_wrong_frame) == (False, 2)
    assert "frame 2" in str(compared)


def test_a_time_that_is_off_by_less_than_a_tenth_of_a_millisecond_is_the_same():
    assert times_compared(np.array([0, 1 / 24]), index([0, 513])).same


def test_repeated_times_may_be_one_unit_apart_however_many_there_are():
    seconds = np.array([0, 1, 1, 1, 1, 1, 2]) / 24
    assert times_compared(seconds, index([0, 512, 513, 514, 515, 516, 1024])).same
    assert not times_compared(seconds, index([0, 512, 513, 514, 515, 530, 1024])).same


def test_a_frame_with_a_wrong_time_is_expected_between_its_neighbours():
    seconds = np.array([0, 1, 2, 9000, 4, 5]) / 24
    assert times_compared(seconds, index([0, 512, 1024, 1536, 2048, 2560])).same
    assert not times_compared(seconds, index([0, 512, 1024, 1025, 2048, 2560])).same


def test_an_original_without_a_frame_is_not_the_same():
    assert not times_compared(np.array([]), index([0])).same
