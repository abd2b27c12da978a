"""From the embeddings of a clip's keyframes to one vector for the clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import EmbeddingError


def pooled(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average frame embeddings into one unit vector.

    frames: (n, d), n >= 1, each row L2-normalised. Returns (d,), norm 1.
    Raises EmbeddingError when there are no frames, a value is not finite, or the frames cancel each other out.
    Source: mean pooling of CLIP frame features, Luo et al., CLIP4Clip (2021), section 3.3 (parameter-free type).
    """
    if frames.ndim != 2 or len(frames) == 0:
        raise EmbeddingError(f"pooling needs a table of frame embeddings with at least one row, not shape {frames.shape}")
    if not np.all(np.isfinite(frames)):
        raise EmbeddingError("a frame embedding holds a value that is not a number")
    mean = frames.astype(np.float64).mean(axis=0)
    norm = float(np.linalg.norm(mean))
    if norm < 1e-6:
        raise EmbeddingError("the frame embeddings of the clip cancel each other out, so search cannot find it")
    unit: NDArray[np.float32] = (mean / norm).astype(np.float32)
    return unit
