"""What the app says: numbers and names, and what an estimate means to who never heard of CLEVER."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from falsefloor.api import CodeInfo
from falsefloor.checks.verdicts import STATES
from falsefloor.errors import UsageError
from falsefloor.plugins.described import LONGEST_PAGE
from falsefloor.report.cells import Entry
from falsefloor.report.text import Glyphs, clean, number, tone, verdict_word
from falsefloor.study.grammar import parse_stack, show_value
from falsefloor.study.units import is_masked
from falsefloor.tui.themes import Line

if TYPE_CHECKING:
    from falsefloor.checks.catalogue import Entry as CodeEntry


SHORT = {"finite-difference": "fin.diff", "sigmoid-staircase": "sigstair", "straight-through": "through"}


def many(count: int, noun: str) -> str:
    """1 input, 2,300 inputs."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def magnitude(value: float) -> str:
    """A count or a rate in three digits: 950, 12.3k, 4.1M."""
    for letter, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.0f}"


def short_spec(text: str) -> str:
    """`ramp:c=255,delta=0.2` as `ramp 255 0.2`: the keys are left out where there is little room."""
    try:
        specs = parse_stack(text)
    except UsageError:
        return clean(text)
    parts = []
    for spec in specs:
        values = [("@" if key == "at" else "") + show_value(value) for key, value in spec.params.items()]
        parts.append(" ".join([SHORT.get(spec.name, spec.name), *values]))
    return clean("+".join(parts))


def short_labels(labels: list[str]) -> dict[str, str]:
    """Short forms that still differ from each other; the full label where they would not."""
    short = {label: short_spec(label) for label in labels}
    taken = list(short.values())
    return {label: s if taken.count(s) == 1 else clean(label) for label, s in short.items()}


MEANING = {
    "refuted": "the number is false: a point that replays contradicts it",
    "suspect": "there is evidence against the number, no proof",
    "vacuous": "true, and far too small to be of use",
    "unchecked": "nothing that could contradict it has run yet",
    "held": "no failure found; that is no proof of robustness",
}
AGAIN = {
    "failed": "Resuming the run tries it again.",
    "skipped": "Skipped: this estimator does not support this norm, or cannot be used here.",
    "cancelled": "Cancelled before it was computed; resuming the run goes on with it.",
}
"""What an estimate that did not come back waits for."""
_NONE: Mapping[str, CodeInfo] = {}
_LENGTH = {"linf": "no coordinate moved by more", "l2": "in Euclidean length", "l1": "in summed changes"}


def which(entry: Entry, record: Mapping[str, Any], glyphs: Glyphs) -> list[Line]:
    """Of which inputs the number in the cell is, and of which one the sentence after it speaks."""
    cell = entry.cell
    if entry.of + cell.judged - cell.correct <= 1:
        return []
    over = f"over {cell.correct:,} inputs" + (
        " that are classified as labelled" if cell.correct < cell.judged else ""
    )
    median = "" if cell.radius is None else f"{entry.said(glyphs).text} is the median {over}; "
    which = "first" if set(entry.counts) == {"held"} else "gravest"
    found = f"{entry.count} of {entry.of} {verdict_word(entry.word)}" if entry.word else ""
    return [(f"{median}{found}. The {which} is input {record['input']}:".lstrip(), "dim")]


def says(record: Mapping[str, Any]) -> str:
    """The claim of an estimate as one sentence."""
    who = f"{clean(str(record['name']))} on {_subject(record)}"
    where, how = f"input {record['input']}", _LENGTH.get(str(record["norm"]), "")
    value, claim = record["radius"], record["claim"]
    if record["status"] != "ok" or value is None:
        return f"{who}, {where}: {record['status']}. {clean(str(record['error'] or ''))}".strip()
    if record["predicted"] is not None and record["predicted"] != record["label"]:
        return f"{who}: {where} is misclassified to begin with, so its distance is 0."
    if claim == "upper_bound":
        if math.isinf(value):
            return f"{who}: no input found that changes the answer at {where}. That is no proof."
        return f"{who} found an input at {number(value)} that changes the answer at {where} ({how})."
    certain = {"lower_bound": "proves that", "lower_estimate": "estimates that"}.get(claim, "says that")
    about = "" if record["capped"] or claim == "lower_bound" else "about "
    end = "; its range ended there" if record["capped"] else ""
    return f"{who} {certain} no change below {about}{number(value)} fools it at {where} ({how}){end}."


def _subject(record: Mapping[str, Any]) -> str:
    masker = str(record["masker"])
    model = clean(str(record["model"]))
    return f"the bare model {model}" if not is_masked(record["stack"]) else f"{model} behind {clean(masker)}"


def judged(record: Mapping[str, Any], glyphs: Glyphs) -> Iterator[Line]:
    """The verdict and the weightiest warnings."""
    verdict = record["verdict"]
    if not verdict:
        yield (AGAIN.get(str(record["status"]), ""), "dim")
        return
    yield (f"{verdict_word(verdict)} {glyphs.dash} {MEANING.get(verdict, '')}", verdict)
    for n, warning in enumerate(record["warnings"]):
        yield (f"{clean(warning['code'])} {clean(warning['message'])}", tone(warning["severity"]) or "dim")
        if n == 0 and (entry := explain(str(warning["code"]))) is not None and tone(warning["severity"]):
            yield (f"What to do: {entry.info.cure}", "")
    if verdict == "held" and record["reason"]:
        yield (clean(record["reason"]), "dim")


def wait(entry: Entry, *, ended: bool) -> str:
    """What a cell without a number means."""
    if entry.word in STATES:
        return AGAIN[entry.word]
    if entry.cell.live is not None:
        return "This estimate is being computed; the number moves until it is done."
    return "The run ended before its turn; resuming the run goes on." if ended else "Waiting for its turn."


def explain(code: str) -> CodeEntry | None:
    # The catalogue is read when the first code is told, and in a thread: see `app._warm`.
    from falsefloor.checks.catalogue import explain

    return explain(code)


def explained(
    code: str, *, before: Iterable[Line] = (), others: Mapping[str, CodeInfo] = _NONE
) -> Iterator[Line]:
    """What a warning's code means; what to do comes first, since that is what is looked for.

    others: what the codes of others' checks mean, as the run keeps them.
    """
    entry = explain(code)
    info = entry.info if entry else others.get(code)
    yield (f"{clean(code)} {clean(info.name) if info else ''}".strip(), "heading")
    yield from before
    if info is None:
        yield ("This code is not ours: the documentation of its package explains it.", "dim")
        return
    for title, text in (
        ("What to do", info.cure),
        ("What it means", info.summary),
        ("What was measured", entry.measured if entry else ""),
        ("Usual cause", entry.cause if entry else ""),
        ("Blind spot", entry.blind_spot if entry else ""),
        ("Source", info.source),
        *(("More of it", part) for part in info.page.split("\n\n")),
    ):
        if text.strip():
            yield ("", "")
            yield (title, "heading")
            yield (clean(text, longest=LONGEST_PAGE), "")
