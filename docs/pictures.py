"""The documentation's pictures of the app, from a real run: the demo's, computed here where there is none.

    python docs/pictures.py             # computes the demo into a temporary store, in about a minute
    python docs/pictures.py STORE       # takes the newest run of a store

Writes docs/pictures/*.svg: what Textual exports of the screens, at 140 × 40 and 80 × 24.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

DRAWING = 6.0
"""Seconds that a page with plots gets: they load their library with the page."""
FOLDER = Path(__file__).parent / "pictures"
SHOTS: tuple[tuple[str, tuple[int, int], Sequence[str]], ...] = (
    # name, size, keys pressed on the comparison
    ("compare", (140, 40), ("down",)),
    ("compare-80", (80, 24), ("down",)),
    ("detail", (140, 40), ("down", "enter")),
    ("warnings", (80, 24), ("w",)),
    ("new-run", (80, 24), ("n",)),
)


async def take(store: Path, name: str, size: tuple[int, int], keys: Sequence[str]) -> None:
    """One picture; each starts the app anew, so that none depends on another. Fonts are the reader's own."""
    from falsefloor.tui.app import Workbench

    app = Workbench(store)
    async with app.run_test(size=size) as pilot:
        await pilot.pause(1.0)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(DRAWING if key == "enter" or size[0] > 100 else 1.0)
        picture = re.sub(
            r"@font-face \{.*?\}", "", app.export_screenshot(title="falsefloor"), flags=re.DOTALL
        )
        (FOLDER / f"{name}.svg").write_text(picture, encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    os.environ |= {"TEXTUAL_ANIMATIONS": "none", "COLORTERM": "truecolor", "TERM": "xterm-256color"}
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        store = Path(arguments[0]) if arguments else Path(temporary)
        if not arguments:
            command = [sys.executable, "-m", "falsefloor", "--store", str(store), "demo", "--table"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for shot in SHOTS:
            asyncio.run(take(store, *shot))
    print(f"{len(SHOTS)} pictures in {FOLDER}")


if __name__ == "__main__":
    main(sys.argv[1:])
