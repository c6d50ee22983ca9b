"""Twenty questions of a newcomer, each answered by words on the screen, without Help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sample_run import StoredRun
from screens import shows, text, until

from falsefloor.store.run_dir import RunDir
from falsefloor.tui.widgets.live_table import LiveTable

SMALL, LARGE = (80, 24), (140, 40)
QUESTIONS: dict[tuple[tuple[str, ...], tuple[int, int]], dict[str, tuple[str, ...]]] = {
    # keys pressed on the table, size: question, words that answer it
    ((), SMALL): {
        "What does the sign before it mean?": ("≳ estimated floor",),
        "What does the mark behind it mean?": ("✗ refuted",),
        "What does held mean?": ("no failure found; that is no proof",),
        "What is the verdict of a whole row?": ("verdict", "REFUTED", "held"),
        "What failed, in a code?": ("code", "FF201", "FF102"),
        "How many have been found false?": ("3 refuted",),
    },
    (("down",), SMALL): {
        "What is this number?": ("estimates that no change below 1.0000 fools it",),
        "Of which input is it?": ("is the median over 3 inputs", "gravest is input 0"),
        "On how many inputs is that so?": ("3 of 3 REFUTED",),
        "What does REFUTED mean?": ("the number is false: a point that replays",),
        "Why this verdict?": ("FF201", "attack has a verified adversarial input"),
        "How is distance measured?": ("no coordinate moved by more",),
        "Which model is it, behind what?": ("on digits:mlp behind staircase:c=255",),
    },
    (("down", "tab", "pagedown"), SMALL): {"What should I do now?": ("What to do: Read the smaller number",)},
    (("down",), LARGE): {
        "How much more than unmasked is that?": ("the unmasked model's number",),
        "With which parameters?": ("batches=", "gradient autograd"),
    },
    (("down", "enter", "end"), SMALL): {
        "Where does the gradient get lost?": ("Where the gradient is lost", "ceil in input.0.quantise"),
        "Who says otherwise?": ("The same input by the other estimators",),
    },
    (("F",), SMALL): {"What does a code mean?": ("FF101 vanished gradient", "What to do")},
    (("r",), SMALL): {"Where is all this kept?": ("7f3a0000", "on disk")},
}


@pytest.mark.parametrize(("keys", "size"), QUESTIONS)
async def test_a_newcomers_questions_are_answered_on_the_screen(
    opened: Any, run: RunDir, keys: tuple[str, ...], size: tuple[int, int]
) -> None:
    async with opened(run, size=size) as pilot:
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.4)
        for words in QUESTIONS[keys, size].values():
            await until(pilot, lambda words=words: all(w in " ".join(text(pilot.app).split()) for w in words))


def test_there_are_twenty_of_them() -> None:
    assert sum(map(len, QUESTIONS.values())) == 20


async def test_a_live_run_says_how_far_it_is_how_long_still_and_what_a_waiting_cell_waits_for(
    opened: Any, store: Path
) -> None:
    live = StoredRun(store, done=5)
    async with opened(live.dir) as pilot:
        await shows(pilot, "5/12 units", " left", "live", "space Pause")
        pilot.app.screen.query_one(LiveTable).action_end(1)
        await shows(pilot, "Waiting for its turn")
    live.close()
