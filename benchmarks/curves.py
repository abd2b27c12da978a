"""Curves over the number of source videos as an SVG, both axes logarithmic: what is flat is a horizontal line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 860, 280, 70, 34, 330, 34
_COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df")


@dataclass(frozen=True, slots=True)
class Curve:
    """plot: the unit of its axis; curves with the same one share a plot. points: (source videos, value), both above 0."""

    plot: str
    name: str
    points: Sequence[tuple[float, float]]


def drawn(curves: Sequence[Curve]) -> str:
    """An SVG with one plot below the other."""
    plots = list(dict.fromkeys(curve.plot for curve in curves))
    parts = [_plot(name, [curve for curve in curves if curve.plot == name], number * _HEIGHT) for number, name in enumerate(plots)]
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT * len(plots)}" width="{_WIDTH}" height="{_HEIGHT * len(plots)}"'
    style = "text { font: 12px sans-serif; fill: #24292f } .grid { stroke: #d0d7de } polyline { fill: none; stroke-width: 2 }"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f"<style>{style}</style>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    return "\n".join([*head, *parts, "</svg>\n"])


def _plot(unit: str, curves: Sequence[Curve], top: int) -> str:
    xs, ys = ([point[axis] for curve in curves for point in curve.points] for axis in (0, 1))
    low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)) + 1e-9)
    left, right = math.log10(min(xs)), math.log10(max(xs))

    def x(value: float) -> float:
        return _LEFT + (math.log10(value) - left) / ((right - left) or 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return top + _HEIGHT - _BOTTOM - (math.log10(value) - low) / ((high - low) or 1) * (_HEIGHT - _TOP - _BOTTOM)

    lines = [f'<text x="{_LEFT}" y="{top + 20}" font-weight="bold">{escape(unit)}</text>']
    for power in range(low, high + 1):
        at = y(10.0**power)
        lines.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        lines.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:,g}</text>')
    for value in sorted(set(xs)):
        lines.append(f'<text x="{x(value):.1f}" y="{top + _HEIGHT - 14}" text-anchor="middle">{value:,.0f}</text>')
    for number, curve in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in curve.points)
        lines.append(f'<polyline stroke="{colour}" points="{points}"/>')
        lines += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" fill="{colour}"/>' for a, b in curve.points]
        at = top + _TOP + 18 * number + 10
        lines.append(f'<rect x="{_WIDTH - _RIGHT + 16}" y="{at - 9}" width="10" height="10" fill="{colour}"/>')
        lines.append(f'<text x="{_WIDTH - _RIGHT + 32}" y="{at}">{escape(curve.name)}</text>')
    return "\n".join(lines)
