"""The checklist of Carlini et al. 2019 (On Evaluating Adversarial Robustness, arXiv 1902.06705), as far as a
run measured it: for each item what was seen, the command that measures it, and what it cannot show.

An item that was not measured says so; none is passed for lack of evidence.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from textwrap import wrap
from typing import Any, Literal

from rich.console import Console, ConsoleOptions
from rich.text import Text

from falsefloor.checks.ceiling import LOOSE, ORDER
from falsefloor.checks.verdicts import is_lower
from falsefloor.evidence import Evidence
from falsefloor.jsonable import as_number
from falsefloor.report.listings import STATUS, Tabular
from falsefloor.report.text import clean, number
from falsefloor.store.cells import is_wrong
from falsefloor.store.reader import RunReader
from falsefloor.store.rows import SeriesRow
from falsefloor.study.file import study_from

Status = Literal["passed", "failed", "not measured"]
MORE = "attack:steps=80,restarts=16"
"""Twice the steps and twice the restarts of a standard attack."""
FEW = 0.05
"""Share of inputs that a larger budget may still bring nearer by more than `LOOSE`."""
HIDDEN = ("FF101", "FF102", "FF103", "FF104", "FF202")
"""Warnings that the gradient is not the function's."""


@dataclass(frozen=True)
class Item:
    """One line. blind: what it cannot show, whatever was seen."""

    name: str
    status: Status
    evidence: str
    command: str
    blind: str


@dataclass(frozen=True)
class Checklist:
    """Of one subject under one norm."""

    model: str
    masker: str
    norm: str
    inputs: int
    items: tuple[Item, ...]

    @property
    def name(self) -> str:
        subject = " ".join(clean(part) for part in (self.model, self.masker, self.norm))
        return f"{subject}, {self.inputs} inputs; items of Carlini et al. 2019, arXiv 1902.06705"

    def tabular(self) -> Tabular:
        """For a page: every fact in a column of its own."""
        heads = ("item", "result", "evidence", "cannot show", "command")
        rows = tuple((one.name, one.status, one.evidence, one.blind, one.command) for one in self.items)
        return Tabular(heads, rows, (self.name,))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """For a terminal: an item a paragraph, its command such that it can be copied."""
        yield Text(self.name, style="bold")
        for one in self.items:
            yield Text()
            yield Text(f"{one.status}: ", style=STATUS[one.status]) + Text(one.name)
            for told, style in ((one.evidence, ""), (f"Cannot show: {one.blind}", "dim")):
                for line in wrap(clean(told), options.max_width - 4):
                    yield Text(f"    {line}", style=style)
            room = options.max_width - 8
            broken = wrap(clean(one.command), room, break_long_words=False, break_on_hyphens=False)
            for at, line in enumerate(broken):
                yield Text("    " + "  " * bool(at) + line + " \\" * (at < len(broken) - 1), style="cyan")


@dataclass
class _Seen:
    """What the records of a subject say, input by input. ceilings: by budget of the attack."""

    right: set[int]
    ceilings: dict[int, dict[int, float]]
    nearest: dict[int, float]
    order: dict[int, tuple[float, float]]
    noise: list[tuple[int, int]]
    codes: dict[str, set[int]]
    claims: dict[str, int]
    followed: set[int]


def read_checklists(reader: RunReader) -> list[Checklist]:
    """One for each subject and norm of a run, in the table's order."""
    study, groups = study_from(reader.info().study), dict[tuple[str, str, str], list[SeriesRow]]()
    for one in reader.series():
        groups.setdefault((one.model, one.masker, one.norm), []).append(one)
    made = []
    for (model, masker, norm), series in groups.items():
        spec = next((one for one in study.models if one.name == model), study.models[0])
        stack = next((str(one) for one in study.maskers if one.name == masker), masker)
        words = ["falsefloor", "run", "--model", spec.use, "--masker", stack, "--norm", norm]
        words += ["--inputs", study.inputs] if study.inputs else []
        words += ["--average", spec.average] if spec.average else []
        seen = _seen(reader.estimates(model=model, masker=masker, norm=norm), series)
        items = tuple(
            Item(name, *ask(seen), _command(words, *asked), blind) for name, ask, asked, blind in ITEMS
        )
        made.append(Checklist(model, masker, norm, len(seen.right), items))
    return made


def _command(words: Sequence[str], *more: str) -> str:
    return shlex.join([*words, *more])


def _seen(records: Iterable[Mapping[str, Any]], series: Sequence[SeriesRow]) -> _Seen:
    budgets = {
        one.label: int(one.params.get("steps") or 0) * int(one.params.get("restarts") or 0)
        for one in series
        if one.estimator == "attack"
    }
    seen = _Seen(set(), {}, {}, {}, [], {}, {}, set())
    for record in records:
        at = record["input"]
        if record["status"] != "ok" or is_wrong(record["label"], record["predicted"]):
            continue
        seen.right.add(at)
        radius, own = as_number(record["radius"]), Evidence.read(record["evidence"] or {})
        for warning in record["warnings"]:
            seen.codes.setdefault(warning["code"], set()).add(at)
        if is_lower(record["claim"]):
            seen.claims[record["verdict"]] = seen.claims.get(record["verdict"], 0) + 1
            if record["gradient"] == "autograd" and record["recovers"] is None:
                seen.followed.add(at)
            if own.share_points and record["verdict"] != "refuted":
                seen.noise.append((int(own.share_points), int(own.share_other or 0)))
            continue
        if radius is None:
            continue
        seen.nearest[at] = min(radius, seen.nearest.get(at, math.inf))
        if record["name"] in budgets:
            seen.ceilings.setdefault(budgets[record["name"]], {})[at] = radius
        if own.whitebox is not None and own.blackbox is not None:
            seen.order[at] = (own.whitebox, own.blackbox)
    return seen


