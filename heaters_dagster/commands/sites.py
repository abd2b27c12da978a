"""`heaters sites ...`: sign-ins, headers and proxies for web sites. No secret stands on a command line, which `ps` shows to everybody."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import AsJson, example, opened_database
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.site_access import MOST_COOKIES_BYTES, SitePart
from heaters_dagster.settings import load_settings

if TYPE_CHECKING:
    from resources.sources.site_access import SiteAccess

app = typer.Typer(
    no_args_is_help=True, help="Sign-ins, headers and proxies for web sites. They are stored encrypted and never shown again."
)

Site = Annotated[str, typer.Argument(metavar="SITE", help="Name of the site, as vimeo.com, or an address there. Its subdomains count too.")]
_FROM = "Without it, or with -: from standard input; in a terminal you are asked, and what you type is not shown."
_COLUMNS = (
    Column("site", "site"),
    Column("sign-in", "cookies"),
    Column("ends on", "ends_on"),
    Column("headers", "headers"),
    Column("proxy", "proxy"),
    Column("changed by", "changed_by"),
    Column("changed at", "changed_at"),
    Column("problem", "problem", wraps=True),
)


@app.command("list", epilog=example("sites list"))
def sites_list(as_json: AsJson = False) -> None:
    """List the sites for which something is stored. No secret is shown."""
    with _opened() as access:
        rows = [
            {
                "site": one.site,
                "cookies": one.parts.get(SitePart.COOKIES),
                "ends_on": one.ends_at.date().isoformat() if one.ends_at else None,
                "headers": one.parts.get(SitePart.HEADERS),
                "proxy": "yes" if SitePart.PROXY in one.parts else None,
                "changed_by": one.changed_by,
                "changed_at": one.changed_at,
                "problem": one.problem,
            }
            for one in access.listed()
        ]
    if as_json:
        terminal.show_json([{**row, "proxy": row["proxy"] is not None} for row in rows])
    elif rows:
        terminal.show_table("", _COLUMNS, rows)
    else:
        terminal.say("Nothing is stored for any site. heaters sites sign-in --help says how to sign in.")


@app.command("sign-in", epilog=example("sites sign-in vimeo.com cookies.txt"))
def sites_sign_in(
    site: Site, file: Annotated[str | None, typer.Argument(metavar="FILE", help=f"Cookies file in Netscape format. {_FROM}")] = None
) -> None:
    """Sign in to a site with a cookies file, which an extension of your browser saves once you have signed in there.

    Cookies of other sites in the file are left out. Everybody who may submit addresses then gets what this account may see.
    """
    text = _secret(file, "cookies file")
    with _opened() as access:
        terminal.say(access.sign_in(site, text, by=_who()))
    if file not in {None, "-"}:
        terminal.say(f"Heaters no longer needs {file}. Delete it: whoever reads it can use the account.")


@app.command("headers", epilog=example("sites headers example.org headers.txt"))
def sites_headers(
    site: Site, file: Annotated[str | None, typer.Argument(metavar="FILE", help=f"File with NAME: VALUE on each line. {_FROM}")] = None
) -> None:
    """Send headers to a site with every request, in place of those that were stored. Over https only."""
    text = _secret(file, "header, as NAME: VALUE")
    with _opened() as access:
        terminal.say(access.set_headers(site, text.splitlines(), by=_who()))


@app.command("proxy", epilog=example("sites proxy example.org proxy.txt"))
def sites_proxy(
    site: Site,
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help=f"File with the proxy's address, as http://user:password@host:3128. {_FROM}")
    ] = None,
) -> None:
    """Fetch from a site by a proxy. Internal addresses stay refused. A proxy looks names up itself, so its owner must be trusted."""
    text = _secret(file, "proxy's address")
    with _opened() as access:
        terminal.say(access.set_proxy(site, text, by=_who()))


@app.command("forget", epilog=example("sites forget vimeo.com --only headers"))
def sites_forget(
    site: Site,
    only: Annotated[SitePart | None, typer.Option("--only", help="Forget this part only. Without it: everything about the site.")] = None,
) -> None:
    """Delete what is stored for a site. To end the session itself, sign out there in the browser."""
    with _opened() as access:
        terminal.say(access.forget(site, only))


@contextmanager
def _opened() -> Iterator[SiteAccess]:
    from resources.sources.site_access import SiteAccess

    settings = load_settings()
    with opened_database(settings) as database:
        yield SiteAccess(database, settings)


def _who() -> str:
    return f"{load_settings().reviewer} (command line)"


def _secret(file: str | None, what: str) -> str:
    """The text of the file, of standard input, or what somebody types unseen."""
    if file is None or file == "-":
        if file is None and sys.stdin.isatty() and not what.startswith("cookies"):
            return getpass.getpass(f"The {what}: ")
        data = sys.stdin.buffer.read(MOST_COOKIES_BYTES + 1)
    else:
        with Path(file).expanduser().open("rb") as opened:
            data = opened.read(MOST_COOKIES_BYTES + 1)
    if len(data) > MOST_COOKIES_BYTES:
        raise BadRequestError("the text is larger than 1 MB: save only what belongs to this one site")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequestError(f"this is no {what}: it is not a text in UTF-8") from None
