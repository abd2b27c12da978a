"""Where Dagster keeps what steps print: under the home folder, and in the bucket when there is one."""

from __future__ import annotations

import sys
from pathlib import Path

import boto3
import pytest
from dagster._core.storage.compute_log_manager import ComputeLogManager

from heaters_dagster.settings import Settings
from resources.orchestrator.dagster_storage import HeatersLogs, opened_with

LOG_KEY = ["run-1", "compute_logs", "proxy"]


def logs_of(settings: Settings) -> ComputeLogManager:
    with opened_with(settings):
        return HeatersLogs.from_config_value(None, {})


def printed(logs: ComputeLogManager) -> bytes | None:
    return logs.get_log_data(LOG_KEY).stderr


def print_in_a_step(logs: ComputeLogManager, capfd: pytest.CaptureFixture[str]) -> None:
    with capfd.disabled(), logs.capture_logs(LOG_KEY):
        print("frame 12 of 48", file=sys.stderr, flush=True)


def test_without_a_bucket_the_logs_lie_under_the_home_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs = logs_of(Settings(home=tmp_path))
    print_in_a_step(logs, capfd)
    assert printed(logs) == b"frame 12 of 48\n"
    assert list((tmp_path / "dagster" / "logs").rglob("*.err"))


def test_with_a_bucket_another_machine_reads_them_there(s3_endpoint: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    client = boto3.client("s3", endpoint_url=s3_endpoint)
    client.create_bucket(Bucket="films")
    here, there = (Settings(home=tmp_path / name, bucket="films", s3_endpoint_url=s3_endpoint) for name in ("here", "there"))
    print_in_a_step(logs_of(here), capfd)
    assert printed(logs_of(there)) == b"frame 12 of 48\n"
    assert [found["Key"] for found in client.list_objects_v2(Bucket="films")["Contents"]] == [
        "dagster/storage/run-1/compute_logs/proxy.err"
    ]
