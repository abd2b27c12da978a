"""Shared by the doors of the review app and the Dagster UI: which names belong to this server, and which requests come from other sites."""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

_HOST = re.compile(r"(?:(?P<name>[A-Za-z0-9._-]{1,253})|\[(?P<address>[0-9A-Fa-f:.]{2,45})\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_MAX_PORT = 65_535


def machine_names(more: Iterable[str] = ()) -> frozenset[str]:
    """The names of this machine, in lower case: localhost, its own name, and those in the settings."""
    return frozenset({"localhost", socket.gethostname().lower(), *(name.lower() for name in more)})


def own_names(told: Iterable[str], address: str | None) -> frozenset[str]:
    """Those of this machine, those told in the settings, and that of the `address` under which people are told to come."""
    host = host_of_address(address)
    return machine_names([*told, *([host] if host else [])])


def host_of_address(address: str | None) -> str | None:
    """The host of a web address, as a browser writes it into its requests; None without one."""
    host = (urlsplit(address or "").hostname or "").rstrip(".")
    return (host if host.isascii() else host.encode("idna").decode()) or None


def name_of_host(host: str) -> str | None:
    """The name or address in a Host header, lower case, without port and brackets; None when the header is malformed.

    Strict, because `urlsplit` is not: it takes `[::1]evil` for ::1, and accepts a port of 99999 until the port is read.
    """
    found = _HOST.fullmatch(host)
    if found is None or not 0 < int(found["port"] or 80) <= _MAX_PORT:
        return None
    if found["name"]:
        return found["name"].lower()
    try:
        return str(ipaddress.IPv6Address(found["address"]))
    except ValueError:
        return None


def is_own_name(host: str, names: Iterable[str]) -> bool:
    """Whether a Host header names this server: an IP address, or one of `names` (lower case), with or without a port."""
    name = name_of_host(host)
    if name is None:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.rstrip(".") in names
    return True


def refusal_of_host(hosts: Sequence[str], names: Iterable[str], *, setting: str) -> tuple[int, str] | None:
    """Status and message for a request without exactly one Host header that names this server; None when it has one.

    setting: the environment variable to which a missing name can be added.
    """
    if len(hosts) != 1 or name_of_host(hosts[0]) is None:
        return 400, "Bad request: the Host header must be one name or address, with a port up to 65535.\n"
    if not is_own_name(hosts[0], names):
        return 421, f"This server does not answer under the name {hosts[0][:200]!r}. To allow the name, add it to {setting}.\n"
    return None


def refusal_of_metrics(headers: Mapping[str, str], token: str | None, *, is_private: bool) -> tuple[int, str] | None:
    """Status and message for who may not read the figures; None for who may.

    token: HEATERS_METRICS_TOKEN. is_private: only this machine reaches the server, so that it needs no token.
    """
    if token is None:
        told = "Set HEATERS_METRICS_TOKEN and send it, because other machines reach this server: Authorization: Bearer TOKEN\n"
        return None if is_private else (403, told)
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
        return None
    return 401, "Send the token of HEATERS_METRICS_TOKEN: Authorization: Bearer TOKEN\n"


def is_from_another_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser posts this for a page of another site: see Sec-Fetch-Site, or Origin in older browsers. Scripts send neither."""
    site = headers.get("sec-fetch-site")
    return (site is not None and site != "same-origin") or has_another_origin(headers)


def has_another_origin(headers: Mapping[str, str]) -> bool:
    """The same by Origin alone, the only one of the two that every browser sends with a WebSocket."""
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    except ValueError:
        return True
