"""How often is an honest model accused? Many architectures, unmasked, under the default estimators.

Every estimate below `held` is held against the point that accuses it, where one does, asked of the model
itself, and against projected gradient steps of this file's own, in float64 and in the model's format, inside
the claimed ball, from several starts. A claim that they contradict was rightly accused; the others are false
alarms, and so is a "vacuous" for which they find a point within five times the claim. Half of the
architectures are `apart`: nothing was ever tuned on them.

    python benchmarks/honest.py --write                  # all: about ten minutes on one core
    python benchmarks/honest.py --only lstm gru --norms linf
    python benchmarks/honest.py --half seen --json seen.json
"""

from __future__ import annotations

import copy
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from honest_models import ARCHITECTURES, Architecture, data, trained
from pages import arguments, show
from torch import Tensor, nn

import falsefloor as ff
from falsefloor.numerics.balls import vector_norm
from falsefloor.numerics.projections import shrink
from falsefloor.report.results import Results

NORMS = ("linf", "l2", "l1")
INPUTS = 4
BELOW = ("refuted", "suspect", "vacuous", "unchecked")
STARTS, STEPS = 8, 60
POINTS = ("FF201", "FF203", "FF204", "FF505")
"""Warnings whose witness is a point of another class."""
USELESS = 5.0
"""A ceiling this many times the claim makes it vacuous."""


@dataclass(frozen=True)
class Row:
    """One estimate. genuine: whether an independent search confirms a verdict below `held`."""

    architecture: str
    apart: bool
    norm: str
    estimator: str
    input: int
    radius: float
    verdict: str
    codes: tuple[str, ...]
    genuine: bool = False


def judged(one: Architecture, norms: Sequence[str], *, inputs: int) -> list[Row]:
    """Estimates of the first held-out inputs that the model classifies as labelled."""
    model = trained(one)
    x, y = data(one.data, held_out=True)
    with torch.no_grad():
        answers = classes(logits_of(model, x[:64]))
    right = (answers == y[:64]).nonzero()[:, 0] if one.rate else torch.arange(64)
    x = x[right[:inputs]]
    labels = answers[right[:inputs]]
    results = ff.evaluate(model, x, labels, norm=list(norms), progress=False)
    rows = []
    for e in results.estimates:
        if e["status"] == "skipped":
            continue
        radius = e["radius"] if isinstance(e["radius"], float) else float("nan")
        verdict = e["verdict"] or e["status"]
        codes = tuple(w["code"] for w in e["warnings"] if w["severity"] in BELOW)
        point, label = x[e["input"]], int(labels[e["input"]])
        genuine = shown(model, results, e, point, label) or (
            # nothing that is near contradicts a ceiling: it is a point that was found
            e["claim"] != "upper_bound" and _genuine(model, point, label, radius, e["norm"], verdict)
        )
        rows.append(
            Row(one.name, one.apart, e["norm"], e["name"], e["input"], radius, verdict, codes, genuine)
        )
    return rows


def logits_of(model: nn.Module, x: Tensor) -> Tensor:
    first = next((one.dtype for one in model.parameters()), x.dtype)
    takes_own = first in (torch.bfloat16, torch.float16) and not hasattr(model, "to_dtype")
    logits: Tensor = model(x.to(first) if takes_own or first == torch.float64 else x.float())
    return logits.double()


def classes(logits: Tensor) -> Tensor:
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)


def _genuine(model: nn.Module, x: Tensor, label: int, radius: float, norm: str, verdict: str) -> bool:
    """A point of another class inside the claim; for a claim that is called useless, none within five."""
    if verdict not in BELOW or verdict == "unchecked" or not 0 < radius < float("inf"):
        return False
    if verdict == "vacuous":
        return not contradicted(model, x, label, radius * USELESS, norm)
    return contradicted(model, x, label, radius, norm)


def shown(model: nn.Module, results: Results, estimate: dict[str, Any], x: Tensor, label: int) -> bool:
    """Whether a point that comes with a warning is nearer than the estimate and of another class, by the
    model itself: it refutes a floor, and makes a ceiling loose (FF505)."""
    for warning in estimate["warnings"]:
        if warning["code"] in POINTS and warning["witness"]:
            point = torch.tensor(results.array(warning["witness"])).reshape(x.shape)
            away = float(vector_norm((point.double() - x.double())[None], estimate["norm"]))
            if away < estimate["radius"] and int(classes(logits_of(model, point.to(x.dtype)[None]))) != label:
                return True
    return False


