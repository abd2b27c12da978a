"""Text that can be stored and shown: Postgres, the file system and a browser all accept it."""

from __future__ import annotations

from heaters_dagster.domain.errors import BadRequestError


def text_problem(text: str) -> str | None:
    """What in `text` cannot be stored ("a NUL character", ...), or None when all of it can.

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
    """Return `text`. Raises BadRequestError when it cannot be stored; `name` says in the message what the text is."""
    problem = text_problem(text)
    if problem is not None:
        raise BadRequestError(f"{name} contains {problem}, which cannot be stored: remove it")
    return text
