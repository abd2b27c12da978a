"""Settings: typed, checked, and every one of them documented."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.settings import (
    PROJECT_ROOT,
    Settings,
    child_environment,
    environment_without_secrets,
    secret_setting_names,
    setting_names,
    settings_that_look_wrong,
)

_ELSEWHERE = "so it would be another place in each working folder: write the full path"


@pytest.mark.parametrize("name", sorted(setting_names()))
def test_every_setting_is_documented(name: str) -> None:
    assert f"| `{name}` |" in (PROJECT_ROOT / "docs" / "settings.md").read_text()


def test_nothing_is_documented_that_is_no_setting() -> None:
    documented = {line.split("`")[1] for line in (PROJECT_ROOT / "docs" / "settings.md").read_text().splitlines() if line.startswith("| `")}
    assert documented == set(setting_names())


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"APP_ENV": "staging"}, "APP_ENV='staging' cannot be used: write one of: development, production"),
        ({"HEATERS_SITES_FROM_BROWSER": "perhaps"}, "HEATERS_SITES_FROM_BROWSER='perhaps' cannot be used: write true or false"),
        ({"HEATERS_MIN_CLIP_FRAMES": "0"}, "HEATERS_MIN_CLIP_FRAMES='0' cannot be used: write a whole number from 1 to 100000"),
        ({"HEATERS_MIN_CLIP_FRAMES": "many"}, "HEATERS_MIN_CLIP_FRAMES='many' cannot be used: write a whole number from 1 to 100000"),
        ({"HEATERS_DETECTOR_THRESHOLD": "nan"}, "write a number from 0 to 255"),
        ({"HEATERS_DETECTOR_THRESHOLD": "high"}, "write a number from 0 to 255"),
        ({"HEATERS_DETECTOR_THRESHOLD": "5"}, "HEATERS_DETECTOR=learned: threshold 5 of learned: write a number above 0 and at most 1"),
        ({"HEATERS_DETECTOR_THRESHOLD": "2.5", "HEATERS_DETECTOR": "histogram"}, "above 0 and at most 2"),
        ({"HEATERS_HOME": "~no-such-user/heaters"}, "HEATERS_HOME='~no-such-user/heaters' cannot be used"),
        ({"HEATERS_HOME": "data"}, f"HEATERS_HOME='data' cannot be used: it is relative, {_ELSEWHERE}, here {Path('data').resolve()}"),
        ({"HEATERS_HOME": "../data"}, f"{_ELSEWHERE}, here {Path.cwd().parent / 'data'}"),
        ({"HEATERS_NETWORKS": "networks"}, f"HEATERS_NETWORKS='networks' cannot be used: it is relative, {_ELSEWHERE}"),
        ({"HEATERS_YTDLP_PLUGINS": "./plugins"}, f"HEATERS_YTDLP_PLUGINS='./plugins' cannot be used: it is relative, {_ELSEWHERE}"),
        ({"HEATERS_CODE_SERVER": "code"}, "HEATERS_CODE_SERVER='code' cannot be used: write host:port, for example code:4000"),
        ({"HEATERS_CODE_SERVER": "http://code:4000"}, "write host:port"),
        ({"HEATERS_MIGRATE": "later"}, "write true or false"),
        ({"HEATERS_TRIM_TRANSITIONS": "dissolves"}, "write true or false"),
        ({"WEBCODECS_ENABLED": "perhaps"}, "write true or false"),
        ({"HEATERS_KEYFRAME_PERCENTAGES": "10,200"}, "percentages from 0 to 100"),
        ({"HEATERS_KEYFRAME_PERCENTAGES": ","}, "percentages from 0 to 100"),
        ({"GOLD_MASTER_STORAGE_CLASS": "FREEZER"}, "GLACIER"),
        ({"HEATERS_KEEP_FREE_MB": "-1"}, "HEATERS_KEEP_FREE_MB='-1' cannot be used: write a whole number from 0 to 100000000"),
        ({"HEATERS_WATCH": "/in,incoming"}, "'incoming' is neither the full path of a folder nor a place like s3://bucket/prefix"),
        ({"HEATERS_COOKIES_FILES": "vimeo.com=a.txt"}, "'vimeo.com=a.txt' is not a site and the full path of its file"),
        ({"HEATERS_COOKIES_FILES": "nowhere=/a.txt"}, "'nowhere' is not the name of a site"),
        ({"HEATERS_WATCH_SECONDS": "0"}, "write a whole number from 1 to 86400"),
        ({"HEATERS_WATCH_THEN": "delete"}, "HEATERS_WATCH_THEN='delete' cannot be used: write one of: leave, move"),
        ({"HEATERS_LOG_FORMAT": "xml"}, "HEATERS_LOG_FORMAT='xml' cannot be used: write one of: text, json"),
        ({"HEATERS_METRICS_ADDRESS": "9464"}, "HEATERS_METRICS_ADDRESS='9464' cannot be used: write host:port"),
        ({"HEATERS_METRICS_TOKEN": "short"}, "HEATERS_METRICS_TOKEN cannot be used: write 16 or more letters"),
        ({"HEATERS_ALERT_SLACK": "hooks.slack.com/a"}, "HEATERS_ALERT_SLACK cannot be used: write an address like https://host/path"),
        ({"HEATERS_ALERT_MAIL": "ada@example.org, ben"}, "HEATERS_ALERT_MAIL cannot be used: write addresses like ada@example.org"),
        ({"HEATERS_ALERT_MAIL": "a@b\nBcc: c@d"}, "HEATERS_ALERT_MAIL cannot be used"),
        ({"HEATERS_SMTP_URL": "http://mail"}, "HEATERS_SMTP_URL cannot be used: write an address like smtp://"),
        ({"HEATERS_ALERT_NO_PROGRESS_MINUTES": "-1"}, "write a number from 0 to 100000"),
        ({"HEATERS_ALERT_DAGSTER_GB": "0"}, "write a number from 0.001 to 100000"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_what_it_may_be(environment: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(environment)
    assert told in str(refused.value)


def test_a_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    secret, empty = tmp_path / "key", tmp_path / "empty"
    secret.write_text("a-secret-of-a-file\n")
    empty.write_text(" \n")
    read = Settings.from_environment({"HEATERS_SECRET_KEY_FILE": str(secret)})
    assert read.secret_key == "a-secret-of-a-file"
    assert read.to_environment()["HEATERS_SECRET_KEY"] == "a-secret-of-a-file", "children get it"
    assert Settings.from_environment({"HEATERS_SECRET_KEY_FILE": str(secret), "HEATERS_SECRET_KEY": "given"}).secret_key == "given"
    for path, told in ((empty, "is empty: write the secret into that file"), (tmp_path / "gone", "cannot be read: No such file")):
        with pytest.raises(SettingsError, match=f"HEATERS_SECRET_KEY_FILE={path} {told}"):
            Settings.from_environment({"HEATERS_SECRET_KEY_FILE": str(path)})
    with pytest.raises(SettingsError, match=f"HEATERS_SECRET_KEY_FILE=key cannot be used: it is relative, {_ELSEWHERE}"):
        Settings.from_environment({"HEATERS_SECRET_KEY_FILE": "key"})
    assert Settings.from_environment({"HEATERS_REVIEWER_FILE": str(empty)}).reviewer != "", "only secrets are read from files"


@pytest.mark.parametrize(
    ("detector", "threshold", "default"), [("transnetv2", "1", "0.35"), ("learned", "1.0", "0.5"), ("adaptive", "255", "3")]
)
def test_a_threshold_that_hardly_any_score_reaches_is_told_by_the_doctor(detector: str, threshold: str, default: str) -> None:
    given = {"HEATERS_DETECTOR": detector, "HEATERS_DETECTOR_THRESHOLD": threshold}
    assert settings_that_look_wrong(given) == [
        f"HEATERS_DETECTOR_THRESHOLD={float(threshold):g} is the highest score that {detector} can give, so hardly anything is cut (its "
        f"default is {default})"
    ]
    assert settings_that_look_wrong({**given, "HEATERS_DETECTOR_THRESHOLD": "0.99"}) == []


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.from_environment({"HEATERS_DATABASE_URL": "", "APP_ENV": " "}) == Settings.from_environment({})


@pytest.mark.parametrize(
    ("environment", "bucket"),
    [
        ({}, None),
        ({"S3_BUCKET_NAME": "any"}, "any"),
        ({"S3_BUCKET_NAME": "any", "S3_DEV_BUCKET_NAME": "dev", "S3_PROD_BUCKET_NAME": "prod"}, "dev"),
        ({"S3_BUCKET_NAME": "any", "S3_DEV_BUCKET_NAME": "dev", "S3_PROD_BUCKET_NAME": "prod", "APP_ENV": "production"}, "prod"),
        ({"S3_BUCKET_NAME": "any", "S3_DEV_BUCKET_NAME": "dev", "APP_ENV": "production"}, "any"),
    ],
)
def test_the_bucket_follows_the_environment(environment: dict[str, str], bucket: str | None) -> None:
    assert Settings.from_environment(environment).object_bucket == bucket


def test_cdn_domain_follows_the_environment() -> None:
    both = {"CLOUDFRONT_DEV_DOMAIN": "dev.example", "CLOUDFRONT_PROD_DOMAIN": "prod.example"}
    assert Settings.from_environment(both).cdn_domain == "dev.example"
    assert Settings.from_environment(both | {"APP_ENV": "production"}).cdn_domain == "prod.example"
    assert Settings.from_environment(both | {"PROXY_CDN_DOMAIN": "cdn.example"}).cdn_domain == "cdn.example"


@pytest.mark.parametrize(
    ("host", "reached_at"),
    [
        ("127.0.0.1", "http://127.0.0.1:8600"),
        ("0.0.0.0", "http://127.0.0.1:8600"),
        ("::", "http://127.0.0.1:8600"),
        ("box", "http://box:8600"),
    ],
)
def test_the_address_of_the_review_app_is_one_that_a_browser_can_open(host: str, reached_at: str) -> None:
    assert Settings(review_host=host, review_port=8600).review_url == reached_at


def test_a_user_without_a_name_is_the_reviewer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 61_234)
    assert Settings.from_environment({}).reviewer == "reviewer"


def test_children_never_look_for_modules_in_the_folder_they_are_started_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "random.py").write_text("print('the wrong one')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", str(tmp_path / "elsewhere"), "also/here"]))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "wanted.py").touch()
    grandchild = "import random, subprocess, sys, wanted; subprocess.run([sys.executable, '-c', 'import random, wanted'], check=True)"
    for command in (["-c", grandchild], ["-m", "random"]):
        environment = child_environment(Settings(home=tmp_path))
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        assert "the wrong one" not in done.stdout
    monkeypatch.setenv("PYTHONPATH", ":")
    assert "PYTHONPATH" not in child_environment(Settings(home=tmp_path))


def test_a_model_is_a_name_or_the_full_path_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for text, meant in ((str(folder), str(folder)), ("~/my-model", str(folder)), ("org/model", "org/model"), ("/no/model", "/no/model")):
        assert Settings.from_environment({"HEATERS_EMBEDDING_MODEL": text}).embedding_model == meant
    for text in ("my-model", "./my-model", "../models/mine", "."):
        with pytest.raises(SettingsError, match=f"HEATERS_EMBEDDING_MODEL='{text}' cannot be used: it is relative, {_ELSEWHERE}"):
            Settings.from_environment({"HEATERS_EMBEDDING_MODEL": text})


def test_the_secret_is_not_printed() -> None:
    assert "hush" not in repr(Settings.from_environment({"HEATERS_SECRET_KEY": "hush"}))


def test_the_addresses_that_are_shown_hold_no_password() -> None:
    for name in ("HEATERS_S3_ENDPOINT_URL", "HEATERS_DAGSTER_URL"):
        with pytest.raises(SettingsError, match="without user and password") as refused:
            Settings.from_environment({name: "https://ada:hush@host:9000"})
        assert "hush" not in str(refused.value)
        with pytest.raises(SettingsError, match="write an address like"):
            Settings.from_environment({name: "host:9000"})


def test_no_text_that_is_shown_holds_a_secret() -> None:
    settings = Settings.from_environment(
        {"HEATERS_SECRET_KEY": "key-of-links", "HEATERS_DATABASE_URL": "postgresql://ada:p%40ss-of-ada@b/c?sslpassword=key-file-pass"}
    )
    text = "key-of-links p@ss-of-ada p%40ss-of-ada key-file-pass postgresql://ada:p%40ss-of-ada@b/c?sslpassword=key-file-pass ada"
    assert settings.without_secrets(text) == "*** *** *** *** *** ada"


def test_a_program_that_works_on_files_of_strangers_gets_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*secret_setting_names(), "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hush")
    assert "hush" not in environment_without_secrets().values()
    assert environment_without_secrets()["PATH"] == os.environ["PATH"]


def test_what_differs_from_its_default_is_told_but_no_secret() -> None:
    changed = Settings.from_environment(
        {"HEATERS_DETECTOR": "adaptive", "HEATERS_SECRET_KEY": "hush", "HEATERS_DATABASE_URL": "postgresql://a:hush@b/c", "APP_ENV": ""}
    ).changed()
    assert changed == {"HEATERS_DATABASE_URL": "(set)", "HEATERS_DETECTOR": "adaptive", "HEATERS_SECRET_KEY": "(set)"}
    assert Settings.from_environment({}).changed() == {}


def test_a_misspelt_setting_and_a_key_that_can_be_guessed_look_wrong() -> None:
    told = settings_that_look_wrong({"HEATERS_S3_KMS_KY": "alias/heaters", "HEATERS_NAMESPACE": "heaters", "HEATERS_SECRET_KEY": "hush"})
    assert told == [
        "HEATERS_S3_KMS_KY is no setting, so nobody reads it: is HEATERS_S3_KMS_KEY meant?",
        "HEATERS_SECRET_KEY has 4 of at least 16 characters: who guesses it signs in as anybody",
    ]
    assert settings_that_look_wrong(dict.fromkeys(setting_names(), "") | {"HEATERS_ALERT_SLACK_FILE": ""}) == []
    # What the files in deploy/ name beside settings.
    for name in ("HEATERS_IMAGE", "HEATERS_RUN_TASK_DEFINITION", "HEATERS_DATABASE_URL_ARN"):
        assert settings_that_look_wrong({name: "x"}) == []


@pytest.mark.parametrize("name", ["GLACIER", "DEEP_ARCHIVE"])
def test_a_proxy_may_not_lie_where_it_cannot_be_read(name: str) -> None:
    assert Settings.from_environment({"GOLD_MASTER_STORAGE_CLASS": name}).gold_master_storage_class == name
    with pytest.raises(SettingsError, match=f"PROXY_STORAGE_CLASS='{name}' cannot be used"):
        Settings.from_environment({"PROXY_STORAGE_CLASS": name})


def test_settings_survive_the_way_through_an_environment(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, keyframe_percentages=(10.0, 90.0), webcodecs_enabled=False, detector_threshold=0.4)
    assert Settings.from_environment(settings.to_environment()) == settings


@pytest.mark.parametrize(
    ("environment", "places"),
    [
        ({}, None),
        ({"HEATERS_REVIEW_HOST": "localhost"}, None),
        ({"HEATERS_REVIEW_HOST": "::1"}, None),
        ({"HEATERS_REVIEW_HOST": "0.0.0.0"}, ()),
        ({"HEATERS_REVIEW_HOST": "box"}, ()),
        ({"HEATERS_REVIEW_NAMES": "review.example.org"}, ()),
        ({"HEATERS_REVIEW_URL": "https://review.example.org"}, ()),
        ({"HEATERS_REVIEW_URL": "http://localhost:8501"}, None),
        ({"HEATERS_SUBMIT_FOLDERS": "none"}, ()),
        ({"HEATERS_SUBMIT_FOLDERS": "any", "HEATERS_REVIEW_HOST": "0.0.0.0"}, None),
        ({"HEATERS_SUBMIT_FOLDERS": "/videos, s3://footage/in/", "HEATERS_REVIEW_HOST": "0.0.0.0"}, ("/videos", "s3://footage/in/")),
    ],
)
def test_the_browser_submits_from_anywhere_only_while_the_app_is_for_this_machine(
    environment: dict[str, str], places: tuple[str, ...] | None
) -> None:
    settings = Settings.from_environment(environment)
    assert settings.browser_sources == places
    assert Settings.from_environment(settings.to_environment()) == settings


@pytest.mark.parametrize("text", ["any,/videos", "videos", "http://a/b", "s3://"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="HEATERS_SUBMIT_FOLDERS"):
        Settings.from_environment({"HEATERS_SUBMIT_FOLDERS": text})
