"""Where the `heaters up` of a HEATERS_HOME is: the folder that it holds, its socket, and its address. Imports nothing large, because most
commands ask for it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from heaters_dagster.settings import Settings

_HELD_FOLDER = "up"
#: In the folder of the socket: where the code server of this `heaters up` listens.
CODE_SOCKET = "code.sock"
#: In the held folder: where the review app of this `heaters up` is. Other commands may be run with another port in their settings.
_ADDRESS_FILE = "review_url"
#: In the held folder, when its path is too long for a socket: where the sockets are.
_SOCKETS_FILE = "sockets"
_LONGEST_SOCKET_FOLDER = 90


def running_at(settings: Settings) -> str | None:
    """The address of the review app of the `heaters up` that runs in this HEATERS_HOME; None when none runs."""
    from resources.object_store.work_folder import WorkFolder

    work = WorkFolder(settings.work_folder)
    for folder in work.root.glob(f"{_HELD_FOLDER}.*"):
        if work.is_held(folder.name):
            with suppress(OSError):
                return (folder / _ADDRESS_FILE).read_text()
            return settings.review_url  # it has only just begun
    return None


@contextmanager
def held_folder(settings: Settings) -> Iterator[Path]:
    """Say that this `heaters up` runs, and where; yields a private folder for a Unix socket.

    It is in the work folder, where leftovers are removed, unless its path is too long.
    """
    from resources.object_store.work_folder import WorkFolder, written_beside
    from resources.upkeep.leftovers import sweep_leftovers

    sweep_leftovers(settings)
    with WorkFolder(settings.work_folder).attempt(_HELD_FOLDER) as folder:
        with written_beside(folder / _ADDRESS_FILE) as part:
            part.write_text(settings.review_url)
        if len(bytes(folder)) < _LONGEST_SOCKET_FOLDER:
            yield folder
        else:
            with tempfile.TemporaryDirectory(prefix="heaters-") as name:
                (folder / _SOCKETS_FILE).write_text(name)
                yield Path(name)


def socket_of(held: Path) -> Path:
    """The socket of the code server of the `heaters up` that holds this folder; it may be in another one."""
    elsewhere = held / _SOCKETS_FILE
    return (Path(elsewhere.read_text()) if elsewhere.is_file() else held) / CODE_SOCKET
