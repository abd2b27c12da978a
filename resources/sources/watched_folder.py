"""A watched folder: its video files, and how one is moved within it."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from heaters_dagster.domain.errors import SourceNotFoundError
from heaters_dagster.domain.subtitles import beside, has_a_namesake
from heaters_dagster.domain.watching import REFUSED_FOLDER, TAKEN_FOLDER, SeenFile, is_passed_over, is_temporary, with_number
from resources.files.ordinary_file import other_kind

_MOST_NAMES = 10_000


class WatchedFolder:
    """folder: without links on the way. without: so too, the folders in which Heaters keeps its own files; they are passed over."""

    is_bucket = False

    def __init__(self, folder: Path, *, without: Collection[Path] = ()) -> None:
        self.folder = folder
        self._without = frozenset(without)
        self.place = str(folder)
        self.unread: list[str] = []

    def files(self) -> Iterator[SeenFile]:
        """The ordinary files in it and below it that are videos by name, or temporary; links are left out, because they may lead out.

        Raises SourceNotFoundError when the folder cannot be read: a disk that is not mounted any more.
        """
        self.unread.clear()
        try:
            found = os.listdir(self.folder)
        except OSError as error:
            raise SourceNotFoundError(
                f"{self.folder} cannot be read ({error.strerror}). Is its disk connected? Files in it are taken when it is there again"
            ) from None
        for name in sorted(found):
            if name not in {TAKEN_FOLDER, REFUSED_FOLDER}:
                yield from self._below(self.folder / name)

    def move(self, path: str, folder: str, moved_to: str | None) -> str:
        """Put a file into `folder` of this place, under its own path below it; returns where it is. Raises OSError.

        moved_to: where it was begun to be moved. Done again after a kill it comes to the same. No file is written over.
        """
        target = Path(moved_to or self.target(path, folder))
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            if moved_to and target.exists() and os.path.samefile(path, target):  # killed between the two steps below
                os.unlink(path)
            else:
                _renamed(Path(path), target)
        self._move_subtitles(Path(path), target)
        return str(target)

    def _move_subtitles(self, path: Path, target: Path) -> None:
        """Put the subtitle files of a video beside it again, unless another video has them too. Done again it comes to the same."""
        names = self._names(path.parent)
        for one in () if has_a_namesake(path.name, names) else beside(path.name, names):
            file, wanted = path.with_name(one.file), str(target.with_name(target.stem + one.file.removeprefix(path.stem)))
            if not stat.S_ISREG(file.lstat().st_mode):
                continue
            if os.path.lexists(wanted) and os.path.samefile(file, wanted):  # killed between the two steps below
                file.unlink()
            else:
                _renamed(file, Path(_free(wanted)))

    def target(self, path: str, folder: str) -> str:
        """Where a file goes: a path where nothing is yet."""
        return _free(str(self.folder / folder / Path(path).relative_to(self.folder)))

    def _below(self, path: Path) -> Iterator[SeenFile]:
        if path in self._without:
            return
        try:
            found = path.lstat()
        except OSError:  # gone since its folder was read
            return
        if stat.S_ISDIR(found.st_mode) and not path.name.startswith("."):
            for name in sorted(self._names(path)):
                yield from self._below(path / name)
        elif is_passed_over(path.name) and not is_temporary(path.name):
            return
        elif stat.S_ISREG(found.st_mode):
            yield SeenFile(
                path=str(path),
                byte_size=found.st_size,
                version=str(found.st_mtime_ns),
                inode=found.st_ino,
                has_new_name=found.st_ctime_ns > found.st_mtime_ns,
            )
        elif not stat.S_ISLNK(found.st_mode):
            self.unread.append(f"{path} is {other_kind(found.st_mode)}; it is left out until you move it away")

    def _names(self, folder: Path) -> list[str]:
        try:
            return os.listdir(folder)
        except FileNotFoundError:  # gone since
            return []
        except OSError as error:
            self.unread.append(f"{folder} cannot be read ({error.strerror}). Give this user the right to read it, or move it away")
            return []


def _free(wanted: str) -> str:
    """This path, or one with a number where something is already."""
    names = (wanted, *(with_number(wanted, number) for number in range(2, _MOST_NAMES)))
    return next(name for name in names if not os.path.lexists(name))


def _renamed(path: Path, target: Path) -> None:
    try:
        os.link(path, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without links; nothing was there a moment ago
        os.rename(path, target)
    else:
        os.unlink(path)
