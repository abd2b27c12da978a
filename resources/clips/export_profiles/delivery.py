"""A small file, encoded from the proxy."""

from __future__ import annotations

from pathlib import Path

from heaters_dagster.domain.export_profile import ClipToWrite, ExportProfile, MadeFrom
from heaters_dagster.domain.profiles import delivery


def write(clip: ClipToWrite, path: Path) -> None:
    copy = clip.folder / "copy.mp4"
    copied = clip.copy(copy)
    clip.encode(delivery(audio=copied.has_sound), copy, path)


EXPORT_PROFILE = ExportProfile(
    name="delivery", help="small", made_from=MadeFrom.PROXY, encodes=True, write=write, ffmpeg=(delivery(audio=True),)
)
