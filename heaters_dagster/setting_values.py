"""How settings are written: each function takes the text of a variable and gives its value, or says in a ValueError what to write."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from heaters_dagster.domain.bucket_rules import Transition
from heaters_dagster.domain.errors import BadRequestError, SettingsError
from heaters_dagster.domain.site_access import named_files
from heaters_dagster.registries import DETECTORS, Registry

T = TypeVar("T")


def flag(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise ValueError("write true or false")


def one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"write one of: {', '.join(allowed)}")
        return text

    return parse


def name_in(registry: Registry[Any]) -> Callable[[str], str]:
    """A name of the registry. Whether the entry of an installed package works is found out when it is used."""

    def parse(text: str) -> str:
        if text not in registry:
            raise ValueError(f"write one of: {', '.join(registry.names)}")
        return text

    return parse


def number(kind: type[T], low: float, high: float) -> Callable[[str], T]:
    def parse(text: str) -> T:
        with suppress(ValueError):
            value = kind(text)  # type: ignore[call-arg]
            if low <= float(value) <= high:  # type: ignore[arg-type]
                return value
        raise ValueError(f"write a {'whole ' if kind is int else ''}number from {low:g} to {high:.0f}")

    return parse


def check_threshold(detector: str, threshold: float | None) -> None:
    """Raises SettingsError for a threshold that this detector cannot have; one that cannot be used says so where it is used."""
    entry = None if threshold is None else DETECTORS.find(detector)
    if entry is not None and threshold is not None:
        try:
            entry.checked_threshold(threshold)
        except SettingsError as error:
            raise SettingsError(
                f"HEATERS_DETECTOR_THRESHOLD={threshold:g} cannot be used with HEATERS_DETECTOR={detector}: {error}"
            ) from None


def high_threshold(detector: str, threshold: float | None) -> str | None:
    """What is odd about a threshold that no score is above; None when it is lower."""
    entry = None if threshold is None else DETECTORS.find(detector)
    if entry is None or threshold is None or threshold < entry.most_threshold:
        return None
    default = f"(its default is {entry.default_threshold:g})"
    return f"HEATERS_DETECTOR_THRESHOLD={threshold:g} is the highest score that {detector} can give, so hardly anything is cut {default}"


def percentages(text: str) -> tuple[float, ...]:
    with suppress(ValueError):
        values = tuple(float(part) for part in text.split(","))
        if all(0 <= value <= 100 for value in values):
            return values
    raise ValueError("write percentages from 0 to 100 separated by commas, for example 25,50,75")


def names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def host_name(text: str) -> str:
    if len(text) > 200 or not all(part and part.replace("-", "").replace("_", "").isalnum() for part in text.split(".")):
        raise ValueError("write a name of letters, digits, '-', '_' and dots, as worker-3 or box.example.org")
    return text


def path(text: str) -> Path:
    """A full path. A relative one would be another place in each working folder: data would seem to be lost."""
    try:
        given = Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{error}; write the full path") from None
    if not given.is_absolute():
        raise ValueError(
            f"it is relative, so it would be another place in each working folder: write the full path, here {given.resolve()}"
        )
    return given.resolve()


def address(text: str) -> str:
    """A web address that people may see: it goes into pages and logs."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("write an address like http://host:9000")
    if "@" in parts.netloc:
        raise ValueError("write it without user and password, because it is shown to people")
    return text


def broker(text: str) -> str:
    """A Redis server; a secret, because it may hold a password."""
    parts = urlsplit(text)
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
        raise ValueError("write an address like redis://:password@host:6379/0")
    return text


def host_and_port(text: str) -> str:
    """`code:4000`, or `[::1]:4000`."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535 or "/" in host:
        raise ValueError("write host:port, for example code:4000")
    return text


def split_place(text: str) -> tuple[str, int]:
    """Host, without brackets, and port of what `host_and_port` has taken."""
    host, _, port = text.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def secret_address(text: str) -> str:
    """A web address that nobody may see, because its path is the key to it."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("write an address like https://host/path")
    return text


def mail_addresses(text: str) -> str:
    for one in text.split(","):
        name, at, host = one.strip().rpartition("@")
        if not at or not name or not host or not one.isprintable() or any(character in one.strip() for character in " <>\"'"):
            raise ValueError("write addresses like ada@example.org, separated by commas")
    return text


