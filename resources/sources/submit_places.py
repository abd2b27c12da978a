"""From where the review app's browser may submit: folders of the server and places of buckets that a setting names."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from heaters_dagster.domain.errors import ForbiddenSourceError
from heaters_dagster.settings import Settings


@dataclass(frozen=True, slots=True)
class ConfinedPath:
    """path: without links and `..`. folder: the allowed one that it lies in."""

    path: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class SubmitPlaces:
    """folders: without links on the way. objects: `s3://bucket/` or `s3://bucket/prefix/`, each with a slash at its end.

    A refusal says the same whether something is not there or is not allowed: whoever reaches the page must not learn from it which files
    and buckets there are.
    """

    folders: tuple[Path, ...]
    objects: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> SubmitPlaces | None:
        """Those of the settings; None when the browser may submit whatever the command line may."""
        places = settings.browser_sources
        if places is None:
            return None
        objects = tuple(place.rstrip("/") + "/" for place in places if place.startswith("s3://"))
        # The setting is the operator's word and may be a link itself; below it no link leads out.
        return cls(tuple(Path(os.path.realpath(place)) for place in places if place.startswith("/")), objects)

    def checked_path(self, source: str) -> ConfinedPath:
        """Where a path that somebody typed leads: an ordinary file or a folder. Raises ForbiddenSourceError."""
        try:
            found = self.inside(Path(source))
            if found is not None and stat.S_IFMT(found.path.lstat().st_mode) in {stat.S_IFREG, stat.S_IFDIR}:
                return found
        except (OSError, ValueError):  # gone, not to be entered, too long, with a NUL: all one to whoever asks
            pass
        raise ForbiddenSourceError(
            f"{source} cannot be submitted from the browser: no such file lies in a folder that HEATERS_SUBMIT_FOLDERS names. "
            "Upload the file on this page, or submit it on the server with heaters submit"
        )

    def inside(self, path: Path) -> ConfinedPath | None:
        """The path as it is without links, when that lies in one of the folders. Raises OSError when it is not there."""
        real = Path(os.path.realpath(path, strict=True))
        folder = next((folder for folder in self.folders if real.is_relative_to(folder)), None)
        return None if folder is None else ConfinedPath(real, folder)

    def check_object(self, source: str) -> None:
        """Raise ForbiddenSourceError unless an s3:// address lies in an allowed place: the server's credentials may reach any bucket."""
        if not any(source.startswith(place) for place in self.objects) or "/../" in source:
            raise ForbiddenSourceError(
                f"{source} cannot be submitted from the browser: no such object lies in a place that HEATERS_SUBMIT_FOLDERS names. "
                "Submit it on the server with heaters submit"
            )
