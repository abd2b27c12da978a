"""What tests of fetching share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an attempt fetches to."""
    path = tmp_path / "attempt"
    path.mkdir()
    return path