def contradicted(
    model: nn.Module, x: Tensor, label: int, radius: float, norm: str, *, guide: nn.Module | None = None
) -> bool:
    """Whether projected gradient steps within the ball and the box [0, 1] change the class.

    They follow the float64 copy of ``guide``, else of the model, where there is one, and every point is asked
    of the model itself.
    """
    try:
        wide = copy.deepcopy(guide or model).double()
        wide(x[None].double())
    except (RuntimeError, TypeError):
        wide = model
    with torch.no_grad():
        count = max(2, logits_of(model, x[None]).shape[1])
    generator = torch.Generator().manual_seed(0)
    start = x.double()[None]
    reach = radius * (1 - 1e-6)
    for target in (j for j in range(count) if j != label):
        away = 2 * torch.rand(STARTS, *x.shape, generator=generator, dtype=torch.float64) - 1
        away[0] = 0
        delta = _inside(start, away * reach, reach, norm)
        for step in range(STEPS):
            delta.requires_grad_(True)
            logits = wide(start + delta) if wide is not model else logits_of(model, (start + delta).float())
            if logits.shape[1] == 1:
                logits = torch.cat([torch.zeros_like(logits), logits], 1)
            margin = logits[:, label] - logits[:, target]
            (slope,) = torch.autograd.grad(margin.sum(), delta)
            with torch.no_grad():
                asked = classes(logits_of(model, (start + delta).to(x.dtype)))
                if bool((asked != label).any()):
                    return True
                length = 2 * reach * 0.93**step
                delta = _inside(start, delta.detach() - length * _steepest(slope, norm), reach, norm)
    return False


def _steepest(slope: Tensor, norm: str) -> Tensor:
    flat = slope.flatten(1)
    if norm == "linf":
        way = flat.sign()
    elif norm == "l2":
        way = flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-30)
    else:  # the tenth of the coordinates that are steepest
        kept = flat.abs() >= flat.abs().quantile(0.9, dim=1, keepdim=True)
        way = flat.sign() * kept / kept.sum(1, keepdim=True).clamp(min=1)
    return way.reshape(slope.shape)


def _inside(start: Tensor, delta: Tensor, radius: float, norm: str) -> Tensor:
    flat = (start + delta).clamp(0, 1).sub(start).flatten(1)
    share = (radius / vector_norm(flat, norm).clamp(min=1e-30)).clamp(max=1)
    return shrink(flat, share, norm=norm).reshape(delta.shape)


def table(rows: Sequence[Row]) -> str:
    """In Markdown: an architecture a line, then both halves and all."""
    lines = [
        "| architecture | estimates | held | below held | of them genuine | false alarms | codes of those |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    names = list(dict.fromkeys(row.architecture for row in rows))
    lines += [_line(name, [row for row in rows if row.architecture == name]) for name in names]
    lines += [
        _line("**tuned on**", [row for row in rows if not row.apart]),
        _line("**apart**", [row for row in rows if row.apart]),
        _line("**all**", rows),
    ]
    return "\n".join(lines)


def _line(name: str, rows: Sequence[Row]) -> str:
    below = [row for row in rows if row.verdict != "held"]
    alarms = [row for row in below if not row.genuine]
    codes = Counter(code for row in alarms for code in row.codes)
    told = ", ".join(f"{code} {count}" for code, count in codes.most_common())
    share = f"{len(alarms)} ({100 * len(alarms) / max(1, len(rows)):.1f} %)"
    mark = " (apart)" if rows and all(row.apart for row in rows) and "**" not in name else ""
    return (
        f"| {name}{mark} | {len(rows)} | {len(rows) - len(below)} | {len(below)} |"
        f" {len(below) - len(alarms)} | {share} | {told} |"
    )


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="*", help="names of architectures")
    parser.add_argument("--half", choices=("seen", "apart", "all"), default="all")
    parser.add_argument("--norms", default=",".join(NORMS))
    parser.add_argument("--inputs", type=int, default=INPUTS)
    parser.add_argument("--json", type=Path, help="every row; architectures that are there are not repeated")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    if given.json and given.json.exists():
        rows = [Row(**{**row, "codes": tuple(row["codes"])}) for row in json.loads(given.json.read_text())]
    known = {row.architecture for row in rows}
    for one in ARCHITECTURES:
        if one.name in known or (given.only and one.name not in given.only):
            continue
        if given.half != "all" and one.apart != (given.half == "apart"):
            continue
        start = time.perf_counter()
        found = judged(one, given.norms.split(","), inputs=given.inputs)
        rows += found
        print(f"{time.perf_counter() - start:5.1f} s  {_line(one.name, found)}", flush=True)
        for row in found:
            if row.verdict != "held" and not row.genuine:
                where = f"{row.norm} {row.estimator} #{row.input}"
                print(f"         {where}: {row.radius:.4g} {row.verdict} {row.codes}")
        if given.json:
            given.json.write_text(json.dumps([asdict(row) for row in rows]))
    show("honest", table(rows), write=given.write)
    alarms = [row for row in rows if row.verdict != "held" and not row.genuine]
    return 1 if len(alarms) > 0.01 * len(rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
