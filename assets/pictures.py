"""Pictures, tables and lists for Dagster's pages, as Markdown.

Each picture is inside the text itself: a folder has no address, the signed addresses of a bucket end after seven days at the latest, and a
materialization stays for years. Dagster stores each text three times (the event of the step, the materialization, and the newest of its
asset), so pictures are kept small: with JPEG and a smooth plot they were more than half of all that Dagster stored for a video.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from heaters_dagster.domain.manifest import KeyframeManifest
from heaters_dagster.domain.scenes import CutSettings
from heaters_dagster.registries import DETECTORS
from resources.object_store.stills import Stills

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image as Picture

#: Height of small pictures, in pixels.
STILL_HEIGHT = 90
#: Of all the pictures of one text, before they become text.
MOST_BYTES = 8_000
#: (quality, height in pixels) for pictures that become larger otherwise.
_POORER = ((60, STILL_HEIGHT), (40, STILL_HEIGHT), (25, STILL_HEIGHT), (25, 72), (20, 60), (15, 48), (10, 36), (5, 24))
_PLOT_COLUMNS = 1600
#: What Dagster's dialog shows of a picture in a window of 1280 pixels is 980 pixels wide, and the rest is cut off.
PLOT_INCHES = 9.6
_PLOT_DOTS = 100  # an inch


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table. A cell may hold any text."""
    return "\n".join(_row(cells) for cells in (headings, ["---"] * len(headings), *rows))


def bullets(lines: Iterable[str], *, otherwise: str) -> str:
    """A Markdown list; `otherwise` when there are no lines."""
    return "\n".join(f"- {line}" for line in lines) or otherwise


def inline_picture(name: str, data: bytes, kind: str) -> str:
    """Markdown with the picture itself in it."""
    return f"![{name}](data:image/{kind};base64,{b64encode(data).decode()})"


def frames(pictures: Mapping[int, NDArray[np.uint8]]) -> str:
    """Small pictures side by side. pictures: frame number -> (height, width, 3) RGB."""
    from PIL import Image

    return _side_by_side({f"frame {number}": Image.fromarray(picture) for number, picture in pictures.items()})


def stills(made: Sequence[KeyframeManifest], at_hand: Stills) -> str:
    """Small versions of published stills."""
    from PIL import Image

    shown: dict[str, Picture] = {}
    for manifest in made:
        with Image.open(BytesIO(at_hand.read(manifest.key, manifest.cut_point_version))) as picture:
            picture.thumbnail((4 * STILL_HEIGHT, STILL_HEIGHT))
            shown[manifest.key] = picture.convert("RGB")
    return _side_by_side(shown) or "none"


def _side_by_side(named: Mapping[str, Picture]) -> str:
    """Of the best quality and size with which all of them have MOST_BYTES."""
    for quality, height in _POORER:
        files = {name: _webp(picture, quality, height) for name, picture in named.items()}
        if sum(map(len, files.values())) <= MOST_BYTES:
            break
    return " ".join(inline_picture(name, data, "webp") for name, data in files.items())


def _webp(picture: Picture, quality: int, height: int) -> bytes:
    buffer, small = BytesIO(), picture.copy()
    small.thumbnail((4 * height, height))
    small.save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()


def score_plot(scores: Mapping[str, NDArray[np.float32]], settings: CutSettings, cuts: Sequence[int]) -> str:
    """The detector's scores over the frames, its threshold, and the cuts that were made.

    scores: column name -> (frame_count,). cuts: the first frame of each clip but the first one.
    """
    curve = DETECTORS.load(settings.detector).curve(scores)
    places, heights = peaks(curve)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.vlines(cuts, 0, 1, transform=axes.get_xaxis_transform(), color="tab:red", linewidth=0.8, antialiased=False)
        axes.plot(places, heights, color="tab:blue", linewidth=0.8)
        axes.axhline(settings.threshold, color="tab:gray", linestyle="--", linewidth=0.8)
        axes.set(xlim=(0, len(curve)), ylim=(0, None), xlabel="frame", ylabel=settings.detector)

    return plot("scene scores", draw, height_inches=2.4)


def plot(name: str, draw: Callable[[Figure], None], *, height_inches: float) -> str:
    """A plot that `draw` draws, as a picture in the text."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from PIL import Image

    drawn, buffer = BytesIO(), BytesIO()
    # Without smooth edges it has eight colours and a fifth of the bytes.
    with rc_context({"text.antialiased": False, "lines.antialiased": False, "patch.antialiased": False}):
        figure = Figure(figsize=(PLOT_INCHES, height_inches), dpi=_PLOT_DOTS, layout="constrained")
        draw(figure)
        figure.savefig(drawn, format="png")
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(8).save(buffer, "PNG", optimize=True)
    return inline_picture(name, buffer.getvalue(), "png")


def peaks(scores: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """At most 1600 points, each the highest score of its stretch: a peak of one frame in two hours is still seen."""
    step = -(-len(scores) // _PLOT_COLUMNS)
    starts = np.arange(0, len(scores), step)
    return starts, np.maximum.reduceat(scores, starts)


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
