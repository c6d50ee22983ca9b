"""Taking masks off without being told what they are: recovered floors, step widths, places, and the cost.

    python benchmarks/unmask.py [--quick] [--count N] [--json FILE] [--write]

Five questions: the recovered floor over the unmasked model's floor, for masks at the input that stay near the
identity (displacement at most a tenth of the floor); the step width over the true one, and the ramp's share;
operation and submodule over the built-in maskers at every placement; recovered estimates that over-claim and
are shown as held; and the cost of straight-through over autograd. Quick: under two minutes on two cores.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pages import arguments, show, table
from torch import Tensor

import falsefloor
from falsefloor.gradients.straight_through import StraightThrough
from falsefloor.maskers.dtype import Dtype
from falsefloor.maskers.ramp import Ramp
from falsefloor.maskers.sigmoid import Sigmoid, SigmoidStaircase
from falsefloor.maskers.staircase import Staircase
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.subjects.compose import compose
from falsefloor.subjects.locate import locate
from falsefloor.subjects.subject import ModelSubject

NEAR = 0.1
"""Largest displacement, as a share of the unmasked floor, for a mask to count as near the identity."""
WITHIN = 0.10
WIDTH = 0.15
FEWEST = 3
"""Steps that a ball must hold for its step width to be asked for."""


@dataclass(frozen=True)
class Line:
    """One row of the table. reached: whether the share or the number is what was to be reached."""

    what: str
    found: str
    wanted: str
    reached: bool


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="six digits, fewer masks, fewer points")
    parser.add_argument("--count", type=int, default=None, help="digits; default 24, quick 6")
    parser.add_argument("--json", type=Path, help="write every estimate there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    count = options.count or (6 if options.quick else 24)
    started = time.monotonic()
    inputs, labels = correct(count)
    records: list[dict[str, Any]] = []
    lines: list[Line] = []
    for norm in ("linf", "l2"):
        found = studied(inputs, labels, norm=norm, quick=options.quick)
        records += found
        lines.append(recovered_line(found, norm))
        lines += step_lines(found, norm)
        lines.append(held_line(found, norm))
    lines.append(located_line(inputs[: 2 if options.quick else 5], quick=options.quick))
    lines.append(cost_line(inputs))
    rows = [(line.what, line.found, line.wanted + ("" if line.reached else ": MISSED")) for line in lines]
    note = f"Digits: {count}; estimates: {len(records):,}"
    show("unmask", table(("what", "found", "to reach"), rows), write=options.write, note=note)
    print(f"{time.monotonic() - started:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(records, indent=1) + "\n")


def correct(count: int) -> tuple[Tensor, Tensor]:
    """The first held-out digits that the model classifies correctly."""
    images, labels = load_split(held_out=True)
    with torch.no_grad():
        right = (DigitsModel()("mlp").module(images).argmax(1) == labels).nonzero().squeeze(1)[:count]
    return images[right], labels[right]


def masks(*, quick: bool) -> list[str]:
    """Masks at the input: staircases of every width asked for, ramps in both regimes, smooth steps, casts."""
    widths = (16, 64, 255, 512) if quick else (8, 16, 32, 64, 128, 255, 400, 512, 1024)
    stairs = [f"staircase:c={c}" for c in widths]
    ramps = [
        f"ramp:c={c},delta={d}" for c in widths[-2:] for d in ((0.2,) if quick else (0.1, 0.2, 0.5, 1e-6))
    ]
    others = ["sigmoid-staircase:c=512,gain=4000", "staircase:c=400,mode=round"]
    return [
        *stairs,
        *ramps,
        *others,
        *([] if quick else ["staircase:c=255,mode=floor", "dtype:to=int16,scale=512"]),
    ]


def studied(inputs: Tensor, labels: Tensor, *, norm: str, quick: bool) -> list[dict[str, Any]]:
    """Every estimate of the study, raw and recovered, over the masks and the bare model."""
    budget = "batches=20,samples=20"
    estimators = [f"clever:{budget}", "finite-difference:batches=4,samples=4", "attack"]
    results = falsefloor.evaluate(
        DigitsModel()("mlp").module,
        inputs,
        labels,
        norm=norm,  # type: ignore[arg-type]
        maskers=["none", *masks(quick=quick)],
        estimators=estimators,
        progress=False,
    )
    return results.estimates


def near(record: dict[str, Any], floor: float, dimensions: int) -> bool:
    """Whether the record's mask moves an input by at most a tenth of the floor, in the norm."""
    (layer,) = record["stack"]
    params = dict(layer["params"])
    if layer["use"] == "dtype":
        moved: float | None = 0.5 / params["scale"]
    else:
        made = {"staircase": Staircase, "ramp": Ramp, "sigmoid-staircase": SigmoidStaircase}[layer["use"]]
        moved = made(**params).displacement()
    scale = {"linf": 1.0, "l2": math.sqrt(dimensions), "l1": float(dimensions)}[record["norm"]]
    return moved is not None and moved * scale <= NEAR * floor