Told = tuple[Status, str]


def _unbounded(seen: _Seen) -> Told:
    if not seen.nearest:
        return "not measured", "No attack was run."
    reached = sum(radius < math.inf for radius in seen.nearest.values())
    farthest = max((r for r in seen.nearest.values() if r < math.inf), default=0.0)
    said = f"An attack without a bound reached {reached} of {len(seen.right)} inputs"
    said += f", the farthest at {number(farthest)}." if reached else "."
    return _passed(reached == len(seen.right)), said


def _budget(seen: _Seen) -> Told:
    if len(seen.ceilings) < 2:
        return "not measured", "One budget alone was run."
    (small, before), (large, after) = min(seen.ceilings.items()), max(seen.ceilings.items())
    ratios = [before[at] / after[at] for at in before if 0 < after.get(at, 0.0) < math.inf]
    if not ratios:
        return "not measured", "No input was reached with both budgets."
    nearer = sum(ratio > LOOSE for ratio in ratios)
    said = (
        f"{large / max(small, 1):.3g} times the budget of steps and restarts lowered the ceilings"
        f" {median(ratios):.4f} times in the median,"
        f" by more than {LOOSE - 1:.0%} on {nearer} of {len(ratios)} inputs."
    )
    return _passed(nearer <= FEW * len(ratios)), said


def _order(seen: _Seen) -> Told:
    if not seen.order:
        return "not measured", "No attack told what it found with gradients and without."
    worse = sum(black < ORDER * white for white, black in seen.order.values())
    said = (
        f"Without gradients the search got nearer than {ORDER:g} times what it found with them on {worse} of"
        f" {len(seen.order)} inputs."
    )
    return _passed(not worse), said


def _noise(seen: _Seen) -> Told:
    drawn, other = (sum(column) for column in zip(*seen.noise, strict=True)) if seen.noise else (0, 0)
    if not drawn:
        return "not measured", "No uniform points were drawn: no lower claim, or balls out of the domain."
    said = f"{other:,} of {drawn:,} uniform points within the floors that stand are of another class."
    return _passed(not other), said


def _gradient(seen: _Seen) -> Told:
    if not seen.followed:
        return "not measured", "No estimate followed autograd's gradient."
    told = {code: len(seen.codes.get(code, ())) for code in HIDDEN if seen.codes.get(code)}
    hidden = set[int]().union(*(seen.codes.get(code, set()) for code in HIDDEN)) & seen.followed
    said = f"The gradient was held against differences at {len(seen.followed)} inputs,"
    said += f" and doubted at {len(hidden)}"
    said += f" ({', '.join(f'{code} {count}' for code, count in told.items())})." if told else "."
    return _passed(not hidden), said


def _monotone(seen: _Seen) -> Told:
    radii = sorted(radius for radius in seen.nearest.values() if radius < math.inf)
    if not radii:
        return "not measured", "No attack found anything."
    left = len(seen.right) - len(radii)
    said = (
        f"Each found point breaks its input at every larger radius; accuracy over the"
        f" {len(seen.right)} inputs falls from 100 % at 0 to 50 % at {number(radii[len(radii) // 2])} and"
        f" {100 * left / len(seen.right):.3g} % at {number(radii[-1])}."
    )
    return _passed(not left), said


def _claims(seen: _Seen) -> Told:
    told = {word: count for word, count in seen.claims.items() if word}
    if not told:
        return "not measured", "Nothing was claimed from below."
    refuted, unheld = told.get("refuted", 0), told.get("unchecked", 0)
    said = f"Of {sum(told.values())} lower claims {refuted} are contradicted by a verified point"
    said += f", and {unheld} were held against none." if unheld else "; each had one to be held against."
    return _passed(not refuted and not unheld), said


def _random(seen: _Seen) -> Told:
    if not seen.right:
        return "not measured", "No input is classified as labelled."
    moved = len(seen.codes.get("FF105", ()))
    said = f"Asked again, alone and in other batches, the model answered otherwise at {moved} of"
    return _passed(not moved), f"{said} {len(seen.right)} inputs (FF105)."


def _passed(whether: bool) -> Status:
    return "passed" if whether else "failed"


ITEMS: Sequence[tuple[str, Callable[[_Seen], Told], tuple[str, ...], str]] = (
    (
        "an unbounded attack reaches everything",
        _unbounded,
        ("--estimator", "attack"),
        "that the attack is strong: an image of another class would do.",
    ),
    (
        "more steps and restarts do not help",
        _budget,
        ("--estimator", "attack", "--estimator", MORE),
        "what another kind of attack would find.",
    ),
    (
        "black-box is no better than white-box",
        _order,
        ("--estimator", "attack"),
        "a gradient that misleads both, or transfer from other models.",
    ),
    (
        "noise is no better than either",
        _noise,
        ("--estimator", "clever", "--estimator", "attack"),
        "regions too small for uniform points.",
    ),
    (
        "the gradient agrees with differences",
        _gradient,
        ("--estimator", "clever", "--estimator", "finite-difference"),
        "steps beyond the points and widths that were compared.",
    ),
    (
        "accuracy falls monotonically to 0",
        _monotone,
        ("--estimator", "attack"),
        "how an attack bounded at each radius would do: by distances it falls by construction.",
    ),
    (
        "every claim is held against the nearest known point",
        _claims,
        ("--estimator", "clever", "--estimator", "finite-difference", "--estimator", "attack"),
        "that no nearer point exists: held is no proof.",
    ),
    (
        "randomness is averaged",
        _random,
        ("--estimator", "attack"),
        "randomness that did not show in the repeats; where some did, --average 32 judges the mean.",
    ),
)
