"""Mix any number of sound channels down to one or two. Nothing that can be heard is lost, whatever the channels are called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: FFmpeg's names of channels (libavutil/channel_layout.c) that are heard from one side; every other one is heard from both.
_LEFT = frozenset({"FL", "BL", "FLC", "SL", "TFL", "TBL", "DL", "WL", "SDL", "TSL", "BFL", "SSL", "TTL"})
_RIGHT = frozenset({"FR", "BR", "FRC", "SR", "TFR", "TBR", "DR", "WR", "SDR", "TSR", "BFR", "SSR", "TTR"})
_FRONT = frozenset({"FL", "FR", "DL", "DR"})
_HALF_POWER = 2**-0.5
#: Number of channels without names -> what each usually is: SMPTE's order, which FFmpeg assumes too.
_USUAL_NAMES = {
    3: "FL FR LFE",
    4: "FL FR FC BC",
    5: "FL FR FC BL BR",
    6: "FL FR FC LFE BL BR",
    7: "FL FR FC LFE BC SL SR",
    8: "FL FR FC LFE BL BR SL SR",
}


def downmix(names: Sequence[str], channels: int) -> NDArray[np.float32]:
    """(channels, n) gains from n input channels to 1 or 2.

    names: of the input's channels, by FFmpeg's names; unknown ones count. A single channel goes to all outputs unchanged, whatever it is
    called; two of unknown kind are left and right; otherwise a row's power is at most that of one channel at full gain.
    """
    count = len(names)
    if count == 1:
        return np.ones((channels, 1), dtype=np.float32)
    gains = np.array([_gains(name) for name in _known(names)], dtype=np.float64).T
    if channels == 1:
        gains = gains.sum(axis=0, keepdims=True) / 2
    power = np.sqrt((gains**2).sum(axis=1, keepdims=True))
    return np.asarray(gains / np.maximum(1.0, power), dtype=np.float32)


def _known(names: Sequence[str]) -> list[str]:
    """The names to use: the usual places where the container gives none."""
    if all(name.startswith("AMBI") for name in names):
        return list(names)
    sided = [name for name in names if name in _LEFT | _RIGHT]
    if len(names) == 2 and not ({*names} & _LEFT and {*names} & _RIGHT) and not {*names} & {"FC", "LFE", "BC"}:
        return ["FL", "FR"]
    if not sided and not {*names} & {"FC", "LFE", "BC"}:
        usual = _USUAL_NAMES.get(len(names))
        return usual.split() if usual else ["FL" if number % 2 == 0 else "FR" for number in range(len(names))]
    return list(names)


def _gains(name: str) -> tuple[float, float]:
    """(to the left, to the right)."""
    if name in _LEFT:
        return (1.0 if name in _FRONT else _HALF_POWER, 0.0)
    if name in _RIGHT:
        return (0.0, 1.0 if name in _FRONT else _HALF_POWER)
    if name.startswith("AMBI"):  # ambisonic in ACN order: two cardioids to the sides (W + Y, W - Y)
        side = {"AMBI0": (0.5, 0.5), "AMBI1": (0.5, -0.5)}
        return side.get(name, (0.0, 0.0))
    return (_HALF_POWER, _HALF_POWER)
