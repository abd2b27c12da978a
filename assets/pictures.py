"""Pictures, tables and lists for Dagster's pages, as Markdown.

Dagster's page cannot reach the object store, so each picture is inside the text itself.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.manifest import KeyframeManifest
from heaters_dagster.domain.scenes import CutSettings
from heaters_dagster.registries import DETECTORS
from resources.object_store.stills import Stills

#: Height of small pictures, in pixels.
STILL_HEIGHT = 90
_PLOT_COLUMNS = 1600


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table. A cell may hold any text."""
    return "\n".join(_row(cells) for cells in (headings, ["---"] * len(headings), *rows))


def bullets(lines: Iterable[str], *, otherwise: str) -> str:
    """A Markdown list; `otherwise` when there are no lines."""
    return "\n".join(f"- {line}" for line in lines) or otherwise


def inline_picture(name: str, data: bytes, kind: str = "jpeg") -> str:
    """Markdown with the picture itself in it."""
    return f"![{name}](data:image/{kind};base64,{b64encode(data).decode()})"


def frames(pictures: Mapping[int, NDArray[np.uint8]]) -> str:
    """Small pictures side by side. pictures: frame number -> (height, width, 3) RGB."""
    from PIL import Image

    shown = []
    for number, picture in pictures.items():
        buffer = BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=70)
        shown.append(inline_picture(f"frame {number}", buffer.getvalue()))
    return " ".join(shown)


def stills(made: Sequence[KeyframeManifest], at_hand: Stills) -> str:
    """Small versions of published stills, one below the other."""
    from PIL import Image

    shown = []
    for manifest in made:
        buffer = BytesIO()
        with Image.open(BytesIO(at_hand.read(manifest.key, manifest.cut_point_version))) as picture:
            picture.thumbnail((4 * STILL_HEIGHT, STILL_HEIGHT))
            picture.save(buffer, "JPEG", quality=70)
        shown.append(inline_picture(manifest.key, buffer.getvalue()))
    return "\n".join(shown) or "none"


def score_plot(scores: Mapping[str, NDArray[np.float32]], settings: CutSettings, cuts: Sequence[int]) -> str:
    """The detector's scores over the frames, its threshold, and the cuts that were made. Dagster's dialog shows 1160 pixels of it.

    scores: column name -> (frame_count,). cuts: the first frame of each clip but the first one.
    """
    from matplotlib.figure import Figure

    curve = DETECTORS.load(settings.detector).curve(scores)
    places, heights = peaks(curve)
    figure = Figure(figsize=(11, 2.4), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.vlines(cuts, 0, 1, transform=axes.get_xaxis_transform(), color="tab:red", linewidth=0.8)
    axes.plot(places, heights, color="tab:blue", linewidth=0.8)
    axes.axhline(settings.threshold, color="tab:gray", linestyle="--", linewidth=0.8)
    axes.set(xlim=(0, len(curve)), ylim=(0, None), xlabel="frame", ylabel=settings.detector)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return inline_picture("scene scores", buffer.getvalue(), "png")


def peaks(scores: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """At most 1600 points, each the highest score of its stretch: a peak of one frame in two hours is still seen."""
    step = -(-len(scores) // _PLOT_COLUMNS)
    starts = np.arange(0, len(scores), step)
    return starts, np.maximum.reduceat(scores, starts)


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
