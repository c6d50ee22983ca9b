"""A run as a worker leaves it, stored by the real writer: what reports and commands are tried on."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from falsefloor.api import Facts, Finding, Scalar
from falsefloor.checks.judge import Judgement
from falsefloor.store.records import Array, EstimateResult, ObservationResult, UnitResult
from falsefloor.store.run_dir import RunDir, create_run
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from, write_study
from falsefloor.study.study import Study
from falsefloor.study.units import Unit, plan, series_of

STARTED = 1_790_000_000.0
CLAIMS = {"clever": "lower_estimate", "attack": "upper_bound"}
STUDY = study_from(
    {
        "models": ["digits:mlp"],
        "inputs": "digits:0-4",
        "maskers": ["none", "staircase:c=255", "ramp:c=255,delta=0.2"],
        "estimators": ["clever:radius=0.3", "clever", "attack"],
        "tag": "sample",
    }
)
HELD = "21 checks, 48,213 queries"
OUTCOMES = {
    ("none", "clever:radius=0.3"): (0.0270, False),
    ("none", "clever"): (0.0320, False),
    ("none", "attack"): (0.0378, False),
    ("staircase:c=255", "clever:radius=0.3"): (0.3, True),
    ("staircase:c=255", "clever"): (1.0, True),
    ("staircase:c=255", "attack"): (0.0379, False),
    ("ramp:c=255,delta=0.2", "clever:radius=0.3"): (0.0118, False),
    ("ramp:c=255,delta=0.2", "clever"): (0.0148, False),
    ("ramp:c=255,delta=0.2", "attack"): (0.0379, False),
}
PIXELS = struct.pack("<64f", *(n / 63 for n in range(64)))
SCALES = [10.0**-n for n in range(6, 0, -1)]


class Installed:
    """What planning asks of the plugins, answered without any."""

    def params(self, kind: str, name: str, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
        return dict(given)

    def claim(self, name: str) -> str:
        return CLAIMS[name]

    def origin(self, kind: str, name: str) -> dict[str, str]:
        return {"dist": "falsefloor", "version": "0.1.0"}


def judge(facts: Facts, notes: Sequence[Finding]) -> Judgement:
    """A floor far above its ceiling is refuted by the ceiling's witness, one far below is suspect."""
    ceiling = next((other for other in facts.others if other.claim == "upper_bound"), None)
    claim, radius = facts.judged.claim, facts.judged.radius
    if claim == "lower_estimate" and ceiling is not None and radius > 2 * ceiling.radius:
        said = f"the claimed radius {radius:g} contradicts what was found"
        found = [Finding("FF201", "refuted", said, {"ratio": float("inf")}, ceiling.witness), *notes]
        return Judgement("refuted", tuple(found), "FF201 floor above ceiling")
    if claim == "lower_estimate" and ceiling is not None and radius < 0.5 * ceiling.radius:
        said = "autograd and the function's own secants disagree"
        return Judgement("suspect", (Finding("FF102", "suspect", said), *notes), "FF102 scales disagree")
    return Judgement("held", tuple(notes), HELD)


def floats(values: Sequence[float]) -> Array:
    return Array("float32", (len(values),), struct.pack(f"<{len(values)}f", *values))


class SampleRun:
    """A run under ``root``; more may be stored until `close`."""

    def __init__(
        self,
        root: Path,
        *,
        study: Study = STUDY,
        inputs: int = 5,
        status: str = "done",
        factor: float = 1.0,
        notes: Sequence[tuple[str, str]] = (),
        failing: Sequence[str] = (),
    ) -> None:
        self.factor, self.notes, self.failing = factor, notes, failing
        self.dir: RunDir = create_run(root)
        self.dir.study.write_text(write_study(study), encoding="utf-8")
        self.dir.log.write_text("started\n", encoding="utf-8")
        self.writer = RunWriter(self.dir.db, judge, durable=False)
        versions = {"falsefloor": "0.1.0", "torch": "2.13.0", "python": "3.11.2"}
        times = {"created": STARTED, "started": STARTED, "seed": study.seed, "device": "cpu"}
        self.writer.set_meta(
            id=self.dir.id, versions=versions, study=study.to_json(), tag=study.tag, status="running", **times
        )
        facts = {"count": inputs, "classes": 10, "units": "pixel, 0 to 1", "bounds": [0.0, 1.0]}
        series = series_of(study, Installed())
        self.writer.add_series(series)
        names = list(dict.fromkeys(one.model.name for one in series))
        for name in names:
            self.writer.add_model(name, spec={}, facts=facts, fingerprint={"weights": "ab12"})
        units = list(plan(study, series, dict.fromkeys(names, inputs)))
        self.writer.add_units(units)
        for (number, _), unit in zip(self.writer.queued(), units, strict=True):
            self.writer.store(number, self._result(unit))
        if status != "running":
            self.writer.finish(status)
            self.writer.set_meta(ended=STARTED + 72)

    def close(self) -> RunDir:
        self.writer.close()
        return self.dir

    def _result(self, unit: Unit) -> UnitResult:
        numbers = range(*unit.inputs)
        masker = unit.stack.name
        if unit.series is None:
            seen = [_observed(number, masker) for number in numbers]
            return UnitResult(unit.key, observations=seen, seconds=0.5)
        if unit.series.label in self.failing:
            return UnitResult(unit.key, "failed", "the estimator raised ValueError: no")
        found = [self._estimate(masker, unit.series.label, number) for number in numbers]
        return UnitResult(unit.key, estimates=found, seconds=0.5, forward=100, backward=10)

    def _estimate(self, masker: str, label: str, number: int) -> EstimateResult:
        radius, capped = OUTCOMES.get((masker, label), (0.03, False))
        radius *= self.factor * (1.0 if capped else 1.0 + number / 10)
        arrays = {"curve-maxima": floats([1.0, 1.5, 1.75, 2.0, 2.25])}
        if label == "attack":
            arrays = {"witness": Array("float32", (1, 8, 8), PIXELS, {"distance": radius, "predicted": 8})}
        elif label == "clever":
            arrays |= {
                "curve-scales": floats(SCALES),
                "curve-spectrum": floats([0.0, 0.0, 118.5, 131, 131, 131]),
            }
        return EstimateResult(
            number,
            label=3,
            predicted=3,
            radius=radius,
            capped=capped,
            interval=None if capped else (radius * 0.9, radius * 1.1),
            evidence={"lipschitz": 2.5, "gradient_norm_median": 0.0},
            notes=list(self.notes) if label == "clever" else [],
            forward=5000,
            backward=50000,
            seconds=0.08,
            arrays=arrays,
        )


def _observed(number: int, masker: str) -> ObservationResult:
    same = None if masker == "none" else number != 4 or masker != "staircase:c=255"
    picture = Array("float32", (1, 8, 8), PIXELS, {"distance": 0.0})
    return ObservationResult(number, same, {"predicted": 3, "margin": 4.25}, {"input": picture})


def sample(root: Path, **settings: Any) -> RunDir:
    return SampleRun(root, **settings).close()


__all__ = ["HELD", "STUDY", "SampleRun", "judge", "sample"]
