"""Files that many tests make by the same recipe: the first test of a session makes such a file, the others get a copy of it.

The copies are their own, so a test may do with its file what it likes. Outside of a test session, as in benchmarks, each file is made.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

#: The variable that names the folder of the test session, which all its processes share.
SESSION_FOLDER = "HEATERS_TEST_SESSION_FOLDER"


def made_once(path: Path, recipe: object, make: Callable[[], object]) -> Path:
    """Write `path` by `make`, or as a copy of what was made by the same recipe. recipe: all that decides about the bytes."""
    if SESSION_FOLDER not in os.environ:
        make()
        return path
    told = json.dumps([recipe, path.suffix], default=lambda one: one.tolist() if hasattr(one, "tolist") else repr(one))
    folder = Path(os.environ[SESSION_FOLDER]) / "made"
    kept = folder / hashlib.sha256(told.encode()).hexdigest()
    if kept.is_file():
        shutil.copyfile(kept, path)
        return path
    make()
    folder.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as partial:
        shutil.copyfile(path, partial.name)
    os.replace(partial.name, kept)
    return path


def once(write: Callable[..., Path]) -> Callable[..., Path]:
    """For a function whose first argument is the path that it writes and whose options are the recipe."""

    @wraps(write)
    def written(path: Path, **options: Any) -> Path:
        return made_once(path, [write.__qualname__, sorted(options.items())], lambda: write(path, **options))

    return written


def recipe_of(arguments: Sequence[str], path: Path) -> object:
    """What decides about the bytes that a program writes to `path`: its arguments, and for an input file what is in it.

    None when that cannot be told: it may write or read further files (segments, patterns of names, lists of files).
    """
    if "%" in path.name or path.suffix in _LISTS:
        return None
    told: list[str] = []
    for argument in map(str, arguments):
        if Path(argument).suffix in _LISTS:
            return None
        if os.path.isabs(argument) and Path(argument).is_file():
            told.append(f"{Path(argument).suffix} {hash_of(Path(argument))}")
        elif _NAMES_A_PATH.search(argument):
            return None
        else:
            told.append(argument)
    return told


_LISTS = {".m3u8", ".mpd", ".txt"}
_NAMES_A_PATH = re.compile(r"(^|[^\w.)])/\w")


def hash_of(path: Path) -> str:
    """SHA-256 of the file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
