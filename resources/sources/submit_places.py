"""The places from which a browser may submit: folders of the server and places of buckets, named by a setting."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from heaters_dagster.domain.errors import ForbiddenSourceError
from heaters_dagster.settings import Settings
from resources.files.private_folder import folders_of_heaters


@dataclass(frozen=True, slots=True)
class ConfinedPath:
    """path: without links and `..`. folder: the allowed folder in which it lies."""

    path: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class SubmitPlaces:
    """folders: without links on the way. objects: `s3://bucket/` or `s3://bucket/prefix/`, each with a slash at its end.

    A refusal says the same when something does not exist and when it is not allowed: people who reach the page must not learn from it which
    files and buckets exist.
    """

    folders: tuple[Path, ...]
    objects: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> SubmitPlaces | None:
        """The places in the settings; None when the browser may submit everything that the command line may."""
        places = settings.browser_sources
        if places is None:
            return None
        objects = tuple(place.rstrip("/") + "/" for place in places if place.startswith("s3://"))
        # The operator may name a link in the setting; below that folder no link leads out.
        return cls(tuple(Path(os.path.realpath(place)) for place in places if place.startswith("/")), objects)

    def checked_path(self, source: str) -> ConfinedPath:
        """The ordinary file or folder to which a typed path leads. Raises ForbiddenSourceError."""
        try:
            found = self.inside(Path(source))
            if found is not None and stat.S_IFMT(found.path.lstat().st_mode) in {stat.S_IFREG, stat.S_IFDIR}:
                return found
        except (OSError, ValueError):  # missing, not readable, too long, with a NUL: the answer is the same for all
            pass
        raise ForbiddenSourceError(
            f"{source} cannot be submitted from the browser: there is no such file in a folder that HEATERS_SUBMIT_FOLDERS names. "
            "Upload the file on this page, or submit it on the server with heaters submit"
        )

    def inside(self, path: Path) -> ConfinedPath | None:
        """The path without links, when it lies in one of the folders. Raises OSError when it does not exist."""
        real = Path(os.path.realpath(path, strict=True))
        folder = next((folder for folder in self.folders if real.is_relative_to(folder)), None)
        return None if folder is None else ConfinedPath(real, folder)

    def check_object(self, source: str) -> None:
        """Raise ForbiddenSourceError unless an s3:// address lies in an allowed place: the server's credentials may reach any bucket."""
        if not any(source.startswith(place) for place in self.objects) or "/../" in source:
            raise ForbiddenSourceError(
                f"{source} cannot be submitted from the browser: there is no such object in a place that HEATERS_SUBMIT_FOLDERS names. "
                "Submit it on the server with heaters submit"
            )


def own_folders(settings: Settings) -> tuple[Path, ...]:
    """The folders in which Heaters keeps its own files, without links on the way. What is in them is no source video."""
    return tuple(Path(os.path.realpath(one)) for one in (*folders_of_heaters(settings), settings.postgres_folder))


def watched_names(settings: Settings) -> list[str]:
    """What the places of HEATERS_WATCH are called in the database: folders without links on the way, and s3:// addresses."""
    return [place if place.startswith("s3://") else os.path.realpath(place) for place in settings.watch]
