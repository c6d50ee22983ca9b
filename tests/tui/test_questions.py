"""Twenty questions of a newcomer, each answered by words on the screen at 80 × 24, without Help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sample_run import StoredRun
from screens import home, reach, shows, until

from falsefloor.store.run_dir import RunDir
from falsefloor.tui.widgets.live_table import LiveTable


def done(store: Path) -> RunDir:
    return StoredRun(store, id="7f3a0000").close()


def live(store: Path) -> RunDir:
    return StoredRun(store, done=5).dir


def failed(store: Path) -> RunDir:
    return StoredRun(store, failing=["clever"]).close()


def lost(store: Path) -> RunDir:
    dead = StoredRun(store, id="dead0000", done=3)
    dead.writer.set_meta(in_process=False)
    return dead.close()


QUESTIONS: dict[tuple[Callable[[Path], RunDir], tuple[str, ...]], dict[str, tuple[str, ...]]] = {
    # the run, keys pressed on its table: question, words that answer it
    (done, ()): {"What does held mean?": ("no failure found; that is no proof",)},
    (done, ("down",)): {
        "What is this number?": ("estimates that no change below 1.0000 fools it",),
        "Is it proved or estimated?": ("clever on digits:mlp behind staircase:c=255 estimates",),
        "Of which input is it?": ("is the median over 3 inputs", "gravest is input 0"),
        "On how many inputs is that so?": ("3 of 3 REFUTED",),
        "Which model is it, behind what?": ("on digits:mlp behind staircase:c=255",),
        "How is distance measured?": ("no coordinate moved by more",),
        "What do the signs mean?": ("≳ estimated floor", "≤ ceiling", "✗ refuted", "? suspect"),
        "What does REFUTED mean?": ("the number is false: a point that replays",),
        "Why this verdict?": ("FF201", "attack has a verified adversarial input"),
        "How much was found false?": ("3 refuted",),
    },
    (done, ("down", "tab", "pagedown")): {"What should I do now?": ("What to do: Read the smaller number",)},
    (done, ("down", "enter")): {
        "Where is the counterexample?": ("a point at 0.0775 replays this: falsefloor replay 7f3a0000",)
    },
    (done, ("down", "enter", "end")): {
        "Where does the gradient get lost?": ("Where the gradient is lost", "ceil in input.0.quantise"),
        "Who says otherwise?": ("The same input by the other estimators",),
    },
    (done, ("down", "end", "right", "right", "enter", "6")): {
        "How was it attacked?": ("attack on digits:mlp", "steps", "restarts"),
    },
    (done, ("w", "down", "F")): {"What does a code mean?": ("FF101 vanished gradient", "What to do")},
    (done, ("r",)): {"Where is all this kept?": ("7f3a0000", "on disk")},
    (live, ()): {"How far is it, and how long still?": ("5/12 units", " left", "live", "space Pause")},
    (live, ("end",)): {"What does an empty cell wait for?": ("Waiting for its turn",)},
    (failed, ()): {"What failed, and why?": ("9 failed", "the estimator raised ValueError: no")},
    (lost, ()): {"How is it resumed?": ("LOST", "space, or `falsefloor resume dead0000`", "space Resume")},
}


@pytest.mark.parametrize("make", dict.fromkeys(make for make, _ in QUESTIONS))
async def test_a_newcomers_questions_are_answered_on_the_screen(
    opened: Any, store: Path, make: Callable[[Path], RunDir]
) -> None:
    async with opened(make(store), size=(80, 24)) as pilot:
        await until(pilot, lambda: bool(pilot.app.screen.query_one(LiveTable).count))
        for run, keys in QUESTIONS:
            if run is make:
                await home(pilot)
                await reach(pilot, keys)
                for words in QUESTIONS[run, keys].values():
                    await shows(pilot, *words, joined=True)


def test_there_are_twenty_of_them() -> None:
    assert sum(map(len, QUESTIONS.values())) >= 20


async def test_a_wide_terminal_also_says_how_much_more_than_unmasked_and_with_which_parameters(
    opened: Any, store: Path
) -> None:
    async with opened(done(store), size=(140, 40)) as pilot:
        await pilot.press("down")
        await shows(pilot, "the unmasked model's number", "batches=", "gradient autograd")
