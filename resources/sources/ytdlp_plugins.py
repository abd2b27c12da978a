"""yt-dlp's plug-ins: those of one folder, named by HEATERS_YTDLP_PLUGINS, or none at all.

yt-dlp by itself looks for plug-ins in the user's configuration, beside the program and on Python's path, and runs what it finds. A plug-in
is a program with all rights of Heaters, so only an operator may choose it.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from yt_dlp import plugins
from yt_dlp.extractor.youtube.pot.provider import PoTokenProvider
from yt_dlp.globals import all_plugins_loaded, plugin_dirs, plugin_specs

from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.domain.secrets import without_access

_lock = threading.Lock()
_loaded: list[Path] = []
_problems: dict[Path, list[str]] = {}
_asking: ContextVar[bool] = ContextVar("asking", default=False)


def use_plugins(folder: Path | None) -> None:
    """Let yt-dlp use the plug-ins of the folder in this process, and no others. Raises SettingsError when the folder is not there.

    A plug-in that cannot be loaded is left out; `problems` says why.
    """
    with _lock:
        all_plugins_loaded.value = True  # else YoutubeDL would load those of all other places
        if folder is None or folder in _loaded:
            return
        if not folder.is_dir():
            raise SettingsError(f"HEATERS_YTDLP_PLUGINS={folder} is not a folder: create it, or leave the setting out")
        _loaded.append(folder)
        _problems[folder] = []
        plugin_dirs.value = [str(folder)]
        importlib.invalidate_caches()
        for spec in plugin_specs.value.values():
            with _told_here(_problems[folder]):
                plugins.load_plugins(spec)
        _let_providers_ask()


def loaded(folder: Path) -> list[str]:
    """The names of the plug-in files of the folder that yt-dlp has loaded."""
    failed = " ".join(problems(folder))
    modules = [(name, module) for name, module in sys.modules.items() if name.startswith("yt_dlp_plugins.")]
    return sorted(name.rpartition(".")[2] for name, module in modules if _is_in(module, folder) and repr(name) not in failed)


def problems(folder: Path) -> list[str]:
    """A sentence for each plug-in of the folder that cannot be loaded."""
    return _problems.get(folder, [])


def is_asked_by_provider() -> bool:
    """Whether the request of this thread is that of a provider of PO tokens, to a server that it names itself."""
    return _asking.get()


def _is_in(module: Any, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).is_relative_to(folder)


@contextlib.contextmanager
def _told_here(told: list[str]) -> Iterator[None]:
    """yt-dlp prints a traceback for a plug-in that cannot be loaded, and goes on."""
    before = plugins.write_string

    def note(text: str, *_: object, **__: object) -> None:
        lines = [line for line in text.strip().splitlines() if line.strip()]
        if lines:
            told.append(without_access(f"{lines[0]}: {lines[-1]}" if len(lines) > 1 else lines[0]))

    plugins.write_string = note
    try:
        yield
    except Exception as error:
        told.append(without_access(traceback.format_exception_only(error)[-1].strip()))
    finally:
        plugins.write_string = before


def _let_providers_ask() -> None:
    """Mark requests of providers: their server is mostly on this machine, where no submitted address may lead."""
    if getattr(PoTokenProvider._request_webpage, "is_marked", False):
        return
    plain = PoTokenProvider._request_webpage

    def _request_webpage(self: Any, *arguments: Any, **options: Any) -> Any:
        token = _asking.set(True)
        try:
            return plain(self, *arguments, **options)
        finally:
            _asking.reset(token)

    _request_webpage.is_marked = True  # type: ignore[attr-defined]
    PoTokenProvider._request_webpage = _request_webpage
