"""Writes one page a warning from the package's catalogue: `python docs/warnings/generate.py [--check]`.

The catalogue is the one source, so that `falsefloor explain` and these pages never differ. With --check it
writes nothing and exits 1 where a page is missing, stale or left over.
"""

from __future__ import annotations

import sys
from pathlib import Path

from falsefloor.checks.catalogue import CATALOGUE, Entry

HERE = Path(__file__).parent
SECTIONS = ("What it means", "What was measured", "Usual cause", "What to do", "Blind spot", "Reference")
INDEX = """# Warnings

A *refuted* estimate is contradicted by a point that `falsefloor replay` evaluates again; a *suspect* one by
statistical evidence; a *vacuous* one is true but useless. Notes and repaired errors leave the verdict as
it is. `falsefloor explain CODE` prints these pages in a terminal.

| code | name | severity |
| --- | --- | --- |
{rows}

```{{toctree}}
:hidden:

{codes}
```
"""


def pages() -> dict[str, str]:
    """File names and contents."""
    rows = "\n".join(
        f"| [{code}]({code}.md) | {entry.info.name} | {entry.info.severity} |"
        for code, entry in CATALOGUE.items()
    )
    index = INDEX.format(rows=rows, codes="\n".join(CATALOGUE))
    return {"index.md": index, **{f"{code}.md": _page(code, entry) for code, entry in CATALOGUE.items()}}


def _page(code: str, entry: Entry) -> str:
    info = entry.info
    texts = (info.summary, entry.measured, entry.cause, info.cure, entry.blind_spot, info.source)
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in zip(SECTIONS, texts, strict=True))
    return f"# {code}: {info.name}\n\nSeverity: {info.severity}.\n\n{body}\n"


def stale(folder: Path = HERE) -> list[str]:
    """Names of pages that do not say what the catalogue says, or that no code has."""
    wanted = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def main() -> int:
    old = stale()
    if "--check" in sys.argv[1:]:
        for name in old:
            print(
                f"{HERE / name} is not what the catalogue says: run python {Path(__file__).name}",
                file=sys.stderr,
            )
        return 1 if old else 0
    wanted = pages()
    for name in old:
        if name in wanted:
            (HERE / name).write_text(wanted[name], encoding="utf-8")
        else:
            (HERE / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
