"""`heaters doctor`: tests what works on this machine, and says how to repair what does not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heaters_dagster.commands.up.machines import check_shared
from heaters_dagster.domain.errors import HeatersError, SettingsError
from heaters_dagster.domain.run_queues import QUEUES
from heaters_dagster.domain.secrets import without_access
from heaters_dagster.domain.words import counted
from heaters_dagster.registries import DETECTORS, REGISTRIES
from heaters_dagster.settings import Settings, settings_that_look_wrong

if TYPE_CHECKING:
    from resources.postgres.database import Database


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one test. needed: a fault must be repaired, for the pipeline or for safety. told: state and remedy, in words."""

    what: str
    ok: bool
    needed: bool
    told: str


def checked(settings: Settings, *, repair: bool = False) -> list[Finding]:
    """Test everything; when one test fails, the others still run.

    repair: count rows again whose stored counts are wrong; remove the secrets that older versions left in records, then renew the signing
    key.
    """
    findings = [
        _finding("settings", False, lambda: ", ".join(f"{name}={value}" for name, value in settings.changed().items()) or "all by default"),
        _finding("settings that look wrong", False, _wrong_settings),
        _finding("ffmpeg", True, _ffmpeg),
        _finding("database", True, lambda: _database(settings)),
        _finding("object store", True, lambda: _object_store(settings)),
        *about_the_bucket(settings),
        _finding("disk", False, lambda: _disk(settings)),
        *([_finding("workers", True, lambda: _workers(settings))] if settings.broker_url else []),
        _finding("shot detector", True, lambda: _detector(settings)),
        _finding("embedding model", False, lambda: _embedding_model(settings)),
        _finding("web sites", False, _web_sites),
        _finding("plug-ins of yt-dlp", False, lambda: _plugins(settings)),
        _finding("added by packages", True, _added),
    ]
    if all(finding.ok for finding in findings if finding.what == "database"):
        findings.append(_finding("sessions", True, lambda: _sessions(settings)))
        findings.append(_finding("connections", False, lambda: _connections(settings)))
        findings.append(_finding("sign-ins", False, lambda: _sign_ins(settings)))
        findings.append(_finding("stored counts", True, lambda: _stored_counts(settings, repair=repair)))
        findings.append(_finding("secrets in records", True, lambda: _secrets(settings, repair=repair)))
    if all(finding.ok for finding in findings if finding.what in {"database", "object store"}):
        findings.append(_finding("stored data", True, lambda: _stored_data(settings)))
    return findings


def _workers(settings: Settings) -> str:
    check_shared(settings)
    from resources.orchestrator.celery_broker import listening
    from resources.orchestrator.celery_launcher import open_celery

    heard = listening(open_celery(settings))
    if unheard := [kind for kind in QUEUES if not any(kind in kinds for kinds in heard.values())]:
        raise OSError(f"no worker listens for {', '.join(unheard)}: type heaters worker on a machine that is to do it")
    return "; ".join(f"{host}: {', '.join(kinds)}" for host, kinds in heard.items())


def about_the_bucket(settings: Settings) -> list[Finding]:
    return [
        _finding("browsers and the bucket", True, lambda: _browsers(settings)),
        _finding("links of the CDN", settings.cdn_key_id is not None, lambda: _cdn(settings)),
        _finding("bucket", False, lambda: _bucket(settings)),
        _finding("rights in the bucket", True, lambda: _rights(settings)),
        _finding("conditional writes", False, lambda: _conditions(settings)),
    ]


def _finding(what: str, needed: bool, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, needed, look())
    except (HeatersError, OSError, ImportError, subprocess.SubprocessError) as error:
        return Finding(what, False, needed, without_access(str(error)))
    except Exception as error:
        # What Postgres or its driver says when they refuse; they are not imported for this, because they may be what is broken.
        if type(error).__module__.partition(".")[0] not in {"psycopg", "sqlalchemy"}:
            raise
        return Finding(what, False, needed, without_access(str(error).strip().partition("\n")[0]))


