"""What came of something that a page asked for: always a sentence, errors too."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.source_lists import WebList
from review_app.service.review_desk import ReviewDesk


@dataclass(frozen=True, slots=True)
class Outcome:
    """ok: whether all of it was done. told: one or more sentences for the person who asked. refused: those about what was not done, where
    a part was. lists: of the web, which were found and wait for a decision.
    """

    ok: bool
    told: str
    refused: str = ""
    lists: tuple[WebList, ...] = ()


def outcome_of(desk: ReviewDesk, apply: Callable[[], str]) -> Outcome:
    """What came of `apply`, which returns the sentence for its success. The desk puts the numbers of clips into messages of errors."""
    try:
        return Outcome(True, apply())
    except HeatersError as error:
        return Outcome(False, desk.in_words(str(error)))
    except OSError as error:
        return Outcome(False, f"{os.strerror(error.errno) if error.errno else error}")
