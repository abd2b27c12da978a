"""The registries of things that people can add. An entry is one file in the registry's folder, or an entry point of an installed package.

Names are listed without importing anything: a file has the name of its entry. An entry is imported when it is chosen, so a broken package
only affects people who choose it. docs/extending.md shows how to add an entry.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar

from heaters_dagster.domain.cut_lists import CutListFormat
from heaters_dagster.domain.detector import Detector
from heaters_dagster.domain.embedder import EmbedderKind
from heaters_dagster.domain.errors import SettingsError, UnknownNameError
from heaters_dagster.domain.export_profile import TRIMMED, ExportProfile


class _Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=_Named)
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


class Registry(Generic[T]):
    """Entries of one kind by their names.

    what: the word for one entry. kind: its class. package: whose modules are the built-in entries, each with the entry as `constant`.
    group: of the entry points by which other packages add entries.
    """

    def __init__(self, what: str, kind: type[T], *, package: str, constant: str, group: str) -> None:
        self.what = what
        self.group = group
        self._kind = kind
        self._package = package
        self._constant = constant
        self._loaded: dict[str, T] = {}

    @cached_property
    def built_in(self) -> tuple[str, ...]:
        """Names of the entries that come with Heaters, in alphabetical order."""
        return tuple(sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(self._package).__path__)))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all entries, those of installed packages after the built-in ones."""
        return (*self.built_in, *self._points)

    def __contains__(self, name: object) -> bool:
        # Installed packages are looked through (20 ms) only for a name that is not built in.
        return name in self.built_in or name in self._points

    def load(self, name: str) -> T:
        """Raises UnknownNameError for a name that is not there, SettingsError for an entry of another package that cannot be used."""
        if name not in self:
            raise UnknownNameError(self.unknown(name))
        if name not in self._loaded:
            self._loaded[name] = self._built_in(name) if name in self.built_in else self._installed(name)
        return self._loaded[name]

    def unknown(self, name: str) -> str:
        """The sentence for a name that is not there."""
        article = "an" if self.what[0] in "aeiou" else "a"
        return f"{name!r} is not {article} {self.what}; write one of: {', '.join(self.names)}"

    def find(self, name: str) -> T | None:
        """As `load`, but None where that raises an error: stored data may name an entry of a package that was removed."""
        try:
            return self.load(name)
        except SettingsError:
            return None

    def usable(self) -> tuple[T, ...]:
        """All entries that can be loaded."""
        return tuple(entry for name in self.names if (entry := self.find(name)) is not None)

    def problems(self) -> tuple[str, ...]:
        """What is wrong with the entries of installed packages, a sentence each. Imports them all."""
        found = list(self._sorted_points[1])
        for name in self._points:
            try:
                self.load(name)
            except SettingsError as error:
                found.append(str(error))
        return tuple(found)

    def origin(self, name: str) -> str:
        """The package, with its version, that brings an entry that is not built in."""
        return _package_of(self._points[name])

    @property
    def added(self) -> tuple[str, ...]:
        """Names of the entries that installed packages bring."""
        return tuple(self._points)

    @property
    def _points(self) -> dict[str, EntryPoint]:
        return self._sorted_points[0]

    @cached_property
    def _sorted_points(self) -> tuple[dict[str, EntryPoint], list[str]]:
        """Entry points by their names, and sentences about those that are left out. A name must mean one thing, for every search path."""
        by_name: dict[str, list[EntryPoint]] = {}
        for point in sorted(entry_points(group=self.group), key=lambda point: (point.name, _package_of(point))):
            by_name.setdefault(point.name, []).append(point)
        usable, problems = {}, []
        for name, points in by_name.items():
            packages = " and ".join(_package_of(point) for point in points)
            if name in self.built_in:
                problems.append(f"the {self.what} {name!r} of {packages} is left out: a built-in one has this name")
            elif len(points) > 1:
                problems.append(f"the {self.what} {name!r} is left out, because {packages} bring it: remove all but one")
            elif not _NAME.match(name):
                problems.append(f"the {self.what} {name!r} of {packages} is left out: a name has lower-case letters, digits and '_'")
            else:
                usable[name] = points[0]
        return usable, problems

    def _built_in(self, name: str) -> T:
        return self._checked(name, getattr(importlib.import_module(f"{self._package}.{name}"), self._constant))

    def _installed(self, name: str) -> T:
        try:
            return self._checked(name, self._points[name].load())
        except Exception as error:  # any exception, because a stranger's package may raise anything while it is imported
            said = " ".join(str(error).split()) or type(error).__name__
            raise SettingsError(
                f"the {self.what} {name!r} of {self.origin(name)} cannot be used: {said}. Repair, update or remove that package"
            ) from error

    def _checked(self, name: str, entry: Any) -> T:
        if not isinstance(entry, self._kind):
            raise TypeError(f"it is a {type(entry).__name__}, not a {self._kind.__name__}")
        if entry.name != name:
            raise ValueError(f"it calls itself {entry.name!r}")
        return entry


def _package_of(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


class ExportProfiles(Registry[ExportProfile]):
    """The export profiles; each also without transitions, under a name that ends in `_trimmed` and is in no list of names."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or super().__contains__(str(name).removesuffix(TRIMMED))

    def load(self, name: str) -> ExportProfile:
        if super().__contains__(name) or not name.endswith(TRIMMED):
            return super().load(name)
        return super().load(name.removesuffix(TRIMMED)).trimmed

    def variants(self) -> tuple[ExportProfile, ...]:
        """All that can be loaded, with and without transitions."""
        whole = self.usable()
        return (*whole, *(one.trimmed for one in whole if not one.trims))


CUT_LIST_FORMATS = Registry(
    "cut-list format", CutListFormat, package="resources.clips.cut_lists", constant="CUT_LIST_FORMAT", group="heaters.cut_list_formats"
)
DETECTORS = Registry("detector", Detector, package="resources.models.detectors", constant="DETECTOR", group="heaters.detectors")
EMBEDDERS = Registry("embedder", EmbedderKind, package="resources.models.embedders", constant="EMBEDDER", group="heaters.embedders")
EXPORT_PROFILES = ExportProfiles(
    "export profile", ExportProfile, package="resources.clips.export_profiles", constant="EXPORT_PROFILE", group="heaters.export_profiles"
)

REGISTRIES: tuple[Registry[Any], ...] = (DETECTORS, EMBEDDERS, CUT_LIST_FORMATS, EXPORT_PROFILES)
