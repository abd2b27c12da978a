"""Kinds of failures, for figures: a reason is a sentence with names in it, and a figure needs few kinds that stay the same.

The sentence in the row stays what people read; the kind only says how many failed for alike reasons.
"""

from __future__ import annotations

import re
from enum import StrEnum


class FailureKind(StrEnum):
    """In the order in which they are tried: the first whose words occur in the reason is its kind."""

    CANCELED = "canceled"
    MEMORY = "memory"
    KILLED = "killed"
    DISK = "disk"
    COLD_STORAGE = "cold_storage"
    STORE = "store"
    DATABASE = "database"
    SIGN_IN = "sign_in"
    MEDIA = "media"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    NETWORK = "network"
    MODEL = "model"
    FFMPEG = "ffmpeg"
    DEFECT = "defect"
    OTHER = "other"

    @property
    def words(self) -> str:
        return _IN_WORDS[self]


_IN_WORDS = {
    FailureKind.CANCELED: "canceled by a person",
    FailureKind.MEMORY: "too little memory",
    FailureKind.KILLED: "the process was ended",
    FailureKind.DISK: "the disk",
    FailureKind.COLD_STORAGE: "in cold storage",
    FailureKind.STORE: "the object store",
    FailureKind.DATABASE: "the database",
    FailureKind.SIGN_IN: "the site wants a sign-in",
    FailureKind.MEDIA: "the file",
    FailureKind.FORBIDDEN: "not allowed",
    FailureKind.NOT_FOUND: "not found",
    FailureKind.NETWORK: "the network",
    FailureKind.MODEL: "a model",
    FailureKind.FFMPEG: "ffmpeg",
    FailureKind.DEFECT: "a defect of Heaters: please report it",
    FailureKind.OTHER: "another reason",
}

_WORDS = {
    FailureKind.CANCELED: r"canceled in Dagster|canceled by",
    FailureKind.MEMORY: r"too little memory|memory runs out",
    FailureKind.KILLED: r"ended without a message|ended by (?:SIG\w+|a signal)|made nothing again and again",
    FailureKind.DISK: r"no room left|too little room|disk is full|room on the disk|the disk gave an error|too many files are open"
    r"|cannot be written to|check the disk",
    FailureKind.COLD_STORAGE: r"cold storage",
    FailureKind.STORE: r"\bs3://\S+: |the store (?:cannot|has|refuses)|there is no bucket|does not accept the credentials|access denied"
    r"|no usable credentials|is no longer in the store|has no object|^no object|object store",
    FailureKind.DATABASE: r"\bpostgres\b|database connections|the database",
    FailureKind.SIGN_IN: r"sign.?in|signed in|cookies|log ?in\b|account|private video|members|age.?restrict|not a bot",
    FailureKind.MEDIA: r"is no(?:t a)? video|is not an ordinary file|no video stream|video stream|no frame|frames?\b.*decode|is damaged"
    r"|cut off|not be read to the end|is empty|is a folder|pixels|playlist|lossless|list of several|live stream|convert the|is not a proxy"
    r"|changed while|being written|cannot hold",
    FailureKind.FORBIDDEN: r"may not be fetched|cannot be submitted from|permission denied|may not be read|does not lie in|through a link"
    r"|HTTP(?: Error)? 40[13]|forbidden|drm\b|protected downloads|encrypted|country|region",
    FailureKind.NOT_FOUND: r"there is no (?:file|object|such)|there is nothing at|answers (?:404|410)\b"
    r"|does not exist|no such file|HTTP(?: Error)? (?:404|410)|disappeared"
    r"|no longer has|not available|unavailable|removed|a file was missing",
    FailureKind.NETWORK: r"tim(?:ed|e)[ -]?out|connection|cannot be reached|does not answer|broke off|reset by|name resolution"
    r"|HTTP(?: Error)? (?:429|5\d\d)|asked for again|too slow|wants no requests|network|refused",
    FailureKind.MODEL: r"embedding model|shot detector|the weights",
    FailureKind.FFMPEG: r"ffmpeg",
    FailureKind.DEFECT: r"^(?:[^:\n]{1,200}: )?[A-Z]\w*(?:Error|Exception|Interrupt|Warning)\b",
}
_PATTERNS = tuple((kind, re.compile(words, re.IGNORECASE if kind is not FailureKind.DEFECT else 0)) for kind, words in _WORDS.items())


def kind_of_failure(reason: str) -> FailureKind:
    """The kind of a reason that was written to a row. `other` for reasons that none of the words fits."""
    return next((kind for kind, pattern in _PATTERNS if pattern.search(reason)), FailureKind.OTHER)
