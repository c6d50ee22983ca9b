"""Writes one page a warning from the package's catalogue: `python docs/warnings/generate.py [--check]`.

The catalogue is the one source of the words, so that `falsefloor explain` and these pages never differ. The
picture of a case and its caption are what pictures.py measured; it runs rarely, this always. With --check it
writes nothing and exits 1 where a page or a picture is missing, stale or left over.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from falsefloor.checks.catalogue import CATALOGUE, Entry

HERE = Path(__file__).parent
PICTURES = HERE.parent / "figures" / "warnings"
CAPTIONS = "captions.json"
KEYS = ("alt", "caption")
SECTIONS = (
    *("What it means", "What was measured", "A case", "Usual cause", "What to do", "Blind spot"),
    "Reference",
)
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


def pages(pictures: Path = PICTURES) -> dict[str, str]:
    """File names and contents."""
    rows = "\n".join(
        f"| [{code}]({code}.md) | {entry.info.name} | {entry.info.severity} |"
        for code, entry in CATALOGUE.items()
    )
    index = INDEX.format(rows=rows, codes="\n".join(CATALOGUE))
    cases = _cases(pictures)
    written = {f"{code}.md": _page(code, entry, cases.get(code)) for code, entry in CATALOGUE.items()}
    return {"index.md": index, **written}


def _cases(pictures: Path) -> dict[str, Mapping[str, str]]:
    """Code to the words of its picture: alt and caption."""
    path = pictures / CAPTIONS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _page(code: str, entry: Entry, case: Mapping[str, str] | None) -> str:
    info = entry.info
    shown = f"![{case['alt']}](../figures/warnings/{code}.svg)\n\n{case['caption']}" if case else ""
    texts = (info.summary, entry.measured, shown, entry.cause, info.cure, entry.blind_spot, info.source)
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in zip(SECTIONS, texts, strict=True) if text)
    return f"# {code}: {info.name}\n\nSeverity: {info.severity}.\n\n{body}\n"


def unillustrated(pictures: Path = PICTURES) -> list[str]:
    """Codes that lack a picture or its caption, and those of pictures and captions that no code has."""
    drawn = {path.stem for path in pictures.glob("*.svg")}
    captioned = {code for code, words in _cases(pictures).items() if all(words.get(k) for k in KEYS)}
    return sorted((drawn ^ set(CATALOGUE)) | (captioned ^ set(CATALOGUE)))


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
        bare = unillustrated()
        for code in bare:
            print(
                f"{PICTURES / code}.svg and its caption are not both there: run pictures.py", file=sys.stderr
            )
        return 1 if old or bare else 0
    wanted = pages()
    for name in old:
        if name in wanted:
            (HERE / name).write_text(wanted[name], encoding="utf-8")
        else:
            (HERE / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