def _wrong_settings() -> str:
    if told := settings_that_look_wrong():
        raise SettingsError("; ".join(told))
    return "none"


def _ffmpeg() -> str:
    from resources.media.ffmpeg import ffmpeg_path
    from resources.upkeep.machine import ffmpeg_told

    return f"{ffmpeg_told()} ({ffmpeg_path()})"


def _database(settings: Settings) -> str:
    from resources.upkeep.machine import database_told

    with _opened(settings) as database:
        told = database_told(database)
    where = "HEATERS_DATABASE_URL" if settings.database_url else f"embedded, data under {settings.postgres_folder}"
    return f"{told} ({where})"


def _sessions(settings: Settings) -> str:
    from resources.postgres.session_check import check_sessions

    with _opened(settings) as database:
        check_sessions(database)
    return "each connection is a session of its own, so locks and NOTIFY hold"


def _connections(settings: Settings) -> str:
    from resources.postgres.session_check import check_connections

    with _opened(settings) as database:
        return check_connections(database, settings)


def _object_store(settings: Settings) -> str:
    from resources.object_store.open import open_object_store

    open_object_store(settings).check()
    return f"bucket {settings.object_bucket}" if settings.object_bucket else f"folder {settings.objects_folder}"


def _browsers(settings: Settings) -> str:
    from resources.object_store.cors import cors_problem
    from resources.object_store.open import open_object_store

    if settings.object_bucket is None:
        return "there is no bucket; browsers read from the review app itself"
    origin = settings.browser_origins[0]
    problem = cors_problem(open_object_store(settings), origin)
    if problem is not None:
        raise OSError(problem)
    return f"a page at {origin} may read"


def _cdn(settings: Settings) -> str:
    from resources.object_store.cdn import cdn_problem
    from resources.object_store.open import open_cdn, open_object_store

    cdn = None if settings.object_bucket is None else open_cdn(settings)
    if cdn is None:
        return "there is no CDN"
    if not cdn.is_signed:
        raise OSError(
            f"links to {cdn.address} are plain: they can be guessed and do not end. Set HEATERS_CDN_KEY_ID and "
            "HEATERS_CDN_PRIVATE_KEY_FILE, or let the CDN itself decide who may read (docs/operate/storage.md)"
        )
    problem = cdn_problem(open_object_store(settings), cdn)
    if problem is not None:
        raise OSError(problem)
    return f"links to {cdn.address} are signed, and it refuses all others"


def _bucket(settings: Settings) -> str:
    from resources.object_store.bucket_setup import BucketSetup

    if settings.object_bucket is None:
        return "none is used"
    bucket = BucketSetup(settings)
    parts = bucket.parts()
    if any(part.wanted for part in parts):
        wrong = "; ".join(f"{part.what}: {part.told}" for part in parts if part.wanted)
        raise OSError(f"{bucket.bucket} is not set as it should be: {wrong}. To set it, type: heaters storage setup")
    return f"{bucket.bucket}: " + "; ".join(f"{part.what}: {part.told}" for part in parts[1:])


def _rights(settings: Settings) -> str:
    from heaters_dagster.commands.storage import policy_of
    from resources.object_store.bucket_setup import BucketSetup

    if settings.object_bucket is None:
        return "none are needed"
    policy = json.dumps(policy_of(settings))
    if missing := BucketSetup(settings).missing_rights():
        raise OSError(f"these credentials may not use {', '.join(missing)}. The least IAM policy: {policy}")
    return f"what Heaters needs is allowed, as far as that can be tried. The least IAM policy: {policy}"


def _conditions(settings: Settings) -> str:
    from resources.object_store.conditions import condition_problem
    from resources.object_store.open import open_object_store

    if settings.object_bucket is None:
        return "there is no bucket"
    problem = condition_problem(open_object_store(settings))
    if problem is not None:
        raise OSError(problem)
    return "a process that has lost its run overwrites nothing"


def _disk(settings: Settings) -> str:
    from resources.files.private_folder import private_home
    from resources.upkeep.machine import checked_disk

    home = private_home(settings)
    return f"{checked_disk(settings) / 1e9:.0f} GB free under {home}"


