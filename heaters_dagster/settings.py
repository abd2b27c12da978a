"""Frozen, typed settings: the only reader of the environment. Every setting is documented in docs/settings.md (a test holds us to it)."""

from __future__ import annotations

import getpass
import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from heaters_dagster import setting_values as parse
from heaters_dagster.domain.bucket_rules import COLD
from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.domain.secrets import HIDDEN, without_access
from heaters_dagster.registries import DETECTORS, EMBEDDERS
from heaters_dagster.setting_groups import WorkSettings, setting

_SHORTEST_HIDDEN = 8

T = TypeVar("T")
PROJECT_ROOT = Path(__file__).resolve().parent.parent


def default_home() -> Path:
    """The `.heaters` folder of the checkout, or of the user's home folder when Heaters is installed as a wheel."""
    return PROJECT_ROOT / ".heaters" if (PROJECT_ROOT / "pyproject.toml").is_file() else Path.home() / ".heaters"


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # in a container the user may have no name
        return "reviewer"


STORAGE_CLASSES = (
    "STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "GLACIER_IR", "DEEP_ARCHIVE", "REDUCED_REDUNDANCY",
)  # fmt: skip
#: Characters of a secret key that cannot be guessed.
LEAST_KEY = 16
KEYFRAME_STRATEGIES = ("midpoint", "multi", "tag")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(WorkSettings):
    """The settings from the environment. Build it with `Settings.from_environment`."""

    app_env: str = setting(
        "APP_ENV",
        parse.one_of("development", "production"),
        "development",
        "development or production; picks the bucket and the CDN domain",
    )
    home: Path = setting(
        "HEATERS_HOME", parse.path, default_home, "folder where the embedded Postgres, the local objects and Dagster keep their data"
    )
    database_url: str | None = setting(
        "HEATERS_DATABASE_URL", str, None, "postgresql:// address; not set: embedded Postgres under HEATERS_HOME", secret=True
    )
    migrates: bool = setting(
        "HEATERS_MIGRATE",
        parse.flag,
        True,
        "false: only heaters migrate changes the schema of the database; programs with a newer one wait",
    )
    host_name: str = setting(
        "HEATERS_HOST_NAME",
        parse.host_name,
        socket.gethostname,
        "name of this machine among all that share the database; no two may have the same",
    )
    run_lease_seconds: int = setting(
        "HEATERS_RUN_LEASE_SECONDS",
        parse.number(int, 2, 3600),
        60,
        "after so long without a sign of life from the process that works on it, a run is ended and its work is due again",
    )
    bucket: str | None = setting("S3_BUCKET_NAME", str, None, "S3 bucket; not set: a local folder under HEATERS_HOME")
    dev_bucket: str | None = setting("S3_DEV_BUCKET_NAME", str, None, "bucket when APP_ENV=development, before S3_BUCKET_NAME")
    prod_bucket: str | None = setting("S3_PROD_BUCKET_NAME", str, None, "bucket when APP_ENV=production, before S3_BUCKET_NAME")
    s3_endpoint_url: str | None = setting(
        "HEATERS_S3_ENDPOINT_URL", parse.address, None, "address of an S3-compatible server; not set: AWS"
    )
    s3_browser_url: str | None = setting(
        "HEATERS_S3_BROWSER_URL", parse.address, None, "its address for browsers, when that is another; not set: HEATERS_S3_ENDPOINT_URL"
    )
    gold_master_storage_class: str = setting(
        "GOLD_MASTER_STORAGE_CLASS", parse.one_of(*STORAGE_CLASSES), "GLACIER", "storage class of gold masters"
    )
    proxy_storage_class: str = setting(
        "PROXY_STORAGE_CLASS",
        parse.one_of(*(name for name in STORAGE_CLASSES if name not in COLD)),
        "STANDARD",
        "storage class of proxies; not GLACIER or DEEP_ARCHIVE, because each review and export reads them",
    )
    proxy_cdn_domain: str | None = setting("PROXY_CDN_DOMAIN", str, None, "CDN in front of the bucket; must pass range requests and CORS")
    cloudfront_dev_domain: str | None = setting(
        "CLOUDFRONT_DEV_DOMAIN", str, None, "CDN when APP_ENV=development and PROXY_CDN_DOMAIN is not set"
    )
    cloudfront_prod_domain: str | None = setting(
        "CLOUDFRONT_PROD_DOMAIN", str, None, "CDN when APP_ENV=production and PROXY_CDN_DOMAIN is not set"
    )
    webcodecs_enabled: bool = setting("WEBCODECS_ENABLED", parse.flag, True, "false: reviewers get the plain video player")
    detector: str = setting("HEATERS_DETECTOR", parse.name_in(DETECTORS), "learned", "shot detector")
    detector_threshold: float | None = setting(
        "HEATERS_DETECTOR_THRESHOLD",
        parse.number(float, 0, 255),
        None,
        "score above which a boundary is cut; not set: the detector's default",
    )
    min_clip_frames: int = setting(
        "HEATERS_MIN_CLIP_FRAMES", parse.number(int, 1, 100_000), 2, "shorter clips are joined to a neighbour when cutting automatically"
    )
    keyframe_strategy: str = setting(
        "HEATERS_KEYFRAME_STRATEGY", parse.one_of(*KEYFRAME_STRATEGIES), "multi", "which stills of a clip are kept: midpoint, multi, tag"
    )
    keyframe_percentages: tuple[float, ...] = setting(
        "HEATERS_KEYFRAME_PERCENTAGES", parse.percentages, (25.0, 50.0, 75.0), "places of the multi strategy, in percent of the clip"
    )
    embedder: str = setting("HEATERS_EMBEDDER", parse.name_in(EMBEDDERS), "clip", "what makes the vectors for search")
    embedding_model: str = setting(
        "HEATERS_EMBEDDING_MODEL",
        parse.model,
        "clip-ViT-B-32",
        "model of the embedder; for `clip` a name of sentence-transformers, or a folder by its full path",
    )
    embedding_fallback: bool = setting(
        "HEATERS_EMBEDDING_FALLBACK", parse.flag, False, "true: use the built-in visual descriptor when the model is not available"
    )
    rights: str | None = setting(
        "HEATERS_RIGHTS", str, None, "what may be done with videos, in your words, for those submitted without saying it"
    )
    sites_from_browser: bool | None = setting(
        "HEATERS_SITES_FROM_BROWSER",
        parse.flag,
        None,
        "true: people in the review app may store sign-ins, headers and proxies for web sites; not set: only while it is for this machine "
        "only",
    )
    reviewer: str = setting("HEATERS_REVIEWER", str, _user_name, "who decides on the command line")
    dagster_port: int = setting("HEATERS_DAGSTER_PORT", parse.number(int, 1, 65535), 3000, "port of the Dagster UI")
    review_port: int = setting("HEATERS_REVIEW_PORT", parse.number(int, 1, 65535), 8501, "port of the review app")
    review_host: str = setting("HEATERS_REVIEW_HOST", str, "127.0.0.1", "address the review app listens on")
    review_names: tuple[str, ...] = setting(
        "HEATERS_REVIEW_NAMES",
        parse.names,
        (),
        "further host names of the review app, separated by commas; that of HEATERS_REVIEW_URL, localhost and IP addresses always work",
    )
    submit_folders: tuple[str, ...] = setting(
        "HEATERS_SUBMIT_FOLDERS",
        parse.submit_places,
        (),
        "folders of the server and s3:// places from which the browser may submit, separated by commas; or any, or none. Not set: any "
        "while the review app is for this machine only, else none",
    )
    watch: tuple[str, ...] = setting(
        "HEATERS_WATCH",
        parse.watched_places,
        (),
        "folders of this machine and s3:// prefixes whose videos are taken by themselves, separated by commas",
    )
    watch_seconds: int = setting(
        "HEATERS_WATCH_SECONDS",
        parse.number(int, 1, 86_400),
        30,
        "time between two looks at a watched place; a file is taken when it has not changed between two",
    )
    watch_then: str = setting(
        "HEATERS_WATCH_THEN",
        parse.one_of("leave", "move"),
        "leave",
        "leave or move: what becomes of a file when it is in the object store; move puts it into the folder taken, or refused, beside it",
    )
    dagster_host: str = setting(
        "HEATERS_DAGSTER_HOST", str, "127.0.0.1", "address the Dagster UI listens on; beyond this machine only with HEATERS_DAGSTER_TOKEN"
    )
    dagster_names: tuple[str, ...] = setting(
        "HEATERS_DAGSTER_NAMES",
        parse.names,
        (),
        "further host names of the Dagster UI, separated by commas; that of HEATERS_DAGSTER_URL, localhost and IP addresses always work",
    )
    dagster_token: str | None = setting(
        "HEATERS_DAGSTER_TOKEN", parse.token, None, "secret to sign in to the Dagster UI with; not set: nobody has to sign in", secret=True
    )
    dagster_url: str | None = setting(
        "HEATERS_DAGSTER_URL",
        parse.address,
        None,
        "address of the Dagster UI as reviewers reach it; not set: http://127.0.0.1 and its port",
    )
    code_server: str = setting(
        "HEATERS_CODE_SERVER",
        parse.host_and_port,
        "127.0.0.1:4000",
        "host:port where heaters serve dagster and daemon reach heaters serve code",
    )
    shared_review_url: str | None = setting(
        "HEATERS_REVIEW_URL",
        parse.address,
        None,
        "address of the review app as others reach it, for links in Dagster; not set: no links there",
    )
    secret_key: str | None = setting(
        "HEATERS_SECRET_KEY", str, None, "signs media links; not set: a key made once under HEATERS_HOME", secret=True
    )
    link_ttl_seconds: int = setting("HEATERS_LINK_TTL_SECONDS", parse.number(int, 10, 604_800), 3600, "how long a signed media link works")
    keep_run_records_days: int = setting(
        "HEATERS_KEEP_RUN_RECORDS_DAYS",
        parse.number(int, 0, 36_500),
        30,
        "days after which the details of ended runs, and runs that made nothing, are removed from Dagster's tables; 0: never",
    )
    most_partitions: int = setting(
        "HEATERS_MOST_PARTITIONS",
        parse.number(int, 100, 10_000_000),
        50_000,
        "source videos that Dagster has as partitions; above it those with nothing to do retire, and come back when they have",
    )
    lease_seconds: int = setting(
        "HEATERS_LEASE_SECONDS",
        parse.number(int, 5, 3600),
        60,
        "how long a clip stays reserved for a reviewer whose page no longer reports",
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read every setting; an empty variable counts as not set. Raises SettingsError, which names the variable and its legal values.

        A secret may lie in a file that the variable with `_FILE` at its end names, as containers and services get their secrets.
        """
        source = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for spec in fields(cls):
            text = source.get(spec.metadata["name"], "").strip()
            if not text and spec.metadata["secret"]:
                text = parse.secret_file(f"{spec.metadata['name']}_FILE", source)
            if not text:
                continue
            try:
                values[spec.name] = spec.metadata["parse"](text)
            except ValueError as error:
                given = "" if spec.metadata["secret"] else f"={without_access(text)!r}"
                raise SettingsError(f"{spec.metadata['name']}{given} cannot be used: {error}") from None
        made = cls(**values)
        parse.check_threshold(made.detector, made.detector_threshold)
        return made

    def to_environment(self) -> dict[str, str]:
        """The variables from which `from_environment` makes the same settings; those not set (None) are left out."""
        values = {spec.metadata["name"]: getattr(self, spec.name) for spec in fields(self)}
        return {name: parse.written(value) for name, value in values.items() if value is not None}

    def changed(self) -> dict[str, str]:
        """The variables that do not have their default value, for people; for secret ones only that they are set."""
        default = Settings()
        return {
            spec.metadata["name"]: "(set)" if spec.metadata["secret"] else parse.written(getattr(self, spec.name))
            for spec in fields(self)
            if getattr(self, spec.name) != getattr(default, spec.name)
        }

    def secrets(self) -> tuple[str, ...]:
        """The values that nobody may see, the longest first: those of the secret settings, and the passwords in them."""
        values = [getattr(self, spec.name) for spec in fields(self) if spec.metadata["secret"]]
        given = [value for value in values if value]
        inner = [secret for value in given for secret in parse.passwords_in(value)]
        return tuple(sorted({*given, *inner}, key=lambda value: (-len(value), value)))

    def without_secrets(self, text: str) -> str:
        """`text` without the values of secret settings, and without passwords and keys in addresses, so that it may be shown."""
        for value in self.secrets():
            if len(value) >= _SHORTEST_HIDDEN:
                text = text.replace(value, HIDDEN)
        return without_access(text)

    @property
    def production(self) -> bool:
        return self.app_env == "production"

    @property
    def object_bucket(self) -> str | None:
        """The bucket in use, or None for the local folder."""
        return (self.prod_bucket if self.production else self.dev_bucket) or self.bucket

    @property
    def cdn_domain(self) -> str | None:
        return self.proxy_cdn_domain or (self.cloudfront_prod_domain if self.production else self.cloudfront_dev_domain)

    @property
    def browser_origins(self) -> tuple[str, ...]:
        """The addresses of the review app as a browser names the page that asks: they must be allowed to read the bucket."""
        page = urlsplit(self.shared_review_url or self.review_url)
        port = f":{page.port}" if page.port else ""
        more = ("localhost",) if is_loopback(page.hostname or "") and page.hostname != "localhost" else ()
        return (f"{page.scheme}://{page.netloc}", *(f"{page.scheme}://{name}{port}" for name in (*more, *self.review_names)))

    @property
    def review_url(self) -> str:
        """Where a browser on this machine reaches the review app."""
        return parse.local_url(self.review_host, self.review_port)

    @property
    def dagster_local_url(self) -> str:
        """Where a program on this machine reaches the Dagster UI."""
        return parse.local_url(self.dagster_host, self.dagster_port)

    @property
    def is_for_this_machine_only(self) -> bool:
        """Whether the review app listens on this machine only, and no setting names an address of a proxy that lets others in."""
        shared = urlsplit(self.shared_review_url or self.review_url).hostname or ""
        return is_loopback(self.review_host) and is_loopback(shared) and not self.review_names

    @property
    def browser_sources(self) -> tuple[str, ...] | None:
        """The folders and s3:// places from which the browser may submit; None: from all places, like the command line."""
        places = self.submit_folders or ("any" if self.is_for_this_machine_only else "none",)
        return None if "any" in places else tuple(place for place in places if place != "none")

    @property
    def may_store_sites(self) -> bool:
        """Whether people in the review app may store what lets into web sites. The command line always may."""
        return self.is_for_this_machine_only if self.sites_from_browser is None else self.sites_from_browser

    @property
    def objects_folder(self) -> Path:
        return self.home / "objects"

    @property
    def cache_folder(self) -> Path:
        """Originals of a bucket that stages of this machine may need again."""
        return self.home / "original_cache"

    @property
    def work_folder(self) -> Path:
        """Temporary files of running stages; removed at start."""
        return self.home / "work"

    @property
    def uploads_folder(self) -> Path:
        """Files that reviewers have uploaded, until they are in the object store."""
        return self.home / "uploads"

    @property
    def postgres_folder(self) -> Path:
        return self.home / "postgres"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"


def child_environment(settings: Settings, **more: str) -> dict[str, str]:
    """The environment for a process that this one starts and that must have the same settings.

    Python there, and in its own child processes, never looks for modules in the current folder: a `uvicorn.py` in that folder would run
    instead of the real one. `python -m` puts that folder first on the path, and so does an empty part of PYTHONPATH.
    """
    variables = {**os.environ, **settings.to_environment(), "PYTHONSAFEPATH": "1", **more}
    whole = [part for part in variables.pop("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(part)]
    return variables | ({"PYTHONPATH": os.pathsep.join(whole)} if whole else {})


def environment_without_secrets() -> dict[str, str]:
    """The environment for a program that works on a stranger's data: without the secrets of Heaters and of AWS."""
    hidden = {*secret_setting_names(), "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    return {name: value for name, value in os.environ.items() if name not in hidden}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a program that listens on this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def secret_setting_names() -> tuple[str, ...]:
    """The secret settings: one list for doctor, messages and tests."""
    return tuple(spec.metadata["name"] for spec in fields(Settings) if spec.metadata["secret"])


def settings_that_look_wrong(environment: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each variable, of this process without `environment`, that is nearly a setting, and for a key that can be guessed."""
    given = os.environ if environment is None else environment
    names = [*setting_names(), *(f"{name}_FILE" for name in secret_setting_names())]
    told = []
    for name in sorted(given):
        # deploy/ecs names secrets so, and Kubernetes tells every pod of a service called heaters so.
        of_others = name.endswith("_ARN") or "_SERVICE_HOST" in name or "_SERVICE_PORT" in name
        of_ours = name.startswith("HEATERS_") and not of_others
        if of_ours and name not in names and (near := get_close_matches(name, names, 1, 0.85)):
            told.append(f"{name} is no setting, so nobody reads it: is {near[0]} meant?")
    settings = Settings.from_environment(given)
    told += filter(None, [parse.high_threshold(settings.detector, settings.detector_threshold)])
    key = settings.secret_key
    if key is not None and len(key) < LEAST_KEY:
        told.append(f"HEATERS_SECRET_KEY has {len(key)} of at least {LEAST_KEY} characters: who guesses it signs in as anybody")
    return told


def setting_names() -> dict[str, str]:
    """Environment variable -> its one-line help, in order of definition."""
    return {spec.metadata["name"]: spec.metadata["what"] for spec in fields(Settings)}


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """The settings of this process. Tests build their own Settings instead."""
    return Settings.from_environment()
