"""What a study will cost, said before it starts and while it goes on.

Passes an input, counted here from an estimator's parameters, times how long a pass takes, measured on the
loaded model (`falsefloor.engine.pace`). The counts are fitted to what the estimators were seen to ask for;
`benchmarks/forecast.py` holds a forecast against the actual time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from falsefloor.api import Scalar
from falsefloor.observed import LARGE, too_few
from falsefloor.plugins import Catalogue
from falsefloor.study.study import Study
from falsefloor.study.units import Series, series_of

LONG = 300.0
"""Seconds from which on a forecast says what brings it down."""
KEPT = 16
"""Arrays of an input's size that are stored of it in each masker and norm: five pairs of points with steep
secants, the input, a counterexample, a witness, and what was met on the way."""
AROUND = 300
"""Small operations around a call of the model: a step of an attack takes half a millisecond."""
JUDGED = 41
"""Calls that looking around what a unit has claimed takes."""
BUSY = 1.5
"""How many times as long a pass took beside others, from where on that is said."""
WORTH = 0.7
"""A cheaper way is named where it takes at most this share."""


class Passes(NamedTuple):
    """Of one input: rows forward, rows backward, calls of the model, numbers handled beside."""

    forward: float
    backward: float
    calls: float
    elements: float = 0.0


@dataclass(frozen=True)
class Asked:
    """What decides how many passes an estimator asks for. size: coordinates; together: inputs a unit;
    masked: whether a masker stands before the model, or is seen to be part of it."""

    params: Mapping[str, Scalar]
    norm: str
    size: int
    classes: int
    together: int
    masked: bool = False

    def number(self, name: str) -> float:
        return float(self.params[name])

    @property
    def targets(self) -> float:
        """How many other classes are looked at. A race is supposed to drop seven of ten."""
        others, asked = max(1, self.classes - 1), self.params.get("targets", "all")
        if asked == "race":
            return max(1.0, 0.3 * others)
        return float(others if isinstance(asked, str) else min(int(asked), others))


def clever(asked: Asked) -> Passes:
    balls = 6 if asked.params["radius"] == "auto" else 1
    points = balls * asked.number("batches") * asked.number("samples")
    kept = min(asked.targets, 16)
    directed = 12 * kept * balls + 30 * kept if asked.params["directed"] else 0
    own = 0.5 * asked.targets + 0.5  # half of the classes are left out inside the first ball
    if directed > points:  # few points are drawn: those directed cost the gradient of their own target
        forward, backward = points + directed, points * own + directed
    else:
        forward = points + 100 * min(asked.targets, 10)
        backward = forward * own
    drawn = backward * asked.size * (1 if asked.norm == "linf" else 9)
    first = asked.classes if isinstance(asked.params["targets"], str) else min(asked.classes, 256)
    return Passes(forward + first, backward + first, balls + 3, drawn)


def finite_difference(asked: Asked) -> Passes:
    whole = asked.size <= asked.number("coordinates")
    chosen = asked.size if whole else max(4.0, asked.number("coordinates") / 4)
    if too_few(asked.size, **{name: asked.number(name) for name in ("coordinates", "queries", "extremes")}):
        return Passes(0, 0, 0)
    points = asked.number("batches") * asked.number("samples")
    forward = chosen * (8 * points + (700 if whole else 140)) + (0 if whole else asked.number("queries"))
    return Passes(forward, 0, 40, forward * asked.size)


def attack(asked: Asked) -> Passes:
    if isinstance(asked.params.get("queries"), int):
        half = asked.number("queries") / 2
        return Passes(half, half, half / 4)  # one input at a time, some eight rows a step
    tries = asked.number("steps") * asked.number("restarts")
    backward = 250 + tries * (0.8 * asked.targets + 0.9 * asked.number("rounds"))
    forward = 7 * backward + (8000 if asked.norm != "linf" and asked.size > 64 else 0)
    calls = 170 + 1.6 * asked.number("steps") * (1 + asked.number("rounds"))
    if asked.masked:  # every walk goes through the repaired gradient as well
        backward, calls = 1.9 * backward, 1.55 * calls
    return Passes(forward, backward + asked.classes, calls / asked.together)


def observing(size: int, *, together: int) -> Passes:
    """What observing an input of ``size`` coordinates asks for, whatever the model."""
    rows = (2930, 443) if size < LARGE else (1300, 170)
    return Passes(*rows, 65 / together)


COUNTED: Mapping[str, Callable[[Asked], Passes]] = {
    "clever": clever,
    "finite-difference": finite_difference,
    "attack": attack,
}
"""By the name of a built-in estimator; another's cost is not known before it ran."""