def _detector(settings: Settings) -> str:
    detector = DETECTORS.load(settings.detector)
    return detector.state() if detector.state is not None else detector.name


def _embedding_model(settings: Settings) -> str:
    from resources.models.embedder import chosen_embedder

    embedder = chosen_embedder(settings)
    return f"{embedder.model}, {embedder.dimensions} dimensions"


def _added() -> str:
    """What installed packages add to the registries. All of it is imported here, so that a broken package is found."""
    problems = [problem for registry in REGISTRIES for problem in registry.problems()]
    if problems:
        raise ImportError("; ".join(problems))
    added = [f"{registry.what} {name} ({registry.origin(name)})" for registry in REGISTRIES for name in registry.added]
    return ", ".join(added) or "nothing"


def _web_sites() -> str:
    from resources.sources.guarded_ytdlp import solver_told
    from resources.sources.ytdlp_release import installed, renewal

    release, works = installed(), solver_told()
    told = f"{release.age} (to renew it, {renewal()}); {works}"
    if release.is_old:
        raise OSError(f"{told}. Sites change, so downloads may fail, or come in poor quality")
    return told


def _plugins(settings: Settings) -> str:
    from resources.sources import ytdlp_plugins

    folder = settings.ytdlp_plugins
    if folder is None:
        return "none is used (HEATERS_YTDLP_PLUGINS is not set)"
    ytdlp_plugins.use_plugins(folder)
    loaded = f"{', '.join(ytdlp_plugins.loaded(folder)) or 'none'} ({folder})"
    if problems := ytdlp_plugins.problems(folder):
        raise OSError(f"{loaded}; {'; '.join(problems)}")
    return loaded


def _sign_ins(settings: Settings) -> str:
    from resources.sources.site_access import SiteAccess

    with _opened(settings) as database:
        access = SiteAccess(database, settings)
        if problems := access.problems():
            raise OSError("; ".join(problems))
        return ", ".join(one.site for one in access.listed()) or "nothing is stored for any site"


def _secrets(settings: Settings, *, repair: bool) -> str:
    from resources.files.signing_key import renew_signing_key
    from resources.orchestrator.dagster_records import advice, clean_secrets, find_secrets
    from resources.sources.site_access import SiteAccess

    with _opened(settings) as database:
        found = clean_secrets(settings, database) if repair else find_secrets(settings, database)
        if not found:
            return "none"
        if repair:
            return advice(found, settings, lambda: SiteAccess(database, settings).renew_key(lambda: renew_signing_key(settings)))
    raise OSError(
        f"an older version left secrets in {found}: type heaters doctor --repair. It removes them and says which passwords to change"
    )


def _stored_counts(settings: Settings, *, repair: bool) -> str:
    from resources.postgres import clip_counts, source_video_counts
    from resources.upkeep.audit import wrong_counts

    with _opened(settings) as database:
        wrong = wrong_counts(database)
        if not wrong:
            return "they are the numbers of clips and source videos"
        if not repair:
            told = "; ".join(wrong)
            raise OSError(f"{told}. heaters doctor --repair counts again; decisions of reviewers wait for as long as that takes")
        clip_counts.recount(database)
        source_video_counts.recount(database)
        if left := wrong_counts(database):
            raise OSError(f"they were counted again, and are still wrong: {'; '.join(left)}. Please report it")
    return f"{counted(len(wrong), 'count was', 'counts were')} wrong, and all are counted again: {'; '.join(wrong)}"


def _stored_data(settings: Settings) -> str:
    from resources.object_store.open import open_object_store
    from resources.upkeep.audit import audit

    with _opened(settings) as database:
        problems = audit(database, open_object_store(settings), with_counts=False)
    if problems:
        raise OSError("; ".join(problems))
    return "clips cover their source videos, and every object has its row"


@contextmanager
def _opened(settings: Settings) -> Iterator[Database]:
    from resources.postgres.database import open_database

    database = open_database(settings)
    try:
        yield database
    finally:
        database.dispose()
