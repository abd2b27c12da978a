import pytest

from heaters_dagster.domain.progress import Progress, silent


def test_fraction_speed_and_time_left_follow_from_done_and_total():
    progress = Progress("proxy", done=30, total=120, unit="seconds", elapsed_seconds=10)
    assert progress.fraction == 0.25
    assert progress.speed == 3.0
    assert progress.seconds_left == 30.0
    assert str(progress) == "proxy 25 %, 3.0x real time, 30 s left"


def test_the_part_that_is_worked_on_stands_beside_the_stage():
    progress = Progress("proxy_pieces", done=30, total=120, unit="seconds", elapsed_seconds=10, part="piece 3 of 10")
    assert str(progress) == "proxy_pieces (piece 3 of 10) 25 %, 3.0x real time, 30 s left"


def test_an_unknown_total_gives_no_fraction_and_no_time_left():
    progress = Progress("download", done=5_000_000, total=None, unit="bytes", elapsed_seconds=2)
    assert progress.fraction is None
    assert progress.seconds_left is None
    assert str(progress) == "download, 5000000 bytes, 2.5 MB/s"


def test_work_that_passes_its_estimate_is_complete_and_never_more():
    progress = Progress("proxy", done=130, total=120, unit="frames", elapsed_seconds=10)
    assert progress.fraction == 1.0
    assert progress.seconds_left == 0.0


@pytest.mark.parametrize("total", [None, 0, 100])
def test_nothing_divides_by_zero_at_the_start(total: float | None):
    progress = Progress("proxy", done=0, total=total, unit="frames", elapsed_seconds=0)
    assert progress.speed is None
    assert progress.seconds_left is None
    assert str(progress).startswith("proxy")
    silent(progress)
