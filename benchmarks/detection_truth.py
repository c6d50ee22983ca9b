"""What the detection benchmark holds against the estimates: distances of points that were verified.

For each subject and input the nearest of: the run's own settled attack; the observation's counterexample; the
settled attack on the *unmasked* model inside, carried over to the subject and settled again there, as it is
and a little farther out; and on digits:mlp in the maximum norm the exact distance (benchmarks/exact.py). No
verdict plays a part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detection_studies import CLEAN, FAMILIES, Family
from torch import Tensor

from falsefloor.engine.arrays import unpack_tensor
from falsefloor.engine.session import Session
from falsefloor.numerics.balls import vector_norm
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.subjects.settle import settle

FARTHER = (1.0, 1.02, 1.1, 1.3)
"""A masker moves the boundary: the unmasked model's point is also tried at these multiples of its way."""
EXACT = Path(__file__).parents[1] / "tests" / "data" / "exact_linf.json"
SOLVER = 1e-5
"""Relative: above the tolerance of the exact distances."""
SAME = 1e-6
USELESS = 5.0
LOWER = ("lower_estimate", "lower_bound")


@dataclass(frozen=True)
class Row:
    """One estimate of a correctly classified input. truth: the nearest verified distance."""

    family: str
    frozen: bool
    model: str
    masker: str
    norm: str
    estimator: str
    input: int
    radius: float
    verdict: str
    codes: tuple[str, ...]
    truth: float

    @property
    def subject(self) -> tuple[str, str, str]:
        return self.model, self.masker, self.norm

    @property
    def over(self) -> bool:
        return self.radius > self.truth * (1 + SAME)

    @property
    def useless(self) -> bool:
        return self.truth < float("inf") and self.radius * USELESS < self.truth

    @property
    def caught(self) -> bool:
        return self.verdict != "held"


def rows_of(
    root: Path, tag: str, run: RunDir, clean: RunDir, *, claims: Sequence[str] = LOWER
) -> Iterator[Row]:
    """All rows of a run. clean: the run of the unmasked models in the same norm and on the same inputs."""
    _, name, norm, _ = tag.split("/", 3)
    family = next(family for family in FAMILIES if family.name == name)
    truth = _truth(root, run, clean, family)
    with RunReader(run) as reader:
        for e in reader.estimates():
            if e["claim"] not in claims or e["status"] != "ok" or e["predicted"] != e["label"]:
                continue
            if e["radius"] == 0.0:
                continue  # a tie: the distance is known to be 0 and nothing is claimed
            yield Row(
                family=name,
                frozen=family.frozen,
                model=e["model"],
                masker=e["masker"],
                norm=norm,
                estimator=e["name"],
                input=e["input"],
                radius=float(e["radius"]),
                verdict=str(e["verdict"]),
                codes=tuple(sorted({w["code"] for w in e["warnings"] if w["severity"] != "note"})),
                truth=truth.get(_key(e["model"], e["masker"], e["input"]), float("inf")),
            )


def _truth(root: Path, run: RunDir, clean: RunDir, family: Family) -> dict[str, float]:
    """By subject and input; computed once and kept beside the runs."""
    kept = root / f"truth-{run.id}.json"
    if kept.exists():
        known: dict[str, float] = json.loads(kept.read_text())
        return known
    session = Session()
    nearest: dict[str, float] = {}

    def note(key: str, distance: float) -> None:
        nearest[key] = min(nearest.get(key, float("inf")), distance)

    with RunReader(run) as reader, RunReader(clean) as unmasked:
        points = _witnesses(unmasked)
        for e in reader.estimates():
            if e["claim"] == "upper_bound" and e["witness"] is not None:
                note(_key(e["model"], e["masker"], e["input"]), float(e["radius"]))
        for seen in reader.observations():
            found = seen["facts"].get("counterexample")
            if found:
                note(_key(seen["model"], seen["masker"], seen["input"]), float(found["distance"]))
        specs = {(u["model"], u["masker"]): json.loads(u["spec"]) for u in reader.units()}
        for (model, masker), spec in specs.items():
            base = family.models[model]
            for number, distance in _carried(session, spec, points.get(f"digits:{base}", {})):
                note(_key(model, masker, number), distance)
            for number, distance in _declared(session, spec):
                note(_key(model, masker, number), distance)
    if family.name == CLEAN:
        norm = next(iter(specs.values()))["norm"]
        for number, distance in _exact(norm).items():
            note(_key("digits:mlp", "none", number), distance * (1 + SOLVER))
    kept.write_text(json.dumps(nearest))
    return nearest


def _witnesses(reader: RunReader) -> dict[str, dict[int, Tensor]]:
    """Model and input to the settled adversarial input of its attack."""
    found: dict[str, dict[int, Tensor]] = {}
    for e in reader.estimates():
        if e["claim"] == "upper_bound" and e["witness"] is not None:
            array = reader.array(e["witness"])
            if array is not None:
                found.setdefault(e["model"], {})[e["input"]] = unpack_tensor(array)
    return found


def _carried(
    session: Session, spec: Mapping[str, Any], points: Mapping[int, Tensor]
) -> Iterator[tuple[int, float]]:
    """The unmasked model's points, where they settle on the subject."""
    if not points:
        return
    prepared = session.prepared(spec["model"], spec["inputs"])
    subject = session.subject(spec["model"], spec["inputs"], spec["stack"])
    numbers = sorted(points)
    x, y = prepared.inputs[numbers], prepared.labels[numbers]
    with torch.no_grad():
        right = subject(x).argmax(1) == y
    low, high = subject.bounds
    for share in FARTHER:
        away = torch.stack([points[n].to(x) for n in numbers]) - x
        witness = torch.minimum(torch.maximum(x + share * away, low), high)
        settled = settle(subject, x, y, witness, norm=spec["norm"])
        for at, number in enumerate(numbers):
            if bool(settled.ok[at]) and bool(right[at]):
                yield number, float(settled.radius[at])


def _declared(session: Session, spec: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
    """Points that a model of regions.py knows of itself, where the bare model, asked for each alone, says
    another class or nothing finite."""
    prepared = session.prepared(spec["model"], spec["inputs"])
    known = getattr(prepared.module, "known", None)
    if known is None or spec["stack"]:
        return
    with torch.no_grad():
        x = prepared.inputs
        points = known(x, spec["norm"])
        for number in (prepared.module(x).argmax(1) == prepared.labels).nonzero()[:, 0].tolist():
            logits = prepared.module(points[number : number + 1])[0]
            if int(logits.argmax()) != int(prepared.labels[number]) or not bool(logits.isfinite().all()):
                away = points[number].double() - x[number].double()
                yield number, float(vector_norm(away[None], spec["norm"])[0])


def _exact(norm: str) -> dict[int, float]:
    data = json.loads(EXACT.read_text())
    if data["norm"] != norm:
        return {}
    return {row["input"]: row["distance"] for row in data["digits"] if row["exact"]}


def _key(model: str, masker: str, number: int) -> str:
    return f"{model}|{masker}|{number}"


__all__ = ["USELESS", "Row", "rows_of"]
