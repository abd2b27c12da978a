"""How connections to Postgres are opened, ours and Dagster's, so that a server that is gone is noticed and the next one found.

A server may go without a word: its machine loses power, or the network drops what is sent to it. Then nothing comes back, and without
these values TCP waits a quarter of an hour for an answer, and two hours while nobody asks. When a database fails over, its name leads to
another server, which is found when a connection is opened anew.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, Pool, event
from sqlalchemy.engine import URL

#: Seconds: to open a connection; and without traffic, until the server is asked whether it is there, three times, ten seconds apart.
#: Milliseconds that what was sent may stay without an answer of the other machine. Both together: within a minute.
#: The server must be one that can be written to: while a database fails over, its name may lead to a standby.
PATIENCE: dict[str, int | str] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "target_session_attrs": "read-write",
}


def patience(url: URL) -> dict[str, int | str]:
    """What is told to libpq beside this address. What the address says itself holds."""
    return {name: value for name, value in PATIENCE.items() if name not in url.query}


def with_patience(url: URL) -> URL:
    """The address with that in it, for programs that open connections of their own, as Dagster's web server does."""
    return url.update_query_dict({name: str(value) for name, value in patience(url).items()})


def in_schema(url: URL, schema: str) -> URL:
    """The address for connections that look for tables in this schema, whoever makes the engine for them."""
    given = url.query.get("options", "")
    options = " ".join([*([given] if isinstance(given, str) else given), f"{_SCHEMA_OPTION}{schema}"]).strip()
    return url.update_query_dict({"options": options})


_SCHEMA_OPTION = "-csearch_path="
_SCHEMA = "heaters schema"


@event.listens_for(Engine, "do_connect")
def _keep_the_schema_for_later(dialect: object, record: Any, arguments: object, keywords: dict[str, Any]) -> None:
    """PgBouncer refuses a connection that begins with `options`, in session mode too; so the schema is set once the connection is there."""
    options, found, schema = str(keywords.get("options", "")).rpartition(_SCHEMA_OPTION)
    if not found or record is None:
        return
    record.info[_SCHEMA] = schema
    if options.strip():
        keywords["options"] = options.strip()
    else:
        del keywords["options"]


@event.listens_for(Pool, "connect")
def _set_the_schema(connection: Any, record: Any) -> None:
    schema = record.info.pop(_SCHEMA, None)
    if schema is None:
        return
    by_itself, connection.autocommit = connection.autocommit, True
    with connection.cursor() as cursor:
        cursor.execute("select set_config('search_path', %s, false)", (schema,))
    connection.autocommit = by_itself
