"""An export profile: ProRes 422 LT with uncompressed sound in a QuickTime file, as editing programs like it."""

from __future__ import annotations

from pathlib import Path

from heaters_dagster.domain.export_profile import ClipToWrite, ExportProfile, MadeFrom
from heaters_dagster.domain.ffmpeg_run import Options, Output, Profile
from heaters_dagster.domain.profiles import EXACT_TIMES

_PICTURE: Options = {"c:v": "prores_ks", "profile:v": "lt", "pix_fmt": "yuv422p10le", "vendor": "apl0", **EXACT_TIMES}


def write(clip: ClipToWrite, path: Path) -> None:
    copy = clip.folder / "copy.mp4"
    sound: Options = {"c:a": "pcm_s16le"} if clip.copy(copy).has_sound else {}
    output = Output(options={**_PICTURE, **sound, "f": "mov"}, audio=("a:0",) if sound else ())
    clip.encode(Profile(name="prores", video="v:0", outputs=(output,)), copy, path)


EXPORT_PROFILE = ExportProfile(
    name="prores",
    help="for editing",
    made_from=MadeFrom.PROXY,
    encodes=True,
    write=write,
    suffix=".mov",
    media_type="video/quicktime",
)
