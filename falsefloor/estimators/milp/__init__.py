"""milp: the exact distance to the nearest other class of a small ReLU network, or a certified part of it.

Tjeng, Xiao & Tedrake, "Evaluating robustness of neural networks with mixed integer programming", ICLR 2019,
https://arxiv.org/abs/1711.07356, solved by HiGHS through `scipy.optimize.milp`. It is what the estimates are
measured against, and a floor in its own right: at any time limit the solver's dual bound holds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from falsefloor.api import Claim, Context, Estimate, Norm, NotApplicable, Subject, option
from falsefloor.estimators.account import column
from falsefloor.estimators.crown import Crown, certificate, corners
from falsefloor.estimators.crown.search import Certified
from falsefloor.estimators.milp.network import Question, read_network
from falsefloor.estimators.milp.program import margin_bounds, nearest, reachable, search
from falsefloor.numerics.balls import diameter
from falsefloor.numerics.margins import margins

TOLERANCE = 2e-6
"""Taken off every bound, as a share of the domain's width: the solver keeps its rows and integers to 1e-6."""

OWN = ("upper", "gap", "exact", "solver")
"""Evidence of its own: the least distance found, and how far it lies above the radius; flag: solved for every
target; "solved" or "time limit"."""

_LEAST_SECONDS = 0.05
_HALVINGS = 12


@dataclass(frozen=True)
class Distance:
    """lower ≤ distance ≤ upper, for the target that binds the lower one; solved: they meet for every
    target."""

    lower: float
    upper: float
    target: int
    solved: bool


@dataclass(frozen=True)
class Milp:
    """The largest radius that a mixed-integer program certifies within ``time_limit`` seconds an input.

    Exact (evidence ``exact`` = 1, ``gap`` about 0) where the solver finishes: a few seconds for a digit and a
    64-64-32-10 network. Reads `nn.Sequential`s of Linear, Conv, AvgPool, BatchNorm, Flatten and ReLU, and a
    staircase at the input, whose closed steps make the distance an infimum. The certificate is of the network
    in real arithmetic; float32 moves it by about 1e-6. A time limit that is reached makes results depend on
    the machine's speed, and leaves at least what `crown` proves.

    Raises `NotApplicable`, "not applicable because …", for every other subject.
    """

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "lower_bound"
    norms: ClassVar[frozenset[Norm]] = frozenset(("l1", "linf"))

    time_limit: float = option(60.0, help="seconds an input may take", gt=0.0)

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        if subject.classes < 2:
            raise NotApplicable("not applicable because the model has one class only.")
        network = read_network(subject, inputs)
        lo, hi = corners(subject, inputs)
        flat = inputs.detach().double().cpu().reshape(len(inputs), -1)
        lead = margins(network(flat), labels.cpu())
        radii = torch.full((len(inputs),), torch.nan, dtype=torch.float64)
        found: list[Distance] = []
        for index, (centre, label) in enumerate(zip(flat, labels.tolist(), strict=True)):
            if float(lead[index].amin()) <= 0:
                found.append(Distance(0.0, 0.0, int(lead[index].argmin()), True))
            else:
                asked = Question(network, centre, label, lo, hi, norm)
                found.append(exact_distance(asked, seconds=self.time_limit))
            radii[index] = found[-1].lower
            context.progress(index + 1, len(inputs), radius=radii)
        late = [index for index, one in enumerate(found) if not one.solved]
        proofs = _proofs(subject, inputs[late], labels[late], norm=norm, context=context) if late else []
        for index, proved in zip(late, proofs, strict=False):
            if proved.radius > found[index].lower:
                upper = found[index].upper
                found[index] = Distance(min(proved.radius, upper), upper, proved.target, False)
        slack = TOLERANCE * float((hi - lo).amax())
        return _estimate(found, lead, cap=diameter(lo, hi, (flat.shape[1],), norm), slack=slack, like=inputs)


def exact_distance(asked: Question, *, seconds: float) -> Distance:
    """The distance to the nearest class that is not the label, in input units, bracketed."""
    until = time.monotonic() + seconds
    targets = [k for k in range(asked.network.layers[-1][0].shape[0]) if k != asked.label]
    _, reached = search(asked, targets)
    whole = diameter(asked.lo, asked.hi, (len(asked.centre),), asked.norm)
    upper = min(float(reached.amin()), whole)
    lower, solved, binding = math.inf, True, targets[int(reached.argmin())]
    for slot in reached.argsort(stable=True).tolist():
        target = targets[slot]
        if _excluded(asked, target, radius=upper):
            continue
        left = until - time.monotonic()
        if left > _LEAST_SECONDS:
            result = nearest(asked, target, radius=upper, seconds=left)
            if result.distance < upper:
                upper, binding = result.distance, target if result.finished else binding
            bound, finished = result.bound, result.finished
        else:
            bound, finished = 0.0, False
        if not finished:
            bound = max(bound, _certified(asked, target, radius=upper))
            if bound < lower:
                binding = target
        solved = solved and finished
        lower = min(lower, bound)
    return Distance(min(lower, upper), upper, binding, solved)


def _excluded(asked: Question, target: int, *, radius: float) -> bool:
    """Whether the linear relaxation alone keeps the target behind the label in the whole ball."""
    _, lead = margin_bounds(asked.network, reachable(asked, radius=radius), asked.label, [target])
    return bool(lead[0] > 0)


def _certified(asked: Question, target: int, *, radius: float) -> float:
    """The largest radius, found by halving, in which the linear relaxation excludes the target."""
    low, high = 0.0, radius
    for _ in range(_HALVINGS):
        half = (low + high) / 2
        if _excluded(asked, target, radius=half):
            low = half
        else:
            high = half
    return low


def _proofs(
    subject: Subject, inputs: Tensor, labels: Tensor, *, norm: Norm, context: Context
) -> list[Certified]:
    """What `crown` proves where the solver did not finish; none if it declines."""
    with torch.no_grad():
        logits = subject(inputs).double().cpu()
    generator = context.generators[0]
    try:
        return list(Crown().proofs(subject, inputs, labels, logits, norm=norm, generator=generator))
    except NotApplicable:
        return []


def _estimate(found: Sequence[Distance], lead: Tensor, *, cap: float, slack: float, like: Tensor) -> Estimate:
    proved = [(one.lower, one.target) for one in found]
    radius, evidence = certificate(proved, lead, cap=cap, slack=slack, like=like)
    upper = column([one.upper for one in found], like)
    solved = column([one.solved for one in found], like)
    words = ["solved" if one.solved else "time limit" for one in found]
    own = {"upper": upper, "gap": upper - radius, "exact": solved}
    return Estimate(radius=radius, evidence={**evidence, **own, "solver": words})
