"""Composing a run: the form, the editor made from options, the last page."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sample_run import StoredRun, recorded
from screens import shows, until
from textual.widgets import Input, Select

from falsefloor.errors import UsageError
from falsefloor.options import Option
from falsefloor.plugins import Catalogue, Described, Plugin, catalogue
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.study.file import read_study
from falsefloor.study.grammar import show_value
from falsefloor.study.study import DOMAIN, SETTINGS, ModelSpec
from falsefloor.study.units import series_of
from falsefloor.tui.costs import count_inputs, expect
from falsefloor.tui.screens.new_run import FIRST, NewRun
from falsefloor.tui.screens.review import Review
from falsefloor.tui.screens.spec_editor import SpecEditor
from falsefloor.tui.widgets.inputs import SpecList
from falsefloor.tui.widgets.option_form import OptionForm


def offer(kind: str, name: str, *options: Option, status: str = "healthy") -> Described:
    plugin = Plugin(kind, name, "falsefloor", "0.1.0", "x:y")
    return Described(plugin, status, options=options, summary=f"what {name} does")  # type: ignore[arg-type]


MODE = Option("mode", ("str",), "ceil", help="how a value is put on a step", choices=("ceil", "floor"))
LEVELS = Option("c", ("int", "float"), 255, help="steps per unit", gt=0)
RADIUS = Option("radius", ("float",), "auto", help="radius of the ball", gt=0, words=("auto",))
ROWS = (
    offer("estimator", "clever", RADIUS, Option("box", ("bool",), True, help="whether the box is used")),
    offer("estimator", "finite-difference"),
    offer("estimator", "attack"),
    offer("estimator", "broken", status="broken"),
    offer("masker", "staircase", LEVELS, MODE),
    offer("masker", "ramp", LEVELS),
    offer("gradient", "secant"),
)
SERIES = series_of(FIRST, recorded())


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Catalogue(ROWS, tuple(row.plugin for row in ROWS))
    monkeypatch.setattr("falsefloor.tui.screens.new_run.catalogue", lambda *_, **__: found)
    monkeypatch.setattr("falsefloor.worker.launch.check", lambda study: (series_of(study, recorded()), []))


async def form(pilot: Any) -> NewRun:
    await pilot.press("n")
    await until(
        pilot, lambda: isinstance(pilot.app.screen, NewRun) and pilot.app.screen.catalogue is not None
    )
    return pilot.app.screen


def shown_forms(pilot: Any) -> int:
    return sum(bool(form.display) for form in pilot.app.screen.query(OptionForm))


async def test_the_form_begins_with_the_smallest_study_that_refutes_something(
    opened: Any, run: RunDir
) -> None:
    async with opened(run) as pilot:
        page = await form(pilot)
        await shows(pilot, "digits:mlp", "staircase:c=255", "[x] linf", "[ ] l2", "Review and start")
        assert page.study() == FIRST


async def test_an_estimator_is_found_by_typing_and_its_options_become_a_form(
    opened: Any, run: RunDir
) -> None:
    async with opened(run) as pilot:
        page = await form(pilot)
        page.query_one("#estimators", SpecList).focus()
        await pilot.press("end", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, SpecEditor))
        screen = await shows(pilot, "clever", "attack")
        assert "broken" not in screen
        await pilot.press(*"cle", "enter")
        await shows(pilot, "radius of the ball", "where its gradients come from")
        field = pilot.app.screen.query_one("#o-radius")
        field.value = "0.3"
        await until(pilot, lambda: pilot.app.screen.query_one("#spec").value == "clever:radius=0.3")
        field.value = "-1"
        await shows(pilot, "is not possible")
        await pilot.press("ctrl+r")
        assert isinstance(pilot.app.screen, SpecEditor), "what is not possible cannot be accepted"
        field.value = "0.3"
        await pilot.pause()
        await pilot.press("ctrl+r")
        await until(pilot, lambda: pilot.app.screen is page)
        assert page.query_one("#estimators", SpecList).texts[-1] == "clever:radius=0.3"


async def test_a_stack_of_maskers_has_a_form_for_each_layer(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        page = await form(pilot)
        page.query_one("#maskers", SpecList).focus()
        await pilot.press("down", "enter")
        await until(pilot, lambda: shown_forms(pilot) == 1)
        await pilot.press("ctrl+n", *"ra", "enter")
        await until(pilot, lambda: shown_forms(pilot) == 2)
        await shows(pilot, "1. staircase", "2. ramp", "where it stands")
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.screen is page)
        assert page.query_one("#maskers", SpecList).texts == ["none", "staircase:c=255+ramp"]


async def test_a_name_that_does_not_exist_is_refused_with_the_nearest(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        page = await form(pilot)
        page.query_one("#maskers", SpecList).focus()
        await pilot.press("end", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, SpecEditor))
        await pilot.press("s")
        assert "what ramp does" not in await shows(pilot, "what staircase does")
        await pilot.press(*"tairs", "enter")
        await shows(pilot, "staircase")
        assert isinstance(pilot.app.screen, SpecEditor)
        await pilot.press("escape")
        assert pilot.app.screen is page and len(page.query_one("#maskers", SpecList).texts) == 2


async def test_lines_of_a_list_are_removed_and_copied(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        page = await form(pilot)
        specs = page.query_one("#estimators", SpecList)
        specs.focus()
        await pilot.press("d")
        assert specs.texts == ["finite-difference", "attack"]
        await pilot.press("c")
        await until(pilot, lambda: isinstance(pilot.app.screen, SpecEditor))
        await pilot.press("ctrl+r")
        await until(pilot, lambda: pilot.app.screen is page)
        assert specs.texts == ["finite-difference", "attack", "finite-difference"]
        await pilot.press("ctrl+r")
        await shows(pilot, "is given twice")


async def test_the_last_page_counts_the_work_names_the_command_and_starts(
    opened: Any, run: RunDir, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []

    def start(study: Any, root: Path) -> tuple[RunDir, list[str]]:
        started.append(study)
        return StoredRun(root, id="beef0000", done=4).close(), []

    monkeypatch.setattr("falsefloor.worker.launch.start", start)
    async with opened(run) as pilot:
        await form(pilot)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: isinstance(pilot.app.screen, Review))
        screen = await shows(pilot, "6 cells over 10 inputs", "8 units of work, 60 estimates", "going by run")
        assert "falsefloor run --model digits:mlp --masker none --masker staircase:c=255" in screen
        await pilot.press("enter")
        await shows(pilot, "run beef0000")
        assert started == [FIRST]


async def test_a_study_that_cannot_run_says_why_and_does_not_start(
    opened: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(study: Any) -> Any:
        raise UsageError("There is no model 'digit'. Did you mean 'digits'?")

    monkeypatch.setattr("falsefloor.worker.launch.check", refuse)
    async with opened(run) as pilot:
        await form(pilot)
        await pilot.press("ctrl+r")
        await shows(pilot, "This study cannot run yet", "Did you mean 'digits'?")
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(pilot.app.screen, Review)


async def test_a_study_is_saved_and_loaded_again(
    opened: Any, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened(run) as pilot:
        page = await form(pilot)
        page.query_one("#o-seed").value = "7"
        await pilot.press("ctrl+t", "enter")
        await until(pilot, lambda: (tmp_path / "study.toml").exists())
        assert read_study(tmp_path / "study.toml").seed == 7
        page.query_one("#o-seed").value = "8"
        await pilot.press("ctrl+o", *"study", "full_stop", *"toml", "enter")
        await until(pilot, lambda: page.query_one("#o-seed").value == "7")


async def test_again_with_changes_begins_with_the_study_of_the_run(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        await pilot.press("a")
        await shows(pilot, "ramp:c=255,delta=0.2", "sample")


async def test_every_setting_of_a_study_stands_in_the_form_and_can_be_changed(
    opened: Any, run: RunDir
) -> None:
    given = replace(
        FIRST,
        models=(ModelSpec("digits:mlp", bounds=(0.0, 2.0)),),
        trap=True,
        ceiling=False,
        recover="off",
        time_limit=60.0,
        tag="x y",
    )
    async with opened(run, size=(100, 70)) as pilot:
        pilot.app.show("new run", given)
        await until(pilot, lambda: isinstance(pilot.app.screen, NewRun))
        page = pilot.app.screen
        await shows(pilot, *(one.name for one in (*SETTINGS, *DOMAIN)), "0,2")
        await until(pilot, lambda: page.study() == given)
        page.query_one("#o-bounds").value = ""
        page.query_one("#o-trap").value = False
        page.query_one("#o-mean").value = "0.5"
        await pilot.pause()
        assert page.study() == replace(given, models=(ModelSpec("digits:mlp", mean=(0.5,)),), trap=False)
        page.query_one("#o-chunk").value = "0"
        await shows(pilot, "not possible: expected an integer at least 1")
        with pytest.raises(UsageError, match="chunk"):
            page.study()


async def test_models_keep_their_own_domains_until_one_is_given_to_all(opened: Any, run: RunDir) -> None:
    models = (ModelSpec("digits:mlp", bounds=(0.0, 1.0)), ModelSpec("digits:cnn", "mine", bounds=(0.0, 2.0)))
    given = replace(FIRST, models=models)
    async with opened(run, size=(100, 60)) as pilot:
        pilot.app.show("new run", given)
        await shows(pilot, "bounds by model: digits:mlp 0,1; mine 0,2")
        page = pilot.app.screen
        assert page.study() == given
        page.query_one("#o-bounds").value = "-1,1"
        await pilot.pause()
        assert [(m.name, m.bounds) for m in page.study().models] == [
            ("digits:mlp", (-1.0, 1.0)),
            ("mine", (-1.0, 1.0)),
        ]


async def test_a_study_that_was_loaded_keeps_its_comments_when_it_is_saved(
    opened: Any, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = '# ours\nmodels = ["digits:mlp"]\nseed = 7  # lucky\n'
    (tmp_path / "given.toml").write_text(text, encoding="utf-8")
    async with opened(run) as pilot:
        page = await form(pilot)
        await pilot.press("ctrl+o", *"given", "full_stop", *"toml", "enter")
        await until(pilot, lambda: page.query_one("#o-seed").value == "7")
        page.query_one("#o-seed").value = "8"
        await pilot.press("ctrl+t", "enter")
        await until(pilot, lambda: (tmp_path / "study.toml").exists())
        assert (tmp_path / "study.toml").read_text(encoding="utf-8") == text.replace("7", "8")


async def test_a_form_left_by_mistake_is_there_when_it_is_opened_again(opened: Any, run: RunDir) -> None:
    async with opened(run) as pilot:
        page = await form(pilot)
        page.query_one("#o-tag").value = "mine"
        await pilot.press("escape")
        await pilot.pause()
        page = await form(pilot)
        assert page.study().tag == "mine"


async def editor(pilot: Any, kind: str, text: str) -> SpecEditor:
    """The editor of one spec, with what is really installed."""
    page = SpecEditor(kind, text, catalogue())
    pilot.app.push_screen(page)
    await until(pilot, lambda: pilot.app.screen is page and bool(page.query("#forms")))
    await pilot.pause()
    return page


def typed(option: Option) -> list[str]:
    """What somebody may write for an option: its choices, a number and what is no value."""
    return [*map(show_value, (*(option.choices or ()), *option.words)), "-1.5", "'[b'"]


@pytest.mark.parametrize("all_options", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["masker", "estimator"])
async def test_any_option_of_any_plugin_can_be_typed_and_deleted_letter_by_letter(
    opened: Any, kind: str, all_options: bool
) -> None:
    async with opened() as pilot:
        page = await editor(pilot, kind, "")
        spec = page.query_one("#spec", Input)
        seen: set[Option] = set()
        for row in catalogue().of(kind):
            for option in page._options(row) if row.usable else ():
                head = f"{row.name}:{option.name}="
                wanted = {option} if all_options or option.choices else set()
                # What every plugin takes is typed once.
                for text in typed(option) if wanted - seen else ():
                    for end in (*range(len(text) + 1), *reversed(range(len(text)))):
                        with spec.prevent(Input.Changed):
                            spec.value = head + text[:end]
                        await page._read(spec.value)
                    await pilot.pause(0)
                    assert pilot.app.screen is page, head + text
                seen.add(option)
            for end in reversed(range(len(row.name) + 2)):
                spec.value = f"{row.name}:"[:end]
                await pilot.pause(0)


async def test_half_a_choice_is_an_error_beside_its_field_and_cannot_be_accepted(opened: Any) -> None:
    async with opened(size=(120, 30)) as pilot:
        page = await editor(pilot, "masker", "staircase:mode=r")
        screen = await shows(pilot, "mode='r' is not possible", "not possible: expected one of 'ceil'")
        assert " r " in next(line for line in screen.splitlines() if "not possible: expected" in line)
        await pilot.press("ctrl+r")
        assert pilot.app.screen is page
        page.query_one("#o-mode", Select).value = "floor"
        await until(pilot, lambda: page.query_one("#spec", Input).value == "staircase:mode=floor")
        assert "not possible" not in await shows(pilot, "how a value is put")


def test_inputs_are_counted_only_where_the_reference_says_how_many() -> None:
    assert count_inputs("digits:0-9") == 10
    assert count_inputs("digits:0-4,20") == 6
    assert count_inputs("npz:batch.npz") is None
    assert count_inputs("") is None
    assert count_inputs("digits:9-0") is None


def test_the_cost_is_unknown_without_an_earlier_run_and_timed_with_one(store: Path, run: RunDir) -> None:
    assert expect(FIRST, SERIES, store / "empty").seconds is None
    cost = expect(FIRST, SERIES, store)
    with RunReader(run) as reader:
        spent = sum(unit["seconds"] for unit in reader.units())
    # Spent on 3 inputs behind three maskers; now it is ten inputs behind two.
    assert cost.seconds == pytest.approx(spent / 3 / 3 * 10 * 2)
    assert (cost.cells, cost.units, cost.estimates, cost.known, cost.source) == (6, 8, 60, 6, "7f3a0000")


def test_a_follow_up_is_not_taken_for_an_observation(store: Path, run: RunDir) -> None:
    cost = expect(FIRST, SERIES, store)
    with sqlite3.connect(run.db) as db:
        observed = "SELECT model, masker, norm, first, stop, status, 1e6 FROM unit WHERE kind = 'observe'"
        db.execute(
            "INSERT INTO unit (key, cell, kind, spec, model, masker, norm, first, stop, status, seconds)"
            f" SELECT 'again', 'again', 'follow-up', '{{}}', * FROM ({observed} LIMIT 1)"
        )
    db.close()
    assert expect(FIRST, SERIES, store) == cost
