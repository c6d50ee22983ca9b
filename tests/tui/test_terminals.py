"""What the app does on terminals that are small, slow, colourless, ASCII, or no terminals at all."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from screens import shows, text, until
from textual.events import Key

from falsefloor.errors import UsageError
from falsefloor.report.text import ASCII, UNICODE, clean, glyphs_for
from falsefloor.store.run_dir import RunDir
from falsefloor.tui.start import over_ssh, refusal, run_app, tune
from falsefloor.tui.themes import ascii_text, first_theme


async def test_under_lc_all_c_nothing_but_ascii_reaches_the_terminal(
    opened: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    async with opened(run) as pilot:
        screen = await shows(pilot, ">=1.0000x", "<=0.0980", ">~0.0925", "x10.8")
        assert screen.isascii()
        await pilot.press("down", "enter", "2")
        assert (await shows(pilot, "Scale spectrum", "1e-7")).isascii()
        await pilot.press("5")
        assert (await shows(pilot, "adversarial: 7", "@@")).isascii()
        await pilot.press("escape", "question_mark")
        assert (await shows(pilot, "Keys")).isascii()
        await pilot.press("escape", "x", "e")
        await until(pilot, lambda: text(pilot.app).isascii())


async def test_without_colour_every_verdict_and_the_cursor_can_still_be_read(
    opened: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(run) as pilot:
        screen = await shows(pilot, "REFUTED", "suspect", "held", "1.0000✗", "▸")
        colours = {
            segment.style.color.triplet
            for strip in pilot.app.screen._compositor.render_strips()
            for segment in strip
            if segment.style and segment.style.color and segment.style.color.triplet
        }
        assert colours and all(c.red == c.green == c.blue for c in colours)
        assert screen.count("▸") == 1
        assert [one.style.color.triplet.red for one in said(pilot.app, "REFUTED")] == [255], "the brightest"


def said(app: Any, word: str) -> list[Segment]:
    """What is on the screen with a word in it."""
    strips = app.screen._compositor.render_strips()
    return [segment for strip in strips[: app.size.height // 2] for segment in strip if word in segment.text]


async def test_among_sixteen_colours_the_row_under_the_cursor_is_reversed_and_keeps_its_own(
    opened: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "linux")
    monkeypatch.delenv("COLORTERM")
    async with opened(run) as pilot:
        await shows(pilot, "REFUTED", "suspect")
        await pilot.press("down")
        (row,), (refuted,), (suspect,) = (
            said(pilot.app, word) for word in ("staircase", "REFUTED", "suspect")
        )
        assert row.style.reverse and refuted.style.reverse and not suspect.style.reverse
        assert (refuted.style.color.number, suspect.style.color.number) == (1, 3), "red, yellow"


def test_a_dumb_terminal_is_refused_with_what_to_do_instead() -> None:
    for term in ("dumb", "unknown", ""):
        said = refusal({"TERM": term}, interactive=True)
        assert "falsefloor watch RUN" in said
    assert "falsefloor watch" in refusal({"TERM": "xterm"}, interactive=False)
    assert refusal({"TERM": "xterm"}, interactive=True) == ""


def test_without_a_terminal_the_app_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a terminal"):
        run_app(tmp_path)


def test_over_ssh_there_are_fifteen_frames_no_animation_and_no_mouse() -> None:
    environ = {"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}
    assert over_ssh(environ)
    assert tune(environ) is False
    assert (environ["TEXTUAL_FPS"], environ["TEXTUAL_ANIMATIONS"]) == ("15", "none")
    here: dict[str, str] = {}
    assert tune(here) is True and here["TEXTUAL_FPS"] == "60"
    asked = {"TEXTUAL_FPS": "5"}
    tune(asked)
    assert asked["TEXTUAL_FPS"] == "5", "what the user sets stays"


async def test_what_a_key_changes_is_painted_at_once_and_not_by_the_clock(
    opened: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(run) as pilot:
        app, painted = pilot.app, []
        monkeypatch.setattr(app.screen._update_timer, "resume", lambda: None)
        monkeypatch.setattr(app, "_display", lambda screen, update: painted.append(update))
        app.post_message(Key("down", None))
        for _ in range(20):
            await asyncio.sleep(0)  # a pilot's pause would paint
        assert painted


async def test_over_ssh_a_look_that_sent_much_is_followed_by_a_pause(
    opened: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")
    async with opened(run) as pilot:
        app = pilot.app
        app._driver.write("x" * 50_000)
        before, looked = time.monotonic(), app.lookout.next
        app.lookout.look(now=True)
        await until(pilot, lambda: app.lookout.next not in (0.0, looked))
        assert app.lookout.next - before >= 5.0


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"LC_ALL": "C"}, ASCII),
        ({"LC_ALL": "C.UTF-8"}, UNICODE),
        ({"LC_ALL": "", "LANG": "en_GB.utf8"}, UNICODE),
        ({"LANG": "de_DE.ISO-8859-1"}, ASCII),
        ({"LC_CTYPE": "de_DE.UTF-8@euro", "LANG": "C"}, UNICODE),
        ({}, UNICODE),
        ({"LANG": "C.UTF-8", "FALSEFLOOR_ASCII": "1"}, ASCII),
    ],
)
def test_the_glyphs_follow_the_locale(environ: dict[str, str], expected: object) -> None:
    assert glyphs_for(environ=environ) is expected


def test_a_terminal_of_sixteen_colours_gets_its_own_colours() -> None:
    assert first_theme({"TERM": "linux"}) == "ansi-dark"
    assert first_theme({"TERM": "xterm-256color"}) == "floor-dark"
    assert first_theme({"TERM": "xterm-256color", "FALSEFLOOR_THEME": "light"}) == "floor-light"


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_cleaned_text_has_nothing_that_moves_a_cursor(given_text: str) -> None:
    shown = clean(given_text)
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0x202A <= ord(c) <= 0x202E for c in shown)
    assert clean(shown) == shown


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_ascii_text_is_as_wide_as_what_it_stands_for(given_text: str) -> None:
    shown = clean(given_text)
    assert ascii_text(shown).isascii()
    assert len(ascii_text(shown)) == cell_len(shown)


def test_the_app_imports_neither_torch_nor_numpy_nor_scipy_nor_a_plot() -> None:
    code = (
        "import sys, pkgutil, importlib, falsefloor.tui.app as w\n"
        "early = [m for m in ('textual_plotext', 'plotext') if m in sys.modules]\n"
        "import falsefloor.tui\n"
        "for m in pkgutil.walk_packages(falsefloor.tui.__path__, 'falsefloor.tui.'):\n"
        "    importlib.import_module(m.name)\n"
        "import falsefloor.worker.launch, falsefloor.study.demo\n"
        "print([m for m in ('torch', 'numpy', 'scipy') if m in sys.modules] + early)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stdout.strip() == "[]"
