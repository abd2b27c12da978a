"""The pipeline runs on a folder and on a bucket, so its tests do too."""

from __future__ import annotations

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test that touches objects runs twice, but for those that are marked `folder` or `bucket`."""
    if "store_kind" in metafunc.fixturenames:
        marked = [kind for kind in ("folder", "bucket") if metafunc.definition.get_closest_marker(kind)]
        metafunc.parametrize("store_kind", marked or ["folder", "bucket"], scope="session")
