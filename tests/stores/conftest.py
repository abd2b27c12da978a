"""For tests of the stores."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.engine import make_url

from resources.postgres.database import Database


@pytest.fixture
def empty(postgres_url: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database without a schema."""
    name = f"empty_{abs(hash(request.node.nodeid))}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
        database = Database.connect(make_url(postgres_url).set(database=name).render_as_string(hide_password=False))
        yield database
        database.dispose()
        connection.execute(f"drop database {name} with (force)".encode())
