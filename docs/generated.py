"""The pages that are made from the code: every command's help, every key of the app.

python docs/generated.py     # writes docs/_generated; `make docs` does it as well
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from falsefloor.cli import app
from falsefloor.tui.actions import ACTIONS, WHERE


def commands() -> Iterator[str]:
    """Every command with its arguments and options, as `--help` shows them."""
    yield "# Every command\n"
    yield f"Made from the help texts. {app.EPILOG}\n"
    yield "`--store` and `--no-plugins` may stand before or after the command.\n"
    yield from _command("falsefloor", app.commands())


def _command(path: str, command: Any) -> Iterator[str]:
    yield f"## {path}\n"
    yield _help(command.help or "") + "\n"
    words = [_metavar(one) for one in command.params if _is_argument(one)]
    inner = getattr(command, "commands", {})
    words += ["COMMAND"] * bool(inner and path == "falsefloor")
    yield f"```text\n{' '.join([path, '[OPTIONS]', *words])}\n```\n"
    rows = [row for one in command.params if not getattr(one, "hidden", False) for row in _row(one)]
    if rows:
        yield "| | |\n| --- | --- |"
        yield "\n".join(rows) + "\n"
    for name, one in inner.items():
        yield from _command(f"{path} {name}", one)


def _row(one: Any) -> Iterator[str]:
    names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts) if name != "--help")
    choices = getattr(getattr(one, "type_descriptor", None) or getattr(one, "type", None), "choices", None)
    if _is_argument(one):
        names = f"`{_metavar(one)}`"
    elif one.metavar:
        names += f" `{_cell(one.metavar)}`"
    elif choices:
        names += " `" + _cell("|".join(str(getattr(choice, "value", choice)) for choice in choices)) + "`"
    if names:
        yield f"| {names} | {_cell(getattr(one, 'help', '') or '')} |"


def _is_argument(one: Any) -> bool:
    """By shape: newer typers carry a click of their own."""
    return not one.opts[0].startswith("-")


def _metavar(one: Any) -> str:
    name = one.metavar or one.name.upper()
    return name if one.required or name.startswith("[") else f"[{name}]"


def _help(text: str) -> str:
    return re.sub(r"^(falsefloor .+)$", r"    \1", text.strip(), flags=re.MULTILINE)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def keys() -> Iterator[str]:
    """Every key of the app, page by page."""
    yield "# Every key\n"
    yield "Made from the table that the app's own bindings, bar, help and palette are made from.\n"
    for where, actions in groupby(ACTIONS, key=lambda action: action.where):
        yield f"## {WHERE[where]}\n"
        yield "| key | does |\n| --- | --- |"
        yield "\n".join(f"| `{_cell(a.key)}` | {_cell(a.help)} |" for a in actions) + "\n"


def write(folder: Path) -> None:
    """Both pages, written only where they changed, so that Sphinx reads no more than it must."""
    folder.mkdir(exist_ok=True)
    for name, lines in (("commands", commands()), ("keys", keys())):
        path, text = folder / f"{name}.md", "\n".join(lines)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parent / "_generated")
