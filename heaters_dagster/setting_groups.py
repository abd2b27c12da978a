"""Groups of settings that belong together; `settings.Settings` has the fields of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heaters_dagster import setting_values as parse
from heaters_dagster.domain.cold_storage import TIERS
from heaters_dagster.domain.disk_room import LEAST_FREE_BYTES
from heaters_dagster.domain.kept_tags import CameraKept, KeptTags
from heaters_dagster.domain.politeness import MAX_PER_SITE
from heaters_dagster.domain.proxy_pieces import LEAST_SECONDS, PIECE_SECONDS
from heaters_dagster.domain.site_access import named_files


def setting(name: str, parse: Callable[[str], Any], default: Any, what: str, *, secret: bool = False) -> Any:
    """A field read from the environment variable `name`; `what` is its one-line help. secret: its value may be used but never shown."""
    metadata = {"name": name, "parse": parse, "what": what, "secret": secret}
    if callable(default):
        return field(default_factory=default, repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSettings:
    """What of its disk a machine takes."""

    keep_free_mb: int = setting(
        "HEATERS_KEEP_FREE_MB",
        parse.number(int, 0, 100_000_000),
        LEAST_FREE_BYTES >> 20,
        "MB of the disk under HEATERS_HOME that work leaves free; work that needs more than the rest waits",
    )
    cache_gb: float = setting(
        "HEATERS_CACHE_GB",
        parse.number(float, 0, 1_000_000),
        20.0,
        "GB of originals of a bucket that this machine keeps, so that each is fetched once; work that needs the room gets it; 0: none",
    )
    cache_hours: float = setting(
        "HEATERS_CACHE_HOURS", parse.number(float, 0, 100_000), 48.0, "hours after which an original that nobody uses is not kept any more"
    )

    @property
    def keep_free_bytes(self) -> int:
        return self.keep_free_mb << 20

    @property
    def cache_bytes(self) -> int:
        return round(self.cache_gb * 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceSettings(DiskSettings):
    """Which proxies are made in pieces."""

    pieces_from_seconds: int | None = setting(
        "HEATERS_PIECES_FROM_SECONDS",
        parse.number(int, 0, 10_000_000),
        None,
        "length from which on the proxy of a video is made in pieces, by all machines that are idle; 0: never. Not set: "
        f"{LEAST_SECONDS:.0f} with several machines, never with one",
    )
    piece_seconds: int = setting(
        "HEATERS_PIECE_SECONDS",
        parse.number(int, 1, 100_000),
        round(PIECE_SECONDS),
        "length of such a piece, about; pieces begin at keyframes",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepingSettings(PieceSettings):
    """What is kept of what files and sites say."""

    keep_places: bool = setting(
        "HEATERS_KEEP_PLACES",
        parse.flag,
        False,
        "true: where a video was filmed is kept, when its file or site says so; else it is stored nowhere",
    )
    keep_camera: str = setting(
        "HEATERS_KEEP_CAMERA",
        parse.one_of(*CameraKept),
        CameraKept.MODEL.value,
        "what is kept of what a file says of its camera: model (maker, model, time of recording), all (serial numbers too), none",
    )

    @property
    def kept_tags(self) -> KeptTags:
        return KeptTags(places=self.keep_places, camera=CameraKept(self.keep_camera))


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowingSettings(KeepingSettings):
    """By which people learn how Heaters is: logs, figures and alerts."""

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

    alert_webhook: str | None = setting(
        "HEATERS_ALERT_WEBHOOK", parse.secret_address, None, "web address to which alerts are posted as JSON", secret=True
    )
    alert_slack: str | None = setting(
        "HEATERS_ALERT_SLACK", parse.secret_address, None, "address of an incoming webhook of Slack, for alerts", secret=True
    )
    alert_mail: str | None = setting(
        "HEATERS_ALERT_MAIL", parse.mail_addresses, None, "mail addresses that get alerts, separated by commas", secret=True
    )
    alert_mail_from: str | None = setting(
        "HEATERS_ALERT_MAIL_FROM", parse.mail_addresses, None, "mail address that alerts come from; not set: the first that gets them"
    )
    smtp_url: str | None = setting(
        "HEATERS_SMTP_URL", parse.smtp, None, "mail server for alerts: smtp://user:password@host:587, or smtps://", secret=True
    )
    alert_dagster_gb: float = setting(
        "HEATERS_ALERT_DAGSTER_GB", parse.number(float, 0.001, 100_000), 20.0, "size of Dagster's own tables, in GB, that is an alert"
    )

    alert_no_progress_minutes: float = setting(
        "HEATERS_ALERT_NO_PROGRESS_MINUTES",
        parse.number(float, 0.0, 100_000),
        60.0,
        "minutes without any progress of a stage that works, after which it is an alert; nothing is ended. 0: never",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings(BackupSettings):
    """What the files of clips have."""

    trim_transitions: bool = setting(
        "HEATERS_TRIM_TRANSITIONS",
        parse.flag,
        False,
        "true: the files of clips leave out the frames of the transitions at both ends, and their sound; a change makes files again",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketSettings(ExportSettings):
    """How objects lie in a bucket, come back from cold storage, and are read through a CDN."""

    s3_kms_key: str | None = setting(
        "HEATERS_S3_KMS_KEY", parse.kms_key, None, "key of AWS KMS that encrypts what is stored; not set: as the bucket is set"
    )
    s3_tags: tuple[str, ...] = setting(
        "HEATERS_S3_TAGS", parse.tags, (), "tags of the bucket and of each object, separated by commas: team=film,cost-centre=4711"
    )
    s3_transitions: tuple[str, ...] = setting(
        "HEATERS_S3_TRANSITIONS",
        parse.transitions,
        (),
        "what moves to another storage class after so many days, separated by commas: gold_masters:DEEP_ARCHIVE:180",
    )
    restore_tier: str = setting(
        "HEATERS_RESTORE_TIER",
        parse.one_of(*TIERS),
        "Standard",
        "how fast gold masters come back from cold storage: Bulk, Standard, Expedited",
    )
    restore_days: int = setting("HEATERS_RESTORE_DAYS", parse.number(int, 1, 365), 7, "days that a restored gold master can be read")
    cdn_key_id: str | None = setting(
        "HEATERS_CDN_KEY_ID", str, None, "id of the public key that the CDN trusts; not set: links of the CDN are plain"
    )
    cdn_private_key: str | None = setting(
        "HEATERS_CDN_PRIVATE_KEY", str, None, "private key that signs links of the CDN, in PEM form", secret=True
    )

    @property
    def object_tags(self) -> dict[str, str]:
        return dict(tag.split("=", 1) for tag in self.s3_tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings(BucketSettings):
    """Where models lie that people bring."""

    networks: Path | None = setting(
        "HEATERS_NETWORKS", parse.path, None, "folder with the ONNX files of detectors that need one; not set: networks under HEATERS_HOME"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings(ModelSettings):
    """What is downloaded from web sites, how gently, and with whose sign-in."""

    ytdlp_max_height: int = setting(
        "HEATERS_DOWNLOAD_MAX_HEIGHT", parse.number(int, 144, 8640), 4320, "tallest picture that is downloaded from a web address"
    )
    downloads_per_site: int = setting(
        "HEATERS_DOWNLOADS_PER_SITE", parse.number(int, 1, MAX_PER_SITE), 1, "downloads from one site at a time, over all machines"
    )
    download_pause_seconds: float = setting(
        "HEATERS_DOWNLOAD_PAUSE_SECONDS", parse.number(float, 0, 86_400), 2.0, "pause between two downloads from one site, in seconds"
    )
    download_rate_mib: float | None = setting(
        "HEATERS_DOWNLOAD_RATE_MIB", parse.number(float, 0.01, 100_000), None, "MiB a second that one download may take; not set: no limit"
    )
    allow_private_addresses: bool = setting(
        "HEATERS_ALLOW_PRIVATE_ADDRESSES", parse.flag, False, "true: web addresses on internal networks may be fetched"
    )
    automatic_captions: bool = setting(
        "HEATERS_AUTOMATIC_CAPTIONS",
        parse.flag,
        False,
        "true: captions that a machine of a site has made are kept too, in the language that is spoken",
    )
    ytdlp_plugins: Path | None = setting(
        "HEATERS_YTDLP_PLUGINS",
        parse.path,
        None,
        "folder with plug-ins of yt-dlp, for example a provider of PO tokens; not set: none is loaded",
    )
    cookies_files_named: tuple[str, ...] = setting(
        "HEATERS_COOKIES_FILES",
        parse.cookies_files,
        (),
        "sites with the cookies file of a sign-in, separated by commas: vimeo.com=/secrets/vimeo.txt",
    )

    @property
    def cookies_files(self) -> dict[str, Path]:
        """Site -> cookies file of its sign-in."""
        return {site: Path(path) for site, path in named_files(self.cookies_files_named).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkSettings(SiteSettings):
    """How much work is done at once, and who hands it out."""

    broker_url: str | None = setting(
        "HEATERS_BROKER_URL", parse.broker, None, "redis:// address of the broker that hands runs to workers (Celery)", secret=True
    )
    broker_visibility_seconds: int = setting(
        "HEATERS_BROKER_VISIBILITY_SECONDS",
        parse.number(int, 1, 604_800),
        86_400,
        "after so long Redis gives out again what a worker has taken and not acknowledged; more than the longest run takes",
    )
    machines: int = setting(
        "HEATERS_MACHINES", parse.number(int, 1, 10_000), 1, "how many machines run work; the queue lets in so many times the runs of one"
    )
    ingest_runs: int = setting(
        "HEATERS_INGEST_RUNS", parse.number(int, 1, 1000), 2, "source videos on their way to review at once, on one machine"
    )
    export_runs: int = setting(
        "HEATERS_EXPORT_RUNS", parse.number(int, 1, 1000), 2, "source videos whose clips are exported at once, on one machine"
    )
    enrich_runs: int = setting(
        "HEATERS_ENRICH_RUNS",
        parse.number(int, 1, 1000),
        1,
        "source videos whose clips get keyframes and embeddings at once, on one machine",
    )
    master_runs: int = setting("HEATERS_MASTER_RUNS", parse.number(int, 1, 1000), 1, "gold masters that are made at once, on one machine")
    large_masters: int | None = setting(
        "HEATERS_LARGE_MASTERS",
        parse.number(int, 1, 1000),
        None,
        "gold masters of pictures larger than full HD that are made at once, on all machines together; not set: as many as of small ones",
    )
    encodes: int = setting(
        "HEATERS_ENCODES", parse.number(int, 1, 1000), 1, "proxies, and exports that are encoded, that are made at once on one machine"
    )

    @property
    def runs_at_once(self) -> dict[str, int]:
        """Kind of work -> how many runs of it one machine does at once."""
        return {"export": self.export_runs, "ingest": self.ingest_runs, "enrich": self.enrich_runs, "archive_master": self.master_runs}
