from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heaters_dagster.domain.clock import OUTLIERS_IN_A_ROW, clock_jumps, mended, rising_ticks


def frames(count: int, step: float = 1 / 25) -> np.ndarray:
    return np.arange(count) * step


steps = st.lists(st.sampled_from([1 / 60, 1 / 25, 1 / 24, 0.4]), min_size=30, max_size=120)


@settings(max_examples=60, deadline=None)
@given(steps, st.data())
def test_frames_whose_times_are_right_keep_them_and_wild_ones_come_between(gaps: list[float], data: st.DataObject):
    right = np.concatenate([[0.0], np.cumsum(gaps)])
    wild = sorted(data.draw(st.sets(st.integers(6, len(right) - 7), max_size=4)))
    offs = [data.draw(st.floats(30, 1e5)) * data.draw(st.sampled_from([-1, 1])) for _ in wild]
    times = right.copy()
    times[wild] += offs
    found = mended(times, clock_jumps(times))
    assert len(found.seconds) == len(right)
    assert np.all(np.diff(found.seconds) >= 0)
    kept = np.setdiff1d(np.arange(len(right)), wild)
    assert np.array_equal(found.seconds[kept], right[kept])
    assert set(np.flatnonzero(found.wild)) == set(wild)
    assert np.all(np.abs(found.seconds[wild] - right[wild]) <= 0.4 * (OUTLIERS_IN_A_ROW + 1))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_whatever_the_times_are_no_frame_is_lost_and_none_comes_before_another(times: list[float]):
    seconds = np.array(times)
    found = mended(seconds, clock_jumps(seconds))
    assert len(found.seconds) == len(times)
    assert np.all(np.diff(found.seconds) >= 0)
    ticks = rising_ticks(np.round(found.seconds * 1000).astype(np.int64))
    assert np.all(np.diff(ticks) > 0)
    assert ticks[0] == round(found.seconds[0] * 1000)


@pytest.mark.parametrize("by", [3 * 3600.0, -7200.0, -3.5])
def test_a_clock_that_jumps_and_stays_is_closed_up(by: float):
    times = frames(200)
    times[90:] += by
    (jump,) = clock_jumps(times)
    assert jump.shift_seconds == pytest.approx(by)
    found = mended(times, [jump])
    assert found.seconds == pytest.approx(frames(200))
    assert not found.wild.any()
    (note,) = found.notes()
    assert "its clock jumps" in note
    assert "the sound moves with the picture" in note


def test_two_jumps_and_a_wild_frame_between_them_are_each_mended():
    times = frames(300)
    times[100:] += 9000
    times[200:] -= 9000
    times[150] = 5
    jumps = clock_jumps(times)
    assert [round(jump.shift_seconds) for jump in jumps] == [9000, -9000]
    assert mended(times, jumps).seconds == pytest.approx(frames(300))


def test_a_picture_that_stands_still_is_no_jump_while_there_is_sound():
    times = np.concatenate([frames(50), 7200 + frames(50)])
    assert clock_jumps(times, sound=frames(360_000, 0.02)) == ()
    assert len(clock_jumps(times, sound=frames(100, 0.02))) == 1
    assert clock_jumps(np.concatenate([frames(50), 600 + frames(50)])) == ()


def test_a_picture_an_hour_is_a_slow_film_and_no_broken_clock():
    times = frames(100, 3700.0)
    assert clock_jumps(times) == ()
    assert np.array_equal(mended(times).seconds, times)


@pytest.mark.parametrize("where", [slice(0, 1), slice(0, 4), slice(199, 200), slice(195, 200)])
def test_wild_times_at_either_end_go_on_as_the_others_do(where: slice):
    times = frames(200)
    times[where] += 10_800
    found = mended(times, clock_jumps(times))
    assert found.seconds == pytest.approx(frames(200))
    assert found.farthest_seconds == pytest.approx(10_800)
    assert f"{np.count_nonzero(found.wild)} frame" in found.notes()[0]
    assert "3.0 hours" in found.notes()[0]


def test_many_frames_at_one_moment_are_not_wrong():
    times = np.repeat(frames(10), 5)
    assert not mended(times, clock_jumps(times)).wild.any()
