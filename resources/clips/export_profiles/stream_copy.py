"""The packets of the proxy as they are: exact, and as large as the proxy."""

from __future__ import annotations

from pathlib import Path

from heaters_dagster.domain.export_profile import ClipToWrite, ExportProfile, MadeFrom


def write(clip: ClipToWrite, path: Path) -> None:
    clip.copy(path)


EXPORT_PROFILE = ExportProfile(name="stream_copy", help="exact, large", made_from=MadeFrom.PROXY, encodes=False, exact=True, write=write)
