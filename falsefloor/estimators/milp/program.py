"""The mixed-integer program whose optimum is the distance to one target class (Tjeng et al. 2019).

Variables: the input, the distance, every neuron that can be positive, and a binary for each that can have
either sign. Bounds from a linear relaxation on the ball of the best distance so far make the big-M constants:
without a point to start from, found here by a quick search, they cover the whole domain and the solver is a
hundred times slower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array
from torch import Tensor

from falsefloor.estimators.milp.network import Network, Question, Steps
from falsefloor.numerics.balls import vector_norm
from falsefloor.numerics.crown import relax
from falsefloor.numerics.nodes import bends, chain, forward
from falsefloor.numerics.support import Region, region, vertex

STEPS = 30
_BISECTIONS = 50


def search(asked: Question, targets: list[int]) -> tuple[Tensor, Tensor]:
    """Points (T, d), one a target, where the target's logit reaches the label's, and their distances (T,).

    The distance is inf where none was found. Each step goes to the point nearest to the input at which the
    linearised margin vanishes (DeepFool, Moosavi-Dezfooli et al. 2016, here inside the box and seen from the
    input, as in FAB, Croce & Hein 2020), then back along the segment as far as the class stays changed.
    """
    centre, label, lo, hi = asked.centre, asked.label, asked.lo, asked.hi
    wanted = torch.tensor(targets)
    best = centre.expand(len(targets), -1).clone()
    distance = torch.full((len(targets),), torch.inf, dtype=torch.float64)
    points = best.clone()
    for step in range(STEPS):
        inputs = points.clone().requires_grad_(True)
        with torch.enable_grad():
            logits = forward(asked.network.layers, inputs)
            margin = logits[:, label] - logits.gather(1, wanted.unsqueeze(1)).squeeze(1)
            (slopes,) = torch.autograd.grad(margin.sum(), inputs)
        at_centre = margin.detach() + (slopes * (centre - points)).sum(dim=1)
        move = _to_hyperplane(asked, slopes, at_centre)
        reached = (centre + 1.02 * move).clamp(lo, hi)
        shrunk, found = _back(asked, reached, wanted)
        length = torch.where(found, vector_norm(shrunk - centre, asked.norm), torch.inf)
        better = length < distance
        best, distance = torch.where(better.unsqueeze(1), shrunk, best), torch.minimum(length, distance)
        # between where the line leads and the best so far: the former alone may run in circles
        lean = 0.5 if step < STEPS // 2 else 0.8
        points = torch.where(distance.isfinite().unsqueeze(1), lean * best + (1 - lean) * reached, reached)
    return best, distance


def _to_hyperplane(asked: Question, slopes: Tensor, at_centre: Tensor) -> Tensor:
    """The smallest moves (T, d) inside the box by which the linear margins fall by at_centre (T,); else the
    largest.

    By halving and not by `numerics.projections.to_plane`: the two differ in the last bits, and the solver
    that starts from here then moves exact distances by 1e-15.
    """
    middle, lo, hi, norm = asked.centre.unsqueeze(0), asked.lo, asked.hi, asked.norm
    low = torch.zeros_like(at_centre)
    high = torch.full_like(at_centre, float(vector_norm((hi - lo).unsqueeze(0), norm)))
    for _ in range(_BISECTIONS):
        half = (low + high) / 2
        move = vertex(slopes, middle, lo, hi, norm=norm, rho=half)
        falls = -(slopes * move).sum(dim=1) >= at_centre
        low, high = torch.where(falls, low, half), torch.where(falls, half, high)
    return vertex(slopes, middle, lo, hi, norm=norm, rho=high)


def _back(asked: Question, points: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Points (T, d) drawn towards the centre as far as the target stays ahead, and whether it was at all."""

    def ahead(candidates: Tensor) -> Tensor:
        logits = asked.network(candidates)
        return logits.gather(1, wanted.unsqueeze(1)).squeeze(1) >= logits[:, asked.label]

    move = points - asked.centre
    found = ahead(points)
    low, high = torch.zeros(len(points), dtype=torch.float64), torch.ones(len(points), dtype=torch.float64)
    for _ in range(_BISECTIONS):
        half = (low + high) / 2
        falls = ahead(asked.centre + half.unsqueeze(1) * move)
        low, high = torch.where(falls, low, half), torch.where(falls, half, high)
    return asked.centre + high.unsqueeze(1) * move, found


