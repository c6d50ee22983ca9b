"""What fields are filled with by choosing, what is kept of an unfinished form, what a GPU says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sample_run import StoredRun
from screens import shows, until
from textual.widgets import Input

from falsefloor.errors import UsageError
from falsefloor.plugins import Catalogue
from falsefloor.store.run_dir import RunDir
from falsefloor.study.study import ModelSpec, Study
from falsefloor.tui import apart, choices, commands, drafts, lookout
from falsefloor.tui.app import Workbench
from falsefloor.tui.screens import asking
from falsefloor.tui.screens.asking import Picker
from falsefloor.tui.screens.new_run import FIRST, NewRun
from falsefloor.tui.widgets.option_form import OptionForm

CODE = '''
raise SystemExit("a picker must not run this")

def build():
    """A small net.

    More."""

def sized(width, *, depth=2): ...

class Net:
    def __init__(self, width=3): ...

_hidden = 1
model = None
'''


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("falsefloor.tui.screens.new_run.catalogue", lambda *_, **__: Catalogue((), ()))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "net.py").write_text(CODE, encoding="utf-8")
    (folder / "batch.npz").touch()
    (folder / "pictures").mkdir()
    (folder / "pictures" / "a.png").touch()
    monkeypatch.chdir(folder)
    return folder


def test_a_python_file_is_read_and_never_run(here: Path) -> None:
    found = {one.label: one for one in choices.factories(here / "net.py")}
    assert found["build"].value == "python:net.py:build" and "A small net" in found["build"].help
    assert found["sized"].value == "" and "needs width" in found["sized"].help
    assert found["Net"].value == "python:net.py:Net" and "_hidden" not in found
    (here / "net.py").write_text("def broken(:\n", encoding="utf-8")
    assert choices.factories(here / "net.py")[0].value == ""


def test_folders_offer_what_fits_and_the_way_up(here: Path) -> None:
    labels = [one.label for one in choices.files(here, "npz")]
    assert labels == ["../", "pictures/", "batch.npz"]
    pictures = choices.files(here / "pictures", "images")
    assert pictures[0].value == "images:pictures" and "1 picture" in pictures[0].help


async def test_a_model_is_chosen_from_file_to_function(opened: Any, run: RunDir, here: Path) -> None:
    async with opened(run) as pilot:
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, NewRun))
        page = pilot.app.screen
        await pilot.press("ctrl+f")
        await shows(pilot, "a function or class of a Python file")
        await pilot.press("enter")
        await shows(pilot, "net.py")
        await pilot.press(*"net", "enter")
        await shows(pilot, "function. A small net", "needs width")
        await pilot.press("escape")
        await shows(pilot, "net.py")
        await pilot.press(*"net", "enter")
        await shows(pilot, "build")
        await pilot.press("enter")
        await until(pilot, lambda: page.query_one("#model", Input).value == "python:net.py:build")


async def test_a_folder_that_does_not_answer_is_waited_for_beside_the_app(
    opened: Any, run: RunDir, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, scan = threading.Event(), os.scandir

    def stalled(folder: Path) -> Any:
        answered.wait(8)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", stalled)
    monkeypatch.setattr(asking, "SLOW", 0.05)
    async with opened(run) as pilot:
        pilot.app.push_screen(Picker("Choose", lambda: choices.files(here, "npz")))
        await shows(pilot, "Still reading: it answers slowly", "escape goes back")
        await pilot.press("escape")
        assert not isinstance(pilot.app.screen, Picker)
        pilot.app.push_screen(Picker("Choose", lambda: choices.files(here, "npz")))
        await shows(pilot, "Still reading")
        answered.set()
        await shows(pilot, "batch.npz", "3 to choose from")


def test_who_leaves_the_app_waits_for_no_folder(
    store: Path, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    monkeypatch.setattr(apart, "PATIENCE", 0.1)

    async def left() -> None:
        app = Workbench(store, run)
        async with app.run_test():
            app.do(lambda: never.wait(8))

    began = time.monotonic()
    asyncio.run(left())
    assert time.monotonic() - began < 5
    never.set()


async def test_a_recent_study_is_begun_with(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, NewRun))
        page = pilot.app.screen
        await pilot.press("ctrl+g")
        await shows(pilot, "7f3a0000  sample")
        await pilot.press("enter")
        await until(pilot, lambda: page.query_one(OptionForm).texts["tag"] == "sample")


async def test_what_is_typed_is_on_disk_and_there_again_possible_or_not(
    opened: Any, store: Path, run: RunDir
) -> None:
    async with opened(run) as pilot:
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, NewRun))
        pilot.app.screen.query_one("#model", Input).value = "python:half"
        pilot.app.screen.query_one("#o-chunk", Input).value = "-3"
        draft = store / "draft.json"
        await until(pilot, lambda: draft.exists() and '"-3"' in draft.read_text(encoding="utf-8"))
    async with opened(run) as pilot:
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, NewRun))
        page = pilot.app.screen
        await until(pilot, lambda: page.query_one("#o-chunk", Input).value == "-3")
        assert page.query_one("#model", Input).value == "python:half"
        with pytest.raises(UsageError, match="chunk"):
            page.study()


async def test_a_crash_keeps_the_draft(opened: Any, store: Path, run: RunDir) -> None:
    with pytest.raises(ZeroDivisionError):
        async with opened(run) as pilot:
            await pilot.press("n")
            await until(pilot, lambda: isinstance(pilot.app.screen, NewRun))
            pilot.app.screen.query_one("#inputs", Input).value = "digits:7"
            pilot.app.screen.call_later(lambda: 1 / 0)
            await pilot.pause(0.2)
    kept = drafts.kept(store)
    assert kept is not None and kept.fields["inputs"] == "digits:7" and kept.began() == FIRST


@pytest.mark.parametrize("text", ["", "{", "[]", '{"study": {}, "fields": 3}', '{"study": {"models": [7]}}'])
def test_half_a_draft_is_none(store: Path, text: str) -> None:
    store.mkdir()
    (store / "draft.json").write_text(text, encoding="utf-8")
    assert drafts.kept(store) is None


@pytest.mark.parametrize(
    ("model", "inputs", "said"),
    [
        ("python:nope.py:build", "digits:0-9", "nope.py"),
        ("python:net.py:buld", "digits:0-9", "Did you mean 'build'"),
        ("export:nope.pt2", "digits:0-9", "nope.pt2"),
        ("digits:mlp", "digits:0-", "neither a number nor a range"),
        ("digits:mlp", "npz:nope.npz", "nope.npz"),
        ("digits:mlp", "images:nope", "no folder nope"),
    ],
)
def test_files_and_ranges_are_looked_at_before_a_run_starts(
    here: Path, monkeypatch: pytest.MonkeyPatch, model: str, inputs: str, said: str
) -> None:
    monkeypatch.setattr("falsefloor.worker.launch.check", lambda study: ([], []))
    with pytest.raises(UsageError, match=said):
        commands.check(Study(models=(ModelSpec(model),), inputs=inputs))


def test_the_accelerator_is_asked_of_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lookout.busy("cpu") == ""
    monkeypatch.setattr(lookout, "_library", lambda number: None)

    def smi(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert "--id=1" in words
        return subprocess.CompletedProcess(words, 0, "NVIDIA H100 80GB HBM3, 97, 11444, 81559\n", "")

    monkeypatch.setattr(subprocess, "run", smi)
    assert lookout.busy("cuda:1") == "cuda:1 H100 97 % 12/86 GB"

    def none(*_: Any, **__: Any) -> Any:
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(subprocess, "run", none)
    assert lookout.busy("cuda") == ""


async def test_a_thousand_runs_are_shown_as_they_are_read(opened: Any, store: Path, run: RunDir) -> None:
    # A store with many runs: copies of one, since what is tested is the list.
    import shutil

    for n in range(60):
        shutil.copytree(run.path, store / f"c{n:07d}")
    StoredRun(store, id="11110000", done=4).close()
    async with opened(run) as pilot:
        await pilot.press("r")
        await shows(pilot, "62 runs")
        await until(pilot, lambda: all(line.info for line in pilot.app.screen.found.values()))