def pairs(records: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], float]]:
    """Recovered records of masks near the identity, with the unmasked floor of the same input."""
    bare = {
        r["input"]: r["radius"]
        for r in records
        if r["estimator"] == "clever" and not r["stack"] and r["status"] == "ok" and not r["recovers"]
    }
    for record in records:
        if record["recovers"] and record["stack"] and near(record, bare[record["input"]], 64):
            yield record, bare[record["input"]]


def recovered_line(records: list[dict[str, Any]], norm: str) -> Line:
    """Refused estimates count as missed."""
    found = list(pairs(records))
    ratios = [r["radius"] / floor for r, floor in found if r["status"] == "ok"]
    good = sum(abs(ratio - 1) <= WITHIN for ratio in ratios)
    share = good / len(found) if found else math.nan
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}" if ratios else "none"
    said = f"{good} of {len(found)} within 10 % ({spread}), {len(found) - len(ratios)} refused"
    return Line(f"recovered floor over the unmasked model's, {norm}", said, "≥ 95 %", share >= 0.95)


def step_lines(records: list[dict[str, Any]], norm: str) -> list[Line]:
    """From what the finite differences say of each masked input; the ball is the one they ended on."""
    good = asked = told = wrong_refusals = 0
    shares, ramps = [], []
    for record in records:
        if record["estimator"] != "finite-difference" or not record["stack"] or record["status"] != "ok":
            continue
        (layer,) = record["stack"]
        params = layer["params"]
        true = float(params["scale"] if layer["use"] == "dtype" else params["c"])
        evidence = record["evidence"]
        if 2 * float(evidence["sampling_radius"]) * true < FEWEST:
            wrong_refusals += evidence["step_reason"] == "steps" and not right(evidence["levels"], true)
            continue
        asked += 1
        if evidence["step_reason"] != "steps":
            continue
        told += 1
        shares.append(float(evidence["levels"]) / true)
        good += right(evidence["levels"], true)
        if layer["use"] == "ramp" and params["delta"] >= 0.05:
            ramps.append(float(evidence["ramp_share"]) / params["delta"])
    share = good / max(asked, 1)
    said = f"{good} of {asked} within 15 %, {asked - told} refused"
    lines = [
        Line(f"step width over the true one, {norm}", said, "≥ 95 %", share >= 0.95),
        Line(f"a number where a refusal was due, {norm}", str(wrong_refusals), "0", wrong_refusals == 0),
    ]
    if ramps:
        inside = sum(abs(r - 1) <= WIDTH for r in ramps)
        said = f"{inside} of {len(ramps)} within 15 % (median {statistics.median(ramps):.2f})"
        reached = inside >= 0.95 * len(ramps)
        lines.append(Line(f"ramp share over the true one, {norm}", said, "≥ 95 %", reached))
    return lines


def right(levels: Any, true: float) -> bool:
    return isinstance(levels, float) and abs(levels / true - 1) <= WIDTH


