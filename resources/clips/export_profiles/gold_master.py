"""The best picture there is, encoded from the frames and the sound of the gold master."""

from __future__ import annotations

from pathlib import Path

from heaters_dagster.domain.export_profile import ClipToWrite, ExportProfile, MadeFrom
from heaters_dagster.domain.profiles import USUAL_SOURCES, master_export


def write(clip: ClipToWrite, path: Path) -> None:
    encoded = clip.folder / "encoded.mp4"
    clip.encode_master(master_export, encoded)
    clip.retimed(encoded, path)


EXPORT_PROFILE = ExportProfile(
    name="gold_master",
    help="from the archive",
    made_from=MadeFrom.GOLD_MASTER,
    encodes=True,
    write=write,
    ffmpeg=tuple(master_export(source, sound=None) for source in USUAL_SOURCES),
)
