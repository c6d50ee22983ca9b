"""Who found what, and when: the attack's evidence, and the best point so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from falsefloor.api import Context
from falsefloor.estimators.attack.campaign import Campaign, Effort, Found
from falsefloor.estimators.attack.descent import Walker
from falsefloor.estimators.attack.oracle import Oracle
from falsefloor.estimators.attack.refine import tighten

MARGIN = 0.999
"""A later source takes an input over only where it is nearer than this: rounding is no discovery."""


class Ledger:
    """The best of every source for n inputs, and the best of all.

    radius (n,), inf where nothing was found; point (n, d), the input itself there; target (n,); holder:
    words; covered: how many targets are tried.
    """

    def __init__(
        self, oracle: Oracle, who: Tensor, generators: Sequence[Generator], *, pace: Pace, covered: int
    ) -> None:
        self.oracle, self.who, self.generators = oracle, who, generators
        self.pace, self.covered = pace, covered
        self.radius = torch.full_like(oracle.centre[who, 0], torch.inf)
        self.point = oracle.centre[who].clone()
        self.target = torch.zeros_like(who)
        self.holder = ["none"] * len(who)
        self.best: dict[str, Tensor] = {}
        self._history: list[Tensor] = []

    def campaign(self, function: Callable[[Tensor], Tensor], place: Tensor, effort: Effort) -> Campaign:
        """An attempt by one source for the inputs at ``place`` (m,) of the n."""
        draws = [self.generators[i] for i in place.tolist()]
        return Campaign(self.walker(function), self.who[place], draws, effort)

    def walker(self, function: Callable[[Tensor], Tensor]) -> Walker:
        return Walker(self.oracle, function, self.pace.tick)

    def record(
        self,
        source: str,
        place: Tensor,
        found: Found | None,
        *,
        planned: int,
        alone: bool = True,
        tightened: bool = False,
    ) -> None:
        """Enter what ``source`` found for the inputs at ``place`` (m,) of the n, in ``planned`` steps.

        Steps count whether or not any input took them, so that an input's curve does not depend on its
        neighbours; 0: those of the stage before, over again. ``alone``: from the source's own starts, so that
        it counts as the source's own. ``tightened``: the points are taken as they are.
        """
        own = self.best.setdefault(source, torch.full_like(self.radius, torch.inf))
        history = self.radius.repeat(planned, 1) if planned else self._history.pop()
        if found is not None and len(place):
            point = found.point if tightened else tighten(self.oracle, found.point, self.who[place])
            reached = self.oracle.distance(point, self.who[place])
            radius = torch.where(found.radius.isfinite(), reached, torch.inf)
            if alone:
                own[place] = torch.minimum(own[place], radius)
            better = radius < self.radius[place]
            clearly = radius < MARGIN * self.radius[place]
            self.radius[place] = torch.where(better, radius, self.radius[place])
            self.point[place] = torch.where(better[:, None], point, self.point[place])
            self.target[place] = torch.where(better, found.target, self.target[place])
            for index in place[clearly].tolist():
                self.holder[index] = source
            history[:, place] = torch.minimum(history[:, place], found.history)
        self._history.append(history)
        self.pace.finish(planned, self.who, self.radius)

    def curve(self) -> Tensor:
        """(n, steps): the best radius after each step."""
        return torch.cat(self._history).cummin(0).values.t()


class Pace:
    """Progress through all planned steps, over all groups of inputs."""

    def __init__(self, context: Context, *, total: int, count: int) -> None:
        self._context, self._total = context, max(total, 1)
        self._radius = torch.full((count,), torch.inf, dtype=torch.float64)
        self._finished = self._within = 0

    def tick(self) -> None:
        self._within += 1
        self._report(self._finished + self._within)

    def finish(self, planned: int, who: Tensor, radius: Tensor) -> None:
        """A stage of ``planned`` steps is over, whether or not it took them all."""
        self._finished, self._within = self._finished + planned, 0
        self._radius[who.cpu()] = radius.double().cpu()
        self._report(self._finished)

    def _report(self, done: int) -> None:
        self._context.progress(min(done, self._total), self._total, radius=self._radius)


def last_tenth_gain(curve: Tensor) -> Tensor:
    """(n,): the share by which the last tenth of the steps of curve (n, steps) lowered the radius."""
    final, before = curve[:, -1], curve[:, int(0.9 * (curve.shape[1] - 1))]
    gain = 1 - final / before
    return torch.where(final.isinf(), 0.0, torch.where(before.isinf(), 1.0, gain)).nan_to_num(0.0)
