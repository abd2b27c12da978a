"""The 9 x 16 parts of the small frames: each has 3 x 3 pixels, so that neither noise nor small motion shows in them. And how bright colours
are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: How many parts a small frame has.
PARTS = 9 * 16
#: Of red, green and blue: how bright a colour is. Source: ITU-R BT.601, luma.
GREY = np.array([0.299, 0.587, 0.114], np.float32)


def sums_of_parts(frames: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """(n, 27, 48, 3) -> (n, 9, 16, 3): the sum of the nine pixels of each part."""
    rows = frames[:, 0::3].astype(np.uint16) + frames[:, 1::3] + frames[:, 2::3]
    return np.asarray(rows[:, :, 0::3] + rows[:, :, 1::3] + rows[:, :, 2::3], np.uint16)
