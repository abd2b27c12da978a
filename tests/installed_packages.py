"""Packages as pip would have installed them, in a folder of the test: no network, and the environment of the tests stays as it is."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

EXAMPLE_PLUGIN = Path(__file__).parent / "example_plugin"


def install_example(site: Path) -> None:
    """Put the example package into `site` with the name, version and entry points of its pyproject.toml."""
    project = tomllib.loads((EXAMPLE_PLUGIN / "pyproject.toml").read_text())["project"]
    shutil.copytree(EXAMPLE_PLUGIN / "heaters_example", site / "heaters_example", ignore=shutil.ignore_patterns("__pycache__"))
    install(site, project["name"], project["version"], project["entry-points"])


def install(site: Path, name: str, version: str, groups: Mapping[str, Mapping[str, str]]) -> None:
    """Put a package's metadata into `site`. groups: {group: {name of the entry point: module:object}}."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [line for group, points in groups.items() for line in (f"[{group}]", *(f"{key} = {value}" for key, value in points.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
