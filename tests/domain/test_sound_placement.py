from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heaters_dagster.domain.clock import ClockJump
from heaters_dagster.domain.sound_placement import STEP_SECONDS, SoundPlacement

RATE, PACKET = 48_000, 1024
LENGTH = PACKET / RATE


def placed(pieces: list[tuple[float | None, int]], **options: object) -> tuple[SoundPlacement[int], dict[int, float]]:
    """(the placement, when each piece is heard in the output: the time of its own first sample)."""
    placement: SoundPlacement[int] = SoundPlacement(RATE, **options)  # type: ignore[arg-type]
    out = [one for number, (time, count) in enumerate(pieces) for one in placement.add(time, count, number)]
    out += placement.finish()
    heard, at = {}, 0
    for one in out:
        at += one.silence
        heard[one.samples] = (placement.start_seconds or 0.0) + (at - one.dropped) / RATE
        at += pieces[one.samples][1] - one.dropped + one.stretched
    return placement, heard


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(1, 198), max_size=60), st.sampled_from([0.0, 0.0005]))
def test_whatever_packets_are_missing_the_others_are_heard_at_their_time(lost: set[int], rounding: float):
    kept = [number for number in range(200) if number not in lost]
    times = [round(number * LENGTH / rounding / 2) * rounding * 2 if rounding else number * LENGTH for number in kept]
    placement, heard = placed([(time, PACKET) for time in times])
    assert len(heard) == len(kept)
    assert all(abs(heard[place] - number * LENGTH) <= STEP_SECONDS + 0.001 for place, number in enumerate(kept))
    assert placement.silence == pytest.approx(len(lost) * PACKET, abs=0.005 * RATE)


@pytest.mark.parametrize("error", [3 * 3600.0, 0.5, -0.5, -3600.0])
@pytest.mark.parametrize("where", [0, 1, 50, 99])
def test_one_wrong_time_moves_nothing(error: float, where: int):
    pieces = [(100.0 + number * LENGTH + (error if number == where else 0.0), PACKET) for number in range(100)]
    placement, heard = placed(pieces)  # type: ignore[arg-type]
    if where == 0 and abs(error) <= 1:
        return  # nobody can tell it from a sound that begins with a gap
    assert placement.clock_errors == 0
    moved = [number for number in range(100) if abs(heard.get(number, 0.0) - 100 - number * LENGTH) > 0.001]
    assert moved in ([], [99]) if where == 99 else moved == []


def test_a_jump_of_the_pictures_clock_is_followed():
    jump = ClockJump(2.0, 5000.0, 4997.96)
    times = [number * LENGTH + (jump.shift_seconds if number >= 94 else 0.0) for number in range(200)]
    placement, heard = placed([(time, PACKET) for time in times], jumps=[jump])
    assert (placement.silence, placement.dropped, placement.clock_errors) == (0, 0, 0)
    assert heard[199] == pytest.approx(199 * LENGTH)


@pytest.mark.parametrize("error", [9000.0, -9000.0])
def test_a_jump_of_the_sounds_clock_alone_is_closed_up_and_told(error: float):
    times = [number * LENGTH + (error if number >= 94 else 0.0) for number in range(200)]
    placement, heard = placed([(time, PACKET) for time in times], end_seconds=5.0)
    assert placement.clock_errors == 1
    assert heard[199] == pytest.approx(199 * LENGTH)


def test_a_long_silence_within_the_picture_stays_as_long_as_it_is():
    times = [number * LENGTH + (600.0 if number >= 94 else 0.0) for number in range(200)]
    placement, heard = placed([(time, PACKET) for time in times], end_seconds=700.0)
    assert placement.silence == 600 * RATE
    assert heard[199] == pytest.approx(199 * LENGTH + 600)


def test_pieces_without_a_time_follow_each_other():
    placement, heard = placed([(1.0, PACKET), *[(None, PACKET)] * 40])
    assert heard[40] == pytest.approx(1.0 + 40 * LENGTH)
    assert placement.silence == 0


def test_a_clock_that_runs_a_little_fast_is_followed_by_stretching():
    times = [number * LENGTH * 1.0005 for number in range(2000)]
    placement, heard = placed([(time, PACKET) for time in times])
    assert (placement.silence, placement.dropped) == (0, 0)
    assert all(abs(heard[number] - times[number]) < STEP_SECONDS for number in range(2000))
