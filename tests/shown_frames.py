"""Which picture is on the stage, as a frame hash: taken from the planes that the browser decoded, before they become colours of a screen.

A barcode says which frame is shown; the hash says that it is bit for bit the frame of the exported clip.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from playwright.sync_api import Page

from resources.media.remuxer import ProxyReader, remux
from tests.media_files import file_frame_hashes
from tests.proxy_files import index_of

#: To be run before a page's own scripts: keeps the picture drawn last on the stage's canvas, and makes `shownHash(stage)`.
SHOWN_HASH = """
(() => {
  let drawn = null;
  const { drawImage } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.drawImage = function (image, ...where) {
    if (this.canvas.matches?.(".stage .still") && image instanceof VideoFrame) {
      drawn?.close();
      drawn = image.clone();
    }
    return drawImage.call(this, image, ...where);
  };
  window.shownHash = async (stage) => {
    const shown = (selector) => getComputedStyle(stage.querySelector(selector)).visibility !== "hidden";
    if (shown(".still") === shown(".moving")) throw new Error("the stage shows both of its pictures or none");
    const picture = shown(".still") ? drawn.clone() : new VideoFrame(stage.querySelector(".moving"));
    if (picture.format !== "I420") throw new Error(`the planes are ${picture.format}`);
    const planes = new Uint8Array(picture.allocationSize());
    await picture.copyTo(planes);
    picture.close();
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", planes));
    return [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  };
})();
"""


def exported_hashes(proxy: Path, edges: tuple[int, ...], folder: Path) -> list[str]:
    """The hash of every frame of the files that the clips between these edges are exported to, in order."""
    index = index_of(proxy)
    hashes: list[str] = []
    with ProxyReader(proxy) as reader:
        for start, end in pairwise(edges):
            path = folder / f"{proxy.stem}_{start}_{end}.mp4"
            remux(reader, index, start_frame=start, end_frame=end, path=path, title="clip")
            hashes += file_frame_hashes(path)
    return hashes


def shown_hash(page: Page) -> str:
    """SHA-256 of the decoded frame on the stage; see `resources.media.frame_hashes`."""
    return str(page.locator(".stage").evaluate("shownHash"))
