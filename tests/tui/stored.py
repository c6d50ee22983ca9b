"""Runs for the app's tests, stored by the real writer: small, quick, and as strange as they need to be."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from falsefloor.api import Facts, Finding, Scalar
from falsefloor.checks.judge import Judgement
from falsefloor.store.records import Array, EstimateResult, ObservationResult, UnitResult
from falsefloor.store.run_dir import RunDir, create_run
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from, write_study
from falsefloor.study.study import Study
from falsefloor.study.units import Unit, plan, series_of

STARTED = 1_790_000_000.0
CLAIMS = {"attack": "upper_bound"}
STUDY = study_from(
    {
        "models": ["digits:mlp"],
        "inputs": "digits:0-2",
        "maskers": ["none", "staircase:c=255", "ramp:c=255,delta=0.2"],
        "estimators": ["clever", "finite-difference", "attack"],
        "tag": "sample",
    }
)
RADII = {"none": 0.032, "staircase:c=255": 0.3, "ramp:c=255,delta=0.2": 0.0148}
PIXELS = tuple(n / 63 for n in range(64))


class Installed:
    """What planning asks of the plugins, answered without any."""

    def params(self, kind: str, name: str, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
        return dict(given)

    def claim(self, name: str) -> str:
        return CLAIMS.get(name, "lower_estimate")

    def origin(self, kind: str, name: str) -> dict[str, str]:
        return {"dist": "falsefloor", "version": "0.1.0"}


def judge(facts: Facts, notes: Sequence[Finding]) -> Judgement:
    """A floor far above its ceiling is refuted by the ceiling's point; one far below it is suspect."""
    ceiling = next((other for other in facts.others if other.claim == "upper_bound"), None)
    radius = facts.judged.radius
    if facts.judged.claim == "lower_estimate" and ceiling is not None and radius > 2 * ceiling.radius:
        said = f"the claim is {radius:g}, but attack has a verified adversarial input at {ceiling.radius:g}"
        found = Finding("FF201", "refuted", said, {"distance": ceiling.radius}, ceiling.witness)
        return Judgement("refuted", (found, *notes), "FF201 floor above ceiling")
    if facts.judged.claim == "lower_estimate" and radius < 0.02:
        found = Finding("FF102", "suspect", "the gradient and the function disagree", {"ratio": 2.2})
        return Judgement("suspect", (found, *notes), "FF102 scales disagree")
    return Judgement("held", tuple(notes), "21 checks, 5,000 queries")


def floats(values: Sequence[float], shape: tuple[int, ...] = ()) -> Array:
    return Array("float32", shape or (len(values),), struct.pack(f"<{len(values)}f", *values))


class StoredRun:
    """A run under ``root`` of which the first ``done`` units are stored; `advance` stores more."""

    def __init__(
        self,
        root: Path,
        *,
        study: Study = STUDY,
        inputs: int = 3,
        done: int | None = None,
        notes: Sequence[tuple[str, str]] = (),
        failing: str = "",
        names: Sequence[str] = (),
        id: str = "",  # noqa: A002
    ) -> None:
        self.notes, self.failing = notes, failing
        if id:
            (root / id / "commands").mkdir(parents=True)
            self.dir = RunDir(root / id)
        else:
            self.dir = create_run(root)
        self.dir.study.write_text(write_study(study), encoding="utf-8")
        self.dir.log.write_text("started\n", encoding="utf-8")
        self.writer = RunWriter(self.dir.db, judge, durable=False)
        # in_process: the status stands although no worker holds a lock.
        self.writer.set_meta(
            id=self.dir.id,
            versions={"falsefloor": "0.1.0"},
            study=study.to_json(),
            tag=study.tag,
            status="running",
            in_process=True,
            created=STARTED,
            started=STARTED,
            seed=study.seed,
            device="cpu",
        )
        series = series_of(study, Installed())
        self.writer.add_series(series)
        models = list(dict.fromkeys(one.model.name for one in series))
        facts = {"count": inputs, "classes": 10, "shape": [64], "bounds": [0.0, 1.0], "names": list(names)}
        for model in models:
            self.writer.add_model(model, spec={}, facts=facts, fingerprint={})
        self.units = list(plan(study, series, dict.fromkeys(models, inputs)))
        self.writer.add_units(self.units)
        self.waiting = [number for number, _ in self.writer.queued()]
        self.advance(len(self.units) if done is None else done)
        if done is None:
            self.end()

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
        numbers = range(*unit.inputs)
        if unit.series is None:
            level = 0.0 if unit.stack.name == "staircase:c=255" else 131.5
            seen_gradients = {"autograd": [{"radius": 0.1, "median": level}]}
            facts = {"margin": 2.5, "connected": True, "gradients": seen_gradients}
            arrays = {"input": floats(PIXELS, (64,))}
            seen = [ObservationResult(n, True, facts, arrays) for n in numbers]
            return UnitResult(unit.key, observations=seen, seconds=0.5)
        if unit.series.label == self.failing:
            return UnitResult(unit.key, "failed", "the estimator raised ValueError: no")
        found = [self.estimate(unit.series.label, unit.stack.name, n) for n in numbers]
        return UnitResult(unit.key, estimates=found, seconds=0.5, forward=100, backward=10)

    def estimate(self, label: str, masker: str, number: int) -> EstimateResult:
        radius, arrays, capped = 0.0331 + number / 1000, {}, False
        if label == "attack":
            radius = 0.0378 + number / 1000
            point = floats([min(1.0, p + radius) for p in PIXELS], (64,))
            seen = {"distance": radius, "predicted": 8}
            arrays["witness"] = Array(point.dtype, point.shape, point.data, seen)
        elif label == "finite-difference":
            arrays["curve-scales"] = floats([10.0**-n for n in range(6, 0, -1)])
            arrays["curve-spectrum"] = floats([0.0, 0.0, 118.5, 131.9, 131.4, 131.5])
        else:
            radius = RADII.get(masker, 0.03) * (1 if masker == "staircase:c=255" else 1 + number / 10)
            capped = masker == "staircase:c=255"
            arrays["curve-maxima"] = floats([1.0 + n / 50 for n in range(20)])
            arrays["curve-score"] = floats([radius * (1 + 1 / (n + 1)) for n in range(20)])
        evidence: dict[str, float | str] = {
            "gradient_norm_median": 0.0 if capped else 131.5,
            "sampling_radius": 0.1,
        }
        if label == "clever" and not capped:
            evidence |= {"fit_location": 1.4, "fit_shape": 2.0, "fit_scale": 0.2}
        return EstimateResult(
            number,
            label=3,
            predicted=3,
            radius=radius,
            capped=capped,
            interval=None if capped or arrays.get("witness") else (radius * 0.9, radius * 1.1),
            evidence=evidence,
            notes=self.notes if label == "clever" else (),
            forward=5000,
            backward=500,
            seconds=0.02,
            arrays=arrays,
        )
