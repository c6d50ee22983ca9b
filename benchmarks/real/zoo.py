"""Trained models of many kinds under the default study: what it costs, says and misses.

    pip install scikit-learn scikit-image            # digits, tables and photographs
    python benchmarks/real/zoo.py --write            # all, about half an hour on one core
    python benchmarks/real/zoo.py --only resnet --json zoo.json

For each model: processor seconds an input (observation, three estimators, judging) and the forecast over
them; the process's peak memory; estimates, those below `held`, and of these the false alarms; held floors
that projected gradient steps in float64, written for this purpose alone (honest.py), contradict; floor over
ceiling (median); and of the ceilings those that the same steps undercut by more than 1 %.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path += [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from honest import BELOW, USELESS, classes, logits_of, shown
from honest import contradicted as _contradicted
from pages import arguments, show, table
from zoo_models import ZOO, Entry

import falsefloor as ff
from falsefloor.engine.pace import pace
from falsefloor.plugins import catalogue
from falsefloor.report.results import Results
from falsefloor.study.file import study_from
from falsefloor.study.forecast import forecast
from falsefloor.study.units import series_of
from falsefloor.subjects.subject import ModelSubject

SLACK = 1.01


@dataclass
class Line:
    """What was measured of one model."""

    name: str
    hidden: bool
    accuracy: float
    seconds: float
    forecast: float
    memory: float
    estimates: int = 0
    below: int = 0
    alarms: int = 0
    silent: int = 0
    loose: int = 0
    ceilings: int = 0
    tightness: float = float("nan")

    def cells(self) -> list[str]:
        alarms = "–" if self.hidden else str(self.alarms)
        return [
            self.name, f"{100 * self.accuracy:.0f} %",
            f"{self.seconds:.1f}", _told(self.forecast / self.seconds),
            f"{self.memory:.0f} MB", str(self.estimates), str(self.below), alarms, str(self.silent),
            _told(self.tightness), f"{self.loose} of {self.ceilings}",
        ]  # fmt: skip


def _told(ratio: float) -> str:
    return "–" if ratio != ratio else f"{ratio:.2f}"


HEADINGS = (
    "model", "accuracy", "CPU s an input", "forecast over it", "peak memory", "estimates", "below held",
    "false alarms", "silent over-claims", "floor over ceiling", "ceilings undercut by 1 %",
)  # fmt: skip


def measured(entry: Entry) -> Line:
    model, (_, _, x, y) = entry.make()
    with torch.no_grad():
        answers = classes(logits_of(model, x))
    right = (answers == y).nonzero()[: entry.inputs, 0]
    points, labels = x[right], y[right]
    # a model without a gradient is one whose rows a run asks one by one: its pace is not the module's
    expected = float("nan") if entry.guide else _forecast(model, points, entry)
    began = time.process_time()
    results = ff.evaluate(model, points, labels, norm=list(entry.norms), progress=False)
    seconds = (time.process_time() - began) / len(points)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = Line(entry.name, entry.hidden, float((answers == y).double().mean()), seconds, expected, memory)
    _judge(line, model, results, points, labels, guide=entry.guide and entry.guide())
    return line


def _forecast(model: nn.Module, points: Tensor, entry: Entry) -> float:
    """Seconds an input, as a run says it beforehand."""
    with torch.no_grad():
        width = max(2, logits_of(model, points[:1]).shape[1])
    given = points[:1].to(next(iter(model.parameters()), points).dtype)
    facts: dict[str, Any] = {
        "count": len(points), "classes": width, "shape": list(points.shape[1:]),
        "pace": pace(ModelSubject(model, classes=width, dtype=given.dtype), given, rows=4096),
    }  # fmt: skip
    study = study_from({"models": ["digits:mlp"], "norms": list(entry.norms)})
    return forecast(study, series_of(study, catalogue()), {study.models[0].name: facts}).seconds / len(points)


def _judge(
    line: Line, model: nn.Module, results: Results, points: Tensor, labels: Tensor, guide: nn.Module | None
) -> None:
    shares = []
    contradicted = partial(_contradicted, guide=guide)
    ceilings = {
        (e["input"], e["norm"]): e["radius"]
        for e in results.estimates
        if e["claim"] == "upper_bound" and e["status"] == "ok" and isinstance(e["radius"], float)
    }
    for e in results.estimates:
        if e["status"] != "ok":
            continue
        at, norm, verdict, radius = e["input"], e["norm"], e["verdict"], e["radius"]
        x, label = points[at], int(labels[at])
        line.estimates += 1
        line.below += verdict in BELOW
        if e["claim"] == "upper_bound":
            # steps in a half-precision model's own format would move by more than is asked
            exact = all(one.dtype != torch.bfloat16 for one in model.parameters())
            if isinstance(radius, float) and radius < float("inf") and exact:
                line.ceilings += 1
                line.loose += contradicted(model, x, label, radius / SLACK, norm)
            continue
        if verdict == "held":
            line.silent += contradicted(model, x, label, radius, norm)
            if (at, norm) in ceilings:
                shares.append(radius / ceilings[at, norm])
        elif verdict in BELOW and verdict != "unchecked" and not shown(model, results, e, x, label):
            reach = radius * USELESS if verdict == "vacuous" else radius
            line.alarms += not (0 < reach < float("inf") and contradicted(model, x, label, reach, norm))
    line.tightness = statistics.median(shares) if shares else float("nan")


def told(lines: Sequence[Line]) -> str:
    return table(HEADINGS, [line.cells() for line in lines])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="parts of names")
    parser.add_argument("--json", type=Path, help="every line; models that are there are not repeated")
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[Line] = []
    if given.json and given.json.exists():
        lines = [Line(**one) for one in json.loads(given.json.read_text())]
    known = {line.name for line in lines}
    for entry in ZOO:
        asked = not given.only or any(part.lower() in entry.name.lower() for part in given.only)
        if not asked or entry.name in known:
            continue
        lines.append(measured(entry))
        print("| " + " | ".join(lines[-1].cells()) + " |", flush=True)
        if given.json:
            given.json.write_text(json.dumps([asdict(line) for line in lines]))
    order = {entry.name: at for at, entry in enumerate(ZOO)}
    show("zoo", told(sorted(lines, key=lambda line: order[line.name])), write=given.write)


if __name__ == "__main__":
    main()
