"""Runs of true values, at both ends and between."""

from __future__ import annotations

import numpy as np

from heaters_dagster.domain.true_runs import true_runs


def test_runs_begin_with_the_first_true_value_and_end_after_the_last() -> None:
    assert true_runs(np.array([1, 1, 0, 0, 1, 0, 1, 1], np.bool_)) == [(0, 2), (4, 5), (6, 8)]


def test_nothing_true_has_no_runs_and_all_true_has_one() -> None:
    assert true_runs(np.zeros(5, np.bool_)) == true_runs(np.zeros(0, np.bool_)) == []
    assert true_runs(np.ones(5, np.bool_)) == [(0, 5)]
