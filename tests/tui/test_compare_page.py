"""The comparison as a user meets it: what it shows, what each key does."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sample_run import STUDY, StoredRun
from screens import shows, text, until

from falsefloor.store.run_dir import RunDir
from falsefloor.tui.screens.compare import Compare
from falsefloor.tui.screens.detail import DetailPage
from falsefloor.tui.widgets.live_table import LiveTable
from falsefloor.tui.widgets.side import Story


async def test_the_table_says_at_80_columns_what_is_refuted_and_by_how_much(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        screen = await shows(pilot, "REFUTED", "none")
        row = next(line for line in screen.splitlines() if "staircase 255" in line)
        assert "≥1.0000✗" in row and "≤0.0980" in row and "×10.8" in row
        assert "run 7f3a0000" in screen and "3 refuted" in screen and "12/12 units" in screen
        assert max(map(len, screen.splitlines())) <= 80


async def test_the_story_below_tells_what_the_number_claims_and_why_it_is_false(
    opened: Any, run: RunDir
) -> None:
    async with opened(run) as pilot:
        await pilot.press("down")
        found = "FF201 the claim is 1, but attack has a verified adversarial input"
        screen = await shows(pilot, "REFUTED — the number is false", found)
        assert "no change below 1.0000" in " ".join(screen.split())


async def test_a_wide_terminal_shows_the_reason_and_the_parameters_beside(opened: Any, run: RunDir) -> None:
    async with opened(run, size=(140, 40)) as pilot:
        await pilot.press("down")
        screen = await shows(pilot, "FF201 floor above ceiling", "lower estimate by clever")
        assert "staircase:c=255" in screen


async def test_a_huge_terminal_tells_also_what_is_known_of_the_input(opened: Any, run: RunDir) -> None:
    for size, told in (((140, 40), False), ((200, 50), True)):
        async with opened(run, size=size) as pilot:
            await shows(pilot, "REFUTED")
            await pilot.press("down")
            screen = await shows(pilot, "FF201 the claim", *["Where the gradient is lost"] * told)
            assert ("Where the gradient is lost" in screen) == told


async def test_what_is_read_while_the_page_is_taken_down_is_told_to_nobody(
    opened: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(run, size=(140, 40)) as pilot:
        story = pilot.app.screen.query_one(Story)
        asked, gone = threading.Event(), threading.Event()

        def read(*_: Any) -> tuple[list[Any], list[Any], None]:
            asked.set()
            gone.wait(10)
            return [], [], None

        monkeypatch.setattr("falsefloor.tui.widgets.side._read", read)
        await pilot.press("down")
        await until(pilot, asked.is_set)
        await story.remove_children()
        gone.set()
        await pilot.app.workers.wait_for_complete()
        assert story.is_attached and not story.stands


async def test_numbers_move_while_the_run_does_and_the_end_rings(opened: Any, store: Path) -> None:
    live = StoredRun(store, done=5)
    async with opened(live.dir) as pilot:
        rung: list[bool] = []
        pilot.app.bell = lambda: rung.append(True)
        screen = await shows(pilot, "live", "5/12 units")
        assert next(line for line in screen.splitlines() if "ramp" in line).count("–") >= 3
        unit = live.waiting[0]
        live.writer.progress({unit: (41, 100, [0.02, 0.03])}, running=[unit])
        await shows(pilot, "0.0250 41%")
        live.advance(7)
        live.end()
        await shows(pilot, "12/12 units", "REFUTED", "done")
        await until(pilot, lambda: bool(rung))
    live.close()


async def test_below_another_page_nothing_is_shown_until_it_is_gone(opened: Any, store: Path) -> None:
    live = StoredRun(store, done=5)
    async with opened(live.dir) as pilot:
        await shows(pilot, "5/12 units")
        table = pilot.app.screen_stack[0]
        await pilot.press("w")
        await shows(pilot, "warnings")
        table.seen = lambda snapshot: pytest.fail("what nobody sees costs a core's time")
        live.advance(2)
        pilot.app.lookout.look(now=True)
        await until(pilot, lambda: pilot.app.snapshot.info.units_done == 7)
        del table.seen
        await pilot.press("escape")
        await shows(pilot, "7/12 units")
    live.close()


async def test_the_end_of_a_run_says_what_failed_and_never_only_that_nothing_was_refuted(
    opened: Any, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = StoredRun(store, done=11, failing=["clever"])
    async with opened(live.dir) as pilot:
        said: list[tuple[str, bool]] = []
        monkeypatch.setattr(pilot.app, "say", lambda text, *, bad=False: said.append((text, bad)))
        await shows(pilot, "live")
        live.advance()
        live.end()
        await shows(pilot, "9/12 units, 3 failed", "0 refuted, 9 failed", "done")
        await until(pilot, lambda: bool(said))
        assert said == [(f"Run {live.dir.id} is done: 9/12 units, 3 failed; 9 failed, 18 held.", True)]
    live.close()


async def test_single_inputs_have_verdicts_of_their_own(opened: Any, run: RunDir) -> None:
    async with opened(run, size=(100, 40)) as pilot:
        await pilot.press("i")
        screen = await shows(pilot, "input")
        await until(pilot, lambda: pilot.app.screen.query_one(LiveTable).count == 9)
        rows = [line.split() for line in text(pilot.app).splitlines() if "staircase" in line]
        assert [row[2:4] for row in rows] == [["0", "REFUTED"], ["1", "REFUTED"], ["2", "REFUTED"]], screen
        ratios = [next(word for word in row if word.startswith("×")) for row in rows]
        assert ratios == ["×14.5", "×10.8", "×9.53"], "each against its own unmasked number"


async def test_enter_opens_the_estimate_under_the_cursor(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        await pilot.press("down", "right", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, DetailPage))
        await shows(pilot, "finite-difference", "staircase:c=255")
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, Compare)


async def test_the_view_turns_to_one_row_an_estimate_and_to_single_inputs(opened: Any, run: RunDir) -> None:
    async with opened(run, size=(100, 50)) as pilot:
        table = pilot.app.screen.query_one(LiveTable)
        assert table.count == 3
        await pilot.press("v")
        assert table.count == 9
        await pilot.press("i")
        await until(pilot, lambda: table.count == 27)
        await pilot.press("v")
        await until(pilot, lambda: table.count == 9)
        await pilot.press("i")
        await until(pilot, lambda: table.count == 3)


async def test_sorting_by_verdict_brings_the_worst_to_the_top_and_goes_away_again(
    opened: Any, run: RunDir
) -> None:
    async with opened(run) as pilot:
        table = pilot.app.screen.query_one(LiveTable)
        assert next(key.masker for key in table.shown) == "none"
        await pilot.press("S")
        assert [key.masker for key in table.shown] == ["staircase:c=255", "ramp:c=255,delta=0.2", "none"]
        assert table.current.masker == "none", "the cursor stays on its row"
        await pilot.press("S")
        assert next(key.masker for key in table.shown) == "none"
        await pilot.press("s")
        assert next(key.masker for key in table.shown) == "staircase:c=255", "the largest number first"
        await pilot.press("s")
        assert [key.masker for key in table.shown][-1] == "staircase:c=255"
        await pilot.press("s")
        assert next(key.masker for key in table.shown) == "none"


async def test_words_typed_after_a_slash_narrow_the_table(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        table = pilot.app.screen.query_one(LiveTable)
        await pilot.press("slash", *"ramp")
        assert [key.masker for key in table.shown] == ["ramp:c=255,delta=0.2"]
        await pilot.press("enter", "slash", *" zzz")
        await shows(pilot, "No row contains these words")
        await pilot.press("escape")
        assert len(table.shown) == 3


async def test_the_radius_and_the_command_are_copied(
    opened: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(run) as pilot:
        copied: list[str] = []
        monkeypatch.setattr(pilot.app, "copy_to_clipboard", copied.append)
        await pilot.press("down", "y")
        assert [float(text) for text in copied] == [1.0]
        await pilot.press("Y")
        await until(pilot, lambda: len(copied) == 2)
        assert copied[1].startswith("falsefloor run --model digits:mlp --masker none")


async def test_cancel_asks_and_no_is_the_answer_to_a_bare_enter(opened: Any, store: Path) -> None:
    live = StoredRun(store, done=4)
    async with opened(live.dir) as pilot:
        await shows(pilot, "live")
        await pilot.press("x")
        await shows(pilot, f"Cancel run {live.dir.id}?")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Compare))
        assert not (live.dir.commands / "cancel").exists()
    live.close()


async def test_cancelling_sends_the_command_to_a_live_worker(
    opened: Any, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = StoredRun(store, done=4)
    monkeypatch.setattr(RunDir, "is_alive", lambda self: True)
    async with opened(live.dir) as pilot:
        await shows(pilot, "live")
        await pilot.press("x", "y")
        await until(pilot, lambda: (live.dir.commands / "cancel").exists())
        await pilot.press("space")
        await until(pilot, lambda: (live.dir.commands / "pause").exists())
    live.close()


async def test_a_run_that_ended_cannot_be_cancelled_and_says_so(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        await pilot.press("x")
        await shows(pilot, "nothing to cancel")


async def test_export_writes_the_chosen_form_and_never_over_a_file(
    opened: Any, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened(run) as pilot:
        await pilot.press("e", "down", "enter", "enter")
        await shows(pilot, "Written")
        written = tmp_path / "falsefloor-7f3a0000.csv"
        assert "staircase:c=255" in written.read_text(encoding="utf-8")
        await pilot.press("e", "down", "enter", "enter")
        await shows(pilot, "exists already")


async def test_the_log_is_shown_with_its_control_characters_spelt_out(opened: Any, run: RunDir) -> None:
    run.log.write_bytes(b"first \x1b[2J line\nlast line\n")
    async with opened(run) as pilot:
        await pilot.press("l")
        screen = await shows(pilot, "last line")
        assert "\\x1b[2J" in screen


async def test_quitting_a_live_run_says_that_it_goes_on(opened: Any, store: Path) -> None:
    live = StoredRun(store, done=4)
    async with opened(live.dir) as pilot:
        await shows(pilot, "live")
        await pilot.press("q")
        await pilot.pause()
        assert f"falsefloor tui {live.dir.id}" in pilot.app.farewell
    live.close()


async def test_a_failed_cell_is_named_and_its_reason_shown(opened: Any, store: Path) -> None:
    run = StoredRun(store, failing=["clever"]).close()
    async with opened(run) as pilot:
        await shows(pilot, "failed", "ValueError: no")


async def test_the_whole_of_a_short_terminal_is_the_table(opened: Any, run: RunDir) -> None:
    async with opened(run, size=(40, 10)) as pilot:
        screen = await shows(pilot, "REFUTED")
        assert max(map(len, screen.splitlines())) <= 40 and len(screen.splitlines()) == 10
        await pilot.resize_terminal(140, 40)
        await shows(pilot, "FF201 floor above ceiling")
        await pilot.resize_terminal(80, 24)
        await shows(pilot, "REFUTED")


async def test_two_models_and_norms_get_columns_of_their_own(opened: Any, store: Path) -> None:
    models = (*STUDY.models, replace(STUDY.models[0], use="digits:cnn"))
    run = StoredRun(store, study=replace(STUDY, models=models, norms=("linf", "l2"))).close()
    async with opened(run, size=(140, 40)) as pilot:
        screen = await shows(pilot, "digits:cnn", "l2")
        header = screen.splitlines()[1]
        assert header.split()[:3] == ["model", "masker", "norm"]
        assert text(pilot.app).count("REFUTED") >= 4
