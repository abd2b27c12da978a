"""Measures where the sound of a file is, relative to its picture, by correlation with what was recorded: time stamps are not believed.

`make_video` records seeded noise that begins with frame 0: no two moments of it are alike, so half a second of it says when it was
recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from tests.media_files import SAMPLE_RATE, barcodes, frame_times

_WINDOW_SECONDS = 0.5
_LONGEST_LAG_SECONDS = 0.6
#: Matroska keeps milliseconds: a packet that follows the one before within that has no gap before it.
_ROUNDING_SECONDS = 0.0015
#: Of the largest possible correlation: two windows of different noise have less than 0.05.
_HEARD = 0.2
_LONG_SECONDS = 8
#: Kinds of frames that need no conversion, as AAC's.
_AS_THEY_ARE = {("fltp", SAMPLE_RATE, count, False) for count in (1, 2)}
#: Lengths that small primes divide are transformed fast.
_FAST = 2400

#: (samples at 48 kHz, when the first of them is heard by the file's clock).
DecodedSound: TypeAlias = tuple[NDArray[np.float64], float]


@dataclass(frozen=True, slots=True)
class Heard:
    """seconds: of the window's beginning, after the first frame of the file. lag_ms: how much too late its sound is, None for silence and
    for sound that was never recorded there."""

    seconds: float
    lag_ms: float | None


def recorded(seconds: float) -> NDArray[np.float64]:
    """What `make_video` records, at 48 kHz; do not change the array."""
    count = int(seconds * SAMPLE_RATE)
    return _noise(max(count, _LONG_SECONDS * SAMPLE_RATE))[:count]


@lru_cache(maxsize=4)
def _noise(count: int) -> NDArray[np.float64]:
    return np.random.default_rng(7).normal(0, 0.1, count)


def heard_lags(
    path: Path,
    *,
    time_of_frame: Callable[[int], float],
    numbers: Sequence[int] | None = None,
    shown: NDArray[np.float64] | None = None,
    sound: DecodedSound | None = None,
    window_seconds: float = _WINDOW_SECONDS,
    reach_seconds: float = _LONGEST_LAG_SECONDS,
) -> list[Heard]:
    """How late the sound is in every window of a file.

    time_of_frame: when the frame with that number was recorded. numbers, shown: of the file's frames and their times; None to read them
    from the pictures. sound: of the file, None to decode it. reach_seconds: how late it may be to be found at all.
    """
    shown = np.array(frame_times(path)) if shown is None else shown
    recorded_at = [time_of_frame(number) for number in (barcodes(path) if numbers is None else numbers)]
    lead = np.array(recorded_at) - shown  # from the file's clock to that of the recording
    samples, begins = decoded_sound(path) if sound is None else sound
    window, reach = round(window_seconds * SAMPLE_RATE), round(reach_seconds * SAMPLE_RATE)
    truth = np.concatenate([np.zeros(reach), recorded(begins + float(lead.max()) + len(samples) / SAMPLE_RATE + 1.0)])
    found = []
    for at in range(0, len(samples) - window + 1, window):
        piece = samples[at : at + window]
        middle = begins + (at + window / 2) / SAMPLE_RATE
        origin = float(lead[max(0, int(np.searchsorted(shown, middle, side="right")) - 1)])
        place = reach + round((begins + origin) * SAMPLE_RATE) + at
        low = max(0, place - reach)
        around = truth[low : place + window + reach]
        seconds = begins - float(shown[0]) + at / SAMPLE_RATE
        found.append(Heard(seconds, _lag_ms(piece, around, place - low)))
    return found


def assert_in_sync(
    path: Path, *, time_of_frame: Callable[[int], float], silent: int = 0, within_ms: float = 5.0, least_windows: int = 2
) -> None:
    """Every half second of sound is heard at its time; at most `silent` windows have none."""
    heard = heard_lags(path, time_of_frame=time_of_frame)
    assert len(heard) >= least_windows, f"hardly any sound: {len(decoded_sound(path)[0]) / SAMPLE_RATE:.3f} s"
    late = [one for one in heard if one.lag_ms is not None and abs(one.lag_ms) > within_ms]
    assert not late, f"{path.name}: {late}"
    assert sum(one.lag_ms is None for one in heard) <= silent, f"{path.name}: {heard}"


def decoded_sound(path: Path, channel: int = 0, *, stream: int = 0) -> DecodedSound:
    """(samples at 48 kHz of one channel, each where its time stamp puts it; when the first is heard) as a player plays them."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=stream))
        if {(frame.format.name, frame.sample_rate, frame.layout.nb_channels, frame.time is None) for frame in frames} <= _AS_THEY_ARE:
            pieces = [(frame.time, frame.to_ndarray()[channel]) for frame in frames]
        else:
            pieces = list(_resampled(frames, channel))
    begins = pieces[0][0]
    whole = np.zeros(round((pieces[-1][0] - begins) * SAMPLE_RATE) + len(pieces[-1][1]) + 1)
    end = 0
    for time_, samples in pieces:
        at = round((time_ - begins) * SAMPLE_RATE)
        at = end if abs(at - end) < _ROUNDING_SECONDS * SAMPLE_RATE else at
        end = at + len(samples)
        whole[at : at + len(samples)] = samples[: len(whole) - at]
    return whole, begins


def _resampled(frames: Sequence[Any], channel: int) -> Iterator[tuple[float, NDArray[np.float32]]]:
    resampler = av.AudioResampler(format="flt", rate=SAMPLE_RATE)  # planes of 8 channels would end PyAV
    time = 0.0
    for frame in [*frames, None]:
        time = time if frame is None or frame.time is None else frame.time
        for made in resampler.resample(frame):
            time = time if made.pts is None else float(made.pts * made.time_base)
            yield time, made.to_ndarray().reshape(-1, made.layout.nb_channels)[:, channel]
            time += made.samples / SAMPLE_RATE


def loudness(path: Path) -> list[float]:
    """Root mean square of each channel."""
    with av.open(str(path)) as container:
        frames: list[Any] = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return [float(level) for level in np.sqrt((np.concatenate(frames, axis=1) ** 2).mean(axis=1))]


def _lag_ms(piece: NDArray[np.float64], around: NDArray[np.float64], place: int) -> float | None:
    if len(around) < len(piece) or not np.any(piece):
        return None
    length = -(-len(around) // _FAST) * _FAST  # what wraps around lies behind the places where the whole piece fits
    product = np.fft.irfft(np.fft.rfft(around, length) * np.conj(np.fft.rfft(piece, length)), length)[: len(around) - len(piece) + 1]
    power = np.cumsum(np.concatenate([[0.0], around**2]))
    norm = np.sqrt((piece**2).sum() * np.maximum(power[len(piece) :] - power[: -len(piece)], 1e-12))
    likeness = product / norm
    best = int(np.argmax(likeness))
    return (place - best) * 1000 / SAMPLE_RATE if likeness[best] > _HEARD else None
