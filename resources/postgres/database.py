"""Postgres: its address, its schema, transactions with errors in plain words, and locks that end with their process."""

from __future__ import annotations

import math
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from hashlib import sha256
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from heaters_dagster.domain.errors import (
    BadRequestError,
    BusyError,
    DatabaseUnavailableError,
    DiskFullError,
    SettingsError,
)
from heaters_dagster.event_log import forget_pending, tell
from heaters_dagster.settings import Settings
from resources.files.private_folder import private_home
from resources.files.run_fence import check_fence
from resources.files.this_process import worker_name
from resources.postgres import embedded_postgres
from resources.postgres.connecting import in_schema, patience, with_patience
from resources.postgres.database_errors import NO_ROOM, raise_readable, shown
from resources.postgres.migrations import check_schema, migrate

DATABASE_NAME = "heaters"
DAGSTER_NAME = "dagster"

#: For how long after its last use a connection whose server has not closed it is taken as it is, without asking.
_TRUSTED_SECONDS = 30.0
#: Connections beyond those that a process keeps; they are closed after each use.
_MORE_CONNECTIONS = 10
#: How often the first of those that wait for one of several places on a machine looks for a free one.
_PLACE_LOOK_SECONDS = 0.5
_DRIVERS = {"postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"}


class Database:
    """One Postgres database. Safe to share between threads, not between processes. host: the name of this machine in it."""

    def __init__(self, url: str, engine: Engine, lock_engine: Engine, host: str | None = None) -> None:
        self.url = url
        self.host = host or socket.gethostname()
        self.engine = engine
        self._lock_engine = lock_engine
        self._of_thread = _OfThread()

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        pool_size: int = 5,
        most: int | None = None,
        revive: Callable[[], object] | None = None,
        host: str | None = None,
    ) -> Database:
        """url: `postgresql://...`; a driver suffix is replaced by the right one. host: None for the name that the machine has itself.

        pool_size: connections that the process keeps. most: how many it opens at once; None: ten more than it keeps. Locks have their own.
        revive: called when the server does not answer; starts it again. Connects when first used. Raises SettingsError when `url` is not
        an address.
        """
        address = _with_driver(url, "postgresql+psycopg")
        given = patience(address)
        more = _MORE_CONNECTIONS if most is None else most - pool_size
        engine = create_engine(address, pool_size=pool_size, max_overflow=more, connect_args=given)
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", _asking(engine))
        lock_engine = create_engine(address, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=given)
        for one in (engine, lock_engine):
            event.listen(one, "do_connect", _connecting(revive))
        return cls(address.render_as_string(hide_password=False), engine, lock_engine, host)

    def __repr__(self) -> str:
        return f"Database({shown(self.engine.url)})"

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back on any error.

        Raises DatabaseUnavailableError when Postgres does not answer, BusyError on a deadlock, DiskFullError, BadRequestError for a value
        that its column cannot hold; for a broken rule of the database itself, CutError (clips overlap or leave a gap) and
        IllegalTransitionError. Raises RunTakenAwayError in the work of a run whose lease was lost.
        """
        with self._readable_errors(writes=True), self.engine.begin() as connection:
            # After the connection is there: whoever takes the lease away ends the connections that there are.
            check_fence()
            forget_pending(connection)  # of a transaction that was rolled back
            yield connection
            happened = forget_pending(connection)
        for said, what in happened:
            tell(said, **what)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One read-only transaction; Postgres refuses writes in it.

        It is committed: after a rollback psycopg forgets which statements the server has prepared, and Postgres would plan each of them
        anew, which took more of its time than to carry them out.
        """
        with self._readable_errors():
            if self._of_thread.reading is not None:
                yield self._of_thread.reading
                return
            with self.engine.connect() as connection:
                yield connection.execution_options(postgresql_readonly=True)
                connection.commit()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All that this thread reads within this block is read in one transaction, over one connection."""
        with self.read() as connection:
            before, self._of_thread.reading = self._of_thread.reading, connection
            try:
                yield
            finally:
                self._of_thread.reading = before

    @contextmanager
    def stage_lock(self, stage: str, row_id: int) -> Iterator[None]:
        """Make this the only process that works on this stage of this row. Raises BusyError when another process does.

        The lock belongs to its own connection, and Postgres frees it when the process dies: a row in a working state with a free lock
        was left behind by a dead process. It does not replace row locks: when the connection is lost, the lock is lost too.
        """
        with self.session() as connection:
            check_fence()
            with self._readable_errors():
                taken = connection.scalar(text("select pg_try_advisory_lock(:key)"), {"key": lock_key(stage, row_id)})
            if not taken:
                raise BusyError(
                    f"another process is working on source video {row_id} (stage {stage}): wait until it is done, or end its run, in the "
                    "Dagster UI or with Ctrl-C where heaters process runs"
                )
            try:
                yield
            finally:
                with suppress(DBAPIError):
                    connection.execute(text("select pg_advisory_unlock(:key)"), {"key": lock_key(stage, row_id)})

    @contextmanager
    def first_free_lock(self, keys: Sequence[int]) -> Iterator[bool]:
        """Hold the first of these locks (see `lock_key`) that is free, over all machines; False when none is. It ends with the process."""
        with self.session() as connection:
            taken = None
            with self._readable_errors():
                for key in keys:
                    if connection.scalar(text("select pg_try_advisory_lock(:key)"), {"key": key}):
                        taken = key
                        break
            try:
                yield taken is not None
            finally:
                if taken is not None:
                    with suppress(DBAPIError):
                        connection.execute(text("select pg_advisory_unlock(:key)"), {"key": taken})

    @contextmanager
    def turn_on_this_machine(
        self, work: str, *, at_once: int = 1, patience_seconds: float | None = None, waits: Callable[[], None] = lambda: None
    ) -> Iterator[bool]:
        """Wait until fewer than `at_once` other processes on this machine do this work. The place ends with the process.

        Those that wait get their turn in the order in which they came. A pool of Dagster counts over all machines: it is decided upon
        before anybody knows where a run will work. patience_seconds: after about that long it goes on without a place, and False is given.
        waits: called once when no place is free at once.
        """
        here, waits = f"{work} on {self.host}", cache(waits)
        if at_once == 1:
            with self.turn(here, patience_seconds=patience_seconds, waits=waits) as is_mine:
                yield is_mine
            return
        until = math.inf if patience_seconds is None else time.monotonic() + patience_seconds
        with ExitStack() as place:
            with self.turn(f"{here}, next", patience_seconds=patience_seconds, waits=waits) as is_next:
                is_mine = False
                while is_next and not is_mine:
                    is_mine = place.enter_context(self.first_free_lock([lock_key(here, number) for number in range(at_once)]))
                    if not is_mine:
                        waits()
                        place.close()
                        if time.monotonic() >= until:
                            break
                        time.sleep(_PLACE_LOOK_SECONDS)
            yield is_mine

    @contextmanager
    def turn(self, work: str, *, patience_seconds: float | None = None, waits: Callable[[], None] = lambda: None) -> Iterator[bool]:
        """Wait until no other process, on any machine, does this work, then be the only one. The lock ends with the process.

        patience_seconds: after that long it goes on without the lock, and False is given; None: it waits for as long as it takes.
        waits: called when it is not free at once.
        """
        key = {"key": lock_key(work, 0)}
        with self.session() as connection:
            with self._readable_errors():
                # Who comes while others wait does not get it either: Postgres looks at them too.
                is_held = bool(connection.scalar(text("select pg_try_advisory_lock(:key)"), key))
            if not is_held:
                waits()
                is_held = self._waited_for(connection, key, patience_seconds)
            try:
                yield is_held
            finally:
                if is_held:
                    with suppress(DBAPIError):
                        connection.execute(text("select pg_advisory_unlock(:key)"), key)

    def stage_is_busy(self, stage: str, row_id: int) -> bool:
        """Whether a living process works on this stage of this row."""
        with self.read() as connection:
            return bool(connection.scalar(_LOCK_IS_HELD, {"key": lock_key(stage, row_id)}))

    def dispose(self) -> None:
        """Close every connection that is not in use."""
        self.engine.dispose()

    def _waited_for(self, connection: Connection, key: Mapping[str, int], patience_seconds: float | None) -> bool:
        """Whether the connection has got the lock, after at most that long."""
        with self._readable_errors():
            if patience_seconds is not None:
                wait = {"wait": f"{max(1, round(patience_seconds * 1000))}ms"}
                connection.execute(text("select set_config('lock_timeout', :wait, false)"), wait)
            try:
                connection.execute(text("select pg_advisory_lock(:key)"), key)
            except DBAPIError as error:
                if not isinstance(error.orig, psycopg.errors.LockNotAvailable):
                    raise
                return False
        return True

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """A separate connection without a transaction, for a lock that outlives transactions."""
        with self._readable_errors():
            connection = self._lock_engine.connect()
        try:
            with self._readable_errors():
                # So the server notices when the machine of the process that holds the lock is gone.
                connection.execute(
                    text(
                        "select set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false), "
                        "set_config('tcp_keepalives_count', '3', false)"
                    )
                )
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _readable_errors(self, *, writes: bool = False) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if writes and isinstance(error.orig, psycopg.errors.ReadOnlySqlTransaction):
                # The server has become a standby of another one, which the name leads to by now, or soon.
                self.dispose()
                raise DatabaseUnavailableError(
                    f"Postgres at {shown(self.engine.url)} cannot be written to at present, as while it fails over to another server; "
                    "try again in a moment"
                ) from error
            raise_readable(error, self.engine.url)
        except UnicodeEncodeError:
            raise BadRequestError("a text holds half a character (a lone surrogate), which cannot be stored: remove it") from None
        except PoolTimeoutError:
            raise DatabaseUnavailableError("all database connections of this process are in use; try again in a moment") from None


class _OfThread(threading.local):
    """The connection of `Database.reading`."""

    reading: Connection | None = None


def _note_use(connection: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


def _asking(engine: Engine) -> Callable[[Any, Any, Any], None]:
    """What is done before a kept connection is used: a server that has ended it must not cost anybody an answer.

    To ask the server each time costs a round trip for each transaction. A server that ends, is killed or ends the session closes the
    connection, and that is seen here without a word; only one that was unused for long may be dead without anybody having closed it.
    """

    def ask(connection: Any, record: Any, proxy: object) -> None:
        used = record.info.get("used")
        if used is None or (time.monotonic() - used < _TRUSTED_SECONDS and not _has_word(connection)):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error  # the connections from before are as dead; a new one is made

    return ask


def _has_word(connection: Any) -> bool:
    """Whether the server has closed an unused connection, or says something over it."""
    if connection.closed:
        return True
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))


_LOCK_IS_HELD = text(
    """
    select exists (
        select from pg_locks
        where locktype = 'advisory' and granted and objsubid = 1
        and database = (select oid from pg_database where datname = current_database())
        and (classid::bigint << 32) | objid::bigint = :key
    )
    """
)


_HELD_LOCKS = text(
    """
    select (classid::bigint << 32) | objid::bigint from pg_locks
    where locktype = 'advisory' and granted and objsubid = 1
    and database = (select oid from pg_database where datname = current_database())
    """
)


def held_locks(connection: Connection) -> set[int]:
    """Keys (see `lock_key`) of the locks that living processes hold."""
    return set(connection.scalars(_HELD_LOCKS))


def open_database(settings: Settings, *, pool_size: int = 5, most: int | None = None) -> Database:
    """The database of these settings: the embedded one is started, a missing one is created, and it is migrated to the newest revision.

    With HEATERS_MIGRATE=false a schema that is not the newest is refused with a SettingsError.
    pool_size: connections that the process keeps. most: how many it opens at once; None: ten more, which it closes after each use.
    """
    database = unmigrated_database(settings, pool_size=pool_size, most=most)
    (migrate if settings.migrates else check_schema)(database)
    return database


def unmigrated_database(settings: Settings, *, pool_size: int = 5, most: int | None = None) -> Database:
    """The database of these settings with the schema that it has; the embedded one is started, a missing one is created."""
    private_home(settings)
    revive = None if settings.database_url else lambda: embedded_postgres.ensure_running(settings.postgres_folder)
    return Database.connect(database_url(settings), pool_size=pool_size, most=most, revive=revive, host=settings.host_name)


def database_url(settings: Settings) -> str:
    """Address of Heaters' database, for psycopg. Starts the embedded server when HEATERS_DATABASE_URL is not set."""
    if settings.database_url:
        return _with_driver(settings.database_url, "postgresql+psycopg").render_as_string(hide_password=False)
    return _embedded_database(settings, DATABASE_NAME).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def keep_running(settings: Settings) -> None:
    """Start the embedded Postgres again if it was killed; nothing when HEATERS_DATABASE_URL is set."""
    if not settings.database_url:
        embedded_postgres.ensure_running(settings.postgres_folder)


