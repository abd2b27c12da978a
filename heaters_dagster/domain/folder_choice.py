"""Which files below a folder, or objects below a prefix of a bucket, are submitted."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from heaters_dagster.domain.ingest import is_video_name


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderChoice:
    """recursive: also what lies in folders below. include: only files with one of these patterns, all when empty. exclude: none of these.

    A pattern has `*`, `?` and `[...]` as in a shell, in any case. Without a slash it is compared with names: `include` with that of the
    file, `exclude` also with those of the folders on the way. With a slash it is compared with the whole path below the folder.
    """

    recursive: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def enters(self, folder: str) -> bool:
        """Whether to look into a folder. folder: its path below the one that was submitted."""
        path = PurePosixPath(folder)
        return self.recursive and not path.name.startswith(".") and not self._is_excluded(path)

    def takes(self, file: str) -> bool:
        """Whether a file is a video that is wanted. file: its path below the folder that was submitted."""
        path = PurePosixPath(file)
        if not is_video_name(path.name) or any(part.startswith(".") for part in path.parts):
            return False
        if (not self.recursive and len(path.parts) > 1) or self._is_excluded(path):
            return False
        return not self.include or any(_fits(pattern, str(path) if "/" in pattern else path.name) for pattern in self.include)

    def _is_excluded(self, path: PurePosixPath) -> bool:
        whole = [str(parent) for parent in (path, *path.parents) if parent.name]
        return any(_fits(pattern, one) for pattern in self.exclude for one in (whole if "/" in pattern else path.parts))

    @property
    def is_limited(self) -> bool:
        """Whether it leaves out videos that lie below."""
        return not self.recursive or bool(self.include or self.exclude)


def _fits(pattern: str, text: str) -> bool:
    return fnmatchcase(text.casefold(), pattern.casefold().removeprefix("./"))
