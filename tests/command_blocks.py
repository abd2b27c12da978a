"""The commands that documents tell people to type: fenced blocks of the language `sh`, and what stands in `code` within a sentence.

A block that no test runs says why in the line above it: `<!-- not run: it needs Docker -->`, or names the test that does the same.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import typer

from heaters_dagster import cli
from heaters_dagster.settings import PROJECT_ROOT

BOOK = PROJECT_ROOT / "docs" / "operate"
_FENCED = re.compile(r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?P<language>\S*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_IN_A_SENTENCE = re.compile(r"`(heaters [^`]+)`")
_SHELL = frozenset("|&;<>$(){}*")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. reason: why no test runs it, None when one does. line: number of its first line in the document."""

    document: Path
    line: int
    language: str
    reason: str | None
    text: str

    @property
    def place(self) -> str:
        return f"{self.document.relative_to(PROJECT_ROOT)}:{self.line}"

    @property
    def lines(self) -> list[str]:
        """Its commands: without comments, and those that go over several lines as one."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        bare = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
        return [line for line in bare if line]


def blocks(document: Path) -> list[Block]:
    text = document.read_text()
    return [
        Block(document, text.count("\n", 0, found.start("text")) + 1, found["language"], found["reason"], found["text"])
        for found in _FENCED.finditer(text)
    ]


def book() -> list[Path]:
    """The README and the pages of the book, in the order in which its first page tells people to read them."""
    first = BOOK / "README.md"
    named = re.findall(r"^\d+\. \[[^\]]+\]\(([^)#]+\.md)\)", first.read_text(), re.MULTILINE)
    return [PROJECT_ROOT / "README.md", first, *((BOOK / name).resolve() for name in named)]


def is_plain(line: str) -> bool:
    """Whether a command needs no shell."""
    return not _SHELL & set(line)


def commands_of(lines: Sequence[str]) -> Iterator[list[str]]:
    """The calls of `heaters` in lines of a shell, as words after the name."""
    for line in lines:
        words = shlex.split(line)
        for place, word in enumerate(words):
            if Path(word).name == "heaters" and (place == 0 or "=" in words[place - 1] or words[place - 1] in {"run", "&&", "exec", "|"}):
                ends = [end for end in range(place + 1, len(words)) if words[end] in {"|", "&&", ">", ";", "<"}]
                yield words[place + 1 : ends[0] if ends else None]


def commands_in_sentences(document: Path) -> list[list[str]]:
    return [told.split()[1:] for told in _IN_A_SENTENCE.findall(document.read_text())]


@cache
def _root() -> click.Command:
    return typer.main.get_command(cli.app)


def problem_of(words: Sequence[str]) -> str | None:
    """What is wrong with a call of `heaters`: a command or an option that the program does not have. Values are not looked at."""
    command, left = _root(), list(words)
    while (inner := getattr(command, "commands", None)) and left and re.match("[a-z]", left[0]):  # PART and `...` stand for any
        name = left.pop(0)
        if name not in inner:
            return f"there is no command {name}"
        command = inner[name]
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help", "-h", "--version"}
    unknown = [word for word in left if re.match(r"--?[a-z]", word) and word.split("=")[0].rstrip(",.") not in known]
    return f"{' '.join(words)}: there is no option {', '.join(unknown)}" if unknown else None
