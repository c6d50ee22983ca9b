"""Every key that the bar shows does something where it is shown; every pane scrolls and takes the focus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sample_run import StoredRun
from screens import home, reach, shows, text, until

from falsefloor.errors import UsageError
from falsefloor.plugins import Catalogue, Described, Plugin
from falsefloor.store.run_dir import RunDir
from falsefloor.tui.screens.compare import Compare
from falsefloor.tui.screens.detail import DetailPage, Tab
from falsefloor.tui.widgets.bars import KeyBar
from falsefloor.tui.widgets.live_table import LiveTable

PAGES = {
    "compare": (),
    "detail": ("down", "enter"),
    "detail, a plot": ("down", "enter", "2"),
    "warnings": ("w",),
    "runs": ("r",),
    "plugins": ("p",),
    "codes": ("F",),
    "help": ("question_mark",),
    "new": ("n",),
    "log": ("l",),
    "filter": ("slash",),
    "filtered": ("slash", "r", "enter"),
    "inputs": ("i",),
}


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started, and what is installed is known at once."""
    plugin = Plugin("masker", "staircase", "falsefloor", "0.1.0", "x:y")
    known = Catalogue((Described(plugin, "healthy", summary="Steps."),), (plugin,))
    monkeypatch.setattr("falsefloor.tui.screens.plugins.catalogue", lambda *_, **__: known)
    monkeypatch.setattr("falsefloor.tui.screens.new_run.catalogue", lambda *_, **__: known)

    def refuse(*_: object, **__: object) -> Any:
        raise UsageError("no run starts in a test")

    monkeypatch.setattr("falsefloor.worker.launch.start", refuse)
    monkeypatch.setattr("falsefloor.tui.commands.replay", lambda run, finding: (True, ["it replays"]))


def shown(app: Any) -> dict[str, str]:
    """Key, as Textual names it, to what the bar calls it."""
    return {action.keys.split(",")[0]: action.label for action in app.screen.query_one(KeyBar).actions}


SOON = ("compare", "detail, a plot", "filter")
"""Pages whose keys are pressed at every test; the others take a minute."""


@pytest.mark.parametrize(
    "page", [page if page in SOON else pytest.param(page, marks=pytest.mark.slow) for page in PAGES]
)
async def test_every_key_in_the_bar_acts_where_it_is_shown(opened: Any, run: RunDir, page: str) -> None:
    """Fails where a key changes nothing on the page, opens none, copies nothing and leaves nothing.

    One app as long as the page looks as before when it is come back to.
    """
    left: list[str] | None = None
    while left is None or left:
        async with opened(run) as pilot:
            await reach(pilot, PAGES[page])
            first, keys = text(pilot.app), shown(pilot.app)
            if left is None:
                assert keys and ("escape" in keys or page == "compare")
                left = [key for key, label in keys.items() if f" {label}" in first.splitlines()[-1]]
            while left and text(pilot.app) == first:
                await acts(pilot, left.pop())
                await home(pilot)
                await reach(pilot, PAGES[page])


async def acts(pilot: Any, key: str) -> None:
    app, said = pilot.app, []
    app.copy_to_clipboard = said.append
    app.exit = lambda *given, **_: said.append(given)
    before = (text(app), app.screen)
    await pilot.press(key)
    await until(pilot, lambda: bool(said) or (text(app), app.screen) != before)


async def test_every_pane_that_has_more_than_fits_takes_the_focus_at_80_columns(
    opened: Any, store: Path
) -> None:
    run = StoredRun(store, inputs=30).close()
    async with opened(run) as pilot:
        for page, keys in PAGES.items():
            if not page.startswith("filter"):
                await reach(pilot, keys)
                hidden = [
                    widget
                    for widget in pilot.app.screen.query("*")
                    if widget.display
                    and widget.region
                    and widget.max_scroll_y > 0
                    and widget.allow_vertical_scroll
                ]
                assert all(
                    widget.can_focus or any(child.can_focus for child in widget.query("*"))
                    for widget in hidden
                ), (page, hidden)
                await home(pilot)


async def test_tabs_and_the_bar_answer_clicks(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        await reach(pilot, ("down", "enter"))
        await pilot.click(pilot.app.screen.query(Tab)[3])
        await shows(pilot, "The number as it was computed")
        x = text(pilot.app).splitlines()[-1].index("esc")
        await pilot.click(KeyBar, offset=(x, 0))
        await until(pilot, lambda: isinstance(pilot.app.screen, Compare))


async def test_escape_goes_one_step_back_at_a_time(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        table = pilot.app.screen.query_one(LiveTable)
        await pilot.press("down", "o")
        await until(pilot, lambda: table.count == 3 and table.shown[0].input == 0)
        await pilot.press("slash", *"input", "colon", "1", "enter")
        assert [key.input for key in table.shown] == [1]
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, DetailPage))
        await pilot.press("z", "escape")
        assert isinstance(pilot.app.screen, DetailPage)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, Compare))
        await pilot.press("tab")
        assert not table.has_focus
        await pilot.press("escape")
        assert table.has_focus and table.needle
        await pilot.press("escape")
        assert len(table.shown) == 3
        await pilot.press("escape")
        await until(pilot, lambda: [key.input for key in table.shown] == [-1, -1, -1])
        assert table.current.masker == "staircase:c=255", "back on the row it came from"


async def test_a_row_is_found_by_any_of_its_codes(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        table = pilot.app.screen.query_one(LiveTable)
        await pilot.press("slash", *"code", "colon", *"FF102")
        masked = ["staircase:c=255", "ramp:c=255,delta=0.2"]
        await until(pilot, lambda: [key.masker for key in table.shown] == masked)
        await pilot.press(*" verdict", "colon", *"refuted")
        await until(pilot, lambda: [key.masker for key in table.shown] == masked[:1])