def dagster_database_url(settings: Settings) -> str:
    """Address for Dagster's own storage, in the same server as Heaters' tables but apart from them; it is created if missing.

    In the embedded server it is a database of its own; elsewhere a schema of its own, because hosted servers rarely allow a new database.
    The driver is psycopg2: with psycopg 3 dagster-postgres fails at its first event (`NOTIFY run_events, $1`).
    """
    if not settings.database_url:
        return _embedded_database(settings, DAGSTER_NAME).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    database = Database.connect(settings.database_url, pool_size=1)
    try:
        with database.begin() as connection:
            if connection.scalar(text("select to_regnamespace(:name)"), {"name": DAGSTER_NAME}) is None:
                connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": lock_key("schema", 0)})
                connection.execute(text(f"create schema if not exists {DAGSTER_NAME}"))
    finally:
        database.dispose()
    url = _with_driver(settings.database_url, "postgresql+psycopg2")
    return with_patience(in_schema(url, DAGSTER_NAME)).render_as_string(hide_password=False)


def application_name(worker: str) -> str:
    """What Postgres calls the sessions of a process; see `this_process.worker_name`."""
    return f"heaters {worker}"


def lock_key(stage: str, row_id: int) -> int:
    """The advisory lock of a stage of a row: 64 signed bits."""
    return int.from_bytes(sha256(f"{stage}:{row_id}".encode()).digest()[:8], "big", signed=True)


