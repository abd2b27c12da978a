"""Groups of settings that belong together; `settings.Settings` has the fields of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from heaters_dagster import setting_values as parse


def setting(name: str, parse: Callable[[str], Any], default: Any, what: str, *, secret: bool = False) -> Any:
    """A field read from the environment variable `name`; `what` is its one-line help. secret: its value may be used but never shown."""
    metadata = {"name": name, "parse": parse, "what": what, "secret": secret}
    if callable(default):
        return field(default_factory=default, repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowingSettings:
    """By which people learn how Heaters is: logs and figures."""

    log_format: str = setting(
        "HEATERS_LOG_FORMAT", parse.one_of("text", "json"), "text", "text for people; json: one JSON line per event, on standard error"
    )
    metrics_token: str | None = setting(
        "HEATERS_METRICS_TOKEN",
        parse.token,
        None,
        "secret with which Prometheus reads /metrics; not set: only while the review app is for this machine only",
        secret=True,
    )
    metrics_address: str | None = setting(
        "HEATERS_METRICS_ADDRESS",
        parse.host_and_port,
        None,
        "host:port where the daemon, heaters worker and heaters metrics --serve serve /metrics; not set: only the review app does",
    )

    @property
    def metrics_place(self) -> tuple[str, int] | None:
        """Host and port of `metrics_address`."""
        return None if self.metrics_address is None else parse.split_place(self.metrics_address)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSettings(KnowingSettings):
    """Where backups go, and which stay. It has the group before it as its base, because classes with slots have one base only."""

    backup_to: str | None = setting(
        "HEATERS_BACKUP_TO",
        parse.backup_place,
        None,
        "folder or s3:// place of the nightly backups, better on another disk than the database; none: no nightly backup. Not set: the "
        "bucket, without one HEATERS_HOME",
    )
    backups_kept: tuple[int, ...] = setting(
        "HEATERS_BACKUP_KEEP",
        parse.backups_kept,
        (7, 4, 12),
        "how many backups are kept: the newest of each of so many days, weeks and months, separated by commas",
    )
