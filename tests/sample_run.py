"""Runs of any size, made of what the units of the recorded run brought back, by the real writer and judge."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from stored_run import stored

from falsefloor.api import Scalar
from falsefloor.plugins.judging import RunJudge
from falsefloor.store.reader import RunReader
from falsefloor.store.records import EstimateResult, ObservationResult, UnitResult
from falsefloor.store.reuse import Stored
from falsefloor.store.run_dir import RunDir, create_run
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from, write_study
from falsefloor.study.study import Study
from falsefloor.study.units import Unit, plan, series_of

STARTED = 1_790_000_000.0
STUDY = study_from(
    {
        "models": ["digits:mlp"],
        "inputs": "digits:40-42",
        "maskers": ["none", "staircase:c=255", "ramp:c=255,delta=0.2"],
        "estimators": ["clever", "finite-difference", "attack"],
        "tag": "sample",
    }
)
CORRECT = (1, 2, 3)
"""The recorded inputs that are classified as labelled: a longer run repeats them in turn."""


class Recorded:
    """What the recorded units brought back. Planning asks it what it asks the catalogue of plugins."""

    def __init__(self, run: RunDir) -> None:
        with RunReader(run) as reader:
            self.meta = {name: reader.meta()[name] for name in ("versions", "device")}
            self.series = {one.id: one for one in reader.series()}
            (self.facts,), (self.fingerprint,) = reader.models().values(), reader.fingerprints().values()
            units = reader.units()
        self.params_of: dict[tuple[str, str], dict[str, Scalar]] = {}
        for one in self.series.values():
            self.params_of.setdefault(("estimator", one.estimator), dict(one.params))
            self.params_of |= {("masker", layer["use"]): layer["params"] for layer in one.stack}
        self.results: dict[tuple[str, ...], UnitResult] = {}
        with closing(Stored(run)) as taken:
            for unit in units:
                stack = [layer["use"] for layer in json.loads(unit["spec"])["stack"]]
                label = self.series[unit["series"]].label if unit["series"] else ""
                self.results[(label, *stack)] = taken.result(unit["key"])

    def is_own(self, kind: str, name: str) -> bool:
        return True

    def params(
        self, kind: str, name: str, given: Mapping[str, Scalar], *, effort: str = "standard"
    ) -> dict[str, Scalar]:
        return {**self.params_of.get((kind, name), {}), **given}

    def claim(self, name: str) -> str:
        return next(one.claim for one in self.series.values() if one.estimator == name)

    def origin(self, name: str) -> dict[str, str]:
        return dict(next(one.plugin for one in self.series.values() if one.estimator == name))


def source(number: int) -> int:
    """The recorded input that an input of a run repeats."""
    return CORRECT[number % len(CORRECT)]


@cache
def recorded() -> Recorded:
    with tempfile.TemporaryDirectory() as place:
        return Recorded(stored(Path(place)))


class StoredRun:
    """A run under ``root``, of recorded results. With ``done``, that many units are stored and it goes on in
    this process until `advance` and `end`; otherwise all are, and it ended with ``status`` unless "running".

    factor: radii are so many times what was recorded. notes: what clever remarked beside. failing: estimators
    that fail. seen: changes what was observed, given the masker. names: what the inputs are called.
    """

    def __init__(
        self,
        root: Path,
        *,
        study: Study = STUDY,
        inputs: int = len(CORRECT),
        done: int | None = None,
        status: str = "done",
        factor: float = 1.0,
        notes: Sequence[tuple[str, str]] = (),
        failing: Sequence[str] = (),
        seen: Callable[[str, ObservationResult], ObservationResult] = lambda _, found: found,
        names: Sequence[str] = (),
        id: str = "",  # noqa: A002
    ) -> None:
        self.factor, self.notes, self.failing, self.seen = factor, notes, failing, seen
        if id:
            (root / id / "commands").mkdir(parents=True)
        self.dir = RunDir(root / id) if id else create_run(root)
        self.dir.study.write_text(write_study(study), encoding="utf-8")
        self.dir.log.write_text("started\n", encoding="utf-8")
        self.writer = RunWriter(self.dir.db, judge(), durable=False)
        about = {"id": self.dir.id, "study": study.to_json(), "tag": study.tag, "seed": study.seed}
        times = {"created": STARTED, "started": STARTED}
        going = {"status": "running", "in_process": done is not None}
        self.writer.set_meta(**{**recorded().meta, **about, **times, **going})
        series = series_of(study, recorded())
        self.writer.add_series(series)
        models = list(dict.fromkeys(one.model.name for one in series))
        for model in models:
            facts = {**recorded().facts, "count": inputs, **self._of_inputs(inputs, names)}
            self.writer.add_model(model, spec={}, facts=facts, fingerprint=recorded().fingerprint)
        self.units = list(plan(study, series, dict.fromkeys(models, inputs)))
        self.writer.add_units(self.units)
        self.waiting = [number for number, _ in self.writer.queued()]
        self.advance(len(self.units) if done is None else done)
        if done is None and status != "running":
            self.end(status)

    def _of_inputs(self, count: int, names: Sequence[str]) -> dict[str, list[Any]]:
        kept = {key: recorded().facts[key] for key in ("names", "labels", "predicted", "inside")}
        told = {key: [values[source(n)] for n in range(count)] for key, values in kept.items()}
        return told | ({"names": list(names)} if names else {})

    def advance(self, count: int = 1) -> None:
        for _ in range(min(count, len(self.waiting))):
            at = len(self.units) - len(self.waiting)
            self.writer.store(self.waiting.pop(0), self.result(self.units[at]))

    def end(self, status: str = "done") -> None:
        self.writer.finish(status)
        self.writer.set_meta(ended=STARTED + 72)

    def close(self) -> RunDir:
        self.writer.close()
        return self.dir

    def result(self, unit: Unit) -> UnitResult:
        """What was recorded of the unit's masker and estimator, for as many inputs as it has."""
        stack = [layer.use for layer in unit.stack.layers]
        label = unit.series.label if unit.series else ""
        if label in self.failing:
            return UnitResult(unit.key, "failed", "the estimator raised ValueError: no")
        found = recorded().results[(label, *stack)]
        inputs = [(number, source(number)) for number in range(*unit.inputs)]
        estimates = {one.input: self.estimate(one, label) for one in found.estimates}
        seen = {one.input: one for one in found.observations}
        return replace(
            found,
            key=unit.key,
            estimates=[replace(estimates[source], input=number) for number, source in inputs if estimates],
            observations=[
                self.seen(unit.stack.name, replace(seen[source], input=number))
                for number, source in inputs
                if seen
            ],
        )

    def estimate(self, found: EstimateResult, label: str) -> EstimateResult:
        if found.radius is None:
            return found
        low, high = found.interval or (0.0, 0.0)
        return replace(
            found,
            radius=found.radius * self.factor,
            interval=(low * self.factor, high * self.factor) if found.interval else None,
            notes=[*found.notes, *self.notes] if label == "clever" else found.notes,
        )


@cache
def judge() -> RunJudge:
    """All our checks: what they say is what stands in every stored run."""
    return RunJudge()


def sample(root: Path, **settings: Any) -> RunDir:
    return StoredRun(root, **settings).close()
