"""Keeps downloads on the public internet: it checks the addresses to which a name leads."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from heaters_dagster.domain.errors import ForbiddenSourceError
from heaters_dagster.domain.ingest import internal_reason

_REMEDY = "set HEATERS_ALLOW_PRIVATE_ADDRESSES=true to allow internal addresses"


class AddressGuard:
    """allow_private: allow every address, for tests and for networks where submitters are trusted."""

    def __init__(self, *, allow_private: bool = False) -> None:
        self.allow_private = allow_private

    def check_host(self, host: str) -> None:
        """Raise ForbiddenSourceError if `host` (name or number, in any notation the resolver takes) leads to any internal address.

        A name that cannot be resolved is allowed: the connection will fail, or a proxy can resolve it.
        """
        if self.allow_private:
            return
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        for *_, address in found:
            self.check_address(str(address[0]), host=host)

    def check_address(self, address: str, *, host: str) -> None:
        """Raise ForbiddenSourceError if the numeric `address`, which `host` leads to, is internal."""
        if self.allow_private:
            return
        reason = internal_reason(ip_address(address.partition("%")[0]))
        if reason:
            raise ForbiddenSourceError(f"{host} may not be fetched: it leads to {address}, {reason}; {_REMEDY}")
