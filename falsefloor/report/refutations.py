"""What was refuted, in sentences: one a cell, with the nearest witness and how to look at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from falsefloor.checks.catalogue import CATALOGUE
from falsefloor.checks.verdicts import nearer
from falsefloor.jsonable import as_number
from falsefloor.observed import Observed
from falsefloor.report.text import clean, number
from falsefloor.store.reader import RunReader
from falsefloor.store.rows import SeriesRow


@dataclass(frozen=True)
class Refutation:
    """One estimator on one subject: the input whose witness is nearest, of how many that were refuted.

    suspicions: the codes that raised suspicion on the refuted inputs, most frequent first.
    """

    series: SeriesRow
    count: int
    input: int
    code: str
    message: str
    radius: float | None
    distance: float | None
    predicted: int | None
    suspicions: tuple[str, ...] = ()
    located: str = ""
    """what hides the gradient there, in words, where it was located"""
    finding: str = ""

    def replay(self, run: str) -> str:
        """The command that evaluates its witness again; empty where there is none to evaluate."""
        live = run == IN_PROCESS
        return (
            "" if live or self.distance is None else f"falsefloor replay {clean(run)} {clean(self.finding)}"
        )


IN_PROCESS = "in-process"
"""The id of a run of live objects: nobody can load them again."""


def read_refutations(reader: RunReader) -> list[Refutation]:
    """One for every refuted cell, in the table's order; counted where they are stored: a million estimates
    take a second."""
    series = {one.id: one for one in reader.series()}
    told = []
    for found, count, doubts in reader.refuted():
        witness, one = found["witness"] or {}, series[found["series"]]
        told.append(
            Refutation(
                one,
                count,
                found["input"],
                found["code"],
                found["message"],
                as_number(found["radius"]),
                as_number(witness.get("distance")),
                witness.get("predicted"),
                tuple(code for code, _ in doubts),
                _located(reader, one, found["input"]),
                str(found["id"]),
            )
        )
    return told


def _located(reader: RunReader, series: SeriesRow, number: int) -> str:
    place = {"model": series.model, "masker": series.masker, "norm": series.norm}
    for seen in reader.observations(**place, input=number):
        found = Observed.read(seen["facts"]).located
        if found is not None and found.operation:
            return clean(found.words)
    return ""


@dataclass(frozen=True)
class Kind:
    """One kind of warning of a run: its code and name, how grave, on how many estimates, and one message."""

    code: str
    name: str
    severity: str
    count: int
    message: str


def read_kinds(reader: RunReader) -> list[Kind]:
    """All kinds of warnings, whoever's, refuted first; none where all are ours: those the verdicts tell."""
    counted = reader.counted()
    if all(code in CATALOGUE for code, *_ in counted):
        return []
    names = {code: info.name for code, info in reader.codes().items()}
    names |= {code: entry.info.name for code, entry in CATALOGUE.items()}
    return [Kind(clean(c), clean(names.get(c, "")), s, n, clean(m)) for c, s, n, m in counted]


def sentence(one: Refutation) -> str:
    """For example: "input 0: 0.3000 is claimed, yet an input of class 8 lies at 0.0379 (FF201)." """
    radius = "nothing" if one.radius is None else number(one.radius)
    if one.distance is None:
        return f"input {one.input}: {radius} is claimed. {clean(one.message)} ({clean(one.code)})"
    what = "an adversarial input" if one.predicted is None else f"an input of class {one.predicted}"
    where = number(one.distance) + (nearer(one.radius, one.distance) if one.radius else "")
    return f"input {one.input}: {radius} is claimed, yet {what} lies at {where} ({clean(one.code)})."


def suspicions(one: Refutation) -> str:
    """For example: "also suspect: FF101 vanished gradient, FF103 graph cut"; empty where there is nothing."""
    names = [f"{clean(c)} {CATALOGUE[c].info.name}" if c in CATALOGUE else clean(c) for c in one.suspicions]
    return f"also suspect: {', '.join(names)}" if names else ""


def replayed(answer: dict[str, Any]) -> list[str]:
    """What a replay shows, line by line."""
    planted = " with the planted class change" if answer["code"] == "FF205" else ""
    lines = [
        f"{answer['code']} on {answer['model']} · {answer['masker']} · {answer['norm']},"
        f" input {answer['input']} of class {answer['label']}{planted}",
        f"claimed by {answer['estimator']}: {_six(answer['claimed'])}",
    ]
    if answer["changed"]:
        lines.append(f"changed since the run: {', '.join(answer['changed'])}")
    if answer["kind"] == "pair":
        first, second = (_six(value) for value in answer["margins"])
        lines.append(
            f"two points at a distance of {_six(answer['distance'])}: the margin is {first} at one and"
            f" {second} at the other, a slope of {_six(answer['slope'])}"
        )
        if "lipschitz" in answer:
            lines.append(f"the claim rests on a slope of at most {_six(answer['lipschitz'])}")
    elif answer["code"] == "FF403":
        what = "finite" if answer["finite"] else "not finite"
        lines.append(f"at a distance of {_six(answer['distance'])} the logits are {what}")
    else:
        lines.append(
            f"at a distance of {_six(answer['distance'])} the class is {answer['predicted']},"
            f" with a margin of {_six(answer['margin'])}, alone and in a batch"
        )
    return [*lines, "it replays" if answer["replays"] else "it does NOT replay"]


def _six(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
