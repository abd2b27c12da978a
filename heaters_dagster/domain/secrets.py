"""Removes what gives access from what people read: messages, logs, the records that Dagster keeps.

An address may hold a user with a password, or a signed link's key in its query. A person who may read that a download failed is not
always allowed to download it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

HIDDEN = "***"

#: A value ends at a quote or a backslash: the text may be JSON, also JSON within JSON.
#: The words "user:password" and "password" themselves are no secrets: messages use them to show how an address is written.
_WEB_USER = re.compile(
    r"\b((?:https?|ftps?|wss?)://)(?!user:password@[^\s/?#\"'\\<>@]*(?![^\s/?#\"'\\<>]))[^\s/?#\"'\\<>]*@", re.IGNORECASE
)
_OTHER_PASSWORD = re.compile(r"\b([a-z][a-z0-9+.-]{0,30}://[^\s/?#\"'\\<>:@]*:)(?!password@)[^\s/?#\"'\\<>]*@", re.IGNORECASE)
#: A name and its value in the query or after the #; punctuation at the end of the value belongs to the sentence around it.
_PAIR = re.compile(r"(?<=[?&#;])([\w.\-\[\]%]{1,64})=([^\s&;#\"'\\<>]*[^\s&;#\"'\\<>:,.!)\]])")
_KEYLIKE = re.compile(
    r"tok(en)?|sig(n(ature|ed)?)?|hmac|key|secret|pass(w(or)?d|phrase)?|pwd|auth|cred|session|jwt|bearer|access|ticket|hash|code|policy",
    re.IGNORECASE,
)
_LONGEST_PLAIN_VALUE = 19


def without_access(text: str) -> str:
    """`text` with *** in place of users and passwords of its addresses, and of values in their queries that look like keys.

    A value looks like a key when its name says so, or when it has 20 characters or more: links are signed under many names.
    """
    if "://" not in text and "=" not in text:
        return text
    text = _WEB_USER.sub(rf"\1{HIDDEN}@", text)
    text = _OTHER_PASSWORD.sub(rf"\1{HIDDEN}@", text)
    return _PAIR.sub(_pair, text)


def access_in(text: str) -> list[str]:
    """What `without_access` would remove from `text`."""
    users = [found.group()[len(found[1]) : -1] for pattern in (_WEB_USER, _OTHER_PASSWORD) for found in pattern.finditer(text)]
    values = [found[2] for found in _PAIR.finditer(text) if _gives_access(*found.groups())]
    return [part for part in (*users, *values) if part and part != HIDDEN]


def _gives_access(name: str, value: str) -> bool:
    return _KEYLIKE.search(name) is not None or len(value) > _LONGEST_PLAIN_VALUE


def _pair(found: re.Match[str]) -> str:
    name, value = found.groups()
    return f"{name}={HIDDEN}" if _gives_access(name, value) else found.group()


def safe_to_show(error: BaseException) -> BaseException | None:
    """`error`, with the messages that give access rewritten, also those of its causes. None when one cannot be rewritten.

    Dagster keeps the whole chain of a step's error, with the messages of every library in between.
    """
    return rewritten(error, without_access)


def rewritten(error: BaseException, hide: Callable[[str], str]) -> BaseException | None:
    """As `safe_to_show`, with what `hide` makes of each message."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        if hide(str(one)) != str(one):
            one.args = tuple(hide(part) if isinstance(part, str) else part for part in one.args)
        if hide(str(one)) != str(one):
            return None
        one = one.__cause__ or one.__context__
    return error
