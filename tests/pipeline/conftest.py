"""The pipeline runs on a folder and on a bucket, so its tests do too."""

from __future__ import annotations

import dagster as dg
import pytest

#: Files whose tests are about rows, runs and reasons: where objects lie makes no difference to them.
_ABOUT_ROWS = frozenset(
    {
        "test_backlog",
        "test_celery_broker",
        "test_daemon",
        "test_definitions",
        "test_evaluation",
        "test_failures",
        "test_place_faults",
        "test_secrets",
        "test_sensors",
        "test_stage_run",
        "test_virtual_clips",
    }
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test that touches objects runs twice, but for those that are marked `folder` or `bucket`."""
    if "store_kind" in metafunc.fixturenames:
        marked = [kind for kind in ("folder", "bucket") if metafunc.definition.get_closest_marker(kind)]
        if metafunc.module.__name__.rpartition(".")[2] in _ABOUT_ROWS:
            marked = ["folder"]
        metafunc.parametrize("store_kind", marked or ["folder", "bucket"], scope="session")


@pytest.fixture(autouse=True)
def tries_follow_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run tries again without the seconds between its tries. How many tries there are, and after which failures, stays as it is."""
    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", lambda policy, attempt: 0.01)
