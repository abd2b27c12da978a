"""Finds source videos by words: in their title and address by any part, in facts and transcripts by the beginning of a word."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, func, or_, select, true

from resources.postgres.conditions import containing
from resources.postgres.tables import source_videos

_video = source_videos.c


def have_words(words: str | Sequence[str]) -> ColumnElement[bool]:
    """Condition on source videos: each word is in the title, the address, the facts or a transcript. words: a text, or its words."""
    several = words.split() if isinstance(words, str) else words
    return and_(true(), *map(_have_word, several))


def _have_word(word: str) -> ColumnElement[bool]:
    pattern = containing(word)
    named = or_(_video.title.ilike(pattern), _video.source.ilike(pattern))
    if len(word) == 1 and word.isascii():  # nearly every text has a word that begins with it
        return named
    return or_(named, _video.id.in_(select(func.heaters_videos_with_word(word))))
