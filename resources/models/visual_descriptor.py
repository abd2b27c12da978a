"""A small built-in visual descriptor: no model, no download. It finds clips that look alike, not clips that mean the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.errors import EmbeddingError

_GRID = 4
_HUES, _LUMAS, _ANGLES = 12, 8, 12
_SIDE = 128


class VisualDescriptor:
    """Colour and edge statistics of a 4 x 4 grid: 16 cells of 12 hue, 8 luma and 12 edge-direction bins make 512 dimensions.

    Histograms are square-rooted (Hellinger kernel) so that the cosine compares them fairly.
    Source: Arandjelovic and Zisserman, Three things everyone should know (2012), section 3; Dalal and Triggs, HOG (2005), section 6.
    """

    model = "visual-descriptor-1"
    dimensions = _GRID * _GRID * (_HUES + _LUMAS + _ANGLES)
    understands_words = False

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """images: n of (h, w, 3) RGB. Returns (n, 512), rows of norm 1."""
        return np.stack([_described(image) for image in images])

    def embed_text(self, text: str) -> NDArray[np.float32]:
        raise EmbeddingError(
            f"the built-in visual descriptor cannot understand words ({text!r}); it finds clips that look alike: heaters search --like CLIP"
        )


def _described(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2

    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV).astype(np.float32)
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    across, down = cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)
    hue = _histograms(hsv[..., 0] / 180.0, hsv[..., 1] * hsv[..., 2] / 255.0**2, _HUES, circular=True)
    brightness = _histograms(luma / 256.0, np.ones_like(luma), _LUMAS, circular=False)
    edges = _histograms(np.mod(np.arctan2(down, across), np.pi) / np.pi, np.hypot(across, down) / 1020.0, _ANGLES, circular=True)
    cells = np.sqrt(np.concatenate([hue, brightness, edges], axis=1)).ravel()
    unit: NDArray[np.float32] = (cells / np.linalg.norm(cells)).astype(np.float32)
    return unit


def _histograms(values: NDArray[np.float32], weights: NDArray[np.float32], bins: int, *, circular: bool) -> NDArray[np.float64]:
    """(16, bins): weighted histogram of `values` in [0, 1) for every cell of the grid, as a share of the cell's area.

    A value counts to its two nearest bins by distance: with hard edges a slightly brighter picture would look like another one.
    """
    step = _SIDE // _GRID
    position = values * bins - 0.5
    low = np.floor(position).astype(np.int64)
    share = position - low
    rows, columns = np.indices(values.shape)
    cell = (rows // step) * _GRID + columns // step
    counts = np.zeros(_GRID * _GRID * bins)
    for index, part in ((low, 1 - share), (low + 1, share)):
        inside = index % bins if circular else np.clip(index, 0, bins - 1)
        counts += np.bincount((cell * bins + inside).ravel(), weights=(weights * part).ravel().astype(np.float64), minlength=len(counts))
    return counts.reshape(_GRID * _GRID, bins) / step**2