def _with_driver(url: str, driver: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername not in _DRIVERS:
        raise SettingsError("HEATERS_DATABASE_URL must look like postgresql://user:password@host:5432/name")
    if "@" in (parsed.host or ""):  # otherwise the text after the first @ would count as the host and appear in every message
        raise SettingsError("HEATERS_DATABASE_URL has more than one @: write an @ in the password as %40")
    return parsed.set(drivername=driver)


def _embedded_database(settings: Settings, name: str) -> URL:
    private_home(settings)
    base = embedded_postgres.ensure_running(settings.postgres_folder)
    known = (base, embedded_postgres.running_pid(settings.postgres_folder), name)
    if known not in _there:
        try:
            with psycopg.connect(base, autocommit=True) as connection:
                if connection.execute("select from pg_database where datname = %s", (name,)).fetchone() is None:
                    with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):  # another process has created it first
                        connection.execute(f'create database "{name}"'.encode())
        except psycopg.OperationalError as error:
            if NO_ROOM not in str(error):
                raise
            raise DiskFullError(f"the disk of the database is full: {str(error).strip().splitlines()[0]}") from error
        _there.add(known)
    return make_url(base).set(database=name)


#: Databases that this process has found, by address and process of their server. Dagster asks at each tick of a sensor.
_there: set[tuple[str, int | None, str]] = set()


def _connecting(revive: Callable[[], object] | None) -> Callable[..., object]:
    def do_connect(dialect: Any, record: object, arguments: list[Any], keywords: dict[str, Any]) -> object:
        keywords.setdefault("application_name", application_name(worker_name()))
        try:
            return dialect.connect(*arguments, **keywords)
        except psycopg.OperationalError:
            if revive is None:
                raise
            revive()
            return dialect.connect(*arguments, **keywords)

    return do_connect