def held_line(records: list[dict[str, Any]], norm: str) -> Line:
    """Over-claim: above the smallest settled ceiling of the same subject and input."""
    ceiling = {
        (r["masker"], r["input"]): r["radius"]
        for r in records
        if r["claim"] == "upper_bound" and r["status"] == "ok" and isinstance(r["radius"], float)
    }
    again = [r for r in records if r["recovers"] and r["status"] == "ok"]
    over = [r for r in again if r["radius"] > ceiling.get((r["masker"], r["input"]), math.inf)]
    held = sum(r["verdict"] == "held" for r in over)
    said = f"{held} of {len(over)} that over-claim, of {len(again)}"
    return Line(f"recovered estimates that over-claim and are held, {norm}", said, "0", held == 0)


PLACES = ("input", "1", "2", "3", "4", "logits", "model")
OPERATIONS = {
    Staircase: {"ceil", "round", "floor"},
    Ramp: {"floor"},
    SigmoidStaircase: {"floor", "sigmoid"},
    Sigmoid: {"sigmoid"},
}


def located_line(inputs: Tensor, *, quick: bool) -> Line:
    """By operation and submodule of the gravest find; a certain find anywhere else counts as wrong."""
    body = DigitsModel()("mlp").module
    kinds: list[Any] = [
        Staircase(c=64),
        Staircase(c=64, mode="round"),
        Staircase(c=64, mode="floor"),
        Ramp(c=64, delta=0.2),
        Ramp(c=64, delta=1e-6),
        SigmoidStaircase(c=64, gain=400),
        Sigmoid(gain=100),
        Dtype(to="float16"),
        Dtype(to="bfloat16"),
        Dtype(to="uint8"),
        Dtype(to="float8_e4m3fn"),
    ]
    good = asked = wrong = 0
    for mask in kinds[::2] if quick else kinds:
        for place in PLACES:
            if (
                isinstance(mask, Dtype)
                and mask.to not in ("float16", "bfloat16")
                and place not in ("input", "logits")
            ):
                continue
            subject = ModelSubject(compose(body, [(mask, place)]), classes=10)
            inside = {"input": "input.0", "logits": "logits.0", "model": "model"}.get(place, f"model.{place}")
            for i in range(len(inputs)):
                with torch.no_grad():
                    label = int(subject(inputs[i : i + 1]).argmax())
                drawn = torch.Generator().manual_seed(i)
                found = locate(subject, inputs[i], label, norm="linf", radius=0.05, generator=drawn)
                asked += 1
                named = (
                    bool(found)
                    and found[0].submodule.startswith(inside)
                    and _operation(mask, found[0].operation)
                )
                good += named
                wrong += bool(found) and not named and found[0].certain
    said = f"{good} of {asked}; wrong with certainty: {wrong}"
    return Line("operation and submodule located", said, "≥ 95 %, 0", good >= 0.95 * asked and wrong == 0)


def _operation(mask: Any, operation: str) -> bool:
    if isinstance(mask, Dtype):
        return operation == f"cast to {mask.to}"
    return operation in OPERATIONS[type(mask)]


def cost_line(inputs: Tensor) -> Line:
    """Processor time of 1,024 margin gradients through straight-through over autograd's, on a staircase."""
    subject = ModelSubject(compose(DigitsModel()("mlp").module, [(Staircase(), "input")]), classes=10)
    points = inputs[:1].expand(1024, *inputs.shape[1:]).clone()
    repaired = StraightThrough()(subject)

    def seconds(function: Any) -> float:
        took = []
        for _ in range(15):
            leaf = points.clone().requires_grad_(True)
            start = time.process_time()
            logits = function(leaf)
            for k in range(10):
                torch.autograd.grad(logits[:, k].sum(), leaf, retain_graph=k < 9)
            took.append(time.process_time() - start)
        return statistics.median(took)

    ratio = seconds(repaired) / seconds(subject)
    return Line("cost of straight-through over autograd", f"{ratio:.2f}", "≤ 1.3", ratio <= 1.3)


if __name__ == "__main__":
    main()
