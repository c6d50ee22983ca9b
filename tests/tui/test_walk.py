"""A walk of random keys and resizes over live, failed, hostile and empty stores crashes nothing.

`FALSEFLOOR_WALK=4000 pytest tests/tui/test_walk.py` walks that many keys over each store, and over one of a
thousand runs: 20,000 in all, 20 ms of a core each.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sample_run import STUDY, StoredRun
from textual import events

from falsefloor.errors import UsageError
from falsefloor.options import Option
from falsefloor.plugins import Catalogue, Described, Plugin
from falsefloor.store.run_dir import RunDir
from falsefloor.study.study import ModelSpec
from falsefloor.tui.actions import ACTIONS
from falsefloor.tui.app import Workbench
from falsefloor.tui.screens.page import CHARACTERS

KEYS = int(os.environ.get("FALSEFLOOR_WALK", "32"))
SEED = int(os.environ.get("FALSEFLOOR_WALK_SEED", "0"))
BATCH = 8
"""Keys between two looks; and one batch in eight resizes the terminal."""
OWN = sorted({key for action in ACTIONS for key in action.keys.split(",")} - {"ctrl+z"})
MOVES = [
    "up",
    "down",
    "left",
    "right",
    "home",
    "end",
    "pageup",
    "pagedown",
    "enter",
    "escape",
    "tab",
    "shift+tab",
]
LETTERS = [
    *"abcdefghijklmnopqrstuvwxyzABCDEFG0123456789",
    *":=,+-/[.'",
    "backspace",
    "delete",
    "space",
    "ctrl+u",
]


def offer(kind: str, name: str, *options: Option) -> Described:
    return Described(
        Plugin(kind, name, "falsefloor", "0.1.0", "x:y"), "healthy", options=options, summary="-"
    )  # type: ignore[arg-type]


MODE = Option("mode", ("str",), "ceil", help="how a value is put on a step", choices=("ceil", "floor"))
INSTALLED = (
    offer("masker", "staircase", Option("c", ("int", "float"), 255, help="steps per unit", gt=0), MODE),
    offer("estimator", "clever", Option("radius", ("float",), "auto", help="of the ball", words=("auto",))),
    offer("estimator", "attack", Option("box", ("bool",), True, help="whether the box is used")),
    offer("model", "digits"),
    offer("input", "digits"),
)


def event(key: str) -> events.Key:
    """A key as a terminal sends it: the name of a sign is not what it types."""
    letter = CHARACTERS.get(key, key)
    name = {letter: name for name, letter in CHARACTERS.items()}.get(key, key)
    return events.Key(name, letter if len(letter) == 1 else None)


def empty(store: Path) -> RunDir | None:
    return None


def live(store: Path) -> RunDir:
    StoredRun(store, id="0e0e0000").close()
    return StoredRun(store, done=5).dir


def failed(store: Path) -> RunDir:
    dead = StoredRun(store, id="dead0000", done=3)
    dead.writer.set_meta(in_process=False)
    dead.close()
    return StoredRun(store, failing=["clever", "attack"]).close()


def hostile(store: Path) -> RunDir:
    """Names of escape codes, markup and right-to-left letters, beside a half-written run."""
    (store / "half").mkdir(parents=True)
    (store / "half" / "run.db").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 8)
    (store / "study").mkdir()
    label = "a\x1b[31m[red]b\n\u4e2d\u6587\u202ex" + "y" * 200
    study = replace(STUDY, models=(ModelSpec("digits:mlp", label=label),), tag="[/bold]\x1b]0;x\x07")
    return StoredRun(store, study=study, notes=[("[FF]", "\x1b[2J[@click=app.quit]x[/]")]).close()


def thousand(store: Path) -> RunDir:
    """A run beside a thousand others."""
    run = StoredRun(store, id="7f3a0000").close()
    for n in range(1000):
        (store / f"c0{n:06x}").mkdir()
        for file in (run.db, run.study):
            shutil.copyfile(file, store / f"c0{n:06x}" / file.name)
    return run


@pytest.mark.parametrize("make", [empty, live, failed, hostile, *[thousand] * (KEYS >= 1000)])
async def test_no_key_and_no_size_crashes_the_app(
    store: Path, make: Callable[[Path], RunDir | None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise UsageError("nothing is computed on a walk")

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    known = Catalogue(INSTALLED, tuple(row.plugin for row in INSTALLED))
    for module in ("tui.screens.new_run", "tui.screens.plugins", "worker.launch"):
        monkeypatch.setattr(f"falsefloor.{module}.catalogue", lambda *_, **__: known)
    for name in ("worker.launch.start", "worker.launch.resume", "plugins.process.ask"):
        monkeypatch.setattr(f"falsefloor.{name}", refuse)
    dice = random.Random(f"{SEED} {make.__name__}")
    app = Workbench(store, make(store))
    monkeypatch.setattr(app, "exit", lambda *_, **__: None)
    monkeypatch.setattr(app, "copy_to_clipboard", lambda _: None)
    pressed: list[str] = []
    try:
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await pilot.pause(0.3)
            for n in range(KEYS // BATCH):
                if n % 8 == 7:
                    size = (dice.choice((20, 40, 80, 110, 140, 200)), dice.choice((5, 10, 24, 40, 50)))
                    pressed.append(f"<{size[0]}x{size[1]}>")
                    await pilot.resize_terminal(*size)
                pool = dice.choices((OWN, MOVES, LETTERS), (5, 5, 2), k=BATCH)
                keys = [dice.choice(of) for of in pool]
                pressed += keys
                for key in keys:
                    # Not through `Pilot.press`, which waits for 40 ms after each.
                    app.post_message(event(key))
                    await pilot.pause(0)
                assert app.return_code is None, "the app has ended"
                if len(app.screen_stack) > 12:
                    pressed += ["escape"] * 12
                    await pilot.press(*["escape"] * 12)
            # The last keys, too, before all pages go.
            handled = asyncio.Event()
            app.call_later(handled.set)
            await handled.wait()
            await app.workers.wait_for_complete()
    except BaseException as error:
        raise AssertionError(f"crashed after {' '.join(pressed[-40:])} ({len(pressed)} in all)") from error