Array = NDArray[np.float64]

EDGE = {"ceil": (-1.0, 0.0), "floor": (0.0, 1.0), "round": (-0.5, 0.5)}
"""Step k of a staircase holds the x with (k + first)/levels ≤ x ≤ (k + second)/levels, its closure."""


@dataclass(frozen=True)
class Solved:
    """bound: no point of the class is nearer (inf where none is inside the ball). distance: of the nearest
    point
    found, inf without one. finished: the two meet."""

    bound: float
    distance: float
    finished: bool


@dataclass
class _Program:
    """Sparse rows, variable bounds and integrality as they are collected."""

    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    integer: list[int] = field(default_factory=list)
    entries: list[tuple[int, NDArray[np.int64], Array]] = field(default_factory=list)
    row_low: list[float] = field(default_factory=list)
    row_high: list[float] = field(default_factory=list)

    def variables(self, low: Array, high: Array, *, integer: bool = False) -> NDArray[np.int64]:
        first = len(self.low)
        self.low += low.tolist()
        self.high += high.tolist()
        self.integer += [int(integer)] * len(low)
        return np.arange(first, first + len(low))

    def row(
        self,
        columns: Sequence[int] | NDArray[np.int64],
        values: Sequence[float] | Array,
        low: float,
        high: float,
    ) -> None:
        self.entries.append(
            (len(self.row_low), np.asarray(columns, dtype=np.int64), np.asarray(values, dtype=float))
        )
        self.row_low.append(low)
        self.row_high.append(high)

    def solve(
        self, objective: NDArray[np.int64], *, seconds: float
    ) -> tuple[int, float | None, float | None]:
        """(status, dual bound, best value) of minimising the sum of the objective's variables."""
        rows = np.concatenate([np.full(len(columns), row) for row, columns, _ in self.entries])
        columns = np.concatenate([columns for _, columns, _ in self.entries])
        values = np.concatenate([values for _, _, values in self.entries])
        matrix = csr_array((values, (rows, columns)), shape=(len(self.row_low), len(self.low)))
        cost = np.zeros(len(self.low))
        cost[objective] = 1.0
        found = milp(
            cost,
            integrality=np.array(self.integer),
            bounds=Bounds(np.array(self.low), np.array(self.high)),
            constraints=LinearConstraint(matrix, np.array(self.row_low), np.array(self.row_high)),
            options={"time_limit": seconds, "mip_rel_gap": 1e-7},
        )
        bound = getattr(found, "mip_dual_bound", None)
        if bound is None and found.status == 0:
            # without integers left the program is linear, and its optimum its own bound
            bound = found.fun
        return (
            int(found.status),
            None if bound is None else float(bound),
            None if found.x is None else float(found.fun),
        )


def reachable(asked: Question, *, radius: float) -> Region:
    """What the first layer can see while the input stays in the ball: through a staircase, whole steps."""
    inside, steps = (
        region(asked.centre, asked.lo, asked.hi, norm=asked.norm, radius=radius),
        asked.network.steps,
    )
    if steps is None:
        return inside
    below, above = step_range(steps, inside.lo, inside.hi)
    low, high = below / steps.levels, above / steps.levels
    # the l1 budget is on the input; a step's output may move further, so only the box is kept
    return Region((low + high) / 2, low, high)


