"""When a part of `heaters up` is started again, and when it is given up."""

from __future__ import annotations

from heaters_dagster.domain.restarts import RestartRule

RULE = RestartRule(max_restarts=4, window_seconds=600, pause_seconds=2, longest_pause_seconds=6)


def test_pauses_grow_up_to_the_longest_and_then_it_is_given_up() -> None:
    ends = [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [RULE.pause(ends[:count], ends[count - 1]) for count in range(1, 6)] == [0.0, 2.0, 4.0, 6.0, None]


def test_ends_that_lie_far_apart_never_add_up() -> None:
    ends = [float(hour * 3600) for hour in range(100)]
    assert {RULE.pause(ends[:count], ends[count - 1]) for count in range(1, 101)} == {0.0}


def test_after_a_quiet_time_the_count_begins_again() -> None:
    ends = [0.0, 1.0, 2.0, 3.0]
    assert RULE.pause([*ends, 602.9], 602.9) == 2.0  # the end at 3 s is within the window
    assert RULE.pause([*ends, 603.0], 603.0) == 0.0
