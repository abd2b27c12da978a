"""How a bucket of Heaters should be set: who may read it from a browser, what is removed by itself, and what moves to a cheaper class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heaters_dagster.domain.keys import CHECKS_PREFIX, LOGS_PREFIX, PIECES_PREFIX, PREFIXES, UPLOADS_PREFIX

#: What the names of our rules begin with. Rules with other names belong to others, and stay as they are.
OURS = "heaters-"

#: Days after which an upload that was begun and not completed is removed. `ObjectStore.sweep` waits as long.
INCOMPLETE_DAYS = 7
#: Prefix -> days after which an object under it is removed: uploads that no machine has taken, pieces of proxies that nobody has joined,
#: and objects of tests that were killed.
TEMPORARY_DAYS = {f"{UPLOADS_PREFIX}/": 30, f"{PIECES_PREFIX}/": 30, f"{CHECKS_PREFIX}/": 1}

#: Classes whose objects can be read at once. Only gold masters may move to others, because a stage that needs them can wait.
READ_AT_ONCE = ("STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR")
COLD = ("GLACIER", "DEEP_ARCHIVE")
COLD_PREFIXES = ("gold_masters",)

BLOCKED = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}


@dataclass(frozen=True, slots=True)
class Transition:
    """Objects below `prefix` (without a slash) get `storage_class` when they are `days` old."""

    prefix: str
    storage_class: str
    days: int

    @classmethod
    def parsed(cls, text: str) -> Transition:
        """`PREFIX:CLASS:DAYS`. Raises ValueError with what can be written."""
        prefix, _, rest = text.partition(":")
        storage_class, _, days = rest.partition(":")
        known = sorted(one.rstrip("/") for one in PREFIXES)
        classes = (*READ_AT_ONCE, *COLD) if prefix in COLD_PREFIXES else READ_AT_ONCE
        if prefix not in known:
            raise ValueError(f"{text!r}: write PREFIX:CLASS:DAYS with one of the prefixes {', '.join(known)}")
        if storage_class not in classes:
            raise ValueError(f"{text!r}: {prefix} can move to {', '.join(classes)}")
        least = 30 if storage_class in {"STANDARD_IA", "ONEZONE_IA"} else 0
        if not days.isascii() or not days.isdigit() or not least <= int(days) <= 36_500:
            raise ValueError(f"{text!r}: write a whole number of days from {least} to 36,500")
        return cls(prefix, storage_class, int(days))


def lifecycle_rules(transitions: Iterable[Transition]) -> list[dict[str, Any]]:
    """One rule for each prefix of Heaters, in the form of S3's PutBucketLifecycleConfiguration; other prefixes have none."""
    rules = []
    moves = list(transitions)
    for prefix in (*PREFIXES, f"{LOGS_PREFIX}/", *TEMPORARY_DAYS):
        name = prefix.rstrip("/")
        rule: dict[str, Any] = {
            "ID": f"{OURS}{name}",
            "Filter": {"Prefix": prefix},
            "Status": "Enabled",
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": INCOMPLETE_DAYS},
        }
        if prefix in TEMPORARY_DAYS:
            rule["Expiration"] = {"Days": TEMPORARY_DAYS[prefix]}
        found = sorted((one for one in moves if one.prefix == name), key=lambda one: one.days)
        if found:
            rule["Transitions"] = [{"Days": one.days, "StorageClass": one.storage_class} for one in found]
        rules.append(rule)
    return rules


def merged_lifecycle(there: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]] | None:
    """The rules to write: those of others as they are, then ours. None when all of ours are there, and no old one of ours."""
    others = [rule for rule in there if not str(rule.get("ID", "")).startswith(OURS)]
    ours = {rule["ID"]: _plain(rule) for rule in there if str(rule.get("ID", "")).startswith(OURS)}
    return None if ours == {rule["ID"]: _plain(rule) for rule in wanted} else [*others, *wanted]


def _plain(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule without what servers add to it."""
    plain = {name: value for name, value in rule.items() if value and name not in {"Filter", "Prefix", "Transitions"}}
    moves = sorted(rule.get("Transitions", ()), key=lambda one: one["Days"])
    return plain | {"prefix": rule.get("Filter", {}).get("Prefix", rule.get("Prefix")), "moves": moves}


def cors_rules(*origins: str) -> list[dict[str, Any]]:
    """The rules that the player needs, in the form of S3's PutBucketCors (`CORSRules`)."""
    return [
        {
            "ID": f"{OURS}review-app",
            "AllowedOrigins": list(origins),
            "AllowedMethods": ["GET", "HEAD"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["Content-Range", "Content-Length", "ETag"],
            "MaxAgeSeconds": 3600,
        }
    ]


def merged_cors(there: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]] | None:
    """The rules to write: ours first, because the first that fits counts, then those of others. None when each page may read already."""
    if all(any(_allows(rule, origin, one) for rule in there) for one in wanted for origin in one["AllowedOrigins"]):
        return None
    return [*wanted, *(rule for rule in there if not str(rule.get("ID", "")).startswith(OURS))]


def _allows(rule: Mapping[str, Any], origin: str, wanted: Mapping[str, Any]) -> bool:
    return (
        bool({origin, "*"} & set(rule.get("AllowedOrigins", ())))
        and set(wanted["AllowedMethods"]) <= set(rule.get("AllowedMethods", ()))
        and "*" in rule.get("AllowedHeaders", ())
        and set(wanted["ExposeHeaders"]) <= set(rule.get("ExposeHeaders", ()))
    )
