"""`make update-ytdlp` and the sentences that name it: yt-dlp is renewed apart from the other dependencies."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from datetime import timedelta

import pytest

from heaters_dagster.settings import PROJECT_ROOT, Settings
from resources.postgres.database import Database
from resources.sources import site_checks, ytdlp_release
from resources.sources.ytdlp_release import OLD_DAYS, installed

spec = importlib.util.spec_from_file_location("update_ytdlp", PROJECT_ROOT / "deploy" / "update_ytdlp.py")
assert spec is not None
assert spec.loader is not None
update_ytdlp = importlib.util.module_from_spec(spec)
spec.loader.exec_module(update_ytdlp)

TEXT = (PROJECT_ROOT / "pyproject.toml").read_text()


def test_only_the_pins_of_yt_dlp_are_renewed():
    new = {"yt-dlp": "2027.1.2", "yt-dlp-ejs": "0.9.0", "deno": "3.0.0", "curl-cffi": "0.18.1"}
    project = tomllib.loads(update_ytdlp.with_pins(TEXT, new))["project"]
    before = tomllib.loads(TEXT)["project"]
    assert sorted(project["optional-dependencies"].pop("ytdlp")) == [
        "curl-cffi==0.18.1", "deno==3.0.0", "yt-dlp-ejs==0.9.0", "yt-dlp[default,deno,curl-cffi]==2027.1.2",
    ]  # fmt: skip
    before["optional-dependencies"].pop("ytdlp")
    assert project == before
    changed = [line for line in update_ytdlp.with_pins(TEXT, new).splitlines() if line not in TEXT.splitlines()]
    assert len(changed) == 4
    assert all("  # " in line for line in changed)  # the reasons stay
    with pytest.raises(ValueError, match="pins nosuch 0 times"):
        update_ytdlp.with_pins(TEXT, {"nosuch": "1"})


def test_every_other_dependency_has_its_pin_and_yt_dlp_its_own():
    project = tomllib.loads(TEXT)["project"]
    assert [one for one in project["dependencies"] if "==" not in one] == ["yt-dlp[default,deno,curl-cffi]"]
    assert "[dev,ytdlp]" in (PROJECT_ROOT / "Makefile").read_text()


def test_its_age_and_the_way_to_renew_it_are_told(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    made = installed().made
    young, old = (installed(made + timedelta(days=days)) for days in (OLD_DAYS, OLD_DAYS + 1))
    assert (young.is_old, old.is_old, old.age) == (False, True, f"yt-dlp of {made}, 61 days old")
    assert old.advice == "The yt-dlp here is 61 days old: to renew it, type make update-ytdlp"
    monkeypatch.setattr(ytdlp_release, "PROJECT_ROOT", settings.home)
    assert re.search(r"type \S+python\S* -m pip install --upgrade 'yt-dlp\[default,deno,curl-cffi\]'$", old.advice)
    monkeypatch.undo()

    monkeypatch.setattr(site_checks, "installed", lambda: young)
    assert site_checks.web_site_problems(database, settings) == []
    monkeypatch.setattr(site_checks, "installed", lambda: old)
    assert site_checks.web_site_problems(database, settings) == [
        f"Sites change, so downloads may fail, or come in poor quality. {old.advice}"
    ]
