from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heaters_dagster.domain.clock import (
    OUTLIERS_IN_A_ROW,
    ClockJump,
    clock_jumps,
    mended,
    rising_ticks,
    seconds_of,
    sound_in_step,
    stands_still_at_an_end,
)


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


@settings(max_examples=200, deadline=None)
@given(
    st.integers(17, 400).flatmap(
        lambda count: st.tuples(
            st.just(count),
            st.dictionaries(
                st.one_of(st.integers(0, count - 1), st.integers(0, 10), st.integers(count - 10, count - 1)),
                st.one_of(st.floats(11, 1e6), st.floats(-1e6, -11), st.sampled_from([10_800.0, -10_800.0, -500.0, 500.0])),
                max_size=min(OUTLIERS_IN_A_ROW, count // 8),
            ),
        )
    ),
    st.sampled_from([1 / 60, 1001 / 24000, 1 / 25, 0.1]),
    st.sampled_from([0.0, -0.08, -2.0, 1.4, 36_000.0]),
)
def test_a_few_wild_times_anywhere_in_a_steady_picture_come_out_as_the_right_ones(
    wild: tuple[int, dict[int, float]], step: float, start: float
):
    """At the very start and end too, in runs and beside single right frames, and where an edit list begins before 0."""
    count, offs = wild
    right = start + frames(count, step)
    times = right.copy()
    for number, off in offs.items():
        times[number] += off
    assert clock_jumps(times) == ()
    found = mended(times)
    assert found.seconds == pytest.approx(right, abs=1e-6)
    assert set(np.flatnonzero(found.wild)) == set(offs)


@pytest.mark.parametrize(
    "wild",
    [
        {1: -10_800.0, 2: -10_800.0},
        {0: -500.0, 2: -500.0, 3: -500.0},
        dict.fromkeys(range(1, 9), -10800.0),
        {198: 10_800.0, 197: 10_800.0},
        dict.fromkeys(range(191, 199), 60.0),
        {1: 0.09},
    ],
)
def test_wild_times_beside_one_right_frame_at_an_end_are_not_trusted(wild: dict[int, float]):
    times = frames(200)
    for number, off in wild.items():
        times[number] += off
    found = mended(times, clock_jumps(times))
    assert found.seconds == pytest.approx(frames(200))
    assert set(np.flatnonzero(found.wild)) == set(wild)


def test_a_picture_that_stands_still_at_an_end_keeps_its_times_while_there_is_sound():
    times = np.concatenate([[0.0], 60 + frames(100), [600.0]])
    sound = frames(30_000, 0.02)
    assert stands_still_at_an_end(times, sound)
    assert not stands_still_at_an_end(times, sound[sound > 590])
    assert not mended(times, stands_still=True).wild.any()
    assert np.flatnonzero(mended(times).wild).tolist() == [0, 101]


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
    assert "the sound moves with them" in note


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


#: The order in which frames are stored, with two B-frames between others.
STORED = np.array([0, *(frame for first in range(3, 60, 3) for frame in (first, first - 2, first - 1))])


def test_times_given_out_in_the_order_of_decoding_go_to_the_frames_as_they_are_shown():
    """A container that counts frames as they are stored gives frame n the place at which it is stored."""
    given_out = np.argsort(STORED) / 24
    found = mended(given_out)
    assert found.seconds == pytest.approx(np.arange(len(STORED)) / 24)
    assert found.notes() == []


def test_a_jump_between_frames_in_the_order_of_decoding_is_closed_up_to_the_distance_at_which_they_are_shown():
    (jump,) = clock_jumps(np.concatenate([STORED, STORED]) / 24)
    assert jump.shift_seconds == pytest.approx(-len(STORED) / 24)


@pytest.mark.parametrize("by", [-2.2, 10_800.0])
@pytest.mark.parametrize("packets", [100, 14])
def test_sound_follows_the_jump_of_the_picture_by_as_much_and_keeps_its_own_times_else(by: float, packets: int):
    right = np.arange(packets) * 0.2
    half = packets // 2
    late = 0.15 if packets > 16 else 0.0  # it is missing there; of a few packets nothing can be said
    right[half:] += late
    jump = ClockJump(right[half] - 0.04, right[half] + by, by)
    assert sound_in_step(np.concatenate([right[:half], right[half:] + by]), [jump]) == pytest.approx(right, abs=1e-6)


def test_sound_whose_clock_goes_back_alone_goes_on_without_a_gap():
    right = np.arange(100) * 0.02
    assert sound_in_step(np.concatenate([right[:50], right[50:] - 500]), []) == pytest.approx(right, abs=1e-6)


def test_sound_that_comes_again_after_a_long_silence_stays_where_it_is():
    seconds = np.concatenate([np.arange(100) * 0.02, 60 + np.arange(5) * 0.02])
    assert sound_in_step(seconds, []).tolist() == seconds.tolist()


@given(
    ticks=st.integers(-(2**62), 2**62),
    time_base=st.fractions(min_value=Fraction(1, 2**31), max_value=1000, max_denominator=2**31),
)
def test_ticks_become_the_seconds_that_are_nearest_to_them(ticks: int, time_base: Fraction):
    assert seconds_of(ticks, time_base) == float(ticks * time_base)