@dataclass(frozen=True)
class Forecast:
    """Seconds an input, by model and the label of what is computed ("" for observing); how many inputs.

    unknown: labels that nothing is known of. room: bytes on the disk. busy: how many times as long a pass of
    the slowest-served model took beside others.
    """

    each: Mapping[str, Mapping[str, float]]
    cells: Mapping[str, Mapping[str, int]]
    counts: Mapping[str, int]
    unknown: Sequence[str]
    busy: float = 1.0
    room: float = 0.0

    def by(self) -> dict[str, float]:
        """Seconds by what is computed, over all models, maskers, norms and inputs."""
        total: dict[str, float] = {}
        for model, each in self.each.items():
            for label, seconds in each.items():
                total[label] = total.get(label, 0.0) + (
                    seconds * self.cells[model].get(label, 0) * self.counts[model]
                )
        return total

    @property
    def seconds(self) -> float:
        return math.fsum(self.by().values())

    def stored(self) -> dict[str, Any]:
        """As it is kept beside a run, for who shows how much is left."""
        return {
            "seconds": self.seconds,
            "by": self.by(),
            "each": {model: dict(each) for model, each in self.each.items()},
            "unknown": list(self.unknown),
            "room": self.room,
        }


def forecast(study: Study, series: Sequence[Series], models: Mapping[str, Mapping[str, Any]]) -> Forecast:
    """models: name to the facts of a loaded one, with its `pace`. Without a pace a model is left out."""
    each: dict[str, dict[str, float]] = {}
    cells: dict[str, dict[str, int]] = {}
    unknown: list[str] = []
    room = 0.0
    for name, facts in models.items():
        mine = [one for one in series if one.model.name == name]
        subjects = len({one.place.subject for one in mine})
        room += KEPT * 4 * math.prod(facts["shape"]) * int(facts["count"]) * subjects
        pace = facts.get("pace") or {}
        if not pace:
            continue
        together = max(1, min(study.chunk, int(facts["count"])))
        seen = observing(math.prod(facts["shape"]), together=together)
        each[name], cells[name] = {"": _seconds(seen, pace)}, {"": subjects}
        found: dict[str, list[float]] = {}
        for one in mine:
            count = COUNTED.get(one.estimator.use)
            if count is None:
                unknown += [one.label] * (one.label not in unknown)
                continue
            asked = Asked(
                one.params,
                one.norm,
                math.prod(facts["shape"]),
                int(facts["classes"]),
                together,
                bool(one.stack.layers) or pace.get("masked", 0.0) == 1,
            )
            found.setdefault(one.label, []).append(_seconds(count(asked), pace))
        for label, seconds in found.items():
            each[name][label], cells[name][label] = math.fsum(seconds) / len(seconds), len(seconds)
    busy = max((models[name]["pace"].get("busy", 1.0) for name in each), default=1.0)
    counts = {name: int(models[name]["count"]) for name in each}
    return Forecast(each, cells, counts, unknown, busy, room)


def _seconds(passes: Passes, pace: Mapping[str, float]) -> float:
    return (
        passes.forward * pace["forward"]
        + passes.backward * pace["backward"]
        + (passes.calls + JUDGED) * (pace["call"] + AROUND * pace["op"])
        + passes.elements * pace["element"]
    )


def cheaper(
    study: Study, models: Mapping[str, Mapping[str, Any]], installed: Catalogue, *, than: float
) -> dict[str, float]:
    """Ways to ask for less, as flags, with the seconds they take; those that are worth a word."""
    ways = {}
    if study.effort != "quick":
        ways["--effort quick"] = replace(study, effort="quick")
    if any(int(facts["classes"]) > 20 for facts in models.values()):
        estimators = tuple(
            replace(one, params={"targets": 5, **one.params}) if one.use == "clever" else one
            for one in study.estimators
        )
        ways["--estimator clever:targets=5"] = replace(study, estimators=estimators)
    found = {
        words: forecast(other, series_of(other, installed), models).seconds for words, other in ways.items()
    }
    return {words: seconds for words, seconds in found.items() if seconds <= WORTH * than}
