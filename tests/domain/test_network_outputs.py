"""What networks say becomes columns, and columns become boundaries with kinds and ranges."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from heaters_dagster.domain.cut_kinds import CutKind, Transition
from heaters_dagster.domain.detector import Boundary
from heaters_dagster.domain.network_outputs import CODES, PerFrame, Shots, network_boundaries

KINDS = (CutKind.HARD, CutKind.JUMP)
WHAT = (None, CutKind.DISSOLVE, CutKind.WIPE)


def column(frames: int, **values: float) -> NDArray[np.float32]:
    """f3=0.5 is 0.5 at frame 3; f3_8=0.5 at frames 3 to 8."""
    made = np.zeros(frames, np.float32)
    for name, value in values.items():
        first, _, last = name[1:].partition("_")
        made[int(first) : int(last or first) + 1] = value
    return made


def rows(*chosen: int, classes: int) -> NDArray[np.float32]:
    """Logits, each row of which says one class."""
    made = np.full((len(chosen), classes), -8.0, np.float32)
    made[np.arange(len(chosen)), chosen] = 8.0
    return made


def found(read: NDArray[np.float32], threshold: float = 0.5) -> list[Boundary]:
    return list(network_boundaries(read[:, 0], read[:, 1], read[:, 2], threshold))


def test_a_number_per_frame_is_a_probability_after_its_sigmoid() -> None:
    read = PerFrame(cut="cut").read({"cut": np.array([[-20.0], [0.0], [20.0]], np.float32)}, 3)
    assert read[:, 0].tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-6)
    assert found(read) == [Boundary(2, pytest.approx(1.0))]


def test_a_network_that_marks_the_last_frame_of_the_old_shot() -> None:
    reader = PerFrame(cut="cut", are_logits=False, marks_last_frame=True)
    assert [one.frame for one in found(reader.read({"cut": column(20, f9=0.9)}, 20))] == [10]


def test_padding_after_the_last_frame_does_not_count() -> None:
    read = PerFrame(cut="cut", are_logits=False).read({"cut": column(20, f9=0.9, f15=0.9)}, 12)
    assert read.shape == (12, 3)
    assert [one.frame for one in found(read)] == [9]


def test_kinds_and_ranges_per_frame() -> None:
    classes = np.zeros((60, 3), np.float32)
    classes[20, 1] = 1.0
    classes[38:50, 2] = 1.0
    reader = PerFrame(cut="cut", part="part", kinds="kinds", kind_of_class=(None, CutKind.HARD, CutKind.DISSOLVE), are_logits=False)
    outputs = {"cut": column(60, f20=0.9), "part": column(60, f38_49=0.8), "kinds": classes}
    assert found(reader.read(outputs, 60)) == [
        Boundary(20, pytest.approx(0.9), transition=Transition(CutKind.HARD)),
        Boundary(44, pytest.approx(0.8), transition=Transition(CutKind.DISSOLVE, 38, 49)),
    ]


def test_a_transition_that_is_marked_both_ways_is_one_boundary() -> None:
    cut, part, kind = column(60, f40_46=0.9), column(60, f36_51=0.8), column(60, f36_51=CODES[CutKind.FADE])
    (one,) = network_boundaries(cut, part, kind, 0.5)
    assert (one.frame, one.transition) == (43, Transition(CutKind.FADE, 36, 51))


def test_without_a_kind_there_is_no_transition() -> None:
    assert found(np.stack([column(30, f10=0.9), column(30), column(30)], axis=1)) == [Boundary(10, pytest.approx(0.9))]


def test_what_is_below_the_threshold_is_no_boundary() -> None:
    read = np.stack([column(60, f10=0.6), column(60, f30_39=0.6), column(60)], axis=1)
    assert [one.frame for one in found(read, 0.5)] == [10, 35]
    assert found(read, 0.7) == []


def test_shots_one_after_the_other_with_a_transition_between_two() -> None:
    """Shots end before frames 10, 30, 36, 50 and 60: a hard cut at 10, a wipe of frames 30 to 35, a jump at 50."""
    reader = Shots(ends="ends", begins="begins", kind_of_begin=KINDS, what="what", kind_of_shot=WHAT)
    outputs = {
        "ends": rows(10, 30, 36, 50, 60, 60, classes=61),
        "begins": rows(0, 0, 0, 0, 1, 0, classes=2),
        "what": rows(0, 0, 2, 0, 0, 0, classes=3),
    }
    boundaries = found(reader.read(outputs, 60))
    assert [(one.frame, one.transition) for one in boundaries] == [
        (10, Transition(CutKind.HARD)),
        (33, Transition(CutKind.WIPE, 30, 35)),
        (50, Transition(CutKind.JUMP)),
    ]
    assert all(one.confidence > 0.99 for one in boundaries)


def test_shots_that_end_before_they_begin_and_shots_in_the_padding_are_left_out() -> None:
    reader = Shots(ends="ends", begins="begins", kind_of_begin=KINDS)
    outputs = {"ends": rows(10, 5, 20, 55, classes=61), "begins": rows(0, 0, 0, 0, classes=2)}
    assert [one.frame for one in found(reader.read(outputs, 40))] == [10, 20]


@pytest.mark.parametrize(
    ("reader", "outputs", "told"),
    [
        (PerFrame(cut="cut"), {"cut": np.zeros((10, 2), np.float32)}, r"cut has the shape \(10, 2\), not one number for each of 10 frames"),
        (PerFrame(cut="cut"), {"cut": np.zeros(9, np.float32)}, r"cut has the shape \(9,\)"),
        (
            PerFrame(cut="cut", kinds="kinds", kind_of_class=(None,)),
            {"cut": np.zeros(10, np.float32), "kinds": np.zeros((10, 2), np.float32)},
            r"kinds has the shape \(10, 2\), not \(frames, 1\)",
        ),
        (
            Shots(ends="ends", begins="begins", kind_of_begin=KINDS),
            {"ends": np.zeros((3, 11), np.float32), "begins": np.zeros((3, 5), np.float32)},
            r"begins has the shape \(3, 5\), not \(shots, 2\)",
        ),
    ],
)
def test_outputs_of_another_shape_are_refused(reader: PerFrame | Shots, outputs: dict[str, NDArray[np.float32]], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        reader.read(outputs, 10)
