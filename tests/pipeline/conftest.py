"""The pipeline runs on a folder and on a bucket, so its tests do too."""

from __future__ import annotations

import logging

import pytest

logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request of the bucket's server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test that touches objects runs twice. Those marked `folder` look at a store's inside, or at what has nothing to do with it."""
    if "store_kind" in metafunc.fixturenames:
        only_folder = metafunc.definition.get_closest_marker("folder") is not None
        metafunc.parametrize("store_kind", ["folder"] if only_folder else ["folder", "bucket"], scope="session")