def step_range(steps: Steps, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """The first and last step whose closure meets [lo, hi]."""
    first, second = EDGE[steps.mode]
    slack = 1e-9
    return (lo * steps.levels - second - slack).ceil(), (hi * steps.levels - first + slack).floor()


def margin_bounds(
    network: Network, inside: Region, label: int, targets: Sequence[int]
) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Bounds of the hidden neurons, and lower bounds (T,) of the label's lead over each target, in the
    region."""
    nodes = chain(network.layers)
    known = relax(nodes, inside, every=True)
    lead = inside.centre.new_zeros(len(targets), len(network.layers[-1][1]))
    lead[:, label] = 1.0
    lead[range(len(targets)), list(targets)] -= 1.0
    return [known.intervals[at - 1] for at in bends(nodes)], known.below(len(nodes) - 1, lead)


def nearest(asked: Question, target: int, *, radius: float, seconds: float) -> Solved:
    """The least distance, below ``radius``, at which the target's logit reaches the label's."""
    network, label, norm = asked.network, asked.label, asked.norm
    bounds, _ = margin_bounds(network, reachable(asked, radius=radius), label, [target])
    program = _Program()
    middle = asked.centre.numpy()
    ball = region(asked.centre, asked.lo, asked.hi, norm="linf", radius=radius)
    x = program.variables(ball.lo.numpy(), ball.hi.numpy())
    count = 1 if norm == "linf" else len(x)
    distance = program.variables(np.zeros(count), np.full(count, radius))
    for i, column in enumerate(x):
        r = distance[0 if norm == "linf" else i]
        program.row([column, r], [1.0, -1.0], -math.inf, middle[i])
        program.row([column, r], [1.0, 1.0], middle[i], math.inf)
    if norm == "l1":
        program.row(distance, np.ones(count), 0.0, radius)
    before = x if network.steps is None else _steps(program, x, network.steps, ball)
    scale = 1.0 if network.steps is None else 1.0 / network.steps.levels
    for (weight, bias), (low, high) in zip(network.layers[:-1], bounds, strict=True):
        before = _relus(program, before, weight.numpy() * scale, bias.numpy(), low.numpy(), high.numpy())
        scale = 1.0
    weight, bias = network.layers[-1]
    kept = before >= 0
    lead = (weight[target] - weight[label]).numpy() * scale
    program.row(before[kept], lead[kept], float(bias[label] - bias[target]), math.inf)
    status, bound, value = program.solve(distance, seconds=seconds)
    if status == 2:
        return Solved(math.inf, math.inf, True)
    floor = 0.0 if bound is None or not math.isfinite(bound) else max(bound, 0.0)
    return Solved(floor, math.inf if value is None else value, status == 0)


def _steps(program: _Program, x: NDArray[np.int64], steps: Steps, ball: Region) -> NDArray[np.int64]:
    """Integer steps k with x in the closure of step k."""
    low, high = (bound.numpy() for bound in step_range(steps, ball.lo, ball.hi))
    k = program.variables(low, high, integer=True)
    first, second = EDGE[steps.mode]
    for column, step in zip(x, k, strict=True):
        program.row([column, step], [steps.levels, -1.0], first, second)
    return k


def _relus(
    program: _Program, before: NDArray[np.int64], weight: Array, bias: Array, low: Array, high: Array
) -> NDArray[np.int64]:
    """Variables of one ReLU layer: their columns, or -1 where a neuron is always 0."""
    kept = before >= 0
    columns = np.full(len(bias), -1, dtype=np.int64)
    for neuron in np.flatnonzero(high > 0):
        (out,) = program.variables(np.array([max(low[neuron], 0.0)]), np.array([high[neuron]]))
        columns[neuron] = out
        sources, slopes = before[kept], -weight[neuron, kept]
        if low[neuron] >= 0:
            program.row([*sources, out], [*slopes, 1.0], bias[neuron], bias[neuron])
            continue
        (on,) = program.variables(np.zeros(1), np.ones(1), integer=True)
        program.row([*sources, out], [*slopes, 1.0], bias[neuron], math.inf)
        program.row([*sources, out, on], [*slopes, 1.0, -low[neuron]], -math.inf, bias[neuron] - low[neuron])
        program.row([out, on], [1.0, -high[neuron]], -math.inf, 0.0)
    return columns
