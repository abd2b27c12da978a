"""Pooling of frame embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from heaters_dagster.domain.errors import EmbeddingError
from heaters_dagster.domain.pooling import pooled


def test_the_mean_direction_has_norm_one() -> None:
    vector = pooled(np.array([[1, 0], [0, 1]], np.float32))
    np.testing.assert_allclose(vector, [2**-0.5, 2**-0.5], atol=1e-6)


def test_one_frame_is_its_own_pool() -> None:
    np.testing.assert_allclose(pooled(np.array([[0.6, 0.8]], np.float32)), [0.6, 0.8], atol=1e-6)


@pytest.mark.parametrize(
    "frames",
    [np.zeros((0, 4)), np.zeros(4), np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([[np.nan, 0.0]])],
    ids=["no frames", "not a table", "opposite frames", "not a number"],
)
def test_frames_without_a_mean_direction_are_refused(frames: np.ndarray) -> None:
    with pytest.raises(EmbeddingError):
        pooled(frames.astype(np.float32))
