"""Text that can be stored and shown: what Postgres, the file system and a browser all take."""

from __future__ import annotations

from heaters_dagster.domain.errors import BadRequestError


def text_problem(text: str) -> str | None:
    """Why `text` cannot be text ("a NUL character", ...), or None when it can.

    Postgres takes no NUL in a text, and half of a surrogate pair is no character: it has no UTF-8.
    """
    if "\x00" in text:
        return "a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "half a character (a lone surrogate)"
    return None


def checked_text(text: str, name: str) -> str:
    """`text`. Raises BadRequestError, with `name` for what it is the text of, when it cannot be stored."""
    problem = text_problem(text)
    if problem is not None:
        raise BadRequestError(f"{name} holds {problem}, which a text cannot have: remove it")
    return text
