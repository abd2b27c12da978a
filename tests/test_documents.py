"""Documents that are made from the program, or that name its parts, agree with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from heaters_dagster.command_reference import reference
from heaters_dagster.settings import PROJECT_ROOT

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


def test_no_file_of_the_program_has_more_than_500_lines() -> None:
    folders = ("assets", "heaters_dagster", "resources", "review_app")
    files = [path for folder in folders for kind in ("py", "js", "css") for path in (PROJECT_ROOT / folder).rglob(f"*.{kind}")]
    assert len(files) > 200
    assert [str(path.relative_to(PROJECT_ROOT)) for path in files if len(path.read_text().splitlines()) > 500] == []