def smtp(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.query not in {"", "tls=no"} or parts.path not in {"", "/"}:
        raise ValueError("write an address like smtp://user:password@host:587, or smtps://host")
    return text


def secret_file(name: str, source: Mapping[str, str]) -> str:
    """The text of the file that the variable `name` of `source` names; empty when it names none. Raises SettingsError."""
    named = source.get(name, "").strip()
    if not named:
        return ""
    try:
        text = path(named).read_text().strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SettingsError(f"{name}={named} cannot be read: {reason}") from None
    except ValueError as error:
        raise SettingsError(f"{name}={named} cannot be used: {error}") from None
    if not text:
        raise SettingsError(f"{name}={named} is empty: write the secret into that file")
    return text


def token(text: str) -> str:
    if len(text) < 16 or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("write 16 or more letters, digits and signs without spaces")
    return text


def model(text: str) -> str:
    """The name of a model, unchanged; or the full path of a folder. What looks like a relative path, or is a folder here, is refused: it
    would be another place, or a name, in each working folder."""
    return str(path(text)) if text.startswith(("/", "~", "./", "../")) or text in {".", ".."} or Path(text).is_dir() else text


def submit_places(text: str) -> tuple[str, ...]:
    """Folders with their full paths, and `s3://bucket` or `s3://bucket/prefix`; or one of the words any and none."""
    places = names(text)
    if set(places) & {"any", "none"}:
        if len(places) > 1:
            raise ValueError("write any or none alone, without folders")
        return places
    for place in places:
        if not place.startswith(("/", "~", "s3://")) or place == "s3://":
            raise ValueError(f"{place!r} is neither the full path of a folder nor a place like s3://bucket/prefix")
    return tuple(place if place.startswith("s3://") else str(path(place)) for place in places)


def watched_places(text: str) -> tuple[str, ...]:
    """Folders with their full paths, and `s3://bucket/prefix/`, each with a slash at its end."""
    for place in names(text):
        if not place.startswith(("/", "~", "s3://")) or not place.removeprefix("s3://"):
            raise ValueError(f"{place!r} is neither the full path of a folder nor a place like s3://bucket/prefix")
    return tuple(dict.fromkeys(f"{place.rstrip('/')}/" if place.startswith("s3://") else str(path(place)) for place in names(text)))


def kms_key(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9:/_-]{1,2048}", text):
        raise ValueError("write the id, the ARN or the alias of a key, for example alias/heaters")
    return text


def transitions(text: str) -> tuple[str, ...]:
    for one in names(text):
        Transition.parsed(one)
    return names(text)


def tags(text: str) -> tuple[str, ...]:
    """`NAME=VALUE`, as S3 takes them: ten at most, of letters, digits, spaces and some signs."""
    found = names(text)
    for tag in found:
        name, is_split, value = tag.partition("=")
        if not is_split or not re.fullmatch(r"[\w .:/+@-]{1,128}", name) or not re.fullmatch(r"[\w .:/+@=-]{0,256}", value):
            raise ValueError(f"{tag!r} is no tag: write NAME=VALUE of letters, digits, spaces and the signs . : / + - _ @")
        if name.lower().startswith("aws:"):
            raise ValueError(f"{name!r} belongs to AWS: choose a name without aws:")
    if len(found) > 10 or len({tag.partition("=")[0] for tag in found}) < len(found):
        raise ValueError("write ten tags at most, each name once")
    return found


def backup_place(text: str) -> str:
    """A folder with its full path, `s3://bucket` or `s3://bucket/prefix`, or the word none."""
    if text == "none":
        return text
    if not text.startswith(("/", "~", "s3://")) or not text.removeprefix("s3://").strip("/"):
        raise ValueError(f"{text!r} is neither the full path of a folder, nor a place like s3://bucket/prefix, nor none")
    return text.rstrip("/") if text.startswith("s3://") else str(path(text))


def backups_kept(text: str) -> tuple[int, ...]:
    """How many backups of days, weeks and months are kept."""
    with suppress(ValueError):
        values = tuple(int(part) for part in text.split(","))
        if len(values) == 3 and all(0 <= value <= 1000 for value in values):
            return values
    raise ValueError("write how many of days, of weeks and of months are kept, for example 7,4,12")


def cookies_files(text: str) -> tuple[str, ...]:
    """`SITE=FILE`, each with the host name of the site and the full path of the file."""
    try:
        return tuple(f"{site}={path(file)}" for site, file in named_files(names(text)).items())
    except BadRequestError as error:
        raise ValueError(str(error)) from None


def written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def local_url(host: str, port: int) -> str:
    """Where a program on this machine reaches one that listens on `host`."""
    host = "127.0.0.1" if host in {"", "0.0.0.0", "::"} else host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def passwords_in(address: str) -> list[str]:
    """The passwords in the address of a database, both as written and decoded."""
    with suppress(ValueError):
        parts = urlsplit(address)
        within = [parts.password, *(value for name, value in parse_qsl(parts.query) if "password" in name)] if parts.scheme else []
        return [form for word in within if word for form in {word, unquote(word)}]
    return []
