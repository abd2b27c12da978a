"""Conditions that many queries share."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import BigInteger, ColumnElement, any_, literal
from sqlalchemy.dialects.postgresql import ARRAY


def among(column: ColumnElement[int], ids: Collection[int]) -> ColumnElement[bool]:
    """Whether a column is one of the ids, which are sent as one array however many they are."""
    return column == any_(literal(list(ids), ARRAY(BigInteger)))


def containing(words: str) -> str:
    """The LIKE pattern of texts that contain `words`, where % and _ mean themselves."""
    escaped = words.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"
