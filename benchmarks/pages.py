"""Tables in the documentation, each put there by the script that measured it.

A page holds a place for it, between two comments that name the script and the table:

    <!-- accuracy exact -->
    <!-- /accuracy exact -->

Every script prints its tables in Markdown; with --write it also puts them there, with the day and the last
change of the package below, so that a reader sees what each figure is a figure of.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACE = re.compile(r"(<!-- (\w[\w ]*) -->\n)(.*?)(<!-- /\2 -->)", re.DOTALL)


def arguments(about: str | None) -> argparse.ArgumentParser:
    """A script's parser, with the flag that all of them take. about: its docstring."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into the documentation, too")
    return parser


def table(headings: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """In Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def show(name: str, text: str, *, write: bool = False, note: str = "") -> None:
    """Print a table, and put it where the documentation has the place ``name`` ("accuracy exact").

    note: what a reader has to know of this measurement, before the day.

    Raises LookupError where no page has one.
    """
    print(f"\n{text}\n", flush=True)
    if write:
        put(name, f"{text}\n\n{note}{'; m' if note else 'M'}easured {_state()}.")


def put(name: str, text: str) -> None:
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = PLACE.sub(lambda m: f"{m[1]}{text}\n{m[4]}" if m[2] == name else m[0], before)
        if f"<!-- {name} -->" in before:
            page.write_text(after, encoding="utf-8")
            return
    raise LookupError(f"no page has a place '<!-- {name} -->'")


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def ratio(value: float) -> str:
    """Beside 1, with the digits that tell it from 1."""
    away = abs(value - 1)
    digits = 3 if away >= 2e-3 else 4 if away >= 5e-5 else 6
    return f"{value:.{digits}f}" if value < float("inf") else "–"


def _state() -> str:
    last = ["git", "log", "-1", "--format=%h", "--", "falsefloor"]
    commit = subprocess.run(last, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return f"{datetime.date.today()} at {commit}" if commit else str(datetime.date.today())


__all__ = ["arguments", "pages", "put", "ratio", "show", "table"]
