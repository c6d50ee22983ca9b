"""Detail, Warnings, Runs, Plugins, Help, the first page: each shown, each key pressed."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sample_run import StoredRun
from screens import shows, text, until
from textual.app import App, ComposeResult
from textual.widgets import OptionList

from falsefloor.plugins import Catalogue, Described, Plugin
from falsefloor.store.run_dir import RunDir
from falsefloor.tui.actions import ACTIONS, of
from falsefloor.tui.screens.compare import Compare
from falsefloor.tui.screens.detail import DetailPage
from falsefloor.tui.screens.plugins import Plugins
from falsefloor.tui.screens.runs import Runs
from falsefloor.tui.screens.spec_editor import SpecEditor
from falsefloor.tui.widgets.inputs import Options
from falsefloor.tui.widgets.live_table import LiveTable


async def test_detail_shows_each_warning_with_its_evidence_and_its_replay(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        await pilot.press("down", "enter")
        screen = await shows(pilot, "FF201 refuted", "distance — 0.0775", "falsefloor replay 7f3a0000")
        assert "input 0 (digits:40), 1 of 3" in screen


async def test_detail_turns_through_its_panels_one_by_one_where_there_is_little_room(
    opened: Any, run: RunDir
) -> None:
    async with opened(run) as pilot:
        await pilot.press("down", "enter")
        await shows(pilot, "FF201 refuted")
        await pilot.press("2")
        screen = await shows(pilot, "Scale spectrum", "autograd: 0", "1e-7", "0.1")
        (zero,) = (line for line in screen.splitlines() if "=====" in line)
        assert "┤" in zero and any("⠀" < letter <= "⣿" for letter in zero), "a curve at 0 lies on 0"
        await pilot.press("tab")
        await shows(pilot, "50 batch maxima", "there is nothing to fit")
        await pilot.press("right")
        await shows(pilot, "The number as it was computed", "upper bound 0.0775", "batch")
        await pilot.press("5")
        await shows(pilot, "input: 4", "adversarial: 7", "change 0.077", "▀")
        await pilot.press("6")
        await shows(pilot, "This estimate", "Parameters")
        await pilot.resize_terminal(80, 60)
        await shows(pilot, "Evidence", "gradient_norm_median")
        await pilot.resize_terminal(80, 24)
        await pilot.press("left", "left")
        await shows(pilot, "The number as it was computed")


async def test_the_fitted_curve_is_named_with_its_numbers(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        await pilot.press("down", "down", "enter", "3")
        await shows(pilot, "ends at 311.9", "location 311.9, shape 4.9442, scale 105.6")
        assert "not used" not in text(pilot.app)
        await pilot.press("escape", "up", "up", "enter", "3")
        await shows(pilot, "location 124.8, shape 1.0000, scale 3.5374. It is not used")


async def test_detail_shows_everything_at_once_where_there_is_room(opened: Any, run: RunDir) -> None:
    async with opened(run, size=(140, 40)) as pilot:
        await pilot.press("down", "enter")
        await shows(
            pilot, "FF201 refuted", "Scale spectrum", "batch maxima", "as it was computed", "adversarial: 7"
        )


async def test_brackets_go_from_input_to_input_and_around(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        await pilot.press("enter")
        await shows(pilot, "1 of 3")
        await pilot.press("right_square_bracket")
        await shows(pilot, "2 of 3")
        await pilot.press("left_square_bracket", "left_square_bracket")
        await shows(pilot, "3 of 3")


async def test_the_witness_is_copied_as_json(
    opened: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(run) as pilot:
        copied: list[str] = []
        monkeypatch.setattr(pilot.app, "copy_to_clipboard", copied.append)
        await pilot.press("down", "enter")
        await shows(pilot, "FF201")
        await pilot.press("Y", "y")
        assert len(json.loads(copied[0])) == 64
        assert float(copied[1]) == 1.0


async def test_warnings_stand_by_their_code_with_their_explanation(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        await pilot.press("w")
        screen = await shows(pilot, "3 refuted", "21 suspect", "FF201 floor above ceiling", "What to do")
        assert screen.index("FF201 REFUTED") < screen.index("FF102")
        await pilot.press("slash", *"code", "colon", *"FF102 ramp", "enter")
        await shows(pilot, "FF102 scales disagree", "On 3 inputs; of input 0")
        await pilot.press("enter")
        await shows(pilot, "FF102 ramp 255 0.2 clever")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, DetailPage))
        await shows(pilot, "ramp:c=255,delta=0.2")


async def test_ten_thousand_warnings_are_all_there_and_quick_to_walk(opened: Any, store: Path) -> None:
    notes = [("FF504", f"note number {n}") for n in range(1112)]
    run = StoredRun(store, notes=notes).close()
    async with opened(run) as pilot:
        await pilot.press("w")
        await pilot.press("slash", *"FF504", "enter")
        await shows(pilot, "note number ", "On 3 inputs, 3,336 times; of input 0")
        await pilot.press("escape")
        await pilot.press("g", "g")
        await until(pilot, lambda: pilot.app.screen.query_one(LiveTable).count >= 10_000)
        await pilot.press("end", "pageup", "slash", *"1111")
        await until(pilot, lambda: len(pilot.app.screen.query_one(LiveTable).shown) == 9)


async def test_the_replay_command_of_a_refutation_is_copied(
    opened: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(run) as pilot:
        copied: list[str] = []
        monkeypatch.setattr(pilot.app, "copy_to_clipboard", copied.append)
        await pilot.press("w")
        await shows(pilot, "FF201")
        await pilot.press("y")
        assert copied[0].startswith("falsefloor replay 7f3a0000 ")


async def test_runs_are_listed_newest_first_and_opened(opened: Any, store: Path, run: RunDir) -> None:
    other = StoredRun(store, id="11110000", done=4)
    other.close()
    async with opened(run) as pilot:
        await pilot.press("r")
        screen = await shows(pilot, "7f3a0000", "11110000", "2 runs", "1 under way")
        assert "12/12" in screen and "4/12" in screen
        table = pilot.app.screen.query_one(LiveTable)
        table.move_to("11110000")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Compare))
        await shows(pilot, "run 11110000", "live")


async def test_a_deleted_run_can_be_taken_back_until_the_app_closes(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        await pilot.press("r")
        await shows(pilot, "7f3a0000", "done")
        await pilot.press("d")
        await shows(pilot, "There are no runs here yet", "u takes it back")
        await pilot.press("u")
        await shows(pilot, "12/12", "7f3a0000 stays")
        assert run.path.exists()
        await pilot.press("d")
        await shows(pilot, "There are no runs here yet", "1 deleted when the app closes")
        assert run.path.exists()
    assert not run.path.exists()


async def test_two_runs_are_compared_and_what_changed_comes_first(opened: Any, store: Path) -> None:
    before = StoredRun(store, id="aaaa0000").close()
    StoredRun(store, id="bbbb0000", factor=2.0).close()
    async with opened(before, size=(140, 40)) as pilot:
        await pilot.press("r")
        await shows(pilot, "aaaa0000", "bbbb0000")
        table = pilot.app.screen.query_one(LiveTable)
        table.move_to("aaaa0000")
        await pilot.press("c")
        await shows(pilot, "c on another run compares it with aaaa0000")
        table.move_to("bbbb0000")
        await pilot.press("c")
        await shows(pilot, "aaaa0000 before, bbbb0000 after", "shared cells changed", "intervals apart on")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, Runs))


async def test_a_run_gets_another_tag_and_its_diagnosis_is_told(opened: Any, run: RunDir) -> None:
    async with opened(run, size=(140, 40)) as pilot:
        await pilot.press("r")
        await shows(pilot, "sample")
        await pilot.press("T", *"d2", "enter")
        await shows(pilot, " d2 ")
        await pilot.press("D")
        await shows(pilot, "diagnosis of run 7f3a0000", "staircase:c=255")
        headings = [str(span.style) for span in pilot.app.screen.query_one("#told").content.spans]
        assert "bold $primary" in headings, "titles stand out"
        await pilot.press("y")
        assert "What is claimed" in pilot.app.clipboard


async def test_every_code_is_explained_from_any_page(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        await pilot.press("F", "slash", *"FF205", "enter")
        await shows(pilot, "FF205 planted trap missed", "What to do")
        await pilot.press("escape", "escape", "down")
        await until(pilot, lambda: pilot.app.screen.code == "FF201")
        await pilot.press("F")
        await shows(pilot, "FF201 floor above ceiling", "What to do")


async def test_the_tour_points_at_the_table_in_six_steps_and_can_be_left(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        await pilot.press("G")
        await shows(pilot, "1 of 6", "A floor, estimated")
        table = pilot.app.screen_stack[0].query_one(LiveTable)
        assert table.current.masker == "none"
        await pilot.press("enter", "enter")
        await shows(pilot, "3 of 6", "Why the mask fools it", "1.0000")
        assert (table.current.masker, table.current_column) == ("staircase:c=255", "e:clever")
        await pilot.press("left", "escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, Compare))


async def test_space_resumes_a_lost_run(opened: Any, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = StoredRun(store, done=4)
    lost.writer.set_meta(in_process=False)
    lost.close()
    asked: list[str] = []

    def resume(run: RunDir) -> int:
        asked.append(run.id)
        return 8

    monkeypatch.setattr("falsefloor.worker.launch.resume", resume)
    async with opened(lost.dir) as pilot:
        await shows(pilot, "LOST")
        await pilot.press("r")
        await shows(pilot, "Its worker is gone")
        await pilot.press("space")
        await shows(pilot, "Going on with 8 units")
        assert asked == [lost.dir.id]


def plugin(name: str, status: str, **more: Any) -> Described:
    found = Plugin("estimator", name, "stranger", "1.0", "stranger:it")
    return Described(found, status, **more)  # type: ignore[arg-type]


async def test_a_broken_plugin_is_listed_with_its_reason(
    opened: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = plugin(
        "bad[red]", "broken", reason="ImportError: no module \x1b[31m nothing", traceback="line 1\nline 2"
    )
    fine = plugin("fine", "healthy", summary="Counts to three.", claim="lower_bound", norms=("l2",))
    rows = (fine, broken)
    monkeypatch.setattr(
        "falsefloor.tui.screens.plugins.catalogue",
        lambda *_, **__: Catalogue(rows, tuple(row.plugin for row in rows)),
    )
    async with opened(run) as pilot:
        await pilot.press("p")
        screen = await shows(pilot, "fine", "bad[red]", "broken", "1 cannot be used")
        assert "claims: lower bound; norms l2" in screen
        await pilot.press("down")
        await shows(pilot, "ImportError: no module \\x1b[31m nothing", "line 2")
        copied: list[str] = []
        monkeypatch.setattr(pilot.app, "copy_to_clipboard", copied.append)
        await pilot.press("y", "u")
        assert copied == ["stranger/bad[red]"]


async def test_a_plugin_that_hangs_holds_up_neither_the_page_nor_the_composing_of_a_run(
    opened: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    fine, being, late = (
        plugin(*row) for row in (("fine", "healthy"), ("slow", "being described"), ("slow", "timed out"))
    )

    def looked(*, refresh: bool = False, wait: bool = True) -> Catalogue:
        rows = (fine, replace(being, reason="a process imports it"))
        if wait:
            ended.wait(8)
            rows = (fine, replace(late, reason="30 s are over"))
        return Catalogue(rows, tuple(row.plugin for row in rows))

    monkeypatch.setattr("falsefloor.tui.screens.plugins.catalogue", looked)
    monkeypatch.setattr("falsefloor.tui.screens.new_run.catalogue", looked)
    async with opened(run) as pilot:
        await pilot.press("p")
        await shows(pilot, "fine", "being described", "a process imports it", "all healthy")
        await pilot.press("n", "tab", "tab", "tab", "end", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, SpecEditor))
        await pilot.press(*"slow")
        await shows(pilot, "'slow' (stranger 1.0) is being described")
        await pilot.press("escape", "escape")
        ended.set()
        await shows(pilot, "timed out", "30 s are over", "1 cannot be used")


async def test_runs_plugins_and_help_are_opened_once_however_often_asked(
    opened: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falsefloor.tui.screens.plugins.catalogue", lambda *_, **__: Catalogue((), ()))
    async with opened(run) as pilot:
        await pilot.press("r", "p", "r", "p")
        await pilot.pause()
        kinds = [type(screen) for screen in pilot.app.screen_stack]
        assert kinds == [Compare, Runs, Plugins]


async def test_help_names_every_key_of_the_page_it_was_opened_from(opened: Any, run: RunDir) -> None:
    async with opened(run, size=(100, 120)) as pilot:
        await pilot.press("question_mark")
        screen = await shows(pilot, "Keys: Compare")
        for action in ACTIONS:
            assert action.help in screen, action.id
        assert "≳" in screen and "refuted" in screen


async def test_the_palette_runs_what_the_keys_run(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        await pilot.press("ctrl+p")
        await pilot.pause(0.1)
        await pilot.press(*"Warnings")
        await pilot.pause(0.3)
        await pilot.press("enter")
        await shows(pilot, "FF201 floor above ceiling")


async def test_the_first_page_offers_the_demo_and_a_new_run(
    opened: Any, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []

    def start(study: Any, root: Path) -> tuple[RunDir, list[str]]:
        started.append((study.tag, root))
        return StoredRun(root).close(), ["added the estimator attack"]

    monkeypatch.setattr("falsefloor.worker.launch.start", start)
    async with opened() as pilot:
        screen = await shows(pilot, "no input closer than r fools this model", "See the demo")
        assert max(map(len, screen.splitlines())) <= 80
        await pilot.press("d")
        await shows(pilot, "REFUTED")
        assert started == [("demo", store)]


async def test_themes_turn_and_every_one_has_all_colours(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        seen = {pilot.app.theme: pilot.app.screen.styles.background}
        for _ in range(3):
            await pilot.press("t")
            await pilot.pause()
            seen[pilot.app.theme] = pilot.app.screen.styles.background
        assert len(seen) == 4
        assert seen["floor-dark"].hex == "#12151A" and seen["floor-light"].hex == "#FBFAF7"
        assert seen["ansi-dark"].ansi == -1, "the terminal's own background"
        await pilot.press("down", "enter", "2")
        await shows(pilot, "Scale spectrum")
        assert "REFUTED" in text(pilot.app)


def test_every_page_has_a_way_back_and_no_key_that_a_terminal_swallows() -> None:
    keys = {key for action in ACTIONS for key in action.keys.split(",")}
    assert not keys & {"ctrl+s", "ctrl+q", "ctrl+c"}
    assert not any(key.startswith(("f1", "alt+")) or (key[:1] == "f" and key[1:].isdigit()) for key in keys)
    for where in {action.where for action in ACTIONS}:
        shown = [key for action in of(where) for key in action.keys.split(",")]
        assert len(shown) == len(set(shown)), where


@pytest.mark.parametrize(("way", "keys"), [("ctrl+p", "help"), ("x", "")])
async def test_what_is_answered_twice_in_a_moment_closes_one_page(
    opened: Any, store: Path, way: str, keys: str
) -> None:
    live = StoredRun(store, done=5)
    async with opened(live.dir) as pilot:
        await pilot.press("r", way, *keys)
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        question = pilot.app.screen
        assert question.is_modal
        question.dismiss(None)
        question.dismiss(None)
        await pilot.pause()
        assert isinstance(pilot.app.screen, Runs)
    live.close()


@pytest.mark.parametrize("way", ["page_up", "page_down"])
async def test_a_page_up_or_down_in_a_list_that_has_no_room_is_none(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Textual's own list has no line there, looks for one, and ends the app."""

    class Bare(App[None]):
        def compose(self) -> ComposeResult:
            yield Options("one", "two")

    async with Bare().run_test() as pilot:
        options = pilot.app.query_one(Options)
        options.highlighted = 1
        monkeypatch.setattr(OptionList, "_index_to_line", {})
        getattr(options, f"action_{way}")()
        assert options.highlighted == 1
