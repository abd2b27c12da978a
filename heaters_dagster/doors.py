"""What the doors of the review app and of the Dagster UI share: which names are this server's, and which requests come from other sites."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

_HOST_CHARACTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]")


def machine_names(more: Iterable[str] = ()) -> frozenset[str]:
    """The names under which this machine is asked, in lower case: localhost, its own name, and those told in the settings."""
    return frozenset({"localhost", socket.gethostname().lower(), *(name.lower() for name in more)})


def is_own_name(host: str, names: Iterable[str]) -> bool:
    """Whether a Host header names this server: an IP address, or one of `names` (lower case), with or without a port."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if not name or not set(host) <= _HOST_CHARACTERS:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.rstrip(".") in names
    return True


def is_from_another_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser posts this for another site's page: it says so in Sec-Fetch-Site, older ones in Origin; a script in neither."""
    site = headers.get("sec-fetch-site")
    return (site is not None and site != "same-origin") or has_another_origin(headers)


def has_another_origin(headers: Mapping[str, str]) -> bool:
    """The same by Origin alone: all that a WebSocket is sure to come with."""
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    except ValueError:
        return True
