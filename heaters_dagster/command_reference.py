"""`python -m heaters_dagster.command_reference` makes docs/commands.md from the commands. A test compares the two.

Typer contains its own click, whose classes are not part of its interface, so only attributes of commands and parameters are read.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer.main

from heaters_dagster.cli import app
from heaters_dagster.registries import REGISTRIES

_HEAD = """# Commands

Made by `python -m heaters_dagster.command_reference > docs/commands.md`; a test compares it with the program. Every command has `--help`.
Exit codes: 0 done, 1 work failed, 2 wrong usage. What `--json` prints is described in [json.md](json.md).
"""


def reference() -> str:
    """The whole page as Markdown."""
    root = typer.main.get_command(app)
    commands = list(_commands(root, "heaters"))
    index = [f"- [`{name}`](#{name.replace(' ', '-')}): {_first_sentence(command)}" for name, command in commands]
    return "\n".join([_HEAD, *index, "", *(_section(name, command) for name, command in commands), _built_in_names()])


def _built_in_names() -> str:
    rows = [f"| {one.what} | {', '.join(f'`{name}`' for name in one.built_in)} |" for one in REGISTRIES]
    told = "Installed packages may add more: [extending.md](extending.md)."
    return "\n".join(["## Names that can be chosen", "", told, "", "| kind | built in |", "| --- | --- |", *rows, ""])


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
        return
    for part in command.commands.values():
        if not part.hidden:
            yield from _commands(part, f"{name} {part.name}")


def _section(name: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    usage = " ".join([name, *(["[OPTIONS]"] if options else []), *(_argument(one) for one in arguments)])
    lines = [f"## {name}", "", _plain(command.help), "", "```", usage, "```"]
    if arguments:
        rows = [f"| `{one.display_name_raw.upper()}` | {_cell(one)} |" for one in arguments]
        lines += ["", "| argument | meaning |", "| --- | --- |", *rows]
    if options:
        rows = [f"| {_names(one)} | {_cell(one)} |" for one in options]
        lines += ["", "| option | meaning |", "| --- | --- |", *rows]
    return "\n".join([*lines, *(["", _plain(command.epilog)] if command.epilog else []), ""])


def _argument(argument: Any) -> str:
    name = argument.display_name_raw.upper()
    return f"{name if argument.required else f'[{name}]'}{'...' if argument.nargs == -1 else ''}"


def _names(option: Any) -> str:
    takes = "" if option.is_flag else f" {option.display_name_raw.upper().replace('_', '-')}"
    return ", ".join([*(f"`{one}{takes}`" for one in option.opts), *(f"`{one}`" for one in option.secondary_opts)])


def _cell(parameter: Any) -> str:
    told = _plain(parameter.help).replace("|", "\\|").replace("\n", " ")
    default = parameter.default
    shown = default is not None and not isinstance(default, bool) and default != () and parameter.param_type_name == "option"
    return f"{told} Default: `{default}`." if shown else told


def _first_sentence(command: Any) -> str:
    return re.split(r"(?<=[.!?])\s", _plain(command.help).replace("\n", " "), maxsplit=1)[0]


def _plain(text: str | None) -> str:
    return inspect.cleandoc(text or "").replace("\f", "").strip()


if __name__ == "__main__":
    print(reference(), end="")
