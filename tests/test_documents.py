"""Documents that are made from the program, or that name its parts, agree with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from heaters_dagster.command_reference import reference
from heaters_dagster.commands import health
from heaters_dagster.domain.alerts import Cause
from heaters_dagster.domain.failure_kinds import FailureKind
from heaters_dagster.settings import PROJECT_ROOT, secret_setting_names, setting_names
from resources.upkeep.readiness import DATABASE, OBJECT_STORE
from tests.command_blocks import BOOK, blocks, book, commands_in_sentences, commands_of, problem_of

#: The CHANGELOG speaks of files of before.
DOCUMENTS = sorted(
    {*PROJECT_ROOT.glob("*.md"), *(PROJECT_ROOT / "docs").rglob("*.md"), *(PROJECT_ROOT / "review_app").rglob("*.md")}
    - {PROJECT_ROOT / "CHANGELOG.md"}
)


def test_the_command_reference_is_that_of_the_program() -> None:
    told = "run: .venv/bin/python -m heaters_dagster.command_reference > docs/commands.md"
    assert (PROJECT_ROOT / "docs/commands.md").read_text() == reference(), told


def test_the_command_reference_names_every_command_with_its_options() -> None:
    text = reference()
    assert "## heaters review approve" in text
    assert "heaters cutlist [OPTIONS] VIDEO" in text
    assert re.search(r"\| `--json` \| Print JSON", text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_files_that_documents_name_are_there(document: Path) -> None:
    text = document.read_text()
    folders = "assets|benchmarks|deploy|docs|heaters_dagster|resources|review_app|samples|sql|tests"
    named = set(re.findall(rf"`((?:{folders})/[\w./-]*\w\.(?:py|js|md|json|yaml|toml|css))`", text))
    if document.name in {"how-to-add.md", "extending.md"}:  # they speak of files that the reader makes
        named.clear()
    links = {link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link and not link.startswith("#")}
    lost = [name for name in named if not (PROJECT_ROOT / name).exists()] + [
        link for link in links if not (document.parent / link).exists()
    ]
    assert lost == []
    for link in re.findall(r"\]\(([^)\s]*\.md#[^)\s]+|#[^)\s]+)\)", text):
        page, _, heading = link.partition("#")
        if "://" not in link:
            there = (document.parent / page if page else document).read_text()
            headings = re.findall(r"^#+ (.*)$", there, re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}, link


def test_no_file_of_the_program_has_more_than_500_lines() -> None:
    folders = ("assets", "heaters_dagster", "resources", "review_app")
    files = [path for folder in folders for kind in ("py", "js", "css") for path in (PROJECT_ROOT / folder).rglob(f"*.{kind}")]
    assert len(files) > 200
    assert [str(path.relative_to(PROJECT_ROOT)) for path in files if len(path.read_text().splitlines()) > 500] == []


#: Names that begin like settings and are none: of the files of a deployment, and of the recipe for a new setting.
NO_SETTINGS = {
    "HEATERS_IMAGE", "HEATERS_NAMESPACE", "HEATERS_RUN_TASK_DEFINITION", "HEATERS_DATABASE_URL_ARN", "HEATERS_SECRET_KEY_ARN",
    "HEATERS_LOUDNESS_TARGET",
}  # fmt: skip


_SETTING = re.compile(r"\b(?:(?:HEATERS|CLOUDFRONT|PROXY|WEBCODECS)_[A-Z0-9_]*[A-Z0-9]|S3_[A-Z_]*BUCKET_NAME|GOLD_MASTER_[A-Z_]*[A-Z])\b")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_commands_and_settings_that_documents_name_are_there(document: Path) -> None:
    text = document.read_text()
    known = {*setting_names(), *(f"{name}_FILE" for name in secret_setting_names())} | NO_SETTINGS
    assert set(_SETTING.findall(text)) <= known
    typed = [words for block in blocks(document) if block.language == "sh" for words in commands_of(block.lines)]
    assert [problem for words in (*typed, *commands_in_sentences(document)) if (problem := problem_of(words))] == []


def test_settings_and_commands_of_the_deployment_files_are_there() -> None:
    known = {*setting_names(), *(f"{name}_FILE" for name in secret_setting_names())} | NO_SETTINGS
    files = [path for path in (PROJECT_ROOT / "deploy").rglob("*") if path.is_file() and path.suffix not in {".json", ".pyc"}]
    assert len(files) > 15
    for path in files:
        text = path.read_text()
        assert set(_SETTING.findall(text)) <= known, path
        assert [problem for told in commands_in_sentences(path) if (problem := problem_of(told))] == [], path


def test_the_book_leads_to_every_page_of_it() -> None:
    pages = book()
    assert len(pages) == len(set(pages))
    assert {page for page in pages if page.parent == BOOK} == set(BOOK.glob("*.md"))


@pytest.mark.parametrize("page", book(), ids=lambda path: path.name)
def test_each_block_of_the_book_is_run_or_says_why_not(page: Path) -> None:
    text = page.read_text()
    found = blocks(page)
    assert text.count("\n```") == 2 * len(found), "a fenced block begins at the beginning of a line"
    assert [block.place for block in found if not block.language] == [], "each says its language"
    assert text.count("<!-- not run: ") == sum(block.reason is not None for block in found), "it stands in the line above the block"
    for block in found:
        for named in re.findall(r"tests/\S+\.py(?:::\w+)?", block.reason or ""):
            file, _, test = named.partition("::")
            assert f"def {test or 'test_'}" in (PROJECT_ROOT / file).read_text(), block.place
        if block.language == "sh" and block.reason is None:
            outside = re.findall(r"(?<![\w}.~\"])/(?!mnt/|etc/heaters/|dev/)\w+", re.sub(r"\$\w+/", "", "\n".join(block.lines)))
            assert outside == [], f"{block.place}: the test that runs it would touch these places of the machine itself"
        if block.language == "sh":
            targets = [line.split()[1] for line in block.lines if line.startswith("make ")]
            assert all(re.search(rf"^{target}:", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE) for target in targets), block.place
            files = re.findall(r"\bdeploy/[\w./-]*\w", block.text)
            assert [name for name in files if not (PROJECT_ROOT / name).exists()] == [], block.place
            services = yaml.safe_load((PROJECT_ROOT / "deploy/docker/compose.yaml").read_text())["services"]
            named = re.findall(r"^docker compose (?:run --rm|.*--scale|restart|logs) (\w+)", "\n".join(block.lines), re.MULTILINE)
            assert set(named) <= services.keys(), block.place
            units = re.findall(r"\bheaters(?:-\w+)?(?:@\w*)?\.(?:service|target)\b", block.text)
            there = {unit.name for unit in (PROJECT_ROOT / "deploy" / "systemd").iterdir()}
            assert {re.sub(r"@\w+", "@", unit) for unit in units} <= there, block.place


def first_cells(page: Path, heading: str) -> list[str]:
    """What stands in `code` in the first column of the tables below a heading."""
    (below,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    return re.findall(r"^\| `([^`]+)` \|", below, re.MULTILINE)


TROUBLE = BOOK / "troubleshoot.md"


def test_every_alert_reason_check_and_part_can_be_looked_up() -> None:
    assert sorted(first_cells(TROUBLE, "Alerts")) == sorted(Cause)
    assert first_cells(TROUBLE, "Reasons of failures") == list(FailureKind)
    assert first_cells(TROUBLE, "`heaters health`") == list(health._PARTS)
    text = TROUBLE.read_text()
    assert f"`{DATABASE}`" in text
    assert f"`{OBJECT_STORE}`" in text
    commands = PROJECT_ROOT / "heaters_dagster" / "commands"
    checks = [name for path in commands.rglob("*.py") for name in re.findall(r'_finding\(\s*"([^"]+)"', path.read_text())]
    assert len(checks) > 15
    assert sorted(first_cells(TROUBLE, "`heaters doctor`")) == sorted(checks)
    told = re.findall(r'PartState\(\s*"([A-Z][^"]*)"', (PROJECT_ROOT / "resources/upkeep/condition.py").read_text())
    assert set(first_cells(TROUBLE, "The page Status")) == set(told)


def test_a_message_that_can_be_looked_up_is_one_of_the_program() -> None:
    folders = ("assets", "heaters_dagster", "resources", "review_app")
    files = [path for folder in folders for kind in ("py", "js") for path in (PROJECT_ROOT / folder).rglob(f"*.{kind}")]
    said = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in files))
    lines = re.findall(r"^\| ([^|]+) \|", TROUBLE.read_text(), re.MULTILINE)
    messages = [part.strip() for line in lines for quoted in re.findall(r'"([^"]+)"', line) for part in quoted.split("...") if part.strip()]
    assert len(messages) > 25
    assert [message for message in messages if message not in said] == []
