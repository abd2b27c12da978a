"""Streamlit components whose files the browser fetches one by one, so that they can import each other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import streamlit as st

_mounts: WeakKeyDictionary[Any, dict[str, Callable[..., Any]]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class ServedComponent:
    """name: `heaters.grid-<version>`. folder: holds `static/`. js, css: paths of files in it. html: what the component begins with."""

    name: str
    folder: Path
    js: str
    css: str
    html: str | None = None

    @property
    def path(self) -> str:
        """What is served below it never changes."""
        return f"/_stcore/bidi-components/{self.name}/"

    def address(self, path: str) -> str:
        """Where the browser finds the file `path` of `static/`, also on a page without the component. Raises FileNotFoundError."""
        if not (self.folder / "static" / path).is_file():
            raise FileNotFoundError(f"{self.name} has no file {path}")
        self.mount()
        return self.path + path

    def mount(self) -> Callable[..., Any]:
        """The mounting command, registered once per Streamlit runtime.

        Streamlit finds the manifest of an installed component by the project's name, and ours ("heaters") is not the name of a package, so
        an editable install would not be found: hence the manifest is given here.
        """
        from streamlit.components.v2.get_bidi_component_manager import get_bidi_component_manager
        from streamlit.components.v2.manifest_scanner import ComponentConfig, ComponentManifest

        manager = get_bidi_component_manager()
        known = _mounts.setdefault(manager, {})
        if self.name not in known:
            project, component = self.name.split(".")
            manifest = ComponentManifest(name=project, version="1", components=[ComponentConfig(name=component, asset_dir="static")])
            manager.register_from_manifest(manifest, self.folder)
            known[self.name] = st.components.v2.component(self.name, css=self.css, js=self.js, html=self.html)
        return known[self.name]


def served_component(folder: Path, name: str, *, js: str, css: str, html: str | None = None) -> ServedComponent:
    """A component with the version of its files in its name: their address changes with them, so a browser may keep them for ever."""
    static = folder / "static"
    files = sorted(file for file in static.rglob("*") if file.is_file())
    parts = (part for file in files for part in (file.relative_to(static).as_posix().encode(), file.read_bytes()))
    version = hashlib.sha256(b"".join(parts)).hexdigest()[:16]
    return ServedComponent(f"heaters.{name}-{version}", folder, js, css, html)
