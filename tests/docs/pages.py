"""A page of the documentation as what it tells a reader to do: its blocks, in order, and what each prints.

A block whose first line is a comment with a file's name is that file. `$ ` begins a command, the lines below
are what it prints: `…` stands for any text, alone on a line for any lines. Ids and times are not compared,
numbers to two in a thousand, since another processor may move last digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>[\w{}-]*)\n(?P<body>.*?)^(?P=indent)```$", re.M | re.S)
FILE = re.compile(r"(?:#|//) (\S+\.(?:py|toml|yml|yaml|sh|txt))\n")
NEAR = 2e-3
ANY = "…"
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e[+-]?\d+)?")
_ID = re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,10}\b|\d\d:\d\d:\d\d")


@dataclass
class Command:
    """One command with the lines that it is said to print."""

    words: str
    printed: list[str] = field(default_factory=list)


@dataclass
class Block:
    """kind: the fence's language; file: its name, where it is one."""

    kind: str
    body: str
    file: str = ""

    @property
    def commands(self) -> list[Command]:
        found: list[Command] = []
        for line in re.sub(r"\\\n\s*", " ", self.body).splitlines():
            if line.startswith("$ "):
                found.append(Command(line[2:]))
            elif found:
                found[-1].printed.append(line)
        return found


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, those inside lists too."""
    made = []
    for match in FENCE.finditer(page.read_text(encoding="utf-8")):
        indent = len(match["indent"])
        body = "".join(line[indent:] if line.strip() else line for line in match["body"].splitlines(True))
        named = FILE.match(body)
        made.append(Block(match["kind"], body, named[1] if named else ""))
    return made


def differs(expected: list[str], actual: list[str]) -> str:
    """Where what was printed is not what the page says; empty where it is."""
    told = [line for line in expected if line.strip()]
    seen = [line for line in actual if line.strip()]
    at = 0
    while told:
        line = told.pop(0)
        if line.strip() == ANY:
            if not told:
                return ""
            while at < len(seen) and not _same(told[0], seen[at]):
                at += 1
            if at == len(seen):
                return f"nothing printed looks like {told[0]!r}, in:\n" + "\n".join(seen)
            continue
        if at == len(seen):
            return f"{line!r} was not printed, after:\n" + "\n".join(seen)
        if not _same(line, seen[at]):
            return f"the page says {line!r}\n  it prints {seen[at]!r}"
        at += 1
    return "" if at == len(seen) else f"it prints more: {seen[at]!r}"


def _same(expected: str, actual: str) -> bool:
    expected, actual = (
        _ID.sub("ID", re.sub("─+", "─", " ".join(line.split()))) for line in (expected, actual)
    )
    parts = [re.escape(_NUMBER.sub("0", part)) for part in expected.split(ANY)]
    blank = _NUMBER.sub("0", actual)
    if not re.fullmatch(".*".join(parts), blank):
        return False
    if ANY in expected:
        return True
    pairs = zip(_NUMBER.findall(expected), _NUMBER.findall(actual), strict=True)
    return all(_near(one, other) for one, other in pairs)


def _near(one: str, other: str) -> bool:
    first, second = (float(text.replace(",", "")) for text in (one, other))
    return abs(first - second) <= NEAR * max(abs(first), abs(second))
