"""What the small frames themselves say about a cut: numbers for every frame f on the pictures before f against those from f on.

Neighbours alone cannot tell a cut: a flash jumps as much, but the picture comes back; fast motion jumps at every frame; a dissolve never
jumps. So frames are compared over many distances, with and without brightness, with and without motion.
All of it takes numpy 0.2 ms a frame, against 3 to 7 ms of the network.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.picture_parts import GREY, sums_of_parts

#: A frame's numbers depend on this many frames before and after it.
REACH = 32

#: Frames on either side of f of which the least different pair counts, near by and further off, and the longest way between two of them.
_NEAR, _FAR, _PAIR_LAGS = 4, 15, 18
_HISTOGRAM_LAGS = 2 * _NEAR - 1
#: Frames before f and from f on whose mean is compared.
_WINDOW = 5
#: The same with frames on either side of f left out, as many as a gradual transition may take, and the frames of these means.
_GAPS, _GAP_WINDOW = (2, 4, 8, 16), 4
#: Frames to either side of f of which it may be a mixture, as in the midst of a dissolve.
_MIX_REACHES = (4, 8, 12)
#: Frames on either side that say what is usual around f.
_AROUND = 12
#: Variance, in levels of 256, that noise may have: of pictures with less contrast the structure says nothing.
_STRUCTURE_NOISE = 18.0
#: Pixels of the picture at half its size, in rows and columns, by which motion may have moved what is seen.
_SHIFTS = 3
#: Levels of 256: a line of a bar varies by less along itself, and differs by less from the line at the edge.
_BAR_ROUGHNESS, _BAR_STEP = 14.0, 8.0
#: Rows of 27 and columns of 48 that two opposite bars may have together; more is a plain picture.
_BAR_MOST_ROWS, _BAR_MOST_COLUMNS = 20, 36
#: Frames before f and from f on whose median depth of the bars is compared, and how many are left out on either side.
_BAR_WINDOW, _BAR_GAPS = 3, (0, 6)
#: A pixel has changed at f by more than so many levels and so many times what it changes beside f; a line of so many such pixels counts.
_CHANGED, _CHANGED_OVER_USUAL, _CHANGED_LINE = 8.0, 1.5, 2

Floats = NDArray[np.float32]


def picture_features(frames: NDArray[np.uint8]) -> tuple[tuple[str, ...], Floats]:
    """frames: (REACH + n + REACH, 27, 48, 3) uint8 RGB. Returns names, and (n, names) float32 of the middle n frames.

    The feature of frame f compares what is before f with f and what follows, so a cut whose first frame is f is seen at f.
    """
    columns = dict(_columns(frames))
    inner = slice(REACH, len(frames) - REACH)
    return tuple(columns), np.stack([column[inner] for column in columns.values()], axis=1).astype(np.float32)


def _columns(frames: NDArray[np.uint8]) -> Iterator[tuple[str, Floats]]:
    """Every feature by its name, (REACH + n + REACH,) each; values of the outermost REACH frames mean nothing."""
    count = len(frames)
    small: Floats = sums_of_parts(frames).astype(np.float32) / np.float32(9)
    grey = (frames.reshape(-1, 3).astype(np.float32) @ GREY).reshape(count, 27, 48)
    small_grey = small @ GREY
    looks = small.reshape(count, -1)

    off = np.maximum(frames[1:], frames[:-1]) - np.minimum(frames[1:], frames[:-1])
    jump = _placed(off.reshape(count - 1, -1).mean(1, dtype=np.float32), 1, count)
    yield "jump", jump
    cells = _placed(_mean_colour(np.abs(np.diff(small, axis=0))), 1, count)
    yield "jump_quarter", np.quantile(cells, 0.25, axis=1).astype(np.float32)
    yield "jump_share", (cells > 8).mean(1, dtype=np.float32)
    halves = (grey[:, 0:26:2, 0::2] + grey[:, 1:27:2, 0::2] + grey[:, 0:26:2, 1::2] + grey[:, 1:27:2, 1::2]) / 4
    moved = _moved_jump(halves, 1)
    yield "moved_jump", moved
    yield "moved_jump_wide", _moved_jump(halves, 3, late=1)
    for name, series in (("jump", jump), ("moved_jump", moved)):
        yield from _against_neighbours(name, series)

    brightness = grey.reshape(count, -1).mean(1)
    contrast = grey.reshape(count, -1).std(1)
    yield "brightness_change", np.abs(_at(_mean(brightness, 5), 0) - _at(_mean(brightness, 5), -5))
    around = _windows(brightness, -_AROUND, _AROUND)
    yield "darkest", around.min(0)
    yield "brightest", around.max(0)
    yield "contrast", np.minimum(contrast, _at(contrast, -1))
    yield "flattest", _windows(contrast, -_AROUND, _AROUND).min(0)
    yield "relative_jump", jump / (6 + np.minimum(brightness, _at(brightness, -1)))

    likeness = _Likeness(small_grey.reshape(count, -1))
    apart = [np.zeros(count, np.float32)] + [_lagged(looks, lag) for lag in range(1, _PAIR_LAGS + 1)]
    unlike = [np.zeros(count, np.float32)] + [likeness.lagged(lag) for lag in range(1, _PAIR_LAGS + 1)]
    yield "structure_jump", _at(unlike[1], -1)
    yield from _against_neighbours("structure_jump", _at(unlike[1], -1))
    for name, lags in (("apart", apart), ("unlike", unlike)):
        near = _least(lags, range(1, _NEAR + 1), range(_NEAR))
        yield f"least_{name}", near
        back = np.minimum(_least(lags, range(1, 4), range(_NEAR, _FAR + 1)), _least(lags, range(_NEAR, _FAR + 1), range(3)))
        yield f"least_{name}_far", back
    yield "apart_before", _at(apart[4], -5)
    yield "apart_after", apart[4]
    yield "apart_before_far", _at(apart[12], -17 - 12)
    yield "apart_after_far", _at(apart[12], 17)

    histograms = _histograms(frames)
    colours = [np.zeros(count, np.float32)] + [_uncommon(histograms, lag) for lag in range(1, _HISTOGRAM_LAGS + 1)]
    yield "colour_jump", _at(colours[1], -1)
    yield "least_colours", _least(colours, range(1, _NEAR + 1), range(_NEAR))
    mean_colours = _mean(histograms, _WINDOW)
    yield "colours_across", 1 - np.minimum(mean_colours, _at(mean_colours, -_WINDOW)).sum(1)

    mean = _mean(small, _WINDOW)
    change = _mean_colour(np.abs(mean - _at(mean, -_WINDOW)))
    across = change.mean(1)
    yield "across", across
    yield "across_inside", change[:, 2 * 16 : 7 * 16].mean(1)
    quarter, half, most = np.quantile(change, (0.25, 0.5, 0.9), axis=1).astype(np.float32)
    yield "across_quarter", quarter
    yield "across_half", half
    yield "across_most", most
    yield "unlike_across", _Likeness((mean @ GREY).reshape(count, -1)).lagged_back(_WINDOW)
    yield "across_over_motion", across / (1 + _at(apart[4], -5) + apart[4])
    yield "least_over_across", _least(apart, range(1, _NEAR + 1), range(_NEAR)) / (1 + across)

    window = _mean(looks, _GAP_WINDOW)
    grey_window = _Likeness(_mean(small_grey.reshape(count, -1), _GAP_WINDOW))
    colour_window = _mean(histograms, _GAP_WINDOW)
    for gap in _GAPS:
        lag = 2 * gap + _GAP_WINDOW
        yield f"across_{gap}", _at(_lagged(window, lag), -gap - _GAP_WINDOW)
        yield f"unlike_across_{gap}", _at(grey_window.lagged(lag), -gap - _GAP_WINDOW)
        if gap in (4, 16):
            yield f"colours_across_{gap}", _at(_uncommon(colour_window, lag), -gap - _GAP_WINDOW)
    for reach in _MIX_REACHES:
        yield f"not_mixed_{reach}", _not_mixed(looks, reach)
    yield from _bars(grey, halves, jump)


def _changed_box(halves: Floats, inside: Floats) -> Iterator[tuple[str, Floats]]:
    """How much of the picture lies in the box around all that changes at f and not before and after it: the whole of it at a cut; at a
    board, a title or an inset that appears at once, the rest goes on as before. inside: (n,) the share of the picture inside of its bars.
    """
    off = np.abs(_placed(np.diff(halves, axis=0), 1, len(halves)))
    usual = np.maximum(_at(off, -1), _at(off, 1))
    changed = off > _CHANGED + _CHANGED_OVER_USUAL * usual
    sides = 1.0
    for axis in (1, 2):
        lines = changed.sum(axis) >= _CHANGED_LINE
        sides = sides * np.where(lines.any(1), lines.shape[1] - lines.argmax(1) - lines[:, ::-1].argmax(1), 0) / lines.shape[1]
    yield "changed_box", np.asarray(sides / inside, np.float32)
    yield "changed_share", changed.mean((1, 2), dtype=np.float32)
    yield "unchanged_jump", np.asarray((off * ~changed).sum((1, 2)) / np.maximum(1, (~changed).sum((1, 2))), np.float32)


def _bars(grey: Floats, halves: Floats, jump: Floats) -> Iterator[tuple[str, Floats]]:
    """Plain bars at the edges that come or go at f, and how much of what is inside of them jumps: nothing when only the bars are new.

    Where no bars come or go these are the jumps inside of the bars that are there.
    """
    depths = _bar_depths(grey)
    for gap in _BAR_GAPS:
        before, after = (np.median(_windows(depths, first, first + _BAR_WINDOW - 1), axis=0) for first in (-gap - _BAR_WINDOW, gap))
        change = np.abs(after - before)
        most = np.maximum(before, after)
        # The line beside a bar may be a mixture.
        top, bottom, left, right = (most + (most > 0)).T[:, :, None]
        inside = _Inside(
            halves,
            (2 * np.arange(13) >= top) & (2 * np.arange(13) < 26 - bottom),
            (2 * np.arange(24) >= left) & (2 * np.arange(24) < 47 - right),
        )
        name = f"_{gap}" if gap else ""
        yield f"bars_change{name}", np.asarray(change[:, :2].sum(1) / 27 + change[:, 2:].sum(1) / 48, np.float32)
        yield f"inside_jump{name}", inside.apart(-gap - 1, gap)
        yield f"unlike_inside{name}", inside.unlike(-gap - 1, gap)
        if gap == 0:
            pairs = [inside.apart(-one, other) for one in range(1, _BAR_WINDOW + 1) for other in range(_BAR_WINDOW)]
            yield "least_inside", np.asarray(np.min(pairs, axis=0), np.float32)
            usual = (_at(jump, -2) + _at(jump, -1) + _at(jump, 1) + _at(jump, 2)) / 4
            yield "inside_over_usual", np.asarray(inside.apart(-1, 0) / (1 + usual), np.float32)
            both = np.minimum(before, after)
            shown = (1 - both[:, :2].sum(1) / 27) * (1 - both[:, 2:].sum(1) / 48)
            yield from _changed_box(halves, np.asarray(shown, np.float32))


def _bar_depths(grey: Floats) -> Floats:
    """(n, 4): how many plain rows and columns of one brightness there are from the top, bottom, left and right; 0 of a plain picture."""
    count = len(grey)
    depths = np.zeros((count, 4), np.float32)
    for axis, most, place in ((2, _BAR_MOST_ROWS, 0), (1, _BAR_MOST_COLUMNS, 2)):
        levels = grey.mean(axis)
        rough = np.ptp(grey, axis=axis) > _BAR_ROUGHNESS
        for side in (0, 1):
            lines, uneven = (levels, rough) if side == 0 else (levels[:, ::-1], rough[:, ::-1])
            stops = uneven | (np.abs(lines - lines[:, :1]) > _BAR_STEP)
            depths[:, place + side] = np.where(stops.any(1), stops.argmax(1), lines.shape[1])
        depths[depths[:, place : place + 2].sum(1) > most, place : place + 2] = 0
    return depths


class _Inside:
    """Differences of two frames over a rectangle that is another one for each frame f. rows: (n, 13), columns: (n, 24), true inside."""

    def __init__(self, halves: Floats, rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> None:
        count = len(halves)
        self._looks = halves.reshape(count, -1)
        self._weight = (rows[:, :, None] & columns[:, None, :]).reshape(count, -1).astype(np.float32)
        self._size = np.maximum(1, self._weight.sum(1))

    def apart(self, one: int, other: int) -> Floats:
        """Mean absolute difference of f + one and f + other."""
        return self._mean(np.abs(_at(self._looks, other) - _at(self._looks, one)), self._weight)

    def unlike(self, one: int, other: int) -> Floats:
        """As `_Likeness` says it, of f + one and f + other."""
        first, second = (self._centred(_at(self._looks, offset)) for offset in (one, other))
        spread = np.sqrt(self._mean(first, first) * self._mean(second, second))
        return np.asarray(1 - (self._mean(first, second) + _STRUCTURE_NOISE) / (spread + _STRUCTURE_NOISE), np.float32)

    def _centred(self, looks: Floats) -> Floats:
        return np.asarray((looks - self._mean(looks, self._weight)[:, None]) * self._weight, np.float32)

    def _mean(self, one: Floats, other: Floats) -> Floats:
        return np.asarray(np.einsum("ni,ni->n", one, other) / self._size, np.float32)


def _at(series: Floats, offset: int) -> Floats:
    """The series seen from each frame f at f + offset. Wraps at the ends, which nobody uses."""
    offset %= len(series)
    return np.concatenate([series[offset:], series[:offset]])


def _placed(rows: Floats, start: int, count: int) -> Floats:
    placed = np.zeros((count, *rows.shape[1:]), np.float32)
    placed[start : start + len(rows)] = rows
    return placed


def _windows(series: Floats, first: int, last: int) -> Floats:
    """(last - first + 1, n): the series at f + first ... f + last."""
    windows = np.empty((last - first + 1, *series.shape), series.dtype)
    for window, offset in zip(windows, range(first, last + 1), strict=True):
        past = offset % len(series)
        window[: len(series) - past], window[len(series) - past :] = series[past:], series[:past]
    return windows


def _mean(rows: Floats, length: int) -> Floats:
    """Mean of the rows f ... f + length - 1."""
    total = rows.copy()
    for offset in range(1, length):
        total += _at(rows, offset)
    return np.asarray(total / length, np.float32)


def _lagged(rows: Floats, lag: int) -> Floats:
    """Mean absolute difference of row f + lag from row f."""
    return _placed(np.abs(rows[lag:] - rows[:-lag]).mean(1), 0, len(rows))


def _least(lags: list[Floats], before: range, after: range) -> Floats:
    """The least of the differences between f - i and f + j, for i in `before` (1 is the frame before f) and j in `after`."""
    pairs = [_at(lags[i + j], -i) for i in before for j in after]
    least: Floats = np.min(pairs, axis=0)
    return least


def _against_neighbours(name: str, series: Floats) -> Iterator[tuple[str, Floats]]:
    """A peak of the series against what is usual around it; the two nearest frames on either side may belong to the peak."""
    small = 0.02 if name.startswith("structure") else 0.5
    near = np.concatenate([_windows(series, -3, -1), _windows(series, 1, 3)])
    far = np.concatenate([_windows(series, -_AROUND, -2), _windows(series, 2, _AROUND)])
    yield f"{name}_over_near", series / (small + near.mean(0))
    yield f"{name}_over_greatest", series / (small + np.maximum(_windows(series, -3, -1).max(0), _windows(series, 1, 3).max(0)))
    yield f"{name}_over_far", series / (small + far.max(0))
    yield f"{name}_over_median", series / (small + np.median(far, axis=0).astype(np.float32))


class _Likeness:
    """How alike the structure of two grey pictures is, whatever their brightness and contrast. rows: (n, pixels)."""

    def __init__(self, rows: Floats) -> None:
        self._rows = rows - rows.mean(1, keepdims=True)
        self._spread = np.sqrt((self._rows**2).mean(1))

    def lagged(self, lag: int) -> Floats:
        """Of f + lag and f: 0 alike, 1 nothing in common, 2 the negative. Two plain pictures are alike."""
        common = (self._rows[lag:] * self._rows[:-lag]).mean(1)
        unlike = 1 - (common + _STRUCTURE_NOISE) / (self._spread[lag:] * self._spread[:-lag] + _STRUCTURE_NOISE)
        return _placed(unlike.astype(np.float32), 0, len(self._rows))

    def lagged_back(self, lag: int) -> Floats:
        return _at(self.lagged(lag), -lag)


def _moved_jump(looks: Floats, lag: int, *, late: int = 0) -> Floats:
    """Difference of frame f + late from f + late - lag, as far as motion within 6 pixels does not explain it: what is darker or brighter
    than everything near its place in the other frame, averaged both ways. Fast motion is small here. looks: (n, 13, 24) grey.
    """
    lowest, highest = _spread(looks, np.minimum), _spread(looks, np.maximum)
    there = np.maximum(looks[lag:] - highest[:-lag], lowest[:-lag] - looks[lag:])
    back = np.maximum(looks[:-lag] - highest[lag:], lowest[lag:] - looks[:-lag])
    outside = np.maximum(there, 0) + np.maximum(back, 0)
    return _at(_placed(outside.reshape(len(outside), -1).mean(1) / 2, lag, len(looks)), late)


def _spread(looks: Floats, choose: np.ufunc) -> Floats:
    """The least or greatest value within 3 places, rows and columns."""
    for axis in (1, 2):
        padded = np.pad(looks, [(0, 0), *((_SHIFTS, _SHIFTS) if one == axis else (0, 0) for one in (1, 2))], mode="edge")
        length = looks.shape[axis]
        spread = looks
        for shift in range(2 * _SHIFTS + 1):
            part = padded[:, shift : shift + length] if axis == 1 else padded[:, :, shift : shift + length]
            spread = choose(spread, part)
        looks = spread
    return looks


def _mean_colour(cells: Floats) -> Floats:
    """(n, 9, 16, 3) -> (n, 144)"""
    return np.asarray(((cells[..., 0] + cells[..., 1] + cells[..., 2]) / 3).reshape(len(cells), -1), np.float32)


def _histograms(frames: NDArray[np.uint8]) -> Floats:
    """(n, 512): the shares of 8 x 8 x 8 colours."""
    count = len(frames)
    levels = (frames >> 5).reshape(count, -1, 3).astype(np.int32)
    colours = (levels[..., 0] << 6) + (levels[..., 1] << 3) + levels[..., 2]
    colours += 512 * np.arange(count, dtype=np.int32)[:, None]
    return np.asarray((np.bincount(colours.ravel(), minlength=512 * count).reshape(count, 512) / colours.shape[1]), np.float32)


def _uncommon(histograms: Floats, lag: int) -> Floats:
    """1 - intersection of the histograms f + lag and f."""
    return _placed(1 - np.minimum(histograms[lag:], histograms[:-lag]).sum(1), 0, len(histograms))


def _not_mixed(looks: Floats, reach: int) -> Floats:
    """How far f is from every mixture of f - reach and f + reach, over the difference of these: 0 in the middle of a dissolve."""
    before, after = _at(looks, -reach), _at(looks, reach)
    whole, part = after - before, looks - before
    share = (whole * part).sum(1) / ((whole**2).sum(1) + 1)
    return np.asarray(np.abs(part - share[:, None] * whole).mean(1) / (2 + np.abs(whole).mean(1)), np.float32)
